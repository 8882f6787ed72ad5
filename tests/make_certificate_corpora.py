"""Write the corpora of valid and forged certificates anew: python tests/make_certificate_corpora.py.

The witnesses are made by hand or by a few lines of numpy, not by the library, so that the checkers are tried
on certificates that the library never writes.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import forged_boxes
import forged_certificates
import forged_dynamics
import numpy as np
from certificate_pieces import (
    ANY,
    ZERO,
    Array,
    Document,
    Network,
    alphabet,
    array,
    attracting,
    ball,
    box,
    constant,
    document,
    lurie,
    multipliers,
    number,
    perron,
    proved,
    quadratic,
    refuted,
    schur,
    settle,
    tube,
    unstable,
    washout,
)

CORPORA = Path(__file__).parent / "corpora" / "certificates"

SKEW = Network([[0.0, -1.5], [1.5, 0.0]], a=0.125)
THREE = Network(
    [[0.3, -0.2, 0.1], [0.25, 0.1, -0.3], [0.0, 0.4, -0.2]],
    W_in=[[1.0], [-0.5], [0.25]],
    b=[0.5, 0.0, -1.0],
    a=[0.5, 0.75, 1.0],
)
BISTABLE = Network([[2.0]], W_in=[[1.0]])
PAIR = Network([[2.25, 0.125], [-0.125, 2.0]], W_in=[[1.0, 0.0], [0.5, -1.0]], b=[0.125, 0.0])
CHAIN = Network(
    [
        [0.5, 0.25, 0.0, 0.0, 0.0, 0.0],
        [-0.25, 0.5, 0.0, 0.0, 0.0, 0.0],
        [3.0, -2.0, 0.875, 0.0, 0.0, 0.0],
        [0.0, 0.0, 4.0, 0.0, -1.0, 0.0],
        [1.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 9.0, 0.0],
    ],
    a=[1.0, 1.0, 0.5, 0.25, 0.25, 1.0],
    is_sparse=True,
)
FED = Network(
    [[0.25, 0.0], [0.5, -0.25]], b=[0.5, -0.25], W_fb=[[1.0], [-0.5]], W_out=[[0.25, -0.25]], b_out=[-0.5]
)
SQUARES = Network(
    [[0.5, 0.0], [0.1, 0.2]], W_fb=[[1.0], [0.1]], W_out=[[0.1, 0.2]], W_sq=[[3.0, 0.5]], b_out=[0.01]
)


def block(units: list[int], theorem: str, rate: float, witness: Document) -> Document:
    return {"units": units, "theorem": theorem, "rate": number(rate), "witness": witness}


def cascade() -> Document:
    """Of CHAIN: blocks by four theorems, and weights that fall steeply upstream."""

    def part(units: list[int]) -> Network:
        return Network(CHAIN.W[np.ix_(units, units)], a=CHAIN.a[units])

    blocks = [
        block([0, 1], "spectral-norm", 0.75, schur(part([0, 1]), 0, 1, 0.75, None)),
        block([2], "perron-weights", 0.9375, {"weights": array([0.5])}),
        block([3, 4], "common-quadratic", 0.9375, quadratic(np.eye(2))),
        block([5], "perron-weights", 0.0, {"weights": array([1.0])}),
    ]
    return {"blocks": blocks, "weights": array([1.0, 128.0, 4096.0, 2.0**17])}


def proofs() -> dict[str, Document]:
    found: dict[str, Document] = {}
    add = found.__setitem__
    add("spectral-tanh-leaks", proved(THREE, "spectral-norm", 0.875, 0, 1, schur(THREE, 0, 1, 0.875, None)))
    net = Network([[3.0, -0.5], [0.5, 3.0]], b=[1.0, -2.0], phi="logistic")
    forgets = washout(1.0, 2**-20, 150)
    witness = perron(net, 0, 0.25, 0.9)
    add("perron-logistic-washout", proved(net, "perron-weights", 0.9, 0, 0.25, witness, forgets=forgets))
    net = Network([[0.0, 1.0], [0.25, 0.0]], phi="sine")
    witness = schur(net, -1, 1, 0.75, [1.0, 4.0])
    forgets = washout(4.0, 2**-10, 50)
    add("schur-sine-washout", proved(net, "diagonal-schur", 0.75, -1, 1, witness, forgets=forgets))
    witness = lurie(SKEW, 0, 1, 0.9921875, 0.25)
    forgets = washout(2.0, 2**-7, 1500)
    add("lurie-skew-leak", proved(SKEW, "incremental-lurie", 0.9921875, 0, 1, witness, forgets=forgets))
    net = Network(np.array([[0.6, 0.5], [-0.5, 0.4]]), phi="erf")
    witness = lurie(net, 0, 1.1283792, 0.9375, 1.0)
    add("lurie-erf", proved(net, "incremental-lurie", 0.9375, 0, 1.1283792, witness))
    add("vertices-skew-leak", proved(SKEW, "common-quadratic", 0.984375, 0, 1, quadratic(np.eye(2))))
    net = Network([[0.5, -0.25, 0.0], [0.25, 0.5, 0.25], [0.0, -0.5, 0.25]], phi="softsign")
    P = np.array([[1.0, 0.0, 0.125], [0.0, 1.0, 0.0], [0.125, 0.0, 1.0]])
    forgets = washout(2.0, 2**-10, 100)
    add("vertices-softsign", proved(net, "common-quadratic", 0.875, 0, 1, quadratic(P), forgets=forgets))
    forgets = washout(2.0, 2**-10, 1600)
    add("cascade-sparse", proved(CHAIN, "cascade", 0.984375, 0, 1, cascade(), forgets=forgets))
    net = Network([[0.5, 0.125, 0.0], [-0.25, 0.25, 0.25], [0.125, 0.0, -0.5]])
    blocks = [
        block([1], "diagonal-schur", 0.5, {"weights": array([4.0]), "R": array([[1.5]])}),
        block(
            [0, 2], "incremental-lurie", 0.75, lurie(Network([[0.5, 0.0], [0.125, -0.5]]), 0, 1, 0.75, 1.0)
        ),
    ]
    witness = {"blocks": blocks, "weights": array([3.0, 1.0])}
    add("cascade-coupled", proved(net, "cascade", 0.984375, 0, 1, witness))
    net = Network([[0.5, -0.25], [0.25, 0.25]], phi="relu", b=[1.0, 1.0])
    add("perron-relu", proved(net, "perron-weights", 0.875, 0, 1, perron(net, 0, 1, 0.8125)))
    net = Network([[0.5, 0.75], [-0.25, 0.25]], phi="identity")
    add("perron-identity", proved(net, "perron-weights", 0.9375, 1, 1, perron(net, 1, 1, 0.9)))
    net = Network([[0.5, 0.25], [-0.25, 0.5]], phi="hardtanh", W_in=[[1.0], [2.0]])
    add("spectral-hardtanh", proved(net, "spectral-norm", 0.75, 0, 1, schur(net, 0, 1, 0.75, None)))
    add("feedback-linear", proved(FED, "perron-weights", 0.9375, 0, 1, perron(FED, 0, 1, 0.9)))
    net = Network(FED.W, b=FED.b, W_out=[[9.0, -9.0]], W_sq=[[1.0, 1.0]], b_out=[7.0])
    add("readout-without-feedback", proved(net, "perron-weights", 0.75, 0, 1, perron(net, 0, 1, 0.6875)))
    net = Network([[0.5, 0.25], [-0.25, 0.5]], phi="arctan")
    line = {"low": number(0), "high": number(1)}
    witness = lurie(net, 0, 1, 0.875, 1.0)
    add("assumption-arctan", proved(net, "incremental-lurie", 0.875, 0, 1, witness, assumes=line))
    add(
        "file-network",
        found["spectral-tanh-leaks"]
        | {"network": {"file": "file-network.network", "hash": THREE.section()["hash"]}},
    )
    return found | boxes()


def boxes() -> dict[str, Document]:
    found: dict[str, Document] = {}
    add = found.__setitem__
    net, low, high = Network([[2.0]], W_in=[[1.0]], b=[1.5]), [0.0], [0.125]
    kept: dict[str, Any] = {"range": "box", "steps": 8}
    witness = perron(net, low, high, 0.5)
    inputs = box([0.0], [0.5])
    forgets = washout(2.0, 2**-20, 40)
    add(
        "box-tanh-washout",
        proved(net, "perron-weights", 0.5, low, high, witness, inputs=inputs, forgets=forgets, **kept),
    )
    inputs = alphabet([[0.0], [0.25], [1.0]])
    add("alphabet-tanh", proved(net, "perron-weights", 0.5, low, high, witness, inputs=inputs, **kept))
    net = Network([[6.0, -1.0], [0.5, 5.0]], b=[-12.0, -9.0], a=0.5, phi="logistic")
    low, high = [0.0, 0.0], [0.0625, 0.0625]
    witness = schur(net, low, high, 0.875, None)
    add(
        "box-logistic-zero",
        proved(net, "spectral-norm", 0.875, low, high, witness, inputs=ZERO, range="box", steps=0),
    )
    net = Network([[1.25, 0.0], [0.5, 1.0]], W_in=[[1.0], [1.0]], b=[0.5, 0.5], phi="sine")
    inputs = constant([0.25])
    low, high = [-0.5, -0.5], [0.5, 0.75]
    found["box-sine-constant"] = proved(
        net,
        "perron-weights",
        0.875,
        low,
        high,
        perron(net, low, high, 0.8),
        inputs=inputs,
        range="box",
        steps=12,
    )
    net = Network([[1.5]], b=[1.5])
    held = ball(net, [1.0], [net.drive([])], 2.0**-12)
    kept = {"range": "secant", "steps": 0, "ball": held}
    forgets = washout(2.0, 2**-20, 40)
    add(
        "secant-tanh-washout",
        proved(
            net,
            "perron-weights",
            0.625,
            0.0,
            0.375,
            perron(net, 0.0, 0.375, 0.6),
            inputs=ZERO,
            forgets=forgets,
            **kept,
        ),
    )
    net = Network([[1.5, -0.25], [0.25, 1.25]], W_in=[[1.0], [-1.0]], b=[1.0, -1.0], a=[0.5, 1.0])
    held = ball(net, [1.0, -1.0], [net.drive([0.75])], 2.0**-12)
    kept = {"range": "secant", "steps": 3, "ball": held}
    low, high = [0.0, 0.0], [0.5, 0.5]
    witness = lurie(net, low, high, 0.9375, 0.25)
    add(
        "secant-lurie-constant",
        proved(net, "incremental-lurie", 0.9375, low, high, witness, inputs=constant([0.75]), **kept),
    )
    net = Network([[0.75, 0.5, 0.0], [-0.5, 0.75, 0.0], [0.25, 0.0, 0.5]])
    P, Q = np.eye(3), np.array([[1.0, 0.125, 0.0], [-0.125, 1.0, 0.0625], [0.0, -0.0625, 1.0]])
    forgets = washout(1.0, 2**-10, 300)
    witness = multipliers(net, P, Q, 1.0, 0.96875)
    add(
        "odd-tanh-washout",
        proved(
            net, "zero-input-multipliers", 0.96875, 0, 1, witness, inputs=ZERO, range="odd", forgets=forgets
        ),
    )
    net = Network(
        [[0.5, -0.75], [0.75, 0.25]],
        b=[0.5, -0.25],
        a=[0.5, 0.75],
        phi="softsign",
        W_fb=[[1.0], [-0.5]],
        W_out=[[0.0, 0.25]],
        b_out=[-0.5],
    )
    witness = multipliers(net, np.eye(2), np.array([[0.75, 0.125], [0.0, 0.75]]), 1.0, 0.96875)
    add(
        "odd-softsign-feedback",
        proved(net, "zero-input-multipliers", 0.96875, 0, 1, witness, inputs=ZERO, range="odd"),
    )
    return found


def refutations() -> dict[str, Document]:
    found: dict[str, Document] = {}
    add = found.__setitem__

    def two(net: Network, inputs: Document, rows: Any, starts: list[Any], radius: float) -> Document:
        rows_ = np.asarray(rows, dtype=np.float64)
        drives = list(rows_) if inputs["kind"] == "any" else [net.drive(u) for u in rows_]
        balls = [ball(net, x, drives, radius) for x in starts]
        return refuted(net, "two-fixed-points", inputs, {"input": array(rows_), "balls": balls})

    add("two-box", two(BISTABLE, box([-0.125], [0.5]), [[0.125]], [[1.0], [-1.0]], 0.03125))
    add("two-pair-any", two(PAIR, ANY, [[0.125, 0.0]], [[1.0, 1.0], [-1.0, 1.0]], 2.0**-6))
    add("two-squares-zero", two(SQUARES, ZERO, np.zeros((1, 0)), [[0.0, 0.0], [1.0, 0.5]], 2.0**-8))
    net = Network([[-3.0]], a=0.75)
    X = settle(net, [0.9, -0.9], [net.drive([])] * 2).ravel()
    add("two-phases-of-a-cycle", two(net, ZERO, np.zeros((2, 0)), [X, X[::-1]], 2.0**-8))
    rows = [[0.125], [-0.25], [0.125]]
    inputs = alphabet([[0.125], [-0.25]])
    add("two-periodic-alphabet", two(BISTABLE, inputs, rows, [[1.0] * 3, [-1.0] * 3], 2.0**-6))
    net = Network(
        [[5.0, 0.0], [0.0, 4.5]], a=[0.5, 1.0], b=[-2.5, -2.25], phi="logistic", W_in=[[1.0], [0.5]]
    )
    add("two-logistic-constant", two(net, constant([0.0]), [[0.0]], [[0.9, 0.5], [0.1, 0.5]], 2.0**-6))

    def loose(net: Network, inputs: Document, rows: Any, start: Any, radius: float) -> Document:
        rows_ = np.asarray(rows, dtype=np.float64)
        drives = list(rows_) if inputs["kind"] == "any" else [net.drive(u) for u in rows_]
        witness = {"input": array(rows_), **unstable(net, start, drives, radius)}
        return refuted(net, "unstable-fixed-point", inputs, witness)

    net = Network([[0.0, -5.0], [5.0, 0.0]], a=0.125)
    add("unstable-skew-leak", loose(net, ZERO, np.zeros((1, 0)), [0.0, 0.0], 2.0**-6))
    rows = [[0.125], [-0.125]]
    add("unstable-periodic-box", loose(BISTABLE, box([-0.25], [0.25]), rows, [0.0, 0.0], 2.0**-6))
    net = Network([[2.0, 0.5], [-0.5, 0.25]], phi="sine")
    add("unstable-sine-any", loose(net, ANY, [[0.25, -0.125]], [0.0, 0.0], 2.0**-7))
    found["attracting-pair"] = refuted(
        BISTABLE,
        "attracting-balls",
        box([-0.5], [0.0]),
        {"input": array([[0.0]]), "inputs": box([-0.0625], [0.0625]), "balls": wells(2)},
    )
    found["attracting-any"] = refuted(
        BISTABLE,
        "attracting-balls",
        ANY,
        {"input": array([[0.03125]]), "inputs": alphabet([[0.03125], [-0.03125]]), "balls": wells(2)},
    )
    return found


def wells(count: int) -> list[Document]:
    """Balls about the two wells of BISTABLE that keep for inputs up to 1/16."""
    well = settle(BISTABLE, [1.0], [BISTABLE.drive([0.0])]).ravel()
    witness = {"weights": array([1.0])}
    return [
        attracting("perron-weights", 0.75, (0.0, 0.3125), x, 0.125, witness) for x in (well, -well)[:count]
    ]


def locals_() -> dict[str, Document]:
    found: dict[str, Document] = {}

    def balls(net: Network, inputs: Document, parts: list[Document]) -> Document:
        claim = {"inputs": inputs, "responses": len(parts)}
        return document(net, "local", "attracting-balls", claim=claim, witness={"balls": parts})

    found["responses-two"] = balls(BISTABLE, box([-0.0625], [0.0625]), wells(2))
    found["responses-one-alphabet"] = balls(BISTABLE, alphabet([[-0.0625], [0.03125]]), wells(1))
    parts = []
    for start, theorem in (
        ([1.0, 0.9], "spectral-norm"),
        ([-1.0, 0.9], "incremental-lurie"),
        ([-1.0, -0.9], "diagonal-schur"),
        ([1.0, -0.9], "cascade"),
    ):
        x = settle(PAIR, start, [PAIR.drive([0.0, 0.0])]).ravel()
        high = short_up(PAIR, x, 0.0625)
        if theorem == "incremental-lurie":
            witness = lurie(PAIR, 0, high, 0.9375, 0.25)
        elif theorem == "cascade":
            one = block([0], "perron-weights", 0.75, {"weights": array([1.0])})
            two = block([1], "diagonal-schur", 0.75, {"weights": array([1.0]), "R": array([[2.0]])})
            witness = {"blocks": [one, two], "weights": array([1.0, 1.0])}
        else:
            witness = schur(PAIR, 0, high, 0.9375, None if theorem == "spectral-norm" else [1.0, 2.0])
        parts.append(attracting(theorem, 0.9375, (0, high), x, 0.0625, witness))
    found["responses-four-zero"] = balls(PAIR, ZERO, parts)
    parts = []
    for start, bounds, v in (
        ([0.0, 0.0], ([0.75, 0.75], [1.0, 1.0]), [1.0, 0.25]),
        ([1.0, 0.5], ([0.0, 0.0], [0.0625, 0.875]), [1.0, 1.0]),
    ):
        x = settle(SQUARES, start, [SQUARES.drive([])]).ravel()
        parts.append(attracting("perron-weights", 0.9375, bounds, x, 2.0**-9, {"weights": array(v)}))
    found["responses-squares"] = balls(SQUARES, ZERO, parts)
    return found | tubes()


def short_up(net: Network, x: Array, spread: float) -> Array:
    """Slopes over a ball, to a sixteenth upwards."""
    z = np.maximum(abs(net.argument(x, net.drive(np.zeros(net.W_in.shape[1])))) - 2 * spread, 0)
    return np.asarray(np.ceil(net.slope(z) * 16 + 0.5) / 16)


def tubes() -> dict[str, Document]:
    found: dict[str, Document] = {}

    def tube_document(
        net: Network, u: Array, rate: float, radius: float, witness: Document, forgets: Any
    ) -> Document:
        claim = {
            "inputs": {"kind": "signal", "values": array(u)},
            "rate": number(rate),
            "radius": number(radius),
            "washout": forgets,
        }
        return document(net, "local", "contracting-tube", claim=claim, witness=witness)

    net = Network([[1.25, 0.75], [-0.75, 1.0]], W_in=[[1.0], [-2.0]], b=[0.5, 0.25])
    u = np.round(np.sin(np.arange(10))[:, None] * 16) / 8
    witness, radius = tube(net, u, [0.5, -0.5], 0.875, 0.03125)
    radius = round(radius * 1024) / 1024
    found["tube-tanh"] = tube_document(net, u, 0.875, radius, witness, None)
    forgets = washout(radius / 2, 0.03125, 8)
    found["tube-washout"] = tube_document(net, u, 0.875, radius, witness, forgets)
    net = Network([[0.5, 0.25], [-0.25, 0.5]], W_in=[[1.0], [0.5]], a=[1.0, 0.75])
    u = np.round(np.cos(np.arange(24))[:, None] * 16) / 16
    witness, radius = tube(net, u, [0.0, 0.0], 0.75, 0.125)
    witness["entry"] = {
        "theorem": "spectral-norm",
        "rate": number(0.75),
        "slopes": {"range": "global", "low": array([0.0, 0.0]), "high": array([1.0, 1.0])},
        "witness": schur(net, 0, 1, 0.75, None),
        "steps": 14,
    }
    forgets = washout(2.0, 0.03125, 24)
    found["tube-entry"] = tube_document(net, u, 0.75, round(radius * 1024) / 1024, witness, forgets)
    witness = copy.deepcopy(witness)
    high = array([1.0, 1.0])
    slopes = {"range": "box", "steps": 1, "low": array([0.0625, 0.0]), "high": high}
    witness["entry"] |= {"slopes": slopes, "steps": 16}
    found["tube-entry-box"] = tube_document(net, u, 0.75, round(radius * 1024) / 1024, witness, None)
    return found


def valid() -> dict[str, Document]:
    return proofs() | refutations() | locals_()


def forged(good: dict[str, Document]) -> forged_certificates.Forged:
    bad = forged_certificates.Forged()
    rooms = forged_certificates.proofs, forged_certificates.files, forged_boxes.boxes
    for room in (*rooms, forged_dynamics.refutations, forged_dynamics.locals_):
        for name, (why, content) in room(good).items():
            bad.add(name, why, content)
    return bad


def written(content: Document) -> str:
    return json.dumps(content, indent=1) + "\n"


def main() -> None:
    good = valid()
    for folder in (CORPORA / "valid", CORPORA / "forged"):
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("*.json"), *folder.glob("*.network")):
            old.unlink()
    for name, document_ in good.items():
        (CORPORA / "valid" / f"{name}.json").write_text(written(document_))
    (CORPORA / "valid" / "file-network.network").write_text(written(THREE.section()))
    (CORPORA / "forged" / "other.network").write_text(written(SKEW.section()))
    lines = []
    for name, (why, content) in sorted(forged(good).items()):
        lines.append(f"| `{name}` | {why} |")
        path = CORPORA / "forged" / f"{name}.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(written(content))
    text = "# Forged certificates\n\n"
    text += "Written by `tests/make_certificate_corpora.py`. No checker may accept any.\n\n"
    table = "\n".join(["| file | what is wrong |", "|---|---|", *lines])
    (CORPORA / "forged" / "README.md").write_text(text + table + "\n")


if __name__ == "__main__":
    main()
