"""Plots of what a fitted network does: forecast, climate, and how the fit was chosen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.climate import Climate, ForecastWindow, power_spectrum
from esntools.errors import InvalidInputError
from esntools.plotting.style import BLUE, GREY, INK, PALE, RED, TICK, key, new_axes, panels, style

if TYPE_CHECKING:
    from esntools.study.findings import TaskRun
    from esntools.training import Fit

__all__ = [
    "plot_attractor",
    "plot_error_growth",
    "plot_forecast",
    "plot_return_map",
    "plot_ridge",
    "plot_spectrum",
    "plot_task",
    "plot_vpt",
]

# Enough for the shape of an attractor; more only makes the file larger.
_MAX_LINE = 3000
_MAX_DOTS = 500


def _clock(window: ForecastWindow) -> tuple[FloatArray, float, str]:
    """Return the time axis of a window, the length of one step on it, and its label."""
    k = np.arange(len(window.truth), dtype=np.float64)
    if window.lyapunov_time is not None:
        return k / window.lyapunov_time, 1.0 / window.lyapunov_time, "time in Lyapunov times"
    if window.dt:
        return k * window.dt, window.dt, "time"
    return k, 1.0, "steps"


def _draw_error(ax: Axes, window: ForecastWindow) -> None:
    time, step, label = _clock(window)
    error = np.where(window.error > 0.0, window.error, np.nan)
    ax.semilogy(time, error, color=RED, lw=1.1)
    finite = error[np.isfinite(error)]
    low = max(float(finite.min()), 1e-8) if len(finite) else 1e-3
    high = max(float(finite.max()), 2.0) if len(finite) else 2.0
    ax.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    ax.set_xlim(time[0], time[-1] + step)
    ax.axhline(window.threshold, color=INK, lw=0.8, ls=":")
    ax.text(
        0.015, window.threshold * 1.25, f"{window.threshold:g} sd", fontsize=TICK, color=INK, va="bottom",
        transform=ax.get_yaxis_transform(),
    )  # fmt: skip
    valid = window.valid_steps * step
    if window.valid_steps < len(time):
        ax.axvline(valid, color=INK, lw=0.8, ls="--")
    if window.lyapunov_time is not None and len(finite) and valid > 1.5:
        # The slope that the system itself forces on any small error.
        start = float(np.nanmedian(error[: max(3, int(0.5 / step))]))
        end = min(valid, time[-1])
        end = min(end, math.log(max(window.threshold / start, 1.1)))
        ax.plot([0.0, end], [start, start * math.exp(end)], color=BLUE, lw=1.0, ls="-.")
        middle = 0.55 * end
        ax.annotate(
            "slope $e^{\\lambda_1 t}$", (middle, start * math.exp(middle)), xytext=(6, -7),
            textcoords="offset points", fontsize=TICK, color=BLUE, va="top",
        )  # fmt: skip
    style(ax, x=label, y="error (sd)")


def plot_error_growth(window: ForecastWindow, *, ax: Axes | None = None) -> Axes:
    """Draw the error of a forecast against time, logarithmically, with its threshold.

    Where the system's leading exponent is known, the growth that it predicts for a small error is drawn too.

    Parameters
    ----------
    window : ForecastWindow
    ax : Axes, optional
        New ones by default, on a figure that is not registered with pyplot.

    Examples
    --------
    >>> truth = np.zeros((50, 1))
    >>> forecast = 0.01 * np.exp(0.1 * np.arange(50))[:, None]
    >>> window = ForecastWindow(0, truth, forecast, np.ones(1), 37.0)
    >>> plot_error_growth(window).get_yscale()
    'log'
    """
    ax = new_axes(ax, (3.4, 2.0))
    _draw_error(ax, window)
    return ax


def plot_forecast(window: ForecastWindow, *, n_steps: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw a free-running forecast over what happened, and below it the growth of its error.

    Parameters
    ----------
    window : ForecastWindow
        The first output is drawn.
    n_steps : int, optional
        Steps to show; more where the forecast stays valid for longer. All by default.
    ax : Axes, optional
        Divided into two panels (its ``child_axes``); new by default.

    Examples
    --------
    >>> truth = np.sin(0.3 * np.arange(50))[:, None]
    >>> ax = plot_forecast(ForecastWindow(0, truth, truth + 1e-3, np.ones(1), 50.0))
    >>> len(ax.child_axes)
    2
    """
    ax = new_axes(ax, (6.3, 3.1))
    if n_steps is not None:
        shown = max(n_steps, math.ceil(1.5 * window.valid_steps))
        window = replace(window, truth=window.truth[:shown], forecast=window.forecast[:shown])
    upper, lower = panels(ax, [(0.0, 0.46, 1.0, 0.54), (0.0, 0.0, 1.0, 0.38)])
    time, step, label = _clock(window)
    unit = "time units" if label == "time" else label.removeprefix("time in ")
    upper.plot(time, window.truth[:, 0], color=PALE, lw=2.8, label="what happened", solid_capstyle="round")
    upper.plot(time, window.forecast[:, 0], color=RED, lw=1.1, ls=(0, (4, 1.2)), label="forecast")
    truth = window.truth[:, 0]
    pad = 0.15 * (truth.max() - truth.min() or 1.0)
    upper.set_ylim(truth.min() - pad, truth.max() + pad)
    upper.set_xlim(time[0], time[-1] + step)
    valid = window.valid_steps * step
    if window.valid_steps < len(time):
        upper.axvline(valid, color=INK, lw=0.8, ls="--")
        right = valid > 0.6 * time[-1]
        upper.annotate(
            f"valid for {valid:.3g} {unit}", (valid, 1.0), xycoords=("data", "axes fraction"),
            xytext=(-3 if right else 3, 2), textcoords="offset points", fontsize=TICK, color=INK,
            ha="right" if right else "left", va="bottom",
        )  # fmt: skip
    style(upper, y="value")
    upper.tick_params(labelbottom=False)
    # The key keeps out of the way of the label above the dashed line.
    early = valid < 0.5 * time[-1]
    key(upper, loc="lower right" if early else "lower left", bbox_to_anchor=(1.0 if early else 0.0, 1.0))
    _draw_error(lower, window)
    return ax


def plot_attractor(climate: Climate, *, ax: Axes | None = None) -> Axes:
    """Draw the delay-embedded data beside the delay-embedded free run, on equal axes.

    Parameters
    ----------
    climate : Climate
    ax : Axes, optional
        Divided into two panels (its ``child_axes``); new by default.

    Examples
    --------
    >>> from esntools.climate import compare_climate
    >>> x = np.sin(0.1 * np.arange(600))
    >>> len(plot_attractor(compare_climate(x, x)).child_axes)
    2
    """
    ax = new_axes(ax, (6.3, 3.0))
    both = panels(ax, [(0.0, 0.0, 0.47, 1.0), (0.53, 0.0, 0.47, 1.0)])
    low, high = climate.data.min(), climate.data.max()
    pad = 0.08 * (high - low or 1.0)
    unit = "steps" if climate.dt is None else "time units"
    delay = climate.lag * (climate.dt or 1.0)
    for panel, values, colour, title in zip(
        both, (climate.data, climate.free_run), (INK, RED), ("data", "network, running freely")
    ):
        part = values[:_MAX_LINE]
        lag = min(climate.lag, len(part) - 1)
        panel.plot(part[lag:], part[: len(part) - lag], color=colour, lw=0.45, alpha=0.8)
        panel.set_xlim(low - pad, high + pad)
        panel.set_ylim(low - pad, high + pad)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.yaxis.set_major_locator(MaxNLocator(5))
        style(panel, x="$y(t)$", title=title, box=True)
    both[0].set_ylabel(f"$y(t - {delay:.3g})$  [{unit}]", fontsize=9)
    both[1].tick_params(labelleft=False)
    return ax


def plot_return_map(climate: Climate, *, ax: Axes | None = None) -> Axes:
    """Draw each local maximum against the one before it: data as discs, the free run as crosses.

    Parameters
    ----------
    climate : Climate
    ax : Axes, optional
        New by default.

    Examples
    --------
    >>> from esntools.climate import compare_climate
    >>> x = np.sin(0.1 * np.arange(600))
    >>> plot_return_map(compare_climate(x, x)).get_xlabel()
    'maximum'
    """
    ax = new_axes(ax, (3.1, 3.0))
    seen, run = climate.maxima_data[: _MAX_DOTS + 1], climate.maxima_free_run[: _MAX_DOTS + 1]
    ax.plot(seen[:-1], seen[1:], "o", ms=3.6, mfc="#d0d0d0", mec=GREY, mew=0.3, label="data")
    ax.plot(run[:-1], run[1:], "x", ms=3.0, mec=RED, mew=0.8, label="network")
    style(ax, x="maximum", y="next maximum", box=True)
    if len(climate.maxima_data) < 2:
        ax.text(
            0.5, 0.5, "no maxima to compare", ha="center", va="center", transform=ax.transAxes, fontsize=TICK
        )
    else:
        key(ax, handlelength=1.0)
    return ax


def plot_spectrum(climate: Climate, *, ax: Axes | None = None) -> Axes:
    """Draw the power spectra (Welch) of the data and of the free run.

    Parameters
    ----------
    climate : Climate
    ax : Axes, optional
        New by default.

    Examples
    --------
    >>> from esntools.climate import compare_climate
    >>> x = np.sin(0.1 * np.arange(600))
    >>> plot_spectrum(compare_climate(x, x)).get_yscale()
    'log'
    """
    ax = new_axes(ax, (3.4, 2.6))
    top = 0.0
    for values, colour, line, width, label in (
        (climate.data, PALE, "-", 2.6, "data"),
        (climate.free_run, RED, (0, (4, 1.2)), 1.1, "network"),
    ):
        frequency, power = power_spectrum(values, dt=climate.dt)
        ax.semilogy(frequency, power, color=colour, ls=line, lw=width, label=label)
        top = max(top, float(power.max()))
    # Beyond eight decades below the peak there is only rounding and windowing.
    low, _ = ax.get_ylim()
    ax.set_ylim(max(low, top * 1e-8), top * 4.0)
    ax.set_xlim(left=0.0)
    style(ax, x="frequency (1/step)" if climate.dt is None else "frequency (1/time)", y="power density")
    key(ax)
    return ax


def plot_vpt(fit: Fit | ArrayLike, *, unit: str = "steps", ax: Axes | None = None) -> Axes:
    """Draw the distribution of valid prediction times over the forecast windows.

    Parameters
    ----------
    fit : Fit or array_like, shape (n_windows,)
        A fit (Lyapunov times where its system is known), or the times themselves in `unit`.
    unit : str
        What the times are measured in when they are given as an array.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When there is no window.

    Examples
    --------
    >>> plot_vpt([7.0, 8.5, 9.0, 9.2, 11.0], unit="Lyapunov times").get_xlabel()
    'valid prediction time (Lyapunov times)'
    """
    times: Any = fit
    if hasattr(times, "vpt_steps"):
        unit = "steps" if times.vpt_lyapunov is None else "Lyapunov times"
        times = times.vpt_steps if times.vpt_lyapunov is None else times.vpt_lyapunov
    values = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if values.ndim != 1 or len(values) == 0:
        raise InvalidInputError("plot_vpt", f"shape {values.shape}", "at least one window is needed")
    ax = new_axes(ax, (3.4, 2.2))
    n_bins = int(np.clip(np.sqrt(len(values)) * 1.6, 3, 20))
    top = float(values.max()) or 1.0
    counts, edges = np.histogram(values, np.linspace(0.0, top * 1.0001, n_bins + 1))
    ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color="#d9d9d9", ec=GREY, lw=0.6)
    ax.plot(values, np.full(len(values), -0.045 * counts.max()), "|", color=INK, ms=5, mew=0.6, clip_on=False)
    mean, worst = float(values.mean()), float(np.quantile(values, 0.1))
    ax.set_ylim(-0.09 * counts.max(), 1.35 * counts.max())
    ax.axvline(mean, color=RED, lw=1.3)
    ax.axvline(worst, ymax=0.95, color=INK, lw=1.0, ls="--")
    high = ax.get_ylim()[1]
    for value, text, line, colour, leftwards in (
        (mean, f"mean {mean:.3g}", 1.0, RED, mean > 0.75 * top),
        (worst, f"worst tenth {worst:.3g}", 0.93, INK, worst > 0.35 * top),
    ):
        ax.annotate(
            text, (value, line * high), xytext=(-3 if leftwards else 3, 0), textcoords="offset points",
            fontsize=TICK, ha="right" if leftwards else "left", va="top", color=colour,
        )  # fmt: skip
    ax.set_xlim(0.0, top * 1.06)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    style(ax, x=f"valid prediction time ({unit})", y="windows")
    return ax


def plot_ridge(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Draw how the ridge penalty was chosen: one-step error above, closed-loop window score below.

    Parameters
    ----------
    fit : Fit
    ax : Axes, optional
        Divided into two panels (its ``child_axes``); new by default.

    Raises
    ------
    InvalidInputError
        When the fit tried no penalty.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> path = [Namespace(ridge=10.0**-k, loo_error=0.1, window_score=abs(k - 6)) for k in range(9)]
    >>> len(plot_ridge(Namespace(ridge_path=path, ridge=1e-6)).child_axes)
    2
    """
    if len(fit.ridge_path) == 0:
        raise InvalidInputError("plot_ridge", "an empty ridge path", "at least one penalty must be tried")
    ax = new_axes(ax, (3.4, 2.8))
    upper, lower = panels(ax, [(0.0, 0.55, 1.0, 0.45), (0.0, 0.0, 1.0, 0.45)])
    order = np.argsort([trial.ridge for trial in fit.ridge_path])
    ridge = np.array([fit.ridge_path[i].ridge for i in order], dtype=np.float64)
    for panel, name, colour, mark, label in (
        (upper, "loo_error", INK, "o", "one-step error\n(leave-one-out)"),
        (lower, "window_score", RED, "s", "free-run error\n(windows)"),
    ):
        values = np.array([_or_nan(getattr(fit.ridge_path[i], name)) for i in order])
        shown = np.isfinite(values)
        panel.plot(ridge[shown], values[shown], color=colour, marker=mark, ms=3.5, lw=1.0)
        panel.set_xscale("log")
        positive = values[shown & (values > 0.0)]
        if len(positive) and positive.max() > 5.0 * positive.min():
            panel.set_yscale("log")
        panel.axvline(fit.ridge, color=GREY, lw=0.9, ls="--")
        style(panel, y=label)
        panel.yaxis.label.set_fontsize(TICK)
        panel.minorticks_off()
    upper.tick_params(labelbottom=False)
    upper.set_xlim(lower.get_xlim())
    upper.annotate(
        "chosen", (fit.ridge, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 1),
        textcoords="offset points", ha="center", va="bottom", fontsize=TICK, color=INK,
    )  # fmt: skip
    lower.set_xlabel("ridge penalty", fontsize=9)
    return ax


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def plot_task(run: TaskRun, *, n_steps: int = 400, ax: Axes | None = None) -> Axes:
    """Draw pulses, target and output of a network at its task, one panel for each output.

    Parameters
    ----------
    run : TaskRun
    n_steps : int
        Steps to show, from the first.
    ax : Axes, optional
        Divided into one panel per output (its ``child_axes``); new by default.

    Examples
    --------
    >>> from esntools.study.findings import TaskRun
    >>> square = np.sign(np.sin(0.1 * np.arange(100)) + 0.01)[:, None]
    >>> len(plot_task(TaskRun(np.zeros((100, 1)), square, 0.9 * square, 0.0, 0.1)).child_axes)
    1
    """
    n_outputs = run.target.shape[1]
    ax = new_axes(ax, (6.3, 0.5 + 0.95 * n_outputs))
    gap = 0.12 / n_outputs
    height = (1.0 - gap * (n_outputs - 1)) / n_outputs
    boxes = [(0.0, 1.0 - (i + 1) * height - i * gap, 1.0, height) for i in range(n_outputs)]
    k = np.arange(min(n_steps, len(run.target)))
    for i, panel in enumerate(panels(ax, boxes)):
        target, output = run.target[k, i], run.output[k, i]
        panel.plot(k, target, color=PALE, lw=2.8, label="target", drawstyle="steps-post")
        panel.plot(k, output, color=RED, lw=1.0, ls=(0, (4, 1.2)), label="network")
        if i < run.u.shape[1]:
            at = np.flatnonzero(run.u[k, i])
            panel.vlines(at, 0.0, run.u[at, i], color=INK, lw=1.1, label="pulse")
        panel.set_xlim(0, len(k))
        span = 1.25 * max(1.0, float(np.abs(target).max()), float(np.quantile(np.abs(output), 0.99)))
        panel.set_ylim(-span, span)
        style(panel, y=f"line {i}", x="steps" if i == n_outputs - 1 else "")
        panel.tick_params(labelbottom=i == n_outputs - 1)
        if i == 0:
            key(panel, ncol=3)
    return ax
