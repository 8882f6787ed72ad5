r"""Multiple shooting for periodic orbits, in batches.

The unknowns are all p states at once, :math:`X = (x_0, \dots, x_{p-1})`, and the equations

.. math:: r_j(X) = G(u_j, x_{j-1}) - x_j = 0, \qquad j = 0, \dots, p - 1 \pmod p,

so that no error is carried through p steps of an unstable map. A batch has shape (B, p, n). The Newton
correction solves :math:`d_j - J_j d_{j-1} = r_j`: up to `DENSE_LIMIT` units by the product of the Jacobians,
or by orthogonal elimination around the cycle where that product is too large to be of use; above, by GMRES on
:math:`(I - J_{p-1} \cdots J_0)\, d`, where no Jacobian is formed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from esntools._typing import BoolArray, FloatArray
from esntools.maps import Map
from esntools.network import EchoStateNetwork

__all__ = ["DENSE_LIMIT", "Shooting", "newton", "polish", "solve_cyclic"]

#: Up to this many units Newton directions come from Jacobians, above it from GMRES.
DENSE_LIMIT: Final = 100

#: A single orbit of so many units is still polished with the dense product of its Jacobians.
POLISH_LIMIT: Final = 1000

# Jacobians by central differences serve the search in maps that give one Jacobian at a time; from here on
# 2 n steps of the batch cost more than the loop over the states.
_DIFFERENCES_UP_TO: Final = 24

# States beyond this are not going to come back.
_ESCAPED: Final = 1e8

_Product: TypeAlias = Callable[[FloatArray], FloatArray]


def _largest(R: FloatArray) -> FloatArray:
    """Return the max norm of every member of a batch (B, p, n); infinite where it is not a number."""
    r = np.max(np.abs(R), axis=(-2, -1))
    return np.asarray(np.where(np.isfinite(r), r, np.inf))


class Shooting:
    """The residuals of p steps of a map under the inputs u (p, n_inputs), and their derivatives."""

    def __init__(self, system: Map, u: FloatArray) -> None:
        self.system, self.u = system, u
        self.n_units, self.period = system.n_units, len(u)
        self.network = system if isinstance(system, EchoStateNetwork) else None
        self._before = np.arange(-1, self.period - 1)

    def images(self, X: FloatArray) -> FloatArray:
        """Return G(u_j, x_{j-1}) for every j of every member of X (B, p, n)."""
        before = X[:, self._before]
        if self.u.shape[1] == 0:
            return self.system.step(before)
        return self.system.step(before, np.broadcast_to(self.u, (*before.shape[:2], self.u.shape[1])))

    def residual(self, X: FloatArray) -> FloatArray:
        """Return the max norm of the residual of every member."""
        with np.errstate(over="ignore", invalid="ignore"):
            return _largest(self.images(X) - X)

    def segments(self, x: FloatArray) -> FloatArray:
        """Return p states in succession for every start x (B, n), which is the last of them: (B, p, n)."""
        out = np.empty((len(x), self.period, self.n_units))
        for j in range(self.period):
            u = np.broadcast_to(self.u[j], (len(x), self.u.shape[1])) if self.u.shape[1] else None
            x = self.system.step(x, u)
            out[:, j] = x
        return out

    def _slopes(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return a phi'(z) for every step, and the states it starts from (network only)."""
        assert self.network is not None
        before = np.roll(X, 1, axis=1)
        u = np.broadcast_to(self.u, (*before.shape[:2], self.u.shape[1]))
        z = self.network.preactivation(before, u)
        return self.network.leak_rate * self.network.activation.slope(z), before

    def jacobians(self, X: FloatArray, *, exact: bool = True) -> FloatArray:
        """Return J_j = DG(u_j, x_{j-1}) for every step: (B, p, n, n).

        Where they need not be exact, a small generic map gets central differences of batched steps.
        """
        B, p, n = X.shape
        if self.network is not None:
            network = self.network
            gain, before = self._slopes(X)
            W = network.dense_W()
            if network.W_fb is not None and network.readout is not None:
                W = W + network.W_fb @ network.readout.W_out
                if network.readout.W_sq is not None:
                    squares = network.W_fb @ network.readout.W_sq
                    W = W + 2.0 * squares * before[:, :, None, :]
            return np.asarray(gain[..., None] * W + np.diag(1.0 - network.leak_rate))
        if not exact and n <= _DIFFERENCES_UP_TO:
            J = np.empty((B, p, n, n))
            h = 6e-6 * np.maximum(1.0, np.max(np.abs(X), axis=2))
            for i in range(n):
                moved, other = X.copy(), X.copy()
                moved[:, :, i] += h
                other[:, :, i] -= h
                J[..., i] = (self.images(moved) - self.images(other)) / (2.0 * np.roll(h, 1, axis=1))[
                    ..., None
                ]
            return J
        J = np.empty((B, p, n, n))
        for b in range(B):
            for j in range(p):
                J[b, j] = self.system.jacobian(X[b, j - 1], self.u[j] if self.u.shape[1] else None)
        return J

    def products(self, X: FloatArray) -> list[_Product]:
        """Return, for every j, the function V (B, n) -> J_j V of a batch; no Jacobian is formed."""
        if self.network is None:
            return [self._generic_product(X[:, j - 1], self.u[j]) for j in range(self.period)]
        gain, before = self._slopes(X)
        return [self._network_product(gain[:, j], before[:, j]) for j in range(self.period)]

    def _generic_product(self, x: FloatArray, u: FloatArray) -> _Product:
        def product(V: FloatArray) -> FloatArray:
            return np.stack([self.system.jacobian_vector(s, v, u if len(u) else None) for s, v in zip(x, V)])

        return product

    def _network_product(self, gain: FloatArray, x: FloatArray) -> _Product:
        network = self.network
        assert network is not None

        def product(V: FloatArray) -> FloatArray:
            out = V @ network.W.T if isinstance(network.W, np.ndarray) else (network.W @ V.T).T
            if network.W_fb is not None and network.readout is not None:
                D = V @ network.readout.W_out.T
                if network.readout.W_sq is not None:
                    D += (2.0 * x * V) @ network.readout.W_sq.T
                out = out + D @ network.W_fb.T
            return np.asarray((1.0 - network.leak_rate) * V + gain * out)

        return product

    def rounding(self, X: FloatArray) -> float:
        """Return the size of the rounding error in the residual of one orbit (p, n)."""
        eps = np.finfo(np.float64).eps
        size = np.max(np.abs(X))
        if self.network is None:
            return float(8.0 * eps * size)
        network = self.network
        terms = np.abs(X) @ np.abs(network.W).T + np.abs(network.b) + np.abs(self.u) @ np.abs(network.W_in).T
        if network.W_fb is not None and network.readout is not None:
            readout = network.readout
            y = np.abs(X) @ np.abs(readout.W_out).T + np.abs(readout.b_out)
            if readout.W_sq is not None:
                y = y + (X * X) @ np.abs(readout.W_sq).T
            terms = terms + y @ np.abs(network.W_fb).T
        gain = np.abs(self._slopes(X[None])[0][0])
        return float(4.0 * eps * (np.max(gain * np.roll(terms, 1, axis=0)) + size))


def solve_cyclic(J: FloatArray, R: FloatArray) -> FloatArray:
    r"""Return d with :math:`d_j - J_j d_{j-1} = r_j` around the cycle, for J (B, p, n, n) and R (B, p, n).

    Orthogonal elimination of one state after the other, :math:`O(p n^3)` and stable however much the product
    of the Jacobians grows (which is therefore never formed); one LU where p n is small.

    References
    ----------
    S. J. Wright, SIAM J. Sci. Stat. Comput. 13 (1992) 742, doi:10.1137/0913044 (structured QR elimination).
    """
    B, p, n = R.shape
    one = np.eye(n)
    if p * n <= 48 or p <= 2:
        A = np.broadcast_to(np.eye(p * n), (B, p * n, p * n)).copy()
        for j in range(p):
            k = (j - 1) % p
            A[:, j * n : (j + 1) * n, k * n : (k + 1) * n] -= J[:, j]
        return _solved(A, R.reshape(B, p * n, 1)).reshape(B, p, n)
    # Rows left over: left d_0 + right d_j = c. Every pass adds the equation of d_{j+1} and drops d_j.
    left, right, c = -J[:, 1], np.broadcast_to(one, J[:, 1].shape), R[:, 1, :, None]
    kept: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
    for j in range(2, p):
        Q, T = np.linalg.qr(np.concatenate([right, -J[:, j]], axis=1), mode="complete")
        Qt = Q.transpose(0, 2, 1)
        upper, lower = Qt[:, :, :n], Qt[:, :, n:]
        onto, past = upper @ left, upper @ c + lower @ R[:, j, :, None]
        kept.append((T[:, :n], onto[:, :n], lower[:, :n], past[:, :n]))
        left, right, c = onto[:, n:], lower[:, n:], past[:, n:]
    A = np.concatenate(
        [np.concatenate([left, right], axis=2),
         np.concatenate([np.broadcast_to(one, J[:, 0].shape), -J[:, 0]], axis=2)], axis=1,
    )  # fmt: skip
    ends = _solved(A, np.concatenate([c, R[:, 0, :, None]], axis=1))
    d = np.empty_like(R)
    d[:, 0], d[:, p - 1] = ends[:, :n, 0], ends[:, n:, 0]
    for j in range(p - 2, 0, -1):
        T, onto, later, past = kept[j - 1]
        d[:, j] = _solved(T, past - onto @ ends[:, :n] - later @ d[:, j + 1, :, None])[:, :, 0]
    return d


def _by_product(J: FloatArray, R: FloatArray) -> FloatArray:
    """Solve the same equations by the product of the Jacobians, several times cheaper than elimination.

    Where the product grows so much that the answer does not close the cycle, by elimination after all.
    """
    p, n = R.shape[1:]
    M, c = J[:, 0], R[:, 0, :, None]
    for j in range(1, p):
        M, c = J[:, j] @ M, J[:, j] @ c + R[:, j, :, None]
    v = last = _solved(np.eye(n) - M, c)
    d = np.empty_like(R)
    for j in range(p):
        v = J[:, j] @ v + R[:, j, :, None]
        d[:, j] = v[:, :, 0]
    gap = np.max(np.abs(v - last), axis=(1, 2))
    poor = ~(gap <= 1e-6 * np.max(np.abs(d), axis=(1, 2)))
    if poor.any():
        d[poor] = solve_cyclic(J[poor], R[poor])
    return d


def _solved(A: FloatArray, b: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.solve(A, b))
    except np.linalg.LinAlgError:
        # Exactly singular somewhere in the batch: the least-squares direction is as good as any.
        ok = np.all(np.isfinite(A), axis=(1, 2)) & np.all(np.isfinite(b), axis=(1, 2))
        out = np.zeros_like(b)
        for i in np.flatnonzero(ok):
            out[i] = np.linalg.lstsq(A[i], b[i], rcond=1e-12)[0]
        return out


def _gmres(operator: _Product, R: FloatArray, krylov: int, eta: float) -> FloatArray:
    """Solve operator(d) = R for every row by GMRES with at most `krylov` products."""
    B, N = R.shape
    krylov = min(krylov, N)
    beta = np.linalg.norm(R, axis=1)
    V = np.zeros((B, krylov + 1, N))
    V[:, 0] = R / np.maximum(beta, 1e-300)[:, None]
    H = np.zeros((B, krylov + 1, krylov))
    y, m = np.zeros((B, 0)), 0
    target = np.zeros((B, krylov + 1))
    target[:, 0] = beta
    for m in range(1, krylov + 1):
        w = operator(V[:, m - 1])
        for _ in range(2):
            h = (V[:, :m] @ w[:, :, None])[:, :, 0]
            w = w - (h[:, None, :] @ V[:, :m])[:, 0]
            H[:, :m, m - 1] += h
        norm = np.linalg.norm(w, axis=1)
        H[:, m, m - 1] = norm
        V[:, m] = w / np.maximum(norm, 1e-300)[:, None]
        if m % 4 and m < krylov:
            continue
        # The small least-squares problems of the whole batch at once; the ridge is for rows already solved.
        A = H[:, : m + 1, :m]
        Q, T = np.linalg.qr(A)
        diagonal = np.abs(np.einsum("bii->bi", T))
        T = (
            T
            + np.eye(m)
            * np.where(diagonal <= 1e-14 * np.max(diagonal, axis=1, keepdims=True), 1e-14, 0.0)[:, None, :]
        )
        y = np.linalg.solve(T, Q.transpose(0, 2, 1) @ target[:, : m + 1, None])
        left_over = np.linalg.norm((target[:, : m + 1, None] - A @ y)[:, :, 0], axis=1)
        y = y[:, :, 0]
        if np.all(left_over <= eta * beta):
            break
    return np.asarray((y[:, None, :] @ V[:, : y.shape[1]])[:, 0])


def _condensed(shooting: Shooting, X: FloatArray, R: FloatArray, krylov: int, eta: float) -> FloatArray:
    """Return Newton directions (B, p, n) by GMRES on the last state alone, carried around the cycle."""
    products = shooting.products(X)

    def around(v: FloatArray) -> FloatArray:
        w = v
        for product in products:
            w = product(w)
        return v - w

    c = np.zeros_like(R[:, 0])
    for j, product in enumerate(products):
        c = product(c) + R[:, j]
    d = np.empty_like(R)
    v = _gmres(around, c, krylov, eta)
    for j, product in enumerate(products):
        v = product(v) + R[:, j]
        d[:, j] = v
    return d


def newton(
    shooting: Shooting,
    X: FloatArray,
    rng: np.random.Generator,
    *,
    tol: float = 1e-9,
    max_iterations: int = 30,
    krylov: int = 32,
    patience: int = 6,
    damped: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Damped Newton from every member of X (B, p, n); return where they got to, and the residuals.

    A step is halved until the residual decreases (Armijo), or kicked at random when it cannot; a member is
    given up at its second kick, or when its residual has not halved within `patience` iterations. Undamped,
    every step is taken whole.
    """
    X = X.copy()
    best, best_residual = X.copy(), shooting.residual(X)
    checkpoint = best_residual.copy()
    kicks = np.zeros(len(X), dtype=int)
    rows = np.flatnonzero((best_residual > tol) & np.isfinite(best_residual))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for iteration in range(1, max_iterations + 1):
            if len(rows) == 0:
                break
            Y = X[rows]
            R = shooting.images(Y) - Y
            before = np.linalg.norm(R, axis=(1, 2))
            if shooting.n_units <= DENSE_LIMIT:
                D = _by_product(shooting.jacobians(Y, exact=False), R)
            else:
                D = _condensed(shooting, Y, R, krylov, 1e-3 if np.median(before) < 1e-2 else 1e-1)
            D = np.where(np.isfinite(D), D, 0.0)
            accepted: BoolArray = np.zeros(len(rows), dtype=bool)
            t = 1.0
            if not damped:
                X[rows] = Y + D
                accepted[:] = True
            while t > 1e-3 and not accepted.all():
                i = np.flatnonzero(~accepted)
                trial = Y[i] + t * D[i]
                after = np.linalg.norm(shooting.images(trial) - trial, axis=(1, 2))
                take = after <= (1.0 - 1e-4 * t) * before[i]
                X[rows[i[take]]] = trial[take]
                accepted[i[take]] = True
                t *= 0.5 if t > 0.2 else 0.25
            stuck = rows[~accepted]
            if len(stuck):
                kicks[stuck] += 1
                scale = 0.05 * np.maximum(np.std(X[stuck], axis=(1, 2), keepdims=True), 1e-3)
                X[stuck] += scale * rng.standard_normal(X[stuck].shape)
            residual = shooting.residual(X[rows])
            better = residual < best_residual[rows]
            best[rows[better]], best_residual[rows[better]] = X[rows[better]], residual[better]
            alive = (residual > tol) & (kicks[rows] < 2) & np.isfinite(residual)
            alive &= np.max(np.abs(X[rows]), axis=(1, 2)) < _ESCAPED
            if damped and iteration % patience == 0:
                alive &= best_residual[rows] <= 0.5 * checkpoint[rows]
                checkpoint[rows] = best_residual[rows]
            rows = rows[alive]
    return best, best_residual


def polish(
    shooting: Shooting, X: FloatArray, *, target: float, max_iterations: int = 30
) -> tuple[FloatArray, float, float]:
    """Return the best orbit near X (p, n) by Newton with exact Jacobians, its residual, and its correction.

    The correction is the largest component of the next Newton step: how far the orbit is from the exact one.
    A small residual with a large correction is a slow passage, not an orbit.
    """
    n = shooting.n_units
    best, best_residual, correction = X, float(shooting.residual(X[None])[0]), np.inf
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(max_iterations):
            R = shooting.images(best[None]) - best[None]
            if n <= POLISH_LIMIT:
                J = shooting.jacobians(best[None])
                d = _by_product(J, R)[0]
            else:
                d = _condensed(shooting, best[None], R, 80, 1e-8)[0]
            if not np.all(np.isfinite(d)):
                return best, best_residual, np.inf
            correction = float(np.max(np.abs(d)))
            if best_residual <= target and correction <= 1e-8 * max(1.0, float(np.max(np.abs(best)))):
                # One more step costs a batch of one and takes the orbit to rounding.
                trial = best + d
                residual = float(shooting.residual(trial[None])[0])
                return (trial, residual, correction) if residual < best_residual else (
                    best, best_residual, correction
                )  # fmt: skip
            improved = False
            for t in (1.0, 0.5, 0.25, 0.0625):
                trial = best + t * d
                residual = float(shooting.residual(trial[None])[0])
                if residual < (1.0 - 0.25 * t) * best_residual:
                    best, best_residual, improved = trial, residual, True
                    break
            if not improved:
                break
    return best, best_residual, correction
