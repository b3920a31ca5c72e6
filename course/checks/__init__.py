"""Checks of the exercises, one module for each notebook."""

from course.checks.analysis import best_threshold, bootstrap_interval, false_alarm, image_scores
from course.checks.attention import attention_gate, gate_module, gate_parameters, gate_scores, gate_slope, hand_weights
from course.checks.baselines import constant_iou, found_and_named, repaired_dice, share_after_redraw, split_by_group
from course.checks.claims import claim_file, guesses, holm, lucky_gain, pooled, standard_error
from course.checks.classes import (
    class_dice,
    confusion_table,
    everything_pet,
    mean_iou,
    pixel_cross_entropy,
    uniform_loss,
)
from course.checks.compression import folded, int8_weights
from course.checks.data import channel_statistics, mask_strict_or_not, rotation_matrix
from course.checks.encoders import encoder_choice, inception_side, separable_weights, tap_unet
from course.checks.first_steps import he_weights, overfit
from course.checks.gates import gated_unet, repaired_gate, replaced_map
from course.checks.lab_decoder import decoder_stage, repaired_cbam, whole_resnet_unet
from course.checks.measures import calibration_error, report_dices, two_means
from course.checks.networks import chain_slopes, decoder2_weights, layer3_shape, never_called, silent_branch
from course.checks.resnet_build import basic_block, repaired_block, resnet_encoder
from course.checks.run_length import decoded_mask, hand_in, mask_runs
from course.checks.training import bce_from_logits, break_even, cosine_rate, moving_average
from course.checks.unet import double_conv_parameters, overlap_count, receptive_field, size_after
from course.checks.unet_build import double_conv, encoder, up_block, whole_unet
