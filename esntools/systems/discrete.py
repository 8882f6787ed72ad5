"""Maps of the line and of the plane: logistic, Hénon, Ikeda and the standard map."""

from __future__ import annotations

import itertools
import math
from typing import Any, Final

import numpy as np
from numba import njit
from scipy.optimize import brentq

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.systems.system import Equilibrium, System, SystemMap, checked_parameters, sorted_eigenvalues

__all__ = ["henon", "ikeda", "logistic", "standard_map"]

# Numba caches compiled code for a number, not for a function that is handed over.
_LOGISTIC: Final = 0
_HENON: Final = 1
_IKEDA: Final = 2
_STANDARD: Final = 3


@njit(cache=True)
def _move(which, x, p):  # type: ignore[no-untyped-def]
    """Replace the state x by its image."""
    if which == _LOGISTIC:
        x[0] = p[0] * x[0] * (1.0 - x[0])
    elif which == _HENON:
        x[0], x[1] = 1.0 - p[0] * x[0] * x[0] + x[1], p[1] * x[0]
    elif which == _IKEDA:
        phase = p[1] - p[2] / (1.0 + x[0] * x[0] + x[1] * x[1])
        c, s = p[0] * math.cos(phase), p[0] * math.sin(phase)
        x[0], x[1] = 1.0 + c * x[0] - s * x[1], s * x[0] + c * x[1]
    else:
        x[1] = (x[1] + p[0] * math.sin(x[0])) % (2.0 * math.pi)
        x[0] = (x[0] + x[1]) % (2.0 * math.pi)


@njit(cache=True)
def _derivative(which, x, p):  # type: ignore[no-untyped-def]
    """Return the Jacobian at x."""
    J = np.empty((len(x), len(x)))
    if which == _LOGISTIC:
        J[0, 0] = p[0] * (1.0 - 2.0 * x[0])
    elif which == _HENON:
        J[0, 0], J[0, 1], J[1, 0], J[1, 1] = -2.0 * p[0] * x[0], 1.0, p[1], 0.0
    elif which == _IKEDA:
        q = 1.0 + x[0] * x[0] + x[1] * x[1]
        phase = p[1] - p[2] / q
        c, s = p[0] * math.cos(phase), p[0] * math.sin(phase)
        turn_x, turn_y = 2.0 * p[2] * x[0] / (q * q), 2.0 * p[2] * x[1] / (q * q)
        across, along = -s * x[0] - c * x[1], c * x[0] - s * x[1]
        J[0, 0], J[0, 1] = c + across * turn_x, -s + across * turn_y
        J[1, 0], J[1, 1] = s + along * turn_x, c + along * turn_y
    else:
        kick = p[0] * math.cos(x[0])
        J[0, 0], J[0, 1], J[1, 0], J[1, 1] = 1.0 + kick, 1.0, kick, 1.0
    return J


@njit(cache=True)
def _orbit(which, x0, n_steps, n_dropped, p):  # type: ignore[no-untyped-def]
    x = x0.copy()
    samples = np.empty((n_steps, len(x)))
    for k in range(n_dropped + n_steps):
        if k >= n_dropped:
            samples[k - n_dropped] = x
        _move(which, x, p)
    return samples


@njit(cache=True)
def _advance(which, states, p):  # type: ignore[no-untyped-def]
    after = states.copy()
    for row in range(len(after)):
        _move(which, after[row], p)
        for value in after[row]:
            if not np.isfinite(value):
                after[row] = np.inf
                break
    return after


@njit(cache=True)
def _tangent(which, x, V, p):  # type: ignore[no-untyped-def]
    J = _derivative(which, x, p)
    after = x.copy()
    _move(which, after, p)
    return after, J @ V


def _plane_map(which: int, *parameters: float) -> dict[str, Any]:
    p = np.array(parameters, dtype=np.float64)

    def integrate(x0: FloatArray, _dt: float, n_steps: int, transient: float) -> FloatArray:
        return np.asarray(_orbit(which, x0, n_steps, int(round(transient)), p))

    def as_map(system: System, dt: float, _max_step: float | None) -> SystemMap:
        # Copies: a read-only array is another type to the compiler, which would compile everything again.
        def advance(states: FloatArray) -> FloatArray:
            return np.asarray(_advance(which, np.array(states, order="C"), p))

        def tangent(x: FloatArray, V: FloatArray) -> tuple[FloatArray, FloatArray]:
            after, moved = _tangent(which, np.array(x, order="C"), np.array(V, order="C"), p)
            return after, moved

        x0 = system.trajectory(1)[0]
        x0.setflags(write=False)
        return SystemMap(system.name, system.dimension, dt, x0, advance, tangent)

    return {"_integrate": integrate, "_as_map": as_map}


def _fixed_point(which: int, x: tuple[float, ...], *parameters: float) -> Equilibrium:
    state = np.array(x, dtype=np.float64)
    jacobian = _derivative(which, state, np.array(parameters, dtype=np.float64))
    return Equilibrium(state, sorted_eigenvalues(jacobian, by_modulus=True))


def logistic(r: float = 4.0) -> System:
    r"""Logistic map: x' = r x (1 - x).

    R. M. May, Nature 261 (1976) 459, doi:10.1038/261459a0, eq. (3). At r = 4 the exponent is ln 2.

    Examples
    --------
    >>> logistic(3.5).trajectory(4)[:, 0].round(6)
    array([0.38282 , 0.826941, 0.500884, 0.874997])
    """
    checked_parameters(r=r)

    def equilibria() -> list[Equilibrium]:
        points = [0.0] + ([1.0 - 1.0 / r] if r not in (0.0, 1.0) else [])
        return [_fixed_point(_LOGISTIC, (x,), r) for x in points]

    return System(
        name="logistic", title="Logistic map", kind="map", dimension=1, dt=1.0,
        parameters={"r": r},
        lyapunov_exponents=(math.log(2.0),) if r == 4.0 else (),
        source="R. M. May 1976; exponent: conjugate to the tent map",
        x0=(0.4,), transient=1000.0,
        _equilibria=equilibria,
        **_plane_map(_LOGISTIC, r),
    )  # fmt: skip


def henon(*, a: float = 1.4, b: float = 0.3) -> System:
    r"""Hénon map: x' = 1 - a x^2 + y, y' = b x.

    M. Hénon, Comm. Math. Phys. 50 (1976) 69, doi:10.1007/BF01608556, eq. (4).
    """
    checked_parameters(a=a, b=b)
    usual = (a, b) == (1.4, 0.3)

    def equilibria() -> list[Equilibrium]:
        root = math.sqrt((1.0 - b) ** 2 + 4.0 * a)
        return [
            _fixed_point(_HENON, (x, b * x), a, b)
            for x in ((-(1.0 - b) + root) / (2.0 * a), (-(1.0 - b) - root) / (2.0 * a))
        ]

    return System(
        name="henon", title="Hénon map", kind="map", dimension=2, dt=1.0,
        parameters={"a": a, "b": b},
        lyapunov_exponents=(0.41922, -1.62319) if usual else (),
        source="M. Hénon 1976; exponents: J. C. Sprott, Chaos and Time-Series Analysis (2003), p. 421",
        x0=(0.1, 0.0), transient=1000.0,
        _equilibria=equilibria,
        **_plane_map(_HENON, a, b),
    )  # fmt: skip


def ikeda(u: float = 0.9, *, phase: float = 0.4, kerr: float = 6.0) -> System:
    r"""Ikeda map: z' = 1 + u z exp(i t), t = phase - kerr / (1 + |z|^2), as (Re z, Im z).

    Its determinant is u^2 everywhere. K. Ikeda, Opt. Commun. 30 (1979) 257,
    doi:10.1016/0030-4018(79)90090-7; in this form S. M. Hammel, C. K. R. T. Jones, J. V. Moloney, J. Opt.
    Soc. Am. B 2 (1985) 552, doi:10.1364/JOSAB.2.000552. A fixed point has z (1 - u exp(i t)) = 1, one
    equation for :math:`|z|^2`, whose roots are taken from the sign changes on a fine grid.
    """
    checked_parameters(u=u, phase=phase, kerr=kerr)
    if not 0.0 < u < 1.0:
        raise InvalidInputError("u", str(u), "the map is dissipative and bounded for 0 < u < 1")
    usual = (u, phase, kerr) == (0.9, 0.4, 6.0)

    def angle(q: float) -> float:
        return phase - kerr / (1.0 + q)

    def equation(q: float) -> float:
        return q * (1.0 - 2.0 * u * math.cos(angle(q)) + u * u) - 1.0

    def equilibria() -> list[Equilibrium]:
        # Between these ends the equation holds for some cosine.
        grid = np.geomspace(0.99 / (1.0 + u) ** 2, 1.01 / (1.0 - u) ** 2, 4001)
        found = []
        for low, high in itertools.pairwise(grid):
            if equation(low) * equation(high) < 0.0:
                q = brentq(equation, low, high, xtol=1e-15, rtol=1e-15)
                z = 1.0 / (1.0 - u * complex(math.cos(angle(q)), math.sin(angle(q))))
                found.append(_fixed_point(_IKEDA, (z.real, z.imag), u, phase, kerr))
        return found

    return System(
        name="ikeda", title="Ikeda map", kind="map", dimension=2, dt=1.0,
        parameters={"u": u, "phase": phase, "kerr": kerr},
        lyapunov_exponents=(0.5074, -0.7181) if usual else (),
        source="K. Ikeda 1979; exponents from 2e7 steps of the tangent map",
        x0=(0.1, 0.1), transient=1000.0,
        _equilibria=equilibria,
        **_plane_map(_IKEDA, u, phase, kerr),
    )  # fmt: skip


def standard_map(k: float = 8.0) -> System:
    r"""Standard map: p' = p + k sin x, x' = x + p', both modulo 2 pi, as (x, p).

    It keeps areas: no attractor, and the exponents sum to zero. Where no islands are left, for large k, the
    largest is near ln(k / 2). B. V. Chirikov, Phys. Rep. 52 (1979) 263, doi:10.1016/0370-1573(79)90023-1.
    """
    checked_parameters(k=k)

    def equilibria() -> list[Equilibrium]:
        return [_fixed_point(_STANDARD, (x, 0.0), k) for x in (0.0, math.pi)]

    return System(
        name="standard", title="Standard map", kind="map", dimension=2, dt=1.0,
        parameters={"k": k},
        lyapunov_exponents=(),
        source="B. V. Chirikov 1979",
        x0=(1.0, 0.5), transient=0.0,
        _equilibria=equilibria,
        **_plane_map(_STANDARD, k),
    )  # fmt: skip
