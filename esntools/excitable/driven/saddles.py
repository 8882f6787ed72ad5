"""Solutions on the boundaries between responses, and the boundaries' normals carried back along them."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from esntools._typing import FloatArray, IntArray, Progress
from esntools.echo_index.responses import leading_exponents
from esntools.excitable.driven.results import NonautonomousSaddle
from esntools.excitable.driven.series import Series

__all__ = ["carry_back", "find_saddles"]

#: Pairs of states are brought together to _CLOSE and moved on until they have parted to _APART.
_CLOSE: Final = 1e-12
_APART: Final = 1e-8
#: How far the last two may part, when labels can no longer be told.
_BLURRED: Final = 1e-6
#: Boundary solutions that come so close to each other are one.
_SAME: Final = 1e-6
_WAYS: Final = 24
_SHORTEST: Final = 8


class _Pair:
    """Two states on the two sides of a boundary, and where they have been."""

    def __init__(self, own: int, low: FloatArray, high: FloatArray, begin: int, end: int) -> None:
        self.own, self.low, self.high, self.begin, self.end = own, low, high, begin, end
        self.time = begin
        self.path: list[FloatArray] = []
        self.open, self.last, self.moving = True, False, True

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
            if first == 0 or len(decided) == 0:
                # Not decided before the series ends or responses merge: followed as far as it is known.
                pair.last = True
                continue
            before = pair.gap
            pair.low, pair.high = X[first - 1], X[decided[0]]
            # Where states between the two are never decided, the pair gets no narrower.
            if row[first] != -1 or pair.gap < 0.5 * before:
                still.append(pair)
        left = still


def _move_on(series: Series, pairs: list[_Pair]) -> None:
    """Step every pair until its states have parted."""
    moving = pairs
    while moving:
        low, high = np.array([p.low for p in moving]), np.array([p.high for p in moving])
        for pair in moving:
            pair.path.append(0.5 * (pair.low + pair.high))
        u = series.u[[p.time for p in moving]]
        low, high = series.network.step(low, u), series.network.step(high, u)
        for k, pair in enumerate(moving):
            pair.low, pair.high, pair.time = low[k], high[k], pair.time + 1
            parted = pair.gap > (_BLURRED if pair.last else _APART) * series.scale
            pair.open = pair.time < pair.end and not (pair.last and parted)
            pair.moving = pair.open and not parted
        moving = [p for p in moving if p.moving]


def _tracked(series: Series, progress: Progress) -> list[tuple[int, FloatArray]]:
    """Return (begin, states) of the boundary between every two responses that are known together."""
    curves = series.curves
    known = np.isfinite(curves[:, :, 0])
    pairs = []
    for i, j in itertools.combinations(range(curves.shape[1]), 2):
        both = np.flatnonzero(known[:, i] & known[:, j])
        if len(both) > _SHORTEST:
            begin, end = int(both[0]), int(both[-1])
            pairs.append(_Pair(i, curves[begin, i], curves[begin, j], begin, end))
    told = 0.0
    while any(p.open for p in pairs):
        _bring_together(series, [p for p in pairs if p.open])
        _move_on(series, pairs)
        done = sum((p.end if not p.open else p.time) - p.begin for p in pairs)
        share = done / max(1, sum(p.end - p.begin for p in pairs))
        if share >= told + 0.01:
            told = share
            progress("boundaries", share)
    return [(p.begin, np.array(p.path)) for p in pairs if len(p.path) > _SHORTEST]


def carry_back(series: Series, states: FloatArray, begin: int, covector: FloatArray) -> FloatArray:
    """Return the unit covectors J_k^T ... J_m^T l at every state but the last, which has l itself."""
    network = series.network
    out = np.empty_like(states)
    left = out[-1] = covector / np.linalg.norm(covector)
    for k in range(len(states) - 2, -1, -1):
        left = network.jacobian(states[k], series.u[begin + k]).T @ left
        size = float(np.linalg.norm(left))
        if not (np.isfinite(size) and size > 0.0):
            out[: k + 1] = 0.0
            break
        left = out[k] = left / size
    return out


def _sides(series: Series, states: FloatArray, begin: int) -> tuple[int, int]:
    """Return the labels on the two sides of a tracked solution, a quarter of the way along."""
    at = len(states) // 4
    v = np.random.default_rng(0).standard_normal(series.n_units)
    for k in range(at):
        v = series.network.jacobian_vector(states[k], v, series.u[begin + k])
        v = v / np.linalg.norm(v)
    v /= np.linalg.norm(v)
    step = 1e-5 * series.scale * v
    time: IntArray = np.array([begin + at, begin + at])
    labels = series.label(np.array([states[at] - step, states[at] + step]), time)
    low, high = sorted(int(k) for k in labels)
    return low, high


def find_saddles(series: Series, progress: Progress) -> tuple[NonautonomousSaddle, ...]:
    """Follow the boundary between every two responses; solutions that have become one are listed once."""
    found: list[NonautonomousSaddle] = []
    tracked = sorted(_tracked(series, progress), key=lambda item: (item[0], -len(item[1])))
    for begin, states in tracked:
        same = False
        for other in found:
            first = max(begin, other.begin)
            last = min(begin + len(states), other.begin + len(other.states))
            if last > first:
                gaps = np.abs(
                    states[first - begin : last - begin]
                    - other.states[first - other.begin : last - other.begin]
                )
                same = same or bool(np.min(np.max(gaps, axis=1)) < _SAME * series.scale)
        if same:
            continue
        exponents, intervals = leading_exponents(
            series.network, states, series.u[begin : begin + len(states) - 1], min(2, series.n_units)
        )
        between = _sides(series, states, begin)
        normals = carry_back(series, states, begin, np.cos(np.arange(series.n_units, dtype=np.float64)))
        checked = between[0] >= 0 and between[0] != between[1]
        found.append(NonautonomousSaddle(between, begin, states, normals, exponents, intervals, checked))
    return tuple(sorted(found, key=lambda s: (s.between, s.begin)))
