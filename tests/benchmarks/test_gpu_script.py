"""benchmarks/gpu.sh: end to end on the CPU at a tiny scale, and what it does when a step goes wrong."""

import csv
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_results
from tests.conftest import draw_pets

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"


@pytest.fixture
def home(tmp_path):
    """A home with the committed files, so that no array file lands in the repository."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("notebooks", "recipes", "weights"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.slow
def test_it_runs_end_to_end_and_leaves_one_table(tmp_path, home):
    draw_pets(tmp_path / "drawn")
    archive, out = tmp_path / "pets.tar.xz", tmp_path / "out"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(tmp_path / "drawn" / "oxford-iiit-pet", "oxford-iiit-pet")
    told = subprocess.run(
        ["bash", str(SCRIPT), "pets.tar.xz", "out"],
        env=os.environ | {"DEVICE": "cpu", "SCALE": "tiny", "LABKIT_HOME": str(home), "PYTHON": sys.executable},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    rows = list(csv.DictReader((out / "gpu.csv").open()))
    assert {row["status"] for row in rows} == {"ok"}
    figures = {(row["step"], row["what"]): row["figure"] for row in rows}
    assert figures["data", "images"] == "24"
    for step in ("notebook 04", "train UNet", "train ResNet34-UNet"):
        assert figures[step, "trained on"].startswith("CPU (cpu), ")
        assert figures[step, "epochs"].startswith("1 of 1")
    summary = json.loads((out / "unet" / "evaluations" / "data-test-64" / "summary.json").read_text())
    assert figures["test UNet", "Dice, test, 6 images at 64"].startswith(f"{summary['dice_per_image']:.4f} per image")
    assert "1.00x reports" in figures["throughput", "unet width 16, train, 64, reports"]
    assert "wanted: under 20 s" in figures["speedrun 0.90", "seconds to 0.90, seed 0"]
    assert (out / "gpu.md").read_text() in told.stdout
    assert (out / "lab" / "04_training.ipynb").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [([], "usage:"), (["missing.tar.xz"], "missing.tar.xz: no such archive"), (["a", "b", "c"], "usage:")],
)
def test_wrong_words_are_one_sentence_and_status_2(tmp_path, words, sentence):
    told = subprocess.run(["bash", str(SCRIPT), *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert sentence in told.stderr


def step(code: str, **changes):
    given = {"name": "a step", "stage": 1, "limit": 60.0, "found": list, "needs": {}} | changes
    return gpu.Step(command=[sys.executable, "-c", code], **given)


def test_a_step_that_fails_is_named_and_stops_no_other(tmp_path):
    steps = [
        step("print('figures'); raise SystemExit('the reason')", name="bad one"),
        step("print('fine')", name="good one", stage=2, found=lambda: [("length", "3 m")]),
        step("pass", name="hollow one", found=lambda: gpu_results.evaluation(tmp_path)),
    ]
    outcomes = {outcome.step: outcome for outcome in gpu.run_all(steps, tmp_path)}
    assert outcomes["bad one"].status.startswith("failed with status 1: the reason")
    assert outcomes["good one"].status == "ok"
    assert "no evaluation was written" in outcomes["hollow one"].status
    rows = gpu.table(list(outcomes.values()))
    assert [row["figure"] for row in rows if row["step"] == "good one"] == ["3 m"]
    assert [row["status"] for row in rows if row["step"] == "bad one"] == [outcomes["bad one"].status]


def test_a_step_that_takes_too_long_is_stopped_with_what_it_started(tmp_path):
    mark = tmp_path / "mark"
    late = f"import time; time.sleep(4); open({str(mark)!r}, 'w')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {late!r}])"
    outcome = gpu.run_step(step(code, limit=1.0, found=lambda: [("so far", "1")]), tmp_path, 100)
    assert outcome.status == "stopped after its 1 s"
    assert outcome.figures == [("so far", "1")], "what an unfinished training has reached is shown"
    time.sleep(4)
    assert not mark.exists()


def test_an_interrupt_ends_the_other_steps_and_keeps_what_was_found(tmp_path, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    steps = [
        step("pass", name="done", found=lambda: [("length", "3 m")]),
        step("pass", name="interrupted", stage=2, found=interrupted),
        step("import time; time.sleep(60)", name="long", stage=2),
    ]
    monkeypatch.setattr(gpu, "SCALES", {"full": lambda *_: steps})
    monkeypatch.setattr(sys, "argv", ["gpu", "pets.tar.xz", str(tmp_path), "--device", "cpu"])
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        gpu.main()
    assert time.perf_counter() - began < 40, "the long step was waited for"
    with (tmp_path / "gpu.csv").open() as file:
        assert [(row["step"], row["figure"]) for row in csv.DictReader(file)] == [("done", "3 m")]


def test_a_used_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "data.log").touch()
    monkeypatch.setattr(sys, "argv", ["gpu", "pets.tar.xz", str(tmp_path), "--device", "cpu"])
    with pytest.raises(SystemExit, match="holds an earlier run"):
        gpu.main()


def test_a_step_whose_packages_are_missing_is_left_out(tmp_path):
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'w')"
    outcome = gpu.run_step(step(code, needs={"no_such_module": "no-such-package", "json": "json"}), tmp_path, 100)
    assert outcome.status == "left out: needs no-such-package"
    assert not mark.exists()


def test_all_steps_fit_into_ten_minutes(tmp_path):
    steps = gpu.full_steps(tmp_path / "pets.tar.xz", tmp_path, "cuda")
    limits = {stage: max(s.limit or 0 for s in steps if s.stage == stage) for stage in {s.stage for s in steps}}
    assert gpu.TOTAL < 600
    assert sum(limits.values()) + 120 <= gpu.TOTAL, "the trainings get what is left, and that must be something"
    assert [s.name for s in steps if s.limit is None] == ["notebooks 01 to 05", "train UNet", "train ResNet34-UNet"]
    assert all("cuda" in s.command for s in steps if s.name != "data")


def test_a_training_on_another_device_is_wrong(tmp_path):
    (tmp_path / "environment.json").write_text('{"device": "cuda:0", "device_name": "NVIDIA H200"}')
    (tmp_path / "history.csv").write_text("epoch,seconds,valid_dice\n1,2.0,0.8\n2,1.0,0.9\n")
    (tmp_path / "recipe.toml").write_text('[training]\ndevice = "cuda:0"\nprecision = "bfloat16"\nepochs = 3\n')
    assert gpu_results.training(tmp_path, "cuda") == [
        ("trained on", "NVIDIA H200 (cuda:0), bfloat16"),
        ("epochs", "2 of 3, 1.50 s each"),
        ("best validation Dice", "0.9000"),
    ]
    (tmp_path / "recipe.toml").write_text('[training]\ndevice = "cpu"\nprecision = "bfloat16"\nepochs = 3\n')
    with pytest.raises(gpu_results.Wrong, match=r"recipe\.toml says that cpu did the training, not cuda"):
        gpu_results.training(tmp_path, "cuda")


def test_a_missing_gpu_is_one_sentence(tmp_path):
    if gpu_results.no_device("cuda") is None:
        pytest.skip("there is a GPU")
    (tmp_path / "pets.tar.xz").touch()
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", str(tmp_path / "pets.tar.xz"), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "no CUDA device to be used" in told.stderr
    assert "DEVICE=cpu SCALE=tiny" in told.stderr
    assert not (tmp_path / "gpu.csv").exists()


def test_the_speedrun_is_read_seed_by_seed(tmp_path):
    path = tmp_path / "speedrun.csv"
    path.write_text(
        "goal,seed,valid_dice,seconds_to_goal\n0.9,0,,14.2\n0.9,0,0.91,14.2\n0.9,1,0.85,\n0.93,0,0.931,99.0\n"
    )
    assert gpu_results.speedrun(path, "0.90", 20) == [
        ("seconds to 0.90, seed 0", "14.2 s (wanted: under 20 s), best Dice 0.9100"),
        ("seconds to 0.90, seed 1", "not reached (wanted: under 20 s), best Dice 0.8500"),
    ]
    with pytest.raises(gpu_results.Wrong, match=r"no row for 0\.92"):
        gpu_results.speedrun(path, "0.92", 20)
