"""Shows a figure with its caption and alt text, and the real source of a class."""

import inspect
import io
import re
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import matplotlib
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from labkit.curves import STYLE

DENSITY = 2
"""Pixels of a figure's PNG for each pixel of its width on the page: sharp on a HiDPI screen."""
SVG = "http://www.w3.org/2000/svg"


def show(figure: Figure, caption: str, alt: str, vector: bool = False) -> None:
    """Show a figure with a caption and an alt text.

    Args:
        figure: from `course.figures`.
        caption: Markdown; says what the figure shows.
        alt: plain text; describes the figure for those who cannot see it.
        vector: add the figure as SVG, sharp at every size: for diagrams.
    """
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=DENSITY * figure.dpi)
    data = {"image/png": encoded.getvalue(), "text/plain": f"[figure: {alt}]"}
    if vector:
        data["image/svg+xml"] = svg(figure, alt)
    width = round(figure.get_figwidth() * figure.dpi)
    display(data, metadata={kind: {"alt": alt, "width": width} for kind in data if kind.startswith("image/")}, raw=True)
    display(Markdown(f"*{caption}*"))


def say(text: str) -> None:
    """Show a sentence of Markdown whose numbers were computed just now."""
    display(Markdown(text))


def svg(figure: Figure, alt: str) -> str:
    """A figure as SVG that looks the same in every viewer: text as text, the alt text as its title.

    Styles become attributes: viewers that sanitize a notebook remove style sheets, and all shapes turn black. The date
    and the program are left out, so that the same figure gives the same text.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        for rule in filter(None, element.attrib.pop("style", "").split(";")):
            name, value = rule.split(":", 1)
            element.set(name.strip(), value.strip())
        if "d" in element.attrib:
            element.set("d", " ".join(re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.2f}", element.get("d")).split()))
    root.attrib |= {"role": "img", "aria-label": alt, "stroke-linejoin": "round", "stroke-linecap": "butt"}
    title = ElementTree.Element(f"{{{SVG}}}title")
    title.text = alt
    root.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode")


def show_source(*things: type | Callable[..., Any]) -> None:
    """Show the real source of classes or functions, read from their module."""
    for thing in things:
        where = f"`{thing.__module__.replace('.', '/')}.py`"
        display(Markdown(f"{where}\n\n```python\n{textwrap.dedent(inspect.getsource(thing)).rstrip()}\n```"))
