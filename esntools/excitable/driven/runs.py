"""How long runs stay with a response."""

from __future__ import annotations

import itertools

import numpy as np

from esntools._typing import FloatArray, IntArray
from esntools.excitable.driven.results import Dwell
from esntools.excitable.driven.series import Series

__all__ = ["dwells_of"]


def _stretches(labels: IntArray, run: int) -> list[Dwell]:
    edges = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1, [len(labels)]])
    return [
        Dwell(run, int(labels[a]), int(a), int(b - a)) for a, b in itertools.pairwise(edges)
    ]  # fmt: skip


def dwells_of(series: Series, starts: FloatArray | None, recorded: FloatArray | None) -> tuple[Dwell, ...]:
    """Return the stretches of runs from the starts at time 0, then of the recorded run."""
    runs = []
    if starts is not None:
        zero = np.zeros(len(starts), dtype=np.intp)
        states = np.concatenate([starts[None], series.states(starts, zero, series.n_steps)])
        runs = [states[:, r] for r in range(len(starts))]
    if recorded is not None:
        runs.append(recorded)
    times = np.arange(series.n_steps, dtype=np.intp)
    return tuple(
        dwell for r, states in enumerate(runs) for dwell in _stretches(series.label(states[:-1], times), r)
    )
