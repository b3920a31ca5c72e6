"""`labkit models`."""

import json
from typing import Annotated, Any

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
}


def models(
    size: Annotated[int, typer.Option(min=16, help="Side of the image in pixels.")] = 128,
    only: Annotated[
        list[str] | None, typer.Option(help="Only networks whose name begins so (may be repeated).")
    ] = None,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Count only, time nothing.")] = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What every network and variant costs for one image: parameters, multiply-adds, memory, and time.

    Weights in float32; activations are what a training step keeps for the backward pass, weights apart; times
    are of one forward pass without gradients, in bfloat16 too where the hardware has it.

    Examples:

    `labkit models`; `labkit models --size 256 --no-latency`

    `labkit models --only unet --only "resnet34_unet lab" --json`
    """
    import torch

    from labkit.analysis import VARIANTS
    from labkit.training import choose_device, choose_precision

    labels = [label for label in VARIANTS if not only or label.startswith(tuple(only))]
    for name in only or []:
        if not any(label.startswith(name) for label in VARIANTS):
            raise LabError(f"--only: no network begins with {name!r}; they are {', '.join(VARIANTS)}")
    where = choose_device(device)
    fast = choose_precision("auto", where)
    precisions = [] if no_latency else list(dict.fromkeys(["float32", fast]))
    rows = [_row(label, size, where, precisions) for label in bar(labels, "measuring")]
    facts = {"size": size, "device": str(where), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if as_json:
        typer.echo(json.dumps({**facts, "networks": rows}, indent=2))
        return
    typer.echo(f"one image of {size}x{size} pixels; {where.type.upper()} with {facts['threads']} threads", nl=False)
    typer.echo(f"; torch {torch.__version__}\n")
    typer.echo(_table(rows))


def _row(label: str, size: int, device: Any, precisions: list[str]) -> dict[str, Any]:
    from labkit.analysis import VARIANTS, latency, network_costs
    from labkit.models import build_model

    model = build_model(**VARIANTS[label])
    costs = network_costs(model, size)
    row = {
        "network": label,
        "parameters": costs.parameters,
        "multiply_adds": costs.multiply_adds,
        "weights_mb": costs.weight_bytes / 1e6,
        "activation_mib": costs.activation_bytes / 2**20,
    }
    model.to(device)
    times = {f"{precision}_ms": 1000 * latency(model, size, precision=precision) for precision in precisions}
    return row | times


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
