"""What is measured of a claim's trainings: after each epoch on validation images, at the end on test images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from course.cases import error_by_distance
from labkit.analysis import Predictor, load_predictor, network_costs, predict_batches
from labkit.data import Pets, batch_indices, batch_loader, load_arrays
from labkit.metrics import IGNORED, dice_score, overlap_counts, pooled, predicted_mask
from labkit.training import Epoch, Recipe, Run, build_network

EPOCH_COLUMNS = (
    *("epoch", "train_loss", "valid_loss", "valid_dice", "valid_iou"),
    *("confidence", "ece", "region_iou", "class_right", "spike"),
)
"""Of the records' table of epochs; see `epoch_measures`."""

RUN_MEASURES = ("border_dice", "errors_near_outline", "pixels_near_outline", "foreground_bias", "dice_by_share")
RUN_MEASURES += ("train_foreground", "images_per_second", "saved_megabytes")
"""Columns of a run's row, see `run_measures`."""

CURVE_MEASURES = ("epochs_to_level", "fluctuation", "valid_loss_last", "valid_loss_least", "valid_loss_early")
CURVE_MEASURES += ("valid_loss_rise", "valid_dice_fall", "confidence_change", "ece_change", "train_loss_last")
CURVE_MEASURES += ("loss_left", "class_lag", "spikes")
"""What is read off a run's epochs, see `curve_measure`."""

MEASURES = ("dice", *RUN_MEASURES, *CURVE_MEASURES)
"""What a claim may compare; `dice` is hard, per test image, and the only one whose images are paired."""

BINS = 15
NEAR = 2
"""Pixels on either side of the true outline that count as near."""


def epoch_measures(predictor: Predictor, pets: Pets, epoch: Epoch) -> dict[str, float]:
    """A row of `EPOCH_COLUMNS`, of the last weights of an epoch.

    `confidence`: the mean over validation pixels of the probability of the class that is called; `ece`: expected
    calibration error in 15 bins of equal width (Guo et al., ICML 2017, arXiv 1706.04599); `region_iou`: pooled, all
    classes but the background as one; `class_right`: of the pixels that are rightly called foreground the share whose
    class is right (1 where there is one foreground); `spike`: the largest loss of a step over the median.
    """
    hits, total, confidence = torch.zeros(3, BINS, dtype=torch.float64)
    counts, found, right = torch.zeros(1, 1, 3, dtype=torch.int64), 0, 0
    valid = pets.split("valid", predictor.recipe.data.split)
    for logits, truth, _ in predict_batches(predictor, pets, valid):
        known, called = truth != IGNORED, predicted_mask(logits)
        sure = top_probability(logits)[known].double()
        bins = (sure * BINS).long().clamp(max=BINS - 1)
        total += torch.bincount(bins, minlength=BINS)
        confidence += torch.bincount(bins, sure, minlength=BINS)
        hits += torch.bincount(bins, (called == truth)[known].double(), minlength=BINS)
        region = torch.where(known, truth > 0, IGNORED)
        counts += overlap_counts((called > 0).long(), region).sum(0, keepdim=True)
        both = known & (truth > 0) & (called > 0)
        found, right = found + int(both.sum()), right + int((both & (called == truth)).sum())
    intersection, predicted, true = counts[0, 0].tolist()
    shown = {key: value for key, value in epoch.row().items() if key in EPOCH_COLUMNS}
    return shown | {
        "confidence": float(confidence.sum() / total.sum()),
        "ece": float((hits - confidence).abs().sum() / total.sum()),
        "region_iou": intersection / max(1, predicted + true - intersection),
        "class_right": right / found if found else math.nan,
        "spike": max(epoch.step_losses) / float(np.median(epoch.step_losses)),
    }


def top_probability(logits: Tensor) -> Tensor:
    """Probability of the most probable class, `float [B, H, W]`; logits of one channel are against 0."""
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return logits.float().softmax(dim=1).amax(dim=1)


def run_measures(run: Run, pets: Pets, images: pd.DataFrame, device: str = "auto") -> dict[str, float]:
    """A run's row of `RUN_MEASURES`, of its best weights.

    `border_dice`: pooled Dice of the test pixels within an eighth of the side from the image's edge;
    `errors_near_outline`, `pixels_near_outline`: shares of the wrong and of all test pixels within two pixels of the
    true outline; `foreground_bias`: mean over test images of the predicted share of foreground minus the true one;
    `dice_by_share`: Spearman's rank correlation of an image's Dice with its true share; `train_foreground`: share of
    foreground in the masks of the first epoch; `images_per_second`: of the fastest epoch; `saved_megabytes`: what a
    training pass keeps for the backward pass, an image of 64 pixels at least.

    Args:
        images: the run's per-image table of the test images, as `evaluate` gives it.
    """
    recipe, predictor = run.recipe, load_predictor(run, device, run.recipe.training.precision)
    test = pets.split("test", recipe.data.split)
    near, pixels = [], error_by_distance(predictor, pets, test)
    near = pixels["distance"].between(-NEAR, NEAR - 1)
    counts, bias = [], []
    band = border_band(recipe.data.image_size)
    for logits, truth, _ in predict_batches(predictor, pets, test):
        called, known = predicted_mask(logits).cpu() > 0, truth.cpu()
        foreground = (known > 0) & (known != IGNORED)
        bias.append((called.double() - foreground.double()).mean((1, 2)))
        banded = torch.where(band, torch.where(known == IGNORED, IGNORED, foreground.long()), IGNORED)
        counts.append(overlap_counts(called.long(), banded))
    ranks = images[["dice", "foreground"]].rank()
    costs = network_costs(
        build_network(recipe), max(64, recipe.data.image_size)
    )  # ResNet's norms need 64 for one image
    return {
        "border_dice": pooled(dice_score, torch.cat(counts)),
        "errors_near_outline": float(pixels["errors"][near].sum() / max(1, pixels["errors"].sum())),
        "pixels_near_outline": float(pixels["pixels"][near].sum() / pixels["pixels"].sum()),
        "foreground_bias": float(torch.cat(bias).mean()),
        "dice_by_share": float(ranks["dice"].corr(ranks["foreground"])),
        "train_foreground": first_epoch_foreground(recipe, pets, predictor),
        "images_per_second": float(run.history()["images_per_second"].max()),
        "saved_megabytes": costs.activation_bytes / 2**20,
    }


def border_band(side: int) -> Tensor:
    """`bool [side, side]`: which pixels lie within an eighth of the side from the image's edge."""
    band = torch.ones(side, side, dtype=torch.bool)
    inner = slice(side // 8, side - side // 8)
    band[inner, inner] = False
    return band


def first_epoch_foreground(recipe: Recipe, pets: Pets, predictor: Predictor) -> float:
    """Share of foreground in the training masks of the first epoch, as they were drawn."""
    prepare, table, shares = predictor.batch_transform(pets), recipe.training, []
    batches = batch_indices(recipe.train_indices(pets), table.batch_size, table.seed, epoch=1)
    for batch in batch_loader(load_arrays(pets, recipe.data.image_size), batches):
        _, masks = prepare(batch, recipe.data.augment, table.seed, 1, recipe.size_of_epoch(1))
        shares += ((masks > 0) & (masks != IGNORED)).double().mean((1, 2)).tolist()
    return float(np.mean(shares))


def curve_measure(name: str, epochs: pd.DataFrame, level: float | None = None) -> float:
    """One number of a run's epochs (`EPOCH_COLUMNS`), in their order.

    - `epochs_to_level`: the first epoch whose validation Dice reaches `level`; one more than there are if none does.
    - `fluctuation`: standard deviation of the validation loss's differences from epoch to epoch, in the second half.
    - `valid_loss_last`, `valid_loss_least`, `train_loss_last`; `valid_loss_early`: the mean of the first third.
    - `valid_loss_rise`, `confidence_change`, `ece_change`: last epoch minus the one of the lowest validation loss;
      `valid_dice_fall`: the Dice of that epoch minus the last one.
    - `loss_left`: the last training loss as a share of the first epoch's.
    - `class_lag`: epochs by which `class_right` comes later within a tenth of its last value than `region_iou`.
    - `spikes`: the mean of `spike`.
    """
    loss, dice = epochs["valid_loss"], epochs["valid_dice"]
    lowest = loss.idxmin()
    match name:
        case "epochs_to_level":
            reached = np.flatnonzero(dice >= level)
            return float(reached[0] + 1 if len(reached) else len(dice) + 1)
        case "fluctuation":
            return float(np.std(np.diff(loss[len(loss) // 2 :]), ddof=1))
        case "valid_loss_least":
            return float(loss.min())
        case "valid_loss_early":
            return float(loss[: math.ceil(len(loss) / 3)].mean())
        case "valid_loss_rise":
            return float(loss.iloc[-1] - loss[lowest])
        case "valid_dice_fall":
            return float(dice[lowest] - dice.iloc[-1])
        case "confidence_change" | "ece_change":
            values = epochs[name.removesuffix("_change")]
            return float(values.iloc[-1] - values[lowest])
        case "loss_left":
            return float(epochs["train_loss"].iloc[-1] / epochs["train_loss"].iloc[0])
        case "class_lag":
            return float(_settled(epochs["class_right"]) - _settled(epochs["region_iou"]))
        case "spikes":
            return float(epochs["spike"].mean())
    return float(epochs[name.removesuffix("_last")].iloc[-1])


def _settled(values: Sequence[float]) -> int:
    """The first epoch from which on all values are at least nine tenths of the last one."""
    values = np.nan_to_num(np.asarray(values, dtype=float))
    below = np.flatnonzero(values < 0.9 * values[-1])
    return int(below[-1] + 2) if len(below) else 1


def measured(name: str, row: Mapping[str, Any], epochs: pd.DataFrame | None, level: float | None = None) -> float:
    """A measure of `MEASURES` of one run, from its row and its epochs; `dice` is the mean over test images.

    A run that was only timed has no epochs.
    """
    if name == "dice":
        return float(row["dice_per_image"])
    return float(row[name]) if name in RUN_MEASURES else curve_measure(name, epochs, level)
