"""`labkit data`: get, check and describe the data."""

import json
from typing import Annotated

import typer

from labkit.cli.shell import Data, bar, plain
from labkit.errors import LabError

data_app = typer.Typer(help="Get, check and describe the data.", no_args_is_help=True)


@data_app.command("get")
def data_get(
    data: Data = "pets",
    source: Annotated[str | None, typer.Option("--from", help="Take them from this archive or folder.")] = None,
    mask_values: Annotated[str | None, typer.Option(help="Values of the classes in your masks: 0,38,75.")] = None,
    ignore: Annotated[str | None, typer.Option(help="Values in your masks that count for nothing: 255.")] = None,
    orientation: Annotated[str | None, typer.Option(help="Where size cannot tell: stored (default) or exif.")] = None,
) -> None:
    """Put a data set in its place: unpack the sample, fetch the pets, or import a copy that you have.

    Examples:

    `labkit data get --data sample`; `labkit data get --data pets` (about 800 MB, checked by torchvision)

    `labkit data get --data pets --from ~/Downloads/oxford-iiit-pet.tar.gz`

    `labkit data get --data dataset/mine --from FOLDER --mask-values 0,38,75` (FOLDER holds images/ and masks/)
    """
    from labkit.data import get_pets
    from labkit.data.classes import TABLE, parse_values

    options = {name: parse_values(text) for name, text in (("mask_values", mask_values), ("ignore", ignore)) if text}
    if source is not None:
        options |= {"say": typer.echo}
    pets = get_pets(data, source, **options | ({"orientation": orientation} if orientation else {}))
    kind = "images, groups" if pets.classes else "pets, breeds"
    typer.echo(f"{pets.label}: {len(pets)} {kind}: {len(pets.breeds)}, in {pets.folder}")
    if (table := pets.folder / "annotations" / TABLE).is_file():
        import pandas as pd

        held = pd.read_csv(table, dtype={"value": str}).to_string(index=False)
        typer.echo(held)
        if "(ignored)" in held:
            typer.echo("(ignored) counts in neither loss nor score; name all values (--mask-values) to make it a class")


@data_app.command("check")
def data_check(data: Data = "sample") -> None:
    """Decode every image and trimap; name what is damaged, empty or not what it is called.

    Example: `labkit data check --data pets`
    """
    from labkit.data import check_pets, open_pets
    from labkit.data.images import fitting_orientations

    pets = open_pets(data)
    report = check_pets(pets, lambda items: bar(items, "checking", len(pets)))
    typer.echo(f"{pets.label}: {len(pets)} images in {pets.folder}")
    typer.echo(f"trimaps without a pet: {len(report.empty)} {', '.join(report.empty)}".rstrip())
    typer.echo(f"called .jpg but another format (read all the same): {len(report.not_jpeg)}")
    for problem in report.problems:
        typer.echo(f"problem: {problem}", err=True)
    if report.problems:
        raise LabError(f"{pets.folder}: {len(report.problems)} problem{'s' * (len(report.problems) > 1)}, named above")
    fits = [fitting_orientations(pets.image_path(i), pets.trimap_path(i)) for i in range(len(pets))]
    if unsure := [pet.name for pet, found in zip(pets.items, fits, strict=True) if len(found) == 2]:
        typer.echo(
            f"EXIF turns that size cannot judge: {len(unsure)} ({', '.join(unsure)}); the pixels are read as stored "
            "(`labkit data get --data NEW --from THIS --orientation exif` turns them)"
        )
    typer.echo("no problems")


@data_app.command("stats")
def data_stats(
    data: Data = "sample",
    size: Annotated[int, typer.Option(help="Size in pixels at which the colors are counted.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Mean, deviation, foreground share, sizes, breeds and empty masks, computed from the files.

    Example: `labkit data stats --data pets --json`
    """
    from labkit.data import describe_pets, open_pets

    pets = open_pets(data)
    facts = describe_pets(pets, size, lambda items: bar(items, "decoding", len(pets)))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        for key, value in facts.items():
            typer.echo(f"{key.replace('_', ' '):>24}  {plain(value)}")
