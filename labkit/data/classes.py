"""Which value in the masks is which class: counted over all masks, decided once, and kept as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageColor

from labkit.data.images import color_numbers, in_threads, read_mask
from labkit.errors import LabError, some_of
from labkit.metrics import IGNORED

if TYPE_CHECKING:
    import pandas as pd

TABLE = "mask-values.csv"
RARE = 10_000  # a class holds at least one in so many pixels
THIN = 100  # and begins at least one 2x2 square in so many of its own
PHOTO = 1000  # more values than any mask has


@dataclass(frozen=True)
class Classes:
    """What each value in the masks of a data set stands for."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    """The value of each class, the background first."""
    by_index: bool
    """Whether the values are indices of palettes; elsewhere they are gray values and colors (see `read_mask`)."""
    pixels: dict[int, int]
    """How many pixels hold each value; what is no class is ignored."""

    def mask(self, path: Path) -> np.ndarray:
        """The mask in a file as class indices, `uint8 [H, W]`, 255 = ignored."""
        values, colors, place = read_mask(path)
        index = {value: index for index, value in enumerate(self.values)}
        found = values if self.by_index else _told_apart(values, colors)
        return np.array([index.get(value, IGNORED) for value in found.tolist()], np.uint8)[place]

    def table(self) -> "pd.DataFrame":
        """Value in the source, index in the imported masks, class, and share of all pixels."""
        import pandas as pd

        ignored = sorted(self.pixels.keys() - {*self.values})
        rows = [*zip(self.values, range(len(self.values)), self.names, strict=True)]
        rows += [(value, IGNORED, "(ignored)") for value in ignored]
        table = pd.DataFrame(rows, columns=["value", "index", "class"])
        share = table["value"].map(self.pixels).fillna(0) / sum(self.pixels.values())
        return table.assign(value=table["value"].map(_shown), share=share.round(6))


def find_classes(
    paths: Sequence[Path], names: Sequence[str] = (), mask_values: Sequence[int] = (), ignore: Sequence[int] = ()
) -> Classes:
    """Count the values in all masks and decide what each stands for.

    Values are gray values or colors, or indices where all masks are palette images that agree on each index's color.
    Two values are background and foreground. Of more, a gray value or index of 255 is ignored, and each other is a
    class if it holds at least one in 10,000 of all pixels and not on thin lines alone, as smears do. The background
    is black or 0, or else the value that holds most of the images' edges; the others follow in ascending order, grays
    before colors. Names are given in that order; where each value (but 255) is below their number, it is the index of
    its name, however rare.

    `mask_values`, the values of the classes in their order, overrule all of that; those of `ignore` count for nothing.

    Raises:
        LabError: a mask cannot be read, a value is neither a class nor ignored, or classes and names differ in number.
    """
    import pandas as pd  # half a second that training need not wait for

    found = pd.concat(list(in_threads(_count, paths)), ignore_index=True)
    by_index = bool(found["indexed"].all() and (found.groupby("value")["color"].nunique() == 1).all())
    if not by_index or min([*mask_values, *ignore, 0]) < 0:  # who names colors means colors
        by_index, found["value"] = False, found["apart"]
    sums = found.groupby("value")[["pixels", "edge", "squares"]].sum()
    kept = sorted(set(sums.index) - set(ignore), key=lambda value: (value < 0, abs(value)))
    classes, odd = [value for value in kept if value != IGNORED], []
    if mask_values:
        values, odd = list(mask_values), [value for value in kept if value not in mask_values]
    elif len(classes) > 1 and set(classes) <= set(range(len(names))):
        values = list(range(len(names)))
    else:
        if len(kept) < 3 or kept[-1] < 0:  # 255 beside no two others, or white among colors
            classes = kept
        if len(kept) > 2:
            enough = (sums["pixels"] * RARE >= sums["pixels"].sum()) & (sums["squares"] * THIN >= sums["pixels"])
            odd = [value for value in classes if not enough[value]]
        black = set(found.loc[found["color"] == 0, "value"])
        values = sorted(classes, key=lambda value: (value not in black, value != 0, -sums["edge"][value]))[:1]
        values += [value for value in classes if value not in values]
    listed = [f"{_shown(v)} ({n:,} pixels)" for v, n in sums["pixels"].sort_values(ascending=False).items()]
    listed = f"the masks hold {some_of(listed, 8)}"
    if odd:
        worst = max(odd, key=lambda value: sums["pixels"][value])
        path = found.loc[found.loc[found["value"] == worst, "pixels"].idxmax(), "path"]
        rare = "have below 1 in 10,000 pixels or only thin lines, as lossy files leave"
        raise LabError(
            f"{path}: holds {_shown(worst)}, one of {len(odd)} values that {'are not named' if mask_values else rare}; "
            f"{listed}; export them without loss, or set each pixel to its nearest true value and save as PNG, or name "
            f"all classes (--mask-values 0,1) and what counts for nothing (--ignore {_shown(odd[0])})"
        )
    if not 2 <= len(values) <= IGNORED or len({*values, *ignore}) < len(values) + len(ignore):
        raise LabError(f"{paths[0]}: {listed}; name 2 to 255 classes, and no value twice")
    if names and len(names) != len(values):
        raise LabError(
            f"classes.txt: {len(names)} names for {len(values)} classes; {listed}; name each class, or say which "
            "values they are (--mask-values 0,38,75)"
        )
    names = tuple(names) or ("background", *(f"class {index}" for index in range(1, len(values))))
    return Classes(names, tuple(values), by_index, sums["pixels"].to_dict())


def parse_values(text: str) -> tuple[int, ...]:
    """Values as a user writes them, `0,38,75` or `0,#ff0000`, as numbers (see `read_mask`)."""
    try:
        words = [word.strip() for word in text.split(",")]
        colors = [(int(word),) * 3 if word.isdecimal() else ImageColor.getrgb(word)[:3] for word in words]
    except ValueError as error:
        raise LabError(f"{text!r}: {error}; write gray values or colors, such as 0,38,75 or 0,#ff0000") from None
    return tuple(color_numbers(np.array(colors)).tolist())


def _shown(value: int) -> str:
    return str(value) if value >= 0 else f"#{-value:06x}"


def _told_apart(values: np.ndarray, colors: np.ndarray | None) -> np.ndarray:
    """The colors, but for a palette that has one twice, and so does not tell its indices apart."""
    return values if colors is None or len({*colors.tolist()}) < len(colors) else colors


def _count(path: Path) -> "pd.DataFrame":
    """One row a value: its pixels, those on the image's edge, and the 2x2 squares that hold nothing else."""
    import pandas as pd

    values, colors, place = read_mask(path)
    if len(values) > PHOTO:
        raise LabError(f"{path}: holds {len(values)} values or colors; a mask holds one for each class")
    edge = np.concatenate([place[0], place[-1], place[1:-1, 0], place[1:-1, -1]])
    corner = place[:-1, :-1]
    same = (corner == place[1:, :-1]) & (corner == place[:-1, 1:]) & (corner == place[1:, 1:])
    counts = {"pixels": place.ravel(), "edge": edge, "squares": corner[same]}
    counts = {name: np.bincount(places, minlength=len(values)) for name, places in counts.items()}
    facts = {"path": path, "value": values, "apart": _told_apart(values, colors), "indexed": colors is not None}
    return pd.DataFrame(facts | {"color": values if colors is None else colors} | counts)
