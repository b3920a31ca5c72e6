"""The lab's verbs from a shell. Rooms are imported inside the commands, so that `labkit --help` is quick."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from labkit.errors import LabError

app = typer.Typer(
    help="Image segmentation from scratch: data, training, evaluation and prediction of the course lab.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
data_app = typer.Typer(help="Get, check and describe the data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Data = Annotated[str, typer.Option(help="sample, pets, or a folder in the official layout (or one that holds it).")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]


def _bar(items: Any, what: str, total: int | None = None) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, leave=False, dynamic_ncols=True, disable=None)


@data_app.command("get")
def data_get(
    data: Data = "pets",
    source: Annotated[str | None, typer.Option("--from", help="Take them from this archive or folder.")] = None,
    count: Annotated[int | None, typer.Option(help="How many pictures to draw (sample only).", min=12)] = None,
) -> None:
    """Put a data set in its place: draw the sample, fetch the pets, or import a copy that you have.

    Examples:

    `labkit data get --data sample --count 1000`; `labkit data get --data pets` (about 800 MB, checked by torchvision)

    `labkit data get --data pets --from ~/Downloads/oxford-iiit-pet.tar.gz`
    """
    from labkit.data import get_pets

    pets = get_pets(data, source, count)
    typer.echo(f"{pets.label}: {len(pets)} pets of {len(pets.breeds)} breeds in {pets.folder}")


@data_app.command("check")
def data_check(data: Data = "sample") -> None:
    """Decode every image and trimap; name what is damaged, empty or not what it is called.

    Example: `labkit data check --data pets`
    """
    from labkit.data import check_pets, open_pets

    pets = open_pets(data)
    report = check_pets(pets, lambda items: _bar(items, "checking", len(pets)))
    typer.echo(f"{pets.label}: {report.images} images in {pets.folder}")
    typer.echo(f"trimaps without a pet: {len(report.empty)} {', '.join(report.empty)}".rstrip())
    typer.echo(f"called .jpg but another format (read all the same): {len(report.not_jpeg)}")
    for problem in report.problems:
        typer.echo(f"problem: {problem}", err=True)
    if report.problems:
        raise LabError(f"{pets.folder}: {len(report.problems)} problems, named above; get the data again")
    typer.echo("no problems")


@data_app.command("stats")
def data_stats(
    data: Data = "sample",
    size: Annotated[int, typer.Option(help="Size in pixels at which the colours are counted.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Mean, deviation, foreground share, sizes, breeds and empty masks, computed from the files.

    Example: `labkit data stats --data pets --json`
    """
    from labkit.data import describe_pets, open_pets

    pets = open_pets(data)
    facts = describe_pets(pets, size, lambda items: _bar(items, "decoding", len(pets)))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        for key, value in facts.items():
            typer.echo(f"{key.replace('_', ' '):>24}  {_plain(value)}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")],
    data: Data = "sample",
    model: Annotated[str | None, typer.Option(help="unet or resnet34_unet, with its own defaults.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    device: Device = "auto",
    run: Annotated[Path | None, typer.Option(help="The run folder; default runs/<recipe>-<data>-<seed>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train a network by a recipe; the run folder holds all that later steps need.

    Examples:

    `labkit train quick`

    `labkit train cpu-128-unet --data pets --run runs/unet`

    `labkit train default --data pets --model resnet34_unet --epochs 40 --device cuda`
    """
    from labkit.data import open_pets
    from labkit.files import home
    from labkit.training import choose_device, choose_precision, describe, fit, load_recipe

    chosen = load_recipe(recipe)
    if model is not None:
        chosen = chosen.changed(model={"name": model})
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    chosen = chosen.changed(training={key: value for key, value in given.items() if value is not None})
    pets = open_pets(data)
    run = run or home() / "runs" / f"{Path(recipe).stem}-{pets.label}-{chosen.training.seed}"
    where = choose_device(device)
    typer.echo(f"device: {describe(where, choose_precision(chosen.training.precision, where))}")
    typer.echo(f"run:    {run}")
    total = chosen.training.epochs
    records = fit(
        chosen,
        pets,
        run,
        device=device,
        resume=resume,
        watch=lambda items, epoch: _bar(items, f"epoch {epoch}/{total}"),
    )
    for record in records:
        typer.echo(
            f"epoch {record.epoch:>3}/{total}  loss {record.train_loss:.4f}  valid loss {record.valid_loss:.4f}  "
            f"valid Dice {record.valid_dice:.4f}  {record.seconds:5.1f} s  {record.images_per_second:6.1f} images/s"
            + ("  best" if record.best else "")
        )


@app.command()
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
    from labkit.analysis import evaluate as evaluate_run
    from labkit.analysis import evaluation_folder, open_run
    from labkit.data import open_pets

    opened = open_run(run)
    summary, _ = evaluate_run(
        opened,
        open_pets(data),
        split,
        scored_at=scored_at,
        device=device,
        watch=lambda items: _bar(items, "evaluating"),
    )
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    for key, value in summary.items():
        typer.echo(f"{key.replace('_', ' '):>16}  {_plain(value)}")
    typer.echo(
        f"{'kept in':>16}  {evaluation_folder(opened, summary) if opened.is_folder else 'nothing: no run folder'}"
    )


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability above which a pixel is pet.")] = 0.5,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write probability pictures too.")] = False,
    device: Device = "auto",
) -> None:
    """Write a mask for each image, as PNG at the image's own size, 0 and 255.

    Example: `labkit predict weights/pets-128-unet.safetensors cat.jpg dog.jpg --out masks`
    """
    from labkit.analysis import load_predictor, open_run, predict_files

    predictor = load_predictor(open_run(run), device)
    written = predict_files(predictor, images, out, threshold, probabilities, lambda items: _bar(items, "predicting"))
    typer.echo(f"{sum(1 for _ in written)} masks in {out}")


@app.command()
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


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return (
            f"{len(value)}: {', '.join(map(str, value))}"
            if value and isinstance(value[0], str)
            else str(value or "none")
        )
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def main() -> None:
    """Run the command line; what the user did wrong is one sentence on stderr and exit status 1."""
    try:
        app()
    except LabError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
