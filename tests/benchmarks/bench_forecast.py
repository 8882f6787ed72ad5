"""How far forecasts hold: Lorenz, Rössler, Mackey-Glass and the laser, several reservoir seeds each.

    python tests/benchmarks/bench_forecast.py [lorenz63 rossler mackey-glass santa-fe-laser] [--seeds 3]

Prints one line per series: valid prediction time over at least 50 held-out windows (error threshold 0.4
standard deviations), and the NRMSE usual for the series.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from esntools.simulation import drive, forecast
from esntools.systems import system
from esntools.training import Fit, fit

# spectral radius, input scaling, bias scaling, leak rate; rows generated, of which the last are held out.
SETTINGS: dict[str, tuple[float, float, float, float, int, int]] = {
    "lorenz63": (0.3, 2.0, 1.0, 0.6, 13_500, 3000),
    "rossler": (0.4, 1.4, 1.4, 0.1, 9000, 3000),
    "mackey-glass": (1.1, 0.44, 0.45, 0.5, 8500, 4500),
    "santa-fe-laser": (0.98, 0.41, 0.23, 0.49, 4000, 800),
}


def series_of(name: str, n_steps: int) -> tuple[np.ndarray, float | None, float | None]:
    if name == "santa-fe-laser":
        from reservoirpy.datasets import santafe_laser

        return np.asarray(santafe_laser(), dtype=float).ravel()[:n_steps], None, None
    found = system(name)
    return found.trajectory(n_steps)[:, found.observable], found.dt, found.lyapunov_exponent


def nrmse_after(found: Fit, series: np.ndarray, n_held: int, horizons: list[int]) -> list[float]:
    """Error / sd of free runs exactly h steps ahead of held-out starts: root mean squares, then medians."""
    states = drive(found.network, series[:, None]).states
    starts = np.linspace(len(series) - n_held, len(series) - max(horizons) - 2, 200).astype(int)
    runs = forecast(found.closed_loop, states[starts], max(horizons)).outputs[:, :, 0]
    sd = series.std()
    # Cut like Fit.holdout_nrmse: a runaway counts ten standard deviations.
    errors = [np.minimum(np.abs(runs[h - 1] - series[starts + h]) / sd, 10.0) for h in horizons]
    return [float(np.sqrt(np.mean(e**2))) for e in errors] + [float(np.median(e)) for e in errors]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--units", type=int, default=None, help="default 500, the laser 300")
    parser.add_argument("--draws", type=int, default=1)
    arguments = parser.parse_args()
    for name in arguments.names:
        n_units = arguments.units or (300 if name == "santa-fe-laser" else 500)
        radius, input_scaling, bias_scaling, leak_rate, n_steps, holdout = SETTINGS[name]
        series, dt, exponent = series_of(name, n_steps)
        horizons = {"mackey-glass": [1, 84], "santa-fe-laser": [1, 10, 50]}.get(name, [1])
        times, errors, one_step, ridges, seconds = [], [], [], [], []
        for seed in range(arguments.seeds):
            start = time.perf_counter()
            found = fit(
                series, n_units=n_units, dt=dt, lyapunov_exponent=exponent, rng=seed,
                n_draws=arguments.draws, holdout=holdout, refit=False, spectral_radius=radius,
                input_scaling=input_scaling, bias_scaling=bias_scaling, leak_rate=leak_rate,
            )  # fmt: skip
            seconds.append(time.perf_counter() - start)
            times.append(found.vpt_steps if found.vpt_lyapunov is None else found.vpt_lyapunov)
            errors.append(nrmse_after(found, series, holdout, horizons))
            one_step.append(found.one_step_nrmse)
            ridges.append(found.ridge)
        every = np.concatenate(times)
        unit = "steps" if dt is None else "Lyapunov times"
        print(
            f"{name}: N = {n_units}, {found.n_train} points fitted, {len(times[0])} windows x "
            f"{arguments.seeds} seeds: VPT mean {every.mean():.2f} {unit}, per seed "
            f"{' '.join(f'{t.mean():.2f}' for t in times)}, worst tenth below {np.quantile(every, 0.1):.2f}; "
            f"one-step NRMSE {np.mean(one_step):.1e}; "
            + ", ".join(
                f"NRMSE{h} {np.mean([e[i] for e in errors]):.1e} "
                f"(median error {np.mean([e[i + len(horizons)] for e in errors]):.1e})"
                for i, h in enumerate(horizons)
            )
            + f"; ridge {' '.join(f'{r:.0e}' for r in ridges)}; {np.mean(seconds):.1f} s per fit",
            flush=True,
        )


if __name__ == "__main__":
    main()
