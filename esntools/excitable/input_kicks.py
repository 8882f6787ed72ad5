"""Where a pulse of every amplitude leads from an attractor, and the smallest that leads to another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import BoolArray, FloatArray, IntArray, Progress, no_progress
from esntools.arguments import real_array
from esntools.basins.labelling import ESCAPED, UNDECIDED
from esntools.basins.runs import fastest_form
from esntools.errors import InvalidInputError
from esntools.excitable.landscape import Landscape
from esntools.maps import Map
from esntools.network import EchoStateNetwork

__all__ = ["NARROW", "PulseKicks", "checked_pulses", "phases_of", "pulsed", "scan_pulses", "unit_pulses"]

#: The note of a threshold whose replays 0.1 % away miss the target, closer ones do not.
NARROW: Final = "the pulse leads there within a strip of amplitudes narrower than 0.1 % only"
# States labelled at once.
_ROWS: Final = 4096
# Brackets of one source and pulse that bisection may split into when third destinations turn up inside.
_MOST_BRACKETS: Final = 32
# Phases of a cycle at which it is kicked, at most.
_MOST_PHASES: Final = 8
#: Stands for all attractors that are no points or cycles, while amplitudes are scanned.
_OTHER: Final = -3
# Undecided states that are handed back to be looked at.
_MOST_LOST: Final = 64


@final
@dataclass(frozen=True, eq=False)
class PulseKicks:
    """What single pulses do at every attractor.

    Attributes
    ----------
    table : ndarray of int, shape (n_attractors, n_pulses)
        Destination of a pulse of amplitude 1; -1 for escape, -2 where undecided; -2 also for an attractor
        that is no point or cycle.
    connections : tuple of dict
        One for every source, target and pulse with a threshold: ``metric`` ("input"), ``source``, ``target``,
        ``pulse``, ``threshold``, ``lower`` (0), ``at_unit``, ``checked``, ``note``; from a cycle also
        ``phase``, the position of the state on it.
    lost : ndarray, shape (n, n_units)
        Some states after pulses for which nothing was decided.
    notes : tuple of str
    """

    table: IntArray
    connections: tuple[dict[str, Any], ...]
    lost: FloatArray
    notes: tuple[str, ...]


def unit_pulses(n_inputs: int) -> FloatArray:
    """Return +1 and -1 on line 0, +1 and -1 on line 1, ...

    Examples
    --------
    >>> unit_pulses(2).tolist()
    [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    """
    unit = np.eye(n_inputs)
    # Adding 0 takes the sign off a zero.
    return np.stack([unit, -unit], axis=1).reshape(2 * n_inputs, n_inputs) + 0.0


def checked_pulses(pulses: ArrayLike | None, system: Map) -> FloatArray:
    """Return the pulses as (n_pulses, n_inputs); unit pulses by default."""
    n = system.n_inputs
    if pulses is None:
        return unit_pulses(n)
    values = np.array(real_array(pulses, "pulses"))
    if n == 0 and values.size:
        raise InvalidInputError("pulses", f"shape {values.shape}", "the map has no inputs", "leave them out")
    if values.ndim != 2 or values.shape[1] != n or values.size == 0:
        raise InvalidInputError(
            "pulses", f"shape {values.shape}", f"must have shape (n_pulses, n_inputs = {n})",
            "one pulse in every row",
        )  # fmt: skip
    if not np.all(np.isfinite(values)):
        raise InvalidInputError("pulses", "NaN or infinite", "every entry must be finite")
    if not np.all(np.any(values != 0.0, axis=1)):
        raise InvalidInputError("pulses", "a row of zeros", "every pulse must act on some input")
    return values


def pulsed(system: Map, X: FloatArray, inputs: FloatArray, length: int) -> FloatArray:
    """Return the states after `length` steps under the inputs (one row each)."""
    with np.errstate(all="ignore"):
        for _ in range(length):
            X = system.step(X, inputs)
    return X


def phases_of(period: int) -> list[int]:
    """Return the phases of a cycle at which it is kicked, spread evenly."""
    return sorted({k * period // min(period, _MOST_PHASES) for k in range(min(period, _MOST_PHASES))})


class _Sources:
    """The states that are kicked: one for every phase of every point or cycle."""

    def __init__(
        self, system: Map, landscape: Landscape, pulses: FloatArray, rest: FloatArray, length: int
    ) -> None:
        self.system = fastest_form(system) if isinstance(system, EchoStateNetwork) else system
        self.landscape, self.pulses, self.rest, self.length = landscape, pulses, rest, length
        points = [(k, a) for k, a in enumerate(landscape.attractors) if a.is_point]
        #: Whether there are attractors that only the means of long runs can tell.
        self.others = len(points) < len(landscape.attractors)
        kicked = [(k, p) for k, a in points for p in phases_of(len(a.states))]
        self.owner = np.array([k for k, _ in kicked], dtype=np.intp)
        self.phase = np.array([p for _, p in kicked], dtype=np.intp)
        states = [landscape.attractors[k].states[p] for k, p in kicked]
        self.states = np.array(states).reshape(len(kicked), landscape.system.n_units)

    def after(self, s: IntArray, p: IntArray, g: FloatArray) -> FloatArray:
        """Return the states right after pulses p of amplitudes g at sources s."""
        inputs = self.rest + g[:, None] * self.pulses[p]
        return pulsed(self.system, self.states[s], inputs, self.length)

    def destinations(self, s: IntArray, p: IntArray, g: FloatArray, *, told: bool = False) -> IntArray:
        """Return labels; without `told`, attractors that are no points or cycles are one, `_OTHER`."""
        parts = []
        for i in range(0, len(s), _ROWS):
            X = self.after(s[i : i + _ROWS], p[i : i + _ROWS], g[i : i + _ROWS])
            labels = self.landscape.label(X, points_only=self.others and not told)
            parts.append(
                np.where(labels == UNDECIDED, _OTHER, labels) if self.others and not told else labels
            )
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)


class _Bracket:
    """An interval of amplitudes at whose ends a pulse leads to different attractors."""

    def __init__(self, s: int, p: int, low: float, high: float, a: int, b: int) -> None:
        self.s, self.p, self.low, self.high, self.a, self.b = s, p, low, high, a, b


def _first_changes(table: IntArray, amplitudes: FloatArray, owner: IntArray) -> list[_Bracket]:
    """Return, for every source and pulse, the brackets in which a destination is seen for the first time."""
    grid = np.concatenate([[0.0], amplitudes])
    out = []
    for s in range(len(table)):
        for p in range(table.shape[1]):
            row = np.concatenate([[owner[s]], table[s, p]])
            seen = {int(owner[s])}
            for m in np.flatnonzero(row[1:] != row[:-1]):
                b = int(row[m + 1])
                if b not in seen and b != UNDECIDED:
                    seen.add(b)
                    out.append(_Bracket(s, p, float(grid[m]), float(grid[m + 1]), int(row[m]), b))
    return out


def _refine(sources: _Sources, brackets: list[_Bracket], tolerance: float, progress: Progress) -> bool:
    """Halve the brackets to the tolerance, splitting where a third destination is met; whether all fitted."""
    complete = True
    counts: dict[tuple[int, int], int] = {}
    for bracket in brackets:
        counts[bracket.s, bracket.p] = counts.get((bracket.s, bracket.p), 0) + 1
    for step in range(60):
        active = [c for c in brackets if c.high - c.low > tolerance * c.high]
        if not active:
            break
        middle = np.array([0.5 * (c.low + c.high) for c in active])
        found = sources.destinations(
            np.array([c.s for c in active], dtype=np.intp),
            np.array([c.p for c in active], dtype=np.intp),
            middle,
        )
        for c, g, label in zip(active, middle.tolist(), found.tolist()):
            if label == c.a:
                c.low = g
            elif label == c.b:
                c.high = g
            elif label == UNDECIDED:
                c.low, c.a = g, label
            elif counts[c.s, c.p] < _MOST_BRACKETS:
                counts[c.s, c.p] += 1
                brackets.append(_Bracket(c.s, c.p, g, c.high, label, c.b))
                c.high, c.b = g, label
            else:
                # Too finely folded to list every strip: the strip of b stays bracketed from below.
                complete = False
                c.low, c.a = g, label
        progress("thresholds", min(1.0, (step + 1) / 20))
    return complete


def scan_pulses(
    system: Map,
    landscape: Landscape,
    pulses: FloatArray,
    *,
    rest: FloatArray,
    length: int = 1,
    amplitudes: FloatArray | None = None,
    tolerance: float = 1e-6,
    progress: Progress = no_progress,
) -> PulseKicks:
    r"""Find where pulses lead, and for every target the smallest amplitude that was seen to lead there.

    A pulse puts the input at :math:`\bar u + g v` for `length` steps. Destinations need not be monotone in
    the amplitude g: it is scanned, and every bracket in which a destination is met for the first time is
    bisected, or split where a third one turns up inside.

    Parameters
    ----------
    system : Map
        With inputs.
    landscape : Landscape
        Of the map at the input `rest`.
    pulses : ndarray, shape (n_pulses, n_inputs)
    rest : ndarray, shape (n_inputs,)
        The input before and after a pulse.
    length : int
        Steps of a pulse. Default 1.
    amplitudes : ndarray, optional
        Rising ones to scan; None for the table at amplitude 1 only.
    tolerance : float
        Relative width of the final brackets. Default 1e-6.
    progress : callable, optional

    Returns
    -------
    PulseKicks

    Examples
    --------
    >>> from esntools.excitable.landscape import find_landscape
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    >>> space = find_landscape(bit)
    >>> kicks = scan_pulses(bit, space, unit_pulses(1), rest=np.zeros(1), amplitudes=np.linspace(0.1, 2, 20))
    >>> kicks.table.tolist()
    [[0, 0], [1, 1]]
    >>> [(c["source"], c["target"], round(c["threshold"], 4)) for c in kicks.connections]
    [(0, 1, 1.2878), (1, 0, 1.2878)]
    """
    sources = _Sources(system, landscape, pulses, rest, length)
    S, P, K = len(sources.states), len(pulses), len(landscape.attractors)
    grid = np.unique(np.append([] if amplitudes is None else amplitudes, 1.0))
    s, p, m = (a.ravel() for a in np.meshgrid(range(S), range(P), range(len(grid)), indexing="ij"))
    scan = np.empty(S * P * len(grid), dtype=np.intp)
    for start in range(0, len(scan), _ROWS):
        part = slice(start, start + _ROWS)
        scan[part] = sources.destinations(s[part], p[part], grid[m[part]])
        progress("pulse amplitudes", 0.5 * min(1.0, (start + _ROWS) / len(scan)))
    lost = np.flatnonzero(scan == UNDECIDED)[:_MOST_LOST]
    table = scan.reshape(S, P, len(grid))
    at_one = table[:, :, int(np.argmin(np.abs(grid - 1.0)))].copy()
    row, column = np.nonzero(at_one == _OTHER)
    at_one[row, column] = sources.destinations(row, column, np.ones(len(row)), told=True)
    destinations = np.full((K, P), UNDECIDED, dtype=np.intp)
    destinations[sources.owner[sources.phase == 0]] = at_one[sources.phase == 0]
    notes = _phase_notes(sources, at_one)
    n_units = landscape.system.n_units
    ends = sources.after(s[lost], p[lost], grid[m[lost]]) if len(lost) else np.zeros((0, n_units))
    ends = ends[np.all(np.isfinite(ends), axis=1)]
    if amplitudes is None:
        return PulseKicks(destinations, (), ends, tuple(notes))
    brackets = _first_changes(table, grid, sources.owner)
    if not _refine(sources, brackets, tolerance, lambda label, f: progress(label, 0.5 + 0.45 * f)):
        notes.append("some ranges of pulse amplitudes are cut into more strips than were followed")
    connections = _connections(sources, brackets, at_one, float(np.max(amplitudes)), tolerance)
    return PulseKicks(destinations, connections, ends, tuple(notes))


def _connections(
    sources: _Sources, brackets: list[_Bracket], at_one: IntArray, most: float, tolerance: float
) -> tuple[dict[str, Any], ...]:
    """Return the least threshold of every source, target and pulse, replayed on both sides."""
    best: dict[tuple[int, int, int], _Bracket] = {}
    for c in brackets:
        own = int(sources.owner[c.s])
        if c.b in (own, ESCAPED, UNDECIDED) or c.high > most:
            continue
        key = own, c.b, c.p
        if key not in best or c.high < best[key].high:
            best[key] = c
    kept = [c for _, c in sorted(best.items())]
    if not kept:
        return ()
    s, p = (np.array([getattr(c, name) for c in kept], dtype=np.intp) for name in ("s", "p"))
    high = np.array([c.high for c in kept])
    seen = np.array([c.b for c in kept], dtype=np.intp)
    targets = seen.copy()
    other = np.flatnonzero(seen == _OTHER)
    targets[other] = sources.destinations(s[other], p[other], 1.001 * high[other], told=True)

    def replayed(margin: float) -> BoolArray:
        above = sources.destinations(s, p, (1.0 + margin) * high) == seen
        below = sources.destinations(s, p, (1.0 - margin) * high) == seen
        return np.asarray(above & ~below)

    sound, close = replayed(1e-3), replayed(4.0 * tolerance)
    out = []
    for row, c in enumerate(kept):
        source, target = int(sources.owner[c.s]), int(targets[row])
        if target < 0 or (seen[row] == _OTHER and sources.landscape.attractors[target].is_point):
            # The run had not arrived yet, or was not told to be on anything.
            continue
        checked = bool(sound[row])
        note = "" if checked else NARROW if close[row] else "the replay failed"
        entry: dict[str, Any] = {
            "metric": "input", "source": source, "target": target, "pulse": c.p, "threshold": c.high,
            "lower": 0.0, "at_unit": bool(at_one[c.s, c.p] == target), "checked": checked, "kick": None,
            "alignment": None, "saddle": None, "note": note,
        }  # fmt: skip
        if len(sources.landscape.attractors[source].states) > 1:
            phases = np.flatnonzero(sources.owner == source)
            entry["phase"] = int(sources.phase[c.s])
            entry["at_unit"] = bool(np.any(at_one[phases, c.p] == target))
        out.append(entry)
    return tuple(out)


def _phase_notes(sources: _Sources, at_one: IntArray) -> list[str]:
    """Say of which cycles the destinations depend on the phase at which the pulse comes."""
    notes = []
    for owner in np.unique(sources.owner):
        rows = at_one[sources.owner == owner]
        period = len(sources.landscape.attractors[owner].states)
        of = "all phases" if len(rows) == period else f"{len(rows)} of its {period} phases"
        if np.any(rows != rows[0]):
            notes.append(
                f"where a pulse leads from the cycle {owner} depends on its phase: the pulse table is of the "
                f"first state listed, thresholds are the least over {of}"
            )
        elif len(rows) < period:
            notes.append(f"thresholds from the cycle {owner} are the least over {of}")
    return notes
