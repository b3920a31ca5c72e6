"""Checks of notebook 06: weights by hand, the gate in stages, the gated UNet, the printed gate, gates replaced."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake, numbers
from labkit.models import AttentionGate, count_parameters

# --- predictions


def _sigmoid(*scores: float) -> np.ndarray:
    return torch.sigmoid(torch.tensor(scores, dtype=torch.float64)).numpy()


def _judge_hand_weights(arrays: Collected, seed: int) -> None:
    mistakes = {
        "those are the scores; a sigmoid follows": np.array([-3.0, -3.0, 7.0]),
        "13 is subtracted before the sigmoid": _sigmoid(10, 10, 20),
        "edge and pet are added before they are multiplied by 10": _sigmoid(-13, -13, -3),
        "the order is edge alone, pet alone, both": _sigmoid(7, -3, -3),
    }
    otherwise = "put the sum of the two votes, 1 or 2, into the formula of psi, then take the sigmoid"
    name_mistake("hand_weights", arrays["weights"], _sigmoid(-3, -3, 7), mistakes, otherwise, tolerance=0.006)


hand_weights = Check(
    "hand_weights",
    "neither alone opens the gate",
    lambda student, seed: {"weights": numbers(student, "hand_weights", (3,))},
    _judge_hand_weights,
)


def _judge_gate_slope(arrays: Collected, seed: int) -> None:
    (open_at_2,) = _sigmoid(2)
    through_map = 2 * open_at_2 * (1 - open_at_2)
    mistakes = {
        "that is the first way alone, with the weight held fixed; the weight depends on x, too": open_at_2,
        "that is the second way alone, through the weight; x is also multiplied by it": through_map,
        "that is the slope of the sigmoid; use the product rule on x times the sigmoid": through_map / 2,
        "that is the value of the gated skip; its slope is asked for": 2 * open_at_2,
    }
    otherwise = "use the product rule: the weight, plus x times the slope of the weight"
    name_mistake("gate_slope", arrays["slope"], open_at_2 + through_map, mistakes, otherwise, tolerance=0.006)


gate_slope = Check(
    "gate_slope",
    "two ways, which add up",
    lambda student, seed: {"slope": numbers(student, "gate_slope", ())},
    _judge_gate_slope,
)

# --- the size of a gate

SIZES = ((64, 128), (512, 1024), (6, 10))


def _collect_gate_parameters(student: Callable, seed: int) -> Collected:
    what = "gate_parameters"
    return {"counts": np.array([numbers(call(student, *pair, what=what), what, ()) for pair in SIZES])}


def _judge_gate_parameters(arrays: Collected, seed: int) -> None:
    skip, gating = np.array(SIZES).T
    hidden = skip // 2
    right = [count_parameters(AttentionGate(*pair)) for pair in SIZES]
    mistakes = {
        "W_x has no bias, since W_g has one and the two are added": right + hidden,
        "W_x is a 2 x 2 convolution: four weights for each pair of channels": right - 3 * skip * hidden,
        "the bias of W_g is missing": right - hidden,
        "the bias of psi is missing": right - np.ones(3),
        "both biases are missing": right - hidden - 1,
        "psi has one output channel": right + hidden * (hidden - 1) + hidden - 1,
        "W_g is a 1 x 1 convolution": right + 3 * gating * hidden,
    }
    otherwise = (
        "add up W_x (2 x 2), W_g (1 x 1, bias) and psi (1 x 1, bias, one output), with skip // 2 hidden channels"
    )
    name_mistake("gate_parameters", arrays["counts"], right, mistakes, otherwise, tolerance=0.5)


gate_parameters = Check(
    "gate_parameters", "three convolutions, two biases", _collect_gate_parameters, _judge_gate_parameters
)

# --- the gate, in stages

SHAPES = ((4, 6, 8, 12), (7, 5, 9, 7))
"""Channels of skip and signal, height, width: an even and an odd size."""


def _gates(seed: int) -> list[tuple[AttentionGate, Tensor, Tensor]]:
    drawn = []
    for number, (channels, gating, height, width) in enumerate(SHAPES):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2 * seed + number)
            gate = AttentionGate(channels, gating)
            gate.score.weight.data *= 6  # so that the map is far from flat and every mistake shows
            x, g = torch.randn(2, channels, height, width), torch.randn(2, gating, height // 2, width // 2)
        drawn.append((gate, x, g))
    return drawn


def _collecting(what: str) -> Callable[[Callable, int], Collected]:
    """Calls an answer on skip, signal and the three layers of two gates."""

    def collect(student: Callable, seed: int) -> Collected:
        found = {}
        for number, (gate, x, g) in enumerate(_gates(seed)):
            layers = gate.of_skip, gate.of_gating, gate.score
            with torch.no_grad():
                found[str(number)] = as_array(call(student, x.clone(), g.clone(), *layers, what=what), what)
        return found

    return collect


@torch.no_grad()
def _judge_scores(arrays: Collected, seed: int) -> None:
    for number, (gate, x, g) in enumerate(_gates(seed)):
        w_x, w_g, psi = gate.of_skip, gate.of_gating, gate.score
        mistakes = {
            "the gating signal g is not used": psi(F.relu(w_x(x))),
            "w_x(x) is not used: the score must depend on the skip too": psi(F.relu(w_g(g))),
            "the ReLU between the sum and psi is missing": psi(w_x(x) + w_g(g)),
            "the ReLU comes after the sum, not before it on both parts": psi(F.relu(w_x(x)) + F.relu(w_g(g))),
            "the two parts are multiplied; the paper's gate is additive": psi(F.relu(w_x(x) * w_g(g))),
            "the sigmoid belongs to the next stage": psi(F.relu(w_x(x) + w_g(g))).sigmoid(),
            "psi is missing: one channel is asked for": F.relu(w_x(x) + w_g(g)),
        }
        _compare("gate_scores", arrays[str(number)], psi(F.relu(w_x(x) + w_g(g))), mistakes)


def _compare(what: str, found: np.ndarray, right: Tensor, mistakes: dict[str, Tensor]) -> None:
    expect(found.dtype.kind in "biuf", f"{what}: a tensor is expected")
    shape = f"{[*right.shape]} is expected, found shape {[*found.shape]}; print the shape after each step"
    otherwise = "other values come out, although the shape is right" if found.shape == right.shape else shape
    name_mistake(what, found, right.numpy(), {k: v.numpy() for k, v in mistakes.items()}, otherwise, tolerance=1e-5)


gate_scores = Check("gate_scores", "one score for each place", _collecting("gate_scores"), _judge_scores)


@torch.no_grad()
def _judge_attention_gate(arrays: Collected, seed: int) -> None:
    for number, (gate, x, g) in enumerate(_gates(seed)):
        mistakes = _wrong_gates(x, g, gate.of_skip, gate.of_gating, gate.score)
        _compare("attention_gate", arrays[str(number)], x * gate(x, g), mistakes)


def _wrong_gates(x: Tensor, g: Tensor, w_x: nn.Module, w_g: nn.Module, psi: nn.Module) -> dict[str, Tensor]:
    """The usual mistakes: advice -> what they compute."""
    of_x, of_g, size = w_x(x), w_g(g), x.shape[-2:]

    def enlarged(small: Tensor, mode: str = "bilinear", **more: Any) -> Tensor:
        return F.interpolate(small, size=size, mode=mode, **more)

    scores = psi(F.relu(of_x + of_g))
    weights = enlarged(scores.sigmoid())
    aligned = enlarged(scores.sigmoid(), align_corners=True)
    return {
        "that is the map alone; the gate multiplies the skip by it": weights,
        "that is the map alone, for each channel; the gate multiplies the skip by it": weights.expand_as(x),
        "the gating signal g is not used, as in the printed gate": x * enlarged(psi(F.relu(of_x)).sigmoid()),
        "the ReLU between the sum and psi is missing": x * enlarged(psi(of_x + of_g).sigmoid()),
        "the sigmoid is missing: a weight lies between 0 and 1": x * enlarged(scores),
        "there is a ReLU in place of the sigmoid": x * enlarged(scores.relu()),
        "there is a tanh in place of the sigmoid; it goes below 0": x * enlarged(scores.tanh()),
        "there is a softmax over the one channel: all weights are 1": x.clone(),
        "there is a softmax over the places: each place has its own weight, whatever the others have": x
        * enlarged(scores.flatten(2).softmax(2).view_as(scores)),
        "the scores were enlarged before the sigmoid; the gate enlarges the map": x * enlarged(scores).sigmoid(),
        "the map was enlarged by nearest neighbor; use mode='bilinear'": x * enlarged(scores.sigmoid(), "nearest"),
        "the map was enlarged with align_corners=True, which shifts it; leave that out": x * aligned,
        "the weighted skip was added to the skip; the gate only multiplies": x + x * weights,
        "1 minus the map was used": x * (1 - weights),
    }


attention_gate = Check(
    "attention_gate",
    "sigmoid, enlarged, multiplied; odd sides too",
    _collecting("attention_gate"),
    _judge_attention_gate,
)


def made(student: Callable, what: str, *arguments: Any) -> nn.Module:
    """What a student's class makes of the arguments; a WrongAnswer where it is no module."""
    module = call(student, *arguments, what=what)
    expect(isinstance(module, nn.Module), f"{what}: a subclass of nn.Module is expected, found {type(module).__name__}")
    return module


def copy_in_order(source: nn.Module, module: nn.Module, what: str) -> None:
    """The weights of `source` into `module`, each into the first free one of its shape, whatever it is called."""
    free = [p for entries in (module.parameters(), module.buffers()) for p in entries]
    for name, value in [*source.named_parameters(), *source.named_buffers()]:
        index = next((i for i, place in enumerate(free) if place.shape == value.shape), None)
        expect(
            index is not None,
            f"{what}: no weight of shape {[*value.shape]} is there, {name} in the lab; are all layers there, "
            "with the right channels and kernels, and none in a plain list, which hides it (nn.ModuleList)?",
        )
        free.pop(index).data.copy_(value)
    shapes = [[*place.shape] for place in free]
    expect(not free, f"{what}: there are weights too many, of shapes {shapes}; is a bias there that should not be?")


def _collect_module(student: Callable, seed: int) -> Collected:
    what, found = "gate_module", {}
    for number, (gate, x, g) in enumerate(_gates(seed)):
        module = made(student, what, *SHAPES[number][:2])
        copy_in_order(gate, module, what)
        out = call(module, x, g, what=what)
        expect(isinstance(out, Tensor) and out.requires_grad, f"{what}: the map must carry a gradient; found none")
        call(out.sum().backward, what=what)
        found[f"{number} silent"] = np.array([n for n, p in module.named_parameters() if p.grad is None], dtype=str)
        found[str(number)] = as_array(out, what)
    return found


@torch.no_grad()
def _judge_module(arrays: Collected, seed: int) -> None:
    for number, (gate, x, g) in enumerate(_gates(seed)):
        silent = arrays[f"{number} silent"].tolist()
        expect(not silent, f"gate_module: no gradient reaches {', '.join(silent)}; is the layer called in forward?")
        mistakes = {"the module returns the map; the network multiplies by it": x * gate(x, g)}
        for advice, weighted in _wrong_gates(x, g, gate.of_skip, gate.of_gating, gate.score).items():
            if weighted.shape == x.shape and "map alone" not in advice:
                mistakes[advice] = (weighted * x).sum(1, keepdim=True) / (x * x).sum(1, keepdim=True)  # the map in it
        _compare("gate_module", arrays[str(number)], gate(x, g), mistakes)


gate_module = Check("gate_module", "equal to the lab's under copied weights", _collect_module, _judge_module)
