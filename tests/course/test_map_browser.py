"""The browser of maps: what is sent are the network's own maps, and the page paints, orders and chooses among them."""

import base64
import io
import json
import re

import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from course import MapBrowser, module_outputs
from course.figures.maps import MapCanvas
from course.figures.unet import painted_map, strongest_channels
from labkit import models
from labkit.browser.browser import PredictionCanvas
from tests.conftest import CHROMIUM, REPOSITORY

STAGES = ["encoder.0", "bottleneck", "ups.0", "head"]
FRAME = '<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title><body>{}</body></html>'


@pytest.fixture
def network():
    torch.manual_seed(0)
    return models.UNet(width=4, depth=2), torch.randn(3, 3, 32, 32)


@pytest.fixture
def browser(network):
    originals = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return MapBrowser(originals, module_outputs(*network, STAGES))


@pytest.fixture
def page(chromium):
    context = chromium.new_context(offline=True)
    yield context.new_page()
    context.close()


def shown(page, browser: MapBrowser, path):
    """The root of the browser on a page without a kernel."""
    path.write_text(FRAME.format(browser.to_html()), encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_selector("[data-painted]")
    return page.locator(".labkit-browser")


def slide(page, name: str, value: float) -> None:
    slider = page.get_by_label(name, exact=False).and_(page.locator("input"))
    slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value)


def wait_for(page, painted: str) -> None:
    """Waits until the page has painted what starts with `painted`: row, stage, place, opacity and scale."""
    page.wait_for_function(
        "start => document.querySelector('[data-painted]').dataset.painted.startsWith(start)", arg=painted
    )


def canvas(page, number: int) -> np.ndarray:
    url = page.locator("canvas").nth(number).evaluate("canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def viridis(share: np.ndarray) -> np.ndarray:
    return matplotlib.colormaps["viridis"](share)[..., :3] * 255


def sent_levels(layer: dict) -> np.ndarray:
    levels = np.asarray(Image.open(io.BytesIO(layer["maps"])))
    return levels.reshape(len(layer["labels"]), -1, levels.shape[1])


def test_the_maps_are_those_of_a_pass_by_hand_and_no_hook_stays(network):
    model, images = network
    outputs = module_outputs(model, images, STAGES)
    with torch.no_grad():
        first = model.encoder[0](images[[1]])
        bottom = model.bottleneck(model.pool(model.encoder[1](model.pool(first))))
        expected = {"encoder.0": first[0], "bottleneck": bottom[0], "ups.0": model.ups[0](bottom)[0]}
    assert list(outputs(1)) == STAGES
    for name, maps in expected.items():
        assert np.allclose(outputs(1)[name], maps, atol=1e-6)
    assert outputs.cache_info().misses == 1, "an image goes through the network once"
    assert not any(module._forward_hooks for module in model.modules())


def test_the_strongest_maps_are_sent_each_in_its_own_range(browser):
    assert [(stage["shape"], stage["count"]) for stage in browser.canvas.facts["stages"]] == [
        ([4, 32, 32], 4),
        ([16, 8, 8], 16),
        ([8, 16, 16], 8),
        ([1, 32, 32], 1),
    ]
    maps, layer = browser.maps(1)["bottleneck"], browser.canvas.sent(1)["layers"][1]
    order = sorted(range(16), key=lambda channel: -maps[channel].std())
    assert layer["labels"] == [f"channel {channel}" for channel in order]
    for levels, channel, low, high in zip(sent_levels(layer), order, layer["lows"], layer["highs"], strict=True):
        assert (low, high) == (maps[channel].min(), maps[channel].max())
        assert np.abs(low + levels / 255 * (high - low) - maps[channel]).max() <= (high - low) / 500


def test_named_maps_keep_their_order_and_a_constant_one_is_dark(network):
    maps = np.stack([np.full((4, 4), 7.0), np.eye(4)])
    named = MapBrowser(np.zeros((1, 8, 8, 3), np.uint8), lambda index: {"gate": maps}, labels=["epoch 1", "epoch 2"])
    layer = named.canvas.sent(0)["layers"][0]
    assert layer["labels"] == ["epoch 1", "epoch 2"]
    assert np.array_equal(sent_levels(layer), maps * [[[0]], [[255]]])


def test_more_than_three_images_are_sent_when_the_page_wants_them(network):
    many = MapBrowser(np.zeros((9, 32, 32, 3), np.uint8), module_outputs(network[0], torch.randn(9, 3, 32, 32), STAGES))
    many.canvas.wanted = [7]
    assert list(many.canvas.images) == ["7"]
    state = json.loads(re.search(r"getElementById\(.*?\), (\{.*\})\);</script>", many.to_html())[1])
    assert [item["name"] for item in state["items"]] == [f"image {number}" for number in range(1, 7)]
    assert list(state["images"]) == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_large_map_is_the_framed_one_from_dark_to_bright(browser, page, tmp_path):
    root = shown(page, browser, tmp_path / "page.html")
    for name, value in (("image", 1), ("stage", 1), ("map", 3)):
        slide(page, name, value)
    wait_for(page, "1 bottleneck 3 1 own")
    maps = browser.maps(1)["bottleneck"]
    channel = strongest_channels(maps)[2]
    values = maps[channel]
    assert f"channel {channel}, from {values.min():.2f} to {values.max():.2f}" in root.locator(".caption").inner_text()
    expected = viridis((values - values.min()) / np.ptp(values)).repeat(4, axis=0).repeat(4, axis=1)
    assert np.abs(canvas(page, 2) - expected).max() <= 3, "8 bits a map"
    sheet = canvas(page, 1)
    rows, columns = np.nonzero((sheet == (230, 159, 0)).all(axis=2))
    across = sheet.shape[1] / 4
    assert {int(rows.min() // across), int(rows.max() // across)} == {0}
    assert {int(columns.min() // across), int(columns.max() // across)} == {2}
    slide(page, "opacity", 0)
    wait_for(page, "1 bottleneck 3 0 own")
    assert np.array_equal(canvas(page, 2), canvas(page, 0)), "nothing covers the image"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_click_and_the_arrow_keys_choose_and_a_stage_of_fewer_maps_takes_its_last(browser, page, tmp_path):
    root = shown(page, browser, tmp_path / "page.html")
    slide(page, "stage", 1)
    wait_for(page, "0 bottleneck 1 ")
    box = page.locator("canvas").nth(1).bounding_box()
    page.locator("canvas").nth(1).click(position={"x": 0.9 * box["width"], "y": 0.9 * box["height"]})
    wait_for(page, "0 bottleneck 16 ")
    root.locator(".panels").focus()
    page.keyboard.press("ArrowDown")
    wait_for(page, "0 bottleneck 15 ")
    page.keyboard.press("ArrowRight")
    wait_for(page, "1 bottleneck 15 ")
    slide(page, "stage", 3)
    wait_for(page, "1 head 1 ")
    assert "1 of 1" in root.inner_text()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_on_one_scale_equal_weights_have_equal_colors(page, tmp_path):
    image, asked, complaints = np.full((40, 60, 3), 90, np.uint8), [], []
    maps = np.stack([np.full((4, 6), 0.25), np.linspace(0.25, 0.75, 24).reshape(4, 6)]).astype(np.float32)
    gates = MapBrowser([image], lambda index: {"gate": maps}, ["epoch 1", "epoch 2"], (0.0, 1.0), ["a pet"])
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    root = shown(page, gates, tmp_path / "page.html")
    root.get_by_label("scale").select_option("shared")
    wait_for(page, "0 gate 1 1 shared")
    assert np.abs(canvas(page, 2) - viridis(np.array([0.25]))).max() <= 1
    slide(page, "map", 2)
    wait_for(page, "0 gate 2 1 shared")
    assert np.abs(canvas(page, 2)[::10, ::10] - viridis(maps[1])).max() <= 4
    assert "a pet · gate, 4 × 6: epoch 2, from 0.25 to 0.75" in root.locator(".caption").inner_text()
    names = root.locator("button, select, input, canvas, .panels").evaluate_all(
        "all => all.map(n => n.getAttribute('aria-label') || [...(n.labels || [])].map(l => l.innerText).join())"
    )
    assert len(names) == 11
    assert all(names)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


@pytest.mark.parametrize("chapter", ["02_unet", "03_resnet34_unet", "05_analysis", "06_attention_unet"])
def test_the_committed_notebooks_hold_the_page_as_it_is_now(chapter):
    """`make refresh` is due after a change of a page's module."""
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{chapter}.ipynb", as_version=4)
    held = [
        output.data.get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    [page] = [text for text in held if "standalone" in text]
    module = PredictionCanvas._esm if chapter == "05_analysis" else MapCanvas._esm
    assert f"{module}\nstandalone(Page" in page
    assert f"<style>{MapCanvas._css}</style>" in page


def test_the_strongest_channel_varies_most_from_place_to_place():
    flat, wavy, faint = np.full((4, 4), 9.0), np.eye(4) * 3, np.eye(4)
    assert strongest_channels(np.stack([flat, faint, wavy])).tolist() == [2, 1, 0]


def test_a_constant_map_is_painted_dark_rather_than_failing():
    assert len(np.unique(painted_map(np.full((3, 5), 7.0)).reshape(-1, 3), axis=0)) == 1
