"""Checks of the UNet that notebook 02 builds in four stages."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.checks.builds import build_check, together
from course.checks.verdict import Check
from labkit import models

# --- stage 1: the double convolution


def _in_order(steps: str) -> Callable[[nn.Module], Callable]:
    """A double convolution with another order of its steps: c, n, r for convolution, norm, ReLU."""

    def mistake(block: nn.Module) -> Callable:
        def forward(x: Tensor) -> Tensor:
            layers = {"c": iter((block[0], block[3])), "n": iter((block[1], block[4]))}
            for step in steps:
                x = x.relu() if step == "r" else next(layers[step])(x)
            return x

        return forward

    return mistake


double_conv = build_check(
    "double_conv",
    "stage 1",
    (3, 8),
    lambda: models.DoubleConv(3, 8),
    [((2, 3, 9, 7),)],
    {
        "the ReLU comes before the batch norm; first the norm, then the ReLU": _in_order("crncrn"),
        "there is no ReLU between the two convolutions": _in_order("cncnr"),
        "there is no ReLU after the second convolution": _in_order("cnrcn"),
        "there is no ReLU at all": _in_order("cncn"),
    },
)

# --- stage 2: the encoder


class _Encoder(models.UNet):
    def __init__(self):
        super().__init__(width=4, depth=3)
        del self.ups, self.decoder, self.head

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        return self.encode(x)


def _encoder(give: Callable, pool: Callable = F.max_pool2d) -> Callable[[nn.Module], Callable]:
    """An encoder that gives something else of its skips, what was pooled, and the bottleneck's output."""

    def mistake(net: nn.Module) -> Callable:
        def forward(x: Tensor) -> list[Tensor]:
            skips, pooled = [], []
            for stage in net.encoder:
                skips.append(stage(x))
                x = pool(skips[-1], 2)
                pooled.append(x)
            return give(skips, pooled, net.bottleneck(x))

        return forward

    return mistake


def _pooled_first(net: nn.Module) -> Callable:
    def forward(x: Tensor) -> list[Tensor]:
        skips = []
        for stage in net.encoder:
            x = stage(F.max_pool2d(x, 2))
            skips.append(x)
        return [*skips, net.bottleneck(x)]

    return forward


encoder = build_check(
    "encoder",
    "stage 2",
    (3, 4, 3),
    _Encoder,
    [((2, 3, 32, 24),), ((1, 3, 27, 21),)],
    {
        "the skips come in the wrong order: the finest, that of the first stage, comes first": _encoder(
            lambda skips, pooled, x: [*skips[::-1], x]
        ),
        "the skips were kept after the pooling, where the fine places are gone": _encoder(
            lambda skips, pooled, x: [*pooled, x]
        ),
        "the skips are missing: give a list of them, and the bottleneck's output": _encoder(
            lambda skips, pooled, x: [x]
        ),
        "the bottleneck's output is no skip: give it beside the list only": _encoder(
            lambda skips, pooled, x: [*skips, x, x]
        ),
        "that is average pooling; the UNet keeps the largest": _encoder(
            lambda skips, pooled, x: [*skips, x], F.avg_pool2d
        ),
        "the pooling comes before the double convolution; each stage convolves first, then pools": _pooled_first,
        "nothing is pooled": _encoder(lambda skips, pooled, x: [*skips, x], lambda x, _: x),
    },
)

# --- stage 3: up and join


class _UpBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.conv = models.UpTransposed(12, 5), models.DoubleConv(10, 5)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(models.join(skip, self.up(x)))


def _joined(join: Callable[[Tensor, Tensor], Tensor]) -> Callable[[nn.Module], Callable]:
    return lambda block: lambda x, skip: block.conv(join(skip, block.up(x)))


def _filled(x: Tensor, skip: Tensor, mode: str = "replicate", before: bool = False) -> Tensor:
    lower, right = skip.shape[-2] - x.shape[-2], skip.shape[-1] - x.shape[-1]
    return F.pad(x, (right, 0, lower, 0) if before else (0, right, 0, lower), mode=mode)


def _swapped(skip: Tensor, x: Tensor) -> Tensor:
    return torch.cat([_filled(x, skip), skip], 1)


up_block = build_check(
    "up_block",
    "stage 3, for odd sizes, too",
    (12, 5),
    _UpBlock,
    [((2, 12, 4, 6), (2, 5, 8, 12)), ((1, 12, 3, 4), (1, 5, 7, 9)), ((1, 12, 3, 4), (1, 5, 7, 8))],
    {
        "the order is swapped: the skip comes first": _joined(_swapped),
        "x is joined with itself, the skip is not used": _joined(
            lambda skip, x: torch.cat([_filled(x, skip), _filled(x, skip)], 1)
        ),
        "the skip was cut to the size of x; repeat the last row and column of x instead": _joined(
            lambda skip, x: torch.cat([skip[..., : x.shape[-2], : x.shape[-1]], x], 1)
        ),
        "x was filled up with zeros; repeat its last row and column": _joined(
            lambda skip, x: torch.cat([skip, _filled(x, skip, "constant")], 1)
        ),
        "x was stretched to the skip's size by nearest neighbor; repeat its last row and column": _joined(
            lambda skip, x: torch.cat([skip, F.interpolate(x, skip.shape[-2:], mode="nearest")], 1)
        ),
        "pooling cuts the odd pixel off at the right and below, so x is short there": _joined(
            lambda skip, x: torch.cat([skip, _filled(x, skip, before=True)], 1)
        ),
        "x was stretched to the skip's size, which shifts its pixels; repeat its last row and column": _joined(
            lambda skip, x: torch.cat([skip, F.interpolate(x, skip.shape[-2:], mode="bilinear")], 1)
        ),
    },
)

# --- stage 4: the whole network


def _network(end: Callable[[Tensor], Tensor], join: Callable = models.join) -> Callable[[nn.Module], Callable]:
    def mistake(net: nn.Module) -> Callable:
        def forward(x: Tensor) -> Tensor:
            skips, x = net.encode(x)
            for up, stage in zip(net.ups, net.decoder, strict=True):
                x = stage(join(skips.pop(), up(x)))
            return end(net.head(x))

        return forward

    return mistake


def _whole(classes: int, channels: int, depth: int, shapes: list[tuple]) -> Check:
    """With He's weights nothing dies out on the way, so that each mistake shows in the logits."""
    arguments = {"classes": classes, "in_channels": channels, "width": 4, "depth": depth}
    reference = lambda: models.build_model("unet", initialization="he", **arguments)  # noqa: E731
    remark = "the whole UNet: layers, shapes, logits, gradients"
    return build_check("whole_unet", remark, (classes, channels, 4, depth), reference, shapes, WHOLE_MISTAKES)


WHOLE_MISTAKES = {
    "the network ends with logits; the sigmoid is part of the loss": _network(torch.sigmoid),
    "the network ends with logits; the softmax is part of the loss": _network(lambda y: y.softmax(1)),
    "logits may be negative; there is a ReLU after the head": _network(torch.relu),
    "the skip comes first in the concatenation": _network(lambda y: y, _swapped),
}
whole_unet = together(
    _whole(2, 3, 3, [((2, 3, 32, 24),), ((1, 3, 29, 23),)]),
    _whole(1, 1, 2, [((2, 1, 16, 16),)]),
)
