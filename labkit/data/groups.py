"""Pictures that lie in groups (slides, patients, days): splits inside the groups or by group, and their import."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.data.images import read_class_mask, read_image
from labkit.data.pets import PARTS, read_classes
from labkit.errors import LabError
from labkit.metrics import IGNORED

ENDINGS = (".jpg", ".jpeg", ".png")


def split_inside_groups(
    groups: Sequence[str], seed: int = 0, test_share: float = 0.3, valid_share: float = 0.1
) -> dict[str, np.ndarray]:
    """Split every group by itself, so that each is on both sides: `train`, `valid` and `test` -> indices.

    A group of n images gives round(n * test_share) of them to the test, at least one and never all when n is 2 or
    more; `valid` is cut out of the rest. Images of one group are alike, so what is learned of a group in training
    helps in its test: such a test says nothing about new groups.

    Args:
        groups: the group of each image.
        seed: decides which images.
        test_share: of the images of each group.
        valid_share: of all images.

    Raises:
        LabError: the shares leave nothing for training, or there are too few images for three parts.
    """
    _check_shares(test_share, valid_share)
    labels, parts, seen, given = np.asarray(groups), {part: [] for part in PARTS}, 0, 0
    for rank, group in enumerate(sorted(set(groups))):
        members = np.random.default_rng([seed, rank]).permutation(np.flatnonzero(labels == group))
        tests = min(max(1, round(len(members) * test_share)), len(members) - 1)
        # rounded over all groups so far: in small groups alone every share would round to nothing
        seen += len(members)
        valids = min(max(0, round(seen * valid_share) - given), len(members) - tests - 1)
        given += valids
        cuts = [len(members) - tests - valids, len(members) - tests]
        for part, chosen in zip(PARTS, np.split(members, cuts), strict=True):
            parts[part] += chosen.tolist()
    if not parts["valid"] and len(parts["train"]) > 1:  # a handful of images: one of the group that has most
        most = Counter(groups[i] for i in parts["train"]).most_common(1)[0][0]
        parts["valid"].append(next(i for i in parts["train"] if groups[i] == most))
        parts["train"].remove(parts["valid"][0])
    return _as_indices(parts, f"{len(labels)} images in {len(set(groups))} groups")


def split_by_group(
    groups: Sequence[str], seed: int = 0, test_share: float = 0.3, valid_share: float = 0.1
) -> dict[str, np.ndarray]:
    """Deal out whole groups, so that none is on two sides: `train`, `valid` and `test` -> indices.

    The shares are of the groups, not of their images, and each part gets at least one group.

    Raises:
        LabError: the shares leave nothing for training, or there are fewer than 3 groups.
    """
    _check_shares(test_share, valid_share)
    names = sorted(set(groups))
    if len(names) < 3:
        raise LabError(f"{len(names)} groups ({', '.join(names)}): a split by group needs at least 3; add groups")
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    tests = min(max(1, round(len(names) * test_share)), len(names) - 2)
    valids = min(max(1, round(len(names) * valid_share)), len(names) - tests - 1)
    dealt = {"test": order[:tests], "valid": order[tests : tests + valids], "train": order[tests + valids :]}
    return {part: np.flatnonzero(np.isin(np.asarray(groups), dealt[part])) for part in PARTS}


def _check_shares(test_share: float, valid_share: float) -> None:
    if not (test_share > 0 and valid_share > 0 and test_share + valid_share < 1):
        raise LabError(
            f"shares: {test_share} for the test and {valid_share} for validation; both above 0, below 1 together"
        )


def _as_indices(parts: dict[str, list[int]], what: str) -> dict[str, np.ndarray]:
    if hollow := [part for part, indices in parts.items() if not indices]:
        raise LabError(f"{what}: too few for {', '.join(PARTS)}, nothing is left for {hollow[0]}; add images")
    return {part: np.array(sorted(indices), dtype=np.int64) for part, indices in parts.items()}


@dataclass(frozen=True)
class GroupImage:
    """An image of a group and its mask of class indices."""

    name: str
    """`<group>_<stem>`, as the lists call it."""
    group: str
    image: Path
    mask: Path


def has_groups(folder: Path) -> bool:
    """Whether `folder` holds images and masks in folders of groups: `images/<group>/` and `masks/<group>/`."""
    return all(
        (folder / part).is_dir() and any(map(_is_group, (folder / part).iterdir())) for part in ("images", "masks")
    )


def list_groups(folder: Path) -> list[GroupImage]:
    """All images in `images/<group>/*.jpg|png` with their masks `masks/<group>/*.png`, in the order of their names.

    Names are `<group>_<stem>`; in a stem everything but letters, digits and `-` becomes `-`, so that the last `_`
    of a name ends its group.

    Raises:
        LabError: an image has no mask, a mask no image, a group no image, or two images would bear one name.
    """
    found: dict[str, GroupImage] = {}
    if loose := sorted(p for part in ("images", "masks") for p in (folder / part).glob("*.*") if p.suffix in ENDINGS):
        raise LabError(f"{loose[0]}: lies in no group; move it into the folder of its group")
    names = {p.name for part in ("images", "masks") for p in (folder / part).iterdir() if _is_group(p)}
    for group in sorted(names):
        images, masks = (
            _files(folder / part / group, ends) for part, ends in (("images", ENDINGS), ("masks", (".png",)))
        )
        if not images and not masks:
            raise LabError(f"{folder / 'images' / group}: the group is empty; delete its folder or add its images")
        stems, mask_of = {path.stem for path in images}, {path.stem: path for path in masks}
        if alone := [path for path in images if path.stem not in mask_of]:
            raise LabError(
                f"{alone[0]}: the image has no mask masks/{group}/{alone[0].stem}.png; add it or delete both"
            )
        if alone := [path for path in masks if path.stem not in stems]:
            raise LabError(f"{alone[0]}: the mask has no image in images/{group}; add it or delete both")
        for path in images:
            name = "_".join((re.sub(r"[^\w.-]", "-", group), re.sub(r"[^\w-]|_", "-", path.stem)))
            if name in found:
                raise LabError(
                    f"{path}: would be called {name!r}, and so would {found[name].image}; rename one of them"
                )
            found[name] = GroupImage(name, group, path, mask_of[path.stem])
    return list(found.values())


def write_groups(folder: Path, target: Path, seed: int = 0, test_share: float = 0.3, valid_share: float = 0.1) -> None:
    """Bring images and masks in groups into the one layout, at `target`; see `labkit.data.import_groups`."""
    items = list_groups(folder)
    groups = [item.group for item in items]
    ranks = {group: rank for rank, group in enumerate(sorted(set(groups)), start=1)}
    inside = split_inside_groups(groups, seed, test_share, valid_share)
    apart = split_by_group(groups, seed, test_share, valid_share)
    annotations = target / "annotations"
    for part in (target / "images", annotations / "trimaps"):
        part.mkdir(parents=True)

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        found = list(pool.map(_values, items))
    classes, two_hundred_fifty_five_is_one = _classes(folder, items, found)

    def write(item: GroupImage) -> None:
        mask = read_class_mask(item.mask)
        mask = (mask == IGNORED).astype(np.uint8) if two_hundred_fifty_five_is_one else mask
        Image.fromarray(mask).save(annotations / "trimaps" / f"{item.name}.png", format="PNG")
        shutil.copyfile(item.image, target / "images" / f"{item.name}.jpg")

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, items))
    lines = [f"{item.name} {ranks[item.group]} 1 {ranks[item.group]}" for item in items]
    lists = {"list": lines, "classes": classes}
    lists["trainval"] = [lines[i] for i in np.sort(np.concatenate([apart["train"], apart["valid"]]))]
    lists["test"] = [lines[i] for i in apart["test"]]
    for family, parts in (("inside-groups", inside), ("by-group", apart)):
        (annotations / "splits" / family).mkdir(parents=True)
        lists |= {f"splits/{family}/{part}": [items[i].name for i in indices] for part, indices in parts.items()}
    for name, content in lists.items():
        (annotations / f"{name}.txt").write_text("\n".join(content) + "\n", encoding="utf-8", newline="\n")


def _values(item: GroupImage) -> np.ndarray:
    """The values in a mask, once image and mask are found to be sound and of one size."""
    mask, image = read_class_mask(item.mask), read_image(item.image, item.mask)
    if image.shape[:2] != mask.shape:
        raise LabError(
            f"{item.image}: the image is {image.shape[1]}x{image.shape[0]} pixels, its mask "
            f"{mask.shape[1]}x{mask.shape[0]}; bring both to one size"
        )
    return np.unique(mask)


def _classes(folder: Path, items: list[GroupImage], found: list[np.ndarray]) -> tuple[tuple[str, ...], bool]:
    """Names of the classes, and whether 255 stands for class 1."""
    path, values = folder / "classes.txt", np.unique(np.concatenate(found))
    names = read_classes(path) if path.is_file() else ()
    if len(names) in (0, 2) and IGNORED in values and set(values.tolist()) <= {0, IGNORED}:
        return names or ("background", "class 1"), True
    highest = max((int(value) for value in values if value != IGNORED), default=0)
    if highest == 0:
        raise LabError(f"{folder / 'masks'}: no mask holds a class, all {len(items)} are background; take other masks")
    if names and highest >= len(names):
        worst = next(item for item, held in zip(items, found, strict=True) if highest in held)
        raise LabError(
            f"{worst.mask}: holds the class index {highest}, but {path} names 0 to {len(names) - 1}; add a line"
        )
    return names or ("background", *(f"class {index}" for index in range(1, highest + 1))), False


def _is_group(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files of a group in the order of their names; hidden ones are passed over, foreign ones refused."""
    files = sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
    if foreign := [p for p in files if p.suffix.lower() not in endings or not p.is_file()]:
        raise LabError(f"{foreign[0]}: expected a file that ends in {' or '.join(endings)}; convert or delete it")
    return files
