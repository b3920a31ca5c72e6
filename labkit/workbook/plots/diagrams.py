"""Diagrams of the two networks, drawn from the shapes of a real forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from labkit.painting import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from labkit.workbook.display import new_figure

Shapes = Mapping[str, Sequence[int]]
"""Output shape `[B, C, H, W]` of each module by name, and of `input`."""


def _size(shape: Sequence[int]) -> str:
    return f"{shape[-2]}×{shape[-1]}"


def _rgb(colour: Sequence[int], paleness: float = 0.0) -> tuple[float, ...]:
    return tuple((1 - paleness) * value / 255 + paleness for value in colour)


OWN, COPY = _rgb(SKY, 0.35), _rgb(ORANGE, 0.25)
ARROWS = {
    "conv": _rgb(BLUE),
    "down": _rgb(VERMILION),
    "up": _rgb(GREEN),
    "skip": (0.45, 0.45, 0.45),
    "head": _rgb(PURPLE),
}


@dataclass(frozen=True)
class _Box:
    """A feature map in the diagram: its centre and its sides, in half inches."""

    x: float
    y: float
    width: float
    height: float

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


class _Sheet:
    """A drawing in columns (left to right) and levels (each half as large as the one above)."""

    def __init__(self, columns: int, levels: int, width: float, pitch: float):
        self.pitch = pitch
        self.heights = [1.55 * 0.8**level for level in range(levels)]
        gaps = 0.85
        self.centres = [-sum(self.heights[:i]) - i * gaps - self.heights[i] / 2 for i in range(levels)]
        lowest = self.centres[-1] - self.heights[-1] / 2 - 0.5
        self.figure = new_figure(width, (0.5 - lowest) / 2 + 0.4)
        self.axes: Axes = self.figure.add_subplot()
        self.axes.set(xlim=(-0.8, (columns - 1) * pitch + 0.8), ylim=(lowest, 0.5), aspect="equal")
        self.axes.axis("off")

    def box(self, column: float, level: int, parts: Sequence[tuple[int, tuple]], note: str = "", side="below") -> _Box:
        """Parts (channels, colour) side by side, their channels above, a note `below`, `left` or `right`."""
        widths = [0.1 * channels ** (1 / 3) for channels, _ in parts]
        box = _Box(column * self.pitch, self.centres[level], sum(widths), self.heights[level])
        left = box.left
        for (_, colour), width in zip(parts, widths, strict=True):
            corner = left, box.bottom
            self.axes.add_patch(Rectangle(corner, width, box.height, facecolor=colour, edgecolor="black", lw=0.7))
            left += width
        self.axes.text(box.x, box.top + 0.06, "+".join(f"{c}" for c, _ in parts), ha="center", va="bottom", fontsize=8)
        x, y, ha, va = {
            "below": (box.x, box.bottom - 0.08, "center", "top"),
            "left": (box.left - 0.12, box.y, "right", "center"),
            "right": (box.right + 0.12, box.y, "left", "center"),
        }[side]
        self.axes.text(x, y, note, ha=ha, va=va, fontsize=8, color="0.35")
        return box

    def arrow(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
        line = {"arrowstyle": "-|>", "color": ARROWS[kind], "lw": 1.6, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
        if kind == "skip":
            line |= {"linestyle": (0, (4, 2)), "lw": 1.2}
        self.axes.annotate("", end, start, arrowprops=line)

    def across(self, a: _Box, b: _Box, kind: str) -> None:
        """From the right side of `a` to the left side of `b`, on one level."""
        self.arrow((a.right + 0.06, a.y), (b.left - 0.06, b.y), kind)

    def legend(self, words: Mapping[str, str]) -> Figure:
        lines = [
            Line2D([], [], color=ARROWS[kind], lw=2, ls="--" if kind == "skip" else "-", label=label)
            for kind, label in words.items()
        ]
        self.figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8, frameon=False)
        return self.figure


def unet_diagram(shapes: Shapes, width: float = 8.5) -> Figure:
    """The U of a `UNet` with the shapes that its modules had in a forward pass.

    Args:
        shapes: of `input`, `encoder.0` ..., `bottleneck`, `ups.0` ..., `decoder.0` ..., `head`.
        width: of the figure in inches.
    """
    depth = sum(name.startswith("encoder.") and name.count(".") == 1 for name in shapes)
    columns = 2 * depth + 3
    sheet = _Sheet(columns, depth + 1, width, pitch=(2 * width - 1.8) / (columns - 1))
    names = ["input", *(f"encoder.{i}" for i in range(depth)), "bottleneck"]
    outs: list[_Box] = []
    for level in range(depth + 1):
        above, here = shapes[names[level]], shapes[names[level + 1]]
        pooled = above if level == 0 else [side // 2 for side in above[-2:]]
        incoming = sheet.box(level, level, [(above[1], OWN)], _size(pooled))
        if outs:
            sheet.arrow((incoming.x, outs[-1].bottom - 0.08), (incoming.x, incoming.top + 0.36), "down")
        outs.append(sheet.box(level + 1, level, [(here[1], OWN)], _size(here) if level == depth else ""))
        sheet.across(incoming, outs[-1], "conv")
    below = outs[-1]
    for step in range(depth):
        level = depth - 1 - step
        skip, up, here = (shapes[name] for name in (names[level + 1], f"ups.{step}", f"decoder.{step}"))
        joined = sheet.box(depth + 1 + step, level, [(skip[1], COPY), (up[1], OWN)])
        sheet.arrow((below.x, below.top + 0.36), (below.x, joined.bottom - 0.12), "up")
        sheet.across(outs[level], joined, "skip")
        below = sheet.box(depth + 2 + step, level, [(here[1], OWN)], _size(here))
        sheet.across(joined, below, "conv")
    sheet.across(below, sheet.box(columns - 1, 0, [(shapes["head"][1], OWN)], _size(shapes["head"])), "head")
    return sheet.legend(
        {
            "conv": "double convolution",
            "down": "max pool",
            "up": "up-convolution",
            "skip": "skip (copy)",
            "head": "1×1 head",
        }
    )


def resnet34_unet_diagram(shapes: Shapes, width: float = 8.5) -> Figure:
    """The U of a `ResNet34UNet` with the lab's decoder, from the shapes of a forward pass.

    Args:
        shapes: of `input`, `encoder.relu` (the stem), `encoder.layer1` to `encoder.layer4`, `decoder.centre`,
            `decoder.stages.0` to `decoder.stages.4`, `head`.
        width: of the figure in inches.
    """
    sheet = _Sheet(13, 6, width, pitch=(2 * width - 1.8) / 12)
    layers = ["input", "encoder.relu", *(f"encoder.layer{i}" for i in range(1, 5))]
    words = ["", "stem\n", *(f"layer{i}\n" for i in range(1, 5))]
    left = [
        sheet.box(i, i, [(shapes[name][1], OWN)], word + _size(shapes[name]), side="left" if i else "below")
        for i, (name, word) in enumerate(zip(layers, words, strict=True))
    ]
    for above, here in pairwise(left):
        sheet.arrow((above.right + 0.04, above.bottom + 0.4 * above.height), (here.x, here.top + 0.36), "down")
    centre = shapes["decoder.centre"]
    below = sheet.box(
        6.6, 5, [(centre[1], OWN), (shapes[layers[5]][1], COPY)], "centre\n" + _size(centre), side="right"
    )
    sheet.across(left[5], below, "skip")
    for step in range(5):
        level, here = 4 - step, shapes[f"decoder.stages.{step}"]
        parts = [(here[1], OWN)] + ([(shapes[layers[level]][1], COPY)] if level > 1 else [])
        note = f"decoder {step + 1}\n{_size(here)}" if level else _size(here)
        box = sheet.box(7.2 + 0.95 * step, level, parts, note, side="right" if level else "below")
        sheet.arrow((below.x, below.top + 0.36), (box.left - 0.04, box.bottom + 0.4 * box.height), "up")
        if level > 1:
            sheet.across(left[level], box, "skip")
        below = box
    sheet.across(below, sheet.box(12, 0, [(shapes["head"][1], OWN)], _size(shapes["head"])), "head")
    return sheet.legend(
        {
            "down": "encoder stage",
            "up": "decoder stage (upsample, convolution, CBAM)",
            "skip": "skip (copy)",
            "head": "1×1 head",
        }
    )
