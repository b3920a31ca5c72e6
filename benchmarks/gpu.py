"""What `benchmarks/gpu.sh` runs: its steps one after the other, each timed and limited, and one table at the end.

Needs nothing but Python itself, so that it can say which packages the steps miss. Every step is a process of its own
whose output goes to `<folder>/<step>.log`. Times are only taken in steps that have the machine to themselves; the long
trainings and the notebooks share it.
"""

import argparse
import csv
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import gpu_results as results

TOTAL, RESERVE = 595.0, 30.0
"""Seconds for everything, and of those what is kept for the evaluations."""
MODULES = {
    name: name.replace("_", "-")
    for name in ("torch", "torchvision", "numpy", "pandas", "pydantic", "tomli_w", "safetensors", "filelock")
} | {"PIL": "pillow"}
SHELL = MODULES | {name: name for name in ("typer", "tqdm", "tensorboard", "matplotlib")}
NOTEBOOKS = SHELL | {
    name: name.replace("_", "-")
    for name in ("papermill", "nbformat", "ipykernel", "anywidget", "latex2mathml", "myst_nb", "sphinx_book_theme")
}
"""What a step imports, and what the package is called."""
WAYS_OF_UNET, WAYS_OF_RESNET = "unet width 64", "resnet34_unet lab"


@dataclass(frozen=True)
class Step:
    """One process, what it may take, and what is read from what it leaves."""

    name: str
    stage: int
    """Steps of a stage run together, stages one after the other."""
    command: Sequence[str]
    limit: float | None
    """Seconds; None: what the total leaves."""
    found: Callable[[], list[results.Figure]]
    needs: dict[str, str] = field(default_factory=lambda: SHELL)


@dataclass(frozen=True)
class Outcome:
    """How a step ended."""

    step: str
    status: str
    """`ok`, or what was wrong."""
    seconds: float
    figures: list[results.Figure]


def full_steps(archive: Path, out: Path, device: str) -> list[Step]:
    """All that is measured on a GPU."""
    python, data = [sys.executable, "-m"], str(out / "data")
    throughput = [*python, "benchmarks.throughput", "--device", device, "--compile", "--warm-cache"]
    throughput += ["--graphs"] if device.startswith("cuda") else []
    warm = [*throughput, "--rounds", "1", "--out", str(out / "warm-up.csv"), "--only"]
    speedrun = [*python, "benchmarks.speedrun", "--seeds", "1", "--data", data, "--device", device, "--out", str(out)]
    steps = [
        # compiling fills the compiler's cache while the archive is unpacked, so that measuring need not wait for it
        Step("compile UNet", 1, [*warm, WAYS_OF_UNET], 120, list, MODULES),
        Step("compile ResNet34-UNet", 1, [*warm, WAYS_OF_RESNET], 120, list, MODULES),
        Step(
            "throughput",
            2,
            [*throughput, "--only", WAYS_OF_UNET, WAYS_OF_RESNET, "--out", str(out / "throughput.csv")],
            130,
            lambda: results.throughput(out / "throughput.csv"),
            MODULES,
        ),
        *(
            Step(
                f"speedrun {goal}",
                stage,
                [*speedrun, "--goal", goal],
                limit,
                lambda goal=goal, wanted=wanted: results.speedrun(out / "speedrun.csv", goal, wanted),
                MODULES,
            )
            for goal, wanted, stage, limit in (("0.90", 20, 3, 40), ("0.93", 120, 4, 135))
        ),
    ]
    recipes = {"UNet": "gpu-128-unet", "ResNet34-UNet": "gpu-128-resnet34-unet"}
    return [*steps, *common_steps(archive, out, device, recipes, "quick", ["01", "02", "03", "04", "05"])]


def tiny_steps(archive: Path, out: Path, device: str) -> list[Step]:
    """The same kinds of steps, so small that a CPU does them in seconds."""
    python, data = [sys.executable, "-m"], str(out / "data")
    throughput = [*python, "benchmarks.throughput", "--device", device, "--only", "unet width 16", "--sizes", "64"]
    throughput += ["--batch", "2", "--rounds", "1", "--tasks", "train", "--out", str(out / "throughput.csv")]
    speedrun = [*python, "benchmarks.speedrun", "--goal", "0.90", "--seeds", "1", "--epochs", "1", "--data", data]
    steps = [
        Step("throughput", 2, throughput, 600, lambda: results.throughput(out / "throughput.csv"), MODULES),
        Step(
            "speedrun 0.90",
            2,
            [*speedrun, "--device", device, "--out", str(out)],
            600,
            lambda: results.speedrun(out / "speedrun.csv", "0.90", 20),
            MODULES,
        ),
    ]
    recipes = {name: str(out / f"{name}.toml") for name in ("UNet", "ResNet34-UNet")}
    networks = {"UNet": 'name = "unet"\nwidth = 4\ndepth = 2', "ResNet34-UNet": 'name = "resnet34_unet"'}
    for name, network in networks.items():
        training = "[training]\nepochs = 1\nbatch_size = 4\n"
        Path(recipes[name]).write_text(f"[data]\nimage_size = 64\n[model]\n{network}\n{training}")
    return [*steps, *common_steps(archive, out, device, recipes, recipes["UNet"], ["04"], limit=600)]


def common_steps(
    archive: Path,
    out: Path,
    device: str,
    recipes: dict[str, str],
    notebooks_recipe: str,
    notebooks: list[str],
    limit: float | None = None,
) -> list[Step]:
    """Data, notebooks, trainings and evaluations of both scales."""
    labkit, data = [sys.executable, "-m", "labkit"], str(out / "data")
    get = [*labkit, "data", "get", "--data", data]
    if not (out / "data").exists():
        get += ["--from", str(archive)]
    lab = [sys.executable, "-m", "course", "lab", "--data", data, "--recipe", notebooks_recipe, "--device", device]
    lab += ["--out", str(out / "lab")]
    lab += [word for name in notebooks for word in ("--only", name)]
    steps = [
        Step("data", 1, get, limit or 90, lambda: results.data(out / "data")),
        Step(
            f"notebooks {notebooks[0]} to {notebooks[-1]}" if len(notebooks) > 1 else f"notebook {notebooks[0]}",
            5,
            lab,
            limit,
            lambda: results.training(out / "lab" / "run", device),
            NOTEBOOKS,
        ),
    ]
    for name, recipe in recipes.items():
        run = out / name.lower()
        train = [*labkit, "train", recipe, "--data", data, "--device", device, "--run-dir", str(run)]
        evaluate = [*labkit, "evaluate", str(run), "--data", data, "--device", device]
        steps.append(Step(f"train {name}", 5, train, limit, lambda run=run: results.training(run, device)))
        steps.append(Step(f"test {name}", 6, evaluate, limit or RESERVE, lambda run=run: results.evaluation(run)))
    return steps


SCALES = {"full": full_steps, "tiny": tiny_steps}


def missing(needs: dict[str, str]) -> list[str]:
    """Packages that a step needs and Python does not find."""
    return [package for module, package in needs.items() if importlib.util.find_spec(module) is None]


def run_step(
    step: Step,
    out: Path,
    seconds_left: float,
    running: dict[str, subprocess.Popen] | None = None,
    stopped: threading.Event | None = None,
) -> Outcome:
    """Run a step within its limit; whatever goes wrong becomes its status.

    Its process stands in `running`, whose processes are killed once `stopped` is set; one begun later is killed here.
    """
    if lacking := missing(step.needs):
        return Outcome(step.name, f"left out: needs {', '.join(lacking)}", 0.0, [])
    limit = step.limit or max(1.0, seconds_left - RESERVE)
    log = out / f"{step.name.replace(' ', '-')}.log"
    began = time.perf_counter()
    with log.open("wb") as file:
        child = subprocess.Popen(step.command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        if running is not None:
            running[step.name] = child
        if stopped is not None and stopped.is_set():  # before this child stood in `running`
            kill(child)
        try:
            code = child.wait(timeout=limit)
            status = "ok" if code == 0 else f"failed with status {code}: {last_line(log)}"
        except subprocess.TimeoutExpired:
            kill(child)
            status = f"stopped after its {limit:.0f} s"
    took = time.perf_counter() - began
    try:
        return Outcome(step.name, status, took, step.found())
    except (results.Wrong, OSError, ValueError, KeyError) as error:
        return Outcome(step.name, f"failed: {error}" if status == "ok" else status, took, [])


def kill(child: subprocess.Popen) -> None:
    """End a step's process and what it has started."""
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def last_line(log: Path) -> str:
    """The last line of an output, where errors are told."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:150] if lines else "no output"


def run_all(steps: list[Step], out: Path) -> Iterator[Outcome]:
    """Run the stages in order, each step told when it is done; one that fails stops no other, an interrupt all."""
    began, running, stopped = time.perf_counter(), {}, threading.Event()
    for stage in sorted({step.stage for step in steps}):
        together = [step for step in steps if step.stage == stage]
        left = TOTAL - (time.perf_counter() - began)
        with ThreadPoolExecutor(len(together)) as pool:
            try:
                for outcome in pool.map(lambda step, left=left: run_step(step, out, left, running, stopped), together):
                    print(f"{outcome.step}: {outcome.status}, {outcome.seconds:.0f} s", flush=True)
                    yield outcome
            except BaseException:
                stopped.set()
                for child in list(running.values()):
                    kill(child)
                raise


def table(outcomes: list[Outcome]) -> list[dict[str, str]]:
    """One row a figure; a step without any has a row all the same."""
    rows = []
    for outcome in outcomes:
        for what, value in outcome.figures or [("", "")]:
            row = {"step": outcome.step, "what": what, "figure": value}
            rows.append(row | {"seconds": f"{outcome.seconds:.1f}", "status": outcome.status})
    return rows


def main() -> None:
    """Run everything, print and keep the table; the exit status is 1 unless all steps succeeded."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("archive", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--device", default="cuda")
    words.add_argument("--scale", choices=SCALES, default="full")
    given = words.parse_args()
    if lacking := missing(NOTEBOOKS):
        print(f"Python {sys.executable} lacks {', '.join(lacking)}: the steps that need them are left out", flush=True)
    if (complaint := results.no_device(given.device)) is not None:
        sys.exit(f"gpu.sh: {complaint}")
    if any(given.out.glob("*.log")):
        sys.exit(f"gpu.sh: {given.out} holds an earlier run; name another folder, or remove that one")
    outcomes: list[Outcome] = []
    try:
        for outcome in run_all(SCALES[given.scale](given.archive, given.out, given.device), given.out):
            outcomes.append(outcome)
    finally:  # an interrupt keeps what was found until then
        if outcomes:
            keep(outcomes, given.out)
    sys.exit(any(outcome.status != "ok" for outcome in outcomes))


def keep(outcomes: list[Outcome], out: Path) -> None:
    """Print the table and write it down."""
    rows = table(outcomes)
    with (out / "gpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = results.markdown(rows)
    (out / "gpu.md").write_text(text)
    print(f"\n{text}\nkept in {out}: gpu.csv, gpu.md, and a log of each step")


if __name__ == "__main__":
    main()
