"""Slow, obvious twins of the search for periodic orbits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import scipy.optimize

from esntools._typing import FloatArray
from esntools.maps import Map


def naive_iterate(system: Map, x: FloatArray, u: Sequence[FloatArray] | None, p: int) -> FloatArray:
    """F^p, one step after the other."""
    for j in range(p):
        x = system.step(x, None if u is None else u[j])
    return x


def naive_jacobian(system: Map, x: FloatArray, u: Sequence[FloatArray] | None, p: int) -> FloatArray:
    """DF^p by central differences."""
    n = len(x)
    J = np.zeros((n, n))
    for i in range(n):
        h = np.zeros(n)
        h[i] = 1e-6
        J[:, i] = (naive_iterate(system, x + h, u, p) - naive_iterate(system, x - h, u, p)) / 2e-6
    return J


def naive_periodic_points(
    system: Map, u: Sequence[FloatArray] | None, p: int, starts: FloatArray
) -> list[FloatArray]:
    """Fixed points of F^p to which a general solver gets from any of the starts."""
    points: list[FloatArray] = []
    for start in starts:
        x, _, status, _ = scipy.optimize.fsolve(
            lambda x: naive_iterate(system, x, u, p) - x, start, full_output=True, xtol=1e-13
        )
        good = status == 1 and np.max(np.abs(naive_iterate(system, x, u, p) - x)) < 1e-9
        if good and not any(np.max(np.abs(x - y)) < 1e-5 for y in points):
            points.append(x)
    return points


def naive_cyclic(J: FloatArray, R: FloatArray) -> FloatArray:
    """Solve d_j - J_j d_(j-1) = r_j as one dense system, (p, n, n) and (p, n)."""
    p, n = R.shape
    A = np.zeros((p * n, p * n))
    for j in range(p):
        for i in range(n):
            A[j * n + i, j * n + i] += 1.0
            for k in range(n):
                A[j * n + i, (j - 1) % p * n + k] -= J[j, i, k]
    return np.linalg.solve(A, R.ravel()).reshape(p, n)


def plane_regions(W: FloatArray, h: FloatArray) -> list[tuple[bool, ...]]:
    """Every pattern of signs of W z + h for z in the plane: the cells of an arrangement of lines.

    With two lines that are not parallel every cell has a corner, and at a simple crossing four cells meet.
    """
    regions = set()
    for i, k in itertools.combinations(range(len(h)), 2):
        corner = np.linalg.solve(W[[i, k]], -h[[i, k]])
        pattern = list(W @ corner + h > 0.0)
        for first, second in itertools.product((False, True), repeat=2):
            pattern[i], pattern[k] = first, second
            regions.add(tuple(pattern))
    return sorted(regions)


def piecewise_linear_points(
    a: FloatArray, W1: FloatArray, W2: FloatArray, h1: FloatArray, h2: FloatArray, p: int
) -> list[FloatArray]:
    """All fixed points of F^p for z -> a z + W1 max(W2 z + h2, 0) + h1 in the plane, region by region.

    Exhaustive: for every sequence of regions the affine map is solved, and the answer kept if it visits them.
    """
    on = np.array(plane_regions(W2, h2))
    A = np.diag(a) + np.einsum("ih,rh,hk->rik", W1, on, W2)
    b = h1 + np.einsum("ih,rh,h->ri", W1, on, h2)
    found: list[FloatArray] = []
    for first in range(len(on)):
        M, c = A[first : first + 1], b[first : first + 1]
        for _ in range(p - 1):
            # (M, c) of a sequence, followed by every region in turn.
            c = (np.einsum("rik,sk->sri", A, c) + b).reshape(-1, 2)
            M = np.einsum("rik,skj->srij", A, M).reshape(-1, 2, 2)
        S = np.eye(2) - M
        det = S[:, 0, 0] * S[:, 1, 1] - S[:, 0, 1] * S[:, 1, 0]
        det = np.where(np.abs(det) < 1e-13, np.nan, det)
        z = np.stack(
            [S[:, 1, 1] * c[:, 0] - S[:, 0, 1] * c[:, 1], S[:, 0, 0] * c[:, 1] - S[:, 1, 0] * c[:, 0]], 1
        )
        z = z / det[:, None]
        digits = first * len(on) ** (p - 1) + np.arange(len(z))
        kept, w = np.isfinite(z).all(axis=1), z
        for j in range(p):
            # Only those that still are where their sequence says; most leave at once.
            rows = np.flatnonzero(kept)
            region = digits[rows] // len(on) ** (p - 1 - j) % len(on)
            kept[rows] = ((w[rows] @ W2.T + h2 > 0.0) == on[region]).all(axis=1)
            w = w.copy()
            w[rows] = np.einsum("rik,rk->ri", A[region], w[rows]) + b[region]
        found += list(z[kept])
    return found
