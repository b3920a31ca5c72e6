"""Evaluation, prediction and tables of a run, against the same things computed by hand."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score

from labkit import analysis
from labkit.data import load_arrays
from labkit.errors import LabError
from labkit.training import fit, open_run, parse_recipe

RECIPE = """
[data]
image_size = 32
[model]
name = "unet"
width = 8
depth = 3
[training]
learning_rate = 1e-2
epochs = 4
batch_size = 4
precision = "float32"
"""


@pytest.fixture
def run(tiny_pets, tmp_path):
    folder = tmp_path / "run"
    for _ in fit(parse_recipe(RECIPE, "a test"), tiny_pets, folder, device="cpu"):
        pass
    return open_run(folder)


def test_every_test_image_is_scored_and_every_number_is_sklearns(run, tiny_pets):
    summary, table = analysis.evaluate(run, tiny_pets, device="cpu", precision="float32")
    predictor = analysis.load_predictor(run, "cpu", "float32")
    test = tiny_pets.split("test")
    shares, truths = analysis.probabilities(predictor, tiny_pets, test)
    masks = (shares > 0.5).astype(int)
    dice = [f1_score(t.ravel(), m.ravel()) for t, m in zip(truths, masks, strict=True)]
    iou = [jaccard_score(t.ravel(), m.ravel()) for t, m in zip(truths, masks, strict=True)]
    assert table["name"].tolist() == [tiny_pets.items[p].name for p in test]
    np.testing.assert_allclose(table["dice"], dice, atol=1e-6)
    np.testing.assert_allclose(table["iou"], iou, atol=1e-6)
    assert summary["dice_per_image"] == pytest.approx(np.mean(dice))
    assert summary["dice_pooled"] == pytest.approx(f1_score(truths.ravel(), masks.ravel()))
    assert summary["iou_pooled"] == pytest.approx(jaccard_score(truths.ravel(), masks.ravel()))
    np.testing.assert_allclose(table["foreground"], truths.mean((1, 2)), atol=1e-6)


def test_the_summary_has_the_designs_keys_and_lies_in_the_run_folder(run, tiny_pets):
    summary, table = analysis.evaluate(run, tiny_pets, device="cpu", precision="float32")
    assert list(summary) == [
        *("data", "split", "images", "input_size", "scored_at", "loss", "dice_per_image", "dice_pooled"),
        *("iou_per_image", "iou_pooled", "dice_soft_batch"),
    ]
    folder = run.path / "evaluations" / f"{tiny_pets.label}-test-32"
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert len((folder / "images.csv").read_text().splitlines()) == len(table) + 1 == 7


def test_at_the_original_size_logits_are_enlarged_and_then_cut(run, tiny_pets):
    summary, table = analysis.evaluate(run, tiny_pets, scored_at="original", device="cpu", precision="float32")
    predictor = analysis.load_predictor(run, "cpu", "float32")
    arrays, mean = load_arrays(tiny_pets, 32), torch.tensor(run.recipe.data.mean)
    for position, dice in zip(tiny_pets.split("test"), table["dice"], strict=True):
        pixels = (torch.tensor(arrays.images[position]) / 255 - mean) / torch.tensor(run.recipe.data.std)
        with torch.no_grad():
            logits = predictor.model(pixels.permute(2, 0, 1)[None])
        trimap = tiny_pets.trimap(position)
        mask = F.interpolate(logits, size=trimap.shape, mode="bilinear", align_corners=False)[0, 0] > 0
        assert dice == pytest.approx(f1_score((trimap != 2).ravel(), mask.numpy().ravel()), abs=1e-6)
    assert summary["scored_at"] == "original"
    assert (run.path / "evaluations" / f"{tiny_pets.label}-test-original" / "summary.json").exists()


def test_a_weights_file_alone_gives_the_same_scores_and_keeps_nothing(run, tiny_pets, tmp_path):
    summary, _ = analysis.evaluate(run, tiny_pets, device="cpu", precision="float32")
    alone = tmp_path / "somewhere" / "weights.safetensors"
    alone.parent.mkdir()
    alone.write_bytes(run.weights.read_bytes())
    again, _ = analysis.evaluate(open_run(alone), tiny_pets, device="cpu", precision="float32")
    assert again == summary
    assert [p.name for p in alone.parent.iterdir()] == ["weights.safetensors"]


def test_images_that_were_trained_on_are_not_scored_under_another_split(own_pets, tmp_path):
    from labkit.data import open_pets

    folder = own_pets(24, 6)
    names = [pet.name for pet in open_pets(folder).items]
    mine = folder / "annotations" / "splits" / "mine"
    mine.mkdir(parents=True)
    for part, chosen in {"train": names[:16], "valid": names[16:20], "test_unet": names[20:]}.items():
        (mine / f"{part}.txt").write_text("\n".join(chosen))
    pets = open_pets(folder)
    for _ in fit(parse_recipe(RECIPE, "a test").changed(data={"split": "mine"}), pets, tmp_path / "run", device="cpu"):
        pass
    opened = open_run(tmp_path / "run")
    summary, _ = analysis.evaluate(opened, pets, "test_unet", device="cpu")
    assert (summary["images"], summary["split"]) == (4, "mine/test_unet")
    with pytest.raises(LabError, match="training images of this run"):
        analysis.evaluate(opened, pets, "official/test", device="cpu")


def test_masks_are_written_at_each_images_own_size_in_black_and_white(run, tiny_pets, tmp_path):
    positions = tiny_pets.split("test")[:3]
    files = [tiny_pets.image_path(p) for p in positions]
    predictor = analysis.load_predictor(run, "cpu")
    written = list(analysis.predict_files(predictor, files, tmp_path / "masks", probabilities=True))
    for source, target in zip(files, written, strict=True):
        with Image.open(source) as image, Image.open(target) as mask:
            assert (mask.size, mask.mode) == (image.size, "L")
            pixels = np.asarray(mask)
        assert set(np.unique(pixels)) <= {0, 255}
        with Image.open(target.with_name(f"{target.stem}-probability.png")) as share:
            np.testing.assert_array_equal(np.asarray(share) > 127.5, pixels == 255)


def test_two_images_of_one_name_do_not_overwrite_each_others_mask(run, tiny_pets, tmp_path):
    source = tiny_pets.image_path(0)
    (tmp_path / "b").mkdir()
    copy = tmp_path / "b" / source.name
    copy.write_bytes(source.read_bytes())
    with pytest.raises(LabError, match="would write one mask"):
        list(analysis.predict_files(analysis.load_predictor(run, "cpu"), [source, copy], tmp_path / "masks"))
    assert not (tmp_path / "masks").exists()


def test_mistakes_are_counted_by_their_distance_to_the_outline(run, tiny_pets):
    predictor = analysis.load_predictor(run, "cpu", "float32")
    positions = tiny_pets.split("test")
    table = analysis.error_by_distance(predictor, tiny_pets, positions, reach=4).set_index("distance")
    shares, truths = analysis.probabilities(predictor, tiny_pets, positions)
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


def test_best_worst_and_median_cases_are_picked_by_dice():
    import pandas as pd

    table = pd.DataFrame({"name": list("abcdefg"), "dice": [0.5, 0.9, 0.1, 0.7, 0.9, 0.3, 0.6]})
    cases = analysis.typical_cases(table, 3)
    assert cases["best"]["name"].tolist() == ["b", "e", "d"]
    assert cases["worst"]["name"].tolist() == ["c", "f", "a"]
    assert cases["median"]["name"].tolist() == ["d", "g", "a"]


def test_a_published_network_is_half_precision_with_recipe_and_history(run, tiny_pets, tmp_path):
    from labkit.training import publish

    publish(run, tmp_path / "small.safetensors")
    small = open_run(tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < 0.6 * run.weights.stat().st_size
    assert small.recipe == run.recipe
    assert small.history()["valid_dice"].round(5).tolist() == run.history()["valid_dice"].round(5).tolist()
    full, _ = analysis.evaluate(run, tiny_pets, device="cpu", keep=False)
    half, _ = analysis.evaluate(small, tiny_pets, device="cpu")
    assert half["dice_per_image"] == pytest.approx(full["dice_per_image"], abs=0.01)
