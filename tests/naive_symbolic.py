"""Slow twins of the symbolic layer: the norms and bounds by their definitions, in loops."""

from __future__ import annotations

import itertools

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
