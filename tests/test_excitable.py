"""Excitable networks and visit graphs: closed forms, the published split state, the slow twin, bad input."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from naive_dynamics import naive_destination
from naive_excitable import naive_end, naive_first_amplitude, naive_largest_gap

from esntools.basins.statistics import wilson_interval
from esntools.errors import InvalidInputError
from esntools.excitable import at_amplitude, excitable_network, find_landscape, threshold_matrix, visit_graph
from esntools.excitable.cuts import largest_gap
from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout

FIXTURE = Path(__file__).parent / "corpora" / "flipflop2_N100.npz"

#: The stable point of tanh(1.5 m) = m; the pulse that carries -m past 0 is 1.5 m.
M = 0.8585596366401103


def two_bits() -> EchoStateNetwork:
    """Two uncoupled bistable units, an input and an output each."""
    return EchoStateNetwork(1.5 * np.eye(2), W_in=np.eye(2), readout=Readout(np.eye(2)))


def unit_pulses(n: int) -> np.ndarray:
    return np.repeat(np.eye(n), 2, axis=0) * np.tile([1.0, -1.0], n)[:, None]


def trained_flip_flop(n_bits: int, n_units: int, seed: int, sparse: bool = False) -> EchoStateNetwork:
    """Ridge regression with noisy teacher forcing."""
    rng = np.random.default_rng(seed)
    W = np.where(rng.random((n_units, n_units)) < 0.2, rng.uniform(-1, 1, (n_units, n_units)), 0.0)
    W *= 0.9 / np.max(np.abs(np.linalg.eigvals(W)))
    W_in, W_fb = rng.uniform(-1, 1, (2, n_units, n_bits))
    T = 2500
    u = np.where(rng.random((T, n_bits)) < 0.03, rng.choice([-1.0, 1.0], (T, n_bits)), 0.0)
    u[0] = 1.0
    y, x, states, targets = np.zeros(n_bits), np.zeros(n_units), [], []
    for v in u:
        x = np.tanh(W @ x + W_in @ v + W_fb @ (y + 0.2 * rng.standard_normal(n_bits)))
        y = np.where(v != 0.0, v, y)
        states.append(x)
        targets.append(y)
    X, Y = np.array(states[100:]), np.array(targets[100:])
    W_out = np.linalg.solve(X.T @ X + 0.2 * np.eye(n_units), X.T @ Y).T
    recurrent = scipy.sparse.csr_array(W) if sparse else W
    return EchoStateNetwork(recurrent, W_in=W_in, W_fb=W_fb, readout=Readout(W_out))


def test_two_independent_bits() -> None:
    graph = excitable_network(two_bits(), unit_pulses(2), n_random=400, tolerance=1e-9)
    outputs = [graph.nodes[k]["output"] for k in graph]
    np.testing.assert_allclose(outputs, [[-M, -M], [-M, M], [M, -M], [M, M]], atol=1e-12)
    # A pulse on one line flips that bit and leaves the other: the square, in both directions.
    assert set(graph.edges) == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2)}
    expected = {(0, 2): 0, (1, 3): 0, (2, 0): 1, (3, 1): 1, (0, 1): 2, (2, 3): 2, (1, 0): 3, (3, 2): 3}
    for edge, pulse in expected.items():
        data = graph.edges[edge]
        assert data["pulse"] == pulse
        assert data["threshold"] == pytest.approx(1.5 * M, abs=1e-8)
        assert (data["at_unit"], data["checked"], data["alternatives"]) == (False, True, [])
    assert graph.graph["pulse_table"] == [[k] * 4 for k in range(4)]
    assert (graph.graph["audit"], graph.graph["index_sum"], graph.graph["n_saddles"]) == ("passed", 1, 5)
    ends = sorted(s["connects"] for s in graph.graph["saddles"] if s["connects"])
    assert ends == [[0, 1], [0, 2], [1, 3], [2, 3]]
    # The basins are the quadrants: the shares are counts of signs, exactly.
    drawn = np.random.default_rng(0).spawn(3)[1].uniform(-1.0, 1.0, (400, 2))
    signs = 2 * (drawn[:, 0] > 0.0) + (drawn[:, 1] > 0.0)
    for k in graph:
        low, high = graph.nodes[k]["share_interval"]
        assert graph.nodes[k]["share"] == np.mean(signs == k)
        assert (low, high) == wilson_interval(int(np.sum(signs == k)), 400)
        assert graph.nodes[k]["radius"] == pytest.approx(1.5 * (1.0 - M * M), abs=1e-12)
    assert sum(graph.nodes[k]["share"] for k in graph) == 1.0


def test_longer_pulses_need_less() -> None:
    """The threshold of a pulse of two steps, by bisection on the scalar map itself."""
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    graph = excitable_network(bit, [[1.0]], pulse_length=2, tolerance=1e-9)
    low, high = 0.0, 2.0
    for _ in range(60):
        g = 0.5 * (low + high)
        x = np.tanh(1.5 * np.tanh(-1.5 * M + g) + g)
        low, high = (low, g) if x > 0.0 else (g, high)
    assert graph.edges[0, 1]["threshold"] == pytest.approx(high, abs=1e-7)
    assert high < 1.5 * M


@pytest.mark.slow
@pytest.mark.ci
def test_published_fixture() -> None:
    with np.load(FIXTURE) as data:
        network = EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip
    graph = excitable_network(network, unit_pulses(2), n_random=64)
    assert graph.graph["pulse_table"] == [
        [4, 0, 1, 0], [3, 1, 1, 2], [4, 2, 1, 2], [3, 1, 3, 4], [4, 2, 3, 4], [5, 1, 5, 4],
    ]  # fmt: skip
    ring = sorted(s["connects"] for s in graph.graph["saddles"] if s["connects"])
    assert ring == [[0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 5]]
    assert (graph.graph["audit"], graph.graph["n_saddles"]) == ("passed", 7)
    assert all(data["checked"] for *_, data in graph.edges(data=True))
    # The split state: from one half to the other by a quarter of a pulse, and by itself never back.
    edge = graph.edges[2, 4]
    attractors = [np.array([graph.nodes[k]["x"]]) for k in graph]
    assert (edge["pulse"], edge["threshold"]) == (0, pytest.approx(0.2375, abs=5e-4))
    for factor, end in ((1.001, 4), (0.999, 2)):
        x = network.step(attractors[2][0], factor * edge["threshold"] * unit_pulses(2)[0])
        assert naive_end(network, x, attractors, 2000) == end
    # x -> -x is a symmetry: the graph is its own mirror image.
    for i, j, data in graph.edges(data=True):
        assert graph.edges[5 - i, 5 - j]["threshold"] == pytest.approx(data["threshold"], rel=1e-4)


@pytest.mark.parametrize("sparse", [False, True])
def test_trained_network_against_the_slow_twin(sparse: bool) -> None:
    network = trained_flip_flop(2, 50, 1, sparse)
    pulses = unit_pulses(2)
    graph = excitable_network(network, pulses, n_amplitudes=24, max_amplitude=2.0)
    attractors = np.array([graph.nodes[k]["x"] for k in graph])
    assert len(attractors) == 4
    for i, p in itertools.product(range(len(attractors)), range(len(pulses))):
        destination = naive_destination(network, attractors[i], pulses[p], attractors, 800)
        assert graph.graph["pulse_table"][i][p] == destination
    # The automaton that was to be learned: a pulse sets its bit.
    bits = np.sign([graph.nodes[k]["output"] for k in graph])
    for i, p in itertools.product(range(4), range(4)):
        wanted = np.where(pulses[p] != 0.0, pulses[p], bits[i])
        np.testing.assert_array_equal(bits[graph.graph["pulse_table"][i][p]], wanted)
    for i, j, data in list(graph.edges(data=True))[:6]:
        pulse = pulses[data["pulse"]]
        for factor, lands in ((1.001, True), (0.999, False)):
            x = attractors[i]
            reached = naive_destination(network, x, factor * data["threshold"] * pulse, attractors, 1500)
            assert (reached == j) is lands


def test_thresholds_need_not_be_monotone() -> None:
    """With a sine, a stronger pulse leads back: the first crossing into each attractor is reported."""
    network = EchoStateNetwork([[1.5]], W_in=[[1.0]], activation="sine")
    graph = excitable_network(network, [[1.0]], max_amplitude=8.0, n_amplitudes=100, tolerance=1e-9)
    stable = [graph.nodes[k]["x"][0] for k in graph]
    assert len(stable) == 2
    # sin(1.5 x + g) turns positive at g = -1.5 x and negative again at pi - 1.5 x.
    assert graph.edges[0, 1]["threshold"] == pytest.approx(-1.5 * stable[0], abs=1e-7)
    assert graph.edges[1, 0]["threshold"] == pytest.approx(np.pi - 1.5 * stable[1], abs=1e-7)
    assert all(data["checked"] for *_, data in graph.edges(data=True))


def test_one_attractor_only_or_none_or_chaos() -> None:
    cycle = excitable_network(EchoStateNetwork([[-2.0]], W_in=[[1.0]]), [[1.0]], n_random=20, relax_steps=200)
    data = cycle.nodes[0]
    assert (data["kind"], data["period"], data["share"]) == ("periodic orbit", 2, 1.0)
    np.testing.assert_allclose(np.abs(data["states"]), 0.9575040240772688, atol=1e-12)
    assert data["radius"] == pytest.approx((2.0 * (1.0 - 0.9575040240772688**2)) ** 2, abs=1e-9)
    # Both branches of the point that has flipped lead to the cycle around it.
    assert [s["connects"] for s in cycle.graph["saddles"]] == [[0, 0]]
    single = excitable_network(EchoStateNetwork([[0.5]], W_in=[[1.0]]), [[1.0]], n_random=20)
    assert list(single.nodes(data="share")) == [(0, 1.0)]
    assert single.graph["pulse_table"] == [[0]]
    for graph in (cycle, single):
        assert (len(graph.edges), graph.graph["connections"]) == (0, [])
        assert "one attractor only" in graph.graph["note"]
    away = FunctionMap(lambda x, u: 2.0 * x + u, lambda x, u: np.array([[2.0]]), 1, 1)
    none = excitable_network(away, [[1.0]], n_random=20)
    assert (len(none), none.graph["pulse_table"], none.graph["unresolved_share"]) == (0, [], 1.0)
    assert "no attractor was found" in none.graph["note"]
    parabola = FunctionMap(
        lambda x, u: np.clip(1.0 - 1.9 * x**2 + u, -1.0, 1.0), lambda x, u: -3.8 * x[:, None], 1, 1,
        state_bounds=(-1.0, 1.0),
    )  # fmt: skip
    chaos = excitable_network(parabola, n_random=20, relax_steps=300)
    assert chaos.nodes[0]["kind"] == "chaos"
    assert chaos.nodes[0]["exponent"] == pytest.approx(0.549, abs=0.03)
    assert (chaos.nodes[0]["period"], chaos.nodes[0]["radius"], chaos.nodes[0]["multipliers"]) == (None,) * 3
    assert set(np.ravel(chaos.graph["pulse_table"])) == {-1}
    assert "attractor 0 is no point or cycle (chaos): it has no thresholds" in chaos.graph["note"]
    for graph in (cycle, single, none, chaos):
        json.dumps([graph.graph, dict(graph.nodes(data=True))], allow_nan=False)


def test_a_failed_audit_is_said_on_the_graph() -> None:
    points = find_fixed_points(two_bits(), [0.0, 0.0])
    short = FixedPoints(points.points[:-1], 0, "failed", "the indices sum to 0 instead of 1", 1, 1)
    graph = excitable_network(two_bits(), n_random=20, fixed_points=short)
    assert (graph.graph["audit"], graph.graph["index_sum"], graph.graph["n_saddles"]) == ("failed", 0, 4)
    assert graph.graph["note"].startswith("the audit of the fixed points failed: the indices sum to 0")


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    excitable_network(two_bits(), n_random=20, progress=lambda label, fraction: told.append(fraction))
    assert told == sorted(told)
    assert (told[0] >= 0.0, told[-1], len(told) > 5) == (True, 1.0, True)


def staircase() -> FunctionMap:
    """Stable points at 0.5, 1.5, ... 4.5 with boundaries at the whole numbers; a pulse g moves by g."""
    return FunctionMap(
        lambda x, u: np.clip(x + 0.05 * np.sin(2.0 * np.pi * x) + u, 0.1, 4.9),
        lambda x, u: np.array([[1.0 + 0.1 * np.pi * np.cos(2.0 * np.pi * x[0])]]), 1, 1,
        state_bounds=(0.1, 4.9),
    )  # fmt: skip


def test_destinations_between_two_scanned_amplitudes_are_found() -> None:
    graph = excitable_network(staircase(), [[1.0]], n_amplitudes=2, n_random=60, tolerance=1e-9)
    assert len(graph) == 5
    matrix = threshold_matrix(graph)
    for i, j in itertools.product(range(5), repeat=2):
        if i < j:
            # Two destinations are met by the scan, at 2 and 4; the others inside its brackets.
            assert matrix[i, j] == pytest.approx(j - i - 0.5, abs=1e-7)
        else:
            assert np.isnan(matrix[i, j]) == (i != j)
    assert all(c["checked"] for c in graph.graph["connections"])


def test_attractors_that_only_a_pulse_reaches_are_found() -> None:
    """Far from the random states, beyond 3, runs end on a cycle around 6."""
    far = FunctionMap(
        lambda x, u: np.where(x < 3.0, 0.5 * x, 6.0 - np.tanh(2.0 * (x - 6.0))) + 7.0 * u,
        lambda x, u: np.where(x < 3.0, 0.5, -2.0 / np.cosh(2.0 * (x - 6.0)) ** 2)[:, None], 1, 1,
    )  # fmt: skip
    points = find_fixed_points(FunctionMap(lambda x: 0.5 * x, lambda x: np.array([[0.5]]), 1))
    assert len(find_landscape(far, fixed_points=points)) == 1
    graph = excitable_network(far, [[1.0]], fixed_points=points, max_amplitude=1.2, tolerance=1e-9)
    assert [graph.nodes[k]["kind"] for k in graph] == ["fixed point", "periodic orbit"]
    assert graph.graph["pulse_table"][0] == [1]
    assert graph.edges[0, 1]["threshold"] == pytest.approx(3.0 / 7.0, abs=1e-8)
    assert graph.nodes[1]["share"] == 0.0


def test_a_pulse_may_lead_to_chaos() -> None:
    """A stable point at -2 beside chaos on [-1, 1]: a threshold leads into the chaos, and none out of it."""
    system = FunctionMap(
        lambda x, u: np.where(x < -1.5, -2.0 + 0.5 * (x + 2.0), 1.0 - 1.9 * np.clip(x, -1.0, 1.0) ** 2) + u,
        lambda x, u: np.where(x < -1.5, 0.5, -3.8 * x)[:, None], 1, 1, state_bounds=(-2.5, 1.0),
    )  # fmt: skip
    graph = excitable_network(system, [[1.0], [-1.0]], n_random=30, relax_steps=300, tolerance=1e-9)
    assert [graph.nodes[k]["kind"] for k in graph] == ["fixed point", "chaos"]
    assert graph.graph["pulse_table"] == [[1, 0], [-1, -1]]
    assert [(c["source"], c["target"], c["pulse"]) for c in graph.graph["connections"]] == [(0, 1, 0)]
    assert graph.edges[0, 1]["threshold"] == pytest.approx(0.5, abs=1e-8)
    assert graph.edges[0, 1]["checked"]


def test_pulses_from_a_cycle_count_by_their_best_phase() -> None:
    """A unit that alternates weakly drives one that is bistable."""
    network = EchoStateNetwork([[-2.0, 0.0], [0.2, 1.5]], W_in=[[0.0], [1.0]], readout=Readout(np.eye(2)))
    graph = excitable_network(network, [[1.0], [-1.0]], n_random=60, max_amplitude=2.0, tolerance=1e-9)
    assert [graph.nodes[k]["kind"] for k in graph] == ["periodic orbit"] * 2
    assert [graph.nodes[k]["output"][1] < 0.0 for k in graph] == [True, False]
    attractors = [np.array(graph.nodes[k]["states"]) for k in graph]
    for i, p in itertools.product(range(2), range(2)):
        x = network.step(attractors[i][0], graph.graph["pulses"][p])
        assert graph.graph["pulse_table"][i][p] == naive_end(network, x, attractors, 300)
    for i, pulse in ((0, 0), (1, 1)):
        v = np.array(graph.graph["pulses"][pulse])
        brackets = [
            naive_first_amplitude(network, x, v, 1 - i, attractors, most=2.0, n=40, n_steps=200)
            for x in attractors[i]
        ]
        low, high = min(brackets, key=lambda bracket: bracket[1])
        connection = next(c for c in graph.graph["connections"] if (c["source"], c["pulse"]) == (i, pulse))
        assert low <= connection["threshold"] <= high
        # The other phase needs more, by an amount that the mesh resolves.
        assert max(bracket[0] for bracket in brackets) > high
        assert brackets[connection["phase"]] == (low, high)
        assert connection["checked"]


def test_kicks_start_from_the_input_between_pulses() -> None:
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
    rest = 0.1
    graph = excitable_network(bit, [[1.0], [-1.0]], u=[rest], n_random=40, tolerance=1e-9)
    low, middle, high = np.sort([p.x[0] for p in find_fixed_points(bit, [rest])])
    assert [graph.nodes[k]["x"][0] for k in graph] == pytest.approx([low, high], abs=1e-12)
    # The pulse has to bring 1.5 x + rest + g to the preactivation of the saddle.
    assert graph.edges[0, 1]["threshold"] == pytest.approx(1.5 * (middle - low), abs=1e-7)
    assert graph.edges[1, 0]["threshold"] == pytest.approx(1.5 * (high - middle), abs=1e-7)
    assert graph.graph["rest"] == [rest]


# -- edges at an amplitude ---------------------------------------------------------------------------------


def four_wells() -> nx.DiGraph:
    """Two bits that are fed unequally: a pulse of the first line flips its bit at a tenth of the size."""
    network = EchoStateNetwork(1.5 * np.eye(2), W_in=np.diag([10.0, 1.0]), readout=Readout(np.eye(2)))
    return excitable_network(network, n_random=40, tolerance=1e-9)


def test_edges_are_cut_in_the_largest_gap() -> None:
    graph = four_wells()
    easy, hard = {(0, 2), (2, 0), (1, 3), (3, 1)}, {(0, 1), (1, 0), (2, 3), (3, 2)}
    assert graph.graph["pulses"] == [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    assert set(graph.edges) == easy
    assert (graph.graph["cut"], graph.graph["metric"]) == ("largest gap", "input")
    assert graph.graph["amplitude"] == pytest.approx(1.5 * M / np.sqrt(10.0), rel=1e-6)
    assert graph.graph["gap"] == pytest.approx(10.0, rel=1e-6)
    # Nothing is lost with an edge.
    matrix = threshold_matrix(graph)
    for i, j in itertools.permutations(range(4), 2):
        expected = 0.15 * M if (i, j) in easy else 1.5 * M if (i, j) in hard else np.nan
        assert matrix[i, j] == pytest.approx(expected, abs=1e-8, nan_ok=True)
    whole = at_amplitude(graph, np.inf)
    assert set(whole.edges) == easy | hard
    assert (whole.graph["cut"], whole.graph["amplitude"], whole.graph["gap"]) == ("none", None, None)
    assert set(at_amplitude(whole, 1.0).edges) == set(at_amplitude(whole, None).edges) == easy
    assert set(at_amplitude(whole, 0.0).edges) == set()
    assert set(graph.edges) == easy
    assert nx.number_strongly_connected_components(graph) == 2
    assert nx.dijkstra_path_length(whole, 0, 3, weight="threshold") == pytest.approx(1.65 * M, abs=1e-8)
    for _, _, data in whole.edges(data=True):
        assert data["thresholds"] == {"input": data["threshold"]}
        assert data["lower_bounds"] == {"input": 0.0} == {"input": data["lower"]}


def test_a_cut_hides_nothing_of_what_the_given_pulses_do() -> None:
    """At amplitude 1 both pulses do something: the gap of ratio 6 between them is no cut."""
    network = EchoStateNetwork(1.5 * np.eye(2), W_in=np.diag([10.0, 1.6]), readout=Readout(np.eye(2)))
    graph = excitable_network(network, unit_pulses(2), n_random=40)
    assert all(data["at_unit"] for *_, data in graph.edges(data=True))
    assert (len(graph.edges), graph.graph["cut"], graph.graph["task_pulses"]) == (8, "none", True)
    by_default = excitable_network(network, n_random=40)
    assert (len(by_default.edges), by_default.graph["task_pulses"]) == (4, False)
    given = excitable_network(network, unit_pulses(2), amplitude=0.5, n_random=40)
    assert (len(given.edges), given.graph["cut"], given.graph["amplitude"]) == (4, "given", 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_largest_gap_against_the_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for n in range(6):
        values = np.exp(rng.normal(0.0, 1.0, n)).tolist() * int(rng.integers(1, 3))
        found, expected = largest_gap(values), naive_largest_gap(values)
        if expected[0] is None:
            assert found == (None, None)
        else:
            assert found == pytest.approx(expected)
    assert largest_gap([1.0, 1.9]) == (None, None)
    assert largest_gap([0.1, 1.0, 3.0], 1.0) == pytest.approx((np.sqrt(3.0), 3.0))


def test_wilson_interval_of_a_published_example() -> None:
    # Ten of ten: the lower end is n / (n + z^2).
    assert wilson_interval(10, 10) == pytest.approx((10.0 / (10.0 + 1.959964**2), 1.0), abs=1e-6)
    low, high = wilson_interval(0, 20)
    assert (low, high) == pytest.approx((0.0, 1.959964**2 / (20 + 1.959964**2)), abs=1e-6)


def visits_network() -> EchoStateNetwork:
    return EchoStateNetwork([[2.0]], readout=Readout([[1.0]]))


def test_visits_counted_by_hand() -> None:
    found = find_fixed_points(visits_network())
    order = [round(float(p.x[0])) for p in found]
    assert order == [-1, 1, 0]
    # cells:      -1    -1    0    0    1    0     -1    0    1    1
    y = np.array([-0.9, -0.8, 0.1, 0.2, 0.8, -0.1, -0.7, 0.0, 0.9, 0.9])[:, None]
    graph = visit_graph(found, y, network=visits_network(), dt=0.5)
    low, high, zero = 0, 1, 2
    assert {e: graph.edges[e]["count"] for e in graph.edges} == {
        (low, zero): 2, (zero, high): 2, (high, zero): 1, (zero, low): 1,
    }  # fmt: skip
    assert graph.edges[zero, high]["probability"] == pytest.approx(2.0 / 3.0)
    assert graph.edges[zero, high]["mean_dwell"] == 1.5
    assert graph.edges[zero, high]["mean_dwell_time"] == 0.75
    # The first visit to the low cell began before the run: only the second one has a length.
    assert graph.nodes[low]["mean_dwell"] == 1.0
    assert [graph.nodes[k]["visits"] for k in (low, high, zero)] == [2, 2, 3]
    assert [graph.nodes[k]["share"] for k in (low, high, zero)] == [0.3, 0.3, 0.4]
    for node in graph:
        out = [data["probability"] for *_, data in graph.out_edges(node, data=True)]
        assert sum(out) == pytest.approx(1.0)


def test_visits_by_states_outputs_and_delays_agree_where_they_must() -> None:
    network = visits_network()
    found = find_fixed_points(network)
    y = np.sin(np.arange(300) * 0.05)[:, None]
    plain = visit_graph(found, y, network=network)
    delayed = visit_graph(found, y, network=network, delays=3, delay=4)
    assert nx.utils.edges_equal(plain.edges, delayed.edges)
    assert delayed.graph["n_steps"] == 292
    narrow = visit_graph(found, y, network=network, fraction=0.2)
    assert set(narrow.edges) == set(plain.edges)
    assert visit_graph(found, np.full((20, 1), 0.5), network=network, fraction=0.1).graph["n_steps"] == 0


def test_misuse_is_refused() -> None:
    network, found = visits_network(), find_fixed_points(visits_network())
    with pytest.raises(InvalidInputError, match="pulses"):
        excitable_network(two_bits(), [[1.0]])
    with pytest.raises(InvalidInputError, match="finite"):
        excitable_network(two_bits(), [[1.0, np.inf]])
    with pytest.raises(InvalidInputError, match="relax_steps"):
        excitable_network(two_bits(), [[1.0, 0.0]], relax_steps=0)
    with pytest.raises(InvalidInputError, match="max_amplitude"):
        excitable_network(two_bits(), [[1.0, 0.0]], max_amplitude=0.0)
    for wrong in (0.0, -1.0, np.nan, np.inf, "4"):
        with pytest.raises(InvalidInputError, match="max_amplitude"):
            excitable_network(two_bits(), max_amplitude=wrong)
    with pytest.raises(InvalidInputError, match=r"amplitude.*negative"):
        excitable_network(two_bits(), amplitude=-1.0)
    with pytest.raises(InvalidInputError, match=r"metrics.*did you mean 'state'"):
        excitable_network(two_bits(), metrics=["states"])
    with pytest.raises(InvalidInputError, match="metrics"):
        excitable_network(two_bits(), metrics=[])
    with pytest.raises(InvalidInputError, match="must be one of metrics"):
        excitable_network(two_bits(), metric="state")
    with pytest.raises(InvalidInputError, match=r"pulses.*no inputs"):
        excitable_network(EchoStateNetwork([[1.5]]), [[1.0]])
    with pytest.raises(InvalidInputError, match=r"metrics.*no inputs"):
        excitable_network(EchoStateNetwork([[1.5]]), metrics="input")
    with pytest.raises(InvalidInputError, match="zeros"):
        excitable_network(two_bits(), [[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(InvalidInputError, match="run"):
        excitable_network(two_bits(), run=np.zeros((10, 3)))
    with pytest.raises(InvalidInputError, match="run states"):
        excitable_network(two_bits(), run=(np.zeros((10, 2)), np.zeros((9, 2))))
    with pytest.raises(InvalidInputError, match="u: shape"):
        excitable_network(two_bits(), u=[0.0])
    with pytest.raises(InvalidInputError, match="landscape"):
        excitable_network(two_bits(), landscape=found)
    space = find_landscape(two_bits(), n_random=5)
    excitable_network(two_bits(), landscape=space)
    with pytest.raises(InvalidInputError, match=r"landscape.*of this map"):
        excitable_network(two_bits(), u=[0.1, 0.0], landscape=space)
    with pytest.raises(InvalidInputError, match=r"landscape.*of this map"):
        excitable_network(EchoStateNetwork([[1.5]], W_in=[[1.0]]), landscape=space)
    with pytest.raises(InvalidInputError, match="tolerance"):
        excitable_network(two_bits(), tolerance=0.0)
    graph = visit_graph(found, np.zeros((4, 1)), network=network)
    with pytest.raises(InvalidInputError, match=r"graph.*excitable_network"):
        threshold_matrix(graph)
    with pytest.raises(InvalidInputError, match=r"metric.*input"):
        threshold_matrix(excitable_network(two_bits(), n_random=5), "state")
    with pytest.raises(InvalidInputError, match="trajectory"):
        visit_graph(found, np.zeros((5, 3)), network=network)
    with pytest.raises(InvalidInputError, match=r"trajectory\[2\]"):
        visit_graph(found, np.array([[0.0], [0.0], [np.nan]]), network=network)
    with pytest.raises(InvalidInputError, match="delays"):
        visit_graph(found, np.zeros((5, 1)), network=network, delays=0)
    with pytest.raises(InvalidInputError, match="fraction"):
        visit_graph(found, np.zeros((5, 1)), network=network, fraction=2.0)
