"""Attempts to break the theorems of FORMAT.md: small random networks, each at the edge of what is accepted.

For every witness the best rate, radius or epsilon that `check.py` accepts is searched for; then the worst
differences, slopes, states and inputs are tried on the statement at that edge.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from certificate_pieces import (
    ZERO,
    Array,
    Document,
    Network,
    array,
    attracting,
    ball,
    box,
    document,
    lurie,
    multipliers,
    number,
    perron,
    proved,
    quadratic,
    schur,
    settle,
    tube,
    washout,
)
from forged_certificates import entries
from naive_certificates import naive_check
from naive_norms import Part, contraction

from esntools.certificates import check

TRIALS = pytest.mark.parametrize(
    "trials",
    [pytest.param(8, id="some"), pytest.param(150, id="many", marks=(pytest.mark.slow, pytest.mark.ci))],
)
BLOCKS = ["perron-weights", "spectral-norm", "diagonal-schur", "common-quadratic", "incremental-lurie"]
Length = Callable[[Array], float]
Make = Callable[[float], Document]


def accepted(make: Make, x: float) -> bool:
    """Whether the checker accepts; the other one must agree.

    But for tubes, where each makes its own P, and secants, where the other one is too slow.
    """
    try:
        tried = make(x)
        check.check(tried)
        valid = True
    except np.linalg.LinAlgError:
        return False
    except check.Invalid:
        valid = False
    if tried["theorem"] != "contracting-tube" and tried["claim"]["inputs"] != ZERO:
        assert naive_check(tried) == valid
    return valid


def edge(make: Make, good: float, bad: float) -> float | None:
    """An accepted number next to one that is not, on the way from good to bad; None if good is not."""
    if not accepted(make, good):
        return None
    for _ in range(8):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if accepted(make, middle) else (good, middle)
    return good


def constant(witness: Document, rate: float) -> Document:
    return witness


def definite(rng: np.random.Generator, n: int) -> Array:
    M = np.eye(n) + rng.normal(size=(n, n)) * rng.uniform(0, 0.6)
    P = np.round(M @ M.T * 2**12)
    return np.asarray((P + P.T) / 2**13)


# -- contraction ------------------------------------------------------------------------------------------


def random_sector(rng: np.random.Generator, n: int) -> tuple[Network, Array, Array]:
    """A network of an unknown activation, and slopes that hold the one assumed of it, 1/8."""
    V = rng.normal(size=(n, n)) * rng.uniform(0.2, 1.2) * (rng.random((n, n)) < 0.8)
    a = (np.ones(n), np.full(n, 0.25), rng.uniform(0.05, 1, n))[rng.integers(3)]
    low = (np.zeros(n), -np.ones(n), -rng.random(n), np.full(n, 0.125))[rng.integers(4)]
    high = (np.ones(n), rng.uniform(0.125, 1.5, n))[rng.integers(2)]
    return Network(V, a=a, phi="arctan"), low, high


def block_witness(theorem: str, net: Network, low: Array, high: Array, rng: np.random.Generator) -> Make:
    """The witness for a rate."""
    n = net.n
    v, x, P, best = rng.uniform(0.2, 2, n), rng.uniform(0.1, 1, n), definite(rng, n), rng.random() < 0.5
    return {
        "perron-weights": lambda r: perron(net, low, high, r) if best else {"weights": array(v)},
        "spectral-norm": lambda r: schur(net, low, high, r, None),
        "diagonal-schur": lambda r: schur(net, low, high, r, v),
        "common-quadratic": lambda r: quadratic(P),
        "incremental-lurie": lambda r: lurie(net, low, high, r, x, 400),
    }[theorem]


def length(theorem: str, witness: Document) -> Length:
    """The norm of a witness, in floating point."""
    if theorem == "perron-weights":
        v = entries(witness["weights"])
        return lambda d: float(np.max(np.abs(d) / v))
    if theorem == "cascade":
        parts = [
            (block["units"], length(block["theorem"], block["witness"]), w)
            for block, w in zip(witness["blocks"], entries(witness["weights"]), strict=True)
        ]
        return lambda d: max(N(d[units]) / w for units, N, w in parts)
    if theorem == "spectral-norm":
        return lambda d: float(np.linalg.norm(d))
    P = np.diag(entries(witness["weights"])) if theorem == "diagonal-schur" else entries(witness["P"])
    return lambda d: float(np.sqrt(max(d @ P @ d, 0.0)))


def assumed(net: Network, theorem: str, rate: float, low: Array, high: Array, witness: Document) -> Document:
    line = {"low": number(0.125), "high": number(0.125)}
    return proved(net, theorem, rate, low, high, witness, assumes=line)


def best_rate(net: Network, theorem: str, low: Array, high: Array, make: Make) -> float | None:
    return edge(lambda r: assumed(net, theorem, r, low, high, make(r)), 0.9999, 0.0)


def try_to_break(net: Network, low: Array, high: Array, N: Length, rng: np.random.Generator) -> float:
    """The largest ratio N(J d) / N(d) found: at all vertices, from many d, each followed a few steps."""
    worst = 0.0
    for D in itertools.product(*zip(low, high, strict=True)):
        J = np.diag(1 - net.a) + (net.a * np.array(D))[:, None] * net.V
        starts = [*np.eye(net.n), *rng.normal(size=(12, net.n)), *np.linalg.svd(J)[2]]
        starts += [np.array(s, dtype=float) for s in itertools.product((-1, 1), repeat=net.n)]
        for d in starts:
            for _ in range(3):
                if N(d) > 0:
                    worst = max(worst, N(J @ d) / N(d))
                d = J.T @ J @ d
    return worst


@TRIALS
@pytest.mark.parametrize("theorem", BLOCKS)
def test_no_difference_grows_faster_than_the_best_accepted_rate(theorem: str, trials: int) -> None:
    rng, proofs, tight = np.random.default_rng(0), 0, 0.0
    for _ in range(trials):
        net, low, high = random_sector(rng, int(rng.integers(1, 4)))
        make = block_witness(theorem, net, low, high, rng)
        rate = best_rate(net, theorem, low, high, make)
        if rate is not None:
            N = length(theorem, make(rate))
            worst = try_to_break(net, low, high, N, rng)
            assert worst <= rate * (1 + 1e-9)
            proofs, tight = proofs + 1, max(tight, worst / rate)
            try_bounds(net, low, high, theorem, make(rate), rate, N, rng)
    assert proofs > 0
    # Otherwise the attempts would be too weak to say anything.
    assert tight > 0.9


def try_bounds(
    net: Network, low: Array, high: Array, theorem: str, witness: Document, rate: float, N: Length,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """size, reach and tilt of FORMAT.md, as the naive checker has them, at random vectors."""
    exact = [[Fraction(float(x)) for x in row] for row in net.V]
    part = Part(exact, *([Fraction(float(x)) for x in row] for row in (net.a, low, high)))
    norm = contraction(theorem, part, witness, Fraction(rate))
    reach, tilt = (np.array([float(x) for x in xs]) for xs in (norm.reach, norm.tilt))
    for d in (*np.eye(net.n), *rng.normal(size=(20, net.n))):
        size = float(norm.size([Fraction(float(abs(x))) for x in d]))
        assert N(d) <= size * (1 + 1e-9)
        assert np.all(np.abs(d) <= reach * N(d) * (1 + 1e-9))
        assert np.all(np.abs(net.V @ d) <= tilt * N(d) * (1 + 1e-9))


@TRIALS
def test_no_difference_grows_faster_through_a_cascade(trials: int) -> None:
    rng, proofs = np.random.default_rng(1), 0
    for _ in range(4 * trials):
        net, low, high = random_sector(rng, 3)
        units = [[0, 1], [2]] if rng.random() < 0.5 else [[1], [0, 2]]
        mask = np.ones((3, 3))
        mask[np.ix_(*units)] = rng.choice([0.0, 0.1])
        net = Network(net.V * mask, a=net.a, phi="arctan")
        blocks = []
        for part in units:
            theorem = BLOCKS[rng.integers(5)]
            inner = Network(net.V[np.ix_(part, part)], a=net.a[part], phi="arctan")
            make = block_witness(theorem, inner, low[part], high[part], rng)
            r = best_rate(inner, theorem, low[part], high[part], make)
            if r is not None:
                block = {"units": part, "theorem": theorem, "rate": number(r), "witness": make(r)}
                blocks.append(block)
        witness = {"blocks": blocks, "weights": array(rng.uniform(0.05, 1, 2) * [1, rng.choice([1, 20])])}
        if len(blocks) == 2:
            rate = best_rate(net, "cascade", low, high, functools.partial(constant, witness))
            if rate is not None:
                N = length("cascade", witness)
                assert try_to_break(net, low, high, N, rng) <= rate * (1 + 1e-9)
                try_bounds(net, low, high, "cascade", witness, rate, N, rng)
                proofs += 1
    assert proofs > 0


# -- zero input, secants, washouts ------------------------------------------------------------------------


def one_multiplier(net: Network, P: Array, Q: Array, rate: float) -> Document:
    witness = multipliers(net, P, Q, 1.0, rate)
    return proved(net, "zero-input-multipliers", rate, 0, 1, witness, inputs=ZERO, range="odd")


@TRIALS
def test_multipliers_at_zero_input(trials: int) -> None:
    rng, proofs = np.random.default_rng(2), 0
    for _ in range(4 * trials):
        n, phi = int(rng.integers(1, 4)), ("tanh", "softsign", "hardtanh", "identity")[rng.integers(4)]
        V = rng.normal(size=(n, n)) * rng.uniform(0.2, 1.0)
        net = Network(V, a=(np.ones(n), rng.uniform(0.2, 1, n))[rng.integers(2)], phi=phi)
        Q = rng.normal(size=(n, n)) * rng.uniform(0, 1)
        np.fill_diagonal(Q, 0)
        np.fill_diagonal(Q, 2.0**-20 + np.maximum(abs(Q).sum(axis=0), abs(Q).sum(axis=1)) + rng.random(n))
        Q, P = np.round(Q * 2**30) / 2**30, definite(rng, n)
        rate = edge(functools.partial(one_multiplier, net, P, Q), 0.9999, 0.0)
        if rate is not None:
            proofs += 1
            N = length("common-quadratic", {"P": array(P)})
            for x in rng.normal(size=(100, n)) * 10.0 ** rng.uniform(-2, 2, (100, 1)):
                assert N(net.step(x, np.zeros(n))) <= rate * N(x) * (1 + 1e-9)
    assert proofs > 0


def one_secant(net: Network, low: Array, high: Array, more: Any, rate: float) -> Document:
    return proved(net, "perron-weights", rate, low, high, perron(net, low, high, rate), **more)


def one_washout(original: Document, steps: int, epsilon: float) -> Document:
    return original | {"claim": original["claim"] | {"washout": washout(2.0, epsilon, steps)}}


@TRIALS
def test_secants_lead_to_the_fixed_point_and_washouts_hold(trials: int) -> None:
    rng, proofs = np.random.default_rng(3), 0
    for _ in range(2 * trials):
        n = int(rng.integers(1, 3))
        phi = ("tanh", "logistic", "sine", "hardtanh", "erf", "softsign")[rng.integers(6)]
        scale = 3.0 if phi == "logistic" else 1.0
        net = Network(
            rng.normal(size=(n, n)) * scale, b=rng.normal(size=n) * 2, a=rng.uniform(0.3, 1, n), phi=phi
        )
        bottom = 0.0 if phi == "logistic" else -1.0
        x = np.zeros(n)
        for _ in range(300):
            x = net.step(x, net.c)
        steps = int(rng.integers(4))
        # Slopes by sampling, with some room; the checker decides whether they hold.
        start = rng.uniform(bottom, 1, (2000, n))
        for _ in range(steps):
            start = np.array([net.step(y, net.c) for y in start])
        z, star = start @ net.V.T + net.c, net.argument(x, net.c)
        with np.errstate(all="ignore"):
            chords = (net.f(z) - net.f(star)) / (z - star)
        room = 2.0**-6
        low = np.floor((np.nanmin(chords, axis=0) - room) * 64) / 64
        high = np.ceil((np.nanmax(chords, axis=0) + room) * 64) / 64
        try:
            held = ball(net, x, [net.c], 2.0**-12)
        except np.linalg.LinAlgError:
            continue
        more = {"inputs": ZERO, "range": "secant", "steps": steps, "ball": held}
        make = functools.partial(one_secant, net, low, high, more)
        rate = edge(make, 0.9999, 0.0)
        if rate is None:
            continue
        proofs += 1
        N = length("perron-weights", perron(net, low, high, rate))
        x = settle(net, x, [net.c]).ravel()
        forgets = functools.partial(one_washout, make(rate), steps + 5)
        epsilon = edge(forgets, 1e6, 0.0)
        assert epsilon is not None
        states = rng.choice([bottom, 1.0, 0.5], (40, n))
        for _ in range(steps):
            states = np.array([net.step(y, net.c) for y in states])
        for _ in range(5):
            after = np.array([net.step(y, net.c) for y in states])
            for y, later in zip(states, after, strict=True):
                assert N(later - x) <= rate * N(y - x) + 1e-9
            states = after
        assert np.ptp(states, axis=0).max() <= epsilon + 1e-9
    assert proofs > 0


# -- local claims -----------------------------------------------------------------------------------------


def one_ball(
    net: Network, inputs: Document, rate: float, low: Array, high: Array, x: Array, v: Array, radius: float
) -> Document:
    part = attracting("perron-weights", rate, (low, high), x, radius, {"weights": array(v)})
    claim = {"inputs": inputs, "responses": 1}
    return document(net, "local", "attracting-balls", claim=claim, witness={"balls": [part]})


@TRIALS
def test_the_largest_accepted_ball_is_kept_and_contracts(trials: int) -> None:
    rng, proofs = np.random.default_rng(4), 0
    for _ in range(2 * trials):
        n, wide = int(rng.integers(1, 3)), float(rng.choice([0.0, 0.05]))
        squares: dict[str, Any] = {"W_sq": rng.normal(size=(1, n)) * 0.3} if rng.random() < 0.5 else {}
        net = Network(
            np.diag(rng.uniform(1.2, 3, n)) + rng.normal(size=(n, n)) * 0.2, W_in=rng.normal(size=(n, 1)),
            a=rng.uniform(0.3, 1, n), phi=("tanh", "erf", "softsign", "sine")[rng.integers(4)],
            W_fb=rng.normal(size=(n, 1)) * 0.3, W_out=rng.normal(size=(1, n)) * 0.3, b_out=[0.1], **squares,
        )  # fmt: skip
        x = rng.choice([-1.0, 1.0], n)
        for _ in range(300):
            x = net.step(x, net.c)
        x, v = np.round(x * 2**30) / 2**30, rng.uniform(0.5, 1, n)
        low, high = np.full(n, -0.125), np.full(n, 0.375)

        for rate in (0.75, 0.9375):
            make = functools.partial(one_ball, net, box([-wide], [wide]), rate, low, high, x, v)
            radius = next((2.0**-k for k in range(16) if accepted(make, 2.0**-k)), None)
            radius = radius and edge(make, radius, 2 * radius)
            if not radius:
                continue
            proofs += 1
            corners = np.array(list(itertools.product((-1, 1), repeat=n)))
            d = np.vstack([corners, rng.uniform(-1, 1, (30, n))]) * v * radius
            for u in (-wide, 0.0, wide):
                h = net.drive([u])
                after = np.array([net.step(x + e, h) for e in d])
                assert np.max(np.abs(after - x) / v) <= radius * (1 + 1e-9)
                for (e, y), (e2, y2) in itertools.combinations(zip(d, after, strict=True), 2):
                    assert np.max(np.abs(y - y2) / v) <= rate * np.max(np.abs(e - e2) / v) + 1e-12
    assert proofs > 0


def one_tube(net: Network, u: Array, rate: float, witness: Document, radius: float) -> Document:
    signal = {"kind": "signal", "values": array(u)}
    claim = {"inputs": signal, "rate": number(rate), "radius": number(radius), "washout": None}
    return document(net, "local", "contracting-tube", claim=claim, witness=witness)


@TRIALS
def test_the_largest_accepted_tube_keeps_what_it_says(trials: int) -> None:
    rng, proofs = np.random.default_rng(5), 0
    for _ in range(2 * trials):
        n, T = int(rng.integers(1, 4)), 6
        net = Network(rng.normal(size=(n, n)), W_in=rng.normal(size=(n, 1)) * 2, a=rng.uniform(0.3, 1, n),
                      phi=("tanh", "softsign", "sine", "relu")[rng.integers(4)])  # fmt: skip
        u, rate = np.round(rng.normal(size=(T, 1)) * 16) / 16, float(rng.choice([0.5, 0.875]))
        witness, radius = tube(net, u, np.zeros(n), rate, float(rng.choice([0.0625, 0.25, 1.0])))
        # A worse orbit than the true one.
        states = entries(witness["states"]) + rng.normal(size=(T + 1, n)) * rng.choice([0.0, 0.001])
        witness |= {"states": array(states)}

        make = functools.partial(one_tube, net, u, rate, witness)
        found = edge(make, radius, 2 * radius)
        if found is None:
            continue
        proofs += 1
        rho = float.fromhex(witness["tube"])
        d = rng.normal(size=(40, n))
        x = states[0] + found * d / np.linalg.norm(d, axis=1, keepdims=True)
        start = np.linalg.norm(x[::2] - x[1::2], axis=1)
        for k, row in enumerate(u, 1):
            x = np.array([net.step(y, net.drive(row)) for y in x])
            assert np.linalg.norm(x - states[k], axis=1).max() <= rho * (1 + 1e-9)
            apart = np.linalg.norm(x[::2] - x[1::2], axis=1)
            assert np.all(apart <= rho / found * rate**k * start * (1 + 1e-9) + 1e-12)
    assert proofs > 0
