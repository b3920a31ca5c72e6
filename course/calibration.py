"""Calibration: of the pixels that a network calls pet with probability p, is a share p really pet?

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (arXiv 1706.04599), equation 5.
"""

import numpy as np
import pandas as pd

from course.compare import resampled_sums
from labkit.metrics import IGNORED


def calibration_counts(probabilities: np.ndarray, truths: np.ndarray, bins: int = 10) -> np.ndarray:
    """What the bins of equal width from 0 to 1 hold, image by image, so that images can be drawn anew for an interval.

    Args:
        probabilities: of the foreground, `[N, H, W]`; 1 falls into the last bin.
        truths: `[N, H, W]`, foreground 1, ignored 255.

    Returns:
        `float64 [N, bins, 3]`: pixels, the sum of their probabilities, the foreground pixels among them.
    """
    number = len(probabilities)
    places = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    places += bins * np.arange(number).reshape(-1, 1, 1)
    kept = truths != IGNORED
    weights = (np.ones_like(probabilities), probabilities, truths == 1)
    sums = [np.bincount(places[kept], weight[kept], minlength=number * bins) for weight in weights]
    return np.stack(sums, axis=1).reshape(number, bins, 3)


def reliability(counts: np.ndarray) -> pd.DataFrame:
    """A row a bin, of all images: `low, high, pixels, confidence` (mean probability)`, share` (that is pet).

    `share_low, share_high` are the ends of the share's 95 % interval over images. In an empty bin all but its ends and
    its pixels are NaN.
    """
    pixels, confidence, foreground = counts.sum(0).T
    edges, drawn = np.linspace(0, 1, len(pixels) + 1), resampled_sums(counts)
    with np.errstate(invalid="ignore"):
        means = {"confidence": confidence / pixels, "share": foreground / pixels}
    ends = np.quantile(drawn[..., 2] / np.maximum(drawn[..., 0], 1), [0.025, 0.975], axis=0)
    means |= dict(zip(("share_low", "share_high"), np.where(pixels > 0, ends, np.nan), strict=True))
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "pixels": pixels.astype(np.int64)} | means)


def calibration_error(counts: np.ndarray) -> float:
    """ECE: the mean over pixels of how far their bin's mean probability is from its share of foreground."""
    pixels, confidence, foreground = counts.sum(0).T
    return float(np.abs(confidence - foreground).sum() / pixels.sum())
