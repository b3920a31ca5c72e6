"""One run of a sweep as a job: a plain function of texts, for any process that has labkit and sees the same files."""

import json
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from labkit import __version__
from labkit.analysis import evaluate
from labkit.data import open_pets
from labkit.errors import LabError
from labkit.files import RUN_LOCK, claim_run_folder, write_text
from labkit.models import count_parameters
from labkit.training import epochs, open_run, parse_recipe, write_json

if TYPE_CHECKING:
    from distributed import Worker

RESULT = "result.json"
"""What a job leaves in the run folder when all is done."""
TOPIC = "labkit-sweep"
"""Where workers tell of their epochs."""
PATIENCE = 30
"""Seconds to wait for a run folder: a worker that was cut off from the scheduler needs a moment to end."""
_one_at_a_time = threading.Lock()  # trainings in threads of one process would share their random numbers


@dataclass(frozen=True)
class Job:
    """What a worker is told."""

    run: str
    """The run folder."""
    recipe: str
    """TOML, with the fingerprint of the data."""
    data: str
    """The data set's folder."""
    split: str
    """What is scored at the end, see `analysis.evaluate`."""
    device: str
    notebook: str = ""
    """The notebook that trains; empty: no notebook."""


def run_job(job: Job) -> dict[str, Any]:
    """Train and score; begun runs go on where they were.

    Returns:
        The row of the result table, see `finished`, with `status` = `done`; what a user did wrong has the `status`
        `failed` and its sentence as `error`. Anything else is raised, so that Dask tries again.
    """
    with _one_at_a_time:
        try:
            return {**(finished(job) or _done(job)), "status": "done"}
        except LabError as error:
            return {"status": "failed", "error": str(error)}


def finished(job: Job) -> dict[str, Any] | None:
    """The row of a run that is done: `best_epoch, valid_dice, split, dice_per_image, dice_pooled, seconds, parameters`.

    None if there is no such run, or one of another recipe or data.
    """
    result = _result(job)
    return result["row"] if result and result["row"]["split"] == job.split else None


def examine_worker(folders: list[str], dask_worker: "Worker") -> dict[str, Any]:
    """What a worker has, told from inside it: version, threads, Dask resources, and the folders that it misses."""
    return {
        "version": __version__,
        "threads": dask_worker.state.nthreads,
        "resources": dict(dask_worker.state.total_resources),
        "missing": [folder for folder in folders if not Path(folder).is_dir()],
    }


def _result(job: Job) -> dict[str, Any] | None:
    path = Path(job.run) / RESULT
    if not path.is_file() or not (path.parent / "best.safetensors").is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        asked, row = result["asked"], result["row"]
        return result if asked == job.recipe and row["split"] else None
    except (ValueError, KeyError, TypeError):
        raise LabError(f"{path}: damaged; delete it, and the run is scored again") from None


def _done(job: Job) -> dict[str, Any]:
    pets, recipe, run = open_pets(job.data), parse_recipe(job.recipe, job.run), Path(job.run)
    if pets.fingerprint != recipe.data.fingerprint:
        raise LabError(f"{pets.folder}: other data than the sweep was started with; start it again")
    _wait_for(run)
    if _result(job) is None:  # else only another split is asked for
        if job.notebook:
            _train_in_notebook(job, run)
        else:
            _tell(job, 0)
            for epoch in epochs(recipe, pets, run, device=job.device, resume=True):
                _tell(job, epoch.epoch)
    opened = open_run(run)
    summary = evaluate(opened, pets, job.split, device=job.device).summary
    row = {
        "best_epoch": int(opened.facts["epoch"]),
        "valid_dice": float(opened.facts["valid_dice"]),
        "split": job.split,
        "dice_per_image": summary["dice_per_image"],
        "dice_pooled": summary["dice_pooled"],
        "seconds": round(float(opened.history()["seconds"].sum()), 1),
        "parameters": count_parameters(opened.model()),
    }
    write_json(run / RESULT, {"asked": job.recipe, "row": row})
    return row


def _wait_for(run: Path) -> None:
    try:
        claim_run_folder(run)
        with FileLock(run / RUN_LOCK).acquire(timeout=PATIENCE):
            pass
    except Timeout:
        raise LabError(f"{run}: another process is training there; wait for it, then start the sweep again") from None
    except OSError as error:
        raise LabError(f"{run}: cannot be written ({error.strerror}); choose another --out") from None


def _train_in_notebook(job: Job, run: Path) -> None:
    """Execute the notebook, whose copy stays in the run folder; a run that it had only begun is begun anew.

    Raises:
        LabError: a cell failed, or there is another run than this notebook's.
    """
    from course.lab import run_notebook  # papermill, a second to import

    asked = run / "asked.toml"
    ours = asked.is_file() and asked.read_text(encoding="utf-8") == job.recipe
    if not ours and (run / "recipe.toml").exists():
        raise LabError(f"{run}: already holds a run that no notebook of this sweep has made; choose another --out")
    for name in ("last.pt", "history.csv", "steps.csv", "best.safetensors"):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / "tensorboard", ignore_errors=True)
    write_text(asked, job.recipe)
    _tell(job, 0)
    parameters = {"data": job.data, "recipe": str(asked), "run": job.run, "device": job.device}
    run_notebook(Path(job.notebook), run, parameters, progress=False)


def _tell(job: Job, epoch: int) -> None:
    """Let the sweep know who is at work on this run, and how far it is."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(TOPIC, {"run": job.run, "epoch": epoch, "worker": worker.address})
