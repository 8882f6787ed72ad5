"""A state and the frame of its perturbations, moved on together: one way for each kind of system."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np
import scipy.linalg
from scipy.linalg import blas, lapack

from esntools._typing import FloatArray
from esntools.lyapunov import loops
from esntools.maps import Map
from esntools.network import EchoStateNetwork
from esntools.simulation.stepping import kernel_parts

__all__ = ["Drive", "Factors", "Stepped", "Tangent", "factors", "stepped", "tangent"]

# Between two reorthonormalisations the columns may come to differ in length by this factor (as a logarithm):
# the smaller loses that many digits to the larger. An estimate: single stretches spread further.
_SPREAD: Final = math.log(1e4)
# The sum of all exponents is to agree with the determinant to nearly all digits.
_SPREAD_OF_ALL: Final = math.log(20.0)
_LONGEST: Final = 50

# Up to this many numbers in a dense W and in the frame together the compiled loop is faster than BLAS from
# Python, and up to so many in the frame alone the compiled decomposition than LAPACK's.
_COMPILED: Final = 70_000
_SMALL_FRAME: Final = 4000
# From this many units on, all exponents come from triangular instead of orthogonal factors.
_TRIANGULAR_FROM: Final = 24
# Beyond this many units the sum rule is checked at the beginning of each block only, where a determinant
# takes a decomposition.
_AUDIT_ALL: Final = 32
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


class Tangent(Protocol):
    """What the estimate of a spectrum asks for.

    `audited` and `log_det` add up, over the steps at which the sum rule is checked, the growth of the whole
    frame and log |det DG|; both stay 0 where the frame is not square.
    """

    x: FloatArray
    audited: float
    log_det: float

    def settle(self, first: int, last: int) -> None:
        """Advance the state alone by the steps first ... last - 1."""

    def start(self, Q: FloatArray) -> None:
        """Take Q, with orthonormal columns, for the frame."""

    def grow(self, first: int, last: int) -> FloatArray:
        """Advance state and frame; return the logarithms of the diagonal of R over all these steps."""


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
        self.spread = _SPREAD_OF_ALL if audit else _SPREAD
        self.audited = self.log_det = 0.0
        self.pace = np.array([1.0, 0.0])

    def _run(self, first: int, last: int, audit: bool) -> FloatArray:
        growth = np.zeros(self.k)
        for i in range(first, last, 1024):
            j = min(i + 1024, last)
            self.log_det += loops.grow(
                *self.parts, self.drive.block(i, j), j - i, self.X, self.pace, self.spread, _LONGEST, growth,
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


class Stepped:
    """A frame that is moved step by step, and made orthonormal when its columns have drifted apart."""

    def __init__(self, *, audit: bool, audit_all: bool) -> None:
        self.audit, self.audit_all = audit, audit_all
        self.spread = _SPREAD_OF_ALL if audit else _SPREAD
        self.audited = self.log_det = 0.0
        self.pace = np.array([1.0, 0.0])

    def push(self, k: int, audit: bool = False) -> float:
        """Do step k; with `audit` return log |det DG|."""
        raise NotImplementedError

    def orthonormalise(self) -> FloatArray:
        """Replace the frame by its orthonormal factor; return the logarithms of the diagonal of R."""
        raise NotImplementedError

    def grow(self, first: int, last: int) -> FloatArray:
        growth = np.zeros(self.n_columns)
        audit = self.audit
        i = first
        with np.errstate(over="ignore", invalid="ignore"):
            while i < last:
                stretch = min(int(self.pace[0]), last - i)
                log_det = 0.0
                for k in range(i, i + stretch):
                    log_det += self.push(k, audit)
                logs = self.orthonormalise()
                growth += logs
                if audit:
                    self.log_det += log_det
                    self.audited += float(logs.sum())
                    audit = self.audit_all
                i += stretch
                loops.next_pace(logs, stretch, self.pace, self.spread, _LONGEST)
        return growth

    @property
    def n_columns(self) -> int:
        raise NotImplementedError

    @property
    def frame(self) -> FloatArray:
        """The frame's columns; writing to it changes the frame."""
        raise NotImplementedError


class Mapped(Stepped):
    """Any system with a step and a Jacobian-vector product."""

    def __init__(self, system: Map, u: FloatArray | None, x: FloatArray, *, audit: bool) -> None:
        super().__init__(audit=audit, audit_all=system.n_units <= _AUDIT_ALL)
        self.system, self.u, self.x = system, u, x
        self.X = np.zeros((len(x), 0))
        # One evaluation for both, where the system offers it.
        self.together = getattr(system, "tangent", None)

    def settle(self, first: int, last: int) -> None:
        for k in range(first, last):
            self.x = self.system.step(self.x, None if self.u is None else self.u[k])

    def start(self, Q: FloatArray) -> None:
        self.X = np.ascontiguousarray(Q)
        self.pace = np.array([1.0, 0.0])

    def push(self, k: int, audit: bool = False) -> float:
        u = None if self.u is None else self.u[k]
        log_det = 0.0
        if self.together is not None:
            x, X = self.together(self.x, np.eye(len(self.x)) if audit else self.X, u)
        else:
            x = self.system.step(self.x, u)
            X = self.system.jacobian(self.x, u) if audit else self.system.jacobian_vector(self.x, self.X, u)
        if audit:
            log_det = float(np.linalg.slogdet(X)[1])
            X = X @ self.X
        self.x = x
        self.X = np.ascontiguousarray(X)
        return log_det

    def orthonormalise(self) -> FloatArray:
        logs = np.empty(self.X.shape[1])
        if self.X.size <= _SMALL_FRAME:
            loops.orthonormalise(self.X, 0, self.X.shape[1], logs)
            return logs
        Q, R = scipy.linalg.qr(self.X, mode="economic", check_finite=False)
        self.X = np.ascontiguousarray(Q)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.abs(np.diag(R))))

    @property
    def n_columns(self) -> int:
        return int(self.X.shape[1])

    @property
    def frame(self) -> FloatArray:
        return self.X


class Factors:
    """W + W_fb W_out as a product of two thin factors, its rank being small."""

    def __init__(self, left: FloatArray, right: FloatArray) -> None:
        self.left, self.right = np.asfortranarray(left), np.asfortranarray(right)
        self.rank = left.shape[1]


def _merged(network: EchoStateNetwork) -> tuple[Any, FloatArray | None, FloatArray | None]:
    """Return (W, b, None), an affine feedback absorbed where W is dense; else (W, b, W_fb)."""
    if network.W_fb is None or network.readout is None:
        return network.W, None, None
    if isinstance(network.W, np.ndarray) and network.readout.is_affine:
        shift = network.W_fb @ network.readout.b_out
        return network.W + network.W_fb @ network.readout.W_out, shift, None
    return network.W, None, network.W_fb


def factors(network: EchoStateNetwork) -> Factors | None:
    """Return the thin factors of a dense W + W_fb W_out to rounding, or None where its rank is not small."""
    W, _, W_fb = _merged(network)
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
        super().__init__(audit=audit, audit_all=network.n_units <= _AUDIT_ALL)
        self.network, self.drive = network, drive
        W, self.shift, self.W_fb = _merged(network)
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
        elif self.sparse:
            Z = np.asfortranarray(self.rows @ XQ)
        elif 1 < XQ.shape[1] <= _THIN:
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


class Triangular:
    r"""All exponents of a dense network, from triangular factors.

    .. math:: D_k P_{k-1} L_{k-1} = P_k L_k U_k

    spans the same nested subspaces as the QR decomposition does, and its diagonal differs from that of R by
    the volumes of the bases at the two ends alone, which one QR decomposition of L there supplies. A product
    by a triangular matrix and an LU decomposition take 5/3 n^3 operations per step; an ordinary product and
    a QR decomposition take 13/3 n^3 or more. Partial pivoting keeps the entries of L below one, so that no
    spread of the exponents is lost, however wide.
    """

    def __init__(self, network: EchoStateNetwork, drive: Drive, x: FloatArray) -> None:
        self.network, self.drive, self.x = network, drive, x
        # A dense W also in place of a sparse one: its product is the smaller part of a step.
        if network.is_sparse:
            network = replace(network, W=network.dense_W())
        W, self.shift, self.W_fb = _merged(network)
        n = network.n_units
        self.W = np.asfortranarray(W)
        self.keep = 1.0 - network.leak_rate
        self.leaky = bool(np.any(self.keep))
        # det DG = det W prod(phi') without leak and bend.
        self.log_det_W: float | None = None
        if not self.leaky and self.W_fb is None:
            self.log_det_W = float(np.linalg.slogdet(W)[1])
        self.audited = self.log_det = 0.0
        self.J = np.empty((n, n), order="F")

    def _state(self, k: int) -> tuple[FloatArray, FloatArray]:
        """Advance the state by step k; return its predecessor and a phi'(z)."""
        network, x = self.network, self.x
        z = self.W @ x + self.drive.row(k)
        if self.shift is not None:
            z += self.shift
        if self.W_fb is not None and network.readout is not None:
            z += self.W_fb @ network.readout(x)
        self.x = self.keep * x + network.leak_rate * network.activation(z)
        return x, network.leak_rate * network.activation.slope(z)

    def settle(self, first: int, last: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(first, last):
                self._state(k)

    def start(self, Q: FloatArray) -> None:
        self._factor(np.array(Q, order="F"))
        self.volumes = self._volumes()

    def _factor(self, B: FloatArray) -> FloatArray:
        self.lu, pivots, _ = lapack.dgetrf(B, overwrite_a=1)
        self.order = loops.permutation(pivots)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.abs(np.diag(self.lu))))

    def _volumes(self) -> FloatArray:
        """Return the logarithms of the diagonal of R in L = Q R."""
        L = np.tril(self.lu, -1)
        np.fill_diagonal(L, 1.0)
        R = lapack.dgeqrf(np.asfortranarray(L), lwork=64 * len(L), overwrite_a=1)[0]
        return np.asarray(np.log(np.abs(np.diag(R))))

    def _push(self, k: int, audit: bool) -> FloatArray:
        x, slope = self._state(k)
        order, J, network = self.order, self.J, self.network
        np.take(self.W.T, order, axis=0, out=J.T)
        if self.W_fb is not None and network.readout is not None:
            bend = network.readout.jacobian(x)[:, order]
            J = blas.dgemm(1.0, self.W_fb, bend, beta=1.0, c=J, overwrite_c=1)
        np.multiply(J.T, slope, out=J.T)
        if self.leaky:
            J[order, np.arange(len(order))] += self.keep[order]
        if audit:
            self.log_det += (
                float(np.linalg.slogdet(J)[1])
                if self.log_det_W is None
                else self.log_det_W + float(np.sum(np.log(np.abs(slope))))
            )
        J = blas.dtrmm(1.0, self.lu, J, side=1, lower=1, diag=1, overwrite_b=1)
        # The old factors' array takes the next Jacobian.
        self.J = self.lu
        logs = self._factor(J)
        if audit:
            self.audited += float(logs.sum())
        return logs

    def grow(self, first: int, last: int) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            growth = -self.volumes
            for k in range(first, last):
                growth += self._push(k, self.log_det_W is not None or k == first)
            self.volumes = self._volumes()
            return np.asarray(growth + self.volumes)


def stepped(system: Map, u: FloatArray | None, x: FloatArray) -> Mapped | Products:
    """Return a tangent whose frame is there after every step (for covariant vectors)."""
    if isinstance(system, EchoStateNetwork):
        return Products(system, Drive(system, u), x, audit=False, thin=None)
    return Mapped(system, u, x, audit=False)


def tangent(system: Map, u: FloatArray | None, x: FloatArray, n_exponents: int) -> tuple[Tangent, int | None]:
    """Return the fastest tangent for that many exponents, and how many are finite at most (None: all)."""
    n = system.n_units
    if not isinstance(system, EchoStateNetwork):
        return Mapped(system, u, x, audit=n_exponents == n), None
    drive = Drive(system, u)
    thin = factors(system)
    finite = None
    if thin is not None and np.all(system.leak_rate == 1.0) and n_exponents > thin.rank:
        n_exponents = finite = thin.rank
    everything = n_exponents == n
    compiled = system.activation.kernel_code >= 0
    work = n * (n if not system.is_sparse else 0) + n * (n_exponents + 1)
    if everything and (n >= _TRIANGULAR_FROM or not compiled):
        return Triangular(system, drive, x), finite
    if compiled and ((system.is_sparse and n >= _TRIANGULAR_FROM) or work <= _COMPILED):
        return Compiled(system, drive, x, audit=everything), finite
    if thin is not None and 4 * thin.rank > n:
        thin = None
    return Products(system, drive, x, audit=everything, thin=thin), finite
