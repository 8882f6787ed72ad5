"""From curves to branches: both directions joined, events put in their places, known curves recognised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.bifurcations.curve import CRITICAL, Node, make_node, segments_near, solve_at, trace
from esntools.bifurcations.events import Event, events_between, locate_flip
from esntools.bifurcations.families import Problem
from esntools.bifurcations.normal_forms import branch_directions, coefficient, criticality
from esntools.bifurcations.results import BifurcationKind, BifurcationPoint, Branch

__all__ = ["Steps", "TracedBranch", "crossing_states", "follow", "is_on", "start_node"]

#: A crossing branch whose tangent has less of the parameter than this is a pitchfork's.
_VERTICAL: Final = 1e-4

_SAME: Final = 1e-6


@final
@dataclass(frozen=True)
class Steps:
    """Step lengths in the norm of `Problem`, and the largest number of points."""

    first: float = 0.01
    smallest: float = 1e-7
    largest: float = 0.03
    max_points: int = 4000


@final
@dataclass(frozen=True, eq=False)
class TracedBranch:
    """A branch with what switching to others needs.

    Attributes
    ----------
    problem : Problem
    Z : (n_points, n + 1) along the curve
    branch : Branch
    crossings : branch points with the tangents of both curves
    flips : flip events met by this branch
    """

    problem: Problem
    Z: FloatArray
    branch: Branch
    crossings: tuple[tuple[Event, tuple[FloatArray, ...]], ...] = ()
    flips: tuple[Event, ...] = ()


def start_node(problem: Problem, z: FloatArray) -> Node | None:
    """Return the node of a solution, its tangent pointing to larger parameters where it can."""
    upwards = np.zeros(problem.n + 1)
    upwards[-1] = 1.0
    node = make_node(problem, z, upwards)
    if node is None:
        # Vertical: the kernel itself is the tangent.
        _, M, slope = problem.linearise(z)
        kernel = np.linalg.svd(np.column_stack([M - np.eye(problem.n), slope]))[2][-1]
        node = make_node(problem, z, kernel)
    return node


def is_on(problem: Problem, Z: FloatArray, z: FloatArray, tangent: FloatArray, reach: float) -> bool:
    """Whether the curve with points Z passes z, any state of the orbit being its first."""
    for x in problem.orbit(z):
        point = np.append(x, z[-1])
        candidates = segments_near(problem, Z, point, reach)
        if not candidates:
            continue
        row = problem.weights * tangent
        if np.any(x != z[:-1]):
            node = start_node(problem, point)
            if node is None:
                continue
            row = problem.weights * node.tangent
        for candidate in candidates:
            hit = problem.correct(candidate, row, float(row @ point))
            if hit is not None and problem.norm(hit - point) <= _SAME:
                return True
    return False


def _reversed(node: Node) -> Node:
    # Turning the tangent turns the sign of det [F_x F_l; tangent].
    return Node(node.z, -node.tangent, node.multipliers, -node.sign)


def follow(
    problem: Problem,
    first: Node,
    steps: Steps,
    *,
    born: bool = False,
    one_way: bool = False,
) -> TracedBranch:
    """Trace both ways from a node and join the halves.

    `born`: the node is itself a bifurcation of this curve, whose neighbouring steps hold no other event;
    `one_way`: only along the tangent (an orbit born at a flip is the same on both sides).
    """
    ahead, found, end = trace(
        problem, first, step=steps.first, min_step=steps.smallest, max_step=steps.largest,
        max_points=steps.max_points, closes=not one_way, events=events_between, quiet=born,
    )  # fmt: skip
    start = "flip" if one_way else end
    back: list[Node] = []
    if end != "closed" and not one_way:
        back, before, start = trace(
            problem, _reversed(first), step=steps.first, min_step=steps.smallest, max_step=steps.largest,
            max_points=steps.max_points, closes=False, events=events_between, quiet=born,
        )  # fmt: skip
        back = [_reversed(node) for node in back[:0:-1]]
        found = [on_step[::-1] for on_step in before[::-1]] + found
    nodes = back + ahead
    merged: list[tuple[Node | None, Event | None]] = [(nodes[0], None)]
    for node, on_step in zip(nodes[1:], found):
        merged += [(None, event) for event in on_step]
        merged.append((node, None))
    flipped: list[Event | None] = [None, None]
    if start == "flip" and not one_way:
        flipped[0] = _end_at_flip(problem, nodes[1], nodes[0])
        merged.pop(0)
    if end == "flip":
        flipped[1] = _end_at_flip(problem, nodes[-2], nodes[-1])
        merged.pop()
    return _assemble(problem, merged, (start, end), flipped, first.z if born else None)


def _end_at_flip(problem: Problem, a: Node, b: Node) -> Event | None:
    """Locate the flip of the orbit of half the period between a and b."""
    half = problem.with_period(problem.period // 2)
    middle = []
    for node in (a, b):
        states = problem.orbit(node.z)
        z = np.append(0.5 * (states[0] + states[half.period]), node.z[-1])
        row = half.weights * a.tangent
        middle.append(half.correct(z, row, float(row @ z)))
    if middle[0] is None or middle[1] is None:
        return None
    first = start_node(half, middle[0])
    if first is None:
        return None
    # The orbit of half the period passes the flip along its own tangent.
    reach = 4.0 * problem.norm(b.z - a.z)
    for sign in (1.0, -1.0):
        start = first if sign > 0.0 else _reversed(first)
        nodes, _, _ = trace(
            half, start, step=0.25 * reach, min_step=1e-9, max_step=0.5 * reach, max_points=8, closes=False
        )
        for c, d in pairwise(nodes):
            if (c.n_flipped - d.n_flipped) % 2:
                found = locate_flip(half, c, d)
                if found is not None:
                    return found
    return None


def _point(problem: Problem, event: Event) -> tuple[BifurcationPoint, tuple[FloatArray, ...]]:
    kind: BifurcationKind = event.kind
    directions: tuple[FloatArray, ...] = ()
    note = event.note
    values = np.linalg.eigvals(problem.linearise(event.z)[1])
    if kind == "branch point":
        directions = tuple(branch_directions(problem, event))
        vertical = [abs(float(t[-1])) <= _VERTICAL for t in directions]
        near = values[np.abs(values - 1.0) <= _SAME].astype(np.complex128)
        if len(near) > 1:
            kind, note = "degenerate", f"{len(near)} multipliers are 1 at once"
            event = replace(event, multipliers=near)
        elif len(directions) == 2:
            kind = "pitchfork" if sum(vertical) == 1 else "branch point" if any(vertical) else "transcritical"
        else:
            note = "the branches do not cross transversally: degenerate to second order"
    critical = np.min(np.abs(values[:, None] - event.multipliers), axis=1)
    others = values[np.argsort(critical)[len(event.multipliers) :]]
    number = None if kind == "degenerate" else coefficient(problem, event, kind)
    if event.kind != "degenerate" and not problem.family.smooth:
        note = "the activation has kinks: no normal form"
    states = problem.orbit(event.z)
    states.setflags(write=False)
    return BifurcationPoint(
        kind, problem.value(event.z[-1]), states, problem.period, event.multipliers,
        int(np.sum(np.abs(others) > 1.0)), number, criticality(kind, number), event.kind != "degenerate",
        event.error, event.residual, note,
    ), directions  # fmt: skip


def _note(problem: Problem, ends: tuple[str, str], neutral: int) -> str:
    if neutral > 2:
        return f"{neutral} points have a multiplier on the unit circle: no bifurcation is looked for there"
    if "step" in ends and not problem.family.smooth:
        return (
            "it ends where a unit meets a kink of the activation: the branch has a corner or no continuation"
        )
    return ""


class _Rows:
    """The arrays of a branch, row by row."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.Z: list[FloatArray] = []
        self.leading: list[complex] = []
        self.unstable: list[int] = []
        self.index: list[int] = []
        self.points: list[BifurcationPoint] = []

    def add(self, z: FloatArray, like: Node, index: int) -> None:
        self.Z.append(z)
        self.leading.append(complex(like.multipliers[0]))
        self.unstable.append(int(np.sum(np.abs(like.multipliers) > 1.0 + CRITICAL)))
        self.index.append(index)

    def add_end(self, event: Event, neighbour: Node) -> None:
        """Add the orbit of half the period that ends the branch, its state nearer to the branch first."""
        half = self.problem.with_period(self.problem.period // 2)
        self.points.append(_point(half, event)[0])
        states = half.orbit(event.z)
        nearest = states[int(np.argmin(np.sum((states - neighbour.z[:-1]) ** 2, axis=1)))]
        self.add(np.append(nearest, event.z[-1]), neighbour, 0)


def _assemble(
    problem: Problem,
    merged: list[tuple[Node | None, Event | None]],
    ends: tuple[str, str],
    flipped: list[Event | None],
    born: FloatArray | None,
) -> TracedBranch:
    rows = _Rows(problem)
    crossings, flips = [], []
    neutral = 0
    nodes = [node for node, _ in merged if node is not None]
    if flipped[0] is not None:
        rows.add_end(flipped[0], nodes[0])
    like = nodes[0]
    for node, event in merged:
        if node is not None:
            like = node
            neutral += node.critical and node.z is not born
            rows.add(node.z, node, node.index)
        elif event is not None:
            point, directions = _point(problem, event)
            rows.points.append(point)
            if event.kind == "branch point":
                crossings.append((event, directions))
            elif event.kind == "flip":
                flips.append(event)
            if event.kind != "degenerate":
                # The located point belongs to the curve; the node before it says how stable it is.
                rows.add(event.z, like, 0 if event.kind in ("fold", "branch point") else like.index)
    if flipped[1] is not None:
        rows.add_end(flipped[1], nodes[-1])
    curve = np.array(rows.Z)
    branch = Branch(
        problem.family.label, problem.period, np.array([problem.value(z[-1]) for z in curve]),
        np.array([problem.orbit(z) for z in curve]), np.array(rows.leading, dtype=np.complex128),
        np.array(rows.unstable, dtype=np.intp), np.array(rows.index, dtype=np.intp), tuple(rows.points), ends,
        max(float(np.max(np.abs(problem.residual(z)))) for z in curve),
        _note(problem, ends, neutral),
    )  # fmt: skip
    for array in (branch.values, branch.states, branch.leading, branch.n_unstable, branch.index):
        array.setflags(write=False)
    return TracedBranch(problem, curve, branch, tuple(crossings), tuple(flips))


def crossing_states(traced: TracedBranch, share: float) -> list[tuple[FloatArray, int]]:
    """Return the solutions on a branch at one value of the scaled parameter, each with its index.

    The index is 0 where a multiplier is too near 1 to tell.
    """
    at = traced.Z[:, -1]
    out: list[tuple[FloatArray, int]] = []
    for i in range(len(at)):
        z = None
        if at[i] == share:
            z = traced.Z[i]
        elif i + 1 < len(at) and (at[i] - share) * (at[i + 1] - share) < 0.0:
            t = (share - at[i]) / (at[i + 1] - at[i])
            z = solve_at(traced.problem, traced.Z[i] + t * (traced.Z[i + 1] - traced.Z[i]), share)
        if z is None or any(np.max(np.abs(z[:-1] - x)) <= _SAME for x, _ in out):
            continue
        M = traced.problem.linearise(z)[1]
        near = float(np.min(np.abs(np.linalg.eigvals(M) - 1.0)))
        out.append((z[:-1], int(np.linalg.slogdet(np.eye(len(M)) - M)[0]) if near > _SAME else 0))
    return out
