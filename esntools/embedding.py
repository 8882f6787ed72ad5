"""Delay vectors of a scalar series: which lag, how many coordinates, and whether they are deterministic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from esntools._typing import FloatArray, IntArray
from esntools.arguments import positive_number, real_array, whole_number
from esntools.errors import InvalidInputError

__all__ = [
    "Embedding",
    "cao_ratios",
    "choose_embedding",
    "delay_vectors",
    "false_neighbours",
    "find_period",
    "mutual_information",
    "nearest_neighbours",
]

_SHORTEST: Final = 200
_MOST_REFERENCES: Final = 2000


def _checked_series(values: ArrayLike, place: str = "values") -> FloatArray:
    series = real_array(values, place)
    if series.ndim == 2 and series.shape[1] == 1:
        series = series[:, 0]
    if series.ndim != 1 or len(series) < _SHORTEST:
        raise InvalidInputError(
            place, f"shape {np.shape(values)}", f"must be one series of at least {_SHORTEST} values"
        )
    if not np.all(np.isfinite(series)):
        k = int(np.argmin(np.isfinite(series)))
        raise InvalidInputError(f"{place}[{k}]", str(series[k]), "every value must be finite")
    spread, size = float(np.ptp(series)), float(np.max(np.abs(series)))
    if spread <= 1e-12 * size:
        raise InvalidInputError(
            place, f"constant at {series[0]:.6g}", "a constant series has no dynamics to reconstruct",
            "check which column was read",
        )  # fmt: skip
    return series


def delay_vectors(values: ArrayLike, lag: int, dimension: int) -> FloatArray:
    r"""Return the delay vectors :math:`(s_k, s_{k+\tau}, \dots, s_{k+(m-1)\tau})`, one row each.

    Parameters
    ----------
    values : array_like, shape (n_steps,)
    lag : int
        tau, in steps, at least 1.
    dimension : int
        m, at least 1.

    Returns
    -------
    ndarray, shape (n_steps - (m - 1) tau, m)

    Raises
    ------
    InvalidInputError
        When the series is too short for one vector or a number is below 1.

    Examples
    --------
    >>> delay_vectors(np.arange(5.0), lag=2, dimension=2)
    array([[0., 2.],
           [1., 3.],
           [2., 4.]])

    References
    ----------
    F. Takens, Lecture Notes in Mathematics 898 (1981) 366, doi:10.1007/BFb0091924.
    """
    series = real_array(values, "values")
    if not np.all(np.isfinite(series)):
        raise InvalidInputError(
            "values", "NaN or infinite", "every value must be finite", "fill or drop gaps"
        )
    lag, dimension = whole_number(lag, "lag"), whole_number(dimension, "dimension")
    n = series.size - (dimension - 1) * lag
    if series.ndim != 1 or n < 1:
        raise InvalidInputError(
            "values",
            f"shape {series.shape}",
            f"must be one series longer than {(dimension - 1) * lag} values",
        )
    return np.stack([series[j * lag : j * lag + n] for j in range(dimension)], axis=1)


def mutual_information(values: ArrayLike, max_lag: int, *, n_bins: int | None = None) -> FloatArray:
    r"""Estimate the mutual information of the series with itself, lags 0 ... max_lag, in nats.

    .. math:: I(\tau) = \sum_{ij} p_{ij}(\tau) \log \frac{p_{ij}(\tau)}{p_i\, p_j}

    over bins of equal probability, less the bias :math:`(n_b - 1)^2 / 2n` that independent series would show.

    Parameters
    ----------
    values : array_like, shape (n_steps,)
        At least 200 values.
    max_lag : int
        Below half the length.
    n_bins : int, optional
        Default: sqrt(n_steps / 5), at most 32.

    Returns
    -------
    ndarray, shape (max_lag + 1,)

    Raises
    ------
    InvalidInputError
        When the series is short, constant or not finite, or the lag too long.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(5000)
    >>> information = mutual_information(noise, 3)
    >>> bool(np.all(np.abs(information[1:]) < 0.02)), bool(information[0] > 2.0)
    (True, True)

    References
    ----------
    A. M. Fraser, H. L. Swinney, Phys. Rev. A 33 (1986) 1134, doi:10.1103/PhysRevA.33.1134;
    bias: M. S. Roulston, Physica D 125 (1999) 285, doi:10.1016/S0167-2789(98)00269-3.
    """
    series = _checked_series(values)
    n = len(series)
    max_lag = whole_number(max_lag, "max_lag", 0, n // 2 - 1)
    bins = (
        min(32, max(4, int(math.sqrt(n / 5.0)))) if n_bins is None else whole_number(n_bins, "n_bins", 2, n)
    )
    # Equal values share a bin: a rank by position would cut them apart and invent information.
    edges = np.unique(np.quantile(series, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    label = np.searchsorted(edges, series, side="right")
    bins = len(edges) + 1
    out = np.empty(max_lag + 1)
    for lag in range(max_lag + 1):
        a, b = label[: n - lag], label[lag:]
        joint = np.bincount(a * bins + b, minlength=bins * bins).reshape(bins, bins) / (n - lag)
        outer = joint.sum(axis=1)[:, None] * joint.sum(axis=0)
        seen = joint > 0.0
        bias = 0.0 if lag == 0 else (bins - 1) ** 2 / (2.0 * (n - lag))
        out[lag] = float(np.sum(joint[seen] * np.log(joint[seen] / outer[seen]))) - bias
    return out


def nearest_neighbours(
    points: FloatArray, references: IntArray, theiler: int, *, count: int = 1, norm: float = np.inf
) -> tuple[FloatArray, IntArray]:
    """Return distances and rows of the `count` nearest points more than `theiler` steps away in time.

    Rows of `references` without enough such points hold infinite distances and -1.
    """
    tree = cKDTree(points)
    distance = np.full((len(references), count), np.inf)
    index = np.full((len(references), count), -1, dtype=np.intp)
    # Along a trajectory the nearest points are the ones just before and after: ask until enough remain.
    left, ask = np.arange(len(references)), count + 2
    while len(left):
        ask = min(ask, len(points))
        d, i = tree.query(points[references[left]], k=ask, p=norm)
        d, i = d.reshape(len(left), -1), i.reshape(len(left), -1)
        far = np.abs(i - references[left][:, None]) > theiler
        order = np.argsort(~far, axis=1, kind="stable")[:, :count]
        enough = far.sum(axis=1) >= count
        rows = np.arange(len(left))[enough]
        distance[left[enough]] = d[rows[:, None], order[enough]]
        index[left[enough]] = i[rows[:, None], order[enough]]
        left = left[~enough]
        if ask == len(points):
            break
        ask *= 4
    return distance, index


def _references(n: int) -> IntArray:
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_REFERENCES)).astype(np.intp))


def false_neighbours(
    values: ArrayLike,
    lag: int,
    max_dimension: int = 8,
    *,
    ratio: float = 15.0,
    size: float = 2.0,
    theiler: int | None = None,
) -> FloatArray:
    r"""Return the share of false nearest neighbours in dimensions 1 ... max_dimension.

    A nearest neighbour in dimension m is false when the next coordinate tears it away:
    :math:`|s_{k+m\tau} - s_{k'+m\tau}| > r\,R_m(k)`, or when the two are then farther apart than `size`
    standard deviations.

    Parameters
    ----------
    values : array_like, shape (n_steps,)
    lag : int
    max_dimension : int, optional
        Default 8.
    ratio, size : float, optional
        Kennel's criteria r = 15 and A = 2.
    theiler : int, optional
        Neighbours closer in time than this do not count. Default: 2 * lag.

    Returns
    -------
    ndarray, shape (max_dimension,)

    Raises
    ------
    InvalidInputError
        When the series is too short for that many lags.

    Examples
    --------
    >>> from esntools.systems import henon
    >>> shares = false_neighbours(henon().trajectory(3000)[:, 0], lag=1, max_dimension=3)
    >>> bool(shares[0] > 0.3), bool(shares[1] < 0.02)
    (True, True)

    References
    ----------
    M. B. Kennel, R. Brown, H. D. I. Abarbanel, Phys. Rev. A 45 (1992) 3403,
    doi:10.1103/PhysRevA.45.3403, eqs. (4) and (5); Euclidean distance.
    """
    series = _checked_series(values)
    lag, max_dimension = whole_number(lag, "lag"), whole_number(max_dimension, "max_dimension", 2)
    theiler = 2 * lag if theiler is None else whole_number(theiler, "theiler", 0)
    ratio, size = positive_number(ratio, "ratio"), positive_number(size, "size")
    spread = float(np.std(series))
    everything = delay_vectors(series, lag, max_dimension + 1)
    if len(everything) < 10 * max(theiler, 10):
        raise InvalidInputError(
            "values", f"{len(series)} values", f"too few for {max_dimension} delays of {lag} steps",
            "a longer series, or a smaller max_dimension",
        )  # fmt: skip
    rows = _references(len(everything))
    shares = np.empty(max_dimension)
    for m in range(1, max_dimension + 1):
        distance, index = nearest_neighbours(everything[:, :m], rows, theiler, norm=2.0)
        usable = (index[:, 0] >= 0) & (distance[:, 0] < spread)
        near, k = distance[usable, 0], index[usable, 0]
        gap = np.abs(everything[rows[usable], m] - everything[k, m])
        # At distance 0 (an exactly periodic series) any gap above rounding is a tear.
        torn = gap > ratio * np.maximum(near, 1e-12 * spread)
        lonely = np.hypot(near, gap) > size * spread
        shares[m - 1] = np.mean(torn | lonely) if len(near) else np.nan
    if np.any(np.isnan(shares)):
        raise InvalidInputError(
            "values", "no neighbours closer than the spread", "the series is too short for this many delays",
            "a longer series, or a smaller max_dimension",
        )  # fmt: skip
    return shares


def cao_ratios(
    values: ArrayLike, lag: int, max_dimension: int = 8, *, theiler: int | None = None
) -> tuple[FloatArray, FloatArray]:
    r"""Return Cao's E1 and E2 for dimensions 1 ... max_dimension - 1.

    .. math:: E(m) = \Bigl\langle \frac{\lVert y_k(m+1) - y_{k'}(m+1)\rVert_\infty}
              {\lVert y_k(m) - y_{k'}(m)\rVert_\infty} \Bigr\rangle, \quad E_1(m) = \frac{E(m+1)}{E(m)}, \quad
              E_2(m) = \frac{E^*(m+1)}{E^*(m)},

    k' being the nearest neighbour of k in dimension m and :math:`E^*(m) = \langle|s_{k+m\tau} -
    s_{k'+m\tau}|\rangle`. E1 stops growing at the embedding dimension; E2 is 1 at every m for noise.

    Parameters
    ----------
    values : array_like, shape (n_steps,)
    lag, max_dimension, theiler : int
        As for `false_neighbours`.

    Returns
    -------
    E1, E2 : ndarray, shape (max_dimension - 1,)

    Raises
    ------
    InvalidInputError
        When the series is too short, or exactly periodic (all neighbours at distance 0).

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(5000)
    >>> bool(np.all(np.abs(cao_ratios(noise, 1, 4)[1] - 1.0) < 0.1))
    True

    References
    ----------
    L. Cao, Physica D 110 (1997) 43, doi:10.1016/S0167-2789(97)00118-8, eqs. (1)-(5).
    """
    series = _checked_series(values)
    lag, max_dimension = whole_number(lag, "lag"), whole_number(max_dimension, "max_dimension")
    theiler = 2 * lag if theiler is None else whole_number(theiler, "theiler", 0)
    everything = delay_vectors(series, lag, max_dimension + 1)
    if len(everything) < 10 * max(theiler, 10):
        raise InvalidInputError(
            "values", f"{len(series)} values", f"too few for {max_dimension} delays of {lag} steps",
            "a longer series, or a smaller max_dimension",
        )  # fmt: skip
    rows = _references(len(everything))
    E, E_star = np.empty(max_dimension), np.empty(max_dimension)
    for m in range(1, max_dimension + 1):
        # Twins at distance 0 would divide by zero; Cao takes the next neighbour, and so do we.
        distance, index = nearest_neighbours(everything[:, :m], rows, theiler, count=4)
        apart = distance > 1e-12 * np.ptp(series)
        first = np.argmax(apart, axis=1)
        usable = np.flatnonzero(apart.any(axis=1) & (index[np.arange(len(rows)), first] >= 0))
        if len(usable) < 0.1 * len(rows):
            raise InvalidInputError(
                "values", "periodic to rounding", "its neighbours are at distance 0: no ratio can be formed"
            )
        near, k = distance[usable, first[usable]], index[usable, first[usable]]
        gap = np.abs(everything[rows[usable], m] - everything[k, m])
        E[m - 1], E_star[m - 1] = np.mean(np.maximum(near, gap) / near), np.mean(gap)
    if np.any(E_star <= 0.0):
        raise InvalidInputError(
            "values", "periodic to rounding", "its neighbours never part: E2 has no value"
        )
    return E[1:] / E[:-1], E_star[1:] / E_star[:-1]


@final
@dataclass(frozen=True, eq=False)
class Embedding:
    """A choice of delay coordinates with what it was chosen by.

    Attributes
    ----------
    lag, dimension : int
    theiler : int
        Steps within which two vectors are neighbours in time rather than in space: three lags.
    mutual_information : ndarray, shape (max_lag + 1,)
        In nats; the lag is its first minimum, 1 where successive values are hardly correlated (a map), and
        the first zero of the autocorrelation where there is no minimum.
    false_neighbours : ndarray, shape (max_dimension,)
    cao_e1, cao_e2 : ndarray, shape (max_dimension - 1,); empty where they do not exist
    deterministic : bool or None
        E2 differs from 1 by more than 0.1 somewhere; None where E2 does not exist.
    note : str
        A caveat: a periodic series, or a dimension that no criterion supports. Empty when there is none.
    """

    lag: int
    dimension: int
    theiler: int
    mutual_information: FloatArray
    false_neighbours: FloatArray
    cao_e1: FloatArray
    cao_e2: FloatArray
    deterministic: bool | None
    note: str


def _autocorrelation(series: FloatArray) -> FloatArray:
    """Return the autocorrelation at lags up to half the length, each over the products that exist."""
    n, centred = len(series), series - series.mean()
    products = np.fft.irfft(np.abs(np.fft.rfft(centred, 2 * n)) ** 2)[: n // 2] / np.arange(n, n - n // 2, -1)
    return np.asarray(products / products[0])


def find_period(values: ArrayLike) -> int | None:
    """Return the lag after which the series repeats itself (correlation above 0.995), or None.

    Parameters
    ----------
    values : array_like, shape (n_steps,)
        At least 200 values; periods up to a third of the length are seen.

    Raises
    ------
    InvalidInputError
        When the series is short, constant or not finite.

    Examples
    --------
    >>> find_period(np.sin(2 * np.pi * np.arange(500) / 25))
    25
    """
    series = _checked_series(values)
    correlation = _autocorrelation(series)[: len(series) // 3]
    negative = np.flatnonzero(correlation < 0.0)
    if len(negative) == 0:
        return None
    late = correlation[negative[0] :]
    high = np.flatnonzero(late > 0.995)
    if len(high) == 0:
        return None
    # The top of the first peak, not its flank.
    peak = late[high[0] : high[0] + int(negative[0]) + 1]
    return int(negative[0] + high[0] + np.argmax(peak))


def _first_minimum(series: FloatArray, information: FloatArray) -> int:
    """Return the lag of the first minimum that is no ripple; 1 for a coarse series, else a quarter period."""
    n_lags = len(information)
    correlation = _autocorrelation(series)[:n_lags]
    # A map, or a flow sampled too rarely for a derivative: successive values are as different as any.
    if n_lags < 4 or correlation[1] < 0.5:
        return 1
    for k in range(1, n_lags - 1):
        width = max(1, k // 8)
        window = information[max(0, k - width) : k + width + 1]
        if information[k] == window.min() and information[k] < 0.5 * information[0]:
            return k
    crossing = np.flatnonzero(correlation <= 0.0)
    return int(crossing[0]) if len(crossing) else n_lags - 1


def choose_embedding(values: ArrayLike, *, max_lag: int | None = None, max_dimension: int = 8) -> Embedding:
    """Choose lag and dimension: first minimum of the mutual information, then false neighbours and Cao's E1.

    The dimension is the first with less than 1 % false neighbours; Cao's ratio is reported beside it.

    Parameters
    ----------
    values : array_like, shape (n_steps,)
        At least 200 values.
    max_lag : int, optional
        Default: a tenth of the series, at most 200.
    max_dimension : int, optional
        Default 8.

    Returns
    -------
    Embedding

    Raises
    ------
    InvalidInputError
        When the series is short, constant or not finite.

    Examples
    --------
    >>> from esntools.systems import lorenz63
    >>> choice = choose_embedding(lorenz63().trajectory(5000, dt=0.05)[:, 0])
    >>> choice.lag, choice.dimension, choice.deterministic
    (3, 3, True)

    References
    ----------
    As for `mutual_information`, `false_neighbours` and `cao_ratios`.
    """
    series = _checked_series(values)
    n = len(series)
    max_lag = min(200, n // 10) if max_lag is None else whole_number(max_lag, "max_lag", 0, n // 2 - 1)
    max_dimension = whole_number(max_dimension, "max_dimension", 2)
    information = mutual_information(series, max_lag)
    lag = _first_minimum(series, information)
    lag = max(1, min(lag, (n // 4) // (max_dimension + 1)))
    theiler = 3 * lag
    shares = false_neighbours(series, lag, max_dimension, theiler=theiler)
    period = find_period(series)
    notes = [] if period is None else [f"the series is periodic with a period of about {period} steps"]
    good = np.flatnonzero(shares < 0.01)
    if len(good):
        dimension = int(good[0]) + 1
    else:
        dimension = int(np.argmin(shares)) + 1
        notes.append(f"no dimension up to {max_dimension} has less than 1 % false neighbours: noise, or more")
    e1 = e2 = np.empty(0)
    deterministic = None
    try:
        e1, e2 = cao_ratios(series, lag, max_dimension, theiler=theiler)
        deterministic = bool(np.max(np.abs(e2 - 1.0)) > 0.1)
    except InvalidInputError as error:
        notes.append(f"Cao's ratios do not exist: {error.value}")
    if deterministic is False:
        notes.append("Cao's E2 stays at 1: the next value does not follow from the past, as for noise")
    return Embedding(lag, dimension, theiler, information, shares, e1, e2, deterministic, "; ".join(notes))
