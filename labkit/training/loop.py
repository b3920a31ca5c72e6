"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from labkit.data import Arrays, Batch, BatchTransform, Pets, batch_indices, batch_loader, load_arrays
from labkit.training.board import Board
from labkit.training.checkpoints import closing_the_earlier, run_in_progress
from labkit.training.compiling import compiled
from labkit.training.completing import resolve
from labkit.training.hardware import autocast, keep_freed_memory
from labkit.training.losses import LOSSES, Loss
from labkit.training.memory import explaining_shortage
from labkit.training.optimizers import build_average, build_optimizer, build_schedule
from labkit.training.processes import Processes, join_processes
from labkit.training.recipe import Recipe
from labkit.training.runs import HISTORY, build_network, check_norms, empty_network
from labkit.training.steps import StepRecorder, Steps, gradient_norm
from labkit.training.validation import valid_scores

Progress = Callable[[Iterable[Batch], int], Iterable[Batch]]


@dataclass(frozen=True)
class Epoch:
    """What `epochs` yields after each epoch."""

    epoch: int
    seconds: float
    images_per_second: float
    """Training alone, without validation."""
    learning_rate: float
    train_loss: float
    valid_loss: float
    valid_dice: float
    """Hard Dice, per image, at the recipe's image size."""
    valid_iou: float
    best: bool = field(default=False, compare=False)
    """Whether these weights are the best so far and have been kept."""
    step_losses: tuple[float, ...] = field(default=(), repr=False, compare=False)
    """Training loss of each batch."""
    gradient_norms: tuple[float, ...] = field(default=(), repr=False, compare=False)
    """Length of the gradient over all parameters, of each optimizer step."""
    redrawn: tuple[int, int] = field(default=(0, 0), compare=False)
    """Images that `augment.redraw` drew anew since the training (or this part of it) began, and those given up."""

    def row(self) -> dict[str, Any]:
        """The line of `history.csv`."""
        return {key: value for key, value in asdict(self).items() if key in HISTORY}


def train_step(
    model: nn.Module, images: Tensor, masks: Tensor, loss: Loss, precision: str, loss_scale: float = 1.0
) -> Tensor:
    """One forward and backward pass; gradients of `loss_scale` times the loss are added to what is there.

    Returns:
        The loss itself, a scalar on its device.
    """
    with autocast(images.device, precision):
        logits = model(images)
    value = loss(logits, masks)
    (loss_scale * value).backward()
    return value.detach()


@closing_the_earlier
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
    train, valid = (pets.split(part, recipe.data.split) for part in ("train", "valid"))
    batches = batch_indices(train, table.batch_size)
    processes.check(len(valid))
    smallest = min(recipe.size_of_epoch(epoch) for epoch in range(1, table.epochs + 1))
    check_norms(recipe, min(map(len, batches)) // processes.size, smallest)
    keep_freed_memory(chosen)
    torch.manual_seed(table.seed)
    goes_on = resume and run is not None and (Path(run) / "last.pt").is_file()
    with explaining_shortage(recipe, lambda: "nothing was trained"):
        model = (empty_network if goes_on else build_network)(recipe).to(chosen, memory_format=torch.channels_last)
        optimizer = build_optimizer(model, table)
        average = build_average(model, table.ema) if table.ema else None
    validated = average.module if average else model

    arrays = load_arrays(pets, recipe.data.image_size)
    prepare = BatchTransform(pets, recipe.data.target, recipe.data.mean, recipe.data.std, chosen)
    steps_per_epoch = -(-len(batches) // table.accumulate)
    schedule = build_schedule(optimizer, table, steps_per_epoch * table.epochs)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule} | ({"average": average} if average else {})
    board = Board(validated, recipe, prepare, arrays, valid)

    with run_in_progress(run, recipe, parts, board, resume, processes) as kept:
        parallel = compiled(processes.wrap(model)) if table.compile else processes.wrap(model)
        trainer = Trainer(recipe, model, parallel, optimizer, schedule, average, prepare, processes)
        for epoch in range(len(kept.history) + 1, table.epochs + 1):
            if kept.has_stalled():
                break
            began = time.perf_counter()
            torch.manual_seed(table.seed * 1_000_003 + epoch)  # dropout, the same in a resumed run
            size = recipe.size_of_epoch(epoch)
            steps = trainer.epoch(arrays, batch_indices(train, table.batch_size, table.seed, epoch), epoch, progress)
            trained = time.perf_counter() - began
            scores = valid_scores(validated, arrays, valid, prepare, recipe, size, processes)
            if not math.isfinite(scores["loss"]):
                rates = f"learning rates up to {max(steps.rates):g}"
                raise FloatingPointError(f"epoch {epoch}: the validation loss is {scores['loss']:g} after {rates}")
            better = (size, scores["dice"]) > kept.best  # an epoch at a larger size beats all at smaller ones
            record = Epoch(
                epoch=epoch,
                seconds=time.perf_counter() - began,
                images_per_second=len(train) / trained,
                learning_rate=schedule.get_last_lr()[0],
                train_loss=steps.losses.mean().item(),
                valid_loss=scores["loss"],
                valid_dice=scores["dice"],
                valid_iou=scores["iou"],
                best=better,
                step_losses=tuple(steps.losses.tolist()),
                gradient_norms=tuple(steps.gradient_norms.tolist()),
                redrawn=(prepare.redraws.images, prepare.redraws.given_up),
            )
            kept.keep(record.row(), steps.table(epoch), (size, scores["dice"]) if better else None)
            yield record


@dataclass
class Trainer:
    """What takes part in a training step."""

    recipe: Recipe
    model: nn.Module
    parallel: nn.Module
    """The model as it is called: on several processes it averages the gradients; it may be compiled."""
    optimizer: Optimizer
    schedule: LRScheduler
    average: AveragedModel | None
    prepare: BatchTransform
    processes: Processes

    def epoch(self, arrays: Arrays, batches: list[np.ndarray], epoch: int, progress: Progress) -> Steps:
        """Train on every batch once; returns what its steps were, read from the device when the last one is done.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        table, size = self.recipe.training, self.recipe.size_of_epoch(epoch)
        loss, steps = LOSSES[table.loss], StepRecorder(epoch, table.accumulate)
        loaded = progress(batch_loader(arrays, self.processes.share(batches)), epoch)
        self.model.train()
        for group in _groups(zip(loaded, map(len, batches), strict=False), table.accumulate):
            for batch, whole in group:
                images, masks = self.prepare(batch, self.recipe.data.augment, table.seed, epoch, size)
                images = images.contiguous(memory_format=torch.channels_last)
                weight = self.processes.weight(len(images), whole)
                value = train_step(self.parallel, images, masks, loss, table.precision, weight / len(group))
                steps.add_batch(weight * value, self.schedule.get_last_lr()[0])
            steps.add_step(gradient_norm(self.model))
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            if self.average:
                self.average.update_parameters(self.model)
        # not the average's own counter, which is equal everywhere and stays on the CPU, where nccl cannot reach it
        for network in (self.model, self.average.module) if self.average else (self.model,):
            self.processes.same_buffers(network)
        return steps.read(self.processes)


def _groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one perhaps shorter."""
    items = iter(items)
    while group := list(islice(items, size)):
        yield group
