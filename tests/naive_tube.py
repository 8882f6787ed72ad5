"""A tube of contraction about a series of states, for the second checker."""

from __future__ import annotations

import math
from fractions import Fraction as Q
from typing import Any

from naive_boxes import entry_slopes
from naive_decoding import Net, demand, keys, matrix, natural, positive_scalar, rate_in, table
from naive_enclosures import (
    UNBOUNDED,
    Matrix,
    apply,
    bounds,
    diag,
    magnitude,
    plus,
    power_above,
    product,
    root_above,
    rows_scaled,
    scaled,
    slopes,
    transposed,
    values,
)
from naive_norms import Part, contraction, dot

FINE = 2**40


def size_in(P: Matrix, e: list[Q]) -> Q:
    return root_above(dot(e, apply([list(map(abs, row)) for row in P], e)))


def trace(A: Matrix) -> Q:
    return sum((row[i] for i, row in enumerate(A)), Q(0))


def before(net: Net, P: Matrix, z: list[Q], rho: Q, rate: Q) -> Matrix:
    """The matrix P_k that belongs to P_(k+1) = P."""
    n, D, theta = net.n, [], []
    for i in range(n):
        width = rho * root_above(dot(net.V[i], net.V[i]))
        low, high = slopes(net.phi, z[i] - width, z[i] + width)
        D.append(Q(round((low + high) / 2 * FINE), FINE))
        theta.append(net.a[i] * max(abs(high - D[i]), abs(low - D[i])))
    J = plus(diag([1 - a for a in net.a]), rows_scaled([a * d for a, d in zip(net.a, D, strict=True)], net.V))
    M = product(transposed(J), product(P, J))
    sigma = [sum(map(abs, row)) for row in P]
    Theta = product(
        transposed(net.V), rows_scaled([t * t * s for t, s in zip(theta, sigma, strict=True)], net.V)
    )
    m, t = trace(M), trace(Theta)
    tau = min((Q(1, 2**k) for k in range(31)), key=lambda tau: tau * m + t / tau)
    both = scaled(plus(scaled(M, 1 + tau), scaled(Theta, 1 + 1 / tau)), 1 / rate**2)
    both = plus(both, diag([1 + Q(n, FINE)] * n))
    return [[Q(math.floor(x * FINE + Q(1, 2)), FINE) for x in row] for row in both]


def tube(document: Any, net: Net) -> None:
    demand(net.straight, "no bend")
    n = net.n
    inputs, rate_text, radius_text, washout = keys(document["claim"], "inputs", "rate", "radius", "washout")
    kind, values_part = keys(inputs, "kind", "values")
    demand(kind == "signal", "a signal")
    signal = table(values_part, net.m, 10**6)
    T = len(signal)
    rate, radius = rate_in(rate_text), positive_scalar(radius_text)
    states_part, tube_text, entry = keys(document["witness"], "states", "tube", "entry")
    states, rho = matrix(states_part, T + 1, n), positive_scalar(tube_text)
    P: list[Matrix] = [diag([Q(1)] * n)]  # from the last time to the first
    added: list[Q] = []
    for k in reversed(range(T)):
        z = [x + y for x, y in zip(apply(net.V, states[k]), net.drive(signal[k]), strict=True)]
        eta = []
        for i in range(n):
            low, high = values(net.phi, z[i], z[i])
            gap = (1 - net.a[i]) * states[k][i] - states[k + 1][i]
            eta.append(magnitude((gap + net.a[i] * low, gap + net.a[i] * high)))
        added.append(size_in(P[-1], eta))
        demand(rate * rho + added[-1] <= rho, "the tube is left")
        P.append(before(net, P[-1], z, rho, rate))
    P.reverse()
    added.reverse()
    demand(radius**2 * max(sum(map(abs, row)) for row in P[0]) <= rho**2, "radius")
    k1 = 0
    if entry is not None:
        theorem, r_text, slopes_part, witness, k1 = keys(
            entry, "theorem", "rate", "slopes", "witness", "steps"
        )
        demand(net.phi not in UNBOUNDED, "bounded activation")
        r, (v, w) = rate_in(r_text), bounds(net.phi)
        demand(all(v <= x <= w for x in states[0]), "the first state is a value")
        low_high, s = entry_slopes(net, slopes_part, net.drives(signal))
        natural(k1, s, T)
        norm = contraction(theorem, Part(net.V, net.a, *low_high), witness, r)
        most = norm.size([w - v] * n) * power_above(r, k1 - s)
        mu = Q(0)
        for k in range(k1):
            mu = rate * mu + added[k]
        demand(size_in(P[k1], [most * t for t in norm.reach]) + mu <= rho, "entry")
    if washout is not None:
        spread, epsilon = (positive_scalar(x) for x in keys(washout, "spread", "epsilon", "steps")[:2])
        steps = natural(washout["steps"], k1, T)
        if entry is None:
            demand(spread <= radius, "spread")
        else:
            low, high = bounds(net.phi)
            demand(spread >= high - low, "spread")
        demand(2 * rho * power_above(rate, steps - k1) <= epsilon, "washout")
