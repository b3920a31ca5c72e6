"""Where the boxes and texts of a diagram go: columns, widths, and sides on which there is room."""

from dataclasses import dataclass
from itertools import pairwise

from course.figures.sheet import text_width
from course.figures.stages import Box, Stages

MARGIN = 0.36  # inches left and right of the drawing
WIDTHS = (0.05, 0.045, 0.04, 0.035, 0.03, 0.025, 0.02)  # inches of a box with one channel: the first that fits


@dataclass(frozen=True)
class Place:
    """Where a box stands: its center and its sides in inches."""

    x: float
    y: float
    width: float
    height: float
    column: int

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        return self.y - self.height / 2


class Layout:
    """The plan of a drawing: `columns` of the boxes from left to right, `ways` of the arrows (down is positive)."""

    def __init__(self, found: Stages):
        self.boxes, self.arrows, self.skips = found.boxes, found.arrows, found.skips
        self.ways = [b.level - a.level for a, b in pairwise(found.boxes)]
        self.columns = self._columns()

    def _columns(self) -> list[int]:
        """Straight below or above the box before where only the scale changes, else one further."""
        columns, taken = [0], {(0, self.boxes[0].level)}
        for arrow, box in zip(self.arrows, self.boxes[1:], strict=True):
            columns.append(columns[-1] + (not arrow.steep or (columns[-1], box.level) in taken))
            taken.add((columns[-1], box.level))
        return columns

    def across(self, width: float) -> tuple[list[float], list[float]]:
        """The place of each box and its width on a sheet: as wide as fits, and no text upon another."""
        room, last = width - 2 * MARGIN, self.columns[-1]
        for unit in WIDTHS:
            widths = [unit * sum(thickness(channels) for channels, _ in box.parts) for box in self.boxes]
            apart = [0.0] * last
            for i, a in enumerate(self.columns):
                for j in (j for j, b in enumerate(self.columns) if b == a + 1):
                    apart[a] = max(apart[a], (widths[i] + widths[j]) / 2 + 0.27, self._text_room(i, j))
                    if any(skip.gated and (skip.start, skip.end) == (i, j) for skip in self.skips):
                        apart[a] = max(apart[a], (widths[i] + widths[j]) / 2 + 0.57)
            if sum(apart) <= room:
                break
        spare = min((room - sum(apart)) / max(1, last), 0.5)
        start = (width - sum(apart) - spare * last) / 2
        return [start + sum(apart[:column]) + spare * column for column in self.columns], widths

    def _text_room(self, i: int, j: int) -> float:
        """The least distance of two boxes in neighboring columns at which their texts stay apart."""
        if self.boxes[i].level != self.boxes[j].level:
            return 0.0
        room = (text_width(channels_of(self.boxes[i])) + text_width(channels_of(self.boxes[j]))) / 2 + 0.08
        if self.shows_size(i) and self.shows_size(j):
            rightward = {"left": 1.0, "center": 0.5, "right": 0.0}
            right = text_width(size_of(self.boxes[i])) * rightward[self.size_side(i)]
            left = text_width(size_of(self.boxes[j])) * (1 - rightward[self.size_side(j)])
            room = max(room, left + right + 0.2)
        return room

    def enters_below(self, i: int) -> bool:
        return i > 0 and self.ways[i - 1] < 0

    def leaves_below(self, i: int) -> bool:
        return i < len(self.ways) and self.ways[i] > 0 and not self.enters_below(i)

    def size_side(self, i: int) -> str:
        """How the size below a box is aligned: beside an arrow, if there is one, on the inner side of the U."""
        return "left" if self.leaves_below(i) else "right" if self.enters_below(i) else "center"

    def shows_size(self, i: int) -> bool:
        """Once for neighbors on a level that have the same: at the one without an arrow below, else at the first."""
        free = self.size_side(i) == "center"
        for j in (i - 1, i + 1):
            if 0 <= j < len(self.boxes) and _twins(self.boxes[i], self.boxes[j]):
                other_free = self.size_side(j) == "center"
                if (other_free and not free) or (j < i and other_free == free):
                    return False
        return True


def thickness(channels: int) -> float:
    """The width of a box in those of a box with one channel; the cube root, so that 1024 fit beside 64."""
    return channels ** (1 / 3)


def channels_of(box: Box) -> str:
    """The text above a box."""
    return "+".join(f"{channels}" for channels, _ in box.parts)


def size_of(box: Box) -> str:
    """The text below a box."""
    return f"{box.side}×{box.side}"


def _twins(a: Box, b: Box) -> bool:
    return (a.level, a.side) == (b.level, b.side)
