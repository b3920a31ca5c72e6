"""What TensorBoard shows of a run (`tensorboard --logdir runs`): numbers, and predictions of the same few images."""

import time
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch

from labkit.data import Batch, batch_loader
from labkit.metrics import predicted_mask, resize_logits
from labkit.painting import class_overlay, montage
from labkit.training.hardware import autocast

if TYPE_CHECKING:
    from labkit.training.loop import Epoch, Trainer

SAMPLES = 4  # images of training and of validation that are shown, at most


class Board:
    """Writes TensorBoard's files of a trainer's run; what is there of `epoch`, the first, and later ones is dropped."""

    def __init__(self, folder: Path, trainer: "Trainer", epoch: int):
        from torch.utils.tensorboard import SummaryWriter  # a second to import, and only runs on disk need it

        # TensorBoard orders files by the second in their names: a run resumed at once must not share the killed one's
        seconds = (int(file.name.split(".")[3]) for file in folder.glob("events.out.tfevents.*"))
        time.sleep(max(0.0, min(1.0, max(seconds, default=0) + 1 - time.time())))
        self.trainer, self.writer = trainer, SummaryWriter(str(folder), purge_step=epoch)
        self.samples = {}
        for part, indices in (("training", trainer.train), ("validation", trainer.valid)):
            chosen = np.unique(np.linspace(0, len(indices) - 1, SAMPLES).round().astype(int))
            self.samples[part] = next(iter(batch_loader(trainer.arrays, [indices[chosen]])))

    def write_epoch(self, record: "Epoch") -> None:
        """An epoch's numbers, and what the network now makes of the samples."""
        norms = record.gradient_norms
        numbers = record.row() | {"train_dice": record.train_dice}
        numbers |= {"gradient_norm/mean": fmean(norms), "gradient_norm/largest": max(norms)}
        for key, value in numbers.items():
            self.writer.add_scalar(key, value, record.epoch)
        for part, samples in self.samples.items():
            image = self.samples_image(samples, record.epoch)
            self.writer.add_image(f"{part}: image, truth, prediction", image, record.epoch, dataformats="HWC")
        self.writer.flush()

    @torch.no_grad()
    def samples_image(self, samples: Batch, epoch: int) -> np.ndarray:
        """The samples without augmentation, below them their truth, then their prediction, `uint8 [H, W, 3]`."""
        recipe, model, prepare = self.trainer.recipe, self.trainer.validated.eval(), self.trainer.prepare
        _, truths = prepare(samples)
        images, _ = prepare(samples, size=recipe.size_of_epoch(epoch))
        with autocast(images.device, recipe.training.precision):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        predictions = predicted_mask(resize_logits(logits.float(), truths.shape[-2:]))
        photos = samples.images.numpy()
        painted = [map(class_overlay, photos, masks.cpu().numpy()) for masks in (truths, predictions)]
        return montage([list(row) for row in (photos, *painted)])
