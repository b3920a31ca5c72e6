"""Notebooks without a browser: parameters are checked, failures are plain."""

import json
import re

import nbformat
import pytest

from course import lab as headless
from labkit.errors import LabError


def notebook(tmp_path, *cells: str, name: str = "01_small.ipynb"):
    path = tmp_path / name
    parameters = nbformat.v4.new_code_cell(
        'data: str = "sample"  # which pets\nnumber: int = 3  # how many\nrate: float = 0.5  # how fast\n'
        "quiet: bool = False  # say nothing"
    )
    parameters.metadata["tags"] = ["parameters"]
    made = nbformat.v4.new_notebook(cells=[parameters, *(nbformat.v4.new_code_cell(c) for c in cells)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


def test_texts_become_values_of_the_declared_types(tmp_path):
    path = notebook(tmp_path)
    given = ["number=7", "rate=1e-3", "quiet=true", "data=/some/where=else"]
    assert headless.parse_parameters(given, [path]) == {
        "number": 7,
        "rate": 1e-3,
        "quiet": True,
        "data": "/some/where=else",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("numbr=7", "no notebook has a parameter 'numbr'; there are data, number, quiet, rate"),
        ("number=many", "found 'many', a int is expected"),
        ("quiet=perhaps", "found 'perhaps', a bool is expected"),
        ("number", "write NAME=VALUE"),
    ],
)
def test_unknown_names_and_wrong_values_are_errors(tmp_path, text, sentence):
    with pytest.raises(LabError, match=re.escape(sentence)):
        headless.parse_parameters([text], [notebook(tmp_path)])


def test_a_notebook_runs_with_its_parameters_in_its_own_folder(tmp_path):
    path = notebook(tmp_path, "import os\nprint(number * 2, os.path.basename(os.getcwd()))")
    (tmp_path / "out").mkdir()
    done = headless.run_notebook(path, tmp_path / "out", {"number": 21, "not_mine": 1})
    text = "".join(o["text"] for c in nbformat.read(done, 4).cells for o in c.get("outputs", []) if "text" in o)
    assert text == f"42 {tmp_path.name}\n"


def test_a_failure_names_notebook_cell_and_error_and_keeps_what_ran(tmp_path):
    path = notebook(tmp_path, "print('this ran')", "raise ValueError('the reason')\n", "print('this did not')")
    (tmp_path / "out").mkdir()
    with pytest.raises(LabError, match=r"01_small\.ipynb, cell 3 failed: ValueError: the reason") as failure:
        headless.run_notebook(path, tmp_path / "out", {})
    kept = (tmp_path / "out" / "01_small.ipynb").read_text()
    assert str(tmp_path / "out" / "01_small.ipynb") in str(failure.value)
    assert "this ran" in kept
    assert json.loads(kept)["cells"][-1]["outputs"] == []


def test_a_cell_that_takes_too_long_is_stopped_and_what_ran_is_kept(tmp_path):
    path = notebook(tmp_path, "print('begun')", "import time; time.sleep(60)")
    (tmp_path / "out").mkdir()
    with pytest.raises(LabError, match=r"01_small.ipynb: a cell took longer than 2 s .* more with --cell-timeout"):
        headless.run_notebook(path, tmp_path / "out", {}, cell_timeout=2)
    assert "begun" in (tmp_path / "out" / "01_small.ipynb").read_text()


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("/nowhere/python", r"starts /nowhere/python, which is not there; .*ipykernel install"),
        ("false", "its kernel died"),
    ],
)
def test_a_kernel_that_cannot_start_is_one_sentence(program, sentence, tmp_path, monkeypatch):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": [program, "-f", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (tmp_path / "out").mkdir()
    with pytest.raises(LabError, match=sentence):
        headless.run_notebook(notebook(tmp_path, "1"), tmp_path / "out", {}, progress=False)
