"""One image of the sample: a pet in a scene, and its trimap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataset.drawing import clutter
from dataset.drawing.animal import COLLARS, Animal
from dataset.drawing.breeds import BREEDS, Breed
from dataset.drawing.canvas import Canvas, Scene
from dataset.drawing.chance import Chance, scaled
from dataset.drawing.coats import Coat, Pen
from dataset.drawing.heads import new_look
from dataset.drawing.indoors import blanket, room, sofa
from dataset.drawing.outdoors import garden, path
from dataset.drawing.poses import POSES, Pose, curl, portrait
from dataset.drawing.shapes import Frame, Tube

PET, BACKGROUND, BORDER = 1, 2, 3
SHORT_SIDES = (150, 160, 170, 182, 192)  # pixels
LONG_SIDES = (192, 202, 214, 234, 256)
DENSITY = 4 / 3  # pixels per drawing unit
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


@dataclass(frozen=True)
class Drawing:
    """A drawn pet.

    `image` [H, W, 3] uint8 RGB; `trimap` [H, W] uint8, 1 pet, 2 background, 3 border. H and W are 150 to 256 pixels.
    """

    image: np.ndarray
    trimap: np.ndarray


def draw_pet(seed: int, number: int) -> Drawing:
    """Draw image `number` (0, 1, 2, ...) of the sample with the given seed; the breeds take turns.

    The image depends on `seed` and `number` alone, on every machine. Raises ValueError when one is negative.
    """
    chance = Chance(seed, number)
    canvas = Canvas(image_size(chance), DENSITY)
    scene = chance.weighted(SCENES)(chance, canvas)
    scatter_things(chance, canvas, scene, int(chance.between(1, 5)))
    place_pet(chance, canvas, scene, BREEDS[number % len(BREEDS)])
    light(chance, canvas)
    return Drawing(canvas.pixels(), trimap(canvas.pet))


def scatter_things(chance: Chance, canvas: Canvas, scene: Scene, number: int) -> None:
    """Put `number` things about the scene, the farther ones first."""
    feet = sorted(chance.between(scene.farthest - 0.05 * canvas.height, scene.nearest) for _ in range(number))
    for y in feet:
        size = canvas.height * chance.between(0.08, 0.2)
        x = chance.between(0.0, 1.0) * canvas.width
        clutter.spot_shadow(canvas, x, y, size * 0.9)
        chance.pick(CLUTTER)(chance, canvas, x, y, size, "")


def image_size(chance: Chance) -> tuple[int, int]:
    """Height and width in pixels: landscape, portrait or square."""
    long, short = chance.pick(LONG_SIDES), chance.pick(SHORT_SIDES)
    shape = chance.weighted({"landscape": 0.5, "portrait": 0.25, "square": 0.25})
    if shape == "square":
        return short, short
    return (short, long) if shape == "landscape" else (long, short)


def place_pet(chance: Chance, canvas: Canvas, scene: Scene, breed: Breed) -> None:
    """Draw the pet somewhere in the scene, in a random pose, and perhaps something before it."""
    pose = chance.weighted({pose: pose.often for pose in POSES})
    frame = pose_frame(chance, canvas, scene, pose)
    size = frame.scale
    if pose.draw is not portrait:
        clutter.spot_shadow(canvas, frame.x, frame.y, size * (pose.left + pose.right) * 0.42, 0.5)
    coat = Coat(canvas, breed, chance, size, scene.color)
    animal = Animal(
        pen=Pen(canvas, coat, frame),
        look=new_look(chance, breed.species, breed.eyes, asleep=pose.draw is curl and chance.chance(0.85)),
        chance=chance,
        profile=chance.chance(pose.profiles),
        collar=chance.pick(COLLARS) if chance.chance(0.4) else None,
    )
    pose.draw(animal)
    hidden = chance.between(0, 1)
    if scene.grassy and pose.draw is not portrait and hidden < 0.6:
        grow_grass(chance, canvas, frame, scene)
    elif hidden < 0.2:
        thing = chance.pick((clutter.crate, clutter.cushion, clutter.ball, clutter.plant, clutter.pouf))
        x = frame.x + chance.pick((-1, 1)) * size * chance.between(0.3, 1.2)
        thing(
            chance, canvas, x, min(canvas.height + 4.0, frame.y + size * 0.25), size * chance.between(0.35, 0.6), "hide"
        )


def pose_frame(chance: Chance, canvas: Canvas, scene: Scene, pose: Pose) -> Frame:
    """Where the pet stands and how large it is, so that most of it lies in the image."""
    w, h = canvas.width, canvas.height
    wide = pose.left + pose.right
    if pose.draw is portrait:
        size = min(w / wide * chance.between(0.75, 1.25), h / pose.top * chance.between(0.9, 1.15))
        feet = h + chance.between(0.0, 0.35) * size
    else:
        feet = chance.between(scene.farthest, scene.nearest)
        fit = min(w / wide, feet / pose.top)
        size = fit * chance.between(0.68, 1.08)
    flip = chance.chance(0.5)
    left = pose.right if flip else pose.left
    slack = max(w - wide * size, 0.12 * w)
    x = left * size + (w - wide * size) / 2 + slack * chance.between(-0.5, 0.5)
    return Frame(x, feet, size, chance.between(-0.06, 0.06), flip)


def grow_grass(chance: Chance, canvas: Canvas, frame: Frame, scene: Scene) -> None:
    """Blades of grass before the pet's feet, too thin to be cut out of it."""
    for _ in range(int(chance.between(6, 24))):
        x = frame.x + chance.between(-1.5, 1.5) * frame.scale
        y = frame.y + chance.between(0.0, 0.15) * frame.scale
        tip = y - chance.between(0.08, 0.3) * frame.scale
        blade = Tube(((x, y, 1.3), (x + chance.between(-3, 3), tip, 0.3)))
        canvas.paint([blade], scaled(scene.color, chance.between(0.75, 1.3)))


def light(chance: Chance, canvas: Canvas) -> None:
    """Light that falls off to one side, the tint of the lamp, and the noise of the sensor."""
    across, down = chance.between(-0.35, 0.35), chance.between(-0.3, 0.3)
    fall = 1 + (canvas.x * np.float32(1 / canvas.width) - np.float32(0.5)) * np.float32(across)
    fall = fall + (canvas.y * np.float32(1 / canvas.height) - np.float32(0.5)) * np.float32(down)
    fall = fall * np.float32(chance.between(0.82, 1.12))
    tint = np.array([chance.between(0.94, 1.06), 1.0, chance.between(0.92, 1.06)], np.float32)
    canvas.rgb *= fall
    canvas.rgb *= tint[:, None, None]
    noise = chance.rng.random((2, *canvas.rgb.shape), dtype=np.float32)
    canvas.rgb += (noise[0] + noise[1] - 1) * np.float32(chance.between(0.015, 0.05))


def trimap(cover: np.ndarray) -> np.ndarray:
    """The trimap [H, W] uint8 of the pet's coverage [H, W]: two pixels to each side of the outline are border."""
    # Averaging over 3 by 3 pixels leaves the outline where it is and drops single hairs.
    square = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    pet = sum(shifted(cover, square)) >= np.float32(4.5)
    near = shifted(pet, [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if dy * dy + dx * dx <= 5])
    border = np.logical_or.reduce(near) & ~np.logical_and.reduce(near)
    return np.where(border, BORDER, np.where(pet, PET, BACKGROUND)).astype(np.uint8)


def shifted(values: np.ndarray, steps: list[tuple[int, int]]) -> list[np.ndarray]:
    """The values [H, W] that lie `steps` (rows, columns) from each pixel; beyond the edge the nearest pixel counts."""
    h, w = values.shape
    reach = max(map(max, steps))
    padded = np.pad(values, reach, mode="edge")
    return [padded[reach + dy : reach + dy + h, reach + dx : reach + dx + w] for dy, dx in steps]
