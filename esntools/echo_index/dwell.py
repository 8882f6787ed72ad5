r"""How long a symbol must hold before the next erasure: the exact staircase of dwell times.

Under one symbol, the holding one, a coordinate has several attracting fixed points; runs of other symbols
push the state about. With increasing maps the worst sequence of all those with holding runs of at least m
steps and other runs of at most M is found by following one orbit, that of the least (greatest) choices.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, no_progress
from esntools.certificates.documents import checked_budget
from esntools.echo_index.reduction import Coordinate, Family, FixedInterval, coordinates, fixed_intervals
from esntools.errors import InvalidInputError
from esntools.inputs import InputAlphabet
from esntools.network import EchoStateNetwork

__all__ = ["DwellTimes", "dwell_time_table", "rest_points", "survives"]

#: Blocks of the worst word after which an orbit that neither settles nor falls is left undecided.
_MOST_BLOCKS: Final = 5000
#: Pieces of an interval of states on which products of slopes are bounded.
_PIECES: Final = 48


@final
@dataclass(frozen=True, eq=False)
class DwellTimes:
    r"""The least lengths of holding runs that keep every response alive, for each length of other runs.

    Attributes
    ----------
    lengths : tuple of int
        M = 1, 2, ...: the longest admissible run of other symbols.
    shortest : tuple of (int or None)
        m*(M): every sequence whose holding runs last at least m*(M) steps, its other runs at most M, has at
        least `n_responses` attracting responses of the coordinate; with m*(M) - 1, where that is a step at
        all, some sequence has fewer. None where no length suffices, or where `status` is ``"undecided"``.
        Where other units decide independently, the network has a multiple of these responses.
    status : tuple of str
        For each M: ``"proved"`` (both directions), ``"none"`` (proved: no holding run is long enough),
        ``"undecided"`` (too near to a bifurcation for the arithmetic, or past a limit).
    longest : int or None
        The longest other run that some holding run makes up for; None when no end was found.
    n_responses : int
        Attracting fixed points under the holding symbol.
    hold : int
        The number of the holding symbol.
    escape_steps : ndarray of float, shape (n_symbols, n_responses, 2)
        Steps of that symbol alone that carry the fixed point over the boundary below it and above it;
        infinite when it never does, NaN where undecided.
    rest, boundaries : tuple of (float, float)
        Enclosures of the attracting fixed points under the holding symbol, and of those between them.
    coordinate : Coordinate or None
        What the states are measured in; None when there is no such coordinate.
    reason : str
        Why the table is empty or ends early; empty otherwise.
    """

    lengths: tuple[int, ...]
    shortest: tuple[int | None, ...]
    status: tuple[str, ...]
    longest: int | None
    n_responses: int
    hold: int
    escape_steps: FloatArray
    rest: tuple[tuple[float, float], ...]
    boundaries: tuple[tuple[float, float], ...]
    coordinate: Coordinate | None = field(repr=False)
    reason: str

    @property
    def sentence(self) -> str:
        """What is proved, in words."""
        if self.coordinate is None or not self.lengths:
            return f"Nothing is proved: {self.reason}."
        proved = [m for m in self.shortest if m is not None]
        end = (
            f"; runs of {self.longest + 1} or more erase a response, however long the others last"
            if self.longest is not None
            else ""
        )
        if not proved and self.longest is None:
            return f"Nothing is proved: {self.reason}."
        if not proved:
            return "Proved: runs of one step or more erase a response, however long the others last."
        where = (
            f"unit {self.coordinate.index}" if self.coordinate.index >= 0 else "the coordinate of rank one"
        )
        # Holding runs of no step at all were not asked about.
        least = ", and one step less is too few" if proved[0] > 1 else ""
        if proved[0] == 1 < proved[-1]:
            least = ", and one step less is too few where that leaves any"
        return (
            f"Proved: with holding runs of at least {', '.join(str(m) for m in proved)} steps every sequence "
            f"whose other runs last at most 1 to {len(proved)} steps has at least {self.n_responses} "
            f"attracting responses of {where}{least}{end}."
        )

    def responses(self, hold: int, other: int) -> int | None:
        """Return `n_responses` where every sequence with such runs has that many, 1 where not all have.

        None where it is undecided or past the table.
        """
        if self.longest is not None and other > self.longest:
            return 1
        if not 1 <= other <= len(self.lengths) or self.status[other - 1] == "undecided":
            return None
        least = self.shortest[other - 1]
        return self.n_responses if least is not None and hold >= least else 1


def rest_points(family: Family) -> tuple[FixedInterval, ...] | None:
    """Return all fixed points of the only member of a family, or None when that is undecided."""
    return fixed_intervals(family.down, family.up, family.slopes, family.low, family.high)


# -- one side of one response ---------------------------------------------------------------------------


def _run(function: object, y: float, n: int) -> float:
    for _ in range(n):
        y = function(y)  # type: ignore[operator]
    return y


def _lowest(step: object, y: float, most: int, n: int, least: int = 0) -> tuple[float, int]:
    """Return the lowest of the states after `least` to `most` steps, and after how many."""
    best, when = (y, 0) if least == 0 else (math.inf, 0)
    for k in range(1, most + 1):
        y = step(y)  # type: ignore[operator]
        if k >= least and y < best:
            best, when = y, k
    return best, when


@final
@dataclass(frozen=True, eq=False)
class _Side:
    """A response and the boundary below it (above it, in the reflected coordinate)."""

    hold: Family
    other: Family
    rest: FixedInterval
    boundary: FixedInterval | None
    top: float

    def keeps(self, m: int, M: int) -> tuple[str, float, list[int]]:
        """Follow the worst word. Return what is proved, a lower end of the response, and that word's runs.

        "kept": no sequence carries a state from above that end below it, seen at the ends of blocks.
        "lost": the runs returned carry every state of the coordinate below the boundary.
        """
        if self.boundary is None:
            return "kept", self.hold.low, []
        y = self.rest.low
        for _ in range(_MOST_BLOCKS):
            held = _run(self.hold.down, y, m)
            z, _when = _lowest(self.other.down, held, M, 0)
            if z <= self.boundary.high:
                break
            if z >= y:
                return "kept", y, []
            y = z
        else:
            return "undecided", y, []
        word: list[int] = []
        y = self.top
        for _ in range(_MOST_BLOCKS):
            y = _run(self.hold.up, y, m)
            z, when = _lowest(self.other.least_up, y, M, 0)
            word += [m, when]
            if z < self.boundary.low:
                return "lost", z, word
            if when == 0 or (z >= y and len(word) > 2):
                break
            y = z
        return "undecided", y, word


def _sides(hold: Family, other: Family, points: tuple[FixedInterval, ...]) -> Iterator[tuple[_Side, _Side]]:
    """Return, for each attracting fixed point, its lower side and its upper side seen from below."""
    back = [FixedInterval(-p.high, -p.low, p.stable) for p in points]
    for k in range(0, len(points), 2):
        lower = points[k - 1] if k > 0 else None
        upper = back[k + 1] if k + 1 < len(points) else None
        yield (
            _Side(hold, other, points[k], lower, hold.high),
            _Side(hold.reflected(), other.reflected(), back[k], upper, -hold.low),
        )


def _alternate(points: tuple[FixedInterval, ...] | None) -> bool:
    return (
        points is not None
        and len(points) >= 1
        and all(p.stable == (k % 2 == 0) for k, p in enumerate(points))
        and len(points) % 2 == 1
    )


# -- contraction ----------------------------------------------------------------------------------------


def _most_growth(family: Family, low: float, high: float, n: int, least: int) -> float:
    """Return a bound of all products of slopes over `least` to n steps from [low, high]."""
    worst = 0.0
    ends = np.linspace(low, high, _PIECES + 1).tolist()
    for y, z in itertools.pairwise(ends):
        product = 1.0
        worst = max(worst, product if least == 0 else 0.0)
        for k in range(1, n + 1):
            product = math.nextafter(product * family.slopes(y, z)[1], math.inf)
            y, z = family.down(y), family.up(z)
            if k >= least:
                worst = max(worst, product)
    return worst


def contracts(hold: Family, other: Family, low: float, high: float, m: int, M: int) -> bool:
    """Return whether two states of [low, high] are proved to approach each other in every block.

    A block is a holding run of m or more steps, and 0 to M steps of other symbols.
    """
    growth = _most_growth(hold, low, high, m, m)
    y, z = _run(hold.down, low, m), _run(hold.up, high, m)
    # Further holding steps stay within the hull of what m steps and the fixed point leave.
    if not (hold.down(y) >= y and hold.up(z) <= z):
        return False
    if not hold.slopes(y, z)[1] < 1.0:
        ends = np.linspace(y, z, _PIECES + 1).tolist()
        if max(hold.slopes(a, b)[1] for a, b in itertools.pairwise(ends)) >= 1.0:
            return False
    rest = _most_growth(other, y, z, M, 0)
    return growth * rest * (1.0 + 1e-12) < 1.0


def survives(hold: Family, other: Family, m: int, M: int, *, prove: bool = True) -> tuple[str, str]:
    """Decide whether all responses of the holding symbol survive: "kept", "lost" or "undecided", and why."""
    points = rest_points(hold)
    if points is None or not _alternate(points):
        return "undecided", "the fixed points under the holding symbol are not all hyperbolic"
    return _survives(hold, other, points, m, M, prove)


def _survives(
    hold: Family, other: Family, points: tuple[FixedInterval, ...], m: int, M: int, prove: bool
) -> tuple[str, str]:
    ends: list[tuple[float, float]] = []
    undecided = ""
    for side, opposite in _sides(hold, other, points):
        lower, p, _ = side.keeps(m, M)
        upper, q, _ = opposite.keeps(m, M)
        if "lost" in (lower, upper):
            return "lost", ""
        if "undecided" in (lower, upper):
            undecided = "an orbit neither settles nor falls within the limit of blocks"
        ends.append((p, -q))
    if undecided:
        return "undecided", undecided
    if prove:
        for p, q in ends:
            if not contracts(hold, other, p, q, m, M):
                return "undecided", "states are kept apart, but contraction within each part is not proved"
    return "kept", ""


def _escapes(side: _Side, limit: int) -> float:
    """Return the number of steps of the other symbol that carry the fixed point over the boundary."""
    if side.boundary is None:
        return math.inf
    y, z = side.rest.low, side.rest.high
    for k in range(1, limit + 1):
        before, (y, z) = y, (side.other.down(y), side.other.least_up(z))
        if z < side.boundary.low:
            return float(k)
        if y <= side.boundary.high:
            return math.nan
        if y >= before:
            return math.inf
    return math.nan


# -- the table ------------------------------------------------------------------------------------------


def _chosen(network: EchoStateNetwork, symbols: FloatArray, unit: int | None) -> Coordinate | str:
    found = coordinates(network)
    if isinstance(found, str):
        return found
    if unit is not None:
        found = tuple(c for c in found if c.index == unit)
        if not found:
            return f"unit {unit} does not decide alone"
    if len(found) == 1:
        return found[0]
    several = []
    for c in found:
        points = [rest_points(c.under(u)) for u in symbols]
        if any(p is None or len(p) > 1 for p in points):
            several.append(c)
    if len(several) == 1:
        return several[0]
    names = ", ".join(str(c.index) for c in several or found)
    return f"units {names} decide independently of each other: choose one by unit="


def dwell_time_table(
    network: EchoStateNetwork,
    symbols: ArrayLike,
    *,
    hold: int | None = None,
    unit: int | None = None,
    max_length: int = 1000,
    max_hold: int = 1000,
    budget: float | None = None,
    progress: Progress = no_progress,
) -> DwellTimes:
    r"""Return the exact staircase m*(M): how long a holding run must last to outlive M steps of erasure.

    The input is any sequence of symbols in which runs of the holding symbol last at least m steps, and runs
    without it at most M. The table says, for M = 1, 2, ..., from which m on *every* such sequence has as many
    attracting responses as the holding symbol alone; for a smaller m a sequence is found that has fewer.

    Parameters
    ----------
    network : EchoStateNetwork
        With one deciding coordinate: a unit that no other unit reaches while all others are proved to follow,
        or W of rank one with a uniform leak rate; the map of that coordinate must increase.
    symbols : array_like, shape (n_symbols, n_inputs)
        At least two.
    hold : int, optional
        The holding symbol; by default the one with most attracting fixed points.
    unit : int, optional
        Which unit, where several decide independently.
    max_length : int
        The table ends there if no longest run is found before. Default 1000.
    max_hold : int
        Holding runs longer than this are not tried. Default 1000.
    budget : float, optional
        Seconds; unlimited by default. The table ends early when they are spent.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    DwellTimes
        Empty, with a reason, when the network has no such coordinate or one response only.

    Raises
    ------
    InvalidInputError
        When the symbols do not fit the network, or a number is out of range.

    Notes
    -----
    Increasing maps keep the order of states. The orbit of the least choices from the fixed point is therefore
    below every admissible orbit that starts there; where, at ends of blocks, it stops falling above the
    boundary, an interval is found that no admissible block leads out of, and a product of slopes below 1
    shows that states in it approach each other. Where the greatest orbit falls below the boundary under the
    least choices, every state has, and that sequence is the counterexample. All values are rounded outwards.

    Examples
    --------
    >>> network = EchoStateNetwork([[1.75]], W_in=[[1.0]], leak_rate=0.25)
    >>> table = dwell_time_table(network, [[0.05], [-0.5]])
    >>> table.shortest[:6], table.longest, table.escape_steps[1, 1, 0]
    ((1, 1, 2, 2, 3, 3), 26, np.float64(27.0))

    References
    ----------
    P. Ashwin and A. Ceni, "Transitions in echo index and dependence on input repetitions", Physica D 463
    (2024) 134190, doi:10.1016/j.physd.2024.134190.
    """
    if not isinstance(network, EchoStateNetwork):
        raise InvalidInputError("network", type(network).__name__, "must be an EchoStateNetwork")
    table = InputAlphabet(symbols).symbols
    if table.shape[1] != network.n_inputs or len(table) < 2:
        raise InvalidInputError(
            "symbols", f"shape {table.shape}",
            f"must be (n_symbols, n_inputs) with n_symbols >= 2 and n_inputs = {network.n_inputs}",
        )  # fmt: skip
    for name, value in (("max_length", max_length), ("max_hold", max_hold)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InvalidInputError(name, repr(value), "must be an integer >= 1")
    for name, number, count in (("hold", hold, len(table)), ("unit", unit, network.n_units)):
        if number is not None and not (isinstance(number, int | np.integer) and 0 <= number < count):
            raise InvalidInputError(name, repr(number), f"must be an integer from 0 to {count - 1}")
    checked_budget(budget)
    deadline = math.inf if budget is None else time.perf_counter() + budget
    coordinate = _chosen(network, table, unit)
    if isinstance(coordinate, str):
        return _empty(coordinate, hold or 0, len(table))
    points = [rest_points(coordinate.under(u)) for u in table]
    if hold is None:
        hold = int(np.argmax([0 if p is None else len(p) for p in points]))
    chosen = points[hold]
    if chosen is None or not _alternate(chosen):
        return _empty("a fixed point under the holding symbol is not hyperbolic", hold, len(table))
    if len(chosen) == 1:
        return _empty("there is one response under the holding symbol, and none to lose", hold, len(table))
    holding = coordinate.under(table[hold])
    other = coordinate.under(np.delete(table, hold, axis=0))
    lengths, shortest, status = [], list[int | None](), list[str]()
    longest, reason = None, ""
    m, erased = 1, _erasure(holding, other, chosen, max_length)
    for M in range(1, max_length + 1):
        progress("dwell times", (M - 1) / max_length)
        if erased is not None and erased <= M:
            lengths.append(M)
            shortest.append(None)
            status.append("none")
            longest = M - 1
            break
        word = "lost"
        while m <= max_hold and word == "lost" and time.perf_counter() < deadline:
            word, reason = _survives(holding, other, chosen, m, M, True)
            m += word == "lost"
        if word != "kept":
            if time.perf_counter() >= deadline:
                reason = f"the budget of {budget:g} s is spent"
                break
            reason = reason or f"holding runs longer than max_hold = {max_hold} are not tried"
            lengths.append(M)
            shortest.append(None)
            status.append("undecided")
            break
        lengths.append(M)
        shortest.append(m)
        status.append("proved")
    else:
        reason = f"the table ends at max_length = {max_length}"
    escapes = np.full((len(table), (len(chosen) + 1) // 2, 2), math.inf)
    for s, u in enumerate(table):
        for k, pair in enumerate(_sides(holding, coordinate.under(u), chosen)):
            for j, side in enumerate(pair):
                escapes[s, k, j] = math.inf if s == hold else _escapes(side, max_length)
    return DwellTimes(
        tuple(lengths), tuple(shortest), tuple(status), longest, (len(chosen) + 1) // 2, hold, escapes,
        tuple((p.low, p.high) for p in chosen[::2]), tuple((p.low, p.high) for p in chosen[1::2]),
        coordinate, reason,
    )  # fmt: skip


def _erasure(hold: Family, other: Family, points: tuple[FixedInterval, ...], most: int) -> int | None:
    """Return the least number of other steps that surely carry a fixed point over a boundary, or None."""
    found = [
        steps for pair in _sides(hold, other, points) for side in pair
        if math.isfinite(steps := _escapes(side, most))
    ]  # fmt: skip
    return None if not found else int(min(found))


def _empty(reason: str, hold: int, n_symbols: int) -> DwellTimes:
    return DwellTimes((), (), (), None, 1, hold, np.zeros((n_symbols, 1, 2)), (), (), None, reason)
