"""States on the boundary between two basins, by tracking: bisect, follow the pair, bisect again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, final

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from numpy.typing import ArrayLike

from esntools._typing import ComplexArray, FloatArray, Progress, RandomState, no_progress
from esntools.arguments import seeded
from esntools.basins.attractors import Attractor, Cycle, polish_cycle
from esntools.basins.boundary import Boundary, BoundaryTrack, checked_track
from esntools.basins.labelling import Labeller
from esntools.basins.runs import autonomous, checked_states
from esntools.errors import InvalidInputError
from esntools.maps import Map
from esntools.threads import one_blas_thread

if TYPE_CHECKING:
    from esntools.basins import Basins
    from esntools.fixed_points import FixedPoints

__all__ = ["EdgeState", "find_edge_state", "find_edge_states", "unstable_space"]

_LONGEST_CYCLE: Final = 16


@final
@dataclass(frozen=True, eq=False, repr=False)
class EdgeState:
    """Where the boundary between two basins leads to: its own attractor, unstable only across.

    Attributes
    ----------
    kind : {"fixed point", "periodic orbit", "not periodic"}
        ``"not periodic"``: the track settled on no point and no cycle of period up to 16 within its rounds.
    states : ndarray, shape (n, n_units)
        The point, the cycle in order, or the last stretch of the track.
    residual : float
        Largest component of F^p(x) - x; NaN where there is no period.
    multipliers : ndarray of complex, or None
        Of the map (or its p-th iterate) by falling modulus; all up to 600 units, the leading ones above.
    n_unstable : int or None
        Multipliers outside the unit circle.
    unstable_directions : ndarray, shape (k, n_units)
        Real orthonormal vectors that span the unstable space at ``states[0]``; empty without a period.
    exponent : float
        Growth across the boundary in 1/step: log of the leading multiplier's modulus (per step), or the mean
        growth of the distance of the pair.
    labels : tuple of int
        The labels on the two sides; positions in `attractors` (-1 escape, -2 undecided).
    attractors : tuple of Attractor
        What the labels stand for.
    leads_to : tuple of int, or None
        The labels of the two ends of a one-dimensional unstable manifold; None otherwise.
    checked : bool
        `leads_to` are the two labels: the point separates the two basins.
    track : BoundaryTrack
    note : str
    """

    kind: Literal["fixed point", "periodic orbit", "not periodic"]
    states: FloatArray
    residual: float
    multipliers: ComplexArray | None
    n_unstable: int | None
    unstable_directions: FloatArray
    exponent: float
    labels: tuple[int, int]
    attractors: tuple[Attractor, ...]
    leads_to: tuple[int, int] | None
    checked: bool
    track: BoundaryTrack
    note: str

    def __repr__(self) -> str:
        return (
            f"EdgeState({self.kind} between {self.labels[0]} and {self.labels[1]}, "
            f"n_unstable={self.n_unstable}, exponent={self.exponent:.6g}, checked={self.checked})"
        )

    @property
    def x(self) -> FloatArray:
        """The first state."""
        return np.asarray(self.states[0])


def unstable_space(system: Map, cycle: Cycle, n_unstable: int) -> FloatArray:
    """Return orthonormal rows that span the unstable space of a cycle at its first state."""
    n = cycle.states.shape[1]
    if n_unstable == 0:
        return np.zeros((0, n))
    if n <= 600:
        J = np.eye(n)
        for x in cycle.states:
            J = system.jacobian(x) @ J
        if n_unstable == 1:
            # One solution with the nearly singular J - lambda: far cheaper than a Schur form.
            shift = cycle.multipliers[0].real * (1.0 + 1e-10)
            v = scipy.linalg.solve(J - shift * np.eye(n), np.cos(np.arange(n, dtype=np.float64)))
            v = scipy.linalg.solve(J - shift * np.eye(n), v / np.linalg.norm(v))
            return np.asarray(v[None] / np.linalg.norm(v))
        _, Z, k = scipy.linalg.schur(J, output="real", sort=lambda re, im=0.0: re * re + im * im > 1.0)
        return np.asarray(Z[:, :k].T)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n_unstable)))[0]
    for _ in range(1000):
        old = Q
        for x in cycle.states:
            Q = system.jacobian_vector(x, Q)
        Q = np.linalg.qr(Q)[0]
        if np.linalg.norm(Q @ (Q.T @ old) - old) < 1e-10:
            break
    return np.asarray(Q.T)


class _Tracker:
    def __init__(self, labeller: Labeller, a: FloatArray, b: FloatArray) -> None:
        self.labeller, self.system, self.n_kicks = labeller, labeller.system, 0
        self.boundary = Boundary(
            lambda X, _: labeller.runner.advance(X, 1), lambda X, _: labeller.label(X, grow=False), a, b, 0
        )

    def candidate(self, middles: FloatArray) -> Cycle | None:
        """Return an unstable cycle near the stretch, from its closest recurrence."""
        scale = max(1.0, float(np.max(np.abs(middles))))
        for p in range(1, min(_LONGEST_CYCLE, len(middles) - 1) + 1):
            gaps = np.max(np.abs(middles[p:] - middles[:-p]), axis=1)
            i = int(np.argmin(gaps))
            if gaps[i] > 1e-2 * scale:
                continue
            cycle = polish_cycle(self.system, middles[i], p)
            if cycle is None or not np.abs(cycle.multipliers[0]) > 1.0:
                continue
            if np.min(np.max(np.abs(cycle.states - middles[i]), axis=1)) <= 0.1 * scale:
                return cycle
        return None

    def kick(self, cycle: Cycle, directions: FloatArray) -> bool:
        """Move the pair off a point with several unstable directions, where only a symmetry holds it."""
        if self.n_kicks >= 3 or len(directions) == 0:
            return False
        self.n_kicks += 1
        x, scale = cycle.states[0], max(1.0, float(np.max(np.abs(cycle.states))))
        for size in (1e-3, 1e-2, 1e-1):
            ends = x + size * scale * self.labeller.rng.standard_normal((8, len(directions))) @ directions
            labels = self.labeller.label(ends, grow=False)
            own, other = (np.flatnonzero(labels == label) for label in self.boundary.labels)
            other = other if len(other) else np.flatnonzero(labels != self.boundary.labels[0])
            if len(own) and len(other):
                self.boundary.a, self.boundary.b = ends[own[0]], ends[other[0]]
                return True
        return False

    def ends(self, cycle: Cycle, direction: FloatArray) -> tuple[int, int]:
        """Return the labels of the two branches of a one-dimensional unstable manifold."""
        x = cycle.states[0]
        step = 1e-4 * max(1e-2, float(np.linalg.norm(x))) * direction
        ends = self.labeller.label(np.array([x - step, x + step]), grow=False)
        return int(ends[0]), int(ends[1])


@one_blas_thread
def find_edge_state(
    system: Map,
    x_a: ArrayLike,
    x_b: ArrayLike,
    u: ArrayLike | None = None,
    *,
    attractors: FixedPoints | None = None,
    n_steps: int = 5000,
    n_rounds: int = 30,
    near: float = 1e-9,
    apart: float = 1e-5,
    max_period: int = 64,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> EdgeState:
    r"""Search for the edge state on the boundary between the basins of two states.

    The boundary is followed (see `track_boundary`); from the closest recurrence of every stretch a fixed
    point or cycle is polished by Newton's method. It is accepted when it has one unstable direction and its
    two branches lead to the two labels, or when the track stays there.

    Parameters
    ----------
    system : Map
    x_a, x_b : array_like, shape (n_units,)
        States in two different basins, such as the two attractors. Where the segment between them meets a
        third basin, the boundary of the first with what comes next is followed, as `labels` tell.
    u : array_like, shape (n_inputs,), optional
        The constant input.
    attractors : FixedPoints, optional
        Known fixed points; runs from x_a and x_b add what they find.
    n_steps : int
        Steps within which a state must arrive to be labelled. Default 5000.
    n_rounds : int
        Default 30.
    near, apart : float
        Relative widths to which a pair is brought and allowed to grow. Default 1e-9, 1e-5.
    max_period : int
        The longest cycle recognised among attractors. Default 64.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    EdgeState

    Raises
    ------
    InvalidInputError
        When both states go to one attractor, or something has a wrong shape or range.

    Examples
    --------
    >>> from esntools.maps import FunctionMap
    >>> cubic = FunctionMap(lambda x: 2 * x - x**3, lambda x: np.array([[2 - 3 * x[0] ** 2]]), 1)
    >>> edge = find_edge_state(cubic, [-0.9], [0.8])
    >>> edge.kind, bool(abs(edge.x[0]) < 1e-12), edge.multipliers.real.round(9), edge.checked
    ('fixed point', True, array([2.]), True)

    References
    ----------
    J. D. Skufca, J. A. Yorke, B. Eckhardt, Phys. Rev. Lett. 96 (2006) 174101,
    doi:10.1103/PhysRevLett.96.174101.
    """
    held = autonomous(system, u)
    ends = [checked_states(x, place, held.n_units) for x, place in ((x_a, "x_a"), (x_b, "x_b"))]
    for X, place in zip(ends, ("x_a", "x_b")):
        if len(X) != 1:
            raise InvalidInputError(place, f"{len(X)} states", "must be one state")
    a, b = ends[0][0], ends[1][0]
    checked_track(a, b, near, apart, n_rounds)
    escape = 1e6 * max(1.0, float(np.max(np.abs(np.vstack(ends)))))
    labeller = Labeller(
        held, n_steps=n_steps, n_average=2000, max_period=max_period, escape_radius=escape,
        rng=seeded(rng), fixed_points=attractors,
    )  # fmt: skip
    labels = labeller.label(np.vstack(ends))
    if labels[0] == labels[1]:
        raise InvalidInputError(
            "x_a, x_b", f"both go to attractor {labels[0]}", "must lie in different basins", "see basins()"
        )
    return _track(labeller, a, b, n_rounds, near, apart, progress)


def _track(
    labeller: Labeller, a: FloatArray, b: FloatArray, n_rounds: int, near: float, apart: float,
    progress: Progress,
) -> EdgeState:  # fmt: skip
    tracker = _Tracker(labeller, a, b)
    boundary, n_before = tracker.boundary, labeller.n_calls
    states: list[FloatArray] = []
    exponents: list[float] = []
    lengths: list[int] = []
    best: tuple[Cycle, int, FloatArray, tuple[int, int] | None] | None = None
    checked, note, stayed = False, "", 0
    middles = np.zeros((0, len(a)))
    for round_ in range(n_rounds):
        boundary.bisect(near)
        middles, exponent = boundary.stretch(apart)
        states.append(middles[:-1])
        exponents.append(exponent)
        lengths.append(len(middles) - 1)
        progress("edge state", (round_ + 1) / n_rounds)
        cycle = tracker.candidate(middles)
        if cycle is None:
            stayed = 0
            continue
        n_unstable = int(np.sum(np.abs(cycle.multipliers) > 1.0))
        directions = unstable_space(tracker.system, cycle, n_unstable)
        leads = tracker.ends(cycle, directions[0]) if n_unstable == 1 else None
        best = cycle, n_unstable, directions, leads
        checked = leads is not None and set(leads) == set(boundary.labels)
        # The track must have come close to it, and not only passed by, for what cannot be checked.
        gap = min(float(np.max(np.abs(middles[-1] - x))) for x in cycle.states)
        stayed = stayed + 1 if gap <= 1e-3 * max(1.0, float(np.max(np.abs(cycle.states)))) else 0
        if checked or (stayed >= 3 and (n_unstable == 1 or not tracker.kick(cycle, directions))):
            break
    track = BoundaryTrack(
        np.vstack([*states, middles[-1:]]), np.arange(sum(lengths) + 1), boundary.labels, np.array(exponents),
        np.array(lengths, dtype=np.intp), labeller.n_calls - n_before,
    )  # fmt: skip
    known: Any = tuple(labeller.attractors)
    if best is None or not (checked or stayed >= 3):
        note = f"the track settled on no point or cycle within {n_rounds} rounds"
        return EdgeState(
            "not periodic", middles, np.nan, None, None, np.zeros((0, len(a))), track.exponent,
            boundary.labels, known, None, False, track, note,
        )  # fmt: skip
    cycle, n_unstable, directions, leads = best
    if not checked:
        note = (
            f"it has {n_unstable} unstable directions" if n_unstable != 1
            else f"its branches lead to {leads}, not to the two labels"
        )  # fmt: skip
    p = len(cycle.states)
    return EdgeState(
        "fixed point" if p == 1 else "periodic orbit", cycle.states, cycle.residual, cycle.multipliers,
        n_unstable, directions, float(np.log(np.abs(cycle.multipliers[0]))) / p, boundary.labels, known,
        leads, checked, track, note,
    )  # fmt: skip


@one_blas_thread
def find_edge_states(
    system: Map,
    found: Basins,
    u: ArrayLike | None = None,
    *,
    n_steps: int = 5000,
    n_rounds: int = 30,
    near: float = 1e-9,
    apart: float = 1e-5,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> tuple[EdgeState, ...]:
    """Search for the edge state between every two attractors, and list the different ones.

    Parameters
    ----------
    system : Map
    found : Basins
        With the attractors.
    u : array_like, optional
    n_steps, n_rounds, near, apart, rng
        As of `find_edge_state`.
    progress : callable, optional

    Returns
    -------
    tuple of EdgeState
        By labels, which are positions in ``found.attractors``. Points and cycles are listed once each,
        however many pairs lead there; tracks that settle on neither are all listed.

    Examples
    --------
    >>> from esntools.basins import basins
    >>> from esntools.network import EchoStateNetwork
    >>> bits = EchoStateNetwork(1.5 * np.eye(2))
    >>> edges = find_edge_states(bits, basins(bits, n_starts=100))
    >>> [edge.labels for edge in edges]
    [(0, 1), (0, 2), (1, 3), (2, 3)]
    """
    held = autonomous(system, u)
    checked_track(np.zeros(1), np.zeros(1), near, apart, n_rounds)
    seeds = [a.states[0] for a in found.attractors]
    labeller = Labeller(
        held, n_steps=n_steps, n_average=2000, max_period=64, rng=seeded(rng),
        escape_radius=1e6 * max([1.0, *(float(np.max(np.abs(x))) for x in seeds)]),
    )  # fmt: skip
    for attractor in found.attractors:
        if attractor.is_point:
            labeller.add(attractor)
        else:
            labeller.label(attractor.states[:1])
    edges: list[EdgeState] = []
    pairs = list(itertools.combinations(range(len(seeds)), 2))
    for k, (i, j) in enumerate(pairs):
        edge = _track(labeller, seeds[i], seeds[j], n_rounds, near, apart, no_progress)
        progress("edge states", (k + 1) / len(pairs))
        if edge.kind == "not periodic" or not any(
            other.kind == edge.kind and np.min(np.max(np.abs(other.states - edge.x), axis=1)) < 1e-6
            for other in edges
        ):
            edges.append(edge)
    return tuple(sorted(edges, key=lambda edge: tuple(sorted(edge.labels))))
