"""A parameter that a notebook does not know ends its run under plain papermill, too."""

import nbformat
import papermill
import pytest

from course.parameters import refuse_unknown_parameters
from labkit.errors import LabError
from tests.conftest import REPOSITORY


def test_papermill_stops_at_a_parameter_that_the_notebook_does_not_have(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    cells = [nbformat.v4.new_code_cell(text) for text in ("epochs: int = 1", "import course", "print(epochs)")]
    cells[0].metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {"epochs": 3}, progress_bar=False)
    assert done.cells[-1].outputs[0]["text"] == "3\n"
    with pytest.raises(papermill.PapermillExecutionError, match="has no parameter epoch; there are: epochs"):
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {"epoch": 3}, progress_bar=False)


def test_known_parameters_and_cells_of_ones_own_are_passed_by():
    refuse_unknown_parameters(["", "data: str = 'sample'\nrun = ''", "# Parameters\nrun = 'mine'", "epoch = 3"])
    refuse_unknown_parameters(["epoch = 3"])
    with pytest.raises(LabError, match="no parameter a, b; there are: none"):
        refuse_unknown_parameters(["import os", "# Parameters\na, b = 1, 2"])
