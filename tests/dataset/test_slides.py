"""The drawn slides: reproducible, varied between slides and alike within one, with classes of unequal share."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from labkit.data import check_pets, get_pets, open_pets, split_by_group, split_inside_groups
from labkit.data.sample import draw_slides
from labkit.data.sample.slides import CLASSES, draw_tile, prepare_slide
from labkit.errors import LabError

# Pixels and masks of three tiles with seed 0; a change of the drawings changes it, and every number measured on them.
DIGEST = "4906d7e48374c5f3caac165eeef2b888e549bb78a4f930b5f417a65fc70fd847"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """15 slides of 12 tiles."""
    return draw_slides(tmp_path_factory.mktemp("slides") / "drawn")


@pytest.fixture(scope="module")
def tiles(root):
    """Images `[180, 96, 96, 3]` in 0..1, masks `[180, 96, 96]` and the slide of each."""
    paths = sorted((root / "images").rglob("*.png"))
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    masks = np.stack([np.asarray(Image.open(root / "masks" / path.parent.name / path.name)) for path in paths])
    return images / 255, masks, [path.parent.name for path in paths]


def test_the_same_seed_gives_the_same_pixels():
    digest = hashlib.sha256()
    for number, place in ((0, 0), (7, 3), (14, 11)):
        for pixels in draw_tile(prepare_slide(0, number), 0, number, place, 96):
            digest.update(pixels.tobytes())
    assert digest.hexdigest() == DIGEST


def test_another_seed_slide_or_place_gives_another_tile():
    keys = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    drawn = {draw_tile(prepare_slide(s, n), s, n, place, 48)[0].tobytes() for s, n, place in keys}
    assert len(drawn) == 4


def test_files_lie_in_groups_without_loss(root):
    assert sorted(path.name for path in root.iterdir()) == ["classes.txt", "images", "masks"]
    assert [path.name for path in sorted((root / "images").iterdir())] == list("ABCDEFGHIJKLMNO")
    assert (root / "classes.txt").read_text().split() == list(CLASSES)
    image, mask = draw_tile(prepare_slide(0, 2), 0, 2, 4, 96)
    for part, pixels in (("images", image), ("masks", mask)):
        with Image.open(root / part / "C" / "005.png") as stored:
            assert np.array_equal(np.asarray(stored), pixels)


def test_more_slides_and_tiles_change_none(root, tmp_path):
    small = draw_slides(tmp_path / "small", groups=2, per_group=3)
    found = sorted(small.rglob("*.png"))
    assert len(found) == 12
    for path in found:
        assert path.read_bytes() == (root / path.relative_to(small)).read_bytes()


def test_drawn_slides_are_imported_and_opened(root, tmp_path, lab_home):
    pets = get_pets(tmp_path, root)
    assert open_pets(tmp_path).fingerprint == pets.fingerprint
    assert (len(pets), len(pets.breeds), pets.classes) == (180, 15, CLASSES)
    report = check_pets(pets)
    assert report.problems == ()
    assert 0.05 < len(report.empty) / len(pets) < 0.25


def test_classes_are_rare_and_unequal_and_a_fifth_of_the_tiles_is_nearly_empty(tiles):
    _, masks, _ = tiles
    shares = np.bincount(masks.ravel(), minlength=4) / masks.size
    assert shares[0] > 0.75
    assert shares[1] > 2 * shares[2] > 2.2 * shares[3] > 0.01
    assert 0.1 < ((masks > 0).mean((1, 2)) < 0.03).mean() < 0.3


def test_every_slide_shows_every_class(tiles):
    _, masks, groups = tiles
    for group in set(groups):
        held = masks[[g == group for g in groups]]
        assert set(np.unique(held)) == {0, 1, 2, 3}, group


def test_tiles_of_a_slide_are_alike_and_slides_differ(tiles):
    """The glass between the structures varies much less within a slide than between slides."""
    images, masks, groups = tiles
    glass = np.array([image[mask == 0].mean(0) for image, mask in zip(images, masks, strict=True)])
    groups = np.array(groups)
    within = np.mean([glass[groups == g].var(0).sum() for g in np.unique(groups)])
    between = np.array([glass[groups == g].mean(0) for g in np.unique(groups)]).var(0).sum()
    assert between > 5 * within


def test_color_tells_the_kinds_apart_on_a_known_slide_only(tiles):
    """The kind of a pixel is guessed from the nearest mean color of a kind; background is left aside."""
    images, masks, groups = tiles
    right = {}
    for name, split in (("inside", split_inside_groups), ("by group", split_by_group)):
        parts = split(groups)
        hits = []
        for index in parts["test"]:
            # what training knows: this slide's own colors, where it has met the slide, else those of all slides
            known = [i for i in parts["train"] if groups[i] == groups[index]] or parts["train"]
            means = np.array([images[known][masks[known] == kind].mean(0) for kind in (1, 2, 3)])
            shown = masks[index] > 0
            guess = ((images[index][shown][:, None] - means) ** 2).sum(2).argmin(1) + 1
            hits.append(guess == masks[index][shown])
        right[name] = np.concatenate(hits).mean()
    assert right["inside"] > right["by group"] + 0.15


@pytest.mark.parametrize(
    "wrong", [{"groups": 27}, {"groups": 0}, {"per_group": 0}, {"size": 16}, {"seed": -1}, {"size": 5000}]
)
def test_what_cannot_be_drawn_is_refused(tmp_path, wrong):
    with pytest.raises(LabError, match=" ".join(map(str, *wrong.items()))):
        draw_slides(tmp_path / "new", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(LabError, match="holds something already"):
        draw_slides(tmp_path, groups=1, per_group=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def fail(slide, seed, number, place, size):
        if number == 1:
            raise KeyboardInterrupt
        return draw_tile(slide, seed, number, place, size)

    monkeypatch.setattr("labkit.data.sample.slides.draw_tile", fail)
    with pytest.raises(KeyboardInterrupt):
        draw_slides(tmp_path / "new", groups=2, per_group=1)
    assert list(tmp_path.iterdir()) == []
