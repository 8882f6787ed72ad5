"""Why the output of a run is wrong: every wrong stretch is followed back to the step at which it began."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

import networkx as nx
import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray
from esntools.excitable.diagnosis.faults import Fault, name_of
from esntools.excitable.diagnosis.learned import Learned, decode, pulsed
from esntools.excitable.transitions import Transitions
from esntools.network import EchoStateNetwork
from esntools.simulation import drive
from esntools.tasks import AutomatonTask

__all__ = ["CAUSES", "OF_RUN", "ErrorSegment", "Run", "find_segments", "with_counts"]

# States that stand for a chaotic attractor.
_ON_CHAOS: Final = 300
# Steps after which a pulse is tried again, and the causes for which it is.
_WAITS: Final = (*range(1, 17), 20, 24, 32, 40, 48, 64, 96, 128, 192, 256)
_HASTY: Final = ("still relaxing", "split state", "low threshold", "fragile edge")
#: Causes that are no fault of the automaton.
OF_RUN: Final = (
    "still relaxing", "slow output", "wobbling output", "noise", "wrong start", "no attractor",
    "not attributed",
)  # fmt: skip

#: Every cause of a wrong segment.
CAUSES: Final = (
    "missing state", "split state", "spurious attractor", "threshold above the pulse", "wrong edge",
    "fragile edge", "low threshold", *OF_RUN,
)  # fmt: skip


@final
@dataclass(frozen=True)
class ErrorSegment:
    """A stretch of wrong output with one cause; a longer one is cut where another fault takes over.

    Attributes
    ----------
    start, stop : int
        Steps start, ..., stop - 1.
    wanted, given : int
        Task states at the first step: that of the target, and the one that the output is read as.
    cause : str
        One of `CAUSES`.
    step : int
        Where it began to go wrong: the step of the guilty pulse. Earlier than `start` when the output was
        slow to show it.
    symbols : tuple of int
        The pulse at that step, as rows of the task's pulses; none where no pulse came.
    source, target : int or None
        Attractors: the basin before that step and after it. -1 and -2 are none.
    expected : int or None
        Where the same pulse leads from rest at `source`.
    wait : int or None
        Steps from the last one of the pulse before to that step.
    deviation : float or None
        Distance of the state before that step from its attractor (2-norm).
    move : float or None
        How far the pulse moves the attractor's state while it lasts.
    needed : int or None
        After how many steps from the pulse before the same pulse would have led to the right state, and at
        every longer wait tried, up to 256; where from rest it does.
    weak : bool
        Whether the run went from the basin where it belonged over a low threshold: the smallest kick from
        `expected` to `target` is less than half of what is usual.
    fault : int or None
        The position in the faults of the diagnosis.
    """

    start: int
    stop: int
    wanted: int
    given: int
    cause: str
    step: int
    symbols: tuple[int, ...]
    source: int | None
    target: int | None
    expected: int | None = None
    wait: int | None = None
    deviation: float | None = None
    move: float | None = None
    needed: int | None = None
    weak: bool = False
    fault: int | None = None

    @property
    def length(self) -> int:
        return self.stop - self.start


@final
@dataclass(frozen=True, eq=False)
class Run:
    """A run of a network on a task, with everything that finding causes needs."""

    network: EchoStateNetwork
    task: AutomatonTask
    graph: nx.DiGraph
    learned: Learned
    transitions: Transitions
    label: Callable[[FloatArray], IntArray]
    states: FloatArray
    outputs: FloatArray
    x0: FloatArray | None
    decoded: IntArray
    judged: BoolArray
    pulses: list[tuple[int, int]]

    def on(self, attractor: int) -> FloatArray:
        """Return the states of an attractor; some hundreds of one that is no point or cycle."""
        data = self.graph.nodes[list(self.graph.nodes)[attractor]]
        states: FloatArray = np.atleast_2d(np.asarray(data.get("states", data["x"]), dtype=np.float64))
        if data.get("period", 1) is None:
            silence = np.zeros((_ON_CHAOS, self.network.n_inputs))
            states = np.asarray(drive(self.network, silence, states[0]).states)
        return states

    def pulsed(self, x: FloatArray, step: int) -> FloatArray:
        """Return where the pulse that begins at a step takes a state."""
        return pulsed(self.network, x, self.task.u[step], self.task.pulse_length)

    def before(self, step: int) -> FloatArray | None:
        return self.x0 if step == 0 else self.states[step - 1]

    def at_rest(self, attractor: int, step: int) -> FloatArray:
        """Return the state of the attractor that is nearest to the run before a step."""
        states, x = self.on(attractor), self.before(step)
        if x is None:
            return np.asarray(states[0])
        return np.asarray(states[np.argmin(np.linalg.norm(states - x, axis=1))])


def _runs(values: BoolArray) -> list[tuple[int, int]]:
    """Return (start, stop) of every stretch of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    return list(itertools.pairwise([0, *edges.tolist(), len(values)]))


def find_segments(run: Run, faults: list[Fault], low: set[tuple[int, int]]) -> list[ErrorSegment]:
    """Return every stretch of wrong output with its cause."""
    task, learned, labels = run.task, run.learned, run.transitions.labels
    held = np.array([learned.state_of(int(k)) for k in labels])
    right = held == task.path
    wrong = (run.decoded != task.path) & run.judged
    pieces = []
    for begin, end in _runs(right):
        pieces += [
            (begin + a, begin + b, begin) for a, b in _runs(wrong[begin:end]) if wrong[begin + a]
        ]  # fmt: skip
    for place, (start, stop, root) in enumerate(pieces):
        if not right[start] and not learned.holders[task.path[start]]:
            # Whatever went before, this state could not be held: it began when it was asked for.
            asked = start
            while asked > root and task.path[asked - 1] == task.path[start]:
                asked -= 1
            pieces[place] = start, stop, asked
    roots = sorted({root for start, _, root in pieces if not right[start]})
    destinations = _destinations(run, roots)
    segments = []
    for start, stop, root in sorted(pieces):
        if right[start]:
            found = _while_right(run, start, stop)
        else:
            found = _from_root(run, faults, low, destinations, root, start, stop)
        segments.append(found)
    return _with_waits(run, segments)


def _with_waits(run: Run, segments: list[ErrorSegment]) -> list[ErrorSegment]:
    """Add how long the pulse before should have been left alone, by replaying the two."""
    asked: list[int] = []
    rows: list[FloatArray] = []
    for place, s in enumerate(segments):
        right = s.expected is not None and run.learned.state_of(s.expected) == run.task.path[s.step]
        if not (right and s.wait is not None and run.transitions.own and s.cause in _HASTY):
            continue
        x, done = run.states[s.step - s.wait], 1
        for wait in _WAITS:
            for _ in range(wait - done):
                x = run.network.step(x, np.zeros(run.network.n_inputs))
            done = wait
            rows.append(run.pulsed(x, s.step))
        asked.append(place)
    if not asked:
        return segments
    ends = run.label(np.array(rows)).reshape(len(asked), len(_WAITS))
    segments = list(segments)
    for place, labels in zip(asked, ends):
        s = segments[place]
        right_at = [run.learned.state_of(int(k)) == run.task.path[s.step] for k in labels]
        wrong_at = [i for i, ok in enumerate(right_at) if not ok]
        first = wrong_at[-1] + 1 if wrong_at else 0
        if first < len(_WAITS):
            segments[place] = replace(s, needed=_WAITS[first])
    return segments


def _destinations(run: Run, roots: list[int]) -> dict[tuple[int, int], int]:
    """Return where the input at every root leads from rest, at all attractors of the state before."""
    asked: list[tuple[int, int]] = []
    starts: list[FloatArray] = []
    for root in roots:
        a = _label_before(run, root)
        if a < 0 or not np.any(run.task.u[root]):
            continue
        for k in run.learned.holders[run.learned.state_of(a)]:
            asked.append((k, root))
            starts.append(run.pulsed(run.at_rest(k, root), root))
    # The last is the same step of the network from the run's own state: it differs where there is noise.
    for root in roots:
        x = run.before(root)
        if x is not None and not run.transitions.own:
            asked.append((-1, root))
            starts.append(run.pulsed(x, root))
    if not starts:
        return {}
    return dict(zip(asked, (int(k) for k in run.label(np.array(starts)))))


def _label_before(run: Run, step: int) -> int:
    if step > 0:
        return int(run.transitions.labels[step - 1])
    return -2 if run.x0 is None else int(run.label(run.x0[None])[0])


def _wait(run: Run, step: int) -> int | None:
    events = run.transitions.events
    place = int(np.searchsorted(events, step))
    return None if place == 0 else int(step - events[place - 1])


def _while_right(run: Run, start: int, stop: int) -> ErrorSegment:
    """The run is in the right basin; its output is wrong all the same."""
    task, labels = run.task, run.transitions.labels
    begun = [k for k, _ in run.pulses if k <= start]
    step = begun[-1] if begun else 0
    target = int(labels[start])
    source = None if step == 0 else int(labels[step - 1])
    cause = "slow output"
    of_attractor = decode(np.atleast_2d(run.network.output(run.on(target))), task.states)
    if np.any(of_attractor != run.learned.stands_for[target]):
        cause = "wobbling output"
    elif not run.transitions.own:
        x = run.states[step]
        for k in range(step + 1, start + 1):
            x = run.network.step(x, task.u[k])
        if decode(np.atleast_2d(run.network.output(x)), task.states)[0] == task.path[start]:
            cause = "noise"
    return ErrorSegment(
        start, stop, int(task.path[start]), int(run.decoded[start]), cause, step,
        task.parts(task.u[step]) or (), source, target, target, _wait(run, step),
    )  # fmt: skip


def _from_root(
    run: Run,
    faults: list[Fault],
    low: set[tuple[int, int]],
    destinations: dict[tuple[int, int], int],
    root: int,
    start: int,
    stop: int,
) -> ErrorSegment:
    """The run is in a wrong basin since the step `root`."""
    task, learned = run.task, run.learned
    a, b = _label_before(run, root), int(run.transitions.labels[root])
    expected = destinations.get((a, root))
    deviation = move = None
    x = run.before(root)
    if a >= 0 and x is not None:
        rest = run.at_rest(a, root)
        deviation = float(np.linalg.norm(x - rest))
        move = float(np.linalg.norm(run.pulsed(rest, root) - rest))
    symbols = task.parts(task.u[root]) or ()
    cause = _cause(run, faults, low, destinations, root, (a, b), deviation, move)
    return ErrorSegment(
        start, stop, int(task.path[start]), int(run.decoded[start]), cause, root, symbols,
        a if a >= 0 else None, b, expected, _wait(run, root), deviation, move,
        weak=expected is not None and (expected, b) in low,
        fault=_place(faults, cause, learned, task, int(task.path[root]), (a, b), expected, symbols),
    )  # fmt: skip


def _cause(
    run: Run,
    faults: list[Fault],
    low: set[tuple[int, int]],
    destinations: dict[tuple[int, int], int],
    root: int,
    edge: tuple[int, int],
    deviation: float | None,
    move: float | None,
) -> str:
    task, learned, (a, b) = run.task, run.learned, edge
    wanted = int(task.path[root])
    pulsed = bool(np.any(task.u[root]))
    if not learned.holders[wanted]:
        return "missing state"
    if root == 0:
        sure = task.initial is not None and learned.state_of(a) == task.initial
        if not (pulsed and sure):
            return "wrong start"
    if not pulsed:
        # The network alone does not leave a basin at rest.
        return "not attributed" if run.transitions.own else "noise"
    expected = destinations.get((a, root))
    if expected is None:
        return "not attributed"
    if not run.transitions.own and learned.state_of(destinations[-1, root]) == wanted:
        return "noise"
    settled = deviation is not None and move is not None and deviation < move
    if learned.state_of(expected) != wanted:
        # What the pulse does from rest is wrong; when the state was far from rest, that did not decide.
        if not settled and learned.state_of(expected) != learned.state_of(b):
            return "still relaxing"
        if expected < 0:
            return "no attractor"
        if any(f.kind == "spurious attractor" and expected in f.attractors for f in faults):
            return "spurious attractor"
        twins = [k for k in learned.holders[learned.state_of(a)] if k != a]
        if any(learned.state_of(destinations.get((k, root), -1)) == wanted for k in twins):
            return "split state"
        still = learned.state_of(expected) == learned.state_of(a)
        return "threshold above the pulse" if still else "wrong edge"
    if b < 0:
        return "no attractor"
    if settled and (expected, b) in low:
        return "split state" if len(learned.holders[wanted]) > 1 else "low threshold"
    symbols = task.parts(task.u[root]) or ()
    fragile = any(
        f.kind == "fragile edge" and f.attractors == (a, expected) and f.symbols == symbols for f in faults
    )
    return "fragile edge" if settled and fragile else "still relaxing"


def _place(
    faults: list[Fault],
    cause: str,
    learned: Learned,
    task: AutomatonTask,
    wanted: int,
    edge: tuple[int, int],
    expected: int | None,
    symbols: tuple[int, ...],
) -> int | None:
    """Return the position of the fault that a cause stands for, where there is one already."""
    a, b = edge
    # A split state fails from one of its halves, or over the low threshold of the one that is reached.
    right = expected is not None and learned.state_of(expected) == wanted
    split = wanted if right else learned.state_of(a)
    for place, fault in enumerate(faults):
        if cause == "noise" and fault.kind == "threshold below the noise" and edge in fault.edges:
            return place
        if fault.kind == cause and (
            (cause == "missing state" and fault.state == wanted)
            or (cause == "split state" and fault.state == split)
            or (cause == "spurious attractor" and expected in fault.attractors)
            or (cause == "low threshold" and (expected, b) in fault.edges)
            or (
                cause in ("wrong edge", "threshold above the pulse", "fragile edge")
                and fault.attractors[:1] == (a,)
                and fault.symbols == symbols
            )
        ):
            return place
    return None


def with_counts(
    task: AutomatonTask, learned: Learned, faults: list[Fault], segments: list[ErrorSegment]
) -> tuple[list[Fault], list[ErrorSegment]]:
    """Add faults for causes that the automaton alone does not show, and count segments and steps."""
    faults, placed = list(faults), []
    ours: dict[tuple[object, ...], int] = {}
    for s in segments:
        place = s.fault
        if place is None:
            one = s.cause in OF_RUN
            key: tuple[object, ...] = (s.cause,) if one else (s.cause, s.source, s.symbols, s.target)
            if key not in ours:
                ours[key] = len(faults)
                pulse = " and ".join(task.symbols[p] for p in s.symbols)
                text = _RUN_TEXTS.get(s.cause, "")
                edges: tuple[tuple[int, int], ...] = ()
                if not one and s.source is not None:
                    names = [name_of(task, learned, k) for k in (s.source, s.expected)]
                    text = f"pulse {pulse} at attractor {names[0]} leads to {names[1]}"
                    text += f" instead of {task.names[task.path[s.step]]}"
                    if len(s.symbols) == 1 and s.expected != learned.table[s.source, s.symbols[0]]:
                        # The table is that of the first state of a cycle or a moving attractor.
                        text += ", at some of its states"
                    edges = ((s.source, s.target),) if s.target is not None and s.target >= 0 else ()
                faults.append(
                    Fault(
                        s.cause,
                        text,
                        None if one else int(task.path[s.step]),
                        () if one or s.source is None or s.target is None else (s.source, s.target),
                        edges,
                        () if one else s.symbols,
                    )
                )
            place = ours[key]
        placed.append(replace(s, fault=place))
    for place, fault in enumerate(faults):
        mine = [s for s in placed if s.fault == place]
        if not mine:
            continue
        edges = fault.edges
        if fault.kind in OF_RUN:
            pairs = [(s.source, s.target) for s in mine]
            edges = tuple(
                dict.fromkeys((a, b) for a, b in pairs if a is not None and b is not None and a != b)
            )
        faults[place] = replace(
            fault, edges=edges, n_segments=len(mine), n_steps=sum(s.length for s in mine),
            text=fault.text + _detail(fault.kind, mine),
        )  # fmt: skip
    return faults, placed


_RUN_TEXTS: Final = {
    "still relaxing": "pulses came before the state was at rest, and led elsewhere than from rest",
    "slow output": "the move is right, but the output follows late or strays on its way",
    "wobbling output": "the output on the attractor is not always read as its state",
    "noise": "noise alone made it wrong",
    "wrong start": "the run did not begin in the right state",
    "no attractor": "the run went to no attractor that is known",
    "not attributed": "no cause was found",
}


def _range(low: float, high: float) -> str:
    a, b = f"{low:.2g}", f"{high:.2g}"
    return a if a == b else f"{a} to {b}"


def _detail(kind: str, mine: list[ErrorSegment]) -> str:
    if kind == "still relaxing":
        waits = [s.wait for s in mine if s.wait is not None]
        far = [s.deviation for s in mine if s.deviation is not None]
        if waits and far:
            needed = [s.needed for s in mine if s.needed is not None]
            over = sum(s.weak for s in mine)
            weak = f"; {over} of {len(mine)} over a low threshold" if over else ""
            enough = f"; {max(needed)} steps would have been enough" if len(needed) == len(mine) else ""
            return (
                f": {_range(min(waits), max(waits))} step{'s' if max(waits) > 1 else ''} after the pulse "
                f"before, "
                f"{_range(min(far), max(far))} from the attractor{enough}{weak}"
            )
    if kind == "slow output":
        late = max(s.stop - s.step for s in mine)
        return f": up to {late} step{'s' if late > 1 else ''} after the pulse"
    return ""
