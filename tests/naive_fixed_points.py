"""Balls that hold fixed points of the lifted map, for the second checker."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as Q
from typing import Any

from naive_decoding import Net, demand, keys, matrix, scalar, vector
from naive_enclosures import (
    Interval,
    Matrix,
    apply,
    diag,
    interval_product,
    less,
    magnitude,
    slopes,
    thin,
    times,
    values,
)


@dataclass
class Ball:
    """A box of half-width `radius` about `centre` with a fixed point; `J` encloses the slopes over it."""

    centre: list[Q]
    radius: Q
    J: list[list[Interval]]


def ball(net: Net, part: Any, drives: Matrix) -> Ball:
    """X^j <- (1 - a) X^(j-1) + a phi(V X^(j-1) + bend (X^(j-1))^2 + h_j), j = 0 .. p-1 cyclic."""
    x_part, fine_part, r_part, C_part = keys(part, "centre", "fine", "radius", "C")
    n, p = net.n, len(drives)
    x = [s + t for s, t in zip(vector(x_part, p * n), vector(fine_part, p * n), strict=True)]
    r, C = scalar(r_part), matrix(C_part, p * n, p * n)
    demand(0 < r <= 1, "radius in (0, 1]")
    zero = (Q(0), Q(0))
    J = [[zero] * (p * n) for _ in range(p * n)]
    residual: list[list[Interval]] = []
    for j, h in enumerate(drives):
        at = (j - 1) % p * n
        y = x[at : at + n]
        z = apply(net.V, y)
        z = [s + t + q for s, t, q in zip(z, apply(net.bend, [t * t for t in y]), h, strict=True)]
        for i in range(n):
            row = list(zip(net.V[i], net.bend[i], y, strict=True))
            U = [(v + 2 * q * t - 2 * r * abs(q), v + 2 * q * t + 2 * r * abs(q)) for v, q, t in row]
            reached = r * sum((magnitude(t) for t in U), Q(0))
            D = slopes(net.phi, z[i] - reached, z[i] + reached)
            a = net.a[i]
            for k, entry in enumerate(U):
                low, high = times(D, entry)
                stay = (1 - a) * (i == k)
                J[j * n + i][at + k] = (a * low + stay, a * high + stay)
            low, high = values(net.phi, z[i], z[i])
            own, before = x[j * n + i], (1 - a) * y[i]
            residual.append([(own - before - a * high, own - before - a * low)])
    one = thin(diag([Q(1)] * (p * n)))
    Cg = interval_product(thin(C), residual)
    K = less(one, interval_product(thin(C), less(one, J)))
    for i in range(p * n):
        demand(magnitude(Cg[i][0]) + r * sum((magnitude(t) for t in K[i]), Q(0)) < r, "ball")
    return Ball(x, r, J)


def apart(balls: list[Ball]) -> bool:
    one, two = balls
    return any(abs(s - t) > one.radius + two.radius for s, t in zip(one.centre, two.centre, strict=True))


def stein(ball_: Ball, P: Matrix, R: Matrix) -> bool:
    """Whether P - J'PJ is positive definite by R for all J."""
    S = less(thin(P), interval_product(list(zip(*ball_.J, strict=True)), interval_product(thin(P), ball_.J)))
    T = interval_product(interval_product(thin(R), S), thin(list(zip(*R, strict=True))))
    return all(
        row[i][0] > sum((magnitude(t) for j, t in enumerate(row) if j != i), Q(0)) for i, row in enumerate(T)
    )
