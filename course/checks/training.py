"""Checks of notebook 04: losses, and a sigmoid too many."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course.checks.verdict import Check, Collected, Forbidden, as_array, call, expect, name_mistake, numbers

# --- cross-entropy

FAR = ((200.0, -200.0), (0.0, 1.0), (1.0, 0.0))
"""Two logits, the truths that they are wrong about, and those that they are right about."""


def _drawn(seed: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator)
    return logits, (torch.rand(shape, generator=generator) > 0.4).float()


def _collect_bce(student: Callable, seed: int) -> Collected:
    what, found = "bce_from_logits", {}
    for name, shape in (("row", (5,)), ("batch", (2, 7, 3))):
        with Forbidden(what, F.binary_cross_entropy_with_logits, F.binary_cross_entropy):
            given = as_array(call(student, *_drawn(seed, shape), what=what), what)
        expect(given.size == 1, f"{what}: one number is asked for, the mean over all pixels; found shape {given.shape}")
        found[name] = numbers(given, what, ())
    logits, wrong, right = (torch.tensor(values) for values in FAR)
    for name, truth in (("wrong side", wrong), ("right side", right)):
        found[name] = numbers(call(student, logits, truth, what=what), what, ())
    return found


def _judge_bce(arrays: Collected, seed: int) -> None:
    what, bce = "bce_from_logits", F.binary_cross_entropy_with_logits
    for name, shape in (("row", (5,)), ("batch", (2, 7, 3))):
        logits, truth = _drawn(seed, shape)
        mistakes = {
            "you took the sum over the pixels; take the mean": bce(logits, truth, reduction="sum"),
            "the sign is wrong; the loss is minus the log of the probability": -bce(logits, truth),
            "truth 0 and 1 are swapped": bce(logits, 1 - truth),
            "the sigmoid is applied twice; softplus takes the logit itself": bce(logits.sigmoid(), truth),
            "pixels of the background count for nothing; they have a term of their own": (
                truth * F.softplus(-logits)
            ).mean(),
        }
        otherwise = "other numbers come out for logits between -9 and 9; compare with the formula"
        name_mistake(what, arrays[name], bce(logits, truth), mistakes, otherwise)
    advice = "log(sigmoid(x)) in two steps overflows: use softplus, or log1p(exp(-|x|))"
    for name in ("wrong side", "right side"):
        finite = bool(np.isfinite(arrays[name]))
        expect(finite, f"{what}: not finite for logits of 200 and -200 on the {name}; {advice}")
    cut = "a probability was clamped, which ends the slope where the network is most wrong"
    expect(abs(arrays["wrong side"] - 200) < 1, f"{what}: too small for logits far out on the wrong side; {cut}")
    expect(abs(arrays["right side"]) < 1e-3, f"{what}: too large for logits far out on the right side")


bce_from_logits = Check("bce_from_logits", "right, and finite for every logit", _collect_bce, _judge_bce)

# --- Dice loss

Formula = Callable[[Tensor, Tensor], Tensor]


def _pooled(p: Tensor, t: Tensor, smooth: float = 1.0) -> Tensor:
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def _per_image(logits: Tensor, t: Tensor) -> Tensor:
    return torch.stack([_pooled(x.sigmoid(), y) for x, y in zip(logits, t, strict=True)]).mean()


def _iou(logits: Tensor, t: Tensor) -> Tensor:
    p = logits.sigmoid()
    both = (p * t).sum()
    return 1 - (both + 1) / (p.sum() + t.sum() - both + 1)


def _squared(logits: Tensor, t: Tensor) -> Tensor:
    p = logits.sigmoid()
    return 1 - (2 * (p * t).sum() + 1) / (p.square().sum() + t.square().sum() + 1)


DICE_MISTAKES: dict[str, Formula] = {
    "the sigmoid is missing; Dice takes probabilities": _pooled,
    "that is Dice; the loss is 1 minus it": lambda x, t: 1 - _pooled(x.sigmoid(), t),
    "each image has its own Dice here; the sums go over the whole batch": _per_image,
    "the masks were cut at one half; a mask has no slope, use the probabilities": lambda x, t: _pooled(
        (x > 0).float(), t
    ),
    "that is 1 minus IoU: twice what both have belongs above the line": _iou,
    "the squares below the line are another paper's form; here stand the sums": _squared,
    "the 1 above and below the line is missing": lambda x, t: _pooled(x.sigmoid(), t, 0.0),
    "the sigmoid is applied twice": lambda x, t: _pooled(x.sigmoid().sigmoid(), t),
    "the factor 2 above the line is missing": lambda x, t: (
        1 - ((x.sigmoid() * t).sum() + 1) / (x.sigmoid().sum() + t.sum() + 1)
    ),
}


def _pets(seed: int) -> tuple[Tensor, Tensor]:
    """Three images whose pets differ in size, so that a mean over images is not the pooled value."""
    logits, _ = _drawn(seed, (3, 6, 5))
    rows = torch.tensor([1, 3, 6])[:, None, None]
    return logits, (torch.arange(6)[None, :, None] < rows).float().expand(3, 6, 5).clone()


def _collect_dice(student: Callable, seed: int) -> Collected:
    what, (logits, truth) = "soft_dice_loss", _pets(seed)
    logits = logits.requires_grad_()
    value = call(student, logits, truth, what=what)
    expect(np.size(as_array(value, what)) == 1, f"{what}: one number is asked for, not one for each image")
    found = {"value": numbers(value, what, ()), "slope": np.array(np.nan)}
    if isinstance(value, Tensor) and value.requires_grad:
        found["slope"] = torch.autograd.grad(value.sum(), logits)[0].abs().max().numpy()
    empty = call(student, torch.full((2, 6, 5), -20.0), torch.zeros(2, 6, 5), what=what)
    return found | {"empty": numbers(empty, what, ())}


def _judge_dice(arrays: Collected, seed: int) -> None:
    what, (logits, truth) = "soft_dice_loss", _pets(seed)
    mistakes = {advice: formula(logits, truth) for advice, formula in DICE_MISTAKES.items()}
    otherwise = "another number comes out; compare with the formula, sum by sum"
    name_mistake(what, arrays["value"], _pooled(logits.sigmoid(), truth), mistakes, otherwise)
    no_slope = "no gradient reaches the logits; compute with tensors, without item(), detach() or a mask"
    expect(not np.isnan(arrays["slope"]) and arrays["slope"] > 0, f"{what}: {no_slope}")
    empty = "where no image has a pet and none is predicted the loss is 0; the 1 above and below sees to that"
    expect(abs(arrays["empty"]) < 1e-3, f"{what}: {empty}")


soft_dice_loss = Check("soft_dice_loss", "pooled over the batch, with a slope", _collect_dice, _judge_dice)

# --- report 003's second sigmoid


def _collect_one_sigmoid(student: Callable, seed: int) -> Collected:
    what, (logits, truth) = "loss_and_mask", _pets(seed)
    given = call(student, logits.requires_grad_(), truth, what=what)
    pair = isinstance(given, tuple | list) and len(given) == 2
    expect(pair, f"{what}: two things are expected, the loss and the mask")
    mask = as_array(given[1], what)
    expect(mask.shape == (3, 6, 5), f"{what}: the mask has the shape of the logits; found {[*mask.shape]}")
    loss = numbers(given[0], f"{what}, loss", ())
    learns = isinstance(given[0], Tensor) and given[0].requires_grad
    expect(learns, f"{what}, loss: no gradient reaches the logits; compute with tensors, without item() or detach()")
    slopes = torch.autograd.grad(given[0].sum(), logits)[0]
    return {"loss": loss, "mask": mask.astype(float), "slopes": slopes.numpy()}


def _judge_one_sigmoid(arrays: Collected, seed: int) -> None:
    what, (x, t) = "loss_and_mask", _pets(seed)
    bce, p = F.binary_cross_entropy_with_logits, x.sigmoid()
    mistakes = {
        "the loss still applies the sigmoid twice": bce(p, t) + _pooled(p, t),
        "the Dice loss gets logits now; it needs the sigmoid that the network has lost": bce(x, t) + _pooled(x, t),
        "now Dice loss has two sigmoids": bce(x, t) + _pooled(p.sigmoid(), t),
        "the Dice loss is gone; only the cross-entropy was at fault": bce(x, t),
        "the cross-entropy is gone": _pooled(p, t),
    }
    otherwise = "another number comes out than BCE on logits plus Dice loss on probabilities"
    name_mistake(f"{what}, loss", arrays["loss"], bce(x, t) + _pooled(p, t), mistakes, otherwise)
    cuts = {
        "logits are cut at 0.5 now; a probability of one half is a logit of 0": (x > 0.5).float(),
        "every sigmoid is above 0.5 where its argument is positive; a second one stands before the cut": torch.ones(
            3, 6, 5
        ),
        "the mask holds probabilities; cut them": p,
        "foreground and background are swapped": (x <= 0).float(),
    }
    name_mistake(f"{what}, mask", arrays["mask"], (x > 0).float(), cuts, "cut the probability at one half")
    x.requires_grad_()
    of_bce, of_dice = (torch.autograd.grad(loss, x)[0] for loss in (bce(x, t), _pooled(x.sigmoid(), t)))
    detached = {
        "no gradient comes from the Dice loss; is it computed without detach(), item() and masks?": of_bce,
        "no gradient comes from the cross-entropy; is it detached?": of_dice,
    }
    otherwise = "the value is right, its gradient is not"
    name_mistake(f"{what}, loss", arrays["slopes"], of_bce + of_dice, detached, otherwise, tolerance=1e-5)


loss_and_mask = Check("loss_and_mask", "one sigmoid, in each place", _collect_one_sigmoid, _judge_one_sigmoid)
