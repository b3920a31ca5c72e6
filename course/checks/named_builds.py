"""Checks of networks whose parameters must bear given names: the oracle's state dict is loaded as it is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from course.checks.builds import drawn_inputs, equal_values, output_values, sizes_of, tensors_of, with_weights
from course.checks.verdict import Check, Collected, call, expect


class Case(NamedTuple):
    """A call of the student's class, the oracle that it must equal, and the shape of an input."""

    arguments: tuple
    oracle: Callable[[], nn.Module]
    shape: tuple[int, ...]


def named_check(
    what: str,
    remark: str,
    cases: list[Case],
    mistakes: dict[str, Callable[[nn.Module], Callable]],
    look: Callable[[nn.Module], None] = lambda net: None,
) -> Check:
    """The check of a class whose modules must have the oracle's names, shapes, values and gradients.

    Args:
        what: name of the exercise.
        remark: what a right answer is told.
        cases: how the class is called, and what it must then equal.
        mistakes: advice -> what makes of the oracle a forward pass with that mistake.
        look: raises WrongAnswer for a mistake with which the forward pass fails.
    """

    def collect(student: Callable, seed: int) -> Collected:
        def build(*arguments: object) -> nn.Module:
            net = call(student, *arguments, what=what)
            own = not type(net).__module__.startswith(("labkit.", "torchvision."))
            expect(own, f"{what}: that is a library's own network; build yours from torch.nn")
            look(net)
            return net

        return collect_named(build, cases, what, seed)

    return Check(what, remark, collect, lambda arrays, seed: judge_named(arrays, cases, mistakes, what, seed))


def collect_named(build: Callable[..., nn.Module], cases: list[Case], what: str, seed: int) -> Collected:
    """Names of what `build(*arguments)` gives, and, where they are the oracle's, values and gradients."""
    arrays: Collected = {}
    for i, case in enumerate(cases):
        net = build(*case.arguments)
        expect(isinstance(net, nn.Module), f"{what}: an nn.Module is expected, found {type(net).__name__}")
        oracle, inputs = with_weights(case.oracle, seed), drawn_inputs([(case.shape,)], seed)
        arrays[f"names {i}"] = np.array(_described(net), dtype=str)
        if _described(net) == _described(oracle):
            net.load_state_dict(oracle.state_dict())
            net.eval()
            found = output_values(lambda *x, net=net: call(net, *x, what=f"{what} for {sizes_of(x)}"), inputs, what)
            arrays |= {f"{key} of {i}": value for key, value in found.items()}
            arrays[f"gradients {i}"] = _gradients(net, inputs[0][0], what)
    return arrays


def judge_named(arrays: Collected, cases: list[Case], mistakes: dict[str, Callable], what: str, seed: int) -> None:
    """Names and shapes first, then values, then gradients.

    Raises:
        WrongAnswer: the first that is wrong.
    """
    oracles = [with_weights(case.oracle, seed) for case in cases]
    drawn = [drawn_inputs([(case.shape,)], seed) for case in cases]
    for i, oracle in enumerate(oracles):
        wrong = _wrong_names(arrays[f"names {i}"].tolist(), _described(oracle))
        called = f"{what} with {', '.join(map(str, cases[i].arguments))}" if cases[i].arguments else what
        expect(not wrong, f"{called}: {wrong}")

    def values(of: Callable) -> Collected:
        passes = [output_values(of(oracle), inputs, what) for oracle, inputs in zip(oracles, drawn, strict=True)]
        return {f"{key} of {i}": value for i, one in enumerate(passes) for key, value in one.items()}

    found, right = {key: arrays[key] for key in arrays if key.startswith("output")}, values(lambda net: net)
    if not equal_values(found, right):
        for advice, mistake in mistakes.items():
            expect(not equal_values(found, values(mistake)), f"{what}: {advice}")
    shapes = {key: y.shape for key, y in found.items()}
    sizes = ", ".join("x".join(map(str, shape)) for shape in shapes.values())
    fits = shapes == {key: y.shape for key, y in right.items()}
    expect(fits, f"{what}: shapes {sizes} come out; compare with the task")
    between = "names and shapes are right, the values are not; compare strides, padding and order with the text"
    expect(equal_values(found, right), f"{what}: {between}")
    for i, (oracle, inputs) in enumerate(zip(oracles, drawn, strict=True)):
        same = np.allclose(arrays[f"gradients {i}"], _gradients(oracle, inputs[0][0], what), rtol=0.02, atol=1e-6)
        expect(same, f"{what}: values are right, gradients are not; is something detached?")


def _described(net: nn.Module) -> list[str]:
    """Name and shape of each tensor of the state dict, sorted."""
    shapes = {name: "x".join(map(str, value.shape)) for name, value in net.state_dict().items()}
    return sorted(f"{name} {shape}" for name, shape in shapes.items() if not name.endswith("num_batches_tracked"))


def _wrong_names(found: list[str], wanted: list[str]) -> str:
    """What is wrong with names and shapes; empty when nothing is."""
    mine, theirs = (dict(line.split(" ") for line in lines) for lines in (found, wanted))
    missing, extra = sorted(theirs.keys() - mine.keys()), sorted(mine.keys() - theirs.keys())
    if any(name.startswith("fc.") for name in extra):
        return "an encoder has no classifier; leave fc out"
    if extra and not missing and all(name.endswith(".bias") for name in extra):
        return f"{extra[0]} is too much: a convolution before batch norm has no bias (bias=False)"
    if not missing and any(name.startswith("downsample.") for name in extra):
        return "there is a shortcut with weights although stride is 1 and the channels stay; downsample is None there"
    if missing and missing[0].startswith("layer") and not any(name.startswith("layer") for name in mine):
        return "no parameter is found in layer1 to layer4; a plain list hides its modules, use nn.Sequential"
    if any("downsample" in name for name in missing) and not extra:
        return "the shortcut has no weights where stride or channels change; it needs downsample, two layers in a row"
    if missing or extra:
        names = f"{missing[0]} is missing" if missing else "all names are there"
        return f"{names}" + (f"; {extra[0]} is not one of torchvision's names" if extra else "")
    unfit = next((name for name in sorted(theirs) if mine[name] != theirs[name]), "")
    if unfit.endswith("downsample.0.weight") and mine[unfit].endswith("3x3"):
        return "the shortcut is a 1 x 1 convolution, not 3 x 3"
    return f"{unfit} has the shape {mine[unfit]}; compare channels and kernel with the task" if unfit else ""


def _gradients(net: nn.Module, x: Tensor, what: str) -> np.ndarray:
    """Length of the gradient of each parameter, by name."""
    net.zero_grad()
    loss = sum(y.square().mean() for y in tensors_of(net(x.clone()), what))
    if loss.requires_grad:
        loss.backward()
    return np.array([0 if p.grad is None else p.grad.norm().item() for _, p in sorted(net.named_parameters())])
