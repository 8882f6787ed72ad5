"""Excitable networks of what is no network, no landscape, no graph: refused by name, and never otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from esntools.basins import find_smallest_kick
from esntools.errors import InvalidInputError
from esntools.excitable import excitable_network, find_landscape, read_graph, write_graph
from esntools.excitable.design import check_design, design, same_graph
from esntools.excitable.diagnosis import diagnose
from esntools.excitable.hopfield import hopfield
from esntools.excitable.noise import add_noise, estimate_transition_rates
from esntools.excitable.noise.action import minimal_actions
from esntools.excitable.state_kicks import kick_thresholds, switching_subspaces
from esntools.excitable.transitions import find_transitions
from esntools.network import EchoStateNetwork, Readout
from esntools.tasks import flip_flop

BITS = flip_flop(1, 10, rng=0)
CYCLE = nx.cycle_graph(3, create_using=nx.DiGraph)
READ = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
BIT = EchoStateNetwork([[1.5]], W_in=[[1.0]])
SPACE = find_landscape(BIT, n_random=8)
PLANE = find_landscape(EchoStateNetwork([[1.5, 0.0], [0.0, 0.5]]), n_random=8)
GRAPH = excitable_network(BIT, n_random=8, n_amplitudes=4)
RAGGED: Any = [[1.0, 2.0], [3.0]]


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("metrics", lambda v: excitable_network(BIT, metrics=v)),
        ("metrics", lambda v: excitable_network(BIT, metrics=[v])),
        ("metric", lambda v: excitable_network(BIT, metric=v)),
        ("landscape", lambda v: switching_subspaces(BIT, v, [[1.0]])),
        ("landscape", lambda v: kick_thresholds(v)),
        ("metric", lambda v: kick_thresholds(SPACE, metric=v)),
        ("pairs", lambda v: kick_thresholds(SPACE, pairs=[v])),
        ("subspaces", lambda v: kick_thresholds(SPACE, metric="subspace", subspaces=v)),
        ("landscape", lambda v: estimate_transition_rates(v, amplitude=0.1)),
        ("sources", lambda v: estimate_transition_rates(SPACE, amplitude=0.1, sources=v)),
        ("landscape", lambda v: minimal_actions(v)),
        ("graph", lambda v: add_noise(v, v)),
        ("rates", lambda v: add_noise(GRAPH, v)),
        ("actions", lambda v: add_noise(GRAPH, None, v)),
        ("network", lambda v: find_transitions(v, GRAPH, [[0.0]])),
        ("pulses", lambda v: find_transitions(BIT, GRAPH, [[0.0]], pulses=v)),
        ("states", lambda v: SPACE.label(v)),
        ("target", lambda v: find_smallest_kick(BIT, SPACE.X[0], [0.0], target=v)),
        ("rule", lambda v: hopfield([[1, 1, 1], [1, -1, 1]], rule=v)),
        ("path", lambda v: read_graph(v)),
        ("network", lambda v: check_design(v, CYCLE)),
        ("graph", lambda v: check_design(BIT, v)),
        ("extracted", lambda v: same_graph(CYCLE, v)),
        ("metric", lambda v: design(CYCLE, metric=v)),
        ("activation", lambda v: design(CYCLE, activation=v)),
        ("network", lambda v: diagnose(v, BITS)),
        ("graph", lambda v: diagnose(READ, BITS, graph=v)),
        ("pulse_probability", lambda v: flip_flop(1, 10, pulse_probability=v)),
        ("path", lambda v: write_graph(GRAPH, v)),
    ],
)
@pytest.mark.parametrize(
    "value",
    [True, 1j, b"x", RAGGED, object(), np.array(["a"])],
    ids=["true", "complex", "bytes", "ragged", "object", "texts"],
)
def test_wrong_types(place: str, call: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        call(value)
    assert caught.value.place.startswith(place)


def test_a_landscape_of_another_size() -> None:
    with pytest.raises(InvalidInputError, match="2 units"):
        switching_subspaces(BIT, PLANE, [[1.0]])


@pytest.mark.parametrize("suffix", ["graphml", "gexf", "json", "dot"])
def test_odd_names_and_values_in_files(suffix: str, tmp_path: Path) -> None:
    """Names that a format or its mark takes are kept; what no file can hold is refused."""
    graph = nx.DiGraph(id=1, kind="x")
    graph.add_edge(10**30, -1)
    graph.edges[10**30, -1]["json:x"] = 1
    write_graph(graph, tmp_path / f"a.{suffix}")
    again = read_graph(tmp_path / f"a.{suffix}")
    assert (dict(again.edges), again.graph) == (dict(graph.edges), graph.graph)
    endless: list[Any] = []
    endless.append(endless)
    for value in (endless, 10**5000):
        graph.graph["kind"] = value
        with pytest.raises(InvalidInputError):
            write_graph(graph, tmp_path / f"b.{suffix}")
        assert not (tmp_path / f"b.{suffix}").exists()


def test_starts_of_another_width_beside_a_run() -> None:
    states = np.zeros((3, 1))
    with pytest.raises(InvalidInputError, match="starts"):
        excitable_network(
            EchoStateNetwork([[1.5]], W_in=[[1.0]]), run=(np.zeros((3, 1)), states), starts=np.zeros((2, 4))
        )


def test_states_that_escape_are_told_in_the_note() -> None:
    graph = excitable_network(EchoStateNetwork([[2.0]], W_in=[[1.0]], activation="relu"), n_random=32)
    assert "escape to infinity" in graph.graph["note"]
