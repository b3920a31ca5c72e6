"""The hand-in of 2026: masks that a decoder written from the definition reads back, names counted, a text counted."""

import csv

import numpy as np
import pytest
from PIL import Image

from course.hand_in import MOST_CHARACTERS
from labkit import analysis
from labkit.data import open_pets
from labkit.metrics import predicted_mask
from labkit.training import fit
from tests.conftest import REPOSITORY, real_archive
from tests.labkit.test_training import recipe


@pytest.fixture(scope="module")
def finished(tiny_root, lab_folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        chosen = recipe().changed(data={"target": "foreground_strict"})
        return fit(chosen, open_pets(tiny_root), tmp_path_factory.mktemp("runs") / "unet", device="cpu")


def decoded(text: str, width: int, height: int) -> np.ndarray:
    """From the definition: pixel 1 is top left, pixel 2 the one below it, and so on down each column."""
    mask = np.zeros((height, width), dtype=bool)
    numbers = [int(number) for number in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for pixel in range(start, start + length):
            column, row = divmod(pixel - 1, height)
            mask[row, column] = True
    return mask


def rows_of(path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def names(tiny_root):
    pets = open_pets(tiny_root)
    return [pets.items[index].name for index in pets.split("test")]


def test_each_mask_is_the_runs_own_at_the_images_size_in_the_lists_order(finished, tiny_root, shell, tmp_path, names):
    chosen = [names[3], "Abby_999", names[0], names[5]]
    (tmp_path / "test_unet.txt").write_text("\n".join(chosen) + "\n")
    out = tmp_path / "out"
    words = ("handin", finished.path, "--lists", tmp_path / "test_unet.txt", "--data", tiny_root, "--out", out)
    status, told, err = shell(*words, "--device", "cpu")
    assert status == 0, err
    header, *rows = rows_of(out / "test_unet.csv")
    assert header == ["image_id", "encoded_mask"]
    assert [name for name, _ in rows] == [names[3], names[0], names[5]]
    predictor, pets = analysis.load_predictor(finished, "cpu"), open_pets(tiny_root)
    for name, text in rows:
        with Image.open(pets.folder / "images" / f"{name}.jpg") as image:
            width, height = image.size
        logits = predictor.image_logits(pets.image(pets.indices[name]))
        assert np.array_equal(decoded(text, width, height), predicted_mask(logits[None])[0].numpy() == 1), name
    assert any(text for _, text in rows)
    assert "3 masks for 4 names" in told
    assert "left out: 1 (Abby_999)" in told
    assert (out / "test_unet-without-image.txt").read_text() == "Abby_999\n"
    assert "warning" not in err


def test_two_lists_and_two_runs_share_a_folder_and_a_draft(finished, tiny_root, shell, tmp_path, names):
    for name, part in (("a", names[:2]), ("b", names[2:4])):
        (tmp_path / f"{name}.txt").write_text("\n".join(part))
    fixed = ("--data", tiny_root, "--out", tmp_path / "out", "--device", "cpu")
    assert shell("handin", finished.path, "--lists", tmp_path / "a.txt", *fixed)[0] == 0
    status, told, _ = shell("handin", finished.weights, "--lists", tmp_path / "b.txt", *fixed)
    text = (tmp_path / "out" / "summary.txt").read_text()
    assert status == 0
    assert text.startswith("DRAFT")
    assert len(text.strip().split("\n\n")) == 3
    assert f"summary.txt: {len(text):,} of at most 2,000 characters" in told
    assert len(text) <= MOST_CHARACTERS
    (tmp_path / "out" / "summary.txt").write_text("My own words.\n")
    status, told, _ = shell("handin", finished.path, "--lists", tmp_path / "b.txt", *fixed)
    assert status == 0
    assert "summary.txt: 14 of" in told
    assert (tmp_path / "out" / "summary.txt").read_text() == "My own words.\n"


def test_a_summary_is_taken_up_to_2000_characters_and_not_one_more(finished, tiny_root, shell, tmp_path, names):
    (tmp_path / "a.txt").write_text(names[0])
    words = ["handin", finished.path, "--lists", tmp_path / "a.txt", "--data", tiny_root, "--out", tmp_path / "out"]
    words += ["--device", "cpu", "--summary", tmp_path / "mine.txt"]
    (tmp_path / "mine.txt").write_text("ä" * 2000, encoding="utf-8")
    assert shell(*words)[0] == 0
    assert (tmp_path / "out" / "summary.txt").read_text(encoding="utf-8") == "ä" * 2000
    (tmp_path / "mine.txt").write_text("ä" * 2001, encoding="utf-8")
    status, _, err = shell(*words)
    assert status == 1
    assert "2,001 characters" in err
    (tmp_path / "mine.txt").write_text("short", encoding="utf-8")
    assert shell(*words)[0] == 0
    assert shell(*words[:-2])[0] == 0  # without --summary: the text that lies there is no draft and stays
    assert (tmp_path / "out" / "summary.txt").read_text(encoding="utf-8") == "short"


def test_what_changes_the_scores_meaning_is_said(finished, tiny_root, shell, tmp_path, own_pets):
    pets = open_pets(tiny_root)
    trained = [pets.items[index].name for index in pets.split("train")][:3]
    (tmp_path / "a.txt").write_text("\n".join([*trained, trained[0]]))
    other = tmp_path / "other"
    fit(recipe().changed(training={"epochs": 1}), pets, other, device="cpu")
    fixed = ("--lists", tmp_path / "a.txt", "--data", tiny_root, "--out", tmp_path / "out", "--device", "cpu")
    status, _, err = shell("handin", other, *fixed)
    assert status == 0
    assert "3 of its names are training images of other" in err
    assert "trained on the target 'foreground'" in err
    assert "more than once" in err
    assert len(rows_of(tmp_path / "out" / "a.csv")) == 4
    folder = own_pets(6, 3)
    (folder / "images" / "Abby_1.jpg").write_bytes(b"no image")
    (tmp_path / "b.txt").write_text("Abby_1\nBombo_2")
    status, _, err = shell(
        "handin", finished.path, "--lists", tmp_path / "b.txt", "--data", folder, "--out", tmp_path / "b"
    )
    assert status == 1
    assert "Abby_1.jpg" in err
    assert [name for name, _ in rows_of(tmp_path / "b" / "b.csv")] == ["image_id", "Bombo_2"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such list"),
        ("# nothing\n", "no name stands there"),
        ("no_1\n", "none of its 1 names"),
        ("../x", "is no name of an image"),
    ],
)
def test_a_list_that_is_none_is_named(finished, tiny_root, shell, tmp_path, content, sentence):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_text(content)
    words = ("handin", finished.path, "--lists", path, "--data", tiny_root, "--out", tmp_path / "out")
    status, _, err = shell(*words)
    assert status == 1
    assert sentence in err
    assert not (tmp_path / "out").exists()


@pytest.mark.real
def test_the_lists_of_2026_with_original_files(shell, tmp_path, real_originals):
    lists = [real_archive("splits-2026") / f"{name}.txt" for name in ("test_unet", "test_res_unet")]
    words = [
        "handin",
        REPOSITORY / "weights" / "pets-128-unet.safetensors",
        "--data",
        real_originals.folder,
        "--out",
        tmp_path,
    ]
    status, told, err = shell(*words, *[word for path in lists for word in ("--lists", path)], "--device", "cpu")
    assert status == 0, err
    assert told.count("37 masks for 739 names") == 2
    assert told.count("left out: 702") == 2
    for path in lists:
        _, *rows = rows_of(tmp_path / f"{path.stem}.csv")
        dice = []
        for name, text in rows:
            truth = real_originals.trimap(real_originals.indices[name]) != 2
            found = decoded(text, truth.shape[1], truth.shape[0])
            dice.append(2 * (truth & found).sum() / (truth.sum() + found.sum()) if truth.any() else np.nan)
        assert len(rows) == 37
        assert np.nanmean(dice) > 0.88  # each mask is on its own image, upright, at its size
