"""Trainings that start from weights in a file, and trainings that are made longer."""

import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from labkit.errors import LabError
from labkit.models import build_model
from labkit.training import build_network, build_schedule, epochs, open_run, resolve
from labkit.training.runs import load_checkpoint
from labkit.training.starting import start_from
from tests.labkit.test_cli import recipe as recipe_file  # noqa: F401 (a fixture)
from tests.labkit.test_training import finished, recipe, trained, without_clock  # noqa: F401 (finished: a fixture)


def network(**changes):
    return build_model(**{"name": "unet", "width": 4, "depth": 2, "classes": 1} | changes)


def filled(model, value):
    return {name: torch.full_like(weight, value) for name, weight in model.state_dict().items()}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model"])
def test_weights_fit_however_they_were_saved(prefix, key, tmp_path):
    state = {prefix + name: value for name, value in filled(network(), 2).items()}
    torch.save({key: state, "epoch": 7} if key else state, tmp_path / "somebodys.pth")
    model = start_from(network(), tmp_path / "somebodys.pth")
    assert all((value == 2).all() for value in model.state_dict().values())


def test_what_does_not_fit_is_said_and_stays_as_it_is_initialized(tmp_path):
    wide = filled(network(classes=3), 2) | {"extra.weight": torch.zeros(1)}
    save_file(wide, tmp_path / "wide.safetensors")
    model = network()
    head = model.head.weight.clone()
    with pytest.warns(UserWarning, match=r"as initialized: head.bias, head.weight; not used: extra.weight, head.bias"):
        start_from(model, tmp_path / "wide.safetensors")
    assert torch.equal(model.head.weight, head)
    assert (model.encoder[0][0].weight == 2).all()


class Wicked:
    def __reduce__(self):
        return print, ("code has run",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such weights file"),
        (b"cut", "damaged|could run code"),
        (pickle.dumps(Wicked(), protocol=2), "could run code; .* save `model.state_dict\\(\\)`"),
        ({"other.weight": torch.zeros(3)}, "no weight fits the network: it holds other.weight, the network encoder"),
        ({"epoch": 3}, "no weights by name"),
        ([torch.zeros(3)], "no weights by name"),
    ],
)
def test_a_file_without_weights_for_it_is_refused(content, sentence, tmp_path, capsys):
    path = tmp_path / "file.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(LabError, match=sentence):
        start_from(network(), path)
    assert "code has run" not in capsys.readouterr().out


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(network(), tmp_path / "model.pth")
    with pytest.raises(LabError, match="could run code"):
        start_from(network(), tmp_path / "model.pth")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    torch.save(filled(network(), 1) | {"head.bias": torch.tensor([torch.nan])}, tmp_path / "nan.pth")
    with pytest.raises(LabError, match=r"not finite, first head\.bias"):
        start_from(network(), tmp_path / "nan.pth")


def test_a_training_starts_from_them(finished, shell, recipe_file, tiny_root, tmp_path):  # noqa: F811
    weights = finished[0] / "best.safetensors"
    start = resolve(recipe(training={"weights": str(weights)}), open_pets_of(tiny_root), "cpu")
    begun = build_network(start).state_dict()
    assert all(torch.equal(begun[name], value) for name, value in load_file(weights).items())
    words = ("--data", tiny_root, "--device", "cpu", "--epochs", 1, "--weights", tmp_path / "none.pth")
    status, _, err = shell("train", recipe_file, *words, "--run-dir", tmp_path / "run")
    assert (status, err) == (1, f"error: {tmp_path / 'none.pth'}: no such weights file\n")


def open_pets_of(root):
    from labkit.data import open_pets

    return open_pets(root)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_a_finished_training_is_made_longer(schedule, tiny_pets, tmp_path):
    """Epochs 1 and 2 stay; the rest has the learning rates that four epochs have from the start."""
    table = {"schedule": schedule, "learning_rate": 1e-3}
    short, long = (recipe(training=table | {"epochs": number}) for number in (2, 4))
    before = trained(short, tiny_pets, tmp_path / "run")
    with pytest.warns(UserWarning, match="the schedule is now that of 4 epochs, so that the learning rate goes on at"):
        after = trained(long, tiny_pets, tmp_path / "run", resume=True)
    run = open_run(tmp_path / "run")
    assert [record.epoch for record in after] == [3, 4]
    assert run.history()["epoch"].tolist() == [1, 2, 3, 4]
    assert run.history()["train_loss"].tolist()[:2] == [record.train_loss for record in before]
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule, rates = build_schedule(optimizer, resolve(long, tiny_pets, "cpu").training, 8), []
    for _ in range(8):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert [record.learning_rate for record in after] == pytest.approx(rates[5::2])
    assert "epochs = 4" in (tmp_path / "run" / "recipe.toml").read_text()
    assert "epochs = 4" in load_checkpoint(tmp_path / "run" / "last.pt")["recipe"]


def test_made_longer_and_broken_off_it_still_resumes_to_the_bit(tiny_pets, tmp_path):
    trained(recipe(training={"epochs": 1}), tiny_pets, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.warns(UserWarning, match="the schedule is now"):
        unbroken = trained(recipe(), tiny_pets, tmp_path / "one", resume=True)
    with pytest.warns(UserWarning, match="the schedule is now"):
        first = next(epochs(recipe(), tiny_pets, tmp_path / "two", device="cpu", resume=True))
    rest = trained(recipe(), tiny_pets, tmp_path / "two", resume=True)
    assert without_clock([first, *rest]) == without_clock(unbroken)


def test_growing_images_are_not_stretched_over_more_epochs(tiny_pets, tmp_path):
    sizes = {"data": {"image_size": 48}, "training": {"sizes": [[32, 1], [48, 1]], "epochs": 2}}
    trained(recipe(**sizes), tiny_pets, tmp_path / "run")
    sizes["training"] |= {"epochs": 3}
    with pytest.raises(LabError, match=r"training.epochs is 2 there and 3 here\); growing images .* --weights"):
        trained(recipe(**sizes), tiny_pets, tmp_path / "run", resume=True)
