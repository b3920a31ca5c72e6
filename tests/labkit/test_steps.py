"""What a step costs and leaves: fused optimizers, gradient norms, numbers that stay on the device, early stopping."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from labkit.data import batch_indices
from labkit.errors import LabError
from labkit.training import (
    LOSSES,
    Trainer,
    build_network,
    build_optimizer,
    epochs,
    loop,
    open_run,
    parse_recipe,
    resolve,
    train_step,
    valid_scores,
)
from labkit.training.loop import gradient_norm
from labkit.training.runs import load_checkpoint, save_checkpoint
from labkit.training.tables import TrainingTable
from tests.labkit.test_training import recipe, trained, weights

# --- optimizers


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "radam"])
def test_fused_steps_are_those_of_the_plain_optimizer(name):
    """PyTorch's loop over single tensors is the oracle; weights in channels-last, as they are trained."""
    table, kinds = TrainingTable(optimizer=name, learning_rate=0.05, weight_decay=0.1), torch.optim
    kind = {"sgd": kinds.SGD, "adam": kinds.Adam, "adamw": kinds.AdamW, "radam": kinds.RAdam}[name]
    torch.manual_seed(0)
    ours = build_network(resolved()).to(memory_format=torch.channels_last)
    plain = build_network(resolved()).to(memory_format=torch.channels_last)
    plain.load_state_dict(ours.state_dict())
    optimizer = build_optimizer(ours, table)
    momentum = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    oracle = kind(plain.parameters(), lr=0.05, weight_decay=0.1, foreach=False, **momentum)
    images, masks = torch.randn(2, 3, 32, 32), torch.randint(0, 2, (2, 32, 32))
    for _ in range(3):
        for network, steps in ((ours, optimizer), (plain, oracle)):
            network.eval()  # without dropout
            train_step(network, images.contiguous(memory_format=torch.channels_last), masks, LOSSES["bce"], "float32")
            steps.step()
            steps.zero_grad()
    assert bool(optimizer.defaults.get("fused")) == (name != "radam")
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def resolved():
    return recipe().changed(model={"classes": 1})


def test_a_checkpoint_of_an_older_optimizer_setting_is_taken_up(tiny_pets, tmp_path):
    """Runs that began before the steps were fused go on."""
    what, run = recipe(), tmp_path / "run"
    records = epochs(what, tiny_pets, run, device="cpu")
    next(records)
    records.close()
    state = load_checkpoint(run / "last.pt")
    for group in state["optimizer"]["param_groups"]:
        group |= {"fused": None, "foreach": True}
    old = [line for line in state["recipe"].splitlines() if not line.startswith(("patience", "compile"))]
    state["recipe"] = "\n".join(old)
    save_checkpoint(run / "last.pt", state)
    assert [epoch.epoch for epoch in trained(what, tiny_pets, run, resume=True)] == [2, 3, 4]


# --- the training's own Dice


class Bar(list):
    """As tqdm's, where a terminal is."""

    disable = False

    def set_postfix_str(self, text, refresh):
        self.shown = [*getattr(self, "shown", []), text]


def test_training_dice_is_that_of_validation_where_nothing_differs(tiny_pets):
    """Images as they are, no batch norm or dropout, a learning rate that moves nothing: one number, two ways."""
    still = {"model": {"norm": "none", "dropout": 0.0}, "data": {"augment": {"horizontal_flip": 0.0, "affine": 0.0}}}
    what = resolve(recipe(**still, training={"learning_rate": 1e-12, "batch_size": 5}), tiny_pets, "cpu")
    trainer, bars = Trainer(what, tiny_pets, build_network(what)), []
    batches = batch_indices(trainer.train, 5, seed=0, epoch=1)
    steps = trainer.epoch(batches, 1, 32, lambda items, _: bars.append(Bar(items)) or bars[0])
    expected = valid_scores(trainer.model, trainer.arrays, trainer.train, trainer.prepare, what, 32)
    assert 0 < expected["dice"] < 1
    assert steps.dice == pytest.approx(expected["dice"], abs=1e-5)
    first = valid_scores(trainer.model, trainer.arrays, batches[0], trainer.prepare, what, 32)
    assert bars[0].shown == [f"loss {first['loss']:.4f}, Dice {first['dice']:.4f}"]  # of each tenth step


# --- gradient norms


def test_gradient_norm_is_that_of_one_long_vector():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 1))
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    model[1].bias.grad = None  # one that takes no part
    vector = np.concatenate([p.grad.numpy().ravel() for p in model.parameters() if p.grad is not None])
    assert gradient_norm(model).item() == pytest.approx(np.linalg.norm(vector.astype(np.float64)), rel=1e-5)


def test_norms_are_taken_after_the_batches_of_a_step_are_added_up(tiny_pets):
    """Without batch norm and dropout one batch of 8 and four of 2 give the same gradient, hence the same norm."""
    plain = {"model": {"norm": "none", "dropout": 0.0}}
    norms = []
    for batch_size, accumulate in ((8, 1), (2, 4)):
        table = {"loss": "bce", "batch_size": batch_size, "accumulate": accumulate, "epochs": 1}
        norms.append(trained(recipe(**plain, training=table), tiny_pets)[0].gradient_norms)
    assert len(norms[0]) == len(norms[1]) == 2
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    assert min(norms[0]) > 0


# --- numbers stay on the device


class Watcher(TorchDispatchMode):
    """Notes what makes the host of a GPU wait: questions for a number, and copies that are not asynchronous."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name, given = str(function), [arg for arg in args if isinstance(arg, torch.Tensor)]
        asked = any(word in name for word in ("_local_scalar_dense", "nonzero", "is_nonzero", "aten.equal", "unique"))
        moved = torch.device(kwargs.get("device") or "cpu").type == "meta" and given and given[0].device.type == "cpu"
        if (asked and given[0].device.type == "meta") or (
            "_to_copy" in name and moved and not kwargs.get("non_blocking")
        ):
            self.waits.append(name)
        return function(*args, **kwargs)


@pytest.mark.parametrize(
    "tables",
    [
        {"data": {"augment": {"affine": 0.5, "rotate": 20, "brightness": 0.2, "elastic": 0.5}}},
        {"data": {"target": "species"}, "training": {"loss": "cross-entropy+dice", "ema": 0.9}},
        {"training": {"accumulate": 2, "batch_size": 4, "optimizer": "radam", "loss": "dice"}},
    ],
    ids=["augmented", "species-average", "accumulated"],
)
def test_off_the_cpu_no_step_asks_for_a_number_or_waits_for_a_copy(tables, tiny_pets, monkeypatch):
    """On the device `meta`, which computes no values: to ask it for one is an error, as on a GPU it is a wait."""
    what = resolve(recipe(**tables), tiny_pets, "cpu")
    trainer = Trainer(what.changed(training={"device": "meta"}), tiny_pets, build_network(what))
    monkeypatch.setattr(loop, "autocast", lambda *_: nullcontext())  # there is none for this device
    monkeypatch.setattr(Trainer, "read_steps", lambda self, epoch, *lists: lists)
    batches = np.array_split(tiny_pets.split("train"), 4)
    with Watcher() as watcher:
        losses, rates, counts, norms = trainer.epoch(batches, 1, 32, lambda items, epoch: items)
    assert watcher.waits == []
    assert len(losses) == len(counts) == len(rates) == 4
    assert {value.device.type for value in losses + counts + norms} == {"meta"}


def test_watcher_of_the_test_before_sees_what_it_looks_for():
    with Watcher() as watcher:
        numbers = torch.ones(3).to("meta")
        with pytest.raises(RuntimeError):
            numbers.sum().item()
    assert len(watcher.waits) == 2


def test_off_the_cpu_the_first_loss_that_is_no_number_is_named_at_the_end_of_the_epoch(tiny_pets):
    what = resolve(recipe(), tiny_pets, "cpu")
    trainer = Trainer(what, tiny_pets, build_network(what))
    losses = [torch.tensor(value) for value in (0.5, float("nan"), float("inf"))]
    counts, norms = [torch.ones(2, 1, 3, dtype=torch.int64)] * 3, [torch.tensor(1.0)]
    with pytest.raises(FloatingPointError, match=r"epoch 3, step 2: the loss is nan at learning rate 0\.2$"):
        trainer.read_steps(3, losses, [0.1, 0.2, 0.2], counts, norms)


# --- early stopping

SCORES = (0.5, 0.7, 0.6, 0.7, 0.65, 0.9, 0.8)


def with_scores(monkeypatch, scores) -> None:
    given = iter(scores)
    monkeypatch.setattr(loop, "valid_scores", lambda *_: {"loss": 1.0, "dice": next(given), "iou": 0.5})


@pytest.mark.parametrize(("patience", "epochs"), [(0, 7), (1, 3), (3, 5), (4, 7)])
def test_training_ends_after_so_many_epochs_without_a_better_one(patience, epochs, tiny_pets, monkeypatch):
    with_scores(monkeypatch, SCORES)
    assert len(trained(recipe(training={"epochs": 7, "patience": patience}), tiny_pets)) == epochs


def test_patience_counts_from_the_first_epoch_at_full_size(tiny_pets, monkeypatch):
    """Three small epochs without progress do not end the training: it has not seen its images yet."""
    with_scores(monkeypatch, (0.9, 0.5, 0.5, 0.6, 0.4, 0.5, 0.8, 0.8))
    table = {"sizes": [[32, 3], [48, 5]], "epochs": 8, "patience": 2}
    epochs = trained(recipe(data={"image_size": 48}, training=table), tiny_pets)
    assert [epoch.best for epoch in epochs] == [True, False, False, True, False, False]


def test_a_run_that_stopped_early_stays_stopped_and_is_what_it_was(tiny_pets, tmp_path, monkeypatch):
    what, run = recipe(training={"epochs": 7, "patience": 3}), tmp_path / "run"
    with_scores(monkeypatch, SCORES)
    records = []
    for stop in (2, 4, 9):
        for epoch in epochs(what, tiny_pets, run, device="cpu", resume=True):
            records.append(epoch.epoch)
            if epoch.epoch == stop:
                break
    assert records == [1, 2, 3, 4, 5]
    before = (run / "last.pt").read_bytes()
    assert trained(what, tiny_pets, run, resume=True) == []
    assert (run / "last.pt").read_bytes() == before
    assert open_run(run).facts["epoch"] == "2"


# --- compiling


@pytest.fixture
def quick_compiler(monkeypatch):
    """`torch.compile` without machine code; returns the shapes that were compiled."""
    torch._dynamo.reset()
    compile_, shapes = torch.compile, []

    def aot(graph, inputs):
        from torch._dynamo.backends.debugging import aot_eager

        shapes.append(next(tuple(x.shape) for x in inputs if x.dim() == 4 and x.shape[-1] >= 32))
        return aot_eager(graph, inputs)

    monkeypatch.setattr(torch, "compile", lambda model, dynamic: compile_(model, dynamic=dynamic, backend=aot))
    yield shapes
    torch._dynamo.reset()


def test_compiled_training_is_the_plain_one_and_keeps_the_names_of_its_weights(quick_compiler, tiny_pets, tmp_path):
    plain = {"model": {"dropout": 0.0}, "data": {"image_size": 48}}
    table = {"epochs": 3, "sizes": [[32, 1], [48, 2]]}
    what = recipe(**plain, training=table)
    expected = trained(what, tiny_pets, tmp_path / "plain")
    met = trained(what.changed(training={"compile": True}), tiny_pets, tmp_path / "compiled")
    assert sorted(quick_compiler) == [(8, 3, 32, 32), (8, 3, 48, 48)]  # once for each size
    for one, other in zip(met, expected, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert one.valid_dice == pytest.approx(other.valid_dice, abs=0.02)
    assert weights(tmp_path / "compiled").keys() == weights(tmp_path / "plain").keys()
    names = load_file(tmp_path / "plain" / "best.safetensors").keys()
    assert load_file(tmp_path / "compiled" / "best.safetensors").keys() == names


def test_a_run_moves_to_a_machine_without_a_compiler(quick_compiler, tiny_pets, tmp_path):
    what = recipe(training={"compile": True, "epochs": 2})
    records = epochs(what, tiny_pets, tmp_path / "run", device="cpu")
    next(records)
    records.close()
    assert len(trained(what.changed(training={"compile": False}), tiny_pets, tmp_path / "run", resume=True)) == 1


def test_where_no_compiler_is_one_sentence_says_so(tiny_pets, tmp_path):
    from torch._inductor import config

    torch._dynamo.reset()
    with (
        config.patch({"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False}),
        pytest.raises(LabError, match=r"training\.compile: torch\.compile failed \(.*compiler.*\); install .*= false"),
    ):
        trained(recipe(training={"compile": True}), tiny_pets, tmp_path / "run")
    torch._dynamo.reset()


def test_a_recipe_from_before_has_the_new_keys_switched_off():
    table = parse_recipe("[training]\nepochs = 3", "old.toml").training
    assert (table.compile, table.patience) == (False, 0)
