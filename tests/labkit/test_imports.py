"""What is imported when: training does not wait for plots or sliders, the shell's help not for torch."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

LATER = {"IPython", "distributed", "ipywidgets", "matplotlib", "tensorboard", "torchvision", "tqdm"}
PACKAGES = ("labkit", "labkit.metrics", "labkit.data", "labkit.models", "labkit.training")


def told(code: str) -> str:
    """What Python prints in a process of its own that may keep the bytecode of what it imports."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    asked = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return asked.stdout


def loaded(code: str, after: str = "") -> set[str]:
    """Top-level modules that `code` loads beyond those that are there `after` other code."""
    names = "{name.partition('.')[0] for name in sys.modules}"
    printed = told(f"import sys\n{after}\nbefore = {names}\n{code}\nprint(*{names} - before)")
    return set(printed.splitlines()[-1].split())


def test_training_imports_no_plots_or_sliders():
    found = loaded("import " + ", ".join(PACKAGES), after="import torch")  # torch has tqdm loaded by itself
    assert "labkit" in found
    assert not found & LATER


def test_what_is_imported_later_is_there():
    """The test above names modules as they are called: a misspelt one would never be found."""
    assert all(find_spec(name) for name in LATER)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["data", "--help"]], ids=" ".join)
def test_help_imports_no_torch(arguments):
    code = f"import sys; sys.argv = ['labkit', *{arguments}]\nfrom labkit.cli import main"
    found = loaded(f"{code}\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code")
    assert "typer" in found
    assert not found & (LATER | {"torch", "numpy", "pandas", "PIL"})


def test_packages_cost_little_beyond_torch():
    """Processor time of their imports against that of torch's in the same process, the best of three.

    It is 0.5 s, most of it pandas', where torch takes 1.3 s.
    """
    code = f"""
import time
began = time.process_time()
import torch
torch_there = time.process_time()
import {", ".join(PACKAGES)}
print((time.process_time() - torch_there) / (torch_there - began))
"""
    assert min(float(told(code)) for _ in range(3)) < 0.6
