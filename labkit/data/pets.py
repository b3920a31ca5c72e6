"""The pets on disk: the official folder layout, its lists and splits, one image and one trimap at a time."""

import hashlib
import os
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from labkit.data.images import MISSING, check_sizes, read_image, read_trimap
from labkit.data.lists import PARTS, Pet, read_classes, read_list, read_names, shared_names
from labkit.data.sample import SHA256 as DRAWN
from labkit.data.sample import unpacked
from labkit.errors import LabError, some_of
from labkit.files import home


@dataclass(frozen=True, eq=False)
class Pets:
    """A data set in the official layout: `images/<name>.jpg`, `annotations/trimaps/<name>.png`, lists.

    `items` are the lines of `annotations/list.txt`; every "index" elsewhere is an index into it. With
    `annotations/classes.txt`, the files in `trimaps/` hold class indices instead: 0 = background, 255 = ignored.
    """

    label: str  # how results call these data: `sample`, `pets`, or the folder's name
    folder: Path  # holds `images/` and `annotations/`
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
        """Names of the class indices 0, 1, ... in the masks; empty where `trimaps/` holds trimaps."""
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
        files = [f"{name} {image.st_size} {trimap.st_size}" for name, image, trimap in self.files()]
        return _digest([*files, *self.classes])

    def split_fingerprint(self, family: str = "official") -> str:
        """A digest of the names that a split has for training and validation, in their order."""
        parts = self.parts(family)
        return _digest([f"{part} {name}" for part in ("train", "valid") for name in parts.get(part, ())])

    def files(self) -> list[tuple[str, os.stat_result, os.stat_result]]:
        """Name, image file and trimap file of each item, as `os.stat` knows them now."""
        try:
            return [(p.name, self.image_path(i).stat(), self.trimap_path(i).stat()) for i, p in enumerate(self.items)]
        except FileNotFoundError as error:
            raise LabError(f"{error.filename}: {MISSING}") from None

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

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and trimap; LabError when they differ in size."""
        image, trimap = self.image(index), self.trimap(index)
        check_sizes(self.image_path(index), image, trimap)
        return image, trimap

    def split(self, part: str, family: str = "official") -> np.ndarray:
        """Indices of the images of one part of a split, `int64 [N]`, in the order of its list.

        `official`: of the i-th name in `trainval.txt`, `i % 10 == 0` is `valid`, the rest `train`; `test` is
        `test.txt`. Another family is a folder `annotations/splits/<family>/` with `train.txt`, `valid.txt`
        and one or more `test*.txt`. Names without an image are left out, counted and named in a warning (30 at most).

        Raises:
            LabError: there is no such family or part, it has no image, or the split's lists share names.
        """
        parts = self.parts(family)
        if part not in parts:
            raise LabError(f"split {family!r} has no part {part!r}; it has {', '.join(parts) or 'no list at all'}")
        names, split = parts[part], f"split {family}/{part}"
        known = [self.indices[name] for name in names if name in self.indices]
        if not known:
            raise LabError(f"{self.folder}, {split}: names no image of list.txt; put names of its images into the list")
        if missing := [name for name in names if name not in self.indices]:
            warnings.warn(
                f"{split}: {len(missing)} of {len(names)} names are not in list.txt and are left out: "
                f"{some_of(missing, 30)}",
                stacklevel=2,
            )
        if shared := shared_names(parts):
            raise LabError(f"{self.folder}, split {family}: {'; '.join(shared)}; keep each name in one list, once")
        return np.array(known, dtype=np.int64)

    def families(self) -> list[str]:
        """Names of the splits that these data have, `official` first."""
        splits = self.folder / "annotations" / "splits"
        return ["official", *sorted(path.name for path in splits.glob("*") if path.is_dir())]

    def parts(self, family: str = "official") -> dict[str, list[str]]:
        """The names in each part of a split (see `split`), whether there is an image or not; `val.txt` is `valid`."""
        if family not in self.families():
            raise LabError(f"{self.folder}: no split {family!r}; there are {', '.join(self.families())}")
        if family == "official":
            both, test = (read_names(self.folder / "annotations" / f"{name}.txt") for name in ("trainval", "test"))
            return {"train": [name for i, name in enumerate(both) if i % 10], "valid": both[::10], "test": test}
        parts = {}
        for path in sorted((self.folder / "annotations" / "splits" / family).glob("[!.]*.txt")):
            part = "valid" if path.stem == "val" else path.stem
            if part in parts or (part not in PARTS and not part.startswith("test")):
                raise LabError(f"{path}: a split has one train.txt, one valid.txt and any test*.txt; rename this list")
            parts[part] = read_names(path)
        return dict(sorted(parts.items(), key=lambda part: (part[0].startswith("test"), part[0])))


def open_pets(data: str | Path = "sample") -> Pets:
    """Open a data set by name or folder; a `LabError` where there is none, or its lists are damaged.

    That is `sample` (drawn pets) or `slides` (drawn microscope slides), unpacked on first use; `pets` (the real data in
    `dataset/pets`); a folder in the official layout, or one that holds it as `oxford-iiit-pet`.
    """
    root = unpacked(str(data)) if str(data) in DRAWN else data_root(data)
    folder = root / "oxford-iiit-pet" if (root / "oxford-iiit-pet").is_dir() else root
    if not (folder / "annotations").is_dir() or not (folder / "images").is_dir():
        hint = "`labkit data get --data pets` fetches them" if str(data) == "pets" else "name a folder that holds both"
        raise LabError(f"{folder}: no images/ and annotations/ there; {hint}")
    label = str(data) if str(data) in (*DRAWN, "pets") else root.resolve().name
    return Pets(label=label, folder=folder, items=read_list(folder / "annotations" / "list.txt"))


def data_root(data: str | Path) -> Path:
    """The folder that a data name stands for: `dataset/sample`, `slides`, `pets` there, or the path itself."""
    return home() / "dataset" / str(data) if str(data) in (*DRAWN, "pets") else Path(data).expanduser()


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
