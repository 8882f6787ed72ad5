"""All exponents of a network from triangular factors, at a third of the price of orthogonal ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import blas, lapack

from esntools._typing import FloatArray
from esntools.lyapunov import loops
from esntools.lyapunov.products import Drive, merged
from esntools.network import EchoStateNetwork

__all__ = ["Triangular"]


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
        W, self.shift, self.W_fb = merged(network)
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
