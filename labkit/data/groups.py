"""Images and masks of one's own, flat or in groups (slides, patients, days): their splits and their import."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.data.classes import TABLE, find_classes
from labkit.data.images import check_sizes, in_threads, read_image
from labkit.data.pets import PARTS
from labkit.errors import LabError

TEST_SHARE, VALID_SHARE = 0.3, 0.1


def split_inside_groups(groups: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """Split every group by itself, so that each is on both sides: `train`, `valid` and `test` -> indices.

    A group of n >= 2 images gives round(0.3 n) of them to the test, at least one and never all; a tenth of all images
    is for validation. Images of one group are alike, so such a test says nothing about new groups.

    Raises:
        LabError: there are too few images for three parts.
    """
    labels, parts, seen, given = np.asarray(groups), {part: [] for part in PARTS}, 0, 0
    for rank, group in enumerate(sorted(set(groups))):
        members = np.random.default_rng([seed, rank]).permutation(np.flatnonzero(labels == group))
        tests = min(max(1, round(len(members) * TEST_SHARE)), len(members) - 1)
        # rounded over all groups so far: in small groups alone every share would round to nothing
        seen += len(members)
        valids = min(max(0, round(seen * VALID_SHARE) - given), len(members) - tests - 1)
        given += valids
        cuts = [len(members) - tests - valids, len(members) - tests]
        for part, chosen in zip(PARTS, np.split(members, cuts), strict=True):
            parts[part] += chosen.tolist()
    if not parts["valid"] and len(parts["train"]) > 1:  # a handful of images: one of the group that has most
        most = Counter(groups[i] for i in parts["train"]).most_common(1)[0][0]
        parts["valid"].append(next(i for i in parts["train"] if groups[i] == most))
        parts["train"].remove(parts["valid"][0])
    if not all(parts.values()):
        raise LabError(f"{len(labels)} images in {len(set(groups))} groups: too few for {', '.join(PARTS)}; add images")
    return {part: np.array(sorted(indices), dtype=np.int64) for part, indices in parts.items()}


def split_by_group(groups: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """Deal out whole groups, so that none is on two sides: `train`, `valid` and `test` -> indices.

    0.3 of the groups (not of their images) are for the test, 0.1 for validation, at least one for each.

    Raises:
        LabError: there are fewer than 3 groups.
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise LabError(f"{len(names)} groups ({', '.join(names)}): a split by group needs at least 3; add groups")
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    tests, valids = max(1, round(len(names) * TEST_SHARE)), max(1, round(len(names) * VALID_SHARE))
    dealt = {"train": order[tests + valids :], "valid": order[tests : tests + valids], "test": order[:tests]}
    return {part: np.flatnonzero(np.isin(np.asarray(groups), dealt[part])) for part in PARTS}


def folders(top: Path, names: Iterable[str]) -> list[Path]:
    """All folders of these names (in any case) below `top`, the highest first; hidden ones are passed over."""
    found = [p for p in top.rglob("*") if p.name.lower() in names and p.is_dir()]
    seen = [p for p in found if not re.search(r"(^|/)(\.|__MACOSX)", p.relative_to(top).as_posix())]
    return sorted(seen, key=lambda p: (len(p.parts), p))


def find_groups(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images (`images/` or `imgs/`) and of masks (`masks/`) beside each other, if any."""
    for masks in folders(folder, ["masks"]):
        for images in folders(masks.parent, ["images", "imgs"]):
            if images.parent == masks.parent:
                return images, masks
    return None


def list_groups(images: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Image and mask of each name, out of `images/<group>/` and `masks/<group>/`, in the order of their names.

    Names are `<group>_<stem>`, with `-` for what is neither letter nor digit, so that the last `_` ends the group;
    images in no folder are the group `all`. A mask is called like its image, perhaps with `_mask` behind it.

    Raises:
        LabError: an image has no mask, a mask no image or a twin, a group no image; two images would bear one name.
    """
    found: dict[str, tuple[Path, Path]] = {}
    top = [p for part in (images, masks) for p in sorted(part.glob("[!.]*"))]
    groups, loose = {p.name for p in top if p.is_dir()}, [p for p in top if not p.is_dir()]
    if groups and loose:
        raise LabError(f"{loose[0]}: lies in no group; move it into the folder of its group")
    for group in sorted(groups) or [""]:
        image_of, mask_of = _by_stem(images / group), _by_stem(masks / group, "_mask")
        if not image_of and not mask_of:
            raise LabError(f"{images / group}: the group is empty; delete its folder or add its images")
        for stem, path in (image_of | mask_of).items():
            if stem not in mask_of:
                raise LabError(f"{path}: the image has no mask {masks / group / stem}.png; add it or delete both")
            if stem not in image_of:
                raise LabError(f"{path}: the mask has no image in {images / group}; add it or delete both")
        for stem, path in image_of.items():
            name = "_".join((re.sub(r"[^\w.-]", "-", group or "all"), re.sub(r"[^\w-]|_", "-", stem)))
            if name in found:
                raise LabError(f"{path}: would be called {name!r}, and so would {found[name][0]}; rename one of them")
            found[name] = (path, mask_of[stem])
    return found


def _by_stem(folder: Path, suffix: str = "") -> dict[str, Path]:
    """The image files in a folder, whatever they end in; hidden ones are passed over, others refused."""
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("[!.]*")):
        if path.is_dir() or path.suffix.lower() not in Image.registered_extensions():
            read_image(path)  # says what it is, if no image
        if (other := files.setdefault(path.stem.removesuffix(suffix), path)) != path:
            raise LabError(f"{path}: {other.name} has the same name but for the ending; keep one of them")
    return files


def write_groups(
    files: dict[str, tuple[Path, Path]],
    annotations: Path,
    names: Sequence[str],
    mask_values: Sequence[int],
    ignore: Sequence[int],
) -> None:
    """Write masks, classes, lists and splits of the images of `list_groups`; see `labkit.data.get_pets`."""
    images = list(files)
    groups = [name.rpartition("_")[0] for name in images]
    ranks = {group: rank for rank, group in enumerate(sorted(set(groups)), start=1)}
    families = {"inside-groups": split_inside_groups(groups)}
    if len(ranks) > 2:
        families["by-group"] = split_by_group(groups)
    official = families.get("by-group", families["inside-groups"])
    classes = find_classes([mask for _, mask in files.values()], names, mask_values, ignore)
    (annotations / "trimaps").mkdir(parents=True)

    def write(name: str) -> None:
        mask = classes.mask(files[name][1])
        check_sizes(files[name][0], read_image(*files[name]), mask)
        Image.fromarray(mask).save(annotations / "trimaps" / f"{name}.png", format="PNG")

    list(in_threads(write, files))
    lines = [f"{name} {ranks[group]} 1 {ranks[group]}" for name, group in zip(images, groups, strict=True)]
    lists = {"list": lines, "classes": classes.names, "test": [lines[i] for i in official["test"]]}
    lists["trainval"] = [lines[i] for i in np.sort(np.concatenate([official["train"], official["valid"]]))]
    for family, parts in families.items():
        (annotations / "splits" / family).mkdir(parents=True)
        lists |= {f"splits/{family}/{part}": [images[i] for i in indices] for part, indices in parts.items()}
    for name, content in lists.items():
        (annotations / f"{name}.txt").write_text("\n".join(content) + "\n", encoding="utf-8", newline="\n")
    classes.table().to_csv(annotations / TABLE, index=False, lineterminator="\n")
