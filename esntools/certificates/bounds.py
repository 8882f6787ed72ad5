r"""The rungs: sufficient conditions for contraction, tried in floating point.

Every rung takes a `Sector`, the set of difference maps

.. math:: z_{k+1} = (I - A) z_k + A D_k W z_k, \qquad D_k = \mathrm{diag}(d_k),\ l \le d_k \le L,

and looks for a norm in which all of them contract. What it returns is a candidate; nothing is proved before
the exact checker has agreed. The conditions, with proofs and sources, are in FORMAT.md, section 4.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Final, final

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from esntools._typing import FloatArray

__all__ = [
    "BoundReached",
    "Candidate",
    "Rung",
    "Sector",
    "congruence",
    "diagonal_schur",
    "incremental_lurie",
    "perron_weights",
    "scaled_norm",
    "spectral_norm",
    "uniform_slope_radius",
]

# How far below 1 a floating-point bound must lie to be worth an exact check.
_CLEARANCE: Final = 1e-9


@final
@dataclass(frozen=True)
class BoundReached:
    """How far one rung gets on this network, in floating point.

    Attributes
    ----------
    name : str
        The rung.
    value : float
        What it bounds: the rung proves contraction when this is below 1.
    proves : bool
        Whether this rung's witness was verified exactly.
    critical_gain : float or None
        The largest multiple of W for which the rung still succeeds; an estimate, not certified.
    seconds : float
        Time spent.
    """

    name: str
    value: float
    proves: bool
    critical_gain: float | None
    seconds: float


@final
@dataclass(frozen=True, eq=False)
class Sector:
    """W, leak rates and slope ranges: arrays of shape (n, n) and (n,)."""

    W: FloatArray
    a: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def gain(self) -> FloatArray:
        """The largest |slope| of each unit."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def scaled(self, factor: float) -> Sector:
        return replace(self, W=self.W * factor)


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """A witness that should pass the exact checker: theorem, rate, arrays by their names in FORMAT.md."""

    theorem: str
    rate: float
    witness: dict[str, FloatArray]


@final
@dataclass(frozen=True, eq=False)
class Rung:
    """What a rung found: the bound, and a candidate when it succeeds."""

    bound: BoundReached
    candidate: Candidate | None
    scaling: FloatArray | None = field(default=None)


def _short_rate(rate: float) -> float:
    """Round up to few bits (exact arithmetic is faster), staying below 1."""
    if not 0.0 <= rate < 1.0:
        return rate
    bits = 8 + max(0, math.ceil(-math.log2(1.0 - rate)))
    return max(math.ceil(rate * 2.0**bits), 1) / 2.0**bits


def _short(array: FloatArray, digits: int) -> FloatArray:
    """Round to a multiple of 2**-digits."""
    return np.asarray(np.round(array * 2.0**digits) / 2.0**digits)


def congruence(S: FloatArray) -> FloatArray | None:
    """Return R, of few bits, such that R S R' is near the identity; None when S is not positive definite."""
    try:
        factor = scipy.linalg.cholesky(S, lower=True)
        R = scipy.linalg.solve_triangular(factor, np.eye(len(S)), lower=True)
    except (scipy.linalg.LinAlgError, ValueError):
        return None
    size = 64.0 * len(S) * max(1.0, float(np.abs(factor).max()))
    R = _short(R, math.ceil(math.log2(size)))
    product = R @ S @ R.T
    diagonal = np.diag(product)
    dominant = 2.0 * diagonal - np.abs(product).sum(axis=1) > 1e-3
    return R if bool(np.all(dominant)) else None


def uniform_slope_radius(sector: Sector) -> float:
    """Return the spectral radius at the largest equal slopes; at 1 or above, no rung here can succeed."""
    J = np.diag(1.0 - sector.a) + (sector.a * sector.high)[:, None] * sector.W
    if len(J) <= 400:
        return float(np.abs(np.linalg.eigvals(J)).max())
    start = np.cos(np.arange(len(J), dtype=np.float64))
    try:
        values = scipy.sparse.linalg.eigs(J, k=6, which="LM", return_eigenvectors=False, v0=start, tol=1e-4)
    except scipy.sparse.linalg.ArpackError as error:
        # Nilpotent or zero matrices, clustered eigenvalues: what did converge, if anything.
        values = getattr(error, "eigenvalues", np.zeros(0))
    return float(np.abs(values).max(initial=0.0))


def _norm2(M: FloatArray) -> float:
    """Return the largest singular value."""
    if len(M) <= 300:
        return float(np.linalg.norm(M, 2))
    start = np.cos(np.arange(len(M), dtype=np.float64))
    try:
        value = scipy.sparse.linalg.svds(M, k=1, return_singular_vectors=False, v0=start, tol=1e-6)
    except scipy.sparse.linalg.ArpackError:
        return float(np.linalg.norm(M, 2))
    return float(value[0])


# -- Perron weights -------------------------------------------------------------------------------------


def _comparison(sector: Sector) -> FloatArray:
    """Return M >= |(I - A) + A D W| for every D of the sector (Yildiz, Jaeger and Kiebel, Corollary 4.3)."""
    M = (sector.a * sector.gain)[:, None] * np.abs(sector.W)
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
    if value < 1.0 - _CLEARANCE:
        for share in (0.02, 0.2, 0.5):
            rate = _short_rate(value + share * (1.0 - value))
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
    return _norm2(((root * sector.gain)[:, None] * sector.W) / root)


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
    if not top < 1.0 - _CLEARANCE:
        return None
    for share in (0.03, 0.5):
        rate = _short_rate(math.sqrt(top + share * (1.0 - top)))
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
    sector: Sector, *, seconds: float = math.inf, gap: float = 5e-3, optimise: bool = False
) -> Rung:
    r"""Try a weighted Euclidean norm: X > 0 diagonal with X - W' L X L W positive definite.

    The method of centres: minimise t subject to t X - B'XB > 0, B = L W, by Newton's method on
    -log det (t X - B'XB) over sum x = n. With G the inverse, V = G B' and Z = B G B', the Hessian is
    t^2 G*G - t (V*V + V'*V') + Z*Z, elementwise, so that a step costs one Cholesky factor, an inverse, two
    products and one solve. Any positive definite G gives the dual bound t >= min Z_ii / G_ii.

    Parameters
    ----------
    seconds : float
        Stop after that long.
    gap : float
        Relative gap at which the optimum counts as found.
    optimise : bool
        Go on after success until the gap is reached.
    """
    start = time.perf_counter()
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
        if time.perf_counter() - start > seconds:
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
    if value < 1.0 - _CLEARANCE:
        Y = best_x * (sector.a.min() / sector.a)
        Y = (Y / Y.max()).astype(np.float32).astype(np.float64)
        candidate = _euclidean_candidate(sector, Y) if Y.min() > 0.0 else None
    gain = 1.0 / value if value > 0.0 else None
    bound = BoundReached("diagonal-schur", value, False, gain, time.perf_counter() - start)
    return Rung(bound, candidate, best_x)


# -- the incremental Lur'e inequality -------------------------------------------------------------------


def _riccati(A0: FloatArray, G: FloatArray, H: FloatArray) -> FloatArray | None:
    """Solve P = A0'P (I - G P)^-1 A0 + H by structure-preserving doubling; None when there is no solution."""
    n = len(A0)
    A, scale = A0, float(np.abs(H).max())
    for _ in range(40):
        try:
            both = np.linalg.solve(np.eye(n) - G @ H, np.column_stack([A, G]))
        except np.linalg.LinAlgError:
            return None
        left, right = both[:, :n], both[:, n:]
        G = G + A @ right @ A.T
        change = A.T @ H @ left
        H = H + change
        A = A @ left
        G, H = 0.5 * (G + G.T), 0.5 * (H + H.T)
        size = float(np.abs(H).max())
        if not np.isfinite(size) or size > 1e12 * scale or np.diag(change).min() < -1e-6 * size:
            return None
        if float(np.abs(change).max()) <= 1e-13 * size:
            return H
    return None


def _lurie_witness(sector: Sector, X: FloatArray, rate: float, room: float) -> dict[str, FloatArray] | None:
    """Return P and the two congruences for multipliers X at that rate, or None."""
    n, a, W = len(X), sector.a, sector.W
    middle, half = 0.5 * (sector.low + sector.high), 0.5 * (sector.high - sector.low)
    A0 = np.diag(1.0 - a) + (a * middle)[:, None] * W
    B = a * half
    WXW = (W.T * X) @ W
    slack = room * max(float(np.diag(WXW).mean()), float(X.mean()) * 1e-6)
    P = _riccati(A0 / rate, np.diag(B * B / X), WXW / rate**2 + slack * np.eye(n))
    if P is None:
        return None
    P = _short(P, 36 - math.floor(math.log2(float(np.abs(P).max()))))
    PA = P @ A0
    corner = rate**2 * P - A0.T @ PA - WXW
    side = -PA.T * B
    last = np.diag(X) - (B[:, None] * P) * B
    R_P, R = congruence(P), congruence(np.block([[corner, side], [side.T, last]]))
    return None if R_P is None or R is None else {"multipliers": X, "P": P, "R": R, "R_P": R_P}


def _ellipse_gain(sector: Sector, S: FloatArray) -> float | None:
    """Return the critical gain of the ellipse criterion for slopes [0, L] and one leak rate, else None.

    The Lur'e inequality with multipliers S^2 is feasible iff (1 - a) Re w + |w| < (2 - a) / L on the
    numerical range of S W S^-1; the maximum is taken over angles, so this is an estimate, from above.
    """
    a, L = float(sector.a[0]), float(sector.high[0])
    if np.any(sector.a != a) or np.any(sector.high != L) or np.any(sector.low != 0.0):
        return None
    Y = (S[:, None] * sector.W) / S
    worst = 0.0
    start = np.cos(np.arange(len(Y))) + 0j
    for angle in np.linspace(0.0, np.pi, 17):
        turned = ((1.0 - a) + np.exp(-1j * angle)) * Y
        hermitian = 0.5 * (turned + turned.conj().T)
        if len(Y) <= 150:
            top = np.linalg.eigvalsh(hermitian)[-1]
        else:
            try:
                top = scipy.sparse.linalg.eigsh(
                    hermitian, k=1, which="LA", return_eigenvectors=False, v0=start, tol=1e-4
                )[0]
            except scipy.sparse.linalg.ArpackError:
                return None
        worst = max(worst, float(top))
    return (2.0 - a) / (L * worst) if worst > 0.0 and L > 0.0 else None


def incremental_lurie(
    sector: Sector, x: FloatArray | None = None, *, name: str = "incremental-lurie"
) -> Rung:
    """Try a full quadratic norm z'Pz with given multipliers (1 by default), P from a Riccati equation."""
    start = time.perf_counter()
    X = np.ones(len(sector.a)) if x is None else np.asarray(x / x.max())
    X = np.maximum(X, 1e-6).astype(np.float32).astype(np.float64)
    gain = _ellipse_gain(sector, np.sqrt(X))
    candidate = None
    if gain is None or gain > 1.0:
        feasible = next(
            (w for room in (1e-2, 1e-4, 1e-6) if (w := _lurie_witness(sector, X, 1.0, room))), None
        )
        if feasible is not None:
            candidate = _best_rate(sector, X)
    value = 1.0 / gain if gain else (0.5 if candidate else math.inf)
    return Rung(BoundReached(name, value, False, gain, time.perf_counter() - start), candidate, X)


def _best_rate(sector: Sector, X: FloatArray) -> Candidate | None:
    """Bisect the rate; every trial costs one Riccati solution, so large networks get few."""
    trials = 6 if len(X) <= 200 else 3
    low, high, found = 0.0, 1.0, None
    for k in range(trials + 12):
        rate = _short_rate(0.5 * (low + high) if k else 1.0 - 2.0**-4)
        witness = next((w for room in (1e-2, 1e-4) if (w := _lurie_witness(sector, X, rate, room))), None)
        if witness is not None:
            high, found = rate, Candidate("incremental-lurie", rate, witness)
        else:
            low = rate
        if found is not None and (k >= trials or high - low < 0.02):
            break
        if 1.0 - low < 1e-5:
            break
    return found
