"""Memory tasks: input and target series whose answer is known by construction."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, RandomState
from esntools.arguments import real_array, real_number, seeded, whole_number
from esntools.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx

__all__ = ["AutomatonTask", "FlipFlop", "automaton_task", "flip_flop"]


@final
@dataclass(frozen=True, eq=False)
class AutomatonTask:
    r"""A finite automaton as a task: symbols come as input pulses, the target names the state they lead to.

    .. math:: s_k = \delta(s_{k-1}, \sigma_k), \qquad y_k = \mathrm{states}[s_k],

    and without a pulse the state stays.

    Attributes
    ----------
    u : array, shape (n_steps, n_inputs)
        The pulse of a symbol where there is one, zero in between. Symbols that leave each other's lines free
        may come together, as in a flip-flop.
    y : array, shape (n_steps, n_outputs)
        The target, the pulse at the same step included.
    pulses : array, shape (n_symbols, n_inputs)
        The input of every symbol at amplitude 1.
    states : array, shape (n_states, n_outputs)
        The target output of every state.
    transitions : array of int, shape (n_states, n_symbols)
        Where every symbol leads from every state.
    path : array of int, shape (n_steps,)
        The wanted state at every step, the pulse at the same step included.
    names : tuple of str
        Of the states.
    symbols : tuple of str
        Names of the symbols.
    initial : int or None
        The state before the first step; None where the first input sets it, as in a flip-flop.
    pulse_length : int
        Steps that a pulse lasts; the state changes at its first.
    """

    u: FloatArray
    y: FloatArray
    pulses: FloatArray
    states: FloatArray
    transitions: IntArray
    path: IntArray
    names: tuple[str, ...]
    symbols: tuple[str, ...]
    initial: int | None = None
    pulse_length: int = 1

    def __post_init__(self) -> None:
        steps, kinds, n = len(self.u), len(self.pulses), len(self.states)
        shapes = (
            ("u", self.u, (steps, self.pulses.shape[1])), ("y", self.y, (steps, self.states.shape[1])),
            ("transitions", self.transitions, (n, kinds)), ("path", self.path, (steps,)),
            ("names", np.array(self.names), (n,)), ("symbols", np.array(self.symbols), (kinds,)),
        )  # fmt: skip
        for place, array, shape in shapes:
            if array.shape != shape:
                raise InvalidInputError(place, f"shape {array.shape}", f"must be {shape}")
        for place, indices in (("transitions", self.transitions), ("path", self.path)):
            if indices.size and not (indices.min() >= 0 and indices.max() < n):
                raise InvalidInputError(
                    place, f"{indices.min()} ... {indices.max()}", f"must be in 0 ... {n - 1}"
                )
        for array in (self.u, self.y, self.pulses, self.states, self.transitions, self.path):
            array.setflags(write=False)

    @property
    def n_steps(self) -> int:
        return int(self.u.shape[0])

    @property
    def n_states(self) -> int:
        return int(self.states.shape[0])

    @property
    def n_symbols(self) -> int:
        return int(self.pulses.shape[0])

    def parts(self, u: ArrayLike) -> tuple[int, ...] | None:
        """Return the symbols whose pulses, on lines of their own, add up to `u`; None where none do.

        Examples
        --------
        >>> task = flip_flop(2, 5, rng=0).automaton
        >>> task.parts([1.0, -1.0]), task.parts([0.0, 0.0]), task.parts([0.5, 0.0])
        ((0, 3), (), None)
        """
        left = real_array(u, "u").ravel()
        if left.shape != self.pulses.shape[1:]:
            raise InvalidInputError("u", f"size {left.size}", f"must have {self.pulses.shape[1]} entries")
        whole = np.flatnonzero(np.all(np.abs(self.pulses - left) <= 1e-9, axis=1))
        if len(whole):
            return (int(whole[0]),)
        left, found = left.copy(), []
        for symbol, pulse in enumerate(self.pulses):
            lines = pulse != 0.0
            if lines.any() and np.all(np.abs(left[lines] - pulse[lines]) <= 1e-9):
                found.append(symbol)
                left[lines] = 0.0
        return tuple(found) if np.all(np.abs(left) <= 1e-9) else None

    def next_state(self, state: int, u: ArrayLike) -> int | None:
        """Return the state that the input `u` leads to from `state`; None where the automaton does not say.

        Symbols that come together must lead to one state in either order.

        Examples
        --------
        >>> task = flip_flop(2, 5, rng=0).automaton
        >>> task.names[task.next_state(0, [1.0, -1.0])]
        '(+1, -1)'
        """
        word = self.parts(u)
        if word is None:
            return None
        forth = back = whole_number(state, "state", 0, self.n_states - 1)
        for symbol in word:
            forth = int(self.transitions[forth, symbol])
        for symbol in reversed(word):
            back = int(self.transitions[back, symbol])
        return forth if forth == back else None


@final
@dataclass(frozen=True, eq=False)
class FlipFlop:
    """A K-bit flip-flop task.

    Attributes
    ----------
    u : array, shape (n_steps, n_bits)
        Pulses +1 and -1, zero in between.
    y : array, shape (n_steps, n_bits)
        The sign of the last pulse on each line, the one at the same step included.
    pulses : array, shape (2 * n_bits, n_bits)
        The unit pulses, in the order +1 and -1 on line 0, +1 and -1 on line 1, ...
    states : array, shape (2**n_bits, n_bits)
        Every memory state, in lexicographic order from all -1 to all +1.
    """

    u: FloatArray
    y: FloatArray
    pulses: FloatArray
    states: FloatArray

    @property
    def n_bits(self) -> int:
        return int(self.u.shape[1])

    @property
    def automaton(self) -> AutomatonTask:
        """The same task as a finite automaton: a pulse sets its bit.

        Examples
        --------
        >>> task = flip_flop(1, 4, rng=0).automaton
        >>> task.names, task.symbols, task.transitions.tolist()
        (('(-1)', '(+1)'), ('+1 on line 0', '-1 on line 0'), [[1, 0], [1, 0]])
        """
        n, bits = len(self.states), self.n_bits
        line = np.repeat(np.arange(bits), 2)
        weight = 1 << (bits - 1 - line)
        number = np.arange(n)[:, None]
        transitions = np.where(np.arange(2 * bits) % 2 == 0, number | weight, number & ~weight)
        path = (self.y > 0.0) @ (1 << np.arange(bits)[::-1])
        names = tuple("(" + ", ".join(f"{value:+g}" for value in row) + ")" for row in self.states)
        symbols = tuple(f"{sign} on line {i}" for i in range(bits) for sign in ("+1", "-1"))
        return AutomatonTask(
            self.u, self.y, self.pulses, self.states, transitions.astype(np.intp), path.astype(np.intp),
            names, symbols,
        )  # fmt: skip

    @property
    def n_steps(self) -> int:
        return int(self.u.shape[0])


def flip_flop(
    n_bits: int, n_steps: int, *, pulse_probability: float = 0.02, rng: RandomState = None
) -> FlipFlop:
    """Return a random K-bit flip-flop task.

    Each line carries, independently at every step, a pulse +1 or -1 with probability `pulse_probability`
    (both signs equally likely); the target holds the sign of the line's last pulse. The first step has a
    pulse on every line, so that the target is defined throughout.

    Raises
    ------
    InvalidInputError
        When a number is out of range.

    References
    ----------
    D. Sussillo, O. Barak, Neural Computation 25 (2013) 626, doi:10.1162/NECO_a_00409,
    sec. 3.4 (3-bit flip-flop).

    Examples
    --------
    >>> task = flip_flop(2, 6, pulse_probability=0.3, rng=1)
    >>> task.u.astype(int).tolist()
    [[1, -1], [-1, 0], [0, 0], [0, 0], [0, -1], [0, 0]]
    >>> task.y.astype(int).tolist()
    [[1, -1], [-1, -1], [-1, -1], [-1, -1], [-1, -1], [-1, -1]]
    """
    n_bits, n_steps = whole_number(n_bits, "n_bits"), whole_number(n_steps, "n_steps")
    if n_bits > 16:
        raise InvalidInputError("n_bits", str(n_bits), "must be at most 16: there are 2**n_bits states")
    if not 0.0 < real_number(pulse_probability, "pulse_probability") <= 1.0:
        raise InvalidInputError("pulse_probability", str(pulse_probability), "must lie in (0, 1]")
    rng = np.random.default_rng(rng)
    shape = (int(n_steps), int(n_bits))
    there = rng.random(shape) < pulse_probability
    there[0] = True
    u = np.where(there, rng.choice([-1.0, 1.0], shape), 0.0)
    # The step of the last pulse so far, on each line.
    last = np.maximum.accumulate(np.where(there, np.arange(shape[0])[:, None], 0), axis=0)
    y = np.take_along_axis(u, last, axis=0)
    unit = np.eye(shape[1])
    pulses = np.stack([unit, -unit], axis=1).reshape(2 * shape[1], shape[1])
    states = np.array(list(itertools.product((-1.0, 1.0), repeat=shape[1])))
    for array in (u, y, pulses, states):
        array.setflags(write=False)
    return FlipFlop(u, y, pulses, states)


def _edges(
    graph: networkx.DiGraph, position: dict[Hashable, int]
) -> tuple[tuple[Hashable, ...], list[tuple[int, Hashable, int]]]:
    """Return the symbols in order, and (source, symbol, target) of every labelled edge."""
    edges: list[tuple[int, Hashable, int]] = []
    for source, target, data in graph.edges(data=True):
        place = f"edge {source!r} -> {target!r}"
        given = data.get("symbols", data.get("symbol"))
        if given is None:
            raise InvalidInputError(
                place, "no symbol", "every edge carries the symbol that takes it",
                "set its attribute 'symbol', or 'symbols' to a list",
            )  # fmt: skip
        listed = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
        for symbol in listed:
            if not isinstance(symbol, Hashable):
                raise InvalidInputError(place, f"symbol {symbol!r}", "must be text or a number")
            edges.append((position[source], symbol, position[target]))
    if not edges:
        raise InvalidInputError("graph", "no edge", "an automaton needs a symbol at least", "add an edge")
    distinct = list(dict.fromkeys(symbol for _, symbol, _ in edges))
    if len({str(symbol) for symbol in distinct}) < len(distinct):
        raise InvalidInputError("graph", "two symbols with one name", "symbols must differ as text")
    try:
        ordered = sorted(distinct)  # type: ignore[type-var]
    except TypeError:
        ordered = sorted(distinct, key=str)
    return tuple(ordered), edges


def _vectors(
    given: ArrayLike | Mapping[Any, ArrayLike] | None, keys: tuple[Any, ...], place: str
) -> FloatArray:
    """Return a row per key: unit vectors, or those of a mapping or an array."""
    if given is None:
        return np.eye(len(keys))
    if isinstance(given, Mapping):
        missing = [key for key in keys if key not in given]
        if missing:
            raise InvalidInputError(place, f"nothing for {missing[0]!r}", "must have a vector for each")
        given = [np.ravel(real_array(given[key], f"{place}[{key!r}]")) for key in keys]
    rows = np.array(real_array(given, place))
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim != 2 or len(rows) != len(keys) or rows.shape[1] == 0:
        raise InvalidInputError(place, f"shape {rows.shape}", f"must have {len(keys)} rows, one for each")
    if not np.all(np.isfinite(rows)):
        raise InvalidInputError(place, "NaN or infinite", "every entry must be finite")
    for i, j in itertools.combinations(range(len(rows)), 2):
        if np.array_equal(rows[i], rows[j]):
            raise InvalidInputError(place, f"{keys[i]!r} and {keys[j]!r} are alike", "must differ")
    return rows


def automaton_task(
    graph: networkx.DiGraph,
    n_steps: int,
    *,
    pulse_probability: float = 0.02,
    pulse_interval: int = 1,
    pulse_length: int = 1,
    outputs: ArrayLike | Mapping[Any, ArrayLike] | None = None,
    inputs: ArrayLike | Mapping[Any, ArrayLike] | None = None,
    initial: Hashable | None = None,
    rng: RandomState = None,
) -> AutomatonTask:
    r"""Return a random run of a finite automaton that is given as a graph.

    Each step brings, with probability `pulse_probability`, one symbol, all equally likely. The state follows
    the edge that carries it; where there is none it stays.

    Parameters
    ----------
    graph : networkx.DiGraph or MultiDiGraph
        Every edge carries an attribute ``symbol``, or ``symbols``, a list.
    n_steps : int
    pulse_probability : float
        Default 0.02.
    pulse_interval : int
        Least number of steps from the beginning of one pulse to the next. Default 1.
    pulse_length : int
        Steps that a pulse lasts; the target changes at its first. Default 1.
    outputs : array_like, shape (n_states, n_outputs), or mapping of nodes, optional
        The target of every state, in the order of ``graph.nodes``. Default: unit vectors.
    inputs : array_like, shape (n_symbols, n_inputs), or mapping of symbols, optional
        The pulse of every symbol, in their sorted order. Default: unit vectors.
    initial : node, optional
        The state before the first step. Default: the first node.
    rng : int, Generator or None

    Raises
    ------
    InvalidInputError
        When an edge has no symbol, a symbol leads from one state to two (the automaton is not
        deterministic), two states or two symbols look alike, or a number is out of range.

    Examples
    --------
    >>> import networkx
    >>> graph = networkx.DiGraph()
    >>> graph.add_edge("red", "green", symbol="go")
    >>> graph.add_edge("green", "red", symbol="stop")
    >>> task = automaton_task(graph, 6, pulse_probability=0.5, rng=3)
    >>> task.symbols, task.transitions.tolist()
    (('go', 'stop'), [[1, 0], [1, 0]])
    >>> [task.names[s] for s in task.path]
    ['red', 'green', 'green', 'green', 'red', 'red']
    """
    if not (hasattr(graph, "is_directed") and graph.is_directed()):
        raise InvalidInputError("graph", type(graph).__name__, "must be a directed graph of networkx")
    nodes: tuple[Hashable, ...] = tuple(graph.nodes)
    if not nodes:
        raise InvalidInputError("graph", "no node", "an automaton needs a state at least")
    n_steps = whole_number(n_steps, "n_steps")
    pulse_length = whole_number(pulse_length, "pulse_length")
    pulse_interval = max(whole_number(pulse_interval, "pulse_interval"), pulse_length)
    if not 0.0 < real_number(pulse_probability, "pulse_probability") <= 1.0:
        raise InvalidInputError("pulse_probability", str(pulse_probability), "must lie in (0, 1]")
    position = {node: i for i, node in enumerate(nodes)}
    if initial is not None and not (isinstance(initial, Hashable) and initial in position):
        raise InvalidInputError("initial", repr(initial), "must be a node of the graph")
    symbols, edges = _edges(graph, position)
    column = {symbol: i for i, symbol in enumerate(symbols)}
    transitions = np.repeat(np.arange(len(nodes), dtype=np.intp)[:, None], len(symbols), axis=1)
    there = np.zeros(transitions.shape, dtype=np.bool_)
    for source, symbol, target in edges:
        at = source, column[symbol]
        if there[at] and transitions[at] != target:
            raise InvalidInputError(
                f"node {nodes[source]!r}",
                f"symbol {symbol!r} leads to {nodes[transitions[at]]!r} and to {nodes[target]!r}",
                "the automaton must be deterministic",
            )
        there[at], transitions[at] = True, target
    states = _vectors(outputs, nodes, "outputs")
    pulses = _vectors(inputs, symbols, "inputs")
    silent = np.flatnonzero(np.all(pulses == 0.0, axis=1))
    if len(silent):
        raise InvalidInputError(
            "inputs", f"zero for {symbols[silent[0]]!r}", "zero means that no symbol comes"
        )
    generator = seeded(rng)
    pulsed = generator.random(n_steps) < pulse_probability
    drawn = generator.integers(0, len(symbols), n_steps)
    u, path = np.zeros((n_steps, pulses.shape[1])), np.empty(n_steps, dtype=np.intp)
    start = state = 0 if initial is None else position[initial]
    last = -pulse_interval
    for k in range(n_steps):
        if pulsed[k] and k - last >= pulse_interval:
            last, u[k : k + pulse_length] = k, pulses[drawn[k]]
            state = int(transitions[state, drawn[k]])
        path[k] = state
    names, words = tuple(map(str, nodes)), tuple(map(str, symbols))
    return AutomatonTask(
        u, states[path], pulses, states, transitions, path, names, words, start, pulse_length
    )
