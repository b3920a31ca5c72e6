"""`labkit lab`."""

from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import Data, Device


def lab(
    data: Data = "sample",
    recipe: Annotated[str, typer.Option(help="What notebook 04 trains with.")] = "quick",
    out: Annotated[Path | None, typer.Option(help="Where the executed notebooks and index.html go.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these notebooks, such as 04 (may be repeated).")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="NAME=VALUE for the notebooks that know NAME.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Run all notebooks without a browser and put their figures, tables and formulas into one page.

    Examples:

    `labkit lab`; `labkit lab --data pets --recipe cpu-128-unet`

    `labkit lab --only 02 --only 03`
    """
    from labkit.files import home
    from labkit.workbook.headless import run_lab

    page = run_lab(out or home() / "runs" / "lab", data, recipe, device, only or [], parameter or [])
    typer.echo(f"report: {page}")
