"""The two ways from image files to batches that `benchmarks.loading` compares, and arrays of any length."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from labkit.data import Arrays, Augment, BatchTransform, Pets, batch_loader, load_arrays

MEAN, STD = (0.47, 0.44, 0.39), (0.26, 0.26, 0.27)
opened_arrays = functools.cache(load_arrays)
"""A training opens the array file once, not in every epoch."""


class ReportImages(Dataset):
    """Images as the reports read them: from their files, one by one, every time."""

    def __init__(self, pets: Pets, size: int, augment: Augment | None):
        self.pets, self.size = pets, size
        changes = torchvision_augment(augment) if augment else []
        self.change = v2.Compose([*changes, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image `float32 [3, S, S]` and mask `int64 [S, S]`."""
        side = (self.size, self.size)
        with Image.open(self.pets.image_path(index)) as file:
            image = tv_tensors.Image(v2.functional.pil_to_tensor(file.convert("RGB").resize(side, Image.BILINEAR)))
        with Image.open(self.pets.trimap_path(index)) as file:
            trimap = tv_tensors.Mask(v2.functional.pil_to_tensor(file.resize(side, Image.NEAREST)))
        image, trimap = self.change(image, trimap)
        return image.as_subclass(Tensor), ((trimap == 1) | (trimap == 3))[0].long().as_subclass(Tensor)


def torchvision_augment(augment: Augment) -> list[v2.Transform]:
    """torchvision's transforms for flips, affine maps and colors of a recipe."""
    shift, scale = (augment.shift, augment.shift), augment.scale
    moved = v2.RandomAffine(augment.rotate, shift, scale, interpolation=InterpolationMode.BILINEAR)
    return [
        v2.RandomHorizontalFlip(augment.horizontal_flip),
        v2.RandomApply([moved], augment.affine),
        v2.ColorJitter(augment.brightness, augment.contrast, augment.saturation),
    ]


def report_way(
    pets: Pets, size: int, augment: Augment | None, batches: Sequence[np.ndarray], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalized images and masks of each batch, as the reports make them."""
    yield from DataLoader(ReportImages(pets, size, augment), batch_sampler=batches, num_workers=workers)


def array_way(
    pets: Pets, size: int, augment: Augment | None, batches: Sequence[np.ndarray], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalized images and masks of each batch, from the array file."""
    prepare = BatchTransform(pets, "foreground", MEAN, STD)
    for batch in batch_loader(opened_arrays(pets, size), batches, workers):
        yield prepare(batch, augment, seed=0, epoch=1)


WAYS = {"reports": report_way, "arrays": array_way}


def batches_of(pets: Pets, count: int, batch_size: int) -> list[np.ndarray]:
    """`count` batches of the data's images in a drawn order, again and again if they are fewer."""
    order = np.random.default_rng(0).permutation(len(pets))
    return np.split(np.resize(order, count * batch_size), count)


def many_arrays(pets: Pets, folder: Path, count: int, size: int = 64) -> Arrays:
    """Array files of `count` images in `folder`: the rows of the data, again and again."""
    drawn, written = load_arrays(pets, size), []
    for name, rows in (("images", drawn.images), ("trimaps", drawn.trimaps)):
        path = folder / f"{count}-{name}.npy"
        file = open_memmap(path, "w+", np.uint8, (count, *rows.shape[1:]))
        for first in range(0, count, len(rows)):
            file[first : first + len(rows)] = rows[: count - first]
        file.flush()
        written.append(np.load(path, mmap_mode="r"))
    return Arrays(*written)
