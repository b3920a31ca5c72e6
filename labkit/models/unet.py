"""UNet. Ronneberger, Fischer, Brox: "U-Net", MICCAI 2015 (arXiv 1505.04597), figure 1."""

from torch import Tensor, nn

from labkit.models.blocks import DoubleConv, Norm, Padding, Up, UpBilinear, UpInterpolated, UpTransposed, join


class UNet(nn.Module):
    """An encoder that halves the image, a decoder that doubles it again, and skips between the two.

    `float [B, in_channels, H, W]` -> logits `[B, classes, H, W]` for any H, W from 2^(depth+1) on; with
    `padding="valid"` the paper's smaller output (572 -> 388).

    Args:
        classes: channels of the logits; 1 for a binary mask.
        in_channels: channels of the image.
        width: channels of the first stage; each deeper stage has twice as many.
        depth: number of poolings.
        up: how the decoder doubles the size: `transposed` (the paper), `bilinear` (and a 1x1 convolution), or
            `interpolated` (no weights: each stage hands over half as many channels instead).
        padding: of the 3x3 convolutions: `zeros`, `reflect`, or `valid` (none, the paper).
        norm: after each convolution: `batch`, `group`, or `none` (the paper).
        dropout: share of the bottleneck's channels that is dropped in training.
    """

    def __init__(
        self,
        classes: int = 1,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 4,
        up: Up = "transposed",
        padding: Padding = "zeros",
        norm: Norm = "batch",
        dropout: float = 0.0,
    ):
        super().__init__()
        widths = [width * 2**stage for stage in range(depth + 1)]  # 64, 128, 256, 512, 1024
        skips = widths[-2::-1]  # 512, 256, 128, 64
        handed = [*skips, width] if up == "interpolated" else widths[::-1]  # by the bottleneck and each decoder stage
        upsample = {"transposed": UpTransposed, "bilinear": UpBilinear, "interpolated": UpInterpolated}[up]

        self.encoder = nn.ModuleList(
            DoubleConv(above, here, padding, norm)
            for above, here in zip([in_channels, *widths], widths[:-1], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = DoubleConv(skips[0], handed[0], padding, norm)
        self.dropout = nn.Dropout2d(dropout)
        self.ups = nn.ModuleList(upsample(below, skip) for below, skip in zip(handed, skips, strict=False))
        self.decoder = nn.ModuleList(
            DoubleConv(2 * skip, here, padding, norm) for skip, here in zip(skips, handed[1:], strict=True)
        )
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        skips, x = self.encode(x)
        for up, stage in zip(self.ups, self.decoder, strict=True):
            x = stage(join(skips.pop(), up(x)))
        return self.head(x)

    def encode(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The way down: the skips, finest first, and what comes out of the bottleneck."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
            x = self.pool(x)
        return skips, self.dropout(self.bottleneck(x))
