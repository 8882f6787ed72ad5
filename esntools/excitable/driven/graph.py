"""The nonautonomous network as a directed graph of the minima over the sampled times."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np

from esntools._typing import FloatArray, IntArray
from esntools.excitable.driven.results import (
    DrivenResponse,
    DrivenThreshold,
    Dwell,
    NonautonomousSaddle,
    ResponseEvent,
)

__all__ = ["driven_graph"]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _node(k: int, response: DrivenResponse, dwells: tuple[Dwell, ...]) -> dict[str, Any]:
    spent = [d.length for d in dwells if d.response == k]
    return {
        "kind": "response",
        "x": response.states.mean(axis=0).tolist(),
        "output": None if response.output is None else response.output.tolist(),
        "exponent": _number(response.exponent),
        "share": response.share,
        "born": response.born,
        "begin": response.begin,
        "end": response.end,
        "merged_into": response.merged_into,
        "lifetime": response.lifetime,
        "visits": len(spent),
        "dwell": float(np.mean(spent)) if spent else None,
    }


def driven_graph(
    responses: tuple[DrivenResponse, ...], saddles: tuple[NonautonomousSaddle, ...],
    thresholds: tuple[DrivenThreshold, ...], events: tuple[ResponseEvent, ...], dwells: tuple[Dwell, ...],
    times: IntArray, metric: str, pulses: FloatArray, max_amplitude: float, n_past: int,
    unresolved: float, note: str,
) -> nx.DiGraph:  # fmt: skip
    """Return the graph; attributes are numbers, text, lists and dicts, as files can hold."""
    graph = nx.DiGraph(
        kind="nonautonomous excitable network", metric=metric, metrics=[metric], amplitude=None, cut="none",
        gap=None, n_past=n_past, times=times.tolist(), unresolved_share=unresolved, note=note,
        saddles=[
            {
                "x": s.states[len(s.states) // 2].tolist(), "begin": s.begin, "n_steps": len(s.states) - 1,
                "connects": list(s.between), "exponents": [_number(e) for e in s.exponents],
            }
            for s in saddles
        ],
        n_saddles=len(saddles),
        events=[
            {"kind": e.kind, "time": e.time, "since": e.since, "response": e.response, "other": e.other}
            for e in events
        ],
    )  # fmt: skip
    if metric == "input":
        graph.graph |= {"pulses": pulses.tolist(), "pulse_length": 1, "max_amplitude": float(max_amplitude)}
    for k, response in enumerate(responses):
        graph.add_node(k, **_node(k, response, dwells))
    connections = []
    for t in thresholds:
        best = t.best
        place = [k for k, s in enumerate(saddles) if set(s.between) == {t.source, t.target}]
        edge: dict[str, Any] = {
            "metric": metric, "threshold": t.minimum, "lower": 0.0, "checked": bool(t.checked[best]),
            "at": t.at, "times": t.times.tolist(), "series": [_number(s) for s in t.sizes],
            "saddle": place[0] if place else None, "label": f"{t.minimum:.3g} at {t.at}",
        }  # fmt: skip
        if metric == "input":
            edge |= {"pulse": int(t.pulse[best])}
        else:
            edge |= {"kick": t.kick.tolist(), "alignment": _number(float(t.alignment[best]))}
        connections.append({"source": t.source, "target": t.target, "note": "", **edge})
        graph.add_edge(t.source, t.target, **edge, thresholds={metric: t.minimum}, lower_bounds={metric: 0.0})
    graph.graph["connections"] = connections
    return graph
