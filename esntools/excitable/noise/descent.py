"""Least noise under one constraint on the last state: sequential quadratic programming along a path."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import scipy.linalg

from esntools._typing import FloatArray
from esntools.excitable.noise.noisy_maps import NoisyMap

__all__ = ["Constraint", "descend"]

# Steps remembered; fewer where the vectors no longer fit a cache.
_MEMORY: Final = 60
_REMEMBERED: Final = 2**20


class Constraint(NamedTuple):
    """The plane normal . x = offset, quiet steps before it, and a spring to hold the last state."""

    normal: FloatArray
    offset: float
    centre: FloatArray
    n_quiet: int = 0
    spring: float = 0.0


class _Inverse:
    """The inverse of the Lagrangian's Hessian from the last steps (compact L-BFGS), the identity at first.

    The identity is the natural scale: the Hessian of half the squared noise.
    """

    def __init__(self, n: int, memory: int) -> None:
        self.S, self.Y = np.zeros((memory, n)), np.zeros((memory, n))
        self.SY, self.YY = np.zeros((memory, memory)), np.zeros((memory, memory))
        self.n = 0

    def __call__(self, V: FloatArray) -> FloatArray:
        """Return the products with the columns of V."""
        m = self.n
        if m == 0:
            return V
        S, Y = self.S[:m], self.Y[:m]
        R, SV, YV = np.triu(self.SY[:m, :m]), S @ V, Y @ V
        inner = scipy.linalg.solve_triangular(R, SV)
        middle = np.diag(R)[:, None] * inner + self.YY[:m, :m] @ inner - YV
        return np.asarray(V + S.T @ scipy.linalg.solve_triangular(R, middle, trans="T") - Y.T @ inner)

    def add(self, s: FloatArray, y: FloatArray) -> None:
        """Learn from a step and the change of the Lagrangian's gradient; damped to stay positive."""
        ss, sy = float(s @ s), float(s @ y)
        if not ss > 0.0:
            return
        if sy < 0.05 * ss:
            t = 0.95 * ss / (ss - sy)
            y = t * y + (1.0 - t) * s
        size = np.sqrt(ss)
        s, y = s / size, y / size
        if self.n == len(self.S):
            # Half of the memory is given up at once: shifting it by one row each time would cost as much.
            keep = len(self.S) // 2
            for table in (self.S, self.Y):
                table[:keep] = table[-keep:]
            for table in (self.SY, self.YY):
                table[:keep, :keep] = table[-keep:, -keep:]
            self.n = keep
        m = self.n
        self.S[m], self.Y[m] = s, y
        self.SY[: m + 1, m] = self.S[: m + 1] @ y
        self.SY[m, :m] = self.Y[:m] @ s
        self.YY[: m + 1, m] = self.YY[m, : m + 1] = self.Y[: m + 1] @ y
        self.n = m + 1


def descend(
    noisy: NoisyMap,
    x: FloatArray,
    noise: FloatArray,
    plane: Constraint,
    max_iterations: int,
    angle: float = 1e-3,
) -> tuple[FloatArray, float, int]:
    r"""Minimise :math:`\frac12\sum_k|w_k|^2 + \frac{\kappa}{2}|x_n-z|^2` under :math:`l \cdot x_n(w) = c`.

    Every step solves the quadratic model with the constraint linearised (its gradient by the adjoint), with
    a line search on the sum of objective and weighted constraint, until the objective's gradient and the
    constraint's enclose less than `angle`.

    Returns
    -------
    noise : ndarray
    alignment : float
        Cosine between the objective's gradient and the constraint's, 1 where the path is stationary.
    iterations : int
    """

    def values(v: FloatArray, states: FloatArray) -> tuple[float, float]:
        away = states[-1] - plane.centre
        cost = 0.5 * float(np.vdot(v, v)) + 0.5 * plane.spring * float(away @ away)
        return cost, float(plane.normal @ states[-1]) - plane.offset

    def slopes(v: FloatArray, states: FloatArray) -> tuple[FloatArray, FloatArray]:
        g, _ = noisy.gradient(states, v, plane.normal)
        f = v.copy()
        if plane.spring > 0.0:
            f = v + noisy.gradient(states, v, plane.spring * (states[-1] - plane.centre))[0]
        g[noisy_steps:] = 0.0
        f[noisy_steps:] = 0.0
        return f, g

    noisy_steps = len(noise) - plane.n_quiet
    v, inverse, weight = (
        noise.copy(),
        _Inverse(noise.size, int(np.clip(_REMEMBERED // noise.size, 10, _MEMORY))),
        0.0,
    )
    states = noisy.path(x, v)
    cost, c = values(v, states)
    f, g = slopes(v, states)
    cosine, n_done = 0.0, 0
    while n_done < max_iterations:
        n_done += 1
        both = inverse(np.stack([g.ravel(), f.ravel()], axis=1))
        Hg, Hf = both[:, 0].reshape(g.shape), both[:, 1].reshape(f.shape)
        curvature = float(np.vdot(g, Hg))
        if not (np.isfinite(curvature) and curvature > 0.0):
            break
        mu = (float(np.vdot(g, Hf)) - c) / curvature
        d = mu * Hg - Hf
        # The weight may fall again: one that is much too large lets only tiny steps along the constraint.
        weight = max(0.5 * weight, 1.5 * abs(mu))
        slope = float(np.vdot(f, d)) - weight * abs(c)
        merit = cost + weight * abs(c)
        t, step = 1.0, d
        for attempt in range(20):
            new = v + step
            after = noisy.path(x, new)
            cost_new, c_new = values(new, after)
            if cost_new + weight * abs(c_new) <= merit + 1e-4 * t * min(slope, 0.0) + 1e-15 * merit:
                break
            if attempt == 0 and np.isfinite(c_new):
                # A full step along a curved constraint is refused for its second-order miss alone.
                step = d - (c_new / curvature) * Hg
                continue
            t = 0.5 if t == 1.0 else 0.5 * t
            step = t * d
        else:
            break
        f_new, g_new = slopes(new, after)
        inverse.add((new - v).ravel(), ((f_new - f) - mu * (g_new - g)).ravel())
        v, c, cost, f, g = new, c_new, cost_new, f_new, g_new
        size, steep = float(np.linalg.norm(f)), float(np.linalg.norm(g))
        if not (size > 0.0 and steep > 0.0):
            break
        cosine = abs(float(np.vdot(f, g))) / (size * steep)
        if abs(c) <= 1e-9 * size * steep and np.sqrt(max(0.0, 2.0 * (1.0 - cosine))) <= angle:
            break
    return v, cosine, n_done
