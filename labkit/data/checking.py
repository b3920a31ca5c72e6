"""Every image and trimap of a data set decoded once, and what is wrong with them named."""

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from labkit.data.lists import shared_names
from labkit.data.pets import Pets
from labkit.errors import LabError, some_of


@dataclass(frozen=True)
class Report:
    """What `check_pets` found."""

    images: int
    problems: tuple[str, ...]
    """One sentence each."""
    empty: tuple[str, ...]
    """Names of images whose trimap is all background."""
    not_jpeg: tuple[str, ...]
    """Names whose file is called `.jpg` and is something else; they are read all the same."""


def check_pets(pets: Pets, progress: Callable[[Iterable], Iterable] = iter) -> Report:
    """Decode every image and trimap and compare their sizes and the lists."""
    empty, not_jpeg, problems = [], [], []

    def look(index: int) -> tuple[str | None, bool, bool]:
        try:
            image, trimap = pets.image(index), pets.trimap(index)
        except LabError as error:
            return str(error), False, False
        with Image.open(pets.image_path(index)) as file:
            other = file.format != "JPEG"
        wrong = None
        if image.shape[:2] != trimap.shape:
            wrong = f"{pets.image_path(index)}: image {image.shape[:2]} and trimap {trimap.shape} differ in size"
        return wrong, pets.is_empty(trimap), other

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(progress(pool.map(look, range(len(pets)))))
    for pet, (wrong, is_empty, other) in zip(pets.items, found, strict=True):
        problems += [wrong] if wrong else []
        empty += [pet.name] if is_empty else []
        not_jpeg += [pet.name] if other else []
    for family in pets.families():
        problems += list_problems(pets, family)
    return Report(len(pets), tuple(problems), tuple(empty), tuple(not_jpeg))


def list_problems(pets: Pets, family: str) -> list[str]:
    """What keeps the lists of a split from being used, a sentence each.

    Names without an image are a problem of the official lists, which come with the images, and a warning in others.
    """
    try:
        lists, parts = pets.lists(family), pets.parts(family)
    except LabError as error:
        return [str(error)]
    problems = [f"split {family}: {what}; keep each name in one list, once" for what in shared_names(lists)]
    if foreign := [part for part in parts if part not in ("train", "valid") and not part.startswith("test")]:
        problems.append(f"split {family}: {foreign[0]}.txt is no list of a split; call it train, valid or test...")
    if not parts or ("train" in parts) != ("valid" in parts):
        found = f"only {', '.join(parts)}" if parts else "no list at all"
        problems.append(f"split {family}: has {found}; a training needs train.txt and valid.txt")
    for part, names in parts.items():
        missing = [name for name in names if name not in pets.indices]
        if len(missing) == len(names):
            problems.append(f"split {family}/{part}: names no image of list.txt; put names of its images into the list")
        elif missing:
            left_out = f"split {family}/{part}: {len(missing)} of {len(names)} names are not in list.txt"
            if family == "official":
                problems.append(f"{left_out}: {some_of(missing)}")
            else:
                warnings.warn(f"{left_out} and are left out: {some_of(missing)}", stacklevel=2)
    return problems
