import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as V
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode

from labkit.data import (
    Augment,
    BatchTransform,
    Pets,
    augment_batch,
    batch_loader,
    get_pets,
    load_arrays,
    open_pets,
    sample_images,
    sample_trimaps,
    sampling_grid,
    spatial_matrices,
)
from labkit.data.augment import color, draws, elastic_displacement

SIZE = 48
COLUMNS = {"horizontal": 0, "vertical": 1, "affine": 2, "angle": 3, "shift_x": 4, "shift_y": 5, "scale": 6}
COLUMNS |= {"crop": 7, "side": 8, "center_x": 9, "center_y": 10}


def picture(size: int = SIZE) -> torch.Tensor:
    """A smooth picture without any symmetry, `float [1, 3, size, size]` in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    planes = [x, 0.5 + 0.4 * torch.sin(5 * y + 3 * x), (x * y + 0.3 * y).clamp(0, 1)]
    return torch.stack(planes)[None]


def trimap(size: int = SIZE) -> torch.Tensor:
    """A lopsided pet with a border ring, `uint8 [1, size, size]`."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    distance = ((x - 0.2) / 0.5) ** 2 + ((y + 0.1) / 0.7) ** 2 + 0.3 * x * y
    return torch.where(distance < 0.7, 1, torch.where(distance < 1, 3, 2)).to(torch.uint8)[None]


def numbers(**chosen: float) -> torch.Tensor:
    """The uniform numbers of one image; those not chosen let nothing happen."""
    u = torch.full((1, 12), 0.999, dtype=torch.float64)
    for name, value in chosen.items():
        u[0, COLUMNS[name]] = value
    return u


def moved(augment: Augment, u: torch.Tensor, size: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture and the trimap after the flips, affine map and crop that `u` stands for."""
    grid = F.affine_grid(spatial_matrices(augment, u), [1, 1, size, size], align_corners=False)
    return sample_images(picture(), grid, augment.outside), sample_trimaps(trimap(), grid, augment.outside)


# --- torchvision is the oracle


def test_horizontal_flip_is_torchvisions():
    image, mask = moved(Augment(horizontal_flip=0.5), numbers(horizontal=0.4))
    assert torch.allclose(image, V.horizontal_flip(picture()), atol=1e-5)
    assert torch.equal(mask, V.horizontal_flip(trimap()))


def test_vertical_flip_is_torchvisions():
    image, mask = moved(Augment(vertical_flip=0.5), numbers(vertical=0.4))
    assert torch.allclose(image, V.vertical_flip(picture()), atol=1e-5)
    assert torch.equal(mask, V.vertical_flip(trimap()))


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip", "affine", "crop"])
def test_what_is_not_drawn_does_not_happen(name):
    augment = Augment(**{name: 0.5}, rotate=30, shift=0.2, scale=(0.5, 2))
    drawn = torch.full((1, 12), 0.7, dtype=torch.float64)
    image, mask = moved(augment, drawn)
    assert torch.allclose(image, picture(), atol=1e-5)
    assert torch.equal(mask, trimap())


@pytest.mark.parametrize(
    ("angle", "shift", "scale"),
    [
        (25.0, (0, 0), 1.0),
        (-40.0, (0, 0), 1.0),
        (0.0, (6, -3), 1.0),
        (0.0, (0, 0), 1.25),
        (0.0, (0, 0), 0.8),
        (15.0, (5, 2), 1.1),
        (-30.0, (-4, 7), 0.9),
    ],
)
def test_affine_is_torchvisions(angle, shift, scale):
    augment = Augment(affine=1, rotate=90, shift=0.25, scale=(0.5, 1.5), outside="zeros")
    share = [0.5 + pixels / SIZE / 0.25 / 2 for pixels in shift]
    u = numbers(affine=0, angle=0.5 + angle / 180, shift_x=share[0], shift_y=share[1], scale=scale - 0.5)
    image, mask = moved(augment, u)
    placed = {"angle": angle, "translate": list(shift), "scale": scale, "shear": [0.0, 0.0], "fill": 0}
    expected = V.affine(picture(), interpolation=InterpolationMode.BILINEAR, **placed)
    expected_mask = V.affine(trimap(), interpolation=InterpolationMode.NEAREST, **placed)
    inside = mask_without_rim(expected_mask > 0)
    assert inside.sum() > 300
    assert (image - expected).abs()[inside[:, None].expand(-1, 3, -1, -1)].max() < 2e-3
    assert (mask != expected_mask).float().mean() < 0.005  # places half-way between two pixels round either way


def mask_without_rim(mask: torch.Tensor) -> torch.Tensor:
    """The mask `bool [1, H, W]` without its outermost two pixels."""
    return -F.max_pool2d(F.pad(-mask.float(), (2, 2, 2, 2)), 5, 1) > 0.5


@pytest.mark.parametrize(("top", "left", "side"), [(0, 0, 24), (24, 24, 24), (7, 12, 30), (12, 3, 36)])
def test_crop_is_torchvisions_resized_crop(top, left, side):
    share = side / SIZE
    augment = Augment(crop=1, crop_side=(share, share))
    free = SIZE - side
    u = numbers(crop=0, side=0.3, center_x=left / free, center_y=top / free)
    image, mask = moved(augment, u)
    expected = V.resized_crop(picture(), top, left, side, side, [SIZE, SIZE], antialias=False)
    expected_mask = V.resized_crop(
        trimap(), top, left, side, side, [SIZE, SIZE], interpolation=InterpolationMode.NEAREST_EXACT
    )
    # torchvision cuts first, so that its outermost pixels do not see beyond the crop
    rim = math.ceil(SIZE / side)
    assert (image - expected)[..., rim:-rim, rim:-rim].abs().max() < 1e-4
    assert (mask != expected_mask).float().mean() < 0.005


@pytest.mark.parametrize(("alpha", "sigma"), [(30.0, 5.0), (200.0, 4.0), (80.0, 2.0)])
def test_elastic_displacement_is_torchvisions_blurred_noise(alpha, sigma):
    noise = torch.rand(1, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    kernel = int(8 * sigma + 1) | 1
    blurred = V.gaussian_blur(2 * noise - 1, [kernel, kernel], [sigma, sigma])
    expected = blurred.permute(0, 2, 3, 1) * alpha / SIZE
    assert torch.allclose(elastic_displacement(noise, alpha, sigma), expected, atol=1e-5)


@pytest.mark.parametrize("interpolation", [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC])
def test_elastic_is_torchvisions(interpolation):
    augment = Augment(elastic=1, elastic_alpha=120, elastic_sigma=4, outside="zeros", interpolation=interpolation.value)
    indices = torch.tensor([5])
    noise = draws(1, 2, indices, 12 + 2 * SIZE * SIZE)[:, 12:].view(1, 2, SIZE, SIZE).float()
    displacement = elastic_displacement(noise, 120, 4)
    assert displacement.abs().max() * SIZE / 2 > 1.5  # it moves pixels
    image, mask = augment_batch(picture(), trimap(), augment, seed=1, epoch=2, indices=indices)
    expected = V.elastic(picture(), displacement, interpolation=interpolation).clamp(0, 1)
    assert torch.allclose(image, expected, atol=1e-4)
    expected_mask = V.elastic(trimap(), displacement, interpolation=InterpolationMode.NEAREST)
    assert (mask != expected_mask).float().mean() < 0.005


def test_bicubic_stays_within_black_and_white_and_leaves_the_trimap():
    step = (picture() > 0.5).float()
    both = {"seed": 0, "epoch": 0, "indices": torch.tensor([3])}
    augments = [Augment(affine=1, rotate=40, interpolation=name) for name in ("bilinear", "bicubic")]
    (linear, mask), (cubic, same_mask) = (augment_batch(step, trimap(), augment, **both) for augment in augments)
    assert cubic.min() == 0
    assert cubic.max() == 1
    assert not torch.allclose(linear, cubic, atol=0.05)
    assert torch.equal(mask, same_mask)


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.0, 1.35])
@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_color_is_torchvisions(kind, factor):
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    u = torch.full((2, 3), 0.5, dtype=torch.float64)
    u[:, ["brightness", "contrast", "saturation"].index(kind)] = 0.5 + (factor - 1) / 0.5 / 2
    ours = color(image, Augment(**{kind: 0.5}), u)
    theirs = torch.stack([getattr(V, f"adjust_{kind}")(one, factor) for one in image])
    assert torch.allclose(ours, theirs, atol=1e-3)  # torchvision's gray is 0.2989 red, not 0.299


def test_colors_follow_one_another_as_in_torchvision():
    image = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    u = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    before = image.clone()
    ours = color(image, Augment(brightness=0.4, contrast=0.3, saturation=0.5), u)
    assert torch.equal(image, before)
    factors = 1 + (2 * u - 1) * torch.tensor([0.4, 0.3, 0.5])
    for i in range(3):
        brightness, contrast, saturation = factors[i].tolist()
        theirs = V.adjust_contrast(V.adjust_brightness(image[i], brightness), contrast)
        assert torch.allclose(ours[i], V.adjust_saturation(theirs, saturation), atol=1e-3)


def test_all_maps_compose_as_if_done_one_after_another():
    """Flip, then affine, then crop, by torchvision on a smooth picture; one grid reads it once."""
    augment = Augment(horizontal_flip=1, affine=1, rotate=90, scale=(0.5, 1.5), crop=1, crop_side=(0.5, 0.5))
    u = numbers(horizontal=0, affine=0, angle=0.5 + 20 / 180, shift_x=0.5, shift_y=0.5, scale=0.6)
    u[0, COLUMNS["crop"]], u[0, COLUMNS["center_x"]], u[0, COLUMNS["center_y"]] = 0, 0.25, 0.5
    image, _ = moved(augment, u)
    theirs = V.affine(
        V.horizontal_flip(picture()), 20, [0, 0], 1.1, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    theirs = V.resized_crop(theirs, SIZE // 4, SIZE // 8, SIZE // 2, SIZE // 2, [SIZE, SIZE], antialias=False)
    assert (image - theirs)[..., 3:-3, 3:-3].abs().max() < 0.02


# --- image and mask stay in step, whatever is drawn

shares = st.floats(0.0, 1.0)
augments = st.builds(
    Augment,
    horizontal_flip=shares,
    vertical_flip=shares,
    affine=shares,
    rotate=st.floats(0, 180),
    shift=st.floats(0, 0.4),
    scale=st.tuples(st.floats(0.5, 1.0), st.floats(1.0, 2.0)),
    crop=shares,
    crop_side=st.tuples(st.floats(0.3, 0.7), st.floats(0.7, 1.0)),
    elastic=shares,
    elastic_alpha=st.floats(1, 150),
    elastic_sigma=st.floats(3, 6),
    outside=st.sampled_from(["reflection", "border", "zeros"]),
)


@settings(max_examples=60)
@given(augment=augments, seed=st.integers(0, 1000), size=st.sampled_from([None, 32, 64]))
def test_image_and_mask_stay_in_step(augment, seed, size):
    """The image is the mask, one channel a value: where a channel comes out pure, the mask must say the same.

    The nearest pixel has a bilinear weight of at least a quarter, so this holds without exception.
    """
    masks = torch.cat([trimap(), trimap().flip(1), trimap().transpose(1, 2)])
    images = torch.stack([masks == value for value in (1, 2, 3)], dim=1).float()
    indices = torch.tensor([3, 8, 1])
    image, mask = augment_batch(images, masks, augment, seed=seed, epoch=1, indices=indices, size=size)
    for channel, value in enumerate((1, 2, 3)):
        pure = (image[:, channel] - 0.5).abs() > 0.499
        assert pure.float().mean() > 0.2
        assert torch.equal((image[:, channel] > 0.5)[pure], (mask == value)[pure])


@settings(max_examples=25)
@given(augment=augments, seed=st.integers(0, 1000))
def test_trimap_gets_no_value_that_was_not_there(augment, seed):
    _, mask = augment_batch(picture(), trimap(), augment, seed=seed, epoch=1, indices=torch.tensor([2]))
    assert set(mask.unique().tolist()) <= ({0, 1, 2, 3} if augment.outside == "zeros" else {1, 2, 3})
    assert mask.dtype == torch.uint8


# --- draws

EVERYTHING = Augment(
    horizontal_flip=0.5,
    vertical_flip=0.5,
    affine=0.7,
    rotate=20,
    shift=0.1,
    scale=(0.8, 1.2),
    crop=0.5,
    elastic=0.5,
    elastic_alpha=100,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
)


@settings(max_examples=15)
@given(order=st.permutations(range(6)), cut=st.integers(1, 5))
def test_augmentation_does_not_depend_on_batch_or_order(order, cut):
    images = torch.rand(6, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    masks = torch.randint(1, 4, (6, 24, 24), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = augment_batch(images, masks, EVERYTHING, seed=4, epoch=3, indices=torch.arange(6))
    for part in (order[:cut], order[cut:]):
        rows = torch.tensor(part)
        image, mask = augment_batch(images[rows], masks[rows], EVERYTHING, seed=4, epoch=3, indices=rows)
        assert torch.allclose(image, whole[0][rows], atol=1e-5)
        assert torch.equal(mask, whole[1][rows])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_augmentation_does_not_depend_on_the_number_of_workers(tiny_pets):
    arrays = load_arrays(tiny_pets, 32)
    prepare = BatchTransform(tiny_pets, "trimap", (0, 0, 0), (1, 1, 1))
    batches = [np.array([3, 9, 1]), np.array([20, 4])]
    seen = [
        [prepare(batch, EVERYTHING, seed=1, epoch=2) for batch in batch_loader(arrays, batches, workers)]
        for workers in (0, 2)
    ]
    for (image, mask), (other_image, other_mask) in zip(*seen, strict=True):
        assert torch.equal(image, other_image)
        assert torch.equal(mask, other_mask)


def test_seed_epoch_and_position_each_draw_anew():
    drawn = {
        (seed, epoch, index): tuple(draws(seed, epoch, torch.tensor([index]), 4)[0].tolist())
        for seed in (0, 1)
        for epoch in (1, 2)
        for index in (0, 1)
    }
    assert len(set(drawn.values())) == 8


@pytest.mark.parametrize(("name", "column"), [("horizontal_flip", 0), ("vertical_flip", 1)])
def test_flips_happen_as_often_as_asked(name, column):
    matrices = spatial_matrices(Augment(**{name: 0.3}), draws(0, 1, torch.arange(2000), 12))
    flipped = (matrices[:, column, column] < 0).float().mean().item()
    assert flipped == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 2000))


def test_drawn_angles_shifts_and_scales_fill_their_ranges():
    augment = Augment(affine=1, rotate=30, shift=0.1, scale=(0.8, 1.25))
    matrices = spatial_matrices(augment, draws(0, 1, torch.arange(3000), 12)).double()
    scales = 1 / torch.linalg.det(matrices[:, :, :2]).sqrt()
    angles = torch.atan2(matrices[:, 0, 1], matrices[:, 0, 0]).rad2deg()
    # the map leads back from the result, so the shift is what it takes to the middle of the result
    shifts = -torch.linalg.solve(matrices[:, :, :2], matrices[:, :, 2]) / 2
    for found, low, high in ((scales, 0.8, 1.25), (angles, -30, 30), (shifts, -0.1, 0.1)):
        width = high - low
        assert low - 1e-4 <= found.min() < low + 0.02 * width
        assert high - 0.02 * width < found.max() <= high + 1e-4


def test_elastic_bends_only_as_many_images_as_asked():
    augment = Augment(elastic=0.25, elastic_alpha=100)
    grids = sampling_grid(augment, 0, 1, torch.arange(400), 16)
    straight = sampling_grid(Augment(), 0, 1, torch.tensor([0]), 16)
    bent = ((grids - straight).abs().amax((1, 2, 3)) > 1e-4).float().mean().item()
    assert bent == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 400))


# --- drawn anew until the mask is not empty

CROPS = Augment(crop=1, crop_side=(0.3, 0.4), brightness=0.3)


@pytest.fixture(scope="module")
def corners_root(tmp_path_factory):
    """Ten images of three groups; masks hold 8x8 pixels of class 1 in a corner, but image 4's is empty."""
    root, rng = tmp_path_factory.mktemp("corners"), np.random.default_rng(0)
    for i in range(10):
        mask = np.zeros((32, 32), np.uint8)
        if i != 4:
            mask[:8, :8] = 1
        for part, pixels in (("images", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)), ("masks", mask)):
            folder = root / "source" / part / "ABC"[i % 3]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return get_pets(root / "new", root / "source").folder


@pytest.fixture
def corners(corners_root, lab_home) -> Pets:
    """The ten images of `corners_root`."""
    return open_pets(corners_root)


def prepared(pets, indices, redraw: int, epoch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Augmented images and masks, all in one batch."""
    prepare = BatchTransform(pets, "mask", (0, 0, 0), (1, 1, 1))
    batch = next(iter(batch_loader(load_arrays(pets, 32), [np.array(indices)])))
    return prepare(batch, CROPS.model_copy(update={"redraw": redraw}), seed=2, epoch=epoch)


def by_hand(pets, index: int, redraw: int, epoch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """The first drawing of an image with a foreground, or the last of those allowed."""
    arrays = load_arrays(pets, 32)
    image = torch.from_numpy(arrays.images[[index]]).permute(0, 3, 1, 2).float() / 255
    for attempt in range(redraw + 1):
        found, mask = augment_batch(
            image,
            torch.from_numpy(arrays.trimaps[[index]]),
            CROPS,
            seed=2,
            epoch=epoch,
            indices=torch.tensor([index]),
            attempt=attempt,
        )
        if (mask > 0).any():
            break
    return found[0], mask[0]


@pytest.mark.parametrize("redraw", [0, 1, 3, 20])
def test_image_is_drawn_until_its_mask_shows_something(corners, redraw):
    images, masks = prepared(corners, range(10), redraw)
    for index in range(10):
        image, mask = by_hand(corners, index, redraw)
        assert torch.allclose(images[index], image, atol=1e-5)
        assert torch.equal(masks[index], mask.long())


def test_crops_of_a_corner_are_mostly_empty_without_redraw_and_hardly_with_it(corners):
    before, after = (prepared(corners, range(10), redraw)[1].flatten(1).any(1).sum().item() for redraw in (0, 60))
    assert before < 5
    assert after == 9


def test_empty_mask_is_given_up_after_the_bound(corners):
    empty = next(i for i, pet in enumerate(corners.items) if pet.name == "B_4")
    assert not prepared(corners, [empty], 7)[1].any()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])  # nothing changes the data
@given(order=st.permutations(range(10)), cut=st.integers(1, 9))
def test_redrawn_image_does_not_depend_on_its_batch(corners, order, cut):
    whole = prepared(corners, range(10), 4)
    for part in (order[:cut], order[cut:]):
        images, masks = prepared(corners, part, 4)
        assert torch.allclose(images, whole[0][part], atol=1e-5)
        assert torch.equal(masks, whole[1][part])


def test_first_drawing_is_the_one_without_redraw(corners):
    plain, drawn = prepared(corners, range(10), 0), prepared(corners, range(10), 5)
    kept = plain[1].flatten(1).any(1)
    assert 0 < kept.sum() < 9
    assert torch.equal(plain[0][kept], drawn[0][kept])
    assert not any(torch.equal(plain[0][i], drawn[0][i]) for i in range(10) if not kept[i])


def test_each_attempt_has_numbers_of_its_own():
    """Attempt 0 draws what (seed, epoch, index) alone draws, so that recorded trainings stay what they are."""
    index = torch.tensor([6])
    assert draws(3, 4, index, 5)[0].tolist() == np.random.default_rng([3, 4, 6]).random(5).tolist()
    assert len({tuple(draws(3, 4, index, 5, attempt)[0].tolist()) for attempt in range(101)}) == 101


def test_ignored_pixels_are_no_foreground(tiny_pets):
    """With the border ignored, a crop that shows nothing but border is drawn anew, and the last drawing is taken."""
    prepare = BatchTransform(tiny_pets, "border_ignored", (0, 0, 0), (1, 1, 1))
    batch = next(iter(batch_loader(load_arrays(tiny_pets, 32), [np.array([3])])))
    ring = batch._replace(trimaps=torch.where(batch.trimaps == 1, 3, batch.trimaps))
    images = ring.images.permute(0, 3, 1, 2).float() / 255
    first, last = (
        augment_batch(images, ring.trimaps, CROPS, seed=1, epoch=1, indices=batch.indices, attempt=attempt)[0]
        for attempt in (0, 2)
    )
    drawn, _ = prepare(ring, CROPS.model_copy(update={"redraw": 2}), seed=1, epoch=1)
    assert torch.allclose(drawn, last, atol=1e-5)
    assert not torch.allclose(first, last, atol=1e-2)


@pytest.mark.parametrize(("outside", "expected"), [("zeros", {0, 2}), ("border", {2}), ("reflection", {2})])
def test_outside_a_picture_a_class_mask_is_background_or_what_the_picture_repeats(corners, outside, expected):
    prepare = BatchTransform(corners, "mask", (0, 0, 0), (1, 1, 1))
    batch = next(iter(batch_loader(load_arrays(corners, 32), [np.arange(10)])))
    full = batch._replace(images=torch.full_like(batch.images, 200), trimaps=torch.full_like(batch.trimaps, 2))
    images, masks = prepare(full, Augment(affine=1, shift=0.4, outside=outside), seed=0, epoch=1)
    assert set(masks.unique().tolist()) == expected
    assert (masks[images[:, 0] < 0.01] == 0).all()
