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
    from esntools.study.contraction import CertifiedRange
    from esntools.symbolic import Derivation

__all__ = ["plot_contraction", "plot_eigenvalues"]

_FAR = 3.0
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
    own = ax is None
    ax = new_axes(ax, (4.6, 2.75))
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
    # One far value would shrink the circle to a dot; it is named at the edge instead.
    left, right = max(-_FAR, min(-1.0, float(everything.real.min()))), min(_FAR, float(everything.real.max()))
    right = max(1.0, right)
    height = min(_FAR, max(1.0, float(np.abs(everything.imag).max())))
    pad = 0.08 * max(right - left, 2.0 * height)
    for outwards in (True, False):
        beyond = everything[everything.real > right] if outwards else everything[everything.real < left]
        if len(beyond) == 0:
            continue
        edge = right + 0.7 * pad if outwards else left - 0.7 * pad
        at = np.clip(beyond.imag, -height, height)
        ax.plot(
            np.full(len(at), edge), at, ls="", color=INK, ms=4.5, marker=">" if outwards else "<", zorder=30
        )
        far = float(beyond.real.max() if outwards else beyond.real.min())
        ax.annotate(
            f"{'up ' if outwards else 'down '}to {far:.3g}" if len(beyond) > 1 else f"{far:.3g}",
            (edge, float(at.max())), xytext=(3 if outwards else -3, 4), textcoords="offset points",
            fontsize=TICK, color=INK, ha="right" if outwards else "left", va="bottom",
        )  # fmt: skip
    ax.set_xlim(left - pad, right + pad)
    ax.set_ylim(-height - pad, height + pad)
    ax.set_aspect("equal")
    figure = ax.get_figure(root=True)
    if own and figure is not None:
        # Sized for equal axes with the key beside them; any other shape would cut off labels.
        figure.set_size_inches(2.3 + 2.2 * (right - left + 2.0 * pad) / (2.0 * (height + pad)), 2.75)
    style(ax, x="real part", y="imaginary part", box=True)
    key(ax, ncol=1, handlelength=1.0, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return ax


def plot_contraction(
    verdict: Certified | Refuted | Inconclusive,
    network: EchoStateNetwork,
    *,
    derivation: Derivation | None = None,
    certified: CertifiedRange | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw each bound on the contraction factor against the spectral radius that W is scaled to.

    What is shaded as proved ends at a certificate, and every cross is a certified refutation (hatched from
    the first to the last); the rest is open. The lines are the bounds in floating point, so a little beyond
    the shading some may still be below 1. The network's own spectral radius is marked.

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
    >>> bound = Namespace(name="spectral norm", value=0.5, proves=True, critical_gain=2.0)
    >>> verdict = Namespace(bounds=(bound,), proved_gain=1.0, refuted_gain=2.5, verdict="proved")
    >>> plot_contraction(verdict, network).get_ylabel()
    'bound on the contraction factor'
    """
    ax = new_axes(ax, (6.3, 2.7))
    folded = certified is not None and network.W_fb is not None and certified.network.W_fb is None
    if certified is None:
        proved, refuted = verdict.proved_gain, [g for g in (verdict.refuted_gain,) if g is not None]
    else:
        network, proved, refuted = certified.network, certified.proved, list(certified.refuted)
    radius = network.spectral_radius()
    slowest = 1.0 - float(np.min(network.leak_rate))
    drawn = [(name, gain * radius) for name, gain in _critical_gains(verdict, derivation).items()]
    drawn = sorted(drawn, key=lambda item: -item[1])[:5]
    # Refutations far beyond everything else would squeeze it.
    refuted = [g for g in refuted if g * radius <= 4.0 * max(radius, *(c for _, c in drawn), 0.0)]
    marks = [radius, *(critical for _, critical in drawn if critical < 3.0 * radius)]
    marks += [g * radius for g in (proved, *refuted) if g is not None]
    right = 1.12 * max(marks)
    top = 1.0 + 0.55 * (1.0 - slowest)

    edge = 0.0 if proved is None else min(proved * radius, right)
    first, last = (right, right) if not refuted else (min(refuted) * radius, max(refuted) * radius)
    for low, high, colour, hatch, word in (
        (0.0, edge, "#cdebdf", "", "proved"),
        (edge, first, "#f4f4f4", "", "open"),
        (first, last, "#f6d5c3", "////", "refuted"),
        (last, right, "#f4f4f4", "", ""),
    ):
        if high - low <= 1e-9 * right and word != "refuted":
            continue
        ax.axvspan(low, high, fc=colour, ec="#e3a98a" if hatch else "none", hatch=hatch, lw=0.0, zorder=0)
        if not word or (word == "refuted" and not refuted):
            continue
        narrow = high - low < 0.11 * right
        middle = 0.5 * (low + high) if high - low > 0.03 * right else max(low, 0.02 * right)
        ax.text(
            middle, 0.975, word, transform=ax.get_xaxis_transform(), ha="center", va="top",
            fontsize=TICK, color=INK, rotation=90 if narrow else 0, fontweight="bold",
            bbox={"fc": "white", "ec": "none", "pad": 1.0, "alpha": 0.75},
        )  # fmt: skip
    if proved is not None:
        ax.axvline(edge, color=INK, lw=0.7)
    ax.axhline(1.0, color=INK, lw=0.9)
    lines = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    colours = (BLUE, RED, INK, "#5f5f5f")
    for i, (name, critical) in enumerate(drawn):
        # Every such bound is affine in the gain, (1 - a) + a L |g W|, and equals 1 at the critical gain.
        slope = (1.0 - slowest) / critical
        end = min(right, (top - slowest) / slope)
        ax.plot(
            [0.0, end], [slowest, slowest + slope * end], color=colours[i % len(colours)],
            ls=lines[i % len(lines)], lw=1.3, label=f"{name}: 1 at {critical:.3g}",
        )  # fmt: skip
    ax.axvline(radius, color=INK, lw=0.9, ls=(0, (2, 2)))
    if refuted:
        ax.plot(
            [g * radius for g in refuted], np.full(len(refuted), slowest), "x", color=RED, ms=6.0, mew=1.4,
            clip_on=False, zorder=5, ls="", label="refuted here, certified",
        )  # fmt: skip
    near_right = radius > 0.55 * right
    ax.annotate(
        f"this network, {radius:.3g}", (radius, 0.06), xycoords=ax.get_xaxis_transform(),
        xytext=(-4 if near_right else 4, 0), textcoords="offset points", fontsize=TICK, color=INK,
        ha="right" if near_right else "left", bbox={"fc": "white", "ec": "none", "pad": 1.0, "alpha": 0.75},
    )  # fmt: skip
    ax.set_xlim(0.0, right)
    ax.set_ylim(slowest - 0.04 * (1.0 - slowest), top)
    label = "spectral radius of W" + (", feedback folded in" if folded else "")
    style(ax, x=label, y="bound on the contraction factor", box=True)
    if drawn or refuted:
        key(ax, ncol=1, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def _critical_gains(
    verdict: Certified | Refuted | Inconclusive, derivation: Derivation | None
) -> dict[str, float]:
    """Return the finite critical gain of every norm, named once although both sides may know it."""
    gains = {b.name.replace("-", " "): b.critical_gain for b in verdict.bounds if "on the" not in b.name}
    for bound in () if derivation is None else derivation.bounds:
        words = set(bound.name.lower().split())
        if not any(words & set(name.lower().split()) for name in gains):
            gains[bound.name] = bound.critical_gain_value
    return {name: float(g) for name, g in gains.items() if g is not None and 0.0 < g < np.inf}
