"""Marks as tables and as pages to hand back."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from course.grading.marks import FAILED, STATES, Mark, plain_line
from labkit.files import check_targets, write_text


def targets(out: Path, pages: Path | None, students: Sequence[str]) -> list[Path]:
    """All files that `write_tables` and `write_pages` write."""
    names = [page_path(pages, student) for student in students] if pages else []
    return [out, _beside(out, "students"), _beside(out, "exercises"), *names]


def write_tables(out: Path, marks: Sequence[Mark]) -> tuple[Path, Path]:
    """Write the marks, and beside them `<name>-students.csv` and `<name>-exercises.csv`; returns these two paths.

    The first sums up a row a student, the second a row an exercise: how many of each state, the mean score, and the
    sentence that most of those who failed were told.
    """
    table = pd.DataFrame([vars(mark) for mark in marks])
    table["student_id"] = table["student_id"].map(plain_line)
    states = pd.get_dummies(table["state"]).reindex(columns=list(STATES), fill_value=0).astype(int)
    whole = pd.concat([table, states], axis=1)
    sums = whole.groupby("student_id", sort=False)[["score", "max_score", *STATES]].sum().reset_index()
    groups = whole.groupby(["assignment", "exercise"], sort=False)
    exercises = groups[list(STATES)].sum()
    exercises.insert(0, "max_score", groups["max_score"].first())
    exercises.insert(1, "mean_score", groups["score"].mean().round(3))
    failed = table[table["state"] == FAILED].groupby(["assignment", "exercise"], sort=False)["sentence"]
    exercises["most_frequent_sentence"] = failed.agg(lambda told: told.value_counts().index[0])
    _write(out, table)
    _write(_beside(out, "students"), sums)
    _write(_beside(out, "exercises"), exercises.reset_index().fillna({"most_frequent_sentence": ""}))
    return _beside(out, "students"), _beside(out, "exercises")


def write_pages(folder: Path, marks: Sequence[Mark]) -> int:
    """Write `<student id>.html` for each student: their exercises, points and what the checks say; returns how many."""
    from course.reporting.pages import template

    by_student: dict[str, list[Mark]] = {}
    for mark in marks:
        by_student.setdefault(mark.student_id, []).append(mark)
    for student, own in by_student.items():
        chapters: dict[str, list[Mark]] = {}
        for mark in own:
            chapters.setdefault(mark.assignment, []).append(mark)
        sums = {"score": sum(mark.score for mark in own), "most": sum(mark.max_score for mark in own)}
        body = template("student.html.jinja").render(student=student, chapters=chapters, **sums)
        page = template("page.html.jinja").render(title=f"Marks: {student}", body=_safe(body))
        write_text(page_path(folder, student), page)
    return len(by_student)


def page_path(folder: Path, student: str) -> Path:
    """Where a student's page goes; ids are names of files, so they make one."""
    return folder / f"{student or 'without-id'}.html"


def check(out: Path, pages: Path | None, students: Sequence[str], more: Sequence[Path]) -> None:
    """Refuse (LabError), before anything runs, to replace a file that is not labkit's."""
    check_targets([*targets(out, pages, students), *more])


def _safe(body: str):
    from markupsafe import Markup

    return Markup(body)  # a template has made it, which escapes


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f"{out.stem}-{what}.csv")


def _write(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
