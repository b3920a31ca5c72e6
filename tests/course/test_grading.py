"""Marks: honest answers get theirs however the notebook was changed, and hostile ones change nothing outside."""

import io
import json
import os

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from benchmarks.hostile import HOSTILE, WRONG
from course.grading import marks, sandbox, worker
from course.grading.cells import needed_cells
from course.grading.handed_in import HandedIn, Task, check_calls, code_cells, handed_out, students

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork")
TASKS = [
    Task("06_x", "gate_parameters", "gate_parameters", "def gate_parameters(): ...", 2.0),
    Task("06_x", "hand_weights", "three", "three = ...", 1.0),
]
HONEST = ["three = (0.05, 0.05, 1.0)", "checks.hand_weights(three)"]
LIMITS = sandbox.Limits(seconds=8, memory=3 * 2**30)
CALL = "checks.gate_parameters(gate_parameters)"
SOLVED = "def gate_parameters(s, g):\n    h = s // 2\n    return 4 * s * h + g * h + h + h + 1"


def graded(cells, name="s/06_x.ipynb", tasks=TASKS):
    return {mark.exercise: mark for mark in marks.grade(HandedIn("s", {name: cells}, []), tasks, 3, LIMITS)}


needs_box = pytest.mark.skipif(os.name != "posix" or not sandbox.box().closed, reason="bubblewrap does not work here")


@needs_box
@pytest.mark.parametrize(
    "kind",
    [
        "exit",
        "patched judge",
        *[pytest.param(k, marks=pytest.mark.slow) for k in HOSTILE if k not in ("exit", "patched judge")],
    ],
)
def test_an_attack_earns_nothing_and_costs_the_other_exercise_nothing(kind):
    if kind == "fork bomb" and os.getuid() == 0 and sandbox.box().user is None:
        pytest.skip("the kernel does not count root's processes, so the machine itself would suffer")
    found = graded(["import torch", HOSTILE[kind], CALL, *HONEST])
    assert found["gate_parameters"].state in (marks.FAILED, marks.TIMED_OUT, marks.NO_ARRAYS), found
    assert found["gate_parameters"].score == 0
    assert kind != "endless loop" or found["gate_parameters"].state == marks.TIMED_OUT
    assert found["hand_weights"].state == marks.PASSED, found


@needs_box
def test_the_host_and_the_network_are_out_of_reach(tmp_path):
    secret = tmp_path / "other-student.ipynb"
    secret.write_text("kept")
    reach = f"""
import socket, os
def can(action):
    try: action(); return 1
    except OSError: return 0
three = [can(lambda: open({str(secret)!r}).read()), can(lambda: open({marks.__file__!r}, 'a')),
         can(lambda: socket.create_connection(('1.1.1.1', 53), 2)) + can(lambda: os.remove({str(secret)!r}))]
"""
    task = {"index": 0, "check": "hand_weights", "argument": "three", "notebook": "a", "seed": 1}
    ((_, answer),) = sandbox.run({"a": [reach]}, [task], LIMITS)
    (part,) = marks._parts(answer[1:])
    assert answer[:1] == worker.ARRAYS
    assert marks.plain_arrays(part)["weights"].tolist() == [0, 0, 0]
    assert secret.read_text() == "kept"


@needs_box
def test_copied_split_moved_and_deleted_cells_do_not_matter():
    split = [SOLVED.replace("gate_parameters", "counted"), "import math", "gate_parameters = counted", "1 / 0", CALL]
    assert graded(["%matplotlib inline", *split])["gate_parameters"].score == 2
    assert graded([SOLVED, CALL, WRONG, CALL])["gate_parameters"].score == 2  # copied: the one that passes counts
    assert graded([CALL, SOLVED])["gate_parameters"].score == 2  # moved: the answer stands below its check
    assert graded(HONEST[:1])["hand_weights"].score == 1  # the check's call was deleted


def test_a_cell_may_hold_several_checks_and_all_exercises_are_found():
    source = "checks.one(first)\nchecks.two(\n    second,\n)"
    assert check_calls(source) == {"one": "first", "two": "\n    second,\n"}
    tasks = handed_out(None)
    names = {task.check for task in tasks}
    assert {"mask_runs", "decoded_mask", "hand_in", "pet_pairs", "basic_block", "resume", "gate_parameters"} <= names
    assert len(names) == len(tasks)
    assert all(task.points > 0 and "NotImplementedError" in task.stub for task in tasks)


def test_pickles_and_compressed_arrays_are_refused():
    for save, arrays in ((np.savez, {"a": np.array([{}])}), (np.savez_compressed, {"a": np.zeros(10)})):
        buffer = io.BytesIO()
        save(buffer, **arrays)
        content = buffer.getvalue()
        answer = worker.ARRAYS + len(content).to_bytes(8, "little") + content
        assert marks.verdict("hand_weights", 0, answer)[0] == marks.NO_ARRAYS


def test_only_the_cells_that_an_answer_needs_run():
    import ast

    cells = ["import a", "x = train(a)", "def f(x):\n    return a.b(x)", "f(x)"]
    assert needed_cells([ast.parse(cell) for cell in cells], 3, ast.parse("f", mode="eval").body) == [0, 2]


def test_links_broken_files_and_other_kernels_are_named_and_ids_are_found(tmp_path):
    good = nbformat.writes(new_notebook(cells=[new_code_cell("x = 1")]))
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "06.ipynb").write_text(good)
    (tmp_path / "bert_06_x.ipynb").write_text("{broken")
    (tmp_path / "carl_06.ipynb").symlink_to(tmp_path / "anna" / "06.ipynb")
    (tmp_path / "dora_06.ipynb").write_text(json.dumps(["no notebook"]))
    other = new_notebook(cells=[], metadata={"kernelspec": {"language": "R", "name": "ir", "display_name": "R"}})
    (tmp_path / "emil_..ipynb").write_text(nbformat.writes(other))
    found = {student.student: student for student in students(tmp_path)}
    assert list(found) == ["anna", "bert", "carl", "dora", "emil"]
    assert found["anna"].sources == {"anna/06.ipynb": ["x = 1"]}
    assert all(len(found[name].unreadable) == 1 for name in ("bert", "carl", "dora", "emil"))
    assert code_cells(tmp_path / "anna" / "06.ipynb") == ["x = 1"]


def test_a_sentence_is_one_line_and_no_formula():
    assert marks.plain_line("=1+1\n\x1b[31m2") == "'=1+1  [31m2"


def test_a_notebook_is_asked_for_an_exercise_if_it_calls_the_check_or_is_of_the_chapter():
    train = Task("04_training", "train", "train", "def train(): ...", 1.0)

    def asked(name, *cells):
        return marks._may_hold(train, HandedIn("s", {name: list(cells)}, []), name)

    assert asked("s/any.ipynb", "checks.train(train)")
    assert asked("s/01_data.ipynb", "checks.train(train)")  # moved into another notebook
    assert asked("s/01_data.ipynb", "from course.checks import train as t", "train(x)")
    assert asked("s/04_training.ipynb", "def train(): pass")  # the check's call was deleted
    assert asked("s_04_mine.ipynb", "def train(): pass")
    assert asked("s/renamed.ipynb", "def train(): pass")
    assert not asked("s/01_data.ipynb", "model.train()", "fit(train)")
    assert not asked("04_s/01_data.ipynb", "train(x)")
