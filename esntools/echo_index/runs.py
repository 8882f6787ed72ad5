"""Whether runs of limited lengths leave exactly the responses of the holding symbol: no other state stays.

`esntools.echo_index.dwell` proves that the two responses survive. Here the states between them are shown to
part, whatever the admissible sequence, until they enter one of them: at most one never does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray
from esntools.echo_index.dwell import contracts, rest_points
from esntools.echo_index.reduction import Family, FixedInterval

__all__ = ["nothing_between"]

_CELLS: Final = 600
_ROUNDS: Final = 600


def _ends_of_blocks(step: Callable[[float], float], y: float, n: int) -> list[float]:
    out = [y]
    for _ in range(n):
        out.append(step(out[-1]))
    return out


def _lower_end(
    hold: Family, other: Family, rest: FixedInterval, boundary: FixedInterval, top: float, m: int, M: int
) -> float | None:
    """Return a state, as low as is proved, from which upwards blocks lead into one contracting response."""

    def inside(y: float) -> bool:
        held = _ends_of_blocks(hold.down, y, m)[-1]
        return min(_ends_of_blocks(other.down, held, M)) >= y and contracts(hold, other, y, top, m, M)

    # The lower end of what the worst word leaves is where the orbit of the least choices stops.
    low, high = boundary.high, rest.low
    y = rest.low
    for _ in range(5000):
        z = min(_ends_of_blocks(other.down, _ends_of_blocks(hold.down, y, m)[-1], M))
        if z >= y or z <= boundary.high:
            break
        y = z
    if not inside(y):
        return None
    best, low, high = y, boundary.high, y
    for _ in range(7):
        middle = 0.5 * (low + high)
        if inside(middle):
            best, high = middle, middle
        else:
            low = middle
    return best


class _Symbol:
    """Images and least slopes of the cells under one symbol."""

    def __init__(self, family: Family, ends: FloatArray) -> None:
        cells = len(ends) - 1
        lows = np.array([family.down(y) for y in ends[:-1].tolist()])
        highs = np.array([family.up(y) for y in ends[1:].tolist()])
        slopes = [family.slopes(float(ends[i]), float(ends[i + 1]))[0] for i in range(cells)]
        self.growth = np.array([math.log(s) - 1e-12 if s > 0.0 else -math.inf for s in slopes])
        self.first: IntArray = np.clip(np.searchsorted(ends, lows, side="left") - 1, 0, cells - 1)
        self.last: IntArray = np.clip(np.searchsorted(ends, highs, side="right") - 1, 0, cells - 1)
        self.outside: BoolArray = (highs < ends[0]) | (lows > ends[-1])
        length = (self.last - self.first + 1).astype(np.float64)
        self.level: IntArray = (np.frexp(length)[1] - 1).astype(np.intp)

    def after(self, total: FloatArray) -> FloatArray:
        """Return, for each cell, the growth of this step and the least total among the cells it leads to."""
        table = [total]
        while 2 ** len(table) <= len(total):
            half = 2 ** (len(table) - 1)
            wider = table[-1].copy()
            wider[:-half] = np.minimum(wider[:-half], wider[half:])
            table.append(wider)
        minima = np.array(table)
        least = np.minimum(
            minima[self.level, self.first], minima[self.level, self.last - 2**self.level + 1]
        )  # fmt: skip
        return np.where(self.outside, math.inf, self.growth + least)


def nothing_between(hold: Family, other: Family, m: int, M: int) -> bool:
    """Return whether at most one state is proved to enter neither of two responses.

    For every sequence with holding runs of at least m steps and other runs of at most M. False with more than
    two responses.
    """
    points = rest_points(hold)
    if points is None or len(points) != 3:
        return False
    below, boundary, above = points
    mirror = [FixedInterval(-p.high, -p.low, p.stable) for p in (below, boundary)]
    lower = _lower_end(hold, other, above, boundary, hold.high, m, M)
    upper = _lower_end(hold.reflected(), other.reflected(), mirror[0], mirror[1], -hold.low, m, M)
    return lower is not None and upper is not None and _parts(hold, other, -upper, lower, m, M)


def _parts(hold: Family, other: Family, low: float, high: float, m: int, M: int) -> bool:
    """Return whether orbits between two responses part, by the least growth over all admissible runs."""
    # Where the two responses begin, after j holding steps and after k others.
    down, up = _ends_of_blocks(hold.down, high, m), _ends_of_blocks(hold.up, low, m)
    tops = [*down[1:], *_ends_of_blocks(other.down, down[-1], M)[1:]]
    bottoms = [*up[1:], *_ends_of_blocks(other.up, up[-1], M)[1:]]
    if any(b >= t for b, t in zip(bottoms, tops, strict=True)):
        return False
    left, right = min(bottoms), max(tops)
    ends = np.linspace(left, right, _CELLS + 1)
    ends[0], ends[-1] = left, right
    gaps = np.array(
        [(ends[1:] >= b) & (ends[:-1] <= t) for b, t in zip(bottoms, tops, strict=True)], dtype=bool
    )
    held, erased = _Symbol(hold, ends), _Symbol(other, ends)
    total = np.where(gaps, 0.0, math.inf)
    for _ in range(_ROUNDS):
        # Phases 0 .. m - 1: after 1 .. m holding steps, the last standing for more; then after 1 .. M others.
        by_hold = [held.after(row) for row in total[:m]]
        by_other = [erased.after(row) for row in total[m:]]
        new = np.empty_like(total)
        for j in range(m):
            new[j] = by_hold[min(j + 1, m - 1)]
        new[m - 1] = np.minimum(new[m - 1], by_other[0])
        for k in range(M):
            new[m + k] = by_hold[0]
            if k + 1 < M:
                new[m + k] = np.minimum(new[m + k], by_other[k + 1])
        total = np.where(gaps, new, math.inf)
        least = float(total.min())
        if least > 1e-9 or least < -60.0:
            return least > 0.0
    return False
