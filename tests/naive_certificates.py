"""A second checker of certificates, written from FORMAT.md alone: fractions, lists and interval arithmetic.

Slow and obvious. Nothing is shared with `esntools.certificates.check`: no flint, no scaled integers,
elementary functions by their power series, and intervals where the other one uses midpoints and radii.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from fractions import Fraction as Q
from typing import Any

SOURCES = {
    "spectral-norm": "H. Jaeger, GMD Report 148 (2001), Proposition 3",
    "perron-weights": "doi:10.1016/j.neunet.2012.07.005",
    "diagonal-schur": "doi:10.1109/TNN.2006.872357",
    "incremental-lurie": "doi:10.48550/arXiv.2604.00119",
    "unstable-fixed-point": "doi:10.1016/j.neunet.2012.07.005",
    "two-fixed-points": "doi:10.1007/BF02234767",
}
REFUTING = ("unstable-fixed-point", "two-fixed-points")


class Rejected(Exception):
    pass


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise Rejected(what)


# -- intervals of fractions, rounded outwards to multiples of 2**-120 so that they stay small

GRID = 2**120


def out(low: Q, high: Q) -> tuple[Q, Q]:
    return Q(math.floor(low * GRID), GRID), Q(math.ceil(high * GRID), GRID)


def exponential(x: Q) -> tuple[Q, Q]:
    """exp(x) for x <= 0: 1 / exp(-x), by the series of exp(-x / 2**k) with -x / 2**k <= 1/2."""
    y, k = -x, 0
    if y > 400:
        return Q(0), Q(1, 2**400)
    while y > Q(1, 2):
        y, k = y / 2, k + 1
    term = total = Q(1)
    for n in range(1, 40):
        term = term * y / n
        total += term
    low, high = out(1 / (total + 2 * term), 1 / total)
    for _ in range(k):
        low, high = out(low * low, high * high)
    return low, high


def series(x: Q, first: int) -> tuple[Q, Q]:
    """sin (first = 1) or cos (first = 0): alternating Taylor series, remainder below the next term."""
    term, n = (x, 1) if first else (Q(1), 0)
    total = Q(0)
    while abs(term) > Q(1, 2**130) or n < abs(x) + 2:
        total += term
        term = -term * x * x / ((n + 1) * (n + 2))
        n += 2
    return out(total - abs(term), total + abs(term))


PI_LOW, PI_HIGH = Q(31415926535897932384626433832795, 10**31), Q(31415926535897932384626433832796, 10**31)


def two_over_root_pi() -> tuple[Q, Q]:
    return (
        Q(math.isqrt(int(4 / PI_HIGH * GRID**2)), GRID),
        Q(math.isqrt(int(4 / PI_LOW * GRID**2)) + 1, GRID),
    )


def erf(x: Q) -> tuple[Q, Q]:
    if x < 0:
        low, high = erf(-x)
        return -high, -low
    if x > 7:
        return 1 - Q(1, 2**70), Q(1)
    # 2/sqrt(pi) * sum (-1)^n x^(2n+1) / (n! (2n+1)), alternating once the terms fall.
    term, n, total = x, 0, Q(0)
    while abs(term) > Q(1, 2**130) or n < x * x + 2:
        total += term / (2 * n + 1)
        n += 1
        term = -term * x * x / n
    a, b = two_over_root_pi()
    return out(a * (total - abs(term)), b * (total + abs(term)))


def value(name: str, x: Q) -> tuple[Q, Q]:
    if name == "tanh(x)":
        e, f = exponential(-2 * abs(x))
        low, high = out((1 - f) / (1 + f), (1 - e) / (1 + e))
        return (low, high) if x >= 0 else (-high, -low)
    if name == "1/(1 + exp(-x))":
        e, f = exponential(-abs(x))
        low, high = out(1 / (1 + f), 1 / (1 + e))
        return (low, high) if x >= 0 else (1 - high, 1 - low)
    if name == "erf(x)":
        return erf(x)
    if name == "sin(x)":
        return series(x, 1)
    exact = {
        "x/(1 + Abs(x))": x / (1 + abs(x)), "x": x, "Max(0, x)": max(Q(0), x),
        "Max(-1, Min(1, x))": max(Q(-1), min(Q(1), x)),
    }[name]  # fmt: skip
    return exact, exact


def slope(name: str, x: Q) -> tuple[Q, Q]:
    """Of the smooth activations."""
    if name in ("tanh(x)", "1/(1 + exp(-x))"):
        e, f = exponential(-(2 if name == "tanh(x)" else 1) * abs(x))
        k = 4 if name == "tanh(x)" else 1
        return out(k * e / (1 + e) ** 2, k * f / (1 + f) ** 2)
    if name == "erf(x)":
        (e, f), (a, b) = exponential(-x * x), two_over_root_pi()
        return out(e * a, f * b)
    return 1 / (1 + abs(x)) ** 2, 1 / (1 + abs(x)) ** 2


def line(name: str) -> tuple[Q, Q]:
    return {
        "1/(1 + exp(-x))": (Q(0), Q(1, 4)), "sin(x)": (Q(-1), Q(1)), "x": (Q(1), Q(1)),
        "erf(x)": (Q(0), two_over_root_pi()[1]),
    }.get(name, (Q(0), Q(1)))  # fmt: skip


def values(name: str, low: Q, high: Q) -> tuple[Q, Q]:
    if name == "sin(x)":
        middle, radius = series((low + high) / 2, 1), (high - low) / 2
        return max(Q(-1), middle[0] - radius), min(Q(1), middle[1] + radius)
    return value(name, low)[0], value(name, high)[1]


def slopes(name: str, low: Q, high: Q) -> tuple[Q, Q]:
    if name == "x":
        return Q(1), Q(1)
    if name == "sin(x)":
        middle, radius = series((low + high) / 2, 0), (high - low) / 2
        return max(Q(-1), middle[0] - radius), min(Q(1), middle[1] + radius)
    if name == "Max(0, x)":
        return Q(1 if low > 0 else 0), Q(0 if high < 0 else 1)
    if name == "Max(-1, Min(1, x))":
        return Q(1 if low > -1 and high < 1 else 0), Q(0 if high < -1 or low > 1 else 1)
    near = Q(0) if low <= 0 <= high else min(abs(low), abs(high))
    return slope(name, max(abs(low), abs(high)))[0], min(line(name)[1], slope(name, near)[1])


# -- decoding -------------------------------------------------------------------------------------------


def keys(thing: Any, *names: str) -> list[Any]:
    demand(isinstance(thing, dict) and sorted(thing) == sorted(names), f"keys must be {names}")
    return [thing[name] for name in names]


def scalar(text: Any) -> Q:
    demand(isinstance(text, str), "a number is a string")
    try:
        x = float.fromhex(text)
    except (ValueError, OverflowError):
        raise Rejected("not a hexadecimal double") from None
    demand(math.isfinite(x) and x.hex() == text, "not canonical")
    return Q(x)


def raw(text: Any, code: str) -> list[Any]:
    demand(isinstance(text, str), "data is text")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Rejected("not base64") from None
    width = struct.calcsize("<" + code)
    demand(base64.b64encode(data).decode() == text and len(data) % width == 0, "not canonical base64")
    return [struct.unpack_from("<" + code, data, k)[0] for k in range(0, len(data), width)]


def floats(thing: Any, *shape: int) -> list[float]:
    """The entries in row-major order, sparse matrices filled up."""
    demand(isinstance(thing, dict), "an array is an object")
    if "rows" in thing:
        size, kind, data, rows, columns = keys(thing, "shape", "type", "data", "rows", "columns")
        demand(kind == "f8", "sparse is f8")
        entries, at = raw(data, "d"), list(zip(raw(rows, "i"), raw(columns, "i"), strict=True))
        demand(len(entries) == len(at) and at == sorted(set(at)), "positions must increase")
        demand(all(0 <= i < shape[0] and 0 <= j < shape[1] for i, j in at), "inside")
        demand(all(x != 0 for x in entries), "no zeros")
        filled = [0.0] * (shape[0] * shape[1])
        for (i, j), x in zip(at, entries, strict=True):
            filled[i * shape[1] + j] = x
        entries = filled
    else:
        size, kind, data = keys(thing, "shape", "type", "data")
        demand(kind in ("f8", "f4"), "type")
        entries = raw(data, "d" if kind == "f8" else "f")
    demand(size == list(shape) and all(type(k) is int for k in size), f"shape must be {shape}")
    demand(len(entries) == math.prod(shape) and all(map(math.isfinite, entries)), "finite, right number")
    return entries


def vector(thing: Any, n: int) -> list[Q]:
    return [Q(x) for x in floats(thing, n)]


def matrix(thing: Any, rows: int, columns: int) -> list[list[Q]]:
    entries = floats(thing, rows, columns)
    return [[Q(x) for x in entries[i * columns : (i + 1) * columns]] for i in range(rows)]


# -- linear algebra -------------------------------------------------------------------------------------


def product(A: Any, B: Any) -> list[list[Q]]:
    return [[sum((x * B[k][j] for k, x in enumerate(row)), Q(0)) for j in range(len(B[0]))] for row in A]


def transposed(A: Any) -> list[list[Q]]:
    return [list(column) for column in zip(*A, strict=True)]


def plus(A: Any, B: Any, sign: int = 1) -> list[list[Q]]:
    return [[x + sign * y for x, y in zip(p, q, strict=True)] for p, q in zip(A, B, strict=True)]


def diag(entries: Any) -> list[list[Q]]:
    return [[x if i == j else Q(0) for j in range(len(entries))] for i, x in enumerate(entries)]


def dominant(T: Any) -> bool:
    return all(row[i] > sum(abs(x) for j, x in enumerate(row) if j != i) for i, row in enumerate(T))


def positive(S: Any, R: Any) -> bool:
    return dominant(product(product(R, S), transposed(R)))


Interval = tuple[Q, Q]


def times(x: Interval, y: Interval) -> Interval:
    corners = (x[0] * y[0], x[0] * y[1], x[1] * y[0], x[1] * y[1])
    return min(corners), max(corners)


def interval_product(A: Any, B: Any) -> list[list[Interval]]:
    columns = list(zip(*B, strict=True))
    result = []
    for row in A:
        line_: list[Interval] = []
        for column in columns:
            terms = [times(x, y) for x, y in zip(row, column, strict=True) if x != (0, 0) and y != (0, 0)]
            line_.append(out(sum((t[0] for t in terms), Q(0)), sum((t[1] for t in terms), Q(0))))
        result.append(line_)
    return result


def thin(A: Any) -> list[list[Interval]]:
    return [[(x, x) for x in row] for row in A]


def less(A: Any, B: Any) -> list[list[Interval]]:
    return [
        [(x[0] - y[1], x[1] - y[0]) for x, y in zip(p, q, strict=True)] for p, q in zip(A, B, strict=True)
    ]


def magnitude(x: Interval) -> Q:
    return max(abs(x[0]), abs(x[1]))


# -- the certificate ------------------------------------------------------------------------------------


class Net:
    def __init__(self, section: Any) -> None:
        blocks = ("W", "W_in", "W_fb", "b", "leak_rate", "W_out", "W_sq", "b_out")
        hash_, self.phi, n, m, p, *parts = keys(
            section, "hash", "activation", "n_units", "n_inputs", "n_outputs", *blocks
        )
        demand(all(type(k) is int and k >= 0 for k in (n, m, p)) and n >= 1, "sizes")
        part = dict(zip(blocks, parts, strict=True))
        shapes = {
            "W": (n, n), "W_in": (n, m), "W_fb": (n, p), "b": (n,), "leak_rate": (n,), "W_out": (p, n),
            "W_sq": (p, n), "b_out": (p,),
        }  # fmt: skip
        demand((part["W_out"] is None) == (p == 0) and (part["b_out"] is None) == (p == 0), "readout")
        demand(p > 0 or (part["W_fb"] is None and part["W_sq"] is None), "no outputs")
        entries = {k: [] if part[k] is None else floats(part[k], *shapes[k]) for k in blocks if k != "W"}
        W = floats(part["W"], n, n)
        demand(all(part[k] is not None for k in ("W_in", "b", "leak_rate")), "null weights")
        at = [k for k in range(n * n) if W[k] != 0]
        text = json.dumps({"activation": self.phi, "n_inputs": m, "n_outputs": p, "n_units": n})
        stream = b"esntools-network-1\n" + text.encode() + b"\n"
        stream += b"".join((k // n).to_bytes(8, "little") for k in at)
        stream += b"".join((k % n).to_bytes(8, "little") for k in at)
        for block in ([W[k] for k in at], *(entries[k] for k in blocks[1:])):
            stream += str(len(block)).encode() + b"\n" + b"".join(struct.pack("<d", x) for x in block)
        demand(hashlib.sha256(stream).hexdigest() == hash_, "hash")
        self.n, self.m = n, m
        self.a, self.c = ([Q(x) for x in entries[k]] for k in ("leak_rate", "b"))
        demand(all(0 < x <= 1 for x in self.a), "leak")
        self.V, self.W_in = matrix(part["W"], n, n), matrix(part["W_in"], n, m)
        self.bend = [[Q(0)] * n for _ in range(n)]
        self.straight = part["W_fb"] is None or part["W_sq"] is None
        if part["W_fb"] is not None:
            W_fb = matrix(part["W_fb"], n, p)
            self.V = plus(self.V, product(W_fb, matrix(part["W_out"], p, n)))
            b_out = [[x] for x in vector(part["b_out"], p)]
            self.c = [x + y[0] for x, y in zip(self.c, product(W_fb, b_out), strict=True)]
            if part["W_sq"] is not None:
                self.bend = product(W_fb, matrix(part["W_sq"], p, n))

    def drive(self, u: list[Q]) -> list[Q]:
        return [
            c + sum((w * x for w, x in zip(r, u, strict=True)), Q(0))
            for c, r in zip(self.c, self.W_in, strict=True)
        ]


def inputs(section: Any, net: Net) -> tuple[str, list[list[Q]]]:
    demand(isinstance(section, dict) and isinstance(section.get("kind"), str), "kind")
    kind = section["kind"]
    if kind in ("any", "zero"):
        keys(section, "kind")
        return kind, [[Q(0)] * net.m]
    if kind == "constant":
        return kind, [vector(keys(section, "kind", "value")[1], net.m)]
    if kind == "box":
        low, high = (vector(x, net.m) for x in keys(section, "kind", "low", "high")[1:])
        demand(all(x <= y for x, y in zip(low, high, strict=True)), "low <= high")
        return kind, [low, high]
    demand(kind == "alphabet", "unknown kind")
    symbols = keys(section, "kind", "symbols")[1]
    demand(
        isinstance(symbols, dict) and isinstance(symbols.get("shape"), list) and len(symbols["shape"]) == 2,
        "shape",
    )
    demand(type(symbols["shape"][0]) is int and symbols["shape"][0] >= 1, "at least one symbol")
    return kind, matrix(symbols, symbols["shape"][0], net.m)


def arguments(net: Net, box: list[Interval], us: list[list[Q]]) -> list[Interval]:
    """The box of V x + W_in u + c over x in the box and u in the hull of `us` (no bend)."""
    hull = [(min(c), max(c)) for c in zip(*us, strict=True)]
    result = []
    for row, inner, c in zip(net.V, net.W_in, net.c, strict=True):
        terms = [times((w, w), x) for w, x in zip(row, box, strict=True)]
        terms += [times((w, w), x) for w, x in zip(inner, hull, strict=True)]
        result.append(out(sum((t[0] for t in terms), c), sum((t[1] for t in terms), c)))
    return result


def proved(document: Any, net: Net) -> None:
    theorem, witness = document["theorem"], document["witness"]
    claim, states, rate_text = keys(document["claim"], "inputs", "states", "rate")
    kind, us = inputs(claim, net)
    r = scalar(rate_text)
    demand(0 < r < 1 and net.straight, "rate in (0, 1), no bend")
    source, steps, low_part, high_part = keys(document["slopes"], "range", "steps", "low", "high")
    low, high = vector(low_part, net.n), vector(high_part, net.n)
    demand(type(steps) is int and 0 <= steps <= 1000, "steps")
    if source == "global":
        demand(steps == 0 and kind == "any" and states == "all", "global claims any input, all states")
        met = [line(net.phi)] * net.n
    else:
        demand(source == "box" and kind != "any" and states == "box", "box")
        demand(net.phi not in ("x", "Max(0, x)"), "bounded activation")
        box = [(Q(0) if net.phi.startswith("1/") else Q(-1), Q(1))] * net.n
        for _ in range(steps):
            stepped = [values(net.phi, *z) for z in arguments(net, box, us)]
            moved = [
                out((1 - a) * x[0] + a * y[0], (1 - a) * x[1] + a * y[1])
                for a, x, y in zip(net.a, box, stepped, strict=True)
            ]
            box = [(max(x[0], y[0]), min(x[1], y[1])) for x, y in zip(box, moved, strict=True)]
        met = [slopes(net.phi, *z) for z in arguments(net, box, us)]
    demand(all(p <= s[0] and s[1] <= q for p, q, s in zip(low, high, met, strict=True)), "slopes")
    n, a, V = net.n, net.a, net.V
    g = [max(abs(p), abs(q)) for p, q in zip(low, high, strict=True)]
    if theorem == "perron-weights":
        v = vector(keys(witness, "weights")[0], n)
        demand(all(x > 0 for x in v), "weights > 0")
        for i in range(n):
            own = max(abs(1 - a[i] + a[i] * d * V[i][i]) for d in (low[i], high[i]))
            rest = sum((abs(V[i][j]) * v[j] for j in range(n) if j != i), Q(0))
            demand(own * v[i] + a[i] * g[i] * rest <= r * v[i], "row")
        return
    if theorem == "incremental-lurie":
        x_part, P_part, R_part, RP_part = keys(witness, "multipliers", "P", "R", "R_P")
        x, P = vector(x_part, n), matrix(P_part, n, n)
        demand(all(t > 0 for t in x) and transposed(P) == P and positive(P, matrix(RP_part, n, n)), "P > 0")
        M = [(p + q) / 2 for p, q in zip(low, high, strict=True)]
        N = [(q - p) / 2 for p, q in zip(low, high, strict=True)]
        F = plus(diag([1 - t for t in a]), product(diag([s * t for s, t in zip(a, M, strict=True)]), V))
        B = diag([s * t for s, t in zip(a, N, strict=True)])
        corner = plus([[r * r * t for t in row] for row in P], product(transposed(F), product(P, F)), -1)
        corner = plus(corner, product(transposed(V), product(diag(x), V)), -1)
        side = [[-t for t in row] for row in product(transposed(F), product(P, B))]
        last = plus(diag(x), product(transposed(B), product(P, B)), -1)
        S = [p + q for p, q in zip(corner, side, strict=True)] + [
            p + q for p, q in zip(transposed(side), last, strict=True)
        ]
        demand(positive(S, matrix(R_part, 2 * n, 2 * n)), "Lur'e")
        return
    if theorem == "spectral-norm":
        y, R_part = [Q(1)] * n, keys(witness, "R")[0]
    else:
        demand(theorem == "diagonal-schur", "theorem")
        y_part, R_part = keys(witness, "weights", "R")
        y = vector(y_part, n)
    demand(all(t > 0 for t in y), "weights > 0")
    S = diag([t * (r * r - 1 + s) for t, s in zip(y, a, strict=True)])
    S = plus(
        S,
        product(transposed(V), product(diag([s * t * e * e for s, t, e in zip(a, y, g, strict=True)]), V)),
        -1,
    )
    demand(positive(S, matrix(R_part, n, n)), "S > 0")


def ball(net: Net, part: Any, h: list[Q]) -> tuple[list[Q], Q, list[list[Interval]]]:
    """Check a ball; return its centre, its radius and the enclosure of D U over it."""
    x_part, fine_part, r_part, C_part = keys(part, "centre", "fine", "radius", "C")
    x = [p + q for p, q in zip(vector(x_part, net.n), vector(fine_part, net.n), strict=True)]
    r, C = scalar(r_part), matrix(C_part, net.n, net.n)
    n = net.n
    demand(0 < r <= 1, "radius")
    U = [[(net.V[i][j] + 2 * net.bend[i][j] * x[j] - 2 * r * abs(net.bend[i][j]),
           net.V[i][j] + 2 * net.bend[i][j] * x[j] + 2 * r * abs(net.bend[i][j])) for j in range(n)]
         for i in range(n)]  # fmt: skip
    z = [
        h[i] + sum((net.V[i][j] * x[j] + net.bend[i][j] * x[j] ** 2 for j in range(n)), Q(0))
        for i in range(n)
    ]
    spread = [r * sum((magnitude(t) for t in row), Q(0)) for row in U]
    D = [slopes(net.phi, c - s, c + s) for c, s in zip(z, spread, strict=True)]
    DU = [[times(d, t) for t in row] for d, row in zip(D, U, strict=True)]
    g = []
    for t, c in zip(x, z, strict=True):
        low, high = values(net.phi, c, c)
        g.append([(t - high, t - low)])
    Cg = interval_product(thin(C), g)
    K = less(thin(diag([Q(1)] * n)), interval_product(thin(C), less(thin(diag([Q(1)] * n)), DU)))
    for i in range(n):
        demand(magnitude(Cg[i][0]) + r * sum((magnitude(t) for t in K[i]), Q(0)) < r, "ball")
    return x, r, DU


def refuted(document: Any, net: Net) -> None:
    (claim,) = keys(document["claim"], "inputs")
    kind, us = inputs(claim, net)
    unstable = document["theorem"] == "unstable-fixed-point"
    u_part, *parts = keys(
        document["witness"], "input", *(("ball", "P", "R", "v") if unstable else ("balls",))
    )
    u = vector(u_part, net.n if kind == "any" else net.m)
    if kind == "box":
        demand(all(p <= t <= q for t, p, q in zip(u, *us, strict=True)), "in the box")
    elif kind != "any":
        demand(u in us, "of the class")
    h = u if kind == "any" else net.drive(u)
    if not unstable:
        demand(isinstance(parts[0], list) and len(parts[0]) == 2, "two balls")
        (x, r, _), (y, s, _) = (ball(net, part, h) for part in parts[0])
        demand(any(abs(p - q) > r + s for p, q in zip(x, y, strict=True)), "disjoint")
        return
    _, _, DU = ball(net, parts[0], h)
    n = net.n
    P, R, v = matrix(parts[1], n, n), matrix(parts[2], n, n), [[t] for t in vector(parts[3], n)]
    demand(transposed(P) == P and product(transposed(v), product(P, v))[0][0] < 0, "v'Pv < 0")
    J = [[(a * t[0] + (1 - a) * (i == j), a * t[1] + (1 - a) * (i == j)) for j, t in enumerate(row)]
         for i, (a, row) in enumerate(zip(net.a, DU, strict=True))]  # fmt: skip
    S = less(thin(P), interval_product(list(zip(*J, strict=True)), interval_product(thin(P), J)))
    T = interval_product(interval_product(thin(R), S), thin(transposed(R)))
    for i in range(n):
        demand(T[i][i][0] > sum((magnitude(t) for j, t in enumerate(T[i]) if j != i), Q(0)), "dominance")


def naive_check(document: Any) -> bool:
    """Whether the certificate is valid by FORMAT.md."""
    try:
        demand(isinstance(document, dict), "object")
        demand(document.get("format") == "esntools-certificate", "format")
        demand(document.get("version") == 1 and type(document["version"]) is int, "version")
        theorem = document.get("theorem")
        demand(isinstance(theorem, str) and document.get("source") == SOURCES.get(theorem), "theorem")
        refutes = theorem in REFUTING
        demand(document.get("verdict") == ("refuted" if refutes else "proved"), "verdict")
        top = ("format", "version", "verdict", "theorem", "source", "network", "claim", "witness", "notes")
        keys(document, *top, *(() if refutes else ("slopes",)))
        demand(isinstance(document["notes"], dict), "notes")
        net = Net(document["network"])
        (refuted if refutes else proved)(document, net)
    except Rejected:
        return False
    return True
