"""The Dask workers of a sweep: processes of this machine, or those of a scheduler that is there already."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from course.experiments.jobs import examine_worker
from labkit import __version__
from labkit.errors import LabError
from labkit.files import home
from labkit.training import choose_device

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def connected(scheduler: str | None, workers: int, device: str, tell: Callable[[str], None]) -> Iterator["Client"]:
    """A client of a scheduler that has at least one worker; without an address, of one that ends with the block.

    Args:
        scheduler: its address; None starts one with workers on this machine.
        workers: how many to start.
        device: what they shall use.
        tell: told what is waited for.

    Raises:
        LabError: Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client, Nanny, Scheduler, SpecCluster
    except ImportError:
        raise LabError("a sweep needs Dask, which is not installed: pip install 'labkit[sweep]'") from None
    if scheduler is None:
        choose_device(device)
        # no limit, because the arrays on disk that a worker looks at would count as its memory
        options = {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.ERROR}
        environments = enumerate(worker_environments(workers, device))
        spec = {i: {"cls": Nanny, "options": {**options, "env": env}} for i, env in environments}
        local = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
        with SpecCluster(spec, local, silence_logs=logging.ERROR) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=5)
    except (OSError, ValueError) as error:
        raise LabError(f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`") from None
    logging.getLogger("distributed.utils").setLevel(logging.CRITICAL)  # it would tell of a lost scheduler in tracebacks
    with client:
        if not client.nthreads():
            tell(f"waiting for a worker: dask worker {scheduler} --nthreads 1 --memory-limit 0")
            client.wait_for_workers(1)
        yield client


def worker_environments(workers: int, device: str) -> list[dict[str, str]]:
    """The environment of each worker on this machine: its share of the CPU cores, and a GPU of its own."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, _cores() // workers))
    shared = {"LABKIT_HOME": str(home()), **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)}
    if not (gpus := _gpus(device)):
        return [shared] * workers
    return [shared | {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(workers)]


def default_workers(device: str) -> int:
    """One for each GPU, or one for two CPU cores where there is none."""
    return len(_gpus(device)) or max(1, _cores() // 2)


def _gpus(device: str) -> list[str]:
    """The GPUs that the workers share, as CUDA_VISIBLE_DEVICES names them; none if they are to be left alone."""
    if device not in ("auto", "cuda"):
        return []
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or list(map(str, range(torch.cuda.device_count()))))[: torch.cuda.device_count()]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(client: "Client", folders: list[str]) -> bool:
    """Whether workers declare GPUs.

    Raises:
        LabError: a worker cannot do the work.
    """
    found = client.run(examine_worker, folders, on_error="return")
    for address, facts in found.items():
        if isinstance(facts, Exception):
            raise LabError(f"worker {address}: {type(facts).__name__}: {facts}; install labkit there as it is here")
        if facts["version"] != __version__:
            raise LabError(f"worker {address}: has labkit {facts['version']}, here it is {__version__}; install one")
        if facts["missing"]:
            raise LabError(f"worker {address}: does not see {facts['missing'][0]}; all need the same file system")
        if facts["threads"] > 1:
            raise LabError(f"worker {address}: has {facts['threads']} threads; start it with --nthreads 1")
    return any("GPU" in facts["resources"] for facts in found.values())
