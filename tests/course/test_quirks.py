"""Planted quirks are those of real files, and the originals stay as they are."""

import numpy as np
import pytest
from PIL import Image

from course import plant_quirks


def test_three_images_get_a_quirk_each_and_are_still_read(tiny_pets, tmp_path):
    indices = [0, 2, 5]
    before = [tiny_pets.image_path(i).read_bytes() for i in indices]
    planted = plant_quirks(tiny_pets, indices, tmp_path)
    assert [pet.name for pet in planted.items] == [tiny_pets.items[i].name for i in indices]
    files = [Image.open(planted.image_path(i)) for i in range(3)]
    assert [file.format for file in files] == ["PNG", "JPEG", "JPEG"]
    assert [file.getexif().get(0x0112, 1) for file in files] == [1, 6, 1]
    assert files[1].size == tiny_pets.image(2).shape[:2]  # width and height are swapped on disk
    for number, index in enumerate(indices):
        difference = planted.image(number).astype(float) - tiny_pets.image(index)
        assert np.abs(difference).mean() < 8
    assert [np.unique(planted.trimap(i)).tolist() for i in range(3)] == [[1, 2, 3], [1, 2, 3], [2]]
    assert [tiny_pets.image_path(i).read_bytes() for i in indices] == before


def test_a_folder_that_holds_images_is_refused(tiny_pets, tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(FileExistsError):
        plant_quirks(tiny_pets, [0, 1, 2], tmp_path)
