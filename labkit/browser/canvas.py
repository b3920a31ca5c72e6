"""Images that a page paints by itself, in a notebook or without a kernel."""

import base64
import hashlib
import html
import io
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets
from PIL import Image

SHARED = Path(__file__).with_name("canvas.js").read_text(encoding="utf-8")
"""What begins every module: `CanvasPage`, `standalone` and `widget`. A subclass's file adds a class `Page`."""


class Canvas(anywidget.AnyWidget):
    """Images by their rows in `items`, which the page asks for in `wanted`, and the values of its sliders.

    Args:
        send: the files of a row, as the subclass's module decodes them; called once for each of the last 64 rows.
        state: first values of the traits.
    """

    _css = Path(__file__).with_name("canvas.css").read_text(encoding="utf-8")
    facts = traitlets.Dict().tag(sync=True, page=True)  # of all images
    items = traitlets.List().tag(sync=True, page=True)  # what is known of each image
    images = traitlets.Dict().tag(sync=True)  # row -> files: what is sent now
    wanted = traitlets.List().tag(sync=True)  # rows that the page lacks
    kernel = traitlets.Bool(True).tag(sync=True)  # without one the page draws its own sliders
    position = traitlets.Int(0).tag(sync=True)
    opacity = traitlets.Float(0.5).tag(sync=True, page=True)

    def __init__(self, send: Callable[[int], dict[str, Any]], **state: Any):
        super().__init__(**state)
        self.sent = lru_cache(maxsize=64)(send)
        self.images = {str(row): self.sent(row) for row in range(min(3, len(self.items)))}
        self.observe(self._answer, names="wanted")

    def _answer(self, change: dict[str, Any]) -> None:
        for row in change["new"]:
            self.images = {str(row): self.sent(row)}

    def linked(self, **sliders: widgets.Widget) -> list[widgets.Widget]:
        """The sliders, joined in the page with the traits of these names: a selection by its index, others by value."""
        for name, slider in sliders.items():
            selection = isinstance(slider, widgets.SelectionSlider)  # its words take more place than a number
            slider.description, slider.layout.width = slider.description or name, "32em" if selection else "26em"
            value = "index" if selection else "value"
            widgets.jslink((slider, value), (self, name))
        return list(sliders.values())

    def to_html(self, images: list[dict[str, Any]], still: np.ndarray, alt: str) -> str:
        """The first images for a page without a kernel; nothing is fetched.

        Without scripts it shows `still`, `uint8 [H, W, 3]`, with the alt text `alt`.
        """
        state = {name: getattr(self, name) for name in self.trait_names(page=True)} | {"position": 0}
        state |= {"items": self.items[: len(images)], "images": dict(enumerate(images))}
        text = json.dumps(state, default=lambda raw: base64.b64encode(raw).decode()).replace("</", "<\\/")
        mark = f"labkit-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        source = f"data:image/jpeg;base64,{base64.b64encode(encoded(still, 'JPEG')).decode()}"
        return (
            f"<style>{self._css}</style>"
            f'<div id="{mark}"><img alt="{html.escape(alt)}" src="{source}"></div>'
            f'<script type="module">{self._esm}\nstandalone(Page, document.getElementById("{mark}"), {text});</script>'
        )


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """An image or a mask, `uint8`, as a file: JPEG or PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return file.getvalue()
