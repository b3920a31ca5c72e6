"""Many runs as jobs on Dask workers: on this machine, or wherever a Dask scheduler has workers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from course.experiments.cluster import check_workers, connected, default_workers
from course.experiments.jobs import TOPIC, Job, finished, run_job
from course.experiments.plan import Plan, PlannedRun
from course.lab import notebook_files
from labkit.data import Pets, class_names, data_root, open_pets
from labkit.errors import Interrupted, LabError
from labkit.files import home, write_text

if TYPE_CHECKING:
    from distributed import Client

MEASURES = ("valid_dice", "dice_per_image", "dice_pooled")
COLUMNS = ("best_epoch", "valid_dice", "split", "dice_per_image", "dice_pooled", "seconds", "parameters")
RETRIES = 3


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    run: PlannedRun
    row: dict[str, Any]
    """`status` (`done` or `failed`), then `COLUMNS` or `error`."""
    skipped: bool = False
    """Whether it had been done before."""


def run_sweep(
    plan: Plan,
    data: str | Path = "sample",
    out: str | Path | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    notebook: bool = False,
    split: str = "test",
    device: str = "auto",
    watch: Callable[[str, int], None] = lambda name, epoch: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Outcome]:
    """Train every run of a plan; yields the outcome of each when it is known, finished ones of an earlier call first.

    Args:
        plan: from `load_plan`.
        data: the data set, which all workers must see under the same path.
        out: the sweep's folder, which all workers must see too; default `runs/<sweep>`. A run folder for each run,
            and `results.csv`, which is up to date after each outcome.
        scheduler: address of a Dask scheduler; None starts workers on this machine.
        workers: their number; default one for each GPU, or one for two CPU cores where there is none.
        notebook: train by executing notebook 04, and keep the executed copies in the run folders.
        split: what is scored, see `analysis.evaluate`.
        device: `auto`, `cpu`, `cuda` ..., on the workers.
        watch: told a run's name and the epochs that it has done, from another thread.
        tell: told what is waited for.

    Raises:
        LabError: a run does not fit the data, there is no scheduler, or a worker cannot do the work.
        Interrupted: the user stopped it; the same call goes on.
    """
    if scheduler is not None and workers is not None:
        raise LabError("--workers: the scheduler's own workers do the work; leave it out, or leave out --scheduler")
    pets, out = open_pets(data), Path(out or home() / "runs" / plan.path.stem).expanduser().resolve()
    jobs = {}
    for run in plan.runs:
        _check_fit(run, pets, split, plan.path)
        recipe = run.recipe.changed(data={"fingerprint": pets.fingerprint}).toml()
        chapter = str(notebook_files(["04"])[0]) if notebook else ""
        jobs[run] = Job(str(out / run.name), recipe, str(data_root(data).resolve()), split, device, chapter)
    rows = {run.name: row | {"status": "done"} for run, job in jobs.items() if (row := finished(job))}
    write_results(plan, rows, out)
    waiting = [run for run in jobs if run.name not in rows]
    for run in jobs:
        if run.name in rows:
            yield Outcome(run, rows[run.name], skipped=True)
    if not waiting:
        return
    try:
        with connected(scheduler, min(workers or default_workers(device), len(waiting)), device, tell) as client:
            for run, row in _results(client, {run: jobs[run] for run in waiting}, watch):
                rows[run.name] = row
                write_results(plan, rows, out)
                yield Outcome(run, row)
    except KeyboardInterrupt:
        done = sum(row["status"] == "done" for row in rows.values())
        raise Interrupted(f"{done} of {len(jobs)} runs are done; the same command goes on with the others") from None


def result_table(plan: Plan, rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """One row a run in the plan's order: `run, recipe`, the values by dotted key, `COLUMNS`, `status, error`.

    A run without a row is `unfinished`.
    """
    lines = []
    for run in plan.runs:
        row = {"status": "unfinished", "error": ""} | rows.get(run.name, {})
        values = {key: str(value) if isinstance(value, list | dict) else value for key, value in run.values.items()}
        lines.append({"run": run.name, "recipe": run.base} | values | row)
    return pd.DataFrame(lines, columns=["run", "recipe", *plan.keys, *COLUMNS, "status", "error"])


def seed_table(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame | None:
    """Mean and standard deviation (of a sample) over the seeds for each recipe and each combination of other values.

    Columns: `recipe`, the other keys, `seeds` (their number), `<measure>_mean`, `<measure>_std`. Runs that are not
    done are left out. None if the seed was not varied.
    """
    if "training.seed" not in keys:
        return None
    others = ["recipe", *(key for key in keys if key != "training.seed")]
    groups = table[table["status"] == "done"].groupby(others, sort=False, dropna=False, as_index=False)
    named = {f"{m}_{how}": (m, how) for m in MEASURES for how in ("mean", "std")}
    return groups.agg(seeds=("run", "count"), **named)


def write_results(plan: Plan, rows: dict[str, dict[str, Any]], out: Path) -> None:
    """Write `results.csv`, and `seeds.csv` where seeds were varied."""
    table = result_table(plan, rows)
    write_text(out / "results.csv", table.to_csv(index=False, lineterminator="\n"))
    if (seeds := seed_table(table, plan.keys)) is not None:
        write_text(out / "seeds.csv", seeds.to_csv(index=False, lineterminator="\n"))


def _check_fit(run: PlannedRun, pets: Pets, split: str, path: Path) -> None:
    family, _, part = split.rpartition("/")
    own = run.recipe.data.split
    try:
        run.recipe.resolved_classes(class_names(run.recipe.data.target, pets))
        for place in (("train", own), ("valid", own), (part, family or own)):
            pets.split(*place)
    except LabError as error:
        raise LabError(f"{path}: {run.name}: {error}") from None


def _results(
    client: "Client", jobs: dict[PlannedRun, Job], watch: Callable[[str, int], None]
) -> Iterator[tuple[PlannedRun, dict[str, Any]]]:
    """Give the jobs to the workers, and their rows back as they come."""
    from distributed import CancelledError, KilledWorker, as_completed

    some = next(iter(jobs.values()))
    gpus = check_workers(client, [some.data, str(Path(some.run).parent)])
    names = {job.run: run.name for run, job in jobs.items()}
    client.subscribe_topic(
        TOPIC, lambda event: event[1]["run"] in names and watch(names[event[1]["run"]], event[1]["epoch"])
    )
    # a job whose worker dies is given to another one by the scheduler; retries are for errors of the machine
    options = {"retries": RETRIES, "pure": False, "resources": {"GPU": 1} if gpus else None}
    futures = {client.submit(run_job, job, **options): run for run, job in jobs.items()}
    for future in as_completed(list(futures)):
        try:
            row = future.result()
        except (KilledWorker, CancelledError) as error:
            died = f"{RETRIES + 1} workers died of it; do they have too little memory?"
            lost = "the scheduler was lost; start it again with its workers"
            row = {"status": "failed", "error": died if isinstance(error, KilledWorker) else lost}
        except Exception as error:  # what a retry did not help against
            row = {"status": "failed", "error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        yield futures[future], row
