"""All images of a data set, decoded and resized once, in one memory-mapped `uint8` file."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap
from PIL import Image

from labkit.data.images import in_threads
from labkit.data.pets import Pets
from labkit.errors import LabError
from labkit.files import PARTIAL, cache_folders, home


@dataclass(frozen=True)
class Arrays:
    """Images and raw trimaps of a whole data set at one size, row i = index i; read-only, on disk."""

    images: np.ndarray
    """`uint8 [N, S, S, 3]`"""
    trimaps: np.ndarray
    """`uint8 [N, S, S]`, values 1, 2, 3; class indices and 255 where the data have classes of their own."""

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return self.images.shape[1]


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize `uint8 [H, W, 3]` to `size` = (height, width): bilinear, with antialiasing when it shrinks."""
    return image if image.shape[:2] == size else np.asarray(Image.fromarray(image).resize(size[::-1], Image.BILINEAR))


def resize_trimap(trimap: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize `uint8 [H, W]` to `size` = (height, width): nearest, so that no value is made up."""
    return trimap if trimap.shape == size else np.asarray(Image.fromarray(trimap).resize(size[::-1], Image.NEAREST))


def load_arrays(pets: Pets, size: int, progress: Callable[[Iterable], Iterable] = iter) -> Arrays:
    """The data set as arrays of `size` x `size` pixels, built on first use and memory-mapped from then on.

    The two files lie in `dataset/cache` (or, where that cannot be written, in the machine's temporary folder). They are
    written whole, under a lock, so that any number of processes may ask at once.

    `progress` wraps the indices while the arrays are built, such as `tqdm`.

    Raises:
        LabError: an image or trimap is missing or damaged, or the two differ in size; the disk is full.
    """
    # an exchanged image makes a new array file, and so do other classes, against which masks are checked
    files = [(name, *((file.st_size, file.st_mtime_ns) for file in pair)) for name, *pair in pets.files()]
    state = hashlib.sha256(repr((pets.classes, files)).encode()).hexdigest()[:16]
    stem = _cache_folder() / f"{state}-{size}"
    paths = {stem.with_name(f"{stem.name}.npy"): (3,), stem.with_name(f"{stem.name}-trimaps.npy"): ()}
    shapes = {path: (len(pets), size, size, *channels) for path, channels in paths.items()}
    with FileLock(f"{stem}.lock"):
        if not all(path.exists() for path in shapes):
            _build(pets, size, shapes, progress)
    return Arrays(*(_mapped(path, shape) for path, shape in shapes.items()))


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        array = None
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.uint8:
        raise LabError(f"{path}: the array file is damaged; delete it, and it is built anew")
    return array


def _created(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A new array file with all of its disk space: writing to a mapped file on a full disk would kill the process."""
    array = open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return array


def _build(pets: Pets, size: int, shapes: dict[Path, tuple[int, ...]], progress) -> None:
    target = next(iter(shapes))
    prefix = f"{PARTIAL}{target.stem}-"
    for killed in target.parent.glob(f"{prefix}*"):  # we hold the lock, so nobody is at work there
        shutil.rmtree(killed, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as building:
        try:
            images, trimaps = (_created(Path(building) / path.name, shape) for path, shape in shapes.items())
        except OSError as error:
            raise LabError(
                f"{target}: {len(pets) * size * size * 4 / 2**20:,.0f} MiB are needed for the arrays, and they "
                f"cannot be written ({error.strerror}); free the disk or choose a smaller image_size"
            ) from None

        def decode(index: int) -> None:
            image, trimap = pets.pair(index)
            images[index] = resize_image(image, (size, size))
            trimaps[index] = resize_trimap(trimap, (size, size))

        for _ in progress(in_threads(decode, range(len(pets)))):
            pass
        images.flush()
        trimaps.flush()
        for path in shapes:
            os.replace(Path(building) / path.name, path)


def _cache_folder() -> Path:
    for folder in (home() / "dataset" / "cache", cache_folders()[1]):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise LabError(f"{folder}: cannot be written; set TMPDIR to a folder with space for the array file")
