"""What the data are like, computed and not copied: mean, deviation, shares of the classes, sizes, empty masks."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from labkit.data.arrays import Arrays, load_arrays
from labkit.data.images import TRIMAP_VALUES
from labkit.data.lists import SPECIES
from labkit.data.pets import PARTS, Pets

if TYPE_CHECKING:
    import pandas as pd


class ColorStatistics(NamedTuple):
    """Mean and standard deviation per channel (red, green, blue) of images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def color_statistics(arrays: Arrays, indices: np.ndarray) -> ColorStatistics:
    """Mean and standard deviation over all pixels of the images at `indices`.

    Counted from exact histograms of the 256 values, so that neither order nor float rounding matters.
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
        table[_share_columns(pets)] = trimap_shares(arrays, values)
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
        "train_shares": table.loc[train, _share_columns(pets)].mean().round(4).to_dict(),
        "empty_masks": table["name"][table["empty"]].tolist(),
    }


def _share_columns(pets: Pets) -> list[str]:
    return [f"share of {name}" for name in pets.classes] or ["pet", "background", "border"]
