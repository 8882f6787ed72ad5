"""The slopes that a network meets in its box of values, for the second checker."""

from __future__ import annotations

from fractions import Fraction as Q
from typing import Any

from naive_decoding import Net, demand, keys, natural, vector
from naive_enclosures import LINE, UNBOUNDED, Interval, bounds, inside, out, slopes, times, values

Pair = tuple[list[Q], list[Q]]


def covers(low: list[Q], high: list[Q], met: list[Interval]) -> bool:
    return all(inside(slope, bound) for slope, bound in zip(met, zip(low, high, strict=True), strict=True))


def slope_bounds(low_part: Any, high_part: Any, n: int) -> Pair:
    low, high = vector(low_part, n), vector(high_part, n)
    demand(all(p <= q for p, q in zip(low, high, strict=True)), "low <= high")
    return low, high


def arguments(net: Net, box: list[Interval], drives: list[Interval]) -> list[Interval]:
    """The box of V x + drive (no bend)."""
    result = []
    for row, h in zip(net.V, drives, strict=True):
        terms = [times((w, w), x) for w, x in zip(row, box, strict=True)]
        result.append(out(sum((t[0] for t in terms), h[0]), sum((t[1] for t in terms), h[1])))
    return result


def invariant_box(net: Net, drives: list[Interval], steps: int) -> list[Interval]:
    demand(net.phi not in UNBOUNDED, "bounded activation")
    box = [bounds(net.phi)] * net.n
    for _ in range(steps):
        stepped = [values(net.phi, *z) for z in arguments(net, box, drives)]
        moved = [
            out((1 - a) * x[0] + a * y[0], (1 - a) * x[1] + a * y[1])
            for a, x, y in zip(net.a, box, stepped, strict=True)
        ]
        box = [(max(x[0], y[0]), min(x[1], y[1])) for x, y in zip(box, moved, strict=True)]
    return box


def box_slopes(net: Net, part: Any, drives: list[Interval]) -> tuple[Pair, int]:
    kind, steps, low_part, high_part = keys(part, "range", "steps", "low", "high")
    demand(kind == "box", "range")
    natural(steps, 0, 1000)
    pair = slope_bounds(low_part, high_part, net.n)
    met = [slopes(net.phi, *z) for z in arguments(net, invariant_box(net, drives, steps), drives)]
    demand(covers(*pair, met), "slopes")
    return pair, steps


def global_slopes(net: Net, part: Any, line: Interval) -> Pair:
    kind, low_part, high_part = keys(part, "range", "low", "high")
    demand(kind == "global", "range")
    pair = slope_bounds(low_part, high_part, net.n)
    demand(covers(*pair, [line] * net.n), "slopes")
    return pair


def entry_slopes(net: Net, part: Any, drives: list[Interval]) -> tuple[Pair, int]:
    demand(isinstance(part, dict), "slopes")
    if part.get("range") == "global":
        return global_slopes(net, part, LINE[net.phi]), 0
    return box_slopes(net, part, drives)
