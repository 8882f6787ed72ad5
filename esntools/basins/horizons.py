"""Shortest kicks onto the stable manifold of a saddle: the manifold by its preimages, horizon by horizon."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy.linalg

from esntools._typing import FloatArray
from esntools.basins.attractors import Cycle
from esntools.basins.runs import fastest_form
from esntools.maps import Map
from esntools.network import EchoStateNetwork

__all__ = ["OUTSIDE", "Allowed", "Anchor", "Horizons", "Landing", "anchors"]

# Steps after which the run must be on the tangent space of the stable manifold at the saddle.
_HORIZONS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_ROUGH: Final = 8
_TURNS: Final = 12
# Several horizons in a row on which the run came no nearer to the saddle: it goes elsewhere.
_PATIENCE: Final = 3
_FAR: Final = 1e100


@final
@dataclass(frozen=True, eq=False)
class Anchor:
    """A state of an unstable cycle with the covectors that vanish on its stable space.

    Attributes
    ----------
    x : ndarray, shape (n_units,)
    left : ndarray, shape (k, n_units)
        Orthonormal rows that span the left unstable space of F^period at x.
    period : int
    cycle : ndarray, shape (period, n_units)
        All its states, from x on.
    multiplier : float
        The largest modulus of the multipliers, with its sign where that one is real.
    """

    x: FloatArray
    left: FloatArray
    period: int
    cycle: FloatArray
    multiplier: float


def _pulled(system: Map, states: FloatArray, rows: FloatArray) -> FloatArray:
    """Return rows times DF^p along the states of a cycle."""
    for x in states[::-1]:
        rows = rows @ system.jacobian(x)
    return rows


def _left_space(system: Map, states: FloatArray, multipliers: Any) -> FloatArray | None:
    """Return orthonormal rows of the left unstable space; None where it cannot be told from the rest."""
    k, n = len(multipliers), states.shape[1]
    if n > 600:
        rows = np.linalg.qr(np.cos(np.outer(np.arange(n), np.arange(1, k + 1))))[0].T
        for _ in range(400):
            image = _pulled(system, states, rows)
            new = np.linalg.qr(image.T)[0].T
            gap = float(np.linalg.norm(new - (new @ rows.T) @ rows))
            rows = new
            if gap < 1e-12:
                break
        return rows if gap < 1e-6 else None
    J = np.eye(n)
    for x in states:
        J = system.jacobian(x) @ J
    columns = []
    for value in multipliers:
        if value.imag < 0.0:
            continue
        shift = value.real if value.imag == 0.0 else value
        # Inverse iteration with the nearly singular J - lambda: far cheaper than all the eigenvectors.
        factors = scipy.linalg.lu_factor(J.T - shift * (1.0 + 1e-10) * np.eye(n))
        v = np.cos(np.arange(n, dtype=np.float64)).astype(factors[0].dtype)
        for _ in range(3):
            v = scipy.linalg.lu_solve(factors, v)
            v /= np.linalg.norm(v)
        columns += [v.real] if value.imag == 0.0 else [v.real, v.imag]
    basis = np.array(columns)
    if basis.shape[0] == k and np.all(np.isfinite(basis)):
        rows, triangle = (a.T for a in np.linalg.qr(basis.T))
        defect = np.linalg.norm(rows @ J - (rows @ J @ rows.T) @ rows)
        if np.min(np.abs(np.diag(triangle))) > 1e-6 and defect <= 1e-7 * np.linalg.norm(rows @ J):
            return np.asarray(rows)
    # Multipliers that coincide, or nearly so.
    _, Z, found = scipy.linalg.schur(J.T, output="real", sort=lambda re, im=0.0: re * re + im * im > 1.0)
    return np.asarray(Z[:, :k].T) if found == k else None


def anchors(system: Map, cycle: Cycle, most: int = 4) -> tuple[Anchor, ...]:
    """Return the states of an unstable cycle as anchors; none with more than `most` unstable directions."""
    unstable = cycle.multipliers[np.abs(cycle.multipliers) > 1.0 + 1e-9]
    if not 0 < len(unstable) <= most:
        return ()
    lead = unstable[0]
    out = []
    for phase in range(len(cycle.states)):
        states = np.roll(cycle.states, -phase, axis=0)
        left = _left_space(system, states, unstable)
        if left is None:
            return ()
        size = float(lead.real) if lead.imag == 0.0 else float(abs(lead))
        out.append(Anchor(states[0], left, len(states), states, size))
    return tuple(out)


def _clipped(A: FloatArray, c: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray | None:
    """Return the d of least norm with A d = c and low <= d <= high; None where there is none.

    d = clip(A^T y) for the multipliers y, which minimise a convex piecewise quadratic function: Newton on it.
    """
    y: FloatArray = np.asarray(np.linalg.lstsq(A @ A.T, c, rcond=None)[0], dtype=np.float64)
    scale = float(np.linalg.norm(A)) * float(np.linalg.norm(high - low)) + float(np.linalg.norm(c))

    def dual(y: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        t = A.T @ y
        d = np.clip(t, low, high)
        return float(d @ t - 0.5 * d @ d - c @ y), d, A @ d - c

    value, d, defect = dual(y)
    for _ in range(60):
        if np.linalg.norm(defect) <= 1e-13 * scale:
            return d
        free = (d > low) & (d < high)
        H = A[:, free] @ A[:, free].T
        H += (1e-12 * np.trace(A @ A.T) / len(c) + 1e-300) * np.eye(len(c))
        step = np.linalg.solve(H, -defect)
        slope, share = float(defect @ step), 1.0
        for _ in range(40):
            new = dual(y + share * step)
            if new[0] <= value + 1e-4 * share * slope:
                break
            share *= 0.5
        else:
            break
        y = y + share * step
        value, d, defect = new
    return d if np.linalg.norm(defect) <= 1e-9 * scale else None


#: How far outside a box rounding and the width of a bracket may bring a kick that ends on its side.
OUTSIDE: Final = 1e-6


class Allowed:
    """Which kicks are allowed: a subspace, a box around the state, both or neither."""

    def __init__(
        self, n: int, basis: FloatArray | None = None, box: tuple[FloatArray, FloatArray] | None = None
    ) -> None:
        self.basis, self.box = basis, box
        self._across: FloatArray | None = None
        if basis is not None and box is not None:
            self._across = np.linalg.qr(basis, mode="complete")[0][:, basis.shape[1] :].T

    def project(self, D: FloatArray) -> FloatArray:
        """Return the part of the rows that is allowed (in a subspace and a box: shortened to it)."""
        if self.basis is not None:
            D = D @ self.basis @ self.basis.T
            return D if self.box is None else D * np.minimum(1.0, self.room(D))[..., None]
        return D if self.box is None else np.clip(D, *self.box)

    def room(self, D: FloatArray) -> FloatArray:
        """Return the largest multiples of the rows that are in the box."""
        if self.box is None:
            return np.full(D.shape[:-1], np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(D > 0.0, self.box[1] / D, np.where(D < 0.0, self.box[0] / D, np.inf))
        return np.asarray(np.min(shares, axis=-1))

    def excess(self, D: FloatArray) -> FloatArray:
        """Return how far the rows are outside the box."""
        if self.box is None:
            return np.zeros(D.shape[:-1])
        return np.asarray(np.max(np.maximum(self.box[0] - D, D - self.box[1]), axis=-1, initial=0.0))

    def nearest(self, G: FloatArray, c: FloatArray) -> FloatArray | None:
        """Return the shortest allowed d with G d = c; None where there is none."""
        if self.box is not None:
            A, b = (G, c)
            if self._across is not None:
                A = np.vstack([G, self._across])
                b = np.concatenate([c, np.zeros(len(self._across))])
            return _clipped(A, b, *self.box)
        A = G if self.basis is None else G @ self.basis
        d, _, rank, _ = np.linalg.lstsq(A, c, rcond=1e-10)
        if rank < len(c):
            return None
        return np.asarray(d if self.basis is None else self.basis @ d)


@final
@dataclass(frozen=True, eq=False)
class Landing:
    """A shortest kick (among its neighbours) onto a stable manifold.

    Attributes
    ----------
    kick : ndarray, shape (n_units,)
    normals : ndarray, shape (k, n_units)
        Orthonormal rows: the normal space of the manifold at x + kick.
    sides : ndarray, shape (n_units, k)
        Small changes of the kick that move the run off the saddle along each covector of the anchor alike.
    alignment : float
        The cosine between the kick and the shortest one on the tangent space there.
    gap : float
        How near to the saddle the run came, as a fraction of its distance from x.
    anchor : Anchor
    turns : int
        Steps of the iteration.
    """

    kick: FloatArray
    normals: FloatArray
    sides: FloatArray
    alignment: float
    gap: float
    anchor: Anchor
    turns: int


class Horizons:
    """Solves min |d| with L (F^m(x + d) - s) = 0 for rising m: sets that tend to the stable manifold."""

    def __init__(self, system: Map) -> None:
        if isinstance(system, EchoStateNetwork) and system.n_units <= 2000:
            system = fastest_form(system)
        self.system = system
        self.n_steps = 0
        self._network: EchoStateNetwork | None = None
        if isinstance(system, EchoStateNetwork) and (system.W_fb is None or system.readout is None):
            self._network = system

    def _path(self, x: FloatArray, m: int) -> tuple[FloatArray, FloatArray | None]:
        """Return x and its m images, and a phi'(z) at all but the last for a network without feedback."""
        states, network = np.empty((m + 1, len(x))), self._network
        self.n_steps += m
        states[0] = x
        with np.errstate(all="ignore"):
            if network is None:
                for k in range(m):
                    states[k + 1] = self.system.step(states[k])
                return states, None
            # Single states: a product with W and no checks is three times as fast as the batch kernel.
            Z, a, phi = np.empty((m, len(x))), network.leak_rate, network.activation
            W, b, keep = network.W, network.b, 1.0 - network.leak_rate
            for k in range(m):
                Z[k] = W @ states[k] + b
                states[k + 1] = keep * states[k] + a * phi(Z[k])
            return states, np.asarray(a * phi.slope(Z))

    def _pull(
        self, states: FloatArray, gains: FloatArray | None, left: FloatArray, defect: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return orthonormal rows Q of left DF_m ... DF_1, and the defect divided by the factor before Q."""
        network = self._network
        if network is not None:
            W, keep = network.W, 1.0 - network.leak_rate
        single = len(left) == 1
        for k in range(len(states) - 1, -1, -1):
            if gains is None or network is None:
                left = left @ self.system.jacobian(states[k])
            elif isinstance(W, np.ndarray):
                left = keep * left + (gains[k] * left) @ W
            else:
                left = keep * left + (W.T @ (gains[k] * left).T).T
            # Often enough that neither the sizes nor the angles are lost.
            if single and k % 4 == 0:
                size = math.sqrt(float(left[0] @ left[0]))
                if not 0.0 < size < math.inf:
                    return np.full_like(left, np.nan), defect
                left, defect = left / size, defect / size
            elif k % 4 == 0:
                Q, R = np.linalg.qr(left.T)
                if not np.all(np.isfinite(R)) or np.min(np.abs(np.diag(R))) == 0.0:
                    return np.full_like(left, np.nan), defect
                left, defect = Q.T, scipy.linalg.solve_triangular(R.T, defect, lower=True)
        return left, defect

    def _look(
        self, x: FloatArray, d: FloatArray, anchor: Anchor, m: int, allowed: Allowed
    ) -> tuple[FloatArray, FloatArray, float, float, FloatArray | None]:
        """Return normals and signed distances at x + d, its distance, the gap and the shortest kick."""
        states, gains = self._path(x + d, m)
        if not np.all(np.isfinite(states)):
            return np.zeros_like(anchor.left), np.zeros(len(anchor.left)), np.inf, np.inf, None
        Q, psi = self._pull(states[:-1], gains, anchor.left, anchor.left @ (states[-1] - anchor.x))
        gap = float(np.linalg.norm(states[-1] - anchor.x))
        # Not finite, or so far away that squares would not be.
        if not (np.all(np.isfinite(Q)) and np.all(np.abs(psi) < _FAR)):
            return np.zeros_like(anchor.left), psi, np.inf, gap, None
        goal = allowed.nearest(Q, Q @ d - psi)
        back = psi if allowed.basis is None else np.linalg.lstsq(Q @ allowed.basis, psi, rcond=1e-10)[0]
        # Kicks that hardly move along the normals would have to be as long.
        distance = float(np.linalg.norm(back)) if np.all(np.abs(back) < _FAR) else np.inf
        return Q, psi, distance, gap, goal

    def _solve(
        self, x: FloatArray, d: FloatArray, anchor: Anchor, m: int, allowed: Allowed, tol: float
    ) -> tuple[FloatArray, FloatArray, float, float, float, int]:
        """Return the kick at one horizon, normals, distance from the set, gap, misalignment and turns."""
        Q, psi, distance, gap, goal = self._look(x, d, anchor, m, allowed)
        off, last, turns = np.inf, None, 0
        for turns in range(_TURNS):  # noqa: B007
            if goal is None:
                break
            across = -Q.T @ psi if allowed.basis is None and allowed.box is None else None
            step = goal - d
            along = step if across is None else step - across
            size = float(np.linalg.norm(goal))
            off = float(np.linalg.norm(along)) / max(size, 1e-300)
            if off <= tol and distance <= tol * size:
                break
            share = 1.0
            if last is not None:
                moved = d - last[0]
                curve = float(moved @ (last[1] - along))
                share = float(np.clip(moved @ moved / curve, 0.05, 5.0)) if curve > 0.0 else 1.0
            if allowed.box is not None:
                share = min(share, 1.0)
            merit = float(np.linalg.norm(d)) + 2.0 * distance
            for _ in range(8):
                new = d + share * along
                if across is not None:
                    new = new + min(share, 1.0) * across
                seen = self._look(x, new, anchor, m, allowed)
                if seen[4] is not None and float(np.linalg.norm(new)) + 2.0 * seen[2] < merit:
                    break
                share *= 0.4
            else:
                break
            last = (d, along)
            d, (Q, psi, distance, gap, goal) = new, seen
        return d, Q, distance, gap, off, turns

    def land(self, x: FloatArray, anchor: Anchor, allowed: Allowed, tol: float = 1e-8) -> list[Landing]:
        """Return shortest kicks (among their neighbours) from x onto the stable manifold of the anchor."""
        found: list[Landing] = []
        firsts: list[FloatArray] = []
        # From the anchor itself, and from no kick: the normals at x.
        for start in (anchor.x - x, np.zeros_like(x)):
            d, *_ = self._solve(x, allowed.project(start), anchor, anchor.period, allowed, 1e-4)
            size = float(np.linalg.norm(d))
            if any(float(np.linalg.norm(d - other)) <= 1e-2 * size for other in firsts):
                continue
            firsts.append(d)
            landing = self._follow(x, d, anchor, allowed, tol)
            if landing is not None:
                found.append(landing)
        return found

    def _sides(self, z: FloatArray, anchor: Anchor, m: int, allowed: Allowed) -> FloatArray:
        states, gains = self._path(z, m)
        k = len(anchor.left)
        Q, inverse = self._pull(states[:-1], gains, anchor.left, np.eye(k))
        if not (np.all(np.isfinite(Q)) and np.all(np.isfinite(inverse))):
            return np.zeros((len(z), k))
        if allowed.basis is None:
            return np.asarray(Q.T @ inverse)
        return np.asarray(allowed.basis @ np.linalg.lstsq(Q @ allowed.basis, inverse, rcond=1e-10)[0])

    def _follow(
        self, x: FloatArray, d: FloatArray, anchor: Anchor, allowed: Allowed, tol: float
    ) -> Landing | None:
        """Go from horizon to horizon until the kick changes no more; None where the run goes elsewhere."""
        far = float(np.linalg.norm(anchor.x - x))
        best, before, idle, n_turns = np.inf, d, 0, 0
        for horizon in _HORIZONS:
            m = horizon * anchor.period
            # The first horizons only show the way.
            rough = horizon < _ROUGH
            inner = 1e-4 if rough else tol
            d, Q, distance, gap, off, turns = self._solve(x, d, anchor, m, allowed, inner)
            n_turns += turns
            size = float(np.linalg.norm(d))
            if not (np.isfinite(off) and size > 0.0):
                return None
            moved = float(np.linalg.norm(d - before)) / size
            before = d
            if not rough and moved <= 10.0 * tol and gap <= 0.25 * far and distance <= 1e-5 * size:
                goal = allowed.nearest(Q, Q @ d)
                if goal is None:
                    return None
                cosine = float(goal @ d) / (float(np.linalg.norm(goal)) * size)
                sides = self._sides(x + d, anchor, m, allowed)
                return Landing(d, Q, sides, min(cosine, 1.0), gap / far, anchor, n_turns)
            idle = 0 if gap < 0.9 * best or gap < 0.05 * far else idle + 1
            best = min(best, gap)
            if horizon >= 4 and idle >= _PATIENCE:
                return None
        return None
