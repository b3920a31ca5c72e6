"""Do images without masks help? `nice python -m benchmarks.semi_supervised`, a few minutes on two CPU cores.

On the drawn sample, the recipe `quick` at 64x64 alone (UNet of width 8) with a moving average, three seeds an arm: 40
images with their masks; the same 40 and all other training images without (`data.unlabelled`); all with their masks,
for what masks would bring. All arms make as many steps, of batches of 20. The weights of the last epoch are scored, so
that nothing is chosen, on the test images. Writes records/semi_supervised.csv, a row a run, and prints the differences.
"""

import argparse
import math
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.timing import device_in_words
from course.compare import image_difference
from labkit.analysis import evaluate
from labkit.data import Pets, open_pets
from labkit.files import home, write_text
from labkit.training import Recipe, build_network, environment, epochs, load_recipe, open_run, resolve, save_weights
from labkit.training.runs import load_checkpoint

LABELLED, BATCH, STEPS, SEEDS = 40, 20, 330, (0, 1, 2)


def planned(arm: str, seed: int, train: int, steps: int = STEPS, labelled: int = LABELLED) -> Recipe:
    """The recipe of an arm where there are `train` training images."""
    without = train - labelled
    data, images = {
        "40 masks": ({"train_images": labelled}, labelled),
        "40 masks, the rest without": ({"unlabelled": without}, 2 * max(labelled, without)),
        "all masks": ({}, train),
    }[arm]
    table = {"sizes": (), "ema": 0.99, "batch_size": BATCH, "precision": "float32", "seed": seed}
    table["epochs"] = max(1, round(steps / math.ceil(images / BATCH)))
    return load_recipe("quick").changed(data=data, training=table)


ARMS = ("40 masks", "40 masks, the rest without", "all masks")


def last_scores(recipe: Recipe, pets: Pets, folder: Path) -> tuple[float, np.ndarray]:
    """Train; minutes, and the Dice of each test image by the averaged weights of the last epoch."""
    minutes = sum(record.seconds for record in epochs(recipe, pets, folder, device="cpu")) / 60
    network, state = build_network(resolve(recipe, pets, "cpu")), load_checkpoint(folder / "last.pt")["average"]
    network.load_state_dict({k.removeprefix("module."): v for k, v in state.items() if k.startswith("module.")})
    save_weights(folder / "end.safetensors", network, open_run(folder).recipe)
    scored = evaluate(open_run(folder / "end.safetensors"), pets, device="cpu", precision="float32", keep=False)
    return minutes, scored.images["dice"].to_numpy()


def main(words: list[str] | None = None) -> None:
    """Train and score all runs, write the table, and print each arm against the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps of a run")
    parser.add_argument("--out", type=Path, default=home() / "records" / "semi_supervised.csv")
    given = parser.parse_args(words)
    pets, rows, scores = open_pets("sample"), [], {arm: [] for arm in ARMS}
    train, facts = len(pets.split("train")), environment(torch.device("cpu"))
    facts = {"device": device_in_words(facts)} | {key: facts[key] for key in ("threads", "torch", "commit")}
    for seed in SEEDS:
        for arm in ARMS:
            recipe = planned(arm, seed, train, given.steps)
            with tempfile.TemporaryDirectory() as folder:
                minutes, dice = last_scores(recipe, pets, Path(folder) / "run")
            scores[arm].append(dice)
            counts = {"labelled": recipe.data.train_images or train - recipe.data.unlabelled}
            counts |= {"unlabelled": recipe.data.unlabelled, "steps": given.steps, "epochs": recipe.training.epochs}
            row = (
                {"arm": arm, "seed": seed} | counts | {"test_images": len(dice), "dice_per_image": dice.mean().round(4)}
            )
            rows.append(row | {"minutes": round(minutes, 2)} | facts | {"date": date.today().isoformat()})
            print(f"{arm}, seed {seed}: test Dice {dice.mean():.4f}, {minutes:.1f} min", flush=True)
    write_text(given.out, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"), replace=True)
    for arm in ARMS[1:]:
        found = image_difference(np.array(scores[arm]), np.array(scores[ARMS[0]]))
        low, high = found.interval()
        print(f"{arm} minus {ARMS[0]}: {found.effect:+.4f} ({low:+.4f} to {high:+.4f}, 95 %, images and seeds)")


if __name__ == "__main__":
    main()
