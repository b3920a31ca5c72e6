"""The UNet just as the paper has it: unpadded convolutions, and the overlap-tile strategy that goes with them."""

import torch.nn.functional as F
from torch import Tensor

from labkit.errors import LabError
from labkit.models.unet import UNet


def tile_side(side: int, depth: int) -> int:
    """The smallest input of an unpadded UNet whose output covers `side` pixels: 388 -> 572 for depth 4.

    Backwards through the network: each double convolution takes 4 pixels, each pooling needs an even side.
    """
    for _ in range(depth):
        side = -(-(side + 4) // 2)
    side += 4
    for _ in range(depth):
        side = 2 * side + 4
    return side


class PaperUNet(UNet):
    """Ronneberger et al. (arXiv 1505.04597), sections 2 and 3: no padding, no batch norm, two classes.

    Where a convolution would look beyond the image, it sees the image's mirror image (figure 2 of the paper),
    so that every pixel gets its logits: `float [B, in_channels, H, W]` -> `[B, classes, H, W]`.

    Args:
        classes: channels of the logits.
        in_channels: channels of the image.
        width: channels of the first stage.
        depth: number of poolings.
        dropout: share of the bottleneck's channels that is dropped in training.
    """

    def __init__(self, classes: int = 2, in_channels: int = 3, width: int = 64, depth: int = 4, dropout: float = 0.0):
        super().__init__(classes, in_channels, width, depth, padding="valid", norm="none", dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        lower, right = (tile_side(side, len(self.encoder)) - side for side in (height, width))
        if lower // 2 + 1 >= height or right // 2 + 1 >= width:
            raise LabError(
                f"the paper's UNet needs {max(lower, right) // 2} pixels of mirror image around each picture, more "
                f"than one of {width}x{height} has; use larger pictures or a smaller depth"
            )
        tile = (right // 2, right - right // 2, lower // 2, lower - lower // 2)
        logits = super().forward(F.pad(x, tile, mode="reflect"))
        top, left = (logits.shape[-2] - height) // 2, (logits.shape[-1] - width) // 2
        return logits[..., top : top + height, left : left + width]
