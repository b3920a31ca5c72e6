"""The queue of the claims' trainings: what is due, what is done before, and when it stops."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from course.experiments.claim_jobs import run_claim_job, run_timed_job
from course.experiments.claims import Claim, Planned, due_runs, load_scale
from course.experiments.jobs import Job
from course.experiments.workers import run_jobs
from labkit.data import Pets, data_root, open_pets
from labkit.errors import LabError
from labkit.training import Recipe

Rows = dict[str, dict[str, Any]]


class ClaimQueue:
    """All trainings that some claims need at a scale, each once.

    Args:
        claims: in the order in which their trainings are done.
        scale: `tiny`, `cpu` or `gpu`.
        out: the folder of the run folders.
        recorded: rows of `records/claims.csv`, by run; one that was made of the same recipe and data is not done again.
        device: of all trainings.
    """

    def __init__(self, claims: Iterable[Claim], scale: str, out: Path, recorded: Mapping[str, Any], device="auto"):
        self.claims, self.scale, self.out, self.device = list(claims), scale, out, device
        self.data, self.base = load_scale(scale)
        self.pets: Pets = open_pets(self.data)
        self.failed: dict[str, str] = {}
        self.jobs: dict[str, Job] = {}
        self.rows: Rows = {}
        self.recorded = recorded

    def due(self) -> dict[str, Planned]:
        """What is known to be needed and neither done nor failed, by run."""
        while True:  # rows of earlier calls may settle what a tuned arm needs next
            needed = self._needed()
            known = {
                run: self.recorded[run] for run in needed.keys() - self.rows.keys() if self._is_recorded(needed[run])
            }
            if not known:
                return {run: one for run, one in needed.items() if run not in self.rows and run not in self.failed}
            self.rows |= known

    def _is_recorded(self, planned: Planned) -> bool:
        row = self.recorded.get(planned.run)
        return row is not None and row["asked"] == planned.asked(self.base, self.pets.fingerprint)

    def job(self, planned: Planned) -> Job:
        """The training as a job."""
        labels = {
            "run": planned.run,
            "scale": self.scale,
            "seed": planned.recipe.training.seed,
            "changes": json.dumps({k: v for k, v in planned.changes.items() if k != "training.seed"}),
            "asked": planned.asked(self.base, self.pets.fingerprint),
        }
        recipe: Recipe = planned.recipe.changed(data={"fingerprint": self.pets.fingerprint})
        data = str(data_root(self.data).resolve())
        split = "" if planned.alone else "test"
        return Job(str(self.out / planned.run), recipe.toml(), data, labels, split, self.device)

    def work(
        self,
        workers: int | None = None,
        minutes: float | None = None,
        tell: Callable[[str], None] = lambda text: None,
        watch: Callable[[str, int], None] = lambda run, epoch: None,
    ) -> bool:
        """Do what is due, until all is done or the minutes are over; returns whether all is done.

        First come the trials that tuned arms wait for, last what is measured alone. A training in progress when the
        minutes are over is stopped; the next call goes on after its last epoch.
        """
        self.out.mkdir(parents=True, exist_ok=True)  # so that a worker that does not see it says so
        ends = None if minutes is None else time.monotonic() + 60 * minutes
        while due := self.due():
            trials = [one for one in due.values() if one.trial]
            together = [one for one in due.values() if not one.alone]
            jobs = [self.job(one) for one in trials or together or due.values()]
            self.jobs |= {job.labels["run"]: job for job in jobs}
            at_once = (workers or _most_at_once(self.device)) if together else 1
            work = run_jobs(jobs, None, at_once, watch, tell, run_claim_job if together else run_timed_job)
            for job, row, before in work:
                name = job.labels["run"]
                if row["status"] == "failed":
                    self.failed[name] = row["error"]
                    tell(f"{name}: failed: {row['error']}")
                else:
                    self.rows[name] = row
                    if job.split:
                        found = f"valid Dice {row['valid_dice']:.4f}, test {row['dice_per_image']:.4f}"
                    else:
                        found = f"{row['images_per_second']:.1f} images a second"
                    tell(f"{name}: {'done before: ' if before else ''}{found}, {row['seconds']:.0f} s")
                if ends is not None and time.monotonic() > ends:
                    work.close()
                    return not self.due()
        return True

    def all_jobs(self) -> list[Job]:
        """A job for everything that is needed as far as is known now, done or not."""
        self.due()
        return [self.job(one) for one in self._needed().values()]

    def _needed(self) -> dict[str, Planned]:
        scored = {run: float(row["valid_dice"]) for run, row in self.rows.items() if row["valid_dice"] is not None}
        return due_runs(self.claims, self.scale, self.base, scored)


def _most_at_once(device: str) -> int | None:
    """A training a CPU core, of one thread each; where there are GPUs, None: one a GPU."""
    import torch
    from dask.system import cpu_count

    return cpu_count() if device == "cpu" or not torch.cuda.is_available() else None


def recorded_rows(folder: Path) -> Rows:
    """The rows of `claims.csv` in a folder of records, by run; none where there is no such file."""
    path = folder / "claims.csv"
    if not path.is_file():
        return {}
    try:
        table = pd.read_csv(path)
        return {row["run"]: row for row in table.to_dict("records")}
    except (ValueError, KeyError) as error:
        raise LabError(f"{path}: the table is damaged ({error}); take the one of the repository") from None
