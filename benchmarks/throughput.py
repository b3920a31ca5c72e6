"""How fast the networks train and predict: `python -m benchmarks.throughput`, rows into records/throughput.csv.

A training step and a pass without gradients of each network, at 128 and 256 pixels, in several ways that take turns in
one run: `reports` (float32, contiguous, plain Adam), `labkit` (what the lab's loop does: bfloat16 autocast where the
hardware has it, channels-last, its optimizer and the gradient's norm), with --compile also through torch.compile, with
--graphs also with CUDA graphs. Beside them in the same turns: segmentation_models_pytorch's Unet on a ResNet34 without
weights, in the lab's way, and a product of two matrices and a large convolution, of which the faster tells the peak.
The images are made up and lie on the device already; what loading and augmenting cost says
`python -m benchmarks.step_profile`.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import torch

from benchmarks.timing import (
    Side,
    allocated,
    empty_compiler_cache,
    interleaved,
    machine,
    peak_memory,
    peak_products,
    ratios,
    seconds,
    spread,
)
from benchmarks.ways import NETWORKS, SMP, Way, has_smp, inference, network, training, ways
from course.variants import VARIANTS
from labkit.analysis import network_costs
from labkit.files import home, write_text
from labkit.training import choose_device

PIXELS = {"cpu": 16 * 128 * 128, "cuda": 64 * 128 * 128}
"""Of a batch: 16 images at 128, 4 at 256, on a GPU four times as many; half of it for the widest networks."""
WIDE = 8e9
"""Multiply-adds of an image at 128 pixels from which a network counts as wide."""
TASKS = {"train": training, "infer": inference}
KEY = ["network", "task", "size", "batch", "way", "device", "threads"]


def measure(
    label: str, task: str, size: int, batch: int, chosen: dict[str, Way], device: torch.device, rounds: int
) -> list[dict]:
    """The rows of one network, task and size: one a way."""
    model, costs = network(label), {label: network_costs(network(label), size).multiply_adds}
    sides, memory, built = {}, {}, {}
    for name, way in chosen.items():
        try:
            took, (sides[name], memory[name]) = first_call(model, task, way, batch, size, device)
        except RuntimeError as error:
            if way.mode is None:
                raise
            print(f"{label}, {task}, {size}: {name} is left out: {str(error).strip().splitlines()[0]}", flush=True)
            continue
        built[name] = took if way.mode else None
    if label != SMP and has_smp():
        costs[SMP] = network_costs(network(SMP), size).multiply_adds
        sides[SMP] = TASKS[task](network(SMP), chosen["labkit"], batch, size, device)
    products, product_costs = peak_products(device, {way.precision for way in chosen.values()})
    times = interleaved(sides | products, device, rounds)
    passes = 3 if task == "train" else 1  # the gradients of weights and of inputs cost as much as the forward pass each
    rows = []
    for name, way in chosen.items():
        if name not in sides:
            continue
        took, against = spread(times[name]), ratios(times, name, "reports")
        rates = {kind: cost / spread(times[f"{kind} {way.precision}"]).median for kind, cost in product_costs.items()}
        peak = max(rates.values())
        reached = passes * costs[label] * batch / took.median
        beside = ratios(times, name, SMP) if SMP in sides else None
        rows.append(
            {"network": label, "task": task, "size": size, "batch": batch, "way": name}
            | {"ms": 1000 * took.median, "ms_low": 1000 * took.low, "ms_high": 1000 * took.high}
            | {"images_per_second": batch / took.median, "multiply_adds": costs[label]}
            | {"matrix_tflops": 2 * rates["matrix"] / 1e12, "convolution_tflops": 2 * rates["convolution"] / 1e12}
            | {"share_of_matrix": reached / rates["matrix"]}
            | {"peak_tflops": 2 * peak / 1e12, "share_of_peak": reached / peak}
            | {"ratio_reports": against.median, "ratio_reports_low": against.low, "ratio_reports_high": against.high}
            | {
                "ratio_smp": beside.median if beside else None,
                "ratio_smp_per_multiply_add": beside.median * costs[label] / costs[SMP] if beside else None,
                "peak_memory_mib": memory[name],
                "first_call_seconds": built[name],
                "rounds": rounds,
                "precision": way.precision,
            }
        )
    return rows


def first_call(
    model: torch.nn.Module, task: str, way: Way, batch: int, size: int, device: torch.device
) -> tuple[float, tuple[Side, float | None]]:
    """Seconds until a side has been built and called once, the side, and the peak memory of later calls in MiB."""
    kept, before = [], allocated(device)

    def build_and_call() -> None:
        kept.append(TASKS[task](model, way, batch, size, device))
        kept[0]()

    took = seconds(build_and_call, device)
    return took, (kept[0], peak_memory(kept[0], device, before))


def batch_size(label: str, size: int, device: torch.device) -> int:
    """Images of a batch."""
    wide = network_costs(network(label), 128).multiply_adds > WIDE
    return max(2, PIXELS.get(device.type, PIXELS["cpu"]) // (size * size) // (2 if wide else 1))


def rounded(rows: list[dict]) -> pd.DataFrame:
    """Four significant digits are more than the clock gives."""
    return pd.DataFrame([{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows])


def keep(rows: pd.DataFrame, table: Path, key: list[str]) -> None:
    """Replace the rows of the same key in a table."""
    if table.exists():
        old = pd.read_csv(table)
        fresh = set(map(tuple, rows[key].astype(str).to_numpy()))
        rows = pd.concat([old[[tuple(r) not in fresh for r in old[key].astype(str).to_numpy()]], rows])
    write_text(table, rows.to_csv(index=False, lineterminator="\n"), replace=True)


def main() -> None:
    """Measure, print, and replace the rows in the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*(NETWORKS | VARIANTS), SMP]
    words.add_argument("--only", nargs="+", choices=known, metavar="NETWORK", help=f"of {', '.join(known)}")
    words.add_argument("--sizes", nargs="+", type=int, default=[128, 256])
    words.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    words.add_argument("--batch", type=int, help="images of a batch (default: see PIXELS)")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--compile", action="store_true", help="also compiled: half a minute and more a network")
    words.add_argument("--graphs", action="store_true", help="also compiled with CUDA graphs")
    words.add_argument("--warm-cache", action="store_true", help="take what compilers have compiled in earlier runs")
    words.add_argument("--device", default="auto")
    words.add_argument("--out", type=Path, default=home() / "records" / "throughput.csv")
    given = words.parse_args()
    device = choose_device(given.device)
    if given.graphs and device.type != "cuda":
        words.error(f"--graphs: CUDA graphs need a CUDA device, found {device}; leave it out")
    labels = given.only or [*NETWORKS, *([SMP] if has_smp() else [])]
    if not has_smp():
        print("segmentation_models_pytorch is not installed (extra `bench`): the comparison with it is left out")
    facts = machine(device)
    with nullcontext() if given.warm_cache else empty_compiler_cache():
        measure_all(given, labels, facts, device)


def measure_all(given: argparse.Namespace, labels: list[str], facts: dict, device: torch.device) -> None:
    """All that was asked for, each network's rows kept and shown as soon as they are there."""
    for size in given.sizes:
        for label in labels:
            for task in given.tasks:
                batch = given.batch or batch_size(label, size, device)
                chosen = ways(device, given.compile, given.graphs)
                rows = rounded([row | facts for row in measure(label, task, size, batch, chosen, device, given.rounds)])
                if given.warm_cache:
                    rows["first_call_seconds"] = None  # it is not what compiling takes
                keep(rows, given.out, KEY)
                shown = [
                    "network",
                    "task",
                    "size",
                    "batch",
                    "way",
                    "images_per_second",
                    "share_of_peak",
                    "share_of_matrix",
                ]
                shown += ["ratio_reports", "ratio_smp", "ratio_smp_per_multiply_add"]
                print(rows[shown].to_string(index=False, header=True), flush=True)
                torch.compiler.reset()  # else the limit of compiled shapes of one network's code would be reached


if __name__ == "__main__":
    main()
