"""What a network costs, against counts by hand, published numbers and autograd on a real device."""

from types import SimpleNamespace

import psutil
import pytest
import torch
import torchvision
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from course.stages import stage_table
from labkit.analysis import latency, network_costs
from labkit.analysis.costs import memory_warning
from labkit.errors import LabError
from labkit.models import BasicBlock, ResNet34Encoder, build_model
from labkit.training import Recipe

CPU = torch.device("cpu")

NETWORKS = [
    {"name": "unet", "width": 4, "up": "interpolated", "padding": "reflect", "dropout": 0.1},
    {"name": "paper_unet", "width": 4},
    {"name": "attention_unet", "width": 4},
    {"name": "resnet34_unet"},
    {"name": "report_resnet34_unet", "report": "002", "as_coded": True},
    {"name": "encoder_unet", "encoder": "swin_t"},
]


def test_a_convolution_costs_what_the_formula_says():
    costs = network_costs(nn.Conv2d(3, 8, 5, stride=2, padding=2), size=32)
    assert costs.parameters == 8 * 3 * 5 * 5 + 8
    assert costs.multiply_adds == 8 * 3 * 5 * 5 * 16 * 16
    assert costs.weight_bytes == 4 * costs.parameters
    assert costs.activation_bytes == 4 * 3 * 32 * 32  # its input


def test_a_chain_keeps_each_map_once_and_a_pool_where_its_maxima_were():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU()
    )
    fine, pooled, coarse = 4 * 16 * 16, 4 * 8 * 8, 8 * 8 * 8
    costs = network_costs(net, size=16)
    assert costs.multiply_adds == 16 * 16 * 4 * 3 * 9 + 8 * 8 * 8 * 4 * 9
    assert costs.activation_bytes == 4 * (3 * 16 * 16 + fine + pooled + coarse) + 8 * pooled  # indices are int64
    frozen = network_costs(net.requires_grad_(False), size=16)
    assert (frozen.parameters, frozen.activation_bytes) == (0, 0)


def test_resnet34_costs_what_torchvision_publishes():
    published = torchvision.models.ResNet34_Weights.IMAGENET1K_V1.meta  # 21,797,672 parameters, 3.664 GMAC
    with torch.device("meta"):
        theirs, ours = torchvision.models.resnet34(weights=None), ResNet34Encoder()
    assert network_costs(theirs, 224).parameters == published["num_params"]
    assert round(network_costs(theirs, 224).multiply_adds / 1e9, 3) == published["_ops"] == 3.664
    head = 512 * 1000
    assert network_costs(ours, 224).multiply_adds == network_costs(theirs, 224).multiply_adds - head


def test_stages_of_the_unet_cost_what_is_counted_by_hand():
    with torch.device("meta"):
        table = stage_table(build_model("unet"), size=128).set_index("stage")
    inputs, outputs, side = 512, 256, 32
    kernels = 9 * inputs * outputs + 9 * outputs**2
    stage = table.loc["decoder.1"]
    assert (stage["scale"], stage["channels"], stage["height"], stage["width"]) == ("1/4", outputs, side, side)
    assert stage["parameters"] == kernels + 4 * outputs
    assert stage["multiply_adds"] == kernels * side**2
    # both convolutions keep their input, both norms theirs with two numbers a channel, the second ReLU its output
    assert stage["activation_mib"] * 2**20 == 4 * ((inputs + 4 * outputs) * side**2 + 4 * outputs)
    assert table.loc["ups.0", "parameters"] == 1024 * 512 * 2 * 2 + 512
    assert table.loc["ups.0", "multiply_adds"] == 1024 * 512 * 2 * 2 * 8 * 8


def test_the_stem_of_resnet34_is_a_stage_though_no_module():
    with torch.device("meta"):
        stem = stage_table(build_model("resnet34_unet"), size=128).iloc[0]
    kernel = 7 * 7 * 3 * 64
    assert (stem["stage"], stem["parameters"], stem["multiply_adds"]) == ("encoder.stem", kernel + 128, kernel * 64**2)


def test_sides_are_those_of_the_papers_figure():
    with torch.device("meta"):
        table = stage_table(build_model("unet", padding="valid"), size=572).set_index("stage")
    sides = {f"encoder.{i}": side for i, side in enumerate((568, 280, 136, 64))} | {"bottleneck": 28}
    sides |= {f"decoder.{i}": side for i, side in enumerate((52, 100, 196, 388))}
    assert table.loc[list(sides), "height"].to_dict() == sides


@pytest.mark.parametrize("arguments", NETWORKS, ids=lambda arguments: arguments["name"])
def test_stages_add_up_to_what_autograd_keeps_on_a_real_device(arguments):
    model, kept = build_model(**arguments), {}
    weights = {t.data_ptr() for t in (*model.parameters(), *model.buffers())}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    costs, table = network_costs(model), stage_table(model)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(torch.rand(1, 3, 128, 128))
    assert costs.activation_bytes == sum(storage.nbytes() for storage in kept.values())
    assert costs.parameters == sum(weight.numel() for weight in model.parameters())
    assert table["activation_mib"].sum() * 2**20 == costs.activation_bytes
    assert table["multiply_adds"].sum() == costs.multiply_adds
    assert table["parameters"].sum() == costs.parameters


def test_measuring_leaves_the_model_alone():
    model = build_model("attention_unet", width=2, depth=2)
    model.decoder[0].eval()
    before, modes = {k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()]
    stage_table(model, 32)
    assert latency(model, 32, repeats=1) > 0
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_cannot_be_measured_is_one_sentence():
    with torch.device("meta"):
        deep = build_model("report_resnet34_unet", report="003")
    with pytest.raises(LabError, match=r"64x64 pixels .a batch norm has only one place to average over.; choose"):
        network_costs(deep, 64)
    with pytest.raises(LabError, match="image of 1 channels and 32x32 pixels"):
        network_costs(build_model("unet", width=2), 32, in_channels=1)
    with pytest.raises(LabError, match="BasicBlock: its stages are not registered"):
        stage_table(BasicBlock(3, 3))


def test_a_batch_that_cannot_fit_is_told_before_it_is_tried(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    what = Recipe().changed(data={"image_size": 128}, training={"batch_size": 8, "precision": "float32"})
    kept = 8 * network_costs(build_model("unet"), 128).activation_bytes + 4 * 31_043_521 * 4
    assert memory_warning(what, CPU) == (
        f"a batch of 8 needs about {kept / 2**30:.1f} GiB and 1.0 GiB are free; halve training.batch_size and double "
        "training.accumulate, which keeps the step"
    )
    assert memory_warning(what.changed(training={"batch_size": 1}), CPU) is None
    assert "a batch of 4 needs" in memory_warning(what.changed(data={"image_size": 256}), CPU, processes=2)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * 2**30))
    assert memory_warning(what, CPU) is None


def test_a_network_that_takes_no_single_image_is_left_to_its_training():
    what = Recipe().changed(data={"image_size": 64}, model={"name": "report_resnet34_unet", "report": "003"})
    assert memory_warning(what, CPU) is None
