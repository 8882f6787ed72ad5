"""Gradient growth: against products in many digits, linear maps in closed form, and Lyapunov exponents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from naive_gated import naive_log_singular_values

from esntools.errors import InvalidInputError
from esntools.gated import GRU, LSTM
from esntools.gradients import GradientGrowth, gradient_growth
from esntools.maps import FunctionMap, Map
from esntools.network import EchoStateNetwork, Readout
from esntools.systems import lorenz63


def linear(W: Any, **parts: Any) -> EchoStateNetwork:
    return EchoStateNetwork(W, activation="identity", **parts)


def jacobians(
    system: Map, growth: GradientGrowth, row: int, h: int, u: Any, x: np.ndarray
) -> list[np.ndarray]:
    out = []
    for t in range(growth.starts[row] + h):
        v = None if u is None else u[t]
        if t >= growth.starts[row]:
            out.append(system.jacobian(x, v))
        x = system.step(x, v)
    return out


@pytest.mark.parametrize("kind", ["network", "gru", "lstm", "lorenz"])
def test_against_the_product_in_many_digits(kind: str) -> None:
    rng = np.random.default_rng(0)
    u: Any = rng.normal(size=(230, 2))
    system: Map
    if kind == "network":
        system = EchoStateNetwork(rng.normal(size=(5, 5)), W_in=rng.normal(size=(5, 2)), leak_rate=0.7)
    elif kind == "gru":
        system = GRU(rng.normal(size=(9, 2)), rng.normal(size=(9, 3)))
    elif kind == "lstm":
        system = LSTM(rng.normal(size=(8, 2)), rng.normal(size=(8, 2)))
    else:
        system, u = lorenz63().as_map(), None
    growth = gradient_growth(system, u, horizons=[1, 3, 120], n_starts=2, washout=100)
    x0 = lorenz63().as_map().x0 if kind == "lorenz" else np.zeros(system.n_units)
    for row in range(2):
        for column, h in enumerate(growth.horizons):
            wanted = naive_log_singular_values(jacobians(system, growth, row, int(h), u, x0), 500)
            np.testing.assert_allclose(growth.log_singular_values[row, column], wanted, atol=1e-8)


def test_singular_values_many_orders_of_magnitude_apart() -> None:
    """Known answer: W^h of a matrix that is not normal, 360 orders from first to last, in 1500 digits."""
    W = np.random.default_rng(1).normal(size=(4, 4))
    growth = gradient_growth(linear(W), horizons=[800], washout=0, n_starts=1, x0=np.zeros(4))
    wanted = naive_log_singular_values([W] * 800, 1500)
    assert wanted[0] - wanted[-1] > 300.0 * np.log(10.0)
    np.testing.assert_allclose(growth.log_singular_values[0, 0], wanted, rtol=1e-12)
    # Beyond the range of doubles on both sides.
    growth = gradient_growth(linear(np.diag([1e3, 1.0, 1e-3])), horizons=[200], washout=0, n_starts=2)
    np.testing.assert_allclose(
        growth.log_singular_values[0, 0], 600 * np.log(10) * np.array([1, 0, -1]), atol=1e-9
    )


def test_closed_forms() -> None:
    """Known answers: orthogonal W keeps every gradient; a leaky unit forgets with -1 / ln(1 - a)."""
    Q = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    growth = gradient_growth(linear(Q), n_starts=5)
    assert growth.kind == "steady"
    np.testing.assert_allclose(growth.log_singular_values, 0.0, atol=1e-12)
    a = np.array([0.05, 0.2, 0.5])
    growth = gradient_growth(EchoStateNetwork(np.zeros((3, 3)), leak_rate=a), dt=0.1, n_starts=3)
    assert (growth.kind, growth.unit, growth.dt) == ("vanishing", "1/time", 0.1)
    np.testing.assert_allclose(growth.rates, np.log(1.0 - a) / 0.1, rtol=1e-12)
    np.testing.assert_allclose(growth.time_constants, -0.1 / np.log(1.0 - a), rtol=1e-12)
    np.testing.assert_allclose(growth.exponents, np.tile(np.log(1.0 - a) / 0.1, (8, 1)), rtol=1e-12)
    # Symmetric: |eigenvalues|, whatever the input.
    S = np.random.default_rng(3).normal(size=(5, 5))
    S = S + S.T
    growth = gradient_growth(linear(S, W_in=np.ones((5, 1))), np.zeros(500), x0=np.zeros(5), n_starts=3)
    mu = np.sort(np.abs(np.linalg.eigvalsh(S)))[::-1]
    np.testing.assert_allclose(growth.rates, np.log(mu), atol=1e-12)
    assert growth.kind == "exploding"


def test_growth_that_happens_once_is_no_rate() -> None:
    # A Jordan block at 1/2: the gradient grows by 100 first and then vanishes.
    growth = gradient_growth(linear([[0.5, 100.0], [0.0, 0.5]]), horizons=[1, 100, 200])
    assert growth.exponents[0, 0] > 4.0
    assert growth.kind == "vanishing"
    # h (1/2)^(h - 1) from 100 to 200 steps.
    assert growth.rates[0] == pytest.approx(np.log(0.5) + np.log(2.0) / 100.0, abs=1e-4)


def test_a_direction_that_is_annihilated() -> None:
    growth = gradient_growth(linear([[0.9, 0.0], [1.0, 0.0]]), n_starts=3)
    assert np.all(np.isneginf(growth.log_singular_values[..., 1]))
    assert np.all(np.isfinite(growth.log_singular_values[..., 0]))
    assert growth.rates[1] == -np.inf
    assert growth.time_constants[1] == 0.0
    assert growth.time_constants[0] == pytest.approx(-1.0 / np.log(0.9))
    nothing = gradient_growth(linear(np.zeros((3, 3))), n_starts=3)
    assert np.all(np.isneginf(nothing.log_singular_values))
    assert nothing.kind == "vanishing"
    large = gradient_growth(linear(np.zeros((150, 150))), n_values=2, n_starts=2)
    assert np.all(np.isneginf(large.log_singular_values))
    for result in (growth, nothing, large):
        for name in ("log_quantiles", "exponents", "rates", "rate_interval", "time_constants"):
            assert not np.any(np.isnan(getattr(result, name)))


@pytest.mark.parametrize("form", ["dense", "sparse", "feedback", "map"])
def test_leading_values_of_a_large_network(form: str) -> None:
    """The power iteration against the whole product, for each way to multiply with the transpose."""
    import scipy.sparse

    rng = np.random.default_rng(4)
    n = 120
    W = 1.4 * rng.normal(size=(n, n)) / np.sqrt(n)
    parts: dict[str, Any] = {"leak_rate": 0.8, "b": 0.1}
    if form == "sparse":
        W = W * (rng.random((n, n)) < 0.2) * 5.0**0.5
    if form == "feedback":
        squares = 0.1 * rng.normal(size=(2, n))
        parts |= {
            "readout": Readout(rng.normal(size=(2, n)) / n, squares),
            "W_fb": rng.normal(size=(n, 2)) / n,
        }
    network = EchoStateNetwork(scipy.sparse.csr_array(W) if form == "sparse" else W, **parts)
    system: Map = network
    if form == "map":
        system = FunctionMap(network.step, network.jacobian, n)
    options: dict[str, Any] = {"horizons": [2, 16, 40, 80], "n_starts": 2, "x0": 0.1 * rng.normal(size=n)}
    some = gradient_growth(system, n_values=4, **options)
    every = gradient_growth(network, n_values=n, **options)
    assert some.note == ""
    np.testing.assert_allclose(some.log_singular_values, every.log_singular_values[..., :4], atol=1e-8)


def test_rates_are_lyapunov_exponents() -> None:
    # The logarithms of singular values over h tend to the exponents (Oseledets).
    lorenz = lorenz63().as_map(0.05)
    growth = gradient_growth(lorenz, horizons=[50, 200], n_starts=30, dt=lorenz.dt)
    assert growth.kind == "exploding"
    low, high = growth.rate_interval.T
    half = 0.5 * (high - low)
    assert np.all(np.abs(growth.rates - [0.9056, 0.0, -14.572]) < 2.0 * half + 1e-3)
    assert np.max(half) < 0.1
    assert growth.rates.sum() == pytest.approx(-(11.0 + 8.0 / 3.0), abs=1e-8)


def test_what_is_reported() -> None:
    rng = np.random.default_rng(5)
    network = EchoStateNetwork(rng.normal(size=(6, 6)), W_in=rng.normal(size=(6, 1)))
    u = rng.normal(size=300)
    growth = gradient_growth(network, u, n_values=2, n_starts=5, washout=40)
    assert list(growth.horizons) == [1, 2, 4, 8, 16, 32, 64, 128]
    assert growth.log_singular_values.shape == (5, 8, 2)
    assert growth.log_quantiles.shape == (5, 8, 2)
    assert np.all(np.diff(growth.log_quantiles, axis=0) >= 0.0)
    np.testing.assert_array_equal(growth.log_quantiles[2], np.median(growth.log_singular_values, axis=0))
    assert growth.starts[0] == 40
    assert growth.starts[-1] == 300 - 128
    assert "share steps" in growth.note
    # From n_steps = washout on: the last products end with the input.
    assert gradient_growth(network, u, horizons=[50], n_starts=6, washout=0).note == ""
    once = gradient_growth(network, u, n_starts=1)
    assert "no interval" in once.note
    assert once.kind == "undecided"
    again = gradient_growth(network, u, n_values=2, n_starts=5, washout=40)
    np.testing.assert_array_equal(growth.log_singular_values, again.log_singular_values)
    assert not growth.rates.flags.writeable


def test_progress_is_reported() -> None:
    seen: list[float] = []
    gradient_growth(linear([[0.5]]), n_starts=4, progress=lambda label, fraction: seen.append(fraction))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda: gradient_growth(linear([[0.5]]), n_starts=0), "n_starts: 0"),
        (lambda: gradient_growth(linear([[0.5]]), washout=-1), "washout: -1"),
        (lambda: gradient_growth(linear([[0.5]]), n_values=2), "n_values: 2"),
        (lambda: gradient_growth(linear([[0.5]]), horizons=[0]), "horizons"),
        (lambda: gradient_growth(linear([[0.5]]), horizons=[1.5]), "horizons"),
        (lambda: gradient_growth(linear([[0.5]]), horizons=[]), "horizons"),
        (lambda: gradient_growth(linear([[0.5]]), dt=0.0), "dt: 0"),
        (lambda: gradient_growth(linear([[0.5]]), np.zeros((9, 1))), "no inputs"),
        (lambda: gradient_growth(linear([[0.5]], W_in=[[1.0]])), "u: None"),
        (lambda: gradient_growth(linear([[0.5]], W_in=[[1.0]]), np.zeros((200, 2))), "u: shape"),
        (lambda: gradient_growth(linear([[0.5]], W_in=[[1.0]]), np.zeros((100, 1))), "washout: 100"),
        (
            lambda: gradient_growth(linear([[0.5]], W_in=[[1.0]]), np.zeros(150), horizons=[60]),
            "horizons: 60",
        ),
        (lambda: gradient_growth(linear([[0.5]]), x0=[1.0, 2.0]), "x0"),
        (lambda: gradient_growth(linear([[5.0]]), x0=[1.0]), "unbounded"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_input(call: Any, place: str) -> None:
    with pytest.raises(InvalidInputError, match=place):
        call()


def test_singular_jacobians_are_told() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    A = turn @ np.diag([0.9, 0.5, 0.0]) @ turn.T
    singular = FunctionMap(lambda x: x @ A.T, lambda x: A, 3)
    assert "singular values from number 3 on" in gradient_growth(singular, horizons=[1, 2, 4]).note
    assert not gradient_growth(singular, horizons=[1, 2, 4], n_values=2).note
