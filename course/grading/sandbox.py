"""A process that may read the lab and nothing else, with bubblewrap where it works, and what came back from it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from course.grading.worker import FRAME, MOST_BYTES, WALL
from labkit.errors import LabError

PACKAGES = ("labkit", "course")
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
NOBODY = 65534
ROOT = "root grades, and other users cannot read this Python: the kernel does not count root's processes, so a fork "
ROOT += "bomb is stopped late; grade as another user, or install Python where all can read it"
PATIENCE = 300
"""Seconds for the trial of a sandbox."""
PROBE = "import numpy, course"


class Limits(NamedTuple):
    """For each process (memory, file, processes), for each exercise (seconds), and for all of a student (memory)."""

    seconds: float = 60
    """Of the processor; by the clock `worker.WALL` times as many."""
    memory: int = 4 * 2**30
    file: int = 64 * 2**20
    processes: int = 64


class Box(NamedTuple):
    """How students' processes are shut in."""

    before: tuple[str, ...]
    """The command that goes before Python's."""
    user: int | None
    """Whom they run as, where the grader is root: root's processes are not counted by the kernel."""
    warning: str = ""

    @property
    def closed(self) -> bool:
        """Whether bubblewrap shuts them in."""
        return "bwrap" in self.before[:1]


@cache
def box() -> Box:
    """The best box that works on this machine, tried out with a process that imports the lab."""
    users = (NOBODY, None) if os.getuid() == 0 else (None,)
    if shutil.which("bwrap"):
        for user in users:
            if _works(_bubblewrap(), user):
                return Box(_bubblewrap(), user, ROOT if user is None and os.getuid() == 0 else "")
    for before in (("unshare", "-n"), ("unshare", "-rn"), ()):
        if not before or (shutil.which("unshare") and _works(before, None)):
            break
    net = "without a network" if before else "with the network"
    told = f"bubblewrap does not work here, so students' code runs {net} but can read and write your files; grade on a "
    return Box(before, None, told + "machine of which you need nothing, or install bubblewrap")


def _works(before: tuple[str, ...], user: int | None) -> bool:
    command = [*before, sys.executable, "-c", PROBE]
    try:
        tried = subprocess.run(
            command, env=_environment("/tmp"), cwd="/", user=user, group=user, capture_output=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:  # no reason to go on without a sandbox
        raise LabError(f"course grade: the machine is too busy, {before[0]} took more than {PATIENCE} s") from None
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0


def _bubblewrap() -> tuple[str, ...]:
    """A read-only system of Python and the lab's packages; no home, no other folder, no network."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(256 * 2**20), "--tmpfs", "/tmp"]
    roots = [Path(prefix) for prefix in (*SYSTEM, sys.prefix, sys.base_prefix)]
    roots += [Path(entry) for entry in sys.path if entry.endswith("-packages")]
    for package in PACKAGES:
        roots += [Path(place) for place in sys.modules[package].__path__]
    roots.append(_root() / "records")
    for path in dict.fromkeys(roots):
        command += ["--ro-bind-try", str(path), str(path)]
    return (*command, "--remount-ro", "/", "--chdir", "/tmp")


def _root() -> Path:
    return Path(sys.modules["course"].__path__[0]).parent


def _environment(home: str) -> dict[str, str]:
    paths = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(_root()), "HOME": home, "LABKIT_HOME": home, "TMPDIR": home}
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return paths | numbers | {"USER": "student", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}


def run(sources: dict[str, list[str]], tasks: list[dict[str, Any]], limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Yield index and answer of each task, as far as the process got; it ends with the last one, or sooner.

    Args:
        sources: the code cells of each notebook, by name.
        tasks: `index, check, argument, notebook, seed` of each exercise.
    """
    chosen = box()
    host = os.readlink("/proc/self/ns/pid") if chosen.closed else ""
    job = {"sources": sources, "tasks": tasks, "limits": limits._asdict(), "host": host}
    with tempfile.TemporaryDirectory(prefix="course-grade-", ignore_cleanup_errors=True) as scratch:
        home = "/tmp" if chosen.closed else scratch
        process = subprocess.Popen(
            [*chosen.before, sys.executable, "-m", "course.grading.worker"],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL},
            **{"env": _environment(home), "cwd": "/" if chosen.closed else scratch, "start_new_session": True},
            **{"user": chosen.user, "group": chosen.user, "extra_groups": None if chosen.user is None else []},
        )
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.close()
            yield from _frames(process, limits)
        finally:
            end(process)


def end(process: subprocess.Popen) -> None:
    """Kill a process and all that descends from it."""
    below = [] if box().closed else _below(process)
    process.kill()  # of bubblewrap's, the kernel ends the whole namespace
    for one in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    process.stdout.close()


def _frames(process: subprocess.Popen, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Frames as they come; stops at the end, at a wrong one, and where time or memory is over."""
    stream, received, start = process.stdout.fileno(), b"", time.monotonic()
    os.set_blocking(stream, False)
    while time.monotonic() < start + WALL * limits.seconds + 60:  # the worker has a clock, too
        try:
            part = os.read(stream, 2**20)
        except BlockingIOError:
            below = _below(process)
            if len(below) > limits.processes or _memory(below) > limits.memory:
                return
            time.sleep(0.05)
            continue
        received += part
        while len(received) >= FRAME.size:
            index, length = FRAME.unpack_from(received)
            if length > MOST_BYTES + 1:
                return
            if len(received) < FRAME.size + length:
                break
            yield index, received[FRAME.size : FRAME.size + length]
            received, start = received[FRAME.size + length :], time.monotonic()
        if not part:
            return


def _below(process: subprocess.Popen) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _memory(processes: list[psutil.Process]) -> int:
    """Bytes that processes have in memory, without pages of files."""
    total = 0
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            about = one.memory_info()
            total += about.rss - about.shared
    return total
