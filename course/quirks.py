"""The quirks of real image files, planted in a copy of a few of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.data import Pets, open_pets

ORIENTATION = 0x0112
"""The EXIF tag of that name."""


def plant_quirks(pets: Pets, indices: Sequence[int], root: Path) -> Pets:
    """Copy three images and trimaps to `root`, an empty folder, and plant a quirk in each; the originals stay.

    The first is written as a PNG called .jpg, the second turned by 90 degrees with an EXIF note to turn it back, and of
    the third the trimap is all background.
    """
    chosen = [pets.items[i] for i in indices]
    lines = [f"{pet.name} {pet.class_id} {pet.species} 1" for pet in chosen]
    (root / "images").mkdir()
    (root / "annotations" / "trimaps").mkdir(parents=True)
    for name, rows in (("list", lines), ("trainval", lines[:2]), ("test", lines[2:])):
        (root / "annotations" / f"{name}.txt").write_text("\n".join(rows))
    png, turned, plain = (root / "images" / f"{pet.name}.jpg" for pet in chosen)
    images = [Image.fromarray(pets.image(i)) for i in indices]
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # "turn me by 90 degrees clockwise"
    images[0].save(png, format="PNG")
    images[1].transpose(Image.Transpose.ROTATE_90).save(turned, format="JPEG", exif=exif)
    images[2].save(plain, format="JPEG")
    trimaps = [pets.trimap(i) for i in indices]
    trimaps[2] = np.full_like(trimaps[2], 2)
    for pet, trimap in zip(chosen, trimaps, strict=True):
        Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{pet.name}.png")
    return open_pets(root)
