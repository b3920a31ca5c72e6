"""All images of a data set, decoded and resized once, in one memory-mapped `uint8` file."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0
from PIL import Image

from labkit.data.images import in_threads
from labkit.data.pets import Pets
from labkit.errors import LabError
from labkit.files import building, cannot_write, data_folder


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

    The two files lie in `dataset/cache` (or see `data_folder`). They are written whole, under a lock, so that any
    number of processes may ask at once.

    `progress` wraps the indices while the arrays are built, such as `tqdm`.

    Raises:
        LabError: an image or trimap is missing or damaged, or the two differ in size; the disk is full.
    """
    # an exchanged image makes a new array file, and so do other classes, against which masks are checked
    files = [(name, *((file.st_size, file.st_mtime_ns) for file in pair)) for name, *pair in pets.files()]
    state = hashlib.sha256(repr((pets.classes, files)).encode()).hexdigest()[:16]
    stem = data_folder("cache") / f"{state}-{size}"
    paths = {stem.with_name(f"{stem.name}.npy"): (3,), stem.with_name(f"{stem.name}-trimaps.npy"): ()}
    shapes = {path: (len(pets), size, size, *channels) for path, channels in paths.items()}
    if not all(path.exists() for path in shapes):
        try:
            with building(stem) as folder:
                if not all(path.exists() for path in shapes):  # another process may have had the folder before
                    _build(pets, size, shapes, folder, progress)
        except OSError as error:
            raise cannot_write(stem, error) from None
    return Arrays(*(_mapped(path, shape) for path, shape in shapes.items()))


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        array = None
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.uint8:
        raise LabError(f"{path}: the array file is damaged; delete it, and it is built anew")
    return array


def _build(pets: Pets, size: int, shapes: dict[Path, tuple[int, ...]], folder: Path, progress) -> None:
    def decode(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, trimap = pets.pair(index)
        return resize_image(image, (size, size)), resize_trimap(trimap, (size, size))

    with ExitStack() as stack:
        files = [stack.enter_context(open(folder / path.name, "wb")) for path in shapes]
        for file, shape in zip(files, shapes.values(), strict=True):
            write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for pair in progress(in_threads(decode, range(len(pets)))):
            for file, array in zip(files, pair, strict=True):
                file.write(array.tobytes())  # and not into a mapped file: on a full disk that kills the process
    for path in shapes:
        os.replace(folder / path.name, path)
