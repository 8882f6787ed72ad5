"""Whether a free run has the climate of the data: where it goes, at which frequencies, and in what order.

A forecast of a chaotic system fails after a few Lyapunov times whatever the model; what can still be right
is the statistics of the attractor. Every measure here is a distance between a free run and the data, and
comes with a yardstick: the same distance between the two halves of the data itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import welch

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError

__all__ = [
    "Climate",
    "ForecastWindow",
    "compare_climate",
    "histogram_distance",
    "power_spectrum",
    "series_lag",
    "spectrum_distance",
    "successive_maxima",
]

_MIN_LENGTH: Final = 64


@final
@dataclass(frozen=True, eq=False)
class ForecastWindow:
    """One free-running forecast beside what happened.

    Parameters
    ----------
    start : int
        Row of the series at which the forecast begins.
    truth, forecast : ndarray, shape (n_steps, n_outputs)
        What happened, and what the closed loop said without seeing it.
    scale : ndarray, shape (n_outputs,)
        Standard deviation of the training data; errors are measured in it.
    valid_steps : float
        Steps until the error first exceeded `threshold` (n_steps when it never did).
    threshold : float
        In standard deviations.
    dt : float, optional
        Sampling interval.
    lyapunov_exponent : float, optional
        Leading exponent of the system, in 1/time; with `dt` it makes the time axis count Lyapunov times.
    """

    start: int
    truth: FloatArray
    forecast: FloatArray
    scale: FloatArray
    valid_steps: float
    threshold: float = 0.4
    dt: float | None = None
    lyapunov_exponent: float | None = None

    @property
    def error(self) -> FloatArray:
        """Root-mean-square error over the outputs, in standard deviations, shape (n_steps,)."""
        return np.asarray(np.sqrt(np.mean(((self.forecast - self.truth) / self.scale) ** 2, axis=1)))

    @property
    def lyapunov_time(self) -> float | None:
        """Steps in one Lyapunov time, or None where the exponent or dt is unknown."""
        if not self.dt or not self.lyapunov_exponent or self.lyapunov_exponent <= 0.0:
            return None
        return 1.0 / (self.dt * self.lyapunov_exponent)


@final
@dataclass(frozen=True, eq=False)
class Climate:
    """A free run compared with data; every distance is a Hellinger distance in [0, 1], 0 means equal.

    Parameters
    ----------
    data, free_run : ndarray, shape (n_steps,)
        The observed series and the network's own, first output.
    dt : float, optional
        Sampling interval (None: one step).
    lag : int
        Delay in steps at which the series is embedded for plots (see `series_lag`).
    histogram_distance, spectrum_distance : float
        Between free run and data.
    histogram_yardstick, spectrum_yardstick : float
        The same distance between the first and the second half of the data.
    maxima_data, maxima_free_run : ndarray, shape (n_maxima,)
        Successive local maxima, the points of the return map.
    stayed_in_range : bool
        Whether the free run stayed within one width of the data's range on either side.
    """

    data: FloatArray
    free_run: FloatArray
    dt: float | None
    lag: int
    histogram_distance: float
    histogram_yardstick: float
    spectrum_distance: float
    spectrum_yardstick: float
    maxima_data: FloatArray
    maxima_free_run: FloatArray
    stayed_in_range: bool

    @property
    def agrees(self) -> bool:
        """Whether both distances are at most twice the data's own half-to-half distance plus 0.05."""
        return (
            self.stayed_in_range
            and self.histogram_distance <= 2.0 * self.histogram_yardstick + 0.05
            and self.spectrum_distance <= 2.0 * self.spectrum_yardstick + 0.05
        )


def _series(values: ArrayLike, place: str) -> FloatArray:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim == 2 and series.shape[1] >= 1:
        series = series[:, 0]
    if series.ndim != 1 or len(series) < _MIN_LENGTH:
        raise InvalidInputError(
            place, f"shape {np.shape(values)}", f"must be a series of at least {_MIN_LENGTH} values"
        )
    if not np.all(np.isfinite(series)):
        raise InvalidInputError(place, "a NaN or an infinity", "every value must be finite")
    return series


def _hellinger(p: FloatArray, q: FloatArray) -> float:
    p_sum, q_sum = p.sum(), q.sum()
    if p_sum <= 0.0 or q_sum <= 0.0:
        return 0.0 if p_sum == q_sum else 1.0
    # 1 - sum sqrt(p q) cancels for nearly equal histograms; half the squared difference of roots does not.
    return float(np.sqrt(min(1.0, 0.5 * np.sum((np.sqrt(p / p_sum) - np.sqrt(q / q_sum)) ** 2))))


def histogram_distance(a: ArrayLike, b: ArrayLike, *, n_bins: int = 40) -> float:
    r"""Return the Hellinger distance between the histograms of two series.

    .. math:: H = \sqrt{1 - \sum_i \sqrt{p_i q_i}}

    over `n_bins` equal bins of the two series' common range; 0 for equal histograms, 1 for disjoint ones.

    Raises
    ------
    InvalidInputError
        When a series is shorter than 64 values or has a value that is not finite.

    Examples
    --------
    >>> x = np.sin(0.1 * np.arange(500))
    >>> histogram_distance(x, x), histogram_distance(x, x + 5.0)
    (0.0, 1.0)
    """
    x, y = _series(a, "a"), _series(b, "b")
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    if low == high:
        return 0.0
    edges = np.linspace(low, high, n_bins + 1)
    return _hellinger(
        np.histogram(x, edges)[0].astype(np.float64), np.histogram(y, edges)[0].astype(np.float64)
    )


def _segment(n: int) -> int:
    """Welch segment length: at least eight segments, a power of two, never more than 1024 steps."""
    return int(min(1024, max(32, 2 ** int(np.log2(max(32, n // 4))))))


def power_spectrum(
    values: ArrayLike, *, dt: float | None = None, segment: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return frequencies (1/time, or 1/step without `dt`) and power density by Welch's method, mean removed.

    Raises
    ------
    InvalidInputError
        When the series is shorter than 64 values or has a value that is not finite.

    Examples
    --------
    >>> frequency, power = power_spectrum(np.sin(2 * np.pi * 0.125 * np.arange(1024)))
    >>> float(frequency[np.argmax(power)])
    0.125

    References
    ----------
    P. Welch, IEEE Trans. Audio Electroacoust. 15 (1967) 70, doi:10.1109/TAU.1967.1161901.
    """
    series = _series(values, "values")
    n = min(segment or _segment(len(series)), len(series))
    frequency, power = welch(series - series.mean(), fs=1.0 / (dt or 1.0), nperseg=n)
    return np.asarray(frequency[1:], dtype=np.float64), np.asarray(power[1:], dtype=np.float64)


def spectrum_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Return the Hellinger distance between two series' power spectra, each normalised to sum 1.

    Disjoint spectra have distance 1.

    Raises
    ------
    InvalidInputError
        When a series is shorter than 64 values or has a value that is not finite.

    Examples
    --------
    >>> k = np.arange(2048)
    >>> slow, fast = np.sin(2 * np.pi * k / 64), np.sin(2 * np.pi * k / 4)
    >>> spectrum_distance(slow, slow), round(spectrum_distance(slow, fast), 2)
    (0.0, 1.0)
    """
    x, y = _series(a, "a"), _series(b, "b")
    segment = _segment(min(len(x), len(y)))
    return _hellinger(power_spectrum(x, segment=segment)[1], power_spectrum(y, segment=segment)[1])


def successive_maxima(values: ArrayLike) -> FloatArray:
    """Return the local maxima of a series in order, each refined by the parabola through three points.

    Raises
    ------
    InvalidInputError
        When the series is shorter than 64 values or has a value that is not finite.

    Examples
    --------
    >>> successive_maxima(np.cos(0.37 * np.arange(100))).round(2)
    array([1., 1., 1., 1., 1.])
    """
    x = _series(values, "values")
    middle, before, after = x[1:-1], x[:-2], x[2:]
    peak = np.flatnonzero((middle > before) & (middle >= after))
    curvature = before[peak] - 2.0 * middle[peak] + after[peak]
    return np.asarray(middle[peak] - (after[peak] - before[peak]) ** 2 / (8.0 * curvature))


def series_lag(values: ArrayLike) -> int:
    """Return a delay for plotting: where the autocorrelation first falls below 0.75 (at least one step).

    Raises
    ------
    InvalidInputError
        When the series is shorter than 64 values or has a value that is not finite.

    Examples
    --------
    >>> series_lag(np.sin(2 * np.pi * np.arange(1000) / 60))
    7
    """
    x = _series(values, "values")
    x = x - x.mean()
    n = len(x)
    power = np.abs(np.fft.rfft(x, 2 * n)) ** 2
    correlation = np.fft.irfft(power)[: n // 4]
    if correlation[0] <= 0.0:
        return 1
    below = np.flatnonzero(correlation < 0.75 * correlation[0])
    return int(max(1, below[0])) if len(below) else max(1, n // 40)


def compare_climate(data: ArrayLike, free_run: ArrayLike, *, dt: float | None = None) -> Climate:
    """Compare a free run with data (first column of each) and return every measure with its yardstick.

    Rows of the free run from the first NaN on (where it left the data's range) are dropped.

    Parameters
    ----------
    data, free_run : array_like, shape (n_steps,) or (n_steps, n_outputs)
        At least 128 values of data and 64 of the free run.
    dt : float, optional
        Sampling interval.

    Raises
    ------
    InvalidInputError
        When a series is too short or the data has a value that is not finite.

    Examples
    --------
    >>> x = np.sin(0.1 * np.arange(4000)) + 0.1 * np.sin(0.027 * np.arange(4000))
    >>> climate = compare_climate(x[:2000], x[2000:])
    >>> climate.agrees, climate.stayed_in_range
    (True, True)
    """
    run = np.asarray(free_run, dtype=np.float64)
    run = run[:, 0] if run.ndim == 2 else run
    finite = np.isfinite(run)
    stayed = bool(np.all(finite))
    if not stayed:
        run = run[: int(np.argmin(finite))]
    observed, run = _series(data, "data"), _series(run, "free_run")
    half = len(observed) // 2
    first, second = observed[:half], observed[half:]
    width = observed.max() - observed.min()
    inside = run.min() >= observed.min() - width and run.max() <= observed.max() + width
    return Climate(
        data=observed, free_run=run, dt=dt, lag=series_lag(observed),
        histogram_distance=histogram_distance(observed, run),
        histogram_yardstick=histogram_distance(first, second),
        spectrum_distance=spectrum_distance(observed, run),
        spectrum_yardstick=spectrum_distance(first, second),
        maxima_data=successive_maxima(observed), maxima_free_run=successive_maxima(run),
        stayed_in_range=bool(stayed and inside),
    )  # fmt: skip
