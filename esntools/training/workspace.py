"""One fitting problem: the states of a reservoir along the data, and which rows fit, judge and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork
from esntools.simulation import drive
from esntools.training.ridge import Blocks, Decomposition
from esntools.training.search import horizon_weights, window_errors

__all__ = ["Driven", "Rows", "Workspace"]

#: (piece, start, stop), several of them.
Rows: TypeAlias = list[tuple[int, int, int]]

_CHUNK: Final = 4096
_STORE_BYTES: Final = 500_000_000
# A training part of at most so many rows is also fitted to its first halves, say, and judged on what follows.
_MANY_ROWS, _FOLDS, _FOLD = 1500, (0.4, 0.6, 0.8), 0.2


class Driven:
    """The states of one reservoir along every piece: stored when they fit, else computed again."""

    def __init__(self, network: EchoStateNetwork, inputs: list[FloatArray]) -> None:
        self.network = network
        self._inputs = inputs
        total = sum(len(piece) for piece in inputs) * network.n_units * 8
        self._stored = [drive(network, piece).states for piece in inputs] if total <= _STORE_BYTES else None

    def chunks(self, piece: int, stop: int) -> Iterator[tuple[int, FloatArray]]:
        """Yield (first row, states) until `stop`."""
        x: FloatArray | None = None
        for k in range(0, stop, _CHUNK):
            end = min(k + _CHUNK, stop)
            if self._stored is not None:
                yield k, self._stored[piece][k:end]
                continue
            states = drive(self.network, self._inputs[piece][k:end], x).states
            x = states[-1]
            yield k, states

    def at(self, rows: list[tuple[int, int]]) -> FloatArray:
        """Return the states after the given (piece, row)s, shape (len(rows), n_units)."""
        found = np.empty((len(rows), self.network.n_units))
        for piece in {piece for piece, _ in rows}:
            mine = [(k, i) for i, (other, k) in enumerate(rows) if other == piece]
            for start, states in self.chunks(piece, max(k for k, _ in mine) + 1):
                for k, i in mine:
                    if start <= k < start + len(states):
                        found[i] = states[k - start]
        return found


@final
@dataclass(frozen=True, eq=False)
class Workspace:
    """One fitting problem in scaled units.

    Attributes
    ----------
    inputs, targets : list of array
        What drives the reservoir, and what its state after input k should say; targets may be shorter.
    main, train_end, validation_end : int
        The piece whose tail is held back: rows [train_end, validation_end) judge, later ones test.
    washout : int
    horizon : int
        Steps of a free run.
    period : float
        Mean period of the series in steps.
    closed : bool
        Whether the inputs are the network's own predictions, one step late: the score is then of free runs.
    squares : bool
        Features x and x*x instead of x.
    """

    inputs: list[FloatArray]
    targets: list[FloatArray]
    main: int
    train_end: int
    validation_end: int
    washout: int
    horizon: int
    period: float
    closed: bool
    squares: bool

    @property
    def n_outputs(self) -> int:
        return int(self.targets[0].shape[1])

    def ranges(self, part: str) -> Rows:
        """Return (piece, start, stop) rows of "train", "validation", "fit" (both), "test" or "all"."""
        ends = {"train": self.train_end, "fit": self.validation_end, "all": len(self.targets[self.main])}
        if part == "validation":
            return [(self.main, self.train_end, self.validation_end)]
        if part == "test":
            return [(self.main, self.validation_end, len(self.targets[self.main]))]
        return [
            (i, self.washout, ends[part] if i == self.main else len(target))
            for i, target in enumerate(self.targets)
        ]

    def folds(self) -> list[tuple[Rows, Rows]]:
        """Return (rows fitted, later rows judged): several in a short series, else one."""
        found = [(self.ranges("train"), self.ranges("validation"))]
        if sum(stop - start for _, start, stop in self.ranges("train")) > _MANY_ROWS:
            return found
        for share in _FOLDS:
            fitted, judged = [], []
            for piece, start, stop in self.ranges("train"):
                middle, end = (start + round(f * (stop - start)) for f in (share, share + _FOLD))
                fitted.append((piece, start, middle))
                judged.append((piece, middle, end))
            if all(sum(stop - start for _, start, stop in part) >= 10 for part in (fitted, judged)):
                found.append((fitted, judged))
        return found

    def blocks(self, driven: Driven, part: str | Rows, at_most: int | None = None) -> Blocks:
        """Return the rows of a part as features and targets, the first `at_most` of them."""
        ranges = self.ranges(part) if isinstance(part, str) else part

        def rows() -> Iterator[tuple[FloatArray, FloatArray]]:
            left = at_most
            for piece, start, stop in ranges:
                if left is not None:
                    stop = min(stop, start + left)
                    left -= max(stop - start, 0)
                for k, states in driven.chunks(piece, stop):
                    states = states[max(start - k, 0) :]
                    if len(states):
                        first = max(start, k)
                        yield self.features(states), self.targets[piece][first : first + len(states)]

        return rows

    def features(self, states: FloatArray) -> FloatArray:
        return np.hstack([states, states * states]) if self.squares else states

    def windows(self, n_recycled: int, n_fresh: int) -> list[tuple[int, int]]:
        """Return starts (piece, row): evenly over the rows fitted, and over those held back for judging."""
        h = self.horizon
        inside = [
            (piece, k) for piece, start, stop in self.ranges("train") for k in range(start, stop - h + 1)
        ]
        picks = np.unique(np.linspace(0, max(len(inside) - 1, 0), n_recycled).round().astype(int))
        last = max(self.train_end, self.validation_end - h)
        fresh = np.unique(np.linspace(self.train_end, last, n_fresh).round().astype(int))
        return [inside[i] for i in picks if inside] + [(self.main, int(k)) for k in fresh]

    def truths(self, starts: list[tuple[int, int]], n_steps: int) -> FloatArray:
        """Return what should follow each start, shape (n_steps, n_starts, n_outputs)."""
        return np.stack([self.targets[piece][k : k + n_steps] for piece, k in starts], axis=1)

    def scores(
        self, driven: Driven, q: Decomposition, penalties: FloatArray, starts: list[tuple[int, int]]
    ) -> FloatArray:
        """Return the score of each penalty: of free runs, or the validation error of an open loop."""
        weights = q.weights(penalties)
        intercepts = q.intercepts(weights)
        if self.closed:
            steps = min(self.horizon, *(len(self.targets[piece]) - k for piece, k in starts))
            errors = window_errors(
                driven.network, driven.at(starts), self.truths(starts, steps), weights, intercepts
            )
            return np.asarray((errors @ horizon_weights(steps, self.period)).mean(axis=1))
        return np.sqrt(self.ahead(driven, q, penalties, self.ranges("validation")))

    def ahead(self, driven: Driven, q: Decomposition, penalties: FloatArray, rows: Rows) -> FloatArray:
        """Return the mean square of one-step errors over some rows, for each penalty."""
        weights = q.weights(penalties)
        intercepts = q.intercepts(weights)
        total, n = np.zeros(len(penalties)), 0
        for F, Y in self.blocks(driven, rows)():
            residual = Y[None] - (F @ weights.transpose(0, 2, 1) + intercepts[:, None, :])
            total += np.sum(np.mean(residual**2, axis=2), axis=1)
            n += len(F)
        return np.asarray(total / max(n, 1))
