"""The automaton that a network has learned: what its attractors stand for, and where a task's pulses lead."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import networkx as nx
import numpy as np

from esntools._typing import FloatArray, IntArray
from esntools.excitable.landscape import Landscape, find_landscape
from esntools.excitable.state_kicks import kick_thresholds
from esntools.network import EchoStateNetwork
from esntools.tasks import AutomatonTask

__all__ = ["Learned", "decode", "hold", "learn", "output_margins", "pulsed"]

#: Amplitudes at which a move is looked at again.
_AMPLITUDES: Final = (0.5, 0.65, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.35, 1.5)


@final
@dataclass(frozen=True, eq=False)
class Learned:
    """The automaton that a network has learned, in the words of a task.

    Attributes
    ----------
    outputs : ndarray, shape (K, n_outputs)
        Mean output on every attractor.
    stands_for : ndarray of int, shape (K,)
        The task state whose target is nearest to it.
    margins : ndarray, shape (K,)
        Distance of the output from where it would be read as another state; NaN where there is one state.
    holders : tuple of tuple of int
        The attractors of every task state, the one that is hardest to leave for another state first (`hold`).
    table : ndarray of int, shape (K, n_symbols)
        Where every pulse leads (-1 or -2: to no attractor known).
    windows : ndarray, shape (K, n_symbols, 2)
        The amplitudes around 1, within [0.5, 1.5], between which a right move stays right; NaN for a wrong
        one.
    kicks : dict
        (source, target) to the size and unit direction of the smallest kick of the state (2-norm) between
        neighbouring attractors of different states, where it was looked for and found.
    """

    outputs: FloatArray
    stands_for: IntArray
    margins: FloatArray
    holders: tuple[tuple[int, ...], ...]
    table: IntArray
    windows: FloatArray
    kicks: dict[tuple[int, int], tuple[float, FloatArray]]

    def state_of(self, attractor: int) -> int:
        """Return the task state of an attractor; -1 for none."""
        return int(self.stands_for[attractor]) if attractor >= 0 else -1


def pulsed(network: EchoStateNetwork, X: FloatArray, u: FloatArray, length: int) -> FloatArray:
    """Return the states after `length` steps of an input."""
    for _ in range(length):
        X = network.step(X, u)
    return X


def decode(outputs: FloatArray, states: FloatArray) -> IntArray:
    """Return the task state whose target is nearest to every output."""
    square = np.sum((outputs[:, None] - states[None]) ** 2, axis=2)
    return np.asarray(np.argmin(square, axis=1), dtype=np.intp)


def hold(
    outputs: FloatArray, states: FloatArray, thresholds: Mapping[tuple[int, int], float]
) -> tuple[tuple[tuple[int, ...], ...], frozenset[int]]:
    """Return the attractors of every task state, the best first, and those that stand for no state.

    An attractor stands for no state when its output is further from the nearest target than half the least
    distance of two targets, and another attractor is nearer to that target than that. Of the others, the
    harder to leave for another state the better (largest of the least thresholds); then, the nearer to the
    target.
    """
    stands_for = decode(outputs, states) if len(outputs) else np.zeros(0, dtype=np.intp)
    off = np.linalg.norm(outputs - states[stands_for], axis=1)
    half = half_gap(states)
    near = set(stands_for[off <= half].tolist())
    strays = frozenset(k for k, s in enumerate(stands_for.tolist()) if off[k] > half and s in near)
    least = np.full(len(outputs), np.inf)
    for (source, target), size in thresholds.items():
        if stands_for[source] != stands_for[target]:
            least[source] = min(least[source], size)
    holders: list[list[int]] = [[] for _ in states]
    for k in sorted(range(len(outputs)), key=lambda k: (k in strays, -least[k], off[k])):
        holders[stands_for[k]].append(k)
    return tuple(map(tuple, holders)), strays


def half_gap(states: FloatArray) -> float:
    """Return half the least distance of two targets; infinity for one."""
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(states, 2)]
    return 0.5 * float(min(gaps)) if gaps else np.inf


def output_margins(outputs: FloatArray, states: FloatArray) -> FloatArray:
    """Return the distance of every output from the nearest border of the region of its state."""
    if len(states) < 2 or len(outputs) == 0:
        return np.full(len(outputs), np.nan)
    square = np.sum((outputs[:, None] - states[None]) ** 2, axis=2)
    own = np.argmin(square, axis=1)
    gaps = np.linalg.norm(states[own][:, None] - states[None], axis=2)
    rows = np.arange(len(outputs))
    gaps[rows, own] = 1.0
    margin = (square - square[rows, own][:, None]) / (2.0 * gaps)
    margin[rows, own] = np.inf
    return np.asarray(np.min(margin, axis=1))


def learn(
    network: EchoStateNetwork,
    task: AutomatonTask,
    graph: nx.DiGraph,
    label: Callable[[FloatArray], IntArray],
    X: FloatArray,
    landscape: Landscape | None,
    *,
    everything: bool,
) -> Learned:
    """Read the states and moves of a network in the words of a task.

    Smallest kicks of the state that the graph does not carry are searched for where a state has several
    attractors, or everywhere.
    """
    nodes = list(graph.nodes)
    outputs = np.array([graph.nodes[n]["output"] for n in nodes], dtype=np.float64)
    outputs = outputs.reshape(len(nodes), task.states.shape[1])
    stands_for = decode(outputs, task.states) if len(nodes) else np.zeros(0, dtype=np.intp)
    K, P = len(nodes), task.n_symbols

    def reached(i: IntArray, p: IntArray, g: FloatArray) -> IntArray:
        if len(i) == 0:
            return np.zeros(0, dtype=np.intp)
        return label(pulsed(network, X[i], g[:, None] * task.pulses[p], task.pulse_length))

    i, p = (a.ravel() for a in np.meshgrid(np.arange(K), np.arange(P), indexing="ij"))
    table = reached(i, p, np.ones(len(i))).reshape(K, P)
    wanted = task.transitions[stands_for] if K else np.zeros((0, P), dtype=np.intp)
    windows = _windows(table, stands_for, wanted, reached)
    holders, _ = hold(outputs, task.states, {})
    kicks = _kicks(network, graph, X, label, landscape, stands_for, holders, everything)
    holders, _ = hold(outputs, task.states, {pair: size for pair, (size, _) in kicks.items()})
    return Learned(
        outputs, stands_for, output_margins(outputs, task.states), holders, table, windows, kicks,
    )  # fmt: skip


def _windows(
    table: IntArray,
    stands_for: IntArray,
    wanted: IntArray,
    reached: Callable[[IntArray, IntArray, FloatArray], IntArray],
) -> FloatArray:
    """Return the amplitudes between which right moves stay right, to about a hundredth."""
    windows = np.full((*table.shape, 2), np.nan)

    def right(i: IntArray, p: IntArray, g: FloatArray) -> Any:
        ends = reached(i, p, g)
        return (ends >= 0) & (stands_for[np.maximum(ends, 0)] == wanted[i, p])

    if table.size == 0:
        return windows
    i, p = np.nonzero((table >= 0) & (stands_for[np.maximum(table, 0)] == wanted))
    for side, amplitudes in ((0, _AMPLITUDES[4::-1]), (1, _AMPLITUDES[5:])):
        inside, outside = np.ones(len(i)), np.full(len(i), np.nan)
        going = np.ones(len(i), dtype=np.bool_)
        for g in amplitudes:
            at = np.flatnonzero(going)
            ok = right(i[at], p[at], np.full(len(at), g))
            inside[at[ok]] = g
            outside[at[~ok]] = g
            going[at[~ok]] = False
        for _ in range(4):
            at = np.flatnonzero(~going)
            middle = 0.5 * (inside[at] + outside[at])
            ok = right(i[at], p[at], middle)
            inside[at[ok]], outside[at[~ok]] = middle[ok], middle[~ok]
        windows[i, p, side] = inside
    return windows


def _kicks(
    network: EchoStateNetwork,
    graph: nx.DiGraph,
    X: FloatArray,
    label: Callable[[FloatArray], IntArray],
    landscape: Landscape | None,
    stands_for: IntArray,
    holders: tuple[tuple[int, ...], ...],
    everything: bool,
) -> dict[tuple[int, int], tuple[float, FloatArray]]:
    """Return the smallest kicks of the state between neighbours of different states."""
    several = {k for members in holders if len(members) > 1 for k in members}
    pairs = {
        (a, b)
        for s in graph.graph.get("saddles", [])
        if s["connects"] and min(s["connects"]) >= 0
        for a, b in itertools.permutations(s["connects"], 2)
        if stands_for[a] != stands_for[b]
    }
    found: list[dict[str, Any]] = []
    if "state" in graph.graph.get("metrics", []):
        found = [c for c in graph.graph["connections"] if c["metric"] == "state"]
    elif everything or any({a, b} & several for a, b in pairs):
        if landscape is None:
            landscape = find_landscape(network, starts=X, n_random=64)
        # The landscape may know more attractors than the graph, in another order.
        node = label(landscape.X)
        place = {int(k): i for i, k in enumerate(node) if k >= 0}
        asked = [
            (place[a], place[b])
            for a, b in sorted(pairs)
            if a in place and b in place and (everything or {a, b} & several)
        ]
        for c in kick_thresholds(landscape, pairs=asked) if asked else ():
            found.append({**c, "source": int(node[c["source"]]), "target": int(node[c["target"]])})
    out = {}
    for c in found:
        if (c["source"], c["target"]) in pairs and c["kick"] is not None:
            vector = np.asarray(c["kick"], dtype=np.float64)
            out[c["source"], c["target"]] = float(c["threshold"]), vector / np.linalg.norm(vector)
    return out
