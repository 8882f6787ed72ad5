r"""One step of a network applied to a whole set of states, enclosed in proved arithmetic.

A cell is the set :math:`\{c + G\eta + y : |\eta_j| \le 1,\ y \in E(S)\}` with the ellipsoid
:math:`E(S) = \{y : g^\top y \le \sqrt{g^\top S g}\ \text{for all } g\}`. With e = G eta + y and
v = V e, a step is

.. math:: F(c + e) = F(c) + J(c)\, e + A\,(b \circ v \circ v) + A\, r, \qquad
    b = \tfrac12 \varphi''(z), \quad |r_i| \le \tfrac16 \sup|\varphi'''|\, |v_i|^3 .

The linear part keeps G and S exactly. For v in E(K) the vector of the b_i v_i^2 lies in E(b b' o K o K): a
quadratic form on the unit ball is at most the Frobenius norm of its matrix. A vector whose i-th entry is at
most d_i v_i^2 in modulus, with any signs, lies in the ellipsoid of the diagonal matrix of the row sums of
d d' o K o K, which exceeds that matrix with any signs. Ellipsoids are added by
E(S_1) + E(S_2) + ... in E(p_1 S_1 + p_2 S_2 + ...) where 1/p_1 + 1/p_2 + ... = 1.

Rounding: as in `esntools.fixed_points.certified`, the error of every product is bounded a priori by gamma_n
times products of Frobenius norms, and enters as a multiple of the identity. The doubles of the network are
taken as exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.excitable.bounds.slopes import ERROR, PROVED, bend_range, values
from esntools.fixed_points.certified import largest_weight
from esntools.fixed_points.verified import frobenius_norm, gamma
from esntools.network import EchoStateNetwork

__all__ = ["Cell", "ProvedMap", "Push", "norm2", "shares"]

_U: Final = 2.0**-53
_TINY: Final = 1e-290
#: For a few roundings of a sum of positive numbers.
_UP: Final = 1.0 + 1e-12


def norm2(x: FloatArray) -> float:
    """Return an upper bound of the Euclidean norm of a vector."""
    return float(np.sqrt(x @ x)) * (1.0 + gamma(x.size + 4)) + _TINY


def shares(sizes: list[float]) -> list[float]:
    """Return weights p with sum of 1/p at most 1, nearly those that minimise the sum of p times the sizes."""
    roots = [math.sqrt(max(s, 1e-200)) for s in sizes]
    total = sum(roots)
    # A weight of 1e12 in place of a larger one takes a little from the others: that is the last factor.
    return [max(total / max(r, 1e-12 * total), 1.0) * (1.0 + 1e-10) for r in roots]


@final
@dataclass(frozen=True, eq=False)
class Push:
    """What an input g v adds to z over an interval of g: middle, and slope times half-width, with errors."""

    middle: FloatArray
    middle_error: FloatArray
    half: FloatArray
    half_error: FloatArray


@final
@dataclass(frozen=True, eq=False)
class Cell:
    """A set of states: centre (n,), generators (n, d) and the shape (n, n) of an ellipsoid."""

    c: FloatArray
    G: FloatArray
    S: FloatArray

    def size(self, P: FloatArray) -> float:
        """Return about the largest extent of the cell in the norm of P (no bound)."""
        spread = float(np.sum(P * self.S))
        return math.sqrt(max(spread, 0.0)) + float(
            np.sqrt(np.maximum(np.einsum("ij,ik,kj->j", self.G, P, self.G), 0.0)).sum()
        )


@final
class ProvedMap:
    """A network at a constant input, with bounds of everything that rounds.

    Attributes
    ----------
    V, V_error : the recurrent weights with the feedback folded in, and a bound of the Frobenius norm of what
        they lack
    """

    def __init__(self, network: EchoStateNetwork, u: FloatArray) -> None:
        self.name = network.activation.name
        self.n = n = network.n_units
        self.a = network.leak_rate
        self.keep = 1.0 - self.a
        W = network.dense_W()
        self.V, self.size, self.offset = W, np.abs(W), network.W_in @ u + network.b
        self.base = np.abs(network.W_in) @ np.abs(u) + np.abs(network.b)
        terms = n + network.n_inputs + 8
        self.V_error = 0.0
        readout = network.readout
        if network.W_fb is not None and readout is not None:
            m = readout.n_outputs
            terms += m + 4
            size_fb = np.abs(network.W_fb)
            self.V = W + network.W_fb @ readout.W_out
            self.size = self.size + size_fb @ np.abs(readout.W_out)
            self.offset = self.offset + network.W_fb @ readout.b_out
            self.base = self.base + size_fb @ np.abs(readout.b_out)
            self.V_error = gamma(m + 4) * frobenius_norm(self.size)
        self.terms = terms
        self.V_norm = frobenius_norm(self.V)
        self.gamma = gamma(n + 8)
        self.a_most = float(self.a.max())
        self.steepest = network.activation.slope_bounds[1]

    @staticmethod
    def refusal(network: EchoStateNetwork, u: FloatArray) -> str:
        """Return why nothing is proved about a network; empty when bounds can be tried."""
        if network.activation.name not in PROVED:
            return f"bounds are proved for {' and '.join(PROVED)} only, not for {network.activation.name}"
        readout = network.readout
        if network.W_fb is not None and readout is not None and readout.W_sq is not None:
            return "bounds are proved for affine readouts only: this feedback has squares"
        if largest_weight(network, u) > 1e15:
            return "a weight above 1e15 enters the map"
        return ""

    def argument(self, c: FloatArray, push: Push | None = None) -> tuple[FloatArray, FloatArray]:
        """Return z(c) and a bound of its error, also for what V lacks."""
        size = self.size @ np.abs(c) + self.base
        z = self.V @ c + self.offset
        if push is not None:
            z = z + push.middle
            size = size + np.abs(push.middle)
        # Twice: the bound itself is rounded, and so is the sum of products that V is.
        error = 2.0 * gamma(self.terms) * size + _TINY
        return z, error if push is None else (error + push.middle_error) * _UP

    def spread(self, S: FloatArray) -> tuple[FloatArray, FloatArray, float, float]:
        """Return V S, V S V', and bounds of the Frobenius norms of their errors."""
        S_norm = frobenius_norm(S)
        VS = self.V @ S
        K = VS @ self.V.T
        K = 0.5 * (K + K.T)
        VS_error = (self.gamma * self.V_norm + self.V_error) * S_norm
        K_error = (
            (2.1 * self.gamma * self.V_norm + 2.1 * self.V_error) * (self.V_norm + self.V_error) * S_norm
        )
        return VS, K, VS_error * _UP, K_error * _UP + _TINY

    def linear(
        self, S: FloatArray, VS: FloatArray, K: FloatArray, gain: FloatArray, errors: tuple[float, float]
    ) -> tuple[FloatArray, float]:
        """Return J S J' for J = I - A + diag(gain) V, and a bound of the norm of its error."""
        cross = self.keep[:, None] * VS.T * gain
        J_S = self.keep[:, None] * S * self.keep + cross + cross.T + gain[:, None] * K * gain
        g, k = float(gain.max()), float(self.keep.max())
        VS_norm = self.V_norm * frobenius_norm(S)
        rounding = (
            12.0 * _U * (k * k * frobenius_norm(S) + 2.0 * k * g * VS_norm + g * g * VS_norm * self.V_norm)
        )
        return J_S, (2.0 * k * g * errors[0] + g * g * errors[1] + rounding) * _UP + _TINY

    def bent(
        self, z: FloatArray, z_error: FloatArray, b: FloatArray, w: FloatArray, K: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return ellipsoids that hold A (b o v o v) and the rest of A q, for v in E(K), |v| <= w."""
        most = bend_range(self.name, z, w + z_error)
        # The half second derivative is known within ERROR and what the error of z makes of it.
        d = (most * (w / 6.0 + z_error) + ERROR) * _UP
        squares = K * K
        ab = self.a * b
        rest = self.a * d
        sums = squares @ rest
        H = ab[:, None] * squares * ab
        return H, rest * sums * (1.0 + gamma(self.n + 8))

    def step(self, cell: Cell, P: FloatArray, push: Push | None = None) -> tuple[Cell, FloatArray]:
        """Return a cell that holds F of every state of a cell, and bounds of |v_i|.

        P weighs the directions in the choice of what is not determined by the proof. With `push`, eta_0 is
        also the place of g in its interval.
        """
        c, G, S = cell.c, cell.G, cell.S
        d = G.shape[1]
        z, z_error = self.argument(c, push)
        value, slope, b = values(self.name, z)
        gain = self.a * slope
        target = self.keep * c + self.a * value
        missed = self.a * (ERROR + self.steepest * z_error) + 4.0 * _U * (np.abs(c) + 1.0)

        VS, K, VS_error, K_error = self.spread(S)
        M = self.V @ G
        G_norm = frobenius_norm(G)
        M_error = (self.gamma * self.V_norm + self.V_error) * G_norm
        if push is not None:
            M[:, 0] += push.half
            M_error += 2.0 * _U * frobenius_norm(M) + norm2(push.half_error)
        M_error = M_error * _UP + _TINY
        G_next = self.keep[:, None] * G + gain[:, None] * M
        G_error = (6.0 * _U * (G_norm + frobenius_norm(M)) + M_error) * _UP

        diagonal = np.diag_indices(self.n)
        y_size = np.maximum(K[diagonal], 0.0) + K_error
        w = (np.abs(M).sum(axis=1) + M_error * math.sqrt(d) + np.sqrt(y_size)) * (1.0 + gamma(d + 8))
        # The slope at z lies within ERROR of the computed one, and |phi''| < 1 moves it with z.
        missed = missed + self.a * (ERROR + z_error + 2.0 * _U) * w

        emphasis = np.abs(b) + w
        column = emphasis @ (M * M)
        p = shares([float(emphasis @ y_size), *column.tolist()])
        M_scaled = M * np.sqrt(p[1:])
        K_whole = p[0] * K + M_scaled @ M_scaled.T
        most = max(p)
        M_norm = frobenius_norm(M)
        # The scaled columns, their roots and products round; M itself is known within M_error.
        K_error = K_error + (2.0 * M_error * M_norm + M_error**2)
        K_whole[diagonal] += (
            most * K_error + gamma(d + 12) * (frobenius_norm(M_scaled) ** 2 + p[0] * frobenius_norm(K))
        ) * _UP
        H, rest = self.bent(z, z_error, b, w, K_whole)
        J_S, J_error = self.linear(S, VS, K, gain, (VS_error, K_error))
        H_error = 8.0 * _U * frobenius_norm(H) + _TINY
        J_S[diagonal] += J_error
        H[diagonal] += H_error

        lost = norm2(missed) + math.sqrt(d) * G_error
        P_diagonal = np.diag(P)
        sizes = [
            float(np.sum(P * J_S)), float(np.sum(P * H)), float(P_diagonal @ rest),
            lost * lost * float(P_diagonal.sum()),
        ]  # fmt: skip
        p = shares(sizes)
        S_next = p[0] * J_S + p[1] * H
        S_next[diagonal] += p[2] * rest + p[3] * lost * lost
        S_next = 0.5 * (S_next + S_next.T)
        S_next[diagonal] += 8.0 * _U * frobenius_norm(S_next)
        return Cell(target, G_next, S_next), w
