"""Checks of the exercises of notebooks 02 and 03: sizes, parameter counts and forward passes by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course.checks.verdict import WrongAnswer, as_array, call, expect, passed
from labkit import models


def double_conv_parameters(answer: Callable[[int, int, bool], int]) -> None:
    """Check `answer(in_channels, out_channels, batch_norm)`: trained parameters of a `DoubleConv`."""
    what = "double_conv_parameters"
    for inputs, outputs, norm in ((3, 16, True), (6, 16, False), (32, 5, True), (10, 10, False), (128, 64, True)):
        block = models.DoubleConv(inputs, outputs, norm="batch" if norm else "none")
        kernels, channels = 9 * inputs * outputs + 9 * outputs**2, 2 * outputs
        wrong = {
            "the second convolution does not see the block's input: it takes out_channels, not in_channels": 2
            * (9 * inputs * outputs + (channels if norm else outputs)),
            "that is one convolution; the block has two": 9 * inputs * outputs + (channels if norm else outputs),
            "each kernel is 3 x 3: count 9 weights for each pair of channels, not 3": kernels // 3
            + channels * (1 + norm),
        }
        if norm:
            wrong |= {
                "batch norm is missing: it has 2 trained numbers per channel, a scale and a shift": kernels,
                "you counted a bias of each convolution; before batch norm there is none": kernels + 3 * channels,
                "you counted a bias in place of batch norm's 2 numbers per channel": kernels + channels,
                "batch norm's running mean and variance are measured, not trained: 2 per channel, not 4": kernels
                + 4 * channels,
            }
        else:
            wrong |= {
                "without batch norm each convolution has a bias: 1 per channel": kernels,
                "without batch norm there is a bias (1 per channel) and nothing else": kernels + 2 * channels,
                "there is no batch norm here, but you counted it and the bias": kernels + 3 * channels,
            }
        given = call(answer, inputs, outputs, norm, what=what)
        _compare_number(given, models.count_parameters(block), wrong, f"{what}({inputs}, {outputs}, {norm})")
    passed(what, "batch norm's two weights and the missing bias are counted")


def size_after(answer: Callable[[int, int], int]) -> None:
    """Check `answer(size, depth)`: side of the output of the paper's UNet without padding."""
    what = "size_after"
    for size, depth in ((572, 4), (188, 4), (68, 2), (140, 3), (20, 1), (205, 4), (101, 2)):
        net = models.UNet(width=1, depth=depth, padding="valid", norm="none").to("meta")
        right = net(torch.empty(1, 3, size, size, device="meta")).shape[-1]
        wrong = {
            "that is the side at the bottom: the decoder is missing, where each stage doubles and then loses 4": _valid(
                size, depth, up=False
            ),
            "each double convolution loses 4 pixels: 2 for each of its two 3x3 convolutions": _valid(size, depth, 2),
            "the bottleneck's double convolution is missing: it loses 4 too": _valid(size, depth, bottom=0),
            "the decoder's double convolutions lose 4 as well": _valid(size, depth, above=0),
            "with padding the size would stay; here nothing is padded": size,
        }
        given = as_array(call(answer, size, depth, what=what), what)
        whole = given.ndim or float(given) == int(given)
        expect(whole, f"{what}({size}, {depth}) is {given}: pooling drops the odd pixel, so divide with //, not with /")
        _compare_number(given, right, wrong, f"{what}({size}, {depth})")
    passed(what, "572 -> 388, as in the paper")


def _valid(size: int, depth: int, loss: int = 4, bottom: int | None = None, above: int | None = None, up=True) -> int:
    for _ in range(depth):
        size = (size - loss) // 2
    size -= loss if bottom is None else bottom
    for _ in range(depth if up else 0):
        size = 2 * size - (loss if above is None else above)
    return size


def up_block(answer: Callable[[Tensor, Tensor, nn.Module, nn.Module], Tensor]) -> None:
    """Check `answer(x, skip, up, conv)`: one stage of the UNet's decoder, for even sizes."""
    what = "up_block"
    for channels, side, kind in ((8, 4, models.UpTransposed), (4, 6, models.UpBilinear)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(channels)
            up, conv = kind(2 * channels, channels), models.DoubleConv(2 * channels, channels).eval()
            x, skip = torch.randn(2, 2 * channels, side, side), torch.randn(2, channels, 2 * side, 2 * side)
        up, conv = _Watched(up), _Watched(conv)
        with torch.no_grad():
            raised = up.module(x)
            joined = torch.cat([skip, raised], dim=1)
            try:
                given = call(answer, x.clone(), skip.clone(), up, conv, what=what)
            finally:  # a crash is explained by what the modules got before it
                _name_up_block(up.given, conv.given, x, skip, raised)
            expect(conv.given is not None, f"{what}: the double convolution is missing; return conv(...)")
            _compare_tensor(given, conv.module(joined), {"return what conv gives, not what goes into it": joined}, what)
    passed(what, "upsampled, skip first, then the double convolution")


class _Watched(nn.Module):
    """A module that remembers what it was given."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module, self.given = module, None

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return self.module(x)


def _name_up_block(raised_from: Tensor | None, joined: Tensor | None, x: Tensor, skip: Tensor, raised: Tensor) -> None:
    what = "up_block"
    expect(raised_from is not None, f"{what}: you forgot the upsampling; up(x) doubles the size")
    expect(raised_from.shape == x.shape, f"{what}: `up` takes x, from the stage below, not the skip")
    if joined is not None:
        added = "the skip was added, not concatenated; the UNet concatenates with torch.cat(..., dim=1)"
        swapped = "the order is swapped: the skip comes first; copied weights need this order"
        expect(not _close(joined, skip + raised), f"{what}: {added}")
        expect(not _close(joined, torch.cat([raised, skip], dim=1)), f"{what}: {swapped}")
        expect(not _close(joined, raised), f"{what}: the skip is not used")


def residual_forward(answer: Callable[..., Tensor]) -> None:
    """Check `answer(x, conv1, bn1, conv2, bn2, downsample)`: the forward pass of a basic block."""
    what = "residual_forward"
    for inputs, outputs, stride, shortcut in ((6, 6, 1, False), (6, 6, 1, True), (4, 8, 2, True)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(inputs + stride)
            block = models.BasicBlock(inputs, outputs, stride).eval()
            if shortcut and block.downsample is None:  # shapes are equal: leaving it out does not crash
                block.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
                block.eval()
            for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
                nn.init.normal_(norm.bias)
                nn.init.uniform_(norm.weight, 0.5, 2)
            x = torch.randn(2, inputs, 8, 8)
        layers = block.conv1, block.bn1, block.conv2, block.bn2
        with torch.no_grad():
            right, straight = block(x), x if block.downsample is None else block.downsample(x)
            inner = block.bn1(block.conv1(x))
            branch = block.bn2(block.conv2(inner.relu()))
            wrong = {
                "there is no ReLU after the sum": branch + straight,
                "the branch has a ReLU before the sum; then it can only add, never subtract": (
                    branch.relu() + straight
                ).relu(),
                "the ReLU belongs after the sum, not on the branch before it": branch.relu() + straight,
                "there is no ReLU between the two convolutions": (block.bn2(block.conv2(inner)) + straight).relu(),
                "the shortcut is missing: nothing was added": branch.relu(),
            }
            if shortcut and stride == 1:
                wrong["you forgot `downsample`: the shortcut goes through it where it is not None"] = (
                    branch + x
                ).relu()
            given = call(answer, x.clone(), *layers, block.downsample, what=what)
        _compare_tensor(given, right, wrong, what)
    passed(what, "branch plus shortcut, then the ReLU")


def layer_parameters(answer: Callable[[int, int, int], int]) -> None:
    """Check `answer(in_channels, channels, blocks)`: trained parameters of one of ResNet34's layers."""
    what = "layer_parameters"
    for inputs, channels, blocks in ((64, 64, 3), (64, 128, 4), (128, 256, 6), (256, 512, 3), (8, 8, 1), (5, 7, 2)):
        layer = [models.BasicBlock(inputs, channels), *(models.BasicBlock(channels, channels),) * (blocks - 1)]
        right = sum(map(models.count_parameters, layer))
        shortcut = inputs * channels + 2 * channels
        changed = inputs != channels
        wrong = {
            "batch norm is missing: 2 trained numbers per channel after each convolution": right
            - 4 * channels * blocks
            - 2 * channels * changed,
            "you counted biases; a convolution before batch norm has none": right
            + 2 * channels * blocks
            + channels * changed,
        }
        if changed:
            wrong |= {
                "the 1x1 shortcut of the first block is missing, with its batch norm": right - shortcut,
                "the 1x1 shortcut is there, but not its batch norm": right - 2 * channels,
                "the shortcut is a 1x1 convolution, not 3x3": right + 8 * inputs * channels,
                "the first convolution takes in_channels, only the others channels": right
                + 9 * channels * (channels - inputs),
                "only the first block takes in_channels and has a shortcut": blocks * models.count_parameters(layer[0]),
                "only the first block has a 1x1 shortcut": right + (blocks - 1) * shortcut,
            }
        else:
            wrong["where the shape stays, the shortcut has no weights"] = right + shortcut
        given = call(answer, inputs, channels, blocks, what=what)
        _compare_number(given, right, wrong, f"{what}({inputs}, {channels}, {blocks})")
    passed(what, "all four layers of ResNet34")


def channel_attention(answer: Callable[[Tensor, nn.Module], Tensor]) -> None:
    """Check `answer(x, mlp)`: the channel weights of CBAM, `[B, C, 1, 1]` or `[B, C]`."""
    what = "channel_attention"
    for channels, side in ((8, 5), (12, 4)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(side)
            mlp = models.CBAM(channels, reduction=4).channel
            x = torch.randn(3, channels, side, side) * 2
        with torch.no_grad():
            average, largest = mlp(x.mean((2, 3), keepdim=True)), mlp(x.amax((2, 3), keepdim=True))
            right = (average + largest).sigmoid()
            wrong = {
                "that is the sum of two sigmoids; take the sigmoid of the sum": average.sigmoid() + largest.sigmoid(),
                "the maximum is missing: both summaries go through the same mlp": average.sigmoid(),
                "the average is missing: both summaries go through the same mlp": largest.sigmoid(),
                "that is a softmax, by which channels compete; CBAM takes a sigmoid of each": (
                    average + largest
                ).softmax(1),
                "the sigmoid is missing": average + largest,
                "take the sigmoid of the sum of the two, not of their mean": ((average + largest) / 2).sigmoid(),
                "the maximum is missing; you added the average twice": (2 * average).sigmoid(),
            }
            given = torch.as_tensor(as_array(call(answer, x.clone(), mlp, what=what), what))
        expect(not _close(given, x * right), f"{what}: these are the weighted features; return the weights alone")
        shapes = f"one weight for each image and channel is expected, {list(right.shape)}, found {list(given.shape)}"
        expect(given.numel() == right.numel(), f"{what}: {shapes}; summarize over dimensions 2 and 3")
        _compare_tensor(given.reshape(right.shape), right, wrong, what)
    passed(what, "the sigmoid of the sum of both paths")


def _compare_number(given: Any, right: int, wrong: Mapping[str, int], what: str) -> None:
    found = as_array(given, what)
    expect(found.size == 1 and np.issubdtype(found.dtype, np.number), f"{what}: one number is expected, found {given}")
    number = float(found.reshape(()))
    if number == right:
        return
    for advice, value in wrong.items():
        expect(number != value, f"{what} gave {number:g}: {advice}")
    raise WrongAnswer(f"{what} gave {number:,.10g}, the network has {right:,}; count layer by layer")


def _compare_tensor(given: Any, right: Tensor, wrong: Mapping[str, Tensor], what: str) -> None:
    given = torch.as_tensor(as_array(given, what)).float()
    for advice, value in wrong.items():
        expect(_close(given, right) or not _close(given, value), f"{what}: {advice}")
    expect(given.shape == right.shape, f"{what}: expected the shape {list(right.shape)}, found {list(given.shape)}")
    expect(_close(given, right), f"{what}: the shape is right, the values are not; compare step by step with the text")


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-5)
