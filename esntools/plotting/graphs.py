"""Plots of an excitable network attractor: as a graph, and in phase space."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.plotting.style import BLUE, GREY, INK, LABEL, RED, TICK, new_axes, style

if TYPE_CHECKING:
    import networkx

__all__ = ["plot_graph", "plot_phase_graph"]

_NODE = 17.0  # marker diameter in points
_BEND = 0.22
#: Edges up to which each carries its number.
LABELLED = 40


def _nodes(graph: networkx.DiGraph, place: str) -> list[Hashable]:
    nodes = list(graph.nodes)
    if not nodes:
        raise InvalidInputError(place, "an empty graph", "at least one node is needed")
    return nodes


def _outputs(graph: networkx.DiGraph, nodes: Sequence[Hashable]) -> FloatArray | None:
    rows = [graph.nodes[node].get("output") for node in nodes]
    if any(row is None for row in rows):
        # Without a readout, a state of up to three units says as much.
        rows = [graph.nodes[node].get("x") for node in nodes]
        if any(row is None or len(row) > 3 for row in rows):
            return None
    table = np.array([np.atleast_1d(np.asarray(row, dtype=np.float64)) for row in rows])
    return table if table.ndim == 2 and table.shape[1] > 0 else None


def _circle(n: int, order: Sequence[int]) -> FloatArray:
    angle = 2.0 * math.pi * np.arange(n) / n + (math.pi / 4.0 if n == 4 else math.pi / 2.0)
    place = np.empty((n, 2))
    place[list(order)] = np.column_stack([np.cos(angle), np.sin(angle)])
    return place


def _positions(outputs: FloatArray | None, n: int) -> FloatArray:
    """Place nodes at their outputs where that keeps them apart, else on a circle in the outputs' order."""
    if n == 1:
        return np.zeros((1, 2))
    if outputs is None:
        return np.array([[-1.0, 0.0], [1.0, 0.0]]) if n == 2 else _circle(n, range(n))
    if n == 2 and outputs.shape[1] > 1:
        return np.array([[-1.0, 0.0], [1.0, 0.0]])
    m = outputs.shape[1]
    if m == 1:
        order = np.argsort(outputs[:, 0])
        place = np.zeros((n, 2))
        place[order, 0] = np.linspace(-1.0, 1.0, n)
        return place
    flat = outputs[:, :2]
    if m == 3:
        # A cube seen through one of its faces (Schlegel diagram): the far square inside the near one.
        depth = outputs[:, 2] - outputs[:, 2].min()
        flat = flat * (1.0 - 0.6 * depth / (depth.max() or 1.0))[:, None]
    spread = flat - flat.mean(axis=0)
    scale = float(np.abs(spread).max())
    if m <= 3 and scale > 0.0:
        gaps = np.linalg.norm(spread[:, None] - spread[None], axis=-1) + 10.0 * scale * np.eye(n)
        if float(gaps.min()) > 0.7 * scale:
            return np.asarray(spread / scale)
    angle = np.arctan2(spread[:, 1], spread[:, 0])
    return _circle(n, [int(i) for i in np.argsort(angle)])


def _number(value: float) -> str:
    text = f"{value:+.1f}" if abs(value) < 100.0 else f"{value:+.3g}"
    return "0" if abs(value) < 0.05 else text.removesuffix(".0").replace("-", "−")


def _output_label(row: FloatArray) -> str:
    return "(" + ", ".join(_number(v) for v in row) + ")" if len(row) > 1 else _number(row[0])


def _is_spurious(outputs: FloatArray | None, targets: ArrayLike | None) -> list[bool]:
    """A node is spurious when another node lies nearer to the target that both are nearest to."""
    if outputs is None:
        return []
    if targets is None:
        return [False] * len(outputs)
    goal = np.asarray(targets, dtype=np.float64)
    distance = np.linalg.norm(outputs[:, None] - goal[None], axis=-1)
    nearest = distance.argmin(axis=1)
    own = distance.min(axis=1)
    return [
        bool(any(j != i and nearest[j] == nearest[i] and own[j] < own[i] for j in range(len(own))))
        for i in range(len(own))
    ]


def _weak(graph: networkx.DiGraph) -> float:
    """Return the threshold under which a move is suspiciously easy: half the median of those made."""
    values = [d["threshold"] for _, _, d in graph.edges(data=True) if d.get("threshold") and d.get("at_unit")]
    return float(np.median(values)) / 2.0 if len(values) >= 4 else 0.0


def _edge_look(data: dict[str, Any], weak: float, strongest: float) -> tuple[dict[str, Any], str]:
    threshold, probability = data.get("threshold"), data.get("probability")
    if threshold is not None:
        at_unit = bool(data.get("at_unit", True))
        easy = threshold < weak
        width = float(np.clip(2.2 * strongest / max(threshold, 1e-12), 0.7, 2.2))
        look = {
            "lw": width if at_unit else 0.7,
            "ls": "-" if at_unit else (0, (3, 2)),
            "color": RED if easy else (INK if at_unit else GREY),
        }
        return look, f"{threshold:.2g}" + ("!" if easy else "")
    if probability is not None:
        return {"lw": 0.6 + 2.0 * float(probability), "ls": "-", "color": INK}, f"{100 * probability:.0f} %"
    return {"lw": 1.0, "ls": "-", "color": INK}, str(data.get("label", ""))


def plot_graph(graph: networkx.DiGraph, *, targets: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Draw an excitable network attractor, or a graph of visits, as a directed graph.

    A node is a stable fixed point and carries the output it holds; a spurious one (nearest to a target that
    another node holds better) is a square and says so. An edge carries the smallest pulse amplitude that
    makes the move (or the probability of the visit): the easier, the thicker; dashed when a unit pulse does
    not make it; red with an exclamation mark when it is easier than half the median.

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` or `visit_graph` returns it.
    targets : array_like, shape (n_targets, n_outputs), optional
        The outputs that the task asks for.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When the graph has no node.

    Examples
    --------
    >>> import networkx
    >>> graph = networkx.DiGraph()
    >>> graph.add_node(0, output=[1.0])
    >>> graph.add_node(1, output=[-1.0])
    >>> graph.add_edge(0, 1, threshold=0.4, at_unit=True)
    >>> len(plot_graph(graph).patches)
    1
    """
    nodes = _nodes(graph, "plot_graph")
    outputs = _outputs(graph, nodes)
    place = _positions(outputs, len(nodes))
    in_line = bool(np.ptp(place[:, 1]) < 1e-9)
    if in_line:
        ax = new_axes(ax, (3.6 if len(nodes) < 3 else 5.0, 1.5 if len(nodes) < 3 else 2.4))
    else:
        ax = new_axes(ax, (5.8, 5.2) if len(nodes) > 4 else (4.0, 3.6))
    spurious = _is_spurious(outputs, targets) or [False] * len(nodes)
    index = {node: i for i, node in enumerate(nodes)}
    weak = _weak(graph)
    thresholds = [d["threshold"] for _, _, d in graph.edges(data=True) if d.get("threshold") is not None]
    strongest = min(thresholds, default=1.0)
    step = 2.0 / max(len(nodes) - 1, 1)
    longest = max((abs(place[index[i], 0] - place[index[j], 0]) for i, j in graph.edges), default=0.0)
    labelled = graph.number_of_edges() <= LABELLED
    for source, target, data in graph.edges(data=True):
        if source == target:
            continue
        p, q = place[index[source]], place[index[target]]
        look, text = _edge_look(data, weak, strongest)
        skips = in_line and abs(p[0] - q[0]) > 1.5 * step
        bend = 2.2 * _BEND if skips else _BEND
        ax.add_patch(
            FancyArrowPatch(
                (p[0], p[1]), (q[0], q[1]), arrowstyle="-|>", mutation_scale=8, shrinkA=_NODE / 2 + 1,
                shrinkB=_NODE / 2 + 1, connectionstyle=f"arc3,rad={bend}", zorder=1, **look,
            )
        )  # fmt: skip
        if labelled and text:
            # The middle of the arc, then a little towards its start so that crossing arcs' labels part.
            t = 0.42
            control = 0.5 * (p + q) + bend * np.array([q[1] - p[1], p[0] - q[0]])
            at = (1 - t) ** 2 * p + 2 * t * (1 - t) * control + t**2 * q
            ax.text(
                at[0], at[1], text, fontsize=TICK, color=look["color"] if look["color"] == RED else INK,
                ha="center", va="center", zorder=2,
                bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.9},
            )  # fmt: skip
    centre = place.mean(axis=0)
    reach = float(np.linalg.norm(place - centre, axis=1).max())
    for i, node in enumerate(nodes):
        ax.plot(
            *place[i], marker="s" if spurious[i] else "o", ms=_NODE,
            mfc="#fde3d5" if spurious[i] else "#dbe9f4", mec=RED if spurious[i] else BLUE, mew=1.2,
            ls="", zorder=3,
        )  # fmt: skip
        ax.text(
            place[i, 0], place[i, 1], str(node), fontsize=LABEL, ha="center", va="center", color=INK, zorder=4
        )
        if outputs is None:
            continue
        away = place[i] - centre
        norm = float(np.linalg.norm(away))
        inner = norm < 0.7 * reach
        away = np.array([0.0, -1.0]) if inner and in_line else away / max(norm, 1e-9)
        if inner and not in_line:
            # Inside a ring of nodes the room is towards the middle.
            away = np.array([0.0, -1.0 if away[1] > 0.0 else 1.0])
        side = "center" if abs(away[0]) < 0.5 else ("left" if away[0] > 0 else "right")
        ax.annotate(
            _output_label(outputs[i]) + (" spurious" if spurious[i] else ""), place[i],
            xytext=tuple((_NODE / 2 + 5) * away), textcoords="offset points", fontsize=TICK, color=INK,
            ha=side, va="center" if side != "center" else ("bottom" if away[1] > 0 else "top"), zorder=4,
            bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.85},
        )  # fmt: skip
    ax.set_aspect("equal")
    ax.set_xlim(place[:, 0].min() - 0.6, place[:, 0].max() + 0.6)
    below = 0.42 if not in_line else (0.65 if longest > 1.5 * step else 0.35)
    ax.set_ylim(place[:, 1].min() - below, place[:, 1].max() + below)
    ax.set_axis_off()
    return ax


def _first_two(read: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    return lambda x: np.asarray(read(x)[..., :2])


def _onto_principal_plane(states: FloatArray) -> Callable[[FloatArray], FloatArray]:
    centre = states.mean(axis=0)
    _, _, axes = np.linalg.svd(states - centre, full_matrices=False)
    axes = axes[:2]
    # The sign of a singular vector is arbitrary; fix it so that a picture is reproducible.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    axes = np.vstack([axes, np.zeros((2 - len(axes), states.shape[1]))])
    return lambda x: np.asarray((x - centre) @ axes.T)


def plot_phase_graph(
    graph: networkx.DiGraph,
    network: EchoStateNetwork | None = None,
    *,
    paths: Sequence[ArrayLike] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw an excitable network attractor in phase space: fixed points, saddles, and orbits between them.

    The plane is that of the first two outputs, or of the two principal components of the states when there
    are fewer outputs (of the state itself when it has two units).

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` returns it; its nodes carry ``x`` (and ``output``), its attribute ``saddles``
        the saddles.
    network : EchoStateNetwork, optional
        Reads the outputs of `paths`; without it the plane is that of the principal components.
    paths : sequence of array_like, shape (n_steps, n_units) each
        Orbits to draw, as `esntools.study.pulse_paths` returns them.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When the graph has no node.

    Examples
    --------
    >>> import networkx
    >>> graph = networkx.DiGraph(saddles=[{"x": [0.0, 0.0]}])
    >>> graph.add_node(0, x=[0.9, 0.1])
    >>> graph.add_node(1, x=[-0.9, 0.0])
    >>> plot_phase_graph(graph).get_xlabel()
    'unit 1'
    """
    nodes = _nodes(graph, "plot_phase_graph")
    states = np.array([np.asarray(graph.nodes[node]["x"], dtype=np.float64) for node in nodes])
    saddles = [np.asarray(s["x"], dtype=np.float64) for s in graph.graph.get("saddles", [])]
    orbits = [np.asarray(path, dtype=np.float64) for path in paths]
    if network is not None and network.n_outputs >= 2:
        names = ("output 1", "output 2")
        project = _first_two(network.output)
    elif states.shape[1] == 2:
        names = ("unit 1", "unit 2")
        project = _first_two(lambda x: x)
    else:
        names = ("principal component 1", "principal component 2")
        project = _onto_principal_plane(np.vstack([states, *(np.atleast_2d(s) for s in saddles), *orbits]))
    ax = new_axes(ax, (3.8, 3.5))
    for orbit in orbits:
        line = project(orbit)
        ax.plot(line[:, 0], line[:, 1], "-", color=GREY, lw=0.7, zorder=1)
        ax.plot(line[1:, 0], line[1:, 1], ".", color=GREY, ms=2.0, zorder=1)
    for i, saddle in enumerate(saddles):
        at = project(saddle)
        ax.plot(
            at[0], at[1], "x", color=INK, ms=6.0, mew=1.3, ls="", zorder=3,
            label="_" if i else "unstable fixed point",
        )  # fmt: skip
    flat = project(states)
    for i, node in enumerate(nodes):
        stable = graph.nodes[node].get("stable", True)
        ax.plot(
            flat[i, 0], flat[i, 1], "o", ms=11.0, mfc="#dbe9f4" if stable else "white", mec=BLUE, mew=1.2,
            ls="", zorder=4, label="_" if i else "stable fixed point",
        )  # fmt: skip
        ax.text(
            flat[i, 0], flat[i, 1], str(node), fontsize=TICK, ha="center", va="center", zorder=5, color=INK
        )
    ax.margins(0.12)
    if np.ptp(flat[:, 1]) < 1e-9 and not orbits:
        ax.set_ylim(flat[0, 1] - 1.0, flat[0, 1] + 1.0)
    style(ax, x=names[0], y=names[1], box=True)
    ax.legend(
        fontsize=TICK, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncol=2, borderaxespad=0.1,
        handlelength=1.2, markerscale=0.7, columnspacing=1.2,
    )  # fmt: skip
    return ax
