"""Networks and steps with one thing changed, for `benchmarks.attempts`."""

import contextlib
import copy
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from benchmarks.timing import Side
from benchmarks.ways import Way, inference, labs_optimizer, network, random_images, training, ways
from labkit.models import CBAM, DoubleConv, UNet
from labkit.training import LOSSES, autocast
from labkit.training.hardware import keep_freed_memory


class NotHere(Exception):
    """This change cannot be tried on this machine; the message says why."""


@dataclass(frozen=True)
class Setting:
    """Where a change is tried."""

    size: int
    batch: int
    device: torch.device
    label: str = "unet width 32"

    def way(self, **changes: Any) -> Way:
        """The lab's way, with something else in it."""
        return replace(ways(self.device)["labkit"], **changes)

    def training(self, model: nn.Module | None = None, **changes: Any) -> Side:
        """A step of the lab's loop, with another network or another way."""
        return training(model or network(self.label), self.way(**changes), self.batch, self.size, self.device)

    def inference(self, model: nn.Module | None = None, **changes: Any) -> Side:
        """A pass without gradients, as the lab predicts."""
        return inference(model or network(self.label), self.way(**changes), self.batch, self.size, self.device)


class SplitUNet(UNet):
    """A UNet that never concatenates: the kernel is split instead, one half for the skip and one for what comes up."""

    def forward(self, x: Tensor) -> Tensor:
        skips, x = self.encode(x)
        for up, stage in zip(self.ups, self.decoder, strict=True):
            skip, x = skips.pop(), up(x)
            first, *others = stage
            of_skip, of_x = first.weight.split([skip.shape[1], x.shape[1]], dim=1)
            x = F.conv2d(skip, of_skip, padding=1) + F.conv2d(x, of_x, padding=1)
            for layer in others:
                x = layer(x)
        return self.head(x)


class PlainCBAM(CBAM):
    """CBAM written down as the formula reads, by `mean` and `amax` over channels-first dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        average, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self.channel(average) + self.channel(largest))
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.spatial(summary))


def split_concatenation() -> UNet:
    model = SplitUNet(width=32)
    model.load_state_dict(network("unet width 32").state_dict())
    return model


def plain_cbam() -> nn.Module:
    model = network("resnet34_unet lab")
    for stage in model.decoder.stages:
        cbam = PlainCBAM(32)
        cbam.load_state_dict(stage.cbam.state_dict())
        stage.cbam = cbam
    return model


def relu_apart(model: nn.Module) -> nn.Module:
    """The network with ReLUs that keep their input."""
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def compiled_norms(model: nn.Module) -> nn.Module:
    """The network with each batch norm and its ReLU as one compiled function."""
    # each width is compiled anew; beyond the limit torch would silently not compile
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    for stage in [module for module in model.modules() if isinstance(module, DoubleConv)]:
        for place in (1, 4):
            stage[place] = torch.compile(nn.Sequential(stage[place], stage[place + 1]), dynamic=True)
            stage[place + 1] = nn.Identity()
    return model


def own_step(setting: Setting, **changes: Any) -> Side:
    """A step written out, for changes inside it: `cache` of autocast's casts, `set_to_none`, `ask` for the loss."""
    way, device = setting.way(), setting.device
    model = network(setting.label).to(device, memory_format=torch.channels_last).train()
    optimizer, loss = labs_optimizer(model), LOSSES["bce+dice"]
    images = random_images(setting.batch, setting.size, way, device)
    masks = torch.randint(0, 2, (setting.batch, setting.size, setting.size), device=device)

    def step() -> None:
        enabled, cache = way.precision == "bfloat16", changes.get("cache", True)
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=cache):
            logits = model(images)
        value = loss(logits, masks)
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=changes.get("set_to_none", True))
        if changes.get("ask"):
            value.item()

    return step


def bfloat16_weights(setting: Setting) -> Side:
    """A step with a network in bfloat16 whose float32 weights the optimizer keeps beside it."""
    device, loss = setting.device, LOSSES["bce+dice"]
    masters = network(setting.label).to(device)
    model = copy.deepcopy(masters).to(torch.bfloat16, memory_format=torch.channels_last).train()
    optimizer = labs_optimizer(masters)
    kept, used = list(masters.parameters()), list(model.parameters())
    images = random_images(setting.batch, setting.size, setting.way(), device).bfloat16()
    masks = torch.randint(0, 2, (setting.batch, setting.size, setting.size), device=device)

    def step() -> None:
        loss(model(images), masks).backward()
        for master, weight in zip(kept, used, strict=True):
            master.grad, weight.grad = weight.grad.float(), None
        optimizer.step()
        with torch.no_grad():
            for master, weight in zip(kept, used, strict=True):
                weight.copy_(master)

    return step


def optimizer_step(setting: Setting, build: Callable[[nn.Module], torch.optim.Optimizer]) -> Side:
    """The optimizer's step alone, with gradients that stay."""
    model = network(setting.label).to(setting.device, memory_format=torch.channels_last)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer = build(model)
    return optimizer.step


def adam(**how: bool) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: Adam(model.parameters(), lr=1e-3, **how)


def inside(context: Callable[[], contextlib.AbstractContextManager], side: Side) -> Side:
    """A side that is called inside a context."""

    def call() -> object:
        with context():
            return side()

    return call


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def bfloat16_inside() -> Iterator[None]:
    """oneDNN computes float32 convolutions in bfloat16 inside, and all tensors stay float32."""
    conv = torch.backends.mkldnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "bf16"
    try:
        yield
    finally:
        conv.fp32_precision = before


def onednn_bfloat16(setting: Setting) -> Side:
    if setting.device.type != "cpu" or not hasattr(torch.backends.mkldnn, "conv"):
        raise NotHere("this is for CPUs and a torch that can be told so")
    return inside(bfloat16_inside, setting.training(precision="float32"))


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """glibc keeps what is freed, as in `fit`; afterwards a fixed threshold of 128 KiB.

    That is glibc's first threshold, which by default it moves up as large blocks are freed: once it has been told
    a value it does so no more, so that the other side may pay a little more here than in a fresh process.
    """
    if not keep_freed_memory(torch.device("cpu")):
        raise NotHere("this C library has no such switch")
    try:
        yield
    finally:
        library = ctypes.CDLL(None)
        library.mallopt(-4, 65_536)  # M_MMAP_MAX
        library.mallopt(-1, 128 * 1024)  # M_TRIM_THRESHOLD
        library.malloc_trim(0)


def six_steps(setting: Setting) -> Side:
    """Six steps a call: the first of them has to get the memory that the others keep."""
    step = setting.training()

    def call() -> None:
        for _ in range(6):
            step()

    return call


def freed_memory(setting: Setting) -> Side:
    if setting.device.type != "cpu":
        raise NotHere("this is for CPUs")
    return inside(freed_memory_kept, six_steps(setting))


def threads(setting: Setting) -> Side:
    if setting.device.type != "cpu" or torch.get_num_threads() == 1:
        raise NotHere("there is one thread only, or a GPU")
    return inside(one_thread, setting.training())


def inference_mode(setting: Setting) -> Side:
    model = network(setting.label).to(setting.device, memory_format=torch.channels_last).eval()
    way = setting.way()
    images = random_images(setting.batch, setting.size, way, setting.device)

    def forward() -> Tensor:
        with torch.inference_mode(), autocast(setting.device, way.precision):
            return model(images).float()

    return forward
