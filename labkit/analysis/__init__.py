"""Analysis: run folder -> predictions -> tables."""

from labkit.analysis.costs import NetworkCosts, latency, module_calls, network_costs
from labkit.analysis.evaluation import Evaluation, class_table, evaluate, evaluation_folder, score
from labkit.analysis.predictions import Predictor, load_predictor, predict_batches, predict_files, predict_split
from labkit.training import committed_weights, open_run
