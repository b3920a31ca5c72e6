"""The drawn data that come with labkit, unpacked on first use: cats and dogs (`sample`), microscope slides (`slides`).

`python -m dataset.drawing` drew them, once; the two archives lie beside this file.
"""

import hashlib
import io
import tarfile
from pathlib import Path

from labkit.errors import LabError
from labkit.files import building, cannot_write, data_folder, data_folders

ARCHIVES = Path(__file__).with_name("archives")
SHA256 = {
    "sample": "9716503787d549661808b71bb00af417571cf865743e829d970090732d6c1af2",
    "slides": "942253868c95a431d2fa20dde5d4c8d0c1b135d8a979cc05d4cc1bfbaea64d63",
}
MARKER = "unpacked-by-labkit"


def unpacked(name: str) -> Path:
    """The folder with the drawn data `name` in the official layout; it appears whole or not at all.

    It is `<home>/dataset/<name>`, or, where that cannot be written, a folder in the user's cache folder or in the
    machine's temporary folder. Any number of processes may ask at once. LabError: the disk is full, no folder can be
    written, the archive is damaged, or other data lie there.
    """
    for folder in data_folders():
        if _is_there(folder / name, name):
            return folder / name
    archive = ARCHIVES / f"{name}.tar"
    content = archive.read_bytes() if archive.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        found = f"damaged ({len(content):,} bytes, not those of its checksum)" if content else "not there"
        raise LabError(f"{archive}: the archive is {found}; `git checkout` it or install labkit again")
    root = data_folder() / name
    try:
        with building(root) as folder:
            if not _is_there(root, name):  # another process may have had the folder before
                _unpack(name, content, folder, root)
    except OSError as error:
        raise cannot_write(root, error) from None
    return root


def _is_there(root: Path, name: str) -> bool:
    """Whether `root` holds what this version's archive does; LabError when it holds something else."""
    try:
        found = {path.name for path in root.iterdir()}
    except OSError:
        return False
    if found and (MARKER not in found or (root / MARKER).read_text(errors="replace").strip() != SHA256[name]):
        raise LabError(
            f"{root}: holds other data than the {name} of this version of labkit; move that folder away or delete it, "
            "and they are unpacked anew"
        )
    return bool(found)


def _unpack(name: str, content: bytes, folder: Path, root: Path) -> None:
    fresh = folder / name
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(fresh, filter="data")
    if name == "slides":  # they are drawn in groups, and brought into the layout as anybody's would be
        from labkit.data.importing import import_pets

        fresh = folder / "layout"
        import_pets(folder / name, fresh)
    (fresh / MARKER).write_text(SHA256[name] + "\n", encoding="utf-8")
    if root.is_dir():  # empty: Windows renames onto no folder
        root.rmdir()
    fresh.replace(root)
