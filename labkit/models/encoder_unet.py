"""The UNet's decoder on torchvision's encoders, through torchvision's feature extraction."""

from typing import Literal
from urllib.error import URLError

import torch.nn.functional as F
from torch import Tensor, nn

from labkit.errors import LabError
from labkit.models.resnet34_unet import SymmetricDecoder

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
    "inception_v3": {"Conv2d_2b_3x3": 64, "Conv2d_4a_3x3": 192, "Mixed_5d": 288, "Mixed_6e": 768, "Mixed_7c": 2048},
    "swin_t": {"features.1": 96, "features.3": 192, "features.5": 384, "features.7": 768},
}
"""The modules whose outputs are an encoder's features, from the finest scale to 1/32, and their channels."""
EncoderName = Literal[*ENCODERS]


class EncoderUNet(nn.Module):
    """A UNet whose encoder is one of torchvision's classifiers without its head, on `float [B, 3, H, W]` for any H, W.

    All encoders halve the image five times. Swin starts at a quarter, without skips at the two finest scales.
    Inception's convolutions are unpadded: 299 pixels become 147, 71, 35, 17 and 8, so that skips are cropped as in the
    paper's UNet, the image gets a margin, and H, W start at 29.

    Args:
        encoder: a key of `ENCODERS`.
        pretrained: start from ImageNet weights (which the lab forbids); then normalize by `imagenet`.

    Raises:
        LabError: the ImageNet weights are not there and cannot be fetched; an image is too small for Inception.
    """

    def __init__(self, classes: int = 1, encoder: EncoderName = "resnet34", pretrained: bool = False):
        from torchvision.models import feature_extraction, get_model  # takes seconds to import

        super().__init__()
        quick = {"init_weights": False} if encoder == "inception_v3" else {}  # else it draws its own, for seconds
        try:
            classifier = get_model(encoder, weights="DEFAULT" if pretrained else None, **quick)
        except (URLError, OSError, RuntimeError) as error:  # no network, a full disk, a damaged download
            how = "go online or set pretrained = false"
            raise LabError(f"ImageNet weights of {encoder}: not fetched ({error}); {how}") from None
        if encoder == "inception_v3":
            classifier.AuxLogits = None  # its second classifier, for training
        self.encoder_name, taps = encoder, ENCODERS[encoder]
        self.encoder = feature_extraction.create_feature_extractor(classifier, list(taps))
        self.decoder = SymmetricDecoder(list(taps.values()))
        self.head = nn.Conv2d(self.decoder.channels, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, self._margins(height, width), mode="replicate")
        features = list(self.encoder(x).values())
        if self.encoder_name == "swin_t":  # a transformer's features are [B, H, W, C]
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return self.head(self.decoder(features, x.shape[-2:]))[..., :height, :width]

    def _margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Pixels to add left, right, above and below, so that no scale is rounded and the logits cover the image."""
        if self.encoder_name != "inception_v3":  # 32 n pixels have n at 1/32
            return 0, -width % 32, 0, -height % 32
        # 32 n + 43 pixels have n at 1/32, and the decoder gives 32 n + 28 of them back: all but 7 before and 8 behind
        if min(height, width) < 29:
            raise LabError(f"inception_v3 needs an image of at least 29x29 pixels, and this one has {width}x{height}")
        return 7, 8 + (28 - width) % 32, 7, 8 + (28 - height) % 32
