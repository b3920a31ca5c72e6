"""The workbook's figures: every function returns a matplotlib `Figure` for `show`."""

from labkit.workbook.plots.analysis import (
    breed_bars,
    case_pictures,
    class_bars,
    confusion_heatmap,
    distance_bars,
    score_histogram,
    threshold_curve,
)
from labkit.workbook.plots.attention import gate_steps, gates_by_epoch, promise_and_truth, region_and_class
from labkit.workbook.plots.costs import cost_scatter, width_against_score
from labkit.workbook.plots.data import pet_sheet, size_and_share, warped_meshes
from labkit.workbook.plots.diagrams import architecture
from labkit.workbook.plots.live import LiveCurves
from labkit.workbook.plots.networks import attention_maps, cost_by_scale, receptive_fields, signal_by_depth
from labkit.workbook.plots.pictures import picture_grid
from labkit.workbook.plots.speed import speedrun, step_shares
from labkit.workbook.plots.training import (
    history_curves,
    loss_shapes,
    rate_sweep,
    run_curves,
    schedules,
    step_losses,
)
from labkit.workbook.plots.unet import feature_maps, up_patterns

__all__ = [
    "LiveCurves",
    "architecture",
    "attention_maps",
    "breed_bars",
    "case_pictures",
    "class_bars",
    "confusion_heatmap",
    "cost_by_scale",
    "cost_scatter",
    "distance_bars",
    "feature_maps",
    "gate_steps",
    "gates_by_epoch",
    "history_curves",
    "loss_shapes",
    "pet_sheet",
    "picture_grid",
    "promise_and_truth",
    "rate_sweep",
    "receptive_fields",
    "region_and_class",
    "run_curves",
    "schedules",
    "score_histogram",
    "signal_by_depth",
    "size_and_share",
    "speedrun",
    "step_losses",
    "step_shares",
    "threshold_curve",
    "up_patterns",
    "warped_meshes",
    "width_against_score",
]
