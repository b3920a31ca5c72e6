"""The command `labkit`. Packages are imported inside the commands, so that `labkit --help` is quick."""

import typer

from labkit.cli.analysis import evaluate, predict
from labkit.cli.data import data_app, rle_app
from labkit.cli.models import models, recipe_app
from labkit.cli.shell import run
from labkit.cli.training import curves, find_rate, train

app = typer.Typer(
    help="Image segmentation from scratch: data, training, evaluation and prediction of the course lab.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.add_typer(data_app, name="data")
app.add_typer(rle_app, name="rle")
app.add_typer(recipe_app, name="recipe")
for command in (train, evaluate, predict, curves, find_rate, models):  # the order of the help
    app.command()(command)


def main() -> None:
    """Run the command line `labkit`."""
    run(app)
