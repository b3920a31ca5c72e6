"""One training on several processes, as `torchrun` starts them: PyTorch's DistributedDataParallel does the work."""

import os
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from labkit.errors import LabError


@dataclass(frozen=True)
class Processes:
    """How many processes train together, and which of them this one is."""

    size: int = 1
    rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with gradients averaged over the processes in every backward pass."""
        if self.size == 1:
            return model
        device = next(model.parameters()).device
        return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)

    def check(self, batches: list[np.ndarray], valid: np.ndarray) -> None:
        """Raise a `LabError` if batches or validation images are too few to be shared."""
        smallest = min(map(len, batches))
        if smallest < self.size:
            raise LabError(
                f"training.batch_size: batches of {smallest} cannot be shared by {self.size} processes; take a larger "
                "batch_size or fewer processes"
            )
        if len(valid) < self.size:
            raise LabError(f"{len(valid)} validation images cannot be shared by {self.size} processes; start fewer")

    def share(self, batches: list[np.ndarray]) -> list[np.ndarray]:
        """This process's part of each batch: every image is seen once, by one process."""
        return [np.array_split(batch, self.size)[self.rank] for batch in batches]

    def weight(self, images: int, whole: int) -> float:
        """Of `images` in a batch of `whole`: the shares, over which gradients are averaged, may differ by one."""
        return images * self.size / whole

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def wait(self) -> None:
        """Wait until every process has come this far."""
        if self.size > 1:
            dist.barrier()

    def same_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers, such as the running averages of batch norm."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


ALONE = Processes()


def join_processes(device: torch.device) -> Processes:
    """Join the processes that `torchrun` has started, by nccl on GPUs, by gloo on CPUs; alone when it has not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(dist.get_world_size(), dist.get_rank())


def leave_processes() -> None:
    """Close the connections that `join_processes` has opened."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
