"""The splits of the slides: each tile is asked about once under both, by slide no slide is on both sides."""

import numpy as np
import pandas as pd

from benchmarks.splits import folds, main
from labkit.data import open_pets


def test_folds_are_fair_and_the_test_slides_stay_closed():
    slides = open_pets("slides")
    groups = np.array([item.breed for item in slides.items])
    asked = {"inside groups": [], "by group": []}
    for split, _, learned, held_out in folds(slides):
        asked[split].append(held_out)
        assert not np.isin(held_out, learned).any()
        assert not np.isin(slides.split("test"), np.concatenate([learned, held_out])).any()
        shared = np.isin(groups[held_out], groups[learned])
        assert shared.all() if split == "inside groups" else not shared.any()
    one, other = (np.sort(np.concatenate(parts)) for parts in asked.values())
    assert np.array_equal(one, other)
    assert len(np.unique(one)) == len(one)


def test_a_short_run_writes_a_row_a_training(tmp_path):
    main(["--epochs", "1", "--seeds", "1", "--out", str(tmp_path / "splits.csv")])
    rows = pd.read_csv(tmp_path / "splits.csv")
    assert len(rows) == 6
    assert rows[["nucleus", "cluster", "satellite"]].stack().between(0, 1).all()
