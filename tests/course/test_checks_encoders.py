"""Notebook 10's checks on encoders: right answers pass however they are written; each usual wrong one is named."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from labkit import models
from tests.course import refusals
from tests.course.refusals import accept

TAPS = {"features.1": 16, "features.3": 24, "features.6": 32, "features.13": 96, "features.18": 1280}

refuse = partial(refusals.refuse, seeds=3)


@pytest.mark.parametrize("answer", [147, 147.0, torch.tensor(147), [147]])
def test_inception_side_accepts(answer, capsys):
    accept(checks.inception_side, answer, capsys)


def test_inception_side_is_torchvisions():
    from torchvision.models import inception_v3

    with torch.device("meta"):
        net, x = inception_v3(weights=None, init_weights=False).eval(), torch.empty(1, 3, 299, 299)
        checks.inception_side(net.Conv2d_2b_3x3(net.Conv2d_2a_3x3(net.Conv2d_1a_3x3(x))).shape[-1])


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (149, "the second has no padding"),
        (150, "must fit"),
        (145, "the third convolution has padding"),
        (73, "no stride"),
        (295, "has stride 2"),
        (149.5, "whole number"),
        (3, "for each of the three"),
        ((1, 2), "one number is"),
    ],
)
def test_inception_side_names(answer, name):
    refuse(checks.inception_side, answer, name)


def counted(groups):
    return sum(p.numel() for p in nn.Conv2d(128, 128, 3, groups=groups, bias=False).parameters())


@pytest.mark.parametrize(
    "answer", [(147456, 17536), [counted(1), counted(128) + 128**2], torch.tensor([147456, 17536])]
)
def test_separable_weights_accepts(answer, capsys):
    accept(checks.separable_weights, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ((147456, 1152), "mixes the channels is missing"),
        ((147456, 16384), "depthwise convolution is missing"),
        ((17536, 147456), "other order"),
        ((49152, 16768), "9 weights, not 3"),
        ((147456, 163840), "one kernel a channel"),
        ((147584, 17792), "biases are not counted"),
        ((1152, 17536), "for each pair of channels"),
        ((1, 2), "count 9 weights"),
        (3, "two numbers are"),
    ],
)
def test_separable_weights_names(answer, name):
    refuse(checks.separable_weights, answer, name)


def test_an_encoder_that_a_notebook_wires_later_may_still_be_chosen(monkeypatch, capsys):
    monkeypatch.setitem(models.ENCODERS, "mobilenet_v2", TAPS)
    accept(checks.encoder_choice, ("mobilenet_v2", TAPS), capsys, seeds=(0,))


@pytest.mark.parametrize(
    "answer",
    [
        ("mobilenet_v2", TAPS),
        ["convnext_tiny", {"features.1": 96, "features.3": 192, "features.5": 384, "features.7": 768}],
        ("shufflenet_v2_x0_5", {"conv1": 24, "maxpool": 24, "stage2": 48, "stage3": 96, "conv5": 1024}),
        (
            "regnet_y_400mf",
            {"stem": 32} | {f"trunk_output.block{i}": c for i, c in enumerate((48, 104, 208, 440), start=1)},
        ),
    ],
)
def test_encoder_choice_accepts(answer, capsys):
    accept(checks.encoder_choice, answer, capsys, seeds=(0,))


def taps(**changes):
    return "mobilenet_v2", TAPS | {name.replace("_", "."): number for name, number in changes.items()}


def some(*names):
    return "mobilenet_v2", {name: TAPS.get(name, 24) for name in names}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (("mobilenet_v9", TAPS), "no classifier 'mobilenet_v9'"),
        (("deeplabv3_resnet50", {"backbone": 2048}), "no classifier"),
        (("resnet18", {"layer4": 512}), "wired already"),
        (taps(features_99=3), "no layer features.99"),
        (("mobilenet_v2", dict(reversed(TAPS.items()))), "finest tap comes first"),
        (some("features.1", "features.2", "features.3", "features.6", "features.13", "features.18"), "same size"),
        (some("features.1", "features.6", "features.13", "features.18"), "a scale is left out"),
        (some("features.1", "features.3", "features.6", "features.13"), "go down to 1/32"),
        (some("features.13", "features.18"), "begin at 1/2"),
        (taps(features_6=64), "tap 3 has another number"),
        (("mobilenet_v2", TAPS | {"classifier": 1000}), "gives no map"),
        (("swin_s", {"features.1": 96, "features.3": 192, "features.5": 384, "features.7": 768}), r"\[B, H, W, C\]"),
        (("mobilenet_v2", list(TAPS)), "write such as"),
        ("mobilenet_v2", "two things"),
        (..., "replace the"),
        (None, "two things"),
    ],
)
def test_encoder_choice_names(answer, name):
    refuse(checks.encoder_choice, answer, name)


class OwnUNet(nn.Module):
    def __init__(self, name, taps, fill="replicate", before=False, crop=True, end=lambda y: y, stretch=False):
        from torchvision.models import feature_extraction, get_model

        super().__init__()
        self.features = feature_extraction.create_feature_extractor(get_model(name, weights=None), list(taps))
        self.up = models.SymmetricDecoder(list(taps.values()))
        self.last = nn.Conv2d(self.up.channels, 1, 1)
        self.fill, self.before, self.crop, self.end, self.stretch = fill, before, crop, end, stretch

    def forward(self, x):
        height, width = x.shape[-2:]
        lower, right = -height % 32, -width % 32
        if self.stretch:
            x = F.interpolate(x, (height + lower, width + right), mode="bilinear")
        else:
            x = F.pad(x, (right, 0, lower, 0) if self.before else (0, right, 0, lower), mode=self.fill)
        y = self.end(self.last(self.up([*self.features(x).values()], x.shape[-2:])))
        if self.stretch:
            return F.interpolate(y, (height, width), mode="bilinear")
        if self.before:
            return y[..., lower:, right:]
        return y[..., :height, :width] if self.crop else y


class BothOdd(OwnUNet):
    """A margin only where height and width both need one."""

    def forward(self, x):
        odd = all(side % 32 for side in x.shape[-2:])
        return super().forward(x) if odd else self.last(self.up([*self.features(x).values()], x.shape[-2:]))


def own(**changes):
    return lambda *arguments: OwnUNet(*arguments, **changes)


class Indexed(OwnUNet):
    """The margin by indices, and whole blocks of 32."""

    def forward(self, x):
        rows, columns = ((torch.arange(-(-side // 32) * 32)).clamp(max=side - 1) for side in x.shape[-2:])
        wide = x[..., rows[:, None], columns]
        return self.last(self.up(list(self.features(wide).values()), wide.shape[-2:]))[
            ..., : x.shape[-2], : x.shape[-1]
        ]


@pytest.mark.parametrize("answer", [OwnUNet, Indexed])
def test_tap_unet_accepts(answer, capsys):
    accept(checks.tap_unet, answer, capsys, seeds=(1,))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (own(fill="constant"), "filled with zeros"),
        (own(before=True), "left and above"),
        (own(stretch=True), "stretched"),
        (own(crop=False), "never cut off"),
        (own(end=torch.sigmoid), "sigmoid is part"),
        (own(end=torch.relu), "ReLU after the head"),
        (lambda name, taps: models.EncoderUNet(encoder=name), "lab's own"),
        (lambda name, taps: OwnUNet("resnet34", models.ENCODERS["resnet34"]), "too many"),
        (lambda name, taps: OwnUNet("resnet18", models.ENCODERS["resnet18"]), "convolution of"),
        (BothOdd, "each has its own"),
    ],
)
def test_tap_unet_names(answer, name):
    refuse(checks.tap_unet, answer, name)
