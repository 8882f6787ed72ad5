"""Measures of one or two trajectories: divergence of densities, correlation dimension, leading exponent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from esntools._typing import FloatArray, RandomState
from esntools.arguments import positive_number, real_array, seeded, whole_number
from esntools.embedding import nearest_neighbours
from esntools.errors import InvalidInputError

__all__ = [
    "CorrelationDimension",
    "ExponentFromSeries",
    "checked_points",
    "correlation_dimension",
    "exponent_from_series",
    "kl_divergence",
]

_SHORTEST: Final = 200
_LARGEST: Final = 1e140
# So near to the logarithm of the mean distance of any two points, neighbours have forgotten one another.
_SATURATED: Final = 0.1
# Laplace smoothing of the bins, as the literature on reconstructed dynamics uses it.
_SMOOTHING: Final = 1e-5


def checked_points(values: ArrayLike, place: str) -> FloatArray:
    points = real_array(values, place)
    points = points[:, None] if points.ndim == 1 else points
    if points.ndim != 2 or len(points) < _SHORTEST or points.shape[1] == 0:
        raise InvalidInputError(
            place,
            f"shape {np.shape(values)}",
            f"must be (n_steps, n_coordinates), at least {_SHORTEST} steps",
        )
    if not np.all(np.isfinite(points)):
        k, j = (int(v) for v in np.argwhere(~np.isfinite(points))[0])
        raise InvalidInputError(f"{place}[{k}, {j}]", str(points[k, j]), "every value must be finite")
    if np.max(np.abs(points)) > _LARGEST:
        raise InvalidInputError(
            place, f"{np.max(np.abs(points)):.3g}", f"squares of values beyond {_LARGEST:g} overflow",
            "choose another unit",
        )  # fmt: skip
    return points


# -- densities -------------------------------------------------------------------------------------------


def kl_divergence(
    true: ArrayLike,
    learned: ArrayLike,
    *,
    method: Literal["bins", "mixture"] | None = None,
    n_bins: int = 30,
    width: float | None = None,
    n_samples: int = 1000,
    rng: RandomState = 0,
) -> float:
    r"""Estimate the Kullback–Leibler divergence between the densities of two point clouds, in nats.

    .. math:: D(p \Vert q) = \int p(x) \log \frac{p(x)}{q(x)}\,dx .

    ``"bins"``: `n_bins` per coordinate over the range of `true`, one more on either side for what lies
    outside, and Laplace smoothing with 1e-5 of a count. ``"mixture"``: both densities as Gaussians of equal
    width on every point, the integral by Monte Carlo over points drawn from the first mixture; in many
    coordinates two finite mixtures differ more than their densities do.

    Parameters
    ----------
    true, learned : array_like, shape (n_steps,) or (n_steps, d)
    method : {"bins", "mixture"}, optional
        Default: bins up to three coordinates, the mixture above.
    n_bins : int, optional
        Default 30.
    width : float, optional
        Of the Gaussians, in standard deviations of each coordinate of `true`. Default: Scott's rule,
        n ** (-1 / (d + 4)).
    n_samples : int, optional
        Monte Carlo samples of the mixture. Default 1000.
    rng : int, Generator or None

    Returns
    -------
    float
        Not negative for bins; the Monte Carlo value may be, by its sampling error.

    Raises
    ------
    InvalidInputError
        When shapes differ in the number of coordinates, a value is not finite, or a coordinate of `true` is
        constant.

    Examples
    --------
    Two normal densities a distance 1 apart have divergence 1/2:

    >>> generator = np.random.default_rng(0)
    >>> x, y = generator.standard_normal((2, 200000))
    >>> round(kl_divergence(x, y + 1.0), 1), kl_divergence(x, x)
    (0.5, 0.0)

    References
    ----------
    S. Kullback, R. A. Leibler, Ann. Math. Stat. 22 (1951) 79, doi:10.1214/aoms/1177729694;
    as a measure of reconstruction: G. Koppe, H. Toutounji, P. Kirsch, S. Lis, D. Durstewitz, PLoS Comput.
    Biol. 15 (2019) e1007263, doi:10.1371/journal.pcbi.1007263.
    """
    p, q = checked_points(true, "true"), checked_points(learned, "learned")
    d = p.shape[1]
    if q.shape[1] != d:
        raise InvalidInputError("learned", f"{q.shape[1]} coordinates", f"`true` has {d}")
    spread = np.std(p, axis=0)
    if np.any(spread <= 1e-12 * np.max(np.abs(p), axis=0)):
        j = int(np.argmin(spread))
        raise InvalidInputError(
            f"true[:, {j}]", "constant", "a constant coordinate has no density", "drop it"
        )
    n_bins, n_samples = whole_number(n_bins, "n_bins"), whole_number(n_samples, "n_samples")
    if width is not None:
        width = positive_number(width, "width")
    method = method or ("bins" if d <= 3 else "mixture")
    if method not in ("bins", "mixture"):
        raise InvalidInputError("method", repr(method), 'must be "bins" or "mixture"')
    if method == "bins":
        if d > 6:
            raise InvalidInputError(
                "method", "bins", f"{n_bins}^{d} bins are too many", 'use method="mixture"'
            )
        low, high = p.min(axis=0), p.max(axis=0)
        # Slot 0 and n_bins + 1 hold what lies outside the range of `true`.
        size = (high - low) / n_bins
        cells = []
        for x in (p, q):
            cell = np.clip(np.floor((x - low) / size) + 1.0, 0.0, n_bins + 1.0)
            # The last bin is closed: the largest value of `true` lies in it.
            cells.append(np.where(x == high, n_bins, cell).astype(np.int64))
        keys = [np.ravel_multi_index(tuple(c.T), (n_bins + 2,) * d) for c in cells]
        seen, where = np.unique(np.concatenate(keys), return_inverse=True)
        counts_p = np.bincount(where[: len(p)], minlength=len(seen)).astype(np.float64)
        counts_q = np.bincount(where[len(p) :], minlength=len(seen)).astype(np.float64)
        n_cells = float((n_bins + 2) ** d)
        # The cells that neither visits have equal probabilities up to normalisation and add next to nothing.
        prob_p = (counts_p + _SMOOTHING) / (len(p) + _SMOOTHING * n_cells)
        prob_q = (counts_q + _SMOOTHING) / (len(q) + _SMOOTHING * n_cells)
        rest = max(0.0, n_cells - len(seen)) * _SMOOTHING
        out = float(np.sum(prob_p * np.log(prob_p / prob_q)))
        scale_p, scale_q = len(p) + _SMOOTHING * n_cells, len(q) + _SMOOTHING * n_cells
        return max(0.0, out + rest / scale_p * math.log(scale_q / scale_p))
    generator = seeded(rng)
    h = (len(p) ** (-1.0 / (d + 4)) if width is None else float(width)) * spread
    sample = p[generator.integers(0, len(p), n_samples)] + h * generator.standard_normal((n_samples, d))

    def log_density(centres: FloatArray) -> FloatArray:
        exponent = -0.5 * cdist(sample / h, centres / h, "sqeuclidean")
        top = exponent.max(axis=1, keepdims=True)
        return np.asarray(top[:, 0] + np.log(np.exp(exponent - top).sum(axis=1) / len(centres)))

    return float(np.mean(log_density(p) - log_density(q)))


# -- dimension -------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, eq=False)
class CorrelationDimension:
    """The correlation dimension of a point cloud.

    Attributes
    ----------
    dimension : float or None
        None where no scaling region exists, see `note`.
    interval : tuple of float or None
        95 %, from the spread of the local slopes and of ten groups of reference points; the systematic error
        of finite data is not in it.
    log_radius, log_sum : ndarray
        The correlation sum: log C against log r.
    scaling : slice
        The part of them that was fitted.
    note : str
    """

    dimension: float | None
    interval: tuple[float, float] | None
    log_radius: FloatArray
    log_sum: FloatArray
    scaling: slice
    note: str


def correlation_dimension(
    points: ArrayLike, *, theiler: int = 0, n_references: int = 1000, n_radii: int = 40
) -> CorrelationDimension:
    r"""Estimate the correlation dimension by the slope of the correlation sum.

    .. math:: C(r) = \frac{2}{N(N-1)} \#\{k < l : \lVert x_k - x_l\rVert_\infty < r\} \sim r^{D_2}

    over pairs more than `theiler` steps apart. The slope is fitted where C lies between 3e-4 (or 100 pairs)
    and 3e-2.

    Parameters
    ----------
    points : array_like, shape (n_steps, d)
        At least 200 points.
    theiler : int, optional
        Pairs this close in time do not count. Default 0; for a flow, a few correlation times.
    n_references : int, optional
        Points whose distances to all others are taken. Default 1000.
    n_radii : int, optional
        Default 40.

    Returns
    -------
    CorrelationDimension

    Raises
    ------
    InvalidInputError
        When the points are too few or not finite, or the Theiler window leaves none.

    Examples
    --------
    >>> angle = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, 4000)
    >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> bool(abs(correlation_dimension(circle).dimension - 1.0) < 0.05)
    True

    References
    ----------
    P. Grassberger, I. Procaccia, Phys. Rev. Lett. 50 (1983) 346, doi:10.1103/PhysRevLett.50.346;
    J. Theiler, Phys. Rev. A 34 (1986) 2427, doi:10.1103/PhysRevA.34.2427 (the window).
    """
    x = checked_points(points, "points")
    n = len(x)
    theiler = whole_number(theiler, "theiler", 0, n // 4 - 1)
    n_references = whole_number(n_references, "n_references", 10)
    n_radii = whole_number(n_radii, "n_radii", 4)
    spread = float(np.max(np.ptp(x, axis=0)))
    nothing = np.empty(0)
    if spread <= 1e-12 * max(1.0, float(np.max(np.abs(x)))):
        return CorrelationDimension(0.0, (0.0, 0.0), nothing, nothing, slice(0, 0), "all points are equal")
    rows = np.unique(np.linspace(0, n - 1, min(n, n_references)).astype(np.intp))
    radii = spread * np.geomspace(1e-5, 1.0, n_radii)
    counts = np.zeros((10, n_radii))
    pairs = np.zeros(10)
    index = np.arange(n)
    for j, start in enumerate(range(0, len(rows), 50)):
        part = rows[start : start + 50]
        distance = cdist(x[part], x, "chebyshev")
        far = np.abs(index - part[:, None]) > theiler
        kept = np.sort(distance[far])
        counts[j % 10] += np.searchsorted(kept, radii)
        pairs[j % 10] += len(kept)
    total = counts.sum(axis=0)
    share = total / pairs.sum()
    known = total > 0.0
    log_radius, log_sum = np.log(radii[known]), np.log(share[known])
    floor = max(3e-4, 100.0 / pairs.sum())
    inside = np.flatnonzero((share[known] >= floor) & (share[known] <= 3e-2))
    if len(inside) < 4:
        return CorrelationDimension(
            None, None, log_radius, log_sum, slice(0, 0),
            "the correlation sum has no stretch between its smallest counts and its end: too few points, or "
            "points that repeat",
        )  # fmt: skip
    region = slice(int(inside[0]), int(inside[-1]) + 1)
    r = log_radius[region]
    centred = r - r.mean()

    def slope(values: FloatArray) -> float:
        return float(np.sum(centred * values) / np.sum(centred**2))

    dimension = slope(log_sum[region])
    groups = counts[:, known][:, region] / pairs[:, None]
    slopes = np.array([slope(np.log(g)) for g in groups if np.all(g > 0.0)])
    statistical = np.std(slopes, ddof=1) / np.sqrt(len(slopes)) if len(slopes) > 1 else math.inf
    local = np.diff(log_sum[region]) / np.diff(r)
    systematic = np.std(local, ddof=1) / np.sqrt(len(local)) if len(local) > 1 else math.inf
    half = 2.26 * float(np.hypot(statistical, systematic))
    note = "" if np.isfinite(half) else "too few points for an error bar"
    bar = (dimension - half, dimension + half) if np.isfinite(half) else None
    return CorrelationDimension(dimension, bar, log_radius, log_sum, region, note)


# -- exponent --------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, eq=False)
class ExponentFromSeries:
    """The largest Lyapunov exponent read off a trajectory, without its equations.

    Attributes
    ----------
    exponent : float or None
        In `unit`; None where neighbours do not part exponentially, see `note`.
    interval : tuple of float or None
        95 %, from ten groups of reference points; the systematic error of the fit is not in it.
    unit : {"1/step", "1/time"}
    steps : ndarray
    log_distance : ndarray
        Mean logarithm of the mean distance to the neighbours, steps later.
    scaling : slice
        The part that was fitted.
    note : str
    """

    exponent: float | None
    interval: tuple[float, float] | None
    unit: Literal["1/step", "1/time"]
    steps: FloatArray
    log_distance: FloatArray
    scaling: slice
    note: str


def exponent_from_series(
    points: ArrayLike,
    *,
    dt: float | None = None,
    theiler: int = 10,
    n_steps: int | None = None,
    n_references: int = 1000,
    n_neighbours: int = 8,
) -> ExponentFromSeries:
    r"""Estimate the largest Lyapunov exponent from how neighbours on a trajectory part.

    .. math:: S(j) = \Bigl\langle \log \tfrac{1}{|U_k|} \sum_{l \in U_k} \lVert x_{k+j} - x_{l+j} \rVert
              \Bigr\rangle_k \approx S(0) + \lambda j,

    U_k being the nearest neighbours of x_k more than `theiler` steps away. The slope is fitted between a
    quarter and seven tenths of the way from the smallest S to its plateau.

    Parameters
    ----------
    points : array_like, shape (n_steps, d)
        States, or delay vectors of a scalar series.
    dt : float, optional
        Time between rows; with it the unit is 1/time, else 1/step.
    theiler : int, optional
        Default 10.
    n_steps : int, optional
        How far to follow; by default until the distances stop growing.
    n_references, n_neighbours : int, optional
        Default 1000 and 8.

    Returns
    -------
    ExponentFromSeries

    Raises
    ------
    InvalidInputError
        When the points are too few, constant or not finite.

    Examples
    --------
    >>> from esntools.systems import henon
    >>> estimate = exponent_from_series(henon().trajectory(5000), theiler=1)
    >>> bool(abs(estimate.exponent - 0.419) < 0.04)
    True

    References
    ----------
    H. Kantz, Phys. Lett. A 185 (1994) 77, doi:10.1016/0375-9601(94)90991-1;
    M. T. Rosenstein, J. J. Collins, C. J. De Luca, Physica D 65 (1993) 117,
    doi:10.1016/0167-2789(93)90009-P.
    """
    x = checked_points(points, "points")
    if dt is not None:
        dt = positive_number(dt, "dt", "leave it out for exponents per step")
    theiler = whole_number(theiler, "theiler", 0)
    n_references = whole_number(n_references, "n_references", 10)
    n_neighbours = whole_number(n_neighbours, "n_neighbours", 1, len(x) // 4)
    spread = float(np.max(np.ptp(x, axis=0)))
    if spread <= 1e-12 * max(1.0, float(np.max(np.abs(x)))):
        raise InvalidInputError("points", "constant", "a constant trajectory has no exponent")
    longest = len(x) // 4
    n_follow = longest if n_steps is None else whole_number(n_steps, "n_steps", 4, longest)
    unit: Literal["1/step", "1/time"] = "1/step" if dt is None else "1/time"
    head = x[: len(x) - n_follow]
    rows = np.unique(np.linspace(0, len(head) - 1, min(len(head), n_references)).astype(np.intp))
    distance, neighbour = nearest_neighbours(head, rows, theiler, count=n_neighbours, norm=2.0)
    usable = np.isfinite(distance[:, -1])
    rows, neighbour = rows[usable], neighbour[usable]
    S = np.empty((n_follow + 1, 10))
    plateau = math.log(_mean_distance(x))
    reached = n_follow
    for j in range(n_follow + 1):
        gap = np.linalg.norm(x[rows + j][:, None] - x[neighbour + j], axis=2).mean(axis=1)
        with np.errstate(divide="ignore"):
            logs = np.log(gap)
        for g in range(10):
            finite = logs[g::10][np.isfinite(logs[g::10])]
            S[j, g] = finite.mean() if len(finite) else -np.inf
        if n_steps is None and j > 20 and S[j].mean() > plateau - 0.3:
            reached = j
            break
    S = S[: reached + 1]
    curve = S.mean(axis=1)
    steps = np.arange(len(curve), dtype=np.float64)

    def no(reason: str) -> ExponentFromSeries:
        return ExponentFromSeries(None, None, unit, steps, curve, slice(0, 0), reason)

    if not np.all(np.isfinite(S)):
        return no("neighbours at distance 0 stay there: the trajectory repeats itself")
    low, high = float(curve.min()), min(float(curve.max()), plateau)
    if high - low < 2.0:
        return no(
            f"distances grow by a factor of {math.exp(max(0.0, high - low)):.3g} only: no positive exponent"
        )
    # Behind the last minimum: the first steps shrink what is off the attractor.
    start = int(np.flatnonzero(curve <= low + 0.25 * (high - low))[-1])
    end = int(np.argmax(curve >= low + 0.7 * (high - low)))
    if end - start <= 1 and curve[start + 1] >= plateau - _SATURATED:
        return no(
            "neighbours are as far apart as any two points after one step: noise, or steps too long to follow"
        )
    if end - start < 3:
        start, end = max(0, end - 3), end
    region = slice(start, end + 1)
    k = steps[region] - steps[region].mean()
    slopes = (k @ S[region]) / np.sum(k**2) / (1.0 if dt is None else dt)
    mean = float(slopes.mean())
    straight = np.corrcoef(steps[region], curve[region])[0, 1] ** 2
    if straight < 0.9:
        return no("distances do not grow exponentially: log distance against time is no straight line")
    half = float(scipy.stats.t.ppf(0.975, 9) * slopes.std(ddof=1) / np.sqrt(10))
    return ExponentFromSeries(mean, (mean - half, mean + half), unit, steps, curve, region, "")


def _mean_distance(x: FloatArray) -> float:
    # At random times: equally spaced ones see a single point of a cycle whose period divides the spacing.
    rows = x[np.random.default_rng(0).integers(0, len(x), min(len(x), 500))]
    return float(np.mean(cdist(rows, rows)))
