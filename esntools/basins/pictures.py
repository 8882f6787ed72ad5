"""Basins on a plane, and how fine their boundary is: basin entropy and uncertainty exponent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.errors import InvalidInputError
from esntools.maps import Map, state_box
from esntools.threads import one_blas_thread

if TYPE_CHECKING:
    from esntools.basins import Basins
    from esntools.fixed_points import FixedPoints

__all__ = [
    "BasinEntropy", "BasinPicture", "UncertaintyExponent", "basin_entropy", "basin_picture",
    "uncertainty_exponent",
]  # fmt: skip


@final
@dataclass(frozen=True, eq=False, repr=False)
class BasinPicture:
    """Labels on a grid in a plane of the state space.

    Attributes
    ----------
    labels : ndarray of int, shape (n_y, n_x)
        Row i, column j belongs to the state origin + x[j] e1 + y[i] e2. Positions in ``basins.attractors``;
        -1 escaped, -2 undecided.
    x, y : ndarray
        The grid.
    plane : tuple of three ndarray, shape (n_units,)
        (origin, e1, e2).
    basins : Basins
        The attractors, and the shares of the picture's area.
    """

    labels: IntArray
    x: FloatArray
    y: FloatArray
    plane: tuple[FloatArray, FloatArray, FloatArray]
    basins: Basins

    def __repr__(self) -> str:
        return f"BasinPicture({len(self.x)} x {len(self.y)}, {self.basins!r})"

    def coordinates(self, states: ArrayLike) -> FloatArray:
        """Return the plane coordinates (n, 2) of the states' orthogonal projections onto the plane."""
        origin, e1, e2 = self.plane
        shift = np.atleast_2d(np.asarray(states, dtype=np.float64)) - origin
        return np.asarray(np.linalg.lstsq(np.column_stack([e1, e2]), shift.T, rcond=None)[0].T)


def _checked_plane(system: Map, plane: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    n = system.n_units
    if plane is None:
        if n != 2:
            raise InvalidInputError(
                "plane", "None", f"a map with {n} units has many planes", "pass plane=(origin, e1, e2)"
            )
        plane = (np.zeros(2), [1.0, 0.0], [0.0, 1.0])
    if len(plane) != 3:
        raise InvalidInputError("plane", f"{len(plane)} entries", "must be (origin, e1, e2)")
    origin, e1, e2 = (np.array(v, dtype=np.float64) for v in plane)
    for place, v in (("origin", origin), ("e1", e1), ("e2", e2)):
        if v.shape != (n,) or not np.all(np.isfinite(v)):
            raise InvalidInputError(
                f"plane: {place}", f"shape {v.shape}", f"must be finite, of shape (n_units = {n},)"
            )
    if np.linalg.matrix_rank(np.column_stack([e1, e2])) < 2:
        raise InvalidInputError("plane", "e1 and e2 are parallel", "they must span a plane")
    return origin, e1, e2


@one_blas_thread
def basin_picture(
    system: Map,
    u: ArrayLike | None = None,
    *,
    plane: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    extent: Sequence[float] | None = None,
    resolution: int | tuple[int, int] = 200,
    attractors: FixedPoints | None = None,
    n_steps: int = 2000,
    n_average: int = 2000,
    max_period: int = 64,
    escape_radius: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> BasinPicture:
    """Label the states of a grid on a plane by the attractor that they reach.

    Parameters
    ----------
    system : Map
    u : array_like, shape (n_inputs,), optional
        The constant input.
    plane : tuple of three array_like, optional
        (origin, e1, e2); the state space itself where it has two dimensions.
    extent : sequence of four float, optional
        (x_min, x_max, y_min, y_max) in the plane's coordinates. By default the box of a two-dimensional
        state space; else it must be given.
    resolution : int or tuple of int
        Grid points along x and along y. Default 200.
    attractors, n_steps, n_average, max_period, escape_radius, rng, progress
        As of `basins`.

    Returns
    -------
    BasinPicture

    Raises
    ------
    InvalidInputError
        When something has a wrong shape or range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> picture = basin_picture(EchoStateNetwork(1.5 * np.eye(2)), resolution=4)
    >>> picture.labels
    array([[0, 0, 2, 2],
           [0, 0, 2, 2],
           [1, 1, 3, 3],
           [1, 1, 3, 3]])
    """
    from esntools.basins import basins

    origin, e1, e2 = _checked_plane(system, plane)
    if extent is None:
        corners = state_box(system)
        if corners is None or plane is not None:
            raise InvalidInputError(
                "extent", "None", "is known for a bounded map on its own two dimensions only",
                "pass extent=(x_min, x_max, y_min, y_max)",
            )  # fmt: skip
        (low, high) = corners
        extent = (low[0], high[0], low[1], high[1])
    limits = np.array(extent, dtype=np.float64)
    if limits.shape != (4,) or not np.all(np.isfinite(limits)):
        raise InvalidInputError("extent", str(extent), "must be four finite numbers")
    if not (limits[0] < limits[1] and limits[2] < limits[3]):
        raise InvalidInputError("extent", str(extent), "x_min < x_max and y_min < y_max must hold")
    shape = np.ravel(np.asarray(resolution, dtype=np.float64)).tolist()
    shape = shape * 2 if len(shape) == 1 else shape
    if len(shape) != 2 or any(k != int(k) or k < 2 for k in shape):
        raise InvalidInputError("resolution", str(resolution), "must be one or two integers of at least 2")
    x = np.linspace(limits[0], limits[1], int(shape[0]))
    y = np.linspace(limits[2], limits[3], int(shape[1]))
    grid = origin + x[None, :, None] * e1 + y[:, None, None] * e2
    found = basins(
        system, u, attractors=attractors, starts=grid.reshape(-1, system.n_units), n_steps=n_steps,
        n_average=n_average, max_period=max_period, escape_radius=escape_radius, rng=rng, progress=progress,
    )  # fmt: skip
    return BasinPicture(found.labels.reshape(len(y), len(x)), x, y, (origin, e1, e2), found)


@final
@dataclass(frozen=True, eq=False)
class BasinEntropy:
    """How mixed the labels are at a scale.

    Attributes
    ----------
    entropy : float
        Mean over all boxes of -sum p log p, in nats; 0 to log(number of labels).
    boundary_entropy : float or None
        The same over the boxes with more than one label; None where there is none. Above log 2 the
        boundary is fractal (not conversely; with two labels it cannot be above).
    n_boxes, n_boundary : int
    fractal : bool
        ``boundary_entropy > log 2``.
    """

    entropy: float
    boundary_entropy: float | None
    n_boxes: int
    n_boundary: int
    fractal: bool


def _labels_of(picture: BasinPicture | ArrayLike) -> NDArray[Any]:
    values: Any = picture.labels if isinstance(picture, BasinPicture) else picture
    labels = np.asarray(values)
    if labels.ndim < 1 or labels.size == 0 or labels.dtype.kind not in "iub":
        raise InvalidInputError(
            "labels", f"shape {labels.shape}, {labels.dtype}", "must be a grid of integer labels"
        )
    return labels


def _boxes(labels: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the labels box by box, shape (n_boxes, side**d); what does not fill a box is left out."""
    counts = [n // side for n in labels.shape]
    trimmed = labels[tuple(slice(0, c * side) for c in counts)]
    split = trimmed.reshape([k for c in counts for k in (c, side)])
    d = labels.ndim
    return split.transpose([*range(0, 2 * d, 2), *range(1, 2 * d, 2)]).reshape(-1, side**d)


def basin_entropy(picture: BasinPicture | ArrayLike, *, box: int = 5) -> BasinEntropy:
    r"""Estimate the basin entropy of a labelled grid.

    The grid is cut into boxes of `box` points a side, and

    .. math:: S_b = \frac1N \sum_i \sum_j -p_{ij} \log p_{ij}

    with :math:`p_{ij}` the fraction of label j in box i; :math:`S_{bb}` sums over the boxes with more than
    one label only and divides by their number.

    Parameters
    ----------
    picture : BasinPicture or array_like of int
        A grid of any dimension.
    box : int
        Default 5. Grid points that do not fill a box are left out.

    Returns
    -------
    BasinEntropy

    Raises
    ------
    InvalidInputError
        When the labels are no grid of integers, or no box fits.

    Examples
    --------
    >>> result = basin_entropy([[0, 1, 2, 2], [0, 1, 2, 2]], box=2)
    >>> round(result.entropy, 6), round(result.boundary_entropy, 6)  # log(2) / 2, log(2)
    (0.346574, 0.693147)

    References
    ----------
    A. Daza, A. Wagemakers, B. Georgeot, D. Guery-Odelin, M. A. F. Sanjuan, Sci. Rep. 6 (2016) 31416,
    doi:10.1038/srep31416, eqs. (3), (4).
    """
    labels = _labels_of(picture)
    if not 2 <= box <= min(labels.shape):
        raise InvalidInputError("box", str(box), f"must lie in [2, {min(labels.shape)}]")
    boxes = _boxes(labels, int(box))
    sums = np.zeros(len(boxes))
    for value in np.unique(labels):
        p = np.mean(boxes == value, axis=1)
        sums -= np.where(p > 0.0, p * np.log(np.where(p > 0.0, p, 1.0)), 0.0)
    mixed = np.any(boxes != boxes[:, :1], axis=1)
    boundary = float(np.mean(sums[mixed])) if mixed.any() else None
    # Two labels in equal parts give log 2 itself, to rounding, and their boundary may be smooth.
    fractal = boundary is not None and bool(boundary > np.log(2.0) * (1.0 + 1e-12))
    return BasinEntropy(float(np.mean(sums)), boundary, len(boxes), int(mixed.sum()), fractal)


@final
@dataclass(frozen=True, eq=False)
class UncertaintyExponent:
    """How fast the uncertain fraction shrinks with the size of the error in the state.

    Attributes
    ----------
    exponent : float or None
        alpha; 1 for a smooth boundary, near 0 for a boundary that fills space. None where the grid shows
        too little of a boundary for a fit.
    standard_error : float or None
        Of the fit alone; neighbouring sizes share their labels, so it is too small.
    dimension : float or None
        Box-counting dimension of the boundary, the grid's dimension minus alpha.
    sizes : ndarray of int
        Points along the side of a box.
    fractions : ndarray
        The share of boxes of that size with more than one label.
    note : str
    """

    exponent: float | None
    standard_error: float | None
    dimension: float | None
    sizes: IntArray
    fractions: FloatArray
    note: str


@one_blas_thread
def uncertainty_exponent(
    picture: BasinPicture | ArrayLike, *, sizes: Sequence[int] | None = None
) -> UncertaintyExponent:
    r"""Estimate the uncertainty exponent of a labelled grid by counting boxes.

    The fraction of boxes of side :math:`\varepsilon` with more than one label scales as
    :math:`f(\varepsilon) \sim \varepsilon^\alpha`; :math:`\alpha` is the slope of a straight line through
    :math:`\log f` over :math:`\log\varepsilon`. The side of a box of s points is the s - 1 spacings between
    its first and its last: so a smooth boundary gives 1 at small sizes too. Look at `sizes` and `fractions`
    before believing the slope.

    Parameters
    ----------
    picture : BasinPicture or array_like of int
        A grid of any dimension.
    sizes : sequence of int, optional
        By default all from 3 to a tenth of the shorter side.

    Returns
    -------
    UncertaintyExponent

    Raises
    ------
    InvalidInputError
        When the labels are no grid of integers, or the sizes do not fit.

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(-300, 300), np.arange(-300, 300))
    >>> disc = (np.hypot(x, y) < 200).astype(int)
    >>> round(uncertainty_exponent(disc).exponent, 1)
    1.0

    References
    ----------
    C. Grebogi, S. W. McDonald, E. Ott, J. A. Yorke, Phys. Lett. A 99 (1983) 415,
    doi:10.1016/0375-9601(83)90945-3.
    """
    labels = _labels_of(picture)
    shortest = min(labels.shape)
    chosen = np.array(sorted(set(range(3, shortest // 10 + 1) if sizes is None else sizes)), dtype=np.intp)
    if len(chosen) < 2 or chosen[0] < 2 or chosen[-1] > shortest // 2:
        raise InvalidInputError(
            "sizes", str(chosen.tolist()), f"must be at least two different sizes in [2, {shortest // 2}]",
            "use a finer grid" if sizes is None else "",
        )  # fmt: skip
    fractions = np.array(
        [np.mean(np.any((b := _boxes(labels, int(size))) != b[:, :1], axis=1)) for size in chosen]
    )
    seen = fractions > 0.0
    if seen.sum() < 2:
        note = "too few sizes show a boundary between labels"
        return UncertaintyExponent(None, None, None, chosen, fractions, note)
    if np.all(fractions[seen] == 1.0):
        note = "every box shows a boundary: the grid is too coarse to see a slope"
        return UncertaintyExponent(None, None, None, chosen, fractions, note)
    line = scipy.stats.linregress(np.log(chosen[seen] - 1.0), np.log(fractions[seen]))
    error = float(line.stderr) if seen.sum() > 2 else None
    return UncertaintyExponent(
        float(line.slope), error, labels.ndim - float(line.slope), chosen, fractions, ""
    )  # fmt: skip
