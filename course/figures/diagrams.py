"""A diagram of any network that turns an image into a map, from the shapes and data flow of a forward pass."""

from matplotlib.figure import Figure
from torch import nn

from course.figures.layout import Layout, Place, channels_of, size_of, thickness
from course.figures.sheet import (
    LINE,
    QUIET,
    Color,
    Entry,
    Point,
    Sheet,
    legend_height,
    legend_rows,
    rgb,
)
from course.figures.stages import Skip, Stages, stages
from labkit.models import count_parameters
from labkit.painting import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

TALLEST, SHRINK, GAP = 0.8, 0.8, 0.5  # inches: a box at level 0; from level to level; the space between two levels
CLEAR = 0.03  # inches between an arrow and a box
OWN, COPY = rgb(SKY, 0.35), rgb(ORANGE, 0.25)
SKIP, SIGNAL = (0.45, 0.45, 0.45), rgb(ORANGE)
FAMILIES = {"conv": BLUE, "down": VERMILION, "up": GREEN, "frame": (70, 70, 70), "head": PURPLE}
SHADES = (1.0, 0.55, 1.3, 0.3, 1.6)  # the kinds of one family: in its color, darker, lighter, ...


def architecture(model: nn.Module, size: int = 128, in_channels: int = 3, width: float = 8.5) -> Figure:
    """Draw a network: feature maps as boxes, the ways between them as arrows, its skips dashed.

    Nothing is known of the network beforehand: one forward pass tells all (see `stages`). A box is as high as its
    scale and as wide as its channels (their cube root); channels stand above, height × width below; what is orange
    came over a skip.

    Args:
        model: takes `float [1, in_channels, size, size]` and gives a square map `[1, K, S, S]`; is left as it was.
        size: side of the image in pixels.
        in_channels: channels of the image.
        width: of the figure in inches.

    Raises:
        LabError: the network does not take such an image, or gives something else than a map.
    """
    found = stages(model, size, in_channels)
    return draw(found, title(model, size, found.multiply_adds), width)


def draw(found: Stages, words: str, width: float = 8.5) -> Figure:
    """Draw stages that were found before, `words` above them."""
    return _Drawing(found, width, words).sheet.figure


def title(model: nn.Module, size: int, multiply_adds: int) -> str:
    """The name of a network and what it costs, in one line."""
    unit, name = next(((u, n) for u, n in ((10**9, " G"), (10**6, " M"), (10**3, " k")) if multiply_adds >= u), (1, ""))
    number = f"{multiply_adds / unit:#.3g}".rstrip(".") if name else f"{multiply_adds}"
    cost = f"{count_parameters(model):,} parameters, {number}{name} multiply-adds"
    return f"{type(model).__name__}: {cost} at {size}×{size}"


class _Drawing:
    """Levels from top to bottom, columns from left to right."""

    def __init__(self, found: Stages, width: float, words: str):
        self.boxes, self.arrows, self.skips = found.boxes, found.arrows, found.skips
        self.layout = Layout(found)
        self.colors = self._colors()
        rows = legend_rows(self._entries(), width - 0.1)
        levels = range(min(box.level for box in found.boxes), max(box.level for box in found.boxes) + 1)
        heights = {level: TALLEST * SHRINK ** max(level, 0) for level in levels}
        drawing = sum(heights.values()) + GAP * (len(levels) - 1)
        foot, head = legend_height(len(rows)) + 0.12 + 1.4 * LINE, 0.3 + 2.2 * LINE
        self.sheet = Sheet(width, foot + drawing + head)
        top, centers = foot + drawing, {}
        for level in levels:
            centers[level] = top - heights[level] / 2
            top -= heights[level] + GAP
        self.places = [
            Place(x, centers[box.level], wide, heights[box.level], column)
            for box, column, x, wide in zip(self.boxes, self.layout.columns, *self.layout.across(width), strict=True)
        ]
        self.sheet.text(width / 2, self.sheet.height - 0.1, words, "center", "top")
        for number in range(len(self.boxes)):
            self._draw_box(number)
        for number in range(len(self.arrows)):
            self._draw_arrow(number)
        for skip in self.skips:
            self._draw_skip(skip)
        self.sheet.legend(rows)

    def _colors(self) -> dict[tuple[str, str], Color]:
        colors: dict[tuple[str, str], Color] = {}
        for arrow in self.arrows:
            kin = sum(family == arrow.family for family, _ in colors)
            shade = SHADES[kin % len(SHADES)]
            base = rgb(FAMILIES[arrow.family])
            shaded = tuple(value * shade if shade <= 1 else 1 - (1 - value) / shade for value in base)
            colors.setdefault((arrow.family, arrow.words), shaded)
        return colors

    def _entries(self) -> list[Entry]:
        entries = [Entry(words, color) for (_, words), color in self.colors.items()]
        entries += [Entry(words, SKIP, dashed=True) for words in dict.fromkeys(skip.words for skip in self.skips)]
        entries += [Entry("attention gate", None)] if any(skip.gated for skip in self.skips) else []
        return entries + ([Entry("gating signal", SIGNAL)] if any(skip.signals for skip in self.skips) else [])

    def _draw_box(self, i: int) -> None:
        box, place = self.boxes[i], self.places[i]
        left, whole = place.left, sum(thickness(channels) for channels, _ in box.parts)
        for channels, copied in box.parts:
            share = place.width * thickness(channels) / whole
            self.sheet.box(left, place.bottom, share, place.height, COPY if copied else OWN)
            left += share
        self.sheet.text(place.x, place.top + CLEAR, channels_of(box), "center", "bottom")
        if i in (0, len(self.boxes) - 1):
            self.sheet.text(place.x, place.top + CLEAR + LINE, "output" if i else "image", "center", "bottom", QUIET)
        if self.layout.shows_size(i):
            side = self.layout.size_side(i)
            x = place.x + {"left": 0.05, "center": 0.0, "right": -0.05}[side]
            self.sheet.text(x, place.bottom - 0.05, size_of(box), side, "top", QUIET)

    def _draw_arrow(self, i: int) -> None:
        arrow, way, a, b = self.arrows[i], self.layout.ways[i], self.places[i], self.places[i + 1]
        start, end = a.right + CLEAR, b.left - CLEAR
        over = b.top + LINE + 0.04  # above the channels
        if way == 0:
            lower = any((skip.start, skip.end) == (i, i + 1) for skip in self.skips)  # the skip goes above it
            y = a.y - 0.2 * a.height * lower
            points: list[Point] = [(start, y), (end, y)]
        elif a.column == b.column:
            points = [(a.x, a.bottom - CLEAR), (b.x, over)] if way > 0 else [(a.x, a.top + LINE + 0.04)]
            points += [(b.x, b.bottom - CLEAR)] if way < 0 else []
        elif way < 0:
            points = [(start, a.y), (b.x, a.y), (b.x, b.bottom - CLEAR)]
        elif self.layout.enters_below(i):
            points = [(start, a.y), (b.x, a.y), (b.x, over)]
        else:
            points = [(a.x, a.bottom - CLEAR), (a.x, b.y), (end, b.y)]
        self.sheet.arrow(points, self.colors[arrow.family, arrow.words])

    def _draw_skip(self, skip: Skip) -> None:
        a, b = self.places[skip.start], self.places[skip.end]
        start, end, y = a.right + CLEAR, b.left - CLEAR, a.y
        points: list[Point] = [(start, y), (end, y)]
        if skip.end == skip.start + 1:
            points = [(x, y + 0.2 * a.height) for x, _ in points]
        elif any(place.y == a.y and a.column < place.column < b.column for place in self.places):
            over, y = a.top + LINE + 0.1, a.y + 0.3 * a.height
            points = [
                (start, y),
                (start + 0.06, y),
                (start + 0.06, over),
                (end - 0.11, over),
                (end - 0.11, y),
                (end, y),
            ]
        self.sheet.arrow(points, SKIP, dashed=True)
        if skip.gated:
            self._draw_gate(skip, points[-1])

    def _draw_gate(self, skip: Skip, end: Point) -> None:
        x, y = end[0] - 0.26, end[1]
        sources = [self.places[i] for i in skip.signals]
        for source in sources:  # the signal rises between its box and the one before
            before = max((p.right for p in self.places if p.y == source.y and p.right < source.left), default=0.0)
            x = min(x, source.left - 0.4 * (source.left - before))
        x = max(x, self.places[skip.start].right + 0.2)
        for source in sources:
            level = source.y + 0.28 * source.height
            self.sheet.arrow([(source.left - CLEAR, level), (x, level), (x, y - 0.085)], SIGNAL)
        self.sheet.gate(x, y)
