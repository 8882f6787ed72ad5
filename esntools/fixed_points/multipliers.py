"""Leading multipliers of many fixed points at once, by Arnoldi with locking.

The Jacobians of one network at its fixed points share W: one product with a block of vectors advances the
Krylov space of every point. ARPACK, one point at a time, reads W anew for every product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from esntools._typing import ComplexArray, FloatArray, IntArray

__all__ = ["leading_multipliers", "sorted_multipliers"]

#: Sizes of the Krylov space at which convergence is looked at.
_CHECKS: Final = (16, 20, 25, 31, 38, 47, 58, 72, 90, 112, 140, 175, 220, 275, 345)
_CONVERGED: Final = 1e-8


def sorted_multipliers(values: ArrayLike) -> ComplexArray:
    """Return the values by decreasing modulus, the positive imaginary part of a conjugate pair first."""
    values = np.asarray(values, dtype=np.complex128)
    return values[np.lexsort((-values.imag, -np.round(np.abs(values), 12)))]


class _Krylov:
    """One point's locked basis with the Krylov space that is growing on it, and what has come out so far."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.n, self.rng = n, rng
        self.found: list[complex] = []
        self.n_locked = 0
        self.V = np.zeros((_CHECKS[0] + 1, n))
        self.start()

    def start(self) -> None:
        """Begin a Krylov space with a random vector orthogonal to the locked ones."""
        self.j = 0
        self.H = np.zeros((_CHECKS[0] + 1, _CHECKS[0]))
        v = self.rng.standard_normal(self.n)
        Q = self.V[: self.n_locked]
        v -= (Q @ v) @ Q
        self.V[self.n_locked] = v / np.sqrt(v @ v)

    def advance(self, w: FloatArray) -> None:
        """Take J times the last vector: classical Gram-Schmidt, twice."""
        k, j = self.n_locked, self.j
        if k + j + 2 > len(self.V):
            self.V = np.vstack([self.V, np.zeros((max(16, len(self.V) // 2), self.n))])
        if j >= self.H.shape[1]:
            more = max(16, j // 2)
            self.H = np.pad(self.H, ((0, more), (0, more)))
        B = self.V[: k + j + 1]
        size = np.sqrt(w @ w)
        for _ in range(2):
            h = B @ w
            w = w - h @ B
            self.H[: j + 1, j] += h[k:]
        norm = np.sqrt(w @ w)
        self.j = j + 1
        # A breakdown is an exact invariant subspace: what follows in this space is zero.
        if norm > 1e-13 * size:
            self.H[j + 1, j] = norm
            self.V[k + j + 1] = w / norm
        else:
            self.V[k + j + 1] = 0.0

    def ritz(self) -> tuple[ComplexArray, FloatArray]:
        """Return the Ritz values by decreasing modulus, and their residuals."""
        m = self.j
        ends = np.flatnonzero(np.diagonal(self.H[: m + 1, :m], -1) == 0.0)
        if len(ends):
            m = int(ends[0]) + 1
        values, vectors = np.linalg.eig(self.H[:m, :m])
        order = np.lexsort((-values.imag, -np.round(np.abs(values), 12)))
        return values[order], np.abs(self.H[m, m - 1]) * np.abs(vectors[m - 1, order])

    def lock(self, outer: float) -> bool:
        """Keep the invariant subspace of the Ritz values above `outer`; False if there is none."""
        m, k = self.j, self.n_locked
        T, Z, n_new = scipy.linalg.schur(
            self.H[:m, :m], output="real", sort=lambda re, im=0.0: bool(abs(re + 1j * im) > outer)
        )
        if n_new == 0:
            return False
        self.V[k : k + n_new] = Z[:, :n_new].T @ self.V[k : k + m]
        self.found += [complex(v) for v in scipy.linalg.eigvals(T[:n_new, :n_new])]
        self.n_locked = k + n_new
        self.start()
        return True

    def settled(self, ritz: ComplexArray, residual: FloatArray, outer: float, n_wanted: int) -> bool:
        """Return whether this space tells what is asked of it."""
        n_outer = int(np.sum(np.abs(ritz) > outer))
        if n_outer:
            # A conjugate pair is above or below as a whole.
            return bool(np.all(residual[:n_outer] <= _CONVERGED))
        left = n_wanted - len(self.found)
        if left <= 0:
            # Nothing more is to be listed: the next one has only to stay inside.
            return bool(residual[0] <= 0.25 * (outer - abs(ritz[0])) + _CONVERGED)
        n_good = int(np.argmin(np.append(residual <= _CONVERGED, False)))
        # All of an invariant subspace has converged: there is nothing more to see from this start.
        return n_good >= min(left, len(ritz))


def leading_multipliers(
    product: Callable[[IntArray, FloatArray], FloatArray],
    n_points: int,
    n: int,
    *,
    n_wanted: int,
    outer: float,
    largest: int = 400,
    rng: np.random.Generator,
) -> list[ComplexArray | None]:
    r"""Return the leading eigenvalues of J_i for every point i, or None where they did not converge.

    Arnoldi from one random vector per point. Once every Ritz value with modulus above `outer` has converged,
    its invariant subspace is locked, and Arnoldi starts again on the rest of the spectrum, until a run shows
    nothing above `outer`: an eigenvalue of multiplicity k, which one Krylov space sees once, is so found k
    times.

    Parameters
    ----------
    product : callable
        ``product(which, V)``: J_i v for the points `which` and one vector (row of V) each.
    n_points, n : int
    n_wanted : int
        How many eigenvalues have to converge (at least the leading one and all above `outer` do).
    outer : float
        Modulus above which no eigenvalue may be missing.
    largest : int
        Largest number of locked and Krylov vectors; a point that needs more comes back as None.

    References
    ----------
    Y. Saad, Numerical Methods for Large Eigenvalue Problems, 2nd ed. (SIAM, 2011), ch. 6,
    doi:10.1137/1.9781611970739.
    """
    points = [_Krylov(n, rng) for _ in range(n_points)]
    results: list[ComplexArray | None] = [None] * n_points
    active = np.arange(n_points)
    while len(active):
        V = np.stack([points[i].V[points[i].n_locked + points[i].j] for i in active])
        W = product(active, V)
        go_on = np.ones(len(active), dtype=bool)
        for row, i in enumerate(active):
            point = points[i]
            point.advance(W[row])
            room = min(largest, n) - point.n_locked
            if point.j not in _CHECKS and point.j < room:
                continue
            ritz, residual = point.ritz()
            if point.settled(ritz, residual, outer, n_wanted):
                if abs(ritz[0]) <= outer:
                    n_good = int(np.argmin(np.append(residual <= _CONVERGED, False)))
                    results[i] = sorted_multipliers([*point.found, *ritz[:n_good]])
                    go_on[row] = False
                elif not point.lock(outer) or point.n_locked > largest // 2:
                    go_on[row] = False
            elif point.j >= room:
                go_on[row] = False
        active = active[go_on]
    return results
