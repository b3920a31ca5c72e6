"""Checks of stages 1 and 2 of the ResNet34-UNet that notebook 03 builds: the residual block and the encoder."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from course.checks.named_builds import Case, collect_named, judge_named, named_check
from course.checks.verdict import Check, Collected, call, expect
from labkit import models

# --- stage 1: the block


def oracle_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """torchvision's residual block, with the shortcut that it needs."""
    from torchvision.models.resnet import BasicBlock  # takes seconds to import

    shortcut = None
    if stride != 1 or inputs != outputs:
        conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride, downsample=shortcut)


def forward_of(
    middle: Callable = F.relu,
    branch: Callable = lambda y: y,
    end: Callable = F.relu,
    late: bool = False,
    add: bool = True,
    early: bool = False,
    swapped: bool = False,
) -> Callable[[nn.Module], Callable]:
    """A block's forward pass with a step replaced.

    `late`: the second convolution has the stride; `early`: the ReLU comes before the first norm; `swapped`: the norms.
    """

    def mistake(block: nn.Module) -> Callable:
        first, second = (1, block.stride) if late else (block.stride, 1)
        norm, last = (block.bn2, block.bn1) if swapped else (block.bn1, block.bn2)

        def forward(x: Tensor) -> Tensor:
            shortcut = x if block.downsample is None else block.downsample(x)
            y = F.conv2d(x, block.conv1.weight, stride=first, padding=1)
            y = norm(middle(y)) if early else middle(norm(y))
            y = branch(last(F.conv2d(y, block.conv2.weight, stride=second, padding=1)))
            return end(y + shortcut if add else y)

        return forward

    return mistake


BLOCK_MISTAKES = {
    "there is no ReLU after the sum": forward_of(end=lambda y: y),
    "the branch has a ReLU before the sum; then it can only add, never take away": forward_of(branch=F.relu),
    "the ReLU belongs after the sum, not on the branch before it": forward_of(branch=F.relu, end=lambda y: y),
    "there is no ReLU between the two convolutions": forward_of(middle=lambda y: y),
    "the ReLU comes before the first batch norm; first the norm, then the ReLU": forward_of(early=True),
    "bn1 and bn2 are swapped: bn1 follows conv1": forward_of(swapped=True),
    "the shortcut is missing: nothing is added": forward_of(add=False),
    "the second convolution has the stride; in ResNet34 the first one has it": forward_of(late=True),
}

BLOCK_CASES = [
    Case(arguments, lambda arguments=arguments: oracle_block(*arguments), (2, 6, 8, 10))
    for arguments in ((6, 6, 1), (6, 8, 2), (6, 8, 1), (6, 6, 2))
]


def _strides(block: nn.Module) -> None:
    """Both strides would halve the size twice; the sum with the shortcut then fails with shapes alone."""
    strides = [getattr(getattr(block, name, None), "stride", (1, 1)) for name in ("conv1", "conv2")]
    twice = "both convolutions have the stride; it belongs into conv1 and the shortcut alone"
    expect((1, 1) in strides, f"basic_block: {twice}")


basic_block = named_check(
    "basic_block", "stage 1: equal to torchvision's under its weights", BLOCK_CASES, BLOCK_MISTAKES, _strides
)

# --- report 000's block, repaired in place


def _collect_repaired(student: Callable, seed: int) -> Collected:
    def build(*arguments: int) -> nn.Module:
        block = models.LateStrideBlock(*arguments)
        returned = call(student, block, what="repaired_block")
        other = isinstance(returned, nn.Module) and returned is not block
        expect(not other, "repaired_block: a new block came back; change the one that was passed in")
        return block

    return collect_named(build, BLOCK_CASES, "repaired_block", seed)


repaired_block = Check(
    "repaired_block",
    "ResNet34's block again",
    _collect_repaired,
    lambda arrays, seed: judge_named(arrays, BLOCK_CASES, BLOCK_MISTAKES, "repaired_block", seed),
)

# --- stage 2: the encoder


def _torchvision(width: int = 64) -> nn.Module:
    """torchvision's ResNet34 with random weights, which gives its features instead of classes."""
    from torchvision.models import resnet34  # takes seconds to import

    net = resnet34(weights=None)
    del net.fc
    if width != 64:  # torchvision has no narrower one
        net.conv1, net.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        for i, number in enumerate((3, 4, 6, 3)):
            inputs, outputs = width * 2 ** max(0, i - 1), width * 2**i
            blocks = [oracle_block(outputs, outputs, 1) for _ in range(number - 1)]
            setattr(net, f"layer{i + 1}", nn.Sequential(oracle_block(inputs, outputs, 1 + (i > 0)), *blocks))
    net.forward = _features()(net)
    return net


def _features(
    give: Callable = lambda stem, pooled, layers: [stem, *layers], pool: bool = True, relu: bool = True
) -> Callable[[nn.Module], Callable]:
    """An encoder that gives something else of stem, pooled stem and layers, or leaves a step out."""

    def mistake(net: nn.Module) -> Callable:
        def forward(x: Tensor) -> list[Tensor]:
            stem = net.bn1(net.conv1(x))
            stem = stem.relu() if relu else stem
            pooled = net.maxpool(stem) if pool else stem
            layers, x = [], pooled
            for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
                x = layer(x)
                layers.append(x)
            return give(stem, pooled, layers)

        return forward

    return mistake


resnet_encoder = named_check(
    "resnet_encoder",
    "stage 2: takes torchvision's weights and gives its features",
    [Case((), _torchvision, (2, 3, 64, 96)), Case((16,), lambda: _torchvision(16), (2, 3, 64, 64))],
    {
        "the stem's feature is kept after the max pool; keep it before": _features(
            lambda stem, pooled, layers: [pooled, *layers]
        ),
        "the stem's max pool is never called": _features(pool=False),
        "the ReLU after the stem's batch norm is missing": _features(relu=False),
        "the features come in the wrong order: the finest, the stem's, comes first": _features(
            lambda stem, pooled, layers: [*layers[::-1], stem]
        ),
        "the stem's feature is missing: five come out": _features(lambda stem, pooled, layers: layers),
        "only the last feature comes out; give the list of all five": _features(
            lambda stem, pooled, layers: layers[-1:]
        ),
    },
)
