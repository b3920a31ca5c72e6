"""What the steps of an epoch leave: losses, learning rates, gradient norms."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from labkit.training.processes import Processes

STEPS = ("epoch", "step", "learning_rate", "loss", "gradient_norm")
"""The columns of `steps.csv`, one row an optimizer step; steps are counted from 1 through the whole training."""


def gradient_norm(model: nn.Module) -> Tensor:
    """Length (L2) of the gradient over all parameters together, a scalar on their device."""
    return get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


@dataclass(frozen=True)
class Steps:
    """All steps of an epoch, in numbers."""

    losses: Tensor
    """Of each batch, `float32 [batches]` on the CPU."""
    gradient_norms: Tensor
    """Of each optimizer step, after its batches' gradients were added up, `float32 [steps]` on the CPU."""
    rates: Sequence[float]
    """The learning rate of each batch."""
    accumulate: int = 1
    """Batches a step."""

    def table(self, epoch: int) -> Tensor:
        """The epoch's rows of `steps.csv`, `float64 [steps, 5]` (see `STEPS`); a step's loss is its batches' mean."""
        losses = torch.stack([part.mean() for part in self.losses.double().split(self.accumulate)])
        count, rates = len(losses), torch.tensor(self.rates[:: self.accumulate], dtype=torch.float64)
        numbers = torch.arange(1, count + 1) + (epoch - 1) * count
        columns = torch.full((count,), epoch), numbers, rates, losses, self.gradient_norms
        return torch.stack([column.double() for column in columns], dim=1)


@dataclass
class StepRecorder:
    """Gathers an epoch's steps; what the device has computed stays there until the end.

    Asking a GPU for a number makes the host wait until all before it is done, and the GPU then waits for the host.
    """

    epoch: int
    accumulate: int = 1
    losses: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add_batch(self, loss: Tensor, rate: float) -> None:
        """Keep a batch's loss and learning rate; on the CPU, which has it at hand, a loss is looked at."""
        self.losses.append(loss)
        self.rates.append(rate)
        if loss.device.type == "cpu":
            self._refuse_what_is_not_finite(loss[None], len(self.losses))

    def add_step(self, norm: Tensor) -> None:
        """Keep the gradient norm of an optimizer step."""
        self.norms.append(norm)

    def read(self, processes: Processes) -> Steps:
        """All numbers of the epoch, in one transfer from the device; losses are means over the processes.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        losses = processes.total(torch.stack(self.losses)) / processes.size
        losses, norms = torch.cat([losses, torch.stack(self.norms)]).cpu().split([len(losses), len(self.norms)])
        self._refuse_what_is_not_finite(losses)
        return Steps(losses, norms, self.rates, self.accumulate)

    def _refuse_what_is_not_finite(self, losses: Tensor, first: int = 1) -> None:
        finite = torch.isfinite(losses)
        if not finite.all():
            place = int(finite.long().argmin())
            step, rate = first + place, self.rates[first + place - 1]
            raise FloatingPointError(
                f"epoch {self.epoch}, step {step}: the loss is {losses[place]:g} at learning rate {rate:g}"
            )
