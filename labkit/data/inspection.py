"""What the data are like, and what is wrong with them: every file decoded once, nothing copied from a table."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from labkit.data.arrays import Arrays
from labkit.data.images import TRIMAP_VALUES, in_threads
from labkit.data.lists import SPECIES
from labkit.data.pets import Pets
from labkit.errors import LabError
from labkit.metrics import IGNORED


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


def pet_table(pets: Pets, arrays: Arrays | None = None) -> pd.DataFrame:
    """One row an image: `name, breed, species, height, width`; with arrays also what its trimap holds.

    That is the shares of `pet`, `background` and `border` (or `share of <class>`), and whether the mask is `empty`.
    """
    rows = []
    for index, pet in enumerate(pets.items):
        with Image.open(pets.trimap_path(index)) as trimap:  # its size is in the file's header
            rows.append((pet.name, pet.breed, SPECIES[pet.species], trimap.height, trimap.width))
    table = pd.DataFrame(rows, columns=["name", "breed", "species", "height", "width"])
    if arrays is not None:
        values = tuple(range(len(pets.classes))) or TRIMAP_VALUES
        names = [f"share of {name}" for name in pets.classes] or ["pet", "background", "border"]
        table[names] = trimap_shares(arrays, values)
        table["empty"] = [_is_empty(pets, trimap) for trimap in arrays.trimaps]
    return table


def trimap_shares(arrays: Arrays, values: tuple[int, ...] = TRIMAP_VALUES) -> np.ndarray:
    """Share of each of the values (1, 2, 3 of trimaps, or class indices) in each image, `float64 [N, len(values)]`."""
    return np.array([[(trimap == value).mean() for value in values] for trimap in arrays.trimaps])


def check_pets(pets: Pets, progress: Callable[[Iterable], Iterable] = iter) -> tuple[list[str], list[str]]:
    """Decode every image and trimap, compare their sizes, and check the lists.

    Returns what is wrong, a sentence each, and the names of the images whose trimap is all background.
    """

    def look(index: int) -> tuple[str, bool]:
        try:
            return "", _is_empty(pets, pets.pair(index)[1])
        except LabError as error:
            return str(error), False

    problems, empty = zip(*progress(in_threads(look, range(len(pets)))), strict=True)
    problems = [sentence for sentence in problems if sentence]
    for family in pets.families():
        try:
            parts = pets.parts(family)
            # lists for scores alone need no more than tests
            trains = not parts or {"train", "valid"} & parts.keys()
            for part in dict.fromkeys([*parts, *(("train", "valid") if trains else ())]):
                pets.split(part, family)
        except LabError as error:
            problems.append(str(error))
    return problems, [pet.name for pet, found in zip(pets.items, empty, strict=True) if found]


def _is_empty(pets: Pets, trimap: np.ndarray) -> bool:
    return bool(np.isin(trimap, (0, IGNORED) if pets.classes else (2,)).all())
