"""The speedrun's book-keeping: what counts as reaching the goal, what is kept, and its figure."""

import math
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import speedrun
from course import figures as plots
from labkit.models import count_parameters
from labkit.training import build_network


def told(epochs):
    """What a run reports: (size, Dice) of each epoch, ten seconds apart, after a start of five seconds."""
    yield {"seconds": 2.0, "phase": "imports"}
    yield {"seconds": 4.0, "phase": "arrays"}
    yield {"seconds": 5.0, "phase": "set-up", "precision": "float32", "parameters": 7}
    for number, (size, dice) in enumerate(epochs, start=1):
        yield {"seconds": 5.0 + 10 * number, "phase": "epoch", "epoch": number, "size": size, "valid_dice": dice}


@pytest.fixture
def measured(monkeypatch):
    def run(epochs, seed=0, step="final"):
        monkeypatch.setattr(speedrun, "run_timed", lambda *_: told(epochs))
        return speedrun.measure(step, 0.9, speedrun.planned("speedrun-90", {}, seed), Path("data"), "cpu")

    return run


def test_only_epochs_fed_the_full_size_reach_the_goal(measured):
    rows = measured([(64, 0.91), (96, 0.92), (128, 0.89), (128, 0.901), (128, 0.95)])
    assert set(rows["seconds_to_goal"]) == {45.0}
    assert set(rows["precision"]) == {"float32"}
    assert rows["phase"].tolist() == ["imports", "arrays", "set-up", *["epoch"] * 5]


def test_a_run_that_does_not_reach_it_counts_as_endless(measured, tmp_path):
    table = tmp_path / "speedrun.csv"
    for seed, last in enumerate((0.9, 0.91, 0.8)):
        rows = speedrun.kept(table, measured([(128, 0.7), (128, last)], seed))
    (found,) = speedrun.summary(rows).to_dict("records")
    assert (found["seeds"], found["median_seconds"], found["slowest"]) == (3, 25.0, math.inf)
    rows = speedrun.kept(table, measured([(128, 0.8)], seed=0))
    (found,) = speedrun.summary(rows).to_dict("records")
    assert found["median_seconds"] == math.inf  # two of three never reached it


def test_a_run_replaces_its_own_earlier_rows_only(measured, tmp_path):
    table = tmp_path / "speedrun.csv"
    speedrun.kept(table, measured([(128, 0.7)] * 3, seed=0))
    speedrun.kept(table, measured([(128, 0.7)] * 2, seed=1))
    rows = speedrun.kept(table, measured([(128, 0.8)], seed=0))
    assert rows[rows["phase"] == "epoch"].groupby("seed").size().to_dict() == {0: 1, 1: 2}
    assert pd.read_csv(table)["valid_dice"].max() == 0.8


def test_the_table_keeps_the_order_of_the_way(measured, tmp_path):
    for step in ("final", "Muon", "plain", "PatchUNet"):
        rows = speedrun.kept(tmp_path / "speedrun.csv", measured([(128, 0.7)] * 2, step=step))
    assert list(dict.fromkeys(rows["step"])) == ["plain", "PatchUNet", "Muon", "final"]
    assert rows["phase"].tolist() == ["imports", "arrays", "set-up", "epoch", "epoch"] * 4


def test_every_plan_is_a_valid_recipe_for_whole_images_of_128_pixels():
    for name, changes in [*speedrun.STEPS.values(), *((name, {}) for name in speedrun.GOALS.values())]:
        recipe = speedrun.planned(name, changes, seed=2)
        assert (recipe.data.image_size, recipe.data.split, recipe.training.seed) == (128, "official", 2)
        assert recipe.size_of_epoch(recipe.training.epochs) == 128
        assert recipe.data.target == "foreground"
    fastest = speedrun.planned("speedrun-90", {}, seed=0)
    assert fastest.training.optimizer == "muon"
    assert count_parameters(build_network(fastest.changed(model={"classes": 1}))) == 1_464_196


def test_the_figure_has_a_curve_a_run_and_the_median_of_each_step(measured):
    rows = pd.concat(
        [
            measured([(64, 0.8), (128, 0.91)], 0, "slow"),
            *(measured([(64, 0.85), (128, 0.85 + d)], s, "fast") for s, d in enumerate((0.06, 0.07, 0.0))),
            measured([(128, 0.8)], 0, "never"),
        ]
    )
    figure = plots.speedrun(rows)
    curves, bars = figure.axes
    assert sum(len(line.get_xdata()) > 0 and line.get_linestyle() == "-" for line in curves.lines) == 5
    assert [round(bar.get_width() * 60) for bar in bars.patches] == [25, 25, 0]
    assert [text.get_text().strip() for text in bars.texts] == ["0:25", "0:25", "not reached"]


def test_the_figure_names_its_goal(measured):
    curves, bars = plots.speedrun(measured([(128, 0.93)]).assign(goal=0.92)).axes
    assert [line.get_ydata()[0] for line in curves.lines if line.get_linestyle() == "--"] == [0.92]
    assert bars.get_xlabel() == "minutes to 0.92"


def test_the_summary_has_a_row_a_device(measured):
    here, there = measured([(128, 0.91)]), measured([(128, 0.92)] * 2).assign(device="cuda:0 (another)")
    assert speedrun.summary(pd.concat([there, here]))["seeds"].tolist() == [1, 1]


@pytest.mark.parametrize("words", [["--epochs", "1"], ["--data", "sample"]])
def test_a_trial_does_not_write_into_the_record(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speedrun", *words])
    with pytest.raises(SystemExit):
        speedrun.main()
    assert "name another folder with --out" in capsys.readouterr().err
