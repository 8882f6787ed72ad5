"""Plots of two attractors side by side, and of what a delay embedding was chosen by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from esntools.plotting.style import BLUE, GREY, INK, LABEL, PALE, RED, TICK, key, new_axes, panels, style

if TYPE_CHECKING:
    from esntools.attractors import AttractorComparison, Holes
    from esntools.embedding import Embedding

__all__ = ["plot_attractor_comparison", "plot_embedding"]

_MOST_POINTS = 6000


def _persistence(ax: Axes, holes: Holes, colour: str, offset: float, marker: str, label: str) -> None:
    rank = np.arange(1, len(holes.persistence) + 1)
    ax.vlines(rank + offset, 0.0, holes.persistence, color=colour, lw=1.2)
    ax.plot(rank + offset, holes.persistence, ls="", marker=marker, ms=4.5, color=colour, label=label)


def plot_attractor_comparison(comparison: AttractorComparison, *, ax: Axes | None = None) -> Axes:
    """Draw both attractors, their correlation sums and the lives of their holes, with the verdict.

    Parameters
    ----------
    comparison : AttractorComparison
    ax : Axes, optional
        New by default.

    Examples
    --------
    >>> from esntools.attractors import compare_attractors
    >>> from esntools.systems import henon
    >>> x = henon().trajectory(4000)
    >>> len(plot_attractor_comparison(compare_attractors(x, x, n_landmarks=100)).child_axes)
    4
    """
    ax = new_axes(ax, (7.0, 4.6))
    ax.set_title(
        f"verdict: {comparison.verdict}" + "".join(f"\n{r}" for r in comparison.reasons[:3]),
        fontsize=LABEL, color=INK if comparison.verdict == "equivalent" else RED, loc="left", pad=18,
    )  # fmt: skip
    boxes = (
        (0.0, 0.56, 0.45, 0.42),
        (0.55, 0.56, 0.45, 0.42),
        (0.0, 0.02, 0.45, 0.36),
        (0.55, 0.02, 0.45, 0.36),
    )
    true_ax, learned_ax, sum_ax, hole_ax = panels(ax, boxes)
    p, q = comparison.true_points, comparison.learned_points
    j = min(1, p.shape[1] - 1)
    if p.shape[1] > 2:
        j = 2
    names = (
        ("s(k)", f"s(k + {(comparison.embedding.lag * j)})") if comparison.embedding else ("x1", f"x{j + 1}")
    )
    for panel, points, colour, title in ((true_ax, p, INK, "true"), (learned_ax, q, BLUE, "learned")):
        shown = points[:: max(1, len(points) // _MOST_POINTS)]
        panel.plot(
            shown[:, 0], shown[:, j], ls="", marker=".", ms=1.2, mew=0.0, color=colour, rasterized=True
        )
        style(panel, x=names[0], y=names[1], title=title, box=True)
    if np.all(np.isfinite(q)) and len(q):
        # One frame for both: a learned attractor elsewhere must look elsewhere.
        for low, high, put in (
            (min(p[:, 0].min(), q[:, 0].min()), max(p[:, 0].max(), q[:, 0].max()), "set_xlim"),
            (min(p[:, j].min(), q[:, j].min()), max(p[:, j].max(), q[:, j].max()), "set_ylim"),
        ):
            pad = 0.04 * (high - low)
            for panel in (true_ax, learned_ax):
                getattr(panel, put)(low - pad, high + pad)
    for found, colour, line, label in (
        (comparison.true_dimension, INK, "-", "true"),
        (comparison.learned_dimension, BLUE, "--", "learned"),
    ):
        if found is None or len(found.log_radius) == 0:
            continue
        value = "" if found.dimension is None else f", slope {found.dimension:.2f}"
        sum_ax.plot(found.log_radius, found.log_sum, line, color=colour, lw=1.0, label=label + value)
        part = found.scaling
        sum_ax.plot(found.log_radius[part], found.log_sum[part], line, color=colour, lw=2.6, alpha=0.5)
    style(sum_ax, x="log radius", y="log correlation sum")
    if sum_ax.lines:
        sum_ax.legend(fontsize=TICK, frameon=False, loc="lower right")
    if comparison.true_holes is not None and comparison.learned_holes is not None:
        for holes, colour, offset, marker, label in (
            (comparison.true_holes, INK, -0.12, "o", "true"),
            (comparison.learned_holes, BLUE, 0.12, "s", "learned"),
        ):
            count = "no clear number" if holes.count is None else f"{holes.count}"
            _persistence(hole_ax, holes, colour, offset, marker, f"{label}: {count}")
        hole_ax.legend(fontsize=TICK, frameon=False, loc="upper right", title="holes", title_fontsize=TICK)
        hole_ax.set_ylim(bottom=0.0)
        style(hole_ax, x="rank", y="life of the hole (sd)")
    else:
        # Empty axes would look like an answer.
        hole_ax.set_axis_off()
        hole_ax.text(0.0, 1.0, "holes: not counted", transform=hole_ax.transAxes, fontsize=TICK, va="top")
    return ax


def plot_embedding(embedding: Embedding, *, ax: Axes | None = None) -> Axes:
    """Draw mutual information against lag, and false neighbours with Cao's E1 against dimension.

    Parameters
    ----------
    embedding : Embedding
    ax : Axes, optional
        New by default.

    Examples
    --------
    >>> from esntools.embedding import choose_embedding
    >>> from esntools.systems import henon
    >>> len(plot_embedding(choose_embedding(henon().trajectory(2000)[:, 0])).child_axes)
    2
    """
    ax = new_axes(ax, (7.0, 2.5))
    left, right = panels(ax, ((0.0, 0.05, 0.44, 0.9), (0.56, 0.05, 0.44, 0.9)))
    shown = min(len(embedding.mutual_information), 6 * embedding.lag + 10)
    left.plot(np.arange(shown), embedding.mutual_information[:shown], color=INK, lw=1.0)
    left.axvline(embedding.lag, color=RED, lw=0.9, ls="--")
    left.annotate(
        f"lag {embedding.lag}", (embedding.lag, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -9),
        textcoords="offset points", fontsize=TICK, color=RED,
    )  # fmt: skip
    style(left, x="lag (steps)", y="mutual information (nats)")
    dimensions = np.arange(1, len(embedding.false_neighbours) + 1)
    right.plot(
        dimensions, embedding.false_neighbours, "o-", color=INK, ms=4, lw=1.0, label="false neighbours"
    )
    if len(embedding.cao_e1):
        right.plot(dimensions[:-1], embedding.cao_e1, "s--", color=BLUE, ms=4, lw=1.0, label="Cao E1")
        right.plot(dimensions[:-1], embedding.cao_e2, "^:", color=GREY, ms=4, lw=1.0, label="Cao E2")
    right.axhline(1.0, color=PALE, lw=0.6, zorder=0)
    right.axvline(embedding.dimension, color=RED, lw=0.9, ls="--")
    right.set_ylim(bottom=0.0)
    style(right, x="dimension", y="share, ratio")
    key(right, ncol=3)
    return ax
