"""The norms of contracting balls, and what the checker derives from each, in floating point.

For every norm N: `size(e)` bounds N(d) where |d| <= e, `reach` bounds |d_j| and `tilt` bounds |(V d)_i| where
N(d) <= 1, and `rate` is the smallest rate at which the theorem holds for given slopes. The formulas are in
FORMAT.md, sections 4 and 7.1.
"""

from __future__ import annotations

import math
from typing import Protocol, final

import numpy as np
import scipy.linalg

from esntools._typing import Document, FloatArray
from esntools.certificates.documents import array_section
from esntools.certificates.sectors import congruence

__all__ = ["BallNorm", "DiagonalNorm", "PerronNorm", "QuadraticNorm"]


class BallNorm(Protocol):
    """A norm with what the checker derives from it, in floating point."""

    theorem: str

    def size(self, e: FloatArray) -> float:
        """A bound of N(d) where |d| <= e."""
        ...

    @property
    def reach(self) -> FloatArray:
        """Bounds of |d_j| where N(d) <= 1."""
        ...

    def tilt(self, radius: float) -> FloatArray:
        """Bounds of the change of the arguments of phi where N(d) <= radius, divided by the radius."""
        ...

    def rate(self, low: FloatArray, high: FloatArray, radius: float) -> float:
        """The smallest rate at which slopes between low and high contract; infinite when none."""
        ...

    def witness(self, low: FloatArray, high: FloatArray, rate: float) -> Document | None:
        """The arrays that show it."""
        ...


@final
class PerronNorm:
    """max |d_i| / v_i; the only norm that allows squares in the feedback."""

    theorem = "perron-weights"

    def __init__(self, V: FloatArray, a: FloatArray, weights: FloatArray, bend: FloatArray | None) -> None:
        self.V, self.a, self.weights, self.bend = V, a, weights, bend

    def size(self, e: FloatArray) -> float:
        return float((e / self.weights).max())

    @property
    def reach(self) -> FloatArray:
        return self.weights

    def _size(self, radius: float) -> FloatArray:
        size = np.abs(self.V)
        # Squares in the feedback make the weights grow with the ball.
        return size if self.bend is None else size + 2.0 * radius * np.abs(self.bend) * self.weights

    def tilt(self, radius: float) -> FloatArray:
        return np.asarray(self._size(radius) @ self.weights)

    def rate(self, low: FloatArray, high: FloatArray, radius: float) -> float:
        a, v, size = self.a, self.weights, self._size(radius)
        own = np.diag(self.V)
        inner = np.maximum(*(np.abs(1.0 - a + a * d * own) for d in (low, high)))
        gain = np.maximum(np.abs(low), np.abs(high))
        outer = size @ v - np.abs(own) * v
        return float((inner + a * gain * outer / v).max())

    def witness(self, low: FloatArray, high: FloatArray, rate: float) -> Document | None:
        return {"weights": array_section(self.weights)}


@final
class DiagonalNorm:
    """sqrt(sum y_i d_i^2)."""

    theorem = "diagonal-schur"

    def __init__(self, V: FloatArray, a: FloatArray, weights: FloatArray) -> None:
        self.V, self.a, self.weights = V, a, weights
        self.root = np.sqrt(weights)
        self.reach = 1.0 / self.root
        self._tilt = np.sqrt((V * V) @ (1.0 / weights))

    def size(self, e: FloatArray) -> float:
        return float(np.linalg.norm(self.root * e))

    def tilt(self, radius: float) -> FloatArray:
        return np.asarray(self._tilt)

    def _step(self, low: FloatArray, high: FloatArray) -> FloatArray:
        gain = np.maximum(np.abs(low), np.abs(high))
        scaled = ((np.sqrt(self.a) * self.root * gain)[:, None] * self.V) / self.root
        step = scaled.T @ scaled
        step[np.diag_indices_from(step)] += 1.0 - self.a
        return np.asarray(step)

    def rate(self, low: FloatArray, high: FloatArray, radius: float) -> float:
        return math.sqrt(float(np.linalg.eigvalsh(self._step(low, high))[-1]))

    def witness(self, low: FloatArray, high: FloatArray, rate: float) -> Document | None:
        S = -self._step(low, high)
        S[np.diag_indices_from(S)] += rate * rate
        R = congruence(self.root[:, None] * S * self.root)
        return None if R is None else {"weights": array_section(self.weights), "R": array_section(R)}


@final
class QuadraticNorm:
    """sqrt(d'Pd), with multipliers fitted to the sector."""

    theorem = "incremental-lurie"

    def __init__(
        self,
        V: FloatArray,
        a: FloatArray,
        P: FloatArray,
        R_P: FloatArray,
        slopes: FloatArray,
        rounds: int = 3,
    ) -> None:
        self.V, self.a, self.P, self.R_P, self.rounds = V, a, P, R_P, rounds
        product = R_P @ P @ R_P.T
        margin = float((2.0 * np.diag(product) - np.abs(product).sum(axis=1)).min())
        self.reach = np.sqrt((R_P * R_P).sum(axis=0) / margin)
        self._tilt = np.linalg.norm(R_P @ V.T, axis=0) / math.sqrt(margin)
        # Coordinates in which the norm is Euclidean: column i is a row of PF, a row of V.
        self.factor = scipy.linalg.cholesky(P, lower=True)
        self.pull = scipy.linalg.solve_triangular(self.factor, self._linear(slopes).T @ P, lower=True)
        self.push = scipy.linalg.solve_triangular(self.factor, V.T, lower=True)
        self._multipliers: FloatArray | None = None

    def tilt(self, radius: float) -> FloatArray:
        return np.asarray(self._tilt)

    def _linear(self, middle: FloatArray) -> FloatArray:
        F = (self.a * middle)[:, None] * self.V
        F[np.diag_indices_from(F)] += 1.0 - self.a
        return F

    def size(self, e: FloatArray) -> float:
        return math.sqrt(float(e @ np.abs(self.P) @ e))

    def rate(self, low: FloatArray, high: FloatArray, radius: float) -> float:
        r"""Return the smallest rate over a few choices of the multipliers.

        Its square is the largest eigenvalue of F'PF + V'XV + F'PB (X - B'PB)^-1 B'PF in the norm of P. To
        first order in B the best X balances the two last terms unit by unit,
        X_i = B_i |row i of PF| / |row i of V|, both measured in the directions where that eigenvalue is
        attained; these are refined in turn.
        """
        F, B = self._linear(0.5 * (low + high)), self.a * 0.5 * (high - low)
        PF = self.P @ F
        weighting, best = None, math.inf
        for _ in range(self.rounds + 1):
            top, bottom = (m if weighting is None else weighting @ m for m in (self.pull, self.push))
            sizes = np.sqrt((top * top).sum(axis=0)), np.sqrt((bottom * bottom).sum(axis=0))
            X = B * sizes[0] / np.maximum(sizes[1], 1e-300)
            largest = float(X.max(initial=0.0))
            X = np.ones_like(X) if not 0.0 < largest < math.inf else np.maximum(X, 1e-6 * largest)
            X = X.astype(np.float32).astype(np.float64)
            side = PF.T * B
            try:
                factor = scipy.linalg.cholesky(np.diag(X) - (B[:, None] * self.P) * B, lower=True)
            except scipy.linalg.LinAlgError:
                break
            inner = scipy.linalg.solve_triangular(factor, side.T, lower=True)
            M = F.T @ PF + (self.V.T * X) @ self.V + inner.T @ inner
            half = scipy.linalg.solve_triangular(self.factor, M, lower=True)
            whole = scipy.linalg.solve_triangular(self.factor, half.T, lower=True)
            values, vectors = np.linalg.eigh(0.5 * (whole + whole.T))
            value = math.sqrt(max(float(values[-1]), 0.0))
            if value < best:
                best, self._multipliers = value, X
            emphasis = (np.maximum(values, 0.0) / max(float(values[-1]), 1e-300)) ** 4
            weighting = vectors.T * emphasis[:, None]
        return best

    def witness(self, low: FloatArray, high: FloatArray, rate: float) -> Document | None:
        self.rate(low, high, 0.0)
        X = self._multipliers
        if X is None:
            return None
        F, B = self._linear(0.5 * (low + high)), self.a * 0.5 * (high - low)
        PF = self.P @ F
        side = -(PF.T * B)
        corner = rate * rate * self.P - F.T @ PF - (self.V.T * X) @ self.V
        R = congruence(np.block([[corner, side], [side.T, np.diag(X) - (B[:, None] * self.P) * B]]))
        if R is None:
            return None
        arrays = {"multipliers": X, "P": self.P, "R": R, "R_P": self.R_P}
        return {name: array_section(array) for name, array in arrays.items()}
