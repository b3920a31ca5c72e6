"""Points and their parts, tables, pages to hand back, going on after a stop, and grading without bubblewrap."""

import json
import os

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course.grading import sandbox
from course.grading.handed_in import HandedIn, Task
from course.grading.marks import FAILED, NO_ARRAYS, NOT_ATTEMPTED, PASSED, Mark, fingerprint, grade
from course.grading.points import read_scheme
from course.grading.tables import write_pages, write_tables
from labkit.errors import LabError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork")
TASKS = [
    Task("06_x", "gate_parameters", "gate_parameters", "def gate_parameters(): ...", 2.0),
    Task("06_x", "hand_weights", "three", "three = ...", 1.0),
]
SOLVED = "def gate_parameters(s, g):\n    h = s // 2\n    return 4 * s * h + g * h + h + h + 1"
WRONG = "def gate_parameters(s, g):\n    return 0"
CALLS = ["checks.gate_parameters(gate_parameters)", "checks.hand_weights(three)"]
THREE = "three = (0.05, 0.05, 1.0)"


def mark(exercise, state, sentence="", judged=False, student="anna"):
    return Mark(student, "06_x", exercise, state, 0.0, 0.0, sentence, "06.ipynb", 1, judged)


def scheme(tmp_path, text):
    path = tmp_path / "points.toml"
    path.write_text(text)
    return read_scheme(path, TASKS)


def test_points_of_the_handout_hold_unless_a_file_says_otherwise(tmp_path):
    usual, own = read_scheme(None, TASKS), scheme(tmp_path, "[points]\ngate_parameters = 5")
    assert usual.scored(mark("gate_parameters", PASSED), 2.0).score == 2
    assert own.scored(mark("gate_parameters", PASSED), 2.0).score == 5
    assert own.scored(mark("gate_parameters", FAILED, "no", True), 2.0).max_score == 5
    assert own.scored(mark("hand_weights", PASSED), 1.0).score == 1


def test_parts_are_given_for_a_judged_mistake_and_by_the_first_rule_that_fits(tmp_path):
    rules = """
[[partial]]
exercise = "gate_*"
sentence = "bias"
share = 0.75
[[partial]]
share = 0.25
"""
    found = scheme(tmp_path, rules)
    assert found.scored(mark("gate_parameters", FAILED, "the bias is missing", True), 2.0).score == 1.5
    assert found.scored(mark("gate_parameters", FAILED, "a factor 2", True), 2.0).score == 0.5
    assert found.scored(mark("hand_weights", FAILED, "the bias is missing", True), 2.0).score == 0.5
    # what the student's own process says, or nothing that was judged, earns nothing
    assert found.scored(mark("gate_parameters", FAILED, "the bias is missing", False), 2.0).score == 0
    for state in (NO_ARRAYS, NOT_ATTEMPTED):
        assert found.scored(mark("gate_parameters", state), 2.0).score == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[points]\nnot_there = 1", "not_there: no such exercise"),
        ("[points]\nhand_weights = -1", "points are from 0 on"),
        ("[[partial]]\nshare = 2", "partial.0.share"),
        ("[[partial]]\nshare = 0.5\nexercise = 'unet_*'", "fits no exercise"),
        ("pints = 3", "pints"),
        ("= 3", "not a TOML file"),
    ],
)
def test_a_wrong_scheme_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(LabError, match=sentence):
        scheme(tmp_path, text)


def test_other_points_do_not_make_a_student_be_graded_again():
    student = HandedIn("anna", {"06.ipynb": [SOLVED]}, [])
    more = [task._replace(points=9.0) for task in TASKS]
    assert fingerprint(student, TASKS) == fingerprint(student, more)
    assert fingerprint(student, TASKS) != fingerprint(student._replace(sources={"06.ipynb": [WRONG]}), TASKS)
    assert fingerprint(student, TASKS) != fingerprint(student, TASKS[:1])


def test_tables_sum_up_students_and_exercises_and_pages_show_no_html_of_a_student(tmp_path):
    marks = [
        *(mark("gate_parameters", FAILED, "the bias is missing", True, who) for who in ("anna", "<b>bert")),
        *(mark("gate_parameters", FAILED, "a factor 2", True, "carl"), mark("hand_weights", PASSED, "", True, "carl")),
        *(mark("hand_weights", FAILED, "<script>alert(1)</script>", False, who) for who in ("anna", "<b>bert")),
    ]
    rules = scheme(tmp_path, "[[partial]]\nshare = 0.5")
    marks = [rules.scored(one, 2.0 if one.exercise == "gate_parameters" else 1.0) for one in marks]
    students, exercises = (pd.read_csv(path) for path in write_tables(tmp_path / "marks.csv", marks))
    assert dict(zip(students["student_id"], students["score"], strict=True)) == {"anna": 1, "<b>bert": 1, "carl": 2}
    assert set(students["max_score"]) == {3}
    gate = exercises.set_index("exercise").loc["gate_parameters"]
    assert (gate["failed"], gate["passed"], gate["mean_score"]) == (3, 0, 1)
    assert gate["most_frequent_sentence"] == "the bias is missing"
    assert write_pages(tmp_path / "pages", marks) == 3
    assert {path.name for path in (tmp_path / "pages").glob("*.html")} == {"anna.html", "<b>bert.html", "carl.html"}
    page = (tmp_path / "pages" / "anna.html").read_text()
    assert "1 of 3 points" in page
    assert "the bias is missing" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "bert" not in page


def handed_out_and_in(folder):
    about = {"schema_version": 3, "cell_type": "code", "task": False, "locked": False}
    cells = []
    for task, call in zip(TASKS, CALLS, strict=True):
        ids = {"grade_id": f"{task.check}-answer", "grade": False, "solution": True}
        cells.append(new_code_cell(task.stub, metadata={"nbgrader": about | ids}))
        ids = {"grade_id": task.check, "grade": True, "solution": False, "points": task.points}
        cells.append(new_code_cell(call, metadata={"nbgrader": about | ids}))
    (folder / "out").mkdir()
    nbformat.write(new_notebook(cells=cells), folder / "out" / "06_x.ipynb")
    (folder / "in" / "anna").mkdir(parents=True)
    hand_in(folder, "anna/06_x", [SOLVED, THREE, *CALLS])
    hand_in(folder, "bert_06_x", [WRONG, TASKS[1].stub, *CALLS])
    return folder / "in", folder / "out"


def hand_in(folder, name, sources):
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells), folder / "in" / f"{name}.ipynb")


def test_the_command_grades_goes_on_and_gives_other_points_without_a_new_run(shell, tmp_path):
    students, handout = handed_out_and_in(tmp_path)
    out = tmp_path / "marks.csv"
    words = ("grade", students, "--out", out, "--handout", handout, "--jobs", 2, "--seconds", 120)
    status, told, err = shell(*words)
    assert status == 0, err
    first = pd.read_csv(out).set_index(["student_id", "exercise"])
    assert first["score"].to_dict() == {
        ("anna", "gate_parameters"): 2,
        ("anna", "hand_weights"): 1,
        ("bert", "gate_parameters"): 0,
        ("bert", "hand_weights"): 0,
    }
    assert first.loc[("bert", "gate_parameters"), "state"] == FAILED
    assert first.loc[("bert", "gate_parameters"), "judged"]
    assert first.loc[("bert", "hand_weights"), "state"] == NOT_ATTEMPTED
    assert "2 students, 2 exercises" in told

    # as after a stop: bert is missing in the journal, and whoever is there is not graded again
    journal = tmp_path / "marks.csv.journal"
    content = json.loads(journal.read_text())
    for key, marks in list(content.items()):
        if key != "seed" and marks[0]["student_id"] == "bert":
            del content[key]
        elif key != "seed":
            marks[0]["sentence"] = "graded before"
    journal.unlink()
    from labkit.files import write_text

    write_text(journal, json.dumps(content))
    (tmp_path / "points.toml").write_text("[points]\nhand_weights = 4\n[[partial]]\nshare = 0.5\n")
    more = ("--points", tmp_path / "points.toml", "--pages", tmp_path / "pages")
    status, told, err = shell(*words, *more)
    assert status == 0, err
    second = pd.read_csv(out).set_index(["student_id", "exercise"])
    assert second.loc[("anna", "gate_parameters"), "sentence"] == "graded before"
    assert second["score"].to_list() == [2, 4, 1, 0]
    assert second["seed"].nunique() == 1
    assert set(second["seed"]) == set(first["seed"])
    assert "6 of 6 points" in (tmp_path / "pages" / "anna.html").read_text()

    # a notebook that cannot be read: the others are graded, the exit status says it
    (students / "carl_06_x.ipynb").write_text("{")
    status, _, err = shell(*words)
    assert status == 1
    assert "carl_06_x.ipynb" in err
    assert pd.read_csv(tmp_path / "marks-students.csv").set_index("student_id")["unreadable"].to_dict()["carl"] == 2


@pytest.fixture
def without_bubblewrap(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox.box.cache_clear()
    yield
    sandbox.box.cache_clear()


def test_without_bubblewrap_a_warning_is_given_and_limits_hold(without_bubblewrap):
    assert not sandbox.box().closed
    assert "bubblewrap does not work here" in sandbox.box().warning
    assert "can read and write your files" in sandbox.box().warning
    limits = sandbox.Limits(seconds=30, memory=3 * 2**30)
    cells = {
        "honest": [SOLVED, THREE, *CALLS],
        "memory": ["def gate_parameters(s, g):\n    return len(b'x' * 2**36)", THREE, *CALLS],
        "large": ["def gate_parameters(s, g):\n    open('f', 'wb').write(b'x' * 2**28)\n    return 0", THREE, *CALLS],
        "loop": ["def gate_parameters(s, g):\n    while True: pass", THREE, *CALLS],
    }
    found = {}
    for name, sources in cells.items():
        short = limits._replace(seconds=5) if name == "loop" else limits
        found[name] = {one.exercise: one.state for one in grade(HandedIn(name, {name: sources}, []), TASKS, 3, short)}
    assert found["honest"] == {"gate_parameters": PASSED, "hand_weights": PASSED}
    for name in ("memory", "large"):
        assert found[name]["gate_parameters"] in (FAILED, NO_ARRAYS)
        assert found[name]["hand_weights"] == PASSED
    assert found["loop"]["gate_parameters"] == "timed out"
