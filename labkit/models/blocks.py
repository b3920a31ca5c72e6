"""The blocks that the networks are made of."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Padding = Literal["zeros", "reflect", "valid"]
Norm = Literal["batch", "group", "none"]
Up = Literal["transposed", "bilinear", "interpolated"]


def normalization(kind: Norm, channels: int) -> nn.Module:
    """The layer after a convolution: batch norm, group norm (8 channels in a group, where they divide), or nothing."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"norm: found {kind!r}; use batch, group or none")


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each followed by normalization and ReLU: one stage of the UNet.

    `[B, in_channels, H, W]` -> `[B, out_channels, H, W]`, or H - 4, W - 4 with `padding="valid"`. The convolutions
    have a bias only without normalization, which would subtract it again.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: Padding = "zeros", norm: Norm = "batch"):
        border, mode = {"zeros": (1, "zeros"), "reflect": (1, "reflect"), "valid": (0, "zeros")}[padding]
        layers = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv2d(channels, out_channels, 3, padding=border, padding_mode=mode, bias=norm == "none"),
                normalization(norm, out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UpTransposed(nn.ConvTranspose2d):
    """The paper's 2x2 up-convolution: twice the size, `[B, C, H, W]` -> `[B, C', 2H, 2W]`, learned."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)


class UpBilinear(nn.Module):
    """A 1x1 convolution that changes the channels, and bilinear upsampling by 2.

    The two commute (one mixes channels, the other places); first, the convolution runs on a quarter of the pixels.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="bilinear", align_corners=False)


class UpInterpolated(nn.Upsample):
    """Bilinear upsampling by 2 with aligned corners, as in report 000; it keeps the number of channels."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(scale_factor=2, mode="bilinear", align_corners=True)


def join(skip: Tensor, x: Tensor) -> Tensor:
    """Concatenate a skip `[B, Cs, H, W]` and the upsampled features `x` `[B, Cx, h, w]`: `[B, Cs + Cx, ...]`.

    Where the skip is larger by the odd pixel that pooling cut off (h = H - 1), the last row and column of `x` are
    repeated; where it is larger by more (unpadded convolutions), its center is taken, as in the paper.
    """
    lower, right = skip.shape[-2] - x.shape[-2], skip.shape[-1] - x.shape[-1]
    if max(lower, right) > 1:
        skip = skip[..., lower // 2 : lower // 2 + x.shape[-2], right // 2 : right // 2 + x.shape[-1]]
    elif lower or right:
        x = F.pad(x, (0, right, 0, lower), mode="replicate")
    return torch.cat([skip, x], dim=1)


class CBAM(nn.Module):
    """Convolutional block attention module: first which channels matter, then which places.

    Woo et al., "CBAM", ECCV 2018 (arXiv 1807.06521), equations 2 and 3. Keeps the shape `[B, C, H, W]`.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, kernel_size=1, bias=False),
        )
        self.spatial = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        average, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)  # [B, C, 1, 1]
        x = x * torch.sigmoid(self.channel(average) + self.channel(largest))
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # [B, 2, H, W]
        return x * torch.sigmoid(self.spatial(summary))
