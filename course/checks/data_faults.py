"""Checks of notebook 01 on two predictions, and on two faults of report 000: labels interpolated, masks moved apart."""

from collections.abc import Callable

import numpy as np
import torch
from torchvision.transforms import InterpolationMode, v2

from course.checks.verdict import (
    Check,
    Collected,
    WrongAnswer,
    as_array,
    call,
    expect,
    number_check,
)

# --- predictions


split_sizes = number_check(
    "split_sizes",
    "every tenth name, from the first on",
    (22, 3),
    {
        "the first name has i = 0, and 0 % 10 is 0, too": (23, 2),
        "i % 10 == 0 holds for every tenth name, not for a tenth of them rounded down": (22.5, 2.5),
        "those two do not add up to 25 names": (25, 3),
        "the order is train, then valid": (3, 22),
        "that is the first tenth of the list, rounded": (23, 3),
    },
    "write down i for all 25 names, from 0 to 24, and mark where i % 10 is 0",
    0.25,
)

choice_shares = number_check(
    "choice_shares",
    "the choice halves each probability",
    (0.1, 0.8),
    {
        "those are percent; write shares": (10, 80),
        "RandomApply acts with 0.2, but only where RandomChoice has taken it": (0.2, 0.8),
        "that would be the share of both in a row, not of a choice between them": (0.2, 0.64),
        "0.2 and 0.2 would be two independent chances; one of the two is chosen first": (0.2, 0.6),
        "the first number is right; unchanged is whatever neither of the two has changed": (0.1, 0.9),
        "that is the share of elastic or crop together": (0.2, 0.2),
        "0.5 is the chance to be chosen; then RandomApply still has to act": (0.5, 0.0),
        "the second number is the share of images that come out as they are": (0.1, 0.2),
    },
    "draw a tree: which transform is chosen, then whether it acts",
    0.004,
)

# --- labels made smaller


def _labels(seed: int) -> list[tuple[np.ndarray, int]]:
    """Label maps and how many times smaller they are to be.

    Tiles mix 1 and 3, between which 2 lies; one is of zeros and ones, one of 37 labels and 255.
    """
    rng = np.random.default_rng([seed, 4])
    maps = [rng.choice([1, 3], (32, 32)), rng.choice([1, 2, 3], (24, 24)), rng.integers(0, 2, (32, 32))]
    maps += [np.kron(rng.choice([1, 3], (8, 8)), np.ones((4, 4)))]  # tiles of one label
    maps += [rng.choice([*range(38), 255], (24, 24)), rng.choice([1, 3], (24, 24))]
    return [(labels.astype(np.uint8), factor) for labels, factor in zip(maps, (4, 4, 4, 4, 2, 3), strict=True)]


def _collect_labels(student: Callable, seed: int) -> Collected:
    what, found = "smaller_labels", {}
    for number, (labels, factor) in enumerate(_labels(seed)):
        side = len(labels) // factor
        small = as_array(call(student, labels.copy(), side, what=what), what)
        expect(small.shape == (side, side), f"{what}: the shape {(side, side)} is asked for, found {small.shape}")
        found[str(number)] = small.astype(np.float64)
    return found


def _judge_labels(arrays: Collected, seed: int) -> None:
    what = "smaller_labels"
    for number, (labels, factor) in enumerate(_labels(seed)):
        small, side = arrays[str(number)], len(labels) // factor
        expect(
            (small == small.round()).all(),
            f"{what}: values between the labels came back; a label is a name, and there is none halfway",
        )
        tiles = labels.reshape(side, factor, side, factor).swapaxes(1, 2).reshape(side, side, -1)
        if (tiles == small[..., None]).any(-1).all():
            continue
        plain = torch.from_numpy(labels)[None, None].float()
        for antialias in (False, True):
            mixed = torch.nn.functional.interpolate(plain, (side, side), mode="bilinear", antialias=antialias)
            mixed = mixed[0, 0].numpy().round(4)
            expect(
                (small != np.floor(mixed)).mean() > 0.02,
                f"{what}: that is still interpolation cut to integers: pixels of labels 1 and 3 have become 2, and a "
                "mask of zeros and ones shrinks",
            )
            expect(
                (small != mixed.round()).mean() > 0.02,
                f"{what}: rounding saves a mask of zeros and ones, but halfway between 1 and 3 it still makes up a 2",
            )
        expect(
            set(np.unique(small)) <= set(np.unique(labels)),
            f"{what}: labels came out that are nowhere in the map",
        )
        raise WrongAnswer(f"{what}: a pixel has a label that none of the {factor}x{factor} pixels under it has")


smaller_labels = Check("smaller_labels", "no label is made up", _collect_labels, _judge_labels)

# --- image and mask in step

DRAWS = 12


def _pair(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A mask with a corner that no turn or flip hides, and the same as an image."""
    mask = torch.zeros(48, 48, dtype=torch.int64)
    mask[8:40, 6:20] = 1
    mask[8 : 16 + seed % 8, 20:44] = 1
    return mask.float().expand(3, -1, -1).clone(), mask


def _collect_pairs(student: Callable, seed: int) -> Collected:
    what, (image, mask) = "move_pair", _pair(seed)
    affine = v2.RandomAffine(40, (0.15, 0.15), (0.8, 1.2), interpolation=InterpolationMode.BILINEAR)
    transform, images, masks = v2.Compose([v2.RandomHorizontalFlip(0.5), affine]), [], []
    calls = []

    def counted(*parts: object) -> object:
        calls.append(len(parts))
        return transform(*parts)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(DRAWS):
            result = call(student, image.clone(), mask.clone(), counted, what=what)
            expect(
                isinstance(result, tuple | list) and len(result) == 2,
                f"{what}: return the image and the mask; found {type(result).__name__}",
            )
            for name, found, into, shape in (
                ("image", result[0], images, (3, 48, 48)),
                ("mask", result[1], masks, (48, 48)),
            ):
                into.append(as_array(found, f"{what}, {name}"))
                expect(into[-1].shape == shape, f"{what}: the {name} comes back as {into[-1].shape}, expected {shape}")
    expect(bool(calls), f"{what}: the transform that is given is never called")
    return {"images": np.stack(images).astype(np.float64), "masks": np.stack(masks).astype(np.float64)}


def _judge_pairs(arrays: Collected, seed: int) -> None:
    what, (image, mask) = "move_pair", _pair(seed)
    images, masks = arrays["images"], arrays["masks"]
    expect(
        set(np.unique(masks)) <= {0, 1},
        f"{what}: the mask was interpolated: it holds values between 0 and 1; say to torchvision that it is a mask",
    )
    still = {"image": (images == image.numpy()).all(), "mask": (masks == mask.numpy()).all()}
    expect(not all(still.values()), f"{what}: nothing has moved; is the transform called?")
    expect(
        not still["mask"],
        f"{what}: the mask has not moved: of plain tensors torchvision moves the first alone, as the image",
    )
    expect(not still["image"], f"{what}: the image has not moved, the mask has")
    expect(
        len({found.tobytes() for found in masks}) > 1,
        f"{what}: every call gives the same; the draw must be a new one in each call, and the same one for both",
    )
    pets = images[:, 0] > 0.5
    dice = 2 * (pets & (masks == 1)).sum((1, 2)) / (pets.sum((1, 2)) + masks.sum((1, 2)))
    expect(
        dice.mean() > 0.97,
        f"{what}: image and mask were moved apart: a Dice of {dice.mean():.2f} between them; each call of the "
        "transform draws anew; near 0.95 the mask was cut or read in another way",
    )


move_pair = Check("move_pair", "one draw for both", _collect_pairs, _judge_pairs)
