"""Why a network errs at a task: the automaton that it has learned, and a cause for every wrong output."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, final

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import Document, FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, real_array, whole_number
from esntools.errors import InvalidInputError
from esntools.excitable.diagnosis.causes import CAUSES, OF_RUN, ErrorSegment, Run, find_segments, with_counts
from esntools.excitable.diagnosis.faults import Fault, find_faults, low_thresholds, name_of
from esntools.excitable.diagnosis.learned import Learned, decode, learn
from esntools.excitable.extraction import excitable_network
from esntools.excitable.landscape import Landscape, find_landscape
from esntools.excitable.transitions import Transitions, find_transitions, labeller_of, pulses_of
from esntools.network import EchoStateNetwork
from esntools.simulation import Trajectory, drive
from esntools.tasks import AutomatonTask, FlipFlop
from esntools.threads import one_blas_thread

__all__ = ["Diagnosis", "ErrorSegment", "Fault", "Learned", "diagnose"]

# States of the run that are handed on as seeds of the attractors.
_MOST_STARTS: Final = 400
# Faults with which the automaton is not the task's.
_STRUCTURE: Final = ("missing state", "spurious attractor", "threshold above the pulse", "wrong edge")


@final
@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What is wrong with a network at a task, and which wrong outputs of a run come from what.

    Attributes
    ----------
    task : AutomatonTask
    graph : networkx.DiGraph
        The excitable network.
    learned : Learned
        What its attractors stand for, and where the task's pulses lead.
    transitions : Transitions
        The run as dwells and switches.
    outputs : ndarray, shape (n_steps, n_outputs)
        Of the run.
    decoded : ndarray of int, shape (n_steps,)
        The task state that each output is read as: the nearest target.
    faults : tuple of Fault
        Those of the automaton, whether the run suffered from them or not, then those of the run alone.
    segments : tuple of ErrorSegment
        Every stretch of wrong output, with its cause.
    """

    task: AutomatonTask
    graph: nx.DiGraph
    learned: Learned
    transitions: Transitions
    outputs: FloatArray
    decoded: IntArray
    faults: tuple[Fault, ...]
    segments: tuple[ErrorSegment, ...]

    def __repr__(self) -> str:
        return (
            f"Diagnosis({len(self.graph)} attractors for {self.task.n_states} states, "
            f"{len(self.faults)} faults, {len(self.segments)} wrong segments)"
        )

    @property
    def n_wrong_steps(self) -> int:
        """Steps whose output is read as a wrong state."""
        return sum(s.length for s in self.segments)

    @property
    def causes(self) -> dict[str, tuple[int, int]]:
        """Segments and steps by cause, the one with most segments first."""
        segments = Counter(s.cause for s in self.segments)
        steps: Counter[str] = Counter()
        for s in self.segments:
            steps[s.cause] += s.length
        order = sorted(segments, key=lambda c: (-segments[c], -steps[c], CAUSES.index(c)))
        return {cause: (segments[cause], steps[cause]) for cause in order}

    @property
    def n_not_attributed(self) -> int:
        """Wrong segments for which no cause was found."""
        return self.causes.get("not attributed", (0, 0))[0]

    @property
    def n_fading(self) -> int:
        """Steps whose output is right though the run is in a wrong basin: a trace that fades."""
        held = np.array([self.learned.state_of(int(k)) for k in self.transitions.labels])
        return int(np.sum((held != self.task.path) & (self.decoded == self.task.path)))

    @property
    def correct(self) -> bool:
        """Whether the learned automaton is the task's and no output of the run is wrong."""
        return not self.segments and not any(f.kind in _STRUCTURE for f in self.faults)

    @property
    def missing(self) -> tuple[int, ...]:
        """Task states without an attractor."""
        return tuple(s for s, held in enumerate(self.learned.holders) if not held)

    @property
    def merged(self) -> tuple[tuple[int, int], ...]:
        """(state, state): missing ones, and the one that every move to them leads to instead."""
        learned, wanted = self.learned, self.task.transitions[self.learned.stands_for]
        ends = {s: set(learned.table[wanted == s].tolist()) for s in self.missing}
        return tuple((s, learned.state_of(min(e))) for s, e in ends.items() if len(e) == 1 and min(e) >= 0)

    @property
    def extra(self) -> tuple[int, ...]:
        """Attractors beyond the first of their state, and spurious ones."""
        return tuple(sorted({*self._strays, *(k for held in self.learned.holders for k in held[1:])}))

    @property
    def twins(self) -> tuple[int, ...]:
        """Those of `extra` that stand for a state, one that another attractor holds better."""
        return tuple(k for k in self.extra if k not in self._strays)

    @property
    def _strays(self) -> set[int]:
        return {k for f in self.faults if f.kind == "spurious attractor" for k in f.attractors}

    @property
    def guilty_edges(self) -> tuple[tuple[int, int], ...]:
        """Edges of the excitable network that faults of the automaton name, those that cost most first."""
        edges: list[tuple[int, int]] = []
        for f in sorted(self.faults, key=lambda f: -f.n_steps):
            if f.kind not in OF_RUN:
                edges += f.edges
        return tuple(dict.fromkeys((i, j) for i, j in edges if i != j and i >= 0 and j >= 0))

    @property
    def summary(self) -> str:
        """One or two sentences."""
        n, want = len(self.graph), self.task.n_states
        text = f"{n} attractor{'s' if n != 1 else ''} for {want} states of the task"
        kinds = Counter(f.kind for f in self.faults if f.kind not in OF_RUN)
        if kinds:
            text += " (" + ", ".join(f"{kind}: {count}" for kind, count in kinds.items()) + ")"
        fading = f", {self.n_fading} of them from a trace that fades" if self.n_fading else ""
        if not self.segments:
            return text + f"; every output of {len(self.decoded)} steps is right{fading}."
        causes = ", ".join(f"{cause} {segments}" for cause, (segments, _) in self.causes.items())
        return (
            text + f"; {self.n_wrong_steps} of {len(self.decoded)} outputs are wrong, in "
            f"{len(self.segments)} segment{'s' if len(self.segments) != 1 else ''}: {causes}."
        )

    def describe(self, segment: ErrorSegment) -> str:
        """Return a wrong segment in words."""
        task, names = self.task, self.task.names
        steps = slice(segment.start, segment.stop)
        changes = len({*zip(task.path[steps].tolist(), self.decoded[steps].tolist())}) > 1
        text = f"steps {segment.start} to {segment.stop - 1}: {'at first ' if changes else ''}"
        text += f"{names[segment.given]} instead of {names[segment.wanted]}; {segment.cause}: "
        pulse = " and ".join(task.symbols[s] for s in segment.symbols)
        text += f"pulse {pulse} at step {segment.step}" if pulse else f"at step {segment.step}"
        if segment.source is None:
            return text + f" led to {self._named(segment.target)}"
        if segment.source == segment.target and segment.cause != "slow output":
            text += f" left it at {self._named(segment.source)}"
        else:
            text += f" led from {self._named(segment.source)} to {self._named(segment.target)}"
        if segment.expected is not None and segment.expected != segment.target:
            text += f"; from rest it leads to {self._named(segment.expected)}"
            if segment.weak:
                size = self.learned.kicks[segment.expected, segment.target or 0][0]
                text += f", and only {size:.3g} (kick of the state) parts the two"
        if segment.cause in ("still relaxing", "split state", "low threshold", "fragile edge"):
            if segment.deviation is not None and segment.move is not None:
                text += f"; the state was {segment.deviation:.2g} from its attractor (the pulse moves it by "
                text += f"{segment.move:.2g})"
            if segment.wait is not None:
                text += f", {segment.wait} step{'s' if segment.wait != 1 else ''} after the pulse before"
                text += f" (right from {segment.needed} on)" if segment.needed is not None else ""
        return text

    def _named(self, attractor: int | None) -> str:
        return name_of(self.task, self.learned, attractor)

    def text(self, *, most: int = 20) -> str:
        """Return the diagnosis in words, with the first `most` wrong segments.

        Parameters
        ----------
        most : int
            Default 20.
        """
        lines = [self.summary, "", "Attractors:"]
        for k, row in enumerate(self.learned.table):
            held = ", ".join(f"{v:+.3g}" for v in self.learned.outputs[k])
            moves = ", ".join(
                f"{name} -> {end if end >= 0 else 'none'}{'' if right else ' (wrong)'}"
                for name, end, right in zip(self.task.symbols, row.tolist(), self._right_moves(k))
            )
            lines.append(f"  {self._named(k)}, output ({held}): {moves}")
        if not len(self.graph):
            lines.append("  none")
        if self.faults:
            lines += ["", "Faults:"]
            for f in self.faults:
                plural = "s" if f.n_segments != 1 else ""
                share = f" [{f.n_segments} wrong segment{plural}, {f.n_steps} steps]" if f.n_segments else ""
                lines.append(f"  {f.kind}: {f.text}{share}")
        if self.segments:
            lines += ["", f"Wrong segments ({len(self.segments)}):"]
            lines += [f"  {self.describe(s)}" for s in self.segments[:most]]
            if len(self.segments) > most:
                lines.append(f"  ... and {len(self.segments) - most} more")
        if self.transitions.notes or self.graph.graph.get("note"):
            lines += ["", *self.transitions.notes, *filter(None, [self.graph.graph.get("note")])]
        return "\n".join(lines)

    def _right_moves(self, k: int) -> list[bool]:
        wanted = self.task.transitions[self.learned.stands_for[k]]
        return [self.learned.state_of(int(e)) == int(w) for e, w in zip(self.learned.table[k], wanted)]

    def document(self) -> Document:
        """Return everything as plain data for JSON: no NaN, lists for arrays."""

        def plain(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return plain(value.tolist())
            if isinstance(value, list | tuple):
                return [plain(v) for v in value]
            if isinstance(value, float) and not np.isfinite(value):
                return None
            return value

        learned, task = self.learned, self.task
        return {
            "format": 1,
            "kind": "diagnosis",
            "summary": self.summary,
            "correct": self.correct,
            "n_steps": len(self.decoded),
            "n_wrong_steps": self.n_wrong_steps,
            "n_segments": len(self.segments),
            "n_not_attributed": self.n_not_attributed,
            "causes": {c: {"segments": a, "steps": b} for c, (a, b) in self.causes.items()},
            "states": [
                {"name": name, "target": plain(target), "attractors": plain(held)}
                for name, target, held in zip(task.names, task.states, learned.holders)
            ],
            "symbols": list(task.symbols),
            "attractors": [
                {
                    "output": plain(learned.outputs[k]),
                    "stands_for": task.names[learned.stands_for[k]],
                    "margin": plain(float(learned.margins[k])),
                    "pulses": plain(learned.table[k]),
                    "right": self._right_moves(k),
                    "windows": plain(learned.windows[k]),
                }
                for k in range(len(learned.outputs))
            ],
            "missing": plain(self.missing),
            "merged": plain(self.merged),
            "extra": plain(self.extra),
            "guilty_edges": plain(self.guilty_edges),
            "faults": [
                {name: plain(getattr(f, name)) for name in f.__dataclass_fields__} for f in self.faults
            ],
            "segments": [
                {
                    **{name: plain(getattr(s, name)) for name in s.__dataclass_fields__},
                    "text": self.describe(s),
                }
                for s in self.segments
            ],
        }


@one_blas_thread
def diagnose(
    network: EchoStateNetwork,
    task: AutomatonTask | FlipFlop,
    run: ArrayLike | Trajectory | None = None,
    *,
    x0: ArrayLike | None = None,
    graph: nx.DiGraph | None = None,
    noise: float | None = None,
    grace: int = 0,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Diagnosis:
    r"""Say why a network errs at a task.

    The excitable network of the network is read as an automaton: an attractor stands for the task state
    whose target is nearest to its output, and the task's pulses lead from attractor to attractor. That is
    held against the task. Then every stretch of wrong output in a run is followed back to the step at which
    the run left the right basin, and put down to one cause by replaying that step.

    ============================= ============================================================================
    cause                         what was found
    ============================= ============================================================================
    missing state                 the wanted state has no attractor
    split state                   several attractors hold one state, and the move fails from (or over the low
                                  threshold of) one of them
    spurious attractor            the pulse leads, from rest, to an attractor that stands for nothing
    threshold above the pulse     from rest too, the pulse does not lead out of the state
    wrong edge                    from rest too, the pulse leads to a wrong state
    fragile edge, low threshold   from rest the move is right, by less than 10 % of the pulse, or into an
                                  attractor that a kick of less than half the usual size leaves
    still relaxing                from rest the move is right; the state was not at rest
    slow output                   the move is right, its output comes late
    wobbling output               the output of a cycle or chaotic attractor is not always its state's
    noise                         the network alone would have been right
    wrong start                   the run began elsewhere
    no attractor                  the run went to no attractor that is known
    not attributed                none of these
    ============================= ============================================================================

    A state is taken for at rest, and the edge itself for the cause, when it is nearer to its attractor than
    the pulse moves it.

    Parameters
    ----------
    network : EchoStateNetwork
        With a readout.
    task : AutomatonTask or FlipFlop
        It may have more states than the network has attractors.
    run : array_like, shape (n_steps, n_units), or Trajectory, optional
        States under the input of the task, state k after input k; made by default. May be noisy.
    x0 : array_like, shape (n_units,), optional
        The state before the first step; by default the attractor of the task's initial state where it has
        one, else zero.
    graph : networkx.DiGraph, optional
        As `excitable_network` returns it at zero input, when there is one already. With the metric "state"
        its thresholds are used; else they are searched for around split states.
    noise : float, optional
        Standard deviation of white noise on every unit at every step, to compare thresholds with. They are
        then searched for between all neighbours.
    grace : int
        Steps from a pulse on in which the output is not judged. Default 0.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    Diagnosis

    Raises
    ------
    InvalidInputError
        When the task does not fit the network, or the run the task.

    Examples
    --------
    A bit whose pulse is too weak to set it back.

    >>> from esntools.network import EchoStateNetwork, Readout
    >>> from esntools.tasks import flip_flop
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], b=[0.1], readout=Readout([[1.0]]))
    >>> found = diagnose(bit, flip_flop(1, 200, pulse_probability=0.1, rng=0))
    >>> found.causes  # segments and steps
    {'threshold above the pulse': (6, 104)}
    >>> found.faults[0].text
    'pulse -1 on line 0 at attractor 1 (+1) is too weak to lead to (-1): 1.65 times the pulse is needed'

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi, Cognitive Computation 12 (2020) 330, doi:10.1007/s12559-019-09634-2.
    """
    task = _fitting(network, task)
    grace = whole_number(grace, "grace", 0)
    if noise is not None:
        positive_number(noise, "noise")
    states = None
    if isinstance(run, Trajectory):
        x0, states = (run.x0 if x0 is None else x0), run.states
    elif run is not None:
        states = real_array(run, "run")
    if states is not None and states.shape != (task.n_steps, network.n_units):
        raise InvalidInputError(
            "run", f"shape {states.shape}",
            f"must be the states at every step of the task, ({task.n_steps}, {network.n_units})",
        )  # fmt: skip
    start = None if x0 is None else np.ravel(real_array(x0, "x0"))
    landscape: Landscape | None = None
    if graph is None:
        seeds = drive(network, task.u, start).states if states is None else states
        landscape = find_landscape(
            network, starts=seeds[:: max(1, len(seeds) // _MOST_STARTS)], rng=rng,
            progress=lambda label, f: progress(label, 0.4 * f),
        )  # fmt: skip
        graph = excitable_network(
            network, task.pulses, pulse_length=task.pulse_length, landscape=landscape, rng=rng,
            progress=lambda label, f: progress(label, 0.4 + 0.3 * f),
        )  # fmt: skip
    elif not isinstance(graph, nx.DiGraph):
        raise InvalidInputError("graph", type(graph).__name__, "must be what excitable_network returns")
    elif np.any(np.asarray(graph.graph.get("rest", 0.0)) != 0.0):
        raise InvalidInputError("graph", "at another input", "must be that at zero input, as between pulses")
    X, label = labeller_of(network, graph if landscape is None else landscape)
    space: Landscape | nx.DiGraph = graph
    if any(d.get("period", 1) is None for _, d in graph.nodes(data=True)):
        # What is no point or cycle is recognised by its means, which the graph does not carry.
        found = find_landscape(network, starts=X, rng=rng) if landscape is None else landscape
        if len(found) == len(graph):
            X, label, space = found.X, found.label, found
    learned = learn(network, task, graph, label, X, landscape, everything=noise is not None)
    progress("moves of the task", 0.85)
    if states is None:
        if start is None and task.initial is not None and learned.holders[task.initial]:
            start = X[learned.holders[task.initial][0]]
        start = np.zeros(network.n_units) if start is None else start
        states = drive(network, task.u, start).states
    transitions = find_transitions(
        network, space, task.u, states=states, pulses=task.pulses, pulse_length=task.pulse_length
    )
    progress("transitions", 0.95)
    outputs = np.asarray(network.output(states))
    judged, pulses = np.ones(task.n_steps, dtype=np.bool_), pulses_of(task.u, task.pulse_length)
    for k, _ in pulses if grace else ():
        judged[k : k + grace] = False
    faults = find_faults(network, task, graph, learned, X, noise)
    at = Run(
        network, task, graph, learned, transitions, label, states, outputs, start,
        decode(outputs, task.states), judged, pulses,
    )  # fmt: skip
    segments = find_segments(at, faults, set(low_thresholds(learned)))
    faults, segments = with_counts(task, learned, faults, segments)
    progress("diagnosis", 1.0)
    return Diagnosis(
        task, graph, learned, transitions, outputs, at.decoded, tuple(faults), tuple(segments)
    )  # fmt: skip


def _fitting(network: EchoStateNetwork, task: AutomatonTask | FlipFlop) -> AutomatonTask:
    if isinstance(task, FlipFlop):
        task = task.automaton
    if not isinstance(task, AutomatonTask):
        raise InvalidInputError(
            "task", type(task).__name__, "must be an AutomatonTask or a FlipFlop", "see automaton_task"
        )
    if not isinstance(network, EchoStateNetwork):
        raise InvalidInputError("network", type(network).__name__, "must be an EchoStateNetwork")
    if network.readout is None:
        raise InvalidInputError("network", "no readout", "a task is judged by the output", "fit one")
    if network.n_inputs != task.pulses.shape[1]:
        raise InvalidInputError(
            "task", f"{task.pulses.shape[1]} inputs", f"the network has {network.n_inputs}",
            "give every symbol a pulse of that width: automaton_task(..., inputs=...)",
        )  # fmt: skip
    if network.n_outputs != task.states.shape[1]:
        raise InvalidInputError(
            "task", f"{task.states.shape[1]} outputs", f"the network has {network.n_outputs}",
            "give every state an output of that width: automaton_task(..., outputs=...), or 'output' on "
            "the nodes of a graph file",
        )  # fmt: skip
    return task
