"""Run lengths: column by column from 1; the oracle is a decoder written from the definition, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from labkit.data.rle import read_rle, rle_decode, rle_encode
from labkit.errors import LabError

masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 7)))


def by_definition(text: str, height: int, width: int) -> np.ndarray:
    """Numbers the pixels from the top to the bottom of each column, from the left column to the right, from 1."""
    mask, number, numbers = np.zeros((height, width), dtype=bool), 0, list(map(int, text.split()))
    wanted = {start + i for start, length in zip(numbers[::2], numbers[1::2], strict=True) for i in range(length)}
    for column in range(width):
        for row in range(height):
            number += 1
            mask[row, column] = number in wanted
    return mask


def test_an_example_by_hand():
    mask = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 0, 1]])
    assert rle_encode(mask) == "3 2 9 1 12 1"
    assert rle_encode(np.zeros((4, 3))) == ""
    assert rle_encode(np.full((4, 3), 255)) == "1 12"


@given(mask=masks)
def test_what_is_encoded_means_the_mask_and_is_decoded_to_it(mask):
    text = rle_encode(mask)
    assert np.array_equal(by_definition(text, *mask.shape), mask)
    assert np.array_equal(rle_decode(text, mask.shape), mask)


@given(mask=masks)
def test_runs_are_as_long_as_can_be(mask):
    numbers = list(map(int, rle_encode(mask).split()))
    ends = [start + length for start, length in zip(numbers[::2], numbers[1::2], strict=True)]
    assert all(start > end for start, end in zip(numbers[2::2], ends, strict=False))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3 x", "'3 x' holds something that is no whole number"),
        ("3 2 9", "3 numbers; a start and a length"),
        ("3 0", "the run 3 0 is empty"),
        ("3 2 4 1", "the run 4 1 is empty, overlaps"),
        ("9 1 3 2", "out of order"),
        ("0 2", "the run 0 2 is empty, overlaps another, or is out of order"),
        ("12 2", "the run 12 2 leaves an image of 4x3 pixels"),
    ],
)
def test_a_text_that_means_no_mask_is_refused(text, sentence):
    with pytest.raises(LabError, match=sentence):
        rle_decode(text, (4, 3))


def test_masks_go_through_a_file_and_back(tmp_path, shell):
    rng, truth = np.random.default_rng(0), {}
    for name, size in (("a", (5, 7)), ("b", (8, 3)), ("empty", (4, 4))):
        truth[name] = (rng.random(size) > 0.5) & (name != "empty")
        for folder in ("masks", "images"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(truth[name]).convert("L").save(tmp_path / folder / f"{name}.png")
    status, out, _ = shell("rle", "encode", tmp_path / "masks", "--out", tmp_path / "out.csv")
    assert (status, "3 masks" in out) == (0, True)
    assert dict(read_rle(tmp_path / "out.csv")) == {name: rle_encode(mask) for name, mask in truth.items()}
    words = ["--images", tmp_path / "images", "--out", tmp_path / "back"]
    assert shell("rle", "decode", tmp_path / "out.csv", *words)[0] == 0
    for name, mask in truth.items():
        with Image.open(tmp_path / "back" / f"{name}.png") as image:
            assert np.array_equal(np.asarray(image), mask * 255)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,mask\na,1 2\n", "its first line is 'name,mask'; 'image_id,encoded_mask' is expected"),
        ("image_id,encoded_mask\na,1 2,3\n", "line 2: 3 columns"),
        ("image_id,encoded_mask\nb,1 2\n", "'b' is none of the images"),
        ("image_id,encoded_mask\na,1 99\n", "a: run lengths: the run 1 99 leaves an image of 2x2 pixels"),
    ],
)
def test_a_wrong_table_is_told(tmp_path, shell, text, sentence):
    (tmp_path / "t.csv").write_text(text)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.png")
    status, _, error = shell(
        "rle", "decode", tmp_path / "t.csv", "--images", tmp_path / "a.png", "--out", tmp_path / "o"
    )
    assert (status, sentence in error) == (1, True), error


def test_an_image_that_is_no_mask_is_refused(tmp_path, shell):
    Image.new("RGB", (3, 2), "red").save(tmp_path / "photo.png")
    status, _, error = shell("rle", "encode", tmp_path / "photo.png", "--out", tmp_path / "t.csv")
    assert (status, "photo.png: the mask is in colors; save it with one number a pixel" in error) == (1, True)
    assert not (tmp_path / "t.csv").exists()


def test_a_file_of_the_users_is_not_replaced(tmp_path, shell):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "mine.csv").write_text("mine")
    status, _, error = shell("rle", "encode", tmp_path / "a.png", "--out", tmp_path / "mine.csv")
    assert (status, (tmp_path / "mine.csv").read_text()) == (1, "mine")
    assert "labkit has not written it" in error
