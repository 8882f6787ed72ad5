"""The Mackey-Glass delay equation: by the method of steps, and as a map of its history."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numba import njit
from scipy.special import lambertw

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.systems.system import Equilibrium, System, SystemMap, checked_parameters

__all__ = ["mackey_glass"]


@njit(cache=True)
def _mackey_glass_flow(x0, dt, n_steps, transient, beta, gamma, power, tau, m):  # type: ignore[no-untyped-def]
    """RK4 of step tau/m from a constant history; the delayed midpoint and the samples by cubic Hermite."""
    h = tau / m
    total = int(np.ceil((transient + dt * (n_steps - 1)) / h)) + 2
    x = np.empty(m + total + 1)
    slope = np.zeros(m + total + 1)
    x[: m + 1] = x0
    delayed = x[0]
    slope[m] = beta * delayed / (1.0 + delayed**power) - gamma * x[m]
    for k in range(m, m + total):
        early, late = x[k - m], x[k + 1 - m]
        # The history before time zero is constant: its one-sided slope at zero is 0, not slope[m].
        right = 0.0 if k + 1 - m <= m and k - m < m else slope[k + 1 - m]
        middle = 0.5 * (early + late) + 0.125 * h * (slope[k - m] - right)
        p0 = beta * early / (1.0 + early**power)
        p1 = beta * middle / (1.0 + middle**power)
        p2 = beta * late / (1.0 + late**power)
        k1 = p0 - gamma * x[k]
        k2 = p1 - gamma * (x[k] + 0.5 * h * k1)
        k3 = p1 - gamma * (x[k] + 0.5 * h * k2)
        k4 = p2 - gamma * (x[k] + h * k3)
        x[k + 1] = x[k] + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        slope[k + 1] = p2 - gamma * x[k + 1]
    samples = np.empty((n_steps, 1))
    for k in range(n_steps):
        position = (transient + k * dt) / h
        i = min(int(position), total - 1)
        s = position - i
        i += m
        a, b, da, db = x[i], x[i + 1], h * slope[i], h * slope[i + 1]
        samples[k, 0] = (
            (1.0 + 2.0 * s) * (1.0 - s) ** 2 * a
            + s * (1.0 - s) ** 2 * da
            + s * s * (3.0 - 2.0 * s) * b
            + s * s * (s - 1.0) * db
        )
    return samples


@njit(cache=True)
def _history_map(histories, n_substeps, h, beta, gamma, power):  # type: ignore[no-untyped-def]
    """Move each history (point, column), oldest first, on by RK4 steps of size h; tangents from column 1 on.

    The delayed midpoint comes from the four oldest points by the cubic through them: unlike the Hermite
    interpolation it needs no slopes, so that the points alone are the state.
    """
    for row in range(len(histories)):
        m = histories.shape[1] - 1
        width = histories.shape[2]
        x = np.empty((m + 1 + n_substeps, width))
        x[: m + 1] = histories[row]
        delayed, slope, production = np.empty(3), np.empty(3), np.empty(3)
        for k in range(m, m + n_substeps):
            o = k - m
            delayed[0], delayed[2] = x[o, 0], x[o + 1, 0]
            delayed[1] = (5.0 * x[o, 0] + 15.0 * x[o + 1, 0] - 5.0 * x[o + 2, 0] + x[o + 3, 0]) / 16.0
            for s in range(3):
                p = delayed[s] ** power
                production[s] = beta * delayed[s] / (1.0 + p)
                slope[s] = beta * (1.0 + (1.0 - power) * p) / (1.0 + p) ** 2
            for column in range(width):
                if column == 0:
                    p0, p1, p2 = production
                else:
                    p0 = slope[0] * x[o, column]
                    p1 = 5.0 * x[o, column] + 15.0 * x[o + 1, column]
                    p1 = slope[1] * (p1 - 5.0 * x[o + 2, column] + x[o + 3, column]) / 16.0
                    p2 = slope[2] * x[o + 1, column]
                now = x[k, column]
                k1 = p0 - gamma * now
                k2 = p1 - gamma * (now + 0.5 * h * k1)
                k3 = p1 - gamma * (now + 0.5 * h * k2)
                k4 = p2 - gamma * (now + h * k3)
                x[k + 1, column] = now + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        histories[row] = x[n_substeps:]


def _common_step(tau: float, dt: float, max_step: float) -> tuple[int, int]:
    """Return (m, p) with tau / m = dt / p <= max_step."""
    ratio = Fraction(tau / dt).limit_denominator(1000)
    m, p = ratio.numerator, ratio.denominator
    if m == 0 or abs(float(ratio) - tau / dt) > 1e-12 * tau / dt:
        raise InvalidInputError(
            "dt", str(dt), f"tau / dt must be a ratio of whole numbers (tau = {tau:g})",
            f"e.g. dt = {tau / max(1, round(tau / dt)):.15g}",
        )  # fmt: skip
    # The cubic needs four points.
    fold = max(math.ceil(tau / (m * max_step) * (1.0 - 1e-12)), math.ceil(3 / m))
    if m * fold > 20_000:
        raise InvalidInputError(
            "dt", str(dt), f"the history would need {m * fold} points: more than 20000",
            "take a dt with a simpler ratio to tau, or a larger max_step",
        )  # fmt: skip
    return m * fold, p * fold


def mackey_glass(tau: float = 17.0, *, beta: float = 0.2, gamma: float = 0.1, power: float = 10.0) -> System:
    r"""Mackey-Glass: x'(t) = beta x(t - tau) / (1 + x(t - tau)^power) - gamma x(t).

    M. C. Mackey, L. Glass, Science 197 (1977) 287, doi:10.1126/science.267326, eq. (4b). The history before
    time zero is constant. RK4 of step tau / ceil(tau / 0.02) with cubic Hermite interpolation.
    At an equilibrium the eigenvalues are lambda_k = W_k(c tau exp(gamma tau)) / tau - gamma with Lambert's
    W and c the slope of the production term; the eight leading ones are given.
    """
    checked_parameters(tau=tau, beta=beta, gamma=gamma, power=power)
    if not tau > 0.0:
        raise InvalidInputError("tau", str(tau), "the delay must be positive")
    usual = (tau, beta, gamma, power) == (17.0, 0.2, 0.1, 10.0)

    def equilibria() -> list[Equilibrium]:
        points = [0.0] + ([(beta / gamma - 1.0) ** (1.0 / power)] if beta > gamma else [])
        found = []
        for x in points:
            slope = beta * (1.0 + (1.0 - power) * x**power) / (1.0 + x**power) ** 2
            branches = lambertw(slope * tau * math.exp(gamma * tau), np.arange(-8, 9)) / tau - gamma
            order = np.lexsort((-branches.imag, -branches.real.round(12)))
            found.append(Equilibrium(np.array([x]), branches[order][:8].astype(np.complex128)))
        return found

    def integrate(x0: FloatArray, dt: float, n_steps: int, transient: float) -> FloatArray:
        m = math.ceil(tau / 0.02)
        return np.asarray(
            _mackey_glass_flow(float(x0[0]), dt, n_steps, transient, beta, gamma, power, tau, m)
        )

    def as_map(system: System, dt: float, max_step: float | None) -> SystemMap:
        m, p = _common_step(tau, dt, min(0.1, tau / 170.0) if max_step is None else max_step)
        h = tau / m

        def advance(states: FloatArray) -> FloatArray:
            histories = states[:, :, None].copy()
            _history_map(histories, p, h, beta, gamma, power)
            # Off the reals (a negative base) or beyond them: the solution has left.
            return np.where(np.isnan(histories[:, :, 0]), np.inf, histories[:, :, 0])

        def tangent(x: FloatArray, V: FloatArray) -> tuple[FloatArray, FloatArray]:
            history = np.column_stack([x, V])[None]
            _history_map(history, p, h, beta, gamma, power)
            return history[0, :, 0].copy(), history[0, :, 1:].copy()

        x0 = system.trajectory(m + 1, h)[:, 0]
        x0.setflags(write=False)
        return SystemMap(system.name, m + 1, dt, x0, advance, tangent)

    return System(
        name="mackey-glass", title="Mackey-Glass", kind="delay", dimension=1, dt=1.0,
        parameters={"tau": tau, "beta": beta, "gamma": gamma, "power": power},
        # RK4 of the variational equation, step 0.1, 3.3e5 time units, QR every delay.
        lyapunov_exponents=(0.0052, 0.0, -0.0388) if usual else (),
        source="M. C. Mackey, L. Glass 1977; exponents at tau = 17 from the variational equation",
        x0=(1.2,), transient=1000.0,
        _integrate=integrate, _equilibria=equilibria, _as_map=as_map,
    )  # fmt: skip
