"""Gated cells one unit at a time, and their fixed points by SciPy's root finder from many starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize


def sigma(a: float) -> float:
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0.0 else math.exp(a) / (1.0 + math.exp(a))


def row(W: Any, i: int, x: Any) -> float:
    return sum(float(W[i][j]) * float(x[j]) for j in range(len(x)))


def gru_step(W_in: Any, W: Any, b_in: Any, b: Any, h: Any, u: Any) -> list[float]:
    """h' = (1 - z) n + z h, one unit at a time."""
    n, new = len(h), []
    for i in range(n):
        r = sigma(row(W_in, i, u) + b_in[i] + row(W, i, h) + b[i])
        z = sigma(row(W_in, n + i, u) + b_in[n + i] + row(W, n + i, h) + b[n + i])
        inner = row(W, 2 * n + i, h) + b[2 * n + i]
        candidate = math.tanh(row(W_in, 2 * n + i, u) + b_in[2 * n + i] + r * inner)
        new.append((1.0 - z) * candidate + z * h[i])
    return new


def lstm_step(W_in: Any, W: Any, b: Any, x: Any, u: Any) -> list[float]:
    """c' = f c + i g, h' = o tanh c', one unit at a time."""
    n = len(x) // 2
    h, c, new_h, new_c = x[:n], x[n:], [], []
    for k in range(n):
        i, f, g, o = (row(W_in, j * n + k, u) + row(W, j * n + k, h) + b[j * n + k] for j in range(4))
        new_c.append(sigma(f) * c[k] + sigma(i) * math.tanh(g))
        new_h.append(sigma(o) * math.tanh(new_c[-1]))
    return new_h + new_c


def roots(step: Callable[[Any], Any], starts: Any, *, tolerance: float = 1e-11) -> list[Any]:
    """States that the step keeps to that tolerance, one of each, from hybrid Powell at every start."""
    found: list[Any] = []
    for start in starts:
        x = scipy.optimize.root(
            lambda y: np.asarray(step(y)) - y, start, method="hybr", options={"xtol": 1e-14}
        ).x
        if not np.all(np.isfinite(x)) or np.max(np.abs(np.asarray(step(x)) - x)) > tolerance:
            continue
        if all(np.max(np.abs(x - y)) > 1e-6 for y in found):
            found.append(x)
    return found


def index(step: Callable[[Any], Any], x: Any, *, h: float = 1e-6) -> int:
    """sign det(I - DF) by central differences."""
    n = len(x)
    columns = [(np.asarray(step(x + h * e)) - np.asarray(step(x - h * e))) / (2.0 * h) for e in np.eye(n)]
    return int(np.sign(np.linalg.det(np.eye(n) - np.array(columns).T)))
