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
from labkit.data import Batch, Pets, load_arrays
from labkit.metrics import class_counts, confusion_matrix, dice_score, foreground_logit, per_image, predicted_mask

SIDE = 280
"""Side of each of the three images on the screen, in pixels."""


class Browser(widgets.VBox):
    """Three images side by side: the truth, the prediction, the mistakes.

    With one foreground the truth is an outline, the prediction a tint, and a threshold cuts the probabilities. With
    several classes both are tinted in the classes' colors, and there is no threshold. The network sees an image once.

    `indices` are those of the images, in the order of the slider. Data with another number of classes than the network
    raise LabError.
    """

    def __init__(self, predictor: Predictor, pets: Pets, indices: np.ndarray):
        self.predictor, self.pets, self.indices = predictor, pets, np.asarray(indices)
        self.names = predictor.class_names(pets)
        self.several_classes = len(self.names) > 2
        self.arrays = load_arrays(pets, predictor.recipe.data.image_size)
        self.prepare = predictor.batch_transform(pets)
        self.seen = lru_cache(maxsize=256)(self._see)
        wide = {"style": {"description_width": "5.5em"}, "layout": {"width": "26em"}}
        self.image = widgets.IntSlider(0, 0, len(self.indices) - 1, description="image", **wide)
        self.threshold = widgets.FloatSlider(0.5, min=0.02, max=0.98, step=0.02, description="threshold", **wide)
        self.opacity = widgets.FloatSlider(0.5, min=0, max=1, step=0.05, description="opacity", **wide)
        if self.several_classes:
            self.threshold.layout.display = "none"
        self.caption = widgets.HTML()
        self.sheet = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))
        for slider in (self.image, self.threshold, self.opacity):
            slider.observe(self._draw, names="value")
        super().__init__([widgets.VBox([self.image, self.threshold, self.opacity]), self.caption, self.sheet])
        self._draw()

    @property
    def dice(self) -> float:
        """Dice of the shown image at the shown threshold."""
        return per_image(dice_score, self._counts()[None]).item()

    def _draw(self, change: dict | None = None) -> None:
        image, opacity = self.arrays.images[self._index()], self.opacity.value
        prediction, truth = self._masks()
        if self.several_classes:
            left, middle = (painting.class_overlay(image, mask, opacity) for mask in (truth, prediction))
        else:
            left = painting.with_outline(image, truth == 1)
            middle = painting.overlay(image, prediction == 1, opacity)
        row = [left, middle, painting.error_map(image, prediction, truth, max(0.2, opacity))]
        sheet = painting.montage([[Image.fromarray(cell).resize((SIDE, SIDE), Image.NEAREST) for cell in row]])
        encoded = io.BytesIO()
        Image.fromarray(sheet).save(encoded, format="PNG", compress_level=1)
        self.caption.value, self.sheet.value = self._caption(), encoded.getvalue()

    def _caption(self) -> str:
        pet = self.pets.items[self._index()]
        title = f"<b>{html.escape(pet.name)}</b> ({html.escape(pet.breed)}) &nbsp; Dice <b>{self.dice:.3f}</b>"
        legend = "<br>left: truth; middle: prediction; right: missed (blue), extra (red)"
        if not self.several_classes:
            return f"{title} at threshold {self.threshold.value:.2f}{legend}"
        classes = []
        for name, color, count in zip(self.names[1:], painting.CLASS_COLORS[1:], self._counts(), strict=False):
            if count[1:].sum() > 0:  # in the prediction or the truth
                square = f'<span style="padding:0 0.4em;background:#{color.tobytes().hex()}"></span>'
                classes.append(f"{square} {html.escape(name)} {dice_score(count):.3f}")
        scores = " &nbsp; ".join(classes) or "background alone"
        return f"{title}, the mean over its classes: {scores}{legend}, wrong class (purple)"

    def _index(self) -> int:
        return int(self.indices[self.image.value])

    def _masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Prediction and truth of the shown image at the shown threshold, class indices `uint8 [S, S]`."""
        found, truth = self.seen(self._index())
        return found if self.several_classes else (found > self.threshold.value).astype(np.uint8), truth

    def _counts(self) -> torch.Tensor:
        """Intersection, prediction and truth of every class but the background in the shown image, `[C - 1, 3]`."""
        return class_counts(confusion_matrix(*map(torch.from_numpy, self._masks()), len(self.names)))[1:]

    def _see(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Probability of the foreground `float32 [S, S]` (class indices `uint8` for several classes), and the truth."""
        pixels = (torch.from_numpy(array[[index]]) for array in (self.arrays.images, self.arrays.trimaps))
        images, masks = self.prepare(Batch(*pixels, torch.tensor([index])))
        logits = self.predictor.logits(images)
        found = predicted_mask(logits).byte() if self.several_classes else foreground_logit(logits).sigmoid()
        return found[0].cpu().numpy(), masks[0].byte().cpu().numpy()
