"""A copy without answers, run from top to bottom: it fails at its exercises alone, as not written yet."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from course.handout import exercises, student_copy

ROOT = Path(__file__).resolve().parents[2]
SOLVED = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SENTENCES = ("not written yet", "replace the `...`", "replace every `...`")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_a_copy_without_answers_fails_at_its_exercises_alone(path):
    solved = nbformat.read(path, as_version=4)
    found, copy = exercises(solved, path.stem), student_copy(solved, path.stem)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(copy, timeout=900, kernel_name="python3", allow_errors=True, resources=resources).execute()
    errors = {
        index: output
        for index, cell in enumerate(copy.cells)
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    }
    answers, checks = {exercise.answer for exercise in found}, {exercise.cell for exercise in found}
    told = {index: f"cell {index}: {error.ename}: {error.evalue}" for index, error in errors.items()}
    assert not [told[index] for index in errors if index not in answers | checks]
    assert checks <= errors.keys()
    for index, error in errors.items():
        if error.ename != "NotImplementedError":
            assert index in checks, told[index]
            assert error.ename == "WrongAnswer", told[index]
            assert any(sentence in error.evalue for sentence in SENTENCES), told[index]
