"""The cell that installs the lab in Colab, run as it is written where the lab is not: notebooks go on after it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

from tests.conftest import REPOSITORY

FILES = ("pyproject.toml", "README.md", "LICENSE")
FOLDERS = ("labkit", "course", "notebooks", "weights", "records", "docs")
NEEDED = "open_pets('sample'), committed_weights('sample'), labkit.__file__"


def colab_cell(page: str) -> str:
    """The cell as a page of the repository gives it."""
    [cell] = re.findall(r"```\w*\n(!git clone.+?)```", (REPOSITORY / page).read_text(encoding="utf-8"), re.S)
    return cell


def git(*words: str | Path) -> None:
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *map(str, words)], check=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A repository of the tree as it is."""
    folder = tmp_path_factory.mktemp("repository")
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(REPOSITORY / name, folder)
    git("init", "--quiet", folder)
    git("-C", folder, "add", ".")
    git("-C", folder, "commit", "--quiet", "--message", "all")
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A virtual environment that finds the packages that the lab needs, but not the lab."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    for old in site.glob("setuptools*"):  # Python 3.11 brings one that is too old to build the lab
        shutil.rmtree(old)
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files do not count
    return folder / "bin"


def test_readme_and_docs_give_the_same_cell():
    assert colab_cell("README.md") == colab_cell("docs/colab.md")


@pytest.mark.slow
def test_every_notebook_is_set_up_after_the_cell(repository, bare, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key not in ("LABKIT_HOME", "PYTHONPATH")}
    environment |= {"PATH": f"{bare}{os.pathsep}{environment['PATH']}", "IPYTHONDIR": str(tmp_path / "ipython")}
    # what a test without a network needs: the packages are there
    environment |= {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"}
    ipython = [bare / "python", "-m", "IPython", "--colors=NoColor"]
    without = subprocess.run(
        [*ipython, "-c", "import labkit"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "No module named 'labkit'" in without.stdout + without.stderr

    lines = [colab_cell("docs/colab.md").replace("ADDRESS", repository.as_uri())]
    for path in sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        lines += [cells[0].source, cells[1].source, f"print('set up: {path.stem}')"]
    lines += ["import labkit", "from labkit.data import open_pets", "from labkit.training import committed_weights"]
    lines.append(f"print('found:', {NEEDED})")
    (tmp_path / "cells.ipy").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run([*ipython, "cells.ipy"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "found:" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("set up:") == 10
    found = done.stdout[done.stdout.index("found:") :]
    assert str(tmp_path / "lab" / "weights" / "sample.safetensors") in found
    assert found.rstrip(")\n").endswith(str(tmp_path / "lab" / "labkit" / "__init__.py"))
    [package] = bare.parent.glob("lib/python*/site-packages/labkit")
    assert (package / "browser" / "canvas.js").is_file(), "the cell has installed it into its own environment"
