"""The run folder: everything that a training leaves, and everything that is read of it later."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from labkit import __version__
from labkit.errors import LabError
from labkit.files import home, write_text, written_whole
from labkit.models import build_model
from labkit.training.recipe import Recipe, parse_recipe
from labkit.training.starting import refuse_not_finite, start_from

HISTORY = ("epoch", "seconds", "images_per_second", "learning_rate")
HISTORY += ("train_loss", "valid_loss", "valid_dice", "valid_iou")
"""The columns of `history.csv`, one row an epoch."""


@dataclass(frozen=True)
class Run:
    """A trained network and how it was made, from a run folder or from a weights file alone."""

    path: Path
    weights: Path
    recipe: Recipe
    facts: dict[str, str] = field(repr=False)  # what else the file says: epoch, validation Dice, perhaps the history

    @property
    def is_folder(self) -> bool:
        """Whether there is a folder in which evaluations can be kept."""
        return self.path.is_dir()

    @property
    def name(self) -> str:
        """The folder's or file's name."""
        return self.path.resolve().name if self.is_folder else self.path.stem

    def model(self, device: str | torch.device = "cpu") -> nn.Module:
        """The network with its best weights as float32, in evaluation mode; a `LabError` if they do not fit it."""
        model = empty_network(self.recipe)
        with _open_safetensors(self.weights) as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
        refuse_not_finite(self.weights, state, "train at a lower rate")
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            name = self.recipe.model.name
            raise LabError(f"{self.weights}: the weights are of another network than {name} ({error})") from None
        return model.to(device).eval()

    def history(self) -> pd.DataFrame:
        """One row an epoch, with the columns `HISTORY`; a weights file alone may carry it, too."""
        path = self.path / "history.csv"
        if not path.is_file() and "history" not in self.facts:
            raise LabError(f"{self.path}: no history.csv there; name the folder of a run that was trained here")
        try:
            return pd.read_csv(path if path.is_file() else io.StringIO(self.facts["history"]))[list(HISTORY)]
        except (ValueError, KeyError) as error:  # pandas' own errors are of these kinds
            raise LabError(f"{path}: the table is damaged ({error}); train anew") from None


def build_network(recipe: Recipe) -> nn.Module:
    """The network that a resolved recipe describes, as a training begins with it."""
    model = build_model(**recipe.model.model_dump())
    return start_from(model, recipe.training.weights) if recipe.training.weights else model


def empty_network(recipe: Recipe) -> nn.Module:
    """The same network for weights that are loaded into it: ImageNet's are not fetched only to be replaced."""
    arguments = recipe.model.model_dump()
    return build_model(**arguments | ({"pretrained": False} if "pretrained" in arguments else {}))


def open_run(path: str | Path) -> Run:
    """Open a run folder, or a weights file whose metadata carry the recipe; a `LabError` if it is damaged or none."""
    path = Path(path).expanduser()
    weights = path / "best.safetensors" if path.is_dir() else path
    if not weights.is_file():
        kept = "no best.safetensors there; train first, without the fault best-from-0.7 if the run has it"
        what = kept if path.is_dir() else "no such run folder or weights file"
        raise LabError(f"{path}: {what} (`labkit train RECIPE --run-dir {path}`)")
    with _open_safetensors(weights) as file:
        metadata = file.metadata() or {}
    if "recipe" not in metadata:
        raise LabError(f"{weights}: the file carries no recipe; take one that `labkit train` wrote")
    return Run(path, weights, parse_recipe(metadata["recipe"], f"{weights} (its recipe)"), metadata)


def save_weights(
    path: Path, model: nn.Module, recipe: Recipe, dtype: torch.dtype = torch.float32, **facts: Any
) -> None:
    """Write weights as safetensors with recipe and facts in the metadata; a `LabError` where they are not finite."""
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    refuse_not_finite(path, state, "train at a lower rate")
    metadata = {"format": "pt", "labkit": __version__, "recipe": recipe.toml()} | {k: str(v) for k, v in facts.items()}
    with written_whole(path) as file:
        file.write(save(state, metadata))


def committed_weights(name: str) -> Path:
    """A network that comes with the lab: `weights/<name>.safetensors`."""
    path = home() / "weights" / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors"))) or "none"
        raise LabError(f"no committed weights {name!r}; there are {known}")
    return path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write what a training needs to go on, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with written_whole(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; with `weights_only`, so that the file cannot run code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a cut or foreign file
        kind = type(error).__name__
        raise LabError(f"{path}: the checkpoint is damaged or no checkpoint ({kind}); start anew") from None
    if not isinstance(state, dict) or not {"recipe", "history"} <= state.keys():
        raise LabError(f"{path}: the checkpoint is not one of a training here; start anew")
    return state


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def _open_safetensors(weights: Path):
    try:
        return safe_open(weights, framework="pt")
    except (SafetensorError, OSError) as error:
        how = "name the run folder or its best.safetensors"
        raise LabError(f"{weights}: the weights file is damaged or no safetensors file ({error}); {how}") from None
