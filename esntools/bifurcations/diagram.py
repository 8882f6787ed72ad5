"""One branch from one state, or the whole diagram: several starts, and switching where branches meet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.arguments import real_array, real_number, seeded, whole_number
from esntools.bifurcations.branches import (
    Steps,
    TracedBranch,
    crossing_states,
    follow,
    is_on,
    start_node,
)
from esntools.bifurcations.curve import Node, make_node, solve_at
from esntools.bifurcations.events import Event
from esntools.bifurcations.families import Family, Problem, System, make_family
from esntools.bifurcations.results import BifurcationDiagram, BifurcationPoint, Branch, DiagramAudit
from esntools.errors import InvalidInputError
from esntools.fixed_points import find_fixed_points
from esntools.maps import state_box
from esntools.readout import checked_array

__all__ = ["find_bifurcations", "follow_branch"]

#: Interior search values avoid round numbers, where bifurcations of textbook systems are.
_GOLDEN: Final = 0.6180339887498949


def _checked(max_step: float, tol: float, max_points: int) -> Steps:
    if not 0.0 < real_number(max_step, "max_step") <= 0.5:
        raise InvalidInputError("max_step", str(max_step), "must lie in (0, 0.5]: a share of the range")
    if not 0.0 < real_number(tol, "tol") <= 1e-6:
        raise InvalidInputError("tol", str(tol), "must lie in (0, 1e-6]")
    max_points = whole_number(max_points, "max_points", 2)
    return Steps(first=min(0.01, 0.5 * max_step), largest=max_step, max_points=max_points)


def follow_branch(
    network: System,
    x0: ArrayLike,
    *,
    parameter: str = "gain",
    start: float,
    stop: float,
    at: float | None = None,
    direction: ArrayLike | None = None,
    u: ArrayLike | None = None,
    period: int = 1,
    max_step: float = 0.03,
    max_points: int = 4000,
    tol: float = 1e-12,
) -> Branch:
    r"""Follow the branch of fixed points, or of orbits of one period, through x0 as a parameter changes.

    Solves :math:`G_\lambda^p(x) = x` by pseudo-arclength continuation, so that the branch goes round its
    folds; every bifurcation on it is located to about 1e-12 of the range by an extended system.
    Two bifurcations that undo each other within one step are not seen; a smaller `max_step` sees them.

    Parameters
    ----------
    network : EchoStateNetwork, or callable
        With a callable, ``network(value)`` returns the `Map` at a value of the parameter (called up to one
        per cent of the range beyond its ends) and `parameter` is only its name.
    x0 : array_like, shape (n_units,)
        A state near the branch at the value `at`.
    parameter : {"gain", "bias", "leak_rate", "input"}
        W becomes value * W (the feedback is not scaled: use `folded` for that); value * direction is added to
        b, or to u; or every leak rate is the value. Default "gain".
    start, stop : float
        The range of the parameter.
    at : float, optional
        The value at which x0 is given; `start` by default.
    direction : array_like, optional
        For "bias" (n_units,), all ones by default, or "input" (n_inputs,).
    u : array_like, shape (n_inputs,), optional
        The constant input; zero by default for parameter "input", otherwise required if there are inputs.
    period : int
        Default 1.
    max_step : float
        Largest distance of two points, states by root mean square and the parameter as a share of its range.
        Default 0.03.
    max_points : int
        In each direction. Default 4000.
    tol : float
        Largest residual, relative to max(1, \|x\|). Default 1e-12.

    Returns
    -------
    Branch

    Raises
    ------
    InvalidInputError
        When an argument is out of its range, or no solution is found near x0.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> branch = follow_branch(EchoStateNetwork([[2.0]]), [-1.0], parameter="bias", start=-1.0, stop=1.0)
    >>> [(p.kind, round(p.value, 10)) for p in branch.points]
    [('fold', 0.5328399754), ('fold', -0.5328399754)]
    >>> branch.ends
    ('range', 'range')

    References
    ----------
    E. L. Allgower, K. Georg, Introduction to Numerical Continuation Methods, SIAM 2003,
    doi:10.1137/1.9780898719154.
    """
    steps = _checked(max_step, tol, max_points)
    family = make_family(network, parameter, start, stop, direction, u)
    period = whole_number(period, "period")
    at = start if at is None else real_number(at, "at")
    if not min(start, stop) <= at <= max(start, stop):
        raise InvalidInputError("at", str(at), f"must lie between start = {start} and stop = {stop}")
    problem = Problem(family, period, start, stop, tol)
    with _threads(problem.n):
        node = _node_near(problem, x0, at)
    if node is None:
        raise InvalidInputError(
            "x0", f"no solution near it at {parameter} = {at:g}",
            f"Newton's method must converge to an orbit of period {period}",
            "start from a state of find_fixed_points or find_periodic_orbits",
        )  # fmt: skip
    divisor = _minimal_period(problem, node.z)
    if divisor < period:
        raise InvalidInputError(
            "period", str(period), f"the orbit near x0 has period {divisor}", f"pass period={divisor}"
        )
    with _threads(problem.n):
        return follow(problem, node, steps).branch


def _threads(n: int) -> threadpool_limits:
    # Threads that fight over many small matrices made N = 200 twenty times slower.
    return threadpool_limits(limits=1 if n <= 1000 else None)


def _node_near(problem: Problem, x0: ArrayLike, value: float) -> Node | None:
    x = checked_array(np.atleast_1d(real_array(x0, "x0")), "x0", (problem.n,), "(n_units,)")
    share = problem.share(value)
    z = solve_at(problem, np.append(x, share), share)
    return None if z is None else start_node(problem, z)


def _minimal_period(problem: Problem, z: FloatArray) -> int:
    states = problem.orbit(z)
    for d in range(1, problem.period):
        if problem.period % d == 0 and np.max(np.abs(states[d] - states[0])) <= 1e-7:
            return d
    return problem.period


class _Diagram:
    """The branches found so far, and what is still to be followed."""

    def __init__(self, family: Family, problem: Problem, steps: Steps, max_period: int, limit: int) -> None:
        self.family, self.problem, self.steps = family, problem, steps
        self.max_period, self.limit = max_period, limit
        self.traced: list[TracedBranch] = []
        self.points: list[BifurcationPoint] = []
        self.skipped = 0

    def known(self, problem: Problem, z: FloatArray, tangent: FloatArray) -> bool:
        reach = 3.0 * self.steps.largest
        return any(
            is_on(problem, t.Z, z, tangent, reach) for t in self.traced if t.branch.period == problem.period
        )

    def start(self, problem: Problem, node: Node) -> None:
        """Follow the branch through a node, and all branches that it leads to."""
        if self.known(problem, node.z, node.tangent):
            return
        if len(self.traced) >= self.limit:
            self.skipped += 1
            return
        self._add(follow(problem, node, self.steps))

    def _add(self, first: TracedBranch) -> None:
        self.traced.append(first)
        queue = [first]
        while queue:
            traced = queue.pop(0)
            for point in traced.branch.points:
                self._note_point(point)
            ways = [(traced.problem, event, d) for event, both in traced.crossings for d in both]
            if 2 * traced.problem.period <= self.max_period:
                double = traced.problem.with_period(2 * traced.problem.period)
                ways += [(double, event, _flip_direction(double, traced, event)) for event in traced.flips]
            for problem, event, direction in ways:
                if not self._is_new(problem, event, direction):
                    continue
                if len(self.traced) >= self.limit:
                    self.skipped += 1
                    continue
                node = self._leaving(problem, event, direction)
                flip = event.kind == "flip"
                queue.append(follow(problem, node, self.steps, born=True, one_way=flip))
                self.traced.append(queue[-1])

    def _note_point(self, point: BifurcationPoint) -> None:
        same = [i for i, other in enumerate(self.points) if _same_point(point, other)]
        if not same:
            self.points.append(point)
        elif point.located and not self.points[same[0]].located:
            self.points[same[0]] = point

    def _leaving(self, problem: Problem, event: Event, direction: FloatArray) -> Node:
        """Return the node of a bifurcation on the curve that leaves it along `direction`."""
        values = np.linalg.eigvals(problem.linearise(event.z)[1])
        return Node(event.z, direction, values[np.argsort(-np.abs(values))].astype(np.complex128), 0.0)

    def _is_new(self, problem: Problem, event: Event, direction: FloatArray) -> bool:
        """Whether a curve leaves the event along `direction` and is on none of the branches."""
        row = problem.weights * direction
        # The later doublings of a cascade are born within ever smaller pieces of the line.
        for share in (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001):
            length = share * self.steps.first
            for sign in (1.0, -1.0):
                guess = event.z + sign * length * direction
                z = problem.correct(guess, row, float(row @ guess)) if 0.0 <= guess[-1] <= 1.0 else None
                if z is None or problem.norm(z - guess) > 0.5 * length:
                    continue
                node = make_node(problem, z, direction)
                if node is not None:
                    return not self.known(problem, z, node.tangent)
        return False


def _flip_direction(double: Problem, traced: TracedBranch, event: Event) -> FloatArray:
    """Return the direction in which the orbit of twice the period leaves a flip."""
    M = traced.problem.linearise(event.z)[1]
    direction = np.append(np.linalg.svd(M + np.eye(double.n))[2][-1], 0.0)
    return np.asarray(direction / double.norm(direction))


def _same_point(p: BifurcationPoint, q: BifurcationPoint) -> bool:
    crossing = {"pitchfork", "transcritical", "branch point"}
    kinds = {p.kind, q.kind}
    if p.period != q.period or (len(kinds) == 2 and not (kinds <= crossing or "degenerate" in kinds)):
        return False
    scale = max(1.0, abs(p.value))
    near = float(np.min(np.max(np.abs(p.states[None, 0] - q.states), axis=1)))
    if "degenerate" in (p.kind, q.kind):
        # Found by bisection on each of the many branches that meet there.
        return abs(p.value - q.value) <= 1e-6 * scale and near <= 1e-2
    return abs(p.value - q.value) <= 1e-7 * scale and near <= 1e-5


def find_bifurcations(
    network: System,
    *,
    parameter: str = "gain",
    start: float,
    stop: float,
    direction: ArrayLike | None = None,
    u: ArrayLike | None = None,
    starts: Iterable[tuple[float, ArrayLike, int]] = (),
    n_values: int = 5,
    n_starts: int = 128,
    max_period: int = 4,
    max_branches: int = 100,
    max_step: float = 0.03,
    max_points: int = 4000,
    tol: float = 1e-12,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> BifurcationDiagram:
    r"""Search for the branches of fixed points between two values of a parameter, and their bifurcations.

    Fixed points are searched for at `n_values` values (both ends included) and their branches followed; where
    two branches cross the other one is followed too, and at a flip the orbit of twice the period. A branch
    that reaches none of the search values and meets no other is missed; at every search value the index sum
    of the fixed points on all branches says whether one must be missing there.
    Two bifurcations that undo each other within one step are missed too: see `max_step`.

    Parameters
    ----------
    network, parameter, start, stop, direction, u, max_step, max_points, tol
        As in `follow_branch`.
    starts : iterable of (value, x, period), optional
        More orbits to start from.
    n_values : int
        Default 5.
    n_starts : int
        Passed on to `find_fixed_points`; default 128.
    max_period : int
        Orbits born at flips are followed up to this period. Default 4.
    max_branches : int
        Default 100; `note` says what was left out.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    BifurcationDiagram

    Raises
    ------
    InvalidInputError
        When an argument is out of its range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> diagram = find_bifurcations(EchoStateNetwork([[1.0]]), start=-2.0, stop=2.0)
    >>> [(p.kind, p.criticality, round(p.value, 10)) for p in diagram.points]
    [('flip', 'supercritical', -1.0), ('pitchfork', 'supercritical', 1.0)]
    >>> [(branch.period, len(branch.points)) for branch in diagram]
    [(1, 2), (1, 0), (2, 0)]
    """
    steps = _checked(max_step, tol, max_points)
    family = make_family(network, parameter, start, stop, direction, u)
    for name, number, least in (
        ("n_values", n_values, 2), ("n_starts", n_starts, 1), ("max_period", max_period, 1),
        ("max_branches", max_branches, 1),
    ):  # fmt: skip
        whole_number(number, name, least)
    rng = seeded(rng)
    problem = Problem(family, 1, start, stop, tol)
    diagram = _Diagram(family, problem, steps, max_period, max_branches)
    inner = [(k + _GOLDEN - 0.5) / (n_values - 1) for k in range(1, n_values - 1)]
    shares = [0.0, *inner, 1.0]
    neutral, failed = 0, 0
    with _threads(problem.n):
        for k, share in enumerate(shares):
            progress("fixed points and their branches", k / n_values)
            system, held = family.system(problem.value(share))
            for point in find_fixed_points(system, held, n_starts=n_starts, rng=rng):
                node = _node_near(problem, point.x, problem.value(share)) if point.index else None
                neutral += point.index == 0
                failed += point.index != 0 and node is None
                if node is not None:
                    diagram.start(problem, node)
        for value, x, period in starts:
            other = problem.with_period(int(period))
            near = _node_near(other, x, float(value))
            if near is None or _minimal_period(other, near.z) != period:
                raise InvalidInputError(
                    "starts", f"({value}, ..., {period})", f"must be near an orbit of period {period}"
                )
            diagram.start(other, near)
        audit = tuple(_audit(diagram, share) for share in shares)
    progress("fixed points and their branches", 1.0)
    notes = []
    if diagram.skipped:
        notes.append(f"{diagram.skipped} branches not followed: max_branches = {max_branches}")
    if neutral + failed:
        notes.append(f"{neutral + failed} fixed points at a search value have a multiplier 1: not followed")
    points = tuple(sorted(diagram.points, key=lambda p: (p.value, p.period)))
    branches = tuple(t.branch for t in diagram.traced)
    return BifurcationDiagram(
        family.label, float(start), float(stop), branches, points, audit, "; ".join(notes)
    )


def _audit(diagram: _Diagram, share: float) -> DiagramAudit:
    """Sum the indices of the fixed points on all branches at one value."""
    points = [
        item for t in diagram.traced if t.branch.period == 1 for item in crossing_states(t, share)
    ]  # fmt: skip
    unique: list[tuple[FloatArray, int]] = []
    for x, index in points:
        if all(np.max(np.abs(x - y)) > 1e-6 for y, _ in unique):
            unique.append((x, index))
    total = sum(index for _, index in unique)
    value = diagram.problem.value(share)
    bounded = state_box(diagram.family.system(value)[0]) is not None
    if not bounded:
        return DiagramAudit(value, len(unique), total, "not applicable", "no box is known to map into itself")
    if total == 1:
        return DiagramAudit(value, len(unique), total, "passed", "the indices sum to 1, as they must")
    if any(index == 0 for _, index in unique):
        return DiagramAudit(value, len(unique), total, "not applicable", "a multiplier is 1 to rounding")
    return DiagramAudit(
        value, len(unique), total, "failed", f"at least {abs(1 - total)} fixed points are on no branch"
    )
