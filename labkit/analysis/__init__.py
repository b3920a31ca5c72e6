"""Analysis: run folder -> predictions -> tables."""

from labkit.analysis.anatomy import NetworkCosts, latency, network_costs, scale_name, stage_costs
from labkit.analysis.cases import case_masks, error_by_distance, probabilities
from labkit.analysis.evaluation import (
    Evaluation,
    breed_table,
    class_table,
    evaluate,
    evaluation_folder,
    image_table,
    score,
    typical_cases,
)
from labkit.analysis.predictions import Predictor, load_predictor, predict_batches, predict_files
from labkit.analysis.receptive import gradient_map, receptive_fields
from labkit.analysis.variants import VARIANTS
from labkit.training import committed_weights, open_run

__all__ = [
    "VARIANTS",
    "Evaluation",
    "NetworkCosts",
    "Predictor",
    "breed_table",
    "case_masks",
    "class_table",
    "committed_weights",
    "error_by_distance",
    "evaluate",
    "evaluation_folder",
    "gradient_map",
    "image_table",
    "latency",
    "load_predictor",
    "network_costs",
    "open_run",
    "predict_batches",
    "predict_files",
    "probabilities",
    "receptive_fields",
    "scale_name",
    "score",
    "stage_costs",
    "typical_cases",
]
