"""A picture's worth of state space: a surface through attractors and saddles, and the basins on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import RBFInterpolator

from esntools._typing import FloatArray, IntArray, Progress, no_progress
from esntools.arguments import whole_number
from esntools.errors import InvalidInputError
from esntools.excitable import Landscape
from esntools.maps import state_box

__all__ = ["PhasePlane", "phase_plane"]

# Steps after a pulse that belong to the switch rather than to the rest that follows.
_SWITCH: Final = 5
# Multiplications that the labels of a picture may take, about: some seconds.
_WORK: Final = 5e10
#: Attractors nearer to each other than this fraction of the picture would cover each other.
_APART: Final = 0.12
#: Anchors of the surface nearer than this would tear it.
_TORN: Final = 0.02


@final
@dataclass(frozen=True, eq=False)
class PhasePlane:
    """Two coordinates of the state space, and the basins on a surface above them.

    Attributes
    ----------
    origin : ndarray, shape (n_units,)
    axes : ndarray, shape (2, n_units)
        Orthonormal.
    names : tuple of str
        Of the two coordinates.
    x, y : ndarray
        Grid lines of `labels`.
    labels : ndarray of int, shape (len(y), len(x)), or None
        Where a state on the surface goes, by position in the landscape; -1 escape, -2 undecided. None where
        the attractors do not lie apart in the plane.
    branches : tuple of ndarray, shape (n, n_units) each
        Unstable manifolds of the saddles that have curves for them.
    variance : float
        Share of the variance of the attractors and the switches between them that the plane shows.
    """

    origin: FloatArray
    axes: FloatArray
    names: tuple[str, str]
    x: FloatArray
    y: FloatArray
    labels: IntArray | None
    branches: tuple[FloatArray, ...]
    variance: float

    def project(self, states: ArrayLike) -> FloatArray:
        """Return the two coordinates of states, shape (..., n_units) to (..., 2)."""
        return np.asarray((np.asarray(states, dtype=np.float64) - self.origin) @ self.axes.T)


def _smallest_gap(flat: FloatArray) -> float:
    gaps = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(flat, 2)]
    return min(gaps, default=np.inf) / max(float(np.ptp(flat, axis=0).max()), 1e-12)


def _seen_from(points: FloatArray, axes: FloatArray) -> FloatArray:
    """Turn the first two of three axes until no two points cover each other."""
    if len(axes) < 3 or _smallest_gap(points @ axes[:2].T) >= _APART:
        return axes[:2]
    best, chosen = -1.0, axes[:2]
    for tilt, turn in itertools.product(np.linspace(0.15, 0.75, 7), np.linspace(0.1, 1.5, 8)):
        first = np.cos(turn) * axes[0] + np.sin(turn) * axes[1]
        second = np.cos(turn) * axes[1] - np.sin(turn) * axes[0]
        second = np.cos(tilt) * second + np.sin(tilt) * axes[2]
        gap = _smallest_gap(points @ np.array([first, second]).T)
        if gap > best + 1e-9:
            best, chosen = gap, np.array([first, second])
    return chosen


def _complete(axes: FloatArray) -> FloatArray:
    """Return two or three orthonormal axes with signs that make a picture reproducible."""
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    if len(axes) > 1:
        return axes
    # States on a line: any second direction does.
    other = np.zeros(axes.shape[1])
    other[int(np.abs(axes[0]).argmin())] = 1.0
    other -= (other @ axes[0]) * axes[0]
    return np.vstack([axes, other / np.linalg.norm(other)])


def _surface(
    anchors: FloatArray, project: Callable[[FloatArray], FloatArray], origin: FloatArray, axes: FloatArray
) -> Callable[[FloatArray], FloatArray]:
    """Return the smooth surface through the anchors, from coordinates to states."""
    flat = project(anchors)
    width = max(float(np.ptp(flat, axis=0).max()), 1e-12)
    kept: list[int] = []
    for k, p in enumerate(flat):
        if all(np.linalg.norm(p - flat[j]) > _TORN * width for j in kept):
            kept.append(k)

    def plane(at: FloatArray) -> FloatArray:
        return np.asarray(origin + at @ axes)

    height = anchors[kept] - plane(flat[kept])
    centred = flat[kept] - flat[kept].mean(axis=0)
    if np.linalg.matrix_rank(centred, tol=1e-6 * width) < 2 or np.abs(height).max() < 1e-9 * width:
        return plane
    # The heights of a few anchors span few directions: interpolate those.
    left, values, right = np.linalg.svd(height, full_matrices=False)
    n = int(np.sum(values > 1e-9 * values[0]))
    spline = RBFInterpolator(flat[kept], left[:, :n] * values[:n], kernel="thin_plate_spline")
    return lambda at: np.asarray(plane(at) + spline(at) @ right[:n])


def phase_plane(
    landscape: Landscape,
    paths: Sequence[ArrayLike] = (),
    *,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> PhasePlane:
    """Choose two coordinates that show the attractors of a landscape, and label a surface above them.

    The plane is that of the first two principal components of the attractors and of the first steps of the
    switches between them (the local switching subspace of all attractors together), turned towards the third
    where two attractors would cover each other. The surface is a thin-plate spline through all attractors and
    all saddles with one unstable direction: so each of these lies where it is drawn, in its own basin or on
    the boundary of two.

    Parameters
    ----------
    landscape : Landscape
        With at least one attractor.
    paths : sequence of array_like, shape (n_steps, n_units) each, optional
        Switches, each from an attractor onwards, as `esntools.study.pulse_paths` returns them.
    resolution : int, optional
        Grid points along each coordinate. Default: up to 160, fewer for a large network.
    progress : callable, optional

    Returns
    -------
    PhasePlane

    Raises
    ------
    InvalidInputError
        When there is no attractor, or the resolution is no whole number from 2.

    Examples
    --------
    >>> from esntools.excitable import find_landscape
    >>> from esntools.network import EchoStateNetwork
    >>> plane = phase_plane(find_landscape(EchoStateNetwork([[1.5, 0], [0, 1.5]])), resolution=4)
    >>> plane.names, plane.labels
    (('unit 0', 'unit 1'), array([[0, 0, 2, 2],
           [0, 0, 2, 2],
           [1, 1, 3, 3],
           [1, 1, 3, 3]]))
    """
    if len(landscape) == 0:
        raise InvalidInputError("landscape", "no attractor", "there is nothing to show")
    system = landscape.system
    n = system.n_units
    if resolution is None:
        # Some 150 steps for a state to arrive.
        resolution = int(np.clip(np.sqrt(_WORK / (150.0 * n * n)), 24, 160))
    whole_number(resolution, "resolution", 2)
    X = np.concatenate([a.states for a in landscape.attractors])
    saddles = [s for s in landscape.saddles if s.n_unstable == 1]
    anchors = np.vstack([landscape.X, *(s.x[None] for s in saddles)])
    cloud = [X, *(np.asarray(path, dtype=np.float64)[1 : 1 + _SWITCH] for path in paths)]
    states = np.vstack(cloud)
    if n <= 2:
        origin, axes = np.zeros(n), np.eye(2)[:, :n]
        names, variance = (("unit 0", "unit 1") if n == 2 else ("unit 0", "")), 1.0
    else:
        origin = states.mean(axis=0)
        _, values, turned = np.linalg.svd(states - origin, full_matrices=False)
        axes = _seen_from(
            landscape.X, _complete(turned[: max(1, int(np.sum(values[:3] > 1e-9 * values[0])))])
        )
        names = ("along the first component", "along the second component")
        total = float(np.sum(values**2))
        variance = float(np.sum(((states - origin) @ axes.T) ** 2)) / total if total > 0.0 else 1.0
    branches = tuple(b for s in landscape.saddles for b in s.branches or ())
    blank = PhasePlane(origin, axes, names, np.zeros(0), np.zeros(0), None, branches, variance)
    seen = blank.project(np.vstack([states, anchors]))
    low, high = seen.min(axis=0), seen.max(axis=0)
    room = 0.15 * np.maximum(high - low, 0.3 * float((high - low).max()) + 1e-9)
    x, y = (np.linspace(low[k] - room[k], high[k] + room[k], resolution) for k in range(2))
    if n < 2 or (len(landscape) > 1 and _smallest_gap(blank.project(landscape.X)) < _TORN):
        return PhasePlane(origin, axes, names, x, y, None, branches, variance)
    at = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    grid = _surface(anchors, blank.project, origin, axes)(at)
    box = state_box(system)
    if box is not None:
        grid = np.clip(grid, box[0], box[1])
    labels = np.empty(len(grid), dtype=np.intp)
    part = max(resolution, 512)
    for start in range(0, len(grid), part):
        labels[start : start + part] = landscape.label(grid[start : start + part])
        progress("basins in the picture", min(1.0, (start + part) / len(grid)))
    return PhasePlane(origin, axes, names, x, y, labels.reshape(len(y), len(x)), branches, variance)
