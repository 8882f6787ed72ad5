"""Plots of the echo index: responses under one input, their basins, distances, the boundary, dwell times."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from esntools._typing import FloatArray
from esntools.echo_index import DwellTimes, EchoIndex
from esntools.errors import InvalidInputError
from esntools.plotting.style import BLUE, GREY, INK, LABEL, RED, TICK, key, new_axes, panels, style

__all__ = ["plot_dwell_times", "plot_echo_index"]

_LINES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.4, 1.2, 1.4)))
_COLOURS = (BLUE, RED, "#5b7f00", "#7a3b8f")
#: Light fills that differ in greyscale as well.
_FILLS = ("#d6e6f2", "#e0a184", "#8fa85c", "#b79bc7")


def _direction(result: EchoIndex) -> tuple[FloatArray, str]:
    """Return the direction of the state in which the responses differ most, and its name."""
    n = result.responses[0].states.shape[1]
    if len(result.responses) > 1:
        difference = (result.responses[1].states - result.responses[0].states)[-1]
    else:
        difference = result.responses[0].states.std(axis=0)
    size = np.abs(difference)
    # One unit is easier to read than a mixture, where one unit carries most of it.
    if n <= 3 or size.max() > 0.9 * np.linalg.norm(difference):
        unit = int(np.argmax(size))
        return np.eye(n)[unit], f"unit {unit}"
    return difference / np.linalg.norm(difference), "projected state"


def plot_echo_index(result: EchoIndex, *, ax: Axes | None = None) -> Axes:
    """Draw the responses under one input with the boundary between them, their distances, and the basins.

    Above, the input; below it every response and, dotted, the solution on the boundary of the two with the
    largest shares, in the unit (or direction) in which they differ most; below that, on a logarithmic scale,
    how random starts approach the response that each of them joins. On the right, which response the states
    of a plane approach when they start at time 0, with the responses (circles) and the boundary solution
    (cross) at that time.

    Parameters
    ----------
    result : EchoIndex
        As `esntools.estimate_echo_index` returns it.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When the result has no response to draw.

    Examples
    --------
    >>> from esntools.echo_index import estimate_echo_index
    >>> from esntools.inputs import InputBox
    >>> from esntools.network import EchoStateNetwork
    >>> memory = EchoStateNetwork([[2.0]], W_in=[[1.0]])
    >>> index = estimate_echo_index(memory, InputBox(-0.5, 0.5), n_starts=32, max_past=256)
    >>> [child.get_ylabel() for child in plot_echo_index(index).child_axes]
    ['input', 'unit 0', 'distance']
    """
    if not result.responses:
        raise InvalidInputError("plot_echo_index", "no response", "a result with at least one is needed")
    picture = result.basins is not None and len(result.basins.s) > 1
    ax = new_axes(ax, (7.2 if picture else 5.0, 3.6))
    right = 0.6 if picture else 1.0
    boxes = [(0.0, 0.84, right, 0.14), (0.0, 0.36, right, 0.44), (0.0, 0.0, right, 0.28)]
    if picture:
        boxes.append((0.71, 0.1, 0.29, 0.78))
    inner = panels(ax, boxes)
    _inputs(inner[0], result)
    _states(inner[1], result)
    _distances(inner[2], result)
    if picture:
        _basins(inner[3], result)
    return ax


def _inputs(ax: Axes, result: EchoIndex) -> None:
    u, t = result.inputs, result.times[:-1]
    for j, column in enumerate(u.T[:4]):
        ax.step(t, column, where="post", color=INK if j == 0 else GREY, lw=0.8, ls=_LINES[j])
    if u.shape[1] == 0:
        ax.axhline(0.0, color=GREY, lw=0.8)
    ax.set_xlim(result.times[0], result.times[-1])
    ax.tick_params(labelbottom=False)
    style(ax, y="input")


def _states(ax: Axes, result: EchoIndex) -> None:
    d, name = _direction(result)
    for k, response in enumerate(result.responses[:4]):
        ax.plot(
            result.times, response.states @ d, color=_COLOURS[k], ls=_LINES[k], lw=1.2,
            label=f"response {k + 1}, exponent {response.exponent:.3f}",
        )  # fmt: skip
    if result.boundary is not None:
        path = result.boundary.states @ d
        ax.plot(
            result.times[: len(path)], path, color=INK, lw=1.0, ls=(0, (1, 1)),
            label=f"boundary, exponent {result.boundary.exponents[0]:.3f}",
        )  # fmt: skip
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set_xlim(result.times[0], result.times[-1])
    low, high = ax.get_ylim()
    # Room for the key, which would hide the input above the axes, or lines below them.
    rows = (len(ax.get_legend_handles_labels()[1]) + 1) // 2
    ax.set_ylim(low, high + (0.34, 0.34, 0.34, 0.7)[rows] * (high - low))
    ax.tick_params(labelbottom=False)
    style(ax, y=name)
    key(ax, loc="upper left", bbox_to_anchor=(0.0, 1.02), ncol=2)


def _distances(ax: Axes, result: EchoIndex) -> None:
    floor = 1e-16
    for column, k in zip(result.distances.T, result.joined, strict=True):
        drawn = np.where(column > floor, column, np.nan)
        ax.plot(result.times, drawn, color=_COLOURS[k % 4], ls=_LINES[k % 4], lw=0.6, alpha=0.8)
    ax.set_yscale("log")
    ax.set_ylim(floor, 10.0)
    ax.set_yticks([1e-15, 1e-10, 1e-5, 1.0])
    ax.set_xlim(result.times[0], result.times[-1])
    style(ax, x="time step", y="distance")


def _basins(ax: Axes, result: EchoIndex) -> None:
    picture = result.basins
    if picture is None:
        return
    n = len(picture.origin)
    norms = np.array([np.linalg.norm(picture.e1), np.linalg.norm(picture.e2)])
    e = np.array([picture.e1, picture.e2]) / norms[:, None]
    # In two units the plane is the state space itself, and its coordinates are the units.
    shift = e @ picture.origin if n == 2 else np.zeros(2)
    x, y = (shift[k] + norms[k] * picture.s for k in (0, 1))
    labels = np.where(picture.labels < 0, 4, picture.labels % 4)
    ax.imshow(
        labels, origin="lower", extent=(x[0], x[-1], y[0], y[-1]), aspect="equal", interpolation="nearest",
        cmap=ListedColormap([*_FILLS, "white"]), vmin=-0.5, vmax=4.5,
    )  # fmt: skip
    now = int(np.flatnonzero(result.times == 0)[0])
    for k, response in enumerate(result.responses[:4]):
        at = e @ (response.states[now] - picture.origin) + shift
        ax.plot(*at, "o", color=_COLOURS[k], ms=5, mec="white", mew=0.8)
        ax.annotate(
            str(k + 1), (at[0], at[1]), xytext=(5, 4), textcoords="offset points", fontsize=TICK, color=INK
        )
    if result.boundary is not None and len(result.boundary.states) > now:
        at = e @ (result.boundary.states[now] - picture.origin) + shift
        ax.plot(*at, "x", color=INK, ms=6, mew=1.4)
    names = ("unit 0", "unit 1") if n == 2 else ("along the difference", "across it")
    style(ax, x=names[0], y=names[1], title="basins at time 0", box=True)


def plot_dwell_times(table: DwellTimes, *, ax: Axes | None = None) -> Axes:
    """Draw the staircase m*(M): above it every response survives, below it some sequence loses one.

    Parameters
    ----------
    table : DwellTimes
        As `esntools.dwell_time_table` returns it.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When the table is empty.

    Examples
    --------
    >>> from esntools.echo_index import dwell_time_table
    >>> from esntools.network import EchoStateNetwork
    >>> network = EchoStateNetwork([[1.75]], W_in=[[1.0]], leak_rate=0.25)
    >>> ax = plot_dwell_times(dwell_time_table(network, [[0.05], [-0.5]], max_length=6))
    >>> ax.get_xlabel()
    'longest other run M'
    """
    proved = [(M, m) for M, m in zip(table.lengths, table.shortest, strict=True) if m is not None]
    if not proved:
        raise InvalidInputError("plot_dwell_times", table.reason or "an empty table", "nothing to draw")
    ax = new_axes(ax, (3.6, 2.9))
    M, m = (np.array(v) for v in zip(*proved, strict=True))
    top = 1.18 * float(m.max()) + 2.0
    edges = np.append(M - 0.5, M[-1] + 0.5)
    ax.fill_between(edges, np.append(m, m[-1]) - 0.5, top, step="post", color=_FILLS[0], lw=0.0)
    ax.fill_between(edges, 0.5, np.append(m, m[-1]) - 0.5, step="post", color=_FILLS[1], lw=0.0)
    ax.stairs(m - 0.5, edges, baseline=None, color=INK, lw=1.0)
    ax.plot(M, m, "o", color=INK, ms=2.6)
    right = float(M[-1]) + 0.5
    if table.longest is not None:
        ax.fill_between([right, right + 3.0], 0.5, top, color=_FILLS[1], lw=0.0)
        ax.axvline(right, color=INK, lw=1.0)
        right += 3.0
    ax.text(
        0.5 + 0.06 * right, 0.88 * top, f"{table.n_responses} responses", fontsize=LABEL, color=INK,
        va="center",
    )  # fmt: skip
    ax.text(float(M[-1]), 0.06 * top, "fewer", fontsize=LABEL, color=INK, ha="right", va="bottom")
    ax.set_xlim(0.5, right)
    ax.set_ylim(0.5, top)
    style(ax, x="longest other run M", y="shortest holding run m")
    return ax
