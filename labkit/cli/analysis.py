"""`labkit evaluate` and `labkit predict`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import Data, Device, bar, plain


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    data: Data = "sample",
    split: Annotated[str, typer.Option(help="A part of the recipe's split, or FAMILY/PART of another.")] = "test",
    scored_at: Annotated[str, typer.Option(help="input (the recipe's size) or original (each image's own).")] = "input",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Score a run on every image of a split: Dice and IoU, per image and pooled.

    Examples:

    `labkit evaluate runs/unet --data pets`

    `labkit evaluate weights/pets-128-unet.safetensors --data pets --scored-at original --json`
    """
    from labkit.analysis import class_table, evaluation_folder, open_run
    from labkit.analysis import evaluate as evaluate_run
    from labkit.data import class_names, open_pets

    opened, pets = open_run(run), open_pets(data)
    summary, _, confusion = evaluate_run(
        opened,
        pets,
        split,
        scored_at=scored_at,
        device=device,
        progress=lambda items: bar(items, "evaluating"),
    )
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    for key, value in summary.items():
        typer.echo(f"{key.replace('_', ' '):>16}  {plain(value)}")
    table = class_table(confusion, class_names(opened.recipe.data.target, pets))
    typer.echo(f"\n{table.to_string(index=False, float_format='%.4f', na_rep='-')}\n")
    typer.echo(
        f"{'kept in':>16}  {evaluation_folder(opened, summary) if opened.is_folder else 'nothing: no run folder'}"
    )


def predict(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, a folder of them, or a pattern.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability above which a pixel is pet.")] = 0.5,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write probability images too.")] = False,
    device: Device = "auto",
) -> None:
    """Write a mask for each image, as PNG at the image's own size: 0 and 255, or class indices in colors.

    Example: `labkit predict weights/pets-128-unet.safetensors cat.jpg dog.jpg --out masks`
    """
    from labkit.analysis import load_predictor, open_run, predict_files

    predictor = load_predictor(open_run(run), device)
    written = predict_files(predictor, images, out, threshold, probabilities, lambda items: bar(items, "predicting"))
    typer.echo(f"{sum(1 for _ in written)} masks in {out}")
