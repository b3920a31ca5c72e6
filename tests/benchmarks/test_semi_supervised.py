"""The arms of the semi-supervised comparison differ in masks alone."""

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks import semi_supervised
from benchmarks.semi_supervised import ARMS, BATCH, STEPS, planned
from labkit.training import Trainer, build_network, resolve


def test_the_arms_make_as_many_steps_and_share_their_masks(tiny_pets):
    few, semi, every = (planned(arm, 3, 361) for arm in ARMS)
    assert (few.data.train_images, semi.data.unlabelled, every.data.unlabelled) == (40, 321, 0)
    for recipe, images in ((few, 40), (semi, 2 * 321), (every, 361)):
        assert recipe.training.epochs * math.ceil(images / BATCH) == pytest.approx(STEPS, rel=0.05)
        assert recipe.changed(data=few.data.model_dump(), training={"epochs": few.training.epochs}) == few
    few, semi, every = (resolve(planned(arm, 0, 16, labelled=4), tiny_pets, "cpu") for arm in ARMS)
    assert np.setdiff1d(semi.train_indices(tiny_pets), semi.unlabelled_indices(tiny_pets)).tolist() == sorted(
        few.train_indices(tiny_pets)
    )
    assert len(Trainer(semi, tiny_pets, build_network(semi)).train) == 24


@pytest.mark.slow
def test_the_command_writes_a_row_a_run_and_tells_the_differences(tiny_pets, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(semi_supervised, "open_pets", lambda _: tiny_pets)
    monkeypatch.setattr(
        semi_supervised, "planned", lambda arm, seed, train, steps: planned(arm, seed, train, steps, labelled=4)
    )
    semi_supervised.main(["--steps", "2", "--out", str(tmp_path / "table.csv")])
    table = pd.read_csv(tmp_path / "table.csv")
    assert table.groupby("arm")["seed"].apply(set).tolist() == [{0, 1, 2}] * 3
    assert table["dice_per_image"].between(0, 1).all()
    assert table["test_images"].unique().tolist() == [6]
    said = capsys.readouterr().out
    for arm in ARMS[1:]:
        rows = {name: table[table["arm"] == name]["dice_per_image"].mean() for name in (arm, ARMS[0])}
        assert f"{arm} minus {ARMS[0]}: {rows[arm] - rows[ARMS[0]]:+.3f}"[:-1] in said
