"""The lab's verbs from a shell. Rooms are imported inside the commands, so that `labkit --help` is quick."""

import sys

import typer

from labkit.cli.analysis import evaluate, predict
from labkit.cli.curves import curves
from labkit.cli.data import data_app
from labkit.cli.doctor import doctor
from labkit.cli.lab import lab
from labkit.cli.networks import models
from labkit.cli.sweep import sweep
from labkit.cli.training import find_rate, train
from labkit.errors import LabError

app = typer.Typer(
    help="Image segmentation from scratch: data, training, evaluation and prediction of the course lab.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.add_typer(data_app, name="data")
for command in (models, find_rate, train, curves, sweep, evaluate, predict, lab, doctor):  # in the order of the help
    app.command()(command)


def main() -> None:
    """Run the command line; what the user did wrong is one sentence on stderr and exit status 1."""
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
