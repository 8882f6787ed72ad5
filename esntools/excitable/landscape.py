"""The autonomous state space of excitable connections: attractors, basins, and the saddles between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import ComplexArray, FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import real_array, seeded, whole_number
from esntools.basins.attractors import Attractor, Cycle, point_attractor, polish_cycle
from esntools.basins.edge import unstable_space
from esntools.basins.labelling import ESCAPED, UNDECIDED, Labeller
from esntools.basins.runs import autonomous, checked_states
from esntools.basins.statistics import wilson_interval
from esntools.errors import InvalidInputError
from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.maps import Map, checked_map, state_box
from esntools.network import EchoStateNetwork
from esntools.threads import one_blas_thread

__all__ = ["Landscape", "LandscapeSaddle", "checked_landscape", "find_landscape"]

# A state this close to a stable point, as a fraction of the distance to the nearest other point, has arrived.
# Basins of non-normal maps come much closer than the saddles on their boundary do (17 times, in a trained
# 100-unit network), so the fraction must be small.
_ARRIVED: Final = 0.01
# The first step off a saddle along its unstable direction, relative to the state.
_OFF: Final = 1e-4
# States kept of a branch of an unstable manifold.
_BRANCH: Final = 200
# Steps along a branch that leads to no point or cycle.
_WANDER: Final = 512
_ROUNDS: Final = 3
_LARGE: Final = 200
# Given states whose destinations are looked at.
_PROBES: Final = 128


@final
@dataclass(frozen=True, eq=False, repr=False)
class LandscapeSaddle:
    """An unstable fixed point, and where its unstable manifold leads when that is a curve.

    Attributes
    ----------
    x : ndarray, shape (n_units,)
    output : ndarray, shape (n_outputs,), or None
    multipliers : ndarray of complex
        By falling modulus, as of `FixedPoint.eigenvalues`.
    n_unstable : int
    index : int
        sign det(I - DF).
    leads_to : tuple of int, or None
        Labels of the attractors at the ends of the two branches (-1 escape, -2 undecided); None unless there
        is one unstable direction.
    branches : tuple of ndarray, shape (n, n_units), or None
        States along the two branches, from beside the saddle to the attractors, thinned to some hundred.
    """

    x: FloatArray
    output: FloatArray | None
    multipliers: ComplexArray
    n_unstable: int
    index: int
    leads_to: tuple[int, int] | None
    branches: tuple[FloatArray, FloatArray] | None

    def __repr__(self) -> str:
        return f"LandscapeSaddle(n_unstable={self.n_unstable}, leads_to={self.leads_to})"


@final
@dataclass(frozen=True, eq=False, repr=False)
class Landscape:
    """Everything that an autonomous map tends to, and what lies between.

    Attributes
    ----------
    system : Map
        The autonomous map: a network at a constant input, for example.
    attractors : tuple of Attractor
        Fixed points, cycles and others, sorted by mean output (by mean state where there is no readout); the
        first component decides, ties go to the next one.
    outputs : ndarray, shape (n_attractors, n_outputs), or None
        Mean outputs on them.
    shares : ndarray, shape (n_attractors,)
        Of random states, uniform in the box that the map sends into itself ([-1, 1] in every unit where none
        is known).
    intervals : ndarray, shape (n_attractors, 2)
        95 % Wilson intervals of the shares.
    escaped, undecided : float
        Shares of random states that leave every bound, or that reach no attractor.
    missed : float
        A basin larger than this share would have had a start in it with probability 95 %.
    fixed_points : FixedPoints
        Stable and unstable ones, with the index audit.
    saddles : tuple of LandscapeSaddle
        The unstable ones, in the order of `fixed_points`.
    notes : tuple of str
        What a reader must know.
    """

    system: Map
    attractors: tuple[Attractor, ...]
    outputs: FloatArray | None
    shares: FloatArray
    intervals: FloatArray
    escaped: float
    undecided: float
    missed: float
    fixed_points: FixedPoints
    saddles: tuple[LandscapeSaddle, ...]
    notes: tuple[str, ...]
    _labeller: Labeller = field(repr=False)
    _places: IntArray = field(repr=False)
    _points: Labeller = field(repr=False)
    _point_places: IntArray = field(repr=False)

    def __repr__(self) -> str:
        kinds = ", ".join(a.kind for a in self.attractors)
        return f"Landscape({len(self.attractors)} attractors ({kinds}), {len(self.saddles)} unstable points)"

    def __len__(self) -> int:
        return len(self.attractors)

    @property
    def X(self) -> FloatArray:
        """One state of every attractor, shape (n_attractors, n_units)."""
        return np.array([a.states[0] for a in self.attractors]).reshape(-1, self.system.n_units)

    def label(self, states: ArrayLike, *, points_only: bool = False) -> IntArray:
        """Return the position in `attractors` that each state goes to; -1 for escape, -2 where undecided.

        Parameters
        ----------
        states : array_like, shape (n, n_units)
        points_only : bool
            Whether to leave undecided what reaches no point or cycle: attractors of other kinds are told by
            the means of long runs, which takes several times as long. Default False.

        Returns
        -------
        ndarray of int, shape (n,)
        """
        X = real_array(states, "states")
        if X.ndim == 2 and X.shape[0] == 0:
            return np.zeros(0, dtype=np.intp)
        X = checked_states(X, "states", self.system.n_units)
        labeller, places = self._labeller, self._places
        if points_only:
            labeller, places = self._points, self._point_places
        labels = labeller.label(X, grow=False)
        if len(places) == 0:
            return labels
        return np.where(labels >= 0, places[np.maximum(labels, 0)], labels)


def checked_landscape(landscape: object, n_units: int | None = None) -> Landscape:
    """Return the landscape if it is one, of so many units."""
    if not isinstance(landscape, Landscape):
        raise InvalidInputError("landscape", type(landscape).__name__, "must be what find_landscape returned")
    if n_units is not None and landscape.system.n_units != n_units:
        raise InvalidInputError(
            "landscape", f"{landscape.system.n_units} units", f"must be of the network's {n_units} units"
        )
    return landscape


def _labeller(
    held: Map,
    points: FixedPoints,
    others: Sequence[Attractor],
    n_steps: int,
    max_period: int,
    rng: np.random.Generator,
) -> Labeller:
    """Return a labeller that knows the stable points and cycles, with radii of arrival that save steps."""
    everything = np.array([p.x for p in points] + [x for a in others for x in a.states])
    scale = max(1.0, float(np.max(np.abs(everything)))) if everything.size else 1.0
    labeller = Labeller(
        held, n_steps=n_steps, n_average=2000, max_period=max_period, escape_radius=1e6 * scale, rng=rng
    )
    for point in points.stable:
        cycle = polish_cycle(labeller.system, np.asarray(point.x), 1)
        if cycle is None:
            continue
        attractor = point_attractor(labeller.system, cycle)
        gaps = np.linalg.norm(everything - attractor.states[0], axis=1)
        gaps = gaps[gaps > 1e-9 * scale]
        near = _ARRIVED * float(np.min(gaps)) if len(gaps) else 1e-3 * np.sqrt(held.n_units)
        labeller.add(replace(attractor, radius=max(attractor.radius, near)))
    for attractor in others:
        labeller.add(attractor)
    return labeller


def _thinned(states: FloatArray) -> FloatArray:
    """Return at most _BRANCH states, spread evenly along the length of the path."""
    if len(states) <= _BRANCH:
        return states
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(states, axis=0), axis=1))])
    places = np.searchsorted(length, np.linspace(0.0, length[-1], _BRANCH))
    return np.asarray(states[np.unique(np.minimum(places, len(states) - 1))])


def _branch(labeller: Labeller, x: FloatArray, saddle: FloatArray, end: int, n_steps: int) -> FloatArray:
    """Follow a run to the attractor that its label names."""
    blocks, last = [saddle[None], x[None]], x
    centres = labeller.attractors[end].states if end >= 0 else None
    if end < 0 or not labeller.attractors[end].is_point:
        # It does not come to an end.
        n_steps = min(n_steps, _WANDER)
    for _ in range(0, n_steps, 64):
        block = labeller.runner.states(last[None], 64)[:, 0]
        if not np.all(np.isfinite(block)) or np.max(np.abs(block)) > labeller.escape_radius:
            break
        blocks.append(block)
        last = block[-1]
        if centres is not None and np.min(np.linalg.norm(centres - last, axis=1)) < 1e-3 * (
            1e-3 + np.linalg.norm(centres[0] - saddle)
        ):
            break
    return _thinned(np.concatenate(blocks))


def _first_steps(labeller: Labeller, points: FixedPoints) -> list[tuple[int, FloatArray]]:
    """Return, for every unstable point whose unstable manifold is a curve, a small step along it."""
    curves = []
    for k, point in enumerate(points.saddles):
        if point.n_unstable == 1:
            cycle = Cycle(point.x[None], point.residual, point.eigenvalues)
            direction = unstable_space(labeller.system, cycle, 1)[0]
            # A fixed sign: the largest component is positive.
            direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
            curves.append((k, _OFF * max(1e-2, float(np.linalg.norm(point.x))) * direction))
    return curves


def _beside(points: FixedPoints, curves: Sequence[tuple[int, FloatArray]]) -> FloatArray:
    """Return the starts of all branches, two rows for each curve."""
    starts = [points.saddles[k].x + sign * step for k, step in curves for sign in (-1.0, 1.0)]
    return np.array(starts)


def _saddles(
    labeller: Labeller,
    points: FixedPoints,
    curves: Sequence[tuple[int, FloatArray]],
    ends: IntArray,
    n_steps: int,
) -> list[LandscapeSaddle]:
    """Describe the unstable points, and follow the unstable manifolds that are curves to their ends."""
    found: dict[int, tuple[tuple[int, int], tuple[FloatArray, FloatArray]]] = {}
    for (k, step), (a, b) in zip(curves, ends):
        x = points.saddles[k].x
        found[k] = (int(a), int(b)), (
            _branch(labeller, x - step, x, int(a), n_steps), _branch(labeller, x + step, x, int(b), n_steps)
        )  # fmt: skip
    out = []
    for k, point in enumerate(points.saddles):
        leads, branches = found.get(k, (None, None))
        out.append(
            LandscapeSaddle(
                point.x, point.output, point.eigenvalues, point.n_unstable, point.index, leads, branches
            )
        )
    return out


def _new_points(labeller: Labeller, points: FixedPoints) -> FloatArray | None:
    """Return resting states that the runs found and the search missed."""
    known = np.array([p.x for p in points]).reshape(-1, labeller.system.n_units)
    missed = [
        a.states[0]
        for a in labeller.attractors
        if a.period == 1 and (len(known) == 0 or np.min(np.max(np.abs(known - a.states[0]), axis=1)) > 1e-6)
    ]
    return np.vstack([np.array(missed), known]) if missed else None


@one_blas_thread
def find_landscape(
    system: Map,
    u: ArrayLike | None = None,
    *,
    starts: ArrayLike | None = None,
    fixed_points: FixedPoints | None = None,
    n_random: int = 512,
    n_steps: int = 3000,
    max_period: int | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Landscape:
    """Search for the attractors of an autonomous map, their basins, and the unstable points between them.

    Fixed points are searched for by Newton's method and audited by their index sum; random states are run to
    what they reach, which finds cycles and other attractors and gives the shares of the basins. Of every
    unstable point with one unstable direction both branches of the unstable manifold are followed to the two
    attractors that its stable manifold separates. Where runs come to rest at a point that the search missed,
    it is repeated with that point.

    Parameters
    ----------
    system : Map
        A network, or any other map.
    u : array_like, shape (n_inputs,), optional
        The constant input; zero by default where there are inputs.
    starts : array_like, shape (n, n_units), optional
        States of a run, as further seeds for the fixed points and (some of them) for the other attractors.
    fixed_points : FixedPoints, optional
        When they are known already.
    n_random : int
        Random states for the shares. Default 512.
    n_steps : int
        Steps within which a run normally arrives; five times as many where it approaches. Default 3000.
    max_period : int, optional
        The longest cycle that is recognised as one. Default 64, above 200 units 8: solving for a long cycle
        of many units takes minutes, and close recurrences on a torus ask for it in vain.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    Landscape

    Raises
    ------
    InvalidInputError
        When a shape or number is out of its range.

    Examples
    --------
    >>> bits = EchoStateNetwork([[1.5, 0.0], [0.0, 1.5]])
    >>> space = find_landscape(bits)
    >>> len(space), [saddle.leads_to for saddle in space.saddles]
    (4, [(0, 1), (0, 2), (1, 3), (2, 3), None])
    >>> space.label([[0.1, -0.2], [0.3, 0.3]])
    array([2, 3])

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi, Cognitive Computation 12 (2020) 330, doi:10.1007/s12559-019-09634-2.
    """
    system = checked_map(system)
    if u is None and system.n_inputs:
        u = np.zeros(system.n_inputs)
    held = autonomous(system, u)
    if max_period is None:
        max_period = 64 if held.n_units <= _LARGE else 8
    for place, value in (("n_random", n_random), ("n_steps", n_steps), ("max_period", max_period)):
        whole_number(value, place)
    # Streams of their own: the states sampled do not depend on how many numbers the search draws.
    searching, sampling, labelling = seeded(rng).spawn(3)
    seeds = None if starts is None else checked_states(starts, "starts", held.n_units)
    points = _checked_points(fixed_points, held)
    if points is None:
        points = find_fixed_points(
            held, starts=seeds, rng=searching, progress=lambda label, f: progress(label, 0.5 * f)
        )
    box = state_box(held)
    low, high = (-1.0, 1.0) if box is None else box
    random = sampling.uniform(low, high, (n_random, held.n_units))
    others: list[Attractor] = []
    for round_ in range(_ROUNDS):
        labeller = _labeller(held, points, others, n_steps, max_period, labelling)
        labels = labeller.label(random)
        progress("basins", 0.7)
        curves = _first_steps(labeller, points)
        # Basins too small for the random states: what lies beside saddles, and where the given states go.
        probes = [_beside(points, curves)] if curves else []
        probes += [] if seeds is None else [seeds[:: -(-len(seeds) // _PROBES)]]
        ends = np.zeros((0, 2), dtype=np.intp)
        if probes:
            ends = labeller.label(np.vstack(probes))[: 2 * len(curves)].reshape(-1, 2)
        again = _new_points(labeller, points)
        if again is None or round_ == _ROUNDS - 1:
            break
        # A run that comes to rest elsewhere has found an attractor that the search missed.
        more = find_fixed_points(held, starts=again, rng=searching)
        if len(more) <= len(points):
            break
        points = more
        others = [a for a in labeller.attractors if a.is_point and a.period != 1]
    saddles = _saddles(labeller, points, curves, ends, n_steps)
    progress("unstable manifolds", 0.95)
    found = _summary(system, held, labeller, points, labels, saddles)
    progress("landscape", 1.0)
    return found


def _checked_points(points: FixedPoints | None, held: Map) -> FixedPoints | None:
    """Refuse fixed points that are none of this map."""
    if points is None:
        return None
    if not isinstance(points, FixedPoints):
        raise InvalidInputError(
            "fixed_points", type(points).__name__, "must be what find_fixed_points returns", "leave it out"
        )
    for k, point in enumerate(points):
        if point.x.shape != (held.n_units,) or np.max(np.abs(held.step(point.x) - point.x)) > 1e-6 * max(
            1.0, float(np.max(np.abs(point.x)))
        ):
            raise InvalidInputError(
                f"fixed_points[{k}]", f"a state of {point.x.size} units",
                "must be a fixed point of this map at this input", "search again, or leave it out",
            )  # fmt: skip
    return points


def _outputs(system: Map, attractors: Sequence[Attractor]) -> FloatArray | None:
    if not isinstance(system, EchoStateNetwork) or system.readout is None or not attractors:
        return None
    return np.array([np.atleast_2d(system.output(a.states)).mean(axis=0) for a in attractors])


def _from_the_least(attractor: Attractor) -> Attractor:
    """Start a cycle at its least state: which one a run was at when it arrived is chance."""
    if attractor.period is None or attractor.period == 1:
        return attractor
    rows = [tuple(np.round(x[:8], 9) + 0.0) for x in attractor.states]
    return replace(attractor, states=np.roll(attractor.states, -rows.index(min(rows)), axis=0))


def _summary(
    system: Map,
    held: Map,
    labeller: Labeller,
    points: FixedPoints,
    labels: IntArray,
    saddles: Sequence[LandscapeSaddle],
) -> Landscape:
    found = [_from_the_least(a) for a in labeller.attractors]
    outputs = _outputs(system, found)
    keys = outputs if outputs is not None else [a.mean for a in found]
    order = sorted(range(len(found)), key=lambda i: tuple(np.round(keys[i], 9)))
    places = np.empty(len(found), dtype=np.intp)
    places[order] = np.arange(len(found))

    def placed(label: int) -> int:
        return int(places[label]) if label >= 0 else label

    points_only, known = labeller, list(range(len(found)))
    if not all(a.is_point for a in found):
        known = [i for i, a in enumerate(found) if a.is_point]
        points_only = Labeller(
            held, n_steps=labeller.n_steps, n_average=labeller.n_average, max_period=labeller.max_period,
            escape_radius=labeller.escape_radius, rng=labeller.rng,
        )  # fmt: skip
        for i in known:
            points_only.add(found[i])
    n = len(labels)
    counts = [int(np.sum(labels == i)) for i in order]
    return Landscape(
        system=held,
        attractors=tuple(found[i] for i in order),
        outputs=None if outputs is None else outputs[order],
        shares=np.array(counts, dtype=np.float64) / n,
        intervals=np.array([wilson_interval(count, n) for count in counts]).reshape(-1, 2),
        escaped=float(np.mean(labels == ESCAPED)),
        undecided=float(np.mean(labels == UNDECIDED)),
        missed=float(1.0 - 0.05 ** (1.0 / n)),
        fixed_points=points,
        saddles=tuple(
            s if s.leads_to is None else replace(s, leads_to=(placed(s.leads_to[0]), placed(s.leads_to[1])))
            for s in saddles
        ),
        notes=tuple(dict.fromkeys(labeller.notes)),
        _labeller=labeller,
        _places=places,
        _points=points_only,
        _point_places=places[known],
    )
