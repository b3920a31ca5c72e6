"""A browser of predictions against masks: sliders, and a canvas that paints in the page without asking the kernel."""

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
import traitlets
from PIL import Image

from labkit import painting
from labkit.analysis import Predictor
from labkit.browser.canvas import SHARED, Canvas, encoded
from labkit.data import Batch, Pets, read_image, resize_image, resize_trimap
from labkit.errors import LabError
from labkit.files import written_whole
from labkit.metrics import foreground_logit, predicted_mask, resize_logits

SIDE = 512  # longest side of an image that is sent to the page, in pixels; larger ones are made smaller


class PredictionCanvas(Canvas):
    """What `browser.js` paints: images with probabilities and truths, as `Browser.sent` makes them."""

    _esm = SHARED + Path(__file__).with_name("browser.js").read_text(encoding="utf-8")
    threshold = traitlets.Float(0.5).tag(sync=True, page=True)
    zoom = traitlets.Float(1).tag(sync=True, page=True)
    view = traitlets.Unicode("all").tag(sync=True, page=True)
    order = traitlets.Unicode("given").tag(sync=True, page=True)
    message = traitlets.Unicode().tag(sync=True)


class Browser(widgets.VBox):
    """Images with truth, prediction, probability and mistakes; Dice of what is shown, at the threshold that is shown.

    Args:
        predictors: a network, or several by name, which are shown next to each other.
        table: a row an image, by name, such as `evaluate(...).images.set_index("name")`. With a column `dice` the worst
            images come first; the page sorts by any number in it and draws Dice against the first other one.
        validation: mean Dice of the validation images by threshold; `chosen` is the threshold that was chosen on it.

    Raises:
        LabError: the data have other classes than a network, or the networks have different ones.
    """

    def __init__(
        self,
        predictors: Predictor | Mapping[str, Predictor],
        pets: Pets,
        indices: Sequence[int] | np.ndarray,
        table: pd.DataFrame | None = None,
        validation: pd.Series | None = None,
        chosen: float | None = None,
    ):
        self.predictors = dict(predictors) if isinstance(predictors, Mapping) else {"": predictors}
        self.pets, self.photos = pets, []
        classes = {predictor.class_names(pets): predictor for predictor in self.predictors.values()}
        if len(classes) > 1:
            raise LabError(f"the networks know different classes: {', '.join(map(str, classes))}; take one target's")
        [(self.names, predictor)] = classes.items()
        self.prepare = predictor.batch_transform(pets)
        names = [pets.items[index].name for index in indices]
        table = pd.DataFrame(index=names) if table is None else table.loc[names].select_dtypes("number")
        table = table.sort_values("dice", kind="stable") if "dice" in table else table
        self.indices = [pets.indices[name] for name in table.index]
        values = table.astype(object).where(table.notna(), None).to_dict("records")
        known = [pets.items[index] for index in self.indices]
        items = [{"name": p.name, "breed": p.breed, "values": v} for p, v in zip(known, values, strict=True)]
        colors = painting.CLASS_COLORS[: len(self.names)].tolist()
        facts = {"classes": list(zip(self.names, colors, strict=True)), "runs": list(self.predictors)}
        curve = [] if validation is None else [*validation.items()]
        facts |= {"columns": list(table), "chosen": chosen, "curve": curve}
        view = "all" if len(self.predictors) == 1 else "errors"
        state = {"view": view, "threshold": 0.5 if chosen is None else chosen}
        self.canvas = PredictionCanvas(self._sent, facts=facts, items=items, **state)
        self.sent = self.canvas.sent
        self.image = widgets.IntSlider(0, 0, len(items) - 1, description="image", readout=False)
        self.threshold = widgets.FloatSlider(self.canvas.threshold, min=0.02, max=0.98, step=0.02)
        self.opacity = widgets.FloatSlider(0.5, min=0, max=1, step=0.05)
        self.zoom = widgets.FloatSlider(1, min=1, max=8, step=0.5)
        sliders = self.canvas.linked(
            position=self.image, threshold=self.threshold, opacity=self.opacity, zoom=self.zoom
        )
        self.threshold.layout.display = "none" if len(self.names) > 2 else None
        self.canvas.on_msg(self._receive)
        super().__init__([*sliders, self.canvas])

    def _receive(self, canvas: Canvas, content: dict[str, Any], buffers: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                if "photo" in content:
                    path = Path(folder) / Path(content["photo"]).name
                    path.write_bytes(buffers[0])
                    self.add_photo(path)
                else:
                    canvas.message = f"saved as {self.save_cutout(content['save'], canvas.threshold)}"
            except LabError as error:
                canvas.message = str(error).replace(folder, "").lstrip("/\\")

    def add_photo(self, path: str | Path) -> None:
        """Show an image file of one's own, which is predicted at its own size; LabError where it is none."""
        self.photos.append(read_image(Path(path)))
        canvas, row = self.canvas, len(self.canvas.items)
        canvas.items = [*canvas.items, {"name": Path(path).stem, "breed": "your photo", "values": {}}]
        canvas.images, canvas.message, canvas.order = {str(row): self.sent(row)}, "", "given"
        self.image.max = self.image.value = row

    def save_cutout(self, row: int, threshold: float = 0.5) -> Path:
        """Write `<name>-cutout.png` into the working directory: the image at its own size, transparent where the first
        network sees no pet. LabError: another file has that name.
        """
        image, predictor = self._image(row), next(iter(self.predictors.values()))
        mask = predicted_mask(predictor.image_logits(image)[None], threshold)[0].cpu().numpy() > 0
        path = Path.cwd() / f"{self.canvas.items[row]['name']}-cutout.png"
        with written_whole(path) as file:
            Image.fromarray(np.dstack([image, mask.astype(np.uint8) * 255])).save(file, "PNG", compress_level=1)
        return path

    def to_html(self, count: int = 24, side: int = 256) -> str:
        """The browser of the first images for a page without a kernel; nothing is fetched. Without scripts: a still."""
        images = [self._sent(row, side) for row in range(min(count, len(self.indices)))]
        files = (Image.open(io.BytesIO(images[0][name])) for name in ("image", "truth", "map0"))
        image, truth, levels = map(np.asarray, files)
        levels, classes = levels.reshape(-1, *truth.shape), np.array(images[0]["classes0"])
        found = classes[levels.argmax(0)] if len(classes) > 1 else levels[0] >= 256 * self.canvas.threshold
        alt = f"{self.canvas.items[0]['name']}: missed pixels blue, extra ones vermilion, true outline white"
        return self.canvas.to_html(images, painting.error_map(image, found, truth), alt)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**options) | {"text/html": self.to_html()}

    def _sent(self, row: int, side: int = SIDE) -> dict[str, Any]:
        """Files of one image: `image` (JPEG), `truth` (PNG; none for a photo), and of each network `map0` ... (PNG).

        A map holds probabilities in 256ths, rounded down, of the classes in `classes0` ..., one below the other: of the
        foreground, or, where there are several classes, of the background and those in prediction or truth.
        """
        index = self.indices[row] if row < len(self.indices) else None
        full, several, occurring = self._image(row), len(self.names) > 2, {0}
        size = tuple(max(1, round(length * min(1, side / max(full.shape)))) for length in full.shape[:2])
        image = resize_image(full, size)
        files: dict[str, Any] = {"image": encoded(image, "JPEG")}
        if index is not None:
            arrays = (image, resize_trimap(self.pets.trimap(index), size))
            batch = Batch(*(torch.from_numpy(array[None].copy()) for array in arrays), torch.tensor([index]))
            truth = self.prepare(batch)[1][0].byte().cpu().numpy()
            files["truth"], occurring = encoded(truth, "PNG"), {0, *truth.ravel().tolist()} - {painting.IGNORED}
        for number, predictor in enumerate(self.predictors.values()):
            logits = resize_logits(predictor.image_logits(full)[None], size)
            classes = sorted(occurring | set(predicted_mask(logits).unique().tolist())) if several else [1]
            shares = logits[0].softmax(0)[classes] if several else foreground_logit(logits)[0].sigmoid()
            levels = (shares * 256).clamp(max=255).byte().cpu().numpy().reshape(-1, size[1])
            files |= {f"map{number}": encoded(levels, "PNG"), f"classes{number}": classes}
        return files

    def _image(self, row: int) -> np.ndarray:
        return self.pets.image(self.indices[row]) if row < len(self.indices) else self.photos[row - len(self.indices)]
