"""Room 05: run folder -> predictions -> tables."""

from labkit.analysis.cases import case_masks, error_by_distance, probabilities
from labkit.analysis.evaluation import breed_table, evaluate, evaluation_folder, image_table, score, typical_cases
from labkit.analysis.predictions import Predictor, load_predictor, predict_batches, predict_files
from labkit.training import committed_weights, open_run

__all__ = [
    "Predictor",
    "breed_table",
    "case_masks",
    "committed_weights",
    "error_by_distance",
    "evaluate",
    "evaluation_folder",
    "image_table",
    "load_predictor",
    "open_run",
    "predict_batches",
    "predict_files",
    "probabilities",
    "score",
    "typical_cases",
]
