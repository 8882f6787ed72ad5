"""Forecast a chaotic series and see how the error grows: no faster than chaos itself demands.

The network sees the x coordinate of the Lorenz system alone.
"""

import numpy as np

from esntools.climate import ForecastWindow
from esntools.plotting import plot_forecast
from esntools.systems import lorenz63
from esntools.training import fit

x = lorenz63().trajectory(4000, dt=0.05)[:, 0]
found = fit(
    x[:3500], n_units=200, spectral_radius=0.4, leak_rate=0.4, input_scaling=2.0, bias_scaling=1.0,
    dt=0.05, lyapunov_exponent=0.9056, rng=1,
)  # fmt: skip

truth = x[3500:3800, None]
forecast = found.forecast(len(truth)).outputs
error = np.abs(forecast - truth)[:, 0] / x.std()
valid = float(np.argmax(~(error < 0.4)))
window = ForecastWindow(3500, truth, forecast, np.array([x.std()]), valid, dt=0.05, lyapunov_exponent=0.9056)

plot_forecast(window).figure.savefig("forecast.svg")
print(f"valid for {valid * 0.05 * 0.9056:.1f} Lyapunov times")
