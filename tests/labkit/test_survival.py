"""A training that is killed, or starved of disk or memory, loses nothing and says what happened."""

import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labkit.data import load_arrays, open_pets
from labkit.errors import Interrupted, LabError
from labkit.files import PARTIAL, claim_run_folder
from labkit.training import epochs, find_learning_rate, fit, load_recipe, loop, open_run, range_test
from labkit.training.explaining import explained
from labkit.training.runs import load_checkpoint, save_checkpoint
from tests.labkit.test_training import Wicked, equal_weights, recipe, trained, weights, without_clock

EPOCHS = 6
PROGRAM = textwrap.dedent("""
    import os, sys, time
    from tests.labkit.test_training import recipe
    from labkit.data import open_pets
    from labkit.training import epochs

    root, run, hang = sys.argv[1:]
    if hang:  # stop in the middle of writing this file of the third epoch: some of it is on disk, none of it renamed
        import labkit.files as files
        flush, seen = os.fsync, []
        def hanging(handle):
            flush(handle)
            if f"-{hang}." in os.readlink(f"/proc/self/fd/{handle}"):
                seen.append(handle)
                if len(seen) == 3:
                    print("writing", flush=True)
                    time.sleep(600)
        files.os.fsync = hanging
    for epoch in epochs(recipe(training={"epochs": 6}), open_pets(root), run, device="cpu", resume=True):
        print(epoch.epoch, flush=True)
""")


def started(root: Path, run: Path, hang: str = "") -> subprocess.Popen:
    repository = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", PROGRAM, str(root), str(run), hang]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=repository, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def killed(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def unbroken(tiny_root, lab_folder, tmp_path_factory):
    """A run of six epochs that nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(lab_folder))
        run = tmp_path_factory.mktemp("runs") / "unbroken"
        return run, trained(recipe(training={"epochs": EPOCHS}), open_pets(tiny_root), run)


def assert_ended_alike(run: Path, unbroken: tuple) -> None:
    kept = unbroken[0]
    assert equal_weights(weights(run), weights(kept))
    assert equal_weights(load_file(run / "best.safetensors"), load_file(kept / "best.safetensors"))
    clock = ["seconds", "images_per_second"]
    histories = [open_run(path).history().drop(columns=clock).to_csv() for path in (run, kept)]
    assert histories[0] == histories[1]
    assert not [path.name for path in run.glob(f"{PARTIAL}*")]  # nothing half-written is left


def test_run_killed_again_and_again_at_random_moments_ends_as_the_unbroken_one(
    unbroken, tiny_root, tiny_pets, tmp_path
):
    """SIGKILL, up to four times, at a random moment after a random epoch; every start is the same command."""
    run, chance = tmp_path / "run", random.Random(5)
    for _ in range(4):
        process = started(tiny_root, run)
        for _ in range(chance.randint(1, 2)):
            process.stdout.readline()
        try:
            process.wait(timeout=chance.uniform(0, 0.15))
        except subprocess.TimeoutExpired:
            killed(process)
    trained(recipe(training={"epochs": EPOCHS}), tiny_pets, run, resume=True)
    assert_ended_alike(run, unbroken)


@pytest.mark.parametrize("file", ["best.safetensors", "last.pt", "history.csv"])
def test_run_killed_in_the_middle_of_a_write_ends_as_the_unbroken_one(file, unbroken, tiny_root, tiny_pets, tmp_path):
    run = tmp_path / "run"
    process = started(tiny_root, run, hang=file)
    words = [process.stdout.readline() for _ in range(3)]
    assert "writing\n" in words
    assert [path.name for path in run.glob(f"{PARTIAL}{file}.*")]
    with pytest.raises(LabError, match="another process is training there"):
        trained(recipe(training={"epochs": EPOCHS}), tiny_pets, run, resume=True)
    killed(process)
    trained(recipe(training={"epochs": EPOCHS}), tiny_pets, run, resume=True)
    assert_ended_alike(run, unbroken)


def test_stopping_it_keeps_all_epochs_and_says_how_to_go_on(unbroken, tiny_pets, tmp_path):
    def interrupted(batches, epoch):
        for number, batch in enumerate(batches):
            if epoch == 3 and number == 1:
                raise KeyboardInterrupt
            yield batch

    what, run = recipe(training={"epochs": EPOCHS}), tmp_path / "run"
    with pytest.raises(Interrupted, match=r"epochs 1 to 2 are kept in .*run; go on with --resume.*resume=True"):
        trained(what, tiny_pets, run, progress=interrupted)
    later = trained(what, tiny_pets, run, resume=True)
    assert without_clock(later) == without_clock(unbroken[1][2:])
    assert_ended_alike(run, unbroken)


def test_resume_starts_a_run_that_is_not_there_yet(unbroken, tiny_pets, tmp_path):
    trained(recipe(training={"epochs": EPOCHS}), tiny_pets, tmp_path / "new", resume=True)
    assert_ended_alike(tmp_path / "new", unbroken)


# --- what is not there


def mounted(folder: Path, size: str, readonly: bool = False) -> None:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own is needed, and mounting one is not allowed here (run as root)")
    if readonly:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB, enough for two epochs' files and not for three."""
    folder = tmp_path / "disk"
    mounted(folder, "600k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_one_sentence_and_the_last_checkpoint_stays_good(small_disk, unbroken, tiny_pets, tmp_path):
    what, run = recipe(training={"epochs": EPOCHS}), small_disk / "run"
    filler = small_disk / "filler"
    records = epochs(what, tiny_pets, run, device="cpu")
    next(records)
    next(records)
    good = (run / "last.pt").read_bytes()
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(b"0" * 10**6)
    with pytest.raises(LabError, match=r"cannot be written \(No space left on device\); free the disk"):
        next(records)
    assert (run / "last.pt").read_bytes() == good
    filler.unlink()
    trained(what, tiny_pets, run, resume=True)
    assert_ended_alike(run, unbroken)


@pytest.fixture
def read_only(tmp_path):
    folder = tmp_path / "frozen"
    mounted(folder, "600k", readonly=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_read_only_folder_is_one_sentence(read_only, tiny_pets):
    with pytest.raises(LabError, match=r"run: cannot be written \(Read-only file system\); free the disk or change"):
        trained(recipe(), tiny_pets, read_only / "run")


def test_memory_that_is_not_there_is_said_with_a_batch_size_to_try(tiny_pets, tmp_path, monkeypatch):
    def greedy(*_):
        return torch.empty(2**50)

    monkeypatch.setattr(loop, "train_step", greedy)
    sentence = r"out of memory; try .*batch_size = 4 with accumulate = 2, which keeps.*\(no epoch is kept\)"
    with pytest.raises(LabError, match=sentence):
        trained(recipe(), tiny_pets, tmp_path / "run")


def test_a_network_that_does_not_fit_is_said_before_anything_is_trained(tiny_pets, tmp_path, monkeypatch):
    def too_large(_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.25 GiB.")

    monkeypatch.setattr(loop, "build_network", too_large)
    with pytest.raises(LabError, match=r"out of memory; .*nothing was trained"):
        trained(recipe(), tiny_pets, tmp_path / "run")
    monkeypatch.setattr(range_test, "build_network", too_large)
    with pytest.raises(LabError, match=r"out of memory; .*nothing is kept"):
        find_learning_rate(recipe(), tiny_pets, device="cpu")


def test_a_batch_of_one_image_cannot_be_halved():
    one = recipe(training={"batch_size": 1})
    sentence = r"out of memory; try a smaller data\.image_size or a narrower network \(nothing is kept\)"
    with pytest.raises(LabError, match=sentence), explained(one, lambda: "nothing is kept"):
        raise torch.OutOfMemoryError


def test_an_error_of_another_kind_is_not_taken_for_a_lack_of_memory(tiny_pets, monkeypatch):
    monkeypatch.setattr(loop, "train_step", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        trained(recipe(), tiny_pets)


def test_loss_that_is_no_number_stops_at_once_and_the_last_good_weights_stay(tiny_pets, tmp_path, monkeypatch):
    right, steps = loop.train_step, []

    def spoilt(model, images, *rest):
        steps.append(len(images))
        return right(model, images * (float("nan") if len(steps) == 4 else 1), *rest)

    monkeypatch.setattr(loop, "train_step", spoilt)
    run = tmp_path / "run"
    with pytest.raises(LabError, match=r"epoch 2, step 2: the loss is nan at learning rate .*epoch 1 is kept in"):
        trained(recipe(), tiny_pets, run)
    assert len(steps) == 4
    assert len(open_run(run).history()) == 1
    assert all(torch.isfinite(value).all() for value in load_file(run / "best.safetensors").values())


# --- whose run it is


def test_a_training_that_was_left_half_way_gives_its_folder_to_the_next_one(unbroken, tiny_pets, tmp_path):
    """As in a notebook, where a variable, or the traceback of a cell, holds the generator that nobody goes on with."""
    run, what = tmp_path / "run", recipe(training={"epochs": EPOCHS})
    left = epochs(what, tiny_pets, run, device="cpu")
    next(left)
    again = epochs(what, tiny_pets, f"{run}/../run", device="cpu", resume=True)
    assert next(again).epoch == 2
    with pytest.raises(LabError, match="already holds a run"):
        trained(what, tiny_pets, run)
    trained(what, tiny_pets, run, resume=True)
    assert_ended_alike(run, unbroken)


def test_a_training_at_work_keeps_its_folder(tiny_pets, tmp_path):
    def meddling(batches, epoch):
        with ThreadPoolExecutor() as pool:
            other = pool.submit(trained, recipe(), tiny_pets, tmp_path / "run", resume=True)
        with pytest.raises(
            LabError, match="another process is training there; wait for it or choose another --run-dir"
        ):
            other.result()
        return batches

    assert len(trained(recipe(), tiny_pets, tmp_path / "run", progress=meddling)) == 4


def test_fit_trains_to_the_end_tells_each_epoch_and_returns_the_run(unbroken, tiny_pets, tmp_path, capsys):
    what = recipe(training={"epochs": EPOCHS})
    run = fit(what, tiny_pets, tmp_path / "run", device="cpu")
    assert run == open_run(tmp_path / "run")
    assert_ended_alike(run.path, unbroken)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == [f"epoch   {n}/6" for n in range(1, 7)]
    assert fit(what, tiny_pets, tmp_path / "run", device="cpu", resume=True) == run
    assert capsys.readouterr().out == "nothing is left to do: the run has come to its end before\n"


def test_another_recipe_is_named_by_its_first_difference(unbroken, tiny_pets):
    with pytest.raises(LabError, match=r"training\.batch_size is 8 there and 4 here"):
        trained(recipe(training={"batch_size": 4, "epochs": EPOCHS}), tiny_pets, unbroken[0], resume=True)


def test_checkpoint_of_another_network_under_the_same_recipe_is_refused(unbroken, tiny_pets, tmp_path):
    state = load_checkpoint(unbroken[0] / "last.pt")
    state["model"] = {f"other.{key}": value for key, value in state["model"].items()}
    claim_run_folder(tmp_path)
    save_checkpoint(tmp_path / "last.pt", state)
    with pytest.raises(LabError, match="not one of this network"):
        trained(recipe(training={"epochs": EPOCHS}), tiny_pets, tmp_path, resume=True)


def test_a_run_moves_to_another_device(unbroken, tiny_pets, tmp_path):
    """The device is where it runs, not what it is."""
    state = load_checkpoint(unbroken[0] / "last.pt")
    state["recipe"] = state["recipe"].replace('device = "cpu"', 'device = "cuda:1"')
    claim_run_folder(tmp_path)
    save_checkpoint(tmp_path / "last.pt", state)
    assert trained(recipe(training={"epochs": EPOCHS}), tiny_pets, tmp_path, resume=True) == []


# --- no file that a user was handed runs code


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize(
    "place", ["last.pt", "best.safetensors", "recipe.toml", "history.csv", "arrays", "image", "list"]
)
def test_wicked_file_runs_nothing_wherever_it_is_read(place, kind, unbroken, own_pets, lab_home, tmp_path, monkeypatch):
    folder, run = own_pets(count=24, tests=6), tmp_path / "run"
    pets = open_pets(folder)
    trained(recipe(training={"epochs": 1}), pets, run)
    monkeypatch.chdir(tmp_path)
    targets = {
        "arrays": sorted((lab_home / "dataset" / "cache").glob("*-32.npy"), key=os.path.getmtime)[-1],
        "image": pets.image_path(0),
        "list": folder / "annotations" / "list.txt",
    }
    target = targets.get(place, run / place)
    if kind == "pickle":
        target.write_bytes(pickle.dumps(Wicked(), protocol=2))
    else:
        torch.save(Wicked(), target)
    with pytest.raises(LabError):
        touch(place, folder, run)
    assert not (tmp_path / "was-run").exists()


def touch(place: str, folder: Path, run: Path) -> None:
    """Read the file in the way a user would."""
    pets = open_pets(folder)
    if place in ("arrays", "image"):
        load_arrays(pets, 32 if place == "arrays" else 40)
    elif place == "last.pt":
        trained(recipe(training={"epochs": 2}), pets, run, resume=True)
    elif place == "recipe.toml":
        trained(load_recipe(run / place), pets)
    elif place == "history.csv":
        open_run(run).history()
    else:
        open_run(run).model()


# --- the array file


def test_arrays_on_a_full_disk_are_one_sentence_and_nothing_is_left(small_disk, own_pets, monkeypatch):
    pets = open_pets(own_pets(count=24, tests=6))
    monkeypatch.setenv("LABKIT_HOME", str(small_disk))
    with pytest.raises(LabError, match=r"cache/.*: cannot be written \(No space left on device\); free the disk"):
        load_arrays(pets, 256)
    assert not list(small_disk.rglob("*.npy"))
    assert load_arrays(pets, 32).size == 32


def test_cut_array_file_is_refused_and_built_anew_when_it_is_gone(own_pets, tmp_path, monkeypatch):
    pets = open_pets(own_pets())
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    whole = np.array(load_arrays(pets, 32).images)
    (file,) = (tmp_path / "dataset" / "cache").glob("*-32.npy")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(LabError, match=r"-32\.npy: the array file is damaged; delete it"):
        load_arrays(pets, 32)
    file.unlink()
    assert np.array_equal(load_arrays(pets, 32).images, whole)
