"""The data flow of a trace: what a tensor was computed from, what all data passed, and where skips come in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from course.figures.tracing import Step

Inputs = Sequence[tuple[int, ...]]
"""The steps that each step was computed from."""

LEARNED = ("conv2d", "conv_transpose2d", "linear", "matmul", "scaled_dot_product_attention")
ENLARGING = ("interpolate", "conv_transpose2d", "pixel_shuffle")


@dataclass(frozen=True)
class Join:
    """A step where skips meet the trunk: their source, the inputs by which they arrive, and the trunk's input."""

    source: int
    copies: tuple[int, ...]
    own: int


@dataclass(frozen=True)
class Flow:
    """A trace taken apart.

    Attributes:
        inputs: of each step, without those that came over a skip.
        spine: the maps that all data pass on the way from the image to the output, skips apart.
        joins: by the number of the step, all on the spine.
    """

    inputs: Inputs
    spine: list[int]
    joins: dict[int, Join]


def flow(steps: Sequence[Step]) -> Flow:
    """Find the skips, cut them, and find the spine of what is left."""
    everything = [step.inputs for step in steps]
    inputs, joins, last = everything, {}, len(steps) - 1
    for name in ("cat", "add"):  # concatenations first: a sum in a gate does not belong to the trunk any more then
        found = {i: _join(steps, inputs, i) for i in ancestors(inputs, last) if steps[i].name == name}
        joins |= {i: join for i, join in found.items() if join}
        inputs = [(joins[i].own,) if i in joins else step.inputs for i, step in enumerate(steps)]
    spine = [i for i in _chain(_dominators(inputs), last) if steps[i].map]
    passed = _dominators(everything)
    sources = {i: next((j for j in reversed(_chain(passed, i)[:-1]) if j in set(spine)), None) for i in joins}
    kept = {i: replace(joins[i], source=j) for i, j in sources.items() if i in spine and j is not None}
    return Flow(inputs, spine, kept)


def ancestors(inputs: Inputs, last: int, stop: Iterable[int] = ()) -> set[int]:
    """All steps that `last` was computed from, itself included; not beyond those in `stop`."""
    seen, todo, stop = {last}, [last], set(stop)
    while todo:
        new = set(inputs[todo.pop()]) - seen
        seen |= new
        todo += new - stop
    return seen


def _dominators(inputs: Inputs) -> list[int]:
    """For each step the last earlier one that all its data passed.

    Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm", 2001; one round is enough, as nothing loops.
    """
    above = [0] * len(inputs)

    def common(a: int, b: int) -> int:
        while a != b:
            a, b = (above[a], b) if a > b else (a, above[b])
        return a

    for i, sources in enumerate(inputs):
        above[i] = reduce(common, sources) if sources else 0
    return above


def _chain(above: Sequence[int], last: int) -> list[int]:
    chain = [last]
    while chain[-1]:
        chain.append(above[chain[-1]])
    return chain[::-1]


def _join(steps: Sequence[Step], inputs: Inputs, i: int) -> Join | None:
    """The join at step `i`, if it is one: one input came straight, another went through a lower scale.

    At the lowest scale, where none is lower, a plain copy beside a convolved one counts if both are enlarged at once.
    """
    maps = [steps[j].map for j in inputs[i]]
    if len(maps) < 2 or None in maps or steps[i].map is None or len({side for _, side in maps}) > 1:
        return None
    if steps[i].name == "cat" and sum(channels for channels, _ in maps) != steps[i].map[0]:
        return None
    side = steps[i].map[1]
    source = _chain(_dominators(inputs[: i + 1]), i)[-2]
    cost = {source: 0}  # the fewest learned operations between the source and each step
    for j in range(source + 1, i):
        costs = [cost[k] for k in inputs[j] if k in cost]
        if costs:
            cost[j] = min(costs) + (steps[j].name in LEARNED)
    own = max(inputs[i], key=lambda j: (cost[j], j))
    copies = tuple(j for j in inputs[i] if cost[j] < cost[own])
    between = ancestors(inputs, own, stop=[source]) & set(cost) - {source}
    deeper = any(1 < steps[j].map[1] < side for j in between if steps[j].map)  # 1: a global average, no scale
    following = {steps[j].name for j in range(i + 1, len(steps)) if i in inputs[j]}
    plain = steps[i].name == "cat" and following <= set(ENLARGING) and not any(cost[j] for j in copies)
    if len(copies) != len(maps) - 1 or not (deeper or plain):
        return None
    return Join(source, copies, own)
