"""The choice of device and precision."""

import pytest
import torch

from labkit.errors import LabError
from labkit.training import choose_device, choose_precision

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_said_in_one_sentence():
    assert choose_device("cpu") == CPU
    with pytest.raises(LabError, match="no device 'tpu9'"):
        choose_device("tpu9")
    with pytest.raises(LabError, match="is not there"):
        choose_device(f"cuda:{torch.cuda.device_count() + 3}")


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_bfloat16_is_chosen_where_the_processor_multiplies_in_it(monkeypatch, flag):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flag: True}, raising=False)
    assert choose_precision("auto", CPU) == "bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert choose_precision("auto", CPU) == "float32"
    assert choose_precision("bfloat16", CPU) == "bfloat16", "what the recipe asks for counts"


def test_an_instruction_set_that_may_not_be_used_does_not_count(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert choose_precision("auto", CPU) == "float32"
