"""Where the lab keeps its files, and how it writes them: whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from labkit.errors import LabError


def home() -> Path:
    """The project's folder: `LABKIT_HOME` when set, else the folder that holds the `labkit` package."""
    named = os.environ.get("LABKIT_HOME")
    return Path(named).expanduser().resolve() if named else Path(__file__).resolve().parent.parent


@contextmanager
def written_whole(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that appears under `path` only when it is complete and on disk.

    What is written goes to a temporary file in the same folder, is flushed to disk, and is renamed over
    `path` on leaving the block; after an exception the old file is untouched and nothing is left behind.

    Raises:
        LabError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise LabError(
            f"{path}: cannot be written ({error.strerror}); free the disk or choose another folder"
        ) from None
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise LabError(
            f"{path}: could not be written ({error.strerror}); the file there before is untouched"
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all (see `written_whole`)."""
    with written_whole(path, "w") as file:
        file.write(text)
