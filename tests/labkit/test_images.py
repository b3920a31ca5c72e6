"""Image files of every depth and orientation, and what is said of those that cannot be read."""

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit.data import read_image
from labkit.errors import LabError

RAMP = np.arange(0, 256, 3).repeat(8).reshape(-1, 16)[:40].astype(np.float64)  # 0 to 237
RAMP[-1, -1] = 255


# --- depth

DEEP = {
    "16 bits": (RAMP * 257).astype(np.uint16),
    "16 bits, big-endian": (RAMP * 257).astype(">u2"),
    "12 bits in 16": (RAMP * 16 + 15).astype(np.uint16),
    "10 bits in 16": (RAMP * 4).astype(np.uint16),
    "14 bits in 32": (RAMP * 64).astype(np.int32),
    "8 bits in 16": RAMP.astype(np.uint16),
    "8 bits in 32": RAMP.astype(np.int32),
    "16 bits in 32": (RAMP * 257).astype(np.int32),
    "floats to 1": (RAMP / 255).astype(np.float32),
    "floats to 255": RAMP.astype(np.float32),
    "floats to 4095": (RAMP * 4095 / 255).astype(np.float32),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_gray_comes_out_as_bright_as_it_is(tmp_path, kind):
    path = tmp_path / "a.tif"
    Image.fromarray(DEEP[kind]).save(path)
    image = read_image(path).astype(int)
    assert np.abs(image - RAMP[..., None]).max() <= 1


def test_one_bit_more_halves_the_brightness(tmp_path):
    for top, seen in ((0, 0), (255, 255), (256, 128), (511, 255), (512, 128), (4095, 255), (4096, 128), (65535, 255)):
        Image.fromarray(np.full((2, 2), top, np.uint16)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").max() == seen, top


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.int32([[-5, 200]]), "from -5 to 200"),
        (np.int32([[0, 70000]]), "from 0 to 70000"),
        (np.float32([[0, np.nan]]), "from nan to nan"),
        (np.float32([[0, np.inf]]), "from 0 to inf"),
        (np.float32([[-0.5, 0.5]]), "from -0.5 to 0.5"),
        (np.float32([[0, 1e6]]), r"from 0 to 1e\+06"),
    ],
)
def test_values_that_no_depth_holds_are_refused_with_their_range(tmp_path, values, found):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(LabError, match=rf"a\.tif: holds values {found}; bring them to"):
        read_image(tmp_path / "a.tif")


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """A color PNG of 16 bits a channel, which Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_color_of_16_bits_is_scaled_and_refused_where_only_12_are_used(tmp_path):
    pixels = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1).astype(int)
    path = tmp_path / "a.png"
    path.write_bytes(png_of_16_bits(pixels * 257))
    assert np.array_equal(read_image(path), pixels)
    path.write_bytes(png_of_16_bits(pixels * 16))
    with pytest.raises(LabError, match=r"a\.png: of its 16 bits a channel only the lower ones are used"):
        read_image(path)


# --- orientation

TURNS = {  # by the EXIF standard: where row 0 and column 0 of the stored pixels belong
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def save_turned(path: Path, pixels: np.ndarray, tag: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(pixels).save(path, kind, exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("tag", TURNS)
@pytest.mark.parametrize("width", [12, 18])
def test_an_image_is_turned_as_its_mask_is_and_where_size_cannot_tell_a_warning_says_so(tmp_path, tag, kind, width):
    path, mask = tmp_path / "a.jpg", tmp_path / "a.png"
    stored = np.random.default_rng(tag).integers(0, 256, (12, width, 3), dtype=np.uint8)
    if kind == "WEBP":
        stored[:] = 77, 88, 99  # lossy: the turn itself is proved by the others
    save_turned(path, stored, tag, kind)
    turned = TURNS[tag](stored)
    assert np.abs(read_image(path).astype(int) - turned).max() <= 4 * (kind == "WEBP")
    unsure = stored.shape == turned.shape
    for drawn in (stored, turned):
        Image.new("L", drawn.shape[1::-1]).save(mask)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = read_image(path, mask).astype(int)
        assert np.abs(found - (stored if unsure else drawn)).max() <= 4 * (kind == "WEBP")
        told = [f"{path}: has an EXIF turn, and size cannot tell" in str(one.message) for one in said]
        assert told == [True] * unsure


@pytest.mark.parametrize("tag", [None, 1, 0, 9])
def test_an_image_without_a_turn_is_read_as_it_is_without_a_warning(tmp_path, tag):
    path, pixels = tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    save_turned(path, pixels, tag, "PNG") if tag is not None else Image.fromarray(pixels).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_image(path, path), pixels)


def test_an_import_and_the_check_name_each_image_whose_turn_size_cannot_judge(shell, tmp_path):
    for name, tag in {"a": 3, "b": 6, "c": 6, "d": 1, "e": 8}.items():
        size = (20, 20) if name == "b" else (20, 24)
        mask = np.zeros(size if name != "e" else size[::-1], np.uint8)
        mask[:8] = 1
        for part, pixels in (("images", np.full((*size, 3), 90, np.uint8)), ("masks", mask)):
            (tmp_path / part).mkdir(exist_ok=True)
            save_turned(tmp_path / part / f"{name}.png", pixels, tag if part == "images" else 1, "PNG")
    status, _, err = shell("data", "get", "--data", tmp_path / "new", "--from", tmp_path)
    told = [line.partition(": has an EXIF turn")[0] for line in err.splitlines()]
    assert (status, sorted(told)) == (0, [f"warning: {tmp_path / 'images' / name}.png" for name in "ab"])
    status, out, err = shell("data", "check", "--data", tmp_path / "new")
    assert (status, "no problems" in out, err.count("warning: "), err.count("EXIF turn")) == (0, True, 2, 2)


# --- what cannot be read


def damaged(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:2000])


def too_large(path: Path) -> None:
    path.write_bytes(b"P5 14000 14000 255\n" + bytes(100))


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1", "is empty, no image, or of a kind that is not read here, such as HEIC"),
        (b"\n<!DOCTYPE html><html>", "is empty, no image"),
        (b"MM\0*\0\0\0\x08\0\0\0\0\0\0", "is empty, no image"),
        (b"", "is empty, no image"),
        (Path.mkdir, r"cannot be read \(Is a directory\); name an image file"),
        (too_large, r"is damaged or too large \(.*196000000 pixels.*make it smaller"),
        (damaged, "the image is damaged .*copy it again"),
        (lambda path: path.with_suffix(".JPG").touch(), "the file is missing; .*which takes images of any ending"),
    ],
)
def test_an_image_that_cannot_be_read_is_told_by_its_cause(tmp_path, make, cause):
    path = tmp_path / "photo.jpg"
    path.write_bytes(make) if isinstance(make, bytes) else make(path)
    with pytest.raises(LabError, match=rf"photo\.jpg: .*{cause}"):
        read_image(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_image_without_the_right_to_read_is_told(tmp_path):
    damaged(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(LabError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read_image(tmp_path / "a.png")
