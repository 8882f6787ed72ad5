"""The graph of visits that a trajectory pays to the neighbourhoods of fixed points."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from esntools.errors import InvalidInputError
from esntools.fixed_points import FixedPoints
from esntools.network import EchoStateNetwork

__all__ = ["visit_graph"]


def visit_graph(
    fixed_points: FixedPoints,
    trajectory: ArrayLike,
    *,
    network: EchoStateNetwork,
    delays: int = 1,
    delay: int = 1,
    fraction: float | None = None,
    dt: float | None = None,
) -> nx.DiGraph:
    r"""Return the graph of visits that a trajectory pays to the neighbourhoods of fixed points.

    Every time is labelled with the nearest fixed point, in state space or in the space of delay vectors
    :math:`(y_k, y_{k-\tau}, \dots)` of the outputs; consecutive equal labels are one visit.

    Parameters
    ----------
    fixed_points : FixedPoints
        Of the (closed-loop) network.
    trajectory : array_like, shape (n_steps, n_units) or (n_steps, n_outputs)
        States, or outputs; when both have the same width, states
        (outputs with delays).
    network : EchoStateNetwork
    delays, delay : int
        Length of a delay vector and steps between its entries; for outputs only. Default 1, 1.
    fraction : float, optional
        The neighbourhood of a point ends at this fraction of its distance to the nearest other point; outside
        all neighbourhoods the last visit goes on. Default None: neighbourhoods are Voronoi cells.
    dt : float, optional
        Time between steps, for dwell times in units of time.

    Returns
    -------
    networkx.DiGraph
        Nodes are positions in `fixed_points`, with ``x``, ``output`` (lists), ``stable``, ``n_unstable``,
        ``visits``, ``share`` (of steps), ``mean_dwell`` (steps; complete visits only; None without one).
        Points never visited are nodes with no visits. Edges with ``count``, ``probability`` (of leaving to
        there), ``mean_dwell`` (steps in the source before this edge), ``label``. With dt, nodes and edges
        also have ``mean_dwell_time``.

    Raises
    ------
    InvalidInputError
        When there are no fixed points, or shapes do not fit.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> from esntools.fixed_points import find_fixed_points
    >>> bit = EchoStateNetwork([[2.0]], readout=Readout([[1.0]]))
    >>> outputs = np.array([-1.0, -0.8, 0.1, 0.9, 1.0, 0.9, -0.9])[:, None]
    >>> graph = visit_graph(find_fixed_points(bit), outputs, network=bit)
    >>> [(i, j, graph.edges[i, j]["mean_dwell"]) for i, j in graph.edges]
    [(0, 2, 2.0), (1, 0, 3.0), (2, 1, 1.0)]
    """
    points = tuple(fixed_points)
    if not points:
        raise InvalidInputError("fixed_points", "none", "a visit graph needs at least one", "search again")
    states = np.asarray(trajectory, dtype=np.float64)
    width = {network.n_units} | ({network.n_outputs} if network.n_outputs else set())
    if states.ndim != 2 or states.shape[1] not in width or len(states) == 0:
        raise InvalidInputError(
            "trajectory", f"shape {states.shape}",
            f"must be (n_steps, n_units = {network.n_units}) or (n_steps, n_outputs = {network.n_outputs})",
        )  # fmt: skip
    if not np.all(np.isfinite(states)):
        bad = int(np.flatnonzero(~np.all(np.isfinite(states), axis=1))[0])
        raise InvalidInputError(f"trajectory[{bad}]", "not finite", "must be finite", "cut it there")
    if delays < 1 or delay < 1 or (delays - 1) * delay >= len(states):
        raise InvalidInputError(
            "delays", f"{delays} of {delay} steps", "must be at least 1 and shorter than the trajectory"
        )
    if fraction is not None and not 0.0 < fraction <= 1.0:
        raise InvalidInputError("fraction", str(fraction), "must lie in (0, 1]", "None for Voronoi cells")
    as_outputs = states.shape[1] == network.n_outputs
    if delays > 1 and not as_outputs:
        raise InvalidInputError("delays", str(delays), "delays are for outputs, not for states")
    if states.shape[1] == network.n_units and delays == 1:
        centres = np.array([p.x for p in points])
    else:
        centres = np.tile(network.output(np.array([p.x for p in points])), (1, delays))
        n = len(states) - (delays - 1) * delay
        states = np.hstack([states[(delays - 1 - d) * delay :][:n] for d in range(delays)])

    square = np.einsum("kn,kn->k", centres, centres) - 2.0 * states @ centres.T
    square += np.einsum("tn,tn->t", states, states)[:, None]
    labels = np.argmin(square, axis=1)
    times = np.arange(len(labels))
    if fraction is not None and len(centres) > 1:
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        np.fill_diagonal(gaps, np.inf)
        inside = square[times, labels] < (fraction * gaps.min(axis=1)[labels]) ** 2
        # Outside every neighbourhood the last visit goes on; times before the first visit are not counted.
        if not inside.any():
            labels, times = labels[:0], times[:0]
        else:
            last = np.maximum.accumulate(np.where(inside, times, -1))
            times = times[last >= 0]
            labels = labels[last[last >= 0]]

    begins = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1]) if len(labels) else np.zeros(0, int)
    visited = labels[begins]
    lengths = np.diff(np.append(begins, len(labels)))
    graph = nx.DiGraph(kind="visit graph", n_steps=len(labels), dt=dt, fraction=fraction)
    complete = np.ones(len(begins), dtype=bool)
    # The first and last visits are cut off by the ends of the run: their length is not a dwell.
    complete[:1] = complete[-1:] = False
    for k, point in enumerate(points):
        mine = visited == k
        dwell = lengths[mine & complete]
        attributes: dict[str, Any] = {
            "x": point.x.tolist(),
            "output": None if point.output is None else point.output.tolist(),
            "stable": point.stable,
            "n_unstable": point.n_unstable,
            "visits": int(np.sum(mine)),
            "share": float(np.mean(labels == k)) if len(labels) else 0.0,
            "mean_dwell": float(np.mean(dwell)) if len(dwell) else None,
        }
        if dt is not None:
            attributes["mean_dwell_time"] = None if len(dwell) == 0 else float(np.mean(dwell) * dt)
        graph.add_node(k, **attributes)
    for i, j in dict.fromkeys(zip(visited[:-1].tolist(), visited[1:].tolist())):
        here = (visited[:-1] == i) & (visited[1:] == j)
        count = int(np.sum(here))
        left = int(np.sum(visited[:-1] == i))
        # A first visit, though cut off, is the only one there is in some short runs.
        dwell = lengths[:-1][here & complete[:-1]]
        mean = float(np.mean(dwell if len(dwell) else lengths[:-1][here]))
        edge = {
            "count": count,
            "probability": count / left,
            "mean_dwell": mean,
            "label": f"{count / left:.2g}",
        }
        if dt is not None:
            edge["mean_dwell_time"] = mean * dt
        graph.add_edge(i, j, **edge)
    return graph
