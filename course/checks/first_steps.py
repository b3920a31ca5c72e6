"""Checks of notebook 02 on a network's first steps: He's weights, one batch learned by heart."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake
from labkit import models

# --- He's weights

KERNELS = ((24, 40, (3, 3)), (32, 8, (5, 5)), (30, 48, (1, 5)))
"""Channels in and out, and sides: neither the channels nor the two ways to count are alike."""


def _collect_he(student: Callable, seed: int) -> Collected:
    weights = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for i, o, k in KERNELS:
            conv = nn.Conv2d(i, o, k, bias=False)
            nn.init.constant_(conv.weight, 0.1)  # scaling what is there draws nothing
            call(student, conv, what="he_weights")
            expect(conv.weight.shape == (o, i, *k), "he_weights: the shape of the weight has changed")
            drawn = "the weights are all alike still: draw them anew, in place, in the module that is given"
            expect(bool(conv.weight.std() > 1e-6), f"he_weights: {drawn}")
            weights[f"{i} to {o}"] = as_array(conv.weight, "he_weights").astype(np.float64)
    return weights


def _judge_he(arrays: Collected, seed: int) -> None:
    what = "he_weights"
    expect(all(abs(w.mean()) < 0.2 * w.std() + 1e-12 for w in arrays.values()), f"{what}: their mean is not 0")
    deviations = np.array(
        [w.std() * np.sqrt(i * math.prod(k)) for w, (i, _, k) in zip(arrays.values(), KERNELS, strict=True)]
    )
    wrong = {
        "that is still PyTorch's default: a = sqrt(5) stands for a leaky ReLU that hardly bends": lambda i, o, k: 1 / 3,
        "n counts the outputs here (fan_out), which keeps the gradient's size; count the inputs": lambda i, o, k: (
            2 * i / o
        ),
        "that keeps the size of a linear chain; the ReLU takes away one half": lambda i, o, k: 1.0,
        "n is the number of products in one output: channels times kernel pixels": lambda i, o, k: 2.0 * math.prod(k),
        "that is inputs and outputs averaged (Xavier)": lambda i, o, k: 2 * i / (i + o),
        "2 / n is the variance; the deviation is its square root": lambda i, o, k: 4 / (i * math.prod(k)),
        "a kernel need not be a square, nor 3 x 3: take both of its sides": lambda i, o, k: (
            2 * math.prod(k) / k[0] ** 2
        ),
        "a kernel need not be 3 x 3: take both of its sides": lambda i, o, k: 2 * math.prod(k) / 9,
        "a uniform draw from -b to b has the variance b^2 / 3": lambda i, o, k: 2 / 3,
    }
    mistakes = {advice: [factor(*kernel) ** 0.5 for kernel in KERNELS] for advice, factor in wrong.items()}
    hint = "the variance of the weights is neither PyTorch's nor He's; measure conv.weight.var() and n"
    name_mistake(what, deviations, [2**0.5] * len(KERNELS), mistakes, hint, tolerance=0.06)


he_weights = Check("he_weights", "the signal keeps its size", _collect_he, _judge_he)

# --- one batch learned by heart

STEPS = 5


def _one_batch(seed: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images, masks = torch.randn(3, 3, 16, 16), (torch.rand(3, 16, 16) > 0.6).long()
        return models.UNet(width=2, depth=2), images, masks


def _losses(seed: int, rate=0.01, clear=True, prepare=lambda logits: logits, training=True, sgd=False) -> np.ndarray:
    net, images, masks = _one_batch(seed)
    optimizer = (torch.optim.SGD if sgd else torch.optim.Adam)(net.train(training).parameters(), lr=rate)
    losses = []
    for _ in range(STEPS):
        loss = F.binary_cross_entropy_with_logits(prepare(net(images)[:, 0]), masks.float())
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def _collect_overfit(student: Callable, seed: int) -> Collected:
    what, (net, images, masks) = "overfit", _one_batch(seed)
    before = torch.cat([p.detach().flatten() for p in net.parameters()]).clone()
    losses = as_array(call(student, net, images, masks, STEPS, what=what), what)
    after = torch.cat([p.detach().flatten() for p in net.parameters()])
    return {"losses": losses, "moved": np.array(not torch.equal(before, after))}


def _judge_overfit(arrays: Collected, seed: int) -> None:
    what, losses = "overfit", arrays["losses"]
    expect(losses.dtype.kind == "f" and losses.ndim == 1, f"{what}: a list of losses is expected, one a step")
    expect(bool(arrays["moved"]), f"{what}: no weight has moved; is optimizer.step() called, and loss.backward()?")
    right = _losses(seed)
    expect(len(losses) == STEPS, f"{what}: {STEPS} steps were asked for, {len(losses)} losses came back")
    mistakes = {
        "gradients of earlier steps add up: optimizer.zero_grad() is missing": _losses(seed, clear=False),
        "a sigmoid comes twice: the loss with logits has one of its own": _losses(seed, prepare=torch.sigmoid),
        "the network was in evaluation mode, where batch norm takes its running averages": _losses(
            seed, training=False
        ),
        "the learning rate is 0.001, Adam's default": _losses(seed, rate=0.001),
        "that is SGD, not Adam": _losses(seed, sgd=True),
    }
    first = int(np.argmax(~np.isclose(losses, right, atol=1e-3)))
    once = "already the first loss is another: is it the mean cross-entropy of the logits and masks, before the step?"
    later = f"the first losses are right, that of step {first + 1} is not: is it one Adam, with 0.01, for all steps?"
    hint = later if first else once
    name_mistake(what, losses, right, mistakes, hint, tolerance=1e-3)


overfit = Check("overfit", "the loop of every training", _collect_overfit, _judge_overfit)
