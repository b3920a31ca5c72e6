"""The slider browser: its Dice is the measure's, its picture changes, and a mouse can move it in a real browser."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from labkit import analysis, data, painting
from labkit.browser import Browser
from labkit.browser.browser import SIDE
from labkit.training import fit, parse_recipe

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def browser():
    pets = data.open_pets("sample")
    run = analysis.open_run(analysis.committed_weights("sample"))
    return Browser(analysis.load_predictor(run, "cpu", "float32"), pets, pets.split("test")[:6])


def test_the_dice_shown_is_that_of_the_evaluation(browser):
    pets, run = browser.pets, analysis.open_run(analysis.committed_weights("sample"))
    table = analysis.evaluate(run, pets, device="cpu", precision="float32").images
    for place in (0, 3, 5):
        browser.image.value = place
        assert browser.dice == pytest.approx(table["dice"][place], abs=1e-6)
        assert f"{browser.dice:.3f}" in browser.caption.value
        assert table["name"][place] in browser.caption.value


def test_threshold_and_opacity_change_what_is_drawn(browser):
    first, dice = browser.sheet.value, browser.dice
    browser.threshold.value = 0.9
    assert browser.sheet.value != first
    assert browser.dice != dice
    second = browser.sheet.value
    browser.opacity.value = 0.1
    assert browser.sheet.value != second


def test_the_network_sees_an_image_once(browser):
    browser.threshold.value = 0.3
    browser.opacity.value = 0.8
    assert browser.seen.cache_info().misses == 1
    browser.image.value = 2
    assert browser.seen.cache_info().misses == 2


SPECIES = """
[data]
target = "species"
image_size = 32
[model]
width = 8
depth = 2
[training]
loss = "cross-entropy"
epochs = 2
precision = "float32"
"""


@pytest.fixture
def class_browser(tiny_pets, tmp_path):
    fit(parse_recipe(SPECIES, "a test"), tiny_pets, tmp_path / "run", device="cpu")
    predictor = analysis.load_predictor(analysis.open_run(tmp_path / "run"), "cpu", "float32")
    return Browser(predictor, tiny_pets, tiny_pets.split("test"))


def shown_pictures(browser) -> list[np.ndarray]:
    """The three pictures on the page at the images' own size: each pixel is the middle of its square."""
    sheet = np.asarray(Image.open(io.BytesIO(browser.sheet.value)))
    size, side = browser.arrays.size, SIDE
    middles = ((np.arange(size) + 0.5) * side / size).astype(int)
    return [sheet[:, i * (side + 4) :][middles][:, middles] for i in range(3)]


def test_several_classes_are_painted_in_their_colors_without_a_threshold(class_browser):
    browser = class_browser
    assert browser.threshold.layout.display == "none"
    assert browser.image.layout.display is None
    browser.opacity.value = 1.0
    for place in range(len(browser.indices)):
        browser.image.value = place
        name = browser.pets.items[browser.indices[place]].name
        (image,), (prediction,), (truth,) = analysis.case_masks(browser.predictor, browser.pets, [name])
        left, middle, right = shown_pictures(browser)
        assert (left == painting.class_overlay(image, truth, 1.0)).all()
        assert (middle == painting.class_overlay(image, prediction, 1.0)).all()
        assert (right == painting.error_map(image, prediction, truth, 1.0)).all()


def test_the_caption_names_the_shown_classes_with_their_colors_and_dice(class_browser):
    browser, names = class_browser, ("background", "cat", "dog")
    for place in range(len(browser.indices)):
        browser.image.value = place
        name = browser.pets.items[browser.indices[place]].name
        _, (prediction,), (truth,) = analysis.case_masks(browser.predictor, browser.pets, [name])
        scores = {}
        for index in (1, 2):
            if (truth == index).any() or (prediction == index).any():
                scores[index] = f1_score((truth == index).ravel(), (prediction == index).ravel())
        found = re.findall(r"background:#(\w{6})\"></span> (\w+) (\d\.\d{3})", browser.caption.value)
        expected = [(bytes(painting.CLASS_COLORS[i]).hex(), names[i], f"{dice:.3f}") for i, dice in scores.items()]
        assert found == expected
        assert browser.dice == pytest.approx(np.mean(list(scores.values())))


def test_ignored_pixels_are_no_mistakes_in_the_browser(tiny_pets, tmp_path):
    recipe = parse_recipe(SPECIES, "a test").changed(data={"target": "border_ignored"})
    fit(recipe, tiny_pets, tmp_path / "run", device="cpu")
    predictor = analysis.load_predictor(analysis.open_run(tmp_path / "run"), "cpu", "float32")
    browser = Browser(predictor, tiny_pets, tiny_pets.split("test"))
    browser.threshold.value = 0.02  # all is called pet
    image = browser.arrays.images[browser.indices[0]]
    border = browser.arrays.trimaps[browser.indices[0]] == 3
    right = shown_pictures(browser)[2]
    assert (right[border] == image.mean(axis=2).astype(np.uint8)[border][:, None]).all()
    assert browser.threshold.layout.display is None


@pytest.fixture
def jupyter(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1"),
            *("--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={tmp_path / 'notebooks'}"),
            *("--LabApp.extension_manager=readonly", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ
        | {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "s")},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=2).read()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_mouse_moves_the_sliders_in_jupyterlab(jupyter, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{jupyter}/lab/tree/05_analysis.ipynb?reset", timeout=120_000)
        page.wait_for_selector("text=/\\| Idle/", timeout=120_000)
        page.click("text=Run >> nth=0")
        page.click("text=Run All Cells")
        picture = page.locator("img.widget-image, .widget-image img").first
        picture.wait_for(timeout=240_000)
        picture.scroll_into_view_if_needed()
        before, caption = picture.get_attribute("src"), page.locator(".widget-html-content").first
        assert re.search(r"Dice 0?\.?\d", caption.inner_text())
        for name in ("image", "threshold"):
            row = page.locator(f".widget-slider:has(label:text-is('{name}'))").first
            handle = row.locator(".noUi-handle").first
            row.scroll_into_view_if_needed()
            box, track = handle.bounding_box(), row.locator(".noUi-target").first.bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.move(track["x"] + 0.8 * track["width"], box["y"] + box["height"] / 2, steps=8)
            page.mouse.up()
            changed = "([img, old]) => img.src !== old"
            page.wait_for_function(changed, arg=[picture.element_handle(), before], timeout=60_000)
            before = picture.get_attribute("src")
        page.wait_for_timeout(500)
        natural = picture.evaluate("img => [img.naturalWidth, img.naturalHeight]")
        if folder := os.environ.get("LABKIT_SCREENSHOTS"):
            page.screenshot(path=str(Path(folder) / "browser.png"))
        chromium.close()
    assert natural[0] > 3 * natural[1] * 0.9
    assert np.prod(natural) > 100_000


LIVE = """
import time
from labkit.training import Epoch
from course import figures as plots
curves = plots.LiveCurves(5)
for n in range(1, 6):
    curves.add(Epoch(n, 0.6, 9.0, n / 1000, 1 / n, 1 / n, n / 6, n / 7, True, (1 / n,), (float(n),)))
    time.sleep(0.6)
"""
WATCH = """() => {
    window.frames_seen = [];
    const look = () => {
        const pictures = [...document.querySelectorAll('.jp-OutputArea-output img')];
        if (pictures.length || window.frames_seen.length)
            window.frames_seen.push(pictures.map(img => [img.getBoundingClientRect().height, img.src]));
        requestAnimationFrame(look);
    };
    look();
}"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_live_curves_change_in_place_without_a_jump_in_jupyterlab(jupyter, tmp_path):
    from playwright.sync_api import sync_playwright

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LIVE)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "notebooks" / "live.ipynb")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{jupyter}/lab/tree/live.ipynb?reset", timeout=120_000)
        page.wait_for_selector("text=/\\| Idle/", timeout=120_000)
        page.evaluate(WATCH)
        page.click("text=Run >> nth=0")
        page.click("text=Run All Cells")
        different = "() => new Set(window.frames_seen.flat().map(([_, src]) => src)).size"
        page.wait_for_function(f"() => ({different})() >= 4", timeout=120_000)
        page.wait_for_timeout(1500)
        frames, pictures = page.evaluate("() => window.frames_seen"), page.evaluate(different)
        if folder := os.environ.get("LABKIT_SCREENSHOTS"):
            page.screenshot(path=str(Path(folder) / "live.png"))
        chromium.close()
    assert pictures == 5
    # one picture in every frame that the browser drew, never none or two
    assert {len(frame) for frame in frames} == {1}
    heights = {height for frame in frames for height, _ in frame}
    assert max(heights) - min(heights) < 1
    assert min(heights) > 400
