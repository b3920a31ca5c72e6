"""Semi-supervised training: where a moving average of the network is sure, it stands in for masks that nobody drew.

The teacher sees an image as it is, the network the same one augmented, and its mask with it. Sources: Tarvainen and
Valpola, "Mean teachers are better role models", NeurIPS 2017 (arXiv 1703.01780), for the average; Sohn et al.,
"FixMatch", NeurIPS 2020 (arXiv 2001.07685), for targets from what is not augmented, where they are sure.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.data import Augment, Batch, BatchTransform
from labkit.metrics import IGNORED
from labkit.training.hardware import autocast

CONFIDENT = 0.95  # a pixel counts from this probability on, of whatever class; FixMatch's own


def half_labelled(train: np.ndarray, unlabelled: np.ndarray, number: int) -> np.ndarray:
    """Indices of an epoch in which images with and without masks are equally many, of a data set of `number` images.

    Those with masks are repeated, as copies (see `with_copies`), so that each time is augmented in its own way.
    """
    labelled = np.setdiff1d(train, unlabelled)
    times = np.arange(max(len(labelled), len(unlabelled))) // len(labelled)
    return np.concatenate([np.resize(labelled, len(times)) + number * times, unlabelled])


class TeachersMasks:
    """A `BatchTransform` that gives the images at the indices `unlabelled` the teacher's masks instead of their own."""

    def __init__(self, prepare: BatchTransform, teacher: nn.Module, unlabelled: np.ndarray, precision: str):
        self.prepare, self.teacher, self.precision, self.device = prepare, teacher, precision, prepare.device
        self.unlabelled = torch.from_numpy(unlabelled)
        self.masks_as_they_are = copy.copy(prepare)
        self.masks_as_they_are.target = "mask"

    def __call__(self, batch: Batch, augment: Augment | None = None, seed=0, epoch=0, size=None):
        if augment is None:  # validation
            return self.prepare(batch, size=size)
        images, masks = self.prepare(batch)
        without = torch.isin(batch.indices % self.prepare.number, self.unlabelled).to(self.device)
        masks[without] = self.sure_masks(images[without])
        return self.masks_as_they_are(batch._replace(trimaps=masks.byte()), augment, seed, epoch, size)

    @torch.no_grad()
    def sure_masks(self, images: Tensor) -> Tensor:
        """The teacher's classes `int64 [B, H, W]` of normalized images, 255 where it is not sure."""
        with autocast(self.device, self.precision):
            logits = self.teacher.eval()(images.contiguous(memory_format=torch.channels_last)).float()
        if logits.shape[1] == 1:
            logits = F.pad(logits, (0, 0, 0, 0, 1, 0))  # softmax of (0, x) is the sigmoid of x
        shares, classes = logits.softmax(dim=1).max(dim=1)
        return classes.masked_fill(shares < CONFIDENT, IGNORED)
