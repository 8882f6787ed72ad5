"""Slow, obvious twins of `esntools.excitable`: one state at a time, plain loops, every amplitude."""

from __future__ import annotations

import itertools
import math

import numpy as np

from esntools._typing import FloatArray
from esntools.maps import Map


def naive_end(system: Map, x: FloatArray, attractors: list[FloatArray], n_steps: int = 3000) -> int:
    """Return the attractor (an array of its states) that a state is on after many steps; -1 for none."""
    rest = np.zeros(system.n_inputs)
    for _ in range(n_steps):
        x = system.step(x, rest)
    gaps = [float(np.min(np.max(np.abs(states - x), axis=1))) for states in attractors]
    return int(np.argmin(gaps)) if min(gaps) < 1e-6 else -1


def naive_after_pulse(system: Map, x: FloatArray, pulse: FloatArray, length: int = 1) -> FloatArray:
    for _ in range(length):
        x = system.step(x, pulse)
    return x


def naive_first_amplitude(
    system: Map,
    x: FloatArray,
    pulse: FloatArray,
    target: int,
    attractors: list[FloatArray],
    *,
    most: float,
    n: int,
    length: int = 1,
    n_steps: int = 600,
) -> tuple[float, float]:
    """Return the last amplitude of a mesh before the pulse first leads to the target, and that amplitude."""
    before = 0.0
    for k in range(1, n + 1):
        g = most * k / n
        end = naive_end(system, naive_after_pulse(system, x, g * pulse, length), attractors, n_steps)
        if end == target:
            return before, g
        before = g
    return math.nan, math.nan


def naive_branch_ends(system: Map, x: FloatArray, attractors: list[FloatArray]) -> list[int]:
    """Return the attractors on the two sides of an unstable point with one unstable direction.

    A random step is grown by the map itself until only its unstable part is left of it.
    """
    step = np.random.default_rng(0).standard_normal(len(x))
    for _ in range(400):
        step = 1e-7 * step / np.linalg.norm(step)
        step = system.step(x + step, np.zeros(system.n_inputs)) - x
    return sorted(naive_end(system, x + sign * step, attractors) for sign in (-1.0, 1.0))


def naive_largest_gap(thresholds: list[float]) -> tuple[float | None, float | None]:
    """Return the amplitude in the middle of the largest ratio of neighbours, if that is 2 or more."""
    values = sorted(set(thresholds))
    best, at = 1.0, math.nan
    for a, b in itertools.pairwise(values):
        if b / a > best:
            best, at = b / a, math.sqrt(a * b)
    return (at, best) if best >= 2.0 else (None, None)
