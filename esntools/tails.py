"""Enclosures for every x >= B at once: asymptotic series whose coefficients are rational intervals.

A value on the tail [B, oo) is a sum of terms c * exp(E(x)) * x**p * log(x)**q, where c lies in an interval
[lo, hi] of exact rationals and E is a sum of positive powers of x. Leading terms that are known exactly
cancel exactly, so that the slope of x/sqrt(1 + x**2), of a GELU or of log(cosh(x)) keeps its sign and size
all the way to infinity, where plain interval arithmetic knows nothing. Whatever cannot be expressed raises
`TailUnknown`; nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final, TypeAlias, final

from esntools.intervals import Interval

__all__ = ["Tail", "TailUnknown"]

_MAX_TERMS: Final = 6
_ORDER: Final = 3
_BITS: Final = 192

#: E as ((exponent, coefficient), ...) with falling positive exponents; then p and q.
_Key: TypeAlias = tuple[tuple[tuple[Fraction, Fraction], ...], Fraction, Fraction]
_Coefficient: TypeAlias = tuple[Fraction, Fraction]

_ONE: Final[_Key] = ((), Fraction(0), Fraction(0))
_EXACTLY_ONE: Final[_Coefficient] = (Fraction(1), Fraction(1))


class TailUnknown(ArithmeticError):
    """The expression cannot be enclosed on [B, oo) for this B."""


def _times(a: _Coefficient, b: _Coefficient) -> _Coefficient:
    products = [x * y for x in a for y in b]
    return _short(min(products), max(products))


def _short(lo: Fraction, hi: Fraction) -> _Coefficient:
    """Round outwards when the fractions have become long and the interval is not a point."""
    if lo != hi:
        if lo.denominator.bit_length() > _BITS:
            lo = Fraction(math.floor(lo * 2**_BITS), 2**_BITS)
        if hi.denominator.bit_length() > _BITS:
            hi = Fraction(math.ceil(hi * 2**_BITS), 2**_BITS)
    elif lo.denominator.bit_length() > 4 * _BITS:
        return Fraction(math.floor(lo * 2**_BITS), 2**_BITS), Fraction(math.ceil(lo * 2**_BITS), 2**_BITS)
    return lo, hi


def _from_interval(value: Interval) -> _Coefficient:
    if not value.finite:
        raise TailUnknown
    return Fraction(value.lo), Fraction(value.hi)


def _to_interval(c: _Coefficient) -> Interval:
    return Interval.rational(c[0]).hull(Interval.rational(c[1]))


def _quotient(a: _Key, b: _Key) -> _Key:
    exponents = dict(a[0])
    for e, c in b[0]:
        exponents[e] = exponents.get(e, Fraction(0)) - c
    E = tuple(sorted(((e, c) for e, c in exponents.items() if c), reverse=True))
    return E, a[1] - b[1], a[2] - b[2]


def _product(a: _Key, b: _Key) -> _Key:
    return _quotient(a, _quotient(_ONE, b))


def _sign(key: _Key) -> int:
    """1 when the term grows, -1 when it decays, 0 when it is the constant."""
    leading = key[0][0][1] if key[0] else (key[1] or key[2])
    return (leading > 0) - (leading < 0)


def _decaying_bound(key: _Key, start: Fraction) -> Fraction:
    """Return an upper bound of a decaying term on [B, oo), after a proof that it falls from B on.

    With t = x**e for the leading exponent e of E, x times the slope of the term's logarithm is at most
    t (e c + sum of the positive lower terms at B) + max(p, 0) + max(q, 0)/log(B).
    """
    E, p, q = key
    b = Interval.rational(start)
    rest = Interval.rational(max(p, Fraction(0)) if E else p)
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
                factor = factor + Interval.rational(e * d) * b.power(e - lead)
        if factor.hi > 0.0:
            raise TailUnknown
        rest = rest + factor * b.power(lead)
    if rest.hi > 0.0:
        raise TailUnknown
    value = b.power(p)
    for e, c in E:
        value = value * (Interval.rational(c) * b.power(e)).exp()
    if q:
        value = value * b.log().power(q)
    if not value.finite:
        raise TailUnknown
    return Fraction(value.hi)


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
        return cls({((), Fraction(1), Fraction(0)): _EXACTLY_ONE}, start)

    @classmethod
    def rational_on(cls, value: Fraction, start: Fraction) -> Tail:
        return cls({_ONE: (value, value)} if value else {}, start)

    def constant(self, value: Interval) -> Tail:
        return self._constant(_from_interval(value))

    def _constant(self, value: _Coefficient) -> Tail:
        return Tail({_ONE: value} if any(value) else {}, self.start)

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
            return Fraction(0), Fraction(0)
        # Factored term by term: -u + u**2 with u in [0, 1/4] is -u (1 - u), hence never positive.
        lead, (lo, hi) = self._leading()
        sign = _sign(lead)
        if sign > 0:
            raise TailUnknown
        if sign == 0:
            return _short(lo, hi)
        bound = _decaying_bound(lead, self.start)
        return _short(min(lo * bound, Fraction(0)), max(hi * bound, Fraction(0)))

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
        bound = Fraction(1) if sign == 0 else _decaying_bound(lead, self.start)
        if sign < 0:
            lo, hi = min(lo * bound, Fraction(0)), max(hi * bound, Fraction(0))
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
            lo, hi = terms.get(key, (Fraction(0), Fraction(0)))
            terms[key] = _short(lo + a, hi + b)
        return Tail({key: c for key, c in terms.items() if any(c)}, self.start)._capped()

    def __sub__(self, other: Tail) -> Tail:
        return self + -other

    def __mul__(self, other: Tail) -> Tail:
        if not isinstance(other, Tail):
            return NotImplemented
        terms: dict[_Key, _Coefficient] = {}
        for key, a in self.terms.items():
            for key_, b in other.terms.items():
                new, c = _product(key, key_), _times(a, b)
                lo, hi = terms.get(new, (Fraction(0), Fraction(0)))
                terms[new] = _short(lo + c[0], hi + c[1])
        return Tail({key: c for key, c in terms.items() if any(c)}, self.start)._capped()

    def scale(self, factor: Fraction) -> Tail:
        return self * self._constant((factor, factor))

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
        head = Tail({(tuple((e, d * exponent) for e, d in lead[0]), lead[1] * exponent, lead[2] * exponent):
                     self._number_power(c, exponent)}, self.start)  # fmt: skip
        inverse = self._constant(_short(*sorted((1 / c[0], 1 / c[1]))))
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
        """Return (1 + r)**exponent for this decaying r: Taylor's terms and Lagrange's remainder."""

        def derivative(order: int, at: Interval) -> Interval:
            factor = Fraction(1)
            for k in range(order):
                factor *= exponent - k
            if factor == 0:
                return Interval(0.0, 0.0)
            base = Interval(1.0, 1.0) + at
            if base.lo <= 0.0:
                raise TailUnknown
            return base.power(exponent - order).scale(factor)

        return self._taylor(derivative)

    def _taylor(self, derivative: Callable[[int, Interval], Interval]) -> Tail:
        """Return f(r) for decaying r, given enclosures of f's derivatives on an interval."""
        at_zero, here = Interval(0.0, 0.0), _to_interval(self._small())
        around = Interval(min(here.lo, 0.0), max(here.hi, 0.0))
        power = result = None
        for k in range(_ORDER + 1):
            coefficient = derivative(k, at_zero if k < _ORDER else around).scale(Fraction(1, math.factorial(k)))
            power = self.rational_on(Fraction(1), self.start) if power is None else power * self
            term = self.constant(coefficient) * power
            result = term if result is None else result + term
        assert result is not None
        return result

    # -- elementary functions ----------------------------------------------------------------------------

    def exp(self) -> Tail:
        E: list[tuple[Fraction, Fraction]] = []
        p, scale, decaying = Fraction(0), self._constant(_EXACTLY_ONE), {}
        for key, (a, b) in self.terms.items():
            if key == _ONE:
                scale = scale * self.constant(_to_interval((a, b)).exp())
            elif _sign(key) < 0:
                decaying[key] = (a, b)
            elif key[0] == () and key[2] == 0:
                # An inexact rate c in [a, b]: exp(c x**p) lies between 0 and exp(b x**p).
                E.append((key[1], b))
                if a != b:
                    scale = scale * self._constant((Fraction(0), Fraction(1)))
            elif key == ((), Fraction(0), Fraction(1)) and a == b:
                p += a
            else:
                return self.constant(self.range().exp())
        growth = tuple(sorted(((e, c) for e, c in E if c), reverse=True))
        small = Tail(decaying, self.start)
        tail = small._taylor(lambda order, at: at.exp()) if decaying else self._constant(_EXACTLY_ONE)
        return Tail({(growth, p, Fraction(0)): _EXACTLY_ONE}, self.start) * scale * tail

    def log(self) -> Tail:
        lead, c, rest = self._factored()
        if c[0] <= 0 or lead[2] != 0:
            raise TailUnknown
        terms: dict[_Key, _Coefficient] = {((), e, Fraction(0)): (d, d) for e, d in lead[0]}
        if lead[1]:
            terms[((), Fraction(0), Fraction(1))] = (lead[1], lead[1])
        if c != _EXACTLY_ONE:
            terms[_ONE] = _from_interval(_to_interval(c).log())
        inverse = self._constant(_short(*sorted((1 / c[0], 1 / c[1]))))

        def derivative(order: int, at: Interval) -> Interval:
            base = Interval(1.0, 1.0) + at
            if base.lo <= 0.0:
                raise TailUnknown
            if order == 0:
                return base.log()
            sign = Fraction((-1) ** (order - 1) * math.factorial(order - 1))
            return base.power(Fraction(-order)).scale(sign)

        return Tail(terms, self.start) + ((rest * inverse)._taylor(derivative) if rest.terms else rest)

    def _grows(self) -> int:
        """Return the sign of the infinity that it tends to, or 0."""
        if not self.terms:
            return 0
        lead, (lo, hi) = self._leading()
        return 0 if _sign(lead) <= 0 else (lo > 0) - (hi < 0)

    def _bounded(self, function: Callable[[Interval], Interval], slope: Callable[[Interval], Interval]) -> Tail:
        """Return f(c + r) = f(c) + r f'(somewhere between) for a bounded argument with constant part c."""
        constant = self.terms.get(_ONE, (Fraction(0), Fraction(0)))
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
        within = self._constant(_EXACTLY_ONE) - half * self._constant((Fraction(0), Fraction(1)))
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


def _one_plus_square(v: Interval) -> Interval:
    return Interval(1.0, 1.0) + v.power(Fraction(2))
