"""What was handed out, with points, and who has handed in what."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

from course import checks
from course.checks.verdict import Check
from course.handout import student_copy
from labkit.errors import LabError
from labkit.files import checkout

MOST_BYTES = 50 * 2**20
"""Of a notebook's file."""


class Task(NamedTuple):
    """An exercise as it was handed out."""

    chapter: str
    check: str
    argument: str
    """What its check is given, as Python: where a student has deleted the call, this is looked for."""
    stub: str
    """The answer cell as it was handed out."""
    points: float


class HandedIn(NamedTuple):
    """A student's notebooks: the sources of their code cells by file name, and what could not be read."""

    student: str
    sources: dict[str, list[str]]
    unreadable: list[str]


def handed_out(folder: Path | None) -> list[Task]:
    """The exercises of a hand-out's notebooks (its own points count), or of this repository's.

    Raises:
        LabError: no notebook is there, none holds an exercise, or one of them has a check that cannot be graded.
    """
    root = checkout()
    if folder is None and root is None:
        raise LabError("course grade: labkit does not run from a repository; name the hand-out with --handout FOLDER")
    where = folder or root / "notebooks"
    where = where / "notebooks" if (where / "notebooks").is_dir() else where
    tasks = []
    for path in sorted(where.glob("[0-9]*_*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook = notebook if folder else student_copy(notebook, path.stem)
        stub = ""
        for cell in notebook.cells:
            about = cell.metadata.get("nbgrader", {})
            if about.get("solution"):
                stub = cell.source
                continue
            calls = check_calls(cell.source) if about.get("grade") else {}
            for check, argument in calls.items():
                if not isinstance(getattr(checks, check, None), Check):
                    raise LabError(f"{path}: checks.{check} is no check of two halves, so it cannot be graded apart")
                tasks.append(Task(path.stem, check, argument, stub, float(about.get("points", 1)) / len(calls)))
    if not tasks:
        raise LabError(f"{where}: no notebook there holds an exercise; name the folder that was handed out")
    return tasks


def check_calls(source: str) -> dict[str, str]:
    """What each check in a cell, `checks.name(argument)` on a line of its own, is given, as Python."""
    return dict(re.findall(r"^checks\.(\w+)\((.+?)\)$", source.strip(), re.MULTILINE | re.DOTALL))


def students(folder: Path) -> Iterator[HandedIn]:
    """What lies in `folder/<id>/` at any depth, and files `folder/<id>_<anything>.ipynb`, in the order of the ids.

    Links are not followed. Raises a LabError where the folder holds no notebook.
    """
    found: dict[str, list[Path]] = {}
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir() and not entry.is_symlink():
                found.setdefault(entry.name, []).extend(_notebooks(entry))
            elif entry.suffix == ".ipynb" or entry.is_symlink():
                found.setdefault(entry.stem.partition("_")[0], []).append(entry)
    except OSError as error:
        raise LabError(f"{folder}: cannot be read ({error.strerror}); name the folder of what was handed in") from None
    if not found:
        raise LabError(
            f"{folder}: holds no notebook; expected FOLDER/<student id>/... or FOLDER/<student id>_....ipynb"
        )
    for student, paths in sorted(found.items()):
        sources, unreadable = {}, []
        for path in paths:
            name = str(path.relative_to(folder))
            try:
                sources[name] = code_cells(path)
            except Exception as error:  # whatever a hostile file does to a reader of notebooks
                unreadable.append(f"{name}: {error or type(error).__name__}")
        yield HandedIn(student, sources, unreadable)


def _notebooks(folder: Path) -> Iterator[Path]:
    for top, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(top) / name for name in sorted(files) if name.endswith(".ipynb") and not name.startswith("."))


def code_cells(path: Path) -> list[str]:
    """Sources of a notebook's code cells.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RecursionError: it is no notebook of Python.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError("is a link or no file; links are not followed")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES >> 20} MiB")
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    language = notebook.metadata.get("kernelspec", {}).get("language", "python")
    if language != "python":
        raise ValueError(f"its kernel is of {str(language)[:20]}, not of Python")
    return [str(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
