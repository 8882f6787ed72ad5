r"""Activation functions with proved errors, in a form that compiled code can use.

The built-in sigmoids (tanh, logistic, erf) are Taylor polynomials about the points of a grid; softsign,
hard_tanh, relu and identity are evaluated as they are. Every other activation is enclosed cell by cell.

What is proved, and from what: the coefficients are rounded from balls of python-flint's `arb`; the remainder
of a cell is Lagrange's, with the next coefficient enclosed over the whole cell; the rounding of Horner's rule
is bounded a priori. For the last, + - * / on doubles are assumed to round to nearest as IEEE 754 says
(relative error at most u = 2**-53, fused operations allowed), nothing about any elementary function of any
library. `error` of a table is the sum of the three, the largest over its cells, and bounds the absolute error
of values and of slopes alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import flint
import numpy as np
from flint import arb, arb_series

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.enclosures.expressions import parse_expression
from esntools.enclosures.intervals import Interval
from esntools.enclosures.jets import Program

__all__ = ["CELLS", "CLIP", "CONVEX", "SERIES", "SOFTSIGN", "ActivationTable", "activation_table"]

#: How the compiled code evaluates an activation.
SERIES: Final = 0
SOFTSIGN: Final = 1
CLIP: Final = 2
CONVEX: Final = 3
CELLS: Final = 4

_BITS: Final = 128
_DEGREE: Final = 8
_UNIT: Final = 2.0**-53
_N_CELLS: Final = 2048


@final
@dataclass(frozen=True, eq=False)
class ActivationTable:
    """An activation as arrays.

    Attributes
    ----------
    kind : int
        SERIES, SOFTSIGN, CLIP, CONVEX (relu, identity) or CELLS.
    numbers : ndarray, shape (6,)
        For SERIES: cells per unit of z, half the number of cells, infimum and supremum of the value, supremum
        of the slope, proved error. For CELLS: cells per unit, z at the lower end. For CONVEX: the slope below
        zero.
    rows : ndarray
        For SERIES, shape (n_cells, 18): the coefficients of the value, then of the slope, lowest first.
        For CELLS, shape (n_cells, 6): the middle, the value there and its error, lowest slope, highest slope,
        unused.
    extremes : ndarray, shape (4, levels, n_cells)
        For CELLS: lowest value, highest value, lowest slope, highest slope over 2**level cells from each on.
    steepest : float
        A bound of \\|slope\\| on the whole line.
    """

    kind: int
    numbers: FloatArray
    rows: FloatArray
    extremes: FloatArray
    steepest: float


def _above(ball: Any) -> float:
    """Return a double that is at least the upper end of a ball."""
    return math.nextafter(float(ball.upper()), math.inf)


def _size(ball: Any) -> float:
    return _above(abs(ball))


def _tanh(x: Any) -> Any:
    return 1 - 2 / (1 + (2 * x).exp())


def _logistic(x: Any) -> Any:
    return 1 / (1 + (-x).exp())


# Function, cells per unit, largest |z| (beyond, the value is within an ulp of its limit), supremum of slope.
_SERIES: Final[dict[str, tuple[Callable[[Any], Any], int, int]]] = {
    "tanh": (_tanh, 64, 20),
    "logistic": (_logistic, 32, 40),
    "erf": (lambda x: x.erf(), 64, 6),
}


def _coefficients(function: Callable[[Any], Any], at: Any) -> list[Any]:
    values = list(function(arb_series([at, 1], _DEGREE + 3)).coeffs())
    return values + [arb(0)] * (_DEGREE + 3 - len(values))


def _horner_error(coefficients: FloatArray, reach: float) -> float:
    """Bound the rounding of Horner's rule on |d| <= reach, d being exact to one rounding."""
    # Higham, Accuracy and Stability of Numerical Algorithms, section 5.1: gamma_{2j+1} for the j-th term,
    # two more for the error of d and one for the rounding of this bound.
    return sum((2 * j + 4) * _UNIT * abs(float(c)) * reach**j for j, c in enumerate(coefficients)) * 1.001


def _series_table(phi: Activation) -> ActivationTable:
    function, per_unit, far = _SERIES[phi.name]
    half = far * per_unit
    rows, error = np.zeros((2 * half + 1, 2 * (_DEGREE + 1))), 0.0
    reach = 0.5 / per_unit * (1.0 + 2.0**-40)
    before = flint.ctx.prec
    flint.ctx.prec = _BITS
    try:
        for i in range(2 * half + 1):
            centre = arb(i - half) / per_unit
            exact = _coefficients(function, centre)
            over = _coefficients(function, arb(centre.mid(), reach))
            slope = [(j + 1) * exact[j + 1] for j in range(_DEGREE + 1)]
            remainders = (_size(over[_DEGREE + 1]), (_DEGREE + 2) * _size(over[_DEGREE + 2]))
            for first, balls, remainder in zip((0, _DEGREE + 1), (exact, slope), remainders):
                row = rows[i, first : first + _DEGREE + 1]
                lost = remainder * reach ** (_DEGREE + 1)
                for j in range(_DEGREE + 1):
                    row[j] = float(balls[j].mid())
                    lost += _size(balls[j] - arb(row[j])) * reach**j
                error = max(error, (lost + _horner_error(row, reach)) * 1.001)
    finally:
        flint.ctx.prec = before
    # Twice a rounding of a number of size up to 1.2, for value - error and value + error.
    numbers = np.array([per_unit, half, *phi.value_bounds, phi.slope_bounds[1], error + 2.4 * _UNIT])
    return ActivationTable(SERIES, numbers, rows, np.zeros((4, 0, 0)), phi.slope_bounds[1])


@functools.lru_cache(maxsize=16)
def _cell_table(phi: Activation, far: float) -> ActivationTable:
    """Enclose value and slope on cells that cover [-far, far]."""
    low, high = -far, far
    program = Program(parse_expression(phi.expression))
    width = 2.0 ** math.ceil(math.log2(max(high - low, 1e-6) / _N_CELLS))
    start = math.floor(low / width) * width
    n = math.ceil((high - start) / width) + 1
    rows, base = np.zeros((n, 6)), np.zeros((4, n))
    for i in range(n):
        left = start + i * width
        # A little wider: which cell a number near its end is in is found in rounded arithmetic.
        box = Interval(left - 2.0**-20 * width, left + (1.0 + 2.0**-20) * width)
        middle = Interval(left + 0.5 * width, left + 0.5 * width)
        value, slope, bend = program.jet(box)[:3]
        value_at, slope_at = program.jet(middle)[:2]
        if bend.finite and slope_at.finite:
            slope = slope.meet(slope_at + bend * (box - middle))
        slope = slope.meet(Interval(*phi.slope_bounds))
        if not (value_at.finite and slope.finite):
            raise ArithmeticError(f"no finite enclosure on [{box.lo}, {box.hi}]")
        value = value.meet(value_at + slope * (box - middle))
        at = 0.5 * value_at.lo + 0.5 * value_at.hi
        error = max(value_at.hi - at, at - value_at.lo) * (1.0 + 2.0**-50)
        rows[i] = left + 0.5 * width, at, error, slope.lo, slope.hi, 0.0
        base[:, i] = value.lo, value.hi, slope.lo, slope.hi
    levels = [base]
    while 2 ** len(levels) <= n:
        last, step = levels[-1], 2 ** (len(levels) - 1)
        after = np.concatenate([last[:, step:], np.repeat(last[:, -1:], step, axis=1)], axis=1)
        low_, high_ = np.minimum(last, after), np.maximum(last, after)
        levels.append(np.stack([low_[0], high_[1], low_[2], high_[3]]))
    extremes = np.ascontiguousarray(np.stack(levels, axis=1))
    steepest = max(abs(bound) for bound in phi.slope_bounds)
    return ActivationTable(CELLS, np.array([1.0 / width, start, 0, 0, 0, 0.0]), rows, extremes, steepest)


@functools.lru_cache(maxsize=16)
def _series_cached(name: str) -> ActivationTable:
    return _series_table(Activation.named(name))


def activation_table(phi: Activation, low: float, high: float) -> ActivationTable:
    """Return phi in the form of arrays, valid for every z in [low, high].

    Raises
    ------
    ArithmeticError
        When a custom activation has no finite enclosure on a cell of the range.
    """
    nothing, numbers = np.zeros((1, 6)), np.zeros(6)
    if phi.name in _SERIES:
        return _series_cached(phi.name)
    if phi.name == "softsign":
        return ActivationTable(SOFTSIGN, numbers, nothing, np.zeros((4, 0, 0)), 1.0)
    if phi.name == "hard_tanh":
        return ActivationTable(CLIP, numbers, nothing, np.zeros((4, 0, 0)), 1.0)
    if phi.name in ("relu", "identity"):
        numbers[0] = 1.0 if phi.name == "identity" else 0.0
        return ActivationTable(CONVEX, numbers, nothing, np.zeros((4, 0, 0)), 1.0)
    # A power of two, so that networks of one activation share few tables.
    return _cell_table(phi, 2.0 ** math.ceil(math.log2(max(-low, high, 1.0))))
