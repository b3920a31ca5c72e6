"""An installed copy, made as `pip install .` makes it, does its work from any folder and keeps out of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from labkit import files
from labkit.files import home
from tests.conftest import REPOSITORY


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy of the tree, which is left as it is."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for name in ("labkit", "course"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    return next(out.glob("*.whl"))


@pytest.fixture
def installed(wheel, tmp_path, monkeypatch):
    """Runs a command of an installed copy in a scratch folder, the current one; returns what it prints."""
    site = tmp_path / "site"
    pip("install", "--no-deps", "--target", site, wheel)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(scratch)
    environment = {key: value for key, value in os.environ.items() if key != "LABKIT_HOME"}
    environment |= {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}

    def run(*words: str | Path) -> str:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import labkit; print(labkit.__file__)").startswith(str(site))
    return run


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    for package in ("labkit", "course"):
        for path in (REPOSITORY / package).rglob("*"):
            name = path.relative_to(REPOSITORY).as_posix()
            assert path.is_dir() or "__pycache__" in name or name in held, f"{name} is not in the wheel"
    assert {name.partition("/")[0] for name in held} == {
        "labkit",
        "course",
        wheel.name.rpartition("-py3")[0] + ".dist-info",
    }


def test_an_installed_copy_trains_and_predicts_where_one_is(installed, tmp_path):
    before = sorted((tmp_path / "site").rglob("*"))
    for program in ("labkit", "course"):
        assert f"Usage: {program}" in installed(tmp_path / "site" / "bin" / program, "--help")
    installed("-m", "labkit", "train", "quick", "--epochs", "1", "--device", "cpu")
    run = Path("runs", "quick-sample-0")
    assert '"commit": null' in (run / "environment.json").read_text()
    image = next(Path("dataset/sample/oxford-iiit-pet/images").glob("*.jpg"))
    installed("-m", "labkit", "predict", run, image, "--out", "masks", "--device", "cpu")
    assert (Path("masks") / f"{image.stem}.png").is_file()
    assert {path.name for path in Path().iterdir()} == {"runs", "dataset", "masks"}
    assert sorted((tmp_path / "site").rglob("*")) == before


def test_the_home_is_the_named_folder_else_the_checkout_else_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABKIT_HOME", raising=False)
    assert home() == REPOSITORY
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site-packages" / "labkit" / "files.py"))
    assert home() == tmp_path
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    assert home() == tmp_path / "lab"
