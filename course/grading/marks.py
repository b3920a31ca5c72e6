"""From answers to marks: what came out of the sandbox is judged here, and written as tables."""

import csv
import hashlib
import io
import json
import re
import signal
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from course import checks
from course.checks.verdict import WrongAnswer
from course.grading import sandbox, worker
from course.grading.handed_in import HandedIn, Task
from labkit.files import written_whole

PASSED, FAILED, NOT_ATTEMPTED = "passed", "failed", "not attempted"
TIMED_OUT, NO_ARRAYS, UNREADABLE = "timed out", "no plain arrays", "unreadable"
STATES = (PASSED, FAILED, NOT_ATTEMPTED, TIMED_OUT, NO_ARRAYS, UNREADABLE)
JUDGE_SECONDS = 30


@dataclass
class Mark:
    """One row of the table; the names of the first columns are those of nbgrader's export."""

    student_id: str
    assignment: str
    exercise: str
    state: str
    score: float
    max_score: float
    sentence: str
    notebook: str
    seed: int


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
    """Whether a notebook names the check, or else, where none of them does, something that the check is given."""
    called = re.compile(rf"\b{task.check}\(")
    if any(called.search(cell) for cell in student.sources[name]):
        return True
    if any(called.search(cell) for cells in student.sources.values() for cell in cells):
        return False
    return any(task.argument in cell for cell in student.sources[name])


def _keep(best: dict[int, Mark], number: int, mark: Mark) -> None:
    if number not in best or STATES.index(mark.state) < STATES.index(best[number].state):
        best[number] = mark


def _mark(student: HandedIn, task: Task, name: str, seed: int, answer: bytes) -> Mark:
    state, sentence = verdict(task.check, seed, answer)
    untouched = any(cell.strip() == task.stub.strip() for cell in student.sources[name])
    if state != PASSED and untouched:
        state, sentence = NOT_ATTEMPTED, ""
    score = task.points if state == PASSED else 0
    return Mark(student.student, task.chapter, task.check, state, score, task.points, plain_line(sentence), name, seed)


def verdict(check: str, seed: int, answer: bytes) -> tuple[str, str]:
    """State and sentence for an answer of the worker's; nothing in it is believed before it is judged."""
    kind, content = answer[:1], answer[1:]
    if kind == worker.NOTHING:
        return NOT_ATTEMPTED, ""
    if kind == worker.TIMEOUT:
        return TIMED_OUT, "the time for the exercise was over"
    if kind == worker.SENTENCE:
        return FAILED, content[:2000].decode("utf-8", "replace")
    if kind != worker.ARRAYS:
        return NO_ARRAYS, "the process ended, or used too much memory, or gave something else than arrays"
    told = (NO_ARRAYS, "what came back is no set of plain arrays")
    try:
        for part in _parts(content):
            try:
                with _seconds(JUDGE_SECONDS):
                    getattr(checks, check).judge(plain_arrays(part), seed)
                return PASSED, ""
            except WrongAnswer as error:
                told = FAILED, str(error)
    except (Exception, MemoryError) as error:  # whatever arrays that the student made up do to a judge
        told = NO_ARRAYS, f"what came back cannot be judged ({type(error).__name__})"
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


def fingerprint(student: HandedIn, tasks: list[Task]) -> str:
    """The same for the same notebooks and exercises, so that a student who was graded is not graded again."""
    return hashlib.sha256(json.dumps([student, tasks], sort_keys=True).encode("utf-8", "replace")).hexdigest()


def write_tables(out: Path, marks: Iterable[Mark]) -> Path:
    """Write the marks, and beside them `<name>-students.csv` with each student's sum; returns the latter's path."""
    marks = list(marks)
    columns = list(Mark.__dataclass_fields__)
    _table(out, columns, [{**asdict(mark), "student_id": plain_line(mark.student_id)} for mark in marks])
    sums: dict[str, dict] = {}
    for mark in marks:
        name = plain_line(mark.student_id)
        row = sums.setdefault(name, {"student_id": name, "score": 0, "max_score": 0} | dict.fromkeys(STATES, 0))
        row["score"], row["max_score"] = row["score"] + mark.score, row["max_score"] + mark.max_score
        row[mark.state] += 1
    summary = out.with_name(f"{out.stem}-students.csv")
    _table(summary, ["student_id", "score", "max_score", *STATES], sums.values())
    return summary


def _table(path: Path, columns: list[str], rows: Iterable[dict]) -> None:
    with written_whole(path, "w") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
