"""Slow, obvious twins of the echo index: single states, plain loops, no proof."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from esntools._typing import FloatArray

Step = Callable[[float], float]


def leaky_tanh(a: float, w: float, u: float) -> Step:
    """One neuron under a constant input, from its equation alone."""
    return lambda y: (1.0 - a) * y + a * math.tanh(w * y + u)


def naive_fixed_points(f: Step, low: float = -1.0, high: float = 1.0, n: int = 40001) -> list[float]:
    """Fixed points with a change of sign on a fine grid, by bisection."""
    grid = [low - 1e-9 + (high - low + 2e-9) * k / (n - 1) for k in range(n)]
    found = []
    for y, z in itertools.pairwise(grid):
        if (f(y) - y) * (f(z) - z) < 0.0:
            sign = f(y) - y
            for _ in range(80):
                m = 0.5 * (y + z)
                y, z = (m, z) if (f(m) - m) * sign > 0.0 else (y, m)
            found.append(0.5 * (y + z))
    return found


def word_map(maps: Sequence[Step]) -> Step:
    def f(y: float) -> float:
        for step in maps:
            y = step(y)
        return y

    return f


def naive_attracting(f: Step) -> int:
    """Attracting fixed points of an increasing map: those where f - id goes down through zero."""
    return sum(f(p - 1e-7) > p - 1e-7 for p in naive_fixed_points(f))


def naive_shortest(hold: Step, others: Sequence[Step], M: int, most: int = 60) -> int | None:
    """The least m for which no sequence found by greed carries the upper point below the boundary."""
    low, boundary, high = naive_fixed_points(hold)
    for m in range(1, most + 1):
        alive = True
        for start, least, beyond in (
            (high, min, lambda y: y < boundary),
            (low, max, lambda y: y > boundary),
        ):
            y = start
            for _ in range(3000):
                for _ in range(m):
                    y = hold(y)
                ends = [y]
                for _ in range(M):
                    ends.append(least(other(ends[-1]) for other in others))
                before, y = y, least(ends)
                if beyond(y):
                    alive = False
                    break
            del before
        if alive:
            return m
    return None


def authors_count(W: FloatArray, W_in: FloatArray, a: float, u: FloatArray, x0: FloatArray) -> int:
    """Single-linkage clusters of end points at the cutoff 0.05, as the authors of the 2023 paper count."""
    ends = []
    for x in x0:
        for row in u:
            x = (1.0 - a) * x + a * np.tanh(W @ x + W_in @ row)
        ends.append(x)
    label = list(range(len(ends)))
    for i in range(len(ends)):
        for j in range(i):
            if np.linalg.norm(ends[i] - ends[j]) < 0.05:
                old, new = label[i], label[j]
                label = [new if v == old else v for v in label]
    return len(set(label))
