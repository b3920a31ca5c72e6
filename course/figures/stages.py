"""What a textbook draws of a network, found in the trace of a forward pass: feature maps, the ways between them, skips.

The skips are cut first. What is left has a spine: the tensors that all of the data pass (the dominators of the
output), from the image to the logits. Everything that is drawn lies on it; what does not (the branch of a residual
block, attention maps, a transformer's windows) shows in the words of an arrow only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from course.figures.dataflow import ENLARGING, LEARNED, Flow, ancestors, flow
from course.figures.tracing import Step, trace

FRAMING = ("pad", "getitem")  # change the size, but not the scale
MOST_BOXES_WITHOUT_SKIPS = 12


@dataclass(frozen=True)
class Box:
    """A feature map `[1, channels, side, side]` of the drawing.

    Attributes:
        step: its number in the trace.
        level: how often the scale was halved on the way to it.
        parts: channels of what was concatenated and whether that came over a skip; a single part otherwise.
    """

    step: int
    channels: int
    side: int
    level: int
    parts: tuple[tuple[int, bool], ...]


@dataclass(frozen=True)
class Arrow:
    """What happens between a box and the next one: a family (`conv`, `down`, `up`, `head`, `frame`) and its words.

    `steep` ways only change the scale; the others also compute.
    """

    family: str
    words: str
    steep: bool


@dataclass(frozen=True)
class Skip:
    """A box that is used again further on: numbers of both boxes, and of those that steer its gate, if it has one."""

    start: int
    end: int
    words: str
    gated: bool = False
    signals: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stages:
    """`boxes` in the order of execution, `arrows` between neighbors, and `skips`; `multiply_adds` of the pass."""

    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    skips: Sequence[Skip]
    multiply_adds: int


def stages(model: nn.Module, size: int = 128, in_channels: int = 3) -> Stages:
    """The boxes, arrows and skips of a network for an image `[1, in_channels, size, size]`; see `tracing.trace`."""
    passed = trace(model, size, in_channels)
    reader = _Reader(passed.steps, flow(passed.steps))
    boxes = reader.boxes()
    arrows = [reader.arrow(a, b) for a, b in pairwise(boxes)]
    place = {box.step: number for number, box in enumerate(boxes)}
    skips = [reader.skip(i, copy, place) for i, join in sorted(reader.joins.items()) for copy in join.copies]
    return Stages(boxes, arrows, skips, passed.multiply_adds)


class _Reader:
    """Reads boxes, arrows and skips off a trace whose spine and joins are known."""

    def __init__(self, steps: Sequence[Step], found: Flow):
        self.steps, self.inputs, self.spine, self.joins = steps, found.inputs, found.spine, found.joins
        self.levels = {0: 0}
        for before, here in pairwise(self.spine):
            self.levels[here] = self._level(before, here)

    def _level(self, before: int, here: int) -> int:
        if here in self.joins:
            return self.levels[self.joins[here].source]
        step, level = self.steps[here], self.levels[before]
        old, new = self.steps[before].map[1], step.map[1]
        alone = step.inputs == (before,)
        if alone and step.stride == 1 and (step.name in FRAMING or step.name == "conv2d"):
            return level
        for halvings in range(1, 8):
            if new in (old >> halvings, -(-old >> halvings)):
                return level + halvings if new < old else level
            if old in (new >> halvings, -(-new >> halvings)):
                return level - halvings if old < new else level
        return level

    def boxes(self) -> list[Box]:
        spine, steps, levels = self.spine, self.steps, self.levels
        fixed = {join.source for join in self.joins.values()} | set(self.joins) | {spine[-1]}
        chosen = fixed | {spine[0]}
        for place, (before, here) in enumerate(pairwise(spine)):
            alone = steps[here].inputs == (before,) and not self._learns(here)
            if levels[before] == levels[here]:
                if steps[here].name in FRAMING and steps[here].map[1] != steps[before].map[1]:
                    after = spine[place + 2] if place + 2 < len(spine) else here
                    inner = levels[here] > 0 or steps[after].map[1] == steps[before].map[1]  # of a convolution
                    chosen |= set() if inner else {before, here}
            elif alone or steps[here].name in ENLARGING:
                chosen.add(self._before_pointwise(place) if steps[here].name == "interpolate" else before)
                chosen |= set() if steps[here].name == "interpolate" else {here}
            else:
                run = [i for i in spine[1 : place + 1] if levels[i] == levels[before]]
                run = [i for i in run if not any(levels[j] != levels[i] for j in spine[spine.index(i) : place + 1])]
                chosen |= set() if fixed & set(run) else {before}
        head = self._head()
        if head > 0:
            chosen |= {spine[head - 1], spine[head]}
        if not self.joins:
            before_convolutions = {a for a, b in pairwise(spine) if steps[b].name in LEARNED}
            if len(chosen | before_convolutions) <= MOST_BOXES_WITHOUT_SKIPS:
                chosen |= before_convolutions
        return [self._box(i) for i in self._distinct(sorted(chosen), fixed)]

    def _learns(self, i: int) -> bool:
        return self.steps[i].name in LEARNED

    def _before_pointwise(self, place: int) -> int:
        """The step before the 1x1 convolution, if there is one, that goes with an interpolation."""
        i = self.spine[place]
        pointwise = self.steps[i].name == "conv2d" and self.steps[i].kernel == 1
        return self.spine[place - 1] if pointwise and place and i != self.spine[self._head()] else i

    def _head(self) -> int:
        """Place on the spine of a 1x1 convolution after which nothing is computed any more; 0 without one."""
        for place in reversed(range(1, len(self.spine))):
            step = self.steps[self.spine[place]]
            if step.is_convolution:
                return place if step.kernel == 1 else 0
            if len(step.inputs) > 1:
                return 0
        return 0

    def _distinct(self, chosen: list[int], fixed: set[int]) -> list[int]:
        """Without boxes that the next one repeats: nothing is computed in between, or a join takes them up."""
        kept = []
        for i, later in pairwise([*chosen, chosen[-1]]):
            learned = any(self._learns(j) for j in self._between(i, self._own(later)))
            resized = later not in self.joins and self.steps[i].map[1] != self.steps[later].map[1]
            repeated = not learned and not resized and self.levels[i] == self.levels[later]
            if i == later or i in fixed or i == 0 or not repeated:
                kept.append(i)
        if len(kept) > 2 and not self._shows(kept[0], kept[1]):
            del kept[1]  # the image after a padding by nothing
        return kept

    def _shows(self, start: int, end: int) -> bool:
        changed = self.steps[start].map != self.steps[end].map
        return changed or end in self.joins or any(self._learns(j) for j in self._between(start, end))

    def _own(self, i: int) -> int:
        return self.joins[i].own if i in self.joins else i

    def _between(self, start: int, end: int) -> list[int]:
        """The steps after `start` that `end` was computed from, skips apart, itself included."""
        return sorted(j for j in ancestors(self.inputs, end) if start < j)

    def _box(self, i: int) -> Box:
        channels, side = self.steps[i].map
        parts = ((channels, False),)
        if i in self.joins and self.steps[i].name == "cat":
            parts = tuple((self.steps[j].map[0], j in self.joins[i].copies) for j in self.steps[i].inputs)
        return Box(i, channels, side, self.levels[i], parts)

    def arrow(self, start: Box, end: Box) -> Arrow:
        """What lies between two boxes, named after what is computed there."""
        between = [self.steps[j] for j in self._between(start.step, self._own(end.step))]
        trunk = [self.steps[j] for j in self.spine if start.step < j <= self._own(end.step)]
        head = self.spine[self._head()]
        words = _computed(between, trunk)
        change = end.level - start.level
        if change == 0 and start.step < head <= end.step:
            return Arrow("head", "1×1 convolution (head)", False)
        if change == 0:
            frame = next((step for step in trunk if step.name in FRAMING), None)
            if words or frame is None:
                return Arrow("conv", words or "no change", False)
            padding = {"reflect": "mirror padding", "replicate": "border padding"}.get(frame.mode, "zero padding")
            return Arrow("frame", padding if frame.name == "pad" else "crop", False)
        mode = next((step.mode for step in trunk if step.name == "interpolate"), "")
        if change > 0:
            pools = [step.name for step in trunk if "pool" in step.name]
            pool = ("max pool" if "max" in pools[0] else "average pool") if pools else ""
            if not words:
                return Arrow("down", pool or f"{mode} reduction".strip(), True)
            reduction = pool or f"stride {2**change}"
            return Arrow("down", f"{words}, {reduction}", False)
        names = {step.name for step in trunk}
        learned = {"conv_transpose2d": "up-convolution", "pixel_shuffle": "pixel shuffle"}
        enlargement = next((w for n, w in learned.items() if n in names), f"{mode} interpolation".strip())
        pointwise = all(step.kernel <= 1 for step in trunk if step.name == "conv2d")
        return Arrow("up", f"{enlargement}, {words}" if words else enlargement, pointwise and "blocks" not in words)

    def skip(self, i: int, copy: int, place: dict[int, int]) -> Skip:
        source = self.joins[i].source
        full = [step.inputs for step in self.steps]
        way = ancestors(full, copy, stop=self.spine)
        touched = way & set(self.spine) - {source}
        path = [self.steps[j] for j in way if j > source and j not in self.spine]
        gated = self.steps[copy].name == "mul"
        cropped = not gated and self.steps[copy].map[1] < self.steps[source].map[1]
        words = "copy" if self.steps[i].name == "cat" else "sum"
        if not gated and any(step.name in LEARNED for step in path):
            words = f"convolution, {words}"
        signals = tuple(sorted(place[j] for j in touched if j in place)) if gated else ()
        return Skip(place[source], place[i], f"skip: cropped {words}" if cropped else f"skip: {words}", gated, signals)


def _computed(between: Sequence[Step], trunk: Sequence[Step]) -> str:
    """The learned operations between two boxes in the field's words; empty without any."""
    names = {step.name for step in between}
    if names & {"softmax", "scaled_dot_product_attention", "multi_head_attention_forward"}:
        return "transformer blocks"
    if any(step.depthwise for step in between):
        return "inverted residual blocks"
    sums = any(step.name == "add" for step in trunk)
    if sums and any(step.is_convolution for step in between):
        return "residual blocks"
    convolutions = [step for step in trunk if step.name == "conv2d"]
    if any(step.name == "cat" for step in trunk) and sum(step.name == "conv2d" for step in between) > len(convolutions):
        return "parallel convolutions"
    words = ""
    if len(convolutions) == 1:
        words = f"{convolutions[0].kernel}×{convolutions[0].kernel} convolution"
    elif convolutions:
        words = "double convolution" if len(convolutions) == 2 else "convolutions"
    elif "linear" in names:
        words = "linear layers"
    gated = any(step.name == "mul" for step in trunk) and "sigmoid" in names
    return f"{words}, attention" if gated and words else words
