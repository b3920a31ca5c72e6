"""What a training step spends its time on: `python -m benchmarks.step_profile`, rows into records/profile.csv.

One whole step as the lab's loop makes it, from the array file to the moving average, and the validation's metrics on
its logits, is watched by torch.profiler; every operation's own time goes to one part. A part's backward pass counts for
the part. `--attempts` measures instead what was tried to make the step faster, each change against the step without
it, rows into records/attempts.csv (see `benchmarks.attempts`).
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import attempts
from benchmarks.throughput import batch_size, keep, rounded
from benchmarks.timing import empty_compiler_cache, interleaved, machine, seconds, spread
from benchmarks.ways import NETWORKS
from course.variants import VARIANTS
from labkit.data import BatchTransform, Pets, batch_indices, batch_loader, load_arrays, open_pets
from labkit.files import home
from labkit.metrics import dice_score, iou_score, overlap_counts, per_image, predicted_mask
from labkit.models import CBAM, AttentionGate
from labkit.training import (
    LOSSES,
    MovingAverage,
    build_network,
    build_optimizer,
    build_schedule,
    choose_device,
    load_recipe,
    resolve,
    train_step,
)
from labkit.training.loop import gradient_norm

CASES = (("unet width 16", 64), ("unet width 32", 128), ("resnet34_unet lab", 128), ("patch_unet", 128))
LABEL = "part: "
BACKWARD = "autograd::engine::evaluate_function"
OPERATIONS = (
    ("convolution", ("conv",)),
    ("batch norm", ("batch_norm",)),
    ("ReLU", ("relu", "threshold_backward", "clamp_min")),
    ("pooling", ("pool",)),
    ("concatenation", ("aten::cat",)),
    ("upsampling", ("upsample",)),
    ("copies and casts", ("copy_", "_to_copy", "clone", "contiguous")),
)
"""A part -> what is found in the names of its operations, wherever no label says more."""


class WholeStep:
    """A call makes one training step with the next batch, its parts labeled for the profiler."""

    def __init__(self, label: str, size: int, batch: int, pets: Pets, device: torch.device):
        recipe = load_recipe("cpu-128-unet").changed(
            data={"image_size": size},
            model=VARIANTS.get(label, NETWORKS.get(label)),
            training={"batch_size": batch, "sizes": ()},
        )
        self.recipe = resolve(recipe, pets, str(device))
        self.table = self.recipe.training
        torch.manual_seed(self.table.seed)
        self.model = build_network(self.recipe).to(device, memory_format=torch.channels_last).train()
        self.optimizer = build_optimizer(self.model, self.table)
        self.schedule = build_schedule(self.optimizer, self.table, steps=10_000)
        self.average = MovingAverage(self.model, self.table.ema)
        self.prepare = BatchTransform(
            pets, self.recipe.data.target, self.recipe.data.mean, self.recipe.data.std, device
        )
        indices = pets.split("train")
        self.arrays = load_arrays(pets, size)
        self.batch = (indices.repeat(-(-batch // len(indices))))[:batch]
        self.logits: list[Tensor] = []
        self.model.register_forward_hook(lambda _, x, y: self.logits.append(y.detach()))
        label_modules(self.model, "attention", (CBAM, AttentionGate))

    def __call__(self) -> None:
        self.logits.clear()
        with record_function(LABEL + "loading"):
            (batch,) = batch_loader(self.arrays, batch_indices(self.batch, len(self.batch)))
        with record_function(LABEL + "augmentation"):
            images, masks = self.prepare(batch, self.recipe.data.augment, self.table.seed, 1)
            images = images.contiguous(memory_format=torch.channels_last)
        train_step(self.model, images, masks, self.loss, self.table.precision)
        with record_function(LABEL + "optimizer"):
            gradient_norm(self.model)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
        with record_function(LABEL + "moving average"):
            self.average.update_parameters(self.model)
        with record_function(LABEL + "metrics (validation only)"):
            counts = overlap_counts(predicted_mask(self.logits[0].float()), masks)
            torch.stack([per_image(dice_score, counts).sum(), per_image(iou_score, counts).sum()])

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        with record_function(LABEL + "loss"):
            return LOSSES[self.table.loss](logits, masks)


def label_modules(model: nn.Module, part: str, kinds: tuple[type[nn.Module], ...]) -> None:
    """Label all that the modules of these kinds do in the forward pass."""
    for module in model.modules():
        if isinstance(module, kinds):
            opened: list[record_function] = []

            def enter(*_, opened=opened) -> None:
                opened.append(record_function(LABEL + part))
                opened[-1].__enter__()

            def leave(*_, opened=opened) -> None:
                opened.pop().__exit__(None, None, None)

            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)


def part_times(events: Iterable[Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of each part, from the profiler's events: every operation's own time, once.

    An operation belongs to the label around it, in the backward pass to the label around the operation whose gradient
    it computes (both bear the same number), and else to what its name says (`OPERATIONS`).
    """
    events = [event for event in events if event.device_type == torch.autograd.DeviceType.CPU]
    labeled: dict[int, str | None] = {}
    for event in sorted(events, key=lambda event: event.time_range.start):
        if event.sequence_nr >= 0 and not any(e.name.startswith(BACKWARD) for e in above(event)):
            labeled[event.sequence_nr] = label_of(event)  # the last to bear a number is the one that has a gradient
    times: dict[str, float] = defaultdict(float)
    for event in events:
        own = event.self_cpu_time_total if device.type == "cpu" else event.self_device_time_total
        behind = [labeled.get(e.sequence_nr) for e in above(event) if e.name.startswith(BACKWARD)]
        part = label_of(event) or next(filter(None, behind), None) or part_of_name(event)
        times[part] += own / 1000
    return dict(times)


def above(event: Any) -> Iterable[Any]:
    """The event and those around it, from the inside out."""
    while event is not None:
        yield event
        event = event.cpu_parent


def label_of(event: Any) -> str | None:
    """The innermost label around an event."""
    names = (e.name for e in above(event) if e.name.startswith(LABEL))
    return next((name.removeprefix(LABEL) for name in names), None)


def part_of_name(event: Any) -> str:
    """The part of an operation without a label: by its own name, else by those around it."""
    for outer in above(event):
        for part, words in OPERATIONS:
            if any(word in outer.name.lower() for word in words):
                return part
    return "other"


def profiled(step: WholeStep, device: torch.device, steps: int = 3) -> tuple[dict[str, float], float]:
    """Milliseconds of each part in a step, and of the whole step, under the profiler."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    step()
    with profile(activities=activities) as watched:
        whole = 1000 * seconds(step, device, calls=steps)
    times = {part: ms / steps for part, ms in part_times(watched.events(), device).items()}
    return times | {"between operations": max(0.0, whole - sum(times.values()))}, whole


def measure(label: str, size: int, batch: int, pets: Pets, device: torch.device, rounds: int) -> list[dict[str, Any]]:
    """The rows of one network: one a part, the largest first."""
    step = WholeStep(label, size, batch, pets, device)
    undisturbed = 1000 * spread(interleaved({"step": step}, device, rounds)["step"]).median
    times, whole = profiled(step, device)
    return [
        {"network": label, "size": size, "batch": batch, "part": part, "ms": ms, "percent": 100 * ms / whole}
        | {"step_ms_profiled": whole, "step_ms": undisturbed, "precision": step.table.precision, "data": pets.label}
        for part, ms in sorted(times.items(), key=lambda item: -item[1])
    ]


def main() -> None:
    """Profile (or try), print, and replace the rows in the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--attempts", nargs="*", metavar="CHANGE", help="measure what was tried; without names all")
    words.add_argument("--only", nargs="+", choices=[*(NETWORKS | VARIANTS)], metavar="NETWORK")
    words.add_argument("--size", type=int, help="in pixels; by default 128; without --only the cases' own")
    words.add_argument("--batch", type=int)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--data", default="sample", help="data set for the loader: sample, pets, or a folder")
    words.add_argument("--device", default="auto")
    words.add_argument("--out", type=Path, default=home() / "records", help="folder of profile.csv and attempts.csv")
    given = words.parse_args()
    device = choose_device(given.device)
    facts = machine(device)
    if given.attempts is not None:
        unknown = [name for name in given.attempts if name not in attempts.ATTEMPTS]
        if unknown:
            words.error(f"--attempts: no change {unknown[0]!r}; there are {', '.join(attempts.ATTEMPTS)}")
        with empty_compiler_cache():
            for name in given.attempts or attempts.ATTEMPTS:
                row = attempts.measure(name, given.size or 128, given.batch or 8, device, given.rounds)
                rows = rounded([row | facts])
                keep(rows, given.out / "attempts.csv", ["change", "network", "size", "batch", "device", "threads"])
                print(rows[["change", "base_ms", "changed_ms", "ratio", "note"]].to_string(index=False), flush=True)
        return
    pets = open_pets(given.data)
    for label, size in [(label, given.size or 128) for label in given.only or []] or CASES:
        size = given.size or size
        batch = given.batch or batch_size(label, size, device)
        rows = rounded([row | facts for row in measure(label, size, batch, pets, device, given.rounds)])
        keep(rows, given.out / "profile.csv", ["network", "size", "batch", "device", "threads"])
        print(rows[["network", "size", "part", "ms", "percent"]].to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
