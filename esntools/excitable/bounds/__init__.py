r"""Proved lower bounds of excitability thresholds: kicks and pulses that certainly do not leave a basin.

What is proved is about the network as its doubles define it, in exact arithmetic; the error model is that of
`esntools.fixed_points.certified`. How sets of states are followed is told in
`esntools.excitable.bounds.cells`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, no_progress
from esntools.arguments import positive_number, real_array, whole_number
from esntools.errors import InvalidInputError
from esntools.excitable.bounds.cells import ProvedMap, norm2
from esntools.excitable.bounds.kicks import Basis, largest_ball
from esntools.excitable.bounds.proofs import Prover
from esntools.excitable.bounds.pulses import PulseInterval, proved_intervals, reach
from esntools.excitable.bounds.wells import Well, find_well
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array
from esntools.threads import one_blas_thread

__all__ = ["KickBounds", "PulseBounds", "PulseInterval", "bound_kicks", "bound_pulses"]

# No kick is as long.
_FAR: Final = 1e300


@final
@dataclass(frozen=True, eq=False)
class KickBounds:
    """Proved radii of kicks that stay in a basin.

    Attributes
    ----------
    points : array (n_points, n_units)
        The states that are kicked, as they were given.
    radii : array (n_points,)
        Every state x with ``norm(x - point) <= radius`` (of the subspace, if one was given) converges to the
        stable fixed point that is proved to exist beside the point. 0 where nothing is proved.
    reasons : tuple of str
        Why there is no larger radius, or none at all.
    fixed_points : array (n_points, n_units)
        The proved fixed points; NaN where none is.
    errors : array (n_points,)
        Each exact fixed point lies within this 2-norm distance of `fixed_points`; infinite where none is.
    cells : int array (n_points,)
        Sets of states that were followed.
    """

    points: FloatArray
    radii: FloatArray
    reasons: tuple[str, ...]
    fixed_points: FloatArray
    errors: FloatArray
    cells: IntArray


@final
@dataclass(frozen=True, eq=False)
class PulseBounds:
    """Proved destinations of pulses from stable fixed points.

    Attributes
    ----------
    lower : array (n_points, n_pulses)
        No pulse of an amplitude in [0, lower] leads out of the basin of the point. 0 where nothing is proved.
    intervals : tuple of tuples of tuples of PulseInterval
        For each point and pulse: adjoining intervals of amplitudes, from 0 on, with what was proved of them.
    reasons : tuple of tuples of str
        For each point and pulse: why the intervals end; empty when they reach `upper`.
    upper : float
        The largest amplitude that was asked for.
    """

    lower: FloatArray
    intervals: tuple[tuple[tuple[PulseInterval, ...], ...], ...]
    reasons: tuple[tuple[str, ...], ...]
    upper: float

    def to_target(self, source: int, pulse: int, target: int) -> float:
        """Return the largest g such that no amplitude in [0, g] leads from `source` to `target`, proved."""
        K, count = self.lower.shape
        for place, value, size in (("source", source, K), ("pulse", pulse, count), ("target", target, K)):
            if not 0 <= value < size:
                raise InvalidInputError(place, str(value), f"must be from 0 to {size - 1}")
        return reach(self.intervals[source][pulse], source, target)


def _checked_points(network: EchoStateNetwork, points: Iterable[ArrayLike]) -> list[FloatArray]:
    return [checked_array(x, "points", (network.n_units,), "(n_units,)") for x in points]


def _checked_input(network: EchoStateNetwork, u: ArrayLike | None) -> FloatArray:
    if u is None:
        return np.zeros(network.n_inputs)
    return checked_array(np.atleast_1d(u), "u", (network.n_inputs,), "(n_inputs,)")


def _checked_limits(upper: ArrayLike | None, K: int) -> FloatArray:
    """Return the radii that are asked for; infinite where there is no limit."""
    if upper is None:
        return np.full(K, math.inf)
    limits = checked_array(np.minimum(real_array(upper, "upper"), _FAR), "upper", (K,), "(n_points,)")
    if np.any(limits <= 0.0):
        raise InvalidInputError("upper", str(float(limits.min())), "must be positive")
    return np.where(limits >= _FAR, math.inf, limits)


def _deadline(budget: float | None) -> float:
    return math.inf if budget is None else time.perf_counter() + positive_number(budget, "budget")


def _wells(
    network: EchoStateNetwork,
    proved: ProvedMap,
    points: Sequence[FloatArray],
    u: FloatArray,
    progress: Progress,
) -> list[Well | str]:
    """Return the proved surroundings of each point, or why there are none."""
    wells: list[Well | str] = []
    for k, x in enumerate(points):
        progress("proving fixed points", k / len(points))
        found = find_well(network, proved, x, u)
        if isinstance(found, Well) and not norm2(x - found.x) < 1e-3:
            found = "the stable fixed point found beside it is another one"
        wells.append(found)
    return wells


def _groups(wells: Sequence[Well | str]) -> list[tuple[int, ...]]:
    """Return for each point all that may be the same fixed point, itself among them."""
    first: list[int] = []
    for k, well in enumerate(wells):
        same = k
        for j in range(k):
            other = wells[j]
            if isinstance(well, Well) and isinstance(other, Well):
                apart = norm2(well.x - other.x) * (1.0 - 1e-12)
                if not apart > (well.error + other.error) * (1.0 + 1e-12) + 2e-290:
                    same = first[j]
                    break
        first.append(same)
    return [tuple(j for j, other in enumerate(first) if other == f) for f in first]


def _prover(proved: ProvedMap, wells: Sequence[Well | str], n_steps: int, end: float) -> Prover:
    """Return what follows cells until they are at a point; at the first of those that are the same."""
    groups = _groups(wells)
    first = [
        None if isinstance(well, str) or group[0] != k else well
        for k, (well, group) in enumerate(zip(wells, groups, strict=True))
    ]
    return Prover(proved, first, n_steps, end)


@one_blas_thread
def bound_kicks(
    network: EchoStateNetwork,
    points: Iterable[ArrayLike],
    *,
    u: ArrayLike | None = None,
    subspaces: Sequence[ArrayLike | None] | None = None,
    upper: ArrayLike | None = None,
    budget: float | None = None,
    max_cells: int = 1000,
    tolerance: float = 0.05,
    n_steps: int = 3000,
    progress: Progress = no_progress,
) -> KickBounds:
    r"""Prove that kicks up to a radius do not leave the basin of a stable fixed point.

    For each point p a radius r is proved such that every state x with :math:`|x - p|_2 \le r` converges
    to the stable fixed point beside p, which is proved to exist:

    .. math:: \delta(p \to q) \ge r \quad\text{for every other attractor } q .

    Parameters
    ----------
    network : EchoStateNetwork
        With tanh or logistic units; its feedback, if any, through an affine readout.
    points : iterable of arrays (n_units,)
        States at or near stable fixed points at the input u.
    u : array_like, shape (n_inputs,), optional
        The constant input; zero by default.
    subspaces : sequence of arrays (n_units, m) or None, optional
        For each point, columns that span the kicks that are meant; None for all directions (the default).
    upper : array_like, shape (n_points,), optional
        Radii above which nothing need be tried, such as thresholds that were found; infinite for no limit.
        Only to save time.
    budget : float, optional
        Seconds for all points; what is proved until then is returned. Unlimited by default.
    max_cells : int
        Sets of states followed for each radius that is tried. Default 1000.
    tolerance : float
        Radii are tried until one fails that is this much larger than a proved one. Default 0.05.
    n_steps : int
        Steps for which a set of states is followed at most. Default 3000.
    progress : callable, optional

    Returns
    -------
    KickBounds

    Raises
    ------
    InvalidInputError
        When an argument has the wrong shape or is out of its range.

    Notes
    -----
    Hypotheses: arithmetic on doubles follows IEEE 754, and sums in products of matrices may be taken in any
    order (`esntools.fixed_points.certified`). Nothing else: the result of every library routine is checked.

    Near the fixed point an ellipsoid is proved to contract. The ball of kicks is then cut into cells in the
    directions that the network amplifies most, and each is followed as a zonotope plus an ellipsoid, with the
    quadratic term of the map kept as a quadratic term, until it lies in such an ellipsoid
    (`esntools.excitable.bounds.cells`). With two or three units the bound is within five to twenty per cent
    of the threshold. With many units the number of cells grows with about the third power of the radius: for
    a trained network of 100 units half a minute proves a tenth to a half of the threshold, and more time
    more. Bounds of pulses, which fill a curve and not a ball, do not suffer from this.

    Examples
    --------
    A unit that remembers a sign; its basin ends at 0:

    >>> unit = EchoStateNetwork([[1.5]])
    >>> bounds = bound_kicks(unit, [[0.85855963664]])
    >>> bool(0.8 < bounds.radii[0] < 0.85856)
    True

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi, Cognitive Computation 12 (2020) 330, doi:10.1007/s12559-019-09634-2: the
    threshold. A. Neumaier, Reliable Computing 9 (2003) 43, doi:10.1023/A:1023061927787: wrapping, and
    ellipsoids against it.
    """
    X = _checked_points(network, points)
    u = _checked_input(network, u)
    K, n = len(X), network.n_units
    bases = _checked_bases(subspaces, K, n)
    limits = _checked_limits(upper, K)
    max_cells, n_steps = whole_number(max_cells, "max_cells"), whole_number(n_steps, "n_steps")
    tolerance = positive_number(tolerance, "tolerance")
    end = _deadline(budget)
    radii, cells = np.zeros(K), np.zeros(K, dtype=np.intp)
    fixed, errors = np.full((K, n), math.nan), np.full(K, math.inf)
    refusal = ProvedMap.refusal(network, u)
    reasons = [refusal] * K
    if refusal or not K:
        return KickBounds(np.array(X).reshape(K, n), radii, tuple(reasons), fixed, errors, cells)
    with np.errstate(all="ignore"):
        proved = ProvedMap(network, u)
        wells = _wells(network, proved, X, u, progress)
        prover, groups = _prover(proved, wells, n_steps, end), _groups(wells)
        for k, (x, well, Q) in enumerate(zip(X, wells, bases, strict=True)):
            progress("following balls of kicks", k / K)
            if isinstance(well, str):
                reasons[k] = well
                continue
            fixed[k], errors[k] = well.x, well.error
            now = time.perf_counter()
            prover.deadline = now + max(end - now, 0.0) / (K - k)
            proof = largest_ball(prover, well, groups[k][0], x, Q, float(limits[k]), max_cells, tolerance)
            radii[k], reasons[k], cells[k] = proof.radius, proof.reason, proof.cells
    progress("following balls of kicks", 1.0)
    return KickBounds(np.array(X), radii, tuple(reasons), fixed, errors, cells)


def _checked_bases(subspaces: Sequence[ArrayLike | None] | None, K: int, n: int) -> list[Basis | None]:
    """Return orthonormal bases of the subspaces, None for the whole space."""
    if subspaces is None:
        return [None] * K
    if len(subspaces) != K:
        raise InvalidInputError("subspaces", f"{len(subspaces)}", f"one is needed for each of the {K} points")
    bases: list[Basis | None] = []
    for Q in subspaces:
        if Q is None:
            bases.append(None)
            continue
        array = checked_array(Q, "subspaces", (n, None), "(n_units, m)")
        sizes = np.linalg.svd(array, compute_uv=False) if array.size else np.zeros(1)
        if array.shape[1] > n or not sizes[-1] > 1e-6 * sizes[0]:
            raise InvalidInputError(
                "subspaces",
                f"shape {array.shape}",
                "its columns must be independent, and not nearly dependent",
            )
        # Householder's QR changes the columns by some n u of their size.
        bases.append(Basis(np.linalg.qr(array)[0], 1e-14 * n * float(sizes[0] / sizes[-1])))
    return bases


@one_blas_thread
def bound_pulses(
    network: EchoStateNetwork,
    points: Iterable[ArrayLike],
    pulses: ArrayLike,
    *,
    u: ArrayLike | None = None,
    pulse_length: int = 1,
    upper: float = 4.0,
    n_steps: int = 3000,
    tolerance: float = 1e-3,
    budget: float | None = None,
    progress: Progress = no_progress,
) -> PulseBounds:
    r"""Prove where pulses lead, for all amplitudes of whole intervals at once.

    From a stable fixed point at the input u a pulse :math:`u + g v` of `pulse_length` steps is given, and the
    input is u again. The curve of the states that it reaches, over an interval of g, is enclosed and
    followed until it lies in an ellipsoid that a fixed point certainly attracts.

    Parameters
    ----------
    network : EchoStateNetwork
        With tanh or logistic units; its feedback, if any, through an affine readout.
    points : iterable of arrays (n_units,)
        States at or near stable fixed points at the input u: sources and possible destinations.
    pulses : array_like, shape (n_pulses, n_inputs)
        The pulses v at amplitude 1.
    u : array_like, shape (n_inputs,), optional
        The input between pulses; zero by default.
    pulse_length : int
        Default 1.
    upper : float
        Amplitudes up to this are asked for. Default 4.
    n_steps : int
        Steps for which a set of states is followed at most. Default 3000.
    tolerance : float
        Intervals of this part of the amplitude are the smallest that are tried. Default 1e-3.
    budget : float, optional
        Seconds for all points and pulses; what is proved until then is returned. Unlimited by default.
    progress : callable, optional

    Returns
    -------
    PulseBounds

    Raises
    ------
    InvalidInputError
        When an argument has the wrong shape or is out of its range.

    Notes
    -----
    Hypotheses and method are those of `bound_kicks`. What is proved holds for the exact fixed point and for
    the state that was given. Intervals end at the first amplitude that cannot be followed, just below the
    smallest threshold of that pulse: nothing is said of amplitudes beyond.

    A step of an enclosure costs about a millisecond with 100 units and twenty with 500; a bound within two
    per cent takes some hundreds to thousands of them.

    Examples
    --------
    A unit that remembers a sign, at its negative state -m: pulses below 1.5 m = 1.28784 do not change it.

    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    >>> bounds = bound_pulses(bit, [[-0.85855963664], [0.85855963664]], [[1.0]])
    >>> bool(1.285 < bounds.lower[0, 0] < 1.28784), float(bounds.lower[1, 0])
    (True, 4.0)
    """
    X = _checked_points(network, points)
    V = real_array(pulses, "pulses")
    if V.ndim != 2 or V.shape[1] != network.n_inputs or V.size == 0 or not np.all(np.isfinite(V)):
        raise InvalidInputError(
            "pulses", f"shape {V.shape}",
            f"must be finite, of shape (n_pulses, n_inputs = {network.n_inputs}), with at least one pulse",
        )  # fmt: skip
    length, n_steps = whole_number(pulse_length, "pulse_length"), whole_number(n_steps, "n_steps")
    upper, tolerance = positive_number(upper, "upper"), positive_number(tolerance, "tolerance")
    end = _deadline(budget)
    K, count = len(X), len(V)
    u = _checked_input(network, u)
    lower = np.zeros((K, count))
    intervals: list[list[tuple[PulseInterval, ...]]] = [[()] * count for _ in range(K)]
    refusal = ProvedMap.refusal(network, np.abs(u) + np.abs(V).max(axis=0) * upper)
    reasons = [[refusal] * count for _ in range(K)]
    if not refusal and K:
        with np.errstate(all="ignore"):
            proved = ProvedMap(network, u)
            wells = _wells(network, proved, X, u, progress)
            prover, groups = _prover(proved, wells, n_steps, end), _groups(wells)
            for k, well in enumerate(wells):
                for p in range(count):
                    progress("following pulses", (k * count + p) / (K * count))
                    if isinstance(well, str):
                        reasons[k][p] = well
                        continue
                    now = time.perf_counter()
                    prover.deadline = now + max(end - now, 0.0) / (K * count - k * count - p)
                    found, why = proved_intervals(prover, network, well, X[k], V[p], length, upper, tolerance)
                    # Points that are the same are reached together.
                    intervals[k][p] = tuple(replace(f, destinations=groups[f.destinations[0]]) for f in found)
                    reasons[k][p] = why
                    lower[k, p] = reach(intervals[k][p], k, None)
    progress("following pulses", 1.0)
    return PulseBounds(
        lower, tuple(tuple(row) for row in intervals), tuple(tuple(row) for row in reasons), upper
    )
