"""Whether a network is the design of a graph: its attractors by runs, an extracted graph by its vertices."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final, final

import networkx as nx
import numpy as np

from esntools._typing import FloatArray, IntArray, RandomState
from esntools.arguments import positive_number, seeded, whole_number
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork

__all__ = ["DesignCheck", "GraphMatch", "check_design", "destinations", "same_graph"]

#: How far an output may be from 0 or 1: the units of waiting successors are not quite off.
_NEAR: Final = 0.25


@final
@dataclass(frozen=True, eq=False, repr=False)
class DesignCheck:
    """What runs of a designed network showed.

    Attributes
    ----------
    passed : bool
    reasons : tuple of str
        What failed, one sentence each.
    states : ndarray, shape (n_vertices, n_units)
        The fixed point of every vertex, in the graph's order; NaN where there is none.
    radii : ndarray, shape (n_vertices,)
        The largest modulus of its multipliers.
    shares : ndarray, shape (n_vertices,)
        Share of the starts that ended at each.
    n_starts, n_strays : int
        Starts, and those of them that ended at no vertex.
    """

    passed: bool
    reasons: tuple[str, ...]
    states: FloatArray
    radii: FloatArray
    shares: FloatArray
    n_starts: int
    n_strays: int

    def __repr__(self) -> str:
        return (
            f"DesignCheck(passed={self.passed}, {len(self.states)} vertices, "
            f"{self.n_strays} of {self.n_starts} starts astray)"
        )


def _box(network: EchoStateNetwork) -> tuple[float, float]:
    low, high = network.activation.value_bounds
    return low, high


def destinations(network: EchoStateNetwork, X: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Run states (n, n_units) without input until they rest.

    Returns the output that is on, -1 where the state does not rest or its output is no vertex; the least that
    every output was on the way, (n, n_outputs); and the last states.
    """
    silent = network.at_input(np.zeros(network.n_inputs)) if network.n_inputs else network
    found = np.full(len(X), -1, dtype=np.intp)
    last, rows = np.array(X, dtype=np.float64), np.arange(len(X))
    least = np.full((len(X), network.n_outputs), np.inf)
    X = last.copy()
    longest = round(1500 / float(np.min(network.leak_rate)))
    for k in range(longest):
        following = silent.step(X)
        if k % 4 == 0:
            least[rows] = np.minimum(least[rows], network.output(following))
        if k % 16 == 15:
            # A passage near a ghost of a fixed point is slow, but not as slow as this.
            resting = np.max(np.abs(following - X), axis=1) < 1e-11
            if resting.any():
                last[rows[resting]] = following[resting]
                rows, following = rows[~resting], following[~resting]
        X = following
        if len(rows) == 0:
            break
    last[rows] = X
    Y = network.output(last)
    on = np.argmax(Y, axis=1)
    one_hot = np.max(np.abs(Y - np.eye(network.n_outputs)[on]), axis=1) < _NEAR
    done = np.ones(len(last), dtype=bool)
    done[rows] = False
    found[one_hot & done] = on[one_hot & done]
    return found, least, last


def vertex_states(network: EchoStateNetwork) -> FloatArray:
    """Return a state near every vertex: the unit that its output reads is on, all others are off."""
    assert network.readout is not None
    low, high = _box(network)
    reads = network.readout.W_out != 0.0
    return np.where(reads, high, low).astype(np.float64)


def _checked_graph(graph: object, place: str) -> nx.DiGraph:
    if not isinstance(graph, nx.DiGraph):
        raise InvalidInputError(place, type(graph).__name__, "must be a networkx.DiGraph")
    return graph


def check_design(
    network: EchoStateNetwork, graph: nx.DiGraph, *, n_starts: int = 256, rng: RandomState = 0
) -> DesignCheck:
    """Check by runs that the vertices of a graph are attractors of a network, and that no others are found.

    Every vertex must be a stable fixed point with its own output on. Random states of the cube and of its
    corners, and the states with every unit on or off, must all come to rest at one of them. Runs prove
    nothing about the states that were not tried.

    Parameters
    ----------
    network : EchoStateNetwork
        With one output per vertex, as `design` returns it.
    graph : networkx.DiGraph
    n_starts : int, optional
        Default 256.
    rng : int, Generator or None
        Default 0.

    Raises
    ------
    InvalidInputError
        When the network has not one output per vertex.

    Examples
    --------
    >>> import networkx as nx
    >>> from esntools.excitable.design import design
    >>> path = nx.DiGraph([(0, 1), (1, 2)])
    >>> check_design(design(path), path)
    DesignCheck(passed=True, 3 vertices, 0 of 256 starts astray)
    """
    vertices = tuple(_checked_graph(graph, "graph").nodes)
    if not isinstance(network, EchoStateNetwork):
        raise InvalidInputError("network", type(network).__name__, "must be an EchoStateNetwork")
    if network.n_outputs != len(vertices):
        raise InvalidInputError(
            "network", f"{network.n_outputs} outputs", f"must have one per vertex, {len(vertices)}"
        )
    n_starts, rng = whole_number(n_starts, "n_starts", 4), seeded(rng)
    found, _, states = destinations(network, vertex_states(network))
    silent = network.at_input(np.zeros(network.n_inputs)) if network.n_inputs else network
    radii = np.array([np.max(np.abs(np.linalg.eigvals(silent.jacobian(x)))) for x in states])
    reasons = []
    for k, v in enumerate(vertices):
        if found[k] != k:
            where = "no vertex" if found[k] < 0 else f"vertex {vertices[found[k]]!r}"
            reasons.append(f"vertex {v!r} is no attractor: the state with its unit on goes to {where}")
        elif not radii[k] < 1.0:
            reasons.append(f"vertex {v!r} is not stable: spectral radius {radii[k]:.6g}")
    states = np.where((found == np.arange(len(vertices)))[:, None], states, np.nan)
    low, high = _box(network)
    half = (n_starts - 2) // 2
    X = np.vstack([
        np.full((1, network.n_units), low), np.full((1, network.n_units), high),
        rng.uniform(low, high, (n_starts - 2 - half, network.n_units)),
        np.where(rng.random((half, network.n_units)) < rng.random((half, 1)), high, low),
    ])  # fmt: skip
    # Exactly at a corner a symmetric graph would keep a run on the stable manifold of a saddle.
    X = X + 1e-3 * (high - low) * rng.standard_normal(X.shape)
    ends, _, _ = destinations(network, X)
    n_strays = int(np.sum(ends < 0))
    if n_strays:
        reasons.append(f"{n_strays} of {n_starts} starts end at no vertex")
    shares = np.bincount(ends[ends >= 0], minlength=len(vertices)) / n_starts
    return DesignCheck(not reasons, tuple(reasons), states, radii, shares, n_starts, n_strays)


@final
@dataclass(frozen=True, eq=False)
class GraphMatch:
    """How an extracted graph compares with the one designed; true where they are the same.

    Attributes
    ----------
    same : bool
    vertices : dict
        Node of the extracted graph -> vertex.
    missing_vertices, extra_nodes : tuple
        Vertices that no node stands for; nodes that stand for none, or for one that another stands for.
    missing, extra : tuple of (vertex, vertex)
        Edges of the one that the other has not; self-loops, which no extraction shows, are left out.
    thresholds : dict
        (vertex, vertex) -> (wanted, found), for the edges that both have and whose threshold is given.
    off : float
        The largest relative difference of these; 0 where none is given.
    """

    same: bool
    vertices: dict[Any, Any]
    missing_vertices: tuple[Any, ...]
    extra_nodes: tuple[Any, ...]
    missing: tuple[tuple[Any, Any], ...]
    extra: tuple[tuple[Any, Any], ...]
    thresholds: dict[tuple[Any, Any], tuple[float, float]]
    off: float

    def __bool__(self) -> bool:
        return self.same


def same_graph(
    graph: nx.DiGraph, extracted: nx.DiGraph, *, threshold: str | float = "threshold", rtol: float = 0.02
) -> GraphMatch:
    """Compare a graph with the excitable network extracted from its design, vertex by vertex.

    A node stands for the vertex whose output is on. The same are they when nodes and vertices match one to
    one, the edges are the same, and every threshold that the graph gives was found to within `rtol`.

    Parameters
    ----------
    graph : networkx.DiGraph
        As given to `design`.
    extracted : networkx.DiGraph
        From `excitable_network`, in the metric of the thresholds.
    threshold : str or float, optional
        The edge attribute of `graph`, or one number, as given to `design`.
    rtol : float, optional
        Default 0.02.

    Examples
    --------
    >>> import networkx as nx
    >>> found = nx.DiGraph()
    >>> found.add_node(0, output=[0.02, 1.0])
    >>> found.add_node(1, output=[1.0, 0.0])
    >>> found.add_edge(1, 0, threshold=0.1502)
    >>> match = same_graph(nx.DiGraph([("a", "b")]), found, threshold=0.15)
    >>> match.same, match.vertices, round(match.off, 5)
    (True, {0: 'b', 1: 'a'}, 0.00133)
    """
    rtol = positive_number(rtol, "rtol")
    order = tuple(_checked_graph(graph, "graph").nodes)
    _checked_graph(extracted, "extracted")
    vertices: dict[Any, Hashable] = {}
    extra_nodes = []
    for node, data in extracted.nodes(data=True):
        y = np.asarray(data.get("output") if data.get("output") is not None else [], dtype=np.float64)
        k = int(np.argmax(y)) if len(y) == len(order) else -1
        one_hot = k >= 0 and bool(np.max(np.abs(y - np.eye(len(order))[k])) < _NEAR)
        if one_hot and order[k] not in vertices.values():
            vertices[node] = order[k]
        else:
            extra_nodes.append(node)
    there = set(vertices.values())
    missing_vertices = tuple(v for v in order if v not in there)
    wanted = {(u, v) for u, v in graph.edges if u != v}
    found = {
        (vertices[i], vertices[j]): float(data["threshold"])
        for i, j, data in extracted.edges(data=True)
        if i in vertices and j in vertices
    }
    missing, extra = tuple(e for e in wanted if e not in found), tuple(e for e in found if e not in wanted)
    thresholds = {}
    for u, v in wanted & set(found):
        value = graph.edges[u, v].get(threshold) if isinstance(threshold, str) else threshold
        if value is not None:
            thresholds[u, v] = (float(value), found[u, v])
    off = max((abs(b / a - 1.0) for a, b in thresholds.values()), default=0.0)
    same = not (missing_vertices or extra_nodes or missing or extra) and off <= rtol
    return GraphMatch(
        same, vertices, missing_vertices, tuple(extra_nodes), missing, extra, thresholds, off
    )  # fmt: skip
