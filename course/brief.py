"""A short training without a run folder, for chapters that watch a network while it learns."""

from collections.abc import Callable

import numpy as np
import torch

from labkit.analysis import Predictor
from labkit.data import Pets, batch_indices
from labkit.training import Recipe, Trainer, build_network, build_schedule, resolve


def train_briefly(
    recipe: Recipe,
    pets: Pets,
    device: str = "auto",
    note: Callable[[int, Predictor], None] | None = None,
    indices: np.ndarray | None = None,
) -> Predictor:
    """The loop of notebook 04 without validation and checkpoints.

    Args:
        recipe: what to do; completed by `resolve`.
        pets: the data set.
        note: called after each epoch as `note(epoch, predictor)`.
        indices: learn from these images; None: from the recipe's training images.
    """
    recipe = resolve(recipe, pets, device)
    table, size = recipe.training, recipe.data.image_size
    torch.manual_seed(table.seed)
    trainer = Trainer(recipe, pets, build_network(recipe))
    if indices is not None:
        trainer.train = indices
        steps = table.epochs * len(batch_indices(indices, table.batch_size))
        trainer.schedule = build_schedule(trainer.optimizer, table, steps)
    predictor = Predictor(recipe, trainer.model, torch.device(table.device), table.precision)
    for epoch in range(1, table.epochs + 1):
        batches = batch_indices(trainer.train, table.batch_size, table.seed, epoch)
        trainer.epoch(batches, epoch, size, lambda loaded, number: loaded)
        trainer.model.eval()
        if note is not None:
            note(epoch, predictor)
    return predictor
