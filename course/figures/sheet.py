"""A sheet of paper to draw diagrams on: boxes, arrows, texts, a legend; one unit is an inch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle

Point = tuple[float, float]
Color = tuple[float, ...]

FONT = 9  # points: still 7 where 8.5 inches are printed 17 cm wide
LINE = 0.155  # inches from one line of text to the next
HEAD = 0.11  # length of an arrow's head
SAMPLE = 0.36  # length of an arrow in the legend
QUIET: Color = (0.35, 0.35, 0.35)


def rgb(color: Sequence[int], paleness: float = 0.0) -> Color:
    """A color of `painting` for matplotlib, mixed with white."""
    return tuple((1 - paleness) * value / 255 + paleness for value in color)


@dataclass(frozen=True)
class Entry:
    """A line of the legend: an arrow of a color, or a gate where there is none."""

    words: str
    color: Color | None
    dashed: bool = False


class Sheet:
    """An empty figure of `width` x `height` inches; the origin is the lower left corner."""

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")

    def text(self, x: float, y: float, words: str, ha: str, va: str, color: Color = (0, 0, 0)) -> None:
        self.axes.text(x, y, words, ha=ha, va=va, fontsize=FONT, color=color)

    def box(self, left: float, bottom: float, width: float, height: float, color: Color) -> None:
        style = {"facecolor": color, "edgecolor": "black", "linewidth": 0.7, "clip_on": False}
        self.axes.add_patch(Rectangle((left, bottom), width, height, **style))

    def arrow(self, points: Sequence[Point], color: Color, dashed: bool = False) -> None:
        """An arrow along the points, whose last piece is level or upright."""
        (x0, y0), (x, y) = points[-2:]
        along = (x > x0) - (x < x0), (y > y0) - (y < y0)
        back = x - HEAD * along[0], y - HEAD * along[1]
        style = {"linestyle": (0, (4, 2)), "linewidth": 1.2} if dashed else {"linewidth": 1.6}
        style |= {"solid_capstyle": "butt", "solid_joinstyle": "miter", "clip_on": False}
        xs, ys = zip(*points[:-1], back, strict=True)
        self.axes.plot(xs, ys, color=color, **style)
        half = 0.4 * HEAD * along[1], 0.4 * HEAD * along[0]
        wings = [(back[0] + sign * half[0], back[1] + sign * half[1]) for sign in (1, -1)]
        self.axes.add_patch(Polygon([(x, y), *wings], facecolor=color, edgecolor="none", zorder=3, clip_on=False))

    def gate(self, x: float, y: float, radius: float = 0.075) -> None:
        """A circle with a cross: what comes is multiplied."""
        style = {"facecolor": "white", "edgecolor": "black", "linewidth": 1.0, "clip_on": False}
        self.axes.add_patch(Circle((x, y), radius, zorder=5, **style))
        d = 0.6 * radius
        for sign in (-1, 1):
            self.axes.plot((x - d, x + d), (y - sign * d, y + sign * d), "k", lw=1.0, zorder=6, clip_on=False)

    def legend(self, rows: Sequence[Sequence[Entry]]) -> None:
        """Rows of entries at the foot, in the middle."""
        for number, row in enumerate(reversed(rows)):
            x = (self.width - sum(map(entry_width, row)) + 0.2) / 2
            y = legend_height(1) * (number + 0.5) + 0.06
            for entry in row:
                if entry.color is None:
                    self.gate(x + SAMPLE / 2, y, 0.065)
                else:
                    self.arrow([(x, y), (x + SAMPLE, y)], entry.color, entry.dashed)
                self.text(x + SAMPLE + 0.06, y - 0.005, entry.words, "left", "center")
                x += entry_width(entry)


def legend_rows(entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    """Entries in rows that fit a sheet of this width."""
    rows: list[list[Entry]] = [[]]
    for entry in entries:
        if rows[-1] and sum(map(entry_width, [*rows[-1], entry])) > width:
            rows.append([])
        rows[-1].append(entry)
    return rows


def legend_height(rows: int) -> float:
    """Height of a legend in inches."""
    return 1.25 * LINE * rows


def entry_width(entry: Entry) -> float:
    """Width of an entry of the legend in inches, with the space to the next one."""
    return text_width(entry.words) + SAMPLE + 0.26


@cache
def text_width(words: str) -> float:
    """Width of a text on a sheet, in inches."""
    figure = Figure(figsize=(1, 1), dpi=100)
    extent = figure.text(0, 0, words, fontsize=FONT).get_window_extent(FigureCanvasAgg(figure).get_renderer())
    return float(extent.width) / figure.dpi
