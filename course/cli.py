"""The command `course`: run all notebooks, run many trainings, look over the machine."""

from pathlib import Path
from typing import Annotated

import typer

from course.doctor import doctor
from course.experiments.command import sweep
from labkit.cli.shell import Data, Device, run

app = typer.Typer(
    help="The course around labkit: all notebooks without a browser, many trainings, a look over the machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)


@app.command()
def lab(
    data: Data = "sample",
    recipe: Annotated[str, typer.Option(help="What notebook 04 trains with.")] = "quick",
    out: Annotated[Path | None, typer.Option(help="Where the executed notebooks and index.html go.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these notebooks, such as 04 (may be repeated).")] = None,
    every: Annotated[bool, typer.Option("--all", help="The further chapters, too, after 01 to 05.")] = False,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="NAME=VALUE for the notebooks that know NAME.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Run the notebooks without a browser and put their figures, tables and formulas into one page.

    Examples:

    `course lab`; `course lab --data pets --recipe cpu-128-unet`

    `course lab --all`; `course lab --only 02 --only 03`
    """
    from course.lab import LAB, run_lab
    from labkit.files import home

    page = run_lab(
        out or home() / "runs" / "lab", data, recipe, device, only or (() if every else LAB), parameter or ()
    )
    typer.echo(f"report: {page}")


for command in (sweep, doctor):
    app.command()(command)


def main() -> None:
    """Run the command line `course`."""
    run(app)
