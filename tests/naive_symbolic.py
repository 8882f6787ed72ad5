"""Slow twins of the symbolic layer: the norms and bounds by their definitions, in loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork


def finite_difference_jacobian(
    network: EchoStateNetwork, x: FloatArray, u: FloatArray, h: float = 1e-6
) -> FloatArray:
    """Central differences of the map."""
    n = network.n_units
    J = np.zeros((n, n))
    for j in range(n):
        e = np.zeros(n)
        e[j] = h
        J[:, j] = (network.step(x + e, u) - network.step(x - e, u)) / (2.0 * h)
    return J


def vertex_jacobians(V: FloatArray, leak_rate: FloatArray, low: float, high: float) -> list[FloatArray]:
    """(I - A) + A D V for every diagonal D with entries at the ends of the slope range."""
    n = len(V)
    return [
        np.diag(1.0 - leak_rate) + (leak_rate * np.array(d))[:, None] * V
        for d in itertools.product((low, high), repeat=n)
    ]


def spectral_radius(M: FloatArray) -> float:
    return float(np.max(np.abs(np.linalg.eigvals(M))))


def frequency_gain(V: FloatArray, a: float, low: float, high: float, n_angles: int = 240) -> float:
    """max over |z| = 1 of |a R V (z - (1 - a) - a M V)^-1|; infinite unless the middle Jacobian is stable."""
    n = len(V)
    middle, radius = 0.5 * (low + high), 0.5 * (high - low)
    A0 = (1.0 - a) * np.eye(n) + a * middle * V
    if spectral_radius(A0) >= 1.0:
        return np.inf
    # Uniform on the circle of 1/(z - 1 + a), and so denser near z = 1 where slow leaks need it.
    angles = np.linspace(0.0, np.pi, n_angles)
    q = (1.0 - a) / (a * (2.0 - a)) + np.exp(1j * angles) / (a * (2.0 - a))
    z = np.concatenate([1.0 / q + 1.0 - a, [1.0, -1.0]])
    responses = a * radius * V @ np.linalg.inv(z[:, None, None] * np.eye(n) - A0)
    return float(np.max(np.linalg.svd(responses, compute_uv=False)))


def frequency_critical_gain(V: FloatArray, a: float, low: float, high: float) -> float:
    """The gain at which the small-gain test of the Lur'e inequality (S = I) stops passing, by bisection."""
    below, above = 0.0, 64.0
    for _ in range(26):
        g = 0.5 * (below + above)
        below, above = (g, above) if frequency_gain(g * V, a, low, high) < 1.0 else (below, g)
    return below


def ellipse_reach(V: FloatArray, a: float, n_angles: int = 4000) -> float:
    """The largest (1 - a) Re w + |w| on the boundary of the numerical range, from its supporting points."""
    H = np.exp(-1j * np.linspace(0.0, 2.0 * np.pi, n_angles))[:, None, None] * V
    v = np.linalg.eigh(0.5 * (H + H.conj().transpose(0, 2, 1)))[1][:, :, -1]
    w = np.einsum("ki,ij,kj->k", v.conj(), V, v)
    return float(np.max((1.0 - a) * w.real + np.abs(w)))


def count_fixed_points(phi: Callable[[FloatArray], FloatArray], w: float, b: float) -> int:
    """Sign changes of z - w phi(z) - b on a fine grid."""
    z = np.linspace(-60.0, 60.0, 1_200_001)
    return int(np.sum(np.diff(np.sign(z - w * phi(z) - b)) != 0))
