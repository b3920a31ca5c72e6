"""The ways in which the benchmarks run a network: the reports', the lab's, and the lab's compiled."""

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from benchmarks import patch_unet  # noqa: F401 (`build_model` knows the network then)
from course.variants import VARIANTS
from labkit.analysis import Predictor
from labkit.models import build_model
from labkit.training import LOSSES, Recipe, build_optimizer, choose_precision, train_step
from labkit.training.loop import gradient_norm

SMP = "smp unet-resnet34"
NETWORKS = {
    "unet width 16": VARIANTS["unet width 16"],
    "unet width 32": VARIANTS["unet width 32"],
    "unet width 64": VARIANTS["unet width 64"],
    "resnet34_unet lab": VARIANTS["resnet34_unet lab"],
    "resnet34_unet unet": VARIANTS["resnet34_unet unet"],
    "attention_unet width 32": {"name": "attention_unet", "width": 32},
    "patch_unet": {"name": "patch_unet"},
}
"""What is measured by default; every other name of `VARIANTS` can be asked for."""


@dataclass(frozen=True)
class Way:
    """How a network is run."""

    precision: str
    memory_format: torch.memory_format
    optimizer: Callable[[nn.Module], Optimizer]
    mode: Literal["default", "reduce-overhead"] | None = None
    """Of torch.compile, `reduce-overhead` with CUDA graphs; None does not compile."""
    bookkeeping: bool = True
    """Whether a step also takes the gradient's norm, as the lab's loop does."""


def labs_optimizer(model: nn.Module) -> Optimizer:
    """What the lab's loop builds for Adam at 1e-3."""
    table = Recipe().changed(training={"optimizer": "adam", "learning_rate": 1e-3}).training
    return build_optimizer(model, table)


def ways(device: torch.device, compiled: bool = False, graphs: bool = False) -> dict[str, Way]:
    """The ways by name; `reports` is float32 in PyTorch's defaults, as all five reports train."""
    precision = choose_precision("auto", device)
    found = {
        "reports": Way("float32", torch.contiguous_format, lambda m: Adam(m.parameters(), lr=1e-3), bookkeeping=False),
        "labkit": Way(precision, torch.channels_last, labs_optimizer),
    }
    if compiled:
        found["compiled"] = Way(precision, torch.channels_last, labs_optimizer, mode="default")
    if graphs:
        found["cuda graphs"] = Way(precision, torch.channels_last, labs_optimizer, mode="reduce-overhead")
    return found


def has_smp() -> bool:
    """Whether the library to compare with is installed (`pip install -e '.[bench]'`)."""
    return importlib.util.find_spec("segmentation_models_pytorch") is not None


def network(label: str) -> nn.Module:
    """A network by its name in `NETWORKS` or `VARIANTS`, or the library's Unet on a ResNet34 without weights."""
    torch.manual_seed(0)
    if label == SMP:
        import segmentation_models_pytorch  # an extra that is not installed by default

        return segmentation_models_pytorch.Unet("resnet34", encoder_weights=None, in_channels=3, classes=1)
    return build_model(**(NETWORKS | VARIANTS)[label])


def placed(model: nn.Module, way: Way, device: torch.device) -> nn.Module:
    """A copy on the device in the way's memory format, compiled where the way says so."""
    model = copy.deepcopy(model).to(device, memory_format=way.memory_format)
    return torch.compile(model, dynamic=False, mode=way.mode) if way.mode else model


def random_images(batch: int, size: int, way: Way, device: torch.device) -> Tensor:
    """Images `float32 [B, 3, S, S]` in the way's memory format."""
    return torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=way.memory_format)


def training(model: nn.Module, way: Way, batch: int, size: int, device: torch.device) -> Callable[[], Tensor]:
    """One whole training step: forward, loss, backward, optimizer; returns the loss."""
    images = random_images(batch, size, way, device)
    with torch.no_grad():
        logits = copy.deepcopy(model).to(device)(images[:2])
    loss = LOSSES["bce+dice" if logits.shape[1] == 1 else "cross-entropy"]
    masks = torch.randint(0, 2, (batch, *logits.shape[-2:]), device=device)
    called = placed(model, way, device).train()
    optimizer = way.optimizer(called)

    def step() -> Tensor:
        if way.mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        value, _ = train_step(called, images, masks, loss, way.precision)
        if way.bookkeeping:
            gradient_norm(called)
        optimizer.step()
        optimizer.zero_grad()
        return value

    return step


def inference(model: nn.Module, way: Way, batch: int, size: int, device: torch.device) -> Callable[[], Tensor]:
    """One forward pass without gradients; returns the logits in float32."""
    images = random_images(batch, size, way, device)
    called = placed(model, way, device).eval()
    if way.mode is None and way.memory_format == torch.channels_last:
        predictor = Predictor(Recipe(), called, device, way.precision)
        return lambda: predictor.logits(images)

    @torch.no_grad()
    def forward() -> Tensor:
        if way.mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device.type, torch.bfloat16, enabled=way.precision == "bfloat16"):
            return called(images).float()

    return forward
