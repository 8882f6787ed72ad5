"""Slow, obvious twins of the gated cells and of gradient growth: one unit at a time, many digits.

The cells are written for complex numbers: an imaginary step of 1e-30 gives a derivative without cancellation.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Sequence

import mpmath
import numpy as np

from esntools._typing import FloatArray
from esntools.gated import GRU, LSTM


def sigma(a: complex) -> complex:
    return 1.0 / (1.0 + cmath.exp(-a))


def affine(W: FloatArray, b: FloatArray, x: Sequence[complex], row: int) -> complex:
    total = complex(b[row])
    for j, value in enumerate(x):
        total += W[row, j] * value
    return total


def naive_gru_step(cell: GRU, h: Sequence[complex], u: Sequence[complex]) -> list[complex]:
    n = len(h)
    out = []
    for i in range(n):
        r = sigma(affine(cell.W_in, cell.b_in, u, i) + affine(cell.W, cell.b, h, i))
        z = sigma(affine(cell.W_in, cell.b_in, u, n + i) + affine(cell.W, cell.b, h, n + i))
        inner = affine(cell.W_in, cell.b_in, u, 2 * n + i) + r * affine(cell.W, cell.b, h, 2 * n + i)
        out.append((1.0 - z) * cmath.tanh(inner) + z * h[i])
    return out


def naive_lstm_step(cell: LSTM, x: Sequence[complex], u: Sequence[complex]) -> list[complex]:
    n = len(x) // 2
    hidden, memory = [], []
    none = np.zeros(4 * n)
    for j in range(n):
        a = [
            affine(cell.W_in, cell.b, u, g * n + j) + affine(cell.W, none, x[:n], g * n + j) for g in range(4)
        ]
        c = sigma(a[1]) * x[n + j] + sigma(a[0]) * cmath.tanh(a[2])
        memory.append(c)
        hidden.append(sigma(a[3]) * cmath.tanh(c))
    return hidden + memory


def naive_jacobian(step: Callable[[Sequence[complex]], list[complex]], x: FloatArray) -> FloatArray:
    """Column j from an imaginary step along coordinate j."""
    columns = []
    for j in range(len(x)):
        moved = [complex(v) for v in x]
        moved[j] += 1e-30j
        columns.append([value.imag / 1e-30 for value in step(moved)])
    return np.array(columns).T


def naive_log_singular_values(jacobians: Sequence[FloatArray], digits: int) -> FloatArray:
    """Multiply out with that many digits, then one SVD."""
    with mpmath.workdps(digits):
        P = mpmath.eye(len(jacobians[0]))
        for J in jacobians:
            P = mpmath.matrix(J.tolist()) * P
        return np.array([float(mpmath.log(s)) for s in mpmath.svd_r(P, compute_uv=False)])
