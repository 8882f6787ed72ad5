"""True equilibria of a flow beside the fixed points of a network trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike

from esntools._typing import BoolArray, ComplexArray, FloatArray
from esntools.errors import InvalidInputError
from esntools.fixed_points.points import FixedPoint, FixedPoints

__all__ = ["EquilibriumMatch", "match_equilibria"]


@final
@dataclass(frozen=True, eq=False)
class EquilibriumMatch:
    """A true equilibrium beside the fixed point of the closed loop that stands for it.

    Attributes
    ----------
    true_output, found_output : ndarray, shape (n_outputs,)
        `found_output` is None when no fixed point is left for this equilibrium.
    true_multipliers, found_multipliers : ndarray of complex
        In the same order: exp(lambda dt) of the true equilibrium, and for each the multiplier of the fixed
        point assigned to it (NaN when there is no fixed point).
    point : FixedPoint or None
    """

    true_output: FloatArray
    found_output: FloatArray | None
    true_multipliers: ComplexArray
    found_multipliers: ComplexArray
    point: FixedPoint | None


def match_equilibria(
    fixed_points: FixedPoints,
    outputs: ArrayLike,
    multipliers: Sequence[ArrayLike],
    *,
    max_distance: float | None = None,
) -> tuple[EquilibriumMatch, ...]:
    r"""Pair the true equilibria of a flow with the fixed points of a network trained on it.

    Points are paired one to one so that the total distance of outputs is smallest. Multipliers are paired
    one to one in the same way, among the found multipliers that are at least as large in modulus as the
    smallest true one; a network has more multipliers than the flow, so a close match of a small one means
    little.

    Parameters
    ----------
    fixed_points : FixedPoints
        Of a network with a readout.
    outputs : array_like, shape (n_equilibria, n_outputs) or (n_equilibria,)
        What the network should put out at each equilibrium.
    multipliers : sequence of array_like
        For each equilibrium, the :math:`\exp(\lambda\,\Delta t)` to compare with (all or the leading ones).
    max_distance : float, optional
        Pairs farther apart than this are not made. No limit by default.

    Returns
    -------
    tuple of EquilibriumMatch
        In the order of `outputs`.

    Examples
    --------
    >>> from esntools.fixed_points import find_fixed_points
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> found = find_fixed_points(EchoStateNetwork([[2.0]], readout=Readout([[10.0]])))
    >>> match = match_equilibria(found, [9.6], [[0.17]])[0]
    >>> match.found_output.round(3), match.found_multipliers.real.round(3)
    (array([9.575]), array([0.166]))
    """
    true = np.asarray(outputs, dtype=np.float64)
    true = true[:, None] if true.ndim == 1 else true
    if len(multipliers) != len(true):
        raise InvalidInputError(
            "multipliers", f"{len(multipliers)} sets", f"must be one set for each of {len(true)} equilibria"
        )
    points = [p for p in fixed_points if p.output is not None and len(p.output) == true.shape[1]]
    if len(fixed_points) and not points:
        raise InvalidInputError(
            "outputs", f"shape {true.shape}", "the last axis must be the network's number of outputs"
        )
    partner: dict[int, int] = {}
    if points:
        found = np.array([p.output for p in points])
        distance = np.linalg.norm(true[:, None] - found[None], axis=2)
        rows, columns = scipy.optimize.linear_sum_assignment(distance)
        near: BoolArray = distance[rows, columns] <= (np.inf if max_distance is None else max_distance)
        partner = {int(i): int(j) for i, j, ok in zip(rows, columns, near) if ok}
    matches = []
    for i, y in enumerate(true):
        mu = np.atleast_1d(np.asarray(multipliers[i], dtype=np.complex128))
        if i not in partner:
            matches.append(EquilibriumMatch(y, None, mu, np.full(len(mu), np.nan + 0j), None))
            continue
        point = points[partner[i]]
        n_large = int(np.sum(np.abs(point.eigenvalues) >= 0.9 * np.min(np.abs(mu))))
        candidates = point.eigenvalues[: max(n_large, len(mu))]
        rows, columns = scipy.optimize.linear_sum_assignment(np.abs(mu[:, None] - candidates[None]))
        pairs = np.full(len(mu), np.nan + 0j)
        pairs[rows] = candidates[columns]
        matches.append(EquilibriumMatch(y, point.output, mu, pairs, point))
    return tuple(matches)
