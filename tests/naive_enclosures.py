"""Rational intervals, the activations by power series, and matrices of fractions, for the second checker.

Slow and obvious, with nothing from `esntools`: an interval is a pair of fractions, and every result is
rounded outwards to multiples of 2**-140 so that it stays small.
"""

from __future__ import annotations

import math
from fractions import Fraction as Q
from operator import mul
from typing import Any

Interval = tuple[Q, Q]
GRID = 2**140


def out(low: Q, high: Q) -> Interval:
    return Q(math.floor(low * GRID), GRID), Q(math.ceil(high * GRID), GRID)


def times(x: Interval, y: Interval) -> Interval:
    corners = (x[0] * y[0], x[0] * y[1], x[1] * y[0], x[1] * y[1])
    return min(corners), max(corners)


def magnitude(x: Interval) -> Q:
    return max(abs(x[0]), abs(x[1]))


def inside(x: Interval, y: Interval) -> bool:
    return y[0] <= x[0] and x[1] <= y[1]


def root_below(x: Q) -> Q:
    """The largest multiple of 1 / GRID whose square is at most x >= 0."""
    return Q(math.isqrt(math.floor(x * GRID**2)), GRID)


def root_above(x: Q) -> Q:
    return Q(math.isqrt(math.floor(x * GRID**2)) + 1, GRID) if x else Q(0)


def power_above(x: Q, k: int) -> Q:
    """At least x**k for 0 <= x < 1, by squaring; multiples of 2**-400, because k may be large."""
    fine, result, square = 2**400, Q(1), x
    while k:
        if k % 2:
            result = Q(math.ceil(result * square * fine), fine)
        square = Q(math.ceil(square * square * fine), fine)
        k //= 2
    return result


# -- elementary functions -------------------------------------------------------------------------------

PI = (
    Q("3.14159265358979323846264338327950288419716939937510582097494459"),
    Q("3.14159265358979323846264338327950288419716939937510582097494460"),
)


def exponential(y: Q) -> Interval:
    """exp(-y) for y >= 0: 1 / exp(y), by the series of exp(y / 2**k) with y / 2**k <= 1/2."""
    k = 0
    if y > 200:
        return Q(0), Q(1, 2**280)
    while y > Q(1, 2):
        y, k = y / 2, k + 1
    term = total = (Q(1), Q(1))
    for n in range(1, 40):
        term = out(term[0] * y / n, term[1] * y / n)
        total = total[0] + term[0], total[1] + term[1]
    low, high = out(1 / (total[1] + term[1]), 1 / total[0])  # the tail is below its last term
    for _ in range(k):
        low, high = out(low * low, high * high)
    return low, high


def two_over_root_pi() -> Interval:
    return root_below(4 / PI[1]), root_above(4 / PI[0])


def erf(x: Q) -> Interval:
    """2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (1 3 5 .. (2n+1)): all terms of one sign."""
    if x < 0:
        low, high = erf(-x)
        return -high, -low
    if x > 7:
        return 1 - Q(1, 2**70), Q(1)
    term = total = (x, x)
    n = 0
    while n < 4 * x * x + 2 or term[1] > Q(2, GRID):
        n += 1
        term = out(2 * x * x * term[0] / (2 * n + 1), 2 * x * x * term[1] / (2 * n + 1))
        total = total[0] + term[0], total[1] + term[1]
    # From here on the terms fall by half or more, so that the rest is at most the last one.
    (a, b), (e, f) = two_over_root_pi(), exponential(x * x)
    return out(a * e * total[0], min(Q(1), b * f * (total[1] + term[1])))


def sine(x: Q) -> Interval:
    """Taylor series of x - 2 k pi, |x - 2 k pi| <= 3.2; between -1 and 1 for absurdly large x."""
    k = round(x / (2 * PI[0]))
    if abs(k) > 2**60:
        return Q(-1), Q(1)
    ends = sorted((x - 2 * k * PI[0], x - 2 * k * PI[1]))
    y, radius = math.floor((ends[0] + ends[1]) / 2 * GRID) * Q(1, GRID), ends[1] - ends[0] + Q(2, GRID)
    term = total = (y, y)
    for n in range(3, 80, 2):
        factor = -y * y / (n * (n - 1))
        term = out(term[1] * factor, term[0] * factor)
        total = total[0] + term[0], total[1] + term[1]
        if n > 5 and magnitude(term) <= Q(2, GRID):
            break
    rest = radius + magnitude(term)
    return max(Q(-1), total[0] - rest), min(Q(1), total[1] + rest)


def holds_multiple(low: Q, high: Q, offset: Q) -> bool:
    """Whether [low, high] may hold a point (offset + 2 k) pi."""
    turns = [(x / pi - offset) / 2 for x in (low, high) for pi in PI]
    return math.floor(max(turns[2:])) >= math.ceil(min(turns[:2]))


def sines(low: Q, high: Q, shift: Q = Q(0)) -> Interval:
    """sin (shift 0) or cos (shift 1/2, sin(x + pi/2)) of an interval."""
    if high - low >= 7:
        return Q(-1), Q(1)
    half = (shift * PI[0], shift * PI[1])
    ends = [sine(x + h) for x in (low, high) for h in half]
    slack = half[1] - half[0]
    top, bottom = (holds_multiple(low, high, turn - shift) for turn in (Q(1, 2), Q(-1, 2)))
    return (
        Q(-1) if bottom else max(Q(-1), min(e[0] for e in ends) - slack),
        Q(1) if top else min(Q(1), max(e[1] for e in ends) + slack),
    )


# -- activations ----------------------------------------------------------------------------------------

LINE: dict[str, Interval] = {
    "tanh(x)": (Q(0), Q(1)), "1/(1 + exp(-x))": (Q(0), Q(1, 4)), "erf(x)": (Q(0), two_over_root_pi()[1]),
    "x/(1 + Abs(x))": (Q(0), Q(1)), "sin(x)": (Q(-1), Q(1)), "x": (Q(1), Q(1)), "Max(0, x)": (Q(0), Q(1)),
    "Max(-1, Min(1, x))": (Q(0), Q(1)),
}  # fmt: skip
UNBOUNDED = ("x", "Max(0, x)")
ODD_MONOTONE = ("tanh(x)", "erf(x)", "x/(1 + Abs(x))", "x", "Max(-1, Min(1, x))")


def bounds(name: str) -> Interval:
    """The values of a bounded activation."""
    return (Q(0) if name.startswith("1/") else Q(-1)), Q(1)


def value(name: str, x: Q) -> Interval:
    """Of the monotone activations."""
    if name == "tanh(x)":
        e, f = exponential(2 * abs(x))
        low, high = out((1 - f) / (1 + f), (1 - e) / (1 + e))
        return (low, high) if x >= 0 else (-high, -low)
    if name == "1/(1 + exp(-x))":
        e, f = exponential(abs(x))
        low, high = out(1 / (1 + f), 1 / (1 + e))
        return (low, high) if x >= 0 else (1 - high, 1 - low)
    if name == "erf(x)":
        return erf(x)
    exact = {
        "x/(1 + Abs(x))": x / (1 + abs(x)), "x": x, "Max(0, x)": max(Q(0), x),
        "Max(-1, Min(1, x))": max(Q(-1), min(Q(1), x)),
    }[name]  # fmt: skip
    return exact, exact


def slope(name: str, x: Q) -> Interval:
    """Of the smooth monotone activations."""
    if name in ("tanh(x)", "1/(1 + exp(-x))"):
        k = 2 if name == "tanh(x)" else 1
        e, f = exponential(k * abs(x))
        return out(k * k * e / (1 + e) ** 2, k * k * f / (1 + f) ** 2)
    if name == "erf(x)":
        (e, f), (a, b) = exponential(x * x), two_over_root_pi()
        return out(e * a, f * b)
    return 1 / (1 + abs(x)) ** 2, 1 / (1 + abs(x)) ** 2


def values(name: str, low: Q, high: Q) -> Interval:
    low, high = out(low, high)
    return sines(low, high) if name == "sin(x)" else (value(name, low)[0], value(name, high)[1])


def slopes(name: str, low: Q, high: Q) -> Interval:
    low, high = out(low, high)
    if name == "x":
        return Q(1), Q(1)
    if name == "sin(x)":
        return sines(low, high, Q(1, 2))
    if name == "Max(0, x)":
        return Q(1 if low > 0 else 0), Q(0 if high < 0 else 1)
    if name == "Max(-1, Min(1, x))":
        return Q(1 if low > -1 and high < 1 else 0), Q(0 if high < -1 or low > 1 else 1)
    near = Q(0) if low <= 0 <= high else min(abs(low), abs(high))
    return slope(name, max(abs(low), abs(high)))[0], min(LINE[name][1], slope(name, near)[1])


# -- matrices: lists of rows ----------------------------------------------------------------------------

Matrix = list[list[Q]]


def integers(A: Any) -> tuple[list[list[int]], int]:
    """Integer rows and a common denominator."""
    common = math.lcm(*{x.denominator for row in A for x in row})
    return [[x.numerator * (common // x.denominator) for x in row] for row in A], common


def product(A: Any, B: Any) -> Matrix:
    (left, p), (right, q) = integers(A), integers(B)
    columns = list(zip(*right, strict=True))
    return [[Q(sum(map(mul, row, column)), p * q) for column in columns] for row in left]


def apply(A: Any, x: list[Q]) -> list[Q]:
    return [row[0] for row in product(A, [[t] for t in x])] if A and x else [Q(0)] * len(A)


def transposed(A: Any) -> Any:
    return [list(column) for column in zip(*A, strict=True)]


def plus(A: Any, B: Any, sign: int = 1) -> Matrix:
    return [[x + sign * y for x, y in zip(p, q, strict=True)] for p, q in zip(A, B, strict=True)]


def scaled(A: Any, factor: Q) -> Matrix:
    return [[factor * x for x in row] for row in A]


def rows_scaled(factors: list[Q], A: Any) -> Matrix:
    return [[f * x for x in row] for f, row in zip(factors, A, strict=True)]


def diag(entries: Any) -> Matrix:
    return [[x if i == j else Q(0) for j in range(len(entries))] for i, x in enumerate(entries)]


def margin(T: Any) -> Q:
    """Least excess of a diagonal entry over the absolute sum of the others in its row."""
    return min(2 * row[i] - sum(map(abs, row)) for i, row in enumerate(T))


def congruent(S: Any, R: Any) -> Matrix:
    return product(product(R, S), transposed(R))


def positive(S: Any, R: Any) -> bool:
    return margin(congruent(S, R)) > 0


def definite(S: Matrix) -> bool:
    """Whether a symmetric matrix is positive definite: all leading minors are, by Bareiss' elimination."""
    A, last = integers(S)[0], 1
    for k in range(len(A)):
        if A[k][k] <= 0:
            return False
        for i in range(k + 1, len(A)):
            for j in range(k + 1, len(A)):
                A[i][j] = (A[i][j] * A[k][k] - A[i][k] * A[k][j]) // last
        last = A[k][k]
    return True


def interval_product(A: Any, B: Any) -> list[list[Interval]]:
    columns = list(zip(*B, strict=True))
    result = []
    for row in A:
        entries: list[Interval] = []
        for column in columns:
            terms = [times(x, y) for x, y in zip(row, column, strict=True) if x != (0, 0) and y != (0, 0)]
            entries.append(out(sum((t[0] for t in terms), Q(0)), sum((t[1] for t in terms), Q(0))))
        result.append(entries)
    return result


def thin(A: Any) -> list[list[Interval]]:
    return [[(x, x) for x in row] for row in A]


def less(A: Any, B: Any) -> list[list[Interval]]:
    return [
        [(x[0] - y[1], x[1] - y[0]) for x, y in zip(p, q, strict=True)] for p, q in zip(A, B, strict=True)
    ]


# -- secants --------------------------------------------------------------------------------------------


def chord(name: str, z: Interval, star: Interval) -> Interval:
    """Enclose (phi(x) - phi(y)) / (x - y) for x in z, y in star, which are disjoint."""
    if z[1] < star[0]:
        z, star = star, z
    top, bottom = values(name, *z), values(name, *star)
    rise, run = (top[0] - bottom[1], top[1] - bottom[0]), (z[0] - star[1], z[1] - star[0])
    return out(rise[0] / run[1 if rise[0] > 0 else 0], rise[1] / run[0 if rise[1] > 0 else 1])


def secants_lie_in(name: str, z: Interval, star: Interval, bound: Interval, depth: int = 28) -> bool:
    """Whether all secants from star to z have slopes within `bound`: by slopes, by chords, or by halves."""
    if inside(slopes(name, min(z[0], star[0]), max(z[1], star[1])), bound):
        return True
    if z[0] > star[1] or z[1] < star[0]:
        crude = chord(name, z, star)
        if inside(crude, bound):
            return True
        # The quotient q has the derivative (phi' - q) / (x - y): small where q is extreme.
        middle, gap = (z[0] + z[1]) / 2, max(z[0] - star[1], star[0] - z[1])
        steep = slopes(name, *z)
        change = magnitude((steep[0] - crude[1], steep[1] - crude[0])) / gap * (z[1] - z[0]) / 2
        centre = chord(name, (middle, middle), star)
        if inside((centre[0] - change, centre[1] + change), bound):
            return True
        if centre[1] < bound[0] or centre[0] > bound[1]:
            return False
    if depth == 0:
        return False
    middle = (z[0] + z[1]) / 2
    return all(
        secants_lie_in(name, part, star, bound, depth - 1) for part in ((z[0], middle), (middle, z[1]))
    )
