"""The browser on a page without a kernel, in Chromium: what it paints, measures and answers to, against labkit."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from labkit import analysis, data, metrics, painting
from labkit.browser import Browser
from labkit.training import fit, parse_recipe
from tests.conftest import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FRAME = '<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title><body>{}</body></html>'
SPECIES = """
[data]
target = "{}"
image_size = 32
[model]
width = 8
depth = 2
[training]
loss = "cross-entropy"
epochs = 2
precision = "float32"
"""


class Shown:
    """A browser's page in Chromium."""

    def __init__(self, page):
        self.page, self.root, self.requests, self.errors = page, page.locator(".labkit-browser"), [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, path) -> "Shown":
        self.page.goto(path.as_uri())
        self.root.and_(self.page.locator("[data-painted]")).wait_for()
        return self

    def act(self, act) -> "Shown":
        """Acts, and waits for the next painting; what is shown must change."""
        before = self.root.get_attribute("data-painted")
        act()
        self.page.wait_for_function(
            "before => document.querySelector('[data-painted]').dataset.painted !== before", arg=before
        )
        return self

    def slide(self, name: str, value: float) -> None:
        slider = self.root.get_by_label(name).and_(self.page.locator("input"))
        slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value)
        self.page.evaluate("() => new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame))")

    def canvas(self, number: int = 0) -> np.ndarray:
        url = self.root.locator("canvas").nth(number).evaluate("canvas => canvas.toDataURL()")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)

    def name(self) -> str:
        return self.root.locator(".caption").inner_text().split(" (")[0]

    def view(self, view: str) -> "Shown":
        self.root.get_by_label("view").select_option(view)
        self.page.wait_for_function(
            f"() => document.querySelector('[data-painted]').dataset.painted.includes(' {view} ')"
        )
        return self


@pytest.fixture
def shown(chromium):
    context = chromium.new_context(offline=True)
    yield Shown(context.new_page())
    context.close()


@pytest.fixture(scope="module")
def browser():
    pets = data.open_pets("sample")
    predictor = analysis.load_predictor(analysis.open_run(analysis.committed_weights("sample")), "cpu", "float32")
    indices = pets.split("test")[:40]
    table = analysis.score(predictor, pets, indices, "input").images.set_index("name")
    validation = pd.Series([0.8, 0.86, 0.84], [0.3, 0.5, 0.7])
    return Browser(predictor, pets, indices, table, validation, chosen=0.5)


def written(browser: Browser, path):
    """The browser as a page in a file."""
    path.write_text(FRAME.format(browser.to_html()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The page of the sample's browser, made once: no test changes it."""
    return written(browser, tmp_path_factory.mktemp("page") / "page.html")


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def binary_dice(levels: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    masks = (torch.from_numpy((levels >= 256 * threshold)[None] * 1), torch.from_numpy(truth[None].astype(int)))
    return metrics.per_image(metrics.dice_score, metrics.overlap_counts(*masks)).item()


def test_the_page_holds_24_images_and_asks_no_host(shown, page):
    assert page.stat().st_size < 1_500_000
    shown.open(page)
    assert "1 of 24" in shown.root.inner_text()
    assert [url for url in shown.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert shown.errors == []


def test_the_dice_in_the_page_is_that_of_the_map_that_was_sent(browser, shown, page):
    shown.open(page)
    for row in (0, 7, 23):
        shown.slide("image", row)
        shown.page.wait_for_function(
            f"() => document.querySelector('[data-painted]').dataset.painted.startsWith('{row} ')"
        )
        files = browser._sent(row, 256)
        for threshold in (0.02, 0.5, 0.74):
            shown.slide("threshold", threshold)
            expected = binary_dice(decoded(files["map0"]), decoded(files["truth"]), threshold)
            assert float(shown.root.get_attribute("data-dice")) == pytest.approx(expected, abs=1e-12)
            assert f"Dice {expected:.3f} at threshold {threshold:.2f}" in shown.root.locator(".caption").inner_text()
        of_table = browser.canvas.items[row]["values"]["dice"]
        assert f"in the table {of_table:.3f}" in shown.root.locator(".caption").inner_text()


def test_every_view_is_painted_as_labkit_paints_it(browser, shown, page):
    shown.open(page).view("overlay").slide("opacity", 0)
    image, files = shown.canvas(), browser._sent(0, 256)
    assert np.abs(image - decoded(files["image"])).mean() < 1
    image = image.astype(np.uint8)
    shown.slide("opacity", 0.7)
    mask, truth = decoded(files["map0"]) >= 128, decoded(files["truth"])
    expected = {
        "overlay": painting.overlay(image, mask, 0.7),
        "truth": painting.overlay(image, truth == 1, 0.7, painting.GREEN),
        "errors": painting.error_map(image, mask, truth, 0.7),
    }
    for view, picture in expected.items():
        assert np.abs(shown.view(view).canvas() - picture).max() <= 1, view
    shown.view("all")
    for number, view in enumerate(("truth", "overlay", None, "errors")):
        assert view is None or np.abs(shown.canvas(number) - expected[view]).max() <= 1
    cut_out = shown.view("cutout").canvas()
    assert (cut_out[mask] == image[mask]).all()
    assert set(np.unique(cut_out[~mask])) == {200, 235}
    shown.slide("opacity", 1)
    probability = shown.view("probability").canvas()
    inside = ~painting.outline(mask)
    assert np.abs(probability[inside] - (decoded(files["map0"])[inside][:, None] / 255 * 255)).max() <= 1


def test_the_order_follows_the_table_the_name_and_the_breed(browser, shown, page):
    shown.open(page)
    items = browser.canvas.items[:24]
    assert shown.name() == items[0]["name"] == min(items, key=lambda item: item["values"]["dice"])["name"]
    keys = {
        "best": lambda item: -item["values"]["dice"],
        "name": lambda item: item["name"],
        "breed": lambda item: item["breed"],
        "foreground": lambda item: item["values"]["foreground"],
    }
    for order, key in keys.items():
        shown.root.get_by_label("order").select_option(order)
        for item in sorted(items, key=key)[:3]:
            shown.root.locator(".caption", has_text=f"{item['name']} (").wait_for(timeout=10_000)
            shown.root.get_by_label("next image").click()


def test_arrow_keys_move_image_and_threshold_and_stop_at_the_ends(browser, shown, page):
    shown.open(page).root.locator(".panels").focus()
    press = shown.page.keyboard.press
    press("ArrowLeft")
    shown.act(lambda: press("ArrowRight")).act(lambda: press("ArrowUp"))
    assert shown.name() == browser.canvas.items[1]["name"]
    assert "at threshold 0.52" in shown.root.locator(".caption").inner_text()
    assert "mean 0.8600 at 0.50; chosen: 0.5" in shown.root.locator("svg").nth(1).text_content()
    for _ in range(26):
        press("ArrowUp")
    shown.slide("image", 23)
    press("ArrowRight")
    shown.page.wait_for_function("() => document.querySelector('[data-painted]').dataset.painted.startsWith('23 ')")
    assert "at threshold 0.98" in shown.root.locator(".caption").inner_text()


def test_a_click_on_a_point_opens_its_image(browser, shown, page):
    shown.open(page)
    shown.act(lambda: shown.root.locator("circle.point").nth(17).click())
    assert shown.name() == browser.canvas.items[17]["name"]


def test_two_runs_are_shown_next_to_each_other(browser, shown, tmp_path):
    other = analysis.load_predictor(
        analysis.open_run(analysis.committed_weights("sample-resnet34-unet")), "cpu", "float32"
    )
    both = Browser({"UNet": next(iter(browser.predictors.values())), "ResNet": other}, browser.pets, browser.indices)
    shown.open(written(both, tmp_path / "page.html")).view("overlay")
    assert shown.root.locator("figcaption").all_inner_texts() == ["prediction, UNet", "prediction, ResNet"]
    files = both._sent(0, 256)
    scores = [binary_dice(decoded(files[name]), decoded(files["truth"]), 0.5) for name in ("map0", "map1")]
    assert [float(text) for text in shown.root.get_attribute("data-dice").split()] == pytest.approx(scores, abs=1e-12)
    assert shown.view("truth").root.locator("canvas").count() == 1


def test_classes_have_their_colors_a_legend_and_their_own_dice(shown, tiny_pets, tmp_path):
    fit(parse_recipe(SPECIES.format("species"), "a test"), tiny_pets, tmp_path / "run", device="cpu")
    predictor = analysis.load_predictor(analysis.open_run(tmp_path / "run"), "cpu", "float32")
    several = Browser(predictor, tiny_pets, tiny_pets.split("test"))
    shown.open(written(several, tmp_path / "page.html")).slide("opacity", 1)
    assert shown.root.get_by_label("threshold").and_(shown.page.locator("input")).count() == 0
    for row in range(len(several.indices)):
        shown.slide("image", row)
        shown.page.wait_for_function(
            f"() => document.querySelector('[data-painted]').dataset.painted.startsWith('{row} ')"
        )
        files = several._sent(row, 256)
        truth = decoded(files["truth"])
        prediction = np.array(files["classes0"])[decoded(files["map0"]).reshape(-1, *truth.shape).argmax(0)]
        counts = metrics.overlap_counts(
            torch.from_numpy(prediction[None]), torch.from_numpy(truth[None].astype(int)), 3
        )
        expected = metrics.per_image(metrics.dice_score, counts).item()
        assert float(shown.root.get_attribute("data-dice")) == pytest.approx(expected, abs=1e-12)
        assert (shown.canvas(1)[prediction > 0] == painting.CLASS_COLORS[prediction[prediction > 0]]).all()
        legend = shown.root.locator(".legend").inner_text()
        for index, name in enumerate(("cat", "dog"), 1):
            score = f"{name} {metrics.dice_score(counts)[0, index - 1]:.3f}"
            assert (score in legend) == bool((prediction == index).any() or (truth == index).any())


def test_ignored_pixels_are_no_mistakes(shown, tiny_pets, tmp_path):
    recipe = parse_recipe(SPECIES.format("border_ignored").replace("cross-entropy", "bce"), "a test")
    fit(recipe, tiny_pets, tmp_path / "run", device="cpu")
    predictor = analysis.load_predictor(analysis.open_run(tmp_path / "run"), "cpu", "float32")
    ignoring = Browser(predictor, tiny_pets, tiny_pets.split("test"), chosen=0.02)  # nearly all is called pet
    shown.open(written(ignoring, tmp_path / "page.html")).view("errors")
    colors, border = shown.canvas(), tiny_pets.trimap(ignoring.indices[0]) == 3
    assert border.any()
    assert (np.ptp(colors[border], axis=1) == 0).all(), "gray, as an image without a mistake"
    truth, levels = decoded(ignoring._sent(0, 256)["truth"]), decoded(ignoring._sent(0, 256)["map0"])
    assert float(shown.root.get_attribute("data-dice")) == pytest.approx(binary_dice(levels, truth, 0.02), abs=1e-12)


def test_everything_that_can_be_used_has_a_name_and_the_image_is_described(shown, page):
    shown.open(page)
    names = shown.root.locator("button, select, input, canvas, svg, .panels").evaluate_all(
        "all => all.map(n => n.getAttribute('aria-label') || [...(n.labels || [])].map(l => l.innerText).join())"
    )
    assert len(names) > 12
    assert all(names)
    described = shown.root.locator("canvas").nth(3).get_attribute("aria-label")
    assert re.search(r"^mistakes: \w+ \(\w+\) · Dice 0\.\d{3} at threshold 0\.50", described)
