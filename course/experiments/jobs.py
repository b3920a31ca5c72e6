"""One training as a job: a plain function of texts, for any process that has labkit and sees the same files."""

import json
import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from filelock import FileLock

from course.run_folder import clear_run_folder
from labkit.analysis import Evaluation, evaluate
from labkit.data import Pets, open_pets
from labkit.errors import LabError
from labkit.files import RUN_LOCK, write_text
from labkit.models import count_parameters
from labkit.training import Epoch, Run, epochs, open_run, parse_recipe, write_json

TOPIC = "labkit-epochs"  # where workers tell of their epochs
_one_at_a_time = threading.Lock()  # trainings in threads of one process would share their random numbers


class Job(NamedTuple):
    """What a worker is told: run folder, recipe (TOML with the data's fingerprint), folder of the data, and how."""

    run: str
    recipe: str
    data: str
    labels: dict[str, Any]  # the first columns of its row in tables
    split: str = "test"  # what is scored at the end, see `analysis.evaluate`; empty: nothing
    device: str = "auto"
    notebook: str = ""  # what trains; empty: no notebook


def finished(job: Job) -> dict[str, Any] | None:
    """The row (`COLUMNS` of `sweep`) of a run that is done, be it for another split; None where the recipe differs."""
    path = Path(job.run) / "result.json"
    if not path.is_file() or (job.split and not path.with_name("best.safetensors").is_file()):
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return result["row"] if result["asked"] == job.recipe else None
    except (ValueError, KeyError, TypeError):
        raise LabError(f"{path}: damaged; delete it, and the run is scored again") from None


class Watch(Protocol):
    """Whoever measures more of a training than its scores."""

    def begin(self) -> None:
        """Called before the first epoch, or before a begun run goes on."""

    def after(self, epoch: Epoch, pets: Pets) -> None:
        """Called after each epoch, when it is kept."""

    def finish(self, run: Run, pets: Pets, evaluation: Evaluation) -> dict[str, Any]:
        """Called at the end; returns more columns of the row."""


def run_job(job: Job, watch: Watch | None = None) -> dict[str, Any]:
    """Train, going on where a begun run was, and score; returns the row, see `finished`.

    With a `watch` the run is scored in the precision of its training.

    Raises:
        LabError: this process sees other files or data, the run cannot be written, or its training failed.
    """
    from distributed import get_worker

    worker, run = get_worker(), Path(job.run)
    with _one_at_a_time:
        if not run.parent.is_dir():
            raise LabError(f"{run.parent}: a worker does not see it; all need the same file system")
        pets, recipe = open_pets(job.data), parse_recipe(job.recipe, job.run)
        if pets.fingerprint != recipe.data.fingerprint:
            raise LabError(f"{pets.folder}: other data than the sweep was started with; start it again")
        if (run / RUN_LOCK).exists():  # a worker that was cut off from the scheduler needs a moment to end
            with FileLock(run / RUN_LOCK, timeout=30):
                pass
        if not finished(job):
            told = {"run": job.run, "worker": worker.address, "epoch": 0}
            worker.log_event(TOPIC, told)
            if job.notebook:
                _train_in_notebook(job)
            else:
                if watch:
                    watch.begin()
                for epoch in epochs(recipe, pets, run, device=job.device, resume=True):
                    worker.log_event(TOPIC, told | {"epoch": epoch.epoch})
                    if watch:
                        watch.after(epoch, pets)
        opened = open_run(run)
        precision = opened.recipe.training.precision if watch else "auto"
        evaluation = evaluate(opened, pets, job.split, device=job.device, precision=precision)
        summary = evaluation.summary
        row = {
            "status": "done",
            "best_epoch": int(opened.facts["epoch"]),
            "valid_dice": float(opened.facts["valid_dice"]),
            "split": job.split,
            **{measure: summary[measure] for measure in ("dice_per_image", "dice_pooled")},
            "seconds": round(float(opened.history()["seconds"].sum()), 1),
            "parameters": count_parameters(opened.model()),
        }
        if watch:
            row |= watch.finish(opened, pets, evaluation)
        write_json(run / "result.json", {"asked": job.recipe, "row": row})
        return row


def _train_in_notebook(job: Job) -> None:
    """Execute the notebook, whose copy stays in the run folder; a run that it had only begun is begun anew."""
    from course.lab import run_notebook  # papermill, a second to import

    run, asked = Path(job.run), Path(job.run, "asked.toml")
    if asked.is_file() and asked.read_text(encoding="utf-8") == job.recipe:
        clear_run_folder(run)
    elif (run / "recipe.toml").exists():
        raise LabError(f"{run}: already holds a run that no notebook of this sweep has made; choose another --out")
    write_text(asked, job.recipe)
    parameters = {"data": job.data, "recipe": str(asked), "run": job.run, "device": job.device}
    run_notebook(Path(job.notebook), run, parameters, progress=False)
