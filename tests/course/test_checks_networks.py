"""Right answers pass however they are written; each usual wrong one is named."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.checks import networks
from course.checks.verdict import WrongAnswer
from labkit import models


def residual(x, conv1, bn1, conv2, bn2, downsample, *, middle=F.relu, end=F.relu, branch=lambda y: y, short=True):
    y = branch(bn2(conv2(middle(bn1(conv1(x))))))
    straight = x if downsample is None or not short else downsample(x)
    return end(y + straight)


def in_place(x, conv1, bn1, conv2, bn2, downsample):
    y = conv1(x)
    y = bn1(y).relu_()
    y = bn2(conv2(y))
    y += x if downsample is None else downsample(x)
    return y.clamp(min=0)


@pytest.mark.parametrize("answer", [residual, in_place])
def test_residual_forward_accepts(answer):
    networks.residual_forward(answer)


def same(y):
    return y


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda *a: residual(*a, end=same), "no ReLU after the sum"),
        (lambda *a: residual(*a, branch=F.relu), "before the sum"),
        (lambda *a: residual(*a, branch=F.relu, end=same), "not on the branch"),
        (lambda *a: residual(*a, middle=same), "between the two convolutions"),
        (lambda *a: residual(*a, short=False), "forgot `downsample`"),
        (lambda x, c1, b1, c2, b2, d: F.relu(b2(c2(F.relu(b1(c1(x)))))), "shortcut is missing"),
        (lambda x, c1, b1, c2, b2, d: F.relu(c2(F.relu(b1(c1(x)))) + x), "values are not"),
    ],
)
def test_residual_forward_names(answer, name):
    with pytest.raises(WrongAnswer, match=name):
        networks.residual_forward(answer)


def layer(i, c, blocks, *, norm=2, bias=0, short=1, short_norm=2, kernel=1, first=None, short_blocks=1):
    total = 9 * (first or i) * c + 9 * c * c + 2 * (norm + bias) * c
    total += (blocks - 1) * (18 * c * c + 2 * (norm + bias) * c)
    if i != c:
        total += short_blocks * short * (kernel * i * c + (short_norm if norm else 0) * c + bias * c)
    return total


def by_modules(i, c, blocks):
    made = nn.ModuleList(models.BasicBlock(i if b == 0 else c, c, 2 if b == 0 and i != c else 1) for b in range(blocks))
    return sum(p.numel() for p in made.parameters())


@pytest.mark.parametrize("answer", [layer, by_modules])
def test_layer_parameters_accepts(answer):
    networks.layer_parameters(answer)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda *a: layer(*a, norm=0), "batch norm is missing"),
        (lambda *a: layer(*a, bias=1), "counted biases"),
        (lambda *a: layer(*a, short=0), "1x1 shortcut of the first block is missing"),
        (lambda *a: layer(*a, short_norm=0), "not its batch norm"),
        (lambda *a: layer(*a, kernel=9), "not 3x3"),
        (lambda *a: layer(*a, first=a[1]), "takes in_channels, only"),
        (lambda i, c, b: b * layer(i, c, 1), "and has a shortcut"),
        (lambda i, c, b: layer(i, c, b) + (i * c + 2 * c if i == c else 0), "shortcut has no weights"),
        (lambda i, c, b: layer(i, c, b, short_blocks=b), "only the first block has a 1x1"),
        (lambda *a: 7, "layer by layer"),
    ],
)
def test_layer_parameters_names(answer, name):
    with pytest.raises(WrongAnswer, match=name):
        networks.layer_parameters(answer)


def attention(x, mlp, *, average=True, largest=True):
    summed = 0
    if average:
        summed = summed + mlp(x.mean((2, 3), keepdim=True))
    if largest:
        summed = summed + mlp(x.amax((2, 3), keepdim=True))
    return torch.sigmoid(summed)


def pooled(x, mlp):
    return (mlp(F.adaptive_avg_pool2d(x, 1)) + mlp(F.adaptive_max_pool2d(x, 1))).sigmoid().flatten(1).numpy()


def looped(x, mlp):
    rows = []
    for picture in x:
        mean = torch.stack([channel.mean() for channel in picture]).view(1, -1, 1, 1)
        most = torch.stack([channel.max() for channel in picture]).view(1, -1, 1, 1)
        rows.append((1 / (1 + torch.exp(-mlp(mean) - mlp(most))))[0])
    return torch.stack(rows)


@pytest.mark.parametrize("answer", [attention, pooled, looped])
def test_channel_attention_accepts(answer):
    networks.channel_attention(answer)


def paths(x, mlp):
    return mlp(x.mean((2, 3), keepdim=True)), mlp(x.amax((2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda x, mlp: sum(p.sigmoid() for p in paths(x, mlp)), "sum of two sigmoids"),
        (lambda x, mlp: attention(x, mlp, largest=False), "maximum is missing"),
        (lambda x, mlp: attention(x, mlp, average=False), "average is missing"),
        (lambda x, mlp: sum(paths(x, mlp)).softmax(1), "softmax"),
        (lambda x, mlp: sum(paths(x, mlp)), "sigmoid is missing"),
        (lambda x, mlp: (sum(paths(x, mlp)) / 2).sigmoid(), "not of their mean"),
        (lambda x, mlp: x * attention(x, mlp), "weights alone"),
        (lambda x, mlp: x.mean(1).sigmoid(), "dimensions 2 and 3"),
    ],
)
def test_channel_attention_names(answer, name):
    with pytest.raises(WrongAnswer, match=name):
        networks.channel_attention(answer)


@pytest.mark.parametrize(
    "check",
    [
        networks.residual_forward,
        networks.layer_parameters,
        networks.channel_attention,
    ],
)
def test_an_empty_exercise_is_no_solution(check):
    def unwritten(*_):
        raise NotImplementedError

    with pytest.raises(WrongAnswer):
        check(unwritten)
