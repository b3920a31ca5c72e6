"""Receptive fields, against the formula, against counting backwards by hand, and computed against measured."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course.figures import measured_fields, stage_fields
from course.stages import Stage, network_stages
from labkit import models
from labkit.errors import LabError


class Stack(nn.Sequential):
    """Layers in a row, each a stage."""


@network_stages.register
def _(model: Stack) -> list[Stage]:
    return [Stage(name, 2, 1, "") for name, _ in model.named_children()]


def formula(layers):
    """r += (k - 1) j, j *= s, over (k, s)."""
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field


def last_rows(table, names):
    return table.set_index("stage").loc[names]


@given(st.lists(st.tuples(st.sampled_from("cam"), st.integers(1, 5), st.integers(1, 2)), min_size=1, max_size=5))
@settings(max_examples=15)
def test_fields_of_stacks_are_those_of_the_formula(plan):
    layers = []
    for kind, kernel, stride in plan:
        make = {"c": lambda *a: nn.Conv2d(3, 3, *a), "a": nn.AvgPool2d, "m": nn.MaxPool2d}[kind]
        layers.append(make(kernel, stride, kernel // 2))
    row = stage_fields(Stack(*layers), width=512).iloc[-1]
    assert row["smallest"] == row["largest"] == formula([(kernel, stride) for _, kernel, stride in plan])


def test_the_way_down_follows_the_formula():
    down = [formula([*[(3, 1), (3, 1), (2, 2)] * stage, (3, 1), (3, 1)]) for stage in range(5)]
    table = last_rows(stage_fields(models.UNet(width=2)), [*(f"encoder.{i}" for i in range(4)), "bottleneck"])
    assert table["smallest"].tolist() == table["largest"].tolist() == down == [5, 14, 32, 68, 140]
    blocks, fields = [(7, 2), (3, 2)], [7]
    for count, stride in ((3, 1), (4, 2), (6, 2), (3, 2)):
        blocks += [(3, stride), *[(3, 1)] * (2 * count - 1)]
        fields.append(formula(blocks))
    found = stage_fields(models.ResNet34UNet(decoder="unet"), width=4096)
    assert found["largest"].tolist()[:5] == fields == [7, 59, 179, 547, 899]


def test_on_the_way_up_a_field_depends_on_where_the_unit_lies():
    def side(unit):
        """Backwards from a unit of the last stage: four times up and two convolutions, down, and the way down."""
        first = last = unit
        for step in [*"ccuccuccuccu", *"cc", *"pccpccpccpcc"]:
            first, last = {
                "c": (first - 1, last + 1),
                "u": (first // 2, last // 2),
                "p": (2 * first, 2 * last + 1),
            }[step]
        return last - first + 1

    assert Counter(side(unit) for unit in range(16)) == {204: 12, 188: 4}
    row = last_rows(stage_fields(models.UNet(width=2)), "decoder.3")
    assert (row["smallest"], row["largest"]) == (188, 204)


@pytest.mark.parametrize(
    "model",
    [
        models.UNet(width=2, depth=3),
        models.UNet(width=2, depth=3, up="bilinear"),
        models.UNet(width=2, depth=3, up="interpolated", padding="reflect"),
        models.AttentionUNet(width=2, depth=3),
    ],
    ids=["unet", "bilinear", "interpolated", "attention"],
)
def test_computed_fields_are_those_that_the_gradient_shows(model):
    modes, hooks = [module.training for module in model.modules()], [len(m._forward_hooks) for m in model.modules()]
    assert stage_fields(model).equals(measured_fields(model))
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_hooks) for m in model.modules()] == hooks


def test_attention_over_the_whole_map_sees_everything_and_a_transformer_has_no_rule():
    table = stage_fields(models.ResNet34UNet(), width=2048).set_index("stage")
    assert table.loc["encoder.layer4", "largest"] == 899
    assert table.loc["decoder.stages.0":].isna().all(axis=None)
    with pytest.raises(LabError, match="no rule for layer_norm"):
        stage_fields(models.EncoderUNet(encoder="swin_t"))
