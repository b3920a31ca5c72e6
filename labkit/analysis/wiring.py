"""How the columns of an image are wired to the units of a network: which tensor needs which columns of which other."""

from collections.abc import Callable

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Interval = tuple[int, int]
Rule = Callable[[int, int], Interval]


class Wiring(TorchDispatchMode):
    """Writes down which tensor is made of which, and by what rule."""

    def __init__(self, images: Tensor):
        super().__init__()
        self.links: list[tuple[Tensor, list[tuple[Tensor, Rule | None]]]] = []  # the tensors live as long as their ids
        self.of_image = {id(images)}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        out = made[0] if isinstance(made, tuple | list) else made
        given = [x for arg in args for x in (arg if isinstance(arg, tuple | list) else [arg]) if isinstance(x, Tensor)]
        given = [x for x in given if id(x) in self.of_image]
        if isinstance(out, Tensor) and given:
            self.links.append((out, [(x, _rule(function.overloadpacket.__name__, args, x, out)) for x in given]))
            self.of_image.add(id(out))
        return made


def hull(a: Interval | None, b: Interval | None) -> Interval | None:
    """The smallest interval that holds both; None where one of them is not known."""
    return (min(a[0], b[0]), max(a[1], b[1])) if a and b else None


def _rule(name: str, args: tuple, given: Tensor, out: Tensor) -> Rule | None:
    """Which columns of `given` the columns a to b of `out` need; None where no rule is known."""
    if given.ndim != 4 or out.ndim != 4 or name in ("roll", "flip", "permute", "transpose", "bmm"):
        return None
    before, after = given.shape[-1], out.shape[-1]
    if name == "convolution":
        kernel, (stride, padding, dilation) = args[1].shape[-1], (values[-1] for values in args[3:6])
        reach = (kernel - 1) * dilation
        if args[6]:  # transposed
            return lambda a, b: _inside(-((reach - a - padding) // stride), (b + padding) // stride, before)
        return lambda a, b: _inside(a * stride - padding, b * stride - padding + reach, before)
    if name in ("max_pool2d_with_indices", "avg_pool2d"):
        kernel = args[1][-1]
        stride, padding = (args[2][-1] if len(args) > 2 and args[2] else kernel), (args[3][-1] if len(args) > 3 else 0)
        return lambda a, b: _inside(a * stride - padding, b * stride - padding + kernel - 1, before)
    if name == "upsample_bilinear2d":
        return lambda a, b: (_corners(a, before, after, args[2])[0], _corners(b, before, after, args[2])[1])
    if name == "upsample_nearest2d":
        return lambda a, b: (a * before // after, b * before // after)
    if name in ("constant_pad_nd", "replication_pad2d"):
        return lambda a, b: _inside(a - args[1][0], b - args[1][0], before)
    if name == "reflection_pad2d":
        return lambda a, b: _reflected(a - args[1][0], b - args[1][0], before)
    if name == "slice" and len(args) > 1 and args[1] in (3, -1):
        start, step = (args[2] or 0) if len(args) > 2 else 0, args[4] if len(args) > 4 else 1
        start = start + before if start < 0 else start
        return lambda a, b: (start + a * step, start + b * step)
    if out.shape[-2:] == (1, 1):
        return lambda a, b: (0, before - 1)  # a mean or maximum over the whole map
    if before in (1, after):
        return lambda a, b: (min(a, before - 1), min(b, before - 1))  # place by place
    return None


def _inside(a: int, b: int, columns: int) -> Interval:
    return min(max(a, 0), columns - 1), max(min(b, columns - 1), 0)


def _reflected(a: int, b: int, columns: int) -> Interval:
    last = columns - 1
    places = [last - abs(last - abs(place)) for place in range(a, b + 1)]
    return min(places), max(places)


def _corners(column: int, before: int, after: int, align_corners: bool) -> Interval:
    """The two columns between which bilinear upsampling looks; one where it hits it exactly."""
    if align_corners:
        place = column * ((before - 1) / (after - 1) if after > 1 else 0.0)
    else:
        place = max((column + 0.5) * (before / after) - 0.5, 0.0)
    left = min(int(place), before - 1)
    return left, min(left + (place > left), before - 1)
