"""Checks of the training loop that notebook 04 builds: the best epoch, going on, the losses of `fit`."""

import tempfile
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from course.checks.loop import trained_epoch
from course.checks.toy import Toy, batches_of, dice_of, state
from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake, numbers
from labkit.data import BatchTransform, batch_indices, batch_loader, load_arrays, open_pets
from labkit.training import LOSSES, Recipe, bce, build_network, build_optimizer, build_schedule, load_recipe, resolve

# --- stage 4: epochs, and the best of them

EPOCHS = 4


def _lessons(seed: int, epoch: int) -> list:
    """An epoch's batches; in the last two the masks are inverted, so that the network unlearns."""
    return 8 * batches_of(seed, epoch, inverted=epoch > EPOCHS - 2)


def _trained(seed: int) -> list[np.ndarray]:
    """State after each epoch."""
    toy, kept = Toy(seed), []
    for epoch in range(1, EPOCHS + 1):
        toy.batches = _lessons(seed, epoch)
        trained_epoch(toy)
        kept.append(state(toy.model))
    return kept


def _dice_after(toy: Toy, values: np.ndarray) -> float:
    toy.load(values)
    toy.model.eval()
    with torch.no_grad():
        return float(np.concatenate([dice_of(toy.model(x)[:, 0] > 0, t) for x, t in batches_of(toy.seed, 1)]).mean())


def _dices(seed: int) -> np.ndarray:
    return np.array([_dice_after(Toy(seed), values) for values in _trained(seed)])


@cache
def _telling(seed: int) -> int:
    """A seed of the toy, drawn from the check's, with which the last epoch is clearly not the best."""
    return next(toy for toy in count(1000 * seed) if _dices(toy)[-1] < _dices(toy).max() - 0.02)


def _collect_best(student: Callable, seed: int) -> Collected:
    seed = _telling(seed)
    what, toy, asked = "train", Toy(seed), []

    def epoch_batches(epoch: int) -> list:
        asked.append(epoch)
        expect(epoch in range(1, EPOCHS + 1), f"{what}: epochs count from 1 to {EPOCHS}; number {epoch} was asked for")
        return _lessons(seed, epoch)

    parts = (toy.model, toy.optimizer, toy.schedule, bce, epoch_batches, batches_of(seed, 1), EPOCHS)
    try:
        given = call(student, *parts, what=what)
    finally:
        toy.model.eval()
    pair = isinstance(given, tuple | list) and len(given) == 2
    expect(pair, f"{what}: two things are expected, the history and the best weights")
    history, best = given
    expect(isinstance(best, dict), f"{what}: the best weights are a state dict, found {type(best).__name__}")
    fits = {name: getattr(value, "shape", None) for name, value in best.items()} == {
        name: value.shape for name, value in toy.model.state_dict().items()
    }
    expect(fits, f"{what}: the best weights are a copy of model.state_dict(); these have other names or shapes")
    rows = numbers(history, f"{what}, history", (EPOCHS, 2))
    last = state(toy.model)
    toy.model.load_state_dict(best)
    return {"asked": np.array(asked), "history": rows, "last": last, "best": state(toy.model)}


def _judge_best(arrays: Collected, seed: int) -> None:
    seed = _telling(seed)
    what, kept = "train", _trained(seed)
    once = f"{what}: each epoch has batches of its own; ask for those of epoch 1, 2, ... once each"
    expect(arrays["asked"].tolist() == [*range(1, EPOCHS + 1)], once)
    otherwise = f"{what}: after {EPOCHS} epochs the network is not the one that stages 1 and 2 give"
    expect(np.allclose(arrays["last"], kept[-1], atol=1e-5), otherwise)
    dices = _dices(seed)
    swapped = np.allclose(arrays["history"][:, 0], dices, atol=1e-5)
    expect(not swapped, f"{what}: the history has (loss, Dice) of validation in this order")
    same = np.allclose(arrays["history"][:, 1], dices, atol=1e-5)
    expect(same, f"{what}: the history's Dice is not that of validation after each epoch")
    tied = [values for values, dice in zip(kept, dices, strict=True) if dice == dices.max()]
    best = next((values for values in tied if np.allclose(values, arrays["best"], atol=1e-5)), tied[0])
    name_mistake(
        what,
        arrays["best"],
        best,
        {
            "the best weights are the last ones: state_dict() gives the living weights, so copy them": kept[-1],
            "the first epoch's weights were kept; a later epoch has a higher Dice": kept[0],
        },
        "the weights that were kept are not those of the epoch with the highest Dice",
        tolerance=1e-5,
    )


train = Check("train", "stage 4", _collect_best, _judge_best)

# --- stage 5: going on


def _went_on(seed: int, left_out: str = "") -> np.ndarray:
    """State after two epochs, a restart that forgets one part, and two more epochs."""
    first, second = Toy(seed), Toy(seed + 1)
    for epoch in (1, 2):
        first.batches = batches_of(seed, epoch)
        trained_epoch(first)
    for name, part in second.parts().items():
        if name != left_out:
            part.load_state_dict(first.parts()[name].state_dict())
    return _finish(second, seed)


def _finish(toy: Toy, seed: int) -> np.ndarray:
    for epoch in (3, 4):
        toy.batches = batches_of(seed, epoch)
        trained_epoch(toy)
    return np.concatenate([state(toy.model), [toy.optimizer.param_groups[0]["lr"]]])


def _collect_resume(student: Callable, seed: int) -> Collected:
    what = "Checkpoint"
    history = [[0.7, 0.2], [0.6, 0.4]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.pt"
        first, second = Toy(seed), Toy(seed + 1)
        kept = call(student, path, *first.parts().values(), what=what)
        nothing = _loaded(kept, f"{what} where there is no file")
        for epoch in (1, 2):
            first.batches = batches_of(seed, epoch)
            trained_epoch(first)
        call(getattr(kept, "save", None), 2, history, what=f"{what}.save")
        expect(path.is_file(), f"{what}.save: no file is at the path that was given")
        before = state(first.model)
        trained_epoch(first)  # what is trained after saving must not be in the file
        epoch, read = _loaded(call(student, path, *second.parts().values(), what=what), f"{what}.load")
        same = np.array(np.array_equal(state(second.model), before))
        safe = True
        try:
            torch.load(path, weights_only=True)
        except Exception:  # whatever a pickle raises: the file is not one of plain numbers
            safe = False
    return {
        "nothing": np.array([nothing[0], len(nothing[1])]),
        "loaded": np.array([epoch, np.allclose(as_array(read, what), history)], dtype=float),
        "same": same,
        "safe": np.array(safe),
        "end": _finish(second, seed),
    }


def _loaded(kept: object, what: str) -> tuple[int, list]:
    given = call(getattr(kept, "load", None), what=what)
    pair = isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[0], int)
    expect(pair and isinstance(given[1], list), f"{what}: an epoch and the list of the history are expected")
    return given[0], given[1]


def _judge_resume(arrays: Collected, seed: int) -> None:
    what = "Checkpoint"
    expect(not arrays["nothing"].any(), f"{what}.load: without a file nothing is done yet: return 0 and an empty list")
    expect(bool(arrays["same"]), f"{what}.load: the network does not have the saved weights")
    mistakes = {f"the {name} is not restored": _went_on(seed, name) for name in ("optimizer", "schedule")}
    otherwise = "two epochs, a restart and two more give other weights than four in one go"
    name_mistake(what, arrays["end"], _went_on(seed), mistakes, otherwise, tolerance=1e-7)
    expect(arrays["loaded"][0] == 2, f"{what}.load: the epoch is the one that was saved")
    expect(bool(arrays["loaded"][1]), f"{what}.load: the history is not the one that was saved")
    pickled = "torch.load(path, weights_only=True) refuses the file: save state dicts, not whole objects"
    expect(bool(arrays["safe"]), f"{what}.save: {pickled}")


resume = Check("resume", "stage 5, to the bit", _collect_resume, _judge_resume)

# --- stage 6: the losses of `fit`

STEPS = 4


def _recipe(seed: int) -> Recipe:
    """A training on a few drawn images whose rate rises at once, so that a schedule that stands still shows."""
    changes = {"learning_rate": 0.01, "epochs": 2, "batch_size": 6, "sizes": (), "precision": "float32"}
    data = {"image_size": 32, "train_images": 24}
    return load_recipe("quick").changed(data=data, model={"width": 4}, training=changes | {"seed": seed % 1000})


def _losses(recipe: Recipe, fault: str = "") -> np.ndarray:
    """The first losses of a training, and those of one with a mistake."""
    pets, table = open_pets("sample"), recipe.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(table.seed)
        model = build_network(recipe)
        optimizer = build_optimizer(model, table)
        batches = batch_indices(recipe.train_indices(pets), table.batch_size, table.seed, 2 if fault == "epoch" else 1)
        steps = len(batches) * (1 if fault == "short" else table.epochs)
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
        "the images are not augmented": "plain",
        "the network is in eval mode": "eval",
        "the loss is not the recipe's": "loss",
        "the schedule is built but never moves; call schedule.step() after each step": "stands",
        "the learning rate is constant; build the recipe's schedule": "unscheduled",
        "the schedule is made for one epoch; it needs the steps of all epochs": "short",
    }
    mistakes = {advice: _losses(recipe, fault) for advice, fault in faults.items()}
    first = "already the first loss is another; seed torch with the recipe's seed right before the network is built"
    later = "the first loss is right, a later one is not: compare optimizer, gradients and schedule with stages 1 and 2"
    otherwise = later if abs(losses[0] - right[0]) < 1e-3 else first
    name_mistake(what, losses, right, mistakes, otherwise, tolerance=1e-3)


first_losses = Check("first_losses", "stage 6: the losses of `fit`", _collect_losses, _judge_losses)
