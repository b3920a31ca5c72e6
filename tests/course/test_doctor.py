"""The doctor names what is broken, in a real situation each, and the command that helps."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from course import checkup, holdings
from course.doctor import examine
from labkit import cli
from labkit.training import Recipe, epochs, open_run
from tests.conftest import draw_pets

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own_home(tmp_path, monkeypatch) -> Path:
    """A lab of this test's own, in which nothing is yet."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    return tmp_path / "lab"


@pytest.fixture
def shell(monkeypatch, capsys):
    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["labkit", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capsys.readouterr().out

    return run


def found(check) -> dict[str, tuple[str, str]]:
    """Text -> level and command."""
    return {text: (level, do) for level, text, do in check}


def one(findings: dict[str, tuple[str, str]], beginning: str) -> tuple[str, str, str]:
    """Text, level, command of the one finding that begins so."""
    ((text, rest),) = ((text, rest) for text, rest in findings.items() if text.startswith(beginning))
    return text, *rest


def test_the_report_fits_on_a_screen_and_ends_with_a_command(shell, monkeypatch):
    monkeypatch.delenv("LABKIT_HOME", raising=False)
    began = time.process_time()
    _, out = shell("doctor")
    assert time.process_time() - began < 3
    lines = out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert lines[-1].startswith("next: ")
    for topic in ("versions", "devices", "disk", "data", "arrays", "runs", "tools"):
        assert sum(line.startswith(topic) for line in lines) == 1
    assert f"python {sys.version.split()[0]}" in out


def test_even_a_lab_full_of_trouble_fits_on_a_screen(own_home, shell):
    for i in range(30):
        (own_home / "dataset" / f"data{i}" / ".oxford-iiit-pet-abcd").mkdir(parents=True)
        run = own_home / "runs" / f"a-run-with-quite-a-long-name-{'x' * 60}-{i}"
        run.mkdir(parents=True)
        (run / "recipe.toml").write_text("[data]\n[training]\nepochs = 3\n")
    status, out = shell("doctor", "--data", "/no/such/folder")
    assert status == 1
    assert len(out.splitlines()) <= 40
    assert max(map(len, out.splitlines()[:-1])) <= 100
    assert "more lines" in out


def test_json_holds_every_finding(own_home, shell):
    status, out = shell("doctor", "--json")
    told = json.loads(out)
    assert {row["topic"] for row in told["findings"]} == {
        *("versions", "devices", "disk", "data", "arrays", "runs", "tools")
    }
    assert all(row["level"] in ("ok", "note", "broken") for row in told["findings"])
    assert status == int(any(row["level"] == "broken" for row in told["findings"]))


# --- versions and devices


def test_versions_other_than_the_locks_are_named(own_home):
    versions = found(checkup.versions())
    assert one(versions, "no requirements.lock")[1] == "note"
    (own_home / "requirements.lock").write_text(
        f"numpy==1.0\ntorch=={importlib.metadata.version('torch').partition('+')[0]}\n"
        "pandas==0.1 ; python_full_version < '3'\nnot-installed==3\n"
    )
    text, level, do = one(found(checkup.versions()), "not as in requirements.lock")
    assert text == f"not as in requirements.lock: numpy {importlib.metadata.version('numpy')} (lock 1.0)"
    assert (level, "pip install -c lab/requirements.lock -e 'lab[dev]'" in do) == ("note", True)


def test_this_environment_is_the_locks(monkeypatch):
    monkeypatch.delenv("LABKIT_HOME", raising=False)
    assert {level for level, _ in found(checkup.versions()).values()} <= {"ok", "note"}


def test_missing_and_old_packages_are_broken(own_home, monkeypatch):
    needs = ["no-such-package-at-all>=1", "numpy>=99", "pandas", "neither-this ; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    versions = found(checkup.versions())
    assert one(versions, "not installed")[:2] == ("not installed: no-such-package-at-all", "broken")
    assert one(versions, "too old")[0].startswith("too old: numpy ")


def test_without_torch_the_other_checks_go_on(own_home, monkeypatch, shell):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    status, out = shell("doctor")
    assert status == 1
    assert "devices  ! could not be checked (ModuleNotFoundError" in out
    assert "kernel python3" in out


def test_the_doctor_itself_needs_neither_torch_nor_the_notebooks_packages():
    asked = "import sys, course.doctor; sys.exit(bool({'torch', 'pandas', 'ipywidgets'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_without_a_gpu_the_measured_times_are_told(own_home, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    (own_home / "records").mkdir()
    (own_home / "records" / "results.csv").write_text("recipe,train_minutes,device\nslow,41.3,cpu (X)\nquick,3,cuda\n")
    assert one(found(checkup.devices()), "no GPU")[:2] == (
        "no GPU: measured on a CPU: slow 41 min; quick takes a minute",
        "note",
    )


# --- disk


ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size={size} none {folder}
mkdir {folder}/tmp
{spoil}
LABKIT_HOME={folder} TMPDIR={folder}/tmp {python} -c '
from course import checkup
for finding in checkup.disk(): print("|".join(finding))'
"""


@pytest.mark.parametrize(
    ("size", "spoil", "level", "sentence"),
    [
        ("300m", "", "broken", "0.3 GiB free at .*, which is little"),
        ("3g", "", "note", "3.0 GiB free at .*, which is little"),
        ("64k", "cat /dev/zero > {folder}/full 2>/dev/null || true", "broken", "cannot be written .No space left"),
        ("8g", "mount -o remount,ro {folder}", "broken", "cannot be written .Read-only file system"),
        ("8g", "", "ok", "8.0 GiB free at [^,]*"),
    ],
)
def test_a_disk_that_is_small_full_or_read_only_is_named(tmp_path, size, spoil, level, sentence):
    may = ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(may, capture_output=True, check=False).returncode:
        pytest.skip("small file systems cannot be mounted here")
    spoil = spoil.format(folder=tmp_path)
    script = ON_A_SMALL_DISK.format(size=size, folder=tmp_path, spoil=spoil, python=sys.executable)
    out = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True).stdout
    first = out.splitlines()[0].split("|")
    assert first[0] == level
    assert re.fullmatch(f"the lab.*: .*{sentence}.*", first[1])
    assert bool(first[2]) == (level != "ok")


def test_a_home_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "labb"))
    assert one(found(checkup.disk()), "LABKIT_HOME is")[1:] == ("broken", "unset LABKIT_HOME")


# --- data


def test_a_fresh_lab_is_told_to_unpack_the_sample(own_home):
    findings = examine()
    assert "labkit data get --data sample" in [finding.do for finding in findings]
    assert one(found(holdings.data_sets("sample")), "pets")[:2] == ("pets: not there", "ok")
    assert one(found(holdings.data_sets("pets")), "pets")[1:] == ("broken", "labkit data get --data pets")
    assert one(found(holdings.data_sets("/no/where")), "/no/where")[1:] == ("broken", "")


def test_missing_images_are_counted_and_named(own_home):
    folder = draw_pets(own_home / "dataset" / "pets", 8, 2) / "oxford-iiit-pet"
    assert one(found(holdings.data_sets("pets")), "pets")[0].startswith("pets: 8 pets of 4 breeds in ")
    (folder / "images" / "Bombo_2.jpg").unlink()
    text, level, do = one(found(holdings.data_sets("pets")), "pets")
    assert (text, level) == ("pets: 1 of 8 images are missing: Bombo_2", "broken")
    assert do == "labkit data check --data pets"


def test_damaged_lists_do_not_stop_the_doctor(own_home):
    folder = draw_pets(own_home / "dataset" / "pets", 8, 2) / "oxford-iiit-pet"
    (folder / "annotations" / "list.txt").write_text("nonsense\n")
    findings = examine("pets")
    assert [f.text for f in findings if f.topic == "data" and "list.txt, line 1" in f.text]
    assert [f for f in findings if f.topic == "tools"]


@pytest.mark.parametrize("name", [".sample-unpacking-x1y2", "pets/.importing-ab", "cache/.building-ab-64-c"])
def test_what_was_left_half_done_is_named_unless_it_is_being_written(own_home, name):
    left = own_home / "dataset" / name
    (left / "images").mkdir(parents=True)
    told = f"{Path('lab') / 'dataset' / name}"
    assert one(found(holdings.data_sets("sample")), told)[:2] == (f"{told} is being written", "ok")
    for folder in (left / "images", left):
        os.utime(folder, (1e9, 1e9))
    _, level, do = one(found(holdings.data_sets("sample")), told)
    assert (level, do) == ("note", f"rm -r {told}")
    subprocess.run(do, shell=True, check=True)
    assert not left.exists()


def test_decoded_images_are_summed_by_size(own_home):
    cache = own_home / "dataset" / "cache"
    cache.mkdir(parents=True)
    for stem, megabytes in (("a" * 16 + "-64", 3), ("a" * 16 + "-64-trimaps", 1), ("b" * 16 + "-128", 2)):
        (cache / f"{stem}.npy").write_bytes(bytes(megabytes * 2**20))
    (text,) = found(holdings.arrays())
    assert text == "decoded images: 64 px 4 MiB, 128 px 2 MiB"


# --- runs


def test_an_unfinished_run_is_named_and_the_command_finishes_it(own_home, shell):
    from labkit.data import open_pets

    draw_pets(own_home / "dataset" / "pets", 24, 6)
    (own_home / "notebooks").mkdir()
    recipe = Recipe().changed(
        data={"image_size": 32}, model={"width": 4, "depth": 2}, training={"epochs": 3, "precision": "float32"}
    )
    run = own_home / "runs" / "my sweep" / "first"
    for _ in epochs(recipe, open_pets("pets"), run, device="cpu"):
        break  # stopped after its first epoch
    text, level, do = one(found(holdings.runs()), "lab/runs/my sweep/first")
    assert (text, level) == ("lab/runs/my sweep/first: 1 of 3 epochs", "note")
    with FileLock(run / ".lock"):
        assert "in training now" in one(found(holdings.runs()), "lab/runs/my sweep/first")[0]
    assert do.endswith("--data pets --resume")
    out = subprocess.run(
        f"{sys.executable} -m {do}", shell=True, capture_output=True, text=True, check=False, env=os.environ
    )
    assert out.returncode == 0, out.stderr
    assert open_run(run).history()["epoch"].tolist() == [1, 2, 3]
    assert "1 finished runs, 0 unfinished" in " ".join(found(holdings.runs()))


def test_a_damaged_recipe_is_named(own_home):
    (own_home / "runs" / "cut").mkdir(parents=True)
    (own_home / "runs" / "cut" / "recipe.toml").write_text("[training\n")
    assert one(found(holdings.runs()), "lab/runs/cut: its recipe.toml is damaged")[1] == "note"


# --- tools


@pytest.mark.parametrize(
    ("program", "level", "sentence"),
    [
        ("/no/such/python", "broken", "its Python /no/such/python is not there"),
        ("/bin/sh", "note", "another Python, /bin/sh"),
        ("python", "ok", "this Python"),
        (sys.executable, "ok", "this Python"),
    ],
)
def test_a_kernel_of_another_python_is_named(tmp_path, monkeypatch, program, level, sentence):
    spec = tmp_path / "kernels" / "python3"
    spec.mkdir(parents=True)
    content = {
        "argv": [program, "-m", "ipykernel", "-f", "{connection_file}"],
        "display_name": "x",
        "language": "python",
    }
    (spec / "kernel.json").write_text(json.dumps(content))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    text, found_level, do = one(found(checkup.tools()), "kernel python3")
    assert (text, found_level) == (f"kernel python3: {sentence}", level)
    assert bool(do) == (level != "ok")


def test_no_kernel_at_all_is_broken(tmp_path, monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "_kernel_dirs_default", lambda self: [str(tmp_path)])
    monkeypatch.setitem(sys.modules, "ipykernel.kernelspec", None)  # as if ipykernel were not installed
    assert one(found(checkup.tools()), "kernel python3: not there")[1] == "broken"


def test_missing_programs_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    tools = found(checkup.tools())
    assert one(tools, "git: not there")[1] == one(tools, "Chromium: not there")[1] == "note"
