"""The feature browser: the maps are the network's own, every slider changes the view, the stages are listed."""

import io
import re

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from course.feature_browser import GRID, SIDE, FeatureBrowser
from course.figures.unet import painted_map, strongest_channels
from labkit import models, painting

STAGES = ["encoder.0", "bottleneck", "ups.0", "head"]


@pytest.fixture
def browser():
    torch.manual_seed(0)
    images = torch.randn(3, 3, 32, 32)
    originals = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return FeatureBrowser(models.UNet(width=4, depth=2), images, originals, STAGES)


def shown(browser) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(browser.view.value)))


def test_the_stages_are_listed_in_order_and_their_shapes_are_said(browser):
    assert list(browser.stage.options) == STAGES
    sizes = []
    for name in STAGES:
        browser.stage.value = name
        assert f"<b>{name}</b>" in browser.caption.value
        sizes.append(re.search(r"(\d+) channels of (\d+) × (\d+)", browser.caption.value).groups())
    assert sizes == [("4", "32", "32"), ("16", "8", "8"), ("8", "16", "16"), ("1", "32", "32")]


def test_every_slider_changes_the_view(browser):
    seen = [browser.view.value]
    for slider, value in ((browser.image, 2), (browser.stage, "bottleneck"), (browser.rank, 5)):
        slider.value = value
        assert browser.view.value not in seen
        seen.append(browser.view.value)
    assert shown(browser).shape == (SIDE, 3 * SIDE + 8, 3)


def test_the_maps_are_those_of_a_pass_by_hand(browser):
    model, image = browser.model, browser.images[[1]]
    browser.image.value = 1
    with torch.no_grad():
        first = model.encoder[0](image)
        bottom = model.bottleneck(model.pool(model.encoder[1](model.pool(first))))
        expected = {"encoder.0": first[0], "bottleneck": bottom[0], "ups.0": model.ups[0](bottom)[0]}
    for name, maps in expected.items():
        assert np.allclose(browser.maps(1)[name], maps, atol=1e-6)


def test_the_large_map_is_the_framed_channel_from_dark_to_bright(browser):
    browser.image.value, browser.stage.value, browser.rank.value = 1, "bottleneck", 3
    maps = browser.maps(1)["bottleneck"]
    order = sorted(range(len(maps)), key=lambda channel: -maps[channel].std())
    assert f"channel <b>{order[2]}</b>" in browser.caption.value
    values = maps[order[2]]
    share = (values - values.min()) / (values.max() - values.min())
    middles = (np.arange(8) * 2 + 1) * SIDE // 16
    right = shown(browser)[:, 2 * (SIDE + 4) :][middles][:, middles]
    ideal = matplotlib.colormaps["viridis"](share)[..., :3] * 255
    assert np.abs(right - ideal).max() <= 1
    middle = shown(browser)[:, SIDE + 4 : 2 * SIDE + 4]
    orange = (middle == painting.ORANGE).all(axis=2)
    rows, columns = np.nonzero(orange)
    side = SIDE // GRID
    assert (rows.min() // side, rows.max() // side, columns.min() // side, columns.max() // side) == (0, 0, 2, 2)


def test_a_stage_with_fewer_channels_brings_the_slider_back(browser):
    browser.stage.value, browser.rank.value = "bottleneck", 16
    browser.stage.value = "head"
    assert (browser.rank.value, browser.rank.max) == (1, 1)
    assert "1 channels of 32 × 32" in browser.caption.value
    browser.stage.value = "bottleneck"
    assert browser.rank.max == GRID**2


def test_an_image_goes_through_the_network_once_and_leaves_no_hooks(browser):
    for name in STAGES:
        browser.stage.value = name
    assert browser.maps.cache_info().misses == 1
    assert not any(module._forward_hooks for module in browser.model.modules())


def test_the_strongest_channel_varies_most_from_place_to_place():
    flat, wavy, faint = np.full((4, 4), 9.0), np.eye(4) * 3, np.eye(4)
    assert strongest_channels(np.stack([flat, faint, wavy])).tolist() == [2, 1, 0]


def test_a_constant_map_is_painted_dark_rather_than_failing():
    assert len(np.unique(painted_map(np.full((3, 5), 7.0)).reshape(-1, 3), axis=0)) == 1
