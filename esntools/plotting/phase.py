"""Plots of an excitable network attractor in phase space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork
from esntools.plotting.graphs import nodes_of
from esntools.plotting.style import BLUE, GREY, INK, TICK, new_axes, style

if TYPE_CHECKING:
    import networkx

__all__ = ["plot_phase_graph"]


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
    nodes = nodes_of(graph, "plot_phase_graph")
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
