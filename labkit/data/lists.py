"""The lists of a data set: names of images and classes in `annotations/*.txt`, and splits of images in groups."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from labkit.errors import LabError, some_of
from labkit.metrics import IGNORED

SPECIES = {1: "cat", 2: "dog"}
PARTS = ("train", "valid", "test")
TEST_SHARE, VALID_SHARE = 0.3, 0.1  # of images or groups that are split here


@dataclass(frozen=True)
class Pet:
    """One line of `annotations/list.txt`."""

    name: str
    class_id: int  # breed, 1 to 37 over both species (in the official data)
    species: int  # 1 = cat, 2 = dog

    @property
    def breed(self) -> str:
        """The breed's name: the image's name without its number."""
        return self.name.rpartition("_")[0]


def read_list(path: Path) -> tuple[Pet, ...]:
    """Read `list.txt`: lines `name class-id species breed-id`, no name twice; `#` begins a comment."""
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


def split_inside_groups(groups: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """Split every group by itself, so that each is on both sides: `train`, `valid` and `test` -> indices.

    A group of n >= 2 images gives round(0.3 n) of them to the test, at least one and never all; a tenth of all images
    is for validation. Images of one group are alike, so such a test says nothing about new groups. Too few images for
    three parts are a LabError.
    """
    tests, rest = [], []
    for rank, group in enumerate(sorted(set(groups))):
        members = np.random.default_rng([seed, rank]).permutation(np.flatnonzero(np.asarray(groups) == group))
        cut = len(members) - min(max(1, round(len(members) * TEST_SHARE)), len(members) - 1)
        rest += members[:cut].tolist()
        tests += members[cut:].tolist()
    valid = rest[:: round((1 - TEST_SHARE) / VALID_SHARE)]  # of one group after the other, so that all take part
    parts = {"train": [i for i in rest if i not in {*valid}], "valid": valid, "test": tests}
    if not all(parts.values()):
        raise LabError(f"{len(groups)} images in {len(set(groups))} groups: too few for {', '.join(PARTS)}; add images")
    return {part: np.array(sorted(indices), dtype=np.int64) for part, indices in parts.items()}


def split_by_group(groups: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """Deal out whole groups, so that none is on two sides: `train`, `valid` and `test` -> indices.

    0.3 of the groups (not of their images) are for the test, 0.1 for validation, at least one for each. Fewer than 3
    groups are a LabError.
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise LabError(f"{len(names)} groups ({', '.join(names)}): a split by group needs at least 3; add groups")
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    tests, valids = max(1, round(len(names) * TEST_SHARE)), max(1, round(len(names) * VALID_SHARE))
    dealt = {"train": order[tests + valids :], "valid": order[tests : tests + valids], "test": order[:tests]}
    return {part: np.flatnonzero(np.isin(np.asarray(groups), dealt[part])) for part in PARTS}


def _repeated(names: list[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _without_ending(name: str) -> str:
    return re.sub(r"\.(jpe?g|png|gif|bmp|webp|tiff?)$", "", name, flags=re.IGNORECASE)


def _lines(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise LabError(f"{path}: the list is missing; fetch the data again")
    numbered = enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1)
    return [(number, line.strip()) for number, line in numbered if line.strip() and not line.lstrip().startswith("#")]
