"""The theorems that prove a contraction of differences in one step, and what their norms give."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction as Q
from typing import Any

from naive_decoding import demand, keys, matrix, natural, positives, scalar
from naive_enclosures import (
    Matrix,
    congruent,
    definite,
    diag,
    margin,
    plus,
    positive,
    product,
    root_above,
    rows_scaled,
    scaled,
    transposed,
)

BLOCK_SOURCES = {
    "spectral-norm": "H. Jaeger, GMD Report 148 (2001), Proposition 3",
    "perron-weights": "doi:10.1016/j.neunet.2012.07.005",
    "diagonal-schur": "doi:10.1109/TNN.2006.872357",
    "incremental-lurie": "doi:10.48550/arXiv.2604.00119",
    "common-quadratic": "FORMAT.md",
}


@dataclass
class Part:
    """A set of units: effective weights among them, leak rates, and the slopes that they meet."""

    V: Matrix
    a: list[Q]
    low: list[Q]
    high: list[Q]

    @property
    def n(self) -> int:
        return len(self.a)

    @property
    def g(self) -> list[Q]:
        return [max(abs(p), abs(q)) for p, q in zip(self.low, self.high, strict=True)]

    def of(self, units: list[int]) -> Part:
        rows = [[self.V[i][j] for j in units] for i in units]
        return Part(rows, *([x[i] for i in units] for x in (self.a, self.low, self.high)))


@dataclass
class Norm:
    """`size`: N(d) <= size(e) where |d| <= e; |d_j| <= reach_j N(d); |(V d)_i| <= tilt_i N(d)."""

    size: Callable[[list[Q]], Q]
    reach: list[Q]
    tilt: list[Q]


def dot(x: Any, y: Any) -> Q:
    return sum((s * t for s, t in zip(x, y, strict=True)), Q(0))


def maximum_norm(v: list[Q], V: Matrix) -> Norm:
    tilt = [dot(map(abs, row), v) for row in V]
    return Norm(lambda e: max(x / y for x, y in zip(e, v, strict=True)), v, tilt)


def weighted_norm(y: list[Q], V: Matrix) -> Norm:
    tilt = [root_above(sum((x * x / t for x, t in zip(row, y, strict=True)), Q(0))) for row in V]
    return Norm(lambda e: root_above(dot(y, [x * x for x in e])), [root_above(1 / t) for t in y], tilt)


def quadratic_norm(P: Matrix, R: Matrix, V: Matrix) -> Norm:
    """P >= mu / (R'R) in the sense of inverses: 1/P <= R'R / mu."""
    mu = margin(congruent(P, R))
    demand(mu > 0, "P > 0")
    reach = [root_above(sum((x * x for x in column), Q(0)) / mu) for column in zip(*R, strict=True)]
    spread = transposed(product(R, transposed(V)))  # row i is R V_i'
    tilt = [root_above(dot(row, row) / mu) for row in spread]
    size = [list(map(abs, row)) for row in P]
    return Norm(lambda e: root_above(dot(e, [dot(row, e) for row in size])), reach, tilt)


def perron(part: Part, v: list[Q], r: Q) -> None:
    for i in range(part.n):
        own = max(abs(1 - part.a[i] + part.a[i] * d * part.V[i][i]) for d in (part.low[i], part.high[i]))
        rest = sum((abs(part.V[i][j]) * v[j] for j in range(part.n) if j != i), Q(0))
        demand(own * v[i] + part.a[i] * part.g[i] * rest <= r * v[i], f"row {i}")


def symmetric(thing: Any, n: int) -> Matrix:
    P = matrix(thing, n, n)
    demand(transposed(P) == P, "P must be symmetric")
    return P


def stacked(corner: Matrix, side: Matrix, last: Matrix) -> Matrix:
    return [p + q for p, q in zip(corner, side, strict=True)] + [
        p + q for p, q in zip(transposed(side), last, strict=True)
    ]


def lurie(part: Part, witness: Any, r: Q) -> Norm:
    n, a, V = part.n, part.a, part.V
    x_part, P_part, R_part, RP_part = keys(witness, "multipliers", "P", "R", "R_P")
    x, P = positives(x_part, n), symmetric(P_part, n)
    M = [(p + q) / 2 for p, q in zip(part.low, part.high, strict=True)]
    N = [(q - p) / 2 for p, q in zip(part.low, part.high, strict=True)]
    F = plus(diag([1 - t for t in a]), rows_scaled([s * t for s, t in zip(a, M, strict=True)], V))
    B = diag([s * t for s, t in zip(a, N, strict=True)])
    PF, PB = product(P, F), product(P, B)
    corner = plus(scaled(P, r * r), product(transposed(F), PF), -1)
    corner = plus(corner, product(transposed(V), rows_scaled(x, V)), -1)
    last = plus(diag(x), product(B, PB), -1)
    S = stacked(corner, scaled(product(transposed(F), PB), Q(-1)), last)
    demand(positive(S, matrix(R_part, 2 * n, 2 * n)), "Lur'e")
    return quadratic_norm(P, matrix(RP_part, n, n), V)


def common_quadratic(part: Part, witness: Any, r: Q) -> Norm:
    n = part.n
    demand(n <= 12, "at most 12 units")
    P_part, RP_part = keys(witness, "P", "R_P")
    P = symmetric(P_part, n)
    norm = quadratic_norm(P, matrix(RP_part, n, n), part.V)
    for D in itertools.product(*(sorted({p, q}) for p, q in zip(part.low, part.high, strict=True))):
        gains = [s * t for s, t in zip(part.a, D, strict=True)]
        J = plus(diag([1 - t for t in part.a]), rows_scaled(gains, part.V))
        S = plus(scaled(P, r * r), product(transposed(J), product(P, J)), -1)
        demand(definite(S), "a vertex")
    return norm


def schur(part: Part, y: list[Q], R_part: Any, r: Q) -> Norm:
    S = diag([t * (r * r - 1 + s) for t, s in zip(y, part.a, strict=True)])
    gains = [s * t * e * e for s, t, e in zip(part.a, y, part.g, strict=True)]
    S = plus(S, product(transposed(part.V), rows_scaled(gains, part.V)), -1)
    demand(positive(S, matrix(R_part, part.n, part.n)), "S > 0")
    return weighted_norm(y, part.V)


def cascade(part: Part, witness: Any, r: Q) -> Norm:
    blocks_part, weights_part = keys(witness, "blocks", "weights")
    demand(isinstance(blocks_part, list) and len(blocks_part) >= 1, "blocks")
    members: list[list[int]] = []
    norms: list[Norm] = []
    rates: list[Q] = []
    for block_part in blocks_part:
        units, theorem, rate_text, inner = keys(block_part, "units", "theorem", "rate", "witness")
        demand(isinstance(units, list) and len(units) >= 1, "units")
        members.append([natural(i, 0, part.n - 1) for i in units])
        demand(members[-1] == sorted(set(units)), "units must increase")
        demand(isinstance(theorem, str) and theorem != "cascade", "no cascade in a cascade")
        rates.append(scalar(rate_text))
        demand(0 <= rates[-1] < 1, "rate of a block in [0, 1)")
        norms.append(contraction(theorem, part.of(members[-1]), inner, rates[-1]))
    demand(sorted(itertools.chain(*members)) == list(range(part.n)), "every unit in one block")
    w = positives(weights_part, len(norms))
    reach = [Q(0)] * part.n
    for units, norm, t in zip(members, norms, w, strict=True):
        for i, x in zip(units, norm.reach, strict=True):
            reach[i] = t * x
    g = part.g
    for b, (units, norm) in enumerate(zip(members, norms, strict=True)):
        total = rates[b] * w[b]
        for c, others in enumerate(members):
            if c != b:
                e = [
                    part.a[i] * g[i] * sum((abs(part.V[i][j]) * x for j, x in
                                            zip(others, norms[c].reach, strict=True)), Q(0))
                    for i in units
                ]  # fmt: skip
                total += norm.size(e) * w[c]
        demand(total <= r * w[b], f"block {b}")
    tilt = [dot(map(abs, row), reach) for row in part.V]

    def size(e: list[Q]) -> Q:
        return max(
            norm.size([e[i] for i in units]) / t for units, norm, t in zip(members, norms, w, strict=True)
        )

    return Norm(size, reach, tilt)


def contraction(theorem: str, part: Part, witness: Any, r: Q) -> Norm:
    """Check that N((I - A) d + A D V d) <= r N(d) for all slopes D; return what is known of N."""
    if theorem == "cascade":
        return cascade(part, witness, r)
    if theorem == "perron-weights":
        v = positives(keys(witness, "weights")[0], part.n)
        perron(part, v, r)
        return maximum_norm(v, part.V)
    if theorem == "incremental-lurie":
        return lurie(part, witness, r)
    if theorem == "common-quadratic":
        return common_quadratic(part, witness, r)
    if theorem == "spectral-norm":
        return schur(part, [Q(1)] * part.n, keys(witness, "R")[0], r)
    demand(theorem == "diagonal-schur", "theorem")
    y_part, R_part = keys(witness, "weights", "R")
    return schur(part, positives(y_part, part.n), R_part, r)


def zero_input_multipliers(a: list[Q], V: Matrix, high: Q, witness: Any, r: Q) -> Norm:
    """phi odd, nondecreasing, slopes up to `high` > 0, one for all units: contraction to the origin."""
    n = len(a)
    P_part, Q_part, R_part, RP_part = keys(witness, "P", "Q", "R", "R_P")
    P, X = symmetric(P_part, n), matrix(Q_part, n, n)
    demand(margin(X) >= 0 and margin(transposed(X)) >= 0, "Q must be doubly dominant")
    A, F = diag(a), diag([1 - t for t in a])
    PA = product(P, A)
    corner = plus(scaled(P, r * r), product(F, product(P, F)), -1)
    side = plus(scaled(product(F, PA), Q(-1)), product(transposed(V), transposed(X)), -1)
    last = plus(scaled(plus(X, transposed(X)), 1 / high), product(A, PA), -1)
    demand(positive(stacked(corner, side, last), matrix(R_part, 2 * n, 2 * n)), "S > 0")
    return quadratic_norm(P, matrix(RP_part, n, n), V)
