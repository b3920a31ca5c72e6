"""Masks and pictures of a whole split, from the shell."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

from labkit import analysis
from labkit.analysis.predictions import comparison
from labkit.data import open_pets
from labkit.painting import VERMILION
from labkit.training import fit
from tests.labkit.test_training import recipe


@pytest.fixture(scope="module")
def finished(tiny_root, lab_folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        return fit(recipe(), open_pets(tiny_root), tmp_path_factory.mktemp("runs") / "run", device="cpu")


def test_evaluate_writes_each_mask_at_its_own_size_and_a_picture_with_its_dice(
    shell, finished, tiny_root, tmp_path, monkeypatch
):
    titles, pets = {}, open_pets(tiny_root)
    monkeypatch.setattr(
        analysis.predictions,
        "comparison",
        lambda image, found, truth, title, *how: (
            titles.update({title.split(":")[0]: (title, image, truth)}) or comparison(image, found, truth, title, *how)
        ),
    )
    masks, pictures = tmp_path / "masks", tmp_path / "pictures"
    words = ("evaluate", finished.path, "--data", tiny_root, "--device", "cpu", "--masks", masks)
    status, out, err = shell(*words, "--pictures", pictures)
    assert status == 0, err
    assert "dice per image" in out
    assert "loss" in out
    assert f"6  files in {masks}, {pictures} each" in out
    test = {pets.items[index].name: index for index in pets.split("test")}
    assert {path.stem for path in masks.glob("*.png")} == {path.stem for path in pictures.glob("*.png")} == set(test)
    for name, index in test.items():
        with Image.open(masks / f"{name}.png") as mask, Image.open(pictures / f"{name}.png") as picture:
            found, trimap = np.asarray(mask) == 255, pets.trimap(index)
            height, width = trimap.shape
            assert found.shape == trimap.shape
            assert picture.size[0] >= 3 * width
            assert picture.size[1] > height
            assert np.array_equal(np.asarray(picture)[-height:, :width], pets.image(index))
        title, _, truth = titles[name]
        assert np.array_equal(truth, trimap != 2)
        assert title == f"{name}: Dice {f1_score((trimap != 2).ravel(), found.ravel()):.4f}"


def test_wrong_pixels_are_red_where_that_is_asked_for(finished, tiny_root, shell, tmp_path):
    image = np.full((20, 30, 3), 90, np.uint8)
    truth, found = np.zeros((2, 20, 30), np.uint8)
    truth[5:15, 5:15], found[5:15, 10:20] = 1, 1
    sheets = [np.asarray(comparison(image, found, truth, "a", how)).astype(int) for how in (False, True)]
    left = 30 + 4
    reds = [sheet[44:, left : left + 30, 0] - sheet[44:, left : left + 30, 2] for sheet in sheets]
    wrong = found != truth
    assert (reds[1][wrong] > 0.5 * (VERMILION[0] - VERMILION[2])).all()
    assert (reds[1][~wrong] == 0).all()
    assert ((reds[0] != 0) == (found == 1)).all()
    name = open_pets(tiny_root).items[open_pets(tiny_root).split("test")[0]].name
    for folder, more in (("a", ()), ("b", ("--right-and-wrong",))):
        words = ("evaluate", finished.path, "--data", tiny_root, "--device", "cpu", *more)
        assert shell(*words, "--pictures", tmp_path / folder)[0] == 0
    one, other = ((tmp_path / folder / f"{name}.png").read_bytes() for folder in "ab")
    assert one != other


def test_predict_gives_a_file_the_mask_that_evaluate_gives_it(shell, finished, tiny_root, tmp_path):
    pets = open_pets(tiny_root)
    words = ("evaluate", finished.path, "--split", "valid", "--data", tiny_root, "--device", "cpu")
    status, out, err = shell(*words, "--masks", tmp_path / "split")
    assert (status, f"2  files in {tmp_path / 'split'}" in out) == (0, True), err
    files = [pets.image_path(index) for index in pets.split("valid")]
    assert shell("predict", finished.path, "--device", "cpu", *files, "--out", tmp_path / "files")[0] == 0
    for file in files:
        pair = [np.asarray(Image.open(tmp_path / folder / f"{file.stem}.png")) for folder in ("split", "files")]
        assert np.array_equal(*pair)


def test_a_file_in_the_way_is_said_before_anything_is_scored_or_written(shell, finished, tiny_root, tmp_path):
    pets = open_pets(tiny_root)
    name, masks = pets.items[pets.split("test")[-1]].name, tmp_path / "masks"
    masks.mkdir()
    (masks / f"{name}.png").write_text("mine")
    words = ("evaluate", finished.path, "--data", tiny_root, "--device", "cpu")
    status, out, err = shell(*words, "--masks", masks, "--pictures", tmp_path / "pictures")
    assert (status, out) == (1, "")
    assert f"{name}.png: is there already, and labkit has not written it" in err
    assert [path.name for path in masks.iterdir()] == [f"{name}.png"]
    assert not (tmp_path / "pictures").exists()
    status, _, err = shell(*words, "--masks", tmp_path / "one", "--pictures", tmp_path / "one")
    assert status == 1
    assert "two results would be written there" in err
    trimaps = pets.trimap_path(0).parent
    status, _, err = shell(*words, "--masks", trimaps)
    assert status == 1
    assert "is an input" in err


def test_masks_of_several_classes_are_palette_images(lab_home, tiny_pets, tmp_path):
    what = recipe(data={"target": "species"}, training={"loss": "cross-entropy+dice", "epochs": 1})
    predictor = analysis.load_predictor(fit(what, tiny_pets, tmp_path / "run", device="cpu"), "cpu")
    found = analysis.predict_split(predictor, tiny_pets, "valid", tmp_path / "masks", tmp_path / "pictures")
    names = [name for name, _ in found]
    assert len(names) == 2
    for name in names:
        with Image.open(tmp_path / "masks" / f"{name}.png") as mask:
            assert mask.mode == "P"
            image = tiny_pets.image(tiny_pets.indices[name])
            assert torch.equal(torch.from_numpy(np.array(mask)).long(), predictor.image_logits(image).argmax(0))
