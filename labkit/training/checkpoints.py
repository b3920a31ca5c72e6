"""A run folder while its training goes on: locked, begun or taken up again, added to after each epoch."""

import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from filelock import FileLock, Timeout
from torch.optim.lr_scheduler import LRScheduler

from labkit.errors import Interrupted, LabError
from labkit.files import PARTIAL, RUN_LOCK, cannot_write, claim_run_folder, write_text
from labkit.training.board import Board
from labkit.training.explaining import explained
from labkit.training.hardware import environment
from labkit.training.recipe import Recipe, parse_recipe
from labkit.training.runs import HISTORY, load_checkpoint, save_checkpoint, save_weights, write_json

if TYPE_CHECKING:
    from labkit.training.loop import Epoch, Trainer


class RunInProgress:
    """What a training has kept so far in its run folder `path`, and where it keeps more; None keeps nothing."""

    def __init__(self, path: Path | None, trainer: "Trainer"):
        self.path, self.trainer, self.recipe = path, trainer, trainer.recipe
        self.writes = trainer.processes.first and path is not None
        self.board: Board | None = None
        self.history: list[dict[str, Any]] = []

    def start(self, resume: bool) -> None:
        """Take up the run that is there, if `resume`, else begin one; a `LabError` if there is one in the way."""
        path, goes_on = self.path, resume and (self.path / "last.pt").exists()
        if goes_on:
            self.restore()
        # best.safetensors alone is what an end in the middle of the first epoch's writing leaves: that is begun anew
        elif (path / "history.csv").exists() or ((path / "best.safetensors").exists() and not resume):
            how = "its last.pt is missing, so that it cannot go on" if resume else "go on with --resume"
            raise LabError(f"{path}: already holds a run; choose another --run-dir, delete it, or {how}")
        if not self.writes:
            return
        self.board = Board(path / "tensorboard", self.trainer, len(self.history) + 1)
        write_text(path / "recipe.toml", self.recipe.toml())
        if goes_on:
            self.write_history()  # a kill may have come between the checkpoint and this
        else:
            write_json(path / "environment.json", environment(torch.device(self.recipe.training.device)))

    def restore(self) -> None:
        """Read the last checkpoint back; a `LabError` if it is damaged, or one of another recipe, data or network."""
        path = self.path / "last.pt"
        state = load_checkpoint(path)
        old = parse_recipe(state["recipe"], str(path))
        longer = self.recipe.training.epochs > old.training.epochs and not self.recipe.training.sizes
        if changed := _first_difference(old, self.recipe, ("epochs",) if longer else ()):
            how = "choose another --run-dir, or train with its own recipe.toml"
            if changed.startswith("training.epochs") and self.recipe.training.sizes:  # shares of the epochs
                how = f"growing images cannot be stretched; begin a new run with --weights {self.path}/best.safetensors"
            raise LabError(f"{self.path}: holds a run of another recipe or data ({changed}); {how}")
        try:
            for name, part in self.trainer.parts().items():
                if longer and name == "schedule":
                    self._go_forward(part, state[name]["last_epoch"])
                else:
                    part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            what = f"the checkpoint is not one of this network ({str(error).splitlines()[0]})"
            raise LabError(f"{path}: {what}; choose another --run-dir") from None
        self.history = state["history"]

    def _go_forward(self, schedule: LRScheduler, steps: int) -> None:
        """Bring the schedule of a training that is made longer to where that one would be after these steps."""
        before = schedule.optimizer.param_groups[0]["lr"]
        with warnings.catch_warnings(action="ignore"):  # that no optimizer step lies between
            for _ in range(steps):
                schedule.step()
        epochs = self.recipe.training.epochs
        warnings.warn(
            f"{self.path}: the schedule is now that of {epochs} epochs, so that the learning rate goes on at "
            f"{schedule.get_last_lr()[0]:.2g} instead of {before:.2g}",
            stacklevel=2,
        )

    def score(self, row: dict[str, Any]) -> tuple[int, float]:
        """By which epochs are compared: size in pixels, then Dice, so that a larger size beats all smaller ones."""
        return self.recipe.size_of_epoch(row["epoch"]), row["valid_dice"]

    def best_score(self) -> tuple[int, float]:
        """The best epoch's."""
        return max(map(self.score, self.history), default=(0, -1.0))

    def has_stalled(self) -> bool:
        """Whether the best epoch lies `patience` epochs back; not before the images have reached their full size."""
        patience = self.recipe.training.patience
        if not patience or self.best_score()[0] < self.recipe.data.image_size:
            return False
        return len(self.history) - max(self.history, key=self.score)["epoch"] >= patience

    def keep(self, record: "Epoch") -> None:
        """Add an epoch.

        A kill does no harm at any moment: until the checkpoint is in its place the epoch counts as not done, and is
        done again with the same result.
        """
        history = [*self.history, record.row()]
        if self.writes:
            if record.best:
                facts = {"epoch": record.epoch, "valid_dice": record.valid_dice}
                save_weights(self.path / "best.safetensors", self.trainer.validated, self.recipe, **facts)
            self.board.write_epoch(record)
            states = {name: part.state_dict() for name, part in self.trainer.parts().items()}
            save_checkpoint(self.path / "last.pt", {"recipe": self.recipe.toml(), "history": history} | states)
        self.history = history
        if self.writes:
            self.write_history()

    def write_history(self) -> None:
        """Write `history.csv`, as the checkpoint has it."""
        table = pd.DataFrame(self.history, columns=HISTORY)
        write_text(self.path / "history.csv", table.to_csv(index=False, lineterminator="\n"))

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board:
            self.board.writer.close()

    def describe_kept(self) -> str:
        """What is kept, for the end of a message."""
        if self.path is None or not self.history:
            return "no epoch is kept"
        epochs = f"epochs 1 to {len(self.history)} are" if len(self.history) > 1 else "epoch 1 is"
        return f"{epochs} kept in {self.path}"


@contextmanager
def run_in_progress(path: str | Path | None, trainer: "Trainer", resume: bool) -> Iterator[RunInProgress]:
    """Open a run folder for a training, if there is one; whatever ends the block, the error says what is kept."""
    run = RunInProgress(None if path is None else Path(path), trainer)
    with _locked(run.path) if run.writes else nullcontext():
        try:
            with closing(run), explained(run.recipe, run.describe_kept):
                if run.path is not None:
                    run.start(resume)
                yield run
        except KeyboardInterrupt:
            how = "; go on with --resume, in a notebook with resume=True" if run.history and path else ""
            raise Interrupted(run.describe_kept() + how) from None
        except OSError as error:  # of TensorBoard's files: all others are written by `written_whole`
            if not run.writes:
                raise
            raise cannot_write(run.path / "tensorboard", error) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out; a training that this one has left half-way, as a notebook's cell may, is passed by."""
    try:
        claim_run_folder(path)
        held = FileLock(path.resolve() / RUN_LOCK, is_singleton=True).acquire(timeout=0)
    except Timeout:
        raise LabError(f"{path}: another process is training there; wait for it or choose another --run-dir") from None
    except OSError as error:
        raise cannot_write(path, error) from None
    with held:
        for half_written in path.glob(f"{PARTIAL}*"):  # by a process that was killed; nobody else is at work here
            half_written.unlink()
        yield


def _first_difference(old: Recipe, new: Recipe, free: tuple[str, ...]) -> str | None:
    """The first key, none of `free`, in which two recipes differ; device and compiler may, since a run can move."""
    for table in ("data", "model", "training"):
        one, other = getattr(old, table).model_dump(), getattr(new, table).model_dump()
        for key in one | other:
            if key not in ("device", "compile", *free) and one.get(key) != other.get(key):
                return f"{table}.{key} is {one.get(key)!r} there and {other.get(key)!r} here"
    return None
