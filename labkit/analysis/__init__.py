"""Room 05: run folder -> predictions -> tables."""

from labkit.analysis.anatomy import NetworkCosts, latency, network_costs, scale_name, stage_costs
from labkit.analysis.cases import case_masks, error_by_distance, probabilities
from labkit.analysis.compression import (
    STORAGES,
    Agreement,
    agreement,
    compressed,
    file_bytes,
    fold_batch_norm,
    quantise,
    restored_weights,
    stored_weights,
)
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
from labkit.analysis.records import read_record
from labkit.analysis.variants import VARIANTS
from labkit.training import committed_weights, open_run

__all__ = [
    "STORAGES",
    "VARIANTS",
    "Agreement",
    "Evaluation",
    "NetworkCosts",
    "Predictor",
    "agreement",
    "breed_table",
    "case_masks",
    "class_table",
    "committed_weights",
    "compressed",
    "error_by_distance",
    "evaluate",
    "evaluation_folder",
    "file_bytes",
    "fold_batch_norm",
    "gradient_map",
    "image_table",
    "latency",
    "load_predictor",
    "network_costs",
    "open_run",
    "predict_batches",
    "predict_files",
    "probabilities",
    "quantise",
    "read_record",
    "receptive_fields",
    "restored_weights",
    "scale_name",
    "score",
    "stage_costs",
    "stored_weights",
    "typical_cases",
]
