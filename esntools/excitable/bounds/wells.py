r"""An ellipsoid about a stable fixed point that is certainly in its basin.

When F maps p + E(S) into p + E(theta S) with theta < 1, and every part of that enclosure shrinks at least
like s^2 S when S is replaced by s^2 S, then F maps p + E(s^2 S) into p + E(theta s^2 S) for every s <= 1, so
all states of the ellipsoid converge to p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.excitable.bounds.cells import Cell, ProvedMap, norm2, shares
from esntools.excitable.bounds.slopes import ERROR, values
from esntools.fixed_points.certified import Uncertified, certify_fixed_point
from esntools.fixed_points.verified import frobenius_norm, gamma, positive_definite
from esntools.network import EchoStateNetwork

__all__ = ["Well", "find_well"]

_U: Final = 2.0**-53


def _stein(J: FloatArray, Q: FloatArray, rate: float) -> FloatArray | None:
    """Return about the sum of (J/rate)^k Q (J'/rate)^k."""
    A, S = J / rate, Q
    for _ in range(60):
        S = S + A @ S @ A.T
        A = A @ A
        size = float(np.abs(A).max())
        if not size < 1e120:
            return None
        if size < 1e-14:
            return np.asarray(0.5 * (S + S.T))
    return None


@final
@dataclass(frozen=True, eq=False)
class Well:
    """A proved fixed point within `error` (2-norm) of x, and an ellipsoid about it that is in its basin.

    Attributes
    ----------
    x : (n,)
    error : float
    S : shape of the ellipsoid
    P : about its inverse (no bound)
    weight : about the sum of J'^k J^k, to weigh directions (no bound)
    """

    x: FloatArray
    error: float
    S: FloatArray
    P: FloatArray
    weight: FloatArray

    def holds(self, cell: Cell) -> bool:
        """Whether every state of the cell is certainly in the ellipsoid."""
        offset = cell.c - self.x
        far = float(offset @ (self.P @ offset))
        if not far < 1.0:
            return False
        lost = self.error + _U * norm2(offset)
        sizes = [
            float(np.sum(self.P * cell.S)), far, lost * lost * float(np.trace(self.P)),
            *np.einsum("ij,ij->j", cell.G, self.P @ cell.G).tolist(),
        ]  # fmt: skip
        # The trace exceeds the largest eigenvalue, at most n times.
        if not (far < 1.0 and sum(math.sqrt(max(s, 0.0)) for s in sizes) < 2.0):
            return False
        p = shares(sizes)
        scaled = np.column_stack([math.sqrt(p[1]) * offset, cell.G * np.sqrt(p[3:])])
        whole = p[0] * cell.S + scaled @ scaled.T
        whole[np.diag_indices_from(whole)] += p[2] * lost * lost * (1.0 + 8.0 * _U)
        whole = 0.5 * (whole + whole.T)
        rounding = gamma(scaled.shape[1] + 12) * (
            p[0] * frobenius_norm(cell.S) + frobenius_norm(self.S) + frobenius_norm(scaled) ** 2
        )
        gap = self.S - whole
        return positive_definite(0.5 * (gap + gap.T), rounding)


def _contracts(
    proved: ProvedMap, x: FloatArray, error: float, S: FloatArray, P: FloatArray, theta: float, scale: float
) -> bool:
    """Whether F maps p + E(t scale S) into p + E(theta t scale S), p the fixed point by x, t <= 1: proved."""
    S, P = scale * S, P / scale
    n = proved.n
    z, z_error = proved.argument(x)
    z_error = z_error + (np.abs(proved.V).sum(axis=1) * (1.0 + n * 1e-15) + proved.V_error) * error
    _, slope, b = values(proved.name, z)
    gain = proved.a * slope
    VS, K, VS_error, K_error = proved.spread(S)
    diagonal = np.diag_indices(n)
    K[diagonal] += K_error
    w = np.sqrt(np.maximum(K[diagonal], 0.0) + K_error) * (1.0 + 8.0 * _U)
    H, rest = proved.bent(z, z_error, b, w, K)
    # The slope at p is within this of the computed one: diag(tau) v with any signs, v in E(K).
    off = proved.a * (ERROR + z_error + 4.0 * _U) * (1.0 + 1e-12)
    turned = off * (np.abs(K) @ off) * (1.0 + 1e-12)
    J_S, J_error = proved.linear(S, VS, K, gain, (VS_error, 2.0 * K_error))
    J_S[diagonal] += J_error
    H[diagonal] += 8.0 * _U * frobenius_norm(H)
    P_diagonal = np.diag(P)
    p = shares([
        float(np.sum(P * J_S)), float(np.sum(P * H)), float(P_diagonal @ rest), float(P_diagonal @ turned),
    ])  # fmt: skip
    whole = p[0] * J_S + p[1] * H
    whole[diagonal] += p[2] * rest + p[3] * turned
    gap = theta * S - whole
    return positive_definite(
        0.5 * (gap + gap.T), 16.0 * _U * (frobenius_norm(whole) + frobenius_norm(S)) + 1e-290
    )


def find_well(network: EchoStateNetwork, proved: ProvedMap, x: FloatArray, u: FloatArray) -> Well | str:
    """Return a proved ellipsoid in the basin of the stable fixed point near x, or why there is none."""
    point = certify_fixed_point(network, x, u if network.n_inputs else None)
    if isinstance(point, Uncertified):
        return point.reason
    n = proved.n
    error = point.radius * math.sqrt(n) * (1.0 + 1e-12)
    z, _ = proved.argument(point.x)
    gain = proved.a * values(proved.name, z)[1]
    J = np.diag(proved.keep) + gain[:, None] * proved.V
    radius = float(np.abs(np.linalg.eigvals(J)).max())
    if not radius < 1.0:
        return "the fixed point is not stable" if point.n_unstable else "its stability is not proved"
    weight = _stein(J.T, np.eye(n), 0.5 + 0.5 * radius if radius > 0.0 else 0.5)
    if weight is None:
        return "the powers of the Jacobian are too large for a proof in doubles"
    best: tuple[float, FloatArray, FloatArray] | None = None
    for share in (0.5, 0.8, 0.3):
        rate = radius + share * (1.0 - radius)
        Q = np.eye(n)
        for _ in range(3):
            S = _stein(J, Q, rate)
            if S is None:
                break
            S = S / float(np.abs(S).max())
            try:
                P = np.linalg.inv(S)
            except np.linalg.LinAlgError:
                break
            P = 0.5 * (P + P.T)
            theta = 1.0 - 0.02 * (1.0 - rate * rate)
            scale = _largest(partial(_contracts, proved, point.x, error, S, P, theta))
            if scale == 0.0:
                break
            score = scale * float(np.linalg.eigvalsh(S)[-1])
            if best is None or score > best[0]:
                best = (score, scale * S, P / scale)
            # The next shape is fed by what the curvature adds at this size, and a little in all directions.
            K = proved.V @ (scale * S) @ proved.V.T
            b = values(proved.name, z)[2]
            H = (proved.a * b)[:, None] * (K * K) * (proved.a * b)
            size = float(np.abs(H).max())
            if not size > 0.0:
                break
            Q = H / size + 1e-3 * np.eye(n)
    if best is None:
        return "no ellipsoid about the fixed point certainly contracts"
    return Well(point.x, error, best[1], best[2], weight)


def _largest(holds: Callable[[float], bool]) -> float:
    """Return about the largest scale for which `holds`; 0 when there is none above 1e-24."""
    low, high, value = 0.0, math.inf, 0.01
    while 1e-24 < value < 1e6:
        if holds(value):
            low, value = value, value * 8.0
            if high < math.inf:
                break
        else:
            high, value = value, value / 8.0
            if low > 0.0:
                break
    if low == 0.0:
        return 0.0
    for _ in range(5):
        middle = math.sqrt(low * min(high, 8.0 * low))
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
