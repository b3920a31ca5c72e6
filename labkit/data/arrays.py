"""All images of a data set, decoded and resized once, in one memory-mapped `uint8` file."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap
from PIL import Image

from labkit.data.images import why_missing
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

    The two files `<fingerprint>-<size>.npy` and `<fingerprint>-<size>-trimaps.npy` lie in `dataset/cache`
    (or, where that cannot be written, in the machine's temporary folder). They are written whole, under a
    lock, so that any number of processes may ask at once.

    Args:
        pets: the data set; every image that it lists is read.
        size: height and width in pixels; images are squashed to it.
        progress: wraps the indices while the arrays are built, such as `tqdm`.

    Raises:
        LabError: an image or trimap is missing or damaged, or the two differ in size; the disk is full.
    """
    folder = _cache_folder()
    stem = f"{_state(pets)}-{size}"
    image_file, trimap_file = folder / f"{stem}.npy", folder / f"{stem}-trimaps.npy"
    with FileLock(folder / f"{stem}.lock"):
        if not (image_file.exists() and trimap_file.exists()):
            _build(pets, size, image_file, trimap_file, progress)
    return Arrays(_mapped(image_file, (len(pets), size, size, 3)), _mapped(trimap_file, (len(pets), size, size)))


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


def _build(pets: Pets, size: int, image_file: Path, trimap_file: Path, progress) -> None:
    prefix = f"{PARTIAL}{image_file.stem}-"
    for killed in image_file.parent.glob(f"{prefix}*"):  # we hold the lock, so nobody is at work there
        shutil.rmtree(killed, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=image_file.parent, prefix=prefix) as building:
        parts = [Path(building) / "images.npy", Path(building) / "trimaps.npy"]
        try:
            images, trimaps = (
                _created(parts[0], (len(pets), size, size, 3)),
                _created(parts[1], (len(pets), size, size)),
            )
        except OSError as error:
            raise LabError(
                f"{image_file}: {len(pets) * size * size * 4 / 2**20:,.0f} MiB are needed for the arrays, and they "
                f"cannot be written ({error.strerror}); free the disk or choose a smaller image_size"
            ) from None

        def decode(index: int) -> None:
            image, trimap = pets.image(index), pets.trimap(index)
            if image.shape[:2] != trimap.shape:
                raise LabError(
                    f"{pets.image_path(index)}: the image is {image.shape[1]}x{image.shape[0]} pixels, its trimap "
                    f"{trimap.shape[1]}x{trimap.shape[0]}; fetch both again"
                )
            images[index] = resize_image(image, (size, size))
            trimaps[index] = resize_trimap(trimap, (size, size))

        # threads, because Pillow decodes and resizes outside Python's lock
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in progress(pool.map(decode, range(len(pets)))):
                pass
        for array, part, target in zip((images, trimaps), parts, (image_file, trimap_file), strict=True):
            array.flush()
            os.replace(part, target)


def _cache_folder() -> Path:
    for folder in (home() / "dataset" / "cache", cache_folders()[1]):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise LabError(f"{folder}: cannot be written; set TMPDIR to a folder with space for the array file")


def _state(pets: Pets) -> str:
    """A digest of names, file sizes and change times, so that an exchanged image makes a new array file.

    The classes count too, because the masks' values are checked against them.
    """
    digest = hashlib.sha256("\n".join(pets.classes).encode())
    for index, pet in enumerate(pets.items):
        for path in (pets.image_path(index), pets.trimap_path(index)):
            try:
                found = path.stat()
            except FileNotFoundError:
                raise LabError(f"{path}: {why_missing(path)}") from None
            digest.update(f"{pet.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
