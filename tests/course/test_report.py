"""The lab's report: its numbers are the evaluations', nothing is invented where something is missing, pages print."""

import io
import re
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from course.compare import image_difference
from course.reporting import pages
from labkit import analysis
from labkit.data import open_pets
from labkit.training import fit
from tests.labkit.test_training import recipe

QUESTIONS = (
    "How did you preprocess your data?",
    "What makes your method unique?",
    "What did you explore during training?",
    "characteristics of the data?",
    "What architecture may bring better results?",
    "potential research topics?",
)


@pytest.fixture(scope="module")
def runs(tiny_root, lab_folder, tmp_path_factory):
    """Two seeds of a UNet and one of a ResNet34-UNet, scored on the test images, and the first of them bare."""
    folder, pets = tmp_path_factory.mktemp("runs"), open_pets(tiny_root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        for name, tables in {
            "unet-0": {"training": {"seed": 0}},
            "unet-1": {"training": {"seed": 1}},
            "resnet": {"model": {"name": "resnet34_unet", "width": 8}, "training": {"seed": 0, "epochs": 1}},
        }.items():
            run = fit(recipe(**tables), pets, folder / name, device="cpu")
            analysis.evaluate(run, pets, device="cpu")
    shutil.copytree(folder / "unet-0", folder / "bare")
    shutil.rmtree(folder / "bare" / "evaluations")
    return folder


def dice(run) -> pd.Series:
    (table,) = run.glob("evaluations/*-test-32/images.csv")
    return pd.read_csv(table).set_index("name")["dice"]


def test_sections_scores_and_the_difference_are_the_evaluations(runs, tiny_root, shell, tmp_path):
    words = ("report", runs / "unet-0", runs / "resnet", "--data", tiny_root, "--out", tmp_path / "report.md")
    status, told, err = shell(*words)
    assert status == 0, err
    text = (tmp_path / "report.md").read_text()
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [title[0] for title in sections] == list("123456")
    assert all(question in text for question in QUESTIONS)
    left = text.count("**To write.**")
    assert left >= 10
    assert f"{left} texts are left to write" in told
    one, other = dice(runs / "unet-0"), dice(runs / "resnet")
    assert f"| {one.mean():.4f}" in text
    assert f"| {other.mean():.4f}" in text
    row = next(line for line in text.splitlines() if "UNet minus ResNet34-UNet" in line)
    assert f"{(one - other.loc[one.index]).mean():+.4f}" in row
    low, high = map(float, re.search(r"\[(.*?), (.*?)\]", row).groups())
    assert low <= (one - other.loc[one.index]).mean() <= high
    assert "images" in row
    assert "Another seed gives another network" in text
    assert "has not been evaluated" not in text
    for name in ("curves", "intervals", "masks"):
        with Image.open(tmp_path / "report-figures" / f"{name}.png") as figure:
            assert np.asarray(figure.convert("L")).std() > 10
            assert f"](report-figures/{name}.png)" in text


def test_two_seeds_of_a_network_are_one_arm_and_count(runs, tiny_root, shell, tmp_path):
    three = [runs / name for name in ("unet-0", "unet-1", "resnet")]
    assert shell("report", *three, "--data", tiny_root, "--out", tmp_path / "report.md")[0] == 0
    row = next(line for line in (tmp_path / "report.md").read_text().splitlines() if " minus " in line)
    names = dice(runs / "unet-0").index
    first = np.stack([dice(run).loc[names] for run in three[:2]])
    found = image_difference(first, dice(three[2]).loc[names].to_numpy()[None])
    low, high = found.interval()
    assert f"{found.effect:+.4f}" in row
    assert f"[{low:+.4f}, {high:+.4f}]" in row
    assert "images and seeds" in row
    assert "2 and 1" in row


def test_a_run_without_an_evaluation_is_named_with_the_command(runs, tiny_root, shell, tmp_path):
    assert shell("report", runs / "bare", "--data", tiny_root, "--out", tmp_path / "report.md")[0] == 0
    text = (tmp_path / "report.md").read_text()
    (command,) = re.findall(r"bare has not been evaluated, so no score of it is here: `(.*?)`", text)
    assert "No run has been evaluated yet" in text
    assert "report-figures/curves.png" in text
    assert not (tmp_path / "report-figures" / "masks.png").exists()
    shutil.copytree(runs / "bare", tmp_path / "bare")  # the command that is named is the one that helps
    words = [word.replace(str(runs / "bare"), str(tmp_path / "bare")) for word in shlex.split(command)]
    assert shell(*words[1:], "--device", "cpu")[0] == 0
    assert shell("report", tmp_path / "bare", "--data", tiny_root, "--out", tmp_path / "report.md")[0] == 0
    assert "has not been evaluated" not in (tmp_path / "report.md").read_text()


def test_scores_of_other_images_are_not_compared(runs, tiny_root, shell, tmp_path):
    shutil.copytree(runs / "bare", tmp_path / "valid")
    run = ("evaluate", tmp_path / "valid", "--data", tiny_root, "--split", "valid", "--device", "cpu")
    assert shell(*run)[0] == 0
    words = ("report", tmp_path / "valid", runs / "resnet", "--data", tiny_root, "--out", tmp_path / "report.md")
    assert shell(*words)[0] == 0
    text = (tmp_path / "report.md").read_text()
    assert "were not scored alike" in text
    assert " minus " not in text


def test_images_that_are_not_there_are_one_sentence(runs, shell, tmp_path, own_pets):
    words = ("report", runs / "unet-0", "--data", own_pets(6, 2), "--out", tmp_path / "report.html")
    assert shell(*words)[0] == 0
    assert "are not the data on which the runs were scored" in (tmp_path / "report.html").read_text()


def test_what_a_student_wrote_is_kept_and_printed(runs, tiny_root, shell, tmp_path):
    source = tmp_path / "report.md"
    words = ("report", runs / "unet-0", "--data", tiny_root, "--out", source)
    assert shell(*words)[0] == 0
    source.write_text(source.read_text().replace("> **To write.** Name one", "A <b>transformer</b> & more; name one"))
    status, _, err = shell(*words)
    assert status == 1
    assert "report.md" in err
    assert "A <b>transformer</b>" in source.read_text()
    assert shell("report", source, "--out", tmp_path / "report.html")[0] == 0
    html = (tmp_path / "report.html").read_text()
    assert "A &lt;b&gt;transformer&lt;/b&gt; &amp; more" in html
    assert set(re.findall(r'<img src="(.*?),', html)) == {"data:image/png;base64"}
    assert len(re.findall("<img ", html)) == 3
    assert not re.findall(r'(?:src|href)="(?!data:)', html)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere", "--out", "report.md"), "no such run folder"),
        (("a.md", "b.md", "--out", "report.html"), "one report.md"),
        (("a.md", "--out", "report.html"), "no such file"),
        (("a", "--out", "report.docx"), ".md, .html, .pdf"),
    ],
)
def test_a_wrong_call_is_one_sentence(shell, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    status, _, err = shell("report", *words)
    assert status == 1
    assert sentence in err
    assert not list(tmp_path.iterdir())


def test_without_a_browser_a_pdf_is_refused(monkeypatch):
    monkeypatch.setattr(pages, "browser", lambda: None)
    with pytest.raises(ValueError, match="needs Chromium, Chrome or Edge"):
        pages.pdf("<p>")


@pytest.mark.slow
@pytest.mark.skipif(pages.browser() is None, reason="no Chromium, Chrome or Edge on this machine")
def test_a_pdf_has_pages_of_a4_and_its_figure():
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), "red").save(picture, "PNG")
    text = "# Title\n\n![red](a.png)\n\n" + "\n\n".join(["A line of text."] * 80)
    printed = pages.pdf(pages.page(text, {"a.png": picture.getvalue()}.get, "Title"))
    assert printed.startswith(b"%PDF")
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert len(boxes) >= 2
    assert [round(float(side)) for side in boxes[0]] == [595, 842]
    assert b"/Subtype /Image" in printed
