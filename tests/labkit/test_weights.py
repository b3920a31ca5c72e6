"""The committed networks do what their records say."""

from pathlib import Path

import pandas as pd
import pytest

from labkit import analysis, data
from labkit.training import open_run

ROOT = Path(__file__).resolve().parents[2]


def test_every_committed_network_is_small_and_carries_recipe_and_history():
    files = sorted((ROOT / "weights").glob("*.safetensors"))
    assert {path.stem for path in files} >= {"sample", "pets-128-unet"}
    for path in files:
        run = open_run(path)
        assert path.stat().st_size < 5_000_000
        assert len(run.history()) == run.recipe.training.epochs
        assert run.recipe.data.mean is not None
        assert path.with_suffix(".md").exists(), "a model card lies beside the weights"


def test_the_sample_network_is_as_good_as_the_quick_recipe_promises():
    pets, run = data.open_pets("sample"), open_run(analysis.committed_weights("sample"))
    summary = analysis.evaluate(run, pets, device="cpu").summary
    assert 0.85 <= summary["dice_per_image"] <= 0.96


@pytest.mark.real
def test_the_pets_network_reaches_its_recorded_score_on_all_real_test_images(real_pets):
    run = open_run(analysis.committed_weights("pets-128-unet"))
    summary, table, _ = analysis.evaluate(run, real_pets, device="cpu")
    recorded = pd.read_csv(ROOT / "records" / "results.csv").set_index("recipe").loc["cpu-128-unet"]
    assert summary["images"] == len(table) == 3669
    assert summary["dice_per_image"] >= 0.90
    # bfloat16 or float32, this processor or that: a few pixels in a thousand images
    assert summary["dice_per_image"] == pytest.approx(recorded["dice_per_image"], abs=0.001)
    assert summary["dice_pooled"] == pytest.approx(recorded["dice_pooled"], abs=0.001)
