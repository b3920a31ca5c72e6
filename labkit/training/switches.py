"""Single keys of a recipe changed from outside, as `--set data.augment.horizontal_flip=0` or a sweep does."""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from labkit.errors import LabError
from labkit.training.recipe import Recipe, checked

FILLED_IN = ("data.fingerprint", "data.split_fingerprint", "training.device")


def parse_switches(texts: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts as values by dotted key; a value is TOML (`0.5`, `[64, 32]`, `true`), or plain text.

    Raises:
        LabError: a text is no such pair, or a key stands twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key or not value:
            raise LabError(f"--set {text}: write KEY=VALUE, such as data.augment.horizontal_flip=0")
        if key in found:
            raise LabError(f"--set: {key} stands twice")
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key] = value
    return found


def with_values(recipe: Recipe, values: Mapping[str, Any], origin: str) -> Recipe:
    """A copy of a recipe with some values changed, by dotted key, checked anew; `origin` is what errors call it.

    Raises:
        LabError: a key is not one of a recipe, or a value is not allowed; both are named.
    """
    given = recipe.model_dump()
    if values.get("model.name", recipe.model.name) != recipe.model.name:
        given["model"] = {}  # another network brings its own defaults
    if {"data.normalize", "data.image_size", "data.split", "data.train_images"} & values.keys():
        given["data"] |= {"mean": None, "std": None}  # they were of other pixels
    for key, value in values.items():
        if key in FILLED_IN:
            raise LabError(f"{origin}: {key} is filled in when a training starts; leave it out")
        (*tables, last), table = key.split("."), given
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise LabError(f"{origin}: unknown key {key}; {name} is no table")
        table[last] = value
    return checked(given, origin)
