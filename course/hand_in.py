"""The command `course handin`: the masks of lists of images as run lengths, and the text that goes with them."""

import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from labkit.cli.shell import Data, Device, bar
from labkit.errors import LabError, some_of
from labkit.files import check_targets, is_ours, write_text

if TYPE_CHECKING:
    import numpy as np

    from labkit.analysis import Predictor
    from labkit.data import Pets
    from labkit.training import Run

MOST_CHARACTERS = 2000
"""Of the summary, spaces and line ends included."""
STRICT = "foreground_strict"
DRAFT = "DRAFT, from the runs' own files; write your own text in its place."


class Listed(NamedTuple):
    """A list of images to be handed in."""

    path: Path
    names: list[str]
    """Each once, in the list's order."""
    missing: list[str]
    """Those without an image."""


def handin(
    run: Annotated[str, typer.Argument(help="A run folder, or a weights file.")],
    lists: Annotated[list[Path], typer.Option(help="A text file of image names, one a line (may be repeated).")],
    out: Annotated[Path, typer.Option(help="The folder for LIST.csv of each list, and summary.txt.")],
    data: Data = "pets",
    summary: Annotated[Path | None, typer.Option(help="Your text; default: summary.txt in --out, or a draft.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability above which a pixel is pet.")] = 0.5,
    device: Device = "auto",
) -> None:
    """Write what the lab of 2026 wants: for each list a CSV `image_id,encoded_mask`, and a summary.

    A mask has its image's own size; its runs go down the columns and count from 1. Names without an image get no row:
    they are counted, named, and written to `LIST-without-image.txt`. The summary may have 2,000 characters; where
    there is none yet, a draft says what the run's own files say, and is yours from the first change on.

    Examples:

    `course handin runs/unet --lists test_unet.txt --data pets --out hand-in`;
    `course handin runs/resnet --lists test_res_unet.txt --data pets --out hand-in --summary summary.txt`
    """
    from labkit.analysis import load_predictor, open_run
    from labkit.data import open_pets
    from labkit.data.rle import write_rle

    opened, pets = open_run(run), open_pets(data)
    if opened.recipe.model.classes > 2:
        raise LabError("course handin: run lengths hold one foreground, and this network tells several classes apart")
    listed = [_read(path, pets.folder / "images") for path in lists]
    text = _summary(summary, out, opened, threshold)
    targets = [target for one in listed for target in _targets(out, one)]
    check_targets([*targets, *([out / "summary.txt"] if text is not None else [])], lists)
    _warn(opened, pets, listed)
    predictor, failed = load_predictor(opened, device), []
    for one in listed:
        table, without = _targets(out, one)
        present = [name for name in one.names if name not in set(one.missing)]
        empty: list[str] = []
        masks = _masks(predictor, pets, bar(present, one.path.stem), threshold, empty, failed)
        typer.echo(f"{table}: {write_rle(table, masks)} masks for {len(one.names)} names")
        if one.missing:
            write_text(without, "\n".join(one.missing) + "\n")
            told = f"  without an image, left out: {len(one.missing)} ({some_of(one.missing, 30)}); all in {without}"
            typer.echo(told)
        elif is_ours(without):
            without.unlink()
        if empty:
            typer.echo(f"  empty masks: {len(empty)} ({some_of(empty, 30)})")
    if text is not None:
        write_text(out / "summary.txt", text)
    number = len((out / "summary.txt").read_text(encoding="utf-8"))
    typer.echo(f"{out / 'summary.txt'}: {number:,} of at most {MOST_CHARACTERS:,} characters")
    for sentence in failed:
        typer.echo(f"failed: {sentence}", err=True)
    if failed:
        raise LabError(f"{len(failed)} images could not be read and have no row, named above")


def _targets(out: Path, one: Listed) -> list[Path]:
    return [out / f"{one.path.stem}.csv", out / f"{one.path.stem}-without-image.txt"]


def _read(path: Path, images: Path) -> Listed:
    from labkit.data.lists import read_names

    if not path.is_file():
        raise LabError(f"{path}: no such list; --lists names a text file with the name of an image on each line")
    read = read_names(path)
    names = list(dict.fromkeys(read))
    if not names:
        raise LabError(f"{path}: no name stands there")
    if len(names) < len(read):
        twice = sorted({name for name in read if read.count(name) > 1})
        warnings.warn(f"{path}: {some_of(twice, 30)} more than once; each gets one row", stacklevel=3)
    if strange := [name for name in names if Path(name).name != name]:
        raise LabError(f"{path}: {strange[0]!r} is no name of an image; write names without folders")
    missing = [name for name in names if not (images / f"{name}.jpg").is_file()]
    if len(missing) == len(names):
        raise LabError(f"{path}: none of its {len(names)} names has an image in {images}; --data names the data")
    return Listed(path, names, missing)


def _masks(
    predictor: "Predictor", pets: "Pets", names: Iterable[str], threshold: float, empty: list[str], failed: list[str]
) -> Iterator[tuple[str, "np.ndarray"]]:
    """Names and masks; names of empty masks, and a sentence for each file that is no image, go into the two lists."""
    from labkit.data import read_image
    from labkit.metrics import predicted_mask

    for name in names:
        trimap = pets.folder / "annotations" / "trimaps" / f"{name}.png"
        try:
            image = read_image(pets.folder / "images" / f"{name}.jpg", trimap if trimap.is_file() else None)
        except LabError as error:
            failed.append(str(error))
            continue
        mask = predicted_mask(predictor.image_logits(image)[None], threshold)[0].byte().cpu().numpy()
        if not mask.any():
            empty.append(name)
        yield name, mask


def _warn(run: "Run", pets: "Pets", listed: list[Listed]) -> None:
    """Say what would make the hand-in's score mean something else."""
    warn = partial(warnings.warn, stacklevel=3)
    if run.recipe.data.target != STRICT:
        warn(f"{run.name} was trained on the target {run.recipe.data.target!r}; the lab of 2026 scores {STRICT!r}")
    family = run.recipe.data.split
    if family not in pets.families():
        warn(f"{pets.label} has no split {family!r}, so whether {run.name} was trained on these images is not known")
        return
    trained = set(pets.parts(family).get("train", ()))
    same = pets.split_fingerprint(family) == run.recipe.data.split_fingerprint
    more = "" if same else "; these data's lists are not those of its training, so the number may be another"
    for one in listed:
        if seen := [name for name in one.names if name in trained and name not in one.missing]:
            warn(
                f"{one.path}: {len(seen)} of its names are training images of {run.name} (split {family!r}: "
                f"{some_of(seen)}), whose masks are better than those of new images{more}"
            )


def _summary(given: Path | None, out: Path, run: "Run", threshold: float) -> str | None:
    """What is to be written to `summary.txt`; None where the user's own text lies there. It is counted."""
    target, text = out / "summary.txt", None
    source = given or target
    if given is not None and not given.is_file():
        raise LabError(f"{given}: no such file; --summary names your text")
    if source.is_file():
        text = source.read_text(encoding="utf-8-sig", errors="replace")
    mine = given is None and (text is None or (is_ours(target) and text.startswith(DRAFT)))
    if mine:
        before = (text or DRAFT).strip().split("\n\n")
        others = [paragraph for paragraph in before if not paragraph.startswith(f"{run.name}: ")]
        text = "\n\n".join([*others, draft(run, threshold)]) + "\n"
    if len(text) > MOST_CHARACTERS:
        raise LabError(
            f"{source}: {len(text):,} characters, spaces and line ends included; at most {MOST_CHARACTERS:,} are "
            "taken, so cut it"
        )
    same = given is not None and target.exists() and given.resolve() == target.resolve()
    return text if (mine or given is not None) and not same else None


def draft(run: "Run", threshold: float) -> str:
    """A paragraph that says what the run's own files say, at most 900 characters, so that two fit."""
    from course.run_facts import data_facts, network_facts, training_facts

    facts = network_facts(run) | data_facts(run) | training_facts(run)
    told = "; ".join(f"{key} {value}" for key, value in facts.items() if key != "split")
    how = f"Masks: logits brought to each image's own size, cut at {threshold:g}."
    return f"{run.name}: {told}"[: 900 - len(how) - 2] + f". {how}"
