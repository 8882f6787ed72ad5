"""Memory curves against closed forms and exact arithmetic; reservoirs against the property in their name."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from esntools.errors import InvalidInputError
from esntools.memory import leak_time_constants, linear_memory_curve, memory_capacity, time_constants
from esntools.network import EchoStateNetwork
from esntools.reservoirs import (
    delay_line_weights,
    norm_constrained_weights,
    orthogonal_weights,
    ring_weights,
)


def linear(W: np.ndarray, W_in: np.ndarray, **more: object) -> EchoStateNetwork:
    return EchoStateNetwork(W, W_in, activation="identity", **more)  # type: ignore[arg-type]


def slow_memory_curve(J: np.ndarray, v: np.ndarray, n_delays: int) -> np.ndarray:
    """The textbook formula, m(i) = (J^i v)' C^-1 J^i v, with 60 digits and a sum run to its end."""
    with mpmath.workdps(60):
        n = len(v)
        matrix, power = mpmath.matrix(J.tolist()), mpmath.matrix(v.tolist())
        C = mpmath.zeros(n)
        powers = []
        while len(powers) < n_delays or mpmath.norm(power) > mpmath.mpf(10) ** -55:
            powers.append(power)
            C += power * power.T
            power = matrix * power
        return np.array([float((p.T * mpmath.lu_solve(C, p))[0]) for p in powers[:n_delays]])


@pytest.mark.parametrize(("n", "leak", "seed"), [(3, 1.0, 1), (8, 0.4, 2), (16, 1.0, 3)])
def test_linear_curve_equals_the_textbook_formula_in_exact_arithmetic(n: int, leak: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    W = 0.6 * generator.standard_normal((n, n)) / np.sqrt(n)
    network = linear(W, generator.standard_normal((n, 1)), leak_rate=leak)
    found = linear_memory_curve(network, 2 * n)
    expected = slow_memory_curve(network.jacobian(np.zeros(n), [0.0]), leak * network.W_in[:, 0], 2 * n)
    np.testing.assert_allclose(found.curve, expected, atol=1e-11)
    assert found.reached == n


def test_the_curve_of_a_hundred_units_sums_to_a_hundred() -> None:
    """Where the textbook formula in double precision is lost: its Gram matrix has condition number 1e30."""
    generator = np.random.default_rng(5)
    W = 0.9 * generator.standard_normal((100, 100)) / 10.0
    found = linear_memory_curve(linear(W, generator.standard_normal((100, 1))), 2000)
    assert abs(found.curve.sum() - 100.0) < 1e-9
    assert found.total == 100.0
    assert np.all(found.curve <= 1.0 + 1e-12)


def test_slow_units_remember_in_closed_form() -> None:
    """Diagonal J with one eigenvalue: m(i) = (1 - l^2) l^(2i); the same for any number of equal units."""
    i = np.arange(20)
    for n in (1, 4):
        found = linear_memory_curve(linear(0.8 * np.eye(n), np.ones((n, 1))), 20)
        np.testing.assert_allclose(found.curve, 0.36 * 0.64**i, atol=1e-14)
        assert found.reached == 1


def test_ring_and_orthogonal_reservoirs_remember_by_periods() -> None:
    """W'W = g^2 I, one input unit: m(i) = (1 - g^(2n)) g^(2n floor(i / n)) for a ring."""
    n, g = 12, 0.9
    found = linear_memory_curve(linear(ring_weights(n, gain=g), np.eye(n)[:, :1]), 3 * n)
    block = np.arange(3 * n) // n
    np.testing.assert_allclose(found.curve, (1.0 - g ** (2 * n)) * g ** (2.0 * n * block), atol=1e-12)


def test_measured_capacity_agrees_with_the_exact_curve() -> None:
    network = linear(
        orthogonal_weights(15, gain=0.9, rng=3), np.random.default_rng(4).standard_normal((15, 1))
    )
    measured = memory_capacity(network, 40, n_steps=20000, rng=6)
    exact = linear_memory_curve(network, 40)
    np.testing.assert_allclose(measured.curve, exact.curve, atol=0.03)
    assert measured.n_directions == 15


def test_what_is_forgotten_is_not_counted() -> None:
    """A delay line of 5 units knows 5 inputs and nothing of the others: exactly 5, whatever is asked for."""
    network = linear(delay_line_weights(5), np.eye(5)[:, :1])
    measured = memory_capacity(network, 60, n_steps=2000)
    assert measured.counted.sum() == 5
    assert abs(measured.total - 5.0) < 1e-10
    assert 0.2 * measured.chance < measured.curve[5:].mean() < 5.0 * measured.chance


def test_saturation_costs_memory() -> None:
    W, W_in = orthogonal_weights(30, gain=0.95, rng=1), np.random.default_rng(2).standard_normal((30, 1))
    totals = [memory_capacity(EchoStateNetwork(W, s * W_in), amplitude=1.0).total for s in (0.01, 1.0, 10.0)]
    assert totals[0] > totals[1] > totals[2]


@pytest.mark.parametrize("symmetric", [False, True])
def test_norms_and_decay_are_as_asked(symmetric: bool) -> None:
    W = norm_constrained_weights(20, norm=0.7, decay=0.01, symmetric=symmetric, rng=0)
    np.testing.assert_allclose(
        np.linalg.svd(W, compute_uv=False), 0.7 * 0.01 ** (np.arange(20) / 19), rtol=1e-10
    )
    assert np.array_equal(W, W.T) == symmetric


def test_orthogonal_weights_are_uniform() -> None:
    """Of a Haar matrix the trace has mean 0 and variance 1, and no entry prefers a sign."""
    drawn = np.array([orthogonal_weights(4, rng=s) for s in range(2000)])
    traces = np.trace(drawn, axis1=1, axis2=2)
    assert abs(traces.mean()) < 4.0 / np.sqrt(2000)
    assert abs(traces.var() - 1.0) < 0.2
    assert np.all(np.abs(drawn.mean(axis=0)) < 4.5 * 0.5 / np.sqrt(2000))


def test_a_delay_line_forgets_at_any_gain() -> None:
    network = EchoStateNetwork(delay_line_weights(6, gain=5.0))
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 6))
    for _ in range(6):
        x = network.step(x)
    assert np.all(x[0] == x[1])


def test_time_constants_in_closed_form() -> None:
    network = EchoStateNetwork(np.diag([0.5, -0.9]), leak_rate=0.5)
    modes = time_constants(network, dt=0.1)
    np.testing.assert_allclose(modes.multipliers, [0.75, 0.05])
    np.testing.assert_allclose(modes.decay_times, -0.1 / np.log([0.75, 0.05]))
    assert np.all(np.isinf(modes.periods))
    assert modes.unit == "time"
    flipping = time_constants(EchoStateNetwork([[-0.9]]))
    np.testing.assert_allclose(flipping.periods, [2.0])
    np.testing.assert_allclose(leak_time_constants(network), -1.0 / np.log(0.5) * np.ones(2))


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda n: linear_memory_curve(n, 0), "n_delays"),
        (lambda n: linear_memory_curve(n, input_index=1), "input_index"),
        (lambda n: linear_memory_curve(EchoStateNetwork([[1.2]], [[1.0]])), "1.2"),
        (lambda n: linear_memory_curve(EchoStateNetwork([[0.5]], [[0.0]])), "W_in"),
        (lambda n: memory_capacity(n, n_steps=2), "n_steps"),
        (lambda n: memory_capacity(n, washout=-1), "washout"),
        (lambda n: memory_capacity(n, amplitude=np.nan), "amplitude"),
        (lambda n: memory_capacity(n.at_input([0.0])), "input_index"),
        (lambda n: time_constants(n, dt=0.0), "dt"),
        (lambda n: orthogonal_weights(0), "n_units"),
        (lambda n: norm_constrained_weights(3, decay=0.0), "decay"),
        (lambda n: ring_weights(3, gain=np.inf), "gain"),
    ],
)
def test_misuse_is_refused(call: object, place: str) -> None:
    with pytest.raises(InvalidInputError, match=place):
        call(EchoStateNetwork(0.5 * np.eye(3), np.ones((3, 1))))  # type: ignore[operator]
