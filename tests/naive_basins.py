"""Slow, obvious twins of `esntools.basins`: one state at a time, plain loops, no early stop."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import root

from esntools._typing import FloatArray, IntArray
from esntools.maps import Map


def naive_label(system: Map, x: FloatArray, attractors: list[FloatArray], n_steps: int = 5000) -> int:
    """Return the nearest attractor (an array of its states) after many steps; -1 beyond 1e6, -2 if none."""
    for _ in range(n_steps):
        x = system.step(x)
        if not np.all(np.abs(x) < 1e6):
            return -1
    gaps = [float(np.min(np.max(np.abs(states - x), axis=1))) for states in attractors]
    return int(np.argmin(gaps)) if min(gaps) < 1e-6 else -2


def naive_edge_point(system: Map, a: FloatArray, b: FloatArray, n_steps: int = 4000) -> FloatArray:
    """Halve the segment to the last bit, follow its ends to where they move least, solve from there."""

    def end(x: FloatArray) -> FloatArray:
        for _ in range(n_steps):
            x = system.step(x)
        return x

    end_a = end(a)
    for _ in range(60):
        middle = a + 0.49 * (b - a)
        if np.max(np.abs(end(middle) - end_a)) < 1e-6:
            a = middle
        else:
            b = middle
    best, least = a, np.inf
    while np.max(np.abs(b - a)) < 1e-2:
        moved = float(np.max(np.abs(system.step(a) - a)))
        if moved < least:
            best, least = a, moved
        a, b = system.step(a), system.step(b)
    return np.asarray(root(lambda z: system.step(z) - z, best, tol=1e-13).x)


def naive_entropy(labels: IntArray, side: int) -> tuple[float, float]:
    """Return the basin entropy and the boundary basin entropy of a two-dimensional grid."""
    every, boundary = [], []
    for i in range(0, labels.shape[0] - side + 1, side):
        for j in range(0, labels.shape[1] - side + 1, side):
            box = [int(v) for row in labels[i : i + side, j : j + side] for v in row]
            total = 0.0
            for value in set(box):
                p = box.count(value) / len(box)
                total -= p * math.log(p)
            every.append(total)
            if len(set(box)) > 1:
                boundary.append(total)
    return sum(every) / len(every), sum(boundary) / len(boundary)


def naive_uncertain_fraction(labels: IntArray, side: int) -> float:
    """Return the share of boxes of a two-dimensional grid with more than one label."""
    n = mixed = 0
    for i in range(0, labels.shape[0] - side + 1, side):
        for j in range(0, labels.shape[1] - side + 1, side):
            n += 1
            mixed += len(set(labels[i : i + side, j : j + side].ravel().tolist())) > 1
    return mixed / n


def naive_groups(runs: FloatArray, n_batches: int, limit: float) -> list[set[int]]:
    """Group runs (n_runs, n_steps, n_units) by the means of x and x^2 over batches, pair by pair."""
    n_runs, n_steps, _ = runs.shape
    length = n_steps // n_batches
    statistics = []
    for run in runs:
        values = np.concatenate([run, run**2], axis=1)
        means = np.array([values[k * length : (k + 1) * length].mean(axis=0) for k in range(n_batches)])
        m, s = means.mean(axis=0), means.std(axis=0, ddof=1) / math.sqrt(n_batches)
        for i in range(run.shape[1]):
            x = run[: n_batches * length, i]
            s[i] = math.hypot(s[i], 2e-4 * x.std())
            s[i + run.shape[1]] = math.hypot(
                s[i + run.shape[1]], 2e-4 * 2.0 * math.sqrt(np.mean(x**2)) * x.std()
            )
        statistics.append((m, s))
    groups = [{i} for i in range(n_runs)]
    for i in range(n_runs):
        for j in range(i):
            (m, s), (n, t) = statistics[i], statistics[j]
            if max(abs(a - b) / math.hypot(c, d) for a, b, c, d in zip(m, n, s, t)) < limit:
                first = next(g for g in groups if i in g)
                second = next(g for g in groups if j in g)
                if first is not second:
                    groups.remove(second)
                    first |= second
    return groups
