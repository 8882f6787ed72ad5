"""Basins and edge states: closed forms, published fractions and exponents, slow twins, bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from naive_basins import (
    naive_edge_point,
    naive_entropy,
    naive_groups,
    naive_label,
    naive_uncertain_fraction,
)
from numba import njit
from test_excitable import FIXTURE, trained_flip_flop

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.basins import (
    ESCAPED,
    UNDECIDED,
    basin_entropy,
    basin_picture,
    basins,
    find_edge_state,
    find_edge_states,
    track_boundary,
    uncertainty_exponent,
    wilson_interval,
)
from esntools.basins.attractors import arrival_radius, polish_cycle
from esntools.basins.runs import Runner
from esntools.basins.statistics import components, mean_and_error, threshold
from esntools.errors import InvalidInputError
from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.gated import GRU
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting.basins import plot_basins

#: tanh(1.5 m) = m, and tanh(2 m) = m.
M, M2 = 0.8585596366401103, 0.9575040240772687

CUBIC = FunctionMap(lambda x: 2.0 * x - x**3, lambda x: np.array([[2.0 - 3.0 * x[0] ** 2]]), 1)
BITS = EchoStateNetwork(1.5 * np.eye(2))


def henon() -> FunctionMap:
    return FunctionMap(
        lambda x: np.stack([1.0 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], axis=-1),
        lambda x: np.array([[-2.8 * x[0], 1.0], [0.3, 0.0]]), 2,
    )  # fmt: skip


def newton_map() -> FunctionMap:
    """Newton's method for z^3 = 1."""

    def function(x: FloatArray) -> FloatArray:
        z = x[..., 0] + 1j * x[..., 1]
        z = z - (z**3 - 1.0) / (3.0 * z**2)
        return np.stack([z.real, z.imag], axis=-1)

    def derivative(x: FloatArray) -> FloatArray:
        z = complex(x[0], x[1])
        d = (z**3 - 1.0) * 6.0 * z / (3.0 * z**2) ** 2
        return np.array([[d.real, -d.imag], [d.imag, d.real]])

    return FunctionMap(function, derivative, 2)


def grebogi_map() -> FunctionMap:
    """Grebogi, McDonald, Ott & Yorke (1983): two attracting points, a fractal boundary of alpha = 0.2."""

    def function(x: FloatArray) -> FloatArray:
        angle, y = x[..., 0], x[..., 1]
        new = angle + 1.32 * np.sin(2.0 * angle) - 0.9 * np.sin(4.0 * angle) - y * np.sin(angle)
        # Cut the circle away from the attractors at 0 and pi.
        return np.stack([np.mod(new + np.pi / 2, 2 * np.pi) - np.pi / 2, -0.3 * np.cos(angle)], axis=-1)

    def derivative(x: FloatArray) -> FloatArray:
        a, y = x
        first = 1.0 + 2.64 * np.cos(2.0 * a) - 3.6 * np.cos(4.0 * a) - y * np.cos(a)
        return np.array([[first, -np.sin(a)], [0.3 * np.sin(a), 0.0]])

    return FunctionMap(function, derivative, 2)


def two_rings() -> FunctionMap:
    """A rotation by the golden angle whose radius goes to 1 or to 2: two tori with equal means."""
    angle = np.pi * (3.0 - np.sqrt(5.0))
    R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def function(x: FloatArray) -> FloatArray:
        r = np.linalg.norm(x, axis=-1, keepdims=True)
        new = r - 0.2 * (r - 1.0) * (r - 1.5) * (r - 2.0)
        return x @ R.T * (new / r)

    def derivative(x: FloatArray) -> FloatArray:
        h = 1e-6 * np.eye(2)
        return (function(x + h) - function(x - h)).T / 2e-6

    return FunctionMap(function, derivative, 2)


# -- labels and shares -------------------------------------------------------------------------------------


def test_one_bit_has_two_halves() -> None:
    found = basins(EchoStateNetwork([[1.5]]), n_starts=2000)
    assert [a.kind for a in found.attractors] == ["fixed point"] * 2
    np.testing.assert_allclose([a.mean[0] for a in found.attractors], [-M, M], atol=1e-12)
    assert found.labels.tolist() == (found.starts[:, 0] > 0).astype(int).tolist()
    for attractor, share, (low, high) in zip(found.attractors, found.shares, found.intervals):
        assert low < 0.5 < high
        assert (low, high) == wilson_interval(round(2000 * share), 2000)
        assert attractor.exponent == pytest.approx(np.log(1.5 * (1.0 - M * M)), abs=1e-12)
        assert attractor.period == 1
    assert (found.escaped, found.undecided, found.note) == (0.0, 0.0, "")
    # 0.95 of all samples of this size see a basin of that share.
    assert (1.0 - found.missed) ** 2000 == pytest.approx(0.05)
    again = basins(EchoStateNetwork([[1.5]]), n_starts=2000)
    assert np.array_equal(again.starts, found.starts)
    assert len(repr(found)) < 200


@pytest.mark.parametrize("form", ["dense", "sparse", "feedback", "expression", "held"])
def test_every_form_of_a_network_against_the_slow_twin(form: str) -> None:
    net = trained_flip_flop(2, 40, 3).at_input([0.1, 0.0])
    u = None
    system: Any = net.folded()
    if form == "sparse":
        system = replace(net.folded(), W=scipy.sparse.csr_array(net.folded().dense_W()))
    elif form == "feedback":
        system = net
    elif form == "expression":
        # tanh by another name has no compiled branch: exercised through W / 2.
        system = replace(net.folded(), W=0.5 * net.folded().dense_W(), b=0.5 * net.folded().b,
                         activation=Activation.from_sympy("tanh(2*x)"))  # fmt: skip
    elif form == "held":
        system, u = trained_flip_flop(2, 40, 3), [0.1, 0.0]
    starts = np.random.default_rng(5).uniform(-1, 1, (20, 40))[: 8 if form == "expression" else None]
    found = basins(system, u, starts=starts)
    states = [a.states for a in found.attractors]
    assert len(states) >= 2
    assert found.labels.tolist() == [naive_label(net, x, states, 600) for x in starts]
    one_by_one = [basins(system, u, starts=x[None]) for x in starts[:2]]
    for single, k in zip(one_by_one, found.labels):
        np.testing.assert_allclose(single.attractors[0].mean, found.attractors[k].mean, atol=1e-9)


def test_given_fixed_points_come_first_and_what_they_lack_is_found() -> None:
    points = find_fixed_points(BITS)
    stable = points.stable
    found = basins(BITS, attractors=points, n_starts=200)
    for point, attractor in zip(stable, found.attractors):
        np.testing.assert_allclose(attractor.mean, point.x, atol=1e-12)
    assert found.note == ""
    part = FixedPoints((stable[3], stable[1]), 2, "failed", "", 2, 1)
    found = basins(BITS, attractors=part, n_starts=200)
    np.testing.assert_allclose(found.attractors[0].mean, stable[3].x, atol=1e-12)
    np.testing.assert_allclose(found.attractors[1].mean, stable[1].x, atol=1e-12)
    assert len(found.attractors) == 4
    assert "lacks" in found.note
    assert np.all(np.sign(found.starts) == np.sign([found.attractors[k].mean for k in found.labels]))


def test_a_start_on_an_unstable_point_has_no_attractor() -> None:
    found = basins(BITS, starts=[[0.0, 0.0], [0.3, 0.2], [0.3, 0.0]])
    # On the boundary a run goes to the saddle, and rests there too.
    assert found.labels.tolist() == [UNDECIDED, 0, UNDECIDED]
    assert len(found.attractors) == 1
    assert "rest" in found.note
    assert found.undecided == pytest.approx(2 / 3)


def test_cycles() -> None:
    found = basins(EchoStateNetwork([[-2.0]]), n_starts=100)
    (cycle,) = found.attractors
    assert (cycle.kind, cycle.period) == ("periodic orbit", 2)
    np.testing.assert_allclose(np.sort(cycle.states[:, 0]), [-M2, M2], atol=1e-12)
    assert cycle.multipliers is not None
    assert cycle.multipliers[0] == pytest.approx((2.0 * (1.0 - M2 * M2)) ** 2, abs=1e-12)
    assert cycle.exponent == pytest.approx(np.log(2.0 * (1.0 - M2 * M2)), abs=1e-10)
    assert found.shares.tolist() == [1.0]
    r = 1.0 + np.sqrt(8.0) + 0.003
    logistic = FunctionMap(lambda x: r * x * (1.0 - x), lambda x: np.array([[r - 2.0 * r * x[0]]]), 1)
    found = basins(logistic, box=(0.01, 0.99), n_starts=300)
    assert [(a.kind, a.period) for a in found.attractors] == [("periodic orbit", 3)]
    assert found.shares.tolist() == [1.0]
    # The cycle is born at the published triple of r = 1 + sqrt(8) and has moved by the root of 0.003.
    born = [0.1599288, 0.5143553, 0.9563178]
    np.testing.assert_allclose(np.sort(found.attractors[0].states[:, 0]), born, atol=0.03)


def test_a_multiplier_of_modulus_one_is_said() -> None:
    """At 1 the cubic map has multiplier -1: runs come near like one over the root of time."""
    found = basins(CUBIC, starts=[[-1.0], [0.5], [-0.3], [1.2]])
    assert found.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose([a.mean[0] for a in found.attractors], [-1.0, 1.0], atol=1e-6)
    assert "slowly" in found.note
    # Every state is a fixed point of the identity, and none attracts.
    still = basins(FunctionMap(lambda x: 1.0 * x, lambda x: np.eye(1), 1), box=(-1, 1), n_starts=20)
    assert still.undecided == 1.0
    assert still.attractors == ()


def test_henon_bounded_share() -> None:
    found = basins(henon(), box=([-2, -2], [2, 2]), n_starts=4000, n_steps=500, n_average=1000)
    (attractor,) = found.attractors
    assert attractor.kind == "chaos"
    assert attractor.exponent_interval[0] < 0.41925 < attractor.exponent_interval[1]
    assert found.intervals[0, 0] < 0.4325 < found.intervals[0, 1]
    assert found.escaped + found.shares[0] == 1.0
    assert found.escaped_interval[0] < 1.0 - 0.4325 < found.escaped_interval[1]
    assert "beyond" in found.note
    assert basins(henon(), starts=[[0.0, 2.0]]).labels.tolist() == [ESCAPED]


def test_tori_with_equal_means_are_told_apart_by_squares() -> None:
    found = basins(two_rings(), box=([-2.2, 0.1], [2.2, 2.2]), n_starts=300, n_steps=300)
    assert [a.kind for a in found.attractors] == ["torus or chaos"] * 2
    radius = np.linalg.norm(found.starts, axis=1)
    size = [float(np.linalg.norm(a.states[0])) for a in found.attractors]
    np.testing.assert_allclose(sorted(size), [1.0, 2.0], atol=1e-9)
    assert [round(size[k]) for k in found.labels] == [1 if r < 1.5 else 2 for r in radius]


def bistable_and_chaos(n_bistable: int, n_chaotic: int, seed: int) -> EchoStateNetwork:
    """A bistable group beside a chaotic one, with a bias that breaks the symmetry of the latter."""
    rng = np.random.default_rng(seed)
    n = n_bistable + n_chaotic
    W, b = np.zeros((n, n)), np.zeros(n)
    W[:n_bistable, :n_bistable] = 1.5 / n_bistable
    W[n_bistable:, n_bistable:] = 2.0 * rng.standard_normal((n_chaotic, n_chaotic)) / np.sqrt(n_chaotic)
    b[n_bistable:] = 0.1 * rng.standard_normal(n_chaotic)
    return EchoStateNetwork(W, b=b)


def check_bistable_and_chaos(network: EchoStateNetwork, n_bistable: int, n_starts: int) -> None:
    found = basins(network, n_starts=n_starts)
    assert [a.kind for a in found.attractors] == ["chaos"] * 2
    signs = np.sign([a.mean[0] for a in found.attractors])
    assert found.undecided == 0.0
    ends = Runner(network).advance(found.starts, 200)
    assert np.array_equal(np.sign(ends[:, 0]), signs[found.labels])
    np.testing.assert_allclose(np.abs([a.mean[:n_bistable] for a in found.attractors]), M, atol=1e-9)


def test_bistable_beside_chaos() -> None:
    check_bistable_and_chaos(bistable_and_chaos(5, 30, 1), 5, 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_bistable_beside_chaos_at_133_units(seed: int) -> None:
    check_bistable_and_chaos(bistable_and_chaos(33, 100, seed), 33, 1000)


@pytest.mark.slow
def test_a_chaotic_transient_of_ten_thousand_steps_is_not_passed_off_as_an_attractor() -> None:
    """Seed 2 has two chaotic sets for each bit; runs leave one of them for the other, after very long."""
    network = bistable_and_chaos(33, 100, 2)
    found = basins(network, n_starts=200)
    assert len(found.attractors) == 2 or "long transients" in found.note


def random_network(seed: int) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 13))
    gain, a = rng.uniform(0.8, 4.0), rng.choice([1.0, 0.9, 0.5, 0.2, 0.05])
    name = str(rng.choice(["tanh", "logistic", "erf", "softsign", "hard_tanh", "sine"]))
    W = gain * (4.0 if name == "logistic" else 1.0) * rng.standard_normal((n, n)) / np.sqrt(n)
    b = rng.choice([0.0, 0.5]) * rng.standard_normal(n)
    return EchoStateNetwork(W, b=b, leak_rate=a, activation=name)


@pytest.mark.slow
@pytest.mark.ci
def test_runs_near_a_weakly_attracting_cycle_are_no_torus() -> None:
    """A cycle of period 6 whose multiplier has modulus 0.992: runs spiral in for ten thousand steps."""
    found = basins(random_network(349), n_starts=40, rng=349)
    assert [(a.kind, a.period) for a in found.attractors] == [("periodic orbit", 6)]
    assert found.shares.tolist() == [1.0]


@pytest.mark.slow
@pytest.mark.ci
def test_no_label_of_random_networks_is_wrong() -> None:
    """Each run really is where its label says, long after; each attractor of another kind goes on moving."""
    kinds = set()
    for seed in range(60):
        network = random_network(seed)
        found = basins(network, n_starts=40, rng=seed)
        runner = Runner(network)
        ends = runner.advance(found.starts, 30_000)
        moved = np.max(np.abs(runner.advance(ends, 1) - ends), axis=1)
        assert np.all(found.labels >= UNDECIDED)
        for k, attractor in enumerate(found.attractors):
            kinds.add(attractor.kind)
            rows = found.labels == k
            if attractor.is_point:
                # As long again as the slowest direction needs for 13 digits.
                late = runner.advance(ends[rows], int(min(5e5, 30.0 / abs(attractor.exponent))))
                gaps = np.abs(late[:, None] - attractor.states[None]).max(axis=2).min(axis=1)
                assert np.all(gaps < 1e-6), seed
            else:
                assert np.all(moved[rows] > 1e-9), seed
    assert kinds == {"fixed point", "periodic orbit", "torus or chaos", "chaos"}


def test_means_against_the_slow_twin() -> None:
    """Grouping of chaotic runs, by the vectorised test and pair by pair."""
    network = bistable_and_chaos(3, 20, 2)
    starts = np.random.default_rng(0).uniform(-1, 1, (12, 23))
    runner = Runner(network)
    x = runner.advance(starts, 300)
    means, ends = runner.moments(x, 20, 30, slice(0, 23, 1))
    states = runner.states(x, 600)
    np.testing.assert_allclose(ends, states[-1], atol=0.0)
    np.testing.assert_allclose(means[3, :, :23], states[90:120].mean(axis=0), atol=1e-12)
    groups = components(*mean_and_error(means))
    slow = naive_groups(states.transpose(1, 0, 2), 20, threshold(46))
    assert sorted(sorted(g) for g in slow) == sorted(
        sorted(np.flatnonzero(groups == k).tolist()) for k in range(groups.max() + 1)
    )
    assert len(slow) == 2


def test_the_radius_of_arrival_is_inside_the_basin() -> None:
    network = trained_flip_flop(2, 40, 1).at_input([0.0, 0.0]).folded()
    rng, radii = np.random.default_rng(1), []
    for point in find_fixed_points(network).stable:
        cycle = polish_cycle(network, point.x, 1)
        assert cycle is not None
        radius = arrival_radius(network, cycle.states, cycle.multipliers)
        radii.append(radius / (1e-6 * np.sqrt(40)))
        v = rng.standard_normal((200, 40))
        shell = point.x + radius * v / np.linalg.norm(v, axis=1, keepdims=True)
        ends = Runner(network).advance(shell, 2000)
        np.testing.assert_allclose(ends, np.broadcast_to(point.x, ends.shape), atol=1e-9)
    # The Lyapunov function says more than the fallback does, at some point at least.
    assert min(radii) >= 1.0
    assert max(radii) > 1.2


_LORENZ84_SHARES = {"chaos": 0.165, "fixed point": 0.642, "torus or chaos": 0.193}


@pytest.mark.slow
@pytest.mark.ci
def test_lorenz84_of_attractors_jl() -> None:
    """Three interlaced attractors; a cycle of a flow is a torus of its time-dt map."""

    @njit
    def advance(X: FloatArray, h: float, n: int) -> FloatArray:
        out = np.empty_like(X)
        k = np.empty((4, 3))
        for i in range(len(X)):
            s = X[i].copy()
            for _ in range(n):
                for stage in range(4):
                    c = 0.0 if stage == 0 else (h if stage == 3 else 0.5 * h)
                    v = s + c * k[stage - 1] if stage else s
                    x, y, z = v
                    k[stage, 0] = -y * y - z * z - 0.255 * x + 0.255 * 6.886
                    k[stage, 1] = x * y - y - 4.0 * x * z + 1.347
                    k[stage, 2] = 4.0 * x * y + x * z - z
                s = s + h / 6.0 * (k[0] + 2.0 * k[1] + 2.0 * k[2] + k[3])
            out[i] = s
        return out

    def function(x: FloatArray) -> FloatArray:
        return advance(np.ascontiguousarray(x.reshape(-1, 3)), 0.01, 20).reshape(x.shape)

    def derivative(x: FloatArray) -> FloatArray:
        h = 1e-6 * np.eye(3)
        return (function(x + h) - function(x - h)).T / 2e-6

    flow = FunctionMap(function, derivative, 3)
    found = basins(flow, box=([-3.0] * 3, [3.0] * 3), n_starts=1000, n_steps=1500, n_average=4000)
    assert sorted(a.kind for a in found.attractors) == sorted(_LORENZ84_SHARES)
    for attractor, (low, high) in zip(found.attractors, found.intervals):
        # The published fractions are of 1000 starts too: both err.
        half = 0.5 * (high - low)
        assert low - half < _LORENZ84_SHARES[attractor.kind] < high + half
    assert found.undecided < 0.01


# -- edge states -------------------------------------------------------------------------------------------


def test_edge_of_the_cubic_map_is_zero() -> None:
    for a, b in ((-1.0, 1.0), (-0.9, 0.8), (0.7, -0.2)):
        edge = find_edge_state(CUBIC, [a], [b], n_steps=500)
        assert (edge.kind, edge.n_unstable, edge.checked) == ("fixed point", 1, True)
        assert abs(edge.x[0]) < 1e-12
        assert edge.exponent == pytest.approx(np.log(2.0), abs=1e-12)
        assert np.abs(edge.unstable_directions).tolist() == [[1.0]]
        assert edge.track.exponent == pytest.approx(np.log(2.0), abs=1e-3)


def test_edge_between_boundedness_and_escape_is_a_fixed_point_of_the_henon_map() -> None:
    """The boundary is the stable manifold of the fixed point with 1.4 x^2 + 0.7 x = 1, x < 0."""
    x = -(0.7 + np.sqrt(0.49 + 5.6)) / 2.8
    edge = find_edge_state(henon(), [0.0, 0.0], [0.0, 2.0], n_steps=300)
    assert (edge.kind, edge.n_unstable, edge.checked) == ("fixed point", 1, True)
    np.testing.assert_allclose(edge.x, [x, 0.3 * x], atol=1e-12)
    assert edge.labels == (0, ESCAPED)
    assert sorted(edge.leads_to or ()) == [ESCAPED, 0]
    multiplier = np.max(np.abs(np.roots([1.0, 2.8 * x, -0.3])))
    assert edge.exponent == pytest.approx(np.log(multiplier), abs=1e-12)


def fitzhugh_nagumo() -> FunctionMap:
    """The system of the edge-tracking test of Attractors.jl, as a map over 0.1."""

    def flow(x: Any) -> Any:
        v, w = x[..., 0], x[..., 1]
        return np.stack([10.0 * (v - v**3 - w), -3.0 * w + v], axis=-1)

    def function(x: Any) -> Any:
        h = 0.02
        for _ in range(5):
            k1 = flow(x)
            k2 = flow(x + 0.5 * h * k1)
            k3 = flow(x + 0.5 * h * k2)
            x = x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + flow(x + h * k3))
        return x

    # A complex step differentiates to rounding.
    return FunctionMap(function, lambda x: function(x[None] + 1e-30j * np.eye(2)).imag.T / 1e-30, 2)


def test_edge_of_fitzhugh_nagumo_is_the_origin() -> None:
    edge = find_edge_state(fitzhugh_nagumo(), [-1.0, 0.2], [1.0, 0.2], n_steps=200)
    assert np.max(np.abs(edge.x)) < 1e-8
    assert (edge.kind, edge.n_unstable, edge.checked) == ("fixed point", 1, True)
    true = np.linalg.eigvals([[10.0, -10.0], [1.0, -3.0]])
    np.testing.assert_allclose(np.sort(np.log(edge.multipliers.real) / 0.1), np.sort(true), rtol=1e-4)
    np.testing.assert_allclose(
        np.sort([a.mean[0] for a in edge.attractors]), [-np.sqrt(2 / 3), np.sqrt(2 / 3)], atol=1e-9
    )


def test_edges_of_two_bits_make_a_square() -> None:
    found = basins(BITS, n_starts=50)
    edges = find_edge_states(BITS, found)
    assert [e.labels for e in edges] == [(0, 1), (0, 2), (1, 3), (2, 3)]
    np.testing.assert_allclose([e.x for e in edges], [[-M, 0], [0, -M], [0, M], [M, 0]], atol=1e-12)
    for edge in edges:
        assert edge.checked
        assert edge.leads_to is not None
        assert set(edge.leads_to) == set(edge.labels)
        assert edge.multipliers is not None
        assert edge.multipliers[0] == pytest.approx(1.5, abs=1e-12)
        np.testing.assert_allclose(np.abs(edge.unstable_directions), [np.abs(edge.x) < 1e-9], atol=1e-12)


def test_edge_of_a_trained_network_against_the_slow_twin() -> None:
    network = trained_flip_flop(2, 30, 1).at_input([0.0, 0.0]).folded()
    found = basins(network, n_starts=200)
    a = found.attractors[0].mean
    # One whose basin has a single boundary with that of the first on the way.
    weights = np.linspace(0.0, 1.0, 41)[:, None]
    ways = [basins(network, starts=a + weights * (c.mean - a)).labels for c in found.attractors]
    b = next(c.mean for c, way in zip(found.attractors, ways) if np.count_nonzero(np.diff(way)) == 1)
    edge = find_edge_state(network, a, b)
    assert edge.checked
    slow = naive_edge_point(network, a, b, 1000)
    np.testing.assert_allclose(edge.x, slow, atol=1e-10)
    values = np.linalg.eigvals(network.jacobian(edge.x))
    assert edge.exponent == pytest.approx(np.log(np.max(np.abs(values))), abs=1e-10)
    v = edge.unstable_directions[0]
    np.testing.assert_allclose(
        network.jacobian(edge.x) @ v, v * (v @ network.jacobian(edge.x) @ v), atol=1e-9
    )


@pytest.mark.slow
@pytest.mark.ci
def test_edges_of_a_trained_three_bit_flip_flop_make_a_cube() -> None:
    network = trained_flip_flop(3, 64, 0).at_input(np.zeros(3))
    found = basins(network, n_starts=20_000)
    assert len(found.attractors) == 8
    assert found.undecided == 0.0
    edges = find_edge_states(network, found)
    bits = np.sign([network.output(a.mean) for a in found.attractors])
    assert len(edges) == 12
    for edge in edges:
        assert edge.checked
        assert np.sum(bits[edge.labels[0]] != bits[edge.labels[1]]) == 1
    # The same as the unstable manifolds of every saddle that an independent search finds.
    saddles = [p for p in find_fixed_points(network) if p.n_unstable == 1]
    assert len(saddles) == 12
    for saddle in saddles:
        assert min(np.max(np.abs(edge.x - saddle.x)) for edge in edges) < 1e-9


@pytest.mark.slow
@pytest.mark.skipif(not FIXTURE.exists(), reason="the fixture is not part of the repository")
def test_edges_of_the_split_flip_flop_make_its_ring() -> None:
    """A frozen trained network whose state (1, 1) has split in two: six attractors in a ring."""
    w = np.load(FIXTURE)
    network = EchoStateNetwork(w["W"], W_in=w["W_in"], W_fb=w["W_fb"], readout=Readout(w["W_out"]))
    network = network.at_input(np.zeros(2))
    found = basins(network, n_starts=1000)
    assert len(found.attractors) == 6
    order = np.argsort(np.argsort([network.output(a.mean)[0] for a in found.attractors]))
    edges = find_edge_states(network, found)
    pairs = {tuple(sorted(int(order[k]) for k in edge.labels)) for edge in edges}
    assert pairs == {(0, 1), (1, 3), (3, 5), (4, 5), (2, 4), (0, 2)}
    largest = np.sort([edge.multipliers[0].real for edge in edges if edge.multipliers is not None])
    np.testing.assert_allclose(largest, np.repeat([1.0145, 1.0343, 1.6529], 2), atol=5e-5)
    assert all(edge.checked for edge in edges)


def test_an_edge_state_may_be_a_cycle_or_chaotic() -> None:
    cycle = find_edge_state(EchoStateNetwork(np.diag([1.5, -2.0])), [0.9, 0.3], [-0.8, 0.4])
    assert (cycle.kind, cycle.n_unstable, cycle.checked) == ("periodic orbit", 1, True)
    np.testing.assert_allclose(np.abs(cycle.states), [[0.0, M2]] * 2, atol=1e-12)
    assert cycle.exponent == pytest.approx(np.log(1.5), abs=1e-12)

    def function(x: FloatArray) -> FloatArray:
        return np.stack([np.tanh(1.5 * x[..., 0]), 3.9 * x[..., 1] * (1.0 - x[..., 1])], axis=-1)

    def derivative(x: FloatArray) -> FloatArray:
        return np.diag([1.5 / np.cosh(1.5 * x[0]) ** 2, 3.9 - 7.8 * x[1]])

    system = FunctionMap(function, derivative, 2, state_bounds=([-1.0, 0.0], [1.0, 1.0]))
    chaos = find_edge_state(system, [0.9, 0.3], [-0.9, 0.3], n_rounds=4, n_steps=300)
    assert (chaos.kind, chaos.checked, chaos.n_unstable) == ("not periodic", False, None)
    assert "no point or cycle" in chaos.note
    assert np.max(np.abs(chaos.track.states[:, 0])) < 1e-4
    assert np.ptp(chaos.track.states[:, 1]) > 0.5
    assert chaos.exponent == pytest.approx(np.log(1.5), abs=1e-6)
    assert [a.kind for a in chaos.attractors] == ["chaos", "chaos"]


def test_the_boundary_of_a_driven_map() -> None:
    """x <- 2 x + c_k escapes upwards or downwards; between lies -sum c_(k+j) / 2^(j+1)."""
    c = np.random.default_rng(0).uniform(-1, 1, 400)

    def label(X: FloatArray, k: int) -> Any:
        X = X.copy()
        for j in range(k, k + 80):
            X = 2.0 * X + c[j]
        return (X[:, 0] > 0).astype(int)

    track = track_boundary(lambda X, k: 2.0 * X + c[k], label, [-3.0], [3.0], n_rounds=10, first_step=5)
    assert track.times[0] == 5
    exact = [-sum(c[k + j] / 2.0 ** (j + 1) for j in range(60)) for k in track.times]
    np.testing.assert_allclose(track.states[:, 0], exact, atol=1e-4)
    np.testing.assert_allclose(track.exponents, np.log(2.0), atol=1e-6)
    assert track.times.tolist() == list(range(5, 5 + len(track.times)))
    assert len(track.times) == track.steps.sum() + 1


# -- pictures ----------------------------------------------------------------------------------------------


def test_a_picture_is_the_labels_of_its_states() -> None:
    network = trained_flip_flop(2, 30, 1).at_input([0.0, 0.0])
    found = basins(network, n_starts=200)
    origin, p, q = (a.mean for a in found.attractors[:3])
    plane = (origin, p - origin, q - origin)
    picture = basin_picture(network, plane=plane, extent=(-0.5, 1.5, -0.4, 1.2), resolution=(9, 7))
    assert picture.labels.shape == (7, 9)
    states = [a.states for a in picture.basins.attractors]
    for i, j in ((0, 0), (6, 8), (3, 2), (5, 4)):
        x = origin + picture.x[j] * plane[1] + picture.y[i] * plane[2]
        assert picture.labels[i, j] == naive_label(network, x, states, 2000)
    np.testing.assert_allclose(picture.coordinates([origin, p, q]), [[0, 0], [1, 0], [0, 1]], atol=1e-9)
    shares = [np.mean(picture.labels == k) for k in range(len(states))]
    np.testing.assert_allclose(picture.basins.shares, shares)


def test_entropy_and_exponent_of_the_grebogi_map() -> None:
    """Bounds as in the tests of Attractors.jl, on the same grids."""
    picture = basin_picture(grebogi_map(), extent=(0, 2 * np.pi, -0.5, 0.5), resolution=300)
    entropy = basin_entropy(picture, box=6)
    assert 0.40 <= entropy.entropy <= 0.42
    assert entropy.boundary_entropy is not None
    assert 0.60 <= entropy.boundary_entropy <= 0.61
    assert (entropy.n_boxes, entropy.fractal) == (2500, False)
    assert naive_entropy(picture.labels, 6) == pytest.approx((entropy.entropy, entropy.boundary_entropy))
    means = sorted(tuple(a.mean.round(9)) for a in picture.basins.attractors)
    assert means == [(0.0, -0.3), (round(np.pi, 9), 0.3)]
    picture = basin_picture(grebogi_map(), extent=(0, 2 * np.pi, -0.5, 0.5), resolution=251)
    exponent = uncertainty_exponent(picture, sizes=range(3, 16))
    assert exponent.exponent is not None
    assert 0.2 <= exponent.exponent <= 0.3
    assert exponent.dimension == pytest.approx(2.0 - exponent.exponent)
    for size, fraction in zip(exponent.sizes[::4], exponent.fractions[::4]):
        assert fraction == pytest.approx(naive_uncertain_fraction(picture.labels, int(size)))


def test_exponent_of_the_newton_map() -> None:
    picture = basin_picture(newton_map(), extent=(-1, 1, -1, 1), resolution=300)
    exponent = uncertainty_exponent(picture, sizes=range(5, 31))
    assert exponent.exponent is not None
    assert 0.55 <= exponent.exponent <= 0.65
    z = [complex(*a.mean) for a in picture.basins.attractors]
    np.testing.assert_allclose(np.sort_complex(np.array(z) ** 3), np.ones(3), atol=1e-9)


def test_smooth_boundaries_and_none() -> None:
    disc = (np.add.outer(np.arange(-150, 150) ** 2, np.arange(-150, 150) ** 2) < 100**2).astype(int)
    smooth = uncertainty_exponent(disc)
    assert smooth.exponent == pytest.approx(1.0, abs=0.05)
    assert not basin_entropy(disc).fractal
    flat = np.zeros((60, 60), dtype=int)
    none = uncertainty_exponent(flat)
    assert (none.exponent, none.dimension) == (None, None)
    assert "too few" in none.note
    assert basin_entropy(flat).boundary_entropy is None
    noise = np.random.default_rng(0).integers(0, 3, (60, 60))
    assert "too coarse" in uncertainty_exponent(noise).note
    mixed = basin_entropy(noise)
    assert mixed.fractal
    assert mixed.entropy <= np.log(3.0)
    # Any dimension: a cube cut in the middle.
    cube = np.broadcast_to(np.arange(12) >= 5, (12, 12, 12)).astype(int)
    assert basin_entropy(cube, box=2).n_boundary == 36


def test_a_picture_drawn() -> None:
    picture = basin_picture(henon(), extent=(-2, 2, -2, 2), resolution=30, n_steps=300, n_average=400)
    ax = plot_basins(picture)
    legend = ax.get_legend()
    assert legend is not None
    texts = [t.get_text() for t in legend.get_texts()]
    assert [t.split(",")[0] for t in texts] == ["0  chaos", "escapes"]
    assert (np.asarray(ax.images[0].get_array())[picture.labels == ESCAPED] == 1.0).all()
    square = basin_picture(BITS, resolution=21, attractors=find_fixed_points(BITS))
    edges = find_edge_states(BITS, square.basins)
    ax = plot_basins(square, edges=edges)
    crosses = [line for line in ax.lines if line.get_marker() == "X"]
    drawn = np.array(sorted((x, y) for line in crosses for x, y in zip(line.get_xdata(), line.get_ydata())))
    np.testing.assert_allclose(drawn, [[-M, 0], [0, -M], [0, M], [M, 0]], atol=1e-9)
    # The middle lines are the stable manifolds of the saddles: rest, not decided, red.
    assert (square.labels[10] == UNDECIDED).all()
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in (p.get_facecolor()[:3] for p in _patches(ax))]
    gaps = np.abs(np.subtract.outer(grey, grey))[~np.eye(len(grey), dtype=bool)]
    assert gaps.min() > 0.03
    with pytest.raises(InvalidInputError, match="BasinPicture"):
        plot_basins(np.zeros((3, 3)))  # type: ignore[arg-type]


def _patches(ax: Any) -> list[Any]:
    return list(ax.get_legend().get_patches())


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: basins(3), "system: int"),
        (lambda: basins(EchoStateNetwork([[1.5]], W_in=[[1.0]])), "u: None"),
        (lambda: basins(EchoStateNetwork([[1.5]], W_in=[[1.0]]), [1.0, 2.0]), "u: shape"),
        (lambda: basins(EchoStateNetwork([[1.5]], W_in=[[1.0]]), [np.nan]), "u: .*finite"),
        (lambda: basins(BITS, [0.0]), "u: size 1"),
        (lambda: basins(BITS, n_starts=0), "n_starts: 0"),
        (lambda: basins(BITS, n_steps=0), "n_steps: 0"),
        (lambda: basins(BITS, n_average=10), "n_average: 10"),
        (lambda: basins(BITS, max_period=0), "max_period: 0"),
        (lambda: basins(BITS, starts=[[1.0, 2.0, 3.0]]), "starts: shape"),
        (lambda: basins(BITS, starts=np.zeros((0, 2))), "starts: shape"),
        (lambda: basins(BITS, starts=[[np.inf, 0.0]]), "starts: NaN"),
        (lambda: basins(BITS, starts=[[0.1, 0.0]], box=(-1, 1)), "box: given with starts"),
        (lambda: basins(BITS, box=([1, 1, 1], [2, 2, 2])), "box: shapes"),
        (lambda: basins(BITS, box=(1, -1)), "low <= high"),
        (lambda: basins(BITS, escape_radius=0.1), "escape_radius: 0.1"),
        (lambda: basins(CUBIC), "box: None"),
        (lambda: basins(EchoStateNetwork([[1.5]], activation="relu")), "box: None"),
        (lambda: find_edge_state(BITS, [0.5, 0.5], [0.4, 0.6]), "both go to attractor"),
        (lambda: find_edge_state(BITS, [0.5], [0.4, 0.6]), "x_a: shape"),
        (lambda: find_edge_state(BITS, [[0.5, 0.5], [0.1, 0.1]], [0.4, 0.6]), "x_a: 2 states"),
        (lambda: find_edge_state(BITS, [0.5, 0.5], [-0.4, 0.6], near=1e-3, apart=1e-4), "near, apart"),
        (lambda: find_edge_state(BITS, [0.5, 0.5], [-0.4, 0.6], n_rounds=0), "n_rounds: 0"),
        (lambda: basin_picture(EchoStateNetwork(np.eye(3))), "plane: None"),
        (lambda: basin_picture(BITS, plane=([0, 0], [1, 0], [2, 0]), extent=(-1, 1, -1, 1)), "parallel"),
        (lambda: basin_picture(BITS, plane=([0, 0], [1, 0], [0, 1])), "extent: None"),
        (lambda: basin_picture(henon()), "extent: None"),
        (lambda: basin_picture(BITS, extent=(1, -1, -1, 1)), "x_min < x_max"),
        (lambda: basin_picture(BITS, extent=(1, 2)), "extent"),
        (lambda: basin_picture(BITS, resolution=1), "resolution: 1"),
        (lambda: basin_entropy(np.zeros((4, 4))), "labels"),
        (lambda: basin_entropy(np.zeros((4, 4), dtype=int), box=5), "box: 5"),
        (lambda: uncertainty_exponent(np.zeros((9, 9), dtype=int)), "sizes"),
        (lambda: uncertainty_exponent(np.zeros((99, 99), dtype=int), sizes=[4]), "sizes"),
    ],
)  # fmt: skip
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_inputs_of_any_map_are_held() -> None:
    driven = FunctionMap(
        lambda x, u: np.tanh(1.5 * x + u),
        lambda x, u: np.diag(1.5 / np.cosh(1.5 * x + u) ** 2),
        1,
        n_inputs=1,
    )
    network = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    starts = np.linspace(-0.99, 0.99, 40)
    for u in (0.1, 0.5):
        one, two = (basins(s, u, starts=starts) for s in (driven, network))
        assert one.labels.tolist() == two.labels.tolist()
        np.testing.assert_allclose([a.mean for a in one.attractors], [a.mean for a in two.attractors])
        assert len(one.attractors) == (2 if u == 0.1 else 1)


@pytest.mark.slow
def test_a_gated_cell_with_two_attractors() -> None:
    rng = np.random.default_rng(1)
    n = 8
    cell = GRU(
        rng.standard_normal((3 * n, 0)), 2.0 * rng.standard_normal((3 * n, n)), rng.standard_normal(3 * n),
        rng.standard_normal(3 * n),
    )  # fmt: skip
    found = basins(cell, n_starts=20)
    states = [a.states for a in found.attractors]
    assert len(states) == 2
    assert found.labels.tolist() == [naive_label(cell, x, states, 10_000) for x in found.starts]
    edge = find_edge_state(cell, states[0][0], states[1][0])
    assert edge.checked
    np.testing.assert_allclose(cell.step(edge.x), edge.x, atol=1e-12)


def test_progress_and_quadratic_feedback() -> None:
    seen: list[float] = []
    readout = Readout([[1.0]], W_sq=[[0.2]])
    network = EchoStateNetwork([[1.0]], readout=readout, W_fb=[[0.6]])
    found = basins(network, n_starts=50, progress=lambda _, fraction: seen.append(fraction))
    states = [a.states for a in found.attractors]
    assert found.labels.tolist() == [naive_label(network, x, states, 200) for x in found.starts]
    assert seen[-1] == 1.0
    assert all(0.0 <= f <= 1.0 for f in seen)
