"""Check an esntools certificate. Reads one JSON file, believes nothing in it, and recomputes everything.

    python check.py certificate.json

Exit code 0: valid. 1: invalid. 2: not a certificate at all. 3: could not decide.

The statement, the theorems with their proofs, and every field are in FORMAT.md beside this file. This file
imports nothing of esntools, runs alone, and needs only the standard library; python-flint, where present,
multiplies the integer matrices faster. There is no floating-point arithmetic: a double is read as the
dyadic rational that it is, matrices are integer matrices times a power of two, and transcendental functions are
enclosed between integers times 2**-PREC.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
import sys
from fractions import Fraction
from typing import Any, NamedTuple

try:
    import flint
    from flint import arb, fmpz_mat
except ImportError:
    arb = fmpz_mat = None

PREC = 80
ONE = 1 << PREC
MAX_BYTES = 1 << 29
MAX_UNITS = 4000


class Invalid(Exception):
    """The certificate does not prove what it claims."""


class Undecided(Exception):
    """This checker cannot tell: newer format, unknown activation, or too large."""


def need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Invalid(otherwise)


# -- exact matrices: an integer matrix m times 2**-e --------------------------------------------------------


class PureMatrix:
    """The few operations of flint.fmpz_mat that are used here, on lists of Python integers."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def tolist(self) -> list[list[int]]:
        return self.rows

    def transpose(self) -> PureMatrix:
        return PureMatrix([list(column) for column in zip(*self.rows, strict=True)])

    def __add__(self, other: PureMatrix) -> PureMatrix:
        return PureMatrix([[x + y for x, y in zip(p, q)] for p, q in zip(self.rows, other.rows)])

    def __mul__(self, other: Any) -> PureMatrix:
        if isinstance(other, int):
            return PureMatrix([[x * other for x in row] for row in self.rows])
        columns = other.transpose().rows
        return PureMatrix([[sum(map(int.__mul__, row, c)) for c in columns] for row in self.rows])


def integer_matrix(rows: list[list[int]]) -> Any:
    return PureMatrix(rows) if fmpz_mat is None else fmpz_mat(rows)


class Matrix:
    """The exact matrix m * 2**-e."""

    def __init__(self, m: Any, e: int) -> None:
        self.m, self.e = m, e

    @classmethod
    def of(cls, rows: Any) -> Matrix:
        """From rows of floats or of fractions whose denominators are powers of two."""
        ratios = [[x.as_integer_ratio() for x in row] for row in rows]
        e = max((d.bit_length() - 1 for row in ratios for _, d in row), default=0)
        integers = [[n << (e - d.bit_length() + 1) for n, d in row] for row in ratios]
        largest = max((x.bit_length() for row in integers for x in row), default=0)
        if largest > 512 and len(integers) > 64:
            raise Undecided("the weights span too many orders of magnitude for this checker")
        return cls(integer_matrix(integers), e)

    def rows(self) -> list[list[int]]:
        return [[int(x) for x in row] for row in self.m.tolist()]

    @property
    def T(self) -> Matrix:
        return Matrix(self.m.transpose(), self.e)

    def __mul__(self, other: Matrix) -> Matrix:
        return Matrix(self.m * other.m, self.e + other.e)

    def __add__(self, other: Matrix) -> Matrix:
        e = max(self.e, other.e)
        return Matrix(self.m * (1 << (e - self.e)) + other.m * (1 << (e - other.e)), e)

    def __neg__(self) -> Matrix:
        return Matrix(self.m * -1, self.e)

    def __sub__(self, other: Matrix) -> Matrix:
        return self + -other

    def __abs__(self) -> Matrix:
        return Matrix(integer_matrix([[abs(x) for x in row] for row in self.rows()]), self.e)

    def scaled_rows(self, factors: list[Fraction]) -> Matrix:
        """diag(factors) * self; denominators are powers of two."""
        e = max(f.denominator.bit_length() - 1 for f in factors)
        whole = [f.numerator << (e - f.denominator.bit_length() + 1) for f in factors]
        return Matrix(integer_matrix([[c * x for x in r] for c, r in zip(whole, self.rows())]), self.e + e)

    def rounded(self) -> Matrix:
        """A matrix in units of 1/ONE, each entry at most 1/ONE below this one's."""
        shift = self.e - PREC
        if shift <= 0:
            return self
        return Matrix(integer_matrix([[x >> shift for x in row] for row in self.rows()]), PREC)

    def vector(self) -> list[Fraction]:
        return [Fraction(row[0], 1 << self.e) for row in self.rows()]


def column(values: list[Fraction]) -> Matrix:
    return Matrix.of([[v] for v in values])


def diagonal(values: list[Fraction]) -> Matrix:
    zero = Fraction(0)
    return Matrix.of([[v if i == j else zero for j in range(len(values))] for i, v in enumerate(values)])


def positive_definite(S: Matrix, R: Matrix, slack: list[Fraction] | None = None) -> bool:
    """Whether R S R' is strictly diagonally dominant with positive diagonal, `slack` to spare in each row.

    Then R S R' is positive definite, hence R is nonsingular and the symmetric matrix S is positive definite;
    with slack_i >= sum_j |(R F R')_ij|, so is S + F.
    """
    product = R * S * R.T
    for i, row in enumerate(product.rows()):
        margin = 2 * row[i] - abs(row[i]) - sum(abs(x) for j, x in enumerate(row) if j != i)
        if not margin > (slack[i] * (1 << product.e) if slack else 0):
            return False
    return True


# -- enclosures: integers in units of 1/ONE, lower and upper ---------------------------------------------------


def up(n: int, d: int) -> int:
    return -(-n // d)


def exp_minus(x: int) -> tuple[int, int]:
    """Enclose exp(-x) for x >= 0."""
    if x > 512 * ONE:
        return 0, 1
    halvings, g = max(0, x.bit_length() - PREC + 1), PREC + 64
    y, one = x << (64 - halvings), 1 << g  # y 2**-g = x 2**-PREC / 2**halvings < 1/2, exactly
    low = high = term_low = term_high = one
    for n in range(1, 41):
        term_low, term_high = term_low * y // (n << g), up(term_high * y, n << g)
        low, high = low + term_low, high + term_high
    high += 1  # the remainder of the series is below 2**-40 / 40! < 2**-g
    low, high = one * one // high, up(one * one, low)
    for _ in range(halvings):
        low, high = low * low >> g, up(high * high, one)
    return low >> 64, up(high, 1 << 64)


PI_DIGITS = 314159265358979323846264338327950288419716939  # pi lies between this and this + 1, times 10**-44
TWO_OVER_ROOT_PI = (
    math.isqrt((4 * 10**44 << 2 * PREC) // (PI_DIGITS + 1)),
    math.isqrt((4 * 10**44 << 2 * PREC) // PI_DIGITS) + 1,
)


def tanh_value(x: int) -> tuple[int, int]:
    if x < 0:
        low, high = tanh_value(-x)
        return -high, -low
    e, f = exp_minus(2 * x)
    return (ONE - f) * ONE // (ONE + f), up((ONE - e) * ONE, ONE + e)


def tanh_slope(x: int) -> tuple[int, int]:
    e, f = exp_minus(2 * abs(x))
    return 4 * e * ONE * ONE // (ONE + e) ** 2, up(4 * f * ONE * ONE, (ONE + f) ** 2)


def logistic_value(x: int) -> tuple[int, int]:
    if x < 0:
        low, high = logistic_value(-x)
        return ONE - high, ONE - low
    e, f = exp_minus(x)
    return ONE * ONE // (ONE + f), up(ONE * ONE, ONE + e)


def logistic_slope(x: int) -> tuple[int, int]:
    e, f = exp_minus(abs(x))
    return e * ONE * ONE // (ONE + e) ** 2, up(f * ONE * ONE, (ONE + f) ** 2)


def by_arb(name: str) -> Any:
    """Enclose a function by FLINT's ball arithmetic."""

    def enclose(x: int) -> tuple[int, int]:
        if arb is None:
            raise Undecided(f"python-flint is needed to enclose {name}")
        flint.ctx.prec = 2 * PREC
        ball = getattr(arb(x) / arb(ONE), name)() * arb(ONE)
        return int((ball.lower() - 1).floor().fmpz()), int((ball.upper() + 1).ceil().fmpz())

    return enclose


def erf_slope(x: int) -> tuple[int, int]:
    low, high = exp_minus(up(x * x, ONE))[0], exp_minus(x * x >> PREC)[1]
    return low * TWO_OVER_ROOT_PI[0] >> PREC, up(high * TWO_OVER_ROOT_PI[1], ONE)


def softsign_value(x: int) -> tuple[int, int]:
    return x * ONE // (ONE + abs(x)), up(x * ONE, ONE + abs(x))


def softsign_slope(x: int) -> tuple[int, int]:
    return ONE**3 // (ONE + abs(x)) ** 2, up(ONE**3, (ONE + abs(x)) ** 2)


class Phi(NamedTuple):
    """An activation: slopes on the whole line, bounds of its values (or None), values and slopes at a point.

    Values increase (or, for the sine, have slopes in [-1, 1]); slopes decrease with |x|, or are listed apart.
    """

    slopes: tuple[Fraction, Fraction]
    bounds: tuple[int, int] | None
    value: Any
    slope: Any


F = Fraction
ACTIVATIONS = {
    "tanh(x)": Phi((F(0), F(1)), (-1, 1), tanh_value, tanh_slope),
    "1/(1 + exp(-x))": Phi((F(0), F(1, 4)), (0, 1), logistic_value, logistic_slope),
    "erf(x)": Phi((F(0), F(TWO_OVER_ROOT_PI[1], ONE)), (-1, 1), by_arb("erf"), erf_slope),
    "x/(1 + Abs(x))": Phi((F(0), F(1)), (-1, 1), softsign_value, softsign_slope),
    "sin(x)": Phi((F(-1), F(1)), (-1, 1), by_arb("sin"), by_arb("cos")),
    "x": Phi((F(1), F(1)), None, lambda x: (x, x), None),
    "Max(0, x)": Phi((F(0), F(1)), None, lambda x: (max(0, x),) * 2, (0, None)),
    "Max(-1, Min(1, x))": Phi((F(0), F(1)), (-1, 1), lambda x: (max(-ONE, min(ONE, x)),) * 2, (-ONE, ONE)),
}


def around_middle(function: Any, low: int, high: int) -> tuple[int, int]:
    """Enclose a function of Lipschitz constant 1 and range [-1, 1] on [low, high]."""
    middle, radius = (low + high) >> 1, up(high - low, 2) + 1
    below, above = function(middle)
    return max(-ONE, below - radius), min(ONE, above + radius)


def values_on(phi: Phi, low: int, high: int) -> tuple[int, int]:
    if phi.slopes[0] < 0:
        return around_middle(phi.value, low, high)
    return phi.value(low)[0], phi.value(high)[1]


def slopes_on(phi: Phi, low: int, high: int) -> tuple[int, int]:
    if phi.slope is None:
        return ONE, ONE
    if phi.slopes[0] < 0:
        return around_middle(phi.slope, low, high)
    if isinstance(phi.slope, tuple):  # slope 1 between two kinks, 0 outside, the hull [0, 1] at a kink
        left, right = phi.slope
        inside = low > left and (right is None or high < right)
        outside = high < left or (right is not None and low > right)
        return (ONE if inside else 0), (0 if outside else ONE)
    near = 0 if low <= 0 <= high else min(abs(low), abs(high))
    greatest = up(phi.slopes[1].numerator * ONE, phi.slopes[1].denominator)
    return phi.slope(max(abs(low), abs(high)))[0], min(greatest, phi.slope(near)[1])


# -- reading -------------------------------------------------------------------------------------------------


def fields(value: Any, place: str, *names: str) -> list[Any]:
    """The values of exactly these keys."""
    need(isinstance(value, dict), f"{place}: must be an object")
    need(set(value) == set(names), f"{place}: must have exactly the keys {', '.join(names)}")
    return [value[name] for name in names]


def number(value: Any, place: str) -> Fraction:
    """A double as Python's float.hex writes it."""
    try:
        x = float.fromhex(value)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(f"{place}: must be a hexadecimal double") from None
    need(math.isfinite(x) and x.hex() == value, f"{place}: must be a finite double as float.hex writes it")
    return Fraction(x)


def unpack(text: Any, code: str, count: int, place: str) -> tuple[Any, ...]:
    try:
        data = base64.b64decode(text, validate=True)
        need(base64.b64encode(data).decode() == text, f"{place}: not canonical base64")
        return struct.unpack(f"<{count}{code}", data)
    except (TypeError, ValueError, struct.error):
        raise Invalid(f"{place}: must be base64 of {count} little-endian numbers") from None


def array(value: Any, place: str, *shape: int | None) -> list[list[float]]:
    """A finite array as a list of rows (a vector is one row); None: any length."""
    need(isinstance(value, dict), f"{place}: must be an array object")
    sparse = "rows" in value
    names = ("shape", "type", "data") + (("rows", "columns") if sparse else ())
    size, kind, data, *index = fields(value, place, *names)
    need(
        isinstance(size, list) and all(type(n) is int and 0 <= n <= 10**7 for n in size),
        f"{place}: bad shape",
    )
    fits = len(size) == len(shape) and all(m is None or n == m for n, m in zip(size, shape))
    need(fits and math.prod(size) <= MAX_BYTES, f"{place}: wrong shape {size}")
    need(kind in ("f8", "f4"), f"{place}: type must be f8 or f4")
    width = size[-1]
    if not sparse:
        flat = unpack(data, {"f8": "d", "f4": "f"}[kind], math.prod(size), place)
    else:
        need(len(size) == 2 and type(data) is str, f"{place}: only a matrix can be sparse")
        count = len(data) * 3 // 4 // 8 if not data.endswith("=") else (len(data.rstrip("=")) * 3 // 4) // 8
        entries = unpack(data, "d", count, place)
        need(kind == "f8" and 0.0 not in entries, f"{place}: a sparse matrix is f8 and lists no zeros")
        at = [i * width + j for i, j in zip(*(unpack(x, "i", count, place) for x in index)) if 0 <= j < width]
        need(len(at) == count and all(x < y for x, y in zip(at, at[1:])), f"{place}: entries out of order")
        need(not at or (0 <= at[0] and at[-1] < math.prod(size)), f"{place}: entry outside the matrix")
        dense = [0.0] * math.prod(size)
        for k, x in zip(at, entries):
            dense[k] = x
        flat = tuple(dense)
    need(all(map(math.isfinite, flat)), f"{place}: every number must be finite")
    rows = size[0] if len(size) == 2 else 1
    return [list(flat[i * width : (i + 1) * width]) for i in range(rows)]


def vector(value: Any, place: str, length: int | None) -> list[Fraction]:
    return [Fraction(x) for x in array(value, place, length)[0]]


class Network:
    """The network section, its hash recomputed."""

    def __init__(self, section: Any) -> None:
        names = ("hash", "activation", "n_units", "n_inputs", "n_outputs")
        blocks = ("W", "W_in", "W_fb", "b", "leak_rate", "W_out", "W_sq", "b_out")
        hash_, activation, n, n_in, n_out, *parts = fields(section, "network", *names, *blocks)
        need(all(type(k) is int and k >= 0 for k in (n, n_in, n_out)) and n > 0, "network: bad sizes")
        need(type(activation) is str, "network.activation: must be text")
        if n > MAX_UNITS:
            raise Undecided(f"{n} units; this checker goes up to {MAX_UNITS}")
        shapes = ((n, n), (n, n_in), (n, n_out), (n,), (n,), (n_out, n), (n_out, n), (n_out,))
        optional = ("W_fb", "W_out", "W_sq", "b_out")
        read = [
            None if part is None and name in optional else array(part, f"network.{name}", *shape)
            for name, part, shape in zip(blocks, parts, shapes)
        ]
        W, W_in, W_fb, b, a, W_out, W_sq, b_out = read
        need((W_out is None) == (b_out is None) == (n_out == 0), "network: W_out and b_out come with outputs")
        need(W_out is not None or (W_fb is None and W_sq is None), "network: no outputs to feed back")
        head = {"activation": activation, "n_inputs": n_in, "n_outputs": n_out, "n_units": n}
        digest = hashlib.sha256(b"esntools-network-1\n" + json.dumps(head, sort_keys=True).encode() + b"\n")
        nonzero = [(i, j, x) for i, row in enumerate(W or []) for j, x in enumerate(row) if x != 0.0]
        for k in (0, 1):
            digest.update(struct.pack(f"<{len(nonzero)}q", *(entry[k] for entry in nonzero)))
        for rows in ([[x for _, _, x in nonzero]], W_in, W_fb, b, a, W_out, W_sq, b_out):
            flat = [x for row in rows or [] for x in row]
            digest.update(f"{len(flat)}\n".encode() + struct.pack(f"<{len(flat)}d", *flat))
        need(digest.hexdigest() == hash_, "network.hash: not the hash of these weights")
        if activation not in ACTIVATIONS:
            raise Undecided(f"activation {activation!r} is unknown to this checker")
        self.n, self.n_in, self.phi, self.squares = (
            n,
            n_in,
            ACTIVATIONS[activation],
            W_fb is not None and W_sq,
        )
        self.b, self.a = ([Fraction(x) for x in (rows or [[]])[0]] for rows in (b, a))
        need(all(0 < x <= 1 for x in self.a), "network.leak_rate: must lie in (0, 1]")
        self.W, self.W_in = Matrix.of(W), W_in
        self.bend: Matrix | None = None  # W_fb W_sq
        if W_fb is not None:
            feedback = Matrix.of(W_fb)
            self.W = self.W + feedback * Matrix.of(W_out)
            shift = (feedback * Matrix.of([[x] for x in (b_out or [[]])[0]])).vector()
            self.b = [x + y for x, y in zip(self.b, shift)]
            self.bend = feedback * Matrix.of(W_sq) if W_sq is not None else None

    def constant_drive(self, u: list[Fraction]) -> list[Fraction]:
        """b + W_in u + W_fb b_out."""
        return [b + sum((Fraction(w) * x for w, x in zip(row, u)), F(0)) for b, row in zip(self.b, self.W_in)]


def input_class(claim: Any, net: Network) -> tuple[str, list[list[Fraction]]]:
    """The kind, and the vectors that define it: for a box its two corners."""
    kind = claim.get("kind") if isinstance(claim, dict) else None
    arrays = {"any": (), "zero": (), "constant": ("value",), "box": ("low", "high"), "alphabet": ("symbols",)}
    need(kind in arrays, "claim.inputs.kind: unknown")
    parts = fields(claim, "claim.inputs", "kind", *arrays[str(kind)])[1:]
    if kind == "alphabet":
        rows = array(parts[0], "claim.inputs.symbols", None, net.n_in)
        need(len(rows) > 0, "claim.inputs.symbols: at least one")
        return "alphabet", [[Fraction(x) for x in row] for row in rows]
    vectors = [vector(p, "claim.inputs", net.n_in) for p in parts]
    if kind == "box":
        need(all(x <= y for x, y in zip(*vectors)), "claim.inputs: low must not exceed high")
    return str(kind), [[F(0)] * net.n_in] if kind == "zero" else vectors


# -- proved: the theorems of FORMAT.md, section 4 ---------------------------------------------------------------


def box_slopes(net: Network, inputs: list[list[Fraction]], steps: int) -> list[tuple[int, int]]:
    """Enclose the slopes met after `steps` steps from the box of all values of phi, under these inputs."""
    bounds = net.phi.bounds
    need(bounds is not None, "slopes: a box needs a bounded activation")
    m, M = bounds or (0, 0)
    ends = [(min(c), max(c)) for c in zip(*inputs)]
    middle = net.constant_drive([(p + q) / 2 for p, q in ends])
    spread = [sum((abs(F(w)) * (q - p) / 2 for w, (p, q) in zip(row, ends)), F(0)) for row in net.W_in]
    size, low, high = abs(net.W), [m * ONE] * net.n, [M * ONE] * net.n
    for step in range(steps + 1):
        centre = (net.W * Matrix.of([[F(p + q, 2 * ONE)] for p, q in zip(low, high)])).vector()
        radius = (size * Matrix.of([[F(q - p, 2 * ONE)] for p, q in zip(low, high)])).vector()
        z = [
            (math.floor((c + d - r - s) * ONE), math.ceil((c + d + r + s) * ONE))
            for c, d, r, s in zip(centre, middle, radius, spread)
        ]
        if step < steps:
            values = [values_on(net.phi, p, q) for p, q in z]
            low = [max(p, math.floor((1 - a) * p + a * v[0])) for a, p, v in zip(net.a, low, values)]
            high = [min(q, math.ceil((1 - a) * q + a * v[1])) for a, q, v in zip(net.a, high, values)]
    return [slopes_on(net.phi, p, q) for p, q in z]


def check_proved(document: Any, net: Network, theorem: str) -> str:
    inputs, states, rate_text = fields(document["claim"], "claim", "inputs", "states", "rate")
    kind, vectors = input_class(inputs, net)
    rate = number(rate_text, "claim.rate")
    need(0 < rate < 1, "claim.rate: must lie in (0, 1)")
    need(net.bend is None, "feedback through squares is outside the theorems")
    source, steps, *pair = fields(document["slopes"], "slopes", "range", "steps", "low", "high")
    l, L = (vector(x, "slopes", net.n) for x in pair)
    if source == "global":
        need(
            steps == 0 and type(steps) is int and kind == "any" and states == "all",
            "claim: global slopes prove any input, all states",
        )
        met = [net.phi.slopes] * net.n
    else:
        need(
            source == "box" and kind != "any" and states == "box",
            "claim: slopes on a box need bounded inputs",
        )
        need(type(steps) is int and 0 <= steps <= 1000, "slopes.steps: must be 0 to 1000")
        met = [(F(p, ONE), F(q, ONE)) for p, q in box_slopes(net, vectors, steps)]
    need(all(p <= d[0] and d[1] <= q for p, q, d in zip(l, L, met)), "slopes: do not enclose the slopes met")
    gain = [max(abs(p), abs(q)) for p, q in zip(l, L)]
    a, n, witness = net.a, net.n, document["witness"]
    if theorem == "perron-weights":
        (weights,) = (vector(x, "witness", n) for x in fields(witness, "witness", "weights"))
        need(all(v > 0 for v in weights), "witness.weights: must be positive")
        rows, unit = net.W.rows(), 1 << net.W.e
        off = abs(net.W) * column(weights)
        for i, total in enumerate(off.vector()):
            w = F(rows[i][i], unit)
            own = max(abs(1 - a[i] + a[i] * d * w) for d in (l[i], L[i]))
            bound = own * weights[i] + a[i] * gain[i] * (total - abs(w) * weights[i])
            need(bound <= rate * weights[i], f"row {i}: no contraction at this rate in the weighted norm")
        return "weighted maximum norm"
    if theorem == "incremental-lurie":
        X_part, P_part, R_part, RP_part = fields(witness, "witness", "multipliers", "P", "R", "R_P")
        X, P = vector(X_part, "witness.multipliers", n), Matrix.of(array(P_part, "witness.P", n, n))
        R, R_P = (
            Matrix.of(array(R_part, "witness.R", 2 * n, 2 * n)),
            Matrix.of(array(RP_part, "witness.R_P", n, n)),
        )
        need(P.rows() == P.T.rows(), "witness.P: must be symmetric")
        need(all(x > 0 for x in X) and positive_definite(P, R_P), "witness.P: not positive definite")
        A0 = diagonal([1 - x for x in a]) + net.W.scaled_rows([x * (p + q) / 2 for x, p, q in zip(a, l, L)])
        B = diagonal([x * (q - p) / 2 for x, p, q in zip(a, l, L)])
        PA, PB = P * A0, P * B
        corner = P.scaled_rows([rate * rate] * n) - A0.T * PA - net.W.T * net.W.scaled_rows(X)
        side, last = -(A0.T * PB), diagonal(X) - B.T * PB
        e = max(corner.e, side.e, last.e)
        blocks = [[[x << (e - M.e) for x in row] for row in M.rows()] for M in (corner, side, side.T, last)]
        joined = [p + q for p, q in zip(blocks[0], blocks[1])] + [p + q for p, q in zip(blocks[2], blocks[3])]
        S = Matrix(integer_matrix(joined), e)
        need(positive_definite(S, R), "witness: the Lur'e matrix is not positive definite at this rate")
        return "norm of P"
    names = ("R",) if theorem == "spectral-norm" else ("weights", "R")
    *weights_part, R_part = fields(witness, "witness", *names)
    Y = vector(weights_part[0], "witness.weights", n) if weights_part else [F(1)] * n
    need(all(y > 0 for y in Y), "witness.weights: must be positive")
    R = Matrix.of(array(R_part, "witness.R", n, n))
    S = diagonal([y * (rate * rate - 1 + x) for y, x in zip(Y, a)])
    S = S - net.W.T * net.W.scaled_rows([x * y * g * g for x, y, g in zip(a, Y, gain)])
    need(positive_definite(S, R), "witness: the matrix is not positive definite at this rate")
    return "Euclidean norm" if theorem == "spectral-norm" else "weighted Euclidean norm"


# -- refuted: the theorems of FORMAT.md, section 5 --------------------------------------------------------------


class Ball:
    """The box |x - centre| <= radius, checked to hold a fixed point; the slopes of the map over it."""

    def __init__(self, net: Network, part: Any, drive: list[Fraction], place: str) -> None:
        centre_part, radius_part, C_part = fields(part, place, "centre", "radius", "C")
        self.x = vector(centre_part, f"{place}.centre", net.n)
        self.r = number(radius_part, f"{place}.radius")
        need(0 < self.r <= 1, f"{place}.radius: must lie in (0, 1]")
        C = Matrix.of(array(C_part, f"{place}.C", net.n, net.n))
        ones, x = [F(1)] * net.n, self.x
        z, self.W, self.bend = (net.W * column(x)).vector(), net.W, None
        if net.bend is not None:
            z = [p + q for p, q in zip(z, (net.bend * column([c * c for c in x])).vector())]
            self.W = net.W + net.bend.T.scaled_rows([2 * c for c in x]).T
            self.bend = abs(net.bend)
        z, self.size = [p + v for p, v in zip(z, drive)], abs(self.W)
        spread = [self.r * (p + q) for p, q in zip((self.size * column(ones)).vector(), self.curl(ones))]
        edges = [(math.floor((c - s) * ONE), math.ceil((c + s) * ONE)) for c, s in zip(z, spread)]
        slopes = [slopes_on(net.phi, p, q) for p, q in edges]
        self.middle = [F(p + q, 2 * ONE) for p, q in slopes]
        self.half = [F(q - p, 2 * ONE) for p, q in slopes]
        self.most = [F(max(abs(p), abs(q)), ONE) for p, q in slopes]
        values = [values_on(net.phi, math.floor(c * ONE), math.ceil(c * ONE)) for c in z]
        residual = [max(abs(c - F(v[0], ONE)), abs(c - F(v[1], ONE))) for c, v in zip(x, values)]
        error = (abs(C) * column(residual)).vector()
        uncertain = (abs(C) * column(self.doubt(ones, ones))).vector()
        contraction = diagonal(ones) - C + C * self.W.scaled_rows(self.middle).rounded()
        for i, row in enumerate(abs(contraction).rows()):
            slope = F(sum(row), 1 << contraction.e) + uncertain[i]
            need(error[i] + self.r * slope < self.r, f"{place}: row {i}: no fixed point is enclosed")

    def curl(self, q: list[Fraction]) -> list[Fraction]:
        """|the change of the effective weights over the box| q, caused by squares in the feedback."""
        if self.bend is None:
            return [F(0)] * len(q)
        return [2 * self.r * x for x in (self.bend * column(q)).vector()]

    def doubt(self, a: list[Fraction], q: list[Fraction]) -> list[Fraction]:
        """E q, where E bounds the distance of diag(a d) (effective weights) from its rounded middle matrix."""
        tail = sum(q, F(0)) / ONE
        parts = zip(a, self.half, self.most, (self.size * column(q)).vector(), self.curl(q))
        return [c * (h * s + m * t) + tail for c, h, m, s, t in parts]

    def doubt_transposed(self, a: list[Fraction], q: list[Fraction]) -> list[Fraction]:
        out = (self.size.T * column([c * h * x for c, h, x in zip(a, self.half, q)])).vector()
        if self.bend is not None:
            more = (self.bend.T * column([c * m * x for c, m, x in zip(a, self.most, q)])).vector()
            out = [x + 2 * self.r * y for x, y in zip(out, more)]
        return [x + sum(q, F(0)) / ONE for x in out]


def check_unstable(net: Network, ball: Ball, P_part: Any, R_part: Any, v_part: Any) -> None:
    n, a = net.n, net.a
    P, R = (Matrix.of(array(x, f"witness.{k}", n, n)) for k, x in (("P", P_part), ("R", R_part)))
    v = column(vector(v_part, "witness.v", n))
    need(P.rows() == P.T.rows(), "witness.P: must be symmetric")
    need((v.T * P * v).vector()[0] < 0, "witness.v: v'Pv must be negative")
    J = diagonal([1 - x for x in a]) + ball.W.scaled_rows([x * d for x, d in zip(a, ball.middle)]).rounded()
    PJ = P * J
    q = (abs(R).T * column([F(1)] * n)).vector()
    wobble = ball.doubt(a, q)
    parts = (
        (abs(PJ).T * column(wobble)).vector(),
        ball.doubt_transposed(a, (abs(PJ) * column(q)).vector()),
        ball.doubt_transposed(a, (abs(P) * column(wobble)).vector()),
    )
    slack = (abs(R) * column([sum(t, F(0)) for t in zip(*parts)])).vector()
    need(positive_definite(P - J.T * PJ, R, slack), "witness: P - J'PJ is not positive definite on the ball")


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
    if theorem == "unstable-fixed-point":
        check_unstable(net, Ball(net, parts[0], drive, "witness.ball"), *parts[1:])
        return "an unstable fixed point"
    need(isinstance(parts[0], list) and len(parts[0]) == 2, "witness.balls: must be two")
    one, two = (Ball(net, part, drive, "witness.balls") for part in parts[0])
    apart = any(abs(p - q) > one.r + two.r for p, q in zip(one.x, two.x))
    need(apart, "witness.balls: must be disjoint")
    return "two fixed points"


# -- the whole document ----------------------------------------------------------------------------------------

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
        need(len(digits) < 20, "an integer is too long")
        return int(digits)

    def constant(name: str) -> None:
        raise Invalid(f"{name} is not a JSON number")

    try:
        return json.loads(text, object_pairs_hook=members, parse_int=integer, parse_constant=constant)
    except RecursionError:
        raise Invalid("nested too deeply") from None


def check(document: Any) -> str:
    """Return a sentence about what is now established; raise Invalid or Undecided."""
    need(isinstance(document, dict), "a certificate is a JSON object")
    if document.get("version") != 1 or type(document["version"]) is not int:
        raise Undecided(f"format version {document.get('version')!r}; this checker knows version 1")
    verdict, theorem = document.get("verdict"), document.get("theorem")
    need(isinstance(theorem, str) and theorem in THEOREMS, "theorem: unknown")
    need((verdict, document.get("source")) == THEOREMS[str(theorem)], "verdict, source: not this theorem's")
    names = ("format", "version", "verdict", "theorem", "source", "network", "claim", "witness", "notes")
    fields(document, "certificate", *names, *(("slopes",) if verdict == "proved" else ()))
    need(isinstance(document["notes"], dict), "notes: must be an object")
    net = Network(document["network"])
    what = (check_proved if verdict == "proved" else check_refuted)(document, net, str(theorem))
    inputs = document["claim"]["inputs"]["kind"]
    if verdict == "proved":
        return f"proved: contraction by {float.fromhex(document['claim']['rate']):.6g} per step, {what}, inputs: {inputs}"
    return f"refuted: {what} at a constant input, inputs: {inputs}"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python check.py certificate.json", file=sys.stderr)
        return 2
    try:
        with open(arguments[0], "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        need(len(data) <= MAX_BYTES, f"larger than {MAX_BYTES} bytes")
        document = parse(data.decode())
        if not isinstance(document, dict) or document.get("format") != "esntools-certificate":
            print(f"{arguments[0]}: not an esntools certificate", file=sys.stderr)
            return 2
        print(f"valid: {check(document)}")
        return 0
    except Invalid as reason:
        print(f"invalid: {reason}")
        return 1
    except Undecided as reason:
        print(f"could not decide: {reason}")
        return 3
    except (OSError, ValueError) as error:
        print(f"{arguments[0]}: cannot be read as a certificate: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
