"""Getting data onto disk: fetched by torchvision, or taken from an archive or folder; whole or nothing."""

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.data.classes import class_mask, find_classes
from labkit.data.images import check_sizes, in_threads, read_image
from labkit.data.lists import read_classes, read_list, split_by_group, split_inside_groups
from labkit.data.pets import DRAWN, Pets, data_root, open_pets
from labkit.errors import LabError
from labkit.files import PARTIAL
from labkit.metrics import IGNORED

LAYOUT = "oxford-iiit-pet"
LISTS = ("list.txt", "trainval.txt", "test.txt")
MASK_VALUES = "mask-values.csv"


def get_pets(data: str | Path = "pets", source: str | Path | None = None, mask_values: Sequence[int] = ()) -> Pets:
    """Put a data set where `open_pets(data)` finds it; what is there already stays as it is.

    Args:
        data: `sample` or `slides` (which come with labkit), `pets` (fetched by torchvision with its checksums), or a
            folder to import into.
        source: an archive, a folder, or a folder with the two official archives. It holds the official layout, or
            images and masks of one's own: `images/` (or `imgs/`) beside `masks/`, with files or with folders of groups,
            which take the place of breeds, perhaps `classes.txt` (names, the background first). They get the split
            `inside-groups` and, of 3 groups and more, `by-group`; the last is the official one, too.
        mask_values: the values of the classes in masks of one's own, see `find_classes`.

    Raises:
        LabError: there are other data already, or the source is missing, damaged or ambiguous; nothing is left behind.
    """
    root = data_root(data)
    if mask_values and source is None:
        raise LabError("--mask-values: only for data that are taken from somewhere (--from)")
    if str(data) in DRAWN and source is not None:
        raise LabError(f"{data}: comes with labkit; import {source} into `pets` or a folder of your own")
    if (root / LAYOUT).exists() and source is not None:
        there = len(open_pets(data))
        raise LabError(f"{root / LAYOUT}: {there} images are there already; delete that folder to replace them")
    if source is not None:
        import_pets(Path(source).expanduser(), root, mask_values)
    elif str(data) == "pets" and not (root / LAYOUT).exists():
        _fetch_pets(root)
    return open_pets(data)


def _fetch_pets(root: Path) -> None:
    """Download the official archives (about 800 MB) through torchvision, which checks them, and unpack them."""
    from torchvision.datasets import OxfordIIITPet

    # one folder for all attempts: an archive that was fetched whole is not fetched again
    waiting = root.with_name(f"{PARTIAL}{root.name}-fetching")
    try:
        OxfordIIITPet(waiting, split="trainval", target_types="segmentation", download=True)
    except (OSError, RuntimeError) as error:
        raise LabError(
            f"the official archives could not be fetched ({error}); check the network, or name a copy that you have: "
            "`labkit data get --data pets --from ARCHIVE-OR-FOLDER`"
        ) from None
    import_pets(waiting / LAYOUT, root)
    shutil.rmtree(waiting)


def import_pets(source: Path, root: Path, mask_values: Sequence[int] = ()) -> None:
    """Take a data set out of an archive or folder into `<root>/oxford-iiit-pet`, in one piece (see `get_pets`)."""
    if not source.exists():
        raise LabError(f"{source}: no such archive or folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".importing-") as work:
            unpacked, chosen = Path(work) / "unpacked", Path(work) / LAYOUT
            pair = [source / "images.tar.gz", source / "annotations.tar.gz"]  # as they are fetched
            archives = [source] if source.is_file() else pair if all(path.is_file() for path in pair) else []
            for archive in archives:
                _unpack(archive, unpacked)
            (chosen / "annotations" / "trimaps").mkdir(parents=True)
            (chosen / "images").mkdir()
            files = _take_annotations(unpacked if archives else source, chosen / "annotations", mask_values)
            for name, (image, _) in files.items():
                shutil.copyfile(image, chosen / "images" / f"{name}.jpg")
            os.replace(chosen, root / LAYOUT)
    except OSError as error:
        raise LabError(
            f"{error.filename or root}: {error.strerror or error}; free the disk, change the permissions, or choose "
            "another folder; nothing was left behind"
        ) from None


def _unpack(archive: Path, target: Path) -> None:
    """Unpack a zip archive or a tar of any compression; nothing lands outside `target`."""
    kind = {"format": "zip"} if zipfile.is_zipfile(archive) else {"format": "tar", "filter": "data"}
    try:
        shutil.unpack_archive(archive, target, **kind)
    except Exception as error:  # of shutil, tarfile, zipfile and every decompressor
        if getattr(error, "errno", None):
            raise  # the disk's fault
        remedy = "copy it again, or unpack it yourself and name the folder"
        raise LabError(f"{archive}: cannot be unpacked ({error}); {remedy}") from None


def _take_annotations(source: Path, target: Path, mask_values: Sequence[int]) -> dict[str, tuple[Path, Path]]:
    """Fill the new folder `annotations`; returns image and mask (or trimap) of each name in the source."""
    for annotations in _folders(source, {"annotations"}):
        if all((annotations / name).is_file() for name in LISTS):
            if mask_values:
                raise LabError(f"{source}: is in the official layout, which has no use for values of masks")
            return _take_listed(source, annotations, target)
    for masks in _folders(source, {"masks"}):
        for images in _folders(masks.parent, {"images", "imgs"}):
            if images.parent == masks.parent:
                files, names = _pair_files(images, masks), images.parent / "classes.txt"
                _write_annotations(files, target, read_classes(names) if names.is_file() else (), mask_values)
                return files
    raise LabError(
        f"{source}: no folder there holds images/ and annotations/ with {', '.join(LISTS)}, nor images/ and masks/; it "
        "is another data set"
    )


def _folders(top: Path, names: set[str]) -> list[Path]:
    """All folders of these names (in any case) below `top`, the highest first; hidden ones are passed over."""
    found = [p for p in top.rglob("*") if p.name.lower() in names and p.is_dir()]
    seen = [p for p in found if not re.search(r"(^|/)(\.|__MACOSX)", p.relative_to(top).as_posix())]
    return sorted(seen, key=lambda p: (len(p.parts), p))


def _take_listed(source: Path, annotations: Path, target: Path) -> dict[str, tuple[Path, Path]]:
    """Copy the lists and the listed trimaps; returns image and trimap of each name."""
    names = [pet.name for pet in read_list(annotations / "list.txt")]
    images = [*_folders(source, {"images"}), source / "images"][0]
    image_of, trimap_of = _listed(images, names, ".jpg"), _listed(annotations / "trimaps", names, ".png")
    for name in names:
        shutil.copyfile(trimap_of[name], target / "trimaps" / f"{name}.png")
    others = shutil.ignore_patterns("trimaps", "xmls", ".*")
    shutil.copytree(annotations, target, ignore=others, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return {name: (image_of[name], trimap_of[name]) for name in names}


def _listed(folder: Path, names: list[str], ending: str) -> dict[str, Path]:
    """The file of each name: the one with the usual ending, or another image (NAME.JPG), but not NAME.mat."""
    inner = folder.glob(f"{folder.name}/[!.]*")  # some copies have images/images
    found = sorted([*inner, *folder.glob("[!.]*")], key=lambda p: (p.suffix == ending, p))
    files = {p.stem: p for p in found if p.suffix.lower() in Image.registered_extensions() and p.stat().st_size}
    if missing := [name for name in names if name not in files]:
        raise LabError(
            f"{folder}: {len(missing)} of {len(names)} listed files are missing or empty, the first is "
            f"{missing[0]}{ending}; the copy is incomplete, get it again"
        )
    return files


def _pair_files(images: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Image and mask of each name, out of `images/` and `masks/` or `images/<group>/` and `masks/<group>/`.

    Names are `<group>_<stem>`, with `-` for what is neither letter nor digit, so that the last `_` ends the group;
    images in no folder are the group `all`. A mask is called like its image, perhaps with `_mask` behind it.
    """
    image_of, mask_of, files = _by_group_and_stem(images), _by_group_and_stem(masks, "_mask"), {}
    for paths, others, other in ((image_of, mask_of, masks), (mask_of, image_of, images)):
        if alone := sorted(paths.keys() - others.keys()):
            raise LabError(f"{paths[alone[0]]}: none in {other / alone[0][0]} has its name; add it, or delete this one")
    for (group, stem), path in sorted(image_of.items()):
        name = "_".join((re.sub(r"[^\w.-]", "-", group or "all"), re.sub(r"[^\w-]|_", "-", stem)))
        if name in files:
            raise LabError(f"{path}: would be called {name!r}, and so would {files[name][0]}; rename one of them")
        files[name] = (path, mask_of[group, stem])
    return files


def _by_group_and_stem(folder: Path, suffix: str = "") -> dict[tuple[str, str], Path]:
    """The image files in a folder and its folders; hidden ones are passed over, what is no image is refused."""
    files: dict[tuple[str, str], Path] = {}
    loose = [path for path in folder.glob("[!.]*") if not path.is_dir()]
    for path in sorted([*loose, *folder.glob("[!.]*/[!.]*")]):
        if path.is_dir() or path.suffix.lower() not in Image.registered_extensions():
            read_image(path)  # says what it is, if no image
        key = ("" if path.parent == folder else path.parent.name, path.stem.removesuffix(suffix))
        if (other := files.setdefault(key, path)) != path:
            raise LabError(f"{path}: {other.name} has the same name but for the ending; keep one of them")
    return files


def _write_annotations(
    files: dict[str, tuple[Path, Path]], annotations: Path, names: Sequence[str], mask_values: Sequence[int]
) -> None:
    """Write masks, classes, lists and splits of images and masks of one's own (see `get_pets`)."""
    images = list(files)
    groups = [name.rpartition("_")[0] for name in images]
    ranks = {group: rank for rank, group in enumerate(sorted(set(groups)), start=1)}
    families = {"inside-groups": split_inside_groups(groups)}
    if len(ranks) > 2:
        families["by-group"] = split_by_group(groups)
    official = families.get("by-group", families["inside-groups"])
    classes = find_classes([mask for _, mask in files.values()], names, mask_values)
    classes.to_csv(annotations / MASK_VALUES, index=False, lineterminator="\n")

    def write(name: str) -> None:
        mask = class_mask(files[name][1], classes)
        check_sizes(files[name][0], read_image(*files[name]), mask)
        Image.fromarray(mask).save(annotations / "trimaps" / f"{name}.png", format="PNG")

    list(in_threads(write, files))
    lines = [f"{name} {ranks[group]} 1 {ranks[group]}" for name, group in zip(images, groups, strict=True)]
    lists = {
        "list": lines,
        "classes": classes["class"][classes["index"] != IGNORED],
        "test": [lines[i] for i in official["test"]],
    }
    lists["trainval"] = [lines[i] for i in np.sort(np.concatenate([official["train"], official["valid"]]))]
    for family, parts in families.items():
        (annotations / "splits" / family).mkdir(parents=True)
        lists |= {f"splits/{family}/{part}": [images[i] for i in indices] for part, indices in parts.items()}
    for name, content in lists.items():
        (annotations / f"{name}.txt").write_text("\n".join(content) + "\n", encoding="utf-8", newline="\n")
