"""Bifurcation diagrams: branches by stability, located points by kind, closed forms behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.plotting.style import BLUE, GREY, INK, PALE, RED, key, new_axes, style

if TYPE_CHECKING:
    from esntools.bifurcations import BifurcationDiagram, Branch, ClosedFormDiagram

__all__ = ["plot_bifurcations"]

#: Shape before colour: the kinds differ in greyscale too.
_MARKS: Final = {
    "fold": ("o", RED), "pitchfork": ("^", RED), "transcritical": ("X", RED), "branch point": ("P", RED),
    "flip": ("s", BLUE), "neimark-sacker": ("D", BLUE), "degenerate": ("*", GREY),
}  # fmt: skip
_NAMES: Final = {"gain": "gain", "bias": "bias", "leak_rate": "leak rate", "input": "input"}


def _coordinate(
    diagram: BifurcationDiagram, output: int | Callable[[FloatArray], Any] | None
) -> tuple[Callable[[FloatArray], FloatArray], str]:
    """Return the number drawn for states (..., n_units), and its name."""
    n = diagram.branches[0].states.shape[2]
    if callable(output):
        function = output
        return lambda states: np.asarray(function(states), dtype=np.float64), "output"
    if output is None:
        # The unit that tells the branches apart best.
        everything = np.concatenate([b.states.reshape(-1, n) for b in diagram.branches])
        output = int(np.argmax(np.ptp(everything, axis=0)))
    unit = int(output)
    if not 0 <= unit < n:
        raise InvalidInputError("output", str(unit), f"must be a unit from 0 to {n - 1}, or a function")
    return lambda states: np.asarray(states[..., unit]), "state x" if n == 1 else f"state of unit {unit}"


def _draw_branch(ax: Axes, branch: Branch, y: FloatArray) -> None:
    """Draw the curves of all states of the orbits, solid where stable and dashed elsewhere."""
    stable = branch.stable
    # A located bifurcation counts with the point before it, so that a change of stability starts at it.
    change = np.flatnonzero(stable[:-1] != stable[1:]) + 1
    for part in np.split(np.arange(len(branch)), change):
        part = part if part[0] == 0 else np.concatenate([[part[0] - 1], part])
        solid = bool(stable[part[-1]])
        colour = INK if branch.period == 1 else BLUE
        for j in range(branch.period):
            ax.plot(
                branch.values[part], y[part, j], color=colour if solid else GREY, lw=1.3 if solid else 0.9,
                ls="-" if solid else (0, (4, 2)), zorder=4 if solid else 3,
            )  # fmt: skip


def plot_bifurcations(
    diagram: BifurcationDiagram,
    *,
    output: int | Callable[[FloatArray], Any] | None = None,
    closed_form: ClosedFormDiagram | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the branches of a bifurcation diagram against the parameter.

    Stable fixed points are black and stable orbits blue, both solid; what is unstable is grey and dashed.
    Located bifurcations are marked by kind, small and hollow where they happen to what is unstable before and
    after. A closed form is drawn as a broad pale band behind the branches
    and open rings around its bifurcations: where numbers and formulas agree, lines run inside the band and
    marks inside the rings.

    Parameters
    ----------
    diagram : BifurcationDiagram
    output : int or callable, optional
        The unit whose state is drawn, or a function of states (..., n_units); the unit that varies most by
        default.
    closed_form : ClosedFormDiagram, optional
        See `one_neuron_diagram`.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When there is no branch, or no such unit.

    Examples
    --------
    >>> from esntools.bifurcations import find_bifurcations
    >>> from esntools.network import EchoStateNetwork
    >>> diagram = find_bifurcations(EchoStateNetwork([[1.0]]), start=0.0, stop=2.0)
    >>> ax = plot_bifurcations(diagram)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('gain', 'state x')
    """
    if not diagram.branches:
        raise InvalidInputError("plot_bifurcations", "no branch", "at least one is needed")
    coordinate, name = _coordinate(diagram, output)
    ax = new_axes(ax, (4.6, 2.9))
    samples: list[Line2D] = []
    if closed_form is not None:
        if closed_form.parameter != diagram.parameter or diagram.branches[0].states.shape[2] != 1:
            raise InvalidInputError(
                "closed_form", f"against {closed_form.parameter!r}",
                f"must be of the same neuron and parameter {diagram.parameter!r} as the diagram",
            )  # fmt: skip
        for values, states, _ in closed_form.segments:
            ax.plot(values, coordinate(states[:, None]), color=PALE, lw=5.0, solid_capstyle="round", zorder=1)
        for exact in closed_form.points:
            y = float(coordinate(np.array([exact.x])))
            ax.plot(exact.value, y, ls="", marker="o", ms=11.0, mfc="none", mec=INK, mew=0.9, zorder=2)
        samples.append(Line2D([], [], color=PALE, lw=5.0, label="closed form"))
    for branch in diagram.branches:
        _draw_branch(ax, branch, coordinate(branch.states))
    kinds = [
        ("fixed point", INK, "-", any(b.period == 1 and b.stable.any() for b in diagram.branches)),
        ("orbit", BLUE, "-", any(b.period > 1 and b.stable.any() for b in diagram.branches)),
        ("unstable", GREY, (0, (4, 2)), any(not b.stable.all() for b in diagram.branches)),
    ]  # fmt: skip
    samples += [Line2D([], [], color=c, ls=ls, lw=1.3, label=label) for label, c, ls, there in kinds if there]
    for point in diagram.points:
        marker, colour = _MARKS[point.kind]
        # The many states of a long orbit would hide each other.
        size = max(5.5 - 0.9 * np.log2(point.period), 2.5)
        for y in np.atleast_1d(coordinate(point.states)):
            if point.n_unstable:
                look: dict[str, Any] = {"ms": 0.6 * size, "mfc": "white", "mec": colour, "zorder": 5}
            else:
                look = {"ms": size, "mfc": colour, "mec": "white", "zorder": 6}
            ax.plot(point.value, y, ls="", marker=marker, mew=0.6, **look)
    for kind in dict.fromkeys(p.kind for p in diagram.points):
        marker, colour = _MARKS[kind]
        label = "Neimark–Sacker" if kind == "neimark-sacker" else kind
        samples.append(Line2D([], [], ls="", marker=marker, ms=5.5, mfc=colour, mec="white", label=label))
    low, high = sorted((diagram.start, diagram.stop))
    ax.set_xlim(low, high)
    style(ax, x=_NAMES.get(diagram.parameter, diagram.parameter), y=name)
    key(ax, handles=samples, ncol=4)
    return ax
