"""Values in masks: which are classes, which is the background, and what is refused."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labkit.data import get_pets
from labkit.data.classes import find_classes, parse_values
from labkit.errors import LabError
from tests.labkit.test_groups import draw_groups

SHAPE = (60, 80)


def scene(middle: int = 1, corner: int = 2, ground: int = 0) -> np.ndarray:
    """A large square in the middle and a small one inside it on the ground, which alone touches the edges."""
    values = np.full(SHAPE, ground, np.int32)
    values[10:50, 20:60] = middle
    values[10:25, 20:45] = corner
    return values


def save(folder: Path, *masks) -> list[Path]:
    """Save arrays or images as PNG (or as what an image says of itself)."""
    paths = []
    for i, mask in enumerate(masks):
        if isinstance(mask, np.ndarray):
            mask = Image.fromarray(mask.astype(np.uint8 if mask.max() < 256 else np.uint16))
        paths.append(folder / f"{i}.png")
        mask.save(paths[-1], format=mask.format or "PNG")
    return paths


def palette(indices: np.ndarray, *colors: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(np.array(colors, np.uint8).tobytes())
    return image


RED, GREEN, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize(
    ("ground", "pet"), [(0, 1), (0, 255), (0, 38), (255, 1), (200, 38), (1, 2), (2, 1), (254, 255), (1000, 60000)]
)
def test_two_values_are_background_and_foreground_whatever_they_are_called(tmp_path, ground, pet):
    values = scene(pet, pet, ground)
    classes = find_classes(save(tmp_path, values, values.T))
    assert classes.names == ("background", "class 1")
    assert classes.values == (ground, pet)
    assert np.array_equal(classes.mask(tmp_path / "1.png"), pet == values.T)


def test_black_is_the_background_even_where_it_touches_no_edge(tmp_path):
    classes = find_classes(save(tmp_path, scene(0, 0, 255)))
    assert classes.values == (0, 255)
    assert find_classes([tmp_path / "0.png"], mask_values=(255, 0)).values == (255, 0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((0, 38, 75), (0, 38, 75)),
        ((0, 75, 38), (0, 38, 75)),
        ((2, 1, 3), (2, 1, 3)),  # the values of a trimap: no 0, so the ground is the value at the edges
        ((0, 300, 65535), (0, 300, 65535)),
        ((0, 128, 254), (0, 128, 254)),
    ],
)
def test_several_values_are_consecutive_classes_in_ascending_order(tmp_path, found, expected):
    ground, middle, corner = found
    values = scene(middle, corner, ground)
    classes = find_classes(save(tmp_path, values))
    assert classes.values == expected
    assert classes.names == ("background", "class 1", "class 2")
    assert np.array_equal(np.array(expected)[classes.mask(tmp_path / "0.png")], values)
    table = classes.table()
    assert table["value"].tolist() == [str(value) for value in expected]
    assert table["share"].tolist() == pytest.approx([(values == value).mean() for value in expected], abs=1e-6)


@pytest.mark.parametrize(("found", "classes"), [((1, 255, 0), (0, 1)), ((38, 255, 0), (0, 38)), ((255, 7, 3), (3, 7))])
def test_255_beside_two_others_is_ignored_and_listed(tmp_path, found, classes):
    held = find_classes(save(tmp_path, scene(*found)))
    assert held.values == classes
    assert np.array_equal(held.mask(tmp_path / "0.png") == 255, scene(*found) == 255)
    assert held.table().iloc[-1][["value", "index", "class"]].tolist() == ["255", 255, "(ignored)"]
    assert find_classes([tmp_path / "0.png"], mask_values=(*classes, 255)).values == (*classes, 255)


def test_a_single_stray_pixel_is_not_saved_by_255(tmp_path):
    values = scene(255, 255)
    values[0, 0] = 1
    with pytest.raises(LabError, match=r"0\.png: holds 1, .*0 \(12,799 pixels\), 255 \(6,400 pixels\), 1 \(1 pixels\)"):
        find_classes(save(tmp_path, values, *[scene(255, 255)] * 3))


# --- colors and palettes


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colors_are_classes_and_white_is_one_of_them(tmp_path, mode):
    colors = np.array([BLACK, WHITE, RED, GREEN], np.uint8)
    indices = np.where(np.arange(SHAPE[1]) < 30, scene(), scene() * 3 % 4)
    image, other = (Image.fromarray(held[indices]).convert(mode) for held in (colors, colors[::-1]))
    classes = find_classes(save(tmp_path, image, other))
    assert classes.values == (0, 255, -0x00FF00, -0xFF0000)
    assert classes.table()["value"].tolist() == ["0", "255", "#00ff00", "#ff0000"]
    order = np.array([BLACK, WHITE, GREEN, RED], np.uint8)
    for path, drawn in zip((tmp_path / "0.png", tmp_path / "1.png"), (image, other), strict=True):
        assert np.array_equal(order[classes.mask(path)], np.asarray(drawn.convert("RGB")))


def test_palettes_whose_order_differs_are_read_by_color(tmp_path):
    one = palette(scene(), BLACK, RED, GREEN)
    two = palette(2 - scene(), GREEN, RED, BLACK)
    classes = find_classes(save(tmp_path, one, two))
    assert np.array_equal(classes.mask(tmp_path / "0.png"), classes.mask(tmp_path / "1.png"))


def test_palettes_that_agree_are_read_by_index_with_255_ignored(tmp_path):
    colors = [BLACK, GREEN, RED, *[(9, 9, 9)] * 252, (224, 224, 192)]
    classes = find_classes(save(tmp_path, palette(scene(), *colors), palette(scene(1, 255), *colors)))
    assert (classes.by_index, classes.values) == (True, (0, 1, 2))
    assert np.array_equal(classes.mask(tmp_path / "1.png"), scene(1, 255))
    assert find_classes([tmp_path / "0.png"], mask_values=parse_values("#ff0000,#00ff00,0")).values[0] == -0xFF0000


def test_palettes_that_tell_no_colors_apart_are_read_by_index(tmp_path):
    paths = save(tmp_path, *(palette(values, *[BLACK] * 3) for values in (scene(), scene(1, 1))))
    assert find_classes(paths).values == (0, 1, 2)
    gray = tmp_path / "gray.png"
    Image.fromarray(scene().astype(np.uint8)).save(gray)
    assert find_classes([*paths, gray]).values == (0, 1, 2)


def test_white_at_index_0_is_not_the_background(tmp_path):
    classes = find_classes(save(tmp_path, palette(1 - scene(1, 1), WHITE, BLACK)))
    assert np.array_equal(classes.mask(tmp_path / "0.png"), scene(1, 1))


@pytest.mark.parametrize("mode", ["1", "RGB", "LA", "RGBA", "I;16", "I;16B", "I", "F"])
def test_masks_of_any_mode_give_their_values(tmp_path, mode):
    values = scene(255, 255)
    deep = {"I;16": np.uint16, "I;16B": ">u2", "I": np.int32, "F": np.float32}.get(mode)
    image = Image.fromarray(values.astype(deep or np.uint8))
    image = image if deep else image.convert(mode)
    path = tmp_path / "0.tif"
    image.save(path)
    with Image.open(path) as kept:
        assert kept.mode == mode
    classes = find_classes([path])
    assert classes.values == (0, 255)
    assert np.array_equal(classes.mask(path), values == 255)


def test_transparent_pixels_are_black(tmp_path):
    colors = np.where(scene(1, 1)[..., None] == 1, (255, 0, 0, 255), (90, 80, 70, 0)).astype(np.uint8)
    assert find_classes(save(tmp_path, Image.fromarray(colors))).values == (0, -0xFF0000)


# --- what is refused


def through_jpeg(values: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(values: np.ndarray, by: float, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.uint8)).resize([int(by * side) for side in SHAPE[::-1]], how))


def round_pet(*values: int) -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    return np.array([0, *values])[(np.hypot(y - 30, x - 40) < 25).astype(int) + (np.hypot(y - 30, x - 30) < 12)]


SMEARED = {
    **{f"JPEG {q}": through_jpeg(round_pet(255, 255), q) for q in (30, 75, 95)},
    "JPEG of three": through_jpeg(round_pet(38, 75), 75),
    "twice as large": resized(round_pet(255, 255), 2, Image.BILINEAR),
    "smaller": resized(round_pet(255, 255), 0.5, Image.BILINEAR),
    "0 and 2 give 1": resized(scene(2, 2), 2, Image.BILINEAR),
}


@pytest.mark.parametrize("kind", SMEARED)
def test_smears_are_never_classes(tmp_path, kind):
    with pytest.raises(LabError, match=r"0\.png: holds \d+, one of \d+ values that .* as lossy files leave; .*without"):
        find_classes(save(tmp_path, SMEARED[kind], *[SMEARED[kind]] * 2))


def test_a_stray_pixel_is_refused_with_its_file_and_counts_and_both_ways_out(tmp_path):
    stray = scene()
    stray[5, 5] = 7
    paths = save(tmp_path, *[scene()] * 2, stray)
    with pytest.raises(LabError, match=r"2\.png: holds 7, one of 1 values .*7 \(1 pixels\).*--ignore 7"):
        find_classes(paths)
    ignored = find_classes(paths, ignore=(7,))
    assert (ignored.values, ignored.mask(paths[2])[5, 5]) == ((0, 1, 2), 255)
    assert find_classes(paths, mask_values=(0, 1, 2, 7)).mask(paths[2])[5, 5] == 3
    with pytest.raises(LabError, match=r"2\.png: holds 7, one of 1 values that are not named"):
        find_classes(paths, mask_values=(0, 1, 2))


@pytest.mark.parametrize("values", [np.zeros(SHAPE, int), np.full(SHAPE, 9)])
def test_masks_of_one_value_are_refused(tmp_path, values):
    with pytest.raises(LabError, match=r"0\.png: the masks hold [09] \(4,800 pixels\); name 2"):
        find_classes(save(tmp_path, values))


def test_numbers_that_are_no_values_of_a_mask_are_refused(tmp_path):
    for number, wrong in enumerate((np.float32(0.5), np.float32(np.nan), np.int32(-1), np.int32(70000))):
        path = tmp_path / f"{number}.tif"
        Image.fromarray(np.full(SHAPE, wrong)).save(path)
        with pytest.raises(LabError, match=rf"{number}\.tif: a mask holds whole numbers from 0 to 65535, found"):
            find_classes([path])


@pytest.mark.parametrize("ending", ["jpg", "png", "JPEG"])
def test_masks_in_jpeg_are_refused_and_not_led_into_the_same_trap(tmp_path, lab_home, ending):
    source = draw_groups(tmp_path / "source")
    mask = source / "masks" / "B" / "tile_0.png"
    mask.unlink()
    Image.fromarray(scene().astype(np.uint8)).save(mask.with_suffix(f".{ending}"), "JPEG")
    with pytest.raises(
        LabError, match=rf"tile_0\.{ending}: the mask is stored as JPEG.*converted copy keeps the smears"
    ):
        get_pets(tmp_path / "new", source)


# --- names


def test_names_follow_the_order_of_the_values(tmp_path):
    paths = save(tmp_path, scene(75, 38))
    assert find_classes(paths, ("ground", "ear", "pet")).table()["class"].tolist() == ["ground", "ear", "pet"]
    assert find_classes(paths, ("ground", "pet", "ear"), (0, 75, 38)).values == (0, 75, 38)
    with pytest.raises(LabError, match=r"classes\.txt: 2 names for 3 classes.*75"):
        find_classes(paths, ("ground", "pet"))


def test_values_below_the_number_of_names_are_the_names_indices_however_rare(tmp_path):
    values = scene(4, 255)
    values[0, 0] = 2
    classes = find_classes(save(tmp_path, values, *[scene(4, 4)] * 3), tuple("abcde"))
    assert (classes.values, classes.names) == ((0, 1, 2, 3, 4), tuple("abcde"))
    assert np.array_equal(classes.mask(tmp_path / "0.png"), values)
    two = find_classes(save(tmp_path, scene(255, 255)), ("ground", "pet"))
    assert np.array_equal(two.mask(tmp_path / "0.png"), scene(1, 1))


@pytest.mark.parametrize(
    ("text", "values"),
    [("0,38,75", (0, 38, 75)), (" 255 , 0", (255, 0)), ("#000000,#ff0000,red", (0, -0xFF0000, -0xFF0000))],
)
def test_values_are_parsed(text, values):
    assert parse_values(text) == values


@pytest.mark.parametrize("text", ["", "0;1", "0,cat", "-1", "0,#12"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(LabError, match=r"such as 0,38,75"):
        parse_values(text)


def test_a_value_that_is_named_twice_is_refused(tmp_path):
    paths = save(tmp_path, scene())
    for values, ignore in (((0, 1, 1, 2), ()), ((0, 1, 2), (2,))):
        with pytest.raises(LabError, match="no value twice"):
            find_classes(paths, mask_values=values, ignore=ignore)


# --- the command


def test_the_command_prints_classes_and_shares_and_keeps_the_table(shell, tmp_path):
    source = draw_groups(tmp_path / "source", values=(0, 38, 75))
    words = ("data", "get", "--data", tmp_path / "new", "--from", source)
    status, out, err = shell(*words, "--mask-values", "0,75,38")
    assert status == 0, err
    kept = pd.read_csv(tmp_path / "new" / "oxford-iiit-pet" / "annotations" / "mask-values.csv", dtype={"value": str})
    assert kept.values.tolist() == [
        ["0", 0, "background", 0.75],
        ["75", 1, "class 1", 0.125],
        ["38", 2, "class 2", 0.125],
    ]
    assert out.splitlines()[-3:] == kept.to_string(index=False).splitlines()[1:]
    status, again, _ = shell(*words[:4])
    assert (status, again) == (0, out)
    status, copied, _ = shell("data", "get", "--data", tmp_path / "two", "--from", tmp_path / "new")
    assert (status, copied.splitlines()[1:]) == (0, out.splitlines()[1:])
    assert shell(*words[:4], "--ignore", "7")[0] == 1


def test_values_of_masks_are_refused_for_the_official_layout(shell, tiny_root):
    words = ("data", "get", "--data", tiny_root.with_name("n"), "--from", tiny_root, "--mask-values", "1,2")
    status, _, err = shell(*words)
    assert (status, "official layout" in err) == (1, True)
