"""Balls that the map contracts and keeps, for the second checker."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as Q
from typing import Any

from naive_boxes import slope_bounds
from naive_decoding import Net, demand, keys, positive_scalar, positives, rate_in, vector
from naive_enclosures import Interval, apply, inside, magnitude, slopes, values
from naive_norms import Part, contraction


@dataclass
class Attracting:
    """N(x - centre) <= radius; component j stays within radius * reach_j."""

    centre: list[Q]
    spread: list[Q]


def attracting_ball(net: Net, part: Any, drives: list[Interval]) -> Attracting:
    theorem, rate_text, slopes_part, witness = keys(part, "theorem", "rate", "slopes", "witness")
    demand(isinstance(theorem, str), "theorem")
    r = rate_in(rate_text)
    kind, low_part, high_part, x_part, fine_part, radius_text = keys(
        slopes_part, "range", "low", "high", "centre", "fine", "radius"
    )
    demand(kind == "ball", "range")
    n, rho = net.n, positive_scalar(radius_text)
    low, high = slope_bounds(low_part, high_part, n)
    x = [s + t for s, t in zip(vector(x_part, n), vector(fine_part, n), strict=True)]
    if net.straight:
        norm = contraction(theorem, Part(net.V, net.a, low, high), witness, r)
        reach, tilt, size = norm.reach, norm.tilt, norm.size
    else:
        demand(theorem == "perron-weights", "squares: perron-weights only")
        v = positives(keys(witness, "weights")[0], n)
        U = [
            [(net.V[i][j] + 2 * net.bend[i][j] * x[j] - 2 * rho * v[j] * abs(net.bend[i][j]),
              net.V[i][j] + 2 * net.bend[i][j] * x[j] + 2 * rho * v[j] * abs(net.bend[i][j]))
             for j in range(n)]
            for i in range(n)
        ]  # fmt: skip
        for i, a in enumerate(net.a):
            own = max(abs(1 - a + a * d * u) for d in (low[i], high[i]) for u in U[i][i])
            rest = sum((magnitude(U[i][j]) * v[j] for j in range(n) if j != i), Q(0))
            gain = a * max(abs(low[i]), abs(high[i]))
            demand(own * v[i] + gain * rest <= r * v[i], f"row {i}")
        reach = v
        tilt = [sum((magnitude(u) * t for u, t in zip(row, v, strict=True)), Q(0)) for row in U]

        def size(e: list[Q]) -> Q:
            return max(s / t for s, t in zip(e, v, strict=True))

    straight, bent = apply(net.V, x), apply(net.bend, [t * t for t in x])
    eta = []
    for i in range(n):
        z = straight[i] + bent[i] + drives[i][0], straight[i] + bent[i] + drives[i][1]
        met = slopes(net.phi, z[0] - rho * tilt[i], z[1] + rho * tilt[i])
        demand(inside(met, (low[i], high[i])), "slopes")
        reached = values(net.phi, *z)
        eta.append(net.a[i] * magnitude((reached[0] - x[i], reached[1] - x[i])))
    demand(size(eta) < (1 - r) * rho, "the ball is not kept")
    return Attracting(x, [rho * t for t in reach])


def all_apart(balls: list[Attracting]) -> bool:
    return all(
        any(
            abs(s - t) > p + q
            for s, t, p, q in zip(one.centre, two.centre, one.spread, two.spread, strict=True)
        )
        for k, one in enumerate(balls)
        for two in balls[:k]
    )
