"""The students' copy of the notebooks: solutions out, checks in, with what the copy needs to run."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import nbformat
import typer
from nbformat import NotebookNode

from labkit.errors import LabError
from labkit.files import checkout, written_whole

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("your answer goes here")'
SHARED = ("labkit", "course", "records", "weights", "figures", "dataset")
"""Folders of the repository that the copy needs, as git knows them."""
FILES = ("pyproject.toml", "requirements.lock", "environment.yml", "LICENSE", "CITATION.cff", "Makefile")
LEFT_OUT = ("dataset/drawing/",)
README = """# The lab: your copy

Open the notebooks in `notebooks/` in their order. Where a cell says `raise NotImplementedError`, your answer goes; the
cell below checks it and says what is wrong. *Run All* stops at an exercise that is not solved; go on by hand below
it: later cells use the lab's own code, not your answer.

    make jupyter        # sets up .venv on first use and opens JupyterLab

Without make (on Windows `.venv\\Scripts\\` instead of `.venv/bin/`):

    python3 -m venv .venv
    .venv/bin/pip install -c requirements.lock -e .
    .venv/bin/jupyter lab notebooks
"""


class Exercise(NamedTuple):
    """An exercise of a notebook: what its check is called, where its cells are, and what it asks."""

    check: str
    answer: int
    """Index of the answer cell."""
    cell: int
    """Index of the check cell."""
    task: str
    """The Markdown before the answer, the answer cell as it is handed out, and the check cell."""


def exercises(notebook: NotebookNode, name: str) -> list[Exercise]:
    """The exercises of a solved notebook in their order: an answer cell, then the first check cell after it.

    Raises:
        LabError: marks do not pair up, or an answer has no check of its own; the notebook and the cell are named.
    """
    found, open_answer = [], None
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if BEGIN in cell.source or END in cell.source:
            if open_answer is not None:
                raise LabError(f"{name}, cell {open_answer}: no check cell follows this answer before the next one")
            without_solution(cell.source, f"{name}, cell {index}")
            open_answer = index
        elif open_answer is not None and (call := re.match(r"checks\.(\w+)\(", cell.source)):
            parts = [notebook.cells[open_answer - 1].source, without_solution(notebook.cells[open_answer].source, name)]
            found.append(Exercise(call[1], open_answer, index, "\n".join([*parts, cell.source])))
            open_answer = None
    if open_answer is not None:
        raise LabError(f"{name}, cell {open_answer}: no check cell follows this answer")
    names = [exercise.check for exercise in found]
    if twice := [check for check in names if names.count(check) > 1]:
        raise LabError(f"{name}: checks.{twice[0]} checks two answers; each exercise needs a check of its own")
    return found


def without_solution(source: str, where: str) -> str:
    """The source of an answer cell with `STUB` in place of each marked region; a `LabError` if marks do not pair up."""
    lines, inside = [], False
    for line in source.split("\n"):
        if BEGIN in line or END in line:
            if inside == (BEGIN in line):
                raise LabError(
                    f"{where}: {'two BEGIN' if inside else 'END without BEGIN'} SOLUTION; marks must pair up"
                )
            inside = not inside
            if inside:
                lines.append(line[: len(line) - len(line.lstrip())] + STUB)
        elif not inside:
            lines.append(line)
    if inside:
        raise LabError(f"{where}: BEGIN SOLUTION without END SOLUTION; marks must pair up")
    return "\n".join(lines)


def student_copy(solved: NotebookNode, name: str, points: int = 1) -> NotebookNode:
    """A notebook without solutions and results; figures stay as still images, but those that a student is to predict.

    Cells carry nbgrader's metadata.
    The answer cell's `grade_id` is `<chapter>-<check>-answer`, the check cell's `<chapter>-<check>`.
    """
    copy, chapter = nbformat.from_dict(solved), name.partition("_")[0]
    for exercise in exercises(solved, name):
        answer, check = copy.cells[exercise.answer], copy.cells[exercise.cell]
        answer.source = without_solution(answer.source, name)
        grade_id = f"{chapter}-{exercise.check.replace('_', '-')}"
        answer.metadata["nbgrader"] = _nbgrader(f"{grade_id}-answer", solution=True)
        check.metadata["nbgrader"] = _nbgrader(grade_id, grade=True, locked=True) | {
            "points": check.metadata.get("nbgrader", {}).get("points", points)
        }
        answer.outputs, check.outputs = [], []
    predicted = False
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [] if predicted else still_images(cell.outputs), None
        else:
            predicted = re.search(r"\bPredict\b", cell.source) is not None
    copy.metadata.pop("widgets", None)
    return copy


def _nbgrader(grade_id: str, grade: bool = False, solution: bool = False, locked: bool = False) -> dict:
    return {
        **{"schema_version": 3, "grade_id": grade_id, "cell_type": "code", "task": False},
        **{"grade": grade, "solution": solution, "locked": locked},
    }


def still_images(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Of a cell's outputs the images and the captions that follow them; numbers and tables could be answers."""
    kept, after_image = [], False
    for output in outputs:
        data = output.get("data", {})
        is_image = "image/png" in data
        is_caption = after_image and "text/markdown" in data
        if is_image or is_caption:
            shown = {kind: value for kind, value in data.items() if kind != "application/vnd.jupyter.widget-view+json"}
            kept.append(nbformat.v4.new_output("display_data", shown, metadata=output.get("metadata", {})))
        after_image = is_image
    return kept


def changed_exercises(old: NotebookNode, new: NotebookNode) -> list[str]:
    """Checks whose task or check cell is not the same in two copies handed out, or that only one of them has."""
    one, other = (_handed_out(notebook) for notebook in (old, new))
    return sorted(check for check in one.keys() | other.keys() if one.get(check) != other.get(check))


def _handed_out(notebook: NotebookNode) -> dict[str, tuple[str, str]]:
    """Of a copy, by the check's `grade_id`: the Markdown before the answer, and the check."""
    found, task = {}, ""
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        about = cell.metadata.get("nbgrader", {})
        if about.get("solution"):
            task = before.source if before else ""
        elif about.get("grade"):
            found[about["grade_id"]] = (task, cell.source)
    return found


def handout(
    out: Annotated[Path | None, typer.Option(help="A folder, or a file that ends in .zip; default student.")] = None,
    chapters: Annotated[str, typer.Option(help="Such as 01-05, or 02,04; default: all.")] = "",
    update: Annotated[bool, typer.Option("--update", help="Lay new notebooks beside those of a copy.")] = False,
) -> None:
    """Make the students' copy: notebooks without solutions, the packages, the lock, and a README.

    A copy that is there is never replaced. With `--update` each notebook that changed is laid beside the student's as
    `NAME.new.ipynb`, and the exercises that changed are named.

    Examples:

    `course handout`; `course handout --out lab.zip --chapters 01-05`; `course handout --out student --update`
    """
    root = checkout()
    if root is None:
        raise LabError("course handout: the notebooks are in the repository, and labkit does not run from one")
    out = (out or root / "student").expanduser()
    notebooks = {
        path.name: student_copy(nbformat.read(path, as_version=4), path.stem) for path in _solved(root, chapters)
    }
    if update:
        return _update(out, notebooks)
    texts = {f"notebooks/{name}": nbformat.writes(notebook) for name, notebook in notebooks.items()}
    if out.suffix == ".zip":
        with written_whole(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _contents(root, texts):
                archive.writestr(name, content)
    elif out.exists() and any(out.iterdir()):
        raise LabError(f"{out}: is there already, and nothing of it is replaced; choose another --out, or use --update")
    else:
        for name, content in _contents(root, texts):
            with written_whole(out / name, replace=True) as file:
                file.write(content)
    typer.echo(f"{len(notebooks)} notebooks for students in {out}")


def _update(out: Path, notebooks: dict[str, NotebookNode]) -> None:
    folder = out / "notebooks"
    if not folder.is_dir():
        raise LabError(f"{folder}: no copy is there to update; make one without --update")
    for name, new in notebooks.items():
        path = folder / name
        changed = changed_exercises(nbformat.read(path, as_version=4), new) if path.is_file() else ["all: it is new"]
        if changed:
            target = path.with_name(f"{path.stem}.new.ipynb") if path.is_file() else path
            with written_whole(target, "w") as file:
                file.write(nbformat.writes(new))
            typer.echo(f"{target}: {', '.join(changed)}")
        else:
            typer.echo(f"{path}: no exercise has changed")


def _contents(root: Path, texts: dict[str, str]) -> Iterable[tuple[str, bytes]]:
    """Names and contents of the copy's files; of the folders what git knows, so that nothing of one's own goes out."""
    import subprocess

    command = ["git", "-C", str(root), "ls-files", "-z", *SHARED, *FILES]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise LabError(f"{root}: git cannot list its files ({listed.stderr.strip()}); make the copy from a clone")
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        if not name.startswith(LEFT_OUT) and (root / name).is_file():
            yield name, (root / name).read_bytes()
    yield "README.md", README.encode()
    yield from ((name, text.encode()) for name, text in texts.items())


def _solved(root: Path, chapters: str) -> list[Path]:
    """The solved notebooks of some chapters, `01-03,05`, in their order; all without a text."""
    there = {path.name[:2]: path for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    chosen: list[Path] = []
    for part in filter(None, chapters.replace(" ", "").split(",")):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise LabError(f"--chapters: found {chapters!r}; write such as 01-05, or 02,04")
        wanted = [f"{number:02}" for number in range(int(first), int(last or first) + 1)]
        if not any(name in there for name in wanted):
            raise LabError(f"--chapters: no chapter {part}; there are {', '.join(there)}")
        chosen += [there[name] for name in wanted if name in there]
    return chosen or list(there.values())
