import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from labkit.data import color_statistics, load_arrays, open_pets, pet_table, read_image, read_trimap
from labkit.data.lists import read_list, read_names
from labkit.errors import LabError

# listed in the lab's facts about the data: pets are visible, the trimaps are all background
EMPTY_TRIMAPS = {
    *("Egyptian_Mau_162", "Egyptian_Mau_165", "Egyptian_Mau_196", "leonberger_18", "miniature_pinscher_14"),
    *("saint_bernard_15", "saint_bernard_108"),
    *("Egyptian_Mau_20", "Persian_259", "japanese_chin_199", "keeshond_7", "saint_bernard_60", "saint_bernard_78"),
    "wheaten_terrier_195",
}


def checkered(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A picture in which no two corners are alike, `uint8 [height, width, channels]`."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, (x + y) * 255 // (height + width), 40 + x * 0]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


# --- lists


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Abby_2 one 1 1", "expected `name class-id species breed-id`"),
        ("Abby_2", "expected `name class-id species breed-id`"),
        ("Abby_2 1 3 1", "species 1 or 2"),
        ("Abby_2 0 1 1", "class id from 1"),
    ],
)
def test_bad_line_is_named_with_its_number(tmp_path, line, complaint):
    path = tmp_path / "list.txt"
    path.write_text(f"# a comment\n\nAbby_1 1 1 1\n{line}\nAbby_3 1 1 1\n")
    with pytest.raises(LabError, match=complaint) as refused:
        read_list(path)
    assert str(refused.value).startswith(f"{path}, line 4")


def test_name_that_stands_twice_is_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("Abby_1 1 1 1\nAbby_2 1 1 1\nAbby_1 1 1 1\n")
    with pytest.raises(LabError, match=r"list\.txt: 'Abby_1' stands there more than once"):
        read_list(path)


@pytest.mark.parametrize("content", [None, "", "# only a comment\n\n"])
def test_list_without_images_is_refused(tmp_path, content):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LabError, match=r"list\.txt"):
        read_list(path)


def test_windows_line_ends_endings_and_indented_comments_are_read(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"# comment\r\nAbby_1.jpg\r\n\r\n  # an indented comment\r\n Abby_2 1 1 1\r\n")
    assert read_names(path) == ["Abby_1", "Abby_2"]


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbfAbby_1\nAbby_2\n")
    assert read_names(path) == ["Abby_1", "Abby_2"]


@pytest.mark.parametrize("missing", ["images", "annotations"])
def test_folder_in_another_layout_is_refused(tmp_path, missing):
    for name in {"images", "annotations"} - {missing}:
        (tmp_path / name).mkdir()
    with pytest.raises(LabError, match=r"no images/ and annotations/ there"):
        open_pets(tmp_path)


# --- indices and splits


def test_official_split_by_hand(own_pets):
    folder = own_pets(count=14, tests=0)
    order = [pet.name for pet in open_pets(folder).items][::-1]  # list.txt backwards: places in it are not indices
    (folder / "annotations" / "trainval.txt").write_text("".join(f"{name} 1 1 1\n" for name in order[:12]))
    (folder / "annotations" / "test.txt").write_text("".join(f"{name} 1 1 1\n" for name in order[12:]))
    pets = open_pets(folder)
    names = {part: [pets.items[i].name for i in pets.split(part)] for part in ("train", "valid", "test")}
    assert names["valid"] == [order[0], order[10]]
    assert names["train"] == [*order[1:10], order[11]]
    assert names["test"] == order[12:]


@pytest.mark.parametrize("split", ["trainval", "test"])
def test_order_and_content_are_those_of_torchvision(tiny_root, tiny_pets, split):
    theirs = OxfordIIITPet(tiny_root, split=split, target_types="segmentation", download=False)
    labels = OxfordIIITPet(tiny_root, split=split, target_types=["category", "binary-category"], download=False)
    if split == "test":
        indices = tiny_pets.split("test").tolist()
    else:  # every tenth is ours for validation
        train, valid = tiny_pets.split("train").tolist(), tiny_pets.split("valid").tolist()
        indices = [(valid if i % 10 == 0 else train).pop(0) for i in range(len(train) + len(valid))]
    assert len(indices) == len(theirs) > 0
    for index, (image, trimap), (_, (category, binary)) in zip(indices, theirs, labels, strict=True):
        assert np.array_equal(tiny_pets.image(index), np.asarray(image))
        assert np.array_equal(tiny_pets.trimap(index), np.asarray(trimap))
        assert tiny_pets.class_ids[index] == category + 1
        assert tiny_pets.species[index] == binary + 1


def test_folder_and_its_parent_open_the_same_data(tiny_root, tiny_pets):
    inner = open_pets(tiny_root / "oxford-iiit-pet")
    assert inner.fingerprint == tiny_pets.fingerprint
    assert inner.items == tiny_pets.items


def test_fingerprint_follows_the_files_and_not_the_folder(own_pets, tmp_path):
    folder = own_pets()
    before = open_pets(folder).fingerprint
    elsewhere = folder.rename(tmp_path / "elsewhere")
    assert open_pets(elsewhere).fingerprint == before
    Image.new("RGB", (9, 9)).save(open_pets(elsewhere).image_path(0))
    assert open_pets(elsewhere).fingerprint != before


def test_own_split_keeps_its_order_and_names_what_is_missing(own_pets):
    folder = own_pets(count=4)
    splits = folder / "annotations" / "splits" / "mine"
    splits.mkdir(parents=True)
    (splits / "train.txt").write_text("dachso_4\nNobody_7\nAbby_1\nNobody_9\n")
    (splits / "val.txt").write_text("Bombo_2\n")
    (splits / "test_unet.txt").write_text("corgo_3\n")
    pets = open_pets(folder)
    assert pets.families() == ["official", "mine"]
    with pytest.warns(UserWarning, match=r"mine/train: 2 of 4 names .*: Nobody_7, Nobody_9$"):
        assert pets.split("train", "mine").tolist() == [3, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pets.split("valid", "mine").tolist() == [1]
        assert pets.split("test_unet", "mine").tolist() == [2]


def test_unknown_family_and_part_are_refused_with_the_known_ones(own_pets):
    folder = own_pets()
    (folder / "annotations" / "splits" / "mine").mkdir(parents=True)
    (folder / "annotations" / "splits" / "mine" / "train.txt").write_text("Abby_1\n")
    pets = open_pets(folder)
    with pytest.raises(LabError, match=r"'yours'.*official, mine"):
        pets.split("train", "yours")
    with pytest.raises(LabError, match=r"'mine' has no part 'test'; it has train"):
        pets.split("test", "mine")
    with pytest.raises(LabError, match=r"no part 'val'; it has train, valid, test"):
        pets.split("val")


def test_split_whose_names_are_all_foreign_is_refused(own_pets):
    folder = own_pets()
    (folder / "annotations" / "test.txt").write_text("Nobody_1 1 1 1\n")
    with pytest.raises(LabError, match="official/test: names no image"):
        open_pets(folder).split("test")


def test_table_gives_the_sizes_of_the_drawn_files(tiny_pets):
    table = pet_table(tiny_pets)
    assert table[["height", "width"]].values.tolist()[:6] == [list(tiny_pets.image(i).shape[:2]) for i in range(6)]
    assert table["breed"].tolist()[:4] == ["Abby", "Bombo", "corgo", "dachso"]
    assert table["species"].tolist()[:4] == ["cat", "cat", "dog", "dog"]


def test_color_statistics_are_numpys_over_all_pixels(tiny_pets):
    arrays, indices = load_arrays(tiny_pets, 32), tiny_pets.split("train")
    pixels = arrays.images[indices].astype(np.float64).reshape(-1, 3) / 255
    found = color_statistics(arrays, indices)
    assert found.mean == pytest.approx(pixels.mean(0), abs=1e-12)
    assert found.std == pytest.approx(pixels.std(0), abs=1e-9)


# --- pictures of all kinds


def test_png_with_alpha_that_is_called_jpg_loses_only_its_alpha(tmp_path):
    path, pixels = tmp_path / "a.jpg", checkered(12, 9, 4)
    Image.fromarray(pixels, "RGBA").save(path, "PNG")
    image = read_image(path)
    assert image.dtype == np.uint8
    assert np.array_equal(image, pixels[..., :3])


def test_palette_gif_gives_the_colors_of_its_palette(tmp_path):
    path = tmp_path / "a.jpg"
    colors = np.array([(255, 0, 0), (0, 128, 0), (10, 20, 250), (255, 255, 255)], dtype=np.uint8)
    indices = np.arange(12 * 9).reshape(12, 9) % 4
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette(colors.tobytes())
    picture.save(path, "GIF")
    assert np.array_equal(read_image(path), colors[indices])


def test_gray_picture_has_three_equal_channels(tmp_path):
    path, gray = tmp_path / "a.jpg", checkered(12, 9, 1)[..., 0]
    Image.fromarray(gray).save(path, "PNG")
    assert np.array_equal(read_image(path), np.repeat(gray[..., None], 3, axis=2))


def test_sixteen_bit_gray_is_scaled_and_not_clipped(tmp_path):
    path = tmp_path / "a.jpg"
    deep = np.array([[0, 255, 256, 32768], [40000, 65279, 65280, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(path, "PNG")
    assert np.array_equal(read_image(path), np.repeat((deep // 256).astype(np.uint8)[..., None], 3, axis=2))


def test_cmyk_jpeg_comes_out_in_its_colors(tmp_path):
    path = tmp_path / "a.jpg"
    inks = {"cyan": (255, 0, 0, 0), "magenta": (0, 255, 0, 0), "yellow": (0, 0, 255, 0), "black": (0, 0, 0, 255)}
    picture = np.repeat(np.array([list(inks.values())], dtype=np.uint8), 16, axis=0).repeat(16, axis=1)
    Image.fromarray(picture, "CMYK").save(path, "JPEG", quality=100, subsampling=0)
    seen = read_image(path)[8, 8::16].astype(int)
    expected = np.array([(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)])
    assert np.abs(seen - expected).max() <= 4


def rotated_by_exif(path, pixels: np.ndarray) -> None:
    """Save pixels that a reader of EXIF turns by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, "PNG", exif=exif)


@pytest.mark.parametrize(("size", "turned"), [((9, 12), True), ((12, 9), False)])
def test_exif_rotation_is_applied_only_if_the_trimap_then_fits(tmp_path, size, turned):
    path, trimap, pixels = tmp_path / "a.jpg", tmp_path / "a.png", checkered(12, 9)
    rotated_by_exif(path, pixels)
    Image.fromarray(np.full(size, 2, dtype=np.uint8)).save(trimap)
    assert np.array_equal(read_image(path, trimap), np.rot90(pixels, -1) if turned else pixels)


def test_exif_rotation_is_applied_without_a_trimap(tmp_path):
    rotated_by_exif(tmp_path / "a.jpg", checkered(12, 9))
    assert np.array_equal(read_image(tmp_path / "a.jpg"), np.rot90(checkered(12, 9), -1))


# --- what is damaged


def test_cut_jpeg_is_named(own_pets):
    pets = open_pets(own_pets())
    path = pets.image_path(2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LabError, match="damaged") as refused:
        pets.image(2)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("kind", ["image_path", "trimap_path"])
def test_missing_file_is_named(own_pets, kind):
    pets = open_pets(own_pets())
    path = getattr(pets, kind)(1)
    path.unlink()
    read = pets.image if kind == "image_path" else pets.trimap
    for ask in (lambda: read(1), lambda: load_arrays(pets, 32), lambda: pets.fingerprint):
        with pytest.raises(LabError, match="the file is missing") as refused:
            ask()
        assert str(path) in str(refused.value)


@pytest.mark.parametrize("value", [0, 4, 255])
def test_trimap_with_another_value_is_named_with_the_value(tmp_path, value):
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[1, 2], [3, value]], dtype=np.uint8)).save(path)
    with pytest.raises(LabError, match=rf"a\.png.*values 1, 2 and 3.*{value}"):
        read_trimap(path)


def test_trimap_in_color_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((4, 4, 3), 2, dtype=np.uint8)).save(path)
    with pytest.raises(LabError, match=r"a\.png.*one channel"):
        read_trimap(path)


def test_image_and_trimap_of_different_size_are_refused_with_both_sizes(own_pets):
    pets = open_pets(own_pets())
    Image.new("L", (31, 17), 2).save(pets.trimap_path(1))
    with pytest.raises(LabError, match=r"64x48|48x64.*31x17") as refused:
        load_arrays(pets, 32)
    assert str(pets.image_path(1)) in str(refused.value)


def test_decompression_bomb_is_refused_with_its_name(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"P5 30000 30000 255\n" + bytes(1000))  # a gray picture that would take 900 MB
    with pytest.raises(LabError, match=r"a\.jpg"):
        read_image(path)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(checkered(40, 56))
    (picture.convert("P") if kind == "GIF" else picture).save(buffer, kind)
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")}


@settings(max_examples=150)
@given(kind=st.sampled_from(list(FILES)), where=st.floats(0, 1), junk=st.binary(max_size=12))
def test_file_spoilt_anywhere_is_read_whole_or_refused(tmp_path_factory, kind, where, junk):
    """The rest is cut off, or overwritten from there on; nothing but a picture or a LabError may come of it."""
    content, place = FILES[kind], int(where * len(FILES[kind]))
    spoilt = content[:place] + junk + (content[place + len(junk) :] if junk else b"")
    path = tmp_path_factory.getbasetemp() / "spoilt.jpg"
    path.write_bytes(spoilt)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata
        try:
            image = read_image(path)
        except LabError:
            return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


# --- the real data


@pytest.mark.real
def test_real_official_split_has_the_known_sizes(real_pets):
    parts = {part: real_pets.split(part) for part in ("train", "valid", "test")}
    assert {part: len(indices) for part, indices in parts.items()} == {"train": 3312, "valid": 368, "test": 3669}
    assert len(set(np.concatenate(list(parts.values())).tolist())) == len(real_pets) == 7349
    assert len(real_pets.breeds) == 37
    assert len({pet.breed for pet in real_pets.items if pet.species == 1}) == 12


@pytest.mark.real
def test_real_order_is_that_of_torchvision(real_pets, tmp_path):
    (tmp_path / "oxford-iiit-pet").symlink_to(real_pets.folder)
    theirs = OxfordIIITPet(tmp_path, split="test", target_types="segmentation", download=False)
    indices = real_pets.split("test")
    assert [path.stem for path in theirs._images] == [real_pets.items[i].name for i in indices]
    for i in range(0, len(theirs), 400):
        image, trimap = theirs[i]
        assert np.array_equal(real_pets.image(indices[i]), np.asarray(image))
        assert np.array_equal(real_pets.trimap(indices[i]), np.asarray(trimap))


@pytest.mark.real
def test_real_empty_trimaps_are_the_known_fourteen(real_pets):
    table = pet_table(real_pets, load_arrays(real_pets, 128))
    assert set(table.loc[table["empty"], "name"]) == EMPTY_TRIMAPS
    assert len(EMPTY_TRIMAPS) == 14
    test = {real_pets.items[i].name for i in real_pets.split("test")}
    assert len(EMPTY_TRIMAPS & test) == 7


@pytest.mark.real
def test_real_training_images_have_the_known_mean_and_deviation(real_pets):
    arrays, indices = load_arrays(real_pets, 128), real_pets.split("train")
    found = color_statistics(arrays, indices)
    assert found.mean == pytest.approx((0.472, 0.444, 0.390), abs=5e-4)
    assert found.std == pytest.approx((0.265, 0.260, 0.268), abs=5e-4)
    sums = np.zeros((2, 3))
    for chunk in np.array_split(indices, 16):
        pixels = np.stack([np.asarray(Image.open(real_pets.image_path(i)).convert("RGB")) for i in chunk]) / 255
        sums += pixels.sum((0, 1, 2)), (pixels**2).sum((0, 1, 2))
    mean, square = sums / (len(indices) * 128 * 128)
    assert found.mean == pytest.approx(mean, abs=1e-9)
    assert found.std == pytest.approx(np.sqrt(square - mean**2), abs=1e-9)


@pytest.mark.real
def test_real_lists_of_2026_leave_out_forty_one_names(real_pets):
    known, left_out, kept = {pet.name for pet in real_pets.items}, [], []
    for part in ("train", "valid", "test_unet", "test_res_unet"):
        with pytest.warns(UserWarning, match="are left out") as told:
            indices = real_pets.split(part, "2026")
        names = str(told[0].message).rpartition(": ")[2].split(", ")
        left_out.append(len(names))
        kept.append(len(indices))
        assert not known & set(names)
    assert left_out == [28, 4, 4, 5]
    assert kept == [5173 - 28, 739 - 4, 739 - 4, 739 - 5]


@pytest.mark.real
def test_real_originals_open_whatever_their_files_are(real_originals):
    assert len(real_originals.split("train")) + len(real_originals.split("valid")) == 146
    assert len(real_originals.split("test")) == 145
    with Image.open(real_originals.image_path(real_originals.indices["Abyssinian_5"])) as file:
        assert file.format == "PNG"
    arrays = load_arrays(real_originals, 64)  # decodes all of them, and refuses a trimap that does not fit
    assert arrays.images.shape == (291, 64, 64, 3)
    empty = [i for i, trimap in enumerate(arrays.trimaps) if (trimap == 2).all()]
    assert [real_originals.items[i].name for i in empty] == ["saint_bernard_78"]
