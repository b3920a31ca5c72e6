"""Probabilities of single images, and where in them the mistakes lie, against scipy and the network itself."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from course import cases
from labkit import analysis
from labkit.errors import LabError
from tests.labkit.test_analysis import masks_of, trained


def test_mistakes_are_counted_by_their_distance_to_the_outline(tiny_pets, tmp_path):
    run = trained(tiny_pets, tmp_path / "run")
    predictor = analysis.load_predictor(run, "cpu", "float32")
    indices = tiny_pets.split("test")
    table = cases.error_by_distance(predictor, tiny_pets, indices, reach=4).set_index("distance")
    shares, truths = cases.probabilities(predictor, tiny_pets, indices)
    wrong = (shares > 0.5) != (truths == 1)
    # scipy's chessboard distance: 1 for the first pixel on the other side of the outline
    outside = np.stack([ndimage.distance_transform_cdt(t == 0, metric="chessboard") for t in truths])
    inside = np.stack([ndimage.distance_transform_cdt(t == 1, metric="chessboard") for t in truths])
    for distance in (0, 1, 2, 3):
        assert table.loc[distance, "pixels"] == (outside == distance + 1).sum()
        assert table.loc[distance, "errors"] == wrong[outside == distance + 1].sum()
        assert table.loc[-distance - 1, "pixels"] == (inside == distance + 1).sum()
    assert table.loc[4, "pixels"] == (outside > 4).sum()
    assert table["errors"].sum() == wrong.sum()


def test_the_distance_of_mistakes_is_that_of_pet_against_background(tiny_pets, tmp_path):
    run = trained(tiny_pets, tmp_path / "run", target="species")
    predictor = analysis.load_predictor(run, "cpu", "float32")
    table = cases.error_by_distance(predictor, tiny_pets, tiny_pets.split("test"))
    predictions, truths = masks_of(run, tiny_pets)
    assert table["errors"].sum() == ((predictions > 0) != (truths > 0)).sum()
    assert table["pixels"].sum() == truths.size


def test_a_network_of_several_classes_has_no_foreground_probability(tiny_pets, tmp_path):
    run = trained(tiny_pets, tmp_path / "run", target="trimap")
    with pytest.raises(LabError, match="3 classes"):
        cases.probabilities(analysis.load_predictor(run, "cpu"), tiny_pets, tiny_pets.split("test"))


def test_more_pixels_than_float32_can_count(monkeypatch):
    """2^24 + 1 is the first whole number that float32 does not have."""
    side = 4097  # an odd number of pixels, above 2^24
    one = (torch.ones(1, 1, side, side), torch.zeros(1, side, side, dtype=torch.long), torch.tensor([0]))
    monkeypatch.setattr(cases, "predict_batches", lambda *_: [one])
    table = cases.error_by_distance(None, None, np.array([0]), reach=1)
    assert table["pixels"].tolist() == table["errors"].tolist() == [0, 0, 0, side**2]
