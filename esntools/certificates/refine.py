"""A fixed point to twice double precision, as the sum of two doubles.

A trained closed loop has readout weights of hundreds, and its fixed points are conditioned accordingly: a
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

__all__ = ["refined_fixed_point"]

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


def refined_fixed_point(
    network: EchoStateNetwork, u: FloatArray | None, drive: FloatArray, x: FloatArray, C: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return (high, low, residual): a zero of x - phi(z(x)) near x in two doubles, and what is left there.

    Parameters
    ----------
    network : EchoStateNetwork
    u : array (n_inputs,) or None
        The constant input; None when `drive` is the exact constant itself.
    drive : array (n_units,)
        b + W_in u + W_fb b_out as one vector; with `u` given it is summed again without rounding.
    x : array (n_units,)
        A fixed point to double precision.
    C : array (n_units, n_units)
        About the inverse of the derivative there.

    Returns
    -------
    (high, low, residual) or None
        high + low is the point; None for an activation without ball arithmetic here (kinks, custom ones), or
        when the iteration does not contract.
    """
    function = _FUNCTIONS.get(network.activation.name)
    if function is None:
        return None
    readout = network.readout
    before = flint.ctx.prec
    flint.ctx.prec = _BITS
    try:
        W = _matrix(network.dense_W())
        offset = _column(drive)
        if u is not None:
            offset = _column(network.b)
            if network.n_inputs:
                offset += _matrix(network.W_in) * _column(u)
            if network.W_fb is not None and readout is not None:
                offset += _matrix(network.W_fb) * _column(readout.b_out)
        feedback: tuple[Any, Any, Any] | None = None
        if network.W_fb is not None and readout is not None:
            squares = None if readout.W_sq is None else _matrix(readout.W_sq)
            feedback = _matrix(network.W_fb), _matrix(readout.W_out), squares

        def residual(high: FloatArray, low: FloatArray) -> FloatArray:
            point = _column(high) + _column(low)
            z = W * point + offset
            if feedback is not None:
                W_fb, W_out, W_sq = feedback
                y = W_out * point
                if W_sq is not None:
                    y += W_sq * arb_mat(len(high), 1, [v * v for v in point.entries()])
                z += W_fb * y
            return np.array([float((p - function(v)).mid()) for p, v in zip(point.entries(), z.entries())])

        high, low = x.copy(), np.zeros_like(x)
        left = residual(high, low)
        for _ in range(_STEPS):
            low = low - C @ left
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
