"""What a run says of itself, in words: its network, preprocessing and training, for the report and the hand-in."""

from typing import Any

import pandas as pd

from labkit.data import TARGETS, Augment
from labkit.errors import LabError
from labkit.training import Run

NAMES = {"unet": "UNet", "resnet34_unet": "ResNet34-UNet", "attention_unet": "Attention UNet"}


def network_name(run: Run) -> str:
    """The network as reports write it."""
    return NAMES.get(run.recipe.model.name, run.recipe.model.name)


def network_facts(run: Run) -> dict[str, str]:
    """The network with its arguments and its number of parameters."""
    arguments = {k: v for k, v in run.recipe.model.model_dump().items() if k != "name"}
    parameters = sum(p.numel() for p in run.model().parameters())
    return {"network": f"{network_name(run)} ({_listed(arguments)})", "parameters": f"{parameters:,}"}


def data_facts(run: Run) -> dict[str, str]:
    """What the images and masks went through before the network saw them."""
    data = run.recipe.data
    found = {"split": data.split, "training images": str(data.train_images or "all")}
    found |= {"target": f"{data.target}: {TARGETS[data.target].meaning}"}
    found |= {"input": f"{data.image_size} x {data.image_size} pixels"}
    scale = f", mean {_rounded(data.mean)}, deviation {_rounded(data.std)}" if data.mean and data.std else ""
    found |= {"normalization": data.normalize + scale}
    usual = Augment().model_dump()
    chosen = {k: v for k, v in data.augment.model_dump().items() if v != usual[k]}
    return found | {"augmentation": _listed(chosen) or "none"}


def training_facts(run: Run) -> dict[str, str]:
    """How it was trained, and which epoch was kept."""
    table = run.recipe.training
    found = {"loss": table.loss, "optimizer": f"{table.optimizer}, weight decay {table.weight_decay:g}"}
    found |= {"learning rate": f"{table.learning_rate:g}, {table.schedule}"}
    found |= {"epochs": str(table.epochs), "batch size": str(table.batch_size * table.accumulate)}
    grown = ", ".join(f"{size} ({_plain(part)})" for size, part in table.sizes)  # each with its share of the epochs
    more = {"sizes": grown, "ema": table.ema, "patience": table.patience, "faults": table.faults}
    found |= {"further settings": _listed({k: v for k, v in more.items() if v}) or "none"}
    found |= {"seed": str(table.seed), "precision and device": f"{table.precision} on {table.device}"}
    history = history_of(run)
    if history is not None:
        best = history.loc[history["valid_dice"].idxmax()]
        found |= {"time": f"{history['seconds'].sum() / 60:.1f} minutes, validation included"}
        found |= {"kept": f"epoch {best['epoch']:.0f} of {len(history)}, validation Dice {best['valid_dice']:.4f}"}
    return found


def history_of(run: Run) -> pd.DataFrame | None:
    """The run's epochs; None for a weights file without them."""
    try:
        return run.history()
    except LabError:
        return None


def train_command(run: Run, data: str) -> str:
    """The command that trains such a run again."""
    path = run.path / "recipe.toml"
    recipe = path if path.is_file() else "RECIPE"
    return f"labkit train {recipe} --data {data} --run-dir {run.path}-again"


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in values.items())


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "/".join(_plain(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rounded(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"
