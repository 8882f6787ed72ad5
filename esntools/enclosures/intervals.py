"""Closed real intervals with double endpoints, rounded outwards; elementary functions by ball arithmetic.

Every operation returns an interval that contains all exact results. Sums are rounded only when they are
inexact, so that 1 - [0, 1] is [0, 1]: the sign of a slope often hangs on that. Elementary functions are
monotone pieces evaluated at the endpoints with python-flint's `arb`. An operation that is not defined on
a part of the interval returns the whole line; one that is not real anywhere on it raises `NotReal`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final, final

from flint import arb

__all__ = ["WHOLE", "Interval", "NotReal"]

_INF: Final = math.inf
_MAX: Final = 1.7976931348623157e308


class NotReal(ArithmeticError):
    """The operation has no real value anywhere on the interval."""


def _sum(a: float, b: float, up: bool) -> float:
    s = a + b
    if math.isinf(s) or s != s:
        if math.isinf(a) or math.isinf(b):
            return s if s == s else (_INF if up else -_INF)
        return s if (s > 0) == up else math.copysign(_MAX, s)
    # Knuth's two-sum: s + error is the exact sum.
    t = s - a
    error = (a - (s - t)) + (b - t)
    if up and error > 0:
        return math.nextafter(s, _INF)
    if not up and error < 0:
        return math.nextafter(s, -_INF)
    return s


def _product(a: float, b: float) -> tuple[float, float]:
    """Return bounds below and above of a b, where 0 times infinity is 0 (an end that is not attained)."""
    if a == 0.0 or b == 0.0:
        return 0.0, 0.0
    p = a * b
    if math.isinf(a) or math.isinf(b):
        return p, p
    # A product with a power of two is exact unless it underflows or overflows.
    if 1e-300 < abs(p) < 1e300 and (abs(math.frexp(a)[0]) == 0.5 or abs(math.frexp(b)[0]) == 0.5):
        return p, p
    return math.nextafter(p, -_INF), math.nextafter(p, _INF)


def _inverse(x: float) -> tuple[float, float]:
    """Return bounds below and above of 1/x: rounded to nearest, hence one ulp outwards covers it."""
    y = 1.0 / x
    if math.isinf(x):
        return (0.0, 0.0)
    if abs(math.frexp(x)[0]) == 0.5 and 1e-300 < abs(x) < 1e300:
        return y, y
    return math.nextafter(y, -_INF), math.nextafter(y, _INF)


def _below(ball: arb) -> float:
    """Return a double below the ball: the number itself when it is one, so that 1 stays 1."""
    value = float(ball.lower())
    if value != value:
        return -_INF
    exact = ball.is_exact() and not math.isinf(value) and arb(value) == ball
    return value if exact else math.nextafter(value, -_INF)


def _above(ball: arb) -> float:
    return -_below(-ball)


_Function = Callable[[arb], arb]


def _at(function: _Function, x: float, limits: tuple[float, float]) -> tuple[float, float]:
    """Return bounds of an increasing or even function at one point, infinite ones from its limits."""
    if math.isinf(x):
        limit = limits[0] if x < 0 else limits[1]
        return limit, limit
    ball = function(arb(x))
    return _below(ball), _above(ball)


_HALF_PI: Final = 1.5707963267948966
_PI_LIMITS: Final = (math.nextafter(-_HALF_PI, -_INF), math.nextafter(_HALF_PI, _INF))


@final
class Interval:
    """The closed interval [lo, hi]; ends may be infinite.

    >>> Interval(1.0, 2.0) - Interval(0.5, 0.75)
    [0.25, 1.5]
    >>> Interval(-1.0, 2.0).power(Fraction(2)).hi >= 4.0
    True
    """

    __slots__ = ("hi", "lo")

    def __init__(self, lo: float, hi: float) -> None:
        self.lo = lo
        self.hi = hi

    def __repr__(self) -> str:
        return f"[{self.lo!r}, {self.hi!r}]"

    @classmethod
    def rational(cls, value: int | Fraction) -> Interval:
        try:
            x = value.numerator / value.denominator
        except OverflowError:
            return cls(_MAX, _INF) if value > 0 else cls(-_INF, -_MAX)
        exact = Fraction(x)
        return cls(
            x if exact <= value else math.nextafter(x, -_INF),
            x if exact >= value else math.nextafter(x, _INF),
        )

    @classmethod
    def pi(cls) -> Interval:
        return cls(_below(arb.pi()), _above(arb.pi()))

    @property
    def finite(self) -> bool:
        return self.lo > -_INF and self.hi < _INF

    @property
    def positive(self) -> bool:
        return self.lo > 0.0

    @property
    def negative(self) -> bool:
        return self.hi < 0.0

    def hull(self, other: Interval) -> Interval:
        return Interval(min(self.lo, other.lo), max(self.hi, other.hi))

    def meet(self, other: Interval) -> Interval:
        """Return the intersection of two enclosures of the same thing."""
        return Interval(max(self.lo, other.lo), min(self.hi, other.hi))

    def whole(self) -> Interval:
        return WHOLE

    # -- arithmetic --------------------------------------------------------------------------------------

    def __neg__(self) -> Interval:
        return Interval(-self.hi, -self.lo)

    def __add__(self, other: Interval) -> Interval:
        return Interval(_sum(self.lo, other.lo, False), _sum(self.hi, other.hi, True))

    def __sub__(self, other: Interval) -> Interval:
        return Interval(_sum(self.lo, -other.hi, False), _sum(self.hi, -other.lo, True))

    def __mul__(self, other: Interval) -> Interval:
        pairs = [_product(a, b) for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        return Interval(min(p[0] for p in pairs), max(p[1] for p in pairs))

    def scale(self, factor: Fraction) -> Interval:
        return self * Interval.rational(factor)

    def power(self, exponent: Fraction) -> Interval:
        p, q = exponent.numerator, exponent.denominator
        if q == 1:
            return self._integer_power(p)
        if self.hi < 0.0:
            raise NotReal("a fractional power of a negative number")
        if self.lo < 0.0 or (self.hi == 0.0 and p < 0):
            return WHOLE

        def function(x: arb) -> arb:
            return x.root(q) ** abs(p)

        lo = max(0.0, _at(function, self.lo, (0.0, _INF))[0])
        hi = _at(function, self.hi, (0.0, _INF))[1] if self.hi > 0.0 else 0.0
        return Interval(lo, hi) if p > 0 else Interval(lo, hi)._reciprocal()

    def _integer_power(self, n: int) -> Interval:
        if n < 0:
            return self._integer_power(-n)._reciprocal()
        if n == 0:
            return Interval(1.0, 1.0)
        if n == 1:
            return self

        def function(x: arb) -> arb:
            return x**n

        if n % 2:
            return Interval(
                _at(function, self.lo, (-_INF, _INF))[0] if self.lo else 0.0,
                _at(function, self.hi, (-_INF, _INF))[1] if self.hi else 0.0,
            )
        near, far = self._magnitudes()
        low = max(0.0, _at(function, near, (_INF, _INF))[0]) if near else 0.0
        return Interval(low, _at(function, far, (_INF, _INF))[1] if far else 0.0)

    def _magnitudes(self) -> tuple[float, float]:
        near = 0.0 if self.lo <= 0.0 <= self.hi else min(abs(self.lo), abs(self.hi))
        return near, max(abs(self.lo), abs(self.hi))

    def _reciprocal(self) -> Interval:
        if self.lo < 0.0 < self.hi or self.lo == 0.0 == self.hi:
            return WHOLE
        # An end at zero opens to infinity.
        lo = -_INF if self.hi == 0.0 else _inverse(self.hi)[0]
        hi = _INF if self.lo == 0.0 else _inverse(self.lo)[1]
        return Interval(max(lo, 0.0) if self.lo >= 0.0 else lo, min(hi, 0.0) if self.hi <= 0.0 else hi)

    # -- elementary functions ----------------------------------------------------------------------------

    def _increasing(self, function: _Function, limits: tuple[float, float]) -> Interval:
        lo, hi = _at(function, self.lo, limits)[0], _at(function, self.hi, limits)[1]
        return Interval(max(lo, limits[0]), min(hi, limits[1]))

    def exp(self) -> Interval:
        return self._increasing(arb.exp, (0.0, _INF))

    def log(self) -> Interval:
        if self.hi < 0.0:
            raise NotReal("a logarithm of a negative number")
        if self.lo < 0.0 or self.hi == 0.0:
            return WHOLE
        lo = -_INF if self.lo == 0.0 else _at(arb.log, self.lo, (-_INF, _INF))[0]
        return Interval(lo, _at(arb.log, self.hi, (-_INF, _INF))[1])

    def tanh(self) -> Interval:
        return self._increasing(arb.tanh, (-1.0, 1.0))

    def atan(self) -> Interval:
        return self._increasing(arb.atan, _PI_LIMITS)

    def asinh(self) -> Interval:
        return self._increasing(arb.asinh, (-_INF, _INF))

    def erf(self) -> Interval:
        return self._increasing(arb.erf, (-1.0, 1.0))

    def sinh(self) -> Interval:
        return self._increasing(arb.sinh, (-_INF, _INF))

    def cosh(self) -> Interval:
        near, far = self._magnitudes()
        return Interval(max(1.0, _at(arb.cosh, near, (_INF, _INF))[0]), _at(arb.cosh, far, (_INF, _INF))[1])

    def sech(self) -> Interval:
        near, far = self._magnitudes()
        low, high = _at(arb.sech, far, (0.0, 0.0))[0], _at(arb.sech, near, (0.0, 0.0))[1]
        return Interval(max(0.0, low), min(1.0, high))

    def cos(self) -> Interval:
        return self._wave(arb.cos, arb(0))

    def sin(self) -> Interval:
        return self._wave(arb.sin, arb(1) / 2)

    def _wave(self, function: _Function, offset: arb) -> Interval:
        """Range of cos (offset 0) or sin (offset 1/2): the extrema (-1)**k are at (k + offset) pi."""
        if not self.finite or self.hi - self.lo > 6.0 or max(abs(self.lo), abs(self.hi)) > 2.0**40:
            return Interval(-1.0, 1.0)
        ends = _at(function, self.lo, (-1.0, 1.0)), _at(function, self.hi, (-1.0, 1.0))
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        first = (arb(self.lo) / arb.pi() - offset).lower().ceil().unique_fmpz()
        last = (arb(self.hi) / arb.pi() - offset).upper().floor().unique_fmpz()
        if first is None or last is None:
            return Interval(-1.0, 1.0)
        for k in range(int(first), int(last) + 1):
            low, high = (low, 1.0) if k % 2 == 0 else (-1.0, high)
        return Interval(max(-1.0, low), min(1.0, high))

    def abs(self) -> Interval:
        near, far = self._magnitudes()
        return Interval(near, far)

    def larger(self, other: Interval) -> Interval:
        return Interval(max(self.lo, other.lo), max(self.hi, other.hi))


WHOLE: Final = Interval(-_INF, _INF)
