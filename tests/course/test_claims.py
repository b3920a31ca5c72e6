"""Claims are files, their trainings a queue, their results records, and verdicts follow from these alone."""

import json
import tomllib

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from course.experiments import claims as claim_files
from course.experiments import measures
from course.experiments.claim_jobs import EPOCHS, ClaimWatch, run_timed_job, write_records
from course.experiments.claim_queue import ClaimQueue, recorded_rows
from course.experiments.claims import SCALES, due_runs, load_claims, load_scale, read_claim
from course.experiments.jobs import Job
from course.experiments.verdicts import ClaimRecords, judge, verdict_table
from labkit.analysis import Predictor, load_predictor, predict_batches
from labkit.errors import LabError
from labkit.metrics import foreground_logit
from labkit.training import Epoch, open_run
from labkit.training.runs import load_checkpoint
from tests.labkit.test_training import recipe, trained

REPORTED = {
    *("ranking", "convergence", "stability", "copies", "val-loss", "speed", "augment", "flips", "learning-rate"),
    *("overfit", "init", "sigmoid", "dice-loss", "dropout", "norm-decay", "loss-score", "normalize", "width"),
    *("upsample", "padding", "boundary", "imbalance", "optimizer", "attention", "region-first", "redraw"),
}
CLAIMS = {claim.id: claim for claim in load_claims()}


# --- the files


def test_every_claim_of_the_reports_has_a_file_and_each_names_its_report():
    assert len(REPORTED) == 26
    assert CLAIMS.keys() == REPORTED | {"faults-000", "faults-003"}
    for claim in CLAIMS.values():
        assert set(claim.reports) | set(claim.against) <= {"000", "001", "002", "003", "004"}
        assert any(one.counts for one in claim.comparisons)


@pytest.mark.parametrize("scale", SCALES)
def test_every_arm_makes_a_recipe_at_every_scale(scale):
    base = load_scale(scale)[1]
    best = {f"{name}": 0.5 for name in due_runs(CLAIMS.values(), scale, base, {})}
    for run, planned in due_runs(CLAIMS.values(), scale, base, best).items():
        assert planned.run == run
        assert planned.recipe.training.seed == planned.changes["training.seed"]
        assert planned.recipe.data.image_size in (32, 64, 128)


def test_the_scale_for_processors_is_fixed_and_affordable():
    data, base = load_scale("cpu")
    assert (data, base.data.image_size, base.data.train_images, base.model.width) == ("pets", 64, 1000, 8)
    assert (base.training.epochs, base.training.precision) == (12, "float32")
    trials = due_runs(CLAIMS.values(), "cpu", base, {})
    whole = due_runs(CLAIMS.values(), "cpu", base, dict.fromkeys(trials, 0.5))
    assert sum(not planned.alone for planned in whole.values()) <= 170


def test_arms_that_come_to_the_same_recipe_are_one_training():
    base = load_scale("cpu")[1]
    both = due_runs([CLAIMS["dropout"], CLAIMS["dice-loss"]], "cpu", base, {})
    texts = [planned.recipe.toml() for planned in both.values()]
    assert len(both) == 3 + 3 + 3
    assert len(set(texts)) == len(texts)


def test_a_tuned_arm_waits_for_its_trials_and_takes_the_best_on_validation():
    base = load_scale("cpu")[1]
    trials = due_runs([CLAIMS["attention"]], "cpu", base, {})
    assert len(trials) == 6
    assert all(planned.recipe.training.seed == 0 for planned in trials.values())
    dice = {run: 0.9 if "learning_rate=0.003" in run else 0.8 for run in trials}
    whole = due_runs([CLAIMS["attention"]], "cpu", base, dice)
    later = [planned.recipe for planned in whole.values() if planned.recipe.training.seed > 0]
    assert len(whole) == 6 + 2 * 4
    assert {what.training.learning_rate for what in later} == {0.003}


def test_trials_come_first_and_what_measures_time_last(tmp_path, lab_home, monkeypatch):
    queue = ClaimQueue([CLAIMS[name] for name in ("speed", "dropout", "attention")], "tiny", tmp_path, {})
    batches = []

    def done(jobs, *_):
        batches.append([job.labels["run"] for job in jobs])
        yield from (
            (
                job,
                {
                    "status": "done",
                    **dict.fromkeys(("valid_dice", "dice_per_image", "images_per_second", "seconds"), 0.5),
                },
                False,
            )
            for job in jobs
        )

    monkeypatch.setattr("course.experiments.claim_queue.run_jobs", done)
    assert queue.work()
    trials, together, alone = batches
    assert len(trials) == 6
    assert all(run.endswith("seed=0") for run in trials)
    assert len(together) == 2 + 3 + 8  # seed 0 of dropout's first arm was a trial of attention's
    assert len(alone) == 6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seeds": 0}, "seeds: Input should be greater than or equal to 1"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"comparisons": [{"measure": "dice", "first": "c", "expected": "higher"}]}, "'c' is none of the arms a, b"),
        ({"comparisons": [{"measure": "luck", "first": "a", "expected": "higher"}]}, r"comparisons\.0\.measure"),
    ],
)
def test_a_wrong_claim_is_one_sentence_with_its_file(tmp_path, change, sentence):
    import tomli_w

    good = {"claim": "A.", "reports": ["000"], "reported": "-", "supported": "-", "refuted": "-", "seeds": 3}
    good |= {"arms": {"a": {}, "b": {"model.width": 4}}, "comparisons": []}
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(good | change))
    with pytest.raises(LabError, match=sentence) as error:
        read_claim(tmp_path / "mine.toml")
    assert "mine.toml" in str(error.value)


def test_an_unknown_claim_or_scale_is_told_with_those_there_are():
    with pytest.raises(LabError, match="no claim 'luck'; there are attention, augment"):
        load_claims(["luck"])
    with pytest.raises(LabError, match="no scale 'huge'; there are tiny, cpu, gpu"):
        load_scale("huge")


# --- the measures


@pytest.fixture(scope="module")
def tiny_run(tiny_root, lab_folder, tmp_path_factory):
    """A run of four epochs and its data."""
    from labkit.data import open_pets

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        pets, run = open_pets(tiny_root), tmp_path_factory.mktemp("runs") / "run"
        return pets, run, trained(recipe(), pets, run)


def test_calibration_of_an_epoch_is_torchmetrics(tiny_run, lab_home):
    pets, run, epochs = tiny_run
    predictor = load_predictor(open_run(run), "cpu", "float32")
    row = measures.epoch_measures(predictor, pets, epochs[-1])
    logits, truth, _ = next(iter(predict_batches(predictor, pets, pets.split("valid"))))
    probability = foreground_logit(logits).sigmoid()
    # torchmetrics bins the probability of the foreground, here the one of the called class is binned
    sure, right = torch.maximum(probability, 1 - probability), ((probability > 0.5).long() == truth).long()
    oracle = BinaryCalibrationError(n_bins=15, norm="l1")(sure.flatten(), right.flatten())
    assert row["ece"] == pytest.approx(float(oracle), abs=1e-5)
    assert row["confidence"] == pytest.approx(float(sure.mean()), abs=1e-6)
    assert row["class_right"] == 1
    assert row["spike"] == pytest.approx(max(epochs[-1].step_losses) / np.median(epochs[-1].step_losses))


class Painted(torch.nn.Module):
    """Gives the same logits whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits.expand(len(images), -1, -1, -1)


def test_region_and_class_are_told_apart(tiny_pets, monkeypatch):
    truth = torch.tensor([[[0, 0, 1, 1], [0, 2, 2, 2]]])
    called = torch.tensor([[[0, 1, 1, 2], [0, 2, 2, 0]]])
    logits = torch.nn.functional.one_hot(called, 3).permute(0, 3, 1, 2).float() * 20
    monkeypatch.setattr(measures, "predict_batches", lambda *_: [(logits, truth, torch.tensor([0]))])
    predictor = Predictor(recipe(), torch.nn.Identity(), torch.device("cpu"), "float32")
    clock = dict.fromkeys(("seconds", "images_per_second", "learning_rate"), 1.0)
    epoch = Epoch(1, train_loss=1.0, valid_loss=1.0, valid_dice=0.5, valid_iou=0.4, step_losses=(1.0,), **clock)
    row = measures.epoch_measures(predictor, tiny_pets, epoch)
    assert row["region_iou"] == pytest.approx(4 / 6)
    assert row["class_right"] == pytest.approx(3 / 4)


def test_run_measures_by_hand(tiny_run, lab_home, monkeypatch):
    pets, run, _ = tiny_run
    opened = open_run(run)
    masks = torch.zeros(1, 1, 32, 32)
    masks[..., :4, :] = 20.0
    painted = Predictor(opened.recipe, Painted(masks - 10), torch.device("cpu"), "float32")
    monkeypatch.setattr(measures, "load_predictor", lambda *_: painted)
    images = pd.DataFrame({"dice": [0.1, 0.5, 0.3], "foreground": [0.2, 0.4, 0.3]})
    found = measures.run_measures(opened, pets, images, "cpu")
    truths = [truth for _, truth, _ in predict_batches(painted, pets, pets.split("test"))]
    truth = torch.cat(truths) > 0
    band = measures.border_band(32)
    assert band.sum() == 32 * 32 - 24 * 24
    called = (masks[0] > 0) & band
    expected = 2 * (truth & called).sum() / ((truth & band).sum() + len(truth) * called.sum())
    assert found["border_dice"] == pytest.approx(float(expected))
    assert found["foreground_bias"] == pytest.approx(4 / 32 - float(truth.float().mean()), abs=1e-6)
    assert found["dice_by_share"] == pytest.approx(1.0)
    assert found["images_per_second"] == opened.history()["images_per_second"].max()


def test_what_is_read_off_the_curves():
    curves = pd.DataFrame(
        {
            "valid_loss": [0.9, 0.5, 0.4, 0.45, 0.55, 0.65],
            "valid_dice": [0.3, 0.6, 0.8, 0.79, 0.78, 0.77],
            "train_loss": [0.8, 0.6, 0.5, 0.4, 0.3, 0.2],
            "confidence": [0.6, 0.7, 0.8, 0.85, 0.9, 0.95],
            "ece": [0.1, 0.05, 0.04, 0.05, 0.06, 0.07],
            "region_iou": [0.2, 0.5, 0.6, 0.6, 0.6, 0.6],
            "class_right": [0.5, 0.5, 0.5, 0.6, 0.7, 0.7],
            "spike": [1.0, 2.0, 3.0, 1.0, 1.0, 1.0],
        }
    )
    expected = {
        "epochs_to_level": 3,
        "fluctuation": 0.0,
        "valid_loss_last": 0.65,
        "valid_loss_least": 0.4,
        "valid_loss_early": 0.7,
        "valid_loss_rise": 0.25,
        "valid_dice_fall": 0.03,
        "confidence_change": 0.15,
        "ece_change": 0.03,
        "train_loss_last": 0.2,
        "loss_left": 0.25,
        "class_lag": 2,
        "spikes": 1.5,
    }
    assert expected.keys() == set(measures.CURVE_MEASURES)
    for name, value in expected.items():
        assert measures.curve_measure(name, curves, 0.75) == pytest.approx(value, abs=1e-9), name
    assert measures.curve_measure("epochs_to_level", curves, 0.9) == 7


def test_a_run_whose_row_was_lost_is_begun_anew(tiny_run, lab_home, tmp_path):
    import shutil

    _, run, _ = tiny_run
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    rows = pd.DataFrame([dict.fromkeys(measures.EPOCH_COLUMNS, 1.0)] * 4)
    rows.to_csv(copy / EPOCHS, index=False)
    watch = ClaimWatch(Job(str(copy), "", "", {}))
    watch.begin()
    assert (len(watch.rows), (copy / "last.pt").is_file()) == (4, True)
    rows[:3].to_csv(copy / EPOCHS, index=False)  # killed between the checkpoint of epoch 4 and its row
    watch.begin()
    assert (len(watch.rows), (copy / "last.pt").is_file()) == (0, False)
    assert len(load_checkpoint(run / "last.pt")["history"]) == 4


# --- the queue, the records, the verdicts


@pytest.fixture(scope="module")
def small_claim(tmp_path_factory):
    """A folder of claims with one of two arms and two seeds, whose trainings take a second."""
    folder = tmp_path_factory.mktemp("claims")
    text = (claim_files.FOLDER / "dropout.toml").read_text().replace("seeds = 3", "seeds = 2")
    (folder / "dropout.toml").write_text(text)
    scales = tomllib.loads((claim_files.FOLDER / "scales.toml").read_text())
    scales["tiny"]["recipe"]["training"]["epochs"] = 1
    import tomli_w

    (folder / "scales.toml").write_text(tomli_w.dumps(scales))
    return folder


@pytest.fixture(scope="module")
def recorded(small_claim, tmp_path_factory):
    """The home of a lab in which `course claims run` and `record` were called, and what they printed."""
    import sys
    from contextlib import redirect_stdout
    from io import StringIO

    from course.cli import main

    home, texts = tmp_path_factory.mktemp("home"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(home))
        patch.setattr(claim_files, "FOLDER", small_claim)
        for words in (["run", "--minutes", "0"], ["run"], ["run"], ["record", "--scale", "tiny"], ["run"]):
            patch.setattr(sys, "argv", ["course", "claims", *words])
            with redirect_stdout(StringIO()) as shown, pytest.raises(SystemExit):
                main()
            texts.append(shown.getvalue())
        yield home, texts


def test_minutes_end_the_queue_and_the_same_command_goes_on(recorded):
    _, (stopped, going_on, again, _, _) = recorded
    assert "4 trainings are due now" in stopped
    assert "the minutes are over; the same command goes on" in stopped
    assert "4 done, 0 left, 0 failed" in going_on
    assert again.count("done before") == 4


def test_records_hold_a_row_a_run_its_epochs_and_the_dice_of_every_test_image(recorded):
    home, texts = recorded
    assert "4 of 4 trainings recorded" in texts[3]
    rows = pd.read_csv(home / "records" / "claims.csv")
    assert len(rows) == 4
    assert {"scale", "seed", "changes", "precision", "processor", "commit", "seconds", "dice_per_image"} <= {*rows}
    assert {*rows["precision"]} == {"float32"}
    epochs = pd.read_csv(home / "records" / "claims-epochs.csv")
    assert {*epochs} == {"run", *measures.EPOCH_COLUMNS}
    with np.load(home / "records" / "claims-dice.npz") as arrays:
        for row in rows.itertuples():
            assert (arrays[row.run] / 65535).mean() == pytest.approx(row.dice_per_image, abs=1e-5)
        assert len(arrays["tiny.names"]) == len(arrays["tiny.foreground"]) == 198


def test_what_is_recorded_is_not_done_again_unless_the_recipe_changes(recorded, small_claim, monkeypatch):
    home, texts = recorded
    assert "0 trainings are due now, 4 are in the records" in texts[4]
    monkeypatch.setenv("LABKIT_HOME", str(home))
    monkeypatch.setattr(claim_files, "FOLDER", small_claim)
    rows = recorded_rows(home / "records")
    queue = ClaimQueue(load_claims(), "tiny", home / "new", rows)
    assert not queue.due()
    queue = ClaimQueue(load_claims(), "tiny", home / "new", rows)
    queue.base = queue.base.changed(training={"learning_rate": 2e-3})
    assert len(queue.due()) == 4


def test_recording_twice_changes_nothing(recorded, small_claim, monkeypatch, shell):
    home, _ = recorded
    monkeypatch.setattr(claim_files, "FOLDER", small_claim)
    before = {path.name: path.read_bytes() for path in (home / "records").glob("*.csv")}
    monkeypatch.setenv("LABKIT_HOME", str(home))
    assert shell("claims", "record", "--scale", "tiny")[0] == 0
    assert {path.name: path.read_bytes() for path in (home / "records").glob("*.csv")} == before


def test_a_claim_about_time_is_judged_without_scoring_an_image(tmp_path, lab_home):
    claim = CLAIMS["speed"].model_copy(update={"seeds": 2})
    queue = ClaimQueue([claim], "tiny", tmp_path, {}, device="cpu")
    rows = [run_timed_job(job) for job in queue.all_jobs()]
    assert all(row["images_per_second"] > 64 / row["seconds"] for row in rows)  # 64 images an epoch, 3 of them
    assert write_records(queue.all_jobs(), "tiny", tmp_path) == 4
    queue = ClaimQueue([claim], "tiny", tmp_path, recorded_rows(tmp_path), device="cpu")
    assert not queue.due()
    speed, memory = judge(claim, ClaimRecords(tmp_path, "tiny"))
    assert speed["low"] < speed["effect"] < speed["high"]
    assert speed["effect"] == pytest.approx(
        np.mean([r["images_per_second"] for r in rows[:2]]) - np.mean([r["images_per_second"] for r in rows[2:]]),
        rel=1e-4,
    )
    # counted, not measured: at this scale the ResNet of width 8 keeps less than the UNet of width 4
    assert (memory["low"], memory["found"]) == (memory["effect"], "as said")


def test_the_verdict_command_writes_a_table_of_what_it_prints(recorded, small_claim, monkeypatch, shell):
    home, _ = recorded
    monkeypatch.setattr(claim_files, "FOLDER", small_claim)
    monkeypatch.setenv("LABKIT_HOME", str(home))
    status, out, _ = shell("claims", "verdict", "--scale", "tiny")
    table = pd.read_csv(home / "records" / "verdicts.csv")
    assert (status, len(table), table["runs"][0]) == (0, 1, 4)
    assert f"dropout: {table['verdict'][0]} (4 runs, scale tiny)" in out
    assert table["low"][0] <= table["effect"][0] <= table["high"][0]


def test_records_that_are_not_there_are_told(tmp_path, shell, lab_home):
    status, _, error = shell("claims", "verdict", "--records", tmp_path)
    assert status == 1
    assert "no whole records of claims" in error


def written_records(folder, shift: float, seeds: int = 5, missing: int = 0, images: int = 400):
    """Records of made-up runs of the claim on dropout at scale cpu: `with` is better by `shift`."""
    rng = np.random.default_rng(0)
    base, hard = load_scale("cpu")[1], rng.gamma(0.5, 0.15, images)
    claim = CLAIMS["dropout"].model_copy(update={"seeds": seeds})
    rows, epochs, dice = [], [], {}
    for run, planned in list(due_runs([claim], "cpu", base, {}).items())[missing:]:
        changes = {key: value for key, value in planned.changes.items() if key != "training.seed"}
        effect = shift if changes else 0.0
        values = np.clip(0.8 + effect - hard + rng.normal(0, 0.004) + rng.normal(0, 0.05, images), 0, 1)
        dice[run] = np.round(values * 65535).astype(np.uint16)
        rows.append({"run": run, "scale": "cpu", "changes": json.dumps(changes), "valid_dice": 0.8})
        rows[-1] |= {"dice_per_image": values.mean()}
        epochs.append({"run": run} | dict.fromkeys(measures.EPOCH_COLUMNS, 0.5))
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "claims.csv", index=False)
    pd.DataFrame(epochs).to_csv(folder / "claims-epochs.csv", index=False)
    np.savez_compressed(folder / "claims-dice.npz", **dice)
    return claim, ClaimRecords(folder, "cpu")


@pytest.mark.parametrize(("shift", "verdict"), [(0.03, "supported"), (-0.03, "refuted"), (0.0, "undecided")])
def test_a_known_effect_gets_its_verdict(tmp_path, shift, verdict):
    (row,) = judge(*written_records(tmp_path / "records", shift))
    assert row["verdict"] == verdict
    assert row["low"] < shift < row["high"]
    assert row["first_mean"] - row["second_mean"] == pytest.approx(row["effect"])


def test_one_missing_run_is_not_yet_run(tmp_path):
    claim, records = written_records(tmp_path / "records", 0.1, missing=1)
    table = verdict_table([claim], records)
    assert table["verdict"].tolist() == ["not yet run"]
    assert table["runs"].tolist() == [5]
    assert table["effect"].isna().all()
