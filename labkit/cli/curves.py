"""`labkit curves`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labkit.errors import LabError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".png", ".svg")


class Over(StrEnum):
    """What the curves run over."""

    EPOCHS = "epochs"
    SECONDS = "seconds"


def curves(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or weights files that carry a history.")],
    out: Annotated[Path, typer.Option(help="The figure, .png or .svg.")] = Path("curves.png"),
    over: Annotated[Over, typer.Option(help="What the curves run over.")] = Over.EPOCHS,
) -> None:
    """Draw any runs together: losses, validation Dice and learning rate, a color a run.

    Examples:

    `labkit curves runs/unet runs/resnet34 --out curves.svg`

    `labkit curves runs/unet weights/pets-128-unet.safetensors --over seconds`
    """
    check_figure(out, "--out")
    from labkit.curves import run_curves
    from labkit.training import open_run

    save_figure(run_curves([open_run(run) for run in runs], over.value), out)
    typer.echo(f"{len(runs)} run{'s' if len(runs) > 1 else ''} in {out}")


def check_figure(path: Path, option: str) -> None:
    """Refuse a figure of another kind, or one that would replace a file of the user's, before the work is done.

    Raises:
        LabError: its name does not end in .png or .svg, or labkit has not written the file that is there.
    """
    from labkit.files import refuse_foreign

    if path.suffix.lower() not in KINDS:
        raise LabError(f"{path}: figures are {' or '.join(KINDS)}; give it a name that ends so")
    refuse_foreign(path, option)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG or SVG, by the ending of its name, whole or not at all."""
    from labkit.files import written_whole

    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix.lower()[1:], dpi=150)
