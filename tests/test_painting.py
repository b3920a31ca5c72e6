"""Pictures: their pixels are what the masks say."""

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
    cross = ndimage.generate_binary_structure(2, 1)
    for thickness in (1, 2, 3):
        inner = ndimage.binary_erosion(mask, cross, iterations=thickness, border_value=1)
        assert (painting.outline(mask, thickness) == mask & ~inner).all()


def test_an_error_map_colours_what_was_missed_and_what_is_too_much():
    truth, image = blob(), np.full((20, 24, 3), 100, dtype=np.uint8)
    prediction = np.roll(truth, 4, axis=1)
    picture = painting.error_map(image, prediction, truth, opacity=1.0)
    edge = painting.outline(truth)
    assert (picture[truth & ~prediction & ~edge] == painting.BLUE).all()
    assert (picture[prediction & ~truth] == painting.VERMILION).all()
    assert (picture[~prediction & ~truth] == 100).all()


def test_a_montage_places_every_picture():
    pictures = [[np.full((4, 6, 3), 10 * i + j, dtype=np.uint8) for j in range(3)] for i in range(2)]
    sheet = painting.montage(pictures, gap=2, paper=255)
    assert sheet.shape == (10, 22, 3)
    for i in range(2):
        for j in range(3):
            assert (sheet[i * 6 : i * 6 + 4, j * 8 : j * 8 + 6] == 10 * i + j).all()
    assert (sheet[4:6] == 255).all()
