"""All images of a data set, decoded and resized once, in one memory-mapped `uint8` file."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap, write_array_header_1_0
from PIL import Image

from labkit.data.images import in_threads
from labkit.data.pets import Pets
from labkit.errors import LabError
from labkit.files import building, cannot_write, data_folder


@dataclass(frozen=True)
class Arrays:
    """Images and raw trimaps of a whole data set at one size, row i = index i; read-only, on disk."""

    images: np.ndarray  # uint8 [N, S, S, 3]
    trimaps: np.ndarray  # uint8 [N, S, S], values 1, 2, 3; class indices and 255 where the data have their own classes

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

    The file lies in `dataset/cache` (or see `data_folder`). It is written whole, under a lock, so that any number of
    processes may ask at once. `progress` wraps the indices while the arrays are built, such as `tqdm`.

    Raises:
        LabError: an image or trimap is missing or damaged, or the two differ in size; the disk is full.
    """
    # an exchanged image makes a new file, and so do other classes, which masks are checked against, and another order
    files = [(name, *((file.st_size, file.st_mtime_ns) for file in pair)) for name, *pair in pets.files()]
    state = hashlib.sha256(repr(("image, trimap", pets.classes, files)).encode()).hexdigest()[:16]
    path = data_folder("cache") / f"{state}-{size}.npy"
    if not path.exists():
        try:
            with building(path) as folder:
                if not path.exists():  # another process may have had the folder before
                    _build(pets, size, folder / path.name, progress)
                    os.replace(folder / path.name, path)
        except OSError as error:
            raise cannot_write(path, error) from None
    try:
        rows = open_memmap(path, mode="r").reshape(len(pets), 4 * size * size)
    except (OSError, ValueError):
        raise LabError(f"{path}: the array file is damaged; delete it, and it is built anew") from None
    images, trimaps = np.split(rows, [3 * size * size], axis=1)
    return Arrays(images.reshape(-1, size, size, 3), trimaps.reshape(-1, size, size))


def _build(pets: Pets, size: int, path: Path, progress: Callable[[Iterable], Iterable]) -> None:
    def decode(index: int) -> bytes:
        image, trimap = pets.pair(index)
        return resize_image(image, (size, size)).tobytes() + resize_trimap(trimap, (size, size)).tobytes()

    with open(path, "wb") as file:  # and not mapped: on a full disk that would kill the process
        shape = (len(pets), 4 * size * size)
        write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for row in progress(in_threads(decode, range(len(pets)))):
            file.write(row)
