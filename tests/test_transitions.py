"""Dwells and switches of a driven run: counted by hand, against the slow twin, and with noise."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from flip_flops import trained_flip_flop
from naive_diagnosis import naive_labels

from esntools.errors import InvalidInputError
from esntools.excitable import excitable_network
from esntools.excitable.landscape import find_landscape
from esntools.excitable.transitions import find_transitions
from esntools.network import EchoStateNetwork, Readout
from esntools.simulation import drive
from esntools.tasks import flip_flop

FIXTURE = Path(__file__).parent / "corpora" / "flipflop2_N100.npz"


def one_bit(w: float = 1.5) -> EchoStateNetwork:
    return EchoStateNetwork([[w]], W_in=[[1.0]], readout=Readout([[1.0]]))


def published() -> EchoStateNetwork:
    with np.load(FIXTURE) as data:
        return EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip


def test_dwells_and_switches_counted_by_hand() -> None:
    network = one_bit()
    graph = excitable_network(network, [[2.0], [-2.0]], n_random=20)
    u = np.zeros((20, 1))
    # Set, set again (no move), reset, too weak to set, set, and reset at double strength.
    u[[0, 2, 5, 8, 11, 16], 0] = [2.0, 2.0, -2.0, 0.5, 2.0, -4.0]
    run = find_transitions(network, graph, u)
    assert run.labels.tolist() == [1] * 5 + [0] * 6 + [1] * 5 + [0] * 4
    assert [(d.attractor, d.start, d.length, d.complete) for d in run.dwells] == [
        (1, 0, 5, False), (0, 5, 6, True), (1, 11, 5, True), (0, 16, 4, False),
    ]  # fmt: skip
    assert [(s.step, s.source, s.target, s.pulse, s.amplitude) for s in run.switches] == [
        (5, 1, 0, 1, 1.0), (11, 0, 1, 0, 1.0), (16, 1, 0, 1, 2.0),
    ]  # fmt: skip
    assert run.counts.tolist() == [[0, 1], [2, 0]]
    # The last of the four last steps in 0 has no step after it.
    assert run.exposure.tolist() == [9, 10]
    assert run.rates[1, 0] == pytest.approx(0.2)
    # Garwood for 2 counts: 0.2422 ... 7.2247.
    assert run.intervals[1, 0] * 10.0 == pytest.approx([0.24220928, 7.22468767])
    assert run.intervals[0, 1, 0] * 9.0 == pytest.approx(-np.log(0.975))
    assert run.responses.tolist() == [[[1, 1], [0, 0]], [[0, 1], [2, 0]]]
    edge = run.graph.edges[1, 0]
    assert (edge["count"], edge["probability"], edge["mean_dwell"]) == (2, 1.0, 5.0)
    assert edge["threshold"] == graph.edges[1, 0]["threshold"]
    assert run.graph.nodes[0]["mean_dwell"] == 6.0
    assert run.graph.nodes[1]["share"] == 0.5
    assert (run.own, run.notes) == (True, ())


def test_every_step_against_the_slow_twin() -> None:
    """Between pulses no step is looked up, and none needs to be."""
    network = trained_flip_flop(24, n_bits=2, seed=1)[0]
    task = flip_flop(2, 30, pulse_probability=0.15, rng=3)
    graph = excitable_network(network, task.pulses, n_random=64)
    X = np.array([graph.nodes[k]["x"] for k in graph])
    labels, states = naive_labels(network, task.u, np.zeros(24), X)
    run = find_transitions(network, graph, task.u)
    assert run.labels.tolist() == labels
    given = find_transitions(network, graph, task.u, states=np.array(states))
    assert given.own
    assert given.labels.tolist() == labels
    assert find_transitions(network, find_landscape(network), task.u).labels.tolist() == labels


def test_noise_moves_where_no_pulse_is() -> None:
    """A run with noise is looked up at every step; its switches name no pulse."""
    network, rng = one_bit(1.2), np.random.default_rng(0)
    graph = excitable_network(network, [[1.0]], n_random=20)
    x, states = np.array([0.6]), []
    for _ in range(600):
        x = np.clip(network.step(x, [0.0]) + 0.15 * rng.standard_normal(1), -1.0, 1.0)
        states.append(x)
    run = find_transitions(network, graph, np.zeros((600, 1)), states=states)
    assert not run.own
    assert "not the network's own" in run.notes[0]
    # The boundary is 0 by symmetry.
    assert run.labels.tolist() == [int(x > 0.0) for x in np.ravel(states)]
    assert len(run.switches) > 5
    assert all(s.pulse is None and s.amplitude is None for s in run.switches)
    for i in range(2):
        assert run.counts[i, 1 - i] == sum(s.source == i for s in run.switches)
        low, high = run.intervals[i, 1 - i]
        assert low < run.rates[i, 1 - i] < high


def test_a_pulse_of_several_steps_is_one_pulse() -> None:
    """Its first step alone would not have moved the state: the move still begins there."""
    network = one_bit()
    graph = excitable_network(network, [[0.8]], pulse_length=3, n_random=20)
    u = np.zeros((20, 1))
    u[0], u[6:9] = -3.0, 0.8
    run = find_transitions(network, graph, u)
    assert [(s.step, s.pulse) for s in run.switches] == [(6, 0)]


def test_rest_is_not_always_zero() -> None:
    """With the bias taken from the input the same steps are seen, by graph and by landscape."""
    biased = EchoStateNetwork([[1.5]], W_in=[[1.0]], b=[-0.1])
    graph = excitable_network(biased, [[2.0], [-2.0]], u=[0.1], n_random=20)
    u = np.full((12, 1), 0.1)
    u[[0, 3, 8], 0] = [2.1, -1.9, 2.1]
    run = find_transitions(biased, graph, u)
    space = find_landscape(biased, [0.1], n_random=20)
    other = find_transitions(biased, space, u, pulses=[[2.0], [-2.0]], rest=[0.1])
    assert run.labels.tolist() == other.labels.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert [(s.step, s.pulse, round(s.amplitude or 0.0, 9)) for s in run.switches] == [
        (3, 1, 1.0),
        (8, 0, 1.0),
    ]
    assert run.switches == other.switches
    with pytest.raises(InvalidInputError, match="rest"):
        find_transitions(biased, graph, u, rest=[0.0, 0.0])


def test_cycles_and_states_without_an_attractor() -> None:
    """A swinging pair: both phases carry one label. A graph that lacks an attractor says so."""
    network = EchoStateNetwork([[-2.0]], W_in=[[1.0]])
    run = find_transitions(network, find_landscape(network, n_random=64), np.zeros((9, 1)), [0.3])
    assert set(run.labels.tolist()) == {0}
    graph = excitable_network(one_bit(), [[2.0]], n_random=20)
    half = graph.copy()
    half.remove_node(1)
    run = find_transitions(one_bit(), half, [2.0, 0.0, 0.0, -2.0])
    assert run.labels.tolist() == [-2, -2, -2, 0]
    assert run.notes == ("3 of 4 states reach no attractor known",)
    assert run.counts.tolist() == [[0]]


def test_misuse_is_refused() -> None:
    network = one_bit()
    graph = excitable_network(network, [[2.0]], n_random=20)
    for arguments, words in (
        ((graph, np.zeros((4, 2))), "must be"), ((graph, np.zeros((0, 1))), "must be"),
        ((nx.DiGraph(), np.zeros((4, 1))), "excitable network or a landscape"),
        ((find_landscape(EchoStateNetwork(np.eye(2) / 2)), np.zeros((4, 1))), "2 units"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=words):
            find_transitions(network, *arguments)
    for options, words in (
        ({"states": np.zeros((3, 1))}, "states"), ({"states": np.full((4, 1), np.nan)}, "NaN"),
        ({"states": np.zeros((4, 1)), "x0": [0.0]}, "x0"), ({"pulses": [[1.0, 2.0]]}, "pulses"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=words):
            find_transitions(network, graph, np.zeros((4, 1)), **options)


@pytest.mark.slow
@pytest.mark.ci
def test_the_published_split_state() -> None:
    """Every step of a run of the fixture, against the slow twin: six attractors, one switch at a time."""
    network = published()
    task = flip_flop(2, 400, pulse_probability=0.04, rng=1)
    graph = excitable_network(network, task.pulses)
    run = find_transitions(network, graph, task.u)
    X = np.array([graph.nodes[k]["x"] for k in graph])
    labels, _ = naive_labels(network, task.u, np.zeros(100), X)
    assert run.labels.tolist() == labels
    assert {s.step for s in run.switches} <= set(run.events.tolist())
    states = drive(network, task.u).states
    assert find_transitions(network, graph, task.u, states=states).labels.tolist() == labels
