"""Width, bytes, milliseconds and Dice of small UNets on the real data: `python -m benchmarks.compression`.

Trains UNets of several widths (recipe quick, on pets, at 64x64, one seed) into runs/compression-unet-<width>, those
that are not there yet, and measures each in the forms of `forms`. Writes one row a width and form into
records/compression.csv. Run it with one thread on one core (`OMP_NUM_THREADS=1 taskset -c 0 ...`). `latency_ms` is then
the least of nine medians of 21 passes; `processor_ms`, the least processor time of all passes, comes nearer to an idle
machine when other programs run: the ratio is of it.
"""

import argparse
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from course.compression import agreement, compressed, file_bytes, fold_batch_norm, stored_weights
from labkit.analysis import Predictor, latency, predict_batches
from labkit.data import Pets, open_pets
from labkit.files import home, write_text
from labkit.metrics import dice_score, overlap_counts, per_image, predicted_mask
from labkit.models import count_parameters
from labkit.training import Run, autocast, environment, fit, load_recipe, open_run

SIZE, ROUNDS = 64, 9
TESTED = ("float32", "bfloat16 autocast", "float16 stored", "int8 stored")
"""Forms scored on the test images too; the others compute the same up to rounding, as the validation images show."""
TABLE = home() / "records" / "compression.csv"


class Packaged(nn.Module):
    """A compiled network, which is code and no module, as a module."""

    def __init__(self, call: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.call = call

    def __deepcopy__(self, memo: dict) -> "Packaged":
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.call(images)


def trained(width: int, epochs: int, pets: Pets) -> Run:
    """The run of one width; trained now unless its folder is there."""
    folder = home() / "runs" / f"compression-unet-{width}"
    recipe = load_recipe("quick").changed(model={"width": width}, training={"epochs": epochs})
    done = open_run(folder).history() if (folder / "history.csv").is_file() else []
    if len(done) < epochs:
        print(f"width {width}", flush=True)
        fit(recipe, pets, folder, device="cpu", resume=len(done) > 0)
    return open_run(folder)


def forms(model: nn.Module, compile_too: bool) -> Iterator[tuple[str, nn.Module | None, int, str, str]]:
    """Name, network, bytes of its file, precision in which it computes, and a note; no network: it was skipped."""
    whole = file_bytes(stored_weights(model, "float32"))
    yield "float32", model, whole, "float32", ""
    yield "bfloat16 autocast", model, whole, "bfloat16", "file stays float32"
    yield "float16 stored", compressed(model, "float16"), file_bytes(stored_weights(model, "float16")), "float32", ""
    yield "int8 stored", compressed(model, "int8"), file_bytes(stored_weights(model, "int8")), "float32", "weights only"
    smaller = fold_batch_norm(model, SIZE)
    yield "batch norm folded", smaller, file_bytes(stored_weights(smaller, "float32")), "float32", ""
    yield "dynamic quantization", *dynamic(model)
    with tempfile.TemporaryDirectory() as folder:
        skipped = None, 0, "float32", "skipped: not asked for (--compile)"
        yield "compiled (AOTInductor)", *(compiled(model, Path(folder)) if compile_too else skipped)


def dynamic(model: nn.Module) -> tuple[nn.Module | None, int, str, str]:
    """PyTorch's dynamic quantization of whatever layers it takes."""
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError:
        return None, 0, "float32", "skipped: this torch has no dynamic quantization any more"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will move out of torch
        network = quantize_dynamic(model)
    before, after = ([type(module) for module in net.modules()] for net in (model, network))
    assert before == after, "a layer was replaced; the note in the table would be wrong"
    return network, file_bytes(network.state_dict()), "float32", "replaces linear layers only: here 0 layers"


def compiled(model: nn.Module, folder: Path) -> tuple[nn.Module | None, int, str, str]:
    """The folded network as machine code, if there is a compiler."""
    if not shutil.which("g++") and not shutil.which("clang++"):
        return None, 0, "float32", "skipped: no C++ compiler on this machine"
    images = torch.rand(2, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    network = fold_batch_norm(model, SIZE).to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch", max=64)},))
            package = torch._inductor.aoti_compile_and_package(program, package_path=str(folder / "unet.pt2"))
        call = torch._inductor.aoti_load_package(package)
    except Exception as error:  # a compiler may be there and not work: the table says what it said
        return None, 0, "float32", f"skipped: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
    return Packaged(call), Path(package).stat().st_size, "float32", "code and weights, batch norm folded"


@torch.inference_mode()
def processor_time(network: nn.Module, precision: str, passes: int = 21) -> float:
    """Seconds of processor time of a forward pass with one image: the least, which other programs stretch least."""
    images = torch.rand(1, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(passes):
        began = time.process_time()
        with autocast(images.device, precision):
            network(images)
        seconds.append(time.process_time() - began)
    return min(seconds)


def answers(run: Run, network: nn.Module, precision: str, pets: Pets, part: str) -> tuple[torch.Tensor, float]:
    """Logits `[N, 1, S, S]` of a part of the official split, and the Dice per image of their masks."""
    predictor = Predictor(run.recipe, network, torch.device("cpu"), precision)
    logits, dice = [], []
    for found, masks, _ in predict_batches(predictor, pets, pets.split(part), batch_size=32):
        logits.append(found)
        dice.append(per_image(dice_score, overlap_counts(predicted_mask(found), masks)))
    return torch.cat(logits), torch.cat(dice).mean().item()


def measured(run: Run, pets: Pets, compile_too: bool) -> list[dict]:
    """The rows of one width."""
    model = run.model().to(memory_format=torch.channels_last)
    facts, rows, training = environment(torch.device("cpu")), [], run.recipe.training
    found = list(forms(model, compile_too))
    runnable = [(name, network, precision) for name, network, _, precision, _ in found if network is not None]
    times: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    for _ in range(ROUNDS):  # in turns, so that what disturbs one round disturbs all forms alike
        for name, network, precision in runnable:
            times.setdefault(name, []).append(latency(network, SIZE, 1, precision, repeats=21))
            busy.setdefault(name, []).append(processor_time(network, precision))
    whole = None
    for name, network, size, precision, note in found:
        row = {"width": run.recipe.model.width, "form": name, "parameters": count_parameters(model), "note": note}
        if network is not None:
            logits, valid = answers(run, network, precision, pets, "valid")
            whole = logits if whole is None else whole
            row |= {
                "bytes": size,
                "latency_ms": round(1000 * min(times[name]), 2),
                "processor_ms": round(1000 * min(busy[name]), 2),
                "valid_dice_per_image": round(valid, 5),
                "valid_same_pixels": round(agreement(whole, logits).pixels, 6),
            }
            if name in TESTED:
                row["test_dice_per_image"] = round(answers(run, network, precision, pets, "test")[1], 5)
        rows.append(row)
    for row in rows:
        for key in ("bytes", "processor_ms") if "bytes" in row else ():
            row[f"{key}_ratio"] = round(row[key] / rows[0][key], 3)
        row |= {
            "data": pets.label,
            "image_size": SIZE,
            "batch_size": 1,
            "train_images": len(pets.split("train")),
            "valid_images": len(pets.split("valid")),
            "test_images": len(pets.split("test")),
            "epochs": len(run.history()),
            "train_precision": training.precision,
            "device": f"{facts['device']} ({facts['processor'] or facts['device_name']})",
            "threads": facts["threads"],
            "torch": facts["torch"],
            "seed": training.seed,
            "commit": facts["commit"],
            "date": date.today().isoformat(),
        }
    return rows


def main() -> None:
    """Train what is missing, measure, and replace the widths' rows in the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--widths", nargs="+", type=int, default=[4, 8, 16, 32])
    words.add_argument("--epochs", type=int, default=4)
    words.add_argument("--compile", action="store_true", help="also as machine code: a minute or more a width")
    given, pets = words.parse_args(), open_pets("pets")
    for width in given.widths:
        rows = pd.DataFrame(measured(trained(width, given.epochs, pets), pets, given.compile))
        if TABLE.exists():
            old = pd.read_csv(TABLE)
            rows = pd.concat([old[old["width"] != width], rows]).sort_values("width", kind="stable")
        write_text(TABLE, rows.to_csv(index=False, lineterminator="\n"), replace=True)
        print(rows[rows["width"] == width].to_string(), flush=True)


if __name__ == "__main__":
    main()
