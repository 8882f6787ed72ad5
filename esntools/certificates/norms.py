"""Rungs that need one vector: Perron weights, the Euclidean norm, diagonal Schur stability."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from esntools._typing import FloatArray
from esntools.certificates.scaling import Moments, balanced, directions, stepped, top_of
from esntools.certificates.sectors import (
    CLEARANCE,
    FACTORED,
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


def _comparison(sector: Sector) -> Any:
    """Return M >= |(I - A) + A D W| for every D of the sector (Yildiz, Jaeger and Kiebel, Corollary 4.3)."""
    W, rows = sector.W, sector.a * sector.gain
    own = W.diagonal()
    ends = [np.abs(1.0 - sector.a + sector.a * d * own) for d in (sector.low, sector.high)]
    diagonal = np.maximum(*ends)
    if scipy.sparse.issparse(W):
        M = scipy.sparse.diags_array(rows) @ abs(scipy.sparse.csr_array(W))
        return (M + scipy.sparse.diags_array(diagonal - M.diagonal())).tocsr()
    M = rows[:, None] * np.abs(W)
    np.fill_diagonal(M, diagonal)
    return M


def _weights_for(M: Any, rate: float, deadline: float = math.inf) -> FloatArray | None:
    """Return v > 0 with M v < rate v, or None; for M >= 0 it exists iff the spectral radius is less.

    v is (rate - M)^-1 1; for a sparse M its Neumann series, whose partial sums serve as soon as the next term
    is below the first. (The inverse of a sparse matrix is full, and so are its factors.)
    """
    n = M.shape[0]
    if not scipy.sparse.issparse(M):
        try:
            v = np.linalg.solve(rate * np.eye(n) - M, np.ones(n))
        except np.linalg.LinAlgError:
            return None
        if not np.all(np.isfinite(v)) or v.min() <= 0.0:
            return None
        return np.asarray(v, dtype=np.float64) if bool(np.all(M @ v < rate * v)) else None
    v = term = np.ones(n)
    for k in range(3000):
        term = (M @ term) / rate
        if float(term.max()) < 0.5:
            return v if bool(np.all(M @ v < rate * v)) else None
        v = v + term
        if not float(v.max()) < 1e200 or (k % 100 == 99 and time.perf_counter() > deadline):
            return None
    return None


def _perron_bracket(M: Any, level: float, deadline: float = math.inf) -> tuple[float, float]:
    """Return bounds of the spectral radius of a nonnegative matrix: within 1e-4, or both on a side of level.

    Collatz and Wielandt: for x > 0 the radius lies between the extreme ratios of M x and x.
    """
    low, high = 0.0, float(M.sum(axis=1).max()) * (1.0 + 1e-9) + 1e-300
    x = np.ones(M.shape[0])
    for k in range(400):
        y = M @ x
        ratios = y / x
        low, high = max(low, float(ratios.min())), min(high, float(ratios.max()))
        if high - low <= 1e-4 * high or low >= level or high < level * (1.0 - 1e-4) < level < math.inf:
            break
        if k % 100 == 99 and time.perf_counter() > deadline:
            break
        # Mixed with itself, x also converges on a periodic network.
        x = 0.5 * (x * (0.5 * (low + high)) + y)
        x = x / max(float(x.max()), 1e-300) + 1e-9
    return low, high


def _perron_radius(M: Any, deadline: float) -> float:
    """Return an upper estimate of the spectral radius of a nonnegative matrix, to about 1e-4."""
    low, high = _perron_bracket(M, math.inf, deadline)
    while high - low > 1e-4 * high and time.perf_counter() < deadline:
        middle = 0.5 * (low + high)
        if _weights_for(M, middle, deadline) is None:
            low = middle
        else:
            high = middle
    return high


def _perron_below_one(sector: Sector, factor: float, deadline: float) -> bool:
    M = _comparison(sector.scaled(factor))
    low, high = _perron_bracket(M, 1.0, deadline)
    return high < 1.0 or (low < 1.0 and _weights_for(M, 1.0, deadline) is not None)


def perron_weights(sector: Sector, *, deadline: float = math.inf) -> Rung:
    """Try the weighted maximum norm: the spectral radius of the comparison matrix below 1.

    Products by W only when it is sparse: thousands of units take a second.

    Parameters
    ----------
    sector : Sector
    deadline : float
        A `time.perf_counter` value after which the critical gain is no longer refined.
    """
    start = time.perf_counter()
    M = _comparison(sector)
    value = _perron_radius(M, deadline)
    candidate = None
    if value < 1.0 - CLEARANCE:
        for share in (0.02, 0.2, 0.5):
            rate = short_rate(value + share * (1.0 - value))
            weights = _weights_for(M, rate, deadline)
            if weights is None:
                continue
            # The rows that were solved with slack keep some after rounding; the checker decides.
            weights = (weights / weights.max()).astype(np.float32).astype(np.float64)
            if weights.min() > 0.0 and bool(np.all(M @ weights <= rate * weights * (1.0 - 1e-15))):
                candidate = Candidate("perron-weights", rate, {"weights": weights})
                break
    low, high = 0.0, 2.0
    while _perron_below_one(sector, high, deadline) and high < 1e12:
        low, high = high, 4.0 * high
    while high - low > 1e-3 * high and high > 1e-12 and time.perf_counter() < deadline:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _perron_below_one(sector, middle, deadline) else (low, middle)
    gain = low if 0.0 < low < 1e12 else None
    seconds = time.perf_counter() - start
    return Rung(BoundReached("perron-weights", value, False, gain, seconds), candidate)


# -- Euclidean norms, plain and weighted ----------------------------------------------------------------


def _loop(sector: Sector, x: FloatArray) -> Any:
    """Return X^1/2 L W X^-1/2, dense or sparse as W is."""
    root = np.sqrt(x)
    if scipy.sparse.issparse(sector.W):
        left, right = scipy.sparse.diags_array(root * sector.gain), scipy.sparse.diags_array(1.0 / root)
        return scipy.sparse.csr_array(left @ sector.W @ right)
    return ((root * sector.gain)[:, None] * sector.W) / root


def scaled_norm(sector: Sector, x: FloatArray) -> float:
    """Return the spectral norm of X^1/2 L W X^-1/2: diagonal Schur stability with X is this below 1."""
    return norm2(_loop(sector, x))


def _euclidean_candidate(sector: Sector, Y: FloatArray | None) -> Candidate | None:
    """Return the witness for V(z) = sum Y_i z_i^2, with the smallest rate that leaves some room."""
    a, n = sector.a, len(sector.a)
    if n > FACTORED:
        return None
    y = np.ones(n) if Y is None else Y
    root = np.sqrt(y)
    scaled = _loop(sector, y)
    if scipy.sparse.issparse(scaled):
        scaled = scaled.toarray()
    product = np.sqrt(a)[:, None] * scaled
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
        if not rate < 1.0:
            continue
        S = rate * rate * np.eye(n) - step
        R = congruence(S if Y is None else root[:, None] * S * root)
        if R is None:
            continue
        if Y is None:
            return Candidate("spectral-norm", rate, {"R": R})
        return Candidate("diagonal-schur", rate, {"weights": y, "R": R})
    return None


def spectral_norm(sector: Sector, *, deadline: float = math.inf) -> Rung:
    """Try the Euclidean norm: L times the largest singular value of W below 1 (Jaeger 2001, Prop. 3).

    Beyond 3000 units only the value: the certificate would be a dense matrix.
    """
    start = time.perf_counter()
    # With Y = 1 the multipliers are X = A.
    value = scaled_norm(sector, sector.a)
    candidate = None
    if value < 1.0 and time.perf_counter() < deadline:
        candidate = _euclidean_candidate(sector, None)
    gain = 1.0 / value if value > 0.0 else None
    bound = BoundReached("spectral-norm", value, False, gain, time.perf_counter() - start, gain)
    return Rung(bound, candidate, np.ones(len(sector.a)))


def _perron_scaling(sector: Sector) -> FloatArray:
    """Return X from Perron vectors: the best there is for nonnegative W."""
    B = abs(_loop(sector, np.ones(len(sector.a))))
    floor = 1e-3 * max(float(B.sum()) / B.shape[0] ** 2, 1e-300)
    right = left = np.ones(B.shape[0])
    for _ in range(40):
        right, left = B @ right + floor * right.sum(), B.T @ left + floor * left.sum()
        right, left = right / right.max(), left / left.max()
    return np.asarray(np.clip(left / right, 1e-8, 1e8))


class _SchurBarrier:
    """-log det (t X - B'XB), B = L W in coordinates where the starting X is 1."""

    def __init__(self, B: Any) -> None:
        self.B = B
        n = B.shape[0]
        if not scipy.sparse.issparse(B) and n >= 150 and np.count_nonzero(B) < 0.15 * B.size:
            self.B = scipy.sparse.csr_array(B)

    def matrix(self, x: FloatArray, t: float) -> FloatArray:
        B = self.B
        if scipy.sparse.issparse(B):
            F = -(B.T @ (scipy.sparse.diags_array(x) @ B)).toarray()
        else:
            F = -(B.T * x) @ B
        F[np.diag_indices_from(F)] += t * x
        return np.asarray(F)

    def inside(self, x: FloatArray, t: float) -> bool:
        return not scipy.linalg.lapack.dpotrf(self.matrix(x, t), lower=1, clean=0)[1]

    def moments(self, x: FloatArray, t: float) -> Moments | None:
        """Return what a step needs: with V = G B' and Z = B G B' all of it is elementwise."""
        factor, failed = scipy.linalg.lapack.dpotrf(self.matrix(x, t), lower=1, clean=1)
        half, unable = scipy.linalg.lapack.dpotri(factor, lower=1)
        if failed or unable:
            return None
        G = np.tril(half)
        G = G + np.tril(G, -1).T
        BG = self.B @ G
        Z = self.B @ BG.T
        squares = BG * BG
        cross = t * G * G - squares
        hessian = t * (cross - squares.T) + Z * Z
        weight = np.diag(G)
        nearest = 1.0 / top_of(G, np.sqrt(x))
        return Moments(t * weight - np.diag(Z), 0.5 * (hessian + hessian.T), cross, weight, nearest)


def _centred(
    sector: Sector, origin: FloatArray, start: float, deadline: float, gap: float, optimise: bool
) -> tuple[FloatArray, float]:
    """Follow the central path for falling t; return the best X and a lower bound of t."""
    x, t, lower = np.ones(len(origin)), 1.2 * start, 0.0
    barrier = _SchurBarrier(_loop(sector, origin))
    for _ in range(150):
        if time.perf_counter() > deadline:
            break
        m = barrier.moments(x, t)
        solved = None if m is None else directions(m, x)
        if m is None or solved is None:
            break
        centring, drift, decrement, dual = solved
        lower = max(lower, t - dual)
        reached = t - m.nearest
        if reached - lower <= gap * reached or t < 1e-4 * start:
            break
        if not optimise and (reached < 0.97 or lower >= 1.0):
            break
        x, t = stepped(barrier.inside, x, t, m.nearest, centring, drift, decrement)
    return origin * x, lower


def diagonal_schur(
    sector: Sector,
    *,
    deadline: float = math.inf,
    seconds: float = math.inf,
    gap: float = 5e-3,
    optimise: bool = False,
) -> Rung:
    r"""Try a weighted Euclidean norm: X > 0 diagonal with X - W' L X L W positive definite.

    The method of centres, along the path of analytic centres of {t X - B'XB > 0}, B = L W, for falling t (see
    `scaling`): a step costs one Cholesky factor, an inverse, two products by W and one solve. Any positive
    definite G gives the dual bound t >= min (B G B')_ii / G_ii.

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
    starts = [np.ones(len(sector.a)), balanced(sector), _perron_scaling(sector)]
    norms = [scaled_norm(sector, x) for x in starts]
    best_x, best = starts[int(np.argmin(norms))], min(norms) ** 2
    lower = 0.0
    if len(sector.a) <= FACTORED and best > 0.0 and (optimise or best >= 0.98):
        with np.errstate(all="ignore"):
            found, lower = _centred(sector, best_x, best, deadline, gap, optimise)
        reached = scaled_norm(sector, found) ** 2 if np.all(np.isfinite(found)) else math.inf
        if reached < best:
            best, best_x = reached, found
    # Where units decouple both tend to zero, and rounding may let them cross.
    lower = min(lower, best)
    value = math.sqrt(best)
    candidate = None
    if value < 1.0 - CLEARANCE and time.perf_counter() < deadline:
        Y = best_x * (sector.a.min() / sector.a)
        Y = (Y / Y.max()).astype(np.float32).astype(np.float64)
        candidate = _euclidean_candidate(sector, Y) if Y.min() > 0.0 else None
    gain = 1.0 / value if value > 0.0 else None
    bound_gain = (1.0 + 1e-6) / math.sqrt(lower) if lower > 1e-6 * best else None
    bound = BoundReached("diagonal-schur", value, False, gain, time.perf_counter() - start, bound_gain)
    return Rung(bound, candidate, best_x)
