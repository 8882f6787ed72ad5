"""Plots of an excitable network attractor, or of visits, as a directed graph."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.plotting.style import BLUE, GREY, INK, LABEL, PALE, RED, TICK, new_axes

if TYPE_CHECKING:
    import networkx

__all__ = ["plot_graph"]

_NODE: Final = 17.0  # marker diameter in points
_BEND: Final = 0.2
#: Edges up to which each carries its number; with more, only those that matter do.
LABELLED: Final = 16
#: Nodes nearer than this fraction of the drawing's half-width are pushed apart.
_APART: Final = 0.5
# A pale fill that is darker than paper in greyscale, and one for what is wrong.
_FILL: Final = "#dbe9f4"
_RED_FILL: Final = "#f6c9b3"
#: By kind of attractor, markers that differ without colour.
_MARKERS: Final = {"periodic orbit": "h", "chaos": "D", "torus or chaos": "D"}


def nodes_of(graph: networkx.DiGraph, place: str) -> list[Hashable]:
    """Return the nodes in order; refuse a graph that has none."""
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


def _circle(n: int) -> FloatArray:
    angle = math.pi / 2.0 - 2.0 * math.pi * np.arange(n) / n + (math.pi / 4.0 if n == 4 else 0.0)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def pushed_apart(place: FloatArray, gap: float) -> FloatArray:
    """Move points that lie closer than `gap` apart, each as little as the others let it."""
    place = place.copy()
    n = len(place)
    # Points in one place part along directions of their own.
    turn = 2.0 * math.pi * np.arange(n) / n + 0.7
    for _ in range(200):
        difference = place[:, None] - place[None]
        distance = np.linalg.norm(difference, axis=-1)
        near = (distance < gap * (1.0 - 1e-3)) & ~np.eye(n, dtype=bool)
        if not near.any():
            break
        together = near & (distance < 1e-6 * gap)
        apart = np.column_stack([np.cos(turn), np.sin(turn)])
        difference[together] = (apart[:, None] - apart[None])[together]
        distance = np.where(near, np.linalg.norm(difference, axis=-1), 1.0)
        missing = np.where(near, gap - np.where(together, 0.0, distance), 0.0)
        place += 0.5 * np.sum(difference / distance[..., None] * missing[..., None], axis=1)
    return place


def _positions(outputs: FloatArray | None, n: int) -> FloatArray:
    """Place nodes at their outputs, pushed apart where they would cover each other, else on a circle."""
    if n == 1:
        return np.zeros((1, 2))
    if n == 2 and (outputs is None or outputs.shape[1] > 1):
        return np.array([[-1.0, 0.0], [1.0, 0.0]])
    if outputs is None or outputs.shape[1] > 3:
        return _circle(n)
    if outputs.shape[1] == 1:
        place = np.zeros((n, 2))
        place[np.argsort(outputs[:, 0], kind="stable"), 0] = np.linspace(-1.0, 1.0, n)
        return place
    flat = outputs[:, :2]
    if outputs.shape[1] == 3:
        # A cube seen through one of its faces (Schlegel diagram): the far square inside the near one.
        depth = outputs[:, 2] - outputs[:, 2].min()
        flat = flat * (1.0 - 0.6 * depth / (depth.max() or 1.0))[:, None]
    spread = flat - 0.5 * (flat.max(axis=0) + flat.min(axis=0))
    scale = float(np.abs(spread).max())
    if scale == 0.0 or n > 12:
        return _circle(n)
    return pushed_apart(np.asarray(spread / scale), _APART)


def _number(value: float) -> str:
    text = f"{value:+.1f}" if abs(value) < 100.0 else f"{value:+.3g}"
    return "0" if abs(value) < 0.05 else text.removesuffix(".0").replace("-", "−")


def _output_label(row: FloatArray) -> str:
    if len(row) > 3 and np.count_nonzero(np.abs(row) > 0.5) == 1:
        return f"output {int(np.argmax(np.abs(row)))}"
    shown = [_number(v) for v in row[:4]] + (["…"] if len(row) > 4 else [])
    return "(" + ", ".join(shown) + ")" if len(row) > 1 else shown[0]


def _is_spurious(outputs: FloatArray | None, targets: ArrayLike | None, n: int) -> list[bool]:
    """A node is spurious when another node lies nearer to the target that both are nearest to."""
    if outputs is None or targets is None:
        return [False] * n
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


@dataclass
class _Look:
    """How the edges of one graph are drawn."""

    graph: networkx.DiGraph
    guilty: Collection[tuple[Hashable, Hashable]] | None
    weak: float = field(init=False)
    lowest: float = field(init=False)
    highest: float = field(init=False)
    crowded: bool = field(init=False)

    def __post_init__(self) -> None:
        edges = [d for *_, d in self.graph.edges(data=True)]
        thresholds = [d["threshold"] for d in edges if d.get("threshold") is not None]
        self.weak = _weak(self.graph) if self.guilty is None else 0.0
        self.lowest = max(min(thresholds, default=1.0), 1e-12)
        self.highest = max(max(thresholds, default=1.0), self.lowest)
        self.crowded = len(edges) > LABELLED

    def red(self, source: Hashable, target: Hashable, data: dict[str, Any]) -> bool:
        if self.guilty is not None:
            return (source, target) in self.guilty
        return (data.get("threshold") or math.inf) < self.weak

    def width(self, threshold: float) -> float:
        """The easier the thicker, on a logarithmic scale of the graph's own thresholds."""
        # Thresholds within a factor of four do not use the whole range of widths.
        span = max(math.log(self.highest / self.lowest), math.log(4.0))
        middle = 0.5 * math.log(self.highest * self.lowest)
        return 2.0 + 2.4 * float(np.clip((middle - math.log(max(threshold, self.lowest))) / span, -0.5, 0.5))

    def of(self, source: Hashable, target: Hashable, data: dict[str, Any]) -> tuple[dict[str, Any], str]:
        red = self.red(source, target, data)
        threshold, probability = data.get("threshold"), data.get("probability")
        if threshold is not None:
            made = bool(data.get("at_unit", True))
            faint = self.crowded and not made and not red
            look: dict[str, Any] = {
                "lw": self.width(threshold) if made or red else 0.7, "ls": "-" if made else (0, (3, 2)),
                "color": RED if red else (INK if made else (PALE if faint else GREY)),
            }  # fmt: skip
            return look, "" if faint else f"{threshold:.2g}" + ("!" if red else "")
        if probability is not None:
            look = {"lw": 0.6 + 2.0 * float(probability), "ls": "-", "color": RED if red else INK}
            return look, f"{100 * probability:.0f} %"
        return {"lw": 1.0, "ls": "-", "color": RED if red else INK}, str(data.get("label", ""))


def _draw_edges(ax: Axes, look: _Look, place: FloatArray, index: dict[Hashable, int], in_line: bool) -> None:
    step = 2.0 / max(len(index) - 1, 1)
    centre = place.mean(axis=0)
    # What is red is drawn last, over all others.
    edges = sorted(look.graph.edges(data=True), key=lambda e: look.red(*e))
    for source, target, data in edges:
        p, q = place[index[source]], place[index[target]]
        drawn, text = look.of(source, target, data)
        over = drawn["color"] == RED
        if source == target:
            _draw_loop(ax, p, centre, drawn)
            continue
        skips = in_line and abs(p[0] - q[0]) > 1.5 * step
        bend = 2.2 * _BEND if skips else _BEND
        ax.add_patch(
            FancyArrowPatch(
                (p[0], p[1]), (q[0], q[1]), arrowstyle="-|>", mutation_scale=8 + 2 * drawn["lw"],
                shrinkA=_NODE / 2 + 1, shrinkB=_NODE / 2 + 1, connectionstyle=f"arc3,rad={bend}",
                zorder=1.5 if over else (0.5 if drawn["color"] == PALE else 1.0), **drawn,
            )
        )  # fmt: skip
        if text:
            # The middle of the arc, then a little towards its start so that crossing arcs' labels part.
            t = 0.4
            control = 0.5 * (p + q) + bend * np.array([q[1] - p[1], p[0] - q[0]])
            at = (1 - t) ** 2 * p + 2 * t * (1 - t) * control + t**2 * q
            ax.text(
                at[0], at[1], text, fontsize=TICK, color=RED if over else INK, ha="center", va="center",
                zorder=2.5 if over else 2.0, weight="bold" if over else "normal",
                bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.9},
            )  # fmt: skip


def _draw_loop(ax: Axes, p: FloatArray, centre: FloatArray, drawn: dict[str, Any]) -> None:
    """An arrow from a node to itself, on the side that looks away from the others."""
    away = p - centre
    away = away / np.linalg.norm(away) if np.linalg.norm(away) > 1e-9 else np.array([0.0, 1.0])
    side = np.array([-away[1], away[0]])
    a, b = p + 0.1 * (away + side), p + 0.1 * (away - side)
    ax.add_patch(
        FancyArrowPatch(
            (a[0], a[1]), (b[0], b[1]), arrowstyle="-|>", mutation_scale=8,
            connectionstyle="arc3,rad=-1.4", zorder=1, **drawn,
        )
    )  # fmt: skip


def _node_words(data: dict[str, Any], output: FloatArray | None, name: str, spurious: bool) -> str:
    words = [] if output is None else [_output_label(output)]
    if words and words[0] == name.replace("-", "−"):
        # The state of the task is the output that it holds: once is enough.
        name = ""
    kind = str(data.get("kind", "fixed point"))
    if kind == "periodic orbit":
        words.append(f"period {data.get('period')}")
    elif kind in _MARKERS:
        words.append(kind)
    if spurious:
        words.append("spurious")
    first = " ".join(words)
    return f"{first}\nfor {name}" if name and first else (name or first)


def _draw_nodes(
    ax: Axes,
    graph: networkx.DiGraph,
    nodes: Sequence[Hashable],
    place: FloatArray,
    outputs: FloatArray | None,
    spurious: Sequence[bool],
    names: Sequence[str],
    in_line: bool,
) -> None:
    centre = place.mean(axis=0)
    reach = float(np.linalg.norm(place - centre, axis=1).max())
    for i, node in enumerate(nodes):
        data = graph.nodes[node]
        marker = "s" if spurious[i] else _MARKERS.get(str(data.get("kind")), "o")
        ax.plot(
            *place[i], marker=marker, ms=_NODE, mfc=_RED_FILL if spurious[i] else _FILL,
            mec=RED if spurious[i] else BLUE, mew=2.0 if spurious[i] else 1.2, ls="", zorder=3,
        )  # fmt: skip
        ax.text(
            place[i, 0], place[i, 1], str(node), fontsize=LABEL if len(str(node)) < 4 else 0.7 * LABEL,
            ha="center", va="center", color=INK, zorder=4,
        )  # fmt: skip
        words = _node_words(data, None if outputs is None else outputs[i], names[i], spurious[i])
        if not words:
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
            words, place[i], xytext=tuple((_NODE / 2 + 5) * away), textcoords="offset points", fontsize=TICK,
            color=RED if spurious[i] else INK, weight="bold" if spurious[i] else "normal", ha=side,
            va="center" if side != "center" else ("bottom" if away[1] > 0 else "top"), zorder=4,
            bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.85},
        )  # fmt: skip


def _legend(graph: networkx.DiGraph, look: _Look, reds: bool) -> str:
    """Return one line that says how to read the edges."""
    edges = [d for *_, d in graph.edges(data=True) if d.get("threshold") is not None]
    if not edges:
        return ""
    metric = graph.graph.get("metric", "input")
    said = ["thick: easy" if metric == "input" else f"thick: a small kick ({metric})"]
    if any(not d.get("at_unit", True) for d in edges):
        said.append("dashed: only a stronger pulse does it")
    if reds:
        said.append("red !: suspiciously easy" if look.guilty is None else "red !: makes errors")
    return "; ".join(said)


def plot_graph(
    graph: networkx.DiGraph,
    *,
    targets: ArrayLike | None = None,
    spurious: Collection[Hashable] | None = None,
    guilty: Collection[tuple[Hashable, Hashable]] | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an excitable network attractor, or a graph of visits, as a directed graph.

    A node is an attractor and carries the output it holds; it lies at that output where there are two or
    three, and nodes that would cover each other are pushed apart. A cycle is a hexagon, chaos a diamond. A
    spurious node is a red square and says so. An edge carries its threshold (or the probability of the
    visit): the easier, the thicker; dashed when a pulse of amplitude 1 does not make the move. Red, with an
    exclamation mark, is what makes errors, or what is easier than half the median of the moves made. Among
    more than 16 edges those that no such pulse makes are pale and have no number.

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` or `visit_graph` returns it.
    targets : array_like, shape (n_targets, n_outputs), optional
        The outputs that the task asks for; a node is spurious when another holds its target better.
    spurious : collection of nodes, optional
        Those that the task does not ask for, instead of what `targets` says.
    guilty : collection of (node, node), optional
        Edges to draw in red, as those that a diagnosis blames; instead of the easy ones.
    names : sequence of str, optional
        Of the nodes, in order: the states of the task that they hold.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When the graph has no node, or the names are not one for each.

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
    nodes = nodes_of(graph, "plot_graph")
    if names is not None and len(names) != len(nodes):
        raise InvalidInputError("names", f"{len(names)} names", f"must be one for each of {len(nodes)} nodes")
    outputs = _outputs(graph, nodes)
    place = _positions(outputs, len(nodes))
    in_line = bool(np.ptp(place[:, 1]) < 1e-9)
    if in_line:
        ax = new_axes(ax, (3.6 if len(nodes) < 3 else 5.0, 1.5 if len(nodes) < 3 else 2.4))
    else:
        side = 4.0 if len(nodes) <= 4 else (5.4 if len(nodes) <= 12 else 7.0)
        ax = new_axes(ax, (side + 0.4, side))
    marked = _is_spurious(outputs, targets, len(nodes))
    if spurious is not None:
        marked = [node in spurious for node in nodes]
    look = _Look(graph, guilty)
    index = {node: i for i, node in enumerate(nodes)}
    _draw_edges(ax, look, place, index, in_line)
    _draw_nodes(ax, graph, nodes, place, outputs, marked, names or [""] * len(nodes), in_line)
    step = 2.0 / max(len(nodes) - 1, 1)
    longest = max((abs(place[index[i], 0] - place[index[j], 0]) for i, j in graph.edges), default=0.0)
    ax.set_aspect("equal")
    ax.set_xlim(place[:, 0].min() - 0.6, place[:, 0].max() + 0.6)
    below = 0.42 if not in_line else (0.65 if longest > 1.5 * step else 0.35)
    ax.set_ylim(place[:, 1].min() - below, place[:, 1].max() + below)
    ax.set_axis_off()
    legend = _legend(graph, look, any(look.red(*e) for e in graph.edges(data=True)))
    if graph.graph.get("audit") == "failed":
        legend = "the audit of the fixed points failed: some may be missing\n" + legend
    if legend:
        ax.set_title(legend.strip(), fontsize=TICK, color=INK, loc="left", pad=2, wrap=True)
    return ax
