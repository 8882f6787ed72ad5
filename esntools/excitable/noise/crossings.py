"""Paths of least action over the boundary that one saddle leads: turned, descended on, lengthened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray, Progress
from esntools.excitable.noise.descent import Constraint, descend
from esntools.excitable.noise.noisy_maps import NoisyMap
from esntools.maps import Map

__all__ = ["ActionPath", "CrossingSearch", "NoActionPath"]

_Label: TypeAlias = Callable[[FloatArray], IntArray]

_LONGEST: Final = 4000
_ROUNDS: Final = 5
_TURNS: Final = 30
_STAGES: Final = 6
# A run along the boundary that comes so near to the saddle, relative to the way there, leads to it.
_BESIDE: Final = 0.1
# Lengths of a steady push, and how strong it is at most, in units of the distance to the saddle.
_PUSHES: Final = (1, 4, 16, 64)
_STRENGTHS: Final = np.geomspace(1e-4, 8.0, 40)


@final
@dataclass(frozen=True, eq=False, repr=False)
class ActionPath:
    r"""A path of least action to a boundary, as far as descent found it.

    Attributes
    ----------
    action : float
        :math:`S = \frac12 \sum_k |\xi_k|^2` of `noise`: an upper bound of the least action, since these very
        noises were replayed; in noise of amplitude eta the path has a weight of about exp(-S / eta^2).
    noise : ndarray, shape (n_steps, n_sources)
    states : ndarray, shape (n_steps + 1, n_units)
        From x to the boundary, under `noise`.
    origin, destination : int
        Labels of the noise-free run from x, and of that after 1.001 times the noise: positions in the
        landscape in `minimal_actions`, numbers that tell the two apart in `find_minimal_action`. For a
        half-space -1 and -1: nothing is labelled.
    saddle : ndarray, shape (n_units,), or None
        To which the boundary leads from the last state; None for a half-space.
    multiplier : float
        The saddle's unstable multiplier; NaN where there is none.
    alignment : float
        Cosine between the noise and the gradient of the constraint: 1 at a stationary path.
    stays, leaves : bool
        After 0.999 times the noise the run goes back, after 1.001 times it does not: both were run.
    iterations : int
    note : str
    """

    action: float
    noise: FloatArray
    states: FloatArray
    origin: int
    destination: int
    saddle: FloatArray | None
    multiplier: float
    alignment: float
    stays: bool
    leaves: bool
    iterations: int
    note: str

    def __repr__(self) -> str:
        return (
            f"ActionPath({self.origin} -> {self.destination}, action <= {self.action:.9g}, "
            f"n_steps={len(self.noise)}, alignment={self.alignment:.9g}, checked={self.checked})"
        )

    @property
    def checked(self) -> bool:
        """Whether both replays went as they should."""
        return self.stays and self.leaves


@final
@dataclass(frozen=True, eq=False)
class NoActionPath:
    """No noise that was tried leads there; there may be one all the same.

    Attributes
    ----------
    reason : str
    """

    reason: str


class CrossingSearch:
    """From one attractor to the stable manifold of one saddle."""

    def __init__(
        self, noisy: NoisyMap, label: _Label, states: FloatArray, saddle: FloatArray, tol: float, n_most: int
    ) -> None:
        self.noisy, self.label, self.x, self.s = noisy, label, states[0], saddle
        self.period, self.tol, self.n_most = len(states), tol, n_most
        J = noisy.quiet.jacobian(saddle)
        values, vectors = np.linalg.eig(J.T)
        k = int(np.argmax(np.abs(values)))
        self.multiplier = float(values[k].real)
        self.left = np.real(vectors[:, k]) / np.linalg.norm(np.real(vectors[:, k]))
        self.distance = float(np.linalg.norm(saddle - self.x))
        self.own = int(label(self.x[None])[0])
        right = np.linalg.eig(J)
        along = np.real(right[1][:, int(np.argmax(np.abs(right[0])))])
        off = 1e-4 * max(1e-2, float(np.linalg.norm(saddle))) * along / np.linalg.norm(along)
        ends = [int(e) for e in label(np.stack([saddle - off, saddle + off]))]
        away = [e for e in ends if e != self.own]
        #: What lies on the other side.
        self.other = away[0] if away else self.own
        self.reason = ""
        if not away:
            self.reason = "both branches of the saddle's unstable manifold lead back: it bounds no basin"
        elif self.own not in ends:
            self.reason = f"the saddle lies between attractors {min(ends)} and {max(ends)}"
        rho = _radius(noisy.quiet, states)
        fall = 1.0 / max(1e-3, -np.log(max(rho, 1e-12)))
        rise = 1.0 / max(1e-3, np.log(abs(self.multiplier)))
        self.n_first = int(np.clip(4.0 * (fall + rise), 16, 600))
        inner = np.sort(np.abs(values))[-2] if len(values) > 1 else 0.0
        #: Steps in which what is not the unstable direction dies out near the saddle.
        self.n_settle = int(np.clip(5.0 / max(1e-3, -np.log(max(inner, 1e-12))), 2, 600))
        rate = float(np.log(abs(self.multiplier)))
        #: How narrowly the boundary is bracketed: runs from there must stay beside the saddle that long.
        self.width = float(np.clip(np.exp(-3.0 * self.n_settle * rate), 1e-10, 1e-6))
        self.n_near = int(np.clip(np.log(1e-2 / self.width) / rate, 2, _LONGEST))
        self.n_follow = int(np.clip(np.log(1e2 / self.width) / rate, 2, _LONGEST))
        #: The cosine between a noise and the boundary's normal at which it is no longer turned.
        self.straight = 1.0 - 0.1 * tol
        self.angle = float(np.sqrt(0.1 * tol))
        self.iterations = 0

    # -- where the boundary is ---------------------------------------------------------------------------

    def crosses(self, noise: FloatArray, scales: FloatArray) -> IntArray:
        """Return the labels after the noise times every scale."""
        X = np.repeat(self.x[None], len(scales), axis=0)
        for w in noise:
            X = self.noisy.step(X, scales[:, None] * w)
        return self.label(X)

    def beyond(self, noise: FloatArray, scales: FloatArray) -> BoolArray:
        """Return after which multiples of the noise the run goes to the other side of the saddle."""
        return np.asarray(self.crosses(noise, scales) == self.other)

    def bracket(self, noise: FloatArray, wide: bool = False) -> float | None:
        """Return the least scale near 1 (if wide, the least of all) at which the noise leads across."""
        for width in (0.0,) if wide else (1e-6, 1e-4, 1e-2, 0.1, 0.4):
            scales = np.geomspace(0.02, 1.2, 40) if wide else np.linspace(1.0 - width, 1.0 + width, 16)
            out = self.beyond(noise, scales)
            ways_out = np.flatnonzero(out[1:] & ~out[:-1])
            if len(ways_out):
                k = ways_out[0] if wide else ways_out[np.argmin(np.abs(scales[ways_out] - 1.0))]
                return self.cut(noise, float(scales[k]), float(scales[k + 1]), False)
        return None

    def cut(self, noise: FloatArray, low: float, high: float, beyond: bool) -> float:
        """Return the scale in (low, high) at which the side changes from what it is at `low`."""
        for _ in range(12):
            if high - low <= self.width * high:
                break
            inner = np.linspace(low, high, 17)[1:-1]
            same = self.beyond(noise, inner) == beyond
            k = int(np.argmin(same)) if not same.all() else len(inner)
            high = float(inner[k]) if k < len(inner) else high
            low = float(inner[k - 1]) if k > 0 else low
        return high

    def tangent(self, z: FloatArray) -> tuple[Constraint, float, int]:
        """Return the tangent of the boundary at its state z, how near the run from z comes to the saddle,
        and after how many steps."""  # fmt: skip
        run = self.noisy.path(z, np.zeros((self.n_follow, self.noisy.n_sources)))
        gaps = np.linalg.norm(run - self.s, axis=1)
        k = int(np.argmin(gaps))
        _, normal = self.noisy.gradient(run[: k + 1], np.zeros((k, self.noisy.n_sources)), self.left)
        normal = normal / np.linalg.norm(normal)
        return Constraint(normal, float(normal @ z), z), float(gaps[k]), k

    # -- a first path ------------------------------------------------------------------------------------

    def _ramps(self) -> FloatArray | None:
        """Return the noise along a straight line to the saddle; None where noise cannot do that."""
        if self.noisy.inside:
            return None
        B = self.noisy.factor(self.x)
        inverse = np.linalg.pinv(B) if self.noisy.B is not None else None
        best, least = None, np.inf
        for length in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            if length > max(4, self.n_first):
                break
            line = self.x + np.linspace(0.0, 1.0, length + 1)[:, None] * (self.s - self.x)
            steps = line[1:] - self.noisy.quiet.step(line[:-1])
            noise = steps if inverse is None else steps @ inverse.T
            if inverse is not None and np.max(np.abs(noise @ B.T - steps)) > 1e-9 * self.distance:
                return None
            if np.sum(noise**2) < least:
                best, least = noise, float(np.sum(noise**2))
        return best

    def _pushes(self, rng: np.random.Generator) -> FloatArray | None:
        """Return the cheapest steady push after which the boundary leads to the saddle."""
        k, factor = self.noisy.n_sources, self.noisy.factor(self.x)
        guesses = [factor.T @ self.left, factor.T @ (self.s - self.x), factor.T @ np.ones(self.noisy.n_units)]
        guesses += list(np.eye(k)) if k <= 8 else list(rng.standard_normal((8, k)))
        units = [g / np.linalg.norm(g) for g in guesses if np.linalg.norm(g) > 0.0]
        if not units:
            return None
        V = np.array([sign * v for v in units for sign in (1.0, -1.0)])
        size = self.distance / max(1e-12, float(np.linalg.norm(factor, 2)))
        best, least = None, np.inf
        for length in _PUSHES:
            grid = size * _STRENGTHS / np.sqrt(length)
            X = np.repeat(self.x[None], len(V) * len(grid), axis=0)
            W = (V[:, None, :] * grid[None, :, None]).reshape(-1, k)
            for _ in range(length):
                X = self.noisy.step(X, W)
            out = (self.label(X) == self.other).reshape(len(V), len(grid))
            for v, row in zip(V, out):
                # Every crossing of the ray, not the first alone: another saddle may lie before this one.
                for first in np.flatnonzero(row[1:] != row[:-1]):
                    noise = np.tile(v * grid[first + 1], (length, 1))
                    cost = float(np.sum(noise**2))
                    if cost >= least:
                        continue
                    scale = self.cut(noise, grid[first] / grid[first + 1], 1.0, bool(row[first]))
                    z = self.noisy.path(self.x, scale * noise)[-1]
                    if self.tangent(z)[1] < 0.02 * self.distance:
                        best, least = scale * noise, cost
        return best

    # -- all of it ---------------------------------------------------------------------------------------

    def longer(self, noise: FloatArray, before: int, after: int) -> FloatArray:
        """Return the noise with quiet steps in front, about so many, and behind."""
        before = -(-before // self.period) * self.period
        k = noise.shape[1]
        return np.concatenate([np.zeros((before, k)), noise, np.zeros((after, k))])

    def turn(
        self, noise: FloatArray, plane: Constraint, n_quiet: int
    ) -> tuple[FloatArray, Constraint, float]:
        """Turn the noise towards the boundary's normal as long as the noise gets less by it."""
        cosine = 0.0
        for _ in range(_TURNS):
            self.iterations += 1
            g, _ = self.noisy.gradient(self.noisy.path(self.x, noise), noise, plane.normal)
            g[len(g) - n_quiet :] = 0.0
            size, steep = float(np.linalg.norm(noise)), float(np.linalg.norm(g))
            if not steep > 0.0:
                break
            cosine = float(np.vdot(g, noise)) / (size * steep)
            g *= np.sign(cosine) * size / steep
            cosine = abs(cosine)
            if cosine > self.straight:
                break
            for t in (1.0, 0.5, 0.2, 0.05):
                new = noise + t * (g - noise)
                scale = self.bracket(new, wide=True)
                # Descent serves better than many turns that gain little each.
                if scale is None or scale * float(np.linalg.norm(new)) >= (1.0 - 2e-3) * size:
                    continue
                tangent, gap, _ = self.tangent(self.noisy.path(self.x, scale * new)[-1])
                if gap <= _BESIDE * self.distance:
                    noise, plane = scale * new, tangent
                    break
            else:
                break
        return noise, plane, cosine

    def settle(
        self, noise: FloatArray, plane: Constraint, n_quiet: int, max_iterations: int
    ) -> tuple[FloatArray, Constraint, float]:
        """Descend on tangents of the boundary, held near the last state while they are trusted there only."""
        unit = 0.5 * float(np.vdot(noise, noise)) / (_BESIDE * self.distance) ** 2
        spring, cosine, failures = unit, 0.0, 0
        for _ in range(_ROUNDS):
            aim, along, n = descend(
                self.noisy, self.x, noise, plane._replace(n_quiet=n_quiet, spring=spring), max_iterations,
                self.angle,
            )  # fmt: skip
            self.iterations += n
            scale = self.bracket(aim)
            new = aim if scale is None else scale * aim
            gain = 1.0 - float(np.vdot(new, new)) / float(np.vdot(noise, noise))
            found = scale is not None and gain >= 0.0
            if found:
                tangent, gap, _ = self.tangent(self.noisy.path(self.x, new)[-1])
                found = gap <= _BESIDE * self.distance
            if found:
                noise, plane, cosine = new, tangent, along
                if gain <= self.tol and (failures or spring < 1e-4 * unit):
                    break
                spring = 0.1 * spring
            else:
                failures += 1
                if failures > 1:
                    break
                spring = 10.0 * spring
        return noise, plane, cosine

    def start(self, rng: np.random.Generator) -> tuple[FloatArray, Constraint, int] | None:
        """Return noise on the boundary, turned; the tangent there; how many quiet steps the noise ends with.

        The noise is followed by quiet steps in which the boundary closes up to the saddle and becomes flat.
        """
        best, least = None, np.inf
        for first in (self._ramps, lambda: self._pushes(rng)):
            noise = first()
            if noise is None:
                continue
            plane, gap, k = self.tangent(self.noisy.path(self.x, noise)[-1])
            if gap > _BESIDE * self.distance:
                continue
            n_quiet = min(max(k, self.n_settle), self.n_near)
            noise = self.longer(noise, self.n_first // 2, n_quiet)
            plane, _, _ = self.tangent(self.noisy.path(self.x, noise)[-1])
            noise, plane, cosine = self.turn(noise, plane, n_quiet)
            size = float(np.linalg.norm(noise))
            if size < least:
                best, least = (noise, plane, n_quiet), size
            if cosine > 0.9:
                break
        return best

    def run(
        self, rng: np.random.Generator, max_iterations: int, progress: Progress
    ) -> ActionPath | NoActionPath:
        """Turn and descend along the boundary; lengthen the path until that no longer helps."""
        if self.reason:
            return NoActionPath(self.reason)
        found = self.start(rng)
        if found is None:
            return NoActionPath("no noise that was tried leads to the boundary beside this saddle")
        noise, plane, n_quiet = found
        action = np.inf
        for round_ in range(_STAGES):
            noise, plane, alignment = self.turn(noise, plane, n_quiet)
            if alignment < self.straight or round_ == 0:
                # Turning alone also stops where the cost has a saddle.
                noise, plane, cosine = self.settle(noise, plane, n_quiet, max_iterations)
                alignment = max(alignment, cosine)
            last, action = action, 0.5 * float(np.vdot(noise, noise))
            progress("minimal action", (round_ + 1) / (_STAGES + 1))
            if last - action <= self.tol * action or len(noise) >= self.n_most:
                break
            # Quiet steps in front let the noise begin earlier.
            noise = self.longer(noise, min(len(noise), self.n_most - len(noise)), 0)
        notes = []
        ends = self.crosses(noise, np.array([0.0, 0.999, 1.001]))
        if not alignment > 0.99:
            notes.append("the noise is not stationary: the action may be lowered further")
        return ActionPath(
            action, noise, self.noisy.path(self.x, noise), self.own, int(ends[2]), self.s, self.multiplier,
            alignment, bool(ends[1] == self.own), bool(ends[2] != self.own), self.iterations,
            "; ".join(notes),
        )  # fmt: skip


def _radius(system: Map, states: FloatArray) -> float:
    J = np.eye(states.shape[1])
    for x in states:
        J = system.jacobian(x) @ J
    return float(np.max(np.abs(np.linalg.eigvals(J))) ** (1.0 / len(states)))
