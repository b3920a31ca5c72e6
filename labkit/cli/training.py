"""`labkit train` and `labkit find-rate`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labkit.cli.curves import check_figure, save_figure
from labkit.cli.shell import Data, Device, bar

if TYPE_CHECKING:
    from labkit.training import Epoch

Model = Annotated[str | None, typer.Option(help="Another network, such as attention_unet, with its own defaults.")]
RecipeName = Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")]


def train(
    recipe: RecipeName,
    data: Data = "sample",
    model: Model = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    device: Device = "auto",
    run: Annotated[Path | None, typer.Option(help="The run folder; default runs/<recipe>-<data>-<seed>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train a network by a recipe; the run folder holds all that later steps need.

    Examples:

    `labkit train quick`

    `labkit train cpu-128-unet --data pets --run runs/unet`

    `labkit train default --data pets --model resnet34_unet --epochs 40 --device cuda`

    `torchrun --nproc-per-node=2 -m -- labkit train default --data pets` (each process takes a part of every batch)

    `tensorboard --logdir runs` shows curves, predictions and the graph of all runs, also while they train.
    """
    from labkit.data import open_pets
    from labkit.errors import Interrupted
    from labkit.files import home
    from labkit.training import (
        choose_device,
        choose_precision,
        describe,
        fit,
        join_processes,
        leave_processes,
        load_recipe,
    )

    chosen = load_recipe(recipe)
    if model is not None:
        chosen = chosen.changed(model={"name": model})
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    chosen = chosen.changed(training={key: value for key, value in given.items() if value is not None})
    pets = open_pets(data)
    run = run or home() / "runs" / f"{Path(recipe).stem}-{pets.label}-{chosen.training.seed}"
    where = choose_device(device)
    processes = join_processes(where)
    say = typer.echo if processes.first else lambda text: None
    show = epoch_printer(chosen.training.epochs) if processes.first else lambda record: None
    several = f", {processes.size} processes" if processes.size > 1 else ""
    say(f"device: {describe(where, choose_precision(chosen.training.precision, where))}{several}")
    say(f"run:    {run}")
    total = chosen.training.epochs
    records = fit(
        chosen,
        pets,
        run,
        device=device,
        resume=resume,
        watch=lambda items, epoch: bar(items, f"epoch {epoch}/{total}") if processes.first else items,
    )
    record = None
    try:
        for record in records:
            show(record)
    except KeyboardInterrupt as stop:
        if isinstance(stop, Interrupted) or record is None:
            raise
        # it came while a line was printed
        done = f"epochs 1 to {record.epoch} are" if record.epoch > 1 else "epoch 1 is"
        raise Interrupted(f"{done} kept in {run}; go on with --resume") from None
    finally:
        leave_processes()
    if record is None:
        say("nothing is left to do: the run has come to its end before")
    elif record.epoch < total:
        say(f"stopped early: no better validation Dice in {chosen.training.patience} epochs")
    if record and any(record.redrawn):
        say("redrawn because their mask was empty: {} images, {} of them given up".format(*record.redrawn))


def epoch_printer(total: int) -> Callable[["Epoch"], None]:
    """Prints a line an epoch: with colors on a terminal, and as long as it is wide; plain text elsewhere."""
    from rich.console import Console
    from rich.text import Text

    console, seconds = Console(highlight=False), []

    def show(record: "Epoch") -> None:
        seconds.append(record.seconds)
        parts = epoch_line(record, total, seconds)
        if console.is_terminal:
            console.print(Text.assemble(*parts), no_wrap=True, overflow="ellipsis")
        else:
            typer.echo("".join(text for text, _ in parts).rstrip())

    return show


def epoch_line(record: "Epoch", total: int, seconds: list[float]) -> list[tuple[str, str]]:
    """An epoch's line as pieces of text, each with rich's style for it; what matters fits into 80 columns.

    Args:
        record: the epoch; its Dice is that of the validation images.
        total: how many epochs there will be at most.
        seconds: of each epoch so far.
    """
    from labkit.training import in_words, seconds_left

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


def find_rate(
    recipe: RecipeName,
    data: Data = "sample",
    model: Model = None,
    lowest: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="The last learning rate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Optimizer steps from one to the other.")] = 100,
    figure: Annotated[Path | None, typer.Option(help="Draw the losses too, .png or .svg.")] = None,
    device: Device = "auto",
) -> None:
    """Suggest a learning rate for a recipe: some steps under a growing rate show where the loss falls fastest.

    A place to start from, not an answer: which rate is best only whole trainings tell. Nothing is kept.

    Examples:

    `labkit find-rate quick`

    `labkit find-rate default --data pets --figure rates.png`
    """
    if figure is not None:
        check_figure(figure, "--figure")
    from labkit.data import open_pets
    from labkit.training import find_learning_rate, load_recipe

    chosen = load_recipe(recipe)
    if model is not None:
        chosen = chosen.changed(model={"name": model})
    sweep = find_learning_rate(chosen, open_pets(data), device, lowest, highest, steps)
    rates, losses = sweep.rates, sweep.smoothed
    typer.echo(f"tried:     {len(rates)} steps at learning rates from {rates[0]:.2g} to {rates[-1]:.2g}")
    typer.echo(f"loss:      {losses[0]:.4f} at first, {min(losses):.4f} at {rates[losses.index(min(losses))]:.2g}")
    typer.echo(f"suggested: {sweep.suggested:.2g}, where the loss falls most steeply; a start, not an answer")
    if figure is not None:
        from labkit.curves import rate_sweep

        save_figure(rate_sweep(sweep), figure)
        typer.echo(f"drawn in:  {figure}")
