import pytest
import torch

from labkit.data import IGNORED, TARGETS, BatchTransform, class_names, has_foreground, mask_from_trimap, open_pets
from labkit.errors import LabError

# 0 is what an augmentation with `outside = "zeros"` leaves where there is no picture
TRIMAP = torch.tensor([[[1, 2, 3], [2, 0, 1]], [[3, 3, 2], [1, 1, 2]]], dtype=torch.uint8)
SPECIES = torch.tensor([1, 2])
BREED = torch.tensor([37, 5])

BY_HAND = {
    "foreground": [[[1, 0, 1], [0, 0, 1]], [[1, 1, 0], [1, 1, 0]]],
    "foreground_strict": [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [1, 1, 0]]],
    "border_ignored": [[[1, 0, 255], [0, 0, 1]], [[255, 255, 0], [1, 1, 0]]],
    "trimap": [[[1, 0, 2], [0, 0, 1]], [[2, 2, 0], [1, 1, 0]]],
    "species": [[[1, 0, 1], [0, 0, 1]], [[2, 2, 0], [2, 2, 0]]],
    "breed": [[[37, 0, 37], [0, 0, 37]], [[5, 5, 0], [5, 5, 0]]],
    "mask": [[[1, 2, 3], [2, 0, 1]], [[3, 3, 2], [1, 1, 2]]],
}


def test_every_target_has_a_mask_written_by_hand():
    assert BY_HAND.keys() == TARGETS.keys()


@pytest.mark.parametrize("target", BY_HAND)
def test_mask_is_the_one_written_by_hand(target):
    mask = mask_from_trimap(TRIMAP, target, SPECIES, BREED)
    assert mask.dtype == torch.int64
    assert mask.tolist() == BY_HAND[target]


@pytest.mark.parametrize("target", BY_HAND)
def test_mask_leaves_the_trimap_as_it_was(target):
    trimap = TRIMAP.clone()
    mask_from_trimap(trimap, target, SPECIES, BREED)
    assert torch.equal(trimap, TRIMAP)


@pytest.mark.parametrize("target", sorted(set(BY_HAND) - {"mask"}))
def test_every_class_index_in_a_mask_has_a_name(target, tiny_pets):
    names = class_names(target, tiny_pets)
    class_ids = torch.tensor([4, 1])
    found = set(mask_from_trimap(TRIMAP, target, SPECIES, class_ids).unique().tolist()) - {IGNORED}
    assert max(found) < len(names)
    assert names[0] == "background"


def test_breeds_are_named_by_their_class_id(tiny_pets):
    assert class_names("breed", tiny_pets) == ("background", "Abby", "Bombo", "corgo", "dachso")


def test_species_index_is_the_one_of_the_lists(tiny_pets):
    assert class_names("species", tiny_pets) == ("background", "cat", "dog")


def test_unknown_target_is_refused_with_the_known_ones(tiny_pets):
    for ask in (lambda: mask_from_trimap(TRIMAP, "cats"), lambda: class_names("cats", tiny_pets)):
        with pytest.raises(LabError, match=r"'cats'.*foreground_strict.*breed"):
            ask()


# --- masks of class indices


@pytest.fixture
def masked_pets(own_pets):
    """Four pets whose trimaps pass for masks of the class indices 1, 2 and 3."""
    folder = own_pets()
    (folder / "annotations" / "classes.txt").write_text("glass\nnucleus\ncluster\nsatellite\n")
    return open_pets(folder)


def test_classes_of_a_mask_are_named_by_the_data(masked_pets, tiny_pets):
    assert class_names("mask", masked_pets) == ("glass", "nucleus", "cluster", "satellite")
    assert tiny_pets.classes == ()


def test_ignored_pixels_of_a_mask_stay_ignored():
    mask = torch.tensor([[[0, 255, 7]]], dtype=torch.uint8)
    assert mask_from_trimap(mask, "mask").tolist() == [[[0, 255, 7]]]


@pytest.mark.parametrize("target", sorted(BY_HAND))
def test_target_that_the_data_cannot_give_is_refused(target, masked_pets, tiny_pets):
    wrong = tiny_pets if target == "mask" else masked_pets
    held = "trimaps" if target == "mask" else "masks of class indices"
    for ask in (lambda: class_names(target, wrong), lambda: BatchTransform(wrong, target, (0, 0, 0), (1, 1, 1))):
        with pytest.raises(LabError, match=rf"holds {held}.*{target!r}.*use ") as refused:
            ask()
        assert str(wrong.folder) in str(refused.value)


def test_foreground_is_any_class_but_background_and_ignored():
    masks = torch.tensor([[[0, 0]], [[0, 255]], [[255, 255]], [[0, 1]], [[255, 3]]])
    assert has_foreground(masks).tolist() == [False, False, False, True, True]
