"""Plots of the map itself: eigenvalues of W and of the Jacobian at fixed points."""

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
    from esntools.fixed_points import FixedPoints

__all__ = ["plot_eigenvalues"]

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
