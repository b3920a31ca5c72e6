"""`labkit evaluate` and `labkit predict`."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import Data, Device, bar, plain
from labkit.errors import LabError


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    data: Data = "sample",
    split: Annotated[str, typer.Option(help="A part of the recipe's split, or FAMILY/PART of another.")] = "test",
    scored_at: Annotated[str, typer.Option(help="input (the recipe's size) or original (each image's own).")] = "input",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability above which a pixel is pet.")] = 0.5,
    masks: Annotated[Path | None, typer.Option(help="Folder for each predicted mask, at its image's size.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for image, prediction and truth side by side.")] = None,
    right_and_wrong: Annotated[bool, typer.Option("--right-and-wrong", help="Paint right white, wrong red.")] = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Score a run on every image of a split: loss, Dice and IoU, per image and pooled; write its masks, if asked.

    Examples: `labkit evaluate runs/unet --data pets --masks masks --pictures pictures`;
    `labkit evaluate weights/pets-128-unet.safetensors --data pets --scored-at original --json`
    """
    from labkit import analysis
    from labkit.data import class_names, open_pets

    opened, pets = analysis.open_run(run), open_pets(data)
    folders, written = [folder for folder in (masks, pictures) if folder], iter(())
    if folders:  # what is in their way is said before the images are scored
        more = (masks, pictures, threshold, right_and_wrong, partial(bar, what="writing"))
        written = analysis.predict_split(analysis.load_predictor(opened, device), pets, split, *more)
    options = {"scored_at": scored_at, "threshold": threshold, "device": device}
    summary, _, confusion = analysis.evaluate(opened, pets, split, **options, progress=partial(bar, what="evaluating"))
    number = sum(1 for _ in written)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    for key, value in summary.items():
        typer.echo(f"{key.replace('_', ' '):>16}  {plain(value)}")
    table = analysis.class_table(confusion, class_names(opened.recipe.data.target, pets))
    typer.echo(f"\n{table.to_string(index=False, float_format='%.4f', na_rep='-')}\n")
    folder = analysis.evaluation_folder(opened, summary) if opened.is_folder else "no folder: the run is a weights file"
    typer.echo(f"{'written to':>16}  {folder}")
    if folders:
        typer.echo(f"{number:>16}  files in {', '.join(map(str, folders))}{' each' * (len(folders) > 1)}")


def predict(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, a folder of them, or a pattern.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the masks.")] = None,
    rle: Annotated[Path | None, typer.Option(help="CSV file for run lengths (image_id,encoded_mask).")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability above which a pixel is pet.")] = 0.5,
    device: Device = "auto",
) -> None:
    """Write a mask for each image, as PNG at the image's own size: 0 and 255, or class indices in colors.

    A file that is no image is named at the end; the others are predicted all the same.

    Example: `labkit predict weights/pets-128-unet.safetensors cat.jpg dog.jpg --out masks`
    """
    from labkit.analysis import load_predictor, open_run, predict_files
    from labkit.data.rle import write_rle
    from labkit.files import check_targets

    if not (out or rle):
        raise LabError("predict: say where the masks go: --out FOLDER, --rle FILE, or both")
    predictor, progress = load_predictor(open_run(run), device), partial(bar, what="predicting")
    if rle and predictor.recipe.model.classes > 2:
        raise LabError("--rle: run lengths hold one foreground, and this network tells several classes apart")
    check_targets([rle] if rle else [], option="--rle")
    failed: list[str] = []
    written = predict_files(predictor, images, out, threshold, progress, failed)
    number = write_rle(rle, written) if rle else sum(1 for _ in written)
    typer.echo(f"{number} masks in {' and '.join(str(place) for place in (out, rle) if place)}")
    for sentence in failed:
        typer.echo(f"failed: {sentence}", err=True)
    if failed:
        raise LabError(f"{len(failed)} of {number + len(failed)} images were not predicted, named above")
