"""The breeds of the sample: six made-up ones, three of cats and three of dogs."""

from __future__ import annotations

from dataclasses import dataclass

from dataset.drawing.chance import Color

WHITE: Color = (0.90, 0.88, 0.84)
INK: Color = (0.13, 0.12, 0.13)


@dataclass(frozen=True)
class Breed:
    """What the pets of one breed share; lengths are in the drawing's own units (a sitting cat is 2 high)."""

    name: str  # cats begin with a capital letter, dogs with a small one, as in the Oxford pets
    species: str  # "cat" or "dog"
    coats: tuple[tuple[Color, Color], ...]  # pairs: main color, color of the markings
    markings: str  # "plain", "tabby", "points", "patches" or "spots"
    ears: str  # "pointed", "floppy" or "erect"
    eyes: tuple[Color, ...]
    hair: float  # how ragged the outline is: 1 is short hair
    camouflage: float  # 0..1, how far the coat is drawn towards a color of the scene
    bib: float  # chance of a pale chest, muzzle and paws
    legs: float = 1.0  # length of the legs, 1 is a cat's
    length: float = 1.0  # length of the back
    snout: float = 1.0  # length of the muzzle (dogs)


BREEDS: tuple[Breed, ...] = (
    Breed(
        name="biscuit_hound",
        species="dog",
        coats=(((0.76, 0.54, 0.30), (0.50, 0.31, 0.16)), ((0.62, 0.38, 0.20), (0.36, 0.21, 0.12))),
        markings="plain",
        ears="floppy",
        eyes=((0.23, 0.13, 0.07),),
        hair=0.8,
        camouflage=0.0,
        bib=0.35,
        legs=0.62,
        length=1.3,
        snout=1.15,
    ),
    Breed(
        name="Crumpet",
        species="cat",
        coats=(((0.86, 0.77, 0.63), (0.33, 0.23, 0.18)), ((0.83, 0.79, 0.73), (0.42, 0.40, 0.43))),
        markings="points",
        ears="pointed",
        eyes=((0.35, 0.60, 0.86), (0.45, 0.68, 0.90)),
        hair=0.7,
        camouflage=0.1,
        bib=0.0,
    ),
    Breed(
        name="domino_pointer",
        species="dog",
        coats=((WHITE, INK), (WHITE, (0.38, 0.22, 0.13)), ((0.80, 0.79, 0.78), (0.28, 0.30, 0.34))),
        markings="spots",
        ears="floppy",
        eyes=((0.25, 0.15, 0.08), (0.42, 0.58, 0.70)),
        hair=0.6,
        camouflage=0.0,
        bib=0.0,
        legs=1.15,
        snout=1.1,
    ),
    Breed(
        name="dust_mop",
        species="dog",
        coats=(
            ((0.66, 0.60, 0.52), (0.46, 0.40, 0.34)),
            ((0.82, 0.76, 0.66), (0.62, 0.52, 0.42)),
            ((0.42, 0.38, 0.36), (0.25, 0.22, 0.21)),
        ),
        markings="patches",
        ears="floppy",
        eyes=((0.16, 0.10, 0.07),),
        hair=2.0,
        camouflage=0.8,
        bib=0.2,
        legs=0.66,
        length=0.95,
        snout=0.75,
    ),
    Breed(
        name="Marmalade",
        species="cat",
        coats=(((0.87, 0.58, 0.27), (0.67, 0.34, 0.11)), ((0.90, 0.68, 0.42), (0.74, 0.46, 0.22))),
        markings="tabby",
        ears="pointed",
        eyes=((0.50, 0.66, 0.24), (0.80, 0.60, 0.18)),
        hair=0.9,
        camouflage=0.0,
        bib=0.65,
    ),
    Breed(
        name="Thundercloud",
        species="cat",
        coats=(
            ((0.44, 0.45, 0.48), (0.25, 0.26, 0.29)),
            ((0.30, 0.29, 0.30), (0.16, 0.15, 0.16)),
            ((0.58, 0.56, 0.55), (0.36, 0.35, 0.36)),
        ),
        markings="tabby",
        ears="pointed",
        eyes=((0.88, 0.68, 0.16), (0.55, 0.70, 0.30)),
        hair=1.6,
        camouflage=0.2,
        bib=0.3,
    ),
)
