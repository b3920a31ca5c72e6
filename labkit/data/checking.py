"""Every image and trimap of a data set decoded once, and what is wrong with them named."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from labkit.data.pets import Pets, read_names
from labkit.errors import LabError


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


def check_pets(pets: Pets, watch: Callable[[Iterable], Iterable] = iter) -> Report:
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
        found = list(watch(pool.map(look, range(len(pets)))))
    for pet, (wrong, is_empty, other) in zip(pets.items, found, strict=True):
        problems += [wrong] if wrong else []
        empty += [pet.name] if is_empty else []
        not_jpeg += [pet.name] if other else []
    for name in ("trainval.txt", "test.txt"):
        unknown = [n for n in read_names(pets.folder / "annotations" / name) if n not in pets.indices]
        problems += [f"{name}: {len(unknown)} names are not in list.txt: {', '.join(unknown[:5])}"] if unknown else []
    return Report(len(pets), tuple(problems), tuple(empty), tuple(not_jpeg))
