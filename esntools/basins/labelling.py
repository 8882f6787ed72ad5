"""Which attractor a state goes to: by arrival at points and cycles, by the means of the run at others."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray, Progress, no_progress
from esntools.arguments import whole_number
from esntools.basins.attractors import Attractor, Cycle, Kind, point_attractor, polish_cycle
from esntools.basins.runs import Runner, leading_exponent
from esntools.basins.statistics import N_BATCHES, components, distances, drifting, mean_and_error, threshold
from esntools.maps import Map

if TYPE_CHECKING:
    from esntools.fixed_points import FixedPoints

__all__ = ["ESCAPED", "UNDECIDED", "Labeller", "nearest_centre"]

#: The label of a state whose run leaves every bound.
ESCAPED: Final = -1
#: The label of a state for which nothing was decided within the steps allowed.
UNDECIDED: Final = -2

# Steps between two looks at where the runs are.
_LOOK: Final = 10
_ROWS: Final = 4096
_FIRST_ROWS: Final = 64
_FOUNDERS: Final = 64
_MOST_FEATURES: Final = 512
_MOST_FAILURES: Final = 20
# A multiplier nearer than this to the unit circle is not decided by the numbers.
_MARGIN: Final = 1e-6


def nearest_centre(X: FloatArray, centres: FloatArray, norms: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the index of the nearest centre of every row, and the squared distance; norms are |centre|^2."""
    square = np.einsum("bn,bn->b", X, X)[:, None] - 2.0 * X @ centres.T + norms
    near = np.argmin(square, axis=1)
    return near, np.maximum(square[np.arange(len(X)), near], 0.0)


class _Group:
    """What is remembered of an attractor that is not a point: its means and their squared errors."""

    def __init__(self, number: int, mean: FloatArray, square: FloatArray) -> None:
        self.number, self.mean, self.square = number, mean, square


class Labeller:
    """Labels states, and learns the attractors on the way.

    Labels are positions in `attractors`, which only grows.
    """

    def __init__(
        self,
        system: Map,
        *,
        n_steps: int,
        n_average: int,
        max_period: int,
        escape_radius: float,
        rng: np.random.Generator,
        fixed_points: FixedPoints | None = None,
    ) -> None:
        self.runner = Runner(system)
        self.system = self.runner.system
        self.n_steps = whole_number(n_steps, "n_steps")
        self.n_average = whole_number(n_average, "n_average", 200)
        self.max_period = whole_number(max_period, "max_period")
        self.escape_radius, self.rng = escape_radius, rng
        self.attractors: list[Attractor] = []
        self.notes: list[str] = []
        self.n_calls = 0
        self._groups: list[_Group] = []
        self._length = n_average
        n = system.n_units
        self._columns = slice(0, n, max(1, -(-n // _MOST_FEATURES)))
        self._centres: FloatArray = np.zeros((0, n))
        self._norms: FloatArray = np.zeros(0)
        self._square_radii: FloatArray = np.zeros(0)
        self._owners: IntArray = np.zeros(0, dtype=np.intp)
        for point in () if fixed_points is None else fixed_points.stable:
            cycle = polish_cycle(self.system, np.asarray(point.x), 1)
            if cycle is not None:
                self.add(point_attractor(self.system, cycle))

    # -- points and cycles -------------------------------------------------------------------------------

    def add(self, attractor: Attractor) -> None:
        """Add a point or cycle to the attractors."""
        states = attractor.states
        self._centres = np.vstack([self._centres, states])
        self._norms = np.einsum("kn,kn->k", self._centres, self._centres)
        self._square_radii = np.append(self._square_radii, np.full(len(states), attractor.radius**2))
        number = len(self.attractors)
        self._owners = np.append(self._owners, np.full(len(states), number, dtype=np.intp))
        self.attractors.append(attractor)

    def _look(self, X: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the labels of rows that have arrived or escaped, and distances to the nearest point."""
        labels, distance = np.full(len(X), UNDECIDED, dtype=np.intp), np.full(len(X), np.inf)
        with np.errstate(all="ignore"):
            # The negation sends NaN away too.
            gone = ~(np.max(np.abs(X), axis=1) <= self.escape_radius)
        labels[gone] = ESCAPED
        if len(self._centres) and not gone.all():
            here = np.flatnonzero(~gone)
            near, square = nearest_centre(X[here], self._centres, self._norms)
            distance[here] = np.sqrt(square)
            inside = square < self._square_radii[near]
            labels[here[inside]] = self._owners[near[inside]]
        return labels, distance

    def _run(
        self, X: FloatArray, n_steps: int, progress: Progress
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Run every row until it arrives, escapes, or n_steps are over.

        Return the labels, the last states and their distances to the nearest known point.
        """
        labels, ends = np.full(len(X), UNDECIDED, dtype=np.intp), np.array(X)
        distance = np.full(len(X), np.inf)
        for start in range(0, len(X), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(X)))
            Y, done = X[rows], 0
            while True:
                found, near = self._look(Y)
                stay = found == UNDECIDED
                labels[rows] = found
                distance[rows] = near
                if not stay.all():
                    rows, Y = rows[stay], Y[stay]
                if len(rows) == 0 or done >= n_steps:
                    break
                k = min(_LOOK, n_steps - done)
                Y, done = self.runner.advance(Y, k), done + k
            ends[rows] = Y
            progress("basins", min(1.0, (start + _ROWS) / len(X)))
        return labels, ends, distance

    def _discover(self, X: FloatArray) -> tuple[BoolArray, BoolArray]:
        """Look for cycles among states at the end of their runs, and polish them.

        Return which rows converge to an attracting cycle, and which rest on one that does not attract.
        """
        scale = max(1.0, float(np.max(np.abs(X))))
        best, period = np.full(len(X), np.inf), np.ones(len(X), dtype=np.intp)
        Y = X
        for p in range(1, self.max_period + 1):
            Y = self.runner.advance(Y, 1)
            with np.errstate(all="ignore"):
                d = np.max(np.abs(Y - X), axis=1)
            # Multiples of a period come close too: a longer one must be ten times better.
            better = (d < 0.1 * best) | ((best > 1e-13 * scale) & (d <= 1e-13 * scale))
            best[better], period[better] = d[better], p
        converging = np.zeros(len(X), dtype=np.bool_)
        resting = best <= 1e-9 * scale
        n_failures = 0
        order = np.argsort(best, kind="stable")
        for i in order[best[order] <= 1e-3 * scale]:
            if converging[i]:
                continue
            if n_failures >= _MOST_FAILURES:
                break
            cycle = self._polish(X[i], int(period[i]))
            shift = np.inf if cycle is None else float(np.min(np.max(np.abs(cycle.states - X[i]), axis=1)))
            rho = np.inf if cycle is None else float(np.abs(cycle.multipliers[0]))
            radius = None
            if cycle is not None and shift <= 0.1 * scale and abs(rho - 1.0) <= _MARGIN:
                radius = self._weak_radius(X[i], cycle)
            if cycle is None or shift > 0.1 * scale or (rho >= 1.0 - _MARGIN and radius is None):
                n_failures += 1
                continue
            known = (
                len(self._centres)
                and np.min(np.max(np.abs(self._centres - cycle.states[0]), axis=1)) <= 1e-7 * scale
            )
            if not known:
                attractor = point_attractor(self.system, cycle)
                if radius is not None:
                    attractor = replace(attractor, radius=radius)
                    self.notes.append("an attractor has a multiplier of modulus 1: it attracts only slowly")
                self.add(attractor)
            norms = np.einsum("kn,kn->k", cycle.states, cycle.states)
            _, square = nearest_centre(X, cycle.states, norms)
            reach = max(5.0 * shift, 1e-3 * scale) * np.sqrt(X.shape[1])
            converging |= (best <= 1e-3 * scale) & (square <= reach**2)
            converging[i] = True
        return converging, resting & ~converging

    def _weak_radius(self, x: FloatArray, cycle: Cycle) -> float | None:
        """Return how near a run comes to a cycle that has a multiplier of modulus 1; None if no nearer."""

        def gap(y: FloatArray) -> float:
            return float(np.min(np.linalg.norm(cycle.states - y, axis=1)))

        if gap(x) < 1e-9 * max(1.0, float(np.max(np.abs(x)))):
            # A start on the very point says nothing: one beside it does.
            x = x + 1e-2 * max(1.0, float(np.max(np.abs(x)))) * self.rng.choice([-1.0, 1.0], len(x))
            x = self.runner.advance(x[None], self.n_steps)[0]
        # Algebraic approach: as many steps again bring it nearer by a factor of about 0.7.
        before, after = gap(x), gap(self.runner.advance(x[None], self.n_steps)[0])
        return after if 0.0 < after <= 0.9 * before else None

    def _polish(self, x: FloatArray, period: int) -> Cycle | None:
        cycle = polish_cycle(self.system, x, period)
        if cycle is not None and len(cycle.states) > 1 and abs(abs(cycle.multipliers[0]) - 1.0) < 1e-3:
            # Near a flip Newton on the doubled period stops beside the point of half the period.
            for p in range(1, period):
                shorter = polish_cycle(self.system, x, p) if period % p == 0 else None
                if shorter is None or abs(shorter.multipliers[0]) > 1.0 + _MARGIN:
                    continue
                if np.max(np.abs(shorter.states[0] - x)) <= 0.1 * np.max(np.abs(x)):
                    return shorter
        return cycle

    # -- attractors that are not points ------------------------------------------------------------------

    def _assign(self, X: FloatArray) -> IntArray:
        """Label runs by the group whose means they have."""
        labels = np.full(len(X), UNDECIDED, dtype=np.intp)
        if not self._groups:
            return labels
        size = max(64, min(_ROWS, 2**17 // X.shape[1]))
        for start in range(0, len(X), size):
            rows = slice(start, start + size)
            means, ends = self.runner.moments(X[rows], N_BATCHES, self._length // N_BATCHES, self._columns)
            found, _ = self._look(ends)
            sound = np.flatnonzero(found == UNDECIDED)
            mean, square = mean_and_error(means[:, sound])
            gaps = np.array([distances(mean, square, g.mean, g.square) for g in self._groups])
            best = np.argmin(gaps, axis=0)
            numbers = np.array([g.number for g in self._groups])
            close = gaps[best, np.arange(len(sound))] < threshold(mean.shape[1])
            found[sound[close]] = numbers[best[close]]
            labels[rows] = found
        return labels

    def _found(self, X: FloatArray) -> IntArray:
        """Group runs by their means, anew, until two windows agree; add an attractor for every group."""
        labels, rows = np.full(len(X), UNDECIDED, dtype=np.intp), np.arange(len(X))
        previous: IntArray | None = None
        length, settled = self._length, False
        for attempt in range(5):
            length *= 2 if attempt >= 2 else 1
            means, X = self.runner.moments(X, N_BATCHES, max(1, length // N_BATCHES), self._columns)
            found, _ = self._look(X)
            stay = found == UNDECIDED
            labels[rows[~stay]] = found[~stay]
            rows, X, means = rows[stay], X[stay], means[:, stay]
            if len(rows) == 0:
                return labels
            drift = drifting(means)
            mean, square = mean_and_error(means)
            groups = np.full(len(rows), -1, dtype=np.intp)
            if not drift.all():
                groups[~drift] = components(mean[~drift], square[~drift])
            if previous is not None:
                previous = previous[stay]
                pairs = {(int(a), int(b)) for a, b in zip(previous, groups)}
                one_to_one = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
                settled = one_to_one and not drift.any()
            if settled:
                break
            previous = groups
        # Chaotic transients ask for long windows here; to recognise a group a shorter one will do.
        self._length = min(length, 4 * self.n_average)
        if not settled:
            self.notes.append(
                f"the grouping of {len(rows)} runs that are not periodic still changed between windows of "
                f"{length // 2} and {length} steps: some of these attractors may be long transients"
            )
        for group in range(int(groups.max()) + 1):
            members = np.flatnonzero(groups == group)
            means_of_group = mean[members].mean(axis=0), square[members].mean(axis=0)
            attractor, first = self._describe(X[members[0]], means_of_group[0], length), X[members[:1]]
            if attractor.kind != "chaos":
                # It may still be on its way to a cycle, along a spiral that takes tens of thousands of steps.
                first = self.runner.advance(first, 8 * self.n_steps)
            converging, resting = self._discover(first)
            if converging[0]:
                number = int(self._owners[nearest_centre(first, self._centres, self._norms)[0][0]])
                arrived, _, _ = self._run(X[members], 4 * self.n_steps, no_progress)
                labels[rows[members]] = np.where(arrived == UNDECIDED, number, arrived)
                self._groups.append(_Group(number, *means_of_group))
                continue
            if resting[0]:
                continue
            number = len(self.attractors)
            labels[rows[members]] = number
            self._groups.append(_Group(number, *means_of_group))
            self.attractors.append(attractor)
            if attractor.kind == "periodic orbit":
                self.notes.append(
                    f"an attractor of leading exponent {attractor.exponent:.3g} has no period up to "
                    f"{self.max_period}"
                )
        return labels

    def _describe(self, x: FloatArray, mean: FloatArray, length: int) -> Attractor:
        n_steps = max(2000, min(length, 10_000))
        exponent, interval = leading_exponent(self.system, x, n_steps, self.rng)
        # On a torus the tangent grows like the number of steps; its logarithm is no sign of chaos.
        slack = 3.0 * float(np.log(n_steps)) / n_steps
        kind: Kind = "chaos" if interval[0] > slack else "torus or chaos"
        period = None
        states = self.runner.states(x[None], 256)[:, 0]
        if interval[1] < -slack:
            kind = "periodic orbit"
        width = self._columns.step or 1
        whole = mean[: len(mean) // 2] if width == 1 else states.mean(axis=0)
        return Attractor(kind, whole, states, period, None, exponent, interval, np.nan)

    # -- all of it ---------------------------------------------------------------------------------------

    def label(self, X: FloatArray, *, grow: bool = True, progress: Progress = no_progress) -> IntArray:
        """Return the label of every row; with `grow`, attractors not seen before are added."""
        self.n_calls += 1
        labels = np.full(len(X), UNDECIDED, dtype=np.intp)
        ends, resting = np.array(X), np.zeros(len(X), dtype=np.bool_)
        # A few rows first: what they find lets the others stop as soon as they arrive there.
        edges = [0, _FIRST_ROWS, *range(_ROWS, len(X), _ROWS), len(X)]
        for start, stop in itertools.pairwise(edges):
            block = np.arange(start, min(stop, len(X)))
            if len(block) == 0:
                continue
            labels[block], ends[block], distance = self._run(X[block], self.n_steps, no_progress)
            left = block[labels[block] == UNDECIDED]
            if len(left) == 0:
                continue
            scale = max(1.0, float(np.max(np.abs(ends[left])))) * np.sqrt(X.shape[1])
            near = distance[left - start] <= 0.05 * scale
            if grow:
                converging, resting[left] = self._discover(ends[left])
                near |= converging
            slow = left[near & ~resting[left]]
            labels[slow], ends[slow], _ = self._run(ends[slow], 4 * self.n_steps, no_progress)
            progress("basins", 0.8 * min(1.0, stop / len(X)))
        if resting.any():
            self.notes.append(
                f"{int(resting.sum())} start(s) rest on a point or cycle that does not attract (or only just)"
            )
        left = np.flatnonzero((labels == UNDECIDED) & ~resting)
        if len(left) and self._groups:
            labels[left] = self._assign(ends[left])
            left = left[labels[left] == UNDECIDED]
        if len(left) and grow:
            founders = left[:_FOUNDERS]
            labels[founders] = self._found(ends[founders])
            progress("basins", 0.9)
            rest = left[_FOUNDERS:]
            if len(rest):
                labels[rest] = self._assign(ends[rest])
        progress("basins", 1.0)
        return labels
