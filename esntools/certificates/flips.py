r"""The last step of the adversary: slopes are flipped between their ends where that makes products grow.

By each slope alone a product :math:`J(D_p) \cdots J(D_1)` is affine, so the patterns worth trying have all
slopes at an end. The gradient of the spectral radius says which to flip: all at once if that helps, else the
third of them that promises most, and so on; from where nothing helps, some are flipped at random.
"""

from __future__ import annotations

import time

import numpy as np

from esntools._typing import FloatArray

__all__ = ["flipped"]

# Relative gain below which rounding may be what is gained.
_GAIN = 1e-9


def growth_and_gradient(W: FloatArray, a: FloatArray, slopes: FloatArray) -> tuple[float, FloatArray]:
    """Return the growth per step and its gradient by the slopes, the latter up to a positive factor.

    The gradient is 0 where products overflow or the matrix of eigenvectors is singular.
    """
    p, n = slopes.shape
    steps = [np.diag(1.0 - a) + (a * d)[:, None] * W for d in slopes]
    gradient, product = np.zeros((p, n)), np.eye(n)
    for J in steps:
        product = J @ product
    if not np.all(np.isfinite(product)):
        return 0.0, gradient
    values, right = np.linalg.eig(product)
    k = int(np.argmax(np.abs(values)))
    growth = float(float(np.abs(values[k])) ** (1.0 / p))
    try:
        left = np.linalg.solve(right.T, np.eye(n)[k])
    except np.linalg.LinAlgError:
        return growth, gradient
    inner, r = [], right[:, k]
    for J in steps:
        inner.append(W @ r)
        r = J @ r
    for j in reversed(range(p)):
        gradient[j] = np.real(np.conj(values[k]) * left * inner[j]) * a
        left = left @ steps[j]
    return growth, np.where(np.isfinite(gradient), gradient, 0.0)


def flipped(
    W: FloatArray, a: FloatArray, slopes: FloatArray, low: float, high: float, *, evaluations: int,
    enough: float, deadline: float, rng: np.random.Generator,
) -> FloatArray:  # fmt: skip
    """Return slopes that grow at least as fast as the given ones, by flips between the ends of their range.

    Parameters
    ----------
    W : array (n_units, n_units)
    a : array (n_units,)
    slopes : array (period, n_units)
    low, high : float
        The ends.
    evaluations : int
        Spectral radii computed at most.
    enough : float
        Stop at a growth above this.
    deadline : float
        A value of `time.perf_counter` after which nothing more is tried.
    rng : Generator
    """
    best, best_growth, left = slopes, -1.0, evaluations
    trial = slopes
    while left > 0:
        left -= 1
        value, gradient = growth_and_gradient(W, a, trial)
        shrinking = trial.size
        while left > 0 and value <= enough and time.perf_counter() < deadline:
            target = np.where(gradient > 0.0, high, low)
            promise = (np.abs(gradient) * np.abs(target - trial)).ravel()
            shrinking = min(shrinking, int(np.count_nonzero(promise)))
            if shrinking == 0:
                break
            chosen = np.argpartition(-promise, shrinking - 1)[:shrinking]
            next_ = trial.copy()
            next_.ravel()[chosen] = target.ravel()[chosen]
            left -= 1
            next_value, next_gradient = growth_and_gradient(W, a, next_)
            if next_value > value * (1.0 + _GAIN):
                trial, value, gradient, shrinking = next_, next_value, next_gradient, trial.size
            else:
                shrinking //= 3
        if value > best_growth:
            best, best_growth = trial, value
        if best_growth > enough or time.perf_counter() > deadline:
            break
        some = rng.random(best.shape) < rng.uniform(0.02, 0.2)
        trial = np.where(some, np.where(best > 0.5 * (low + high), low, high), best)
    return best
