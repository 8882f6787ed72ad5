"""Lyapunov exponents: linear maps, Floquet multipliers, the Hénon map, the slow twin, and the error bars."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
from naive_dynamics import naive_lyapunov

from esntools.errors import InvalidInputError
from esntools.lyapunov import conditional_lyapunov_spectrum, kaplan_yorke_dimension, lyapunov_spectrum
from esntools.network import EchoStateNetwork, Readout


def henon() -> EchoStateNetwork:
    """x' = 1 - 1.4 x^2 + y, y' = 0.3 x."""
    return EchoStateNetwork(
        [[0.0, 1.0], [0.3, 0.0]], b=[1.0, 0.0], activation="identity",
        readout=Readout([[0.0, 0.0]], W_sq=[[-1.4, 0.0]]), W_fb=[[1.0], [0.0]],
    )  # fmt: skip


def test_linear_map_with_real_eigenvalues_is_exact() -> None:
    rng = np.random.default_rng(0)
    eigenvalues = np.array([0.9, -0.7, 0.5, 0.2, -0.05])
    T = np.linalg.qr(rng.standard_normal((5, 5)))[0] @ np.diag([1.0, 2.0, 0.7, 1.3, 0.4])
    W = T @ np.diag(eigenvalues) @ np.linalg.inv(T)
    result = lyapunov_spectrum(
        EchoStateNetwork(W, b=0.3, activation="identity"), n_exponents=5, n_steps=400, transient=400
    )
    np.testing.assert_allclose(result.exponents, np.log(np.abs(eigenvalues)), atol=1e-10)
    assert np.all(result.stderr < 1e-10)
    assert result.sum_rule_error is not None
    assert result.sum_rule_error < 1e-10
    leading = lyapunov_spectrum(
        EchoStateNetwork(W, b=0.3, activation="identity"), n_exponents=2, n_steps=400, transient=400
    )
    np.testing.assert_allclose(leading.exponents, np.log([0.9, 0.7]), atol=1e-10)
    assert leading.sum_rule_error is None


def test_leaky_linear_map() -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((4, 4))
    W = 0.4 * (A + A.T)
    a = np.array(0.3)
    result = lyapunov_spectrum(
        EchoStateNetwork(W, leak_rate=a, activation="identity"), n_exponents=4, n_steps=600, transient=3000
    )
    expected = np.log(np.abs(1.0 - a + a * np.linalg.eigvalsh(W)))
    np.testing.assert_allclose(result.exponents, np.sort(expected)[::-1], atol=1e-9)


def test_orthogonal_linear_map_has_zero_exponents() -> None:
    Q = np.linalg.qr(np.random.default_rng(2).standard_normal((30, 30)))[0]
    result = lyapunov_spectrum(
        EchoStateNetwork(Q, activation="identity"), n_exponents=30, n_steps=200, transient=20
    )
    np.testing.assert_allclose(result.exponents, 0.0, atol=1e-12)
    assert result.kaplan_yorke == 30.0
    assert "do not shrink" in result.kaplan_yorke_note


def test_exponents_of_rounding_size_are_zero() -> None:
    assert kaplan_yorke_dimension([-1e-17, -2e-17], rounding=1e-15)[0] == 2.0
    assert kaplan_yorke_dimension([-1e-17, -2e-17])[0] == 0.0


def test_leak_alone() -> None:
    result = lyapunov_spectrum(EchoStateNetwork(np.zeros((4, 4)), leak_rate=0.3), n_exponents=4, n_steps=100)
    np.testing.assert_allclose(result.exponents, math.log(0.7), atol=1e-13)
    assert result.kaplan_yorke == 0.0


def test_a_map_that_forgets_at_once() -> None:
    result = lyapunov_spectrum(EchoStateNetwork(np.zeros((4, 4))), n_exponents=2, n_steps=100)
    assert np.all(np.isneginf(result.exponents))
    assert np.all(result.stderr == 0.0)
    assert result.kaplan_yorke == 0.0


def test_order_of_the_jacobian_product_by_a_drive_of_period_3() -> None:
    """The reversed product has other eigenvalues: a published code multiplies in that order."""
    rng = np.random.default_rng(11)
    network = EchoStateNetwork(0.7 * rng.standard_normal((4, 4)), W_in=rng.standard_normal((4, 1)))
    period = np.array([[1.0], [-0.4], [0.2]])
    u = np.tile(period, (400, 1))
    result = conditional_lyapunov_spectrum(network, u, n_exponents=4, washout=600)
    x = np.zeros(4)
    for v in u[:600]:
        x = network.step(x, v)
    product, reverse = np.eye(4), np.eye(4)
    for v in period:
        J = network.jacobian(x, v)
        product, reverse = J @ product, reverse @ J
        x = network.step(x, v)

    def floquet(P: np.ndarray) -> np.ndarray:
        return np.sort(np.log(np.abs(np.linalg.eigvals(P))))[::-1] / 3.0

    assert np.max(np.abs(floquet(product) - floquet(reverse))) > 5e-3
    np.testing.assert_allclose(result.exponents, floquet(product), atol=1e-9)
    assert result.kind == "conditional"
    assert result.kaplan_yorke is None


def test_henon_map() -> None:
    result = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents=2, n_steps=20000)
    assert result.exponents[0] == pytest.approx(0.41922, abs=4e-3)
    assert result.interval[0, 0] < 0.41922 < result.interval[0, 1]
    assert result.exponents.sum() == pytest.approx(math.log(0.3), abs=1e-9)
    assert result.kaplan_yorke == pytest.approx(1.2583, abs=3e-3)
    assert result.sum_rule_error is not None
    assert result.sum_rule_error < 1e-7


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("leak", [1.0, 0.4])
def test_closed_loop_equals_the_slow_twin(sparse: bool, leak: float) -> None:
    rng = np.random.default_rng(4)
    n, k = 25, 4
    W = 1.6 * rng.standard_normal((n, n)) / 5.0
    W[rng.random((n, n)) < 0.5] = 0.0
    readout = Readout(0.3 * rng.standard_normal((2, n)), 0.3 * rng.standard_normal((2, n)), [0.1, -0.2])
    network = EchoStateNetwork(
        scipy.sparse.csr_array(W) if sparse else W, W_in=rng.uniform(-1, 1, (n, 2)), leak_rate=leak,
        readout=readout, b=0.1 * rng.standard_normal(n),
    ).closed_loop()  # fmt: skip
    x = 0.1 * rng.standard_normal(n)
    result = lyapunov_spectrum(network, x, n_exponents=k, n_steps=60, transient=20, rng=7)
    # The same start and frame: 10 steps of the state, 10 with the frame, then the average. Not many more:
    # the network is chaotic, and rounding would drive the two apart.
    for _ in range(10):
        x = network.step(x)
    Q = np.linalg.qr(np.random.default_rng(7).standard_normal((n, k)))[0]
    for _ in range(10):
        J, x = network.jacobian(x), network.step(x)
        Q = np.linalg.qr(J @ Q)[0]
    naive = naive_lyapunov(network, [np.zeros(0)] * 60, x, Q)
    np.testing.assert_allclose(result.exponents, np.sort(naive)[::-1], atol=1e-8)
    np.testing.assert_allclose(result.batch_means.mean(axis=0), result.exponents, atol=1e-12)


def test_units_and_interval() -> None:
    per_step = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents=1, n_steps=2000)
    per_time = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents=1, n_steps=2000, dt=0.05)
    assert (per_step.unit, per_step.dt, per_time.unit, per_time.dt) == ("1/step", None, "1/time", 0.05)
    np.testing.assert_allclose(per_time.exponents, per_step.exponents / 0.05)
    np.testing.assert_allclose(per_time.interval, per_step.interval / 0.05)
    half = 2.0930240544 * per_step.stderr
    np.testing.assert_allclose(per_step.interval[:, 1] - per_step.exponents, half)
    assert "ask for more" in per_step.kaplan_yorke_note


def test_conditional_exponent_of_a_linear_network_does_not_depend_on_the_input() -> None:
    u = np.random.default_rng(5).standard_normal((500, 2))
    network = EchoStateNetwork(np.diag([0.8, 0.3]), W_in=np.eye(2), leak_rate=0.5, activation="identity")
    result = conditional_lyapunov_spectrum(network, u, n_exponents=2, dt=0.1)
    np.testing.assert_allclose(result.exponents, np.log([0.9, 0.65]) / 0.1, atol=1e-9)
    assert result.n_steps == 450


def test_kaplan_yorke_corner_cases() -> None:
    assert kaplan_yorke_dimension([-14.572, 0.9056, 0.0])[0] == pytest.approx(2.06215, abs=1e-4)
    assert kaplan_yorke_dimension([-0.1, -0.2]) == (0.0, "")
    assert kaplan_yorke_dimension([0.0, -0.2])[0] == 1.0
    assert kaplan_yorke_dimension([0.3, -0.1], 2)[0] == 2.0
    assert "shrink" in kaplan_yorke_dimension([0.3, -0.1], 2)[1]
    assert "ask for more" in kaplan_yorke_dimension([0.3, -0.1], 9)[1]
    assert kaplan_yorke_dimension([0.3, -np.inf])[0] == 1.0
    assert kaplan_yorke_dimension([np.nan])[0] is None


def test_misuse_is_refused() -> None:
    driven = EchoStateNetwork([[0.5]], W_in=[[1.0]])
    with pytest.raises(InvalidInputError, match="conditional_lyapunov_spectrum"):
        lyapunov_spectrum(driven)
    with pytest.raises(InvalidInputError, match="no inputs"):
        conditional_lyapunov_spectrum(EchoStateNetwork([[0.5]]), np.zeros((100, 0)))
    with pytest.raises(InvalidInputError, match="n_exponents"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), n_exponents=2)
    with pytest.raises(InvalidInputError, match="n_steps"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), n_exponents=1, n_steps=0)
    with pytest.raises(InvalidInputError, match="washout"):
        conditional_lyapunov_spectrum(driven, np.zeros((50, 1)), washout=60)
    with pytest.raises(InvalidInputError, match="n_steps, 1"):
        conditional_lyapunov_spectrum(driven, np.zeros((50, 2)))
    with pytest.raises(InvalidInputError, match=r"u\[3, 0\]"):
        conditional_lyapunov_spectrum(driven, np.where(np.arange(50) == 3, np.nan, 0.0)[:, None])
    with pytest.raises(InvalidInputError, match="dt"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), n_exponents=1, dt=0.0)
    with pytest.raises(InvalidInputError, match="x0"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), [np.nan], n_exponents=1)
    with pytest.raises(InvalidInputError, match="overflows at step"):
        lyapunov_spectrum(EchoStateNetwork([[3.0]], activation="identity"), n_exponents=1, n_steps=5000)


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "expected"), [(1.5, 0.065217), (2.0, 0.154724)])
def test_random_networks_agree_with_mean_field_theory(gain: float, expected: float) -> None:
    """lambda_1 = 0.5 ln(g^2 <sech^4>) in the limit of many units."""
    found = []
    for seed in range(3):
        W = gain * np.random.default_rng(seed).standard_normal((800, 800)) / np.sqrt(800)
        found.append(lyapunov_spectrum(EchoStateNetwork(W), n_exponents=1, n_steps=2000).exponents[0])
    assert np.mean(found) == pytest.approx(expected, abs=0.012)


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents=1, n_steps=400_000).exponents[0]
    assert truth == pytest.approx(0.41922, abs=1e-3)
    rng, covered, runs = np.random.default_rng(6), 0, 200
    for _ in range(runs):
        result = lyapunov_spectrum(henon(), rng.uniform(0.0, 0.1, 2), n_exponents=1, n_steps=2000)
        covered += bool(result.interval[0, 0] < truth < result.interval[0, 1])
    assert 0.90 <= covered / runs <= 0.99
