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
            `interpolated` (without weights; the stage below gives half as many channels).
        padding: of the 3x3 convolutions: `zeros`, `reflect`, or `valid` (none, the paper).
        norm: after each convolution: `batch`, `group`, or `none` (the paper).
        dropout: share of the bottleneck's channels dropped in training.
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
        upsample = {"transposed": UpTransposed, "bilinear": UpBilinear, "interpolated": UpInterpolated}[up]

        self.encoder = nn.ModuleList()
        channels = in_channels
        for stage in range(depth):
            skip = width * 2**stage  # 64, 128, 256, 512
            self.encoder.append(DoubleConv(channels, skip, padding, norm))
            channels = skip
        self.pool = nn.MaxPool2d(2)

        deepest = channels if up == "interpolated" else 2 * channels  # 1024
        self.bottleneck = DoubleConv(channels, deepest, padding, norm)
        self.dropout = nn.Dropout2d(dropout)
        channels = deepest

        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        for stage in reversed(range(depth)):
            skip = width * 2**stage  # 512, 256, 128, 64
            self.ups.append(upsample(channels, skip))
            # interpolation cannot halve the channels, so the convolutions before it do
            channels = skip // 2 if up == "interpolated" and stage > 0 else skip
            self.decoder.append(DoubleConv(2 * skip, channels, padding, norm))
        self.head = nn.Conv2d(channels, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        skips, x = self.encode(x)
        for up, stage in zip(self.ups, self.decoder, strict=True):
            x = stage(join(skips.pop(), up(x)))
        return self.head(x)

    def encode(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The skips, finest first, and the output of the bottleneck."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
            x = self.pool(x)
        return skips, self.dropout(self.bottleneck(x))
