"""The workbook's figures: every function returns a matplotlib `Figure` for `show`."""

from labkit.workbook.plots.analysis import breed_bars, case_pictures, distance_bars, score_histogram, threshold_curve
from labkit.workbook.plots.data import pet_sheet, size_and_share, warped_meshes
from labkit.workbook.plots.diagrams import resnet34_unet_diagram, unet_diagram
from labkit.workbook.plots.networks import attention_maps, cost_by_scale, receptive_fields, signal_by_depth
from labkit.workbook.plots.pictures import picture_grid
from labkit.workbook.plots.training import LiveCurves, history_curves, loss_shapes, schedules, step_losses

__all__ = [
    "LiveCurves",
    "attention_maps",
    "breed_bars",
    "case_pictures",
    "cost_by_scale",
    "distance_bars",
    "history_curves",
    "loss_shapes",
    "pet_sheet",
    "picture_grid",
    "receptive_fields",
    "resnet34_unet_diagram",
    "schedules",
    "score_histogram",
    "signal_by_depth",
    "size_and_share",
    "step_losses",
    "threshold_curve",
    "unet_diagram",
    "warped_meshes",
]
