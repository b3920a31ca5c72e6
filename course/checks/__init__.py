"""Checks of the exercises, one module for each notebook."""

from course.checks.analysis import best_threshold, bootstrap_interval, false_alarm, image_scores
from course.checks.attention import attention_gate, gate_module, gate_parameters, gate_scores, gate_slope, hand_weights
from course.checks.baselines import (
    constant_iou,
    everything_pet,
    found_and_named,
    repaired_dice,
    share_after_redraw,
)
from course.checks.claims import claim_file, guesses, holm, lucky_gain, pooled, standard_error
from course.checks.classes import (
    class_dice,
    confusion_table,
    mean_iou,
    pixel_cross_entropy,
    uniform_loss,
)
from course.checks.compression import folded, int8_weights
from course.checks.data import channel_statistics, mask_strict_or_not
from course.checks.data_faults import choice_shares, move_pair, smaller_labels, split_sizes
from course.checks.dataset_build import flip_pair, pair_to_tensors
from course.checks.dataset_class import pet_pairs
from course.checks.encoders import encoder_choice, inception_side, separable_weights, tap_unet
from course.checks.first_steps import he_weights, overfit
from course.checks.gates import gated_unet, repaired_gate, replaced_map
from course.checks.groups import split_by_group
from course.checks.lab_decoder import decoder_stage, repaired_cbam, whole_resnet_unet
from course.checks.loop import train_epoch, train_step, validate
from course.checks.loop_losses import first_losses
from course.checks.loop_runs import resume, train
from course.checks.measures import calibration_error, report_dices, two_means
from course.checks.moves import rotation_matrix, training_batch
from course.checks.networks import (
    chain_slopes,
    decoder2_weights,
    layer3_shape,
    never_called,
    silent_branch,
)
from course.checks.repairs import evaluate, keeper
from course.checks.resnet_build import basic_block, repaired_block, resnet_encoder
from course.checks.run_length import decoded_mask, hand_in, mask_runs
from course.checks.speed import break_even, growing_share, median_seconds, read_batch, whole_step
from course.checks.training import bce_from_logits, loss_and_mask, soft_dice_loss
from course.checks.training_numbers import fresh_losses, steps_and_rate
from course.checks.unet import double_conv_parameters, overlap_count, receptive_field, size_after
from course.checks.unet_build import double_conv, encoder, up_block, whole_unet
