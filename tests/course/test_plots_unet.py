"""The figures of notebook 02 show what they were given: the numbers of the patterns, the channels of the stages."""

import matplotlib
import numpy as np

from course import figures as plots


def test_every_pixel_of_a_pattern_carries_its_number():
    counts, values = np.array([[1, 2], [2, 4]]), np.array([[-0.52, 1.0], [0.26, 3.14]])
    figure = plots.up_patterns({"all 1": [counts], "random": [values]}, titles=["3 × 3"])
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == ["1", "2", "2", "4"]
    assert [text.get_text() for text in second.texts] == ["-0.5", "1.0", "0.3", "3.1"]
    assert (first.get_title(), first.get_ylabel(), second.get_ylabel()) == ("3 × 3", "all 1", "random")
    shares = first.collections[0].get_array().reshape(2, 2)
    assert np.allclose(shares, (counts - 1) / 3)


def test_the_strongest_feature_maps_are_shown_beside_the_image_at_their_scale():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    strengths = rng.permutation(20)
    fine, coarse = strengths[:, None, None] * rng.normal(size=(1, 8, 8)), rng.normal(size=(20, 2, 2))
    figure = plots.feature_maps(image, {"encoder.0": fine, "bottleneck": coarse})
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes[1:6]] == ["rank 1", "rank 2", "rank 3", "rank 4", "rank 5"]
    assert np.array_equal(shown[0], image)
    mean = image.reshape(2, 4, 2, 4, 3).mean(axis=(1, 3))
    assert np.abs(shown[6] - mean).max() <= 1
    assert figure.axes[6].get_ylabel() == "bottleneck\n2 × 2"
    for place, rank in enumerate(range(5)):
        channel = int(np.flatnonzero(strengths == 19 - rank)[0])
        share = (fine[channel] - fine[channel].min()) / np.ptp(fine[channel])
        assert np.array_equal(shown[1 + place], matplotlib.colormaps["viridis"](share, bytes=True)[..., :3])


def test_a_stage_with_few_channels_shows_them_all():
    figure = plots.feature_maps(np.zeros((4, 4, 3), np.uint8), {"head": np.eye(4)[None], "x": np.ones((3, 2, 2))})
    assert [axes.get_title() for axes in figure.axes[:2]] == ["image", "rank 1"]
    assert [bool(axes.images) for axes in figure.axes] == [True, True, False, False] + [True] * 4


def test_a_map_of_one_value_has_one_color_in_the_middle_of_the_scale():
    figure = plots.up_patterns({"all 1": [np.full((2, 2), 9.0)]}, titles=["bilinear"])
    assert np.allclose(figure.axes[0].collections[0].get_array(), 0.5)


def test_a_grid_of_error_maps_says_what_its_colors_mean():
    figure = plots.image_grid([[np.zeros((4, 4, 3), np.uint8)]], legend=plots.ERRORS)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["missed", "extra", "true outline, where right"]
