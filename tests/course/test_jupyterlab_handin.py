"""A student's way: the hand-out unpacked in an empty folder, an exercise filled in in JupyterLab, saved, graded."""

import shutil
import zipfile

import nbformat
import pandas as pd
import pytest

from tests.conftest import CHROMIUM
from tests.labkit.test_jupyterlab import keep_screenshot, lab_server, page  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
ANSWER = """def gate_parameters(skip: int, gating: int) -> int:
    hidden = skip // 2
    return 4 * skip * hidden + gating * hidden + hidden + hidden + 1"""
MINUTES = 10 * 60_000


def test_a_handout_is_unpacked_filled_in_saved_and_graded(page, shell, tmp_path):  # noqa: F811
    status, _, err = shell("handout", "--out", tmp_path / "lab.zip", "--chapters", "06")
    assert status == 0, err
    student = tmp_path / "student"
    student.mkdir()
    with zipfile.ZipFile(tmp_path / "lab.zip") as archive:
        archive.extractall(student)
    (notebook,) = (student / "notebooks").glob("06_*.ipynb")
    with lab_server(student / "notebooks", tmp_path, PYTHONPATH=str(student), LABKIT_HOME=str(student)) as address:
        page.goto(f"{address}/lab/tree/{notebook.name}?reset", timeout=MINUTES)
        page.wait_for_selector("text=/\\| Idle/", timeout=MINUTES)
        cells = page.locator(".jp-CodeCell")
        cells.filter(has_text="numpy as np").first.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        answer = cells.filter(has_text="def gate_parameters").first
        answer.locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(ANSWER)
        page.keyboard.press("Control+Enter")
        check = cells.filter(has_text="checks.gate_parameters(").first
        check.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        check.locator("text=/✓ gate_parameters/").wait_for(timeout=MINUTES)
        keep_screenshot(page, "handin")
        page.keyboard.press("Control+s")
        page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')", timeout=MINUTES)
    saved = nbformat.read(notebook, as_version=4)
    assert ANSWER in [cell.source for cell in saved.cells]
    (tmp_path / "handed-in" / "anna").mkdir(parents=True)
    shutil.copy(notebook, tmp_path / "handed-in" / "anna")
    words = ("grade", tmp_path / "handed-in", "--only", "06", "--handout", student, "--seconds", "300")
    status, _, err = shell(*words, "--out", tmp_path / "marks.csv", "--pages", tmp_path / "pages")
    assert status == 0, err
    marks = pd.read_csv(tmp_path / "marks.csv").set_index("exercise")
    assert marks.loc["gate_parameters", ["state", "score"]].to_list() == ["passed", 1]
    others = marks.drop(index="gate_parameters")
    assert len(others) >= 5
    assert set(others["state"]) == {"not attempted"}
    assert "gate_parameters" in (tmp_path / "pages" / "anna.html").read_text()
