"""Slow twins of the rungs: dense grids of angles, scans of all scalings, ascent without any theory."""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from esntools.certificates.sectors import Sector

Array = NDArray[np.float64]


def naive_margin(sector: Sector, y: Array, rate: float, count: int = 721) -> float:
    """Return the least eigenvalue of K*XK - W'XW, K = (a R)^-1 ((rz - 1 + a) I - a M W), scaled, over z."""
    W, a = sector.dense_W, sector.a
    middle, half = 0.5 * (sector.low + sector.high), 0.5 * (sector.high - sector.low)
    least = math.inf
    for theta in np.linspace(0.0, math.pi, count):
        D = (rate * np.exp(1j * theta) - 1.0 + a) / a
        K = (np.diag(D) - middle[:, None] * W) / half[:, None]
        X = y * half**2
        F = K.conj().T @ (X[:, None] * K) - W.T @ (X[:, None] * W)
        scale = np.sqrt(y) * np.abs(D)
        least = min(least, float(np.linalg.eigvalsh(F / np.outer(scale, scale))[0]))
    return least


def best_by_scanning(W: Array, a: float) -> float:
    """Return the least reach over a fine grid of diagonal scalings of two or three units."""
    q = a / (np.exp(1j * np.linspace(0.0, math.pi, 91)) - 1.0 + a)
    best = math.inf
    grid = np.linspace(-4.0, 4.0, 161 if len(W) == 2 else 41)
    mesh = np.array(np.meshgrid(*[grid] * (len(W) - 1))).reshape(len(W) - 1, -1).T
    for logs in mesh:
        s = np.exp(np.concatenate([[0.0], logs]))
        Y = s[:, None] * W / s
        turned = q[:, None, None] * Y
        values = np.linalg.eigvalsh(0.5 * (turned + turned.conj().swapaxes(1, 2)))
        best = min(best, float(values.max()))
    return best


def lmi_margin(sector: Sector, P: Array, x: Array) -> float:
    """Return the least eigenvalue of the matrix inequality of FORMAT.md at rate 1, per trace of P and X."""
    W, a = sector.dense_W, sector.a
    A0 = np.diag(1.0 - a) + (a * 0.5 * (sector.low + sector.high))[:, None] * W
    B = np.diag(a * 0.5 * (sector.high - sector.low))
    corner = P - A0.T @ P @ A0 - W.T @ (x[:, None] * W)
    M = np.block([[corner, -A0.T @ P @ B], [-B @ P @ A0, np.diag(x) - B @ P @ B]])
    return float(np.linalg.eigvalsh(M)[0] / (np.trace(P) + x.sum()))


def found_by_ascent(sector: Sector) -> float:
    """Climb the least eigenvalue over P and X without any of the theory; return the best margin."""
    n = len(sector.a)
    index = np.tril_indices(n)

    def margin(p: Array) -> float:
        L = np.zeros((n, n))
        L[index] = p[: len(index[0])]
        return -lmi_margin(sector, L @ L.T, np.exp(np.clip(p[len(index[0]) :], -30.0, 30.0)))

    best = math.inf
    for seed in range(3):
        rng = np.random.default_rng(seed)
        p = np.concatenate([np.eye(n)[index] + 0.1 * rng.normal(size=len(index[0])), np.zeros(n)])
        for _ in range(3):
            result = scipy.optimize.minimize(
                margin, p, method="Nelder-Mead", options={"maxfev": 4000, "xatol": 1e-7, "fatol": 1e-10}
            )
            p = result.x
        best = min(best, float(result.fun))
    return -best
