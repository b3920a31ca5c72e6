"""Curves: live in a notebook, of several runs together, and an epoch's line in the shell."""

import base64
import io
import os
import re
from dataclasses import replace

import nbformat
import numpy as np
import papermill
import pytest
from nbclient import NotebookClient
from PIL import Image

from benchmarks.sample_runs import publish
from course import figures as plots
from labkit.errors import LabError
from labkit.training import Epoch, in_words, open_run, seconds_left
from labkit.training.progress import epoch_line
from tests.labkit.test_training import recipe, trained


def epoch(number: int, dice: float = 0.5, best: bool = False, seconds: float = 2.0) -> Epoch:
    losses = tuple(1 / (number + i / 4) for i in range(4))
    return Epoch(
        *(number, seconds, 100.0, 1e-3, 1 / number, 1.1 / number, dice, dice - 0.1),
        best=best,
        step_losses=losses,
        gradient_norms=losses[::2],
    )


# --- how long it will take


def test_what_is_left_follows_the_latest_epochs():
    assert seconds_left([9.0], 3) == 27
    assert seconds_left([60.0, 2.0, 2.0, 2.0], 10) == 20  # the first was slow
    assert seconds_left([2.0, 2.0, 8.0, 8.0, 8.0], 5) == 40  # the images have grown
    assert seconds_left([2.0, 2.0, 30.0, 2.0], 5) == 10  # one epoch was disturbed


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (4.26, "4.3 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (276, "4 min 36 s"),
        (3600, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_time_is_said_as_people_say_it(seconds, words):
    assert in_words(seconds) == words


# --- live in the notebook


class Page:
    """Stands for the notebook page: notes what is displayed and what is updated."""

    def __init__(self, monkeypatch):
        self.shown, self.updated = [], []
        monkeypatch.setattr(plots.live, "display", self.display)

    def display(self, bundle, **more):
        assert more["display_id"] is True
        self.shown.append((bundle, more["metadata"]))
        return self

    def update(self, bundle, **more):
        self.updated.append((bundle, more["metadata"]))


def test_one_picture_of_one_size_is_updated_in_place(monkeypatch):
    page = Page(monkeypatch)
    curves = plots.LiveCurves(4)
    for number in (1, 2, 3, 4):
        curves.add(epoch(number))
    assert (len(page.shown), len(page.updated)) == (1, 3)
    for number, (bundle, facts) in enumerate([*page.shown, *page.updated], start=1):
        size = Image.open(io.BytesIO(bundle["image/png"])).size
        assert (facts["image/png"]["width"], facts["image/png"]["height"]) == (850, 480)
        assert size == ((1700, 960) if number == 4 else (850, 480))  # the one that stays is sharp on any screen
        assert f"after {number} of 4 epochs" in facts["image/png"]["alt"]
    assert len({bundle["image/png"] for bundle, _ in page.updated}) == 3


def test_curves_hold_every_epoch_and_every_step(monkeypatch):
    Page(monkeypatch)
    curves = plots.LiveCurves(3)
    met = [epoch(1, 0.6, best=True), epoch(2, 0.7, best=True), epoch(3, 0.65)]
    met = [replace(record, learning_rate=0.001 * record.epoch) for record in met]  # it rises beyond the first picture
    for record in met:
        curves.add(record)
    for key, line in curves.curves.items():
        assert line.get_xdata() == [1, 2, 3]
        assert line.get_ydata() == [getattr(record, key) for record in met]
    assert curves.steps.get_xdata()[3::4] == [1, 2, 3]  # an epoch's last step is where its own point is
    assert curves.steps.get_ydata() == [loss for record in met for loss in record.step_losses]
    assert curves.norms.get_xdata() == [0.5, 1, 1.5, 2, 2.5, 3]
    assert curves.norms.get_ydata() == [norm for record in met for norm in record.gradient_norms]
    for axes in curves.figure.axes:
        low, high = axes.get_ylim()
        for line in axes.get_lines():
            assert low <= min(line.get_ydata()) <= max(line.get_ydata()) <= high


def test_a_leap_of_the_validation_loss_flattens_nothing_and_is_told(monkeypatch):
    Page(monkeypatch)
    curves = plots.LiveCurves(4)
    for number, loss in enumerate((1.1, 0.6, 9.5, 0.4), start=1):
        curves.add(replace(epoch(number), valid_loss=loss))
    axes = curves.curves["valid_loss"].axes
    assert axes.get_ylim()[1] < 2
    assert "9.5" in axes.get_title()
    assert curves.curves["valid_loss"].get_ydata() == [1.1, 0.6, 9.5, 0.4]


def test_title_says_pace_what_is_left_and_what_is_best(monkeypatch):
    Page(monkeypatch)
    curves = plots.LiveCurves(30)
    curves.add(epoch(1, 0.5, best=True, seconds=40.0))
    for number in range(2, 8):
        curves.add(epoch(number, 0.4, seconds=12.0))
    assert curves.title.get_text() == (
        "epoch 7 of 30 · 12 s an epoch · about 4 min 36 s left · best Dice 0.5000 in epoch 1"
    )


@pytest.mark.parametrize(("epochs", "end"), [(2, "done"), (5, "stopped early")])
def test_following_a_training_hands_its_records_on_and_says_how_it_ended(epochs, end, monkeypatch):
    Page(monkeypatch)
    curves = plots.LiveCurves(epochs)
    met = [epoch(1), epoch(2)]
    assert list(curves.follow(iter(met))) == met
    assert f" · {end}" in curves.title.get_text()


CELLS = [
    "from labkit.training import Epoch\nfrom course import figures as plots\ncurves = plots.LiveCurves(3)",
    "for n in (1, 2, 3):\n"
    "    curves.add(Epoch(n, 1.0, 9.0, 1e-3, 1 / n, 1 / n, n / 4, n / 5, True, (1 / n,), (float(n),)))\n"
    "print('after the curves')",
]


@pytest.mark.parametrize("program", ["papermill", "nbclient"])
def test_last_picture_stays_in_the_notebook_that_is_run_without_a_browser(program, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    if program == "papermill":
        nbformat.write(notebook, tmp_path / "in.ipynb")
        options = {"kernel_name": "python3", "progress_bar": False, "cwd": os.getcwd()}
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", **options)
        notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    else:
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = notebook.cells[1].outputs
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 1
    assert "after 3 of 3 epochs" in pictures[0].metadata["image/png"]["alt"]
    picture = Image.open(io.BytesIO(base64.b64decode(pictures[0].data["image/png"])))
    assert picture.size == (1700, 960)
    assert np.asarray(picture.convert("L")).std() > 10  # something is drawn
    assert any(output.get("text") == "after the curves\n" for output in outputs)


# --- several runs together


@pytest.fixture(scope="module")
def runs(tiny_root, lab_folder, tmp_path_factory):
    """Two runs of three and four epochs, and the first one's weights with their history as one file."""
    from labkit.data import open_pets

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        folder = tmp_path_factory.mktemp("runs")
        for name, epochs in (("short", 3), ("long", 4)):
            trained(recipe(training={"epochs": epochs}), open_pets(tiny_root), folder / name)
        publish(open_run(folder / "short"), folder / "published.safetensors")
        return folder


def test_runs_are_drawn_together_each_with_its_own_color_and_name(runs):
    opened = [open_run(runs / name) for name in ("short", "long", "published.safetensors")]
    figure = plots.run_curves(opened)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["short", "long", "published"]
    panels = {axes.get_title(): axes for axes in figure.axes}
    for title, key in (("training loss", "train_loss"), ("validation loss", "valid_loss")):
        lines = panels[title].get_lines()
        for line, run in zip(lines, opened, strict=True):
            assert line.get_xdata().tolist() == run.history()["epoch"].tolist()
            assert line.get_ydata().tolist() == run.history()[key].tolist()
        assert len({line.get_color() for line in lines}) == 3
    for line, dot in zip(panels["validation Dice, per image"].get_lines()[::2], opened, strict=True):
        assert max(line.get_ydata()) == dot.history()["valid_dice"].max()
    dots = panels["validation Dice, per image"].get_lines()[1::2]
    assert [dot.get_ydata()[0] for dot in dots] == [run.history()["valid_dice"].max() for run in opened]


def test_runs_of_the_same_name_are_told_apart_by_their_folders(runs):
    figure = plots.run_curves([open_run(runs / "short"), open_run(runs / ".." / runs.name / "short")])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(set(labels)) == 2


def test_more_runs_than_can_be_told_apart_are_refused(runs):
    with pytest.raises(LabError, match="22 runs cannot be told apart; draw 21 at most"):
        plots.run_curves([open_run(runs / "short")] * 22)
    lines = plots.run_curves([open_run(runs / "short")] * 21).axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 21


@pytest.mark.parametrize(("name", "beginning"), [("curves.png", b"\x89PNG"), ("curves.svg", b"<?xml")])
def test_shell_draws_runs_into_a_file_of_its_ending(shell, runs, tmp_path, name, beginning):
    words = (runs / "short", runs / "published.safetensors", "--out", tmp_path / name)
    status, out, err = shell("curves", *words)
    assert status == 0, err
    assert "2 runs in " in out
    assert (tmp_path / name).read_bytes().startswith(beginning)


def test_shell_says_what_is_wrong_in_one_sentence(shell, runs, tmp_path):
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes((runs / "short" / "best.safetensors").read_bytes())
    for words, sentence in (
        ((runs / "short", "--out", "curves.gif"), "figures are .png or .svg"),
        ((tmp_path / "nowhere",), "no such run folder or weights file"),
        ((bare,), "no history.csv there"),
    ):
        status, _, err = shell("curves", *words)
        assert status == 1
        assert err.startswith("error: ")
        assert sentence in err
        assert err.count("\n") == 1


# --- a line an epoch


def test_lines_are_aligned_and_mark_the_best():
    lines, seconds = [], []
    for number, best, took in ((1, True, 12.0), (2, False, 1.5), (10, True, 100.0), (12, False, 1.0)):
        seconds.append(took)
        lines.append(epoch_line(epoch(number, 0.5, best, took), 12, seconds))
    assert len({len(line) for line in lines}) == 1
    assert len({line.index("images/s") for line in lines}) == 1
    assert [bool(re.search(r"  Dice 0\.5000 best ", line)) for line in lines] == [True, False, True, False]
    assert lines[0].index("about 2 min 12 s left") + len("about 2 min 12 s left") <= 80
    assert "done" in lines[3]
