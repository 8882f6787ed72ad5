"""Plots of verification: how far each rung gets along the spectral radius, and forgetting along an input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.plotting.style import BLUE, GREY, INK, RED, TICK, key, new_axes, style

if TYPE_CHECKING:
    from esntools.certificates import Certified, Inconclusive, Refuted
    from esntools.study.contraction import CertifiedRange
    from esntools.symbolic import Derivation

__all__ = ["plot_contraction", "plot_forgetting"]

_GREEN: Final = "#cdebdf"
_OPEN: Final = "#f4f4f4"
_RUST: Final = "#f6d5c3"
#: Rungs beside each other in one picture.
_ROWS: Final = 8
_SHORT: Final = {
    "perron-weights": "weighted maximum norm (Perron)",
    "spectral-norm": "Euclidean norm",
    "diagonal-schur": "weighted Euclidean norm",
    "incremental-lurie": "quadratic norm (Lur’e)",
    "incremental-lurie, balanced": "quadratic norm, balanced",
    "incremental-lurie, optimal": "quadratic norm, optimal",
    "common-quadratic": "quadratic norm at all vertices",
    "zero-input-multipliers": "multipliers, zero input only",
    "diagonal": "weighted Euclidean norm",
    "spectral": "Euclidean norm",
    "weighted": "weighted maximum norm (Perron)",
}


def _reached(
    verdict: Certified | Refuted | Inconclusive, derivation: Derivation | None
) -> dict[str, tuple[float, float | None]]:
    """Return the critical gain of every rung, and the gain above which it cannot succeed."""
    found = {
        b.name: (float(b.critical_gain), getattr(b, "dual", None))
        for b in verdict.bounds
        if b.critical_gain is not None and 0.0 < b.critical_gain < math.inf and " on " not in b.name
    }
    for bound in () if derivation is None else derivation.bounds:
        words = set(bound.name.lower().replace("-", " ").split())
        gain = bound.critical_gain_value
        known = any(words & set(name.lower().replace("-", " ").split()) for name in found)
        if not known and gain is not None and 0.0 < gain < math.inf:
            found[bound.name] = (float(gain), None)
    return found


def plot_contraction(
    verdict: Certified | Refuted | Inconclusive,
    network: EchoStateNetwork,
    *,
    derivation: Derivation | None = None,
    certified: CertifiedRange | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how far each rung of the ladder gets along the spectral radius that W is scaled to.

    The top row is what certificates say: proved up to the largest certified radius, refuted from the first
    refutation to the last (every one a cross), open where nothing is known. Below it, one bar for each rung
    ends at its critical gain, in floating point; hatched is where it cannot succeed, by a dual bound.

    Parameters
    ----------
    verdict : Certified, Refuted or Inconclusive
        As `certify_esp` returns it.
    network : EchoStateNetwork
        The network that the verdict is about.
    derivation : Derivation, optional
        As `derive` returns it for the network; its bounds are drawn with those of the verdict.
    certified : CertifiedRange, optional
        As `esntools.study.certified_range` returns it; without it, only what the verdict says is shaded.
    ax : Axes, optional
        New by default.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> network = EchoStateNetwork([[0.5]])
    >>> bound = Namespace(name="spectral-norm", value=0.5, proves=True, critical_gain=2.0, dual=2.0)
    >>> verdict = Namespace(bounds=(bound,), proved_gain=1.0, refuted_gain=2.5, verdict="proved")
    >>> [label.get_text() for label in plot_contraction(verdict, network).get_yticklabels()]
    ['certificates', 'Euclidean norm']
    """
    folded = certified is not None and network.W_fb is not None and certified.network.W_fb is None
    if certified is None:
        proved, refuted = verdict.proved_gain, [g for g in (verdict.refuted_gain,) if g is not None]
    else:
        network, proved, refuted = certified.network, certified.proved, list(certified.refuted)
    radius = network.spectral_radius()
    reached = _reached(verdict, derivation)
    names = sorted(reached, key=lambda name: -reached[name][0])[:_ROWS]
    gains = [reached[name][0] for name in names]
    # Refutations far beyond everything else would squeeze it.
    refuted = [g for g in refuted if g <= 4.0 * max(1.0, *gains, 0.0)]
    near = [1.0, *(g for g in gains if g < 3.0), *(g for g in (proved, *refuted) if g is not None)]
    right = 1.12 * max(near) * radius
    if not right > 0.0:
        raise InvalidInputError("plot_contraction", "spectral radius 0", "there is nothing to scale")
    ax = new_axes(ax, (6.3, 0.95 + 0.24 * (len(names) + 1)))

    edge = 0.0 if proved is None else min(proved * radius, right)
    first, last = (right, right) if not refuted else (min(refuted) * radius, max(refuted) * radius)
    for low, high, colour, hatch, word in (
        (0.0, edge, _GREEN, "", "proved"),
        (edge, first, _OPEN, "", "open"),
        (first, last, _RUST, "////", "refuted"),
        (last, right, _OPEN, "", ""),
    ):
        if high - low <= 1e-9 * right and word != "refuted":
            continue
        ec = "#e3a98a" if hatch else "none"
        ax.barh(0.0, high - low, left=low, height=0.86, fc=colour, ec=ec, hatch=hatch, lw=0.0)
        if not word or (word == "refuted" and not refuted):
            continue
        outside = high - low < 0.09 * right
        ax.text(
            high + 0.01 * right if outside else 0.5 * (low + high), -0.62 if outside else 0.0, word,
            ha="center", va="bottom" if outside else "center", fontsize=TICK, color=INK, fontweight="bold",
            bbox={"fc": "white" if hatch else colour, "ec": "none", "pad": 0.8, "alpha": 0.85}, zorder=6,
        )  # fmt: skip
    if proved is not None:
        ax.plot([edge, edge], [-0.43, 0.43], color=INK, lw=1.2)
    if refuted:
        ax.plot(
            [g * radius for g in refuted], np.full(len(refuted), 0.3), "x", color=RED, ms=4.5, mew=1.3, ls=""
        )
    for k, name in enumerate(names, start=1):
        gain, dual = reached[name]
        end = min(gain * radius, right)
        ax.barh(float(k), end, height=0.56, fc="#bcd6e8", ec=BLUE, lw=0.6)
        inside = end >= 0.9 * right
        ax.text(
            end + (-0.008 if inside else 0.008) * right, float(k), f"{gain * radius:.3g}",
            va="center", ha="right" if inside else "left", fontsize=TICK, color=INK,
            bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.8}, zorder=6,
        )  # fmt: skip
        if dual is not None and math.isfinite(dual) and dual * radius < right:
            low = max(dual * radius, end)
            ax.barh(
                float(k), right - low, left=low, height=0.56, fc="none", ec="#d8d8d8", hatch="xxxx", lw=0.0
            )
    ax.axvline(radius, color=INK, lw=0.9, ls=(0, (2, 2)))
    near_right = radius > 0.75 * right
    ax.annotate(
        f"this network, {radius:.3g}", (radius, 1.0), xycoords=ax.get_xaxis_transform(),
        xytext=(-3 if near_right else 3, 3), textcoords="offset points", fontsize=TICK, color=INK,
        ha="right" if near_right else "left", va="bottom",
    )  # fmt: skip
    ax.set_xlim(0.0, right)
    ax.set_ylim(len(names) + 0.6, -0.75)
    ax.set_yticks(range(len(names) + 1), ["certificates", *(_SHORT.get(name, name) for name in names)])
    label = "spectral radius of W" + (", feedback folded in" if folded else "")
    style(ax, x=label, box=False)
    ax.tick_params(axis="y", length=0)
    return ax


def plot_forgetting(
    distances: ArrayLike,
    *,
    rate: float | None = None,
    steps: int | None = None,
    epsilon: float = 1e-6,
    start: int = 0,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw how the differences between trajectories under one input fade, with the proved bound above them.

    The certificate that two states agree to ``epsilon`` from step ``steps`` on says at the same time that

    .. math:: |x_k - y_k| \le \epsilon \, \lambda^{k - \mathrm{steps}}, \qquad k \ge \mathrm{start}.

    Parameters
    ----------
    distances : array_like, shape (n_steps + 1, n_pairs)
        Largest difference over the units, at each step; as `Evidence.distances` has it.
    rate, steps, epsilon : float, int, float, optional
        The proved rate and washout; without them there is no bound to draw.
    start : int
        Step from which the bound holds. Default 0.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When there are no distances.

    Examples
    --------
    >>> ax = plot_forgetting(2.0 * 0.5 ** np.arange(30.0)[:, None], rate=0.6, steps=29)
    >>> ax.get_yscale(), len(ax.get_lines())
    ('log', 3)
    """
    values = np.asarray(distances, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise InvalidInputError("plot_forgetting", f"distances of shape {values.shape}", "must be (n, pairs)")
    ax = new_axes(ax, (6.3, 2.5))
    # Below this the differences are rounding.
    floor = 1e-15
    alive = np.flatnonzero((values > 4.0 * floor).any(axis=1))
    last = len(values) - 1
    shown = min(last, int(alive[-1]) + 10 if alive.size else 10)
    if rate is not None and steps is not None:
        shown = min(last, max(shown, int(1.15 * steps)))
    if steps is not None and shown < steps <= 3 * shown:
        shown = steps
    k = np.arange(len(values))
    drawn = np.where(values > floor, values, np.nan)
    for j, column in enumerate(drawn.T):
        ax.plot(
            k, column, color=BLUE, lw=0.8, alpha=0.7, label="two simulated trajectories" if j == 0 else None
        )
    top = float(np.nanmax(np.where(np.isfinite(drawn), drawn, np.nan), initial=epsilon))
    if rate is not None and steps is not None:
        span = np.arange(start, max(shown, start + 1) + 1)
        bound = epsilon * np.power(rate, span - float(steps))
        ax.plot(
            span, np.minimum(bound, 1e3 * top), color=INK, lw=1.4, label=f"proved: factor {rate:.4g} per step"
        )
        if steps <= shown:
            ax.plot([steps], [epsilon], "o", color=INK, ms=4.5, mfc="white", label=f"proved washout {steps}")
            ax.annotate(
                f"{steps} steps", (steps, epsilon), xytext=(4, 4), textcoords="offset points", fontsize=TICK,
                color=INK,
            )  # fmt: skip
    else:
        ax.axhline(epsilon, color=GREY, lw=0.7, ls=(0, (2, 2)))
    ax.set_yscale("log")
    low = float(np.nanmin(drawn)) if np.isfinite(drawn).any() else floor
    ax.set_ylim(max(floor, 0.3 * min(low, epsilon)), 10.0 * top if rate is None else 30.0 * top)
    ax.set_xlim(0, max(shown, 1))
    style(ax, x="step", y="largest difference", box=False)
    key(ax, ncol=3)
    return ax
