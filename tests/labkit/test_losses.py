import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from labkit.metrics import IGNORED, iou_score, overlap_counts
from labkit.training import LOSSES, bce, cross_entropy, dice_loss, focal, lovasz, parse_recipe, tversky

ANY = ["dice", "focal", "tversky", "lovasz", "focal+dice"]
BINARY = ["bce", "bce+dice", *ANY]
SEVERAL = ["cross-entropy", "cross-entropy+dice", *ANY]


def drawn(channels: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, channels, 8, 9, generator=generator)
    return logits, torch.randint(0, classes, (3, 8, 9), generator=generator)


def test_every_loss_is_tested_here():
    assert set(LOSSES) == set(BINARY) | set(SEVERAL)


def test_bce_is_torchs():
    logits, truth = drawn(1, 2)
    assert torch.allclose(bce(logits, truth), F.binary_cross_entropy_with_logits(logits[:, 0], truth.float()))


def test_bce_leaves_ignored_pixels_out():
    logits, truth = drawn(1, 2)
    truth[0, 2:5] = IGNORED
    kept = truth != IGNORED
    expected = F.binary_cross_entropy_with_logits(logits[:, 0][kept], truth[kept].float())
    assert torch.allclose(bce(logits, truth), expected)


@pytest.mark.parametrize("classes", [2, 4])
def test_cross_entropy_is_torchs_over_the_kept_pixels(classes):
    logits, truth = drawn(classes, classes)
    truth[1, :, 3:6] = IGNORED
    kept = truth != IGNORED
    expected = F.cross_entropy(logits.permute(0, 2, 3, 1)[kept], truth[kept])
    assert torch.allclose(cross_entropy(logits, truth), expected)


def test_cross_entropy_of_two_channels_is_bce_of_their_difference():
    logits, truth = drawn(2, 2)
    assert torch.allclose(cross_entropy(logits, truth), bce(logits[:, 1:] - logits[:, :1], truth), atol=1e-6)


def test_dice_loss_by_hand():
    logits = torch.tensor([0.8, 0.6, 0.3, 0.1]).logit().view(1, 1, 1, 4)
    truth = torch.tensor([[[1, 0, 1, IGNORED]]])
    assert dice_loss(logits, truth).item() == pytest.approx(1 - (2 * 1.1 + 1) / (1.7 + 2 + 1))


# --- focal, Tversky, Lovasz


def test_focal_is_torchvisions_over_the_kept_pixels():
    logits, truth = drawn(1, 2)
    truth[0, 2:5] = IGNORED
    kept = truth != IGNORED
    expected = sigmoid_focal_loss(logits[:, 0][kept], truth[kept].float(), alpha=-1, gamma=2, reduction="mean")
    assert torch.allclose(focal(logits, truth), expected, atol=1e-6)


def test_focal_of_two_channels_is_that_of_their_difference_and_without_gamma_cross_entropy():
    logits, truth = drawn(2, 2)
    assert torch.allclose(focal(logits, truth), focal(logits[:, 1:] - logits[:, :1], truth), atol=1e-6)
    logits, truth = drawn(4, 4)
    truth[1, :, 3:6] = IGNORED
    assert torch.allclose(focal(logits, truth, gamma=0), cross_entropy(logits, truth))
    assert focal(logits, truth) < 0.9 * cross_entropy(logits, truth)


@pytest.mark.parametrize("channels", [1, 3])
def test_tversky_of_equal_weights_is_dice(channels):
    logits, truth = drawn(channels, max(2, channels))
    truth[1, :, 3:6] = IGNORED
    assert torch.allclose(tversky(logits, truth, alpha=0.5, beta=0.5), dice_loss(logits, truth))


def test_tversky_by_hand_punishes_a_missed_pixel_more_than_an_extra_one():
    logits = torch.tensor([0.8, 0.6, 0.3, 0.1]).logit().view(1, 1, 1, 4)
    truth = torch.tensor([[[1, 0, 1, IGNORED]]])
    found, extra, missed = 0.8 + 0.3, 0.6, 0.2 + 0.7
    expected = 1 - (2 * found + 1) / (2 * (found + 0.3 * extra + 0.7 * missed) + 1)
    assert tversky(logits, truth).item() == pytest.approx(expected)


def lovasz_by_definition(errors: list[float], true: list[int]) -> float:
    """The integral over t > 0 of 1 - IoU when the pixels with an error above t are wrong (Bach, 2013, section 3.1)."""
    total, before = 0.0, 0.0
    for level in sorted(set(errors)):
        wrong = {i for i, error in enumerate(errors) if error > before}
        foreground = {i for i, value in enumerate(true) if value}
        predicted = foreground ^ wrong
        union = foreground | predicted
        iou = len(foreground & predicted) / len(union) if union else 1.0
        total, before = total + (level - before) * (1 - iou), level
    return total


PIXELS = st.lists(st.tuples(st.floats(-3, 3, width=16), st.sampled_from([0, 1, IGNORED])), min_size=1, max_size=9)


@given(PIXELS)
def test_lovasz_of_one_channel_is_the_extension_of_1_minus_iou_by_its_definition(pixels):
    known = [(logit, truth) for logit, truth in pixels if truth != IGNORED]
    errors = [max(0.0, 1 - logit * (1 if truth else -1)) for logit, truth in known]
    logits, truth = (torch.tensor(column)[None, None] for column in zip(*pixels, strict=True))
    found = lovasz(logits[:, None].float(), truth).item()
    assert found == pytest.approx(lovasz_by_definition(errors, [t for _, t in known]), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_of_several_channels_is_the_mean_of_its_definition_over_the_classes_that_occur(seed):
    logits, truth = drawn(4, 3, seed)  # the fourth class never occurs
    truth[:, 2:5, 1:7] = IGNORED
    known = truth != IGNORED
    probabilities = logits.softmax(1).transpose(0, 1)
    values = []
    for index in range(3):
        true = truth[known] == index
        errors = (true.float() - probabilities[index][known]).abs()
        values.append(lovasz_by_definition(errors.tolist(), true.tolist()))
    assert lovasz(logits, truth).item() == pytest.approx(sum(values) / 3, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_lovasz_of_hard_predictions_is_1_minus_iou(seed):
    logits, truth = drawn(2, 2, seed)
    truth[:, 0] = IGNORED
    hard = torch.where(logits == logits.amax(1, keepdim=True), 1e4, 0.0)
    counts = torch.stack(
        [overlap_counts(hard.argmax(1) ^ flip, torch.where(truth > 1, truth, truth ^ flip)) for flip in (0, 1)]
    ).sum(1)[:, 0]  # foreground, and background as foreground
    assert lovasz(hard, truth).item() == pytest.approx(1 - iou_score(counts).mean().item(), abs=1e-6)
    sides = hard[:, 1:].sign() * 2 - 1  # a hinge of 2 at each wrong pixel, of 0 at each right one
    assert lovasz(sides, truth).item() == pytest.approx(2 * (1 - iou_score(counts[0]).item()), abs=1e-6)


@pytest.mark.parametrize("loss", ANY)
@pytest.mark.parametrize(("target", "names"), [("foreground", "ab"), ("trimap", "abc"), ("breed", range(38))])
def test_losses_that_are_not_named_for_a_head_take_any_target(loss, target, names):
    def recipe(more: str = ""):
        return parse_recipe(f'[data]\ntarget = "{target}"\n[model]\n{more}\n[training]\nloss = "{loss}"', "mine")

    assert recipe().resolved_classes(tuple(names)) == (1 if len(names) == 2 else len(names))
    assert recipe(f"classes = {len(names)}").resolved_classes(tuple(names)) == len(names)


# --- all of them


@pytest.mark.parametrize("name", ["bce+dice", "cross-entropy+dice", "focal+dice"])
def test_sums_are_the_sums_of_their_parts(name):
    logits, truth = drawn(1 if "bce" in name else 3, 2 if "bce" in name else 3)
    parts = [LOSSES[part](logits, truth) for part in name.split("+")]
    assert torch.allclose(LOSSES[name](logits, truth), sum(parts))


CASES = [(name, 1) for name in BINARY] + [(name, 3) for name in SEVERAL]


@pytest.mark.parametrize("value", [0, 1, IGNORED])
@pytest.mark.parametrize(("name", "channels"), CASES)
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_gradients_are_finite_whatever_the_mask(name, channels, value, scale):
    """All background, all pet, all ignored; with unsure and with very sure logits."""
    logits = (drawn(channels, 2)[0] * scale).requires_grad_()
    loss = LOSSES[name](logits, torch.full((3, 8, 9), value))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("name", "channels"), CASES)
def test_gradient_is_zero_at_ignored_pixels_and_not_elsewhere(name, channels):
    logits, truth = drawn(channels, max(2, channels))
    truth[:, 2:5, 1:7] = IGNORED
    logits.requires_grad_()
    LOSSES[name](logits, truth).backward()
    moved = logits.grad.abs().sum(1) > 0
    if name == "lovasz":  # it also leaves alone what changes no order of errors, or is right by the hinge's margin
        assert moved.any()
        assert not moved[truth == IGNORED].any()
    else:
        assert torch.equal(moved, truth != IGNORED)


@pytest.mark.parametrize(("name", "channels"), CASES)
def test_loss_falls_when_the_truth_gets_more_probable(name, channels):
    _, truth = drawn(channels, max(2, channels))
    right = (truth * 2.0 - 1)[:, None] if channels == 1 else F.one_hot(truth, channels).permute(0, 3, 1, 2).float()
    surenesses = (-3, 0, 0.5, 30) if name == "lovasz" else (-3, 0, 3, 30)  # a hinge is content with 1
    losses = [LOSSES[name](right * sureness, truth).item() for sureness in surenesses]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 4
    assert losses[-1] < 1e-3


@pytest.mark.parametrize(("name", "channels"), CASES)
def test_bfloat16_logits_are_summed_in_float32(name, channels):
    logits, truth = drawn(channels, max(2, channels))
    half = logits.bfloat16()
    value = LOSSES[name](half, truth)
    assert value.dtype == torch.float32
    assert torch.equal(value, LOSSES[name](half.float(), truth))
