"""`PetDataset` is what PyTorch's own tools expect, and holds the same pixels as torchvision's data set."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import OxfordIIITPet
from torchvision.transforms import v2

from labkit.data import PetDataset, load_arrays, mask_from_trimap
from labkit.errors import LabError


def test_images_and_masks_are_torchvisions(tiny_root, tiny_pets):
    ours = PetDataset(tiny_root, "test", image_size=None)
    theirs = OxfordIIITPet(tiny_root, "test", "segmentation")
    assert len(ours) == len(theirs) == 6
    for (image, mask), (photo, trimap) in zip(ours, theirs, strict=True):
        assert image.dtype == torch.float32
        assert mask.dtype == torch.int64
        assert torch.equal((image * 255).round().byte(), v2.functional.pil_to_tensor(photo))
        assert image.max() <= 1
        assert np.array_equal(mask.numpy(), np.isin(np.asarray(trimap), (1, 3)))


def test_a_data_loader_makes_batches_equal_to_the_array_files_rows(tiny_pets):
    images, masks = next(iter(DataLoader(PetDataset(tiny_pets, "train", image_size=32), batch_size=16)))
    arrays, rows = load_arrays(tiny_pets, 32), tiny_pets.split("train")
    assert torch.equal((images * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(arrays.images[rows]))
    assert torch.equal(masks, mask_from_trimap(torch.from_numpy(arrays.trimaps[rows]), "foreground"))


def test_a_transform_of_torchvision_moves_image_and_mask_together(tiny_pets):
    plain = PetDataset(tiny_pets, "valid", "species", image_size=24)
    flipped = PetDataset(tiny_pets, "valid", "species", image_size=24, transform=v2.RandomHorizontalFlip(1.0))
    for (image, mask), (image_too, mask_too) in zip(plain, flipped, strict=True):
        assert torch.equal(image.flip(-1), image_too)
        assert torch.equal(mask.flip(-1), mask_too)
        assert type(image_too) is type(mask_too) is torch.Tensor


@pytest.mark.parametrize(
    ("words", "sentence"), [({"split": "tests"}, "no part 'tests'"), ({"target": "pet"}, "no target")]
)
def test_what_is_not_there_is_refused_at_once(words, sentence, tiny_pets):
    with pytest.raises(LabError, match=sentence):
        PetDataset(tiny_pets, **words)
