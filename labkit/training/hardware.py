"""Which device trains, in which precision, and what it has."""

import os
import platform
import subprocess
from importlib.metadata import version

import torch

from labkit.errors import LabError
from labkit.files import home


def choose_device(name: str = "auto") -> torch.device:
    """`auto`: the first CUDA device, else Apple's, else the CPU; or a device by name (`cpu`, `cuda:1`, `mps`).

    Of the processes that `torchrun` has started on a machine, each takes a CUDA device of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LabError(f"no device {name!r}; use auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
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
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if not any(word in allowed for word in ("ALL", "DEFAULT", "AMX", "BF16", "FP16", "AVX10")):
        return False
    # the public question is newer than torch 2.11, which has private ones; what cannot be asked counts as no
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    private = [getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("amx_tile", "avx512_bf16")]
    return bool(flags.get("amx_bf16") or flags.get("avx512_bf16") or any(ask() for ask in private))


def describe(device: torch.device, precision: str) -> str:
    """One line for the start of a training: device, memory, precision."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        return f"{found.name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, {precision}"
    memory = (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else float("nan")
    )
    return f"{device.type.upper()} with {torch.get_num_threads()} threads, {memory:.0f} GiB of memory, {precision}"


def environment(device: torch.device) -> dict[str, str | int | None]:
    """What a result was made with, for `environment.json`."""
    names = ("torch", "torchvision", "numpy", "labkit")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "platform": platform.platform(terse=True),
        "processor": torch.cpu.get_capabilities().get("cpu_name") if hasattr(torch.cpu, "get_capabilities") else None,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "commit": _commit(),
    }


def _commit() -> str | None:
    try:
        asked = subprocess.run(
            ["git", "-C", str(home()), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git on this machine: the record says so
    return asked.stdout.strip() or None
