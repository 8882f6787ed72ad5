"""A recorded input with the responses to it: states that start at any of its times, moved on and labelled."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray, no_progress
from esntools.basins.runs import fastest_form
from esntools.network import EchoStateNetwork
from esntools.simulation.stepping import advance_batch, batch_threads, kernel_parts

__all__ = ["Series"]

#: Steps between two looks at which response a state is near.
_STRIDE: Final = 16
#: A state belongs to a response when it is so much nearer to it than the next response is.
_SURE: Final = 1e-2
_ROWS: Final = 4096


class Series:
    """The network under the recorded input; `responses` gives the labels a meaning.

    Attributes
    ----------
    curves : ndarray, shape (n_steps + 1, n_responses, n_units)
        The responses; NaN at times at which one is not known or has ended.
    """

    def __init__(self, network: EchoStateNetwork, u: FloatArray) -> None:
        self.network, self.u = fastest_form(network), u
        self.n_steps, self.n_units = len(u), network.n_units
        self.parts: Any = kernel_parts(self.network, batched=True)
        self.curves: FloatArray = np.full((len(u) + 1, 0, self.n_units), np.nan)
        self.scale = 1.0
        self._apart: FloatArray = np.zeros((len(u) + 1, 0))
        self._mixed: IntArray = np.zeros((len(u) + 1, 0), dtype=np.intp)

    def set_responses(self, curves: FloatArray, merges: list[tuple[int, int, int]]) -> None:
        """Take the responses, and (time, the one that ends, the one that stays) of their merges."""
        self.curves = curves
        n_times, K = curves.shape[:2]
        known = curves[np.isfinite(curves)]
        self.scale = max(1.0, float(np.max(np.abs(known)))) if len(known) else 1.0
        apart = np.full((n_times, K), np.inf)
        for i in range(K):
            for j in range(i):
                gaps = np.max(np.abs(curves[:, i] - curves[:, j]), axis=1)
                gaps = np.where(np.isnan(gaps), np.inf, gaps)
                apart[:, i] = np.minimum(apart[:, i], gaps)
                apart[:, j] = np.minimum(apart[:, j], gaps)
        # One response alone: as far as two are from each other at other times.
        seen = apart[np.isfinite(apart)]
        self._apart = np.where(np.isfinite(apart), apart, float(np.median(seen)) if len(seen) else self.scale)
        self._mixed = np.full((n_times, K), -1, dtype=np.intp)
        for time, _, kept in sorted(merges):
            self._mixed[time:, kept] = time

    # -- moving states ---------------------------------------------------------------------------------------

    def _inputs(self, t: IntArray, n_steps: int) -> FloatArray:
        """Return the inputs (n_steps, n_rows, n_inputs) of rows at the times t; past the end the last one."""
        return np.ascontiguousarray(
            self.u[np.minimum(t[None, :] + np.arange(n_steps)[:, None], len(self.u) - 1)]
        )

    def advance(self, X: FloatArray, t: IntArray, n_steps: int) -> FloatArray:
        """Return the states (n_rows, n_units) n_steps after the times t."""
        X = np.array(X, order="C")
        # States that escape become infinite; whoever asked looks.
        with batch_threads(self.network, len(X)), np.errstate(all="ignore"):
            advance_batch(self.network, self.parts, self._inputs(t, n_steps), X, None, no_progress)
        return X

    def states(self, X: FloatArray, t: IntArray, n_steps: int) -> FloatArray:
        """Return the n_steps states after X, shape (n_steps, n_rows, n_units)."""
        X = np.array(X, order="C")
        out = np.empty((n_steps, *X.shape))
        # States that escape become infinite; whoever asked looks.
        with batch_threads(self.network, len(X)), np.errstate(all="ignore"):
            advance_batch(self.network, self.parts, self._inputs(t, n_steps), X, out, no_progress)
        return out

    def run(self, x: FloatArray, t: int, end: int) -> FloatArray:
        """Return the states of one run from x at time t to time `end`, both included."""
        if end == t:
            return np.array(x[None])
        return np.concatenate([x[None], self.states(x[None], np.array([t]), end - t)[:, 0]])

    # -- labels -------------------------------------------------------------------------------------------

    def label(self, X: FloatArray, t: IntArray) -> IntArray:
        """Return which response every row, a state at the time t of the row, approaches; -1 for none.

        A state that has not yet chosen between two responses when they merge goes to neither.
        """
        labels = np.full(len(X), -1, dtype=np.intp)
        if self.curves.shape[1] == 0:
            return labels
        for first in range(0, len(X), _ROWS):
            part = slice(first, first + _ROWS)
            labels[part] = self._label(X[part], t[part])
        return labels

    def _label(self, X: FloatArray, start: IntArray) -> IntArray:
        labels = np.full(len(X), -1, dtype=np.intp)
        rows, t = np.arange(len(X)), start.copy()
        while len(rows):
            inside = (t + _STRIDE <= self.n_steps) & (np.abs(X).max(axis=1) < 1e9)
            rows, X, t = rows[inside], X[inside], t[inside]
            if len(rows) == 0:
                break
            X = self.advance(X, t, _STRIDE)
            t = t + _STRIDE
            near, sure = self.nearest(X, t)
            mixed = self._mixed[t, near] > start[rows]
            labels[rows[sure & ~mixed]] = near[sure & ~mixed]
            rows, X, t = rows[~sure], X[~sure], t[~sure]
        return labels

    def nearest(self, X: FloatArray, t: IntArray) -> tuple[IntArray, BoolArray]:
        """Return the nearest response to every state, and whether it is much nearer than any other."""
        gap = np.full((len(X), self.curves.shape[1]), np.inf)
        for k in range(gap.shape[1]):
            column = np.max(np.abs(X - self.curves[t, k]), axis=1)
            gap[:, k] = np.where(np.isnan(column), np.inf, column)
        near = np.argmin(gap, axis=1)
        rows = np.arange(len(X))
        return near, np.asarray(gap[rows, near] < _SURE * self._apart[t, near])
