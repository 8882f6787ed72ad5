"""Noise: exit times against the noise, with the slope of the least action, and the path of least action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from esntools.errors import InvalidInputError
from esntools.plotting.style import BLUE, INK, RED, TICK, key, new_axes, panels, style

if TYPE_CHECKING:
    from esntools.excitable.noise import TransitionRates
    from esntools.excitable.noise.action import ActionPath, Actions

__all__ = ["plot_action_path", "plot_transition_rates"]

_MARKS = ("o", "s", "^", "D", "v", "P")


def plot_transition_rates(
    rates: Sequence[TransitionRates],
    actions: Actions | None = None,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw mean waiting times against :math:`1/\eta^2`, on a logarithmic scale (an Arrhenius plot).

    Dots with 95 % intervals are simulated, 1 / rate; lines rise by the least action, from the dot of the
    weakest noise. Simulated times that bend away from their line mean noise too strong for the law.

    Parameters
    ----------
    rates : sequence of TransitionRates
        At several amplitudes, of one landscape.
    actions : Actions, optional
        None by default: no lines.
    pairs : sequence of (int, int), optional
        Edges drawn; by default the six with most switches.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When the rates are none, not of one size, or no switch was seen.

    Examples
    --------
    >>> from esntools.excitable.landscape import find_landscape
    >>> from esntools.excitable.noise import estimate_transition_rates
    >>> from esntools.network import EchoStateNetwork
    >>> space = find_landscape(EchoStateNetwork([[1.5]], leak_rate=0.5), n_random=32)
    >>> rates = [estimate_transition_rates(space, amplitude=eta, n_exits=50) for eta in (0.25, 0.3)]
    >>> plot_transition_rates(rates, pairs=[(0, 1)]).get_yscale()
    'log'
    """
    rates = sorted(rates, key=lambda r: -r.amplitude)
    if not rates or len({len(r.counts) for r in rates}) != 1:
        raise InvalidInputError("rates", f"{len(rates)} result(s)", "must be of one landscape, at least one")
    counts = np.sum([r.counts for r in rates], axis=0)
    if pairs is None:
        order = np.argsort(-counts, axis=None, kind="stable")[:6]
        pairs = [(int(k) // len(counts), int(k) % len(counts)) for k in order if counts.flat[k]]
    if not pairs:
        raise InvalidInputError("rates", "no switch", "at least one must have been seen", "use more noise")
    ax = new_axes(ax, (3.6, 2.8))
    shades = [INK, BLUE, RED]
    for number, (i, j) in enumerate(pairs):
        seen = [r for r in rates if r.rates[i, j] > 0.0]
        if not seen:
            continue
        x = np.array([r.amplitude**-2 for r in seen])
        rate = np.array([r.rates[i, j] for r in seen])
        ends = np.array([r.intervals[i, j] for r in seen])
        colour, mark = shades[number % 3], _MARKS[number % len(_MARKS)]
        ax.errorbar(
            x, 1.0 / rate, yerr=[1.0 / rate - 1.0 / ends[:, 1], 1.0 / ends[:, 0] - 1.0 / rate], ls="",
            marker=mark, ms=4.0, color=colour, mfc="white" if number % 2 else colour, elinewidth=0.8,
            label=f"{i} → {j}",
        )  # fmt: skip
        if actions is not None and np.isfinite(actions.matrix[i, j]):
            line = np.linspace(np.min(x), np.max(x), 2)
            ax.plot(
                line, np.exp(actions.matrix[i, j] * (line - x[-1])) / rate[-1], color=colour, lw=0.8,
                ls="--" if number % 2 else "-", zorder=1,
            )  # fmt: skip
    ax.set_yscale("log")
    style(ax, x="1 / noise amplitude²", y="mean waiting time (steps)")
    key(ax, ncol=3, handlelength=1.0)
    return ax


def plot_action_path(path: ActionPath, *, ax: Axes | None = None) -> Axes:
    """Draw a path of least action: how strong the noise is, and how far the state has come.

    Above, the distance of the state from the attractor as a fraction of that to its end beside the saddle,
    and the distance that is left; below, the size of the noise. Quiet steps at both ends are cut off.

    Parameters
    ----------
    path : ActionPath
    ax : Axes, optional
        New by default; it is divided into two panels.

    Raises
    ------
    InvalidInputError
        When it is no such path.

    Examples
    --------
    >>> from esntools.excitable.noise.action import find_minimal_action
    >>> from esntools.network import EchoStateNetwork
    >>> path = find_minimal_action(EchoStateNetwork([[1.5]], leak_rate=0.5), [0.86], [0.0])
    >>> len(plot_action_path(path).child_axes)
    2
    """
    if not (hasattr(path, "noise") and hasattr(path, "states")):
        raise InvalidInputError(
            "path", type(path).__name__, "must be an ActionPath", "see esntools.find_minimal_action"
        )
    ax = new_axes(ax, (3.6, 3.2))
    upper, lower = panels(ax, [(0.14, 0.52, 0.84, 0.42), (0.14, 0.1, 0.84, 0.32)])
    size = np.linalg.norm(path.noise, axis=1)
    share = np.cumsum(size**2) / np.sum(size**2)
    first = max(0, int(np.searchsorted(share, 1e-4)) - 1)
    last = min(len(size), int(np.searchsorted(share, 1.0 - 1e-6)) + 2)
    steps = np.arange(first, last + 1)
    end = path.states[-1] if path.saddle is None else path.saddle
    whole = float(np.linalg.norm(end - path.states[0]))
    whole = whole if whole > 0.0 else 1.0
    left = np.linalg.norm(path.states - end, axis=1) / whole
    come = np.linalg.norm(path.states - path.states[0], axis=1) / whole
    upper.plot(steps, come[first : last + 1], color=INK, lw=1.2, label="from the attractor")
    name = "to the saddle" if path.saddle is not None else "to the end"
    upper.plot(steps, left[first : last + 1], color=BLUE, lw=1.2, ls="--", label=name)
    style(upper, y="distance")
    upper.set_ylim(bottom=0.0)
    upper.tick_params(labelbottom=False)
    key(upper)
    lower.fill_between(steps[:-1], size[first:last], step="post", color=RED, lw=0.0, alpha=0.85)
    style(lower, x="step", y="noise")
    lower.set_ylim(bottom=0.0)
    lower.text(
        0.02, 0.93, f"action ≤ {path.action:.4g}", transform=lower.transAxes, fontsize=TICK, color=INK,
        ha="left", va="top",
    )  # fmt: skip
    for panel in (upper, lower):
        panel.set_xlim(first, last)
    return ax
