"""Check an esntools certificate: read one JSON file, believe nothing in it, recompute everything.

    python check.py certificate.json

Exit code 0: valid. 1: invalid. 2: not a certificate at all. 3: could not decide.

The statement, the theorems with their proofs, and every field are in FORMAT.md beside this file. This file
imports nothing of esntools and runs alone. It uses no floating-point arithmetic: a double is the dyadic
rational that it is, and matrices are integer matrices times a power of two. python-flint, where present,
multiplies them faster; it is needed only to enclose values of tanh and the like (fixed points, boxes).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

try:
    import flint
    from flint import arb, fmpz_mat
except ImportError:
    arb = fmpz_mat = None

F = Fraction
PREC, MAX_BYTES, MAX_UNITS = 80, 1 << 29, 4000
ONE, UNIT = 1 << PREC, (F(0), F(1))  # enclosures are pairs of integers in units of 1/ONE


class Invalid(Exception):
    """The certificate does not prove what it claims."""


class Undecided(Exception):
    """This checker cannot tell: newer format, unknown activation, too large."""


def need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Invalid(otherwise)


class Matrix:
    """The exact matrix with entries rows[i][j] * 2**-e, rows of integers."""

    def __init__(self, rows: list[list[int]], e: int) -> None:
        self.rows, self.e = rows, e

    @classmethod
    def of(cls, rows: Any) -> Matrix:
        """From rows of floats or of fractions whose denominators are powers of two."""
        ratios = [[x.as_integer_ratio() for x in row] for row in rows]
        e = max((d.bit_length() - 1 for row in ratios for _, d in row), default=0)
        whole = [[n << (e - d.bit_length() + 1) for n, d in row] for row in ratios]
        if min(len(whole), len(whole[0])) > 64 and max(x.bit_length() for r in whole for x in r) > 512:
            raise Undecided("the numbers span too many orders of magnitude for this checker")
        return cls(whole, e)

    @property
    def T(self) -> Matrix:
        return Matrix([list(entries) for entries in zip(*self.rows)], self.e)

    def __mul__(self, other: Matrix) -> Matrix:
        if fmpz_mat is None:
            columns = other.T.rows
            rows = [[sum(map(int.__mul__, row, c)) for c in columns] for row in self.rows]
        else:
            product = fmpz_mat(self.rows) * fmpz_mat(other.rows)
            rows = [[int(x) for x in row] for row in product.tolist()]
        return Matrix(rows, self.e + other.e)

    def __add__(self, other: Matrix) -> Matrix:
        e = max(self.e, other.e)
        p, q = e - self.e, e - other.e
        rows = [[(x << p) + (y << q) for x, y in zip(r, s)] for r, s in zip(self.rows, other.rows)]
        return Matrix(rows, e)

    def __sub__(self, other: Matrix) -> Matrix:
        return self + Matrix([[-x for x in row] for row in other.rows], other.e)

    def __abs__(self) -> Matrix:
        return Matrix([[abs(x) for x in row] for row in self.rows], self.e)

    def scaled_rows(self, factors: list[Fraction]) -> Matrix:
        """diag(factors) * self; denominators are powers of two."""
        scale = Matrix.of([[f] for f in factors])
        return Matrix([[c * x for x in row] for (c,), row in zip(scale.rows, self.rows)], self.e + scale.e)

    def times(self, v: list[Fraction]) -> list[Fraction]:
        """The product with a vector."""
        product = self * Matrix.of([[x] for x in v])
        return [F(row[0], 1 << product.e) for row in product.rows]


def diagonal(values: list[Fraction]) -> Matrix:
    return Matrix.of([[v if i == j else 0.0 for j in range(len(values))] for i, v in enumerate(values)])


def positive_definite(S: Matrix, R: Matrix, slack: list[Fraction] | None = None) -> bool:
    """Whether R S R' is strictly diagonally dominant with positive diagonal, `slack` to spare in each row.

    Then R S R' is positive definite, hence R is nonsingular and the symmetric matrix S is positive definite;
    with slack_i >= sum_j |(R F R')_ij|, so is S + F.
    """
    product = R * S * R.T
    margins = [row[i] + abs(row[i]) - sum(map(abs, row)) for i, row in enumerate(product.rows)]
    return all(m > (slack[i] * (1 << product.e) if slack else 0) for i, m in enumerate(margins))


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
    bounds: tuple[int, int] | None
    values_on: Any
    slopes_on: Any


ERF = F(1128379167095512574, 10**18)  # 2/sqrt(pi) = 1.12837916709551257389...
ACTIVATIONS = {
    "tanh(x)": Phi(UNIT, (-1, 1), rising(lambda x: x.tanh()), even(lambda x: x.sech() ** 2, F(1))),
    "1/(1 + exp(-x))": Phi((F(0), F(1, 4)), (0, 1),
        rising(lambda x: ((x / 2).tanh() + 1) / 2), even(lambda x: (x / 2).sech() ** 2 / 4, F(1, 4))),
    "erf(x)": Phi((F(0), ERF), (-1, 1),
        rising(lambda x: x.erf()), even(lambda x: 2 * (-x * x).exp() / arb.pi().sqrt(), ERF)),
    "x/(1 + Abs(x))": Phi(UNIT, (-1, 1),
        rising(lambda x: x / (1 + abs(x))), even(lambda x: 1 / (1 + abs(x)) ** 2, F(1))),
    "sin(x)": Phi((F(-1), F(1)), (-1, 1), by_arb(lambda x: x.sin()), by_arb(lambda x: x.cos())),
    "x": Phi((F(1), F(1)), None, lambda low, high: (low, high), lambda low, high: (ONE, ONE)),
    # Slope 0 or 1 by pieces; at a kink the hull of both.
    "Max(0, x)": Phi(UNIT, None, lambda low, high: (max(0, low), max(0, high)),
        lambda low, high: (ONE * (low > 0), ONE * (high >= 0))),
    "Max(-1, Min(1, x))": Phi(UNIT, (-1, 1),
        lambda low, high: (max(-ONE, min(ONE, low)), max(-ONE, min(ONE, high))),
        lambda low, high: (ONE * (low > -ONE and high < ONE), ONE * (high >= -ONE and low <= ONE))),
}  # fmt: skip


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


def unpack(text: Any, code: str, place: str) -> tuple[Any, ...]:
    try:
        data = base64.b64decode(text, validate=True)
        need(base64.b64encode(data).decode() == text, f"{place}: not canonical base64")
        return struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
    except (TypeError, ValueError, struct.error):
        raise Invalid(f"{place}: must be base64 of little-endian numbers") from None


def array(value: Any, place: str, *shape: int | None) -> list[list[float]]:
    """A finite array as a list of rows (a vector is one row); None: any length."""
    sparse = isinstance(value, dict) and "rows" in value
    names = ("shape", "type", "data") + (("rows", "columns") if sparse else ())
    size, kind, data, *index = fields(value, place, *names)
    need(isinstance(size, list) and all(type(n) is int and 0 <= n <= 10**6 for n in size), "bad shape")
    fits = len(size) == len(shape) and all(m is None or n == m for n, m in zip(size, shape))
    need(fits and kind in ("f8", "f4"), f"{place}: wrong shape {size} or type")
    if math.prod(size) > 4 * MAX_UNITS**2:
        raise Undecided(f"{place}: too large for this checker")
    flat, width = unpack(data, {"f8": "d", "f4": "f"}[kind], place), size[-1]
    need(all(map(math.isfinite, flat)), f"{place}: every number must be finite")
    if sparse:
        rows, columns = (unpack(x, "i", place) for x in index)
        need(len(size) == 2 and kind == "f8" and 0.0 not in flat, f"{place}: lists a zero, or is not f8")
        need(len(rows) == len(columns) == len(flat), f"{place}: lengths differ")
        need(all(0 <= i < size[0] and 0 <= j < width for i, j in zip(rows, columns)), f"{place}: outside")
        at = [i * width + j for i, j in zip(rows, columns)]
        need(all(x < y for x, y in itertools.pairwise(at)), f"{place}: entries out of order")
        entries = dict(zip(at, flat))
        flat = tuple(entries.get(k, 0.0) for k in range(math.prod(size)))
    need(len(flat) == math.prod(size), f"{place}: must have {math.prod(size)} entries")
    return [list(flat[i * width : (i + 1) * width]) for i in range(size[0] if len(size) == 2 else 1)]


def vector(value: Any, place: str, length: int) -> list[Fraction]:
    return [F(x) for x in array(value, place, length)[0]]


class Network:
    """The network section, its hash recomputed, an affine feedback folded in."""

    def __init__(self, section: Any) -> None:
        names = ("W", "W_in", "W_fb", "b", "leak_rate", "W_out", "W_sq", "b_out")
        head = ("hash", "activation", "n_units", "n_inputs", "n_outputs")
        hash_, activation, n, n_in, n_out, *parts = fields(section, "network", *head, *names)
        need(all(type(k) is int and k >= 0 for k in (n, n_in, n_out)) and n > 0, "network: bad sizes")
        need(type(activation) is str, "network.activation: must be text")
        if n > MAX_UNITS:
            raise Undecided(f"{n} units; this checker goes up to {MAX_UNITS}")
        shapes = ((n, n), (n, n_in), (n, n_out), (n,), (n,), (n_out, n), (n_out, n), (n_out,))
        read: dict[str, list[list[float]]] = {}
        for name, part, shape in zip(names, parts, shapes):
            if part is not None or name not in ("W_fb", "W_out", "W_sq", "b_out"):
                read[name] = array(part, f"network.{name}", *shape)
        need(("W_out" in read) == ("b_out" in read) == (n_out > 0), "network: W_out, b_out come with outputs")
        need(n_out > 0 or not read.keys() & {"W_fb", "W_sq"}, "network: no outputs to feed back")
        sizes = {"activation": activation, "n_inputs": n_in, "n_outputs": n_out, "n_units": n}
        digest = hashlib.sha256(b"esntools-network-1\n" + json.dumps(sizes, sort_keys=True).encode() + b"\n")
        nonzero = [(i, j, x) for i, row in enumerate(read["W"]) for j, x in enumerate(row) if x != 0.0]
        for k in (0, 1):
            digest.update(struct.pack(f"<{len(nonzero)}q", *(entry[k] for entry in nonzero)))
        for rows in ([[x for _, _, x in nonzero]], *(read.get(name, []) for name in names[1:])):
            flat = [x for row in rows for x in row]
            digest.update(f"{len(flat)}\n".encode() + struct.pack(f"<{len(flat)}d", *flat))
        need(digest.hexdigest() == hash_, "network.hash: not the hash of these weights")
        if activation not in ACTIVATIONS:
            raise Undecided(f"activation {activation!a} is unknown to this checker")
        self.n, self.n_in, self.phi = n, n_in, ACTIVATIONS[activation]
        self.b, self.a = ([F(x) for x in read[name][0]] for name in ("b", "leak_rate"))
        need(all(0 < x <= 1 for x in self.a), "network.leak_rate: must lie in (0, 1]")
        self.W, self.W_in = Matrix.of(read["W"]), read["W_in"]
        self.bend: Matrix | None = None  # W_fb W_sq
        if "W_fb" in read:
            feedback = Matrix.of(read["W_fb"])
            self.W = self.W + feedback * Matrix.of(read["W_out"])
            self.b = [x + y for x, y in zip(self.b, feedback.times([F(x) for x in read["b_out"][0]]))]
            self.bend = feedback * Matrix.of(read["W_sq"]) if "W_sq" in read else None

    def constant_drive(self, u: list[Fraction]) -> list[Fraction]:
        """b + W_in u + W_fb b_out."""
        return [b + sum((F(w) * x for w, x in zip(row, u)), F(0)) for b, row in zip(self.b, self.W_in)]


def input_class(claim: Any, net: Network) -> tuple[str, list[list[Fraction]]]:
    """The kind, and the vectors that define it: for a box its two corners."""
    kind = str(claim.get("kind")) if isinstance(claim, dict) else ""
    arrays = {"any": (), "zero": (), "constant": ("value",), "box": ("low", "high"), "alphabet": ("symbols",)}
    need(kind in arrays and claim["kind"] == kind, "claim.inputs.kind: unknown")
    parts = fields(claim, "claim.inputs", "kind", *arrays[kind])[1:]
    if kind == "alphabet":
        rows = array(parts[0], "claim.inputs.symbols", None, net.n_in)
        need(len(rows) > 0, "claim.inputs.symbols: at least one")
        return kind, [[F(x) for x in row] for row in rows]
    vectors = [vector(p, "claim.inputs", net.n_in) for p in parts]
    if kind == "box":
        need(all(x <= y for x, y in zip(*vectors)), "claim.inputs: low must not exceed high")
    return kind, [[F(0)] * net.n_in] if kind == "zero" else vectors


def box_slopes(net: Network, inputs: list[list[Fraction]], steps: int) -> list[tuple[Fraction, Fraction]]:
    """Enclose the slopes met after `steps` steps from the box of all values of phi, under these inputs."""
    if net.phi.bounds is None:
        raise Invalid("slopes: a box needs a bounded activation")
    ends = [(min(c), max(c)) for c in zip(*inputs)]
    middle = net.constant_drive([(p + q) / 2 for p, q in ends])
    spread = [sum((abs(F(w)) * (q - p) / 2 for w, (p, q) in zip(row, ends)), F(0)) for row in net.W_in]
    size, low, high = abs(net.W), *([bound * ONE] * net.n for bound in net.phi.bounds)
    for step in range(steps + 1):
        centre = net.W.times([F(p + q, 2 * ONE) for p, q in zip(low, high)])
        radius = size.times([F(q - p, 2 * ONE) for p, q in zip(low, high)])
        parts = zip(centre, middle, radius, spread)
        z = [(math.floor((c + d - r - t) * ONE), math.ceil((c + d + r + t) * ONE)) for c, d, r, t in parts]
        if step < steps:
            values = [net.phi.values_on(p, q) for p, q in z]
            low = [max(p, math.floor((1 - a) * p + a * v[0])) for a, p, v in zip(net.a, low, values)]
            high = [min(q, math.ceil((1 - a) * q + a * v[1])) for a, q, v in zip(net.a, high, values)]
    return [(F(p, ONE), F(q, ONE)) for p, q in itertools.starmap(net.phi.slopes_on, z)]


def check_proved(document: Any, net: Network, theorem: str) -> str:
    inputs, states, rate_text = fields(document["claim"], "claim", "inputs", "states", "rate")
    kind, vectors = input_class(inputs, net)
    rate = number(rate_text, "claim.rate")
    need(0 < rate < 1, "claim.rate: must lie in (0, 1)")
    need(net.bend is None, "feedback through squares is outside the theorems")
    source, steps, *pair = fields(document["slopes"], "slopes", "range", "steps", "low", "high")
    low, high = (vector(x, "slopes", net.n) for x in pair)
    need(type(steps) is int and 0 <= steps <= 1000, "slopes.steps: must be 0 to 1000")
    if source == "global":
        need((steps, kind, states) == (0, "any", "all"), "claim: global slopes prove any input, all states")
        met = [net.phi.slopes] * net.n
    else:
        need((source, states) == ("box", "box") and kind != "any", "claim: a box needs bounded inputs")
        met = box_slopes(net, vectors, steps)
    need(all(p <= d[0] and d[1] <= q for p, q, d in zip(low, high, met)), "slopes: others are met")
    gain = [max(abs(p), abs(q)) for p, q in zip(low, high)]
    a, n, witness = net.a, net.n, document["witness"]
    if theorem == "perron-weights":
        (weights,) = (vector(x, "witness", n) for x in fields(witness, "witness", "weights"))
        need(all(v > 0 for v in weights), "witness.weights: must be positive")
        rows, unit = net.W.rows, 1 << net.W.e
        for i, total in enumerate(abs(net.W).times(weights)):
            w = F(rows[i][i], unit)
            own = max(abs(1 - a[i] + a[i] * d * w) for d in (low[i], high[i]))
            bound = own * weights[i] + a[i] * gain[i] * (total - abs(w) * weights[i])
            need(bound <= rate * weights[i], f"row {i}: no contraction at this rate in the weighted norm")
        return "contraction in a weighted maximum norm"
    if theorem == "incremental-lurie":
        X_part, *parts = fields(witness, "witness", "multipliers", "P", "R", "R_P")
        X = vector(X_part, "witness.multipliers", n)
        P, R, R_P = (Matrix.of(array(x, "witness", k, k)) for x, k in zip(parts, (n, 2 * n, n)))
        need(P.rows == P.T.rows, "witness.P: must be symmetric")
        need(all(x > 0 for x in X) and positive_definite(P, R_P), "witness.P: not positive definite")
        centre = [x * (p + q) / 2 for x, p, q in zip(a, low, high)]
        A0 = diagonal([1 - x for x in a]) + net.W.scaled_rows(centre)
        B = diagonal([x * (q - p) / 2 for x, p, q in zip(a, low, high)])
        PA, PB, zero = P * A0, P * B, diagonal([F(0)] * n)
        corner = P.scaled_rows([rate * rate] * n) - A0.T * PA - net.W.T * net.W.scaled_rows(X)
        parts = [corner, zero - A0.T * PB, zero - PB.T * A0, diagonal(X) - B.T * PB]
        e = max(M.e for M in parts)
        one, two, three, four = ([[x << (e - M.e) for x in row] for row in M.rows] for M in parts)
        S = Matrix([p + q for p, q in zip(one + three, two + four)], e)
        need(positive_definite(S, R), "witness: the Lur'e matrix is not positive definite at this rate")
        return "contraction in the norm of P"
    names = ("R",) if theorem == "spectral-norm" else ("weights", "R")
    *weights_part, R_part = fields(witness, "witness", *names)
    Y = vector(weights_part[0], "witness.weights", n) if weights_part else [F(1)] * n
    need(all(y > 0 for y in Y), "witness.weights: must be positive")
    R = Matrix.of(array(R_part, "witness.R", n, n))
    S = diagonal([y * (rate * rate - 1 + x) for y, x in zip(Y, a)])
    S = S - net.W.T * net.W.scaled_rows([x * y * g * g for x, y, g in zip(a, Y, gain)])
    need(positive_definite(S, R), "witness: the matrix is not positive definite at this rate")
    return "contraction in a weighted Euclidean norm" if weights_part else "contraction in the Euclidean norm"


class Ball:
    """The box |x - centre - fine| <= r, checked to hold a fixed point.

    Over it, diag(slopes) (effective weights) is within `error` of `middle`."""

    def __init__(self, net: Network, part: Any, drive: list[Fraction]) -> None:
        n, (*x_parts, r_part, C_part) = net.n, fields(part, "ball", "centre", "fine", "radius", "C")
        x = [p + q for p, q in zip(*(vector(x_part, "ball.centre", n) for x_part in x_parts))]
        self.x, self.r = x, (r := number(r_part, "ball.radius"))
        need(0 < r <= 1, "ball.radius: must lie in (0, 1]")
        C = Matrix.of(array(C_part, "ball.C", n, n))
        W, curl, square = net.W, diagonal([F(0)] * n), [F(0)] * n
        if net.bend is not None:  # squares in the feedback: the weights depend on the state
            square = net.bend.times([c * c for c in x])
            W = W + net.bend.T.scaled_rows([2 * c for c in x]).T
            curl = abs(net.bend).scaled_rows([2 * r] * n)
        z = [p + q + v for p, q, v in zip(net.W.times(x), square, drive)]
        spread = (abs(W) + curl).times([r] * n)
        edges = [(math.floor((c - s) * ONE), math.ceil((c + s) * ONE)) for c, s in zip(z, spread)]
        slopes = [net.phi.slopes_on(p, q) for p, q in edges]
        exact = W.scaled_rows([F(p + q, 2 * ONE) for p, q in slopes])
        drop = max(0, exact.e - PREC)  # round to units of 1/ONE; the error gets 1/ONE more for it
        self.middle = Matrix([[x >> drop for x in row] for row in exact.rows], exact.e - drop)
        self.error = abs(W).scaled_rows([F(q - p, 2 * ONE) for p, q in slopes])
        self.error += curl.scaled_rows([F(max(abs(p), abs(q)), ONE) for p, q in slopes])
        self.error += Matrix([[1] * n for _ in range(n)], PREC)
        values = [net.phi.values_on(math.floor(c * ONE), math.ceil(c * ONE)) for c in z]
        residual = [max(abs(c - F(v[0], ONE)), abs(c - F(v[1], ONE))) for c, v in zip(x, values)]
        ones = [F(1)] * n
        slope = abs(diagonal(ones) - C + C * self.middle).times(ones)
        unsure = abs(C).times(self.error.times(ones))
        enclosed = all(g + r * (s + e) < r for g, s, e in zip(abs(C).times(residual), slope, unsure))
        need(enclosed, "ball: does not enclose a fixed point")


def check_refuted(document: Any, net: Network, theorem: str) -> str:
    kind, vectors = input_class(fields(document["claim"], "claim", "inputs")[0], net)
    names = ("ball", "P", "R", "v") if theorem == "unstable-fixed-point" else ("balls",)
    u_part, *parts = fields(document["witness"], "witness", "input", *names)
    u = vector(u_part, "witness.input", net.n if kind == "any" else net.n_in)
    if kind == "box":
        need(all(p <= x <= q for x, p, q in zip(u, *vectors)), "witness.input: outside the box")
    elif kind != "any":
        need(u in vectors, "witness.input: not an input of the claim")
    drive = u if kind == "any" else net.constant_drive(u)
    if theorem == "two-fixed-points":
        need(isinstance(parts[0], list) and len(parts[0]) == 2, "witness.balls: must be two")
        one, two = (Ball(net, part, drive) for part in parts[0])
        apart = any(abs(p - q) > one.r + two.r for p, q in zip(one.x, two.x))
        need(apart, "witness.balls: must be disjoint")
        return "two fixed points at one constant input"
    ball, v = Ball(net, parts[0], drive), vector(parts[3], "witness.v", net.n)
    P, R = (Matrix.of(array(x, "witness.P or R", net.n, net.n)) for x in parts[1:3])
    need(P.rows == P.T.rows, "witness.P: must be symmetric")
    need(sum((x * y for x, y in zip(v, P.times(v))), F(0)) < 0, "witness.v: v'Pv must be negative")
    J = diagonal([1 - x for x in net.a]) + ball.middle.scaled_rows(net.a)
    E, PJ = ball.error.scaled_rows(net.a), P * J
    # (J + D)'P(J + D) with |D| <= E differs from J'PJ by at most |PJ|'E + E'|PJ| + E'|P|E.
    Eq = E.times(q := abs(R).T.times([F(1)] * net.n))
    three = zip(abs(PJ).T.times(Eq), E.T.times(abs(PJ).times(q)), E.T.times(abs(P).times(Eq)))
    slack = abs(R).times([x + y + z for x, y, z in three])
    need(positive_definite(P - J.T * PJ, R, slack), "witness: P - J'PJ is not positive definite on the ball")
    return "an unstable fixed point at a constant input"


THEOREMS = {
    "spectral-norm": ("proved", "H. Jaeger, GMD Report 148 (2001), Proposition 3"),
    "perron-weights": ("proved", "doi:10.1016/j.neunet.2012.07.005"),
    "diagonal-schur": ("proved", "doi:10.1109/TNN.2006.872357"),
    "incremental-lurie": ("proved", "doi:10.48550/arXiv.2604.00119"),
    "unstable-fixed-point": ("refuted", "doi:10.1016/j.neunet.2012.07.005"),
    "two-fixed-points": ("refuted", "doi:10.1007/BF02234767"),
}


def parse(text: str) -> Any:
    """JSON in which no key stands twice, no number is NaN or infinite, and no integer is long."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len({k for k, _ in pairs}) == len(pairs), "a key stands twice")
        return dict(pairs)

    def integer(digits: str) -> int:
        need(len(digits) < 20 and digits[-1].isdigit(), "a number is too long, or is none")
        return int(digits)

    try:
        return json.loads(text, object_pairs_hook=members, parse_int=integer, parse_constant=integer)
    except RecursionError:
        raise Invalid("nested too deeply") from None


def check(document: Any) -> str:
    """Return a sentence about what is now established; raise Invalid or Undecided."""
    need(isinstance(document, dict), "a certificate is a JSON object")
    if document.get("version") != 1 or type(document["version"]) is not int:
        raise Undecided(f"format version {document.get('version')!a}; this checker knows version 1")
    verdict, theorem = document.get("verdict"), document.get("theorem")
    need(isinstance(theorem, str) and theorem in THEOREMS, "theorem: unknown")
    need((verdict, document.get("source")) == THEOREMS[str(theorem)], "verdict, source: not this theorem's")
    names = ("format", "version", "verdict", "theorem", "source", "network", "claim", "witness", "notes")
    fields(document, "certificate", *names, *(("slopes",) if verdict == "proved" else ()))
    need(isinstance(document["notes"], dict), "notes: must be an object")
    net = Network(document["network"])
    what = (check_proved if verdict == "proved" else check_refuted)(document, net, str(theorem))
    rate = f" by {float.fromhex(document['claim']['rate']):.6g} per step" if verdict == "proved" else ""
    return f"{verdict}: {what}{rate}; inputs: {document['claim']['inputs']['kind']}"


def main(arguments: list[str]) -> int:
    try:
        (path,) = map(Path, arguments)
        need(path.stat().st_size <= MAX_BYTES, f"larger than {MAX_BYTES} bytes")
        document = parse(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("format") != "esntools-certificate":
            raise ValueError("this file is not an esntools certificate")
        print(f"valid: {check(document)}")
        return 0
    except Invalid as reason:
        print(f"invalid: {reason}")
        return 1
    except Undecided as reason:
        print(f"could not decide: {reason}")
        return 3
    except (OSError, ValueError) as error:
        print(f"usage: python check.py certificate.json: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
