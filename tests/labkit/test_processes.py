"""One training on two processes, started by torchrun, talking by gloo on the CPU."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labkit.data import batch_indices
from labkit.errors import LabError
from labkit.training import Processes, epochs, open_run
from tests.labkit.test_training import recipe, trained, weights

REPOSITORY = Path(__file__).resolve().parents[2]
PLAIN = {"model": {"norm": "none", "dropout": 0.0}, "training": {"loss": "bce"}}
"""No batch norm, whose statistics are each process's own, and a loss that is a mean over pixels."""


def torchrun(*words: str, processes: int = 2, home: Path | None = None) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "labkit", "train", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"LABKIT_HOME": str(home)} if home else {})
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
def train(tiny_root, lab_home, tmp_path):
    """Trains a recipe in `processes` processes; returns the run folder and what the shell said."""

    def start(what, name: str, *more: str, processes: int = 2, wait: bool = True):
        file = tmp_path / f"{name}.toml"
        file.write_text(what.toml())
        words = [str(file), "--data", str(tiny_root), "--run-dir", str(tmp_path / name), "--device", "cpu", *more]
        process = torchrun(*words, processes=processes, home=lab_home)
        if not wait:
            return tmp_path / name, process
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return tmp_path / name, out

    return start


def largest_difference(one: dict, other: dict) -> float:
    assert one.keys() == other.keys()
    return max((one[key].double() - other[key].double()).abs().max().item() for key in one)


def test_two_processes_give_the_weights_and_scores_of_one_with_the_same_batch(train, tiny_pets, tmp_path):
    what = recipe(**PLAIN)
    run, said = train(what, "two")
    alone = trained(what, tiny_pets, tmp_path / "one")
    assert said.count("epoch ") == 4  # one of the two speaks
    assert "2 processes" in said
    history, expected = open_run(run).history(), open_run(tmp_path / "one").history()
    for column in ("train_loss", "valid_loss", "valid_dice", "valid_iou", "learning_rate"):
        assert np.allclose(history[column], expected[column], rtol=1e-4, atol=1e-6), column
    assert largest_difference(weights(run), weights(tmp_path / "one")) < 1e-4
    assert largest_difference(load_file(run / "best.safetensors"), load_file(tmp_path / "one/best.safetensors")) < 1e-4
    moved = largest_difference(weights(run), {k: torch.zeros_like(v) for k, v in weights(run).items()})
    assert moved > 0.1  # they are not all nothing
    assert len(alone) == 4


def test_gradients_are_exchanged_once_for_each_step(train, tiny_pets, tmp_path):
    """Of three batches that are added up, the first two are each process's own matter."""
    table = {"accumulate": 3, "batch_size": 4, "loss": "bce"}
    what = recipe(model=PLAIN["model"], training=table)
    run, _ = train(what, "accumulated")
    trained(what, tiny_pets, tmp_path / "one")
    assert largest_difference(weights(run), weights(tmp_path / "one")) < 1e-4

    class Counted(torch.nn.Identity):
        entered = 0

        @contextmanager
        def no_sync(self):
            self.entered += 1
            yield

    model = Counted()
    for more in (True, True, False):
        for processes in (Processes(2, 1), Processes()):
            with processes.without_exchange(model, more):
                pass
    assert model.entered == 2


def test_a_run_goes_on_with_another_number_of_processes(train, tiny_pets, tmp_path):
    """Two epochs by two processes, two by one; beside four by one."""
    what = recipe(**PLAIN)
    run, process = train(what, "moved", wait=False)
    while process.poll() is None and not (run / "last.pt").exists():
        time.sleep(0.01)
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    process.send_signal(signal.SIGKILL)  # of torchrun alone: what it started is left to notice
    process.communicate()
    deadline = time.monotonic() + 60
    while True:  # the orphans hold the folder until they have ended
        try:
            later = trained(what, tiny_pets, run, resume=True)
            break
        except LabError as error:
            if "another process" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    trained(what, tiny_pets, tmp_path / "one")
    assert len(later) <= 2
    assert largest_difference(weights(run), weights(tmp_path / "one")) < 1e-4


def test_processes_stop_early_together(train):
    """At a rate that moves nothing the Dice stays what it is; were one to go on alone, it would wait for ever."""
    still = recipe(**PLAIN).changed(training={"learning_rate": 1e-12, "epochs": 50, "patience": 2})
    run, said = train(still, "still")
    assert len(open_run(run).history()) == 3
    assert "stopped early: no better validation Dice in 2 epochs" in said


def test_killed_process_ends_the_job_with_an_error_and_the_run_goes_on(train, tiny_pets):
    what = recipe(**PLAIN, data={"image_size": 64}).changed(training={"epochs": 400})
    run, process = train(what, "killed", wait=False)
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    os.kill(int(children[1]), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SIGKILL" in err or "-9" in err
    done = len(open_run(run).history())
    assert done >= 2
    further = recipe(**PLAIN, data={"image_size": 64}).changed(training={"epochs": 400})
    records = epochs(further, tiny_pets, run, device="cpu", resume=True)
    assert next(records).epoch == done + 1
    records.close()


def test_batches_too_small_for_the_processes_are_one_sentence(train):
    _, process = train(recipe(training={"batch_size": 1}), "thin", wait=False)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "error: 1 images cannot be shared by 2 processes; start fewer" in err
    assert "Traceback" not in err.split("error: 1 images")[0]


@pytest.mark.parametrize(("images", "batch_size", "size"), [(16, 8, 2), (17, 5, 3), (100, 7, 4)])
def test_every_image_is_met_once_by_one_process(images, batch_size, size):
    batches = batch_indices(np.arange(images), batch_size, seed=3, epoch=1)
    shares = [Processes(size, rank).share(batches) for rank in range(size)]
    assert all(len(share) == len(batches) for share in shares)
    for parts, batch in zip(zip(*shares, strict=True), batches, strict=True):
        assert np.array_equal(np.concatenate(parts), batch)
    assert sorted(np.concatenate([np.concatenate(share) for share in shares])) == list(range(images))


def test_fewer_validation_images_than_processes_are_refused_before_anything_is_trained():
    with pytest.raises(LabError, match=r"3 images cannot be shared by 4 processes; start fewer, .*validation"):
        Processes(size=4).check([np.arange(8)], np.arange(3))
    Processes(size=3).check([np.arange(8)], np.arange(3))
