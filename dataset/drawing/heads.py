"""Heads of cats and dogs, seen from the front or from the side; one unit is half a head's width."""

from __future__ import annotations

from dataclasses import dataclass

from dataset.drawing.breeds import INK
from dataset.drawing.chance import Chance, Color, mix, scaled
from dataset.drawing.coats import Pen
from dataset.drawing.shapes import Ellipse, Tube, curve

PINK: Color = (0.86, 0.56, 0.55)
TONGUE: Color = (0.90, 0.45, 0.48)
GLINT: Color = (0.97, 0.97, 0.95)


@dataclass(frozen=True)
class Look:
    """The expression of a face: `turn` -0.3..0.3 looks sideways, `wide` is how far the pupils open."""

    turn: float
    wide: float
    asleep: bool
    tongue: bool
    one_ear: bool  # one ear hangs (erect ears) or stands out (floppy ones)
    eyes: Color
    nose: Color


def new_look(chance: Chance, species: str, eyes: tuple[Color, ...], asleep: bool) -> Look:
    """A random expression."""
    return Look(
        turn=chance.between(-0.22, 0.22),
        wide=chance.between(0.35, 1.0),
        asleep=asleep or chance.chance(0.05),
        tongue=not asleep and chance.chance(0.5 if species == "dog" else 0.06),
        one_ear=chance.chance(0.2),
        eyes=chance.pick(eyes),
        nose=chance.pick(((0.80, 0.48, 0.47), (0.36, 0.22, 0.21))) if species == "cat" else chance.about(INK, 0.03),
    )


def closed_eye(pen: Pen, x: float, y: float, size: float) -> None:
    """A contented eyelid."""
    lid = curve((x - size, y - size * 0.3), (x, y + size * 0.9), (x + size, y - size * 0.3), start=0.045, end=0.045)
    pen.flat([lid], INK)


def cat_eye(pen: Pen, look: Look, x: float, y: float, side: float) -> None:
    """A slanted eye with an upright pupil."""
    if look.asleep:
        closed_eye(pen, x, y, 0.25)
        return
    tilt = 0.25 * side
    pen.flat([Ellipse(x, y, 0.285, 0.245, tilt)], scaled(INK, 0.9))
    pen.flat([Ellipse(x, y + 0.01, 0.235, 0.20, tilt)], look.eyes)
    pen.flat([Ellipse(x + look.turn * 0.2, y, 0.06 + 0.10 * look.wide, 0.185)], (0.04, 0.04, 0.05))
    pen.flat([Ellipse(x - 0.07, y - 0.08, 0.065, 0.065)], GLINT)


def dog_eye(pen: Pen, look: Look, x: float, y: float) -> None:
    """A round, dark, hopeful eye."""
    if look.asleep:
        closed_eye(pen, x, y, 0.2)
        return
    pen.flat([Ellipse(x, y, 0.20, 0.205)], (0.93, 0.90, 0.86), opacity=0.75)
    pen.flat([Ellipse(x + look.turn * 0.15, y, 0.175, 0.185)], look.eyes)
    pen.flat([Ellipse(x + look.turn * 0.15, y, 0.10, 0.105)], (0.04, 0.03, 0.03))
    pen.flat([Ellipse(x - 0.055 + look.turn * 0.15, y - 0.07, 0.062, 0.062)], GLINT)


def whiskers(pen: Pen, x: float, y: float, sides: tuple[int, ...]) -> None:
    """Three whiskers to each side; they are too thin to count as pet."""
    pale = (0.95, 0.94, 0.92)
    for side in sides:
        for k in (-1, 0, 1):
            start = (x + 0.22 * side, y + 0.05 * k)
            bend = (x + 0.7 * side, y + 0.10 * k - 0.06)
            stop = (x + 1.15 * side, y + 0.24 * k + 0.04)
            hair = curve(start, bend, stop, start=0.022, end=0.008, steps=4)
            pen.flat([hair], pale, opacity=0.85, pet="")


def cat_front(pen: Pen, look: Look) -> None:
    """A cat's head facing us."""
    t, coat = look.turn, pen.coat
    for side in (-1, 1):
        lean = 0.35 if look.one_ear and side > 0 else 0.0
        root, tip = (0.56 * side + 0.15 * t, -0.50), ((0.80 + lean) * side + 0.1 * t, -1.30 + lean)
        pen.fur([Tube(((*root, 0.40), (*tip, 0.05)))], part="ear", hair=0.6)
        inner = ((root[0] * 1.05, root[1] - 0.12, 0.20), (tip[0] * 0.98, tip[1] + 0.22, 0.03))
        pen.flat([Tube(inner)], mix(PINK, coat.base, 0.35), soft=2.0)
    skull = [Ellipse(0, 0, 1.0, 0.86), Ellipse(-0.50, 0.30, 0.54, 0.46), Ellipse(0.50, 0.30, 0.54, 0.46)]
    pen.fur(skull, part="head", blend=0.25, anchor=(t, -2.2))
    x = t * 0.9
    if coat.breed.markings == "points":
        pen.fur([Ellipse(x, 0.30, 0.62, 0.56)], color=coat.second, inside=True)
    elif coat.breed.markings == "tabby":
        for k in (-1, 0, 1):
            stripe = Tube(((x + 0.13 * k, -0.36, 0.03), (x + 0.24 * k, -0.78, 0.07)))
            pen.flat([stripe], coat.second, opacity=0.8, soft=1.6)
    muzzle = coat.pale if coat.bib else mix(coat.base, coat.pale, 0.45)
    if coat.breed.markings == "points":
        muzzle = scaled(coat.second, 1.15)
    puffs = [
        Ellipse(x - 0.22, 0.46, 0.29, 0.23),
        Ellipse(x + 0.22, 0.46, 0.29, 0.23),
        Ellipse(x, 0.62, 0.2, 0.16),
    ]
    pen.fur(puffs, color=muzzle, inside=True, blend=0.1)
    for side in (-1, 1):
        cat_eye(pen, look, 0.43 * side + 0.75 * t, -0.04, side)
    cat_mouth(pen, look, x)
    whiskers(pen, x, 0.44, (-1, 1))


def cat_mouth(pen: Pen, look: Look, x: float) -> None:
    """Nose, the w of the mouth and perhaps the tip of a tongue, about the middle line `x`."""
    dark = scaled(mix(look.nose, INK, 0.7), 0.8)
    if look.tongue:
        pen.flat([Tube(((x, 0.58, 0.09), (x, 0.72, 0.08)))], TONGUE)
    for side in (-1, 1):
        lip = curve((x, 0.42), (x + 0.05 * side, 0.66), (x + 0.28 * side, 0.54), start=0.032, end=0.02, steps=5)
        pen.flat([lip], dark)
    pen.flat([Tube(((x - 0.08, 0.28, 0.055), (x + 0.08, 0.28, 0.055), (x, 0.37, 0.04)))], look.nose)


def cat_side(pen: Pen, look: Look) -> None:
    """A cat's head in profile, looking to the right."""
    coat = pen.coat
    pen.fur([Tube(((0.12, -0.55, 0.30), (0.28, -1.18, 0.05)))], part="ear", dim=0.8, hair=0.6)
    skull = [Ellipse(-0.05, 0, 0.92, 0.82), Ellipse(0.62, 0.30, 0.36, 0.30), Ellipse(0.1, 0.4, 0.6, 0.42)]
    pen.fur(skull, part="head", blend=0.35, anchor=(1.6, -1.2))
    pen.fur([Tube(((-0.30, -0.48, 0.38), (-0.34, -1.25, 0.05)))], part="ear", hair=0.6)
    pen.flat([Tube(((-0.26, -0.58, 0.18), (-0.31, -1.02, 0.03)))], mix(PINK, coat.base, 0.35), soft=2.0)
    muzzle = coat.pale if coat.bib else mix(coat.base, coat.pale, 0.4)
    if coat.breed.markings == "points":
        muzzle = coat.second
    pen.fur([Ellipse(0.66, 0.36, 0.34, 0.27)], color=muzzle, inside=True)
    cat_eye(pen, look, 0.42, -0.08, -1)
    pen.flat([Ellipse(0.93, 0.20, 0.09, 0.07)], look.nose)
    mouth = curve((0.90, 0.34), (0.74, 0.54), (0.52, 0.47), start=0.03, end=0.03, steps=5)
    pen.flat([mouth], scaled(INK, 0.9))
    whiskers(pen, 0.55, 0.38, (-1, 1))


def dog_ear(pen: Pen, look: Look, side: float, x: float) -> None:
    """One ear of a dog seen from the front; it hangs or stands as the breed has it."""
    standing = (pen.coat.breed.ears == "erect") != (look.one_ear and side > 0)
    if standing and pen.coat.breed.ears == "erect":
        knots = ((x + 0.55 * side, -0.5, 0.38), (x + 0.75 * side, -1.25, 0.08))
    elif standing:
        knots = ((x + 0.62 * side, -0.58, 0.26), (x + 1.2 * side, -0.55, 0.27), (x + 1.5 * side, -0.2, 0.2))
    else:
        knots = ((x + 0.68 * side, -0.58, 0.24), (x + 1.0 * side, -0.1, 0.28), (x + 1.03 * side, 0.5, 0.26))
    pen.fur([Tube(knots)], part="ear", anchor=(0.0, -2.0), hair=1.2)


def dog_front(pen: Pen, look: Look) -> None:
    """A dog's head facing us."""
    t, coat = look.turn * 1.2, pen.coat
    snout = coat.breed.snout
    skull = [Ellipse(0, -0.12, 0.88, 0.80), Ellipse(t * 0.6, 0.42, 0.66, 0.56)]
    pen.fur(skull, part="head", blend=0.3, anchor=(t, -2.2))
    x, y = t * 1.3, 0.36 + 0.10 * snout
    muzzle = coat.pale if coat.bib else mix(coat.base, coat.pale, 0.38)
    pen.fur(
        [Ellipse(x, y + 0.1, 0.46, 0.44), Ellipse(x * 0.8, -0.45, 0.12, 0.5)],
        color=muzzle,
        inside=True,
        blend=0.3,
    )
    for side in (-1, 1):
        dog_ear(pen, look, side, 0.2 * t)
    dark = scaled(INK, 0.9)
    if look.tongue:
        pen.flat([Ellipse(x, y + 0.40, 0.27, 0.17)], (0.30, 0.12, 0.13))
        pen.flat([Tube(((x, y + 0.42, 0.16), (x + 0.04, y + 0.78, 0.17)))], TONGUE, relief=0.2, pet="add")
        pen.flat([Tube(((x, y + 0.44, 0.02), (x + 0.03, y + 0.72, 0.02)))], scaled(TONGUE, 0.75))
    for side in (-1, 1):
        lip = curve(
            (x, y + 0.18),
            (x + 0.08 * side, y + 0.44),
            (x + 0.42 * side, y + 0.24),
            start=0.04,
            end=0.03,
            steps=5,
        )
        pen.flat([lip], dark)
    pen.flat([Tube(((x, y, 0.03), (x, y + 0.2, 0.03)))], dark)
    pen.flat([Ellipse(x, y - 0.06, 0.23, 0.165)], look.nose, relief=0.3)
    pen.flat([Ellipse(x - 0.08, y - 0.12, 0.07, 0.04)], (0.7, 0.7, 0.72), opacity=0.8)
    for side in (-1, 1):
        ex = 0.38 * side + 0.8 * t
        if coat.breed.markings == "plain":
            pen.flat([Ellipse(ex + 0.03 * side, -0.44, 0.12, 0.06, 0.2 * side)], coat.pale, opacity=0.55, soft=2.5)
        dog_eye(pen, look, ex, -0.16)
    if coat.breed.hair > 1.8:
        fringe = [
            Tube(((k * 0.26 + 0.5 * t, -0.82, 0.2), (k * 0.30 + 0.6 * t, -0.34 + 0.08 * abs(k), 0.07)))
            for k in (-2, -1, 0, 1, 2)
        ]
        pen.fur(fringe, color=scaled(coat.base, 1.06), inside=True, blend=0.1)


def dog_side(pen: Pen, look: Look) -> None:
    """A dog's head in profile, looking to the right."""
    coat, dark = pen.coat, scaled(INK, 0.9)
    tip = 0.85 + 0.45 * coat.breed.snout
    if look.tongue:
        pen.flat([Tube(((tip - 0.35, 0.50, 0.13), (tip - 0.22, 0.98, 0.15)))], TONGUE, relief=0.2, pet="add")
    jaw = Tube(((0.2, 0.38, 0.34), (tip - 0.25, 0.50, 0.14)))
    bridge = Tube(((0.25, 0.05, 0.50), (tip - 0.16, 0.27, 0.25)))
    pen.fur([Ellipse(-0.05, -0.1, 0.86, 0.80), jaw, bridge], part="head", blend=0.25, anchor=(1.2, -1.6))
    muzzle = coat.pale if coat.bib else mix(coat.base, coat.pale, 0.35)
    pen.fur([Tube(((0.62, 0.36, 0.27), (tip - 0.1, 0.38, 0.22)))], color=muzzle, inside=True)
    mouth = curve((tip - 0.05, 0.46), (tip - 0.35, 0.56), (0.50, 0.40), start=0.04, end=0.035, steps=5)
    pen.flat([mouth], dark)
    pen.flat([Ellipse(tip + 0.02, 0.13, 0.17, 0.14)], look.nose, relief=0.3, pet="add")
    dog_eye(pen, look, 0.38, -0.20)
    if coat.breed.ears == "erect":
        pen.fur([Tube(((-0.25, -0.55, 0.36), (-0.30, -1.28, 0.07)))], part="ear", hair=0.7)
    else:
        ear = Tube(((-0.30, -0.52, 0.22), (-0.48, 0.0, 0.32), (-0.40, 0.48, 0.27)))
        pen.fur([ear], part="ear", anchor=(0.0, -2.0), hair=1.2)
    if coat.breed.hair > 1.8:
        fringe = [Tube(((0.1 + 0.2 * k, -0.78, 0.2), (0.25 + 0.22 * k, -0.36, 0.06))) for k in (0, 1)]
        pen.fur(fringe, color=scaled(coat.base, 1.06), inside=True, blend=0.1)
