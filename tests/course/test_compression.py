"""Compression keeps what it promises: bounds on the error, equal logits after folding, the size of real files."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from course.compression import (
    STORAGES,
    agreement,
    compressed,
    file_bytes,
    fold_batch_norm,
    quantize,
    restored_weights,
    stored_weights,
)
from labkit import models
from labkit.errors import LabError

KERNELS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
)


def settled(net: nn.Module) -> nn.Module:
    """In evaluation mode, with norms that do something."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, -2, 2),
                (module.bias, -1, 1),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.3, 3),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return net.eval()


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@settings(max_examples=60, deadline=None)
@given(weight=KERNELS, axis=st.integers(0, 1))
def test_int8_is_off_by_half_a_step_of_its_channel_at_most(weight, axis):
    weight = torch.from_numpy(weight)
    values, scales = quantize(weight, axis)
    assert values.dtype == torch.int8
    assert values.min() >= -127
    assert scales.shape == tuple(n if i == axis else 1 for i, n in enumerate(weight.shape))
    assert ((values * scales - weight).abs() <= 0.5 * scales * (1 + 1e-4)).all()
    channels = weight.abs().movedim(axis, 0).flatten(1).amax(1)
    assert torch.allclose(scales.flatten(), channels / 127)


def test_int8_of_a_kernel_by_hand():
    weight = torch.tensor([[1.27, -0.5, 0.014], [0.0, 0.0, 0.0], [-254.0, 3.0, 1.1]])
    values, scales = quantize(weight)
    assert values.tolist() == [[127, -50, 1], [0, 0, 0], [-127, 2, 1]]  # 3 / 2 = 1.5 rounds to the even 2
    assert scales.flatten().tolist() == pytest.approx([0.01, 0.0, 2.0])


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_int8_refuses_weights_that_are_not_finite(spoiled):
    with pytest.raises(LabError, match="not all finite"):
        quantize(torch.tensor([[1.0, spoiled]]))


@pytest.mark.parametrize("storage", STORAGES)
def test_weights_come_back_from_a_real_file_of_the_promised_size(storage, tmp_path):
    torch.manual_seed(0)
    net = settled(models.UNet(width=4))
    state = stored_weights(net, storage)
    save_file(state, tmp_path / "net.safetensors")
    assert file_bytes(state) == (tmp_path / "net.safetensors").stat().st_size
    back = restored_weights(load_file(tmp_path / "net.safetensors"))
    assert back.keys() == net.state_dict().keys()
    rounding = {"float32": 0, "float16": 2**-11, "bfloat16": 2**-8, "int8": 0}[storage]
    for name, value in net.state_dict().items():
        allowed = value.abs() * rounding + 1e-7
        if storage == "int8" and value.dim() > 1:
            allowed = 0.5001 * quantize(value, int("ups" in name))[1]  # a transposed kernel's outputs are dimension 1
        assert back[name].dtype == value.dtype
        assert ((back[name] - value).abs() <= allowed).all(), name


def test_bytes_are_a_half_and_a_quarter():
    net = models.UNet(width=16)
    whole, half, quarter = (file_bytes(stored_weights(net, storage)) for storage in ("float32", "float16", "int8"))
    numbers = sum(tensor.numel() for tensor in net.state_dict().values())
    assert whole == pytest.approx(4 * numbers, rel=0.01)
    assert half == pytest.approx(2 * numbers, rel=0.02)
    assert quarter == pytest.approx(numbers, rel=0.04)


def test_a_channels_last_network_is_stored_too():
    net = models.UNet(width=2).to(memory_format=torch.channels_last)
    assert file_bytes(net.state_dict()) == file_bytes(stored_weights(net, "float32"))


def test_an_unknown_storage_is_refused_by_name():
    with pytest.raises(LabError, match="found 'int4'; use one of float32"):
        stored_weights(models.UNet(width=2), "int4")


@pytest.mark.parametrize("name", ["unet", "encoder_unet"])
def test_a_compressed_network_computes_with_the_restored_weights_and_leaves_the_other_alone(name):
    torch.manual_seed(0)
    arguments = {"unet": {"width": 4}, "encoder_unet": {"encoder": "mobilenet_v3_large"}}[name]
    net, x = settled(models.build_model(name, **arguments)), torch.randn(1, 3, 64, 64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        whole, same, small = (network(x) for network in (net, compressed(net, "float32"), compressed(net, "int8")))
    assert torch.equal(whole, same)
    assert 0 < (small - whole).abs().max() < 0.02 * whole.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "arguments", "left"),
    [
        ("unet", {"width": 4}, 0),
        ("resnet34_unet", {}, 5),  # the lab's stages: convolution, ReLU, norm
        ("report_resnet34_unet", {"report": "003"}, 0),  # norms after transposed convolutions
        ("encoder_unet", {"encoder": "mobilenet_v3_large"}, 0),  # depthwise convolutions
    ],
)
def test_folding_keeps_the_logits(name, arguments, left):
    torch.manual_seed(0)
    net, x = settled(models.build_model(name, **arguments)), torch.randn(2, 3, 64, 96)
    total = norms(net)
    smaller = fold_batch_norm(net)
    assert norms(smaller) == left
    assert norms(net) == total > left
    with torch.no_grad():
        logits, found = net(x), smaller(x)
    assert logits.std() > 0
    assert (found - logits).abs().max() < 1e-4 * logits.abs().max()


class Branching(nn.Module):
    """The first convolution's result is also used beside its norm; the second is called twice; the third is grouped."""

    def __init__(self):
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.second, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.third, self.norm3 = nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2), nn.BatchNorm2d(4)
        self.head, self.norm4 = nn.Conv2d(4, 1, 1), nn.BatchNorm2d(1)

    def forward(self, x):
        x = self.first(x)
        x = self.norm1(x) + x
        x = self.norm2(self.second(self.second(x)))
        return self.norm4(self.head(self.norm3(self.third(x))))


def test_only_a_convolution_that_feeds_one_norm_alone_takes_it_up():
    torch.manual_seed(0)
    net, x = settled(Branching()), torch.randn(2, 3, 8, 8)
    smaller = fold_batch_norm(net, size=8)
    assert [isinstance(getattr(smaller, f"norm{i}"), nn.Identity) for i in (1, 2, 3, 4)] == [False, False, False, True]
    with torch.no_grad():
        assert torch.allclose(smaller(x), net(x), rtol=1e-4, atol=1e-5)


def test_agreement_by_hand():
    logits = torch.tensor([[[[2.0, -1.0], [0.5, -3.0]]], [[[1.0, 1.0], [-1.0, -1.0]]]])
    others = logits.clone()
    others[0, 0, 0, 1], others[0, 0, 1, 0] = 0.25, 0.4  # one pixel changes sides, another moves without
    found = agreement(logits, others)
    assert found.pixels == 7 / 8
    assert found.images == 1 / 2
    assert found.largest == pytest.approx(1.25)
    assert agreement(logits, others, threshold=0.59).pixels == 1.0  # log(0.59 / 0.41) = 0.36 lies above 0.25
    assert agreement(logits, logits) == (1.0, 1.0, 0.0)


def test_agreement_of_several_classes_compares_the_most_probable():
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]]).T.reshape(1, 3, 1, 2)
    others = logits.clone()
    others[0, 2, 0, 1] = 5.0
    assert agreement(logits, others) == (0.5, 0.0, 4.0)
