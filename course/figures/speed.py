"""Figures of notebook 09: Dice against time, and the parts of a training step."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit import painting
from labkit.curves import new_figure

COLORS = tuple(
    tuple(c / 255 for c in color)
    for color in (painting.BLUE, painting.ORANGE, painting.GREEN, painting.VERMILION, painting.PURPLE, painting.SKY)
)


def clock(seconds: float) -> str:
    """Minutes and seconds: `3:07`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def speedrun(table: pd.DataFrame) -> Figure:
    """Validation Dice against minutes since the process started, one line a run, and the time of each step to the goal.

    Args:
        table: rows of `records/speedrun.csv` with one goal and one device: columns `step, goal, seed, phase, size,
            image_size, seconds, valid_dice, seconds_to_goal`. Steps keep their order; several seeds share a color.
    """
    figure = new_figure(8.5, 4.4)
    curves, bars = figure.subplots(1, 2, width_ratios=(1.5, 1))
    steps, goal = list(dict.fromkeys(table["step"])), table["goal"].iloc[0]
    for place, (step, color) in enumerate(zip(steps, COLORS, strict=False)):
        own = table[table["step"] == step]
        for number, (_, run) in enumerate(own[own["phase"] == "epoch"].groupby("seed")):
            label = step if number == 0 else None
            curves.plot(run["seconds"] / 60, run["valid_dice"], color=color, linewidth=1.2, label=label)
            full = run[run["size"] == run["image_size"]]
            curves.plot(full["seconds"] / 60, full["valid_dice"], ".", color=color, markersize=5)
        median = own.groupby("seed")["seconds_to_goal"].first().fillna(np.inf).median()
        length, text = (median / 60, clock(median)) if np.isfinite(median) else (0, "not reached")
        bars.barh(place, length, color=color, height=0.62)
        bars.text(length, place, f" {text}", va="center", fontsize=9)
    curves.axhline(goal, color="gray", linestyle="--", linewidth=1, label=f"goal: {goal:.2f}")
    curves.set(xlabel="minutes since the start", ylabel="validation Dice, per image", ylim=(0.75, None))
    bars.set_yticks(range(len(steps)), [_wrapped(step) for step in steps], fontsize=8)
    bars.set(xlabel=f"minutes to {goal:.2f}", ylim=(len(steps) - 0.4, -0.6))
    bars.margins(x=0.5)
    bars.grid(axis="y", visible=False)
    figure.legend(*curves.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _wrapped(words: str, width: int = 24) -> str:
    lines: list[str] = []
    for word in words.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def step_shares(table: pd.DataFrame, parts: Sequence[str]) -> Figure:
    """Shares of a training step's time, one stacked bar for each network.

    Args:
        table: rows of `records/profile.csv`: columns `network, batch, size, part, ms`; one row for each of them.
        parts: the parts in stacking order; all others are summed as "other".
    """
    facts = table[["network", "batch", "size"]].itertuples(index=False)
    named = table.assign(
        case=[f"{network}\n{batch} images of {size} pixels" for network, batch, size in facts],
        part=table["part"].where(table["part"].isin(parts), "other"),
    )
    cases = list(dict.fromkeys(named["case"]))
    figure = new_figure(8.5, 1.5 + 0.5 * len(cases))
    axes = figure.subplots()
    colors = [*COLORS, *((0.94, 0.89, 0.26), (0.6, 0.4, 0.2), (0.5, 0.5, 0.5), (0.8, 0.8, 0.8))]
    shares = named.pivot_table(index="case", columns="part", values="ms", aggfunc="sum", fill_value=0.0)
    shares = shares.div(shares.sum(axis=1), axis=0).reindex(cases)
    left = np.zeros(len(cases))
    for part, color in zip([*parts, "other"], colors, strict=False):
        if part not in shares:
            continue
        values = shares[part].to_numpy()
        axes.barh(range(len(cases)), values, left=left, color=color, label=part, height=0.62)
        for row, (start, value) in enumerate(zip(left, values, strict=True)):
            if value >= 0.05:
                dark = sum(color) < 1.4
                axes.text(
                    start + value / 2,
                    row,
                    f"{value:.0%}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if dark else "black",
                )
        left += values
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the step's time")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="y", visible=False)
    axes.legend(ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure
