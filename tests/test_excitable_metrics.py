"""Excitable networks by kicks of the state, with proofs, and of trained networks: closed forms."""

from __future__ import annotations

import itertools
import time
from typing import Any

import networkx as nx
import numpy as np
import pytest
from test_excitable import M, trained_flip_flop, two_bits, unit_pulses
from test_landscape import three_cycle

from esntools.excitable import at_amplitude, excitable_network, threshold_matrix
from esntools.excitable.extraction import shortest_kicks
from esntools.network import EchoStateNetwork, Readout


def test_kicks_of_the_state_of_two_bits() -> None:
    """Neighbours are as far as the middle of a bit; the opposite corner is reached through the origin."""
    graph = excitable_network(two_bits(), metrics=["state", "range"], n_random=40)
    gap = np.abs(np.arange(4)[:, None] ^ np.arange(4)[None])
    expected = M * np.sqrt(np.array([0.0, 1.0, 1.0, 2.0]))[gap]
    for metric in ("state", "range"):
        np.testing.assert_allclose(threshold_matrix(graph, metric), expected, rtol=2e-6)
    assert (graph.graph["metric"], graph.graph["pulse_table"]) == ("state", [[k] * 4 for k in range(4)])
    data = graph.edges[0, 2]
    np.testing.assert_allclose(data["kick"], [M, 0.0], atol=1e-5)
    assert data["alignment"] == pytest.approx(1.0, abs=1e-6)
    assert graph.graph["saddles"][data["saddle"]]["connects"] == [0, 2]
    assert data["thresholds"]["range"] == pytest.approx(M, rel=2e-6)
    assert len(graph.edges) == 12
    assert len(at_amplitude(graph, 1.0).edges) == 8


def test_kicks_in_the_subspace_that_inputs_reach() -> None:
    """One line drives both bits alike: along it the two flip together, or the nearer to the middle does."""
    both = EchoStateNetwork(1.5 * np.eye(2), W_in=[[1.0], [0.5]], readout=Readout(np.eye(2)))
    graph = excitable_network(both, metrics=["subspace"], n_random=40, run=np.array([[0.01], [0.0], [-0.01]]))
    for c in graph.graph["connections"]:
        kick = np.array(c["kick"])
        assert np.abs(kick @ [0.5, -1.0]) < 0.05 * np.linalg.norm(kick)
        assert c["checked"]
    # From (-M, -M) the first bit turns first: its part of the kick is M.
    assert abs(graph.edges[0, 2]["kick"][0]) == pytest.approx(M, abs=1e-5)
    assert not graph.has_edge(0, 1)


@pytest.mark.parametrize("run", [None, [[0.4], [0.3], [0.2]]])
def test_subspaces_are_those_of_the_input_between_pulses(run: list[list[float]] | None) -> None:
    """A constant input is a bias: what a pulse adds to it displaces the state."""
    W, W_in, rest = [[1.5, 0.4], [-0.2, 2.0]], np.array([[1.0], [-0.8]]), 0.3
    held = excitable_network(
        EchoStateNetwork(W, W_in), [[0.1], [-0.1]], metrics="subspace", u=[rest], run=run, n_random=20
    )
    biased = excitable_network(
        EchoStateNetwork(W, W_in, b=rest * W_in[:, 0]), [[0.1], [-0.1]], metrics="subspace", n_random=20,
        run=None if run is None else np.array(run) - rest,
    )  # fmt: skip
    assert len(held.graph["connections"]) > 0
    np.testing.assert_allclose(threshold_matrix(held), threshold_matrix(biased), rtol=1e-5)


def test_a_network_without_inputs_is_kicked_in_its_state() -> None:
    graph = excitable_network(three_cycle(0.25), n_random=60)
    assert (graph.graph["metrics"], graph.graph["pulses"], graph.graph["cut"]) == (
        ["state"],
        [],
        "largest gap",
    )
    matrix = threshold_matrix(graph)
    # The closed form: the gap between the two roots of the driven unit, over the norm of its row of weights.
    easy = 0.0769394 / np.sqrt(1.0 + 0.31**2 + 2.49**2)
    assert len(graph.edges) == 3
    assert nx.is_isomorphic(graph, nx.cycle_graph(3, create_using=nx.DiGraph))
    for i, j in itertools.permutations(range(3), 2):
        if graph.has_edge(i, j):
            assert matrix[i, j] == pytest.approx(easy, rel=1e-3)
            assert graph.edges[i, j]["checked"]
        else:
            assert matrix[i, j] > 0.75


@pytest.mark.slow
@pytest.mark.ci
def test_a_cycle_is_a_node_with_thresholds() -> None:
    """Without a leak all on and all off take turns."""
    graph = excitable_network(three_cycle(1.0), n_random=60)
    cycle = next(k for k in graph if graph.nodes[k]["kind"] == "periodic orbit")
    assert (len(graph), graph.nodes[cycle]["period"], len(graph.nodes[cycle]["states"])) == (4, 2, 2)
    assert 0.0 < np.nanmin(threshold_matrix(graph)[cycle][np.arange(4) != cycle]) < 0.2


@pytest.mark.slow
@pytest.mark.ci
def test_lower_bounds_are_below_what_was_found() -> None:
    network = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
    graph = excitable_network(network, metrics=("input", "state"), n_random=20, certify=True)
    for i, j in ((0, 1), (1, 0)):
        edge = graph.edges[i, j]
        assert 0.99 * edge["threshold"] < edge["lower"] < edge["threshold"]
        assert 0.9 * M < edge["lower_bounds"]["state"] == graph.nodes[i]["ball_radius"] < M
    # A pulse that drives deeper into the basin leads nowhere else, up to the largest that was asked for.
    assert graph.graph["pulse_lower_bounds"][0][1] == graph.graph["max_amplitude"]
    network = trained_flip_flop(1, 12, 0)
    graph = excitable_network(network, metrics=("input", "state"), n_random=20, certify=True, budget=12.0)
    connections = graph.graph["connections"]
    assert len(graph) >= 2
    assert all(0.0 < c["lower"] <= c["threshold"] for c in connections)
    assert all(c["lower"] > 0.9 * c["threshold"] for c in connections if c["metric"] == "input")
    assert all(graph.nodes[k]["ball_radius"] > 0.0 for k in graph)
    # A connection by one pulse is no proof about the pair: the other pulses count too.
    for i, j, data in graph.edges(data=True):
        of_pair = [c for c in connections if (c["metric"], c["source"], c["target"]) == ("input", i, j)]
        assert data["lower"] <= min(c["lower"] for c in of_pair)


@pytest.mark.slow
@pytest.mark.parametrize("n_units", [300, 500])
def test_three_bits(n_units: int) -> None:
    network, start = trained_flip_flop(3, n_units, 2), time.process_time()
    graph = excitable_network(network, unit_pulses(3))
    # The promise is a minute on two cores; a busy machine makes CPU time longer, not shorter.
    assert time.process_time() - start < 60.0
    assert len(graph) == 8
    bits = np.sign([graph.nodes[k]["output"] for k in graph])
    for i, p in itertools.product(range(8), range(6)):
        pulse = unit_pulses(3)[p]
        wanted = np.where(pulse != 0.0, pulse, bits[i])
        np.testing.assert_array_equal(bits[graph.graph["pulse_table"][i][p]], wanted)
    assert graph.graph["audit"] == "passed"


def test_a_free_kick_is_no_longer_than_one_that_is_not_free() -> None:
    def row(metric: str, target: int, threshold: float, note: str = "") -> dict[str, Any]:
        return {"metric": metric, "source": 0, "target": target, "threshold": threshold, "note": note}

    found = [
        row("input", 1, 0.1), row("range", 1, 0.3), row("state", 1, 0.4), row("subspace", 1, 0.35),
        row("state", 2, 0.2), row("range", 2, 0.2, "held"),
    ]  # fmt: skip
    shared = shortest_kicks(found)
    assert [c["threshold"] for c in shared] == [0.1, 0.3, 0.3, 0.35, 0.2, 0.2]
    assert [c["metric"] for c in shared] == [c["metric"] for c in found]
    assert [c["note"] for c in shared] == ["", "", "found in the metric 'range'", "", "", "held"]
