"""A sweep's plan: one TOML file that names recipes and lists of values, and the trainings that come of it."""

import hashlib
import itertools
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.training.recipe import Recipe, load_recipe

KEYS = ("recipe", "values", "fixed")
TABLES = ("data", "model", "training")
FILLED_IN = ("data.fingerprint", "training.device")
"""Keys of a recipe that a training fills in itself."""
LONGEST_NAME = 120


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One training of a sweep."""

    name: str
    """Of its run folder: the recipe and the values, the same whatever else is in the sweep's lists."""
    base: str
    """The name of the recipe that was changed."""
    values: dict[str, Any]
    """What `[values]` gives it, by dotted key."""
    recipe: Recipe


@dataclass(frozen=True)
class Plan:
    """All trainings of a sweep, checked."""

    path: Path
    runs: tuple[PlannedRun, ...]

    @property
    def keys(self) -> list[str]:
        """The dotted keys that vary."""
        return list(self.runs[0].values)


def load_plan(sweep: str | Path) -> Plan:
    """Read a sweep: a TOML file, or the name of one in `course/experiments/`.

    The file has `recipe` (one name or file, or a list of them), a table `[values]` of dotted keys with a list of
    values each, and perhaps a table `[fixed]` of dotted keys with one value each. Every recipe is combined with
    every combination of the values.

    Raises:
        LabError: there is no such file, a key or value in it is wrong, or two combinations are the same training;
            all of them are checked.
    """
    path = Path(sweep).expanduser()
    if not path.is_file():
        path = Path(__file__).parent / f"{Path(sweep).name.removesuffix('.toml')}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml"))) or "none"
        raise LabError(f"no sweep {str(sweep)!r}: neither a file nor one of course/experiments ({known})")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise LabError(f"{path}: not a text file; a sweep is TOML in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{path}: not a TOML file, or a key stands twice ({error})") from None
    return Plan(path, tuple(plan_runs(given, path)))


def plan_runs(given: dict[str, Any], path: Path) -> list[PlannedRun]:
    """The trainings of a sweep's tables, in the order of the file; the last key varies fastest (see `load_plan`)."""
    if unknown := [key for key in given if key not in KEYS]:
        raise LabError(f"{path}: unknown key {unknown[0]!r}; a sweep has {', '.join(KEYS)}")
    values, fixed = (_dotted(given.get(table, {}), table, path) for table in ("values", "fixed"))
    for one, other in itertools.permutations([*values, *fixed], 2):
        if one == other:
            raise LabError(f"{path}: {one} stands in [values] and in [fixed]; leave it in one of them")
        if other.startswith(f"{one}."):
            raise LabError(f"{path}: {one} is a table that holds {other}; give the whole table, or its keys")
    for key, choices in values.items():
        _check_choices(key, choices, path)
    runs = []
    for name, base in _bases(given.get("recipe"), path).items():
        for combination in itertools.product(*values.values()):
            chosen = dict(zip(values, combination, strict=True))
            runs.append(_planned(name, base, chosen, fixed, path))
    _refuse_twins(runs, path)
    return runs


def run_name(base: str, values: dict[str, Any]) -> str:
    """`<recipe>-<key>=<value>-...`, fit for a folder: the keys without their tables where that says enough.

    Depends on the recipe's name, the keys and these values alone. Two different combinations of the same keys have
    different names, also where letters differ in case only: what cannot be written as it is ends in a digest.
    """
    last = Counter(key.rpartition(".")[2] for key in values)
    short = {key: key if last[key.rpartition(".")[2]] > 1 else key.rpartition(".")[2] for key in values}
    parts = [_written(base), *(f"{short[key]}={_written(value)}" for key, value in values.items())]
    name = "-".join(parts)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}-{_digest(name)}"


def _written(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    plain = re.sub(r"[^a-z0-9.+_-]+", "_", text.lower()).strip("_").lstrip(".")
    return text if plain == text and len(text) <= 40 else f"{plain[:31]}~{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _dotted(table: Any, place: str, path: Path) -> dict[str, Any]:
    """The leaves of a table by dotted key, however the file nests or quotes them.

    Raises:
        LabError: a key stands twice, in two ways of writing, or names no key of a recipe's tables.
    """
    if not isinstance(table, dict):
        raise LabError(f"{path}: {place}: found {table!r}; write a table [{place}] of dotted keys")
    leaves: dict[str, Any] = {}
    for key, value in _leaves(table):
        if key in leaves:
            raise LabError(f"{path}: {place}: {key} stands there twice; keep one of them")
        leaves[key] = value
    for key in leaves:
        if key.count(".") == 0 or key.split(".")[0] not in TABLES:
            raise LabError(f"{path}: {place}: unknown key {key!r}; write TABLE.KEY with {', '.join(TABLES)} as TABLE")
        if key in FILLED_IN:
            raise LabError(f"{path}: {place}: {key} is filled in when a training starts; leave it out")
    return leaves


def _leaves(table: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in table.items():
        dotted = ".".join(part.strip() for part in f"{above}{key}".split("."))
        found += _leaves(value, f"{dotted}.") if isinstance(value, dict) else [(dotted, value)]
    return found


def _check_choices(key: str, choices: Any, path: Path) -> None:
    if not isinstance(choices, list):
        raise LabError(f"{path}: values: {key}: found {choices!r}; write a list, or put it into [fixed]")
    if not choices:
        raise LabError(f"{path}: values: {key}: the list is empty; write its values, or leave the key out")
    for place, choice in enumerate(choices):
        if any(type(choice) is type(other) and choice == other for other in choices[:place]):
            raise LabError(f"{path}: values: {key}: {choice!r} stands there twice; keep one of them")


def _bases(given: Any, path: Path) -> dict[str, Recipe]:
    """The recipes that are changed, by name; a file is looked for beside the sweep first."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise LabError(f'{path}: recipe: found {given!r}; write a name, or a list of names, such as recipe = "quick"')
    bases: dict[str, Recipe] = {}
    for name in names:
        stem = Path(name).name.removesuffix(".toml")
        if stem in bases:
            raise LabError(
                f"{path}: recipe: {stem!r} stands there twice; keep one of them, or give the file a new name"
            )
        beside = (path.parent / name, path.parent / f"{name}.toml")
        bases[stem] = load_recipe(next((file for file in beside if file.is_file()), name))
    return bases


def _planned(name: str, base: Recipe, chosen: dict[str, Any], fixed: dict[str, Any], path: Path) -> PlannedRun:
    tables: dict[str, dict[str, Any]] = {}
    for key, value in {**fixed, **chosen}.items():
        table, *inner, last = key.split(".")
        target, known = tables.setdefault(table, {}), base.model_dump()[table]
        for part in inner:
            known = known.get(part) if isinstance(known, dict) else None
            if not isinstance(known, dict):
                raise LabError(f"{path}: unknown key {key}; {table} has no table {part!r}")
            target = target.setdefault(part, dict(known))
        target[last] = value
    folder = run_name(name, chosen)
    try:
        return PlannedRun(folder, name, chosen, base.changed(**tables))
    except LabError as error:
        raise LabError(f"{path}: {folder}: {str(error).removeprefix('the changed recipe: ')}") from None


def _refuse_twins(runs: list[PlannedRun], path: Path) -> None:
    met: dict[str, str] = {}
    for run in runs:
        for mark in (run.recipe.toml(), run.name.lower()):
            if mark in met:
                raise LabError(f"{path}: {met[mark]} and {run.name} are the same training; keep one of them")
            met[mark] = run.name
