"""Any key of a recipe can be set from the command line, and is checked as in a file."""

import pytest

from labkit.errors import LabError
from labkit.training import Recipe, load_recipe, open_run
from labkit.training.recipe import RECIPES, parse_switches, with_values


def test_values_are_toml_and_else_plain_text():
    texts = ["training.epochs=3", " data.augment.scale = [0.8, 1.2]", "model.up=bilinear", 'data.split = "mine"']
    found = parse_switches([*texts, "training.compile=true", "training.learning_rate=1e-4"])
    assert found == {
        "training.epochs": 3,
        "data.augment.scale": [0.8, 1.2],
        "model.up": "bilinear",
        "data.split": "mine",
        "training.compile": True,
        "training.learning_rate": 1e-4,
    }


@pytest.mark.parametrize("text", ["training.epochs", "=3", "training.epochs=", " = "])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(LabError, match="write KEY=VALUE"):
        parse_switches([text])


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(LabError, match=r"training\.epochs stands twice"):
        parse_switches(["training.epochs=3", "training.epochs=4"])


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("training.epoch", r"unknown key training\.epoch; there are .*epochs"),
        ("augment.crop", "unknown key augment"),
        ("data.image_size.x", r"unknown key data\.image_size\.x; image_size is no table"),
        ("data.fingerprint", "is filled in when a training starts"),
    ],
)
def test_keys_that_are_none_are_named(key, sentence):
    with pytest.raises(LabError, match=f"--set: .*{sentence}"):
        with_values(Recipe(), {key: 1}, "--set")


def test_another_network_brings_its_own_defaults():
    changed = with_values(Recipe().changed(model={"width": 8}), {"model.name": "resnet34_unet"}, "here")
    assert changed.model.model_dump()["width"] == 64


def test_a_training_takes_switches(tiny_root, tmp_path, shell):
    words = ["--set", "data.image_size=32", "--set", "model.width=4", "--set", "training.epochs=1"]
    words += [
        "--set",
        "training.sizes=[]",
        "--set",
        "data.augment.horizontal_flip=0",
        "--set",
        "training.precision=float32",
    ]
    status, _, error = shell("train", "quick", "--data", tiny_root, "--run-dir", tmp_path / "run", *words)
    assert (status, error.count("error")) == (0, 0)
    recipe = open_run(tmp_path / "run").recipe
    assert (recipe.data.image_size, recipe.model.width, recipe.training.epochs) == (32, 4, 1)
    assert recipe.data.augment.horizontal_flip == 0


def test_report_002s_flip_no_is_a_switch(tiny_root, tmp_path, shell):
    status, _, error = shell("train", "report-002", "--set", "data.augment.horizontal_flip=No", "--data", tiny_root)
    assert (status, "data.augment.horizontal_flip: found 'No'" in error) == (1, True)
    recipe = load_recipe("report-002")
    changed = with_values(
        recipe, parse_switches(["data.augment.horizontal_flip=0", "data.augment.vertical_flip=0"]), "x"
    )
    assert (changed.data.augment.horizontal_flip, changed.data.augment.vertical_flip) == (0, 0)
    assert (recipe.data.augment.horizontal_flip, recipe.data.augment.vertical_flip) != (0, 0)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_key_that_is_shown_can_be_set(path, shell):
    status, out, _ = shell("recipe", "show", path.stem)
    assert status == 0
    lines = [line.partition("    # ")[0] for line in out.strip().splitlines()]
    texts = [line for line in lines if not line.endswith("= none")]
    recipe = load_recipe(path.stem)
    assert with_values(recipe, parse_switches(texts), "shown") == recipe


def test_recipes_are_listed_with_what_they_are_for(shell):
    status, out, _ = shell("recipe", "list")
    assert status == 0
    assert len(out.strip().splitlines()) == len(list(RECIPES.glob("*.toml")))
    assert "quick " in out
