"""Getting the data onto disk: fetched by torchvision, or taken from an archive or folder; whole or nothing."""

import os
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from labkit.data.groups import find_groups, folders, list_groups, write_groups
from labkit.data.images import fitting_orientations, read_image
from labkit.data.pets import DRAWN, Pets, data_root, open_pets, read_classes, read_list
from labkit.errors import LabError

LAYOUT = "oxford-iiit-pet"
LISTS = ("list.txt", "trainval.txt", "test.txt")


def get_pets(data: str | Path = "pets", source: str | Path | None = None, **options) -> Pets:
    """Put a data set where `open_pets(data)` finds it; what is there already stays as it is.

    A source holds the official layout, or images and masks of one's own: `images/` (or `imgs/`) beside `masks/`, each
    with the files or with folders of groups, which take the place of breeds (see `list_groups`). `find_classes` says
    which value in the masks is which class; `classes.txt` beside the folders may name them, the background first.
    Images of one's own get the split `inside-groups` (`split_inside_groups`) and, of 3 groups and more, `by-group`
    (`split_by_group`); the last is the official one, too.

    Args:
        data: `sample` or `slides` (which come with labkit), `pets` (fetched by torchvision with its checksums), or a
            folder to import into.
        source: take the data from this archive, this folder, or this folder with the two official archives in it.
        options: of the import: `orientation` (`stored` or `exif`) of images whose EXIF turn size cannot judge, and
            `say`, which takes the sentence that counts and names them; of one's own images also `mask_values` and
            `ignore` (see `find_classes`), `seed`, `test_share` and `valid_share` (see `split_inside_groups`).

    Raises:
        LabError: there are other data already, or the source is missing, damaged, incomplete or ambiguous. Nothing is
            left behind then.
    """
    root = data_root(data)
    if options and source is None:
        raise LabError(f"{', '.join(options)}: only for data that are taken from somewhere (--from)")
    if str(data) in DRAWN:
        if source is not None:
            raise LabError(f"{data}: comes with labkit; import {source} into `pets` or a folder of your own")
        return open_pets(data)
    if (root / LAYOUT).exists():
        pets = open_pets(data)
        if source is not None:
            raise LabError(f"{root / LAYOUT}: {len(pets)} images are there already; delete that folder to replace them")
        return pets
    if source is not None:
        import_pets(Path(source).expanduser(), root, **options)
    elif str(data) == "pets":
        fetch_pets(root)
    return open_pets(data)  # of a folder of the user's own there is nothing to get, but it must be readable


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


def import_pets(
    source: Path, root: Path, orientation: str = "stored", say: Callable[[str], object] = warnings.warn, **options
) -> None:
    """Take a data set out of an archive or folder into `<root>/oxford-iiit-pet`, in one piece; see `get_pets`."""
    if orientation not in ("stored", "exif"):
        raise LabError(f"--orientation {orientation}: choose stored or exif")
    if not source.exists():
        raise LabError(f"{source}: no such archive or folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".importing-") as work:
            unpacked, chosen = Path(work) / "unpacked", Path(work) / LAYOUT
            for archive in [source] if source.is_file() else _official_archives(source):
                unpack(archive, unpacked)
            folder, carry = (unpacked, os.replace) if unpacked.exists() else (source, shutil.copyfile)
            if annotations := find_layout(folder):
                if options:
                    raise LabError(f"{source}: is in the official layout, which has no use for {', '.join(options)}")
                files = _take_annotations(annotations, chosen / "annotations", carry)
            elif pair := find_groups(folder):
                files, names = list_groups(*pair), pair[0].parent / "classes.txt"
                names = read_classes(names) if names.is_file() else ()
                write_groups(files, chosen / "annotations", names, **options)
            else:
                raise LabError(
                    f"{source}: no folder there holds images/ and annotations/ with {', '.join(LISTS)}, nor images/ "
                    "and masks/ with files of the same names, flat or in folders of groups; it is another data set"
                )
            _take_images(files, chosen / "images", orientation, say, carry)
            os.replace(chosen, root / LAYOUT)
    except OSError as error:
        raise LabError(
            f"{error.filename or root}: {error.strerror or error}; free the disk, mend the rights, or choose another "
            "folder; nothing was left behind"
        ) from None


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar (of any compression) or zip archive; nothing may land outside `target`."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for entry in file.infolist():
                    if Path(entry.filename).is_absolute() or ".." in Path(entry.filename).parts:
                        raise LabError(f"{archive}: {entry.filename!r} would land outside the target; do not trust it")
                    if entry.flag_bits & 1:
                        raise LabError(f"{archive}: needs a password; unpack it yourself and name the folder")
                file.extractall(target)
        else:
            with tarfile.open(archive) as file:
                file.extractall(target, filter="data")
    except LabError:
        raise
    except tarfile.FilterError as error:
        raise LabError(f"{archive}: a file would land outside the target ({error}); do not trust it") from None
    except Exception as error:  # of tarfile, zipfile and every decompressor
        if getattr(error, "errno", None):
            raise  # the disk's fault
        raise LabError(
            f"{archive}: is damaged, cut off, or packed in a way that is not read here "
            f"({str(error).partition(':')[0]}); copy it again, or unpack it yourself and name the folder"
        ) from None


def find_layout(folder: Path) -> Path | None:
    """The folder `annotations/` below `folder` that holds the official lists, if any."""
    return next((p for p in folders(folder, ["annotations"]) if all((p / name).is_file() for name in LISTS)), None)


def _take_annotations(annotations: Path, target: Path, carry: Callable) -> dict[str, tuple[Path, Path]]:
    """Take the lists and the listed trimaps; name -> image, where it is, and trimap, where it then is."""
    top = annotations.parent
    if top.name == annotations.name:  # a copy with annotations/annotations and images/images
        top = top.parent
    images = top / "images" / "images" if (top / "images" / "images").is_dir() else top / "images"
    names = [pet.name for pet in read_list(annotations / "list.txt")]
    image_of, trimap_of = _listed(images, names, ".jpg"), _listed(annotations / "trimaps", names, ".png")
    (target / "trimaps").mkdir(parents=True)
    for name in names:
        carry(trimap_of[name], target / "trimaps" / f"{name}.png")
    for path in sorted(annotations.glob("*")):
        if path.suffix in (".txt", ".csv") or path.name == "README":
            shutil.copyfile(path, target / path.name)
    if (annotations / "splits").is_dir():
        shutil.copytree(annotations / "splits", target / "splits")
    return {name: (image_of[name], target / "trimaps" / f"{name}.png") for name in names}


def _listed(folder: Path, names: list[str], ending: str) -> dict[str, Path]:
    """The file of each name: the one with the usual ending, or another image (NAME.JPG), but not NAME.mat."""
    found = sorted(folder.glob("[!.]*"), key=lambda p: (p.suffix == ending, p))
    files = {p.stem: p for p in found if p.suffix.lower() in Image.registered_extensions() and p.stat().st_size}
    if missing := [name for name in names if name not in files]:
        raise LabError(
            f"{folder}: {len(missing)} of {len(names)} listed files are missing or empty, the first is "
            f"{missing[0]}{ending}; the copy is incomplete, get it again"
        )
    return files


def _take_images(files: dict[str, tuple[Path, Path]], target: Path, orientation: str, say: Callable, carry: Callable):
    """Take the images; one whose EXIF turn size cannot judge is written anew without it, so that all readers agree."""
    target.mkdir()
    fits = {name: fitting_orientations(*pair) for name, pair in files.items()}
    unsure = [name for name, found in fits.items() if len(found) == 2]
    for name, (image, mask) in files.items():
        if len(fits[name]) == 2:  # as PNG, which changes no pixel
            Image.fromarray(read_image(image, mask, orientation)).save(target / f"{name}.jpg", format="PNG")
        else:
            carry(image, target / f"{name}.jpg")
    if unsure:
        say(
            f"{len(unsure)} of {len(files)} images have an EXIF turn, and size cannot tell whether their masks do: "
            f"{', '.join(unsure)}; taken by --orientation {orientation} (stored, the default: pixels as the file has "
            f"them; exif: turned); {list(fits.values()).count(['exif'])} other images fit only when turned"
        )


def _official_archives(folder: Path) -> list[Path]:
    archives = [folder / "images.tar.gz", folder / "annotations.tar.gz"]
    return archives if all(path.is_file() for path in archives) else []
