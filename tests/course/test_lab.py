"""The whole lab, headless, as `make lab` runs it: minutes, hence marked slow."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from tests.conftest import CHROMIUM

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("lab")
    done = subprocess.run(
        [sys.executable, "-m", "course", "lab", "--all", "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "04_training: cell" in done.stderr, "the progress bar names the notebook and its cell"
    return out


def images_of(path: Path) -> list[np.ndarray]:
    outputs = [o for cell in nbformat.read(path, 4).cells for o in cell.get("outputs", [])]
    encoded = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(e))).convert("RGB"), dtype=float) for e in encoded]


def test_it_leaves_the_notebooks_the_run_and_the_test_table(lab):
    names = [path.name for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
    assert [path.name for path in sorted(lab.glob("*.ipynb"))] == names
    summary = json.loads((lab / "run" / "evaluations" / "sample-test-64" / "summary.json").read_text())
    assert 0.85 <= summary["dice_per_image"] <= 0.96
    assert f"{summary['dice_per_image']:.4f}" in (lab / "site" / "index.html").read_text()


@pytest.mark.parametrize("name", ["01_data", "02_unet", "03_resnet34_unet"])
def test_the_committed_images_are_those_of_the_drawn_sample(lab, name):
    fresh, committed = images_of(lab / f"{name}.ipynb"), images_of(ROOT / "notebooks" / f"{name}.ipynb")
    assert len(fresh) == len(committed) > 3
    for ours, theirs in zip(fresh, committed, strict=True):
        assert ours.shape == theirs.shape
        # a photograph instead of a drawing, or of another seed, would differ by tens of gray levels
        assert np.abs(ours - theirs).mean() < 4


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_site_is_accessible_and_renders_with_the_network_blocked(lab):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    asked, complaints = [], []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_context(offline=True).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        widths, alts, formulas = [], 0, 0
        for path in sorted((lab / "site").glob("0*.html")):
            page.goto(path.as_uri())
            widths += page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
            alts += page.eval_on_selector_all("img", "images => images.filter(image => !image.alt).length")
            formulas += page.locator("math").count()
            assert "$$" not in page.inner_text("main")
            found = Axe().run(page, options={"preload": False}).response["violations"]
            assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == [], path.name
        page.goto((lab / "site" / "05_analysis.html").as_uri())
        page.wait_for_selector(".labkit-browser[data-painted]")
        page.goto((lab / "site" / "index.html").as_uri())
        text = page.inner_text("main")
        chromium.close()
    assert len(widths) > 50
    assert min(widths) > 100
    assert alts == 0
    assert formulas > 10
    assert "Test result" in text
    assert "recipe" in text
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
