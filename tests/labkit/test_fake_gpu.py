"""Training, validation and prediction on a GPU that is not there: PyTorch's fake tensors know devices, not numbers.

They find a tensor that was left on the CPU; float64, which Apple's GPU lacks, is refused on top.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from labkit.analysis import Predictor
from labkit.data import batch_loader
from labkit.models import NETWORKS
from labkit.training import LOSSES, Recipe, Trainer, build_network, resolve, train_step, valid_scores
from labkit.training.loop import gradient_norm

pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available")  # it says so where it would cast
GPU = torch.device("cuda")


class NoFloat64(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cuda" and leaf.dtype == torch.float64:
                raise TypeError(f"{func} makes float64 on the GPU")
        return out


@pytest.fixture
def fake_gpu(monkeypatch):
    def moved(module: nn.Module, *_, **__) -> nn.Module:  # `Module.to` cannot swap fake tensors
        for part in module.modules():
            for tensors in (part._parameters, part._buffers):
                for name, value in tensors.items():
                    if value is not None:
                        there = value.detach().to(GPU)
                        tensors[name] = nn.Parameter(there) if isinstance(value, nn.Parameter) else there
        return module

    monkeypatch.setattr(nn.Module, "to", moved)
    for name in ("tolist", "item"):  # a fake tensor has no numbers to read; a DataLoader wants one for its seed
        monkeypatch.setattr(torch.Tensor, name, lambda tensor: np.zeros(tensor.shape, int).tolist())
    # PyTorch's own engine asks the GPU's driver; labkit has no backward pass of its own
    monkeypatch.setattr(torch.Tensor, "backward", lambda value: None)
    with FakeTensorMode(allow_non_fake_inputs=True), NoFloat64():
        yield


def gpu_recipe(pets, **tables) -> Recipe:
    """A recipe as `resolve` leaves it where there is a GPU."""
    augment = {"horizontal_flip": 0.5, "affine": 0.5, "rotate": 20, "elastic": 0.5, "brightness": 0.2}
    changes = {"data": {"image_size": 64, "augment": augment}, "model": {}, "training": {"batch_size": 4}}
    what = resolve(Recipe().changed(**{name: table | tables.get(name, {}) for name, table in changes.items()}), pets)
    return what.changed(training={"device": "cuda", "precision": "bfloat16"})


def step(trainer: Trainer) -> torch.Tensor:
    batch = next(iter(batch_loader(trainer.arrays, [trainer.train[:4]])))
    table = trainer.recipe.training
    images, masks = trainer.prepare(batch, trainer.recipe.data.augment, table.seed, 1)
    assert images.device.type == masks.device.type == "cuda"
    value, _ = train_step(trainer.parallel, images, masks, trainer.loss, table.precision)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert gradient_norm(trainer.model).device.type == "cuda"
    trainer.optimizer.step()
    return value


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_trains_validates_and_predicts_on_its_device(name, tiny_pets, fake_gpu):
    size = 96 if name == "encoder_unet" else 252 if name == "paper_unet" else 64
    what = gpu_recipe(tiny_pets, data={"image_size": size}, model={"name": name})
    trainer = Trainer(what, tiny_pets, build_network(what))
    assert step(trainer).device.type == "cuda"
    scores = valid_scores(trainer.model, trainer.arrays, trainer.valid, trainer.prepare, what, size // 2)
    assert scores.keys() == {"loss", "dice", "iou"}
    logits = Predictor(what, trainer.model, GPU, "bfloat16").image_logits(np.zeros((50, 40, 3), np.uint8))
    assert logits.device.type == "cuda"
    assert logits.shape == (1, 50, 40)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_stays_on_the_device(loss, tiny_pets, fake_gpu):
    what = gpu_recipe(tiny_pets, model={"width": 4, "depth": 2}, training={"loss": loss})
    assert step(Trainer(what, tiny_pets, build_network(what))).device.type == "cuda"


def test_a_tensor_left_on_the_cpu_is_found(tiny_pets, fake_gpu):
    what = gpu_recipe(tiny_pets, model={"width": 4, "depth": 2})
    trainer = Trainer(what, tiny_pets, build_network(what))
    trainer.prepare.mean = torch.zeros(1, 3, 1, 1)
    with pytest.raises(RuntimeError, match="device"):
        step(trainer)


def test_float64_on_the_device_is_found(tiny_pets, fake_gpu):
    what = gpu_recipe(tiny_pets, model={"width": 4, "depth": 2})
    trainer = Trainer(what, tiny_pets, build_network(what))
    trainer.loss = lambda logits, masks: logits.double().mean()
    with pytest.raises(TypeError, match="makes float64 on the GPU"):
        step(trainer)
