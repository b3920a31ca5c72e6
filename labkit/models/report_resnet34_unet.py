"""The ResNet34-UNets of reports 000 to 003, as meant and as coded."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.models.blocks import DoubleConv, UpTransposed
from labkit.models.resnet34_unet import BasicBlock, LabDecoder, ResNet34Encoder, SymmetricDecoder


class LateStrideBlock(BasicBlock):
    """Report 000's residual block: the second convolution has the stride, and the shortcut is a 3x3 convolution."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__(in_channels, channels, stride)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride
        if self.downsample is not None:
            self.downsample[0] = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)


class OpenBlock(BasicBlock):
    """Report 003's residual block: no ReLU after the sum."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x)) + shortcut


class Report000Stage(nn.Module):
    """Upsample the concatenated features, then the double convolution."""

    def __init__(self, in_channels: int, out_channels: int = 32):
        super().__init__()
        self.convs = DoubleConv(in_channels, out_channels)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        return self.convs(F.interpolate(x, size=size, mode="bilinear", align_corners=True))


class Report000Decoder(LabDecoder):
    """The lab's decoder without attention: a residual block at the center, a double convolution in each stage."""

    def __init__(self, block: type[BasicBlock], dropout: float):
        super().__init__(stage=Report000Stage)
        self.center = block(512, 256)


class Report001Decoder(SymmetricDecoder):
    """The UNet's decoder on the four residual layers, the last of which is the bottleneck; 64 channels at the end.

    The report does not say how the image's size is reached from layer1's 1/4: here by two more stages, without skips.
    """

    def __init__(self, block: type[BasicBlock], dropout: float):
        super().__init__((64, 128, 256, 512), widths=(256, 128, 64, 64, 64))

    def forward(self, features: list[Tensor], size: torch.Size) -> Tensor:
        return super().forward(features[1:], size)


class Report002Stage(nn.Module):
    """Up-convolution, interpolation to the skip's size, concatenation, one 3x3 convolution."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.up = UpTransposed(in_channels, out_channels)
        conv = nn.Conv2d(out_channels + skip_channels, out_channels, 3, padding=1, bias=False)
        self.conv = nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.up(x), size=skip.shape[-2:], mode="bilinear", align_corners=True)
        return self.conv(torch.cat([x, skip], dim=1))


class Report002Decoder(nn.Module):
    """512-256-128-64-64 on the encoder's own scales; it ends at the stem's scale."""

    def __init__(self, block: type[BasicBlock], dropout: float):
        super().__init__()
        plan = [(512, 256, 256), (256, 128, 128), (128, 64, 64), (64, 64, 64)]
        self.stages = nn.ModuleList(Report002Stage(*channels) for channels in plan)

    def forward(self, features: list[Tensor], size: torch.Size) -> Tensor:
        *skips, x = features
        for stage in self.stages:
            x = stage(x, skips.pop())
        return x


class Report003Decoder(nn.Module):
    """A residual bottleneck of 1024 channels at 1/64, the UNet's decoder up to 1/4, two up-convolutions to 1/1."""

    def __init__(self, block: type[BasicBlock], dropout: float):
        super().__init__()
        self.bottleneck = nn.Sequential(block(512, 1024, stride=2), nn.Dropout2d(dropout))
        self.decoder = SymmetricDecoder((64, 128, 256, 512, 1024), widths=(512, 256, 128, 64))
        self.enlarge = nn.Sequential()
        for _ in range(2):
            up = nn.ConvTranspose2d(64, 64, 2, stride=2, bias=False)
            self.enlarge.append(nn.Sequential(up, nn.BatchNorm2d(64), nn.ReLU()))

    def forward(self, features: list[Tensor], size: torch.Size) -> Tensor:
        layers = features[1:]  # the stem is no skip here
        x = self.decoder([*layers, self.bottleneck(layers[-1])], size)
        return self.enlarge(x)[..., : size[0], : size[1]]


class ReportResNet34UNet(nn.Module):
    """A report's own way to put ResNet34 under a UNet's decoder, for any H, W from 64 on.

    Args:
        report: `000` (concatenate, upsample, double convolution; 32 channels), `001` (the UNet's decoder, no skip
            above 1/4), `002` (512-256-128-64-64, interpolated to each skip) or `003` (a further bottleneck of 1024
            channels).
        as_coded: ResNet34 with the changes in the report's code: `000` 3x3 shortcuts and the stride in the second
            convolution; `002` the stem's max pool is never called; `003` no ReLU after the sum. (`001` shows no code.)
        dropout: share of the bottleneck's channels dropped in training, for `003` (the report: 0.1).
    """

    def __init__(
        self,
        classes: int = 1,
        in_channels: int = 3,
        report: Literal["000", "001", "002", "003"] = "000",
        as_coded: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        if report == "001" and as_coded:
            raise ValueError("as_coded: report 001 shows no code of its network; leave it out")
        blocks = {"000": LateStrideBlock, "001": BasicBlock, "002": BasicBlock, "003": OpenBlock}
        decoders = {"000": Report000Decoder, "001": Report001Decoder, "002": Report002Decoder, "003": Report003Decoder}
        block = blocks[report] if as_coded else BasicBlock
        self.encoder = ResNet34Encoder(in_channels, block)
        if report == "002" and as_coded:
            self.encoder.maxpool = nn.Identity()
        self.decoder = decoders[report](block, dropout)
        self.head = nn.Conv2d(32 if report == "000" else 64, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        logits = self.head(self.decoder(self.encoder(x), size))
        if logits.shape[-2:] != size:  # report 002 ends at half the size
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
        return logits
