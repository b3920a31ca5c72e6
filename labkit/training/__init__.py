"""Room 04: recipe -> loop -> run folder."""

from labkit.training.hardware import choose_device, choose_precision, describe, environment
from labkit.training.loop import Epoch, Trainer, autocast, fit, resolve, train_step, valid_scores
from labkit.training.losses import LOSSES, bce, cross_entropy, dice_loss
from labkit.training.optimisers import build_average, build_optimiser, build_schedule
from labkit.training.processes import Processes, join_processes, leave_processes
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
from labkit.training.sweep import Plan, PlannedRun, load_plan

__all__ = [
    "HISTORY",
    "LOSSES",
    "Epoch",
    "Plan",
    "PlannedRun",
    "Processes",
    "Recipe",
    "Run",
    "Trainer",
    "autocast",
    "bce",
    "build_average",
    "build_network",
    "build_optimiser",
    "build_schedule",
    "choose_device",
    "choose_precision",
    "committed_weights",
    "cross_entropy",
    "describe",
    "dice_loss",
    "environment",
    "fit",
    "join_processes",
    "leave_processes",
    "load_plan",
    "load_recipe",
    "open_run",
    "parse_recipe",
    "publish",
    "resolve",
    "save_weights",
    "train_step",
    "valid_scores",
    "write_json",
]
