"""The learning-rate range test."""

import math
import os
import re

import numpy as np
import pytest
import torch

from course import figures as plots
from labkit.errors import LabError
from labkit.training import find_learning_rate, range_test
from labkit.training.range_test import find_steepest, running_mean
from tests.labkit.test_cli import recipe as recipe_file  # noqa: F401 (a fixture)
from tests.labkit.test_training import recipe, trained


def test_running_mean_by_hand():
    assert running_mean([3.0]).tolist() == [3.0]
    two = (0.9 * 3 + 5) / 1.9
    assert running_mean([3.0, 5.0]).tolist() == pytest.approx([3.0, two])
    assert running_mean([2.0] * 50).tolist() == pytest.approx([2.0] * 50)  # no pull towards zero at the start


@pytest.mark.parametrize("steepest", [1e-4, 3e-3, 1e-2])
def test_suggestion_is_where_a_known_curve_falls_most_steeply(steepest):
    """A sigmoid over the logarithm of the rate falls most steeply at its middle, whatever the noise."""
    rates = np.geomspace(1e-6, 1, 100)
    losses = 1.5 - 1 / (1 + np.exp(-3 * np.log10(rates / steepest)))
    noise = np.random.default_rng(0).normal(0, 0.004, 100)
    sweep = find_steepest(rates.tolist(), (losses + noise).tolist())
    assert abs(math.log10(sweep.suggested / steepest)) < 0.25
    assert len(sweep.smoothed) == 100


def test_a_leap_at_high_rates_is_not_taken_for_the_fall():
    """The loss is down at 1e-2 and then leaps, again and again, without diverging: each leap ends in a steep fall."""
    rates = np.geomspace(1e-6, 1, 100)
    losses = 1.3 - 0.45 / (1 + np.exp(-3 * np.log10(rates / 1e-3)))
    losses[80::6] += 0.6
    assert 3e-4 < find_steepest(rates.tolist(), losses.tolist()).suggested < 3e-3


def test_losses_that_only_rise_are_refused():
    with pytest.raises(LabError, match=r"falls at no learning rate from 0\.01 to 1; begin lower"):
        find_steepest([0.01, 0.1, 1.0], [1.0, 2.0, 3.0])
    with pytest.raises(LabError, match="diverges within 2 steps"):
        find_steepest([0.5], [1.0])


def test_rates_grow_by_one_factor_and_the_first_loss_is_that_of_a_training(tiny_pets):
    sweep = find_learning_rate(recipe(), tiny_pets, "cpu", lowest=1e-5, highest=1e-1, steps=17)
    assert list(sweep.rates) == pytest.approx(np.geomspace(1e-5, 1e-1, 17)[: len(sweep.rates)].tolist())
    first = trained(recipe(training={"epochs": 1}), tiny_pets)[0].step_losses[0]
    torch.manual_seed(1)
    assert sweep.losses[0] == pytest.approx(first, rel=0.2)  # dropout differs
    assert 1e-5 <= sweep.suggested <= 1e-1
    again = find_learning_rate(recipe(), tiny_pets, "cpu", lowest=1e-5, highest=1e-1, steps=17)
    assert again == sweep


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_the_recipes_schedule_does_not_move_the_rates(schedule, tiny_pets):
    what = recipe(training={"schedule": schedule, "optimizer": "sgd"})
    sweep = find_learning_rate(what, tiny_pets, "cpu", lowest=1e-5, highest=1e-1, steps=10)
    assert (sweep.rates[0], sweep.rates[-1]) == pytest.approx((1e-5, 1e-1))


def test_it_ends_when_the_loss_diverges(tiny_pets):
    """With plain gradient descent and rates up to 10,000 the network is torn apart on the way."""
    wild = recipe(model={"dropout": 0.0}, training={"optimizer": "sgd", "loss": "bce", "batch_size": 4})
    sweep = find_learning_rate(wild, tiny_pets, "cpu", lowest=1e-4, highest=1e4, steps=40)
    assert len(sweep.rates) < 40
    assert sweep.suggested < sweep.rates[-1]
    assert all(math.isfinite(loss) for loss in sweep.losses)


def test_it_goes_by_the_first_size_and_adds_up_the_batches_of_a_step(tiny_pets, monkeypatch):
    seen = []
    step = range_test.Trainer.epoch

    def noted(self, batches, epoch, size, progress):
        seen.append((size, [len(batch) for batch in batches]))
        return step(self, batches, epoch, size, progress)

    monkeypatch.setattr(range_test.Trainer, "epoch", noted)
    table = {"sizes": [[32, 1], [48, 1]], "epochs": 2, "batch_size": 4, "accumulate": 2}
    find_learning_rate(recipe(data={"image_size": 48}, training=table), tiny_pets, "cpu", highest=1e-2, steps=12)
    assert seen == [(32, [4, 4])] * 12


def test_nothing_on_disk_changes(tiny_pets, lab_home, tmp_path, monkeypatch):
    find_learning_rate(recipe(), tiny_pets, "cpu", highest=1e-2, steps=10)  # the array file is there now
    monkeypatch.chdir(tmp_path)
    before = sorted(str(path) for path in lab_home.rglob("*"))
    find_learning_rate(recipe(), tiny_pets, "cpu", highest=1e-2, steps=10)
    assert sorted(str(path) for path in lab_home.rglob("*")) == before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("given", [{"lowest": 0.0}, {"lowest": 1.0, "highest": 0.1}, {"steps": 5}])
def test_a_range_that_is_none_is_refused(given, tiny_pets):
    with pytest.raises(LabError, match="no range of learning rates"):
        find_learning_rate(recipe(), tiny_pets, "cpu", **given)


def test_figure_shows_the_sweep_and_its_suggestion(tiny_pets):
    sweep = find_learning_rate(recipe(), tiny_pets, "cpu", highest=1e-1, steps=20)
    (axes,) = plots.rate_sweep(sweep).axes
    assert axes.get_xscale() == "log"
    raw, smoothed, mark = axes.get_lines()
    assert tuple(raw.get_ydata()) == sweep.losses
    assert tuple(smoothed.get_ydata()) == sweep.smoothed
    assert set(mark.get_xdata()) == {sweep.suggested}


def test_shell_prints_and_draws_the_suggestion(shell, recipe_file, tiny_root, tmp_path):  # noqa: F811
    picture = tmp_path / "rates.svg"
    words = ("find-rate", recipe_file, "--data", tiny_root, "--steps", 20, "--highest", 0.1, "--device", "cpu")
    status, out, err = shell(*words, "--figure", picture)
    assert status == 0, err
    assert re.search(r"suggested: \d", out)
    assert "a start, not an answer" in out
    assert picture.read_text().lstrip().startswith("<?xml")
    status, _, err = shell(*words, "--figure", tmp_path / "rates.gif")
    assert status == 1
    assert "figures are .png or .svg" in err
