"""What more images and more processes cost: `python -m benchmarks.scaling`, rows into records/scaling.csv.

Images: data sets of 1,000 to 100,000 entries (the drawn sample's files under many names, 64 pixels) are made into an
array file and read once in batches. Processes: the recipe `quick`, four epochs on the sample, by one process with all
cores and by two with half of them each, with batch norm and without. Workers: a sweep of four short trainings.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from labkit.data import Pets, batch_indices, batch_loader, load_arrays, open_pets
from labkit.files import home, write_text
from labkit.training import environment, load_recipe, open_run
from labkit.training.runs import load_checkpoint

SIZE = 64


def many_pets(root: Path, count: int) -> Pets:
    """A data set of `count` entries in `root`: the sample's files, linked again and again."""
    sample = open_pets("sample")
    folder = root / "oxford-iiit-pet"
    for part in ("images", "annotations/trimaps"):
        (folder / part).mkdir(parents=True)
    lines = []
    for number in range(count):
        pet, name = sample.items[number % len(sample)], f"{sample.items[number % len(sample)].breed}_{number + 1}"
        os.link(sample.image_path(number % len(sample)), folder / "images" / f"{name}.jpg")
        os.link(sample.trimap_path(number % len(sample)), folder / "annotations" / "trimaps" / f"{name}.png")
        lines.append(f"{name} {pet.class_id} {pet.species} 1\n")
    for name, text in (("list", lines), ("trainval", lines[: count // 2]), ("test", lines[count // 2 :])):
        (folder / "annotations" / f"{name}.txt").write_text("".join(text))
    return open_pets(root)


def measure_images(count: int) -> dict:
    """Build the arrays of `count` images and read them once; run in a process of its own for its peak memory."""
    with tempfile.TemporaryDirectory(dir=home() / "dataset") as temporary:
        pets = many_pets(Path(temporary) / "data", count)
        os.environ["LABKIT_HOME"] = temporary
        before = private_mb()
        began = time.perf_counter()
        arrays = load_arrays(pets, SIZE)
        built = time.perf_counter() - began
        began = time.perf_counter()
        open_pets(pets.folder)
        load_arrays(pets, SIZE)
        opened = time.perf_counter() - began
        began = time.perf_counter()
        indices = pets.split("train")
        seen = sum(len(batch.images) for batch in batch_loader(arrays, batch_indices(indices, 32, seed=0)))
        read = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(temporary).glob("dataset/cache/*.npy"))
    return {
        "what": "images",
        "count": count,
        "seconds_to_build": round(built, 2),
        "build_images_per_second": round(count / built),
        "seconds_to_open_again": round(opened, 2),
        "read_images_per_second": round(seen / read),
        "array_mb": round(size / 1e6, 1),
        "private_memory_grown_mb": round(private_mb() - before, 1),
    }


def private_mb() -> float:
    """Memory that is this process's own; pages of a mapped file are not, since the system may drop them."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1e3


def measure_processes(norm: str) -> list[dict]:
    """Four epochs of `quick` by one process and by two; seconds an epoch, Dice, and how far the weights are apart."""
    cores, rows, weights = os.cpu_count() or 1, [], []
    recipe = load_recipe("quick")
    loss = "bce" if norm == "none" else recipe.training.loss
    recipe = recipe.changed(
        model={"norm": norm, "width": 16}, training={"epochs": 4, "loss": loss, "precision": "float32"}
    )
    if norm == "none":
        recipe = recipe.changed(model={"initialization": "he"}, training={"learning_rate": 1e-3})
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as temporary:
            file, run = Path(temporary) / "recipe.toml", Path(temporary) / "run"
            file.write_text(recipe.toml())
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            command += ["-m", "labkit", "train", str(file), "--run-dir", str(run), "--device", "cpu"]
            threads = {"OMP_NUM_THREADS": str(max(1, cores // processes))}
            subprocess.run(command, env=os.environ | threads, check=True, capture_output=True, cwd=home())
            history = open_run(run).history()
            weights.append(load_checkpoint(run / "last.pt")["model"])
        rows.append(
            {
                "what": f"processes, norm {norm}, {loss}",
                "count": processes,
                "seconds_an_epoch": round(history["seconds"][1:].median(), 2),
                "valid_dice": round(history["valid_dice"].iloc[-1], 4),
                "valid_loss": round(history["valid_loss"].iloc[-1], 5),
            }
        )
    one, two = weights
    apart = max((one[key].double() - two[key].double()).abs().max().item() for key in one if key.endswith("weight"))
    rows[1]["largest_weight_difference"] = float(f"{apart:.2g}")
    return rows


def measure_workers(count: int) -> dict:
    """Four trainings of two epochs by a sweep's local workers, which share the cores."""
    with tempfile.TemporaryDirectory() as temporary:
        plan = Path(temporary) / "seeds.toml"
        plan.write_text('recipe = "quick"\n[values]\n"training.seed" = [0, 1, 2, 3]\n[fixed]\n"training.epochs" = 2\n')
        command = [sys.executable, "-m", "course", "sweep", str(plan), "--device", "cpu"]
        command += ["--workers", str(count), "--out", f"{temporary}/out"]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=home())
        seconds = time.perf_counter() - began
    return {"what": "workers, 4 runs of quick, 2 epochs", "count": count, "seconds_in_all": round(seconds, 1)}


def main() -> None:
    """Measure, and write the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    words.add_argument("--norms", nargs="*", default=["none", "batch"], help="of the networks for the processes")
    words.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    words.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.one:
        print(json.dumps(measure_images(given.one)))
        return
    rows = []
    for count in given.images:
        command = [sys.executable, "-m", "benchmarks.scaling", "--one", str(count)]
        told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=home()).stdout
        rows.append(json.loads(told))
        print(rows[-1], flush=True)
    for norm in given.norms:
        rows += measure_processes(norm)
        print(rows[-2:], flush=True)
    rows += [measure_workers(count) for count in given.workers]
    facts = environment(torch.device("cpu"))
    scale = {key: facts[key] for key in ("device", "processor", "torch", "commit")} | {
        "cores": os.cpu_count(),
        "image_size": SIZE,
        "seed": 0,
    }
    path, table = home() / "records" / "scaling.csv", pd.DataFrame([row | scale for row in rows])
    if path.exists():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(["what", "count"], keep="last")
    write_text(path, table.to_csv(index=False, lineterminator="\n"), replace=True)


if __name__ == "__main__":
    main()
