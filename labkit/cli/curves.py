"""`labkit curves`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labkit.errors import LabError
from labkit.files import refuse_foreign, written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or weights files with a history.")],
    out: Annotated[Path, typer.Option(help="The figure, .png or .svg.")] = Path("curves.png"),
) -> None:
    """Draw runs together: losses, validation Dice and learning rate, one color for each run.

    Examples:

    `labkit curves runs/unet runs/resnet34 --out curves.svg`;
    `labkit curves runs/unet weights/pets-128-unet.safetensors`
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


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG or SVG, by the ending of its name."""
    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix.lower()[1:], dpi=150)
