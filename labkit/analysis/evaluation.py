"""A run's scores on one part of a split, image by image: the only place where test images are used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from labkit import metrics
from labkit.analysis.predictions import Predictor, Progress, load_predictor, predict_batches
from labkit.data import SPECIES, Pets
from labkit.errors import LabError, some_of
from labkit.files import write_text
from labkit.metrics import IGNORED, dice_score, iou_score, predicted_mask
from labkit.training import LOSSES, Run, choose_device, choose_precision, write_json


class Evaluation(NamedTuple):
    """What `evaluate` finds out; with several classes Dice and IoU are means over the classes but the background."""

    summary: dict[str, Any]  # as in `summary.json`
    images: (
        pd.DataFrame
    )  # a row an image: `name, breed, species, dice, iou, foreground` (the truth's share of the pixels)
    confusion: torch.Tensor  # int64 [C, C]: pixels of each true class (row) that were called each class (column)


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
    progress: Progress = iter,
) -> Evaluation:
    """Score a run and keep the result in its `evaluation_folder` (nothing is kept for a weights file alone).

    Args:
        split: a part of the recipe's split (`test`), or `<family>/<part>` of another.
        scored_at: `input`, the recipe's square size, or `original`, each image's own size with its own trimap.
        threshold: probability above which a pixel is foreground, if there is one foreground.
        progress: wraps the batches, such as `tqdm`.

    Raises:
        LabError: there is no such split, it holds images that the run was trained on, or the data have other classes.
    """
    if scored_at not in ("input", "original"):
        raise LabError(f"scored_at: found {scored_at!r}; use input or original")
    family, _, part = split.rpartition("/")
    family = family or run.recipe.data.split
    indices = pets.split(part, family)
    _refuse_trained_images(run, pets, family, part, indices)
    predictor = load_predictor(run, device, precision)
    result = score(predictor, pets, indices, scored_at, threshold, progress)
    name = part if family == "official" else f"{family}/{part}"
    label = {"data": pets.label, "fingerprint": pets.fingerprint, "split": name, "threshold": threshold}
    result = result._replace(summary=label | {"precision": predictor.precision} | result.summary)
    if keep and run.is_folder:
        folder = evaluation_folder(run, result.summary)
        write_text(folder / "images.csv", result.images.to_csv(index=False, lineterminator="\n"))
        write_json(folder / "summary.json", result.summary)
    return result


def evaluation_folder(run: Run, summary: dict[str, Any]) -> Path:
    """`evaluations/<data>-<split>-<size>` in the run folder, with threshold or precision if not the default.

    Data other than those of the training bear a part of their fingerprint, since two folders may have one name.
    """
    size = "original" if summary["scored_at"] == "original" else summary["input_size"]
    same = summary["fingerprint"] == run.recipe.data.fingerprint
    data = summary["data"] if same else f"{summary['data']}-{summary['fingerprint'][:8]}"
    usual = choose_precision("auto", choose_device("auto"))
    more = "" if summary["threshold"] == 0.5 else f"-threshold-{summary['threshold']:g}"
    more += "" if summary["precision"] == usual else f"-{summary['precision']}"
    return run.path / "evaluations" / f"{data}-{summary['split'].replace('/', '-')}-{size}{more}"


def score(
    predictor: Predictor, pets: Pets, indices: np.ndarray, scored_at: str, threshold=0.5, progress: Progress = iter
) -> Evaluation:
    """Summary, per-image table and confusion of the images at `indices` (see `evaluate`)."""
    recipe = predictor.recipe
    loss, batch_size = LOSSES[recipe.training.loss], recipe.training.batch_size
    classes = len(predictor.class_names(pets))
    counts, batches, items, shares = [], [], [], []
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for logits, masks, where in predict_batches(predictor, pets, indices, batch_size, progress):
        # loss and soft Dice are of the whole batch, hence at the input size
        batches.append((len(where), loss(logits, masks).item(), metrics.soft_dice(logits, masks).item()))
        if scored_at == "input":
            pairs = [(predicted_mask(logits, threshold), masks)]
        else:
            pairs = []
            for one, index in zip(logits, where.tolist(), strict=True):
                truth = predictor.truth(pets, index)
                sized = metrics.resize_logits(one[None], truth.shape[-2:])
                pairs.append((predicted_mask(sized, threshold).cpu(), truth))
        for prediction, truth in pairs:
            counts.append(metrics.overlap_counts(prediction, truth, classes).cpu())
            shares.append(((truth > 0) & (truth != IGNORED)).cpu().double().mean((1, 2)))
            confusion += metrics.confusion_matrix(prediction, truth, classes).cpu()
        items += [pets.items[index] for index in where]
    counts = torch.cat(counts)
    number, losses, soft = np.array(batches).T
    table = pd.DataFrame(
        {
            "name": [pet.name for pet in items],
            "breed": [pet.breed for pet in items],
            "species": [SPECIES[pet.species] for pet in items],
            "dice": metrics.per_image(dice_score, counts),
            "iou": metrics.per_image(iou_score, counts),
            "foreground": torch.cat(shares),
        }
    )
    summary = {
        "images": len(items),
        "input_size": recipe.data.image_size,
        "scored_at": scored_at,
        "loss": float(np.average(losses, weights=number)),
        "dice_per_image": float(table["dice"].mean()),
        "dice_pooled": metrics.pooled(dice_score, counts),
        "iou_per_image": float(table["iou"].mean()),
        "iou_pooled": metrics.pooled(iou_score, counts),
        "dice_soft_batch": float(soft.mean()),
    }
    if scored_at == "original":  # both are of whole batches at the input size, and would be misread here
        del summary["loss"], summary["dice_soft_batch"]
    return Evaluation(summary, table, confusion)


def class_table(confusion: torch.Tensor, names: Sequence[str]) -> pd.DataFrame:
    """Pooled scores of every class, background included: `class, share` (of the truth)`, dice, iou, precision, recall`.

    The confusion is `int64 [C, C]`, rows truth, columns prediction. 0 / 0 is NaN: the recall of a class that no image
    holds, the Dice of one that is nowhere.
    """
    counts = metrics.class_counts(confusion)
    both, predicted, true = counts.double().T
    occurs, nowhere = predicted + true > 0, torch.tensor(torch.nan, dtype=torch.float64)
    scores = {"share": true / true.sum()}
    scores |= {"dice": dice_score(counts).where(occurs, nowhere), "iou": iou_score(counts).where(occurs, nowhere)}
    scores |= {"precision": both / predicted, "recall": both / true}
    return pd.DataFrame({"class": list(names)} | scores)


def _refuse_trained_images(run: Run, pets: Pets, family: str, part: str, indices: np.ndarray) -> None:
    trained_on, same_files = run.recipe.data.split, pets.fingerprint == run.recipe.data.fingerprint
    if same_files and run.recipe.data.split_fingerprint not in (None, pets.split_fingerprint(trained_on)):
        raise LabError(
            f"{pets.folder}, split {trained_on}: its lists for training and validation were changed after this run was "
            "trained, so that trained images cannot be told from others; restore the lists, or train anew"
        )
    if (family, part) == (trained_on, "train") or trained_on not in pets.families():
        return
    trained = set(pets.parts(trained_on).get("train", ()))
    names = [pets.items[index].name for index in indices]
    if seen := [name for name in names if name in trained]:
        raise LabError(
            f"{len(seen)} of the {len(indices)} images of {family}/{part} are training images of this run (split "
            f"{trained_on!r}: {some_of(seen)}); a score on them would say nothing"
        )
