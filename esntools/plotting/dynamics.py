"""Plots of what is proved and measured about the map itself: eigenvalues and the contraction bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.plotting.style import BLUE, GREY, INK, RED, TICK, key, new_axes, style

if TYPE_CHECKING:
    from esntools.certificates import Certified, Inconclusive, Refuted
    from esntools.fixed_points import FixedPoints
    from esntools.symbolic import Derivation

__all__ = ["plot_contraction", "plot_eigenvalues"]

_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLOURS = (RED, BLUE, INK, GREY)


def _eigenvalue_sets(result: Any) -> dict[str, Any]:
    if isinstance(result, EchoStateNetwork):
        return {"eigenvalues of W": np.linalg.eigvals(result.dense_W())}
    if isinstance(result, Mapping):
        return {str(name): np.asarray(values, dtype=np.complex128) for name, values in result.items()}
    return {f"fixed point {i}": np.asarray(point.eigenvalues) for i, point in enumerate(result)}


def plot_eigenvalues(
    result: EchoStateNetwork | FixedPoints | Mapping[str, ArrayLike],
    *,
    reference: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw eigenvalues in the complex plane against the unit circle.

    Parameters
    ----------
    result : EchoStateNetwork, FixedPoints or mapping of str to array_like
        The eigenvalues of W, of the Jacobian at every fixed point, or named sets of eigenvalues.
    reference : array_like, optional
        Eigenvalues to compare with (those of the true system), drawn as large open squares.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When there is no eigenvalue to draw.

    Examples
    --------
    >>> ax = plot_eigenvalues({"rotation": [0.8j, -0.8j]}, reference=[0.81j, -0.81j])
    >>> ax.get_xlabel()
    'real part'
    """
    sets = _eigenvalue_sets(result)
    if not any(np.size(values) for values in sets.values()):
        raise InvalidInputError("plot_eigenvalues", "nothing", "at least one eigenvalue is needed")
    ax = new_axes(ax, (3.4, 3.3))
    ax.axhline(0.0, color="#d9d9d9", lw=0.6, zorder=0)
    ax.axvline(0.0, color="#d9d9d9", lw=0.6, zorder=0)
    ax.add_patch(Circle((0.0, 0.0), 1.0, fc="none", ec=INK, lw=0.9, zorder=1))
    many = max(np.size(values) for values in sets.values()) > 60
    for i, (name, values) in enumerate(sets.items()):
        values = np.asarray(values, dtype=np.complex128)
        outside = np.abs(values) > 1.0
        # Sets that coincide stay visible: each mark is smaller than the one before it.
        size = 2.2 if many else max(4.0, 7.4 - 1.8 * i)
        for part, face in ((values[~outside], "none"), (values[outside], _COLOURS[i % len(_COLOURS)])):
            ax.plot(
                part.real, part.imag, ls="", marker=_MARKS[i % len(_MARKS)], mfc=face,
                mec=_COLOURS[i % len(_COLOURS)] if face == "none" else "white",
                ms=size if face == "none" else size + 1.0,
                mew=0.6 if many else (0.9 if face == "none" else 0.5), zorder=3 + i,
                label=name if (face == "none") != bool(outside.any()) else "_",
            )  # fmt: skip
    if reference is not None:
        true = np.asarray(reference, dtype=np.complex128)
        ax.plot(
            true.real, true.imag, ls="", marker="s", ms=10.5, mfc="none", mec=INK, mew=0.9,
            label="true system", zorder=20,
        )  # fmt: skip
    everything = np.concatenate([np.ravel(np.asarray(v)) for v in sets.values()])
    if reference is not None:
        everything = np.concatenate([everything, np.ravel(np.asarray(reference))])
    left, right = min(-1.0, float(everything.real.min())), max(1.0, float(everything.real.max()))
    height = max(1.0, float(np.abs(everything.imag).max()))
    pad = 0.08 * max(right - left, 2.0 * height)
    ax.set_xlim(left - pad, right + pad)
    ax.set_ylim(-height - pad, height + pad)
    ax.set_aspect("equal")
    style(ax, x="real part", y="imaginary part", box=True)
    key(ax, ncol=2, handlelength=1.0)
    return ax


def plot_contraction(
    verdict: Certified | Refuted | Inconclusive,
    network: EchoStateNetwork,
    *,
    derivation: Derivation | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw each bound on the contraction factor against the spectral radius that W is scaled to.

    A bound below 1 proves the echo state property. The ranges of the spectral radius in which some bound
    proves it (in floating point; a certificate is exact), in which it is refuted, and between them are shaded
    and named; the network's own spectral radius is marked.

    Parameters
    ----------
    verdict : Certified, Refuted or Inconclusive
        As `certify_esp` returns it.
    network : EchoStateNetwork
        The network that the verdict is about.
    derivation : Derivation, optional
        As `derive` returns it for the network; its bounds are drawn with those of the verdict.
    ax : Axes, optional
        New by default.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> network = EchoStateNetwork([[0.5]])
    >>> bound = Namespace(name="spectral norm", value=0.5, proves=True, critical_gain=2.0)
    >>> verdict = Namespace(bounds=(bound,), proved_gain=2.0, refuted_gain=2.5, verdict="proved")
    >>> plot_contraction(verdict, network).get_ylabel()
    'bound on the contraction factor'
    """
    ax = new_axes(ax, (4.4, 2.9))
    radius = network.spectral_radius()
    slowest = 1.0 - float(np.min(network.leak_rate))
    gains = {b.name.replace("-", " "): b.critical_gain for b in verdict.bounds if "on the" not in b.name}
    for bound in () if derivation is None else derivation.bounds:
        # The same norm may come from both sides under names that share a word.
        words = set(bound.name.lower().split())
        if not any(words & set(name.lower().split()) for name in gains):
            gains[bound.name] = bound.critical_gain_value
    drawn = [(name, g * radius) for name, g in gains.items() if g is not None and np.isfinite(g)]
    drawn = sorted(drawn, key=lambda item: -item[1])[:5]
    refuted = verdict.refuted_gain
    known = [g / radius for _, g in drawn] + ([] if verdict.proved_gain is None else [verdict.proved_gain])
    proved = max(known, default=None)
    if refuted is not None and proved is not None:
        proved = min(proved, refuted)
    marks = [radius, *(critical for _, critical in drawn if critical < 3.0 * radius)]
    marks += [g * radius for g in (proved, refuted) if g is not None]
    right = 1.15 * max(marks)
    top = 1.0 + 0.55 * (1.0 - slowest)

    first = 0.0 if proved is None else min(proved * radius, right)
    last = right if refuted is None else min(refuted * radius, right)
    for low, high, colour, hatch, word in (
        (0.0, first, "#cdebdf", "", "proved"),
        (first, last, "#f4f4f4", "", "open"),
        (last, right, "#f6d5c3", "////", "refuted"),
    ):
        if high - low <= 1e-9 * right:
            continue
        ax.axvspan(low, high, fc=colour, ec="#e3a98a" if hatch else "none", hatch=hatch, lw=0.0, zorder=0)
        narrow = high - low < 0.16 * right
        ax.text(
            0.5 * (low + high), 0.985, word, transform=ax.get_xaxis_transform(), ha="center", va="top",
            fontsize=TICK, color=INK, rotation=90 if narrow else 0, fontweight="bold",
            bbox={"fc": "white", "ec": "none", "pad": 1.0, "alpha": 0.75},
        )  # fmt: skip
    ax.axhline(1.0, color=INK, lw=0.9)
    lines = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    colours = (BLUE, RED, INK, "#5f5f5f")
    for i, (name, critical) in enumerate(drawn):
        # Every such bound is affine in the gain, (1 - a) + a L |g W|, and equals 1 at the critical gain.
        slope = (1.0 - slowest) / critical
        end = min(right, (top - slowest) / slope)
        ax.plot(
            [0.0, end], [slowest, slowest + slope * end], color=colours[i % len(colours)],
            ls=lines[i % len(lines)], lw=1.3, label=f"{name} ({critical:.3g})",
        )  # fmt: skip
        if critical < right:
            ax.plot([critical], [1.0], "o", ms=3.5, color=colours[i % len(colours)], zorder=4)
    ax.axvline(radius, color=INK, lw=0.9, ls=(0, (2, 2)))
    near_right = radius > 0.55 * right
    ax.annotate(
        f"this network, {radius:.3g}", (radius, 0.03), xycoords=ax.get_xaxis_transform(),
        xytext=(-4 if near_right else 4, 0), textcoords="offset points", fontsize=TICK, color=INK,
        ha="right" if near_right else "left", bbox={"fc": "white", "ec": "none", "pad": 1.0, "alpha": 0.75},
    )  # fmt: skip
    ax.set_xlim(0.0, right)
    ax.set_ylim(slowest - 0.04 * (1.0 - slowest), top)
    style(ax, x="spectral radius of W", y="bound on the contraction factor", box=True)
    if drawn:
        key(ax, ncol=2)
    return ax
