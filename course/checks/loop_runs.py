"""Checks of the training loop that notebook 04 builds: the best epoch, and going on."""

import tempfile
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from course.checks.loop import trained_epoch
from course.checks.toy import Toy, batches_of, dice_of, is_plain, state
from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake, numbers
from labkit.training import bce

# --- stage 4: epochs, and the best of them

EPOCHS = 4


def _lessons(seed: int, epoch: int) -> list:
    """An epoch's batches: few, few, many, and many with inverted masks, from which the network unlearns."""
    return (1 if epoch < EPOCHS - 1 else 8) * batches_of(seed, epoch, inverted=epoch == EPOCHS)


def _valid(seed: int) -> list:
    """Batches with a wrong pixel in ten, which cost a sure network more loss than an unsure one, and no Dice."""
    draw = torch.Generator().manual_seed(seed)
    return [
        (images, (masks + (torch.rand(masks.shape, generator=draw) < 0.1)) % 2) for images, masks in batches_of(seed, 1)
    ]


def _trained(seed: int) -> list[np.ndarray]:
    """State after each epoch."""
    toy, kept = Toy(seed), []
    for epoch in range(1, EPOCHS + 1):
        toy.batches = _lessons(seed, epoch)
        trained_epoch(toy)
        kept.append(state(toy.model))
    return kept


@torch.no_grad()
def _scores(seed: int, states: list[np.ndarray]) -> np.ndarray:
    """(loss, Dice) of validation in each of these states."""
    toy, rows = Toy(seed), []
    images, masks = (torch.cat(parts) for parts in zip(*_valid(seed), strict=True))
    for values in states:
        toy.load(values)
        logits = toy.model.eval()(images)
        rows.append((bce(logits, masks).item(), dice_of(logits[:, 0] > 0, masks).mean()))
    return np.array(rows)


@cache
def _telling(seed: int) -> int:
    """A seed of the toy, drawn from the check's, with which the epochs clearly differ.

    The second has the lowest loss, the third the highest Dice.
    """

    def tells(toy: int) -> bool:
        losses, dices = _scores(toy, _trained(toy)).T
        return losses[1] < np.delete(losses, 1).min() - 0.005 and dices[2] > np.delete(dices, 2).max() + 0.005

    return next(toy for toy in count(1000 * seed) if tells(toy))


def _collect_best(student: Callable, seed: int) -> Collected:
    seed = _telling(seed)
    what, toy, asked = "train", Toy(seed), []

    def epoch_batches(epoch: int) -> list:
        asked.append(epoch)
        expect(epoch in range(1, EPOCHS + 1), f"{what}: epochs count from 1 to {EPOCHS}; number {epoch} was asked for")
        return _lessons(seed, epoch)

    parts = (toy.model, toy.optimizer, toy.schedule, bce, epoch_batches, _valid(seed), EPOCHS)
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
    _expect_weights_of_dice_zero(student, seed)
    last = state(toy.model)
    toy.model.load_state_dict(best)
    return {"asked": np.array(asked), "history": rows, "last": last, "best": state(toy.model)}


def _expect_weights_of_dice_zero(student: Callable, seed: int) -> None:
    """A training that never finds anything has a best epoch, too, the first."""
    toy, valid = Toy(seed), [(images, torch.ones_like(masks)) for images, masks in _valid(seed)]
    toy.model[-1].bias.data.fill_(-1e4)
    never = LambdaLR(torch.optim.SGD(toy.model.parameters(), lr=0.0), lambda step: 1.0)
    given = call(student, toy.model, never.optimizer, never, bce, lambda epoch: toy.batches, valid, 2, what="train")
    kept = isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[1], dict) and len(given[1]) > 0
    expect(kept, "train: no weights came back where every Dice is 0; the first epoch is the best until a better one")


def _judge_best(arrays: Collected, seed: int) -> None:
    seed = _telling(seed)
    what, kept = "train", _trained(seed)
    once = f"{what}: each epoch has batches of its own; ask for those of epoch 1, 2, ... once each"
    expect(arrays["asked"].tolist() == [*range(1, EPOCHS + 1)], once)
    otherwise = f"{what}: after {EPOCHS} epochs the network is not the one that stages 1 and 2 give"
    expect(np.allclose(arrays["last"], kept[-1], atol=1e-5), otherwise)
    history, scores = arrays["history"], _scores(seed, kept)
    swapped = np.allclose(history, scores[:, ::-1], atol=1e-5)
    expect(not swapped, f"{what}: the history has (loss, Dice) of validation in this order")
    for column, name in enumerate(("loss", "Dice")):
        same = np.allclose(history[:, column], scores[:, column], atol=1e-5)
        expect(same, f"{what}: the history's {name} is not that of validation after each epoch")
    name_mistake(
        what,
        arrays["best"],
        kept[2],
        {
            "the best weights are the last ones; state_dict() is alive: copy it in the best epoch": kept[-1],
            "these are the weights of the epoch with the lowest loss; the highest Dice chooses": kept[1],
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
            if epoch == 1:
                call(getattr(kept, "save", None), 1, history[:1], what=f"{what}.save")
        call(getattr(kept, "save", None), 2, history, what=f"{what}.save")
        expect(path.is_file(), f"{what}.save: no file is at the path that was given")
        before = state(first.model)
        trained_epoch(first)  # what is trained after saving must not be in the file
        pickled = "torch.load(path, weights_only=True) refuses the file: save state dicts, not whole objects"
        expect(is_plain(path), f"{what}.save: {pickled}")
        epoch, read = _loaded(call(student, path, *second.parts().values(), what=what), f"{what}.load")
        same = np.array(np.array_equal(state(second.model), before))
    return {
        "nothing": np.array([nothing[0], len(nothing[1])]),
        "loaded": np.array([epoch, _same_rows(as_array(read, what), history)], dtype=float),
        "same": same,
        "end": _finish(second, seed),
    }


def _same_rows(found: np.ndarray, history: list) -> bool:
    return found.shape == np.shape(history) and bool(np.allclose(found.astype(float), history))


def _loaded(kept: object, what: str) -> tuple[int, list]:
    given = call(getattr(kept, "load", None), what=what)
    pair = isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[0], int)
    expect(pair and isinstance(given[1], list), f"{what}: an epoch and the list of the history are expected")
    return given[0], given[1]


def _judge_resume(arrays: Collected, seed: int) -> None:
    what = "Checkpoint"
    expect(not arrays["nothing"].any(), f"{what}.load: without a file nothing is done yet: return 0 and an empty list")
    expect(bool(arrays["same"]), f"{what}.load: the network does not have the weights that were saved last")
    mistakes = {f"the {name} is not restored": _went_on(seed, name) for name in ("optimizer", "schedule")}
    otherwise = "two epochs, a restart and two more give other weights than four in one go"
    name_mistake(what, arrays["end"], _went_on(seed), mistakes, otherwise, tolerance=1e-7)
    expect(arrays["loaded"][0] == 2, f"{what}.load: the epoch is the one that was saved")
    expect(bool(arrays["loaded"][1]), f"{what}.load: the history is not the one that was saved")


resume = Check("resume", "stage 5, to the bit", _collect_resume, _judge_resume)
