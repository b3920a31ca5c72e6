"""A training of a tenth of a second, on which the checks of notebook 04 run a student's loop."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

SIDE = 8
SIZES = (4, 4, 1)
"""Of the batches: unequal, so that a mean over batches is not one over images."""


class Toy:
    """A network with batch norm, an optimizer with momentum, a schedule by step and three batches, all from a seed."""

    def __init__(self, seed: int):
        self.seed = seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 1)]
            self.model = nn.Sequential(*layers)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.2, momentum=0.9)
        self.schedule = LambdaLR(self.optimizer, _falling)
        self.batches = batches_of(seed, 1)

    def parts(self) -> dict:
        """What has a state, in the order in which a checkpoint is given it."""
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}

    def load(self, values: np.ndarray) -> None:
        """Give the network the numbers of `state`."""
        rest, kept = torch.from_numpy(values), {}
        for name, value in self.model.state_dict().items():
            kept[name], rest = rest[: value.numel()].view(value.shape).to(value.dtype), rest[value.numel() :]
        self.model.load_state_dict(kept)


def _falling(step: int) -> float:
    return 0.98**step  # not a lambda: a student may pickle the schedule, and is told of it


def batches_of(seed: int, epoch: int, inverted: bool = False) -> list[tuple[Tensor, Tensor]]:
    """Images `[B, 3, 8, 8]` and masks `int64 [B, 8, 8]`: bright squares, none in the last image of the first batch."""
    draw = torch.Generator().manual_seed(1000 * seed + epoch)
    found = []
    for number, size in enumerate(SIZES):
        masks = torch.zeros(size, SIDE, SIDE, dtype=torch.int64)
        for i in range(size):
            top, left, side = (int(torch.randint(1, 5, (), generator=draw)) for _ in range(3))
            masks[i, top : top + side, left : left + side] = 1
        if number == 0:
            masks[-1] = 0
        noise = torch.randn(size, 3, SIDE, SIDE, generator=draw)
        images = 0.7 * noise + 2.0 * masks[:, None]
        if number == 0:
            images[-1] = -3.0 + 0.01 * noise[-1]
        found.append((images, 1 - masks if inverted else masks))
    return found


SPRUNG: list[str] = []
"""Files whose foreign code was run."""


def spring(path: str) -> None:
    """Leave the note; a function of this module, so that a pickle can name it."""
    SPRUNG.append(path)


class Trap:
    """In a pickle: leaves a note in `SPRUNG` where it is read without `weights_only`."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        """What the one who unpickles it calls."""
        return spring, (str(self.path),)


def is_plain(path: Path) -> bool:
    """Whether a file holds numbers and text alone: a `weights_only` file of torch, safetensors, or JSON."""
    if path.suffix == ".safetensors":
        return True
    for read in (lambda: torch.load(path, weights_only=True), lambda: json.loads(path.read_text())):
        try:
            read()
        except Exception:  # whatever a pickle, or a file that is none, raises: it is not of this kind
            continue
        return True
    return False


def flat(model: nn.Module) -> np.ndarray:
    """All weights, `float64 [N]`."""
    return np.concatenate([p.detach().double().numpy().ravel() for p in model.parameters()])


def state(model: nn.Module) -> np.ndarray:
    """All weights and running statistics, `float64 [N]`."""
    return np.concatenate([value.detach().double().numpy().ravel() for value in model.state_dict().values()])


def dice_of(masks: Tensor, truths: Tensor) -> np.ndarray:
    """Dice of each image of `[B, ...]`, `float64 [B]`; 1 where both are empty. Probabilities give soft Dice."""
    p, t = masks.double().flatten(1), truths.double().flatten(1)
    both, total = (p * t).sum(1), p.sum(1) + t.sum(1)
    return torch.where(total > 0, 2 * both / total.clamp(min=1e-9), 1.0).numpy()
