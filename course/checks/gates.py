"""Checks of notebook 06 on whole networks: the gated UNet, the printed gate repaired, maps replaced."""

from collections.abc import Callable
from functools import cache
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.checks.attention import copy_in_order, made
from course.checks.builds import with_weights
from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake
from labkit.models import AttentionUNet, build_model

WIDTH, SIDE = 4, 32


def _drawn(seed: int) -> tuple[AttentionUNet, Tensor]:
    """A network and images; all gates have one bias, so that they may be made in any order."""
    network = with_weights(lambda: build_model("attention_unet", initialization="he", width=WIDTH), seed)
    for gate in network.gates:
        gate.score.bias.data.fill_(0.2)
    return network, torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _every_gate_matters(network: AttentionUNet, x: Tensor) -> bool:
    """Whether opening a map, or one without its signal, moves the logits, whichever gate it is."""
    right = _logits(network, x, lambda _, weights: weights)
    for number, gate in enumerate(network.gates):
        opened = _logits(network, x, lambda i, weights, n=number: torch.ones_like(weights) if i == n else weights)
        handle = gate.of_gating.register_forward_pre_hook(lambda conv, inputs: (0 * inputs[0],))
        deaf = _logits(network, x, lambda _, weights: weights)
        handle.remove()
        if min(np.abs(opened - right).max(), np.abs(deaf - right).max()) < 0.02:
            return False
    return True


@cache
def _telling(seed: int) -> int:
    return next(number for number in count(1000 * seed) if _every_gate_matters(*_drawn(number)))


def _network(seed: int) -> tuple[AttentionUNet, Tensor]:
    return _drawn(_telling(seed))


def _logits(network: AttentionUNet, x: Tensor, change: Callable[[int, Tensor], Tensor]) -> np.ndarray:
    """Logits where the map of each gate is `change(index, map)`; gates are counted from the coarsest."""
    skips, x = network.encode(x)
    for index, (gate, up, stage) in enumerate(zip(network.gates, network.ups, network.decoder, strict=True)):
        skip = skips.pop()
        x = stage(torch.cat([skip * change(index, gate(skip, x)), up(x)], dim=1))
    return network.head(x).detach().numpy()


# --- the network


def _collect_gated_unet(student: Callable, seed: int) -> Collected:
    what, (network, x) = "gated_unet", _network(seed)
    module = made(student, what, WIDTH)
    copy_in_order(network, module, what)
    out = call(module.eval(), x, what=what)
    expect(isinstance(out, Tensor) and out.requires_grad, f"{what}: logits with a gradient are expected")
    call(out.sum().backward, what=what)
    silent = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    return {"logits": as_array(out, what), "silent": np.array(silent, dtype=str)}


def _judge_gated_unet(arrays: Collected, seed: int) -> None:
    what, (network, x) = "gated_unet", _network(seed)
    silent = arrays["silent"].tolist()
    expect(not silent, f"{what}: no gradient reaches {', '.join(silent[:3])}; is every part called?")
    right = _logits(network, x, lambda _, weights: weights)
    mistakes = {
        "the skips are joined as they are; multiply each by its gate's map": _logits(network, x, _opened),
        "the finest skip passes no gate; here all four do": _logits(
            network, x, lambda index, weights: torch.ones_like(weights) if index == 3 else weights
        ),
        "the skips are multiplied by 1 minus the map": _logits(network, x, lambda _, weights: 1 - weights),
        "the weighted skip is added to the skip; the gate only multiplies": _logits(network, x, lambda _, w: 1 + w),
        "the network ends with logits; the sigmoid is part of the loss": 1 / (1 + np.exp(-right)),
    }
    advice = "other logits come out; is the signal of each gate what the decoder has before it is brought up?"
    name_mistake(what, arrays["logits"], right, mistakes, advice, tolerance=1e-4)


def _opened(index: int, weights: Tensor) -> Tensor:
    return torch.ones_like(weights)


gated_unet = Check(
    "gated_unet", "equal to the lab's AttentionUNet under copied weights", _collect_gated_unet, _judge_gated_unet
)

# --- report 004's gate, repaired

CHANNELS = (12, 8)
"""Of the signal and of the skip."""


MISTAKES = (
    "the map came back alone; it weights the skip: multiply by it",
    "the ReLU between the sum and the second convolution is gone",
    "the signal alone makes the map; both vote, so the skip is added to it",
    "the skip is subtracted from the signal; the two are added",
    "there is a tanh in place of the sigmoid; a weight lies between 0 and 1",
    "signal and skip are multiplied before the map is made; the two are added",
    "there is a softmax over the channels; each weight has a sigmoid of its own",
)


def _gated(gate: nn.Module, g: Tensor, k: Tensor) -> list[Tensor]:
    """What a gate with the report's three layers gives with each of the usual mistakes; nothing for another gate."""
    if not all(hasattr(gate, name) for name in ("up", "same_conv1", "same_conv2")):
        return []
    q, conv, last = gate.up(g), gate.same_conv1(k), gate.same_conv2
    if q.shape != conv.shape:
        return []
    scores, alone = last(F.relu(q + conv)), torch.ones_like(conv)
    maps = [last(inner).sigmoid() for inner in (q + conv, F.relu(q), F.relu(q - conv))]
    maps = [scores.sigmoid(), *maps, scores.tanh(), last(F.relu(q * conv)).sigmoid(), scores.softmax(1)]
    weighted = [(alone, alone), *[(conv, k)] * 6]  # the report weights its convolved skip, the paper the skip
    return [torch.stack([a * one, b * one]) for one, (a, b) in zip(maps, weighted, strict=True)]


def _collect_repaired(student: Callable, seed: int) -> Collected:
    what = "repaired_gate"
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gate = made(student, what, *CHANNELS)
    g, k = torch.randn(1, CHANNELS[0], 8, 8, generator=draw), torch.randn(1, CHANNELS[1], 16, 16, generator=draw)
    local = g.clone()
    local[..., :2, :2] += 3.0
    with torch.no_grad():
        cases = {"out": (g, k), "other g": (g.flip(1) + 1, k), "other k": (g, k + 1), "local g": (local, k)}
        found = {name: as_array(call(gate, *pair, what=what), what) for name, pair in cases.items()}
        large = as_array(call(gate, 30 * g, 30 * k, what=what), what)
        found |= {f"if {number}": value.numpy() for number, value in enumerate(_gated(gate, g, k))}
        # the report weights its convolved skip, the paper the skip: both are gates
        gated = [
            30 * k,
            *(m(30 * k) for m in gate.modules() if isinstance(m, nn.Conv2d) and m.in_channels == CHANNELS[1]),
        ]
    found["large"] = large
    found["most"] = torch.stack([part for part in gated if part.shape == k.shape]).abs().amax(0).numpy()
    out = call(gate, g, k, what=what)
    if out.requires_grad:
        call(out.sum().backward, what=what)
    found["silent"] = np.array([name for name, p in gate.named_parameters() if p.grad is None], dtype=str)
    return found


def _judge_repaired(arrays: Collected, seed: int) -> None:
    what, out = "repaired_gate", arrays["out"]
    expect(
        out.shape == (1, CHANNELS[1], 16, 16),
        f"{what}: the weighted skip has the shape of k, [1, {CHANNELS[1]}, 16, 16]; found {[*out.shape]}",
    )

    def moved(name: str) -> np.ndarray:
        return np.abs(arrays[name] - out).max(axis=(0, 1))

    expect(moved("other g").max() > 1e-6, f"{what}: another g changes nothing: the gating signal is still not used")
    expect(moved("other k").max() > 1e-6, f"{what}: another k changes nothing: the skip is not used")
    expect(
        moved("local g")[10:, 10:].max() < 1e-6,
        f"{what}: a change of g in one corner changed the far corner: g was averaged, and tells no place",
    )
    expect(
        bool((np.abs(arrays["large"]) <= arrays["most"] + 1e-3).all()),
        f"{what}: a weight lies outside 0 to 1; is the sigmoid there, and is the skip multiplied by it?",
    )
    for number, advice in enumerate(MISTAKES):
        wrong = [np.allclose(out, other, atol=1e-5) for other in arrays.get(f"if {number}", ())]
        expect(not any(wrong), f"{what}: {advice}")
    silent = arrays["silent"].tolist()
    expect(not silent, f"{what}: no gradient reaches {', '.join(silent)}; a layer is made and never called")


repaired_gate = Check("repaired_gate", "it asks the stage below, place by place", _collect_repaired, _judge_repaired)

# --- maps replaced


def _collect_replaced(student: Callable, seed: int) -> Collected:
    what, (network, x) = "replaced_map", _network(seed)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        plain = network(x)
        found = {
            f"{index} {value}": as_array(call(student, network, x, index, value, what=what), what)
            for index, value in ((0, 0.0), (3, 0.3), (3, 1.0))
        }
        found["changed"] = np.array(not torch.equal(network(x), plain))
    weights = all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    return found | {"weights": np.array(weights), "training": np.array(network.training)}


@torch.no_grad()
def _judge_replaced(arrays: Collected, seed: int) -> None:
    what, (network, x) = "replaced_map", _network(seed)
    expect(not arrays["training"], f"{what}: the network was left in training mode")
    for index, value in ((0, 0.0), (3, 0.3), (3, 1.0)):

        def replaced(i: int, weights: Tensor, index=index, value=value) -> Tensor:
            return torch.full_like(weights, value) if i == index else weights

        mistakes = {
            "nothing was replaced": _logits(network, x, lambda _, weights: weights),
            "the map was multiplied by the value; put the value in its place": _logits(
                network, x, lambda i, weights, index=index, value=value: weights * (value if i == index else 1)
            ),
            "the gates are counted from the coarsest, as in net.gates": _logits(
                network, x, lambda i, weights, replaced=replaced: replaced(3 - i, weights)
            ),
            "the maps of all gates were replaced": _logits(
                network, x, lambda _, weights, value=value: torch.full_like(weights, value)
            ),
        }
        right = _logits(network, x, replaced)
        advice = f"other logits come out for gate {index} and the value {value}"
        name_mistake(what, arrays[f"{index} {value}"], right, mistakes, advice, tolerance=1e-4)
    expect(bool(arrays["weights"]), f"{what}: the network's weights were changed and not restored")
    expect(not arrays["changed"], f"{what}: the next call still gives other logits; was the hook removed?")


replaced_map = Check("replaced_map", "and the network is as it was", _collect_replaced, _judge_replaced)
