"""Checks of notebook 01 on what moves: the matrix of a rotation, and a batch in which each image flips by itself."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from course.checks.verdict import Check, Collected, as_array, call, expect

ANGLES = (30.0, -75.0, 10.0, 90.0)

# --- the matrix of a rotation


def _collect_rotations(student: Callable, seed: int) -> Collected:
    what, found = "rotation_matrix", {}
    for number, degrees in enumerate(ANGLES):
        matrix = as_array(call(student, degrees, what=what), what)
        matrix = matrix[0] if matrix.shape == (1, 2, 3) else matrix
        expect(matrix.shape == (2, 3), f"{what}: a 2x3 matrix is expected, found the shape {matrix.shape}")
        found[str(number)] = matrix.astype(np.float64)
    return found


def _judge_rotations(arrays: Collected, seed: int) -> None:
    what, found = "rotation_matrix", list(arrays.values())
    radians = [math.radians(degrees) for degrees in ANGLES]

    def all_near(angles: tuple[float, ...] | list[float], sign: int) -> bool:
        return all(np.allclose(m[:, :2], _turn(sign * a), atol=1e-4) for m, a in zip(found, angles, strict=True))

    expect(
        not all_near(ANGLES, 1) and not all_near(ANGLES, -1),
        f"{what}: the degrees were taken as radians; cos and sin want radians, degrees * pi / 180",
    )
    expect(
        not all_near(radians, -1),
        f"{what}: the image turns the other way, counter-clockwise. That is the forward matrix, from the source "
        "to the result; the grid needs its inverse, from a pixel of the result to its source",
    )
    expect(
        all(np.linalg.det(m[:, :2]) > 0 for m in found),
        f"{what}: the image comes out mirrored: x and y are swapped in the rows or in the columns. Row 0 gives "
        "the source's x, row 1 its y, and the columns are x, y, 1",
    )
    expect(
        all(np.allclose(m[:, 2], 0, atol=1e-4) for m in found),
        f"{what}: the last column shifts the image; the center is (0, 0) in these coordinates and must stay there",
    )
    for angle, matrix in zip(ANGLES, found, strict=True):
        turns = np.allclose(matrix[:, :2], _turn(math.radians(angle)), atol=1e-4)
        expect(
            turns, f"{what}: the matrix for {angle:g} degrees does not turn by them; check where it maps the corners"
        )
    image = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(1))
    for degrees, matrix in zip(ANGLES, found, strict=True):
        grid = F.affine_grid(torch.from_numpy(matrix).float()[None], [1, 3, 33, 33], align_corners=False)
        turned = F.grid_sample(image, grid, align_corners=False)
        oracle = v2.affine(image, degrees, [0, 0], 1.0, [0.0, 0.0], InterpolationMode.BILINEAR)
        expect((turned - oracle).abs().max() < 1e-3, f"{what}: not what torchvision gives for {degrees:g} degrees")


def _turn(radians: float) -> np.ndarray:
    """From result to source, y down, for an image that turns clockwise."""
    cos, sin = math.cos(radians), math.sin(radians)
    return np.array([[cos, sin], [-sin, cos]])


rotation_matrix = Check(
    "rotation_matrix", "the same image as torchvision's affine", _collect_rotations, _judge_rotations
)

# --- a batch as report 002 flips it and report 000 feeds it

BATCH, BATCHES = 8, 60
MEAN, STD = torch.tensor([0.48, 0.45, 0.39]), torch.tensor([0.27, 0.25, 0.22])


def _raw_batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images `uint8 [B, 3, 12, 14]` and masks of 0 and 1, of which none is its own mirror image."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (BATCH, 3, 12, 14), generator=generator, dtype=torch.uint8)
    masks = torch.randint(0, 2, (BATCH, 12, 14), generator=generator)
    masks[:, 0, 0], masks[:, 0, -1] = 1, 0
    return images, masks


def _collect_batches(student: Callable, seed: int) -> Collected:
    what, (images, masks) = "training_batch", _raw_batch(seed)
    found: dict[str, list[np.ndarray]] = {"images": [], "masks": []}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(BATCHES):
            result = call(student, images.clone(), masks.clone(), MEAN.clone(), STD.clone(), what=what)
            expect(
                isinstance(result, tuple | list) and len(result) == 2,
                f"{what}: return the images and the masks; found {type(result).__name__}",
            )
            for name, batch, shape in zip(found, result, (images.shape, masks.shape), strict=True):
                batch = as_array(batch, f"{what}, {name}")
                expect(
                    batch.shape == tuple(shape),
                    f"{what}: the {name} come back as {batch.shape}, expected {tuple(shape)}",
                )
                kind, right = str(batch.dtype), {"images": "float32", "masks": "int64"}[name]
                expect(kind == right, f"{what}: the {name} are {kind}; {right} is asked for")
                found[name].append(batch.astype(np.float64))
    return {name: np.stack(batches) for name, batches in found.items()}


def _mirrored(found: np.ndarray, straight: np.ndarray) -> np.ndarray:
    """For each image of each batch: 0 as it was, 1 mirrored left to right, -1 neither."""
    axes = tuple(range(2, found.ndim))
    as_was = np.isclose(found, straight, atol=1e-3).all(axes)
    return np.where(as_was, 0, np.where(np.isclose(found, straight[..., ::-1], atol=1e-3).all(axes), 1, -1))


def _judge_batches(arrays: Collected, seed: int) -> None:
    what, (images, masks) = "training_batch", _raw_batch(seed)
    mean, std = MEAN.numpy()[:, None, None], STD.numpy()[:, None, None]
    raw = images.numpy().astype(np.float64)
    flips = _mirrored(arrays["images"], (raw / 255 - mean) / std)
    wrong = {
        "the images are still on the scale 0..255, as report 000 feeds them; mean and std are those of [0, 1]": raw,
        "mean and std are those of pixels in [0, 1]; divide by 255 before they are used": (raw - mean) / std,
        "the images are in [0, 1], but not normalized with mean and std": raw / 255,
        "the mean is subtracted, but nothing is divided by the standard deviation": raw / 255 - mean,
        "(x - mean) / std is asked for: first subtract, then divide": raw / 255 / std - mean,
    }
    for advice, values in wrong.items():
        expect((_mirrored(arrays["images"], values) < 0).any(), f"{what}: {advice}")
    expect(
        (flips >= 0).all(), f"{what}: an image is neither (x / 255 - mean) / std nor its mirror image, left to right"
    )
    of_masks = _mirrored(arrays["masks"], masks.numpy())
    expect((of_masks >= 0).all(), f"{what}: a mask is neither as it was nor mirrored left to right")
    expect(
        (flips == of_masks).all(), f"{what}: an image is mirrored and its mask is not, or the other way round: one draw"
    )
    expect(flips.any(), f"{what}: in {BATCHES} batches no image was mirrored")
    expect(not flips.all(), f"{what}: every image is mirrored; each shall be with the probability one half")
    expect(
        (flips != flips[:, :1]).any(),
        f"{what}: the images of a batch are mirrored all or none, as in report 002; each image needs a draw of its own",
    )
    expect(
        (flips != flips[:1]).any(),
        f"{what}: every call mirrors the same images; draw anew in each call, not from a fixed seed",
    )
    expect(0.42 < flips.mean() < 0.58, f"{what}: {flips.mean():.0%} of the images are mirrored; one half shall be")


training_batch = Check("training_batch", "one draw an image, numbers around zero", _collect_batches, _judge_batches)
