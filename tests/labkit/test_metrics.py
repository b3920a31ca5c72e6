import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.classification import (
    binary_f1_score,
    binary_jaccard_index,
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_jaccard_index,
)
from torchmetrics.functional.segmentation import dice_score as their_dice

from labkit.metrics import (
    IGNORED,
    class_counts,
    confusion_matrix,
    dice_score,
    foreground_logit,
    iou_score,
    mean_dice,
    mean_iou,
    overlap_counts,
    per_image,
    pixel_accuracy,
    pooled,
    predicted_mask,
    resize_logits,
    soft_dice,
)


def random_masks(classes: int = 2, count: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and truths of 17 x 23 pixels that have every class in them."""
    generator = torch.Generator().manual_seed(seed)
    prediction, truth = torch.randint(0, classes, (2, count, 17, 23), generator=generator)
    return prediction, torch.where(torch.rand(truth.shape, generator=generator) < 0.5, prediction, truth)


def one_row(*pixels: int) -> torch.Tensor:
    return torch.tensor([[pixels]])


# --- oracles


def test_dice_of_each_image_is_that_of_torchmetrics():
    prediction, truth = random_masks()
    ours = per_image(dice_score, overlap_counts(prediction, truth))
    theirs = their_dice(
        prediction, truth, num_classes=2, include_background=False, average="none", input_format="index"
    )
    assert torch.allclose(ours, theirs[:, 0].double(), atol=1e-6)
    f1 = [binary_f1_score(p, t).item() for p, t in zip(prediction, truth, strict=True)]
    assert ours.tolist() == pytest.approx(f1, abs=1e-6)


def test_iou_of_each_image_is_that_of_torchmetrics():
    prediction, truth = random_masks()
    theirs = [binary_jaccard_index(p, t).item() for p, t in zip(prediction, truth, strict=True)]
    assert per_image(iou_score, overlap_counts(prediction, truth)).tolist() == pytest.approx(theirs, abs=1e-6)


def test_dice_of_each_image_is_scikit_learns_f1():
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    prediction, truth = random_masks(seed=1)
    theirs = [f1_score(t.ravel().numpy(), p.ravel().numpy()) for p, t in zip(prediction, truth, strict=True)]
    assert per_image(dice_score, overlap_counts(prediction, truth)).tolist() == pytest.approx(theirs, abs=1e-12)


def test_pooled_scores_are_those_of_torchmetrics_over_all_pixels():
    prediction, truth = random_masks()
    counts = overlap_counts(prediction, truth)
    assert pooled(dice_score, counts) == pytest.approx(binary_f1_score(prediction, truth).item(), abs=1e-6)
    assert pooled(iou_score, counts) == pytest.approx(binary_jaccard_index(prediction, truth).item(), abs=1e-6)


def test_ignored_pixels_are_left_out_as_in_torchmetrics():
    prediction, truth = random_masks()
    truth[:, 3:9, 4:15] = IGNORED
    counts = overlap_counts(prediction, truth)
    dice = binary_f1_score(prediction, truth, ignore_index=IGNORED).item()
    iou = binary_jaccard_index(prediction, truth, ignore_index=IGNORED).item()
    assert pooled(dice_score, counts) == pytest.approx(dice, abs=1e-6)
    assert pooled(iou_score, counts) == pytest.approx(iou, abs=1e-6)


@pytest.mark.parametrize("classes", [3, 5])
def test_mean_over_classes_is_that_of_torchmetrics(classes):
    prediction, truth = random_masks(classes)
    counts = overlap_counts(prediction, truth, classes)
    assert counts.shape == (5, classes - 1, 3)
    arguments = {"num_classes": classes, "include_background": False, "input_format": "index"}
    samples = their_dice(prediction, truth, average="macro", **arguments)
    assert torch.allclose(per_image(dice_score, counts), samples.double(), atol=1e-6)
    whole = their_dice(prediction, truth, average="macro", aggregation_level="global", **arguments)
    assert pooled(dice_score, counts) == pytest.approx(whole.item(), abs=1e-6)
    jaccard = multiclass_jaccard_index(prediction, truth, classes, average="none")[1:]
    assert pooled(iou_score, counts) == pytest.approx(jaccard.mean().item(), abs=1e-6)


small_masks = arrays("int64", (2, 4, 5), elements=st.sampled_from([0, 1])).map(torch.from_numpy)


@given(prediction=small_masks, truth=small_masks)
def test_iou_follows_from_dice_and_both_are_symmetric(prediction, truth):
    counts = overlap_counts(prediction, truth)
    dice, iou = per_image(dice_score, counts), per_image(iou_score, counts)
    assert torch.allclose(iou, dice / (2 - dice))
    assert torch.equal(dice, per_image(dice_score, overlap_counts(truth, prediction)))
    assert ((dice >= 0) & (dice <= 1)).all()


# --- confusion of classes


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_confusion_matrix_is_that_of_torchmetrics_and_scikit_learn(classes):
    prediction, truth = random_masks(classes)
    truth[:, 3:9, 4:15] = IGNORED
    ours = confusion_matrix(prediction, truth, classes)
    assert torch.equal(ours, multiclass_confusion_matrix(prediction, truth, classes, ignore_index=IGNORED))
    kept = truth != IGNORED
    theirs = sklearn_metrics.confusion_matrix(truth[kept], prediction[kept], labels=range(classes))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_from_the_confusion_are_those_of_torchmetrics(classes):
    prediction, truth = random_masks(classes)
    confusion = confusion_matrix(prediction, truth, classes)
    counts, pair = class_counts(confusion), (prediction, truth, classes)
    assert iou_score(counts).tolist() == pytest.approx(multiclass_jaccard_index(*pair, average="none").tolist())
    assert dice_score(counts).tolist() == pytest.approx(multiclass_f1_score(*pair, average="none").tolist())
    assert mean_iou(confusion) == pytest.approx(multiclass_jaccard_index(*pair, average="macro").item())
    assert mean_dice(confusion) == pytest.approx(multiclass_f1_score(*pair, average="macro").item())
    assert pixel_accuracy(confusion) == pytest.approx(multiclass_accuracy(*pair, average="micro").item())


def test_means_leave_out_a_class_that_is_nowhere_as_scikit_learn_does():
    prediction, truth = random_masks(3)
    confusion = confusion_matrix(prediction, truth, 6)
    flat = truth.flatten(), prediction.flatten()  # scikit-learn takes the classes that it sees
    assert mean_iou(confusion) == pytest.approx(sklearn_metrics.jaccard_score(*flat, average="macro"))
    assert mean_dice(confusion) == pytest.approx(sklearn_metrics.f1_score(*flat, average="macro"))


def test_confusion_by_hand():
    truth, prediction = one_row(0, 0, 1, 2, 2, 2, IGNORED), one_row(0, 1, 1, 2, 2, 0, 1)
    confusion = confusion_matrix(prediction, truth, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert class_counts(confusion).tolist() == [[1, 2, 2], [1, 2, 1], [2, 2, 3]]
    assert pixel_accuracy(confusion) == pytest.approx(4 / 6)
    assert mean_iou(confusion) == pytest.approx((1 / 3 + 1 / 2 + 2 / 3) / 3)
    assert mean_dice(confusion) == pytest.approx((2 / 4 + 2 / 3 + 4 / 5) / 3)


class_masks = arrays("uint8", (3, 4, 5), elements=st.integers(0, 37)).map(torch.from_numpy)
holes = arrays("bool", (3, 4, 5)).map(torch.from_numpy)


@given(prediction=class_masks, truth=class_masks, hole=holes)
def test_confusions_add_up_turn_over_and_agree_with_the_counts_of_each_class(prediction, truth, hole):
    kept = truth.masked_fill(hole, IGNORED)  # 37 * 38 does not fit into the masks' uint8
    confusion = confusion_matrix(prediction, kept, 38)
    assert confusion.sum() == (~hole).sum()
    assert torch.equal(confusion, sum(confusion_matrix(p, t, 38) for p, t in zip(prediction, kept, strict=True)))
    assert torch.equal(confusion_matrix(truth, prediction, 38), confusion_matrix(prediction, truth, 38).T)
    counts = overlap_counts(prediction.long(), kept.long(), 38)
    assert torch.equal(class_counts(confusion)[1:], counts.sum(0))
    for score in (dice_score, iou_score):
        assert pooled(score, class_counts(confusion)[None, 1:]) == pooled(score, counts)


@given(truth=class_masks)
def test_a_perfect_prediction_has_a_diagonal_confusion_and_scores_1(truth):
    confusion = confusion_matrix(truth, truth, 38)
    assert torch.equal(confusion, torch.diag(confusion.diagonal()))
    assert pixel_accuracy(confusion) == mean_iou(confusion) == mean_dice(confusion) == 1


# --- by hand


def test_counts_by_hand():
    prediction, truth = one_row(1, 1, 1, 0, 0, 1), one_row(1, 0, 1, 1, 0, IGNORED)
    assert overlap_counts(prediction, truth).tolist() == [[[2, 3, 3]]]


@pytest.mark.parametrize(
    ("prediction", "truth", "dice", "iou"),
    [
        ((1, 1, 0, 0), (1, 1, 0, 0), 1, 1),
        ((1, 1, 0, 0), (0, 0, 1, 1), 0, 0),
        ((1, 1, 1, 0), (0, 1, 1, 1), 2 / 3, 1 / 2),
        ((1, 0, 0, 0), (1, 1, 1, 1), 2 / 5, 1 / 4),
        ((0, 0, 0, 0), (0, 0, 0, 0), 1, 1),  # both empty
        ((0, 1, 0, 0), (0, 0, 0, 0), 0, 0),  # empty truth
        ((0, 0, 0, 0), (0, 1, 1, 0), 0, 0),  # empty prediction
        ((1, 1, 0, 0), (1, 255, 0, 0), 1, 1),  # the only mistake is ignored
        ((1, 0, 0, 0), (255, 0, 0, 0), 1, 1),  # empty but for what is ignored
        ((1, 1, 1, 1), (255, 255, 255, 255), 1, 1),
    ],
)
def test_scores_by_hand(prediction, truth, dice, iou):
    counts = overlap_counts(one_row(*prediction), one_row(*truth))
    for average in (lambda score: per_image(score, counts).item(), lambda score: pooled(score, counts)):
        assert average(dice_score) == pytest.approx(dice)
        assert average(iou_score) == pytest.approx(iou)


def test_pooled_weighs_large_pets_more_than_per_image_does():
    truth = torch.tensor([[[1] * 8 + [0] * 2], [[1] * 2 + [0] * 8]])
    prediction = torch.tensor([[[1] * 8 + [0] * 2], [[0] * 2 + [1] * 2 + [0] * 6]])
    counts = overlap_counts(prediction, truth)
    assert per_image(dice_score, counts).tolist() == [1, 0]
    assert pooled(dice_score, counts) == pytest.approx(2 * 8 / (10 + 10))
    assert pooled(iou_score, counts) == pytest.approx(8 / 12)


def test_class_that_is_nowhere_in_an_image_does_not_count_there():
    truth, prediction = one_row(0, 1, 1, 0), one_row(0, 1, 0, 0)
    dice = per_image(dice_score, overlap_counts(prediction, truth, classes=3)).item()
    assert dice == pytest.approx(2 / 3)  # class 1 alone; class 2 is neither there nor predicted


def test_wrongly_predicted_class_counts_zero():
    truth, prediction = one_row(0, 1, 1, 0), one_row(2, 1, 1, 0)
    dice = per_image(dice_score, overlap_counts(prediction, truth, classes=3)).item()
    assert dice == pytest.approx((1 + 0) / 2)


def test_large_pictures_are_counted_exactly():
    full = torch.ones(1, 5000, 5000, dtype=torch.int64)  # more pixels than float32 can count
    truth = full.clone()
    truth[0, 0, 0] = 0
    assert overlap_counts(full, truth).tolist() == [[[24_999_999, 25_000_000, 24_999_999]]]


# --- logits to masks


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_mask_is_where_the_probability_is_above_the_threshold(threshold):
    logits = torch.randn(3, 1, 9, 7, generator=torch.Generator().manual_seed(0)) * 2
    assert torch.equal(predicted_mask(logits, threshold), (logits[:, 0].sigmoid() > threshold).long())


def test_probability_of_exactly_the_threshold_is_background():
    assert predicted_mask(torch.zeros(1, 1, 2, 2)).sum() == 0


def test_two_channels_cut_at_one_half_are_the_larger_of_the_two():
    logits = torch.randn(3, 2, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(predicted_mask(logits), logits.argmax(1))
    assert torch.equal(predicted_mask(logits, 0.7), (logits.softmax(1)[:, 1] > 0.7).long())


def test_foreground_logit_of_two_channels_gives_their_softmax():
    logits = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(foreground_logit(logits).sigmoid(), logits.softmax(1)[:, 1], atol=1e-6)


def test_several_channels_give_the_most_probable_class():
    logits = torch.tensor([[[[1.0]], [[3.0]], [[2.0]]]])
    assert predicted_mask(logits).item() == 1


def test_logits_are_resized_bilinearly_and_only_then_cut():
    logits = torch.tensor([[[[-1.0, 3.0], [-1.0, 3.0]]]])
    big = resize_logits(logits, (2, 4))
    assert big[0, 0, 0].tolist() == pytest.approx([-1, 0, 2, 3])  # pixel centers lie at -1/4, 1/4, 3/4, 5/4
    assert predicted_mask(big)[0, 0].tolist() == [0, 0, 1, 1]
    assert torch.allclose(big, F.interpolate(logits, (2, 4), mode="bilinear", align_corners=False))


def test_logits_of_the_right_size_stay_as_they_are():
    logits = torch.randn(1, 1, 6, 4)
    assert torch.equal(resize_logits(logits, (6, 4)), logits)


# --- soft Dice


def test_soft_dice_by_hand():
    logits = torch.tensor([0.8, 0.6, 0.3, 0.1]).logit().view(1, 1, 1, 4)
    truth = one_row(1, 0, 1, 0)
    assert soft_dice(logits, truth).item() == pytest.approx(2 * (0.8 + 0.3) / (1.8 + 2))
    assert soft_dice(logits, truth, smooth=1).item() == pytest.approx((2 * 1.1 + 1) / (1.8 + 2 + 1))


def test_soft_dice_is_pooled_over_the_batch():
    logits = torch.tensor([[0.9, 0.9], [0.2, 0.1]]).logit().view(2, 1, 1, 2)
    truth = torch.tensor([[[1, 1]], [[1, 0]]])
    assert soft_dice(logits, truth).item() == pytest.approx(2 * (0.9 + 0.9 + 0.2) / (2.1 + 3))


def test_soft_dice_leaves_ignored_pixels_out():
    logits = torch.tensor([0.8, 0.6, 0.3, 0.1]).logit().view(1, 1, 1, 4)
    assert soft_dice(logits, one_row(1, IGNORED, IGNORED, 0)).item() == pytest.approx(2 * 0.8 / (0.9 + 1))


def test_soft_dice_of_several_classes_is_the_mean_over_all_but_the_background():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])  # a row a pixel
    logits = probabilities.log().T.reshape(1, 3, 1, 3)
    truth = one_row(0, 1, 2)
    by_hand = (2 * 0.8 / (1.3 + 1) + 2 * 0.4 / (0.6 + 1)) / 2
    assert soft_dice(logits, truth).item() == pytest.approx(by_hand)


def test_soft_dice_of_two_channels_is_that_of_their_difference():
    logits = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(4))
    truth = torch.randint(0, 2, (2, 6, 6), generator=torch.Generator().manual_seed(5))
    assert torch.allclose(soft_dice(logits, truth), soft_dice(foreground_logit(logits)[:, None], truth))


@settings(max_examples=30)
@given(prediction=small_masks, truth=small_masks)
def test_soft_dice_of_certain_logits_is_the_pooled_dice(prediction, truth):
    if not (prediction.any() or truth.any()):
        prediction[0, 0, 0] = 1
    logits = (prediction.float() * 2 - 1)[:, None] * 100
    hard = pooled(dice_score, overlap_counts(prediction, truth))
    assert math.isclose(soft_dice(logits, truth).item(), hard, abs_tol=1e-6)


def test_pooled_scores_leave_out_a_class_that_is_nowhere():
    prediction, truth = torch.tensor([[[1, 1, 0, 0]]]), torch.tensor([[[1, 0, 0, 0]]])
    counts = overlap_counts(prediction, truth, classes=3)
    assert pooled(dice_score, counts) == pytest.approx(2 / 3)
    assert pooled(dice_score, counts) == per_image(dice_score, counts).item()
