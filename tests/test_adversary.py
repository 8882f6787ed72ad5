"""The adversary: gradients against differences, patterns against all extremes, drives against slopes."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from naive_certificates import naive_outcome
from test_refute import YILDIZ, naive_step, quadratic, random_network, scaled

from esntools._typing import FloatArray
from esntools.certificates.adversary import (
    SlopePattern,
    _Ascent,
    _input_gradient,
    find_slope_pattern,
    find_worst_input,
    growth,
    periodic_drive,
)
from esntools.certificates.documents import check_certificate
from esntools.certificates.flips import flipped, growth_and_gradient
from esntools.certificates.refute import find_refutation
from esntools.certificates.witness import DrivenMap, Refutation
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput
from esntools.network import EchoStateNetwork


def naive_growth(network: EchoStateNetwork, slopes: FloatArray) -> float:
    n, W, a = network.n_units, network.dense_W(), network.leak_rate
    product = np.eye(n)
    for d in slopes:
        J = np.array([[(1 - a[i]) * (i == j) + a[i] * d[i] * W[i, j] for j in range(n)] for i in range(n)])
        product = J @ product
    return float(np.abs(np.linalg.eigvals(product)).max() ** (1 / len(slopes)))


@pytest.mark.parametrize(("n", "period"), [(1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("leak", [1.0, 0.3])
def test_the_worst_slopes_are_no_better_than_all_extreme_patterns(n: int, period: int, leak: float) -> None:
    network = random_network(n, 0.9, 10 * n + period, leak_rate=leak)
    pattern = find_slope_pattern(network, periods=[period], enough=math.inf, rng=0)
    assert pattern is not None
    assert pattern.growth == pytest.approx(naive_growth(network, pattern.slopes), rel=1e-9)
    assert np.all((pattern.slopes >= 1e-3) & (pattern.slopes <= 1.0))
    extremes = itertools.product([1e-3, 1.0], repeat=n * period)
    best = max(naive_growth(network, np.reshape(e, (period, n))) for e in extremes)
    assert pattern.growth >= best - 1e-3


def test_the_gradient_of_the_ascent_points_uphill() -> None:
    network = random_network(12, 0.9, 4, leak_rate=0.6)
    rng = np.random.default_rng(0)
    D = rng.uniform(0.2, 0.8, (3, 2, 12))
    ascent = _Ascent(network.dense_W(), network.leak_rate, 0.0, 1.0, D, rng)
    for _ in range(100):
        value, slopes = ascent._gradient()
    for k in range(3):
        assert value[k] == pytest.approx(growth(network.dense_W(), network.leak_rate, D[k]), rel=1e-6)
        numeric = np.empty((2, 12))
        for j, i in np.ndindex(2, 12):
            e = np.zeros((2, 12))
            e[j, i] = 1e-6
            numeric[j, i] = naive_growth(network, D[k] + e) - naive_growth(network, D[k] - e)
        np.testing.assert_allclose(
            slopes[k] / np.linalg.norm(slopes[k]), numeric / np.linalg.norm(numeric), atol=1e-4
        )


@pytest.mark.parametrize("period", [1, 2, 3])
def test_the_gradient_by_the_input_is_that_of_the_growth(period: int) -> None:
    rng = np.random.default_rng(period)
    network = replace(random_network(6, 1.0, 1, leak_rate=0.7), W_in=rng.uniform(-1, 1, (6, 2)))
    u = rng.uniform(-1, 1, (period, 2))
    map_ = DrivenMap(network, u)
    response = map_.newton(map_.run(np.zeros(6), 100 * period)[-period:])
    assert response is not None
    numeric = np.empty_like(u)
    for j, k in np.ndindex(period, 2):
        e = np.zeros_like(u)
        e[j, k] = 1e-5
        ends = [DrivenMap(network, u + s * e).newton(response.states) for s in (1.0, -1.0)]
        numeric[j, k] = ends[0].growth - ends[1].growth  # type: ignore[union-attr]
    found = _input_gradient(map_, response)
    np.testing.assert_allclose(found / np.linalg.norm(found), numeric / np.linalg.norm(numeric), atol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "logistic", "erf", "softsign", "sine", "relu", "hard_tanh"])
@pytest.mark.parametrize("leak", [1.0, 0.2])
def test_drives_realise_their_slopes(activation: str, leak: float) -> None:
    network = random_network(5, 1.0, 2, leak_rate=leak, activation=activation)
    phi = network.activation
    top = phi.slope_bounds[1]
    D = top * np.random.default_rng(1).uniform(0.05, 1.0, (3, 5))
    if activation in ("relu", "hard_tanh"):
        D = np.round(D)
    realised = periodic_drive(network, SlopePattern(D, 0.0))
    shown = Refutation({}, "", realised.drive, (), "", 3, None, network, True)
    for j in range(3):
        x, h = realised.states[j - 1], realised.drive[j]
        np.testing.assert_allclose(naive_step(shown, x, h), realised.states[j], atol=1e-12)
        np.testing.assert_allclose(phi.slope(network.W @ x + h), D[j], rtol=1e-9, atol=1e-12)


def test_slopes_cannot_be_chosen_for_the_identity_or_with_squares() -> None:
    assert find_slope_pattern(EchoStateNetwork([[2.0]], activation="identity")) is None
    assert find_slope_pattern(quadratic(1.0)) is None
    with pytest.raises(InvalidInputError, match="effort"):
        find_slope_pattern(YILDIZ, effort=0.0)
    assert find_slope_pattern(YILDIZ, deadline=time.perf_counter()) is None


@pytest.mark.parametrize("activation", ["tanh", "logistic", "erf", "softsign", "sine", "hard_tanh"])
def test_any_input_is_refuted_by_worst_slopes(activation: str) -> None:
    """All of these are stable at their own bias and at drive 0."""
    network = random_network(30, 0.96, 11, activation=activation)
    top = network.activation.slope_bounds[1]
    network = replace(network.scaled(1.0 / top), b=np.zeros(30))
    found = find_refutation(network, AnyInput())
    assert found is not None
    assert check_certificate(found.document).valid
    gaps = np.abs(np.subtract(*found.replay(300))).max(axis=1)
    assert gaps[-1] > 1.5 * gaps[0]


def test_worst_slopes_of_several_steps_are_refuted_by_the_lift() -> None:
    """Constant slopes reach 0.95, as W does; two patterns in turn exceed 1."""
    W = scaled(np.array([[0.0, 2.0, -1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]), 0.95)
    constant = find_slope_pattern(EchoStateNetwork(W), periods=[1], enough=math.inf, rng=0)
    assert constant is not None
    assert constant.growth == pytest.approx(0.95, abs=1e-9)
    found = find_refutation(EchoStateNetwork(W), AnyInput())
    assert found is not None
    assert found.period == 2
    assert found.strength == "unstable response"
    assert naive_outcome(found.document) == "valid"


def test_a_worst_input_is_found_within_its_box() -> None:
    # A flip at the fixed point where the slope is largest, u = -1; off it the response is stable.
    network = EchoStateNetwork([[-1.5]], W_in=[[1.0]], b=1.0)
    low, high = np.array([-3.0]), np.array([1.0])
    found = find_worst_input(network, low, high, np.array([[0.9]]), np.array([[0.5]]))
    assert found is not None
    rows, response = found
    assert low[0] <= rows[0, 0] <= high[0]
    assert response.growth > 1.0
    assert find_worst_input(quadratic(1.0), low, high, np.zeros((1, 0)), np.zeros((1, 1))) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weight", [1e90, 1e300])
def test_growth_beyond_the_largest_number_ends_the_search(weight: float) -> None:
    W = weight * np.random.default_rng(0).normal(size=(5, 5))
    pattern = find_slope_pattern(EchoStateNetwork(W), enough=math.inf, rng=0)
    assert pattern is None or pattern.growth > 1.0


@pytest.mark.parametrize(("period", "leak"), [(1, 1.0), (3, 0.4)])
def test_the_gradient_of_the_flips_is_that_of_differences(period: int, leak: float) -> None:
    rng = np.random.default_rng(5)
    W, a = rng.normal(size=(7, 7)), np.full(7, leak)
    D = rng.uniform(0.2, 0.8, (period, 7))
    value, gradient = growth_and_gradient(W, a, D)
    assert value == pytest.approx(growth(W, a, D), rel=1e-12)
    by_differences = np.empty_like(D)
    for index in np.ndindex(*D.shape):
        shift = np.zeros_like(D)
        shift[index] = 1e-6
        by_differences[index] = (growth(W, a, D + shift) - growth(W, a, D - shift)) / 2e-6
    scale = float(np.vdot(gradient, by_differences) / np.vdot(gradient, gradient))
    assert scale > 0.0
    np.testing.assert_allclose(scale * gradient, by_differences, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_flips_find_the_best_of_all_extreme_patterns(seed: int) -> None:
    W, a = np.random.default_rng(seed).normal(size=(4, 4)), np.full(4, 0.8)
    extremes = [np.reshape(e, (2, 4)) for e in itertools.product([0.0, 1.0], repeat=8)]
    best = max(growth(W, a, D) for D in extremes)
    start = np.full((2, 4), 0.5)
    rng = np.random.default_rng(0)
    found = flipped(W, a, start, 0.0, 1.0, evaluations=300, enough=math.inf, deadline=math.inf, rng=rng)
    assert growth(W, a, found) == pytest.approx(best, rel=1e-9)
    # Nothing is lost without time.
    late = flipped(W, a, start, 0.0, 1.0, evaluations=300, enough=math.inf, deadline=0.0, rng=rng)
    np.testing.assert_array_equal(late, start)
