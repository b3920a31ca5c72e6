"""Getting data onto disk: fetched by torchvision, or taken from an archive or folder; whole or nothing."""

import os
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from labkit.data.groups import find_groups, folders, list_groups, write_groups
from labkit.data.images import fitting_orientations, read_image
from labkit.data.pets import DRAWN, Pets, data_root, open_pets, read_classes, read_list
from labkit.errors import LabError
from labkit.files import PARTIAL

LAYOUT = "oxford-iiit-pet"
LISTS = ("list.txt", "trainval.txt", "test.txt")


def get_pets(data: str | Path = "pets", source: str | Path | None = None, **options) -> Pets:
    """Put a data set where `open_pets(data)` finds it; what is there already stays as it is.

    Args:
        data: `sample` or `slides` (which come with labkit), `pets` (fetched by torchvision with its checksums), or a
            folder to import into.
        source: take the data from this archive, this folder, or this folder with the two official archives in it.
        options: of `import_pets`.

    Raises:
        LabError: there are other data already, or the source is missing, damaged, incomplete or ambiguous. Nothing is
            left behind then.
    """
    root = data_root(data)
    if options and source is None:
        raise LabError(f"{', '.join(options)}: only for data that are taken from somewhere (--from)")
    if str(data) in DRAWN and source is not None:
        raise LabError(f"{data}: comes with labkit; import {source} into `pets` or a folder of your own")
    if (root / LAYOUT).exists() and source is not None:
        there = len(open_pets(data))
        raise LabError(f"{root / LAYOUT}: {there} images are there already; delete that folder to replace them")
    if source is not None:
        import_pets(Path(source).expanduser(), root, **options)
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


def import_pets(
    source: Path,
    root: Path,
    orientation: str = "stored",
    mask_values: Sequence[int] = (),
    ignore: Sequence[int] = (),
    say: Callable[[str], object] = warnings.warn,
) -> None:
    """Take a data set out of an archive or folder into `<root>/oxford-iiit-pet`, in one piece.

    The source holds the official layout, or images and masks of one's own: `images/` (or `imgs/`) beside `masks/`, each
    with the files or with folders of groups, which take the place of breeds (see `list_groups`). `classes.txt` beside
    the folders may name the classes in the masks, the background first. Images of one's own get the split
    `inside-groups` and, of 3 groups and more, `by-group`; the last is the official one, too.

    `orientation` (`stored` or `exif`) is for images whose EXIF turn size cannot judge; `say` takes the sentence that
    counts and names them. `mask_values` and `ignore` are those of `find_classes`.
    """
    if orientation not in ("stored", "exif"):
        raise LabError(f"--orientation {orientation}: choose stored or exif")
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
            folder = unpacked if archives else source
            if annotations := next(filter(_holds_lists, folders(folder, ["annotations"])), None):
                if mask_values or ignore:
                    raise LabError(f"{source}: is in the official layout, which has no use for values of masks")
                files = _take_annotations(annotations, chosen / "annotations")
            elif pair := find_groups(folder):
                files, names = list_groups(*pair), pair[0].parent / "classes.txt"
                names = read_classes(names) if names.is_file() else ()
                write_groups(files, chosen / "annotations", names, mask_values, ignore)
            else:
                raise LabError(
                    f"{source}: no folder there holds images/ and annotations/ with {', '.join(LISTS)}, nor images/ "
                    "and masks/ with files of the same names, flat or in folders of groups; it is another data set"
                )
            _take_images(files, chosen / "images", orientation, say)
            os.replace(chosen, root / LAYOUT)
    except OSError as error:
        raise LabError(
            f"{error.filename or root}: {error.strerror or error}; free the disk, mend the rights, or choose another "
            "folder; nothing was left behind"
        ) from None


def _unpack(archive: Path, target: Path) -> None:
    """Unpack a tar (of any compression) or zip archive; both libraries let nothing land outside `target`."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                file.extractall(target)
        else:
            with tarfile.open(archive) as file:
                file.extractall(target, filter="data")
    except tarfile.FilterError as error:
        raise LabError(f"{archive}: a file would land outside the target ({error}); do not trust it") from None
    except Exception as error:  # of tarfile, zipfile and every decompressor
        if getattr(error, "errno", None):
            raise  # the disk's fault
        if "encrypted" in str(error):
            raise LabError(f"{archive}: needs a password; unpack it yourself and name the folder") from None
        raise LabError(
            f"{archive}: is damaged, cut off, or packed in a way that is not read here "
            f"({str(error).partition(':')[0]}); copy it again, or unpack it yourself and name the folder"
        ) from None


def _holds_lists(folder: Path) -> bool:
    return all((folder / name).is_file() for name in LISTS)


def _take_annotations(annotations: Path, target: Path) -> dict[str, tuple[Path, Path]]:
    """Copy the lists and the listed trimaps; returns name -> image and trimap."""
    top = annotations.parent
    if top.name == annotations.name:  # a copy with annotations/annotations and images/images
        top = top.parent
    images = top / "images" / "images" if (top / "images" / "images").is_dir() else top / "images"
    names = [pet.name for pet in read_list(annotations / "list.txt")]
    image_of, trimap_of = _listed(images, names, ".jpg"), _listed(annotations / "trimaps", names, ".png")
    (target / "trimaps").mkdir(parents=True)
    for name in names:
        shutil.copyfile(trimap_of[name], target / "trimaps" / f"{name}.png")
    others = shutil.ignore_patterns("trimaps", "xmls", ".*")
    shutil.copytree(annotations, target, ignore=others, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return {name: (image_of[name], trimap_of[name]) for name in names}


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


def _take_images(files: dict[str, tuple[Path, Path]], target: Path, orientation: str, say: Callable) -> None:
    """Copy the images; one whose EXIF turn size cannot judge is written anew without it, so that all readers agree."""
    target.mkdir()
    fits = {name: fitting_orientations(*pair) for name, pair in files.items()}
    unsure = [name for name, found in fits.items() if len(found) == 2]
    for name, (image, mask) in files.items():
        if name in unsure:  # as PNG, which changes no pixel
            Image.fromarray(read_image(image, mask, orientation)).save(target / f"{name}.jpg", format="PNG")
        else:
            shutil.copyfile(image, target / f"{name}.jpg")
    if unsure:
        say(
            f"{len(unsure)} of {len(files)} images have an EXIF turn, and size cannot tell whether their masks do: "
            f"{', '.join(unsure)}; taken by --orientation {orientation} (stored, the default: pixels as the file has "
            f"them; exif: turned); {list(fits.values()).count(['exif'])} other images fit only when turned"
        )
