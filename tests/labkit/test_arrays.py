import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image

from labkit.data import load_arrays, open_pets, resize_image, resize_trimap
from labkit.errors import LabError


@pytest.fixture
def cache(tiny_pets, tmp_path, monkeypatch):
    """The cache folder of a lab in which nothing has been built yet."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "dataset" / "cache"


def array_files(cache) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("*.npy")}


def test_rows_are_the_decoded_and_resized_files(tiny_pets):
    arrays = load_arrays(tiny_pets, 32)
    assert arrays.size == 32
    assert not arrays.images.flags.owndata  # mapped, not copied
    assert arrays.images.dtype == arrays.trimaps.dtype == np.uint8
    assert len(arrays.images) == len(arrays.trimaps) == len(tiny_pets)
    for index in range(len(tiny_pets)):
        with Image.open(tiny_pets.image_path(index)) as image:
            assert np.array_equal(arrays.images[index], np.asarray(image.resize((32, 32), Image.BILINEAR)))
        with Image.open(tiny_pets.trimap_path(index)) as trimap:
            assert np.array_equal(arrays.trimaps[index], np.asarray(trimap.resize((32, 32), Image.NEAREST)))


def test_arrays_cannot_be_written_to(tiny_pets):
    arrays = load_arrays(tiny_pets, 32)
    for array in (arrays.images, arrays.trimaps):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_resizing_takes_height_before_width():
    image, trimap = np.zeros((10, 20, 3), np.uint8), np.ones((10, 20), np.uint8)
    assert resize_image(image, (4, 6)).shape == (4, 6, 3)
    assert resize_trimap(trimap, (4, 6)).shape == (4, 6)


def test_shrinking_an_image_averages_and_shrinking_a_trimap_picks():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    small = resize_image(np.repeat(stripes[..., None], 3, axis=2), (8, 8))
    assert np.abs(small.astype(int) - 127.5).max() < 12
    trimap = np.tile(np.array([1, 3], np.uint8), (64, 32))
    assert set(np.unique(resize_trimap(trimap, (7, 7)))) <= {1, 3}


def test_second_call_opens_the_same_files(tiny_pets, cache):
    load_arrays(tiny_pets, 32)
    before, seen = array_files(cache), []
    load_arrays(tiny_pets, 32, progress=lambda indices: seen.append(1) or indices)
    assert array_files(cache) == before
    assert len(before) == 1
    assert not seen


def test_each_size_has_its_own_files(tiny_pets, cache):
    assert load_arrays(tiny_pets, 32).size == 32
    assert load_arrays(tiny_pets, 48).size == 48
    assert len(array_files(cache)) == 2


@pytest.mark.parametrize(("path_of", "array"), [("image_path", "images"), ("trimap_path", "trimaps")])
def test_exchanged_file_makes_new_arrays(own_pets, path_of, array):
    pets = open_pets(own_pets())
    before = load_arrays(pets, 32)
    path = getattr(pets, path_of)(2)
    with Image.open(path) as old:
        flipped = old.transpose(Image.FLIP_TOP_BOTTOM)
    flipped.save(path, format="PNG")
    after = load_arrays(pets, 32)
    assert not np.array_equal(getattr(before, array)[2], getattr(after, array)[2])
    assert np.array_equal(getattr(before, array)[1], getattr(after, array)[1])


PROGRAM = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from labkit.data import load_arrays, open_pets

    root, flag, pause = sys.argv[1:]

    def slowly(indices):
        Path(flag).touch()
        for index in indices:
            time.sleep(float(pause))
            yield index

    arrays = load_arrays(open_pets(root), 32, progress=slowly)
    print(arrays.images.astype(int).sum(), arrays.trimaps.astype(int).sum())
""")


def started(root, flag, pause: float) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, str(root), str(flag), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_two_processes_at_once_build_once_and_read_the_same(tiny_root, tiny_pets, cache, tmp_path):
    both = [started(tiny_root, tmp_path / f"built.{i}", 0.05) for i in (1, 2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    arrays = load_arrays(tiny_pets, 32)
    assert said == [f"{arrays.images.astype(int).sum()} {arrays.trimaps.astype(int).sum()}\n"] * 2
    assert len(list(tmp_path.glob("built.*"))) == 1
    assert len(array_files(cache)) == 1


def test_killed_build_leaves_no_array_file_and_the_next_call_builds(tiny_root, tiny_pets, cache, tmp_path):
    process = started(tiny_root, tmp_path / "built", 600)
    while not (tmp_path / "built").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert (tmp_path / "built").exists()
    assert array_files(cache) == {}
    assert len(load_arrays(tiny_pets, 32).images) == len(tiny_pets)
    assert [path for path in cache.iterdir() if path.is_dir()] == []  # what the killed one had begun is cleared away


def test_damaged_image_leaves_no_array_file(own_pets, cache):
    pets = open_pets(own_pets(count=6))
    path = pets.image_path(3)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LabError, match="damaged") as refused:
        load_arrays(pets, 32)
    assert str(path) in str(refused.value)
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


@pytest.fixture
def machines_folder(tmp_path, monkeypatch):
    """The machine's temporary folder, for this test its own; the user has no cache folder."""
    (tmp_path / "machine").mkdir()
    (tmp_path / "cache").write_text("not a folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "machine"


def test_home_that_cannot_hold_a_cache_gives_way_to_the_temporary_folder(tiny_pets, cache, machines_folder):
    """A file stands where the folder should be; that keeps even root from writing."""
    cache.parent.parent.mkdir()
    cache.parent.write_text("not a folder")
    load_arrays(tiny_pets, 32)
    assert len(list(machines_folder.rglob("*.npy"))) == 1


def test_read_only_cache_gives_way_to_the_temporary_folder(tiny_pets, cache, machines_folder, monkeypatch):
    cache.mkdir(parents=True)
    cache.chmod(0o555)
    if os.access(cache, os.W_OK):  # root may write everywhere
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: path != cache and access(path, mode))
    load_arrays(tiny_pets, 32)
    cache.chmod(0o755)
    assert len(list(machines_folder.rglob("*.npy"))) == 1
    assert array_files(cache) == {}
