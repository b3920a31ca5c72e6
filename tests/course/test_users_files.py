"""No command deletes, overwrites or renames a file that labkit has not written, whatever the file is called."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course.run_folder import clear_run_folder
from labkit.errors import LabError
from labkit.files import LEDGER, PARTIAL, RUN_FILES, RUN_LOCK, check_targets, is_ours, write_text, written_whole
from tests.conftest import REPOSITORY, drawn_pet
from tests.labkit.test_training import recipe as small_recipe
from tests.labkit.test_training import trained

NAMES = (
    *RUN_FILES,
    RUN_LOCK,
    *(".lock", ".recipe.toml.swp", ".history.csv.a1b2", f"{PARTIAL}mine", f"{PARTIAL}01_data.ipynb"),
    *("tensorboard/events.out.tfevents.1.me.1", "evaluations/tiny-test-32/summary.json", "evaluations/mine.csv"),
    *("01_data.ipynb", "01_report.ipynb", "05_analysis.ipynb", "index.html", "run/notes.txt", "run/last.pt"),
    *("results.csv", "seeds.csv", "learning-rate.csv", "curves.png", "rates.png", "masks/cat.png"),
    *("dataset/cache/notes.txt", "oxford-iiit-pet.txt", "images/cat.jpg", "annotations/list.txt"),
)
COMMANDS = {
    "lab into the folder": ("lab", "--out", ".", "--only", "01"),
    "lab with all notebooks": ("lab", "--out", "."),
    "sweep": ("sweep", "sweep.toml", "--data", "{data}", "--out", ".", "--workers", "1"),
    "train": ("train", "small.toml", "--data", "{data}", "--run-dir", ".", "--device", "cpu"),
    "train and resume": ("train", "small.toml", "--data", "{data}", "--run-dir", ".", "--device", "cpu", "--resume"),
    "train in a folder of it": ("train", "small.toml", "--data", "{data}", "--run-dir", "run", "--device", "cpu"),
    "evaluate": ("evaluate", "{run}", "--data", "{data}", "--device", "cpu"),
    "evaluate with masks": ("evaluate", "{run}", "--data", "{data}", "--masks", "masks", "--pictures", "."),
    "evaluate with masks of a part": ("evaluate", "{run}", "--data", "{data}", "--split", "valid", "--masks", "masks"),
    "predict beside the photo": ("predict", "{run}", "cat.png", "--out", ".", "--device", "cpu"),
    "predict two": ("predict", "{run}", "cat.jpg", "dog.jpg", "--out", "."),
    "predict over masks": ("predict", "{run}", "cat.jpg", "--out", "masks"),
    "predict a pattern": ("predict", "{run}", "*.jpg", "--out", "."),
    "curves": ("curves", "{run}"),
    "find-rate": ("find-rate", "small.toml", "--data", "{data}", "--steps", "10", "--figure", "rates.png"),
    "data get": ("data", "get", "--data", ".", "--from", "{data}"),
    "data check": ("data", "check", "--data", "{data}"),
    "models": ("models", "unet width=16", "--size", "32", "--no-latency"),
    "doctor": ("doctor", "--data", "{data}"),
}
RECIPE = '[data]\nimage_size = 32\n[model]\nname = "unet"\nwidth = 4\ndepth = 2\n[training]\nepochs = 1\n'


def digests(folder: Path) -> dict[Path, str]:
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def finished(tiny_root, tmp_path_factory):
    """A run of labkit's own."""
    os.environ["LABKIT_HOME"] = str(tmp_path_factory.mktemp("home"))
    try:
        from labkit.data import open_pets

        trained(small_recipe(), open_pets(tiny_root), tmp_path_factory.mktemp("runs") / "run")
    finally:
        del os.environ["LABKIT_HOME"]
    return next(tmp_path_factory.getbasetemp().glob("runs*/run"))


@pytest.fixture
def users(tmp_path, monkeypatch, lab_folder) -> Path:
    """A user's folder, in which many a file is called as labkit's are; it is the current one."""
    folder = tmp_path / "homework"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"hours of work on {name}")
    image = Image.fromarray(drawn_pet(0, (40, 52))[0])
    for name in ("cat.png", "cat.jpg", "dog.png", "dog.jpg"):
        image.save(folder / name)
    (folder / "small.toml").write_text(RECIPE)
    (folder / "sweep.toml").write_text('recipe = "small"\n[values]\n"training.seed" = [0]\n')
    shutil.copytree(REPOSITORY / "notebooks", lab_folder / "notebooks", dirs_exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_file_of_the_users_is_as_it_was(words, shell, users, finished, tiny_root):
    before = digests(users)
    places = {"data": tiny_root, "run": finished}
    status, _, err = shell(*(word.format(**places) for word in words))
    assert status in (0, 1), f"no such command or option: {err}"
    after = digests(users)
    assert {path: after.get(path) for path in before} == before
    assert "Traceback" not in err


def test_the_source_notebooks_are_no_place_for_the_executed_ones(shell, users, lab_folder):
    before = digests(lab_folder / "notebooks")
    for out in (lab_folder / "notebooks", users):
        status, _, err = shell("lab", "--out", out)
        assert status == 1
        assert "replace" in err or "has not written it" in err
        assert err.count("\n") == 1
    assert digests(lab_folder / "notebooks") == before


def test_labkits_own_results_are_replaced_until_somebody_changes_them(shell, users, finished):
    words = ("predict", finished, "cat.jpg", "--out", "fresh", "--device", "cpu")
    for _ in range(2):
        status, _, err = shell(*words)
        assert status == 0, err
    with Image.open("fresh/cat.png") as mask:
        edited = 255 - np.asarray(mask)
    Image.fromarray(edited).save("fresh/cat.png")
    status, _, err = shell(*words)
    assert status == 1
    assert "fresh/cat.png: is there already, and labkit has not written it as it is now" in err


def test_a_second_run_goes_into_a_folder_that_a_first_was_cleared_from(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "notes.txt").write_text("mine")
    (run / "evaluations/mine").mkdir(parents=True)
    (run / "evaluations/mine/thoughts.txt").write_text("mine")
    clear_run_folder(run)
    left = {str(path.relative_to(run)) for path in run.rglob("*.*") if path.is_file() and path.name[0] != "."}
    assert left == {"notes.txt", "evaluations/mine/thoughts.txt"}


def test_targets_are_compared_under_all_their_names(tmp_path):
    photo = tmp_path / "a.png"
    photo.write_bytes(b"a photo")
    (tmp_path / "here").symlink_to(tmp_path)
    os.link(photo, tmp_path / "hard.png")
    for name in ("a.png", "here/a.png", "here/../" + tmp_path.name + "/a.png", "hard.png"):
        with pytest.raises(LabError, match="is an input"):
            check_targets([tmp_path / name], [photo])
    with pytest.raises(LabError, match="two results"):
        check_targets([tmp_path / "b.png", tmp_path / "here" / "b.png"])
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(LabError, match="has not written it"):
        check_targets([tmp_path / "dangling.png"])


def test_the_ledger_is_what_sha256sum_reads(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two")
    last = (tmp_path / LEDGER).read_text().splitlines()[-1]
    assert last == f"{hashlib.sha256(b'two').hexdigest()}  a.txt"
    assert is_ours(tmp_path / "a.txt")
    shutil.copy(tmp_path / "a.txt", tmp_path / "b.txt")
    assert not is_ours(tmp_path / "b.txt")


def test_a_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    code = "import os, sys, labkit.files; os.umask(0o077); labkit.files.write_text(sys.argv[1], 'x')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], check=True)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda p: (p / "taken").write_text(""), "a file lies where a folder is needed"),
        (lambda p: (p / "taken" / "a.txt").mkdir(parents=True), "is there already"),
    ],
)
def test_what_is_in_the_way_is_said(make, remedy, tmp_path):
    make(tmp_path)
    with pytest.raises(LabError, match=remedy), written_whole(tmp_path / "taken" / "a.txt") as file:
        file.write(b"x")
