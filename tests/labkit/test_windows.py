"""What differs on Windows, as far as it can be had elsewhere."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from labkit.data import batch_loader, load_arrays
from labkit.files import data_folder, written_whole


@pytest.mark.parametrize("there", [True, False], ids=["answer", "error"])
def test_a_console_that_lacks_the_letters_of_a_path_still_gets_the_sentence(there, tmp_path):
    masks = tmp_path / "猫"
    if there:
        masks.mkdir()
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(masks / "one.png")
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "rle", "encode", str(masks), "--out", str(tmp_path / "猫.csv")],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
        encoding="cp1252",
    )
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == there
    assert "\\u732b" in (done.stdout if there else done.stderr)


def test_without_user_numbers_there_is_a_folder_for_arrays(monkeypatch, lab_home):
    monkeypatch.delattr(os, "getuid")
    assert data_folder("cache").is_dir()


def test_workers_that_are_spawned_read_the_same_batches(tiny_pets):
    arrays = load_arrays(tiny_pets, 32)
    batches = np.array_split(np.arange(len(tiny_pets)), 3)
    loader = batch_loader(arrays, batches, workers=1)
    loader.multiprocessing_context = "spawn"
    for read, expected in zip(loader, batch_loader(arrays, batches), strict=True):
        assert all(bool((one == other).all()) for one, other in zip(read, expected, strict=True))


def test_a_file_is_closed_before_it_is_renamed(tmp_path, monkeypatch):
    """Windows renames no open file."""
    renamed, opened = [], []
    right = os.replace

    def noted(source, target):
        renamed.append([file.closed for file in opened])
        right(source, target)

    monkeypatch.setattr(os, "replace", noted)
    with written_whole(tmp_path / "file.txt", "w") as file:
        opened.append(file)
        file.write("text")
    assert renamed == [[True]]
