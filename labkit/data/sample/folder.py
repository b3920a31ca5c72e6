"""The sample on disk, in the layout of the Oxford-IIIT Pet data set."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from labkit.data.sample.breeds import BREEDS, Breed
from labkit.data.sample.drawing import draw_pet
from labkit.errors import LabError

FOLDER = "oxford-iiit-pet"
FEWEST = 2 * len(BREEDS)  # one picture of each breed for training and one for the test
EDITION = 1  # raised whenever the drawings change, so that an older sample is not taken for this one
POOL_FROM = 1500  # below this many pictures, starting other processes takes longer than it saves

HEADER = """#Image CLASS-ID SPECIES BREED ID
#ID: 1:{classes} Class ids
#SPECIES: 1:Cat 2:Dog
#BREED ID: 1-{cats}:Cat 1:{dogs}:Dog
#All images with 1st letter as capital are cat images
#images with small first letter are dog images
"""


def draw_sample(
    root: Path | str,
    *,
    count: int = 600,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw `count` pictures into `<root>/oxford-iiit-pet` and return `root`.

    Two thirds are for training and validation (`trainval.txt`), one third for the test (`test.txt`), and
    every breed is in both; a larger `count` adds pictures and changes none. The folder appears when it is
    complete or not at all, also when two processes draw it at once. If the same sample is there already,
    nothing is drawn. `workers` is the number of processes (default: one per core, at most 8); `progress`
    is called with the number of pictures drawn so far and `count`.

    Raises:
        LabError: `count` is below 12, `seed` is negative, or `root` holds another data set.
    """
    if count < FEWEST:
        raise LabError(f"count is {count}, but the sample needs at least {FEWEST} pictures: ask for more")
    if seed < 0:
        raise LabError(f"seed is {seed}, but it must be 0 or more")
    root = Path(root)
    target = root / FOLDER
    mark = {"drawn_by": "labkit", "edition": EDITION, "seed": seed, "count": count}
    if is_drawn(target, mark):
        return root
    new_root = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{FOLDER}-", dir=root))
    try:
        (draft / "images").mkdir()
        (draft / "annotations" / "trimaps").mkdir(parents=True)
        draw_all(draft, seed, count, workers, progress)
        write_lists(draft / "annotations", count)
        (draft / "sample.json").write_text(json.dumps(mark) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        try:
            os.replace(draft, target)
        except OSError:
            # Another process may have finished the same sample first; anything else is an error.
            if not is_drawn(target, mark):
                raise
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        if new_root and not any(root.iterdir()):
            root.rmdir()
        raise
    shutil.rmtree(draft, ignore_errors=True)
    return root


def is_drawn(target: Path, mark: dict[str, str | int]) -> bool:
    """Whether `target` holds the sample that `mark` describes; LabError when it holds something else."""
    if not target.is_dir() or not any(target.iterdir()):
        return False
    try:
        found = json.loads((target / "sample.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != mark:
        raise LabError(f"{target} holds another data set: choose another folder or remove that one")
    return True


def draw_all(
    draft: Path, seed: int, count: int, workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    """Draw the pictures and trimaps into the folder `draft`, in several processes when there are many."""
    draw = partial(draw_files, draft, seed)
    workers = min(os.cpu_count() or 1, 8) if workers is None else workers
    if workers > 1 and count >= POOL_FROM:
        try:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                try:
                    count_up(pool.map(draw, range(count), chunksize=10), count, progress)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            return
        except BrokenProcessPool:
            pass  # a script without a main guard cannot start processes: draw here instead
    count_up(map(draw, range(count)), count, progress)


def count_up(done: Iterator[None], count: int, progress: Callable[[int, int], None] | None) -> None:
    """Wait for every picture and report each."""
    for number, _ in enumerate(done, start=1):
        if progress is not None:
            progress(number, count)


def draw_files(draft: Path, seed: int, number: int) -> None:
    """Draw one picture and write it and its trimap; both are PNG, whatever the name of the picture says."""
    drawing = draw_pet(seed, number)
    name = picture_name(number)
    # The official names end in .jpg; readers look at the content, and PNG keeps every pixel.
    Image.fromarray(drawing.image).save(draft / "images" / f"{name}.jpg", format="PNG", compress_level=1)
    Image.fromarray(drawing.trimap).save(draft / "annotations" / "trimaps" / f"{name}.png", format="PNG")


def picture_name(number: int) -> str:
    """The file name, without suffix, of picture `number`, such as Marmalade_12."""
    return f"{BREEDS[number % len(BREEDS)].name}_{number // len(BREEDS) + 1}"


def in_test(number: int) -> bool:
    """Whether picture `number` belongs to the test: the second of every three of its breed."""
    return number // len(BREEDS) % 3 == 1


def write_lists(folder: Path, count: int) -> None:
    """Write list.txt, trainval.txt and test.txt, ordered by breed and then number."""
    breeds = sorted(BREEDS, key=lambda breed: breed.name.lower())
    lines: dict[int, str] = {}
    for class_id, breed in enumerate(breeds, start=1):
        rank = [other.name for other in breeds if other.species == breed.species].index(breed.name) + 1
        for number in range(BREEDS.index(breed), count, len(BREEDS)):
            lines[number] = f"{picture_name(number)} {class_id} {species_id(breed)} {rank}\n"
    cats = sum(breed.species == "cat" for breed in BREEDS)
    header = HEADER.format(classes=len(BREEDS), cats=cats, dogs=len(BREEDS) - cats)
    texts = {
        "list.txt": header + "".join(lines.values()),
        "trainval.txt": "".join(line for number, line in lines.items() if not in_test(number)),
        "test.txt": "".join(line for number, line in lines.items() if in_test(number)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def species_id(breed: Breed) -> int:
    """1 for a cat, 2 for a dog."""
    return 1 if breed.species == "cat" else 2
