"""Shares with their intervals, and the test that tells attractors apart that are not points."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse.csgraph
import scipy.stats

from esntools._typing import BoolArray, FloatArray, IntArray

__all__ = [
    "N_BATCHES", "components", "distances", "drifting", "mean_and_error", "threshold", "wilson_interval",
]  # fmt: skip

N_BATCHES: Final = 20

# Runs on one attractor differ by less than this many standard errors in every mean. With very many means the
# largest of them strays farther; then a Bonferroni limit takes over.
_STANDARD_ERRORS: Final = 6.0

# No standard error is taken to be less than this fraction of the signal's standard deviation.
_RESOLVED: Final = 2e-4


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (E. B. Wilson, JASA 22 (1927) 209).

    Examples
    --------
    >>> low, high = wilson_interval(10, 10)
    >>> round(low, 4), high
    (0.7225, 1.0)
    """
    z = float(scipy.stats.norm.ppf(0.975))
    centre = (count + 0.5 * z * z) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(count * (n - count) / n + 0.25 * z * z)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def threshold(n_features: int) -> float:
    """Return how many pooled standard errors two runs on one attractor may differ by."""
    freedom = 2 * (N_BATCHES - 1)
    return max(_STANDARD_ERRORS, float(scipy.stats.t.isf(5e-5 / n_features, freedom)))


def mean_and_error(means: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean over the batches and its squared standard error, each (n_rows, n_features).

    The features are the means of x, then those of x^2.
    """
    mean = np.mean(means, axis=0)
    square = np.var(means, axis=0, ddof=1) / len(means)
    half = mean.shape[1] // 2
    first, second = mean[:, :half], mean[:, half:]
    spread = np.sqrt(np.maximum(second - first**2, 0.0))
    # On a torus the batches' means are no independent draws: one whose period nearly divides the batch gives
    # a slow wave of them, which their scatter knows nothing of.
    least = _RESOLVED * np.concatenate([spread, 2.0 * np.sqrt(np.maximum(second, 0.0)) * spread], axis=1)
    # Rounding: a run that is exactly periodic has no scatter at all.
    return mean, square + least**2 + 1e-18 * np.maximum(1.0, np.abs(mean)) ** 2


def distances(mean: FloatArray, square: FloatArray, m: FloatArray, s: FloatArray) -> FloatArray:
    """Return the largest difference of every row from (m, s), in pooled standard errors."""
    return np.asarray(np.max(np.abs(mean - m) / np.sqrt(square + s), axis=1))


def components(mean: FloatArray, square: FloatArray) -> IntArray:
    """Return the connected components of the graph that joins runs whose means agree."""
    n, limit = len(mean), threshold(mean.shape[1])
    joined = np.zeros((n, n), dtype=np.bool_)
    for i in range(n):
        joined[i] = distances(mean, square, mean[i], square[i]) < limit
    _, labels = scipy.sparse.csgraph.connected_components(scipy.sparse.csr_array(joined), directed=False)
    return np.asarray(labels, dtype=np.intp)


def drifting(means: FloatArray) -> BoolArray:
    """Return which rows have a mean that changes from the first half of the batches to the second."""
    half = len(means) // 2
    (early, e), (late, f) = mean_and_error(means[:half]), mean_and_error(means[half:])
    limit = max(_STANDARD_ERRORS, float(scipy.stats.t.isf(5e-5 / means.shape[2], len(means) - 2)))
    return np.asarray(np.max(np.abs(early - late) / np.sqrt(e + f), axis=1) > limit)
