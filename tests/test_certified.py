"""Certification of single fixed points, and the proved pieces that it and the enumeration are made of."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_enumeration import NAIVE, multistart, naive_unstable, precise_fixed_point
from threadpoolctl import threadpool_limits

from esntools.activations import Activation
from esntools.fixed_points import krawczyk
from esntools.fixed_points.certified import CertifiedFixedPoint, Uncertified, certify_fixed_point
from esntools.fixed_points.enumeration import enumerate_fixed_points
from esntools.fixed_points.reduction import ReducedEquation
from esntools.fixed_points.tables import activation_table
from esntools.fixed_points.verified import (
    enclosed,
    exact_product,
    positive_definite,
    preactivation,
    unstable_directions,
)
from esntools.network import EchoStateNetwork, Readout

# -- certification ---------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([*NAIVE, "hard_tanh"]))
@settings(max_examples=25)
def test_certified_points_against_300_bits(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    network = EchoStateNetwork(
        rng.uniform(0.3, 3.0) * rng.standard_normal((n, n)) / math.sqrt(n), b=0.5 * rng.standard_normal(n),
        leak_rate=rng.uniform(0.2, 1.0, n), activation=name,
    )  # fmt: skip
    starts = multistart(network, 10, rng)
    points = [certify_fixed_point(network, x) for x in starts]
    for start, p in zip(starts, points, strict=True):
        if isinstance(p, Uncertified):
            continue
        assert np.max(np.abs(p.x - start)) < 1e-6
        assert p.radius < 1e-11
        J = network.jacobian(p.x)
        assert p.index == np.sign(np.linalg.det(np.eye(n) - J))
        if name in NAIVE:
            exact = np.array([float(v) for v in precise_fixed_point(network, p.x)])
            assert np.max(np.abs(exact - p.x)) <= p.radius + 1.2e-16
        if p.n_unstable is not None:
            assert p.n_unstable == np.sum(np.abs(np.linalg.eigvals(J)) > 1.0)
        for q in points:
            if q is not p and isinstance(q, CertifiedFixedPoint):
                assert np.max(np.abs(q.x - p.x)) + q.radius >= p.uniqueness_radius
    smooth = [p for p in points if isinstance(p, CertifiedFixedPoint)]
    assert len(smooth) >= len(points) - 1


def test_uniqueness_radius_stops_before_the_next_point() -> None:
    """One neuron at b = 0: the neighbours of 0 are +-m, and of m it is 0."""
    for w in (1.01, 1.2, 1.5, 2.0, 4.0):
        points = enumerate_fixed_points(EchoStateNetwork([[w]]))
        middle = certify_fixed_point(EchoStateNetwork([[w]]), [0.0])
        assert isinstance(middle, CertifiedFixedPoint)
        m = max(float(p.x[0]) for p in points)
        assert 0.3 * m < middle.uniqueness_radius < m


def test_certified_points_of_closed_loops_with_squares() -> None:
    rng = np.random.default_rng(6)
    n = 20
    network = EchoStateNetwork(
        0.5 * rng.standard_normal((n, n)) / math.sqrt(n), b=0.2 * rng.standard_normal(n), leak_rate=0.6,
        W_fb=rng.standard_normal((n, 1)),
        readout=Readout(
            0.3 * rng.standard_normal((1, n)), W_sq=0.3 * rng.standard_normal((1, n)), b_out=[0.1]
        ),
    )  # fmt: skip
    for start in multistart(network, 10, rng):
        p = certify_fixed_point(network, start)
        assert isinstance(p, CertifiedFixedPoint)
        J = network.jacobian(p.x)
        assert p.index == np.sign(np.linalg.det(np.eye(n) - J))
        assert p.n_unstable == np.sum(np.abs(np.linalg.eigvals(J)) > 1.0)
        assert np.max(np.abs(network.step(p.x) - p.x)) <= 1e-14
        assert p.radius < 1e-13


def test_a_state_that_leads_nowhere_is_not_certified() -> None:
    shifted = EchoStateNetwork([[1.0]], b=1.0, activation="identity")
    assert isinstance(certify_fixed_point(shifted, [0.0]), Uncertified)
    steep = EchoStateNetwork([[2.0]], b=5.0)
    answer = certify_fixed_point(steep, [-0.9])
    assert isinstance(answer, Uncertified) or answer.x[0] > 0.99
    assert isinstance(certify_fixed_point(EchoStateNetwork([[1e80]]), [0.5]), Uncertified)
    # A kink at the fixed point: its slopes are 0 to 1, but I - [0, 1] w may still be regular.
    kink = certify_fixed_point(EchoStateNetwork([[0.5]], activation="relu"), [0.0])
    assert isinstance(kink, CertifiedFixedPoint)
    assert isinstance(certify_fixed_point(EchoStateNetwork([[2.0]], activation="relu"), [0.0]), Uncertified)


@pytest.mark.slow
@pytest.mark.ci
@threadpool_limits.wrap(limits=1)
def test_certify_500_units() -> None:
    rng = np.random.default_rng(0)
    n = 500
    W = rng.standard_normal((n, n)) / math.sqrt(n)
    for gain, leak in ((0.9, 0.4), (3.0, 1.0)):
        network = EchoStateNetwork(gain * W, leak_rate=leak)
        p = certify_fixed_point(network, np.zeros(n))
        assert isinstance(p, CertifiedFixedPoint)
        assert p.n_unstable == np.sum(np.abs(np.linalg.eigvals(network.jacobian(p.x))) > 1.0)
        assert p.index == np.linalg.slogdet(np.eye(n) - gain * W)[0]


# -- the pieces ------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, 8))
@settings(max_examples=25)
def test_unstable_directions_against_certified_eigenvalues(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    if seed % 3:
        J = rng.uniform(0.3, 2.0) * rng.standard_normal((n, n)) / math.sqrt(n)
        exact = naive_unstable(J)
    else:
        # Far from normal, with eigenvalues that repeat.
        J = np.triu(10.0 * rng.standard_normal((n, n)))
        np.fill_diagonal(J, rng.choice([0.5, -0.9, 1.1, 1.5], n))
        exact = int(np.sum(np.abs(np.diag(J)) > 1.0))
    count = unstable_directions(J, 0.0)
    assert count is None or count == exact
    assert exact is None or count is not None or seed % 3 == 0


def test_unstable_directions_says_no_on_the_unit_circle() -> None:
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert unstable_directions(turn, 0.0) is None
    assert unstable_directions(turn * 0.999, 0.0) == 0
    assert unstable_directions(turn * 1.001, 0.0) == 2
    assert unstable_directions(turn * 0.999, 2e-3) is None
    assert unstable_directions(np.diag([0.5, 1.0 - 1e-14]), 1e-13) is None
    assert unstable_directions(np.diag([0.5, 2.0]), 0.4) == 1
    assert unstable_directions(np.diag([0.5, 2.0]), 0.6) is None
    # A Jordan block: its eigenvalues move by 1e-15 ** (1/30) = 0.3.
    jordan = 0.9 * np.eye(30) + np.eye(30, k=1)
    assert unstable_directions(jordan, 0.0) in (0, None)
    assert unstable_directions(jordan, 1e-3) is None


def test_positive_definite_is_never_wrong() -> None:
    rng = np.random.default_rng(1)
    B = rng.standard_normal((30, 29))
    singular = B @ B.T
    assert not positive_definite(singular, 0.0)
    assert positive_definite(singular + np.eye(30), 0.0)
    assert positive_definite(singular + np.eye(30), 0.9)
    assert not positive_definite(singular + np.eye(30), 1.001)
    assert not positive_definite(np.full((2, 2), np.nan), 0.0)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_products_are_as_exact_as_they_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    A = rng.standard_normal((3, n)) * 10.0 ** rng.integers(-8, 9, (3, n))
    x = rng.standard_normal(n)
    value, error = exact_product(A, x)
    before = flint.ctx.prec
    flint.ctx.prec = 400
    try:
        for row, v, e in zip(A, value, error):
            exact = sum((arb(float(a)) * arb(float(b)) for a, b in zip(row, x)), arb(0))
            assert abs(exact - arb(float(v))) <= arb(float(e))
            assert e <= 4e-16 * abs(v) + 1e-28 * float(np.abs(row) @ np.abs(x)) + 1e-280
        network = EchoStateNetwork(
            rng.standard_normal((n, n)), W_in=1e8 * rng.standard_normal((n, 2)), b=rng.standard_normal(n)
        )
        u = np.array([1.0, -1.0 + 2.0**-40])
        z, z_error = preactivation(network, x, u)
        for i in range(n):
            exact = sum(
                (arb(float(a)) * arb(float(b)) for a, b in zip(network.W[i], x)), arb(float(network.b[i]))
            )
            exact += sum((arb(float(a)) * arb(float(b)) for a, b in zip(network.W_in[i], u)), arb(0))
            assert abs(exact - arb(float(z[i]))) <= arb(float(z_error[i]))
    finally:
        flint.ctx.prec = before


@pytest.mark.parametrize("name", ["tanh", "logistic", "erf", "softsign", "sine"])
def test_tables_hold_the_exact_values(name: str) -> None:
    rng = np.random.default_rng(0)
    table = activation_table(Activation.named(name), -30.0, 30.0)
    value, slope = NAIVE[name]
    grid = (np.arange(-1300, 1300, 37) + 0.5) / 64.0
    z = np.concatenate([
        rng.uniform(-3.0, 3.0, 300), rng.uniform(-29.0, 29.0, 200), rng.standard_normal(50) * 1e-9,
        np.nextafter(grid, -np.inf), np.nextafter(grid, np.inf), grid, [0.0, 20.0, -20.0, 1e-300],
    ])  # fmt: skip
    widest = 0.0
    for point in z.tolist():
        v_low, v_high, flat, steep = krawczyk._at(table.kind, table.numbers, table.rows, point)
        v, s = value(arb(point)), slope(arb(point))
        assert arb(v_low) <= v.upper()
        assert arb(v_high) >= v.lower()
        assert not arb(v_low) > v
        assert not arb(v_high) < v
        assert not arb(flat) > s
        assert not arb(steep) < s
        widest = max(widest, v_high - v_low)
    assert widest < {"sine": 1e-3, "softsign": 4e-15}.get(name, 2e-15)


def _weights(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rank 3 at any size."""
    if n == 3:
        return 0.4 * rng.standard_normal((3, 3))
    return 0.6 * rng.standard_normal((n, 3)) @ rng.standard_normal((3, n)) / n


@pytest.mark.parametrize("name", ["tanh", "logistic", "erf", "softsign", "hard_tanh", "relu", "sine"])
@pytest.mark.parametrize("n", [3, 20])
def test_assess_encloses_the_map_and_its_slopes(name: str, n: int) -> None:
    """G(p) is in the natural extension and in the mean-value form, for p all over boxes of all sizes."""
    rng = np.random.default_rng(n)
    for size in (1e-9, 1e-3, 0.1, 1.0):
        network = EchoStateNetwork(
            _weights(rng, n),
            b=0.3 * rng.standard_normal(n), activation=name,
        )  # fmt: skip
        if name == "relu":
            network = network.scaled(0.5)
        reduced = ReducedEquation(network, np.zeros(0), 40)
        if reduced.reason:
            continue
        r = reduced.rank
        assert r == 3
        y = rng.uniform(-0.5, 0.5, r)
        radius = size * rng.uniform(0.1, 1.0, r)
        forward, g, g_error = np.zeros((2, r)), np.zeros(r), np.zeros(r)
        S, S_error = np.zeros((r, r)), np.zeros((r, r))

        def image(
            kappa: np.ndarray, reduced: ReducedEquation = reduced, network: Any = network
        ) -> np.ndarray:
            z = (reduced.L @ kappa if len(reduced.L) else kappa) + network.b
            return np.asarray(reduced.M @ network.activation(z))

        for secant in (True, False):
            krawczyk.assess(reduced.system, y, radius, secant, forward, g, g_error, S, S_error)
            low, high = S - S_error, S + S_error
            assert np.all(np.abs(image(y) - g) <= g_error + 1e-15)
            for _ in range(40):
                p = y + radius * rng.choice([-1.0, 1.0, rng.uniform(-1.0, 1.0)], r)
                assert np.all(np.abs(image(p) - forward[0]) <= forward[1] + 1e-15)
                q = y if secant else y + radius * rng.uniform(-1.0, 1.0, r)
                d = p - q
                lowest = np.minimum(low * d, high * d).sum(axis=1)
                highest = np.maximum(low * d, high * d).sum(axis=1)
                change = image(p) - image(q)
                assert np.all(change >= lowest - 1e-14)
                assert np.all(change <= highest + 1e-14)


@pytest.mark.parametrize(
    "name", ["tanh", "logistic", "erf", "softsign", "sine", "hard_tanh", "relu", "x/(1+x**2)"]
)
def test_enclosed_holds_values_and_slopes(name: str) -> None:
    phi = Activation.from_sympy(name) if "(" in name else Activation.named(name)
    rng = np.random.default_rng(3)
    low = rng.uniform(-5.0, 5.0, 60)
    high = low + 10.0 ** rng.uniform(-12.0, 0.5, 60)
    v_low, v_high, flat, steep = enclosed(phi, low, high)
    for t in np.linspace(0.0, 1.0, 15):
        z = np.clip(low + t * (high - low), low, high)
        if phi.monotone or "(" in name or name == "sine":
            assert np.all(phi(z) >= v_low - 1e-15)
            assert np.all(phi(z) <= v_high + 1e-15)
        assert np.all(phi.slope(z) >= flat - 1e-15)
        assert np.all(phi.slope(z) <= steep + 1e-15)


def exact_preactivation(network: EchoStateNetwork, x: np.ndarray, u: np.ndarray) -> list[Fraction]:
    """z(x) = W x + W_in u + W_fb psi(x) + b in rational arithmetic."""
    state, drive = [Fraction(float(v)) for v in x], [Fraction(float(v)) for v in u]

    def dot(row: np.ndarray, values: list[Fraction]) -> Fraction:
        return sum((Fraction(float(a)) * v for a, v in zip(row, values, strict=True)), Fraction(0))

    readout, W_fb = network.readout, network.W_fb
    assert readout is not None
    assert W_fb is not None
    y = [dot(readout.W_out[i], state) + Fraction(float(readout.b_out[i])) for i in range(len(readout.b_out))]
    if readout.W_sq is not None:
        y = [value + dot(readout.W_sq[i], [v * v for v in state]) for i, value in enumerate(y)]
    return [
        dot(network.dense_W()[k], state)
        + dot(network.W_in[k], drive)
        + dot(W_fb[k], y)
        + Fraction(float(network.b[k]))
        for k in range(network.n_units)
    ]


@pytest.mark.parametrize("scale", [1.0, 1e8, 1e-160])
@pytest.mark.parametrize("squares", [False, True])
def test_preactivations_are_enclosed_and_lose_no_digits_to_cancellation(squares: bool, scale: float) -> None:
    generator = np.random.default_rng(11)
    for _ in range(20):
        n, m = int(generator.integers(1, 9)), int(generator.integers(1, 4))
        x = generator.standard_normal(n) * (scale if scale < 1.0 else 1.0)
        W_out = generator.standard_normal((2, n)) * max(scale, 1.0)
        W_sq = generator.standard_normal((2, n)) * max(scale, 1.0) if squares else None
        # The constant takes away nearly all of the large sum: only rounding of what is left may remain.
        big = W_out @ x + (0.0 if W_sq is None else W_sq @ (x * x))
        network = EchoStateNetwork(
            generator.standard_normal((n, n)), W_in=generator.standard_normal((n, m)),
            b=generator.standard_normal(n), W_fb=generator.standard_normal((n, 2)),
            readout=Readout(W_out, W_sq, b_out=-big),
        )  # fmt: skip
        u = generator.standard_normal(m)
        z, error = preactivation(network, x, u)
        exact = exact_preactivation(network, x, u)
        assert all(abs(Fraction(float(a)) - b) <= Fraction(float(e)) for a, b, e in zip(z, exact, error))
        assert np.max(error) < 1e-13
