"""A browser of maps over images: feature maps of a network's stages, weights of its gates."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np
import torch
import traitlets
from PIL import Image
from torch import Tensor, nn

from course.figures.unet import painted_map, strongest_channels
from labkit import painting
from labkit.browser.canvas import SHARED, Canvas, encoded

SHOWN = 16
"""The most maps of a stage that are sent to the page."""


class MapCanvas(Canvas):
    """What `maps.js` paints."""

    _esm = SHARED + Path(__file__).with_name("maps.js").read_text(encoding="utf-8")
    stage = traitlets.Int(0).tag(sync=True, page=True)
    place = traitlets.Int(1).tag(sync=True, page=True)  # of the chosen map among those of the stage, from 1 on
    scale = traitlets.Unicode("own").tag(sync=True, page=True)


class MapBrowser(widgets.VBox):
    """Images, the maps of a stage side by side, and one of them large over its image; the page paints them itself.

    Args:
        images: `uint8 [H, W, 3]` each.
        maps: from the index of an image to the maps of each stage, `float [C, h, w]`. The 16 that vary most over the
            image are shown, from the most on.
        labels: of a stage's maps, where they have names, such as epochs: the first 16 are shown, in their order.
        limits: values of the darkest and the brightest color of a scale for all maps, which the page then offers
            beside each map's own range.
        names: of the images.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        maps: Callable[[int], Mapping[str, np.ndarray]],
        labels: Sequence[str] | None = None,
        limits: tuple[float, float] | None = None,
        names: Sequence[str] | None = None,
    ):
        self.photos, self.maps, self.labels = images, maps, labels
        shapes = {name: found.shape for name, found in maps(0).items()}
        stages = [{"name": n, "shape": list(shape), "count": min(shape[0], SHOWN)} for n, shape in shapes.items()]
        colors = (matplotlib.colormaps["viridis"](range(256))[:, :3] * 255).round().astype(int).tolist()
        items = [{"name": name} for name in names or [f"image {number}" for number in range(1, len(images) + 1)]]
        facts = {"stages": stages, "colors": colors, "limits": limits}
        self.canvas = MapCanvas(self._sent, facts=facts, items=items, opacity=1.0)
        self.image = widgets.IntSlider(0, 0, len(images) - 1, description="image", readout=False)
        self.stage = widgets.SelectionSlider(options=list(shapes))
        self.place = widgets.IntSlider(1, 1, max(stage["count"] for stage in stages), description="map")
        self.opacity = widgets.FloatSlider(1, min=0, max=1, step=0.05)
        sliders = self.canvas.linked(position=self.image, stage=self.stage, place=self.place, opacity=self.opacity)
        super().__init__([*sliders, self.canvas])

    def _sent(self, row: int) -> dict[str, Any]:
        """Files of one image: `image` (JPEG), and of each stage its `maps`, one below the other (PNG), in 255ths of the
        way from each map's lowest value to its highest, with `lows`, `highs` and `labels`.
        """
        layers = []
        for found in self.maps(row).values():
            order = (strongest_channels(found) if self.labels is None else np.arange(len(found)))[:SHOWN]
            chosen = found[order].astype(np.float32)
            lows, highs = chosen.min(axis=(1, 2)), chosen.max(axis=(1, 2))
            spread = np.where(highs > lows, highs - lows, 1)
            levels = (chosen - lows[:, None, None]) / spread[:, None, None] * 255
            files = {"maps": encoded(levels.round().astype(np.uint8).reshape(-1, found.shape[2]), "PNG")}
            labels = [f"channel {channel}" for channel in order] if self.labels is None else self.labels[:SHOWN]
            layers.append(files | {"lows": lows.tolist(), "highs": highs.tolist(), "labels": [*labels]})
        return {"image": encoded(self.photos[row], "JPEG"), "layers": layers}

    def to_html(self, count: int = 6) -> str:
        """The browser of the first images for a page without a kernel. Without scripts: an image and its first map."""
        files = [self.canvas.sent(row) for row in range(min(count, len(self.photos)))]
        image, (name, maps) = self.photos[0], next(iter(self.maps(0).items()))
        first = painted_map(maps[0 if self.labels else strongest_channels(maps)[0]])
        first = np.asarray(Image.fromarray(first).resize(image.shape[1::-1], Image.NEAREST))
        alt = f"An image, and beside it a map of {name}, dark where it is low"
        return self.canvas.to_html(files, painting.montage([[image, first]]), alt)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**options) | {"text/html": self.to_html()}


def module_outputs(model: nn.Module, images: Tensor, names: Sequence[str]) -> Callable[[int], dict[str, np.ndarray]]:
    """From the index of an image to what modules of a network give for it, `float32 [C, h, w]` by the modules' names.

    Args:
        model: the network; it is put into evaluation mode.
        images: `float [B, C, H, W]`, prepared as the network wants them, on its device.
        names: of modules whose output is `[B, C, h, w]`.
    """
    modules = {name: model.eval().get_submodule(name) for name in names}

    @lru_cache(maxsize=32)
    @torch.no_grad()
    def outputs(index: int) -> dict[str, np.ndarray]:
        found: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(lambda _, inputs, output, name=name: found.__setitem__(name, output[0]))
            for name, module in modules.items()
        ]
        try:
            model(images[[index]])
        finally:
            for hook in hooks:
                hook.remove()
        return {name: found[name].float().cpu().numpy() for name in names}

    return outputs
