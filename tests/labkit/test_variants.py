"""The networks of the reports, of the papers and on torchvision's encoders."""

import inspect
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import LabError
from labkit.models import (
    ENCODERS,
    NETWORKS,
    AttentionGate,
    AttentionUNet,
    EncoderUNet,
    LateStrideBlock,
    OpenBlock,
    PaperUNet,
    ReportGate,
    ReportResNet34UNet,
    ResNet34UNet,
    UNet,
    build_model,
    count_parameters,
    tile_side,
)
from labkit.training import LOSSES, build_network, load_recipe
from labkit.training.faults import FAULTS
from labkit.training.recipe import RECIPES
from tests.labkit.test_models import convolution, functional_unet, with_lived_in_norms

CLASSES = {"report-004": 3, "attention-unet": 3}
"""Of the recipes whose target has more than one foreground."""

TABLE = {
    # recipe: parameters, and some stages with channels and scale for an image of 256x256
    "default": (31_037_633, {"encoder.0": (64, 1), "bottleneck": (1024, 16), "decoder.0": (512, 8)}),
    # 13.4 M in the report; its convolutions also have biases, which batch norm takes away again
    "report-000": (13_391_426, {"bottleneck": (512, 16), "decoder.0": (256, 8), "decoder.3": (64, 1)}),
    "report-001": (7_763_041, {"encoder.0": (32, 1), "bottleneck": (512, 16), "decoder.3": (32, 1)}),
    "report-002": (31_037_633, {"encoder.3": (512, 8), "bottleneck": (1024, 16), "decoder.3": (64, 1)}),
    "report-003": (31_037_633, {"dropout": (1024, 16), "decoder.3": (64, 1)}),
    "report-004": (34_522_243, {"gates.0": (512, 8), "gates.3": (64, 1), "decoder.3": (64, 1)}),
    "paper-unet": (31_031_810, {"head": (2, None)}),
    "lab-resnet34-unet": (22_853_387, {"decoder.center": (256, 32), "decoder.stages.4": (32, 1)}),
    # 26.0 M as coded, 23.5 M with ResNet34's own blocks
    "report-000-resnet34-unet": (23_620_610, {"decoder.center": (256, 32), "decoder.stages.0": (32, 16)}),
    "report-000-resnet34-unet-as-coded": (26_045_442, {"encoder.layer4": (512, 32), "decoder.stages.4": (32, 1)}),
    "report-001-resnet34-unet": (24_478_401, {"encoder.layer4": (512, 32), "decoder.stages.2": (64, 4)}),
    "report-002-resnet34-unet": (23_612_801, {"encoder.layer4": (512, 32), "decoder.stages.3": (64, 2)}),
    "report-002-resnet34-unet-as-coded": (23_612_801, {"encoder.layer4": (512, 16), "decoder.stages.3": (64, 2)}),
    "report-003-resnet34-unet": (48_194_369, {"decoder.bottleneck": (1024, 64), "decoder.decoder": (64, 4)}),
    "report-003-resnet34-unet-as-coded": (48_194_369, {"decoder.enlarge": (64, 1)}),
    "attention-unet": (32_083_207, {"gates.0": (1, 8), "gates.3": (1, 1), "bottleneck": (1024, 16)}),
    "encoder-unet": (6_113_777, {"decoder.stages.0": (256, 16), "decoder.stages.4": (32, 1)}),
}


@pytest.mark.parametrize("name", TABLE)
def test_recipe_has_its_parameters_and_stage_shapes(name):
    parameters, stages = TABLE[name]
    recipe = load_recipe(name)
    classes = recipe.resolved_classes(("background", "a", "b")[: CLASSES.get(name, 2)])
    with torch.device("meta"):
        model = build_network(recipe.changed(model={"classes": classes})).eval()
        image = torch.empty(1, 3, 256, 256)
    assert count_parameters(model) == parameters
    shapes = {}
    for stage in stages:
        model.get_submodule(stage).register_forward_hook(lambda _, x, y, stage=stage: shapes.update({stage: y.shape}))
    assert model(image).shape == (1, classes, 256, 256)
    for stage, (channels, scale) in stages.items():
        assert shapes[stage][1] == channels, stage
        assert scale is None or tuple(shapes[stage][2:]) == (256 // scale, 256 // scale), stage


REPORTS = sorted(path.stem for path in RECIPES.glob("report-*.toml"))


@pytest.mark.parametrize("name", [name for name in REPORTS if name.endswith("-as-coded")])
def test_as_coded_is_as_meant_but_for_faults_of_the_code(name):
    coded, meant = (load_recipe(one).model_dump() for one in (name, name.removesuffix("-as-coded")))
    faults, none = (one["training"].pop("faults") for one in (coded, meant))
    changed = {key for key in coded["model"] if coded["model"][key] != meant["model"][key]}
    assert not none
    assert faults or changed
    assert changed <= {"as_coded", "gate"}
    assert coded | {"model": meant["model"]} == meant


def test_every_fault_is_made_by_a_recipe_as_coded_and_by_no_other():
    made = {fault for name in REPORTS if name.endswith("-as-coded") for fault in load_recipe(name).training.faults}
    assert made == set(FAULTS)
    assert not any(load_recipe(name).training.faults for name in REPORTS if not name.endswith("-as-coded"))


def test_every_network_of_a_report_is_there_as_meant_and_as_coded():
    networks = [f"report-{number}{kind}" for number in ("000", "001", "002", "003") for kind in ("", "-resnet34-unet")]
    networks += ["report-004"]
    assert sorted([*networks, *(f"{name}-as-coded" for name in networks)]) == REPORTS


def test_both_networks_of_a_report_have_the_same_data_and_faults_and_start_alike():
    for name in REPORTS:
        if "-resnet34-unet" in name:
            deep, plain = load_recipe(name), load_recipe(name.replace("-resnet34-unet", ""))
            assert deep.data == plain.data
            assert deep.training.faults == plain.training.faults
            assert deep.model.initialization == plain.model.initialization


def test_every_network_stands_in_a_recipe_of_the_table():
    own = {name for name, network in NETWORKS.items() if network.__module__.startswith("labkit.")}
    assert {load_recipe(name).model.name for name in TABLE} == own


def test_parameters_of_report_000s_network_by_hand():
    """Encoder 64 to 512 and 512 again, decoder 256, 128, 64, 64, every stage two 3x3 convolutions and two norms."""
    pairs = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512), (1024, 256), (512, 128), (256, 64), (128, 64)]
    total = sum(convolution(a, b) + convolution(b, b) + 4 * b for a, b in pairs)
    total += convolution(64, 2, side=1, bias=True)
    assert total == TABLE["report-000"][0]


def test_parameters_of_report_001s_resnet34_unet_by_hand():
    """ResNet34 without its classifier; up-convolutions to 256, 128, 64, 64, 64, skips of 256, 128, 64 channels."""
    ups = [(512, 256), (256, 128), (128, 64), (64, 64), (64, 64)]
    doubles = [(256 + 256, 256), (128 + 128, 128), (64 + 64, 64), (64, 64), (64, 64)]
    total = 21_797_672 - (512 * 1000 + 1000) + sum(convolution(*c, side=2, bias=True) for c in ups)
    total += sum(convolution(a, b) + convolution(b, b) + 4 * b for a, b in doubles)
    total += convolution(64, 1, side=1, bias=True)
    assert total == TABLE["report-001-resnet34-unet"][0]


# --- the paper's UNet


@given(side=st.integers(1, 700), depth=st.integers(0, 5))
def test_tile_is_the_smallest_that_covers_and_that_every_pooling_halves(side, depth):
    def out(tile):
        for _ in range(depth):
            tile -= 4
            if tile <= 0 or tile % 2:
                return None
            tile //= 2
        tile -= 4
        for _ in range(depth):
            tile = 2 * tile - 4
        return tile

    tile = tile_side(side, depth)
    assert out(tile) >= side
    smaller = [out(t) for t in range(1, tile)]
    assert all(covered is None or covered < side for covered in smaller)


def test_tile_of_the_papers_figure():
    assert tile_side(388, depth=4) == 572


@torch.no_grad()
def test_papers_unet_is_the_unpadded_network_on_the_mirrored_image():
    torch.manual_seed(0)
    model = PaperUNet(width=2, depth=2).eval()
    image = torch.randn(1, 3, 40, 50)
    sides = [tile_side(40, 2), tile_side(50, 2)]
    before = [(tile - side) // 2 for tile, side in zip(sides, (40, 50), strict=True)]
    # mirrored by index: -1 -> 1, n -> n - 2
    rows = (torch.arange(sides[0]) - before[0]).abs()
    rows = torch.where(rows > 39, 78 - rows, rows)
    columns = (torch.arange(sides[1]) - before[1]).abs()
    columns = torch.where(columns > 49, 98 - columns, columns)
    whole = functional_unet(
        model.state_dict(), image[:, :, rows][:, :, :, columns], 2, "transposed", "valid", norm="none"
    )
    top, left = (whole.shape[2] - 40) // 2, (whole.shape[3] - 50) // 2
    assert torch.allclose(model(image), whole[..., top : top + 40, left : left + 50], atol=1e-5)


def test_an_image_without_enough_to_mirror_is_refused():
    with pytest.raises(LabError, match=r"94 pixels around each image.*64x64.*smaller depth"):
        PaperUNet(width=2)(torch.zeros(1, 3, 64, 64))


# --- the reports' ResNet34-UNets


@torch.no_grad()
def test_late_stride_block_is_report_000s_forward_pass():
    torch.manual_seed(0)
    block, x = with_lived_in_norms(LateStrideBlock(4, 8, stride=2)), torch.randn(2, 4, 10, 12)
    inner = F.relu(block.bn1(F.conv2d(x, block.conv1.weight, padding=1)))  # stride 1
    branch = block.bn2(F.conv2d(inner, block.conv2.weight, stride=2, padding=1))
    shortcut = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=2, padding=1))
    assert block.downsample[0].weight.shape == (8, 4, 3, 3)
    assert torch.allclose(block(x), F.relu(branch + shortcut), atol=1e-6)


@torch.no_grad()
def test_open_block_lets_negative_sums_through():
    torch.manual_seed(0)
    block, x = with_lived_in_norms(OpenBlock(4, 4)), torch.randn(2, 4, 6, 6)
    branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    assert torch.allclose(block(x), branch + x, atol=1e-6)
    assert (block(x) < 0).any()


@torch.no_grad()
def test_report_000_concatenates_then_upsamples_then_convolves():
    torch.manual_seed(0)
    model, image = with_lived_in_norms(ReportResNet34UNet(report="000")), torch.randn(1, 3, 64, 96)
    _, *layers = model.encoder(image)
    x = model.decoder.center(layers[-1])
    for stage, skip in zip(model.decoder.stages, [*reversed(layers), None], strict=True):
        x = x if skip is None else torch.cat([x, skip], dim=1)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        for conv, norm in ((stage.convs[0], stage.convs[1]), (stage.convs[3], stage.convs[4])):
            x = F.relu(norm(F.conv2d(x, conv.weight, padding=1)))
    assert torch.allclose(model(image), model.head(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_report_001_concatenates_its_residual_layers_and_nothing_finer():
    torch.manual_seed(0)
    model, image = with_lived_in_norms(ReportResNet34UNet(report="001")), torch.randn(1, 3, 64, 96)
    _, *skips, x = model.encoder(image)
    for up, stage in zip(model.decoder.ups, model.decoder.stages, strict=True):
        x = F.conv_transpose2d(x, up.weight, up.bias, stride=2)
        x = stage(torch.cat([skips.pop(), x], 1) if skips else x)
    assert x.shape == (1, 64, 64, 96)
    assert torch.allclose(model(image), model.head(x), rtol=1e-4, atol=1e-5)


def test_report_001_as_coded_is_refused_because_it_shows_no_code():
    with pytest.raises(LabError, match=r"as_coded: report 001 shows no code.*leave it out"):
        build_model("report_resnet34_unet", report="001", as_coded=True)


@torch.no_grad()
def test_report_002_interpolates_to_each_skip_and_at_the_end_to_the_image():
    torch.manual_seed(0)
    model, image = with_lived_in_norms(ReportResNet34UNet(report="002")), torch.randn(1, 3, 70, 66)
    *skips, x = model.encoder(image)
    for stage, skip in zip(model.decoder.stages, reversed(skips), strict=True):
        x = F.conv_transpose2d(x, stage.up.weight, stage.up.bias, stride=2)
        x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=True)
        x = F.relu(stage.conv[1](F.conv2d(torch.cat([x, skip], 1), stage.conv[0].weight, padding=1)))
    logits = F.interpolate(model.head(x), size=(70, 66), mode="bilinear", align_corners=True)
    assert torch.allclose(model(image), logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_report_003_goes_down_once_more_and_up_without_the_stem():
    torch.manual_seed(0)
    model, image = with_lived_in_norms(ReportResNet34UNet(report="003")), torch.randn(1, 3, 128, 64)
    _, *layers = model.encoder(image)
    decoder = model.decoder
    x = decoder.bottleneck[0](layers[-1])
    for up, stage, skip in zip(decoder.decoder.ups, decoder.decoder.stages, reversed(layers), strict=True):
        x = stage(torch.cat([skip, F.conv_transpose2d(x, up.weight, up.bias, stride=2)], 1))
    for conv, norm, _ in decoder.enlarge:
        x = F.relu(norm(F.conv_transpose2d(x, conv.weight, stride=2)))
    assert torch.allclose(model(image), model.head(x), rtol=1e-4, atol=1e-5)


# --- attention


@torch.no_grad()
def test_attention_gate_is_the_papers_formula():
    """q = psi(relu(W_x x + W_g g + b_g)) + b_psi at the gating signal's scale; alpha = sigmoid(q), resampled."""
    torch.manual_seed(0)
    gate, skip, gating = AttentionGate(4, 6), torch.randn(2, 4, 6, 8), torch.randn(2, 6, 3, 4)
    w_x, w_g, psi = gate.of_skip.weight, gate.of_gating.weight[:, :, 0, 0], gate.score.weight[0, :, 0, 0]
    score = torch.empty(2, 1, 3, 4)
    for b in range(2):
        for i in range(3):
            for j in range(4):
                window = skip[b, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                hidden = (w_x * window).sum((1, 2, 3)) + w_g @ gating[b, :, i, j] + gate.of_gating.bias
                score[b, 0, i, j] = psi @ hidden.relu() + gate.score.bias[0]
    expected = F.interpolate(score.sigmoid(), size=(6, 8), mode="bilinear")
    assert torch.allclose(gate(skip, gating), expected, atol=1e-6)


@torch.no_grad()
def test_report_gate_as_printed_never_uses_its_gating_signal():
    torch.manual_seed(0)
    skip, gating, other = torch.randn(1, 4, 8, 8), torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    printed, meant = ReportGate(4, 8, as_printed=True), ReportGate(4, 8)
    assert torch.equal(printed(skip, gating), printed(skip, other))
    assert not torch.allclose(meant(skip, gating), meant(skip, other))
    raised = F.conv_transpose2d(gating, meant.up.weight, meant.up.bias, stride=2)
    expected = torch.sigmoid(meant.same_conv2(F.relu(meant.same_conv1(skip) + raised)))
    assert torch.allclose(meant(skip, gating), expected, atol=1e-6)
    assert meant(skip, gating).shape == skip.shape  # no one-channel map


@torch.no_grad()
def test_attention_unet_with_open_gates_is_the_unet():
    torch.manual_seed(0)
    model, plain = AttentionUNet(width=4, depth=3).eval(), UNet(width=4, depth=3).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("gates.")})
    image = torch.randn(1, 3, 48, 64)
    assert not torch.allclose(model(image), plain(image), atol=1e-4)
    for gate in model.gates:
        gate.score.weight.zero_()
        gate.score.bias.fill_(50.0)  # the sigmoid is 1
    assert torch.allclose(model(image), plain(image), atol=1e-5)


@pytest.mark.parametrize("gate", ["additive", "report", "report-printed"])
@torch.no_grad()
def test_maps_are_what_the_skips_were_multiplied_with(gate):
    torch.manual_seed(0)
    model, image = AttentionUNet(width=4, depth=3, gate=gate).eval(), torch.randn(2, 3, 40, 40)
    met = []
    for stage in model.decoder:
        stage.register_forward_hook(lambda _, given, y: met.append(given[0]))
    logits, maps = model.logits_and_maps(image)
    skips, _ = model.encode(image)
    assert torch.equal(logits, model(image))
    for joined, weights, skip in zip(met[:3], maps, reversed(skips), strict=True):
        assert ((weights > 0) & (weights < 1)).all()
        assert torch.allclose(joined[:, : skip.shape[1]], skip * weights)


# --- torchvision's encoders


@torch.no_grad()
def test_unet_on_torchvisions_resnet34_is_ours_with_the_same_weights():
    torch.manual_seed(0)
    theirs = with_lived_in_norms(EncoderUNet(encoder="resnet34"))
    ours = ResNet34UNet(decoder="unet").eval()
    told = ours.load_state_dict(theirs.state_dict())
    assert not told.missing_keys
    assert not told.unexpected_keys
    image = torch.randn(1, 3, 64, 96)
    assert torch.allclose(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


INCEPTION_SIDES = [(35, 51), (15, 23), (7, 11), (3, 5), (1, 2)]
"""Of 75x107 pixels: 5, 5, 1, 1 and 1 of them are lost before each halving."""


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_encoders_features_are_torchvisions_with_the_same_weights(name):
    torch.manual_seed(0)
    model = EncoderUNet(encoder=name).eval()
    quick = {"init_weights": False} if name == "inception_v3" else {}
    classifier = torchvision.models.get_model(name, weights=None, **quick).eval()
    kept = classifier.load_state_dict(model.encoder.state_dict(), strict=False)
    assert not kept.unexpected_keys
    heads = ("fc", "AuxLogits", "classifier", "head", "norm", "features")
    assert all(key.split(".")[0] in heads for key in kept.missing_keys)
    seen = {}
    for tap in ENCODERS[name]:
        # called more than once (resnet's relu in every block): the first call is the stem's
        classifier.get_submodule(tap).register_forward_hook(lambda _, x, y, tap=tap: seen.setdefault(tap, y.clone()))
    image = torch.randn(1, 3, 75, 107) if name == "inception_v3" else torch.randn(1, 3, 64, 96)
    sides = {"swin_t": [(64 // s, 96 // s) for s in (4, 8, 16, 32)], "inception_v3": INCEPTION_SIDES}
    sides = sides.get(name, [(64 // s, 96 // s) for s in (2, 4, 8, 16, 32)])
    classifier(image)
    features = model.encoder(image).values()
    for (tap, channels), feature, (height, width) in zip(ENCODERS[name].items(), features, sides, strict=True):
        expected = seen[tap].permute(0, 3, 1, 2) if name == "swin_t" else seen[tap]
        feature = feature.permute(0, 3, 1, 2) if name == "swin_t" else feature
        assert torch.allclose(feature, expected, rtol=1e-4, atol=1e-5)
        assert feature.shape == (1, channels, height, width)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_inception_takes_any_size_from_29_on_and_no_scale_of_it_is_rounded(mode):
    with torch.device("meta"):
        model, met = getattr(EncoderUNet(encoder="inception_v3", classes=2), mode)(), []
    model.encoder.register_forward_hook(lambda _, given, features: met.append((given[0], features.values())))
    for height, width in [(29, 29), (32, 61), (64, 64), (75, 101), (128, 97), (299, 224)]:
        assert model(torch.empty(2, 3, height, width, device="meta")).shape == (2, 2, height, width)
        given, features = met.pop()
        for axis in (2, 3):
            least = given.shape[axis]
            for feature, lost in zip(features, (5, 5, 1, 1, 1), strict=True):  # by unpadded convolutions and pools
                assert (least - lost) % 2 == 0
                least = (least - lost) // 2
                assert feature.shape[axis] == least


def test_inception_refuses_what_is_too_small_in_one_sentence():
    with torch.device("meta"):
        model = build_model("encoder_unet", encoder="inception_v3")
    with pytest.raises(LabError, match=r"at least 29x29 pixels, and this one has 40x28$"):
        model(torch.empty(1, 3, 28, 40, device="meta"))


def test_inceptions_logits_lie_where_their_pixels_are():
    """With equal positive weights, what a logit depends on is centered on its pixel, to the half pixels of strides."""
    model = EncoderUNet(encoder="inception_v3").eval()
    for parameter in model.parameters():
        parameter.data.fill_(1 / parameter[0].numel() if parameter.ndim == 4 else float(parameter.ndim))
    image = (1 + torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))).requires_grad_()
    logits = model(image)
    places = torch.arange(160.0)
    offsets = []
    for place in range(76, 84):
        weight = torch.autograd.grad(logits[0, 0, place, place], image, retain_graph=True)[0].sum((0, 1))
        offsets += [(weight.sum(1 - axis) @ places / weight.sum()).item() - place for axis in (0, 1)]
    assert abs(sum(offsets) / len(offsets)) < 2


def test_inception_learns_with_every_parameter():
    torch.manual_seed(0)
    model, truth = EncoderUNet(encoder="inception_v3"), torch.randint(0, 2, (2, 48, 48))
    LOSSES["bce"](model(torch.randn(2, 3, 48, 48)), truth).backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "inception_v3"])
def test_pretrained_weights_without_a_network_are_one_clear_error(monkeypatch, tmp_path, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # none on disk

    def no_network(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(LabError, match=rf"ImageNet weights of {name}.*no route.*pretrained = false"):
        build_model("encoder_unet", encoder=name, pretrained=True)


# --- all of them


SMALL = [
    ("paper_unet", {"width": 8, "depth": 2, "classes": 1, "initialization": "he"}),
    ("attention_unet", {"width": 8, "gate": "additive"}),
    ("attention_unet", {"width": 8, "gate": "report"}),
    ("report_resnet34_unet", {"report": "000", "as_coded": True}),
    ("report_resnet34_unet", {"report": "001"}),
    ("report_resnet34_unet", {"report": "002", "as_coded": True}),
    ("report_resnet34_unet", {"report": "003"}),
    ("encoder_unet", {"encoder": "mobilenet_v3_large"}),
    ("encoder_unet", {"encoder": "swin_t"}),
]


@pytest.mark.parametrize(("name", "arguments"), SMALL)
def test_variant_learns_one_batch_and_every_parameter_takes_part(name, arguments):
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    truth = torch.stack([((y - 24) ** 2 + (x - cx) ** 2 < 200).long() for cx in (20, 40)])
    images = truth[:, None] * 0.8 + torch.randn(2, 3, 64, 64) * 0.3
    model = build_model(name, **arguments)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = None
    for step in range(40):
        loss = LOSSES["bce+dice"](model(images), truth)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            first = loss.item()
            unused = [key for key, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
            assert not unused
        optimizer.step()
        if loss < 0.65 * first:
            break
    assert loss < 0.65 * first


@pytest.mark.parametrize("report", ["000", "001", "002", "003"])
def test_reports_networks_take_any_size(report):
    model = ReportResNet34UNet(report=report).eval()

    @settings(max_examples=10, deadline=None)
    @given(height=st.integers(64, 140), width=st.integers(64, 140))
    @torch.no_grad()
    def holds(height, width):
        assert model(torch.randn(1, 3, height, width)).shape == (1, 1, height, width)

    holds()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_argument_is_explained_by_the_network_or_by_unet(name):
    for argument in inspect.signature(NETWORKS[name]).parameters:
        assert f"        {argument}: " in NETWORKS[name].__doc__ + UNet.__doc__, argument
