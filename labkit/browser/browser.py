"""A browser of predictions against masks: sliders, and a canvas that paints in the page without asking the kernel."""

import base64
import hashlib
import html
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
import traitlets
from PIL import Image

from labkit import painting
from labkit.analysis import Predictor
from labkit.data import Batch, Pets, read_image, resize_image, resize_trimap
from labkit.errors import LabError
from labkit.files import written_whole
from labkit.metrics import foreground_logit, predicted_mask, resize_logits

SIDE = 512
"""Longest side of an image that is sent to the page, in pixels; larger ones are made smaller."""


class Canvas(anywidget.AnyWidget):
    """What `browser.js` paints: images, probabilities and truths, which it asks for by their rows in `items`."""

    _esm = Path(__file__).with_name("browser.js")
    _css = Path(__file__).with_name("browser.css")
    facts = traitlets.Dict().tag(sync=True)  # classes and their colors, names of runs, columns, validation curve
    items = traitlets.List().tag(sync=True)  # name, breed and table row of each image
    images = traitlets.Dict().tag(sync=True)  # row -> files, as `Browser.sent` makes them: what is sent now
    wanted = traitlets.List().tag(sync=True)  # rows that the page lacks
    kernel = traitlets.Bool(True).tag(sync=True)  # without one the page draws its own sliders
    position = traitlets.Int(0).tag(sync=True)
    threshold = traitlets.Float(0.5).tag(sync=True)
    opacity = traitlets.Float(0.5).tag(sync=True)
    zoom = traitlets.Float(1).tag(sync=True)
    view = traitlets.Unicode("all").tag(sync=True)
    order = traitlets.Unicode("given").tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)


class Browser(widgets.VBox):
    """Images with truth, prediction, probability and mistakes; Dice of what is shown, at the threshold that is shown.

    Sliders and views act in the page alone. The kernel sends an image once, and its neighbors ahead.

    Args:
        predictors: a network, or several by name, which are shown next to each other.
        indices: of the images, in the order of the slider.
        table: a row an image, by name, such as `evaluate(...).images.set_index("name")`. With a column `dice` the worst
            images come first; the page sorts by any number in it and draws Dice against one of them.
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
        known = {name: predictor.class_names(pets) for name, predictor in self.predictors.items()}
        if len(set(known.values())) > 1:
            raise LabError(f"these networks know different classes: {known}; give the browser networks of one target")
        first, self.names = next(iter(self.predictors.values())), next(iter(known.values()))
        self.prepare, self.sent = first.batch_transform(pets), lru_cache(maxsize=64)(self._sent)
        names = [pets.items[index].name for index in indices]
        table = pd.DataFrame(index=names) if table is None else table.loc[names].select_dtypes("number")
        if "dice" in table:
            table = table.sort_values("dice", kind="stable")
        self.indices = np.array([pets.indices[name] for name in table.index])
        facts: dict[str, Any] = {
            "classes": [[name, color.tolist()] for name, color in zip(self.names, painting.CLASS_COLORS, strict=False)],
            "runs": list(self.predictors),
            "columns": list(table),
        }
        if validation is not None:
            facts |= {"curve": [[float(t), float(dice)] for t, dice in validation.items()], "chosen": chosen}
        rows = zip(
            self.indices, table.round(4).astype(object).where(table.notna(), None).to_dict("records"), strict=True
        )
        items = [{"name": pets.items[i].name, "breed": pets.items[i].breed, "values": row} for i, row in rows]
        view = "all" if len(self.predictors) == 1 else "errors"
        self.canvas = Canvas(facts=facts, items=items, view=view, threshold=0.5 if chosen is None else chosen)
        self.canvas.images = {str(row): self.sent(row) for row in range(min(3, len(items)))}
        self.image = widgets.IntSlider(0, 0, len(items) - 1)
        self.threshold = widgets.FloatSlider(self.canvas.threshold, min=0.02, max=0.98, step=0.02)
        self.opacity = widgets.FloatSlider(0.5, min=0, max=1, step=0.05)
        self.zoom = widgets.FloatSlider(1, min=1, max=8, step=0.5)
        sliders = {"position": self.image, "threshold": self.threshold, "opacity": self.opacity, "zoom": self.zoom}
        for name, slider in sliders.items():
            slider.description, slider.layout.width = "image" if name == "position" else name, "26em"
            widgets.jslink((slider, "value"), (self.canvas, name))
        if len(self.names) > 2:
            self.threshold.layout.display = "none"
        self.canvas.observe(self._send, names="wanted")
        self.canvas.on_msg(self._receive)
        super().__init__([*sliders.values(), self.canvas])

    def _send(self, change: dict[str, Any]) -> None:
        for row in change["new"]:
            self.canvas.images = {str(row): self.sent(row)}

    def _receive(self, canvas: Canvas, content: dict[str, Any], buffers: list[Any]) -> None:
        try:
            if "photo" in content:
                self.add_photo(content["photo"], bytes(buffers[0]))
            else:
                canvas.message = f"saved as {self.save_cutout(content['save'], canvas.threshold)}"
        except LabError as error:
            canvas.message = str(error)

    def add_photo(self, name: str, content: bytes) -> None:
        """Show a photograph of one's own, the bytes of an image file; LabError where they are none."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_bytes(content)
            try:
                self.photos.append(read_image(path))
            except LabError as error:
                raise LabError(str(error).replace(str(path), path.name)) from None
        canvas = self.canvas
        canvas.items = [*canvas.items, {"name": Path(name).stem, "breed": "your photo", "values": {}}]
        self.image.max = row = len(canvas.items) - 1
        canvas.images, canvas.message, canvas.order = {str(row): self.sent(row)}, "", "given"
        self.image.value = row

    def save_cutout(self, row: int, threshold: float = 0.5) -> Path:
        """Write `<name>-cutout.png` into the working directory: the image's own pixels, transparent where no pet is.

        The first network decides, at the image's own size. LabError: another file has that name.
        """
        image, predictor = self._image(row), next(iter(self.predictors.values()))
        mask = predicted_mask(predictor.image_logits(image)[None], threshold)[0].cpu().numpy() > 0
        path = Path.cwd() / f"{self.canvas.items[row]['name']}-cutout.png"
        with written_whole(path) as file:
            Image.fromarray(np.dstack([image, mask.astype(np.uint8) * 255])).save(file, "PNG", compress_level=1)
        return path

    def to_html(self, count: int = 24, side: int = 256) -> str:
        """The browser of the first `count` images for a page without a kernel, complete and without a link to fetch.

        Without scripts the page shows a still image: truth, prediction and mistakes of the first one.
        """
        names = ("facts", "threshold", "opacity", "zoom", "view", "order", "items", "position")
        state = {name: getattr(self.canvas, name) for name in names} | {"position": 0}
        state["items"] = state["items"][:count]
        state["images"] = {str(row): self._sent(row, side) for row in range(len(state["items"]))}
        text = json.dumps(state, default=_base64).replace("</", "<\\/")
        mark = f"labkit-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        script, style = (Path(__file__).with_name(f"browser.{kind}").read_text("utf-8") for kind in ("js", "css"))
        return (
            f'<style>{style}</style><div id="{mark}">{self._still(side)}</div>'
            f'<script type="module">{script}\nstandalone(document.getElementById("{mark}"), {text});</script>'
        )

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**options) | {"text/html": self.to_html()}

    def _still(self, side: int) -> str:
        image, truth, maps = self._arrays(0, side)
        classes, levels = maps[0]
        cut = levels[0] >= 256 * self.canvas.threshold
        found = np.array(classes, np.uint8)[levels.argmax(0)] if len(self.names) > 2 else cut.astype(np.uint8)
        marked = painting.error_map(image, found, truth)
        sheet = painting.montage([[painting.class_overlay(image, truth), painting.class_overlay(image, found), marked]])
        alt = f"{html.escape(self.canvas.items[0]['name'])}: the true mask, the predicted mask, and the mistakes"
        source = f"data:image/jpeg;base64,{_base64(_encoded(sheet, 'JPEG'))}"
        return f'<img alt="{alt}" style="max-width: 100%" src="{source}">'

    def _sent(self, row: int, side: int = SIDE) -> dict[str, Any]:
        """Files of one image: `image` (JPEG), `truth` (PNG of class indices; none for a photo), and of each network
        `map0`, `map1` ... (PNG): the probabilities of the classes in `classes0` ..., one below the other.
        """
        image, truth, maps = self._arrays(row, side)
        files: dict[str, Any] = {"image": _encoded(image, "JPEG")}
        files |= {} if truth is None else {"truth": _encoded(truth, "PNG")}
        for number, (classes, levels) in enumerate(maps):
            files |= {
                f"map{number}": _encoded(levels.reshape(-1, levels.shape[-1]), "PNG"),
                f"classes{number}": classes,
            }
        return files

    def _arrays(self, row: int, side: int) -> tuple[np.ndarray, np.ndarray | None, list[tuple[list[int], np.ndarray]]]:
        """Image `uint8 [H, W, 3]`, truth `uint8 [H, W]`, and of each network classes and levels `uint8 [K, H, W]`.

        Levels are probabilities in 256ths, rounded down: of the foreground, or, where there are several classes, of
        the background and of those that occur in prediction or truth.
        """
        full, truth, several = self._image(row), None, len(self.names) > 2
        scale = min(1, side / max(full.shape[:2]))
        size = (max(1, round(full.shape[0] * scale)), max(1, round(full.shape[1] * scale)))
        image, maps, occurring = resize_image(full, size), [], {0}
        if row < len(self.indices):
            index = int(self.indices[row])
            trimap = resize_trimap(self.pets.trimap(index), size)
            batch = Batch(*(torch.from_numpy(a[None].copy()) for a in (image, trimap)), torch.tensor([index]))
            truth = self.prepare(batch)[1][0].byte().cpu().numpy()
            occurring |= set(truth.ravel().tolist()) - {painting.IGNORED}
        for predictor in self.predictors.values():
            logits = resize_logits(predictor.image_logits(full)[None], size)
            classes = sorted(occurring | set(predicted_mask(logits).unique().tolist())) if several else [1]
            shares = logits[0].softmax(0)[classes] if several else foreground_logit(logits).sigmoid()
            maps.append((classes, (shares * 256).clamp(max=255).byte().cpu().numpy()))
        return image, truth, maps

    def _image(self, row: int) -> np.ndarray:
        known = len(self.indices)
        return self.pets.image(int(self.indices[row])) if row < known else self.photos[row - known]


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return file.getvalue()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
