"""`estimate_echo_index`: how many responses an input supports, with what is proved about it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import seeded
from esntools.certificates.documents import checked_budget
from esntools.echo_index.basins import basins_at_zero
from esntools.echo_index.bounds import ProvedBounds, proved_bounds
from esntools.echo_index.laws import EchoInput, PeriodicInput, SwitchingInput, realisation
from esntools.echo_index.responses import (
    Pullback,
    closest_pair,
    leading_exponents,
    make_starts,
    pullback,
    track_boundary,
    trajectories,
)
from esntools.echo_index.results import Boundary, EchoIndex, Response
from esntools.errors import InvalidInputError
from esntools.inputs import Constant, InputAlphabet, InputBox, InputSignal, Zero
from esntools.network import EchoStateNetwork
from esntools.simulation import final_state
from esntools.threads import one_blas_thread

__all__ = ["estimate_echo_index"]

_FIRST: Final = 64
#: More responses than this are not followed one by one: trajectories then do not converge.
_MOST: Final = 32
#: Steps over which exponents are averaged, at most, and steps after time 0 that are known.
_FOLLOWED: Final = 2000
_AHEAD: Final = 1000
_LINES: Final = 24
_PROVING: Final = 0.5


def _checked(network: EchoStateNetwork, inputs: Any, counts: dict[str, int]) -> EchoInput:
    if not isinstance(network, EchoStateNetwork):
        raise InvalidInputError(
            "network", type(network).__name__, "must be an EchoStateNetwork",
            "convert a ReservoirPy model by from_reservoirpy",
        )  # fmt: skip
    for name, value in counts.items():
        least = 8 if name == "n_starts" else 1
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InvalidInputError(name, repr(value), f"must be an integer >= {least}")
    kinds = Zero | Constant | InputSignal | InputBox | InputAlphabet | PeriodicInput | SwitchingInput
    if isinstance(inputs, kinds):
        asked: EchoInput = inputs
    elif inputs is None or hasattr(inputs, "to_document"):
        raise InvalidInputError(
            "inputs", type(inputs).__name__, "the echo index belongs to an input",
            "give a series, Zero(), Constant, PeriodicInput, InputBox, InputAlphabet or SwitchingInput",
        )  # fmt: skip
    else:
        asked = InputSignal(inputs)
    if isinstance(asked, InputBox):
        wide = len(asked.low)
        if wide not in (1, network.n_inputs):
            n = network.n_inputs
            raise InvalidInputError("inputs", f"{wide} components", f"the network has {n} inputs")
        asked = InputBox(*(np.broadcast_to(e, (network.n_inputs,)) for e in (asked.low, asked.high)))
    if isinstance(asked, InputSignal) and len(asked.u) < 8:
        raise InvalidInputError(
            "inputs", f"a series of {len(asked.u)} steps", "a past needs at least 8",
            "repeat it for ever with PeriodicInput",
        )  # fmt: skip
    return asked


@final
@dataclass(frozen=True, eq=False)
class _Found:
    """The outcome of the pullbacks."""

    last: Pullback
    starts: FloatArray
    counts: tuple[tuple[int, int], ...]
    stable: bool
    cut: bool


def _pasts(longest: int) -> list[int]:
    pasts = [_FIRST * 2**k for k in range(40) if _FIRST * 2**k < longest]
    if len(pasts) < 3:
        pasts = sorted({max(1, longest // 4), max(1, longest // 2)} | set(pasts))
    return [*(p for p in pasts if p < longest), longest]


def _search(
    network: EchoStateNetwork,
    past: FloatArray,
    n_starts: int,
    rng: np.random.Generator,
    deadline: float,
    progress: Progress,
) -> _Found:
    starts = make_starts(network, n_starts, rng).states
    counts: list[tuple[int, int]] = []
    pasts, cut = _pasts(len(past)), False
    last: Pullback | None = None
    searched = False
    for k, steps in enumerate(pasts):
        progress("pullback", 0.5 * k / len(pasts))
        last = pullback(network, past[len(past) - steps :], starts)
        counts.append((steps, last.count))
        settled = len(counts) >= 3 and len({c for _, c in counts[-3:]}) == 1 and last.unsettled == 0
        # One response only stays one; several may still be a long transient.
        if settled and last.count == 1:
            break
        if 2 <= last.count <= 6 and not searched:
            searched = True
            # What lies between two responses may belong to a third.
            x = np.array([last.states[last.group == g][0] for g in range(last.count)])
            between = [
                x[i] + s * (x[j] - x[i])
                for i in range(len(x)) for j in range(i) for s in np.linspace(0.0, 1.0, 18)[1:-1]
            ]  # fmt: skip
            starts = np.concatenate([starts, between])
        if time.perf_counter() > deadline and k + 1 < len(pasts):
            cut = True
            break
        if last.count > 2 * _MOST and k >= 2 and _grows(network, past, last):
            break
    assert last is not None
    tail = [c for _, c in counts[-3:]]
    stable = len(tail) >= min(3, len(pasts)) and len(set(tail)) == 1 and last.unsettled == 0
    return _Found(last, starts, tuple(counts), stable, cut)


def _grows(network: EchoStateNetwork, past: FloatArray, last: Pullback) -> bool:
    """Return whether differences certainly grow along a trajectory: then it never meets the others."""
    u = past[-512:]
    states = trajectories(network, u, last.states[:1])[:, 0]
    _, interval = leading_exponents(network, states, u)
    return bool(interval[0, 0] > 0.0)


def _wilson(count: int, n: int) -> tuple[float, float]:
    z = float(scipy.stats.norm.ppf(0.975))
    centre = (count + 0.5 * z * z) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(count * (n - count) / n + 0.25 * z * z)
    return max(0.0, centre - half), min(1.0, centre + half)


@one_blas_thread
def estimate_echo_index(
    network: EchoStateNetwork,
    inputs: EchoInput | ArrayLike,
    *,
    n_starts: int = 256,
    max_past: int = 4096,
    window: int = 200,
    resolution: int | None = None,
    prove: bool = True,
    budget: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> EchoIndex:
    r"""Count the attracting responses that an input supports, and prove ends of their number where possible.

    A response is a solution :math:`x_k`, defined for all times, that attracts a set of states of positive
    measure uniformly; the echo index n is their number when together they attract almost all states. n = 1
    generalises the echo state property.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : array_like or input class
        A recorded series, shape (n_steps, n_inputs); or ``Zero()``, ``Constant``, `PeriodicInput` (exactly
        these inputs), ``InputBox``, ``InputAlphabet`` (proofs are about every sequence of them; the estimate
        about one realisation of independent uniform values) or `SwitchingInput`.
    n_starts : int
        Independent uniform initial states; others, space-filling and adversarial, come on top. Default 256.
    max_past : int
        The longest past, in steps. Default 4096.
    window : int
        Steps before and after time 0 that are returned. Default 200.
    resolution : int, optional
        Points along each side of the picture of basins; 81 up to 20 units, 41 up to 300, else none.
    prove : bool
        Whether to look for proofs. Default True.
    budget : float, optional
        Seconds; unlimited by default. Half of them go to proofs.
    rng : int, numpy.random.Generator or None
        For the starts and the realisation.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    EchoIndex

    Raises
    ------
    InvalidInputError
        When the inputs do not fit the network, or a number is out of range.

    Notes
    -----
    All starts are put at time -T and driven to time 0, for T = 64, 128, ... Trajectories become one when
    they are equal to rounding, or when their distance has been falling at a rate that is certain (99 %) and
    by a factor of ten; no cutoff decides. A finite past overcounts where responses merge only after rare
    inputs, or where states linger at a boundary; `counts` shows the dependence.

    Lower ends: disjoint balls that every input keeps and contracts (`certify_echo_index`). Upper end 1: a
    certified contraction (`certify_esp`). For networks with one deciding coordinate (see `dwell_time_table`)
    both ends are found with outward rounding: contracting intervals that no input leads out of, gaps
    in which all states part until they leave, and the dwell times of switching symbols.

    Examples
    --------
    A unit that remembers a sign, under inputs too weak to flip it:

    >>> network = EchoStateNetwork([[2.0]], W_in=[[1.0]])
    >>> index = estimate_echo_index(network, InputBox(-0.5, 0.5))
    >>> index.verdict, index.lower, index.upper, len(index.responses)
    ('proved', 2, 2, 2)
    >>> estimate_echo_index(network, Constant(0.6)).estimate
    1

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi and C. Postlethwaite, "The echo index and multistability in input-driven
    recurrent neural networks", Physica D 412 (2020) 132609, doi:10.1016/j.physd.2020.132609.
    """
    numbers = {"n_starts": n_starts, "max_past": max_past, "window": window}
    asked = _checked(network, inputs, numbers | ({} if resolution is None else {"resolution": resolution}))
    checked_budget(budget)
    begin = time.perf_counter()
    deadline = math.inf if budget is None else begin + budget
    generator = seeded(rng)
    length = max_past + max(_AHEAD, window)
    u = realisation(asked, network.n_inputs, length, generator)
    recorded = isinstance(asked, InputSignal)
    ahead = min(max(_AHEAD, window), len(u) // 4) if recorded else len(u) - max_past
    past, future = u[: len(u) - ahead], u[len(u) - ahead :]
    share = math.inf if budget is None else begin + (1.0 - _PROVING) * budget
    with np.errstate(over="ignore", invalid="ignore"):
        found = _search(network, past, n_starts, generator, share, progress)
    return _Report(
        network,
        asked,
        found,
        past,
        future,
        n_starts,
        window,
        resolution,
        prove,
        deadline,
        generator,
        progress,
    ).result()


class _Report:
    """From the groups of a pullback to the result."""

    def __init__(
        self,
        network: EchoStateNetwork,
        inputs: EchoInput,
        found: _Found,
        past: FloatArray,
        future: FloatArray,
        n_random: int,
        window: int,
        resolution: int | None,
        prove: bool,
        deadline: float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        self.network, self.inputs, self.found = network, inputs, found
        self.past, self.future, self.n_random, self.window = past, future, n_random, window
        n = network.n_units
        default = 81 if n <= 20 else 41 if n <= 300 else 1
        self.resolution = default if resolution is None else resolution
        self.prove, self.deadline, self.rng, self.progress = prove, deadline, rng, progress
        self.notes: list[str] = []
        self.counted = 0

    def _targets(self) -> tuple[FloatArray, FloatArray, int]:
        """Return the inputs and the responses from some time before 0 on, and how long before."""
        last = self.found.last
        x = self.found.starts[last.first]
        steps = last.past
        followed = min(steps, max(_FOLLOWED, self.window))
        drive_in = self.past[len(self.past) - steps :]
        if steps > followed:
            x = final_state(self.network, drive_in[: steps - followed], x)
        u = np.concatenate([drive_in[steps - followed :], self.future])
        return u, trajectories(self.network, u, x), followed

    def _one_each(self, targets: FloatArray) -> list[list[int]]:
        """Return the groups that are one response, because they meet after time 0, largest share first."""
        last = self.found.last
        if last.count == 0:
            return []
        met = cdist(targets[-1], targets[-1], "chebyshev") < 1e-10 * (
            1.0 + float(np.abs(targets[-1]).max(initial=0.0))
        )
        of = connected_components(met, directed=False)[1]
        groups = [np.flatnonzero(of == k).tolist() for k in range(int(of.max(initial=-1)) + 1)]
        if len(groups) < last.count:
            self.notes.append("some trajectories met after time 0 only; they count as one response")
        # The first of each stands for it: a rare one may have come along the boundary for long.
        groups = [sorted(g, key=lambda k: (-int(np.sum(last.label == k)), k)) for g in groups]
        return sorted(groups, key=lambda g: (-self._starts_in(g), g[0]))

    def _starts_in(self, groups: list[int]) -> int:
        return int(np.sum(np.isin(self.found.last.label[: self.n_random], groups)))

    def result(self) -> EchoIndex:
        found, last = self.found, self.found.last
        self.progress("responses", 0.5)
        if last.count:
            u, targets, followed = self._targets()
        else:
            u, targets, followed = self.future, np.zeros((len(self.future) + 1, 0, self.network.n_units)), 0
        groups = self._one_each(targets)
        self.counted = len(groups)
        many = len(groups) > _MOST
        groups = groups[: 2 if many else None]
        targets = targets[:, [g[0] for g in groups]]
        before = min(self.window, followed)
        # The stretch before the window settles: exponents are taken over all that was followed.
        shown = slice(followed - before, followed + min(self.window, len(self.future)) + 1)
        responses, repelling = [], list[int]()
        for k, group in enumerate(groups):
            exponents, intervals = leading_exponents(self.network, targets[:, k], u)
            low, high = (float(v) for v in intervals[0])
            if low > 0.0 and not many:
                # Such a trajectory was started on a boundary exactly, by symmetry as a rule.
                repelling.append(k)
            starts = self._starts_in(group)
            part, interval = starts / self.n_random, _wilson(starts, self.n_random)
            responses.append(
                Response(targets[shown, k], float(exponents[0]), (low, high), high < 0.0, part, interval)
            )
        if 0 < len(repelling) < len(responses):
            several = "a repelling trajectory was" if len(repelling) == 1 else "repelling trajectories were"
            self.notes.append(f"{several} met and left out")
            keep = [k for k in range(len(responses)) if k not in repelling]
            responses, targets = [responses[k] for k in keep], targets[:, keep]
            self.counted = len(keep)
        bounds = ProvedBounds(0, None, None, (), ())
        if self.prove and time.perf_counter() < self.deadline:
            self.progress("proving", 0.6)
            points = [] if many or not responses else list(targets[followed])
            bounds = proved_bounds(self.network, self.inputs, points=points, deadline=self.deadline)
        boundary, basins = None, None
        lines, joined = np.zeros((0, 0)), np.zeros(0, dtype=np.intp)
        if responses and not many:
            lines, joined = self._lines(u[shown.start : shown.stop - 1], targets[shown])
        if len(responses) > 1 and not many and time.perf_counter() < self.deadline:
            self.progress("boundary", 0.8)
            boundary = self._boundary(u, targets, shown, [r.share for r in responses])
            basins = basins_at_zero(self.network, self.future, targets[followed:], self.resolution)
        self.progress("echo index", 1.0)
        estimate, verdict, sentence, missed = self._conclusion(bounds, responses, many)
        return EchoIndex(
            bounds.lower, bounds.upper, bounds.almost_sure, estimate, verdict, sentence, tuple(responses),
            boundary, found.counts, found.stable, last.past, self.n_random, missed,
            np.arange(shown.start - followed, shown.stop - followed), u[shown.start : shown.stop - 1],
            lines, joined, basins, bounds.reasons, bounds.documents, "; ".join(dict.fromkeys(self.notes)),
        )  # fmt: skip

    def _lines(self, u: FloatArray, targets: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return the distances of random starts, at the first time shown, to the response each joins."""
        x = make_starts(self.network, _LINES, self.rng).states[:_LINES]
        path = trajectories(self.network, u, x)
        gaps = np.abs(path[:, :, None, :] - targets[:, None, :, :]).max(axis=3)
        joined = gaps[-1].argmin(axis=1)
        return gaps[:, np.arange(len(x)), joined], joined.astype(np.intp)

    def _boundary(
        self, u: FloatArray, targets: FloatArray, shown: slice, shares: list[float]
    ) -> Boundary | None:
        pair = closest_pair(targets[0], shares)
        states = track_boundary(self.network, u, targets, pair)
        if states is None or len(states) <= shown.start + 20:
            self.notes.append("the boundary solution could not be followed")
            return None
        k = min(2, self.network.n_units)
        exponents, intervals = leading_exponents(self.network, states, u[: len(states) - 1], k)
        return Boundary(states[shown.start : shown.stop], pair, exponents, intervals)

    # -- what to say ------------------------------------------------------------------------------------

    def _caveats(self, responses: list[Response], many: bool) -> None:
        found, last = self.found, self.found.last
        if last.escaped:
            self.notes.append(f"{last.escaped} of {len(last.label)} starts left every bound")
        if not self.network.activation.bounded:
            self.notes.append("states are not confined: starts are in [-1, 1]")
        if many:
            self.notes.append(
                f"{self.counted} distinct trajectories are left after {last.past} steps: too many to be "
                "responses"
            )
        elif any(not r.attracting for r in responses):
            self.notes.append("the conditional exponent of a response is not certainly negative")
        if last.unsettled:
            self.notes.append(f"{last.unsettled} pairs of trajectories neither met nor kept apart")
        if not found.stable and not many:
            self.notes.append("the count still changed between the last pasts")
        if found.cut:
            self.notes.append("the budget ended the search")

    def _conclusion(
        self, bounds: ProvedBounds, responses: list[Response], many: bool
    ) -> tuple[int | None, Literal["proved", "proved almost surely", "estimated"], str, float]:
        self._caveats(responses, many)
        found = None if many or not responses else sum(r.attracting for r in responses)
        if found == 0:
            found = None
        counted = self.counted
        reasons = "; ".join(bounds.reasons)
        if bounds.upper is not None and bounds.lower == bounds.upper:
            n = bounds.lower
            if counted != n:
                self.notes.append(
                    f"{counted} were counted over {self.found.last.past} steps: a finite past is no proof"
                )
            words = f"Proved: {self._what()} has exactly {_responses(n)} ({reasons})."
            return n, "proved", words, 0.0
        missed = 1.0 - 0.05 ** (1.0 / self.n_random)
        if bounds.almost_sure is not None:
            n = bounds.almost_sure
            if counted != n:
                self.notes.append(
                    f"{counted} were counted over {self.found.last.past} steps: a finite past overcounts "
                    "where responses merge only after rare inputs"
                )
            words = f"Proved: {self._almost_all()} has {_responses(n)} ({reasons})."
            return n, "proved almost surely", words, 0.0
        past = self.found.last.past
        if found is None:
            count = "no echo index was found: " + ("; ".join(self.notes) or "no response attracts")
            words = f"Estimated: {count}."
        else:
            words = (
                f"Estimated: {_responses(found)}, from {self.n_random} random and {self._extra()} other "
                f"starts up to {past} steps before; a response that attracts less than {100 * missed:.2g} % "
                "of the box of states may have been missed (95 % confidence)."
            )
        if bounds.lower > 0 or bounds.upper is not None:
            ends = f"at least {bounds.lower}" + ("" if bounds.upper is None else f", at most {bounds.upper}")
            words += f" Proved: {self._what()} has {ends} ({reasons})."
        if found is not None and found < bounds.lower:
            self.notes.append(f"{found} were found, fewer than the {bounds.lower} proved")
            found = bounds.lower
        return found, "estimated", words, missed

    def _extra(self) -> int:
        return len(self.found.starts) - self.n_random

    def _almost_all(self) -> str:
        match self.inputs:
            case InputBox():
                return "almost every sequence drawn uniformly and independently within these bounds"
            case InputAlphabet():
                return "almost every sequence drawn independently from these symbols"
            case _:
                return "almost every sequence of this law"

    def _what(self) -> str:
        match self.inputs:
            case Zero() | Constant():
                return "this constant input"
            case PeriodicInput():
                return "this periodic input"
            case InputSignal():
                return "every input within the range of this series"
            case InputBox():
                return "every input within these bounds"
            case InputAlphabet():
                return "every sequence of these symbols"
            case _:
                return "every sequence of such runs"


def _responses(n: int) -> str:
    return "one attracting response" if n == 1 else f"{n} attracting responses"
