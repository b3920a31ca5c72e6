"""Checks of notebook 01's build: a pair as tensors, and one flip for both."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from course.checks.verdict import Check, Collected, WrongAnswer, as_array, call, expect
from labkit.data import resize_image, resize_trimap

SIDE = 32

# --- stage 1: a pair as tensors


def drawn_pair(seed: int, height: int = 150, width: int = 110) -> tuple[np.ndarray, np.ndarray]:
    """An image `uint8 [H, W, 3]`, fine stripes, noise and edges, and a trimap with a round pet in a wide border."""
    rng = np.random.default_rng([seed, height])
    y, x = np.mgrid[:height, :width]
    slopes = np.stack([x / width, y / height, 1 - x * y / width / height], axis=-1)
    stripes = 40 + 100 * slopes + 75 * (1 + np.sin((x * 2.1 + y * 1.3)[..., None] + rng.uniform(0, 6, 3)))
    stripes[height // 4 : height // 2, width // 4 : width // 2] = 255 * rng.integers(0, 2, (1, 1, 1))
    stripes[height // 2 :, width // 2 :] = 255 * rng.integers(0, 2, (height - height // 2, width - width // 2, 1))
    distance = np.hypot((y - height * 0.55) / height, (x - width * 0.45) / width)
    return stripes.astype(np.uint8), np.select([distance < 0.24, distance < 0.36], [1, 3], 2).astype(np.uint8)


def _collect_tensors(student: Callable, seed: int) -> Collected:
    what, (image, trimap) = "pair_to_tensors", drawn_pair(seed)
    result = call(student, image.copy(), trimap.copy(), SIDE, what=what)
    expect(
        isinstance(result, tuple | list) and len(result) == 2,
        f"{what}: return the image and the mask, two tensors; found {type(result).__name__}",
    )
    for name, part in zip(("image", "mask"), result, strict=True):
        expect(isinstance(part, torch.Tensor), f"{what}: the {name} is no tensor, but {type(part).__name__}")
    return {name: part.detach().cpu().numpy() for name, part in zip(("image", "mask"), result, strict=True)}


def _judge_tensors(arrays: Collected, seed: int) -> None:
    image, trimap = drawn_pair(seed)
    judge_image("pair_to_tensors", arrays["image"], image)
    judge_mask("pair_to_tensors", arrays["mask"], trimap)


def judge_image(what: str, found: np.ndarray, image: np.ndarray) -> None:
    """Go on if `found` is the image, `[3, side, side]` in [0, 1]; a WrongAnswer otherwise."""
    expect(found.shape != (SIDE, SIDE, 3), f"{what}: the channels come first in PyTorch: [3, H, W]; permute the image")
    expect(
        found.shape == (3, SIDE, SIDE), f"{what}: an image of shape {(3, SIDE, SIDE)} is asked for, found {found.shape}"
    )
    expect(found.dtype == np.float32, f"{what}: the image is {found.dtype}; networks take float32")
    expect(found.max() <= 1.01, f"{what}: the image's values reach {found.max():.0f}; divide by 255")
    right = resize_image(image, (SIDE, SIDE)).transpose(2, 0, 1) / 255
    scale = (found * right).sum() / (right * right).sum()
    near = np.abs(found - right).mean() < 0.004
    expect(not near or abs(scale - 1) < 0.002, f"{what}: the values are {scale:.4f} of the right ones; divide by 255")
    if near:
        return
    for method, name in (
        (Image.BICUBIC, "bicubic, Pillow's default"),
        (Image.LANCZOS, "Lanczos'"),
        (Image.BOX, "a box"),
    ):
        other = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), method)).transpose(2, 0, 1) / 255
        expect(np.abs(found - other).mean() > 0.002, f"{what}: the image was shrunk by {name}; bilinear is asked for")
    plain = F.interpolate(torch.tensor(image).permute(2, 0, 1)[None].float() / 255, (SIDE, SIDE), mode="bilinear")[0]
    nearest = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.NEAREST)).transpose(2, 0, 1) / 255
    rough = np.abs(found - right).mean() > 0.1 and found.std() > 1.5 * right.std()
    expect(
        np.abs(found - plain.numpy()).mean() > 0.01,
        f"{what}: the image is shrunk without antialiasing, so that stripes become dots; ask for it",
    )
    expect(
        np.abs(found - nearest).mean() > 0.01 and not rough,
        f"{what}: the image is shrunk by nearest neighbor, which drops most of its pixels; that is for labels",
    )
    expect(
        np.abs(found - right[:, :, ::-1]).mean() > 0.01 and np.abs(found - right.transpose(0, 2, 1)).mean() > 0.01,
        f"{what}: the image is mirrored, or its height and width are swapped",
    )
    expect(np.abs(found - right[::-1]).mean() > 0.01, f"{what}: red and blue are swapped")
    raise WrongAnswer(f"{what}: the image differs from the bilinear, antialiased one; is the whole of it squashed?")


def judge_mask(what: str, found: np.ndarray, trimap: np.ndarray) -> None:
    """Go on if `found` is the trimap's mask, `int64 [side, side]`; a WrongAnswer otherwise."""
    expect(found.shape == (SIDE, SIDE), f"{what}: a mask of shape {(SIDE, SIDE)} is asked for, found {found.shape}")
    expect(found.dtype == np.int64, f"{what}: the mask is {found.dtype}; class indices are int64, as losses take them")
    values = set(np.unique(found).tolist())
    expect(values <= {0, 1}, f"{what}: a mask holds 0 and 1; found {sorted(values)[:5]}")
    small = resize_trimap(trimap, (SIDE, SIDE))

    def near(mask: np.ndarray, share: float = 0.012) -> bool:
        return (found != mask).mean() < share

    if near(small != 2):
        return
    expect(not near(small == 1), f"{what}: the border (3) counts as pet here; yours is background")
    expect(not near(small == 2), f"{what}: the mask is inverted: 2 is the background")
    expect(not near(np.ones_like(small)), f"{what}: every pixel came out as pet; the background's value is 2, not 0")
    mixed = F.interpolate(torch.tensor(trimap)[None, None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)[0, 0]
    expect(
        not near(mixed.numpy().astype(int) != 2) and not near(mixed.round().numpy() != 2),
        f"{what}: the trimap was interpolated: between 1 and 3 lies 2, so a ring of the pet has become background",
    )
    if near(small != 2, 0.06):  # ways to take the nearest pixel differ by up to half of one
        return
    raise WrongAnswer(f"{what}: the mask is not where the pet is; compare it with the trimap, pixel by pixel")


pair_to_tensors = Check("pair_to_tensors", "one pair, ready for a network", _collect_tensors, _judge_tensors)

# --- stage 2: one flip for both

CALLS, SHARES = 300, (0.0, 0.25, 0.5, 1.0)


def _collect_flips(student: Callable, seed: int) -> Collected:
    what, found = "flip_pair", {}
    image = torch.arange(3 * 4 * 6, dtype=torch.float32).reshape(3, 4, 6)
    mask = torch.arange(4 * 6).reshape(4, 6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for p in SHARES:
            pairs = [call(student, image.clone(), mask.clone(), p, what=what) for _ in range(CALLS)]
            for pair in pairs:
                expect(isinstance(pair, tuple | list) and len(pair) == 2, f"{what}: return the image and the mask")
            for which, name in enumerate(("image", "mask")):
                parts = [as_array(pair[which], f"{what}, {name}") for pair in pairs]
                shape = tuple((image, mask)[which].shape)
                expect({part.shape for part in parts} == {shape}, f"{what}: the {name}'s shape must stay {shape}")
                found[f"{name} {p}"] = np.stack(parts)
    return found


def _judge_flips(arrays: Collected, seed: int) -> None:
    what = "flip_pair"
    image, mask = np.arange(72.0).reshape(3, 4, 6), np.arange(24).reshape(4, 6)

    def flipped(name: str, whole: np.ndarray) -> dict[float, np.ndarray]:
        kinds = {}
        for p in SHARES:
            found = arrays[f"{name} {p}"]
            axes = tuple(range(1, found.ndim))
            same, mirrored = ((found == other).all(axis=axes) for other in (whole, whole[..., ::-1]))
            expect(
                not (found == whole[..., ::-1, :]).all(axis=axes).any(),
                f"{what}: the {name} is upside down: left and right are the *last* axis",
            )
            expect((same | mirrored).all(), f"{what}: the {name} that came back is neither the old one nor its mirror")
            kinds[p] = mirrored
        return kinds

    images, masks = flipped("image", image), flipped("mask", mask)
    for p, share in ((0.0, 0), (1.0, 1)):
        expect(
            images[p].mean() == share or masks[p].mean() == share,
            f"{what}: with p = {p:g}, {images[p].mean():.0%} are flipped",
        )
    expect(masks[1.0].all(), f"{what}: the image is flipped, the mask is not")
    expect(images[1.0].all(), f"{what}: the mask is flipped, the image is not")
    expect(
        (images[0.5] == masks[0.5]).all(), f"{what}: at p = 0.5 image and mask part; draw one number for both of them"
    )
    for p in SHARES[1:3]:
        some = (
            f"at p = {p:g} {images[p].sum()} of {CALLS} pairs are flipped; is one number drawn in every call, below p?"
        )
        expect(abs(images[p].mean() - p) < 0.12, f"{what}: {some}")


flip_pair = Check("flip_pair", "image and mask together", _collect_flips, _judge_flips)
