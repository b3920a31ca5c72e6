"""Options, a progress bar, and printed values, for all commands."""

import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from labkit.errors import LabError

Data = Annotated[str, typer.Option(help="sample, slides, pets, or a folder (that holds one) in the official layout.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]


def bar(items: Any, what: str, total: int | None = None) -> Any:
    """The items, with a progress bar on stderr where that is a terminal."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, leave=False, dynamic_ncols=True, disable=None)


def plain(value: Any) -> str:
    """A number, list or dictionary as a line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    return str(round(value, 4)).removesuffix(".0") if isinstance(value, float) else str(value)


def run(app: typer.Typer) -> None:
    """Run a command line; a user's mistake is one sentence on stderr and exit status 1, a warning one sentence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a Windows console may lack the letters of a path
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = lambda message, *_, **__: typer.echo(f"warning: {message}", err=True)
    try:
        app()
    except LabError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except SystemExit as end:
        stop = getattr(end.__context__, "__cause__", None)  # typer turns an interrupt into a silent status 130
        if isinstance(stop, KeyboardInterrupt):
            typer.echo(f"stopped: {stop}" if str(stop) else "stopped", err=True)
        raise
