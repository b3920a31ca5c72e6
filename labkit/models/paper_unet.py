"""The UNet as in the paper: unpadded convolutions, and the overlap-tile strategy that goes with them."""

import math

import torch.nn.functional as F
from torch import Tensor

from labkit.errors import LabError
from labkit.models.unet import UNet


def tile_side(side: int, depth: int) -> int:
    """The smallest input of an unpadded UNet whose output covers `side` pixels: 388 -> 572 for depth 4.

    Each double convolution takes 4 pixels, and each pooling needs an even side.
    """
    scale = 2**depth
    bottleneck = math.ceil((side - 4) / scale) + 8  # pixels before its double convolution
    return scale * bottleneck + 4 * (scale - 1)


class PaperUNet(UNet):
    """Ronneberger et al. (arXiv 1505.04597), sections 2 and 3: no padding, no batch norm, two classes.

    Where a convolution would look beyond the image, it sees the image mirrored at its edge (figure 2 of the paper),
    so that every pixel gets its logits. An image that is smaller than the mirrored margin is a `LabError`.
    """

    def __init__(self, classes: int = 2, in_channels: int = 3, width: int = 64, depth: int = 4, dropout: float = 0.0):
        super().__init__(classes, in_channels, width, depth, padding="valid", norm="none", dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        lower, right = (tile_side(side, len(self.encoder)) - side for side in (height, width))
        if lower // 2 + 1 >= height or right // 2 + 1 >= width:
            raise LabError(
                f"the paper's UNet mirrors {max(lower, right) // 2} pixels around each image, more than an image of "
                f"{width}x{height} has; use larger images or a smaller depth"
            )
        tile = (right // 2, right - right // 2, lower // 2, lower - lower // 2)
        logits = super().forward(F.pad(x, tile, mode="reflect"))
        top, left = (logits.shape[-2] - height) // 2, (logits.shape[-1] - width) // 2
        return logits[..., top : top + height, left : left + width]
