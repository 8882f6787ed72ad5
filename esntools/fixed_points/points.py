"""What a search for fixed points returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from esntools._typing import ComplexArray, FloatArray

__all__ = ["Audit", "FixedPoint", "FixedPoints"]

Audit: TypeAlias = Literal["passed", "failed", "not applicable"]


@final
@dataclass(frozen=True, eq=False)
class FixedPoint:
    """One state x with G(u, x) = x, and the linearisation there.

    Attributes
    ----------
    x : ndarray, shape (n_units,)
    u : ndarray, shape (n_inputs,)
        The constant input; empty for an autonomous network.
    output : ndarray, shape (n_outputs,), or None
        psi(x), where the network has a readout.
    residual : float
        Largest component of \\|F(x) - x\\| in the equation that was solved: the leak-free one of a network,
        the gate-free one of a GRU or an LSTM.
    eigenvalues : ndarray of complex
        Multipliers (eigenvalues of D_xG, leak included) by decreasing modulus: all of them up to 200 units
        (and for low rank), above that the leading ones: all unstable ones, and what converged beside them.
    stable : bool
        Every multiplier is inside the unit circle, by a margin that the residual can decide.
    n_unstable : int
        Number of multipliers outside the unit circle.
    index : int
        sign det(I - DG): +1 or -1; 0 where a multiplier is too near 1 to tell.
    hyperbolic : bool
        No multiplier is too near the unit circle to tell on which side it is.
    """

    x: FloatArray
    u: FloatArray
    output: FloatArray | None
    residual: float
    eigenvalues: ComplexArray
    stable: bool
    n_unstable: int
    index: int
    hyperbolic: bool


@final
@dataclass(frozen=True, eq=False)
class FixedPoints:
    """What a search found, and whether the index sum says that something is missing.

    Attributes
    ----------
    points : tuple of FixedPoint
        By number of unstable directions, then by output (or state).
    index_sum : int
        The sum of sign det(I - DG) over the points (of a map given with a box, over those inside it); 1 for
        the complete set of a bounded map.
    audit : {"passed", "failed", "not applicable"}
        "passed" is necessary for completeness, not sufficient: missing +1 and -1 points cancel.
    audit_reason : str
    n_starts : int
        Starting states tried in all rounds.
    rounds : int
    """

    points: tuple[FixedPoint, ...]
    index_sum: int
    audit: Audit
    audit_reason: str
    n_starts: int
    rounds: int

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[FixedPoint]:
        return iter(self.points)

    def __getitem__(self, i: int) -> FixedPoint:
        return self.points[i]

    @property
    def stable(self) -> tuple[FixedPoint, ...]:
        return tuple(p for p in self.points if p.stable)

    @property
    def saddles(self) -> tuple[FixedPoint, ...]:
        """The points with at least one unstable direction."""
        return tuple(p for p in self.points if p.n_unstable)
