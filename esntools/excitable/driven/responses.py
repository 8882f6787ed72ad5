"""The responses along a series: pullbacks from many times, and solutions followed until they merge."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from esntools._typing import FloatArray, IntArray, Progress
from esntools.echo_index.responses import (
    Pullback,
    Starts,
    leading_exponents,
    make_starts,
    pullback,
)
from esntools.excitable.driven.results import DrivenResponse, ResponseEvent
from esntools.excitable.driven.series import Series
from esntools.simulation import final_state

__all__ = ["find_responses"]

_MOST: Final = 32
_KNOWN: Final = 1e-6
_MET: Final = 1e-2
#: The share of random starts that may end at no response before it is said.
_UNMET: Final = 0.05
#: Distances that fall by so much within another n_past steps are those of one response.
_MEETING: Final = 0.1
#: A response is reached from several starts; single ones linger at a boundary.
_FEWEST: Final = 3


@dataclass(eq=False)
class _Track:
    """A solution that is followed: its states from its launch to the end of the series."""

    launch: int
    begin: int
    path: FloatArray
    share: float
    born: int
    parent: int = -1
    end: int | None = None
    since: int | None = None
    merged_into: int | None = None
    curve: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))

    def at(self, time: int) -> FloatArray:
        return np.asarray(self.path[time - self.launch])


def _between(states: FloatArray) -> FloatArray:
    """Return states on the segments between responses: what lies there may belong to a third."""
    K = len(states)
    rows = [
        states[i] + s * (states[j] - states[i])
        for i in range(K) for j in range(i) for s in np.linspace(0.0, 1.0, 12)[1:-1]
    ]  # fmt: skip
    return np.array(rows).reshape(-1, states.shape[1])


class _Finder:
    def __init__(self, series: Series, n_past: int, stride: int, starts: Starts) -> None:
        self.series, self.n_past, self.stride, self.starts = series, n_past, stride, starts
        self.tracks: list[_Track] = []
        self.active: list[int] = []
        self.merges: list[tuple[int, int, int]] = []
        self.notes: list[str] = []
        self.chaotic = False
        self.crowded = 0
        self.unmet: list[float] = []
        self.scale = max(1.0, float(np.max(np.abs(starts.states))))

    def _pull(self, s: int, X: FloatArray) -> Pullback:
        return pullback(self.series.network, self.series.u[s : s + self.n_past], X)

    def launch(self, s: int) -> None:
        """Start everywhere at time s, and compare with what is followed already."""
        known = np.array([self.tracks[q].at(s) for q in self.active]).reshape(-1, self.series.n_units)
        X = np.concatenate([self.starts.states, known])
        res = self._pull(s, X)
        if s == 0 and 2 <= res.count <= 6:
            at = np.array([X[first] for first in res.first])
            ends = np.array([res.states[res.group == g][0] for g in range(res.count)])
            X = np.concatenate([X, _between(at), _between(ends)])
            res = self._pull(s, X)
        labels = self._joined(s, res)
        self.crowded = max(self.crowded, len(set(labels.tolist()) - {-1}))
        n = len(self.starts.states)
        own = labels[n : n + len(self.active)]
        left, new, followed = list(self.active), [], []
        for g in sorted(set(labels.tolist()) - {-1}):
            members = [q for q, label in zip(self.active, own) if label == g]
            if not members:
                track = self._new(s, X, labels, g)
                if track is not None:
                    new.append(track)
                    followed.append(g)
                if len(new) > _MOST:
                    self.chaotic = True
                    return
                continue
            # The one with the larger share goes on; the older one of equals.
            members.sort(key=lambda q: (-self.tracks[q].share, q))
            for loser in members[1:]:
                self.merges.append((s, loser, members[0]))
                left.remove(loser)
        met = [*own.tolist(), *followed]
        self.unmet.append(float(np.mean(~np.isin(labels[: self.starts.n_random], met))))
        self.active = left + list(range(len(self.tracks), len(self.tracks) + len(new)))
        self.tracks += new

    def _joined(self, s: int, res: Pullback) -> IntArray:
        """Return the group of every start, those being joined that meet within another n_past steps.

        What has not met by the end of a pullback may have lingered at a boundary.
        """
        series, P = self.series, self.n_past
        reps = np.array([res.states[res.group == g][0] for g in range(res.count)])
        if res.count <= 1:
            return res.label
        ahead = min(P, series.n_steps - s - P)
        looks = np.unique(np.linspace(0, ahead, 9).astype(int)).tolist()
        most, X = cdist(reps, reps, "chebyshev"), reps
        for a, b in itertools.pairwise(looks):
            X = final_state(series.network, series.u[s + P + a : s + P + b], X)
            gaps = cdist(X, X, "chebyshev")
            most = np.maximum(most, gaps)
        met = (gaps < _KNOWN * self.scale) | (gaps < _MEETING * most)
        of = connected_components(met, directed=False)[1]
        # The leader of a component is its first group, so that numbers stay those of groups.
        lead = np.array([int(np.flatnonzero(of == of[g])[0]) for g in range(res.count)])
        return np.where(res.label >= 0, lead[np.maximum(res.label, 0)], -1)

    def _new(self, s: int, X: FloatArray, labels: IntArray, g: int) -> _Track | None:
        """Return a solution of the group, from two of its starts; None where it does not attract."""
        series, P = self.series, self.n_past
        members = np.flatnonzero(labels == g)
        if len(np.unique(X[members], axis=0)) < _FEWEST:
            return None
        share = float(np.mean(labels[: self.starts.n_random] == g))
        some = X[members[np.unique(np.linspace(0, len(members) - 1, 24).astype(int))]]
        halfway = final_state(series.network, series.u[s : s + P // 2], some)
        gaps = np.max(np.abs(halfway - np.median(halfway, axis=0)), axis=1)
        order = np.argsort(gaps, kind="stable")
        path = series.run(some[order[0]], s, series.n_steps)
        begin = s + P
        if len(order) > 1:
            other = series.run(some[order[1]], s, s + P)
            apart = np.max(np.abs(other - path[: P + 1]), axis=1) > _KNOWN
            begin = s + min(P, int(np.flatnonzero(apart)[-1]) + 1 if apart.any() else 0)
        # A start next to a boundary has gone to no response yet: differences grow, or shrink too little.
        stretch = slice(P // 2, min(2 * P, series.n_steps - s))
        along = path[stretch.start : stretch.stop + 1]
        exponent, _ = leading_exponents(series.network, along, series.u[s + stretch.start : s + stretch.stop])
        if not exponent[0] * (len(along) - 1) < math.log(_MEETING):
            return None
        born = s if s == 0 else self._birth(s, path[P])
        return _Track(s, begin, path, share, born)

    def _birth(self, s: int, x: FloatArray) -> int:
        """Return the earliest time from which one of the starts is seen to reach x at time s + n_past."""
        series, end = self.series, s + self.n_past
        others = [float(np.max(np.abs(self.tracks[q].at(end) - x))) for q in self.active]
        near = _MET * min([self.scale, *others])

        def reached(time: int) -> bool:
            X = final_state(series.network, series.u[time:end], self.starts.states)
            return bool(np.any(np.max(np.abs(X - x), axis=1) < near))

        low, high = max(0, s - self.stride), s
        while reached(low):
            if low == 0:
                return 0
            low, high = max(0, low - self.stride), low
        while high - low > 1:
            middle = (low + high) // 2
            if reached(middle):
                high = middle
            else:
                low = middle
        return high

    # -- after the last launch ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Find when those that merge have met, and which one of them goes on."""
        end, goes_on = self.series.n_steps, list(range(len(self.tracks)))
        for s, first, second in self.merges:
            i, j = goes_on[first], goes_on[second]
            a, b = self.tracks[i], self.tracks[j]
            begin = max(a.begin, b.begin)
            gaps = np.max(np.abs(a.path[begin - a.launch :] - b.path[begin - b.launch :]), axis=1)
            level = float(np.median(gaps[: max(1, s - begin + 1)]))
            if level < 10.0 * _KNOWN * self.scale:
                # They met before both were known.
                a.end, a.merged_into, goes_on[first] = a.begin, -1, j
                continue
            met = begin + int(np.flatnonzero(gaps >= _MET * level)[-1]) + 1
            if met > end:
                continue
            usual = np.flatnonzero(gaps[: met - begin + 1] >= 0.99 * level)
            since = begin + int(usual[-1]) if len(usual) else begin
            # The one that has moved less is where both are.
            way = [float(np.linalg.norm(t.at(since) - t.at(met))) for t in (a, b)]
            lost, kept = (i, j) if way[1] <= way[0] else (j, i)
            ended = self.tracks[lost]
            ended.end, ended.since, ended.merged_into = met, since, kept
            goes_on[first] = goes_on[second] = kept
        for track in self.tracks:
            n_times = end + 1
            track.curve = np.full((n_times, self.series.n_units), np.nan)
            stop = n_times if track.end is None else track.end + 1
            track.curve[track.begin : stop] = track.path[track.begin - track.launch : stop - track.launch]


def _described(series: Series, track: _Track, number: dict[int, int]) -> DrivenResponse:
    network = series.network
    states = track.curve[np.isfinite(track.curve[:, 0])]
    u = series.u[track.begin : track.begin + len(states) - 1]
    if len(u):
        exponents, intervals = leading_exponents(network, states, u)
    else:
        exponents, intervals = np.array([np.nan]), np.full((1, 2), np.nan)
    output = None if network.readout is None else network.output(states).mean(axis=0)
    return DrivenResponse(
        track.born, track.begin, track.end, None if track.merged_into is None else number[track.merged_into],
        states, output, float(exponents[0]), (float(intervals[0, 0]), float(intervals[0, 1])), track.share,
    )  # fmt: skip


def _too_many(finder: _Finder, s: int) -> str:
    """Return why so many trajectories are left: they part for good, or they have not come together yet."""
    series, end = finder.series, min(finder.series.n_steps, s + 2 * finder.n_past)
    path = series.run(finder.starts.states[0], s, end)
    exponents, intervals = leading_exponents(series.network, path, series.u[s:end])
    left = f"more than {_MOST} distinct trajectories are left after {finder.n_past} steps"
    if intervals[0, 0] > 0.0:
        return f"{left}: differences grow (chaos), no response attracts"
    slow = "" if exponents[0] >= 0.0 else f" of {exponents[0]:.2g} per step"
    return f"{left}: they have not come together yet, at an exponent{slow}; a longer n_past may tell"


def find_responses(
    series: Series, n_past: int, stride: int, n_starts: int, rng: np.random.Generator, progress: Progress
) -> tuple[tuple[DrivenResponse, ...], tuple[ResponseEvent, ...], list[str]]:
    """Find the responses, teach them to the series, and list their merges and splits and what to note."""
    finder = _Finder(series, n_past, stride, make_starts(series.network, n_starts, rng))
    # The last launch leaves time to see whether what is new stays.
    launches = list(range(0, max(1, series.n_steps - 3 * n_past // 2 + 1), stride))
    for k, s in enumerate(launches):
        finder.launch(s)
        progress("responses", (k + 1) / len(launches))
        if finder.chaotic:
            return (), (), [_too_many(finder, s)]
    finder.settle()
    kept = [q for q, track in enumerate(finder.tracks) if track.merged_into != -1]

    def order(q: int) -> tuple[float, ...]:
        track = finder.tracks[q]
        states = track.curve[np.isfinite(track.curve[:, 0])]
        if series.network.readout is not None:
            states = series.network.output(states)
        return tuple(np.round(states.mean(axis=0), 7).tolist())

    kept.sort(key=order)
    number = {q: k for k, q in enumerate(kept)}
    tracks = [finder.tracks[q] for q in kept]
    merges = [
        (t.end, k, number[t.merged_into])
        for k, t in enumerate(tracks) if t.end is not None and t.merged_into is not None
    ]  # fmt: skip
    curves = np.full((series.n_steps + 1, len(tracks), series.n_units), np.nan)
    for k, track in enumerate(tracks):
        curves[:, k] = track.curve
    series.set_responses(curves, merges)
    events = [
        ResponseEvent("merge", time, tracks[k].since or 0, k, into) for time, k, into in merges
    ]  # fmt: skip
    for k, track in enumerate(tracks):
        if track.launch > 0:
            gaps = np.max(np.abs(curves[track.begin] - curves[track.begin, k]), axis=1)
            gaps[k] = np.nan
            other = -1 if np.all(np.isnan(gaps)) else int(np.nanargmin(gaps))
            events.append(ResponseEvent("split", track.born, track.begin, k, other))
    if not tracks:
        finder.notes.append(
            _too_many(finder, 0) if finder.crowded > _MOST
            else "no trajectory attracts its neighbours over the past that was asked for"
        )  # fmt: skip
    elif (unmet := float(np.mean(finder.unmet))) > _UNMET:
        finder.notes.append(
            f"{100.0 * unmet:.0f} % of the random starts reach none of these responses within n_past = "
            f"{n_past} steps: some that attract slowly, or from little, may be missing; "
            "a longer n_past may tell"
        )
    responses = tuple(_described(series, track, number) for track in tracks)
    return responses, tuple(sorted(events, key=lambda e: (e.time, e.kind))), finder.notes
