"""The runs of a report and their evaluations, grouped and compared."""

import json
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from course.compare import image_difference, mean_interval
from course.run_facts import network_name
from labkit.errors import LabError
from labkit.training import Run

NOT_A_CHOICE = {
    "data": ("mean", "std", "fingerprint", "split_fingerprint"),
    "training": ("seed", "device", "precision"),
}
"""Keys of a recipe in which runs of one arm may differ."""


NEEDED = {"data", "fingerprint", "split", "threshold", "input_size", "scored_at", "dice_pooled", "iou_per_image"}


class Evaluation(NamedTuple):
    """One of a run's evaluations, as `labkit evaluate` kept it."""

    summary: dict[str, Any]
    images: pd.DataFrame

    @property
    def key(self) -> tuple:
        """The same for evaluations whose scores may be held against each other."""
        size = self.summary["input_size"] if self.summary["scored_at"] == "input" else 0
        parts = (self.summary[name] for name in ("data", "fingerprint", "split", "scored_at", "threshold"))
        return (*parts, size)

    @property
    def told(self) -> str:
        """What was scored, in words."""
        size = self.summary["input_size"]
        where = f"{size}x{size}" if self.summary["scored_at"] == "input" else "the original size"
        threshold = self.summary["threshold"]
        more = "" if threshold == 0.5 else f", threshold {threshold:g}"
        return f"all {len(self.images):,} images of {self.summary['data']}/{self.summary['split']} at {where}{more}"


@dataclass(frozen=True)
class Scored:
    """A run with its evaluations; `chosen` is the one that the report's figures and comparison show."""

    run: Run
    label: str
    evaluations: list[Evaluation]
    chosen: Evaluation | None


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seed alone."""

    label: str
    runs: list[Scored] = field(default_factory=list)

    def dice(self, names: list[str]) -> np.ndarray:
        """`[runs, images]`."""
        return np.stack([one.chosen.images.set_index("name").loc[names, "dice"] for one in self.runs if one.chosen])


def read_evaluations(run: Run) -> list[Evaluation]:
    """All that lies in a run's `evaluations/`; empty where nothing was evaluated."""
    found = []
    for path in sorted(run.path.glob("evaluations/*/summary.json")) if run.is_folder else ():
        try:
            summary, images = json.loads(path.read_text(encoding="utf-8")), pd.read_csv(path.with_name("images.csv"))
            complete = summary.keys() >= NEEDED and {"name", "dice", "species", "foreground"} <= set(images)
        except (OSError, ValueError, AttributeError):
            complete = False
        if not complete:
            raise LabError(f"{path.parent}: the evaluation is damaged; make it again with `labkit evaluate`")
        found.append(Evaluation(summary, images))
    return found


def scored(runs: list[Run]) -> list[Scored]:
    """The runs, each with the evaluation that most of them share; of several such, test images, at the original size.

    A run without that one has its own best by the same order.
    """
    read = [read_evaluations(run) for run in runs]
    keys = [[evaluation.key for evaluation in evaluations] for evaluations in read]
    names = [run.name for run in runs]
    labels = [run.name if names.count(run.name) == 1 else "/".join(run.path.resolve().parts[-2:]) for run in runs]

    def order(evaluation: Evaluation) -> tuple:
        shared = sum(evaluation.key in others for others in keys)
        part = evaluation.summary["split"].rpartition("/")[2]
        return part.startswith("test"), shared, evaluation.summary["scored_at"] == "original", len(evaluation.images)

    return [
        Scored(run, label, evaluations, max(evaluations, key=order, default=None))
        for run, label, evaluations in zip(runs, labels, read, strict=True)
    ]


def arms(runs: list[Scored]) -> list[Arm]:
    """The runs grouped by everything but their seed; a group is called by its network where that tells it apart."""
    groups: dict[str, list[Scored]] = {}
    for one in runs:
        groups.setdefault(json.dumps(choices(one.run), sort_keys=True), []).append(one)
    networks = [network_name(group[0].run) for group in groups.values()]
    return [
        Arm(network if networks.count(network) == 1 else f"{network} ({group[0].label})", group)
        for network, group in zip(networks, groups.values(), strict=True)
    ]


def choices(run: Run) -> dict[str, Any]:
    """The keys of a run's recipe that somebody chose, `table.key` -> value."""
    dump = run.recipe.model_dump(mode="json", exclude_none=True)
    return {
        f"{table}.{key}": value
        for table, values in dump.items()
        for key, value in values.items()
        if key not in NOT_A_CHOICE.get(table, ())
    }


def comparison(groups: list[Arm]) -> tuple[pd.DataFrame, list[str]]:
    """Dice of each pair of arms on the same images, with the difference's interval, and what is to be said of it.

    With two runs of one arm the interval is over images and seeds (`compare.image_difference`), else over images
    alone. Several pairs have wider intervals, so that all of them hold together with 95 %.
    """
    rows, told = [], []
    evaluated = [arm for arm in groups if any(one.chosen for one in arm.runs)]
    pairs = list(combinations(evaluated, 2))
    level = 1 - 0.05 / max(1, len(pairs))
    for first, second in pairs:
        keys = {one.chosen.key for arm in (first, second) for one in arm.runs if one.chosen}
        if len(keys) > 1:
            told.append(
                f"{first.label} and {second.label} were not scored alike (other images, size or threshold), so they "
                "are not compared: evaluate both with the same `--split`, `--scored-at` and `--threshold`."
            )
            continue
        names = sorted(next(one for one in first.runs if one.chosen).chosen.images["name"])
        one, other = first.dice(names), second.dice(names)
        if max(len(one), len(other)) > 1:
            found = image_difference(one, other)
            effect, (low, high), over = found.effect, found.interval(level), "images and seeds"
        else:
            effect, low, high = mean_interval(one[0] - other[0], level)
            over = "images"
        rows.append(
            {
                "comparison": f"{first.label} minus {second.label}",
                "runs": f"{len(one)} and {len(other)}",
                "difference of Dice": f"{effect:+.4f}",
                f"{level:.1%} interval".replace(".0%", "%"): f"[{low:+.4f}, {high:+.4f}]",
                "over": over,
                "better": (first.label if low > 0 else second.label) if low * high > 0 else "not decided",
            }
        )
    if any(row["over"] == "images" for row in rows):
        told.append(
            "An interval over images alone is about these very runs. Another seed gives another network: three runs of "
            "each, which differ in `--seed` alone, are needed before one network can be called better than another."
        )
    return pd.DataFrame(rows), told
