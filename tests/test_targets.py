import pytest
import torch

from labkit.data import IGNORED, TARGETS, class_names, mask_from_trimap
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


@pytest.mark.parametrize("target", BY_HAND)
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
