"""Checks of stages 3 and 4 of the ResNet34-UNet that notebook 03 builds, and of the CBAM that it repairs before."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.checks.builds import build_check, together
from labkit import models

# --- CBAM


class _StrongCBAM(models.CBAM):
    """The lab's CBAM with weights so large, and a hidden layer so wide, that a wrong formula shows."""

    def __init__(self, channels: int, reduction: int):
        super().__init__(channels, reduction)
        for conv in (*self.channel[::2], self.spatial):
            conv.weight.data *= 3


def _sigmoid_of_sum(mlp: Callable, average: Tensor, largest: Tensor) -> Tensor:
    return torch.sigmoid(mlp(average) + mlp(largest))


def attended(cbam: models.CBAM, x: Tensor, weigh: Callable = _sigmoid_of_sum, order: str = "cp") -> Tensor:
    """CBAM with another formula of the channels' weights, or another order of c(hannels) and p(laces)."""
    given = x
    for part in order.lower():
        if part == "c":
            x = x * weigh(cbam.channel, x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True))
        else:
            seen = given if order == "cP" else x
            summary = torch.cat([seen.mean(1, keepdim=True), seen.amax(1, keepdim=True)], 1)
            x = x * torch.sigmoid(cbam.spatial(summary))
    return x


ATTENTION_MISTAKES = {
    "average and maximum are added before the mlp; it looks at each by itself, and its two answers are added": {
        "weigh": lambda mlp, a, b: torch.sigmoid(mlp(a + b))
    },
    "take the sigmoid of the sum of the two answers, not of their mean": {
        "weigh": lambda mlp, a, b: torch.sigmoid((mlp(a) + mlp(b)) / 2)
    },
    "that is the sum of two sigmoids; take the sigmoid of the sum": {
        "weigh": lambda mlp, a, b: mlp(a).sigmoid() + mlp(b).sigmoid()
    },
    "the maximum is missing": {"weigh": lambda mlp, a, b: torch.sigmoid(mlp(a))},
    "the average is missing": {"weigh": lambda mlp, a, b: torch.sigmoid(mlp(b))},
    "the sigmoid of the channels is missing": {"weigh": lambda mlp, a, b: mlp(a) + mlp(b)},
    "that is a softmax, by which channels compete; take a sigmoid of each": {
        "weigh": lambda mlp, a, b: (mlp(a) + mlp(b)).softmax(1)
    },
    "the places are weighted before the channels; first the channels": {"order": "pc"},
    "the places are judged by the features before the channels were weighted": {"order": "cP"},
    "only the channels are weighted, not the places": {"order": "c"},
}

CBAM_MISTAKES = {
    advice: lambda cbam, change=change: lambda x: attended(cbam, x, **change)
    for advice, change in ATTENTION_MISTAKES.items()
    if change != {"order": "c"}  # then a layer is never called, which is said before
}
repaired_cbam = together(
    *(
        build_check(
            "repaired_cbam",
            "the mlp looks at each summary by itself",
            (channels, reduction),
            lambda channels=channels, reduction=reduction: _StrongCBAM(channels, reduction),
            shapes,
            CBAM_MISTAKES,
        )
        for channels, reduction, shapes in ((32, 2, [((4, 32, 6, 5),), ((1, 32, 3, 9),)]), (8, 16, [((2, 8, 4, 4),)]))
    )
)

# --- stage 3: one arrow of the decoder


class _Doubling(models.LabStage):
    def __init__(self):
        super().__init__(24, 128)
        nn.init.kaiming_normal_(self.conv.weight)
        self.cbam = _StrongCBAM(128, 16)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, torch.Size(2 * side for side in x.shape[-2:]))


def _stage(steps: str = "ucrna", **changes: dict) -> Callable[[_Doubling], Callable]:
    """A stage with another order of its steps: u(psample), c(onvolution), r(elu), n(orm), a(ttention)."""
    up = {"scale_factor": 2, "mode": "bilinear"} | changes.get("up", {})

    def mistake(stage: _Doubling) -> Callable:
        does = {
            "u": lambda x: F.interpolate(x, **up),
            "c": stage.conv,
            "r": F.relu,
            "n": stage.norm,
            "a": lambda x: attended(stage.cbam, x, **changes.get("cbam", {})),
        }

        def forward(x: Tensor) -> Tensor:
            for step in steps:
                x = does[step](x)
            return x

        return forward

    return mistake


decoder_stage = build_check(
    "decoder_stage",
    "stage 3: upsample, convolution, ReLU, batch norm, CBAM",
    (24, 128),
    _Doubling,
    [((2, 24, 5, 6),), ((1, 24, 4, 3),)],
    {
        "batch norm comes before the ReLU; in the lab's figure the ReLU comes first": _stage("ucnra"),
        "the ReLU is missing": _stage("ucna"),
        "the convolution comes before the upsampling; upsample first": _stage("curna"),
        "the attention comes before batch norm; it is the last step": _stage("ucran"),
        "nothing is upsampled": _stage("crna"),
        "that is the nearest neighbor; upsample bilinearly (mode='bilinear')": _stage(up={"mode": "nearest"}),
        "align_corners is True; the lab leaves it False": _stage(up={"align_corners": True}),
        **{f"CBAM: {advice}": _stage(cbam=change) for advice, change in ATTENTION_MISTAKES.items()},
    },
)

# --- stage 4: the whole network


def _network(
    end: Callable = lambda y: y, swap: bool = False, late: bool = False
) -> Callable[[models.ResNet34UNet], Callable]:
    """The network with another end, with skips before what comes up, or a center with its ReLU before the norm."""

    def mistake(net: models.ResNet34UNet) -> Callable:
        def forward(image: Tensor) -> Tensor:
            _, *skips = net.encoder(image)
            conv, norm, _ = net.decoder.center
            x = norm(conv(skips[-1]).relu()) if late else norm(conv(skips[-1])).relu()
            for stage in net.decoder.stages:
                if skips:
                    x = torch.cat([skips.pop(), x] if swap else [x, skips.pop()], dim=1)
                x = stage(x, torch.Size(2 * side for side in x.shape[-2:]))
            return end(net.head(x))

        return forward

    return mistake


def _lively(classes: int) -> models.ResNet34UNet:
    """The lab's network with a decoder in which nothing dies out, so that each mistake shows in the logits."""
    net = models.ResNet34UNet(classes=classes, width=16)
    nn.init.kaiming_normal_(net.decoder.center[0].weight)
    for stage in net.decoder.stages:
        nn.init.kaiming_normal_(stage.conv.weight)
        stage.conv.weight.data *= 4  # what the two weights of a CBAM, each near a half, take away
        for conv in (*stage.cbam.channel[::2], stage.cbam.spatial):
            conv.weight.data *= 3
    return net


WHOLE_MISTAKES = {
    "the network ends with logits; the sigmoid is part of the loss": _network(torch.sigmoid),
    "the network ends with logits; the softmax is part of the loss": _network(lambda y: y.softmax(1)),
    "logits may be negative; there is a ReLU after the head": _network(torch.relu),
    "in the concatenation what comes from below stands first, then the skip": _network(swap=True),
    "the center is convolution, batch norm, ReLU; only the decoder's stages have the ReLU first": _network(late=True),
}
whole_resnet_unet = together(
    *(
        build_check(
            "whole_resnet_unet",
            "stage 4, the whole network: layers, shapes, logits, gradients",
            (classes, 16),
            lambda classes=classes: _lively(classes),
            shapes,
            WHOLE_MISTAKES,
        )
        for classes, shapes in ((2, [((2, 3, 64, 96),), ((1, 3, 96, 64),)]), (1, [((2, 3, 32, 32),)]))
    )
)
