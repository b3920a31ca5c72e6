"""Faults of the reports' code that act in a training, each under a name of its own: `faults = ["batch-flip"]`.

A fault is a function that changes a trainer, or what keeps its run, before the first step; the loop does not know them.
Faults of a network are networks of their own (`report_resnet34_unet`, `gate = "report"`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.data import Augment, Batch, BatchTransform, mask_from_trimap
from labkit.data.augment import draws
from labkit.errors import LabError
from labkit.metrics import IGNORED
from labkit.training.losses import LOSSES, bce

if TYPE_CHECKING:
    from labkit.training.checkpoints import RunInProgress
    from labkit.training.loop import Trainer

Prepared = tuple[Tensor, Tensor]


class FaultyTransform:
    """A `BatchTransform` whose augmentation goes another way: `change(prepare, batch, augment, seed, epoch, size)`."""

    def __init__(self, prepare: BatchTransform, change: Callable[..., Prepared]):
        self.prepare, self.change = prepare, change

    def __call__(self, batch: Batch, augment: Augment | None = None, seed=0, epoch=0, size=None) -> Prepared:
        if augment is None:  # validation
            return self.prepare(batch, size=size)
        return self.change(self.prepare, batch, augment, seed, epoch, size)

    def __getattr__(self, name: str):
        return getattr(self.prepare, name)


def idle_crop(prepare: BatchTransform, batch: Batch, augment: Augment, *draw) -> Prepared:
    """Report 000: `RandomCrop(256)` after `Resize(256)` cuts the whole image out."""
    return prepare(batch, augment.model_copy(update={"crop": 0.0}), *draw)


def random_choice(prepare: BatchTransform, batch: Batch, augment: Augment, seed, epoch, size) -> Prepared:
    """Report 000: `RandomChoice` takes elastic or crop, whose own probability decides then: half as many of each."""
    elastic = draws(seed + 2**32, epoch, batch.indices, 1)[:, 0] < 0.5
    parts = []
    for chosen, left_out in ((elastic, "crop"), (~elastic, "elastic")):
        if chosen.any():
            some = Batch(*(values[chosen] for values in batch))
            parts.append(prepare(some, augment.model_copy(update={left_out: 0.0}), seed, epoch, size))
    back = torch.argsort(torch.argsort(~elastic, stable=True))  # from the order of the parts to the batch's
    images, masks = (torch.cat(values) for values in zip(*parts, strict=True))
    return images[back.to(images.device)], masks[back.to(masks.device)]


def batch_flip(prepare: BatchTransform, batch: Batch, augment: Augment, seed, epoch, size) -> Prepared:
    """Report 002: one decision for the whole batch, so that its images are flipped together or not at all."""
    still = augment.model_copy(update={"horizontal_flip": 0.0, "vertical_flip": 0.0})
    images, masks = prepare(batch, still, seed, epoch, size)
    across, down = np.random.default_rng([seed, epoch, int(batch.indices[0])]).random(2)
    asked = {-1: across < augment.horizontal_flip, -2: down < augment.vertical_flip}
    axes = [axis for axis, flips in asked.items() if flips]
    return images.flip(axes), masks.flip(axes)


def separate_transforms(prepare: BatchTransform, batch: Batch, augment: Augment, seed, epoch, size) -> Prepared:
    """Report 000: image and mask go through the random transform one after the other, each with its own numbers."""
    images, _ = prepare(batch, augment, seed, epoch, size)
    _, masks = prepare(batch, augment, seed + 2**33, epoch, size)
    return images, masks


def interpolated_masks(trainer: "Trainer", kept: "RunInProgress") -> None:
    """Report 000: training masks are resized with interpolation, then cut to integers, and the foreground shrinks."""
    target, arrays, pets = trainer.recipe.data.target, trainer.arrays, trainer.pets
    if trainer.recipe.model.classes > 2:
        raise LabError("training.faults: interpolated-masks needs a target with one foreground")
    trimaps = np.array(arrays.trimaps)  # in memory: validation's rows stay as they are
    for index in np.unique(trainer.train % len(trimaps)):
        trimap, pet = torch.from_numpy(pets.trimap(index))[None], pets.items[index]
        mask = mask_from_trimap(trimap, target, torch.tensor([pet.species]), torch.tensor([pet.class_id]))
        size = (arrays.size, arrays.size)
        smooth = F.interpolate((mask == 1).float()[None], size, mode="bilinear", antialias=True)[0, 0]
        trimaps[index] = np.where(smooth.numpy() > 1 - 1e-4, 1, 2)  # of a trimap: 1 is the pet, 2 background
    trainer.arrays = replace(arrays, trimaps=trimaps)


def frozen_batch_norm(trainer: "Trainer", kept: "RunInProgress") -> None:
    """Report 000: validation switches to `eval()`, nothing switches back, and from epoch 2 on the norms stand still."""
    train = trainer.model.train
    trainer.model.train = lambda mode=True: train(mode and trainer.schedule.last_epoch == 0)


def bce_on_probabilities(trainer: "Trainer", kept: "RunInProgress") -> None:
    """Report 001: sigmoid in the network, then `BCELoss`: the same value, but its gradient ends where floats do."""

    def value(logits: Tensor, truth: Tensor) -> Tensor:
        known = truth != IGNORED
        probabilities = logits[:, 0].float().sigmoid()[known]
        total = F.binary_cross_entropy(probabilities, (truth[known] == 1).float(), reduction="sum")
        return total / known.sum().clamp(min=1)

    _replace_bce(trainer, "bce-on-probabilities", value)


def double_sigmoid(trainer: "Trainer", kept: "RunInProgress") -> None:
    """Report 003: sigmoid in the network and again in `BCEWithLogitsLoss`, of which 0.31 to 0.69 a pixel are left."""
    _replace_bce(trainer, "double-sigmoid", lambda logits, truth: bce(logits.float().sigmoid(), truth))


def best_from_70(trainer: "Trainer", kept: "RunInProgress") -> None:
    """Report 003: `best_score = 0.7` before the first epoch, so that a run below saves no weights at all."""
    best = kept.best_score
    kept.best_score = lambda: max(best(), (trainer.recipe.data.image_size, 0.7))


def wrong_checkpoint(trainer: "Trainer", kept: "RunInProgress") -> None:
    """Report 002: one file is looked for, another one loaded: a resumed run has the best weights, a fresh optimizer."""
    from labkit.training.runs import open_run

    if kept.history:
        trainer.model.load_state_dict(open_run(kept.path).model().state_dict())
        trainer.optimizer.state.clear()


def _replace_bce(trainer: "Trainer", name: str, value: Callable[[Tensor, Tensor], Tensor]) -> None:
    first, *others = trainer.recipe.training.loss.split("+")
    if first != "bce":
        raise LabError(f"training.faults: {name} needs a loss with bce, and this one is {first}")
    trainer.loss = lambda logits, truth: value(logits, truth) + sum(LOSSES[other](logits, truth) for other in others)


def _transform(change: Callable[..., Prepared]) -> Callable[["Trainer", "RunInProgress"], None]:
    def apply(trainer: "Trainer", kept: "RunInProgress") -> None:
        trainer.prepare = FaultyTransform(trainer.prepare, change)

    return apply


FAULTS: dict[str, Callable[["Trainer", "RunInProgress"], None]] = {
    "idle-crop": _transform(idle_crop),
    "random-choice": _transform(random_choice),
    "batch-flip": _transform(batch_flip),
    "separate-transforms": _transform(separate_transforms),
    "interpolated-masks": interpolated_masks,
    "frozen-batch-norm": frozen_batch_norm,
    "bce-on-probabilities": bce_on_probabilities,
    "double-sigmoid": double_sigmoid,
    "best-from-0.7": best_from_70,
    "wrong-checkpoint": wrong_checkpoint,
}
"""By name, in the order in which they are applied: a later transform draws for the earlier ones."""


def apply_faults(trainer: "Trainer", kept: "RunInProgress") -> None:
    """Give a trainer the faults of its recipe; a `LabError` where one does not fit the recipe."""
    for name, fault in FAULTS.items():
        if name in trainer.recipe.training.faults:
            fault(trainer, kept)
