r"""The compiled inner loops: one trajectory (`run`), or a batch with SIMD over its members (`run_batch`).

Both advance

.. math:: x \leftarrow (1 - a) \circ x + a \circ \varphi(v_k + W x + W_\mathrm{fb}\, \psi(x))

and can record and range-check the outputs :math:`\psi(x)` on the way, so that driving, teacher forcing and
free running are one loop. They take arrays only, already checked; `esntools.simulation` is their caller.

An absent part is an array of length zero along its first axis, and every parameter array is read-only: numba
compiles one version per array type, so one type each keeps the first call short.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["MEMBER_TILE", "apply_activation", "run", "run_batch"]

#: `run_batch` is fastest when the number of columns of its state is a multiple of this.
MEMBER_TILE: Final = 8

# From this many units on, a dense W no longer fits the fast caches and half of it is read per step.
_SWEEP_FROM: Final = 256
# Rows whose activation is evaluated together; a multiple of 8.
_SWEEP_ROWS: Final = 32


def _compiled(function: Callable[..., Any], *, reorder: bool = True) -> Any:
    # Sums may be reordered and fused (else no reduction vectorises); NaN and infinity keep their meaning.
    fastmath = {"reassoc", "contract", "nsz"} if reorder else {"contract"}
    options = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        # Neither the package folder nor the user's cache folder can be written: compile in every process.
        return njit(**options)(function)


def _bits_of(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


_bits_of = intrinsic(_bits_of)


def _float_of(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


_float_of = intrinsic(_float_of)

_LOG2_E: Final = 1.4426950408889634
# ln 2 in two parts; n * _LN2_HIGH is exact for |n| < 2**20.
_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
# Adding 1.5 * 2**52 rounds to an integer and leaves it in the low bits of the sum.
_ROUND: Final = 6755399441055744.0


def _exp_parts(t: float) -> tuple[float, float]:
    """Return (2**n, expm1(r)) with t = n ln 2 + r, |r| <= ln(2)/2, for |t| <= 700."""
    shifted = t * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (t - n * _LN2_HIGH) - n * _LN2_LOW
    # Taylor to r**13, the next term being below 5e-18; in pairs (Estrin), which short vectors wait for less.
    r2 = r * r
    r4 = r2 * r2
    p = (1.0 / 2.0 + r * (1.0 / 6.0)) + r2 * (1.0 / 24.0 + r * (1.0 / 120.0))
    p += r4 * ((1.0 / 720.0 + r * (1.0 / 5040.0)) + r2 * (1.0 / 40320.0 + r * (1.0 / 362880.0)))
    p += (r4 * r4) * (
        (1.0 / 3628800.0 + r * (1.0 / 39916800.0)) + r2 * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0))
    )
    p = r + r2 * p
    return _float_of((_bits_of(shifted) + 1023) << 52), p  # type: ignore[call-arg]


# Reordering would cancel the rounding constant.
_exp_parts = _compiled(_exp_parts, reorder=False)


def _tanh(z: float) -> Any:
    t = 2.0 * abs(z)
    # Written so that NaN passes; tanh is 1 to the last bit from t = 38 on.
    t = 40.0 if t > 40.0 else t
    scale, p = _exp_parts(t)
    expm1 = scale * p + (scale - 1.0)
    return np.copysign(expm1 / (expm1 + 2.0), z)


_tanh = _compiled(_tanh, reorder=False)


def _logistic(z: float) -> float:
    t = -abs(z)
    t = -700.0 if t < -700.0 else t
    scale, p = _exp_parts(t)
    exp = scale * p + scale
    return (1.0 if z >= 0.0 else exp) / (1.0 + exp)


_logistic = _compiled(_logistic, reorder=False)


def _apply_activation(code: int, z: Any) -> None:
    """Replace z by phi(z) in place; the codes are those of `esntools.activations`."""
    if code == 0:
        for i in range(len(z)):
            z[i] = _tanh(z[i])
    elif code == 1:
        for i in range(len(z)):
            z[i] = _logistic(z[i])
    elif code == 3:
        for i in range(len(z)):
            z[i] = 0.0 if z[i] < 0.0 else z[i]
    elif code == 4:
        for i in range(len(z)):
            value = -1.0 if z[i] < -1.0 else z[i]
            z[i] = 1.0 if value > 1.0 else value
    elif code == 5:
        for i in range(len(z)):
            z[i] = z[i] / (1.0 + abs(z[i]))
    elif code == 6:
        for i in range(len(z)):
            z[i] = math.erf(z[i])
    elif code == 7:
        for i in range(len(z)):
            z[i] = math.sin(z[i])


apply_activation = _compiled(_apply_activation)


def _dense_product(W: Any, i0: int, i1: int, j0: int, j1: int, x: Any, z: Any) -> None:
    """z[I] += W[I, J] x[J]."""
    # Rows are sliced, not the matrix: only so does numba know them contiguous and its indices not negative.
    v = x[j0:j1]
    i = i0
    while i + 4 <= i1:
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        w0, w1, w2, w3 = W[i, j0:j1], W[i + 1, j0:j1], W[i + 2, j0:j1], W[i + 3, j0:j1]
        for j in range(len(v)):
            s0 += w0[j] * v[j]
            s1 += w1[j] * v[j]
            s2 += w2[j] * v[j]
            s3 += w3[j] * v[j]
        z[i] += s0
        z[i + 1] += s1
        z[i + 2] += s2
        z[i + 3] += s3
        i += 4
    while i < i1:
        s0, w0 = 0.0, W[i, j0:j1]
        for j in range(len(v)):
            s0 += w0[j] * v[j]
        z[i] += s0
        i += 1


_dense_product = _compiled(_dense_product)


def _dense_two_products(W: Any, i0: int, i1: int, j0: int, j1: int, x: Any, z: Any, later: Any) -> None:
    """z[I] += W[I, J] x[J] and later[I] = W[I, J] z[J], reading W once; I and J are disjoint."""
    v = x[j0:j1]
    new = z[j0:j1]
    i = i0
    while i + 8 <= i1:
        s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        t0, t1, t2, t3, t4, t5, t6, t7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        w0, w1, w2, w3 = W[i, j0:j1], W[i + 1, j0:j1], W[i + 2, j0:j1], W[i + 3, j0:j1]
        w4, w5, w6, w7 = W[i + 4, j0:j1], W[i + 5, j0:j1], W[i + 6, j0:j1], W[i + 7, j0:j1]
        for j in range(len(v)):
            s0 += w0[j] * v[j]
            t0 += w0[j] * new[j]
            s1 += w1[j] * v[j]
            t1 += w1[j] * new[j]
            s2 += w2[j] * v[j]
            t2 += w2[j] * new[j]
            s3 += w3[j] * v[j]
            t3 += w3[j] * new[j]
            s4 += w4[j] * v[j]
            t4 += w4[j] * new[j]
            s5 += w5[j] * v[j]
            t5 += w5[j] * new[j]
            s6 += w6[j] * v[j]
            t6 += w6[j] * new[j]
            s7 += w7[j] * v[j]
            t7 += w7[j] * new[j]
        z[i] += s0
        z[i + 1] += s1
        z[i + 2] += s2
        z[i + 3] += s3
        z[i + 4] += s4
        z[i + 5] += s5
        z[i + 6] += s6
        z[i + 7] += s7
        later[i] = t0
        later[i + 1] = t1
        later[i + 2] = t2
        later[i + 3] = t3
        later[i + 4] = t4
        later[i + 5] = t5
        later[i + 6] = t6
        later[i + 7] = t7
        i += 8
    while i < i1:
        s0, t0, w0 = 0.0, 0.0, W[i, j0:j1]
        for j in range(len(v)):
            s0 += w0[j] * v[j]
            t0 += w0[j] * new[j]
        z[i] += s0
        later[i] = t0
        i += 1


_dense_two_products = _compiled(_dense_two_products)


def _dense_sweep(
    W: Any, leak_rate: Any, code: int, x: Any, z: Any, part: Any, n_rows: int, downwards: bool
) -> None:
    """Do one step with half of W: z holds v on entry and the next state on return.

    W is cut into blocks of n_rows rows. Going down, row block I needs W[I, J] x[J] for J < I only: `part` has
    the rest (J >= I) from the step before. And since the next state is already known in J < I, the same
    entries give the next step's W[I, J] z[J], J <= I, on the spot; the next sweep goes up and needs J > I
    only. So each entry that comes from memory serves two steps, and a long drive takes half the memory
    traffic of a matrix-vector product per step. With one block it is the plain product, a step ahead.
    """
    n = len(x)
    n_blocks = (n + n_rows - 1) // n_rows
    for turn in range(n_blocks):
        block = turn if downwards else n_blocks - 1 - turn
        i0 = block * n_rows
        i1 = min(n, i0 + n_rows)
        here = z[i0:i1]
        done = part[i0:i1]
        for i in range(len(here)):
            here[i] += done[i]
        if n_blocks > 1:
            # Written without literals, for which numba would compile a second version.
            j0 = i0 * 0 if downwards else i1
            j1 = i0 if downwards else n
            _dense_two_products(W, i0, i1, j0, j1, x, z, part)
        else:
            done[:] = 0.0
        _finish_step(leak_rate[i0:i1], code, x[i0:i1], here)
        _dense_product(W, i0, i1, i0, i1, z, part)


def _finish_step(leak_rate: Any, code: int, x: Any, z: Any) -> None:
    """z = (1 - a) x + a phi(z)."""
    apply_activation(code, z)
    for i in range(len(z)):
        z[i] = (1.0 - leak_rate[i]) * x[i] + leak_rate[i] * z[i]


_finish_step = _compiled(_finish_step)
_dense_sweep = _compiled(_dense_sweep)


def _dense_upper_part(W: Any, x: Any, part: Any, n_rows: int) -> None:
    """part[I] = sum of W[I, J] x[J] over the row blocks J >= I: what a downward sweep takes as done."""
    part[:] = 0.0
    for i0 in range(0, len(x), n_rows):
        _dense_product(W, i0, min(len(x), i0 + n_rows), i0, len(x), x, part)


_dense_upper_part = _compiled(_dense_upper_part)


def _sparse_product(data: Any, indices: Any, indptr: Any, x: Any, z: Any) -> None:
    """z += W x. Unsigned indices spare a test for negative ones; four sums hide the latency of adding."""
    for i in range(len(z)):
        p = np.int64(indptr[i])
        stop = np.int64(indptr[i + 1])
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        while p + 4 <= stop:
            s0 += data[p] * x[indices[p]]
            s1 += data[p + 1] * x[indices[p + 1]]
            s2 += data[p + 2] * x[indices[p + 2]]
            s3 += data[p + 3] * x[indices[p + 3]]
            p += 4
        while p < stop:
            s0 += data[p] * x[indices[p]]
            p += 1
        z[i] += (s0 + s1) + (s2 + s3)


# Reordering would make LLVM gather, which is slower on the processors measured.
_sparse_product = _compiled(_sparse_product, reorder=False)


def _read(W_out: Any, W_sq: Any, b_out: Any, x: Any, y: Any) -> None:
    """y = psi(x)."""
    for o in range(len(y)):
        s = 0.0
        w = W_out[o]
        for i in range(len(x)):
            s += w[i] * x[i]
        if len(W_sq) > 0:
            w = W_sq[o]
            for i in range(len(x)):
                s += w[i] * (x[i] * x[i])
        y[o] = s + b_out[o]


_read = _compiled(_read)


def _run(
    W: Any, data: Any, indices: Any, indptr: Any, leak_rate: Any, code: int,
    feedback: Any, W_out: Any, W_sq: Any, b_out: Any, low: Any, high: Any,
    x: Any, block: Any, outputs: Any,
) -> Any:  # fmt: skip
    """Advance one trajectory from x by len(block) steps; return how many were done.

    block[k] holds v_k on entry and the state after step k on return, x the last state. feedback is W_fb
    transposed. outputs[k] becomes psi of the state before step k; the run stops, not doing step k, when
    outputs[k] is not within [low, high].
    """
    n_steps, n = block.shape
    y = np.zeros(len(W_out))
    part = np.zeros(n)
    recorded = len(outputs) > 0
    n_rows = n if n < _SWEEP_FROM else _SWEEP_ROWS
    if len(W) > 0:
        _dense_upper_part(W, x, part, n_rows)
    for k in range(n_steps):
        z = block[k]
        if recorded or len(feedback) > 0:
            _read(W_out, W_sq, b_out, x, y)
        if recorded:
            for o in range(len(y)):
                outputs[k, o] = y[o]
                if not (y[o] >= low[o] and y[o] <= high[o]):
                    return k
        for o in range(len(feedback)):
            w = feedback[o]
            for i in range(n):
                z[i] += w[i] * y[o]
        if len(W) > 0:
            _dense_sweep(W, leak_rate, code, x, z, part, n_rows, k % 2 == 0)
        else:
            _sparse_product(data, indices, indptr, x, z)
            _finish_step(leak_rate, code, x, z)
        for i in range(n):
            x[i] = z[i]
    return n_steps


run = _compiled(_run)


def _add_scaled(w: float, x: Any, z: Any) -> None:
    """z += w x."""
    for c in range(len(z)):
        z[c] += w * x[c]


_add_scaled = _compiled(_add_scaled)


def _sparse_row(data: Any, indices: Any, start: int, stop: int, x: Any, z: Any, i: int) -> None:
    """z[i] += the row's sum of data * x[index], eight entries at a time: z is loaded and stored the less."""
    # Elements x[j, c] and not rows x[j]: numba counts references to a row, which costs a short loop's time.
    p = np.int64(start)
    n_members = z.shape[1]
    while p + 8 <= stop:
        w0, w1, w2, w3 = data[p], data[p + 1], data[p + 2], data[p + 3]
        w4, w5, w6, w7 = data[p + 4], data[p + 5], data[p + 6], data[p + 7]
        j0, j1, j2, j3 = indices[p], indices[p + 1], indices[p + 2], indices[p + 3]
        j4, j5, j6, j7 = indices[p + 4], indices[p + 5], indices[p + 6], indices[p + 7]
        for c in range(n_members):
            s = (w0 * x[j0, c] + w1 * x[j1, c]) + (w2 * x[j2, c] + w3 * x[j3, c])
            z[i, c] += s + ((w4 * x[j4, c] + w5 * x[j5, c]) + (w6 * x[j6, c] + w7 * x[j7, c]))
        p += 8
    while p + 3 <= stop:
        w0, w1, w2 = data[p], data[p + 1], data[p + 2]
        j0, j1, j2 = indices[p], indices[p + 1], indices[p + 2]
        for c in range(n_members):
            z[i, c] += w0 * x[j0, c] + w1 * x[j1, c] + w2 * x[j2, c]
        p += 3
    while p < stop:
        w0, j0 = data[p], indices[p]
        for c in range(n_members):
            z[i, c] += w0 * x[j0, c]
        p += 1


_sparse_row = _compiled(_sparse_row)


def _read_batch(W_out: Any, W_sq: Any, b_out: Any, x: Any, y: Any) -> None:
    """y = psi(x), columns being members."""
    for o in range(len(y)):
        y_o = y[o]
        y_o[:] = b_out[o]
        for i in range(len(x)):
            x_i = x[i]
            w = W_out[o, i]
            w_sq = W_sq[o, i] if len(W_sq) > 0 else 0.0
            for c in range(len(y_o)):
                y_o[c] += (w + w_sq * x_i[c]) * x_i[c]


_read_batch = _compiled(_read_batch)


def _run_batch(
    W: Any, data: Any, indices: Any, indptr: Any, leak_rate: Any, code: int,
    feedback: Any, W_out: Any, W_sq: Any, b_out: Any, low: Any, high: Any,
    b: Any, W_in: Any, inputs: Any, x: Any, n_steps: int, states: Any, first_member: int, n_used: int,
    outputs: Any, left: Any, first_step: int,
) -> Any:  # fmt: skip
    """Advance a batch, x of shape (n_units, n_members), by n_steps; return how many members are inside.

    inputs is (n_steps, n_inputs, n_members) or, shared by all members, (n_steps, n_inputs, 1). The first
    n_used members' states go to states[:, first_member:], unless len(states) is 0. outputs
    (n_steps, n_outputs, n_members) takes psi of the states before each step, unless its length is 0; then
    left[c] becomes first_step + k when member c first is not within [low, high] at step k, its outputs are
    NaN from there on, and the run stops when all have left.
    """
    n, n_members = x.shape
    z = np.empty((n, n_members))
    flat = z.reshape(n * n_members)
    y = np.zeros((len(W_out), n_members))
    shared = inputs.shape[2] == 1
    recorded = len(outputs) > 0
    inside = n_members
    for k in range(n_steps):
        if recorded or len(feedback) > 0:
            _read_batch(W_out, W_sq, b_out, x, y)
        if recorded:
            inside = 0
            for c in range(n_members):
                if left[c] < 0:
                    for o in range(len(y)):
                        if not (y[o, c] >= low[o] and y[o, c] <= high[o]):
                            left[c] = first_step + k
                inside += left[c] < 0
                for o in range(len(y)):
                    outputs[k, o, c] = y[o, c] if left[c] < 0 else np.nan
                if left[c] >= 0:
                    # Kept at zero, so that what diverged stays finite.
                    for i in range(n):
                        x[i, c] = 0.0
                    for o in range(len(y)):
                        y[o, c] = 0.0
            if inside == 0:
                return 0
        if len(W) > 0:
            np.dot(W, x, z)
        for i in range(n):
            shift = b[i]
            if shared:
                for j in range(W_in.shape[1]):
                    shift += W_in[i, j] * inputs[k, j, 0]
            if len(W) > 0:
                for c in range(n_members):
                    z[i, c] += shift
            else:
                z[i, :] = shift
                _sparse_row(data, indices, indptr[i], indptr[i + 1], x, z, i)
            if not shared:
                for j in range(W_in.shape[1]):
                    _add_scaled(W_in[i, j], inputs[k, j], z[i])
            for o in range(len(feedback)):
                _add_scaled(feedback[o, i], y[o], z[i])
        apply_activation(code, flat)
        for i in range(n):
            a = leak_rate[i]
            for c in range(n_members):
                x[i, c] = (1.0 - a) * x[i, c] + a * z[i, c]
        if len(states) > 0:
            # Transposed eight units at a time: each cache line of `states` is written whole.
            for i0 in range(0, n, 8):
                i1 = min(n, i0 + 8)
                for c in range(n_used):
                    for i in range(i0, i1):
                        states[k, first_member + c, i] = x[i, c]
    return inside


run_batch = _compiled(_run_batch)
