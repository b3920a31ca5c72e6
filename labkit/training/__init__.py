"""Training: recipe -> loop -> run folder."""

from labkit.training.hardware import Processes, autocast, choose_device, choose_precision, describe, environment
from labkit.training.loop import Epoch, Trainer, epochs, train_step
from labkit.training.losses import LOSSES, bce, cross_entropy, dice_loss, focal, lovasz, tversky
from labkit.training.optimizers import OPTIMIZERS, MovingAverage, build_optimizer, build_schedule
from labkit.training.progress import fit, in_words, seconds_left
from labkit.training.range_test import RateSweep, find_learning_rate
from labkit.training.recipe import Recipe, load_recipe, parse_recipe, resolve
from labkit.training.runs import HISTORY, Run, build_network, committed_weights, open_run, save_weights, write_json
from labkit.training.steps import valid_scores
