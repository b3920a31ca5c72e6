"""Figures of the notebooks: functions return a matplotlib `Figure` for `show`; `..._fields` return a table."""

from course.figures.analysis import (
    case_maps,
    class_bars,
    confusion_heatmap,
    error_rates,
    reliability_diagram,
    scores_by,
    threshold_curve,
)
from course.figures.architecture import architecture
from course.figures.attention import gate_steps, gates_by_epoch
from course.figures.claims import arm_curves, coverage, forest, run_strip
from course.figures.classes import class_panels, promise_and_truth, region_and_class
from course.figures.comparison import (
    chance_histogram,
    interval_plot,
    mean_row,
    precision_by_seeds,
    score_by_cost,
    seed_curves,
    sweep_figure,
)
from course.figures.costs import cost_scatter, width_against_score
from course.figures.data import pet_grid, size_and_share, warped_meshes
from course.figures.images import ERRORS, image_grid, mask_image, trimap_image, with_outline
from course.figures.live import LiveCurves
from course.figures.networks import attention_maps, cost_by_scale, receptive_fields, seed_lines, signal_by_depth
from course.figures.speed import speedrun, step_shares
from course.figures.training import loss_shapes, schedules
from course.figures.unet import feature_maps, up_patterns
from labkit.curves import rate_sweep, run_curves
