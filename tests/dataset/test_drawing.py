"""The drawn pets and slides: what is committed is what the program draws, and it is not a toy problem."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from dataset import drawing
from dataset.drawing import files
from dataset.drawing.pet import BACKGROUND, BORDER, PET
from labkit.data.sample import ARCHIVES

PIXELS = 64


def stored(archive: str, name: str) -> np.ndarray:
    with tarfile.open(ARCHIVES / f"{archive}.tar") as tar:
        return np.asarray(Image.open(io.BytesIO(tar.extractfile(name).read())))


@pytest.fixture(scope="module")
def drawings():
    return [drawing.draw_pet(0, number) for number in range(150)]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return drawing.draw_sample(tmp_path_factory.mktemp("sample"), count=36, seed=3)


@pytest.mark.parametrize("number", [0, 7, 599])
def test_the_program_draws_the_pets_that_are_committed(number):
    pet, name = drawing.draw_pet(0, number), files.image_name(number)
    image = stored("sample", f"oxford-iiit-pet/images/{name}.jpg")
    assert image.shape == pet.image.shape
    assert np.abs(image.astype(int) - pet.image).mean() < 6  # JPEG rounds the noise away
    assert (stored("sample", f"oxford-iiit-pet/annotations/trimaps/{name}.png") == pet.trimap).mean() > 0.999


@pytest.mark.parametrize(("group", "place"), [(0, 0), (2, 4), (14, 11)])
def test_the_program_draws_the_slides_that_are_committed(group, place):
    tile, mask = drawing.draw_tile(drawing.prepare_slide(0, group), 0, group, place, files.TILE_SIZE)
    name = f"{'ABCDEFGHIJKLMNO'[group]}/{place + 1:03d}"
    assert np.abs(stored("slides", f"images/{name}.jpg").astype(int) - tile).mean() < 8
    assert (stored("slides", f"masks/{name}.png") == mask).mean() > 0.999


def test_the_archives_are_small_and_hold_files_only():
    for name, most, count in (("sample", 10e6, 1203), ("slides", 2e6, 361)):
        assert (ARCHIVES / f"{name}.tar").stat().st_size <= most
        with tarfile.open(ARCHIVES / f"{name}.tar") as tar:
            entries = tar.getmembers()
        assert len(entries) == count
        assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
        assert {(entry.isfile(), entry.uid, entry.mtime) for entry in entries} == {(True, 0, 1767225600)}


def test_another_seed_or_number_gives_another_image():
    images = [drawing.draw_pet(seed, number).image for seed, number in ((0, 0), (1, 0), (0, 6))]
    assert len({image.tobytes() for image in images}) == 3
    keys = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert len({drawing.draw_tile(drawing.prepare_slide(s, n), s, n, p, 48)[0].tobytes() for s, n, p in keys}) == 4


def test_more_images_change_none(root, tmp_path):
    small = drawing.draw_sample(tmp_path / "pets", count=12, seed=3)
    for path in (p for p in small.rglob("*") if p.suffix in (".jpg", ".png")):
        assert path.read_bytes() == (root / path.relative_to(small)).read_bytes()
    one, two = (drawing.draw_slides(tmp_path / f"slides{n}", groups=n, per_group=n) for n in (1, 2))
    for path in one.rglob("*.*g"):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_torchvision_reads_the_layout(root):
    for split, count in (("trainval", 24), ("test", 12)):
        pets = OxfordIIITPet(root, split=split, target_types=["category", "binary-category", "segmentation"])
        assert (len(pets), len(pets.classes)) == (count, len(drawing.BREEDS))
        assert len({category for _, (category, _, _) in pets}) == len(drawing.BREEDS)  # every breed in both
        for image, (_, species, trimap) in pets:
            assert image.size == trimap.size
            assert set(np.unique(trimap)) == {PET, BACKGROUND, BORDER}
            assert species in (0, 1)


def test_lists_follow_the_official_ones(root):
    lines = (root / "oxford-iiit-pet" / "annotations" / "list.txt").read_text().splitlines()
    assert [line.startswith("#") for line in lines[:7]] == [True] * 6 + [False]
    rows = [line.split() for line in lines[6:]]
    assert [int(row[1]) for row in rows] == sorted(int(row[1]) for row in rows)
    names = list(dict.fromkeys(row[0].rpartition("_")[0] for row in rows))
    assert names == sorted(names, key=str.lower)
    assert all(name[0].isupper() == (species == "1") for name, _, species, _ in rows)
    for species in ("1", "2"):
        assert sorted({int(row[3]) for row in rows if row[2] == species}) == [1, 2, 3]


def test_what_cannot_be_drawn_leaves_nothing_and_replaces_nothing(tmp_path, monkeypatch):
    for wrong in ({"count": 11}, {"count": 12, "seed": -1}):
        with pytest.raises(ValueError, match="at least 12 images"):
            drawing.draw_sample(tmp_path / "new", **wrong)
    with pytest.raises(ValueError, match="groups 27"):
        drawing.draw_slides(tmp_path / "new", groups=27)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cat.jpg").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something already"):
        drawing.draw_sample(tmp_path / "mine", count=12)

    def interrupted(seed, number):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "draw_pet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drawing.draw_sample(tmp_path / "new", count=12)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["mine", "mine/cat.jpg"]


def test_every_pet_is_visible_and_none_fills_the_image(drawings):
    shares = [float((pet.trimap != BACKGROUND).mean()) for pet in drawings]
    assert 0.05 < min(shares) < max(shares) < 0.85
    assert 0.25 < np.mean(shares) < 0.45


def test_sizes_vary_up_to_256(drawings):
    shapes = {pet.trimap.shape for pet in drawings}
    assert all(pet.image.shape == (*pet.trimap.shape, 3) for pet in drawings)
    assert {np.sign(width - height) for height, width in shapes} == {-1, 0, 1}
    sides = {side for shape in shapes for side in shape}
    assert (min(sides), max(sides)) == (150, 256)


def test_the_border_lies_on_the_outline(drawings):
    for pet in drawings[:20]:
        height, width = pet.trimap.shape
        padded = np.pad(pet.trimap, 2, mode="edge")
        around = np.stack([padded[y : y + height, x : x + width] for y in range(5) for x in range(5)])
        near_pet, near_background = (around == PET).any(0), (around == BACKGROUND).any(0)
        ring = pet.trimap == BORDER
        touching = np.stack([around[5 * y + x] for y in (1, 2, 3) for x in (1, 2, 3)])
        assert not ((touching == PET).any(0) & (touching == BACKGROUND).any(0)).any()  # it has no gap
        assert (near_pet | near_background)[ring].mean() > 0.9  # and is about four pixels wide
        assert min(near_pet[ring].mean(), near_background[ring].mean()) > 0.3


def dice_each(predicted, masks):
    overlap = (predicted & masks).sum((1, 2))
    return 2 * overlap / np.maximum(predicted.sum((1, 2)) + masks.sum((1, 2)), 1)


@pytest.mark.parametrize("place", [False, True], ids=["color", "color and place"])
def test_a_logistic_regression_per_pixel_does_not_find_the_pets(drawings, place):
    size = (PIXELS, PIXELS)
    images = np.stack([np.asarray(Image.fromarray(d.image).resize(size, Image.BILINEAR)) for d in drawings]) / 255.0
    masks = np.stack([np.asarray(Image.fromarray(d.trimap).resize(size, Image.NEAREST)) for d in drawings])
    masks, test = masks != BACKGROUND, np.array([files.in_test(number) for number in range(len(drawings))])
    r, g, b = (images[..., k] for k in range(3))
    features = [r, g, b, r * r, g * g, b * b, r * g, r * b, g * b]
    if place:
        x = np.broadcast_to(np.linspace(-1, 1, PIXELS), r.shape)
        y = x.transpose(0, 2, 1)
        features += [x, y, x * x, y * y, x * y]
    table = np.stack(features, axis=3).astype(np.float32)
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
