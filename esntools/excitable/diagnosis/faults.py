"""What is wrong with an automaton that a network has learned: states and moves held against a task's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, final

import networkx as nx
import numpy as np
import scipy.linalg

from esntools._typing import FloatArray
from esntools.excitable.diagnosis.learned import Learned, half_gap, hold
from esntools.network import EchoStateNetwork
from esntools.tasks import AutomatonTask

__all__ = ["Fault", "find_faults", "low_thresholds", "name_of"]

#: A move that holds only up to this change of the pulse is fragile.
_FRAGILE: Final = 0.1
#: A threshold under this fraction of the median is low.
_LOW: Final = 0.5
#: Excursions of stationary noise seldom reach this many standard deviations.
_DEVIATIONS: Final = 4.0
_SEVERAL: Final = 3


@final
@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, whether or not the run suffered from it.

    Attributes
    ----------
    kind : str
        "missing state", "split state", "spurious attractor", "ambiguous output", "wrong edge", "threshold
        above the pulse", "fragile edge", "low threshold", "threshold below the noise"; and of the run alone:
        "still relaxing", "slow output", "wobbling output", "noise", "wrong start", "no attractor", "not
        attributed".
    text : str
        In words.
    state : int or None
        The task state concerned (that which is missing, split, or should have been reached).
    attractors : tuple of int
        Those concerned; of an edge its source and where it leads.
    edges : tuple of (int, int)
        Guilty edges of the excitable network.
    symbols : tuple of int
        The pulse concerned, as rows of the task's pulses; several when they came together.
    threshold : float or None
        The size of the smallest kick, in `metric`.
    metric : str or None
    n_segments, n_steps : int
        Wrong segments of the run, and steps in them, that are put down to it.
    """

    kind: str
    text: str
    state: int | None = None
    attractors: tuple[int, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    symbols: tuple[int, ...] = ()
    threshold: float | None = None
    metric: str | None = None
    n_segments: int = 0
    n_steps: int = 0


def _number(value: float) -> str:
    return f"{value:.3g}"


def find_faults(
    network: EchoStateNetwork,
    task: AutomatonTask,
    graph: nx.DiGraph,
    learned: Learned,
    X: FloatArray,
    noise: float | None,
) -> list[Fault]:
    """Compare the learned automaton with the task's."""
    faults = _state_faults(task, learned)
    faults += _edge_faults(task, graph, learned)
    low = low_thresholds(learned)
    for (a, b), size in sorted(low.items()):
        if any((a, b) in fault.edges for fault in faults if fault.kind == "split state"):
            continue
        faults.append(
            Fault(
                "low threshold",
                f"attractor {name_of(task, learned, a)} is only {_number(size)} (kick of the state) from "
                f"the basin of {name_of(task, learned, b)}",
                learned.state_of(a), (a, b), ((a, b),), threshold=size, metric="state",
            )
        )  # fmt: skip
    if noise is not None and noise > 0.0:
        faults += _noise_faults(network, task, graph, learned, X, noise)
    return faults


def name_of(task: AutomatonTask, learned: Learned, attractor: int | None) -> str:
    """Return an attractor with the name of its state."""
    if attractor is None or attractor < 0:
        return "no attractor"
    name = task.names[learned.state_of(attractor)]
    if name.startswith("("):
        return f"{attractor} {name}"
    return f"{attractor} (state {name})" if name.isdigit() else f"{attractor} ({name})"


def low_thresholds(learned: Learned) -> dict[tuple[int, int], float]:
    """Return the kicks between neighbours that are less than half the median of all."""
    sizes = {pair: size for pair, (size, _) in learned.kicks.items()}
    if len(sizes) < _SEVERAL:
        return {}
    limit = _LOW * float(np.median(list(sizes.values())))
    return {pair: size for pair, size in sizes.items() if size < limit}


def _state_faults(task: AutomatonTask, learned: Learned) -> list[Fault]:
    faults = []
    half = half_gap(task.states)
    strays = hold(learned.outputs, task.states, {})[1]
    off = np.linalg.norm(learned.outputs - task.states[learned.stands_for], axis=1)
    for state, members in enumerate(learned.holders):
        if not members:
            faults.append(_missing(task, learned, state))
        near = [k for k in members if off[k] <= half]
        for k in members:
            if k in strays:
                faults.append(
                    Fault(
                        "spurious attractor",
                        f"attractor {k} stands for no state of the task: its output is "
                        f"{_number(float(off[k]))} from the nearest target, that of {task.names[state]}",
                        state, (k,),
                    )
                )  # fmt: skip
        if len(near) > 1:
            faults.append(_split(task, learned, state, near))
    for k, margin in enumerate(learned.margins):
        if margin < _FRAGILE * half:
            faults.append(
                Fault(
                    "ambiguous output",
                    f"the output of attractor {name_of(task, learned, k)} is only {_number(float(margin))} "
                    f"from being read as another state",
                    learned.state_of(k), (k,),
                )
            )  # fmt: skip
    return faults


def _missing(task: AutomatonTask, learned: Learned, state: int) -> Fault:
    into: Counter[int] = Counter()
    edges = []
    for k, symbol in np.ndindex(learned.table.shape):
        if task.transitions[learned.stands_for[k], symbol] == state and learned.stands_for[k] != state:
            into[int(learned.table[k, symbol])] += 1
            edges.append((k, int(learned.table[k, symbol])))
    text = f"state {task.names[state]} has no attractor"
    taken: tuple[int, ...] = ()
    if into:
        ends = [("attractor " if k >= 0 else "") + name_of(task, learned, k) for k, _ in into.most_common()]
        if len(into) == 1:
            text += f": every move that should lead there leads to {ends[0]}"
        else:
            counted = ", ".join(f"{n} to {end}" for end, (_, n) in zip(ends, into.most_common()))
            text += f": of {into.total()} moves that should lead there {counted}"
        taken = tuple(k for k, _ in into.most_common() if k >= 0)
        if len(into) == 1 and taken:
            text += ": the two are merged"
    return Fault(
        "missing state",
        text,
        state,
        taken,
        tuple(dict.fromkeys(e for e in edges if e[0] != e[1] and e[1] >= 0)),
    )


def _split(task: AutomatonTask, learned: Learned, state: int, members: list[int]) -> Fault:
    text = f"state {task.names[state]} is split: it is held by {len(members)} attractors, "
    text += ", ".join(map(str, members[:-1])) + f" and {members[-1]}"
    weakest: tuple[int, int] | None = None
    for pair, (size, _) in learned.kicks.items():
        if pair[0] in members and (weakest is None or size < learned.kicks[weakest][0]):
            weakest = pair
    if weakest is None:
        return Fault("split state", text, state, tuple(members))
    (a, b), size = weakest, learned.kicks[weakest][0]
    text += f"; {a} is only {_number(size)} (kick of the state) from the basin of {name_of(task, learned, b)}"
    if (b, a) in learned.kicks:
        text += f", while {_number(learned.kicks[b, a][0])} is needed the other way"
    others = [
        min((s for (c, _), (s, _) in learned.kicks.items() if c == k), default=np.inf)
        for k in members
        if k != a
    ]
    if others and np.isfinite(max(others)):
        text += f"; its twin bears {_number(max(others))}"
    return Fault("split state", text, state, tuple(members), ((a, b),), threshold=size, metric="state")


def _edge_faults(task: AutomatonTask, graph: nx.DiGraph, learned: Learned) -> list[Fault]:
    thresholds: dict[tuple[int, int, int], float] = {}
    pulses = np.array(graph.graph.get("pulses", []), dtype=np.float64).reshape(-1, task.pulses.shape[1])
    for c in graph.graph.get("connections", []):
        if c["metric"] == "input" and c.get("pulse") is not None:
            pulse = pulses[c["pulse"]]
            for symbol in np.flatnonzero(np.all(np.abs(task.pulses - pulse) <= 1e-9, axis=1)):
                thresholds[c["source"], int(symbol), c["target"]] = float(c["threshold"])
    faults = []
    for k, symbol in np.ndindex(learned.table.shape):
        end = int(learned.table[k, symbol])
        wanted = int(task.transitions[learned.stands_for[k], symbol])
        if learned.state_of(end) == wanted:
            low, high = learned.windows[k, symbol]
            if low > 1.0 - _FRAGILE or high < 1.0 + _FRAGILE:
                faults.append(
                    Fault(
                        "fragile edge",
                        f"pulse {task.symbols[symbol]} at attractor {name_of(task, learned, k)} leads to "
                        f"{name_of(task, learned, end)} only at {low:.2f} ... {high:.2f} of its strength",
                        wanted, (k, end), ((k, end),), (symbol,), threshold=float(low), metric="input",
                    )
                )  # fmt: skip
            continue
        if not learned.holders[wanted]:
            # Told with the state that is missing.
            continue
        place = f"pulse {task.symbols[symbol]} at attractor {name_of(task, learned, k)}"
        to = [thresholds[k, symbol, h] for h in learned.holders[wanted] if (k, symbol, h) in thresholds]
        if end == k:
            text = f"{place} is too weak to lead to {task.names[wanted]}"
            text += f": {_number(min(to))} times the pulse is needed" if to else ", at any strength looked at"
            edges = tuple((k, h) for h in learned.holders[wanted])
            faults.append(
                Fault(
                    "threshold above the pulse", text, wanted, (k, end), edges, (symbol,),
                    threshold=min(to) if to else None, metric="input",
                )
            )  # fmt: skip
            continue
        there = name_of(task, learned, end)
        faults.append(
            Fault(
                "wrong edge", f"{place} leads to {there} instead of {task.names[wanted]}", wanted,
                (k, end), ((k, end),) if end >= 0 else (), (symbol,),
                threshold=thresholds.get((k, symbol, end)), metric="input",
            )
        )  # fmt: skip
    return faults


def _noise_faults(
    network: EchoStateNetwork,
    task: AutomatonTask,
    graph: nx.DiGraph,
    learned: Learned,
    X: FloatArray,
    noise: float,
) -> list[Fault]:
    """Compare kicks with the spread that white noise on every unit has along them, to first order."""
    silent, faults = network.at_input(np.zeros(network.n_inputs)), []
    for a in sorted({pair[0] for pair in learned.kicks}):
        if graph.nodes[list(graph.nodes)[a]].get("period", 1) != 1:
            continue
        J = silent.jacobian(X[a])
        C = scipy.linalg.solve_discrete_lyapunov(J, noise**2 * np.eye(len(J)))
        for (source, b), (size, direction) in sorted(learned.kicks.items()):
            spread = float(np.sqrt(direction @ C @ direction))
            if source == a and size < _DEVIATIONS * spread:
                faults.append(
                    Fault(
                        "threshold below the noise",
                        f"attractor {name_of(task, learned, a)} is {_number(size)} (kick of the state) "
                        f"from the basin of {name_of(task, learned, b)}, {size / spread:.1f} standard "
                        f"deviations of the noise",
                        learned.state_of(a), (a, b), ((a, b),), threshold=size, metric="state",
                    )
                )  # fmt: skip
    return faults
