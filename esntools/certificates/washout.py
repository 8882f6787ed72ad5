r"""After how many steps a proved rate has made any two states agree.

A norm N that shrinks by the factor r per step says by itself nothing about the units. With size(e), the
largest N of a difference with components up to e, and reach_j, the largest component j of a difference with
N = 1, it does:

.. math:: |x_j[k] - y_j[k]| \le \mathrm{reach}_j \; r^{k - k_0} \; \mathrm{size}(e).

The numbers here are floating-point ones; the checker computes its own, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from esntools._typing import FloatArray
from esntools.certificates.sectors import Candidate

__all__ = ["extent", "washout_steps"]

#: Room for the checker's rounding, far below what one step more or less brings.
_ROOM: Final = 1.0 + 1e-6


def extent(theorem: str, witness: Mapping[str, Any], n: int) -> tuple[float, FloatArray]:
    """Return size(1, ..., 1) and reach of the norm of a theorem.

    >>> extent("diagonal-schur", {"weights": np.array([1.0, 4.0])}, 2)
    (2.23606797749979, array([1. , 0.5]))
    """
    if theorem == "cascade":
        largest, reach = 0.0, np.empty(n)
        for block, weight in zip(witness["blocks"], witness["weights"], strict=True):
            units = np.asarray(block["units"])
            size, part = extent(block["theorem"], block["witness"], len(units))
            largest = max(largest, size / weight)
            reach[units] = weight * part
        return largest, reach
    if theorem == "perron-weights":
        v = np.asarray(witness["weights"])
        return float((1.0 / v).max()), v
    if "P" in witness:
        P, R = witness["P"], witness["R_P"]
        product = R @ P @ R.T
        margin = float((2.0 * np.diag(product) - np.abs(product).sum(axis=1)).min())
        # P >= margin (R'R)^-1, since R P R' >= margin I.
        squares = (R * R).sum(axis=0) / margin if margin > 0.0 else np.full(n, math.inf)
        return math.sqrt(float(np.abs(P).sum())), np.sqrt(squares)
    y = np.asarray(witness.get("weights", np.ones(n)))
    return math.sqrt(float(y.sum())), 1.0 / np.sqrt(y)


def washout_steps(
    candidate: Candidate, n: int, *, spread: float, epsilon: float, start: int = 0, factor: float = 1.0
) -> int | None:
    """Return the smallest k with factor * size(spread) * rate^(k - start) * max reach <= epsilon.

    None when the norm's extent is not finite.

    >>> half = Candidate("perron-weights", 0.5, {"weights": np.ones(3)})
    >>> washout_steps(half, 3, spread=2.0, epsilon=1e-6)
    21
    """
    size, reach = extent(candidate.theorem, candidate.witness, n)
    amount = _ROOM * factor * spread * size * float(reach.max()) / epsilon
    if not 0.0 < amount < math.inf or not 0.0 < candidate.rate < 1.0:
        return None
    return start + max(0, math.ceil(math.log(amount) / -math.log(candidate.rate)))
