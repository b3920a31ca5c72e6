"""A run folder while its training goes on: locked, begun or taken up again, added to after each epoch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from labkit.data import Pets
from labkit.errors import Interrupted, LabError
from labkit.files import PARTIAL, RUN_LOCK, cannot_write, claim_run_folder, write_text
from labkit.training.board import Board
from labkit.training.compiling import compiler_complaint
from labkit.training.hardware import environment
from labkit.training.memory import explaining_shortage
from labkit.training.processes import Processes
from labkit.training.recipe import Recipe, parse_recipe
from labkit.training.runs import load_checkpoint, save_checkpoint, save_weights, write_history, write_json, write_steps
from labkit.training.steps import STEPS


class RunInProgress:
    """What a training has kept so far, and where it keeps more.

    Args:
        path: the run folder; None keeps nothing.
        recipe: the resolved recipe.
        parts: model, optimizer, schedule, average: whatever has a state.
        board: shows the run in TensorBoard; its model is the one that is validated and kept.
        first: whether this is the process that writes.
    """

    def __init__(self, path: Path | None, recipe: Recipe, parts: dict[str, Any], board: Board, first: bool = True):
        self.path, self.recipe, self.parts, self.board = path, recipe, parts, board
        self.writes = first and path is not None
        self.history: list[dict[str, Any]] = []
        self.steps = torch.empty(0, len(STEPS), dtype=torch.float64)
        """All optimizer steps, the rows of `steps.csv`."""
        self.best: tuple[int, float] = (0, -1.0)
        """Size in pixels and Dice of the best epoch: one at a larger size beats all at smaller ones."""

    def restore(self) -> None:
        """Read the last checkpoint back into model, optimizer, schedule and average.

        Raises:
            LabError: it is damaged, or one of another recipe, data or network.
        """
        state = load_checkpoint(self.path / "last.pt")
        if changed := _first_difference(parse_recipe(state["recipe"], f"{self.path / 'last.pt'}"), self.recipe):
            raise LabError(
                f"{self.path}: holds a run of another recipe or data ({changed}); choose another --run, or train with "
                "its own recipe.toml"
            )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise LabError(
                f"{self.path / 'last.pt'}: the checkpoint is not one of this network ({str(error).splitlines()[0]}); "
                "choose another --run"
            ) from None
        self.history, self.best = state["history"], tuple(state["best"])
        self.steps = state.get("steps", self.steps)

    def has_stalled(self) -> bool:
        """Whether the best epoch lies `patience` epochs back; not before the images have reached their full size."""
        if not self.recipe.training.patience or self.best[0] < self.recipe.data.image_size:
            return False
        score = {row["epoch"]: (self.recipe.size_of_epoch(row["epoch"]), row["valid_dice"]) for row in self.history}
        return len(self.history) - max(score, key=score.get) >= self.recipe.training.patience

    def keep(self, row: dict[str, Any], steps: Tensor, best: tuple[int, float] | None) -> None:
        """Add an epoch: its weights if they are the best, the checkpoint, the tables, TensorBoard's files.

        Args:
            row: the line of `history.csv`.
            steps: the lines of `steps.csv`.
            best: size and Dice of this epoch if it is the best so far.

        The order makes every moment a good one to be killed in: until the checkpoint is in its place the epoch
        counts as not done, and is done again to the same result.
        """
        self.best = best or self.best
        history, steps = [*self.history, row], torch.cat([self.steps, steps])
        if self.writes:
            if best:
                facts = {"epoch": row["epoch"], "valid_dice": row["valid_dice"]}
                save_weights(self.path / "best.safetensors", self.board.model, self.recipe, **facts)
            kept = {"recipe": self.recipe.toml(), "history": history, "steps": steps, "best": list(self.best)}
            states = {name: part.state_dict() for name, part in self.parts.items()}
            save_checkpoint(self.path / "last.pt", kept | states)
        self.history, self.steps = history, steps
        if self.writes:
            self.write_tables_and_board()

    def write_tables_and_board(self) -> None:
        """The tables, and TensorBoard's file of the last epoch, as the checkpoint has them."""
        row = self.history[-1]
        write_history(self.path / "history.csv", self.history)
        write_steps(self.path / "steps.csv", self.steps)
        norms = self.steps[self.steps[:, 0] == row["epoch"], -1]
        self.board.write_epoch(self.path / "tensorboard", row, norms)

    def describe_kept(self) -> str:
        """What is kept, for the end of a message."""
        if self.path is None or not self.history:
            return "no epoch is kept"
        epochs = f"epochs 1 to {len(self.history)} are" if len(self.history) > 1 else "epoch 1 is"
        return f"{epochs} kept in {self.path}"


_unfinished: WeakValueDictionary[Path, Iterator[Any]] = WeakValueDictionary()


def closing_the_earlier(epochs: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Let a training end one in the same run folder that this process has left half-way, as a notebook's cell may.

    A generator that nobody goes on with would hold the folder's lock for as long as a variable or a traceback holds it.
    """

    @wraps(epochs)
    def begin(recipe: Recipe, pets: Pets, run: str | Path | None = None, **options: Any) -> Iterator[Any]:
        training = epochs(recipe, pets, run, **options)
        if run is not None:
            place = Path(run).expanduser().resolve()
            if earlier := _unfinished.pop(place, None):
                with suppress(ValueError):  # it is at work at this moment: the lock will say so
                    earlier.close()
            _unfinished[place] = training
        return training

    return begin


@contextmanager
def run_in_progress(
    path: str | Path | None,
    recipe: Recipe,
    parts: dict[str, Any],
    board: Board,
    resume: bool,
    processes: Processes,
) -> Iterator[RunInProgress]:
    """Open a run folder for a training; whatever ends the block, the error says what is kept.

    Args:
        path: the run folder; None keeps nothing.
        recipe: the resolved recipe.
        parts: model, optimizer, schedule, average: whatever has a state.
        board: shows the run in TensorBoard.
        resume: take up the run that is there; where none is, begin one.
        processes: which train together; the first one writes, and keeps all others out.

    Raises:
        LabError: another process trains there, or there is a run already and `resume` is not set, or one that
            cannot be taken up; the loss is not finite; the memory does not suffice; there is no compiler.
        Interrupted: the user stopped it.
    """
    run = RunInProgress(None if path is None else Path(path), recipe, parts, board, processes.first)
    with _locked(run.path) if run.writes else nullcontext():
        if run.path is not None:
            _start(run, resume)
        try:
            with explaining_shortage(recipe, run.describe_kept):
                yield run
        except FloatingPointError as error:
            raise LabError(f"{error}; lower it ({run.describe_kept()})") from None
        except KeyboardInterrupt:
            how = "; go on with --resume, in a notebook with resume=True" if run.history and path else ""
            raise Interrupted(run.describe_kept() + how) from None
        except RuntimeError as error:
            if recipe.training.compile and (complaint := compiler_complaint(error)):
                raise LabError(
                    f"training.compile: torch.compile failed ({complaint}); install a C++ compiler (for a GPU Triton, "
                    "too), or set compile = false"
                ) from None
            raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        claim_run_folder(path)
        held = FileLock(path / RUN_LOCK).acquire(timeout=0)
    except Timeout:
        raise LabError(f"{path}: another process is training there; wait for it or choose another --run") from None
    except OSError as error:
        raise cannot_write(path, error) from None
    with held:
        for half_written in path.glob(f"{PARTIAL}*"):  # by a process that was killed; nobody else is at work here
            half_written.unlink()
        yield


def _start(run: RunInProgress, resume: bool) -> None:
    path = run.path
    if resume and (path / "last.pt").exists():
        run.restore()
        if run.writes and run.history:  # a kill may have come between the checkpoint and these
            run.write_tables_and_board()
    # best.safetensors alone is what an end in the middle of the first epoch's writing leaves: that is begun anew
    elif (path / "history.csv").exists() or ((path / "best.safetensors").exists() and not resume):
        how = "its last.pt is missing, so that it cannot go on" if resume else "go on with --resume"
        raise LabError(f"{path}: already holds a run; choose another --run, delete it, or {how}")
    elif run.writes:
        write_text(path / "recipe.toml", run.recipe.toml())
        write_json(path / "environment.json", environment(torch.device(run.recipe.training.device)))
        run.board.write_graph(path / "tensorboard")


def _first_difference(old: Recipe, new: Recipe) -> str | None:
    """The first key in which two recipes differ; device and compiler may change, since a run can move."""
    for table in ("data", "model", "training"):
        one, other = getattr(old, table).model_dump(), getattr(new, table).model_dump()
        for key in (*one, *(key for key in other if key not in one)):
            if key not in ("device", "compile") and one.get(key) != other.get(key):
                return f"{table}.{key} is {one.get(key)!r} there and {other.get(key)!r} here"
    return None
