"""Slow, obvious twins of `esntools.excitable.driven`: single units from their equation, planes by angles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork

Step = Callable[[float], float]


def unit(w: float, a: float = 1.0) -> Callable[[float], Step]:
    """Return, for an input u, the step of one neuron, from its equation alone."""
    return lambda u: lambda y: (1.0 - a) * y + a * math.tanh(w * y + u)


def preimage(step: Step, y: float) -> float:
    """Return the state that an increasing step leads to y, by bisection; the ends of [-2, 2] otherwise."""
    low, high = -2.0, 2.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if step(middle) < y else (low, middle)
    return 0.5 * (low + high)


def scalar_boundary(steps: Sequence[Step], end: float = 0.0) -> list[float]:
    """Return the boundary between two responses at every time, from the last one backwards.

    Forwards it repels, so that backwards every state between the two comes to it.
    """
    out = [end]
    for step in reversed(steps):
        out.append(preimage(step, out[-1]))
    return out[::-1]


def scalar_run(steps: Sequence[Step], y: float) -> list[float]:
    out = [y]
    for step in steps:
        out.append(step(out[-1]))
    return out


def naive_label(
    network: EchoStateNetwork, x: FloatArray, u: FloatArray, time: int, curves: Sequence[FloatArray]
) -> int:
    """Return the curve that is nearest at the end of the series, for one state at one time."""
    for row in u[time:]:
        x = network.step(x, row)
    return int(np.argmin([np.max(np.abs(x - curve[-1])) for curve in curves]))


def naive_threshold(
    network: EchoStateNetwork, x: FloatArray, u: FloatArray, time: int, curves: Sequence[FloatArray],
    target: int, far: float,
) -> tuple[float, FloatArray]:  # fmt: skip
    """Return the least kick of a plane into the target's basin, over all angles, then over finer ones."""

    def lands(X: FloatArray) -> FloatArray:
        for row in u[time:]:
            X = network.step(X, np.broadcast_to(row, (len(X), len(row))))
        gaps = np.stack([np.max(np.abs(X - curve[-1]), axis=1) for curve in curves], axis=1)
        return np.asarray(np.argmin(gaps, axis=1) == target)

    angles = np.linspace(0.0, 2.0 * np.pi, 181)[:-1]
    for width in (2.0 * np.pi / 180, 2.0 * np.pi / 180**2, 0.0):
        V = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        low, high = np.zeros(len(V)), np.full(len(V), np.inf)
        for radius in np.linspace(0.0, far, 41)[1:]:
            open_ = ~np.isfinite(high)
            hit = lands(x + radius * V)
            high[open_ & hit] = radius
            low[open_ & ~hit] = radius
        met = np.isfinite(high)
        for _ in range(34):
            middle = np.where(met, 0.5 * (low + np.where(met, high, 0.0)), 0.0)
            hit = lands(x + middle[:, None] * V)
            high = np.where(met & hit, middle, high)
            low = np.where(met & ~hit, middle, low)
        best = int(np.argmin(high))
        angles = angles[best] + np.linspace(-width, width, 61)
    return float(high[best]), V[best]
