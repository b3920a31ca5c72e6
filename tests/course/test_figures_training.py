"""What the figures of notebooks 04 and 09 show: one color a name, a legend, shares that add up, one goal an axis."""

import numpy as np
import pandas as pd
import pytest
import torch

from course import figures
from labkit.training import load_recipe


def test_a_loss_has_one_color_in_both_panels_and_one_legend():
    x = torch.linspace(-1, 1, 5)
    figure = figures.loss_shapes(x, {"a": x, "b": 2 * x}, {"a": x**2, "b": x**3})
    left, right = figure.axes
    assert [line.get_color() for line in left.lines] == [line.get_color() for line in right.lines]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_schedules_are_drawn_as_they_train():
    figure = figures.schedules(load_recipe("quick"), ["constant", "cosine"], steps=10)
    constant, cosine = (line.get_ydata() for line in figure.axes[0].lines)
    assert set(constant) == {0.004}
    assert cosine == pytest.approx([0.002 * (1 + np.cos(np.pi * step / 10)) for step in range(10)])


def race(*steps: tuple[str, int, float]) -> pd.DataFrame:
    shared = {"goal": 0.9, "phase": "epoch", "image_size": 128, "valid_dice": 0.85}
    rows = [
        {"step": step, "seed": seed, "seconds_to_goal": goal, "seconds": seconds, "size": size} | shared
        for step, seed, goal in steps
        for seconds, size in ((30, 64), (60, 128))
    ]
    return pd.DataFrame(rows)


def test_a_race_has_a_bar_for_the_median_seed_and_tells_what_was_not_reached():
    figure = figures.speedrun(race(("plain", 0, 120.0), ("fast", 0, 60.0), ("fast", 1, 90.0), ("slow", 0, np.nan)))
    curves, bars = figure.axes
    assert [bar.get_width() for bar in bars.patches] == [2.0, 1.25, 0.0]
    assert [text.get_text().strip() for text in bars.texts] == ["2:00", "1:15", "not reached"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["plain", "fast", "slow", "goal: 0.90"]
    assert len([line for line in curves.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]) >= 4


def test_shares_of_a_step_add_up_to_one_and_small_parts_are_other():
    rows = [("net", 8, 64, part, ms) for part, ms in (("a", 6.0), ("b", 3.0), ("c", 0.5), ("d", 0.5))]
    axes = figures.step_shares(pd.DataFrame(rows, columns=["network", "batch", "size", "part", "ms"]), ["a", "b"]).axes[
        0
    ]
    assert [round(bar.get_width(), 3) for bar in axes.patches] == [0.6, 0.3, 0.1]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "other"]
