from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.data import class_names
from labkit.errors import LabError
from labkit.training import Recipe, load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parents[2] / "labkit" / "recipes").glob("*.toml"))


def parsed(text: str) -> Recipe:
    return parse_recipe(text, "mine.toml")


# --- reading and writing


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_of_the_lab_loads_by_file_and_by_name(path):
    recipe = load_recipe(path)
    assert recipe == load_recipe(path.stem)
    assert recipe.size_of_epoch(recipe.training.epochs) == recipe.data.image_size


EVERYTHING = """
[data]
target = "trimap"
split = "2026"
image_size = 96
normalize = "imagenet"
mean = [0.1, 0.2, 0.3]
std = [0.4, 0.5, 0.6]
fingerprint = "abc"
augment = { horizontal_flip = 0.5, scale = [0.8, 1.25], outside = "zeros" }
[model]
name = "unet"
initialization = "he"
width = 24
padding = "reflect"
dropout = 0.1
[training]
loss = "cross-entropy+dice"
optimizer = "sgd"
learning_rate = 1e-2
schedule = "cosine"
epochs = 7
sizes = [[64, 2], [96, 1.5]]
ema = 0.99
patience = 4
precision = "float32"
compile = true
seed = 3
"""


@pytest.mark.parametrize("text", ["", EVERYTHING, *(path.read_text() for path in RECIPES)])
def test_written_recipe_is_read_back_as_it_was(text):
    recipe = parsed(text)
    assert parsed(recipe.toml()) == recipe
    assert parsed(recipe.toml()).toml() == recipe.toml()


def test_keys_of_a_file_reach_their_fields():
    recipe = parsed(EVERYTHING)
    assert recipe.data.augment.scale == (0.8, 1.25)
    assert (recipe.model.width, recipe.model.padding, recipe.model.initialization) == (24, "reflect", "he")
    assert recipe.training.sizes == ((64, 2.0), (96, 1.5))
    assert recipe.training.learning_rate == 0.01
    assert (recipe.training.patience, recipe.training.compile) == (4, True)


def test_defaults_of_the_network_are_written_out():
    model = parsed('[model]\nname = "resnet34_unet"').toml()
    assert 'decoder = "lab"' in model
    assert "in_channels = 3" in model


def test_missing_recipe_is_refused_with_the_known_ones():
    with pytest.raises(LabError, match=rf"'nowhere'.*{RECIPES[0].stem}"):
        load_recipe("nowhere")


# --- what is wrong is named with what is allowed


@pytest.mark.parametrize(
    ("text", "named", "allowed"),
    [
        ("[trainin]\nepochs = 3", "trainin", "data, model, training"),
        ("epochs = 3", "epochs", "data, model, training"),
        ("[training]\nepoch = 3", "training.epoch", "epochs"),
        ("[data]\nsize = 3", "data.size", "image_size"),
        ("[data.augment]\nhflip = 0.5", "data.augment.hflip", "horizontal_flip"),
        ("[model]\nwidht = 16", "model.widht", "width"),
        ('[model]\nname = "resnet34_unet"\ndepth = 3', "model.depth", "decoder"),
        ('[model]\nname = "vgg"', "model.name", "unet, paper_unet, .*encoder_unet"),
        ('[model]\nup = "nearest"', "model.up", "'transposed', 'bilinear' or 'interpolated'"),
        ('[model]\nwidth = "wide"', "model.width", "integer"),
        ("[model]\nclasses = 0", "model.classes", "greater than or equal to 1"),
        ('[model]\ninitialization = "xavier"', "model.initialization", "'default' or 'he'"),
        ('[data]\ntarget = "cats"', "data.target", "'foreground_strict'"),
        ('[data]\nnormalize = "none"', "data.normalize", "'raw'"),
        ("[data]\nimage_size = 16", "data.image_size", "32"),
        ("[data]\nmean = [0.1, 0.2]", "data.mean", "required"),
        ("[data.augment]\nhorizontal_flip = 1.5", "data.augment.horizontal_flip", "less than or equal to 1"),
        ("[data.augment]\nredraw = 101", "data.augment.redraw", "less than or equal to 100"),
        ("[data.augment]\nredraw = -1", "data.augment.redraw", "greater than or equal to 0"),
        ("[data.augment]\nscale = [0, 1]", "data.augment.scale", "greater than 0"),
        ('[data.augment]\noutside = "mirror"', "data.augment.outside", "'reflection'"),
        ('[training]\nloss = "hinge"', "training.loss", "'bce\\+dice'"),
        ('[training]\noptimizer = "lion"', "training.optimizer", "adamw, radam"),
        ("[training]\nlearning_rate = 0", "training.learning_rate", "greater than 0"),
        ("[training]\nepochs = 0", "training.epochs", "greater than or equal to 1"),
        ("[training]\nepochs = 2.5", "training.epochs", "integer"),
        ("[training]\nema = 1.0", "training.ema", "less than 1"),
        ("[training]\npatience = -1", "training.patience", "greater than or equal to 0"),
        ('[training]\ncompile = "fast"', "training.compile", "boolean"),
        ("[training]\nsizes = [[64, 1], [96, 1]]", "training.sizes", "image_size = 128"),
        ("[training]\nsizes = [[16, 1], [128, 1]]", "training.sizes", "32"),
        ("[training]\nsizes = [[160, 1], [128, 1]]", "training.sizes", "found 160, 128; .* none larger"),
        ('[training]\nfaults = ["frozen"]', "training.faults", "wrong-checkpoint"),
        ('[training]\nloss = "cross-entropy"\n[model]\nclasses = 1', "training.loss", "model.classes = 2"),
        ('[training]\nloss = "bce"\n[model]\nclasses = 2', "training.loss", "classes = 1"),
        ("[model]\nclasses = 3", "model.classes", "2 classes; leave it out"),
        ('[data]\ntarget = "trimap"\n[training]\nloss = "bce"', "'trimap'", "cross-entropy"),
        ("[training\nepochs = 3", "not a TOML file", "line 1"),
        ("data = 3", "data", "dictionary"),
        ("model = 3", "model", "dictionary|table"),
        ("[model]\nname = 3", "model.name", "string"),
        ('[model]\nname = ["unet"]', "model.name", "string"),
        ("[model]\nwidth = 0", "model.width", "1"),
        ("[model]\ndepth = 0", "model.depth", "1"),
        ("[model]\nin_channels = 0", "model.in_channels", "1"),
        ("[model]\ndropout = 1.5", "model.dropout", "1"),
        ("[training]\nlearning_rate = inf", "training.learning_rate", "finite"),
        ("[data.augment]\nelastic_alpha = nan", "data.augment.elastic_alpha", "finite"),
    ],
)
def test_wrong_recipe_is_refused_with_the_key_and_what_is_allowed(text, named, allowed):
    with pytest.raises(LabError, match=rf"(?s)^mine\.toml: .*{named}.*{allowed}"):
        parsed(text)


# --- changing


def test_changed_copies_all_but_the_named_keys():
    recipe = parsed(EVERYTHING)
    other = recipe.changed(training={"epochs": 99}, data={"image_size": 96, "split": "official"})
    assert (other.training.epochs, other.data.split) == (99, "official")
    assert other.changed(training={"epochs": 7}, data={"split": "2026"}) == recipe.changed(data={"split": "2026"})
    assert recipe.training.epochs == 7


def test_changed_is_checked_anew():
    with pytest.raises(LabError, match=r"training\.epochs"):
        Recipe().changed(training={"epochs": 0})
    with pytest.raises(LabError, match=r"unknown key training\.epoch"):
        Recipe().changed(training={"epoch": 1})


def test_another_network_takes_none_of_the_arguments_of_the_first():
    other = parsed(EVERYTHING).changed(model={"name": "resnet34_unet", "decoder": "unet"})
    assert other == parsed(EVERYTHING).changed(model={"name": "resnet34_unet"}).changed(model={"decoder": "unet"})
    assert not hasattr(other.model, "depth")


# --- sizes by epoch


@pytest.mark.parametrize(
    ("epochs", "sizes", "expected"),
    [
        (4, "[]", [128] * 4),
        (4, "[[64, 1], [128, 1]]", [64, 64, 128, 128]),
        (10, "[[64, 0.5], [96, 0.3], [128, 0.2]]", [64] * 5 + [96] * 3 + [128] * 2),
        (58, "[[64, 30], [96, 14], [128, 14]]", [64] * 30 + [96] * 14 + [128] * 14),
        (5, "[[64, 60], [128, 40]]", [64] * 3 + [128] * 2),
        (3, "[[64, 1], [128, 1]]", [64, 64, 128]),
        (1, "[[64, 3], [96, 2], [128, 1]]", [128]),
    ],
)
def test_size_of_each_epoch_by_hand(epochs, sizes, expected):
    recipe = parsed(f"[training]\nepochs = {epochs}\nsizes = {sizes}")
    assert [recipe.size_of_epoch(epoch) for epoch in range(1, epochs + 1)] == expected


@given(epochs=st.integers(1, 60), shares=st.lists(st.floats(0.05, 50), min_size=1, max_size=4))
def test_sizes_come_in_order_and_the_last_epoch_has_the_image_size(epochs, shares):
    sizes = [[32 * (i + 1), share] for i, share in enumerate(shares)]
    recipe = Recipe().changed(data={"image_size": sizes[-1][0]}, training={"epochs": epochs, "sizes": sizes})
    met = [recipe.size_of_epoch(epoch) for epoch in range(1, epochs + 1)]
    assert met == sorted(met)
    assert met[-1] == recipe.data.image_size
    for size, share in sizes[:-1]:
        assert abs(met.count(size) - share / sum(shares) * epochs) <= 1.5  # rounded at both ends, less the last epoch


# --- classes


@pytest.mark.parametrize(
    ("target", "loss", "classes"),
    [
        ("foreground", "bce+dice", 1),
        ("border_ignored", "dice", 1),
        ("foreground", "cross-entropy", 2),
        ("foreground_strict", "cross-entropy+dice", 2),
        ("trimap", "cross-entropy", 3),
        ("species", "cross-entropy+dice", 3),
        ("breed", "cross-entropy", 5),
    ],
)
def test_network_gets_as_many_channels_as_target_and_loss_need(target, loss, classes, tiny_pets):
    recipe = parsed(f'[data]\ntarget = "{target}"\n[training]\nloss = "{loss}"')
    assert recipe.resolved_classes(class_names(target, tiny_pets)) == classes


def test_channels_that_do_not_fit_the_data_are_refused(tiny_pets):
    recipe = parsed('[data]\ntarget = "breed"\n[training]\nloss = "cross-entropy"\n[model]\nclasses = 38')
    with pytest.raises(LabError, match=r"model\.classes: 38.*5 classes"):
        recipe.resolved_classes(class_names("breed", tiny_pets))


@pytest.mark.parametrize(
    ("loss", "names", "classes"),
    [
        ("bce+dice", ("background", "cell"), 1),
        ("cross-entropy", ("background", "cell"), 2),
        ("cross-entropy+dice", ("background", "cell", "nucleus"), 3),
        ("dice", ("background", "cell", "nucleus"), 3),
    ],
)
@pytest.mark.parametrize("target", ["mask", "breed"])
def test_classes_that_the_data_decide_are_judged_when_they_are_known(target, loss, names, classes):
    recipe = parsed(f'[data]\ntarget = "{target}"\n[training]\nloss = "{loss}"')
    assert recipe.resolved_classes(names) == classes
    assert recipe.changed(model={"classes": classes}).resolved_classes(names) == classes


@pytest.mark.parametrize("target", ["mask", "breed"])
@pytest.mark.parametrize(
    ("loss", "given", "names", "complaint"),
    [
        ("bce", "", ("background", "cell", "nucleus"), "bce takes two classes.*has 3.*use a cross-entropy loss"),
        ("bce+dice", "classes = 1", ("background", "a", "b", "c"), r"bce\+dice takes two classes.*has 4"),
        ("dice", "classes = 1", ("background", "cell", "nucleus"), r"model\.classes: 1.*has 3 classes"),
        ("cross-entropy", "classes = 5", ("background", "cell"), r"model\.classes: 5.*has 2 classes"),
    ],
)
def test_what_does_not_fit_the_classes_of_the_data_is_refused(target, loss, given, names, complaint):
    recipe = parsed(f'[data]\ntarget = "{target}"\n[training]\nloss = "{loss}"\n[model]\n{given}')
    with pytest.raises(LabError, match=complaint):
        recipe.resolved_classes(names)


def test_other_pixels_ask_for_another_mean_and_deviation():
    resolved = Recipe().changed(data={"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)})
    assert resolved.changed(training={"epochs": 3}).data.mean == (0.1, 0.2, 0.3)
    for key, value in {"normalize": "raw", "image_size": 64, "split": "mine"}.items():
        assert resolved.changed(data={key: value}).data.mean is None
