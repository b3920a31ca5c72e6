"""Checks of notebook 03 on numbers that are predicted, and on tools that find what is wrong in a network."""

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake, number_check, numbers
from course.probes import PlainBlock
from labkit import models

# --- predictions


def _judge_slopes(arrays: Collected, seed: int) -> None:
    what, (plain, residual) = "chain_slopes", arrays["values"]
    expect(plain != 0, f"{what}: small is not zero: write the plain slope as a power of ten")
    swapped = np.isclose(plain, 1.1**17, atol=0.06) and residual < 1
    expect(not swapped, f"{what}: the two are exchanged; the chain without shortcuts comes first")
    expect(plain > 0, f"{what}: the plain slope is a product of positive numbers")
    mistakes = {
        "the plain chain multiplies: one factor 0.1 for each of the 17 blocks; you added them": np.log10(1.7),
        "that is the plain chain's slope of a single block": -1.0,
        "a block multiplies once, not once for each of its two convolutions": -34.0,
        "the plain slope misses a block, or has one too many": -16.0 if plain > 1e-17 else -18.0,
    }
    name_mistake(what, np.log10(plain), -17.0, mistakes, "which slope have 17 plain blocks in a row?", 0.01)
    mistakes = {
        "the residual chain multiplies, too: 17 slopes of 1 + 0.1; you added 17 times 0.1": 2.7,
        "that is the way past all blocks alone; each block adds ways through it": 1.0,
        "that is the residual slope of a single block": 1.1,
        "the residual chain has 17 factors, one for each block, not one for each convolution": 1.1**34,
        "both answers are the plain chain's": 1e-17,
    }
    name_mistake(what, residual, 1.1**17, mistakes, "which slope has one residual block, and how do 17 combine?", 0.06)


chain_slopes = Check(
    "chain_slopes",
    "the identity keeps the slope alive",
    lambda student, seed: {"values": numbers(student, "chain_slopes", (2,))},
    _judge_slopes,
)


layer3_shape = number_check(
    "layer3_shape",
    "a sixteenth of each side",
    (256, 6, 10),
    {
        "that is without the stem's max pool": (256, 12, 20),
        "that is without the stem's first stride": (256, 12, 20),
        "that is what layer2 gives": (128, 12, 20),
        "that is what layer4 gives": (512, 3, 5),
        "height and width are swapped: the image is 96 high": (256, 10, 6),
        "layer1 has no stride of its own: its first block keeps the size": (256, 3, 5),
        "the channels come first, as in [B, C, H, W]": (6, 10, 256),
        "the size is right, the channels are not: they double with each stride from layer2 on": (128, 6, 10),
    },
    "follow the stem, the pool and three layers with a pencil, sides halved at a time",
    0.5,
)

decoder2_weights = number_check(
    "decoder2_weights",
    "channels must add up",
    9 * (32 + 256) * 32,
    {
        "that is with the number printed at the skip; follow the skip's arrow to the stage where it leaves": 9
        * (32 + 512)
        * 32,
        "that is the skip alone; what comes from below is joined with it": 9 * 256 * 32,
        "that is what comes from below alone, without the skip (or one weight a pair of channels, not 9)": 9 * 32 * 32,
        "each pair of channels has a kernel of 3 x 3 = 9 weights, not 3": 3 * (32 + 256) * 32,
        "a convolution before batch norm has no bias, and batch norm's numbers are its own": 9 * (32 + 256) * 32 + 32,
        "the 256 from the center go into decoder 1; from below come decoder 1's 32": 9 * (256 + 256) * 32,
        "32 channels come out, not as many as go in": 9 * (32 + 256) ** 2,
        "that is how many channels go in": 32 + 256,
    },
    "count the channels that go in, the channels that come out, and 9 weights for each pair",
    0.5,
)

# --- layers that are made and never called


class _Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.extra = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x)) + x


class _Forgetful(nn.Module):
    """Never called: a pool without weights, a norm inside a part, a convolution in a list."""

    def __init__(self, forgets: bool):
        super().__init__()
        self.stem, self.pool, self.part = nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), _Part()
        self.spare, self.forgets = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()), forgets

    def forward(self, x: Tensor) -> Tensor:
        x = self.part(self.part(self.stem(x)))
        return x if self.forgets else self.spare(self.pool(self.part.extra(x)))


FORGOTTEN = {"part.extra", "pool", "spare.0", "spare.1"}


def _collect_never(student: Callable, seed: int) -> Collected:
    what, arrays = "never_called", {}
    for name, forgets in (("forgetful", True), ("whole", False)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net, images = _Forgetful(forgets).eval(), torch.randn(2, 3, 8, 8)
        answer = call(student, net, images, what=what)
        expect(answer is not None, f"{what}: nothing came back; does the function end in `return ...`?")
        names = isinstance(answer, list | tuple | set) and all(isinstance(part, str) for part in answer)
        expect(names, f"{what}: a list of names is expected, found {type(answer).__name__}")
        arrays[name] = np.array(sorted(answer), dtype=str)
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
        arrays[f"{name} hooks"] = np.array(sum(hooks) + net.training)
    return arrays


def _judge_never(arrays: Collected, seed: int) -> None:
    what, found = "never_called", set(arrays["forgetful"].tolist())
    everything = {name for name, module in _Forgetful(True).named_modules() if not [*module.children()]}
    expect(found != everything - FORGOTTEN, f"{what}: these are the modules that are called; the others are asked for")
    whole = {name for name in found - FORGOTTEN if name in ("", "part", "spare")}
    holds = "'part' and 'spare' only hold other modules (and '' is the network); name those without children alone"
    expect(not whole, f"{what}: {holds}")
    weighty = {name for name in FORGOTTEN if name in ("part.extra", "spare.0")}
    expect(found != weighty, f"{what}: modules without weights can be forgotten, too: pools, ReLUs")
    top = "give the whole path of a module inside another, such as 'layer1.0.conv1', as named_modules() does"
    expect({name.rpartition(".")[2] for name in FORGOTTEN} != found, f"{what}: {top}")
    inside = "modules inside others were missed; named_modules() finds them, children() does not"
    expect(found != {"pool"}, f"{what}: {inside}")
    expect(found == FORGOTTEN, f"{what}: for a network of {len(everything)} modules other names come out")
    expect(not arrays["whole"].size, f"{what}: a network that calls all its modules has nothing to name")
    left = int(arrays["forgetful hooks"] + arrays["whole hooks"])
    expect(left == 0, f"{what}: hooks were left behind (or the network in training mode); call handle.remove()")


never_called = Check("never_called", "pools and ReLUs, too; the network is as it was", _collect_never, _judge_never)

# --- a block without its branch


def _blocks(seed: int) -> dict[str, tuple[nn.Module, Tensor]]:
    made = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, kind, outputs, stride in (
            ("BasicBlock", models.BasicBlock, 6, 1),
            ("BasicBlock with stride 2", models.BasicBlock, 8, 2),
            ("a block without its last ReLU", models.OpenBlock, 6, 1),
            ("a block without a shortcut", PlainBlock, 6, 1),
        ):
            block = kind(6, outputs, stride).eval()
            for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
                for values in (norm.weight, norm.bias, norm.running_mean):
                    nn.init.normal_(values)
            made[name] = block, torch.randn(2, 6, 6, 8)
    return made


def _collect_silent(student: Callable, seed: int) -> Collected:
    what, arrays = "silent_branch", {}
    for name, (block, x) in _blocks(seed).items():
        before = {key: value.clone() for key, value in block.state_dict().items()}
        with torch.no_grad():
            whole = block(x.clone())
            arrays[name] = as_array(call(student, block, x.clone(), what=what), what)
            same = torch.equal(block(x.clone()), whole) and not block.training
        kept = all(torch.equal(value, before[key]) for key, value in block.state_dict().items())
        arrays[f"{name}: kept"] = np.array(same and kept)
    return arrays


@contextmanager
def _set(layers: dict[Tensor, float]):
    """Tensors filled with a number for a while."""
    kept = [(tensor, tensor.clone()) for tensor in layers]
    for tensor, value in layers.items():
        tensor.fill_(value)
    yield
    for tensor, values in kept:
        tensor.copy_(values)


@torch.no_grad()
def _judge_silent(arrays: Collected, seed: int) -> None:
    what = "silent_branch"

    def with_zeros(block: nn.Module, x: Tensor, *tensors: Tensor) -> np.ndarray:
        with _set(dict.fromkeys(tensors, 0.0)):
            return block(x.clone()).numpy()

    for name, (block, x) in _blocks(seed).items():
        bn2 = block.bn2
        mistakes = {
            "that is the block's ordinary output; its branch is not silenced": block(x.clone()).numpy(),
            "what goes into bn2 is silenced, and it still adds its shift and running mean": with_zeros(
                block, x, block.conv2.weight
            ),
            "batch norm's shift is left; its scale alone is 0": with_zeros(block, x, bn2.weight),
            "batch norm's scale is left; its shift alone is 0": with_zeros(block, x, bn2.bias),
            "that is the input itself, or its shortcut; call the block": (
                x if block.downsample is None else block.downsample(x)
            ).numpy(),
        }
        right = with_zeros(block, x, bn2.weight, bn2.bias)
        name_mistake(what, arrays[name], right, mistakes, f"for {name} another output comes out")
        expect(arrays[f"{name}: kept"], f"{what}: afterwards the block is another one; put back what was changed")


silent_branch = Check("silent_branch", "with nothing added, what is left is the rest", _collect_silent, _judge_silent)
