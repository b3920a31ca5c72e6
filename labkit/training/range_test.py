"""The learning-rate range test: a training whose rate grows until it diverges, to see which rates move the loss."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from statistics import fmean

import numpy as np
import pandas as pd
import torch
from torch.optim.lr_scheduler import LambdaLR

from labkit.data import Pets, batch_indices
from labkit.errors import LabError
from labkit.training.explaining import explained
from labkit.training.loop import Trainer
from labkit.training.recipe import Recipe, resolve
from labkit.training.runs import build_network

DECAY = 0.9  # of the running mean that smooths the losses: it looks back on about ten steps
DIVERGED = 4.0  # the test ends when the smoothed loss is so many times its best


@dataclass(frozen=True)
class RateSweep:
    """Rates and losses of the range test, step by step; each loss is that before the step.

    `smoothed` is the mean of a running mean from the left and one from the right, so that no valley is shifted.
    `suggested` is where it falls most steeply on its way down: a rate to start from, not an answer.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float


def find_learning_rate(
    recipe: Recipe, pets: Pets, device: str = "auto", lowest: float = 1e-6, highest: float = 1.0, steps: int = 100
) -> RateSweep:
    """Train a fresh network for some steps while the rate grows from `lowest` to `highest`, by a factor each step.

    Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017 (arXiv 1506.01186), section 3.3, with
    the rate on a logarithmic scale. The steps are those of a training by the recipe, at its first size; nothing is
    written. It ends early when the loss diverges. LabError: the loss falls at no rate, or the memory does not suffice.
    """
    if not 0 < lowest < highest or steps < 10:
        raise LabError(
            f"{steps} steps from {lowest:g} to {highest:g} are no range of learning rates; take 10 steps and more, "
            "and 0 < lowest < highest"
        )
    given = {"learning_rate": lowest, "schedule": "constant", "compile": False}
    recipe = resolve(recipe.changed(training=given), pets, device)
    torch.manual_seed(recipe.training.seed)
    rates, losses = [], []
    with explained(recipe, lambda: "nothing is kept"):
        trainer = Trainer(recipe, pets, build_network(recipe))
        trainer.schedule = LambdaLR(trainer.optimizer, lambda step: (highest / lowest) ** (step / (steps - 1)))
        for epoch, batches in islice(_batches_of_steps(trainer), steps):
            rate = trainer.schedule.get_last_lr()[0]
            try:
                done = trainer.epoch(batches, epoch, recipe.size_of_epoch(1), lambda items, _: items)
            except FloatingPointError:
                break  # the loss is not finite
            rates.append(rate)
            losses.append(fmean(done.losses))
            running = running_mean(losses)
            if running[-1] > DIVERGED * running.min():
                break
    return find_steepest(rates, losses)


def _batches_of_steps(trainer: Trainer) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Epoch and batches of each optimizer step, without end."""
    table = trainer.recipe.training
    for epoch in count(1):
        batches = batch_indices(trainer.train, table.batch_size, table.seed, epoch)
        for first in range(0, len(batches), table.accumulate):
            yield epoch, batches[first : first + table.accumulate]


def running_mean(values: list[float]) -> np.ndarray:
    """Mean of all values up to each, the older ones weighing less by `DECAY` a step, `float64 [N]`."""
    return pd.Series(values).ewm(alpha=1 - DECAY).mean().to_numpy()


def find_steepest(rates: list[float], losses: list[float]) -> RateSweep:
    """The sweep of these steps, and where the smoothed loss falls fastest; a `LabError` if it never falls."""
    if len(losses) < 3:
        raise LabError(f"the loss diverges within {len(losses) + 1} steps at the lowest learning rates; begin lower")
    smoothed = (running_mean(losses) + running_mean(losses[::-1])[::-1]) / 2
    fall = smoothed[0] - smoothed.min()
    if fall <= 0:
        raise LabError(f"the loss falls at no learning rate from {rates[0]:g} to {rates[-1]:g}; begin lower")
    # down is where nine tenths of the fall are done: at higher rates the loss leaps, and every leap ends in a fall
    down = int(np.argmax(smoothed <= smoothed.min() + 0.1 * fall))
    steepest = int(np.gradient(smoothed, np.log(rates))[: down + 1].argmin())
    return RateSweep(tuple(rates), tuple(losses), tuple(smoothed.tolist()), rates[steepest])
