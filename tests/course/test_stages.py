"""What is said of a network's stages, against what its modules give and take."""

import pytest
import torch
from torch import nn

from course.stages import network_stages, stage_at
from labkit.models import ENCODERS, build_model

NETWORKS = [
    {"name": "unet", "width": 4},
    {"name": "unet", "width": 4, "depth": 2, "up": "bilinear"},
    {"name": "unet", "width": 4, "up": "interpolated"},
    {"name": "paper_unet", "width": 4},
    {"name": "resnet34_unet"},
    {"name": "resnet34_unet", "decoder": "unet"},
    *({"name": "report_resnet34_unet", "report": r, "as_coded": c} for r in ("000", "002", "003") for c in (0, 1)),
    {"name": "report_resnet34_unet", "report": "001"},
    {"name": "attention_unet", "width": 4},
    {"name": "attention_unet", "width": 4, "gate": "report"},
    *({"name": "encoder_unet", "encoder": encoder} for encoder in ENCODERS),
]


@pytest.mark.parametrize("arguments", NETWORKS, ids=lambda arguments: " ".join(map(str, arguments.values())))
def test_stages_are_what_the_modules_give(arguments):
    with torch.device("meta"):
        model = build_model(**arguments).eval()
    stages, given = network_stages(model), {}
    assert len({stage.name for stage in stages}) == len(stages)
    for path, module in model.named_modules():
        if stage := stage_at(stages, path):  # a part of torchvision's encoders is called by its layers only
            module.register_forward_hook(lambda _, __, y, name=stage.name: given.update({name: y.shape[1:]}))
    model(torch.empty(1, 3, 128, 128, device="meta"))
    assert list(given) == [stage.name for stage in stages if stage.name != "output"] + ["output"] * ("output" in given)
    assert stages[-1].scale == 1
    for stage in stages:
        sides = given[stage.name]
        side = sides[0] if arguments.get("encoder") == "swin_t" and "features" in stage.name else sides[1]
        if "Mixed" not in stage.name:  # Inception's blocks end with the last of several branches
            assert stage.channels in sides, stage
        if "paper_unet" not in arguments.values() and "inception_v3" not in arguments.values():  # unpadded: less
            assert stage.scale * side == 128, stage


@pytest.mark.parametrize("arguments", NETWORKS, ids=lambda arguments: " ".join(map(str, arguments.values())))
def test_channels_of_skip_and_stage_below_add_up_to_what_the_convolution_takes(arguments):
    with torch.device("meta"):
        model = build_model(**arguments)
    stages = network_stages(model)
    skips = {stage.name: stage for stage in stages if stage.skip and not stage.name.startswith("gates.")}
    assert len(skips) >= (3 if arguments.get("encoder") == "swin_t" else 2)
    before = {name: stages[stages.index(stage) - 1].channels for name, stage in skips.items()}
    for name, stage in skips.items():
        source = next(other for other in stages if other.name == stage.skip)
        while source.skip:  # a gate leaves the channels as they are
            source = next(other for other in stages if other.name == source.skip)
        assert stages.index(source) < stages.index(stage)
        module = model.get_submodule(name)
        taken = next(part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d))
        joined = stage.channels if "up-convolution" in stage.kind else before[name]
        assert taken == source.channels + joined, stage
