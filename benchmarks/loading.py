"""What loading and augmentation cost: `python -m benchmarks.loading`, rows into records/loading.csv.

Passes: images a second of the reports' way (every image opened, decoded and resized each time, augmented by torchvision
one by one) and of the array file, with and without augmentation, for several numbers of workers. A pass begins its
workers, as an epoch does. Steps: what loading and augmentation add to a training step on the CPU. Epochs: what reading
an image costs among 1,000, 10,000 and 100,000 of them, and how much private memory it takes; the rows of those arrays
are the drawn sample's, again and again, since building them is not what is measured (see benchmarks.scaling).
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.loading_ways import WAYS, batches_of, many_arrays
from benchmarks.scaling import private_mb
from benchmarks.timing import machine
from labkit.data import (
    Augment,
    BatchTransform,
    Pets,
    batch_indices,
    batch_loader,
    get_pets,
    load_arrays,
    open_pets,
)
from labkit.files import home, write_text
from labkit.training import LOSSES, build_network, build_optimizer, load_recipe, resolve, train_step

RECIPE = Path(__file__).resolve().parent.parent / "labkit" / "recipes" / "cpu-128-unet.toml"
ORIGINALS = "oxford-iiit-pet-originals"
PARTS = ("passes", "steps", "epochs")


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    """Measurements of each figure, in turns with those that it is compared with, after one to warm up."""
    seconds: float
    """About what a pass without workers takes."""
    workers: tuple[int, ...]
    batch_size: int
    sizes: tuple[int, ...]
    """Sides in pixels to which images are brought in the passes; only originals are brought to more than the first."""
    array_size: int
    """Side of the arrays in the steps."""
    steps: tuple[tuple[int, int, int], ...]
    """Width of the UNet, batch size, side of the images."""
    counts: tuple[int, ...]
    """Images an epoch."""


FULL = Scale(5, 0.7, (0, 1, 2, 4), 16, (128, 256), 128, ((32, 16, 128), (16, 32, 64)), (1_000, 10_000, 100_000))
QUICK = Scale(2, 0.01, (0, 1), 4, (32,), 48, ((4, 8, 32),), (48, 96))


def seconds_of(batches: Iterable) -> float:
    """How long it takes until all are there."""
    began = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - began


def measure_passes(pets: Pets, size: int, augment: Augment | None, scale: Scale) -> list[dict]:
    """One row for each way and number of workers."""
    cases = [(way, workers) for workers in scale.workers for way in WAYS]
    amounts = {}
    for way, run in WAYS.items():  # as many batches as fill the time without workers, but enough for all workers
        tried = batches_of(pets, 4, scale.batch_size)
        each = [seconds_of(run(pets, size, augment, tried, 0)) / 4 for _ in range(2)][-1]
        amounts[way] = batches_of(pets, max(8, round(scale.seconds / each)), scale.batch_size)
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for round_ in range(scale.rounds + 1):  # in turns, so that what disturbs one round disturbs both ways alike
        for way, workers in cases:
            taken = seconds_of(WAYS[way](pets, size, augment, amounts[way], workers))
            if round_ > 0:
                seconds[way, workers].append(taken)
    images = {way: len(amounts[way]) * scale.batch_size for way in WAYS}
    rates = {case: images[case[0]] / statistics.median(taken) for case, taken in seconds.items()}
    return [
        {
            "what": "pass",
            "way": way,
            "source": pets.label,
            "size": size,
            "augmented": augment is not None,
            "workers": workers,
            "images": images[way],
            "batch_size": scale.batch_size,
            "images_per_second": round(rates[way, workers], 1),
            "ratio_to_reports": round(rates[way, workers] / rates["reports", workers], 2),
        }
        for way, workers in cases
    ]


def measure_step(pets: Pets, width: int, batch_size: int, size: int, scale: Scale) -> dict:
    """What loading and augmentation take of a UNet's training step on the CPU, batch by batch in one run."""
    recipe = load_recipe(RECIPE).changed(
        data={"image_size": scale.array_size}, model={"width": width}, training={"sizes": (), "batch_size": batch_size}
    )
    recipe = resolve(recipe, pets, "cpu")
    model = build_network(recipe).to(memory_format=torch.channels_last).train()
    optimizer, loss = build_optimizer(model, recipe.training), LOSSES[recipe.training.loss]
    prepare = BatchTransform(pets, "foreground", recipe.data.mean, recipe.data.std)
    warm, rounds, times = 3, 2 * scale.rounds + 1, []
    loader = batch_loader(load_arrays(pets, scale.array_size), batches_of(pets, warm + rounds, batch_size))
    seconds_of(loader)  # a second epoch finds the file's pages in memory
    loaded = iter(loader)
    for step in range(warm + rounds):
        ticks = [time.perf_counter()]
        batch = next(loaded)
        ticks.append(time.perf_counter())
        images, masks = prepare(batch, recipe.data.augment, seed=0, epoch=step, size=size)
        images = images.contiguous(memory_format=torch.channels_last)
        ticks.append(time.perf_counter())
        train_step(model, images, masks, loss, recipe.training.precision)
        optimizer.step()
        optimizer.zero_grad()
        times.append(np.diff([*ticks, time.perf_counter()]))
    load, augment, train = (1000 * np.median(times[warm:], axis=0)).tolist()
    return {
        "what": "step",
        "way": "arrays",
        "source": pets.label,
        "size": size,
        "array_size": scale.array_size,
        "augmented": True,
        "workers": 0,
        "batch_size": batch_size,
        "network": f"unet-{width}",
        "precision": recipe.training.precision,
        "load_ms": round(load, 3),
        "augment_ms": round(augment, 2),
        "step_ms": round(train, 1),
        "share_of_step": round((load + augment) / train, 4),
    }


def measure_epochs(pets: Pets, scale: Scale) -> list[dict]:
    """One row for each number of images: what it takes to read an image, and to have read them all."""

    def read(count: int, epoch: int) -> int:
        batches = batch_indices(np.arange(count), 32, seed=0, epoch=epoch)
        return sum(len(batch.images) for batch in batch_loader(arrays[count], batches))

    with tempfile.TemporaryDirectory(dir=home() / "dataset") as folder:
        arrays = {count: many_arrays(pets, Path(folder), count) for count in scale.counts}
        read(scale.counts[0], 0)
        grown, seconds = {}, {count: [] for count in scale.counts}
        for count in scale.counts:
            before = private_mb()
            read(count, 0)
            grown[count] = private_mb() - before
        for epoch in range(1, scale.rounds + 1):
            for count in scale.counts:
                repeats = max(1, scale.counts[-1] // 10 // count)  # an epoch of few images is over too soon
                began = time.perf_counter()
                seen = sum(read(count, epoch) for _ in range(repeats))
                seconds[count].append((time.perf_counter() - began) / seen)
    each = {count: 1e6 * statistics.median(taken) for count, taken in seconds.items()}
    return [
        {
            "what": "epoch",
            "way": "arrays",
            "source": f"{pets.label}, repeated",
            "size": 64,
            "augmented": False,
            "workers": 0,
            "images": count,
            "batch_size": 32,
            "images_per_second": round(1e6 / each[count]),
            "microseconds_per_image": round(each[count], 2),
            "ratio_to_fewest": round(each[count] / each[scale.counts[0]], 3),
            "private_memory_grown_mb": round(grown[count], 1),
        }
        for count in scale.counts
    ]


def found_sources() -> list[Pets]:
    """The real originals and the real data at 128 pixels, where they are; else the drawn sample."""
    originals = home() / "dataset" / "cache" / "real" / ORIGINALS
    archive = Path(os.environ.get("LABKIT_REAL_DATA", "")) / f"{ORIGINALS}.tar"
    if not originals.is_dir() and archive.is_file():
        get_pets(originals, archive)
    folders = [folder for folder in (originals, "pets") if (home() / "dataset" / folder).is_dir()]
    return [open_pets(folder) for folder in folders or ["sample"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and replace the measured parts in the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", nargs="+", help="sample, pets or folders instead of the real data that are found")
    words.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    words.add_argument("--quick", action="store_true", help="seconds instead of minutes: tells that it runs, no more")
    words.add_argument("--out", type=Path, default=home() / "records", help="folder of loading.csv")
    given = words.parse_args(arguments)
    if given.quick and given.out == words.get_default("out"):
        words.error("--quick measures nothing that a record should hold; name another folder with --out")
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: that is measured
    scale, augment = QUICK if given.quick else FULL, load_recipe(RECIPE).data.augment
    sources = [open_pets(data) for data in given.data] if given.data else found_sources()
    rows = []
    for pets in sources if "passes" in given.parts else ():
        for size in scale.sizes if pets.label == ORIGINALS else scale.sizes[:1]:
            for change in (None, augment):
                rows += measure_passes(pets, size, change, scale)
                print(pd.DataFrame(rows[-2 * len(scale.workers) :]).to_string(), flush=True)
    for width, batch_size, size in scale.steps if "steps" in given.parts else ():
        rows.append(measure_step(sources[-1], width, batch_size, size, scale))
        print(rows[-1], flush=True)
    if "epochs" in given.parts:
        rows += measure_epochs(open_pets("sample") if given.data is None else sources[0], scale)
        print(pd.DataFrame(rows[-len(scale.counts) :]).to_string(), flush=True)
    made = machine(torch.device("cpu")) | {"cores": os.cpu_count(), "rounds": scale.rounds, "seed": 0}
    path, table = given.out / "loading.csv", pd.DataFrame([row | made for row in rows])
    if path.exists():
        old = pd.read_csv(path)
        table = pd.concat([old[~old["what"].isin(table["what"])], table], ignore_index=True)
    write_text(path, table.to_csv(index=False, lineterminator="\n"), replace=True)


if __name__ == "__main__":
    main()
