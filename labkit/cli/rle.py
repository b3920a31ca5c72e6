"""`labkit rle`: masks as run lengths, and back."""

from pathlib import Path
from typing import Annotated

import typer

rle_app = typer.Typer(help="Masks as run lengths in a CSV (`image_id,encoded_mask`), and back.", no_args_is_help=True)


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
    images: Annotated[
        list[Path], typer.Option(help="The images whose sizes the masks have: files, a folder, a pattern.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the masks, 0 and 255.")],
) -> None:
    """Write each row of a CSV as a mask at its image's own size.

    Example: `labkit rle decode hand-in.csv --images pets/images --out masks`
    """
    from PIL import Image

    from labkit.analysis.predictions import image_files
    from labkit.data.rle import read_rle, rle_decode
    from labkit.errors import LabError
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
