"""Tasks: the target is what a loop over the pulses says."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools.errors import InvalidInputError
from esntools.tasks import automaton_task, flip_flop


@given(
    n_bits=st.integers(1, 5),
    n_steps=st.integers(1, 60),
    p=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_target_is_the_last_pulse(n_bits: int, n_steps: int, p: float, seed: int) -> None:
    task = flip_flop(n_bits, n_steps, pulse_probability=p, rng=seed)
    assert task.u.shape == task.y.shape == (n_steps, n_bits)
    held = np.zeros(n_bits)
    for k in range(n_steps):
        for j in range(n_bits):
            assert task.u[k, j] in (-1.0, 0.0, 1.0)
            if task.u[k, j] != 0.0:
                held[j] = task.u[k, j]
        np.testing.assert_array_equal(task.y[k], held)
    assert np.all(task.y[0] != 0.0)


def test_pulses_and_states_are_complete() -> None:
    task = flip_flop(3, 10, rng=0)
    assert task.pulses.tolist()[:3] == [[1, 0, 0], [-1, 0, 0], [0, 1, 0]]
    assert len({tuple(row) for row in task.pulses}) == 6
    assert len({tuple(row) for row in task.states}) == 8
    assert task.states[0].tolist() == [-1, -1, -1]
    assert task.states[-1].tolist() == [1, 1, 1]
    assert (task.n_bits, task.n_steps) == (3, 10)


def test_pulse_rate_and_seed() -> None:
    task = flip_flop(2, 50_000, pulse_probability=0.02, rng=4)
    assert np.mean(task.u != 0.0) == pytest.approx(0.02, abs=0.002)
    assert np.mean(task.u) == pytest.approx(0.0, abs=0.002)
    np.testing.assert_array_equal(task.u, flip_flop(2, 50_000, pulse_probability=0.02, rng=4).u)
    assert not np.array_equal(task.u, flip_flop(2, 50_000, pulse_probability=0.02, rng=5).u)
    with pytest.raises(ValueError, match="read-only"):
        task.u[0, 0] = 3.0


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"n_bits": 0, "n_steps": 5}, "n_bits"),
        ({"n_bits": 17, "n_steps": 5}, "at most 16"),
        ({"n_bits": 1, "n_steps": 0}, "n_steps"),
        ({"n_bits": 1, "n_steps": 5, "pulse_probability": 0.0}, "pulse_probability"),
        ({"n_bits": 1, "n_steps": 5, "pulse_probability": float("nan")}, "pulse_probability"),
    ],
)
def test_bad_input(arguments, place: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=place):
        flip_flop(**arguments)


# -- automata --------------------------------------------------------------------------------------------


def traffic() -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_edge("red", "green", symbol="go")
    graph.add_edge("green", "amber", symbols=["stop", "slow"])
    graph.add_edge("amber", "red", symbol="stop")
    return graph


@given(
    n=st.integers(1, 6),
    kinds=st.integers(1, 4),
    p=st.floats(0.05, 1.0),
    interval=st.integers(1, 4),
    length=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=20)
def test_path_follows_the_edges(n: int, kinds: int, p: float, interval: int, length: int, seed: int) -> None:
    """A walk on the graph itself, symbol by symbol."""
    rng = np.random.default_rng(seed)
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edge(0, int(rng.integers(n)), symbol=0)
    for node in range(n):
        for symbol in range(kinds):
            if rng.random() < 0.6 and (node, symbol) != (0, 0):
                graph.add_edge(node, int(rng.integers(n)), symbol=symbol)
    task = automaton_task(
        graph, 60, pulse_probability=p, pulse_interval=interval, pulse_length=length, rng=seed
    )
    state, last = 0, -max(interval, length)
    for k in range(60):
        pulsed = np.flatnonzero(task.u[k])
        assert len(pulsed) <= 1
        if k - last < length:
            # The same pulse goes on.
            np.testing.assert_array_equal(task.u[k], task.u[last])
        elif len(pulsed):
            assert k - last >= interval
            last, symbol = k, task.symbols[int(pulsed[0])]
            out = [t for _, t, d in graph.out_edges(state, data=True) if str(d["symbol"]) == symbol]
            state = out[0] if out else state
        assert task.path[k] == state
        np.testing.assert_array_equal(task.y[k], np.eye(n)[state])


def test_symbols_of_an_automaton() -> None:
    task = automaton_task(
        traffic(), 400, pulse_probability=0.5, rng=0, initial="amber",
        inputs={"go": [1.0], "slow": [0.5], "stop": [-1.0]}, outputs=[[0.0], [1.0], [0.5]],
    )  # fmt: skip
    assert task.names == ("red", "green", "amber")
    assert task.symbols == ("go", "slow", "stop")
    assert task.transitions.tolist() == [[1, 0, 0], [1, 2, 2], [2, 2, 0]]
    assert (task.initial, task.n_states, task.n_symbols, task.n_steps) == (2, 3, 3, 400)
    assert set(np.unique(task.u)) == {-1.0, 0.0, 0.5, 1.0}
    assert (task.next_state(1, [0.5]), task.next_state(1, [0.0]), task.next_state(1, [0.7])) == (2, 1, None)
    with pytest.raises(ValueError, match="read-only"):
        task.path[0] = 1


@given(n_bits=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_flip_flop_as_an_automaton(n_bits: int, seed: int) -> None:
    """The states named by the path are the target; what the automaton says of pulses together agrees."""
    flips = flip_flop(n_bits, 50, pulse_probability=0.4, rng=seed)
    task = flips.automaton
    np.testing.assert_array_equal(task.states[task.path], flips.y)
    assert task.initial is None
    for state, symbol in np.ndindex(task.transitions.shape):
        wanted = np.where(task.pulses[symbol] != 0.0, task.pulses[symbol], task.states[state])
        np.testing.assert_array_equal(task.states[task.transitions[state, symbol]], wanted)
    for k in range(1, 50):
        assert task.next_state(int(task.path[k - 1]), task.u[k]) == task.path[k]


def test_symbols_whose_order_matters_have_no_common_answer() -> None:
    graph = nx.DiGraph([(0, 1, {"symbol": "a"}), (1, 2, {"symbol": "b"})])
    task = automaton_task(graph, 5, rng=0)
    assert task.parts([1.0, 1.0]) == (0, 1)
    assert task.next_state(0, [1.0, 1.0]) is None
    assert task.next_state(2, [1.0, 1.0]) == 2


def test_automata_that_are_refused() -> None:
    twice = nx.MultiDiGraph()
    twice.add_edge("a", "b", symbol="go")
    twice.add_edge("a", "c", symbol="go")
    for graph, words in (
        (twice, "node 'a': symbol 'go' leads to 'b' and to 'c'; the automaton must be deterministic"),
        (nx.DiGraph([("a", "b")]), "edge 'a' -> 'b': no symbol"),
        (nx.DiGraph([(0, 1, {"symbol": 1}), (1, 0, {"symbol": "1"})]), "two symbols with one name"),
        (nx.DiGraph(), "no node"),
        (nx.DiGraph({0: []}), "no edge"),
        (nx.Graph([(0, 1, {"symbol": "a"})]), "directed"),
        ("a graph", "directed"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            automaton_task(graph, 5)
    for arguments, words in (
        ({"n_steps": 0}, "n_steps"), ({"pulse_probability": 0.0}, "pulse_probability"),
        ({"pulse_interval": 0}, "pulse_interval"), ({"pulse_length": 0}, "pulse_length"),
        ({"initial": "blue"}, "initial"),
        ({"outputs": [[1.0], [1.0], [0.0]]}, "'red' and 'green' are alike"),
        ({"outputs": [[1.0]]}, "outputs"),
        ({"inputs": {"go": [1.0], "slow": [2.0]}}, "nothing for 'stop'"),
        ({"inputs": [[1.0], [0.0], [2.0]]}, "zero for 'slow'"),
        ({"inputs": [[1.0], [np.nan], [2.0]]}, "finite"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=words):
            automaton_task(traffic(), **{"n_steps": 5, **arguments})
