"""The checks of notebook 05 accept right answers however written, name the usual wrong ones, and bear nonsense."""

import copy
import csv
import io

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from scipy import stats
from sklearn.calibration import calibration_curve

from course import checks
from tests.course.refusals import failing, refuse

SEEDS = (0, 1, 7)
EXERCISES = (
    *("two_means", "false_alarm", "image_scores", "bootstrap_interval", "best_threshold", "calibration_error"),
    *("report_dices", "mask_runs", "decoded_mask", "hand_in"),
)


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("answer", [None, ..., "text", failing, lambda *_: None, lambda *_: np.zeros((2, 3, 4))])
def test_nonsense_gets_a_sentence(name, answer):
    refuse(getattr(checks, name), answer, f"^{name}.*[a-z]")


def test_a_notebook_shows_the_sentence_and_no_line_of_the_check(capsys):
    shell = InteractiveShell()
    shell.user_ns["checks"] = checks
    shell.run_cell("checks.false_alarm(0.3)")
    shown = "".join(capsys.readouterr())
    assert "WrongAnswer: false_alarm" in shown
    assert "0.95" not in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_has_two_halves(name):
    check = getattr(checks, name)
    assert callable(check.collect)
    assert callable(check.judge)


# --- predictions


def test_predictions():
    checks.two_means((0.5, 0.947))
    checks.two_means([0.5, 1800 / 1900])
    checks.two_means(np.array([0.5, 0.95]))
    refuse(checks.two_means, (0.947, 0.5), "swapped")
    refuse(checks.two_means, (0.5, 0.9), "share of the pet's pixels")
    refuse(checks.two_means, (0.9, 0.947), "counts the same")
    refuse(checks.two_means, 0.5, "two numbers")
    for right in (0.537, 1 - 0.95**15, torch.tensor(0.54)):
        checks.false_alarm(right)
    refuse(checks.false_alarm, 0.75, "add up only")
    refuse(checks.false_alarm, 0.463, "none of them")
    refuse(checks.false_alarm, 0.05, "one comparison")


# --- the evaluation loop


def dice(both, size):
    return np.where(size > 0, 2 * both / np.maximum(size, 1), 1.0)


def scores(network, batches, cut=0.0, mode="eval", gradients=False, after=True, empty=1.0, iou=False, smooth=0):
    was, found = network.training, []
    network.train(mode == "train")
    with torch.set_grad_enabled(gradients):
        for images, masks in batches:
            predicted, true = network(images)[:, 0] > cut, masks == 1
            both, size = (predicted & true).sum((1, 2)), predicted.sum((1, 2)) + true.sum((1, 2))
            size = size - both if iou else size
            value = ((1 if iou else 2) * both + smooth) / (size + smooth).clamp(min=1)
            found += torch.where(size > 0, value, empty).tolist()
    network.train(was if after else False)
    return found


def of_a_copy(network, batches):
    network = copy.deepcopy(network).eval()
    return scores(network, batches)


def always_training(network, batches):
    found = scores(network, batches)
    network.train()
    return found


def switched_off(network, batches):
    found = scores(network, batches)
    torch.set_grad_enabled(False)
    return found


def test_traces_of_an_evaluation_are_named():
    checks.image_scores(of_a_copy)
    refuse(checks.image_scores, always_training, "remember network.training")
    try:
        refuse(checks.image_scores, switched_off, "use a with block")
    finally:
        torch.set_grad_enabled(True)


def looped_scores(network, batches):
    was = network.training
    network.eval()
    found = []
    with torch.inference_mode():
        for images, masks in batches:
            for logits, mask in zip(network(images), masks, strict=True):
                p, t = (torch.sigmoid(logits[0]) > 0.5).numpy(), mask.numpy().astype(bool)
                found.append(2 * (p & t).sum() / (p.sum() + t.sum()) if p.any() or t.any() else 1.0)
    network.train(was)
    return np.array(found)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "answer", [scores, looped_scores, lambda n, b: torch.tensor(scores(n, b)), lambda n, b: tuple(scores(n, b))]
)
def test_right_evaluation_loops_pass(answer, seed):
    checks.image_scores(answer, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"mode": "train"}, "training mode, where batch norm"),
        ({"gradients": True}, "graph for gradients"),
        ({"cut": 0.5}, "cut at 0.5"),
        ({"iou": True}, "IoU"),
        ({"smooth": 1}, "a 1 is added"),
        ({"empty": 0.0}, "counts 1"),
        ({"empty": float("nan")}, "0 divided by 0"),
        ({"after": False}, "left in evaluation mode"),
        ({"cut": -0.4}, "first that differs"),
    ],
)
def test_wrong_evaluation_loops_are_named(changes, advice, seed):
    refuse(checks.image_scores, lambda n, b: scores(n, b, **changes), advice, seed)


def test_a_mean_over_batches_is_not_one_number_an_image():
    refuse(checks.image_scores, lambda n, b: np.mean(scores(n, b)), "7 in all")
    refuse(checks.image_scores, lambda n, b: [np.mean(scores(n, b[i : i + 1])) for i in range(3)], "7 in all")


# --- the bootstrap


def drawn_means(first, second, resamples, paired=True):
    rng = np.random.default_rng(123)
    index = rng.integers(0, len(first), (resamples, len(first)))
    other = index if paired else rng.integers(0, len(first), (resamples, len(first)))
    return first[index].mean(1) - second[other].mean(1)


def scipy_interval(first, second, resamples):
    found = stats.bootstrap((first - second,), np.mean, n_resamples=resamples, rng=5, method="percentile")
    return found.confidence_interval


def looped_interval(first, second, resamples):
    draw, means = np.random.default_rng(99), []
    for _ in range(resamples):
        rows = draw.choice(len(first), len(first))
        means.append(np.mean(first[rows] - second[rows]))
    return sorted(means)[int(0.025 * resamples)], sorted(means)[int(0.975 * resamples)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "answer",
    [scipy_interval, looped_interval, lambda a, b, n: np.percentile(drawn_means(a, b, n), [2.5, 97.5])],
)
def test_right_bootstraps_pass(answer, seed):
    checks.bootstrap_interval(answer, seed)


def by_formula(difference):
    reach = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return difference.mean() - reach, difference.mean() + reach


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda a, b, n: np.percentile(drawn_means(a, b, n, paired=False), [2.5, 97.5]), "unpaired"),
        (lambda a, b, n: np.percentile(drawn_means(a, b, n), [97.5, 2.5]), "swapped"),
        (lambda a, b, n: np.percentile(drawn_means(b, a, n), [2.5, 97.5]), "sign is turned"),
        (lambda a, b, n: np.percentile(drawn_means(a, b, n), [5, 95]), "90 %"),
        (lambda a, b, n: np.percentile(a - b, [2.5, 97.5]), "single images"),
        (lambda a, b, n: np.percentile(drawn_means(a, b, n), [0.025, 0.975]), "np.quantile"),
        (lambda a, b, n: ((a - b).mean(), (a - b).mean()), "with replacement"),
        (lambda a, b, n: by_formula(a - b), "with a single drawing"),
        (lambda a, b, n: (0.0, 1.0), "neither the middle nor the width"),
    ],
)
def test_wrong_bootstraps_are_named(answer, advice, seed):
    refuse(checks.bootstrap_interval, answer, advice, seed)


# --- the threshold


def chooser(measure, pick=np.argmax):
    def answer(probabilities, truths, thresholds):
        return thresholds[pick([measure((probabilities > cut).astype(int), truths) for cut in thresholds])]

    return answer


def mean_dice(p, t):
    return dice((p * t).sum((1, 2)), p.sum((1, 2)) + t.sum((1, 2))).mean()


def mean_iou(p, t):
    both = (p * t).sum((1, 2))
    return (both / np.maximum(p.sum((1, 2)) + t.sum((1, 2)) - both, 1)).mean()


def torch_chooser(probabilities, truths, thresholds):
    p, t = torch.from_numpy(probabilities), torch.from_numpy(truths)
    masks = p[None] > torch.from_numpy(thresholds).view(-1, 1, 1, 1)
    both, size = (masks & (t == 1)).sum((2, 3)), masks.sum((2, 3)) + t.sum((1, 2))
    return float(thresholds[(2 * both / size).mean(1).argmax()])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "answer",
    [chooser(mean_dice), torch_chooser, lambda p, t, c: max(c, key=lambda cut: mean_dice((p >= cut).astype(int), t))],
)
def test_right_thresholds_pass(answer, seed):
    checks.best_threshold(answer, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (chooser(lambda p, t: (p * t).sum() / (p.sum() + t.sum())), "chosen by pooled Dice"),
        (chooser(lambda p, t: (p == t).mean()), "chosen by accuracy"),
        (chooser(mean_iou), "chosen by the mean IoU"),
        (chooser(mean_dice, np.argmin), "worst threshold"),
        (lambda p, t, c: max(mean_dice((p > cut).astype(int), t) for cut in c), "the best Dice, not"),
        (lambda p, t, c: int(np.argmax([mean_dice((p > cut).astype(int), t) for cut in c])), "that is the index"),
        (lambda p, t, c: 0.5, "always 0.5"),
    ],
)
def test_wrong_thresholds_are_named(answer, advice, seed):
    refuse(checks.best_threshold, answer, advice, seed)


# --- calibration


def ece(p, t, bins, weigh=True, edges=np.less_equal, gap=np.abs):
    total = 0.0
    for i in range(bins):
        held = (p >= i / bins) & ((p < (i + 1) / bins) | (edges(p, 1) & (i == bins - 1)))
        if held.any():
            total += (held.mean() if weigh else 1 / bins) * gap(p[held].mean() - t[held].mean())
    return total


def sklearn_ece(p, t, bins):
    share, confidence = calibration_curve(t, p, n_bins=bins)
    place = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p), 0, bins - 1)
    return np.abs(share - confidence) @ np.unique(place, return_counts=True)[1] / len(p)


def counted_ece(p, t, bins):
    place = torch.from_numpy(p * bins).long().clamp(max=bins - 1)
    sums = torch.zeros(bins, dtype=torch.float64).index_add(0, place, torch.from_numpy(p - t))
    return sums.abs().sum() / len(p)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("answer", [ece, sklearn_ece, counted_ece])
def test_right_calibration_errors_pass(answer, seed):
    checks.calibration_error(answer, seed)


def gaps_of(p, t, bins):
    held = [np.minimum((p * bins).astype(int), bins - 1) == i for i in range(bins)]
    return [abs(p[h].mean() - t[h].mean()) for h in held if h.any()]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda p, t, n: np.mean(gaps_of(p, t, n)), "every bin counts the same"),
        (lambda p, t, n: max(gaps_of(p, t, n)), "MCE"),
        (lambda p, t, n: ece(p, t, n, edges=np.less), "exactly 1 falls out"),
        (lambda p, t, n: ece(p[p < 1], t[p < 1], n), "exactly 1 is left out"),
        (lambda p, t, n: np.abs(p - t).mean(), "its own truth"),
        (lambda p, t, n: np.mean((p - t) ** 2), "Brier"),
        (lambda p, t, n: abs(np.mean(p - t)), "cancel"),
        (lambda p, t, n: ece(np.maximum(p, 1 - p), (p > 0.5) == t, n), "how sure the decision is"),
        (lambda p, t, n: ece(p, (p > 0.5) == t, n), "share of right decisions"),
        (lambda p, t, n: 0.5, "two pixels"),
        (lambda p, t, n: float("nan"), "0 divided by 0"),
    ],
)
def test_wrong_calibration_errors_are_named(answer, advice, seed):
    refuse(checks.calibration_error, answer, advice, seed)


# --- the reports' definitions


def report_dices(p, t, size, **changes):
    hard = (p > 0.5).astype(int)
    images = dice((hard * t).sum((1, 2)), hard.sum((1, 2)) + t.sum((1, 2)))
    cuts = [slice(i, i + size) for i in range(0, len(p), size)]
    pool = [2 * (hard[c] * t[c]).sum() / (hard[c].sum() + t[c].sum()) for c in cuts]
    soft = [2 * (p[c] * t[c]).sum() / (p[c].sum() + t[c].sum()) for c in cuts]
    right = {
        "000": np.mean([images[c].mean() for c in cuts]),
        "001": np.sort(images)[-2:].mean(),
        "002": np.mean(pool),
        "003": np.mean(soft),
    }
    return right | {key: wrong(p, t, hard, images) for key, wrong in changes.items()}


def fours(p):
    return [slice(i, i + 4) for i in range(0, len(p), 4)]


def smoothed(p, t):
    axes = tuple(range(1, p.ndim))
    return (2 * (p * t).sum(axes) + 1) / (p.sum(axes) + t.sum(axes) + 1)


def torch_dices(p, t, size):
    found = report_dices(p, t, size)
    return {key: torch.tensor(value) for key, value in found.items()} | {"note": "extra"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "answer", [report_dices, torch_dices, lambda p, t, n: {k: [v] for k, v in report_dices(p, t, n).items()}]
)
def test_right_report_dices_pass(answer, seed):
    checks.report_dices(answer, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("report", "wrong", "advice"),
    [
        ("000", lambda p, t, h, i: i.mean(), "plain mean"),
        ("001", lambda p, t, h, i: i.max(), "best image alone"),
        ("001", lambda p, t, h, i: i[:2].mean(), "first two"),
        ("002", lambda p, t, h, i: 2 * (h * t).sum() / (h.sum() + t.sum()), "report 002: that pools all images"),
        ("002", lambda p, t, h, i: np.mean([i[:4].mean(), i[4:8].mean(), i[8:].mean()]), "each image's Dice"),
        ("003", lambda p, t, h, i: 2 * (p * t).sum() / (p.sum() + t.sum()), "report 003: that pools all images"),
        ("000", lambda p, t, h, i: np.mean([smoothed(h, t)[c].mean() for c in fours(p)]), "a 1 is added"),
        ("002", lambda p, t, h, i: np.mean([smoothed(h[c][None], t[c][None])[0] for c in fours(p)]), "a 1 is added"),
        ("003", lambda p, t, h, i: np.mean([smoothed(p[c][None], t[c][None])[0] for c in fours(p)]), "a 1 is added"),
        ("003", lambda p, t, h, i: (2 * (p * t).sum((1, 2)) / (p + t).sum((1, 2))).mean(), "soft per image"),
    ],
)
def test_wrong_report_dices_are_named(report, wrong, advice, seed):
    refuse(checks.report_dices, lambda p, t, n: report_dices(p, t, n, **{report: wrong}), advice, seed)


def test_a_missing_report_is_named():
    refuse(checks.report_dices, lambda p, t, n: {"000": 1.0, "001": 1.0}, "no entry '002', '003'")


# --- run lengths


def looped_runs(mask, order="F", first=1):
    runs, length = [], 0
    flat = list(mask.flatten(order=order))
    for index, value in enumerate([*flat, 0]):
        if value:
            length += 1
        elif length:
            runs.append((index - length + first, length))
            length = 0
    return runs


def diff_runs(mask):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel().astype(int), [0]]))) + 1
    return list(zip(edges[::2], edges[1::2] - edges[::2], strict=True))


def column_runs(mask):
    parts = [looped_runs(mask[:, [column]]) for column in range(mask.shape[1])]
    return [(start + column * len(mask), length) for column, runs in enumerate(parts) for start, length in runs]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "answer", [looped_runs, diff_runs, lambda m: np.array(looped_runs(m)), lambda m: torch.tensor(diff_runs(m))]
)
def test_right_runs_pass(answer, seed):
    checks.mask_runs(answer, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda m: looped_runs(m, first=0), "counted from 1, not from 0"),
        (lambda m: looped_runs(m, order="C"), "row by row; go down"),
        (lambda m: looped_runs(m, order="C", first=0), "row by row and counted from 0"),
        (lambda m: [(s, s + n - 1) for s, n in looped_runs(m)], "not start and end"),
        (lambda m: [(s, s + n) for s, n in looped_runs(m)], "the pixel after"),
        (lambda m: looped_runs(1 - m), "background"),
        (column_runs, "goes on in the next column"),
        (lambda m: [r for r in looped_runs(m) if sum(r) <= m.size], "reaches the last pixel is lost"),
        (lambda m: [(1, 1)], "another list"),
    ],
)
def test_wrong_runs_are_named(answer, advice, seed):
    refuse(checks.mask_runs, answer, advice, seed)


def decoded(text, height, width, order="F", first=1):
    flat = np.zeros(height * width + 1, dtype=int)
    numbers = [int(number) for number in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - first : start - first + length] = 1
    return flat[: height * width].reshape(height, width, order=order)


def torch_decoded(text, height, width):
    return torch.from_numpy(decoded(text, width, height, order="C").T.copy())


@pytest.mark.parametrize("seed", SEEDS)
def test_right_decoders_pass_and_wrong_ones_are_named(seed):
    for right in (decoded, torch_decoded, lambda t, h, w: decoded(t, h, w).astype(bool)):
        checks.decoded_mask(right, seed)
    refuse(checks.decoded_mask, lambda t, h, w: decoded(t, h, w, order="C"), "row by row", seed)
    refuse(
        checks.decoded_mask, lambda t, h, w: np.roll(decoded(t, h, w).T.ravel(), 1).reshape(w, h).T, "too late", seed
    )
    refuse(checks.decoded_mask, lambda t, h, w: 1 - decoded(t, h, w), "exchanged", seed)
    refuse(checks.decoded_mask, lambda t, h, w: decoded(t, h, w).T, "rows and", seed)


def text_of(mask):
    return " ".join(f"{start} {length}" for start, length in looped_runs(mask))


def file_of(masks, header="image_id,encoded_mask", line=lambda name, mask: f"{name},{text_of(mask)}"):
    return "\n".join([header, *(line(name, mask) for name, mask in masks.items())]) + "\n"


def csv_file(masks):
    file = io.StringIO()
    csv.writer(file).writerows([("image_id", "encoded_mask"), *((n, text_of(m)) for n, m in masks.items())])
    return file.getvalue()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("answer", [file_of, csv_file, lambda masks: file_of(masks).rstrip("\n")])
def test_right_files_pass(answer, seed):
    checks.hand_in(answer, seed)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda masks: file_of(masks, header="id,mask"), "not the header"),
        (lambda masks: file_of(masks, line=lambda n, m: f"{n},{text_of(m).replace(' ', ',')}"), "two are asked for"),
        (lambda masks: file_of({n: m for n, m in masks.items() if m.any()}), "empty mask is left out"),
        (lambda masks: file_of(masks, line=lambda n, m: f"{n}.jpg,{text_of(m)}"), "no line for"),
        (
            lambda masks: file_of(masks, line=lambda n, m: f"{n},{looped_runs(m)!r}".replace(",", " ", 9)),
            "fields|numbers",
        ),
        (lambda masks: file_of(masks, line=lambda n, m: f"{n},{text_of(m.T)}"), "the mask is read row by row"),
        (lambda masks: file_of(masks, line=lambda n, m: f"{n},{text_of(1 - m)}"), "runs of the background"),
        (lambda masks: file_of(masks, line=lambda n, m: f"{n},{text_of(m)[2:]}"), "a start and a length"),
        (lambda masks: file_of(masks, line=lambda n, m: f"{n},{text_of(m) and '9 9'}"), "does not hold its runs"),
        (lambda masks: file_of(dict(reversed(masks.items()))), "order of the images"),
        (lambda masks: masks, "text of the file"),
    ],
)
def test_wrong_files_are_named(answer, advice):
    refuse(checks.hand_in, answer, advice)
