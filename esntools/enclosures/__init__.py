"""Proved bounds of an activation and of its slope on an interval, infinite ones included.

Branch and bound over the enclosures of `esntools.enclosures.jets`. On a box the derivative of order i is
bounded by its own enclosure, by the mean-value form with the order above, and by its values at the ends
where it is monotone; half-lines are boxes of the asymptotic arithmetic of `esntools.enclosures.tails`. The
box with the largest bound is halved until no box can exceed a value that is attained by more than the
tolerance.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from dataclasses import dataclass
from typing import Any, Final, final

from esntools.enclosures.expressions import canonical_text, parse_expression
from esntools.enclosures.intervals import WHOLE, Interval, NotReal
from esntools.enclosures.jets import Program
from esntools.enclosures.tails import TailUnknown
from esntools.errors import InvalidInputError, UnsupportedError

__all__ = ["Bound", "bound_slope", "bound_value", "enclose_at"]

_INF: Final = math.inf
_TOLERANCE: Final = 1e-9
_BUDGET: Final = 6000
_SIGN_BUDGET: Final = 1000
# A box this narrow whose bound is still infinite sits on a pole, or on a slope without bound.
_NARROW: Final = 2.0**-60
_WIDE: Final = 0.2
_SPARE: Final = 600
_FAR_ENOUGH: Final = 2.0**32
_FAR: Final = 2.0**48


@final
@dataclass(frozen=True)
class Bound:
    """A proved enclosure: every value lies in [lower, upper].

    Parameters
    ----------
    lower, upper : float
        Infinite where the function has no bound.
    excess : float
        By how much the enclosure can be too wide at either end; infinite beside an infinite end.
    n_boxes : int
        How many boxes were examined.
    """

    lower: float
    upper: float
    excess: float
    n_boxes: int


class _Unbounded(Exception):
    """No finite bound: `box` is where, `proved` whether it certainly diverges there."""

    def __init__(self, box: Interval, proved: bool) -> None:
        super().__init__()
        self.box = box
        self.proved = proved


class _Search:
    """Bounds of the derivative of order `order` of one program on [low, high]."""

    def __init__(self, program: Program, order: int, low: float, high: float, tolerance: float, budget: int):
        self.program = program
        self.order = order
        self.low = low
        self.high = high
        self.tolerance = tolerance
        self.budget = budget
        self.n_boxes = 0
        self.seen: dict[tuple[float, float], tuple[Interval, Interval, bool]] = {}
        self.points: dict[float, Interval] = {}

    def boxes(self) -> list[tuple[float, float]]:
        cuts = [c for c in (-1.0, 1.0) if self.low < c < self.high]
        ends = [self.low, *cuts, self.high]
        return list(itertools.pairwise(ends))

    def at(self, x: float) -> Interval:
        if x not in self.points:
            self.points[x] = self.enclosures(x, x)[0]
        return self.points[x]

    def enclosures(self, lo: float, hi: float) -> tuple[Interval, Interval, bool]:
        """Return bounds of the derivative and of its slope on a box, and whether it surely diverges."""
        known = self.seen.get((lo, hi))
        if known is not None:
            return known
        self.n_boxes += 1
        value, slope, diverges = WHOLE, WHOLE, False
        if math.isfinite(lo) and math.isfinite(hi):
            jet = self.program.jet(Interval(lo, hi))
            value, slope = jet[self.order], jet[self.order + 1]
        # On a wide box away from zero the asymptotic form is also much the tighter one.
        start, sign = (lo, 1) if lo >= 1.0 else (-hi, -1)
        if start >= 1.0 and (not (value.finite and slope.finite) or hi - lo > _WIDE * start):
            try:
                tail, ranges = self.program.tail(start, sign)
                value, slope = value.meet(ranges[self.order]), slope.meet(ranges[self.order + 1])
                diverges = math.isinf(hi - lo) and tail[self.order].diverges()
            except TailUnknown:
                pass
        self.seen[lo, hi] = value, slope, diverges
        return self.seen[lo, hi]

    def upper(self, lo: float, hi: float, sign: int) -> tuple[float, list[float]]:
        """Return a bound of sign * derivative on the box and the points where large values are likely."""
        value, slope, diverges = self.enclosures(lo, hi)
        if diverges and math.isinf(value.hi if sign > 0 else value.lo):
            raise _Unbounded(Interval(lo, hi), True)
        if sign < 0:
            value, slope = -value, -slope
        bound = value.hi
        finite = math.isfinite(lo) and math.isfinite(hi)
        ends = [x for x in (lo, hi) if math.isfinite(x)]
        if not finite:
            if slope.hi <= 0.0 and math.isfinite(lo):
                bound = min(bound, self.signed(lo, sign).hi)
            if slope.lo >= 0.0 and math.isfinite(hi):
                bound = min(bound, self.signed(hi, sign).hi)
            return bound, ends
        if slope.lo >= 0.0:
            return min(bound, self.signed(hi, sign).hi), [hi]
        if slope.hi <= 0.0:
            return min(bound, self.signed(lo, sign).hi), [lo]
        middle = 0.5 * lo + 0.5 * hi
        if slope.finite:
            m = Interval(middle, middle)
            around = self.signed(middle, sign) + slope * (Interval(lo, hi) - m)
            bound = min(bound, around.hi)
        return bound, [middle]

    def signed(self, x: float, sign: int) -> Interval:
        value = self.at(x)
        return value if sign > 0 else -value

    def supremum(self, sign: int) -> tuple[float, float]:
        """Return (bound, excess) of the supremum of sign * derivative."""
        count = itertools.count()
        heap: list[tuple[float, bool, float, int, float, float]] = []
        best = -_INF

        def push(lo: float, hi: float) -> None:
            nonlocal best
            bound, points = self.upper(lo, hi, sign)
            for x in points:
                best = max(best, self.signed(x, sign).lo)
            # Of equal bounds, half-lines first: one that holds from every start on settles the search.
            # Then the boxes near zero: one peak of a periodic slope is enough.
            finite, near = math.isfinite(hi - lo), min(abs(lo), abs(hi))
            heapq.heappush(heap, (-bound, finite, near, next(count), lo, hi))

        if self.low == self.high:
            push(self.low, self.high)
            return -heap[0][0], 0.0
        for lo, hi in self.boxes():
            push(lo, hi)
        settled = -_INF
        used, spare = 0, _SPARE
        while heap:
            bound, lo, hi = -heap[0][0], heap[0][4], heap[0][5]
            close = bound <= best + self.tolerance * max(1.0, abs(best))
            # Whether a bound is <= 0 or just above it decides monotonicity: spend extra work there.
            # Past a settled half-line only the excess can still improve.
            spare -= bound <= settled
            if spare < 0 or (close and not (best <= 0.0 < bound and used < _SIGN_BUDGET)):
                break
            used += 1
            heapq.heappop(heap)
            middle = _middle(lo, hi)
            if middle is None or used > self.budget:
                if math.isinf(bound):
                    raise _Unbounded(Interval(lo, hi), False)
                settled = max(settled, bound)
                if used > self.budget:
                    break
                continue
            if abs(middle) >= _FAR_ENOUGH and math.isinf(hi - lo) and math.isfinite(bound):
                # An undamped oscillation: its bound on the half-line is the same from every start on.
                outer = (middle, hi) if lo > 0.0 else (lo, middle)
                if self.upper(*outer, sign)[0] >= bound:
                    settled = max(settled, bound)
                    continue
            push(lo, middle)
            push(middle, hi)
        bound = max(settled, -heap[0][0] if heap else -_INF)
        if math.isinf(bound):
            raise _Unbounded(Interval(heap[0][4], heap[0][5]), False)
        return bound, bound - best


def _middle(lo: float, hi: float) -> float | None:
    """Return where to cut a box: at twice the end of a half-line, near the geometric mean of a long box."""
    if math.isinf(hi):
        return None if lo > _FAR else max(1.0, 2.0 * lo)
    if math.isinf(lo):
        return None if hi < -_FAR else min(-1.0, 2.0 * hi)
    if hi - lo <= _NARROW * max(1.0, abs(lo), abs(hi)) or hi - lo < 1e-14 * max(abs(lo), abs(hi)):
        return None
    if lo >= 1.0 and hi > 8.0 * lo:
        return math.sqrt(lo) * math.sqrt(hi)
    if hi <= -1.0 and lo < 8.0 * hi:
        return -math.sqrt(-lo) * math.sqrt(-hi)
    return 0.5 * lo + 0.5 * hi


def _where(box: Interval) -> str:
    if math.isinf(box.hi):
        return "as x tends to infinity"
    if math.isinf(box.lo):
        return "as x tends to minus infinity"
    return f"near x = {0.5 * box.lo + 0.5 * box.hi:.6g}"


@functools.lru_cache(maxsize=64)
def _program(text: str) -> Program:
    return Program(parse_expression(text))


def _bound(expression: Any, order: int, low: float, high: float, tolerance: float, budget: int) -> Bound:
    low, high = float(low), float(high)
    if not low <= high or low == _INF or high == -_INF:
        raise InvalidInputError("interval", f"[{low}, {high}]", "must have low <= high, both numbers")
    text = canonical_text(expression)
    search = _Search(_program(text), order, low + 0.0, high + 0.0, tolerance, budget)
    ends, excess = [_INF, _INF], [_INF, _INF]
    for i, sign in enumerate((1, -1)):
        try:
            ends[i], excess[i] = search.supremum(sign)
        except _Unbounded as unbounded:
            # A value without bound on a half-line is an answer; anything else is not an activation.
            if order == 0 and not unbounded.box.finite:
                continue
            where = _where(unbounded.box)
            if order == 1 and unbounded.proved:
                value = f"the slope of {text} is unbounded {where}"
            elif order == 1 and not unbounded.box.finite:
                value = f"the slope of {text} could not be bounded {where}"
            elif order == 1:
                value = f"the slope of {text} is unbounded, undefined or beyond 1e308 {where}"
            else:
                value = f"{text} is unbounded {where}"
            raise UnsupportedError(
                "activation", value, "an activation needs a bounded slope on the whole interval",
                "clip it with Max and Min, or use a saturating function",
            ) from None  # fmt: skip
        except NotReal as error:
            raise UnsupportedError(
                "activation", f"{text} is not real: {error}",
                "an activation must be real on the whole interval", "use Abs or a square inside",
            ) from None  # fmt: skip
    return Bound(-ends[1], ends[0], max(excess), search.n_boxes)


def bound_slope(
    expression: Any,
    low: float = -_INF,
    high: float = _INF,
    *,
    tolerance: float = _TOLERANCE,
    budget: int = _BUDGET,
) -> Bound:
    r"""Enclose every slope of an expression on an interval, rigorously.

    At a kink the slopes are Clarke's: the hull of the slopes on both sides. No symbolic derivative is used.

    Parameters
    ----------
    expression : str or sympy.Expr
        In one real variable, see `esntools.enclosures.expressions.parse_expression`.
    low, high : float, optional
        The interval; the whole line by default.
    tolerance : float, optional
        How tight the ends should be (relative to their size where it is above 1); default 1e-9. The bounds
        are proved whether or not it is reached.
    budget : int, optional
        At most this many boxes are halved for each end; default 6000.

    Raises
    ------
    UnsupportedError
        When the slope is unbounded or cannot be bounded, or the expression is not real or not continuous.

    Examples
    --------
    >>> swish = bound_slope("x/(1 + exp(-x))")
    >>> round(swish.lower, 6), round(swish.upper, 6)
    (-0.099839, 1.099839)
    >>> bound_slope("x**2")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    esntools.errors.UnsupportedError: activation: the slope of x**2 is unbounded as x tends to infinity; ...

    References
    ----------
    R. E. Moore, R. B. Kearfott, M. J. Cloud, Introduction to Interval Analysis (SIAM 2009),
    doi:10.1137/1.9780898717716, chapters 6 and 9. F. H. Clarke, Optimization and Nonsmooth Analysis (SIAM
    1990), doi:10.1137/1.9781611971309, section 2.3.
    """
    return _bound(expression, 1, low, high, tolerance, budget)


def bound_value(
    expression: Any,
    low: float = -_INF,
    high: float = _INF,
    *,
    tolerance: float = _TOLERANCE,
    budget: int = _BUDGET,
) -> Bound:
    """Enclose every value of an expression on an interval, rigorously; an end without bound is infinite.

    Parameters and errors are those of `bound_slope`.

    Examples
    --------
    >>> gaussian = bound_value("exp(-x**2)")
    >>> gaussian.lower, round(gaussian.upper, 9)
    (0.0, 1.0)
    >>> bound_value("log(1 + exp(x))").upper
    inf
    """
    return _bound(expression, 0, low, high, tolerance, budget)


def enclose_at(expression: Any, x: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return enclosures of the value and of the slopes at one point.

    >>> enclose_at("Max(0, x)", 0.0)
    ((0.0, 0.0), (0.0, 1.0))
    """
    program = _program(canonical_text(expression))
    ranges = []
    for order in (0, 1):
        value = _Search(program, order, x, x, 0.0, 0).enclosures(x, x)[0]
        ranges.append((value.lo, value.hi))
    return ranges[0], ranges[1]
