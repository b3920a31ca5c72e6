"""From answers to marks: what came out of the sandbox is judged here."""

import hashlib
import io
import json
import re
import signal
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from course import checks
from course.checks.verdict import WrongAnswer
from course.grading import sandbox, worker
from course.grading.handed_in import HandedIn, Task

PASSED, FAILED, NOT_ATTEMPTED = "passed", "failed", "not attempted"
TIMED_OUT, NO_ARRAYS, UNREADABLE = "timed out", "no plain arrays", "unreadable"
STATES = (PASSED, FAILED, NOT_ATTEMPTED, TIMED_OUT, NO_ARRAYS, UNREADABLE)
JUDGE_SECONDS = 30


@dataclass
class Mark:
    """One row of the table; names of columns that nbgrader's export has, too, are its names."""

    student_id: str
    assignment: str
    exercise: str
    state: str
    score: float
    max_score: float
    sentence: str
    notebook: str
    seed: int
    judged: bool = False
    """Whether the answer ran, and the sentence is the judge's: the student's process can make up all others."""


def grade(student: HandedIn, tasks: list[Task], seed: int, limits: sandbox.Limits) -> list[Mark]:
    """The marks of one student, in the order of the tasks; each in the notebook that does best."""
    best: dict[int, Mark] = {}
    pairs = [
        (number, name)
        for number, task in enumerate(tasks)
        for name in student.sources
        if _may_hold(task, student, name)
    ]
    todo = [
        {
            **{"index": index, "check": tasks[number].check, "argument": tasks[number].argument},
            "notebook": name,
            "seed": seed,
        }
        for index, (number, name) in enumerate(pairs)
    ]
    while todo:
        answered = set()
        for index, answer in sandbox.run(student.sources, todo, limits):
            if index not in {job["index"] for job in todo} - answered:
                break  # no frame of the worker's
            answered.add(index)
            number, name = pairs[index]
            _keep(best, number, _mark(student, tasks[number], name, seed, answer))
        todo = [job for job in todo if job["index"] not in answered]
        if todo:  # the next one has ended the worker; the others have another one
            number, name = pairs[todo.pop(0)["index"]]
            _keep(best, number, _mark(student, tasks[number], name, seed, worker.ENDED))
    missing = UNREADABLE if student.unreadable else NOT_ATTEMPTED
    why = plain_line("; ".join(student.unreadable))
    return [
        best.get(n) or Mark(student.student, task.chapter, task.check, missing, 0, task.points, why, "", seed)
        for n, task in enumerate(tasks)
    ]


def _may_hold(task: Task, student: HandedIn, name: str) -> bool:
    """Whether a notebook calls the check, or else, where none of them does, is of its chapter and has its answer."""
    if _calls(task, student.sources[name]):
        return True
    if any(_calls(task, cells) for cells in student.sources.values()):
        return False
    chapter = re.search(r"(?:^|[_/\\])(\d\d)_[^/\\]*$", name)
    of_another = chapter is not None and chapter[1] != task.chapter[:2]
    return not of_another and any(task.argument in cell for cell in student.sources[name])


def _calls(task: Task, cells: list[str]) -> bool:
    """Whether cells call a check as `checks.name(`, or as they have imported it; `model.train(` is no check."""
    imported = any(re.search(r"\bcourse\.checks\b|\bimport checks as\b", cell) for cell in cells)
    called = re.compile(rf"\b{task.check}\(" if imported else rf"\bchecks\.{task.check}\(")
    return any(called.search(cell) for cell in cells)


def _keep(best: dict[int, Mark], number: int, mark: Mark) -> None:
    if number not in best or STATES.index(mark.state) < STATES.index(best[number].state):
        best[number] = mark


def _mark(student: HandedIn, task: Task, name: str, seed: int, answer: bytes) -> Mark:
    state, sentence, judged = verdict(task.check, seed, answer)
    untouched = any(cell.strip() == task.stub.strip() for cell in student.sources[name])
    if state != PASSED and untouched:
        state, sentence, judged = NOT_ATTEMPTED, "", False
    score = task.points if state == PASSED else 0
    where = (student.student, task.chapter, task.check)
    return Mark(*where, state, score, task.points, plain_line(sentence), name, seed, judged)


def verdict(check: str, seed: int, answer: bytes) -> tuple[str, str, bool]:
    """State, sentence, and whether the answer was judged; nothing in the worker's answer is believed before."""
    kind, content = answer[:1], answer[1:]
    if kind == worker.NOTHING:
        return NOT_ATTEMPTED, "", False
    if kind == worker.TIMEOUT:
        return TIMED_OUT, "the time for the exercise was over", False
    if kind == worker.SENTENCE:
        return FAILED, content[:2000].decode("utf-8", "replace"), False
    if kind != worker.ARRAYS:
        return NO_ARRAYS, "the process ended, or used too much memory, or gave something else than arrays", False
    told = NO_ARRAYS, "what came back is no set of plain arrays", False
    try:
        for part in _parts(content):
            try:
                with _seconds(JUDGE_SECONDS):
                    getattr(checks, check).judge(plain_arrays(part), seed)
                return PASSED, "", True
            except WrongAnswer as error:
                told = FAILED, str(error), True
    except (Exception, MemoryError) as error:  # whatever arrays that the student made up do to a judge
        told = NO_ARRAYS, f"what came back cannot be judged ({type(error).__name__})", False
    return told


def plain_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` that is not compressed (so none is larger than its file); a ValueError otherwise."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(
            part.compress_type != zipfile.ZIP_STORED or part.file_size > len(content) for part in archive.infolist()
        ):
            raise ValueError("compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _parts(content: bytes) -> Iterator[bytes]:
    while content:
        (length,) = struct.unpack_from("<Q", content)
        yield content[8 : 8 + length]
        content = content[8 + length :]


@contextmanager
def _seconds(most: int) -> Iterator[None]:
    def over(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(most)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def plain_line(sentence: str) -> str:
    """One printable line of at most 300 characters that no spreadsheet takes for a formula."""
    line = "".join(letter if letter.isprintable() else " " for letter in " ".join(sentence.split()))[:300]
    return "'" + line if line.startswith(("=", "+", "-", "@")) else line


@cache
def checks_digest() -> str:
    """Of the checks' source: where one was mended, everybody is graded anew."""
    files = sorted(Path(checks.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def fingerprint(student: HandedIn, tasks: list[Task]) -> str:
    """The same for the same notebooks, exercises and checks, whatever the points: who has it is not graded again."""
    asked = [task._replace(points=0) for task in tasks]
    told = json.dumps([student, asked, checks_digest()], sort_keys=True)
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
