"""How the benchmarks take times: both sides in turns in one run, warmed up, as medians with their quartiles."""

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from labkit.training import environment

Side = Callable[[], object]
"""One side of a comparison: a call does the work once."""
ROUNDS = 5


@dataclass(frozen=True)
class Spread:
    """A median with its lower and upper quartile."""

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    """Median and quartiles; of a single value, that value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)


def interleaved(
    sides: Mapping[str, Side], device: torch.device, rounds: int = ROUNDS, least: float = 0.05
) -> dict[str, list[float]]:
    """Seconds of a call of each side, one number a round.

    In every round each side has its turn, so that what disturbs the machine for a while disturbs all of them alike.
    A quick side is called so often in its turn that the turn takes about `least` seconds; their mean counts.
    """
    calls = {name: max(1, math.ceil(least / _warm_up(side, device))) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(seconds(side, device, calls[name]))
    return times


def _warm_up(side: Side, device: torch.device) -> float:
    """Call a side until it has settled: once if that takes long on a CPU, else three times; seconds of the quickest."""
    first = seconds(side, device)
    if device.type == "cpu" and first > 0.5:
        return first
    return min(seconds(side, device) for _ in range(3))


def seconds(side: Side, device: torch.device, calls: int = 1) -> float:
    """Seconds of a call, all work on the device included: the mean of so many."""
    wait(device)
    began = time.perf_counter()
    for _ in range(calls):
        side()
    wait(device)
    return (time.perf_counter() - began) / calls


def wait(device: torch.device) -> None:
    """Let a GPU finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratios(times: Mapping[str, list[float]], of: str, to: str) -> Spread:
    """How many times as fast `of` is as `to`, round by round."""
    return spread([slow / fast for slow, fast in zip(times[to], times[of], strict=True)])


def allocated(device: torch.device) -> int:
    """Bytes of a GPU that are in use; 0 elsewhere."""
    wait(device)
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def peak_memory(side: Side, device: torch.device, before: int = 0) -> float | None:
    """MiB that a call takes at its peak on a GPU, over what was in use `before` the side was built; None elsewhere.

    It counts once the side has settled: the first call has no optimizer's state yet, CUDA graphs are recorded later.
    """
    if device.type != "cuda":
        return None
    for _ in range(3):
        side()
    wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    side()
    wait(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


@contextmanager
def empty_compiler_cache() -> Iterator[None]:
    """Compilers begin from nothing, so that what they take is what the first run on a machine takes."""
    with tempfile.TemporaryDirectory(prefix="labkit-compiler-") as folder:
        before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("TORCHINDUCTOR_CACHE_DIR")
            if before is not None:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


def peak_products(
    device: torch.device, precisions: set[str], side: int | None = None
) -> tuple[dict[str, Side], dict[str, float]]:
    """What tells how fast this machine multiplies, for each precision: two sides, and the multiply-adds of each kind.

    `matrix` is the product of two square matrices, `convolution` a 3x3 convolution of many channels. The larger rate is
    the peak: PyTorch hands the two to different libraries, and on some CPUs the float32 product is by far the slower.
    On NVIDIA cards float32 convolutions use TF32 by PyTorch's default, so the float32 product does too.
    """
    side = side or (8192 if device.type == "cuda" else 2048)
    batch, channels, pixels = (64, 512, 64) if device.type == "cuda" else (4, 256, 32)
    sides: dict[str, Side] = {}
    for precision in sorted(precisions):
        dtype = getattr(torch, precision)
        matrix = torch.rand(side, side, device=device, dtype=dtype)
        images = torch.rand(batch, channels, pixels, pixels, device=device, dtype=dtype)
        kernel = torch.rand(channels, channels, 3, 3, device=device, dtype=dtype)
        sides[f"matrix {precision}"] = partial(_matrix_product, matrix, device)
        last = {"memory_format": torch.channels_last}
        sides[f"convolution {precision}"] = partial(
            F.conv2d, images.contiguous(**last), kernel.contiguous(**last), padding=1
        )
    return sides, {"matrix": float(side) ** 3, "convolution": 9.0 * batch * pixels**2 * channels**2}


def _matrix_product(matrix: torch.Tensor, device: torch.device) -> torch.Tensor:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else before)
    try:
        return matrix @ matrix
    finally:
        torch.set_float32_matmul_precision(before)


def device_in_words(facts: Mapping[str, Any]) -> str:
    """What stands in the column `device`, of `environment`'s facts: the device and the name of the chip."""
    chip = facts["device_name"] if facts["device"].startswith("cuda") else facts["processor"] or facts["device_name"]
    return f"{facts['device']} ({chip})"


def machine(device: torch.device) -> dict[str, str | int | None]:
    """What every row of a record says of where and when it was measured."""
    facts = environment(device)
    return {
        "device": device_in_words(facts),
        "threads": facts["threads"],
        "torch": facts["torch"],
        "commit": facts["commit"],
        "date": date.today().isoformat(),
    }
