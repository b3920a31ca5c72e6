"""The UNet's decoder on encoders that others have written: torchvision's, through its feature extraction."""

from typing import Literal, get_args
from urllib.error import URLError

import torch.nn.functional as F
from torch import Tensor, nn

from labkit.errors import LabError
from labkit.models.resnet34_unet import SymmetricDecoder

EncoderName = Literal["resnet18", "resnet34", "resnet50", "mobilenet_v3_large", "efficientnet_b0", "swin_t"]
ENCODERS: dict[str, dict[str, int]] = {
    "resnet18": {"relu": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512},
    "resnet34": {"relu": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512},
    "resnet50": {"relu": 64, "layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048},
    "mobilenet_v3_large": {
        "features.1": 16,
        "features.3": 24,
        "features.6": 40,
        "features.12": 112,
        "features.16": 960,
    },
    "efficientnet_b0": {"features.1": 16, "features.2": 24, "features.3": 40, "features.5": 112, "features.7": 320},
    "swin_t": {"features.1": 96, "features.3": 192, "features.5": 384, "features.7": 768},
}
"""Where each encoder is tapped, from the finest scale to 1/32, and how many channels come out there."""
assert set(get_args(EncoderName)) == set(ENCODERS)


class EncoderUNet(nn.Module):
    """A UNet whose way down is one of torchvision's classifiers without its head.

    `float [B, 3, H, W]` -> logits `[B, classes, H, W]` for any H, W. All encoders halve the image five times;
    Swin begins at a quarter, so that its decoder has no skip at the two finest scales.

    Args:
        classes: channels of the logits; 1 for a binary mask.
        encoder: a key of `ENCODERS`.
        pretrained: begin with ImageNet weights (which the lab forbids); normalize by `imagenet` then.

    Raises:
        LabError: the ImageNet weights are not there and cannot be fetched.
    """

    def __init__(self, classes: int = 1, encoder: EncoderName = "resnet34", pretrained: bool = False):
        from torchvision.models.feature_extraction import create_feature_extractor  # takes seconds to import

        super().__init__()
        self.encoder_name, taps = encoder, ENCODERS[encoder]
        self.encoder = create_feature_extractor(_classifier(encoder, pretrained), list(taps))
        self.channels_last = encoder == "swin_t"
        widths = (256, 128, 64, 64, 32)
        self.decoder = SymmetricDecoder(list(taps.values()), widths)
        self.head = nn.Conv2d(self.decoder.channels, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % 32, 0, -height % 32), mode="replicate")  # no encoder needs to round then
        features = list(self.encoder(x).values())
        if self.channels_last:  # a transformer's features are [B, H, W, C]
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return self.head(self.decoder(features, x.shape[-2:]))[..., :height, :width]


def _classifier(name: str, pretrained: bool) -> nn.Module:
    import torchvision

    try:
        return torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
    except (URLError, OSError, RuntimeError) as error:  # no network, a full disk, a damaged download
        raise LabError(
            f"the ImageNet weights of {name} could not be fetched ({error}); connect to the network once, or set "
            "pretrained = false"
        ) from None
