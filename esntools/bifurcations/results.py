"""What a continuation returns: branches, the bifurcation points on them, and the diagram of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np

from esntools._typing import BoolArray, ComplexArray, FloatArray, IntArray

__all__ = [
    "BifurcationDiagram",
    "BifurcationKind",
    "BifurcationPoint",
    "Branch",
    "Criticality",
    "DiagramAudit",
]

BifurcationKind: TypeAlias = Literal[
    "fold", "pitchfork", "transcritical", "branch point", "flip", "neimark-sacker", "degenerate"
]

Criticality: TypeAlias = Literal["supercritical", "subcritical", "undecided"]


@final
@dataclass(frozen=True, eq=False)
class BifurcationPoint:
    r"""A parameter value at which a multiplier of a fixed point or orbit crosses the unit circle.

    Attributes
    ----------
    kind : str
        "fold" (multiplier 1, two orbits meet), "pitchfork", "transcritical" or "branch point" (multiplier 1,
        two branches cross), "flip" (multiplier -1, an orbit of twice the period is born), "neimark-sacker" (a
        complex pair, an invariant circle is born), "degenerate" (several multipliers at once, or the system
        that locates the point did not converge: see `note`).
    value : float
        The parameter.
    states : ndarray, shape (period, n_units)
        The orbit.
    period : int
    multipliers : ndarray of complex
        The critical ones.
    n_unstable : int
        Number of other multipliers outside the unit circle: 0 where an attractor changes.
    coefficient : float or None
        Of the normal form, with |q| = 1, <p, q> = 1: :math:`\tfrac12\langle p, B(q, q)\rangle` at a fold, the
        cubic one at a pitchfork and a flip, :math:`d(0)` at a Neimark-Sacker point; None where it is not
        defined.
    criticality : {"supercritical", "subcritical", "undecided"}
        Supercritical: what is born is attracting along the critical direction. "undecided" for folds and
        transcritical points, and where the coefficient is zero to working precision.
    located : bool
        The extended system converged: `error` is the size of its last correction.
    error : float
        Estimated error of `value`, as a share of the range of the parameter.
    residual : float
        Largest residual of the extended system.
    note : str
    """

    kind: BifurcationKind
    value: float
    states: FloatArray
    period: int
    multipliers: ComplexArray
    n_unstable: int
    coefficient: float | None
    criticality: Criticality
    located: bool
    error: float
    residual: float
    note: str

    @property
    def x(self) -> FloatArray:
        """The first state of the orbit, (n_units,)."""
        return np.asarray(self.states[0])


@final
@dataclass(frozen=True, eq=False)
class Branch:
    """A curve of fixed points or of orbits of one period, in order along the curve.

    Attributes
    ----------
    parameter : str
    period : int
    values : ndarray, shape (n_points,)
        The parameter; it need not be monotone.
    states : ndarray, shape (n_points, period, n_units)
    leading : ndarray of complex, shape (n_points,)
        The multiplier of largest modulus.
    n_unstable : ndarray of int, shape (n_points,)
        Number of multipliers outside the unit circle.
    index : ndarray of int, shape (n_points,)
        sign det(I - DG^p): +1 or -1, 0 at a multiplier 1.
    points : tuple of BifurcationPoint
        In order along the curve.
    ends : tuple of str
        Why it ends at its first and at its last point: "range", "closed", "flip" (the orbit becomes one of
        half its period), "escaped" (states above 1e6), "step" (the steps became too small), "length"
        (`max_points`).
    residual : float
        Largest residual of a listed point.
    note : str
    """

    parameter: str
    period: int
    values: FloatArray
    states: FloatArray
    leading: ComplexArray
    n_unstable: IntArray
    index: IntArray
    points: tuple[BifurcationPoint, ...]
    ends: tuple[str, str]
    residual: float
    note: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def stable(self) -> BoolArray:
        """Whether no multiplier is outside the unit circle, for every point."""
        return np.asarray(self.n_unstable == 0)


@final
@dataclass(frozen=True, eq=False)
class DiagramAudit:
    """The indices of the fixed points on all branches at one parameter value.

    Attributes
    ----------
    value : float
    n_points : int
        Fixed points on the branches.
    index_sum : int
        1 for the complete set of a map that sends a box into itself.
    verdict : {"passed", "failed", "not applicable"}
    reason : str
    """

    value: float
    n_points: int
    index_sum: int
    verdict: Literal["passed", "failed", "not applicable"]
    reason: str


@final
@dataclass(frozen=True, eq=False)
class BifurcationDiagram:
    """All branches that were found between two values of a parameter, and the bifurcations on them.

    Attributes
    ----------
    parameter : str
    start, stop : float
    branches : tuple of Branch
    points : tuple of BifurcationPoint
        Each once, though it may lie on several branches, by value.
    audit : tuple of DiagramAudit
        At every value where fixed points were searched for.
    note : str
        What was left out, if anything.
    """

    parameter: str
    start: float
    stop: float
    branches: tuple[Branch, ...]
    points: tuple[BifurcationPoint, ...]
    audit: tuple[DiagramAudit, ...]
    note: str

    def __len__(self) -> int:
        return len(self.branches)

    def __iter__(self) -> Iterator[Branch]:
        return iter(self.branches)

    def __getitem__(self, i: int) -> Branch:
        return self.branches[i]

    def of_kind(self, kind: BifurcationKind) -> tuple[BifurcationPoint, ...]:
        """Return the points of one kind, by value."""
        return tuple(p for p in self.points if p.kind == kind)
