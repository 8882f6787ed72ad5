r"""The multipliers for which the Lur'e inequality gets farthest: balancing, then the method of centres.

For fixed t the condition t Y - N_z(Y) + C_z(Y) > 0 at every frequency z (N, C as in `lurie`) is linear in the
diagonal Y; the least t is the reach of the best multipliers. With G the inverse at one frequency, V = W Q,
B = V G and Z = V G V^*, gradient and Hessian of -log det are elementwise in G, B and Z, because each y_i
multiplies a matrix of rank two. So a step costs one complex Cholesky factor, its inverse and two products by
W per frequency, and one real system. When the reach between the frequencies turns out to be larger, they are
doubled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.csgraph

from esntools._typing import ComplexArray, FloatArray
from esntools.certificates.lurie import Reach, candidate_for, frequency, multipliers
from esntools.certificates.sectors import FACTORED, BoundReached, Rung, Sector

__all__ = ["Moments", "balanced", "directions", "optimal_lurie", "osborne", "stepped", "top_of"]

#: Units whose scalings differ by more than this are as good as decoupled.
_SPREAD: Final = 2.0**16

#: A reach below this is enough: more clearance is not worth further steps.
_ENOUGH: Final = 0.98

#: Multipliers that gain more than this decouple units: the reach has no positive minimum.
_NONE: Final = 1e-2


def osborne(sector: Sector) -> FloatArray:
    r"""Return the multipliers X = S^2 R^2 that balance L W: row and column norms of S L W S^-1 are equal.

    The scaling minimises the Frobenius norm of S L W S^-1 (Osborne 1960, doi:10.1145/321043.321048), a convex
    function of log S; units without incoming or outgoing links are scaled by a bounded factor.

    Parameters
    ----------
    sector : Sector

    Returns
    -------
    array (n_units,)
        Positive, largest 1.

    Examples
    --------
    >>> W = np.array([[0.0, 4.0], [0.25, 0.0]])
    >>> osborne(Sector(W, np.ones(2), np.zeros(2), np.ones(2)))
    array([0.0625, 1.    ])
    """
    return multipliers(sector, balanced(sector))


def balanced(sector: Sector) -> FloatArray:
    """Return y = s^2 by damped simultaneous balancing."""
    W = sector.W
    if scipy.sparse.issparse(W):
        squares: Any = scipy.sparse.csr_array(W.multiply(W))
        squares = scipy.sparse.diags_array(sector.gain**2) @ squares
        squares = (squares - scipy.sparse.diags_array(squares.diagonal())).tocsr()
    else:
        squares = (sector.gain[:, None] * W) ** 2
        squares[np.diag_indices_from(squares)] = 0.0
    total = float(squares.sum())
    y = np.ones(len(sector.a))
    if not (total > 0.0 and math.isfinite(total)):
        return y
    tiny = 1e-12 * total / len(y)
    for _ in range(100):
        rows = y * (squares @ (1.0 / y)) + tiny
        columns = (squares.T @ y) / y + tiny
        # The full step, exponent 1/2, would oscillate on bipartite networks.
        ratio = np.clip(columns / rows, 1e-4, 1e4) ** 0.25
        y = np.clip(y * ratio, 1.0 / _SPREAD, _SPREAD)
        if float(np.abs(np.log(ratio)).max()) < 1e-3:
            break
    return np.asarray(y)


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """What a step needs to know at (y, t); sums over the active frequencies."""

    gradient: FloatArray
    """sum tr(G dF/dy_i), which the barrier pushes up."""
    hessian: FloatArray
    cross: FloatArray
    """sum tr(G dF/dy_i G E_j): minus the derivative of `weight` by y."""
    weight: FloatArray
    """sum G_ii."""
    nearest: float
    """How far t may fall, at this y, before the first F is singular."""


class _Centres:
    """The barrier of one sector, in coordinates where the starting multipliers are 1."""

    def __init__(self, sector: Sector, y: FloatArray) -> None:
        s = np.sqrt(y / y.max())
        if scipy.sparse.issparse(sector.W):
            self.W: Any = scipy.sparse.csr_array(
                scipy.sparse.diags_array(s) @ sector.W @ scipy.sparse.diags_array(1.0 / s)
            )
        else:
            self.W = np.ascontiguousarray((s[:, None] * sector.W) / s)
            if np.count_nonzero(self.W) < 0.15 * self.W.size and len(s) >= 150:
                self.W = scipy.sparse.csr_array(self.W)
        self.dense = self.W.toarray() if scipy.sparse.issparse(self.W) else self.W
        self.middle, self.product = 0.5 * (sector.low + sector.high), sector.low * sector.high
        self.curved = bool(np.any(self.product))

    def matrix(self, y: FloatArray, t: float, q: ComplexArray) -> Any:
        """Return F; real where q is."""
        V = self.dense * (q.real if np.all(q.imag == 0.0) else q)
        T = (self.middle * y)[:, None] * V
        F = -(T + T.conj().T)
        if self.curved:
            F += V.conj().T @ ((self.product * y)[:, None] * V)
        F[np.diag_indices_from(F)] += t * y
        return F

    def inside(self, y: FloatArray, t: float, qs: list[ComplexArray]) -> bool:
        for q in qs:
            F = self.matrix(y, t, q)
            (potrf,) = scipy.linalg.get_lapack_funcs(("potrf",), (F,))
            if potrf(F.T, lower=0, overwrite_a=1, clean=0)[1]:
                return False
        return True

    def _product(self, M: Any) -> Any:
        """Return W M for a complex M by one real product."""
        if not np.iscomplexobj(M):
            return self.W @ M
        pair = self.W @ np.ascontiguousarray(M).view(np.float64)
        return np.ascontiguousarray(pair).view(np.complex128)

    def moments(
        self, y: FloatArray, t: float, qs: list[ComplexArray], deadline: float = math.inf
    ) -> Moments | None:
        """Return the sums; None when F is not positive definite at some frequency, or time is up."""
        n = len(y)
        gradient, weight = np.zeros(n), np.zeros(n)
        hessian, mixed = np.zeros((n, n)), np.zeros((n, n))
        nearest = math.inf
        m, c = self.middle, self.product
        for q in qs:
            if time.perf_counter() > deadline:
                return None
            F = self.matrix(y, t, q)
            potrf, potri = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (F,))
            # LAPACK sees the transpose, the conjugate of F.
            factor, failed = potrf(F.T, lower=1, overwrite_a=1, clean=1)
            if failed:
                return None
            half, failed = potri(factor, lower=1, overwrite_c=1)
            if failed:
                return None
            G = np.tril(half).conj()
            G = G + np.tril(G, -1).conj().T
            real = not np.iscomplexobj(G)
            turn: Any = q.real if real else q
            B = self._product(turn[:, None] * G)
            Z = self._product(np.conj(B * np.conj(turn)).T).conj().T
            d_G, d_B, d_Z = np.diag(G).real, np.diag(B).real, np.diag(Z).real
            gradient += t * d_G - 2.0 * m * d_B + c * d_Z
            weight += d_G
            G_T, B_T = G.T, B.T
            GG = _size(G)
            cross = 2.0 * _real(B, G_T)
            first = t * GG - m[:, None] * cross
            if self.curved:
                first += c[:, None] * _size(B)
            mixed += first
            block = t * (first - m * cross.T) + np.outer(m, m) * 2.0 * (_real(B, B_T) + _real(Z, G_T))
            if self.curved:
                twice = 2.0 * c[:, None] * _real(B, Z.T) * m
                block += t * c * _size(B).T - twice - twice.T + np.outer(c, c) * _size(Z)
            hessian += block
            nearest = min(nearest, 1.0 / top_of(G, np.sqrt(y)))
        return Moments(gradient, 0.5 * (hessian + hessian.T), mixed, weight, nearest)


def _size(M: Any) -> FloatArray:
    return np.asarray(M.real**2 + M.imag**2 if np.iscomplexobj(M) else M * M)


def _real(A: Any, B: Any) -> FloatArray:
    """Return the real part of the elementwise product."""
    if not np.iscomplexobj(A):
        return np.asarray(A * B)
    return np.asarray(A.real * B.real - A.imag * B.imag)


def top_of(G: Any, root: FloatArray) -> float:
    """Return the largest eigenvalue of root G root; for many units a little less, by Lanczos' method."""
    n = len(root)
    if n <= 60:
        return float(np.linalg.eigvalsh(root[:, None] * G * root)[-1])
    v = np.cos(np.arange(n, dtype=np.float64)) + 1.5
    v = (v / np.linalg.norm(v)).astype(G.dtype)
    before = np.zeros_like(v)
    alphas: list[float] = []
    betas: list[float] = []
    beta = 0.0
    for _ in range(min(n, 25)):
        w = root * (G @ (root * v)) - beta * before
        alphas.append(float(np.vdot(v, w).real))
        w = w - alphas[-1] * v
        beta = float(np.linalg.norm(w))
        if beta <= 1e-12 * abs(alphas[0]):
            break
        betas.append(beta)
        before, v = v, w / beta
    k = len(alphas)
    top = scipy.linalg.eigvalsh_tridiagonal(alphas, betas[: k - 1], select="i", select_range=(k - 1, k - 1))
    return float(top[0])


@final
@dataclass
class _Best:
    """What the search knows: the multipliers, their reach, a lower bound of every reach."""

    y: FloatArray
    reach: float
    lower: float = 0.0


def _search(
    sector: Sector, y: FloatArray, reach: float, *, deadline: float, optimise: bool, gap: float
) -> _Best:
    """Lower the reach until it is below 1 by some margin, the bound is above 1, or they meet."""
    best = _Best(y, reach)
    if (reach < _ENOUGH and not optimise) or len(y) > FACTORED:
        return best
    centres = _Centres(sector, y)
    origin, y = y / y.max(), np.ones(len(y))
    # Between 9 frequencies the reach is at most half a percent worse, and every one costs as much.
    count = 9 if not optimise or len(y) > 300 else 13 if len(y) > 100 else 17
    qs = _frequencies(sector, count)
    t, enough = 1.15 * reach + 1e-300, _ENOUGH
    for _ in range(150):
        m = centres.moments(y, t, qs, deadline)
        if m is None:
            break
        solved = directions(m, y)
        if solved is None:
            break
        centring, drift, decrement, dual = solved
        best.lower = max(best.lower, min(t, t - dual))
        reached = t - m.nearest
        close = reached - best.lower <= gap * reached
        if (best.lower >= 1.0 and not optimise) or t < _NONE * reach:
            break
        if close or (reached < enough and not optimise):
            here = Reach(sector, origin * y, 5e-4, deadline).at()
            if here < best.reach:
                best.y, best.reach = origin * y, here
            # Between the frequencies it may be worse: only then more of them are worth their cost.
            worse = here - reached > max(gap, 5e-3) * reached
            if (here < _ENOUGH and not optimise) or (close and (not worse or count > 40)):
                break
            if close or (worse and here >= 1.0):
                count = 2 * count - 1
                qs = _frequencies(sector, count)
                t = 1.05 * here
                continue
            # Aim lower by what lies between the frequencies.
            enough = min(enough, _ENOUGH - 1.1 * (here - reached)) - 1e-4
        inside = partial(centres.inside, qs=qs)
        y, t = stepped(inside, y, t, m.nearest, centring, drift, decrement)
    if (best.lower < 1.0 or optimise) and np.all(np.isfinite(y)):
        here = Reach(sector, origin * y, 5e-4, deadline).at()
        if here < best.reach:
            best.y, best.reach = origin * y, here
    return best


def _frequencies(sector: Sector, count: int) -> list[ComplexArray]:
    return [frequency(sector.a, float(angle)) for angle in np.linspace(0.0, math.pi, count)]


def directions(m: Moments, y: FloatArray) -> tuple[FloatArray, FloatArray, float, float] | None:
    """Return the centring direction, the tangent of the central path by t, the decrement, the dual gap.

    The path keeps the sum of log y: no scale is preferred, and decoupled units stay where they are. A dual
    matrix G - G dF(d) G, positive definite when the norm of d is below 1, has gradient D - H d; choosing that
    proportional to its diagonal gives every unit the same gap.
    """
    c = 1.0 / y
    H = m.hessian
    if not (np.all(np.isfinite(H)) and np.diag(H).min() > 0.0):
        return None
    scale = 1.0 / np.sqrt(np.diag(H))
    try:
        factor = scipy.linalg.cho_factor(
            (scale[:, None] * H) * scale + 1e-14 * np.eye(len(y)), overwrite_a=True, check_finite=False
        )
    except (scipy.linalg.LinAlgError, ValueError):
        return None
    drift = m.weight - m.cross @ y
    right = scale[:, None] * np.column_stack([m.gradient, drift, c, m.weight])
    full, tangent, plane, even = (scale[:, None] * scipy.linalg.cho_solve(factor, right)).T
    plane = plane / (c @ plane)
    centring, tangent = full - plane * (c @ full), tangent - plane * (c @ tangent)
    dual = math.inf
    even = full - even * ((m.weight @ full) / (m.weight @ even))
    for d in (even, centring):
        image = H @ d
        weight = m.weight - m.cross.T @ d
        if d @ image < 1.0 and weight.min() > 0.0:
            dual = min(dual, float(np.max((m.gradient - image) / weight)))
    return centring, tangent, math.sqrt(max(0.0, float(centring @ (H @ centring)))), dual


def stepped(
    inside: Callable[[FloatArray, float], bool],
    y: FloatArray,
    t: float,
    nearest: float,
    centring: FloatArray,
    tangent: FloatArray,
    decrement: float,
) -> tuple[FloatArray, float]:
    """Go along the central path as far as every F stays positive definite, or towards its centre."""

    def moved(change: FloatArray) -> FloatArray:
        return np.asarray(y * np.exp(np.clip(change / y, -1.5, 1.5)))

    for fall in (100.0, 30.0, 10.0, 4.0, 2.5, 1.6, 1.0, 0.6):
        shift = -fall * nearest
        if t + shift > 0.0 and inside(moved(centring + shift * tangent), t + shift):
            # Not to the edge: the next step starts better from inside.
            shift *= 0.85
            return moved(centring + shift * tangent), t + shift
    return moved(centring / (1.0 + decrement)), t


def _bound_by_components(sector: Sector, deadline: float, gap: float) -> float:
    """Return the largest lower bound of a strongly connected component, when there are several.

    Links between components can be scaled away, so only the components limit the reach; but for the whole
    network the best multipliers are at infinity, where the bound converges slowly.
    """
    W = sector.W
    count, labels = scipy.sparse.csgraph.connected_components(
        scipy.sparse.csr_array(W), directed=True, connection="strong"
    )
    lower = 0.0
    for k in range(count if count > 1 else 0):
        units = np.flatnonzero(labels == k)
        block = W[units][:, units]
        if len(units) > 1 or block.sum() != 0.0:
            part = Sector(block, sector.a[units], sector.low[units], sector.high[units])
            y = balanced(part)
            reach = Reach(part, y, 1e-3, deadline).at()
            if lower < reach < math.inf:
                found = _search(part, y, reach, deadline=deadline, optimise=True, gap=gap)
                lower = max(lower, found.lower)
        if time.perf_counter() > deadline:
            break
    return lower


def optimal_lurie(
    sector: Sector,
    *,
    start: FloatArray | None = None,
    deadline: float = math.inf,
    optimise: bool = False,
    gap: float = 2e-3,
    name: str = "incremental-lurie, optimal",
) -> Rung:
    """Try the incremental Lur'e inequality with the multipliers that get farthest.

    It stops when the inequality holds with some clearance, when the dual bound shows that no multipliers can
    do it, or when both bounds meet.

    Parameters
    ----------
    sector : Sector
    start : array (n_units,), optional
        Multipliers to start from if they are better than balanced ones, say those of `diagonal_schur`.
    deadline : float
        A `time.perf_counter` value after which the best so far is returned.
    optimise : bool
        Go on until the bounds meet, for the critical gain.
    gap : float
        Relative distance at which the bounds count as having met.
    name : str
        What the bound is called.

    Returns
    -------
    Rung
        Its `scaling` are the multipliers; `bound.dual` is the gain that no multipliers exceed.

    Examples
    --------
    A pair of units that turns by 1.69, at leak rate 0.3: the limit is 1.7.

    >>> W = np.array([[0.0, -1.69], [1.69, 0.0]])
    >>> rung = optimal_lurie(Sector(W, np.full(2, 0.3), np.zeros(2), np.ones(2)), optimise=True)
    >>> print(f"{rung.bound.value:.4f}", rung.candidate is not None, rung.bound.dual < 1.01)
    0.9941 True True
    """
    began = time.perf_counter()
    half = 0.5 * (sector.high - sector.low)
    ones = np.ones(len(half))
    starts = [balanced(sector), ones]
    if start is not None and bool(np.any(half > 0.0)):
        given = start / np.where(half > 0.0, half, np.inf) ** 2
        starts.append(np.where(given > 0.0, given, given.max()))
    accuracy = 1e-3 if len(half) <= 1000 else 4e-3
    reaches = []
    for y in starts:
        reaches.append(Reach(sector, y, accuracy, deadline).at())
        if time.perf_counter() > deadline:
            break
    k = int(np.argmin(reaches))
    if not reaches[k] < math.inf:
        bound = BoundReached(name, math.inf, False, None, time.perf_counter() - began)
        return Rung(bound, None, multipliers(sector, starts[k]))
    with np.errstate(all="ignore"):
        best = _search(sector, starts[k], reaches[k], deadline=deadline, optimise=optimise, gap=gap)
        if optimise and best.reach - best.lower > gap * best.reach:
            best.lower = max(best.lower, _bound_by_components(sector, deadline, gap))
    # Where units decouple both tend to zero, and rounding may let them cross.
    best.lower = min(best.lower, best.reach)
    linear = bool(np.all(sector.low == 0.0))
    gain = 1.0 / best.reach if linear and best.reach > 0.0 else None
    dual = None
    # A part in a million for the rounding errors of the bound.
    if linear and best.lower > 1e-6 * best.reach:
        dual = (1.0 + 1e-6) / best.lower
    elif best.lower >= 1.0 + 1e-6 and bool(np.all(sector.a == sector.a[0])):
        # J(g W) is a mean of J(W) and the contraction (1 - a) I, so what fails here fails at larger gains.
        dual = 1.0
    candidate = None
    if best.reach < 1.0 + 2e-3 and best.lower < 1.0 and time.perf_counter() < deadline:
        candidate = candidate_for(sector, best.y, Reach(sector, best.y, accuracy, deadline), deadline)
    bound = BoundReached(name, best.reach, False, gain, time.perf_counter() - began, dual)
    return Rung(bound, candidate, multipliers(sector, best.y))
