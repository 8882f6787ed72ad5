r"""One excitable unit: the map that its drive obeys while every other unit is saturated, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools.arguments import real_array, real_number
from esntools.errors import InvalidInputError

__all__ = ["CENTRE", "WIDTH", "ExcitableUnit", "fold_drive"]

#: Where the sigmoid is one half.
CENTRE: Final = 0.5
#: The sigmoid's default width.
WIDTH: Final = 0.05


def _sigmoid(y: float, width: float) -> float:
    z = (y - CENTRE) / width
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))


def _inverse_sigmoid(s: float, width: float) -> float:
    return CENTRE + width * math.log(s / (1.0 - s))


def _checked_width(width: float) -> float:
    width = real_number(width, "width")
    if not 1e-3 <= width < 0.25:
        raise InvalidInputError("width", str(width), "must lie in [0.001, 0.25)", "the default is 0.05")
    return width


def fold_drive(width: float = WIDTH) -> float:
    r"""Return the constant drive at which a unit's rest state and its threshold meet in a fold.

    .. math::

        p_\mathrm{fold} = \theta + \varepsilon \ln\frac{\phi}{1 - \phi} - \phi,
        \qquad \phi = \tfrac12 \bigl(1 - \sqrt{1 - 4 \varepsilon}\bigr).

    Below it a unit is excitable, above it it switches on by itself.

    Examples
    --------
    >>> round(fold_drive(), 10)
    0.302850048
    """
    width = _checked_width(width)
    phi = 0.5 * (1.0 - math.sqrt(1.0 - 4.0 * width))
    return _inverse_sigmoid(phi, width) - phi


def _root(drive: float, width: float, y: float) -> float:
    """Return a root of y - s(y) - drive by Newton's method.

    Below the centre the function is concave: from the left of the lower root, or from between the upper one
    and the centre, the iterates approach it from one side.
    """
    for _ in range(200):
        s = _sigmoid(y, width)
        slope = 1.0 - s * (1.0 - s) / width
        move = (drive + s - y) / slope if slope else 0.0
        y += move
        if abs(move) <= 1e-16:
            break
    return y


@final
@dataclass(frozen=True)
class ExcitableUnit:
    r"""A unit with self-excitation 1 under a constant drive p, all others saturated.

    Its drive :math:`y = W_k x + b` obeys a map of its own, whatever the rest of the network is,

    .. math::

        y^+ = (1 - a)\, y + a\, (p + s(y)), \qquad s(y) = \frac{1}{1 + e^{-(y - \theta)/\varepsilon}},

    so that the basin's boundary is the hyperplane :math:`W_k x + b = y_\mathrm{un}`, and every smallest kick
    is a closed form of the gap :math:`y_\mathrm{un} - y_\mathrm{lo}`.

    Parameters
    ----------
    drive : float
        p, between the two folds.
    width : float
        epsilon. Default 0.05; theta is 0.5.

    Attributes
    ----------
    rest, threshold : float
        The stable and the unstable fixed point :math:`y_\mathrm{lo} < y_\mathrm{un}`.

    Raises
    ------
    InvalidInputError
        When there is no rest state below a threshold at that drive.

    Examples
    --------
    >>> unit = ExcitableUnit(0.29)
    >>> round(unit.rest, 10), round(unit.threshold, 10), round(unit.gap, 7)
    (0.3133722981, 0.3903116964, 0.0769394)
    >>> round(unit.multiplier(0.25), 4)
    1.2012
    >>> round(unit.pulse(0.25), 4)
    0.1515

    References
    ----------
    The excitable unit is that of P. Ashwin, C. Postlethwaite, Biol. Cybern. 115 (2021) 519,
    doi:10.1007/s00422-021-00895-5, in discrete time.
    """

    drive: float
    width: float = WIDTH
    rest: float = math.nan
    threshold: float = math.nan

    def __post_init__(self) -> None:
        width, drive = _checked_width(self.width), real_number(self.drive, "drive")
        fold = fold_drive(width)
        if not -fold < drive < fold:
            raise InvalidInputError(
                "drive", str(drive), f"must lie between the folds at -{fold:.6f} and {fold:.6f}",
                "above, the unit switches on by itself; below, it never does",
            )  # fmt: skip
        object.__setattr__(self, "rest", _root(drive, width, min(drive, CENTRE)))
        # The map is symmetric about the centre: y -> 1 - y changes the sign of p.
        upper = _root(abs(drive), width, CENTRE)
        object.__setattr__(self, "threshold", upper if drive >= 0.0 else 2.0 * CENTRE - upper)

    @property
    def gap(self) -> float:
        """The smallest kick of the drive y that switches the unit on."""
        return self.threshold - self.rest

    def multiplier(self, leak_rate: float) -> float:
        """Return the unstable multiplier of the saddle, :math:`1 - a + a s'(y_un)`."""
        s = _sigmoid(self.threshold, self.width)
        return 1.0 - leak_rate + leak_rate * s * (1.0 - s) / self.width

    def pulse(self, leak_rate: float) -> float:
        r"""Return the smallest one-step pulse of the drive that switches the unit on; infinite if none does.

        One step at y + g must carry y over the gap: :math:`a\,(s(y_\mathrm{lo} + g) - s(y_\mathrm{lo})) =
        y_\mathrm{un} - y_\mathrm{lo}`.
        """
        level = _sigmoid(self.rest, self.width) + self.gap / leak_rate
        # From there on the pulse is above 1/2 + 36 widths, where the sigmoid is 1 in double arithmetic.
        return _inverse_sigmoid(level, self.width) - self.rest if level < 1.0 - 1e-15 else math.inf

    def kick(self, row: ArrayLike) -> float:
        r"""Return the 2-norm of the smallest free kick of the state, :math:`gap / |W_k|`, along W_k itself.

        Parameters
        ----------
        row : array_like, shape (n_units,)
            The unit's own row of W, in the logistic form with the sigmoid's scale in the drive.
        """
        return self.gap / float(np.linalg.norm(real_array(row, "row")))

    def range_kick(self, row: ArrayLike, on: int) -> float:
        """Return the 2-norm of the smallest kick that keeps every state in [0, 1].

        Unit `on` is 1 and the others are 0 as good as: it can only fall, they can only rise.

        Examples
        --------
        >>> row = [-0.31, 1.0, -2.49]
        >>> unit = ExcitableUnit(0.29)
        >>> round(unit.kick(row), 6), round(unit.range_kick(row, 0), 4)
        (0.028484, 0.0735)
        """
        row = real_array(row, "row")
        helps = np.where(np.arange(len(row)) == on, row < 0.0, row > 0.0)
        return self.kick(np.where(helps, row, 0.0))

    def barrier(self) -> float:
        r"""Return the potential barrier between rest and threshold.

        It is :math:`\int_{y_\mathrm{lo}}^{y_\mathrm{un}} (y - s(y) - p)\, dy`.

        Examples
        --------
        >>> float(f"{ExcitableUnit(0.29).barrier():.5g}")
        0.00065523
        """

        def potential(y: float) -> float:
            z = (y - CENTRE) / self.width
            softplus = self.width * (max(z, 0.0) + math.log1p(math.exp(-abs(z))))
            return 0.5 * y * y - softplus - self.drive * y

        return potential(self.threshold) - potential(self.rest)
