"""Checks of notebook 01: a mask from a trimap, mean and standard deviation."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from course.checks.verdict import Check, Collected, as_array, call, expect

# --- a mask from a trimap


def _trimaps(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    drawn = [torch.randint(1, 4, (5, 7), generator=generator, dtype=torch.uint8) for _ in range(3)]
    return drawn + [torch.full((2, 3), value, dtype=torch.uint8) for value in (1, 2, 3)]


def _collect_masks(student: Callable, seed: int) -> Collected:
    what, trimaps = "mask_strict_or_not", _trimaps(seed)
    return {
        f"{flag} {number}": as_array(call(student, trimap.clone(), flag, what=what), what)
        for flag in (False, True)
        for number, trimap in enumerate(trimaps)
    }


def _judge_masks(arrays: Collected, seed: int) -> None:
    what, trimaps = "mask_strict_or_not", _trimaps(seed)
    pet_values = {
        flag: _pet_values([arrays[f"{flag} {number}"] for number in range(len(trimaps))], trimaps, what)
        for flag in (False, True)
    }
    strict, loose = pet_values[False], pet_values[True]

    expect(
        not strict == loose == {1, 2, 3},
        f"{what}: every pixel came out as pet. `trimap > 0` and `trimap.bool()` are true everywhere, because "
        "the background's value is 2, not 0",
    )
    expect(
        (strict, loose) != ({2, 3}, {2}),
        f"{what}: the mask is inverted: 1 in the background, 0 in the pet",
    )
    expect(
        2 not in strict | loose,
        f"{what}: trimap value 2 came out as pet, but 2 is the background (1 = pet, 3 = border)",
    )
    expect(
        {3} not in (strict, loose),
        f"{what}: the border alone came out as pet, as report 003's text has it; the pet's inside is pet in both cases",
    )
    expect(
        not strict == loose == {1},
        f"{what}: only trimap value 1 is ever pet; with border_is_pet=True the border (3) is pet too",
    )
    expect(
        not strict == loose == {1, 3},
        f"{what}: the border (3) is always pet; with border_is_pet=False it is background",
    )
    expect(
        (strict, loose) != ({1, 3}, {1}),
        f"{what}: border_is_pet is inverted: True must make the border part of the pet",
    )
    expect(
        (strict, loose) == ({1}, {1, 3}),
        f"{what}: with border_is_pet=False the trimap values {sorted(strict)} came out as pet, with True "
        f"{sorted(loose)}; which values does the table call pet, and which border?",
    )


def _pet_values(masks: list[np.ndarray], trimaps: list[Tensor], what: str) -> set[int]:
    """The trimap values that the masks call pet."""
    seen: dict[int, set[float]] = {1: set(), 2: set(), 3: set()}
    for mask, trimap in zip(masks, trimaps, strict=True):
        expect(
            mask.shape == tuple(trimap.shape),
            f"{what}: the mask must have the size of the trimap, {tuple(trimap.shape)}, found {mask.shape}",
        )
        for value in seen:
            seen[value] |= {float(v) for v in np.unique(mask[trimap.numpy() == value])}
    found = sorted(set().union(*seen.values()))
    expect(
        set(found) <= {0.0, 1.0},
        f"{what}: a mask holds class indices, 0 (background) and 1 (pet), but these values were found: "
        f"{found[:6]}" + ("; 255 means ignored, not white" if 255.0 in found else ""),
    )
    for value, results in seen.items():
        expect(
            len(results) == 1,
            f"{what}: trimap value {value} came out as 0 in some pixels and as 1 in others; the mask of a pixel "
            "depends on the trimap value of that pixel alone",
        )
    return {value for value, results in seen.items() if results == {1.0}}


mask_strict_or_not = Check("mask_strict_or_not", "right with the border and without it", _collect_masks, _judge_masks)

# --- mean and standard deviation


def _collect_statistics(student: Callable, seed: int) -> Collected:
    what, arrays = "channel_statistics", {}
    for number, (images, train) in enumerate(_image_stacks(seed)):
        result = call(student, images.copy(), train.copy(), what=what)
        expect(result is not None, f"{what}: nothing came back; does the function end in `return ...`?")
        try:
            mean, std = result
        except (TypeError, ValueError):
            expect(False, f"{what}: return two arrays, `return mean, std`; found {type(result).__name__}")
        for name, values in (("mean", mean), ("std", std)):
            arrays[f"{name} {number}"] = as_array(values, f"{what}, {name}").squeeze().astype(np.float64)
    return arrays


def _judge_statistics(arrays: Collected, seed: int) -> None:
    for number, (images, train) in enumerate(_image_stacks(seed)):
        _judge_stack(images, train, arrays[f"mean {number}"], arrays[f"std {number}"])


def _image_stacks(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Small stacks of images that differ much in brightness, so that wrong formulas and wrong images show; and which
    of them are for training."""
    stacks = []
    for count, height, width in ((9, 20, 30), (13, 24, 16)):
        rng = np.random.default_rng([seed, count])
        train = np.sort(rng.permutation(count)[: 2 * count // 3])
        brightness = rng.uniform(20, 120, (count, 1, 1, 3))
        brightness[np.setdiff1d(np.arange(count), train)] += 70
        noise = rng.uniform(0, [60, 40, 25], (count, height, width, 3))
        stacks.append(((brightness + noise).astype(np.uint8), train))
    return stacks


def _judge_stack(images: np.ndarray, train: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    what = "channel_statistics"
    everything = images.astype(np.float64) / 255
    images = images[train]
    scaled = images.astype(np.float64) / 255
    right_mean, right_std = scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))

    def near(found: np.ndarray, right: np.ndarray) -> bool:
        return found.shape == right.shape and np.allclose(found, right, rtol=2e-3, atol=1e-6)

    for name, found in (("mean", mean), ("std", std)):
        expect(
            found.shape != (),
            f"{what}: the {name} is a single number; the channels red, green and blue each get their own",
        )
        expect(
            found.shape == (3,),
            f"{what}: the {name} has the shape {found.shape}, but there are 3 channels, and they are the last "
            "axis; average over the axes 0, 1 and 2",
        )
    expect(
        not near(mean / 255, right_mean),
        f"{what}: the numbers are on the scale 0..255; divide the pixels by 255 first",
    )
    expect(
        not (near(std, right_mean) and near(mean, right_std)),
        f"{what}: mean and standard deviation are in the wrong order; the mean comes first",
    )
    expect(not near(mean * 256 / 255, right_mean), f"{what}: the largest value of a byte is 255; divide by that")
    for factor in (1, 255):
        expect(
            not near(mean, factor * everything.mean((0, 1, 2))),
            f"{what}: all images were taken, those of validation and test as well, as report 003 does; "
            "`train` says which count",
        )
    expect(
        not near(mean, everything[: len(train)].mean((0, 1, 2))),
        f"{what}: the first images were taken; `train` holds indices, and they need not be the first",
    )
    expect(near(mean, right_mean), f"{what}: the mean is not that of all pixels of a channel; over which axes is it?")
    expect(
        not near(std, everything.std((0, 1, 2))),
        f"{what}: the mean is of the training images, the standard deviation still of all images",
    )

    squares = "the squares were computed in uint8, where 16 * 16 is 0; make the pixels floating-point first"
    expect(not np.isnan(std).any(), f"{what}: the standard deviation is not a number: {squares}")
    wrapped = (images * images).astype(np.float64).mean((0, 1, 2)) / 255**2 - right_mean**2
    wrong = {
        "the standard deviation is on the scale 0..255; divide the pixels by 255 first": right_std * 255,
        "that is the variance; its square root is the standard deviation": right_std**2,
        "that is the mean of the images' own standard deviations; it ignores how the images differ from each "
        "other. All pixels of all training images go into one standard deviation": scaled.std((1, 2)).mean(0),
        "that is the standard deviation over the images' means; it ignores how the pixels of one image "
        "differ. All pixels of all training images go into one standard deviation": scaled.mean((1, 2)).std(0),
        "the same, over the images' means, divided by n - 1; all pixels go into one standard deviation": scaled.mean(
            (1, 2)
        ).std(0, ddof=1),
        squares: np.sqrt(np.abs(wrapped)),
    }
    for advice, value in wrong.items():
        expect(not near(std, value), f"{what}: {advice}")
    expect(near(std, right_std), f"{what}: the mean is right, the standard deviation is not; over which pixels is it?")


channel_statistics = Check(
    "channel_statistics", "per channel, over all pixels of the training images", _collect_statistics, _judge_statistics
)
