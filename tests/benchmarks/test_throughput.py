"""The benchmarks of speed: sides take turns, changed networks compute the same, all time goes to some part."""

import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import attempts, changes, step_profile, throughput, timing, ways
from labkit.models import CBAM, AttentionGate, DoubleConv
from labkit.training import Recipe, load_recipe

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).resolve().parents[2]


def test_sides_take_turns_after_they_have_settled():
    order = []
    times = timing.interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, CPU, 5, least=1e-9)
    assert [len(values) for values in times.values()] == [5, 5]
    assert "".join(order[-10:]) == "ab" * 5
    assert order[:-10].count("a") == order[:-10].count("b") > 0


def test_a_slower_side_has_the_ratio_of_its_time():
    times = timing.interleaved({"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.005)}, CPU, 5)
    assert 2 < timing.ratios(times, of="fast", to="slow").median < 5
    assert timing.ratios({"a": [1.0, 3.0], "b": [2.0, 12.0]}, of="a", to="b").median == 3
    assert timing.spread([4.0, 1.0, 2.0, 3.0, 5.0]) == timing.Spread(2, 3, 4)


def test_the_products_have_the_multiply_adds_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    sides, multiply_adds = timing.peak_products(CPU, {"float32", "bfloat16"}, side=64)
    assert len(sides) == 4
    for name, side in sides.items():
        with FlopCounterMode(display=False) as counter:
            result = side()
        kind, precision = name.split()
        assert counter.get_total_flops() == 2 * multiply_adds[kind]
        assert result.dtype == getattr(torch, precision)


def test_the_reports_way_is_plain_and_the_labs_is_the_loops(monkeypatch):
    monkeypatch.setattr(ways, "choose_precision", lambda name, device: "bfloat16")
    found = ways.ways(CPU, compiled=True)
    assert list(found) == ["reports", "labkit", "compiled"]
    plain, lab = found["reports"].optimizer, found["labkit"].optimizer
    model = torch.nn.Conv2d(1, 1, 1)
    assert plain(model).defaults["fused"] is None
    assert plain(model).defaults["foreach"] is None
    assert lab(model).defaults["fused"] or lab(model).defaults["foreach"]
    assert found["labkit"].precision == "bfloat16"
    seen = []
    monkeypatch.setattr(ways, "train_step", lambda model, images, *rest: (seen.append((model, images, rest[-1])), None))
    for way in ("reports", "labkit"):
        monkeypatch.setattr(ways, "gradient_norm", lambda model: None)
        ways.training(ways.build_model("unet", width=4, depth=2), found[way], 2, 32, CPU)()
    (_, plain_images, plain_precision), (model, images, precision) = seen
    assert (plain_precision, precision) == ("float32", "bfloat16")
    assert plain_images.is_contiguous()
    assert images.is_contiguous(memory_format=torch.channels_last)
    weight = model.encoder[1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_a_training_step_learns_and_prediction_is_the_networks():
    torch.manual_seed(0)
    way = ways.Way("float32", torch.channels_last, ways.labs_optimizer)
    model = ways.build_model("unet", width=4, depth=2)
    step = ways.training(model, way, 2, 32, CPU)
    losses = [step().item() for _ in range(8)]
    assert losses[-1] < losses[0]
    torch.manual_seed(1)
    logits = ways.inference(model, way, 2, 32, CPU)()
    torch.manual_seed(1)
    with torch.no_grad():
        assert torch.allclose(logits, model.eval()(torch.rand(2, 3, 32, 32)), atol=1e-5)


def test_rows_hold_images_ratios_and_shares_that_follow_from_the_times(monkeypatch):
    chosen = {
        "reports": ways.Way("float32", torch.contiguous_format, ways.labs_optimizer),
        "labkit": ways.Way("float32", torch.channels_last, ways.labs_optimizer),
    }
    monkeypatch.setattr(throughput, "has_smp", lambda: False)
    monkeypatch.setattr(
        throughput,
        "interleaved",
        lambda sides, device, rounds: {
            "reports": [0.4] * 5,
            "labkit": [0.1] * 5,
            "matrix float32": [0.5] * 5,
            "convolution float32": [0.1] * 5,
        },
    )
    first, second = throughput.measure("unet width 16", "train", 32, 2, chosen, CPU, 5)
    assert (first["images_per_second"], second["images_per_second"]) == (5, 20)
    assert (first["ratio_reports"], second["ratio_reports"]) == (1, 4)
    # 3 passes of 2 images in 0.1 s against 2048^3 in 0.5 s, and against 4 x 32 x 32 x 256 x 256 x 9 in 0.1 s
    reached = 3 * 2 * second["multiply_adds"] / 0.1
    assert second["share_of_matrix"] == pytest.approx(reached / (2048**3 / 0.5))
    assert second["share_of_peak"] == pytest.approx(reached / (4 * 32**2 * 256**2 * 9 / 0.1))
    assert second["ratio_smp"] is None


def test_the_library_is_a_network_like_ours():
    pytest.importorskip("segmentation_models_pytorch", reason="extra `bench` is not installed")
    model = ways.network(ways.SMP)
    assert sum(p.numel() for p in model.parameters()) == 24_436_369  # 24.4 M, as its documentation counts
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_rows_of_the_same_key_are_replaced_and_others_kept(tmp_path):
    table, key = tmp_path / "records" / "t.csv", ["network", "size"]
    throughput.keep(pd.DataFrame({"network": ["a", "b"], "size": [64, 64], "ms": [1.0, 2.0]}), table, key)
    throughput.keep(pd.DataFrame({"network": ["b"], "size": [64], "ms": [3.0]}), table, key)
    assert pd.read_csv(table).to_dict("list") == {"network": ["a", "b"], "size": [64, 64], "ms": [1.0, 3.0]}


@torch.no_grad()
@pytest.mark.parametrize(
    ("changed", "label"),
    [
        (changes.split_concatenation, "unet width 32"),
        (changes.plain_cbam, "resnet34_unet lab"),
        (lambda: changes.relu_apart(ways.network("unet width 32")), "unet width 32"),
    ],
    ids=["split", "cbam", "relu"],
)
def test_a_changed_network_computes_the_same(changed, label):
    images = torch.rand(1, 3, 64, 64)
    assert torch.allclose(changed()(images), ways.network(label)(images), rtol=1e-4, atol=1e-5)


def test_plain_cbam_has_the_same_gradients():
    torch.manual_seed(0)
    ours, plain = CBAM(32), changes.PlainCBAM(32)
    plain.load_state_dict(ours.state_dict())
    gradients = []
    for block in (ours, plain):
        x = torch.randn(2, 32, 12, 10, generator=torch.Generator().manual_seed(1), requires_grad=True)
        (block(x) ** 2).sum().backward()
        gradients.append([x.grad, *(p.grad for p in block.parameters())])
    for mine, theirs in zip(*gradients, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_compiled_norms_take_the_place_of_norm_and_relu():
    model = changes.compiled_norms(torch.nn.Sequential(DoubleConv(3, 4)))
    kinds = [type(layer).__name__ for layer in model[0]]
    assert kinds == ["Conv2d", "OptimizedModule", "Identity"] * 2


def test_bfloat16_weights_are_the_masters_after_a_step(monkeypatch):
    kept = []
    monkeypatch.setattr(changes, "network", lambda label: ways.build_model("unet", width=4, depth=2))
    monkeypatch.setattr(changes, "labs_optimizer", lambda model: kept.append(model) or ways.labs_optimizer(model))
    monkeypatch.setattr(changes.copy, "deepcopy", lambda model: kept.append(copied := _copy(model)) or copied)
    step = changes.bfloat16_weights(changes.Setting(32, 2, CPU))
    used, masters = kept
    before = masters.head.weight.detach().clone()
    step()
    assert not torch.equal(masters.head.weight, before)
    assert torch.equal(used.head.weight, masters.head.weight.bfloat16())


def _copy(model):
    fresh = ways.build_model("unet", width=4, depth=2)
    fresh.load_state_dict(model.state_dict())
    return fresh


def test_an_attempt_has_both_sides_and_a_ratio(monkeypatch):
    monkeypatch.setattr(changes, "network", lambda label: ways.build_model("unet", width=4, depth=2))
    row = attempts.measure("batch doubled", 32, 2, CPU, 2)
    assert row["ratio"] == pytest.approx(2 * row["base_ms"] / row["changed_ms"], rel=0.5)
    assert row["note"] == ""

    def missing(setting):
        raise changes.NotHere("no such thing")

    monkeypatch.setitem(attempts.ATTEMPTS, "impossible", attempts.Attempt("nothing", missing, "no"))
    row = attempts.measure("impossible", 32, 2, CPU, 2)
    assert row["note"] == "left out: no such thing"
    assert row["ratio"] is None


def test_every_operation_goes_to_one_part_and_gradients_to_their_forward_pass():
    x = torch.rand(2, 32, 24, 24, requires_grad=True)
    conv, cbam, gate = torch.nn.Conv2d(32, 32, 3, padding=1), CBAM(32), AttentionGate(32, 32)
    step_profile.label_modules(torch.nn.ModuleList([cbam, gate]), "attention", (CBAM, AttentionGate))

    def watched(work):
        work()
        with profile(activities=[ProfilerActivity.CPU]) as found:
            work()
        return found.events()

    events = watched(lambda: cbam(x).sum().backward())
    parts = step_profile.part_times(events, CPU)
    whole = sum(event.self_cpu_time_total for event in events) / 1000
    assert sum(parts.values()) == pytest.approx(whole)
    assert parts["attention"] > 0.7 * whole, parts
    parts = step_profile.part_times(watched(lambda: torch.relu(conv(x)).sum().backward()), CPU)
    assert parts["convolution"] > max(ms for part, ms in parts.items() if part != "convolution")
    assert "attention" not in parts

    def labeled():
        with record_function(step_profile.LABEL + "loss"):
            value = (x * conv.weight.mean()).square().mean()
        value.backward()

    parts = step_profile.part_times(watched(labeled), CPU)
    assert parts["loss"] == max(parts.values())


def test_a_whole_step_is_profiled_part_by_part(tiny_pets, monkeypatch):
    recipe = Recipe().changed(model={"name": "unet", "width": 4, "depth": 2})
    monkeypatch.setattr(
        step_profile, "load_recipe", lambda name: load_recipe(REPOSITORY / "labkit" / "recipes" / f"{name}.toml")
    )
    monkeypatch.setitem(step_profile.VARIANTS, "tiny", recipe.model.model_dump() | {"classes": 1})
    rows = step_profile.measure("tiny", 32, 4, tiny_pets, CPU, 1)
    parts = {row["part"] for row in rows}
    assert {"loading", "augmentation", "convolution", "batch norm", "ReLU", "loss", "optimizer"} <= parts
    assert {"moving average", "concatenation", "pooling", "metrics (validation only)"} <= parts
    assert sum(row["percent"] for row in rows) == pytest.approx(100, abs=5)


@pytest.mark.parametrize(
    ("module", "words", "sentence"),
    [
        (throughput, ["--graphs", "--device", "cpu"], "CUDA graphs need a CUDA device, found cpu"),
        (step_profile, ["--attempts", "magic", "--device", "cpu"], "no change 'magic'; there are"),
    ],
    ids=["graphs", "change"],
)
def test_wrong_words_are_one_sentence(module, words, sentence, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
