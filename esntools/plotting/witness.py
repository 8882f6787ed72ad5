"""The picture of a refutation: two trajectories under one input, and the distance between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from esntools.errors import InvalidInputError
from esntools.plotting.style import BLUE, INK, TICK, key, new_axes, style

if TYPE_CHECKING:
    from esntools.certificates.verdicts import Refuted
    from esntools.certificates.witness import Refutation

__all__ = ["plot_witness"]

# Below this a distance of zero is drawn, which a logarithm has no place for.
_FLOOR = 1e-16


def plot_witness(refutation: Refutation | Refuted, *, n_steps: int = 200, ax: Axes | None = None) -> Axes:
    """Draw the distance between two trajectories under the input that refutes, on a logarithmic scale.

    The trajectories are those of `Refutation.replay`. A network that forgets would bring them together; here
    the largest difference of any unit stays, or comes back from however small a start.

    Parameters
    ----------
    refutation : Refuted or Refutation
        The verdict, or its witness.
    n_steps : int, optional
        200 by default.
    ax : Axes, optional
        New by default.

    Raises
    ------
    InvalidInputError
        When it is no refutation, or n_steps is less than 1.

    Examples
    --------
    >>> from esntools import EchoStateNetwork
    >>> from esntools.certificates import certify_esp
    >>> from esntools.inputs import Zero
    >>> ax = plot_witness(certify_esp(EchoStateNetwork([[1.5]]), Zero()).witness)
    >>> ax.get_xlabel(), ax.get_yscale()
    ('step', 'log')
    """
    witness: Any = getattr(refutation, "witness", refutation)
    if not hasattr(witness, "replay"):
        raise InvalidInputError(
            "refutation", type(refutation).__name__, "must be a refuted verdict or its witness",
            "only a refutation has two trajectories that do not meet",
        )  # fmt: skip
    if n_steps < 1:
        raise InvalidInputError("n_steps", str(n_steps), "must be at least 1")
    one, two = witness.replay(n_steps)
    gaps = np.abs(one - two)
    steps = np.arange(len(gaps))
    ax = new_axes(ax, (4.6, 2.6))
    largest = np.maximum(gaps.max(axis=1), _FLOOR)
    ax.plot(steps, largest, color=BLUE, lw=1.4, label="largest difference of any unit")
    ax.axhline(
        largest[0], color=INK, lw=0.8, ls=(0, (1, 2)), zorder=0, label=f"at the start, {largest[0]:.1e}"
    )
    ax.set_yscale("log")
    ax.set_xlim(0, max(len(steps) - 1, 1))
    # At least two decades, so that small wiggles look small and only powers of ten are labelled.
    low, high = np.log10(largest.min()) - 0.4, np.log10(largest.max()) + 0.4
    spare = max(0.0, 2.0 - (high - low)) / 2.0
    ax.set_ylim(10.0 ** (low - spare), 10.0 ** (high + spare))
    period = witness.period
    driven = "a constant input" if period == 1 else f"an input of period {period}"
    if witness.input.shape[1] == 0:
        driven = "no input"
    style(ax, x="step", y="difference of states")
    ax.set_title(f"{witness.strength} to {driven}", fontsize=TICK + 1.0, color=INK, loc="left", pad=18)
    key(ax)
    return ax
