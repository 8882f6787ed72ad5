r"""Proved ends of the echo index of a network that one coordinate, or several independent ones, decide.

Lower end: disjoint intervals that no admissible input leads out of and in which states approach each other.
Upper end: between them at most one state for each gap stays there for ever, a set of measure zero.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.echo_index.dwell import rest_points, survives
from esntools.echo_index.laws import EchoInput, PeriodicInput, SwitchingInput
from esntools.echo_index.reduction import Coordinate, Family, coordinates, divided, fixed_intervals
from esntools.echo_index.runs import nothing_between
from esntools.inputs import Constant, InputAlphabet, InputBox, InputSignal, Zero
from esntools.network import EchoStateNetwork

__all__ = ["ProvedBounds", "at_most", "leaves_gap", "regions", "scalar_bounds", "time_left", "word_responses"]

#: Steps over which contraction within a region, or expansion in a gap, is looked for.
_STEPS: Final = (1, 2, 4, 8, 16, 32, 64)
_PIECES: Final = 32


@final
@dataclass(frozen=True, eq=False)
class ProvedBounds:
    """Proved ends of the echo index for every input of a class.

    Attributes
    ----------
    lower : int
        At least 0; 1 when nothing else is proved for a bounded network is not claimed.
    upper : int or None
    almost_sure : int or None
        The index with probability one for a law that makes runs of every length, where that is proved.
    reasons : tuple of str
    documents : tuple of dict
        Certificates that the independent checker has accepted; proofs by one coordinate have none.
    """

    lower: int
    upper: int | None
    almost_sure: int | None
    reasons: tuple[str, ...]
    documents: tuple[Document, ...]


def _word(inputs: EchoInput, n_inputs: int) -> FloatArray | None:
    match inputs:
        case Zero():
            return np.zeros((1, n_inputs))
        case Constant():
            return inputs.c[None, :]
        case PeriodicInput():
            return inputs.word
        case _:
            return None


def time_left(deadline: float) -> float | None:
    """Return the seconds until a deadline, None when there is none."""
    return None if math.isinf(deadline) else max(0.0, deadline - time.perf_counter())


def word_responses(coordinate: Coordinate, word: FloatArray) -> int | None:
    """Return the exact number of attracting responses to a word repeated for ever, or None when undecided."""
    maps = [coordinate.under(u) for u in word]

    def down(y: float) -> float:
        for f in maps:
            y = f.down(y)
        return y

    def up(y: float) -> float:
        for f in maps:
            y = f.up(y)
        return y

    def slopes(y: float, z: float) -> tuple[float, float]:
        least = greatest = 1.0
        for f in maps:
            low, high = f.slopes(y, z)
            least = max(0.0, math.nextafter(least * low, -math.inf))
            greatest = math.nextafter(greatest * high, math.inf)
            y, z = f.down(y), f.up(z)
        return least, greatest

    points = fixed_intervals(down, up, slopes, coordinate.low, coordinate.high)
    return None if points is None else sum(p.stable for p in points)


def _settled(family: Family, y: float, *, down: bool, most: int = 100000) -> float | None:
    """Follow the least (greatest) choices from y until they stop falling (rising)."""
    for _ in range(most):
        z = family.down(y) if down else family.up(y)
        if (z >= y) if down else (z <= y):
            return y
        y = z
    return None


def _approaches(family: Family, low: float, high: float) -> bool:
    """Return whether any two states of an invariant interval are proved to approach each other."""
    ends = np.linspace(low, high, _PIECES + 1).tolist()
    cells = [(y, z, 1.0) for y, z in itertools.pairwise(ends)]
    for k in range(1, _STEPS[-1] + 1):
        moved = []
        for y, z, product in cells:
            product = math.nextafter(product * family.slopes(y, z)[1], math.inf)
            moved.append((family.down(y), family.up(z), product))
        cells = moved
        if k in _STEPS and max(p for _, _, p in cells) < 1.0 - 1e-9:
            return True
    return False


def regions(family: Family, starts: Sequence[Family]) -> list[tuple[float, float]]:
    """Return disjoint invariant intervals of a family in which states are proved to approach each other.

    They grow from the rest points of `starts`, some maps of the family, and are in order.
    """
    found: set[tuple[float, float]] = set()
    for start in starts:
        for p in rest_points(start) or ():
            if p.stable:
                low, high = _settled(family, p.low, down=True), _settled(family, p.high, down=False)
                if low is not None and high is not None:
                    found.add((low, high))
    kept: list[tuple[float, float]] = []
    # Invariant intervals are nested or apart, or their meet is invariant too and is found by itself.
    for low, high in sorted(found, key=lambda r: r[1] - r[0]):
        if all(high < y or low > z for y, z in kept) and _approaches(family, low, high):
            kept.append((low, high))
    return sorted(kept)


def _grown(family: Family, low: float, high: float, limit: float) -> float:
    """Return an end below `low`, not below `limit`, from which an invariant region still contracts."""
    if family.down(limit) >= limit and _approaches(family, limit, high):
        return limit
    # The boundary: below it some input leads downwards.
    y, z = limit, low
    for _ in range(50):
        middle = 0.5 * (y + z)
        y, z = (y, middle) if family.down(middle) >= middle else (middle, z)
    # The nearer to the boundary, the slower the contraction: bisection for the nearest that is proved.
    best, near, far = low, 0.2, 1.0
    for _ in range(4):
        share = 0.5 * (near + far)
        end = z + share * (low - z)
        if family.down(end) >= end and _approaches(family, end, high):
            best, far = end, share
        else:
            near = share
    return best


def _widened(family: Family, found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the regions grown towards each other and to the ends of the coordinate."""
    wide, back = [], family.reflected()
    for k, (low, high) in enumerate(found):
        below = family.low if k == 0 else found[k - 1][1]
        above = family.high if k == len(found) - 1 else found[k + 1][0]
        low = _grown(family, low, high, below)
        wide.append((low, -_grown(back, -high, -low, -above)))
    return wide


def at_most(family: Family, found: list[tuple[float, float]], starts: Sequence[Family] = ()) -> bool:
    """Return whether all states but a set of measure zero are proved to enter one of the regions.

    A rest point outside them that attracts under one map of the family, any of `starts`, spares the attempt.
    """
    for start in starts:
        for p in rest_points(start) or ():
            if p.stable and not any(low - 1e-9 < p.low < high + 1e-9 for low, high in found):
                return False
    wide = _widened(family, found)
    if any(wide[k][1] >= wide[k + 1][0] for k in range(len(wide) - 1)):
        return False
    gaps = [(wide[k][1], wide[k + 1][0]) for k in range(len(wide) - 1)]
    if wide[0][0] > family.low:
        gaps.append((family.low, wide[0][0]))
    if wide[-1][1] < family.high:
        gaps.append((wide[-1][1], family.high))
    narrower = (24, 64) if len(divided(family, 2)) > len(family.members) else (1,)
    return all(any(leaves_gap(family, y, z, pieces=n) for n in narrower) for y, z in gaps)


def _crowded(low: float, high: float, n: int) -> FloatArray:
    """Return n + 1 ends of cells that crowd at both ends, where orbits are slow."""
    ends = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(np.linspace(0.0, math.pi, n + 1))
    ends[0], ends[-1] = low, high
    return np.asarray(ends)


def leaves_gap(family: Family, low: float, high: float, *, cells: int = 400, pieces: int = 24) -> bool:
    """Return whether at most one state of a gap is proved to stay in it for ever, whatever the input.

    The least growth over n steps of orbits that stay in the gap is bounded from below cell by cell; where it
    exceeds 1 two orbits that both stay would part.
    """
    ends = _crowded(low, high, cells)
    at, first, last, growth = list[int](), list[int](), list[int](), list[float]()
    for part in divided(family, pieces):
        lows = np.array([part.down(y) for y in ends.tolist()])
        highs = np.array([part.up(y) for y in ends.tolist()])
        for i in np.flatnonzero((highs[1:] >= low) & (lows[:-1] <= high)).tolist():
            slope = part.slopes(float(ends[i]), float(ends[i + 1]))[0]
            at.append(i)
            first.append(max(0, int(np.searchsorted(ends, lows[i], side="left")) - 1))
            last.append(min(cells - 1, int(np.searchsorted(ends, highs[i + 1], side="right")) - 1))
            growth.append(math.log(slope) - 1e-12 if slope > 0.0 else -math.inf)
    cell, j, k = (np.array(v, dtype=np.intp) for v in (at, first, last))
    added = np.array(growth)
    level = np.maximum(0, np.frexp((k - j + 1).astype(np.float64))[1] - 1)
    total = np.zeros(cells)
    for _ in range(2000):
        # The least of total[j..k], from minima over stretches of 1, 2, 4, ... cells.
        table = [total]
        while 2 ** len(table) <= cells:
            half = 2 ** (len(table) - 1)
            wider = table[-1].copy()
            wider[:-half] = np.minimum(wider[:-half], wider[half:])
            table.append(wider)
        minima = np.array(table)
        least = np.minimum(minima[level, j], minima[level, k - 2**level + 1])
        new = np.full(cells, math.inf)
        np.minimum.at(new, cell, added + least)
        total = new
        if float(total.min()) > 1e-9:
            return True
        if float(total.min()) < -60.0:
            return False
    return False


def scalar_bounds(
    network: EchoStateNetwork, inputs: EchoInput, deadline: float
) -> tuple[ProvedBounds, bool] | str:
    """Return what one or several deciding coordinates prove, and whether that is exact."""
    found = coordinates(network, budget=time_left(deadline))
    if isinstance(found, str):
        return found
    lower, upper, sure, reasons = 1, 1, 1, list[str]()
    exact_upper = exact_sure = True
    for c in found:
        name = "the coordinate of rank one" if c.index < 0 else f"unit {c.index}"
        word = _word(inputs, network.n_inputs)
        count = None if word is None or len(word) > 64 else word_responses(c, word)
        if count is not None:
            lower, upper, sure = lower * count, upper * count, sure * count
            reasons.append(f"{name} has exactly {count} attracting response{'s' * (count != 1)}")
            continue
        low, high, almost, why = _class_bounds(c, inputs, deadline)
        if low == 0:
            return f"no contracting region was found for {name}"
        lower *= low
        upper, exact_upper = (upper * high, exact_upper) if high is not None else (upper, False)
        sure, exact_sure = (sure * almost, exact_sure) if almost is not None else (sure, False)
        if low == 1 and high == 1:
            words = f"{name} forgets its state whatever these inputs are"
        else:
            words = f"{name} keeps {low} region{'s' * (low != 1)} in which states approach each other"
            if high is not None:
                words += ", and all other states enter them but for a set of measure zero"
        words += f"; {why}" * bool(why)
        reasons.append(words)
    bounds = ProvedBounds(
        lower, upper if exact_upper else None, sure if exact_sure else None, tuple(reasons), ()
    )
    return bounds, lower == upper and exact_upper


def _box(c: Coordinate, inputs: InputBox | InputSignal) -> tuple[FloatArray, FloatArray]:
    box = inputs.hull() if isinstance(inputs, InputSignal) else inputs
    n = c.D.shape[1]
    return np.broadcast_to(box.low, (n,)), np.broadcast_to(box.high, (n,))


def _class_bounds(
    c: Coordinate, inputs: EchoInput, deadline: float
) -> tuple[int, int | None, int | None, str]:
    """Return the proved ends for one coordinate, the almost sure index of the law, and why."""
    match inputs:
        case InputBox() | InputSignal():
            low, high = _box(c, inputs)
            family = c.within(low, high)
            starts = [c.under(0.5 * (low + high)), *_corners(c, low, high, 0.0)]
        case InputAlphabet() | SwitchingInput():
            family = c.under(inputs.symbols)
            starts = [c.under(u) for u in inputs.symbols]
        case _:
            return 0, None, None, ""
    found = regions(family, starts)
    lower, upper = len(found), None
    if found and time.perf_counter() < deadline and at_most(family, found, starts):
        upper = lower
    if isinstance(inputs, SwitchingInput) and upper is None:
        kept, exact = _by_runs(c, inputs)
        if kept > lower:
            lower, upper = kept, kept if exact else None
    almost, why = upper, ""
    if upper is None and lower == 1 and len(found) == 1:
        why = _forgets(c, inputs, family, _widened(family, found)[0])
        almost = 1 if why else None
    return lower, upper, almost, why


def _corners(c: Coordinate, low: FloatArray, high: FloatArray, share: float) -> list[Family]:
    """Return the maps under inputs near the corners of a box that push the coordinate least and most."""
    most = np.where(c.D.T @ np.array(c.v) > 0.0, high, low)
    width = share * (high - low)
    return [
        c.within(np.maximum(low, near - width), np.minimum(high, near + width))
        for near in (low + high - most, most)
    ]  # fmt: skip


def _by_runs(c: Coordinate, inputs: SwitchingInput) -> tuple[int, bool]:
    """Return how many responses the limits of the runs keep alive (0: unknown), and whether exactly."""
    best = 0, False
    # With three symbols the others may follow each other without end.
    for s in range(2 if len(inputs.symbols) == 2 else 0):
        longest = inputs.max_length[1 - s]
        hold, other = c.under(inputs.symbols[s]), c.under(inputs.symbols[1 - s])
        points = rest_points(hold)
        if longest is None or points is None or len(points) == 1:
            continue
        if survives(hold, other, inputs.min_length[s], longest)[0] == "kept":
            exact = nothing_between(hold, other, inputs.min_length[s], longest)
            best = max(best, ((len(points) + 1) // 2, exact))
    return best


def _possible(inputs: SwitchingInput, s: int, length: int) -> bool:
    """Return whether a run of symbol s has this length with positive probability."""
    low, high, stay = inputs.min_length[s], inputs.max_length[s], inputs.stay[s]
    if not low <= length or (high is not None and length > high):
        return False
    return (length == low or stay > 0.0) and (length == high or stay < 1.0)


def _recurrent_words(c: Coordinate, inputs: EchoInput) -> list[tuple[str, list[tuple[Family, int]]]]:
    """Return words, as maps with numbers of steps, that come almost surely any number of times in a row."""
    match inputs:
        case InputBox():
            names = ("inputs near the lower corner", "inputs near the upper corner")
            return [(n, [(f, 1)]) for n, f in zip(names, _corners(c, *_box(c, inputs), 1e-3), strict=True)]
        case InputAlphabet():
            return [(f"symbol {s}", [(c.under(u), 1)]) for s, u in enumerate(inputs.symbols)]
        case SwitchingInput():
            words = []
            for s, u in enumerate(inputs.symbols):
                if inputs.max_length[s] is None and inputs.stay[s] > 0.0:
                    words.append((f"symbol {s}", [(c.under(u), 1)]))
            for s, t in ((0, 1), (1, 0)) if len(inputs.symbols) == 2 else ():
                short, long = inputs.min_length[s], inputs.max_length[t]
                if long is not None and _possible(inputs, s, short) and _possible(inputs, t, long):
                    word = [(c.under(inputs.symbols[s]), short), (c.under(inputs.symbols[t]), long)]
                    words.append((f"{short} times symbol {s}, {long} times symbol {t},", word))
            return words
        case _:
            return []


def _forgets(c: Coordinate, inputs: EchoInput, family: Family, region: tuple[float, float]) -> str:
    """Return why all states come into the one contracting region almost surely, or an empty text."""
    for name, word in _recurrent_words(c, inputs):
        y, z = family.low, family.high
        for k in range(1, 20001):
            a, b = y, z
            for f, steps in word:
                for _ in range(steps):
                    a, b = f.down(a), f.up(b)
            if region[0] <= a and b <= region[1]:
                return f"{name} {k} times in a row leads all states into it, and comes almost surely"
            if a <= y and b >= z:
                break
            y, z = a, b
    return ""
