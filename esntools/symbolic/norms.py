"""Floating-point norms of a weight matrix: what the symbolic bounds are filled in with.

These are numbers to read, each attained by an explicit scaling; the certificates establish their own in exact
arithmetic.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.linalg
from threadpoolctl import ThreadpoolController

from esntools._typing import FloatArray

__all__ = [
    "diagonal_scaling",
    "leaky_matrix",
    "one_thread",
    "perron",
    "scaled_spectral_norm",
    "spectral_norm",
]

_DENSE = 600
_OPTIMISED = 160


@functools.cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")


def one_thread() -> Any:
    """Return a context in which BLAS uses one thread.

    Threads that fight over matrices of a hundred units made the descent below 30 times slower.
    """
    return _blas().limit(limits=1)


def spectral_norm(W: FloatArray) -> float:
    """Return the largest singular value.

    >>> round(spectral_norm(np.array([[0.0, 2.0], [0.0, 0.0]])), 12)
    2.0
    """
    if W.size == 0 or not np.any(W):
        return 0.0
    if len(W) <= _DENSE:
        return float(np.linalg.norm(W, 2))
    start = np.cos(np.arange(W.shape[1], dtype=np.float64))
    values = scipy.sparse.linalg.svds(W, k=1, return_singular_vectors=False, v0=start, tol=1e-10)
    return float(values[0])


def perron(M: FloatArray) -> tuple[float, FloatArray]:
    """Return (s, v) with v > 0 and M v <= s v for a non-negative M; s is its spectral radius to about 1e-9.

    >>> s, v = perron(np.array([[0.0, 4.0], [1.0, 0.0]]))
    >>> round(s, 6), bool(np.all(v > 0))
    (2.0, True)
    """
    n = len(M)
    if n <= _DENSE:
        radius = float(np.max(np.abs(np.linalg.eigvals(M))))
    else:
        v = np.ones(n)
        for _ in range(300):
            v = M @ v + 1e-3 * v
            v /= np.linalg.norm(v)
        radius = float(np.linalg.norm(M @ v))
    s = max(radius * (1.0 + 1e-9), np.finfo(float).tiny ** 0.25)
    for _ in range(60):
        # (s I - M) v = 1 has a positive solution exactly when s exceeds the spectral radius.
        v = np.linalg.solve(s * np.eye(n) - M, np.full(n, s))
        if np.all(v > 0.0) and np.all(np.isfinite(v)):
            return float(np.max((M @ v) / v)) if np.any(M) else 0.0, v / np.max(v)
        s *= 1.0 + 1e-6
    rows = float(np.max(np.sum(M, axis=1)))
    return rows, np.ones(n)


def leaky_matrix(W: FloatArray, leak_rate: FloatArray, low: float, high: float) -> FloatArray:
    """Return M with M_ij = a_i L |w_ij| and M_ii = max over d in {low, high} of |1 - a_i + a_i d w_ii|.

    Here L = max(|low|, |high|); rho(M) < 1 proves contraction for slopes in [low, high].
    """
    a, w = leak_rate, np.diag(W)
    M = (a * max(abs(low), abs(high)))[:, None] * np.abs(W)
    np.fill_diagonal(M, np.maximum(np.abs(1 - a + a * low * w), np.abs(1 - a + a * high * w)))
    return M


def scaled_spectral_norm(W: FloatArray, s: FloatArray) -> float:
    """Return sigma(S W S^-1) for S = diag(s)."""
    return spectral_norm(s[:, None] * W / s)


def _scale(log_s: FloatArray) -> FloatArray:
    # A reducible matrix has no best scaling: the descent runs off to infinity, and stops here.
    return np.asarray(np.exp(np.clip(log_s - np.mean(log_s), -150.0, 150.0)))


def diagonal_scaling(W: FloatArray) -> tuple[float, FloatArray]:
    """Return (delta, s): a small sigma(S W S^-1), S = diag(s) > 0, and the s that attains it.

    Candidates are S = I, balancing, and the Perron vectors of |W|; up to 160 units the best of them is
    improved by descent (the logarithm of the norm is convex in log s).

    >>> W = np.array([[0.0, 10.0], [0.001, 0.0]])
    >>> delta, s = diagonal_scaling(W)
    >>> round(delta, 6), round(scaled_spectral_norm(W, s), 6)
    (0.1, 0.1)
    """
    n = len(W)
    size = float(np.abs(W).max())
    if size == 0.0:
        return 0.0, np.ones(n)
    if size != 1.0:
        # Sizes of 1e-200 would leave LAPACK's balancing and the descent no exponents to work with.
        delta, s = diagonal_scaling(W / size)
        return delta * size, s
    candidates = [np.ones(n)]
    with np.errstate(invalid="ignore"):
        # SciPy also reads the factors as permutation indices, where large ones do not fit.
        balanced = scipy.linalg.matrix_balance(W, permute=False, separate=True)[1][0]
    candidates.append(1.0 / balanced)
    right, left = perron(np.abs(W))[1], perron(np.abs(W).T)[1]
    candidates.append(np.sqrt(np.maximum(left, 1e-150) / np.maximum(right, 1e-150)))
    values = [scaled_spectral_norm(W, s) for s in candidates]
    best = int(np.argmin(values))
    delta, s = values[best], candidates[best]
    if n > _OPTIMISED:
        return delta, s

    def objective(log_s: FloatArray) -> tuple[float, FloatArray]:
        scale = _scale(log_s)
        U, sigma, Vh = np.linalg.svd(scale[:, None] * W / scale)
        gradient = U[:, 0] ** 2 - Vh[0] ** 2
        return float(np.log(sigma[0])), gradient - np.mean(gradient)

    with one_thread():
        result = scipy.optimize.minimize(
            objective, np.log(s), jac=True, method="L-BFGS-B", options={"maxfun": 120}
        )
    found = _scale(result.x)
    value = scaled_spectral_norm(W, found)
    return (value, found) if value < delta else (delta, s)
