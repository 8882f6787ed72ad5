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
#: Where along an arc its number may lie, in the order of trying.
_ALONG: Final = (0.4, 0.45, 0.35, 0.5, 0.3, 0.55, 0.25, 0.6, 0.65, 0.2, 0.7)
#: Edges up to which each carries its number; with more, only those that matter do.
LABELLED: Final = 16
#: A kick so many times the easiest from the same node is in the background of a crowded graph.
_FAR: Final = 3.0
#: Nodes nearer than this fraction of the drawing's half-width are pushed apart.
_APART: Final = 0.5
# A pale fill that is darker than paper in greyscale, and one for what is wrong.
_FILL: Final = "#dbe9f4"
_RED_FILL: Final = "#f6c9b3"
_TWIN: Final = "twin"
_SPURIOUS: Final = "spurious"
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


def _thresholds(graph: networkx.DiGraph) -> dict[tuple[Hashable, Hashable], float]:
    """Return the least threshold of every pair: kicks of the state where they are known, as a diagnosis."""
    about, least = graph.graph, dict[tuple[Hashable, Hashable], float]()
    metric = "state" if "state" in about.get("metrics", ()) else about.get("metric", "input")
    found = [c for c in about.get("connections", ()) if c["metric"] == metric]
    for c in found or [{**d, "source": i, "target": j} for i, j, d in graph.edges(data=True)]:
        if c.get("threshold") is not None:
            pair = c["source"], c["target"]
            least[pair] = min(least.get(pair, math.inf), float(c["threshold"]))
    return least


def _marks(
    graph: networkx.DiGraph, nodes: Sequence[Hashable], outputs: FloatArray | None, targets: ArrayLike | None
) -> list[str]:
    """Return what a node is called that the targets do not ask for; the rule is that of a diagnosis."""
    words = [""] * len(nodes)
    if outputs is None or targets is None:
        return words
    from esntools.excitable.diagnosis.learned import hold

    index = {node: i for i, node in enumerate(nodes)}
    sizes = {(index[i], index[j]): size for (i, j), size in _thresholds(graph).items()}
    holders, strays = hold(outputs, np.asarray(targets, dtype=np.float64), sizes)
    for held in holders:
        for k in held[1:]:
            words[k] = _TWIN
    for k in strays:
        words[k] = _SPURIOUS
    return words


@dataclass
class _Look:
    """How the edges of one graph are drawn."""

    graph: networkx.DiGraph
    guilty: Collection[tuple[Hashable, Hashable]] | None
    weak: float = field(init=False)
    lowest: float = field(init=False)
    highest: float = field(init=False)
    crowded: bool = field(init=False)
    pulses: bool = field(init=False)
    easiest: dict[Hashable, float] = field(init=False)

    def __post_init__(self) -> None:
        edges = [d for *_, d in self.graph.edges(data=True)]
        thresholds = [d["threshold"] for d in edges if d.get("threshold") is not None]
        self.lowest = max(min(thresholds, default=1.0), 1e-12)
        self.highest = max(max(thresholds, default=1.0), self.lowest)
        self.crowded = len(edges) > LABELLED
        self.pulses = self.graph.graph.get("metric", "input") == "input"
        self.easiest = {}
        for source, _, data in self.graph.edges(data=True):
            if data.get("threshold") is not None:
                self.easiest[source] = min(self.easiest.get(source, math.inf), data["threshold"])
        self.weak = self._weak() if self.guilty is None else 0.0

    def red(self, source: Hashable, target: Hashable, data: dict[str, Any]) -> bool:
        if self.guilty is not None:
            return (source, target) in self.guilty
        return (data.get("threshold") or math.inf) < self.weak

    def _weak(self) -> float:
        """Return the threshold under which a move is suspiciously easy: half the median.

        Of pulses, moves that one of amplitude 1 makes count; of kicks, those not far from the easiest.
        """
        edges = [(i, d) for i, _, d in self.graph.edges(data=True) if d.get("threshold")]
        counted = [
            d["threshold"] for i, d in edges if (d.get("at_unit") if self.pulses else not self.far(i, d))
        ]
        return float(np.median(counted)) / 2.0 if len(counted) >= 4 else 0.0

    def far(self, source: Hashable, data: dict[str, Any]) -> bool:
        return bool(data["threshold"] > _FAR * self.easiest[source])

    def dashed(self, source: Hashable, data: dict[str, Any]) -> bool:
        """Whether a pulse of amplitude 1 does not make the move; of many kicks, whether it is a far one."""
        if self.pulses:
            return not data.get("at_unit", True)
        return self.crowded and self.far(source, data)

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
            made = not self.dashed(source, data)
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


def _inside(p: FloatArray, place: FloatArray) -> bool:
    distance = np.linalg.norm(place - place.mean(axis=0), axis=1)
    return bool(np.linalg.norm(p - place.mean(axis=0)) < 0.7 * distance.max())


def _draw_edges(ax: Axes, look: _Look, place: FloatArray, index: dict[Hashable, int], in_line: bool) -> None:
    step = 2.0 / max(len(index) - 1, 1)
    centre = place.mean(axis=0)
    taken: list[tuple[FloatArray, float]] = [(p, 0.13) for p in place]
    for p in place if not in_line else ():
        # Words of nodes inside the ring: up to two lines, towards the middle.
        if _inside(p, place):
            side = -1.0 if p[1] > centre[1] else 1.0
            taken += [(p + np.array([0.0, side * far]), 0.45) for far in (0.2, 0.32)]
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
            control = 0.5 * (p + q) + bend * np.array([q[1] - p[1], p[0] - q[0]])
            at = _label_place(p, control, q, text, taken)
            ax.text(
                at[0], at[1], text, fontsize=TICK, color=RED if over else INK, ha="center", va="center",
                zorder=2.5 if over else 2.0, weight="bold" if over else "normal",
                bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.9},
            )  # fmt: skip


def _label_place(
    p: FloatArray, control: FloatArray, q: FloatArray, text: str, taken: list[tuple[FloatArray, float]]
) -> FloatArray:
    """Return where on an arc a label covers no other; before the middle, so that crossing arcs part."""
    half = 0.03 * len(text) + 0.02
    best, most = 0.5 * (p + q), -math.inf
    for t in _ALONG:
        at = (1 - t) ** 2 * p + 2 * t * (1 - t) * control + t**2 * q
        # Labels are wide and low: apart in one direction is enough.
        free = min(max(abs(at[0] - o[0]) - half - width, (abs(at[1] - o[1]) - 0.1)) for o, width in taken)
        if free > most + 1e-9:
            best, most = at, free
        if free >= 0.0:
            break
    taken.append((best, half))
    return best


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


def _node_words(data: dict[str, Any], output: FloatArray | None, name: str, mark: str) -> str:
    words = [] if output is None else [_output_label(output)]
    if words and words[0] == name.replace("-", "−"):
        # The state of the task is the output that it holds: once is enough.
        name = ""
    kind = str(data.get("kind", "fixed point"))
    if kind == "periodic orbit":
        words.append(f"period {data.get('period')}")
    elif kind in _MARKERS:
        words.append(kind)
    if mark:
        words.append(mark)
    first = " ".join(words)
    return f"{first}\nfor {name}" if name and first else (name or first)


def _draw_nodes(
    ax: Axes,
    graph: networkx.DiGraph,
    nodes: Sequence[Hashable],
    place: FloatArray,
    outputs: FloatArray | None,
    marks: Sequence[str],
    names: Sequence[str],
    in_line: bool,
) -> None:
    centre = place.mean(axis=0)
    for i, node in enumerate(nodes):
        data = graph.nodes[node]
        marker = "s" if marks[i] else _MARKERS.get(str(data.get("kind")), "o")
        ax.plot(
            *place[i], marker=marker, ms=_NODE, mfc=_RED_FILL if marks[i] else _FILL,
            mec=RED if marks[i] else BLUE, mew=2.0 if marks[i] else 1.2, ls="", zorder=3,
        )  # fmt: skip
        ax.text(
            place[i, 0], place[i, 1], str(node), fontsize=LABEL if len(str(node)) < 4 else 0.7 * LABEL,
            ha="center", va="center", color=INK, zorder=4,
        )  # fmt: skip
        words = _node_words(data, None if outputs is None else outputs[i], names[i], marks[i])
        if not words:
            continue
        away = place[i] - centre
        norm = float(np.linalg.norm(away))
        inner = _inside(place[i], place)
        away = np.array([0.0, -1.0]) if inner and in_line else away / max(norm, 1e-9)
        if inner and not in_line:
            # Inside a ring of nodes the room is towards the middle.
            away = np.array([0.0, -1.0 if away[1] > 0.0 else 1.0])
        side = "center" if abs(away[0]) < 0.5 else ("left" if away[0] > 0 else "right")
        ax.annotate(
            words, place[i], xytext=tuple((_NODE / 2 + 5) * away), textcoords="offset points", fontsize=TICK,
            color=RED if marks[i] else INK, weight="bold" if marks[i] else "normal", ha=side,
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
    if any(look.dashed(i, d) for i, _, d in graph.edges(data=True) if d.get("threshold") is not None):
        said.append(
            "dashed: a unit pulse does not do it" if look.pulses
            else f"dashed: more than {_FAR:.0f} times the easiest from there"
        )  # fmt: skip
    if reds:
        said.append("red !: suspiciously easy" if look.guilty is None else "red !: makes errors")
    return "; ".join(said)


def plot_graph(
    graph: networkx.DiGraph,
    *,
    targets: ArrayLike | None = None,
    spurious: Collection[Hashable] | None = None,
    twins: Collection[Hashable] = (),
    guilty: Collection[tuple[Hashable, Hashable]] | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an excitable network attractor, or a graph of visits, as a directed graph.

    A node is an attractor and carries the output it holds; it lies at that output where there are two or
    three, and nodes that would cover each other are pushed apart. A cycle is a hexagon, chaos a diamond. What
    the task does not ask for is a red square and says so: a twin stands for a state that another node holds
    better, a spurious node for none. An edge carries its threshold (or the probability of the visit): the
    easier, the thicker; dashed when a pulse of amplitude 1 does not make the move. Red, with an exclamation
    mark, is what makes errors, or what is easier than half the median of the moves made. Of kicks of the
    state, those up to three times the easiest from the same node stand for the moves made. Among more than
    16 edges the others are pale, dashed and have no number.

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` or `visit_graph` returns it.
    targets : array_like, shape (n_targets, n_outputs), optional
        The outputs that the task asks for. Of nodes that are nearest to one target, those are twins that
        are easier to leave for another target's node than the best of them (or, as hard to leave, further
        from the target); spurious are those further from it than half the least distance of two targets,
        where another node is not. It is the rule of `Diagnosis.extra`.
    spurious : collection of nodes, optional
        Those that the task does not ask for, instead of what `targets` says.
    twins : collection of nodes, optional
        Those of `spurious` that stand for a state, one that another node holds better.
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
    if spurious is None:
        marks = _marks(graph, nodes, outputs, targets)
    else:
        marks = [(_TWIN if node in twins else _SPURIOUS) if node in spurious else "" for node in nodes]
    look = _Look(graph, guilty)
    index = {node: i for i, node in enumerate(nodes)}
    _draw_edges(ax, look, place, index, in_line)
    _draw_nodes(ax, graph, nodes, place, outputs, marks, names or [""] * len(nodes), in_line)
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
