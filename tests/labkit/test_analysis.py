"""Evaluation, prediction and tables of a run, against the same things computed by hand."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_recall_fscore_support
from typer.testing import CliRunner

from benchmarks.sample_runs import publish
from labkit import analysis, cli, painting
from labkit.data import class_names, load_arrays, open_pets, read_image
from labkit.errors import LabError
from labkit.files import check_targets
from labkit.training import fit, open_run, parse_recipe
from tests.labkit.test_rle import by_definition

RECIPE = """
[data]
image_size = 32
[model]
name = "unet"
width = 8
depth = 3
[training]
learning_rate = 1e-2
epochs = 4
batch_size = 4
precision = "float32"
"""


def trained(pets, folder, **data):
    recipe = parse_recipe(RECIPE, "a test")
    if data:
        recipe = recipe.changed(data=data, training={"loss": "cross-entropy+dice"})
    return fit(recipe, pets, folder, device="cpu")


@pytest.fixture(scope="module")
def finished(tiny_root, lab_folder, tmp_path_factory):
    """The folder of a run, which no test changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        return trained(open_pets(tiny_root), tmp_path_factory.mktemp("runs") / "run").path


@pytest.fixture
def run(finished, tiny_pets, tmp_path):
    """A copy of it."""
    return open_run(shutil.copytree(finished, tmp_path / "run"))


def masks_of(run, pets):
    """Predicted and true class indices `uint8 [N, S, S]` of the test images, through the network alone."""
    predictor = analysis.load_predictor(run, "cpu", "float32")
    batches = [(x.argmax(1), m) for x, m, _ in analysis.predict_batches(predictor, pets, pets.split("test"))]
    return tuple(torch.cat(part).numpy().astype(np.uint8) for part in zip(*batches, strict=True))


def test_every_test_image_is_scored_and_every_number_is_sklearns(run, tiny_pets):
    summary, table, _ = analysis.evaluate(run, tiny_pets, device="cpu", precision="float32")
    predictor = analysis.load_predictor(run, "cpu", "float32")
    test = tiny_pets.split("test")
    batches = [(x[:, 0].sigmoid() > 0.5, m) for x, m, _ in analysis.predict_batches(predictor, tiny_pets, test)]
    masks, truths = (torch.cat(part).numpy().astype(int) for part in zip(*batches, strict=True))
    dice = [f1_score(t.ravel(), m.ravel()) for t, m in zip(truths, masks, strict=True)]
    iou = [jaccard_score(t.ravel(), m.ravel()) for t, m in zip(truths, masks, strict=True)]
    assert table["name"].tolist() == [tiny_pets.items[p].name for p in test]
    np.testing.assert_allclose(table["dice"], dice, atol=1e-6)
    np.testing.assert_allclose(table["iou"], iou, atol=1e-6)
    assert summary["dice_per_image"] == pytest.approx(np.mean(dice))
    assert summary["dice_pooled"] == pytest.approx(f1_score(truths.ravel(), masks.ravel()))
    assert summary["iou_pooled"] == pytest.approx(jaccard_score(truths.ravel(), masks.ravel()))
    assert table["foreground"].tolist() == truths.mean((1, 2)).tolist()


def test_the_summary_has_the_designs_keys_and_lies_in_the_run_folder(run, tiny_pets):
    summary, table, _ = analysis.evaluate(run, tiny_pets, device="cpu")
    assert list(summary) == [
        *("data", "fingerprint", "split", "threshold", "precision", "images", "input_size", "scored_at", "loss"),
        *("dice_per_image", "dice_pooled"),
        *("iou_per_image", "iou_pooled", "dice_soft_batch"),
    ]
    folder = run.path / "evaluations" / f"{tiny_pets.label}-test-32"
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert len((folder / "images.csv").read_text().splitlines()) == len(table) + 1 == 7


def test_at_the_original_size_logits_are_enlarged_and_then_cut(run, tiny_pets):
    summary, table, _ = analysis.evaluate(run, tiny_pets, scored_at="original", device="cpu", precision="float32")
    predictor = analysis.load_predictor(run, "cpu", "float32")
    arrays, mean = load_arrays(tiny_pets, 32), torch.tensor(run.recipe.data.mean)
    for index, dice in zip(tiny_pets.split("test"), table["dice"], strict=True):
        pixels = (torch.tensor(arrays.images[index]) / 255 - mean) / torch.tensor(run.recipe.data.std)
        with torch.no_grad():
            logits = predictor.model(pixels.permute(2, 0, 1)[None])
        trimap = tiny_pets.trimap(index)
        mask = F.interpolate(logits, size=trimap.shape, mode="bilinear", align_corners=False)[0, 0] > 0
        assert dice == pytest.approx(f1_score((trimap != 2).ravel(), mask.numpy().ravel()), abs=1e-6)
    assert summary["scored_at"] == "original"
    assert json.loads((analysis.evaluation_folder(run, summary) / "summary.json").read_text()) == summary


def test_another_threshold_and_other_data_of_one_name_replace_no_summary(run, tiny_pets, own_pets):
    usual = analysis.evaluate(run, tiny_pets, device="cpu").summary
    strict = analysis.evaluate(run, tiny_pets, device="cpu", threshold=0.95).summary
    others = replace(open_pets(own_pets(count=12, tests=3)), label=tiny_pets.label)
    other = analysis.evaluate(run, others, device="cpu").summary
    folders = [analysis.evaluation_folder(run, summary) for summary in (usual, strict, other)]
    assert [json.loads((folder / "summary.json").read_text()) for folder in folders] == [usual, strict, other]
    assert len(set(folders)) == 3
    assert folders[1].name.endswith("-threshold-0.95")
    assert strict["dice_per_image"] != usual["dice_per_image"]


def test_a_weights_file_alone_gives_the_same_scores_and_keeps_nothing(run, tiny_pets, tmp_path):
    summary, *_ = analysis.evaluate(run, tiny_pets, device="cpu", precision="float32")
    alone = tmp_path / "somewhere" / "weights.safetensors"
    alone.parent.mkdir()
    alone.write_bytes(run.weights.read_bytes())
    again, *_ = analysis.evaluate(open_run(alone), tiny_pets, device="cpu", precision="float32")
    assert again == summary
    assert [p.name for p in alone.parent.iterdir()] == ["weights.safetensors"]


def test_images_that_were_trained_on_are_not_scored_under_another_split(own_pets, tmp_path):
    from labkit.data import open_pets

    folder = own_pets(24, 6)
    names = [pet.name for pet in open_pets(folder).items]
    mine = folder / "annotations" / "splits" / "mine"
    mine.mkdir(parents=True)
    for part, chosen in {"train": names[:16], "valid": names[16:20], "test_unet": names[20:]}.items():
        (mine / f"{part}.txt").write_text("\n".join(chosen))
    pets = open_pets(folder)
    opened = fit(parse_recipe(RECIPE, "a test").changed(data={"split": "mine"}), pets, tmp_path / "run", device="cpu")
    summary, *_ = analysis.evaluate(opened, pets, "test_unet", device="cpu")
    assert (summary["images"], summary["split"]) == (4, "mine/test_unet")
    with pytest.raises(LabError, match="training images of this run"):
        analysis.evaluate(opened, pets, "official/test", device="cpu")


def test_masks_are_written_at_each_images_own_size_in_black_and_white(run, tiny_pets, tmp_path):
    indices = tiny_pets.split("test")[:3]
    files = [tiny_pets.image_path(p) for p in indices]
    predictor = analysis.load_predictor(run, "cpu")
    written = list(analysis.predict_files(predictor, files, tmp_path / "masks"))
    for source, (name, found) in zip(files, written, strict=True):
        assert name == source.stem
        with Image.open(source) as image, Image.open(tmp_path / "masks" / f"{name}.png") as mask:
            assert (mask.size, mask.mode) == (image.size, "L")
            pixels = np.asarray(mask)
        np.testing.assert_array_equal(pixels, 255 * found)
        assert set(np.unique(pixels)) <= {0, 255}
        np.testing.assert_array_equal(predictor.image_logits(read_image(source))[0] > 0, pixels == 255)


def test_two_images_of_one_name_do_not_overwrite_each_others_mask(run, tiny_pets, tmp_path):
    source = tiny_pets.image_path(0)
    (tmp_path / "b").mkdir()
    copy = tmp_path / "b" / source.name
    copy.write_bytes(source.read_bytes())
    with pytest.raises(LabError, match="two results would be written there"):
        list(analysis.predict_files(analysis.load_predictor(run, "cpu"), [source, copy], tmp_path / "masks"))
    assert not (tmp_path / "masks").exists()
    with pytest.raises(LabError, match=r"two images are called .*; rename one"):
        next(analysis.predict_files(analysis.load_predictor(run, "cpu"), [source, copy]))


def test_a_bad_file_is_named_at_the_end_and_the_others_are_predicted(run, shell, tiny_pets, tmp_path):
    """Masks go to a folder, to a table of run lengths, or to both; a decoder written from the definition reads it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in tiny_pets.split("test")[:2]:
        shutil.copy(tiny_pets.image_path(index), folder)
    (folder / "a_broken.jpg").write_bytes(b"no image")
    table, words = tmp_path / "hand-in.csv", ("predict", run.path, folder, "--device", "cpu", "--rle")
    status, out, err = shell(*words, table, "--out", tmp_path / "masks")
    assert status == 1
    assert f"2 masks in {tmp_path / 'masks'} and {table}" in out
    assert f"failed: {folder / 'a_broken.jpg'}: is empty, no image" in err
    assert "error: 1 of 3 images were not predicted, named above" in err
    rows = dict(line.split(",") for line in table.read_text().splitlines()[1:])
    assert len(rows) == 2
    for name, text in rows.items():
        with Image.open(tmp_path / "masks" / f"{name}.png") as mask:
            pixels = np.asarray(mask) == 255
        assert np.array_equal(by_definition(text, *pixels.shape), pixels)
    before = table.read_bytes()
    (folder / "a_broken.jpg").unlink()
    assert shell(*words, table)[0] == 0, "one's own table is replaced"
    assert table.read_bytes() == before
    table.write_text("the user's now")
    assert "labkit has not written it as it is now" in shell(*words, table)[2]


def test_twenty_thousand_names_are_checked_before_the_first_image_within_a_second(tmp_path):
    """Processor time, and twice of it: this machine may be busy."""
    for number in range(20_000):
        (tmp_path / f"{number}.jpg").touch()
    began = time.process_time()
    files = analysis.predictions.image_files([tmp_path])
    check_targets([tmp_path / "masks" / f"{path.stem}.png" for path in files], files)
    assert time.process_time() - began < 2


def test_a_published_network_is_half_precision_with_recipe_and_history(run, tiny_pets, tmp_path):
    publish(run, tmp_path / "small.safetensors")
    small = open_run(tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < 0.6 * run.weights.stat().st_size
    assert small.recipe == run.recipe
    assert small.history()["valid_dice"].round(5).tolist() == run.history()["valid_dice"].round(5).tolist()
    full, *_ = analysis.evaluate(run, tiny_pets, device="cpu", keep=False)
    half, *_ = analysis.evaluate(small, tiny_pets, device="cpu")
    assert half["dice_per_image"] == pytest.approx(full["dice_per_image"], abs=0.01)


# --- several classes


@pytest.mark.parametrize("target", ["species", "trimap", "breed"])
def test_every_score_of_several_classes_is_sklearns(tiny_pets, tmp_path, target):
    run = trained(tiny_pets, tmp_path / "run", target=target)
    summary, table, confusion = analysis.evaluate(run, tiny_pets, device="cpu", precision="float32")
    predictions, truths = masks_of(run, tiny_pets)
    names = class_names(target, tiny_pets)
    labels = range(len(names))
    assert confusion.tolist() == confusion_matrix(truths.ravel(), predictions.ravel(), labels=labels).tolist()
    for row, truth, prediction in zip(table.itertuples(), truths, predictions, strict=True):
        present = sorted({*np.unique(truth), *np.unique(prediction)} - {0})
        dice = f1_score(truth.ravel(), prediction.ravel(), labels=present, average="macro", zero_division=0)
        iou = jaccard_score(truth.ravel(), prediction.ravel(), labels=present, average="macro", zero_division=0)
        assert (row.dice, row.iou) == pytest.approx((dice, iou))
        assert row.foreground == pytest.approx((truth > 0).mean())
    present = [i for i in labels if i > 0 and (confusion[i].sum() or confusion[:, i].sum())]
    dice = f1_score(truths.ravel(), predictions.ravel(), labels=present, average="macro")
    assert summary["dice_pooled"] == pytest.approx(dice)


def test_the_class_table_is_sklearns(tiny_pets, tmp_path):
    run = trained(tiny_pets, tmp_path / "run", target="breed")
    scored = analysis.evaluate(run, tiny_pets, scored_at="input", device="cpu", precision="float32")
    confusion, (predictions, truths) = scored.confusion, masks_of(run, tiny_pets)
    names = class_names("breed", tiny_pets)
    table = analysis.class_table(confusion, names)
    precision, recall, dice, support = precision_recall_fscore_support(
        truths.ravel(), predictions.ravel(), labels=range(len(names)), zero_division=np.nan
    )
    assert table["class"].tolist() == list(names)
    for column, theirs in {"precision": precision, "recall": recall, "share": support / truths.size}.items():
        np.testing.assert_allclose(table[column], theirs, err_msg=column)
    occurs = (confusion.sum(0) + confusion.sum(1) > 0).numpy()
    np.testing.assert_allclose(table["dice"][occurs], np.nan_to_num(dice[occurs]))
    assert table["dice"][~occurs].isna().all()


def test_a_class_that_is_nowhere_has_no_scores_and_a_missed_one_has_zero():
    confusion = torch.tensor([[90, 0, 0, 2], [5, 0, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]])
    table = analysis.class_table(confusion, ("background", "missed", "nowhere", "invented")).set_index("class")
    assert table.loc["missed", ["dice", "iou", "recall"]].tolist() == [0, 0, 0]
    assert table.loc["nowhere", ["dice", "iou", "precision", "recall"]].isna().all()
    assert table.loc["invented", ["dice", "iou", "precision"]].tolist() == [0, 0, 0]
    assert np.isnan(table.loc["missed", "precision"])
    assert np.isnan(table.loc["invented", "recall"])
    assert table["share"].tolist() == [0.92, 0.08, 0, 0]


def test_one_foreground_has_a_confusion_too(run, tiny_pets):
    summary, _, confusion = analysis.evaluate(run, tiny_pets, device="cpu", precision="float32")
    table = analysis.class_table(confusion, ("background", "pet"))
    assert table.loc[1, ["dice", "iou"]].tolist() == pytest.approx([summary["dice_pooled"], summary["iou_pooled"]])


def test_masks_of_several_classes_are_palette_images_of_their_indices(tiny_pets, tmp_path):
    run = trained(tiny_pets, tmp_path / "run", target="species")
    predictor = analysis.load_predictor(run, "cpu", "float32")
    files = [tiny_pets.image_path(p) for p in tiny_pets.split("test")[:3]]
    for source, (name, _) in zip(files, analysis.predict_files(predictor, files, tmp_path / "masks"), strict=True):
        expected = predictor.image_logits(read_image(source)).argmax(0).numpy()
        with Image.open(tmp_path / "masks" / f"{name}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), expected)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), painting.CLASS_COLORS[expected])


def test_a_network_is_not_scored_on_data_with_other_classes(tiny_pets, own_pets, tmp_path):
    from labkit.data import open_pets

    run = trained(tiny_pets, tmp_path / "run", target="breed")
    fewer = own_pets(24, 6)
    for path in (fewer / "annotations").glob("*.txt"):
        lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
        path.write_text("".join(f"{name} {min(int(c), 3)} {s} {b}\n" for name, c, s, b in lines))
    with pytest.raises(LabError, match="tells 5 classes apart"):
        analysis.evaluate(run, open_pets(fewer), device="cpu")


def test_the_shell_prints_the_table_of_the_classes(tiny_pets, tiny_root, tmp_path):
    run = trained(tiny_pets, tmp_path / "run", target="species")
    result = CliRunner().invoke(cli.app, ["evaluate", str(run.path), "--data", str(tiny_root), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    rows = {words[0]: words[1:] for line in result.output.splitlines() if (words := line.split())}
    assert rows["class"] == ["share", "dice", "iou", "precision", "recall"]
    confusion = analysis.evaluate(run, tiny_pets, device="cpu").confusion
    table = analysis.class_table(confusion, ("background", "cat", "dog")).set_index("class")
    for name, values in table.iterrows():
        assert float(rows[name][0]) == pytest.approx(values["share"], abs=1e-4)
