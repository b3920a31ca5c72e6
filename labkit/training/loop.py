"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from labkit.data import Batch, BatchTransform, Pets, batch_indices, batch_loader, load_arrays, with_copies
from labkit.metrics import overlap_counts, predicted_mask
from labkit.training.checkpoints import run_in_progress
from labkit.training.explaining import explained
from labkit.training.faults import apply_faults
from labkit.training.hardware import ALONE, Processes, autocast, be_deterministic, join_processes, keep_freed_memory
from labkit.training.losses import LOSSES, Loss
from labkit.training.optimizers import MovingAverage, build_optimizer, build_schedule
from labkit.training.recipe import Recipe, resolve
from labkit.training.runs import HISTORY, build_network, empty_network
from labkit.training.steps import Steps, check_finite, gradient_norm, image_dice, valid_scores
from labkit.training.teacher import TeachersMasks, half_labelled

Progress = Callable[[Iterable[Batch], int], Iterable[Batch]]


@dataclass(frozen=True)
class Epoch:
    """What `epochs` yields after each epoch.

    The speed is that of training alone, without validation. Dice and IoU are hard ones, per image: those of validation
    at the recipe's image size, that of training at the epoch's, of augmented images, by the network as it then was.
    `best`: these weights are the best so far, and kept. `step_losses` are of each batch, `gradient_norms` of each
    optimizer step.
    """

    epoch: int
    seconds: float
    images_per_second: float
    learning_rate: float
    train_loss: float
    valid_loss: float
    valid_dice: float
    valid_iou: float
    best: bool = field(default=False, compare=False)
    step_losses: tuple[float, ...] = field(default=(), repr=False, compare=False)
    gradient_norms: tuple[float, ...] = field(default=(), repr=False, compare=False)
    train_dice: float = field(default=math.nan, compare=False)

    def row(self) -> dict[str, Any]:
        """The line of `history.csv`."""
        return {key: value for key, value in asdict(self).items() if key in HISTORY}


def train_step(
    model: nn.Module,
    images: Tensor,
    masks: Tensor,
    loss: Loss,
    precision: str,
    loss_scale: float = 1.0,
    scaler: GradScaler = GradScaler(enabled=False),  # noqa: B008 (has no state when it is not enabled)
) -> tuple[Tensor, Tensor]:
    """One forward and backward pass: adds the gradients of `loss_scale` times the loss, returns loss and logits.

    In float16 small gradients would become 0: an enabled `scaler` multiplies the loss by a large factor, which it
    takes out of the gradients again before the optimizer's step.
    """
    with autocast(images.device, precision):
        logits = model(images)
    value = loss(logits, masks)
    scaler.scale(loss_scale * value).backward()
    return value.detach(), logits.detach()


class Trainer:
    """A network, the images that it learns from, and all that takes part in a step.

    The recipe is a resolved one, the model is as it begins; test images of the data set are not touched.
    """

    def __init__(self, recipe: Recipe, pets: Pets, model: nn.Module, processes: Processes = ALONE):
        data, table, device = recipe.data, recipe.training, torch.device(recipe.training.device)
        self.recipe, self.pets, self.processes = recipe, pets, processes
        self.train = with_copies(recipe.train_indices(pets), pets, data.augment)
        if data.unlabelled:
            self.train = half_labelled(self.train, recipe.unlabelled_indices(pets), len(pets))
        self.valid = pets.split("valid", data.split)
        self.loss = LOSSES[table.loss]
        self.arrays = load_arrays(pets, data.image_size)
        self.prepare = BatchTransform(pets, data.target, data.mean, data.std, device)
        self.model = model.to(device, memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.model, table)
        self.scaler = GradScaler(device.type, enabled=table.precision == "float16")
        batches = batch_indices(self.train, table.batch_size)
        self.schedule = build_schedule(self.optimizer, table, table.epochs * math.ceil(len(batches) / table.accumulate))
        self.average = MovingAverage(self.model, table.ema) if table.ema else None
        self.validated = self.average.module if self.average else self.model
        if data.unlabelled:
            without = recipe.unlabelled_indices(pets)
            self.prepare = TeachersMasks(self.prepare, self.validated, without, table.precision)
        processes.check(batches, self.valid)
        # the model as it is called: on several processes it averages the gradients; it may be compiled
        self.parallel = processes.wrap(self.model)
        if table.compile:
            # a training at many sizes, with batches that differ by an image, has more shapes than the default allows
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
            self.parallel = torch.compile(self.parallel, dynamic=False)

    def epoch(self, batches: list[np.ndarray], epoch: int, size: int, progress: Progress) -> Steps:
        """Train on every batch once, at `size` pixels; returns what its steps were.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        table, augment, on_cpu = self.recipe.training, self.recipe.data.augment, self.prepare.device.type == "cpu"
        # tensors on their device until the end: to ask a GPU for a number makes the host wait for it, and then it for
        # the host; so only the CPU's losses are checked at once, and a GPU's are shown every tenth batch
        losses, rates, counts, norms = [], [], [], []
        groups = [batches[i : i + table.accumulate] for i in range(0, len(batches), table.accumulate)]
        bar = progress(batch_loader(self.arrays, self.processes.share(batches)), epoch)
        loaded = iter(bar)
        self.model.train()
        for group in groups:
            for whole in group:
                images, masks = self.prepare(next(loaded), augment, table.seed, epoch, size)
                images = images.contiguous(memory_format=torch.channels_last)
                weight = self.processes.weight(len(images), len(whole))
                with self.processes.without_exchange(self.parallel, more=whole is not group[-1]):
                    scales = weight / len(group), self.scaler
                    value, logits = train_step(self.parallel, images, masks, self.loss, table.precision, *scales)
                losses.append(weight * value)
                rates.append(self.schedule.get_last_lr()[0])
                counts.append(overlap_counts(predicted_mask(logits), masks, max(2, logits.shape[1])))
                if on_cpu:
                    check_finite(epoch, len(losses), value.item(), rates[-1])
                if len(losses) % 10 == 1 and not getattr(bar, "disable", True):
                    shown = torch.stack(losses).mean(), image_dice(counts).mean()
                    bar.set_postfix_str("loss {:.4f}, Dice {:.4f}".format(*shown), refresh=False)
            self.scaler.unscale_(self.optimizer)
            norms.append(gradient_norm(self.model))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            self.schedule.step()
            if self.average:
                self.average.update_parameters(self.model)
        # not the average's own counter, which is equal everywhere and stays on the CPU, where nccl cannot reach it
        for network in dict.fromkeys([self.model, self.validated]):
            self.processes.same_buffers(network)
        return self.read_steps(epoch, losses, rates, counts, norms)

    def read_steps(self, epoch: int, losses: list, rates: list[float], counts: list, norms: list) -> Steps:
        """An epoch's tensors as numbers; loss and Dice are those of all processes."""
        dices = image_dice(counts)
        sums = torch.stack([dices.sum(), torch.tensor(len(dices), dtype=torch.float64)])
        total, number = self.processes.total(sums.to(self.prepare.device) if self.processes.size > 1 else sums).tolist()
        losses = (self.processes.total(torch.stack(losses)) / self.processes.size).tolist()
        for step, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=1):
            check_finite(epoch, step, loss, rate)
        return Steps(losses, rates, torch.stack(norms).tolist(), total / number)

    def parts(self) -> dict[str, Any]:
        """Whatever has a state that a checkpoint keeps."""
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        parts |= {"average": self.average} if self.average else {}
        return parts | ({"scaler": self.scaler} if self.scaler.is_enabled() else {})


def epochs(
    recipe: Recipe,
    pets: Pets,
    run: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = False,
    progress: Progress = lambda batches, epoch: batches,
) -> Iterator[Epoch]:
    """Train a network; yields one record an epoch, so that whoever iterates draws, prints or stops. `fit` does all.

    Under `torchrun` every process takes its part of each batch, and the first one writes.

    Args:
        recipe: what to do; completed by `resolve`.
        pets: the data set; its test images are not touched.
        run: the run folder to write; None writes nothing.
        device: `auto`, `cpu`, `cuda` ...
        resume: go on after the last epoch of the run folder; begin where there is none yet.
        progress: wraps the batches of each epoch, such as a progress bar: `progress(batches, epoch)`.

    Raises:
        LabError: the run folder holds a run already, or one of another recipe, or another process trains there;
            the loss is not finite; the memory does not suffice.
        Interrupted: somebody stopped it; all epochs up to then are kept.
    """
    recipe = resolve(recipe, pets, device)
    table, chosen = recipe.training, torch.device(recipe.training.device)
    processes = join_processes(chosen)
    keep_freed_memory(chosen)
    be_deterministic(table.deterministic)
    torch.manual_seed(table.seed)
    goes_on = resume and run is not None and (Path(run) / "last.pt").is_file()
    with explained(recipe, lambda: "nothing was trained"):
        model = empty_network(recipe) if goes_on else build_network(recipe)
        trainer = Trainer(recipe, pets, model, processes)

    with run_in_progress(run, trainer, resume) as kept:
        apply_faults(trainer, kept)
        for epoch in range(len(kept.history) + 1, table.epochs + 1):
            if kept.has_stalled():
                break
            began = time.perf_counter()
            torch.manual_seed(table.seed * 1_000_003 + epoch)  # dropout, the same in a resumed run
            size = recipe.size_of_epoch(epoch)
            batches = batch_indices(trainer.train, table.batch_size, table.seed, epoch)
            steps = trainer.epoch(batches, epoch, size, progress)
            trained = time.perf_counter() - began
            images = trainer.arrays, trainer.valid, trainer.prepare
            scores = valid_scores(trainer.validated, *images, recipe, size, processes, trainer.loss)
            if not math.isfinite(scores["loss"]):
                rates = f"learning rates up to {max(steps.rates):g}"
                raise FloatingPointError(f"epoch {epoch}: the validation loss is {scores['loss']:g} after {rates}")
            record = Epoch(
                epoch=epoch,
                seconds=time.perf_counter() - began,
                images_per_second=len(trainer.train) / trained,
                learning_rate=trainer.schedule.get_last_lr()[0],
                train_loss=fmean(steps.losses),
                valid_loss=scores["loss"],
                valid_dice=scores["dice"],
                valid_iou=scores["iou"],
                best=(size, scores["dice"]) > kept.best_score(),
                step_losses=tuple(steps.losses),
                gradient_norms=tuple(steps.gradient_norms),
                train_dice=steps.dice,
            )
            kept.keep(record)
            yield record
