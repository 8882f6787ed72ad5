"""Slow twins of the proved bounds: exact maps in 60 digits, membership of enclosures, scalar basins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from esntools.network import EchoStateNetwork

DIGITS = 60


def precise(value: Any) -> Any:
    """Doubles as exact numbers of many digits."""
    return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(value, dtype=np.float64))


def precise_step(network: EchoStateNetwork, x: np.ndarray, u: np.ndarray | None = None) -> np.ndarray:
    """The map, unit by unit, from its definition: weights are the doubles, everything else has 60 digits."""
    with mpmath.workdps(DIGITS):
        W, b, a = precise(network.dense_W()), precise(network.b), precise(network.leak_rate)
        z = W @ x + b
        if network.n_inputs and u is not None:
            z = z + precise(network.W_in) @ u
        if network.W_fb is not None and network.readout is not None:
            y = precise(network.readout.W_out) @ x + precise(network.readout.b_out)
            z = z + precise(network.W_fb) @ y
        phi: Callable[[Any], Any] = {
            "tanh": mpmath.tanh, "logistic": lambda v: 1 / (1 + mpmath.exp(-v)),
        }[network.activation.name]  # fmt: skip
        return np.array([(1 - a[i]) * x[i] + a[i] * phi(z[i]) for i in range(len(x))], dtype=object)


def slack(cell: Any, x: np.ndarray, directions: np.ndarray) -> float:
    """The least of (support of the cell) - g'(x - c) over directions g: negative means x is outside."""
    with mpmath.workdps(DIGITS):
        c, G, S = precise(cell.c), precise(cell.G), precise(cell.S)
        least = mpmath.inf
        for g in directions:
            g = precise(g)
            size = sum((abs(v) for v in g @ G), mpmath.mpf(0))
            support = size + mpmath.sqrt(max(g @ S @ g, mpmath.mpf(0)))
            least = min(least, (support - g @ (x - c)) / mpmath.sqrt(g @ g))
        return float(least)


def member(cell: Any, rng: np.random.Generator, edge: bool = True) -> np.ndarray:
    """A random state of the cell, on its boundary where `edge`, in 60 digits (moved in by 1e-12)."""
    n, d = cell.G.shape
    eta = rng.choice([-1.0, 1.0], d) if edge else rng.uniform(-1.0, 1.0, d)
    values, vectors = np.linalg.eigh(cell.S)
    zeta = rng.standard_normal(n) * rng.choice([0.0, 1.0], n, p=[0.7, 0.3])
    zeta *= (1.0 if edge else rng.random()) / max(float(np.linalg.norm(zeta)), 1e-300)
    y = (vectors * np.sqrt(np.maximum(values, 0.0))) @ zeta
    with mpmath.workdps(DIGITS):
        inside = mpmath.mpf(1) - mpmath.mpf(10) ** -9
        return np.asarray(precise(cell.c) + inside * (precise(cell.G) @ precise(eta) + precise(y)))


def goes_to(network: EchoStateNetwork, x: np.ndarray, points: np.ndarray, n_steps: int = 20000) -> int:
    """The position of the point where the state x ends, in floating point; -1 if nowhere."""
    for _ in range(n_steps):
        x = network.step(x)
        gap = np.linalg.norm(points - x, axis=1)
        if gap.min() < 1e-7:
            return int(np.argmin(gap))
    return -1


def smallest_leaving_kick(
    network: EchoStateNetwork,
    points: np.ndarray,
    home: int,
    rng: np.random.Generator,
    n_starts: int = 40,
    Q: np.ndarray | None = None,
) -> float:
    """An upper bound of the threshold by random directions, each bisected, improved by small turns."""
    n = points.shape[1]
    Q = np.eye(n) if Q is None else Q
    best, direction = np.inf, np.zeros(Q.shape[1])

    def leaves(d: np.ndarray, size: float) -> bool:
        return goes_to(network, points[home] + size * (Q @ d), points) != home

    for trial in range(n_starts):
        d = rng.standard_normal(Q.shape[1])
        if trial >= n_starts // 2 and np.isfinite(best):
            d = direction + 0.3 * rng.standard_normal(Q.shape[1])
        d /= np.linalg.norm(Q @ d)
        high = min(best, 4.0 * np.sqrt(n))
        if not leaves(d, high):
            continue
        low = 0.0
        for _ in range(30):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if leaves(d, middle) else (middle, high)
        if high < best:
            best, direction = high, d
    return float(best)


def unit_basin(w: float, b: float, a: float, start: float, push: float = 1.0) -> tuple[float, float]:
    """For x+ = (1-a) x + a tanh(w x + b): the distance from the stable point near `start` to the end of its
    basin, and the amplitude of one pulse (z moved by push * g, g > 0) that carries it there; in 60 digits.
    """
    with mpmath.workdps(DIGITS):
        w, b, a = mpmath.mpf(w), mpmath.mpf(b), mpmath.mpf(a)
        x = mpmath.mpf(start)
        for _ in range(60):
            t = mpmath.tanh(w * x + b)
            x -= (x - t) / (1 - w * (1 - t * t))
        # Unstable points by the sign changes of x - tanh(w x + b).
        grid = [mpmath.mpf(k) / 500 for k in range(-600, 601)]
        f = [v - mpmath.tanh(w * v + b) for v in grid]
        roots = []
        for k in range(len(grid) - 1):
            if f[k] * f[k + 1] < 0:
                root = mpmath.findroot(
                    lambda v: v - mpmath.tanh(w * v + b), (grid[k], grid[k + 1]), solver="anderson", tol=1e-50
                )
                roots.append(root)
            elif f[k] == 0:
                roots.append(grid[k])
        unstable = [r for r in roots if w * (1 - mpmath.tanh(w * r + b) ** 2) > 1]
        if not unstable:
            return float("inf"), float("inf")
        edge = min(unstable, key=lambda r: abs(r - x))
        distance = abs(edge - x)
        # (1 - a) x + a tanh(w x + b + push g) = edge.
        level = (edge - (1 - a) * x) / a
        if abs(level) >= 1:
            return float(distance), float("inf")
        return float(distance), float((mpmath.atanh(level) - w * x - b) / push)
