"""Checks of networks that students build: layers, values and gradients under the weights of the lab's network.

A student's module may call its parts what it likes: weights are copied in the order in which the layers are called,
among layers of one kind, so that of two branches either may come first.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from course.checks.verdict import Check, Collected, call, expect

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
Inputs = tuple[Tensor, ...]


def build_check(
    what: str,
    remark: str,
    arguments: tuple,
    reference: Callable[[], nn.Module],
    shapes: list[tuple],
    mistakes: dict[str, Callable[[nn.Module], Callable]],
) -> Check:
    """The check of a class (or function) that is called with `arguments` and must give a network like `reference()`.

    Args:
        what: name of the exercise.
        remark: what a right answer is told.
        arguments: of the student's class.
        reference: builds the lab's network.
        shapes: for each forward pass the shapes of its inputs.
        mistakes: advice -> what makes of the lab's network a forward pass with that mistake.
    """

    def collect(student: Callable, seed: int) -> Collected:
        inputs, theirs = drawn_inputs(shapes, seed), with_weights(reference, seed)
        net = call(student, *arguments, what=what)
        expect(isinstance(net, nn.Module), f"{what}: an nn.Module is expected, found {type(net).__name__}")
        own = not type(net).__module__.startswith("labkit.")
        expect(own, f"{what}: that is the lab's own network; build yours from torch.nn")
        called, wanted = _layers(net.eval(), inputs[0], what), _unique(_layers(theirs, inputs[0], what))
        layers = _unique(called)
        arrays: Collected = {
            "layers": np.array([_described(layer) for layer in layers], dtype=str),
            "kinds": np.array(_kinds(layers), dtype=str),
            "repeated": np.array(len(called) - len(layers)),
            "lost": np.array(len({*layers} - {*net.modules()})),
            "spare": np.array(len([m for m in net.modules() if isinstance(m, LAYERS) and m not in layers])),
        }
        if sorted(map(_described, layers)) == sorted(map(_described, wanted)):
            for mine, other in zip(layers, _matched(_kinds(layers), wanted), strict=True):
                _load(mine, other, what)
            arrays |= output_values(lambda *x: call(net, *x, what=f"{what} for {sizes_of(x)}"), inputs, what)
            arrays["gradients"] = _gradients(net, layers, inputs[0], what)
        return arrays

    def judge(arrays: Collected, seed: int) -> None:
        """Layers first, then values, then gradients: each is told only when those before it are right."""
        inputs, theirs = drawn_inputs(shapes, seed), with_weights(reference, seed)
        called, kinds = _layers(theirs, inputs[0], what), arrays["kinds"].tolist()
        order = _unique(called)
        again = arrays["repeated"] > len(called) - len(order)
        expect(not again, f"{what}: one layer is called twice; each step needs a layer of its own")
        found, wanted = arrays["layers"].tolist(), [_described(layer) for layer in order]
        expect(sorted(found) == sorted(wanted), f"{what}: {_wrong_layers(found, wanted)}")
        order = _matched(kinds, order)
        lost = "parts in a plain list, or made in forward, are in no parameters() and never trained; use nn.ModuleList"
        expect(arrays["lost"] == 0, f"{what}: {lost}")
        expect(arrays["spare"] == 0, f"{what}: {arrays['spare']} layers with weights are never called")
        right = output_values(theirs, inputs, what)
        found = {key: arrays[key] for key in arrays if key.startswith("output")}
        if not equal_values(found, right):
            for advice, mistake in mistakes.items():
                expect(not equal_values(found, output_values(mistake(theirs), inputs, what)), f"{what}: {advice}")
        sizes = ", ".join("x".join(map(str, y.shape)) for y in found.values())
        fits = {key: y.shape for key, y in found.items()} == {key: y.shape for key, y in right.items()}
        expect(fits, f"{what} for {' and then '.join(map(sizes_of, inputs))}: {sizes} come out; compare with the task")
        between = "the layers are right, their values are not; what is done between the layers?"
        expect(equal_values(found, right), f"{what}: {between}")
        dead = "values are right, gradients are not; is something detached, or computed under no_grad?"
        same = np.allclose(arrays["gradients"], _gradients(theirs, order, inputs[0], what), rtol=0.02, atol=1e-6)
        expect(same, f"{what}: {dead}")

    return Check(what, remark, collect, judge)


def together(*checks: Check) -> Check:
    """One exercise out of checks that ask for the same with other arguments."""

    def collect(student: Any, seed: int) -> Collected:
        parts = [check.collect(student, seed) for check in checks]
        return {f"{number} {key}": value for number, part in enumerate(parts) for key, value in part.items()}

    def judge(arrays: Collected, seed: int) -> None:
        for number, check in enumerate(checks):
            own = {key.partition(" ")[2]: value for key, value in arrays.items() if key.startswith(f"{number} ")}
            check.judge(own, seed)

    return Check(checks[0].exercise, checks[0].remark, collect, judge)


def drawn_inputs(shapes: list[tuple], seed: int) -> list[Inputs]:
    """Normal numbers of these shapes, one tuple of inputs for each forward pass."""
    generator = torch.Generator().manual_seed(seed)
    return [tuple(torch.randn(shape, generator=generator) for shape in one) for one in shapes]


def with_weights(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The lab's network with weights that hide no mistake: scales, shifts and running averages are drawn, too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build()
        for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
            for values in (norm.weight, norm.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
            for values in (norm.bias, norm.running_mean):
                nn.init.normal_(values, std=0.3)
    return net.eval()


def _layers(net: nn.Module, inputs: Inputs, what: str) -> list[nn.Module]:
    """The layers with weights that a forward pass calls, in this order; also those that are in no `modules()`."""
    called: list[nn.Module] = []
    hook = register_module_forward_hook(lambda module, *_: called.append(module))
    try:
        call(net, *(x.clone() for x in inputs), what=f"{what} for {sizes_of(inputs)}")
    finally:
        hook.remove()
    return [module for module in called if isinstance(module, LAYERS)]


def _unique(layers: list[nn.Module]) -> list[nn.Module]:
    return list(dict.fromkeys(layers))


def _kinds(layers: list[nn.Module]) -> list[str]:
    """What each layer is; a batch norm also by the convolution before it, which tells two branches apart."""
    kinds, before = [], ""
    for layer in layers:
        norm = isinstance(layer, nn.BatchNorm2d)
        kinds.append(_described(layer) + before * norm)
        before = before if norm else f" after a {kinds[-1]}"
    return kinds


def _load(mine: nn.Module, other: nn.Module, what: str) -> None:
    plain = mine.state_dict().keys() == other.state_dict().keys()
    expect(plain, f"{what}: a {_described(other)} has other numbers of its own than a plain one; leave its options out")
    mine.eval().load_state_dict(other.state_dict())


def _matched(kinds: list[str], layers: list[nn.Module]) -> list[nn.Module]:
    """The layers in the order of `kinds`; those of one kind keep theirs."""
    theirs = _kinds(layers)
    if sorted(kinds) != sorted(theirs):  # steps in another order: by the layers alone
        kinds, theirs = ([kind.partition(" after ")[0] for kind in found] for found in (kinds, theirs))
    left = list(zip(theirs, layers, strict=True))
    return [left.pop([kind for kind, _ in left].index(kind))[1] for kind in kinds]


def _described(layer: nn.Module) -> str:
    if isinstance(layer, nn.BatchNorm2d):
        return f"batch norm of {layer.num_features} channels"
    kind = "up-convolution" if isinstance(layer, nn.ConvTranspose2d) else "convolution"
    in_words = {"same": (layer.kernel_size[0] - 1) // 2, "valid": 0}
    padding = in_words[layer.padding] if isinstance(layer.padding, str) else layer.padding[0]
    sides = f"kernel {layer.kernel_size[0]}, stride {layer.stride[0]}, padding {padding}"
    bias = "with" if layer.bias is not None else "without"
    return f"{kind} of {layer.in_channels} to {layer.out_channels} channels, {sides}, {bias} bias"


def _wrong_layers(found: list[str], wanted: list[str]) -> str:
    """What is wrong with the layers that are called."""
    if not any(layer.startswith("batch norm") for layer in found) and "batch norm" in " ".join(wanted):
        return "batch norm is missing after the convolutions"
    if [layer.replace("padding 0", "padding 1") for layer in found[:1]] == wanted[:1] != found[:1]:
        return "each 3 x 3 convolution loses two pixels a side; padding=1 keeps the size"
    if [layer.replace("with bias", "without bias") for layer in found[:1]] == wanted[:1] != found[:1]:
        return "a convolution before batch norm needs no bias (bias=False)"
    pairs = list(enumerate(zip(found, [*wanted, *[""] * len(found)], strict=False), 1))
    extra = Counter(found) - Counter(wanted)  # kinds that are there too often
    strange = [i for i, (one, _) in pairs if one not in wanted]
    strange = strange or [i for i, (one, other) in pairs if extra[one] and one != other]
    strange = strange or [i for i, (one, other) in pairs if one != other]
    unfit = f"number {strange[0]} does not fit: {found[strange[0] - 1]}" if strange else "the first fit"
    number = {-1: "too few", 0: "the right number", 1: "too many"}[int(np.sign(len(found) - len(wanted)))]
    return f"{len(found)} layers with weights are called, {number}; in the order of the calls, {unfit}"


def output_values(net: Callable, inputs: list[Inputs], what: str) -> Collected:
    """All tensors that the forward passes give, as arrays."""
    with torch.no_grad():
        passes = [list(tensors_of(net(*(x.clone() for x in one)), what)) for one in inputs]
    return {f"output {i}.{j}": y.numpy().copy() for i, parts in enumerate(passes) for j, y in enumerate(parts)}


def tensors_of(outputs: object, what: str) -> Iterable[Tensor]:
    """The tensors in nested lists and tuples, in their order; a WrongAnswer where there is something else."""
    if isinstance(outputs, list | tuple):
        for part in outputs:
            yield from tensors_of(part, what)
    else:
        tensor = isinstance(outputs, Tensor)
        expect(tensor, f"{what}: tensors should come out of the forward pass, found {type(outputs).__name__}")
        yield outputs


def _gradients(net: nn.Module, layers: list[nn.Module], inputs: Inputs, what: str) -> np.ndarray:
    """Length of the gradient of each layer's weights."""
    net.zero_grad()
    loss = sum(y.square().mean() for y in tensors_of(net(*(x.clone() for x in inputs)), what))
    if loss.requires_grad:
        loss.backward()
    return np.array([0 if layer.weight.grad is None else layer.weight.grad.norm().item() for layer in layers])


def equal_values(a: Collected, b: Collected) -> bool:
    """Equal up to rounding."""
    same = a.keys() == b.keys() and all(a[key].shape == b[key].shape for key in a)
    return same and all(np.allclose(a[key], b[key], rtol=1e-3, atol=1e-4) for key in a)


def sizes_of(inputs: Inputs) -> str:
    """Shapes in words."""
    return " and ".join("x".join(str(side) for side in x.shape) for x in inputs)
