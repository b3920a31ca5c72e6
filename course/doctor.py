"""`course doctor`. Each check imports what it needs by itself, and yields level, text, and the command that helps."""

import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import Data
from labkit.errors import LabError, some_of
from labkit.files import PARTIAL, home


def shown_path(path: str | Path) -> str:
    """A path as short as it can be written from the working directory."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)


PYTHON = shlex.quote(shown_path(sys.executable))


def doctor(data: Data = "sample", as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Check versions, devices, disk, kernel, data and runs; the last line is the next command.

    A `note` is a warning; if anything is `broken` the exit status is 1.

    Examples: `course doctor`; `course doctor --data pets --json`
    """
    checks = {"versions": versions, "devices": devices, "disk": disk, "kernel": kernel, "data": data_sets, "runs": runs}
    rows = []
    for topic, check in checks.items():
        try:
            rows.extend((topic, *found) for found in check(data))
        except Exception as error:  # whatever is broken there, the other checks go on
            rows.append((topic, "broken", f"could not be checked ({type(error).__name__}: {error})", ""))
    helps = [do for level in ("broken", "note") for _, found, _, do in rows if found == level and do]
    following = helps[0] if helps else f"course lab --data {data}".removesuffix(" --data sample")
    if as_json:
        findings = [dict(zip(("topic", "level", "text", "do"), row, strict=True)) for row in rows]
        typer.echo(json.dumps({"findings": findings, "next": following}, indent=2))
    else:
        for topic, level, told, do in rows:
            typer.echo(f"{topic:<9} {level:<6} {' '.join(told.split())}" + (f"\n{'':<19}{do}" if do else ""))
        typer.echo(f"next: {following}")
    raise typer.Exit(int(any(level == "broken" for _, level, *_ in rows)))


def versions(data: str) -> Iterator[tuple[str, str, str]]:
    """Python and the packages against what labkit needs and what `requirements.lock` says."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    there = {canonicalize_name(found.name): found.version for found in importlib.metadata.distributions()}
    yield "ok", f"python {sys.version.split()[0]}, torch {there.get('torch')}, jupyterlab {there.get('jupyterlab')}", ""
    where, lock = shown_path(home()), home() / "requirements.lock"
    do = f"{PYTHON} -m pip install -c {shlex.quote(where)}/requirements.lock -e {shlex.quote(where + '[dev]')}"
    asked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    if wrong := re.findall(r"^labkit .*\w", asked.stdout, re.MULTILINE):
        yield "broken", "; ".join(wrong), do
    other = []
    for pin in map(Requirement, re.findall(r"^\w.*", lock.read_text(), re.MULTILINE) if lock.is_file() else []):
        has = there.get(canonicalize_name(pin.name)) if not pin.marker or pin.marker.evaluate() else None
        other += [f"{pin.name} {has} ({pin.specifier})"] if has and not pin.specifier.contains(has, True) else []
    if other:
        yield "note", f"not as in requirements.lock: {some_of(other)}", do


def devices(data: str) -> Iterator[tuple[str, str, str]]:
    """CPU and GPUs, their memory, and the precision that suits them."""
    import torch
    from torch.utils import collect_env

    from labkit.training import choose_precision, describe

    gpus = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    for device in (torch.device("cpu"), *gpus):
        yield "ok", f"{device}: {describe(device, choose_precision('auto', device))}", ""
    if not gpus:
        yield "note", "no GPU: quick takes a minute, cpu-128-unet half an hour; default is meant for a GPU", ""
        if driver := collect_env.get_nvidia_driver_version(collect_env.run):
            do = f"{PYTHON} -m pip install --force-reinstall torch torchvision"
            yield "note", f"an NVIDIA driver ({driver}) is there, but torch {torch.__version__} sees no GPU", do


def disk(data: str) -> Iterator[tuple[str, str, str]]:
    """Free space, and whether it can be written."""
    if not home().is_dir():
        yield "broken", f"LABKIT_HOME is {home()}, and there is no such folder", "unset LABKIT_HOME"
    places = {"dataset": home() / "dataset", "runs": home() / "runs", "TMPDIR": Path(tempfile.gettempdir())}
    for name, path in places.items():
        folder = next(place for place in (path, *path.parents) if place.exists())
        free, where = shutil.disk_usage(folder).free / 2**30, shlex.quote(shown_path(folder))
        error, do = "", f"du -sh {where}/*"
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"some")
        except OSError as reason:
            error = f", cannot be written ({reason.strerror})"
            do = "export TMPDIR=$HOME/tmp" if name == "TMPDIR" else "export LABKIT_HOME=FOLDER"
        level = "broken" if error or free < 0.5 else "note" if free < 5 else "ok"
        yield level, f"{name}: {free:.1f} GiB free at {where}{error}", do if level != "ok" else ""
    left = [p for end in (".*-fetching", "*/.importing-*", f"**/{PARTIAL}*") for p in (home() / "dataset").glob(end)]
    if dead := [shown_path(path) for path in left if path.stat().st_mtime < time.time() - 86400]:  # others may be used
        yield "note", f"left by a process that was killed: {some_of(dead)}", shlex.join(["rm", "-r", *dead])


def kernel(data: str) -> Iterator[tuple[str, str, str]]:
    """Whether notebooks run in this Python."""
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_all_specs().get("python3", {"spec": {"argv": ["none"]}})
    program, do = spec["spec"]["argv"][0], f"{PYTHON} -m ipykernel install --sys-prefix --name python3"
    own = re.fullmatch(r"python[\d.]*", program) or Path(program).parent == Path(sys.executable).parent
    missing = "" if own or shutil.which(program) else ", which is not there; notebooks cannot run"
    told = "this Python" if own else f"another Python, {program}{missing}"
    yield "ok" if own else "broken" if missing else "note", f"python3: {told}", "" if own else do


def data_sets(data: str) -> Iterator[tuple[str, str, str]]:
    """Which data sets there are, and whether they are complete."""
    from labkit.data import data_root, open_pets

    for name in dict.fromkeys(("sample", "pets", data)):
        there = data_root(name).is_dir()
        try:
            if there or name == data != "sample":
                pets = open_pets(name)
                yield "ok", f"{name}: {len(pets)} pets of {len(pets.breeds)} breeds, fingerprint {pets.fingerprint}", ""
            else:
                yield "ok", f"{name}: not there{'; it is unpacked on first use' if name == 'sample' else ''}", ""
        except LabError as error:
            yield "broken", str(error), f"labkit data {'check' if there else 'get'} --data {name}"


def runs(data: str) -> Iterator[tuple[str, str, str]]:
    """How to resume the first unfinished runs."""
    from labkit.data import data_root, open_pets
    from labkit.training import load_recipe

    names, unfinished = {open_pets(n).fingerprint: n for n in ("sample", "pets") if data_root(n).is_dir()}, []
    for path in sorted((home() / "runs").rglob("recipe.toml")):
        recipe, history, where = load_recipe(path), path.parent / "history.csv", shlex.quote(shown_path(path.parent))
        done = history.read_text().count("\n") - 1 if history.is_file() else 0
        if done < recipe.training.epochs and not recipe.training.patience:  # which may have ended it early
            data = names.get(recipe.data.fingerprint, "FOLDER")
            do = f"labkit train {where}/recipe.toml --run-dir {where} --data {data}"
            unfinished.append(("note", f"{where}: {done} of {recipe.training.epochs} epochs", f"{do} --resume"))
    yield from [("ok", f"{len(unfinished)} unfinished runs (or in training now)", ""), *unfinished[:3]]
