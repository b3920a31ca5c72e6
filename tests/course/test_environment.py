"""The pins of pip and conda are the same, and neither names a host."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"([A-Za-z0-9_.-]+)==([^\s;]+)")


def pins(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall(text):
        found.setdefault(name.lower(), set()).add(version)
    return found


def test_conda_pins_every_direct_dependency_as_the_lock_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    direct = project["dependencies"] + [line for lines in extras.values() for line in lines if "labkit" not in line]
    names = {re.split(r"[><=\[ ]", line)[0].lower() for line in direct}
    lock = pins((ROOT / "requirements.lock").read_text())
    conda = pins((ROOT / "environment.yml").read_text())
    assert set(conda) == names
    for name, versions in conda.items():
        assert versions <= lock[name], name


def test_the_lock_pins_the_versions_of_torch_that_fit_each_other():
    lock = pins((ROOT / "requirements.lock").read_text())
    assert lock["torch"] == {"2.14.1"}
    assert lock["torchvision"] == {"0.29.1"}


def test_no_host_stands_in_the_lock_or_the_project_file():
    for name in ("requirements.lock", "environment.yml", "pyproject.toml"):
        assert not re.search(r"index-url|find-links|file://|https?://", (ROOT / name).read_text()), name
