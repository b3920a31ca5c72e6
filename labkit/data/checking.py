"""Every image and trimap of a data set decoded once, and what is wrong with them named."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PIL import Image

from labkit.data.images import in_threads
from labkit.data.pets import Pets
from labkit.errors import LabError


@dataclass(frozen=True)
class Report:
    """What `check_pets` found: problems, a sentence each, and names of images."""

    problems: tuple[str, ...]
    empty: tuple[str, ...]
    """Their trimap is all background."""
    not_jpeg: tuple[str, ...]
    """Their file is called `.jpg` and is something else; they are read all the same."""


def check_pets(pets: Pets, progress: Callable[[Iterable], Iterable] = iter) -> Report:
    """Decode every image and trimap, compare their sizes, and check the lists."""

    def look(index: int) -> tuple[str, bool, bool]:
        try:
            _, trimap = pets.pair(index)
        except LabError as error:
            return str(error), False, False
        with Image.open(pets.image_path(index)) as file:
            return "", pets.is_empty(trimap), file.format != "JPEG"

    wrong, empty, other = zip(*progress(in_threads(look, range(len(pets)))), strict=True)
    problems = [sentence for sentence in wrong if sentence]
    for family in pets.families():
        problems += list_problems(pets, family)
    names = [pet.name for pet in pets.items]
    return Report(
        tuple(problems),
        tuple(name for name, found in zip(names, empty, strict=True) if found),
        tuple(name for name, found in zip(names, other, strict=True) if found),
    )


def list_problems(pets: Pets, family: str) -> list[str]:
    """What keeps the lists of a split from being used, a sentence each.

    Names without an image are a problem of the official lists, which come with the images, and a warning in others.
    """
    try:
        parts = pets.parts(family)
    except LabError as error:
        return [str(error)]
    problems = [
        f"split {family}: {part}.txt is no list of a split; call it train, valid or test..."
        for part in parts
        if part not in ("train", "valid") and not part.startswith("test")
    ]
    if not parts or ("train" in parts) != ("valid" in parts):
        found = f"only {', '.join(parts)}" if parts else "no list at all"
        problems.append(f"split {family}: has {found}; a training needs train.txt and valid.txt")
    for part, names in parts.items():
        try:
            missing = len(names) - len(pets.split(part, family))
        except LabError as error:
            problems.append(str(error))
            continue
        if missing and family == "official":
            problems.append(f"split official/{part}: {missing} of {len(names)} names have no image; get the data again")
    return list(dict.fromkeys(problems))  # names that two lists share are a problem of both
