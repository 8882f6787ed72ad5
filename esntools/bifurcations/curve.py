"""Pseudo-arclength continuation: points along the solution curve of F(x, l) = 0, with adaptive steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy.linalg.lapack

from esntools._typing import ComplexArray, FloatArray
from esntools.bifurcations.families import Problem

__all__ = ["Node", "make_node", "segments_near", "solve_at", "trace"]

#: Modulus closer to 1 than this: on which side a multiplier lies is not a matter of numbers.
CRITICAL: Final = 1e-9

# Consecutive tangents within about 14 degrees; beyond, the step is halved.
_COSINE: Final = 0.97
_ESCAPED: Final = 1e6

#: A difference of states in which no other orbit is suspected.
_NEGLIGIBLE: Final = 1e-5

#: Below this a step is not halved again because its ends do not seem to belong together.
_JUMP: Final = 1e-5


@final
@dataclass(frozen=True, eq=False)
class Node:
    """A point of the curve with what tells where a bifurcation is.

    Attributes
    ----------
    z : (n + 1,) state and scaled parameter
    tangent : (n + 1,), of length 1 in the problem's norm
    multipliers : eigenvalues of DG^p by decreasing modulus
    sign : sign of det [F_x F_l; tangent]: it changes where two branches cross
    """

    z: FloatArray
    tangent: FloatArray
    multipliers: ComplexArray
    sign: float

    @property
    def n_unstable(self) -> int:
        return int(np.sum(np.abs(self.multipliers) > 1.0))

    @property
    def n_flipped(self) -> int:
        """Number of real multipliers below -1."""
        mu = self.multipliers
        return int(np.sum((mu.imag == 0.0) & (mu.real < -1.0)))

    @property
    def index(self) -> int:
        mu = self.multipliers
        if np.min(np.abs(mu - 1.0)) <= CRITICAL:
            return 0
        return 1 - 2 * (int(np.sum((mu.imag == 0.0) & (mu.real > 1.0))) % 2)

    @property
    def critical(self) -> bool:
        return bool(np.min(np.abs(np.abs(self.multipliers) - 1.0)) <= CRITICAL) or self.sign == 0.0


def make_node(problem: Problem, z: FloatArray, previous: FloatArray) -> Node | None:
    """Return the node at z, its tangent turned as `previous` is; None where that leaves no tangent."""
    _, M, slope = problem.linearise(z)
    n = problem.n
    matrix = np.empty((n + 1, n + 1))
    matrix[:n, :n], matrix[:n, n], matrix[n] = M - np.eye(n), slope, problem.weights * previous
    lu, pivots, singular = scipy.linalg.lapack.dgetrf(matrix)
    if singular or not np.all(np.isfinite(lu)):
        return None
    t = scipy.linalg.lapack.dgetrs(lu, pivots, np.append(np.zeros(n), 1.0))[0]
    if not np.all(np.isfinite(t)):
        return None
    # The determinant is linear in the last row and vanishes with its product with t: any row whose product
    # with the tangent is positive, such as the tangent itself, gives the same sign.
    swaps = int(np.sum(pivots != np.arange(n + 1)))
    sign = float(np.prod(np.sign(np.diag(lu)))) * (1.0 - 2.0 * (swaps % 2))
    values = np.linalg.eigvals(M)
    values = values[np.lexsort((-values.imag, -np.round(np.abs(values), 12)))].astype(np.complex128)
    return Node(z, np.asarray(t / problem.norm(t)), values, sign)


def _joined(problem: Problem, a: Node, b: Node) -> bool:
    """Whether the change of every state of the orbit is what the tangents at both ends say.

    Long unstable orbits lie close together; a step from one to another passes every other test.
    """
    length = problem.norm(b.z - a.z)
    told = problem.orbit_tangent(a.z, a.tangent) + problem.orbit_tangent(b.z, b.tangent)
    change = problem.orbit(b.z) - problem.orbit(a.z)
    off = float(np.max(np.abs(change - 0.5 * length * told)))
    return off <= 0.2 * float(np.max(np.abs(change))) + _NEGLIGIBLE


def solve_at(problem: Problem, z: FloatArray, share: float) -> FloatArray | None:
    """Return the solution near z with the scaled parameter equal to `share`."""
    row = np.zeros(problem.n + 1)
    row[-1] = 1.0
    z = z.copy()
    z[-1] = share
    out = problem.correct(z, row, share, polish=True)
    if out is not None:
        # Newton's method keeps a linear condition up to rounding; an end of the range is exact.
        out = out.copy()
        out[-1] = share
    return out


def _land(problem: Problem, node: Node, step: float) -> Node | None:
    """Return the node on the end of the range that a step would cross, if it is near."""
    slope = node.tangent[-1]
    end = 1.0 if slope > 0.0 else 0.0
    if slope == 0.0 or abs(end - node.z[-1]) > 2.0 * step * abs(slope):
        return None
    length = (end - node.z[-1]) / slope
    z = solve_at(problem, node.z + length * node.tangent, end)
    if z is None or problem.norm(z - node.z) > 2.0 * step + 1e-12:
        return None
    return make_node(problem, z, node.tangent)


def _half_orbit(problem: Problem, z: FloatArray) -> FloatArray:
    """Return x - G^(p/2)(x): it vanishes where an orbit becomes one of half its period."""
    states = problem.orbit(z)
    return np.asarray(states[0] - states[problem.period // 2])


def trace(
    problem: Problem,
    first: Node,
    *,
    step: float,
    min_step: float,
    max_step: float,
    max_points: int,
    closes: bool = True,
    events: Callable[[Problem, Node, Node], list[Any] | None] | None = None,
    quiet: bool = False,
) -> tuple[list[Node], list[list[Any]], str]:
    """Follow the curve from a node along its tangent.

    Return the nodes (the first included), what `events` found on every step, and why it ended. `events`
    returns None for a step whose ends do not belong together; that step is halved. `quiet`: the first node is
    a bifurcation itself, beside which the signs are those of rounding.
    """
    nodes, found = [first], list[list[Any]]()
    halves = problem.period % 2 == 0
    gap = old = _half_orbit(problem, first.z) if halves else np.zeros(0)
    nudges = 0
    while len(nodes) < max_points:
        node = nodes[-1]
        here = node.z[-1]
        if (here >= 1.0 and node.tangent[-1] > 0.0) or (here <= 0.0 and node.tangent[-1] < 0.0):
            return nodes, found, "range"
        guess = node.z + step * node.tangent
        reached: Node | None = None
        new: Node | None = None
        fast = False
        if not 0.0 <= guess[-1] <= 1.0:
            new = _land(problem, node, step)
        else:
            row = problem.weights * node.tangent
            z = problem.correct(guess, row, float(row @ guess), max_iterations=6, cautious=True)
            if z is not None and problem.norm(z - guess) <= 0.3 * step:
                if 0.0 <= z[-1] <= 1.0:
                    reached = make_node(problem, z, node.tangent)
                    fast = problem.norm(z - guess) <= 0.05 * step
                else:
                    new = _land(problem, node, step)
        if reached is not None and problem.dot(reached.tangent, node.tangent) >= _COSINE:
            new = reached
        if new is None or problem.dot(new.tangent, node.tangent) < 0.7 or not _joined(problem, node, new):
            step *= 0.5
            if step < min_step:
                return nodes, found, "step"
            continue
        if new.critical and new.z[-1] not in (0.0, 1.0) and nudges < 3:
            # On a bifurcation by accident (a round number): a little before it the side is clear.
            step *= 0.9
            nudges += 1
            continue
        nudges = 0
        if float(np.max(np.abs(new.z[:-1]))) > _ESCAPED:
            return nodes, found, "escaped"
        if halves:
            old, gap = gap, _half_orbit(problem, new.z)
            if len(nodes) > 1 and float(old @ gap) < 0.0:
                nodes.append(new)
                found.append([])
                return nodes, found, "flip"
        on_step: list[Any] | None = []
        if events is not None and not (quiet and len(nodes) == 1) and not node.critical and not new.critical:
            on_step = events(problem, node, new)
            if on_step is None and step > _JUMP:
                step *= 0.5
                gap = old if halves else gap
                continue
        nodes.append(new)
        found.append(on_step or [])
        if closes and len(nodes) > 5 and _returned(problem, nodes, quiet):
            return nodes, found, "closed"
        if fast and problem.dot(new.tangent, node.tangent) >= 0.995:
            step = min(1.5 * step, max_step * max(1.0, problem.norm(np.append(new.z[:-1], 0.0))))
    return nodes, found, "length"


def _returned(problem: Problem, nodes: list[Node], born: bool) -> bool:
    """Whether the last step passed the first node."""
    first, a, b = nodes[0], nodes[-2], nodes[-1]
    row = problem.weights * first.tangent
    before, after = float(row @ (a.z - first.z)), float(row @ (b.z - first.z))
    chord = problem.norm(b.z - a.z)
    if not before < 0.0 <= after or problem.norm(b.z - first.z) > 2.0 * chord:
        return False
    passed = a.z - before / (after - before) * (b.z - a.z)
    if born:
        # At a branch point the corrector is singular: the chord must do, and the direction.
        aligned = min(problem.dot(node.tangent, first.tangent) for node in (a, b)) > 0.9
        return aligned and problem.norm(passed - first.z) <= 0.25 * chord
    z = problem.correct(passed, row, float(row @ first.z))
    return z is not None and problem.norm(z - first.z) <= 1e-6


def segments_near(problem: Problem, Z: FloatArray, z: FloatArray, reach: float) -> list[FloatArray]:
    """Return the points nearest to z on the polyline Z (k, n + 1) that are local minima within `reach`."""
    root = np.sqrt(problem.weights)
    P, q = Z * root, z * root
    if len(P) == 1:
        return [Z[0]] if float(np.linalg.norm(P[0] - q)) <= reach else []
    D = np.diff(P, axis=0)
    t = np.clip(np.sum((q - P[:-1]) * D, axis=1) / np.maximum(np.sum(D * D, axis=1), 1e-300), 0.0, 1.0)
    nearest = P[:-1] + t[:, None] * D
    distance = np.linalg.norm(nearest - q, axis=1)
    padded = np.concatenate([[np.inf], distance, [np.inf]])
    low = (distance <= padded[:-2]) & (distance <= padded[2:]) & (distance <= reach)
    order = np.flatnonzero(low)[np.argsort(distance[low])][:3]
    return [np.asarray(nearest[i] / root) for i in order]
