"""Sentences of the notebooks that rest on numbers, with the numbers of the committed networks and fixed seeds."""

import pytest
import torch
from torch import nn

from course.compression import STORAGES, agreement, compressed, fold_batch_norm
from course.probes import PlainBlock
from labkit import models
from labkit.analysis import Predictor, load_predictor, predict_batches
from labkit.data import open_pets
from labkit.training import committed_weights, open_run


def gradient_by_kernel(block):
    """Of ResNet34's 33 convolutions on the main way, before the first step."""
    net = models.ResNet34Encoder(block=block, width=16)
    deepest = net(torch.randn(8, 3, 128, 128))[-1]
    (deepest * torch.randn_like(deepest)).mean().backward()
    main = [m.weight for name, m in net.named_modules() if isinstance(m, nn.Conv2d) and "downsample" not in name]
    return torch.stack([weight.grad.norm() / weight.norm() for weight in main])


@pytest.mark.parametrize("seed", range(3))
def test_03_without_shortcuts_gradients_grow_towards_the_input_more_than_with_them(seed):
    torch.manual_seed(seed)
    plain, residual = gradient_by_kernel(PlainBlock), gradient_by_kernel(models.BasicBlock)
    assert plain.max() / plain.min() > 2 * residual.max() / residual.min() > 2
    assert plain[1:11].mean() > plain[11:22].mean() > plain[22:].mean()


@pytest.fixture(scope="module")
def predictor():
    return load_predictor(open_run(committed_weights("sample")), device="cpu", precision="float32")


def logits_of(predictor, network):
    pets = open_pets("sample")
    with_network = Predictor(predictor.recipe, network.eval(), predictor.device, "float32")
    return torch.cat([found for found, *_ in predict_batches(with_network, pets, pets.split("valid")[:40])])


def test_10_a_stored_network_gives_nearly_the_same_masks_and_float16_the_very_same(predictor):
    original = logits_of(predictor, predictor.model)
    for storage in STORAGES:
        found = agreement(original, logits_of(predictor, compressed(predictor.model, storage)))
        assert found.pixels > (0.99999 if storage in ("float32", "float16") else 0.98), storage


def test_10_folding_the_trained_network_moves_its_logits_by_rounding_only(predictor):
    original = logits_of(predictor, predictor.model)
    folded = logits_of(predictor, fold_batch_norm(predictor.model, size=64))
    assert (folded - original).abs().max() < 1e-3 * original.abs().max()
