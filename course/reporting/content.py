"""What fills the report: tables as Markdown, figures as PNG, and a sentence where something is missing."""

import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from course import figures as plots
from course.compare import mean_interval
from course.reporting.masks import mask_figure
from course.reporting.scores import Arm, Scored, arms, choices, comparison, scored
from course.run_facts import data_facts, history_of, network_facts, train_command, training_facts
from labkit.errors import LabError
from labkit.training import open_run


class Report(NamedTuple):
    """What the template is filled with, and the figures by the names under which it shows them."""

    context: dict[str, Any]
    images: dict[str, bytes]


def report(paths: Sequence[Path], data: str | None, out: Path) -> Report:
    """Everything that the template of the report needs; a LabError where a run cannot be opened."""
    opened = [open_run(path) for path in paths]
    if twice := [
        run.path for run in opened if [other.path.resolve() for other in opened].count(run.path.resolve()) > 1
    ]:
        raise LabError(f"{twice[0]}: named twice; name each run once")
    runs = scored(opened)
    groups = arms(runs)
    missing = [
        f"{one.label} has not been evaluated, so no score of it is here: "
        f"`{evaluate_command(one, data)}`, then make the report again."
        for one in runs
        if one.chosen is None
    ]
    table, notes = comparison(groups)
    figures: dict[str, tuple[Figure, str]] = {}
    with_history = [one.run for one in runs if history_of(one.run) is not None]
    if with_history:
        caption = "Losses, validation Dice (a dot where it is highest) and learning rate of every epoch."
        figures["curves"] = plots.run_curves(with_history), caption
    if evaluated := [one for one in runs if one.chosen]:
        rows = [plots.mean_row(one.label, one.chosen.images["dice"].to_numpy()) for one in evaluated]
        caption = f"Mean Dice over {evaluated[0].chosen.told}, with its 95 % interval over images."
        figures["intervals"] = plots.interval_plot(rows, "Dice, mean over images"), caption
    masks, no_masks = mask_figure(groups, data)
    figures |= {"masks": masks} if masks else {}
    files = {key: f"{out.stem}-figures/{key}.png" for key in figures}
    context = {
        "figures": {key: {"file": files[key], "caption": caption} for key, (_, caption) in figures.items()},
        "overview": _overview(groups),
        "not_evaluated": missing,
        "training": _facts(groups, training_facts),
        "networks": _facts(groups, network_facts),
        "data": _facts(groups, data_facts),
        "no_curves": "The runs are weights files without a history, so there are no curves.",
        "scores": _score_table(runs) if evaluated else "No run has been evaluated yet.",
        "compared": _markdown(table) if len(table) else _not_compared(groups, notes),
        "compared_notes": notes,
        "no_masks": no_masks,
        "explored": _explored(runs),
        "characteristics": _characteristics(groups),
        "commands": _commands(runs, data),
        "machine": _machine(runs),
    }
    return Report(context, {files[key]: _png(figure) for key, (figure, _) in figures.items()})


def evaluate_command(one: Scored, data: str | None = None) -> str:
    """The command that evaluates a run as it was, or would be, evaluated."""
    words = ["labkit", "evaluate", str(one.run.path), "--data", data or _data_of(one)]
    if one.chosen:
        summary = one.chosen.summary
        words += ["--split", summary["split"]] * (summary["split"] != "test")
        words += ["--scored-at", summary["scored_at"]] * (summary["scored_at"] != "input")
        words += ["--threshold", f"{summary['threshold']:g}"] * (summary["threshold"] != 0.5)
    return shlex.join(words)


def _data_of(one: Scored) -> str:
    return one.chosen.summary["data"] if one.chosen else "DATA"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def _markdown(table: pd.DataFrame, index: bool = False) -> str:
    clean = table.map(lambda value: str(value).replace("|", "/"))
    return clean.to_markdown(index=index, disable_numparse=True)


def _facts(groups: list[Arm], facts) -> str:
    """Facts as rows, arms as columns; where runs of an arm differ, as in their seed, all values."""
    columns = {}
    for arm in groups:
        found = [facts(one.run) for one in arm.runs]
        keys = dict.fromkeys(key for one in found for key in one)
        columns[arm.label] = {key: "; ".join(dict.fromkeys(one[key] for one in found if key in one)) for key in keys}
    return _markdown(pd.DataFrame(columns).fillna("-").rename_axis("").reset_index())


def _overview(groups: list[Arm]) -> str:
    rows = []
    for arm in groups:
        for one in arm.runs:
            history = history_of(one.run)
            row = {"run": one.label, "network": network_facts(one.run)["parameters"] + " parameters, " + arm.label}
            row |= {"input": one.run.recipe.data.image_size, "epochs": "-" if history is None else len(history)}
            row["best validation Dice"] = "-" if history is None else f"{history['valid_dice'].max():.4f}"
            row["Dice per image"] = f"{one.chosen.images['dice'].mean():.4f}" if one.chosen else "not evaluated"
            row["scored on"] = one.chosen.told if one.chosen else "-"
            rows.append(row)
    return _markdown(pd.DataFrame(rows))


def _score_table(runs: list[Scored]) -> str:
    rows = []
    for one in runs:
        for evaluation in one.evaluations:
            mean, low, high = mean_interval(evaluation.images["dice"].to_numpy())
            row = {"run": one.label, "scored on": evaluation.told, "Dice per image": f"{mean:.4f}"}
            row |= {"95 % interval over images": f"[{low:.4f}, {high:.4f}]"}
            row |= {"Dice pooled": f"{evaluation.summary['dice_pooled']:.4f}"}
            rows.append(row | {"IoU per image": f"{evaluation.summary['iou_per_image']:.4f}"})
    return _markdown(pd.DataFrame(rows)) + "\n\nHard Dice of every image, then the mean; pooled: of all pixels at once."


def _not_compared(groups: list[Arm], notes: list[str]) -> str:
    number = sum(any(one.chosen for one in arm.runs) for arm in groups)
    return "" if notes else f"A comparison needs two networks with an evaluation; {number or 'none'} is here."


def _explored(runs: list[Scored]) -> str:
    """Every key of the recipes in which the runs differ, and the validation Dice that came of it."""
    chosen = [choices(one.run) | {"training.seed": one.run.recipe.training.seed} for one in runs]
    keys = dict.fromkeys(key for one in chosen for key in one)
    different = [key for key in keys if len({str(one.get(key, "-")) for one in chosen}) > 1]
    if not different:
        return (
            "This is one run, so nothing was varied. Name several to `course report`, and what differs is listed here."
        )
    rows = []
    for one, values in zip(runs, chosen, strict=True):
        history = history_of(one.run)
        row = {"run": one.label} | {key: values.get(key, "-") for key in different}
        rows.append(row | {"valid Dice": "-" if history is None else f"{history['valid_dice'].max():.4f}"})
    table = pd.DataFrame(rows).set_index("run").T.rename_axis("").reset_index()
    return "What differs between the runs, and the best Dice on the validation images:\n\n" + _markdown(table)


def _characteristics(groups: list[Arm]) -> str:
    """Dice by species and by the pet's share of the image, a column an arm."""
    evaluated = [one for arm in groups if (one := next((r for r in arm.runs if r.chosen), None))]
    if not evaluated:
        return "The scores by kind of image need an evaluation."
    parts: dict[str, dict[str, str]] = {}
    for one in evaluated:
        images = one.chosen.images
        cuts = pd.qcut(images["foreground"], min(3, len(images)), duplicates="drop")
        kinds = {f"{species}s": images["species"] == species for species in sorted(set(images["species"]))}
        for cut in cuts.cat.categories:
            kinds[f"pet covers {max(cut.left, 0):.0%} to {cut.right:.0%}"] = cuts == cut
        if (empty := images["foreground"] == 0).any():
            kinds["no pet in the mask"] = empty
        for kind, rows in kinds.items():
            dice = images.loc[rows, "dice"].to_numpy()
            parts.setdefault(kind, {"images": f"{len(dice):,}"})[one.label] = _mean(dice)
    table = pd.DataFrame(parts).T.fillna("-").rename_axis("Dice of").reset_index()
    share = evaluated[0].chosen.images["foreground"]
    told = f"The pet covers {share.median():.0%} of an image (median; from {share.min():.0%} to {share.max():.0%})."
    return f"{_markdown(table)}\n\nMeans with their 95 % intervals over images. {told}"


def _mean(dice: np.ndarray) -> str:
    if len(dice) < 2:
        return f"{dice.mean():.3f}" if len(dice) else "-"
    return "{:.3f} [{:.3f}, {:.3f}]".format(*mean_interval(dice))


def _commands(runs: list[Scored], data: str | None) -> str:
    lines = []
    for one in runs:
        label = data or _data_of(one)
        lines += [f"# {one.label}", train_command(one.run, label), evaluate_command(one, data)]
        lines += [f"labkit predict {one.run.path} IMAGES --out masks"]
    return "\n".join([*lines, "# this report", f"course report {' '.join(str(one.run.path) for one in runs)}"])


def _machine(runs: list[Scored]) -> str:
    import json

    told = []
    for one in runs:
        path = one.run.path / "environment.json"
        if path.is_file():
            about = json.loads(path.read_text(encoding="utf-8"))
            names = ("python", "torch", "labkit", "commit", "platform", "processor", "threads", "device_name")
            told.append(", ".join(f"{name} {about[name]}" for name in names if about.get(name)))
    return "Trained with " + "; ".join(dict.fromkeys(told)) + "." if told else ""
