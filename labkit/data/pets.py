"""The pets on disk: the official folder layout, its lists and splits, one image and one trimap at a time."""

import hashlib
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from labkit.data.images import read_image, read_trimap, why_missing
from labkit.data.sample import SHA256 as DRAWN
from labkit.data.sample import unpacked
from labkit.errors import LabError
from labkit.files import home
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


@dataclass(frozen=True, eq=False)
class Pets:
    """A data set in the official layout: `images/<name>.jpg`, `annotations/trimaps/<name>.png`, lists.

    With `annotations/classes.txt`, the files in `trimaps/` hold class indices instead: 0 = background, 255 = ignored.

    `items` are the lines of `annotations/list.txt` in their order; every "index" elsewhere in the lab
    is an index into it.
    """

    label: str
    """How results call these data: `sample`, `pets`, or the folder's name."""
    folder: Path
    """The folder that holds `images/` and `annotations/`."""
    items: tuple[Pet, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def indices(self) -> dict[str, int]:
        """Index of each name."""
        return {pet.name: index for index, pet in enumerate(self.items)}

    @cached_property
    def breeds(self) -> dict[int, str]:
        """Name of each class id, in the order of the ids."""
        return dict(sorted({pet.class_id: pet.breed for pet in self.items}.items()))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the class indices 0, 1, ... in the masks; empty where `trimaps/` holds trimaps.

        Raises:
            LabError: `annotations/classes.txt` is damaged.
        """
        path = self.folder / "annotations" / "classes.txt"
        return read_classes(path) if path.is_file() else ()

    @cached_property
    def species(self) -> np.ndarray:
        """Species of every item, `int64 [N]`: 1 = cat, 2 = dog."""
        return np.array([pet.species for pet in self.items], dtype=np.int64)

    @cached_property
    def class_ids(self) -> np.ndarray:
        """Breed of every item, `int64 [N]`, from 1."""
        return np.array([pet.class_id for pet in self.items], dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all names and file sizes: the same on every machine that holds the same files."""
        files = [f"{p.name} {_size(self.image_path(i))} {_size(self.trimap_path(i))}" for i, p in enumerate(self.items)]
        return _digest([*files, *self.classes])

    def image_path(self, index: int) -> Path:
        """The image's file; it is called `.jpg` whatever it really is."""
        return self.folder / "images" / f"{self.items[index].name}.jpg"

    def trimap_path(self, index: int) -> Path:
        """The trimap's file."""
        return self.folder / "annotations" / "trimaps" / f"{self.items[index].name}.png"

    def image(self, index: int) -> np.ndarray:
        """The image as `uint8 [H, W, 3]`, at its own size, turned upright where that fits the trimap."""
        return read_image(self.image_path(index), self.trimap_path(index))

    def trimap(self, index: int) -> np.ndarray:
        """The raw trimap as `uint8 [H, W]`: 1 = pet, 2 = background, 3 = border; or class indices (see `classes`)."""
        return read_trimap(self.trimap_path(index), len(self.classes))

    def is_empty(self, trimap: np.ndarray) -> bool:
        """Whether a raw trimap (or mask of class indices) shows nothing but background (and ignored pixels)."""
        return bool(np.isin(trimap, (0, IGNORED) if self.classes else (2,)).all())

    def split(self, part: str, family: str = "official") -> np.ndarray:
        """Indices of the images of one part of a split, `int64 [N]`, in the order of its list.

        `official`: of the i-th name in `trainval.txt`, `i % 10 == 0` is `valid`, the rest `train`; `test` is
        `test.txt`. Another family is a folder `annotations/splits/<family>/` with `train.txt`, `valid.txt`
        and one or more `test*.txt`. Names without an image are left out, counted and named in a warning.

        Raises:
            LabError: there is no such family or part.
        """
        if family == "official":
            if part not in PARTS:
                raise LabError(f"the official split has no part {part!r}; it has {', '.join(PARTS)}")
            names = read_names(self.folder / "annotations" / ("test.txt" if part == "test" else "trainval.txt"))
            if part != "test":
                names = [name for i, name in enumerate(names) if (i % 10 == 0) == (part == "valid")]
        else:
            names = read_names(self._own_list(family, part))
        known = [self.indices[name] for name in names if name in self.indices]
        if missing := [name for name in names if name not in self.indices]:
            warnings.warn(
                f"split {family}/{part}: {len(missing)} of {len(names)} names are not in {self.label} and are "
                f"left out: {', '.join(missing)}",
                stacklevel=2,
            )
        if not known:
            raise LabError(
                f"split {family}/{part} has no image in {self.folder}; put names of its images into the list"
            )
        return np.array(known, dtype=np.int64)

    def families(self) -> list[str]:
        """Names of the splits that these data have, `official` first."""
        return [
            "official",
            *sorted(p.name for p in (self.folder / "annotations" / "splits").glob("*") if p.is_dir()),
        ]

    def _own_list(self, family: str, part: str) -> Path:
        if family not in self.families():
            raise LabError(f"{self.folder}: no split {family!r}; there are {', '.join(self.families())}")
        lists = {p.stem: p for p in sorted((self.folder / "annotations" / "splits" / family).glob("*.txt"))}
        if part == "valid" and "val" in lists:
            part = "val"
        if part not in lists:
            raise LabError(f"split {family!r} has no list {part}.txt; it has {', '.join(lists) or 'none at all'}")
        return lists[part]


def open_pets(data: str | Path = "sample") -> Pets:
    """Open a data set by name or folder.

    Args:
        data: `"sample"` (drawn pets, unpacked on first use), `"slides"` (drawn microscope slides, likewise),
            `"pets"` (the real data in `dataset/pets`), or a folder in the official layout, or one that holds such a
            folder called `oxford-iiit-pet`.

    Raises:
        LabError: there are no such data, or their lists are damaged.
    """
    root = unpacked(str(data)) if str(data) in DRAWN else data_root(data)
    folder = root / "oxford-iiit-pet" if (root / "oxford-iiit-pet").is_dir() else root
    if not (folder / "annotations").is_dir() or not (folder / "images").is_dir():
        hint = "`labkit data get --data pets` fetches them" if str(data) == "pets" else "name a folder that holds both"
        raise LabError(f"{folder}: no images/ and annotations/ there; {hint}")
    label = str(data) if str(data) in (*DRAWN, "pets") else (folder if folder == root else root).resolve().name
    return Pets(label=label, folder=folder, items=read_list(folder / "annotations" / "list.txt"))


def data_root(data: str | Path) -> Path:
    """The folder that a data name stands for: `dataset/sample`, `slides`, `pets` there, or the path itself."""
    return home() / "dataset" / str(data) if str(data) in (*DRAWN, "pets") else Path(data).expanduser()


def read_list(path: Path) -> tuple[Pet, ...]:
    """Read `list.txt`: lines `name class-id species breed-id`, `#` begins a comment.

    Raises:
        LabError: the file is missing, a line cannot be read, or a name stands twice.
    """
    pets = []
    for number, line in _lines(path):
        fields = line.split()
        try:
            pet = Pet(fields[0], int(fields[1]), int(fields[2]))
        except (IndexError, ValueError):
            raise LabError(
                f"{path}, line {number}: found {line!r}, expected `name class-id species breed-id`"
            ) from None
        if pet.species not in SPECIES or pet.class_id < 1:
            raise LabError(f"{path}, line {number}: species must be 1 or 2 and the class id at least 1, found {line!r}")
        pets.append(pet)
    if len({pet.name for pet in pets}) != len(pets):
        twice = sorted(
            str(n) for n, c in zip(*np.unique([p.name for p in pets], return_counts=True), strict=True) if c > 1
        )
        raise LabError(f"{path}: {twice[0]!r} stands there more than once; keep one line for each image")
    if not pets:
        raise LabError(f"{path}: no image is listed there; fetch the data again")
    return tuple(pets)


def read_names(path: Path) -> list[str]:
    """Names in a list file: the first word of each line; `#` begins a comment, a `.jpg` at the end is cut."""
    return [line.split()[0].removesuffix(".jpg") for _, line in _lines(path)]


def read_classes(path: Path) -> tuple[str, ...]:
    """Names of the classes in `classes.txt`: line i names the class index i, the first is the background.

    Raises:
        LabError: there are fewer than 2 names or more than 255, one is missing, or one stands twice.
    """
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines())
    if not 2 <= len(names) <= IGNORED:
        raise LabError(f"{path}: {len(names)} class names; write the background and 1 to 254 classes, one a line")
    if "" in names or len(set(names)) < len(names):
        raise LabError(
            f"{path}: each line names one class index, and no two alike, found {', '.join(map(repr, names))}"
        )
    return names


def _lines(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise LabError(f"{path}: the list is missing; fetch the data again")
    numbered = enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1)
    return [(number, line.strip()) for number, line in numbered if line.strip() and not line.lstrip().startswith("#")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise LabError(f"{path}: {why_missing(path)}") from None


def _digest(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
