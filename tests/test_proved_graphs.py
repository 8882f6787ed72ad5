"""What is proved on the graph: never above what was found, in the same units, and for all pulses at once."""

from __future__ import annotations

import naive_kick_bounds as naive
import networkx as nx
import numpy as np
import pytest

from esntools.cli.console import ProgressLine
from esntools.cli.excitable import _say_graph
from esntools.errors import InvalidInputError
from esntools.excitable import excitable_network
from esntools.excitable.bounds import bound_kicks, bound_pulses
from esntools.excitable.cuts import lay_edges, rounded_down
from esntools.network import EchoStateNetwork
from esntools.report.excitable import _threshold_tables

BIT = EchoStateNetwork([[1.5]], W_in=[[1.0]])
HIGH = 0.85855963664


def test_a_point_that_is_given_twice_is_one_point() -> None:
    # From a point to itself every pulse leads, one of amplitude 0 at the latest.
    points = [[-HIGH], [-HIGH + 1e-9], [HIGH]]
    kicks = bound_kicks(BIT, points)
    np.testing.assert_allclose(kicks.radii[:2], kicks.radii[2], rtol=1e-6)
    pulses = bound_pulses(BIT, points, [[1.0]])
    assert 1.28 < pulses.lower[0, 0] == pytest.approx(pulses.lower[1, 0])
    for source, target in ((0, 1), (1, 0), (0, 0)):
        assert pulses.to_target(source, 0, target) == 0.0
    assert pulses.intervals[1][0][0].destinations == (0, 1)
    assert pulses.to_target(1, 0, 2) == pulses.lower[1, 0]


def test_destinations_that_are_not_there_are_refused() -> None:
    pulses = bound_pulses(BIT, [[-HIGH], [HIGH]], [[1.0]], upper=1.0)
    for arguments in ((0, 0, -1), (0, 0, 2), (-1, 0, 0), (0, 1, 0)):
        with pytest.raises(InvalidInputError, match="must be from 0"):
            pulses.to_target(*arguments)


def test_no_limit_for_some_of_the_radii() -> None:
    bounds = bound_kicks(BIT, [[-HIGH], [HIGH]], upper=[0.5, np.inf])
    assert 0.45 < bounds.radii[0] <= 0.5
    assert 0.8 < bounds.radii[1] < HIGH


def test_pulses_upon_a_constant_input() -> None:
    u = 0.1
    bounds = bound_pulses(BIT, [[-0.79]], [[1.0]], u=[u])
    assert bounds.lower[0, 0] == 0.0
    low, high = (x for x in _stable(u) if abs(x) > 0.5)
    bounds = bound_pulses(BIT, [[low], [high]], [[1.0], [-2.0]], u=[u])
    for source, pulse in ((0, 0), (1, 1)):
        x = low if source == 0 else high
        v = (1.0, -2.0)[pulse]
        # It must carry the argument of tanh across the one of the unstable point.
        threshold = (1.5 * _stable(u)[1] - 1.5 * x) / v
        assert 0.99 * threshold < bounds.lower[source, pulse] < threshold


def _stable(u: float) -> list[float]:
    x = np.linspace(-1.0, 1.0, 200001)
    f = x - np.tanh(1.5 * x + u)
    roots = []
    for k in np.flatnonzero(np.sign(f[1:]) != np.sign(f[:-1])):
        r = x[k]
        for _ in range(50):
            t = np.tanh(1.5 * r + u)
            r -= (r - t) / (1.0 - 1.5 * (1.0 - t * t))
        roots.append(float(r))
    return roots


@pytest.mark.parametrize("value", [1.28695, 0.0967, 0.81992782, 9.9999e-5, 1e300, 4.0, 0.5, 0.0])
def test_what_is_proved_is_rounded_down(value: float) -> None:
    for digits in (2, 3, 4):
        text = rounded_down(value, digits)
        assert value * (1.0 - 1.01 * 10.0 ** (1 - digits)) <= text <= value
        assert float(f"{text:.{digits}g}") == text


@pytest.mark.slow
@pytest.mark.ci
def test_one_attractor_that_no_kick_of_its_subspace_leaves() -> None:
    # The input moves unit 0 alone; only where unit 1 is low can it be switched.
    network = EchoStateNetwork([[1.6, 0.0], [0.0, 2.0]], W_in=[[1.0], [0.0]], b=[0.0, 0.0])
    biased = EchoStateNetwork([[1.6, 1.5], [0.0, 2.0]], W_in=[[1.0], [0.0]], b=[1.4, 0.0])
    for which in (network, biased):
        graph = excitable_network(
            which, metrics=("subspace", "state", "range", "input"), certify=True, budget=2.0, n_random=64
        )
        check(graph)


def check(graph: nx.DiGraph) -> None:
    """Assert what must hold of every certified graph."""
    assert len(graph) > 1
    assert graph.graph["connections"]
    for entry in graph.graph["connections"]:
        assert 0.0 <= entry["lower"] <= entry["threshold"], entry
    for i, j, edge in graph.edges(data=True):
        for metric, lower in edge["lower_bounds"].items():
            of_pair = [
                c
                for c in graph.graph["connections"]
                if (c["metric"], c["source"], c["target"]) == (metric, i, j)
            ]
            assert lower <= min(c["lower"] for c in of_pair)
        assert edge["lower"] <= edge["threshold"]
        for other in edge.get("alternatives", []):
            assert edge["lower"] <= other["lower"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_random_networks_at_an_input(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    W = rng.standard_normal((n, n)) / np.sqrt(n) + np.diag(rng.uniform(1.2, 2.5, n))
    network = EchoStateNetwork(
        W,
        W_in=rng.standard_normal((n, 2)),
        b=0.05 * rng.standard_normal(n),
        leak_rate=rng.uniform(0.3, 1.0, n),
    )
    u = 0.05 * rng.standard_normal(2)
    pulses = [rng.standard_normal(2)] if seed % 2 else None
    graph = excitable_network(
        network, pulses, u=u, metrics=("input", "state", "range", "subspace"), certify=True, budget=3.0,
        n_random=64, pulse_length=1 + seed % 3,
    )  # fmt: skip
    check(graph)
    points = np.array([graph.nodes[k]["x"] for k in graph if graph.nodes[k]["period"] == 1])
    still = network.at_input(u)
    home = 0
    for k in graph:
        data = graph.nodes[k]
        if data["period"] != 1:
            continue
        if data["ball_radius"]:
            D = rng.standard_normal((40, n))
            D *= data["ball_radius"] / np.linalg.norm(D, axis=1)[:, None]
            assert all(naive.goes_to(still, points[home] + d, points) == home for d in D)
        home += 1


def test_words_and_tables_claim_no_more_than_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    # Of two pulses the one that is found to be smaller is proved farther.
    graph = nx.DiGraph(metrics=["input"], metric="input", pulses=[[1.0], [-1.0]])
    graph.graph["pulse_lower_bounds"] = [[1.28695, 0.3], [0.0, 0.0]]
    graph.add_nodes_from((k, {"kind": "fixed point", "share": 0.5, "ball_radius": 0.8196}) for k in (0, 1))
    common = {"metric": "input", "source": 0, "target": 1, "at_unit": False, "checked": True}
    graph.graph["connections"] = [
        {**common, "pulse": 0, "threshold": 1.287, "lower": 1.28695},
        {**common, "pulse": 1, "threshold": 1.5, "lower": 0.3967},
    ]
    (table,) = _threshold_tables(graph)
    assert table.rows[0][2] == "1.29 (0.39)"
    graph.graph["connections"].pop()
    lay_edges(graph, np.inf)
    assert graph.edges[0, 1]["lower"] == 0.3
    graph.graph["pulse_lower_bounds"][0][1] = 4.0
    lay_edges(graph, np.inf)
    _say_graph(graph, ProgressLine(quiet=False))
    said = capsys.readouterr().err
    assert "proved within 0.819" in said
    assert "(proved: not below 1.286)" in said
