"""What can be proved of an excitable network, beside what was found: balls in basins, lower bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np

from esntools._typing import FloatArray, Progress
from esntools.excitable.bounds import bound_kicks, bound_pulses
from esntools.excitable.bounds.pulses import reach
from esntools.excitable.landscape import Landscape
from esntools.maps import Map
from esntools.network import EchoStateNetwork

__all__ = ["put_bounds"]


def put_bounds(
    graph: nx.DiGraph,
    system: Map,
    landscape: Landscape,
    pulses: FloatArray,
    rest: FloatArray,
    subspaces: Sequence[FloatArray] | None,
    budget: float,
    progress: Progress,
) -> list[str]:
    """Put proved lower bounds on the connections, and balls on the nodes; return notes.

    Parameters
    ----------
    graph : networkx.DiGraph
        With nodes, connections, ``metrics``, ``pulse_length``, ``max_amplitude``; edges are laid afterwards.
    system : Map
    landscape : Landscape
    pulses, rest : ndarray
    subspaces : sequence of ndarray, or None
        Of every attractor, for the metric "subspace".
    budget : float
        Seconds.
    progress : callable

    Returns
    -------
    list of str
    """
    if not isinstance(system, EchoStateNetwork):
        return _nothing(graph, "proofs are for echo state networks")
    places = [k for k, a in enumerate(landscape.attractors) if a.period == 1]
    for k in set(graph.nodes) - set(places):
        graph.nodes[k]["ball_reason"] = "proofs are for stable fixed points"
    if not places:
        return []
    points = landscape.X[places]
    metrics = graph.graph["metrics"]
    parts = 1 + ("subspace" in metrics) + 2 * ("input" in metrics)

    def share(low: float, high: float) -> Progress:
        return lambda label, f: progress(label, (low + (high - low) * f) / parts)

    balls = bound_kicks(
        system, points, u=rest, upper=_least(graph, places, ("state",)), budget=budget / parts,
        progress=share(0, 1),
    )  # fmt: skip
    for k, radius, reason in zip(places, balls.radii, balls.reasons):
        graph.nodes[k].update(ball_radius=float(radius) if radius > 0.0 else None, ball_reason=reason)
    # A ball of kicks is a bound for those among them that stay in a box, or in a subspace, too.
    radii = dict(zip(places, balls.radii.tolist()))
    inside = dict(radii)
    if "subspace" in metrics and subspaces is not None:
        kept = [subspaces[k] if subspaces[k].shape[1] else None for k in places]
        flat = bound_kicks(
            system, points, u=rest, subspaces=kept, upper=_least(graph, places, ("subspace",)),
            budget=budget / parts, progress=share(1, 2),
        )  # fmt: skip
        inside = {k: max(radii[k], r) for k, r in zip(places, flat.radii.tolist())}
    for entry in graph.graph["connections"]:
        if entry["metric"] != "input":
            entry["lower"] = float(
                (inside if entry["metric"] == "subspace" else radii).get(entry["source"], 0.0)
            )
    if "input" in metrics:
        _bound_input(
            graph, system, places, points, pulses, rest, 2.0 * budget / parts, share(parts - 2, parts)
        )
    return []


def _nothing(graph: nx.DiGraph, reason: str) -> list[str]:
    for k in graph.nodes:
        graph.nodes[k]["ball_reason"] = reason
    return [f"nothing was proved: {reason}"]


def _least(graph: nx.DiGraph, places: Sequence[int], metrics: tuple[str, ...]) -> FloatArray | None:
    """Return the least threshold found from every point: no larger ball can be proved."""
    least = dict.fromkeys(places, np.inf)
    for entry in graph.graph["connections"]:
        if entry["metric"] in metrics and entry["source"] in least:
            least[entry["source"]] = min(least[entry["source"]], entry["threshold"])
    return np.array([least[k] for k in places]) if any(np.isfinite(v) for v in least.values()) else None


def _bound_input(
    graph: nx.DiGraph,
    network: EchoStateNetwork,
    places: Sequence[int],
    points: FloatArray,
    pulses: FloatArray,
    rest: FloatArray,
    budget: float,
    progress: Progress,
) -> None:
    """Prove how far the amplitude of every pulse can rise before it leads to a target."""
    proved = bound_pulses(
        network, points, pulses, u=rest, pulse_length=graph.graph["pulse_length"],
        upper=graph.graph["max_amplitude"], budget=budget, progress=progress,
    )  # fmt: skip
    at = {k: row for row, k in enumerate(places)}
    bounds: list[list[Any]] = [[0.0] * len(pulses) for _ in graph.nodes]
    for row, k in enumerate(places):
        bounds[k] = [float(v) for v in proved.lower[row]]
    graph.graph["pulse_lower_bounds"] = bounds
    for entry in graph.graph["connections"]:
        if entry["metric"] == "input" and entry["source"] in at:
            # No interval is proved to lead to an attractor that is no fixed point, so that -1 stands for it.
            target, source = at.get(entry["target"], -1), at[entry["source"]]
            entry["lower"] = reach(proved.intervals[source][entry["pulse"]], source, target)
