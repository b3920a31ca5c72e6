"""What the records say of each claim: supported, refuted, undecided, or not yet run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from course.compare import (
    Difference,
    Variance,
    holm_levels,
    image_difference,
    one_spread,
    pooled_variance,
    run_difference,
)
from course.experiments.claim_jobs import STEPS_OF_DICE
from course.experiments.claims import Claim, Comparison, arm_runs, load_scale
from course.experiments.measures import measured
from labkit.errors import LabError

COLUMNS = ("id", "verdict", "measure", "first", "second", "than", "effect", "low", "high", "level", "found")
COLUMNS += ("first_mean", "second_mean", "from_images", "from_seeds", "counts", "runs", "scale")
"""Of `records/verdicts.csv`, a row a comparison. `found`: `as said`, `opposite`, `open`; `from_*`: standard errors."""


class ClaimRecords:
    """The recorded runs of a scale: their rows, their epochs, and the Dice of every test image.

    Raises:
        LabError: the folder has no such records, or they are damaged.
    """

    def __init__(self, folder: Path, scale: str):
        self.scale = scale
        try:
            table = pd.read_csv(folder / "claims.csv")
            self.rows = table[table["scale"] == scale].set_index("run", drop=False)
            self.epochs = dict(iter(pd.read_csv(folder / "claims-epochs.csv").groupby("run", sort=False)))
            with np.load(folder / "claims-dice.npz") as arrays:
                scored = self.rows.index[self.rows["dice_per_image"].notna()]  # the others were timed alone
                self.dice = {run: arrays[run] / STEPS_OF_DICE for run in scored}
                self.foreground = arrays.get(f"{scale}.foreground")
        except (OSError, ValueError, KeyError) as error:
            raise LabError(
                f"{folder}: no whole records of claims ({error}); `course claims record` makes them"
            ) from None
        self.images = len(next(iter(self.dice.values()), ()))
        self.base = load_scale(scale)[1]
        self.valid_dice = self.rows["valid_dice"].to_dict()

    def runs(self, claim: Claim, arm: str) -> list[str] | None:
        """The runs of an arm, None as long as one of them is missing."""
        judged, _ = arm_runs(claim, arm, self.scale, self.base, self.valid_dice)
        names = [planned.run for planned in judged]
        return names if names and all(name in self.rows.index for name in names) else None

    def values(self, measure: str, runs: Iterable[str], level: float | None = None) -> np.ndarray:
        """A measure of each run."""
        return np.array([measured(measure, self.rows.loc[run], self.epochs.get(run), level) for run in runs])

    def arms(self, measure: str, level: float | None = None, like: str | None = None) -> list[np.ndarray]:
        """A measure of the runs of each arm of the scale that has several, which differ in their seed alone.

        Arms of another target than that of run `like` (of the scale's recipe if None) are left out: its Dice is
        another measure. Speed and memory are those of the runs which had the machine to themselves.
        """
        timed = self.rows["dice_per_image"].isna()
        rows = self.rows[timed if measure in ("images_per_second", "saved_megabytes") else ~timed]
        several = rows[rows.groupby("changes")["run"].transform("count") > 1]
        target = self.base.data.target if like is None else self.target(self.rows.loc[like, "changes"])
        groups = [group for changes, group in several.groupby("changes") if self.target(changes) == target]
        values = [self.values(measure, group["run"], level) for group in groups]
        return [group[np.isfinite(group)] for group in values]

    def target(self, changes: str) -> str:
        """The target of an arm's runs."""
        return json.loads(changes).get("data.target", self.base.data.target)

    def seed_variance(self, measure: str, level: float | None = None) -> Variance:
        """The variance of a measure between runs that differ in their seed alone, pooled over all arms of the scale."""
        return pooled_variance(self.arms(measure, level))

    def difference(self, comparison: Comparison, claim: Claim) -> tuple[Difference, float, float] | None:
        """Of a comparison: the difference and both means (the second NaN where there is none); None: not yet run."""
        arms = [self.runs(claim, name) for name in (comparison.first, comparison.second) if name]
        if any(runs is None for runs in arms):
            return None
        level = claim.level.get(self.scale)
        variance, own = (
            self.seed_variance(comparison.measure, level),
            not one_spread(self.arms(comparison.measure, level)),
        )
        if comparison.measure == "dice":
            first, second = (np.stack([self.dice[run] for run in runs]) for runs in arms)
            return image_difference(first, second, variance, own), first.mean(), second.mean()
        first, *others = (self.values(comparison.measure, runs, level) for runs in arms)
        second = others[0] if others else None
        return run_difference(first, second, variance, own), first.mean(), np.nan if second is None else second.mean()


def judge(claim: Claim, records: ClaimRecords) -> list[dict[str, Any]]:
    """A claim's rows of `COLUMNS`, one a comparison.

    The comparisons that count are a family, whose intervals are widened after Holm; the others have intervals of
    95 %. Supported: all that count are found as said. Refuted: one is found the other way round.
    """
    found = [records.difference(one, claim) for one in claim.comparisons]
    family = [i for i, one in enumerate(claim.comparisons) if one.counts]
    runs = {run for name in claim.arms for run in records.runs(claim, name) or ()}
    shared = {"id": claim.id, "scale": records.scale, "runs": len(runs)}
    if any(found[i] is None for i in family):
        texts = [one.model_dump(exclude={"expected"}) for one in claim.comparisons]
        return [shared | text | {"verdict": "not yet run", "found": "open"} for text in texts]
    levels = dict.fromkeys(range(len(found)), (0.95, True))
    p_values = [found[i][0].p_value(claim.comparisons[i].than) for i in family]
    levels |= dict(zip(family, holm_levels(p_values), strict=True))
    rows = []
    for i, (one, result) in enumerate(zip(claim.comparisons, found, strict=True)):
        row = shared | one.model_dump(exclude={"expected"}) | {"found": "open"}
        if result is not None:
            difference, first, second = result
            low, high = difference.interval(levels[i][0])
            row |= {"effect": difference.effect, "low": low, "high": high, "level": levels[i][0]}
            row |= {"first_mean": first, "second_mean": second}
            row |= {"from_images": np.sqrt(difference.images.value), "from_seeds": np.sqrt(difference.seeds.value)}
            if levels[i][1] and not low <= one.than <= high:
                row["found"] = "as said" if (low > one.than) == (one.expected == "higher") else "opposite"
        rows.append(row)
    outcomes = [rows[i]["found"] for i in family]
    verdict = "refuted" if "opposite" in outcomes else "supported" if set(outcomes) == {"as said"} else "undecided"
    return [row | {"verdict": verdict} for row in rows]


def verdict_table(claims: Iterable[Claim], records: ClaimRecords) -> pd.DataFrame:
    """All claims' rows of `COLUMNS`."""
    return pd.DataFrame([row for claim in claims for row in judge(claim, records)], columns=COLUMNS)


def shown_changes(changes: str) -> str:
    """The changes of a recorded run as one reads them: `name=resnet34_unet, width=16`, or `as it is`."""
    pairs = [f"{key.rpartition('.')[2]}={value}" for key, value in json.loads(changes).items()]
    return ", ".join(pairs) or "as it is"
