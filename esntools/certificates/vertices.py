r"""One quadratic norm for every vertex of the slope box: the sharpest common quadratic norm, for few units.

.. math:: r^2 P - J_D' P J_D > 0, \qquad J_D = I - A + A D W, \quad D_{ii} \in \{l_i, L_i\}.

The left side is concave in D, so the 2^n vertices suffice, and every quadratic norm in which all D contract
passes: the Lur'e multipliers are a sufficient condition for this. P is sought over a few vertices by a
barrier method; all are enumerated, and the worst join. Horisberger and Belanger 1976,
doi:10.1109/TAC.1976.1101309.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import Final, final

import numpy as np
import scipy.linalg

from esntools._typing import FloatArray, IntArray
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.sectors import BoundReached, Candidate, Rung, Sector, congruence, short, short_rate

__all__ = ["MOST_UNITS", "common_quadratic", "vertex_radius"]

_NAME: Final = "common-quadratic"
#: The checker enumerates 2^n vertices.
MOST_UNITS: Final = 12
#: Up to here a bisection of the gain takes well under a second.
_QUICK: Final = 6
#: Growth of the weight in the barrier: moderate, so that few Newton steps return to the central path.
_GROWTH: Final = 1.6


def _vertices(sector: Sector) -> FloatArray:
    """Return J_D for all vertices D, shape (count, n, n)."""
    ends = [sorted({float(p), float(q)}) for p, q in zip(sector.low, sector.high)]
    D = np.array(list(itertools.product(*ends)))
    return np.asarray(np.diag(1.0 - sector.a) + (D * sector.a)[:, :, None] * sector.W)


def vertex_radius(sector: Sector, *, pairs: int = 40) -> float:
    """Return a lower bound on the joint spectral radius of all slopes, in floating point.

    The largest spectral radius of a vertex, or root of that of a product of two of the `pairs` largest. At 1
    or above there are slope sequences under which differences do not shrink: no norm proves anything.

    Examples
    --------
    >>> sector = Sector(np.array([[0.0, 2.0], [0.5, 0.0]]), np.ones(2), np.zeros(2), np.ones(2))
    >>> round(vertex_radius(sector), 6)
    1.0
    """
    J = _vertices(sector)
    single = np.abs(np.linalg.eigvals(J)).max(axis=1)
    chosen = J[np.argsort(-single)[:pairs]]
    products = (chosen[:, None] @ chosen[None, :]).reshape(-1, *J.shape[1:])
    double = np.sqrt(np.abs(np.linalg.eigvals(products)).max(axis=1))
    return float(max(single.max(), double.max()))


def _worst(J: FloatArray, P: FloatArray) -> FloatArray:
    """Return for every vertex the squared factor by which it can stretch the norm of P."""
    factor = np.linalg.cholesky(P)
    half = scipy.linalg.solve_triangular(factor, np.eye(len(P)), lower=True).T
    stretched = factor.T @ J @ half
    return np.asarray(np.linalg.eigvalsh(stretched.transpose(0, 2, 1) @ stretched)[:, -1])


@final
class _Barrier:
    """Maximise t subject to r^2 P - J'PJ > t I at chosen vertices, P > 0, trace P = n."""

    def __init__(self, J: FloatArray, rate: float, P: FloatArray, chosen: IntArray) -> None:
        n = J.shape[1]
        self.J, self.rate, self.n = J, rate, n
        self.i, self.j = np.triu_indices(n)
        self.scale = np.where(self.i == self.j, 1.0, math.sqrt(2.0))
        self.maps: list[FloatArray] = []
        self.chosen: list[int] = []
        self.P = P * n / float(np.trace(P))
        self.t, self.weight, self.dual = 0.0, 1.0, math.inf
        self.add(chosen)

    def _vector(self, M: FloatArray) -> FloatArray:
        return np.asarray(M[..., self.i, self.j] * self.scale)

    def _matrix(self, v: FloatArray) -> FloatArray:
        M = np.zeros((self.n, self.n))
        M[self.i, self.j] = v / self.scale
        return M + np.triu(M, 1).T

    def _basis(self) -> FloatArray:
        E = np.zeros((len(self.i), self.n, self.n))
        k = np.arange(len(self.i))
        E[k, self.i, self.j] = 1.0 / self.scale
        E[k, self.j, self.i] = 1.0 / self.scale
        return E

    def add(self, vertices: IntArray) -> None:
        """Take in more vertices; t falls until all are inside."""
        E = self._basis()
        for k in vertices:
            J = self.J[k]
            # Rows: the image of each basis matrix.
            self.maps.append(self._vector(self.rate**2 * E - J.T @ E @ J).T)
            self.chosen.append(int(k))
        before = self.t
        self.t = min(self.t, self.lowest() - 0.05)
        if self.t < before or self.weight == 1.0:
            self.weight = max(1.0, sum(float(np.trace(G)) for G in self._inverses()[:-1]))

    def _images(self, P: FloatArray) -> FloatArray:
        J = self.J[self.chosen]
        return np.asarray(self.rate**2 * P - J.transpose(0, 2, 1) @ P @ J)

    def lowest(self) -> float:
        return float(np.linalg.eigvalsh(self._images(self.P)).min())

    def _inverses(self) -> FloatArray:
        """Return the inverses of r^2 P - J'PJ - t I at every vertex, and of P."""
        shifted = self._images(self.P) - self.t * np.eye(self.n)
        return np.asarray(np.linalg.inv(np.concatenate([shifted, self.P[None]])))

    def step(self) -> float:
        """Make one Newton step; return the decrement before it."""
        n, m = self.n, len(self.i)
        inverses = self._inverses()
        H, gradient = np.zeros((m + 1, m + 1)), np.zeros(m + 1)
        eye = self._vector(np.eye(n))
        E = self._basis()
        trace, total = 0.0, np.zeros((n, n))
        for k, G in enumerate(inverses):
            last = k == len(self.maps)
            map_ = np.eye(m) if last else self.maps[k]
            # The matrix of X -> G X G on symmetric matrices.
            double = self._vector(G @ E @ G)
            part = map_.T @ double @ map_
            H[:m, :m] += 0.5 * (part + part.T)
            g = self._vector(G)
            gradient[:m] -= map_.T @ g
            if not last:
                H[:m, m] -= map_.T @ (double @ eye)
                H[m, m] += float((G * G).sum())
                trace += float(np.trace(G))
                total += self.rate**2 * G - self.J[self.chosen[k]] @ G @ self.J[self.chosen[k]].T
        H[m, :m] = H[:m, m]
        gradient[m] = trace - self.weight
        self.dual = min(self.dual, n * float(np.linalg.eigvalsh(total)[-1]) / trace)
        H[np.diag_indices(m + 1)] *= 1.0 + 1e-13
        fixed = np.append(eye, 0.0)
        solved = scipy.linalg.cho_solve(
            scipy.linalg.cho_factor(H, check_finite=False), np.column_stack([gradient, fixed])
        )
        step = solved[:, 1] * float(fixed @ solved[:, 0]) / float(fixed @ solved[:, 1]) - solved[:, 0]
        decrement = math.sqrt(max(0.0, -float(gradient @ step)))
        dP, dt = self._matrix(step[:m]), float(step[m])
        length = self._length(dP, dt)
        self.P, self.t = self.P + length * dP, self.t + length * dt
        return decrement

    def _length(self, dP: FloatArray, dt: float) -> float:
        """Return the minimiser of the barrier along the step, by bisection of its derivative."""
        eye = np.eye(self.n)
        here = np.concatenate([self._images(self.P) - self.t * eye, self.P[None]])
        change = np.concatenate([self._images(dP) - dt * eye, dP[None]])
        inverse = np.linalg.inv(np.linalg.cholesky(here))
        rate = np.linalg.eigvalsh(inverse @ change @ inverse.transpose(0, 2, 1)).ravel()
        low, high = 0.0, min(10.0, 0.99 / max(1e-9, -float(rate.min())))
        for _ in range(30):
            middle = 0.5 * (low + high)
            falling = self.weight * dt + float((rate / (1.0 + middle * rate)).sum()) > 0.0
            low, high = (middle, high) if falling else (low, middle)
        return low


def _norm_at(J: FloatArray, rate: float, P: FloatArray, deadline: float) -> tuple[bool, FloatArray, float]:
    """Return whether a norm with this rate was found, the last P, and the least dual bound.

    A negative dual bound says that there is none.
    """
    worst = _worst(J, P)
    search = _Barrier(J, rate, P, np.argsort(-worst)[: 2 * J.shape[1]])
    for _ in range(300):
        if time.perf_counter() > deadline or search.dual < 0.0:
            break
        try:
            decrement = search.step()
            if search.t < 0.0 and decrement >= 2.0:
                continue
            worst = _worst(J, search.P)
        except np.linalg.LinAlgError:
            break
        if float(worst.max()) < rate**2 * (1.0 - 1e-7):
            return True, search.P, search.dual
        if decrement < 2.0:
            beyond = np.flatnonzero(worst >= rate**2)
            beyond = beyond[np.argsort(-worst[beyond])]
            new = np.array([k for k in beyond if k not in search.chosen], dtype=np.intp)[: J.shape[1]]
            if new.size and search.lowest() > -0.02:
                search.add(new)
            else:
                gap = 2.0 * search.n * (len(search.chosen) + 1) / search.weight
                if search.t + gap < 0.0 or gap < 1e-7:
                    break
                search.weight *= _GROWTH
    return False, search.P, search.dual


def _candidate(P: FloatArray, J: FloatArray) -> Candidate | None:
    P = short(P / np.abs(P).max(), 40)
    R_P = congruence(P)
    if R_P is None:
        return None
    top = math.sqrt(float(_worst(J, P).max()))
    rate = short_rate(top + 0.02 * (1.0 - top))
    return Candidate(_NAME, rate, {"P": P, "R_P": R_P}) if top < rate < 1.0 else None


def _dual_gain(sector: Sector) -> float | None:
    """Return a gain at which products of vertices stop shrinking; None when not below 4."""
    low, high = 0.0, 4.0
    if vertex_radius(sector.scaled(high)) < 1.0:
        return None
    while high - low > 2e-3:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if vertex_radius(sector.scaled(middle)) >= 1.0 else (middle, high)
    return high


def common_quadratic(sector: Sector, *, deadline: float = math.inf, optimise: bool = False) -> Rung:
    """Try one quadratic norm for all vertices of the slopes, up to 12 units.

    Parameters
    ----------
    sector : Sector
    deadline : float, default inf
        Value of `time.perf_counter` at which the search stops.
    optimise : bool, default False
        Also bisect the gain. Otherwise the critical gain is 1 on success, and without success it is sought
        for up to 6 units only.

    Returns
    -------
    Rung
        `value` is the contraction factor of the best norm met, or the radius of the vertices where that is
        1 or more already. `dual` is a gain from which on products of vertices do not shrink, or 1 when a dual
        matrix excludes every quadratic norm.

    Examples
    --------
    The Lur'e multipliers, however chosen, do not prove this one:

    >>> W = 0.655 * np.array([[0.0, -1.5, -0.5], [0.5, -0.5, -0.5], [0.5, 1.5, -1.5]])
    >>> rung = common_quadratic(Sector(W, np.ones(3), np.zeros(3), np.ones(3)))
    >>> rung.candidate.theorem, rung.candidate.rate < 1.0
    ('common-quadratic', True)
    """
    start = time.perf_counter()
    n = len(sector.a)
    if n > MOST_UNITS or not np.all(np.isfinite(sector.W)) or np.abs(sector.W).max(initial=0.0) > 1e6:
        return Rung(BoundReached(_NAME, math.inf, False, None, time.perf_counter() - start), None)
    J = _vertices(sector)
    radius = vertex_radius(sector)
    dual = _dual_gain(sector)
    lurie = incremental_lurie(sector).candidate
    P = np.eye(n) if lurie is None else np.asarray(lurie.witness["P"])
    best, value = None, math.sqrt(float(_worst(J, P).max()))
    if value < 1.0:
        best = P
    elif radius < 1.0:
        found, P, excluded = _norm_at(J, 1.0, P, deadline)
        best = P if found else None
        value = min(value, math.sqrt(float(_worst(J, P).max())))
        if excluded < 0.0:
            dual = 1.0 if dual is None else min(dual, 1.0)
    else:
        value = radius
    if best is not None:
        best = _faster(J, best, radius, deadline)
        value = math.sqrt(float(_worst(J, best).max()))
    candidate = None if best is None else _candidate(best, J)
    gain = 1.0 if candidate is not None else None
    if optimise or (candidate is None and n <= _QUICK):
        gain = _critical_gain(sector, np.eye(n) if best is None else best, gain, dual, deadline)
    return Rung(BoundReached(_NAME, value, False, gain, time.perf_counter() - start, dual), candidate)


def _faster(J: FloatArray, P: FloatArray, radius: float, deadline: float) -> FloatArray:
    """Return the norm of a smaller rate, by bisection between the vertices' radius and this one's."""
    low, high = radius, math.sqrt(float(_worst(J, P).max()))
    for _ in range(5):
        if high - low < 0.02 * (1.0 - low) or time.perf_counter() > deadline:
            break
        middle = 0.5 * (low + high)
        found, better, _ = _norm_at(J, middle, P, deadline)
        if found:
            P, high = better, math.sqrt(float(_worst(J, better).max()))
        else:
            low = middle
    return P


def _critical_gain(
    sector: Sector, P: FloatArray, gain: float | None, dual: float | None, deadline: float
) -> float | None:
    """Bisect the gain at which a common quadratic norm ends."""
    low = 0.0 if gain is None else gain
    high = 4.0 if dual is None else dual
    if gain is None:
        high = min(high, 1.0)
    while high - low > 2e-3 * high and time.perf_counter() < deadline:
        middle = 0.5 * (low + high)
        found, better, _ = _norm_at(_vertices(sector.scaled(middle)), 1.0, P, deadline)
        if found:
            low, P = middle, better
        else:
            high = middle
    return low if low > 0.0 else None
