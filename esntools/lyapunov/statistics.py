"""What is reported of a spectrum: exponents, their error bars, their convergence, and the dimension."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, final

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray
from esntools.arguments import real_array, real_number, whole_number
from esntools.errors import InvalidInputError

__all__ = ["N_BATCHES", "LyapunovSpectrum", "kaplan_yorke_dimension", "standard_errors", "summarise"]

N_BATCHES: Final = 20

# A lag-1 autocorrelation of 20 independent batch means exceeds this in about one run of a hundred.
_CORRELATED: Final = 0.5
# Nor is a sum of variance and twice the covariance of neighbours to vanish, or be negative, by chance.
_LEAST_SHARE: Final = 0.1
# A spread within one step of which double precision keeps no digit; and one from which on, where a direction
# is annihilated, another may belong to the same chain.
_RESOLVED: Final = 30.0
_CHAINED: Final = 15.0
# The sum rule holds to about 1e-12 where the determinant is more than rounding.
_AGREES: Final = 1e-6


@final
@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """The k leading Lyapunov exponents, in decreasing order.

    Attributes
    ----------
    exponents : ndarray, shape (k,)
        -inf for a direction that the map annihilates.
    stderr : ndarray, shape (k,)
        Standard error from the means of `n_batches` successive stretches and the correlation of neighbours
        (the growth of a frame within a stretch depends on the directions at its ends, and what one stretch
        gains by that the next one loses: without the correlation a flow's errors come out twice too large).
    interval : ndarray, shape (k, 2)
        95 % confidence interval (Student's t with n_batches / 3 degrees of freedom).
    kind : {"autonomous", "conditional"}
        Of an autonomous map (a closed loop, a constant input), or of a driven one with its input held fixed.
    unit : {"1/step", "1/time"}
    dt : float or None
    n_steps : int
        Steps averaged over.
    n_batches : int
    kaplan_yorke : float or None
        Kaplan-Yorke dimension of the autonomous attractor; None where the exponents do not give one, see
        `kaplan_yorke_note`.
    kaplan_yorke_note : str
    sum_rule_error : float or None
        With all exponents (k = n_units): largest relative difference, over the batches, between their sum and
        the mean of log\\|det DG\\| by a separate decomposition. At every step where that is cheap, else at
        the beginning of every block.
    batch_means : ndarray, shape (n_batches, k)
        In the same unit.
    running_steps : ndarray of int, shape (m,)
    running_means : ndarray, shape (m, k)
        The estimates from the first `running_steps` of the steps, in the same unit: what a convergence plot
        shows.
    note : str
        What should be known about the numbers; empty when there is nothing.
    """

    exponents: FloatArray
    stderr: FloatArray
    interval: FloatArray
    kind: Literal["autonomous", "conditional"]
    unit: Literal["1/step", "1/time"]
    dt: float | None
    n_steps: int
    n_batches: int
    kaplan_yorke: float | None
    kaplan_yorke_note: str
    sum_rule_error: float | None
    batch_means: FloatArray
    running_steps: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    running_means: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    note: str = ""


def kaplan_yorke_dimension(
    exponents: ArrayLike, n_dimensions: int | None = None, *, rounding: float = 0.0
) -> tuple[float | None, str]:
    r"""Return the Kaplan–Yorke dimension of a spectrum, with a note, or why there is none.

    .. math:: D = j + \frac{\lambda_1 + \dots + \lambda_j}{|\lambda_{j+1}|},

    j being the largest number of leading exponents with a sum that is not negative.

    Parameters
    ----------
    exponents : array_like, shape (k,)
        In any order and any unit.
    n_dimensions : int, optional
        Dimension of the phase space; k by default.
    rounding : float, optional
        Exponents and sums of this size count as zero. Default 0: only what cancels to 1e-12 of its terms.

    Returns
    -------
    dimension : float or None
        0 when the largest exponent is negative; the dimension of the phase space, with a note, when the sum
        of all exponents is not; None when the sum of the leading ones given is not.
    note : str
        Empty, or what was just said.

    Examples
    --------
    >>> dimension, _ = kaplan_yorke_dimension([0.9056, 0.0, -14.572])
    >>> round(dimension, 4)
    2.0621
    >>> kaplan_yorke_dimension([0.3, -0.1], n_dimensions=5)
    (None, 'the sum of the 2 leading exponents is not negative: ask for more of the 5')

    References
    ----------
    J. L. Kaplan, J. A. Yorke, Lecture Notes in Mathematics 730 (1979) 204, doi:10.1007/BFb0064319.
    """
    values = np.sort(real_array(exponents, "exponents").ravel())[::-1]
    n = len(values) if n_dimensions is None else whole_number(n_dimensions, "n_dimensions", len(values))
    if not real_number(rounding, "rounding") >= 0.0:
        raise InvalidInputError("rounding", str(rounding), "must not be negative")
    if len(values) == 0 or np.any(np.isnan(values)):
        return None, "an exponent is not a number"
    # Exponents that are zero come out as a few units of rounding, of either sign.
    zero = max(rounding, 1e-12 * float(np.sum(np.abs(values[np.isfinite(values)]))))
    if values[0] < -zero:
        return 0.0, ""
    sums = np.cumsum(values)
    negative = np.flatnonzero(sums < -zero)
    if len(negative) == 0:
        if len(values) < n:
            return None, (
                f"the sum of the {len(values)} leading exponents is not negative: ask for more of the {n}"
            )
        return float(n), "the sum of all exponents is not negative: volumes do not shrink"
    j = int(negative[0])
    return float(j + max(sums[j - 1], 0.0) / abs(values[j])), ""


def standard_errors(means: FloatArray) -> FloatArray:
    """Return the standard errors of the means of the columns, whose neighbouring rows are correlated.

    The variance of a mean of m is (c_0 + 2 c_1) / m, c_0 and c_1 being variance and covariance of neighbours.
    Of independent rows, the estimate of c_1 is c_0 / m too low, and that of c_0 + 2 c_1 varies as a variance
    with m / 3 degrees of freedom does.
    """
    deviations = means - means.mean(axis=0)
    m = len(means)
    variance = np.sum(deviations**2, axis=0) / (m - 1)
    neighbours = np.sum(deviations[1:] * deviations[:-1], axis=0) / (m - 1) + variance / m
    return np.asarray(np.sqrt(np.maximum(variance + 2.0 * neighbours, _LEAST_SHARE * variance) / m))


def _below_rounding(exponents: FloatArray, sum_rule_error: float | None) -> int:
    """Return the number (from 1) of the first exponent, in 1/step, that is rounding of -inf; 0 for none.

    A direction that is annihilated comes out as rounding of the largest in every step. Where there is one,
    others may share its chain: of a nilpotent block of m units, rounding makes eigenvalues of eps^(1/m).
    """
    gaps = exponents[0] - exponents[np.isfinite(exponents)] if np.isfinite(exponents[0]) else np.zeros(0)
    resolved = np.all(gaps <= _RESOLVED) and np.all(np.isfinite(exponents))
    if resolved and (sum_rule_error is None or sum_rule_error < _AGREES):
        return 0
    suspects = np.flatnonzero(gaps > _CHAINED)
    return int(suspects[0]) + 1 if len(suspects) else 0


def summarise(
    growth: FloatArray,
    edges: IntArray,
    n_units: int,
    *,
    kind: Literal["autonomous", "conditional"],
    dt: float | None,
    sum_rule_error: float | None,
    notes: list[str],
) -> LyapunovSpectrum:
    """Return the spectrum whose frame grew by growth[j] from step edges[j] to edges[j + 1].

    The number of blocks is a multiple of `N_BATCHES`.
    """
    n_steps = int(edges[-1])
    scale = 1.0 if dt is None else 1.0 / dt
    k = growth.shape[1]
    exponents = growth.sum(axis=0) / n_steps
    order = np.argsort(-exponents, kind="stable")
    exponents, growth = exponents[order], growth[:, order]
    doubtful = _below_rounding(exponents, sum_rule_error)
    if doubtful:
        notes = [
            *notes,
            f"exponents from number {doubtful} on are below what double precision resolves in a step: the "
            "map annihilates directions, or nearly; these values are rounding, or -inf",
        ]
    exponents = exponents * scale
    per_batch = len(growth) // N_BATCHES
    lengths = np.diff(edges[::per_batch])
    means = growth.reshape(N_BATCHES, per_batch, k).sum(axis=1) / lengths[:, None] * scale
    finite = np.isfinite(exponents)
    stderr = np.zeros(k)
    stderr[finite] = standard_errors(means[:, finite])
    half = float(scipy.stats.t.ppf(0.975, N_BATCHES / 3.0)) * stderr
    # Exponents that are zero in exact arithmetic come out as a few units of rounding per step.
    rounding = 1e-15 * n_units * scale
    dimension, dimension_note = (
        kaplan_yorke_dimension(exponents, n_units, rounding=rounding)
        if kind == "autonomous"
        else (None, "not of a driven network")
    )
    if len(means[0]) and finite[0]:
        deviations = means[:, 0] - means[:, 0].mean()
        variance = float(deviations @ deviations)
        lagged = float(deviations[1:] @ deviations[:-1])
        if variance > N_BATCHES * rounding**2 and lagged > _CORRELATED * variance:
            notes = [
                *notes,
                "successive batches are correlated, so the interval may be too narrow: take more steps, or a "
                "longer transient",
            ]
    running_steps = np.asarray(edges[1:], dtype=np.intp)
    return LyapunovSpectrum(
        exponents, stderr, np.column_stack([exponents - half, exponents + half]), kind,
        "1/step" if dt is None else "1/time", dt, n_steps, N_BATCHES, dimension, dimension_note,
        sum_rule_error, means, running_steps,
        np.cumsum(growth, axis=0) / running_steps[:, None] * scale, "; ".join(notes),
    )  # fmt: skip
