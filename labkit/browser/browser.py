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
"""Side of each of the three pictures on the screen, in pixels."""


class Browser(widgets.VBox):
    """Three pictures side by side: the truth, the prediction, the mistakes.

    With one foreground the truth is an outline, the prediction a tint, and a threshold cuts the probabilities. With
    several classes truth and prediction are tinted in the classes' colors, each pixel is given to the most probable
    class, and there is no threshold.

    The network sees an image when the slider first reaches it; what it says is kept, so that threshold and
    opacity only cut and paint. Pictures go to the page as PNG through one `widgets.Image`.

    Args:
        predictor: from `load_predictor`.
        pets: the data set.
        indices: which images, in the order of the slider.

    Raises:
        LabError: the data have another number of classes than the network.
    """

    def __init__(self, predictor: Predictor, pets: Pets, indices: np.ndarray):
        self.predictor, self.pets, self.indices = predictor, pets, np.asarray(indices)
        self.names = predictor.class_names(pets)
        self.arrays = load_arrays(pets, predictor.recipe.data.image_size)
        self.prepare = predictor.batch_transform(pets)
        self.seen = lru_cache(maxsize=256)(self._see)
        wide = {"style": {"description_width": "5.5em"}, "layout": {"width": "26em"}}
        self.image = widgets.IntSlider(0, 0, len(self.indices) - 1, description="image", **wide)
        self.threshold = widgets.FloatSlider(0.5, min=0.02, max=0.98, step=0.02, description="threshold", **wide)
        self.opacity = widgets.FloatSlider(0.5, min=0, max=1, step=0.05, description="opacity", **wide)
        if self.has_several_classes:
            self.threshold.layout.display = "none"
        self.caption = widgets.HTML()
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))
        for slider in (self.image, self.threshold, self.opacity):
            slider.observe(self._draw, names="value")
        super().__init__([widgets.VBox([self.image, self.threshold, self.opacity]), self.caption, self.picture])
        self._draw()

    @property
    def has_several_classes(self) -> bool:
        """Whether there is more to tell apart than one foreground and the background."""
        return len(self.names) > 2

    @property
    def dice(self) -> float:
        """Dice of the shown image at the shown threshold; the mean over its classes where there are several."""
        return per_image(dice_score, self._counts()).item()

    def _draw(self, change: dict | None = None) -> None:
        image, prediction, truth = self.arrays.images[self._index()], self._prediction(), self._truth()
        opacity = self.opacity.value
        if self.has_several_classes:
            left, middle = (painting.class_overlay(image, mask, opacity) for mask in (truth, prediction))
        else:
            left = painting.with_outline(image, truth == 1)
            middle = painting.overlay(image, prediction == 1, opacity)
        pictures = [left, middle, painting.error_map(image, prediction, truth, max(0.2, opacity))]
        sheet = painting.montage(
            [[np.asarray(Image.fromarray(p).resize((SIDE, SIDE), Image.NEAREST)) for p in pictures]]
        )
        encoded = io.BytesIO()
        Image.fromarray(sheet).save(encoded, format="PNG", compress_level=1)
        self.caption.value = self._caption()
        self.picture.value = encoded.getvalue()

    def _caption(self) -> str:
        pet = self.pets.items[self._index()]
        title = f"<b>{html.escape(pet.name)}</b> ({html.escape(pet.breed)}) &nbsp; Dice <b>{self.dice:.3f}</b>"
        if not self.has_several_classes:
            return (
                f"{title} at threshold {self.threshold.value:.2f}<br>"
                "left: true outline; middle: prediction; right: missed (blue), extra (red)"
            )
        counts = self._counts()[0]
        scores = dice_score(counts).tolist()
        shown = [index for index, (_, predicted, true) in enumerate(counts.tolist()) if predicted + true > 0]
        classes = [f"{_square(i + 1)} {html.escape(self.names[i + 1])} {scores[i]:.3f}" for i in shown]
        return (
            f"{title}, the mean over its classes: {' &nbsp; '.join(classes) or 'background alone'}<br>"
            "left: truth; middle: prediction; right: missed (blue), extra (red), wrong class (purple)"
        )

    def _index(self) -> int:
        return int(self.indices[self.image.value])

    def _prediction(self) -> np.ndarray:
        found = self.seen(self._index())[0]
        return found if self.has_several_classes else (found > self.threshold.value).astype(np.uint8)

    def _truth(self) -> np.ndarray:
        return self.seen(self._index())[1]

    def _counts(self) -> torch.Tensor:
        """Intersection, prediction and truth of every class but the background in the shown image, `[1, C - 1, 3]`."""
        pair = (torch.from_numpy(mask) for mask in (self._prediction(), self._truth()))
        return class_counts(confusion_matrix(*pair, len(self.names)))[None, 1:]

    def _see(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Probability of the foreground `float32 [S, S]` (class indices `uint8` for several classes), and the truth."""
        pixels = (torch.from_numpy(array[[index]]) for array in (self.arrays.images, self.arrays.trimaps))
        images, masks = self.prepare(Batch(*pixels, torch.tensor([index])))
        logits = self.predictor.logits(images)
        found = predicted_mask(logits).byte() if self.has_several_classes else foreground_logit(logits).sigmoid()
        return found[0].cpu().numpy(), masks[0].byte().cpu().numpy()


def _square(index: int) -> str:
    """A small square in the color of a class, as HTML."""
    red, green, blue = painting.CLASS_COLORS[index]
    return (
        '<span style="display:inline-block;width:0.8em;height:0.8em;border:1px solid #888;'
        f'background:#{red:02x}{green:02x}{blue:02x}"></span>'
    )
