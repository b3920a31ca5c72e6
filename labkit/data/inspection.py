"""What the data are like, and what is wrong with them: every file decoded once, nothing copied from a table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from labkit.data.arrays import Arrays, load_arrays
from labkit.data.images import TRIMAP_VALUES, in_threads
from labkit.data.lists import SPECIES
from labkit.data.pets import PARTS, Pets
from labkit.errors import LabError

if TYPE_CHECKING:
    import pandas as pd


class ColorStatistics(NamedTuple):
    """Mean and standard deviation per channel (red, green, blue) of images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def color_statistics(arrays: Arrays, indices: np.ndarray) -> ColorStatistics:
    """Mean and standard deviation over all pixels of the images at `indices`.

    Counted from exact histograms, so that neither order nor float rounding matters.
    """
    histograms = np.zeros((3, 256), dtype=np.int64)
    for chunk in np.array_split(np.sort(indices), -(-len(indices) // 256)):
        pixels = arrays.images[chunk]
        for channel in range(3):
            histograms[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = histograms @ values / histograms.sum(1)
    variance = histograms @ values**2 / histograms.sum(1) - mean**2
    return ColorStatistics(tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def pet_table(pets: Pets, arrays: Arrays | None = None) -> "pd.DataFrame":
    """One row an image: `name, breed, species, height, width`; with arrays also what its trimap holds.

    Those columns are the shares of the pixels `pet`, `background` and `border` (in data with classes of their own
    `share of <class>`), and whether the mask is `empty`.
    """
    import pandas as pd  # half a second that training need not wait for

    rows = []
    for index, pet in enumerate(pets.items):
        with Image.open(pets.trimap_path(index)) as trimap:  # its size is in the file's header
            rows.append((pet.name, pet.breed, SPECIES[pet.species], trimap.height, trimap.width))
    table = pd.DataFrame(rows, columns=["name", "breed", "species", "height", "width"])
    if arrays is not None:
        values = tuple(range(len(pets.classes))) or TRIMAP_VALUES
        names = [f"share of {name}" for name in pets.classes] or ["pet", "background", "border"]
        table[names] = trimap_shares(arrays, values)
        table["empty"] = [pets.is_empty(trimap) for trimap in arrays.trimaps]
    return table


def trimap_shares(arrays: Arrays, values: tuple[int, ...] = TRIMAP_VALUES) -> np.ndarray:
    """Share of each of the values (1, 2, 3 of trimaps, or class indices) in each image, `float64 [N, len(values)]`."""
    return np.array([[(trimap == value).mean() for value in values] for trimap in arrays.trimaps])


def describe_pets(pets: Pets, size: int = 128, progress: Callable[[Iterable], Iterable] = iter) -> dict[str, Any]:
    """The data set in plain facts, for people and as JSON; colors and shares are counted at `size` pixels."""
    arrays, train = load_arrays(pets, size, progress), pets.split("train")
    colors, table = color_statistics(arrays, train), pet_table(pets, arrays)
    spans = {
        side: dict(zip(("smallest", "median", "largest"), table[side].quantile([0, 0.5, 1]).tolist(), strict=True))
        for side in ("height", "width")
    }
    return {
        "data": pets.label,
        "images": len(pets),
        "split": {part: len(pets.split(part)) for part in PARTS},
        "breeds": len(pets.breeds),
        "species": {} if pets.classes else table["species"].value_counts().sort_index().to_dict(),
        **spans,
        "train_mean": [round(value, 4) for value in colors.mean],
        "train_std": [round(value, 4) for value in colors.std],
        "train_shares": table.iloc[train, 5:-1].mean().round(4).to_dict(),  # the columns between sizes and `empty`
        "empty_masks": table["name"][table["empty"]].tolist(),
    }


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
