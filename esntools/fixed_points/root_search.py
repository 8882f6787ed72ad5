"""Batched root finding for a fixed-point equation x = image(x).

Every solver takes a batch of starting unknowns (rows) and returns the batch it reached with the max-norm
residual of every row; whether that is small enough is the caller's question. The Jacobian is never formed
above `DENSE_LIMIT` unknowns: products with it cost as much as a step.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import scipy.linalg

from esntools._typing import BoolArray, FloatArray
from esntools.fixed_points.equations import Derivative, Equation, residuals

__all__ = ["DENSE_LIMIT", "ESCAPED", "Deflation", "anderson", "newton", "polish"]

#: Up to this many unknowns a Newton direction comes from LU, above it from GMRES.
DENSE_LIMIT: Final = 150

#: States beyond this are not going to come back; only unbounded maps reach it.
ESCAPED: Final = 1e8


# A row this near to a root (root mean square) and its residual this small is on its last way to it. Two
# roots this near each other have a multiplier near 1, and are looked for along its eigenvector.
_NEAR: Final = 0.01
_ABSORB_EVERY: Final = 6


def _absorbed(
    roots: FloatArray, fresh: FloatArray, X: FloatArray, candidates: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Return the roots with the fresh ones that are new, and which candidate rows are next to one."""
    n = X.shape[1]
    for x in fresh.astype(np.float64):
        if len(roots) == 0 or np.min(np.max(np.abs(roots - x), axis=1)) > 1e-3:
            roots = np.vstack([roots, x])
    late = np.zeros(len(X), dtype=bool)
    rows = np.flatnonzero(candidates)
    if len(rows) and len(roots):
        Y = X[rows].astype(np.float64)
        square = np.square(Y).sum(axis=1)[:, None] - 2.0 * Y @ roots.T + np.square(roots).sum(axis=1)
        late[rows] = np.min(square, axis=1) < n * _NEAR**2
    return roots, late


def anderson(
    equation: Equation,
    X: FloatArray,
    *,
    tol: float = 1e-9,
    max_iterations: int = 60,
    memory: int = 6,
    known: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Anderson-accelerated iteration of the image from every row of X, in the precision of X.

    It finds saddles as well as attractors and needs one product with W per iteration. Rows that do not settle
    come back with the best state they passed through. With `known` (roots, rows), a row on its last way to
    one of them, or to what another row has found, is given up: it comes back with an infinite residual.

    References
    ----------
    H. F. Walker, P. Ni, SIAM J. Numer. Anal. 49 (2011) 1715, doi:10.1137/10078356X.
    """
    best, best_residual = X.copy(), np.full(len(X), np.inf)
    rows = np.arange(len(X))
    X = X.copy()
    B, N = X.shape
    # Differences of residuals, and of residuals plus states: the two that a step reads.
    dF, dG = np.zeros((B, memory, N), dtype=X.dtype), np.zeros((B, memory, N), dtype=X.dtype)
    gram = np.zeros((B, memory, memory))
    ridge = 1e-12 if X.dtype == np.float64 else 1e-7
    X_old: Any = None
    F_old: Any = None
    roots = np.zeros((0, N)) if known is None else known
    with np.errstate(over="ignore", invalid="ignore"):
        for iteration in range(max_iterations):
            F = equation.image(X)
            F -= X
            residual = np.maximum(F.max(axis=1), -F.min(axis=1))
            finite = np.isfinite(residual)
            better = finite & (residual < best_residual[rows])
            best[rows[better]], best_residual[rows[better]] = X[better], residual[better]
            keep = (residual > tol) & (residual < ESCAPED) & finite
            if known is not None and iteration % _ABSORB_EVERY == _ABSORB_EVERY - 1:
                roots, late = _absorbed(roots, best[best_residual <= tol], X, keep & (residual < _NEAR))
                best_residual[rows[late]] = np.inf
                keep &= ~late
            if not keep.any():
                break
            # Copying the histories costs as much as an iteration: compress only when many rows are done, or
            # when one has escaped (its overflow would spoil the batched solve).
            if keep.sum() < 0.8 * len(keep) or not np.all(residual < ESCAPED):
                rows, X, F, dF, dG, gram = rows[keep], X[keep], F[keep], dF[keep], dG[keep], gram[keep]
                if iteration:
                    X_old, F_old = X_old[keep], F_old[keep]
            step = F
            m = min(iteration, memory)
            if m:
                slot = (iteration - 1) % memory
                np.subtract(F, F_old, out=dF[:, slot])
                np.subtract(X, X_old, out=X_old)
                np.add(dF[:, slot], X_old, out=dG[:, slot])
                H = dF[:, :m]
                right = np.stack([dF[:, slot], F], axis=2)
                products = (H @ right).astype(np.float64)
                gram[:, slot, :m] = gram[:, :m, slot] = products[:, :, 0]
                damped = gram[:, :m, :m]
                # Old differences are larger by orders of magnitude: columns of unit length.
                length = np.maximum(np.sqrt(np.einsum("bii->bi", damped)), 1e-150)
                damped = damped / (length[:, :, None] * length[:, None, :])
                np.einsum("bii->bi", damped)[...] += ridge
                gamma = np.linalg.solve(damped, products[:, :, 1:] / length[:, :, None])
                gamma /= length[:, :, None]
                step = F - (gamma.transpose(0, 2, 1).astype(X.dtype) @ dG[:, :m])[:, 0]
                bad = ~np.isfinite(step).all(axis=1)
                step[bad] = F[bad]
            X_old, F_old = X, F
            X = X + step
    return best, best_residual


class Deflation:
    r"""Newton's directions turned away from roots that are known already.

        With :math:`m(x) = \prod_i (1 + arrho^2/\lvert x - x_i
    vert^2)` the deflated residual m r has the
        remaining roots only, and its Newton direction is that of r times :math:`1/(1 - d\cdot
    abla\log m)` (rank-one
        update), so that any solver for r serves.

        References
        ----------
        P. E. Farrell, A. Birkisson, S. W. Funke, SIAM J. Sci. Comput. 37 (2015) A2026, doi:10.1137/140984798.
    """

    def __init__(self, known: FloatArray) -> None:
        self.known = known
        gaps = np.linalg.norm(known[:, None] - known[None], axis=2)
        np.fill_diagonal(gaps, np.inf)
        # The pole reaches about as far as half the way to the next root.
        scale = 0.5 * np.min(gaps, axis=1) if len(known) > 1 else np.full(len(known), np.inf)
        self.squares = np.square(np.where(np.isfinite(scale), scale, 1.0))

    def factor(self, X: FloatArray) -> FloatArray:
        """Return m at every row."""
        square = np.square(X[:, None] - self.known[None]).sum(axis=2)
        return np.asarray(np.prod(1.0 + self.squares / np.maximum(square, 1e-300), axis=1))

    def turned(self, X: FloatArray, D: FloatArray) -> FloatArray:
        """Return the deflated directions."""
        away = X[:, None] - self.known[None]
        square = np.maximum(np.square(away).sum(axis=2), 1e-300)
        weight = -2.0 * self.squares / (square * (square + self.squares))
        slope = np.einsum("bk,bkn,bn->b", weight, away, D)
        denominator = 1.0 - slope
        denominator = np.where(np.abs(denominator) < 1e-3, np.copysign(1e-3, denominator), denominator)
        return np.asarray(D / denominator[:, None])


def _gmres(derivative: Derivative, R: FloatArray, krylov: int, eta: float) -> FloatArray:
    """Solve (I - D) d = R for every row by GMRES with at most `krylov` products; R are the residuals."""
    B, N = R.shape
    beta = np.linalg.norm(R, axis=1)
    V = np.zeros((B, krylov + 1, N))
    V[:, 0] = R / np.maximum(beta, 1e-300)[:, None]
    H = np.zeros((B, krylov + 1, krylov))
    cos, sin = np.zeros((B, krylov)), np.zeros((B, krylov))
    g = np.zeros((B, krylov + 1))
    g[:, 0] = beta
    j = 0
    for j in range(krylov):
        w = V[:, j] - derivative.product(V[:, j])
        # Classical Gram-Schmidt twice is as good as modified, and is two batched products.
        for _ in range(2):
            h = (V[:, : j + 1] @ w[:, :, None])[:, :, 0]
            w -= (h[:, None, :] @ V[:, : j + 1])[:, 0]
            H[:, : j + 1, j] += h
        norm = np.linalg.norm(w, axis=1)
        H[:, j + 1, j] = norm
        V[:, j + 1] = w / np.maximum(norm, 1e-300)[:, None]
        for i in range(j):
            a, b = H[:, i, j].copy(), H[:, i + 1, j].copy()
            H[:, i, j], H[:, i + 1, j] = cos[:, i] * a + sin[:, i] * b, cos[:, i] * b - sin[:, i] * a
        r = np.maximum(np.hypot(H[:, j, j], H[:, j + 1, j]), 1e-300)
        cos[:, j], sin[:, j] = H[:, j, j] / r, H[:, j + 1, j] / r
        H[:, j, j], H[:, j + 1, j] = r, 0.0
        g[:, j + 1], g[:, j] = -sin[:, j] * g[:, j], cos[:, j] * g[:, j]
        if np.all(np.abs(g[:, j + 1]) <= eta * beta):
            break
    m = j + 1
    y = np.zeros((B, m))
    for i in range(m - 1, -1, -1):
        y[:, i] = (g[:, i] - np.einsum("bk,bk->b", H[:, i, i + 1 : m], y[:, i + 1 :])) / H[:, i, i]
    return np.asarray((y[:, None, :] @ V[:, :m])[:, 0])


def _direct(derivative: Derivative, R: FloatArray) -> FloatArray:
    """Solve (I - D) d = R for every row by LU."""
    A = np.eye(R.shape[1]) - derivative.matrices()
    A[~np.isfinite(A).all(axis=(1, 2))] = np.eye(R.shape[1])
    try:
        return np.asarray(np.linalg.solve(A, R[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        # Exactly singular somewhere in the batch: the least-squares direction is as good as any.
        return np.stack([np.linalg.lstsq(a, r, rcond=1e-12)[0] for a, r in zip(A, R, strict=True)])


def newton(
    equation: Equation,
    X: FloatArray,
    rng: np.random.Generator,
    *,
    tol: float = 1e-10,
    max_iterations: int = 40,
    krylov: int = 40,
    patience: int = 8,
    deflation: Deflation | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Damped Newton from every row of X: LU up to `DENSE_LIMIT` unknowns, Newton-GMRES above.

    The step is halved until the residual decreases (Armijo); a row that cannot decrease is kicked. A row is
    given up after its third kick, or when its residual has not halved within `patience` iterations. With a
    deflation, the residual that has to decrease is the deflated one.
    """
    N = equation.n_unknowns
    X = X.copy()
    out, out_residual = X.copy(), residuals(equation, X)
    rows = np.flatnonzero((out_residual > tol) & np.isfinite(out_residual))
    kicks = np.zeros(len(X), dtype=int)

    def size(Y: FloatArray, R: FloatArray) -> FloatArray:
        norm = np.linalg.norm(R, axis=1)
        return np.asarray(norm if deflation is None else norm * deflation.factor(Y))

    with np.errstate(over="ignore", invalid="ignore"):
        checkpoint = out_residual.copy()
        for iteration in range(1, max_iterations + 1):
            if len(rows) == 0:
                break
            Y = X[rows]
            image, derivative = equation.linearise(Y)
            R = image - Y
            before = size(Y, R)
            if N <= DENSE_LIMIT:
                D = _direct(derivative, R)
            else:
                D = _gmres(derivative, R, krylov, 1e-3 if np.median(before) < 1e-2 else 1e-1)
            if deflation is not None:
                D = deflation.turned(Y, D)
            D = np.where(np.isfinite(D), D, 0.0)
            accepted: BoolArray = np.zeros(len(rows), dtype=bool)
            t = 1.0
            while t > 1e-3 and not accepted.all():
                trial = Y + t * D
                after = size(trial, equation.image(trial) - trial)
                take = ~accepted & (after <= (1.0 - 1e-4 * t) * before)
                X[rows[take]] = trial[take]
                accepted |= take
                t *= 0.5 if t > 0.2 else 0.25
            stuck = rows[~accepted]
            if len(stuck):
                kicks[stuck] += 1
                scale = 0.05 * np.maximum(np.std(X[stuck], axis=1, keepdims=True), 1e-3)
                X[stuck] += scale * rng.standard_normal((len(stuck), N))
            residual = residuals(equation, X[rows])
            better = residual < out_residual[rows]
            out[rows[better]], out_residual[rows[better]] = X[rows[better]], residual[better]
            alive = (residual > tol) & (kicks[rows] < 3) & (np.max(np.abs(X[rows]), axis=1) < ESCAPED)
            alive &= np.isfinite(residual)
            if iteration % patience == 0:
                alive &= out_residual[rows] <= 0.5 * checkpoint[rows]
                checkpoint[rows] = out_residual[rows]
            rows = rows[alive]
    return out, out_residual


def polish(
    equation: Equation, x: FloatArray, *, target: float, max_factorisations: int = 4
) -> tuple[FloatArray, float, int]:
    """Return the best unknowns near x by Newton with dense LU, their residual, and sign det(I - D) there.

    The factors are kept while they make progress (chord iteration), so a start that is already close costs
    one factorisation; the sign is that of the last one, 0 when it is singular.
    """
    best, best_residual, sign = x, float(residuals(equation, x[None])[0]), 0
    for _ in range(max_factorisations):
        image, derivative = equation.linearise(best[None])
        A = np.eye(len(x)) - derivative.matrices()[0]
        if not np.all(np.isfinite(A)):
            return best, best_residual, 0
        with warnings.catch_warnings():
            # An exactly singular matrix is an answer here (sign 0), not a mishap.
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            lu, pivots = scipy.linalg.lu_factor(A, check_finite=False, overwrite_a=True)
        sign = sign_of_factors(lu, pivots)
        if sign == 0 or best_residual <= target:
            break
        improved = False
        for _ in range(4):
            trial = best + scipy.linalg.lu_solve((lu, pivots), (image - best[None])[0], check_finite=False)
            residual = float(residuals(equation, trial[None])[0])
            if not residual < 0.5 * best_residual:
                break
            best, best_residual, improved = trial, residual, True
            image = equation.image(best[None])
        if not improved or best_residual <= target:
            break
    return best, best_residual, sign


def sign_of_factors(lu: FloatArray, pivots: FloatArray) -> int:
    """Return the sign of the determinant from LU factors; 0 for a singular matrix."""
    swaps = int(np.sum(pivots != np.arange(len(pivots))))
    sign = int(np.prod(np.sign(np.diag(lu))))
    return -sign if swaps % 2 else sign
