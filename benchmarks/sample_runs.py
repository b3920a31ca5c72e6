"""Train both required networks on the drawn sample, three seeds each: `nice -n 5 python -m benchmarks.sample_runs`.

All runs take the recipe of `weights/sample.safetensors`; the ResNet34-UNet has the lab's decoder and the same width.
Seed 0 is what notebook 05 opens: the committed file where there is one, else it is trained and published. Finished
runs are kept in `runs/sample-runs`. Writes records/sample_runs.csv (a row an image of a run) and
records/sample_runs_epochs.csv. On a machine that does other work, set OMP_NUM_THREADS=1.
"""

import argparse
import json
from datetime import date
from pathlib import Path

import pandas as pd
import torch

from benchmarks.timing import device_in_words
from labkit.analysis import evaluate
from labkit.data import Pets, open_pets
from labkit.files import home, write_text
from labkit.training import Recipe, Run, committed_weights, fit, open_run, save_weights

FILES = {"unet": "sample", "resnet34_unet": "sample-resnet34-unet"}
"""Network -> its file in `weights/`."""
SEEDS = (0, 1, 2)
FACTS = ("precision", "device", "threads", "torch", "commit", "date")


def planned(network: str, seed: int) -> Recipe:
    """The recipe of the committed UNet with another network or seed."""
    recipe = open_run(committed_weights(FILES["unet"])).recipe
    changes = {"model": {"name": network, "width": recipe.model.width}} if network != recipe.model.name else {}
    return recipe.changed(training={"seed": seed}, **changes)


def publish(run: Run, path: Path) -> None:
    """Write a run's best weights in half precision as one file that also carries recipe and history."""
    facts = {key: run.facts[key] for key in ("epoch", "valid_dice") if key in run.facts}
    history = run.history().round(5).to_csv(index=False, lineterminator="\n")
    save_weights(path, run.model(), run.recipe, torch.float16, history=history, **facts)


def finished_run(network: str, seed: int, pets: Pets) -> tuple[Run, dict[str, object]]:
    """A trained run, and what was noted of its making; a committed file of an earlier training carries no such note."""
    weights = home() / "weights" / f"{FILES[network]}.safetensors"
    folder = home() / "runs" / "sample-runs" / f"{network}-{seed}"
    if not (seed == 0 and weights.is_file()):
        fit(planned(network, seed), pets, folder, device="cpu", resume=True)
        if seed == 0:
            publish(open_run(folder), weights)
    run = open_run(weights if seed == 0 else folder)
    facts: dict[str, object] = {"precision": run.recipe.training.precision, "device": run.recipe.training.device}
    if folder.is_dir():
        made = json.loads((folder / "environment.json").read_text())
        facts |= {"device": device_in_words(made), "date": date.today().isoformat()}
        facts |= {key: made[key] for key in ("threads", "torch", "commit")}
    return run, facts


def main() -> None:
    """Train what is missing, score every run on the test images in float32, and write both tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    pets, images, epochs = open_pets("sample"), [], []
    for seed in SEEDS:
        for network in FILES:
            run, facts = finished_run(network, seed, pets)
            labels = {"network": network, "seed": seed}
            scored = evaluate(run, pets, device="cpu", precision="float32", keep=False)
            images.append(scored.images[["name", "dice", "foreground", "breed"]].assign(**labels))
            history = run.history()[["epoch", "train_loss", "valid_loss", "valid_dice"]]
            epochs.append(history.assign(**labels, **{key: facts.get(key) for key in FACTS}))
            print(f"{network}, seed {seed}: test Dice {scored.summary['dice_per_image']:.4f}", flush=True)
    for name, parts in {"sample_runs": images, "sample_runs_epochs": epochs}.items():
        table = pd.concat(parts, ignore_index=True).round(5)
        table = table[["network", "seed", *table.columns.difference(["network", "seed"], sort=False)]]
        write_text(home() / "records" / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"), replace=True)


if __name__ == "__main__":
    main()
