"""The checks of notebook 06 accept right answers however written, name the usual wrong ones, and bear nonsense."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from labkit.models import AttentionGate, AttentionUNet, UNet
from labkit.models.blocks import join
from tests.course.refusals import failing, refuse

EXERCISES = (
    *("hand_weights", "gate_slope", "gate_parameters", "gate_scores", "attention_gate", "gate_module"),
    *("gated_unet", "repaired_gate", "replaced_map"),
)


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("answer", [None, ..., "text", failing, lambda *_: None, lambda *_: torch.zeros(2, 3, 4)])
def test_nonsense_gets_a_sentence(name, answer):
    refuse(getattr(checks, name), answer, f"^{name}.*[a-z]")


# --- predictions and sizes


def test_predictions():
    for right in ((0.05, 0.05, 1.0), [0.047, 0.047, 0.999], torch.tensor([0.05, 0.05, 1.0])):
        checks.hand_weights(right)
    refuse(checks.hand_weights, (-3, -3, 7), "a sigmoid follows")
    refuse(checks.hand_weights, (1, 1, 1), "13 is subtracted")
    refuse(checks.hand_weights, (0.0, 0.0, 0.05), "before they are multiplied")
    refuse(checks.hand_weights, (0.999, 0.05, 0.05), "the order")
    refuse(checks.hand_weights, 0.5, "numbers of shape")
    for right in (1.09, 1.0908, torch.tensor(1.0908)):
        checks.gate_slope(right)
    refuse(checks.gate_slope, 0.881, "first way alone")
    refuse(checks.gate_slope, 0.21, "second way alone")
    refuse(checks.gate_slope, 0.105, "product rule")
    refuse(checks.gate_slope, 1.76, "value of the gated skip")


def layered(skip, gating):
    hidden = skip // 2
    layers = nn.Conv2d(skip, hidden, 2, bias=False), nn.Conv2d(gating, hidden, 1), nn.Conv2d(hidden, 1, 1)
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


@pytest.mark.parametrize(
    "answer",
    [layered, lambda c, d: 2 * c**2 + d * c // 2 + c + 1, lambda c, d: torch.tensor(c // 2 * (4 * c + d + 2) + 1)],
)
def test_right_numbers_of_parameters_pass(answer):
    checks.gate_parameters(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda c, d: c // 2 * (4 * c + d + 3) + 1, "W_x has no bias"),
        (lambda c, d: c // 2 * (c + d + 2) + 1, "four weights"),
        (lambda c, d: c // 2 * (4 * c + d + 1) + 1, "bias of W_g"),
        (lambda c, d: c // 2 * (4 * c + d + 2), "bias of psi"),
        (lambda c, d: c // 2 * (4 * c + d + 1), "both biases"),
        (lambda c, d: c // 2 * (4 * c + 4 * d + 2) + 1, "W_g is a 1 x 1"),
        (lambda c, d: c // 2 * (4 * c + d + 1 + c // 2 + 1), "one output channel"),
        (lambda c, d: c + d, "add up"),
    ],
)
def test_wrong_numbers_of_parameters_are_named(answer, advice):
    refuse(checks.gate_parameters, answer, advice)


# --- the gate in stages


def scores(x, g, w_x, w_g, psi):
    return psi(F.relu(w_x(x) + w_g(g)))


def scores_by_einsum(x, g, w_x, w_g, psi):
    tiles = x.unfold(2, 2, 2).unfold(3, 2, 2)  # the strided convolution is a sum over 2 x 2 tiles
    hidden = (torch.einsum("bchwij,ocij->bohw", tiles, w_x.weight) + w_g(g)).clamp(min=0)
    return torch.einsum("bchw,c->bhw", hidden, psi.weight[0, :, 0, 0])[:, None] + psi.bias


@pytest.mark.parametrize("answer", [scores, scores_by_einsum, lambda *a: scores(*a).numpy()])
def test_right_scores_pass(answer):
    checks.gate_scores(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda x, g, a, b, p: p(F.relu(a(x))), "g is not used"),
        (lambda x, g, a, b, p: p(F.relu(b(g))), "the skip too"),
        (lambda x, g, a, b, p: p(a(x) + b(g)), "the ReLU between"),
        (lambda x, g, a, b, p: p(F.relu(a(x)) + F.relu(b(g))), "after the sum, not before"),
        (lambda x, g, a, b, p: p(F.relu(a(x) * b(g))), "is additive"),
        (lambda *a: scores(*a).sigmoid(), "next stage"),
        (lambda x, g, a, b, p: F.relu(a(x) + b(g)), "psi is missing"),
        (lambda *a: 2 * scores(*a), "other values"),
        (lambda x, g, a, b, p: a(g), "RuntimeError"),
    ],
)
def test_wrong_scores_are_named(answer, advice):
    refuse(checks.gate_scores, answer, advice)


def resized(small, x, **more):
    return F.interpolate(small, size=x.shape[-2:], **({"mode": "bilinear"} | more))


def gate(x, g, w_x, w_g, psi):
    return x * resized(scores(x, g, w_x, w_g, psi).sigmoid(), x)


def gate_by_channel(x, g, w_x, w_g, psi):
    weights = 1 / (1 + (-scores_by_einsum(x, g, w_x, w_g, psi)).exp())
    return torch.cat([x[:, [c]] * resized(weights, x) for c in range(x.shape[1])], dim=1)


@pytest.mark.parametrize("answer", [gate, gate_by_channel, lambda *a: gate(*a).numpy(), lambda *a: gate(*a).double()])
def test_right_gates_pass(answer, capsys):
    checks.attention_gate(answer)
    assert "✓ attention_gate" in capsys.readouterr().out


def doubled(*a):
    return a[0] * F.interpolate(scores(*a).sigmoid(), scale_factor=2, mode="bilinear")


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda *a: resized(scores(*a).sigmoid(), a[0]), "the map alone; the gate multiplies"),
        (lambda x, g, a, b, p: x * resized(p(F.relu(a(x))).sigmoid(), x), "g is not used"),
        (lambda x, g, a, b, p: x * resized(p(a(x) + b(g)).sigmoid(), x), "the ReLU between"),
        (lambda *a: a[0] * resized(scores(*a), a[0]), "the sigmoid is missing"),
        (lambda *a: a[0] * resized(scores(*a).tanh(), a[0]), "a tanh in place"),
        (lambda *a: a[0] * resized(scores(*a).softmax(1), a[0]), "softmax over the one channel"),
        (lambda *a: a[0] * resized(scores(*a).flatten(2).softmax(2).view_as(scores(*a)), a[0]), "over the places"),
        (lambda *a: a[0] * resized(scores(*a).relu(), a[0]), "in place of the sigmoid"),
        (lambda *a: a[0] * resized(scores(*a), a[0]).sigmoid(), "enlarged before the sigmoid"),
        (lambda *a: a[0] * resized(scores(*a).sigmoid(), a[0], mode="nearest"), "nearest neighbor"),
        (lambda *a: a[0] * resized(scores(*a).sigmoid(), a[0], align_corners=True), "align_corners"),
        (lambda *a: a[0] + gate(*a), "added to the skip"),
        (lambda *a: a[0] - gate(*a), "1 minus the map"),
        (lambda *a: a[0] * scores(*a).sigmoid(), "RuntimeError"),
        (doubled, "RuntimeError"),  # odd sides
        (lambda *a: gate(*a)[:, :1], "found shape"),
        (lambda *a: 2 * gate(*a), "other values"),
    ],
)
def test_wrong_gates_are_named(answer, advice):
    refuse(checks.attention_gate, answer, advice)


class OtherOrder(nn.Module):
    """A gate whose layers have other names and another order."""

    def __init__(self, skip, gating, bias=False, relu=True):
        super().__init__()
        hidden = skip // 2
        self.psi, self.w_g = nn.Conv2d(hidden, 1, 1), nn.Conv2d(gating, hidden, 1)
        self.w_x, self.relu = nn.Conv2d(skip, hidden, 2, stride=2, bias=bias), relu

    def forward(self, x, g):
        total = self.w_x(x) + self.w_g(g)
        return resized(self.psi(total.relu() if self.relu else total).sigmoid(), x)


class Weighting(AttentionGate):
    def forward(self, skip, gating):
        return skip * super().forward(skip, gating)


class Deaf(AttentionGate):
    def forward(self, skip, gating):
        return resized(self.score(F.relu(self.of_skip(skip))).sigmoid(), skip)


class Detached(AttentionGate):
    def forward(self, skip, gating):
        return super().forward(skip, gating).detach()


@pytest.mark.parametrize("answer", [AttentionGate, OtherOrder, lambda c, d: OtherOrder(skip=c, gating=d)])
def test_right_modules_pass(answer):
    checks.gate_module(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (Weighting, "returns the map"),
        (Deaf, "no gradient reaches of_gating"),
        (Detached, "carry a gradient"),
        (lambda c, d: OtherOrder(c, d, bias=True), "weights too many"),
        (lambda c, d: OtherOrder(c, d, relu=False), "the ReLU between"),
        (lambda c, d: nn.Conv2d(c, 1, 1), "no weight of shape"),
        (
            type("Inverted", (AttentionGate,), {"forward": lambda self, x, g: 1 - AttentionGate.forward(self, x, g)}),
            "1 minus",
        ),
    ],
)
def test_wrong_modules_are_named(answer, advice):
    refuse(checks.gate_module, answer, advice)


# --- the network


class Gated(UNet):
    """The network as a student may write it; `weight` says what becomes of a skip, `signal` what a gate listens to."""

    def __init__(self, width, weight=lambda skip, weights, index: skip * weights, signal=lambda x, index: x):
        super().__init__(width=width)
        self.gates = nn.ModuleList(AttentionGate(scale * width, 2 * scale * width) for scale in (8, 4, 2, 1))
        self.weight, self.signal = weight, signal

    def forward(self, x):
        skips, x = self.encode(x)
        for index, (one, up, stage) in enumerate(zip(self.gates, self.ups, self.decoder, strict=True)):
            skip = skips.pop()
            x = stage(join(self.weight(skip, one(skip, self.signal(x, index)), index), up(x)))
        return self.head(x)


class FinestFirst(Gated):
    def __init__(self, width):
        super().__init__(width)
        self.gates = nn.ModuleList(self.gates[::-1])

    def forward(self, x):
        skips, x = self.encode(x)
        for one, up, stage in zip(reversed(self.gates), self.ups, self.decoder, strict=True):
            skip = skips.pop()
            x = stage(join(skip * one(skip, x), up(x)))
        return self.head(x)


def with_weight(weight):
    return lambda width: Gated(width, weight)


@pytest.mark.parametrize(
    "answer", [Gated, FinestFirst, lambda width: AttentionUNet(width=width), lambda width: AttentionUNet(1, 3, width)]
)
def test_right_networks_pass(answer):
    for seed in (0, 2, 7):
        checks.gated_unet(answer, seed)


@pytest.mark.parametrize("index", range(4))
def test_no_gate_can_be_left_out_or_made_deaf(index):
    for seed in (0, 2, 7):
        deaf = lambda width: Gated(width, signal=lambda x, i: 0 * x if i == index else x)  # noqa: E731
        refuse(checks.gated_unet, deaf, "other logits", seed)
        left_out = with_weight(lambda skip, weights, i: skip + 0 * weights if i == index else skip * weights)
        refuse(checks.gated_unet, left_out, "other logits|finest skip", seed)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (with_weight(lambda skip, weights, _: skip), "no gradient reaches gates"),
        (with_weight(lambda skip, weights, _: skip + 0 * weights), "joined as they are"),
        (with_weight(lambda skip, weights, index: skip * (weights if index < 3 else 1 + 0 * weights)), "finest skip"),
        (with_weight(lambda skip, weights, _: skip * (1 - weights)), "1 minus the map"),
        (with_weight(lambda skip, weights, _: skip * weights**2), "other logits"),
        (with_weight(lambda skip, weights, _: skip + skip * weights), "added to the skip"),
        (with_weight(lambda skip, weights, _: skip.mul_(weights)), "failed with RuntimeError: one of the variables"),
        (lambda width: UNet(width=width), "no weight of shape"),
    ],
)
def test_wrong_networks_are_named(answer, advice):
    refuse(checks.gated_unet, answer, advice)


# --- the printed gate


class Repaired(nn.Module):
    """Report 004's gate as meant, or with one thing wrong."""

    def __init__(self, in_channels, out_channels, inner=lambda q, k: F.relu(q + k), last=torch.sigmoid, **changes):
        super().__init__()
        self.same_conv1 = nn.Conv2d(out_channels, out_channels, 1)
        self.same_conv2 = nn.Conv2d(out_channels, out_channels, 1)
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.inner, self.last, self.changes = inner, last, changes

    def forward(self, g, k):
        q = self.up(g)
        q = q.mean((2, 3), keepdim=True) if "mean" in self.changes else q
        conv = self.same_conv1(k)
        weights = self.last(self.same_conv2(self.inner(q, conv)))
        return weights if "alone" in self.changes else weights * (k if "skip" in self.changes else conv)


class Additive(nn.Module):
    """The paper's gate in the report's place."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.gate = AttentionGate(out_channels, in_channels)

    def forward(self, g, k):
        return k * self.gate(k, g)


class SignalAlone(Additive):
    def forward(self, g, k):
        return F.interpolate(g.mean(1, keepdim=True).sigmoid(), size=k.shape[-2:]).expand_as(k)


@pytest.mark.parametrize("answer", [Repaired, lambda c, d: Repaired(c, d, skip=True), Additive])
def test_right_repairs_pass(answer):
    checks.repaired_gate(answer)
    checks.repaired_gate(answer, seed=3)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda c, d: Repaired(c, d, inner=lambda q, k: F.relu(k)), "still not used"),
        *((lambda c, d, s=s: Repaired(c, d, inner=torch.add, **s), "the ReLU between") for s in ({}, {"skip": True})),
        (lambda c, d: Repaired(c, d, inner=lambda q, k: F.relu(q)), "the signal alone"),
        (lambda c, d: Repaired(c, d, inner=lambda q, k: F.relu(q - k)), "is subtracted"),
        (lambda c, d: Repaired(c, d, last=torch.tanh), "a tanh in place"),
        (lambda c, d: Repaired(c, d, last=lambda s: s.softmax(1)), "a softmax over"),
        (lambda c, d: Repaired(c, d, inner=lambda q, k: F.relu(q * k)), "are multiplied before"),
        (lambda c, d: Repaired(c, d, alone=True), "the map came back alone"),
        (lambda c, d: Repaired(c, d, mean=True), "tells no place"),
        (lambda c, d: Repaired(c, d, last=nn.Identity()), "outside 0 to 1"),
        (SignalAlone, "the skip is not used"),
        (lambda c, d: AttentionGate(d, c), "RuntimeError"),  # skip and signal exchanged
        (lambda c, d: nn.Bilinear(c, d, 1), "RuntimeError"),
    ],
)
def test_wrong_repairs_are_named(answer, advice):
    refuse(checks.repaired_gate, answer, advice)


# --- maps replaced


def by_hook(net, images, index, value, remove=True):
    handle = net.gates[index].register_forward_hook(lambda gate, inputs, weights: torch.full_like(weights, value))
    try:
        return net(images)
    finally:
        if remove:
            handle.remove()


def in_place(i, index, value, weights):
    return torch.full_like(weights, value) if i == index else weights


def by_loop(net, images, index, value, change=in_place):
    skips, x = net.encode(images)
    for i, (one, up, stage) in enumerate(zip(net.gates, net.ups, net.decoder, strict=True)):
        skip = skips.pop()
        x = stage(join(skip * change(i, index, value, one(skip, x)), up(x)))
    return net.head(x)


def by_forward(net, images, index, value):
    net.gates[index].forward = lambda skip, signal: torch.full_like(skip[:, :1], value)
    out = net(images)
    del net.gates[index].forward
    return out


def by_bias(net, images, index, value):
    with torch.no_grad():
        net.gates[index].score.weight.zero_()
        net.gates[index].score.bias.fill_(torch.tensor(value).logit().clamp(-80, 80))
    return net(images)


@pytest.mark.parametrize("answer", [by_hook, by_loop, by_forward, lambda *a: by_hook(*a).numpy()])
def test_right_replacements_pass(answer):
    checks.replaced_map(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda *a: by_hook(*a, remove=False), "hook removed|other logits"),
        (lambda net, x, index, value: by_hook(net, x, 3 - index, value), "from the coarsest"),
        (lambda net, x, *_: net(x), "nothing was replaced"),
        (lambda *a: by_loop(*a, change=lambda i, index, value, w: w * value if i == index else w), "was multiplied"),
        (lambda *a: by_loop(*a, change=lambda i, index, value, w: torch.full_like(w, value)), "all gates"),
        (lambda net, *a: by_hook(net.train(), *a), "training mode"),
        (by_bias, "changed|other logits"),
    ],
)
def test_wrong_replacements_are_named(answer, advice):
    refuse(checks.replaced_map, answer, advice)
