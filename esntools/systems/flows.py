"""Quadratic flows, integrated with their variational equation by Taylor series."""

from __future__ import annotations

import cmath
import math
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.arguments import whole_number
from esntools.systems.system import Equilibrium, System, SystemMap, checked_parameters, sorted_eigenvalues

__all__ = ["hyperchaotic_rossler", "lorenz63", "lorenz96", "rossler"]

_ORDER: Final = 24


@njit(cache=True)
def _taylor_series(X, c, A, quadratic, coefficients):  # type: ignore[no-untyped-def]
    """Taylor coefficients of x(t) for x' = c + A x + sum of g x_i x_j, by the product recursion.

    X holds x and, in its further columns, tangent vectors: v' = A v + sum of g (x_i v_j + v_i x_j).
    """
    d, width = X.shape
    order = coefficients.shape[0] - 1
    coefficients[0] = X
    for n in range(order):
        new = coefficients[n + 1]
        for i in range(d):
            for column in range(width):
                total = c[i] if n == 0 and column == 0 else 0.0
                for j in range(d):
                    total += A[i, j] * coefficients[n, j, column]
                new[i, column] = total
        for term in range(quadratic.shape[0]):
            i, j, k = int(quadratic[term, 0]), int(quadratic[term, 1]), int(quadratic[term, 2])
            g = quadratic[term, 3]
            total = 0.0
            for m in range(n + 1):
                total += coefficients[m, j, 0] * coefficients[n - m, k, 0]
            new[i, 0] += g * total
            if width > 1:
                for m in range(n + 1):
                    left = g * coefficients[m, j, 0]
                    right = g * coefficients[n - m, k, 0]
                    for column in range(1, width):
                        new[i, column] += (
                            left * coefficients[n - m, k, column] + right * coefficients[m, j, column]
                        )
        for i in range(d):
            for column in range(width):
                new[i, column] /= n + 1


@njit(cache=True)
def _taylor_advance(X, duration, c, A, quadratic, coefficients):  # type: ignore[no-untyped-def]
    """Move X on by `duration` in steps whose last two Taylor terms stay below rounding."""
    order = coefficients.shape[0] - 1
    left = duration
    while left > 0.0:
        _taylor_series(X, c, A, quadratic, coefficients)
        size = np.max(np.abs(coefficients[0])) + 1e-3
        step = left
        for n in (order - 1, order):
            largest = np.max(np.abs(coefficients[n]))
            if np.isnan(largest):
                size = np.inf
            elif largest > 0.0:
                step = min(step, (2e-17 * size / largest) ** (1.0 / n))
        # Steps that no longer get anywhere: the solution ends here.
        if not (step >= min(left, 1e-14 * duration) and np.isfinite(size)):
            X[:] = np.inf
            return
        for i in range(X.shape[0]):
            for column in range(X.shape[1]):
                total = coefficients[order, i, column]
                for n in range(order - 1, -1, -1):
                    total = total * step + coefficients[n, i, column]
                X[i, column] = total
        left -= step


@njit(cache=True)
def _taylor_flow(x0, dt, n_steps, transient, c, A, quadratic, order):  # type: ignore[no-untyped-def]
    x = x0.copy().reshape(-1, 1)
    coefficients = np.zeros((order + 1, len(x), 1))
    samples = np.empty((n_steps, len(x)))
    _taylor_advance(x, transient, c, A, quadratic, coefficients)
    samples[0] = x[:, 0]
    for k in range(1, n_steps):
        _taylor_advance(x, dt, c, A, quadratic, coefficients)
        samples[k] = x[:, 0]
    return samples


@njit(cache=True)
def _taylor_batch(states, dt, c, A, quadratic, order):  # type: ignore[no-untyped-def]
    after = states.copy()
    coefficients = np.zeros((order + 1, states.shape[1], 1))
    for row in range(len(after)):
        _taylor_advance(after[row].reshape(-1, 1), dt, c, A, quadratic, coefficients)
    return after


@njit(cache=True)
def _taylor_tangent(x, V, dt, c, A, quadratic, order):  # type: ignore[no-untyped-def]
    """Return x(dt) and the columns of V moved with it; a column's length is taken out on the way."""
    d, k = V.shape
    X = np.empty((d, k + 1))
    X[:, 0] = x
    length = np.empty(k)
    for column in range(k):
        length[column] = np.max(np.abs(V[:, column]))
        X[:, column + 1] = V[:, column] / (length[column] if length[column] > 0.0 else 1.0)
    _taylor_advance(X, dt, c, A, quadratic, np.zeros((order + 1, d, k + 1)))
    return X[:, 0].copy(), X[:, 1:] * length


def _quadratic_flow(c: ArrayLike, A: ArrayLike, quadratic: ArrayLike) -> dict[str, Any]:
    """Return the integrator and the map of x' = c + A x + sum of g x_i x_j, rows (equation, i, j, g)."""
    parts = tuple(np.array(part, dtype=np.float64) for part in (c, A, quadratic))

    def integrate(x0: FloatArray, dt: float, n_steps: int, transient: float) -> FloatArray:
        return np.asarray(_taylor_flow(x0, dt, n_steps, transient, *parts, _ORDER))

    def as_map(system: System, dt: float, _max_step: float | None) -> SystemMap:
        # Copies: a read-only array is another type to the compiler, which would compile everything again.
        def advance(states: FloatArray) -> FloatArray:
            return np.asarray(_taylor_batch(np.array(states, order="C"), dt, *parts, _ORDER))

        def tangent(x: FloatArray, V: FloatArray) -> tuple[FloatArray, FloatArray]:
            after, moved = _taylor_tangent(np.array(x, order="C"), np.array(V, order="C"), dt, *parts, _ORDER)
            return after, moved

        x0 = system.trajectory(1)[0]
        x0.setflags(write=False)
        return SystemMap(system.name, system.dimension, dt, x0, advance, tangent)

    return {"_integrate": integrate, "_as_map": as_map}


def lorenz63(*, sigma: float = 10.0, rho: float = 28.0, beta: float = 8.0 / 3.0) -> System:
    r"""Lorenz '63: x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z.

    E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2,
    eqs. (25)-(27). Integrated by the Taylor series method of order 24 (A. Jorba, M. Zou, Exp. Math. 14
    (2005) 99, doi:10.1080/10586458.2005.10128904).
    """
    checked_parameters(sigma=sigma, rho=rho, beta=beta)
    usual = (sigma, rho, beta) == (10.0, 28.0, 8.0 / 3.0)

    def equilibria() -> list[Equilibrium]:
        r = math.sqrt(beta * (rho - 1.0)) if rho > 1.0 else 0.0
        points = [(0.0, 0.0, 0.0)] + ([(r, r, rho - 1.0), (-r, -r, rho - 1.0)] if r else [])
        return [
            Equilibrium(
                np.array((x, y, z)),
                sorted_eigenvalues([[-sigma, sigma, 0.0], [rho - z, -1.0, -x], [y, x, -beta]]),
            )
            for x, y, z in points
        ]

    return System(
        name="lorenz63", title="Lorenz '63", kind="flow", dimension=3, dt=0.05,
        parameters={"sigma": sigma, "rho": rho, "beta": beta},
        lyapunov_exponents=(0.9056, 0.0, -14.5723) if usual else (),
        source="E. N. Lorenz 1963; exponents: J. C. Sprott, Chaos and Time-Series Analysis (2003), p. 431",
        x0=(-8.0, 8.0, 27.0), transient=50.0,
        _equilibria=equilibria,
        **_quadratic_flow(
            [0.0, 0.0, 0.0],
            [[-sigma, sigma, 0.0], [rho, -1.0, 0.0], [0.0, 0.0, -beta]],
            [[1, 0, 2, -1.0], [2, 0, 1, 1.0]],
        ),
    )  # fmt: skip


def rossler(*, a: float = 0.2, b: float = 0.2, c: float = 5.7) -> System:
    r"""Rössler: x' = -y - z, y' = x + a y, z' = b + z (x - c).

    O. E. Rössler, Phys. Lett. A 57 (1976) 397, doi:10.1016/0375-9601(76)90101-8, eq. (2).
    """
    checked_parameters(a=a, b=b, c=c)
    usual = (a, b, c) == (0.2, 0.2, 5.7)

    def equilibria() -> list[Equilibrium]:
        root = math.sqrt(c * c - 4.0 * a * b)
        found = []
        for x in (2.0 * a * b / (c + root), 0.5 * (c + root)):
            z = x / a
            jacobian = [[0.0, -1.0, -1.0], [1.0, a, 0.0], [z, 0.0, x - c]]
            found.append(Equilibrium(np.array((x, -z, z)), sorted_eigenvalues(jacobian)))
        return found

    return System(
        name="rossler", title="Rössler", kind="flow", dimension=3, dt=0.2,
        parameters={"a": a, "b": b, "c": c},
        lyapunov_exponents=(0.0714, 0.0, -5.3943) if usual else (),
        source="O. E. Rössler 1976; exponents: J. C. Sprott, Chaos and Time-Series Analysis (2003), p. 431",
        x0=(-9.0, 0.0, 0.0), transient=200.0,
        _equilibria=equilibria,
        **_quadratic_flow(
            [0.0, 0.0, b],
            [[0.0, -1.0, -1.0], [1.0, a, 0.0], [0.0, 0.0, -c]],
            [[2, 0, 2, 1.0]],
        ),
    )  # fmt: skip


def hyperchaotic_rossler(*, a: float = 0.25, b: float = 3.0, c: float = 0.5, d: float = 0.05) -> System:
    r"""Rössler's hyperchaos: x' = -y - z, y' = x + a y + w, z' = b + x z, w' = d w - c z.

    Two exponents are positive. O. E. Rössler, Phys. Lett. A 71 (1979) 155,
    doi:10.1016/0375-9601(79)90150-6, eq. (2).
    """
    checked_parameters(a=a, b=b, c=c, d=d)
    usual = (a, b, c, d) == (0.25, 3.0, 0.5, 0.05)

    def equilibria() -> list[Equilibrium]:
        # y = -z and w = c z / d leave x = (a - c / d) z and b + x z = 0.
        slope = a - c / d if d else math.nan
        if not b / -slope > 0.0:
            return []
        found = []
        for z in (math.sqrt(b / -slope), -math.sqrt(b / -slope)):
            x = slope * z
            jacobian = [[0.0, -1.0, -1.0, 0.0], [1.0, a, 0.0, 1.0], [z, 0.0, x, 0.0], [0.0, 0.0, -c, d]]
            found.append(Equilibrium(np.array((x, -z, z, c * z / d)), sorted_eigenvalues(jacobian)))
        return found

    return System(
        name="hyperchaotic-rossler", title="Rössler's hyperchaos", kind="flow", dimension=4, dt=0.1,
        parameters={"a": a, "b": b, "c": c, "d": d},
        lyapunov_exponents=(0.112, 0.022, 0.0) if usual else (),
        source="O. E. Rössler 1979; leading exponents from the variational equation, 8e4 time units",
        x0=(-20.0, 0.0, 0.0, 15.0), transient=200.0,
        _equilibria=equilibria,
        **_quadratic_flow(
            [0.0, 0.0, b, 0.0],
            [[0.0, -1.0, -1.0, 0.0], [1.0, a, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -c, d]],
            [[2, 0, 2, 1.0]],
        ),
    )  # fmt: skip


def lorenz96(n: int = 8, *, forcing: float = 8.0) -> System:
    r"""Lorenz '96: x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing, on a ring of n places.

    Of the equilibria only the uniform one, x_i = forcing, is listed; its eigenvalues are
    :math:`-1 + F (e^{i\theta} - e^{-2 i \theta})` at :math:`\theta = 2 \pi k / n`. E. N. Lorenz, Proc.
    Seminar on Predictability, ECMWF (1996), vol. 1, p. 1, eq. (1); the sum of the exponents is -n.
    """
    checked_parameters(forcing=forcing)
    n = whole_number(n, "n", 4)

    def equilibria() -> list[Equilibrium]:
        angles = [2.0 * math.pi * k / n for k in range(n)]
        values = np.array([-1.0 + forcing * (cmath.exp(1j * s) - cmath.exp(-2j * s)) for s in angles])
        order = np.lexsort((-values.imag, -values.real.round(12)))
        return [Equilibrium(np.full(n, forcing), values[order])]

    terms: list[list[float]] = [[i, (i + 1) % n, (i - 1) % n, 1.0] for i in range(n)]
    terms += [[i, (i - 2) % n, (i - 1) % n, -1.0] for i in range(n)]
    return System(
        name="lorenz96", title="Lorenz '96", kind="flow", dimension=n, dt=0.05,
        parameters={"n": n, "forcing": forcing},
        lyapunov_exponents=(),
        source="E. N. Lorenz 1996",
        x0=tuple(forcing + 0.01 * math.cos(i * i) for i in range(n)), transient=100.0,
        _equilibria=equilibria,
        **_quadratic_flow(np.full(n, forcing), -np.eye(n), terms),
    )  # fmt: skip
