"""Analysis: run folder -> predictions -> tables."""

from labkit.analysis.cases import case_masks, error_by_distance, probabilities
from labkit.analysis.costs import NetworkCosts, latency, network_costs, stage_costs
from labkit.analysis.evaluation import (
    Evaluation,
    breed_table,
    class_table,
    evaluate,
    evaluation_folder,
    score,
    typical_cases,
)
from labkit.analysis.predictions import Predictor, load_predictor, predict_batches, predict_files
from labkit.training import committed_weights, open_run

__all__ = [
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
    "latency",
    "load_predictor",
    "network_costs",
    "open_run",
    "predict_batches",
    "predict_files",
    "probabilities",
    "score",
    "stage_costs",
    "typical_cases",
]
