"""The students' copy: no solution survives, checks stay, nbgrader reads it, and a student's work is never replaced."""

import ast
import copy
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course.handout import BEGIN, END, STUB, changed_exercises, exercises, student_copy, without_solution
from labkit.errors import LabError

ROOT = Path(__file__).resolve().parents[2]
SOLVED = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(params=SOLVED, ids=lambda path: path.stem)
def solved(request):
    return request.param.stem, nbformat.read(request.param, as_version=4)


def small(
    task="Double a number.",
    answer=f"def double(x):\n    {BEGIN}\n    return 2 * x\n    {END}",
    check="checks.double(double)",
):
    return new_notebook(cells=[new_markdown_cell(task), new_code_cell(answer), new_code_cell(check)])


def test_every_answer_is_a_stub_and_the_rest_of_its_cell_stays():
    cell = student_copy(small(), "09_x").cells[1]
    assert cell.source == f"def double(x):\n    {STUB}"
    with pytest.raises(NotImplementedError, match="your answer goes here"):
        exec(cell.source + "\ndouble(1)")


def test_cells_are_those_that_nbgrader_makes(solved):
    from nbgrader.preprocessors import ClearSolutions
    from traitlets.config import Config

    name, notebook = solved
    config = Config()
    config.ClearSolutions.code_stub = {"python": STUB}
    config.ClearSolutions.begin_solution_delimeter, config.ClearSolutions.end_solution_delimeter = BEGIN, END
    mine = student_copy(notebook, name)
    marked = copy.deepcopy(notebook)
    for cell, ours in zip(marked.cells, mine.cells, strict=True):
        cell.metadata = ours.metadata  # nbgrader refuses solutions in cells that do not say that they hold one
    theirs, _ = ClearSolutions(config=config).preprocess(marked, {})
    assert [cell.source for cell in theirs.cells] == [cell.source for cell in mine.cells]


def test_nbgrader_takes_the_metadata_and_gives_a_wrong_answer_no_points(solved):
    from nbgrader import utils
    from nbgrader.nbgraderformat.v3 import MetadataValidatorV3

    name, notebook = solved
    mine = student_copy(notebook, name)
    for cell in mine.cells:
        MetadataValidatorV3().validate_cell(cell)
    ids = [cell.metadata["nbgrader"]["grade_id"] for cell in mine.cells if "nbgrader" in cell.metadata]
    assert len(ids) == len(set(ids)) == 2 * len(exercises(notebook, name)) > 0
    for exercise in exercises(notebook, name):
        check = mine.cells[exercise.cell]
        assert utils.is_grade(check)
        assert utils.is_solution(mine.cells[exercise.answer])
        assert utils.determine_grade(check) == (1, 1)
        check.outputs = [new_output("error", ename="WrongAnswer", evalue="no", traceback=[])]
        assert utils.determine_grade(check) == (0, 1)


def test_no_line_of_a_solution_survives(solved):
    name, notebook = solved
    mine = student_copy(notebook, name)
    inside, solutions, others = False, set(), set()
    for cell in notebook.cells:
        for line in cell.source.split("\n"):
            if BEGIN in line or END in line:
                inside = BEGIN in line
            else:
                (solutions if inside else others).add(line.strip())
    written = {line.strip() for cell in mine.cells for line in cell.source.split("\n")}
    assert not (solutions - others) & written - {""}
    assert not any(BEGIN in line or END in line for line in written)


def test_a_student_reads_the_name_that_the_check_is_given(solved):
    name, notebook = solved
    mine = student_copy(notebook, name)
    for exercise in exercises(notebook, name):
        call = ast.parse(mine.cells[exercise.cell].source).body[0].value
        given = call.args[0].id
        statements = ast.parse(mine.cells[exercise.answer].source).body
        defined = {node.name for node in statements if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assigned = [target for node in statements if isinstance(node, ast.Assign) for target in node.targets]
        assert given in defined | {target.id for target in assigned}


def test_results_go_and_figures_stay_as_still_images(solved):
    name, notebook = solved
    mine = student_copy(notebook, name)
    images = [
        sum("image/png" in o.get("data", {}) for c in nb.cells for o in c.get("outputs", ())) for nb in (notebook, mine)
    ]
    assert images[0] - images[1] == {"02_unet": 2, "03_resnet34_unet": 3, "07_several_classes": 1}.get(name, 0)
    for cell in mine.cells:
        assert cell.get("execution_count") is None
        for output in cell.get("outputs", ()):
            assert output.output_type == "display_data"
            assert {"image/png", "text/markdown"} & output.data.keys()
            assert "application/vnd.jupyter.widget-view+json" not in output.data
    assert "widgets" not in mine.metadata
    nbformat.validate(mine)


def test_a_figure_that_is_to_be_predicted_is_not_handed_out():
    figure = new_output("display_data", {"image/png": "aGVsbG8="})
    plot = new_code_cell("draw()", outputs=[figure])
    texts = ("What is seen?", "**Predict:** which line falls?", "The one falls.")
    cells = [cell for text in texts for cell in (new_markdown_cell(text), plot)]
    copy = student_copy(new_notebook(cells=cells), "03_x")
    assert [bool(cell.outputs) for cell in copy.cells if cell.cell_type == "code"] == [True, False, True]


def test_the_solved_notebook_is_left_as_it_is(solved):
    name, notebook = solved
    before = nbformat.writes(notebook)
    student_copy(notebook, name)
    assert nbformat.writes(notebook) == before


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (f"{BEGIN}\nx = 1", "BEGIN SOLUTION without END SOLUTION"),
        (f"x = 1\n{END}", "END without BEGIN SOLUTION"),
        (f"{BEGIN}\n{BEGIN}\n{END}", "two BEGIN SOLUTION"),
    ],
)
def test_marks_that_do_not_pair_up_name_the_cell(source, sentence):
    with pytest.raises(LabError, match=f"x, cell 3: {sentence}"):
        without_solution(source, "x, cell 3")


def test_answers_without_a_check_of_their_own_are_refused():
    both = small()
    both.cells += small().cells
    with pytest.raises(LabError, match=r"checks\.double checks two answers"):
        exercises(both, "x")
    both.cells.pop(2)
    with pytest.raises(LabError, match="cell 1: no check cell follows this answer before the next one"):
        exercises(both, "x")
    with pytest.raises(LabError, match=r"cell 1: no check cell follows this answer$"):
        exercises(new_notebook(cells=small().cells[:2]), "x")


def test_changed_exercises_are_those_whose_task_or_check_changed():
    old = student_copy(small(), "09_x")
    done = copy.deepcopy(old)
    done.cells[1].source = "def double(x):\n    return x + x"
    assert changed_exercises(done, student_copy(small(), "09_x")) == []
    assert changed_exercises(done, student_copy(small(task="Double it."), "09_x")) == ["09-double"]
    assert changed_exercises(done, student_copy(small(check="checks.double(double, 2)"), "09_x")) == ["09-double"]
    assert changed_exercises(done, new_notebook(cells=[])) == ["09-double"]


# --- the command


def test_a_zip_holds_what_a_student_needs_and_nothing_that_they_must_not_see(tmp_path, shell):
    status, out, _ = shell("handout", "--out", tmp_path / "lab.zip", "--chapters", "01-02")
    assert (status, "2 notebooks for students" in out) == (0, True)
    with zipfile.ZipFile(tmp_path / "lab.zip") as archive:
        names = archive.namelist()
        assert len(names) == len(set(names))
        texts = [archive.read(name).decode() for name in names if name.endswith(".ipynb")]
    wanted = {"README.md", "Makefile", "requirements.lock", "labkit/models/unet.py", "course/checks/verdict.py"}
    assert wanted | {"notebooks/01_data.ipynb", "notebooks/02_unet.ipynb", "labkit/data/archives/sample.tar"} <= set(
        names
    )
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "dataset/drawing", ".git"))]
    assert len(texts) == 2
    assert not any("BEGIN SOLUTION" in text for text in texts)


def test_a_copy_is_never_replaced(tmp_path, shell):
    folder = tmp_path / "student"
    assert shell("handout", "--out", folder, "--chapters", "01")[0] == 0
    path = folder / "notebooks" / "01_data.ipynb"
    path.write_text("my work")
    status, _, error = shell("handout", "--out", folder, "--chapters", "01")
    assert (status, path.read_text()) == (1, "my work")
    assert "nothing of it is replaced" in error


def test_an_update_lays_new_notebooks_beside_and_names_what_changed(tmp_path, shell):
    folder = tmp_path / "student"
    shell("handout", "--out", folder, "--chapters", "01")
    path = folder / "notebooks" / "01_data.ipynb"
    mine = nbformat.read(path, as_version=4)
    answer = next(i for i, cell in enumerate(mine.cells) if cell.metadata.get("nbgrader", {}).get("solution"))
    mine.cells[answer].source = "my answer"
    nbformat.write(mine, path)
    before = path.read_bytes()
    status, out, _ = shell("handout", "--out", folder, "--chapters", "01", "--update")
    assert (status, "no exercise has changed" in out) == (0, True)
    mine.cells[answer - 1].source += "\nAn older text of the task."
    nbformat.write(mine, path)
    status, out, _ = shell("handout", "--out", folder, "--chapters", "01,02", "--update")
    assert (status, "01_data.new.ipynb: 01-" in out, "02_unet.ipynb: all: it is new" in out) == (0, True, True)
    assert nbformat.read(path, as_version=4).cells[answer].source == "my answer"
    assert b"my answer" not in path.with_name("01_data.new.ipynb").read_bytes()
    assert before != path.read_bytes()


@pytest.mark.parametrize(("text", "sentence"), [("one", "write such as 01-05"), ("77", "no chapter 77; there are 01")])
def test_chapters_that_are_not_there_are_told(tmp_path, shell, text, sentence):
    status, _, error = shell("handout", "--out", tmp_path / "x", "--chapters", text)
    assert (status, sentence in error) == (1, True)
    assert not (tmp_path / "x").exists()


def test_a_copy_that_is_not_there_cannot_be_updated(tmp_path, shell):
    status, _, error = shell("handout", "--out", tmp_path / "none", "--update")
    assert (status, "no copy is there to update" in error) == (1, True)
