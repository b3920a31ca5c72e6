"""`labkit train`."""

from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import Data, Device, bar


def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")],
    data: Data = "sample",
    model: Annotated[
        str | None, typer.Option(help="Another network, such as attention_unet, with its own defaults.")
    ] = None,
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
    """
    from labkit.data import open_pets
    from labkit.errors import Interrupted
    from labkit.files import home
    from labkit.training import choose_device, choose_precision, describe, fit, join_processes, load_recipe

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
            say(
                f"epoch {record.epoch:>3}/{total}  loss {record.train_loss:.4f}  valid loss {record.valid_loss:.4f}  "
                f"valid Dice {record.valid_dice:.4f}  {record.seconds:5.1f} s  {record.images_per_second:6.1f} images/s"
                + ("  best" if record.best else "")
            )
    except KeyboardInterrupt as stop:
        if isinstance(stop, Interrupted) or record is None:
            raise
        done = (
            f"epochs 1 to {record.epoch} are" if record.epoch > 1 else "epoch 1 is"
        )  # it came while a line was printed
        raise Interrupted(f"{done} kept in {run}; go on with --resume") from None
    if record and any(record.redrawn):
        say("redrawn because their mask was empty: {} images, {} of them given up".format(*record.redrawn))
