r"""What a proof of contraction is about, and what a rung of the ladder returns.

Every rung takes a `Sector`, the set of difference maps

.. math:: z_{k+1} = (I - A) z_k + A D_k W z_k, \qquad D_k = \mathrm{diag}(d_k),\ l \le d_k \le L,

and looks for a norm in which all of them contract. What it returns is a candidate; nothing is proved before
the exact checker has agreed. The conditions, with proofs and sources, are in FORMAT.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from esntools._typing import ComplexArray, FloatArray

__all__ = [
    "CLEARANCE",
    "FACTORED",
    "BoundReached",
    "Candidate",
    "Rung",
    "Sector",
    "congruence",
    "largest_eigenpair",
    "norm2",
    "short",
    "short_rate",
    "uniform_slope_radius",
]

CLEARANCE: Final = 1e-9

#: Up to this many units matrices are factored; beyond, only what products by W can do.
FACTORED: Final = 3000


@final
@dataclass(frozen=True)
class BoundReached:
    """How far one rung gets on this network, in floating point.

    Attributes
    ----------
    name : str
        The rung.
    value : float
        What it bounds: the rung proves contraction when this is below 1.
    proves : bool
        Whether this rung's witness was verified exactly.
    critical_gain : float or None
        The largest multiple of W for which the rung still succeeds; an estimate, not certified.
    seconds : float
        Time spent.
    dual : float or None
        A gain at and above which this rung cannot succeed, in floating point: by a dual certificate, not by
        having tried. None when the rung has none.
    """

    name: str
    value: float
    proves: bool
    critical_gain: float | None
    seconds: float
    dual: float | None = None


@final
@dataclass(frozen=True, eq=False)
class Sector:
    """W, leak rates and slope ranges: arrays of shape (n, n) and (n,); W dense or a SciPy CSR array."""

    W: Any
    a: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def gain(self) -> FloatArray:
        """The largest |slope| of each unit."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def dense_W(self) -> FloatArray:
        """W as a dense array."""
        return np.asarray(self.W.toarray() if scipy.sparse.issparse(self.W) else self.W)

    def scaled(self, factor: float) -> Sector:
        return replace(self, W=self.W * factor)


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """A witness that should pass the exact checker: theorem, rate, arrays by their names in FORMAT.md."""

    theorem: str
    rate: float
    witness: dict[str, Any]


@final
@dataclass(frozen=True, eq=False)
class Rung:
    """What a rung found: the bound, and a candidate when it succeeds."""

    bound: BoundReached
    candidate: Candidate | None
    scaling: FloatArray | None = field(default=None)


def short_rate(rate: float) -> float:
    """Round up to few bits (exact arithmetic is faster), staying below 1."""
    if not 0.0 <= rate < 1.0:
        return rate
    bits = 8 + max(0, math.ceil(-math.log2(1.0 - rate)))
    return max(math.ceil(rate * 2.0**bits), 1) / 2.0**bits


def short(array: FloatArray, digits: int) -> FloatArray:
    """Round to a multiple of 2**-digits."""
    return np.asarray(np.round(array * 2.0**digits) / 2.0**digits)


def congruence(S: FloatArray) -> FloatArray | None:
    """Return R, lower triangular and of few bits, such that R S R' is strictly diagonally dominant.

    R is the inverse of the Cholesky factor L, rounded: with R = L^-1 + E the product is I + EL + (EL)' +
    EL(EL)', whose row sums are bounded here. None when S is not positive definite.
    """
    diagonal = np.diag(S)
    if not (np.all(np.isfinite(S)) and np.all(diagonal > 0.0)):
        return None
    # A power of two per unit makes the diagonal about one, and costs no bit.
    scale = 2.0 ** np.round(-0.5 * np.log2(diagonal))
    factor, failed = scipy.linalg.lapack.dpotrf((scale[:, None] * S) * scale, lower=1, clean=1)
    if failed:
        return None
    inverse, failed = scipy.linalg.lapack.dtrtri(factor, lower=1)
    if failed or not np.all(np.isfinite(inverse)):
        return None
    # A rounding error is uniform, so this is about where the row sums become 0.4.
    digits = math.ceil(math.log2(1.2 * float(np.linalg.norm(factor, axis=0).sum()) + 1.0))
    for _ in range(4):
        R = short(inverse, digits)
        if np.all(np.diag(R) > 0.0):
            # Only the size of the error counts, so single precision will do.
            error = (R - inverse).astype(np.float32) @ factor.astype(np.float32)
            size = np.abs(error)
            rows, columns = size.sum(axis=1, dtype=np.float64), size.sum(axis=0, dtype=np.float64)
            worst = float(np.max(rows + columns + rows * float(columns.max(initial=0.0))))
            if worst < 0.7:
                return np.asarray(R * scale)
        digits += 2
    return None


def uniform_slope_radius(sector: Sector) -> float:
    """Return the spectral radius at the largest equal slopes; at 1 or above, no rung here can succeed."""
    n, rows = len(sector.a), sector.a * sector.high
    if scipy.sparse.issparse(sector.W):
        J = scipy.sparse.diags_array(rows) @ sector.W + scipy.sparse.diags_array(1.0 - sector.a)
        J = J.toarray() if n <= 400 else scipy.sparse.csr_array(J)
    else:
        J = np.diag(1.0 - sector.a) + rows[:, None] * sector.W
    if n <= 400:
        return float(np.abs(np.linalg.eigvals(J)).max())
    start = np.cos(np.arange(n, dtype=np.float64))
    try:
        values = scipy.sparse.linalg.eigs(J, k=6, which="LM", return_eigenvectors=False, v0=start, tol=1e-4)
    except scipy.sparse.linalg.ArpackError as error:
        # Nilpotent or zero matrices, clustered eigenvalues: what did converge, if anything.
        values = getattr(error, "eigenvalues", np.zeros(0))
    return float(np.abs(values).max(initial=0.0))


def norm2(M: Any) -> float:
    """Return the largest singular value of a dense or sparse matrix."""
    n = M.shape[0]
    if n <= 300:
        return float(np.linalg.norm(M.toarray() if scipy.sparse.issparse(M) else M, 2))
    start = np.cos(np.arange(n, dtype=np.float64))
    try:
        value = scipy.sparse.linalg.svds(M, k=1, return_singular_vectors=False, v0=start, tol=1e-6)
    except scipy.sparse.linalg.ArpackError:
        if scipy.sparse.issparse(M):
            # An upper bound, and sharp for the few matrices on which the iteration breaks down.
            size = abs(M)
            return math.sqrt(float(size.sum(axis=0).max()) * float(size.sum(axis=1).max()))
        return float(np.linalg.norm(M, 2))
    return float(value[0])


def largest_eigenpair(T: FloatArray | ComplexArray) -> tuple[float, Any]:
    """Return the largest eigenvalue of a Hermitian matrix and a unit vector of it.

    Examples
    --------
    >>> value, vector = largest_eigenpair(np.diag([1.0, 3.0, 2.0]))
    >>> value, abs(vector).tolist()
    (3.0, [0.0, 1.0, 0.0])
    """
    n = len(T)
    try:
        values, vectors = scipy.linalg.eigh(T, subset_by_index=[n - 1, n - 1])
    except np.linalg.LinAlgError:
        values, vectors = np.empty(0), T
    if not len(values):
        # LAPACK's choice of one eigenvector fails, or returns nothing, on some repeated eigenvalues.
        values, vectors = np.linalg.eigh(T)
    return float(values[-1]), np.asarray(vectors[:, -1])
