"""The report's figure of masks: images by their rank, and what each network got wrong on them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from course import figures as plots
from course.figures.images import ERRORS
from course.reporting.scores import Arm
from labkit import painting
from labkit.analysis import Predictor, load_predictor, predict_batches
from labkit.data import Pets, load_arrays, open_pets
from labkit.errors import LabError
from labkit.metrics import predicted_mask

RANKS = {"worst": 0.0, "a tenth are worse": 0.1, "median": 0.5, "a tenth are better": 0.9, "best": 1.0}
MOST_NETWORKS = 3
"""Beside each other in the figure of masks."""


def mask_figure(groups: list[Arm], data: str | None) -> tuple[tuple[Figure, str] | None, str]:
    """Images by their rank in mean Dice, the truth, and each network's mistakes; else why there is no such figure."""
    first = [next((one for one in arm.runs if one.chosen), None) for arm in groups]
    shown = [one for one in first if one is not None][:MOST_NETWORKS]
    shown = [one for one in shown if one.chosen.key == shown[0].chosen.key]
    if not shown:
        return None, "No run has been evaluated yet, so there are no masks to show."
    summary = shown[0].chosen.summary
    try:
        pets = open_pets(data or summary["data"])
        if pets.fingerprint != summary["fingerprint"]:
            raise LabError(f"{pets.label} are not the data on which the runs were scored")
    except LabError as error:
        return None, f"The masks need the images: {error}. `--data` names their folder."
    table = pd.concat([one.chosen.images.set_index("name")["dice"] for one in shown], axis=1)
    ordered = table.mean(axis=1).sort_values(kind="stable")
    places = {rank: round(share * (len(ordered) - 1)) for rank, share in RANKS.items()}
    names = [str(ordered.index[place]) for place in places.values()]
    rows, notes = [], []
    for one in shown:
        images, found, truths = _cases(load_predictor(one.run), pets, names, summary["threshold"])
        if not rows:
            rows.append([painting.class_overlay(*pair) for pair in zip(images, truths, strict=True)])
            notes.append(names)
        rows.append([painting.error_map(*case) for case in zip(images, found, truths, strict=True)])
        dice = one.chosen.images.set_index("name")["dice"]
        notes.append([f"Dice {dice[name]:.3f}" for name in names])
    labels = ["image and truth", *[one.label for one in shown]]
    figure = plots.image_grid(rows, list(places), labels, notes, legend=ERRORS)
    caption = (
        f"Chosen by rank, not by eye: of {shown[0].chosen.told} the worst, the best and three between, ordered by "
        f"their {'mean ' * (len(shown) > 1)}Dice; drawn at the network's input size."
    )
    return (figure, caption), ""


def _cases(predictor: Predictor, pets: Pets, names: list[str], threshold: float) -> tuple[list[np.ndarray], ...]:
    """Images `uint8 [S, S, 3]`, predicted and true masks `uint8 [S, S]` of the named pets, at the network's size."""
    indices = np.array([pets.indices[name] for name in names])
    arrays = load_arrays(pets, predictor.recipe.data.image_size)
    found, truths = [], []
    for logits, masks, _ in predict_batches(predictor, pets, indices):
        found += list(predicted_mask(logits, threshold).byte().cpu().numpy())
        truths += list(masks.byte().cpu().numpy())
    return [np.asarray(arrays.images[index]) for index in indices], found, truths
