"""Slow, obvious twins of the continuation: scans over the parameter, differences, bisection on counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, root

from esntools._typing import ComplexArray, FloatArray
from esntools.maps import Map


def naive_roots(
    f: Callable[[FloatArray], FloatArray], low: float, high: float, n: int = 20_001
) -> list[float]:
    """Every sign change of a scalar function on a grid, by bisection."""
    grid = np.linspace(low, high, n)
    values = f(grid)
    change = np.flatnonzero(values[:-1] * values[1:] < 0.0)
    return [float(brentq(lambda x: float(f(np.array(x))), grid[i], grid[i + 1], xtol=1e-14)) for i in change]


def naive_fold(count: Callable[[float], int], low: float, high: float) -> float:
    """Bisection on the parameter for where the number of fixed points changes."""
    many = count(low)
    assert count(high) != many
    for _ in range(60):
        middle = 0.5 * (low + high)
        if count(middle) == many:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def naive_orbit(system: Map, x: FloatArray, period: int) -> FloatArray:
    """Powell's hybrid method for G^p(x) = x, with differences for the Jacobian."""

    def gap(y: FloatArray) -> FloatArray:
        end = y
        for _ in range(period):
            end = system.step(end)
        return end - y

    return np.asarray(root(gap, x, method="hybr", tol=1e-14).x)


def naive_multipliers(system: Map, x: FloatArray, period: int) -> ComplexArray:
    """Eigenvalues of central differences of G^p."""
    n, h = len(x), 1e-6
    J = np.empty((n, n))
    for j in range(n):
        ends = []
        for sign in (1.0, -1.0):
            y = x.copy()
            y[j] += sign * h
            for _ in range(period):
                y = system.step(y)
            ends.append(y)
        J[:, j] = (ends[0] - ends[1]) / (2.0 * h)
    return np.linalg.eigvals(J).astype(np.complex128)


def naive_crossing(
    at: Callable[[float], Map], x: FloatArray, low: float, high: float, period: int = 1
) -> float:
    """Bisection on the parameter for the number of multipliers outside the unit circle, along a branch."""

    def outside(value: float) -> int:
        system = at(value)
        return int(np.sum(np.abs(naive_multipliers(system, naive_orbit(system, x, period), period)) > 1.0))

    before = outside(low)
    assert outside(high) != before
    for _ in range(40):
        middle = 0.5 * (low + high)
        if outside(middle) == before:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def origin_bifurcations(W: FloatArray, a: float, low: float, high: float) -> list[tuple[float, str]]:
    """The gains at which |1 - a + a g mu| = 1 for an eigenvalue mu of W, with what happens there."""
    out = []
    for mu in np.linalg.eigvals(W):
        if mu.imag < 0.0:
            continue
        for g in np.roots([(a * abs(mu)) ** 2, 2.0 * a * (1.0 - a) * mu.real, (1.0 - a) ** 2 - 1.0]):
            if abs(g.imag) < 1e-12 and low < g.real < high:
                critical = 1.0 - a + a * g.real * mu
                kind = "neimark-sacker" if mu.imag else "pitchfork" if critical.real > 0.0 else "flip"
                out.append((float(g.real), kind))
    return sorted(out)
