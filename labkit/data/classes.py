"""Which value in the masks is which class: counted over all masks, decided once, and kept as a table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from labkit.data.images import in_threads, read_mask
from labkit.errors import LabError, some_of
from labkit.metrics import IGNORED

THIN = 100  # a class begins at least one 2x2 square in so many of its pixels


def find_classes(paths: Sequence[Path], names: Sequence[str] = (), mask_values: Sequence[int] = ()) -> pd.DataFrame:
    """Count the values (see `read_mask`) in all masks and decide what each stands for.

    Returns one row a value: `value`, `index` in the imported masks, `class`, and `share` of all pixels.

    Two values are background and foreground. Of more, 255 is ignored, and each other is a class; none may lie on thin
    lines alone, as the smears of lossy files do. The background is black or 0, or else the value that holds most of the
    images' edges; the others follow in ascending order. Names are given in that order; where each value (but 255) is
    below their number, it is the index of its name, however thin.

    `mask_values`, the values of the classes in their order, overrule all of that; every other value is then ignored.
    LabError: a mask cannot be read, a value cannot be told to be a class, or classes and names differ in number.
    """
    counts, colors = map(np.array, zip(*in_threads(_count, paths), strict=True))
    held, (pixels, edge, squares) = counts[:, 0] > 0, counts.sum(0)
    color = colors[held.argmax(0), range(256)]  # as in the first mask that holds the value
    if len(odd := np.argwhere(held & (colors != color))):
        number, value = odd[0]
        raise LabError(
            f"{paths[number]}: the value {value} has another color than in the masks before it, and may be another "
            "class; save all masks with one palette, or as gray"
        )
    found = np.flatnonzero(pixels).tolist()
    listed = [f"{value} ({pixels[value]:,} pixels)" for value in sorted(found, key=lambda value: -pixels[value])]
    listed = f"the masks hold {some_of(listed, 8)}"
    classes, values = [value for value in found if value != IGNORED], list(mask_values)
    if not values and len(classes) > 1 and classes[-1] < len(names):
        values = list(range(len(names)))
    elif not values:
        classes = classes if len(found) > 2 else found  # 255 beside one other value is a class
        thin = [value for value in classes if squares[value] * THIN < pixels[value]]
        if thin and len(found) > 2:
            worst = max(thin, key=lambda value: pixels[value])
            raise LabError(
                f"{paths[counts[:, 0, worst].argmax()]}: holds {worst}, one of {len(thin)} values that lie on thin "
                f"lines alone, as lossy files leave them; {listed}; export the masks without loss, or name the classes "
                "(--mask-values 0,1): then all other values are ignored"
            )
        background = max(classes, key=lambda value: (color[value] == 0, edge[value]))
        values = [background, *(value for value in classes if value != background)]
    if len({*values} & {*found}) < 2 or not len({*values} & {*range(256)}) == len(values) <= IGNORED:
        raise LabError(f"{paths[0]}: {listed}; name 2 to 255 classes, and no value twice (--mask-values 0,1)")
    if names and len(names) != len(values):
        raise LabError(
            f"classes.txt: {len(names)} names for {len(values)} classes; {listed}; name each class, or say which "
            "values they are (--mask-values 0,38,75)"
        )
    names = names or ["background", *(f"class {index}" for index in range(1, len(values)))]
    rows = [*zip(values, range(len(values)), names, strict=True)]
    rows += [(value, IGNORED, "(ignored)") for value in found if value not in values]
    table = pd.DataFrame(rows, columns=["value", "index", "class"])
    return table.assign(share=(pixels[table["value"]] / pixels.sum()).round(6))


def class_mask(path: Path, classes: pd.DataFrame) -> np.ndarray:
    """The mask in a file as class indices of `find_classes`, `uint8 [H, W]`, 255 = ignored."""
    index = np.full(256, IGNORED, np.uint8)
    index[classes["value"]] = classes["index"]
    return index[read_mask(path)[0]]


def parse_values(text: str) -> tuple[int, ...]:
    """Values as a user writes them, `0,38,75`, as numbers."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise LabError(f"{text!r}: write the values of the classes, the background first, such as 0,38,75") from None


def _count(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of each value its pixels, those on the image's edge, and the 2x2 squares of it, `[3, 256]`; and its color."""
    mask, colors = read_mask(path)
    edge = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    corner = mask[:-1, :-1]
    same = (corner == mask[1:, :-1]) & (corner == mask[:-1, 1:]) & (corner == mask[1:, 1:])
    return np.array([np.bincount(values, minlength=256) for values in (mask.ravel(), edge, corner[same])]), colors
