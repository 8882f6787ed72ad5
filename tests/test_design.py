"""A directed graph becomes a network, and the network gives the graph back."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
from naive_design import ashwin_ring, pulse_threshold, ring_weights, scalar_pulse, step

from esntools.basins import find_smallest_kick
from esntools.errors import InvalidInputError
from esntools.excitable import excitable_network
from esntools.excitable.design import ExcitableUnit, check_design, design, fold_drive, same_graph
from esntools.excitable.hopfield import hopfield
from esntools.fixed_points import find_fixed_points
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout

RING = nx.DiGraph([(0, 1), (1, 2), (2, 0)])
GAP = ExcitableUnit(0.29).gap


def logistic_network(W: np.ndarray, b: float | np.ndarray, a: float, width: float = 0.05) -> EchoStateNetwork:
    """Return x+ = (1 - a) x + a s(W x + b), the units' own states as outputs."""
    n = len(W)
    bias = np.broadcast_to(b, (n,))
    return EchoStateNetwork(
        W / width, b=(bias - 0.5) / width, leak_rate=a, activation="logistic", readout=Readout(np.eye(n))
    )


def random_graph(n: int, rng: np.random.Generator, density: float, low: float, high: float) -> nx.DiGraph:
    """Every ordered pair, loops too, with a threshold of its own; vertices in random order."""
    graph = nx.DiGraph()
    graph.add_nodes_from(int(v) for v in rng.permutation(n))
    for i in range(n):
        for j in range(n):
            if rng.random() < density:
                graph.add_edge(i, j, threshold=float(rng.uniform(low, high)))
    return graph


def round_trip(graph: nx.DiGraph, *, n_random: int = 64, **options) -> object:
    network = design(graph, **options)
    found = excitable_network(
        network, np.eye(len(graph)), amplitude=1.0, max_amplitude=1.0, n_random=n_random
    )
    return same_graph(graph, found)


# -- one unit ---------------------------------------------------------------------------------------------


def test_the_fold_and_the_gap_are_the_known_ones():
    assert fold_drive() == pytest.approx(0.3028500480, abs=1e-10)
    unit = ExcitableUnit(0.29)
    assert (unit.rest, unit.threshold) == pytest.approx((0.3133722981, 0.3903116964), abs=1e-10)
    known = {
        0.30: 0.0358191, 0.295: 0.0597904, 0.29: 0.0769394, 0.28: 0.1037824, 0.27: 0.1258647,
        0.25: 0.1632950, 0.20: 0.2406494, 0.15: 0.3090641,
    }  # fmt: skip
    for p, gap in known.items():
        assert ExcitableUnit(p).gap == pytest.approx(gap, abs=6e-8)
    barriers = {0.25: 0.0056179, 0.27: 0.0027155, 0.28: 0.0015645, 0.29: 0.00065523, 0.295: 0.00031177}
    for p, barrier in barriers.items():
        assert ExcitableUnit(p).barrier() == pytest.approx(barrier, rel=3e-5)
    with pytest.raises(InvalidInputError, match="switches on by itself"):
        ExcitableUnit(0.31)


@pytest.mark.parametrize(("p", "a", "width"), [(0.29, 0.25, 0.05), (0.2, 0.5, 0.05), (0.4, 0.5, 0.02)])
def test_roots_and_pulse_of_a_unit_are_those_of_its_own_map(p, a, width):
    unit = ExcitableUnit(p, width)
    for y in (unit.rest, unit.threshold):
        assert y - 0.5 * (1.0 + math.tanh((y - 0.5) / (2 * width))) == pytest.approx(p, abs=1e-15)
    assert unit.rest < unit.threshold
    assert unit.pulse(a) == pytest.approx(scalar_pulse(p, a, width, tol=1e-7), abs=2e-7)


def test_no_pulse_carries_a_slow_unit_over_a_wide_gap():
    assert ExcitableUnit(0.29).pulse(0.05) == scalar_pulse(0.29, 0.05) == math.inf


# -- the ring ---------------------------------------------------------------------------------------------


def test_the_weights_of_the_ring_are_those_of_the_page():
    naive = ring_weights(3, 0.29)
    network = design(RING, threshold=GAP, metric="drive", activation="logistic")
    # The other units are off to 1e-7: compensation moves the weights by no more.
    np.testing.assert_allclose(network.dense_W() * 0.05, naive, atol=2e-6)
    tanh = design(RING, threshold=GAP, metric="drive")
    assert sorted(set(np.round(tanh.dense_W(), 2).ravel().tolist())) == [-12.45, -1.55, 5.0]
    x = np.array([0.9, 0.2, 0.4])
    X, s = x.copy(), 2.0 * x - 1.0
    for k in range(50):
        u = [0.0, 0.3 * (k == 20), 0.0]
        X, s = network.step(X, u), tanh.step(s, u)
        x = np.array(step(network.dense_W() * 0.05, np.full(3, 0.6), 0.25, 0.05, list(x), u))
    np.testing.assert_allclose(s, 2.0 * X - 1.0, atol=1e-13)
    np.testing.assert_allclose(X, x, atol=1e-12)


def test_the_ring_has_three_attractors_three_saddles_and_a_repeller():
    network = design(RING, threshold=GAP, metric="drive", activation="logistic")
    points = find_fixed_points(network.at_input(np.zeros(3)), rng=0)
    assert sorted(p.n_unstable for p in points) == [0, 0, 0, 1, 1, 1, 2]
    assert points.audit == "passed"
    saddle = next(p for p in points if p.n_unstable == 1)
    assert np.sort(saddle.x) == pytest.approx([0.0, 0.1003, 1.0], abs=1e-4)
    assert abs(saddle.eigenvalues[0]) == pytest.approx(1.2012, abs=1e-4)
    repeller = next(p for p in points if p.n_unstable == 2)
    assert repeller.x == pytest.approx([0.1128] * 3, abs=1e-4)


def test_above_the_fold_the_ring_cycles_by_itself_in_its_order():
    visited, x = [], np.array([1.0, 0.0, 0.0])
    network = logistic_network(ring_weights(3, 0.31), 0.6, 0.25)
    for _ in range(700):
        x = network.step(x)
        if x.max() > 0.9 and (not visited or visited[-1] != x.argmax()):
            visited.append(int(x.argmax()))
    assert visited[:6] == [0, 1, 2, 0, 1, 2]
    assert 11 <= len(visited) <= 13  # 58.5 steps at each
    x = np.array([1.0, 0.0, 0.0])
    network = logistic_network(ring_weights(3, 0.29), 0.6, 0.25)
    for _ in range(700):
        x = network.step(x)
    assert x.argmax() == 0


def test_the_smallest_state_kick_of_the_ring_is_the_closed_form():
    network = logistic_network(ring_weights(3, 0.29), 0.6, 0.25)
    row = ring_weights(3, 0.29)[1]
    x = np.array([1.0, 0.0, 0.0])
    for _ in range(400):
        x = network.step(x)
    kick = find_smallest_kick(network, x, target=np.array([0.0, 1.0, 0.0]), n_starts=3)
    assert kick.size == pytest.approx(0.028484, rel=0.01)
    assert kick.size == pytest.approx(GAP / np.linalg.norm(row), rel=1e-6)
    assert kick.vector @ row / kick.size / np.linalg.norm(row) > 0.999
    back = find_smallest_kick(network, x, target=np.array([0.0, 0.0, 1.0]), n_starts=3)
    assert back.size >= 0.75
    inside = find_smallest_kick(network, x, target=np.array([0.0, 1.0, 0.0]), n_starts=3, box="range")
    assert inside.size == pytest.approx(ExcitableUnit(0.29).range_kick(row, 0), rel=1e-3)
    assert inside.size == pytest.approx(0.0735, rel=1e-3)
    # The same threshold designed for: twice as large in the tanh form.
    for activation, scale in (("logistic", 1.0), ("tanh", 2.0)):
        designed = design(RING, threshold=scale * kick.size, metric="state", activation=activation)
        gain = 0.05 if activation == "logistic" else 0.2
        np.testing.assert_allclose(designed.dense_W() * gain, ring_weights(3, 0.29), atol=1e-5)


def test_in_the_drives_own_coordinates_the_smallest_kick_is_the_gap():
    W, a = ring_weights(3, 0.29), 0.25

    def s(y):
        return 0.5 * (1.0 + np.tanh((y - 0.5) / 0.1))

    def drive_step(y):
        return (1.0 - a) * y + a * (s(y) @ W.T + 0.6)

    def drive_jacobian(y):
        return (1.0 - a) * np.eye(3) + a * W * (s(y) * (1.0 - s(y)) / 0.05)

    system = FunctionMap(drive_step, drive_jacobian, 3)
    y = W @ np.array([1.0, 0.0, 0.0]) + 0.6
    for _ in range(400):
        y = system.step(y)
    target = W @ np.array([0.0, 1.0, 0.0]) + 0.6
    kick = find_smallest_kick(system, y, target=target, n_starts=3)
    assert kick.size == pytest.approx(0.07694, rel=0.01)
    assert kick.size == pytest.approx(GAP, rel=1e-6)


def test_the_published_ring_has_the_known_threshold():
    W = ashwin_ring(3, 0.29)
    network = logistic_network(W, 0.0, 0.25)
    x = np.array([1.0, 0.0, 0.0])
    for _ in range(400):
        x = network.step(x)
    kick = find_smallest_kick(network, x, target=np.array([0.0, 1.0, 0.0]), n_starts=3)
    assert kick.size == pytest.approx(0.06667, rel=0.01)


# -- any graph --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_thresholds_of_their_own_come_back_from_kicks():
    graph = nx.DiGraph()
    graph.add_nodes_from(range(4))
    wanted = {(1, 2): 0.1258647, (2, 0): 0.2406494, (3, 1): 0.0597904}
    for (u, v), gap in wanted.items():
        graph.add_edge(u, v, threshold=gap)
    network = design(graph, metric="drive", activation="logistic")
    W = network.dense_W() * 0.05
    states = check_design(network, graph).states
    silent = network.at_input(np.zeros(4))
    for (u, v), gap in wanted.items():
        kick = find_smallest_kick(silent, states[u], target=states[v], n_starts=2)
        assert kick.size * np.linalg.norm(W[v]) == pytest.approx(gap, rel=0.02)


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_a_graph_with_everything_comes_back(activation):
    """A 2-cycle, a vertex with two ways out, a source, a sink and an isolated vertex; padded and shuffled."""
    graph = nx.DiGraph()
    graph.add_nodes_from("edcba")
    for u, v, g in (("a", "b", 0.12), ("b", "a", 0.2), ("a", "c", 0.16), ("d", "a", 0.25)):
        graph.add_edge(u, v, threshold=g)
    network = design(graph, activation=activation, padding=3, shuffle=True, rng=4)
    assert network.n_units == 9
    assert network.n_inputs == network.n_outputs == 5
    check = check_design(network, graph)
    assert check.passed
    assert check.n_strays == 0
    # Every edge's threshold by a loop of runs, every other pair has none up to amplitude 1.
    for i, u in enumerate(graph):
        for j, v in enumerate(graph):
            found = pulse_threshold(network, check.states[i], j, j, 300) if u != v else math.inf
            wanted = graph.edges[u, v]["threshold"] if (u, v) in graph.edges else math.inf
            assert found == pytest.approx(wanted, rel=2e-3)


def test_a_small_random_graph_makes_the_round_trip():
    graph = random_graph(3, np.random.default_rng(1), 0.4, 0.08, 0.25)
    match = round_trip(graph, padding=2, shuffle=True, rng=1)
    assert match.same, match
    assert match.off < 2e-3


def campaign(sizes, seed: int, n_random: int = 64) -> list[str]:
    """Round trips over densities, both activations, leak rates, padding and orders; what failed."""
    rng, failed, trial = np.random.default_rng(seed), [], 0
    for n in sizes:
        for density in (0.15, 0.35):
            trial += 1
            graph = random_graph(n, rng, density, 0.08, 0.3)
            options = {
                "activation": ("tanh", "logistic")[trial % 2], "leak_rate": (0.25, 0.5, 0.3)[trial % 3],
                "padding": 2 * (trial % 3), "shuffle": True, "rng": trial,
            }  # fmt: skip
            match = round_trip(graph, n_random=n_random, **options)
            if not match.same or match.off > 2e-3:
                failed.append(f"{n} vertices, density {density}, {options}: {match}")
    return failed


@pytest.mark.slow
@pytest.mark.ci
def test_random_graphs_of_up_to_six_vertices_make_the_round_trip():
    assert not campaign((2, 4, 6), 0)


@pytest.mark.slow
def test_random_graphs_of_up_to_twelve_vertices_make_the_round_trip():
    assert not campaign((3, 5, 7, 8, 9, 10, 11, 12), 1)


@pytest.mark.slow
def test_random_graphs_of_twenty_vertices_make_the_round_trip():
    assert not campaign((20,), 2)


@pytest.mark.slow
def test_a_dense_graph_of_twelve_vertices_makes_the_round_trip():
    graph = random_graph(12, np.random.default_rng(3), 0.6, 0.08, 0.3)
    assert max(d for _, d in graph.out_degree()) >= 9
    match = round_trip(graph)
    assert match.same, match


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "low", "high"), [("state", 0.03, 0.08), ("drive", 0.05, 0.2)])
def test_kicks_of_several_ways_out_are_the_smallest_ones(metric, low, high):
    """Of two and three ways out, in both metrics of the state, against the search for smallest kicks."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(5))
    rng = np.random.default_rng(0)
    for u, v in ((0, 1), (0, 2), (1, 2), (2, 3), (2, 0), (4, 0), (4, 1), (4, 3)):
        graph.add_edge(u, v, threshold=float(rng.uniform(low, high)))
    network = design(graph, metric=metric)
    states = check_design(network, graph).states
    silent = network.at_input(np.zeros(5))
    W = network.dense_W()
    for u, v in graph.edges:
        wanted = graph.edges[u, v]["threshold"]
        if metric == "state":
            kick = find_smallest_kick(silent, states[u], target=states[v])
        else:
            units = np.zeros(network.n_units)
            # A passing unit shares the line of the vertex that it leads to.
            near = network.preactivation(states[u], np.zeros(5))
            line = np.flatnonzero(network.W_in[:, v])
            units[line[np.argmax(near[line])]] = np.max(network.W_in)
            d = np.linalg.solve(W, units)
            kick = find_smallest_kick(silent, states[u], target=states[v], subspace=d)
            wanted *= float(np.linalg.norm(d))
        assert kick.size == pytest.approx(wanted, rel=0.02), (u, v)


def test_the_largest_gap_finds_the_graph_without_being_told():
    network = design(RING, threshold=0.15)
    assert same_graph(RING, excitable_network(network, n_random=64), threshold=0.15)


def test_a_self_loop_leads_out_and_back():
    graph = nx.DiGraph([("a", "a"), ("a", "b")])
    network = design(graph, threshold=0.15)
    assert network.n_units == 4
    x = check_design(network, graph).states[0]
    levels = {}
    for g in (0.149, 0.151):
        X, levels[g] = network.step(x, [g, 0.0]), []
        for _ in range(400):
            X = network.step(X, [0.0, 0.0])
            levels[g].append(network.output(X)[0])
        assert network.output(X)[0] > 0.9
    assert min(levels[0.149]) > 0.9
    assert min(levels[0.151]) < 0.1


def test_without_a_leader_many_units_stay_half_off():
    from esntools.excitable.design.checking import destinations

    n = 20
    W = np.full((n, n), -1.4)
    np.fill_diagonal(W, 1.0)
    alone = logistic_network(W, 0.6, 0.25)
    X = np.random.default_rng(0).random((64, n))
    assert np.mean(destinations(alone, X)[0] < 0) > 0.5
    network = design(nx.empty_graph(n, create_using=nx.DiGraph), activation="logistic")
    assert np.all(destinations(network, X)[0] >= 0)


@pytest.mark.parametrize("n", [1, 2])
def test_one_vertex_and_two_without_an_edge(n):
    graph = nx.empty_graph(n, create_using=nx.DiGraph)
    network = design(graph)
    assert network.n_units == n
    assert check_design(network, graph).passed


# -- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "options", "match"),
    [
        (nx.Graph([(0, 1)]), {}, "networkx.DiGraph"),
        (nx.MultiDiGraph([(0, 1)]), {}, "networkx.DiGraph"),
        ([(0, 1)], {}, "networkx.DiGraph"),
        (nx.DiGraph(), {}, "at least one vertex"),
        (RING, {"leak_rate": 0.6}, "at most 0.5"),
        (RING, {"leak_rate": 0.0}, "leak_rate"),
        (RING, {"threshold": -0.1}, "threshold"),
        (RING, {"threshold": math.nan}, "threshold"),
        (RING, {"threshold": 0.8}, "at most 0.75"),
        (RING, {"threshold": 1.0, "metric": "state"}, "must stay below about"),
        (RING, {"threshold": 0.6, "metric": "drive"}, "must stay below about 0.5"),
        (RING, {"metric": "norm"}, "metric"),
        (RING, {"activation": "relu"}, "tanh"),
        (RING, {"width": 0.2}, "width"),
        (RING, {"padding": -1}, "padding"),
        (nx.DiGraph([(0, 1, {"threshold": "wide"})]), {}, r"graph.edges\[0, 1\]"),
        (nx.DiGraph([(0, 1, {"threshold": "0.2"})]), {}, "without quotes"),
        (nx.DiGraph([(0, 1, {"weight": 0.2})]), {"threshold": "weigth"}, "did you mean 'weight'"),
        (RING, {"threshold": "weight"}, "a number for all edges"),
        (nx.DiGraph([(0, 1, {"threshold": 0.0})]), {}, r"graph.edges\[0, 1\]"),
        (nx.complete_graph(60, create_using=nx.DiGraph), {"threshold": 0.1}, "at most"),
    ],
)  # fmt: skip
def test_what_cannot_be_designed_is_refused_with_the_reason(graph, options, match):
    with pytest.raises(InvalidInputError, match=match):
        design(graph, **options)


def test_the_check_sees_a_spoiled_network():
    network = design(RING, threshold=0.15, activation="logistic")
    W = np.array(network.dense_W())
    W[0, 0] = -W[0, 0]
    spoiled = EchoStateNetwork(W, network.W_in, network.b, 0.25, "logistic", network.readout)
    check = check_design(spoiled, RING)
    assert not check.passed
    assert "vertex 0 is no attractor" in check.reasons[0]
    with pytest.raises(InvalidInputError, match="outputs"):
        check_design(network, nx.DiGraph([(0, 1)]))


def test_a_wrong_graph_is_not_the_same():
    found = nx.DiGraph()
    for k in range(3):
        found.add_node(k, output=list(np.eye(3)[2 - k]))
    found.add_edge(2, 1, threshold=0.15)
    found.add_edge(0, 1, threshold=0.15)
    match = same_graph(RING, found, threshold=0.1)
    assert not match
    assert set(match.missing) == {(1, 2), (2, 0)}
    assert match.extra == ((2, 1),)
    assert match.off == pytest.approx(0.5)
    found.add_node(3, output=[0.5, 0.5, 0.0])
    assert same_graph(RING, found).extra_nodes == (3,)
    found.remove_node(1)
    assert same_graph(RING, found).missing_vertices == (1,)


# -- Hopfield ---------------------------------------------------------------------------------------------


def test_patterns_are_exact_fixed_points_of_the_projection_rule():
    rng = np.random.default_rng(0)
    Xi = rng.choice([-1.0, 1.0], (8, 20))
    network = hopfield(Xi, gain=1.5, leak_rate=0.3)
    level = 0.8585596366401
    silent = network.at_input(np.zeros(8))
    for p, xi in enumerate(Xi):
        np.testing.assert_allclose(silent.step(level * xi), level * xi, atol=1e-12)
        multipliers = np.sort(np.linalg.eigvals(silent.jacobian(level * xi)).real)
        # On the span of the patterns, and across it.
        assert multipliers[-1] == pytest.approx(0.7 + 0.3 * 1.5 * (1.0 - level**2), abs=1e-10)
        assert multipliers[0] == pytest.approx(0.7, abs=1e-10)
        np.testing.assert_allclose(network.output(level * xi), np.eye(8)[p], atol=1e-12)
    x = Xi[3].copy()
    x[:2] *= -1.0
    for _ in range(600):
        x = silent.step(x)
    np.testing.assert_allclose(x, level * Xi[3], atol=1e-9)


def test_hebb_stores_few_patterns_and_says_so_when_there_are_too_many():
    rng = np.random.default_rng(1)
    network = hopfield(rng.choice([-1.0, 1.0], (2, 60)), rule="hebb", gain=3.0)
    assert network.n_outputs == 2
    with pytest.raises(InvalidInputError, match="overlap too much"):
        hopfield(rng.choice([-1.0, 1.0], (30, 60)), rule="hebb")


@pytest.mark.parametrize(
    ("patterns", "options", "match"),
    [
        ([[1, 0]], {}, "-1 or 1"),
        ([1, -1], {}, "shape"),
        ([[1, -1, 1], [-1, 1, -1]], {}, "its negative"),
        ([[1, -1]], {"gain": 1.0}, "above 1"),
        ([[1, -1]], {"rule": "delta"}, "rule"),
        ([[1, -1]], {"leak_rate": 1.5}, "leak_rate"),
    ],
)
def test_bad_patterns_are_refused(patterns, options, match):
    with pytest.raises(InvalidInputError, match=match):
        hopfield(patterns, **options)
