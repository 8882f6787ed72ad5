"""A diagnosis at a glance: the run with its errors numbered, some of them from near, and the guilty edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from esntools.plotting.graphs import plot_graph
from esntools.plotting.style import BLUE, GREY, INK, LABEL, RED, TICK, key, new_axes, panels, style

if TYPE_CHECKING:
    import networkx

    from esntools.excitable.diagnosis import Diagnosis, ErrorSegment

__all__ = ["plot_diagnosis"]

_FROM_NEAR: Final = 3
#: Steps before and after a wrong segment that are shown with it, and the most steps shown of one.
_AROUND: Final = 12
_WIDEST: Final = 70
_SHADE: Final = "#f3d9cd"
#: Numbers nearer than this fraction of the run would cover each other.
_APART: Final = 0.035


def _chosen(diagnosis: Diagnosis) -> list[int]:
    """Return the first long segment of every cause, those that cost most first."""
    places: dict[str, int] = {}
    for place, s in enumerate(diagnosis.segments):
        best = places.get(s.cause)
        if best is None or (s.length > diagnosis.segments[best].length):
            places[s.cause] = place
    order = [places[cause] for cause in diagnosis.causes][:_FROM_NEAR]
    rest = [p for p in range(len(diagnosis.segments)) if p not in order]
    return sorted(order + rest[: _FROM_NEAR - len(order)])


def _series(ax: Axes, diagnosis: Diagnosis, start: int, stop: int, *, thick: float) -> float:
    """Draw outputs and targets of some steps, one line above the other; return the distance between them."""
    steps = np.arange(start, stop)
    y, target = diagnosis.outputs[start:stop], diagnosis.task.y[start:stop]
    gap = 1.3 * max(float(np.ptp(diagnosis.task.states)), 1e-9)
    for line in range(y.shape[1]):
        shift = -gap * line
        # What strays far is cut off where the next line begins.
        low, high = diagnosis.task.states.min() - 0.13 * gap, diagnosis.task.states.max() + 0.13 * gap
        ax.plot(
            steps, np.clip(y[:, line], low, high) + shift, "-", color=BLUE, lw=thick, zorder=3,
            label="_" if line else "output",
        )  # fmt: skip
        ax.plot(
            steps, target[:, line] + shift, color=INK, lw=0.8, ls=(0, (3, 1.5)), drawstyle="steps-post",
            zorder=2, label="_" if line else "target",
        )  # fmt: skip
    middle = float(diagnosis.task.states.mean())
    ax.set_yticks([middle - gap * line for line in range(y.shape[1])])
    ax.set_yticklabels([f"output {line}" for line in range(y.shape[1])])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(
        float(diagnosis.task.states.min()) - gap * (y.shape[1] - 1) - 0.2 * gap,
        float(diagnosis.task.states.max()) + 0.2 * gap,
    )
    ax.set_xlim(start - 0.5, stop - 0.5)
    return gap


def _shade(ax: Axes, segment: ErrorSegment) -> None:
    ax.axvspan(segment.start - 0.5, segment.stop - 0.5, color=_SHADE, lw=0, zorder=0)


def _number(ax: Axes, x: float, text: str) -> None:
    """Put a number above the axes."""
    ax.annotate(
        text, (x, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
        ha="center", va="bottom", fontsize=TICK, color=RED, fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def _overview(ax: Axes, diagnosis: Diagnosis) -> None:
    n = len(diagnosis.decoded)
    _series(ax, diagnosis, 0, n, thick=0.7)
    last = -np.inf
    for place, segment in enumerate(diagnosis.segments):
        _shade(ax, segment)
        middle = 0.5 * (segment.start + segment.stop - 1)
        # A segment of a few steps in thousands would not be seen.
        ax.plot(
            [middle], [1.0], "v", color=RED, ms=4, transform=ax.get_xaxis_transform(), clip_on=False, zorder=5
        )
        if middle - last > _APART * n:
            _number(ax, middle, str(place + 1))
            last = middle
    style(ax, x="step", box=True)
    title = f"{diagnosis.n_wrong_steps} of {n} outputs wrong, in {len(diagnosis.segments)} segments"
    if len(diagnosis.segments) == 1:
        title = title.removesuffix("s")
    if not diagnosis.segments:
        title = f"all {n} outputs right"
    if diagnosis.n_not_attributed:
        title += f" ({diagnosis.n_not_attributed} not attributed)"
    ax.set_title(title, fontsize=LABEL, color=INK, loc="left", pad=14 if diagnosis.segments else 4)


def _from_near(ax: Axes, diagnosis: Diagnosis, place: int) -> None:
    """Show one segment with the pulse that began it."""
    segment = diagnosis.segments[place]
    start = max(0, segment.step - _AROUND)
    stop = min(len(diagnosis.decoded), max(segment.stop + _AROUND // 2, segment.step + 2 * _AROUND))
    if stop - start > _WIDEST:
        stop = start + _WIDEST
    gap = _series(ax, diagnosis, start, stop, thick=1.2)
    for other in diagnosis.segments:
        if other.stop > start and other.start < stop:
            _shade(ax, other)
    low = ax.get_ylim()[0] - 0.25 * gap
    ax.set_ylim(bottom=low)
    events = [k for k in diagnosis.transitions.events if start <= k < stop]
    for k in events:
        guilty = k == segment.step
        ax.annotate(
            "", (k, low + 0.3 * gap), xytext=(k, low), annotation_clip=False,
            arrowprops={"arrowstyle": "-|>", "color": RED if guilty else GREY, "lw": 1.6 if guilty else 0.8},
        )  # fmt: skip
    ax.axvline(segment.step, color=RED, lw=0.8, ls=":", zorder=1)
    style(ax, x="step (arrows: pulses)", box=True)
    edge = "" if segment.source is None else f"\n{segment.source} \u2192 {_name(segment.target)}"
    if segment.source is not None and segment.source == segment.target:
        edge = f"\nstays at {segment.source}"
    if segment.expected is not None and segment.expected != segment.target:
        edge += f", from rest \u2192 {_name(segment.expected)}"
    ax.set_title(f"{place + 1}: {segment.cause}{edge}", fontsize=TICK, color=RED, loc="left", pad=4)


def _name(attractor: int | None) -> str:
    return "none" if attractor is None or attractor < 0 else str(attractor)


def _blamed(diagnosis: Diagnosis) -> networkx.DiGraph:
    """Return the graph with every guilty edge on it: some are moves that no pulse makes from rest."""
    graph = diagnosis.graph.copy()
    nodes = list(graph.nodes)
    for i, j in diagnosis.guilty_edges:
        if not graph.has_edge(nodes[i], nodes[j]):
            graph.add_edge(nodes[i], nodes[j], label="")
    return graph


def plot_diagnosis(diagnosis: Diagnosis, *, ax: Axes | None = None) -> Axes:
    """Draw a diagnosis: the run, some wrong segments from near, and the excitable network.

    Above is the whole run, target dashed; wrong segments are shaded and numbered as in ``segments``. Below
    are one segment of each of the commonest causes, with the pulse that began it in red. At the bottom is the
    excitable network with guilty edges and superfluous attractors in red.

    Parameters
    ----------
    diagnosis : Diagnosis
        As `diagnose` returns it.
    ax : Axes, optional
        Divided into panels. New by default.

    Examples
    --------
    >>> from esntools.excitable.diagnosis import diagnose
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> from esntools.tasks import flip_flop
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], b=[0.1], readout=Readout([[1.0]]))
    >>> found = diagnose(bit, flip_flop(1, 200, pulse_probability=0.1, rng=0))
    >>> len(plot_diagnosis(found).child_axes)
    5
    """
    chosen, n_outputs = _chosen(diagnosis), diagnosis.outputs.shape[1]
    if ax is None:
        height = 2.0 + 0.35 * n_outputs + (2.3 if chosen else 0.0) + 4.2
        ax = Figure(figsize=(7.2, height)).add_axes((0.09, 0.04, 0.88, 0.91))
    else:
        ax = new_axes(ax)
    boxes = [(0.0, 0.79, 1.0, 0.19)] if chosen else [(0.0, 0.7, 1.0, 0.27)]
    width = (1.0 - 0.05 * (len(chosen) - 1)) / max(1, len(chosen))
    boxes += [(i * (width + 0.05), 0.51, width, 0.15) for i in range(len(chosen))]
    boxes.append((0.0, 0.0, 1.0, 0.4 if chosen else 0.58))
    axes = panels(ax, boxes)
    _overview(axes[0], diagnosis)
    key(axes[0], loc="lower right", bbox_to_anchor=(1.0, 1.08 if diagnosis.segments else 1.0))
    for i, place in enumerate(chosen):
        _from_near(axes[1 + i], diagnosis, place)
        if i:
            axes[1 + i].set_yticklabels([])
    if len(diagnosis.graph):
        nodes = list(diagnosis.graph.nodes)
        plot_graph(
            _blamed(diagnosis), spurious=[nodes[k] for k in diagnosis.extra],
            twins=[nodes[k] for k in diagnosis.twins],
            guilty=[(nodes[i], nodes[j]) for i, j in diagnosis.guilty_edges],
            names=[diagnosis.task.names[s] for s in diagnosis.learned.stands_for], ax=axes[-1],
        )  # fmt: skip
    else:
        axes[-1].text(0.5, 0.5, "no attractor was found", ha="center", fontsize=LABEL, color=RED)
        axes[-1].set_axis_off()
    if diagnosis.missing:
        names = ", ".join(diagnosis.task.names[s] for s in diagnosis.missing[:8])
        axes[-1].text(
            0.0, 0.0, f"without an attractor: {names}", transform=axes[-1].transAxes, fontsize=TICK,
            color=RED,
        )  # fmt: skip
    return ax
