"""Rungs that need one vector: Perron weights, the Euclidean norm, diagonal Schur stability."""

from __future__ import annotations

import math
import time

import numpy as np
import scipy.linalg

from esntools._typing import FloatArray
from esntools.certificates.sectors import (
    CLEARANCE,
    BoundReached,
    Candidate,
    Rung,
    Sector,
    congruence,
    norm2,
    short_rate,
)

__all__ = ["diagonal_schur", "perron_weights", "scaled_norm", "spectral_norm"]

# -- Perron weights -------------------------------------------------------------------------------------


def _comparison(sector: Sector) -> FloatArray:
    """Return M >= |(I - A) + A D W| for every D of the sector (Yildiz, Jaeger and Kiebel, Corollary 4.3)."""
    M: FloatArray = (sector.a * sector.gain)[:, None] * np.abs(sector.W)
    own = np.diag(sector.W)
    ends = [np.abs(1.0 - sector.a + sector.a * d * own) for d in (sector.low, sector.high)]
    np.fill_diagonal(M, np.maximum(*ends))
    return M


def _weights_for(M: FloatArray, rate: float) -> FloatArray | None:
    """Return v > 0 with M v < rate v, or None; for M >= 0 it exists iff the spectral radius is less."""
    try:
        v = np.linalg.solve(rate * np.eye(len(M)) - M, np.ones(len(M)))
    except np.linalg.LinAlgError:
        return None
    if not np.all(np.isfinite(v)) or v.min() <= 0.0:
        return None
    return np.asarray(v, dtype=np.float64) if bool(np.all(M @ v < rate * v)) else None


def _perron_radius(M: FloatArray) -> float:
    """Return an upper estimate of the spectral radius of a nonnegative matrix, to about 1e-4."""
    low, high = 0.0, float(M.sum(axis=1).max()) * (1.0 + 1e-9) + 1e-300
    x = np.ones(len(M))
    for _ in range(60):
        y = M @ x
        # Collatz and Wielandt: for x > 0 the radius lies between the extreme ratios.
        ratios = y / x
        low, high = max(low, float(ratios.min())), min(high, float(ratios.max()))
        if high - low <= 1e-4 * high:
            return high
        x = y / max(float(y.max()), 1e-300) + 1e-9
    while high - low > 1e-4 * high:
        middle = 0.5 * (low + high)
        if _weights_for(M, middle) is None:
            low = middle
        else:
            high = middle
    return high


def perron_weights(sector: Sector) -> Rung:
    """Try the weighted maximum norm: the spectral radius of the comparison matrix below 1."""
    start = time.perf_counter()
    M = _comparison(sector)
    value = _perron_radius(M)
    candidate = None
    if value < 1.0 - CLEARANCE:
        for share in (0.02, 0.2, 0.5):
            rate = short_rate(value + share * (1.0 - value))
            weights = _weights_for(M, rate)
            if weights is None:
                continue
            # The rows that were solved with slack 1 keep some after rounding; the checker decides.
            weights = (weights / weights.max()).astype(np.float32).astype(np.float64)
            if weights.min() > 0.0 and bool(np.all(M @ weights <= rate * weights * (1.0 - 1e-15))):
                candidate = Candidate("perron-weights", rate, {"weights": weights})
                break
    low, high = 0.0, 2.0
    while _perron_below_one(sector, high) and high < 1e12:
        low, high = high, 4.0 * high
    while high - low > 1e-3 * high and high > 1e-12:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _perron_below_one(sector, middle) else (low, middle)
    gain = low if high < 1e12 else None
    seconds = time.perf_counter() - start
    return Rung(BoundReached("perron-weights", value, False, gain, seconds), candidate)


def _perron_below_one(sector: Sector, factor: float) -> bool:
    return _weights_for(_comparison(sector.scaled(factor)), 1.0) is not None


# -- Euclidean norms, plain and weighted ----------------------------------------------------------------


def scaled_norm(sector: Sector, x: FloatArray) -> float:
    """Return the spectral norm of X^1/2 L W X^-1/2: diagonal Schur stability with X is this below 1."""
    root = np.sqrt(x)
    return norm2(((root * sector.gain)[:, None] * sector.W) / root)


def _euclidean_candidate(sector: Sector, Y: FloatArray | None) -> Candidate | None:
    """Return the witness for V(z) = sum Y_i z_i^2, with the smallest rate that leaves some room."""
    a, W = sector.a, sector.W
    y = np.ones(len(a)) if Y is None else Y
    root = np.sqrt(y)
    product = ((np.sqrt(a) * root * sector.gain)[:, None] * W) / root
    step = product.T @ product
    step[np.diag_indices_from(step)] += 1.0 - a
    if not np.all(np.isfinite(step)):
        return None
    # Not LAPACK's choice of one eigenvalue, which fails on some repeated ones.
    top = float(np.linalg.eigvalsh(step)[-1])
    if not top < 1.0 - CLEARANCE:
        return None
    for share in (0.03, 0.5):
        rate = short_rate(math.sqrt(top + share * (1.0 - top)))
        S = rate * rate * np.eye(len(a)) - step
        R = congruence(S)
        if R is None or not rate < 1.0:
            continue
        if Y is None:
            return Candidate("spectral-norm", rate, {"R": R})
        # S above is in the coordinates root * z; undo that within R, and shorten again.
        R = congruence(root[:, None] * S * root)
        if R is not None:
            return Candidate("diagonal-schur", rate, {"weights": y, "R": R})
    return None


def spectral_norm(sector: Sector) -> Rung:
    """Try the Euclidean norm: L times the largest singular value of W below 1 (Jaeger 2001, Prop. 3)."""
    start = time.perf_counter()
    # With Y = 1 the multipliers are X = A.
    value = scaled_norm(sector, sector.a)
    candidate = _euclidean_candidate(sector, None) if value < 1.0 else None
    gain = 1.0 / value if value > 0.0 else None
    seconds = time.perf_counter() - start
    return Rung(BoundReached("spectral-norm", value, False, gain, seconds), candidate, np.ones(len(sector.a)))


def _start_scaling(sector: Sector) -> FloatArray:
    """Return X from Perron vectors (best for nonnegative W) or X = I, whichever has the smaller norm."""
    B = sector.gain[:, None] * np.abs(sector.W)
    B = B + 1e-3 * max(float(B.mean()), 1e-300)
    right = left = np.ones(len(B))
    for _ in range(40):
        right, left = B @ right, B.T @ left
        right, left = right / right.max(), left / left.max()
    x = np.clip(left / right, 1e-8, 1e8)
    ones = np.ones(len(B))
    return ones if scaled_norm(sector, ones) <= scaled_norm(sector, x) else x


def diagonal_schur(
    sector: Sector,
    *,
    deadline: float = math.inf,
    seconds: float = math.inf,
    gap: float = 5e-3,
    optimise: bool = False,
) -> Rung:
    r"""Try a weighted Euclidean norm: X > 0 diagonal with X - W' L X L W positive definite.

    The method of centres: minimise t subject to t X - B'XB > 0, B = L W, by Newton's method on
    -log det (t X - B'XB) over sum x = n. With G the inverse, V = G B' and Z = B G B', the Hessian is
    t^2 G*G - t (V*V + V'*V') + Z*Z, elementwise, so that a step costs one Cholesky factor, an inverse, two
    products and one solve. Any positive definite G gives the dual bound t >= min Z_ii / G_ii.

    Parameters
    ----------
    deadline : float
        A `time.perf_counter` value after which the best so far is returned.
    seconds : float
        Stop after that long.
    gap : float
        Relative gap at which the optimum counts as found.
    optimise : bool
        Go on after success until the gap is reached.
    """
    start = time.perf_counter()
    deadline = min(deadline, start + seconds)
    B = sector.gain[:, None] * sector.W
    n = len(B)
    x = _start_scaling(sector)
    x *= n / x.sum()
    best_x, best = x, scaled_norm(sector, x) ** 2
    t, lower = 1.3 * best + 1e-300, 0.0
    for _ in range(200):
        done = best < 0.98 and not optimise
        if done or (lower >= 1.0 and not optimise) or best - lower <= gap * best:
            break
        if time.perf_counter() > deadline:
            break
        F = -(B.T * x) @ B
        F[np.diag_indices(n)] += t * x
        try:
            factor = scipy.linalg.cho_factor(F, lower=True)
            G = scipy.linalg.cho_solve(factor, np.eye(n))
            V = G @ B.T
            Z = B @ V
            H = t * t * G * G - t * (V * V + V.T * V.T) + Z * Z
            H[np.diag_indices(n)] *= 1.0 + 1e-13
            if not np.all(np.isfinite(H)):
                break
            gradient = np.diag(Z) - t * np.diag(G)
            solved = scipy.linalg.cho_solve(
                scipy.linalg.cho_factor(H), np.column_stack([gradient, np.ones(n)])
            )
        except scipy.linalg.LinAlgError:
            break
        lower = max(lower, float(np.min(np.diag(Z) / np.diag(G))))
        direction = solved[:, 1] * (solved[:, 0].sum() / solved[:, 1].sum()) - solved[:, 0]
        decrement = math.sqrt(max(0.0, -float(gradient @ direction)))
        # Self-concordance: this step stays inside.
        x = x + direction * (1.0 if decrement < 0.25 else 1.0 / (1.0 + decrement))
        if x.min() <= 0.0:
            break
        if decrement < 1.0:
            reached = scaled_norm(sector, x) ** 2
            if reached < best:
                best, best_x = reached, x
            t = min(t, reached + 0.2 * (t - reached) if t > reached else 1.02 * reached)
    value = math.sqrt(best)
    candidate = None
    if value < 1.0 - CLEARANCE:
        Y = best_x * (sector.a.min() / sector.a)
        Y = (Y / Y.max()).astype(np.float32).astype(np.float64)
        candidate = _euclidean_candidate(sector, Y) if Y.min() > 0.0 else None
    gain = 1.0 / value if value > 0.0 else None
    dual = 1.0 / math.sqrt(lower) if lower > 0.0 else None
    bound = BoundReached("diagonal-schur", value, False, gain, time.perf_counter() - start, dual)
    return Rung(bound, candidate, best_x)
