"""How a notebook shows things: a figure with its caption and alt text, the real source of a class."""

import inspect
import io
import textwrap
from collections.abc import Callable
from typing import Any

import matplotlib
from IPython.display import Markdown, display
from matplotlib.figure import Figure

STYLE = {
    "figure.dpi": 100,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "image.interpolation": "nearest",
}
matplotlib.rcParams.update(STYLE)  # axes take their style when they are made, in many places


def new_figure(width: float = 8.0, height: float = 3.0) -> Figure:
    """An empty figure in the workbook's style, `width` x `height` inches, that belongs to no window."""
    return Figure(figsize=(width, height), layout="constrained")


def show(figure: Figure, caption: str, alt: str) -> None:
    """Show a figure with a caption below it and alt text for those who cannot see it.

    Args:
        figure: from one of the plot functions.
        caption: Markdown; says what is to be seen.
        alt: plain text; says what the picture looks like.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    display(
        {"image/png": picture.getvalue(), "text/plain": f"[figure: {alt}]"},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )
    display(Markdown(f"*{caption}*"))


def show_source(*things: type | Callable[..., Any]) -> None:
    """Show the real source of classes or functions, read from their module."""
    for thing in things:
        where = f"`{thing.__module__.replace('.', '/')}.py`"
        display(Markdown(f"{where}\n\n```python\n{textwrap.dedent(inspect.getsource(thing)).rstrip()}\n```"))
