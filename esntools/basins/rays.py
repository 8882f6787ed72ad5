"""Rays from a state to the boundary of a basin, its normals there, and rays turned towards them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import scipy.linalg

from esntools._typing import BoolArray, FloatArray, IntArray, Progress
from esntools.basins.attractors import Attractor, Cycle, polish_cycle
from esntools.basins.horizons import Allowed
from esntools.basins.runs import Runner
from esntools.maps import Map, state_box
from esntools.network import EchoStateNetwork

__all__ = ["LOOSE", "Labels", "Rays", "Saddle", "Search", "first_directions", "pull_back", "reach", "turn"]

# States labelled at once: a few cost hardly less. All brackets are cut together, each into as many parts.
_BATCH: Final = 48
# A bracket is narrow against 1 - alignment while its direction is still being turned.
LOOSE: Final = 1e-6
_LONGEST_CYCLE: Final = 16
_LONGEST_PATH: Final = 4000
# The two sides of a bracket are followed until they are this far apart, relative to the state.
_APART: Final = 1e-3
# Recurrences of paths that were no new saddle, after which none is polished any more: that takes long.
_MOST_FAILURES: Final = 12


class Labels(Protocol):
    """What labels states: a `Labeller`, or a landscape."""

    @property
    def system(self) -> Map: ...

    @property
    def runner(self) -> Runner: ...

    @property
    def attractors(self) -> Sequence[Attractor]: ...

    def label(self, X: FloatArray, *, grow: bool = True) -> IntArray: ...


class Saddle:
    """An unstable cycle with one unstable direction, and its left unstable vector at every state."""

    def __init__(self, system: Map, cycle: Cycle) -> None:
        self.cycle = cycle
        self.states, self.multiplier = cycle.states, float(cycle.multipliers[0].real)
        n = cycle.states.shape[1]
        if n <= 600:
            J = np.eye(n)
            for x in cycle.states:
                J = system.jacobian(x) @ J
            # Inverse iteration with the nearly singular J - lambda.
            factors = scipy.linalg.lu_factor(J - self.multiplier * (1.0 + 1e-10) * np.eye(n))
            left = np.cos(np.arange(n, dtype=np.float64))
            for _ in range(3):
                left = scipy.linalg.lu_solve(factors, left, trans=1)
                left /= np.linalg.norm(left)
        else:
            left = np.cos(np.arange(n, dtype=np.float64))
            for _ in range(2000):
                old, left = left, pull_back(system, cycle.states, left)
                if abs(abs(old @ left) - 1.0) < 1e-15:
                    break
        vectors = [left]
        for x in cycle.states[:0:-1]:
            vectors.append(pull_back(system, x[None], vectors[-1]))
        self.left = np.array([vectors[0], *vectors[:0:-1]])


def pull_back(system: Map, states: FloatArray, covector: FloatArray) -> FloatArray:
    """Return the direction of J_1^T ... J_m^T l for the Jacobians along a run; zero where it vanishes."""
    left = covector / np.linalg.norm(covector)
    gains: Any = None
    if isinstance(system, EchoStateNetwork) and (system.W_fb is None or system.readout is None):
        gains = system.leak_rate * system.activation.slope(system.preactivation(states))
        W_T, keep = system.W.T, 1.0 - system.leak_rate
    for k in range(len(states) - 1, -1, -1):
        if gains is None:
            left = system.jacobian(states[k]).T @ left
        else:
            left = keep * left + W_T @ (gains[k] * left)
        size = float(np.linalg.norm(left))
        if not (np.isfinite(size) and size > 0.0):
            return np.zeros_like(left)
        left = left / size
    return np.asarray(left)


def _unit(V: FloatArray) -> FloatArray:
    return np.asarray(V / np.linalg.norm(V, axis=-1, keepdims=True))


class Search:
    """The rays from one state, the boundary along them and its normals."""

    def __init__(
        self, labeller: Labels, x: FloatArray, own: int, target: int | None, allowed: Allowed
    ) -> None:
        self.labeller, self.system = labeller, labeller.system
        self.x, self.own, self.target, self.allowed = x, own, target, allowed
        self.scale = max(1.0, float(np.max(np.abs(x))))
        self._failures = 0
        self.saddles: list[Saddle] = []
        #: Fixed points with several unstable directions: there boundaries meet.
        self.corners: list[FloatArray] = []
        #: Whether the last boundaries looked at came by such a point.
        self.cornered: BoolArray = np.zeros(0, dtype=np.bool_)

    def goal(self, normal: FloatArray, d: FloatArray) -> FloatArray:
        """Return the direction of the shortest allowed kick to the plane through d; zero if there is none."""
        if self.allowed.box is None:
            out = self.allowed.project(normal)
        else:
            size = float(np.linalg.norm(normal))
            found = self.allowed.nearest(normal[None] / size, np.array([normal @ d / size]))
            out = np.zeros_like(d) if found is None else found
        size = float(np.linalg.norm(out))
        return out / size if size > 0.0 else out

    def beyond(self, labels: IntArray) -> BoolArray:
        """Return which labels are beyond the boundary."""
        return np.asarray(labels != self.own if self.target is None else labels == self.target)

    def left(self, X: FloatArray, grow: bool = False) -> BoolArray:
        """Return which states are beyond the boundary."""
        labels: IntArray = self.labeller.label(X.reshape(-1, X.shape[-1]), grow=grow).reshape(X.shape[:-1])
        return self.beyond(labels)

    def scan(self, V: FloatArray, radii: FloatArray, grow: bool = False) -> tuple[FloatArray, FloatArray]:
        """Return brackets of the first crossing of the rays V at rising radii (k, n_radii); NaN if none."""
        beyond = self.left(self.x + radii[:, :, None] * V[:, None, :], grow)
        first, rows = np.argmax(beyond, axis=1), np.arange(len(V))
        high = np.where(beyond.any(axis=1), radii[rows, first], np.nan)
        low = np.where(first > 0, radii[rows, np.maximum(first - 1, 0)], 0.0)
        return np.where(np.isnan(high), np.nan, low), high

    def cut(
        self, V: FloatArray, low: FloatArray, high: FloatArray, width: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """Narrow the brackets to a relative width."""
        low, high = low.copy(), high.copy()
        for _ in range(60):
            rows = np.flatnonzero(high - low > width * high)
            if len(rows) == 0:
                break
            sections = int(np.clip(_BATCH // len(rows), 3, 15))
            weights = np.arange(1, sections + 1) / (sections + 1)
            inner = low[rows, None] + weights * (high - low)[rows, None]
            a, b = self.scan(V[rows], inner)
            missed = np.isnan(b)
            low[rows] = np.where(missed, inner[:, -1], np.where(a > 0.0, a, low[rows]))
            high[rows] = np.where(missed, high[rows], b)
        return low, high

    def normals(
        self, V: FloatArray, low: FloatArray, high: FloatArray
    ) -> tuple[FloatArray, list[Saddle | None]]:
        """Return the unit normal of the boundary at every crossing (zero where none was found)."""
        K, n = V.shape
        pairs = np.concatenate([self.x + low[:, None] * V, self.x + high[:, None] * V])
        blocks = [pairs[None]]
        apart = np.full(K, -1)
        done = 0
        limit = min(_LONGEST_PATH, max(64, 2**26 // pairs.size))
        while done < limit and np.any(apart < 0):
            block = self.labeller.runner.states(blocks[-1][-1], 32)
            gaps = np.max(np.abs(block[:, :K] - block[:, K:]), axis=2)
            wide = gaps > _APART * self.scale
            new = (apart < 0) & wide.any(axis=0)
            apart[new] = done + 1 + np.argmax(wide[:, new], axis=0)
            blocks.append(block)
            done += 32
        paths = np.concatenate(blocks)
        apart[apart < 0] = len(paths) - 1
        out, found = np.zeros((K, n)), []
        self.cornered = np.zeros(K, dtype=np.bool_)
        for row in range(K):
            path = paths[: apart[row] + 1, row]
            for corner in self.corners:
                self.cornered[row] |= np.min(np.max(np.abs(path - corner), axis=1)) < 0.05 * self.scale
            saddle, step, covector = self.end(path)
            if saddle is None:
                step = len(path) - 1
                covector = paths[step, K + row] - path[step]
            found.append(saddle)
            normal = pull_back(self.system, path[:step], covector) if np.any(covector) else out[row]
            out[row] = self.goal(normal, low[row] * V[row]) if np.any(normal) else 0.0
        side = np.sign(np.einsum("kn,kn->k", out, V))
        return out * np.where(side == 0.0, 1.0, side)[:, None], found

    def end(self, path: FloatArray) -> tuple[Saddle | None, int, FloatArray]:
        """Return the saddle that a path along the boundary comes close to, when, and its left vector."""
        best: tuple[float, Saddle | None, int, FloatArray] = (np.inf, None, 0, path[0])
        for attempt in range(2):
            for saddle in self.saddles:
                for state, left in zip(saddle.states, saddle.left):
                    gaps = np.max(np.abs(path - state), axis=1)
                    i = int(np.argmin(gaps))
                    if gaps[i] < best[0]:
                        best = float(gaps[i]), saddle, i, left
            if best[0] <= 1e-2 * self.scale:
                return best[1:]
            if attempt or not self.discover(path):
                break
        return None, 0, path[0]

    def _beside(self, x: FloatArray) -> float:
        """Return the distance (max norm) to the nearest unstable state that is known."""
        known = [*(s.states for s in self.saddles), *(c[None] for c in self.corners)]
        return float(np.min(np.max(np.abs(np.vstack(known) - x), axis=1))) if known else np.inf

    def discover(self, path: FloatArray) -> bool:
        """Polish the closest recurrence of a path; whether that is a saddle not seen before."""
        if self._failures >= _MOST_FAILURES:
            return False
        for p in range(1, min(_LONGEST_CYCLE, len(path) - 1) + 1):
            gaps = np.max(np.abs(path[p:] - path[:-p]), axis=1)
            i = int(np.argmin(gaps))
            if gaps[i] > 1e-2 * self.scale or self._beside(path[i]) <= 20.0 * gaps[i]:
                continue
            if self.add(polish_cycle(self.system, path[i], p)):
                return True
            self._failures += 1
        return False

    def add(self, cycle: Cycle | None) -> bool:
        """Keep a cycle with one unstable direction; whether it is new."""
        if cycle is None or int(np.sum(np.abs(cycle.multipliers) > 1.0 + 1e-9)) != 1:
            return False
        if any(np.min(np.max(np.abs(s.states - cycle.states[0]), axis=1)) < 1e-7 for s in self.saddles):
            return False
        self.saddles.append(Saddle(self.system, cycle))
        return True


class Rays:
    """The directions that are being turned: brackets, normals and how it went."""

    def __init__(self, V: FloatArray, low: FloatArray, high: FloatArray) -> None:
        K = len(V)
        self.V, self.low, self.high = V, low, high
        self.alignment = np.full(K, np.nan)
        self.saddle: list[Saddle | None] = [None] * K
        self.last_V, self.last_descent = np.full_like(V, np.nan), np.full_like(V, np.nan)
        self.iterations = np.zeros(K, dtype=np.intp)
        self.active, self.kept = np.ones(K, dtype=np.bool_), np.ones(K, dtype=np.bool_)

    def look(self, search: Search, rows: IntArray) -> FloatArray:
        """Return the normals where the rays of these rows meet the boundary; note saddles and angles."""
        normals, saddles = search.normals(self.V[rows], self.low[rows], self.high[rows])
        cosine = np.einsum("kn,kn->k", normals, self.V[rows])
        self.alignment[rows] = np.where(cosine > 0.0, np.minimum(cosine, 1.0), np.nan)
        for row, saddle in zip(rows, saddles):
            self.saddle[row] = saddle
        return normals

    def first_share(self, rows: IntArray, descent: FloatArray) -> FloatArray:
        """Return how far to turn, 1 being to the normal, by what the last turn changed (Barzilai-Borwein)."""
        moved, change = self.V[rows] - self.last_V[rows], self.last_descent[rows] - descent
        with np.errstate(all="ignore"):
            share = np.einsum("kn,kn->k", moved, moved) / np.einsum("kn,kn->k", moved, change)
        self.last_V[rows], self.last_descent[rows] = self.V[rows], descent
        return np.where(share > 0.0, np.clip(share, 0.02, 4.0), 1.0)

    def merge(self) -> None:
        """Leave out a direction that has come close to a better one."""
        order = np.argsort(self.high, kind="stable")
        for place, i in enumerate(order):
            better = [j for j in order[:place] if self.kept[j]]
            if self.kept[i] and any(self.V[j] @ self.V[i] > self._close(i, j) for j in better):
                self.kept[i] = self.active[i] = False

    def _close(self, i: int, j: int) -> float:
        same = self.saddle[i] is not None and self.saddle[i] is self.saddle[j]
        return 0.95 if same else 1.0 - 1e-4


def turn(search: Search, rays: Rays, tol: float, max_iterations: int, progress: Progress) -> None:
    """Turn every direction towards the normal of the boundary, until it is parallel to it."""
    for iteration in range(max_iterations + 1):
        rows = np.flatnonzero(rays.active)
        if len(rows) == 0:
            break
        normals = rays.look(search, rows)
        cosine = np.einsum("kn,kn->k", normals, rays.V[rows])
        known = cosine > 0.0
        rays.active[rows] = known & (1.0 - cosine > tol)
        if iteration == max_iterations:
            break
        # A turn is judged by how much shorter the ray becomes: the bracket must be narrower than that.
        width = np.clip(1e-3 * (1.0 - cosine), tol, LOOSE)
        rays.low[rows], rays.high[rows] = search.cut(rays.V[rows], rays.low[rows], rays.high[rows], width)
        descent = normals / np.maximum(cosine, 1e-300)[:, None] - rays.V[rows]
        share = rays.first_share(rows, descent)
        waiting = rays.active[rows].copy()
        for _ in range(8):
            i = np.flatnonzero(waiting)
            if len(i) == 0:
                break
            k = rows[i]
            V = _unit(rays.V[k] + share[i, None] * descent[i])
            # Where the tangent plane says that the new ray meets the boundary, and on the way there.
            guess = rays.low[k] * cosine[i] / np.einsum("kn,kn->k", normals[i], V)
            fractions = np.array([0.3, 0.6, 0.8, 0.9, 0.97, 0.997, 1.003, 1.03, 1.1])
            limit = rays.low[k] * (1.0 - 0.25 * np.minimum(share[i], 1.0) * (1.0 - cosine[i] ** 2))
            limit = np.minimum(limit, search.allowed.room(V))
            radii = np.sort(np.minimum(np.column_stack([guess[:, None] * fractions, limit]), limit[:, None]))
            low, high = search.scan(V, radii)
            shorter = ~np.isnan(high)
            j = k[shorter]
            rays.V[j] = V[shorter]
            rays.low[j], rays.high[j] = low[shorter], high[shorter]
            rays.iterations[j] += 1
            waiting[i[shorter]] = False
            share[i[~shorter]] *= 0.4
        # No shorter kick beside this one, as far as the labels can tell.
        rays.active[rows[waiting]] = False
        rays.low[rows], rays.high[rows] = search.cut(rays.V[rows], rays.low[rows], rays.high[rows], LOOSE)
        rays.merge()
        progress("smallest kick", 0.1 + 0.85 * (iteration + 1) / max_iterations)


def first_directions(search: Search, n_starts: int, rng: np.random.Generator) -> FloatArray:
    """Return unit directions: to the nearest saddles, to other attractors, and random ones."""
    x, n = search.x, len(search.x)
    points = [s.states[np.argmin(np.linalg.norm(s.states - x, axis=1))] for s in search.saddles]
    points = sorted(points, key=lambda p: float(np.linalg.norm(p - x)))[: max(1, n_starts // 2)]
    # A basin that is no neighbour is entered at a corner first, where several boundaries meet.
    near = search.corners if search.target is not None else []
    corners = sorted(near, key=lambda p: float(np.linalg.norm(p - x)))[: max(1, n_starts // 4)]
    rows = [p - x for p in [*points, *corners]]
    others = [a.states[0] - x for k, a in enumerate(search.labeller.attractors) if k != search.own]
    others.sort(key=lambda d: float(np.linalg.norm(d)))
    if search.target is not None and search.target >= 0:
        others.insert(0, search.labeller.attractors[search.target].states[0] - x)
    # Off the lines of symmetry: there a bundle of boundaries meets, and has no normal.
    for d in others[: max(1, n_starts // 4)]:
        jitter = rng.standard_normal(n)
        rows.append(d + 0.02 * np.linalg.norm(d) / np.linalg.norm(jitter) * jitter)
    n_random = max(2, n_starts - len(rows))
    basis, box = search.allowed.basis, search.allowed.box
    random = rng.standard_normal((n_random, n if basis is None else basis.shape[1]))
    if basis is not None:
        random = random @ basis.T
    random[1::2] = -random[: len(random) // 2 * 2 : 2]
    if box is not None and basis is None:
        random = rng.uniform(*box, (n_random, n))
    V = np.vstack([*(search.allowed.project(d)[None] for d in rows), random])
    sizes = np.linalg.norm(V, axis=1)
    return _unit(V[sizes > 1e-9 * np.max(sizes)])


def reach(search: Search) -> float:
    """Return how far to look along a ray."""
    box = state_box(search.system)
    far = [2.0 * float(np.linalg.norm(box[1] - box[0]))] if box is not None else []
    far += [4.0 * float(np.linalg.norm(a.states[0] - search.x)) for a in search.labeller.attractors]
    return max([4.0 * search.scale, *far])
