"""The figures of notebooks 03 and 10 say what the tables hold."""

import numpy as np
import pandas as pd
import pytest

from course import figures as plots

NETWORKS = pd.DataFrame(
    [
        ("a", "first", 10_000_000, 2_000_000_000),
        ("b", "first", 10_100_000, 2_010_000_000),
        ("far", "second", 1_000_000, 500_000_000),
        ("bare", "second", 10_050_000, 1_990_000_000),
    ],
    columns=["name", "family", "parameters", "multiply_adds"],
)


def test_every_network_has_a_mark_and_a_name_that_covers_no_other():
    figure = plots.cost_scatter(NETWORKS)
    (axes,) = figure.axes
    marks = {tuple(xy) for collection in axes.collections for xy in collection.get_offsets().tolist()}
    assert marks == {(10.0, 2.0), (10.1, 2.01), (1.0, 0.5), (10.05, 1.99)}
    assert sorted(text.get_text() for text in axes.texts) == ["a", "b", "bare", "far"]
    assert {text.get_text(): text.xy for text in axes.texts}["far"] == (1.0, 0.5)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first", "second"]


def records():
    rows = [
        (8, "float32", 80.0, 2.0, 0.85),
        (4, "float32", 20.0, 1.0, 0.80),
        (4, "int8", 5.0, None, 0.79),
        (8, "int8", 20.0, None, 0.84),
    ]
    return pd.DataFrame(rows, columns=["width", "form", "kib", "ms", "valid_dice_per_image"])


def test_each_form_is_a_line_over_its_widths_and_what_was_not_measured_is_left_out():
    figure = plots.width_against_score(
        records(), {"KiB": ("kib", ["float32", "int8"]), "ms": ("ms", ["float32", "int8"])}
    )
    left, right = figure.axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in left.lines}
    assert lines == {"float32": ([20.0, 80.0], [0.80, 0.85]), "int8": ([5.0, 20.0], [0.79, 0.84])}
    assert [len(line.get_xdata()) for line in right.lines] == [2, 0]
    assert [text.get_text() for text in left.texts] == ["width 8", "width 4"]
    assert left.get_xlabel() == "KiB"
    assert left.get_xscale() == "log"
    colors = {line.get_label(): line.get_color() for line in left.lines}
    assert all(line.get_color() == colors[line.get_label()] for line in right.lines)


@pytest.mark.parametrize("axis", ["xaxis", "yaxis"])
def test_logarithmic_axes_show_plain_numbers(axis):
    figure = plots.cost_scatter(NETWORKS)
    figure.draw_without_rendering()
    words = [label.get_text() for label in getattr(figure.axes[0], axis).get_ticklabels(which="both")]
    assert {"1", "2"} & set(words)
    assert not any("10^" in word for word in words)


def test_seeds_are_thin_lines_and_the_thick_one_is_their_geometric_mean():
    figure = plots.seed_lines({"a": np.array([[1.0, 10.0], [4.0, 40.0]])}, [4, 8], "layers", "loss", ticks=True)
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == [[1.0, 10.0], [4.0, 40.0]]
    assert axes.lines[2].get_ydata() == pytest.approx([2.0, 20.0])
    assert axes.get_xticks().tolist() == [4, 8]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("layers", "loss", "log")


def test_attention_maps_share_one_scale_and_each_network_has_a_row():
    maps = {
        name: {"fine": np.full((4, 4), low), "coarse": np.full((2, 2), 0.9)} for name, low in (("a", 0.2), ("b", 0.5))
    }
    figure = plots.attention_maps(
        np.zeros((8, 8, 3), np.uint8), maps, {"a": np.array([0.1, 0.9]), "b": np.array([0.5])}
    )
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert [image.get_clim() for image in shown if image.get_array().ndim == 2] == [(0.2, 0.9)] * 4
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["a", "b"]
    assert [[bar.get_height() for bar in axes.patches] for axes in figure.axes if axes.patches] == [[0.1, 0.9], [0.5]]
