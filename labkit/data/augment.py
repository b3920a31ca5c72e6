"""Augmentation: one sampling grid an image, applied to image and mask alike, and color as arithmetic.

Flips, affine maps, crops and elastic deformation are maps from where a pixel of the result lies to where it is taken
from, so all of them compose into one grid. The image is read through it by interpolation, the trimap by nearest
neighbor; the two cannot get out of step.
"""

import math
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
GRAY = (0.299, 0.587, 0.114)  # what red, green and blue weigh in a pixel's brightness


class Augment(BaseModel):
    """What is done to training images; probabilities are per image, color strengths s draw from [1 - s, 1 + s]."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    horizontal_flip: Probability = 0.0
    vertical_flip: Probability = 0.0
    affine: Probability = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation either way, in degrees."""
    shift: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest shift along each axis, as a share of the image's side."""
    scale: Range = (1.0, 1.0)
    crop: Probability = 0.0
    crop_side: Range = (0.6, 1.0)
    """Side of the crop, as a share of the image's side; it is enlarged to the whole image."""
    elastic: Probability = 0.0
    elastic_alpha: float = 30.0
    """Strength of the elastic deformation, as torchvision counts it (see `elastic_displacement`)."""
    elastic_sigma: Annotated[float, Field(gt=0)] = 5.0
    """Smoothness of the elastic deformation: standard deviation of the Gaussian blur, in pixels."""
    brightness: Probability = 0.0
    contrast: Probability = 0.0
    saturation: Probability = 0.0
    outside: Literal["reflection", "border", "zeros"] = "reflection"
    """What lies outside the image (and its trimap) when a map looks there."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How the image is read between its pixels; the trimap is always read by nearest neighbor."""
    copies: Annotated[int, Field(ge=0, le=100)] = 0
    """Transformed copies that stand beside each image, which is then left as it is; 0: the transformed image stands
    in its place. An epoch has `1 + copies` times as many steps."""
    redraw: Annotated[int, Field(ge=0, le=100)] = 0
    """How many times at most an image is drawn anew while its mask has no foreground, which shifts the classes."""


def draws(seed: int, epoch: int, indices: Tensor, count: int, attempt: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) for each image, `float64 [B, count]`, from (seed, epoch, index, attempt) alone.

    So an image is augmented the same whatever batch, worker, process or resumed run it is met in.
    """
    # numpy pads the key with zeros, so that attempt 0 is the stream of (seed, epoch, index)
    rows = [np.random.default_rng([seed, epoch, p, attempt]).random(count) for p in indices.tolist()]
    return torch.from_numpy(np.stack(rows))


def spatial_matrices(augment: Augment, u: Tensor) -> Tensor:
    """Flip, affine map and crop as one matrix an image: from a place in the result to its source.

    Places are in [-1, 1] x [-1, 1], x to the right, y down, the image's corners at +-1. The uniform numbers `u`
    `[B, 12]` say what happens; the result is `float32 [B, 2, 3]`.
    """
    flip_x = 1 - 2 * (u[:, 0] < augment.horizontal_flip).double()
    flip_y = 1 - 2 * (u[:, 1] < augment.vertical_flip).double()

    happens = (u[:, 2] < augment.affine).double()
    angle = happens * (2 * u[:, 3] - 1) * math.radians(augment.rotate)
    shift = happens[:, None] * (2 * u[:, 4:6] - 1) * 2 * augment.shift
    low, high = augment.scale
    scale = torch.where(happens > 0, low + (high - low) * u[:, 6], 1.0)

    cropped = u[:, 7] < augment.crop
    low, high = augment.crop_side
    side = torch.where(cropped, (low + (high - low) * u[:, 8]).clamp(max=1), 1.0)
    center = (2 * u[:, 9:11] - 1) * (1 - side)[:, None]

    # result -> crop window: p * side + center; -> undo shift, rotation and scale; -> undo the flips
    cos, sin = angle.cos() / scale, angle.sin() / scale
    unturn = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
    offset = (unturn @ (center - shift)[:, :, None])[:, :, 0]
    flips = torch.stack([flip_x, flip_y], -1)
    linear = flips[:, :, None] * unturn * side[:, None, None]
    return torch.cat([linear, (flips * offset)[:, :, None]], dim=2).float()


def elastic_displacement(noise: Tensor, alpha: float, sigma: float) -> Tensor:
    """A smooth random displacement of each pixel, after torchvision's `ElasticTransform`.

    Uniform `noise` `[B, 2, S, S]` in [0, 1) becomes noise in [-1, 1], is blurred by a Gaussian of `sigma` pixels and
    multiplied by `alpha / side`: `[B, S, S, 2]` in the units of `spatial_matrices`. For alpha 30 and sigma 5 that is
    half a pixel.
    """
    side = noise.shape[-1]
    radius = int(8 * sigma + 1) // 2
    offsets = torch.arange(-radius, radius + 1, dtype=noise.dtype, device=noise.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    field = (2 * noise - 1).flatten(0, 1)[:, None]
    # the blur is separable; reflection needs the radius to fit into the image
    mode = "reflect" if radius < side else "replicate"
    field = F.conv2d(F.pad(field, (radius, radius, 0, 0), mode=mode), kernel[None, None, None, :])
    field = F.conv2d(F.pad(field, (0, 0, radius, radius), mode=mode), kernel[None, None, :, None])
    return field.view(-1, 2, side, side).permute(0, 2, 3, 1) * alpha / side


def sampling_grid(
    augment: Augment, seed: int, epoch: int, indices: Tensor, size: int, device="cpu", attempt: int = 0
) -> Tensor:
    """Where each pixel of the augmented images is taken from: `float32 [B, size, size, 2]` for `grid_sample`."""
    u = draws(seed, epoch, indices, 12, attempt)
    matrices = spatial_matrices(augment, u).to(device, non_blocking=True)  # a plain copy to a GPU waits for it
    grid = F.affine_grid(matrices, [len(matrices), 1, size, size], align_corners=False)
    if augment.elastic > 0:
        noise = draws(seed, epoch, indices, 12 + 2 * size * size, attempt)[:, 12:].view(-1, 2, size, size)
        happens = (u[:, 11] < augment.elastic).float()[:, None, None, None]
        bend = elastic_displacement(noise.float(), augment.elastic_alpha, augment.elastic_sigma) * happens
        # the bend moves places of the result; the matrix's linear part carries it to the source
        grid = grid + (bend.to(device, non_blocking=True) @ matrices[:, None, :, :2].transpose(2, 3))
    return grid


def sample_images(images: Tensor, grid: Tensor, outside: str = "reflection", interpolation: str = "bilinear") -> Tensor:
    """Read images `float [B, 3, S, S]` in [0, 1] through a grid, bilinearly or bicubically."""
    read = F.grid_sample(images, grid, mode=interpolation, padding_mode=outside, align_corners=False)
    return read.clamp_(0, 1) if interpolation == "bicubic" else read  # a cubic overshoots at edges


def sample_trimaps(trimaps: Tensor, grid: Tensor, outside: str = "reflection") -> Tensor:
    """Read trimaps `uint8 [B, S, S]` through a grid, by nearest neighbor; `zeros` outside come out as 0."""
    read = F.grid_sample(trimaps[:, None].float(), grid, mode="nearest", padding_mode=outside, align_corners=False)
    return read[:, 0].to(torch.uint8)


def color(images: Tensor, augment: Augment, u: Tensor) -> Tensor:
    """Brightness, contrast and saturation of images in [0, 1], `float [B, 3, H, W]`, factors from `u` `[B, 3]`."""
    strengths = u.new_tensor([augment.brightness, augment.contrast, augment.saturation])
    factors = (1 + (2 * u - 1) * strengths).float().to(images, non_blocking=True)
    brightness, contrast, saturation = factors.T[:, :, None, None, None]
    gray_weights = torch.tensor(GRAY).to(images, non_blocking=True)[None, :, None, None]
    # in place: on a CPU, what takes time is fresh memory
    images = (images * brightness).clamp_(0, 1)
    mean = (images * gray_weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    images.sub_(mean).mul_(contrast).add_(mean).clamp_(0, 1)
    gray = (images * gray_weights).sum(1, keepdim=True)
    return images.sub_(gray).mul_(saturation).add_(gray).clamp_(0, 1)


def augment_batch(
    images: Tensor,
    trimaps: Tensor,
    augment: Augment,
    *,
    seed: int,
    epoch: int,
    indices: Tensor,
    size: int | None = None,
    attempt: int = 0,
) -> tuple[Tensor, Tensor]:
    """Augment images `float [B, 3, S, S]` in [0, 1] and trimaps `uint8 [B, S, S]`, a whole batch on its device.

    `indices` `int64 [B]` says which images these are, `attempt` how many times they have been drawn before in this
    epoch; `size` is the side of the result in pixels, None keeps S.
    """
    grid = sampling_grid(augment, seed, epoch, indices, size or images.shape[-1], images.device, attempt)
    images = sample_images(images, grid, augment.outside, augment.interpolation)
    trimaps = sample_trimaps(trimaps, grid, augment.outside)
    if augment.brightness or augment.contrast or augment.saturation:
        images = color(images, augment, draws(seed + 1_000_003, epoch, indices, 3, attempt))
    return images, trimaps
