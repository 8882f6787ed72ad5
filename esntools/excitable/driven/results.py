"""What `nonautonomous_network` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

import networkx as nx
import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray

__all__ = [
    "DrivenResponse", "DrivenThreshold", "Dwell", "NonautonomousNetwork", "NonautonomousSaddle",
    "ResponseEvent",
]  # fmt: skip


@final
@dataclass(frozen=True, eq=False, repr=False)
class DrivenResponse:
    """A local point attractor along the series: a solution that neighbours converge to.

    Attributes
    ----------
    born : int
        The earliest time from which some start in the box of states was seen to reach it; 0 where that is the
        beginning of the series.
    begin : int
        The first time at which it is known (to a millionth): the time of ``states[0]``.
    end : int or None
        The time at which it has merged into another; None where it lasts to the end of the series.
    merged_into : int or None
    states : ndarray, shape (n_times, n_units)
        From `begin` to `end` (or to the end of the series), both included.
    output : ndarray or None
        Mean of the outputs.
    exponent : float
        Leading conditional Lyapunov exponent, in 1/step.
    interval : tuple of float
        Its 95 % interval, from 20 batch means.
    share : float
        Share of the independent uniform starts, at the time of its launch, that reached it.
    """

    born: int
    begin: int
    end: int | None
    merged_into: int | None
    states: FloatArray
    output: FloatArray | None
    exponent: float
    interval: tuple[float, float]
    share: float

    def __repr__(self) -> str:
        end = "on" if self.end is None else str(self.end)
        return f"DrivenResponse({self.begin} to {end}, exponent={self.exponent:.4g}, share={self.share:.3g})"

    @property
    def lifetime(self) -> int:
        """Steps for which it is known."""
        return len(self.states) - 1


@final
@dataclass(frozen=True, eq=False, repr=False)
class NonautonomousSaddle:
    """A solution on the boundary between two responses, repelling across it.

    Attributes
    ----------
    between : tuple of int
        The responses that two states, on both sides and less than 1e-8 apart, were seen to approach.
    begin : int
        The time of ``states[0]``. It is followed until labels can no longer be told.
    states : ndarray, shape (n_times, n_units)
    normals : ndarray, shape (n_times, n_units)
        Unit normals of the boundary, carried back along it; the last ones have not yet turned the right way.
    exponents, intervals : ndarray, shape (k,) and (k, 2)
        The one or two leading conditional exponents with 95 % intervals: the first is positive, and the
        second negative where the solution attracts within the boundary.
    """

    between: tuple[int, int]
    begin: int
    states: FloatArray
    normals: FloatArray
    exponents: FloatArray
    intervals: FloatArray

    def __repr__(self) -> str:
        return (
            f"NonautonomousSaddle({self.between[0]} | {self.between[1]}, "
            f"{self.begin} to {self.begin + len(self.states) - 1}, exponent={self.exponents[0]:.4g})"
        )


@final
@dataclass(frozen=True, eq=False)
class ResponseEvent:
    """Two responses became one, or a new one appeared beside another.

    Attributes
    ----------
    kind : {"merge", "split"}
    time : int
        Merge: from then on the two are closer than a hundredth of their usual (median) distance. Split: the
        earliest time from which a state of the box reaches the new response.
    since : int
        Merge: the last time at which their distance was the usual one. Split: the time from which the new
        response is known.
    response : int
        The one that ends, or that is new.
    other : int
        The one that stays; for a split the nearest one at the time `since`, -1 where there is none.
    """

    kind: Literal["merge", "split"]
    time: int
    since: int
    response: int
    other: int


@final
@dataclass(frozen=True, eq=False, repr=False)
class DrivenThreshold:
    """The smallest kick found from one response to another, at each of the sampled times.

    Attributes
    ----------
    source, target : int
    times : ndarray of int, shape (n_times,)
    sizes : ndarray, shape (n_times,)
        2-norm of the kick, or amplitude of the pulse; NaN where no such kick was found.
    kicks : ndarray, shape (n_times, n_units) or (n_times, n_inputs)
        The witnesses: added to the state at that time, or to the input that comes next.
    pulse : ndarray of int, shape (n_times,)
        The row of `pulses`, for inputs; -1 otherwise.
    checked : ndarray of bool, shape (n_times,)
        Replayed under the true future input: 1.001 times the kick goes to the target, 0.999 times does not.
    alignment : ndarray, shape (n_times,)
        Cosine between kick and normal of the boundary (its part in the subspace); NaN for inputs.
    """

    source: int
    target: int
    times: IntArray
    sizes: FloatArray
    kicks: FloatArray
    pulse: IntArray
    checked: BoolArray
    alignment: FloatArray

    def __repr__(self) -> str:
        return f"DrivenThreshold({self.source} -> {self.target}, minimum {self.minimum:.6g} at {self.at})"

    @property
    def best(self) -> int:
        """The place of the least size in `times`, among the checked ones where there are any."""
        sizes = np.where(self.checked, self.sizes, np.nan) if self.checked.any() else self.sizes
        return int(np.nanargmin(sizes))

    @property
    def minimum(self) -> float:
        """The least over the sampled times."""
        return float(self.sizes[self.best])

    @property
    def at(self) -> int:
        """When it is least."""
        return int(self.times[self.best])

    @property
    def kick(self) -> FloatArray:
        """The witness of the least."""
        return np.asarray(self.kicks[self.best])


@final
@dataclass(frozen=True, eq=False)
class Dwell:
    """A stretch of a run that stays with one response.

    Attributes
    ----------
    run : int
    response : int
        -1 where the run approaches none before the series ends or responses merge.
    start : int
    length : int
        Steps.
    """

    run: int
    response: int
    start: int
    length: int


@final
@dataclass(frozen=True, eq=False, repr=False)
class NonautonomousNetwork:
    """The excitable network along an input: responses, saddles between them, thresholds, events, dwells.

    Attributes
    ----------
    responses : tuple of DrivenResponse
        Sorted by mean output (by mean state where there is no readout).
    saddles : tuple of NonautonomousSaddle
    events : tuple of ResponseEvent
        By time.
    thresholds : tuple of DrivenThreshold
        One for every ordered pair for which a kick was found at some time.
    times : ndarray of int
        Sampled for thresholds; time k is that of the state before ``u[k]`` is applied.
    metric : {"state", "subspace", "input"}
    dwells : tuple of Dwell
        Of the runs that were given.
    n_past : int
        Steps from the starts to the time at which responses are counted.
    inputs : ndarray, shape (n_steps, n_inputs)
    graph : networkx.DiGraph
        Nodes are the responses; edges the pairs that have a threshold, with its minimum over the sampled
        times (`threshold`), `at`, and the whole series (`times`, `series`).
    note : str
        What a reader of the numbers must know; empty where there is nothing.
    """

    responses: tuple[DrivenResponse, ...]
    saddles: tuple[NonautonomousSaddle, ...]
    events: tuple[ResponseEvent, ...]
    thresholds: tuple[DrivenThreshold, ...]
    times: IntArray = field(repr=False)
    metric: Literal["state", "subspace", "input"]
    dwells: tuple[Dwell, ...]
    n_past: int
    inputs: FloatArray = field(repr=False)
    graph: nx.DiGraph = field(repr=False)
    note: str

    def __repr__(self) -> str:
        merges = sum(e.kind == "merge" for e in self.events)
        return (
            f"NonautonomousNetwork({len(self.responses)} responses, {len(self.saddles)} saddles, "
            f"{len(self.thresholds)} thresholds, {merges} merges, {len(self.events) - merges} splits)"
        )

    def threshold(self, source: int, target: int) -> DrivenThreshold | None:
        """Return the threshold of a pair, or None."""
        return next((t for t in self.thresholds if (t.source, t.target) == (source, target)), None)
