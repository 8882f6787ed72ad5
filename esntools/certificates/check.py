"""Check an esntools certificate: read one JSON file, believe nothing in it, recompute everything.

    python check.py certificate.json

Exit code 0: valid. 1: invalid. 2: no certificate at all. 3: could not decide. 4: valid under an assumption.

The statement, the theorems with their proofs, and every field are in FORMAT.md beside this file; it is read
beside this one. This file imports nothing of esntools and runs alone. A double is the dyadic rational that it
is, and matrices are matrices of integers times a power of two. Where the integers grow long they are rounded,
and the rounding error is carried along and counted against the certificate. python-flint, where present,
multiplies them faster; it is needed only to enclose values of tanh and the like (fixed points, boxes, tubes).
"""

from __future__ import annotations

import base64
import bisect
import functools
import hashlib
import itertools
import json
import math
import operator
import os
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

try:
    import flint
    from flint import arb, fmpz, fmpz_mat
except ImportError:
    arb = fmpz_mat = None
    fmpz = int

F = Fraction
Vector = list[Fraction]
Vectors = list[list[Any]]  # of fractions, or of doubles
PREC, BITS, MAX_BYTES = 80, 60, 1 << 29
MAX_UNITS, MAX_SPARSE = (2500, 20000) if fmpz_mat else (250, 20000)
ONE, UNIT = 1 << PREC, (F(0), F(1))  # enclosures are pairs of integers in units of 1/ONE


class Invalid(Exception):
    """The certificate does not prove what it claims."""


class Undecided(Exception):
    """This checker cannot tell: newer format, unknown activation, too large."""


def need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Invalid(otherwise)


# -- exact arithmetic -----------------------------------------------------------------------------------


def whole(numbers: Sequence[Any]) -> tuple[list[int], int]:
    """Integers and e: the numbers (floats, or fractions with powers of two below) are integers * 2**-e."""
    least = min(map(abs, filter(None, numbers)), default=1.0)
    try:
        if not isinstance(least, float):
            raise OverflowError
        e = max(0, 53 - math.frexp(least)[1])
        # Exact: doubles have 53 bits, and products with powers of two are not rounded.
        integers = list(map(int, map(operator.mul, numbers, itertools.repeat(2.0**e))))
    except OverflowError:
        ratios = [x.as_integer_ratio() for x in numbers]
        e = max((d.bit_length() - 1 for _, d in ratios), default=0)
        integers = [n << (e - d.bit_length() + 1) for n, d in ratios]
        if any(d & (d - 1) for _, d in ratios):
            raise AssertionError("only powers of two divide") from None
    common = functools.reduce(operator.or_, integers, 0)
    if len(numbers) > 4096 and common.bit_length() > 512:
        raise Undecided("the numbers span too many orders of magnitude for this checker")
    drop = min(e, (common & -common).bit_length() - 1) if common else e
    return ([x >> drop for x in integers] if drop else integers), e - drop


def up_root(square: Fraction) -> Fraction:
    """The square root, rounded up by a relative 2**-90 at most."""
    k = 100 + max(0, square.denominator.bit_length() - square.numerator.bit_length()) // 2
    return F(math.isqrt(math.ceil(square * 4**k)) + 1, 1 << k) if square else F(0)


def up_power(base: Fraction, exponent: int) -> Fraction:
    """base**exponent for 0 <= base < 1, rounded up; never below 2**-4000."""
    result, factor = F(1), base
    while exponent:
        if exponent & 1:
            result = up(result * factor)
        factor, exponent = up(factor * factor), exponent >> 1
    return result


def up(x: Fraction, bits: int = 128) -> Fraction:
    """Round a number >= 0 up to about so many bits, or to units of 2**-4000."""
    k = min(4000, max(0, bits + x.denominator.bit_length() - x.numerator.bit_length()))
    return F(math.ceil(x * (1 << k)), 1 << k)


class Plain:
    """A matrix of integers with the methods of FLINT's that are used here."""

    def __init__(self, m: int, n: int, entries: list[int]) -> None:
        self.m, self.n, self.rows = m, n, [entries[i * n : (i + 1) * n] for i in range(m)]

    def nrows(self) -> int:
        return self.m

    def ncols(self) -> int:
        return self.n

    def entries(self) -> list[int]:
        return list(itertools.chain.from_iterable(self.rows))

    def transpose(self) -> Plain:
        return Plain(self.n, self.m, list(itertools.chain.from_iterable(zip(*self.rows))))

    def __getitem__(self, at: tuple[int, int]) -> int:
        return self.rows[at[0]][at[1]]

    def __setitem__(self, at: tuple[int, int], value: int) -> None:
        self.rows[at[0]][at[1]] = value

    def __mul__(self, other: Any) -> Plain:
        if isinstance(other, int):
            return Plain(self.m, self.n, [other * x for x in self.entries()])
        columns = list(zip(*other.rows))
        products = [sum(map(operator.mul, row, c)) for row in self.rows for c in columns]
        return Plain(self.m, other.n, products)

    def __eq__(self, other: Any) -> bool:
        return bool(self.rows == other.rows)

    def __add__(self, other: Plain) -> Plain:
        return Plain(self.m, self.n, list(map(operator.add, self.entries(), other.entries())))


Integers: Any = fmpz_mat or Plain


class Matrix:
    """Some matrix within err * 2**-e, entrywise, of body * 2**-e; rounded to `bits` bits as a factor."""

    def __init__(self, body: Any, e: int, err: int = 0, bits: int | None = None) -> None:
        self.body, self.e, self.err, self.bits = body, e, err, bits
        self.m, self.n = body.nrows(), body.ncols()

    @classmethod
    def of(cls, m: int, n: int, numbers: Sequence[Any]) -> Matrix:
        integers, e = whole(numbers)
        return cls(Integers(m, n, integers), e)

    @functools.cached_property
    def T(self) -> Matrix:
        other = Matrix(self.body.transpose(), self.e, self.err, self.bits)
        other.__dict__["T"] = self
        if "short" in self.__dict__:
            other.__dict__["short"] = other if self.short is self else self.short.T
        return other

    def keep(self, bits: int | None) -> Matrix:
        """The same, in products rounded to `bits` bits; None: never."""
        return Matrix(self.body, self.e, self.err, bits)

    @functools.cached_property
    def short(self) -> Matrix:
        """Rounded down to `bits` bits, but not beyond whole numbers."""
        if self.bits is None:
            return self
        entries = self.body.entries()
        drop = min(self.e, int(max(map(abs, entries), default=0)).bit_length() - self.bits)
        if drop <= 0:
            return self
        body = Integers(self.m, self.n, list(map(operator.rshift, entries, itertools.repeat(fmpz(drop)))))
        return Matrix(body, self.e - drop, (self.err >> drop) + 2, self.bits)

    @functools.cached_property
    def sums(self) -> list[int]:
        """Row sums of the absolute values of body."""
        flat, n = list(map(abs, self.body.entries())), self.n
        return [int(sum(flat[i : i + n])) for i in range(0, self.m * n, n)]

    def made(self, body: Any, e: int, err: int, other: Matrix | None = None) -> Matrix:
        both = [M.bits for M in (self, other) if M is not None and M.bits is not None]
        return Matrix(body, e, err, min(both, default=None))

    def __mul__(self, other: Matrix) -> Matrix:
        a, b = self.short, other.short
        err = a.n * a.err * b.err
        err += a.err * max(b.T.sums) if a.err else 0
        err += b.err * max(a.sums) if b.err else 0
        return a.made(a.body * b.body, a.e + b.e, err, b)

    def __add__(self, other: Matrix) -> Matrix:
        e = max(self.e, other.e)
        p, q = 1 << (e - self.e), 1 << (e - other.e)
        return self.made(self.body * p + other.body * q, e, self.err * p + other.err * q, other)

    def by(self, factor: Fraction) -> Matrix:
        """Times a dyadic number."""
        (c,), e = whole([factor])
        return self.made(self.body * c, self.e + e, self.err * abs(c))

    def scaled(self, factors: Vector) -> Matrix:
        """diag(factors) * self."""
        scale, e = whole(factors)
        M = self.short
        flat, n = M.body.entries(), self.n
        entries = [c * x for i, c in enumerate(map(fmpz, scale)) for x in flat[i * n : (i + 1) * n]]
        err = M.err * max(map(abs, scale))
        return M.made(Integers(self.m, n, entries), M.e + e, err)

    def plus(self, values: Vector) -> Matrix:
        """self + diag(values)."""
        diagonal, f = whole(values)
        e = max(self.e, f)
        body = self.body * (1 << (e - self.e))
        for i, d in enumerate(diagonal):
            body[i, i] = body[i, i] + (d << (e - f))
        return self.made(body, e, self.err << (e - self.e))

    def rows(self) -> Rows:
        """For a matrix that is known exactly."""
        flat, n = list(map(int, self.body.entries())), self.n
        return Rows([(range(n), flat[i * n : (i + 1) * n]) for i in range(self.m)], self.e, n)


Blocks = list[list[Any]]  # a matrix cut into blocks; None is a block of zeros


def dominance(S: Blocks, R: Blocks, slack: Vector | None = None) -> tuple[Fraction, Fraction]:
    """Lower bound and doubt of the least T_ii - sum over j != i of |T_ij| - slack_i, T = R S R', S symmetric.

    If it is positive, then R S R' is positive definite, hence R is nonsingular and S is positive definite;
    with slack_i >= sum_j |(R E R')_ij|, so is S + E.
    """

    @functools.cache
    def left(j: int, k: int) -> Any:
        terms = [a * S[m][k] for m, a in enumerate(R[j]) if a]
        need(len(terms) > 0, "witness.R: is singular")
        return functools.reduce(operator.add, terms)

    parts: dict[tuple[int, int], Matrix] = {}
    for i, j in itertools.combinations_with_replacement(range(len(S)), 2):  # block (j, i) of T, i <= j
        terms = [left(j, k) * b.T for k, b in enumerate(R[i]) if b]
        need(len(terms) > 0, "witness.R: is singular")
        parts[j, i] = functools.reduce(operator.add, terms)
    e, least = max(M.e for M in parts.values()), []
    for b in range(len(S)):
        own = parts[b, b]
        margins = [x + abs(x) for x in (int(own.body[k, k]) << (e - own.e) for k in range(own.n))]
        for (j, i), M in parts.items():
            if b in (i, j):
                sums, shift = (M if b == j else M.T), e - M.e
                margins = [x - ((s + sums.n * M.err) << shift) for x, s in zip(margins, sums.sums)]
        least += [F(x, 1 << e) for x in margins]
    doubt = max(F(2 * len(least) * M.err, 1 << M.e) for M in parts.values())
    return min(map(operator.sub, least, slack) if slack else least), doubt


def definite(n: int, form: Callable[[int | None], tuple[Blocks, Blocks]]) -> Fraction:
    """The dominance of R S R', by matrices rounded to 60 bits; exactly if that does not decide."""
    for bits in (BITS, None):
        margin, doubt = dominance(*form(bits))
        if margin > 0 or margin + doubt <= 0 or n > MAX_UNITS // 2:
            break
    return margin


class Rows:
    """A matrix known exactly, by rows: its columns (a range if it is full) and integers, times 2**-e."""

    def __init__(self, rows: Sequence[tuple[Sequence[int], list[int]]], e: int, width: int) -> None:
        self.rows, self.e, self.width = rows, e, width

    @functools.cached_property
    def size(self) -> Rows:
        """|self|"""
        return Rows([(columns, list(map(abs, row))) for columns, row in self.rows], self.e, self.width)

    @functools.cached_property
    def full(self) -> Matrix:
        return self.matrix(None)

    def matrix(self, bits: int | None, factors: Vector | None = None) -> Matrix:
        """diag(factors) * self as a full matrix, rounded to `bits` bits now and in products."""
        if max(len(self.rows), self.width) > MAX_UNITS:
            raise Undecided(f"this theorem needs a full matrix; this checker stops at {MAX_UNITS} units")
        scale, e = whole(factors) if factors else ([1] * len(self.rows), 0)
        e += self.e
        flat: list[int] = []
        for c, (columns, row) in zip(scale, self.rows):
            line = row if len(row) == self.width else [0] * self.width
            if line is not row:
                for j, x in zip(columns, row):
                    line[j] = x
            flat += [c * x for x in line] if factors else line
        drop = max(0, min(e, max(map(abs, flat)).bit_length() - bits)) if bits else 0
        body = Integers(len(self.rows), self.width, [x >> drop for x in flat] if drop else flat)
        return Matrix(body, e - drop, 1 if drop else 0, bits)

    def times(self, v: Vector) -> Vector:
        integers, e = whole(v)
        e += self.e
        at = (
            integers[c.start : c.stop] if isinstance(c, range) else [integers[j] for j in c]
            for c, _ in self.rows
        )
        sums = (sum(map(operator.mul, row, part)) for (_, row), part in zip(self.rows, at))
        return [F(x, 1 << e) for x in sums]

    def at(self, i: int, j: int) -> Fraction:
        columns, row = self.rows[i]
        k = bisect.bisect_left(columns, j)
        return F(row[k], 1 << self.e) if k < len(columns) and columns[k] == j else F(0)

    def part(self, units: Sequence[int]) -> Rows:
        """The rows and columns of some units."""
        place = {unit: k for k, unit in enumerate(units)}
        chosen = []
        for i in units:
            kept = [(place[j], x) for j, x in zip(*self.rows[i]) if j in place]
            chosen.append(([j for j, _ in kept], [x for _, x in kept]))
        return Rows(chosen, self.e, len(units))


# -- activations ----------------------------------------------------------------------------------------


def by_arb(function: Any) -> Any:
    """The range of a function on an interval, by FLINT's ball arithmetic."""

    def on(low: int, high: int) -> tuple[int, int]:
        if arb is None:
            raise Undecided("python-flint is needed to enclose the activation")
        with flint.ctx.workprec(4 * PREC):
            ball = function(arb(low + high, high - low) / (2 * ONE)) * ONE
            if not ball.is_finite():
                raise Undecided("no finite enclosure of the activation")
            return int(ball.lower().floor().fmpz()), int(ball.upper().ceil().fmpz())

    return on


def rising(function: Any) -> Any:
    """The range of an increasing function on an interval, from its values at the ends."""
    at = by_arb(function)
    return lambda low, high: (at(low, low)[0], at(high, high)[1])


def even(function: Any, top: Fraction) -> Any:
    """The range of an even function that falls with |x| from `top` at 0."""
    at = by_arb(function)

    def on(low: int, high: int) -> tuple[int, int]:
        near, far = 0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))
        return max(0, at(far, far)[0]), min(math.ceil(top * ONE), at(near, near)[1])

    return on


class Phi(NamedTuple):
    """An activation: slopes on the line, bounds of its values (or None), both on an interval (low, high)."""

    slopes: tuple[Fraction, Fraction]
    bounds: tuple[int, int] | None = None
    values_on: Any = None
    slopes_on: Any = None
    odd: bool = False  # odd and nondecreasing


ERF = F(1128379167095512574, 10**18)  # 2/sqrt(pi) = 1.12837916709551257389...
ACTIVATIONS = {
    "tanh(x)": Phi(UNIT, (-1, 1), rising(lambda x: x.tanh()), even(lambda x: x.sech() ** 2, F(1)), True),
    "1/(1 + exp(-x))": Phi((F(0), F(1, 4)), (0, 1),
        rising(lambda x: ((x / 2).tanh() + 1) / 2), even(lambda x: (x / 2).sech() ** 2 / 4, F(1, 4))),
    "erf(x)": Phi((F(0), ERF), (-1, 1), rising(lambda x: x.erf()),
        even(lambda x: 2 * (-x * x).exp() / arb.pi().sqrt(), ERF), True),
    "x/(1 + Abs(x))": Phi(UNIT, (-1, 1), rising(lambda x: x / (1 + abs(x))),
        even(lambda x: 1 / (1 + abs(x)) ** 2, F(1)), True),
    "sin(x)": Phi((F(-1), F(1)), (-1, 1), by_arb(lambda x: x.sin()), by_arb(lambda x: x.cos())),
    "x": Phi((F(1), F(1)), None, lambda low, high: (low, high), lambda low, high: (ONE, ONE), True),
    # Slope 0 or 1 by pieces; at a kink the hull of both.
    "Max(0, x)": Phi(UNIT, None, lambda low, high: (max(0, low), max(0, high)),
        lambda low, high: (ONE * (low > 0), ONE * (high >= 0))),
    "Max(-1, Min(1, x))": Phi(UNIT, (-1, 1),
        lambda low, high: (max(-ONE, min(ONE, low)), max(-ONE, min(ONE, high))),
        lambda low, high: (ONE * (low > -ONE and high < ONE), ONE * (high >= -ONE and low <= ONE)), True),
}  # fmt: skip


def around(centres: Vector, radii: Vector) -> list[tuple[int, int]]:
    """Intervals rounded outwards to units of 1/ONE."""
    return [(math.floor((c - r) * ONE), math.ceil((c + r) * ONE)) for c, r in zip(centres, radii)]


def within(low: Fraction, found: tuple[int, int], high: Fraction) -> bool:
    return low * ONE <= found[0] and found[1] <= high * ONE


def secant_within(phi: Phi, low: Fraction, high: Fraction, z: tuple[int, int], star: tuple[int, int]) -> bool:
    """Whether (phi(y) - phi(s)) / (y - s) lies in [low, high] for all y in z, s in star, y != s."""
    pieces, tries = [z], 0
    base = phi.values_on(*star)
    while pieces and tries < 6000:
        (p, q), tries = pieces.pop(), tries + 1
        least, most = phi.slopes_on(min(p, star[0]), max(q, star[1]))
        if q < star[0] or star[1] < p:
            value = phi.values_on(p, q)
            if p > star[1]:
                rise, run = (value[0] - base[1], value[1] - base[0]), (p - star[1], q - star[0])
            else:
                rise, run = (base[0] - value[1], base[1] - value[0]), (star[0] - q, star[1] - p)
            least = max(least, rise[0] * ONE // run[rise[0] >= 0])
            most = min(most, -(-rise[1] * ONE // run[rise[1] < 0]))
        if not within(low, (least, most), high):
            if q - p < 2:
                return False
            pieces += [(p, (p + q) // 2), ((p + q) // 2, q)]
    return not pieces


# -- reading --------------------------------------------------------------------------------------------


def fields(value: Any, place: str, *names: str) -> list[Any]:
    """The values of exactly these keys."""
    need(isinstance(value, dict), f"{place}: must be an object")
    need(set(value) == set(names), f"{place}: must have exactly the keys {', '.join(names)}")
    return [value[name] for name in names]


def number(value: Any, place: str) -> Fraction:
    """A double as Python's float.hex writes it."""
    try:
        x = float.fromhex(value)
        need(math.isfinite(x) and x.hex() == value, f"{place}: not finite, or not in its shortest form")
        return F(x)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(f"{place}: must be a hexadecimal double") from None


def integer(value: Any, least: int, place: str) -> int:
    need(type(value) is int and value >= least, f"{place}: must be an integer, at least {least}")
    return int(value)


def unpack(text: Any, code: str, place: str) -> tuple[Any, ...]:
    try:
        data = base64.b64decode(text, validate=True)
        need(base64.b64encode(data).decode() == text, f"{place}: not canonical base64")
        return struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
    except (TypeError, ValueError, struct.error):
        raise Invalid(f"{place}: must be base64 of little-endian numbers") from None


class Array(NamedTuple):
    """The entries in row-major order; of a sparse matrix the nonzero ones, with their rows and columns."""

    shape: list[int]
    flat: tuple[float, ...]
    at: tuple[tuple[int, ...], tuple[int, ...]] | None

    def dense(self) -> Sequence[float]:
        if self.at is None:
            return self.flat
        if math.prod(self.shape) > 4 * MAX_UNITS**2:
            raise Undecided("an array is too large for this checker")
        flat = [0.0] * math.prod(self.shape)
        for i, j, x in zip(*self.at, self.flat):
            flat[i * self.shape[1] + j] = x
        return flat

    def nonzero(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]:
        if self.at is not None:
            return *self.at, self.flat
        m, n = self.shape
        rows = itertools.chain.from_iterable(itertools.repeat(i, n) for i in range(m))
        columns = itertools.cycle(range(n)) if n else ()
        return (
            tuple(itertools.compress(rows, self.flat)), tuple(itertools.compress(columns, self.flat)),
            tuple(filter(None, self.flat)),
        )  # fmt: skip

    def matrix(self) -> Matrix:
        return Matrix.of(self.shape[0], self.shape[1], self.dense())

    def rows(self) -> Rows:
        m, n = self.shape
        integers, e = whole(self.flat)
        if self.at is None:
            return Rows([(range(n), integers[i * n : (i + 1) * n]) for i in range(m)], e, n)
        found: list[tuple[Any, list[int]]] = [([], []) for _ in range(m)]
        for i, j, x in zip(*self.at, integers):
            found[i][0].append(j)
            found[i][1].append(x)
        return Rows(found, e, n)


def array(value: Any, place: str, *shape: int | None) -> Array:
    """A finite array; None: any length."""
    sparse = isinstance(value, dict) and "rows" in value
    names = ("shape", "type", "data") + (("rows", "columns") if sparse else ())
    size, kind, data, *index = fields(value, place, *names)
    need(isinstance(size, list) and all(type(n) is int and n >= 0 for n in size), f"{place}: bad shape")
    fits = len(size) == len(shape) and all(m is None or n == m for n, m in zip(size, shape))
    need(fits and kind in ("f8", "f4"), f"{place}: wrong shape {size} or type")
    if max(size) > 10**6 or (not sparse and math.prod(size) > 4 * MAX_UNITS**2):
        raise Undecided(f"{place}: too large for this checker")
    flat = unpack(data, {"f8": "d", "f4": "f"}[kind], place)
    need(all(map(math.isfinite, flat)), f"{place}: every number must be finite")
    if not sparse:
        need(len(flat) == math.prod(size), f"{place}: must have {math.prod(size)} entries")
        return Array(size, flat, None)
    rows, columns = (unpack(x, "i", place) for x in index)
    need(len(size) == 2 and kind == "f8" and 0.0 not in flat, f"{place}: lists a zero, or is not f8")
    need(len(rows) == len(columns) == len(flat), f"{place}: lengths differ")
    need(all(0 <= i < size[0] and 0 <= j < size[1] for i, j in zip(rows, columns)), f"{place}: outside")
    need(all(map(operator.lt, zip(rows, columns), zip(rows[1:], columns[1:]))), f"{place}: out of order")
    return Array(size, flat, (rows, columns))


def vector(value: Any, place: str, length: int) -> Vector:
    return [F(x) for x in array(value, place, length).flat]


def matrix(value: Any, place: str, m: int, n: int) -> Matrix:
    return array(value, place, m, n).matrix()


class Network:
    """The network section, its hash recomputed, an affine feedback folded in."""

    def __init__(self, section: Any, assumes: Any, folder: Path | None) -> None:
        if isinstance(section, dict) and "file" in section:
            section = from_file(fields(section, "network", "file", "hash"), folder)
        names = ("W", "W_in", "W_fb", "b", "leak_rate", "W_out", "W_sq", "b_out")
        head = ("hash", "activation", "n_units", "n_inputs", "n_outputs")
        hash_, activation, n, n_in, n_out, *parts = fields(section, "network", *head, *names)
        need(all(type(k) is int and k >= 0 for k in (n, n_in, n_out)) and n > 0, "network: bad sizes")
        need(type(activation) is str, "network.activation: must be text")
        if n > MAX_SPARSE:
            raise Undecided(f"{n} units; this checker goes up to {MAX_SPARSE}")
        shapes = ((n, n), (n, n_in), (n, n_out), (n,), (n,), (n_out, n), (n_out, n), (n_out,))
        read: dict[str, Array] = {}
        for name, part, shape in zip(names, parts, shapes):
            if part is not None or name not in ("W_fb", "W_out", "W_sq", "b_out"):
                read[name] = array(part, f"network.{name}", *shape)
        need(("W_out" in read) == ("b_out" in read) == (n_out > 0), "network: W_out, b_out come with outputs")
        need(n_out > 0 or not read.keys() & {"W_fb", "W_sq"}, "network: no outputs to feed back")
        sizes = {"activation": activation, "n_inputs": n_in, "n_outputs": n_out, "n_units": n}
        digest = hashlib.sha256(b"esntools-network-1\n" + json.dumps(sizes, sort_keys=True).encode() + b"\n")
        i, j, entries = read["W"].nonzero()
        for index in (i, j):
            digest.update(struct.pack(f"<{len(index)}q", *index))
        for flat in (entries, *(read[name].dense() if name in read else () for name in names[1:])):
            digest.update(f"{len(flat)}\n".encode() + struct.pack(f"<{len(flat)}d", *flat))
        need(digest.hexdigest() == hash_, "network.hash: not the hash of these weights")
        if assumes is not None:
            bounds = [number(x, "assumes") for x in fields(assumes, "assumes", "low", "high")]
            need(activation not in ACTIVATIONS, "assumes: this activation is known, nothing may be assumed")
            need(bounds[0] <= bounds[1], "assumes: low must not exceed high")
        elif activation not in ACTIVATIONS:
            raise Undecided(f"activation {activation!a} is unknown to this checker")
        self.n, self.n_in, self.activation = n, n_in, activation
        self.phi = ACTIVATIONS[activation] if assumes is None else Phi((bounds[0], bounds[1]))
        self.c, self.a = ([F(x) for x in read[name].flat] for name in ("b", "leak_rate"))
        need(all(0 < x <= 1 for x in self.a), "network.leak_rate: must lie in (0, 1]")
        self.V, self.W_in = read["W"].rows(), read["W_in"].rows()
        self.bend: Matrix | None = None  # W_fb W_sq
        if "W_fb" in read:
            full = {k: read[k].matrix() for k in ("W_fb", "W_out", "W_sq") if k in read}
            self.V = (self.V.full + full["W_fb"] * full["W_out"]).rows()
            offset = full["W_fb"].rows().times([F(x) for x in read["b_out"].flat])
            self.c = [x + y for x, y in zip(self.c, offset)]
            self.bend = full["W_fb"] * full["W_sq"] if "W_sq" in read else None

    def driven(self, u: Vector) -> Vector:
        """W_in u + c."""
        return [x + y for x, y in zip(self.c, self.W_in.times(u))]

    def drives(self, vectors: Vectors, bare: bool = False) -> tuple[Vector, Vector]:
        """Middle and radius of the drives under the hull of these inputs (bare: they are the drives)."""
        ends = [(F(min(c)), F(max(c))) for c in zip(*vectors)]
        middle, radius = [(p + q) / 2 for p, q in ends], [(q - p) / 2 for p, q in ends]
        return (middle, radius) if bare else (self.driven(middle), self.W_in.size.times(radius))

    def box(self, middle: Vector, radius: Vector, steps: int) -> list[tuple[int, int]]:
        """The arguments of phi met after `steps` steps from the box of values, under these drives."""
        if self.phi.bounds is None:
            raise Invalid("slopes: a box needs a bounded activation")
        low, high = ([bound * ONE] * self.n for bound in self.phi.bounds)
        keep = [1 - a for a in self.a]
        for step in range(steps + 1):
            centre = self.V.times([F(p + q, 2 * ONE) for p, q in zip(low, high)])
            spread = self.V.size.times([F(q - p, 2 * ONE) for p, q in zip(low, high)])
            z = around(list(map(operator.add, centre, middle)), list(map(operator.add, spread, radius)))
            if step < steps:
                values = list(itertools.starmap(self.phi.values_on, z))
                low = [max(p, math.floor(k * p + a * v[0])) for k, a, p, v in zip(keep, self.a, low, values)]
                high = [min(q, math.ceil(k * q + a * v[1])) for k, a, q, v in zip(keep, self.a, high, values)]
        return z


def from_file(parts: list[Any], folder: Path | None) -> Any:
    """The network section in a file beside the certificate."""
    name, hash_ = parts
    need(isinstance(name, str) and 0 < len(name) < 256 and name not in (".", ".."), "network.file: bad name")
    need(not any(c in "/\\:" or ord(c) < 32 or ord(c) == 127 for c in name), "network.file: no bare name")
    if folder is None or not os.path.isfile(path := folder / name):  # noqa: PTH113 - raises nothing
        raise Undecided(f"the network file {name!a} is not there")
    try:
        section = read(path)
    except (OSError, ValueError):
        raise Invalid(f"network.file: {name!a} cannot be read as JSON") from None
    need(isinstance(section, dict) and section.get("hash") == hash_, "network.file: holds another network")
    return section


def input_class(claim: Any, width: int, kinds: Iterable[str]) -> tuple[str, Vectors]:
    """The kind, and the vectors that define it: for a box its two corners."""
    kind = str(claim.get("kind")) if isinstance(claim, dict) else ""
    arrays = {"constant": ("value",), "box": ("low", "high"), "alphabet": ("symbols",), "signal": ("values",)}
    need(kind in kinds and claim["kind"] == kind, "inputs.kind: unknown, or not allowed here")
    parts = fields(claim, "inputs", "kind", *arrays.get(kind, ()))[1:]
    if kind in ("alphabet", "signal"):
        rows = array(parts[0], "inputs", None, width)
        need(rows.shape[0] > 0, "inputs: at least one row")
        flat = rows.dense()
        return kind, [list(flat[i * width : (i + 1) * width]) for i in range(rows.shape[0])]
    vectors = [vector(p, "inputs", width) for p in parts]
    if kind == "box":
        need(all(x <= y for x, y in zip(*vectors)), "inputs: low must not exceed high")
    return kind, vectors or [[F(0)] * width]


CLASSES = ("zero", "constant", "box", "alphabet")


# -- contraction: FORMAT.md, section 4 --------------------------------------------------------------------


class Norm(NamedTuple):
    """N(d) <= size(e) if |d| <= e; |d_j| <= reach()_j N(d); |V d|_i <= tilt()_i N(d)."""

    size: Callable[[Vector], Fraction]
    reach: Callable[[], Vector]
    tilt: Callable[[], Vector]


class Set(NamedTuple):
    """All maps d -> (I - A) d + A D U d with low <= D <= high and |U - V| <= E (None: 0)."""

    V: Rows
    a: Vector
    low: Vector
    high: Vector
    E: Rows | None = None

    @property
    def gain(self) -> Vector:
        return [max(abs(p), abs(q)) for p, q in zip(self.low, self.high)]


def symmetric(value: Any, place: str, n: int) -> Matrix:
    M = matrix(value, place, n, n)
    need(bool(M.body == M.T.body), f"{place}: must be symmetric")
    return M


def quadratic(V: Rows, P: Matrix, R: Matrix) -> Norm:
    """The norm sqrt(d'Pd), P found positive definite by R."""
    # Any R will do, so the rounded one is taken for exact if it serves.
    for short in (Matrix((c := R.keep(BITS).short).body, c.e), R):
        mu = definite(P.n, lambda bits: ([[P.keep(bits)]], [[short.keep(bits)]]))  # noqa: B023
        if mu > 0 or P.n > MAX_UNITS // 2:
            break
    need(mu > 0, "witness.P: not positive definite")

    def root_over_mu(M: Matrix) -> Vector:
        """Roots of the column sums of M * M, over mu."""
        unit = mu * (1 << 2 * M.e)
        return [up_root(sum((abs(x) + M.err) ** 2 for x in row) / unit) for _, row in M.T.rows().rows]

    def size(e: Vector) -> Fraction:
        return up_root(sum(map(operator.mul, e, P.rows().size.times(e)), F(0)))

    return Norm(size, lambda: root_over_mu(short), lambda: root_over_mu(short * V.full.T))


def perron(of: Set, r: Fraction, witness: Any) -> Norm:
    v = vector(fields(witness, "witness", "weights")[0], "witness.weights", len(of.a))
    need(all(x > 0 for x in v), "witness.weights: must be positive")
    totals, extra = of.V.size.times(v), of.E.times(v) if of.E else [F(0)] * len(v)
    tilt = list(map(operator.add, totals, extra))
    for i, (a, p, q, g) in enumerate(zip(of.a, of.low, of.high, of.gain)):
        w, s = of.V.at(i, i), of.E.at(i, i) if of.E else F(0)
        own = max(abs(1 - a + a * d * u) for d in (p, q) for u in (w - s, w + s))
        bound = own * v[i] + a * g * (tilt[i] - (abs(w) + s) * v[i])
        need(bound <= r * v[i], f"row {i}: no contraction at this rate in the weighted norm")
    return Norm(lambda e: max(map(operator.truediv, e, v)), lambda: v, lambda: tilt)


def weighted(of: Set, r: Fraction, witness: Any, plain: bool) -> Norm:
    n, parts = len(of.a), fields(witness, "witness", *(() if plain else ("weights",)), "R")
    y = [F(1)] * n if plain else vector(parts[0], "witness.weights", n)
    need(all(x > 0 for x in y), "witness.weights: must be positive")
    R = matrix(parts[-1], "witness.R", n, n)
    own = [x * (r * r - 1 + a) for x, a in zip(y, of.a)]
    pull = [-a * x * g * g for a, x, g in zip(of.a, y, of.gain)]

    def form(bits: int | None) -> tuple[Blocks, Blocks]:
        S = (of.V.matrix(bits).T * of.V.matrix(bits, pull)).plus(own)
        return [[S]], [[R.keep(bits)]]

    need(definite(n, form) > 0, "witness: the matrix is not positive definite at this rate")
    reach = [up_root(1 / x) for x in y]

    def tilt() -> Vector:
        squares = [[(x * x, F(1) / y[j]) for j, x in zip(*row)] for row in of.V.rows]
        return [up_root(sum((s * w for s, w in row), F(0)) / (1 << 2 * of.V.e)) for row in squares]

    return Norm(lambda e: up_root(sum((x * d * d for x, d in zip(y, e)), F(0))), lambda: reach, tilt)


def quarters(value: Any, n: int) -> Blocks:
    """A 2n x 2n matrix as four blocks."""
    flat = array(value, "witness.R", 2 * n, 2 * n).dense()
    cut = []
    for i, j in itertools.product((0, n), (0, n)):
        part = [x for k in range(i, i + n) for x in flat[2 * n * k + j : 2 * n * k + j + n]]
        cut.append(Matrix.of(n, n, part) if any(part) else None)
    return [cut[:2], cut[2:]]


def kept(blocks: Blocks, bits: int | None) -> Blocks:
    return [[M and M.keep(bits) for M in row] for row in blocks]


def lurie(of: Set, r: Fraction, witness: Any) -> Norm:
    n = len(of.a)
    X_part, P_part, R_part, R_P_part = fields(witness, "witness", "multipliers", "P", "R", "R_P")
    X, P = vector(X_part, "witness.multipliers", n), symmetric(P_part, "witness.P", n)
    need(all(x > 0 for x in X), "witness.multipliers: must be positive")
    norm, R = quadratic(of.V, P, matrix(R_P_part, "witness.R_P", n, n)), quarters(R_part, n)
    half = [a * (q - p) / 2 for a, p, q in zip(of.a, of.low, of.high)]
    minus = [-x for x in half]
    middle = [a * (p + q) / 2 for a, p, q in zip(of.a, of.low, of.high)]

    def form(bits: int | None) -> tuple[Blocks, Blocks]:
        V, p = of.V.matrix(bits), P.keep(bits)
        J = of.V.matrix(bits, middle).plus([1 - a for a in of.a])
        PJ = p * J
        corner = p.by(r * r) + (J.T * PJ + V.T * of.V.matrix(bits, X)).by(F(-1))
        side = PJ.scaled(minus)
        return [[corner, side.T], [side, p.scaled(minus).T.scaled(half).plus(X)]], kept(R, bits)

    need(definite(2 * n, form) > 0, "witness: the Lur'e matrix is not positive definite at this rate")
    return norm


def vertices(of: Set, r: Fraction, witness: Any) -> Norm:
    n, (P_part, R_P_part) = len(of.a), fields(witness, "witness", "P", "R_P")
    need(n <= 12, "witness: too many units for a common quadratic norm")
    P = symmetric(P_part, "witness.P", n)
    norm = quadratic(of.V, P, matrix(R_P_part, "witness.R_P", n, n))
    for D in itertools.product(*({p, q} for p, q in zip(of.low, of.high))):

        def vertex(bits: int | None, D: tuple[Fraction, ...] = D) -> bool:
            J = of.V.matrix(bits, list(map(operator.mul, of.a, D))).plus([1 - a for a in of.a])
            S = P.by(r * r) + (J.T * (P.keep(bits) * J)).by(F(-1))
            # Rounding may spoil the symmetry by less than err: one triangle is taken for both.
            lower = [[int(S.body[max(i, j), min(i, j)]) for j in range(n)] for i in range(n)]
            for i in range(n):
                lower[i][i] -= n * S.err
            return eliminated(lower)

        need(vertex(BITS) or vertex(None), "witness.P: some vertex does not contract at this rate")
    return norm


def eliminated(S: list[list[int]]) -> bool:
    """Whether all leading principal minors of an integer matrix are positive (Bareiss)."""
    last = 1
    for k in range(len(S)):
        pivot = S[k][k]
        if pivot <= 0:
            return False
        for row in S[k + 1 :]:
            row[k + 1 :] = [(pivot * x - row[k] * y) // last for x, y in zip(row[k + 1 :], S[k][k + 1 :])]
        last = pivot
    return True


def cascade(of: Set, r: Fraction, witness: Any) -> Norm:
    n, (parts, w_part) = len(of.a), fields(witness, "witness", "blocks", "weights")
    need(isinstance(parts, list) and len(parts) > 0, "witness.blocks: must be a list")
    w = vector(w_part, "witness.weights", len(parts))
    need(all(x > 0 for x in w), "witness.weights: must be positive")
    home, units, norms, rates, work = [-1] * n, [], [], [], 0
    for b, part in enumerate(parts):
        own, theorem, rate, inner = fields(part, "witness.blocks", "units", "theorem", "rate", "witness")
        need(isinstance(own, list) and len(own) > 0, "blocks.units: must be a list")
        need(all(type(i) is int and 0 <= i < n and home[i] < 0 for i in own), "blocks.units: not a partition")
        need(all(i < j for i, j in itertools.pairwise(own)), "blocks.units: must increase")
        need(theorem != "cascade", "blocks.theorem: no cascade in a cascade")
        for i in own:
            home[i] = b
        rates.append(number(rate, "blocks.rate"))
        need(0 <= rates[b] < 1, "blocks.rate: must lie in [0, 1)")
        work += 2 ** len(own) if theorem == "common-quadratic" else 0
        if work > 1 << 16:
            raise Undecided("too many vertices for this checker")
        a, low, high = ([x[i] for i in own] for x in (of.a, of.low, of.high))
        norms.append(contraction(theorem, Set(of.V.part(own), a, low, high), rates[b], inner))
        units.append(own)
    need(min(home) >= 0, "blocks.units: not a partition")
    inner_reach = [F(0)] * n
    for own, norm in zip(units, norms):
        for i, x in zip(own, norm.reach()):
            inner_reach[i] = x
    reaches, e = whole(inner_reach)
    gain, e = of.gain, e + of.V.e
    for b, own in enumerate(units):
        pulls: dict[int, list[int]] = {}
        for k, i in enumerate(own):
            for j, x in zip(*of.V.rows[i]):
                if x and home[j] != b:
                    pulls.setdefault(home[j], [0] * len(own))[k] += abs(x) * reaches[j]
        total = rates[b] * w[b]
        for c, sums in pulls.items():
            pull = [of.a[i] * gain[i] * F(x, 1 << e) for i, x in zip(own, sums)]
            total += norms[b].size(pull) * w[c]
        need(total <= r * w[b], f"witness.blocks: block {b} is pulled too much by the others")
    reach = [w[home[i]] * x for i, x in enumerate(inner_reach)]

    def size(e: Vector) -> Fraction:
        return max(N.size([e[i] for i in own]) / x for own, N, x in zip(units, norms, w))

    return Norm(size, lambda: reach, lambda: of.V.size.times(reach))


def contraction(theorem: Any, of: Set, r: Fraction, witness: Any) -> Norm:
    """Check that every map of the set contracts by r in the norm of the witness."""
    need(all(p <= q for p, q in zip(of.low, of.high)), "slopes: low must not exceed high")
    need(isinstance(theorem, str) and theorem in NORMS, "theorem: none of contraction")
    if theorem == "perron-weights":
        return perron(of, r, witness)
    need(of.E is None, "feedback through squares: only perron-weights is valid")
    if theorem in ("spectral-norm", "diagonal-schur"):
        return weighted(of, r, witness, theorem == "spectral-norm")
    by_name = {"incremental-lurie": lurie, "common-quadratic": vertices, "cascade": cascade}
    return by_name[theorem](of, r, witness)


NORMS = {
    "spectral-norm": "the Euclidean norm", "perron-weights": "a weighted maximum norm",
    "diagonal-schur": "a weighted Euclidean norm", "incremental-lurie": "the norm of P",
    "common-quadratic": "the norm of P", "cascade": "a norm over blocks",
}  # fmt: skip


# -- proved: sections 3 to 5 ------------------------------------------------------------------------------


def forgotten(washout: Any) -> tuple[Fraction, Fraction, int]:
    spread, epsilon, steps = fields(washout, "claim.washout", "spread", "epsilon", "steps")
    ends = number(spread, "washout.spread"), number(epsilon, "washout.epsilon")
    need(all(x > 0 for x in ends), "washout: spread and epsilon must be positive")
    return *ends, integer(steps, 0, "washout.steps")


def bounded_slopes(
    section: Any, net: Network, vectors: Vectors, allowed: Sequence[str]
) -> tuple[str, int, Vector, Vector]:
    """The range, steps, low and high of slopes, checked to hold the slopes met."""
    range_ = section.get("range") if isinstance(section, dict) else None
    need(isinstance(range_, str) and range_ in allowed, "slopes.range: unknown, or not allowed here")
    more = {"box": ("steps",), "secant": ("steps", "ball")}.get(str(range_), ())
    low_part, high_part, *rest = fields(section, "slopes", "low", "high", *more, "range")[:-1]
    low, high = vector(low_part, "slopes.low", net.n), vector(high_part, "slopes.high", net.n)
    steps, phi = integer(rest[0], 0, "slopes.steps") if more else 0, net.phi
    need(steps <= 1000, "slopes.steps: at most 1000")
    if not more:
        met = all(p <= phi.slopes[0] and phi.slopes[1] <= q for p, q in zip(low, high))
        need(met, "slopes: others are met")
        return str(range_), 0, low, high
    need(phi.values_on is not None, "slopes: only global ones under an assumption")
    middle, radius = net.drives(vectors)
    z = net.box(middle, radius, steps)
    if range_ == "box":
        met = all(map(within, low, itertools.starmap(phi.slopes_on, z), high))
    else:
        ball = Ball(net, rest[1], [middle])
        centre, reach = net.V.times(ball.x), net.V.size.times([ball.r] * net.n)
        star = around(list(map(operator.add, centre, middle)), reach)
        met = all(secant_within(phi, *parts) for parts in zip(low, high, z, star))
    need(met, "slopes: others are met")
    return str(range_), steps, low, high


def check_proved(document: Any, net: Network, theorem: str) -> str:
    names = ("inputs", "states", "rate", "washout")
    inputs, states, rate_text, washout = fields(document["claim"], "claim", *names)
    kind, vectors = input_class(inputs, net.n_in, ("any", *CLASSES))
    rate = number(rate_text, "claim.rate")
    need(0 < rate < 1, "claim.rate: must lie in (0, 1)")
    need(net.bend is None, "feedback through squares is outside the theorems")
    odd = theorem == "zero-input-multipliers"
    ranges = ("odd",) if odd else ("global",) if kind == "any" else ("box", "secant")
    range_, after, low, high = bounded_slopes(document["slopes"], net, vectors, ranges)
    need(states == ("all" if range_ in ("global", "odd") else "box"), "claim.states: does not fit the slopes")
    need(range_ not in ("odd", "secant") or kind in (("zero",) if odd else ("zero", "constant")),
         "claim.inputs: this theorem needs one constant input")  # fmt: skip
    if odd:
        norm = multipliers(net, low, high, rate, document["witness"])
        what = "convergence to 0 in the norm of P"
    else:
        norm = contraction(theorem, Set(net.V, net.a, low, high), rate, document["witness"])
        what = "convergence to a fixed point" if range_ == "secant" else "contraction"
        what = f"{what} in {NORMS[theorem]}"
    what = f"{what} by {float(rate)} per step"
    if washout is None:
        return what
    spread, epsilon, steps = forgotten(washout)
    if range_ in ("box", "secant"):
        need(spread >= width(net), "washout.spread: must be at least the width of the box of values")
    need(steps >= after, "washout.steps: before the contraction begins")
    start = norm.size([spread] * net.n) * (2 if range_ in ("odd", "secant") else 1)
    left = start * up_power(rate, steps - after) * max(norm.reach())
    need(left <= epsilon, "washout: more may be left after these steps")
    return f"{what}; after {steps} steps within {float(epsilon)}"


def width(net: Network) -> int:
    if net.phi.bounds is None:
        raise Invalid("the activation must be bounded")
    return net.phi.bounds[1] - net.phi.bounds[0]


def multipliers(net: Network, low: Vector, high: Vector, r: Fraction, witness: Any) -> Norm:
    n, a = net.n, net.a
    P_part, Q_part, R_part, R_P_part = fields(witness, "witness", "P", "Q", "R", "R_P")
    need(net.phi.odd and not any(net.c), "zero-input multipliers need an odd monotone activation and no bias")
    need(not any(low) and len(set(high)) == 1 and high[0] > 0, "slopes: must be 0 and one for all units")
    P, Q = symmetric(P_part, "witness.P", n), matrix(Q_part, "witness.Q", n, n)
    norm, R = quadratic(net.V, P, matrix(R_P_part, "witness.R_P", n, n)), quarters(R_part, n)
    for M in (Q, Q.T):
        rows = enumerate(M.rows().rows)
        need(all(2 * row[i] >= sum(map(abs, row)) for i, (_, row) in rows), "witness.Q: not dominant")
    minus, keep = [-x for x in a], [1 - x for x in a]
    double = (Q + Q.T).rows()

    def form(bits: int | None) -> tuple[Blocks, Blocks]:
        p = P.keep(bits)
        corner = p.by(r * r) + p.scaled(keep).T.scaled([-x for x in keep])
        side = p.scaled(minus).T.scaled(keep).T + (Q.keep(bits) * net.V.matrix(bits)).by(F(-1))
        # (Q + Q') / high is not dyadic: round it, to the accuracy of the rest.
        last = p.scaled(minus).T.scaled(a) + quotient(double, high[0], bits or 200)
        return [[corner, side.T], [side, last]], kept(R, bits)

    need(definite(2 * n, form) > 0, "witness: the matrix is not positive definite at this rate")
    return norm


def quotient(M: Rows, by: Fraction, bits: int) -> Matrix:
    """M / by, rounded down to units of 2**-(bits + M.e)."""
    flat = [(x << bits) * by.denominator // by.numerator for _, row in M.rows for x in row]
    return Matrix(Integers(len(M.rows), M.width, flat), M.e + bits, 1)


# -- refuted: section 6 -----------------------------------------------------------------------------------


def dyadic(row: list[int], factor: Fraction, e: int, add: int = 0) -> list[int]:
    """row * 2**-e * factor in units of 1/ONE, rounded down, plus `add`."""
    shift = e + factor.denominator.bit_length() - 1 - PREC
    c = factor.numerator << max(0, -shift)
    return [(c * x >> max(0, shift)) + add for x in row]


class Ball:
    """The box |X - centre - fine| <= r, checked to hold a fixed point of the map lifted to these drives.

    Over it, the Jacobian matrix is within `error`, entrywise, of `middle`."""

    def __init__(self, net: Network, part: Any, drives: Vectors) -> None:
        n, p = net.n, len(drives)
        *x_parts, r_part, C_part = fields(part, "ball", "centre", "fine", "radius", "C")
        self.x = [s + t for s, t in zip(*(vector(x_part, "ball.centre", n * p) for x_part in x_parts))]
        self.r = r = number(r_part, "ball.radius")
        need(0 < r <= 1, "ball.radius: must lie in (0, 1]")
        C = matrix(C_part, "ball.C", n * p, n * p)
        rows, errors, gaps, unknown = [], [], [], []
        for j, drive in enumerate(drives):
            i = (j - 1) % p
            x = self.x[i * n : (i + 1) * n]
            V, curl, z = bent(net, x, r, drive)
            spread = [(s + t) * r for s, t in zip(V.size.times([F(1)] * n), curl.times([F(1)] * n))]
            slopes = list(itertools.starmap(net.phi.slopes_on, around(z, spread)))
            values = list(itertools.starmap(net.phi.values_on, around(z, [F(0)] * n)))
            left, right = [0] * (i * n), [0] * ((p - 1 - i) * n)
            for k, (a, s, v) in enumerate(zip(net.a, slopes, values)):
                gaps.append(self.x[j * n + k] - (1 - a) * x[k] - a * F(v[0] + v[1], 2 * ONE))
                unknown.append(a * F(v[1] - v[0], 2 * ONE))
                row = dyadic(V.rows[k][1], a * F(s[0] + s[1], 2 * ONE), V.e)
                row[k] += math.floor((1 - a) * ONE)
                rows += left + row + right
                error = dyadic(V.size.rows[k][1], a * F(s[1] - s[0], 2 * ONE), V.e, 1)
                turn = dyadic(curl.rows[k][1], a * F(max(map(abs, s)), ONE), curl.e, 3)
                errors.append((range(i * n, (i + 1) * n), list(map(operator.add, error, turn))))
        self.middle = Matrix(Integers(n * p, n * p, rows), PREC)
        self.error = Rows(errors, PREC, n * p)
        ones = [F(1)] * (n * p)
        inner = (C * self.middle.plus([F(-1)] * (n * p))).plus(ones)
        slope = [F(s, 1 << inner.e) for s in inner.sums]
        size = C.rows().size
        near = [abs(g) + e for g, e in zip(C.rows().times(gaps), size.times(unknown))]
        inside = all(g + r * (s + e) < r for g, s, e in zip(near, slope, size.times(self.error.times(ones))))
        need(inside, "ball: does not enclose a fixed point")


def bent(net: Network, x: Vector, r: Fraction, drive: Vector) -> tuple[Rows, Rows, Vector]:
    """The weights at x, how far they turn within r of it, and the argument of phi at x."""
    V = net.V.full.rows()
    z = list(map(operator.add, V.times(x), drive))
    if net.bend is None:
        return V, Rows([(range(net.n), [0] * net.n) for _ in x], 0, net.n), z
    square = net.bend.rows().times([c * c for c in x])
    turned = (net.V.full + net.bend.T.scaled([2 * c for c in x]).T).rows()
    return turned, net.bend.by(2 * r).rows().size, list(map(operator.add, z, square))


def check_refuted(document: Any, net: Network, theorem: str) -> str:
    (inputs,) = fields(document["claim"], "claim", "inputs")
    kind, vectors = input_class(inputs, net.n_in, ("any", *CLASSES))
    names = {"unstable-fixed-point": ("ball", "P", "R", "v"), "attracting-balls": ("inputs", "balls")}
    u_part, *parts = fields(document["witness"], "witness", "input", *names.get(theorem, ("balls",)))
    width_ = net.n if kind == "any" else net.n_in
    flat = array(u_part, "witness.input", None, width_)
    p = flat.shape[0]
    need(p >= 1, "witness.input: must have a row")
    if p * net.n > MAX_UNITS:
        raise Undecided(f"{p} x {net.n} units; this checker stops at {MAX_UNITS}")
    entries, symbols = list(map(F, flat.dense())), set(map(tuple, vectors))
    us = [entries[k * width_ : (k + 1) * width_] for k in range(p)]
    for u in us:
        if kind == "box":
            need(all(s <= x <= t for x, s, t in zip(u, *vectors)), "witness.input: outside the box")
        elif kind != "any":
            need(tuple(u) in symbols, "witness.input: not an input of the claim")
    under = "a constant input" if p == 1 else f"an input of period {p}"
    if theorem == "attracting-balls":
        need(p == 1, "witness.input: must be constant")
        near, around_ = input_class(parts[0], width_, CLASSES)
        if near == "alphabet":
            need(us[0] in around_, "witness.input: not among witness.inputs")
        ends = [(min(c), max(c)) for c in zip(*around_)]
        need(all(s <= x <= t for x, (s, t) in zip(us[0], ends)), "witness.input: not among witness.inputs")
        count = attracting(net, parts[1], *net.drives(around_, kind == "any"))
        need(count >= 2, "witness.balls: must be two at least")
        return f"{count} attracting responses at {under}, and at all inputs of the witness"
    drives = us if kind == "any" else [net.driven(u) for u in us]
    if theorem == "two-fixed-points":
        need(isinstance(parts[0], list) and len(parts[0]) == 2, "witness.balls: must be two")
        one, two = (Ball(net, part, drives) for part in parts[0])
        apart = any(abs(s - t) > one.r + two.r for s, t in zip(one.x, two.x))
        need(apart, "witness.balls: must be disjoint")
        return f"two {'fixed points' if p == 1 else 'periodic responses'} at {under}"
    size = p * net.n
    ball, v = Ball(net, parts[0], drives), vector(parts[3], "witness.v", size)
    P, R = symmetric(parts[1], "witness.P", size), matrix(parts[2], "witness.R", size, size)
    need(sum(map(operator.mul, v, P.rows().times(v)), F(0)) < 0, "witness.v: v'Pv must be negative")
    J, E, ones = ball.middle, ball.error, [F(1)] * size
    PJ = P * J
    # (J + D)'P(J + D) with |D| <= E differs from J'PJ by at most |PJ|'E + E'|PJ| + E'|P|E.
    back = E.full.T.rows()
    Eq = E.times(q := R.T.rows().size.times(ones))
    moved, fixed = PJ.rows().size, P.rows().size
    three = zip(PJ.T.rows().size.times(Eq), back.times(moved.times(q)), back.times(fixed.times(Eq)))
    slack = R.rows().size.times([sum(x, F(0)) for x in three])
    S = P + (J.T * PJ).by(F(-1))
    need(dominance([[S]], [[R]], slack)[0] > 0, "witness: P - J'PJ is not positive definite on the ball")
    return f"an unstable {'fixed point' if p == 1 else 'periodic response'} at {under}"


# -- local: section 7 -------------------------------------------------------------------------------------


def attracting(net: Network, parts: Any, middle: Vector, radius: Vector) -> int:
    """Check attracting balls under these drives, and that they are pairwise disjoint; return how many."""
    need(isinstance(parts, list) and len(parts) > 0, "witness.balls: must be a list")
    balls = [attracting_ball(net, part, middle, radius) for part in parts]
    for (x, r), (y, s) in itertools.combinations(balls, 2):
        apart = any(abs(p - q) > t + u for p, q, t, u in zip(x, y, r, s))
        need(apart, "witness.balls: must be disjoint")
    return len(balls)


def attracting_ball(net: Network, part: Any, middle: Vector, radius: Vector) -> tuple[Vector, Vector]:
    theorem, rate, slopes, witness = fields(part, "balls", "theorem", "rate", "slopes", "witness")
    r, phi, names = number(rate, "balls.rate"), net.phi, ("low", "high", "centre", "fine")
    *vectors, size, range_ = fields(slopes, "balls.slopes", *names, "radius", "range")
    need(0 < r < 1 and range_ == "ball", "balls: the rate must lie in (0, 1), the range be ball")
    low, high, centre, fine = (vector(x, "balls.slopes", net.n) for x in vectors)
    x, rho = list(map(operator.add, centre, fine)), number(size, "balls.radius")
    need(rho > 0, "balls.radius: must be positive")
    V, E, z = net.V, None, list(map(operator.add, net.V.times(x), middle))
    if net.bend is not None:
        weights = fields(witness, "witness", "weights")[0] if theorem == "perron-weights" else None
        need(weights is not None, "feedback through squares: only perron-weights is valid")
        v = vector(weights, "witness.weights", net.n)
        V, _, z = bent(net, x, rho, middle)
        E = net.bend.T.scaled([2 * rho * c for c in v]).T.rows().size
    norm = contraction(theorem, Set(V, net.a, low, high, E), r, witness)
    spread = [s + rho * t for s, t in zip(radius, norm.tilt())]
    met = all(map(within, low, itertools.starmap(phi.slopes_on, around(z, spread)), high))
    need(met, "balls.slopes: others are met")
    values = itertools.starmap(phi.values_on, around(z, radius))
    moved = [a * max(abs(F(y, ONE) - c) for y in pair) for a, pair, c in zip(net.a, values, x)]
    need(norm.size(moved) < (1 - r) * rho, "balls: is not mapped into its interior")
    return x, [rho * t for t in norm.reach()]


def check_local(document: Any, net: Network, theorem: str) -> str:
    if theorem == "contracting-tube":
        return tube(document, net)
    inputs, responses = fields(document["claim"], "claim", "inputs", "responses")
    _, vectors = input_class(inputs, net.n_in, CLASSES)
    count = attracting(net, fields(document["witness"], "witness", "balls")[0], *net.drives(vectors))
    need(integer(responses, 1, "claim.responses") == count, "claim.responses: is not the number of balls")
    return f"at least {count} attracting response{'s' * (count > 1)}"


def tube(document: Any, net: Network) -> str:
    names = ("inputs", "rate", "radius", "washout")
    inputs, rate_part, radius_part, washout = fields(document["claim"], "claim", *names)
    us = input_class(inputs, net.n_in, ("signal",))[1]
    T, n, phi, a = len(us), net.n, net.phi, net.a
    if T * n > 10**6:
        raise Undecided("the signal is too long for this checker")
    states, tube_part, entry = fields(document["witness"], "witness", "states", "tube", "entry")
    lam, radius, rho = (number(x, "claim or tube") for x in (rate_part, radius_part, tube_part))
    need(0 < lam < 1 and radius > 0 and rho > 0, "claim: rate in (0, 1), radii positive")
    need(net.bend is None, "feedback through squares is outside the theorems")
    flat = array(states, "witness.states", T + 1, n).dense()
    x = [[F(c) for c in flat[k * n : (k + 1) * n]] for k in range(T + 1)]
    V, ones = net.V.matrix(BITS), [F(1)] * n
    turn = [up_root(F(sum(c * c for c in row), 1 << 2 * net.V.e)) * rho for _, row in net.V.rows]
    # In matrices that are rounded, P >= I is what the multiple of I that pays for the rounding ensures.
    P, pushes, kept_P = Matrix.of(n, n, [0.0] * (n * n)).plus(ones), [F(0)] * T, {}
    for k in reversed(range(T)):
        z = list(map(operator.add, net.V.times(x[k]), net.driven([F(c) for c in us[k]])))
        values = itertools.starmap(phi.values_on, around(z, [F(0)] * n))
        gaps = [c - (1 - s) * b for c, b, s in zip(x[k + 1], x[k], a)]
        eta = [max(abs(g - s * F(y, ONE)) for y in pair) for g, s, pair in zip(gaps, a, values)]
        size = P.rows().size
        pushes[k] = up_root(sum(map(operator.mul, eta, size.times(eta)), F(0)))
        need(lam * rho + pushes[k] <= rho, f"witness.states: the step at {k} is too far from a solution")
        slopes = list(itertools.starmap(phi.slopes_on, around(z, turn)))
        D = [F(p + q >> PREC - 39, 1 << 40) for p, q in slopes]
        theta = [s * max(F(q, ONE) - d, d - F(p, ONE)) for s, d, (p, q) in zip(a, D, slopes)]
        J = net.V.matrix(BITS, list(map(operator.mul, a, D))).plus([1 - s for s in a])
        M = J.T * (P * J)
        wide = [t * t * F(s, 1 << P.e) for t, s in zip(theta, P.sums)]
        W = V.T * net.V.matrix(BITS, wide)
        tau = balance(W, M)
        grown = M.short.by(up((1 + tau) / lam**2, 40)) + W.short.by(up((1 + 1 / tau) / lam**2, 40))
        P = on_grid(Matrix(grown.body, grown.e).plus([1 + F(n * grown.err, 1 << grown.e)] * n))
        if max(P.sums).bit_length() > 1000:
            raise Undecided("the matrices of the tube grow beyond what this checker handles")
        if entry is not None:
            kept_P[k] = P
    need(radius**2 * F(max(P.sums), 1 << P.e) <= rho**2, "claim.radius: does not fit into the tube")
    start = enter(net, us, entry, x[0], rho, lam, pushes, kept_P) if entry is not None else 0
    what = f"contraction by {float(lam)} per step within {float(radius)} of a signal's response"
    if washout is None:
        return what
    spread, epsilon, steps = forgotten(washout)
    need(start <= steps <= T, "washout.steps: outside the tube")
    need(spread >= width(net) if entry is not None else spread <= radius, "washout.spread: not covered")
    need(2 * rho * up_power(lam, steps - start) <= epsilon, "washout: more may be left after these steps")
    where = "from the box of values" if entry is not None else "from there"
    return f"{what}; {where}, after {steps} steps within {float(epsilon)}"


def balance(W: Matrix, M: Matrix) -> Fraction:
    """A power of two near sqrt(trace W / trace M), between 2**-30 and 1: it weighs the two parts of a sum."""
    w, m = (F(sum(int(X.body[i, i]) for i in range(X.n)), 1 << X.e) for X in (W, M))
    if m <= 0:
        return F(1)
    ratio = max(w, F(0)) / m
    half = (ratio.denominator.bit_length() - ratio.numerator.bit_length()) // 2 if ratio else 30
    return F(1, 1 << min(30, max(0, half)))


def on_grid(P: Matrix) -> Matrix:
    """The symmetric part of P, rounded to multiples of 2**-40 and raised by as much."""
    double, n = P.body + P.body.transpose(), P.n
    shift = max(P.e + 1 - 40, 1)
    half, places = fmpz(1 << shift - 1), fmpz(shift)
    raised = (double * (1 << shift - (P.e + 1 - 40))).entries()
    body = Integers(n, n, [c + half >> places for c in raised])
    return Matrix(body, 40).plus([F(n, 1 << 40)] * n)


def enter(
    net: Network, us: Vectors, entry: Any, x0: Vector, rho: Fraction, lam: Fraction,
    pushes: Vector, kept_P: dict[int, Matrix],
) -> int:  # fmt: skip
    """Check that every solution from the box of values is in the tube after the steps of the entry."""
    names = ("theorem", "rate", "slopes", "witness", "steps")
    theorem, rate, slopes, witness, steps = fields(entry, "entry", *names)
    r, first = number(rate, "entry.rate"), integer(steps, 0, "entry.steps")
    need(0 < r < 1, "entry.rate: must lie in (0, 1)")
    omega, bounds = F(width(net)), net.phi.bounds or (0, 0)
    need(all(bounds[0] <= c <= bounds[1] for c in x0), "witness.states: the first is outside the box")
    _, after, low, high = bounded_slopes(slopes, net, us, ("global", "box"))
    need(after <= first <= len(us), "entry.steps: outside the signal, or before the contraction begins")
    norm = contraction(theorem, Set(net.V, net.a, low, high), r, witness)
    left = up(norm.size([omega] * net.n) * up_power(r, first - after))
    e, own = [left * c for c in norm.reach()], F(0)
    for push in pushes[:first]:
        own = up(lam * own + push)
    size = kept_P[first].rows().size if first < len(us) else None
    far = up_root(sum(map(operator.mul, e, size.times(e) if size else e), F(0)))
    need(far + own <= rho, "entry: does not lead into the tube")
    return first


# -- the document -----------------------------------------------------------------------------------------

THEOREMS = {
    "spectral-norm": (("proved",), "H. Jaeger, GMD Report 148 (2001), Proposition 3"),
    "perron-weights": (("proved",), "doi:10.1016/j.neunet.2012.07.005"),
    "diagonal-schur": (("proved",), "doi:10.1109/TNN.2006.872357"),
    "incremental-lurie": (("proved",), "doi:10.48550/arXiv.2604.00119"),
    "common-quadratic": (("proved",), "FORMAT.md"),
    "cascade": (("proved",), "FORMAT.md"),
    "zero-input-multipliers": (("proved",), "FORMAT.md"),
    "unstable-fixed-point": (("refuted",), "doi:10.1016/j.neunet.2012.07.005"),
    "two-fixed-points": (("refuted",), "doi:10.1007/BF02234767"),
    "attracting-balls": (("refuted", "local"), "doi:10.1016/j.physd.2020.132609"),
    "contracting-tube": (("local",), "FORMAT.md"),
}
KEYS = ("format", "version", "verdict", "theorem", "source", "network", "assumes", "claim", "witness",
        "notes")  # fmt: skip


def parse(text: str) -> Any:
    """JSON in which no key stands twice, no number is NaN or infinite, and no integer is long."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len({k for k, _ in pairs}) == len(pairs), "a key stands twice")
        return dict(pairs)

    def integer_(digits: str) -> int:
        need(len(digits) < 20 and digits[-1].isdigit(), "a number is too long, or is none")
        return int(digits)

    try:
        return json.loads(text, object_pairs_hook=members, parse_int=integer_, parse_constant=integer_)
    except RecursionError:
        raise Invalid("nested too deeply") from None


def read(path: Path) -> Any:
    need(path.stat().st_size <= MAX_BYTES, f"larger than {MAX_BYTES} bytes")
    return parse(path.read_text(encoding="utf-8"))


class Valid(NamedTuple):
    """A sentence about what is now established, and what it assumes, if anything."""

    sentence: str
    assumption: str | None


def check(document: Any, folder: Path | None = None) -> Valid:
    """Check a certificate whose network file, if any, is in that folder; raise Invalid or Undecided."""
    need(isinstance(document, dict), "a certificate is a JSON object")
    if document.get("version") != 2 or type(document["version"]) is not int:
        raise Undecided(f"format version {document.get('version')!a}; this checker knows version 2")
    verdict, theorem = document.get("verdict"), document.get("theorem")
    need(isinstance(theorem, str) and theorem in THEOREMS, "theorem: unknown")
    verdicts, source = THEOREMS[str(theorem)]
    need(verdict in verdicts and document.get("source") == source, "verdict, source: not this theorem's")
    fields(document, "certificate", *KEYS, *(("slopes",) if verdict == "proved" else ()))
    need(isinstance(document["notes"], dict), "notes: must be an object")
    net = Network(document["network"], document["assumes"], folder)
    assumption = None
    if document["assumes"] is not None:
        slopes = document.get("slopes")
        usable = isinstance(slopes, dict) and slopes.get("range") == "global"
        need(usable, "assumes: only global slopes can be assumed")
        low, high = map(float, net.phi.slopes)
        assumption = f"the slopes of {net.activation!a} lie in [{low}, {high}]"
    by_verdict = {"proved": check_proved, "refuted": check_refuted, "local": check_local}
    what = by_verdict[str(verdict)](document, net, str(theorem))
    given = f", assuming that {assumption}" if assumption else ""
    return Valid(f"{verdict}: {what}; inputs: {document['claim']['inputs']['kind']}{given}", assumption)


def main(arguments: list[str]) -> int:
    try:
        (path,) = map(Path, arguments)
        document = read(path)
        if not isinstance(document, dict) or document.get("format") != "esntools-certificate":
            raise ValueError("this file is not an esntools certificate")
        valid = check(document, path.parent)
        print(f"valid{' under an assumption' if valid.assumption else ''}: {valid.sentence}")
        return 4 if valid.assumption else 0
    except Invalid as reason:
        print(f"invalid: {reason}")
        return 1
    except (Undecided, MemoryError) as reason:
        print(f"could not decide: {reason or 'out of memory'}")
        return 3
    except (OSError, ValueError) as error:
        print(f"usage: python check.py certificate.json: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
