"""Notebook 03's predictions, and its tools that find faults: right answers pass, each usual wrong one is named."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from course import checks, probes
from course.probes import PlainBlock
from labkit import models
from tests.course import refusals
from tests.course.refusals import accept

refuse = partial(refusals.refuse, seeds=3)


@pytest.mark.parametrize("answer", [(1e-17, 5.05), [0.1**17, 1.1**17], torch.tensor([1e-17, 5.0545]), (1e-17, 5.1)])
def test_chain_slopes_accepts(answer, capsys):
    accept(checks.chain_slopes, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ((1.7, 5.05), "you added them"),
        ((0.1, 5.05), "single block"),
        ((0, 5.05), "power of ten"),
        ((1e-34, 5.05), "a block multiplies once"),
        ((-1e-17, 5.05), "product of positive"),
        ((1e-16, 5.05), "misses a block"),
        ((1e-18, 5.05), "misses a block"),
        ((1e-17, 2.7), "you added 17 times"),
        ((1e-17, 1), "way past all blocks alone"),
        ((1e-17, 1.1), "residual slope of a single"),
        ((1e-17, 1.1**34), "has 17 factors"),
        ((1e-17, 9), "how do 17 combine"),
        ((5.05, 1e-17), "are exchanged"),
        (5.05, "two numbers are"),
        (..., "replace the"),
        ("small", "numbers are expected"),
    ],
)
def test_chain_slopes_names(answer, name):
    refuse(checks.chain_slopes, answer, name)


@pytest.mark.parametrize("answer", [(256, 6, 10), [256, 6, 10], torch.Size([256, 6, 10]), np.array([256.0, 6, 10])])
def test_layer3_shape_accepts(answer, capsys):
    accept(checks.layer3_shape, answer, capsys)


def test_layer3_shape_is_torchvisions():
    from torchvision.models import resnet34
    from torchvision.models.feature_extraction import create_feature_extractor

    extractor = create_feature_extractor(resnet34(weights=None).eval(), ["layer3"])
    checks.layer3_shape(tuple(extractor(torch.zeros(1, 3, 96, 160))["layer3"].shape[1:]))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ((256, 12, 20), "max pool"),
        ((128, 12, 20), "layer2"),
        ((512, 3, 5), "layer4"),
        ((256, 10, 6), "swapped"),
        ((256, 3, 5), "layer1 has no stride"),
        ((6, 10, 256), "channels come first"),
        ((128, 6, 10), "the channels are not"),
        ((1, 2, 3), "with a pencil"),
        ((256, 6), r"shape \[3\]"),
        (None, "nothing came back"),
    ],
)
def test_layer3_shape_names(answer, name):
    refuse(checks.layer3_shape, answer, name)


@pytest.mark.parametrize("answer", [82944, 82_944.0, np.int64(82944), torch.tensor(82944), 9 * 288 * 32])
def test_decoder2_weights_accepts(answer, capsys):
    accept(checks.decoder2_weights, answer, capsys)


def test_decoder2_weights_are_the_networks():
    checks.decoder2_weights(models.ResNet34UNet().to("meta").decoder.stages[1].conv.weight.numel())


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (9 * 544 * 32, "number printed"),
        (9 * 256 * 32, "skip alone"),
        (9 * 32 * 32, "from below alone"),
        (3 * 288 * 32, "= 9 weights, not 3"),
        (82944 + 32, "no bias"),
        (9 * 512 * 32, "decoder 1's 32"),
        (9 * 288 * 288, "not as many as go in"),
        (288, "how many channels go in"),
        (5, "9 weights for each pair"),
        ([1, 2], "one number is"),
    ],
)
def test_decoder2_weights_names(answer, name):
    refuse(checks.decoder2_weights, answer, name)


def never(net, images, leaf=lambda m: not [*m.children()], remove=True, keep=lambda name, called: not called):
    called, hooks = set(), []
    for name, module in net.named_modules():
        hooks.append(module.register_forward_hook(lambda module, x, y, name=name: called.add(name)))
    net(images)
    for hook in hooks if remove else ():
        hook.remove()
    return [name for name, module in net.named_modules() if leaf(module) and keep(name, name in called)]


def never_by_one_hook(net, images):
    """torch's hook of all modules, and the modules themselves instead of names."""
    seen = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, x, y: seen.append(module))
    with torch.no_grad():
        net(images)
    hook.remove()
    return {name for name, m in net.named_modules() if m not in seen and next(m.children(), None) is None}


def never_by_replaced_forwards(net, images):
    leaves, called = {n: m for n, m in net.named_modules() if not list(m.children())}, {}
    for name, module in leaves.items():

        def forward(*x, name=name, old=module.forward):
            called[name] = True
            return old(*x)

        module.forward = forward
    net(images)
    for module in leaves.values():
        del module.forward
    return tuple(name for name in leaves if name not in called)


@pytest.mark.parametrize("answer", [never, never_by_one_hook, never_by_replaced_forwards, probes.never_called])
def test_never_called_accepts(answer, capsys):
    accept(checks.never_called, answer, capsys)


def test_never_called_finds_the_pool_of_report_002():
    images = torch.randn(1, 3, 64, 64)
    for encoder, forgotten in ((models.ResNet34Encoder, []), (probes.Report002Encoder, ["maxpool"])):
        assert probes.never_called(encoder(width=2).eval(), images) == forgotten
    coded = models.ReportResNet34UNet(report="002", as_coded=True).encoder.eval()
    mine = probes.Report002Encoder().eval()
    mine.load_state_dict(coded.state_dict())
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(mine(images), coded(images), strict=True))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda net, x: never(net, x, keep=lambda name, called: called), "modules that are called"),
        (lambda net, x: never(net, x, leaf=lambda m: True), "only hold other modules"),
        (lambda net, x: never(net, x, leaf=lambda m: [*m.parameters()] and not [*m.children()]), "without weights"),
        (lambda net, x: [name.rpartition(".")[2] for name in never(net, x)], "whole path"),
        (lambda net, x: [name for name in never(net, x) if "." not in name], "inside others"),
        (lambda net, x: never(net, x, remove=False), "hooks were left"),
        (lambda net, x: ["pool", "part.extra", "spare.0", "spare.1"], "has nothing to name"),
        (lambda net, x: ["conv"], "other names come out"),
        (lambda net, x: None, "nothing came back"),
        (lambda net, x: 3, "a list of names is expected"),
        (lambda net: [], "failed with TypeError"),
        (None, "a function is expected"),
    ],
)
def test_never_called_names(answer, name):
    refuse(checks.never_called, answer, name)


def silent(block, x, layers=("bn2",), parts=("weight", "bias"), restore=True):
    tensors = [getattr(getattr(block, layer), part) for layer in layers for part in parts]
    kept = [tensor.detach().clone() for tensor in tensors]
    with torch.no_grad():
        for tensor in tensors:
            tensor.zero_()
        y = block(x)
        for tensor, values in zip(tensors, kept, strict=True) if restore else ():
            tensor.copy_(values)
    return y


def silent_by_hook(block, x):
    handle = block.bn2.register_forward_hook(lambda module, inputs, y: torch.zeros_like(y))
    try:
        return block(x)
    finally:
        handle.remove()


def silent_copy(block, x):
    import copy

    other = copy.deepcopy(block)
    other.bn2 = nn.Sequential(other.bn2, nn.Hardtanh(-1e-30, 1e-30))
    return other(x).numpy()


@pytest.mark.parametrize("answer", [silent, silent_by_hook, silent_copy, probes.silent_branch])
def test_silent_branch_accepts(answer, capsys):
    accept(checks.silent_branch, answer, capsys)


def test_silent_branch_by_hand():
    x = torch.tensor([[[[-1.0, 2.0]]]])
    kinds = {models.BasicBlock: [0.0, 2.0], models.OpenBlock: [-1.0, 2.0], PlainBlock: [0.0, 0.0]}
    for kind, wanted in kinds.items():
        assert silent_by_hook(kind(1, 1).eval(), x.clone()).flatten().tolist() == wanted


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda block, x: block(x), "is not silenced"),
        (lambda block, x: silent(block, x, layers=("conv2",), parts=("weight",)), "still adds its shift"),
        (lambda block, x: silent(block, x, parts=("weight",)), "its scale alone"),
        (lambda block, x: silent(block, x, parts=("bias",)), "its shift alone"),
        (lambda block, x: silent(block, x, layers=("bn1",)), "still adds its shift"),
        (lambda block, x: x if block.downsample is None else block.downsample(x), "call the block"),
        (lambda block, x: silent(block, x, restore=False), "put back"),
        (lambda block, x: torch.zeros_like(x), "for BasicBlock another output"),
        (lambda block, x: None, "nothing came back"),
        (lambda block: block, "failed with TypeError"),
    ],
)
def test_silent_branch_names(answer, name):
    refuse(checks.silent_branch, answer, name)
