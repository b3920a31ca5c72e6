"""Attention UNet: a UNet whose skips pass a gate. Oktay et al., "Attention U-Net", 2018 (arXiv 1804.03999)."""

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.models.blocks import Norm, UpTransposed, join
from labkit.models.unet import UNet


class AttentionGate(nn.Module):
    """Additive attention (equations 1 to 3, figure 2): which places of a skip the decoder may see.

    The skip `[B, skip_channels, H, W]` passes a strided convolution, the gating signal
    `[B, gating_channels, H/2, W/2]` from the stage below a 1x1 convolution. Their sum, after a ReLU, is reduced to one
    channel; its sigmoid, enlarged to the skip's size, is the map: `[B, 1, H, W]` in (0, 1).
    """

    def __init__(self, skip_channels: int, gating_channels: int):
        super().__init__()
        hidden = max(1, skip_channels // 2)
        self.of_skip = nn.Conv2d(skip_channels, hidden, kernel_size=2, stride=2, bias=False)
        self.of_gating = nn.Conv2d(gating_channels, hidden, kernel_size=1)
        self.score = nn.Conv2d(hidden, 1, kernel_size=1)

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        score = self.score(F.relu(self.of_skip(skip) + self.of_gating(gating)))
        return F.interpolate(torch.sigmoid(score), size=skip.shape[-2:], mode="bilinear", align_corners=False)


class ReportGate(nn.Module):
    """Report 004's gate: a weight for every place and channel of the skip, `[B, skip_channels, H, W]` in (0, 1).

    As meant: the gating signal is enlarged by an up-convolution and added to the convolved skip; ReLU,
    convolution and sigmoid follow. `as_printed`, the skip itself passes the up-convolution and the gating signal
    is never used. (The two terms of the printed sum differ in size; here the larger is reduced.)
    """

    def __init__(self, skip_channels: int, gating_channels: int, as_printed: bool = False):
        super().__init__()
        self.as_printed = as_printed
        self.same_conv1 = nn.Conv2d(skip_channels, skip_channels, kernel_size=1)
        self.same_conv2 = nn.Conv2d(skip_channels, skip_channels, kernel_size=1)
        self.up = UpTransposed(skip_channels if as_printed else gating_channels, skip_channels)

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        up = self.up(skip if self.as_printed else gating)
        up = F.interpolate(up, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return torch.sigmoid(self.same_conv2(F.relu(self.same_conv1(skip) + up)))


class AttentionUNet(UNet):
    """A `UNet` whose skips are weighted by a gate.

    Args:
        gate: `additive` (the paper), `report` (004, as meant) or `report-printed` (its gating signal unused).
    """

    def __init__(
        self,
        classes: int = 1,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 4,
        norm: Norm = "batch",
        gate: Literal["additive", "report", "report-printed"] = "additive",
    ):
        super().__init__(classes, in_channels, width, depth, norm=norm)
        skips = [width * 2**stage for stage in reversed(range(depth))]  # 512, 256, 128, 64
        printed = partial(ReportGate, as_printed=True)
        make = {"additive": AttentionGate, "report": ReportGate, "report-printed": printed}[gate]
        self.gates = nn.ModuleList(make(skip, 2 * skip) for skip in skips)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits_and_maps(x)[0]

    def logits_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits, and the map of every gate from the coarsest to the finest, for plotting."""
        skips, x = self.encode(x)
        maps = []
        for gate, up, stage in zip(self.gates, self.ups, self.decoder, strict=True):
            skip = skips.pop()
            maps.append(gate(skip, x))
            x = stage(join(skip * maps[-1], up(x)))
        return self.head(x), maps
