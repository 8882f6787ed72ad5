"""Contracting balls around stable fixed points: norm, radius and input radius, in floating point.

A ball is found for one point and one set of inputs; that several are disjoint is seen to here as well. The
conditions are those of FORMAT.md, section 7.1, with some room for the checker's rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.certificates.ball_norms import BallNorm, DiagonalNorm, PerronNorm, QuadraticNorm
from esntools.certificates.documents import slopes_section
from esntools.certificates.norms import diagonal_schur, perron_weights
from esntools.certificates.regions import slope_ranges
from esntools.certificates.sectors import Sector, congruence, short, short_rate
from esntools.network import EchoStateNetwork
from esntools.readout import Readout

__all__ = ["LARGE", "AttractingBall", "StablePoint", "best_norm", "fitted_balls", "largest_share"]

#: Between our roundings of slopes and norms and the checker's.
_SLOPE_ROOM: Final = 2.0**-30
_NORM_ROOM: Final = 1.0 + 1e-7
#: Above this many units the first norm that gives a ball is taken, and it is not fitted again.
LARGE: Final = 200


@final
@dataclass(frozen=True, eq=False)
class AttractingBall:
    """A ball that should pass the checker.

    Attributes
    ----------
    centre : array (n_units,)
    state_radius : float
        The ball holds every state that differs from the centre by at most this in every component.
    rate : float
        Differences of states in the ball shrink at least by this factor per step, in the norm of the ball.
    theorem : str
        The norm, by its name in FORMAT.md.
    section : dict
        The ball as a certificate holds it.
    """

    centre: FloatArray
    state_radius: float
    rate: float
    theorem: str
    section: Document


@final
class StablePoint:
    """A stable fixed point at the middle of the inputs, and everything around it that the norms need."""

    def __init__(
        self,
        network: EchoStateNetwork,
        middle: FloatArray,
        half: FloatArray,
        x: FloatArray,
        deadline: float = math.inf,
    ) -> None:
        self.deadline = deadline
        self.a, self.phi = network.leak_rate, network.activation
        folded, self.bend = _without_squares(network)
        W = folded.dense_W()
        z = W @ x + folded.W_in @ middle + folded.b
        self.V = W
        size = np.abs(W) @ np.abs(x) + np.abs(folded.W_in) @ np.abs(middle) + np.abs(folded.b) + 1.0
        if self.bend is not None:
            z = z + self.bend @ (x * x)
            size = size + np.abs(self.bend) @ (x * x)
            self.V = W + 2.0 * self.bend * x
        self.x, self.z = x, z
        self.error = 2.0**-50 * size
        self.sway = np.abs(folded.W_in) @ half
        self.slopes = self.phi.slope(z)
        self.residual = np.abs(x - self.phi(z)) + self.error
        self.jacobian = np.diag(1.0 - self.a) + (self.a * self.slopes)[:, None] * self.V
        self.radius = float(np.abs(np.linalg.eigvals(self.jacobian)).max())
        # A larger ball at a rate next to 1 says little: leave a tenth of what there is at the point.
        self.slowest = 1.0 - 0.1 * (1.0 - self.radius)

    @property
    def late(self) -> bool:
        return time.perf_counter() > self.deadline

    def sector(self, tilt: FloatArray, radius: float, share: float) -> Sector:
        """Return the slopes met in the ball when the inputs sway by `share` of their half-widths."""
        width = share * self.sway + radius * _NORM_ROOM * tilt + self.error
        low, high = slope_ranges(self.phi, self.z, width, _SLOPE_ROOM)
        return Sector(self.V, self.a, low, high)

    def push(self, share: float) -> FloatArray:
        """Return bounds of |one step from the centre - centre| over the inputs."""
        sway = share * self.sway
        if self.phi.monotone:
            at = self.phi(self.z)
            moved = np.maximum(self.phi(self.z + sway) - at, at - self.phi(self.z - sway))
        else:
            moved = sway * max(abs(bound) for bound in self.phi.slope_bounds)
        return np.asarray(self.a * (moved + self.residual + 2.0**-50))


def _without_squares(network: EchoStateNetwork) -> tuple[EchoStateNetwork, FloatArray | None]:
    """Return the network with the affine part of its feedback folded in, and W_fb W_sq."""
    readout = network.readout
    if network.W_fb is None or readout is None or readout.W_sq is None:
        return network.folded(), None
    affine = replace(network, readout=Readout(readout.W_out, None, readout.b_out))
    return affine.folded(), np.asarray(network.W_fb @ readout.W_sq)


def _needed(norm: BallNorm, point: StablePoint, radius: float, share: float) -> float | None:
    """Return the rate at which the ball of that radius contracts and stays within itself, or None."""
    if point.late:
        return None
    sector = point.sector(norm.tilt(radius), radius, share)
    rate = norm.rate(sector.low, sector.high, radius)
    if not rate < point.slowest:
        return None
    # Some room between the sharpest rate and the one that is claimed.
    claimed = short_rate(rate + 0.03 * (1.0 - rate))
    inside = norm.size(point.push(share)) * _NORM_ROOM <= (1.0 - claimed) * radius
    return claimed if inside and claimed < 1.0 else None


def _largest(holds: Callable[[float], bool], start: float, trials: int) -> float:
    """Return about the largest positive argument for which `holds`, 0 when none is found near `start`."""
    low, high = 0.0, math.inf
    value = start
    for _ in range(60):
        if holds(value):
            low = value
            if high < math.inf:
                break
            value *= 2.0
        else:
            high = value
            if low > 0.0:
                break
            value *= 0.25
        if not 1e-13 < value < 1e6:
            break
    if low == 0.0 or high == math.inf:
        return low
    for _ in range(trials):
        value = math.sqrt(low * high)
        low, high = (value, high) if holds(value) else (low, value)
    return low


# -- the norm of a ball and its radius -----------------------------------------------------------------


def _stein(J: FloatArray, radius: float) -> FloatArray | None:
    """Return P = sum of (J'/r)^k (J/r)^k, by doubling, scaled to entries up to 1 and rounded."""
    A, P = J / radius, np.eye(len(J))
    for _ in range(40):
        P = P + A.T @ P @ A
        A = A @ A
        size = float(np.abs(A).max())
        if not size < 1e100:
            return None
        if size < 1e-12:
            break
    # Rounding leaves the two halves of a product unequal by a little; the checker wants them equal.
    return short(0.5 * (P + P.T) / float(np.abs(P).max()), 36)


def _fitted(theorem: str, point: StablePoint, sector: Sector, share: float) -> BallNorm | None:
    """Return the norm of that theorem which suits a sector, or None.

    `share` says how much slower than at the point itself the rate of a quadratic norm is to be: the sharpest
    norm there is too flat to hold a large ball.
    """
    if theorem == "perron-weights":
        found = perron_weights(sector).candidate
        return None if found is None else PerronNorm(point.V, point.a, found.witness["weights"], point.bend)
    if theorem == "diagonal-schur":
        found = diagonal_schur(sector, deadline=point.deadline).candidate
        return None if found is None else DiagonalNorm(point.V, point.a, found.witness["weights"])
    P = _stein(point.jacobian, point.radius + share * (1.0 - point.radius))
    R_P = None if P is None else congruence(P)
    if P is None or R_P is None:
        return None
    return QuadraticNorm(point.V, point.a, P, R_P, point.slopes, 1 if len(P) > LARGE else 3)


def best_norm(point: StablePoint) -> tuple[BallNorm, float] | None:
    """Return the norm whose largest ball holds the widest box of states, and the radius of that ball.

    Largest for the constant input; above `LARGE` units the first norm that gives a ball is taken.
    """
    n = len(point.x)
    best: tuple[float, BallNorm, float] | None = None
    for theorem in ("perron-weights", "diagonal-schur", "incremental-lurie"):
        if point.bend is not None and theorem != "perron-weights":
            break
        sector = Sector(point.V, point.a, point.slopes, point.slopes)
        shares = (0.7, 0.5, 0.9, 0.3) if theorem == "incremental-lurie" else (0.0, 0.0, 0.0)
        own: tuple[float, BallNorm, float] | None = None
        for share in shares[:1] if n > LARGE else shares:
            norm = _fitted(theorem, point, sector, share)
            if norm is None or point.late:
                continue
            ones = norm.size(np.ones(n))
            guess = 0.1 / max(float(np.median(norm.tilt(0.0))), 1e-12) if own is None else own[0] * ones
            radius = _largest_radius(norm, point, 0.0, guess)
            if radius > 0.0 and (own is None or radius / ones > own[0]):
                own = (radius / ones, norm, radius)
                # Weights fitted to the slopes in the ball, not at its centre, allow a larger one.
                sector = point.sector(norm.tilt(radius), 0.7 * radius, 0.0)
        if own is not None and (best is None or own[0] > best[0]):
            best = own
        if best is not None and n > LARGE:
            break
    return None if best is None else (best[1], best[2])


def _largest_radius(norm: BallNorm, point: StablePoint, share: float, guess: float) -> float:
    trials = 4 if len(point.x) > LARGE else 8
    return _largest(lambda radius: _needed(norm, point, radius, share) is not None, guess, trials)


def largest_share(norm: BallNorm, point: StablePoint, radius: float) -> float:
    """Return the largest share of the half-widths of the inputs for which a ball up to that radius holds.

    The rate grows with the ball and leaves (1 - rate) radius for the inputs: best is about half the largest.
    """
    large, best = len(point.x) > LARGE, 0.0
    for part in (0.5,) if large else (0.5, 0.35, 0.65, 0.8):
        inner = part * radius
        push = norm.size(point.push(1.0)) - norm.size(point.push(0.0))
        guess = best if best > 0.0 else 0.3 * inner / max(push, 1e-12)

        def holds(share: float, inner: float = inner) -> bool:
            return _needed(norm, point, inner, share) is not None

        best = max(best, _largest(holds, guess, 4 if large else 8))
    return best


def _within(norm: BallNorm, point: StablePoint, radius: float, share: float) -> float:
    """Return the largest radius up to the given one, the largest without input, that holds with it."""
    for part in np.linspace(1.0, 0.05, 39):
        if _needed(norm, point, part * radius, share) is not None:
            return float(part * radius)
    return 0.0


def _made(norm: BallNorm, point: StablePoint, radius: float, share: float) -> AttractingBall | None:
    """Return the ball as a certificate holds it."""
    rate = _needed(norm, point, radius, share)
    if rate is None:
        return None
    sector = point.sector(norm.tilt(radius), radius, share)
    witness = norm.witness(sector.low, sector.high, rate)
    if witness is None:
        return None
    slopes = slopes_section(
        "ball", sector.low, sector.high, centre=point.x, fine=np.zeros_like(point.x), radius=float(radius)
    )
    section = {"theorem": norm.theorem, "rate": rate.hex(), "slopes": slopes, "witness": witness}
    width = radius / norm.size(np.ones(len(point.x)))
    return AttractingBall(point.x, width, rate, norm.theorem, section)


def _disjoint(balls: Sequence[tuple[BallNorm, StablePoint, float]]) -> tuple[int, int] | None:
    """Return the first two balls that are not seen to be disjoint, or None."""
    for j, (norm, point, radius) in enumerate(balls):
        for i, (other, another, size) in enumerate(balls[:j]):
            gap = np.abs(point.x - another.x) - _NORM_ROOM * (radius * norm.reach + size * other.reach)
            if not float(gap.max()) > 0.0:
                return i, j
    return None


def fitted_balls(
    points: Sequence[StablePoint], share: float, norms: Sequence[tuple[BallNorm, float]]
) -> list[AttractingBall] | None:
    """Return disjoint balls around all the points, as large as they may be, or None."""
    balls = []
    for point, (norm, largest) in zip(points, norms, strict=True):
        balls.append((norm, point, _within(norm, point, largest, share)))
        if balls[-1][2] == 0.0:
            return None
    for _ in range(60):
        pair = _disjoint(balls)
        if pair is None:
            break
        for k in pair:
            norm, point, radius = balls[k]
            balls[k] = (norm, point, 0.8 * radius)
            if _needed(norm, point, 0.8 * radius, share) is None:
                return None
    else:
        return None
    made = [_made(norm, point, radius, share) for norm, point, radius in balls]
    return None if any(ball is None for ball in made) else [ball for ball in made if ball is not None]
