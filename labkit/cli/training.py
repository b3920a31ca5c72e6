"""`labkit train`, `labkit find-rate` and `labkit curves`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from labkit.cli.shell import Data, Device
from labkit.errors import LabError
from labkit.files import refuse_foreign, written_whole

Model = Annotated[str | None, typer.Option(help="Another network, such as attention_unet, with its own defaults.")]
Switches = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, any key of the recipe; repeatable.")]
RecipeName = Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")]


def train(
    recipe: RecipeName,
    data: Data = "sample",
    model: Model = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    weights: Annotated[str | None, typer.Option(help="Start from this file, where names and shapes fit.")] = None,
    switches: Switches = None,
    device: Device = "auto",
    run: Annotated[Path | None, typer.Option("--run-dir", help="Default runs/<recipe>-<data>-<seed>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run, or to more --epochs.")] = False,
) -> None:
    """Train a network by a recipe; the run folder holds all that later steps need, and the curves.

    Examples: `labkit train quick`; `labkit train cpu-128-unet --data pets --run-dir runs/unet`;
    `labkit train default --data pets --model resnet34_unet --epochs 40 --device cuda`;
    `labkit train report-002 --data pets --set data.augment.horizontal_flip=0 --set data.augment.vertical_flip=0`

    `torchrun --nproc-per-node=2 -m labkit train default --data pets` (each process takes a part of every batch)

    `tensorboard --logdir runs` shows curves and predictions of all runs, also while they train.
    """
    from labkit.analysis.costs import memory_warning
    from labkit.data import open_pets
    from labkit.files import home
    from labkit.training import choose_device, choose_precision, describe, fit
    from labkit.training.hardware import join_processes, leave_processes

    chosen = _recipe(recipe, model, switches)
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    given |= {"seed": seed, "weights": weights}
    chosen = chosen.changed(training={key: value for key, value in given.items() if value is not None})
    pets = open_pets(data)
    run = run or home() / "runs" / f"{Path(recipe).stem}-{pets.label}-{chosen.training.seed}"
    where = choose_device(device)
    processes = join_processes(where)
    if processes.first:
        several = f", {processes.size} processes" if processes.size > 1 else ""
        typer.echo(f"device: {describe(where, choose_precision(chosen.training.precision, where))}{several}")
        typer.echo(f"run:    {run}")
        if warning := memory_warning(chosen, where, processes.size):
            typer.echo(f"warning: {warning}", err=True)
    try:
        trained = fit(chosen, pets, run, device=device, resume=resume)
    finally:
        leave_processes()
    if processes.first:
        from labkit.curves import run_curves

        save_figure(run_curves([trained]), run / "curves.png")
        typer.echo(f"curves: {run / 'curves.png'}")


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

    It is a place to start from: only whole trainings tell which rate is best. Nothing is kept.

    Examples: `labkit find-rate quick`; `labkit find-rate default --data pets --figure rates.png`
    """
    if figure is not None:
        check_figure(figure, "--figure")
    from labkit.data import open_pets
    from labkit.training import find_learning_rate

    sweep = find_learning_rate(_recipe(recipe, model), open_pets(data), device, lowest, highest, steps)
    rates, losses = sweep.rates, sweep.smoothed
    typer.echo(f"tried:     {len(rates)} steps at learning rates from {rates[0]:.2g} to {rates[-1]:.2g}")
    typer.echo(f"loss:      {losses[0]:.4f} at first, {min(losses):.4f} at {rates[losses.index(min(losses))]:.2g}")
    typer.echo(f"suggested: {sweep.suggested:.2g}, where the loss falls most steeply; a start, not an answer")
    if figure is not None:
        from labkit.curves import rate_sweep

        save_figure(rate_sweep(sweep), figure)
        typer.echo(f"drawn in:  {figure}")


def curves(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or weights files with a history.")],
    out: Annotated[Path, typer.Option(help="The figure, .png or .svg.")] = Path("curves.png"),
) -> None:
    """Draw runs together: losses, validation Dice and learning rate, one color for each run.

    Example: `labkit curves runs/unet weights/pets-128-unet.safetensors --out curves.svg`
    """
    check_figure(out, "--out")
    from labkit.curves import run_curves
    from labkit.training import open_run

    save_figure(run_curves([open_run(run) for run in runs]), out)
    typer.echo(f"{len(runs)} run{'s' if len(runs) > 1 else ''} in {out}")


def check_figure(path: Path, option: str) -> None:
    """Refuse, before the work is done, a name that is not .png or .svg, or that is a file of the user's."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise LabError(f"{path}: figures are .png or .svg; choose another name")
    refuse_foreign(path, option)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG or SVG, by the ending of its name."""
    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix.lower()[1:], dpi=150)


def _recipe(name: str, model: str | None, switches: list[str] | None = None) -> Any:
    """The recipe of this name, with another network if one is named, and with some keys changed."""
    from labkit.training import load_recipe
    from labkit.training.recipe import parse_switches, with_values

    recipe = load_recipe(name)
    recipe = recipe.changed(model={"name": model}) if model else recipe
    return with_values(recipe, parse_switches(switches), "--set") if switches else recipe
