"""The command `course`: run notebooks, run sweeps, check the machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from course.claims_cli import claims_app
from course.doctor import doctor
from course.grading.command import grade
from course.hand_in import handin
from course.handout import handout
from course.reporting.command import report
from labkit.cli.shell import Data, Device, bar, run
from labkit.errors import LabError

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    help="The course around labkit: run all notebooks without a browser, run sweeps, check the machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)


@app.command()
def lab(
    data: Data = "sample",
    recipe: Annotated[str, typer.Option(help="The recipe of notebook 04.")] = "quick",
    out: Annotated[Path | None, typer.Option(help="Where the executed notebooks and the site go.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these notebooks, such as 04 (may be repeated).")] = None,
    every: Annotated[bool, typer.Option("--all", help="The further chapters too, after 01 to 05.")] = False,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="NAME=VALUE for the notebooks that know NAME.")
    ] = None,
    device: Device = "auto",
    cell_timeout: Annotated[
        int | None, typer.Option(min=1, help="The most seconds that a cell may take; default: any.")
    ] = None,
) -> None:
    """Run the notebooks without a browser and build a site of them: `site/index.html`.

    Examples:

    `course lab`; `course lab --data pets --recipe cpu-128-unet`

    `course lab --all`; `course lab --only 02 --only 03`
    """
    from course.lab import LAB, run_lab
    from labkit.files import home

    chapters = only or (() if every else LAB)
    page = run_lab(out or home() / "runs" / "lab", data, recipe, device, chapters, parameter or (), cell_timeout)
    typer.echo(f"site: {page}")


@app.command()
def site(out: Annotated[Path | None, typer.Option(help="The site's folder; default runs/site.")] = None) -> None:
    """Build a web site of the notebooks as they are, without executing them. It opens from the folder.

    Example: `course site --out public`
    """
    from course.lab import committed_site
    from labkit.files import home

    typer.echo(f"site: {committed_site(out or home() / 'runs' / 'site')}")


@app.command()
def sweep(
    sweep: Annotated[str, typer.Argument(help="A TOML file, or the name of one in course/experiments/.")],
    data: Data = "sample",
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler's address, such as tcp://host:8786.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="On this machine; default: one for each GPU, else one for two cores.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder; default runs/<sweep>.")] = None,
    notebook: Annotated[bool, typer.Option("--notebook", help="Train by executing notebook 04 for each run.")] = False,
    split: Annotated[
        str, typer.Option(help="The images to score: a part of the recipe's split, or FAMILY/PART.")
    ] = "test",
    device: Device = "auto",
) -> None:
    """Train many runs, every combination of lists of values, as jobs on Dask workers, and write one table.

    Finished runs are skipped, unfinished ones go on. Without `--scheduler` the workers are processes of this machine;
    with it any that see the same files: `dask scheduler`, then on each machine, once for each GPU,
    `CUDA_VISIBLE_DEVICES=0 dask worker ADDRESS --nthreads 1 --memory-limit 0 --resources GPU=1`.

    Examples:

    `course sweep learning-rate`

    `course sweep my-sweep.toml --data pets --scheduler tcp://10.0.0.1:8786`
    """
    from course.experiments.plan import load_plan
    from course.experiments.sweep import planned_jobs, write_results
    from course.experiments.workers import run_jobs
    from course.lab import notebook_files
    from labkit.files import home

    if scheduler is not None and workers is not None:
        raise LabError("--workers: a scheduler has its own workers; leave out --workers or --scheduler")
    path, plan = load_plan(sweep)
    out = (out or home() / "runs" / path.stem).expanduser().resolve()
    jobs = planned_jobs(plan, out, data, split, device, str(notebook_files(["04"])[0]) if notebook else "")
    epochs = {job.run: recipe.training.epochs for job, (_, recipe) in zip(jobs, plan, strict=True)}
    rows, failed, running, skipped = {}, {}, {}, 0
    typer.echo(f"{len(jobs)} runs in {out}")
    tables = write_results(jobs, rows, out)  # a folder that cannot be written is an error now
    with bar(None, "runs", len(jobs)) as progress:

        def show(run: str, epoch: int) -> None:
            if run in epochs:  # other sweeps may use the scheduler, too
                running[run] = f"{Path(run).name} {epoch}/{epochs[run]}"
                progress.set_postfix_str(f"{len(failed)} failed; running: {', '.join(list(running.values()))}")

        for job, row, before in run_jobs(jobs, scheduler, workers, show, progress.write):
            name, rows[job.run], skipped = Path(job.run).name, row, skipped + before
            running.pop(job.run, None)
            if row["status"] == "failed":
                failed[name] = row["error"]
            progress.update()
            progress.write(f"{name}: {_told(row, before)}")
            tables = write_results(jobs, rows, out)
    for title, table in tables.items():
        typer.echo(_readable(title, table))
    if any(row["status"] == "done" for row in rows.values()):
        from course.figures import sweep_figure
        from labkit.cli.training import save_figure

        save_figure(sweep_figure(tables["results"]), out / "results.png")
        typer.echo(f"\ndrawn in {out / 'results.png'}")
    typer.echo(f"\n{skipped} runs done before, {len(rows) - skipped - len(failed)} now, {len(failed)} failed")
    typer.echo(f"written to {out / 'results.csv'}; choose by validation Dice, the {split} images are for the report")
    for name, sentence in failed.items():
        typer.echo(f"failed: {name}: {sentence}", err=True)
    if failed:
        raise LabError(f"{len(failed)} of {len(jobs)} runs failed, named above; the same command tries them again")


def _told(row: dict[str, Any], before: bool) -> str:
    if row["status"] == "failed":
        return "failed"
    found = f"valid Dice {row['valid_dice']:.4f} in epoch {row['best_epoch']}, {row['seconds']:.0f} s"
    return f"done before ({found})" if before else found


def _readable(title: str, table: "pd.DataFrame") -> str:
    """A table of a sweep with short heads, values as they are written, and mean ± deviation in one column."""
    keys = {key: key.rpartition(".")[2] for key in table if "." in key}
    table = table.astype(dict.fromkeys(keys, str)).drop(columns=["run", "split", "error"], errors="ignore")
    for name in [column.removesuffix("_mean") for column in table if column.endswith("_mean")]:
        pairs = zip(table.pop(f"{name}_mean"), table.pop(f"{name}_std"), strict=True)
        table[name] = [f"{mean:.4f} ± {std:.4f}" if std == std else f"{mean:.4f}" for mean, std in pairs]
    whole = dict.fromkeys(("best_epoch", "seconds", "parameters"), "{:.0f}".format)
    shown = table.rename(columns=keys).to_string(index=False, formatters=whole, float_format="%.4f", na_rep="-")
    return f"\n{'mean ± standard deviation over seeds' if title == 'seeds' else title}\n{shown}"


app.command()(doctor)
app.command()(handout)
app.command()(grade)
app.command()(handin)
app.command()(report)
app.add_typer(claims_app, name="claims")


def main() -> None:
    """Run the command line `course`."""
    run(app)
