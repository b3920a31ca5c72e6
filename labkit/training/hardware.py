"""Which device trains, in which precision, and what it has."""

import ctypes
import os
import platform
import shutil
import subprocess
from importlib.metadata import version

import torch

from labkit import __version__
from labkit.errors import LabError
from labkit.files import checkout


def choose_device(name: str = "auto") -> torch.device:
    """`auto`: the first CUDA device, else the CPU; or a device by name (`cpu`, `cuda:1`).

    Of the processes that `torchrun` has started on a machine, each takes a CUDA device of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LabError(f"no device {name!r}; use auto, cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):  # Apple's has no float64, in which scores are summed
        raise LabError(f"the lab does not run on a device of the kind {device.type!r}; use auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise LabError(f"device {name!r} is not there ({torch.cuda.device_count()} CUDA devices); use --device cpu")
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """`auto` becomes `bfloat16` where the hardware multiplies in it (see `has_bfloat16`), else `float32`."""
    if name != "auto":
        return name
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is in silicon: CUDA from Ampere on, CPUs with AMX or AVX512-BF16.

    An instruction set that oneDNN was told not to use (`ONEDNN_MAX_CPU_ISA`) does not count.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not any(word in allowed for word in ("ALL", "DEFAULT", "AMX", "BF16", "FP16", "AVX10")):
        return False
    # torch 2.11 has private functions for what newer versions tell in public; without either the answer is no
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    private = [getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("amx_tile", "avx512_bf16")]
    return bool(flags.get("amx_bf16") or flags.get("avx512_bf16") or any(ask() for ask in private))


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Let convolutions run in bfloat16 while weights, losses and sums stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def keep_freed_memory(device: torch.device) -> bool:
    """Let this process keep the memory that it frees, for the next step; returns whether the C library can.

    glibc gives large tensors back to the system and gets them again as pages to be zeroed, thousands of page faults
    in each step of a training on the CPU. Other devices and C libraries have no such switch.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        return False
    largest_mapped, trim_from = -4, -1  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h
    library = ctypes.CDLL(None)
    return bool(library.mallopt(largest_mapped, 0) and library.mallopt(trim_from, 2**31 - 1))


def describe(device: torch.device, precision: str) -> str:
    """One line for the start of a training: the device, its free memory or threads, the precision."""
    if device.type == "cpu":
        return f"CPU with {torch.get_num_threads()} threads, {precision}"
    free, total = torch.cuda.mem_get_info(device)
    name = torch.cuda.get_device_name(device)
    return f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, {precision}"


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
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Of the checkout that labkit runs from; None for an installed copy, and on a machine without git."""
    folder = checkout()
    if folder is None or shutil.which("git") is None:
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
