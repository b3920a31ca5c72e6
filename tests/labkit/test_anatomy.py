"""What a network costs and sees, against torch's own counters, published numbers and counts by hand."""

import pytest
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from labkit.analysis import VARIANTS, gradient_map, latency, network_costs, receptive_fields, stage_costs
from labkit.errors import LabError
from labkit.models import ResNet34Encoder, build_model, count_parameters

SMALL = {
    "unet": {"name": "unet", "width": 4, "dropout": 0.1},
    "reflected": {"name": "unet", "width": 4, "up": "interpolated", "padding": "reflect"},
    "gated": {"name": "attention_unet", "width": 4},
    "resnet": {"name": "resnet34_unet"},
    "transformer": {"name": "encoder_unet", "encoder": "swin_t"},
}


def without_data(arguments: dict) -> nn.Module:
    """The network on the meta device, where that is possible."""
    if arguments["name"] == "encoder_unet":
        return build_model(**arguments)
    with torch.device("meta"):
        return build_model(**arguments)


def stages(model: nn.Module, size: int = 128) -> list[str]:
    return stage_costs(model, size)["stage"].tolist()


# --- costs


@pytest.mark.parametrize("label", VARIANTS)
def test_the_stages_of_every_network_add_up_to_its_totals(label):
    model = without_data(VARIANTS[label])
    table = stage_costs(model)
    assert table["parameters"].sum() == count_parameters(model)
    twin = model if next(model.parameters()).is_meta else without_data(VARIANTS[label]).to("meta")
    with FlopCounterMode(display=False) as counter:
        twin(torch.empty(1, 3, 128, 128, device="meta"))
    assert 2 * table["multiply_adds"].sum() == counter.get_total_flops()
    assert len(table) >= 9
    assert table["stage"].is_unique
    assert table["stage"].iloc[-1] == "head"
    assert (table["parameters"] > 0).all()


@pytest.mark.parametrize("name", SMALL)
def test_activations_are_what_autograd_keeps_on_a_real_device(name):
    model = build_model(**SMALL[name])
    weights = {t.data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(torch.rand(1, 3, 64, 64))
    assert network_costs(model, 64).activation_bytes == sum(storage.nbytes() for storage in kept.values())
    assert stage_costs(model, 64)["activation_mib"].sum() * 2**20 == network_costs(model, 64).activation_bytes


def test_a_small_network_costs_what_is_counted_by_hand():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU()
    )
    (fine, below), pooled, coarse = stage_costs(net, size=16).to_dict("records"), 4 * 8 * 8, 8 * 8 * 8
    assert (below["stage"], below["scale"], below["channels"], below["height"]) == ("2-4", "1/2", 8, 8)
    assert (fine["stage"], fine["scale"], fine["channels"], fine["height"], fine["width"]) == ("0-1", "1/1", 4, 16, 16)
    assert fine["parameters"] == 3 * 4 * 9 + 4
    assert fine["multiply_adds"] == 16 * 16 * 4 * 3 * 9
    assert fine["activation_mib"] * 2**20 == 4 * (3 * 16 * 16 + 4 * 16 * 16)  # the image, what the ReLU let through
    total = network_costs(net, size=16)
    assert total.parameters == 3 * 4 * 9 + 4 + 4 * 8 * 9 + 8
    assert total.weight_bytes == 4 * total.parameters
    assert total.multiply_adds == fine["multiply_adds"] + 8 * 8 * 8 * 4 * 9
    # the pooling keeps its input, which is there already, and where each maximum was (int64)
    assert total.activation_bytes == 4 * (3 * 256 + 4 * 256) + 8 * pooled + 4 * pooled + 4 * coarse


def test_a_chain_of_convolutions_and_relus_keeps_each_map_once():
    chain = nn.Sequential(*(layer for i in (3, 8, 8) for layer in (nn.Conv2d(i, 8, 3, padding=1), nn.ReLU())))
    assert network_costs(chain, 10).activation_bytes == 4 * 100 * (3 + 8 + 8 + 8)
    frozen = chain.requires_grad_(False)
    assert network_costs(frozen, 10).activation_bytes == 0
    assert network_costs(frozen, 10).parameters == 0


def test_resnet34_costs_what_torchvision_publishes():
    published = torchvision.models.ResNet34_Weights.IMAGENET1K_V1.meta
    assert published["num_params"] == 21_797_672
    ours = network_costs(ResNet34Encoder(), 224)
    assert ours.parameters == published["num_params"] - 513_000
    assert round((ours.multiply_adds + 512_000) / 1e9, 3) == published["_ops"]
    theirs = network_costs(torchvision.models.resnet34(weights=None), 224)  # a classifier has stages too
    assert (theirs.parameters, theirs.multiply_adds) == (21_797_672, ours.multiply_adds + 512_000)


# --- stages


def test_stages_are_those_of_the_diagram():
    way_up = [name for i in range(4) for name in (f"ups.{i}", f"decoder.{i}")]
    way_down = [f"encoder.{i}" for i in range(4)] + ["bottleneck"]
    assert stages(without_data(VARIANTS["unet report 003"])) == [*way_down, *way_up, "head"]
    gated = [name for i in range(4) for name in (f"gates.{i}", f"ups.{i}", f"decoder.{i}")]
    for gate in ("additive", "report", "report-printed"):
        assert stages(without_data(VARIANTS[f"attention_unet {gate}"])) == [*way_down, *gated, "head"]
    encoder = ["encoder.stem", *(f"encoder.layer{i}" for i in (1, 2, 3, 4))]
    figure = [*encoder, "decoder.center", *(f"decoder.stages.{i}" for i in range(5)), "head"]
    assert stages(without_data(VARIANTS["resnet34_unet lab"])) == figure
    assert stages(without_data(VARIANTS["report_resnet34_unet 000 as coded"])) == figure  # strides late
    assert stages(build_model("encoder_unet", encoder="resnet50"))[:5] == encoder
    assert stages(build_model("encoder_unet", encoder="efficientnet_b0"))[:5] == [
        f"encoder.features.{part}" for part in ("0-1", "2", "3", "4-5", "6-7")
    ]


def test_scales_and_shapes_follow_the_maps_also_where_they_shrink_by_the_rim():
    table = stage_costs(without_data(VARIANTS["paper_unet"]), 388).set_index("stage")  # figure 1 of the paper
    sides = {"encoder.0": 568, "encoder.1": 280, "encoder.2": 136, "encoder.3": 64, "bottleneck": 28}
    sides |= {"decoder.0": 52, "decoder.1": 100, "decoder.2": 196, "decoder.3": 388, "head": 388}
    assert {name: table.loc[name, "height"] for name in sides} == sides
    assert table["width"].equals(table["height"])
    down, up = ["1/1", "1/2", "1/4", "1/8", "1/16"], ["1/8", "1/8", "1/4", "1/4", "1/2", "1/2", "1/1", "1/1", "1/1"]
    assert table["scale"].tolist() == down + up
    assert table["channels"].tolist()[:5] == [64, 128, 256, 512, 1024]


def test_shared_and_unused_weights_are_counted_once_and_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.twice, self.never = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(5, 7)
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.gain * self.twice(nn.functional.avg_pool2d(self.twice(x), 2))

    table = stage_costs(Odd(), 8).set_index("stage")
    assert table["parameters"].to_dict() == {"twice": 84, "Odd": 1, "never": 42}
    assert table["multiply_adds"].to_dict() == {"twice": 81 * (64 + 16), "Odd": 0, "never": 0}
    assert table["scale"].to_dict() == {"twice": "1/2", "Odd": "", "never": ""}


def test_measuring_leaves_the_model_alone():
    model = build_model("attention_unet", width=2, depth=2)
    model.decoder[0].eval()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    stage_costs(model, 32)
    receptive_fields(model, 32)
    gradient_map(model, "bottleneck", 32, opened=False)
    assert latency(model, 32, repeats=1) > 0
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [name for name, weight in model.named_parameters() if weight.grad is not None] == ["head.weight"]
    assert all(weight.requires_grad for weight in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_cannot_be_measured_is_one_sentence():
    with pytest.raises(LabError, match="64x64 pixels a batch norm has only one place"):
        stage_costs(without_data(VARIANTS["report_resnet34_unet 003 as meant"]), 64)
    with pytest.raises(LabError, match=r"no stage 'encoder'; choose one of encoder\.0, encoder\.1, bottleneck"):
        gradient_map(build_model("unet", width=2, depth=2), "encoder", 32)
    with pytest.raises(LabError, match="repeats=0"):
        latency(build_model("unet", width=2, depth=2), 32, repeats=0)


# --- receptive fields


def by_hand(layers: list[tuple[int, int]]) -> int:
    """r += (k - 1) j, j *= s, over (k, s)."""
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field


@given(
    st.lists(
        st.tuples(st.sampled_from(["conv", "mean", "max"]), st.integers(1, 5), st.integers(1, 2)),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=15, deadline=None)
def test_fields_of_plain_stacks_are_those_of_the_recursion(plan):
    plan = [(kind, kernel, max(1, min(stride, kernel))) for kind, kernel, stride in plan]
    field = by_hand([(kernel, stride) for _, kernel, stride in plan])
    assume(field < 60)
    layers = []
    for kind, kernel, stride in plan:
        made = {
            "conv": lambda k, s: nn.Conv2d(3, 3, k, stride=s, padding=k // 2),
            "mean": lambda k, s: nn.AvgPool2d(k, s, k // 2),
            "max": lambda k, s: nn.MaxPool2d(k, s, k // 2),
        }[kind]
        layers += [made(kernel, stride), nn.ReLU()]
    table = receptive_fields(nn.Sequential(*layers), size=128)
    assert table["computed"].iloc[-1] == table["measured"].iloc[-1] == field


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "unet"},
        {"name": "unet", "up": "bilinear"},
        {"name": "unet", "up": "interpolated", "padding": "reflect"},
        {"name": "attention_unet"},
    ],
    ids=str,
)
def test_every_stage_of_a_unet_sees_what_is_computed(arguments):
    table = receptive_fields(build_model(**arguments, width=2), size=(32, 288)).set_index("stage")
    assert table["computed"].notna().all()
    assert table["computed"].equals(table["measured"].rename("computed"))
    down = [by_hand([*[(3, 1), (3, 1), (2, 2)] * stage, (3, 1), (3, 1)]) for stage in range(5)]
    assert down == [5, 14, 32, 68, 140]
    names = [f"encoder.{i}" for i in range(4)] + ["bottleneck"]
    assert table.loc[names, "computed"].tolist() == down


def test_every_stage_of_resnet34_sees_what_is_computed():
    table = receptive_fields(ResNet34Encoder(), size=(32, 1024))
    blocks = [(7, 2), (3, 2), *[(3, 1)] * 6]
    expected = [by_hand(blocks[:1]), by_hand(blocks)]
    for count in (4, 6, 3):
        blocks += [(3, 2), *[(3, 1)] * (2 * count - 1)]
        expected.append(by_hand(blocks))
    assert table["computed"].tolist() == table["measured"].tolist() == expected == [7, 59, 179, 547, 899]


def test_places_that_are_moved_have_no_computed_field():
    class Rolled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 2, 3, padding=1), nn.ConvTranspose2d(2, 2, 2, stride=2)

        def forward(self, x):
            return self.second(self.first(x).roll(3, dims=-1))

    table = receptive_fields(Rolled(), size=16)
    assert table["computed"].isna().tolist() == [False, True]
    assert table["measured"].tolist() == [3, 3]


def test_gradient_maps_show_the_open_field_and_what_the_network_makes_of_it():
    model = build_model("unet", width=2, depth=2, norm="none")
    opened = gradient_map(model, "bottleneck", 64)
    rows, columns = opened.nonzero()
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (32, 32)
    assert opened.shape == (64, 64)
    assert abs(opened - opened.T).max() < 1e-12
    own = gradient_map(model, "bottleneck", 64, opened=False)
    assert not own[opened == 0].any()
    with torch.no_grad():
        model.bottleneck[0].bias.fill_(-100.0)  # no unit is on any more
        model.bottleneck[3].bias.fill_(-100.0)
        model.bottleneck[0].weight.zero_()
    assert not gradient_map(model, "bottleneck", 64, opened=False).any()
    assert (gradient_map(model, "bottleneck", 64) == opened).all()
