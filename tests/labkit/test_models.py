import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models import resnet34

from labkit.errors import LabError
from labkit.models import CBAM, ResNet34Encoder, ResNet34UNet, UNet, UpBilinear, build_model, count_parameters, join
from labkit.training import LOSSES


def with_lived_in_norms(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The model in evaluation mode with batch norms that are no identities."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.2)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.GroupNorm)):
            module.weight.data.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
            module.bias.data.copy_(torch.randn(module.bias.shape, generator=generator) * 0.2)
    return model.eval()


# --- ResNet34


@pytest.fixture(scope="module")
def both_resnets():
    """torchvision's ResNet34 and ours with its weights."""
    torch.manual_seed(0)
    theirs = with_lived_in_norms(resnet34(weights=None))
    ours = ResNet34Encoder().eval()
    theirs.fc = torch.nn.Identity()  # no classifier
    told = ours.load_state_dict(theirs.state_dict())
    assert not told.missing_keys
    assert not told.unexpected_keys
    return theirs, ours


@pytest.mark.parametrize("size", [(64, 64), (75, 50)])
@torch.no_grad()
def test_encoder_with_torchvisions_weights_gives_its_features_on_all_five_scales(both_resnets, size):
    theirs, ours = both_resnets
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = [theirs.relu(theirs.bn1(theirs.conv1(image)))]
    x = theirs.maxpool(expected[0])
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        x = layer(x)
        expected.append(x)
    found = ours(image)
    assert [f.shape for f in found] == [e.shape for e in expected]
    for ours_here, theirs_here in zip(found, expected, strict=True):
        assert theirs_here.std() > 0
        assert torch.allclose(ours_here, theirs_here, rtol=1e-4, atol=1e-5)


def test_weights_of_a_resnet_of_another_depth_do_not_load():
    state = resnet34(weights=None).state_dict()
    state.pop("layer3.5.conv1.weight")
    encoder = ResNet34Encoder()
    with pytest.raises(RuntimeError, match=r"layer3\.5\.conv1\.weight"):
        encoder.load_state_dict(state)


# --- parameters, counted by hand


def convolution(inputs: int, outputs: int, side: int = 3, bias: bool = False) -> int:
    return side * side * inputs * outputs + bias * outputs


def test_papers_unet_has_the_parameters_of_its_figure():
    with torch.device("meta"):
        model = UNet(classes=2, in_channels=1, norm="none", padding="valid")
    left = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    bottom = [(512, 1024), (1024, 1024)]
    right = [(1024, 512), (512, 512), (512, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64)]
    ups = [(1024, 512), (512, 256), (256, 128), (128, 64)]
    total = sum(convolution(*c, bias=True) for c in left + bottom + right)
    total += sum(convolution(*c, side=2, bias=True) for c in ups) + convolution(64, 2, side=1, bias=True)
    assert count_parameters(model) == total


def test_lab_network_has_the_parameters_of_each_stage_of_the_figure():
    with torch.device("meta"):
        model = ResNet34UNet()
    # ResNet34 has 21,797,672 with its classifier for 1000 classes
    assert count_parameters(model.encoder) == 21_797_672 - (512 * 1000 + 1000)
    assert count_parameters(model.decoder.center) == convolution(512, 256) + 2 * 256
    cbam = convolution(32, 2, side=1) + convolution(2, 32, side=1) + convolution(2, 1, side=7)
    stages = [convolution(inputs, 32) + 2 * 32 + cbam for inputs in (768, 288, 160, 96, 32)]
    assert [count_parameters(stage) for stage in model.decoder.stages] == stages
    assert count_parameters(model.head) == 33
    assert count_parameters(model) == 21_284_672 + convolution(512, 256) + 512 + sum(stages) + 33


def test_batch_norm_takes_the_place_of_the_biases():
    plain, normed = (count_parameters(UNet(width=4, norm=norm)) for norm in ("none", "batch"))
    widths = [4, 8, 16, 32, 64, 32, 16, 8, 4]
    assert normed - plain == sum(2 * width for width in widths)  # two norms of 2 for two biases of 1


# --- UNet, written a second time


def functional_unet(w: dict, x: torch.Tensor, depth: int, up: str, padding: str, norm: str) -> torch.Tensor:
    """The UNet of figure 1 as plain function calls on a dictionary of weights."""

    def double(x, name):
        for i in (0, 3):
            if padding == "reflect":
                x = F.pad(x, (1, 1, 1, 1), mode="reflect")
            x = F.conv2d(x, w[f"{name}.{i}.weight"], w.get(f"{name}.{i}.bias"), padding=int(padding == "zeros"))
            n = f"{name}.{i + 1}"
            if norm == "batch":
                x = F.batch_norm(x, w[f"{n}.running_mean"], w[f"{n}.running_var"], w[f"{n}.weight"], w[f"{n}.bias"])
            if norm == "group":
                x = F.group_norm(x, x.shape[1] // 8, w[f"{n}.weight"], w[f"{n}.bias"])
            x = F.relu(x)
        return x

    kept = []
    for i in range(depth):
        x = double(x, f"encoder.{i}")
        kept.append(x)
        x = F.max_pool2d(x, 2)
    x = double(x, "bottleneck")
    for i in range(depth):
        if up == "interpolated":
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        elif up == "transposed":
            x = F.conv_transpose2d(x, w[f"ups.{i}.weight"], w[f"ups.{i}.bias"], stride=2)
        else:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = F.conv2d(x, w[f"ups.{i}.conv.weight"], w[f"ups.{i}.conv.bias"])
        skip = kept[-1 - i]
        if padding == "valid":
            top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
            skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        x = double(torch.cat([skip, x], 1), f"decoder.{i}")
    return F.conv2d(x, w["head.weight"], w["head.bias"])


@pytest.mark.parametrize("up", ["transposed", "bilinear", "interpolated"])
@pytest.mark.parametrize("padding", ["zeros", "reflect", "valid"])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@torch.no_grad()
def test_unet_is_the_one_written_a_second_time(up, padding, norm):
    torch.manual_seed(0)
    depth, size = (2, (60, 76)) if padding == "valid" else (4, (32, 48))
    model = with_lived_in_norms(UNet(classes=3, in_channels=2, width=8, depth=depth, up=up, padding=padding, norm=norm))
    image = torch.randn(2, 2, *size)
    expected = functional_unet(model.state_dict(), image, depth, up, padding, norm)
    assert expected.std() > 1e-3
    assert torch.allclose(model(image), expected, rtol=1e-4, atol=1e-5)


def test_papers_unpadded_unet_makes_388_of_572():
    with torch.device("meta"):
        model = UNet(classes=2, in_channels=1, norm="none", padding="valid")
        assert model(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@torch.no_grad()
def test_unpadded_unet_gives_the_middle_of_what_it_sees():
    """What lies further from a pixel than the crossed-off border does not change it."""
    torch.manual_seed(0)
    model = UNet(width=2, depth=2, norm="none", padding="valid").double().eval()
    image = torch.randn(1, 3, 92, 92, dtype=torch.float64)
    whole = model(image)
    lost = (92 - whole.shape[-1]) // 2
    part = model(image[..., 4:88, 4:88])  # 4 = 2^depth: the poolings meet the same pixels
    assert whole.shape[-1] == 92 - 2 * lost == 52
    assert torch.allclose(part, whole[..., 4:-4, 4:-4])


@torch.no_grad()
def test_convolution_before_and_after_bilinear_upsampling_is_the_same():
    torch.manual_seed(0)
    up, x = UpBilinear(6, 4), torch.randn(2, 6, 7, 5)
    after = up.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
    assert torch.allclose(up(x), after, atol=1e-5)


def test_join_repeats_the_pixel_that_pooling_cut_off():
    skip, x = torch.zeros(1, 1, 3, 5), torch.tensor([[[[1.0, 2, 3, 4], [5, 6, 7, 8]]]])
    joined = join(skip, x)
    assert joined[0, 1].tolist() == [[1, 2, 3, 4, 4], [5, 6, 7, 8, 8], [5, 6, 7, 8, 8]]
    assert joined[0, 0].tolist() == [[0] * 5] * 3


def test_join_takes_the_middle_of_a_larger_skip():
    skip = torch.arange(36.0).view(1, 1, 6, 6)
    joined = join(skip, torch.zeros(1, 1, 2, 2))
    assert joined[0, 0].tolist() == [[14, 15], [20, 21]]


@torch.no_grad()
def test_dropout_takes_whole_channels_of_the_bottleneck_and_only_in_training():
    torch.manual_seed(0)
    model, image = UNet(width=4, depth=2, dropout=0.5), torch.randn(2, 3, 32, 32)
    seen = []
    model.dropout.register_forward_hook(lambda module, given, x: seen.append((given[0], x)))
    model.train()(image)
    given, left = seen.pop()
    share = (left.flatten(2).abs().amax(2) > 0).float()
    whole = torch.where(share[:, :, None, None] > 0, given / 0.5, 0)
    assert 0 < share.mean() < 1
    assert torch.allclose(left, whole)
    model.eval()(image)
    assert torch.equal(*seen.pop())


# --- CBAM


@torch.no_grad()
def test_cbam_is_the_papers_formula():
    """Equations 2 and 3 of arXiv 1807.06521, image by image and with plain matrix products."""
    torch.manual_seed(0)
    cbam, x = CBAM(32, reduction=8, kernel_size=7), torch.randn(3, 32, 9, 11)
    first, second = cbam.channel[0].weight[:, :, 0, 0], cbam.channel[2].weight[:, :, 0, 0]
    for image, found in zip(x, cbam(x), strict=True):
        average, largest = image.flatten(1).mean(1), image.flatten(1).max(1).values
        channel = torch.sigmoid(second @ (first @ average).relu() + second @ (first @ largest).relu())
        refined = image * channel[:, None, None]
        pooled = F.pad(torch.stack([refined.mean(0), refined.max(0).values]), (3, 3, 3, 3))
        windows = pooled.unfold(1, 7, 1).unfold(2, 7, 1)
        spatial = torch.sigmoid(torch.einsum("chwij,cij->hw", windows, cbam.spatial.weight[0]))
        assert torch.allclose(found, refined * spatial, atol=1e-6)


# --- any size


@settings(max_examples=40)
@given(
    height=st.integers(32, 97),
    width=st.integers(32, 97),
    up=st.sampled_from(["transposed", "bilinear", "interpolated"]),
    padding=st.sampled_from(["zeros", "reflect"]),
    norm=st.sampled_from(["batch", "group", "none"]),
    depth=st.integers(1, 4),
    classes=st.integers(1, 3),
)
@torch.no_grad()
def test_unet_gives_logits_of_the_images_size(height, width, up, padding, norm, depth, classes):
    model = UNet(classes=classes, width=2, depth=depth, up=up, padding=padding, norm=norm).eval()
    logits = model(torch.randn(1, 3, height, width))
    assert logits.shape == (1, classes, height, width)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("decoder", ["lab", "unet"])
def test_resnet34_unet_gives_logits_of_the_images_size(decoder):
    model = ResNet34UNet(classes=2, decoder=decoder).eval()

    @settings(max_examples=20)
    @given(height=st.integers(32, 97), width=st.integers(32, 97))
    @torch.no_grad()
    def holds(height, width):
        logits = model(torch.randn(1, 3, height, width))
        assert logits.shape == (1, 2, height, width)
        assert torch.isfinite(logits).all()

    holds()


@torch.no_grad()
def test_lab_decoder_upsamples_skip_and_stage_together_as_it_would_apart():
    torch.manual_seed(0)
    model = with_lived_in_norms(ResNet34UNet())
    image = torch.randn(1, 3, 64, 96)
    features = model.encoder(image)

    def twice(x):
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    x = model.decoder.center(features[4])
    for stage, skip in zip(
        model.decoder.stages, (features[4], features[3], features[2], features[1], None), strict=True
    ):
        x = twice(x) if skip is None else torch.cat([twice(x), twice(skip)], 1)
        x = stage.cbam(stage.norm(F.relu(F.conv2d(x, stage.conv.weight, padding=1))))
    expected = F.conv2d(x, model.head.weight, model.head.bias)
    assert torch.allclose(model(image), expected, rtol=1e-4, atol=1e-5)


# --- learning

NETWORKS = [
    ("unet", {"width": 8}),
    ("unet", {"width": 8, "up": "bilinear", "norm": "group", "padding": "reflect"}),
    ("resnet34_unet", {"decoder": "lab"}),
    ("resnet34_unet", {"decoder": "unet"}),
]


@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
def test_network_overfits_one_batch_with_all_its_parameters(name, arguments):
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    centers = [(12, 10), (20, 16), (15, 22), (18, 12)]
    truth = torch.stack([((y - cy) ** 2 + (x - cx) ** 2 < 64).long() for cy, cx in centers])
    images = truth[:, None] * 0.8 + torch.randn(4, 3, 32, 32) * 0.3
    model = build_model(name, **arguments)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for step in range(150):
        loss = LOSSES["bce+dice"](model(images), truth)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            unused = [key for key, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
            assert not unused
        optimizer.step()
        if loss < 0.1:
            break
    assert loss < 0.1


# --- by name


def test_he_initialization_has_the_variance_of_the_paper():
    torch.manual_seed(0)
    model = build_model("unet", initialization="he", width=32, norm="none")
    for block in (model.encoder[1], model.decoder[2]):
        weight = block[3].weight
        assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * weight.shape[0])), rel=0.02)
        assert block[3].bias.abs().max() == 0


def test_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(LabError, match=r"'vgg'.*unet.*resnet34_unet"):
        build_model("vgg")


@pytest.mark.parametrize("width", [8, 12, 20, 24, 28])
@torch.no_grad()
def test_group_norm_takes_any_width(width):
    assert UNet(width=width, depth=1, norm="group")(torch.randn(1, 3, 8, 8)).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("wrong", [{"up": "x"}, {"norm": "x"}])
def test_a_variant_that_is_not_there_is_not_another_one_in_silence(wrong):
    with pytest.raises((KeyError, ValueError), match="x"):
        UNet(width=4, **wrong)


def test_a_mistyped_decoder_is_refused():
    with pytest.raises(LabError, match="decoder: found 'unett'"):
        build_model("resnet34_unet", decoder="unett")
