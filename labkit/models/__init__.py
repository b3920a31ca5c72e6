"""The networks, one file each, and the blocks that they share.

Each takes images `float [B, in_channels, H, W]` and gives logits `[B, classes, H, W]`; one class is a binary mask.
"""

from typing import Any

from torch import nn

from labkit.errors import LabError
from labkit.models.attention_unet import AttentionGate, AttentionUNet, ReportGate
from labkit.models.blocks import CBAM, DoubleConv, UpBilinear, UpInterpolated, UpTransposed, join
from labkit.models.encoder_unet import ENCODERS, EncoderUNet
from labkit.models.paper_unet import PaperUNet, tile_side
from labkit.models.report_resnet34_unet import LateStrideBlock, OpenBlock, ReportResNet34UNet
from labkit.models.resnet34_unet import (
    BasicBlock,
    LabDecoder,
    LabStage,
    ResNet34Encoder,
    ResNet34UNet,
    SymmetricDecoder,
)
from labkit.models.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "paper_unet": PaperUNet,
    "resnet34_unet": ResNet34UNet,
    "report_resnet34_unet": ReportResNet34UNet,
    "attention_unet": AttentionUNet,
    "encoder_unet": EncoderUNet,
}
"""Networks by the name that a recipe calls them; put your own class here, and recipes know it, too."""


def build_model(name: str, initialization: str = "default", **arguments: Any) -> nn.Module:
    """Build the network `NETWORKS[name]` with its own arguments, such as `width=32`; LabError where they do not fit.

    `initialization` is `default` (PyTorch's) or `he` (He et al., ICCV 2015, arXiv 1502.01852, equation 14).
    """
    if name not in NETWORKS:
        raise LabError(f"no network {name!r}; choose one of {', '.join(NETWORKS)}")
    try:
        model = NETWORKS[name](**arguments)
    except ValueError as error:
        raise LabError(f"[model] of {name}: {error}") from None
    if initialization == "he":
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return model


def count_parameters(module: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
