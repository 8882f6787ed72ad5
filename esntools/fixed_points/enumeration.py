r"""Every fixed point of a network, proved: branch and prune with Krawczyk's operator in reduced coordinates.

Fixed points solve :math:`x = \varphi(Vx + c)` with :math:`V = W + W_\mathrm{fb}W_\mathrm{out}`; the leak does
not enter. The rows of V nearly lie in a space of r dimensions: :math:`V = LM + E`, E small. Then x is a fixed
point exactly when :math:`\kappa = Mx` is one of

.. math:: G(\kappa) = M x(\kappa), \qquad x(\kappa) = \varphi(L\kappa + c + E\,x(\kappa)) ,

where x is unique because :math:`\sup|\varphi'|\,\|E\| < 1`. For r = n units, L = I and E holds only the
rounding of V. A box that holds every fixed point is contracted by G over the box, by the mean-value form of G
and by Krawczyk's operator, and halved where that does not help, until each box is discarded, or lies in one
that Krawczyk's operator maps into its interior and contracts (exactly one fixed point), or cannot be decided.

Error model. The weights are the doubles that they are; V, c and LM are rounded, and their errors, bounded a
priori for + and * on doubles rounded to nearest in any order, fused or not (gamma_n = n u / (1 - n u),
Higham, section 3.1), are part of E and of an interval about c. Boxes are evaluated by `krawczyk.search` under
the same assumption; its header says how. Activations come from `tables`, proved by ball arithmetic. Nothing
is assumed of exp or tanh of any library, of inverses (any preconditioner is good) or of the search order.
"Complete" means: every state of the network's box, or every state at all where the activation is unbounded,
was either discarded or lies in a box with one listed point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, final

import flint
import numpy as np
from flint import arb, arb_mat
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, no_progress
from esntools.errors import InvalidInputError
from esntools.fixed_points.certified import (
    CertifiedFixedPoint,
    certify_fixed_point,
    constant_input,
    largest_weight,
)
from esntools.fixed_points.krawczyk import assess, search
from esntools.fixed_points.krawczyk import preconditioned as bound_preconditioned
from esntools.fixed_points.reduction import ReducedEquation, rounded_weights
from esntools.fixed_points.tables import CELLS
from esntools.fixed_points.verified import gamma, one_thread, unstable_directions
from esntools.network import EchoStateNetwork
from esntools.threads import one_blas_thread

__all__ = ["EnumeratedFixedPoints", "enumerate_fixed_points"]

_U: Final = 2.0**-53
_STUCK: Final = 20_000
_FOUND: Final = 4096
_LARGEST: Final = 1e60
#: Reduced coordinates up to this many are tried; beyond, boxes are too many in all but trivial cases.
_MOST_COORDINATES: Final = 40
_ALL_MULTIPLIERS: Final = 600
_MERGED: Final = 500


@final
@dataclass(frozen=True, eq=False)
class EnumeratedFixedPoints:
    """All fixed points, or those that were proved and where others may be.

    Attributes
    ----------
    points : tuple of CertifiedFixedPoint
        By number of unstable directions (unknown last), then by state. All different.
    complete : bool
        Whether it is proved that there is no other.
    undecided : ndarray, shape (k, 2, n_units)
        Boxes of states (lowest, highest) in which more fixed points may be, or points that are one; empty
        exactly when `complete`, unless no box was examined at all.
    reason : str
        Why it is not complete; empty when it is.
    n_boxes : int
        Boxes examined.
    method : str
        ``"reduced"`` (in r < n_units coordinates), ``"full"``, ``"affine"`` or ``"none"``.
    rank : int
        r, the number of coordinates.
    index_sum : int
        Sum of the proved indices: 1 for the complete set of a bounded activation.
    """

    points: tuple[CertifiedFixedPoint, ...]
    complete: bool
    undecided: FloatArray
    reason: str
    n_boxes: int
    method: str
    rank: int
    index_sum: int

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[CertifiedFixedPoint]:
        return iter(self.points)

    def __getitem__(self, i: int) -> CertifiedFixedPoint:
        return self.points[i]

    @property
    def stable(self) -> tuple[CertifiedFixedPoint, ...]:
        """The points that are proved to be stable."""
        return tuple(p for p in self.points if p.stable)


# -- the points ------------------------------------------------------------------------------------------


def _reduced_point(
    reduced: ReducedEquation, u: FloatArray, tight: FloatArray, wide: FloatArray
) -> CertifiedFixedPoint | None:
    """Return the fixed point of a proved box in the coordinates of the network; None when a bound fails."""
    network, r = reduced.network, reduced.rank
    low, high = reduced.states(tight[0], tight[1])
    x = 0.5 * low + 0.5 * high
    radius = float(np.max(np.maximum(high - x, x - low))) * (1.0 + 4.0 * _U) + 1e-300
    y, half = 0.5 * tight[0] + 0.5 * tight[1], 0.5 * (tight[1] - tight[0]) * (1.0 + 1e-9) + 1e-300
    forward, g, g_error, S, S_error = (
        np.zeros((2, r)),
        np.zeros(r),
        np.zeros(r),
        np.zeros((r, r)),
        np.zeros((r, r)),
    )
    half = np.maximum(half, 4.0 * _U * np.abs(y))
    assess(reduced.system, y, half, False, forward, g, g_error, S, S_error)
    sign = _determinant_sign(S, S_error)
    if sign is None:
        return None
    # No other reduced state within the box `wide`, hence no other state whose reduced one is in it.
    clearance = np.minimum(tight[0] - wide[0] + wide[1], wide[0] + wide[1] - tight[1])
    clearance = clearance - 8.0 * _U * (np.abs(wide[0]) + wide[1])
    sizes = np.abs(reduced.M).sum(axis=1) * (1.0 + gamma(len(x) + 4)) + 1e-300
    unique = float(np.min(clearance / sizes)) * (1.0 - 1e-9) - radius if r else math.inf
    a = network.uniform_leak_rate
    if (a is None or reduced.table.kind == CELLS) and len(x) <= _ALL_MULTIPLIERS:
        # Leak rates that differ do not commute with the reduction, and cells enclose only roughly.
        full = certify_fixed_point(network, x, u)
        if isinstance(full, CertifiedFixedPoint) and _same(reduced, full, wide):
            # `unique` was measured from x, which may be nearer to the fixed point than the other centre.
            unique -= max(full.radius - radius, 0.0) * (1.0 + 4.0 * _U)
            return full if full.uniqueness_radius > unique else replace(full, uniqueness_radius=unique)
    n_unstable, reason = None, "the leak rates differ, and the network is large"
    if a is not None:
        # Multipliers are 1 - a + a mu; mu outside the unit circle are those of a matrix within S_error of S.
        J = (1.0 - a) * np.eye(r) + a * S
        error = np.sqrt(np.sum((a * S_error + 4.0 * _U * (np.abs(J) + np.abs(a * S) + np.eye(r))) ** 2))
        n_unstable = unstable_directions(J, float(error) * (1.0 + gamma(r * r + 8)))
        reason = "a multiplier is on the unit circle, or too near it to tell"
    x.setflags(write=False)
    stable = None if n_unstable is None else n_unstable == 0
    return CertifiedFixedPoint(
        x, u, radius, max(unique, 0.0), sign, n_unstable, stable, "" if n_unstable is not None else reason
    )


def _same(reduced: ReducedEquation, full: CertifiedFixedPoint, wide: FloatArray) -> bool:
    """Whether the point that `full` describes is in the box in which only one is."""
    size = np.abs(reduced.M)
    error = size.sum(axis=1) * full.radius + gamma(len(full.x) + 4) * (size @ np.abs(full.x))
    gap = np.abs(reduced.M @ full.x - wide[0]) + error * (1.0 + gamma(len(full.x) + 8))
    return bool(np.all(gap < 0.999 * wide[1]))


def _determinant_sign(S: FloatArray, S_error: FloatArray) -> int | None:
    """Return the sign of det(I - S), the same for every matrix within S_error of S, or None."""
    r = len(S)
    before = flint.ctx.prec
    flint.ctx.prec = 300
    try:
        entries = [
            arb(int(i == j)) - arb(float(S[i, j]), float(S_error[i, j])) for i in range(r) for j in range(r)
        ]
        C = np.linalg.inv(np.eye(r) - S)
        T = np.zeros((r, r))
        bound_preconditioned(C, S, S_error, T)
        if not float(T.sum(axis=1).max(initial=0.0)) < 1.0 - 1e-9:
            determinant = arb_mat(r, r, entries).det() if r else arb(1)
        else:
            # Then the sign is that of the determinant of C, whose entries are exact.
            determinant = arb_mat(r, r, [arb(float(v)) for v in C.ravel()]).det() if r else arb(1)
    except np.linalg.LinAlgError:
        return None
    finally:
        flint.ctx.prec = before
    return 1 if determinant > 0 else -1 if determinant < 0 else None


def _distinct(tight: FloatArray, wide: FloatArray) -> tuple[list[int], list[int]]:
    """Return one of each set of proved boxes that hold the same point, and boxes of which that is not clear.

    Boxes whose points' enclosures are disjoint hold different points. Two hold the same one when the
    enclosure of one point lies in the box in which the other is alone.
    """
    low, high = wide[:, 0] - 0.999 * wide[:, 1], wide[:, 0] + 0.999 * wide[:, 1]
    kept: list[int] = []
    unclear: list[int] = []
    for i in range(len(tight)):
        before = np.array(kept, dtype=np.intp)
        apart = np.any((tight[i, 0] > tight[before, 1]) | (tight[before, 0] > tight[i, 1]), axis=1)
        same = [
            bool(
                np.all((tight[i, 0] > low[j]) & (tight[i, 1] < high[j]))
                or np.all((tight[j, 0] > low[i]) & (tight[j, 1] < high[i]))
            )
            for j in before[~apart]
        ]
        if not same:
            kept.append(i)
        elif not any(same):
            unclear.append(i)
    return kept, unclear


def _apart(points: list[CertifiedFixedPoint]) -> list[CertifiedFixedPoint]:
    """Return the points of a complete set with the radii within which there is certainly no other."""
    if not points:
        return points
    states, radii = np.array([p.x for p in points]), np.array([p.radius for p in points])
    result: list[CertifiedFixedPoint] = []
    for i, p in enumerate(points):
        distance = np.max(np.abs(states - p.x), axis=1) * (1.0 - 4.0 * _U) - radii
        distance[i] = math.inf
        own = max(p.uniqueness_radius, float(np.min(distance)) * (1.0 - 1e-12))
        result.append(replace(p, uniqueness_radius=own))
    return result


def _merged(boxes: FloatArray) -> FloatArray:
    """Return hulls of boxes that touch; one hull of all where they are very many."""
    if len(boxes) > _MERGED:
        return np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])[None]
    left = [box.copy() for box in boxes]
    merged: list[FloatArray] = []
    while left:
        hull = left.pop()
        grown = True
        while grown:
            grown = False
            margin = 1e-3 * (hull[1] - hull[0])
            rest = []
            for box in left:
                if np.all((box[0] <= hull[1] + margin) & (box[1] >= hull[0] - margin)):
                    hull = np.stack([np.minimum(hull[0], box[0]), np.maximum(hull[1], box[1])])
                    grown = True
                else:
                    rest.append(box)
            left = rest
        merged.append(hull)
    return np.array(merged).reshape(len(merged), 2, boxes.shape[2])


# -- what is exported ------------------------------------------------------------------------------------


def _without_boxes(
    network: EchoStateNetwork, rank: int, reason: str, points: tuple[CertifiedFixedPoint, ...] = ()
) -> EnumeratedFixedPoints:
    return EnumeratedFixedPoints(
        points, not reason, np.zeros((0, 2, network.n_units)), reason, 0, "affine" if points else "none",
        rank, sum(p.index for p in points),
    )  # fmt: skip


def _affine(network: EchoStateNetwork, u: FloatArray) -> EnumeratedFixedPoints:
    """The map is affine: one fixed point where I - V is certainly regular."""
    V, _, c, _ = rounded_weights(network, u)
    try:
        x = np.linalg.solve(np.eye(len(V)) - V, c)
    except np.linalg.LinAlgError:
        x = np.full(len(V), np.nan)
    if np.all(np.isfinite(x)):
        found = certify_fixed_point(network, x, u)
        if isinstance(found, CertifiedFixedPoint):
            return _without_boxes(network, len(V), "", (found,))
    return _without_boxes(
        network,
        len(V),
        "the map is affine, and I - W is singular or nearly so: none, infinitely many, or one far away",
    )


def _default_boxes(n: int, r: int) -> int:
    # About half a minute.
    return int(min(1e7, 3e10 / (n * (120 + 3 * r * r) + 6 * r**3)))


@one_blas_thread
def enumerate_fixed_points(
    network: EchoStateNetwork,
    u: ArrayLike | None = None,
    *,
    budget: float | None = None,
    max_boxes: int | None = None,
    progress: Progress = no_progress,
) -> EnumeratedFixedPoints:
    r"""Find every fixed point at a constant input, with proof that there is no other.

    Branch and prune with Krawczyk's operator in r coordinates, r the numerical rank of
    :math:`V = W + W_\mathrm{fb}W_\mathrm{out}`: quick for r <= 4 at any number of units, and for up to 8
    units of any rank; beyond, the number of boxes grows exponentially, and the answer may be an honest "not
    complete". The part of V that a matrix of rank r leaves out is enclosed, not neglected.

    Parameters
    ----------
    network : EchoStateNetwork
        Any activation that is bounded; others where the map contracts, where it is affine, and relu up to 12
        units. The feedback must be affine.
    u : array_like, shape (n_inputs,), optional
        The constant input; not for an autonomous network.
    budget : float, optional
        Seconds after which the search stops; unlimited by default.
    max_boxes : int, optional
        Boxes after which it stops; by default as many as take about half a minute.
    progress : callable, optional

    Returns
    -------
    EnumeratedFixedPoints
        `complete` is proved under the error model stated at the top of this file. Folds, pitchforks and
        continua of fixed points are left in `undecided` boxes, and the enumeration is then not complete.

    Raises
    ------
    InvalidInputError
        When u has the wrong shape, or a limit is not positive.

    Examples
    --------
    >>> every = enumerate_fixed_points(EchoStateNetwork([[2.0]]))
    >>> [(round(float(p.x[0]), 6), p.n_unstable) for p in every], every.complete
    ([(-0.957504, 0), (0.957504, 0), (0.0, 1)], True)

    At a bifurcation the answer is that it is not decided:

    >>> fold = enumerate_fixed_points(EchoStateNetwork([[1.0]]))
    >>> fold.complete, len(fold), len(fold.undecided)
    (False, 0, 1)

    References
    ----------
    R. Krawczyk, Computing 4 (1969) 187, doi:10.1007/BF02234767. R. E. Moore, R. B. Kearfott, M. J. Cloud,
    Introduction to Interval Analysis (SIAM 2009), doi:10.1137/1.9780898717716, chapter 8.
    """
    u = constant_input(network, u)
    for name, value in (("budget", budget), ("max_boxes", max_boxes)):
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if value is not None and not (number and value > 0):
            raise InvalidInputError(name, repr(value), "must be positive", "leave it out for the default")
    if largest_weight(network, u) > _LARGEST:
        return _without_boxes(network, network.n_units, f"a number above {_LARGEST:g} enters the map")
    readout = network.readout
    if network.W_fb is not None and readout is not None and not readout.is_affine:
        return _without_boxes(
            network,
            network.n_units,
            "the feedback has squares of the state, which the reduction does not treat",
        )
    with np.errstate(all="ignore"), one_thread(network.n_units):
        if network.activation.name == "identity":
            return _affine(network, u)
        reduced = ReducedEquation(network, u, _MOST_COORDINATES)
        if reduced.reason:
            return _without_boxes(network, reduced.rank, reduced.reason)
        return _searched(reduced, u, budget, max_boxes, progress)


def _searched(
    reduced: ReducedEquation, u: FloatArray, budget: float | None, max_boxes: int | None, progress: Progress
) -> EnumeratedFixedPoints:
    n, r = reduced.network.n_units, reduced.rank
    limit = _default_boxes(n, r) if max_boxes is None else max_boxes
    deadline = math.inf if budget is None else time.perf_counter() + budget
    stack = np.zeros((200 * r + 200, 2, r))
    shares = np.zeros(len(stack))
    stack[0], shares[0], n_stack = reduced.box, 1.0, 1
    found, alone = np.zeros((_FOUND, 2, r)), np.zeros((_FOUND, 2, r))
    stuck = np.zeros((_STUCK, 2, r))
    least = float((reduced.box[1] - reduced.box[0]).max()) * 2.0**-34
    tight: list[FloatArray] = []
    wide: list[FloatArray] = []
    left: list[FloatArray] = []
    n_boxes, done, reason = 0, 0.0, ""
    progress("enumerating fixed points", 0.0)
    while n_stack > 0:
        chunk = min(_default_boxes(n, r) // 1000 + 1, limit - n_boxes)
        n_stack, n_new, n_found, n_stuck, share = search(
            reduced.system, stack, shares, n_stack, found, alone, stuck, least, chunk
        )
        n_boxes, done = n_boxes + n_new, done + share
        tight += [box.copy() for box in found[:n_found]]
        wide += [box.copy() for box in alone[:n_found]]
        left += [box.copy() for box in stuck[:n_stuck]]
        progress("enumerating fixed points", min(done, 1.0))
        if n_stack == 0:
            break
        if n_boxes >= limit:
            reason = f"stopped after {n_boxes} boxes"
        elif time.perf_counter() > deadline:
            reason = f"stopped after {budget:g} s"
        elif n_new == 0 or len(left) > 20 * _STUCK:
            reason = "too many boxes could not be decided"
        if reason:
            left += [box.copy() for box in stack[:n_stack]]
            break
    kept, unclear = _distinct(np.array(tight).reshape(-1, 2, r), np.array(wide).reshape(-1, 2, r))
    left += [tight[i] for i in unclear]
    if unclear:
        reason = reason or "two proved boxes could not be told apart"
    points: list[CertifiedFixedPoint] = []
    for i in kept:
        point = _reduced_point(reduced, u, tight[i], wide[i])
        if point is None:
            left.append(tight[i])
        else:
            points.append(point)
    undecided = np.zeros((0, 2, n))
    if left:
        undecided = np.array([reduced.states(box[0], box[1]) for box in _merged(np.array(left))])
        reason = (
            reason
            or f"{len(undecided)} box(es) could not be decided: a bifurcation or a continuum, or nearly so"
        )
    points.sort(key=lambda p: (n + 1 if p.n_unstable is None else p.n_unstable, tuple(p.x)))
    total = sum(p.index for p in points)
    if not reason:
        points = _apart(points)
    if not reason and reduced.phi.bounded and total != 1:
        # Impossible for a bounded map; should it ever be seen, nothing may be called complete.
        reason = f"internal contradiction: the indices of all fixed points sum to {total}, not 1"
    progress("enumerating fixed points", 1.0)
    method = "full" if r == n and not len(reduced.L) else "reduced"
    return EnumeratedFixedPoints(tuple(points), not reason, undecided, reason, n_boxes, method, r, total)
