"""The command `course grade`."""

import json
import os
import secrets
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import bar
from labkit.errors import LabError
from labkit.files import written_whole


def grade(
    folder: Annotated[Path, typer.Argument(help="What was handed in: <student id>/... or <student id>_....ipynb.")],
    out: Annotated[Path, typer.Option(help="The table: one row for each student and exercise.")] = Path("marks.csv"),
    handout: Annotated[Path | None, typer.Option(help="What was handed out; default: as this repository is.")] = None,
    points: Annotated[Path | None, typer.Option(help="A TOML file: other points, and parts for some mistakes.")] = None,
    pages: Annotated[Path | None, typer.Option(help="A folder for a page for each student, to hand back.")] = None,
    only: Annotated[str, typer.Option(help="Only chapters that begin so, such as 06.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="Processor time for each exercise of a student.")] = 60,
    jobs: Annotated[int | None, typer.Option(min=1, help="Students at a time; default: one for each core.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws the checks' inputs; default: a new one.")] = None,
) -> None:
    """Grade students' notebooks: their code runs in a sandbox, and what it gave is judged outside.

    Of a notebook run only the cells that an exercise's answer needs. Interrupted, it goes on with the same command;
    students whose notebooks have changed are graded anew, and other points need no new run. Exit status 0 means that
    every notebook could be read.

    Examples:

    `course grade handed-in --out marks.csv`; `course grade handed-in --only 06 --handout student`

    `course grade handed-in --out marks.csv --points points.toml --pages pages`
    """
    if os.name != "posix":
        raise LabError("course grade: needs Linux or macOS (on Windows: WSL)")
    from course.grading import handed_in, marks, sandbox, tables
    from course.grading.points import read_scheme

    tasks = [task for task in handed_in.handed_out(handout) if task.chapter.startswith(only)]
    if not tasks:
        raise LabError(f"--only: no exercise in a chapter {only!r}")
    scheme = read_scheme(points, tasks)
    if told := sandbox.box().warning:
        warnings.warn(told, stacklevel=1)
    handed = list(handed_in.students(folder))
    journal = out.with_name(f"{out.name}.journal")
    done = _done(journal)
    seed = done.get("seed", secrets.randbelow(2**31)) if seed is None else seed
    done = done if done.get("seed") == seed else {"seed": seed}
    tables.check(out, pages, [student.student for student in handed], [journal])
    keys = {student.student: marks.fingerprint(student, tasks) for student in handed}
    waiting = [student for student in handed if keys[student.student] not in done]
    limits = sandbox.Limits(seconds=seconds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(marks.grade, student, tasks, seed, limits): student.student for student in waiting}
        try:
            for job in bar(as_completed(running), "grading", len(running)):
                done[keys[running[job]]] = [vars(mark) for mark in job.result()]
                with written_whole(journal, "w") as file:
                    json.dump(done, file)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    rows = [
        scheme.scored(marks.Mark(**mark), task.points)
        for student in handed
        for task, mark in zip(tasks, done[keys[student.student]], strict=True)
    ]
    written = [out, *tables.write_tables(out, rows)]
    if pages:
        tables.write_pages(pages, rows)
        written.append(pages)
    told = ", ".join(f"{number} {state}" for state, number in Counter(mark.state for mark in rows).most_common())
    typer.echo(f"{len(handed)} students, {len(tasks)} exercises: {told}")
    typer.echo(f"written: {', '.join(map(str, written))}")
    if unreadable := [sentence for student in handed for sentence in student.unreadable]:
        for sentence in unreadable:
            typer.echo(f"unreadable: {marks.plain_line(sentence)}", err=True)
        raise LabError(f"{len(unreadable)} notebooks could not be read, named above; all else is graded")


def _done(journal: Path) -> dict:
    try:
        return json.loads(journal.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise LabError(f"{journal}: is no journal of course grade; move it away") from None
