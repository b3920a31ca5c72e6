"""Checks of the training loop that notebook 04 builds: a step, an epoch, validation."""

import warnings
from collections.abc import Callable
from functools import cache
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from course.checks.toy import Toy, dice_of, flat, state
from course.checks.verdict import Check, Collected, call, expect, name_mistake, numbers
from labkit.training import bce

# --- stage 1: a step


def _steps(toy: Toy, fault: str = "") -> np.ndarray:
    """Weights after two steps, and the loss of each."""
    toy.model.train()
    losses = []
    for images, masks in toy.batches[:2]:
        if fault != "sums":
            toy.optimizer.zero_grad()
        logits = toy.model(images)
        loss = bce(logits.sigmoid() if fault == "sigmoid" else logits, masks)
        loss.backward()
        if fault != "still":
            toy.optimizer.step()
        losses.append(loss.item() if fault != "after" else bce(toy.model(images), masks).item())
    return np.concatenate([flat(toy.model), losses])


def _collect_step(student: Callable, seed: int) -> Collected:
    what, toy = "train_step", Toy(seed)
    toy.model.train()
    losses = []
    for images, masks in toy.batches[:2]:
        given = call(student, toy.model, toy.optimizer, bce, images, masks, what=what)
        graph = isinstance(given, Tensor) and given.requires_grad
        expect(not graph, f"{what}: the loss still holds its graph, and with it the memory; return loss.item()")
        losses.append(float(numbers(given, what, ())))
    return {"found": np.concatenate([flat(toy.model), losses])}


def _judge_step(arrays: Collected, seed: int) -> None:
    faults = {
        "no weight has moved; is optimizer.step() called, and after backward()?": "still",
        "gradients of the first step are still there in the second; call optimizer.zero_grad()": "sums",
        "the loss is that after the step; return the one that was minimized": "after",
        "the loss takes logits; there is a sigmoid before it": "sigmoid",
    }
    mistakes = {advice: _steps(Toy(seed), fault) for advice, fault in faults.items()}
    otherwise = "after two steps the weights are not those of forward, loss, backward, step"
    name_mistake("train_step", arrays["found"], _steps(Toy(seed)), mistakes, otherwise, tolerance=1e-5)


train_step = Check("train_step", "stage 1", _collect_step, _judge_step)

# --- stage 2: an epoch


def _move_early(schedule: LRScheduler) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of just this mistake
        schedule.step()


def trained_epoch(toy: Toy, fault: str = "") -> np.ndarray:
    """Weights and statistics, rate, and losses after an epoch of a network that came in eval mode."""
    toy.model.train(fault != "eval")
    losses = []
    for images, masks in toy.batches:
        if fault == "early":
            _move_early(toy.schedule)
        toy.optimizer.zero_grad()
        loss = bce(toy.model(images), masks)
        loss.backward()
        toy.optimizer.step()
        losses.append(loss.item())
        if fault not in ("never", "once", "early"):
            toy.schedule.step()
    if fault == "once":
        toy.schedule.step()
    return np.concatenate([state(toy.model), [toy.optimizer.param_groups[0]["lr"]], losses])


def _collect_epoch(student: Callable, seed: int) -> Collected:
    what, toy = "train_epoch", Toy(seed)
    toy.model.eval()
    given = call(student, toy.model, toy.optimizer, toy.schedule, bce, iter(toy.batches), what=what)
    losses = numbers(given, f"{what}, losses", (len(toy.batches),))
    return {"found": np.concatenate([state(toy.model), [toy.optimizer.param_groups[0]["lr"]], losses])}


def _judge_epoch(arrays: Collected, seed: int) -> None:
    faults = {
        "the network came in eval mode and stayed there; call model.train() before the first step": "eval",
        "the schedule moves after every step, here it moves once an epoch": "once",
        "the schedule never moves; call schedule.step() after optimizer.step()": "never",
        "the schedule moves before the step, so the first rate is never used; it moves after it": "early",
    }
    mistakes = {advice: trained_epoch(Toy(seed), fault) for advice, fault in faults.items()}
    otherwise = "weights, rate and losses are not those of one step for each batch, in their order"
    name_mistake("train_epoch", arrays["found"], trained_epoch(Toy(seed)), mistakes, otherwise, tolerance=1e-5)


train_epoch = Check("train_epoch", "stage 2", _collect_epoch, _judge_epoch)

# --- stage 3: validation


def _foreground(toy: Toy) -> list[tuple[Tensor, Tensor]]:
    """For each batch, in eval mode: logits of the foreground, and masks."""
    toy.model.eval()
    with torch.no_grad():
        return [(toy.model(images)[:, 0], masks) for images, masks in toy.batches]


def _asked(seed: int) -> Toy:
    """A toy with one more image without foreground, a bright one, of which the network predicts some."""
    toy = Toy(seed)
    toy.batches[1][1][0] = 0
    return toy


@cache
def _telling(seed: int) -> int:
    """A seed of the toy, drawn from the check's: of an image without foreground its network predicts none, too."""
    toys = (_asked(1000 * seed + number) for number in count())
    pairs = ((toy, [x[i] for (x, _), i in zip(_foreground(toy), (-1, 0), strict=False)]) for toy in toys)
    return next(toy.seed for toy, (one, other) in pairs if not (one > 0).any() and (other > 0.5).any())


def _collect_validate(student: Callable, seed: int) -> Collected:
    what, toy = "validate", _asked(_telling(seed))
    toy.model.train()
    modes: list[tuple[bool, bool]] = []
    toy.model.register_forward_hook(lambda model, *_: modes.append((model.training, torch.is_grad_enabled())))
    before = state(toy.model)
    found = numbers(call(student, toy.model, bce, iter(toy.batches), what=what), what, (2,))
    expect(bool(modes), f"{what}: the network was never called")
    learned = np.array(not np.array_equal(before, state(toy.model)))
    return {"found": found, "modes": np.array(modes), "learned": learned}


@torch.no_grad()
def _judge_validate(arrays: Collected, seed: int) -> None:
    what, toy = "validate", _asked(_telling(seed))
    training, gradients = arrays["modes"].any(axis=0)
    wrong_mode = "batch norm saw these images in train mode; call model.eval() first"
    expect(not training and not arrays["learned"], f"{what}: {wrong_mode}")
    expect(not gradients, f"{what}: gradients were prepared, and with them memory; use torch.no_grad()")
    passes = _foreground(toy)
    sizes = [len(masks) for _, masks in passes]
    losses = np.array([bce(logits[:, None], masks).item() for logits, masks in passes])
    dices = np.concatenate([dice_of(logits > 0, masks) for logits, masks in passes])
    images, masks = (torch.cat(parts) for parts in zip(*passes, strict=True))
    shares = np.repeat(1 / np.array(sizes), sizes) / len(sizes)
    occurs, seen = (found.flatten(1).any(1).numpy() for found in (masks, masks.bool() | (images > 0)))
    swapped = np.allclose(arrays["found"][::-1], [np.average(losses, weights=sizes), dices.mean()], atol=1e-5)
    expect(not swapped, f"{what}: the two are exchanged; the loss comes first")
    name_mistake(
        f"{what}, loss",
        arrays["found"][0],
        np.average(losses, weights=sizes),
        {
            "the mean of the batches' means counts images of a small batch more; weigh by len(images)": losses.mean(),
            "that is a sum over images; divide by their number": losses @ np.array(sizes),
            "that is the loss of the last batch": losses[-1],
        },
        "the mean over images is another",
        tolerance=1e-5,
    )
    name_mistake(
        f"{what}, Dice",
        arrays["found"][1],
        dices.mean(),
        {
            "the mean of the batches' means counts images of a small batch more": dices @ shares,
            "that is pooled: all pixels in one Dice; each image has its own": dice_of(images[None] > 0, masks[None])[0],
            "logits are cut at 0.5; a probability of one half is a logit of 0": dice_of(images > 0.5, masks).mean(),
            "an image without foreground of which none is predicted counts 1, not 0": (dices * occurs).mean(),
            "an image without foreground of which some is predicted counts 0, not 1": np.where(occurs, dices, 1).mean(),
            "an image without foreground, and without any predicted, was left out; it counts 1": dices[seen].mean(),
            "an image without foreground was left out; it counts 1 or 0": dices[occurs].mean(),
            "that is the sum over the images; divide by their number": dices.sum(),
            "that is the mean of the last batch's images": dice_of(passes[-1][0] > 0, passes[-1][1]).mean(),
            "that is soft Dice, of probabilities": dice_of(images.sigmoid(), masks).mean(),
        },
        "the mean over images of hard Dice is another",
        tolerance=1e-5,
    )


validate = Check("validate", "stage 3", _collect_validate, _judge_validate)
