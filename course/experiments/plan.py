"""A sweep's plan: one TOML file that names recipes and lists of values, and the trainings that come of it."""

import hashlib
import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.training.recipe import Recipe, load_recipe, with_values


def load_plan(sweep: str | Path) -> tuple[Path, list[tuple[dict[str, Any], Recipe]]]:
    """Read a sweep: a TOML file, or the name of one in `course/experiments/`.

    The file has `recipe` (one name or file, or a list of them), a table `[values]` of dotted keys with a list of
    values each, perhaps tables `[arms.NAME]` of dotted keys with values that go together, and perhaps a table
    `[fixed]` of dotted keys with one value each, which an arm may replace. Every recipe is combined with every arm and
    every combination of the values; the last key varies fastest. Returned are the file and for each training its
    labels (`run`, the folder's name; `recipe`, the name; `arm`, if there are any; the values by dotted key) and its
    recipe.

    Raises:
        LabError: there is no such file, a key or value in it is wrong, or two combinations are the same training.
    """
    path = Path(sweep).expanduser()
    path = path if path.is_file() else Path(__file__).parent / f"{path.name.removesuffix('.toml')}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml"))) or "none"
        raise LabError(f"no sweep {str(sweep)!r}: neither a file nor one of course/experiments ({known})")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabError(f"{path}: not a TOML file in UTF-8, or a key stands twice ({error})") from None
    if unknown := [key for key in given if key not in ("recipe", "values", "arms", "fixed")]:
        raise LabError(f"{path}: unknown key {unknown[0]!r}; a sweep has recipe, values, arms, fixed")
    names = [given["recipe"]] if isinstance(given.get("recipe"), str) else given.get("recipe")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise LabError(f'{path}: recipe: found {names!r}; write a name, or a list of names, such as recipe = "quick"')
    for table in ("values", "arms", "fixed"):
        if not isinstance(given.setdefault(table, {}), dict):
            raise LabError(f"{path}: {table}: found {given[table]!r}; write a table [{table}] of dotted keys")
    values, fixed = _leaves(given["values"]), _leaves(given["fixed"])
    for name, arm in given["arms"].items():
        if not isinstance(arm, dict):
            raise LabError(f"{path}: arms.{name}: found {arm!r}; write a table [arms.{name}] of dotted keys")
    arms = {name: _leaves(arm) for name, arm in given["arms"].items()} or {"": []}
    for key, choices in values:
        if not isinstance(choices, list) or not choices:
            raise LabError(f"{path}: values: {key}: found {choices!r}; write a list, or put the key into [fixed]")
    for together in (values + fixed, *(values + arm for arm in arms.values())):
        for one, other in itertools.permutations([key for key, _ in together], 2):
            if f"{other}.".startswith(f"{one}."):
                raise LabError(f"{path}: {one} and {other} set the same key; keep one of them")
    runs, met = [], {}
    for name, arm, *chosen in itertools.product(names, arms, *(choices for _, choices in values)):
        beside = [p for p in (path.parent / name, path.parent / f"{name}.toml") if p.is_file()]
        base, changes = Path(name).name.removesuffix(".toml"), dict(zip(dict(values), chosen, strict=True))
        named = {"arm": arm} if arm else {}
        run, before = run_name(base, named | changes), load_recipe(beside[0] if beside else name)
        recipe = with_values(before, dict(fixed) | dict(arms[arm]) | changes, f"{path}: {run}")
        for mark in (recipe.toml(), run.lower()):
            if mark in met:
                raise LabError(f"{path}: {met[mark]} and {run} are the same training or folder; keep one of them")
            met[mark] = run
        shown = {key: str(value) if isinstance(value, list | dict) else value for key, value in changes.items()}
        runs.append(({"run": run, "recipe": base} | named | shown, recipe))
    return path, runs


def _leaves(table: Any, above: str = "") -> list[tuple[str, Any]]:
    """The values of nested tables with their dotted keys, however the file nests or quotes them."""
    if not isinstance(table, dict):
        return [(above, table)]
    return [leaf for key, value in table.items() for leaf in _leaves(value, f"{above}.{key}".removeprefix("."))]


def run_name(base: str, values: dict[str, Any]) -> str:
    """`<recipe>-<key>=<value>-...`, fit for a folder: the keys without their tables, and of odd values a digest."""
    parts = [base]
    for key, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        plain = re.fullmatch(r"[a-z0-9.+_-]{1,30}", text)  # also where a disk ignores the case of letters
        parts.append(f"{key.rpartition('.')[2]}={text if plain else hashlib.sha256(text.encode()).hexdigest()[:8]}")
    return "-".join(parts)
