r"""Batched root finding for the fixed-point equation of a network.

The fixed points of the map do not depend on its leak rates, so the equation solved here is the leak-free one,

.. math:: r(x) = \varphi\bigl(W x + W_\mathrm{fb}\psi(x) + b\bigr) - x = 0 .

Every solver takes a batch of starting states (rows) and returns the batch it reached with the max-norm
residual of every row; whether that is small enough is the caller's question. The Jacobian is never formed
above `DENSE_LIMIT` units: products with it cost as much as a step.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Final

import numpy as np
import scipy.linalg

from esntools._typing import BoolArray, FloatArray
from esntools.network import EchoStateNetwork

__all__ = ["DENSE_LIMIT", "FixedPointEquation", "anderson", "newton", "polish"]

#: Up to this many units a Newton direction comes from LU, above it from GMRES.
DENSE_LIMIT: Final = 150

# States beyond this are not going to come back; only unbounded activations reach it.
_ESCAPED: Final = 1e8


class FixedPointEquation:
    """The residual of an autonomous network's fixed-point equation and products with its Jacobian."""

    def __init__(self, network: EchoStateNetwork) -> None:
        # A batch of states times a CSR matrix runs far below BLAS speed: dense is faster from a few per cent.
        n, W = network.n_units, network.W
        if not isinstance(W, np.ndarray) and n <= 2000 and W.nnz > 0.02 * n**2:
            network = replace(network, W=network.dense_W())
        self.network = network
        self.n_units = network.n_units

    def image(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return phi(z(X)) and z(X) for states (B, N)."""
        Z = self.network.preactivation(X)
        return self.network.activation(Z), Z

    def residual(self, X: FloatArray) -> FloatArray:
        """Return the max-norm residual of every row; infinite where it is not a number."""
        with np.errstate(over="ignore", invalid="ignore"):
            r = np.max(np.abs(self.image(X)[0] - X), axis=-1)
        return np.where(np.isfinite(r), r, np.inf)

    def slope(self, Z: FloatArray) -> FloatArray:
        return self.network.activation.slope(Z)

    def product(self, X: FloatArray, S: FloatArray, V: FloatArray) -> FloatArray:
        """Return D phi(z(x)) v row by row, with the slopes S already evaluated."""
        network = self.network
        out = V @ network.W.T if isinstance(network.W, np.ndarray) else (network.W @ V.T).T
        if network.W_fb is not None and network.readout is not None:
            D = V @ network.readout.W_out.T
            if network.readout.W_sq is not None:
                D += (2.0 * X * V) @ network.readout.W_sq.T
            out = out + D @ network.W_fb.T
        return np.asarray(S * out)

    def jacobians(self, X: FloatArray, S: FloatArray) -> FloatArray:
        """Return D phi(z(x)) for every row, dense: (B, N, N)."""
        network = self.network
        W = network.dense_W()
        if network.W_fb is None or network.readout is None:
            return np.asarray(S[:, :, None] * W)
        W = W + network.W_fb @ network.readout.W_out
        if network.readout.W_sq is None:
            return np.asarray(S[:, :, None] * W)
        squares = network.W_fb @ network.readout.W_sq
        return np.asarray(S[:, :, None] * (W + 2.0 * squares * X[:, None, :]))

    def rounding(self, x: FloatArray) -> float:
        """Return the size of the rounding error in r(x): no residual below it means anything."""
        network = self.network
        size = np.abs(network.W) @ np.abs(x) + np.abs(network.b)
        if network.W_fb is not None and network.readout is not None:
            readout = network.readout
            y = np.abs(readout.W_out) @ np.abs(x) + np.abs(readout.b_out)
            if readout.W_sq is not None:
                y = y + np.abs(readout.W_sq) @ (x * x)
            size = size + np.abs(network.W_fb) @ y
        slope = np.abs(network.activation.slope(network.preactivation(x)))
        return float(4.0 * np.finfo(np.float64).eps * np.max(slope * size + np.abs(x)))


def anderson(
    equation: FixedPointEquation,
    X: FloatArray,
    *,
    tol: float = 1e-9,
    max_iterations: int = 60,
    memory: int = 6,
) -> tuple[FloatArray, FloatArray]:
    """Anderson-accelerated iteration of phi(z(x)) from every row of X.

    It finds saddles as well as attractors and needs one product with W per iteration. Rows that do not settle
    come back with the best state they passed through.

    References
    ----------
    H. F. Walker, P. Ni, SIAM J. Numer. Anal. 49 (2011) 1715, doi:10.1137/10078356X.
    """
    best, best_residual = X.copy(), np.full(len(X), np.inf)
    rows = np.arange(len(X))
    X = X.copy()
    B, N = X.shape
    dX, dF = np.zeros((B, memory, N)), np.zeros((B, memory, N))
    X_old = F_old = np.empty((0, N))
    with np.errstate(over="ignore", invalid="ignore"):
        for iteration in range(max_iterations):
            F = equation.image(X)[0] - X
            residual = np.max(np.abs(F), axis=1)
            better = residual < best_residual[rows]
            best[rows[better]], best_residual[rows[better]] = X[better], residual[better]
            keep = (residual > tol) & (np.max(np.abs(X), axis=1) < _ESCAPED) & np.isfinite(residual)
            if not keep.any():
                break
            if iteration:
                slot = (iteration - 1) % memory
                dX[:, slot], dF[:, slot] = X - X_old, F - F_old
            # Copying the histories costs as much as an iteration: compress only when many rows are done, or
            # when one has escaped (its overflow would spoil the batched solve).
            if keep.sum() < 0.7 * len(keep) or not np.all(residual < _ESCAPED):
                rows, X, F, dX, dF = rows[keep], X[keep], F[keep], dX[keep], dF[keep]
            X_old, F_old = X, F
            step = F
            m = min(iteration, memory)
            if m:
                H = dF[:, :m]
                gram = H @ H.transpose(0, 2, 1)
                ridge = 1e-12 * np.trace(gram, axis1=1, axis2=2) + 1e-300
                gram += ridge[:, None, None] * np.eye(m)
                gamma = np.linalg.solve(gram, H @ F[:, :, None])
                step = F - (gamma * (dX[:, :m] + H)).sum(axis=1)
                step = np.where(np.isfinite(step), step, F)
            X = X + step
    return best, best_residual


def _gmres(
    equation: FixedPointEquation, X: FloatArray, S: FloatArray, R: FloatArray, krylov: int, eta: float
) -> FloatArray:
    """Solve (I - D phi) d = R for every row by GMRES with at most `krylov` products; R are the residuals."""
    B, N = X.shape
    beta = np.linalg.norm(R, axis=1)
    V = np.zeros((B, krylov + 1, N))
    V[:, 0] = R / np.maximum(beta, 1e-300)[:, None]
    H = np.zeros((B, krylov + 1, krylov))
    cos, sin = np.zeros((B, krylov)), np.zeros((B, krylov))
    g = np.zeros((B, krylov + 1))
    g[:, 0] = beta
    j = 0
    for j in range(krylov):
        w = V[:, j] - equation.product(X, S, V[:, j])
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


def _direct(equation: FixedPointEquation, X: FloatArray, S: FloatArray, R: FloatArray) -> FloatArray:
    """Solve (I - D phi) d = R for every row by LU."""
    A = np.eye(equation.n_units) - equation.jacobians(X, S)
    try:
        return np.asarray(np.linalg.solve(A, R[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        # Exactly singular somewhere in the batch: the least-squares direction is as good as any.
        return np.stack([np.linalg.lstsq(a, r, rcond=1e-12)[0] for a, r in zip(A, R)])


def newton(
    equation: FixedPointEquation,
    X: FloatArray,
    rng: np.random.Generator,
    *,
    tol: float = 1e-10,
    max_iterations: int = 40,
    krylov: int = 40,
    patience: int = 8,
) -> tuple[FloatArray, FloatArray]:
    """Damped Newton from every row of X: LU up to `DENSE_LIMIT` units, Newton-GMRES above.

    The step is halved until the residual decreases (Armijo); a row that cannot decrease is kicked. A row is
    given up after its third kick, or when its residual has not halved within `patience` iterations.
    """
    N = equation.n_units
    X = X.copy()
    out, out_residual = X.copy(), equation.residual(X)
    rows = np.flatnonzero((out_residual > tol) & np.isfinite(out_residual))
    kicks = np.zeros(len(X), dtype=int)
    with np.errstate(over="ignore", invalid="ignore"):
        checkpoint = out_residual.copy()
        for iteration in range(1, max_iterations + 1):
            if len(rows) == 0:
                break
            Y = X[rows]
            image, Z = equation.image(Y)
            R = image - Y
            S = equation.slope(Z)
            before = np.linalg.norm(R, axis=1)
            if N <= DENSE_LIMIT:
                D = _direct(equation, Y, S, R)
            else:
                D = _gmres(equation, Y, S, R, krylov, 1e-3 if np.median(before) < 1e-2 else 1e-1)
            D = np.where(np.isfinite(D), D, 0.0)
            accepted: BoolArray = np.zeros(len(rows), dtype=bool)
            t = 1.0
            while t > 1e-3 and not accepted.all():
                trial = Y + t * D
                after = np.linalg.norm(equation.image(trial)[0] - trial, axis=1)
                take = ~accepted & (after <= (1.0 - 1e-4 * t) * before)
                X[rows[take]] = trial[take]
                accepted |= take
                t *= 0.5 if t > 0.2 else 0.25
            stuck = rows[~accepted]
            if len(stuck):
                kicks[stuck] += 1
                scale = 0.05 * np.maximum(np.std(X[stuck], axis=1, keepdims=True), 1e-3)
                X[stuck] += scale * rng.standard_normal((len(stuck), N))
            residual = equation.residual(X[rows])
            better = residual < out_residual[rows]
            out[rows[better]], out_residual[rows[better]] = X[rows[better]], residual[better]
            alive = (residual > tol) & (kicks[rows] < 3) & (np.max(np.abs(X[rows]), axis=1) < _ESCAPED)
            alive &= np.isfinite(residual)
            if iteration % patience == 0:
                alive &= out_residual[rows] <= 0.5 * checkpoint[rows]
                checkpoint[rows] = out_residual[rows]
            rows = rows[alive]
    return out, out_residual


def polish(
    equation: FixedPointEquation, x: FloatArray, *, target: float, max_factorisations: int = 4
) -> tuple[FloatArray, float, int]:
    """Return the best state near x by Newton with dense LU, its residual, and sign det(I - D phi) there.

    The factors are kept while they make progress (chord iteration), so a start that is already close costs
    one factorisation; the sign is that of the last one, 0 when it is singular.
    """
    best, best_residual, sign = x, float(equation.residual(x[None])[0]), 0
    for _ in range(max_factorisations):
        image, Z = equation.image(best[None])
        A = np.eye(len(x)) - equation.jacobians(best[None], equation.slope(Z))[0]
        if not np.all(np.isfinite(A)):
            return best, best_residual, 0
        with warnings.catch_warnings():
            # An exactly singular matrix is an answer here (sign 0), not a mishap.
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            lu, pivots = scipy.linalg.lu_factor(A, check_finite=False, overwrite_a=True)
        swaps = int(np.sum(pivots != np.arange(len(pivots))))
        sign = int(np.prod(np.sign(np.diag(lu)))) * (-1) ** swaps
        if sign == 0:
            break
        improved = False
        for _ in range(4):
            trial = best + scipy.linalg.lu_solve((lu, pivots), (image - best)[0], check_finite=False)
            residual = float(equation.residual(trial[None])[0])
            if not residual < 0.5 * best_residual:
                break
            best, best_residual, improved = trial, residual, True
            image = equation.image(best[None])[0]
        if not improved or best_residual <= target:
            break
    return best, best_residual, sign
