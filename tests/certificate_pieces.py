"""Hand-made networks, witnesses and documents for the corpora of certificates (plain numpy, small)."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from naive_decoding import content_hash
from numpy.typing import ArrayLike, NDArray

Document = dict[str, Any]
Array = NDArray[np.float64]

PHI: dict[str, tuple[str, Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": ("tanh(x)", np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "logistic": (
        "1/(1 + exp(-x))", lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    ),
    "erf": (
        "erf(x)", lambda z: np.vectorize(math.erf)(z), lambda z: 2 / math.sqrt(math.pi) * np.exp(-(z**2)),
    ),
    "softsign": ("x/(1 + Abs(x))", lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    "sine": ("sin(x)", np.sin, np.cos),
    "identity": ("x", lambda z: z, np.ones_like),
    "relu": ("Max(0, x)", lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "hardtanh": ("Max(-1, Min(1, x))", lambda z: np.clip(z, -1, 1), lambda z: (abs(z) < 1) * 1.0),
    "arctan": ("atan(x)", np.arctan, lambda z: 1 / (1 + z**2)),
}  # fmt: skip


# -- encoding -------------------------------------------------------------------------------------------


def text(data: Array, kind: str = "<f8") -> str:
    return base64.b64encode(np.ascontiguousarray(data, dtype=kind).tobytes()).decode()


def array(data: ArrayLike) -> Document:
    entries = np.asarray(data, dtype=np.float64)
    kind = "f4" if np.all(entries.astype(np.float32) == entries) else "f8"
    return {"shape": list(entries.shape), "type": kind, "data": text(entries, f"<{kind}")}


def sparse(data: ArrayLike) -> Document:
    full = np.asarray(data, dtype=np.float64)
    rows, columns = np.nonzero(full)
    return {
        "shape": list(full.shape), "type": "f8", "data": text(full[rows, columns]),
        "rows": text(rows, "<i4"), "columns": text(columns, "<i4"),
    }  # fmt: skip


def number(x: float) -> str:
    return float(x).hex()


def short(data: ArrayLike, bits: int = 20) -> Array:
    """Few bits, relative to the largest entry of each row."""
    full = np.atleast_2d(np.asarray(data, dtype=np.float64))
    unit = 2.0 ** (np.ceil(np.log2(np.abs(full).max(axis=1, keepdims=True))) - bits)
    return np.asarray(np.round(full / unit) * unit).reshape(np.shape(data))


# -- networks -------------------------------------------------------------------------------------------


class Network:
    """x -> (1 - a) x + a phi(W x + W_in u + W_fb (W_out x + W_sq x^2 + b_out) + b)."""

    def __init__(
        self, W: ArrayLike, W_in: ArrayLike | None = None, b: ArrayLike = 0.0, a: ArrayLike = 1.0,
        phi: str = "tanh", W_fb: ArrayLike | None = None, W_out: ArrayLike | None = None,
        W_sq: ArrayLike | None = None, b_out: ArrayLike | None = None, *, is_sparse: bool = False,
    ) -> None:  # fmt: skip
        self.W = np.asarray(W, dtype=np.float64)
        self.n = n = len(self.W)
        self.text, self.f, self.slope = PHI[phi]
        self.W_in = np.zeros((n, 0)) if W_in is None else np.asarray(W_in, dtype=np.float64)
        self.b, self.a = (np.broadcast_to(np.asarray(x, dtype=np.float64), (n,)).copy() for x in (b, a))
        self.others = [
            None if x is None else np.asarray(x, dtype=np.float64) for x in (W_fb, W_out, W_sq, b_out)
        ]
        W_fb_, W_out_, W_sq_, b_out_ = self.others
        self.V, self.c, self.bend = self.W.copy(), self.b.copy(), np.zeros((n, n))
        if W_fb_ is not None and W_out_ is not None and b_out_ is not None:
            self.V, self.c = self.V + W_fb_ @ W_out_, self.c + W_fb_ @ b_out_
            if W_sq_ is not None:
                self.bend = W_fb_ @ W_sq_
        self.is_sparse = is_sparse

    def section(self) -> Document:
        W_fb, W_out, W_sq, b_out = self.others
        q, m = 0 if W_out is None else len(W_out), self.W_in.shape[1]
        blocks = (self.W_in, W_fb, self.b, self.a, W_out, W_sq, b_out)
        flat = [[] if x is None else x.ravel().tolist() for x in blocks]
        names = ("W_in", "W_fb", "b", "leak_rate", "W_out", "W_sq", "b_out")
        return {
            "hash": content_hash(self.text, (m, q, self.n), self.W.ravel().tolist(), flat),
            "activation": self.text, "n_units": self.n, "n_inputs": m, "n_outputs": q,
            "W": (sparse if self.is_sparse else array)(self.W),
            **{k: None if x is None else array(x) for k, x in zip(names, blocks, strict=True)},
        }  # fmt: skip

    def drive(self, u: ArrayLike) -> Array:
        return np.asarray(self.W_in @ np.asarray(u, dtype=np.float64) + self.c)

    def argument(self, x: Array, h: Array) -> Array:
        return np.asarray(self.V @ x + self.bend @ x**2 + h)

    def step(self, x: Array, h: Array) -> Array:
        return np.asarray((1 - self.a) * x + self.a * self.f(self.argument(x, h)))

    def jacobian(self, x: Array, h: Array) -> Array:
        U = self.V + 2 * self.bend * x
        D = self.a * self.slope(self.argument(x, h))
        return np.asarray(np.diag(1 - self.a) + D[:, None] * U)


# -- witnesses ------------------------------------------------------------------------------------------


def congruence(S: Array) -> Array:
    """R such that R S R' is near the identity."""
    return short(scipy.linalg.inv(scipy.linalg.cholesky(S, lower=True)))


def parts(net: Network, low: ArrayLike, high: ArrayLike) -> tuple[Array, Array, Array]:
    low_, high_ = (np.broadcast_to(np.asarray(x, dtype=np.float64), (net.n,)) for x in (low, high))
    return low_, high_, np.maximum(abs(low_), abs(high_))


def perron(net: Network, low: ArrayLike, high: ArrayLike, rate: float) -> Document:
    low_, high_, g = parts(net, low, high)
    M = (net.a * g)[:, None] * abs(net.V)
    own = np.diag(net.V)
    np.fill_diagonal(M, np.maximum(abs(1 - net.a + net.a * low_ * own), abs(1 - net.a + net.a * high_ * own)))
    return {"weights": array(short(np.linalg.solve(rate * np.eye(net.n) - M, np.ones(net.n))))}


def schur(net: Network, low: ArrayLike, high: ArrayLike, rate: float, y: ArrayLike | None) -> Document:
    g = parts(net, low, high)[2]
    weights = np.ones(net.n) if y is None else np.asarray(y, dtype=np.float64)
    S = np.diag(weights * (rate**2 - 1 + net.a)) - net.V.T @ ((net.a * weights * g**2)[:, None] * net.V)
    R = {"R": array(congruence(S))}
    return R if y is None else {"weights": array(weights), **R}


def lurie(
    net: Network, low: ArrayLike, high: ArrayLike, rate: float, x: ArrayLike, rounds: int = 3000
) -> Document:
    """P solves the equation S / last block = small multiple of I, by iteration."""
    low_, high_, _ = parts(net, low, high)
    x_ = np.broadcast_to(np.asarray(x, dtype=np.float64), (net.n,))
    X = np.diag(x_)
    F = np.diag(1 - net.a) + (net.a * (low_ + high_) / 2)[:, None] * net.V
    B = np.diag(net.a * (high_ - low_) / 2)
    P = np.eye(net.n) * 0.01
    for _ in range(rounds):
        before = P
        gain = F.T @ P @ B @ np.linalg.solve(X - B @ P @ B, B @ P @ F)
        P = (F.T @ P @ F + net.V.T @ X @ net.V + gain) / rate**2 + 0.02 * np.eye(net.n)
        if np.abs(P).max() > 2**20 or np.abs(P - before).max() < 2**-40:
            break
    P = np.round((P + P.T) * 2**20) / 2**21
    S = np.block([
        [rate**2 * P - F.T @ P @ F - net.V.T @ X @ net.V, -F.T @ P @ B],
        [-B @ P @ F, X - B @ P @ B],
    ])  # fmt: skip
    return {
        "multipliers": array(x_), "P": array(P), "R": array(congruence(S)), "R_P": array(congruence(P)),
    }  # fmt: skip


def quadratic(P: ArrayLike) -> Document:
    return {"P": array(P), "R_P": array(congruence(np.asarray(P, dtype=np.float64)))}


def multipliers(net: Network, P: Array, Q: Array, high: float, rate: float) -> Document:
    A, F = np.diag(net.a), np.diag(1 - net.a)
    S = np.block([
        [rate**2 * P - F @ P @ F, -F @ P @ A - net.V.T @ Q.T],
        [-A @ P @ F - Q @ net.V, (Q + Q.T) / high - A @ P @ A],
    ])  # fmt: skip
    return {"P": array(P), "Q": array(Q), "R": array(congruence(S)), "R_P": array(congruence(P))}


# -- fixed points ---------------------------------------------------------------------------------------


def lifted(net: Network, X: Array, drives: list[Array]) -> tuple[Array, Array]:
    """X - f(X) and its matrix, X of shape (p, n)."""
    p, n = X.shape
    G, J = np.zeros((p, n)), np.zeros((p * n, p * n))
    for j, h in enumerate(drives):
        i = (j - 1) % p
        G[j] = X[j] - net.step(X[i], h)
        J[j * n : (j + 1) * n, i * n : (i + 1) * n] = net.jacobian(X[i], h)
    return G.ravel(), J


def settle(net: Network, start: ArrayLike, drives: list[Array]) -> Array:
    """Newton's method; returns shape (p, n)."""
    X = np.asarray(start, dtype=np.float64).reshape(len(drives), net.n)
    for _ in range(60):
        G, J = lifted(net, X, drives)
        X = X - np.linalg.solve(np.eye(len(J)) - J, G).reshape(X.shape)
    return np.asarray(np.round(X * 2**40) / 2**40)  # the last bits depend on the machine


def ball(net: Network, start: ArrayLike, drives: list[Array], radius: float) -> Document:
    X = settle(net, start, drives)
    J = lifted(net, X, drives)[1]
    return {
        "centre": array(X.ravel()), "fine": array(np.zeros(X.size)), "radius": number(radius),
        "C": array(short(np.linalg.inv(np.eye(len(J)) - J))),
    }  # fmt: skip


def unstable(net: Network, start: ArrayLike, drives: list[Array], radius: float) -> Document:
    """P solves P - J'PJ = I (Stein)."""
    X = settle(net, start, drives)
    J = lifted(net, X, drives)[1]
    k = len(J)
    P = np.linalg.solve(np.eye(k * k) - np.kron(J.T, J.T), np.eye(k).ravel()).reshape(k, k)
    P = short(P + P.T) / 2
    P = np.triu(P) + np.triu(P, 1).T
    eigenvalues, vectors = np.linalg.eigh(P)
    assert eigenvalues[0] < 0
    R = congruence(P - J.T @ P @ J)
    return {
        "ball": ball(net, start, drives, radius), "P": array(P), "R": array(R),
        "v": array(short(vectors[:, 0])),
    }  # fmt: skip


def tube(net: Network, u: Array, x0: ArrayLike, rate: float, rho: float) -> tuple[Document, float]:
    """States and a tube about them, and the radius at time 0; P as FORMAT.md recommends."""
    states = [np.asarray(x0, dtype=np.float64)]
    for row in u:
        states.append(np.round(net.step(states[-1], net.drive(row)) * 2**30) / 2**30)
    P = np.eye(net.n)
    for x, row in zip(states[-2::-1], u[::-1], strict=True):
        z, wide = net.argument(x, net.drive(row)), rho * np.linalg.norm(net.V, axis=1)
        ends = net.slope(z - wide), net.slope(z + wide), net.slope(np.clip(0, z - wide, z + wide))
        low, high = np.min(ends, axis=0), np.max(ends, axis=0)
        J = np.diag(1 - net.a) + (net.a * (low + high) / 2)[:, None] * net.V
        theta2 = (net.a * (high - low) / 2) ** 2 * abs(P).sum(axis=1)
        M, extra = J.T @ P @ J, net.V.T @ (theta2[:, None] * net.V)
        share = math.sqrt(np.trace(extra) / np.trace(M)) if np.any(M) else 1.0
        tau = min(1.0, max(2.0**-30, 2.0 ** round(math.log2(max(share, 2.0**-40)))))
        P = np.eye(net.n) + ((1 + tau) * M + (1 + 1 / tau) * extra) / rate**2
    radius = 0.9 * rho / math.sqrt(abs(P).sum(axis=1).max())
    return {"states": array(np.array(states)), "tube": number(rho), "entry": None}, radius


def attracting(
    theorem: str, rate: float, slopes: tuple[ArrayLike, ArrayLike], x: Array, radius: float, witness: Document
) -> Document:
    low, high = (np.broadcast_to(np.asarray(s, dtype=np.float64), x.shape) for s in slopes)
    return {
        "theorem": theorem, "rate": number(rate), "witness": witness,
        "slopes": {
            "range": "ball", "low": array(low), "high": array(high), "centre": array(x),
            "fine": array(np.zeros(len(x))), "radius": number(radius),
        },
    }  # fmt: skip


# -- documents ------------------------------------------------------------------------------------------

SOURCES = {
    "spectral-norm": "H. Jaeger, GMD Report 148 (2001), Proposition 3",
    "perron-weights": "doi:10.1016/j.neunet.2012.07.005",
    "diagonal-schur": "doi:10.1109/TNN.2006.872357",
    "incremental-lurie": "doi:10.48550/arXiv.2604.00119",
    "unstable-fixed-point": "doi:10.1016/j.neunet.2012.07.005",
    "two-fixed-points": "doi:10.1007/BF02234767",
    "attracting-balls": "doi:10.1016/j.physd.2020.132609",
}
ANY: Document = {"kind": "any"}
ZERO: Document = {"kind": "zero"}


def constant(u: ArrayLike) -> Document:
    return {"kind": "constant", "value": array(u)}


def box(low: ArrayLike, high: ArrayLike) -> Document:
    return {"kind": "box", "low": array(low), "high": array(high)}


def alphabet(symbols: ArrayLike) -> Document:
    return {"kind": "alphabet", "symbols": array(symbols)}


def washout(spread: float, epsilon: float, steps: int) -> Document:
    return {"spread": number(spread), "epsilon": number(epsilon), "steps": steps}


def document(net: Network, verdict: str, theorem: str, **sections: Any) -> Document:
    return {
        "format": "esntools-certificate", "version": 2, "verdict": verdict, "theorem": theorem,
        "source": SOURCES.get(theorem, "FORMAT.md"), "network": net.section(), "assumes": None, **sections,
        "notes": {"about": "Made by hand for the corpora; nothing in these notes is verified."},
    }  # fmt: skip


def proved(
    net: Network, theorem: str, rate: float, low: ArrayLike, high: ArrayLike, witness: Document, *,
    inputs: Document = ANY, forgets: Document | None = None, assumes: Document | None = None, **slopes: Any,
) -> Document:  # fmt: skip
    """`slopes` are the further keys: range (global unless given), steps, ball."""
    low_, high_, _ = parts(net, low, high)
    kind = slopes.setdefault("range", "global")
    claim = {
        "inputs": inputs, "states": "all" if kind in ("global", "odd") else "box", "rate": number(rate),
        "washout": forgets,
    }  # fmt: skip
    return document(
        net, "proved", theorem, claim=claim, slopes={**slopes, "low": array(low_), "high": array(high_)},
        witness=witness,
    ) | {"assumes": assumes}  # fmt: skip


def refuted(net: Network, theorem: str, inputs: Document, witness: Document) -> Document:
    return document(net, "refuted", theorem, claim={"inputs": inputs}, witness=witness)
