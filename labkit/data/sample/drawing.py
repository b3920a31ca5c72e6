"""One drawing of the sample: a pet in a scene, and its trimap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.data.sample import clutter
from labkit.data.sample.backgrounds import SCENES, strew
from labkit.data.sample.breeds import BREEDS, Breed
from labkit.data.sample.canvas import Canvas, Scene
from labkit.data.sample.chance import Chance, scaled
from labkit.data.sample.coats import Coat, Pen
from labkit.data.sample.heads import new_look
from labkit.data.sample.model import COLLARS, Model
from labkit.data.sample.poses import POSES, Pose, curl, portrait
from labkit.data.sample.shapes import Frame, Tube

PET, BACKGROUND, BORDER = 1, 2, 3
SHORT_SIDES = (112, 120, 128, 136, 144)
LONG_SIDES = (144, 152, 160, 176, 192)


@dataclass(frozen=True)
class Drawing:
    """A drawn pet.

    `image` [H, W, 3] uint8 RGB; `trimap` [H, W] uint8, 1 pet, 2 background, 3 border; `breed` its name;
    `species` "cat" or "dog". H and W are 112 to 192 pixels.
    """

    image: np.ndarray
    trimap: np.ndarray
    breed: str
    species: str


def draw_pet(seed: int, number: int, breed: str | None = None) -> Drawing:
    """Draw picture `number` (0, 1, 2, ...) of the sample with the given seed.

    The picture depends on `seed` and `number` alone, on every machine. The breeds take turns; `breed`
    asks for another one. Raises ValueError for a negative seed or number or an unknown breed.
    """
    if seed < 0 or number < 0:
        raise ValueError(f"seed and number must be 0 or more, not {seed} and {number}")
    kind = BREEDS[number % len(BREEDS)] if breed is None else find_breed(breed)
    chance = Chance(seed, number)
    height, width = picture_size(chance)
    canvas = Canvas(height, width)
    scene = chance.weighted(SCENES)(chance, canvas)
    strew(chance, canvas, scene, int(chance.between(1, 5)))
    place_pet(chance, canvas, scene, kind)
    light(chance, canvas)
    image = np.floor(np.clip(canvas.rgb, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return Drawing(np.ascontiguousarray(image.transpose(1, 2, 0)), trimap(canvas.pet), kind.name, kind.species)


def find_breed(name: str) -> Breed:
    """The breed of that name; ValueError when there is none."""
    for breed in BREEDS:
        if breed.name == name:
            return breed
    raise ValueError(f"no breed is called {name!r}; the breeds are {', '.join(b.name for b in BREEDS)}")


def picture_size(chance: Chance) -> tuple[int, int]:
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
    coat = Coat(canvas, breed, chance, size, scene.colour)
    model = Model(
        pen=Pen(canvas, coat, frame),
        look=new_look(chance, breed.species, breed.eyes, asleep=pose.draw is curl and chance.chance(0.85)),
        chance=chance,
        profile=chance.chance(pose.profiles),
        collar=chance.pick(COLLARS) if chance.chance(0.4) else None,
    )
    pose.draw(model)
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
    """Where the pet stands and how large it is, so that most of it lies in the picture."""
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
        canvas.paint([blade], scaled(scene.colour, chance.between(0.75, 1.3)))


def light(chance: Chance, canvas: Canvas) -> None:
    """Light that falls off to one side, the tint of the lamp, and the noise of the sensor."""
    h, w = canvas.height, canvas.width
    across, down = chance.between(-0.35, 0.35), chance.between(-0.3, 0.3)
    fall = 1 + (canvas.x * np.float32(1 / w) - np.float32(0.5)) * np.float32(across)
    fall = fall + (canvas.y * np.float32(1 / h) - np.float32(0.5)) * np.float32(down)
    fall = fall * np.float32(chance.between(0.82, 1.12))
    tint = np.array([chance.between(0.94, 1.06), 1.0, chance.between(0.92, 1.06)], np.float32)
    canvas.rgb *= fall
    canvas.rgb *= tint[:, None, None]
    noise = chance.rng.random((2, 3, h, w), dtype=np.float32)
    canvas.rgb += (noise[0] + noise[1] - 1) * np.float32(chance.between(0.015, 0.05))


def trimap(cover: np.ndarray) -> np.ndarray:
    """The trimap [H, W] uint8 of the pet's coverage [H, W]: a pixel to each side of the outline is border."""
    # Averaging over 3 by 3 pixels leaves the outline where it is and drops single hairs.
    pet = sum(neighbours(cover)) >= np.float32(4.5)
    near = neighbours(pet)
    border = np.logical_or.reduce(near) & ~np.logical_and.reduce(near)
    return np.where(border, BORDER, np.where(pet, PET, BACKGROUND)).astype(np.uint8)


def neighbours(values: np.ndarray) -> list[np.ndarray]:
    """The values [H, W] of the 9 pixels about each pixel; beyond the edge the nearest pixel counts."""
    h, w = values.shape
    padded = np.pad(values, 1, mode="edge")
    return [padded[dy : dy + h, dx : dx + w] for dy in range(3) for dx in range(3)]
