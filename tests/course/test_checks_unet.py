"""Notebook 02's checks on numbers: right answers pass however they are written; each usual wrong one is named."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course import checks
from course.checks import unet
from labkit import models
from tests.course import refusals
from tests.course.refusals import accept

refuse = partial(refusals.refuse, seeds=(0, 7))


def chain(size, depth, loss=4, bottom=4, above=4, up=True, divide=lambda s: s // 2):
    for _ in range(depth):
        size = divide(size - loss)
    size -= bottom
    for _ in range(depth * up):
        size = 2 * size - above
    return size


def recursive(size, depth):
    return size - 4 if depth == 0 else 2 * recursive((size - 4) // 2, depth - 1) - 4


def by_network(size, depth):
    net = models.UNet(width=1, depth=depth, padding="valid", norm="none").to("meta")
    return net(torch.empty(1, 3, size, size, device="meta")).shape[-1]


@pytest.mark.parametrize("answer", [chain, recursive, by_network, lambda s, d: torch.tensor(chain(s, d))])
def test_size_after_accepts(answer, capsys):
    accept(checks.size_after, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (partial(chain, up=False), "side at the bottom"),
        (partial(chain, loss=2, bottom=2, above=2), "loses 4 pixels: 2 for each"),
        (partial(chain, bottom=0), "bottleneck's double convolution"),
        (partial(chain, above=0), "decoder's double convolutions lose"),
        (partial(chain, above=8), "doubles first"),
        (partial(chain, divide=lambda s: s / 2), "with //"),
        (lambda s, d: s, "nothing is padded"),
        (lambda s, d: chain(s, d) + (d == 3), "stage by stage"),
        (lambda s, d: [1, 2], "one number is expected"),
        (lambda s, d: None, "nothing came back"),
        (lambda s: s, "failed with TypeError"),
    ],
)
def test_size_after_names(answer, name):
    refuse(checks.size_after, answer, name)


def doubled(i, o, norm, *, second=None, bias=None, per_norm=2, kernel=9, blocks=2):
    """Parameters of a double convolution, with the parts that go wrong as arguments."""
    bias = (not norm) if bias is None else bias
    kernels = kernel * i * o + (kernel * (second or o) * o if blocks == 2 else 0)
    return kernels + blocks * o * (bias + per_norm * norm)


def counted(i, o, norm):
    return torch.tensor(models.count_parameters(models.DoubleConv(i, o, norm="batch" if norm else "none")))


@pytest.mark.parametrize("answer", [doubled, counted, lambda *a: float(doubled(*a)), lambda *a: [doubled(*a)]])
def test_double_conv_parameters_accepts(answer, capsys):
    accept(checks.double_conv_parameters, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda i, o, n: doubled(i, o, n, second=i), "second convolution"),
        (lambda i, o, n: doubled(i, o, n, bias=True), "has no bias"),
        (lambda i, o, n: doubled(i, o, n, per_norm=0), "batch norm is missing"),
        (lambda i, o, n: doubled(i, o, n, per_norm=0, bias=True), "in place of batch norm"),
        (lambda i, o, n: doubled(i, o, n, per_norm=4), "measured, not trained"),
        (lambda i, o, n: doubled(i, o, n, bias=False), "each convolution has a bias"),
        (lambda i, o, n: doubled(i, o, n, blocks=1), "block has two"),
        (lambda i, o, n: doubled(i, o, n, kernel=3), "3 x 3"),
        (lambda i, o, n: 12, "layer by layer"),
        (lambda i, o, n: None, "nothing came back"),
        (lambda i, o: 12, "failed with TypeError"),
    ],
)
def test_double_conv_parameters_names(answer, name):
    refuse(checks.double_conv_parameters, answer, name)


def field(layers, start=1, own_stride=False, pool=2):
    r, j = start, 1
    for layer in layers:
        stride = 2 if layer == "p" else 1
        r += ((pool if layer == "p" else 3) - 1) * j * (stride if own_stride else 1)
        j *= stride
    return r


@pytest.mark.parametrize("answer", [field("ccpccpcc"), 32.0, np.int64(32), torch.tensor(32), [32]])
def test_receptive_field_accepts(answer, capsys):
    accept(checks.receptive_field, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (field("cccccc"), "without the poolings"),
        (field("ccpccpcc", pool=1), "own kernel of 2"),
        (field("ccpccpcc", own_stride=True), "before its own stride"),
        (field("ccpccpcc", start=0), "r begins at 1"),
        (field("ccpccpccp"), "third pooling comes after"),
        (field("ccpccpc"), "before the last convolution"),
        (field("ccpcc"), "stage 2"),
        (field("ccpccpccpcc"), "stage 4"),
        (99, "write down both"),
        (..., "replace the"),
        ("32 pixels", "numbers are expected"),
    ],
)
def test_receptive_field_names(answer, name):
    refuse(checks.receptive_field, answer, name)


def looped(size, kernel, stride):
    counts = [0] * ((size - 1) * stride + kernel)
    for i in range(size):
        for u in range(kernel):
            counts[i * stride + u] += 1
    return counts


def sliced(size, kernel, stride):
    counts = np.zeros((size - 1) * stride + kernel)
    for i in range(size):
        counts[i * stride : i * stride + kernel] += 1
    return counts


def folded(size, kernel, stride):
    """Each output pixel in turn: the input pixels whose patch holds it."""
    starts, outputs = torch.arange(size) * stride, torch.arange((size - 1) * stride + kernel)[:, None]
    return ((outputs >= starts) & (outputs < starts + kernel)).sum(dim=1)


def in_torch(size, kernel, stride):
    return F.conv_transpose1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel), stride=stride)


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 5))
def test_the_counts_of_torch_are_those_of_a_loop(size, kernel, stride):
    assert unet.painted(size, kernel, stride).tolist() == looped(size, kernel, stride)


@pytest.mark.parametrize("answer", [looped, sliced, folded, in_torch, lambda *a: tuple(map(float, looped(*a)))])
def test_overlap_count_accepts(answer, capsys):
    accept(checks.overlap_count, answer, capsys)


def without_ends(size, kernel, stride):
    """The pattern of the middle: the taps whose distance from the output pixel is a multiple of the stride."""
    pattern = [sum(u % stride == p for u in range(kernel)) for p in range(stride)]
    return [pattern[i % stride] for i in range((size - 1) * stride + kernel)]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda s, k, j: np.outer(looped(s, k, j), looped(s, k, j)), "not a grid"),
        (lambda s, k, j: np.square(looped(s, k, j)), "squares"),
        (lambda s, k, j: looped(s, j, k), "swapped"),
        (without_ends, "continued the pattern of the middle"),
        (lambda s, k, j: [k] * s, "how many output pixels each input pixel paints"),
        (lambda s, k, j: looped(s, k, 1), "`stride` apart"),
        (lambda s, k, j: looped(s, k, j)[: s * j], "the end is missing"),
        (lambda s, k, j: [k] * max(1, (s - k) // j + 1), "ordinary convolution"),
        (lambda s, k, j: (s - 1) * j + k, "number of output pixels"),
        (lambda s, k, j: [*looped(s, k, j), 0], "not as many as come out"),
        (lambda s, k, j: [2, *looped(s, k, j)[1:]], "output pixel 0 is the first that differs"),
        (lambda s, k, j: ["one"] * s, "numbers are expected"),
        (lambda s, k, j: None, "nothing came back"),
        (lambda s, k: [1], "failed with TypeError"),
    ],
)
def test_overlap_count_names(answer, name):
    refuse(checks.overlap_count, answer, name)


def drawn(factor, uniform=False):
    """Weights whose variance is factor(i, o, k) / n."""

    def answer(conv):
        o, i, k, other = conv.weight.shape
        deviation = (factor(i, o, (k * other) ** 0.5) / (i * k * other)) ** 0.5
        with torch.no_grad():
            if uniform:
                return conv.weight.uniform_(-(3**0.5) * deviation, 3**0.5 * deviation)
            return conv.weight.normal_(0, deviation)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda conv: nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu"),
        lambda conv: nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu"),
        drawn(lambda i, o, k: 2),
        drawn(lambda i, o, k: 2, uniform=True),
    ],
)
def test_he_weights_accepts(answer, capsys):
    accept(checks.he_weights, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda conv: nn.init.kaiming_uniform_(conv.weight, a=5**0.5), "still PyTorch's default"),
        (lambda conv: conv.reset_parameters(), "still PyTorch's default"),
        (lambda conv: None, "alike still"),
        (lambda conv: nn.init.kaiming_normal_(copy.deepcopy(conv).weight), "alike still"),
        (lambda conv: conv.weight.data.mul_(6**0.5), "alike still"),
        (
            lambda conv: conv.weight.data.normal_(0, (2 / conv.in_channels / conv.kernel_size[0] ** 2) ** 0.5),
            "a square",
        ),
        (lambda conv: conv.weight.data.normal_(0, (2 / conv.in_channels / 9) ** 0.5), "need not be 3 x 3"),
        (lambda conv: nn.init.kaiming_normal_(conv.weight, mode="fan_out"), "counts the outputs"),
        (lambda conv: nn.init.kaiming_normal_(conv.weight, nonlinearity="linear"), "takes away one half"),
        (lambda conv: nn.init.xavier_normal_(conv.weight), "Xavier"),
        (drawn(lambda i, o, k: 2 * k * k), "kernel pixels"),
        (drawn(lambda i, o, k: 4 / (i * k * k)), "square root"),
        (drawn(lambda i, o, k: 2 / 3, uniform=True), "b\\^2 / 3"),
        (lambda conv: nn.init.constant_(conv.weight, 0.1), "alike still"),
        (lambda conv: conv.weight.data.normal_(0.1, 0.1), "mean is not 0"),
        (drawn(lambda i, o, k: 9), "neither PyTorch's nor He's"),
        (lambda: None, "failed with TypeError"),
    ],
)
def test_he_weights_names(answer, name):
    refuse(checks.he_weights, answer, name)


def learn(net, images, masks, steps, *, rate=0.01, clear=True, end=lambda y: y, mode=True, make=torch.optim.Adam):
    net.train(mode)
    optimizer, losses = make(net.parameters(), lr=rate), []
    for _ in range(steps):
        loss = F.binary_cross_entropy_with_logits(end(net(images)), masks[:, None].float())
        losses.append(loss.item())
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def on_probabilities(net, images, masks, steps):
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=0.01), torch.zeros(steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss = nn.BCELoss()(net(images).sigmoid().squeeze(1), masks.float())
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
    return losses


@pytest.mark.parametrize(
    "answer", [learn, on_probabilities, lambda *a: [torch.tensor(x, requires_grad=True) for x in learn(*a)]]
)
def test_overfit_accepts(answer, capsys):
    accept(checks.overfit, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (partial(learn, clear=False), "zero_grad\\(\\) is missing"),
        (partial(learn, end=torch.sigmoid), "sigmoid comes twice"),
        (partial(learn, mode=False), "evaluation mode"),
        (partial(learn, rate=0.001), "Adam's default"),
        (partial(learn, make=torch.optim.SGD), "SGD"),
        (lambda net, images, masks, steps: [0.7] * steps, "no weight has moved"),
        (lambda *a: learn(*a)[1:], "losses came back"),
        (lambda *a: learn(*a)[::-1], "already the first loss"),
        (lambda *a: None, "nothing came back"),
    ],
)
def test_overfit_names(answer, name):
    refuse(checks.overfit, answer, name)
