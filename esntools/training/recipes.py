"""Training recipes: networks that remember, for flip-flops and for any finite automaton."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import Progress, RandomState, no_progress
from esntools.arguments import seeded, whole_number
from esntools.errors import InvalidInputError
from esntools.tasks import AutomatonTask, FlipFlop, automaton_task, flip_flop
from esntools.training import fit
from esntools.training.fitted import Fit

__all__ = ["train_automaton", "train_flip_flop"]

_MOST_BITS: Final = 6


def train_flip_flop(
    n_bits: int,
    *,
    n_units: int | None = None,
    n_steps: int | None = None,
    pulse_probability: float = 0.02,
    feedback_noise: float = 0.2,
    spectral_radius: float = 0.9,
    input_scaling: float = 1.0,
    leak_rate: float = 1.0,
    ridge: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Fit:
    r"""Train a network to hold K bits: its output is fed back, and every line remembers its last pulse.

    The reservoir is driven by the pulses and by the target in the place of its own output, plus white noise
    of size `feedback_noise`; the readout is fitted by ridge regression. The noise teaches the readout to
    correct its own errors: with 0.2 there are, nearly always, exactly :math:`2^K` attractors; without it
    there are often more or fewer (see `esntools.excitable.diagnose`).

    Parameters
    ----------
    n_bits : int
        K, at most 6.
    n_units : int, optional
        By default 100 up to two bits, then 25 for each of the 2**K states.
    n_steps : int, optional
        Steps of the training series, of which a fifth is held out. By default 3000, and at least 10 times
        `n_units`.
    pulse_probability : float, optional
        Of a pulse on each line at each step. Default 0.02.
    feedback_noise : float, optional
        Default 0.2; 0 trains without.
    spectral_radius, input_scaling, leak_rate : float, optional
        Of the reservoir. Defaults 0.9, 1 and 1.
    ridge : float, optional
        Penalty; searched by default. See `esntools.training.fit`.
    rng : int, Generator or None
        Of the task, the reservoir and the noise. Default 0.
    progress : callable, optional

    Returns
    -------
    Fit
        Its `network` has the pulses as inputs and the bits as outputs.

    Raises
    ------
    InvalidInputError
        When a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from esntools.fixed_points import find_fixed_points
    >>> bit = train_flip_flop(1, n_units=50, rng=1).network
    >>> rest = find_fixed_points(bit.at_input([0.0]), rng=0).stable
    >>> sorted(float(np.sign(point.output[0])) for point in rest)
    [-1.0, 1.0]

    References
    ----------
    D. Sussillo, O. Barak, Neural Computation 25 (2013) 626, doi:10.1162/NECO_a_00409 (the task);
    H. Jaeger, GMD Report 148 (2001), sec. 5.2 (noise while the teacher is fed back).
    """
    n_bits = whole_number(n_bits, "n_bits", 1, _MOST_BITS)
    n_units, n_steps = _sizes(n_units, n_steps, 2**n_bits, 100)
    rng = seeded(rng)
    task = flip_flop(n_bits, n_steps, pulse_probability=pulse_probability, rng=rng)
    return _fitted(
        task, n_units, rng, progress, feedback_noise=feedback_noise, spectral_radius=spectral_radius,
        input_scaling=input_scaling, leak_rate=leak_rate, ridge=ridge,
    )  # fmt: skip


def train_automaton(
    graph: Any,
    *,
    n_units: int | None = None,
    n_steps: int | None = None,
    pulse_probability: float = 0.1,
    pulse_interval: int = 1,
    outputs: ArrayLike | Mapping[Any, ArrayLike] | None = None,
    inputs: ArrayLike | Mapping[Any, ArrayLike] | None = None,
    initial: Hashable | None = None,
    feedback_noise: float = 0.2,
    spectral_radius: float = 0.2,
    input_scaling: float = 1.0,
    leak_rate: float = 1.0,
    ridge: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Fit:
    """Train a network to run a finite automaton that is given as a graph with a symbol on every edge.

    The recipe of `train_flip_flop`, for `esntools.tasks.automaton_task`: each symbol is a pulse, each state
    an attractor with an output of its own.

    Parameters
    ----------
    graph : networkx.DiGraph or MultiDiGraph
        Every edge carries ``symbol``, or ``symbols``, a list. A symbol without an edge changes
        nothing.
    n_units : int, optional
        By default 25 for each state, at least 200.
    n_steps : int, optional
        By default 3000, and at least 10 times `n_units`.
    pulse_probability : float, optional
        Of a symbol at each step. Default 0.1.
    pulse_interval : int, optional
        Least number of steps from one symbol to the next. Default 1.
    outputs, inputs, initial
        Of `automaton_task`: the target of every state, the pulse of every symbol (unit vectors by default),
        the first state.
    spectral_radius : float, optional
        Default 0.2: what a symbol does depends on the state alone, and the reservoir's own memory of earlier
        symbols is in the way.
    feedback_noise, input_scaling, leak_rate, ridge, rng, progress
        As in `train_flip_flop`.

    Raises
    ------
    InvalidInputError
        When the graph is no deterministic automaton or a number is out of range.

    Examples
    --------
    >>> import networkx, numpy as np
    >>> from esntools.fixed_points import find_fixed_points
    >>> light = networkx.DiGraph()
    >>> light.add_edge("red", "green", symbol="go")
    >>> light.add_edge("green", "red", symbol="stop")
    >>> network = train_automaton(light, n_units=40, rng=1).network
    >>> rest = find_fixed_points(network.at_input([0.0, 0.0]), rng=0).stable
    >>> sorted(int(np.argmax(point.output)) for point in rest)
    [0, 1]
    """
    # The task itself refuses a graph that is none.
    n_states = len(graph) if hasattr(graph, "is_directed") else 1
    n_units, n_steps = _sizes(n_units, n_steps, n_states, 200)
    rng = seeded(rng)
    task = automaton_task(
        graph, n_steps, pulse_probability=pulse_probability, pulse_interval=pulse_interval, outputs=outputs,
        inputs=inputs, initial=initial, rng=rng,
    )  # fmt: skip
    return _fitted(
        task, n_units, rng, progress, feedback_noise=feedback_noise, spectral_radius=spectral_radius,
        input_scaling=input_scaling, leak_rate=leak_rate, ridge=ridge,
    )  # fmt: skip


def _sizes(n_units: int | None, n_steps: int | None, n_states: int, least: int) -> tuple[int, int]:
    n_units = max(least, 25 * n_states) if n_units is None else whole_number(n_units, "n_units")
    n_steps = max(3000, 10 * n_units) if n_steps is None else whole_number(n_steps, "n_steps", 100)
    return n_units, n_steps


def _fitted(
    task: FlipFlop | AutomatonTask, n_units: int, rng: np.random.Generator, progress: Progress, **options: Any
) -> Fit:
    if isinstance(task, AutomatonTask):
        visited = set(task.path.tolist())
        for k, name in enumerate(task.names):
            if k not in visited:
                raise InvalidInputError(
                    f"state {name!r}", "never visited in the training series",
                    "must be reached to be learned",
                    "leave it out, begin elsewhere (initial), or take more steps",
                )  # fmt: skip
    return fit(task.y, task.u, task="map", n_units=n_units, rng=rng, progress=progress, **options)
