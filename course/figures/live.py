"""Curves in the notebook during a training."""

import io
from collections.abc import Iterable, Iterator
from math import nan
from statistics import fmean, median

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from labkit.curves import new_figure
from labkit.painting import BLUE, GREEN, ORANGE, VERMILION
from labkit.training import Epoch, in_words, seconds_left

WIDTH, HEIGHT, DPI = 8.5, 4.8, 100
HEADROOM = 1.3
"""How far a validation loss may rise above all training losses before it is cut off."""


class LiveCurves:
    """Curves that are redrawn in place after each epoch; the last image stays in the notebook.

    Figure, axes and lines are made once, and all images have one size that the notebook knows: nothing jumps or
    flickers, and a redraw takes some hundredths of a second.

    Args:
        epochs: the largest number of epochs.
    """

    def __init__(self, epochs: int):
        self.epochs, self.records = epochs, []
        self.figure = new_figure(WIDTH, HEIGHT)
        self.figure.set_layout_engine(None)  # it would measure every text anew at each redraw
        self.figure.subplots_adjust(left=0.075, right=0.985, top=0.85, bottom=0.1, hspace=0.32, wspace=0.18)
        (loss, score), (rate, norm) = self.figure.subplots(2, 2, sharex=True)
        self.title = self.figure.suptitle("", x=0.5, y=0.985, fontsize=10)
        self.steps = _line(loss, BLUE, "each batch", linewidth=0.6, alpha=0.35, marker="")
        self.curves = {
            "train_loss": _line(loss, BLUE, "training"),
            "valid_loss": _line(loss, ORANGE, "validation"),
            "valid_dice": _line(score, GREEN, "Dice"),
            "valid_iou": _line(score, VERMILION, "IoU"),
            "learning_rate": _line(rate, BLUE, "learning rate"),
        }
        self.norms = _line(norm, VERMILION, "each step", linewidth=0.6, alpha=0.35, marker="")
        self.mean_norms = _line(norm, VERMILION, "mean")
        titles = ("loss", "validation, per image", "learning rate", "gradient norm")
        for axes, title in zip((loss, score, rate, norm), titles, strict=True):
            axes.set_title(title, fontsize=10, y=1.02)  # a title without a place looks for one at each redraw
            axes.tick_params(labelsize=8)
            if axes is not rate:
                axes.legend(fontsize=8, loc="lower right" if axes is score else "upper right")
        norm.set_yscale("log")
        norm.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        norm.yaxis.set_minor_locator(NullLocator())
        for axes in (rate, norm):
            axes.set_xlabel("epoch", fontsize=9)
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        rate.set_xlim(0, epochs)
        rate.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        self.handle = None

    def follow(self, records: Iterable[Epoch]) -> Iterator[Epoch]:
        """Draw each record of `epochs` and yield it; the title says at the end how the training ended."""
        for record in records:
            self.add(record)
            yield record
        if self.records and self.records[-1].epoch < self.epochs:
            self._show("stopped early")

    def add(self, record: Epoch) -> None:
        """Add an epoch and redraw."""
        self.records.append(record)
        epochs = [met.epoch for met in self.records]
        for key, line in self.curves.items():
            line.set_data(epochs, [getattr(met, key) for met in self.records])
        for key, line in (("step_losses", self.steps), ("gradient_norms", self.norms)):
            met = [(each.epoch, getattr(each, key)) for each in self.records]
            # the steps of epoch 3 lie between 2 and 3, where the epoch's own point is
            places = [epoch - 1 + (i + 1) / len(values) for epoch, values in met for i in range(len(values))]
            line.set_data(places, [value for _, values in met for value in values])
        self.mean_norms.set_data(epochs, [fmean(met.gradient_norms or (nan,)) for met in self.records])
        for axes in self.figure.axes:
            axes.relim()
            axes.autoscale_view(scalex=False)
        self.curves["learning_rate"].axes.set_ylim(bottom=0, auto=True)
        self._cut_off_leaps()
        left = self.epochs - record.epoch
        remaining = in_words(seconds_left([met.seconds for met in self.records], left))
        self._show(f"about {remaining} left" if left else "done")

    def _cut_off_leaps(self) -> None:
        """Let no single leap of the validation loss flatten all other curves; the title says how high it went."""
        axes, met = self.curves["valid_loss"].axes, [record.valid_loss for record in self.records]
        others = [*(record.train_loss for record in self.records), *self.steps.get_ydata(), median(met)]
        top, cut = HEADROOM * max(others), max(met) > HEADROOM * max(others)
        if cut:
            axes.set_ylim(top=top)
        axes.title.set_text(f"loss (validation goes up to {max(met):.3g})" if cut else "loss")

    def _show(self, state: str) -> None:
        last = self.records[-1]
        best = max(self.records, key=lambda met: (met.best, met.epoch))
        kept = f" · best Dice {best.valid_dice:.4f} in epoch {best.epoch}" if best.best else ""
        pace = f"epoch {last.epoch} of {self.epochs} · {in_words(last.seconds)} an epoch · {state}"
        self.title.set_text(pace + kept)
        encoded = io.BytesIO()
        sharp = 1 if state.startswith("about") else 2  # the last image stays, and may be looked at closely
        self.figure.savefig(encoded, format="png", dpi=sharp * DPI, pil_kwargs={"compress_level": 1})
        shown = "Loss, validation Dice and IoU, learning rate and gradient norm"
        alt = f"{shown} after {last.epoch} of {self.epochs} epochs."
        bundle = {"image/png": encoded.getvalue(), "text/plain": f"[figure: {alt}]"}
        # with a known size the page keeps the place while the next image is decoded
        facts = {"image/png": {"alt": alt, "width": round(WIDTH * DPI), "height": round(HEIGHT * DPI)}}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True, metadata=facts)
        else:
            self.handle.update(bundle, raw=True, metadata=facts)


def _line(axes: Axes, color: tuple[int, int, int], label: str, **style: object) -> Line2D:
    look = {"marker": ".", "markersize": 5, "linewidth": 1.4} | style
    return axes.plot([], [], color=[c / 255 for c in color], label=label, **look)[0]
