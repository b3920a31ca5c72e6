"""Check of the last stage of notebook 01's build: a Dataset that equals `PetDataset`."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from course.checks.dataset_build import SIDE, drawn_pair, judge_image, judge_mask
from course.checks.verdict import Check, Collected, WrongAnswer, as_array, call, expect
from labkit.data import read_image, resize_image


def _size(number: int) -> tuple[int, int]:
    return 100 + 10 * number, 120 - 8 * number


def _write_data(root: Path, seed: int) -> list[str]:
    """Six pairs; two of the files called .jpg are something else, one is gray, the last is not asked for."""
    kinds = {"Abyssinian_1": "JPEG", "Abyssinian_2": "PNG", "beagle_1": "GIF", "beagle_2": "JPEG", "pug_1": "JPEG"}
    kinds["Birman_1"] = "JPEG"
    for folder in ("images", "annotations/trimaps"):
        (root / folder).mkdir(parents=True)
    for number, (name, kind) in enumerate(kinds.items()):
        pixels, trimap = drawn_pair(seed + number, *_size(number))
        image = Image.fromarray(pixels).convert({"PNG": "RGBA", "GIF": "P"}.get(kind, "RGB"))
        image = image.convert("L") if name == "pug_1" else image
        image.save(root / "images" / f"{name}.jpg", format=kind)
        Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
    return list(kinds)


ASKED = (4, 0, 3, 1, 2)
"""Of the names that are written: neither sorted nor all."""


def _collect_dataset(student: Callable, seed: int) -> Collected:
    what, found = "pet_pairs", {}
    with tempfile.TemporaryDirectory() as folder:
        written, root = _write_data(Path(folder), seed), Path(folder)
        names = [written[number] for number in ASKED]
        dataset = call(student, root, names, SIDE, what=what)
        expect(isinstance(dataset, Dataset), f"{what}: derive the class from torch.utils.data.Dataset")
        for method in ("__len__", "__getitem__"):
            expect(
                method in {m for kind in type(dataset).__mro__[:-1] for m in vars(kind)}, f"{what}: {method} is missing"
            )
        found["length"] = np.array(call(len, dataset, what=f"{what}, len"))
        for number in range(len(names)):
            pair = call(dataset.__getitem__, number, what=f"{what}[{number}] ({names[number]})")
            expect(isinstance(pair, tuple | list) and len(pair) == 2, f"{what}: an item is a pair of image and mask")
            found[f"image {number}"], found[f"mask {number}"] = (as_array(part, what) for part in pair)
        batch = call(lambda: next(iter(DataLoader(dataset, batch_size=len(names)))), what=f"{what} in a DataLoader")
        found["batch images"], found["batch masks"] = (as_array(part, what) for part in batch)
        calls = []

        def mark(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            calls.append(image.shape)
            return image * 0, mask * 0 + 1

        marked = call(lambda: student(root, names, SIDE, mark)[0], what=f"{what} with transform(image, mask)")
        twice = "the transform is called twice for one item; image and mask go through one draw"
        expect(len(calls) < 2, f"{what}: {twice}")
        found["marked image"], found["marked mask"] = (as_array(part, what) for part in marked)
    return found


def _judge_dataset(arrays: Collected, seed: int) -> None:
    what = "pet_pairs"
    with tempfile.TemporaryDirectory() as folder:
        written, root = _write_data(Path(folder), seed), Path(folder) / "images"
        names = [written[number] for number in ASKED]
        expect(int(arrays["length"]) == len(names), f"{what}: len() says {arrays['length']} for {len(names)} names")
        for number, name in enumerate(names):
            where, found = f"{what}[{number}] ({name})", arrays[f"image {number}"]
            expect(
                found.ndim != 3 or found.shape[0] in (3, SIDE),
                f"{where}: {found.shape[0]} channels; a file may be gray, have a palette or be transparent: use RGB",
            )
            others = [other for other in written if other != name and _is_of(found, root / f"{other}.jpg")]
            order = "the names are not all files of the folder, and keep the order in which they come"
            expect(not others, f"{where}: that is the image of {others[:1]}; {order}")
            try:
                judge_image(where, found, read_image(root / f"{name}.jpg"))
            except WrongAnswer as wrong:
                mode = Image.open(root / f"{name}.jpg").mode
                raise wrong if mode == "RGB" else WrongAnswer(f"{wrong} (The file has mode {mode}.)") from None
            place = ASKED[number]
            judge_mask(where, arrays[f"mask {number}"], drawn_pair(seed + place, *_size(place))[1])
    images = np.stack([arrays[f"image {number}"] for number in range(len(names))])
    expect(
        np.array_equal(arrays["batch images"], images),
        f"{what}: a DataLoader's batch holds other images than the items one by one",
    )
    expect(
        not arrays["marked image"].any() and (arrays["marked mask"] == 1).all(),
        f"{what}: the transform is not used; __getitem__ returns transform(image, mask), if there is one",
    )


def _is_of(found: np.ndarray, path: Path) -> bool:
    right = resize_image(read_image(path), (SIDE, SIDE)).transpose(2, 0, 1) / 255
    return found.shape == right.shape and np.abs(found - right).mean() < 0.004


pet_pairs = Check("pet_pairs", "a DataLoader takes it, and it agrees with PetDataset", _collect_dataset, _judge_dataset)
