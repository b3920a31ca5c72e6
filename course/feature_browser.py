"""A browser of feature maps: sliders for image, stage and channel; the strongest channels of a stage side by side."""

import html
import io
from collections.abc import Sequence
from functools import lru_cache

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from course.figures.unet import painted_map, strongest_channels
from labkit import painting

SIDE, GRID = 288, 4
"""Side of a large image on the screen in pixels; the strongest GRID x GRID channels are shown small beside it."""


class FeatureBrowser(widgets.VBox):
    """An image, its strongest feature maps after a stage of a network, and one of these large.

    A pass of the network keeps the maps of all stages of an image; the sliders only choose and draw. Each map is
    scaled to its own range. Images go to the page as PNG through one `widgets.Image`.

    Args:
        model: the network; it is put into evaluation mode.
        images: `float [B, C, H, W]`, prepared as the network wants them, on its device.
        originals: the same images to be shown, `uint8 [B, H, W, 3]`.
        stages: names of modules whose output `[B, C, h, w]` is shown, in the slider's order.
    """

    def __init__(self, model: nn.Module, images: Tensor, originals: Sequence[np.ndarray], stages: Sequence[str]):
        self.model, self.images, self.originals = model.eval(), images, originals
        self.stages = {name: model.get_submodule(name) for name in stages}
        self.maps = lru_cache(maxsize=32)(self._maps)
        wide = {"style": {"description_width": "5.5em"}, "layout": {"width": "26em"}}
        self.image = widgets.IntSlider(0, 0, len(images) - 1, description="image", **wide)
        self.stage = widgets.SelectionSlider(options=list(stages), description="stage", **wide)
        self.rank = widgets.IntSlider(1, 1, 1, description="strongest", **wide)
        self.caption = widgets.HTML()
        self.view = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))
        for slider in (self.image, self.stage, self.rank):
            slider.observe(self._draw, names="value")
        super().__init__([widgets.VBox([self.image, self.stage, self.rank]), self.caption, self.view])
        self._draw()

    def _draw(self, change: dict | None = None) -> None:
        maps = self.maps(self.image.value)[self.stage.value]
        order = strongest_channels(maps)[: GRID**2]
        self.rank.max = len(order)  # moves the slider back if it is beyond
        chosen, small = self.rank.value - 1, [_enlarged(painted_map(maps[channel]), SIDE // GRID) for channel in order]
        small[chosen][[0, 1, 2, -3, -2, -1]] = small[chosen][:, [0, 1, 2, -3, -2, -1]] = painting.ORANGE
        small += [np.full_like(small[0], 255)] * (GRID**2 - len(order))
        sheet = painting.montage([small[i : i + GRID] for i in range(0, GRID**2, GRID)], gap=0)
        large = maps[order[chosen]]
        shown = [_enlarged(self.originals[self.image.value], SIDE), sheet, _enlarged(painted_map(large), SIDE)]
        encoded = io.BytesIO()
        Image.fromarray(painting.montage([shown])).save(encoded, format="PNG", compress_level=1)
        self.caption.value = (
            f"<b>{html.escape(self.stage.value)}</b>: {maps.shape[0]} channels of {maps.shape[1]} × {maps.shape[2]}; "
            f"the framed one, large on the right, is channel <b>{order[chosen]}</b>, "
            f"from {large.min():.2f} (dark) to {large.max():.2f} (bright)"
        )
        self.view.value = encoded.getvalue()

    @torch.no_grad()
    def _maps(self, image: int) -> dict[str, np.ndarray]:
        """What each stage gives for an image, `float32 [C, h, w]`."""
        found: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(lambda _, inputs, output, name=name: found.__setitem__(name, output[0]))
            for name, module in self.stages.items()
        ]
        try:
            self.model(self.images[[image]])
        finally:
            for hook in hooks:
                hook.remove()
        return {name: maps.float().cpu().numpy() for name, maps in found.items()}


def _enlarged(image: np.ndarray, side: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((side, side), Image.NEAREST))
