"""A training to its end, and what it tells on the way: a line an epoch, and how long it will still take."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from labkit.data import Batch, Pets
from labkit.errors import Interrupted
from labkit.training.hardware import choose_device
from labkit.training.loop import Epoch, epochs
from labkit.training.processes import join_processes
from labkit.training.recipe import Recipe
from labkit.training.runs import Run, open_run

RECENT = 3
"""Epochs that the estimate looks back on: images may grow, and the first epoch also warms up."""


def fit(recipe: Recipe, pets: Pets, run: str | Path, *, device: str = "auto", resume: bool = False) -> Run:
    """Train a network to the end, print a line for each epoch, and return the run.

    It is what most trainings need; `epochs` lets its caller draw, print or stop after each epoch instead.

    Args:
        recipe: what to do; completed by `resolve`.
        pets: the data set; its test images are not touched.
        run: the run folder to write.
        device: `auto`, `cpu`, `cuda` ...
        resume: go on after the last epoch of the run folder; begin where there is none yet.

    Raises:
        LabError: as `epochs`.
        Interrupted: the user stopped it; all epochs up to then are kept.
    """
    processes, total, record = join_processes(choose_device(device)), recipe.training.epochs, None
    show, say = (epoch_printer(total), print) if processes.first else (lambda *_: None,) * 2

    def bar(batches: Iterable[Batch], epoch: int) -> Iterable[Batch]:
        from tqdm import tqdm

        hidden = None if processes.first else True  # None: where stderr is no terminal
        return tqdm(batches, f"epoch {epoch}/{total}", leave=False, dynamic_ncols=True, disable=hidden)

    try:
        for record in epochs(recipe, pets, run, device=device, resume=resume, progress=bar):
            show(record)
    except KeyboardInterrupt as stop:
        if isinstance(stop, Interrupted) or record is None:
            raise
        # it came while a line was printed
        done = f"epochs 1 to {record.epoch} are" if record.epoch > 1 else "epoch 1 is"
        raise Interrupted(f"{done} kept in {run}; go on with --resume") from None
    if record is None:
        say("nothing is left to do: the run has come to its end before")
    elif record.epoch < total:
        say(f"stopped early: no better validation Dice in {recipe.training.patience} epochs")
    if record and any(record.redrawn):
        say("redrawn because their mask was empty: {} images, {} of them given up".format(*record.redrawn))
    processes.wait()  # until the first one has written its last files
    return open_run(run)


def epoch_printer(total: int) -> Callable[[Epoch], None]:
    """Prints a line an epoch: with colors on a terminal, and as long as it is wide; plain text elsewhere."""
    from rich.console import Console
    from rich.text import Text

    console, seconds = Console(highlight=False), []

    def show(record: Epoch) -> None:
        seconds.append(record.seconds)
        parts = epoch_line(record, total, seconds)
        if console.is_terminal:
            console.print(Text.assemble(*parts), no_wrap=True, overflow="ellipsis")
        else:
            print("".join(text for text, _ in parts).rstrip(), flush=True)

    return show


def epoch_line(record: Epoch, total: int, seconds: list[float]) -> list[tuple[str, str]]:
    """An epoch's line as pieces of text, each with rich's style for it; what matters fits into 80 columns.

    Args:
        record: the epoch; its Dice is that of the validation images.
        total: how many epochs there will be at most.
        seconds: of each epoch so far.
    """
    left = total - record.epoch
    remaining = f"about {in_words(seconds_left(seconds, left))} left" if left else "done"
    best, green = ("best", "bold green") if record.best else ("", "")
    return [
        (f"epoch {record.epoch:>3}/{total}", "bold"),
        (f"  loss {record.train_loss:.4f}, valid {record.valid_loss:.4f}", ""),
        (f"  Dice {record.valid_dice:.4f} {best:4}", green),
        (f"  {remaining:22}", "cyan"),
        (f"  {record.seconds:6.1f} s  {record.images_per_second:7.1f} images/s", "dim"),
    ]


def seconds_left(seconds: Sequence[float], epochs: int) -> float:
    """What `epochs` more will take if they take as long as the latest; `seconds` of each epoch so far."""
    return epochs * median(seconds[-RECENT:])


def in_words(seconds: float) -> str:
    """A span of time as one says it: `4 min 36 s`, `1 h 02 min`."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    return f"{minutes} min {whole % 60:02} s" if hours == 0 else f"{hours} h {minutes % 60:02} min"
