"""The checks of notebook 07 on classes: right answers pass however written, the usual wrong ones are named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course import checks
from labkit.metrics import class_counts, confusion_matrix, iou_score
from tests.course.refusals import failing, refuse

EXERCISES = (
    *("uniform_loss", "everything_pet", "pixel_cross_entropy", "confusion_table", "class_dice", "mean_iou"),
    *("constant_iou", "repaired_dice", "found_and_named", "split_by_group", "share_after_redraw"),
)


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("answer", [None, ..., "text", failing, lambda *_: None, lambda *_: torch.zeros(2, 3, 4)])
def test_nonsense_gets_a_sentence(name, answer):
    refuse(getattr(checks, name), answer, f"^{name}.*[a-z]")


# --- predictions


def test_predictions():
    for right in (1.0986, np.log(3), torch.tensor(1.1)):
        checks.uniform_loss(right)
    refuse(checks.uniform_loss, 0.333, "minus its logarithm")
    refuse(checks.uniform_loss, 1.585, "base 2")
    refuse(checks.uniform_loss, 0.477, "base 10")
    refuse(checks.uniform_loss, 0.693, "two classes")
    refuse(checks.uniform_loss, -1.1, "positive")
    for right in (0.46, 0.4615, 6 / 13):
        checks.everything_pet(right)
    refuse(checks.everything_pet, 0.3, "IoU")
    refuse(checks.everything_pet, 0.6, "numerator")
    refuse(checks.everything_pet, 0.23, "counts twice")


# --- cross-entropy


def by_log_softmax(logits, truth):
    kept = truth != 255
    return -logits.log_softmax(1).gather(1, torch.where(kept, truth, 0)[:, None])[:, 0][kept].mean()


def by_logsumexp(logits, truth):
    losses = [
        torch.logsumexp(logits[b, :, i, j], 0) - logits[b, truth[b, i, j], i, j]
        for b, i, j in (truth != 255).nonzero().tolist()
    ]
    return sum(losses) / len(losses)


def by_numpy(logits, truth):
    logits, truth = logits.numpy().transpose(0, 2, 3, 1), truth.numpy()
    logits, truth = logits[truth != 255], truth[truth != 255]
    logits = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), truth]).mean())


def two_steps(logits, truth):
    kept = truth != 255
    return -logits.softmax(1).gather(1, torch.where(kept, truth, 0)[:, None])[:, 0][kept].log().mean()


def torchs(logits, truth, **how):
    return F.nll_loss(logits.log_softmax(1), truth, ignore_index=255, **how)


@pytest.mark.parametrize("answer", [by_log_softmax, by_logsumexp, by_numpy, torchs])
def test_right_cross_entropies_pass(answer):
    checks.pixel_cross_entropy(answer)


def overflowing(logits, truth):
    kept = truth != 255
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -p.gather(1, torch.where(kept, truth, 0)[:, None])[:, 0][kept].log().mean()


def each_image(logits, truth):
    return sum(by_log_softmax(logits[[i]], truth[[i]]) for i in range(2)) / 2


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (overflowing, "overflows"),
        (two_steps, "surely wrong"),
        (lambda x, t: by_log_softmax(x.clamp(-20, 20), t), "another loss"),
        (lambda x, t: torchs(x, t, reduction="sum"), "the sum"),
        (lambda x, t: torchs(x, t, reduction="none").mean(), "in the number of pixels"),
        (lambda x, t: torchs(x, t * (t != 255)), "taken for background"),
        (lambda x, t: -by_log_softmax(x, t), "sign"),
        (lambda x, t: by_log_softmax(x, t) / np.log(2), "base 2"),
        (each_image, "by itself"),
        (lambda x, t: 2 * by_log_softmax(x, t), "another loss"),
        (lambda x, t: F.nll_loss(x.log_softmax(1), t), "IndexError|RuntimeError"),
        (lambda x, t: F.cross_entropy(x, t, ignore_index=255), "calls cross_entropy"),
        (lambda x, t: torch.nn.CrossEntropyLoss(ignore_index=255)(x, t), "calls cross_entropy"),
        *((lambda x, t, d=d: F.nll_loss(x.log_softmax(d), t, ignore_index=255), "over the classes") for d in (0, 2, 3)),
    ],
)
def test_wrong_cross_entropies_are_named(answer, advice):
    refuse(checks.pixel_cross_entropy, answer, advice)


# --- the confusion matrix


def table_by_loop(prediction, truth, classes):
    table = torch.zeros(classes, classes, dtype=torch.long)
    for t, p in zip(truth.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if t != 255:
            table[t, p] += 1
    return table


def table_by_masks(prediction, truth, classes):
    return [[int(((truth == t) & (prediction == p)).sum()) for p in range(classes)] for t in range(classes)]


@pytest.mark.parametrize("answer", [table_by_loop, table_by_masks, confusion_matrix])
def test_right_tables_pass(answer):
    checks.confusion_table(answer)


def counted(p, t, c, kept=lambda t: t != 255, **how):
    """Report 004's fast way, with one of its two guards left out."""
    p, t = p[kept(t)], t[kept(t)]
    return torch.bincount(t * c + p, **how).view(c, c)


def occurring(prediction, truth, classes):
    return table_by_loop(prediction, truth, classes)[:3, :3]


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda p, t, c: table_by_loop(p, t, c).T, "exchanged"),
        (lambda p, t, c: table_by_loop(p, t * (t != 255), c), "for background"),
        (lambda p, t, c: table_by_loop(p, t.clamp(max=c - 1), c), "in the last class"),
        (lambda p, t, c: table_by_loop(p, torch.where(t == 255, p, t), c), "counted as right"),
        (
            lambda p, t, c: table_by_loop(p, t, c) / table_by_loop(p, t, c).sum(1, keepdim=True).clamp(min=1),
            "of the rows",
        ),
        (lambda p, t, c: table_by_loop(p, t, c) / table_by_loop(p, t, c).sum(), "of all pixels"),
        (lambda p, t, c: table_by_loop(p[:1], t[:1], c), "first image"),
        (lambda p, t, c: 2 * table_by_loop(p, t, c), "of other pixels"),
        (occurring, "numbers of shape"),
        (
            lambda p, t, c: counted(p, t, c, kept=torch.isfinite, minlength=c * c),
            "fails only where the truth holds 255",
        ),
        (counted, "fails only where a class does not occur"),
        (lambda p, t, c: counted(p, t, c, kept=torch.isfinite), "with 255 out first, and give"),
        (lambda p, t, c: table_by_loop(p, t, c + 1 / 2), "failed with TypeError"),
    ],
)
def test_wrong_tables_are_named(answer, advice):
    refuse(checks.confusion_table, answer, advice)


# --- Dice of each class


def ratio(top, below, empty=np.nan):
    return np.array([t / b if b else empty for t, b in zip(top, below, strict=True)])


def dices(confusion, empty=np.nan):
    both, true, predicted = parts(confusion)
    return ratio(2 * both, true + predicted, empty)


@pytest.mark.parametrize(
    "answer", [dices, lambda c: 2 * c.diagonal() / (c.sum(0) + c.sum(1)), lambda c: dices(c.numpy()).tolist()]
)
def test_right_dices_of_classes_pass(answer):
    checks.class_dice(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda c: c.diagonal() / (c.sum(0) + c.sum(1) - c.diagonal()), "that is IoU"),
        (lambda c: c.diagonal() / c.sum(1), "recall"),
        (lambda c: c.diagonal() / c.sum(0), "precision"),
        (lambda c: c.diagonal() / (c.sum(0) + c.sum(1)), "twice the intersection"),
        (lambda c: (2 * c.diagonal() + 1) / (c.sum(0) + c.sum(1) + 1), "a 1 is added"),
        (lambda c: dices(c, 0.0), "found 0"),
        (lambda c: dices(c, 1.0), "found 1"),
        (lambda c: dices(c)[1:], "numbers of shape"),
        (lambda c: dices(c) + 0.01, "another Dice"),
    ],
)
def test_wrong_dices_of_classes_are_named(answer, advice):
    refuse(checks.class_dice, answer, advice)


# --- mean IoU


def parts(confusion):
    confusion = np.asarray(confusion, dtype=float)
    return np.diag(confusion), confusion.sum(1), confusion.sum(0)


def looped(confusion):
    scores = []
    for c in range(len(confusion)):
        union = sum(confusion[c]) + sum(row[c] for row in confusion) - confusion[c][c]
        if union > 0:
            scores.append(confusion[c][c] / union)
    return sum(scores) / len(scores)


def at_once(confusion):
    both, true, predicted = parts(confusion)
    with np.errstate(invalid="ignore"):
        return np.nanmean(both / (true + predicted - both))


def of_tensors(confusion):
    counts = class_counts(torch.as_tensor(confusion))
    return iou_score(counts)[counts[:, 1:].sum(1) > 0].mean()


@pytest.mark.parametrize("answer", [looped, at_once, of_tensors])
def test_right_means_pass(answer, capsys):
    checks.mean_iou(answer)
    assert "✓ mean_iou" in capsys.readouterr().out


def mean(top, below):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmean(top / below)


def unguarded(confusion):
    both, true, predicted = parts(confusion)
    with np.errstate(invalid="ignore"):
        return np.mean(both / (true + predicted - both))


def with_absent(value):
    def answer(confusion):
        both, true, predicted = parts(confusion)
        union = true + predicted - both
        return np.mean([b / u if u else value for b, u in zip(both, union, strict=True)])

    return answer


def of_true_classes(confusion):
    both, true, predicted = parts(confusion)
    kept = true > 0
    return np.mean(both[kept] / (true + predicted - both)[kept])


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda c: mean(2 * parts(c)[0], parts(c)[1] + parts(c)[2]), "mean Dice"),
        (lambda c: mean(parts(c)[0], parts(c)[1] + parts(c)[2]), "in both sums"),
        (lambda c: mean(*parts(c)[:2]), "mean recall"),
        (lambda c: mean(*parts(c)[::2]), "mean precision"),
        (lambda c: np.trace(np.asarray(c)) / int(c.sum()), "pixel accuracy"),
        (lambda c: np.trace(np.asarray(c)) / (2 * int(c.sum()) - np.trace(np.asarray(c))), "pooled into one"),
        (lambda c: at_once(c[1:, 1:]), "another mean"),
        (
            lambda c: np.mean(
                [*(b / (t + p - b) for b, t, p in zip(*(a[1:] for a in parts(c)), strict=True) if t + p)]
            ),
            "background is left out",
        ),
        (unguarded, "0 divided by 0"),
        (with_absent(0), "counted as 0"),
        (with_absent(1), "counted as 1"),
        (of_true_classes, "was predicted"),
        (lambda c: parts(c)[0], "one number"),
        (lambda c: ..., "replace the"),
    ],
)
def test_wrong_means_are_named(answer, advice):
    refuse(checks.mean_iou, answer, advice)
