"""The workbook's figures: every function returns a matplotlib `Figure` for `show`."""

from labkit.workbook.plots.analysis import breed_bars, case_pictures, distance_bars, score_histogram, threshold_curve
from labkit.workbook.plots.data import size_and_share, warped_meshes
from labkit.workbook.plots.pictures import picture_grid
from labkit.workbook.plots.training import LiveCurves, history_curves, loss_shapes, schedules, step_losses

__all__ = [
    "LiveCurves",
    "breed_bars",
    "case_pictures",
    "distance_bars",
    "history_curves",
    "loss_shapes",
    "picture_grid",
    "schedules",
    "score_histogram",
    "size_and_share",
    "step_losses",
    "threshold_curve",
    "warped_meshes",
]
