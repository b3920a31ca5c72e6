"""Image files of every depth and orientation, and what is said of those that cannot be read."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit.data import get_pets, open_pets, read_image
from labkit.data.images import fitting_orientations
from labkit.errors import LabError
from tests.conftest import draw_pets

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


def test_one_bit_more_than_a_depth_holds_takes_the_next(tmp_path):
    for top, seen in ((255, 255), (256, 64), (1023, 255), (1024, 64), (4095, 255), (4096, 64), (16384, 64)):
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
def test_orientation_is_decided_by_size_and_else_by_word(tmp_path, tag, kind, width):
    path, mask = tmp_path / "a.jpg", tmp_path / "a.png"
    stored = np.random.default_rng(tag).integers(0, 256, (12, width, 3), dtype=np.uint8)
    if kind == "WEBP":
        stored[:] = 77, 88, 99  # lossy: the turn itself is proved by the others
    save_turned(path, stored, tag, kind)
    turned = TURNS[tag](stored)
    assert np.abs(read_image(path).astype(int) - turned).max() <= 4 * (kind == "WEBP")
    sizes = {"stored": stored.shape[:2], "exif": turned.shape[:2]}
    for drawn, other in (("stored", "exif"), ("exif", "stored")):
        Image.new("L", sizes[drawn][::-1]).save(mask)
        unsure = sizes["stored"] == sizes["exif"]
        assert fitting_orientations(path, mask) == (["stored", "exif"] if unsure else [drawn])
        for word in (drawn, other):
            expected = {"stored": stored, "exif": turned}[word if unsure else drawn]
            found = read_image(path, mask, word).astype(int)
            assert np.abs(found - expected).max() <= 4 * (kind == "WEBP")
        assert np.array_equal(read_image(path, mask), read_image(path, mask, "stored"))
    Image.new("L", (7, 5)).save(mask)
    assert fitting_orientations(path, mask) == []


@pytest.mark.parametrize("tag", [None, 1, 0, 9])
def test_an_image_without_a_turn_is_never_unsure(tmp_path, tag):
    path = tmp_path / "a.png"
    save_turned(path, np.zeros((5, 5, 3), np.uint8), tag, "PNG") if tag is not None else Image.new("L", (5, 5)).save(
        path
    )
    assert fitting_orientations(path, path) == []


def turned_source(root: Path, layout: str) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Four images of tags 3, 4, 6 and none; the stored pixels and the tag of each name."""
    tags, stored = dict(zip("abcd", (3, 4, 6, 1), strict=True)), {}
    if layout == "official":
        root = draw_pets(root, count=4, tests=1) / "oxford-iiit-pet"
        names = sorted(p.stem for p in (root / "images").iterdir())
    for i, (letter, tag) in enumerate(tags.items()):
        size = (20, 20) if tag == 6 else (20, 24)
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        mask = np.full(size, 2, np.uint8)
        mask[:8] = 1
        name = names[i] if layout == "official" else f"all_{letter}"
        image = root / "images" / f"{name if layout == 'official' else letter}.jpg"
        place = (
            root / "annotations" / "trimaps" / f"{name}.png"
            if layout == "official"
            else root / "masks" / f"{letter}.png"
        )
        for path in (image, place):
            path.parent.mkdir(parents=True, exist_ok=True)
        save_turned(image, pixels, tag, "PNG")
        Image.fromarray(mask).save(place)
        stored[name] = pixels
    return stored, dict(zip(stored, tags.values(), strict=True))


@pytest.mark.parametrize("layout", ["own", "official"])
@pytest.mark.parametrize("word", ["stored", "exif"])
def test_imported_images_carry_the_decision_whoever_reads_them(tmp_path, lab_home, layout, word):
    stored, tags = turned_source(tmp_path / "source", layout)
    said = []
    pets = get_pets(tmp_path / "new", tmp_path / "source", orientation=word, say=said.append)
    names = [name for name, tag in tags.items() if tag > 1]
    assert len(said) == 1
    assert said[0].startswith("3 of 4 images have an EXIF turn")
    assert f": {', '.join(names)}; taken by --orientation {word}" in said[0]
    for name, pixels in stored.items():
        path = pets.image_path(pets.indices[name])
        expected = TURNS[tags[name]](pixels) if word == "exif" and tags[name] > 1 else pixels
        with Image.open(path) as plain:
            assert plain.getexif().get(0x0112, 1) == 1
            assert np.array_equal(np.asarray(plain), expected)
        assert np.array_equal(read_image(path), expected)
        assert np.array_equal(pets.image(pets.indices[name]), expected)


def test_images_without_a_turn_are_copied_byte_by_byte_and_nothing_is_said(tmp_path, lab_home):
    folder = draw_pets(tmp_path / "own", count=4, tests=1) / "oxford-iiit-pet"
    said = []
    pets = get_pets(tmp_path / "new", folder, say=said.append)
    assert said == []
    assert [pets.image_path(i).read_bytes() for i in range(4)] == [
        open_pets(folder).image_path(i).read_bytes() for i in range(4)
    ]


def test_the_check_counts_what_size_cannot_judge_and_another_word_is_refused(shell, tmp_path):
    _, tags = turned_source(tmp_path / "source", "official")
    folder = tmp_path / "source" / "oxford-iiit-pet"
    status, out, err = shell("data", "check", "--data", folder)
    assert status == 0, err
    assert f"EXIF turns that size cannot judge: 3 ({', '.join(n for n, t in tags.items() if t > 1)})" in out
    words = ("data", "get", "--data", tmp_path / "new", "--from", folder, "--orientation")
    status, _, err = shell(*words, "upright")
    assert (status, "choose stored or exif" in err) == (1, True)
    status, out, err = shell(*words, "exif")
    assert (status, out.startswith("3 of 4 images")) == (0, True), err
    assert "EXIF" not in shell("data", "check", "--data", tmp_path / "new")[1]


# --- what cannot be read


def damaged(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:2000])


def too_large(path: Path) -> None:
    path.write_bytes(b"P5 14000 14000 255\n" + bytes(100))


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1", "is a HEIC photo; export it as JPEG or PNG"),
        (b"\0\0\0\x24ftypmif1\0\0\0\0heic", "is a HEIC photo"),
        (b"%PDF-1.7", "is a PDF"),
        (b"PK\3\4....", "is an archive or document"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS; .*git lfs pull"),
        (b"MM\0*\0\0\0\x08\0\0\0\0\0\0", "is a kind of TIFF or camera file"),
        (b"", "the file is empty"),
        (b"nothing of the kind", "is no image, damaged, or of a kind that is not read here"),
        (Path.mkdir, "is a folder, not an image"),
        (too_large, "the image has 196 megapixels, and more than 179 are not read; make it smaller"),
        (damaged, "the image is damaged .*copy it again"),
        (lambda path: path.with_suffix(".JPG").touch(), r"is missing, but photo\.JPG is there; rename it"),
        (lambda path: None, "the file is missing; check its name"),
    ],
)
def test_an_image_that_cannot_be_read_is_told_by_its_cause(tmp_path, make, cause):
    path = tmp_path / "photo.jpg"
    path.write_bytes(make) if isinstance(make, bytes) else make(path)
    with pytest.raises(LabError, match=rf"photo\.jpg: .*{cause}"):
        read_image(path)


def test_a_pattern_that_the_shell_left_as_it_was_is_told(tmp_path):
    with pytest.raises(LabError, match=r"\*\.jpg: the file is missing: no name fits this pattern"):
        read_image(tmp_path / "*.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_image_without_the_right_to_read_is_told(tmp_path):
    damaged(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(LabError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read_image(tmp_path / "a.png")
