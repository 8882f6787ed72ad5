"""Climate measures against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools.climate import (
    ForecastWindow,
    compare_climate,
    histogram_distance,
    power_spectrum,
    series_lag,
    spectrum_distance,
    successive_maxima,
)
from esntools.errors import InvalidInputError

K = np.arange(4000)


def test_histogram_distance_of_two_valued_series_is_the_closed_form() -> None:
    # p = (1/2, 1/2) and q = (1/4, 3/4): H^2 = 1 - (sqrt(1/8) + sqrt(3/8)).
    a = np.tile([0.0, 1.0, 0.0, 1.0], 50)
    b = np.tile([0.0, 1.0, 1.0, 1.0], 50)
    expected = np.sqrt(1.0 - np.sqrt(1 / 8) - np.sqrt(3 / 8))
    assert histogram_distance(a, b) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(0.1, 4))
def test_distances_are_metrics_in_the_unit_interval(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=300), shift + scale * rng.normal(size=400)
    for distance in (histogram_distance, spectrum_distance):
        there, back = distance(a, b), distance(b, a)
        assert 0.0 <= there <= 1.0
        assert there == pytest.approx(back, abs=1e-12)
        assert distance(a, a) == 0.0


def test_spectrum_peak_is_at_the_frequency_of_a_sine_in_time_units() -> None:
    dt, frequency = 0.05, 1.25
    f, power = power_spectrum(np.sin(2 * np.pi * frequency * dt * K), dt=dt)
    assert f[np.argmax(power)] == pytest.approx(frequency, abs=f[1] - f[0])


def test_spectra_ignore_scale_and_offset() -> None:
    x = np.sin(0.3 * K) + 0.3 * np.sin(0.11 * K)
    assert spectrum_distance(x, 7.0 - 3.0 * x) == pytest.approx(0.0, abs=1e-7)


def test_maxima_are_refined_between_samples() -> None:
    # Sampled coarsely, the largest samples of a cosine miss its height; the parabola does not.
    x = np.cos(0.6 * K[:200] + 0.25)
    peaks = successive_maxima(x)
    assert len(peaks) == 18
    assert np.max(np.abs(peaks - 1.0)) < 3e-3
    assert np.max(np.abs(x[1:-1][(x[1:-1] > x[:-2]) & (x[1:-1] >= x[2:])] - 1.0)) > 3e-2


def test_lag_of_a_sine_is_where_its_cosine_falls_below_three_quarters() -> None:
    assert series_lag(np.sin(2 * np.pi * K / 120)) == int(np.ceil(np.arccos(0.75) / (2 * np.pi) * 120))
    assert series_lag(np.ones(100)) == 1


def test_a_free_run_with_the_same_law_agrees_and_another_does_not() -> None:
    x = np.sin(0.1 * K) + 0.4 * np.sin(0.27 * K)
    assert compare_climate(x[:2500], x[2500:]).agrees
    assert not compare_climate(x[:2500], 0.5 * x[2500:]).agrees
    assert not compare_climate(x[:2500], np.sin(0.4 * K)).agrees


def test_a_free_run_that_leaves_the_range_is_said_so() -> None:
    x = np.sin(0.1 * K)
    run = x[:500].copy()
    run[300:] = np.nan
    climate = compare_climate(x, run)
    assert len(climate.free_run) == 300
    assert not climate.stayed_in_range
    assert not climate.agrees
    assert not compare_climate(x, 20.0 * x).stayed_in_range


def test_error_is_in_standard_deviations_and_lyapunov_time_in_steps() -> None:
    truth = np.zeros((5, 2))
    forecast = np.column_stack([np.full(5, 3.0), np.full(5, 4.0)])
    window = ForecastWindow(0, truth, forecast, np.array([3.0, 2.0]), 0.0, dt=0.05, lyapunov_exponent=0.5)
    np.testing.assert_allclose(window.error, np.sqrt((1.0 + 4.0) / 2.0))
    assert window.lyapunov_time == pytest.approx(40.0)
    assert ForecastWindow(0, truth, forecast, np.ones(2), 0.0, dt=0.05).lyapunov_time is None


@pytest.mark.parametrize("bad", [np.ones(10), np.full(100, np.nan), np.ones((2, 2, 100))])
def test_short_or_broken_series_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InvalidInputError):
        histogram_distance(bad, np.ones(100))
