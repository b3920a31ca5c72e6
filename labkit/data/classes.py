"""Which value in the masks is which class: counted over all masks, decided once, and kept as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labkit.data.images import in_threads, read_mask
from labkit.errors import LabError, some_of
from labkit.metrics import IGNORED

if TYPE_CHECKING:
    import pandas as pd

THIN = 100  # a class begins at least one 2x2 square in so many of its pixels


def class_mask(path: Path, classes: "pd.DataFrame") -> np.ndarray:
    """The mask in a file as class indices of `find_classes`, `uint8 [H, W]`, 255 = ignored."""
    values, _, place = read_mask(path)
    index = dict(zip(classes["value"], classes["index"], strict=True))
    return np.array([index[value] for value in values.tolist()], np.uint8)[place]


def find_classes(paths: Sequence[Path], names: Sequence[str] = (), mask_values: Sequence[int] = ()) -> "pd.DataFrame":
    """Count the values (see `read_mask`) in all masks and decide what each stands for.

    Returns one row a value: `value`, `index` in the imported masks, `class`, and `share` of all pixels.

    Two values are background and foreground. Of more, 255 is ignored, and each other is a class; none may lie on thin
    lines alone, as the smears of lossy files do. The background is black or 0, or else the value that holds most of the
    images' edges; the others follow in ascending order. Names are given in that order; where each value (but 255) is
    below their number, it is the index of its name, however thin.

    `mask_values`, the values of the classes in their order, overrule all of that; every other value is then ignored.

    Raises:
        LabError: a mask cannot be read, a value cannot be told to be a class, or classes and names differ in number.
    """
    import pandas as pd  # half a second that training need not wait for

    found = pd.concat(list(in_threads(_count, paths)), ignore_index=True)
    sums = found.groupby("value")[["pixels", "edge", "squares"]].sum()
    first_colors = found["value"].map(found.groupby("value")["color"].first())
    if len(other := found[found["color"] != first_colors]):
        raise LabError(
            f"{other['path'].iloc[0]}: the value {other['value'].iloc[0]} has another color than in the masks before "
            "it, and may be another class; save all masks with one palette, or as gray"
        )
    listed = [f"{value} ({n:,} pixels)" for value, n in sums["pixels"].sort_values(ascending=False).items()]
    listed = f"the masks hold {some_of(listed, 8)}"
    values, held = list(mask_values), [value for value in sums.index if value != IGNORED]
    if not values and len(held) > 1 and held[-1] < len(names):
        values = list(range(len(names)))
    elif not values:
        held = held if len(sums) > 2 else list(sums.index)
        if len(sums) > 2 and (
            thin := [value for value in held if sums["squares"][value] * THIN < sums["pixels"][value]]
        ):
            worst = max(thin, key=lambda value: sums["pixels"][value])
            path = found.loc[found.loc[found["value"] == worst, "pixels"].idxmax(), "path"]
            raise LabError(
                f"{path}: holds {worst}, one of {len(thin)} values that lie on thin lines alone, as lossy files leave "
                f"them; {listed}; export the masks without loss, or name the classes (--mask-values 0,1): then all "
                "other values are ignored"
            )
        black = {*found.loc[found["color"] == 0, "value"]}
        background = max(held, key=lambda value: (value in black, sums["edge"][value]))
        values = [background, *(value for value in held if value != background)]
    if not len({*values}) == len(values) <= IGNORED or len({*values} & {*sums.index}) < 2:
        raise LabError(f"{paths[0]}: {listed}; name 2 to 255 classes, and no value twice (--mask-values 0,1)")
    if names and len(names) != len(values):
        raise LabError(
            f"classes.txt: {len(names)} names for {len(values)} classes; {listed}; name each class, or say which "
            "values they are (--mask-values 0,38,75)"
        )
    names = names or ["background", *(f"class {index}" for index in range(1, len(values)))]
    rows = [*zip(values, range(len(values)), names, strict=True)]
    rows += [(value, IGNORED, "(ignored)") for value in sums.index if value not in values]
    table = pd.DataFrame(rows, columns=["value", "index", "class"])
    return table.assign(share=(table["value"].map(sums["pixels"]).fillna(0) / sums["pixels"].sum()).round(6))


def parse_values(text: str) -> tuple[int, ...]:
    """Values as a user writes them, `0,38,75`, as numbers."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise LabError(f"{text!r}: write the values of the classes, the background first, such as 0,38,75") from None


def _count(path: Path) -> "pd.DataFrame":
    """One row a value: its color, its pixels, those on the image's edge, and the 2x2 squares that hold nothing else."""
    import pandas as pd

    values, colors, place = read_mask(path)
    edge = np.concatenate([place[0], place[-1], place[1:-1, 0], place[1:-1, -1]])
    corner = place[:-1, :-1]
    same = (corner == place[1:, :-1]) & (corner == place[:-1, 1:]) & (corner == place[1:, 1:])
    counts = {"pixels": place.ravel(), "edge": edge, "squares": corner[same]}
    counts = {name: np.bincount(places, minlength=len(values)) for name, places in counts.items()}
    return pd.DataFrame({"path": path, "value": values, "color": colors} | counts)
