"""How long a training will still take."""

from collections.abc import Sequence
from statistics import median

RECENT = 3
"""Epochs that the estimate looks back on: pictures may grow, and the first epoch also warms up."""


def seconds_left(seconds: Sequence[float], epochs: int) -> float:
    """What `epochs` more will take if they take as long as the latest; `seconds` of each epoch so far."""
    return epochs * median(seconds[-RECENT:])


def in_words(seconds: float) -> str:
    """A span of time as one says it: `4 min 36 s`, `1 h 02 min`."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    return f"{minutes} min {whole % 60:02} s" if hours == 0 else f"{hours} h {minutes % 60:02} min"
