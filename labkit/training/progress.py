"""A whole training: a bar of its batches, a line for each epoch, and how long it will still take."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from labkit.data import Batch, Pets
from labkit.training.hardware import choose_device, join_processes
from labkit.training.loop import Epoch, epochs
from labkit.training.recipe import Recipe
from labkit.training.runs import Run, open_run

RECENT = 3  # epochs that the estimate looks back on: images may grow, and the first epoch also warms up


def fit(recipe: Recipe, pets: Pets, run: str | Path, *, device: str = "auto", resume: bool = False) -> Run:
    """Train a network to the end, print a line for each epoch, and return the run.

    `epochs`, which has the same arguments and errors, lets its caller draw, print or stop after each epoch instead.
    """
    processes, total = join_processes(choose_device(device)), recipe.training.epochs
    record, seconds = None, []

    def say(line: str) -> None:
        if processes.first:
            print(line, flush=True)

    def bar(batches: Iterable[Batch], epoch: int) -> Iterable[Batch]:
        from tqdm import tqdm

        hidden = None if processes.first else True  # None: where stderr is no terminal
        return tqdm(batches, f"epoch {epoch}/{total}", leave=False, dynamic_ncols=True, disable=hidden)

    training = epochs(recipe, pets, run, device=device, resume=resume, progress=bar)
    try:
        for record in training:
            seconds.append(record.seconds)
            say(epoch_line(record, total, seconds))
    except KeyboardInterrupt as stop:  # while a line was printed: the training says what is kept
        training.throw(stop)
    if record is None:
        say("nothing is left to do: the run has come to its end before")
    elif record.epoch < total:
        say(f"stopped early: no better validation Dice in {recipe.training.patience} epochs")
    processes.wait()  # until the first one has written its last files
    return open_run(run)


def epoch_line(record: Epoch, total: int, seconds: Sequence[float]) -> str:
    """A line for one of at most `total` epochs, of which each so far took `seconds`; what matters fits 80 columns."""
    left = total - record.epoch
    remaining = f"about {in_words(seconds_left(seconds, left))} left" if left else "done"
    return (
        f"epoch {record.epoch:>3}/{total}  loss {record.train_loss:.4f}, valid {record.valid_loss:.4f}"
        f"  Dice {record.valid_dice:.4f} {'best' if record.best else '':4}  {remaining:22}"
        f"  {record.seconds:6.1f} s  {record.images_per_second:7.1f} images/s"
    )


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
