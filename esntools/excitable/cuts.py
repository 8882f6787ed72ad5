"""Edges of an excitable network at an amplitude: thresholds are finite, so that an edge is a choice."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, Final

import networkx as nx
import numpy as np

from esntools._typing import FloatArray
from esntools.arguments import real_number
from esntools.errors import InvalidInputError

__all__ = [
    "METRICS", "at_amplitude", "largest_gap", "lay_edges", "proved_lower", "rounded_down", "threshold_matrix",
]  # fmt: skip

#: What a threshold may be measured by.
METRICS: Final = ("input", "state", "range", "subspace")

# Thresholds that differ by less than this factor are not told apart by an amplitude.
_GAP: Final = 2.0


def largest_gap(thresholds: Iterable[float], floor: float = 0.0) -> tuple[float | None, float | None]:
    r"""Return the amplitude in the middle of the largest gap between thresholds, and the gap's ratio.

    Of the sorted thresholds :math:`t_1 \le t_2 \le \dots` the largest :math:`t_{k+1} / t_k` is the gap, and
    :math:`\sqrt{t_k t_{k+1}}` the amplitude.

    Parameters
    ----------
    thresholds : iterable of float
    floor : float
        Gaps that begin below this one are not looked at. Default 0.

    Returns
    -------
    tuple of float, or of None
        None, None with fewer than two thresholds, or where no ratio is as large as 2.

    Examples
    --------
    >>> largest_gap([0.4, 0.05, 0.1, 0.5])
    (0.2, 4.0)
    >>> largest_gap([0.9, 1.0])
    (None, None)
    """
    values = np.unique(np.array([t for t in thresholds if np.isfinite(t) and t > 0.0]))
    values = values[values >= floor * (1.0 - 1e-12)]
    if len(values) < 2:
        return None, None
    ratios = values[1:] / values[:-1]
    k = int(np.argmax(ratios))
    if ratios[k] < _GAP:
        return None, None
    return float(np.sqrt(values[k] * values[k + 1])), float(ratios[k])


def _metric_of(graph: nx.DiGraph, metric: str | None) -> str:
    known = graph.graph.get("metrics") if isinstance(graph, nx.DiGraph) else None
    if not isinstance(known, list) or not isinstance(graph.graph.get("connections"), list):
        what = type(graph).__name__ if known is None else "no connections"
        raise InvalidInputError(
            "graph", what, "must be what excitable_network returns", "nothing else knows its thresholds"
        )
    if metric is None:
        return str(graph.graph["metric"])
    if metric not in known:
        raise InvalidInputError(
            "metric", repr(metric), f"must be one that was computed: {', '.join(map(str, known))}",
            "extract the network with it: metrics=(...)",
        )  # fmt: skip
    return metric


def threshold_matrix(graph: nx.DiGraph, metric: str | None = None) -> FloatArray:
    """Return the threshold of every ordered pair of attractors.

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` returns it.
    metric : str, optional
        By default that of the edges.

    Returns
    -------
    ndarray, shape (K, K)
        Row i, column j: from i to j; in the input metric the least over all pulses. NaN where none was found,
        0 on the diagonal.

    Raises
    ------
    InvalidInputError
        When the graph is no excitable network, or the metric was not computed.

    Examples
    --------
    >>> from esntools.excitable import excitable_network
    >>> from esntools.network import EchoStateNetwork
    >>> threshold_matrix(excitable_network(EchoStateNetwork([[1.5]], W_in=[[1.0]]))).round(4)
    array([[0.    , 1.2878],
           [1.2878, 0.    ]])
    """
    metric = _metric_of(graph, metric)
    place = {node: k for k, node in enumerate(graph.nodes)}
    matrix = np.full((len(place), len(place)), np.nan)
    np.fill_diagonal(matrix, 0.0)
    for entry in graph.graph["connections"]:
        if entry["metric"] == metric and entry["threshold"] is not None:
            at = place[entry["source"]], place[entry["target"]]
            matrix[at] = np.fmin(matrix[at], entry["threshold"])
    return matrix


def at_amplitude(graph: nx.DiGraph, amplitude: float | None, metric: str | None = None) -> nx.DiGraph:
    """Return the excitable network whose edges are the thresholds up to an amplitude.

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` returns it; it stays as it is.
    amplitude : float, or None
        Infinity makes every threshold that was found an edge; None chooses by the largest gap, as
        `excitable_network` does.
    metric : str, optional
        By default that of the edges.

    Returns
    -------
    networkx.DiGraph

    Raises
    ------
    InvalidInputError
        When the graph is no excitable network, the metric was not computed, or the amplitude is negative.

    Examples
    --------
    >>> from esntools.excitable import excitable_network
    >>> from esntools.network import EchoStateNetwork
    >>> graph = excitable_network(EchoStateNetwork([[1.5]], W_in=[[1.0]]))
    >>> [len(at_amplitude(graph, d).edges) for d in (1.0, 1.3, np.inf)]
    [0, 2, 2]
    """
    metric = _metric_of(graph, metric)
    checked_amplitude(amplitude)
    out = nx.DiGraph(**copy.deepcopy(graph.graph))
    out.add_nodes_from((node, copy.deepcopy(data)) for node, data in graph.nodes(data=True))
    out.graph["metric"] = metric
    lay_edges(out, amplitude)
    return out


def checked_amplitude(amplitude: float | None) -> float | None:
    """Return the amplitude of a cut: None for the largest gap, infinity for no cut."""
    if amplitude is None or (isinstance(amplitude, float) and amplitude == np.inf):
        return amplitude
    number = real_number(amplitude, "amplitude")
    if number < 0.0:
        raise InvalidInputError("amplitude", repr(amplitude), "must not be negative", "leave it out")
    return number


def _default_cut(graph: nx.DiGraph) -> tuple[float | None, float | None]:
    """Return the amplitude in the largest gap of the pairs' thresholds, and the ratio."""
    found = [c for c in graph.graph["connections"] if c["metric"] == graph.graph["metric"]]
    least: dict[tuple[Any, Any], float] = {}
    for c in found:
        pair = c["source"], c["target"]
        least[pair] = min(least.get(pair, np.inf), c["threshold"])
    # What the task's own pulses do is never hidden.
    own = graph.graph.get("task_pulses", False)
    made = [c["threshold"] for c in found if own and c["metric"] == "input" and c["at_unit"]]
    return largest_gap(least.values(), max(made, default=0.0))


def rounded_down(value: float, digits: int) -> float:
    """Return the largest decimal number of so many digits that is not above a proved bound.

    >>> rounded_down(1.28695, 4), rounded_down(0.5, 2), rounded_down(0.0, 3)
    (1.286, 0.5, 0.0)
    """
    return float(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal(Decimal(value)))


def _least(entries: Sequence[dict[str, Any]], key: str) -> float:
    return float(min(entry[key] for entry in entries))


def proved_lower(graph: nx.DiGraph, metric: str, entries: Sequence[dict[str, Any]]) -> float:
    """Return what is proved of a pair: in the input metric by every pulse, those without a threshold too."""
    lower = _least(entries, "lower")
    bounds = graph.graph.get("pulse_lower_bounds")
    if metric != "input" or not bounds:
        return lower
    row = bounds[list(graph.nodes).index(entries[0]["source"])]
    seen = {entry["pulse"] for entry in entries}
    return min([lower, *(float(value) for p, value in enumerate(row) if p not in seen)])


def lay_edges(graph: nx.DiGraph, amplitude: float | None) -> None:
    """Add the edges of the graph's metric up to an amplitude: None for the largest gap, infinity for all."""
    if amplitude is None:
        amplitude, gap = _default_cut(graph)
        graph.graph.update(amplitude=amplitude, cut="none" if amplitude is None else "largest gap", gap=gap)
    else:
        amplitude = None if amplitude == np.inf else amplitude
        graph.graph.update(amplitude=amplitude, cut="none" if amplitude is None else "given", gap=None)
    pairs: dict[tuple[Any, Any], dict[str, list[dict[str, Any]]]] = {}
    for entry in graph.graph["connections"]:
        if entry["threshold"] is not None:
            by_metric = pairs.setdefault((entry["source"], entry["target"]), {})
            by_metric.setdefault(entry["metric"], []).append(entry)
    metric = graph.graph["metric"]
    edges = []
    for (source, target), by_metric in pairs.items():
        within = [c for c in by_metric.get(metric, []) if amplitude is None or c["threshold"] <= amplitude]
        if not within:
            continue
        within.sort(key=lambda c: (c["threshold"], c.get("pulse") or 0))
        best, others = within[0], within[1:]
        data: dict[str, Any] = {
            "metric": metric,
            "threshold": best["threshold"],
            "lower": proved_lower(graph, metric, by_metric[metric]),
            "checked": best["checked"],
        }
        if metric == "input":
            data["label"] = f"pulse {best['pulse']}: {best['threshold']:.3g}"
            data["pulse"] = best["pulse"]
            data["at_unit"] = any(c["at_unit"] for c in within)
            data["alternatives"] = [
                {key: c[key] for key in ("pulse", "threshold", "lower", "at_unit", "checked")} for c in others
            ]
        else:
            data["label"] = f"{best['threshold']:.3g}"
            data.update(kick=list(best["kick"]), alignment=best["alignment"], saddle=best["saddle"])
        data["thresholds"] = {name: _least(found, "threshold") for name, found in by_metric.items()}
        data["lower_bounds"] = {name: proved_lower(graph, name, found) for name, found in by_metric.items()}
        edges.append((source, target, data))
    edges.sort(key=lambda edge: (edge[2]["threshold"], edge[2].get("pulse") or 0))
    graph.add_edges_from(edges)
