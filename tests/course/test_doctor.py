"""The doctor names what is broken, in a real situation each, and the command that helps."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course import doctor
from labkit.files import PARTIAL
from labkit.training import Recipe, epochs, open_run
from tests.conftest import draw_pets


@pytest.fixture
def own_home(tmp_path, monkeypatch) -> Path:
    """A lab of this test's own, in which nothing is yet."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    return tmp_path / "lab"


def one(check, beginning: str, data: str = "sample") -> tuple[str, str, str]:
    """The one finding whose text begins so: level, text, command."""
    (found,) = (finding for finding in check(data) if finding[1].startswith(beginning))
    return found


def test_the_report_of_a_fresh_lab_fits_on_a_screen_and_ends_with_what_to_do(shell, own_home):
    status, out, _ = shell("doctor")
    lines = out.splitlines()
    assert len(lines) <= 30
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == {
        *("versions", "devices", "disk", "kernel", "data", "runs", "next:")
    }
    assert f"python {sys.version.split()[0]}" in out
    assert status == any(line.split()[1] == "broken" for line in lines[:-1] if not line.startswith(" "))
    _, out, _ = shell("doctor", "--data", "pets", "--json")
    told = json.loads(out)
    assert {"topic", "level", "text", "do"} == told["findings"][0].keys()
    assert told["next"] == next(f["do"] for f in told["findings"] if f["level"] == "broken" and f["do"])


def test_without_torch_the_other_checks_go_on_and_the_doctor_itself_needs_none(shell, own_home, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    status, out, _ = shell("doctor")
    assert status == 1
    assert re.search(r"devices +broken could not be checked \(ModuleNotFoundError", out)
    assert "kernel    " in out
    asked = "import sys, course.cli; sys.exit(bool({'torch', 'pandas', 'ipywidgets'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_packages_that_are_missing_old_or_not_the_locks_are_named(own_home, tmp_path, monkeypatch):
    assert not [finding for finding in doctor.versions("sample") if "requirements.lock" in finding[1]]
    (own_home / "requirements.lock").write_text(
        f"numpy==1.0\ntorch=={importlib.metadata.version('torch').partition('+')[0]}\n"
        "pandas==0.1 ; python_full_version < '3'\nnot-installed==3\n"
    )
    level, text, do = one(doctor.versions, "not as in requirements.lock")
    assert text == f"not as in requirements.lock: numpy {importlib.metadata.version('numpy')} (==1.0)"
    assert (level, "pip install -c lab/requirements.lock -e 'lab[dev]'" in do) == ("note", True)
    metadata = tmp_path / "labkit-9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    needs = "".join(f"Requires-Dist: {need}\n" for need in ("no-such-package>=1", "numpy>=99", "pandas"))
    metadata.write_text(f"Metadata-Version: 2.1\nName: labkit\nVersion: 9\n{needs}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    level, text, _ = one(doctor.versions, "labkit 9")
    assert level == "broken"
    assert "no-such-package" in text
    assert "numpy" in text
    assert "pandas" not in text


def test_a_driver_whose_gpu_torch_does_not_see_is_named(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("torch.utils.collect_env.get_nvidia_driver_version", lambda run: "580.1")
    level, _, do = one(doctor.devices, "an NVIDIA driver (580.1) is there")
    assert (level, "pip install" in do) == ("note", True)
    assert one(doctor.devices, "cpu: CPU with ")[0] == "ok"


ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size={size} none {folder}
mkdir {folder}/tmp
{spoil}
LABKIT_HOME={folder} TMPDIR={folder}/tmp {python} -c '
from course import doctor
from labkit.files import PARTIAL
print("|".join(next(doctor.disk("sample"))))'
"""


@pytest.mark.parametrize(
    ("size", "spoil", "level", "sentence"),
    [
        ("300m", "", "broken", "0.3 GiB free at .*"),
        ("3g", "", "note", "3.0 GiB free at .*"),
        ("64k", "cat /dev/zero > {folder}/full 2>/dev/null || true", "broken", ".*cannot be written .No space left.*"),
        ("8g", "mount -o remount,ro {folder}", "broken", ".*cannot be written .Read-only file system."),
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
    found = out.strip().split("|")
    assert found[0] == level
    assert re.fullmatch(f"dataset: {sentence}", found[1])
    assert bool(found[2]) == (level != "ok")


def test_a_home_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "labb"))
    assert one(doctor.disk, "LABKIT_HOME is")[::2] == ("broken", "unset LABKIT_HOME")


@pytest.mark.parametrize("name", [f"{PARTIAL}sample-x1y2", "pets/.importing-ab", f"cache/{PARTIAL}ab-64-c"])
def test_what_was_left_half_done_is_named_unless_it_may_be_at_work(own_home, name):
    left = own_home / "dataset" / name
    (left / "images").mkdir(parents=True)
    assert not [finding for finding in doctor.disk("sample") if "was killed" in finding[1]]
    os.utime(left, (1e9, 1e9))
    level, _, do = one(doctor.disk, f"left by a process that was killed: lab/dataset/{name}")
    subprocess.run(do, shell=True, check=True)
    assert (level, left.exists()) == ("note", False)


def test_data_that_are_not_there_or_damaged_are_named(own_home):
    assert [level for level, *_ in doctor.data_sets("sample")] == ["ok", "ok"]
    level, _, do = one(doctor.data_sets, f"{own_home}/dataset/pets: no images/", "pets")
    assert (level, do) == ("broken", "labkit data get --data pets")
    assert one(doctor.data_sets, "/no/where: no images/", "/no/where")[0] == "broken"
    folder = draw_pets(own_home / "dataset" / "pets", 8, 2) / "oxford-iiit-pet"
    assert one(doctor.data_sets, "pets: 8 pets of 4 breeds, fingerprint ")[0] == "ok"
    (folder / "images" / "Bombo_2.jpg").unlink()
    level, _, do = one(doctor.data_sets, f"{folder}/images/Bombo_2.jpg: the file is missing")
    assert (level, do) == ("broken", "labkit data check --data pets")


def test_an_unfinished_run_is_named_and_the_command_finishes_it(own_home):
    from labkit.data import open_pets

    draw_pets(own_home / "dataset" / "pets", 24, 6)
    small = {"data": {"image_size": 32}, "model": {"width": 4, "depth": 2}}
    recipe = Recipe().changed(**small, training={"epochs": 3, "precision": "float32"})
    run = own_home / "runs" / "my sweep" / "first"
    for _ in epochs(recipe, open_pets("pets"), run, device="cpu"):
        break  # stopped after its first epoch
    level, text, do = one(doctor.runs, "'lab/runs/my sweep/first'")
    assert (level, text) == ("note", "'lab/runs/my sweep/first': 1 of 3 epochs")
    assert do.endswith("--data pets --resume")
    command = f"{sys.executable} -m {do}"
    out = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=os.environ)
    assert out.returncode == 0, out.stderr
    assert open_run(run).history()["epoch"].tolist() == [1, 2, 3]
    assert [text for _, text, _ in doctor.runs("sample")] == ["0 unfinished runs (or in training now)"]


@pytest.mark.parametrize(
    ("program", "level", "sentence"),
    [
        ("/no/such/python", "broken", "another Python, /no/such/python, which is not there"),
        ("/bin/sh", "note", "another Python, /bin/sh"),
        ("python", "ok", "this Python"),
        (sys.executable, "ok", "this Python"),
    ],
)
def test_a_kernel_of_another_python_is_named(tmp_path, monkeypatch, program, level, sentence):
    spec = {"argv": [program, "-f", "{connection_file}"], "display_name": "x", "language": "python"}
    path = tmp_path / "kernels" / "python3" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    found, _, do = one(doctor.kernel, f"python3: {sentence}")
    assert found == level
    assert bool(do) == (level != "ok")


def test_no_kernel_at_all_is_broken(tmp_path, monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "_kernel_dirs_default", lambda self: [str(tmp_path)])
    monkeypatch.setitem(sys.modules, "ipykernel.kernelspec", None)  # as if ipykernel were not installed
    assert one(doctor.kernel, "python3: another Python, none, which is not there")[0] == "broken"
