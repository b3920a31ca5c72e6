"""Checks of the exercises, one module for each notebook."""

from course.checks.analysis import best_threshold, iou_from_dice, mean_dice
from course.checks.attention import attention_gate, mean_iou, split_by_group
from course.checks.compression import int8_weights
from course.checks.data import channel_statistics, mask_strict_or_not, rotation_matrix
from course.checks.networks import (
    channel_attention,
    double_conv_parameters,
    layer_parameters,
    residual_forward,
    size_after,
    up_block,
)
from course.checks.training import bce_from_logits, break_even, cosine_rate, moving_average
from course.checks.unet import overlap_count

__all__ = [
    "attention_gate",
    "bce_from_logits",
    "best_threshold",
    "break_even",
    "channel_attention",
    "channel_statistics",
    "cosine_rate",
    "double_conv_parameters",
    "int8_weights",
    "iou_from_dice",
    "layer_parameters",
    "mask_strict_or_not",
    "mean_dice",
    "mean_iou",
    "moving_average",
    "overlap_count",
    "residual_forward",
    "rotation_matrix",
    "size_after",
    "split_by_group",
    "up_block",
]
