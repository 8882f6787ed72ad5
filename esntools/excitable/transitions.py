"""Where a driven run stays and when it moves: dwells and switches between the attractors at rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, final

import networkx as nx
import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, no_progress
from esntools.arguments import real_array, whole_number
from esntools.basins.attractors import point_attractor, polish_cycle
from esntools.basins.labelling import ESCAPED, UNDECIDED, Labeller
from esntools.basins.statistics import wilson_interval
from esntools.errors import InvalidInputError
from esntools.excitable.landscape import Landscape
from esntools.network import EchoStateNetwork
from esntools.simulation import Trajectory, drive
from esntools.threads import one_blas_thread

__all__ = ["Dwell", "Switch", "Transitions", "find_transitions", "labeller_of", "pulses_of"]

#: A state this close to a node of a graph, as a fraction of the distance to the nearest other known point.
_ARRIVED: Final = 0.01
#: A step of the run further than this from the network's own (relative) was not made by the network alone.
_OWN: Final = 1e-7

_Label = Callable[[FloatArray], IntArray]


@final
@dataclass(frozen=True)
class Dwell:
    """A stretch of a run within one basin.

    Attributes
    ----------
    attractor : int
        -1 where runs leave every bound, -2 where no known attractor is reached.
    start, length : int
        In steps of the run.
    complete : bool
        False when the run begins or ends in it: its length is then only a lower bound.
    """

    attractor: int
    start: int
    length: int
    complete: bool


@final
@dataclass(frozen=True)
class Switch:
    """A step at which a run changes the basin.

    Attributes
    ----------
    step : int
        The first step in the new basin.
    source, target : int
    pulse : int or None
        The row of the pulses that came at this step, at some positive amplitude; None for another input, or
        none.
    amplitude : float or None
        That amplitude; None where there is no such pulse.
    """

    step: int
    source: int
    target: int
    pulse: int | None
    amplitude: float | None


@final
@dataclass(frozen=True, eq=False, repr=False)
class Transitions:
    """What a driven run does, in the words of the attractors at rest.

    Attributes
    ----------
    labels : ndarray of int, shape (n_steps,)
        The attractor that the network would go to from each state of the run, were the input at rest from
        then on; -1 escape, -2 none known.
    dwells : tuple of Dwell
    switches : tuple of Switch
    events : ndarray of int
        Steps at which the input was not at rest.
    counts : ndarray of int, shape (K, K)
        Switches from attractor to attractor.
    exposure : ndarray of int, shape (K,)
        Steps spent in every basin, from which the next step was seen.
    rates : ndarray, shape (K, K)
        counts / exposure, per step; NaN in the rows of attractors never visited.
    intervals : ndarray, shape (K, K, 2)
        Exact 95 % intervals of the rates for Poisson counts (Garwood).
    responses : ndarray of int, shape (K, n_pulses, K)
        How often each pulse, at any amplitude, led from where to where (switches and stays).
    graph : networkx.DiGraph
        Nodes with ``x``, ``output`` (where known), ``visits``, ``share`` (of steps), ``mean_dwell`` (steps;
        complete ones only, else None); edges with ``count``, ``rate``, ``rate_interval``, ``probability``
        (of leaving to there), ``probability_interval`` (95 % Wilson), ``mean_dwell``, ``label``, and the
        ``threshold`` of the excitable network where one was given.
    own : bool
        Whether every step of the run is the network's own; if not (noise, other weights), basins are looked
        up at every step, else only where the input is not at rest.
    notes : tuple of str
    """

    labels: IntArray
    dwells: tuple[Dwell, ...]
    switches: tuple[Switch, ...]
    events: IntArray
    counts: IntArray
    exposure: IntArray
    rates: FloatArray
    intervals: FloatArray
    responses: IntArray
    graph: nx.DiGraph
    own: bool
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"Transitions({len(self.labels)} steps, {len(self.dwells)} dwells, {len(self.switches)} switches)"
        )


def labeller_of(network: EchoStateNetwork, space: nx.DiGraph | Landscape) -> tuple[FloatArray, _Label]:
    """Return a state of every attractor, and the function that labels states by attractor.

    Nodes of a graph that are no points or cycles are recognised by a landscape only; states that go there
    are labelled -2.
    """
    if isinstance(space, Landscape):
        if space.system.n_units != network.n_units:
            raise InvalidInputError(
                "landscape", f"{space.system.n_units} units", f"the network has {network.n_units}"
            )
        if len(space) == 0:
            return space.X, lambda states: np.full(len(states), UNDECIDED, dtype=np.intp)
        return space.X, space.label
    if not isinstance(space, nx.DiGraph) or space.graph.get("kind") != "excitable network":
        raise InvalidInputError(
            "graph", type(space).__name__, "must be an excitable network or a landscape",
            "make it with excitable_network or find_landscape",
        )  # fmt: skip
    X = np.array([real_array(d["x"], f"node {n}") for n, d in space.nodes(data=True)])
    X = X.reshape(len(space), -1) if len(space) else np.zeros((0, network.n_units))
    if X.shape[1] != network.n_units:
        raise InvalidInputError("graph", f"nodes of {X.shape[1]} units", f"the network has {network.n_units}")
    silent = network.at_input(_rest(network, space, None))
    labeller = Labeller(
        silent, n_steps=3000, n_average=2000, max_period=1,
        escape_radius=1e6 * max(1.0, float(np.max(np.abs(X), initial=1.0))), rng=np.random.default_rng(0),
    )  # fmt: skip
    saddles = [real_array(s["x"], "saddle") for s in space.graph.get("saddles", [])]
    known, places = np.array([*X, *saddles]), []
    for place, data in enumerate(space.nodes[n] for n in space):
        period = data.get("period", 1)
        cycle = None if period is None else polish_cycle(labeller.system, X[place], int(period))
        if cycle is None:
            continue
        attractor = point_attractor(labeller.system, cycle)
        gaps = np.linalg.norm(known - attractor.states[0], axis=1)
        gaps = gaps[gaps > 1e-6]
        near = _ARRIVED * float(np.min(gaps)) if len(gaps) and len(attractor.states) == 1 else 0.0
        labeller.add(replace(attractor, radius=max(attractor.radius, near)))
        places.append(place)
    positions = np.array(places, dtype=np.intp)

    def label(states: FloatArray) -> IntArray:
        if len(states) == 0:
            return np.zeros(0, dtype=np.intp)
        labels = labeller.label(states, grow=False)
        known_ = labels >= 0
        labels[known_] = positions[labels[known_]]
        return labels

    return X, label


def _pulses(
    network: EchoStateNetwork, space: nx.DiGraph | Landscape, pulses: ArrayLike | None
) -> tuple[FloatArray, int]:
    given = space.graph.get("pulses") if pulses is None and isinstance(space, nx.DiGraph) else pulses
    rows = np.zeros((0, 0)) if given is None else real_array(given, "pulses")
    if rows.size == 0:
        unit = np.eye(network.n_inputs)
        rows = np.stack([unit, -unit], axis=1).reshape(-1, network.n_inputs)
    if rows.ndim != 2 or rows.shape[1] != network.n_inputs or not np.all(np.isfinite(rows)):
        raise InvalidInputError("pulses", f"shape {rows.shape}", f"must be finite, (n, {network.n_inputs})")
    length = int(space.graph.get("pulse_length", 1)) if isinstance(space, nx.DiGraph) else 1
    return rows, length


def _rest(network: EchoStateNetwork, space: nx.DiGraph | Landscape, rest: ArrayLike | None) -> FloatArray:
    given = space.graph.get("rest") if rest is None and isinstance(space, nx.DiGraph) else rest
    if given is None:
        return np.zeros(network.n_inputs)
    value = np.atleast_1d(real_array(given, "rest"))
    if value.shape != (network.n_inputs,) or not np.all(np.isfinite(value)):
        raise InvalidInputError("rest", f"shape {value.shape}", f"must be finite, ({network.n_inputs},)")
    return value


def _recognised(u: FloatArray, pulses: FloatArray) -> tuple[int | None, float | None]:
    """Return which pulse the input is a positive multiple of, and the multiple."""
    for row, pulse in enumerate(pulses):
        square = float(pulse @ pulse)
        g = float(u @ pulse) / square if square > 0.0 else 0.0
        if g > 0.0 and np.max(np.abs(u - g * pulse)) <= 1e-9 * max(1.0, float(np.max(np.abs(u)))):
            return row, g
    return None, None


def _garwood(counts: IntArray, exposure: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return rates per step and their exact 95 % Poisson intervals; NaN without exposure."""
    steps = np.where(exposure > 0, exposure, np.nan)[:, None]
    low = np.where(counts > 0, 0.5 * scipy.stats.chi2.ppf(0.025, np.maximum(2 * counts, 1)), 0.0)
    high = 0.5 * scipy.stats.chi2.ppf(0.975, 2 * counts + 2)
    return counts / steps, np.stack([low / steps, high / steps], axis=2)


def _dwells(labels: IntArray) -> tuple[Dwell, ...]:
    begins = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1]) if len(labels) else np.zeros(0, int)
    lengths = np.diff(np.append(begins, len(labels)))
    last = len(begins) - 1
    return tuple(
        Dwell(int(labels[b]), int(b), int(n), 0 < i < last) for i, (b, n) in enumerate(zip(begins, lengths))
    )


def _graph(
    space: nx.DiGraph | Landscape,
    X: FloatArray,
    dwells: tuple[Dwell, ...],
    n_steps: int,
    found: dict[str, Any],
) -> nx.DiGraph:
    counts, rates, intervals = found["counts"], found["rates"], found["intervals"]
    graph = nx.DiGraph(kind="transitions", n_steps=n_steps, n_switches=int(counts.sum()))
    names = list(space.nodes) if isinstance(space, nx.DiGraph) else list(range(len(X)))
    for k, name in enumerate(names):
        mine = [d for d in dwells if d.attractor == k]
        whole = [d.length for d in mine if d.complete]
        if isinstance(space, nx.DiGraph):
            output = space.nodes[name].get("output")
        else:
            output = None if space.outputs is None else space.outputs[k].tolist()
        graph.add_node(
            name, x=X[k].tolist(), output=output, visits=len(mine),
            share=sum(d.length for d in mine) / n_steps, mean_dwell=float(np.mean(whole)) if whole else None,
        )  # fmt: skip
    for i, j in np.argwhere(counts > 0).tolist():
        left = int(counts[i].sum())
        before = [
            a.length
            for a, b in itertools.pairwise(dwells)
            if (a.attractor, b.attractor) == (i, j) and a.complete
        ]
        edge: dict[str, Any] = {
            "count": int(counts[i, j]),
            "rate": float(rates[i, j]),
            "rate_interval": intervals[i, j].tolist(),
            "probability": counts[i, j] / left,
            "probability_interval": list(wilson_interval(int(counts[i, j]), left)),
            "mean_dwell": float(np.mean(before)) if before else None,
            "label": f"{counts[i, j]} of {left}",
        }
        if isinstance(space, nx.DiGraph) and space.has_edge(names[i], names[j]):
            edge["threshold"] = space.edges[names[i], names[j]].get("threshold")
        graph.add_edge(names[i], names[j], **edge)
    return graph


@one_blas_thread
def find_transitions(
    network: EchoStateNetwork,
    space: nx.DiGraph | Landscape,
    u: ArrayLike,
    x0: ArrayLike | None = None,
    *,
    states: ArrayLike | Trajectory | None = None,
    pulses: ArrayLike | None = None,
    rest: ArrayLike | None = None,
    pulse_length: int | None = None,
    progress: Progress = no_progress,
) -> Transitions:
    r"""Read a driven run as dwells in basins of the network at rest, and switches between them.

    A state belongs to the attractor that it would go to were the input at rest from then on. While the input
    is at rest that cannot change, since F(x) goes where x goes; so a switch happens at a pulse, at the
    pulse's own step, however long the output takes to follow.

    Parameters
    ----------
    network : EchoStateNetwork
    space : networkx.DiGraph or Landscape
        As `excitable_network` or `find_landscape` returns it.
    u : array_like, shape (n_steps, n_inputs)
        The input.
    x0 : array_like, shape (n_units,), optional
        The state before the first step; zero by default. Not with `states`.
    states : array_like, shape (n_steps, n_units), or Trajectory, optional
        The run, when there is one already: ``states[k]`` is the state after ``u[k]``.
    pulses : array_like, shape (n_pulses, n_inputs), optional
        What to recognise inputs by; by default the pulses of the graph, else plus and minus every unit input.
    rest : array_like, shape (n_inputs,), optional
        The input between pulses; by default that of the graph, else zero.
    pulse_length : int, optional
        Steps that a pulse lasts, by default those of the graph, else 1: all of them get the label of the
        last, so that a switch is one, at the first.
    progress : callable, optional

    Returns
    -------
    Transitions

    Raises
    ------
    InvalidInputError
        When shapes do not fit or the run is not finite.

    Examples
    --------
    >>> from esntools.excitable import excitable_network
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
    >>> graph = excitable_network(bit, [[2.0], [-2.0]])
    >>> u = np.zeros((12, 1))
    >>> u[[0, 3, 8]] = [[2.0], [-2.0], [2.0]]
    >>> run = find_transitions(bit, graph, u)
    >>> run.labels
    array([1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    >>> [(s.step, s.source, s.target, s.pulse, s.amplitude) for s in run.switches]
    [(3, 1, 0, 1, 1.0), (8, 0, 1, 0, 1.0)]
    >>> run.graph.edges[0, 1]["rate"]
    0.2
    """
    if not isinstance(network, EchoStateNetwork):
        raise InvalidInputError("network", type(network).__name__, "must be an EchoStateNetwork")
    u = real_array(u, "u")
    u = u[:, None] if u.ndim == 1 and network.n_inputs == 1 else u
    if u.ndim != 2 or u.shape[1] != network.n_inputs or len(u) == 0:
        raise InvalidInputError("u", f"shape {u.shape}", f"must be (n_steps, n_inputs = {network.n_inputs})")
    X, label = labeller_of(network, space)
    rows, length = _pulses(network, space, pulses)
    length = length if pulse_length is None else whole_number(pulse_length, "pulse_length")
    run, own = _run(network, u, x0, states)
    quiet = _rest(network, space, rest)
    events = np.flatnonzero(np.any(u != quiet, axis=1))
    # Within a pulse of several steps the destination is decided at its end.
    asked = np.union1d([0], events) if own else np.arange(len(u))
    labels = np.empty(len(u), dtype=np.intp)
    found = np.empty(len(asked), dtype=np.intp)
    for start in range(0, len(asked), 512):
        part = slice(start, start + 512)
        found[part] = label(run[asked[part]])
        progress("transitions", min(1.0, (start + 512) / len(asked)))
    labels[:] = np.repeat(found, np.diff(np.append(asked, len(u))))
    for start, stop in pulses_of(u - quiet, length) if length > 1 else ():
        labels[start:stop] = labels[stop - 1]
    dwells = _dwells(labels)
    switches = []
    for before, after in itertools.pairwise(dwells):
        k = after.start
        # The label that holds through a pulse changes at its first step.
        pulse, amplitude = _recognised(u[k] - quiet, rows)
        switches.append(Switch(k, before.attractor, after.attractor, pulse, amplitude))
    K = len(X)
    counts, exposure = np.zeros((K, K), dtype=np.intp), np.zeros(K, dtype=np.intp)
    for switch in switches:
        if switch.source >= 0 and switch.target >= 0:
            counts[switch.source, switch.target] += 1
    seen = labels[:-1]
    exposure += np.bincount(seen[seen >= 0], minlength=K)[:K] if K else 0
    responses = np.zeros((K, len(rows), K), dtype=np.intp)
    for k in events[events > 0]:
        pulse, _ = _recognised(u[k] - quiet, rows)
        if pulse is not None and labels[k - 1] >= 0 and labels[k] >= 0:
            responses[labels[k - 1], pulse, labels[k]] += 1
    rates, intervals = _garwood(counts, exposure)
    notes = []
    if not own:
        notes.append("the run is not the network's own (noise?): basins were looked up at every step")
    for value, words in ((UNDECIDED, "reach no attractor known"), (ESCAPED, "leave every bound")):
        n = int(np.sum(labels == value))
        if n:
            notes.append(f"{n} of {len(labels)} states {words}")
    graph = _graph(space, X, dwells, len(u), {"counts": counts, "rates": rates, "intervals": intervals})
    progress("transitions", 1.0)
    for array in (labels, events, counts, exposure, rates, intervals, responses):
        array.setflags(write=False)
    return Transitions(
        labels, dwells, tuple(switches), events, counts, exposure, rates, intervals, responses, graph, own,
        tuple(notes),
    )  # fmt: skip


def pulses_of(u: FloatArray, length: int) -> list[tuple[int, int]]:
    """Return (start, stop) of every pulse: up to `length` equal inputs that are not at rest."""
    out, k = [], 0
    while k < len(u):
        stop = k + 1
        if np.any(u[k] != 0.0):
            while stop < min(k + length, len(u)) and np.array_equal(u[stop], u[k]):
                stop += 1
            out.append((k, stop))
        k = stop
    return out


def _run(
    network: EchoStateNetwork, u: FloatArray, x0: ArrayLike | None, states: ArrayLike | Trajectory | None
) -> tuple[FloatArray, bool]:
    """Return the states of the run, and whether each is the network's own image of the one before."""
    if states is None:
        return drive(network, u, x0).states, True
    if x0 is not None:
        raise InvalidInputError("x0", "given with states", "must be left out: the run is there already")
    run = real_array(states.states if isinstance(states, Trajectory) else states, "states")
    if run.shape != (len(u), network.n_units):
        raise InvalidInputError(
            "states", f"shape {run.shape}", f"must be (n_steps = {len(u)}, n_units = {network.n_units})"
        )
    if not np.all(np.isfinite(run)):
        raise InvalidInputError("states", "NaN or infinite", "must be finite", "cut the run there")
    scale = max(1.0, float(np.max(np.abs(run))))
    for start in range(0, len(run) - 1, 4096):
        stop = min(start + 4096, len(run) - 1)
        images = network.step(run[start:stop], u[start + 1 : stop + 1])
        if np.max(np.abs(images - run[start + 1 : stop + 1])) > _OWN * scale:
            return run, False
    return run, True
