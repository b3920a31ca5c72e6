"""Getting the data onto disk: fetched by torchvision, or taken from an archive or folder; whole or nothing."""

import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from labkit.data.groups import has_groups, write_groups
from labkit.data.pets import DRAWN, Pets, data_root, open_pets, read_list
from labkit.errors import LabError

LAYOUT = "oxford-iiit-pet"
LISTS = ("list.txt", "trainval.txt", "test.txt")


def get_pets(data: str | Path = "pets", source: str | Path | None = None) -> Pets:
    """Put a data set where `open_pets(data)` finds it; what is there already stays as it is.

    Args:
        data: `sample` or `slides` (which come with labkit), `pets` (fetched by torchvision with its checksums), or a
            folder to import into.
        source: take the data from this archive (tar, tar.gz, tar.xz, zip), this folder, or this folder with
            the two official archives in it, instead of fetching them.

    Raises:
        LabError: there are other data already, or the source is missing, damaged or incomplete. Nothing is
            left behind then.
    """
    root = data_root(data)
    if str(data) in DRAWN:
        if source is not None:
            raise LabError(f"{data}: comes with labkit; import {source} into `pets` or a folder of your own")
        return open_pets(data)
    if (root / LAYOUT).exists():
        pets = open_pets(data)
        if source is not None:
            raise LabError(f"{root / LAYOUT}: {len(pets)} pets are there already; delete that folder to replace them")
        return pets
    if source is not None:
        import_pets(Path(source).expanduser(), root)
    elif str(data) == "pets":
        fetch_pets(root)
    else:
        return open_pets(data)  # a folder of the user's own: nothing to get, but it must be readable
    return open_pets(data)


def fetch_pets(root: Path) -> None:
    """Download the official archives (about 800 MB) through torchvision, which checks them, and unpack them."""
    from torchvision.datasets import OxfordIIITPet

    # one folder for all attempts: an archive that was fetched whole is not fetched again
    waiting = root.with_name(f".{root.name}-fetching")
    try:
        OxfordIIITPet(waiting, split="trainval", target_types="segmentation", download=True)
    except (OSError, RuntimeError) as error:
        raise LabError(
            f"the official archives could not be fetched ({error}); check the network, or name a copy that you have: "
            "`labkit data get --data pets --from ARCHIVE-OR-FOLDER`"
        ) from None
    import_pets(waiting / LAYOUT, root)
    shutil.rmtree(waiting)


def import_pets(source: Path, root: Path) -> None:
    """Take a data set out of an archive or folder into `<root>/oxford-iiit-pet`, checked, in one piece.

    The official layout is copied, and images and masks in groups are brought into it (see `import_groups`); either
    is found under whatever top folder it has.
    """

    def take(folder: Path, target: Path, unpacked: bool) -> None:
        if (place := find_layout(folder)) is not None:
            _copy_listed(place, target, move=unpacked)
        elif (place := find_groups(folder)) is not None:
            write_groups(place, target)
        else:
            raise LabError(
                f"{source}: no folder there holds images/ and annotations/ with {', '.join(LISTS)}, nor "
                "images/<group>/ and masks/<group>/; it is another data set"
            )

    _import(source, root, take)


def import_groups(
    source: str | Path, root: str | Path, seed: int = 0, test_share: float = 0.3, valid_share: float = 0.1
) -> Pets:
    """Bring images and masks in groups, in a folder or archive, into the one layout at `<root>/oxford-iiit-pet`.

    The source holds `images/<group>/*.jpg|png`, `masks/<group>/*.png` of the same stems, whose values are class
    indices (0 = background, 255 = ignored), and perhaps `classes.txt`, a name a line; without it the classes are
    called `background`, `class 1`, ... If all masks together hold nothing but 0 and 255, and there are no names or
    two, then 255 means class 1. Images are called `<group>_<stem>`, and a group takes the place of a breed.

    Two splits are written, the same for the same seed on every machine: `inside-groups` (`split_inside_groups`)
    and `by-group` (`split_by_group`), whose test part is also that of the official lists.

    Raises:
        LabError: an image has no mask or a mask no image, their sizes differ, a group is empty, there are fewer
            than 3 groups, or `root` holds a data set. Nothing is left behind then.
    """
    source, root = Path(source).expanduser(), Path(root).expanduser()
    if (root / LAYOUT).exists():
        raise LabError(f"{root / LAYOUT}: there are data already; delete that folder to replace them")

    def take(folder: Path, target: Path, _: bool) -> None:
        place = find_groups(folder)
        if place is None:
            raise LabError(
                f"{source}: no folder there holds images/<group>/ and masks/<group>/; it is another data set"
            )
        write_groups(place, target, seed, test_share, valid_share)

    _import(source, root, take)
    return open_pets(root)


def _import(source: Path, root: Path, take: Callable[[Path, Path, bool], None]) -> None:
    """Let `take(folder, target, unpacked)` fill the layout from the source's folder; it appears whole or not at all."""
    if not source.exists():
        raise LabError(f"{source}: no such archive or folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".importing-") as work:
            unpacked = Path(work) / "unpacked"
            if source.is_file():
                unpack(source, unpacked)
            elif archives := _official_archives(source):
                for archive in archives:
                    unpack(archive, unpacked)
            chosen = Path(work) / LAYOUT
            take(unpacked if unpacked.exists() else source, chosen, unpacked.exists())
            os.replace(chosen, root / LAYOUT)
    except OSError as error:
        raise LabError(f"{root}: the data could not be written there ({error}); nothing was left behind") from None


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar (of any compression) or zip archive; nothing may land outside `target`."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for name in file.namelist():
                    if Path(name).is_absolute() or ".." in Path(name).parts:
                        raise LabError(
                            f"{archive}: holds {name!r}, which would land outside the target; do not trust it"
                        )
                file.extractall(target)
        else:
            with tarfile.open(archive) as file:
                file.extractall(target, filter="data")
    except tarfile.FilterError as error:
        raise LabError(
            f"{archive}: holds a file that would land outside the target ({error}); do not trust it"
        ) from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise LabError(
            f"{archive}: the archive is damaged, cut off, or none that is known ({error}); copy it again"
        ) from None


def find_layout(folder: Path) -> Path | None:
    """The folder below (or at) `folder` that holds `images/` and `annotations/` with the lists, if any."""
    for candidate in (folder, *sorted(p for p in folder.rglob("*") if p.is_dir() and p.name == "annotations")):
        place = candidate.parent if candidate.name == "annotations" and candidate != folder else candidate
        if (place / "images").is_dir() and all((place / "annotations" / name).is_file() for name in LISTS):
            return place
    return None


def find_groups(folder: Path) -> Path | None:
    """The folder below (or at) `folder` that holds `images/<group>/` and `masks/<group>/`, if any."""
    above = sorted(p.parent for p in folder.rglob("masks") if p.is_dir())
    return next((place for place in above if has_groups(place)), None)


def _copy_listed(folder: Path, target: Path, move: bool) -> None:
    """Take the lists and what they name, and refuse a set that is not complete."""
    items = read_list(folder / "annotations" / "list.txt")
    files = [f"images/{p.name}.jpg" for p in items] + [f"annotations/trimaps/{p.name}.png" for p in items]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise LabError(
            f"{folder}: {len(missing)} of {len(files)} listed files are missing, the first is {missing[0]}; "
            "the copy is incomplete, get it again"
        )
    if hollow := [name for name in files if (folder / name).stat().st_size == 0]:
        raise LabError(
            f"{folder}: {len(hollow)} files are empty, the first is {hollow[0]}; the copy is damaged, get it again"
        )
    for part in ("images", "annotations/trimaps"):
        (target / part).mkdir(parents=True)
    carry = os.replace if move else shutil.copyfile
    for name in files:
        carry(folder / name, target / name)
    for path in sorted((folder / "annotations").glob("*")):
        if path.suffix == ".txt" or path.name == "README":
            shutil.copyfile(path, target / "annotations" / path.name)
    if (folder / "annotations" / "splits").is_dir():
        shutil.copytree(folder / "annotations" / "splits", target / "annotations" / "splits")


def _official_archives(folder: Path) -> list[Path]:
    archives = [folder / "images.tar.gz", folder / "annotations.tar.gz"]
    return archives if all(path.is_file() for path in archives) else []
