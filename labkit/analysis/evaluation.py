"""A run's scores on one part of a split, image by image: the only place where test images are met."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from labkit.analysis.predictions import Predictor, Watch, load_predictor, predict_batches
from labkit.data import SPECIES, Pets, class_names, mask_from_trimap
from labkit.errors import LabError
from labkit.files import write_text
from labkit.metrics import (
    dice_score,
    iou_score,
    overlap_counts,
    per_image,
    pooled,
    predicted_mask,
    resize_logits,
    soft_dice,
)
from labkit.training import LOSSES, Run, write_json

SCORED_AT = ("input", "original")


def evaluate(
    run: Run,
    pets: Pets,
    split: str = "test",
    *,
    scored_at: str = "input",
    threshold: float = 0.5,
    device: str = "auto",
    precision: str = "auto",
    keep: bool = True,
    watch: Watch = iter,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a run and keep the result in its folder (nothing is kept for a weights file alone).

    Args:
        run: from `open_run`.
        pets: the data set.
        split: a part of the recipe's split (`test`), or `<family>/<part>` of another.
        scored_at: `input`, the recipe's square size, or `original`, each image's own size with its own trimap.
        threshold: probability above which a pixel is foreground.
        device: `auto`, `cpu`, `cuda` ...
        precision: `auto`, `float32` or `bfloat16`.
        keep: write `evaluations/<data>-<split>-<size>/` into the run folder.
        watch: wraps the batches, such as `tqdm`.

    Returns:
        The summary (`data, split, images, input_size, scored_at, loss, dice_per_image, dice_pooled,
        iou_per_image, iou_pooled, dice_soft_batch`) and the per-image table.

    Raises:
        LabError: there is no such split, or it holds images that the run was trained on.
    """
    if scored_at not in SCORED_AT:
        raise LabError(f"scored_at: found {scored_at!r}; use {' or '.join(SCORED_AT)}")
    family, _, part = split.rpartition("/")
    family = family or run.recipe.data.split
    positions = pets.split(part, family)
    if part != "train":
        _refuse_trained_images(run, pets, family, part, positions)
    predictor = load_predictor(run, device, precision)
    summary, table = score(predictor, pets, positions, scored_at, threshold, watch)
    summary = {"data": pets.label, "split": part if family == "official" else f"{family}/{part}"} | summary
    if keep and run.is_folder:
        folder = evaluation_folder(run, summary)
        write_text(folder / "images.csv", table.to_csv(index=False, lineterminator="\n"))
        write_json(folder / "summary.json", summary)
    return summary, table


def evaluation_folder(run: Run, summary: dict[str, Any]) -> Path:
    """`evaluations/<data>-<split>-<size>` in the run folder."""
    size = "original" if summary["scored_at"] == "original" else summary["input_size"]
    return run.path / "evaluations" / f"{summary['data']}-{summary['split'].replace('/', '-')}-{size}"


def score(
    predictor: Predictor, pets: Pets, positions: np.ndarray, scored_at: str, threshold: float = 0.5, watch: Watch = iter
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Summary and per-image table of the images at `positions` (see `evaluate`)."""
    recipe = predictor.recipe
    loss, batch_size = LOSSES[recipe.training.loss], recipe.training.batch_size
    classes = max(2, len(class_names(recipe.data.target, pets)))
    counts, weighted, order, shares = [], [], [], []
    for logits, masks, where in predict_batches(predictor, pets, positions, batch_size, watch):
        # loss and soft Dice are of the whole batch, hence at the input size
        weighted.append((len(where), loss(logits, masks).item(), soft_dice(logits, masks).item()))
        if scored_at == "input":
            pairs = [(predicted_mask(logits, threshold), masks)]
        else:
            pairs = [_at_original_size(predictor, pets, logits[i : i + 1], p, threshold) for i, p in enumerate(where)]
        for prediction, truth in pairs:
            counts.append(overlap_counts(prediction, truth, classes).cpu())
            shares.append(((truth > 0) & (truth != 255)).float().mean((1, 2)).cpu())
        order.append(where)
    counts, order = torch.cat(counts), torch.cat(order).numpy()
    number, losses, soft = np.array(weighted).T
    table = image_table(pets, order, counts, torch.cat(shares))
    summary = {
        "images": len(order),
        "input_size": recipe.data.image_size,
        "scored_at": scored_at,
        "loss": float((losses * number).sum() / number.sum()),
        "dice_per_image": float(table["dice"].mean()),
        "dice_pooled": pooled(dice_score, counts),
        "iou_per_image": float(table["iou"].mean()),
        "iou_pooled": pooled(iou_score, counts),
        "dice_soft_batch": float(soft.mean()),
    }
    return summary, table


def image_table(pets: Pets, positions: np.ndarray, counts: torch.Tensor, shares: torch.Tensor) -> pd.DataFrame:
    """One row an image: `name, breed, species, dice, iou, foreground` (the truth's share of the pixels)."""
    items = [pets.items[p] for p in positions]
    return pd.DataFrame(
        {
            "name": [pet.name for pet in items],
            "breed": [pet.breed for pet in items],
            "species": [SPECIES[pet.species] for pet in items],
            "dice": per_image(dice_score, counts).numpy(),
            "iou": per_image(iou_score, counts).numpy(),
            "foreground": shares.double().numpy(),
        }
    )


def typical_cases(table: pd.DataFrame, number: int = 4) -> dict[str, pd.DataFrame]:
    """The best, the worst and the middle rows of a per-image table by Dice; ties by name."""
    ranked = table.sort_values(["dice", "name"], ascending=[False, True], ignore_index=True)
    middle = max(0, (len(ranked) - number) // 2)
    return {"best": ranked[:number], "median": ranked[middle : middle + number], "worst": ranked[::-1][:number]}


def breed_table(table: pd.DataFrame) -> pd.DataFrame:
    """Images, mean and worst Dice of each breed, the hardest first."""
    groups = table.groupby(["species", "breed"], as_index=False)["dice"]
    return groups.agg(images="count", dice="mean", worst="min").sort_values("dice", ignore_index=True)


def _at_original_size(predictor: Predictor, pets: Pets, logits: torch.Tensor, position, threshold: float):
    trimap = torch.from_numpy(pets.trimap(int(position)))[None]
    pet = pets.items[int(position)]
    truth = mask_from_trimap(
        trimap, predictor.recipe.data.target, torch.tensor([pet.species]), torch.tensor([pet.class_id])
    )
    return predicted_mask(resize_logits(logits, trimap.shape[-2:]), threshold).cpu(), truth


def _refuse_trained_images(run: Run, pets: Pets, family: str, part: str, positions: np.ndarray) -> None:
    trained_on = run.recipe.data.split
    if family == trained_on or trained_on not in pets.families():
        return
    seen = np.intersect1d(positions, pets.split("train", trained_on))
    if len(seen):
        raise LabError(
            f"{len(seen)} of the {len(positions)} images of {family}/{part} are training images of this run "
            f"(split {trained_on!r}); a score on them would say nothing"
        )
