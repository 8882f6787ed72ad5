"""A plot of the excitable network along an input: responses, boundaries, and thresholds in time."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.excitable.driven import DrivenThreshold, NonautonomousNetwork
from esntools.plotting.style import BLUE, GREY, INK, PALE, RED, TICK, key, new_axes, panels, style

__all__ = ["plot_nonautonomous"]

_LINES: Final = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.4, 1.2, 1.4)))
_COLOURS: Final = (BLUE, RED, "#5b7f00", "#7a3b8f", "#c98a00", "#3f3f3f")
_MARKS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
#: More thresholds than this are not told apart by eye; the smallest are drawn.
_DRAWN: Final = 6


def _direction(result: NonautonomousNetwork) -> tuple[FloatArray, str]:
    """Return a direction of the state that tells the responses apart, and its name."""
    means = np.array([r.states.mean(axis=0) for r in result.responses])
    n = means.shape[1]
    spread = means - means.mean(axis=0)
    if len(means) < 2 or not np.any(np.abs(spread) > 1e-12):
        spread = result.responses[0].states - means[0]
    V = np.linalg.svd(spread, full_matrices=False)[2][:3]
    mixed = [V[0]] if len(V) < 2 else [V[0], *(V[0] + s * V[1] for s in (0.5, -0.5)), V[1]]
    rows = [v / np.linalg.norm(v) for v in mixed]

    def told_apart(d: FloatArray) -> float:
        places = np.sort(means @ d)
        return float(np.min(np.diff(places))) if len(places) > 1 else float(np.ptp(spread @ d))

    best = max(rows, key=told_apart)
    unit = max(np.eye(n)[np.argsort(-np.std(spread, axis=0))[:8]], key=told_apart)
    # One unit is easier to read than a mixture, where it does as well.
    if told_apart(unit) > 0.6 * told_apart(best):
        return unit, f"unit {int(np.argmax(unit))}"
    return best, "projected state"


def plot_nonautonomous(result: NonautonomousNetwork, *, ax: Axes | None = None) -> Axes:
    """Draw the responses to an input with the boundaries between them, and the thresholds, over time.

    Above, the input. Below it the responses, in the unit (or direction) in which they differ most, numbered
    as in the graph, and dotted the solutions on the boundaries between them; triangles mark where one merges
    into another (down) or appears (up). At the bottom the thresholds at the sampled times, the least of each
    filled, the smallest six pairs; kicks whose replay failed are crossed out.

    Parameters
    ----------
    result : NonautonomousNetwork
        As `esntools.nonautonomous_network` returns it.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When the result has no response to draw.

    Examples
    --------
    >>> from esntools.excitable.driven import nonautonomous_network
    >>> from esntools.network import EchoStateNetwork
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    >>> wave = 0.1 * np.sin(np.arange(200) / 5.0)[:, None]
    >>> ax = plot_nonautonomous(nonautonomous_network(bit, wave, n_past=50))
    >>> [child.get_ylabel() for child in ax.child_axes]
    ['input', 'unit 0', 'threshold']
    """
    if not result.responses:
        raise InvalidInputError("plot_nonautonomous", result.note or "no response", "nothing to draw")
    ax = new_axes(ax, (6.4, 4.4))
    boxes = [(0.0, 0.87, 0.84, 0.13), (0.0, 0.42, 0.84, 0.36), (0.0, 0.0, 0.84, 0.34)]
    top, middle, bottom = panels(ax, boxes)
    _inputs(top, result)
    _states(middle, result)
    _thresholds(bottom, result)
    return ax


def _inputs(ax: Axes, result: NonautonomousNetwork) -> None:
    u = result.inputs
    for j, column in enumerate(u.T[:4]):
        ax.step(
            np.arange(len(u)), column, where="post", color=INK if j == 0 else GREY, lw=0.8,
            ls=_LINES[j],
        )  # fmt: skip
    if u.shape[1] == 0 or not np.any(u):
        ax.axhline(0.0, color=GREY, lw=0.8)
    ax.set_xlim(0, len(u))
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(labelbottom=False)
    style(ax, y="input")


def _states(ax: Axes, result: NonautonomousNetwork) -> None:
    d, name = _direction(result)
    for k, saddle in enumerate(result.saddles):
        t = saddle.begin + np.arange(len(saddle.states))
        ax.plot(
            t, saddle.states @ d, color=INK, lw=0.9, ls=(0, (1, 1)),
            label="boundary" if k == 0 else None,
        )  # fmt: skip
    for k, response in enumerate(result.responses):
        t, y = response.begin + np.arange(len(response.states)), response.states @ d
        colour = _COLOURS[k % len(_COLOURS)]
        ax.plot(t, y, color=colour, ls=_LINES[k % 4], lw=1.2)
        # The number stands at the end of its line, beside the axes where it lasts to the end.
        last = response.end is None
        ax.annotate(
            str(k), (t[-1], y[-1]), xytext=(5 if last else 0, 0 if last else 6), textcoords="offset points",
            fontsize=TICK, color=colour, va="center" if last else "bottom", ha="left" if last else "center",
            annotation_clip=False, fontweight="bold",
        )  # fmt: skip
    for mark, kind, label in (("v", "merge", "merged"), ("^", "split", "new")):
        events = [e for e in result.events if e.kind == kind]
        at = [e.time if kind == "merge" else e.since for e in events]
        heights = [float(_at(result, e.response, t) @ d) for e, t in zip(events, at)]
        if events:
            ax.plot(at, heights, mark, color=INK, ms=5, mec="white", mew=0.6, ls="none", label=label)
    ax.set_xlim(0, len(result.inputs))
    ax.tick_params(labelbottom=False)
    style(ax, y=name)
    if ax.get_legend_handles_labels()[1]:
        key(ax, ncol=3, bbox_to_anchor=(0.0, 1.01))


def _at(result: NonautonomousNetwork, k: int, time: int) -> FloatArray:
    response = result.responses[k]
    return np.asarray(response.states[min(max(time - response.begin, 0), len(response.states) - 1)])


def _thresholds(ax: Axes, result: NonautonomousNetwork) -> None:
    drawn: list[DrivenThreshold] = sorted(result.thresholds, key=lambda t: t.minimum)[:_DRAWN]
    for k, t in enumerate(drawn):
        colour, mark = _COLOURS[t.source % len(_COLOURS)], _MARKS[k % len(_MARKS)]
        ax.plot(
            t.times, t.sizes, color=colour, ls=_LINES[t.target % 4], lw=0.9, marker=mark, ms=3.5, mfc="white",
            mew=0.8, label=f"{t.source} → {t.target}",
        )  # fmt: skip
        bad = np.isfinite(t.sizes) & ~t.checked
        ax.plot(t.times[bad], t.sizes[bad], "x", color=INK, ms=6, ls="none")
        ax.plot([t.at], [t.minimum], mark, color=colour, ms=5)
    ax.set_xlim(0, len(result.inputs))
    ax.set_ylim(bottom=0.0)
    if drawn:
        key(ax, loc="upper left", bbox_to_anchor=(1.01, 1.05), ncol=1, handlelength=2.6)
    else:
        ax.text(
            0.5, 0.5, "no kick leads from one response to another", transform=ax.transAxes, ha="center",
            va="center", fontsize=TICK, color=PALE if result.responses else INK,
        )  # fmt: skip
    unit = "pulse amplitude" if result.metric == "input" else "threshold"
    style(ax, x="time step", y=unit)
