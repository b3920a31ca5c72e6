"""ResNet34-UNet. Encoder: He et al., "Deep Residual Learning", CVPR 2016 (arXiv 1512.03385), table 1.

The lab's decoder: figure 2a of DOI 10.1016/j.ejro.2022.100412, with CBAM after every stage.
"""

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.models.blocks import CBAM, DoubleConv, UpTransposed, join


class BasicBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input: `[B, C, H, W]` -> `[B, C', H/stride, W/stride]`."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or in_channels != channels:  # the shortcut must have the shape of the sum
            projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


def residual_layer(in_channels: int, channels: int, blocks: int, stride: int, block: type = BasicBlock) -> nn.Module:
    """`blocks` residual blocks in a row; the first changes channels and size."""
    first = block(in_channels, channels, stride)
    return nn.Sequential(first, *(block(channels, channels) for _ in range(blocks - 1)))


class ResNet34Encoder(nn.Module):
    """ResNet34 without its classifier `fc`; its parameters have torchvision's names, so that its weights load."""

    def __init__(self, in_channels: int = 3, block: type[BasicBlock] = BasicBlock, width: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_layer(width, width, blocks=3, stride=1, block=block)  # 64
        self.layer2 = residual_layer(width, 2 * width, blocks=4, stride=2, block=block)  # 128
        self.layer3 = residual_layer(2 * width, 4 * width, blocks=6, stride=2, block=block)  # 256
        self.layer4 = residual_layer(4 * width, 8 * width, blocks=3, stride=2, block=block)  # 512

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of five scales: stem `[B, width, H/2, W/2]`, then layer1 to layer4 at 1/4, 1/8, 1/16, 1/32."""
        stem = self.relu(self.bn1(self.conv1(x)))
        layer1 = self.layer1(self.maxpool(stem))
        layer2 = self.layer2(layer1)
        layer3 = self.layer3(layer2)
        return [stem, layer1, layer2, layer3, self.layer4(layer3)]


class LabStage(nn.Module):
    """One arrow of the figure: upsample, 3x3 convolution, ReLU, batch norm, CBAM."""

    def __init__(self, in_channels: int, out_channels: int = 32):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(out_channels)
        self.cbam = CBAM(out_channels, reduction=16, kernel_size=7)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return self.cbam(self.norm(self.relu(self.conv(x))))


class LabDecoder(nn.Module):
    """The figure's decoder: 32 channels on every scale; each stage upsamples the stage below and one skip together."""

    def __init__(self, stage: type[nn.Module] = LabStage, width: int = 64):
        super().__init__()
        self.channels = width // 2  # 32
        conv = nn.Conv2d(8 * width, 4 * width, 3, padding=1, bias=False)  # 512 to 256
        self.center = nn.Sequential(conv, nn.BatchNorm2d(4 * width), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList([stage(4 * width + 8 * width, self.channels)])  # 256 + 512
        for skip in (4 * width, 2 * width, width, 0):  # 256, 128, 64, none
            self.stages.append(stage(self.channels + skip, self.channels))

    def forward(self, features: list[Tensor], size: torch.Size) -> Tensor:
        stem, *skips = features
        sizes = [skip.shape[-2:] for skip in (*skips[-2::-1], stem)] + [size]  # 1/16, 1/8, 1/4, 1/2, 1/1
        x = self.center(skips[-1])
        for stage, upper in zip(self.stages, sizes, strict=True):
            if skips:  # the last stage has none
                x = torch.cat([x, skips.pop()], dim=1)
            x = stage(x, upper)
        return x


class SymmetricDecoder(nn.Module):
    """The UNet's decoder on an encoder's features: up-convolution, skip, double convolution.

    `features`: the encoder's channels, finest first; `widths`: the stages', coarsest first, the last ones without skip.
    """

    def __init__(self, features: Sequence[int], widths: Sequence[int] = (256, 128, 64, 64, 32)):
        super().__init__()
        *skips, bottom = features
        self.channels = widths[-1]
        self.ups = nn.ModuleList(UpTransposed(below, here) for below, here in pairwise([bottom, *widths]))
        pairs = zip_longest(widths, reversed(skips), fillvalue=0)
        self.stages = nn.ModuleList(DoubleConv(here + skip, here) for here, skip in pairs)

    def forward(self, features: list[Tensor], size: torch.Size) -> Tensor:
        *skips, x = features
        for up, stage in zip(self.ups, self.stages, strict=True):
            height, width = skips[-1].shape[-2:] if skips else size
            x = up(x)[..., :height, :width]  # an odd side may come back one pixel larger (ceil, up, ceil)
            x = stage(join(skips.pop(), x) if skips else x)
        return x


class ResNet34UNet(nn.Module):
    """ResNet34 as the encoder of a UNet, for any H, W from 32 on.

    Args:
        decoder: `lab` (the lab's figure: 32 channels, CBAM) or `unet` (symmetric, up-convolutions).
        width: channels of the stem; the decoder of the lab has half as many.
    """

    def __init__(
        self, classes: int = 1, in_channels: int = 3, decoder: Literal["lab", "unet"] = "lab", width: int = 64
    ):
        super().__init__()
        self.encoder = ResNet34Encoder(in_channels, width=width)
        if decoder not in ("lab", "unet"):
            raise ValueError(f"decoder: found {decoder!r}; use lab or unet")
        if decoder == "lab":
            self.decoder = LabDecoder(width=width)
        else:
            features, widths = (1, 1, 2, 4, 8), (4, 2, 1, 1, 0.5)  # times the width
            self.decoder = SymmetricDecoder([n * width for n in features], [int(n * width) for n in widths])
        self.head = nn.Conv2d(self.decoder.channels, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.encoder(x), x.shape[-2:]))
