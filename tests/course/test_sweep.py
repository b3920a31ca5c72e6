"""Sweeps: the plan is checked before anything runs; workers may die; what is done is not done again."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from course.experiments.jobs import TOPIC, Job, finished, run_job
from course.experiments.plan import load_plan, run_name
from course.experiments.sweep import planned_jobs, write_results
from course.experiments.workers import run_jobs, worker_environments
from course.figures import sweep_figure
from labkit.data import open_pets
from labkit.errors import LabError
from labkit.training import fit, load_recipe, open_run
from labkit.training.recipe import with_values
from labkit.training.runs import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
[data]
image_size = 32
[model]
width = 4
depth = 2
dropout = 0.2
[training]
epochs = {epochs}
batch_size = 8
precision = "float32"
"""


@pytest.fixture
def written(tmp_path):
    """Writes `sweep.toml` and a recipe `small` beside it; returns the sweep's path."""

    def write(text: str, epochs: int = 2) -> Path:
        (tmp_path / "small.toml").write_text(SMALL.format(epochs=epochs))
        (tmp_path / "sweep.toml").write_text(text)
        return tmp_path / "sweep.toml"

    return write


# --- the plan


def test_every_combination_of_the_values_is_a_run(written):
    path = written(
        'recipe = ["small", "small2"]\n[values]\n"training.seed" = [0, 1]\nmodel.width = [4, 6, 8]\n'
        '[fixed]\n"training.schedule" = "constant"\n"data.augment.rotate" = 9\n'
    )
    (path.parent / "small2.toml").write_text(SMALL.format(epochs=3))
    found, plan = load_plan(path)
    assert found == path
    rows = [(labels["recipe"], r.training.epochs, r.training.seed, r.model.width) for labels, r in plan]
    bases, seeds, widths = (("small", 2), ("small2", 3)), (0, 1), (4, 6, 8)
    assert rows == [(*base, seed, width) for base in bases for seed in seeds for width in widths]
    assert plan[0][0] == {"run": "small-seed=0-width=4", "recipe": "small", "training.seed": 0, "model.width": 4}
    assert {(r.training.schedule, r.data.augment.rotate) for _, r in plan} == {("constant", 9)}
    assert {r.model.dropout for _, r in plan} == {0.2}  # what is not named stays the recipe's


def test_the_values_of_an_arm_go_together_and_come_before_the_fixed_ones(written):
    path = written(
        'recipe = "small"\n[values]\n"training.seed" = [0, 1]\n[fixed]\n"training.schedule" = "constant"\n'
        '[arms.plain]\n[arms.sgd]\n"training.optimizer" = "sgd"\ntraining.learning_rate = 0.1\n'
        '[arms.cosine]\n"training.schedule" = "cosine"\n'
    )
    _, plan = load_plan(path)
    found = [(r.training.optimizer, r.training.learning_rate, r.training.schedule, r.training.seed) for _, r in plan]
    arms = [("adamw", 1e-3, "constant"), ("sgd", 0.1, "constant"), ("adamw", 1e-3, "cosine")]
    assert found == [(*arm, seed) for arm in arms for seed in (0, 1)]
    assert plan[2][0] == {"run": "small-arm=sgd-seed=0", "recipe": "small", "arm": "sgd", "training.seed": 0}


def test_a_value_in_an_inner_table_leaves_the_others_of_that_table():
    recipe = load_recipe("default")
    changed = with_values(recipe, {"data.augment.rotate": 9}, "here")
    assert changed.data.augment == recipe.data.augment.model_copy(update={"rotate": 9.0})
    assert recipe.data.augment.horizontal_flip > 0
    assert changed.training == recipe.training


def test_another_size_lets_go_of_the_mean_of_a_resolved_recipe():
    resolved = load_recipe("default").changed(data={"mean": (0.5,) * 3, "std": (0.2,) * 3})
    assert with_values(resolved, {"training.seed": 1}, "here").data.mean == (0.5,) * 3
    assert with_values(resolved, {"data.image_size": 64}, "here").data.mean is None


def test_a_longer_list_renames_no_run(written):
    names = []
    for seeds in ("[0, 1]", "[7, 1, 0]"):
        _, plan = load_plan(written(f'recipe = "small"\n[values]\n"training.seed" = {seeds}'))
        names.append({labels["run"] for labels, _ in plan})
    assert names[0] < names[1]


def test_another_network_brings_its_own_defaults(written):
    _, plan = load_plan(written('recipe = "small"\n[values]\n"model.name" = ["unet", "attention_unet"]'))
    found = [(recipe.model.name, recipe.model.width, recipe.model.depth) for _, recipe in plan]
    assert found[0] == ("unet", 4, 2)
    assert found[1][0] == "attention_unet"
    assert found[1][1:] != (4, 2)


SHIPPED = sorted((ROOT / "course" / "experiments").glob("*.toml"))


def test_what_the_reports_compared_is_shipped():
    names = {path.stem for path in SHIPPED}
    assert names >= {"augmentation", "learning-rate", "initialization", "dropout", "loss", "optimizer", "width"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_sweep_loads_by_its_name_fits_the_data_and_says_how_many_runs_it_has(path, tiny_root, tmp_path):
    found, plan = load_plan(path.stem)
    assert found == path
    assert len(planned_jobs(plan, tmp_path, tiny_root, "test", "cpu")) == len(plan)
    comment = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert re.search(r"(\d+) runs of less than a minute", comment)[1] == str(len(plan))
    assert {labels["training.seed"] for labels, _ in plan} == {0, 1, 2}


Texts = st.text(st.characters(codec="utf-8"), max_size=30)
Values = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), Texts, st.lists(st.integers(), max_size=4))
Names = st.lists(st.sampled_from(["a.x", "a.y", "c.rate"]), min_size=1, max_size=3, unique=True)


@given(Names, st.data())
def test_names_are_plain_folder_names_and_differ_where_the_values_differ(keys, data):
    one, other = ({key: data.draw(Values) for key in keys} for _ in range(2))
    names = [run_name("quick", values) for values in (one, other)]
    for name in names:
        assert re.fullmatch(r"quick(-(x|y|rate)=[a-z0-9.+_-]{1,30})+", name)
    texts = [[str(v) if not isinstance(v, bool) else str(v).lower() for v in vs.values()] for vs in (one, other)]
    assert (names[0] == names[1]) == (texts[0] == texts[1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('recipe = "small"\nvalue = 3', "unknown key 'value'; a sweep has recipe, values, arms, fixed"),
        ("[values]\nmodel.width = [4]", "recipe: found None; write a name"),
        ("recipe = []", r"recipe: found \[\]; write a name"),
        ('recipe = ["small", "small.toml"]', "small and small are the same training or folder; keep one"),
        ('recipe = "smal"', "no recipe 'smal'"),
        ('recipe = "small"\nvalues = 3', r"values: found 3; write a table"),
        ('recipe = "small"\n[values]\n"training.seed" = []', r"training.seed: found \[\]; write a list"),
        ('recipe = "small"\n[values]\n"training.seed" = 3', r"training.seed: found 3; write a list, or .* \[fixed\]"),
        ('recipe = "small"\n[values]\n"training.seed" = [1, 0, 1]', "small-seed=1 are the same training"),
        ('recipe = "small"\n[arms]\nsgd = 3', r"arms.sgd: found 3; write a table \[arms.sgd\] of dotted keys"),
        ('recipe = "small"\n[arms.a]\n[arms.b]', "small-arm=a and small-arm=b are the same training"),
        ('recipe = "small"\n[arms.a]\ntraining.sed = 1', "small-arm=a: unknown key training.sed; there are loss, "),
        (
            'recipe = "small"\n[values]\ntraining.seed = [1]\n[arms.a]\ntraining.seed = 2',
            "training.seed and training.seed set the same key",
        ),
        (
            'recipe = "small"\n[values]\ntraining.seed = [1]\n"training.seed" = [2]',
            "training.seed and training.seed set the same key; keep one",
        ),
        ('recipe = "small"\n[values]\ntraining.seed = [1]\ntraining.seed = [2]', "a key stands twice"),
        (
            'recipe = "small"\n[values]\ntraining.seed = [1]\n[fixed]\ntraining.seed = 2',
            "training.seed and training.seed set the same key",
        ),
        ('recipe = "small"\n[values]\nseed = [1]', "small-seed=1: unknown key seed; there are data, model, training"),
        ('recipe = "small"\n[values]\ntraining.device = ["cpu"]', "training.device is filled in"),
        (
            'recipe = "small"\n[values]\ndata.augment = [{rotate = 1}]\n[fixed]\ndata.augment.rotate = 2',
            "data.augment and data.augment.rotate set the same key",
        ),
        ('recipe = "small"\n[fixed]\ndata.augment.x.y = 2', "unknown key data.augment.x; there are"),
        ('recipe = "small"\n[fixed]\ntraining.seed.y = 2', "unknown key training.seed.y; seed is no table"),
        (
            'recipe = "small"\n[values]\ntraining.seed = [1, 2]\nmodel.width = [4, 0]',
            r"small-seed=1-width=0: model.width: found 0",
        ),
        ('recipe = "small"\n[values]\ntraining.sed = [1]', "small-sed=1: unknown key training.sed; there are loss, "),
        ('recipe = "small"\n[values]\ntraining.learning_rate = [1, 1.0]', "rate=1 and small-learning_rate=1.0 are the"),
        ('recipe = "small', "not a TOML file"),
    ],
)
def test_a_mistake_in_a_sweep_is_one_sentence(written, lab_home, text, sentence):
    with pytest.raises(LabError, match=sentence) as error:
        load_plan(written(text))
    assert "sweep.toml" in str(error.value) or "recipe" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_that_is_not_there_names_those_that_are():
    with pytest.raises(LabError, match=r"no sweep 'nothing': .*learning-rate"):
        load_plan("nothing")


def test_what_does_not_fit_the_data_is_said_before_a_job_starts(written, tiny_root, lab_home, tmp_path):
    _, plan = load_plan(written('recipe = "small"\n[values]\ndata.split = ["official", "2026"]'))
    with pytest.raises(LabError, match=r"small-split=2026: .*no split '2026'"):
        planned_jobs(plan, tmp_path / "out", tiny_root, "test", "cpu")


# --- the workers


def test_workers_share_the_cores_and_have_a_gpu_each(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("dask.system.cpu_count", lambda: 12)
    monkeypatch.setattr("course.experiments.workers.choose_device", lambda name: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [e["OMP_NUM_THREADS"] for e in worker_environments("auto", 5, most=9)] == ["2"] * 5
    assert len(worker_environments("auto", None, most=9)) == 6
    assert [e["OMP_NUM_THREADS"] for e in worker_environments("auto", None, most=3)] == ["4"] * 3
    assert not any("CUDA_VISIBLE_DEVICES" in e for e in worker_environments("auto", 5, most=9))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [len(worker_environments(device, None, most=9)) for device in ("auto", "cpu")] == [2, 6]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments("auto", 3, most=9)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments("cuda", 2, most=9)] == ["3", "5"]


def small_job(tiny_root, run: Path, **more) -> Job:
    recipe = load_recipe(run.parent / "small.toml").changed(data={"fingerprint": open_pets(tiny_root).fingerprint})
    return Job(str(run), recipe.toml(), str(tiny_root), {"run": run.name}, device="cpu")._replace(**more)


def test_without_dask_the_error_says_how_to_get_it(written, tiny_root, lab_home, tmp_path, monkeypatch):
    written("")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LabError, match=r"pip install 'labkit\[sweep\]'"):
        list(run_jobs([small_job(tiny_root, tmp_path / "run")]))


def test_a_scheduler_that_is_not_there_is_named(written, tiny_root, lab_home, tmp_path):
    written("")
    with pytest.raises(LabError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1 "):
        list(run_jobs([small_job(tiny_root, tmp_path / "run")], "tcp://127.0.0.1:1"))


# --- a job


def test_a_process_that_sees_other_files_or_data_is_refused(
    written, tiny_root, own_pets, lab_home, tmp_path, monkeypatch
):
    written("")
    monkeypatch.setattr("distributed.get_worker", lambda: None)
    job = small_job(tiny_root, tmp_path / "run")
    with pytest.raises(LabError, match=r"nowhere: a worker does not see it; all need the same file system"):
        run_job(job._replace(run=str(tmp_path / "nowhere" / "run")))
    with pytest.raises(LabError, match="other data than the sweep was started with"):
        run_job(job._replace(data=str(own_pets(8, 2))))


def test_a_damaged_result_is_named(written, tiny_root, lab_home, tmp_path):
    written("")
    job = small_job(tiny_root, tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").touch()
    for content in ("{", "[]", "{}"):
        (tmp_path / "run" / "result.json").write_text(content)
        with pytest.raises(LabError, match=r"result\.json: damaged"):
            finished(job)
    (tmp_path / "run" / "result.json").write_text('{"asked": "of another recipe", "row": {"split": "test"}}')
    assert finished(job) is None


# --- the whole, on one worker process


SWEEP = 'recipe = "small"\n[values]\n"training.learning_rate" = [1e-3, 3e-2]\n"training.seed" = [0, 1]\n'
EPOCHS = 24
"""So many that a kill in the first of them comes in the middle."""


def test_a_sweep_trains_scores_and_skips_and_one_bad_run_stops_no_other(shell, written, tiny_root, tmp_path):
    path = written('recipe = "small"\n[values]\n"training.learning_rate" = [3e-2, 1e30]\n"training.seed" = [0, 1]\n')
    words = ["sweep", path, "--data", tiny_root, "--out", tmp_path / "out", "--workers", 1, "--device", "cpu"]
    bad = tmp_path / "out" / "small-learning_rate=0.03-seed=1"
    bad.parent.mkdir()
    bad.write_text("a file where a run folder shall be")
    status, out, err = shell(*words)
    assert status == 1
    assert "0 runs done before, 1 now, 3 failed" in out
    assert f"failed: {bad.name}: {bad}: cannot be written" in err
    assert "failed: small-learning_rate=1e+30-seed=0: " in err
    assert "lower it" in err

    bad.unlink()
    status, out, err = shell(*words)
    assert status == 1
    assert "1 runs done before, 1 now, 2 failed" in out
    assert "small-learning_rate=0.03-seed=0: done before" in out
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["status"].tolist() == ["done", "done", "failed", "failed"]
    assert table["training.seed"].tolist() == [0, 1, 0, 1]
    for _, row in table[:2].iterrows():
        opened = open_run(tmp_path / "out" / row["run"])
        history = opened.history()
        assert row["valid_dice"] == history["valid_dice"].max()
        assert row["best_epoch"] == history["epoch"][history["valid_dice"].idxmax()]
        images = pd.read_csv(opened.path / "evaluations" / "tiny0-test-32" / "images.csv")
        assert row["dice_per_image"] == pytest.approx(images["dice"].mean())
        assert len(images) == 6
        assert row["parameters"] == sum(p.numel() for p in opened.model().parameters())
    seeds = pd.read_csv(tmp_path / "out" / "seeds.csv").iloc[0]
    dice = table["dice_pooled"][:2].to_numpy()
    assert (seeds["seeds"], seeds["dice_pooled_mean"]) == (2, pytest.approx(dice.mean()))
    assert seeds["dice_pooled_std"] == pytest.approx(np.std(dice, ddof=1))
    assert f"{dice.mean():.4f} ± {np.std(dice, ddof=1):.4f}" in out
    assert f"drawn in {tmp_path / 'out' / 'results.png'}" in out
    assert (tmp_path / "out" / "results.png").read_bytes().startswith(b"\x89PNG")

    (tmp_path / "out" / "results.csv").write_text("with a column of my own")
    status, out, err = shell(*words)
    assert (status, "runs done" in out) == (1, False)  # before anything is trained
    assert "results.csv: is there already, and labkit has not written it as it is now" in err


def test_tables_by_hand(written, tiny_root, lab_home, tmp_path):
    _, plan = load_plan(written(SWEEP))
    jobs = planned_jobs(plan, tmp_path, tiny_root, "test", "cpu")
    rows = {
        job.run: {"status": "done", "valid_dice": 0.5 + 0.1 * i, "dice_per_image": 0.1 * i, "dice_pooled": 0.0}
        for i, job in enumerate(jobs[:3])
    }
    tables = write_results(jobs, rows, tmp_path / "out")
    assert tables["results"]["status"].tolist() == ["done", "done", "done", "unfinished"]
    seeds = tables["seeds"]
    assert pd.read_csv(tmp_path / "out" / "seeds.csv").equals(seeds)
    assert seeds["training.learning_rate"].tolist() == [1e-3, 3e-2]
    assert seeds["seeds"].tolist() == [2, 1]
    assert seeds["valid_dice_mean"].tolist() == pytest.approx([0.55, 0.7])
    assert seeds["valid_dice_std"][0] == pytest.approx(0.1 / 2**0.5)
    assert np.isnan(seeds["valid_dice_std"][1])


def test_the_figure_of_a_sweep_has_each_arms_mean_deviation_and_runs():
    rows = [("a", 0.2, 0.5), ("a", 0.4, 0.6), ("b", 0.2, 0.9), ("b", 0.4, None)]
    columns = {"recipe": "quick", "run": "", "training.seed": 0}
    table = pd.DataFrame(rows, columns=["arm", "model.dropout", "valid_dice"]).assign(**columns)
    table["status"] = np.where(table["valid_dice"].isna(), "failed", "done")
    axes = sweep_figure(table).axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["a, dropout 0.2", "a, dropout 0.4", "b, dropout 0.2"]
    table["model.dropout"] = 0.2
    axes = sweep_figure(table).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    bar, mean = axes.get_lines()[:2]
    assert mean.get_xdata()[0] == pytest.approx(0.55)
    assert bar.get_xdata() == pytest.approx([0.55 - np.std([0.5, 0.6], ddof=1), 0.55 + np.std([0.5, 0.6], ddof=1)])
    assert [marks.get_offsets()[:, 0].tolist() for marks in axes.collections] == [[0.5, 0.6], [0.9]]


def test_seeds_are_averaged_over_an_arm(written, tiny_root, lab_home, tmp_path):
    text = 'recipe = "small"\n[values]\n"training.seed" = [0, 1]\n[arms.a]\n[arms.b]\n"training.optimizer" = "adam"\n'
    jobs = planned_jobs(load_plan(written(text))[1], tmp_path, tiny_root, "test", "cpu")
    rows = {job.run: {"status": "done", "valid_dice": 0.1 * i} for i, job in enumerate(jobs)}
    seeds = write_results(jobs, rows, tmp_path / "out")["seeds"]
    assert seeds["arm"].tolist() == ["a", "b"]
    assert seeds["valid_dice_mean"].tolist() == pytest.approx([0.05, 0.25])


# --- a real scheduler and real workers, one of which is killed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def dask_processes(lab_home, tmp_path):
    """Starts `dask ...` processes, and ends them with the test."""
    started = []

    def start(*words: str) -> subprocess.Popen:
        log = open(tmp_path / f"dask-{len(started)}.log", "w")  # noqa: SIM115 (the process writes to it)
        command = [sys.executable, "-m", "dask", *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "DASK_TEMPORARY_DIRECTORY": str(tmp_path / "dask")}
        started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_killed_workers_job_is_done_by_another_to_the_same_bits(
    shell, written, tiny_root, tiny_pets, dask_processes, tmp_path
):
    from distributed import Client

    path, out = written(SWEEP, EPOCHS), tmp_path / "out"
    address = f"tcp://127.0.0.1:{free_port()}"
    dask_processes("scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard")
    options = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--no-nanny", "--resources", "GPU=1"]
    workers = {process.pid: process for process in (dask_processes("worker", address, *options) for _ in range(2))}
    killed, reached = [], []

    def kill(event) -> None:
        """Kill the first worker that has done an epoch."""
        _, told = event
        if told["epoch"] >= 1 and not killed:
            killed.append(told["worker"])
            process = workers[pids[told["worker"]]]
            process.send_signal(signal.SIGKILL)
            process.wait()
            reached.append(len(load_checkpoint(Path(told["run"]) / "last.pt")["history"]))

    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=120)
        pids = client.run(os.getpid)  # of each worker's address
        client.subscribe_topic(TOPIC, kill)
        status, shown, err = shell("sweep", path, "--data", tiny_root, "--out", out, "--scheduler", address)
        assert len(client.nthreads()) == 1
    assert status == 0, err
    assert "4 now, 0 failed" in shown
    assert 1 <= reached[0] < EPOCHS, "the worker was not killed in the middle of its job"
    for labels, recipe in load_plan(path)[1]:
        name = labels["run"]
        fit(recipe, tiny_pets, tmp_path / "undisturbed" / name, device="cpu")
        for file in ("best.safetensors", "last.pt"):
            one, other = (folder / name / file for folder in (out, tmp_path / "undisturbed"))
            read = load_file if file.endswith("safetensors") else lambda path: load_checkpoint(path)["model"]
            states = read(one), read(other)
            assert states[0].keys() == states[1].keys()
            assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert open_run(out / name).history()["epoch"].tolist() == list(range(1, EPOCHS + 1))


@pytest.mark.slow
def test_a_notebook_trains_and_stays_with_its_run(shell, written, tiny_root, tmp_path, monkeypatch):
    path = written('recipe = "small"\n[values]\n"training.seed" = [3]\n')
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "notebooks").symlink_to(ROOT / "notebooks")
    run = tmp_path / "out" / "small-seed=3"
    run.mkdir(parents=True)
    words = ["sweep", path, "--data", tiny_root, "--out", run.parent, "--workers", 1, "--notebook", "--device", "cpu"]
    status, out, err = shell(*words)
    assert status == 0, err
    assert open_run(run).recipe.training.seed == 3
    executed = nbformat.read(run / "04_training.ipynb", 4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    status, out, _ = shell(*words)
    assert (status, "1 runs done before, 0 now" in out) == (0, True)
