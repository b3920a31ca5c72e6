"""Training: recipe -> loop -> run folder."""

from labkit.training.completing import resolve
from labkit.training.hardware import autocast, choose_device, choose_precision, describe, environment, keep_freed_memory
from labkit.training.loop import Epoch, Trainer, epochs, train_step
from labkit.training.losses import LOSSES, bce, cross_entropy, dice_loss
from labkit.training.muon import Muon, orthogonalized
from labkit.training.optimizers import build_average, build_optimizer, build_schedule
from labkit.training.processes import Processes, join_processes, leave_processes
from labkit.training.progress import fit, in_words, seconds_left
from labkit.training.range_test import RateSweep, find_learning_rate
from labkit.training.recipe import Recipe, load_recipe, parse_recipe
from labkit.training.runs import (
    HISTORY,
    Run,
    build_network,
    committed_weights,
    open_run,
    publish,
    save_weights,
    write_json,
)
from labkit.training.steps import STEPS
from labkit.training.validation import valid_scores

__all__ = [
    "HISTORY",
    "LOSSES",
    "STEPS",
    "Epoch",
    "Muon",
    "Processes",
    "RateSweep",
    "Recipe",
    "Run",
    "Trainer",
    "autocast",
    "bce",
    "build_average",
    "build_network",
    "build_optimizer",
    "build_schedule",
    "choose_device",
    "choose_precision",
    "committed_weights",
    "cross_entropy",
    "describe",
    "dice_loss",
    "environment",
    "epochs",
    "find_learning_rate",
    "fit",
    "in_words",
    "join_processes",
    "keep_freed_memory",
    "leave_processes",
    "load_recipe",
    "open_run",
    "orthogonalized",
    "parse_recipe",
    "publish",
    "resolve",
    "save_weights",
    "seconds_left",
    "train_step",
    "valid_scores",
    "write_json",
]
