"""Numbers that are none, of too few values, of other data, or counted too coarsely."""

import math

import pytest
import torch
from PIL import Image

from benchmarks.sample_runs import publish
from labkit import analysis
from labkit.data import color_statistics, load_arrays, open_pets
from labkit.errors import LabError
from labkit.training import Recipe, find_learning_rate, loop, open_run, resolve, save_weights
from labkit.training.recipe import FIXED_SCALES
from tests.labkit.test_cli import recipe as recipe_file  # noqa: F401 (a fixture)
from tests.labkit.test_processes import train  # noqa: F401 (a fixture)
from tests.labkit.test_training import recipe, trained

# --- not finite


@pytest.mark.parametrize("loss", ["bce", "dice", "bce+dice", "cross-entropy"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "radam"])
def test_validation_that_is_not_finite_stops_the_training_and_nothing_is_kept_as_best(
    optimizer, loss, tiny_pets, tmp_path
):
    """One step an epoch: its loss is fine, and what the step leaves is not."""
    table = {"learning_rate": 1e30, "batch_size": 64, "epochs": 1, "schedule": "constant"}
    wild = recipe(training=table | {"loss": loss, "optimizer": optimizer})
    with pytest.raises(LabError, match=r"epoch 1: the validation loss is (nan|inf) after .* 1e\+30; lower .*no epoch"):
        trained(wild, tiny_pets, tmp_path / "run")
    assert not {"best.safetensors", "last.pt", "history.csv"} & {path.name for path in (tmp_path / "run").iterdir()}


def test_later_epochs_that_are_not_finite_leave_the_best_one(tiny_pets, tmp_path, monkeypatch):
    right, seen = loop.valid_scores, []

    def spoilt(model, *rest):
        if len(seen) == 2:
            next(model.parameters()).data.fill_(math.inf)
        seen.append(right(model, *rest))
        return seen[-1]

    monkeypatch.setattr(loop, "valid_scores", spoilt)
    with pytest.raises(LabError, match=r"epoch 3: the validation loss is nan .*epochs 1 to 2 are kept in"):
        trained(recipe(), tiny_pets, tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert len(run.history()) == 2
    assert all(torch.isfinite(value).all() for value in run.model().state_dict().values())


def test_logits_that_are_not_finite_make_no_finite_loss(tiny_pets):
    """Dice of a probability of exactly 1 is a number: the logits behind it are looked at themselves."""
    what = resolve(recipe(training={"loss": "dice"}), tiny_pets, "cpu")
    prepare = loop.BatchTransform(tiny_pets, "foreground", what.data.mean, what.data.std)

    def certain(images):
        return torch.full_like(images[:, :1], math.inf)

    model = torch.nn.Identity()
    model.forward = certain
    found = loop.valid_scores(model, load_arrays(tiny_pets, 32), tiny_pets.split("valid"), prepare, what, 32)
    assert math.isnan(found["loss"])


def test_the_shell_ends_with_an_error_where_nothing_was_learned(shell, recipe_file, tiny_root, tmp_path):  # noqa: F811
    words = ("--data", tiny_root, "--learning-rate", "1e30", "--batch-size", 64, "--epochs", 1, "--device", "cpu")
    status, out, err = shell("train", recipe_file, *words, "--run-dir", tmp_path / "run")
    assert status == 1
    assert err.startswith("error: epoch 1: the validation loss is ")
    assert "best" not in out


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["head.weight", "encoder.0.1.running_var"])
def test_weights_that_are_not_finite_are_neither_kept_nor_opened(place, value, tiny_pets, tmp_path, monkeypatch):
    trained(recipe(training={"epochs": 1}), tiny_pets, tmp_path / "run")
    run = open_run(tmp_path / "run")
    model = run.model()
    model.state_dict()[place].view(-1)[0] = value
    with pytest.raises(LabError, match=rf"spoilt\.safetensors: weights are not finite, first {place}"):
        save_weights(tmp_path / "spoilt.safetensors", model, run.recipe)
    assert not (tmp_path / "spoilt.safetensors").exists()
    monkeypatch.setattr("labkit.training.runs.refuse_not_finite", lambda *_: None)
    save_weights(tmp_path / "spoilt.safetensors", model, run.recipe)
    monkeypatch.undo()
    spoilt = open_run(tmp_path / "spoilt.safetensors")
    for ask in (spoilt.model, lambda: analysis.load_predictor(spoilt, "cpu")):
        with pytest.raises(LabError, match=rf"weights are not finite, first {place}"):
            ask()


def test_weights_too_large_for_half_precision_are_not_published(tiny_pets, tmp_path):
    trained(recipe(training={"epochs": 1}), tiny_pets, tmp_path / "run")
    run = open_run(tmp_path / "run")
    model = run.model()
    model.head.weight.data.fill_(1e5)
    save_weights(run.weights, model, run.recipe)
    with pytest.raises(LabError, match=r"weights are not finite, first head\.weight \(torch\.float16\)"):
        publish(run, tmp_path / "small.safetensors")
    assert not (tmp_path / "small.safetensors").exists()


# --- norms over one value

RESNET = {"model": {"name": "resnet34_unet"}}


@pytest.mark.parametrize(
    "tables",
    [
        RESNET | {"training": {"batch_size": 1}},
        RESNET | {"data": {"image_size": 96}, "training": {"batch_size": 1, "sizes": [[32, 1], [96, 1]], "epochs": 2}},
        {"model": {"depth": 5}, "training": {"batch_size": 1}},
    ],
    ids=["resnet", "growing", "deep-unet"],
)
def test_one_value_a_channel_is_one_sentence(tables, tiny_pets, tmp_path):
    sentence = r"training\.batch_size: a batch .* is a single image, of which a norm of .* sees one value a channel"
    with pytest.raises(LabError, match=sentence):
        trained(recipe(**tables), tiny_pets, tmp_path / "run")
    assert not (tmp_path / "run" / "last.pt").exists()
    with pytest.raises(LabError, match=sentence):
        find_learning_rate(recipe(**tables), tiny_pets, "cpu", steps=10)


@pytest.mark.parametrize("model", [{"norm": "none", "depth": 5}, {"norm": "group", "depth": 5}, {"depth": 2}])
def test_networks_whose_norms_see_more_learn_from_single_images(model, tiny_pets):
    trained(recipe(model=model, training={"batch_size": 1, "epochs": 1}), tiny_pets)


def test_a_processs_share_of_one_image_is_one_sentence(train):  # noqa: F811
    what = recipe(**RESNET, training={"batch_size": 2})
    _, process = train(what, "shared", wait=False)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "error: training.batch_size: a batch (or a process's share of it) is a single image, of which" in err
    assert "more than 1 value per channel" not in err


# --- mean and deviation of other data


def test_a_runs_recipe_on_other_data_gets_their_own_mean_and_deviation(tiny_pets, own_pets):
    first = resolve(recipe(), tiny_pets, "cpu")
    pets = open_pets(own_pets(24, 6))
    for index in pets.split("train")[:6]:
        Image.fromarray(255 - pets.image(index)).save(pets.image_path(index), "JPEG")
    second = resolve(first, pets, "cpu")
    found = color_statistics(load_arrays(pets, 32), pets.split("train"))
    assert (second.data.mean, second.data.std) == (found.mean, found.std) != (first.data.mean, first.data.std)
    assert second == resolve(recipe(), pets, "cpu")
    assert resolve(second, tiny_pets, "cpu") == first


def test_on_its_own_data_a_runs_recipe_keeps_its_numbers_and_reads_no_pixel(tiny_pets, monkeypatch):
    first = resolve(recipe(), tiny_pets, "cpu")
    monkeypatch.setattr("labkit.training.recipe.color_statistics", None)
    assert resolve(first, tiny_pets, "cpu") == first


@pytest.mark.parametrize("normalize", FIXED_SCALES)
def test_fixed_numbers_are_those_of_their_name(normalize, tiny_pets):
    """Also where a run's recipe was edited and its old numbers are still there."""
    edited = resolve(recipe(), tiny_pets, "cpu").model_dump()
    edited["data"]["normalize"] = normalize
    found = resolve(Recipe.model_validate(edited), tiny_pets, "cpu").data
    assert (found.mean, found.std) == FIXED_SCALES[normalize]


def test_numbers_written_by_hand_are_refused(tiny_pets):
    with pytest.raises(LabError, match=r"data\.mean, data\.std: they are found when a training starts.*leave them out"):
        resolve(recipe(data={"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}), tiny_pets, "cpu")


# --- weights from the network


@pytest.fixture
def no_network(monkeypatch):
    """ImageNet's weights cannot be fetched; returns how often they were asked for."""
    import torchvision

    asked, build = [], torchvision.models.get_model

    def refused(name, weights=None):
        asked.append(weights) if weights else None
        return build(name, weights=None)

    monkeypatch.setattr(torchvision.models, "get_model", refused)
    return asked


def test_only_the_start_of_a_training_asks_for_imagenets_weights(no_network, tiny_pets, tmp_path):
    model = {"name": "encoder_unet", "encoder": "resnet18", "pretrained": True}
    what = Recipe().changed(data={"image_size": 32}, model=model, training={"epochs": 2, "batch_size": 8})
    records = loop.epochs(what, tiny_pets, tmp_path / "run", device="cpu")
    next(records)
    records.close()
    assert no_network == ["DEFAULT"]
    run = open_run(tmp_path / "run")
    assert run.recipe.model.pretrained is True
    run.model()
    analysis.evaluate(run, tiny_pets, device="cpu")
    assert [epoch.epoch for epoch in trained(what, tiny_pets, tmp_path / "run", resume=True)] == [2]
    assert no_network == ["DEFAULT"]


@pytest.mark.parametrize("name", ["model.pth", "last.pt"])
def test_where_a_file_of_torch_save_is_named_the_answer_says_what_to_name(name, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(LabError, match=r"no safetensors file .*name the run folder or its best\.safetensors"):
        open_run(tmp_path / name)
