"""What a split inside the groups promises too much: `python -m benchmarks.splits`, some minutes on one core.

The comparison of notebook 07, longer and with five seeds: on the drawn slides a UNet is trained on two thirds of the
tiles and asked about the rest, dealt either inside the slides or by slide. The test slides stay closed. Writes
records/splits.csv, a row a training: Dice of each kind of structure, pixels of all tiles held out counted together.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.timing import machine
from course.brief import train_briefly
from labkit.analysis import score
from labkit.data import Pets, class_names, open_pets
from labkit.files import home, write_text
from labkit.metrics import class_counts, dice_score
from labkit.training import Recipe, load_recipe

FOLDS, SEEDS, EPOCHS = 3, range(5), 24


def planned(epochs: int, seed: int) -> Recipe:
    """The recipe of a training."""
    return load_recipe("quick").changed(
        data={"target": "mask", "normalize": "unit", "augment": {"horizontal_flip": 0.5, "vertical_flip": 0.5}},
        model={"name": "unet", "width": 8, "depth": 2},
        training={"loss": "cross-entropy+dice", "epochs": epochs, "sizes": (), "batch_size": 4}
        | {"learning_rate": 4e-3, "precision": "float32", "seed": seed},
    )


def folds(slides: Pets) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """For each split and fold the tiles to learn from and those to ask about."""
    pool = np.sort(np.concatenate([slides.split(part) for part in ("train", "valid")]))
    _, slide = np.unique([slides.items[index].breed for index in pool], return_inverse=True)
    for split, number in (("inside groups", np.arange(len(pool))), ("by group", slide)):
        for fold in range(FOLDS):
            asked = pool[number % FOLDS == fold]
            yield split, fold, np.setdiff1d(pool, asked), asked


def main(words: list[str] | None = None) -> None:
    """Train, score, and write a row a training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each training")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="trainings of each fold")
    parser.add_argument("--out", type=Path, default=home() / "records" / "splits.csv")
    given = parser.parse_args(words)
    slides, rows = open_pets("slides"), []
    kinds, facts = class_names("mask", slides), machine(torch.device("cpu"))
    for seed in range(given.seeds):
        for split, fold, learned, asked in folds(slides):
            predictor = train_briefly(planned(given.epochs, seed), slides, "cpu", indices=learned)
            dice = dice_score(class_counts(score(predictor, slides, asked, "input").confusion)).tolist()
            found = {kind: round(value, 4) for kind, value in list(zip(kinds, dice, strict=True))[1:]}
            rows.append({"seed": seed, "split": split, "fold": fold, "epochs": given.epochs} | found | facts)
            print(seed, split, fold, *found.values(), flush=True)
    write_text(given.out, pd.DataFrame(rows).to_csv(index=False), replace=True)


if __name__ == "__main__":
    main()
