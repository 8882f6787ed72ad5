"""The incremental Lur'e inequality: a full quadratic norm for monotone activations."""

from __future__ import annotations

import math
import time

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from esntools._typing import FloatArray
from esntools.certificates.sectors import BoundReached, Candidate, Rung, Sector, congruence, short, short_rate

__all__ = ["incremental_lurie"]


def _riccati(A0: FloatArray, G: FloatArray, H: FloatArray) -> FloatArray | None:
    """Solve P = A0'P (I - G P)^-1 A0 + H by structure-preserving doubling; None when there is no solution."""
    n = len(A0)
    A, scale = A0, float(np.abs(H).max())
    for _ in range(40):
        try:
            both = np.linalg.solve(np.eye(n) - G @ H, np.column_stack([A, G]))
        except np.linalg.LinAlgError:
            return None
        left, right = both[:, :n], both[:, n:]
        G = G + A @ right @ A.T
        change = A.T @ H @ left
        H = H + change
        A = A @ left
        G, H = 0.5 * (G + G.T), 0.5 * (H + H.T)
        size = float(np.abs(H).max())
        if not np.isfinite(size) or size > 1e12 * scale or np.diag(change).min() < -1e-6 * size:
            return None
        if float(np.abs(change).max()) <= 1e-13 * size:
            return H
    return None


def _lurie_witness(sector: Sector, X: FloatArray, rate: float, room: float) -> dict[str, FloatArray] | None:
    """Return P and the two congruences for multipliers X at that rate, or None."""
    n, a, W = len(X), sector.a, sector.W
    middle, half = 0.5 * (sector.low + sector.high), 0.5 * (sector.high - sector.low)
    A0 = np.diag(1.0 - a) + (a * middle)[:, None] * W
    B = a * half
    WXW = (W.T * X) @ W
    slack = room * max(float(np.diag(WXW).mean()), float(X.mean()) * 1e-6)
    P = _riccati(A0 / rate, np.diag(B * B / X), WXW / rate**2 + slack * np.eye(n))
    if P is None:
        return None
    P = short(P, 36 - math.floor(math.log2(float(np.abs(P).max()))))
    PA = P @ A0
    corner = rate**2 * P - A0.T @ PA - WXW
    side = -PA.T * B
    last = np.diag(X) - (B[:, None] * P) * B
    R_P, R = congruence(P), congruence(np.block([[corner, side], [side.T, last]]))
    return None if R_P is None or R is None else {"multipliers": X, "P": P, "R": R, "R_P": R_P}


def _ellipse_gain(sector: Sector, S: FloatArray) -> float | None:
    """Return the critical gain of the ellipse criterion for slopes [0, L] and one leak rate, else None.

    The Lur'e inequality with multipliers S^2 is feasible iff (1 - a) Re w + |w| < (2 - a) / L on the
    numerical range of S W S^-1; the maximum is taken over angles, so this is an estimate, from above.
    """
    a, L = float(sector.a[0]), float(sector.high[0])
    if np.any(sector.a != a) or np.any(sector.high != L) or np.any(sector.low != 0.0):
        return None
    Y = (S[:, None] * sector.W) / S
    worst = 0.0
    start = np.cos(np.arange(len(Y))) + 0j
    for angle in np.linspace(0.0, np.pi, 17):
        turned = ((1.0 - a) + np.exp(-1j * angle)) * Y
        hermitian = 0.5 * (turned + turned.conj().T)
        if len(Y) <= 150:
            top = np.linalg.eigvalsh(hermitian)[-1]
        else:
            try:
                top = scipy.sparse.linalg.eigsh(
                    hermitian, k=1, which="LA", return_eigenvectors=False, v0=start, tol=1e-4
                )[0]
            except scipy.sparse.linalg.ArpackError:
                return None
        worst = max(worst, float(top))
    return (2.0 - a) / (L * worst) if worst > 0.0 and L > 0.0 else None


def incremental_lurie(
    sector: Sector,
    x: FloatArray | None = None,
    *,
    deadline: float = math.inf,
    name: str = "incremental-lurie",
) -> Rung:
    """Try a full quadratic norm z'Pz with given multipliers (1 by default), P from a Riccati equation."""
    start = time.perf_counter()
    X = np.ones(len(sector.a)) if x is None else np.asarray(x / x.max())
    X = np.maximum(X, 1e-6).astype(np.float32).astype(np.float64)
    gain = _ellipse_gain(sector, np.sqrt(X))
    candidate = None
    if gain is None or gain > 1.0:
        feasible = next(
            (w for room in (1e-2, 1e-4, 1e-6) if (w := _lurie_witness(sector, X, 1.0, room))), None
        )
        if feasible is not None:
            candidate = _best_rate(sector, X, deadline)
    value = 1.0 / gain if gain else (0.5 if candidate else math.inf)
    return Rung(BoundReached(name, value, False, gain, time.perf_counter() - start), candidate, X)


def _best_rate(sector: Sector, X: FloatArray, deadline: float) -> Candidate | None:
    """Bisect the rate; every trial costs one Riccati solution, so large networks get few."""
    trials = 6 if len(X) <= 200 else 3
    low, high, found = 0.0, 1.0, None
    for k in range(trials + 12):
        rate = short_rate(0.5 * (low + high) if k else 1.0 - 2.0**-4)
        witness = next((w for room in (1e-2, 1e-4) if (w := _lurie_witness(sector, X, rate, room))), None)
        if witness is not None:
            high, found = rate, Candidate("incremental-lurie", rate, witness)
        else:
            low = rate
        if time.perf_counter() > deadline:
            break
        if found is not None and (k >= trials or high - low < 0.02):
            break
        if 1.0 - low < 1e-5:
            break
    return found
