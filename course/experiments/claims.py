"""Claims of the reports as files: what was said, which trainings put it to the test, and what would decide it.

Each file in `course/claims/` is one claim; `scales.toml` beside them says on which data and from which recipe the arms
start at each scale. Two arms of different claims that come to the same recipe are one training.
"""

import copy
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from course.experiments.measures import MEASURES
from course.experiments.plan import run_name
from labkit.errors import LabError
from labkit.training.recipe import Recipe, checked, with_values

FOLDER = Path(__file__).parent.parent / "claims"
Scale = Literal["tiny", "cpu", "gpu"]
SCALES = ("tiny", "cpu", "gpu")


class Table(BaseModel):
    """A table of a claim's file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Comparison(Table):
    """What a claim says about its arms: `first` minus `second` (or `first` alone) is higher or lower than `than`."""

    measure: Literal[MEASURES]
    first: str
    second: str | None = None
    expected: Literal["higher", "lower"]
    than: float = 0.0
    counts: bool = True
    """False: it is shown beside the verdict and does not decide it."""


class Arm(Table):
    """A training that takes part: changes of the scale's recipe, by dotted key; some only at one scale."""

    changes: dict[str, Any]
    at: dict[str, dict[str, Any]]
    tune: dict[str, list[Any]]
    """One key with the values from which the best validation Dice of seed 0 chooses, before other seeds run."""

    def changes_at(self, scale: Scale) -> dict[str, Any]:
        """All changes at a scale."""
        return self.changes | self.at.get(scale, {})


class Claim(Table):
    """One file of `course/claims/`."""

    id: str
    claim: str
    reports: list[str]
    against: list[str] = []
    """Reports that say the opposite."""
    reported: str
    """What they measured."""
    supported: str
    refuted: str
    scale_note: str = ""
    """What the answer at a small scale does not say."""
    seeds: int = Field(ge=1)
    level: dict[Scale, float] = {}
    """The validation Dice to which epochs are counted (`epochs_to_level`)."""
    alone: bool = False
    """It measures time, and runs one training at a time after all others."""
    arms: dict[str, Arm]
    comparisons: list[Comparison]

    @model_validator(mode="after")
    def _arms_are_there(self) -> "Claim":
        for one in self.comparisons:
            if unknown := {one.first, one.second or one.first} - self.arms.keys():
                raise ValueError(f"comparisons: {unknown.pop()!r} is none of the arms {', '.join(self.arms)}")
        return self


def load_claims(names: Iterable[str] = ()) -> list[Claim]:
    """The claims of these ids in this order, all without names; a `LabError` where there is none, or one is wrong."""
    paths = {path.stem: path for path in sorted(FOLDER.glob("*.toml")) if path.stem != "scales"}
    names = list(names) or list(paths)
    if unknown := [name for name in names if name not in paths]:
        raise LabError(f"no claim {unknown[0]!r}; there are {', '.join(paths)}")
    return [read_claim(paths[name]) for name in names]


def read_claim(path: Path) -> Claim:
    """Read one claim; a `LabError` names the file and the first key that is wrong."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabError(f"{path}: not a TOML file in UTF-8 ({error})") from None
    return parse_claim({"id": path.stem} | given, str(path))


def parse_claim(given: dict[str, Any], origin: str) -> Claim:
    """A claim from the dictionary of its file; `origin` is what errors call it."""
    try:
        given = copy.deepcopy({"id": origin} | given)
        tune = given.pop("tune", {})
        for name, arm in given.get("arms", {}).items():
            own, at = arm.pop("tune", tune), {scale: arm.pop(scale) for scale in SCALES if scale in arm}
            given["arms"][name] = {"changes": arm, "at": at, "tune": own}
        return Claim.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        raise LabError(f"{origin}: {': '.join(filter(None, ['.'.join(map(str, first['loc'])), message]))}") from None
    except AttributeError:
        raise LabError(f"{origin}: arms: a table for each arm is expected") from None


def load_scale(scale: str) -> tuple[str, Recipe]:
    """The name of a scale's data and the recipe that all arms start from."""
    table = tomllib.loads((FOLDER / "scales.toml").read_text(encoding="utf-8"))
    if scale not in table:
        raise LabError(f"no scale {scale!r}; there are {', '.join(table)}")
    return table[scale]["data"], checked(table[scale]["recipe"], f"{FOLDER / 'scales.toml'}: {scale}")


class Planned(NamedTuple):
    """A training that a claim needs."""

    run: str
    """`<scale>-<changes>-seed=<n>`: the folder's name, and its key in the records."""
    changes: dict[str, Any]
    recipe: Recipe
    alone: bool = False
    trial: bool = False
    """An arm waits for it to choose its value."""

    def asked(self, base: Recipe, fingerprint: str) -> str:
        """A digest of what decides the result: the scale's recipe and data, and the changes; not labkit's defaults."""
        text = json.dumps([base.model_dump(exclude_defaults=True), self.changes, fingerprint], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def planned_run(scale: Scale, base: Recipe, changes: Mapping[str, Any], seed: int, alone: bool = False) -> Planned:
    """One training of an arm; a `LabError` if its changes make no recipe."""
    changes = dict(sorted(changes.items())) | {"training.seed": seed}
    name = run_name(scale, changes)
    return Planned(name, changes, with_values(base, changes, name), alone)


def arm_runs(
    claim: Claim, name: str, scale: Scale, base: Recipe, valid_dice: Mapping[str, float]
) -> tuple[list[Planned], list[Planned]]:
    """The trainings that an arm is judged by, and those that it needs as far as is known: seed 0 at every value first.

    Args:
        valid_dice: the best validation Dice of runs that are done, by run.
    """
    arm, seeds = claim.arms[name], range(claim.seeds)
    changes = arm.changes_at(scale)
    if not arm.tune:
        runs = [planned_run(scale, base, changes, seed, claim.alone) for seed in seeds]
        return runs, runs
    ((key, values),) = arm.tune.items()
    # a value that the base has already is no change, so that the run is shared with arms that are not tuned
    table, _, last = key.partition(".")
    own = with_values(base, changes, name).model_dump()[table][last]
    chosen = [changes if value == own else changes | {key: value} for value in values]
    trials = [planned_run(scale, base, tried, 0)._replace(trial=True) for tried in chosen]
    if any(trial.run not in valid_dice for trial in trials):
        return [], trials
    best = max(range(len(values)), key=lambda i: valid_dice[trials[i].run])
    runs = [planned_run(scale, base, chosen[best], seed) for seed in seeds]
    return runs, trials + runs


def due_runs(
    claims: Iterable[Claim], scale: Scale, base: Recipe, valid_dice: Mapping[str, float]
) -> dict[str, Planned]:
    """All trainings that the claims need as far as is known now, each once, by run."""
    runs: dict[str, Planned] = {}
    for claim in claims:
        for name in claim.arms:
            for run in arm_runs(claim, name, scale, base, valid_dice)[1]:
                runs[run.run] = run._replace(trial=run.trial or (run.run in runs and runs[run.run].trial))
    return runs
