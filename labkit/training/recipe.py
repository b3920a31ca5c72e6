"""A recipe: everything that decides what a training gives, in one TOML file that is checked when it is read."""

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from pydantic import ValidationError, model_validator

from labkit.data import TARGETS, Pets, class_names, color_statistics, load_arrays
from labkit.errors import LabError
from labkit.models import NETWORKS
from labkit.training.hardware import choose_device, choose_precision
from labkit.training.tables import DataTable, ModelTable, Table, TrainingTable

RECIPES = Path(__file__).parent.parent / "recipes"
FIXED_SCALES = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "raw": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
"""Mean and standard deviation, for images in [0, 1]: ImageNet's; 0..1 as it is; the pixels' own 0..255."""
FILLED_IN = ("data.fingerprint", "data.split_fingerprint", "training.device")


class Recipe(Table):
    """A whole recipe."""

    data: DataTable = DataTable()
    model: ModelTable = ModelTable()
    training: TrainingTable = TrainingTable()

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        sizes, full = self.training.sizes, self.data.image_size
        if names := TARGETS[self.data.target].classes:  # else the data decide: `resolve` judges those
            self.resolved_classes(names)
        if sizes and (sizes[-1][0] != full or max(sizes)[0] > full):
            found = ", ".join(str(size) for size, _ in sizes)
            raise ValueError(f"training.sizes: found {found}; the last must be image_size = {full}, and none larger")
        if self.data.unlabelled and (not self.training.ema or self.data.augment.copies):
            raise ValueError("data.unlabelled: needs a moving average, such as training.ema = 0.99, and no copies")
        return self

    def changed(self, **tables: dict[str, Any]) -> "Recipe":
        """A copy with some keys changed, checked anew: `recipe.changed(training={"epochs": 3})`."""
        values = {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
        return _with_values(self, values, "the changed recipe")

    def resolved_classes(self, names: tuple[str, ...]) -> int:
        """Channels of the logits for a target with these classes; a `LabError` if another number is asked for."""
        given, loss, count = getattr(self.model, "classes", None), self.training.loss, len(names)
        has = f"target {self.data.target!r} has {count} classes"
        if "bce" in loss and count > 2:
            raise LabError(f"training.loss: {loss} takes two classes, but {has}; use a cross-entropy loss")
        if given not in (None, count) and (given, count) != (1, 2):
            raise LabError(f"model.classes: {given}, but {has}; leave it out")
        channels = given or (1 if count == 2 and "cross-entropy" not in loss else count)
        if "bce" in loss and channels == 2:
            raise LabError("training.loss: bce takes one channel; set model.classes = 1, or use cross-entropy")
        if "cross-entropy" in loss and channels == 1:
            raise LabError("training.loss: cross-entropy takes several channels; set model.classes = 2, or use bce")
        return channels

    def train_indices(self, pets: Pets) -> np.ndarray:
        """Indices of the training images, `data.train_images` of them; a `LabError` where there are not so many."""
        indices = pets.split("train", self.data.split)
        number = self.data.train_images or len(indices)
        if number > len(indices):
            raise LabError(f"data.train_images: {number}, but {self.data.split!r} trains on {len(indices)} images")
        if self.data.unlabelled >= number:
            raise LabError(f"data.unlabelled: {self.data.unlabelled} of {number} training images; leave some masks")
        return indices[np.sort(np.random.default_rng(0).permutation(len(indices))[:number])]

    def unlabelled_indices(self, pets: Pets) -> np.ndarray:
        """Those of the training images whose masks are not used."""
        indices, number = pets.split("train", self.data.split), len(self.train_indices(pets))
        last = np.random.default_rng(0).permutation(len(indices))[number - self.data.unlabelled : number]
        return indices[np.sort(last)]

    def size_of_epoch(self, epoch: int) -> int:
        """Side of the training images in pixels in an epoch, which counts from 1."""
        reached, total = 0.0, sum(share for _, share in self.training.sizes)
        for size, share in self.training.sizes if epoch < self.training.epochs else ():  # the last is at full size
            reached += share
            if epoch <= round(reached / total * self.training.epochs):
                return size
        return self.data.image_size

    def toml(self) -> str:
        """The recipe as TOML, every default written out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def parse_switches(texts: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts as values by dotted key; a value is TOML (`0.5`, `[64, 32]`, `true`), or plain text."""
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
    """A copy of a recipe with values that a user changed, by dotted key, checked anew; errors name `origin` and key."""
    if filled := [key for key in values if key in FILLED_IN]:
        raise LabError(f"{origin}: {filled[0]} is filled in when a training starts; leave it out")
    return _with_values(recipe, values, origin)


def _with_values(recipe: Recipe, values: Mapping[str, Any], origin: str) -> Recipe:
    given = recipe.model_dump()
    if values.get("model.name", recipe.model.name) != recipe.model.name:
        given["model"] = {}  # another network brings its own defaults
    if {"data.normalize", "data.image_size", "data.split", "data.train_images"} & values.keys():
        given["data"] |= {"mean": None, "std": None}  # they were of other pixels
    for key, value in values.items():
        (*tables, last), table = key.split("."), given
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise LabError(f"{origin}: unknown key {key}; {name} is no table")
        table[last] = value
    return checked(given, origin)


def load_recipe(recipe: str | Path) -> Recipe:
    """Read a recipe: a TOML file, or the name of one in `labkit/recipes/`; a `LabError` says what is wrong with it."""
    path = Path(recipe)
    if not path.is_file():
        path = RECIPES / f"{Path(recipe).name.removesuffix('.toml')}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise LabError(f"no recipe {str(recipe)!r}: neither a file nor one of {known}")
    return parse_recipe(path.read_text(encoding="utf-8", errors="replace"), str(path))


def parse_recipe(text: str, origin: str) -> Recipe:
    """A recipe from TOML text; `origin` is what errors call it."""
    try:
        return checked(tomllib.loads(text), origin)
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{origin}: not a TOML file ({error})") from None


def checked(given: dict[str, Any], origin: str) -> Recipe:
    """A recipe from nested dictionaries; the first wrong key or value is named, with what is allowed."""
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        raise LabError(f"{origin}: {_sentence(error, given)}") from None


def _sentence(error: ValidationError, given: dict[str, Any]) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if error.title == "[model]":
        place = ["model", *place]
    key, message = ".".join(place), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}; there are {', '.join(_allowed_keys(place, given))}"
    if first["type"] == "value_error":
        return message
    return f"{key}: found {first.get('input')!r}; {message[0].lower()}{message[1:]}"


def _allowed_keys(place: list[str], given: dict[str, Any]) -> list[str]:
    if place[0] == "model":
        network = NETWORKS[given["model"].get("name", "unet")]
        return ["name", "initialization", *inspect.signature(network).parameters]
    table = Recipe
    for part in place[:-1]:
        table = table.model_fields[part].annotation
    return list(table.model_fields)


def resolve(recipe: Recipe, pets: Pets, device: str = "auto") -> Recipe:
    """The recipe with everything filled in that data and machine decide: classes, mean and deviation, precision.

    Values of other data or lists, as the fingerprints tell, are computed anew. LabError: mean or deviation
    were written by hand; the target or the lists do not fit the data.
    """
    data, chosen, train = recipe.data, choose_device(device), recipe.train_indices(pets)
    fingerprints = {"fingerprint": pets.fingerprint, "split_fingerprint": pets.split_fingerprint(data.split)}
    if (data.mean or data.std) and data.fingerprint is None:
        raise LabError("data.mean, data.std: they are found when a training starts, by data.normalize; leave them out")
    if data.normalize != "dataset":
        mean, std = FIXED_SCALES[data.normalize]
    elif fingerprints.items() <= data.model_dump().items() and data.mean and data.std:
        mean, std = data.mean, data.std
    else:
        found = color_statistics(load_arrays(pets, data.image_size), train)
        mean, std = found.mean, found.std
    return recipe.changed(
        data={"mean": mean, "std": std} | fingerprints,
        model={"classes": recipe.resolved_classes(class_names(data.target, pets))},
        training={"precision": choose_precision(recipe.training.precision, chosen), "device": str(chosen)},
    )
