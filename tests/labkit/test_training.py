import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.sample_runs import publish
from labkit.data import BatchTransform, Pets, load_arrays, open_pets
from labkit.errors import LabError
from labkit.files import claim_run_folder, written_whole
from labkit.metrics import dice_score, overlap_counts, per_image
from labkit.training import (
    HISTORY,
    MovingAverage,
    Recipe,
    build_network,
    build_optimizer,
    build_schedule,
    epochs,
    loop,
    open_run,
    parse_recipe,
    resolve,
    save_weights,
    valid_scores,
)
from labkit.training.runs import load_checkpoint, save_checkpoint
from labkit.training.tables import TrainingTable

CLOCK = ("seconds", "images_per_second")


def recipe(**tables: dict) -> Recipe:
    """A training of a second: 16 pictures of 32x32, four epochs, a network of width 4."""
    quick = Recipe().changed(
        data={"image_size": 32, "augment": {"horizontal_flip": 0.5, "affine": 0.5, "rotate": 20}},
        model={"width": 4, "depth": 2, "dropout": 0.2, "initialization": "he"},
        training={"epochs": 4, "batch_size": 8, "learning_rate": 3e-2, "precision": "float32", "seed": 1},
    )
    return quick.changed(**tables)


def trained(what: Recipe, pets: Pets, run=None, **more) -> list:
    return list(epochs(what, pets, run, device="cpu", **more))


def without_clock(epochs) -> list[dict]:
    return [{key: value for key, value in epoch.row().items() if key not in CLOCK} for epoch in epochs]


def weights(run, name="model") -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "last.pt")[name]


def equal_weights(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def finished(tiny_root, lab_folder, tmp_path_factory):
    """A run of four epochs: its folder and what `fit` yielded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        run = tmp_path_factory.mktemp("runs") / "finished"
        return run, trained(recipe(), open_pets(tiny_root), run)


# --- the run folder


def test_one_record_is_yielded_for_each_epoch(finished):
    _, epochs = finished
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    assert all(len(epoch.step_losses) == 2 for epoch in epochs)
    for epoch in epochs:
        assert epoch.train_loss == pytest.approx(sum(epoch.step_losses) / 2, rel=1e-5)


def test_training_learns_to_find_the_drawn_pets(tiny_pets):
    epochs = trained(recipe(training={"epochs": 12, "batch_size": 4}), tiny_pets)
    assert epochs[-1].valid_dice > 0.9


def test_run_folder_holds_what_the_design_names(finished):
    run, _ = finished
    names = {path.name for path in run.iterdir() if not path.name.startswith(".labkit-")}
    files = {"recipe.toml", "environment.json", "history.csv", "best.safetensors", "last.pt"}
    assert names == files | {"tensorboard"}
    assert json.loads((run / "environment.json").read_text())["torch"] == torch.__version__.partition("+")[0]
    assert any((run / "tensorboard").iterdir())


def test_history_has_the_columns_of_the_design_and_the_yielded_numbers(finished):
    run, epochs = finished
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = "epoch, seconds, images_per_second, learning_rate, train_loss, valid_loss, valid_dice, valid_iou"
    assert tuple(rows[0]) == HISTORY == tuple(columns.split(", "))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == [epoch.row() for epoch in epochs]
    assert open_run(run).history().to_dict("records") == [epoch.row() for epoch in epochs]


def test_written_recipe_is_the_resolved_one(finished, tiny_pets):
    run, _ = finished
    written = parse_recipe((run / "recipe.toml").read_text(), "recipe.toml")
    assert written == resolve(recipe(), tiny_pets, "cpu")
    assert written.model.classes == 1
    assert written.data.fingerprint == tiny_pets.fingerprint
    assert written.training.device == "cpu"
    assert resolve(written, tiny_pets, "cpu") == written


def test_weights_file_carries_recipe_and_epoch(finished):
    run, epochs = finished
    with safe_open(run / "best.safetensors", "pt") as file:
        metadata = file.metadata()
    assert parse_recipe(metadata["recipe"], "metadata") == open_run(run).recipe
    best = max(epochs, key=lambda epoch: epoch.valid_dice)
    assert int(metadata["epoch"]) == best.epoch
    assert float(metadata["valid_dice"]) == best.valid_dice


def test_folder_and_weights_file_alone_give_the_same_logits(finished, tmp_path):
    run, _ = finished
    alone = tmp_path / "handed-over.safetensors"
    alone.write_bytes((run / "best.safetensors").read_bytes())
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        from_folder, from_file = (open_run(path).model()(image) for path in (run, alone))
    assert torch.equal(from_folder, from_file)
    assert (open_run(run).name, open_run(alone).name) == ("finished", "handed-over")
    with pytest.raises(LabError, match=r"no history\.csv"):
        open_run(alone).history()


def test_best_weights_score_what_the_history_says(finished, tiny_pets):
    run, epochs = finished
    opened, arrays = open_run(run), load_arrays(tiny_pets, 32)
    data, valid = opened.recipe.data, tiny_pets.split("valid")
    with torch.no_grad():
        images = torch.from_numpy(arrays.images[valid]).permute(0, 3, 1, 2) / 255 - torch.tensor(data.mean).view(
            3, 1, 1
        )
        logits = opened.model()(images / torch.tensor(data.std).view(3, 1, 1))
    truth = torch.from_numpy((arrays.trimaps[valid] != 2).astype("int64"))
    dice = per_image(dice_score, overlap_counts((logits[:, 0] > 0).long(), truth)).mean().item()
    assert dice == pytest.approx(max(epoch.valid_dice for epoch in epochs), abs=1e-9)


def test_validation_loss_does_not_depend_on_how_the_images_are_batched(tiny_pets):
    what = resolve(recipe(training={"loss": "bce"}), tiny_pets, "cpu")
    prepare = BatchTransform(tiny_pets, "foreground", what.data.mean, what.data.std)
    arrays, indices = load_arrays(tiny_pets, 32), tiny_pets.split("train")
    model = build_network(what)
    whole = valid_scores(model, arrays, indices, prepare, what, 32)
    ones = [valid_scores(model, arrays, indices[[i]], prepare, what, 32) for i in range(len(indices))]
    for key in ("loss", "dice", "iou"):
        assert whole[key] == pytest.approx(sum(one[key] for one in ones) / len(ones), abs=1e-6)


def test_existing_run_is_refused_and_left_as_it_is(finished, tiny_pets):
    run, _ = finished
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    with pytest.raises(LabError, match=r"already holds a run"):
        trained(recipe(training={"epochs": 1}), tiny_pets, run)
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_without_a_run_folder_nothing_is_written(tiny_pets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(recipe(training={"epochs": 1}), tiny_pets)
    assert list(tmp_path.iterdir()) == []


def test_test_images_are_never_asked_for(tiny_pets, monkeypatch, tmp_path):
    asked, split = [], Pets.split
    monkeypatch.setattr(Pets, "split", lambda self, part, *rest: asked.append(part) or split(self, part, *rest))
    seen = []
    progress = lambda batches, epoch: (seen.extend(b.indices.tolist()) or b for b in batches)  # noqa: E731
    trained(recipe(training={"epochs": 1}), tiny_pets, tmp_path / "run", progress=progress)
    assert set(asked) == {"train", "valid"}
    assert sorted(seen) == sorted(split(tiny_pets, "train").tolist())


def test_other_pictures_among_the_test_images_change_nothing(own_pets):
    """The arrays hold all images; nothing but the training images may decide mean, deviation and weights."""
    pets = open_pets(own_pets(count=24, tests=6))
    before = trained(recipe(training={"epochs": 2}), pets)
    for index in pets.split("test"):
        size = pets.image(index).shape[1::-1]
        Image.new("RGB", size, (255, 0, 255)).save(pets.image_path(index), "PNG")
    after = trained(recipe(training={"epochs": 2}), open_pets(pets.folder))
    assert without_clock(before) == without_clock(after)


# --- the same again, and going on


def test_same_seed_gives_the_same_history_to_the_bit(finished, tiny_pets):
    _, epochs = finished
    torch.rand(17)  # whatever else draws random numbers
    assert without_clock(trained(recipe(), tiny_pets)) == without_clock(epochs)


def test_another_seed_gives_another_history(finished, tiny_pets):
    _, epochs = finished
    other = trained(recipe(training={"seed": 2, "epochs": 1}), tiny_pets)
    assert other[0].train_loss != epochs[0].train_loss


VARIANTS = {
    "plain": {},
    "moving-average": {"training": {"ema": 0.9}},
    "accumulated": {"training": {"accumulate": 2, "batch_size": 4}},
    "sgd-cosine": {"training": {"optimizer": "sgd", "schedule": "cosine", "weight_decay": 0.01}},
    "radam-sizes": {
        "data": {"image_size": 48},
        "training": {"optimizer": "radam", "schedule": "constant", "sizes": [[32, 1], [48, 1]]},
    },
    "bfloat16": {"training": {"precision": "bfloat16"}},
    "float16": {"training": {"precision": "float16"}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_run_ends_bit_for_bit_as_the_unbroken_one(variant, tiny_pets, tmp_path):
    what = recipe(**VARIANTS[variant])
    unbroken = trained(what, tiny_pets, tmp_path / "unbroken")
    records = []
    for stop in (1, 3, 4):  # started three times, the last time to the end
        for epoch in epochs(what, tiny_pets, tmp_path / "broken", device="cpu", resume=True):
            torch.rand(epoch.epoch)  # whoever watches may draw random numbers
            records.append(epoch)
            if epoch.epoch == stop:
                break
    assert without_clock(records) == without_clock(unbroken)
    for name in ("model", *(["average"] if "ema" in VARIANTS[variant].get("training", {}) else [])):
        assert equal_weights(weights(tmp_path / "broken", name), weights(tmp_path / "unbroken", name))
    best = [load_file(tmp_path / run / "best.safetensors") for run in ("broken", "unbroken")]
    assert equal_weights(*best)
    assert [row.row() for row in records] == open_run(tmp_path / "broken").history().to_dict("records")


def test_finished_run_resumes_to_nothing(finished, tiny_pets):
    run, _ = finished
    assert trained(recipe(), tiny_pets, run, resume=True) == []


def test_resuming_with_another_recipe_is_refused(finished, tiny_pets):
    run, _ = finished
    with pytest.raises(LabError, match="another recipe"):
        trained(recipe(training={"learning_rate": 0.5}), tiny_pets, run, resume=True)


PROGRAM = textwrap.dedent("""
    import sys
    sys.path.insert(0, sys.argv[4])
    from tests.labkit.test_training import recipe
    from labkit.data import open_pets
    from labkit.training import epochs
    import labkit.training.checkpoints as checkpoints

    at, keep = sys.argv[3], getattr(checkpoints, sys.argv[3])
    def hanging(path, *rest, **more):
        keep(path, *rest, **more)
        print("written", flush=True)
        import time
        time.sleep(600)
    setattr(checkpoints, at, hanging)
    list(epochs(recipe(), open_pets(sys.argv[1]), sys.argv[2], device="cpu"))
""")


@pytest.mark.parametrize("after", ["save_weights", "save_checkpoint"])
def test_run_killed_while_its_first_epoch_is_kept_can_be_resumed(after, finished, tiny_root, tiny_pets, tmp_path):
    run, here = tmp_path / "run", os.path.dirname(__file__)
    command = [sys.executable, "-c", PROGRAM, str(tiny_root), str(run), after, here]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    trained(recipe(), tiny_pets, run, resume=True)
    assert equal_weights(weights(run), weights(finished[0]))
    assert len(open_run(run).history()) == 4


# --- what a step is


def test_accumulated_batches_step_as_one_large_batch(tiny_pets):
    plain = {"model": {"norm": "none", "dropout": 0.0}}
    ends = []
    for batch_size, accumulate in ((8, 1), (4, 2), (2, 4)):
        # with bce the mean over a batch is the mean of its parts; a Dice loss is not
        table = {"loss": "bce", "batch_size": batch_size, "accumulate": accumulate, "optimizer": "sgd", "epochs": 3}
        ends.append(trained(recipe(**plain, training=table), tiny_pets)[-1])
    for other in ends[1:]:
        assert other.valid_loss == pytest.approx(ends[0].valid_loss, rel=1e-5)
        assert other.train_loss == pytest.approx(ends[0].train_loss, rel=1e-5)


def test_last_accumulated_step_of_an_epoch_is_a_mean_too(tiny_pets):
    """16 images are 4 batches of 4; taken three at a time, the last step has one, which must then weigh as one."""
    plain = {"model": {"norm": "none", "dropout": 0.0}, "data": {"augment": {"horizontal_flip": 0.0}}}
    scales = []
    with pytest.MonkeyPatch.context() as patch:
        step = loop.train_step

        def noted(model, images, masks, loss, precision, loss_scale, scaler):
            scales.append(loss_scale)
            return step(model, images, masks, loss, precision, loss_scale, scaler)

        patch.setattr(loop, "train_step", noted)
        table = {"loss": "bce", "batch_size": 4, "accumulate": 3, "epochs": 1}
        trained(recipe(**plain, training=table), tiny_pets)
    assert sum(scales[:3]) == pytest.approx(1)
    assert sum(scales[3:]) == pytest.approx(1)


@pytest.mark.parametrize(("schedule", "rates"), [("constant", [1, 1, 1]), ("cosine", [1, 0.5, 0]), ("one-cycle", None)])
def test_schedule_runs_over_the_whole_training(schedule, rates):
    parameter = torch.nn.Parameter(torch.zeros(1))
    table = TrainingTable(schedule=schedule, learning_rate=0.2, optimizer="sgd")
    optimizer = build_optimizer(torch.nn.ParameterList([parameter]), table)
    steps = build_schedule(optimizer, table, 40)
    met = [steps.get_last_lr()[0]]
    for _ in range(40):
        optimizer.step()
        steps.step()
        met.append(steps.get_last_lr()[0])
    if rates is None:
        assert max(met) == pytest.approx(0.2, rel=1e-2)
        assert met.index(max(met)) == pytest.approx(12, abs=1)  # it rises over 30 % of the steps
        assert met[-1] < 1e-4
    else:
        assert [met[0], met[20], met[40]] == pytest.approx([0.2 * rate for rate in rates], abs=1e-9)


def test_moving_average_by_hand():
    model = torch.nn.BatchNorm1d(1)
    average, by_hand = MovingAverage(model, 0.5), None
    for n, value in enumerate((4.0, 8.0, 2.0, -1.0, 0.5, 3.0, 7.0, 5.0, 6.0, 9.0)):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(-value)
            model.num_batches_tracked.fill_(n)
        average.update_parameters(model)
        decay = min(0.5, (1 + n) / (10 + n))
        by_hand = value if n == 0 else decay * by_hand + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(by_hand, rel=1e-5)
        assert average.module.running_mean.item() == pytest.approx(-by_hand, rel=1e-5)
        assert average.module.num_batches_tracked == n


def test_with_a_moving_average_it_is_what_is_kept(tiny_pets, tmp_path):
    trained(recipe(training={"ema": 0.9, "epochs": 1}), tiny_pets, tmp_path / "run")
    kept = load_file(tmp_path / "run" / "best.safetensors")
    average = {
        k.removeprefix("module."): v for k, v in weights(tmp_path / "run", "average").items() if k != "n_averaged"
    }
    assert equal_weights(kept, average)
    assert not equal_weights(kept, weights(tmp_path / "run"))


@pytest.mark.filterwarnings("ignore:cpu. has no bfloat16")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_float32_and_keeps_float32_weights(precision, tiny_pets, tmp_path):
    half = trained(recipe(training={"precision": precision, "epochs": 2}), tiny_pets, tmp_path / "half")
    full = trained(recipe(training={"epochs": 2}), tiny_pets)
    assert [e.train_loss for e in half] != [e.train_loss for e in full]
    assert half[-1].train_loss == pytest.approx(full[-1].train_loss, rel=0.05)
    kept = load_file(tmp_path / "half" / "best.safetensors")
    assert {v.dtype for v in kept.values() if v.is_floating_point()} == {torch.float32}


def test_gradients_beyond_float16_cost_a_step_and_nothing_else(tiny_pets):
    """The scaler leaves the step out and halves its factor; the gradients that count are without the factor."""
    what = resolve(recipe(training={"precision": "float16", "schedule": "constant"}), tiny_pets, "cpu")
    torch.manual_seed(0)
    trainer = loop.Trainer(what, tiny_pets, build_network(what))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    first, second = ([trainer.train[i : i + 8]] for i in (0, 8))
    trainer.epoch(first, 1, 32, lambda batches, epoch: batches)
    assert trainer.scaler.get_scale() == 2.0**59
    assert all(torch.equal(before[name], value) for name, value in trainer.model.named_parameters())
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    steps = trainer.epoch(second, 1, 32, lambda batches, epoch: batches)
    assert 0 < steps.gradient_norms[0] < 100
    assert any(not torch.equal(before[name], value) for name, value in trainer.model.named_parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_loss_that_is_no_number_stops_the_training_with_a_word(optimizer, tiny_pets, tmp_path):
    wild = recipe(training={"learning_rate": 1e30, "optimizer": optimizer, "schedule": "constant"})
    with pytest.raises(LabError, match=r"epoch \d, step \d: the loss is (nan|inf) at learning rate 1e\+30; lower it"):
        trained(wild, tiny_pets, tmp_path / "run")


def test_best_is_the_highest_dice_at_the_largest_size(tiny_pets, tmp_path, monkeypatch):
    """Validation scores are set by hand: the best of all is met at the smaller size and must not be kept."""
    scores = iter([0.7, 0.9, 0.5, 0.6, 0.55, 0.6])
    monkeypatch.setattr(loop, "valid_scores", lambda *_: {"loss": 1.0, "dice": next(scores), "iou": 0.5})
    table = {"sizes": [[32, 1], [48, 2]], "epochs": 6}
    epochs = trained(recipe(data={"image_size": 48}, training=table), tiny_pets, tmp_path / "run")
    assert [epoch.best for epoch in epochs] == [True, True, True, True, False, False]
    with safe_open(tmp_path / "run" / "best.safetensors", "pt") as file:
        assert file.metadata()["epoch"] == "4"


@pytest.mark.parametrize(
    ("target", "loss", "channels"),
    [
        ("foreground_strict", "bce", 1),
        ("border_ignored", "bce+dice", 1),
        ("foreground", "cross-entropy", 2),
        ("trimap", "cross-entropy+dice", 3),
        ("species", "cross-entropy", 3),
        ("breed", "cross-entropy", 5),
    ],
)
def test_every_target_trains(target, loss, channels, tiny_pets, tmp_path):
    what = recipe(data={"target": target}, training={"loss": loss, "epochs": 2})
    epochs = trained(what, tiny_pets, tmp_path / "run")
    assert epochs[1].train_loss < epochs[0].train_loss
    assert open_run(tmp_path / "run").model()(torch.zeros(1, 3, 32, 32)).shape[1] == channels


# --- what is damaged or wicked


class Wicked:
    def __reduce__(self):
        return (open, ("was-run", "w"))


def test_checkpoint_that_would_run_code_is_refused(finished, tiny_pets, tmp_path, monkeypatch):
    run = tmp_path / "run"
    claim_run_folder(run)
    monkeypatch.chdir(tmp_path)
    state = load_checkpoint(finished[0] / "last.pt")
    for content in (pickle.dumps(Wicked(), protocol=2), None):
        if content is None:
            torch.save(state | {"history": Wicked()}, run / "last.pt")
        else:
            (run / "last.pt").write_bytes(content)
        with pytest.raises(LabError, match=r"last\.pt.*damaged or no checkpoint"):
            trained(recipe(), tiny_pets, run, resume=True)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_cut_checkpoint_is_refused(share, finished, tiny_pets, tmp_path):
    content = (finished[0] / "last.pt").read_bytes()
    claim_run_folder(tmp_path)
    (tmp_path / "last.pt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(LabError, match=r"last\.pt"):
        trained(recipe(), tiny_pets, tmp_path, resume=True)


def test_checkpoint_of_something_else_is_refused(tiny_pets, tmp_path):
    claim_run_folder(tmp_path)
    save_checkpoint(tmp_path / "last.pt", {"state_dict": {}})
    with pytest.raises(LabError, match=r"last\.pt"):
        trained(recipe(), tiny_pets, tmp_path, resume=True)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_cut_weights_file_is_refused(share, finished, tmp_path):
    content = (finished[0] / "best.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(LabError, match=r"cut\.safetensors.*damaged"):
        open_run(path)


def test_weights_of_another_network_are_refused(finished, tmp_path):
    opened = open_run(finished[0])
    other = opened.recipe.changed(model={"width": 8})
    save_weights(tmp_path / "other.safetensors", opened.model(), other)
    with pytest.raises(LabError, match=r"other\.safetensors.*another network than unet"):
        open_run(tmp_path / "other.safetensors").model()


def test_weights_without_a_recipe_are_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(LabError, match=r"foreign\.safetensors.*carries no recipe"):
        open_run(tmp_path / "foreign.safetensors")


def test_weights_whose_recipe_is_cut_are_refused(finished, tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file(load_file(finished[0] / "best.safetensors"), path, {"recipe": open_run(finished[0]).recipe.toml()[:-9]})
    with pytest.raises(LabError, match=r"cut\.safetensors"):
        open_run(path)


@pytest.mark.parametrize("name", ["nothing-here", ""])
def test_where_there_is_no_run_the_answer_says_how_to_make_one(name, tmp_path):
    with pytest.raises(LabError, match="labkit train"):
        open_run(tmp_path / name)


def test_damaged_history_is_refused(finished, tmp_path):
    (tmp_path / "best.safetensors").write_bytes((finished[0] / "best.safetensors").read_bytes())
    (tmp_path / "history.csv").write_bytes(b"")
    with pytest.raises(LabError, match=r"history\.csv"):
        open_run(tmp_path).history()


def test_published_weights_carry_the_history(finished, tmp_path):
    opened = open_run(finished[0])
    publish(opened, tmp_path / "published.safetensors")
    published = open_run(tmp_path / "published.safetensors")
    assert published.recipe == opened.recipe
    assert published.history()["epoch"].tolist() == [1, 2, 3, 4]
    assert published.history()["valid_dice"].tolist() == pytest.approx([e.valid_dice for e in finished[1]], abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_kept_at_half_size_open_as_float32(dtype, finished, tmp_path):
    opened = open_run(finished[0])
    save_weights(tmp_path / "half.safetensors", opened.model(), opened.recipe, dtype=dtype)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * (finished[0] / "best.safetensors").stat().st_size
    half = open_run(tmp_path / "half.safetensors").model()
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(half(image), opened.model()(image), atol=0.1)


# --- files are written whole or not at all


def test_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("old")
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from labkit.files import written_whole
        with written_whole(Path(sys.argv[1]), "w", replace=True) as file:
            file.write("half of the n")
            file.flush()
            print("writing", flush=True)
            time.sleep(600)
    """)
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert path.read_text() == "old"


def test_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("old")

    def fail():
        with written_whole(path, "w", replace=True) as file:
            file.write("half of the n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("history.csv", "old")]


def test_folder_that_cannot_be_written_is_named(tiny_pets, tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    seen = []
    with pytest.raises(LabError, match="taken"):
        trained(
            recipe(), tiny_pets, tmp_path / "taken" / "run", progress=lambda batches, epoch: seen.append(1) or batches
        )
    assert not seen  # before an epoch is trained for nothing
