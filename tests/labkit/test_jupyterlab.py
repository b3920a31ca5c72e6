"""The notebooks in a real JupyterLab: the browser of 05 under mouse and keyboard, a photo, live curves."""

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from tests.conftest import CHROMIUM

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@contextmanager
def lab_server(folder: Path, place: Path, **more: str):
    """A JupyterLab that shows a folder and keeps its own files in another; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1"),
            *("--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}"),
            *("--LabApp.extension_manager=readonly", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ
        | {"JUPYTER_CONFIG_DIR": str(place / "config"), "JUPYTERLAB_SETTINGS_DIR": str(place / "s")}
        | more,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        began = time.monotonic()
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=2).read()
                break
            except OSError:
                assert time.monotonic() < began + 600, "JupyterLab has not started"
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the notebooks, which the server shows."""
    return Path(shutil.copytree(ROOT / "notebooks", tmp_path_factory.mktemp("lab") / "notebooks"))


@pytest.fixture(scope="module")
def jupyter(folder):
    with lab_server(folder, folder.parent) as address:
        yield address


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()


def run_all(page, address: str) -> None:
    page.goto(address, timeout=120_000)
    page.wait_for_selector("text=/\\| Idle/", timeout=120_000)
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells")


def write_notebook(path: Path, source: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def keep_screenshot(page, name: str) -> None:
    if folder := os.environ.get("LABKIT_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def photo(size: tuple[int, int]) -> bytes:
    """A smooth image of no pet as a JPEG file."""
    small = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def test_the_browser_of_05_obeys_sliders_views_keys_and_takes_a_photo(jupyter, page, folder):
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    run_all(page, f"{jupyter}/lab/tree/05_analysis.ipynb?reset")
    root = page.locator(".labkit-browser")
    root.locator("canvas").first.wait_for(timeout=300_000)
    root.scroll_into_view_if_needed()

    def changed(what: str, act) -> None:
        """Acts, and waits for another value of `dataset.<what>`; `pixels` stands for what the first canvas shows."""
        shown = "r => r.querySelector('canvas').toDataURL()" if what == "pixels" else f"r => r.dataset.{what}"
        before = root.evaluate(shown)
        act()
        condition = f"([r, before]) => ({shown})(r) !== before"
        page.wait_for_function(condition, arg=[root.element_handle(), before], timeout=60_000)

    def drag(name: str) -> None:
        row = page.locator(f".widget-slider:has(label:text-is('{name}'))").first
        row.scroll_into_view_if_needed()
        handle, track = (
            row.locator(".noUi-handle").first.bounding_box(),
            row.locator(".noUi-target").first.bounding_box(),
        )
        page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        page.mouse.down()
        page.mouse.move(track["x"] + 0.8 * track["width"], handle["y"] + handle["height"] / 2, steps=8)
        page.mouse.up()

    changed("painted", lambda: drag("image"))
    changed("dice", lambda: drag("threshold"))
    changed("pixels", lambda: drag("opacity"))
    width = root.locator("canvas").first.bounding_box()["width"]
    drag("zoom")
    assert root.locator("canvas").first.bounding_box()["width"] > 2 * width
    for view in ("overlay", "probability", "errors", "truth", "cutout", "all"):
        changed("painted", lambda view=view: root.locator("select").first.select_option(view))
    root.locator(".panels").focus()
    changed("painted", lambda: page.keyboard.press("ArrowLeft"))
    changed("dice", lambda: page.keyboard.press("ArrowDown"))
    assert page.locator(".jp-Notebook .jp-mod-active .labkit-browser").count() == 1, "JupyterLab took the arrow key"
    changed("painted", lambda: root.locator("select").nth(1).select_option("best"))
    keep_screenshot(page, "browser")

    began = time.perf_counter()
    picture = {"name": "my dog.jpg", "mimeType": "image/jpeg", "buffer": photo((4000, 3000))}
    root.locator("input[type=file]").set_input_files(picture)
    # waits for the photo's own caption: a repaint of the image before it may still come in between
    root.locator(".caption", has_text="my dog").wait_for(timeout=60_000)
    print(f"a photo of 12 megapixels after {time.perf_counter() - began:.1f} s")
    assert "no truth" in root.locator(".caption").inner_text()
    root.get_by_role("button", name="save cut out").click()
    page.wait_for_selector("text=/saved as/", timeout=60_000)
    keep_screenshot(page, "photo")
    cutout = Image.open(folder / "my dog-cutout.png")
    assert (cutout.size, cutout.mode) == ((4000, 3000), "RGBA")
    assert [url for url in asked if not url.startswith((jupyter, "data:", "blob:"))] == []
    assert [text for text in complaints if "labkit" in text or "browser.js" in text or "anywidget" in text] == []


MAPS = """
import numpy as np, torch
from course import MapBrowser, module_outputs
from labkit import models
torch.manual_seed(0)
images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
stages = ["encoder.0", "bottleneck", "ups.0"]
MapBrowser(images, module_outputs(models.UNet(width=4, depth=2), torch.randn(5, 3, 32, 32), stages))
"""
CHAPTERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("02_unet", "03_resnet34_unet", "06_attention_unet")]


@pytest.mark.parametrize("chapter", ["maps", *CHAPTERS])
def test_a_browser_of_maps_obeys_its_sliders(jupyter, page, folder, chapter):
    write_notebook(folder / "maps.ipynb", MAPS)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    run_all(page, f"{jupyter}/lab/tree/{chapter}.ipynb?reset")
    root = page.locator(".jp-OutputArea-output .labkit-browser[data-painted]").first
    root.wait_for(timeout=600_000)
    page.wait_for_selector("text=/\\| Idle/", timeout=600_000)
    root.scroll_into_view_if_needed()
    handles = page.locator(".noUi-handle")
    assert handles.count() == 4
    for number, key in enumerate(("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")):  # image, stage, map, opacity
        before = root.get_attribute("data-painted")
        handles.nth(number).focus()
        page.keyboard.press(key)
        changed = "([root, before]) => root.dataset.painted !== before"
        page.wait_for_function(changed, arg=[root.element_handle(), before], timeout=60_000)
    assert root.get_attribute("data-painted").split()[0] == "1"
    before = root.get_attribute("data-painted")
    root.locator(".panels").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(changed, arg=[root.element_handle(), before], timeout=60_000)
    keep_screenshot(page, chapter)
    assert [url for url in asked if not url.startswith((jupyter, "data:", "blob:"))] == []
    assert [text for text in complaints if "labkit" in text or "anywidget" in text] == []


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


def test_live_curves_change_in_place_without_a_jump(jupyter, page, folder):
    write_notebook(folder / "live.ipynb", LIVE)
    page.goto(f"{jupyter}/lab/tree/live.ipynb?reset", timeout=120_000)
    page.wait_for_selector("text=/\\| Idle/", timeout=120_000)
    page.evaluate(WATCH)
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells")
    different = "() => new Set(window.frames_seen.flat().map(([_, src]) => src)).size"
    page.wait_for_function(f"() => ({different})() >= 4", timeout=120_000)
    page.wait_for_timeout(1500)
    frames, pictures = page.evaluate("() => window.frames_seen"), page.evaluate(different)
    keep_screenshot(page, "live")
    assert pictures == 5
    # one picture in every frame that the browser drew, never none or two
    assert {len(frame) for frame in frames} == {1}
    heights = {height for frame in frames for height, _ in frame}
    assert max(heights) - min(heights) < 1
    assert min(heights) > 400
