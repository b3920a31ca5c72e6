"""A short training without a run folder, for chapters that watch a network while it learns."""

from collections.abc import Callable

import torch

from labkit.analysis import Predictor
from labkit.data import Pets, batch_indices
from labkit.training import Recipe, Trainer, build_network, resolve


def train_briefly(
    recipe: Recipe, pets: Pets, device: str = "auto", note: Callable[[int, Predictor], None] | None = None
) -> Predictor:
    """The loop of notebook 04 without validation and checkpoints; `note(epoch, predictor)` comes after each epoch."""
    recipe = resolve(recipe, pets, device)
    table, size = recipe.training, recipe.data.image_size
    torch.manual_seed(table.seed)
    trainer = Trainer(recipe, pets, build_network(recipe))
    predictor = Predictor(recipe, trainer.model, torch.device(table.device), table.precision)
    for epoch in range(1, table.epochs + 1):
        batches = batch_indices(trainer.train, table.batch_size, table.seed, epoch)
        trainer.epoch(batches, epoch, size, lambda loaded, number: loaded)
        trainer.model.eval()
        if note is not None:
            note(epoch, predictor)
    return predictor
