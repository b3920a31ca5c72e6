"""From the array file to batches that a network takes."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from labkit.data.arrays import Arrays
from labkit.data.augment import Augment, augment_batch
from labkit.data.pets import Pets
from labkit.data.targets import class_names, has_foreground, mask_from_trimap


class Batch(NamedTuple):
    """A batch as it lies on disk."""

    images: Tensor  # uint8 [B, S, S, 3]
    trimaps: Tensor  # uint8 [B, S, S]
    indices: Tensor  # int64 [B]: which images of the data set these are; copies as in `with_copies`


class ArrayRows(Dataset):
    """The arrays as a data set whose index is a list of indices: a batch is read in one piece."""

    def __init__(self, arrays: Arrays):
        self.arrays = arrays

    def __getitem__(self, indices: np.ndarray) -> Batch:
        rows = indices % len(self.arrays.images)
        return Batch(self.arrays.images[rows], self.arrays.trimaps[rows], indices)


def with_copies(indices: np.ndarray, pets: Pets, augment: Augment) -> np.ndarray:
    """The indices, then those of `augment.copies` copies: index + number of images for the first copy, and so on."""
    return np.concatenate([indices + copy * len(pets.items) for copy in range(augment.copies + 1)])


def batch_indices(indices: np.ndarray, batch_size: int, seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
    """Cut indices into batches of nearly equal size, none above `batch_size`, no image left out.

    Nearly equal, because batch norm does badly on a last batch of one or two. With a seed the order is drawn.
    """
    if seed is not None:
        indices = indices[np.random.default_rng([seed, epoch]).permutation(len(indices))]
    return np.array_split(indices, -(-len(indices) // batch_size))


def batch_loader(arrays: Arrays, batches: Sequence[np.ndarray], workers: int = 0) -> DataLoader:
    """A `DataLoader` that yields one `Batch` for each list of indices.

    Reading a batch from the mapped file costs about a millisecond, so workers seldom pay; they change no result.
    """
    pin_memory = torch.cuda.is_available()
    return DataLoader(ArrayRows(arrays), sampler=batches, batch_size=None, num_workers=workers, pin_memory=pin_memory)


class BatchTransform:
    """Turns a `Batch` into what a network takes: normalized images and class-index masks, on the device.

    `target` is a key of `TARGETS`; mean and std are per channel, for images in [0, 1]. LabError: the target is unknown,
    or not made from what the data hold.
    """

    def __init__(self, pets: Pets, target: str, mean: Sequence[float], std: Sequence[float], device="cpu"):
        class_names(target, pets)  # refuses a target that does not fit the data
        self.target, self.device, self.number = target, torch.device(device), len(pets.items)
        self.mean = torch.tensor(mean, device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(1, 3, 1, 1)
        self.species, self.class_ids = (torch.from_numpy(ids).to(self.device) for ids in (pets.species, pets.class_ids))

    def __call__(
        self, batch: Batch, augment: Augment | None = None, seed=0, epoch=0, size=None
    ) -> tuple[Tensor, Tensor]:
        """Images `float32 [B, 3, size, size]` and masks `int64 [B, size, size]`; `size` may differ from the arrays'.

        With `augment.redraw` an image whose mask has no foreground is augmented anew, from its own numbers for each
        attempt, so that the other images of its batch change nothing.
        """
        raw_images = images = batch.images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        raw_trimaps = trimaps = batch.trimaps.to(self.device, non_blocking=True)
        augmented = partial(augment_batch, augment=augment or Augment(), seed=seed, epoch=epoch, size=size)
        if augment is not None or size not in (None, images.shape[-1]):
            images, trimaps = augmented(images, trimaps, indices=batch.indices)
        copies = augment is not None and augment.copies > 0
        still = batch.indices < self.number * copies  # beside copies an image stays as it is
        if copies and still.any():
            plain = partial(augment_batch, augment=Augment(), seed=0, epoch=0, size=size)
            images[still], trimaps[still] = plain(raw_images[still], raw_trimaps[still], indices=batch.indices[still])
        masks = self._masks(trimaps, batch.indices)
        for attempt in range(1, 1 + (augment.redraw if augment else 0)):
            empty = torch.nonzero(~has_foreground(masks) & ~still.to(masks.device))[:, 0]
            if len(empty) == 0:
                break
            indices = batch.indices[empty.cpu()]
            images[empty], trimaps = augmented(raw_images[empty], raw_trimaps[empty], indices=indices, attempt=attempt)
            masks[empty] = self._masks(trimaps, indices)
        return images.sub_(self.mean).div_(self.std), masks  # in place: they are this call's own

    def _masks(self, trimaps: Tensor, indices: Tensor) -> Tensor:
        indices = (indices % self.number).to(self.device, non_blocking=True)
        return mask_from_trimap(trimaps, self.target, self.species[indices], self.class_ids[indices])
