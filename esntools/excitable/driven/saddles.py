"""Solutions on the boundaries between responses, and the boundaries' normals carried back along them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from esntools._typing import FloatArray, IntArray, Progress
from esntools.echo_index.responses import leading_exponents
from esntools.excitable.driven.results import NonautonomousSaddle
from esntools.excitable.driven.series import Series

__all__ = ["Sides", "carry_back", "find_saddles"]

#: Pairs of states are brought together to _CLOSE and moved on until they have parted to _APART.
_CLOSE: Final = 1e-12
_APART: Final = 1e-8
#: How far the last two may part, when labels can no longer be told.
_BLURRED: Final = 1e-6
#: A pair that rounding has carried to one side is opened up to here.
_LOST: Final = 1e-6
#: Boundary solutions that come so close to each other are one.
_SAME: Final = 1e-6
_WAYS: Final = 24
_SHORTEST: Final = 8


#: States on the two sides of boundaries, shape (n, n_units) each, and their times.
Sides: TypeAlias = tuple[FloatArray, FloatArray, IntArray]
_Path: TypeAlias = tuple[int, Sequence[FloatArray] | FloatArray]


class _Pair:
    """Two states on the two sides of a boundary, and where they have been."""

    def __init__(self, own: int, low: FloatArray, high: FloatArray, begin: int, end: int) -> None:
        self.own, self.low, self.high, self.begin, self.end = own, low, high, begin, end
        self.time = begin
        self.other = -1
        self.path: list[FloatArray] = []
        self.open, self.last, self.moving, self.twin = begin < end, False, True, False

    @property
    def gap(self) -> float:
        return float(np.max(np.abs(self.high - self.low)))


def _bring_together(series: Series, pairs: list[_Pair]) -> None:
    """Narrow all pairs, each to states on either side of the first boundary on the segment."""
    shares, left = np.linspace(0.0, 1.0, _WAYS), list(pairs)
    for _ in range(60):
        left = [p for p in left if p.gap > _CLOSE * series.scale]
        if not left:
            return
        points = np.concatenate([p.low + shares[:, None] * (p.high - p.low) for p in left])
        times = np.repeat([p.time for p in left], _WAYS)
        labels = series.label(points, times).reshape(len(left), _WAYS)
        still = []
        for pair, row, X in zip(left, labels, points.reshape(len(left), _WAYS, -1)):
            first = int(np.argmax(row != pair.own))
            decided = np.flatnonzero((row != pair.own) & (row != -1))
            if np.all(row == row[0]) and row[0] >= 0 and pair.gap < _LOST * series.scale:
                # Rounding has carried both to one side.
                middle, half = 0.5 * (pair.low + pair.high), 5.0 * (pair.high - pair.low)
                pair.low, pair.high = middle - half, middle + half
                still.append(pair)
                continue
            if first == 0 or len(decided) == 0:
                # Not decided before the series ends or responses merge: followed as far as it is known.
                pair.last = True
                continue
            before = pair.gap
            pair.low, pair.high = X[first - 1], X[decided[0]]
            pair.other = int(row[decided[0]])
            # Where states between the two are never decided, the pair gets no narrower.
            if row[first] != -1 or pair.gap < 0.5 * before:
                still.append(pair)
        left = still


def _move_on(series: Series, pairs: list[_Pair]) -> None:
    """Step every pair until its states have parted."""
    moving = pairs
    while moving:
        for pair in moving:
            pair.path.append(0.5 * (pair.low + pair.high))
        # By the same arithmetic as labels: another rounding would carry both to one side.
        X = series.advance(
            np.array([x for p in moving for x in (p.low, p.high)]), np.repeat([p.time for p in moving], 2), 1
        )
        for k, pair in enumerate(moving):
            pair.low, pair.high, pair.time = X[2 * k], X[2 * k + 1], pair.time + 1
            parted = pair.gap > (_BLURRED if pair.last else _APART) * series.scale
            pair.open = pair.time < pair.end and not (pair.last and parted)
            pair.moving = pair.open and not parted
        moving = [p for p in moving if p.moving]


def _met(series: Series, pair: _Pair, begin: int, path: Sequence[FloatArray] | FloatArray) -> bool:
    """Return whether two solutions are one at the last time at which both are known."""
    at = min(pair.begin + len(pair.path), begin + len(path)) - 1
    if at < max(pair.begin, begin):
        return False
    gap = np.max(np.abs(pair.path[at - pair.begin] - path[at - begin]))
    return bool(gap < _SAME * series.scale)


def _follow(series: Series, pairs: list[_Pair], known: list[NonautonomousSaddle], progress: Progress) -> None:
    """Follow every pair until labels can no longer be told, or until it comes to a solution that is known."""
    told, total = 0.0, max(1, sum(p.end - p.begin for p in pairs))
    while left := [p for p in pairs if p.open]:
        _bring_together(series, left)
        _move_on(series, left)
        for k, pair in enumerate(pairs):
            others: list[_Path] = [(s.begin, s.states) for s in known]
            others += [(p.begin, p.path) for p in pairs[:k] if not p.twin]
            pair.twin = pair.twin or any(_met(series, pair, *other) for other in others)
            pair.open = pair.open and not pair.twin
        share = sum((p.time if p.open else p.end) - p.begin for p in pairs) / total
        if share >= told + 0.01:
            told = share
            progress("boundaries", share)


def carry_back(series: Series, states: FloatArray, begin: int, covector: FloatArray) -> FloatArray:
    """Return the unit covectors J_k^T ... J_m^T l at every state but the last, which has l itself."""
    network = series.network
    out = np.empty_like(states)
    left = out[-1] = covector / np.linalg.norm(covector)
    gains = None
    if network.W_fb is None:
        inputs = series.u[begin : begin + len(states) - 1]
        gains = network.leak_rate * network.activation.slope(network.preactivation(states[:-1], inputs))
    W_T, keep = network.W.T, 1.0 - network.leak_rate
    for k in range(len(states) - 2, -1, -1):
        if gains is None:
            left = network.jacobian(states[k], series.u[begin + k]).T @ left
        else:
            left = np.asarray(keep * left + W_T @ (gains[k] * left))
        size = float(np.linalg.norm(left))
        if not (np.isfinite(size) and size > 0.0):
            out[: k + 1] = 0.0
            break
        left = out[k] = left / size
    return out


def find_saddles(
    series: Series, sides: Sides | None, known: tuple[NonautonomousSaddle, ...], progress: Progress
) -> tuple[NonautonomousSaddle, ...]:
    """Follow boundaries and return the known solutions on them with the new ones.

    Boundaries are those that are met on the ways from every response to every other one, when both are known
    for the first time; or those between the `sides` given.
    """
    curves = series.curves
    there = np.isfinite(curves[:, :, 0])
    pairs = []
    if sides is None:
        for i, j in itertools.permutations(range(curves.shape[1]), 2):
            both = np.flatnonzero(there[:, i] & there[:, j])
            if len(both) > _SHORTEST:
                begin, end = int(both[0]), int(both[-1])
                pairs.append(_Pair(i, curves[begin, i], curves[begin, j], begin, end))
    else:
        low, high, time = sides
        own, other = series.label(low, time), series.label(high, time)
        for k in np.flatnonzero((own >= 0) & (other >= 0) & (own != other)):
            both = np.flatnonzero(there[:, own[k]] & there[:, other[k]])
            if len(both) and both[-1] > time[k]:
                pairs.append(_Pair(int(own[k]), low[k], high[k], int(time[k]), int(both[-1])))
    found = list(known)
    _follow(series, pairs, found, progress)
    for pair in pairs:
        if pair.twin or len(pair.path) <= _SHORTEST or pair.other < 0:
            continue
        states, begin = np.array(pair.path), pair.begin
        exponents, intervals = leading_exponents(
            series.network, states, series.u[begin : begin + len(states) - 1], min(2, series.n_units)
        )
        if not exponents[0] > 0.0:
            # It repels nothing: labels differed for the want of time.
            continue
        normals = carry_back(series, states, begin, np.cos(np.arange(series.n_units, dtype=np.float64)))
        between = min(pair.own, pair.other), max(pair.own, pair.other)
        found.append(NonautonomousSaddle(between, begin, states, normals, exponents, intervals))
    return tuple(sorted(found, key=lambda s: (s.between, s.begin)))
