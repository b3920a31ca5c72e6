"""A browser of predictions against masks: sliders for image, threshold and opacity, Dice of what is shown."""

import html
import io
from functools import lru_cache

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image

from labkit import painting
from labkit.analysis import Predictor
from labkit.data import Pets, load_arrays, mask_from_trimap
from labkit.errors import LabError
from labkit.metrics import dice_score, foreground_logit, overlap_counts, per_image

SIDE = 280
"""Side of each of the three pictures on the screen, in pixels."""


class Browser(widgets.VBox):
    """Three pictures side by side: the truth as an outline, the prediction as a tint, the mistakes.

    The network sees an image when the slider first reaches it; its probabilities are kept, so that threshold and
    opacity only cut and paint. Pictures go to the page as PNG through one `widgets.Image`.

    Args:
        predictor: from `load_predictor`, for a target with one foreground.
        pets: the data set.
        positions: which images, in the order of the slider.
    """

    def __init__(self, predictor: Predictor, pets: Pets, positions: np.ndarray):
        if predictor.recipe.data.target not in ("foreground", "foreground_strict", "border_ignored"):
            raise LabError(
                f"the browser shows one foreground; target {predictor.recipe.data.target!r} has several classes"
            )
        self.predictor, self.pets, self.positions = predictor, pets, np.asarray(positions)
        self.arrays = load_arrays(pets, predictor.recipe.data.image_size)
        self.probability = lru_cache(maxsize=256)(self._probability)
        wide = {"style": {"description_width": "5.5em"}, "layout": widgets.Layout(width="26em")}
        self.image = widgets.IntSlider(0, 0, len(self.positions) - 1, description="image", **wide)
        self.threshold = widgets.FloatSlider(0.5, min=0.02, max=0.98, step=0.02, description="threshold", **wide)
        self.opacity = widgets.FloatSlider(0.5, min=0, max=1, step=0.05, description="opacity", **wide)
        self.caption = widgets.HTML()
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))
        for slider in (self.image, self.threshold, self.opacity):
            slider.observe(self._draw, names="value")
        super().__init__([widgets.VBox([self.image, self.threshold, self.opacity]), self.caption, self.picture])
        self._draw()

    @property
    def dice(self) -> float:
        """Dice of the shown image at the shown threshold."""
        counts = overlap_counts(
            torch.from_numpy(self._prediction())[None].long(), torch.from_numpy(self._truth())[None]
        )
        return per_image(dice_score, counts).item()

    def _draw(self, change: dict | None = None) -> None:
        position = int(self.positions[self.image.value])
        pet = self.pets.items[position]
        image, truth, prediction = self.arrays.images[position], self._truth() == 1, self._prediction()
        pictures = [
            painting.with_outline(image, truth),
            painting.overlay(image, prediction, self.opacity.value),
            painting.error_map(image, prediction, truth, max(0.2, self.opacity.value)),
        ]
        sheet = painting.montage(
            [[np.asarray(Image.fromarray(p).resize((SIDE, SIDE), Image.NEAREST)) for p in pictures]]
        )
        encoded = io.BytesIO()
        Image.fromarray(sheet).save(encoded, format="PNG", compress_level=1)
        self.caption.value = (
            f"<b>{html.escape(pet.name)}</b> ({html.escape(pet.breed)}) &nbsp; "
            f"Dice <b>{self.dice:.3f}</b> at threshold "
            f"{self.threshold.value:.2f}<br>left: true outline; middle: prediction; right: missed (blue), extra (red)"
        )
        self.picture.value = encoded.getvalue()

    def _prediction(self) -> np.ndarray:
        return self.probability(int(self.positions[self.image.value])) > self.threshold.value

    def _truth(self) -> np.ndarray:
        trimap = torch.from_numpy(self.arrays.trimaps[int(self.positions[self.image.value])].copy())[None]
        return mask_from_trimap(trimap, self.predictor.recipe.data.target)[0].numpy()

    def _probability(self, position: int) -> np.ndarray:
        logits = self.predictor.image_logits(np.asarray(self.arrays.images[position]))[None]
        return foreground_logit(logits).sigmoid()[0].cpu().numpy()
