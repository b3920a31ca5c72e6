"""Notebook 03's ResNet34-UNet in stages: modules written differently pass; each usual mistake of a build is named."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from course.checks.lab_decoder import attended
from labkit import models
from tests.course import refusals
from tests.course.refusals import accept

refuse = partial(refusals.refuse, seeds=3)


def same(y):
    return y


class Block(nn.Module):
    """Layers under torchvision's names, with what goes wrong as arguments."""

    def __init__(self, i, o, stride=1, kernel=1, always=False, late=False, **changes):
        super().__init__()
        first, second = (1, stride) if late else (stride, 1)
        bias = changes.pop("bias", False)
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, first, 1, bias=bias), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, second, 1, bias=bias), nn.BatchNorm2d(o)
        self.downsample = None
        if always or (changes.pop("short", True) and (stride != 1 or i != o)):
            conv = nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(o))
        self.middle, self.branch, self.end = (changes.pop(key, f) for key, f in zip("mbe", (F.relu, same, F.relu)))  # noqa: B905
        self.add = changes.pop("add", True)

    def forward(self, x):
        y = self.branch(self.bn2(self.conv2(self.middle(self.bn1(self.conv1(x))))))
        return self.end(y + (x if self.downsample is None else self.downsample(x)) if self.add else y)


class InPlace(models.BasicBlock):
    def forward(self, x):
        shortcut = self.downsample(x) if self.downsample else x
        y = self.conv1(x)
        y = self.bn1(y).relu_()
        y = self.bn2(self.conv2(y))
        y += shortcut
        return y.clamp_(min=0)


class StrideTwice(Block):
    def __init__(self, i, o, stride):
        super().__init__(i, o, stride)
        self.conv2 = nn.Conv2d(o, o, 3, stride, 1, bias=False)


class EarlyReLU(Block):
    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(F.relu(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class SwappedNorms(Block):
    def forward(self, x):
        y = self.bn1(self.conv2(F.relu(self.bn2(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def block(**changes):
    return lambda *arguments: Block(*arguments, **changes)


class NoNames(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.body = nn.Sequential(Block(i, o, stride))

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("answer", [Block, InPlace, lambda i, o, s: Block(i, o, stride=s)])
def test_basic_block_accepts(answer, capsys):
    accept(checks.basic_block, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (block(e=same), "no ReLU after the sum"),
        (block(b=F.relu), "only add, never take away"),
        (block(b=F.relu, e=same), "not on the branch"),
        (block(m=same), "no ReLU between"),
        (block(add=False), "shortcut is missing"),
        (block(late=True), "first one has it"),
        (StrideTwice, "both convolutions have the stride"),
        (EarlyReLU, "before the first batch norm"),
        (SwappedNorms, "bn1 and bn2 are swapped"),
        (block(kernel=3), "1 x 1 convolution, not 3 x 3"),
        (block(bias=True), "has no bias"),
        (block(always=True), "downsample is None there"),
        (block(short=False), "it needs downsample"),
        (lambda i, o, s: Block(i, o, s, short=i != o), "with 6, 6, 2: the shortcut has no weights"),
        (NoNames, "bn1.bias is missing; body"),
        (block(e=torch.tanh), "names and shapes are right"),
        (models.BasicBlock, "library's own"),
        (lambda i, o, s: None, "nn.Module is expected"),
        (lambda i: None, "failed with TypeError"),
        (None, "a function is expected"),
    ],
)
def test_basic_block_names(answer, name):
    refuse(checks.basic_block, answer, name, seeds=range(4))


def late(block, stride=True, shortcut=True, kernel=1, bias=False):
    """Report 000's block with parts of it repaired."""
    if stride:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    if block.downsample is not None and shortcut:
        old = block.downsample[0]
        channels = old.in_channels, old.out_channels
        block.downsample[0] = nn.Conv2d(*channels, kernel, old.stride, padding=kernel // 2, bias=bias)


def returned(old):
    outputs, inputs = old.conv1.weight.shape[:2]
    return Block(inputs, outputs, max(old.conv1.stride[0], old.conv2.stride[0]))


def rebuilt(block):
    stride = max(block.conv1.stride[0], block.conv2.stride[0])
    outputs, inputs = block.conv1.weight.shape[:2]
    block.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    block.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
    if block.downsample:
        block.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


@pytest.mark.parametrize("answer", [late, rebuilt, lambda block: late(block) or block])
def test_repaired_block_accepts(answer, capsys):
    accept(checks.repaired_block, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda b: None, "1 x 1 convolution, not 3 x 3"),
        (lambda b: late(b, shortcut=False), "1 x 1 convolution, not 3 x 3"),
        (lambda b: late(b, stride=False), "the second convolution has the stride"),
        (lambda b: late(b, bias=True), "has no bias"),
        (lambda b: b.downsample.pop(0), "failed with AttributeError"),
        (returned, "change the one that was passed in"),
    ],
)
def test_repaired_block_names(answer, name):
    refuse(checks.repaired_block, answer, name)


class Encoder(nn.Module):
    def __init__(self, width=64, make=nn.Sequential, give=same, pool=True, relu=F.relu, fc=False, kind=Block):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.maxpool = nn.BatchNorm2d(width), nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        sides = [width, width, 2 * width, 4 * width, 8 * width]
        for i, blocks in enumerate((3, 4, 6, 3), 1):
            first = kind(sides[i - 1], sides[i], 1 if i == 1 else 2)
            setattr(self, f"layer{i}", make([first, *(kind(sides[i], sides[i], 1) for _ in range(blocks - 1))]))
        if fc:
            self.fc = nn.Linear(512, 10)
        self.give, self.relu, self.plain = give, relu, make is list

    def forward(self, x):
        features = [self.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for i in range(1, 5):
            for part in getattr(self, f"layer{i}"):
                x = part(x)
            features.append(x)
        return self.give(features)


def row(blocks):
    return nn.Sequential(*blocks)


def encoder(**changes):
    return lambda *width: Encoder(*width, **({"make": row} | changes))


@pytest.mark.slow  # ResNet34 has 21 million weights to draw, three times a check
@pytest.mark.parametrize("answer", [encoder(), encoder(make=nn.ModuleList, give=tuple), encoder(kind=InPlace)])
def test_resnet_encoder_accepts(answer, capsys):
    accept(checks.resnet_encoder, answer, capsys, seeds=(1,))


def test_resnet_encoder_knows_the_right_from_the_wrong(capsys):
    accept(checks.resnet_encoder, encoder(), capsys, seeds=(1,))
    refuse(checks.resnet_encoder, encoder(pool=False), "max pool is never called")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (encoder(give=lambda f: [F.max_pool2d(f[0], 3, 2, 1), *f[1:]]), "kept after the max pool"),
        (encoder(pool=False), "max pool is never called"),
        (encoder(relu=same), "ReLU after the stem"),
        (encoder(give=lambda f: f[::-1]), "wrong order"),
        (encoder(give=lambda f: f[1:]), "stem's feature is missing"),
        (encoder(give=lambda f: f[-1]), "only the last feature"),
        (encoder(fc=True), "leave fc out"),
        (encoder(make=list), "plain list"),
        (encoder(kind=lambda *a: Block(*a, kernel=3)), "1 x 1 convolution"),
        (encoder(kind=lambda *a: Block(*a, e=same)), "values are not"),
        (lambda width=64: Encoder(32, make=row), "bn1.bias has the shape 32"),
        (lambda width=64: Encoder(make=row), "with 16: bn1.bias has the shape 64"),
        (models.ResNet34Encoder, "library's own"),
    ],
)
def test_resnet_encoder_names(answer, name):
    refuse(checks.resnet_encoder, answer, name)


class Attention(nn.Module):
    """CBAM with its parts under other names; `stacked`: both summaries go through the mlp at once."""

    def __init__(self, channels, reduction=16, stacked=False, **change):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.stacked, self.change = stacked, change

    def forward(self, x):
        if not self.stacked:
            return attended(self, x, **self.change)
        both = torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)])
        x = x * sum(self.channel(both).chunk(2)).sigmoid()
        return x * self.spatial(torch.stack([x.mean(1), x.max(1).values], 1)).sigmoid()


def cbam(**change):
    return lambda *arguments: Attention(*arguments, **change)


class WithoutOne(Attention):
    """No hidden channel where there are fewer channels than the reduction."""

    def __init__(self, channels, reduction):
        super().__init__(channels, reduction)
        if channels < reduction:
            self.channel[0], self.channel[2] = nn.Conv2d(channels, 0, 1), nn.Conv2d(0, channels, 1)


class TwoWays(Attention):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.other = Attention(*arguments).channel

    def forward(self, x):
        mlps = {1: self.channel, 0: self.other}
        return attended(self, x, lambda mlp, a, b: (mlps[1](a) + mlps[0](b)).sigmoid())


@pytest.mark.parametrize("answer", [Attention, cbam(stacked=True), lambda c, r: nn.Sequential(Attention(c, r))])
def test_repaired_cbam_accepts(answer, capsys):
    accept(checks.repaired_cbam, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (cbam(weigh=lambda mlp, a, b: mlp(a + b).sigmoid()), "added before the mlp"),
        (cbam(weigh=lambda mlp, a, b: mlp(torch.maximum(a, b)).sigmoid()), "average is missing"),
        (cbam(weigh=lambda mlp, a, b: ((mlp(a) + mlp(b)) / 2).sigmoid()), "not of their mean"),
        (cbam(weigh=lambda mlp, a, b: mlp(a).sigmoid() + mlp(b).sigmoid()), "sum of two sigmoids"),
        (cbam(weigh=lambda mlp, a, b: mlp(a).sigmoid()), "maximum is missing"),
        (cbam(weigh=lambda mlp, a, b: mlp(a) + mlp(b)), "sigmoid of the channels is missing"),
        (cbam(weigh=lambda mlp, a, b: (mlp(a) + mlp(b)).softmax(1)), "softmax"),
        (cbam(order="pc"), "places are weighted before"),
        (cbam(order="cP"), "before the channels were weighted"),
        (cbam(order="c"), "too few"),
        (TwoWays, "too many"),
        (WithoutOne, "8x4x4|non-zero|failed with|must be"),
        (models.CBAM, "lab's own"),
    ],
)
def test_repaired_cbam_names(answer, name):
    refuse(checks.repaired_cbam, answer, name, seeds=range(4))


class Stage(nn.Module):
    def __init__(self, i, o, steps="ucrna", up=None, attention=None, **change):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(i, o, 3, padding=1, bias=change.pop("bias", False)), nn.BatchNorm2d(o)
        self.cbam = (attention or Attention)(o, 16, **change)
        self.steps, self.up = steps, {"scale_factor": 2, "mode": "bilinear"} | (up or {})

    def forward(self, x):
        does = {"u": lambda x: F.interpolate(x, **self.up), "c": self.conv, "r": F.relu, "n": self.norm, "a": self.cbam}
        for step in self.steps:
            x = does[step](x)
        return x


def stage(**changes):
    return lambda *arguments: Stage(*arguments, **changes)


@pytest.mark.parametrize("answer", [Stage, stage(attention=models.CBAM), stage(stacked=True)])
def test_decoder_stage_accepts(answer, capsys):
    accept(checks.decoder_stage, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (stage(steps="ucnra"), "batch norm comes before the ReLU"),
        (stage(steps="ucna"), "the ReLU is missing"),
        (stage(steps="curna"), "upsample first"),
        (stage(steps="ucran"), "it is the last step"),
        (stage(steps="crna"), "nothing is upsampled"),
        (stage(steps="ucrn"), "too few"),
        (stage(up={"mode": "nearest"}), "nearest neighbor"),
        (stage(up={"align_corners": True}), "align_corners"),
        (stage(weigh=lambda mlp, a, b: mlp(a + b).sigmoid()), "added before the mlp"),
        (stage(order="pc"), "CBAM: the places"),
        (stage(bias=True), "needs no bias"),
        (models.LabStage, "lab's own|failed with TypeError"),
    ],
)
def test_decoder_stage_names(answer, name):
    refuse(checks.decoder_stage, answer, name, seeds=range(4))


class Network(nn.Module):
    def __init__(self, classes, width, end=same, swap=False, late=False, cut=False, kind=Block, make=nn.ModuleList):
        super().__init__()
        self.encoder, half = Encoder(width, row, kind=kind), width // 2
        self.center, self.center_norm = nn.Conv2d(8 * width, 4 * width, 3, 1, 1, bias=False), nn.BatchNorm2d(4 * width)
        inputs = [12 * width, *(half + n * width for n in (4, 2, 1, 0))]
        self.stages, self.head = make([Stage(i, half) for i in inputs]), nn.Conv2d(half, classes, 1)
        self.end, self.swap, self.late, self.cut = end, swap, late, cut

    def forward(self, x):
        _, *skips = self.encoder(x)
        x = self.center(skips[-1])
        x = self.center_norm(x.relu()) if self.late else self.center_norm(x).relu()
        for part in self.stages:
            if skips:
                skip = skips.pop()
                skip = skip.detach() if self.cut else skip
                x = torch.cat([skip, x] if self.swap else [x, skip], 1)
            x = part(x)
        return self.end(self.head(x))


class StemAsSkip(Network):
    """The stem's features join the last stage; its convolution is then of a kind that is right elsewhere."""

    def __init__(self, classes, width):
        super().__init__(classes, width)
        self.stages[-1] = Stage(width // 2 + width, width // 2)

    def forward(self, x):
        skips = self.encoder(x)
        x = self.center_norm(self.center(skips[-1])).relu()
        for part in self.stages:
            x = part(torch.cat([x, skips.pop()], 1))
        return self.head(x)


class Squeezed(Network):
    def forward(self, x):
        return super().forward(x).squeeze(1)


def network(**changes):
    return lambda *arguments: Network(*arguments, **changes)


class ShortcutFirst(Block):
    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


@pytest.mark.parametrize("answer", [Network, network(kind=ShortcutFirst), network(kind=models.BasicBlock)])
def test_whole_resnet_unet_accepts(answer, capsys):
    """The shortcut's convolution may be called before or after those of the branch."""
    accept(checks.whole_resnet_unet, answer, capsys, seeds=(1,))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (network(end=torch.sigmoid), "the sigmoid is part of the loss"),
        (network(end=lambda y: y.softmax(1)), "the softmax"),
        (network(end=torch.relu), "ReLU after the head"),
        (network(swap=True), "from below stands first"),
        (network(cut=True), "gradients are not"),
        (lambda c, w: Squeezed(c, w), "compare with the task"),
        (network(make=list), "nn.ModuleList"),
        (network(kind=lambda *a: Block(*a, e=same)), "values are not"),
        (lambda c, w: Network(1, w), "does not fit: convolution of 8 to 1"),
        (StemAsSkip, "number 95 does not fit: convolution of 24 to 8"),
        (lambda c, w: models.ResNet34UNet(c, width=w), "lab's own"),
    ],
)
def test_whole_resnet_unet_names(answer, name):
    refuse(checks.whole_resnet_unet, answer, name)


def test_an_order_in_the_center_shows_in_the_logits_whatever_the_seed():
    refuse(checks.whole_resnet_unet, network(late=True), "the center is convolution", seeds=(0, 1, 2**31 - 1))
