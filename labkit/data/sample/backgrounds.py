"""The scenes that the pets are seen in, and what lies about in them."""

from __future__ import annotations

from collections.abc import Callable

from labkit.data.sample import clutter
from labkit.data.sample.canvas import Canvas, Scene
from labkit.data.sample.chance import Chance
from labkit.data.sample.indoors import blanket, room, sofa
from labkit.data.sample.outdoors import garden, path

SCENES: dict[Callable[[Chance, Canvas], Scene], float] = {
    room: 3.0,
    sofa: 1.6,
    garden: 1.8,
    path: 0.7,
    blanket: 1.5,
}
CLUTTER = (
    clutter.cushion, clutter.pouf, clutter.ball, clutter.yarn, clutter.crate,
    clutter.bowl, clutter.bone, clutter.plant, clutter.books,
)  # fmt: skip


def strew(chance: Chance, canvas: Canvas, scene: Scene, number: int) -> None:
    """Put `number` things about the scene, the farther ones first."""
    feet = sorted(chance.between(scene.farthest - 0.05 * canvas.height, scene.nearest) for _ in range(number))
    for y in feet:
        size = canvas.height * chance.between(0.08, 0.2)
        x = chance.between(0.0, 1.0) * canvas.width
        clutter.spot_shadow(canvas, x, y, size * 0.9)
        chance.pick(CLUTTER)(chance, canvas, x, y, size, "")
