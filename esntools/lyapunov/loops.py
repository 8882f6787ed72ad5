r"""The compiled loops: network and frame advanced together, and a frame made orthonormal.

State and frame are the columns of one array, x first. The loops take arrays only, already checked; an absent
part is an array of length zero along its first axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from esntools.kernels import apply_activation

__all__ = ["finish", "grow", "next_pace", "orthonormalise", "permutation", "thin_product"]


def _compiled(function: Callable[..., Any]) -> Any:
    # Sums may be reordered and fused (else no reduction vectorises); NaN and infinity keep their meaning.
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        # Neither the package folder nor the user's cache folder can be written: compile in every process.
        return njit(**options)(function)


def _apply_slope(code: int, z: Any, slope: Any) -> None:
    """slope = phi'(z); at a kink from the left, like `Activation.slope`."""
    for i in range(len(z)):
        t = z[i]
        if code == 0 or code == 1:
            # 1 - tanh^2 would cancel for large |z|.
            e = math.exp(-2.0 * abs(t)) if code == 0 else math.exp(-abs(t))
            r = 1.0 / (1.0 + e)
            slope[i] = (4.0 if code == 0 else 1.0) * e * r * r
        elif code == 3:
            slope[i] = 1.0 if t > 0.0 else 0.0
        elif code == 4:
            slope[i] = 1.0 if -1.0 < t <= 1.0 else 0.0
        elif code == 5:
            r = 1.0 / (1.0 + abs(t))
            slope[i] = r * r
        elif code == 6:
            t = min(abs(t), 28.0)
            slope[i] = 2.0 / math.sqrt(math.pi) * math.exp(-t * t)
        elif code == 7:
            slope[i] = math.cos(t)
        else:
            slope[i] = 1.0


_apply_slope = _compiled(_apply_slope)


def _orthonormalise(X: Any, first: int, end: int, logs: Any) -> None:
    """Make the columns first ... end - 1 of X orthonormal; logs takes the logarithms of the diagonal of R.

    Gram and Schmidt's method, modified, by rows of X (whose entries lie side by side). A column that vanishes
    stays zero, with the logarithm -inf.
    """
    n = len(X)
    r = np.empty(end)
    for c in range(first, end):
        # Scaled by the largest entry: squares neither overflow nor vanish.
        largest = 0.0
        for i in range(n):
            largest = max(largest, abs(X[i, c]))
        if not (largest > 0.0 and largest < np.inf):
            logs[c - first] = np.log(largest)
            continue
        total = 0.0
        for i in range(n):
            total += (X[i, c] / largest) ** 2
        logs[c - first] = np.log(largest) + 0.5 * np.log(total)
        norm = largest * math.sqrt(total)
        for d in range(c + 1, end):
            r[d] = 0.0
        for i in range(n):
            w = X[i, c] / norm
            X[i, c] = w
            for d in range(c + 1, end):
                r[d] += w * X[i, d]
        for i in range(n):
            w = X[i, c]
            for d in range(c + 1, end):
                X[i, d] -= r[d] * w


orthonormalise = _compiled(_orthonormalise)


def _log_determinant(A: Any) -> float:
    """Return log |det A|; A is overwritten (elimination with row exchanges)."""
    n = len(A)
    total = 0.0
    for c in range(n):
        best = c
        for i in range(c + 1, n):
            if abs(A[i, c]) > abs(A[best, c]):
                best = i
        pivot = A[best, c]
        if pivot == 0.0:
            return -np.inf
        total += np.log(abs(pivot))
        for j in range(c, n):
            A[c, j], A[best, j] = A[best, j], A[c, j]
        for i in range(c + 1, n):
            w = A[i, c] / pivot
            for j in range(c + 1, n):
                A[i, j] -= w * A[c, j]
    return total


_log_determinant = _compiled(_log_determinant)


def _sparse_product(data: Any, indices: Any, indptr: Any, X: Any, Z: Any) -> None:
    """Z = W X, eight entries of W at a time: Z is loaded and stored the less."""
    n_columns = X.shape[1]
    for i in range(len(Z)):
        for c in range(n_columns):
            Z[i, c] = 0.0
        p = np.int64(indptr[i])
        stop = np.int64(indptr[i + 1])
        while p + 8 <= stop:
            w0, w1, w2, w3 = data[p], data[p + 1], data[p + 2], data[p + 3]
            w4, w5, w6, w7 = data[p + 4], data[p + 5], data[p + 6], data[p + 7]
            j0, j1, j2, j3 = indices[p], indices[p + 1], indices[p + 2], indices[p + 3]
            j4, j5, j6, j7 = indices[p + 4], indices[p + 5], indices[p + 6], indices[p + 7]
            for c in range(n_columns):
                s = (w0 * X[j0, c] + w1 * X[j1, c]) + (w2 * X[j2, c] + w3 * X[j3, c])
                Z[i, c] += s + ((w4 * X[j4, c] + w5 * X[j5, c]) + (w6 * X[j6, c] + w7 * X[j7, c]))
            p += 8
        while p < stop:
            w0, j0 = data[p], indices[p]
            for c in range(n_columns):
                Z[i, c] += w0 * X[j0, c]
            p += 1


_sparse_product = _compiled(_sparse_product)


def _feed_back(feedback: Any, W_out: Any, W_sq: Any, b_out: Any, X: Any, y: Any, Z: Any) -> None:
    """Z += W_fb psi(x) in the first column, W_fb D psi(x) Q in the others."""
    n, n_columns = X.shape
    for o in range(len(W_out)):
        for c in range(n_columns):
            y[c] = 0.0
        for i in range(n):
            w = W_out[o, i]
            bend = W_sq[o, i] * X[i, 0] if len(W_sq) > 0 else 0.0
            y[0] += (w + bend) * X[i, 0]
            for c in range(1, n_columns):
                y[c] += (w + 2.0 * bend) * X[i, c]
        y[0] += b_out[o]
        for i in range(n):
            w = feedback[o, i]
            for c in range(n_columns):
                Z[i, c] += w * y[c]


_feed_back = _compiled(_feed_back)


def _jacobian_log_determinant(
    W: Any, leak_rate: Any, feedback: Any, W_out: Any, W_sq: Any, x: Any, slope: Any
) -> float:
    """Return log |det DG| for a dense W, slope being a phi'(z)."""
    n = len(x)
    J = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            J[i, j] = W[i, j]
    for o in range(len(feedback)):
        for j in range(n):
            w = W_out[o, j] + (2.0 * W_sq[o, j] * x[j] if len(W_sq) > 0 else 0.0)
            for i in range(n):
                J[i, j] += feedback[o, i] * w
    for i in range(n):
        for j in range(n):
            J[i, j] *= slope[i]
        J[i, i] += 1.0 - leak_rate[i]
    return _log_determinant(J)


_jacobian_log_determinant = _compiled(_jacobian_log_determinant)


def _next_pace(logs: Any, since: int, pace: Any, spread: float, longest: int) -> None:
    """Set pace = [steps until the next decomposition, remembered rate] after one of `since` steps.

    So many steps that the columns come to differ in length by at most exp(spread) at the fastest rate of late
    (motion with short bursts of contraction is common), at most `longest`.
    """
    low, high, size = np.inf, -np.inf, 0.0
    for c in range(len(logs)):
        if np.isfinite(logs[c]):
            low, high, size = min(low, logs[c]), max(high, logs[c]), max(size, abs(logs[c]))
    # The spread of the columns, and their common growth: neither may leave the range of a double.
    rate = max(high - low, 0.1 * size) / since if high >= low else 0.0
    pace[1] = max(rate, pace[1] * math.exp(-0.002 * since))
    fit = longest if pace[1] * longest <= spread else math.floor(spread / pace[1])
    pace[0] = max(1.0, min(fit, 2.0 * pace[0]))


next_pace = _compiled(_next_pace)


def _grow(
    W: Any, data: Any, indices: Any, indptr: Any, leak_rate: Any, code: int,
    feedback: Any, W_out: Any, W_sq: Any, b_out: Any,
    drive: Any, n_steps: int, X: Any, pace: Any, spread: float, longest: int, growth: Any, audit: bool,
) -> float:  # fmt: skip
    """Advance X = [x | Q | 0] by n_steps; with `audit` return the sum of log |det DG|.

    drive has one row per step, or one for all. growth (whose length is the number of columns of Q) receives
    the logarithms of the diagonals of R; `pace` says when there is to be a decomposition, see `next_pace`.
    """
    n, n_columns = X.shape
    Z = np.empty((n, n_columns))
    y, z, slope = np.empty(n_columns), np.empty(n), np.empty(n)
    k = len(growth)
    logs = np.empty(k)
    log_det = 0.0
    since = 0
    for t in range(n_steps):
        if len(W) > 0:
            np.dot(W, X, Z)
        else:
            _sparse_product(data, indices, indptr, X, Z)
        if len(feedback) > 0:
            _feed_back(feedback, W_out, W_sq, b_out, X, y, Z)
        row = drive[t if len(drive) > 1 else 0]
        for i in range(n):
            z[i] = Z[i, 0] + row[i]
        _apply_slope(code, z, slope)
        apply_activation(code, z)
        for i in range(n):
            slope[i] *= leak_rate[i]
        if audit:
            log_det += _jacobian_log_determinant(W, leak_rate, feedback, W_out, W_sq, X[:, 0].copy(), slope)
        for i in range(n):
            keep = 1.0 - leak_rate[i]
            X[i, 0] = keep * X[i, 0] + leak_rate[i] * z[i]
            for c in range(1, n_columns):
                X[i, c] = keep * X[i, c] + slope[i] * Z[i, c]
        since += 1
        if k > 0 and (since >= pace[0] or t == n_steps - 1):
            orthonormalise(X, 1, k + 1, logs)
            for c in range(k):
                growth[c] += logs[c]
            next_pace(logs, since, pace, spread, longest)
            since = 0
    return log_det


grow = _compiled(_grow)


def _thin_product(W: Any, X: Any, Z: Any) -> None:
    """Z = X W^T for a few rows in X, a multiple of 4: scalar products, four by four.

    Sixteen sums use each number loaded four times; BLAS packs W first, which a few columns do not repay.
    """
    n = len(W)
    n_fours = n - n % 4
    for i in range(0, n_fours, 4):
        w0, w1, w2, w3 = W[i], W[i + 1], W[i + 2], W[i + 3]
        for c in range(0, len(X), 4):
            x0, x1, x2, x3 = X[c], X[c + 1], X[c + 2], X[c + 3]
            s00, s01, s02, s03 = 0.0, 0.0, 0.0, 0.0
            s10, s11, s12, s13 = 0.0, 0.0, 0.0, 0.0
            s20, s21, s22, s23 = 0.0, 0.0, 0.0, 0.0
            s30, s31, s32, s33 = 0.0, 0.0, 0.0, 0.0
            for j in range(n):
                s00 += w0[j] * x0[j]
                s01 += w0[j] * x1[j]
                s02 += w0[j] * x2[j]
                s03 += w0[j] * x3[j]
                s10 += w1[j] * x0[j]
                s11 += w1[j] * x1[j]
                s12 += w1[j] * x2[j]
                s13 += w1[j] * x3[j]
                s20 += w2[j] * x0[j]
                s21 += w2[j] * x1[j]
                s22 += w2[j] * x2[j]
                s23 += w2[j] * x3[j]
                s30 += w3[j] * x0[j]
                s31 += w3[j] * x1[j]
                s32 += w3[j] * x2[j]
                s33 += w3[j] * x3[j]
            Z[c, i], Z[c + 1, i], Z[c + 2, i], Z[c + 3, i] = s00, s01, s02, s03
            Z[c, i + 1], Z[c + 1, i + 1], Z[c + 2, i + 1], Z[c + 3, i + 1] = s10, s11, s12, s13
            Z[c, i + 2], Z[c + 1, i + 2], Z[c + 2, i + 2], Z[c + 3, i + 2] = s20, s21, s22, s23
            Z[c, i + 3], Z[c + 1, i + 3], Z[c + 2, i + 3], Z[c + 3, i + 3] = s30, s31, s32, s33
    for i in range(n_fours, n):
        w = W[i]
        for c in range(len(X)):
            x = X[c]
            total = 0.0
            for j in range(n):
                total += w[j] * x[j]
            Z[c, i] = total


thin_product = _compiled(_thin_product)


def _finish(code: int, leak_rate: Any, drive: Any, X: Any, Z: Any) -> None:
    """Turn the products Z of the rows of X with W into the next state (row 0) and frame (the others)."""
    n = len(drive)
    z, slope = np.empty(n), np.empty(n)
    for i in range(n):
        z[i] = Z[0, i] + drive[i]
    _apply_slope(code, z, slope)
    apply_activation(code, z)
    for i in range(n):
        slope[i] *= leak_rate[i]
        Z[0, i] = (1.0 - leak_rate[i]) * X[0, i] + leak_rate[i] * z[i]
    for c in range(1, len(X)):
        for i in range(n):
            Z[c, i] = (1.0 - leak_rate[i]) * X[c, i] + slope[i] * Z[c, i]


finish = _compiled(_finish)


def _permutation(pivots: Any) -> Any:
    """Return the order of the rows after LAPACK's successive exchanges."""
    order = np.arange(len(pivots))
    for i in range(len(pivots)):
        j = pivots[i]
        order[i], order[j] = order[j], order[i]
    return order


permutation = _compiled(_permutation)
