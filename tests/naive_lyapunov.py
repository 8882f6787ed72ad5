"""Slow, obvious twins of the Lyapunov routines: dense Jacobians, one QR decomposition per step."""

from __future__ import annotations

import numpy as np

from esntools._typing import FloatArray
from esntools.maps import Map


def naive_spectrum(system: Map, u: FloatArray | None, x: FloatArray, Q: FloatArray, n: int) -> FloatArray:
    """Mean log |diag R| over n steps, one decomposition after each; log |det| of no matrix is taken."""
    total = np.zeros(Q.shape[1])
    for k in range(n):
        v = None if u is None else u[k]
        J, x = system.jacobian(x, v), system.step(x, v)
        Q, R = np.linalg.qr(J @ Q)
        with np.errstate(divide="ignore"):
            total += np.log(np.abs(np.diag(R)))
    return total / n


def naive_covariant_vectors(
    system: Map, x: FloatArray, n_past: int, n_future: int
) -> tuple[FloatArray, FloatArray]:
    """The state after n_past steps and all covariant vectors there, as intersections of subspaces.

    Vector j lies in the span of the j directions that have grown most in the past, and is orthogonal to the
    j - 1 directions that will grow most in the future.
    """
    n = len(x)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    for _ in range(n_past):
        J, x = system.jacobian(x), system.step(x)
        Q = np.linalg.qr(J @ Q)[0]
    here, jacobians = x, []
    for _ in range(n_future):
        jacobians.append(system.jacobian(x))
        x = system.step(x)
    P = np.linalg.qr(np.random.default_rng(1).standard_normal((n, n)))[0]
    for J in reversed(jacobians):
        P = np.linalg.qr(J.T @ P)[0]
    vectors = np.empty((n, n))
    for j in range(n):
        null = np.linalg.svd(P[:, :j].T @ Q[:, : j + 1])[2][-1] if j else np.ones(1)
        vectors[:, j] = Q[:, : j + 1] @ null
    return here, vectors


def naive_thin_product(W: FloatArray, X: FloatArray) -> FloatArray:
    """W X by its definition."""
    Z = np.zeros((len(W), X.shape[1]))
    for i in range(len(W)):
        for c in range(X.shape[1]):
            Z[i, c] = sum(W[i, j] * X[j, c] for j in range(W.shape[1]))
    return Z
