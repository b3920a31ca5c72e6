"""What happens while a network takes one image, in order: the calls of its layers, their shapes, costs and scales."""

import copy
import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from labkit.errors import LabError


@dataclass
class Event:
    """A call of a layer, the end of a module's call, or what a module did by itself between two calls."""

    path: str
    """Of the layer; else of the innermost module at work, empty for the network itself."""
    layer: bool
    multiply_adds: int
    kept: int
    """Bytes that autograd keeps for the backward pass since this event, and did not keep before."""
    shape: tuple[int, int, int] | None = None
    """Channels, height and width of what came out; None where that is no map of places."""
    entered: int | None = None
    scale: int | None = None
    """How many times the sides are halved: of what went in, and of what came out."""
    call: int = 0
    channels_last: bool = False


def events_of(model: nn.Module, height: int, width: int, in_channels: int = 3) -> tuple[nn.Module, list[Event]]:
    """A copy of the network that has been called with one image, and what happened in it.

    The model is left alone: a copy without data is called, or a full copy where that is not possible.
    """
    try:
        network = weightless(model)
        return network, record(network, torch.empty(1, in_channels, height, width, device="meta"))
    except (NotImplementedError, RuntimeError):  # an operation that cannot do without data
        network = copy.deepcopy(model)
        device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
        return network, record(network, torch.rand(1, in_channels, height, width, device=device))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise LabError(
            f"{type(model).__name__}: at {width}x{height} pixels a batch norm has only one place to average over; "
            "choose a larger size"
        ) from None


def weightless(model: nn.Module) -> nn.Module:
    """A copy of a network that knows all shapes and holds no data (torch's meta device)."""
    empty = {}
    for tensor in (*model.parameters(), *model.buffers()):
        shape = torch.empty_like(tensor, device="meta")
        is_weight = isinstance(tensor, nn.Parameter)
        empty[id(tensor)] = nn.Parameter(shape, requires_grad=tensor.requires_grad) if is_weight else shape
    return copy.deepcopy(model, empty)


def record(network: nn.Module, images: Tensor) -> list[Event]:
    """Call the network once in training mode and write down what happens, in order."""
    events: list[Event] = []
    calls: Counter[str] = Counter()
    working: list[str] = []  # the modules that are being called, outermost first
    known = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}
    kept = {}  # holds the storages too, so that no address is used twice
    counter = FlopCounterMode(display=False)
    scales = _Scales()
    done = {"multiply_adds": 0, "kept": 0}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept.setdefault(storage._cdata, storage)
        return tensor

    def since() -> dict[str, int]:
        total = counter.get_total_flops() // 2, sum(storage.nbytes() for storage in kept.values())
        fresh = {key: value - done[key] for key, value in zip(done, total, strict=True)}
        done.update(zip(done, total, strict=True))
        return fresh

    def enter(path: str) -> None:
        fresh = since()
        if any(fresh.values()):
            events.append(Event(working[-1] if working else "", False, **fresh))
        working.append(path)
        calls[path] += 1

    def leave(path: str, module: nn.Module, given: tuple, output: object) -> None:
        working.pop()
        event = Event(path, not any(module.children()), **since(), call=calls[path])
        scales.measure(event, module, given[0] if given else None, output)
        events.append(event)

    for path, module in network.named_modules():
        module.register_forward_pre_hook(lambda module, given, path=path: enter(path))
        module.register_forward_hook(lambda module, given, output, path=path: leave(path, module, given, output))
    network.train()
    with saved_tensors_hooks(keep, lambda tensor: tensor), counter, torch.enable_grad():
        network(images)
    return events


class _Scales:
    """Follows how often the sides are halved and doubled, layer by layer."""

    def __init__(self):
        self.of_side: dict[int, int] = {}
        self.last: Event | None = None

    def measure(self, event: Event, module: nn.Module, given: object, output: object) -> None:
        """Fill in shape and scales of an event, where there are any."""
        weighted = event.layer and any(True for _ in module.parameters())
        if weighted:  # a layer without weights keeps the layout that it finds
            event.channels_last = type(module) in (nn.Linear, nn.LayerNorm)
        else:
            event.channels_last = self.last is not None and self.last.channels_last
        shape, before = (_map_shape(x, event.channels_last) for x in (output, given))
        if shape is None or (event.layer and before is None):
            return
        largest = self.last.shape[2] if self.last else 1
        inside = before[2] if event.layer else largest
        if shape[1:] == (1, 1) and (inside > 2 or largest > max(inside, 1)):
            return  # squeezed
        if event.layer:
            event.entered = self._at(before[2])
            event.scale = event.entered + _halvings(before[2], shape[2])
        else:
            event.scale = self._at(shape[2]) if self.last is None else self._near(shape[2])
        event.shape = shape
        self.of_side[shape[2]] = event.scale
        self.last = event

    def _at(self, side: int) -> int:
        if self.last is None:
            return 0
        return self.of_side[side] if side in self.of_side else self._near(side)

    def _near(self, side: int) -> int:
        return self.last.scale + _halvings(self.last.shape[2], side)


def _halvings(before: int, after: int) -> int:
    return round(math.log2(before / after))


def _map_shape(x: object, channels_last: bool) -> tuple[int, int, int] | None:
    if not isinstance(x, Tensor) or x.ndim != 4:
        return None
    _, a, b, c = x.shape
    return (c, a, b) if channels_last else (a, b, c)
