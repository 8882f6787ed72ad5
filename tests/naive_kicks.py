"""Slow, obvious twins of `esntools.basins.kicks`: every direction of a plane, without normals or saddles."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from esntools._typing import BoolArray, FloatArray
from esntools.maps import Map


def naive_destinations(system: Map, X: FloatArray, points: FloatArray, n_steps: int = 150) -> FloatArray:
    """Return the nearest attracting point after many steps, for every row of X."""
    for _ in range(n_steps):
        X = system.step(X)
    gaps = np.max(np.abs(X[:, None, :] - points[None, :, :]), axis=2)
    return np.asarray(np.argmin(gaps, axis=1))


def naive_crossings(
    system: Map, x: FloatArray, V: FloatArray, points: FloatArray, far: float, target: int | None = None
) -> FloatArray:
    """Return the least size along every row of V that leaves the basin of x (or enters the target's)."""
    own = naive_destinations(system, x[None], points)[0]

    def beyond(r: FloatArray) -> BoolArray:
        labels = naive_destinations(system, x + r[:, None] * V, points)
        return np.asarray(labels != own if target is None else labels == target)

    low, high = np.zeros(len(V)), np.full(len(V), np.inf)
    for radius in np.linspace(0.0, far, 33)[1:]:
        open_ = ~np.isfinite(high)
        hit = beyond(np.full(len(V), radius))
        high[open_ & hit] = radius
        low[open_ & ~hit] = radius
    met = np.isfinite(high)
    for _ in range(32):
        middle = np.where(met, low + 0.49 * (high - low), 0.0)
        hit = beyond(middle)
        high = np.where(met & hit, middle, high)
        low = np.where(met & ~hit, middle, low)
    return high


def naive_smallest_kick(
    system: Map, x: FloatArray, points: FloatArray, far: float, target: int | None = None
) -> tuple[float, FloatArray]:
    """Return the least crossing over the angles of the plane, and over finer angles around the best one."""
    angles = np.linspace(0.0, 2.0 * np.pi, 361)[:-1]
    for width in (2.0 * np.pi / 360, 2.0 * np.pi / 360**2, 0.0):
        V = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        sizes = naive_crossings(system, x, V, points, far, target)
        best = int(np.argmin(sizes))
        angles = angles[best] + np.linspace(-width, width, 61)
    return float(sizes[best]), V[best]


def naive_normal(system: Map, path: FloatArray, covector: FloatArray) -> FloatArray:
    """Return (J_m ... J_1)^T l by forming the product of the Jacobians."""
    product = np.eye(path.shape[1])
    for x in path:
        product = system.jacobian(x) @ product
    return np.asarray(product.T @ covector)


def naive_boxed_kick(
    system: Map, x: FloatArray, points: FloatArray, low: FloatArray, high: FloatArray
) -> float:
    """Return the least crossing over angles of the plane whose end is inside a box; finer around the best."""
    angles = np.linspace(0.0, 2.0 * np.pi, 721)[:-1]
    for width in (2.0 * np.pi / 720 / 25.0**k for k in range(6)):
        V = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        sizes = naive_crossings(system, x, V, points, 3.0)
        Y = x + np.where(np.isfinite(sizes), sizes, 9.0)[:, None] * V
        inside = np.all(np.clip(Y, low - 1e-9, high + 1e-9) == Y, axis=1)
        best = int(np.argmin(np.where(inside, sizes, np.inf)))
        angles = angles[best] + np.linspace(-width, width, 61)
    return float(sizes[best])


def naive_shortest(
    G: FloatArray,
    c: FloatArray,
    basis: FloatArray | None,
    box: tuple[FloatArray, FloatArray] | None,
) -> FloatArray:
    """Return the d of least norm with G d = c, in the span of a basis and in a box, by a general solver."""
    B = np.eye(G.shape[1]) if basis is None else basis
    constraints = [{"type": "eq", "fun": lambda z: G @ B @ z - c}]
    if box is not None:
        low, high = box
        constraints.append({"type": "ineq", "fun": lambda z: np.concatenate([B @ z - low, high - B @ z])})
    found = minimize(
        lambda z: 0.5 * z @ z, np.zeros(B.shape[1]), jac=lambda z: z, method="SLSQP",
        constraints=constraints, options={"ftol": 1e-15, "maxiter": 500},
    )  # fmt: skip
    return np.asarray(B @ found.x)
