"""What comes with labkit is unpacked on first use: whole or not at all, whoever else asks, wherever it can be."""

import errno
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from labkit.data import check_pets, get_pets, open_pets, sample, split_by_group, split_inside_groups
from labkit.errors import LabError
from tests.labkit.test_survival import mounted


@pytest.fixture
def fresh_home(tmp_path, monkeypatch) -> Path:
    """A home, a cache folder and a temporary folder that are this test's own."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "machine").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    return tmp_path / "home"


@pytest.fixture
def small_archive(tmp_path, monkeypatch) -> Path:
    """Stands in for sample.tar where only the unpacking matters: one image in the official layout."""
    (tmp_path / "archives").mkdir()
    path = tmp_path / "archives" / "sample.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in (("images/A_1.jpg", b"x" * 10**6), ("annotations/list.txt", b"A_1 1 1 1\n")):
            entry = tarfile.TarInfo(f"oxford-iiit-pet/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(sample, "ARCHIVES", path.parent)
    monkeypatch.setitem(sample.SHA256, "sample", sample.hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def what_lies_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_the_sample_is_whole_and_there_in_two_seconds(fresh_home):
    began = time.process_time()  # other programs run on the machine
    pets = open_pets("sample")
    assert time.process_time() - began < 2
    assert (len(pets), pets.label, pets.folder) == (600, "sample", fresh_home / "dataset/sample/oxford-iiit-pet")
    assert (len(pets.split("train")), len(pets.split("valid")), len(pets.split("test"))) == (361, 41, 198)
    assert check_pets(pets)[0] == []
    assert what_lies_in(fresh_home / "dataset") == ["sample"]
    before = (fresh_home / "dataset" / "sample").stat().st_mtime_ns
    assert get_pets("sample").fingerprint == pets.fingerprint
    assert (fresh_home / "dataset" / "sample").stat().st_mtime_ns == before


def test_slides_come_in_groups_with_both_splits(fresh_home):
    slides = open_pets("slides")
    assert (len(slides), len(slides.breeds), slides.classes[0]) == (180, 15, "background")
    problems, empty = check_pets(slides)
    assert problems == []
    assert 0.05 < len(empty) / len(slides) < 0.25
    groups = [pet.breed for pet in slides.items]
    for family, split in (("inside-groups", split_inside_groups), ("by-group", split_by_group)):
        assert np.array_equal(slides.split("test", family), split(groups)["test"])


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Images `[180, 128, 128, 3]` in 0..1, masks `[180, 128, 128]` and the slide of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(tmp_path_factory.mktemp("slides")))
        slides = open_pets("slides")
    every = range(len(slides))
    images = np.stack([slides.image(i) for i in every]) / 255
    return images, np.stack([slides.trimap(i) for i in every]), np.array([pet.breed for pet in slides.items])


def test_classes_of_the_slides_are_rare_and_unequal(tiles):
    _, masks, groups = tiles
    shares = np.bincount(masks.ravel(), minlength=4) / masks.size
    assert shares[0] > 0.75
    assert shares[1] > 2 * shares[2] > 2.2 * shares[3] > 0.01
    assert 0.1 < ((masks > 0).mean((1, 2)) < 0.03).mean() < 0.3  # a fifth of the tiles is nearly empty
    assert all(set(np.unique(masks[groups == group])) == {0, 1, 2, 3} for group in set(groups))


def test_color_tells_the_kinds_apart_on_a_known_slide_only(tiles):
    """The kind of a pixel is guessed from the nearest mean color of a kind; background is left aside."""
    images, masks, groups = tiles
    right = {}
    for split in (split_inside_groups, split_by_group):
        parts, hits = split(groups), []
        for index in parts["test"]:
            # what training knows: this slide's own colors, where it has met the slide, else those of all slides
            known = [i for i in parts["train"] if groups[i] == groups[index]] or parts["train"]
            means = np.array([images[known][masks[known] == kind].mean(0) for kind in (1, 2, 3)])
            shown = masks[index] > 0
            guess = ((images[index][shown][:, None] - means) ** 2).sum(2).argmin(1) + 1
            hits.append(guess == masks[index][shown])
        right[split] = np.concatenate(hits).mean()
    assert right[split_inside_groups] > right[split_by_group] + 0.15


def test_two_processes_unpack_it_once_and_what_a_killed_one_left_is_cleared(fresh_home):
    (fresh_home / "dataset" / ".labkit-partial-sample-killed").mkdir(parents=True)
    code = "from labkit.data.sample import unpacked; print((unpacked('sample') / 'unpacked-by-labkit').stat().st_ino)"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in "ab"]
    told = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert told[0] == told[1] != ""
    assert what_lies_in(fresh_home / "dataset") == ["sample"]


@pytest.mark.parametrize("spoil", [lambda b: b[:-512], lambda b: b[:600] + b"?" + b[601:], lambda b: b""])
def test_a_damaged_archive_is_one_sentence(fresh_home, small_archive, spoil):
    small_archive.write_bytes(spoil(small_archive.read_bytes()))
    with pytest.raises(LabError, match=r"sample\.tar: the archive is (damaged|not there).*install labkit again"):
        open_pets("sample")
    assert not fresh_home.exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, fresh_home, small_archive):
    mounted(fresh_home, "600k")
    try:
        with pytest.raises(LabError, match=r"dataset/sample: cannot be written \(No space left.*free the disk"):
            open_pets("sample")
        assert what_lies_in(fresh_home / "dataset") == []
    finally:
        subprocess.run(["umount", str(fresh_home)], check=True)


def test_a_read_only_home_gives_way_to_the_cache_folder_and_that_to_the_temporary_one(
    tmp_path, fresh_home, small_archive
):
    mounted(fresh_home, "600k", readonly=True)
    try:
        assert open_pets("sample").folder == tmp_path / "cache/labkit/sample/oxford-iiit-pet"
        shutil.rmtree(tmp_path / "cache")
        (tmp_path / "cache").write_text("a file where a folder should be")
        user = f"labkit-cache-{os.getuid()}"
        assert sample.unpacked("sample") == tmp_path / "machine" / user / "sample"
        shutil.rmtree(tmp_path / "machine")
        (tmp_path / "machine").write_text("another one")
        with pytest.raises(
            LabError, match=r"none of .*dataset, .*cache.*, .* can be written; set LABKIT_HOME to a folder"
        ):
            open_pets("sample")
    finally:
        subprocess.run(["umount", str(fresh_home)], check=True)


def test_a_failure_in_the_middle_leaves_nothing(fresh_home, small_archive, monkeypatch):
    def broken(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(LabError, match="free the disk"):
        open_pets("sample")
    assert what_lies_in(fresh_home / "dataset") == []


def test_other_data_in_its_place_are_never_touched(fresh_home, small_archive):
    place = fresh_home / "dataset" / "sample" / "oxford-iiit-pet"
    place.mkdir(parents=True)
    with pytest.raises(LabError, match="dataset/sample: holds other data than the sample of this version"):
        open_pets("sample")
    assert list(place.parent.iterdir()) == [place]
    with pytest.raises(LabError, match="sample: comes with labkit"):
        get_pets("sample", small_archive)
