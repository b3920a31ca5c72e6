"""Check of the last stage of the training loop that notebook 04 builds: the losses of `fit`."""

from collections.abc import Callable

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from course.checks.verdict import Check, Collected, call, name_mistake, numbers
from labkit.data import BatchTransform, batch_indices, batch_loader, load_arrays, open_pets
from labkit.training import LOSSES, Recipe, build_network, build_optimizer, build_schedule, load_recipe, resolve

STEPS = 4


def _recipe(seed: int) -> Recipe:
    """A training on a few drawn images whose rate rises at once, so that a schedule that stands still shows.

    The batch size does not divide the number of images.
    """
    changes = {
        "learning_rate": 0.01,
        "epochs": 2,
        "batch_size": 6,
        "weight_decay": 30.0,
        "sizes": (),
        "precision": "float32",
    }
    data = {"image_size": 32, "train_images": 26}
    return load_recipe("quick").changed(data=data, model={"width": 4}, training=changes | {"seed": 1 + seed % 1000})


def _losses(recipe: Recipe, fault: str = "") -> np.ndarray:
    """The first losses of a training, and those of one with a mistake."""
    pets, table = open_pets("sample"), recipe.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(table.seed)
        model = build_network(recipe)
        optimizer = build_optimizer(model, table)
        batches = batch_indices(
            recipe.train_indices(pets), table.batch_size, table.seed, {"epoch": 2, "zero": 0}.get(fault, 1)
        )
        steps = (len(batches) - (fault == "cut")) * (1 if fault == "short" else table.epochs)
        if fault == "unscheduled":
            schedule = LambdaLR(optimizer, lambda step: 1.0)
        else:
            schedule = build_schedule(optimizer, table, steps)
        prepare = BatchTransform(pets, recipe.data.target, recipe.data.mean, recipe.data.std)
        augment = None if fault == "plain" else recipe.data.augment
        losses = []
        model.train(fault != "eval")
        for batch in batch_loader(load_arrays(pets, recipe.data.image_size), batches[:STEPS]):
            images, masks = prepare(batch, augment, table.seed, 1)
            loss = LOSSES["bce" if fault == "loss" else table.loss](model(images), masks)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if fault != "stands":
                schedule.step()
            losses.append(loss.item())
    return np.array(losses)


def _collect_losses(student: Callable, seed: int) -> Collected:
    what, pets = "first_losses", open_pets("sample")
    recipe = resolve(_recipe(seed), pets, "cpu")
    with torch.random.fork_rng(devices=[]):
        given = call(student, recipe, pets, STEPS, what=what)
    return {"losses": numbers(given, what, (STEPS,))}


def _judge_losses(arrays: Collected, seed: int) -> None:
    what, losses = "first_losses", arrays["losses"]
    recipe = resolve(_recipe(seed), open_pets("sample"), "cpu")
    right = _losses(recipe)
    faults = {
        "the images are not those of epoch 1; their order is drawn from (seed, epoch)": "epoch",
        "epochs count from 1; those are the images of epoch 0": "zero",
        "the images are not augmented": "plain",
        "the network is in eval mode": "eval",
        "the loss is not the recipe's": "loss",
        "the schedule is built but never moves; call schedule.step() after each step": "stands",
        "the learning rate is constant; build the recipe's schedule": "unscheduled",
        "the schedule is made for one epoch; it needs the steps of all epochs": "short",
        "the last, smaller batch of each epoch is a step, too: round up the steps of an epoch": "cut",
    }
    mistakes = {advice: _losses(recipe, fault) for advice, fault in faults.items()}
    first = "already the first loss is another: seed torch with the recipe's seed right before the network is built"
    first += ", and take epoch 1 and the recipe's loss"
    later = "the first loss is right, a later one is not: compare optimizer, gradients and schedule with stages 1 and 2"
    otherwise = later if abs(losses[0] - right[0]) < 1e-3 else first
    name_mistake(what, losses, right, mistakes, otherwise, tolerance=1e-3)


first_losses = Check("first_losses", "stage 6: the losses of `fit`", _collect_losses, _judge_losses)
