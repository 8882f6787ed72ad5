"""Networks whose state and frame are multiplied by W together: compiled, by BLAS, or by thin factors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import scipy.linalg
from scipy.linalg import blas, lapack

from esntools._typing import FloatArray
from esntools.lyapunov import loops
from esntools.lyapunov.frames import AUDIT_ALL, LONGEST, SPREAD, SPREAD_OF_ALL, Stepped
from esntools.network import EchoStateNetwork
from esntools.simulation.stepping import kernel_parts

__all__ = ["Compiled", "Drive", "Factors", "Products", "factors", "merged"]

# Cholesky's factor of a Gram matrix has lost the square of the condition: beyond this, Householder's.
_CHOLESKY: Final = 1e-4
# Up to this many columns of state and frame the product of our own is faster than BLAS.
_THIN: Final = 32
# Ranks are looked for up to this: beyond, two thin factors save little.
_RANK: Final = 64


class Drive:
    """What is added to W x + W_fb psi(x): W_in u_k + b, of an autonomous network b."""

    def __init__(self, network: EchoStateNetwork, u: FloatArray | None) -> None:
        self.network, self.u = network, u

    def row(self, k: int) -> FloatArray:
        if self.u is None:
            return self.network.b
        return np.asarray(self.network.W_in @ self.u[k] + self.network.b)

    def block(self, first: int, last: int) -> FloatArray:
        """Return rows first ... last - 1, or the single one that serves for all."""
        if self.u is None:
            return self.network.b[None]
        return np.asarray(self.u[first:last] @ self.network.W_in.T + self.network.b)


class Compiled:
    """A small or sparse network: state and frame in one compiled loop."""

    def __init__(self, network: EchoStateNetwork, drive: Drive, x: FloatArray, *, audit: bool) -> None:
        if audit and network.is_sparse:
            network = replace(network, W=network.dense_W())
        parts = kernel_parts(network)
        assert parts is not None
        self.parts: tuple[Any, ...] = tuple(parts)[:10]
        self.drive = drive
        self.audit = audit
        self.x = x
        self.X = np.ascontiguousarray(x[:, None])
        self.k = 0
        self.spread = SPREAD_OF_ALL if audit else SPREAD
        self.audited = self.log_det = 0.0
        self.pace = np.array([1.0, 0.0])

    def _run(self, first: int, last: int, audit: bool) -> FloatArray:
        growth = np.zeros(self.k)
        for i in range(first, last, 1024):
            j = min(i + 1024, last)
            self.log_det += loops.grow(
                *self.parts, self.drive.block(i, j), j - i, self.X, self.pace, self.spread, LONGEST, growth,
                audit,
            )  # fmt: skip
        self.x = self.X[:, 0]
        return growth

    def settle(self, first: int, last: int) -> None:
        self._run(first, last, False)

    def start(self, Q: FloatArray) -> None:
        self.k = Q.shape[1]
        # Whole vectors of eight columns: a sparse product is the faster for them.
        idle = -(self.k + 1) % 8 if len(self.parts[0]) == 0 else 0
        self.X = np.column_stack([self.X[:, 0], Q, np.zeros((len(Q), idle))])
        self.pace = np.array([1.0, 0.0])

    def grow(self, first: int, last: int) -> FloatArray:
        growth = self._run(first, last, self.audit)
        if self.audit:
            self.audited += float(growth.sum())
        return growth


class Factors:
    """W + W_fb W_out as a product of two thin factors, its rank being small."""

    def __init__(self, left: FloatArray, right: FloatArray) -> None:
        self.left, self.right = np.asfortranarray(left), np.asfortranarray(right)
        self.rank = left.shape[1]


def merged(network: EchoStateNetwork) -> tuple[Any, FloatArray | None, FloatArray | None]:
    """Return (W, b, None), an affine feedback absorbed where W is dense; else (W, b, W_fb)."""
    if network.W_fb is None or network.readout is None:
        return network.W, None, None
    if isinstance(network.W, np.ndarray) and network.readout.is_affine:
        shift = network.W_fb @ network.readout.b_out
        return network.W + network.W_fb @ network.readout.W_out, shift, None
    return network.W, None, network.W_fb


def factors(network: EchoStateNetwork) -> Factors | None:
    """Return the thin factors of a dense W + W_fb W_out to rounding, or None where its rank is not small."""
    W, _, W_fb = merged(network)
    if W_fb is not None:
        return None
    if not isinstance(W, np.ndarray):
        if network.n_units > 200:
            return None
        W = network.dense_W()
    n = len(W)
    size = float(np.linalg.norm(W))
    tolerance = 1e-14 * math.sqrt(n) * size
    if n <= 200:
        basis = np.eye(n)
    else:
        # A range finder: the columns of a random product span the range if its rank is below theirs.
        sample = W @ np.random.default_rng(0).standard_normal((n, _RANK))
        basis, R, _ = scipy.linalg.qr(sample, mode="economic", pivoting=True)
        if abs(R[-1, -1]) > 1e-10 * abs(R[0, 0]):
            return None
    left, values, right = np.linalg.svd(basis.T @ W, full_matrices=False)
    rank = int(np.sum(values > tolerance))
    if rank == n:
        return None
    found = Factors(basis @ left[:, :rank] * values[:rank], right[:rank])
    if n > 200 and np.linalg.norm(W - found.left @ found.right) > tolerance:
        return None
    return found


class Products(Stepped):
    """A network whose state and frame are multiplied by W in one product of BLAS."""

    def __init__(
        self, network: EchoStateNetwork, drive: Drive, x: FloatArray, *, audit: bool, thin: Factors | None
    ) -> None:
        super().__init__(audit=audit, audit_all=network.n_units <= AUDIT_ALL)
        self.network, self.drive = network, drive
        W, self.shift, self.W_fb = merged(network)
        self.sparse = not isinstance(W, np.ndarray)
        self.rows = W
        self.columns: FloatArray | None = None
        self.code = network.activation.kernel_code
        self.thin = thin
        self.keep = (1.0 - network.leak_rate)[:, None]
        self.leaky = bool(np.any(self.keep))
        self.start_from(x, np.zeros((len(x), 0)))

    def start_from(self, x: FloatArray, Q: FloatArray) -> None:
        # Columns of zeros fill up fours: BLAS is faster on 12 columns than on 11.
        self.k = Q.shape[1]
        n_columns = -(-(self.k + 1) // 4) * 4 if self.k else 1
        self.XQ = np.zeros((len(x), n_columns), order="F")
        self.XQ[:, 0], self.XQ[:, 1 : self.k + 1] = x, Q
        self.spare = np.zeros_like(self.XQ)
        self.pace = np.array([1.0, 0.0])

    @property
    def x(self) -> FloatArray:
        return np.asarray(self.XQ[:, 0])

    @x.setter
    def x(self, value: FloatArray) -> None:
        self.XQ[:, 0] = value

    @property
    def n_columns(self) -> int:
        return int(self.k)

    @property
    def frame(self) -> FloatArray:
        return np.asarray(self.XQ[:, 1 : self.k + 1])

    def settle(self, first: int, last: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(first, last):
                self.push(k)

    def start(self, Q: FloatArray) -> None:
        self.start_from(self.x.copy(), Q)

    def push(self, k: int, audit: bool = False) -> float:
        network, XQ = self.network, self.XQ
        log_det = float(np.linalg.slogdet(self._jacobian(k))[1]) if audit else 0.0
        if self.thin is not None:
            Z = blas.dgemm(1.0, self.thin.left, blas.dgemm(1.0, self.thin.right, XQ), c=self.spare,
                           beta=0.0, overwrite_c=1)  # fmt: skip
        elif self.sparse or XQ.shape[1] == 1:
            Z = np.asfortranarray(self.rows @ XQ)
        elif XQ.shape[1] <= _THIN:
            Z = self.spare
            loops.thin_product(self.rows, XQ.T, Z.T)
        else:
            if self.columns is None:
                self.columns = np.asfortranarray(self.rows)
            Z = blas.dgemm(1.0, self.columns, XQ, c=self.spare, beta=0.0, overwrite_c=1)
        if self.W_fb is not None and network.readout is not None:
            Y = network.readout.W_out @ XQ
            Y[:, 0] += network.readout.b_out
            if network.readout.W_sq is not None:
                x = XQ[:, :1]
                squares = 2.0 * x * XQ
                squares[:, 0] *= 0.5
                Y += network.readout.W_sq @ squares
            Z += self.W_fb @ Y
        drive = self.drive.row(k)
        if self.shift is not None:
            drive = drive + self.shift
        self.XQ, self.spare = Z, XQ
        if self.code >= 0:
            loops.finish(self.code, network.leak_rate, drive, XQ.T, Z.T)
            return log_det
        z = Z[:, 0] + drive
        Z *= (network.leak_rate * network.activation.slope(z))[:, None]
        Z[:, 0] = network.leak_rate * network.activation(z)
        if self.leaky:
            Z += self.keep * XQ
        return log_det

    def _jacobian(self, k: int) -> FloatArray:
        return self.network.jacobian(self.x, None if self.drive.u is None else self.drive.u[k])

    def orthonormalise(self) -> FloatArray:
        if self.k == 0:
            return np.zeros(0)
        frame = self.frame
        R = blas.dsyrk(1.0, frame, trans=1)
        size = np.sqrt(np.diag(R))
        if np.all(size > 0.0) and np.all(np.isfinite(size)):
            # With columns of length one the factor's diagonal shows how dependent they are.
            unit, fault = lapack.dpotrf(R / np.outer(size, size), lower=0, clean=1)
            diagonal = np.diag(unit)
            if fault == 0 and np.min(diagonal) > _CHOLESKY:
                frame[:] = blas.dtrsm(1.0, unit * size, frame, side=1, overwrite_b=0)
                return np.asarray(np.log(diagonal * size))
        if not np.all(np.isfinite(frame)):
            return np.full(self.k, np.nan)
        Q, R = scipy.linalg.qr(frame, mode="economic", check_finite=False)
        frame[:] = Q
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.abs(np.diag(R))))
