"""Forty notebooks graded, hostile ones among them: `python -m benchmarks.grading`, a row into records/grading.csv.

28 honest students of all levels hand in a chapter each, 12 attack the grader. `course grade` runs on two cores, once
with the honest ones alone and once with all; the honest marks must be the same, and no file outside may change.
"""

import argparse
import copy
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pandas as pd
import torch
from nbformat import NotebookNode

from benchmarks.hostile import HOSTILE
from benchmarks.timing import machine
from course.handout import BEGIN, END, exercises, student_copy
from labkit.errors import LabError
from labkit.files import checkout, home, write_text

LEVELS = ["all right"] * 10 + ["every second"] * 8 + ["wrong"] * 4 + ["rearranged"] * 3 + ["untouched"] * 3
"""Of the 28 honest students; chapters take turns."""
ATTACKS = ("endless loop", "memory", "output", "large file", "killed parent", "kill all")
ATTACKS += ("patched judge", "patched builtins", "exit", "success printed")
DELETES = "import shutil\nfor place in ('/', '/tmp', '/home', {host!r}): shutil.rmtree(place, ignore_errors=True)\n"
DELETES += "def gate_parameters(skip, gating): return 0\n"
ROWS = ["notebooks", "honest", "hostile", "cores", "seconds", "seconds_for_200", "load_before"]


def honest_notebook(solved: NotebookNode, name: str, level: str) -> NotebookNode:
    """What a student of that level hands in of a chapter."""
    mine = student_copy(solved, name)
    for number, exercise in enumerate(exercises(solved, name)):
        lines = solved.cells[exercise.answer].source.split("\n")
        answer = "\n".join(line for line in lines if BEGIN not in line and END not in line)
        if level == "untouched" or (level == "every second" and number % 2):
            continue
        mine.cells[exercise.answer].source = re.sub(r"return .+", "return 0", answer) if level == "wrong" else answer
    if level == "rearranged":  # checks first, then all else, and every cell twice
        checks = [cell for cell in mine.cells if cell.metadata.get("nbgrader", {}).get("grade")]
        mine.cells = [*copy.deepcopy(checks), *mine.cells, *copy.deepcopy(mine.cells)]
        for number, cell in enumerate(mine.cells):
            cell["id"] = f"cell-{number}"
    return mine


def hand_in(folder: Path, host: Path, honest: int, hostile: int) -> None:
    """The folders of so many students, `honest-NN/` and `hostile-NN/`; the last hostile one is a link."""
    paths = sorted((checkout() / "notebooks").glob("[0-9]*.ipynb"))
    solved = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    chapters = list(solved)
    for number, level in enumerate(LEVELS[:honest]):
        name = chapters[number % len(chapters)]
        _write(folder / f"honest-{number:02}" / f"{name}.ipynb", honest_notebook(solved[name], name, level))
    name = next(chapter for chapter in chapters if chapter.startswith("06"))
    attacks = [DELETES.format(host=str(host)), *(HOSTILE[kind] for kind in ATTACKS)]
    for number, attack in enumerate(attacks[: max(0, hostile - 1)]):
        mixed = honest_notebook(solved[name], name, "all right")
        (place,) = [e.answer for e in exercises(solved[name], name) if e.check == "gate_parameters"]
        mixed.cells[place].source = attack
        _write(folder / f"hostile-{number:02}" / f"{name}.ipynb", mixed)
    if hostile:
        (folder / "hostile-link_06.ipynb").symlink_to(folder / "honest-00" / f"{chapters[0]}.ipynb")


def _write(path: Path, notebook: NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def digest(*folders: Path) -> str:
    """Of the names and contents of all files below some folders; of a link its target's name."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() or path.is_symlink():
                content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
                found.update(f"{path}\n{hashlib.sha256(content).hexdigest()}\n".encode())
    return found.hexdigest()


def grade(folder: Path, out: Path, cores: list[int], seconds: float) -> tuple[float, pd.DataFrame]:
    """Run `course grade` on these cores; its seconds and its marks."""
    command = [sys.executable, "-m", "course", "grade", folder, "--out", out, "--seed", "1", "--jobs", len(cores)]
    command += ["--seconds", seconds]
    began = time.perf_counter()
    told = subprocess.run(
        [str(word) for word in command],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
        text=True,
    )
    took = time.perf_counter() - began
    if not out.is_file():
        raise LabError(f"course grade ended with {told.returncode}: {told.stderr.strip()[-500:]}")
    return took, pd.read_csv(out, keep_default_na=False)


def main() -> None:
    """Make the hand-ins, grade them, compare, print, and write the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--honest", type=int, default=len(LEVELS), help="so many of the honest students")
    parser.add_argument("--hostile", type=int, default=len(ATTACKS) + 2, help="so many of the hostile ones")
    parser.add_argument("--seconds", type=float, default=60, help="for each exercise of a student")
    parser.add_argument("--out", type=Path, default=home() / "records" / "grading.csv")
    parser.add_argument("--note", default="", help="what disturbed it")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory(prefix="labkit-grading-") as place:
        folder, host = Path(place), Path(place) / "host"
        host.mkdir()
        (host / "kept.txt").write_text("nobody may change this")
        hand_in(folder / "honest", host, arguments.honest, 0)
        hand_in(folder / "all", host, arguments.honest, arguments.hostile)
        watched = [host, folder / "honest", folder / "all", *(checkout() / name for name in ("course", "labkit"))]
        load, before = os.getloadavg()[0], digest(*watched)
        _, alone = grade(folder / "honest", folder / "alone" / "marks.csv", cores, arguments.seconds)
        took, together = grade(folder / "all", folder / "together" / "marks.csv", cores, arguments.seconds)
        unchanged = digest(*watched) == before
    honest = together[together["student_id"].str.startswith("honest")].reset_index(drop=True)
    hostile = together[together["student_id"].str.startswith("hostile")]
    differences = honest[(honest != alone).any(axis=1)]
    attacked = hostile[hostile["exercise"] == "gate_parameters"]
    students = together["student_id"].nunique()
    row = dict.fromkeys(ROWS) | {
        **{"notebooks": students, "honest": honest["student_id"].nunique(), "cores": len(cores)},
        **{"hostile": hostile["student_id"].nunique(), "seconds": round(took, 1), "load_before": round(load, 1)},
        **{"seconds_for_200": round(took * 200 / students)},
        **{"honest_marks_equal": differences.empty, "files_unchanged": unchanged},
        **{"attacks_that_earned": int((attacked["score"] > 0).sum()), "note": arguments.note},
    }
    print(honest.groupby("state").size().to_string())
    full = honest[honest["student_id"].isin([f"honest-{number:02}" for number in range(10)])]
    own = full[full["notebook"] != ""]
    print(f"\nstudents with everything right: {(own['state'] == 'passed').sum()} of {len(own)} exercises passed")
    print(own[own["state"] != "passed"][["exercise", "state", "sentence"]].to_string(index=False))
    print(f"\n{attacked[['student_id', 'state', 'sentence']].to_string(index=False)}")
    if not differences.empty:
        print(f"\nhonest marks that differ:\n{differences.to_string(index=False)}")
    table = pd.DataFrame([row | machine(torch.device("cpu"))])
    print(f"\n{table.T.to_string(header=False)}")
    old = [pd.read_csv(arguments.out)] if arguments.out.is_file() else []
    write_text(arguments.out, pd.concat([*old, table]).to_csv(index=False, lineterminator="\n"), replace=True)


if __name__ == "__main__":
    main()
