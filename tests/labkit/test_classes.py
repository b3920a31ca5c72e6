"""Values in masks: which are classes, which is the background, and what is refused."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labkit.data import get_pets
from labkit.data.classes import class_mask, find_classes, parse_values
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
            mask = Image.fromarray(mask.astype(np.uint8))
        paths.append(folder / f"{i}.png")
        mask.save(paths[-1], format=mask.format or "PNG")
    return paths


def told(table: pd.DataFrame) -> dict[str, int]:
    """The value of each class, in the order of their indices."""
    classes = table[table["index"] != 255]
    assert classes["index"].tolist() == list(range(len(classes)))
    return dict(zip(classes["class"], classes["value"], strict=True))


def values_of(paths: list[Path], *words, **options) -> tuple[int, ...]:
    return tuple(told(find_classes(paths, *words, **options)).values())


def palette(indices: np.ndarray, *colors: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(np.array(colors, np.uint8).tobytes())
    return image


RED, GREEN, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize(
    ("ground", "pet"), [(0, 1), (0, 255), (0, 38), (255, 1), (200, 38), (1, 2), (2, 1), (254, 255)]
)
def test_two_values_are_background_and_foreground_whatever_they_are_called(tmp_path, ground, pet):
    values = scene(pet, pet, ground)
    classes = find_classes(save(tmp_path, values, values.T))
    assert told(classes) == {"background": ground, "class 1": pet}
    assert np.array_equal(class_mask(tmp_path / "1.png", classes), pet == values.T)


def test_black_is_the_background_even_where_it_touches_no_edge(tmp_path):
    paths = save(tmp_path, scene(0, 0, 255))
    assert values_of(paths) == (0, 255)
    assert values_of(paths, mask_values=(255, 0)) == (255, 0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((0, 38, 75), (0, 38, 75)),
        ((0, 75, 38), (0, 38, 75)),
        ((2, 1, 3), (2, 1, 3)),  # the values of a trimap: no 0, so the ground is the value at the edges
        ((0, 128, 254), (0, 128, 254)),
    ],
)
def test_several_values_are_consecutive_classes_in_ascending_order(tmp_path, found, expected):
    ground, middle, corner = found
    values = scene(middle, corner, ground)
    classes = find_classes(save(tmp_path, values))
    assert told(classes) == dict(zip(("background", "class 1", "class 2"), expected, strict=True))
    assert np.array_equal(np.array(expected)[class_mask(tmp_path / "0.png", classes)], values)
    assert classes["share"].tolist() == pytest.approx([(values == value).mean() for value in expected], abs=1e-6)


@pytest.mark.parametrize(("found", "classes"), [((1, 255, 0), (0, 1)), ((38, 255, 0), (0, 38)), ((255, 7, 3), (3, 7))])
def test_255_beside_two_others_is_ignored_and_listed(tmp_path, found, classes):
    held = find_classes(save(tmp_path, scene(*found)))
    assert tuple(told(held).values()) == classes
    assert np.array_equal(class_mask(tmp_path / "0.png", held) == 255, scene(*found) == 255)
    assert held.iloc[-1][["value", "index", "class"]].tolist() == [255, 255, "(ignored)"]
    assert values_of([tmp_path / "0.png"], mask_values=(*classes, 255)) == (*classes, 255)


def test_a_single_stray_pixel_is_not_saved_by_255(tmp_path):
    values = scene(255, 255)
    values[0, 0] = 1
    with pytest.raises(LabError, match=r"0\.png: holds 1, .*0 \(12,799 pixels\), 255 \(6,400 pixels\), 1 \(1 pixels\)"):
        find_classes(save(tmp_path, values, *[scene(255, 255)] * 3))


# --- palettes and modes


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_mask_in_colors_is_refused(tmp_path, mode):
    colors = np.array([BLACK, WHITE, RED], np.uint8)
    with pytest.raises(LabError, match=r"1\.png: the mask is in colors; save it with one number a pixel"):
        find_classes(save(tmp_path, scene(), Image.fromarray(colors[scene()]).convert(mode)))


def test_palettes_whose_order_differs_are_refused(tmp_path):
    one = palette(scene(), BLACK, RED, GREEN)
    two = palette(2 - scene(), GREEN, RED, BLACK)
    with pytest.raises(LabError, match=r"1\.png: the value [02] has another color than in the masks before it"):
        find_classes(save(tmp_path, one, two))
    with pytest.raises(LabError, match=r"1\.png: the value [12] has another color"):
        find_classes(save(tmp_path, one, scene()))


def test_palettes_that_agree_are_read_by_index_with_255_ignored(tmp_path):
    colors = [BLACK, GREEN, RED, *[(9, 9, 9)] * 252, (224, 224, 192)]
    classes = find_classes(save(tmp_path, palette(scene(), *colors), palette(scene(1, 255), *colors)))
    assert tuple(told(classes).values()) == (0, 1, 2)
    assert np.array_equal(class_mask(tmp_path / "1.png", classes), scene(1, 255))


def test_black_is_the_background_of_a_palette_whatever_its_index(tmp_path):
    assert values_of(save(tmp_path, palette(scene(2, 2), RED, GREEN, BLACK))) == (2, 0)


def test_palettes_of_grays_are_read_as_gray_whatever_their_order(tmp_path):
    one, two = palette(scene(1, 1), BLACK, WHITE), palette(1 - scene(1, 1), WHITE, BLACK)
    paths = save(tmp_path, one, two, scene(255, 255))
    classes = find_classes(paths)
    assert tuple(told(classes).values()) == (0, 255)
    for path in paths:
        assert np.array_equal(class_mask(path, classes), scene(1, 1))


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
    assert tuple(told(classes).values()) == (0, 255)
    assert np.array_equal(class_mask(path, classes), values == 255)


def test_transparent_pixels_are_black(tmp_path):
    colors = np.where(scene(1, 1)[..., None] == 1, (255, 255, 255, 255), (90, 80, 70, 0)).astype(np.uint8)
    assert values_of(save(tmp_path, Image.fromarray(colors))) == (0, 255)


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
    "gray photo": np.random.default_rng(0).normal(128, 20, SHAPE).clip(0, 255),
}


@pytest.mark.parametrize("kind", SMEARED)
def test_smears_are_never_classes(tmp_path, kind):
    with pytest.raises(LabError, match=r"0\.png: holds \d+, one of \d+ values that .* as lossy files leave them; "):
        find_classes(save(tmp_path, SMEARED[kind], *[SMEARED[kind]] * 2))


def test_a_stray_pixel_is_refused_with_its_file_and_counts_and_the_way_out(tmp_path):
    stray = scene()
    stray[5, 5] = 7
    paths = save(tmp_path, *[scene()] * 2, stray)
    with pytest.raises(LabError, match=r"2\.png: holds 7, one of 1 values .*7 \(1 pixels\).*--mask-values 0,1"):
        find_classes(paths)
    ignored = find_classes(paths, mask_values=(0, 1, 2))
    assert (tuple(told(ignored).values()), class_mask(paths[2], ignored)[5, 5]) == ((0, 1, 2), 255)
    assert ignored.iloc[-1][["value", "class", "share"]].tolist() == [7, "(ignored)", round(1 / 14400, 6)]
    assert class_mask(paths[2], find_classes(paths, mask_values=(0, 1, 2, 7)))[5, 5] == 3


def test_named_values_of_which_the_masks_hold_less_than_two_are_refused(tmp_path):
    with pytest.raises(LabError, match=r"0\.png: the masks hold 0 .*, 255 .*; name 2 to 255 classes"):
        find_classes(save(tmp_path, scene(255, 255)), mask_values=(0, 1))


@pytest.mark.parametrize("values", [np.zeros(SHAPE, int), np.full(SHAPE, 9)])
def test_masks_of_one_value_are_refused(tmp_path, values):
    with pytest.raises(LabError, match=r"0\.png: the masks hold [09] \(4,800 pixels\); name 2"):
        find_classes(save(tmp_path, values))


def test_numbers_that_are_no_values_of_a_mask_are_refused(tmp_path):
    for number, wrong in enumerate((np.float32(0.5), np.float32(np.nan), np.int32(-1), np.int32(256))):
        path = tmp_path / f"{number}.tif"
        Image.fromarray(np.full(SHAPE, wrong)).save(path)
        with pytest.raises(LabError, match=rf"{number}\.tif: a mask holds whole numbers from 0 to 255, found"):
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
    assert told(find_classes(paths, ("ground", "ear", "pet"))) == {"ground": 0, "ear": 38, "pet": 75}
    assert told(find_classes(paths, ("ground", "pet", "ear"), (0, 75, 38))) == {"ground": 0, "pet": 75, "ear": 38}
    with pytest.raises(LabError, match=r"classes\.txt: 2 names for 3 classes.*75"):
        find_classes(paths, ("ground", "pet"))


def test_values_below_the_number_of_names_are_the_names_indices_however_rare(tmp_path):
    values = scene(4, 255)
    values[0, 0] = 2
    classes = find_classes(save(tmp_path, values, *[scene(4, 4)] * 3), tuple("abcde"))
    assert told(classes) == {name: value for value, name in enumerate("abcde")}
    assert np.array_equal(class_mask(tmp_path / "0.png", classes), values)
    two = find_classes(save(tmp_path, scene(255, 255)), ("ground", "pet"))
    assert np.array_equal(class_mask(tmp_path / "0.png", two), scene(1, 1))


@pytest.mark.parametrize(("text", "values"), [("0,38,75", (0, 38, 75)), (" 255 , 0", (255, 0))])
def test_values_are_parsed(text, values):
    assert parse_values(text) == values


@pytest.mark.parametrize("text", ["", "0;1", "0,cat", "0,#ff0000"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(LabError, match=r"such as 0,38,75"):
        parse_values(text)


def test_a_value_that_is_named_twice_is_refused(tmp_path):
    with pytest.raises(LabError, match="no value twice"):
        find_classes(save(tmp_path, scene()), mask_values=(0, 1, 1, 2))


# --- the command


def test_the_command_prints_classes_and_shares_and_keeps_the_table(shell, tmp_path):
    source = draw_groups(tmp_path / "source", values=(0, 38, 75))
    words = ("data", "get", "--data", tmp_path / "new", "--from", source)
    status, out, err = shell(*words, "--mask-values", "0,75,38")
    assert status == 0, err
    kept = pd.read_csv(tmp_path / "new" / "oxford-iiit-pet" / "annotations" / "mask-values.csv")
    assert kept.values.tolist() == [[0, 0, "background", 0.75], [75, 1, "class 1", 0.125], [38, 2, "class 2", 0.125]]
    assert "75,1,class 1,0.125\n38,2,class 2,0.125\n" in out
    status, again, _ = shell(*words[:4])
    assert (status, again) == (0, out)
    status, copied, _ = shell("data", "get", "--data", tmp_path / "two", "--from", tmp_path / "new")
    assert (status, copied.splitlines()[1:]) == (0, out.splitlines()[1:])
    assert shell(*words[:4], "--mask-values", "0,1")[0] == 1


def test_values_of_masks_are_refused_for_the_official_layout(shell, tiny_root):
    words = ("data", "get", "--data", tiny_root.with_name("n"), "--from", tiny_root, "--mask-values", "1,2")
    status, _, err = shell(*words)
    assert (status, "official layout" in err) == (1, True)
