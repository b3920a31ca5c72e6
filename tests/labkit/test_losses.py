import pytest
import torch
import torch.nn.functional as F

from labkit.metrics import IGNORED
from labkit.training import LOSSES, bce, cross_entropy, dice_loss

BINARY = ["bce", "dice", "bce+dice"]
SEVERAL = ["cross-entropy", "dice", "cross-entropy+dice"]


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


@pytest.mark.parametrize("name", ["bce+dice", "cross-entropy+dice"])
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
    assert torch.equal(moved, truth != IGNORED)


@pytest.mark.parametrize(("name", "channels"), CASES)
def test_loss_falls_when_the_truth_gets_more_probable(name, channels):
    _, truth = drawn(channels, max(2, channels))
    right = (truth * 2.0 - 1)[:, None] if channels == 1 else F.one_hot(truth, channels).permute(0, 3, 1, 2).float()
    losses = [LOSSES[name](right * sureness, truth).item() for sureness in (-3, 0, 3, 30)]
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
