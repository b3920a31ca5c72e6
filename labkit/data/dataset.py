"""The pets as PyTorch knows data: a `Dataset` of images and masks, one pair at a time."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.data.arrays import resize_image, resize_trimap
from labkit.data.pets import Pets, open_pets
from labkit.data.targets import class_names, mask_from_trimap


class PetDataset(Dataset):
    """Images `float32 [3, H, W]` in [0, 1] with their masks `int64 [H, W]` of class indices, 255 = ignored.

    Every image is decoded when it is asked for. That is simple, and slow: `load_arrays` decodes all of them once.

    Args:
        root: `sample`, `pets`, a folder in the official layout, or a data set from `open_pets`.
        split: `train`, `valid` or `test` of the official split, or `<family>/<part>` of another.
        target: a key of `TARGETS`.
        image_size: side in pixels to which images (bilinear) and masks (nearest) are squashed; None keeps each image's
            own, which a `DataLoader` cannot put into one batch.
        transform: called with the image and the mask, returns both; transforms of `torchvision.transforms.v2` then
            treat the two alike (the mask is never interpolated).
    """

    def __init__(
        self,
        root: str | Path | Pets = "sample",
        split: str = "train",
        target: str = "foreground",
        image_size: int | None = 128,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ):
        self.pets = root if isinstance(root, Pets) else open_pets(root)
        family, _, part = split.rpartition("/")
        self.indices = self.pets.split(part, family or "official")
        self.target, self.image_size, self.transform = target, image_size, transform
        self.classes = class_names(target, self.pets)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        index = int(self.indices[item])
        pet, (image, trimap) = self.pets.items[index], self.pets.pair(index)
        if self.image_size is not None:
            image = resize_image(image, (self.image_size, self.image_size))
            trimap = resize_trimap(trimap, (self.image_size, self.image_size))
        image = torch.tensor(image).permute(2, 0, 1).contiguous().float() / 255
        species, class_id = torch.tensor([pet.species]), torch.tensor([pet.class_id])
        mask = mask_from_trimap(torch.tensor(trimap)[None], self.target, species, class_id)[0]
        if self.transform is not None:
            from torchvision import tv_tensors  # torchvision takes a while to import

            image, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return image.as_subclass(Tensor), mask.as_subclass(Tensor)
