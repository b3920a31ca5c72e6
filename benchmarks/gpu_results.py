"""What `benchmarks.gpu` reads from the files that its steps leave; needs nothing but Python itself."""

import csv
import json
import subprocess
import sys
import tomllib
from pathlib import Path

Figure = tuple[str, str]
"""What was measured, and its value."""


class Wrong(Exception):
    """A step left something else than it should have; the message says what."""


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file.

    Raises:
        Wrong: there is none.
    """
    if not path.is_file():
        raise Wrong(f"{path} was not written")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def no_device(device: str) -> str | None:
    """One sentence if torch does not see the CUDA device that was asked for, asked in a process of its own."""
    if not device.startswith("cuda"):
        return None
    code = f"import torch; torch.zeros(1, device={device!r}); print(torch.cuda.get_device_name({device!r}))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return None
    lines = asked.stderr.strip().splitlines() or ["no reason given"]
    return f"no CUDA device to be used ({lines[-1]}); DEVICE=cpu SCALE=tiny tries the script without one"


def data(folder: Path) -> list[Figure]:
    """How many images there are."""
    lines = (folder / "oxford-iiit-pet" / "annotations" / "list.txt").read_text().splitlines()
    return [("images", str(sum(not line.startswith("#") for line in lines)))]


def training(run: Path, device: str) -> list[Figure]:
    """Where a run was trained, how far, and how well.

    Raises:
        Wrong: it was trained on another device than the one asked for.
    """
    environment = json.loads((run / "environment.json").read_text())
    recipe = tomllib.loads((run / "recipe.toml").read_text())["training"]
    places = {"environment.json": environment["device"], "recipe.toml": recipe["device"]}
    for file, place in places.items():
        if place.partition(":")[0] != device.partition(":")[0]:
            raise Wrong(f"{run / file} says that {place} did the training, not {device}")
    history = rows_of(run / "history.csv")
    best = max(float(row["valid_dice"]) for row in history)
    each = sum(float(row["seconds"]) for row in history) / len(history)
    return [
        ("trained on", f"{environment['device_name']} ({environment['device']}), {recipe['precision']}"),
        ("epochs", f"{len(history)} of {recipe['epochs']}, {each:.2f} s each"),
        ("best validation Dice", f"{best:.4f}"),
    ]


def evaluation(run: Path) -> list[Figure]:
    """The test scores of a run."""
    files = sorted((run / "evaluations").glob("*/summary.json"))
    if not files:
        raise Wrong(f"{run}: no evaluation was written")
    figures = []
    for file in files:
        found = json.loads(file.read_text())
        scores = f"{found['dice_per_image']:.4f} per image, {found['dice_pooled']:.4f} pooled"
        figures.append((f"Dice, {found['split']}, {found['images']} images at {found['input_size']}", scores))
    return figures


def throughput(path: Path) -> list[Figure]:
    """Each measured way: images a second, how many times the reports' way, share of the matrix peak, memory."""
    figures = []
    for row in rows_of(path):
        parts = [f"{float(row['images_per_second']):.0f} images/s", f"{float(row['ratio_reports']):.2f}x reports"]
        parts.append(f"{float(row['share_of_peak']):.0%} of {float(row['peak_tflops']):.4g} TFLOP/s")
        if row["ratio_smp_per_multiply_add"]:
            parts.append(f"{float(row['ratio_smp_per_multiply_add']):.2f}x smp a multiply-add")
        if row["peak_memory_mib"]:
            parts.append(f"{float(row['peak_memory_mib']):.0f} MiB")
        figures.append((f"{row['network']}, {row['task']}, {row['size']}, {row['way']}", ", ".join(parts)))
    return figures


def speedrun(path: Path, goal: str, wanted: float) -> list[Figure]:
    """Seconds until the goal was reached, of each seed."""
    rows = [row for row in rows_of(path) if float(row["goal"]) == float(goal)]
    if not rows:
        raise Wrong(f"{path} has no row for {goal}")
    figures = []
    for seed in sorted({row["seed"] for row in rows}, key=int):
        mine = [row for row in rows if row["seed"] == seed]
        best = max(float(row["valid_dice"]) for row in mine if row["valid_dice"])
        reached = mine[-1]["seconds_to_goal"]
        time = f"{float(reached):.1f} s" if reached else "not reached"
        figures.append(
            (f"seconds to {goal}, seed {seed}", f"{time} (wanted: under {wanted:.0f} s), best Dice {best:.4f}")
        )
    return figures


def markdown(rows: list[dict[str, str]]) -> str:
    """A table as Markdown, its columns aligned; a step's name, seconds and status stand in its first row only."""
    shown = []
    for before, row in zip([{}, *rows], rows, strict=False):
        same = before.get("step") == row["step"]
        shown.append([("" if same and key in ("step", "seconds", "status") else value) for key, value in row.items()])
    cells = [list(rows[0]), *([text.replace("|", "/") for text in line] for line in shown)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in cells]
    lines = [f"| {' | '.join(line)} |" for line in padded]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
