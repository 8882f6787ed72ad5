r"""Proved balls of state kicks: every kick up to a radius leaves the network in the same basin.

The ball of kicks is cut into cells along the directions to which the network is most sensitive (the leading
eigenvectors of the sum of J'^k J^k); across them each cell holds the whole remaining ball. A cell is followed
until it lies in a proved ellipsoid; one that grows too large is halved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.excitable.bounds.cells import Cell
from esntools.excitable.bounds.proofs import Prover
from esntools.excitable.bounds.wells import Well
from esntools.fixed_points.verified import frobenius_norm, gamma

__all__ = ["BallProof", "Basis", "largest_ball"]

#: Directions along which the ball is cut.
_DIRECTIONS: Final = 4
#: A cell is not halved below this part of the ball's extent in the most sensitive direction.
_FINEST: Final = 1.0 / 300.0


@final
@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal columns Q whose span is the one that is meant within an angle of `tilt`."""

    Q: FloatArray
    tilt: float


def orthonormal(Q: FloatArray) -> bool:
    """Whether the columns certainly are orthonormal within 1e-12."""
    return frobenius_norm(Q.T @ Q - np.eye(Q.shape[1])) + 2.0 * gamma(len(Q)) * frobenius_norm(Q) ** 2 < 1e-12


@final
@dataclass(frozen=True, eq=False)
class BallProof:
    """The largest radius that was proved, the least at which a proof failed, and why it failed."""

    radius: float
    failed: float
    reason: str
    cells: int


@final
class _Ball:
    """The kicks Q y with |y| <= r at a state, as cells in the most sensitive directions."""

    def __init__(self, prover: Prover, well: Well, home: int, x: FloatArray, basis: Basis | None) -> None:
        self.prover, self.well, self.home, self.x = prover, well, home, x
        Q, self.tilt = (None, 0.0) if basis is None else (basis.Q, basis.tilt)
        n = len(x)
        reduced = well.weight if Q is None else Q.T @ well.weight @ Q
        values, vectors = np.linalg.eigh(reduced)
        m = min(_DIRECTIONS, len(values))
        L = vectors[:, ::-1][:, :m]
        self.sensitive = np.sqrt(np.maximum(values[::-1][:m], 0.0))
        self.L = L if Q is None else Q @ L
        rest = (np.eye(n) if Q is None else Q @ Q.T) - self.L @ self.L.T
        self.rest = 0.5 * (rest + rest.T)
        self.orthonormal = orthonormal(self.L) and (Q is None or orthonormal(Q))

    def cell(self, middle: FloatArray, half: FloatArray, radius: float) -> Cell | None:
        """Return a cell that holds all kicks of the ball with these coordinates; None when there are none."""
        near = np.maximum(np.abs(middle) - half, 0.0)
        left = radius * radius - float(near @ near)
        if left < -1e-9 * radius * radius:
            return None
        # What follows pays for L being orthonormal within 1e-12 only, and for every rounding here:
        # E((1 + t) A + (1 + 1/t) B) holds E(A) + E(B), here with t = 1e-6.
        left = max(left, 0.0) + 1e-11 * radius * radius
        tiny = (1e-11 + self.tilt) * radius + 1e-15 * math.sqrt(len(self.x)) * float(np.abs(self.x).max())
        # Squares must not underflow.
        tiny += 1e-140
        S = (left * (1.0 + 1e-6)) * self.rest
        # I - L L' lacks up to 2e-12 along L where its columns are a little too long.
        S[np.diag_indices_from(S)] += left * (4e-12 + 1e-14 * len(S)) + 1.1e6 * tiny * tiny
        return Cell(self.x + self.L @ middle, self.L * half, S)

    def proved(self, radius: float, most: int) -> tuple[bool, str, int]:
        """Whether all of the ball is proved to stay in the basin; why not; how many cells were followed."""
        m = len(self.sensitive)
        small = 2.0 * _FINEST * radius * self.sensitive[0] / np.maximum(self.sensitive, 1e-300)
        small = np.minimum(small, radius)
        count = 0
        # Where a proof at this radius would fail it mostly fails at one of these.
        for part in (1.0, 0.0, 0.5, 0.85):
            for sign in (1.0, -1.0) if part else (1.0,):
                middle = np.zeros(m)
                middle[0] = sign * part * radius
                why = self._refused(middle, 0.5 * small, radius)
                count += 1
                if why:
                    return False, why, count
        stack = [(np.zeros(m), np.full(m, radius))]
        while stack:
            middle, half = stack.pop()
            cell = self.cell(middle, half, radius)
            if cell is None:
                continue
            count += 1
            if count > most:
                return False, f"{most} cells did not suffice", count
            fate = self.prover.run(cell, self.well.weight)
            if fate.well == self.home:
                continue
            if fate.late:
                return False, "the budget was spent", count
            if fate.well >= 0:
                return False, "kicks of this size lead to another attractor", count
            # Halved where it has grown most; the box that is too small is judged at the point itself.
            j = int(np.argmax(fate.stretch))  # type: ignore[arg-type]
            if half[j] * self.sensitive[j] < _FINEST * radius * self.sensitive[0]:
                return False, "the smallest cells are still too large to be followed", count
            half = half.copy()
            half[j] *= 0.5
            step = np.zeros(m)
            step[j] = half[j]
            parts = [(middle - step, half), (middle + step, half)]
            parts.sort(key=lambda part: -abs(float(part[0][0])))
            stack += parts
        return True, "", count

    def _refused(self, middle: FloatArray, half: FloatArray, radius: float) -> str:
        cell = self.cell(middle, half, radius)
        if cell is None:
            return ""
        fate = self.prover.run(cell, self.well.weight)
        if fate.well == self.home:
            return ""
        if fate.late:
            return "the budget was spent"
        if fate.well >= 0:
            return "kicks of this size lead to another attractor"
        return "the smallest cells are still too large to be followed"


def largest_ball(
    prover: Prover,
    well: Well,
    home: int,
    x: FloatArray,
    basis: Basis | None,
    upper: float,
    most: int,
    tolerance: float,
) -> BallProof:
    """Return nearly the largest ball of kicks at x that this proof reaches."""
    ball = _Ball(prover, well, home, x, basis)
    if not ball.orthonormal:
        return BallProof(0.0, upper, "rounding leaves no orthonormal directions", 0)
    low, high, reason, cells = 0.0, upper, "", 0
    P = well.P if basis is None else basis.Q.T @ well.P @ basis.Q
    top = 1.0 / float(np.linalg.eigvalsh(P)[-1])
    value = 0.9 * math.sqrt(max(top, 0.0))
    if value >= high:
        value = 0.5 * high
    tiny = 1e-6 * value
    while value > tiny and high > low * (1.0 + tolerance):
        done, why, count = ball.proved(value, most)
        cells += count
        if done:
            low = value
        else:
            high, reason = value, why
        if prover.late:
            break
        if low == 0.0:
            value *= 0.25
        else:
            # The number of cells grows fast with the radius: the next one costs about as much as all before.
            value = low * (4.0 if count < 12 else 2.0 if count < 40 else 1.3)
            if value > 0.9 * high:
                value = math.sqrt(low * high)
    return BallProof(low, high, reason, cells)
