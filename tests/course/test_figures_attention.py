"""What the figures of notebooks 06 and 07 show: one scale, the images' own size, baselines and legends."""

import numpy as np
import pandas as pd

from course import figures


def test_the_steps_of_a_gate_share_one_scale():
    image = np.zeros((40, 60, 3), np.uint8)
    figure = figures.gate_steps(image, {"x": np.zeros((40, 60)), "g": np.full((20, 30), 0.4)})
    shown = [axes.images[0] for axes in figure.axes[1:3]]
    assert {panel.get_clim() for panel in shown} == {(0.0, 1.0)}
    assert figure.axes[0].images[0].get_array().shape == (40, 60, 3)


def test_maps_of_any_size_lie_on_the_whole_image():
    images = [np.zeros((40, 60, 3), np.uint8), np.zeros((50, 30, 3), np.uint8)]
    maps = [[np.full((8, 8), 0.2), np.full((8, 8), 0.6)]] * 2
    figure = figures.gates_by_epoch(images, maps, [1, 5], ["one", "two"])
    drawn = [axes.images[0] for axes in figure.axes[:6]]
    assert [tuple(panel.get_extent()) for panel in (drawn[1], drawn[4])] == [(0, 60, 40, 0), (0, 30, 50, 0)]
    assert {drawn[i].get_clim() for i in (1, 2, 4, 5)} == {(0.2, 0.6)}


def test_each_curve_has_its_baseline():
    history = pd.DataFrame({"epoch": [1, 2], "region": [0.4, 0.7], "right_class": [0.5, 0.6]})
    left, right = figures.region_and_class(history, 0.46, 0.65).axes
    assert [left.lines[1].get_ydata()[0], right.lines[1].get_ydata()[0]] == [0.46, 0.65]


def test_every_fold_is_a_dot():
    table = pd.DataFrame({"split": ["a", "a", "b"], "fold": [0, 1, 0], "cell": [0.2, 0.4, 0.9]})
    axes = figures.promise_and_truth(table).axes[0]
    assert np.allclose([bar.get_height() for bar in axes.patches], [0.3, 0.9])
    assert sorted(value for line in axes.lines for value in line.get_ydata()) == [0.2, 0.4, 0.9]


def test_masks_come_with_a_legend_of_their_classes():
    figure = figures.class_panels([[np.zeros((8, 8, 3), np.uint8)]], ["image"], 3)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1", "2"]
