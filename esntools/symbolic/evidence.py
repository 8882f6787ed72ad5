"""The numbers of a certificate, for the page that explains it: decoded, put into its conditions, rounded.

Everything here is floating point and nothing here decides anything: the checker does, exactly.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy.linalg

from esntools._typing import Document, FloatArray
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.symbolic.pages import Element, Matrix, Words, compared, number

__all__ = [
    "NormNumbers",
    "Setting",
    "ball_numbers",
    "decode",
    "input_words",
    "norm_numbers",
    "slope_words",
    "value",
]

LEQ: Final = r"\leq"
_VERTICES: Final = 8
_BLOCKS: Final = 64
#: The products of a larger matrix would take this page longer than the checker.
_REPEATED: Final = 1200


def value(text: str) -> float:
    """Return a number of a certificate."""
    return float.fromhex(text)


def decode(section: Document) -> FloatArray:
    """Return an array of a certificate.

    >>> decode({"shape": [2], "type": "f4", "data": "AAAAPwAAgD8="})
    array([0.5, 1. ])
    """
    try:
        data = np.frombuffer(
            base64.b64decode(section["data"]), dtype={"f4": "<f4", "f8": "<f8"}[section["type"]]
        )
        if "rows" in section:
            array = np.zeros(section["shape"])
            rows, columns = (
                np.frombuffer(base64.b64decode(section[k]), dtype="<i4") for k in ("rows", "columns")
            )
            array[rows, columns] = data
            return array
        return data.astype(np.float64).reshape(section["shape"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidInputError(
            "certificate", f"an array that cannot be read ({error})", "must be as FORMAT.md says"
        ) from None


@final
@dataclass(frozen=True, eq=False)
class Setting:
    """A set of units: effective weights (dense or sparse), leak rates, slope bounds."""

    V: Any
    a: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def gain(self) -> FloatArray:
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def dense(self) -> FloatArray:
        return np.asarray(self.V if isinstance(self.V, np.ndarray) else self.V.toarray())

    def part(self, units: list[int]) -> Setting:
        return Setting(
            self.V[units][:, units], self.a[units], self.low[units], self.high[units]
        )  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class NormNumbers:
    """A norm with its numbers: what the page says, and size and reach of the norm."""

    elements: list[Element]
    size: Callable[[FloatArray], float]
    reach: FloatArray


def _margin(S: FloatArray, R: FloatArray) -> float:
    """Return the least dominance margin of R S R'."""
    product = R @ S @ R.T
    diagonal = np.diag(product)
    return float(np.min(diagonal + np.abs(diagonal) - np.abs(product).sum(axis=1)))


def _margin_words(name: str, factor: str, S: FloatArray, R: FloatArray) -> Words:
    if len(S) > _REPEATED:
        return Words(
            f"${factor} {name} {factor}^T$ has {len(S)} rows; this page does not repeat the product."
        )
    margin = _margin(S, R)
    return Words(
        f"The least margin of dominance over the rows of ${factor} {name} {factor}^T$ is "
        f"${compared(margin, '>', 0.0)}$."
    )


def _p_bounds(P: FloatArray, R_P: FloatArray) -> tuple[Callable[[FloatArray], float], FloatArray]:
    mu = _margin(P, R_P)
    return (
        lambda e: float(np.sqrt(e @ np.abs(P) @ e)),
        np.sqrt(np.sum(R_P**2, axis=0) / mu),
    )


def _perron(witness: Document, s: Setting, rate: float) -> NormNumbers:
    v = decode(witness["weights"])
    own = s.V.diagonal()
    other = np.asarray(abs(s.V) @ v) - np.abs(own) * v
    ends = [np.abs(1.0 - s.a + s.a * d * own) for d in (s.low, s.high)]
    left, right = np.maximum(*ends) * v + s.a * s.gain * other, rate * v
    ratio = float(np.max(np.divide(left, right, out=np.zeros_like(left), where=right > 0.0)))
    return NormNumbers(
        [
            Matrix("v", v),
            Words(
                "The greatest quotient of the left side by the right side, over all units, is "
                rf"${compared(ratio, LEQ, 1.0)}$."
            ),
        ],
        lambda e: float(np.max(e / v)),
        v,
    )


def _weighted(name: str, witness: Document, s: Setting, rate: float) -> NormNumbers:
    V = s.dense()
    y = np.ones(len(V)) if name == "spectral-norm" else decode(witness["weights"])
    S = np.diag(y * (rate**2 - 1.0 + s.a)) - V.T @ ((s.a * y * s.gain**2)[:, None] * V)
    shown: list[Element] = [] if name == "spectral-norm" else [Matrix("y", y)]
    shown += [Matrix("S", S), _margin_words("S", "R", S, decode(witness["R"]))]
    return NormNumbers(shown, lambda e: float(np.sqrt(y @ e**2)), 1.0 / np.sqrt(y))


def _lurie(witness: Document, s: Setting, rate: float) -> NormNumbers:
    V, P, x = s.dense(), decode(witness["P"]), decode(witness["multipliers"])
    F = np.diag(1.0 - s.a) + (s.a * 0.5 * (s.low + s.high))[:, None] * V
    B = np.diag(s.a * 0.5 * (s.high - s.low))
    corner = rate**2 * P - F.T @ P @ F - V.T @ (x[:, None] * V)
    S = np.block([[corner, -F.T @ P @ B], [-B.T @ P @ F, np.diag(x) - B.T @ P @ B]])
    R_P = decode(witness["R_P"])
    shown: list[Element] = [
        Matrix("P", P), Matrix("x", x), _margin_words("P", "R_P", P, R_P),
        _margin_words("S", "R", S, decode(witness["R"])),
    ]  # fmt: skip
    return NormNumbers(shown, *_p_bounds(P, R_P))


def _vertices(witness: Document, s: Setting, rate: float) -> NormNumbers:
    V, P, R_P = s.dense(), decode(witness["P"]), decode(witness["R_P"])
    shown: list[Element] = [Matrix("P", P), _margin_words("P", "R_P", P, R_P)]
    if len(V) <= _VERTICES:
        least = np.inf
        for d in itertools.product(*zip(s.low, s.high)):
            J = np.diag(1.0 - s.a) + (s.a * np.array(d))[:, None] * V
            least = min(least, float(np.linalg.eigvalsh(rate**2 * P - J.T @ P @ J)[0]))
        shown.append(
            Words(
                "The least eigenvalue of $r^2 P - J^T P J$ over the vertices is "
                f"${compared(least, '>', 0.0)}$."
            )
        )
    return NormNumbers(shown, *_p_bounds(P, R_P))


def _cascade(witness: Document, s: Setting, rate: float) -> NormNumbers:
    blocks, w = witness["blocks"], decode(witness["weights"])
    inner = [
        norm_numbers(b["theorem"], b["witness"], s.part(b["units"]), value(b["rate"])) for b in blocks
    ]  # fmt: skip
    rates = [value(b["rate"]) for b in blocks]
    sizes = [len(b["units"]) for b in blocks]
    shown: list[Element] = [
        Words(
            f"There are {len(blocks)} blocks, of {min(sizes)} to {max(sizes)} units, with theorems "
            + ", ".join(sorted({b["theorem"] for b in blocks}))
            + f" and rates up to ${number(max(rates), True)}$."
        ),
        Matrix("w", w),
    ]
    reach = np.zeros(len(s.a))
    for numbers, b, weight in zip(inner, blocks, w):
        reach[b["units"]] = weight * numbers.reach
    if len(blocks) <= _BLOCKS:
        V, worst = np.abs(s.dense()), 0.0
        for i, (one, b) in enumerate(zip(inner, blocks)):
            into, total = b["units"], rates[i] * w[i]
            for c in blocks[:i] + blocks[i + 1 :]:
                drive = (s.a * s.gain)[into] * (V[np.ix_(into, c["units"])] @ reach[c["units"]])
                total += one.size(drive)
            worst = max(worst, total / (rate * w[i]))
        shown.append(
            Words(
                "The greatest quotient of the left side by the right side, over all blocks, is "
                rf"${compared(worst, LEQ, 1.0)}$."
            )
        )
    for k, (numbers, b) in enumerate(zip(inner, blocks)):
        if len(blocks) <= 3 and sizes[k] > 1:
            shown += [
                Words(f"Block {k + 1}, {b['theorem']}, $r_b = {number(rates[k], True)}$:"),
                *numbers.elements,
            ]

    def size(e: FloatArray) -> float:
        return max(float(one.size(e[b["units"]]) / weight) for one, b, weight in zip(inner, blocks, w))

    return NormNumbers(shown, size, reach)


def norm_numbers(name: str, witness: Document, setting: Setting, rate: float) -> NormNumbers:
    """Return what the page says about one theorem of contraction with its numbers put in."""
    try:
        if name == "perron-weights":
            return _perron(witness, setting, rate)
        if name in ("spectral-norm", "diagonal-schur"):
            return _weighted(name, witness, setting, rate)
        if name == "incremental-lurie":
            return _lurie(witness, setting, rate)
        if name == "common-quadratic":
            return _vertices(witness, setting, rate)
        if name == "cascade":
            return _cascade(witness, setting, rate)
        if name == "zero-input-multipliers":
            return _multipliers(witness, setting, rate)
    except (KeyError, TypeError, IndexError) as error:
        raise InvalidInputError(
            "certificate", f"witness of {name}: {error}", "must be as FORMAT.md says"
        ) from None
    raise InvalidInputError("certificate", repr(name), "no theorem of contraction has this name")


def _multipliers(witness: Document, s: Setting, rate: float) -> NormNumbers:
    V, P, Q, R_P = s.dense(), *(decode(witness[k]) for k in ("P", "Q", "R_P"))
    F, A, slope = np.diag(1.0 - s.a), np.diag(s.a), float(s.high[0])
    cross = -F.T @ P @ A - V.T @ Q.T
    S = np.block([[rate**2 * P - F.T @ P @ F, cross], [cross.T, (Q + Q.T) / slope - A.T @ P @ A]])
    size = np.abs(Q)
    dominance = np.minimum(2 * np.diag(Q) - size.sum(axis=1), 2 * np.diag(Q) - size.sum(axis=0))
    shown: list[Element] = [
        Matrix("P", P), Matrix("Q", Q),
        Words(
            r"The least of $Q_{ii} - \sum_{j \neq i} |Q_{ij}|$ and $Q_{ii} - \sum_{j \neq "
            f"i}} |Q_{{ji}}|$ is ${number(float(dominance.min()), False)}$ (at least 0)."
        ),
        _margin_words("P", "R_P", P, R_P), _margin_words("S", "R", S, decode(witness["R"])),
    ]  # fmt: skip
    return NormNumbers(shown, *_p_bounds(P, R_P))


def input_words(inputs: Document) -> list[Element]:
    """Return the input class of a claim in words, and its numbers."""
    kind = inputs.get("kind")
    if kind == "any":
        return [Words(
            r"Inputs: any. At every time, $W_{\mathrm{in}} u_k + c$ may be replaced by any vector: the "
            "statement holds for every input, every bias and every input weight."
        )]  # fmt: skip
    if kind == "zero":
        return [Words(r"Inputs: $u_k = 0$ always.")]
    if kind == "constant":
        return [Words(r"Inputs: $u_k$ equal to this vector always."), Matrix("u", decode(inputs["value"]))]
    if kind == "box":
        return [
            Words(r"Inputs: every sequence with $u^- \leq u_k \leq u^+$ at all times."),
            Matrix("u^-", decode(inputs["low"])), Matrix("u^+", decode(inputs["high"])),
        ]  # fmt: skip
    if kind == "alphabet":
        symbols = decode(inputs["symbols"])
        return [Words(f"Inputs: every sequence over the {len(symbols)} rows of"), Matrix("U", symbols)]
    if kind == "signal":
        steps = decode(inputs["values"])
        return [Words(f"Input: one recorded series of {len(steps)} steps."), Matrix("u", steps)]
    raise InvalidInputError("certificate", f"claim.inputs.kind = {kind!r}", "unknown kind of inputs")


def slope_words(low: FloatArray, high: FloatArray) -> str:
    """Return the slope bounds as a sentence's part.

    >>> slope_words(np.zeros(2), np.array([0.5, 1.0]))
    '$l_i = 0$ and $L_i$ from $0.5$ to $1$ for all units'
    """

    def span(name: str, values: FloatArray, up: bool) -> str:
        least, most = float(values.min()), float(values.max())
        if least == most:
            return f"${name} = {number(least, up)}$"
        return f"${name}$ from ${number(least, False)}$ to ${number(most, True)}$"

    return f"{span('l_i', low, False)} and {span('L_i', high, True)} for all units"


def ball_numbers(
    network: EchoStateNetwork, V: FloatArray, Q: FloatArray, ball: Document, drive: FloatArray
) -> tuple[list[Element], FloatArray, FloatArray]:
    """Return what the page says of a ball, its centre (p, n), and the lifted Jacobian at the centre.

    `drive` has p rows: W_in u + c of each phase, or the drives themselves.
    """
    p, n = drive.shape
    a, phi = network.leak_rate, network.activation
    centre = (decode(ball["centre"]) + decode(ball["fine"])).reshape(p, n)
    radius, C = value(ball["radius"]), decode(ball["C"])
    before = np.roll(centre, 1, axis=0)
    J = np.zeros((p * n, p * n))
    unsure = np.zeros_like(J)
    residual = np.zeros((p, n))
    for j in range(p):
        rows, columns = slice(j * n, (j + 1) * n), slice(((j - 1) % p) * n, ((j - 1) % p) * n + n)
        effective = V + 2.0 * Q * before[j]
        z = V @ before[j] + Q @ before[j] ** 2 + drive[j]
        reach = radius * (np.abs(effective) + 2.0 * radius * np.abs(Q)).sum(axis=1)
        slopes = np.array([phi.slope_range(*ends) for ends in zip(z - reach, z + reach)])
        middle, half = slopes.mean(axis=1), 0.5 * np.ptp(slopes, axis=1)
        J[rows, columns] += np.diag(1.0 - a) + (a * middle)[:, None] * effective
        largest = np.abs(slopes).max(axis=1)
        unsure[rows, columns] = a[:, None] * (
            half[:, None] * np.abs(effective) + largest[:, None] * 2.0 * radius * np.abs(Q)
        )
        residual[j] = centre[j] - (1.0 - a) * before[j] - a * phi(z)
    inner = np.abs(np.eye(p * n) - C @ (np.eye(p * n) - J)) + np.abs(C) @ unsure
    left = np.abs(C @ residual.ravel()) + radius * inner.sum(axis=1)
    elements: list[Element] = [
        Matrix(r"\bar{X}", centre[0] if p == 1 else centre),
        Words(
            rf"The radius is $\rho = {number(radius)}$; the greatest quotient of the left side of the "
            rf"condition by "
            rf"$\rho$ is ${compared(float(left.max()) / radius, '<', 1.0)}$."
        ),
    ]
    return elements, centre, J


def unstable_numbers(ball_jacobian: FloatArray, witness: Document) -> list[Element]:
    """Return the numbers of the instability test at the centre of the ball."""
    P, R, v = (decode(witness[k]) for k in ("P", "R", "v"))
    eigenvalues = np.abs(np.linalg.eigvals(ball_jacobian))
    S = P - ball_jacobian.T @ P @ ball_jacobian
    count = int(np.sum(scipy.linalg.eigvalsh(P) < 0.0))
    return [
        Words(
            f"$v^T P v = {compared(float(v @ P @ v), '<', 0.0)}$. At the centre of the ball the least "
            f"margin of "
            f"dominance over the rows of $R (P - J^T P J) R^T$ is ${compared(_margin(S, R), '>', 0.0)}$, "
            f"the "
            f"largest multiplier has the absolute value ${number(float(eigenvalues.max()))}$, and $P$ has "
            f"{count} "
            "negative " + ("eigenvalue" if count == 1 else "eigenvalues") + ": as many unstable directions."
        )
    ]
