"""A claim's training as a job, with what is measured of it, and the records that are made of finished ones."""

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from course.experiments.jobs import Job, finished, run_job
from course.experiments.measures import EPOCH_COLUMNS, epoch_measures, run_measures
from course.run_folder import clear_run_folder
from labkit.analysis import Evaluation, Predictor, network_costs
from labkit.data import Pets, batch_indices, open_pets
from labkit.errors import LabError
from labkit.files import write_text, written_whole
from labkit.models import count_parameters
from labkit.training import (
    Epoch,
    Run,
    Trainer,
    build_network,
    choose_device,
    environment,
    parse_recipe,
    resolve,
    write_json,
)
from labkit.training.runs import empty_network, load_checkpoint

EPOCHS, DICE = "claim-epochs.csv", "claim-dice.npz"
FACTS = ("device", "processor", "device_name", "torch", "commit")
STEPS_OF_DICE = 65535
"""Dice of single images is recorded as `uint16`, in steps of 1/65535."""


def run_claim_job(job: Job) -> dict[str, Any]:
    """As `run_job`, with the measures of `course.experiments.measures` in the row and two more files in the folder."""
    return run_job(job, ClaimWatch(job))


class ClaimWatch:
    """Measures a training after each epoch and at its end."""

    def __init__(self, job: Job):
        self.job, self.folder, self.rows = job, Path(job.run), []

    def begin(self) -> None:
        """Take up the rows of the epochs that are kept; without one of them the run is begun anew."""
        if not (self.folder / "last.pt").is_file():
            return
        done = len(load_checkpoint(self.folder / "last.pt")["history"])
        path = self.folder / EPOCHS
        self.rows = pd.read_csv(path).to_dict("records")[:done] if path.is_file() else []
        if len(self.rows) < done:  # it was killed between the checkpoint and the row
            clear_run_folder(self.folder)
            self.rows = []

    def after(self, epoch: Epoch, pets: Pets) -> None:
        """Measure the epoch's last weights, which the checkpoint holds."""
        state = load_checkpoint(self.folder / "last.pt")
        recipe, device = parse_recipe(state["recipe"], self.job.run), choose_device(self.job.device)
        model = empty_network(recipe)
        model.load_state_dict(state["model"])
        predictor = Predictor(recipe, model.to(device).eval(), device, recipe.training.precision)
        self.rows.append(epoch_measures(predictor, pets, epoch))
        table = pd.DataFrame(self.rows, columns=EPOCH_COLUMNS)
        write_text(
            self.folder / EPOCHS, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"), replace=True
        )

    def finish(self, run: Run, pets: Pets, evaluation: Evaluation) -> dict[str, Any]:
        """What the row has besides a sweep's columns; writes the Dice of every test image."""
        facts = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
        images, summary = evaluation.images, evaluation.summary
        with written_whole(self.folder / DICE, "wb", replace=True) as file:
            arrays = {name: images[name].to_numpy(np.float32) for name in ("dice", "foreground")}
            np.savez_compressed(file, names=images["name"].to_numpy("U"), **arrays)
        return self.job.labels | {
            **{key: summary[key] for key in ("iou_per_image", "iou_pooled", "loss")},
            **run_measures(run, pets, images, self.job.device),
            "precision": run.recipe.training.precision,
            **{key: facts[key] for key in FACTS},
        }


def run_timed_job(job: Job) -> dict[str, Any]:
    """Training steps alone, of which only the time and the memory are asked: no image is scored, no weights are kept.

    The row has the columns of `run_claim_job` that say something here; the speed is that of the fastest epoch.
    """
    pets, recipe = open_pets(job.data), parse_recipe(job.recipe, job.run)
    recipe = resolve(recipe, pets, job.device)
    table = recipe.training
    torch.manual_seed(table.seed)
    model, size, seconds = build_network(recipe), recipe.data.image_size, []
    saved = network_costs(model, max(64, size)).activation_bytes / 2**20
    trainer = Trainer(recipe, pets, model)
    for epoch in range(1, table.epochs + 1):
        batches, began = batch_indices(trainer.train, table.batch_size, table.seed, epoch), time.perf_counter()
        trainer.epoch(batches, epoch, size, lambda loaded, _: loaded)
        seconds.append(time.perf_counter() - began)
    facts = environment(torch.device(table.device))
    row = {"status": "done", "seconds": round(sum(seconds), 1), "parameters": count_parameters(model), **job.labels}
    row |= {
        "split": job.split,
        "valid_dice": None,
        "dice_per_image": None,
        "images_per_second": len(trainer.train) / min(seconds),
        "saved_megabytes": saved,
    }
    row |= {"precision": table.precision, **{key: facts[key] for key in FACTS}}
    Path(job.run).mkdir(exist_ok=True)
    write_json(Path(job.run) / "result.json", {"asked": job.recipe, "row": row})
    return row


def write_records(jobs: list[Job], scale: str, folder: Path) -> int:
    """Add the finished jobs of a scale to `claims.csv`, `claims-epochs.csv` and `claims-dice.npz` in a folder.

    Earlier records of the same runs are replaced, all others stay. Returns how many were added.
    """
    rows, epochs, dice = [], [], {}
    for job in jobs:
        if (row := finished(job)) is None:
            continue
        rows.append(row)
        if not job.split:
            continue
        epochs.append(pd.read_csv(Path(job.run) / EPOCHS).assign(run=row["run"]))
        with np.load(Path(job.run) / DICE) as arrays:
            dice[row["run"]] = np.round(arrays["dice"].astype(float) * STEPS_OF_DICE).astype(np.uint16)
            dice[f"{scale}.names"], dice[f"{scale}.foreground"] = arrays["names"], arrays["foreground"]
    if not rows:
        return 0
    added = {row["run"] for row in rows}
    by_epoch = pd.concat(epochs) if epochs else pd.DataFrame(columns=["run", *EPOCH_COLUMNS])
    for name, new in (("claims", pd.DataFrame(rows)), ("claims-epochs", by_epoch)):
        path = folder / f"{name}.csv"
        if path.is_file():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            new = pd.concat(
                [
                    old[~old["run"].isin(added)],
                    pd.read_csv(io.StringIO(new.to_csv(index=False, float_format="%.6g")), dtype=str),
                ]
            )
        columns = ["run", *(column for column in new if column != "run")]
        write_text(path, new[columns].to_csv(index=False, lineterminator="\n", float_format="%.6g"), replace=True)
    path = folder / "claims-dice.npz"
    if path.is_file():
        with np.load(path) as old:
            if dice and not np.array_equal(old.get(f"{scale}.names", dice[f"{scale}.names"]), dice[f"{scale}.names"]):
                raise LabError(f"{path}: its runs at scale {scale} were scored on other test images; move it away")
            dice = dict(old) | dice
    with written_whole(path, "wb", replace=True) as file:
        np.savez_compressed(file, **dict(sorted(dice.items())))
    return len(rows)
