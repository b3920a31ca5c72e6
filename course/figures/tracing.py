"""One forward pass of a network, written down operation by operation: what came from what, and in which shape."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from labkit.errors import LabError


@dataclass(frozen=True)
class Step:
    """One tensor of a forward pass and the operation that made it.

    Attributes:
        name: of the torch function, such as `conv2d`; `input` for the image.
        inputs: numbers of the earlier steps that it was computed from.
        shape: of the tensor.
        kernel: side of a convolution's kernel, else 0.
        stride: of a convolution, or the step of a slice, else 1.
        depthwise: a convolution of each channel by itself.
        mode: of a padding or an interpolation, such as `reflect`.
    """

    name: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    kernel: int = 0
    stride: int = 1
    depthwise: bool = False
    mode: str = ""

    @property
    def is_convolution(self) -> bool:
        return self.name in ("conv2d", "conv_transpose2d")

    @property
    def map(self) -> tuple[int, int] | None:
        """(channels, side) of a square feature map `[1, C, S, S]` or, in transformers, `[1, S, S, C]`; else None."""
        if len(self.shape) != 4 or self.shape[0] != 1:
            return None
        _, first, second, third = self.shape
        if second == third:
            return first, second
        return (third, first) if first == second else None


@dataclass(frozen=True)
class Trace:
    """The steps of a forward pass in the order of execution, from the image (0) to the output (the last one)."""

    steps: Sequence[Step]
    multiply_adds: int


class _Recorder(TorchFunctionMode):
    """Notes every torch function whose result depends on `image`."""

    def __init__(self, image: Tensor):
        super().__init__()
        self.steps = [Step("input", (), tuple(image.shape))]
        self.made_by = {id(image): 0}  # the latest step that wrote a tensor: in-place functions come by twice
        self.alive = [image]  # an id is a tensor's own only as long as the tensor lives

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        name = {"iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul"}.get(name, name)
        inputs = tuple(
            dict.fromkeys(
                self.made_by[id(x)] for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and self.knows(x)
            )
        )
        if inputs:
            written = args[0] if name == "setitem" else result
            for tensor in tree_leaves(written):
                if isinstance(tensor, Tensor):
                    self.alive.append(tensor)
                    self.made_by[id(tensor)] = len(self.steps)
                    self.steps.append(Step(name, inputs, tuple(tensor.shape), **_details(name, args, kwargs)))
        return result

    def knows(self, tensor: Tensor) -> bool:
        return id(tensor) in self.made_by


def _details(name: str, args: tuple, kwargs: dict) -> dict[str, Any]:
    def argument(place: int, key: str, default: Any) -> Any:
        return args[place] if len(args) > place else kwargs.get(key, default)

    if name in ("conv2d", "conv_transpose2d"):
        weight, stride = argument(1, "weight", None), argument(3, "stride", 1)
        groups = argument(6, "groups", 1)  # the same place in both functions
        stride = stride if isinstance(stride, int) else stride[0]
        return {"kernel": weight.shape[-1], "stride": stride, "depthwise": groups > 1 and weight.shape[1] == 1}
    if name == "pad":
        return {"mode": argument(2, "mode", "constant")}
    if name == "interpolate":
        return {"mode": argument(3, "mode", "nearest")}
    if name == "getitem":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return {"stride": max((part.step or 1 for part in index if isinstance(part, slice)), default=1)}
    return {}


def trace(model: nn.Module, size: int, in_channels: int = 3) -> Trace:
    """Send one image `[1, in_channels, size, size]` through a network in evaluation mode and note every step.

    The pass runs on the `meta` device, which computes shapes without numbers; where an operation does not know that
    device, it runs with zeros on the model's own. The model is left as it was.

    Raises:
        LabError: the network does not take such an image, or gives something else than a square map.
    """
    with _evaluation(model), torch.no_grad():
        try:
            result = _record(model, torch.empty(1, in_channels, size, size, device="meta"))
        except LabError:
            raise
        except (RuntimeError, NotImplementedError):
            result = None
        if result is None:  # outside of the handler, so that an error below tells of itself alone
            device = next((p.device for p in model.parameters()), torch.device("cpu"))
            try:
                result = _record(model, torch.zeros(1, in_channels, size, size, device=device))
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise LabError(
                    f"{type(model).__name__} does not take an image of {in_channels} channels and {size}x{size} pixels "
                    f"({reason}); give architecture() another size or in_channels"
                ) from None
    return result


def _record(model: nn.Module, image: Tensor) -> Trace:
    state = {}
    if image.is_meta:
        tensors = (*model.named_parameters(), *model.named_buffers())
        state = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    recorder = _Recorder(image)
    with FlopCounterMode(display=False) as counter, recorder:
        output = functional_call(model, state, (image,))
    results = [tensor for tensor in tree_leaves(output) if isinstance(tensor, Tensor) and recorder.knows(tensor)]
    last = recorder.made_by[id(results[0])] if results else 0
    if last == 0 or recorder.steps[last].map is None:
        found = [tuple(tensor.shape) for tensor in results]
        raise LabError(
            f"{type(model).__name__} gives {found} for an image {tuple(image.shape)}; a diagram needs a network that "
            "gives a square map [1, K, H, W]"
        )
    return Trace(recorder.steps[: last + 1], counter.get_total_flops() // 2)


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module gets its own mode back."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
