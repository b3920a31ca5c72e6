"""The drawn sample: reproducible, readable as the Oxford pets, and not a toy problem."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from labkit.data.sample import BREEDS, draw_pet, draw_sample, folder
from labkit.data.sample.drawing import BACKGROUND, BORDER, PET

# Pixels of pictures 0, 7 and 41 with seed 0; a change of the drawings changes it (and folder.EDITION).
DIGEST = "dff03231e7d24060c0d13701015d2c4523bfe967e967866b5f507e4a82ee86bf"
PIXELS = 64


@pytest.fixture(scope="module")
def drawings():
    return [draw_pet(0, number) for number in range(225)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return draw_sample(tmp_path_factory.mktemp("sample"), count=36, seed=3)


def read_names(root, split):
    lines = (root / "oxford-iiit-pet" / "annotations" / f"{split}.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if not line.startswith("#")]


def test_the_same_seed_gives_the_same_pixels():
    digest = hashlib.sha256()
    for number in (0, 7, 41):
        drawing = draw_pet(0, number)
        digest.update(drawing.image.tobytes())
        digest.update(drawing.trimap.tobytes())
    assert digest.hexdigest() == DIGEST


def test_another_seed_or_number_gives_another_picture():
    pictures = [draw_pet(seed, number).image for seed, number in ((0, 0), (1, 0), (0, 6))]
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_a_breed_can_be_asked_for():
    drawing = draw_pet(0, 5, "dust_mop")
    assert (drawing.breed, drawing.species) == ("dust_mop", "dog")
    with pytest.raises(ValueError, match="no breed is called 'poodle'"):
        draw_pet(0, 5, "poodle")
    with pytest.raises(ValueError, match="0 or more"):
        draw_pet(0, -1)


def test_drawing_more_pictures_changes_none(root, tmp_path):
    small = draw_sample(tmp_path, count=12, seed=3)
    for split in ("trainval", "test"):
        assert set(read_names(small, split)) <= set(read_names(root, split))
    for path in sorted(small.rglob("*.jpg")) + sorted(small.rglob("*.png")):
        assert path.read_bytes() == (root / path.relative_to(small)).read_bytes()


def test_torchvision_reads_the_sample(root):
    sizes = {}
    for split in ("trainval", "test"):
        pets = OxfordIIITPet(
            root, split=split, target_types=["category", "binary-category", "segmentation"], download=False
        )
        sizes[split] = len(pets)
        for image, (category, species, trimap) in pets:
            assert image.mode == "RGB"
            assert trimap.mode == "L"
            assert image.size == trimap.size
            assert set(np.unique(trimap)) == {PET, BACKGROUND, BORDER}
            assert 0 <= category < len(BREEDS)
            assert species in (0, 1)
        assert len(pets.classes) == len(BREEDS)
    assert sizes == {"trainval": 24, "test": 12}


def test_pictures_are_stored_without_loss(root):
    images = root / "oxford-iiit-pet" / "images"
    with Image.open(images / "Crumpet_2.jpg") as stored:
        assert stored.format == "PNG"
        assert np.array_equal(np.asarray(stored), draw_pet(3, 7).image)


def test_lists_follow_the_official_ones(root):
    annotations = root / "oxford-iiit-pet" / "annotations"
    lines = (annotations / "list.txt").read_text().splitlines()
    assert [line.startswith("#") for line in lines[:7]] == [True] * 6 + [False]
    rows = [line.split() for line in lines[6:]]
    assert [int(row[1]) for row in rows] == sorted(int(row[1]) for row in rows)
    names = list(dict.fromkeys(row[0].rsplit("_", 1)[0] for row in rows))
    assert names == sorted(names, key=str.lower)
    for name, _, species, _ in rows:
        assert name[0].isupper() == (species == "1")
    for species in ("1", "2"):
        assert sorted({int(row[3]) for row in rows if row[2] == species}) == [1, 2, 3]
    numbers = [int(row[0].rsplit("_", 1)[1]) for row in rows if row[1] == "1"]
    assert numbers == sorted(numbers)


def test_every_breed_is_in_both_splits(tmp_path):
    draw_sample(tmp_path, count=12)
    every = {breed.name for breed in BREEDS}
    splits = {split: read_names(tmp_path, split) for split in ("trainval", "test")}
    for names in splits.values():
        assert {name.rsplit("_", 1)[0] for name in names} == every
    assert not set(splits["trainval"]) & set(splits["test"])


def test_every_pet_is_visible_and_none_fills_the_picture(drawings):
    shares = [float((drawing.trimap != BACKGROUND).mean()) for drawing in drawings]
    assert min(shares) > 0.05
    assert max(shares) < 0.80
    assert 0.25 < np.mean(shares) < 0.40


def test_sizes_and_shapes_vary(drawings):
    shapes = {drawing.trimap.shape for drawing in drawings}
    assert all(drawing.image.shape == (*drawing.trimap.shape, 3) for drawing in drawings)
    assert {np.sign(width - height) for height, width in shapes} == {-1, 0, 1}
    assert all(112 <= side <= 192 for shape in shapes for side in shape)


def test_the_border_ring_lies_on_the_outline(drawings):
    for drawing in drawings[:30]:
        trimap = np.pad(drawing.trimap, 1, mode="edge")
        height, width = drawing.trimap.shape
        around = np.stack([trimap[y : y + height, x : x + width] for y in range(3) for x in range(3)])
        touches_pet, touches_background = (around == PET).any(0), (around == BACKGROUND).any(0)
        assert not (touches_pet & touches_background).any()  # the ring has no gap
        ring = drawing.trimap == BORDER
        assert (touches_pet | touches_background)[ring].mean() > 0.9  # and is two or three pixels wide
        assert touches_pet[ring].mean() > 0.3
        assert touches_background[ring].mean() > 0.3


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 12"):
        draw_sample(tmp_path / "new", count=11)
    assert not (tmp_path / "new").exists()


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def fail(seed, number):
        if number == 9:
            raise KeyboardInterrupt
        return draw_pet(seed, number)

    monkeypatch.setattr(folder, "draw_pet", fail)
    with pytest.raises(KeyboardInterrupt):
        draw_sample(tmp_path / "new", count=12)
    assert list(tmp_path.iterdir()) == []


def test_another_data_set_is_never_replaced(root, tmp_path):
    (tmp_path / "oxford-iiit-pet" / "images").mkdir(parents=True)
    for where in (tmp_path, root):
        before = sorted(where.rglob("*"))
        with pytest.raises(ValueError, match="another data set"):
            draw_sample(where, count=12)
        assert sorted(where.rglob("*")) == before


def test_the_same_sample_is_drawn_once(root):
    calls = []
    assert draw_sample(root, count=36, seed=3, progress=lambda *now: calls.append(now)) == root
    assert calls == []


def test_two_at_once_both_end_well(tmp_path):
    calls = []
    with ThreadPoolExecutor(2) as pool:
        draw = [pool.submit(draw_sample, tmp_path, count=12, progress=lambda *now: calls.append(now)) for _ in "ab"]
        assert [future.result() for future in draw] == [tmp_path, tmp_path]
    assert [path.name for path in tmp_path.iterdir()] == ["oxford-iiit-pet"]
    assert (12, 12) in calls


def test_several_processes_draw_the_same_sample(root, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "POOL_FROM", 12)
    draw_sample(tmp_path, count=12, seed=3, workers=2)
    for path in sorted(tmp_path.rglob("*.jpg")):
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes()


def test_without_other_processes_the_sample_is_drawn_all_the_same(root, tmp_path, monkeypatch):
    def broken(*args, **options):
        raise BrokenProcessPool("a script without a main guard")

    monkeypatch.setattr(folder, "POOL_FROM", 12)
    monkeypatch.setattr(folder, "ProcessPoolExecutor", broken)
    draw_sample(tmp_path, count=12, seed=3, workers=2)
    for path in sorted(tmp_path.rglob("*.jpg")):
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes()


def dice_each(predicted, masks):
    overlap = (predicted & masks).sum((1, 2))
    return 2 * overlap / np.maximum(predicted.sum((1, 2)) + masks.sum((1, 2)), 1)


@pytest.fixture(scope="module")
def pixels(drawings):
    """Images [N, 64, 64, 3] in 0..1, masks [N, 64, 64] and which of the N are for the test."""
    size = (PIXELS, PIXELS)
    images = [np.asarray(Image.fromarray(d.image).resize(size, Image.Resampling.BILINEAR)) for d in drawings]
    masks = [np.asarray(Image.fromarray(d.trimap).resize(size, Image.Resampling.NEAREST)) for d in drawings]
    test = np.array([folder.in_test(number) for number in range(len(drawings))])
    return np.stack(images).astype(np.float32) / 255, np.stack(masks) != BACKGROUND, test


def test_a_color_threshold_does_not_find_the_pets(pixels):
    images, masks, test = pixels
    saturation = images.max(3) - images.min(3)
    channels = np.concatenate([images, images.mean(3, keepdims=True), saturation[..., None]], axis=3)
    best = (0.0, None)
    for channel in range(5):
        for level in np.linspace(0.05, 0.95, 25):
            for dark in (False, True):
                dice = dice_each((channels[~test][..., channel] > level) ^ dark, masks[~test]).mean()
                best = max(best, (dice, (channel, level, dark)))
    channel, level, dark = best[1]
    assert dice_each((channels[test][..., channel] > level) ^ dark, masks[test]).mean() < 0.75


@pytest.mark.parametrize("place", [False, True], ids=["color", "color and place"])
def test_a_logistic_regression_per_pixel_does_not_find_the_pets(pixels, place):
    images, masks, test = pixels
    r, g, b = (images[..., k] for k in range(3))
    features = [r, g, b, r * r, g * g, b * b, r * g, r * b, g * b]
    if place:
        x = np.broadcast_to(np.linspace(-1, 1, PIXELS, dtype=np.float32), r.shape)
        y = x.transpose(0, 2, 1)
        features += [x, y, x * x, y * y, x * y]
    table = np.stack(features, axis=3)
    table = (table - table.mean((0, 1, 2))) / table.std((0, 1, 2))
    inputs = torch.from_numpy(table[~test][:, ::2, ::2].reshape(-1, len(features)).copy())
    targets = torch.from_numpy(masks[~test][:, ::2, ::2].reshape(-1).astype(np.float32))
    weights = torch.zeros(len(features) + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=40)

    def closure():
        optimizer.zero_grad()
        scores = inputs @ weights[1:] + weights[0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    learned = weights.detach().numpy()
    scores = table @ learned[1:] + learned[0]
    levels = np.linspace(-2, 1, 13)  # the threshold that suits Dice best, chosen on the training pixels
    level = max(levels, key=lambda at: dice_each(scores[~test] > at, masks[~test]).mean())
    assert dice_each(scores[test] > level, masks[test]).mean() < 0.75
