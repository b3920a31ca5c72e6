"""The lists of a data set: names of images, and what else stands in `annotations/*.txt`."""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from labkit.errors import LabError, some_of
from labkit.metrics import IGNORED

SPECIES = {1: "cat", 2: "dog"}
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Pet:
    """One line of `annotations/list.txt`."""

    name: str
    class_id: int
    """Breed, 1 to 37 over both species (in the official data)."""
    species: int
    """1 = cat, 2 = dog."""

    @property
    def breed(self) -> str:
        """The breed's name: the image's name without its number."""
        return self.name.rpartition("_")[0]


def read_list(path: Path) -> tuple[Pet, ...]:
    """Read `list.txt`: lines `name class-id species breed-id`, `#` begins a comment.

    Raises:
        LabError: the file is missing, a line cannot be read, or a name stands twice.
    """
    pets = []
    for number, line in _lines(path):
        try:
            name, class_id, species, *_ = line.split()
            pet = Pet(_without_ending(name), int(class_id), int(species))
            if pet.species not in SPECIES or pet.class_id < 1:
                raise ValueError
        except ValueError:
            expected = "expected `name class-id species breed-id` with a class id from 1 and species 1 or 2"
            raise LabError(f"{path}, line {number}: found {line!r}, {expected}") from None
        pets.append(pet)
    if twice := _repeated([pet.name for pet in pets]):
        raise LabError(f"{path}: {twice[0]!r} stands there more than once; keep one line for each image")
    if not pets:
        raise LabError(f"{path}: no image is listed there; fetch the data again")
    return tuple(pets)


def read_names(path: Path) -> list[str]:
    """Names in a list file: the first word of each line; `#` begins a comment, an image's ending is cut."""
    return [_without_ending(line.split()[0]) for _, line in _lines(path)]


def read_classes(path: Path) -> tuple[str, ...]:
    """Names of the classes in `classes.txt`: line i names the class index i, the first is the background."""
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines())
    if not 2 <= len(names) <= IGNORED or "" in names or len(set(names)) < len(names):
        raise LabError(
            f"{path}: found {', '.join(map(repr, names)) or 'nothing'}; write the background and 1 to 254 classes, one "
            "a line, no two alike"
        )
    return names


def shared_names(parts: dict[str, list[str]]) -> list[str]:
    """Which names stand in two parts of a split, or twice in one, a sentence each; its tests may share names."""
    found = {
        f"{one} and {other} share": sorted({*parts[one]} & {*parts[other]})
        for one, other in combinations(parts, 2)
        if not (one.startswith("test") and other.startswith("test"))
    }
    found |= {f"{part} repeats": _repeated(names) for part, names in parts.items()}
    return [f"{who} {len(names)} names ({some_of(names)})" for who, names in found.items() if names]


def _repeated(names: list[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _without_ending(name: str) -> str:
    return re.sub(r"\.(jpe?g|png|gif|bmp|webp|tiff?)$", "", name, flags=re.IGNORECASE)


def _lines(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise LabError(f"{path}: the list is missing; fetch the data again")
    numbered = enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1)
    return [(number, line.strip()) for number, line in numbered if line.strip() and not line.lstrip().startswith("#")]
