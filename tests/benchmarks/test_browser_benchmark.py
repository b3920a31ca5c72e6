"""benchmarks.browser: every key is measured in every view, in Chromium, and a photo is predicted and cut out."""

import pytest

from benchmarks.browser import KEYS, page_rows, photo_rows
from labkit import analysis, data
from labkit.browser import Browser
from tests.conftest import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def test_keys_and_photos_are_measured_and_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pets = data.open_pets("sample")
    predictor = analysis.load_predictor(analysis.open_run(analysis.committed_weights("sample")), "cpu", "float32")
    browser = Browser(predictor, pets, pets.split("test")[:12])
    rows = page_rows(browser, presses=2)
    assert {(row["what"], row["view"]) for row in rows} == {(k, v) for k in KEYS for v in ("overlay", "errors", "all")}
    assert all(0 < row["low"] <= row["median"] <= row["high"] < 5_000 for row in rows)
    photos = photo_rows(browser, rounds=1)
    assert [row["what"] for row in photos] == ["photo predicted", "photo cut out"]
    assert all(row["median"] > 1 for row in photos)
    assert list(tmp_path.iterdir()) == []
