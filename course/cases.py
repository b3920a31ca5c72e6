"""Single images: their probabilities, and where in them the mistakes lie."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from labkit.analysis import Predictor, predict_batches
from labkit.data import Pets
from labkit.errors import LabError
from labkit.metrics import IGNORED, dice_score, foreground_logit, overlap_counts, per_image, predicted_mask


def probabilities(predictor: Predictor, pets: Pets, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Foreground probabilities `float32 [N, S, S]` and true masks `int64 [N, S, S]`; LabError for several classes."""
    if (classes := predictor.recipe.model.classes) > 2:
        raise LabError(f"probabilities: this network tells {classes} classes apart; take a run with one foreground")
    batches = [(foreground_logit(x).sigmoid().cpu(), m.cpu()) for x, m, _ in predict_batches(predictor, pets, indices)]
    return tuple(torch.cat(parts).numpy() for parts in zip(*batches, strict=True))


def dice_of_masks(predictions: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Hard Dice of each image, `float64 [N]`, of binary masks `[N, H, W]`; 255 in a truth = ignored."""
    counts = overlap_counts(torch.from_numpy(predictions.astype(np.int64)), torch.from_numpy(truths.astype(np.int64)))
    return per_image(dice_score, counts).numpy()


def error_by_distance(predictor: Predictor, pets: Pets, indices: np.ndarray, reach: int = 8) -> pd.DataFrame:
    """How many pixels, and how many wrong ones, lie at each distance to the true outline: `distance, pixels, errors`.

    Distances are in pixels (diagonal steps count as one), negative inside the pet: -1 is the pet's outermost row of
    pixels, 0 the first row of background; `reach` and `-reach - 1` hold all that is farther. All classes but the
    background are the pet, and a pixel that was given to another of them is no mistake here.
    """
    pixels, errors = torch.zeros(2, 2 * reach + 2, dtype=torch.int64)
    for logits, masks, _ in predict_batches(predictor, pets, indices):
        kept, truth = masks != IGNORED, (masks > 0) & (masks != IGNORED)
        index = (_signed_steps(truth, reach) + reach + 1)[kept].flatten().cpu()
        wrong = ((predicted_mask(logits) > 0) != truth)[kept].cpu()
        pixels += torch.bincount(index, minlength=len(pixels))
        errors += torch.bincount(index[wrong], minlength=len(errors))
    return pd.DataFrame({"distance": np.arange(-reach - 1, reach + 1), "pixels": pixels, "errors": errors})


def outline_distance(truths: np.ndarray, reach: int = 8) -> np.ndarray:
    """The distance of each pixel to the outline of its mask, as in `error_by_distance`: `int64`, of `[N, H, W]`."""
    return _signed_steps(torch.from_numpy((truths > 0) & (truths != IGNORED)), reach).numpy()


def distance_counts(predictions: np.ndarray, truths: np.ndarray, reach: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The distances of `error_by_distance`, and pixels and wrong pixels of each image there: `int64 [N, distances, 2]`.

    Predictions are `bool [N, H, W]`.
    """
    distance, kept, steps = outline_distance(truths, reach), truths != IGNORED, np.arange(-reach - 1, reach + 1)
    wrong = (predictions != (truths > 0)) & kept
    return steps, np.stack([[((distance == step) & part).sum((1, 2)) for step in steps] for part in (kept, wrong)]).T


def _signed_steps(pet: torch.Tensor, reach: int) -> torch.Tensor:
    return _steps_outside(pet, reach) - _steps_outside(~pet, reach) - pet.long()


def _steps_outside(region: torch.Tensor, reach: int) -> torch.Tensor:
    """Dilations by one pixel, beyond the first, that it takes to reach a pixel outside: 0 inside, `reach` at most."""
    grown, steps = region.float(), torch.zeros_like(region, dtype=torch.long)
    for _ in range(reach):
        grown = F.max_pool2d(grown, kernel_size=3, stride=1, padding=1)
        steps += grown == 0
    return steps
