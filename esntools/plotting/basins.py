"""Basins on a plane: regions by shade and number, their attractors, and the edge states between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import matplotlib
import matplotlib.patheffects
import numpy as np
import scipy.ndimage
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from numpy.typing import NDArray

from esntools.basins.labelling import ESCAPED, UNDECIDED
from esntools.errors import InvalidInputError
from esntools.plotting.style import INK, RED, TICK, key, new_axes, style

if TYPE_CHECKING:
    from esntools.basins import BasinPicture, EdgeState

__all__ = ["plot_basins"]

# A state this near the plane, as a fraction of the picture's width, is drawn as lying in it.
_IN_PLANE: Final = 1e-3
# Regions with a smaller part of the picture get no number.
_NUMBERED: Final = 0.002


def _shades(n: int) -> NDArray[np.float64]:
    """Return n colours that differ in lightness too; neighbours in the list differ most."""
    levels = np.linspace(0.12, 0.92, n) if n > 1 else np.array([0.6])
    # 0, half, 1, half + 1, ...: attractors listed one after the other often lie side by side.
    half = -(-n // 2)
    order = [i // 2 + (i % 2) * half for i in range(n)]
    return np.asarray(matplotlib.colormaps["cividis"](levels[order])[:, :3])


def _outlined(size: float) -> list[Any]:
    return [matplotlib.patheffects.withStroke(linewidth=size, foreground="white")]


def plot_basins(picture: BasinPicture, *, edges: Sequence[EdgeState] = (), ax: Axes | None = None) -> Axes:
    """Draw the basins on a plane.

    Every basin has a shade and the number of its attractor; escape is white, what was not decided is red.
    Attractors are dots: filled where they lie in the plane, open where they are projected onto it; an
    attractor that is no point or cycle is drawn as a stretch of a run. Edge states are crosses.

    Parameters
    ----------
    picture : BasinPicture
    edges : sequence of EdgeState, optional
        None by default.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When it is no basin picture.

    Examples
    --------
    >>> from esntools.basins import basin_picture
    >>> from esntools.network import EchoStateNetwork
    >>> ax = plot_basins(basin_picture(EchoStateNetwork(1.5 * np.eye(2)), resolution=20))
    >>> len(ax.images), sorted(text.get_text() for text in ax.texts)
    (1, ['0', '1', '2', '3'])
    """
    if not (hasattr(picture, "plane") and hasattr(picture, "basins")):
        raise InvalidInputError(
            "picture", type(picture).__name__, "must be a BasinPicture", "see esntools.basins.basin_picture"
        )
    found = picture.basins
    ax = new_axes(ax, (4.9, 3.1))
    shades = _shades(len(found.attractors))
    image = np.ones((*picture.labels.shape, 3))
    for k, shade in enumerate(shades):
        image[picture.labels == k] = shade
    image[picture.labels == UNDECIDED] = to_rgb(RED)
    x, y = picture.x, picture.y
    dx, dy = 0.5 * (x[1] - x[0]), 0.5 * (y[1] - y[0])
    ax.imshow(
        image, origin="lower", extent=(x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy), aspect="auto",
        interpolation="nearest", zorder=0,
    )  # fmt: skip
    for k in range(len(found.attractors)):
        region = np.pad(picture.labels == k, 1)
        if region.sum() < _NUMBERED * picture.labels.size:
            continue
        # The number stands where the region is widest.
        depth = scipy.ndimage.distance_transform_edt(region)[1:-1, 1:-1]
        i, j = np.unravel_index(int(np.argmax(depth)), depth.shape)
        ax.text(
            x[j], y[i], str(k), fontsize=TICK + 1.0, color=INK, ha="center", va="center", zorder=6,
            path_effects=_outlined(2.0),
        )  # fmt: skip
    for attractor in found.attractors:
        _mark(ax, picture, attractor.states, "o", attractor.is_point)
    for edge in edges:
        _mark(ax, picture, edge.states, "X", edge.kind != "not periodic")
    ax.set_xlim(x[0] - dx, x[-1] + dx)
    ax.set_ylim(y[0] - dy, y[-1] + dy)
    e1, e2 = picture.plane[1:]
    if len(e1) == 2 and np.array_equal(e1, [1, 0]) and np.array_equal(e2, [0, 1]):
        style(ax, x="state 0", y="state 1", box=True)
    else:
        style(ax, x="along e1", y="along e2", box=True)
    entries = [
        Patch(fc=shade, ec=INK, lw=0.5, label=f"{k}  {_name(a)}, {100.0 * share:.3g} %")
        for k, (shade, a, share) in enumerate(zip(shades, found.attractors, found.shares))
    ]
    if np.any(picture.labels == ESCAPED):
        entries.append(Patch(fc="white", ec=INK, lw=0.5, label=f"escapes, {100.0 * found.escaped:.3g} %"))
    if np.any(picture.labels == UNDECIDED):
        entries.append(Patch(fc=RED, ec=INK, lw=0.5, label=f"undecided, {100.0 * found.undecided:.3g} %"))
    key(ax, handles=entries, ncol=1, handlelength=1.2, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return ax


def _name(attractor: Any) -> str:
    if attractor.period is not None and attractor.period > 1:
        return f"cycle of {attractor.period}"
    return str(attractor.kind)


def _mark(ax: Axes, picture: BasinPicture, states: NDArray[np.float64], marker: str, points: bool) -> None:
    """Draw states at their projections, filled where they lie in the plane."""
    origin, e1, e2 = picture.plane
    at = picture.coordinates(states)
    off = np.linalg.norm(origin + at @ np.array([e1, e2]) - states, axis=1)
    width = float(np.linalg.norm((picture.x[-1] - picture.x[0]) * e1))
    inside = off <= _IN_PLANE * width
    for part, face in ((at[inside], INK), (at[~inside], "white")):
        if len(part) == 0:
            continue
        if points:
            ax.plot(
                part[:, 0], part[:, 1], ls="", marker=marker, ms=5.5, mfc=face, zorder=5,
                mec="white" if face == INK else INK, mew=0.7,
            )  # fmt: skip
        else:
            ax.plot(part[:, 0], part[:, 1], ls="", marker="o", ms=1.2, color=face, mew=0.0, zorder=5)
