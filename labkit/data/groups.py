"""Splits of images that come in groups (slides, patients, days): inside each group, or by whole groups."""

from collections.abc import Sequence

import numpy as np

from labkit.data.lists import PARTS
from labkit.errors import LabError

TEST_SHARE, VALID_SHARE = 0.3, 0.1


def split_inside_groups(groups: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """Split every group by itself, so that each is on both sides: `train`, `valid` and `test` -> indices.

    A group of n >= 2 images gives round(0.3 n) of them to the test, at least one and never all; a tenth of all images
    is for validation. Images of one group are alike, so such a test says nothing about new groups.

    Raises:
        LabError: there are too few images for three parts.
    """
    tests, rest = [], []
    for rank, group in enumerate(sorted(set(groups))):
        members = np.random.default_rng([seed, rank]).permutation(np.flatnonzero(np.asarray(groups) == group))
        cut = len(members) - min(max(1, round(len(members) * TEST_SHARE)), len(members) - 1)
        rest += members[:cut].tolist()
        tests += members[cut:].tolist()
    valid = rest[:: round((1 - TEST_SHARE) / VALID_SHARE)]  # of one group after the other, so that all take part
    parts = {"train": [i for i in rest if i not in {*valid}], "valid": valid, "test": tests}
    if not all(parts.values()):
        raise LabError(f"{len(groups)} images in {len(set(groups))} groups: too few for {', '.join(PARTS)}; add images")
    return {part: np.array(sorted(indices), dtype=np.int64) for part, indices in parts.items()}


def split_by_group(groups: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """Deal out whole groups, so that none is on two sides: `train`, `valid` and `test` -> indices.

    0.3 of the groups (not of their images) are for the test, 0.1 for validation, at least one for each.

    Raises:
        LabError: there are fewer than 3 groups.
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise LabError(f"{len(names)} groups ({', '.join(names)}): a split by group needs at least 3; add groups")
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    tests, valids = max(1, round(len(names) * TEST_SHARE)), max(1, round(len(names) * VALID_SHARE))
    dealt = {"train": order[tests + valids :], "valid": order[tests : tests + valids], "test": order[:tests]}
    return {part: np.flatnonzero(np.isin(np.asarray(groups), dealt[part])) for part in PARTS}
