import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import loading, loading_ways
from labkit.data import Augment, open_pets


@pytest.mark.parametrize("workers", [0, 1])
def test_both_ways_deliver_the_same_images_and_masks(tiny_pets, workers):
    batches = [np.array([3, 9, 1]), np.array([20, 4])]
    theirs, ours = (list(way(tiny_pets, 32, None, batches, workers)) for way in loading.WAYS.values())
    assert len(theirs) == len(ours) == 2
    for (image, mask), (other_image, other_mask) in zip(theirs, ours, strict=True):
        assert torch.allclose(image, other_image, atol=1e-5)
        assert torch.equal(mask, other_mask)
        assert image.std() > 0.3


@pytest.mark.real
def test_both_ways_deliver_the_same_real_originals(real_originals, lab_home):
    batches = [np.array([0, 100, 290]), np.array([7, 200])]
    theirs, ours = (list(way(real_originals, 64, None, batches, 0)) for way in loading.WAYS.values())
    for (image, mask), (other_image, other_mask) in zip(theirs, ours, strict=True):
        assert torch.allclose(image, other_image, atol=1e-5)
        assert torch.equal(mask, other_mask)


def test_torchvisions_transforms_do_what_the_recipe_says(tiny_pets):
    """A certain flip and nothing else, both ways; and colors that change the image but not the mask."""
    flipped, plain = (
        next(loading_ways.report_way(tiny_pets, 32, augment, [np.array([3, 9])], 0))
        for augment in (Augment(horizontal_flip=1), None)
    )
    arrays = next(loading_ways.array_way(tiny_pets, 32, Augment(horizontal_flip=1), [np.array([3, 9])], 0))
    assert torch.allclose(flipped[0], plain[0].flip(-1), atol=1e-5)
    assert torch.allclose(flipped[0], arrays[0], atol=1e-3)
    assert torch.equal(flipped[1], arrays[1])
    image, mask = next(loading_ways.report_way(tiny_pets, 32, Augment(brightness=0.5), [np.array([3, 9])], 0))
    assert (image - plain[0]).abs().max() > 0.05
    assert torch.equal(mask, plain[1])


@pytest.fixture(scope="module")
def table(tiny_root, tmp_path_factory) -> pd.DataFrame:
    """What a quick run writes, and a second one of a part after it."""
    out = tmp_path_factory.mktemp("loading")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(out / "home"))
        words = ["--quick", "--data", str(tiny_root), "--out", str(out)]
        loading.main(words)
        loading.main([*words, "--parts", "epochs"])
        return pd.read_csv(out / "loading.csv")


def test_a_quick_run_does_not_write_into_the_record(capsys):
    with pytest.raises(SystemExit):
        loading.main(["--quick"])
    assert "--quick measures nothing that a record should hold" in capsys.readouterr().err


def test_each_measured_case_has_one_row(table):
    assert table["what"].value_counts().to_dict() == {"pass": 8, "epoch": 2, "step": 1}
    passes = table[table["what"] == "pass"]
    assert len(passes.drop_duplicates(["way", "augmented", "workers"])) == 8
    for column in ("device", "cores", "threads", "torch", "rounds", "seed", "date"):
        assert table[column].notna().all(), column


@pytest.mark.parametrize(
    ("what", "columns"),
    [
        ("pass", ["images_per_second", "images", "ratio_to_reports"]),
        ("step", ["load_ms", "augment_ms", "step_ms", "share_of_step"]),
        ("epoch", ["images_per_second", "microseconds_per_image", "ratio_to_fewest"]),
    ],
)
def test_figures_are_positive_numbers(table, what, columns):
    assert (table.loc[table["what"] == what, columns] > 0).all(axis=None)


def test_ratios_and_shares_follow_from_the_figures_beside_them(table):
    passes = table[table["what"] == "pass"].set_index(["augmented", "workers", "way"]).sort_index()
    rates, ratios = passes["images_per_second"].unstack(), passes["ratio_to_reports"].unstack()
    assert np.allclose(ratios["arrays"], rates["arrays"] / rates["reports"], rtol=0.05)
    assert (ratios["reports"] == 1).all()
    step = table[table["what"] == "step"].iloc[0]
    assert step["share_of_step"] == pytest.approx((step["load_ms"] + step["augment_ms"]) / step["step_ms"], rel=0.02)


def test_repeated_arrays_hold_the_rows_of_the_data(tiny_pets, tmp_path):
    arrays = loading_ways.many_arrays(open_pets(tiny_pets.folder), tmp_path, 60, size=32)
    rows = loading.load_arrays(tiny_pets, 32)
    assert arrays.images.shape == (60, 32, 32, 3)
    for index in (0, 23, 24, 59):
        assert np.array_equal(arrays.images[index], rows.images[index % 24])
        assert np.array_equal(arrays.trimaps[index], rows.trimaps[index % 24])
