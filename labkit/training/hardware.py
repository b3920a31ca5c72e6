"""Which devices and processes train, in which precision, and what they have."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from labkit import __version__
from labkit.errors import LabError
from labkit.files import checkout

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """`auto`: the first CUDA device, else the CPU; or a device by name (`cpu`, `cuda:1`, `mps`).

    Apple's GPU, `mps`, is experimental, and only taken when it is named. Of the processes that `torchrun` has started
    on a machine, each takes a CUDA device of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    there = {"cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))}
    there |= {"mps"} if torch.backends.mps.is_available() else set()
    if name not in there:
        raise LabError(f"labkit does not run on device {name!r}; there are {', '.join(sorted(there))} (or auto)")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """`auto`: `bfloat16` where the hardware multiplies in it, `float16` on GPUs before Ampere, else `float32`."""
    fast = has_bfloat16(device)
    if name == "bfloat16" and not fast:
        warnings.warn(f"{device}: has no bfloat16, and emulates it slowly; set precision = auto", stacklevel=2)
    if name != "auto":
        return name
    if fast:
        return "bfloat16"
    halves = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 7  # tensor cores of Volta, Turing
    return "float16" if halves else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is in silicon: CUDA from Ampere on, CPUs with AMX or AVX512-BF16.

    oneDNN must use it, too, which `ONEDNN_MAX_CPU_ISA` may forbid.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    in_silicon = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return in_silicon and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Let convolutions run in bfloat16 or float16 while weights, losses and sums stay float32."""
    return torch.autocast(device.type, HALF.get(precision), enabled=precision in HALF)


def keep_freed_memory(device: torch.device) -> bool:
    """Let this process keep the memory that it frees, for the next step; returns whether the C library can.

    glibc gives large tensors back to the system and gets them again as pages to be zeroed, thousands of page faults
    in each step on the CPU. A notebook's kernel is left alone: it lives on after a training, beside those of others.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc" or "ipykernel" in sys.modules:
        return False
    largest_mapped, trim_from = -4, -1  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h
    library = ctypes.CDLL(None)
    return bool(library.mallopt(largest_mapped, 0) and library.mallopt(trim_from, 2**31 - 1))


def be_deterministic(wanted: bool) -> None:
    """Let this process take torch's deterministic algorithms alone, or any again (see the recipe's key)."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted


def describe(device: torch.device, precision: str) -> str:
    """One line for the start of a training: the device, its free memory, the precision."""
    if device.type == "cpu":
        name, memory = f"CPU with {torch.get_num_threads()} threads", psutil.virtual_memory()
        free, total = memory.available, memory.total
    elif device.type == "mps":
        return f"Apple's GPU (experimental), {precision}"
    else:
        name, (free, total) = torch.cuda.get_device_name(device), torch.cuda.mem_get_info(device)
    return f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB of memory free, {precision}"


def environment(device: torch.device) -> dict[str, str | int | None]:
    """What a result was made with, for `environment.json`."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "numpy")},
        "labkit": __version__,  # it may be run from its folder, not installed
        "platform": platform.platform(terse=True),
        "processor": torch.cpu.get_capabilities().get("cpu_name") if hasattr(torch.cpu, "get_capabilities") else None,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Of the checkout that labkit runs from; None for an installed copy, and on a machine without git."""
    folder = checkout()
    if folder is None or shutil.which("git") is None:
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None


@dataclass(frozen=True)
class Processes:
    """How many processes train together, as `torchrun` starts them, and which of them this one is."""

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

    def without_exchange(self, model: nn.Module, more: bool) -> AbstractContextManager:
        """While `more` batches follow before the optimizer's step, gradients stay each process's own."""
        return model.no_sync() if more and self.size > 1 else nullcontext()

    def check(self, batches: list[np.ndarray], valid: np.ndarray) -> None:
        """Raise a `LabError` if batches or validation images are too few to be shared."""
        if (smallest := min(map(len, [*batches, valid]))) < self.size:
            how = "start fewer, or take larger training batches or more validation images"
            raise LabError(f"{smallest} images cannot be shared by {self.size} processes; {how}")

    def share(self, batches: list[np.ndarray]) -> list[np.ndarray]:
        """This process's part of each batch: every image is seen once, by one process."""
        return [np.array_split(batch, self.size)[self.rank] for batch in batches]

    def weight(self, images: int, whole: int) -> float:
        """Of `images` in a batch of `whole`: the shares, over which gradients are averaged, may differ by one."""
        return images * self.size / whole

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        if self.size > 1:
            dist.all_reduce(value := value.clone())
        return value

    def wait(self) -> None:
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
    if dist.is_initialized():
        dist.destroy_process_group()
