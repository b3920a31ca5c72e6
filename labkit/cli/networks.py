"""`labkit models`."""

import inspect
import json
from typing import Annotated, Any, get_args

import typer

from labkit.cli.shell import Device, bar
from labkit.errors import LabError

HEADS = {
    "network": "network",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "weights_mb": "weights MB",
    "activation_mib": "activations MiB",
    "float32_ms": "float32 ms",
    "bfloat16_ms": "bfloat16 ms",
    "float16_ms": "float16 ms",
}


def models(
    networks: Annotated[
        list[str] | None,
        typer.Argument(help="Networks and what differs from their defaults, as in `unet width=16`; left out: all."),
    ] = None,
    size: Annotated[int, typer.Option(min=16, help="Side of the image in pixels.")] = 128,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Count only, time nothing.")] = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What networks cost for one image: parameters, multiply-adds, memory, and time.

    Left to itself, it lists every network with its defaults and with each other choice that it offers. Weights in
    float32; activations are what a training step keeps for the backward pass, weights apart; times are of one forward
    pass without gradients, in the hardware's fast precision too.

    Examples:

    `labkit models`; `labkit models --size 256 --no-latency`

    `labkit models unet "unet width=16" "report_resnet34_unet report=002 as_coded=true" --json`
    """
    import torch

    from labkit.training import choose_device, choose_precision

    where = choose_device(device)
    fast = choose_precision("auto", where)
    precisions = [] if no_latency else list(dict.fromkeys(["float32", fast]))
    chosen = {label: _arguments(label) for label in networks or _choices()}
    rows, refused = [], []
    for label in bar(list(chosen), "measuring"):
        try:
            rows.append(_row(label, chosen[label], size, where, precisions))
        except LabError as error:
            if networks:
                raise
            refused.append(f"{label}: {error}")
    facts = {"size": size, "device": str(where), "threads": torch.get_num_threads(), "torch": torch.__version__}
    for reason in refused:
        typer.echo(f"left out: {reason}", err=True)
    if as_json:
        typer.echo(json.dumps({**facts, "networks": rows}, indent=2))
        return
    typer.echo(f"one image of {size}x{size} pixels; {where.type.upper()} with {facts['threads']} threads", nl=False)
    typer.echo(f"; torch {torch.__version__}\n")
    typer.echo(_table(rows))


def _choices() -> list[str]:
    """Every network, and after it every other choice of an argument that names its choices: `unet up=bilinear`."""
    from labkit.models import NETWORKS

    labels = []
    for name, network in NETWORKS.items():
        labels.append(name)
        for parameter in inspect.signature(network).parameters.values():
            others = [choice for choice in get_args(parameter.annotation) if choice != parameter.default]
            labels += [f"{name} {parameter.name}={choice}" for choice in others if isinstance(choice, str)]
    return labels


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


def _row(label: str, arguments: dict[str, Any], size: int, device: Any, precisions: list[str]) -> dict[str, Any]:
    import torch

    from labkit.analysis import latency, network_costs
    from labkit.models import build_model

    with torch.device("cpu" if precisions else "meta"):  # counting needs no data
        model = build_model(**arguments)
    costs = network_costs(model, size)
    row = {
        "network": label,
        "parameters": costs.parameters,
        "multiply_adds": costs.multiply_adds,
        "weights_mb": costs.weight_bytes / 1e6,
        "activation_mib": costs.activation_bytes / 2**20,
    }
    for precision in precisions:
        row[f"{precision}_ms"] = 1000 * latency(model.to(device), size, precision=precision)
    return row


def _table(rows: list[dict[str, Any]]) -> str:
    """Right-aligned columns under their heads; large counts in millions (M) and thousand millions (G)."""
    shown = {
        "parameters": lambda n: f"{n / 1e6:.2f} M",
        "multiply_adds": lambda n: f"{n / 1e9:.2f} G",
    }
    cells = [[HEADS[key] for key in rows[0]]]
    cells += [[str(shown.get(key, _rounded)(value)) for key, value in row.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for name, *values in cells:
        numbers = (value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *numbers]))
    return "\n".join(lines)


def _rounded(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
