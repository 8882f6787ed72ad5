"""A periodic response to twice double precision, as the sum of two doubles.

A trained closed loop has readout weights of hundreds, and its responses are conditioned accordingly: a
double near one is not near enough for the ball around it to be checked. Newton's method with the residual
evaluated in ball arithmetic, the correction in floating point, gains the missing digits; nothing here is
trusted, the checker starts from the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import flint
import numpy as np
from flint import arb, arb_mat

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork

__all__ = ["refined_fixed_point", "refined_response"]

_BITS: Final = 192
_STEPS: Final = 4

_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "tanh": lambda z: z.tanh(),
    "logistic": lambda z: 1 / (1 + (-z).exp()),
    "erf": lambda z: z.erf(),
    "softsign": lambda z: z / (1 + abs(z)),
    "sine": lambda z: z.sin(),
    "identity": lambda z: z,
}


def _column(values: FloatArray) -> Any:
    return arb_mat(len(values), 1, [arb(float(v)) for v in values])


def _matrix(values: FloatArray) -> Any:
    return arb_mat(values.shape[0], values.shape[1], [arb(float(v)) for v in values.ravel()])


def refined_response(
    network: EchoStateNetwork, u: FloatArray | None, drive: FloatArray, states: FloatArray, C: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return (high, low, residual): a zero of X - f(X) near `states` in two doubles, and what is left there.

    f is the map lifted to one copy of the state for each row of a periodic input; FORMAT.md, section 5.

    Parameters
    ----------
    network : EchoStateNetwork
    u : array (period, n_inputs) or None
        The periodic input; None when `drive` is exact itself.
    drive : array (period, n_units)
        b + W_in u + W_fb b_out for each row; with `u` given it is summed again without rounding.
    states : array (period, n_units)
        A periodic response to double precision.
    C : array (period n_units, period n_units)
        About the inverse of the derivative there.

    Returns
    -------
    (high, low, residual) or None
        Each (period, n_units); high + low is the response. None for an activation without ball arithmetic
        here (kinks, custom ones), or when the iteration does not contract.
    """
    function = _FUNCTIONS.get(network.activation.name)
    if function is None:
        return None
    readout = network.readout
    period, n = states.shape
    before = flint.ctx.prec
    flint.ctx.prec = _BITS
    try:
        W = _matrix(network.dense_W())
        keep, leak = (
            [1 - arb(float(a)) for a in network.leak_rate],
            [arb(float(a)) for a in network.leak_rate],
        )
        offsets = [_column(row) for row in drive]
        if u is not None:
            offset = _column(network.b)
            if network.W_fb is not None and readout is not None:
                offset += _matrix(network.W_fb) * _column(readout.b_out)
            offsets = [offset] * period
            if network.n_inputs:
                offsets = [offset + _matrix(network.W_in) * _column(row) for row in u]
        feedback: tuple[Any, Any, Any] | None = None
        if network.W_fb is not None and readout is not None:
            squares = None if readout.W_sq is None else _matrix(readout.W_sq)
            feedback = _matrix(network.W_fb), _matrix(readout.W_out), squares

        def residual(high: FloatArray, low: FloatArray) -> FloatArray:
            points = [_column(one) + _column(two) for one, two in zip(high, low)]
            left = []
            for j in range(period):
                point = points[j - 1]
                z = W * point + offsets[j]
                if feedback is not None:
                    W_fb, W_out, W_sq = feedback
                    y = W_out * point
                    if W_sq is not None:
                        y += W_sq * arb_mat(n, 1, [v * v for v in point.entries()])
                    z += W_fb * y
                parts = zip(points[j].entries(), point.entries(), z.entries(), keep, leak)
                left.append([float((x - k * q - a * function(v)).mid()) for x, q, v, k, a in parts])
            return np.array(left)

        high, low = states.copy(), np.zeros_like(states)
        left = residual(high, low)
        for _ in range(_STEPS):
            low = low - (C @ left.ravel()).reshape(period, n)
            # The two doubles again do not overlap: high carries what fits, low the rest.
            total = high + low
            high, low = total, low - (total - high)
            new = residual(high, low)
            if float(np.abs(new).max()) > 0.5 * float(np.abs(left).max()):
                break
            left = new
        else:
            new = left
        if not float(np.abs(new).max()) < 1e-14:
            return None
        return high, low, new
    finally:
        flint.ctx.prec = before


def refined_fixed_point(
    network: EchoStateNetwork, u: FloatArray | None, drive: FloatArray, x: FloatArray, C: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return (high, low, residual) for a fixed point at a constant input: a zero of x - phi(z(x)).

    Parameters are those of `refined_response` with vectors for `u`, `drive` and `x`; C is about the inverse
    of the derivative of x - phi(z(x)), which the leak does not enter.
    """
    # The derivative of x - f(x) is diag(a) times that one.
    a = network.leak_rate
    refined = refined_response(network, None if u is None else u[None], drive[None], x[None], C / a)
    if refined is None:
        return None
    high, low, left = (part[0] for part in refined)
    return high, low, left / a
