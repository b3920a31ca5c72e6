"""Muon against PyTorch's own, which takes matrices only, against a singular value decomposition and against AdamW."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from benchmarks.muon import Muon
from course import VARIANTS, orthogonalized
from labkit.models import NETWORKS, UNet, build_model
from labkit.training import (
    LOSSES,
    OPTIMIZERS,
    Recipe,
    build_network,
    build_optimizer,
    build_schedule,
    parse_recipe,
    train_step,
)
from labkit.training.tables import TrainingTable


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 1, 1)
    )


def fill_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("shape", [(8, 36), (36, 8), (16, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_come_near_one_and_directions_stay(shape, dtype):
    torch.manual_seed(1)
    matrix = torch.randn(shape) @ torch.diag(torch.linspace(0.3, 3.0, shape[1]))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalized(matrix.to(dtype)).float()
    values = (u.T @ found @ v.T).diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.25
    off_diagonal = u.T @ found @ v.T - torch.diag(values)
    assert off_diagonal.abs().max() < 0.05


def test_a_convolution_steps_as_torchs_muon_steps_its_matrix():
    model = network()
    matrices = [nn.Parameter(model[i].weight.detach().flatten(1).clone()) for i in (2, 3)]
    ours = Muon(model, lr=0.01, weight_decay=0.1, dtype=torch.bfloat16)  # as PyTorch's own
    theirs = torch.optim.Muon(matrices, lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        fill_gradients(model, step)
        for matrix, i in zip(matrices, (2, 3), strict=True):
            matrix.grad = model[i].weight.grad.flatten(1).clone()
        ours.step()
        theirs.step()
    for matrix, i in zip(matrices, (2, 3), strict=True):
        torch.testing.assert_close(model[i].weight.flatten(1), matrix, rtol=1e-6, atol=1e-7)


def test_first_last_and_vectors_step_as_in_adamw():
    model, twin = network(), network()
    ours = Muon(model, lr=0.01, weight_decay=0.1)
    ends, vectors = [twin[0].weight, twin[4].weight], [p for p in twin.parameters() if p.ndim == 1]
    theirs = torch.optim.AdamW(
        [{"params": ends, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=0.01
    )
    for step in range(3):
        for net, optimizer in ((model, ours), (twin, theirs)):
            fill_gradients(net, step)
            optimizer.step()
    for name, p in twin.named_parameters():
        changed = dict(model.named_parameters())[name]
        if name not in ("2.weight", "3.weight"):
            torch.testing.assert_close(changed, p, msg=name)
        else:
            assert not torch.allclose(changed, p)


def test_memory_order_changes_nothing():
    models = [network(), network().to(memory_format=torch.channels_last)]
    for model in models:
        optimizer = Muon(model, lr=0.01)
        fill_gradients(model, 0)
        for p in model.parameters():
            p.grad = (
                p.grad.contiguous(memory_format=torch.channels_last) if p.ndim == 4 and model is models[1] else p.grad
            )
        optimizer.step()
    for one, other in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(one, other)


def test_a_saved_state_goes_on_to_the_bit():
    model = network()
    optimizer = Muon(model, lr=0.01, weight_decay=0.1)
    fill_gradients(model, 0)
    optimizer.step()
    twin, again = copy.deepcopy(model), None
    again = Muon(twin, lr=0.01, weight_decay=0.1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for net, one in ((model, optimizer), (twin, again)):
        fill_gradients(net, 1)
        one.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_parameter_without_a_gradient_stays():
    model = network()
    before = model[2].weight.detach().clone()
    fill_gradients(model, 0)
    model[2].weight.grad = None
    Muon(model, lr=0.01, weight_decay=0.1).step()
    assert torch.equal(model[2].weight, before)


def test_a_step_without_any_gradient_changes_nothing():
    model = network()
    before = copy.deepcopy(model.state_dict())
    Muon(model, lr=0.01, weight_decay=0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_recipe_names_it_and_every_schedule_drives_it():
    for schedule in ("constant", "cosine", "one-cycle"):
        text = f'[training]\noptimizer = "muon"\nschedule = "{schedule}"\nlearning_rate = 5e-3'
        table = parse_recipe(text, "test").training
        model = UNet(width=4, depth=1)
        optimizer = build_optimizer(model, table)
        driven = build_schedule(optimizer, table, 10)
        assert isinstance(optimizer, Muon)
        before = [p.detach().clone() for p in model.parameters()]
        for _ in range(2):
            model(torch.randn(2, 3, 16, 16)).square().mean().backward()
            optimizer.step()
            driven.step()
        assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        assert len({group["lr"] for group in optimizer.param_groups}) == 1


def test_momentum_is_not_cycled_with_the_rate():
    table = parse_recipe('[training]\noptimizer = "muon"\nschedule = "one-cycle"', "test").training
    optimizer = build_optimizer(network(), table)
    build_schedule(optimizer, table, 10)
    assert optimizer.momentum == 0.95


def test_a_closure_is_refused():
    with pytest.raises(TypeError):
        Muon(network(), lr=0.01).step(lambda: 0.0)


# --- which layer is which, and in which precision


@pytest.mark.parametrize("label", VARIANTS)
def test_hidden_layers_are_orthogonalized_and_not_the_one_on_the_image_nor_the_head(label):
    """The roles are read off a forward pass: what runs first sees the image, what runs last writes the logits."""
    with torch.device("meta"):
        model = build_model(**VARIANTS[label]).eval()
        ran, kinds = [], (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
        for module in model.modules():
            if isinstance(module, kinds):
                module.register_forward_hook(lambda module, *_: ran.append(module))
        model(torch.zeros(1, 3, 256, 256))
    orthogonal, plain, vectors = (group["params"] for group in Muon(model, lr=0.1).param_groups)
    first, head = ran[0].weight, ran[-1].weight
    assert first.shape[1] == 3
    matrices = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    tables = [p for name, p in matrices.items() if name.endswith("bias_table")]  # of a transformer's attention
    assert {*map(id, plain)} == {*map(id, (first, head, *tables))}
    assert {*map(id, orthogonal)} == {*map(id, matrices.values())} - {*map(id, plain)}
    assert {*map(id, vectors)} == {id(p) for p in model.parameters() if p.ndim <= 1}


SMALL = {
    "unet": {"width": 4, "depth": 2},
    "paper_unet": {"width": 4, "depth": 1},
    "attention_unet": {"width": 4, "depth": 2},
    "encoder_unet": {"encoder": "resnet18"},
}


class Kinds(TorchDispatchMode):
    """Notes the types of numbers that operations take and give."""

    def __init__(self):
        super().__init__()
        self.met = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = function(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, lambda tensor: self.met.add(tensor.dtype), (args, kwargs, given))
        return given


@pytest.mark.parametrize("name", NETWORKS)
def test_at_float32_no_step_of_any_network_and_optimizer_computes_in_bfloat16(name):
    what = Recipe().changed(model={"name": name, "classes": 1} | SMALL.get(name, {}))
    model = build_network(what).to(memory_format=torch.channels_last)
    images, masks = torch.randn(2, 3, 32, 32), torch.randint(0, 2, (2, 32, 32))
    with Kinds() as kinds:
        train_step(model, images, masks, LOSSES["bce+dice"], "float32")
        for optimizer in OPTIMIZERS:  # Muon, which takes it, is last
            build_optimizer(model, TrainingTable(optimizer=optimizer, precision="float32")).step()
            assert not kinds.met & {torch.bfloat16, torch.float16}, optimizer
    assert torch.float32 in kinds.met


def test_muon_computes_in_the_recipes_precision_and_auto_is_the_hardwares(monkeypatch):
    for fast in (True, False):
        monkeypatch.setattr("labkit.training.hardware.has_bfloat16", lambda _, fast=fast: fast)
        for precision, expected in {"auto": fast, "bfloat16": True, "float32": False}.items():
            table = TrainingTable(optimizer="muon", precision=precision)
            optimizer, kinds = build_optimizer(model := network(), table), Kinds()
            fill_gradients(model, 0)
            with kinds:
                optimizer.step()
            assert (torch.bfloat16 in kinds.met) == expected
