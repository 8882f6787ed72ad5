"""Plots of Lyapunov spectra: convergence and spectrum, and the angles of covariant vectors."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from esntools.errors import InvalidInputError
from esntools.lyapunov import CovariantVectors, LyapunovSpectrum
from esntools.plotting.style import BLUE, GREY, INK, LABEL, RED, TICK, new_axes, panels, style

__all__ = ["plot_lyapunov", "plot_splitting_angles"]

_LINES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_COLOURS: Final = (RED, BLUE, INK, GREY, BLUE)
# Exponents further below the first than this many times its size would flatten the others' lines.
_NEAR: Final = 6.0


def _shown(spectrum: LyapunovSpectrum) -> int:
    """Return how many of the leading exponents share a scale on which their convergence is seen."""
    values = spectrum.exponents
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return 0
    reach = _NEAR * max(abs(finite[0]), 2.0 * float(np.ptp(spectrum.interval[0])), 1e-12)
    return int(np.sum(finite[: len(_LINES)] >= finite[0] - reach))


def _draw_convergence(ax: Axes, spectrum: LyapunovSpectrum) -> None:
    scale = 1.0 if spectrum.dt is None else spectrum.dt
    time = spectrum.running_steps * scale
    n_shown = _shown(spectrum)
    ax.axhline(0.0, color=INK, lw=0.6)
    heights: list[float] = []
    for i in range(n_shown):
        low, high = spectrum.interval[i]
        # Side by side past the lines' ends: bands behind the lines would run into each other.
        ax.errorbar(
            [time[-1] * (1.03 + 0.03 * i)], [spectrum.exponents[i]],
            yerr=[[spectrum.exponents[i] - low], [high - spectrum.exponents[i]]],
            color=_COLOURS[i], elinewidth=1.0, capsize=2.0, ls="", marker="",
        )  # fmt: skip
        ax.plot(time, spectrum.running_means[:, i], color=_COLOURS[i], ls=_LINES[i], lw=1.2)
        heights += [low, high, *spectrum.running_means[len(time) // 20 :, i]]
    # The first stretches stray far and would set the scale; zero is always in sight.
    bottom, top = min([0.0, *heights]), max([0.0, *heights])
    pad = 0.08 * (top - bottom if n_shown else 1.0)
    ax.set_ylim(bottom - pad, top + pad)
    end = float(time[-1]) * (1.03 + 0.03 * n_shown)
    ax.set_xlim(0.0, end)
    if not n_shown:
        ax.text(0.5 * end, 0.01, "all exponents are −∞", fontsize=TICK, color=INK, ha="center")
        ax.set_yticks([0.0])
    # Names stand beside the lines' ends, from the top down, never on top of each other.
    least = 0.085 * (top - bottom + 2.0 * pad)
    level = np.inf
    for i in range(n_shown):
        level = min(float(spectrum.exponents[i]), level - least)
        ax.annotate(
            f"$\\lambda_{{{i + 1}}}$", (end, level), xytext=(3, 0), textcoords="offset points",
            fontsize=LABEL, color=_COLOURS[i], va="center", annotation_clip=False,
        )  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(4))
    unit = "step" if spectrum.dt is None else "time"
    style(ax, x="steps averaged over" if spectrum.dt is None else "time averaged over",
          y=f"exponents so far (1/{unit})")  # fmt: skip


def _draw_values(ax: Axes, spectrum: LyapunovSpectrum) -> None:
    values = spectrum.exponents
    index = np.arange(1, len(values) + 1)
    finite = np.isfinite(values)
    many = len(values) > 40
    half = np.where(finite, spectrum.interval[:, 1] - np.where(finite, values, 0.0), 0.0)
    ax.axhline(0.0, color=INK, lw=0.6)
    for part, face, colour in ((values > 0.0, RED, RED), (finite & (values <= 0.0), "white", BLUE)):
        ax.errorbar(
            index[part], values[part], yerr=None if many else half[part], ls="", color=colour, mfc=face,
            marker="o", ms=2.2 if many else 4.5, mew=0.6 if many else 1.0, elinewidth=1.0, capsize=2.0,
        )  # fmt: skip
    lost = int(np.sum(~finite))
    if lost:
        at = float(values[finite].min()) if np.any(finite) else -1.0
        ax.plot(index[~finite], np.full(lost, at), ls="", marker="v", color=GREY, ms=4.0)
        ax.annotate(
            f"{lost} at −∞", (index[~finite][0], at), xytext=(0, 6), textcoords="offset points",
            fontsize=TICK, color=INK, ha="left",
        )  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.margins(x=0.06)
    dimension = spectrum.kaplan_yorke
    style(ax, x="index", y=f"exponent ({spectrum.unit})",
          title="" if dimension is None else f"$D_\\mathrm{{KY}}$ = {dimension:.4g}")  # fmt: skip


def plot_lyapunov(spectrum: LyapunovSpectrum, *, ax: Axes | None = None) -> Axes:
    """Draw the convergence of the leading exponents (left) and the spectrum with its error bars (right).

    Parameters
    ----------
    spectrum : LyapunovSpectrum
    ax : Axes, optional
        Divided in two; new by default.

    Raises
    ------
    InvalidInputError
        When the spectrum carries no running means.

    Notes
    -----
    Left: estimates from the first part of the run up to each time, and past their ends the 95 % intervals;
    at most five, and only those of a common scale. Right: positive exponents are filled; error bars are 95 %
    intervals, left out beyond 40 exponents.

    Examples
    --------
    >>> from esntools.lyapunov import lyapunov_spectrum
    >>> from esntools.systems import henon
    >>> plot_lyapunov(lyapunov_spectrum(henon().as_map(), n_steps=200)).get_title()
    ''
    """
    if len(spectrum.running_steps) == 0:
        raise InvalidInputError(
            "spectrum", "no running means", "a convergence plot needs them",
            "use the result of lyapunov_spectrum as it is",
        )  # fmt: skip
    ax = new_axes(ax, (6.0, 2.5))
    left, right = panels(ax, [(0.0, 0.0, 0.46, 1.0), (0.66, 0.0, 0.34, 1.0)])
    _draw_convergence(left, spectrum)
    _draw_values(right, spectrum)
    return ax


def plot_splitting_angles(
    vectors: CovariantVectors, n_leading: int | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the distribution of the least angle between the leading covariant vectors and the others.

    Parameters
    ----------
    vectors : CovariantVectors
    n_leading : int, optional
        By default the number of positive exponents.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When there are not two groups of vectors.

    Examples
    --------
    >>> from esntools.lyapunov import covariant_lyapunov_vectors
    >>> from esntools.systems import henon
    >>> ax = plot_splitting_angles(covariant_lyapunov_vectors(henon().as_map(), n_steps=200, transient=100))
    >>> ax.get_xlabel()
    'least angle (degrees)'
    """
    count = int(np.sum(vectors.exponents > 0.0)) if n_leading is None else n_leading
    angles = np.degrees(vectors.splitting_angles(count))
    ax = new_axes(ax)
    ax.hist(angles, bins=list(np.linspace(0.0, 90.0, 46)), density=True, color=BLUE, ec="white", lw=0.3)
    ax.axvline(float(angles.min()), color=RED, lw=1.0, ls="--")
    ax.text(
        float(angles.min()) + 1.0, 0.97, f"least {angles.min():.2g}°", transform=ax.get_xaxis_transform(),
        fontsize=TICK, color=INK, va="top",
    )  # fmt: skip
    ax.set_xlim(0.0, 90.0)
    ax.set_xticks([0.0, 30.0, 60.0, 90.0])
    style(ax, x="least angle (degrees)", y="density (1/degree)",
          title=f"leading {count} against the others")  # fmt: skip
    return ax
