"""`course sweep`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from labkit.cli.shell import Data, Device, bar
from labkit.errors import LabError


def sweep(
    sweep: Annotated[str, typer.Argument(help="A TOML file, or the name of one in course/experiments/.")],
    data: Data = "sample",
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler's address, such as tcp://host:8786.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="On this machine; default one a GPU, else one for two cores.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder; default runs/<sweep>.")] = None,
    notebook: Annotated[bool, typer.Option("--notebook", help="Train by executing notebook 04 for each run.")] = False,
    split: Annotated[str, typer.Option(help="What is scored: a part of the recipe's split, or FAMILY/PART.")] = "test",
    device: Device = "auto",
) -> None:
    """Train many runs, every combination of lists of values, as jobs on Dask workers; one table at the end.

    Runs that are done are skipped, begun ones go on. Without `--scheduler` the workers are processes of this machine;
    with it any that see the same files: `dask scheduler`, then on each machine, once for each GPU,
    `CUDA_VISIBLE_DEVICES=0 dask worker ADDRESS --nthreads 1 --memory-limit 0 --resources GPU=1`.

    Examples:

    `course sweep learning-rate`

    `course sweep my-sweep.toml --data pets --scheduler tcp://10.0.0.1:8786`
    """
    from course.experiments.plan import load_plan
    from course.experiments.sweep import result_table, run_sweep, seed_table
    from labkit.files import home

    plan = load_plan(sweep)
    out = out or home() / "runs" / plan.path.stem
    rows, failed, running, skipped = {}, {}, {}, 0
    epochs = {run.name: run.recipe.training.epochs for run in plan.runs}
    options = {"scheduler": scheduler, "workers": workers, "notebook": notebook, "split": split, "device": device}
    typer.echo(f"{len(plan.runs)} runs in {out}")
    with bar(None, "runs", len(plan.runs)) as progress:

        def show(name: str, epoch: int) -> None:
            running[name] = f"{name} {epoch}/{epochs[name]}"
            progress.set_postfix_str(f"{len(failed)} failed; running: {', '.join(list(running.values()))}")

        for outcome in run_sweep(plan, data, out, **options, watch=show, tell=progress.write):
            name = outcome.run.name
            running.pop(name, None)
            rows[name] = outcome.row
            skipped += outcome.skipped
            if outcome.row["status"] == "failed":
                failed[name] = outcome.row["error"]
            progress.update()
            progress.write(f"{name}: {_told(outcome)}")
    table = result_table(plan, rows)
    _print_tables(table, seed_table(table, plan.keys), plan.keys)
    typer.echo(f"\n{skipped} runs done before, {len(rows) - skipped - len(failed)} now, {len(failed)} failed")
    typer.echo(f"kept in {out / 'results.csv'}; choose by validation Dice, the {split} images are for the report")
    for name, sentence in failed.items():
        typer.echo(f"failed: {name}: {sentence}", err=True)
    if failed:
        raise LabError(f"{len(failed)} of {len(plan.runs)} runs failed, named above; the same command tries them again")


def _told(outcome: Any) -> str:
    row = outcome.row
    if row["status"] == "failed":
        return "failed"
    found = f"valid Dice {row['valid_dice']:.4f} in epoch {row['best_epoch']}, {row['seconds']:.0f} s"
    return f"done before ({found})" if outcome.skipped else found


def _print_tables(table: Any, seeds: Any, keys: list[str]) -> None:
    short = {key: key.rpartition(".")[2] for key in keys}
    short = {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}
    as_written = dict.fromkeys(keys, str)  # 0.03, not 0.030
    shown = table.astype(as_written).drop(columns=["run", "split", "error"]).rename(columns=short)
    if shown["status"].eq("done").all():
        shown = shown.drop(columns="status")
    whole = dict.fromkeys(("best_epoch", "seconds", "parameters"), "{:.0f}".format)
    measures = dict.fromkeys(("valid_dice", "dice_per_image", "dice_pooled"), "{:.4f}".format)
    typer.echo("\n" + shown.to_string(index=False, formatters=whole | measures, na_rep="-"))
    if seeds is None or seeds.empty:
        return
    seeds = seeds.astype({key: str for key in keys if key in seeds}).rename(columns=short)
    for name in measures:
        pairs = zip(seeds.pop(f"{name}_mean"), seeds.pop(f"{name}_std"), strict=True)
        seeds[name] = [f"{mean:.4f} ± {std:.4f}" if std == std else f"{mean:.4f}" for mean, std in pairs]
    typer.echo("\nmean ± standard deviation over seeds\n" + seeds.to_string(index=False))
