"""Checks of the exercises of notebook 03: parameter counts and forward passes by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course.checks.verdict import WrongAnswer, as_array, call, expect, passed
from labkit import models


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
