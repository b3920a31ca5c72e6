import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from labkit.data import Augment, Batch, BatchTransform, batch_indices, batch_loader, load_arrays, mask_from_trimap

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@given(count=st.integers(1, 300), batch_size=st.integers(1, 64), seed=st.none() | st.integers(0, 99))
def test_batches_are_nearly_equal_and_leave_none_out(count, batch_size, seed):
    indices = np.arange(count) * 3 + 1
    batches = batch_indices(indices, batch_size, seed, epoch=2)
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= batch_size
    assert max(lengths) - min(lengths) <= 1
    assert len(batches) == -(-count // batch_size)
    assert sorted(np.concatenate(batches).tolist()) == indices.tolist()


def test_without_a_seed_the_order_is_kept():
    indices = np.array([5, 2, 9, 4, 7])
    assert np.concatenate(batch_indices(indices, 2)).tolist() == [5, 2, 9, 4, 7]


def test_order_depends_on_seed_and_epoch_alone():
    indices = np.arange(50)
    orders = {
        (seed, epoch): tuple(np.concatenate(batch_indices(indices, 8, seed, epoch)))
        for seed in (0, 1)
        for epoch in (1, 2)
    }
    assert len(set(orders.values())) == 4
    assert orders[1, 2] == tuple(np.concatenate(batch_indices(indices, 16, 1, 2)))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_loader_gives_the_rows_in_the_order_asked_for(tiny_pets, workers):
    arrays = load_arrays(tiny_pets, 32)
    wanted = [np.array([7, 3, 11]), np.array([0, 23]), np.array([5])]
    batches = list(batch_loader(arrays, wanted, workers))
    assert [batch.indices.tolist() for batch in batches] == [indices.tolist() for indices in wanted]
    for batch in batches:
        assert isinstance(batch, Batch)
        assert batch.images.dtype == batch.trimaps.dtype == torch.uint8
        assert np.array_equal(batch.images.numpy(), arrays.images[batch.indices.numpy()])
        assert np.array_equal(batch.trimaps.numpy(), arrays.trimaps[batch.indices.numpy()])


@pytest.fixture
def batch(tiny_pets) -> Batch:
    return next(iter(batch_loader(load_arrays(tiny_pets, 32), [np.array([4, 1, 14])])))


def test_images_come_out_normalized_by_mean_and_deviation(tiny_pets, batch):
    images, masks = BatchTransform(tiny_pets, "foreground", MEAN, STD)(batch)
    by_hand = (batch.images.numpy().astype(np.float64) / 255 - MEAN) / STD
    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.float32
    assert masks.shape == (3, 32, 32)
    assert masks.dtype == torch.int64
    assert np.allclose(images.numpy(), by_hand.transpose(0, 3, 1, 2), atol=1e-5)


@pytest.mark.parametrize("target", ["foreground", "foreground_strict", "border_ignored", "trimap", "species", "breed"])
def test_mask_is_that_of_each_images_own_species_and_breed(tiny_pets, batch, target):
    _, masks = BatchTransform(tiny_pets, target, MEAN, STD)(batch)
    items = [tiny_pets.items[i] for i in batch.indices]
    species, breeds = (torch.tensor([getattr(pet, key) for pet in items]) for key in ("species", "class_id"))
    assert torch.equal(masks, mask_from_trimap(batch.trimaps, target, species, breeds))


def test_augment_that_does_nothing_changes_nothing(tiny_pets, batch):
    prepare = BatchTransform(tiny_pets, "trimap", MEAN, STD)
    images, masks = prepare(batch)
    same_images, same_masks = prepare(batch, Augment(), seed=3, epoch=5)
    assert torch.allclose(same_images, images, atol=1e-4)
    assert torch.equal(same_masks, masks)


@pytest.mark.parametrize("augment", [None, Augment(horizontal_flip=0.5)])
def test_other_size_gives_images_and_masks_of_that_size(tiny_pets, batch, augment):
    images, masks = BatchTransform(tiny_pets, "foreground", MEAN, STD)(batch, augment, size=20)
    assert images.shape == (3, 3, 20, 20)
    assert masks.shape == (3, 20, 20)


def test_halved_images_are_means_of_four_pixels(tiny_pets, batch):
    prepare = BatchTransform(tiny_pets, "foreground", MEAN, STD)
    whole, _ = prepare(batch)
    half, _ = prepare(batch, size=16)
    assert torch.allclose(half, F.avg_pool2d(whole, 2), atol=1e-4)
