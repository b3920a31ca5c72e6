"""Self-checking exercises, one module a notebook."""

from labkit.workbook.checks.analysis import best_threshold, iou_from_dice, mean_dice
from labkit.workbook.checks.data import channel_statistics, mask_strict_or_not, rotation_matrix
from labkit.workbook.checks.networks import (
    channel_attention,
    double_conv_parameters,
    layer_parameters,
    residual_forward,
    size_after,
    up_block,
)
from labkit.workbook.checks.training import bce_from_logits, cosine_rate, moving_average

__all__ = [
    "bce_from_logits",
    "best_threshold",
    "channel_attention",
    "channel_statistics",
    "cosine_rate",
    "double_conv_parameters",
    "iou_from_dice",
    "layer_parameters",
    "mask_strict_or_not",
    "mean_dice",
    "moving_average",
    "residual_forward",
    "rotation_matrix",
    "size_after",
    "up_block",
]
