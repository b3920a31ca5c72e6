"""What was tried to make a training step or a prediction faster: each change against the same without it.

`python -m benchmarks.step_profile --attempts` measures them all; both sides take turns in one run. The changes
themselves stand in `benchmarks.changes`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.changes import (
    NotHere,
    Setting,
    adam,
    bfloat16_weights,
    compiled_norms,
    freed_memory,
    inference_mode,
    onednn_bfloat16,
    optimizer_step,
    own_step,
    plain_cbam,
    relu_apart,
    six_steps,
    split_concatenation,
    threads,
)
from benchmarks.timing import Side, interleaved, ratios, seconds, spread
from benchmarks.ways import labs_optimizer, network
from course.compression import fold_batch_norm
from labkit.models import UNet


@dataclass(frozen=True)
class Attempt:
    """One change: what it is meant against, the two sides, and what became of it."""

    against: str
    changed: Callable[[Setting], Side]
    taken: str
    base: Callable[[Setting], Side] = Setting.training
    label: str = "unet width 32"
    batches: float = 1
    """How many times as many images the changed side takes."""


REDUCED = "no: less to compute, another network"
ATTEMPTS: dict[str, Attempt] = {
    "bfloat16 and channels-last off": Attempt(
        "convolution", lambda s: s.training(precision="float32", memory_format=torch.contiguous_format), "in the loop"
    ),
    "bfloat16 off": Attempt("convolution", lambda s: s.training(precision="float32"), "in the loop"),
    "channels-last off": Attempt(
        "convolution", lambda s: s.training(memory_format=torch.contiguous_format), "in the loop"
    ),
    "bfloat16 inside oneDNN, no autocast": Attempt("copies and casts", onednn_bfloat16, "no"),
    "bfloat16 weights, float32 masters": Attempt("copies and casts", bfloat16_weights, "no"),
    "autocast keeps no casts": Attempt("copies and casts", lambda s: own_step(s, cache=False), "no", own_step),
    "torch.compile": Attempt("batch norm, ReLU, copies", lambda s: s.training(mode="default"), "recipe key compile"),
    "batch norm and ReLU compiled": Attempt(
        "batch norm, ReLU", lambda s: s.training(compiled_norms(network(s.label))), "no"
    ),
    "ReLU keeps its input": Attempt("ReLU", lambda s: s.training(relu_apart(network(s.label))), "in the networks"),
    "no batch norm": Attempt("batch norm", lambda s: s.training(UNet(width=32, norm="none")), REDUCED),
    "two convolutions for a concatenation": Attempt("concatenation", lambda s: s.training(split_concatenation()), "no"),
    "CBAM by mean and amax": Attempt(
        "attention", lambda s: s.training(plain_cbam()), "in the networks", label="resnet34_unet lab"
    ),
    "optimizer: a loop": Attempt(
        "optimizer",
        lambda s: optimizer_step(s, adam(foreach=False)),
        "in the loop",
        lambda s: optimizer_step(s, labs_optimizer),
    ),
    "optimizer: foreach": Attempt(
        "optimizer",
        lambda s: optimizer_step(s, adam(foreach=True)),
        "in the loop",
        lambda s: optimizer_step(s, labs_optimizer),
    ),
    "gradients set to zero": Attempt("optimizer", lambda s: own_step(s, set_to_none=False), "in the loop", own_step),
    "gradient norm left out": Attempt("optimizer", lambda s: s.training(bookkeeping=False), "no: the curves show it"),
    "loss asked for in every step": Attempt("host", lambda s: own_step(s, ask=True), "in the loop", own_step),
    "batch halved": Attempt("batch", lambda s: replace(s, batch=s.batch // 2).training(), "recipe key", batches=0.5),
    "batch doubled": Attempt("batch", lambda s: replace(s, batch=2 * s.batch).training(), "recipe key", batches=2),
    "freed memory kept, six steps": Attempt("page faults", freed_memory, "in the loop", six_steps),
    "one thread": Attempt("threads", threads, "no"),
    "predict: bfloat16 off": Attempt(
        "prediction", lambda s: s.inference(precision="float32"), "in the predictor", Setting.inference
    ),
    "predict: inference_mode": Attempt("prediction", inference_mode, "no", Setting.inference),
    "predict: batch norm folded": Attempt(
        "prediction", lambda s: s.inference(fold_batch_norm(network(s.label))), "fold_batch_norm", Setting.inference
    ),
    "predict: torch.compile": Attempt("prediction", lambda s: s.inference(mode="default"), "no", Setting.inference),
}
"""Change -> how it is measured. `taken: in the loop` with a ratio below 1 says what the loop would lose without it."""


def measure(change: str, size: int, batch: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """The row of one change; `ratio` is how many times as fast an image is with it.

    A change that takes time before it helps, as a compiler does, has `extra_seconds` (its first call, less that of the
    other side) and `break_even_steps`.
    """
    attempt = ATTEMPTS[change]
    setting = Setting(size, batch, device, attempt.label)
    row = {"change": change, "against": attempt.against, "network": attempt.label, "size": size, "batch": batch}
    try:
        base, changed = attempt.base(setting), attempt.changed(setting)
        first = {"base": seconds(base, device), "changed": seconds(changed, device)}
    except (NotHere, RuntimeError) as error:
        return row | dict.fromkeys(("base_ms", "changed_ms", "ratio")) | {"note": f"left out: {error}".splitlines()[0]}
    times = interleaved({"base": base, "changed": changed}, device, rounds)
    torch.compiler.reset()
    medians = {name: spread(values).median for name, values in times.items()}
    found, extra = ratios(times, "changed", "base"), first["changed"] - first["base"]
    gained = medians["base"] - medians["changed"] / attempt.batches
    compiles = "compile" in change
    return row | {
        "base_ms": 1000 * medians["base"],
        "changed_ms": 1000 * medians["changed"],
        "ratio": found.median * attempt.batches,
        "ratio_low": found.low * attempt.batches,
        "ratio_high": found.high * attempt.batches,
        "extra_seconds": extra if compiles else None,
        "break_even_steps": round(extra / gained) if compiles and gained > 0 else None,
        "taken": attempt.taken,
        "note": "",
        "precision": setting.way().precision,
        "rounds": rounds,
    }
