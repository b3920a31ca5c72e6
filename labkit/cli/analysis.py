"""`labkit evaluate` and `labkit predict`."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import Data, Device, bar, plain


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    data: Data = "sample",
    split: Annotated[str, typer.Option(help="A part of the recipe's split, or FAMILY/PART of another.")] = "test",
    scored_at: Annotated[str, typer.Option(help="input (the recipe's size) or original (each image's own).")] = "input",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability above which a pixel is pet.")] = 0.5,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Score a run on every image of a split: Dice and IoU, per image and pooled.

    Examples:

    `labkit evaluate runs/unet --data pets`;
    `labkit evaluate weights/pets-128-unet.safetensors --data pets --scored-at original --json`
    """
    from labkit import analysis
    from labkit.data import class_names, open_pets

    opened, pets = analysis.open_run(run), open_pets(data)
    options = {"scored_at": scored_at, "threshold": threshold, "device": device}
    summary, _, confusion = analysis.evaluate(opened, pets, split, **options, progress=partial(bar, what="evaluating"))
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    for key, value in summary.items():
        typer.echo(f"{key.replace('_', ' '):>16}  {plain(value)}")
    table = analysis.class_table(confusion, class_names(opened.recipe.data.target, pets))
    typer.echo(f"\n{table.to_string(index=False, float_format='%.4f', na_rep='-')}\n")
    folder = analysis.evaluation_folder(opened, summary) if opened.is_folder else "no folder: the run is a weights file"
    typer.echo(f"{'written to':>16}  {folder}")


def predict(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, a folder of them, or a pattern.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability above which a pixel is pet.")] = 0.5,
    device: Device = "auto",
) -> None:
    """Write a mask for each image, as PNG at the image's own size: 0 and 255, or class indices in colors.

    Example: `labkit predict weights/pets-128-unet.safetensors cat.jpg dog.jpg --out masks`
    """
    from labkit.analysis import load_predictor, open_run, predict_files

    predictor = load_predictor(open_run(run), device)
    written = predict_files(predictor, images, out, threshold, partial(bar, what="predicting"))
    typer.echo(f"{sum(1 for _ in written)} masks in {out}")
