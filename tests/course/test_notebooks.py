"""The committed notebooks: solved, executed in order on the sample, readable, with captions and alt text."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def test_the_notebooks_are_there():
    names = [path.stem for path in NOTEBOOKS]
    lab = ["01_data", "02_unet", "03_resnet34_unet", "04_training", "05_analysis"]
    assert names[:7] == [*lab, "06_attention_unet", "07_several_classes"]


def test_it_was_executed_in_order_from_a_fresh_kernel_without_errors(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert "error" not in kinds


def test_nothing_was_written_to_stderr(notebook):
    assert not [o for c in code_cells(notebook) for o in c.outputs if o.get("name") == "stderr"]


def test_it_was_executed_on_the_sample(notebook):
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    assert tags.count("parameters") == 1
    assert "injected-parameters" not in tags
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    assert re.search(r'^data: str = "sample"', parameters.source, re.MULTILINE) or "data" not in parameters.source


def test_every_parameter_has_a_type_and_a_help_text(notebook):
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    for line in parameters.source.strip().splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool) = \S.*  # \S.*", line), line


def test_no_heading_hides_in_a_code_cell(notebook):
    for cell in code_cells(notebook):
        assert not any(line.startswith("# ##") for line in cell.source.splitlines()), cell.source[:80]


def test_no_cell_is_long_and_imports_are_from_rooms(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 25, cell.source[:80]
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit"):
                assert node.module.count(".") <= 1, f"imports {node.module}, not a room"


def test_no_cell_that_a_student_reads_guards_a_claim(notebook):
    for cell in code_cells(notebook):
        assert "SOLUTION" in cell.source or not re.search(r"^\s*assert ", cell.source, re.MULTILINE)


def test_every_figure_has_alt_text_and_a_caption_after_it(notebook):
    for cell in code_cells(notebook):
        for index, output in enumerate(cell.outputs):
            if "image/png" not in output.get("data", {}):
                continue
            assert len(output.metadata["image/png"]["alt"]) > 20
            if output.output_type == "display_data" and "LiveCurves" not in cell.source:
                assert cell.outputs[index + 1].data["text/markdown"].startswith("*")


def test_three_exercises_with_solutions_and_checks(notebook):
    sources = [cell.source for cell in code_cells(notebook)]
    solved = [s for s in sources if "### BEGIN SOLUTION" in s]
    assert len(solved) >= 3
    assert all("### END SOLUTION" in s for s in solved)
    assert sum(s.startswith("checks.") for s in sources) >= 3


def test_it_ends_with_a_summary_and_what_comes_next(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "## Summary" in text
    assert "What comes next" in text


def test_it_carries_no_traces_of_the_machine(notebook):
    text = nbformat.writes(notebook)
    assert "papermill" not in text.replace("papermill runs", "")
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
