"""The shell: every verb does its work, and what a user got wrong is one sentence and status 1."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from typer.testing import CliRunner

import course.cli
from labkit import cli
from labkit.cli.training import train
from labkit.data import load_arrays, open_pets
from labkit.errors import Interrupted
from labkit.models import NETWORKS, build_model, count_parameters
from labkit.training import open_run
from labkit.training.hardware import has_bfloat16


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text('[data]\nimage_size = 32\n[model]\nname = "unet"\nwidth = 4\ndepth = 2\n[training]\nepochs = 2\n')
    return path


def test_every_command_explains_itself_with_an_example():
    data = [["data", verb] for verb in ("get", "check", "stats")]
    labkits = (*data, ["models"], ["find-rate"], ["train"], ["curves"], ["evaluate"], ["predict"])
    courses = (["lab"], ["sweep"], ["doctor"], ["handout"], ["grade"], ["handin"], ["report"])
    for program, app, commands in (("labkit", cli.app, labkits), ("course", course.cli.app, courses)):
        for words in commands:
            result = CliRunner().invoke(app, [*words, "--help"])
            assert result.exit_code == 0
            assert "Example" in result.output, words
            assert f"{program} {' '.join(words)}" in result.output, words


def test_the_whole_way_from_data_to_masks(shell, recipe, tiny_root, tmp_path):
    run = tmp_path / "run"
    status, out, err = shell(
        "train", recipe, "--data", tiny_root, "--run-dir", run, "--epochs", 3, "--seed", 5, "--device", "cpu"
    )
    assert status == 0, err
    assert re.search(r"device: CPU with \d+ threads, \d+\.\d of \d+\.\d GiB of memory free, \w+\nrun: .*\nepoch", out)
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert out.endswith(f"curves: {run / 'curves.png'}\n")
    assert "epoch   3/3" in out
    assert "seed = 5" in (run / "recipe.toml").read_text()
    status, out, _ = shell("evaluate", run, "--data", tiny_root, "--json")
    assert status == 0
    assert json.loads(out)["images"] == 6
    image = next((tiny_root / "oxford-iiit-pet" / "images").iterdir())
    status, out, _ = shell("predict", run / "best.safetensors", image, "--out", tmp_path / "masks")
    assert (status, out.split()[0]) == (0, "1")
    assert (tmp_path / "masks" / f"{image.stem}.png").exists()


def test_stats_and_check_describe_the_data(shell, tiny_root):
    status, out, _ = shell("data", "stats", "--data", tiny_root, "--size", 32)
    assert status == 0
    assert "24 images (train 16, valid 2, test 6), 4 breeds" in out
    pets = open_pets(tiny_root)
    arrays, train = load_arrays(pets, 32), pets.split("train")
    mean = ", ".join(str(round(channel, 4)) for channel in arrays.images[train].mean((0, 1, 2)) / 255)
    assert f"mean  {mean} (red, green, blue)" in out
    assert f"{(arrays.trimaps[train] == 1).mean():.3f}" in out.split("mean")[2]  # the share of the pets
    status, out, _ = shell("data", "check", "--data", tiny_root)
    assert status == 0
    assert "no problems" in out


def test_models_shows_what_each_network_costs(shell):
    status, out, err = shell("models", "unet", "unet width=16", "resnet34_unet", "--no-latency")
    assert status == 0, err
    header, _, heads, *rows = out.splitlines()
    assert header.startswith("one image of 128x128 pixels; ")
    assert f"torch {torch.__version__}" in header
    assert heads.split()[:3] == ["network", "parameters,", "M"]
    assert "float32" not in heads
    assert [row.split("  ")[0] for row in rows] == ["unet", "unet width=16", "resnet34_unet"]
    assert "31.04" in rows[0]  # 31,042,369: the paper's figure and the batch norms
    assert len({len(row) for row in rows}) == 1


def test_models_lists_every_network_by_itself_and_says_which_does_not_take_the_size(shell):
    status, out, err = shell("models", "--no-latency", "--size", 64)
    assert status == 0, err
    assert {row.split()[0] for row in out.splitlines()[3:]} == set(NETWORKS) - {"paper_unet"}
    assert "left out: paper_unet: " in err


def test_models_counts_the_named_networks_that_take_the_size(shell):
    status, out, err = shell("models", "paper_unet", "unet width=4", "--no-latency", "--size", 64)
    assert status == 0
    assert "unet width=4" in out
    assert "paper_unet" not in out
    assert err.startswith("left out: paper_unet: PaperUNet does not take an image of 3 channels and 64x64 pixels")
    status, out, err = shell("models", "paper_unet", "unet padding=valid", "--no-latency", "--size", 64)
    assert (status, out) == (1, "")
    assert err.startswith("error: PaperUNet does not take")


def test_models_times_each_network_in_both_precisions(shell):
    status, out, err = shell("models", "unet width=16", "--size", 32, "--device", "cpu")
    assert status == 0, err
    first, _, heads, row = out.splitlines()
    assert f"CPU with {torch.get_num_threads()} threads" in first
    assert float(row.split()[2]) == pytest.approx(count_parameters(build_model("unet", width=16)) / 1e6, abs=0.005)
    assert "float32, ms" in heads
    assert ("bfloat16, ms" in heads) == has_bfloat16(torch.device("cpu"))
    assert all(float(number) > 0 for number in row.split()[2:])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "no-such-recipe"], "neither a file nor one of"),
        (["train", "quick", "--data", "/no/such/folder"], "no images/ and annotations/ there"),
        (["train", "quick", "--epochs", "0"], "training.epochs"),
        (["train", "quick", "--device", "gpu7"], "does not run on device 'gpu7'"),
        (["evaluate", "/no/such/run"], "no such run folder or weights file"),
        (["data", "get", "--data", "/tmp/labkit-none", "--from", "/no/such/archive"], "no such archive or folder"),
        (["models", "unet", "vgg"], "found 'vgg'; write 'unet width=16' with one of unet, paper_unet, "),
        (["models", "unet widht=16"], "unknown key model.widht"),
        (["models", "report_resnet34_unet report=003", "--size", "64"], "choose a larger size"),
        (["lab", "-p", "epoch=3"], "no notebook has a parameter 'epoch'"),
        (["lab", "--only", "99"], "no notebook '99'"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_1(shell, tiny_root, monkeypatch, words, sentence):
    if words[0] == "train" and "--data" not in words:
        words = [*words, "--data", str(tiny_root)]
    monkeypatch.delenv("LABKIT_HOME")  # recipes and notebooks are the project's own
    status, _, err = shell(*words)
    assert status == 1
    assert err.startswith("error: ")
    assert sentence in err
    assert "Traceback" not in err


def test_another_network_brings_its_own_defaults(shell, recipe, tiny_root, tmp_path):
    status, _, err = shell(
        *(
            "train",
            recipe,
            "--data",
            tiny_root,
            "--model",
            "resnet34_unet",
            "--epochs",
            1,
            "--run-dir",
            tmp_path / "run",
        )
    )
    assert status == 0, err
    text = (tmp_path / "run" / "recipe.toml").read_text()
    assert 'decoder = "lab"' in text
    assert "depth" not in text


def test_help_does_not_load_torch():
    asked = "import sys, labkit.cli; sys.exit(bool({'torch', 'pandas', 'matplotlib'} & {*sys.modules}))"
    began = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
    assert time.perf_counter() - began < 20


def test_an_interrupt_between_two_epochs_says_what_is_kept_too(recipe, tiny_root, lab_home, tmp_path, monkeypatch):
    def interrupted(text, **_):
        if text.startswith("epoch   2/"):
            raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupted)
    options = {"data": str(tiny_root), "epochs": 3, "device": "cpu", "run": tmp_path / "run"}
    with pytest.raises(Interrupted, match=r"epochs 1 to 2 are kept in .*run; go on with --resume"):
        train(str(recipe), **options)
    assert len(open_run(tmp_path / "run").history()) == 2


def test_an_interrupted_training_says_what_is_kept(recipe, tiny_root, lab_home, tmp_path):
    words = ["train", str(recipe), "--data", str(tiny_root), "--run-dir", str(tmp_path / "run"), "--epochs", "5000"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "labkit", *words, "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout:
        if line.startswith("epoch   2/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"stopped: epochs 1 to \d+ are kept in .*run; go on with --resume", err)
    assert "Traceback" not in err
