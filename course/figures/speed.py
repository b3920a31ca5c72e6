"""Figures of notebook 04 about speed: Dice against time, and the parts of a training step."""

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
    """Validation Dice against minutes since the process started, one line for each run; the time to each step's goal.

    Args:
        table: rows of `records/speedrun.csv`, one goal for each step: columns `step, goal, seed, phase, size,
            image_size, seconds, valid_dice, seconds_to_goal, device`. Steps keep their order; several seeds of a
            step share a color. Only the device of the last row is drawn.
    """
    figure = new_figure(8.5, 4.2)
    curves, bars = figure.subplots(1, 2, width_ratios=(1.6, 1))
    table = table[table["device"] == table["device"].iloc[-1]]
    steps, goals = list(dict.fromkeys(table["step"])), sorted(table["goal"].unique())
    for step, color in zip(steps, COLORS, strict=False):
        own = table[table["step"] == step]
        for _, run in own[own["phase"] == "epoch"].groupby("seed"):
            curves.plot(run["seconds"] / 60, run["valid_dice"], color=color, linewidth=1.2)
            full = run[run["size"] == run["image_size"]]
            curves.plot(full["seconds"] / 60, full["valid_dice"], ".", color=color, markersize=5)
        median = own.groupby("seed")["seconds_to_goal"].first().fillna(np.inf).median()
        place = len(steps) - steps.index(step)
        length, text = (median / 60, clock(median)) if np.isfinite(median) else (0, "not reached")
        if length:
            bars.barh(place, length, color=color, height=0.62)
            text += f" to {own['goal'].iloc[0]:.2f}" if len(goals) > 1 else ""
        bars.text(length, place, f" {text}", va="center", fontsize=9)
    for goal in goals:
        curves.axhline(goal, color="gray", linestyle="--", linewidth=1)
    curves.set(xlabel="minutes since the start", ylabel="validation Dice, per image", ylim=(0.75, None))
    curves.grid(True, alpha=0.3)
    bars.set_yticks([len(steps) - i for i in range(len(steps))], [_wrapped(step) for step in steps], fontsize=8)
    bars.set(xlabel=f"minutes to {' or '.join(f'{goal:.2f}' for goal in goals)}")
    bars.margins(x=0.5)
    bars.set_ylim(0.4, len(steps) + 0.6)
    bars.spines[["top", "right"]].set_visible(False)
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure
