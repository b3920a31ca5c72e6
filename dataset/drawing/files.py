"""The drawn images on disk: pets in the layout of the Oxford-IIIT Pet data set, slides in groups, archives of both."""

from __future__ import annotations

import io
import os
import shutil
import string
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from dataset.drawing.breeds import BREEDS
from dataset.drawing.pet import draw_pet
from dataset.drawing.slides import CLASSES, draw_tile, prepare_slide

FEWEST = 2 * len(BREEDS)  # one image of each breed for training and one for the test
QUALITY = 90  # of the JPEG files, about 3 bits a pixel; the real ones have from 1 to 8
TILE_SIZE = 128  # height and width of a slide's tiles in pixels
POOL_FROM = 200  # with fewer images, starting other processes takes longer than it saves
HEADER = """#Image CLASS-ID SPECIES BREED ID
#ID: 1:{classes} Class ids
#SPECIES: 1:Cat 2:Dog
#BREED ID: 1-{cats}:Cat 1:{dogs}:Dog
#All images with 1st letter as capital are cat images
#images with small first letter are dog images
"""


def draw_sample(
    root: Path | str, count: int = 600, seed: int = 0, watch: Callable[[Iterable], Iterable] = iter
) -> Path:
    """Draw `count` pets into `<root>/oxford-iiit-pet` and return `root`, a new or empty folder.

    Two thirds are for training and validation (`trainval.txt`), one third for the test (`test.txt`), and every breed
    is in both; a larger `count` adds images and changes none. `watch` wraps the images while they are drawn, such as
    `tqdm`. The folder appears when it is complete or not at all. Raises ValueError when there are too few images,
    FileExistsError when the folder holds something.
    """
    if count < FEWEST or seed < 0:
        raise ValueError(f"count {count}, seed {seed}: draw at least {FEWEST} images with a seed from 0")

    def fill(draft: Path) -> None:
        folder = draft / "oxford-iiit-pet"
        (folder / "images").mkdir(parents=True)
        (folder / "annotations" / "trimaps").mkdir(parents=True)
        draw = partial(draw_files, folder, seed)
        if count < POOL_FROM:
            list(watch(map(draw, range(count))))
        else:
            with ProcessPoolExecutor() as pool:
                list(watch(pool.map(draw, range(count), chunksize=10)))
        write_lists(folder / "annotations", count)

    return filled(Path(root), fill)


def draw_slides(root: Path | str, groups: int = 15, per_group: int = 12, seed: int = 0) -> Path:
    """Draw `per_group` tiles of each of `groups` slides (A, B, ...) and return `root`, a new or empty folder.

    Writes `images/<slide>/<number>.jpg`, `masks/<slide>/<number>.png` (class indices) and `classes.txt`, whole or not
    at all. More slides or tiles change none. Raises ValueError when an argument is out of range, FileExistsError when
    the folder holds something.
    """
    if not (1 <= groups <= 26 and 1 <= per_group <= 999 and seed >= 0):
        raise ValueError(f"groups {groups}, per_group {per_group}, seed {seed}: 1 to 26, 1 to 999, and from 0")

    def fill(draft: Path) -> None:
        for number, letter in enumerate(string.ascii_uppercase[:groups]):
            images, masks = (draft / part / letter for part in ("images", "masks"))
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            for place in range(per_group):
                image, mask = draw_tile(prepare_slide(seed, number), seed, number, place, TILE_SIZE)
                save_image(image, images / f"{place + 1:03d}.jpg")
                save_mask(mask, masks / f"{place + 1:03d}.png")
        (draft / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8", newline="\n")

    return filled(Path(root), fill)


def filled(root: Path, fill: Callable[[Path], None]) -> Path:
    """Let `fill` write into a folder that becomes `root` when it is complete."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root}: holds something already; choose another folder or empty that one")
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        fill(draft)
        draft.chmod(0o755)
        os.replace(draft, root)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root


def draw_files(folder: Path, seed: int, number: int) -> None:
    """Draw one image and write it and its trimap."""
    drawing, name = draw_pet(seed, number), image_name(number)
    save_image(drawing.image, folder / "images" / f"{name}.jpg")
    save_mask(drawing.trimap, folder / "annotations" / "trimaps" / f"{name}.png")


def save_image(pixels: np.ndarray, path: Path) -> None:
    """Write an image as JPEG."""
    Image.fromarray(pixels).save(path, quality=QUALITY, optimize=True)


def save_mask(values: np.ndarray, path: Path) -> None:
    """Write a trimap or a mask of class indices as PNG."""
    Image.fromarray(values).save(path, optimize=True)


def image_name(number: int) -> str:
    """The file name, without suffix, of image `number`, such as Marmalade_12."""
    return f"{BREEDS[number % len(BREEDS)].name}_{number // len(BREEDS) + 1}"


def in_test(number: int) -> bool:
    """Whether image `number` belongs to the test: the second of every three of its breed."""
    return number // len(BREEDS) % 3 == 1


def write_lists(folder: Path, count: int) -> None:
    """Write list.txt, trainval.txt and test.txt, ordered by breed and then number."""
    breeds = sorted(BREEDS, key=lambda breed: breed.name.lower())
    lines: dict[int, str] = {}
    for class_id, breed in enumerate(breeds, start=1):
        rank = [other.name for other in breeds if other.species == breed.species].index(breed.name) + 1
        species_id = 1 if breed.species == "cat" else 2
        for number in range(BREEDS.index(breed), count, len(BREEDS)):
            lines[number] = f"{image_name(number)} {class_id} {species_id} {rank}\n"
    cats = sum(breed.species == "cat" for breed in BREEDS)
    header = HEADER.format(classes=len(BREEDS), cats=cats, dogs=len(BREEDS) - cats)
    texts = {
        "list.txt": header + "".join(lines.values()),
        "trainval.txt": "".join(line for number, line in lines.items() if not in_test(number)),
        "test.txt": "".join(line for number, line in lines.items() if in_test(number)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def pack(folder: Path, archive: Path) -> None:
    """Write all files below `folder` into a tar archive; the same files give the same bytes."""
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry, content = tarfile.TarInfo(path.relative_to(folder).as_posix()), path.read_bytes()
            entry.size, entry.mtime = len(content), 1767225600  # 2026-01-01
            tar.addfile(entry, io.BytesIO(content))
