"""Images: their pixels are what the masks say."""

import numpy as np
from scipy import ndimage

from labkit import painting


def blob() -> np.ndarray:
    y, x = np.mgrid[:20, :24]
    return (y - 9) ** 2 + (x - 11) ** 2 < 40


def test_an_overlay_changes_the_mask_alone_and_by_the_opacity():
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    mask = blob()
    assert (painting.overlay(image, mask, 0.0) == image).all()
    assert (painting.overlay(image, mask, 1.0, (9, 8, 7))[mask] == (9, 8, 7)).all()
    half = painting.overlay(image, mask, 0.5, (100, 100, 100))
    assert (half[~mask] == image[~mask]).all()
    assert np.abs(half[mask].astype(int) - (image[mask].astype(int) + 100) / 2).max() <= 0.5


def test_an_outline_is_the_mask_without_its_erosion():
    mask = blob()
    inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(2, 1), border_value=1)
    assert (painting.outline(mask) == mask & ~inner).all()


def test_an_error_map_colors_what_was_missed_and_what_is_too_much_and_its_outline_hides_neither():
    truth, image = blob(), np.full((20, 24, 3), 100, dtype=np.uint8)
    prediction = np.roll(truth, 4, axis=1)
    painted = painting.error_map(image, prediction, truth, opacity=1.0)
    assert (painted[truth & ~prediction] == painting.BLUE).all()
    assert (painted[prediction & ~truth] == painting.VERMILION).all()
    assert (painted[painting.outline(truth) & prediction] == 255).all()
    assert (painted[~prediction & ~truth] == 100).all()


def gray_image() -> np.ndarray:
    return np.full((20, 24, 3), 100, dtype=np.uint8)


def random_classes(seed: int, highest: int = 3) -> np.ndarray:
    """Class indices in blocks of 4 x 4 pixels, so that there are insides and outlines."""
    return np.random.default_rng(seed).integers(0, highest + 1, (5, 6), dtype=np.uint8).repeat(4, 0).repeat(4, 1)


def test_an_error_map_of_classes_tells_missed_extra_and_wrong_class_apart():
    prediction, truth = random_classes(0), random_classes(1)
    painted = painting.error_map(gray_image(), prediction, truth, opacity=1.0)
    drawn = painting.outline(truth > 0) & (truth == prediction)
    expected = {
        painting.BLUE: (truth > 0) & (prediction == 0),
        painting.VERMILION: (truth == 0) & (prediction > 0),
        painting.PURPLE: (truth > 0) & (prediction > 0) & (truth != prediction),
        (100, 100, 100): truth == prediction,
    }
    assert sum(where.sum() for where in expected.values()) == truth.size
    for color, where in expected.items():
        assert (where & ~drawn).any()
        assert (painted[where & ~drawn] == color).all()
    assert (painted[drawn] == 255).all()


def test_an_error_map_of_booleans_is_that_of_the_classes_0_and_1():
    truth, image = blob(), np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    prediction = np.roll(truth, 4, axis=1)
    booleans = painting.error_map(image, prediction, truth)
    assert (booleans == painting.error_map(image, prediction.astype(np.int64), truth.astype(np.int64))).all()
    assert (booleans == painting.error_map(image, prediction, truth.astype(np.uint8))).all()


def test_an_ignored_pixel_is_never_a_mistake():
    truth, hole = random_classes(1), np.zeros((20, 24), dtype=bool)
    hole[:, 4:12] = True
    truth[hole] = painting.IGNORED
    for prediction in (random_classes(0), random_classes(0) > 0):
        for paint in (painting.error_map, painting.agreement):
            assert (paint(gray_image(), prediction, truth, 1.0)[hole] == 100).all()
    assert (painting.class_overlay(gray_image(), truth, 1.0)[hole] == 100).all()


def test_agreement_is_white_where_a_class_was_found_and_red_where_anything_is_wrong():
    prediction, truth = random_classes(0), random_classes(1)
    painted = painting.agreement(gray_image(), prediction, truth, opacity=1.0)
    assert (painted[(prediction == truth) & (truth > 0)] == 255).all()
    assert (painted[prediction != truth] == painting.VERMILION).all()
    assert (painted[(prediction == truth) & (truth == 0)] == 100).all()


def test_a_class_overlay_tints_each_class_in_the_color_of_its_mask_image():
    image, mask = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8), random_classes(2, 37)
    full = painting.class_overlay(image, mask, 1.0)
    assert (full[mask > 0] == painting.CLASS_COLORS[mask[mask > 0]]).all()
    assert (full[mask == 0] == image[mask == 0]).all()
    for index in np.unique(mask[mask > 0]):
        one = painting.overlay(image, mask == index, 0.5, painting.CLASS_COLORS[index])
        assert (painting.class_overlay(image, mask)[mask == index] == one[mask == index]).all()


def test_the_colors_of_38_classes_can_be_told_apart():
    from skimage.color import deltaE_ciede2000, rgb2lab

    colors = painting.CLASS_COLORS
    assert colors[:3].tolist() == [[0, 0, 0], list(painting.ORANGE), list(painting.SKY)]
    assert len(np.unique(colors, axis=0)) == 256
    shown = np.concatenate([colors[:38], [[255, 255, 255], colors[255]]]) / 255
    lab = rgb2lab(shown)
    distance = deltaE_ciede2000(lab[:, None], lab[None]) + 100 * np.eye(40)
    assert distance.min() > 4  # 2.3 is a difference that can just be seen


def test_a_montage_places_every_image():
    cells = [[np.full((4, 6, 3), 10 * i + j, dtype=np.uint8) for j in range(3)] for i in range(2)]
    sheet = painting.montage(cells, gap=2)
    assert sheet.shape == (10, 22, 3)
    for i in range(2):
        for j in range(3):
            assert (sheet[i * 6 : i * 6 + 4, j * 8 : j * 8 + 6] == 10 * i + j).all()
    assert (sheet[4:6] == 255).all()
