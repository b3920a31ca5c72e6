"""PatchUNet: a small residual UNet made for the stopwatch. To import this module makes it a network of recipes.

Three known parts avoid computing at full size, where a UNet spends most of its time: the image enters in patches
(Dosovitskiy et al., ICLR 2021, arXiv 2010.11929), skips are added instead of concatenated (LinkNet: Chaurasia and
Culurciello, VCIP 2017, arXiv 1707.03718), and the head writes all pixels of a patch at once (sub-pixel convolution:
Shi et al., CVPR 2016, arXiv 1609.05158).
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from labkit.models import NETWORKS
from labkit.models.resnet34_unet import residual_layer


class AddingStage(nn.Module):
    """Enlarge `[B, in_channels, h, w]` to a skip `[B, channels, H, W]`, add it, then convolve."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.lateral = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = skip + F.interpolate(self.lateral(x), size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return self.relu(self.norm(self.conv(x)))


class PatchUNet(nn.Module):
    """A residual encoder on patches of the image, a decoder that adds the skips, a head that writes patches.

    Args:
        widths: channels of each stage, finest first; each stage has half the size of the one before.
        blocks: residual blocks of each stage.
        patch: side of a patch in pixels, and the smallest H, W; the finest stage is at 1/patch of the image's size.
    """

    def __init__(
        self,
        classes: int = 1,
        in_channels: int = 3,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (1, 1, 1, 1),
        patch: int = 2,
    ):
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"one number of blocks a stage: found {len(widths)} widths and {len(blocks)} blocks")
        # a pixel of overlap on each side, so that neighboring patches know of each other
        stem = nn.Conv2d(in_channels, widths[0], kernel_size=patch + 2, stride=patch, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.encoder = nn.ModuleList([residual_layer(widths[0], widths[0], blocks[0], stride=1)])
        for (finer, here), count in zip(pairwise(widths), blocks[1:], strict=True):
            self.encoder.append(residual_layer(finer, here, count, stride=2))
        self.decoder = nn.ModuleList(AddingStage(below, skip) for skip, below in reversed(list(pairwise(widths))))
        self.head = nn.Conv2d(widths[0], classes * patch**2, kernel_size=1)
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        skips, x = [], self.stem(x)
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for stage in self.decoder:
            x = stage(x, skips.pop())
        logits = F.pixel_shuffle(self.head(x), self.patch)
        lower, right = height - logits.shape[-2], width - logits.shape[-1]
        # where no whole patch was left at the lower or right border, the last row or column is repeated
        return F.pad(logits, (0, right, 0, lower), mode="replicate") if lower or right else logits


NETWORKS["patch_unet"] = PatchUNet
