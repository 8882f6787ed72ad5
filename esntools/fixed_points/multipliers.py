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
_CHECKS: Final = (20, 32, 48, 72, 108, 160, 240, 400)
_CONVERGED: Final = 1e-9


def sorted_multipliers(values: ArrayLike) -> ComplexArray:
    """Return the values by decreasing modulus, the positive imaginary part of a conjugate pair first."""
    values = np.asarray(values, dtype=np.complex128)
    return values[np.lexsort((-values.imag, -np.round(np.abs(values), 12)))]


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
        Largest Krylov space; a point that needs more comes back as None.

    References
    ----------
    Y. Saad, Numerical Methods for Large Eigenvalue Problems, 2nd ed. (SIAM, 2011), ch. 6,
    doi:10.1137/1.9781611970739.
    """
    found: list[list[complex]] = [[] for _ in range(n_points)]
    results: list[ComplexArray | None] = [None] * n_points
    locked: list[FloatArray] = [np.zeros((0, n)) for _ in range(n_points)]
    active = np.arange(n_points)
    while len(active):
        width = max(len(locked[i]) for i in active)
        Q = np.zeros((len(active), width, n))
        for row, i in enumerate(map(int, active)):
            Q[row, : len(locked[i])] = locked[i]
        again = []
        for row, (H, V) in _runs(product, active, Q, n, outer, n_wanted, found, largest, rng):
            i = int(active[row])
            ritz, residual = _ritz(H)
            done, n_outer = _settled(ritz, residual, outer, max(n_wanted - len(found[i]), 0), len(found[i]))
            if not done or len(locked[i]) + n_outer > largest // 2:
                continue
            if n_outer:
                m = len(H) - 1
                T, Z, k = scipy.linalg.schur(
                    H[:m], output="real", sort=lambda re, im=0.0: bool(abs(re + 1j * im) > outer)
                )
                if k == 0:
                    continue
                basis = Z[:, :k].T @ V[:m]
                locked[i] = np.vstack([locked[i], basis])
                found[i] += list(scipy.linalg.eigvals(T[:k, :k]))
                again.append(i)
            else:
                n_good = int(np.argmin(np.append(residual <= _CONVERGED, False)))
                results[i] = sorted_multipliers(np.array(found[i] + list(ritz[:n_good])))
        active = np.array(again, dtype=np.intp)
    return results


def _ritz(H: FloatArray) -> tuple[ComplexArray, FloatArray]:
    """Return the Ritz values by decreasing modulus and their residuals, from the (m + 1, m) Hessenberg."""
    m = H.shape[1]
    ends = np.flatnonzero(np.diagonal(H, -1) == 0.0)
    if len(ends):
        m = int(ends[0]) + 1
    values, vectors = np.linalg.eig(H[:m, :m])
    order = np.lexsort((-values.imag, -np.round(np.abs(values), 12)))
    return values[order], np.abs(H[m, m - 1]) * np.abs(vectors[m - 1, order])


def _settled(
    ritz: ComplexArray, residual: FloatArray, outer: float, n_wanted: int, n_found: int
) -> tuple[bool, int]:
    """Return whether a Krylov space tells what is asked of it, and how many values lie outside `outer`."""
    modulus = np.abs(ritz)
    n_outer = int(np.sum(modulus > outer))
    if n_outer:
        # A pair on the border is taken or left as a whole by its modulus, but never half converged.
        return bool(np.all(residual[:n_outer] <= _CONVERGED)), n_outer
    if n_found and n_wanted == 0:
        # Nothing is to be listed: the next one has only to stay inside.
        return bool(residual[0] <= 1e-3 * (outer - modulus[0]) + _CONVERGED), 0
    n_good = int(np.argmin(np.append(residual <= _CONVERGED, False)))
    # All of an invariant subspace has converged: there is nothing more to see from this start.
    return n_good >= min(max(n_wanted, 1), len(ritz)), 0


def _runs(
    product: Callable[[IntArray, FloatArray], FloatArray],
    points: IntArray,
    Q: FloatArray,
    n: int,
    outer: float,
    n_wanted: int,
    found: list[list[complex]],
    largest: int,
    rng: np.random.Generator,
) -> list[tuple[int, tuple[FloatArray, FloatArray]]]:
    """Run Arnoldi on every point, orthogonally to the locked rows of Q, until it is settled."""
    rows = np.arange(len(points))
    largest = min(largest, n - Q.shape[1])
    out = []
    V = np.zeros((len(points), min(_CHECKS[0], largest) + 1, n))
    H = np.zeros((len(points), V.shape[1], V.shape[1] - 1))
    v = rng.standard_normal((len(points), n))
    v -= ((Q @ v[:, :, None]).transpose(0, 2, 1) @ Q)[:, 0]
    V[:, 0] = v / np.linalg.norm(v, axis=1)[:, None]
    j = 0
    for check in _CHECKS:
        m = min(check, largest)
        if V.shape[1] < m + 1:
            more = m + 1 - V.shape[1]
            V = np.concatenate([V, np.zeros((len(rows), more, n))], axis=1)
            H = np.pad(H, ((0, 0), (0, more), (0, more)))
        while j < m:
            w = product(points[rows], V[:, j])
            for _ in range(2):
                if Q.shape[1]:
                    w -= ((Q @ w[:, :, None]).transpose(0, 2, 1) @ Q)[:, 0]
                h = (V[:, : j + 1] @ w[:, :, None])[:, :, 0]
                w -= (h[:, None, :] @ V[:, : j + 1])[:, 0]
                H[:, : j + 1, j] += h
            norm = np.linalg.norm(w, axis=1)
            # A breakdown is an exact invariant subspace: what follows in this space is zero.
            tiny = norm <= 1e-13 * np.linalg.norm(H[:, : j + 1, j], axis=1)
            norm[tiny] = 0.0
            H[:, j + 1, j] = norm
            V[:, j + 1] = np.where(tiny[:, None], 0.0, w / np.maximum(norm, 1e-300)[:, None])
            j += 1
        go_on = np.ones(len(rows), dtype=bool)
        for k, row in enumerate(rows):
            ritz, residual = _ritz(H[k])
            n_found = len(found[int(points[row])])
            done, _ = _settled(ritz, residual, outer, max(n_wanted - n_found, 0), n_found)
            if done or m == largest or check == _CHECKS[-1]:
                out.append((int(row), (H[k].copy(), V[k].copy())))
                go_on[k] = False
        if not go_on.any() or m == largest:
            break
        rows, V, H, Q = rows[go_on], V[go_on], H[go_on], Q[go_on]
    return out
