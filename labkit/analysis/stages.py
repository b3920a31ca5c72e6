"""Any network taken apart into the stages that a reader of its diagram would name, with what each of them costs."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from labkit.analysis.events import Event, events_of


@dataclass
class Stage:
    """One row of `stage_costs`, and where its output can be tapped."""

    name: str
    scale: int | None = None
    shape: tuple[int, int, int] = (0, 0, 0)
    parameters: int = 0
    multiply_adds: int = 0
    kept: int = 0
    tap: tuple[str, int] = ("", 0)
    """The module whose output is the stage's, and the number of its call, from 1."""
    channels_last: bool = False


@dataclass
class _Occurrence:
    """A stretch of the pass in one child of the modules that were taken apart."""

    unit: str
    events: list[Event] = field(default_factory=list)

    @property
    def out(self) -> Event | None:
        """The last event of its own that has a shape."""
        inside = [e for e in self.events if e.shape and f"{e.path}.".startswith(f"{self.unit}." if self.unit else "")]
        return inside[-1] if inside else None

    @property
    def scale(self) -> int | None:
        return self.out.scale if self.out else None


def find_stages(model: nn.Module, height: int, width: int, in_channels: int = 3) -> list[Stage]:
    """The stages of a network in the order of the call, for one image `[1, in_channels, height, width]`.

    The rule knows no names. A scale is the number of times that the sides have been halved. Beginning at the
    network, a module is taken apart if it is a list of modules, or if its layers work at more than one scale besides
    the one that comes in; else it is a stage. What such a module consists of is then put together again: layers
    that are neighbors at one scale (convolution, norm and ReLU are a `stem` where they come first), and
    numbered neighbors at one scale (`features.2-3`); layers without weights go to the stage that follows at
    their scale (pooling), else to the one before (dropout). What a network computes between two stages counts for
    the one before. Maps squeezed to 1x1 inside a larger one have no scale.

    Raises:
        LabError: the image is so small that a batch norm has a single place.
    """
    network, events = events_of(model, height, width, in_channels)
    modules = dict(network.named_modules())
    return _stages(modules, _merged(modules, _occurrences(modules, events)))


def _prefixes(path: str) -> Iterator[str]:
    """`a.b.c` -> `a`, `a.b`, `a.b.c`."""
    parts = path.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _occurrences(modules: dict[str, nn.Module], events: list[Event]) -> list[_Occurrence]:
    """Take the network apart, as `find_stages` says."""
    scales: dict[str, list[int]] = defaultdict(list)  # by module; the first is the scale that comes in
    for event in events:
        if event.layer and event.scale is not None:
            for path in _prefixes(event.path):
                scales[path] += [event.scale] if scales[path] else [event.entered, event.scale]

    def unit(path: str) -> str | None:
        for prefix in _prefixes(path):
            is_list = isinstance(modules[prefix], nn.ModuleList | nn.ModuleDict)
            if prefix and not is_list and len(set(scales[prefix]) - set(scales[prefix][:1])) <= 1:
                return prefix
        return None

    found: list[_Occurrence] = []
    for event in events:
        here = unit(event.path)
        if here is None and event.layer:
            here = event.path  # the network is one layer
        if not found or here not in (None, found[-1].unit):
            found.append(_Occurrence(here or ""))
        found[-1].events.append(event)
    if len(found) > 1 and not found[0].unit:  # what was computed before the first stage
        first = found.pop(0)
        found[0].events[:0] = first.events
    return found


def _merged(modules: dict[str, nn.Module], found: list[_Occurrence]) -> list[list[_Occurrence]]:
    """Put neighbors together again, as `find_stages` says."""
    groups: list[list[_Occurrence]] = []
    for here in found:
        before = groups[-1][-1] if groups else None
        if before and _belong(modules, before, here):
            groups[-1].append(here)
        else:
            groups.append([here])
    merged: list[list[_Occurrence]] = []
    waiting: list[_Occurrence] = []
    for i, group in enumerate(groups):
        following = groups[i + 1] if i + 1 < len(groups) else None
        weighted = any(True for here in group for _ in modules[here.unit].parameters())
        if weighted or not (following or merged):
            merged.append(waiting + group)
            waiting = []
        elif following and following[-1].scale == group[-1].scale:
            waiting += group
        elif merged:
            merged[-1] += waiting + group
            waiting = []
        else:
            waiting += group
    return merged


def _belong(modules: dict[str, nn.Module], before: _Occurrence, here: _Occurrence) -> bool:
    (parent, _, a), (other, _, b) = before.unit.rpartition("."), here.unit.rpartition(".")
    if parent != other or before.scale != here.scale or isinstance(modules[parent], nn.ModuleList | nn.ModuleDict):
        return False
    layers = not any(modules[before.unit].children()) and not any(modules[here.unit].children())
    return layers or (a.isdigit() and b.isdigit())


def _stages(modules: dict[str, nn.Module], groups: list[list[_Occurrence]]) -> list[Stage]:
    stages: dict[str, Stage] = {}
    stage_of: dict[str, Stage] = {}
    parents = {here.unit.rpartition(".")[0]: here for group in reversed(groups) for here in reversed(group)}
    for group in groups:
        name = _name(modules, group, first=parents[group[0].unit.rpartition(".")[0]] is group[0])
        stage = stages.setdefault(name, Stage(name))
        for here in group:
            if any(True for _ in modules[here.unit].parameters()):
                stage_of[here.unit] = stage
            stage.multiply_adds += sum(event.multiply_adds for event in here.events)
            stage.kept += sum(event.kept for event in here.events)
        if outs := [here.out for here in group if here.out]:
            out = outs[-1]
            stage.scale, stage.shape, stage.channels_last = out.scale, out.shape, out.channels_last
            stage.tap = (out.path, out.call)
    for name, weight in modules[""].named_parameters():
        if weight.requires_grad:
            owner = next((stage_of[p] for p in _prefixes(name) if p in stage_of), None) or stage_of.get("")
            if owner is None:  # of no layer that was called
                path = name.rpartition(".")[0] or type(modules[""]).__name__
                owner = stages.setdefault(path, Stage(path))
            owner.parameters += weight.numel()
    return list(stages.values())


def _name(modules: dict[str, nn.Module], group: list[_Occurrence], first: bool) -> str:
    units = list(dict.fromkeys(here.unit for here in group))
    parents, ends = {unit.rpartition(".")[0] for unit in units}, [unit.rpartition(".")[2] for unit in units]
    sizes = {unit: sum(weight.numel() for weight in modules[unit].parameters()) for unit in units}
    if len(units) > 1 and len(parents) == 1 and all(end.isdigit() for end in ends):
        return f"{units[0]}-{ends[-1]}"
    if first and len(parents) == 1 and sum(size > 0 for size in sizes.values()) > 1:
        return ".".join([*filter(None, parents), "stem"])
    return max(sizes, key=sizes.get) or type(modules[""]).__name__
