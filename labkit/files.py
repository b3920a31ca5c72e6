"""Where labkit keeps its files, and how it writes them: whole or not at all, and never over a file of the user's.

Its own are those in a run folder, which carries `RUN_MARK`, and those whose name and checksum stand in a `LEDGER`.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from filelock import FileLock
from platformdirs import user_cache_path

from labkit.errors import LabError

LEDGER = ".labkit-written"
"""Names the files of its folder that labkit wrote, as `sha256sum` does: a file changed since is the user's."""
RUN_MARK = ".labkit-run"
RUN_LOCK = ".labkit-lock"
RUN_FILES = ("recipe.toml", "environment.json", "history.csv", "steps.csv", "result.json")
RUN_FILES += ("best.safetensors", "last.pt", "curves.png")
EVALUATION_FILES = ("summary.json", "images.csv", "classes.csv", "confusion.csv")
PARTIAL = ".labkit-partial-"  # begins the names of temporary files, which a killed process may leave behind


def checkout() -> Path | None:
    """The project's folder where labkit runs from a checkout of it; None for an installed copy."""
    above = Path(__file__).resolve().parent.parent
    return above if (above / "pyproject.toml").is_file() and (above / "notebooks").is_dir() else None


def home() -> Path:
    """What holds `runs/`, `dataset/` and `weights/`: `LABKIT_HOME` when set, else the checkout, else where one is."""
    named = os.environ.get("LABKIT_HOME")
    return Path(named).expanduser().resolve() if named else checkout() or Path.cwd()


def data_folders() -> list[Path]:
    """Where data that can be made anew may lie: `<home>/dataset`, the user's cache, the machine's temporary folder."""
    user = os.getuid() if hasattr(os, "getuid") else ""  # on Windows the temporary folder is the user's own
    return [home() / "dataset", user_cache_path("labkit"), Path(tempfile.gettempdir()) / f"labkit-cache-{user}"]


def data_folder(name: str = "") -> Path:
    """The first of the `data_folders` (or of the folders `name` in them) that can be written; it is made."""
    for folder in data_folders():
        with suppress(OSError):  # the next one may do
            (folder / name).mkdir(parents=True, exist_ok=True)
            if os.access(folder / name, os.W_OK):
                return folder / name
    tried = ", ".join(map(str, data_folders()))
    raise LabError(f"none of {tried} can be written; set LABKIT_HOME to a folder that you may write to")


def cannot_write(path: Path, error: OSError) -> LabError:
    """The error's cause and its remedy, in one sentence."""
    in_the_way = error.errno in (errno.EEXIST, errno.ENOTDIR)
    remedy = "a file lies where a folder is needed" if in_the_way else "free the disk or change the permissions"
    elsewhere = "or choose another folder (LABKIT_HOME names labkit's own)"
    return LabError(f"{path}: cannot be written ({error.strerror or error}); {remedy}, {elsewhere}")


def is_ours(path: Path) -> bool:
    """Whether labkit wrote this file, and nobody has changed it since."""
    if path.is_symlink() or not path.is_file():
        return False
    if _in_run(path):
        return True
    ledger = path.parent / LEDGER
    return ledger.is_file() and _ledger_line(path, path.name) in ledger.read_text(encoding="utf-8").splitlines()


def check_targets(targets: Iterable[Path], inputs: Iterable[Path] = (), option: str = "--out") -> None:
    """Refuse (LabError), before any is written, a target that is an input or another target, or not labkit's."""
    real = lru_cache(os.path.realpath)  # most of many thousand targets lie in one folder
    sources, seen = {_identity(path, real) for path in inputs}, set()
    for target in targets:
        identity = _identity(target, real)
        if identity in sources:
            raise LabError(f"{target}: is an input, and the result would replace it; choose another {option}")
        if identity in seen:
            raise LabError(f"{target}: two results would be written there; choose another {option} for one of them")
        seen.add(identity)
        refuse_foreign(target, option)


def refuse_foreign(target: Path, option: str = "--out") -> None:
    """Refuse (LabError) to replace a file that labkit has not written, or that was changed since."""
    if os.path.lexists(target) and not is_ours(target):
        remedy = f"move it away or choose another {option}"
        raise LabError(f"{target}: is there already, and labkit has not written it as it is now; {remedy}")


@contextmanager
def written_whole(path: str | Path, mode: str = "wb", replace: bool = False) -> Iterator[IO[Any]]:
    """Open a file (`wb` or `w`) that appears under `path` only when it is complete and on disk; its folder is made.

    A temporary file in the same folder is written, flushed to disk, noted in the folder's ledger, and renamed on
    leaving the block. After an exception the old file is untouched. `replace` replaces it whoever wrote it. LabError: a
    file is there that is not labkit's, the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    if not replace:
        refuse_foreign(path, "place for it")
    temporary = path.parent / f"{PARTIAL}{path.name}.{uuid.uuid4().hex[:8]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if not replace and not _in_run(path):
                with open(path.parent / LEDGER, "a", encoding="utf-8") as ledger:
                    ledger.write(_ledger_line(temporary, path.name) + "\n")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_text(path: str | Path, text: str, replace: bool = False) -> None:
    """Write a text file whole or not at all (see `written_whole`)."""
    with written_whole(path, "w", replace) as file:
        file.write(text)


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A folder beside `target` for what is moved there when it is whole; one process at a time has it.

    What killed processes have left in theirs is deleted first.
    """
    prefix = f"{PARTIAL}{target.name}-"
    with FileLock(target.with_name(f".{target.name}.lock")):
        for left in target.parent.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as folder:
            yield Path(folder)


def claim_run_folder(path: Path) -> None:
    """Make a folder a run folder; LabError where it is none but holds a file with the name of a run's."""
    names = (*RUN_FILES, RUN_LOCK, "tensorboard", "evaluations")
    try:
        path.mkdir(parents=True, exist_ok=True)
        if (path / RUN_MARK).is_file():
            return
        if foreign := [name for name in names if os.path.lexists(path / name)]:
            raise LabError(
                f"{path / foreign[0]}: is not known to be of a run (no {RUN_MARK} lies there), and a training "
                f"would replace it; choose another --run-dir, or make an empty file {RUN_MARK} if it is of a run"
            )
        (path / RUN_MARK).touch()
    except OSError as error:
        raise cannot_write(path, error) from None


def _in_run(path: Path) -> bool:
    """Whether a path is that of a run's file, or of an evaluation's in `evaluations/<name>/` of a run."""
    folder = path.absolute().parent
    if path.name in EVALUATION_FILES and folder.parent.name == "evaluations":
        return (folder.parent.parent / RUN_MARK).is_file()
    return path.name in RUN_FILES and (folder / RUN_MARK).is_file()


def _ledger_line(path: Path, name: str) -> str:
    with open(path, "rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}"


def _identity(path: Path, real: Callable[[str], str]) -> str:
    """The same for all names of one file, also of one that is not there yet."""
    with suppress(OSError):
        found = os.stat(path)
        return f"{found.st_dev}:{found.st_ino}"
    folder, name = os.path.split(path)
    return os.path.normcase(real(path) if os.path.islink(path) else os.path.join(real(folder), name))
