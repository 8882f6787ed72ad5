"""Plots of an excitable network attractor in phase space."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy.ndimage
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork
from esntools.plotting.graphs import nodes_of
from esntools.plotting.style import BLUE, GREY, INK, RED, TICK, new_axes, style

if TYPE_CHECKING:
    import networkx

    from esntools.study.phase import PhasePlane

__all__ = ["plot_phase_graph"]

# Greys of neighbouring basins; light enough for everything that is drawn over them.
_SHADES: Final = (0.97, 0.86, 0.92, 0.80)
_WRONG_BASIN: Final = "#f3d3c3"
_RED_FILL: Final = "#f6c9b3"
_KINDS: Final = {
    "stable": "stable fixed point", "moving": "attractor that moves", "spurious": "not needed by the task",
}  # fmt: skip


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


def _draw_basins(ax: Axes, plane: PhasePlane, nodes: Sequence[Hashable], wrong: Collection[Hashable]) -> None:
    """Shade the basins, and draw the lines between them."""
    labels = plane.labels
    if labels is None:
        return
    image = np.ones((*labels.shape, 3))
    # Pale greys in turn; what belongs to a spurious attractor is pale red.
    for k, node in enumerate(nodes):
        image[labels == k] = to_rgb(_WRONG_BASIN) if node in wrong else np.full(3, _SHADES[k % len(_SHADES)])
    x, y = plane.x, plane.y
    dx, dy = 0.5 * (x[1] - x[0]), 0.5 * (y[1] - y[0])
    ax.imshow(
        image, origin="lower", extent=(x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy), aspect="auto",
        interpolation="nearest", zorder=0,
    )  # fmt: skip
    astray = np.isin(labels, [k for k, node in enumerate(nodes) if node in wrong])
    if astray.any():
        # In greyscale the red is a grey like the others.
        hatched = ax.contourf(
            x, y, astray.astype(np.float64), levels=[0.5, 1.5], colors="none", hatches=["//"]
        )
        hatched.set_edgecolor("#d89a7c")
        hatched.set_linewidth(0.0)
    for k in range(len(nodes)):
        inside = (labels == k).astype(np.float64)
        if 0.0 < inside.mean() < 1.0:
            # The level set of a smoothed indicator runs between the grid points.
            smooth = scipy.ndimage.gaussian_filter(inside, 0.7, mode="nearest")
            ax.contour(x, y, smooth, levels=[0.5], colors=[INK], linewidths=0.6, zorder=1)


def plot_phase_graph(
    graph: networkx.DiGraph,
    network: EchoStateNetwork | None = None,
    *,
    plane: PhasePlane | None = None,
    paths: Sequence[ArrayLike] = (),
    spurious: Collection[Hashable] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw an excitable network attractor in phase space: attractors, saddles, and orbits between them.

    With a `plane`, basins are shaded (those of spurious attractors red), thin lines are their boundaries, and
    broken lines the unstable manifolds of the saddles. Without it the plane is that of the first two outputs,
    or of the two principal components of the states when there are fewer outputs (of the state itself when it
    has two units).

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` returns it; its nodes carry ``x`` (and ``output``), its attribute ``saddles``
        the saddles.
    network : EchoStateNetwork, optional
        Reads the outputs of `paths`; without it the plane is that of the principal components.
    plane : PhasePlane, optional
        As `esntools.study.phase_plane` returns it, of the landscape that the graph was made from.
    paths : sequence of array_like, shape (n_steps, n_units) each
        Orbits to draw, as `esntools.study.pulse_paths` returns them.
    spurious : collection of nodes, optional
        Those that the task does not ask for: red squares.
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
    project: Callable[[FloatArray], FloatArray]
    if plane is not None:
        names, project = plane.names, plane.project
    elif network is not None and network.n_outputs >= 2:
        names = ("output 1", "output 2")
        project = _first_two(network.output)
    elif states.shape[1] == 2:
        names = ("unit 1", "unit 2")
        project = _first_two(lambda x: x)
    else:
        names = ("principal component 1", "principal component 2")
        project = _onto_principal_plane(np.vstack([states, *(np.atleast_2d(s) for s in saddles), *orbits]))
    ax = new_axes(ax, (3.8, 3.5) if plane is None else (4.6, 4.3))
    if plane is not None:
        _draw_basins(ax, plane, nodes, spurious)
        for i, branch in enumerate(plane.branches):
            line = project(branch)
            ax.plot(
                line[:, 0], line[:, 1], color=INK, lw=0.9, ls=(0, (4, 2)), zorder=2,
                label="_" if i else "unstable manifold",
            )  # fmt: skip
    for i, orbit in enumerate(orbits):
        line = project(orbit)
        ax.plot(line[:, 0], line[:, 1], "-", color=GREY, lw=0.7, zorder=1.5)
        ax.plot(
            line[1:, 0], line[1:, 1], ".", color=GREY, ms=2.0, zorder=1.5,
            label="_" if i or plane is None else "after a pulse",
        )  # fmt: skip
    for i, saddle in enumerate(saddles):
        at = project(saddle)
        ax.plot(
            at[0], at[1], "x", color=INK, ms=6.0, mew=1.3, ls="", zorder=3,
            label="_" if i else "unstable fixed point",
        )  # fmt: skip
    flat = project(states)
    labelled: set[str] = set()
    for i, node in enumerate(nodes):
        data = graph.nodes[node]
        wrong = node in spurious
        kind = (
            "spurious"
            if wrong
            else ("stable" if data.get("kind", "fixed point") == "fixed point" else "moving")
        )
        if "states" in data:
            cycle = project(np.array([*data["states"], data["states"][0]], dtype=np.float64))
            ax.plot(cycle[:, 0], cycle[:, 1], "-o", color=BLUE, ms=3.0, lw=0.8, zorder=3)
        ax.plot(
            flat[i, 0], flat[i, 1], "s" if wrong else ("o" if kind == "stable" else "h"), ms=11.0,
            mfc=(_RED_FILL if wrong else "#dbe9f4") if data.get("stable", True) else "white",
            mec=RED if wrong else BLUE, mew=1.8 if wrong else 1.2, ls="", zorder=4,
            label="_" if kind in labelled else _KINDS[kind],
        )  # fmt: skip
        labelled.add(kind)
        ax.text(
            flat[i, 0], flat[i, 1], str(node), fontsize=TICK, ha="center", va="center", zorder=5, color=INK
        )
    if plane is not None:
        ax.set_xlim(plane.x[0], plane.x[-1])
        ax.set_ylim(plane.y[0], plane.y[-1])
    else:
        ax.margins(0.12)
        if np.ptp(flat[:, 1]) < 1e-9 and not orbits:
            ax.set_ylim(flat[0, 1] - 1.0, flat[0, 1] + 1.0)
    style(ax, x=names[0], y=names[1], box=True)
    ax.legend(
        fontsize=TICK, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncol=2, borderaxespad=0.1,
        handlelength=1.2, markerscale=0.7, columnspacing=1.2,
    )  # fmt: skip
    return ax
