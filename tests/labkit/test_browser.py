"""What the browser sends to its page: the network's own probabilities and the true masks; photos and cutouts."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from labkit import analysis, data, metrics
from labkit.browser import Browser
from labkit.errors import LabError
from labkit.training import fit, parse_recipe

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


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture(scope="module")
def predictor():
    return analysis.load_predictor(analysis.open_run(analysis.committed_weights("sample")), "cpu", "float32")


@pytest.fixture(scope="module")
def pets():
    return data.open_pets("sample")


@pytest.fixture
def browser(predictor, pets):
    return Browser(predictor, pets, pets.split("test")[:6])


def test_it_sends_the_networks_probability_and_the_truth_at_the_images_own_size(browser, predictor, pets):
    for row in (0, 4):
        index, files = pets.split("test")[row], browser.sent(row)
        image, trimap = pets.pair(index)
        levels = opened(files["map0"])
        assert levels.shape == image.shape[:2]
        expected = metrics.foreground_logit(predictor.image_logits(image)[None])[0].sigmoid().numpy()
        assert np.array_equal(levels, np.floor(expected * 256).clip(max=255))
        assert np.array_equal(opened(files["truth"]), np.isin(trimap, (1, 3)))
        assert np.abs(opened(files["image"]).astype(int) - image).mean() < 8
        cut = torch.from_numpy((levels >= 128)[None].astype(int))
        score = metrics.dice_score(metrics.overlap_counts(cut, torch.from_numpy(np.isin(trimap, (1, 3))[None] * 1)))
        own = analysis.score(predictor, pets, np.array([index]), "original").images["dice"][0]
        assert score.item() == pytest.approx(own, abs=1e-4)


def test_the_kernel_answers_what_the_page_asks_for_and_computes_it_once(browser):
    assert set(browser.canvas.images) == {"0", "1", "2"}
    arrived = []
    browser.canvas.observe(lambda change: arrived.append(list(change["new"])), names="images")
    browser.canvas.wanted = [5, 4]
    assert arrived == [["5"], ["4"]]
    misses = browser.sent.cache_info().misses
    browser.threshold.value, browser.opacity.value, browser.zoom.value = 0.3, 0.8, 2.0
    browser.canvas.wanted = [4, 5]
    assert browser.sent.cache_info().misses == misses == 5


def test_the_worst_image_of_a_table_comes_first_and_its_numbers_go_along(predictor, pets):
    indices = pets.split("test")[:4]
    names = [pets.items[index].name for index in indices]
    table = pd.DataFrame({"breed": "x", "dice": [0.9, 0.2, 0.7, 0.4], "contrast": [1.0, 2.0, np.nan, 4.0]}, names[::-1])
    browser = Browser(predictor, pets, indices, table)
    order = [2, 0, 1, 3]  # of the names, by Dice: 0.2, 0.4, 0.7, 0.9
    assert [item["name"] for item in browser.canvas.items] == [names[i] for i in order]
    assert [item["values"]["contrast"] for item in browser.canvas.items] == [2.0, 4.0, None, 1.0]
    assert browser.canvas.facts["columns"] == ["dice", "contrast"]
    json.dumps([browser.canvas.items, browser.canvas.facts], allow_nan=False)


def test_large_images_are_made_smaller_for_the_page(browser):
    browser.photos.append(np.zeros((100, 2000, 3), np.uint8))
    browser.canvas.items = [*browser.canvas.items, {"name": "wide", "breed": "your photo", "values": {}}]
    assert opened(browser.sent(6)["image"]).shape == (26, 512, 3)
    assert opened(browser.sent(6)["map0"]).shape == (26, 512)


def test_of_several_classes_those_that_occur_are_sent(tiny_pets, tmp_path):
    fit(parse_recipe(SPECIES, "a test"), tiny_pets, tmp_path / "run", device="cpu")
    predictor = analysis.load_predictor(analysis.open_run(tmp_path / "run"), "cpu", "float32")
    browser = Browser(predictor, tiny_pets, tiny_pets.split("test"))
    assert browser.threshold.layout.display == "none"
    for row, index in enumerate(tiny_pets.split("test")):
        files, image = browser.sent(row), tiny_pets.image(index)
        classes, maps = files["classes0"], opened(files["map0"]).reshape(-1, *image.shape[:2])
        logits = predictor.image_logits(image)
        truth = opened(files["truth"])
        assert set(classes) == {0} | set(np.unique(truth)) | set(logits.argmax(0).unique().tolist())
        assert set(np.unique(truth)) == {0, tiny_pets.items[index].species}
        assert np.array_equal(maps, np.floor(logits.softmax(0)[classes].numpy() * 256).clip(max=255))


def test_networks_of_different_targets_are_refused(predictor, tiny_pets, tmp_path):
    fit(parse_recipe(SPECIES, "a test"), tiny_pets, tmp_path / "run", device="cpu")
    other = analysis.load_predictor(analysis.open_run(tmp_path / "run"), "cpu", "float32")
    with pytest.raises(LabError, match=r"different classes.*'pet'.*'cat', 'dog'"):
        Browser({"a": predictor, "b": other}, tiny_pets, tiny_pets.split("test"))


def test_a_photo_is_predicted_at_its_own_size_and_cut_out(browser, predictor, pets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = pets.image(pets.split("test")[9]).repeat(3, axis=0).repeat(3, axis=1)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    browser._receive(browser.canvas, {"photo": "../my cat.png"}, [memoryview(file.getvalue())])
    assert (browser.image.max, browser.image.value, browser.canvas.items[6]["name"]) == (6, 6, "my cat")
    assert "truth" not in browser.canvas.images["6"]
    browser.canvas.threshold = 0.8
    browser._receive(browser.canvas, {"save": 6}, [])
    saved = np.asarray(Image.open(tmp_path / "my cat-cutout.png"))
    assert browser.canvas.message == f"saved as {tmp_path / 'my cat-cutout.png'}"
    assert np.array_equal(saved[..., :3], image)
    probability = predictor.image_logits(image)[0].sigmoid().numpy()
    assert np.array_equal(saved[..., 3], np.where(probability > 0.8, 255, 0))
    assert 0.02 < (saved[..., 3] > 0).mean() < 0.98


def test_what_cannot_be_shown_or_saved_is_said_in_a_sentence(browser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    browser._receive(browser.canvas, {"photo": "letter.jpg"}, [b"no image at all"])
    assert browser.canvas.message.startswith("letter.jpg: is empty, no image")
    assert len(browser.canvas.items) == 6
    mine = tmp_path / f"{browser.canvas.items[0]['name']}-cutout.png"
    mine.write_bytes(b"mine")
    browser._receive(browser.canvas, {"save": 0}, [])
    assert "labkit has not written it" in browser.canvas.message
    assert mine.read_bytes() == b"mine"


def test_a_page_without_scripts_still_has_a_described_image(browser):
    page = browser.to_html(count=2)
    still = page[: page.index("<script")]
    assert re.search(rf'<img alt="{browser.canvas.items[0]["name"]}: missed', still)
    assert "text/html" in browser._repr_mimebundle_()
