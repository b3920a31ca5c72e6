"""Training with few masks: the unlabelled ones are never used, and the teacher's stand where it is sure."""

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.data import Augment, Batch, load_arrays, open_pets
from labkit.errors import LabError
from labkit.training import MovingAverage, Trainer, build_network, epochs, load_recipe, resolve
from labkit.training.teacher import CONFIDENT, half_labelled
from tests.labkit.test_training import recipe, trained, weights

FEW = {"data": {"unlabelled": 12}, "training": {"ema": 0.9}}


def built(pets, **tables):
    what = resolve(recipe(**{key: FEW.get(key, {}) | tables.get(key, {}) for key in FEW | tables}), pets, "cpu")
    return Trainer(what, pets, build_network(what))


@pytest.mark.parametrize("loss", ["bce+dice", "cross-entropy"])
def test_the_masks_of_unlabelled_images_change_nothing(own_pets, tmp_path, loss, monkeypatch):
    """Other masks for them give the same weights to the bit; other masks for one with a mask do not."""
    monkeypatch.setattr("labkit.training.teacher.CONFIDENT", 0.5)  # the teacher's masks count from the first step on
    folder = own_pets(count=24, tests=6)
    what = recipe(data=FEW["data"], training=FEW["training"] | {"loss": loss})
    without = what.unlabelled_indices(open_pets(folder))
    labelled = np.setdiff1d(what.train_indices(open_pets(folder)), without)
    assert (len(without), len(labelled)) == (12, 4)
    trained(what, open_pets(folder), tmp_path / "one")
    ends = [weights(tmp_path / "one")]
    for name, changed in (("other", without), ("wrong", labelled[:1])):
        pets = open_pets(folder)
        for index in changed:
            trimap = np.ones_like(pets.trimap(index))
            trimap[: len(trimap) // 2] = 2
            Image.fromarray(trimap).save(pets.trimap_path(index))
        trained(what, open_pets(folder), tmp_path / name)
        ends.append(weights(tmp_path / name))
    assert all(torch.equal(ends[1][key], value) for key, value in ends[0].items())
    assert not all(torch.equal(ends[2][key], value) for key, value in ends[0].items())


def test_the_images_without_masks_do_count(tiny_pets, tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.training.teacher.CONFIDENT", 0.5)
    trained(recipe(**FEW), tiny_pets, tmp_path / "with")
    monkeypatch.setattr("labkit.training.teacher.CONFIDENT", 1.1)
    trained(recipe(**FEW), tiny_pets, tmp_path / "never-sure")
    one, other = weights(tmp_path / "with"), weights(tmp_path / "never-sure")
    assert not all(torch.equal(one[key], value) for key, value in other.items())


def test_the_labelled_images_are_those_of_a_smaller_training(tiny_pets):
    what = recipe(**FEW)
    train, without = what.train_indices(tiny_pets), what.unlabelled_indices(tiny_pets)
    assert set(without) < set(train)
    few = recipe(data={"train_images": 4}).train_indices(tiny_pets)
    assert np.setdiff1d(train, without).tolist() == sorted(few)
    part = what.changed(data={"train_images": 10, "unlabelled": 6})
    assert np.setdiff1d(part.train_indices(tiny_pets), part.unlabelled_indices(tiny_pets)).tolist() == sorted(few)


def test_an_epoch_has_as_many_images_with_masks_as_without_each_time_in_another_way(tiny_pets):
    indices = half_labelled(np.arange(5), np.array([1, 3, 4]), 24)
    assert indices.tolist() == [0, 2, 24, 1, 3, 4]
    assert half_labelled(np.arange(5), np.array([1]), 24).tolist() == [0, 2, 3, 4, 1]
    trainer = built(tiny_pets, data={"augment": {"affine": 1.0, "rotate": 90}})
    again = torch.from_numpy(trainer.train[[0, 4, 8]])  # one image, three times
    assert len(set((again % 24).tolist())) == 1
    rows = load_arrays(tiny_pets, 32)
    batch = Batch(*(torch.from_numpy(part[again % 24]) for part in (rows.images, rows.trimaps)), again)
    images, _ = trainer.prepare(batch, trainer.recipe.data.augment, 0, 1)
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])


def test_targets_are_the_teachers_classes_where_it_is_sure_moved_with_the_image(tiny_pets):
    for tables in ({}, {"data": {"target": "species"}, "training": {"loss": "cross-entropy"}}):
        trainer = built(tiny_pets, **tables)
        index = int(trainer.recipe.unlabelled_indices(tiny_pets)[0])
        labelled = int(trainer.train[0])
        rows, both = load_arrays(tiny_pets, 32), np.array([index, labelled])
        batch = Batch(*(torch.from_numpy(part[both]) for part in (rows.images, rows.trimaps)), torch.from_numpy(both))
        with torch.no_grad():
            trainer.validated.head.weight.mul_(30)  # so that it is sure of much, not of all
        plain_images, plain_masks = trainer.prepare(batch)
        logits = trainer.validated.eval()(plain_images[:1]).detach()
        shares = torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1) if logits.shape[1] == 1 else logits.softmax(1)
        expected = shares.argmax(1)
        sure = shares.amax(1) >= CONFIDENT
        assert 0 < sure.float().mean() < 1
        expected[~sure] = 255
        images, masks = trainer.prepare(batch, Augment(horizontal_flip=1.0), 0, 1)
        assert torch.allclose(images, plain_images.flip(-1), atol=1e-5)
        assert torch.equal(masks[:1], expected.flip(-1))
        assert torch.equal(masks[1:], plain_masks[1:].flip(-1))


def test_the_teacher_is_the_average_of_the_weights_as_it_is_at_each_step(tiny_pets):
    trainer = built(tiny_pets)
    assert isinstance(trainer.average, MovingAverage)
    assert trainer.prepare.teacher is trainer.average.module
    before = next(trainer.prepare.teacher.parameters()).clone()
    trainer.epoch([trainer.train[:8]], 1, 32, lambda items, _: items)
    assert not torch.equal(next(trainer.prepare.teacher.parameters()), before)


def test_a_resumed_run_is_the_unbroken_one(tiny_pets, tmp_path):
    what = recipe(**FEW)
    trained(what, tiny_pets, tmp_path / "whole")
    for record in epochs(what, tiny_pets, tmp_path / "parts", device="cpu"):
        if record.epoch == 2:
            break
    trained(what, tiny_pets, tmp_path / "parts", resume=True)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[key], value) for key, value in other.items())


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"training": {"ema": 0.0}}, r"data\.unlabelled: needs a moving average, such as training\.ema = 0\.99"),
        ({"data": {"augment": {"copies": 1}}}, r"data\.unlabelled: needs a moving average, .* and no copies"),
        ({"data": {"unlabelled": 16}}, r"data\.unlabelled: 16 of 16 training images; leave some masks"),
        ({"data": {"train_images": 5}}, r"data\.unlabelled: 12 of 5 training images"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(tiny_pets, tables, sentence):
    with pytest.raises(LabError, match=sentence):
        built(tiny_pets, **tables)


def test_no_recipe_that_comes_with_labkit_is_semi_supervised():
    assert load_recipe("default").data.unlabelled == 0
