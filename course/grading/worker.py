"""The process inside the sandbox: runs the cells of each exercise in a child of its own and hands back what it gave.

Reads one line of JSON from standard input, writes frames to standard output: index and length (`<IQ`), then one byte
that says what follows, and that. Nothing of it is trusted by who reads it.
"""

import io
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import Any

ARRAYS, SENTENCE, NOT_PLAIN, NOTHING, TIMEOUT, ENDED = b"A", b"S", b"P", b"N", b"T", b"E"
MOST_BYTES = 32 * 2**20
"""Of one exercise's arrays."""
FRAME = struct.Struct("<IQ")
WALL = 5
"""How many times its processor time an exercise may take by the clock, so that a busy machine fails nobody."""


def main() -> None:
    """Serve one student's exercises."""
    job = json.loads(sys.stdin.buffer.readline())
    out = os.dup(1)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    limit(job["limits"])
    import numpy  # noqa: F401 - loaded once, before the children are made

    import course.checks  # noqa: F401

    alone = os.readlink("/proc/self/ns/pid") != job["host"] if job["host"] else False
    for task in job["tasks"]:
        answer = in_child(task, job["sources"][task["notebook"]], job["limits"]["seconds"], out, alone)
        _write(out, FRAME.pack(task["index"], len(answer)) + answer)


def limit(limits: dict[str, int]) -> None:
    """Limits of memory, processes and file size, which children inherit."""
    for kind, most in (
        ("RLIMIT_DATA", limits["memory"]),
        ("RLIMIT_FSIZE", limits["file"]),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_CORE", 0),
    ):
        limit_to(kind, most)


def limit_to(name: str, soft: int, hard: int | None = None) -> None:
    """Set one of the kernel's limits, or keep it where it is lower already; `hard` None: the same as `soft`."""
    kind = getattr(resource, name)
    before = resource.getrlimit(kind)[1]
    wanted = (soft, soft if hard is None else hard)
    soft, hard = wanted if before == resource.RLIM_INFINITY else (min(most, before) for most in wanted)
    resource.setrlimit(kind, (soft, hard))


def in_child(task: dict[str, Any], sources: list[str], seconds: float, out: int, alone: bool) -> bytes:
    """What a child sent within the time, then the end of it and of all that it has started.

    The time is the processor's; by the clock it may take `WALL` times as long.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(out)
        os.close(reading)
        limit_to("RLIMIT_CPU", math.ceil(seconds), math.ceil(seconds) + 2)
        try:
            _write(writing, given(task, sources))
        finally:
            os._exit(0)
    os.close(writing)
    end, received = time.monotonic() + WALL * seconds, b""
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            received = TIMEOUT
            break
        part = os.read(reading, 2**20)
        received += part
        if not part or len(received) > MOST_BYTES:
            break
    if alone:  # a process namespace of its own: all but this process and the first
        os.kill(-1, signal.SIGKILL)
    else:
        try:
            os.killpg(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)  # it is not reaped yet, so the number is still its own
    ended = os.waitpid(child, 0)[1]
    os.close(reading)
    if os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGXCPU:  # the kernel's word for the processor's time
        return TIMEOUT
    return (received or ENDED) if len(received) <= MOST_BYTES else NOT_PLAIN + b"more than 32 MiB came back"


def given(task: dict[str, Any], sources: list[str]) -> bytes:
    """The answer of the first call that gives arrays; runs the student's code."""
    import numpy as np

    from course import checks
    from course.checks.verdict import WrongAnswer
    from course.grading.cells import NotFound, answers

    check, told, sent = getattr(checks, task["check"]), NOTHING, []
    try:
        for answer in answers(sources, task["check"], task["argument"]):
            try:
                arrays = check.collect(answer(), task["seed"])
                if all(type(array) is np.ndarray and not array.dtype.hasobject for array in arrays.values()):
                    buffer = io.BytesIO()
                    np.savez(buffer, **arrays)
                    sent.append(buffer.getvalue())
                else:
                    told = NOT_PLAIN
            except WrongAnswer as error:
                told = SENTENCE + str(error).encode("utf-8", "replace")
            except BaseException as error:
                cause = error.__cause__ or error
                told = SENTENCE + f"the cells fail with {type(cause).__name__}: {cause}".encode("utf-8", "replace")
    except NotFound:
        return NOTHING
    if sent:
        return ARRAYS + b"".join(struct.pack("<Q", len(one)) + one for one in sent)
    return told


def _write(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


if __name__ == "__main__":
    main()
