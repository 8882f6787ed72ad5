"""Certificates that are wrong, each in one way: a name, the document (or the bytes of a file), and why."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from certificate_pieces import (
    ZERO,
    Document,
    Network,
    array,
    number,
    proved,
    quadratic,
)


class Forged(dict[str, tuple[str, Document | bytes]]):
    """Why a certificate is wrong, and the document or the bytes of its file, by name."""

    def add(self, name: str, why: str, content: Document | bytes) -> None:
        assert name not in self
        self[name] = why, content


def changed(original: Document, *steps: tuple[str, Any]) -> Document:
    """A copy with other values at dotted paths; a value may be a function of the old one."""
    copied = copy.deepcopy(original)
    for path, value in steps:
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
        node: Any = copied
        for key in parents:
            node = node[key]
        node[last] = (
            value(node.get(last) if isinstance(node, dict) else node[last]) if callable(value) else value
        )
    return copied


def without(original: Document, *keys: str) -> Document:
    return {k: v for k, v in original.items() if k not in keys}


def entries(part: Document) -> Any:
    return np.frombuffer(base64.b64decode(part["data"]), "<" + part["type"]).reshape(part["shape"]) * 1.0


def edited(change: Callable[[Any], Any]) -> Callable[[Document], Document]:
    return lambda part: array(change(entries(part)))


def times(factor: float) -> Callable[[Document], Document]:
    return edited(lambda data: data * factor)


def faster(factor: float) -> Callable[[str], str]:
    return lambda rate: number(float.fromhex(rate) * factor)


def proofs(v: dict[str, Document]) -> Forged:
    forged = Forged()
    add = forged.add
    better = "the rate of the proof is not this good"
    for name, factor in (
        ("spectral-tanh-leaks", 0.75),
        ("perron-relu", 0.75),
        ("schur-sine-washout", 0.65),
        ("lurie-skew-leak", 0.95),
        ("vertices-skew-leak", 0.95),
        ("cascade-sparse", 0.96),
        ("odd-tanh-washout", 0.8),
        ("secant-lurie-constant", 0.5),
        ("assumption-arctan", 0.5),
    ):
        add(
            f"rate-too-good-{name}",
            better,
            changed(v[name], ("claim.rate", faster(factor)), ("claim.washout", None)),
        )
    plain, sine, cascade = v["spectral-tanh-leaks"], v["schur-sine-washout"], v["cascade-sparse"]
    for name, rate in (("one", 1.0), ("zero", 0.0), ("negative", -0.875)):
        add(f"rate-{name}", "0 < rate < 1", changed(plain, ("claim.rate", number(rate))))
    add("rate-decimal", "a number is a hexadecimal double", changed(plain, ("claim.rate", "0.875")))
    add("rate-uppercase", "only the form that float.hex returns", changed(plain, ("claim.rate", str.upper)))
    add("weights-changed", "the hash is of other weights", changed(plain, ("network.W", times(1.0625))))
    add("leak-changed", "the hash is of other leak rates", changed(plain, ("network.leak_rate", times(0.5))))
    add(
        "bias-sign-of-zero",
        "the hash sees the sign of zero",
        changed(plain, ("network.b", edited(lambda b: np.where(b == 0, -0.0, b)))),
    )
    net = Network(
        3 * entries(plain["network"]["W"]),
        entries(plain["network"]["W_in"]),
        entries(plain["network"]["b"]),
        entries(plain["network"]["leak_rate"]),
    )
    add("weights-changed-own-hash", "of another network", changed(plain, ("network", net.section())))
    add("hash-uppercase", "lower-case hexadecimal", changed(plain, ("network.hash", str.upper)))
    add(
        "leak-zero",
        "leak rates lie in (0, 1]",
        proved(Network([[0.5]], a=0.0), "perron-weights", 0.5, 0, 1, {"weights": array([1.0])}),
    )
    other = Network(
        entries(plain["network"]["W"]),
        entries(plain["network"]["W_in"]),
        entries(plain["network"]["b"]),
        entries(plain["network"]["leak_rate"]),
        phi="sine",
    )
    add(
        "activation-changed-own-hash",
        "the sine has slopes below 0",
        changed(plain, ("network", other.section())),
    )
    add("slopes-too-narrow", "tanh has slopes up to 1", changed(plain, ("slopes.high", times(0.96875))))
    add("slopes-sine-from-zero", "the sine has slopes down to -1", changed(sine, ("slopes.low", times(0.0))))
    add(
        "slopes-inverted",
        "low exceeds high",
        changed(plain, ("slopes.low", array([1.0] * 3)), ("slopes.high", array([0.0] * 3))),
    )
    add("states-box-of-global", "global slopes claim all states", changed(plain, ("claim.states", "box")))
    add("global-for-zero", "global slopes claim any input", changed(plain, ("claim.inputs", ZERO)))
    add(
        "theorem-of-another-name",
        "the witness belongs to another theorem",
        changed(plain, ("theorem", "perron-weights"), ("source", "doi:10.1016/j.neunet.2012.07.005")),
    )
    add("source-changed", "not the source of the theorem", changed(plain, ("source", "FORMAT.md")))
    add("verdict-refuted", "a theorem that proves does not refute", changed(plain, ("verdict", "refuted")))
    add("verdict-local", "a theorem that proves is not local", changed(plain, ("verdict", "local")))
    negative = Network([[1.5]])
    add(
        "weights-of-norm-negative",
        "weights of a norm are positive",
        proved(negative, "perron-weights", 0.5, 0, 1, {"weights": array([-1.0])}),
    )
    witness = {
        "multipliers": array([0.125]),
        "P": array([[-1.0]]),
        "R": array(np.eye(2)),
        "R_P": array([[1.0]]),
    }
    add("lurie-negative-P", "P < 0", proved(negative, "incremental-lurie", 0.5, 0, 1, witness))
    add(
        "lurie-P-asymmetric",
        "P is not symmetric",
        changed(v["lurie-skew-leak"], ("witness.P", edited(lambda P: P + np.array([[0, 2**-10], [0, 0]])))),
    )
    add(
        "lurie-multiplier-negative",
        "multipliers are positive",
        changed(v["lurie-skew-leak"], ("witness.multipliers", times(-1.0))),
    )
    add(
        "vertices-negative-P",
        "P < 0",
        proved(negative, "common-quadratic", 0.5, 0, 1, {"P": array([[-1.0]]), "R_P": array([[1.0]])}),
    )
    add(
        "vertices-thirteen-units",
        "more than 12 units",
        proved(Network(0.5 * np.eye(13)), "common-quadratic", 0.75, 0, 1, quadratic(np.eye(13))),
    )
    # Differences grow; with r_b = -4 each block would make room for its neighbour.
    growing = Network([[0.25, 4.0], [4.0, 0.25]])
    blocks = [
        {"units": [i], "theorem": "spectral-norm", "rate": number(-4.0), "witness": {"R": array([[0.5]])}}
        for i in (0, 1)
    ]
    add(
        "cascade-negative-rate",
        "the rate of a block is below 0",
        proved(growing, "cascade", 0.5, 0, 1, {"blocks": blocks, "weights": array([1.0, 1.0])}),
    )
    add("cascade-unit-twice", "unit 1 twice, unit 2 never", changed(cascade, ("witness.blocks.1.units", [1])))
    add(
        "cascade-unit-missing",
        "unit 5 is in no block",
        changed(cascade, ("witness.blocks", lambda b: b[:3]), ("witness.weights", edited(lambda w: w[:3]))),
    )
    add("cascade-units-decreasing", "units increase", changed(cascade, ("witness.blocks.0.units", [1, 0])))
    add(
        "cascade-unit-true", "true is not an integer", changed(cascade, ("witness.blocks.0.units", [0, True]))
    )
    add(
        "cascade-weights-too-flat",
        "the blocks drive each other more strongly",
        changed(cascade, ("witness.weights", array([1.0, 1.0, 1.0, 1.0]))),
    )
    add(
        "cascade-weight-negative",
        "weights are positive",
        changed(cascade, ("witness.weights", edited(lambda w: w * [-1, 1, 1, 1]))),
    )
    nested = {
        "blocks": [
            {
                "units": list(range(6)),
                "theorem": "cascade",
                "rate": cascade["claim"]["rate"],
                "witness": cascade["witness"],
            }
        ],
        "weights": array([1.0]),
    }
    add("cascade-nested", "no cascade in a cascade", changed(cascade, ("witness", nested)))
    bent = Network([[0.25]], W_fb=[[1.0]], W_out=[[0.0]], W_sq=[[0.0]], b_out=[0.0])
    add(
        "proved-with-bend",
        "squares in the feedback, even if zero",
        proved(bent, "perron-weights", 0.5, 0, 1, {"weights": array([1.0])}),
    )
    fed = v["feedback-linear"]
    add(
        "feedback-hidden",
        "the hash is of a network with feedback",
        changed(
            fed,
            ("network.W_fb", None),
            ("network.W_out", None),
            ("network.b_out", None),
            ("network.n_outputs", 0),
        ),
    )
    arctan = v["assumption-arctan"]
    add("assumption-absent", "an unknown activation and no assumption", changed(arctan, ("assumes", None)))
    add(
        "assumption-narrower-slopes",
        "slopes below those assumed",
        changed(arctan, ("slopes.high", times(0.5))),
    )
    add(
        "assumption-inverted",
        "low exceeds high",
        changed(arctan, ("assumes", {"low": number(1), "high": number(0)})),
    )
    add(
        "assumption-of-a-known-activation",
        "tanh is known",
        changed(plain, ("assumes", {"low": number(0), "high": number(0.5)}), ("slopes.high", times(0.5))),
    )
    boxed = {"range": "box", "steps": 0}
    add(
        "assumption-with-a-box",
        "the values of an unknown activation are unknown",
        changed(arctan, ("claim.states", "box"), ("claim.inputs", ZERO), ("slopes", lambda s: s | boxed)),
    )
    return forged


def files(v: dict[str, Document]) -> Forged:
    forged = Forged()
    add = forged.add
    plain = v["spectral-tanh-leaks"]
    content = json.dumps(plain).encode()
    add("truncated", "the file ends early", content[:-200])
    add("empty", "an empty file", b"")
    add("two-documents", "one document per file", content + content)
    add("not-utf-8", "not UTF-8", content.replace(b"Made by hand", b"Made \xff hand"))
    add("key-twice", "a key stands twice", content.replace(b'"version": 2', b'"version": 2, "version": 2'))
    add(
        "key-twice-inside",
        "a key stands twice",
        content.replace(b'"rate": ', b'"rate": "0x1.0000000000000p-9", "rate": '),
    )
    add("nan-in-notes", "NaN", content.replace(b'"notes": {', b'"notes": {"x": NaN, '))
    add(
        "long-integer-in-notes",
        "an integer of 20 digits",
        content.replace(b'"notes": {', b'"notes": {"x": 10000000000000000000, '),
    )
    add("version-one", "another version", changed(plain, ("version", 1)))
    add("version-three", "another version", changed(plain, ("version", 3)))
    add("version-real", "2.0 is not an integer", content.replace(b'"version": 2', b'"version": 2.0'))
    add("format-other", "not a certificate", changed(plain, ("format", "esntools-model")))
    add("key-unknown", "an unknown key", plain | {"comment": ""})
    add("key-missing", "a missing key", without(plain, "assumes"))
    add("notes-text", "notes are an object", plain | {"notes": "none"})
    add(
        "array-not-finite",
        "an infinite entry",
        changed(plain, ("witness.R", edited(lambda R: R * np.array([np.inf, 1, 1])))),
    )
    add("array-shape", "a matrix has two sizes", changed(plain, ("witness.R.shape", [9])))
    add("array-too-short", "entries are missing", changed(plain, ("witness.R.data", lambda s: s[:-8])))
    add(
        "array-base64-spaces",
        "not canonical",
        changed(plain, ("witness.R.data", lambda s: s[:8] + "\n" + s[8:])),
    )
    add("array-type-f2", "an unknown type", changed(plain, ("witness.R.type", "f2")))
    W = v["cascade-sparse"]["network"]["W"]
    for name, data in (
        ("zero", b"\0" * 8 + base64.b64decode(W["data"])[8:]),
        ("missing", base64.b64decode(W["data"])[8:]),
    ):
        add(
            f"sparse-{name}",
            "positions and nonzero entries",
            changed(v["cascade-sparse"], ("network.W.data", base64.b64encode(data).decode())),
        )
    rows = np.frombuffer(base64.b64decode(W["rows"]), "<i4")
    add(
        "sparse-outside",
        "row 6 of 6",
        changed(v["cascade-sparse"], ("network.W.rows", base64.b64encode((rows + 1).tobytes()).decode())),
    )
    link = v["file-network"]["network"]
    for name, file in (
        ("missing", "nowhere.network"),
        ("elsewhere", "../valid/file-network.network"),
        ("dot", "."),
        ("truncated", "truncated.json"),
    ):
        add(
            f"network-file-{name}",
            "no network in this folder",
            changed(plain, ("network", link | {"file": file})),
        )
    add(
        "network-file-other-hash",
        "the file holds another network",
        changed(plain, ("network", {"file": "other.network", "hash": link["hash"]})),
    )
    add(
        "network-file-is-a-certificate",
        "the file holds no network",
        changed(plain, ("network", link | {"file": "version-one.json"})),
    )
    return forged
