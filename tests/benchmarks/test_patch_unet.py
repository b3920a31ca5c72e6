"""PatchUNet against its own forward pass written a second time, and against what its pieces promise."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.patch_unet import PatchUNet
from labkit.errors import LabError
from labkit.models import count_parameters
from labkit.training import build_network, parse_recipe


def written_again(model: PatchUNet, x: torch.Tensor) -> torch.Tensor:
    """The same network as plain function calls on its weights, for two stages of one block each, in evaluation."""
    w = dict(model.named_parameters()) | dict(model.named_buffers())

    def norm(x, name):
        return F.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"]
        )

    def block(x, name, stride):
        shortcut = x
        if stride > 1:
            shortcut = norm(F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
        y = F.relu(norm(F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
        return F.relu(norm(F.conv2d(y, w[f"{name}.conv2.weight"], padding=1), f"{name}.bn2") + shortcut)

    stem = F.relu(norm(F.conv2d(x, w["stem.0.weight"], stride=4, padding=1), "stem.1"))
    fine = block(stem, "encoder.0.0", 1)
    coarse = F.conv2d(block(fine, "encoder.1.0", 2), w["decoder.0.lateral.weight"])
    raised = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    raised = F.relu(norm(F.conv2d(fine + raised, w["decoder.0.conv.weight"], padding=1), "decoder.0.norm"))
    cells = F.conv2d(raised, w["head.weight"], w["head.bias"])  # [B, 16, h, w]: 4 x 4 pixels of each patch
    rows = cells.unflatten(1, (4, 4)).permute(0, 3, 1, 4, 2)  # B, h, row in patch, w, column in patch
    return rows.reshape(len(x), 1, x.shape[-2], x.shape[-1])


@torch.no_grad()
def test_the_forward_pass_is_its_pieces():
    torch.manual_seed(0)
    model = PatchUNet(widths=(6, 10), blocks=(1, 1), patch=4)
    for _ in range(2):
        model(torch.randn(4, 3, 32, 32))  # running statistics other than 0 and 1
    x = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(model.eval()(x), written_again(model, x), rtol=1e-4, atol=1e-5)


def test_parameters_by_hand():
    stem = 4 * 4 * 3 * 32 + 2 * 32
    first = 2 * (9 * 32 * 32 + 2 * 32)
    deeper = sum(9 * a * b + 9 * b * b + a * b + 6 * b for a, b in ((32, 64), (64, 128), (128, 256)))
    up = sum(below * skip + 9 * skip * skip + 2 * skip for below, skip in ((256, 128), (128, 64), (64, 32)))
    head = 32 * 4 + 4
    assert count_parameters(PatchUNet()) == stem + first + deeper + up + head


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (4, 5), (66, 35)])
@pytest.mark.parametrize(("patch", "classes"), [(4, 1), (2, 3)])
def test_logits_have_the_image_size_whatever_it_is(height, width, patch, classes):
    model = PatchUNet(classes=classes, widths=(4, 6, 8), blocks=(1, 2, 1), patch=patch).eval()
    assert model(torch.randn(1, 3, height, width)).shape == (1, classes, height, width)


def test_rows_that_fill_no_patch_repeat_the_last_one():
    model = PatchUNet(widths=(4, 6), blocks=(1, 1), patch=4).eval()
    logits = model(torch.randn(1, 3, 34, 33))
    assert torch.equal(logits[:, :, 32:], logits[:, :, 31:32].expand(-1, -1, 2, -1))
    assert torch.equal(logits[..., 32], logits[..., 31])


def test_one_number_of_blocks_for_each_stage():
    with pytest.raises(ValueError, match="3 widths and 2 blocks"):
        PatchUNet(widths=(4, 6, 8), blocks=(1, 1))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("widths = [16, 32]", "2 widths and 4 blocks"),
        ("widths = [0, 8]", "greater than or equal to 1"),
        ("widths = []\nblocks = []", "at least 1 item"),
    ],
)
def test_arguments_that_make_no_network_are_one_sentence(arguments, complaint):
    with pytest.raises(LabError, match=complaint):
        build_network(parse_recipe(f'[model]\nname = "patch_unet"\n{arguments}\n', "mine.toml"))
