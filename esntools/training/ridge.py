r"""Ridge regression that stays honest at tiny penalties.

Solves, for features F (n, p) and targets Y (n, d) that may come in blocks,

.. math::

    \min_{C,\,c}\ \lVert Y - F C^\top - 1 c^\top \rVert^2 + \lambda \lVert C \rVert^2, \qquad
    \lambda = \text{penalty} \times \operatorname{mean}_j \textstyle\sum_k (F_{kj} - \bar F_j)^2 ,

so that a penalty means the same whatever the length and the scale of the series; the intercept c is not
penalised. One decomposition serves every penalty. That of the Gram matrix costs half as much, but squares
the condition number: it loses every digit once lambda + e_min is below about eps e_max. `decompose` then
switches to a blocked QR and the singular values of R.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, no_progress
from esntools.errors import InvalidInputError
from esntools.simulation.gram import Moments

__all__ = ["Blocks", "Decomposition", "Moments", "RidgePath", "RidgeSolution", "decompose", "moments", "path"]

#: Called anew for each pass: yields (features (n_i, p), targets (n_i, d)).
Blocks: TypeAlias = Callable[[], Iterator[tuple[FloatArray, FloatArray]]]

_EPS: Final = float(np.finfo(np.float64).eps)
# Below lambda + e_min = 10 eps e_max the Gram matrix holds no digit of the solution; a factor of 1e4 above
# that, four digits of the weights are right, which is more than forecasts notice.
_GRAM_LIMIT: Final = 1e5 * _EPS


def moments(blocks: Blocks) -> Moments:
    """Accumulate the moments in one pass; memory for one block and the p x p sums only."""
    n = 0
    shift_f: FloatArray | None = None
    shift_y = sum_f = sum_y = ff = fy = yy = np.zeros(0)
    for F, Y in blocks():
        if shift_f is None:
            # Shifting by a nearby mean avoids the cancellation of sums of raw squares.
            shift_f, shift_y = F.mean(axis=0), Y.mean(axis=0)
            p, d = F.shape[1], Y.shape[1]
            sum_f, sum_y = np.zeros(p), np.zeros(d)
            ff, fy, yy = np.zeros((p, p)), np.zeros((p, d)), np.zeros((d, d))
        F, Y = F - shift_f, Y - shift_y
        n += len(F)
        sum_f, sum_y = sum_f + F.sum(axis=0), sum_y + Y.sum(axis=0)
        ff += F.T @ F
        fy += F.T @ Y
        yy += Y.T @ Y
    if shift_f is None or n < 2:
        raise InvalidInputError("features", f"{n} rows", "a regression needs at least 2 rows")
    ff -= np.outer(sum_f, sum_f / n)
    fy -= np.outer(sum_f, sum_y / n)
    yy -= np.outer(sum_y, sum_y / n)
    return Moments(n, shift_f + sum_f / n, shift_y + sum_y / n, ff, fy, yy)


@final
@dataclass(frozen=True, eq=False)
class RidgeSolution:
    """Weights for one penalty, with how they were computed.

    Attributes
    ----------
    weights : array, shape (d, p)
    intercept : array, shape (d,)
    penalty, lambda_ : float
        Relative and absolute penalty.
    solver : str
        ``"cholesky"`` (of the Gram matrix), ``"svd"`` (of the triangular factor of the design) or ``"eigh"``.
    condition : float
        (e_max + lambda) / (e_min + lambda) with the eigenvalues e of the centred Gram matrix.
    dof : float
        Effective degrees of freedom, intercept included.
    """

    weights: FloatArray
    intercept: FloatArray
    penalty: float
    lambda_: float
    solver: str
    condition: float
    dof: float


@final
@dataclass(frozen=True, eq=False)
class Decomposition:
    """Eigenvalues and eigenvectors of the centred Gram matrix: the regression at every penalty.

    Attributes
    ----------
    V : array, shape (p, p)
        Eigenvectors, in columns.
    e : array, shape (p,)
        Eigenvalues, not negative.
    a : array, shape (p, d)
        V^T fy.
    mean_f, mean_y, n, scale
        As in `Moments`.
    method : str
        ``"eigh"`` of the Gram matrix or ``"svd"`` of the triangular factor of the design.
    """

    V: FloatArray
    e: FloatArray
    a: FloatArray
    mean_f: FloatArray
    mean_y: FloatArray
    n: int
    scale: float
    method: str
    gram: Moments | None = None

    def lambda_(self, penalty: float) -> float:
        """Return the absolute penalty."""
        penalty = float(penalty)
        if not (np.isfinite(penalty) and penalty >= 0.0):
            raise InvalidInputError("ridge", str(penalty), "the penalty must be finite and not negative")
        return penalty * self.scale

    def dof(self, penalty: float) -> float:
        """Return the effective degrees of freedom, 1 + sum e / (e + lambda)."""
        lambda_ = self.lambda_(penalty)
        return 1.0 + float(np.sum(self.e / np.maximum(self.e + lambda_, np.finfo(float).tiny)))

    def gram_is_enough(self, penalty: float) -> bool:
        """Whether the Gram matrix holds the solution at this penalty to about four digits."""
        return self.lambda_(penalty) + float(self.e.min()) >= _GRAM_LIMIT * float(self.e.max())

    def weights(self, penalties: ArrayLike) -> FloatArray:
        """Return the weights at each penalty, shape (n_penalties, d, p)."""
        lambdas = np.array([self.lambda_(q) for q in np.atleast_1d(np.asarray(penalties))])
        # A direction without any variance gets weight zero, not 0/0.
        denominator = self.e[None, :] + lambdas[:, None]
        gain = np.divide(1.0, denominator, out=np.zeros_like(denominator), where=denominator > 0.0)
        d, p = self.a.shape[1], len(self.e)
        stacked = (gain[:, None, :] * self.a.T[None, :, :]).reshape(-1, p) @ self.V.T
        return np.asarray(stacked.reshape(len(lambdas), d, p))

    def intercepts(self, weights: FloatArray) -> FloatArray:
        """Return the intercepts that go with weights (..., d, p), shape (..., d)."""
        return np.asarray(self.mean_y - weights @ self.mean_f)

    def solve(self, penalty: float) -> RidgeSolution:
        """Return the solution at one penalty.

        From a Gram matrix that is good enough, by Cholesky (the eigenvectors lose up to two digits more);
        else from the decomposition at hand.
        """
        lambda_ = self.lambda_(penalty)
        solver = self.method
        weights = None
        if self.method == "eigh" and self.gram is not None and self.gram_is_enough(penalty):
            shifted = self.gram.ff + lambda_ * np.eye(len(self.e))
            try:
                factor = scipy.linalg.cho_factor(shifted, lower=True, overwrite_a=True)
                weights, solver = scipy.linalg.cho_solve(factor, self.gram.fy).T, "cholesky"
            except np.linalg.LinAlgError:
                weights = None
        if weights is None:
            weights = self.weights(penalty)[0]
        smallest = float(self.e.min()) + lambda_
        return RidgeSolution(
            weights=np.asarray(weights),
            intercept=self.intercepts(np.asarray(weights)),
            penalty=float(penalty),
            lambda_=lambda_,
            solver=solver,
            condition=(float(self.e.max()) + lambda_) / smallest if smallest > 0.0 else float("inf"),
            dof=self.dof(penalty),
        )


def _from_moments(m: Moments) -> Decomposition:
    e, V = scipy.linalg.eigh(m.ff, driver="evd", check_finite=False)
    return Decomposition(V, np.maximum(e, 0.0), V.T @ m.fy, m.mean_f, m.mean_y, m.n, m.scale, "eigh", m)


def _from_design(blocks: Blocks, m: Moments) -> Decomposition:
    """Blocked (tall-skinny) QR of the centred [F, Y], then the SVD of its triangular factor."""
    p = len(m.mean_f)
    rest: FloatArray | None = None
    for F, Y in blocks():
        rows = np.hstack([F - m.mean_f, Y - m.mean_y])
        if rest is not None:
            rows = np.vstack([rest, rows])
        (rest,) = scipy.linalg.qr(rows, mode="r", overwrite_a=True, check_finite=False)
        rest = rest[: rows.shape[1]]
    if rest is None:
        raise InvalidInputError("features", "0 rows", "a regression needs at least 2 rows")
    # With fewer rows than columns the factor is trapezoidal; the missing rows are zero.
    R, z = rest[:p, :p], rest[:p, p:]
    U, s, Vt = scipy.linalg.svd(R, full_matrices=False, check_finite=False)
    k = len(s)
    e, a = np.zeros(p), np.zeros((p, z.shape[1]))
    e[:k], a[:k] = s * s, s[:, None] * (U.T @ z)
    V = Vt.T
    if k < p:
        V = np.hstack([V, scipy.linalg.null_space(Vt)])
    return Decomposition(V, e, a, m.mean_f, m.mean_y, m.n, m.scale, "svd", m)


def decompose(
    blocks: Blocks, *, smallest_penalty: float = 0.0, method: str | None = None, m: Moments | None = None
) -> Decomposition:
    """Return the decomposition that serves every penalty from `smallest_penalty` up.

    Parameters
    ----------
    blocks : callable
        Yields the rows, anew at each call.
    smallest_penalty : float, optional
        The smallest penalty that will be asked for.
    method : {"eigh", "svd"}, optional
        By default ``"eigh"`` of the Gram matrix where lambda + e_min is far enough above eps e_max, else
        ``"svd"`` of the design's triangular factor.
    m : Moments, optional
        When already known, as from `esntools.simulation.accumulate_gram`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> F = rng.normal(size=(50, 3))
    >>> Y = F @ [[1.0], [2.0], [-1.0]] + 4.0
    >>> solution = decompose(lambda: iter([(F, Y)])).solve(1e-12)
    >>> solution.weights.round(6), solution.intercept.round(6)
    (array([[ 1.,  2., -1.]]), array([4.]))
    """
    if method not in (None, "eigh", "svd"):
        raise InvalidInputError("method", repr(method), "must be 'eigh', 'svd' or None")
    m = moments(blocks) if m is None else m
    if not (np.isfinite(m.scale) and m.scale > 0.0):
        raise InvalidInputError(
            "features", "all constant", "at least one feature must vary", "lengthen or rescale the series"
        )
    if method == "svd":
        return _from_design(blocks, m)
    found = _from_moments(m)
    if method is None and not found.gram_is_enough(smallest_penalty):
        return _from_design(blocks, m)
    return found


@final
@dataclass(frozen=True, eq=False)
class RidgePath:
    """Errors along the penalties; mean squares over rows and outputs, in units of the targets' variance.

    Attributes
    ----------
    penalties, train, loo, gcv, dof : arrays, shape (n_penalties,)
        Training error, exact leave-one-out error, generalised cross-validation and degrees of freedom.
    """

    penalties: FloatArray
    train: FloatArray
    loo: FloatArray
    gcv: FloatArray
    dof: FloatArray


def path(
    blocks: Blocks,
    decomposition: Decomposition,
    penalties: Sequence[float] | FloatArray,
    *,
    progress: Progress = no_progress,
) -> RidgePath:
    """Return training, leave-one-out and GCV errors at each penalty, from residuals, in one pass.

    The leave-one-out residual is r_k / (1 - h_k) with the leverage h_k = 1/n + sum_j z_kj^2 / (e_j + lambda),
    z = (f - mean) V. Errors are summed from the residuals: the usual y'y - sum(...) form loses all its
    digits where the fit is good, which is where the choice matters.

    References
    ----------
    D. M. Allen, Technometrics 16 (1974) 125, doi:10.1080/00401706.1974.10489157; G. H. Golub, M. Heath,
    G. Wahba, Technometrics 21 (1979) 215, doi:10.1080/00401706.1979.10489751.
    """
    q = decomposition
    penalties = np.asarray(penalties, dtype=np.float64)
    lambdas = np.array([q.lambda_(penalty) for penalty in penalties])
    n_penalties, d, p = len(lambdas), q.a.shape[1], len(q.e)
    denominator = q.e[:, None] + lambdas[None, :]
    gain = np.divide(1.0, denominator, out=np.zeros_like(denominator), where=denominator > 0.0)
    # Columns: penalty-major, then output.
    coefficients = (gain[:, :, None] * q.a[:, None, :]).reshape(p, n_penalties * d)
    train, loo = np.zeros(n_penalties), np.zeros(n_penalties)
    variance = np.zeros(d)
    done = 0
    for F, Y in blocks():
        Z = (F - q.mean_f) @ q.V
        centred = Y - q.mean_y
        residual = centred[:, None, :] - (Z @ coefficients).reshape(len(F), n_penalties, d)
        leverage = 1.0 / q.n + (Z * Z) @ gain
        # A row that determines its own fit has leverage 1 and no leave-one-out residual; rounding can pass 1.
        left_out = residual / np.maximum(1.0 - leverage, _EPS)[:, :, None]
        variance += np.sum(centred**2, axis=0)
        train += np.sum(residual**2, axis=(0, 2))
        loo += np.sum(left_out**2, axis=(0, 2))
        done += len(F)
        progress("leave-one-out errors", done / q.n)
    unit = max(float(np.sum(variance)), np.finfo(float).tiny)
    dof = np.array([q.dof(penalty) for penalty in penalties])
    gcv = train / unit / np.maximum(1.0 - dof / q.n, _EPS) ** 2
    return RidgePath(penalties, train / unit, loo / unit, gcv, dof)
