"""Analysis: run folder -> predictions -> tables."""

from labkit.analysis.calibration import calibration_counts, calibration_error, reliability
from labkit.analysis.cases import (
    case_masks,
    dice_of_masks,
    distance_counts,
    error_by_distance,
    outline_distance,
    probabilities,
)
from labkit.analysis.compare import (
    holm_levels,
    image_difference,
    image_interval,
    mean_interval,
    pooled_variance,
    resampled_sums,
    run_difference,
    seeds_needed,
)
from labkit.analysis.costs import NetworkCosts, latency, module_calls, network_costs
from labkit.analysis.evaluation import (
    Evaluation,
    class_table,
    evaluate,
    evaluation_folder,
    score,
)
from labkit.analysis.masks import predict_split
from labkit.analysis.predictions import Predictor, load_predictor, predict_batches, predict_files
from labkit.training import committed_weights, open_run
