"""Images and masks of one's own: how they are split, and how they come into the one layout."""

import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labkit.data import (
    BatchTransform,
    batch_loader,
    check_pets,
    class_names,
    get_pets,
    load_arrays,
    open_pets,
    pet_table,
    split_by_group,
    split_inside_groups,
)
from labkit.errors import LabError

PARTS = ("train", "valid", "test")
labels = st.sampled_from([f"slide {letter}" for letter in "ABCDEFGHIJKLMNO"])
many = st.lists(labels, min_size=6, max_size=120)


def groups_of(groups: list[str], indices: np.ndarray) -> set[str]:
    return {groups[i] for i in indices}


# --- splits


@given(groups=many.filter(lambda groups: max(Counter(groups).values()) >= 3), seed=st.integers(0, 99))
def test_split_inside_groups_has_every_group_on_both_sides(groups, seed):
    parts = split_inside_groups(groups, seed)
    assert tuple(parts) == PARTS
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(groups)))
    for group, number in Counter(groups).items():
        held = {part: sum(groups[i] == group for i in indices) for part, indices in parts.items()}
        assert abs(held["test"] - 0.3 * number) <= 0.7
        if number >= 3:
            assert held["train"] >= 1
            assert held["test"] >= 1


@given(groups=many.filter(lambda groups: len(set(groups)) >= 3), seed=st.integers(0, 99))
def test_split_by_group_has_no_group_on_two_sides(groups, seed):
    parts = split_by_group(groups, seed)
    assert tuple(parts) == PARTS
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(groups)))
    held = [groups_of(groups, parts[part]) for part in PARTS]
    assert sum(map(len, held)) == len(set(groups))
    number = len(set(groups))
    assert abs(len(held[2]) - max(1, 0.3 * number)) <= 0.5
    assert abs(len(held[1]) - max(1, 0.1 * number)) <= 0.5


@pytest.mark.parametrize("split", [split_inside_groups, split_by_group])
def test_split_depends_on_the_seed_alone(split):
    groups = [letter for letter in "ABCDEFGHIJKLMNO" for _ in range(12)]
    one, same, other = (split(groups, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[part], same[part]) for part in PARTS)
    assert not np.array_equal(one["test"], other["test"])


def test_sizes_of_fifteen_groups_of_twenty_by_hand():
    groups = [letter for letter in "ABCDEFGHIJKLMNO" for _ in range(20)]
    inside, apart = split_inside_groups(groups), split_by_group(groups)
    assert [len(inside[part]) for part in PARTS] == [180, 30, 90]
    assert set(Counter(groups[i] for i in inside["test"]).values()) == {6}
    assert [len(groups_of(groups, apart[part])) for part in PARTS] == [9, 2, 4]


def test_groups_of_three_still_give_a_validation_part():
    parts = split_inside_groups(list("AAABBBCCC"))
    assert [len(parts[part]) for part in PARTS] == [5, 1, 3]
    assert [len(split_inside_groups(list("AAA"))[part]) for part in PARTS] == [1, 1, 1]


@pytest.mark.parametrize(
    ("split", "groups", "complaint"),
    [
        (split_by_group, ["A", "B", "A"], r"2 groups \(A, B\).*at least 3"),
        (split_by_group, [], "0 groups"),
        (split_inside_groups, ["A", "A"], "2 images in 1 groups: too few"),
    ],
)
def test_what_cannot_be_split_is_refused(split, groups, complaint):
    with pytest.raises(LabError, match=complaint):
        split(groups)


# --- import


def draw_groups(folder: Path, groups: str = "ABC", number: int = 4, values: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Noise in groups; mask i of each group is `values[i % len(values)]` in its left half and 0 in the right one."""
    rng = np.random.default_rng(0)
    for group in groups:
        for part in ("images", "masks"):
            (folder / part / group).mkdir(parents=True)
        for i in range(number):
            picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / "images" / group / f"tile_{i}.{'jpg' if i % 2 else 'png'}")
            mask = np.zeros((20, 30), np.uint8)
            mask[:, :15] = values[i % len(values)]
            Image.fromarray(mask).save(folder / "masks" / group / f"tile_{i}.png")
    return folder


@pytest.fixture
def source(tmp_path, lab_home) -> Path:
    """12 drawn images of three classes in three groups, which the test may spoil."""
    return draw_groups(tmp_path / "source")


def test_imported_groups_lie_in_the_one_layout(source, tmp_path):
    (source / "classes.txt").write_text("background\nnucleus\nnucleolus\n")
    pets = get_pets(tmp_path / "new", source)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["oxford-iiit-pet"]
    assert pets.classes == class_names("mask", pets) == ("background", "nucleus", "nucleolus")
    assert [pet.name for pet in pets.items[:5]] == ["A_tile-0", "A_tile-1", "A_tile-2", "A_tile-3", "B_tile-0"]
    assert pets.breeds == {1: "A", 2: "B", 3: "C"}
    assert pets.families() == ["official", "by-group", "inside-groups"]
    for index, pet in enumerate(pets.items):
        stem = f"{pet.breed}/{pet.name[2:].replace('-', '_')}"
        found = [source / "images" / f"{stem}.{ending}" for ending in ("jpg", "png")]
        kept = next(path for path in found if path.exists())
        assert pets.image_path(index).read_bytes() == kept.read_bytes()
        with Image.open(source / "masks" / f"{stem}.png") as mask:
            assert np.array_equal(pets.trimap(index), np.asarray(mask))
    assert check_pets(pets) == ([], [f"{group}_tile-{i}" for group in "ABC" for i in (0, 3)])


def test_lists_hold_the_splits(source, tmp_path):
    pets = get_pets(tmp_path / "new", source)
    groups = [pet.breed for pet in pets.items]
    for family, split in (("inside-groups", split_inside_groups), ("by-group", split_by_group)):
        expected = split(groups)
        for part in PARTS:
            assert np.array_equal(pets.split(part, family), expected[part])
    official = np.sort(np.concatenate([pets.split("train"), pets.split("valid")]))
    assert np.array_equal(pets.split("test"), pets.split("test", "by-group"))
    assert len(official) + len(pets.split("test")) == len(pets)


def test_import_does_not_depend_on_the_order_of_the_file_system(source, tmp_path, monkeypatch):
    first = get_pets(tmp_path / "one", source)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(listed(path), reverse=True)))
    second = get_pets(tmp_path / "two", source)
    lists = [sorted((pets.folder / "annotations").rglob("*.txt")) for pets in (first, second)]
    assert len(lists[0]) == 10
    assert first.fingerprint == second.fingerprint
    for one, two in zip(*lists, strict=True):
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("kind", ["folder", "folder above", "tar", "zip"])
def test_the_shell_takes_groups_from_wherever_they_lie(source, tmp_path, kind):
    where = {"folder": source, "folder above": source.parent / "above", "tar": tmp_path / "a.tar.gz"}.get(
        kind, tmp_path / "a.zip"
    )
    if kind == "folder above":
        source.rename(where.with_name("moved"))
        where.mkdir()
        where.with_name("moved").rename(where / "inner")
    elif kind == "tar":
        with tarfile.open(where, "w:gz") as tar:
            tar.add(source, "slides/of/somebody")
    elif kind == "zip":
        with zipfile.ZipFile(where, "w") as file:
            for path in source.rglob("*.*"):
                file.write(path, path.relative_to(source))
    pets = get_pets(tmp_path / "new", where)
    assert (len(pets), pets.classes) == (12, ("background", "class 1", "class 2"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["oxford-iiit-pet"]


def test_an_imported_set_is_imported_again_with_its_classes_and_splits(source, tmp_path):
    first = get_pets(tmp_path / "one", source)
    again = get_pets(tmp_path / "two", tmp_path / "one")
    assert again.classes == first.classes
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.split("test", "inside-groups"), first.split("test", "inside-groups"))


@pytest.mark.parametrize("groups", ["", "A", "AB"])
@pytest.mark.parametrize(("images", "suffix"), [("images", ""), ("imgs", "_mask"), ("Images", "_mask")])
def test_fewer_than_three_groups_are_split_inside_them(tmp_path, lab_home, groups, images, suffix):
    source = draw_groups(tmp_path / "source", groups or "A", number=6)
    for path in sorted((source / "masks").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}{suffix}.png"))
    if not groups:
        for part in ("images", "masks"):
            for path in (source / part / "A").iterdir():
                path.rename(source / part / path.name)
            (source / part / "A").rmdir()
    (source / "images").rename(source / images)
    pets = get_pets(tmp_path / "new", source)
    assert list(pets.breeds.values()) == (list(groups) or ["all"])
    assert pets.families() == ["official", "inside-groups"]
    assert np.array_equal(pets.split("test"), pets.split("test", "inside-groups"))
    parts = np.concatenate([pets.split(part) for part in PARTS])
    assert sorted(parts.tolist()) == list(range(6 * max(1, len(groups))))
    assert pets.trimap(pets.indices[f"{groups[:1] or 'all'}_tile-1"]).tolist() == [[1] * 15 + [0] * 15] * 20


def test_files_beside_the_groups_are_the_group_all(source, tmp_path):
    for part in ("images", "masks"):
        (source / part / "B" / "tile_2.png").rename(source / part / "tile_2.png")
    pets = get_pets(tmp_path / "new", source)
    assert Counter(pet.breed for pet in pets.items) == {"A": 4, "B": 3, "C": 4, "all": 1}


@pytest.mark.parametrize("ending", ["PNG", "Jpeg", "bmp", "tif", "WEBP", "gif", "ppm"])
def test_images_and_masks_of_any_ending_are_taken(tmp_path, lab_home, ending):
    source = draw_groups(tmp_path / "source", values=(0, 1))
    for path in sorted((source / "images").rglob("*.*")):
        with Image.open(path) as image:
            image.save(path.with_suffix(f".{ending}"))
        path.unlink()
    for path in sorted((source / "masks").rglob("*.*")):
        if ending not in ("Jpeg", "WEBP"):  # lossy
            with Image.open(path) as mask:
                mask.save(path.with_suffix(f".{ending}"))
            path.unlink() if ending != "png" else None
    pets = get_pets(tmp_path / "new", source)
    assert len(pets) == 12
    assert check_pets(pets)[0] == []
    assert [np.unique(pets.trimap(i)).tolist() for i in (0, 1)] == [[0], [0, 1]]


def spoil_nothing_but(source: Path, fault: str) -> None:
    image, mask = source / "images" / "B" / "tile_2.png", source / "masks" / "B" / "tile_2.png"
    match fault:
        case "no mask":
            mask.unlink()
        case "no image":
            image.unlink()
        case "other size":
            Image.new("L", (29, 20)).save(mask)
        case "photo":
            Image.fromarray(np.arange(1800, dtype=np.uint8).reshape(20, 30, 3) // np.uint8([1, 2, 3])).save(mask)
        case "two masks":
            mask.with_name("tile_2_mask.PNG").write_bytes(mask.read_bytes())
        case "folder":
            (source / "images" / "B" / "more.png").mkdir()
        case "clash":
            for part in ("images", "masks"):
                path = source / part / "B" / "tile-2.png"
                path.write_bytes((source / part / "B" / "tile_2.png").read_bytes())
        case "too few classes":
            (source / "classes.txt").write_text("background\nnucleus\n")
        case "damaged":
            image.write_bytes(image.read_bytes()[:300])
        case "foreign":
            (source / "images" / "B" / "notes.docx").write_text("nothing")
        case "HEIC":
            (source / "images" / "B" / "tile_2.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0")


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("no mask", r"images/B/tile_2\.png: none in .*masks/B has its name"),
        ("no image", r"masks/B/tile_2\.png: none in .*images/B has its name"),
        ("other size", r"images/B/tile_2\.png: the image is 30x20 pixels, its mask 29x20"),
        ("photo", r"masks/B/tile_2\.png: the mask is in colors"),
        ("two masks", r"tile_2_mask\.PNG: tile_2\.png has the same name but for the ending"),
        ("folder", r"more\.png: cannot be read \(Is a directory\)"),
        ("clash", r"tile_2\.png: would be called 'B_tile-2', and so would .*tile-2\.png"),
        ("too few classes", r"classes\.txt: 2 names for 3 classes; the masks hold 0 .*, 1 .*, 2 "),
        ("damaged", r"images/B/tile_2\.png: the image is damaged"),
        ("foreign", r"notes\.docx: is empty, no image"),
        ("HEIC", r"tile_2\.heic: is .*such as HEIC or PDF; export it"),
    ],
)
def test_a_faulty_source_is_refused_and_nothing_is_left(source, tmp_path, fault, complaint):
    spoil_nothing_but(source, fault)
    with pytest.raises(LabError, match=complaint):
        get_pets(tmp_path / "new", source)
    assert list((tmp_path / "new").iterdir()) == []


def test_data_that_are_there_are_not_replaced(source, tmp_path):
    first = get_pets(tmp_path / "new", source)
    with pytest.raises(LabError, match="there already"):
        get_pets(tmp_path / "new", source)
    assert open_pets(tmp_path / "new").fingerprint == first.fingerprint


def test_another_layout_is_refused_by_both_names(tmp_path):
    (tmp_path / "other" / "images").mkdir(parents=True)
    with pytest.raises(LabError, match=r"annotations/.*masks/.*another data set"):
        get_pets(tmp_path / "new", tmp_path / "other")


# --- what the rest of the room makes of them


def test_imported_masks_reach_the_network_as_they_are(source, tmp_path):
    pets = get_pets(tmp_path / "new", source)
    arrays = load_arrays(pets, 32)
    batch = next(iter(batch_loader(arrays, [np.array([1, 0, 6])])))
    _, masks = BatchTransform(pets, "mask", (0, 0, 0), (1, 1, 1))(batch)
    assert [mask.unique().tolist() for mask in masks] == [[0, 1], [0], [0, 2]]
    assert torch.equal(masks, batch.trimaps.long())


def test_value_without_a_name_is_refused_with_file_and_value(source, tmp_path):
    pets = get_pets(tmp_path / "new", source)
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(pets.trimap_path(2))
    for ask in (lambda: pets.trimap(2), lambda: load_arrays(pets, 32)):
        with pytest.raises(LabError, match=r"A_tile-2\.png.*0 to 2 and 255 .3 classes., found \[7\]"):
            ask()
    assert "found [7]" in check_pets(pets)[0][0]


def test_shorter_list_of_classes_is_not_served_from_the_cache(source, tmp_path):
    pets = get_pets(tmp_path / "new", source)
    load_arrays(pets, 32)
    (pets.folder / "annotations" / "classes.txt").write_text("background\nnucleus\n")
    fewer = open_pets(tmp_path / "new")
    assert fewer.fingerprint != pets.fingerprint
    with pytest.raises(LabError, match=r"2 classes.*found \[2\]"):
        load_arrays(fewer, 32)


def test_facts_count_the_classes(source, tmp_path):
    pets = get_pets(tmp_path / "new", source)
    table = pet_table(pets, load_arrays(pets, 32))
    assert table["share of class 1"].tolist() == [0.0, 0.5, 0.0, 0.0] * 3
    assert table["empty"].tolist() == [True, False, False, True] * 3


@pytest.mark.parametrize("content", ["background\n", "background\n\nnucleus\n", "background\na\na\n", ""])
def test_damaged_list_of_classes_is_refused(source, tmp_path, content):
    (source / "classes.txt").write_text(content)
    with pytest.raises(LabError, match=r"classes\.txt"):
        get_pets(tmp_path / "new", source)
