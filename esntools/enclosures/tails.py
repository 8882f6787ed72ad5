"""Enclosures for every x >= B at once: asymptotic series whose coefficients are rational intervals.

A value on the tail [B, oo) is a sum of terms c * exp(E(x)) * x**p * log(x)**q, where c lies in an interval
[lo, hi] of exact rationals and E is a sum of positive powers of x. Leading terms that are known exactly
cancel exactly, so that the slope of x/sqrt(1 + x**2), of a GELU or of log(cosh(x)) keeps its sign and size
all the way to infinity, where plain interval arithmetic knows nothing. Whatever cannot be expressed raises
`TailUnknown`; nothing is guessed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final, TypeAlias, final

from flint import fmpq

from esntools.enclosures.intervals import Interval

__all__ = ["Tail", "TailUnknown"]

_MAX_TERMS: Final = 6
_ORDER: Final = 3
_BITS: Final = 192

# Exponents are Python numbers, which hash fast; coefficients are flint's, which multiply fast.
_Exponent: TypeAlias = int | Fraction
#: E as ((exponent, coefficient), ...) with falling positive exponents; then p and q.
_Key: TypeAlias = tuple[tuple[tuple[_Exponent, _Exponent], ...], _Exponent, _Exponent]
_Coefficient: TypeAlias = tuple[fmpq, fmpq]

_ONE: Final[_Key] = ((), 0, 0)
_ZERO: Final = fmpq(0)
_UNIT: Final = fmpq(1)
_EXACTLY_ONE: Final[_Coefficient] = (_UNIT, _UNIT)
_GRID: Final = fmpq(2) ** _BITS

_EXP: Final = [Fraction(1, math.factorial(k)) for k in range(_ORDER + 1)]
_LOG: Final = [Fraction(0)] + [Fraction((-1) ** (k - 1), k) for k in range(1, _ORDER + 1)]


class TailUnknown(ArithmeticError):
    """The expression cannot be enclosed on [B, oo) for this B."""


def _times(a: _Coefficient, b: _Coefficient) -> _Coefficient:
    products = [x * y for x in a for y in b]
    return _short(min(products), max(products))


def _short(lo: fmpq, hi: fmpq) -> _Coefficient:
    """Round outwards when the fractions have become long, an exact point only when they are very long."""
    if max(lo.height_bits(), hi.height_bits()) > (2 * _BITS if lo != hi else 4 * _BITS):
        return (lo * _GRID).floor() / _GRID, (hi * _GRID).ceil() / _GRID
    return lo, hi


def _flint(value: _Exponent) -> fmpq:
    return fmpq(value.numerator, value.denominator)


def _python(value: fmpq) -> _Exponent:
    p, q = int(value.p), int(value.q)
    return p if q == 1 else Fraction(p, q)


def _from_interval(value: Interval) -> _Coefficient:
    if not value.finite:
        raise TailUnknown
    return fmpq(*value.lo.as_integer_ratio()), fmpq(*value.hi.as_integer_ratio())


def _to_interval(c: _Coefficient) -> Interval:
    return _number(c[0]).hull(_number(c[1]))


def _number(value: fmpq) -> Interval:
    return Interval.rational(Fraction(int(value.p), int(value.q)))


def _integral(value: _Exponent) -> _Exponent:
    return value.numerator if value.denominator == 1 else value


def _quotient(a: _Key, b: _Key) -> _Key:
    E = a[0]
    if b[0]:
        exponents = dict(E)
        for e, c in b[0]:
            exponents[e] = _integral(exponents.get(e, 0) - c)
        E = tuple(sorted(((e, c) for e, c in exponents.items() if c), reverse=True))
    return E, _integral(a[1] - b[1]), _integral(a[2] - b[2])


def _product(a: _Key, b: _Key) -> _Key:
    return _quotient(a, _quotient(_ONE, b))


def _sign(key: _Key) -> int:
    """1 when the term grows, -1 when it decays, 0 when it is the constant."""
    leading = key[0][0][1] if key[0] else (key[1] or key[2])
    return (leading > 0) - (leading < 0)


@functools.lru_cache(maxsize=4096)
def _decaying_bound(key: _Key, start: Fraction) -> fmpq:
    """Return an upper bound of a decaying term on [B, oo), after a proof that it falls from B on.

    With t = x**e for the leading exponent e of E, x times the slope of the term's logarithm is at most
    t (e c + sum of the positive lower terms at B) + max(p, 0) + max(q, 0)/log(B).
    """
    E, p, q = key
    b = Interval.rational(start)
    rest = Interval.rational(max(p, 0) if E else p)
    if q > 0:
        if start <= 1:
            raise TailUnknown
        rest = rest + Interval.rational(q) * b.log().power(Fraction(-1))
    elif q < 0 and start <= 1:
        raise TailUnknown
    if E:
        lead, c = E[0]
        factor = Interval.rational(lead * c)
        for e, d in E[1:]:
            if d > 0:
                factor = factor + Interval.rational(e * d) * b.power(Fraction(e - lead))
        if factor.hi > 0.0:
            raise TailUnknown
        rest = rest + factor * b.power(Fraction(lead))
    if rest.hi > 0.0:
        raise TailUnknown
    exponent = Interval(0.0, 0.0)
    for e, c in E:
        exponent = exponent + Interval.rational(c) * b.power(Fraction(e))
    value = b.power(Fraction(p)) * exponent.exp()
    if q:
        value = value * b.log().power(Fraction(q))
    if not value.finite:
        raise TailUnknown
    return fmpq(*value.hi.as_integer_ratio())


@final
class Tail:
    """A function on [B, oo), B >= 1, as {term: coefficient interval}.

    >>> x = Tail.variable(Fraction(8))
    >>> root = (x.power(Fraction(2)) + Tail.rational_on(Fraction(1), Fraction(8))).power(Fraction(1, 2))
    >>> (root - x).range().lo >= 0.0, (root - x).range().hi < 0.07
    (True, True)
    """

    __slots__ = ("start", "terms")

    def __init__(self, terms: dict[_Key, _Coefficient], start: Fraction) -> None:
        self.terms = terms
        self.start = start

    @classmethod
    def variable(cls, start: Fraction) -> Tail:
        return cls({((), 1, 0): _EXACTLY_ONE}, start)

    @classmethod
    def rational_on(cls, value: Fraction, start: Fraction) -> Tail:
        return cls({_ONE: (_flint(value),) * 2} if value else {}, start)

    def constant(self, value: Interval) -> Tail:
        return self._constant(_from_interval(value))

    def _constant(self, value: _Coefficient) -> Tail:
        return Tail({_ONE: value} if value[0] or value[1] else {}, self.start)

    def whole(self) -> Tail:
        raise TailUnknown

    # -- what is known about it --------------------------------------------------------------------------

    def _sorted(self) -> list[_Key]:
        """Terms, the fastest growing first."""
        keys = list(self.terms)
        # At most a handful of terms: insertion by the pairwise order.
        ordered: list[_Key] = []
        for key in keys:
            i = 0
            while i < len(ordered) and _sign(_quotient(ordered[i], key)) > 0:
                i += 1
            ordered.insert(i, key)
        return ordered

    def _factored(self) -> tuple[_Key, _Coefficient, Tail]:
        """Return (L, c, r) with self = L (c + r) and r decaying."""
        if not self.terms:
            raise TailUnknown
        lead, *others = self._sorted()
        rest = {_quotient(key, lead): self.terms[key] for key in others}
        return lead, self.terms[lead], Tail(rest, self.start)

    def _small(self) -> _Coefficient:
        """Return bounds of a sum of decaying and constant terms."""
        if not self.terms:
            return _ZERO, _ZERO
        # Factored term by term: -u + u**2 with u in [0, 1/4] is -u (1 - u), hence never positive.
        lead, (lo, hi) = self._leading()
        sign = _sign(lead)
        if sign > 0:
            raise TailUnknown
        if sign == 0:
            return _short(lo, hi)
        bound = _decaying_bound(lead, self.start)
        return _short(min(lo * bound, _ZERO), max(hi * bound, _ZERO))

    def _leading(self) -> tuple[_Key, _Coefficient]:
        """Return (L, C) with self in L * C on the tail."""
        lead, c, rest = self._factored()
        lo, hi = rest._small()
        return lead, (c[0] + lo, c[1] + hi)

    @property
    def positive(self) -> bool:
        return bool(self.terms) and self._leading()[1][0] > 0

    @property
    def negative(self) -> bool:
        return bool(self.terms) and self._leading()[1][1] < 0

    def range(self) -> Interval:
        """Return an interval that holds every value on [B, oo)."""
        if not self.terms:
            return Interval(0.0, 0.0)
        lead, (lo, hi) = self._leading()
        sign = _sign(lead)
        if sign > 0:
            return Interval(0.0 if lo >= 0 else -math.inf, 0.0 if hi <= 0 else math.inf)
        bound = _UNIT if sign == 0 else _decaying_bound(lead, self.start)
        if sign < 0:
            lo, hi = min(lo * bound, _ZERO), max(hi * bound, _ZERO)
        return _to_interval((lo, hi))

    def diverges(self) -> bool:
        """Whether it is proved to tend to infinity in absolute value."""
        try:
            lead, (lo, hi) = self._leading()
        except TailUnknown:
            return False
        return _sign(lead) > 0 and (lo > 0 or hi < 0)

    def hull(self, other: Tail) -> Tail:
        return self.constant(self.range().hull(other.range()))

    # -- arithmetic --------------------------------------------------------------------------------------

    def __neg__(self) -> Tail:
        return Tail({key: (-b, -a) for key, (a, b) in self.terms.items()}, self.start)

    def __add__(self, other: Tail) -> Tail:
        if not isinstance(other, Tail):
            return NotImplemented
        terms = dict(self.terms)
        for key, (a, b) in other.terms.items():
            lo, hi = terms.get(key, (_ZERO, _ZERO))
            terms[key] = _short(lo + a, hi + b)
        return Tail({key: c for key, c in terms.items() if c[0] or c[1]}, self.start)._capped()

    def __sub__(self, other: Tail) -> Tail:
        return self + -other

    def __mul__(self, other: Tail) -> Tail:
        if not isinstance(other, Tail):
            return NotImplemented
        terms: dict[_Key, _Coefficient] = {}
        for key, a in self.terms.items():
            for key_, b in other.terms.items():
                new, c = _product(key, key_), _times(a, b)
                lo, hi = terms.get(new, (_ZERO, _ZERO))
                terms[new] = _short(lo + c[0], hi + c[1])
        return Tail({key: c for key, c in terms.items() if c[0] or c[1]}, self.start)._capped()

    def scale(self, factor: Fraction) -> Tail:
        return self * self._constant((_flint(factor),) * 2)

    def _capped(self) -> Tail:
        """Fold the smallest terms into the smallest one kept, so that the number of terms stays bounded."""
        if len(self.terms) <= _MAX_TERMS:
            return self
        ordered = self._sorted()
        kept = {key: self.terms[key] for key in ordered[:_MAX_TERMS]}
        last = ordered[_MAX_TERMS - 1]
        folded = Tail({_quotient(key, last): self.terms[key] for key in ordered[_MAX_TERMS:]}, self.start)
        lo, hi = folded._small()
        kept[last] = _short(kept[last][0] + lo, kept[last][1] + hi)
        return Tail(kept, self.start)

    def power(self, exponent: Fraction) -> Tail:
        if exponent.denominator == 1 and exponent >= 0:
            result = self.rational_on(Fraction(1), self.start)
            for _ in range(int(exponent)):
                result = result * self
            return result
        lead, c, rest = self._factored()
        if c[0] <= 0 <= c[1] or (exponent.denominator > 1 and c[0] < 0):
            raise TailUnknown
        E = tuple((e, _integral(d * exponent)) for e, d in lead[0])
        key = E, _integral(lead[1] * exponent), _integral(lead[2] * exponent)
        head = Tail({key: self._number_power(c, exponent)}, self.start)
        inverse = self._constant(_short(1 / c[1], 1 / c[0]))
        return head * (rest * inverse)._one_plus_power(exponent)

    @staticmethod
    def _number_power(c: _Coefficient, exponent: Fraction) -> _Coefficient:
        if c == _EXACTLY_ONE:
            return c
        if exponent.denominator == 1:
            ends = sorted((c[0] ** int(exponent), c[1] ** int(exponent)))
            return _short(ends[0], ends[1])
        return _from_interval(_to_interval(c).power(exponent))

    def _one_plus_power(self, exponent: Fraction) -> Tail:
        """Return (1 + r)**exponent for this decaying r."""
        binomial = [Fraction(1)]
        for k in range(_ORDER):
            binomial.append(binomial[-1] * (exponent - k) / (k + 1))
        return self._taylor(binomial, lambda at: _positive(at).power(exponent - _ORDER))

    def _taylor(self, coefficients: list[Fraction], last: Callable[[Interval], Interval]) -> Tail:
        """Return f(r) for decaying r: Taylor's polynomial and Lagrange's remainder.

        The remainder is coefficients[_ORDER] * last(xi) * r**_ORDER with xi between 0 and r.
        """
        here = _to_interval(self._small())
        around = Interval(min(here.lo, 0.0), max(here.hi, 0.0))
        power = self.rational_on(Fraction(1), self.start)
        result = power.scale(coefficients[0])
        for k in range(1, _ORDER):
            power = power * self
            result = result + power.scale(coefficients[k])
        if coefficients[_ORDER] == 0:
            return result
        return result + (power * self * self.constant(last(around))).scale(coefficients[_ORDER])

    # -- elementary functions ----------------------------------------------------------------------------

    def exp(self) -> Tail:
        E: list[tuple[_Exponent, _Exponent]] = []
        p: _Exponent = 0
        scale, decaying = self._constant(_EXACTLY_ONE), {}
        for key, (a, b) in self.terms.items():
            if key == _ONE:
                scale = scale * self.constant(_to_interval((a, b)).exp())
            elif _sign(key) < 0:
                decaying[key] = (a, b)
            elif key[0] == () and key[2] == 0:
                # An inexact rate c in [a, b]: exp(c x**p) lies between 0 and exp(b x**p).
                E.append((key[1], _python(b)))
                if a != b:
                    scale = scale * self._constant((_ZERO, _UNIT))
            elif key == ((), 0, 1) and a == b:
                p = _python(a)
            else:
                return self._exp_of_fast()
        growth = tuple(sorted(((e, c) for e, c in E if c), reverse=True))
        small = Tail(decaying, self.start)
        tail = small._taylor(_EXP, Interval.exp) if decaying else self._constant(_EXACTLY_ONE)
        return Tail({(growth, p, 0): _EXACTLY_ONE}, self.start) * scale * tail

    def _exp_of_fast(self) -> Tail:
        """Bound exp(g) for g that falls faster than any power: exp(g) <= exp(-k x**d)."""
        lead, (_, hi) = self._leading()
        if hi >= 0 or not lead[0]:
            return self.constant(self.range().exp())
        degree = 2 * max(1, math.ceil(lead[0][0][0]))
        # x**d / L falls, hence L >= x**d / bound from the start on.
        bound = _decaying_bound(_quotient(((), degree, 0), lead), self.start)
        rate = _python(_short(hi / bound, hi / bound)[1])
        return Tail({(((degree, rate),), 0, 0): (_ZERO, _UNIT)}, self.start)

    def log(self) -> Tail:
        lead, c, rest = self._factored()
        if c[0] <= 0 or lead[2] != 0:
            raise TailUnknown
        terms: dict[_Key, _Coefficient] = {((), e, 0): (_flint(d),) * 2 for e, d in lead[0]}
        if lead[1]:
            terms[((), 0, 1)] = (_flint(lead[1]),) * 2
        if c != _EXACTLY_ONE:
            terms[_ONE] = _from_interval(_to_interval(c).log())
        inverse = self._constant(_short(1 / c[1], 1 / c[0]))

        small = (rest * inverse)._taylor(_LOG, lambda at: _positive(at).power(Fraction(-_ORDER)))
        return Tail(terms, self.start) + small

    def _grows(self) -> int:
        """Return the sign of the infinity that it tends to, or 0."""
        if not self.terms:
            return 0
        lead, (lo, hi) = self._leading()
        return 0 if _sign(lead) <= 0 else (lo > 0) - (hi < 0)

    def _bounded(
        self, function: Callable[[Interval], Interval], slope: Callable[[Interval], Interval]
    ) -> Tail:
        """Return f(c + r) = f(c) + r f'(somewhere between) for a bounded argument with constant part c."""
        constant = self.terms.get(_ONE, (_ZERO, _ZERO))
        rest = Tail({key: c for key, c in self.terms.items() if key != _ONE}, self.start)
        whole = self.range()
        if not whole.finite:
            raise TailUnknown
        middle = _to_interval(constant)
        return self.constant(function(middle)) + rest * self.constant(slope(whole.hull(middle)))

    def tanh(self) -> Tail:
        sign = self._grows()
        if sign == 0:
            return self._bounded(Interval.tanh, lambda v: v.sech().power(Fraction(2)))
        w = self.scale(Fraction(-2 * sign)).exp()
        one = self._constant(_EXACTLY_ONE)
        value = one - w.scale(Fraction(2)) * (one + w).power(Fraction(-1))
        return value if sign > 0 else -value

    def sech(self) -> Tail:
        sign = self._grows()
        if sign == 0:
            return self._bounded(Interval.sech, lambda v: -(v.sech() * v.tanh()))
        w = self.scale(Fraction(-sign)).exp()
        one = self._constant(_EXACTLY_ONE)
        return w.scale(Fraction(2)) * (one + w * w).power(Fraction(-1))

    def cosh(self) -> Tail:
        return (self.exp() + (-self).exp()).scale(Fraction(1, 2))

    def sinh(self) -> Tail:
        return (self.exp() - (-self).exp()).scale(Fraction(1, 2))

    def atan(self) -> Tail:
        sign = self._grows()
        if sign == 0:
            return self._bounded(Interval.atan, lambda v: _one_plus_square(v).power(Fraction(-1)))
        half = self.constant(Interval.pi().scale(Fraction(sign, 2)))
        return half - self.power(Fraction(-1)).atan()

    def asinh(self) -> Tail:
        sign = self._grows()
        if sign == 0:
            return self._bounded(Interval.asinh, lambda v: _one_plus_square(v).power(Fraction(-1, 2)))
        g = self if sign > 0 else -self
        value = (g + (g * g + self._constant(_EXACTLY_ONE)).power(Fraction(1, 2))).log()
        return value if sign > 0 else -value

    def erf(self) -> Tail:
        sign = self._grows()
        if sign == 0:
            rate = Interval.pi().power(Fraction(-1, 2)).scale(Fraction(2))
            return self._bounded(Interval.erf, lambda v: rate * (-v.power(Fraction(2))).exp())
        g = self if sign > 0 else -self
        # exp(-g*g)/(g sqrt(pi)) (1 - 1/(2 g*g)) < erfc(g) < exp(-g*g)/(g sqrt(pi)) for g > 0.
        # https://dlmf.nist.gov/7.8 and 7.12.1: the series envelops.
        if not g.positive:
            raise TailUnknown
        half = (g * g).power(Fraction(-1)).scale(Fraction(1, 2))
        within = self._constant(_EXACTLY_ONE) - half * self._constant((_ZERO, _UNIT))
        rate = Interval.pi().power(Fraction(-1, 2))
        erfc = (-(g * g)).exp() * g.power(Fraction(-1)) * self.constant(rate) * within
        value = self._constant(_EXACTLY_ONE) - erfc
        return value if sign > 0 else -value

    def sin(self) -> Tail:
        if not self.range().finite:
            return self.constant(Interval(-1.0, 1.0))
        return self._bounded(Interval.sin, Interval.cos)

    def cos(self) -> Tail:
        if not self.range().finite:
            return self.constant(Interval(-1.0, 1.0))
        return self._bounded(Interval.cos, lambda v: -v.sin())

    def abs(self) -> Tail:
        return self.constant(self.range().abs())

    def larger(self, other: Tail) -> Tail:
        return self.constant(self.range().larger(other.range()))


def _positive(v: Interval) -> Interval:
    """Return 1 + v, which must be positive."""
    base = Interval(1.0, 1.0) + v
    if base.lo <= 0.0:
        raise TailUnknown
    return base


def _one_plus_square(v: Interval) -> Interval:
    return Interval(1.0, 1.0) + v.power(Fraction(2))
