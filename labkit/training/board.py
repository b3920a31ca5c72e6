"""What TensorBoard shows of a run (`tensorboard --logdir runs`): numbers, the same few predictions, and the graph."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from labkit.data import Arrays, Batch, BatchTransform, batch_loader
from labkit.errors import LabError
from labkit.metrics import predicted_mask, resize_logits
from labkit.painting import class_overlay, montage
from labkit.training.hardware import autocast
from labkit.training.recipe import Recipe

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SAMPLES = 8
"""Validation images that are shown, at most."""


@dataclass
class Board:
    """Writes TensorBoard's files: one an epoch, so that an epoch done again replaces its own, and one for the graph."""

    model: nn.Module
    """The network that is validated."""
    recipe: Recipe
    prepare: BatchTransform
    arrays: Arrays
    valid: np.ndarray
    """Indices of the validation images."""

    def write_epoch(self, folder: Path, row: dict[str, Any], norms: Tensor) -> None:
        """An epoch's numbers, its gradient norms `[steps]`, and what the network now makes of the samples."""
        epoch = row["epoch"]
        with _events(folder, str(epoch)) as board:
            for key, value in row.items():
                if key != "epoch":
                    board.add_scalar(key, value, epoch)
            if len(norms):  # the last epoch of a run that began before steps were kept has none
                board.add_scalar("gradient_norm/mean", norms.mean().item(), epoch)
                board.add_scalar("gradient_norm/largest", norms.max().item(), epoch)
            _add_photo(board, "image, truth, prediction", self.samples_image(epoch), epoch)

    def write_graph(self, folder: Path) -> None:
        """The network's graph, or as a text why it cannot be traced."""
        size, device = self.recipe.data.image_size, self.prepare.device
        with _events(folder, "graph") as board, redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes that the tracer takes for constants are constants here
            try:
                with torch.no_grad():
                    board.add_graph(self.model, torch.zeros(1, 3, size, size, device=device))
            except (RuntimeError, torch.jit.TracingCheckError) as error:
                board.add_text(
                    "graph", f"{self.recipe.model.name} cannot be traced: {str(error).strip().splitlines()[0]}"
                )

    @torch.no_grad()
    def samples_image(self, epoch: int) -> np.ndarray:
        """The samples, below them their truth, below that their prediction, `uint8 [H, W, 3]`."""
        self.model.eval()
        _, truths = self.prepare(self._samples)
        images, _ = self.prepare(self._samples, size=self.recipe.size_of_epoch(epoch))
        with autocast(images.device, self.recipe.training.precision):
            logits = self.model(images.contiguous(memory_format=torch.channels_last))
        predictions = predicted_mask(resize_logits(logits.float(), truths.shape[-2:]))
        photos = self._samples.images.numpy()
        painted = [map(class_overlay, photos, masks.cpu().numpy()) for masks in (truths, predictions)]
        return montage([list(row) for row in (photos, *painted)])

    @cached_property
    def _samples(self) -> Batch:
        places = np.unique(np.linspace(0, len(self.valid) - 1, SAMPLES).round().astype(int))
        return next(iter(batch_loader(self.arrays, [self.valid[places]])))


@contextmanager
def _events(folder: Path, name: str) -> Iterator["SummaryWriter"]:
    """A file of events that takes the place of the one with the same name."""
    from torch.utils.tensorboard import SummaryWriter  # a second to import, and only runs on disk need it

    try:
        for again in folder.glob(f"events.*.{name}"):
            again.unlink()
        with SummaryWriter(str(folder), filename_suffix=f".{name}") as board:
            yield board
    except OSError as error:
        raise LabError(
            f"{folder}: could not be written ({error.strerror}); free the disk, then go on with --resume"
        ) from None


def _add_photo(board: "SummaryWriter", tag: str, picture: np.ndarray, epoch: int) -> None:
    """As JPEG: `add_image` knows only PNG, which is five times as large for photographs."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    height, width = picture.shape[:2]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file.getvalue())
    board.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), epoch)
