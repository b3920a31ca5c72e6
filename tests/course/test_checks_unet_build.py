"""Notebook 02's UNet in stages: modules written differently pass; each usual mistake of a build is named."""

import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from labkit import models
from tests.course import refusals
from tests.course.refusals import accept

refuse = partial(refusals.refuse, seeds=3)


def block(i, o, steps="cnrcnr", **conv):
    channels, layers = i, []
    for step in steps:
        if step == "c":
            layers.append(nn.Conv2d(channels, o, 3, **({"padding": 1, "bias": False} | conv)))
            channels = o
        else:
            layers.append(nn.BatchNorm2d(channels) if step == "n" else nn.ReLU())
    return nn.Sequential(*layers)


class Functional(nn.Module):
    """Parts registered in another order than they are called, and ReLUs as functions."""

    def __init__(self, i, o):
        super().__init__()
        self.second_norm, self.first_norm = nn.BatchNorm2d(o), nn.BatchNorm2d(o)
        self.second, self.first = nn.Conv2d(o, o, 3, padding=1, bias=False), nn.Conv2d(i, o, 3, padding=1, bias=False)

    def forward(self, x):
        x = F.relu(self.first_norm(self.first(x)))
        return self.second_norm(self.second(x)).clamp(min=0)


class Twice(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.first, self.second = (nn.Conv2d(a, o, 3, padding=1, bias=False) for a in (i, o))
        self.norm = nn.BatchNorm2d(o)

    def forward(self, x):
        return self.norm(self.second(self.norm(self.first(x)).relu())).relu()


RIGHT = [
    block,
    Functional,
    lambda i, o: nn.Sequential(Functional(i, o), nn.Identity()),
    lambda i, o: block(i, o, padding="same"),
]


@pytest.mark.parametrize("answer", RIGHT)
def test_double_conv_accepts(answer, capsys):
    accept(checks.double_conv, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda i, o: block(i, o, "crncrn"), "ReLU comes before the batch norm"),
        (lambda i, o: block(i, o, "cncnr"), "no ReLU between"),
        (lambda i, o: block(i, o, "cnrcn"), "no ReLU after the second"),
        (lambda i, o: block(i, o, "cncn"), "no ReLU at all"),
        (lambda i, o: block(i, o, "crcr"), "batch norm is missing"),
        (lambda i, o: block(i, o, padding=0), "padding=1"),
        (lambda i, o: block(i, o, padding="valid"), "padding=1"),
        (lambda i, o: block(i, o, bias=True), "needs no bias"),
        (lambda i, o: block(i, o, "cnr"), "2 layers with weights are called, too few"),
        (lambda i, o: block(i, o, "ncrncr"), "number 1 does not fit: batch norm of 3"),
        (Twice, "called twice"),
        (models.DoubleConv, "lab's own network"),
        (lambda i, o: "block", "nn.Module is expected"),
        (lambda i, o: nn.Sequential(block(i, o), nn.Dropout(0.0), nn.Hardtanh()), "what is done between"),
        (lambda i: None, "failed with TypeError"),
        (None, "a function is expected"),
    ],
)
def test_double_conv_names(answer, name):
    refuse(checks.double_conv, answer, name)


class Encoder(nn.Module):
    def __init__(self, channels, width, depth, make=nn.ModuleList, pool=F.max_pool2d, give=lambda s, p, x: (s, x)):
        super().__init__()
        sides = [channels, *(width * 2**i for i in range(depth + 1))]
        self.parts = make([block(i, o) for i, o in itertools.pairwise(sides)])
        self.pool, self.give = pool, give

    def forward(self, x):
        skips, pooled = [], []
        for part in list(self.parts)[:-1]:
            skips.append(part(x))
            x = self.pool(skips[-1], 2)
            pooled.append(x)
        return self.give(skips, pooled, self.parts[-1](x))


class PooledFirst(Encoder):
    def forward(self, x):
        skips = []
        for part in list(self.parts)[:-1]:
            x = part(F.max_pool2d(x, 2))
            skips.append(x)
        return skips, self.parts[-1](x)


def encoder(**changes):
    return lambda *arguments: Encoder(*arguments, **changes)


def strided(x, _):
    return nn.MaxPool2d(2)(x)


@pytest.mark.parametrize("answer", [Encoder, encoder(pool=strided), encoder(give=lambda s, p, x: [tuple(s), x])])
def test_encoder_accepts(answer, capsys):
    accept(checks.encoder, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (encoder(give=lambda s, p, x: (s[::-1], x)), "wrong order"),
        (encoder(give=lambda s, p, x: (p, x)), "kept after the pooling"),
        (encoder(give=lambda s, p, x: x), "skips are missing"),
        (encoder(give=lambda s, p, x: ([*s, x], x)), "is no skip"),
        (encoder(pool=F.avg_pool2d), "average pooling"),
        (encoder(pool=lambda x, _: x), "nothing is pooled"),
        (PooledFirst, "convolves first, then pools"),
        (encoder(make=list), "nn.ModuleList"),
        (encoder(give=lambda s, p, x: (s[:1], x)), "come out; compare"),
        (lambda c, w, d: Encoder(c, w, d - 1), "too few"),
        (encoder(give=lambda s, p, x: ([y.detach() for y in s], x)), "gradients are not"),
        (encoder(give=lambda s, p, x: {"skips": s}), "tensors should come out"),
    ],
)
def test_encoder_names(answer, name):
    refuse(checks.encoder, answer, name)


def repeated(skip, x):
    return F.pad(x, (0, skip.shape[-1] - x.shape[-1], 0, skip.shape[-2] - x.shape[-2]), mode="replicate")


def turned(skip, x):
    """Height and width exchanged."""
    height, width = (skip.shape[i] - x.shape[i] for i in (-2, -1))
    return torch.cat([skip, F.pad(x, (0, height, 0, width), mode="replicate")], 1)


class UpBlock(nn.Module):
    def __init__(self, i, skip, join=lambda skip, x: torch.cat([skip, repeated(skip, x)], 1), up=None, joined=None):
        super().__init__()
        self.conv = block(joined or 2 * skip, skip)
        self.up, self.join = up or nn.ConvTranspose2d(i, skip, 2, 2), join

    def forward(self, x, skip):
        return self.conv(self.join(skip, self.up(x)))


def up(**changes):
    return lambda *arguments: UpBlock(*arguments, **changes)


def indexed(skip, x):
    """The last row and column once more, by indices."""
    rows = torch.arange(skip.shape[-2]).clamp(max=x.shape[-2] - 1)
    columns = torch.arange(skip.shape[-1]).clamp(max=x.shape[-1] - 1)
    return torch.hstack([skip, x[..., rows[:, None], columns]])


@pytest.mark.parametrize("answer", [UpBlock, up(join=models.join), up(join=indexed)])
def test_up_block_accepts(answer, capsys):
    accept(checks.up_block, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (up(join=lambda skip, x: torch.cat([repeated(skip, x), skip], 1)), "order is swapped"),
        (up(join=lambda skip, x: torch.cat([repeated(skip, x)] * 2, 1)), "skip is not used"),
        (up(join=lambda skip, x: torch.cat([skip[..., : x.shape[-2], : x.shape[-1]], x], 1)), "skip was cut"),
        (
            up(join=lambda s, x: torch.cat([s, F.pad(x, (0, s.shape[3] - x.shape[3], 0, s.shape[2] - x.shape[2]))], 1)),
            "zeros",
        ),
        (up(join=lambda s, x: torch.cat([s, F.interpolate(x, s.shape[-2:], mode="bilinear")], 1)), "stretched"),
        (up(join=lambda skip, x: torch.cat([skip, x], 1)), "for 1x12x3x4 and 1x5x7x9: the function failed"),
        (up(join=turned), "for 1x12x3x4 and 1x5x7x8: the function failed"),
        (up(join=lambda skip, x: skip + repeated(skip, x), joined=5), "number 2 does not fit: convolution of 5 to 5"),
        (up(up=nn.ConvTranspose2d(12, 5, 4, 2, 1)), "number 1 does not fit: up-convolution"),
        (up(up=nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(12, 5, 1))), "number 1 does not fit"),
    ],
)
def test_up_block_names(answer, name):
    refuse(checks.up_block, answer, name)


class Network(nn.Module):
    def __init__(self, classes, channels, width, depth, end=lambda y: y, join=models.join, make=UpBlock, cut=False):
        super().__init__()
        self.encoder = Encoder(channels, width, depth)
        sides = [width * 2**i for i in range(depth, -1, -1)]
        self.blocks = nn.ModuleList(make(i, o, join=join) for i, o in itertools.pairwise(sides))
        self.head, self.end, self.cut = nn.Conv2d(width, classes, 1), end, cut

    def forward(self, x):
        skips, x = self.encoder(x)
        for part, skip in zip(self.blocks, reversed(skips), strict=True):
            x = part(x.detach() if self.cut else x, skip)
        return self.end(self.head(x))


def network(**changes):
    return lambda *arguments: Network(*arguments, **changes)


class Spare(Network):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.more = nn.Conv2d(3, 3, 3)


@pytest.mark.parametrize("answer", [Network, network(join=indexed), network(end=nn.Identity())])
def test_whole_unet_accepts(answer, capsys):
    accept(checks.whole_unet, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (network(end=torch.sigmoid), "the sigmoid is part of the loss"),
        (network(end=lambda y: y.softmax(1)), "the softmax is part"),
        (network(end=torch.relu), "ReLU after the head"),
        (network(join=lambda skip, x: torch.cat([repeated(skip, x), skip], 1)), "skip comes first"),
        (network(cut=True), "gradients are not"),
        (lambda c, i, w, d: Network(1, i, w, d), "number 32 does not fit: convolution of 4 to 1"),
        (lambda c, i, w, d: Network(c, i, 2 * w, d), "number 1 does not fit"),
        (Spare, "1 layers with weights are never called"),
        (lambda c, i, w, d: models.UNet(c, i, w, d), "lab's own network"),
    ],
)
def test_whole_unet_names(answer, name):
    refuse(checks.whole_unet, answer, name)
