"""The networks' stages, for diagrams and tables of costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import zip_longest
from typing import Literal

import pandas as pd
from torch import nn

from labkit.analysis import module_calls
from labkit.errors import LabError
from labkit.models.attention_unet import AttentionGate, AttentionUNet, ReportGate
from labkit.models.blocks import UpBilinear, UpInterpolated, UpTransposed
from labkit.models.encoder_unet import ENCODERS, EncoderUNet
from labkit.models.paper_unet import PaperUNet
from labkit.models.report_resnet34_unet import ReportResNet34UNet
from labkit.models.resnet34_unet import LabDecoder, LabStage, ResNet34Encoder, ResNet34UNet, SymmetricDecoder
from labkit.models.unet import UNet

UPSAMPLING = {
    UpTransposed: "up-convolution",
    UpBilinear: "bilinear interpolation, 1×1 convolution",
    UpInterpolated: "bilinear interpolation",
}


@dataclass(frozen=True)
class Stage:
    """A stage of a network; it takes what the stage before it gave."""

    name: str  # path of its module, such as `decoder.0`
    channels: int  # of its output
    scale: int  # 8 where the output's sides are an eighth of the image's
    kind: str  # what it computes; steps with a box of their own are separated, `max pool; double convolution`
    skip: str = ""  # name of an earlier stage whose output comes in, too, before the last step
    join: Literal["first", "last"] = "first"  # where the skip stands in the concatenation
    module: str = ""  # path of the module that ends the stage, where its name is not such a path


def stage_at(stages: Sequence[Stage], path: str) -> Stage | None:
    """The stage that the module at a path belongs to; the network itself, path "", ends its last stage."""
    if not path:
        return stages[-1]
    return next((stage for stage in stages if f"{path}.".startswith(f"{stage.module or stage.name}.")), None)


@singledispatch
def network_stages(model: nn.Module) -> list[Stage]:
    """The stages of a network in the order of the call, from the image to the logits.

    Register another network with `network_stages.register`.

    Raises:
        LabError: the stages of such a network are not registered.
    """
    raise LabError(f"{type(model).__name__}: its stages are not registered; add them with network_stages.register")


@network_stages.register
def _(model: UNet) -> list[Stage]:
    found: list[Stage] = []
    for i, double in enumerate(model.encoder):
        pooled = "max pool; " if i else ""
        found.append(Stage(f"encoder.{i}", double[0].out_channels, 2**i, f"{pooled}double convolution"))
    skips = found[::-1]
    deepest = 2 ** len(skips)
    found.append(Stage("bottleneck", model.bottleneck[0].out_channels, deepest, "max pool; double convolution"))
    for i, (skip, up, double) in enumerate(zip(skips, model.ups, model.decoder, strict=True)):
        found.append(Stage(f"ups.{i}", skip.channels, skip.scale, UPSAMPLING[type(up)]))
        found.append(Stage(f"decoder.{i}", double[0].out_channels, skip.scale, "double convolution", skip.name))
    return [*found, _head(model)]


@network_stages.register
def _(model: PaperUNet) -> list[Stage]:
    first, *others = network_stages.dispatch(UNet)(model)
    padded = replace(first, kind=f"mirror padding; {first.kind}")
    return [padded, *others, Stage("output", model.head.out_channels, 1, "crop")]


@network_stages.register
def _(model: AttentionUNet) -> list[Stage]:
    found: list[Stage] = []
    plain = network_stages.dispatch(UNet)(model)
    skips = {stage.name: stage.skip for stage in plain if stage.skip}
    for stage in plain:
        part, _, i = stage.name.partition(".")
        if part == "ups":
            gate = model.gates[int(i)]
            channels = 1 if isinstance(gate, AttentionGate) else stage.channels
            unsteered = isinstance(gate, ReportGate) and gate.as_printed
            kind = "attention gate" if unsteered else "attention gate, gating signal"
            found.append(Stage(f"gates.{i}", channels, stage.scale, kind, skips[f"decoder.{i}"]))
        found.append(replace(stage, skip=f"gates.{i}") if part == "decoder" else stage)
    return found


@network_stages.register
def _(model: ResNet34UNet) -> list[Stage]:
    encoder = _resnet34(model.encoder)
    make = _symmetric if isinstance(model.decoder, SymmetricDecoder) else _lab
    return [*encoder, *make(model.decoder, encoder), _head(model)]


@network_stages.register
def _(model: ReportResNet34UNet) -> list[Stage]:
    encoder, decoder = _resnet34(model.encoder), model.decoder
    if isinstance(decoder, LabDecoder):  # report 000
        return [*encoder, *_lab(decoder, encoder), _head(model)]
    if isinstance(decoder, SymmetricDecoder):  # report 001
        return [*encoder, *_symmetric(decoder, encoder[1:]), _head(model)]
    if hasattr(decoder, "bottleneck"):  # report 003
        bottleneck = Stage(
            "decoder.bottleneck",
            decoder.bottleneck[0].conv2.out_channels,
            2 * encoder[-1].scale,
            "residual blocks, stride 2",
        )
        up = _symmetric(decoder.decoder, [*encoder[1:], bottleneck], "decoder.decoder")
        enlarged = [Stage(f"decoder.enlarge.{i}", 64, up[-1].scale // 2 ** (i + 1), "up-convolution") for i in range(2)]
        return [*encoder, bottleneck, *up, *enlarged, _head(model)]
    up = []
    for i, (stage, skip) in enumerate(zip(decoder.stages, encoder[-2::-1], strict=True)):
        below = [*encoder, *up][-1].scale
        kind = "up-convolution; 3×3 convolution" if skip.scale < below else "up-convolution, reduced; 3×3 convolution"
        up.append(Stage(f"decoder.stages.{i}", stage.up.out_channels, skip.scale, kind, skip.name, "last"))
    return [*encoder, *up, _head(model, scale=2), Stage("output", model.head.out_channels, 1, "bilinear interpolation")]


@network_stages.register
def _(model: EncoderUNet) -> list[Stage]:
    name = model.encoder_name
    blocks = "residual blocks" if name.startswith("resnet") else "inverted residual blocks"
    blocks = {"swin_t": "transformer blocks", "inception_v3": "inception blocks"}.get(name, blocks)
    encoder: list[Stage] = []
    for i, (tap, channels) in enumerate(ENCODERS[name].items()):
        scale = 2 ** (5 - len(ENCODERS[name]) + i + 1)  # the last is at 1/32
        kind = f"{blocks}, stride {2 if encoder else scale}"
        if tap == "relu":
            encoder.append(Stage("encoder.stem", channels, scale, "7×7 convolution, stride 2", module="encoder.relu"))
        else:
            kind = "max pool; residual blocks" if tap == "layer1" else kind
            encoder.append(Stage(f"encoder.{tap}", channels, scale, kind))
    return [*encoder, *_symmetric(model.decoder, encoder), _head(model)]


def _head(model: nn.Module, scale: int = 1) -> Stage:
    return Stage("head", model.head.out_channels, scale, "1×1 convolution (head)")


def _resnet34(encoder: ResNet34Encoder) -> list[Stage]:
    stem = encoder.conv1.out_channels
    found = [Stage("encoder.stem", stem, 2, "7×7 convolution, stride 2", module="encoder.relu")]
    pooled = isinstance(encoder.maxpool, nn.MaxPool2d)  # report 002 as coded has none
    scale, kind = (4, "max pool; residual blocks") if pooled else (2, "residual blocks")
    for i, blocks in enumerate((encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4), start=1):
        found.append(Stage(f"encoder.layer{i}", blocks[-1].conv2.out_channels, scale, kind))
        scale, kind = 2 * scale, "residual blocks, stride 2"
    return found


def _lab(decoder: LabDecoder, encoder: Sequence[Stage]) -> list[Stage]:
    """Skip and stage meet at the coarser scale and go up together; the stem is no skip."""
    lab = isinstance(decoder.stages[0], LabStage)
    kind = "bilinear interpolation, " + ("3×3 convolution, attention" if lab else "double convolution")
    center, scale = decoder.center[0] if lab else decoder.center.conv2, encoder[-1].scale
    found = [Stage("decoder.center", center.out_channels, scale, "3×3 convolution" if lab else "residual blocks")]
    for i, skip in enumerate([*encoder[:0:-1], None]):
        found.append(
            Stage(f"decoder.stages.{i}", decoder.channels, scale // 2, kind, skip.name if skip else "", "last")
        )
        scale //= 2
    return found


def _symmetric(decoder: SymmetricDecoder, features: Sequence[Stage], path: str = "decoder") -> list[Stage]:
    *skips, bottom = features
    found: list[Stage] = []
    scale = bottom.scale
    for i, (double, skip) in enumerate(zip_longest(decoder.stages, skips[::-1])):
        scale //= 2
        channels = double[0].out_channels
        found.append(Stage(f"{path}.ups.{i}", channels, scale, "up-convolution"))
        found.append(Stage(f"{path}.stages.{i}", channels, scale, "double convolution", skip.name if skip else ""))
    return found


def stage_table(model: nn.Module, size: int = 128, in_channels: int = 3) -> pd.DataFrame:
    """What each stage costs for one image `[1, in_channels, size, size]`; columns add up to `analysis.network_costs`.

    What a network computes between two stages (poolings, concatenations) counts for the later one.

    Returns:
        Columns `stage, scale` (`1/8`), `channels, height, width` (of what comes out), `height_in` (of what comes into
        its module), `parameters, multiply_adds, activation_mib`.

    Raises:
        LabError: the stages are not known, or the network does not take such an image.
    """
    stages, calls = network_stages(model), module_calls(model, size, in_channels)
    owners = [stage_at(stages, path) for path in calls["path"]]
    calls.loc[[owner is None for owner in owners], ["height", "height_in"]] = None
    calls["stage"] = pd.Series([owner and owner.name for owner in owners]).bfill()
    totals = calls[["multiply_adds", "activation_bytes"]]
    calls[totals.columns] = totals.diff().fillna(totals)
    columns = {"height": "last", "height_in": "first"} | dict.fromkeys(totals, "sum")
    spent = calls.groupby("stage").agg(columns).astype(int)
    spent.insert(2, "parameters", 0)
    stage_of = dict(zip(calls["path"], calls["stage"], strict=True))
    for path, weight in model.named_parameters():  # some belong to modules that are never called
        owner = stage_at(stages, path)
        name = owner.name if owner else stage_of[path.rpartition(".")[0]]
        spent.loc[name, "parameters"] += weight.numel() * weight.requires_grad
    table = pd.DataFrame({"stage": s.name, "scale": f"1/{s.scale}", "channels": s.channels} for s in stages)
    table = table.join(spent, on="stage")
    table.insert(4, "width", table["height"])
    table["activation_mib"] = table.pop("activation_bytes") / 2**20
    return table
