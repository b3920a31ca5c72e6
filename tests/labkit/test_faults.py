"""Each fault does what the report's code did, and is gone when it is not named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from labkit.data import Augment, batch_loader
from labkit.errors import LabError
from labkit.training import build_network, epochs, open_run, resolve
from labkit.training.checkpoints import RunInProgress
from labkit.training.faults import FAULTS, apply_faults
from labkit.training.loop import Trainer
from labkit.training.losses import bce, dice_loss
from labkit.training.recipe import checked
from labkit.training.runs import load_checkpoint
from tests.labkit.test_training import recipe, trained, without_clock

FLIPS = {"horizontal_flip": 0.5, "vertical_flip": 0.5, "affine": 0.0}


@pytest.fixture
def trainer(tiny_pets):
    """Builds a trainer with some faults, `trainer("batch-flip", augment={...}, loss="bce")`."""

    def build(*faults: str, augment: dict | None = None, **training) -> Trainer:
        what = recipe(training={"faults": faults, **training}, data={"augment": augment or {}})
        resolved = resolve(what, tiny_pets, "cpu")
        built = Trainer(resolved, tiny_pets, build_network(resolved))
        apply_faults(built, RunInProgress(None, built))
        return built

    return build


def prepared(trainer: Trainer, epoch: int = 1, **changes) -> tuple[torch.Tensor, torch.Tensor]:
    """All training images as one batch."""
    batch = next(iter(batch_loader(trainer.arrays, [trainer.train])))
    augment = trainer.recipe.data.augment.model_copy(update=changes)
    return trainer.prepare(batch, augment, trainer.recipe.training.seed, epoch, 32)


def rows_equal(one: torch.Tensor, other: torch.Tensor) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(one, other, strict=True)]


def test_a_fault_that_is_not_known_is_refused_with_those_there_are():
    with pytest.raises(LabError, match=r"training\.faults\.0: found 'sleepy'.*'batch-flip'"):
        checked({"training": {"faults": ["sleepy"]}}, "mine")


def test_without_a_name_nothing_is_changed(trainer, tiny_pets):
    plain, first = trainer(), trained(recipe(), tiny_pets)
    assert type(plain.prepare).__name__ == "BatchTransform"
    assert plain.model.train.__func__ is torch.nn.Module.train
    assert without_clock(first) == without_clock(trained(recipe(training={"faults": []}), tiny_pets))


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_trained_with(name, tiny_pets, tmp_path):
    what = recipe(training={"faults": [name], "epochs": 2, "loss": "bce+dice"}, data={"augment": FLIPS})
    assert len(trained(what, tiny_pets, tmp_path / "run")) == 2


def test_separate_transforms_give_image_and_mask_draws_of_their_own(trainer):
    clean, faulty = prepared(trainer(augment=FLIPS)), prepared(trainer("separate-transforms", augment=FLIPS))
    assert torch.equal(clean[0], faulty[0])
    still = rows_equal(clean[1], faulty[1])
    assert 0 < sum(still) < len(still) / 2  # of four ways to lie a mask has the right one in a quarter of the cases


def test_separate_transforms_leave_validation_alone(trainer):
    clean, faulty = trainer(augment=FLIPS), trainer("separate-transforms", augment=FLIPS)
    batch = next(iter(batch_loader(clean.arrays, [clean.valid])))
    assert all(torch.equal(one, other) for one, other in zip(clean.prepare(batch), faulty.prepare(batch), strict=True))


def test_batch_flip_flips_all_images_or_none(trainer):
    faulty, plain = trainer("batch-flip", augment=FLIPS), prepared(trainer())
    met = set()
    for epoch in range(1, 30):
        images, masks = prepared(faulty, epoch)
        same = [
            axes
            for axes in ((), (-1,), (-2,), (-1, -2))
            if torch.equal(images, plain[0].flip(axes)) and torch.equal(masks, plain[1].flip(axes))
        ]
        assert len(same) == 1
        met.add(same[0])
    assert len(met) == 4


def test_idle_crop_crops_nothing(trainer):
    assert torch.equal(prepared(trainer("idle-crop", augment={"crop": 1.0}))[0], prepared(trainer())[0])
    assert not torch.equal(prepared(trainer(augment={"crop": 1.0}))[0], prepared(trainer())[0])


def test_random_choice_takes_elastic_or_crop_and_never_both(trainer):
    both = {"elastic": 1.0, "crop": 1.0, "elastic_alpha": 200.0}
    clean = trainer(augment=both)
    chosen = prepared(trainer("random-choice", augment=both))
    elastic, crop = prepared(clean, crop=0.0), prepared(clean, elastic=0.0)
    is_elastic, is_crop = rows_equal(chosen[0], elastic[0]), rows_equal(chosen[0], crop[0])
    assert all(one != other for one, other in zip(is_elastic, is_crop, strict=True))
    assert 0 < sum(is_elastic) < len(is_elastic)
    for mask, row in zip(chosen[1], range(len(chosen[1])), strict=True):
        assert torch.equal(mask, (elastic if is_elastic[row] else crop)[1][row])


def test_interpolated_masks_keep_only_what_is_foreground_throughout(trainer, tiny_pets):
    clean, faulty = trainer(), trainer("interpolated-masks")
    resize = v2.Resize((32, 32), interpolation=v2.InterpolationMode.BILINEAR, antialias=True)
    for index in clean.train:
        mask = torch.from_numpy(tiny_pets.trimap(index) != 2).float()[None]
        expected = resize(mask)[0].numpy() > 0.9999
        assert np.array_equal(faulty.arrays.trimaps[index] == 1, expected)
        assert expected.sum() < (clean.arrays.trimaps[index] != 2).sum()
    for index in clean.valid:
        assert np.array_equal(faulty.arrays.trimaps[index], clean.arrays.trimaps[index])


def test_interpolated_masks_need_one_foreground(tiny_pets):
    what = recipe(data={"target": "species"}, training={"loss": "cross-entropy", "faults": ["interpolated-masks"]})
    with pytest.raises(LabError, match="interpolated-masks needs a target with one foreground"):
        trained(what, tiny_pets)


@pytest.mark.parametrize("resumed", [False, True])
def test_frozen_batch_norm_stands_still_from_the_second_epoch_on(tiny_pets, tmp_path, resumed):
    what, run, means = recipe(training={"faults": ["frozen-batch-norm"]}), tmp_path / "run", []

    def note() -> None:
        model = load_checkpoint(run / "last.pt")["model"]
        means.append(torch.cat([value for key, value in model.items() if "running_mean" in key]))

    training = epochs(what, tiny_pets, run, device="cpu")
    next(training)
    note()
    if resumed:
        training.close()
        training = epochs(what, tiny_pets, run, device="cpu", resume=True)
    for _ in training:
        note()
    assert means[0].abs().sum() > 0
    assert all(torch.equal(mean, means[0]) for mean in means[1:])
    assert len(means) == 4


def test_bce_on_probabilities_is_bce_until_floats_end(trainer):
    loss = trainer("bce-on-probabilities", loss="bce").loss
    logits, truth = torch.randn(2, 1, 8, 8) * 3, torch.randint(0, 2, (2, 8, 8))
    truth[0, 0] = 255
    assert loss(logits, truth).item() == pytest.approx(bce(logits, truth).item(), rel=1e-4)
    wrong = torch.full((1, 1, 1, 1), 200.0, requires_grad=True)  # sure, and wrong
    nothing = torch.zeros(1, 1, 1, dtype=torch.int64)
    assert torch.autograd.grad(loss(wrong, nothing), wrong)[0].item() == 0
    assert torch.autograd.grad(bce(wrong, nothing), wrong)[0].item() == 1


def test_double_sigmoid_is_bce_with_logits_on_probabilities_and_leaves_dice(trainer):
    logits, truth = torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 8, 8))
    expected = F.binary_cross_entropy_with_logits(logits.sigmoid()[:, 0], truth.float())
    assert torch.allclose(trainer("double-sigmoid", loss="bce").loss(logits, truth), expected)
    both = trainer("double-sigmoid", loss="bce+dice").loss(logits, truth)
    assert torch.allclose(both, expected + dice_loss(logits, truth))
    perfect = trainer("double-sigmoid", loss="bce").loss((truth * 2.0 - 1)[:, None] * 1e4, truth)
    share = truth.float().mean()
    assert perfect.item() == pytest.approx(float(share * 0.31326 + (1 - share) * 0.69315), rel=1e-4)


@pytest.mark.parametrize("name", ["double-sigmoid", "bce-on-probabilities"])
def test_faults_of_bce_need_bce(trainer, name):
    with pytest.raises(LabError, match=f"{name} needs a loss with bce, and this one is dice"):
        trainer(name, loss="dice")


def test_best_from_70_saves_no_weights_below(tiny_pets, tmp_path):
    slow = {"learning_rate": 1e-6, "epochs": 1}
    (epoch,) = trained(recipe(training=slow | {"faults": ["best-from-0.7"]}), tiny_pets, tmp_path / "faulty")
    assert epoch.valid_dice < 0.7
    assert not (tmp_path / "faulty" / "best.safetensors").exists()
    with pytest.raises(LabError, match=r"no best\.safetensors there; train first, without the fault best-from-0\.7"):
        open_run(tmp_path / "faulty")
    trained(recipe(training=slow), tiny_pets, tmp_path / "clean")
    assert (tmp_path / "clean" / "best.safetensors").exists()


def test_wrong_checkpoint_goes_on_from_the_best_weights(tiny_pets, tmp_path):
    what = recipe(training={"faults": ["wrong-checkpoint"], "epochs": 4, "learning_rate": 0.3})
    run, records = tmp_path / "run", []
    for record in epochs(what, tiny_pets, run, device="cpu"):
        records.append(record)
        if not record.best and len(records) > 1:
            break
    assert not records[-1].best, "no epoch was worse than an earlier one"
    best = open_run(run).model().state_dict()
    resolved = resolve(what, tiny_pets, "cpu")
    trainer = Trainer(resolved, tiny_pets, build_network(resolved))
    kept = RunInProgress(run, trainer)
    kept.restore()
    assert not all(torch.equal(value, best[key]) for key, value in trainer.model.state_dict().items())
    apply_faults(trainer, kept)
    assert all(torch.equal(value, best[key]) for key, value in trainer.model.state_dict().items())
    assert not trainer.optimizer.state


# --- copies and fewer images, which are no faults


def test_copies_stand_beside_images_that_are_left_as_they_are(trainer):
    augment = Augment(horizontal_flip=1.0, copies=2)
    built = trainer(augment=augment.model_dump())
    plain = trainer()
    number = len(plain.train)
    assert len(built.train) == 3 * number
    images, masks = prepared(built)
    own_images, own_masks = prepared(plain)
    assert torch.equal(images[:number], own_images)
    assert torch.equal(masks[:number], own_masks)
    for copy in (1, 2):
        part = slice(copy * number, (copy + 1) * number)
        assert torch.allclose(images[part], own_images.flip(-1), atol=1e-5)
        assert torch.equal(masks[part], own_masks.flip(-1))


def test_copies_are_drawn_each_on_its_own(trainer):
    built = trainer(augment={"affine": 1.0, "rotate": 90, "copies": 2})
    images, _ = prepared(built)
    first, second = images.chunk(3)[1:]
    assert not any(rows_equal(first, second))


def test_fewer_training_images_are_a_part_of_more(tiny_pets):
    some, more = (recipe(data={"train_images": n}).train_indices(tiny_pets) for n in (5, 9))
    everything = recipe().train_indices(tiny_pets).tolist()
    assert set(some) < set(more) < set(everything)
    assert [index for index in everything if index in set(more)] == more.tolist()
    with pytest.raises(LabError, match=r"data\.train_images: 99, but 'official' trains on 16 images"):
        recipe(data={"train_images": 99}).train_indices(tiny_pets)
