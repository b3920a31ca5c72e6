"""`labkit data`: get, check and describe the data; `labkit rle`: masks as run lengths, and back."""

from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.shell import Data, bar, plain
from labkit.errors import LabError

data_app = typer.Typer(help="Get, check and describe the data.", no_args_is_help=True)
rle_app = typer.Typer(help="Masks as run lengths in a CSV (`image_id,encoded_mask`), and back.", no_args_is_help=True)


@data_app.command("get")
def data_get(
    data: Data = "pets",
    source: Annotated[str | None, typer.Option("--from", help="Take them from this archive or folder.")] = None,
    mask_values: Annotated[str, typer.Option(help="Values of the classes in your masks: 0,38,75.")] = "",
) -> None:
    """Put a data set in its place: unpack the sample, fetch the pets, or import a copy that you have.

    Examples: `labkit data get --data pets` (about 800 MB, checked by torchvision);
    `labkit data get --data pets --from ~/Downloads/oxford-iiit-pet.tar.gz`;
    `labkit data get --data dataset/mine --from FOLDER --mask-values 0,38,75` (FOLDER holds images/ and masks/)
    """
    from labkit.data import get_pets
    from labkit.data.classes import parse_values
    from labkit.data.importing import MASK_VALUES

    pets = get_pets(data, source, parse_values(mask_values) if mask_values else ())
    kind = "images, groups" if pets.classes else "pets, breeds"
    typer.echo(f"{pets.label}: {len(pets)} {kind}: {len(pets.breeds)}, in {pets.folder}")
    if (table := pets.folder / "annotations" / MASK_VALUES).is_file():
        typer.echo(found := table.read_text(encoding="utf-8").rstrip())
        if "(ignored)" in found:
            typer.echo("(ignored) counts in neither loss nor score; name all values (--mask-values) to make it a class")


@data_app.command("check")
def data_check(data: Data = "sample") -> None:
    """Decode every image and trimap; name what is damaged or empty, and what is wrong with the lists.

    Example: `labkit data check --data pets`
    """
    from labkit.data import check_pets, open_pets

    pets = open_pets(data)
    problems, empty = check_pets(pets, lambda items: bar(items, "checking", len(pets)))
    typer.echo(f"{pets.label}: {len(pets)} images in {pets.folder}")
    typer.echo(f"masks without foreground: {len(empty)} {', '.join(empty)}".rstrip())
    for problem in problems:
        typer.echo(f"problem: {problem}", err=True)
    if problems:
        raise LabError(f"{pets.folder}: {len(problems)} problem{'s' * (len(problems) > 1)}, named above")
    typer.echo("no problems")


@data_app.command("stats")
def data_stats(
    data: Data = "sample",
    size: Annotated[int, typer.Option(help="Size in pixels at which the colors are counted.")] = 128,
) -> None:
    """Numbers of images and breeds, and of the training images: mean, deviation, sizes and shares of the masks.

    Example: `labkit data stats --data pets`
    """
    from labkit.data import color_statistics, load_arrays, open_pets, pet_table

    pets = open_pets(data)
    arrays = load_arrays(pets, size, lambda items: bar(items, "decoding", len(pets)))
    train, counts = pets.split("train"), {part: len(names) for part, names in pets.parts().items()}
    typer.echo(f"{pets.label}: {len(pets)} images ({plain(counts)}), {len(pets.breeds)} breeds; the training images:")
    for name, values in color_statistics(arrays, train)._asdict().items():
        typer.echo(f"{name:>10}  {plain([*values])} (red, green, blue)")
    typer.echo(pet_table(pets, arrays).iloc[train].describe().loc[["mean", "min", "50%", "max"]].round(3).to_string())


@rle_app.command("encode")
def encode(
    masks: Annotated[list[Path], typer.Argument(help="Mask images, a folder of them, or a pattern; 0 is background.")],
    out: Annotated[Path, typer.Option(help="The CSV file.")],
) -> None:
    """Write a CSV row for each mask: its name without the ending, and its runs.

    Example: `labkit rle encode masks --out hand-in.csv`
    """
    from labkit.analysis.predictions import image_files
    from labkit.data.images import read_mask
    from labkit.data.rle import write_rle
    from labkit.files import check_targets

    files = image_files(masks)
    check_targets([out], files)
    typer.echo(f"{write_rle(out, ((path.stem, read_mask(path)[0]) for path in files))} masks in {out}")


@rle_app.command("decode")
def decode(
    table: Annotated[Path, typer.Argument(help="The CSV file.")],
    images: Annotated[list[Path], typer.Option(help="The images of the masks: files, a folder, a pattern.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks, 0 and 255.")],
) -> None:
    """Write each row of a CSV as a mask at its image's own size.

    Example: `labkit rle decode hand-in.csv --images pets/images --out masks`
    """
    from PIL import Image

    from labkit.analysis.predictions import image_files
    from labkit.data.rle import read_rle, rle_decode
    from labkit.files import check_targets, written_whole

    files = {path.stem: path for path in image_files(images)}
    rows = dict(read_rle(table))
    if unknown := [name for name in rows if name not in files]:
        raise LabError(f"{table}: {unknown[0]!r} is none of the images; its size is not known")
    check_targets((out / f"{name}.png" for name in rows), [table, *files.values()])
    for name, text in rows.items():
        with Image.open(files[name]) as image:
            width, height = image.size
        try:
            mask = rle_decode(text, (height, width))
        except LabError as error:
            raise LabError(f"{table}: {name}: {error}") from None
        with written_whole(out / f"{name}.png") as file:
            Image.fromarray(mask).convert("L").save(file, format="PNG")
    typer.echo(f"{len(rows)} masks in {out}")
