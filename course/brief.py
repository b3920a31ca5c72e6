"""A short training without a run folder, for chapters that watch a network while it learns, and what they watch."""

from collections.abc import Callable

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from labkit.analysis import Predictor
from labkit.data import Pets, batch_indices, batch_loader, load_arrays
from labkit.training import Recipe, Trainer, build_network, build_schedule, resolve, valid_scores


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


def losses_by_averages(predictor: Predictor, pets: Pets) -> tuple[float, float]:
    """Validation loss of the same weights: with batch norm's running averages, and with averages computed anew.

    The new ones are over all training images, as they are; the network is left as it was.
    """
    recipe, prepare = predictor.recipe, predictor.batch_transform(pets)
    arrays, valid = load_arrays(pets, recipe.data.image_size), pets.split("valid", recipe.data.split)
    parts = (predictor.model, arrays, valid, prepare, recipe, recipe.data.image_size)
    kept = {name: value.clone() for name, value in predictor.model.state_dict().items()}
    running = valid_scores(*parts)["loss"]
    batches = batch_loader(arrays, batch_indices(recipe.train_indices(pets), 32))
    update_bn((prepare(batch)[0] for batch in batches), predictor.model)
    fresh = valid_scores(*parts)["loss"]
    predictor.model.load_state_dict(kept)
    return running, fresh
