"""The choice of device and precision."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from labkit.errors import LabError
from labkit.training import choose_device, choose_precision, epochs, loop
from labkit.training.hardware import keep_freed_memory
from tests.labkit.test_training import recipe

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("cpu") == CPU
    for name in ("tpu9", f"cuda:{torch.cuda.device_count() + 3}", "mps", "meta"):
        with pytest.raises(LabError, match=f"does not run on device '{name}'; there are cpu"):
            choose_device(name)


def test_apples_gpu_is_taken_only_when_it_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == CPU
    assert choose_device("mps").type == "mps"


@pytest.mark.parametrize(
    ("capability", "precision"), [((6, 1), "float32"), ((7, 0), "float16"), ((7, 5), "float16"), ((8, 0), "bfloat16")]
)
def test_a_gpu_trains_in_what_it_multiplies_fastest(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda:0")) == precision


@pytest.mark.parametrize("name", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_bfloat16_is_chosen_where_the_processor_multiplies_in_it(monkeypatch, name):
    for each in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, each, lambda has=each == name: has)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert choose_precision("auto", CPU) == "bfloat16"
    monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert choose_precision("auto", CPU) == "float32"
    with pytest.warns(UserWarning, match="has no bfloat16, and emulates it slowly; set precision = auto"):
        assert choose_precision("bfloat16", CPU) == "bfloat16", "what the recipe asks for counts"


def test_an_instruction_set_that_onednn_may_not_use_does_not_count():
    """oneDNN reads the variable once, so a process of its own asks."""
    asked = "import torch; from labkit.training import choose_precision as c; print(c('auto', torch.device('cpu')))"
    chosen = subprocess.run(
        [sys.executable, "-c", asked],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert chosen.stdout == "float32\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back at once")
def test_a_process_that_keeps_freed_memory_gets_its_tensors_without_page_faults():
    counted = """
import resource, sys, torch
from labkit.training.hardware import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory(torch.device("cpu"))
faults = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(16, 2**20) for _ in range(2)]  # 64 MiB each: above what glibc ever keeps by itself
    del kept
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
"""
    pages = {
        how: int(
            subprocess.run([sys.executable, "-c", counted, how], capture_output=True, text=True, check=True).stdout
        )
        for how in ("keep", "leave")
    }
    assert pages["leave"] >= 64  # huge pages of 2 MiB would make it as few
    assert pages["keep"] < pages["leave"] / 10


def test_only_the_cpus_memory_is_kept():
    assert not keep_freed_memory(torch.device("meta"))


# --- deterministic


def test_a_deterministic_training_switches_torch_and_the_next_one_back(tiny_pets):
    found = []
    for wanted in (True, False):
        for _ in epochs(recipe(training={"deterministic": wanted, "epochs": 1}), tiny_pets, device="cpu"):
            found.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic))
    assert found == [(True, True), (False, False)]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")


def test_what_torch_cannot_do_deterministically_is_one_sentence(tiny_pets, monkeypatch):
    """`put_` is such an operation on the CPU, too; the error is torch's own."""
    monkeypatch.setattr(loop, "train_step", lambda *_: torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2)))
    sentence = r"training\.deterministic: torch has no deterministic way for put_; choose another loss or network"
    with pytest.raises(LabError, match=sentence):
        list(epochs(recipe(training={"deterministic": True}), tiny_pets, device="cpu"))
    torch.use_deterministic_algorithms(False)
