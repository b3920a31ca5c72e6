"""A diagram of a network from its stages: boxes are feature maps, arrows are operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from torch import nn

from course.stages import network_stages, stage_table
from labkit.models import count_parameters
from labkit.painting import BLUE, GREEN, ORANGE, PURPLE, VERMILION

WIDTH, MARGIN, CLEAR = 8.5, 0.36, 0.03  # inches: of the figure; left and right of the drawing; from a box to an arrow
FONT, LINE, LETTER = 9, 0.155, 0.084  # points; inches from line to line, and of a wide letter
TALLEST, SHRINK, GAP = 0.8, 0.8, 0.5  # inches: a box at scale 1/1; from scale to scale; the space between two scales
SHADES = (1.0, 0.45, 2.0, 0.25, 3.0)  # steps of one family: in its color, darker, lighter, ...
RESIZING = {"max pool", "up-convolution", "bilinear interpolation"}  # drawn straight down or up
DASHED, SIGNAL, OWN, COPY = "0.45", tuple(value / 255 for value in ORANGE), "#92cef0", "#ecb740"


@dataclass(eq=False)
class Box:
    """A feature map: the step that computed it; its concatenated parts, each with channels and whether it is a skip."""

    step: str
    parts: list[tuple[int, bool]]
    level: int
    side: int
    skip: "Box | None" = None  # its source
    skip_words: str = ""
    gated: bool = False
    signal: "Box | None" = None  # what steers the gate
    column: int = 0
    x: float = 0.0  # of the center, in inches
    y: float = 0.0
    width: float = 0.0

    @property
    def height(self) -> float:
        return TALLEST * SHRINK**self.level

    @property
    def ends(self) -> tuple[float, float, float, float]:
        """Where arrows may end: left, right, below, and above, over the number of channels."""
        beside, under = self.width / 2 + CLEAR, self.height / 2 + CLEAR
        return self.x - beside, self.x + beside, self.y - under, self.y + under + LINE

    @property
    def words(self) -> tuple[str, str]:  # above the box and below it
        return "+".join(f"{channels}" for channels, _ in self.parts), f"{self.side}×{self.side}"


def architecture(model: nn.Module, size: int = 128, in_channels: int = 3) -> Figure:
    """Draw a network: feature maps as boxes, operations as arrows, skips dashed.

    A box's height is its scale, its width the cube root of its channels; orange channels came over a skip.

    Args:
        model: a network whose stages are known to `network_stages`; it is not changed.
        size: side of the image in pixels.
        in_channels: channels of the image.

    Raises:
        LabError: the network does not take such an image, or its stages are not registered.
    """
    boxes, multiply_adds = _boxes(model, size, in_channels)
    figure, colors = Figure(figsize=(WIDTH, 1)), _colors(boxes)
    sizes = _arrange(boxes, foot=_legend(figure, colors, boxes) + 1.4 * LINE)
    figure.set_size_inches(WIDTH, height := boxes[0].ends[3] + 0.3 + LINE)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height), xticks=[], yticks=[], frame_on=False)
    style = {"ha": "center", "va": "bottom", "fontsize": FONT}
    costs = f"{count_parameters(model):,} parameters, {multiply_adds / 1e9:.3g} G multiply-adds at {size}×{size}"
    axes.text(WIDTH / 2, height - 0.1 - LINE, f"{type(model).__name__}: {costs}", **style)
    for box, words in ((boxes[0], "image"), (boxes[-1], "output")):
        axes.text(box.x, box.ends[3], words, **style, color="0.35")
    for box in boxes:
        left, whole = box.x - box.width / 2, sum(channels ** (1 / 3) for channels, _ in box.parts)
        for channels, copied in box.parts:
            share, corner = box.width * channels ** (1 / 3) / whole, (left, box.y - box.height / 2)
            axes.add_patch(Rectangle(corner, share, box.height, fc=COPY if copied else OWN, ec="k", lw=0.7))
            left += share
        axes.text(box.x, box.ends[3] - LINE, box.words[0], **style)
        if box in sizes:
            x, ha = box.x + 0.05 - 0.1 * sizes[box], ("left", "center", "right")[round(2 * sizes[box])]
            axes.text(x, box.ends[2] - 0.02, box.words[1], ha=ha, va="top", fontsize=FONT, color="0.35")
    for a, b in pairwise(boxes):
        axes.add_patch(_arrow(_corners(a, b), colors[b.step]))
        if b.skip:
            _draw_skip(axes, b.skip, b, boxes)
    return figure


def _boxes(model: nn.Module, size: int, in_channels: int) -> tuple[list[Box], int]:
    """A box for every step of every stage; a skip joins the box before the stage's last step. And the multiply-adds."""
    boxes, sources = [Box("", [(in_channels, False)], 0, size)], {}
    table = stage_table(model, size, in_channels)
    for stage, side_in, side in zip(network_stages(model), table["height_in"], table["height"], strict=True):
        if stage.kind.startswith("attention gate"):
            sources[stage.name] = sources[stage.skip][0], True, boxes[-1] if "signal" in stage.kind else None
            continue
        level, (*before, last) = stage.scale.bit_length() - 1, stage.kind.split("; ")
        for step in before:
            parts = [(stage.channels, False)] if "convolution" in step else boxes[-1].parts
            boxes.append(Box(step, parts, level, max(side, side_in)))
        if stage.skip:
            end = boxes[-1]
            end.skip, end.gated, end.signal = sources[stage.skip]
            end.skip_words = "skip: cropped copy" if end.skip.side > end.side else "skip: copy"
            copied = [(channels, True) for channels, _ in end.skip.parts]
            end.parts = {"first": copied + end.parts, "last": end.parts + copied}[stage.join]
        boxes.append(Box(last, [(stage.channels, False)], level, side))
        sources[stage.name] = boxes[-1], False, None
    return boxes, table["multiply_adds"].sum()


def _shaded(color: Sequence[float], shade: float) -> tuple[float, ...]:
    """Darker below 1, lighter above."""
    return tuple(c / 255 * shade if shade <= 1 else 1 - (1 - c / 255) / shade for c in color)


def _colors(boxes: Sequence[Box]) -> dict[str, tuple[float, ...]]:
    """Of each step: ways down, up and on have their colors, the head and the frame around the network theirs."""
    families: dict[str, tuple[int, int, int]] = {}
    for a, b in pairwise(boxes):
        color = VERMILION if b.level > a.level else GREEN if b.level < a.level else BLUE
        color = (70, 70, 70) if b.step in ("mirror padding", "crop") else color
        families.setdefault(b.step, PURPLE if "head" in b.step else color)
    kin = {step: [s for s in families if families[s] == color].index(step) for step, color in families.items()}
    return {step: _shaded(color, SHADES[kin[step]]) for step, color in families.items()}


def _arrange(boxes: list[Box], foot: float) -> dict[Box, float]:
    """Place the boxes, as wide as fits and no text upon another; returns how much of a size stands left of x."""
    changes = [0, *(b.level - a.level for a, b in pairwise(boxes)), 0]
    aligned = [1.0 if a < 0 else 0.0 if b > 0 else 0.5 for a, b in pairwise(changes)]  # beside arrows
    runs = groupby(zip(boxes, aligned, strict=True), key=lambda place: (place[0].level, place[0].side))
    sizes = dict(min(run, key=lambda place: place[1] != 0.5) for _, run in runs)  # one for neighbors of equal size
    reach = {}  # how far a box's texts reach to the left and to the right of its center
    for box in boxes:
        above, below = LETTER * len(box.words[0]), (LETTER * len(box.words[1]) + 0.05) * (box in sizes)
        reach[box] = [max(above / 2, below * share) for share in (sizes.get(box, 0), 1 - sizes.get(box, 0))]
    for a, b in pairwise(boxes):
        straight = b.level != a.level and b.step.removesuffix(", 1×1 convolution") in RESIZING
        b.column = a.column if straight else a.column + 1
    for thickness in (0.05, 0.045, 0.04, 0.035, 0.03, 0.025, 0.02):  # of one channel: the first that fits
        apart = [0.0] * boxes[-1].column
        for box in boxes:
            box.width = thickness * sum(channels ** (1 / 3) for channels, _ in box.parts)
        for a, b in ((a, b) for a in boxes for b in boxes if b.column == a.column + 1):
            needed = (a.width + b.width) / 2 + (0.57 if b.skip is a and b.gated else 0.27)
            texts = reach[a][1] + reach[b][0] + 0.08 if a.level == b.level else 0.0
            apart[a.column] = max(apart[a.column], needed, texts)
        spare = (WIDTH - 2 * MARGIN - sum(apart)) / len(apart)
        if spare >= 0:
            break
    apart = [needed + min(spare, 0.5) for needed in apart]
    for box in boxes:
        box.x = (WIDTH - sum(apart)) / 2 + sum(apart[: box.column])
        deeper = range(box.level + 1, max(box.level for box in boxes) + 1)
        box.y = foot + sum(TALLEST * SHRINK**level + GAP for level in deeper) + box.height / 2
    return sizes


def _corners(a: Box, b: Box) -> list[tuple[float, float]]:
    """Of the arrow from one box to the next."""
    (_, start, below, above), (end, _, bottom, top) = a.ends, b.ends
    if a.level == b.level:
        y = a.y - 0.2 * a.height * (b.skip is a)  # below the skip
        return [(start, y), (end, y)]
    if a.column == b.column:
        return [(a.x, below), (b.x, top)] if b.level > a.level else [(a.x, above), (b.x, bottom)]
    return [(a.x, below), (a.x, b.y), (end, b.y)] if b.level > a.level else [(start, a.y), (b.x, a.y), (b.x, bottom)]


def _arrow(points: Sequence[tuple[float, float]], color: object) -> FancyArrowPatch:
    style = {"lw": 1.6, "color": color, "capstyle": "butt", "joinstyle": "miter", "mutation_scale": 8}
    return FancyArrowPatch(path=Path(points), arrowstyle="-|>,head_width=0.35,head_length=0.9", **style)


def _draw_skip(axes: Axes, a: Box, b: Box, boxes: Sequence[Box]) -> None:
    start, end, y = a.ends[1], b.ends[0] - 0.05, a.y
    points = [(start, y), (end, y)]
    if boxes.index(b) == boxes.index(a) + 1:
        points = [(x, y + 0.2 * a.height) for x, _ in points]  # above the arrow
    elif any(box.y == y and a.column < box.column < b.column for box in boxes):  # over their heads
        over, y = a.ends[3] + 0.07, y + 0.3 * a.height
        points = [(start, y), (start + 0.06, y), (start + 0.06, over), (end - 0.11, over), (end - 0.11, y), (end, y)]
    axes.plot(*zip(*points, strict=True), "--", color=DASHED, lw=1.2, marker=">", ms=7, mew=0, markevery=[-1])
    x = end - 0.21
    if b.signal:  # rises between its box and the one before
        left, before, level = b.signal.ends[0], boxes[boxes.index(b.signal) - 1], b.signal.y + 0.28 * b.signal.height
        x = min(x, 0.6 * left + 0.4 * before.ends[1])
        axes.add_patch(_arrow([(left, level), (x, level), (x, y - 0.085)], SIGNAL))
    if b.gated:  # what comes is multiplied
        axes.plot(x, y, "ok", ms=10, mfc="w", zorder=5)
        axes.plot(x, y, "xk", ms=5, zorder=6)


def _legend(figure: Figure, colors: dict[str, tuple[float, ...]], boxes: Sequence[Box]) -> float:
    """Put the legend at the foot in as few rows as fit; returns its height in inches."""
    entries = {step: Line2D([], [], color=color, marker=">") for step, color in colors.items()}
    entries |= {box.skip_words: Line2D([], [], color=DASHED, marker=">", ls="--") for box in boxes if box.skip}
    if any(box.gated for box in boxes):
        entries["attention gate"] = Line2D([], [], color="k", marker=r"$\otimes$", ms=10, mew=0, ls="")
    if any(box.signal for box in boxes):
        entries["gating signal"] = Line2D([], [], color=SIGNAL, marker=">")
    for rows in range(1, len(entries) + 1):
        style = {"loc": "lower center", "fontsize": FONT, "frameon": False, "ncols": -(-len(entries) // rows)}
        legend = figure.legend(entries.values(), entries, **style, columnspacing=1.5, borderaxespad=0.2)
        extent = legend.get_window_extent()
        if extent.width < figure.bbox.width:
            break
        legend.remove()
    return extent.height / figure.dpi
