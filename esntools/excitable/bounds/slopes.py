"""Values and slopes of tanh and of the logistic function with proved errors, for whole vectors at once.

Only + - * / of IEEE doubles and exact scaling by powers of two are used, no library function: an error bound
that rests on libm would rest on nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from esntools._typing import FloatArray

__all__ = ["ERROR", "PROVED", "bend_range", "values"]

#: Activations for which bounds are proved: scale of the argument, then offset and factor of the value.
PROVED: Final[dict[str, tuple[float, float, float]]] = {
    "tanh": (1.0, 0.0, 1.0),
    # 1/(1 + exp(-z)) = 1/2 + tanh(z/2)/2, and these factors are powers of two.
    "logistic": (0.5, 0.5, 0.5),
}

#: Bound of the absolute error of each of value, slope and half second derivative in `values`.
ERROR: Final = 1e-13

_LOG2_HIGH: Final = float.fromhex("0x1.62e42fee00000p-1")
_LOG2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")
_INVERSE_FACTORIALS: Final = tuple(1.0 / f for f in (
    1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800, 479001600, 6227020800, 87178291200,
    1307674368000,
))  # fmt: skip


def _falling(y: FloatArray) -> FloatArray:
    """Return exp(-2 y) for y >= 0 with a relative error below 2e-14; 0 above y = 350.

    With 2 y = k log 2 + r, |r| < 0.36, k times the high part of log 2 is exact (32 bits times 10), so r is
    known to 4 units of 2**-53; the series ends at r^16/16! < 1e-20, and Horner's rule rounds 32 times.
    """
    t = 2.0 * np.minimum(y, 350.0)
    k = np.rint(t * 1.4426950408889634)
    r = (t - k * _LOG2_HIGH) - k * _LOG2_LOW
    total = np.full_like(r, _INVERSE_FACTORIALS[-1])
    for c in _INVERSE_FACTORIALS[-2::-1]:
        total = total * -r + c
    # exp(-700) = 1e-304 is still a normal number; what lies beyond is 0 within ERROR.
    return np.where(y >= 350.0, 0.0, np.ldexp(total, -k.astype(np.int64)))


def values(name: str, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return phi(z), phi'(z) and phi''(z)/2 at the doubles z, each within `ERROR`."""
    scale, offset, factor = PROVED[name]
    E = _falling(np.abs(z) * scale)
    t = np.copysign((1.0 - E) / (1.0 + E), z)
    slope = 4.0 * E / ((1.0 + E) * (1.0 + E))
    return offset + factor * t, factor * scale * slope, -(factor * scale * scale) * (t * slope)


def bend_range(name: str, z: FloatArray, w: FloatArray) -> FloatArray:
    """Return bounds of |phi'''| on [z - w, z + w].

    With s = tanh^2, tanh''' = (1 - s)(6 s - 2): it falls from 2 to 0 at s = 1/3 in modulus, rises to 2/3 at
    s = 2/3, and falls to 0 again.
    """
    scale, _, factor = PROVED[name]
    room = 1e-12
    far = (np.abs(z) + w) * scale * (1.0 + 1e-15)
    near = np.maximum((np.abs(z) - w) * scale - 1e-15 * (np.abs(z) + w), 0.0)
    low, high = (((1.0 - E) / (1.0 + E)) ** 2 for E in (_falling(near), _falling(far)))
    low, high = np.maximum(low - room, 0.0), np.minimum(high + room, 1.0)
    most = np.maximum((1.0 - low) * np.abs(6.0 * low - 2.0), (1.0 - high) * np.abs(6.0 * high - 2.0))
    most = np.where((low <= 2.0 / 3.0) & (high >= 2.0 / 3.0), np.maximum(most, 2.0 / 3.0), most)
    return (factor * scale**3) * (most + 1e-12)
