"""From nothing to a validation Dice in the least time: `python -m benchmarks.speedrun [--goal 0.90] [--seeds 3]`.

The clock starts when a fresh Python process is started, with an empty cache: importing, building the array file,
training and every epoch's validation count. The data are the official split of the real pets at 128x128; the score
is the mean over validation images of hard Dice; no test image is looked at. While images grow, validation is fed
images of the epoch's size and scored at 128x128; only epochs that are fed 128 pixels can reach the goal. `--steps`
runs the way to the recipe of 0.90 instead, one change after the other. Every epoch becomes a row of
records/speedrun.csv.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import muon, patch_unet  # noqa: F401 (recipes know the optimizer and the network then)
from benchmarks.timing import machine
from labkit.data import load_arrays, open_pets
from labkit.files import home, write_text
from labkit.models import count_parameters
from labkit.training import Recipe, build_network, choose_device, epochs, load_recipe, parse_recipe, resolve

RECIPES = Path(__file__).parent / "recipes"
GOALS = {"0.90": "speedrun-90", "0.92": "speedrun-92", "0.93": "speedrun-93"}
"""Validation Dice -> recipe."""
GROWING = [[64, 12], [96, 6], [128, 6]]
STEPS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "plain": ("speedrun-plain", {}),
    "growing images": ("speedrun-plain", {"training": {"sizes": GROWING}}),
    "PatchUNet": ("speedrun-plain", {"training": {"sizes": GROWING}, "model": {"name": "patch_unet"}}),
    "Muon": (
        "speedrun-plain",
        {
            "training": {"sizes": GROWING, "optimizer": "muon", "learning_rate": 4e-3, "weight_decay": 0.1},
            "model": {"name": "patch_unet"},
        },
    ),
}
"""What was changed -> recipe and changes; each step keeps those above it, and the recipe of 0.90 is the last one."""


def planned(name: str, changes: dict[str, dict[str, Any]], seed: int, epochs: int | None = None) -> Recipe:
    """The recipe of one run."""
    training = changes.get("training", {}) | {"seed": seed} | ({"epochs": epochs} if epochs else {})
    return load_recipe(RECIPES / f"{name}.toml").changed(**changes | {"training": training})


def run_timed(recipe: Recipe, data: Path, device: str) -> Iterator[dict[str, Any]]:
    """Train in a fresh process with an empty cache; yields what it reports, with the seconds since its start.

    Raises:
        SystemExit: the process failed; its error stands on stderr.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-speedrun-") as empty:
        path = Path(empty) / "recipe.toml"
        path.write_text(recipe.toml())
        command = [sys.executable, "-m", "benchmarks.speedrun", "--child", str(path), str(data), device]
        # an empty home has an empty cache; the code still comes from here
        folders = os.pathsep.join(filter(None, [str(home()), os.environ.get("PYTHONPATH")]))
        fresh = os.environ | {"LABKIT_HOME": empty, "PYTHONPATH": folders}
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=fresh, cwd=home()) as child:
            for line in child.stdout:
                yield {"seconds": round(time.perf_counter() - began, 2), **json.loads(line)}
        if child.returncode:
            raise SystemExit(f"the run ended with status {child.returncode}; its error stands above")


def report(**facts: Any) -> None:
    """One line to the process that holds the clock."""
    print(json.dumps(facts), flush=True)


def train_here(path: str, data: str, device: str) -> None:
    """What the fresh process does: build the arrays, train, say after each part that it is done."""
    report(phase="imports")
    recipe, pets = parse_recipe(Path(path).read_text(), path), open_pets(data)
    load_arrays(pets, recipe.data.image_size)
    report(phase="arrays")
    resolved = resolve(recipe, pets, device)
    report(phase="set-up", precision=resolved.training.precision, parameters=count_parameters(build_network(resolved)))
    for record in epochs(recipe, pets, device=device):
        report(
            phase="epoch",
            epoch=record.epoch,
            size=recipe.size_of_epoch(record.epoch),
            train_loss=round(record.train_loss, 5),
            valid_dice=record.valid_dice,
            train_images_per_second=round(record.images_per_second, 1),
        )


def measure(step: str, goal: float, recipe: Recipe, data: Path, device: str) -> pd.DataFrame:
    """All rows of one run, told on the way."""
    facts, rows, reached = machine(choose_device(device)), [], None
    for told in run_timed(recipe, data, device):
        rows.append(told)
        if told["phase"] == "epoch":
            if reached is None and told["size"] == recipe.data.image_size and told["valid_dice"] >= goal:
                reached = told["seconds"]
            print(
                f"{step}, seed {recipe.training.seed}: epoch {told['epoch']:>3} at {told['size']:>3} pixels, "
                f"{told['seconds']:7.1f} s, valid Dice {told['valid_dice']:.4f}"
                + (f", {goal:.2f} after {reached:.1f} s" if reached else ""),
                flush=True,
            )
    table = pd.DataFrame(rows)
    table["precision"], table["parameters"] = table["precision"].dropna().iloc[0], table["parameters"].max()
    return table.assign(
        step=step,
        goal=goal,
        seconds_to_goal=reached,
        network=recipe.model.name,
        epochs=recipe.training.epochs,
        batch_size=recipe.training.batch_size,
        image_size=recipe.data.image_size,
        seed=recipe.training.seed,
        **facts,
    )


def kept(table: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Add a run's rows to the table, in place of the same run's earlier ones; steps stand in their order."""
    if table.exists():
        old, key = pd.read_csv(table), ["step", "goal", "seed", "device"]
        same = old.set_index(key).index.isin(rows.set_index(key).index)
        rows = pd.concat([old[~same], rows], ignore_index=True)
    order = [*STEPS, "final"]
    rows = rows.sort_values(
        ["goal", "step", "seed", "seconds"], key=lambda c: c.map(order.index) if c.name == "step" else c
    ).reset_index(drop=True)
    write_text(table, rows.round({"valid_dice": 5}).to_csv(index=False, lineterminator="\n"), replace=True)
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Seconds to the goal of each step: the median over seeds; a run that never reached it counts as endless."""
    runs = rows.groupby(["goal", "step", "device", "seed"], sort=False)
    each = runs.agg(seconds=("seconds_to_goal", "first"), whole=("seconds", "max"), best=("valid_dice", "max"))
    each["seconds"] = each["seconds"].fillna(float("inf"))
    steps = each.groupby(["goal", "step", "device"], sort=False)
    return steps.agg(
        seeds=("seconds", "size"),
        median_seconds=("seconds", "median"),
        slowest=("seconds", "max"),
        whole_run=("whole", "median"),
        best_valid_dice=("best", "median"),
    ).round(4)


def main() -> None:
    """Run, and replace the runs' rows in the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--goal", choices=GOALS, default="0.90")
    words.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N - 1")
    words.add_argument("--first-seed", type=int, default=0)
    words.add_argument("--steps", nargs="*", choices=STEPS, metavar="STEP", help="the way to 0.90; without names all")
    words.add_argument("--data", default="pets", help="the real pets, or another data set by name or folder")
    words.add_argument("--device", default="auto")
    words.add_argument("--epochs", type=int, help="another number of epochs, to try the benchmark itself; with --out")
    words.add_argument("--out", type=Path, default=home() / "records", help="folder of speedrun.csv")
    words.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.child:
        return train_here(*given.child)
    if (given.epochs or given.data != "pets") and given.out == words.get_default("out"):
        words.error("--epochs and --data: such a run is not what the record holds; name another folder with --out")
    data, goal = open_pets(given.data).folder, float(given.goal)
    plans = {"final": (GOALS[given.goal], {})} if given.steps is None else {s: STEPS[s] for s in given.steps or STEPS}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for step, (name, changes) in plans.items():
            rows = measure(step, goal, planned(name, changes, seed, given.epochs), data, given.device)
            everything = kept(given.out / "speedrun.csv", rows)
    print(summary(everything).to_string())


if __name__ == "__main__":
    main()
