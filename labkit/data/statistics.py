"""What the data are like, computed and not copied: mean, deviation, foreground, sizes, breeds, empty masks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from labkit.data.arrays import Arrays, load_arrays
from labkit.data.images import TRIMAP_VALUES
from labkit.data.lists import SPECIES
from labkit.data.pets import PARTS, Pets

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ColorStatistics:
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
    """One row an image: `name, breed, species, height, width`; with arrays also the shares of its trimap.

    Sizes are read from the files' headers. `pet`, `border`, `background` are shares of the pixels; an image
    whose trimap has neither pet nor border is `empty`. Data with classes of their own have a column
    `share of <class>` for each instead, and an image with no class but the background is `empty`.
    """
    import pandas as pd  # half a second that training need not wait for

    rows = []
    for index, pet in enumerate(pets.items):
        with Image.open(pets.trimap_path(index)) as trimap:
            width, height = trimap.size
        rows.append((pet.name, pet.breed, SPECIES[pet.species], height, width))
    table = pd.DataFrame(rows, columns=["name", "breed", "species", "height", "width"])
    if arrays is not None and pets.classes:
        shares = trimap_shares(arrays, tuple(range(len(pets.classes))))
        for name, share in zip(pets.classes, shares.T, strict=True):
            table[f"share of {name}"] = share
        table["empty"] = shares[:, 1:].sum(1) == 0
    elif arrays is not None:
        shares = trimap_shares(arrays)
        table["pet"], table["background"], table["border"] = shares.T
        table["empty"] = (shares[:, 0] + shares[:, 2]) == 0
    return table


def trimap_shares(arrays: Arrays, values: tuple[int, ...] = TRIMAP_VALUES) -> np.ndarray:
    """Share of each of the values (1, 2, 3 of trimaps, or class indices) in each image, `float64 [N, len(values)]`."""
    counts = [[(trimap == value).sum() for value in values] for trimap in arrays.trimaps]
    return np.array(counts) / arrays.size**2


def describe_pets(pets: Pets, size: int = 128, progress: Callable[[Iterable], Iterable] = iter) -> dict[str, Any]:
    """The data set in plain facts, for people and as JSON; colors and shares are counted at `size` pixels.

    Mean, deviation and foreground are of the training images of the official split alone. Data with classes of
    their own give each class's share of the pixels instead of species and foreground.
    """
    arrays, train = load_arrays(pets, size, progress), pets.split("train")
    colors, table = color_statistics(arrays, train), pet_table(pets, arrays)
    if pets.classes:
        shares = {name: round(float(table[f"share of {name}"].iloc[train].mean()), 4) for name in pets.classes}
        kinds, foreground = {"classes": len(pets.classes)}, {"class_shares": shares}
    else:
        strict, border = table["pet"].iloc[train].mean(), table["border"].iloc[train].mean()
        kinds = {"species": table["species"].value_counts().sort_index().to_dict()}
        foreground = {
            "foreground_with_border": round(float(strict + border), 4),
            "foreground_strict": round(float(strict), 4),
        }
    return {
        "data": pets.label,
        "images": len(pets),
        "split": {part: len(pets.split(part)) for part in PARTS},
        "breeds": len(pets.breeds),
        **kinds,
        "height": _range(table["height"]),
        "width": _range(table["width"]),
        "train_mean": [round(v, 4) for v in colors.mean],
        "train_std": [round(v, 4) for v in colors.std],
        **foreground,
        "empty_masks": table["name"][table["empty"]].tolist(),
    }


def _range(values: "pd.Series") -> dict[str, float]:
    return {name: float(values.quantile(q)) for name, q in (("smallest", 0), ("median", 0.5), ("largest", 1))}
