"""`labkit models` and `labkit recipe`: which networks and recipes there are, what they cost, what they say."""

import json
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from labkit.cli.shell import Device, bar
from labkit.errors import LabError

recipe_app = typer.Typer(help="The recipes that come with labkit, and every key of one.", no_args_is_help=True)


def models(
    networks: Annotated[list[str] | None, typer.Argument(help="As in `unet width=16`; default: all.")] = None,
    size: Annotated[int, typer.Option(min=16, help="Side of the image in pixels.")] = 128,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Count only, time nothing.")] = False,
    device: Device = "auto",
) -> None:
    """What networks cost for one image: parameters, multiply-adds, memory, and time.

    The default is every network with its defaults. Activations are what a training step keeps for the backward pass;
    times are of a forward pass in float32 and in the hardware's fast precision.

    Examples: `labkit models --size 256 --no-latency`;
    `labkit models unet "unet width=16" "report_resnet34_unet report=002 as_coded=true"`
    """
    import pandas as pd
    import torch

    from labkit.models import NETWORKS
    from labkit.training import choose_device, choose_precision

    where = choose_device(device)
    precisions = [] if no_latency else list(dict.fromkeys(["float32", choose_precision("auto", where)]))
    chosen = {label: _arguments(label) for label in networks or NETWORKS}
    rows, left_out = {}, {}
    for label, arguments in bar(chosen.items(), "measuring"):
        try:
            rows[label] = _costs(arguments, size, where, precisions)
        except LabError as error:
            left_out[label] = error
    if not rows:
        raise next(iter(left_out.values()))
    for label, error in left_out.items():
        typer.echo(f"left out: {label}: {error}", err=True)
    machine = f"{where.type.upper()} with {torch.get_num_threads()} threads; torch {torch.__version__}"
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="network")
    typer.echo(f"one image of {size}x{size} pixels; {machine}\n\n{table.to_string(float_format='%.2f')}")


def _arguments(label: str) -> dict[str, Any]:
    """`unet width=16` as arguments of `build_model`, checked as a recipe is."""
    from labkit.models import NETWORKS
    from labkit.training.recipe import checked

    name, *words = label.split()
    pairs = [word.partition("=") for word in words]
    if name not in NETWORKS or not all(equals and value for _, equals, value in pairs):
        raise LabError(f"found {label!r}; write 'unet width=16' with one of {', '.join(NETWORKS)}")
    given = {"model": {"name": name} | {key: value for key, _, value in pairs}}
    given |= {"data": {"target": "breed"}, "training": {"loss": "dice"}}  # they go with any number of classes
    return checked(given, label).model.model_dump()


def _costs(arguments: dict[str, Any], size: int, device: Any, precisions: list[str]) -> dict[str, float]:
    import torch

    from labkit.analysis import latency, network_costs
    from labkit.models import build_model

    with torch.device("cpu" if precisions else "meta"):  # counting needs no data
        model = build_model(**arguments)
    costs = network_costs(model, size)
    return {
        "parameters, M": costs.parameters / 1e6,
        "multiply-adds, G": costs.multiply_adds / 1e9,
        "weights, MB": costs.weight_bytes / 1e6,
        "activations, MiB": costs.activation_bytes / 2**20,
        **{f"{p}, ms": 1000 * latency(model.to(device), size, precision=p) for p in precisions},
    }


@recipe_app.command("list")
def list_recipes() -> None:
    """Name each recipe with its first line."""
    from labkit.training.recipe import RECIPES

    for path in sorted(RECIPES.glob("*.toml")):
        typer.echo(f"{path.stem:<36}{path.read_text(encoding='utf-8').partition(chr(10))[0].lstrip('# ')}")


@recipe_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")] = "default",
) -> None:
    """Print a recipe with every default written out and what each key means.

    Every key can be set from the command line: `labkit train NAME --set KEY=VALUE`.
    """
    from labkit.training import load_recipe
    from labkit.training.recipe import FILLED_IN

    recipe = load_recipe(name)
    for table in ("data", "model", "training"):
        for line in _lines(getattr(recipe, table), table, FILLED_IN):
            typer.echo(line)


def _lines(table: Any, path: str, left_out: tuple[str, ...]) -> list[str]:
    from pydantic import BaseModel

    lines, fields = [], type(table).model_fields
    for key, value in table:
        name = f"{path}.{key}"
        if isinstance(value, BaseModel):
            lines += _lines(value, name, left_out)
        elif name not in left_out and not (value is None and key in ("mean", "std")):
            note = " ".join((fields[key].description or "").split()) if key in fields else ""
            if key in fields and get_origin(fields[key].annotation) is Literal:
                note = f"one of {', '.join(map(str, get_args(fields[key].annotation)))}. {note}".strip()
            shown = "none" if value is None else json.dumps(value)  # which is TOML, too
            lines.append(f"{name} = {shown}" + (f"    # {note}" if note else ""))
    return lines
