"""What the steps of an epoch leave: losses, learning rates, gradient norms."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from labkit.training.hardware import Processes


def gradient_norm(model: nn.Module) -> Tensor:
    """Length (L2) of the gradient over all parameters together, a scalar on their device."""
    return get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


class Steps:
    """Losses and learning rates of an epoch's batches, gradient norms of its optimizer steps.

    They stay tensors on their device until `read` makes them numbers: to ask a GPU for a number makes the host wait
    for the GPU, and then the GPU for the host.
    """

    def __init__(self, epoch: int):
        self.epoch = epoch
        self.losses: list[Tensor] | list[float] = []
        self.rates: list[float] = []
        self.gradient_norms: list[Tensor] | list[float] = []

    def add_batch(self, loss: Tensor, rate: float) -> None:
        """Keep a batch's loss and learning rate; on the CPU, which has it at hand, the loss is checked."""
        self.losses.append(loss)
        self.rates.append(rate)
        if loss.device.type == "cpu":
            self._check(len(self.losses), loss.item())

    def read(self, processes: Processes) -> "Steps":
        """Turn all into numbers, in one transfer from the device; losses become means over the processes.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        losses = processes.total(torch.stack(self.losses)) / processes.size
        numbers = torch.cat([losses, torch.stack(self.gradient_norms)]).tolist()
        self.losses, self.gradient_norms = numbers[: len(losses)], numbers[len(losses) :]
        for number, loss in enumerate(self.losses, start=1):
            self._check(number, loss)
        return self

    def _check(self, number: int, loss: float) -> None:
        if not math.isfinite(loss):
            where, rate = f"epoch {self.epoch}, step {number}", self.rates[number - 1]
            raise FloatingPointError(f"{where}: the loss is {loss:g} at learning rate {rate:g}")
