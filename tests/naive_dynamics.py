"""Slow, obvious twins of the dynamics routines: one state at a time, dense Jacobians, QR at every step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.optimize import root

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork


def naive_fixed_points(network: EchoStateNetwork, starts: Iterable[FloatArray]) -> list[FloatArray]:
    """Powell's hybrid method from every start, with differences for the Jacobian; duplicates dropped."""
    found: list[FloatArray] = []
    for start in starts:
        solution = root(lambda x: network.step(x) - x, start, method="hybr", tol=1e-13)
        x = solution.x
        if np.max(np.abs(network.step(x) - x)) < 1e-10 and all(np.max(np.abs(x - y)) > 1e-5 for y in found):
            found.append(x)
    return found


def naive_lyapunov(
    network: EchoStateNetwork, inputs: Iterable[FloatArray], x: FloatArray, Q: FloatArray
) -> FloatArray:
    """Mean log |diag R| of a QR decomposition after every step."""
    total, n = np.zeros(Q.shape[1]), 0
    for u in inputs:
        J = network.jacobian(x, u)
        x = network.step(x, u)
        Q, R = np.linalg.qr(J @ Q)
        total += np.log(np.abs(np.diag(R)))
        n += 1
    return total / n


def naive_destination(
    network: EchoStateNetwork, x: FloatArray, pulse: FloatArray, attractors: FloatArray, n_steps: int = 4000
) -> int:
    """One pulse, many steps at zero input, then the nearest attractor (-1: none within 1e-6)."""
    x = network.step(x, pulse)
    zero = np.zeros(network.n_inputs)
    for _ in range(n_steps):
        x = network.step(x, zero)
    distance = np.max(np.abs(attractors - x), axis=1)
    return int(np.argmin(distance)) if np.min(distance) < 1e-6 else -1
