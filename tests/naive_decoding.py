"""What a certificate holds, decoded and checked for form: numbers, arrays, the network, classes of inputs."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
import unicodedata
from fractions import Fraction as Q
from pathlib import Path
from typing import Any

from naive_enclosures import LINE, Interval, Matrix, apply, plus, product


class Rejected(Exception):
    pass


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise Rejected(what)


def keys(thing: Any, *names: str) -> list[Any]:
    demand(isinstance(thing, dict) and sorted(thing) == sorted(names), f"keys must be {names}")
    return [thing[name] for name in names]


def natural(thing: Any, least: int, most: int) -> int:
    demand(type(thing) is int and least <= thing <= most, f"an integer from {least} to {most}")
    return int(thing)


def scalar(text: Any) -> Q:
    demand(isinstance(text, str), "a number is a string")
    try:
        x = float.fromhex(text)
    except (ValueError, OverflowError):
        raise Rejected("not a hexadecimal double") from None
    demand(math.isfinite(x) and x.hex() == text, "not canonical")
    return Q(x)


def rate_in(text: Any) -> Q:
    r = scalar(text)
    demand(0 < r < 1, "rate in (0, 1)")
    return r


def positive_scalar(text: Any) -> Q:
    x = scalar(text)
    demand(x > 0, "a positive number")
    return x


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
    demand(math.prod(shape) <= 10**7, "too large for this checker")
    if "rows" in thing:
        size, kind, data, rows, columns = keys(thing, "shape", "type", "data", "rows", "columns")
        demand(kind == "f8" and len(shape) == 2, "sparse is a matrix of f8")
        entries, at = raw(data, "d"), (raw(rows, "i"), raw(columns, "i"))
        demand(len(entries) == len(at[0]) == len(at[1]), "one position for each entry")
        places = list(zip(*at, strict=True))
        demand(places == sorted(set(places)), "positions must increase")
        demand(all(0 <= i < shape[0] and 0 <= j < shape[1] for i, j in places), "inside")
        demand(all(x != 0 for x in entries), "no zeros")
        filled = [0.0] * (shape[0] * shape[1])
        for (i, j), x in zip(places, entries, strict=True):
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


def positives(thing: Any, n: int) -> list[Q]:
    v = vector(thing, n)
    demand(all(x > 0 for x in v), "weights > 0")
    return v


def matrix(thing: Any, rows: int, columns: int) -> Matrix:
    entries = floats(thing, rows, columns)
    return [[Q(x) for x in entries[i * columns : (i + 1) * columns]] for i in range(rows)]


def table(thing: Any, columns: int, most: int) -> Matrix:
    """A matrix with at least one row; its shape says how many."""
    demand(isinstance(thing, dict) and isinstance(thing.get("shape"), list), "an array")
    demand(len(thing["shape"]) == 2, "a matrix")
    return matrix(thing, natural(thing["shape"][0], 1, most), columns)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    demand(len({k for k, _ in pairs}) == len(pairs), "a key stands twice")
    return dict(pairs)


def integer(digits: str) -> int:
    demand(len(digits) < 20 and digits[-1].isdigit(), "an integer of 20 digits or more, NaN or Infinity")
    return int(digits)


def load(path: Path) -> Any:
    try:
        text = path.read_bytes().decode("utf-8")
        return json.loads(text, object_pairs_hook=unique, parse_int=integer, parse_constant=integer)
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected(f"{path.name}: {error}") from None


BLOCKS = ("W", "W_in", "W_fb", "b", "leak_rate", "W_out", "W_sq", "b_out")


def content_hash(phi: str, sizes: tuple[int, int, int], W: list[float], others: list[list[float]]) -> str:
    """Of the activation, (m, q, n), the entries of W and those of the other blocks in their order."""
    m, q, n = sizes
    at = [k for k in range(n * n) if W[k] != 0]
    text = json.dumps({"activation": phi, "n_inputs": m, "n_outputs": q, "n_units": n})
    stream = b"esntools-network-1\n" + text.encode() + b"\n"
    stream += b"".join((k // n).to_bytes(8, "little") for k in at)
    stream += b"".join((k % n).to_bytes(8, "little") for k in at)
    for block in ([W[k] for k in at], *others):
        stream += str(len(block)).encode() + b"\n" + b"".join(struct.pack("<d", x) for x in block)
    return hashlib.sha256(stream).hexdigest()


class Net:
    """The map x -> (1 - a) x + a phi(V x + bend (x * x) + W_in u + c)."""

    def __init__(self, section: Any, folder: Path | None) -> None:
        if isinstance(section, dict) and "file" in section:
            name, promised = keys(section, "file", "hash")
            demand(isinstance(name, str) and folder is not None, "no folder")
            assert folder is not None
            demand(1 <= len(name) <= 255 and name not in (".", ".."), "a file name")
            demand(not any(x in "/\\:" or unicodedata.category(x) == "Cc" for x in name), "a bare name")
            demand((folder / name).is_file(), "no such file")
            section = load(folder / name)
            demand(isinstance(section, dict) and section.get("hash") == promised, "another network")
        hash_, self.phi, n, m, p, *parts = keys(
            section, "hash", "activation", "n_units", "n_inputs", "n_outputs", *BLOCKS
        )
        n, m, p = natural(n, 1, 10**4), natural(m, 0, 10**6), natural(p, 0, 10**6)
        demand(isinstance(self.phi, str), "the activation is a text")
        part = dict(zip(BLOCKS, parts, strict=True))
        shapes = {
            "W": (n, n), "W_in": (n, m), "W_fb": (n, p), "b": (n,), "leak_rate": (n,), "W_out": (p, n),
            "W_sq": (p, n), "b_out": (p,),
        }  # fmt: skip
        demand((part["W_out"] is None) == (p == 0) and (part["b_out"] is None) == (p == 0), "readout")
        demand(p > 0 or (part["W_fb"] is None and part["W_sq"] is None), "no outputs")
        entries = {k: [] if part[k] is None else floats(part[k], *shapes[k]) for k in BLOCKS if k != "W"}
        W = floats(part["W"], n, n)
        demand(all(part[k] is not None for k in ("W_in", "b", "leak_rate")), "null weights")
        demand(content_hash(self.phi, (m, p, n), W, [entries[k] for k in BLOCKS[1:]]) == hash_, "hash")
        self.n, self.m = n, m
        self.a, self.c = ([Q(x) for x in entries[k]] for k in ("leak_rate", "b"))
        demand(all(0 < x <= 1 for x in self.a), "leak")
        self.V, self.W_in = matrix(part["W"], n, n), matrix(part["W_in"], n, m)
        self.bend = [[Q(0)] * n for _ in range(n)]
        self.straight = part["W_fb"] is None or part["W_sq"] is None
        if part["W_fb"] is not None:
            W_fb = matrix(part["W_fb"], n, p)
            self.V = plus(self.V, product(W_fb, matrix(part["W_out"], p, n)))
            fed = apply(W_fb, vector(part["b_out"], p))
            self.c = [x + y for x, y in zip(self.c, fed, strict=True)]
            if part["W_sq"] is not None:
                self.bend = product(W_fb, matrix(part["W_sq"], p, n))

    @property
    def known(self) -> bool:
        return self.phi in LINE

    def drive(self, u: list[Q]) -> list[Q]:
        return [x + y for x, y in zip(self.c, apply(self.W_in, u), strict=True)]

    def drives(self, us: Matrix) -> list[Interval]:
        """W_in u + c over the smallest box that holds the inputs `us`."""
        result = []
        for row, c in zip(self.W_in, self.c, strict=True):
            terms = [
                sorted((w * min(x), w * max(x))) for w, x in zip(row, zip(*us, strict=True), strict=True)
            ]
            result.append((c + sum((t[0] for t in terms), Q(0)), c + sum((t[1] for t in terms), Q(0))))
        return result


KINDS = {"any": (), "zero": (), "constant": ("value",), "box": ("low", "high"), "alphabet": ("symbols",)}


def inputs(section: Any, width: int) -> tuple[str, Matrix]:
    """The kind, and the vectors that define it: for a box its two corners."""
    demand(isinstance(section, dict) and isinstance(section.get("kind"), str), "kind")
    kind = section["kind"]
    demand(kind in KINDS, "unknown kind")
    parts = keys(section, "kind", *KINDS[kind])[1:]
    if kind == "alphabet":
        return kind, table(parts[0], width, 10**7)
    vectors = [vector(part, width) for part in parts] or [[Q(0)] * width]
    if kind == "box":
        demand(all(x <= y for x, y in zip(*vectors, strict=True)), "low <= high")
    return kind, vectors


def admits(kind: str, us: Matrix, u: list[Q]) -> bool:
    """Whether a class of inputs holds one vector."""
    if kind == "box":
        return all(p <= t <= q for t, p, q in zip(u, *us, strict=True))
    return kind == "any" or u in us
