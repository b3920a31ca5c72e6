"""What `course doctor` asks the machine. Each check imports what it needs by itself: that may be what is broken."""

import csv
import importlib.metadata
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.cli.shell import shown_path
from labkit.errors import some_of
from labkit.files import home

SHOWN = ("torch", "torchvision", "numpy", "jupyterlab", "ipywidgets", "papermill", "distributed")
GIB = 2**30
LITTLE, TOO_LITTLE = 5 * GIB, GIB // 2
"""Free disk space that is worth a word, and that stops a training."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    level: str
    """`ok`, `note` (works, but should be known) or `broken`."""
    text: str
    do: str = ""
    """The command that helps."""


Found = Iterator[tuple[str, str, str]]
"""Level, text and command of each finding of a check."""


def versions() -> Found:
    """Python and the packages against `requirements.lock`."""
    from packaging.requirements import Requirement

    there = {name: _version(name) for name in SHOWN}
    told = ", ".join(f"{name} {version or 'missing'}" for name, version in there.items())
    yield "ok", f"python {sys.version.split()[0]}, {told}", ""
    where, python = shown_path(home()), shown_path(sys.executable)
    install = f"{python} -m pip install -c {shlex.quote(where)}/requirements.lock -e {shlex.quote(where + '[dev]')}"
    needed = [Requirement(text) for text in importlib.metadata.requires("labkit") or []]
    direct = [need for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    missing = [need.name for need in direct if _version(need.name) is None]
    if missing:
        yield "broken", f"not installed: {some_of(missing)}", install
    old = [f"{n.name} {_version(n.name)} (needs {n.specifier})" for n in direct if _unfit(n)]
    if old:
        yield "broken", f"too old: {some_of(old)}", install
    lock = home() / "requirements.lock"
    if not lock.is_file():
        yield "note", f"no requirements.lock in {where}, versions are not compared", ""
        return
    pins = [Requirement(line) for line in lock.read_text().splitlines() if re.match(r"[A-Za-z0-9]", line)]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    other = [
        f"{p.name} {v} (lock {next(iter(p.specifier)).version})" for p in pins if (v := _version(p.name)) and _unfit(p)
    ]
    if other:
        yield "note", f"not as in requirements.lock: {some_of(other)}", install
    else:
        yield "ok", "as in requirements.lock", ""


def devices() -> Found:
    """CPU and CUDA devices, and whether they multiply in bfloat16."""
    import torch

    from labkit.training.hardware import has_bfloat16

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    silicon = "bfloat16 in silicon" if has_bfloat16(torch.device("cpu")) else "no bfloat16 in silicon"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB if hasattr(os, "sysconf") else float("nan")
    yield "ok", f"CPU: {cores} cores, {torch.get_num_threads()} threads, {memory:.0f} GiB of memory, {silicon}", ""
    for i in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(i)
        kind = "bfloat16" if has_bfloat16(torch.device("cuda", i)) else "no bfloat16"
        yield "ok", f"cuda:{i}: {found.name}, {found.total_memory / GIB:.0f} GiB of memory, {kind}", ""
    if not torch.cuda.device_count():
        yield "note", f"no GPU: {_times_on_a_cpu()}", ""


def disk() -> Found:
    """Free space and whether it can be written, once for each file system."""
    if not home().is_dir():
        yield "broken", f"LABKIT_HOME is {home()}, and there is no such folder", "unset LABKIT_HOME"
    places = {
        "the lab": home(),
        "dataset": home() / "dataset",
        "runs": home() / "runs",
        "TMPDIR": Path(tempfile.gettempdir()),
    }
    groups: dict[tuple[int, str], list[str]] = {}
    for name, path in places.items():
        there = next(place for place in (path, *path.parents) if place.exists())
        groups.setdefault((there.stat().st_dev, _write_error(there)), []).append(name)
        free = shutil.disk_usage(there).free
        places[name] = (there, free)
    for (_, error), names in groups.items():
        folder, free = places[names[0]]
        what = f"{', '.join(names)}: {free / GIB:.1f} GiB free at {shown_path(folder)}"
        if error:
            yield "broken", f"{what}, cannot be written ({error})", _where_else(names[0], folder)
        elif free < LITTLE:
            level = "broken" if free < TOO_LITTLE else "note"
            yield level, f"{what}, which is little", f"du -sh {shlex.quote(shown_path(folder))}/*"
        else:
            yield "ok", what, ""


def tools() -> Found:
    """What else the lab calls: the notebooks' kernel, git, a browser for its test."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    install = f"{shown_path(sys.executable)} -m ipykernel install --sys-prefix --name python3"
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        yield "broken", "kernel python3: not there, notebooks cannot run", install
    else:
        own = re.fullmatch(r"python(3(\.\d+)?)?", program) or Path(program).parent == Path(sys.executable).parent
        if own:
            yield "ok", "kernel python3: this Python", ""
        elif shutil.which(program) is None:
            yield "broken", f"kernel python3: its Python {program} is not there", install
        else:
            yield "note", f"kernel python3: another Python, {program}", install
    if shutil.which("git") is None:
        yield "note", "git: not there, run folders will not say which commit made them", ""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        yield "note", "Chromium: not there, the browser's test will be skipped", ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _unfit(need) -> bool:
    version = _version(need.name)
    return version is not None and not need.specifier.contains(version.partition("+")[0], prereleases=True)


def _times_on_a_cpu() -> str:
    """What the measured recipes took on a CPU, from records/results.csv."""
    path = home() / "records" / "results.csv"
    with open(path, newline="", encoding="utf-8") if path.is_file() else open(os.devnull) as file:
        rows = [row for row in csv.DictReader(file) if row["device"].startswith("cpu")]
    minutes = {row["recipe"]: f"{float(row['train_minutes']):.0f} min" for row in rows}
    told = ", ".join(f"{recipe} {time_}" for recipe, time_ in list(minutes.items())[:3])
    return f"measured on a CPU: {told}; quick takes a minute" if told else "quick takes a minute, others hours"


def _write_error(folder: Path) -> str:
    """Why nothing can be written there; empty where something can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"some")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _where_else(name: str, folder: Path) -> str:
    return (
        "export TMPDIR=$HOME/tmp"
        if name == "TMPDIR"
        else f"export LABKIT_HOME=FOLDER  # instead of {shown_path(folder)}"
    )
