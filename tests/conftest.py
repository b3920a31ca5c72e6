"""What several test files need: a small data set drawn here, and the real one where its archives lie."""

import importlib
import os
import shutil
import signal
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from labkit.data import Pets, open_pets

REPOSITORY = Path(__file__).resolve().parent.parent
BREEDS = {"Abby": (1, 1), "Bombo": (2, 1), "corgo": (3, 2), "dachso": (4, 2)}
COURSE = ("lab", "sweep", "doctor", "claims", "handout", "grade", "handin", "report")
"""Commands of `course`; all others are of `labkit`."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZES = [(40, 52), (64, 48), (33, 71), (80, 80), (57, 39), (48, 48)]

# a busy machine is no fault of the code
hypothesis.settings.register_profile("lab", deadline=None)
hypothesis.settings.load_profile("lab")
# a shell's background job ignores Ctrl-C, and so would every process that is started and interrupted here
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The networks here are so small that threads cost more than they bring."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="module")
def chromium():
    """A browser for the pages of a file's tests, which skip themselves where `CHROMIUM` is None."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield program
        program.close()


def drawn_pet(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipse on a dark ground with some noise, `uint8 [H, W, 3]`, and its exact trimap `uint8 [H, W]`."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    center, radii = rng.uniform(0.4, 0.6, 2), rng.uniform(0.22, 0.38, 2)
    distance = ((y / height - center[0]) / radii[0]) ** 2 + ((x / width - center[1]) / radii[1]) ** 2
    trimap = np.select([distance < 0.75, distance < 1.0], [1, 3], 2).astype(np.uint8)
    ground, coat = rng.integers(10, 90, 3), rng.integers(150, 245, 3)
    image = np.where((distance < 0.9)[..., None], coat, ground) + rng.normal(0, 6, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8), trimap


def draw_pets(root: Path, count: int = 24, tests: int = 6) -> Path:
    """Draw a data set in the official layout under `root`; the lists are in another order than `list.txt`."""
    folder = root / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    lines = []
    for i in range(count):
        breed, (class_id, species) = list(BREEDS.items())[i % len(BREEDS)]
        name = f"{breed}_{i + 1}"
        image, trimap = drawn_pet(i, SIZES[i % len(SIZES)])
        Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
        lines.append(f"{name} {class_id} {species} {class_id}")
    shuffled = [lines[i] for i in np.random.default_rng(7).permutation(count)]
    lists = {
        "list": ["# Image CLASS-ID SPECIES BREED ID", *lines],
        "test": shuffled[:tests],
        "trainval": shuffled[tests:],
    }
    for stem, content in lists.items():
        (folder / "annotations" / f"{stem}.txt").write_text("\n".join(content) + "\n")
    return root


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory) -> Path:
    """Where the arrays of the drawn data sets land."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture
def lab_home(lab_folder, monkeypatch) -> Path:
    """The lab's home in a temporary folder, for one test."""
    monkeypatch.setenv("LABKIT_HOME", str(lab_folder))
    return lab_folder


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory) -> Path:
    """24 drawn pets on disk; nobody changes them. 16 are train, 2 valid, 6 test."""
    return draw_pets(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_pets(tiny_root, lab_home) -> Pets:
    """The 24 drawn pets."""
    return open_pets(tiny_root)


@pytest.fixture
def own_pets(tmp_path, lab_home) -> Callable[..., Path]:
    """Draws a data set that the test may spoil, `own_pets(count=4, tests=1)`; returns its `oxford-iiit-pet`."""

    def draw(count: int = 4, tests: int = 1) -> Path:
        return draw_pets(tmp_path / "own", count, tests) / "oxford-iiit-pet"

    return draw


@pytest.fixture
def shell(lab_home, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs `labkit ...` or `course ...` in this process; returns status, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        program = "course" if words[0] in COURSE else "labkit"
        monkeypatch.setattr(sys, "argv", [program, *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            importlib.import_module(f"{program}.cli").main()  # typer ends every command with SystemExit
        shown = capsys.readouterr()
        return stop.value.code or 0, shown.out, shown.err

    return run


def real_archive(name: str) -> Path:
    path = Path(os.environ.get("LABKIT_REAL_DATA", REPOSITORY.parent / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"{path} is not there; LABKIT_REAL_DATA names the folder with the archives of the real data")
    return path


def unpacked(archive: str, splits: Sequence[Path] = ()) -> Path:
    """The archive's folder, unpacked once into dataset/cache/real: whole or not at all, whoever else asks."""
    source, cache = real_archive(archive), REPOSITORY / "dataset" / "cache" / "real"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / source.name.partition(".tar")[0]
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix=".unpacking-") as temporary:
                with tarfile.open(source) as tar:
                    tar.extractall(temporary, filter="data")
                fresh = Path(temporary) / folder.name
                for path in splits:
                    target = fresh / "annotations" / "splits" / "2026" / path.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
                os.replace(fresh, folder)
    return folder


@pytest.fixture(scope="session")
def real_pets() -> Pets:
    """All 7,349 real pets at 128x128, with the 2026 lists."""
    return open_pets(unpacked("oxford-iiit-pet-128.tar.xz", sorted(real_archive("splits-2026").glob("*.txt"))))


@pytest.fixture(scope="session")
def real_originals() -> Pets:
    """291 real pets in their original files."""
    return open_pets(unpacked("oxford-iiit-pet-originals.tar"))
