"""Periodic orbits: closed forms, published counts, exhaustive twins, and what the audit says and does not."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from naive_orbits import (
    naive_cyclic,
    naive_iterate,
    naive_jacobian,
    naive_periodic_points,
    piecewise_linear_points,
)

from esntools.errors import InvalidInputError
from esntools.gated import GRU
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout
from esntools.orbits import PeriodicOrbits, find_periodic_orbits, refine_orbit
from esntools.orbits.seeds import beside_flips, orthogonal_choices
from esntools.orbits.shooting import Shooting, newton, solve_cyclic
from esntools.simulation import drive

#: m = tanh(1.5 m).
M15 = 0.8585596366401103


def logistic(r: float) -> FunctionMap:
    return FunctionMap(
        lambda x: r * x * (1.0 - x), lambda x: (r * (1.0 - 2.0 * x))[:, None], 1, state_bounds=(0.0, 1.0)
    )


def henon() -> FunctionMap:
    return FunctionMap(
        lambda x: np.stack([1.0 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], axis=-1),
        lambda x: np.array([[-2.8 * x[0], 1.0], [0.3, 0.0]]), 2,
    )  # fmt: skip


def ring_of_blocks(block: int, sign: float, noise: float = 0.0) -> EchoStateNetwork:
    """Three bistable blocks, each the drive of the next: m_(i+1) <- tanh(1.5 m_i), the last one with `sign`.

    F^3 (sign 1) or F^6 (sign -1) leaves the blocks uncoupled, with the 27 fixed points of three neurons.
    """
    ring = np.roll(np.eye(3), 1, axis=0)
    ring[0] *= sign
    W = np.kron(ring, np.full((block, block), 1.5 / block))
    n = 3 * block
    return EchoStateNetwork(W + noise * np.random.default_rng(0).standard_normal((n, n)) / np.sqrt(n))


def cycle_network(leak_rate: float) -> EchoStateNetwork:
    """The discrete-time excitable network of the directed 3-cycle."""
    p, b, c, theta, epsilon = 0.29, 0.6, 1.4, 0.5, 0.05
    W = np.full((3, 3), -c) + (1.0 + c) * np.eye(3)
    for j in range(3):
        W[(j + 1) % 3, j], W[j, (j + 1) % 3] = p - b, -2.0 * c - (p - b)
    return EchoStateNetwork(W / epsilon, b=(b - theta) / epsilon, leak_rate=leak_rate, activation="logistic")


def check_orbits(system: Any, found: PeriodicOrbits, tol: float = 1e-12) -> None:
    """Everything that the listed orbits and their sum claim, again from their states."""
    p = found.period
    total = count = 0
    points: list[np.ndarray] = []
    for o in (*found.orbits, *found.divisor_orbits):
        d = o.period
        assert p % d == 0
        scale = max(1.0, np.max(np.abs(o.states)))
        for j in range(d):
            u = o.u[j] if system.n_inputs else None
            assert np.max(np.abs(system.step(o.states[j - 1], u) - o.states[j])) <= tol * scale
        assert o.residual <= tol * scale
        M = np.eye(system.n_units)
        for j in range(d):
            M = system.jacobian(o.states[j - 1], o.u[j] if system.n_inputs else None) @ M
        modulus = np.sort(np.abs(np.linalg.eigvals(M)))[::-1]
        assert np.max(np.abs(M)) < 1e5
        np.testing.assert_allclose(np.abs(o.multipliers), modulus[: len(o.multipliers)], rtol=1e-6, atol=1e-7)
        if o.hyperbolic:
            assert o.stable == (modulus[0] < 1.0)
            assert o.n_unstable == np.sum(modulus > 1.0)
        for k in (1, 2, 3, p // d):
            power = np.linalg.matrix_power(M, k)
            if o.index_of_iterate(k):
                assert o.index_of_iterate(k) == np.sign(np.linalg.det(np.eye(len(M)) - power))
        assert o.index_of_iterate(1) == o.index
        shift = next(
            q for q in range(1, d + 1) if d % q == 0 and np.array_equal(np.roll(o.u, q, axis=0), o.u)
        )
        for s in range(0, d, shift):
            points.append(o.states[s - 1])
        total += d // shift * o.index_of_iterate(p // d)
        count += d // shift
    assert found.index_sum == total
    assert found.n_fixed_points == count == len(points)
    for x, y in itertools.combinations(points, 2):
        assert np.max(np.abs(x - y)) > 1e-8
    assert all(o.period == p for o in found)
    if found.audit == "passed":
        assert total == 1


# -- known answers ---------------------------------------------------------------------------------------


def test_one_neuron_of_negative_weight_has_its_two_cycle() -> None:
    network = EchoStateNetwork([[-2.0]])
    found = find_periodic_orbits(network, 2)
    m = 0.9575040240772688
    assert len(found) == 1
    np.testing.assert_allclose(found[0].states, [[-m], [m]], atol=1e-12)
    assert found[0].multipliers[0] == pytest.approx((2.0 * (1.0 - m * m)) ** 2, abs=1e-12)
    # The origin has flipped: its index under F^2 is -1, and two points of +1 make the sum up.
    assert found.divisor_orbits[0].multipliers[0] == pytest.approx(-2.0)
    assert (found.divisor_orbits[0].index, found.divisor_orbits[0].index_of_iterate(2)) == (1, -1)
    assert (found.n_fixed_points, found.index_sum, found.audit) == (3, 1, "passed")
    check_orbits(network, found)


def test_three_cycle_of_the_logistic_map_at_its_tangency() -> None:
    found = find_periodic_orbits(logistic(1.0 + np.sqrt(8.0)), 3, n_starts=8)
    assert len(found) == 1
    # A double root: its place is known to the square root of the rounding error.
    np.testing.assert_allclose(found[0].states[:, 0], [0.1599288, 0.5143553, 0.9563178], atol=1e-7)
    assert not found[0].hyperbolic
    assert found[0].index == 0
    assert found.audit == "not applicable"
    assert "too near 1" in found.audit_reason


@pytest.mark.parametrize("below", [1e-3, 1e-7])
def test_a_slow_passage_is_no_orbit(below: float) -> None:
    # Before the tangency F^3 comes as near to the diagonal as one likes, and nothing closes.
    found = find_periodic_orbits(logistic(1.0 + np.sqrt(8.0) - below), 3, n_starts=32)
    assert len(found) == 0
    # Nor is it one where the tolerance is wider than the gap: Newton's method says how far off it is.
    for tol in (1e-12, 1e-6):
        guess = [[0.1599288], [0.5143553], [0.9563178]]
        assert refine_orbit(logistic(1.0 + np.sqrt(8.0) - below), guess, tol=tol) is None


@pytest.mark.parametrize("p", [1, 2, 3, 4, 5, 6])
def test_logistic_map_at_four_has_its_closed_form_points(p: int) -> None:
    found = find_periodic_orbits(logistic(4.0), p, n_starts=48)
    k = np.arange(2**p)
    true = np.concatenate([np.sin(np.pi * k / (2**p - 1)) ** 2, np.sin(np.pi * k / (2**p + 1)) ** 2])
    true = np.unique(np.round(true, 9))
    points = np.concatenate([o.states.ravel() for o in (*found.orbits, *found.divisor_orbits)])
    assert found.n_fixed_points == 2**p
    np.testing.assert_allclose(np.sort(points), true, atol=2e-9)
    # |multiplier| = 2^p, except at the origin.
    for o in found:
        if p > 1 or o.states[0, 0] > 0.5:
            assert abs(o.multipliers[0]) == pytest.approx(2.0**p, rel=1e-6)
    # The origin lies on the boundary of [0, 1] and sends its neighbours outside away: no theorem.
    assert found.audit == "not applicable"
    assert "boundary" in found.audit_reason


@pytest.mark.parametrize("p", [20, 60])
def test_long_orbit_of_the_logistic_map(p: int) -> None:
    # sin^2 of the angles k 2^j / (2^p - 1); the product of the derivatives is 2^60, beyond its digits.
    k, m = 0x69963CC35A9D2B7 % (2**p - 1), 2**p - 1
    true = np.array([np.sin(np.pi * (k * 2**j % m) / m) ** 2 for j in range(p)])
    guess = true + 1e-3 * np.random.default_rng(0).uniform(-1.0, 1.0, p)
    orbit = refine_orbit(logistic(4.0), guess[:, None])
    assert orbit is not None
    np.testing.assert_allclose(orbit.states[:, 0], true, atol=1e-12)
    assert abs(orbit.multipliers[0]) == pytest.approx(2.0**p, rel=1e-9)
    assert orbit.hyperbolic


def test_small_multipliers_do_not_drown_in_large_ones() -> None:
    # A block-triangular chain of independent maps: |4 - 8 x| of the first, constants of the others.
    p, r = 40, logistic(4.0)
    mix = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]

    def slopes(x: np.ndarray) -> np.ndarray:
        return mix @ np.diag([4.0 - 8.0 * (mix.T @ x)[0], -0.9, 0.1]) @ mix.T

    def step(x: np.ndarray) -> np.ndarray:
        y = x @ mix
        return np.stack([4.0 * y[..., 0] * (1.0 - y[..., 0]), -0.9 * y[..., 1], 0.1 * y[..., 2]], -1) @ mix.T

    m = 2**p - 1
    first = np.array([np.sin(np.pi * (0x6996A5C33B * 2**j % m) / m) ** 2 for j in range(p)])
    assert np.max(np.abs(r.step(first[:, None])[:-1, 0] - first[1:])) < 1e-12
    orbit = refine_orbit(FunctionMap(step, slopes, 3), first[:, None] * mix[:, 0])
    assert orbit is not None
    assert orbit.hyperbolic
    np.testing.assert_allclose(np.abs(orbit.multipliers), [2.0**p, 0.9**p, 0.1**p], rtol=1e-6)


HENON = {1: 2, 2: 4, 3: 2, 4: 8, 5: 2, 6: 16, 7: 30, 8: 64, 9: 56, 10: 104}


@pytest.mark.parametrize("p", range(1, 8))
def test_henon_map_has_the_known_number_of_periodic_points(p: int) -> None:
    system = henon()
    found = find_periodic_orbits(system, p, n_starts=32)
    assert found.n_fixed_points == HENON[p]
    assert found.audit == "not applicable"
    check_orbits(system, found)
    for o in found:
        # |det J| = 0.3 at every step.
        assert np.prod(o.multipliers).real == pytest.approx((-0.3) ** p, rel=1e-6)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("p", [8, 9, 10])
def test_henon_map_longer_orbits(p: int) -> None:
    found = find_periodic_orbits(henon(), p, n_starts=256)
    assert found.n_fixed_points == HENON[p]


# The test system of SCYFI (L. Eisenmann, Z. Monfared, N. Goering, D. Durstewitz, NeurIPS 2023), a shallow
# piecewise linear network with 2 units and 10 hidden ones, to four decimals.
SCYFI = {
    "a": [0.6172, 0.5261],
    "W1": [
        [-1.0223, -0.6069, 0.0055, -0.6766, 0.1767, -0.3724, -0.2800, 1.6336, 0.7388, 0.4366],
        [-0.2303, -0.1552, 1.1743, 1.4693, -1.1412, 0.1194, 0.6193, 0.0395, -0.9179, -0.1216],
    ],
    "W2": [
        [1.7539, -0.6926], [-0.4530, -0.5366], [0.0798, -0.4865], [-1.0455, -0.2299], [0.0484, 0.8959],
        [-1.0545, 0.5685], [-0.4383, -2.1955], [-0.8981, -0.6455], [0.6162, -0.8645], [-1.2236, -2.0599],
    ],
    "h1": [-0.5481, -0.2923],
    "h2": [0.5353, -1.1100, -1.3146, 0.2748, -1.4155, 0.7891, -0.1308, -0.4065, -0.9383, -0.9983],
}  # fmt: skip


def scyfi_system() -> tuple[FunctionMap, tuple[np.ndarray, ...]]:
    a, W1, W2, h1, h2 = parts = tuple(np.array(SCYFI[name]) for name in ("a", "W1", "W2", "h1", "h2"))
    system = FunctionMap(
        lambda z: a * z + np.maximum(z @ W2.T + h2, 0.0) @ W1.T + h1,
        lambda z: np.diag(a) + W1 @ ((W2 @ z + h2 > 0.0)[:, None] * W2), 2,
    )  # fmt: skip
    return system, parts


@pytest.mark.parametrize(("p", "n_orbits"), [(1, 0), (2, 2), (3, 0), (4, 1), (5, 0)])
def test_published_piecewise_linear_network(p: int, n_orbits: int) -> None:
    system, parts = scyfi_system()
    found = find_periodic_orbits(system, p, n_starts=32)
    assert len(found) == n_orbits
    assert found.audit == "not applicable"
    check_orbits(system, found)
    if p <= 3:
        exact = np.array(piecewise_linear_points(*parts, p)).reshape(-1, 2)
        points = np.concatenate([np.empty((0, 2)), *(o.states for o in (*found, *found.divisor_orbits))])
        assert len(points) == len(exact)
        for x in exact:
            assert np.min(np.max(np.abs(points - x), axis=1)) < 1e-9


@pytest.mark.slow
@pytest.mark.ci
def test_published_piecewise_linear_network_has_no_six_cycle_and_all_four_cycles() -> None:
    system, parts = scyfi_system()
    assert len(find_periodic_orbits(system, 6)) == 0
    # 56^4 sequences of regions: every one of them.
    exact = piecewise_linear_points(*parts, 4)
    assert len(exact) == find_periodic_orbits(system, 4).n_fixed_points == 8


@pytest.mark.parametrize(
    ("sign", "p", "orbits"), [(1.0, 3, {0: 2, 1: 4, 2: 2}), (-1.0, 6, {0: 1, 1: 2, 2: 1})]
)
@pytest.mark.parametrize(("block", "noise"), [(1, 0.0), (9, 0.1)])
def test_ring_of_blocks(sign: float, p: int, orbits: dict[int, int], block: int, noise: float) -> None:
    network = ring_of_blocks(block, sign, noise)
    found = find_periodic_orbits(network, p, n_starts=32)
    assert found.n_fixed_points == 27
    assert (found.index_sum, found.audit) == (1, "passed")
    assert Counter(o.n_unstable for o in found) == orbits
    check_orbits(network, found)
    if noise == 0.0:
        for o in found:
            assert np.allclose(np.abs(o.states), M15 * (np.abs(o.states) > 0.1), atol=1e-12)
    # The sum flags every single orbit left out.
    for o in (*found, *found.divisor_orbits):
        assert found.index_sum - o.period * o.index_of_iterate(p // o.period) != 1


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("block", [33, 167])
def test_large_ring_of_blocks(block: int) -> None:
    network = ring_of_blocks(block, 1.0, 0.1)
    found = find_periodic_orbits(network, 3)
    assert Counter(o.n_unstable for o in found) == {0: 2, 1: 4, 2: 2}
    assert (found.n_fixed_points, found.index_sum, found.audit) == (27, 1, "passed")
    check_orbits(network, found)


def test_stored_sequence_is_a_stable_cycle_of_500_units() -> None:
    rng = np.random.default_rng(0)
    # Orthogonal patterns: the overlap m obeys m <- mean(tanh(2 m xi^2)) = tanh(2 m) exactly.
    pattern = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=float)
    pattern = np.tile(pattern, 125)[:, rng.permutation(500)]
    network = EchoStateNetwork(2.0 / 500 * np.roll(pattern, -1, axis=0).T @ pattern)
    orbit = refine_orbit(network, 0.8 * pattern, n_multipliers=4)
    assert orbit is not None
    np.testing.assert_allclose(orbit.states, 0.9575040240772688 * pattern, atol=1e-12)
    assert orbit.stable
    slope = 2.0 * (1.0 - 0.9575040240772688**2)
    np.testing.assert_allclose(np.abs(orbit.multipliers[:4]), slope**4, rtol=1e-6)


def test_excitable_network_without_leak_has_its_two_cycle_attractor() -> None:
    found = find_periodic_orbits(cycle_network(1.0), 2, n_starts=32)
    assert len(found) == len(found.stable) == 1
    np.testing.assert_allclose(found[0].states, [[0.0] * 3, [0.8808] * 3], atol=1e-4)
    assert 1e-14 < found[0].states[0, 0] < 1e-12
    assert len(found.divisor_orbits) == 7
    assert found.audit == "passed"
    for leak_rate in (0.9, 0.25):
        assert len(find_periodic_orbits(cycle_network(leak_rate), 2, n_starts=32).stable) == 0


# -- against the slow twin -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "gain", "leak", "p"), [(1, -3.0, 0.8, 2), (2, 3.0, 1.0, 3), (3, 2.5, 1.0, 4)])
@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_the_slow_twin_finds_is_missing(
    n: int, gain: float, leak: float, p: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    network = EchoStateNetwork(
        gain * rng.standard_normal((n, n)) / np.sqrt(n), b=0.3 * rng.standard_normal(n), leak_rate=leak
    )
    found = find_periodic_orbits(network, p, n_starts=32)
    check_orbits(network, found)
    assert found.audit == "passed"
    points = np.concatenate([o.states for o in (*found, *found.divisor_orbits)])
    for x in naive_periodic_points(network, None, p, rng.uniform(-1.0, 1.0, (40, n))):
        assert np.min(np.max(np.abs(points - x), axis=1)) < 1e-6


@pytest.mark.parametrize("p", [2, 4])
def test_periodic_input(p: int) -> None:
    network = EchoStateNetwork(np.diag([0.5, 1.75]), W_in=np.eye(2), leak_rate=0.25)
    u = np.array([[0.25, 0.05], [-0.25, -0.1]])
    found = find_periodic_orbits(network, p, u, n_starts=48)
    check_orbits(network, found)
    assert found.audit == "passed"
    responses = found.orbits if p == 2 else found.divisor_orbits
    assert [o.stable for o in responses] == [True, True, False]
    assert len(found.divisor_orbits) == (0 if p == 2 else 3)
    true = naive_periodic_points(network, list(u), 2, np.random.default_rng(0).uniform(-1, 1, (20, 2)))
    assert len(true) == 3
    for x in true:
        assert min(np.max(np.abs(o.states[1] - x)) for o in responses) < 1e-9
    # A driven run that starts on the orbit stays there, and the rows are those of a Trajectory.
    o = responses[0]
    run = drive(network, np.tile(u, (3, 1)), o.states[1])
    np.testing.assert_allclose(run.states, np.tile(o.states, (3, 1)), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_gated_cells_have_no_false_points(seed: int) -> None:
    # Where an update gate is saturated every state is one to rounding: the indices would not sum to 1.
    rng, n = np.random.default_rng(seed), 4
    cell = GRU(
        np.zeros((3 * n, 0)), 1.5 * rng.standard_normal((3 * n, n)), rng.standard_normal(3 * n),
        rng.standard_normal(3 * n),
    )  # fmt: skip
    found = find_periodic_orbits(cell, 2, n_starts=24)
    check_orbits(cell, found)
    assert (found.index_sum, found.audit) == (1, "passed")
    assert all(np.max(np.abs(o.states)) <= 1.0 for o in (*found, *found.divisor_orbits))


def test_closed_gates_say_nothing() -> None:
    # An update gate at 1 to rounding: every state stays where it is, and none is listed.
    rng, n = np.random.default_rng(0), 3
    b = np.concatenate([np.zeros(n), np.full(n, 60.0), np.zeros(n)])
    cell = GRU(np.zeros((3 * n, 0)), rng.standard_normal((3 * n, n)), b, np.zeros(3 * n))
    found = find_periodic_orbits(cell, 1, n_starts=8)
    assert (len(found), found.index_sum, found.audit) == (0, 0, "failed")
    assert refine_orbit(cell, np.full((1, n), 0.3)) is None


@pytest.mark.parametrize("bias", [5.0, 15.0, 20.0])
def test_nearly_closed_gates_leave_the_fixed_points_where_they_are(bias: float) -> None:
    rng, n = np.random.default_rng(0), 3
    W, b_n = rng.standard_normal((3 * n, n)), rng.standard_normal(n)

    def cell(bias: float) -> GRU:
        b_in = np.concatenate([np.zeros(n), np.full(n, bias), b_n])
        return GRU(np.zeros((3 * n, 0)), W, b_in, np.zeros(3 * n))

    # h = n(h) does not know the update gate; only the digits left to tell by get fewer.
    true = refine_orbit(cell(0.0), np.full((1, n), 0.2))
    assert true is not None
    found = refine_orbit(cell(bias), true.states + 3e-4)
    assert found is not None
    np.testing.assert_allclose(found.states, true.states, atol=2e-15 * np.exp(bias))
    assert found.hyperbolic == (bias < 10.0)


def test_states_outside_the_box_are_not_the_audits_business() -> None:
    cube = FunctionMap(lambda x: x**3, lambda x: np.diag(3.0 * x**2), 1, state_bounds=(-0.9, 0.9))
    found = find_periodic_orbits(cube, 1, n_starts=16)
    assert [o.states.tolist() for o in found] == [[[0.0]]]
    assert (found.index_sum, found.audit) == (1, "passed")
    # Without a box all three of them.
    free = FunctionMap(cube.function, cube.derivative, 1)
    found = find_periodic_orbits(free, 1, n_starts=16)
    np.testing.assert_allclose(sorted(o.states[0, 0] for o in found), [-1.0, 0.0, 1.0], atol=1e-12)
    assert found.audit == "not applicable"


def test_constant_input_is_that_input_at_every_step() -> None:
    network = EchoStateNetwork([[-2.0]], W_in=[[1.0]])
    found = find_periodic_orbits(network, 2, [0.2], n_starts=16)
    inside = find_periodic_orbits(network.at_input([0.2]), 2, n_starts=16)
    assert len(found) == len(inside) == 1
    np.testing.assert_allclose(found[0].states, inside[0].states, atol=1e-12)
    np.testing.assert_array_equal(found[0].u, [[0.2], [0.2]])
    x, y = found[0].states[:, 0]
    assert x == pytest.approx(np.tanh(0.2 - 2.0 * y), abs=1e-12)
    assert y == pytest.approx(np.tanh(0.2 - 2.0 * x), abs=1e-12)


def test_few_starts_fail_the_audit_and_further_rounds_pass_it() -> None:
    network = ring_of_blocks(9, 1.0, 0.1)
    once = find_periodic_orbits(network, 3, n_starts=4, max_rounds=1)
    check_orbits(network, once)
    assert once.audit == "failed"
    assert once.n_fixed_points < 27
    assert f"sum to {once.index_sum} instead of 1" in once.audit_reason
    more = find_periodic_orbits(network, 3, n_starts=4, max_rounds=12)
    assert (more.n_fixed_points, more.audit) == (27, "passed")


@pytest.mark.parametrize(("r", "p"), [(3.02, 2), (3.3, 2), (3.46, 4), (3.52, 4)])
def test_doubled_orbit_is_found_beside_the_one_that_flipped(r: float, p: int) -> None:
    system = logistic(r)
    # Follow the cycle of half the period from where it was born, by its own stability.
    half = next(o for o in find_periodic_orbits(system, p // 2, n_starts=16) if o.states[0, 0] > 0.1)
    assert half.multipliers[0].real < -1.0
    shooting = Shooting(system, np.zeros((p, 0)))
    guesses = beside_flips(shooting, [half])
    reached, residual = newton(shooting, guesses, np.random.default_rng(0))
    orbits = [refine_orbit(system, X) for X in reached[residual < 1e-8]]
    assert any(o is not None and o.period == p and o.stable for o in orbits)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_stabilising_matrices(n: int) -> None:
    rng = np.random.default_rng(n)
    network = EchoStateNetwork(2.0 * rng.standard_normal((n, n)) / np.sqrt(n))
    origin = refine_orbit(network, np.zeros((1, n)))
    assert origin is not None
    shooting = Shooting(network, np.zeros((2, 0)))
    choices = orthogonal_choices(shooting, [origin])
    assert len(choices) == {1: 2, 2: 8, 4: 3}[n]
    G = np.linalg.matrix_power(network.dense_W(), 2) - np.eye(n)
    for C in choices:
        np.testing.assert_allclose(C @ C.T, np.eye(n), atol=1e-12)
    assert any(np.max(np.linalg.eigvals(C @ G).real) < 0.0 for C in choices)


@pytest.mark.parametrize(("p", "n"), [(1, 5), (2, 30), (3, 20), (7, 9), (12, 6)])
def test_cyclic_elimination_solves_the_dense_system(p: int, n: int) -> None:
    rng = np.random.default_rng(p)
    J, R = rng.standard_normal((3, p, n, n)), rng.standard_normal((3, p, n))
    d = solve_cyclic(J, R)
    for b in range(3):
        expected = naive_cyclic(J[b], R[b])
        np.testing.assert_allclose(d[b], expected, atol=1e-9 * np.max(np.abs(expected)))


def test_cyclic_elimination_survives_a_product_that_overflows_its_digits() -> None:
    # The product grows by 10^60 and shrinks by 10^-60 in different directions.
    rng = np.random.default_rng(0)
    p, n = 60, 4
    Q = np.linalg.qr(rng.standard_normal((p, n, n)))[0]
    J = Q @ np.diag([10.0, 5.0, 0.1, 0.02]) @ np.roll(Q, 1, axis=0).transpose(0, 2, 1)
    R = rng.standard_normal((p, n))
    d = solve_cyclic(J[None], R[None])[0]
    left = d - (J @ np.roll(d, 1, axis=0)[:, :, None])[:, :, 0] - R
    assert np.max(np.abs(left)) < 1e-11


@pytest.mark.parametrize("kind", ["plain", "feedback", "squares", "sparse"])
def test_batched_derivatives_are_those_of_the_network(kind: str) -> None:
    rng, n, p = np.random.default_rng(1), 7, 3
    W: Any = rng.standard_normal((n, n))
    options: dict[str, Any] = {}
    if kind in ("feedback", "squares"):
        W_sq = rng.standard_normal((2, n)) if kind == "squares" else None
        options = {"readout": Readout(rng.standard_normal((2, n)), W_sq), "W_fb": rng.standard_normal((n, 2))}
    if kind == "sparse":
        import scipy.sparse

        W = scipy.sparse.csr_array(W * (rng.random((n, n)) < 0.5))
    network = EchoStateNetwork(
        W, W_in=rng.standard_normal((n, 2)), leak_rate=rng.uniform(0.2, 1, n), **options
    )
    u, X = rng.standard_normal((p, 2)), rng.standard_normal((4, p, n))
    shooting = Shooting(network, u)
    generic = Shooting(
        FunctionMap(lambda x, u: network.step(x, u), lambda x, u: network.jacobian(x, u), n, 2), u
    )
    J, V = shooting.jacobians(X), rng.standard_normal((4, n))
    products, others = shooting.products(X), generic.products(X)
    np.testing.assert_allclose(generic.jacobians(X), J, atol=1e-13)
    np.testing.assert_allclose(generic.jacobians(X, exact=False), J, atol=1e-7)
    for b, j in itertools.product(range(4), range(p)):
        before = X[b, j - 1]
        np.testing.assert_allclose(shooting.images(X)[b, j], network.step(before, u[j]), atol=1e-13)
        np.testing.assert_allclose(J[b, j], network.jacobian(before, u[j]), atol=1e-13)
        np.testing.assert_allclose(products[j](V)[b], J[b, j] @ V[b], atol=1e-12)
        np.testing.assert_allclose(others[j](V)[b], J[b, j] @ V[b], atol=1e-12)


def test_multipliers_are_those_of_the_iterated_map() -> None:
    network = ring_of_blocks(1, -1.0)
    found = find_periodic_orbits(network, 6, n_starts=32)
    for o in (*found, *found.divisor_orbits):
        M = naive_jacobian(network, o.states[-1], None, o.period)
        expected = np.linalg.eigvals(M)
        expected = expected[np.argsort(-np.abs(expected))]
        np.testing.assert_allclose(np.abs(o.multipliers), np.abs(expected), atol=1e-8)
        back = naive_iterate(network, o.states[-1], None, o.period)
        np.testing.assert_allclose(back, o.states[-1], atol=1e-12)


def test_leading_multipliers_of_a_large_network_agree_with_all_of_them() -> None:
    network = ring_of_blocks(34, 1.0, 0.1)
    guess = np.kron(M15 * np.array([[1, 1, -1], [-1, 1, 1], [1, -1, 1]]), np.ones(34))
    full, leading = refine_orbit(network, guess), refine_orbit(network, guess, n_multipliers=3)
    assert full is not None
    assert leading is not None
    assert len(leading.multipliers) < len(full.multipliers) == 102
    np.testing.assert_allclose(np.abs(leading.multipliers[:3]), np.abs(full.multipliers[:3]), rtol=1e-6)


# -- refining --------------------------------------------------------------------------------------------


def test_refined_orbit_has_its_smallest_period() -> None:
    network = EchoStateNetwork([[-2.0]])
    orbit = refine_orbit(network, [[0.9], [-1.0], [1.0], [-0.9]])
    assert orbit is not None
    assert orbit.period == 2
    point = refine_orbit(network, [[0.01], [-0.01]])
    assert point is not None
    assert point.period == 1
    assert (point.index, point.n_unstable, point.stable) == (1, 1, False)
    # Under an input of period 2 an orbit of period 1 is one of period 2.
    driven = EchoStateNetwork([[0.5]], W_in=[[1.0]])
    forced = refine_orbit(driven, np.zeros((4, 1)), [[0.3], [-0.3]])
    assert forced is not None
    assert forced.period == 2
    np.testing.assert_allclose(forced.states[0], driven.step(forced.states[1], [0.3]), atol=1e-13)


def test_nothing_to_refine_to() -> None:
    # x + 1 - tanh(x)/2 > x: neither a fixed point nor an orbit.
    drift = FunctionMap(
        lambda x: x + 1.0 - 0.5 * np.tanh(x), lambda x: np.diag(1.0 - 0.5 / np.cosh(x) ** 2), 1
    )
    assert refine_orbit(drift, [[0.0], [1.0]]) is None
    assert len(find_periodic_orbits(drift, 2, n_starts=16)) == 0


def test_unbounded_maps_are_not_audited() -> None:
    quarter_turn = EchoStateNetwork([[0.0, -2.0], [2.0, 0.0]], activation="identity")
    found = find_periodic_orbits(quarter_turn, 4, n_starts=16)
    assert len(found) == 0
    assert [o.states.tolist() for o in found.divisor_orbits] == [[[0.0, 0.0]]]
    assert found.audit == "not applicable"
    relu = EchoStateNetwork([[-2.0]], b=1.0, activation="relu")
    found = find_periodic_orbits(relu, 2, n_starts=16)
    # 0 <-> 1 around the fixed point 1/3.
    assert [o.states.ravel().tolist() for o in found] == [[0.0, 1.0]]
    assert found.audit == "not applicable"
    assert "no box" in found.audit_reason


def test_neutral_orbits_are_one_answer_without_a_sign() -> None:
    turn = EchoStateNetwork([[0.0, -1.0], [1.0, 0.0]], activation="identity")
    found = find_periodic_orbits(turn, 4, n_starts=16)
    assert len(found) <= 1
    assert all(not o.hyperbolic and o.index == 0 and not o.stable for o in found)
    assert found.audit == "not applicable"


def test_search_is_reproducible_and_reports_progress() -> None:
    network = ring_of_blocks(1, 1.0)
    seen: list[float] = []
    first = find_periodic_orbits(
        network, 3, n_starts=32, progress=lambda label, fraction: seen.append(fraction)
    )
    again = find_periodic_orbits(network, 3, n_starts=32, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(
        np.concatenate([o.states for o in first]), np.concatenate([o.states for o in again])
    )
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    other = find_periodic_orbits(network, 3, n_starts=32, rng=7)
    np.testing.assert_allclose(
        np.concatenate([o.states for o in first]), np.concatenate([o.states for o in other]), atol=1e-11
    )
    with pytest.raises(ValueError):
        first[0].states[0, 0] = 1.0


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"period": 0}, "period"),
        ({"period": 2.0}, "period"),
        ({"period": True}, "period"),
        ({"u": None}, "u"),
        ({"u": [0.1]}, "u"),
        ({"u": np.zeros((3, 2))}, "u"),
        ({"u": [np.nan, 0.0]}, "u"),
        ({"starts": np.zeros((4, 3))}, "starts"),
        ({"starts": [[np.inf, 0.0]]}, "starts"),
        ({"n_starts": 0}, "n_starts"),
        ({"max_rounds": 0}, "max_rounds"),
        ({"tol": 1e-3}, "tol"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], place: str) -> None:
    network = EchoStateNetwork(np.diag([0.5, 1.75]), W_in=np.eye(2))
    options: dict[str, Any] = {"period": 2, "u": np.zeros(2)} | change
    with pytest.raises(InvalidInputError) as error:
        find_periodic_orbits(network, **options)
    assert error.value.place == place


@pytest.mark.parametrize(
    ("states", "options", "place"),
    [
        ([0.0], {}, "states"),
        ([[0.0, 1.0]], {}, "states"),
        (np.zeros((0, 1)), {}, "states"),
        ([[np.nan]], {}, "states"),
        ([[0.0]], {"u": [1.0]}, "u"),
        ([[0.0]], {"max_iterations": 0}, "max_iterations"),
        ([[0.0]], {"n_multipliers": 2}, "n_multipliers"),
        ([[0.0]], {"tol": 0.0}, "tol"),
    ],
)
def test_bad_guesses_are_named(states: Any, options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        refine_orbit(EchoStateNetwork([[2.0]]), states, **options)
    assert error.value.place == place
