"""Checks of notebook 05: false alarms, the evaluation loop, the bootstrap, the threshold."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from course.checks.verdict import (
    SMOOTHED,
    Check,
    Collected,
    as_array,
    call,
    expect,
    name_mistake,
    number_check,
    numbers,
)
from labkit.metrics import dice_score, iou_score, overlap_counts, per_image, pooled

# --- many comparisons


false_alarm = number_check(
    "false_alarm",
    "more likely than not",
    1 - 0.95**15,
    {
        "that is the chance in one comparison": 0.05,
        "chances add up only where they exclude each other; two comparisons may both be false alarms": 0.75,
        "that is the chance that none of them is a false alarm": 0.95**15,
    },
    "what is the chance that all 15 stay silent, if each does so in 95 of 100 cases?",
    0.006,
)

# --- the evaluation loop


class Probe(nn.Module):
    """A small network that notes how it was called."""

    def __init__(self):
        super().__init__()
        self.mix, self.norm = nn.Conv2d(3, 1, 1, bias=False), nn.BatchNorm2d(1)
        nn.init.constant_(self.mix.weight, 1 / 3)
        self.notes: list[tuple[bool, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.notes.append((self.training, torch.is_grad_enabled()))
        return self.norm(self.mix(images))


def _batches(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Seven images in batches of 3, 3, 1; truth 5 is empty, and so are truth and prediction of the last image."""
    draw = torch.Generator().manual_seed(seed)
    masks = (torch.rand(7, 6, 6, generator=draw) > 0.6).long()
    images = torch.randn(7, 3, 6, 6, generator=draw) + 0.9 * masks[:, None]
    masks[5:], images[6] = 0, -3.0
    return list(zip(images.split(3), masks.split(3), strict=True))


def _collect_image_scores(student: Callable, seed: int) -> Collected:
    what, network = "image_scores", Probe().train()
    with torch.enable_grad():
        scores = as_array(call(student, network, _batches(seed), what=what), what)
        off = not torch.is_grad_enabled()
    after = [network.training, off]
    with torch.enable_grad():
        call(student, network.eval(), _batches(seed), what=what)
    notes = np.array(network.notes, dtype=bool).reshape(-1, 2)  # none, where a copy was asked
    after = np.array([*after, network.training])
    return {"scores": scores, "training": notes[:, 0], "gradients": notes[:, 1], "after": after}


def _judge_image_scores(arrays: Collected, seed: int) -> None:
    what, found = "image_scores", arrays["scores"]
    expect(
        not arrays["training"].any(),
        f"{what}: the network was in training mode, where batch norm takes the batch's own statistics",
    )
    expect(not arrays["gradients"].any(), f"{what}: a graph for gradients was built, which costs memory for nothing")
    expect(found.ndim == 1 and found.size == 7, f"{what}: one number an image, 7 in all, found shape {[*found.shape]}")
    logits = torch.cat([Probe().eval()(images).detach() for images, _ in _batches(seed)])[:, 0]
    truths = torch.cat([masks for _, masks in _batches(seed)])
    at = {cut: overlap_counts((logits > cut).long(), truths) for cut in (0.0, 0.5)}
    right = per_image(dice_score, at[0.0]).numpy()
    mistakes = {
        "logits were cut at 0.5, which is a probability of 0.62": per_image(dice_score, at[0.5]).numpy(),
        "that is IoU": per_image(iou_score, at[0.0]).numpy(),
        SMOOTHED: ((2 * at[0.0][:, 0, 0] + 1) / (at[0.0][:, 0, 1:].sum(1) + 1)).numpy(),
        "truth and prediction are empty in the last image: that counts 1": np.append(right[:-1], 0.0),
    }
    first = f"image {int(np.argmax(~np.isclose(found, right, atol=1e-4)))} is the first that differs"
    name_mistake(what, found.astype(float), right, mistakes, f"{first}; print its three counts and its Dice")
    expect(
        bool(arrays["after"][0]),
        f"{what}: the network came in training mode and was left in evaluation mode: batch norm would stay frozen in "
        "the epochs that follow",
    )
    expect(not arrays["after"][1], f"{what}: gradients stay switched off for whatever comes after; use a with block")
    always = "a network that came in evaluation mode went out in training mode; remember network.training"
    expect(not arrays["after"][2], f"{what}: {always}")


image_scores = Check("image_scores", "report 000's two faults avoided", _collect_image_scores, _judge_image_scores)

# --- the paired bootstrap


def _two_tables(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Dice of 80 images under two networks: what is hard for one is hard for the other."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0.85, 0.08, 80)
    return image + rng.normal(0.012, 0.015, 80), image + rng.normal(0, 0.015, 80)


def _collect_bootstrap(student: Callable, seed: int) -> Collected:
    what = "bootstrap_interval"
    found = {count: numbers(call(student, *_two_tables(seed), count, what=what), what, (2,)) for count in (1, 4000)}
    return {"ends": found[4000], "of one": found[1]}


def _judge_bootstrap(arrays: Collected, seed: int) -> None:
    what, (first, second) = "bootstrap_interval", _two_tables(seed)
    difference = first - second
    rng = np.random.default_rng(seed)
    means = difference[rng.integers(0, 80, (20_000, 80))].mean(1)
    unpaired = np.hypot(first.std(ddof=1), second.std(ddof=1)) / np.sqrt(80)
    right, error = np.quantile(means, [0.025, 0.975]), difference.std(ddof=1) / np.sqrt(80)
    around, sides = difference.mean(), np.array([-1, 1])
    found = arrays["ends"]
    expect(found[0] != found[1], f"{what}: both ends are one number; are the images drawn with replacement?")
    expect(
        not (found < around - 2.1 * error).all() or found[1] - found[0] > 2.5 * error,
        f"{what}: np.percentile takes 2.5 and 97.5; 0.025 and 0.975 are for np.quantile",
    )
    off = (found - around) / unpaired  # drawing is random, so that this one mistake has no exact result
    expect(
        not (np.abs(np.abs(off) - 1.96) < 0.5).all() or off[0] * off[1] > 0,
        f"{what}: that is the width of an unpaired comparison; draw one set of images for both networks",
    )
    mistakes = {
        "the ends are swapped: first the lower": right[::-1],
        "the sign is turned: first minus second is asked for": -right[::-1],
        "that is an interval of 90 %: cut off 2.5 % on each side": np.quantile(means, [0.05, 0.95]),
        "that is where single images lie, not their mean": np.quantile(difference, [0.025, 0.975]),
        "that is one standard error on each side": around + sides * error,
    }
    otherwise = "neither the middle nor the width fit a mean over 80 images drawn with replacement"
    name_mistake(what, found, right, mistakes, otherwise, tolerance=0.17 * error)
    one = "with a single drawing both ends are its mean; is the number of drawings used, and is anything drawn?"
    expect(np.isclose(*arrays["of one"]), f"{what}: {one}")


bootstrap_interval = Check(
    "bootstrap_interval", "the same images for both networks", _collect_bootstrap, _judge_bootstrap
)

# --- the threshold

CUTS = np.array([0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9])


def _criteria(probabilities: np.ndarray, truths: np.ndarray) -> dict[str, list[float]]:
    """What each cut scores under the measure that is asked for and under those that it is mistaken for."""
    masks = [torch.from_numpy((probabilities > cut).astype(np.int64)) for cut in CUTS]
    counts = [overlap_counts(mask, torch.from_numpy(truths)) for mask in masks]
    return {
        "dice": [per_image(dice_score, c).mean().item() for c in counts],
        "pooled Dice": [pooled(dice_score, c) for c in counts],
        "accuracy": [(mask.numpy() == truths).mean() for mask in masks],
        "the mean IoU": [per_image(iou_score, c).mean().item() for c in counts],
    }


def _validation_sets(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, list[float]]]]:
    """For each of the wrong measures a set of images for which it chooses another cut than the right one."""
    for rival in ("pooled Dice", "accuracy", "the mean IoU"):
        for attempt in range(2000):
            rng = np.random.default_rng([seed, attempt])
            truths = (rng.random((4, 6, 6)) < rng.choice([0.06, 0.3, 0.7], (4, 1, 1))).astype(np.int64)
            noise = rng.normal(0, 0.2, truths.shape) + rng.normal(0, 0.2, (4, 1, 1))
            probabilities = np.clip(0.5 + (truths - 0.5) * 0.35 + noise, 0.001, 0.999)
            found = _criteria(probabilities, truths)
            clear = np.diff(np.sort(found["dice"]))[-1] > 1e-3
            chosen = [int(np.argmax(scores)) for scores in found.values()]
            if truths.sum((1, 2)).all() and clear and chosen.count(int(np.argmax(found[rival]))) == 1:
                yield probabilities, truths, found
                break


def _collect_threshold(student: Callable, seed: int) -> Collected:
    what = "best_threshold"
    given = [call(student, p.copy(), t.copy(), CUTS.copy(), what=what) for p, t, _ in _validation_sets(seed)]
    return {"chosen": np.array([numbers(one, what, ()) for one in given])}


def _judge_threshold(arrays: Collected, seed: int) -> None:
    what, sets = "best_threshold", [found for *_, found in _validation_sets(seed)]
    best = {name: CUTS[[int(np.argmax(found[name])) for found in sets]] for name in sets[0]}
    index = [int(np.argmax(found["dice"])) for found in sets]
    mistakes = {
        "that is the index; return the threshold at that index": index,
        "that is the best Dice, not its threshold": [max(found["dice"]) for found in sets],
        "that is the worst threshold; is the sign right?": CUTS[[int(np.argmin(found["dice"])) for found in sets]],
    }
    mistakes |= {f"chosen by {name}; the mean of each image's Dice is asked for": best[name] for name in list(best)[1:]}
    mistakes["that is always 0.5"] = [0.5] * len(sets)
    otherwise = "another threshold has a higher mean Dice; compare your mean Dice of one cut with the lab's"
    name_mistake(what, arrays["chosen"], best["dice"], mistakes, otherwise)


best_threshold = Check(
    "best_threshold", "chosen by the mean of each image's Dice", _collect_threshold, _judge_threshold
)
