"""Jobs on Dask workers: processes of this machine, or wherever a Dask scheduler has workers."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch

from course.experiments.jobs import TOPIC, Job, finished, run_job
from labkit.errors import Interrupted, LabError
from labkit.training import choose_device


def run_jobs(
    jobs: Sequence[Job],
    scheduler: str | None = None,
    workers: int | None = None,
    watch: Callable[[str, int], None] = lambda run, epoch: None,
    tell: Callable[[str], None] = lambda text: None,
    work: Callable[[Job], dict[str, Any]] = run_job,
) -> Iterator[tuple[Job, dict[str, Any], bool]]:
    """Do every job; yields it with its row, and whether an earlier call has done it: these first, others as they end.

    A row is as `finished` says; that of a job that failed has `status` = `failed` and `error`.

    Args:
        jobs: all for the same kind of device.
        scheduler: address of a Dask scheduler whose workers see the same files; None starts workers on this machine.
        workers: their number; default one for each GPU, or one for two CPU cores where there is none.
        watch: told a run folder and the epochs that are done there, from another thread.
        tell: told what is waited for.
        work: what a worker does; a function of a module, as `run_job` is.

    Raises:
        LabError: there is no Dask, or no scheduler.
        Interrupted: the user stopped it; the same call goes on.
    """
    rows = {job.run: row for job in jobs if (row := finished(job)) and row["split"] == job.split}
    done, waiting = len(rows), [job for job in jobs if job.run not in rows]
    yield from [(job, rows[job.run], True) for job in jobs if job.run in rows]
    if not waiting:
        return
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise LabError("a sweep needs Dask, which is not installed: pip install 'labkit[sweep]'") from None
    logging.getLogger("distributed.utils").setLevel(logging.CRITICAL)  # it would tell of a lost scheduler in tracebacks
    try:
        with ExitStack() as stack:
            address = scheduler or stack.enter_context(_local_cluster(waiting, workers))
            try:
                client = stack.enter_context(Client(address, timeout=5))
            except (OSError, ValueError) as error:
                how = "start one with `dask scheduler`"
                raise LabError(f"no Dask scheduler answers at {scheduler} ({error}); {how}") from None
            if not client.nthreads():
                tell(f"waiting for a worker: dask worker {scheduler} --nthreads 1 --memory-limit 0")
                client.wait_for_workers(1)
            client.subscribe_topic(TOPIC, lambda event: watch(event[1]["run"], event[1]["epoch"]))
            gpus = client.run_on_scheduler(lambda dask_scheduler: bool(dask_scheduler.resources.get("GPU")))
            # a job whose worker dies is given to another one by the scheduler; retries are for errors of the machine
            options = {"retries": 3, "pure": False, "resources": {"GPU": 1} if gpus else None}
            futures = {client.submit(work, job, **options): job for job in waiting}
            for future in as_completed(list(futures)):
                error = future.exception()
                told = f"{type(error).__name__}: {error}".removeprefix("LabError: ").partition("\n")[0]
                done += error is None
                yield futures[future], {"status": "failed", "error": told} if error else future.result(), False
    except KeyboardInterrupt:
        raise Interrupted(f"{done} of {len(jobs)} runs are done; the same command goes on with the others") from None


def _local_cluster(jobs: Sequence[Job], workers: int | None) -> AbstractContextManager[Any]:
    from distributed import Nanny, Scheduler, SpecCluster

    environments = worker_environments(jobs[0].device, workers, len(jobs))
    # no limit, because the arrays on disk that a worker looks at would count as its memory
    options = {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    spec = {i: {"cls": Nanny, "options": options | {"env": env}} for i, env in enumerate(environments)}
    local = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": ":0"},
    }
    return SpecCluster(spec, local, silence_logs=logging.CRITICAL)


def worker_environments(device: str, workers: int | None, most: int) -> list[dict[str, str]]:
    """The environment of each worker on this machine: its share of the CPU cores, and a GPU of its own."""
    from dask.system import cpu_count  # those that this process may use

    choose_device(device)  # what is not there is said now
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    gpus = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))).split(",")[:count]
    workers = min(workers or count or max(1, cpu_count() // 2), most)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpu_count() // workers))
    shared = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return [shared | ({"CUDA_VISIBLE_DEVICES": gpus[i % count]} if count else {}) for i in range(workers)]
