"""The notebooks on other data than the lab's: each runs to its end, or its set-up says in a sentence what it needs."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course.lab import run_notebook
from labkit.data import get_pets, open_pets
from labkit.errors import LabError
from tests.conftest import SIZES, draw_pets, drawn_pet, unpacked

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
GROUPS = ("garden", "kitchen", "roof", "street")
SETUP = 6
"""The last cell, counted from 1, that belongs to the set-up; papermill adds one with the parameters."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def a_dozen(tmp_path_factory) -> Path:
    """Twelve images in the official layout: eight are train, one valid, three test."""
    return draw_pets(tmp_path_factory.mktemp("dozen"), count=12, tests=3)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> Path:
    """Sixteen images in four folders with black and white masks, imported as anybody's would be."""
    folder = tmp_path_factory.mktemp("grouped")
    for number in range(16):
        image, trimap = drawn_pet(number, SIZES[number % len(SIZES)])
        group = GROUPS[number % len(GROUPS)]
        mask = np.where(trimap == 2, 0, 255).astype(np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            (folder / "own" / kind / group).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "own" / kind / group / f"{number}.png")
    get_pets(folder / "data", folder / "own")
    return folder / "data"


@pytest.fixture(scope="module")
def originals() -> Path:
    """The 291 real pets in their original files."""
    return unpacked("oxford-iiit-pet-originals.tar")


@pytest.fixture
def home(lab_home) -> Path:
    """The lab's home in a temporary folder, with the committed weights."""
    shutil.copytree(ROOT / "weights", lab_home / "weights", dirs_exist_ok=True)
    return lab_home


@pytest.mark.parametrize("data", ["a_dozen", "grouped", pytest.param("originals", marks=pytest.mark.real)])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_it_or_says_what_it_needs(path, data, request, tmp_path, home):
    root = request.getfixturevalue(data)
    assert len(open_pets(root)) >= 12
    if failure := failure_of(path, tmp_path, root):
        found = re.search(r"cell (\d+) failed: LabError: (.+) \(the notebook up to", failure)
        assert found, failure
        assert int(found[1]) <= SETUP, failure
        assert "need" in found[2]


def failure_of(path: Path, out: Path, data: Path) -> str:
    """The message with which a notebook fails on the data; empty where it runs to its end."""
    try:
        run_notebook(path, out, {"data": str(data)}, progress=False)
    except LabError as error:
        return str(error)
    return ""
