"""The excitable network along an input: responses, the saddles between them, and thresholds in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, real_array, real_number, seeded, whole_number
from esntools.basins.runs import checked_states
from esntools.errors import InvalidInputError
from esntools.excitable.driven.graph import driven_graph
from esntools.excitable.driven.kicks import Found, find_state_kicks, input_kicks, sides_of
from esntools.excitable.driven.responses import find_responses
from esntools.excitable.driven.results import (
    DrivenResponse,
    DrivenThreshold,
    Dwell,
    NonautonomousNetwork,
    NonautonomousSaddle,
    ResponseEvent,
)
from esntools.excitable.driven.runs import dwells_of
from esntools.excitable.driven.saddles import find_saddles
from esntools.excitable.driven.series import Series
from esntools.network import EchoStateNetwork
from esntools.simulation.stepping import checked_inputs
from esntools.threads import one_blas_thread

__all__ = [
    "DrivenResponse", "DrivenThreshold", "Dwell", "NonautonomousNetwork", "NonautonomousSaddle",
    "ResponseEvent", "nonautonomous_network",
]  # fmt: skip

_SAMPLES: Final = 9
_AMPLITUDES: Final = 48
#: The share of undecided states that is worth a note.
_MANY: Final = 0.1


def _checked_series(network: EchoStateNetwork, u: ArrayLike) -> FloatArray:
    if not isinstance(network, EchoStateNetwork):
        raise InvalidInputError(
            "network", type(network).__name__, "must be an EchoStateNetwork",
            "convert a ReservoirPy model by from_reservoirpy",
        )  # fmt: skip
    inputs = checked_inputs(network, u)
    if inputs.ndim != 2 or len(inputs) < 32:
        raise InvalidInputError(
            "u", f"shape {inputs.shape}", f"must be one series (n_steps >= 32, {network.n_inputs})"
        )
    return inputs


def _checked_basis(subspace: ArrayLike, n: int) -> FloatArray:
    columns = np.array(real_array(subspace, "subspace"))
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or columns.shape[0] != n or columns.shape[1] == 0:
        raise InvalidInputError("subspace", f"shape {columns.shape}", f"must have shape (n_units = {n}, k)")
    if not (np.all(np.isfinite(columns)) and np.any(columns)):
        raise InvalidInputError("subspace", "zero, NaN or infinite", "must span at least one direction")
    U, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(U[:, sizes > 1e-12 * sizes[0]])


def _checked_pulses(pulses: ArrayLike | None, n_inputs: int) -> FloatArray:
    if pulses is None:
        return np.vstack([np.eye(n_inputs), -np.eye(n_inputs)])
    rows = np.array(real_array(pulses, "pulses"))
    if rows.ndim != 2 or rows.shape[1] != n_inputs or len(rows) == 0:
        raise InvalidInputError(
            "pulses", f"shape {rows.shape}", f"must have shape (n_pulses, n_inputs = {n_inputs})"
        )
    if not np.all(np.isfinite(rows)) or np.any(np.all(rows == 0.0, axis=1)):
        raise InvalidInputError("pulses", "zero, NaN or infinite", "every row must be a direction")
    return rows


def _checked_pairs(pairs: Sequence[tuple[int, int]], n: int) -> frozenset[tuple[int, int]]:
    table = np.asarray(pairs)
    if table.ndim != 2 or table.shape[1] != 2 or table.dtype.kind not in "iu":
        raise InvalidInputError("pairs", repr(pairs)[:60], "must be pairs (source, target) of whole numbers")
    if np.any(table < 0) or np.any(table >= n) or np.any(table[:, 0] == table[:, 1]):
        raise InvalidInputError("pairs", repr(pairs)[:60], f"must be two different ones of {n} responses")
    return frozenset((int(i), int(j)) for i, j in table)


def _sampled(times: ArrayLike | None, n_steps: int, n_past: int, responses: Sequence[Any]) -> IntArray:
    """Return the times at which thresholds are asked, in rising order."""
    if times is None:
        first = max((r.begin for r in responses if r.born == 0), default=0)
        last = max(first, n_steps - n_past)
        return np.unique(np.linspace(first, last, _SAMPLES).round().astype(np.intp))
    raw = np.atleast_1d(np.asarray(times))
    if raw.ndim != 1 or raw.dtype.kind not in "iu" or len(raw) == 0:
        raise InvalidInputError("times", f"{raw.dtype} of shape {raw.shape}", "must be whole numbers")
    if raw.min() < 0 or raw.max() >= n_steps:
        raise InvalidInputError(
            "times", f"{raw.min()} to {raw.max()}", f"must lie in 0 ... {n_steps - 1}, the times of u"
        )
    return np.unique(raw.astype(np.intp))


def _thresholds(found: Found, times: IntArray) -> tuple[DrivenThreshold, ...]:
    """Return the kicks of every ordered pair over the sampled times."""
    best, out = found.best, list[DrivenThreshold]()
    if best is None:
        return ()
    pulse = np.full(len(best), -1, dtype=np.intp) if found.pulse is None else found.pulse
    for i, j in sorted(set(zip(best.source.tolist(), best.target.tolist()))):
        sizes, kicks = np.full(len(times), np.nan), np.full((len(times), best.V.shape[1]), np.nan)
        which, good = np.full(len(times), -1, dtype=np.intp), np.zeros(len(times), dtype=np.bool_)
        alignment = np.full(len(times), np.nan)
        rows = np.flatnonzero((best.source == i) & (best.target == j))
        at = np.searchsorted(times, best.time[rows])
        sizes[at], kicks[at] = best.high[rows], best.high[rows, None] * best.V[rows]
        which[at], good[at], alignment[at] = pulse[rows], found.checked[rows], best.alignment[rows]
        out.append(DrivenThreshold(i, j, times, sizes, kicks, which, good, alignment))
    return tuple(out)


@one_blas_thread
def nonautonomous_network(
    network: EchoStateNetwork,
    u: ArrayLike,
    x0: ArrayLike | None = None,
    *,
    n_past: int | None = None,
    stride: int | None = None,
    times: ArrayLike | None = None,
    metric: Literal["state", "subspace", "input"] = "state",
    subspace: ArrayLike | None = None,
    pulses: ArrayLike | None = None,
    max_amplitude: float = 4.0,
    pairs: Sequence[tuple[int, int]] | None = None,
    run: ArrayLike | None = None,
    n_starts: int = 128,
    n_rays: int = 3,
    tol: float = 1e-9,
    max_iterations: int = 25,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> NonautonomousNetwork:
    r"""Extract the excitable network of a network along an input: its responses and the kicks between them.

    Under the inputs :math:`u_0, u_1, \dots` the attractors of the autonomous case become local point
    attractors: solutions :math:`x_i[k]` to which their neighbours converge. The threshold at time k is

    .. math:: \delta(i \to j; k) = \min \{ |d| : x_i[k] + d \text{ approaches } x_j \text{ under }
              u_k, u_{k+1}, \dots \}.

    Its minimum over the sampled times is on the edge from i to j of `graph`. A series that is constant gives
    the excitable network of the autonomous map.

    Parameters
    ----------
    network : EchoStateNetwork
    u : array_like, shape (n_steps, n_inputs)
        At least 32 steps. ``u[k]`` leads from the state at time k to the one at time k + 1.
    x0 : array_like, shape (n_units,) or (n_runs, n_units), optional
        Where runs start at time 0, for `dwells`.
    n_past : int, optional
        Steps from the starts to the time at which responses are counted: the memory within which solutions
        that converge are one. By default a quarter of the series, at most 1000.
    stride : int, optional
        Starts are made every so many steps. A response that lasts at least ``n_past + stride`` steps is met;
        half of `n_past` by default.
    times : array_like of int, optional
        When thresholds are asked; 9 times by default, the last one `n_past` steps before the end. A kick must
        be decided before the series ends, and before the two responses merge.
    metric : {"state", "subspace", "input"}
        The free kick in the 2-norm (default), the kick in `subspace`, or the amplitude g of a disturbance of
        one input, :math:`u_k + g v`, v a row of `pulses`.
    subspace : array_like, shape (n_units, k), optional
        Columns; for the metric "subspace", which it implies.
    pulses : array_like, shape (n_pulses, n_inputs), optional
        Plus and minus one in each input by default; for the metric "input".
    max_amplitude : float
        The largest amplitude of a pulse that is tried. Default 4.
    pairs : sequence of tuple of int, optional
        The (source, target) for which thresholds are asked, as numbers of responses; all by default.
    run : array_like, shape (n_steps + 1, n_units), optional
        A recorded run, such as one with noise, for `dwells`.
    n_starts : int
        Independent uniform starts; others, space-filling and adversarial, come on top. Default 128.
    n_rays : int
        Directions that are turned for every pair and time. Default 3.
    tol : float
        Relative width of brackets, and 1 - alignment at which a direction is left. Default 1e-9.
    max_iterations : int
        Turns of a direction at most. Default 25.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    NonautonomousNetwork

    Raises
    ------
    InvalidInputError
        When a shape does not fit, or a number is out of its range.

    Notes
    -----
    Responses are found by pullbacks from many times (see `estimate_echo_index`), the boundaries between them
    by tracking, and the kicks by turning directions towards the normals of the boundary, which are carried
    back along driven runs. All of this searches: a response with a small basin (one that none or two of the
    starts reach), a shorter kick far from all directions tried, may be missed; the thresholds are upper
    bounds, every one replayed (`checked`). Where a basin is entered at a corner, between two others, there
    is no normal, and the size is good to about a thousandth.

    Which responses there are depends on `n_past`. Two that meet within it, or whose distance falls by a
    factor of ten within as many steps again, are one; what lasts for less is not seen. Where the state
    forgets slowly, `n_past` must be long: `note` says when it is too short.

    A kick is to lead to the target before the target, or the source, merges. Shortly before the merge of two
    responses nothing is decided in time, and there are no thresholds between them.

    Examples
    --------
    A sign that is remembered under a weak oscillation. At rest the kick that turns it is 0.859; it is
    shorter where the next inputs help.

    >>> import numpy as np
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    >>> ena = nonautonomous_network(bit, 0.1 * np.sin(np.arange(400) / 5.0)[:, None], n_past=100)
    >>> ena
    NonautonomousNetwork(2 responses, 1 saddles, 2 thresholds, 0 merges, 0 splits)
    >>> [round(t.minimum, 2) for t in ena.thresholds], [bool(t.checked.all()) for t in ena.thresholds]
    ([0.64, 0.64], [True, True])

    References
    ----------
    Local point attractors: A. Ceni, P. Ashwin, L. Livi, C. Postlethwaite, Physica D 412 (2020) 132609,
    doi:10.1016/j.physd.2020.132609. Thresholds: P. Ashwin, C. Postlethwaite, Biol. Cybern. 115 (2021) 519,
    doi:10.1007/s00422-021-00895-5.
    """
    inputs = _checked_series(network, u)
    n_steps = len(inputs)
    if n_past is None:
        n_past = min(n_steps // 4, 1000)
    n_past = whole_number(n_past, "n_past", 8, n_steps // 2)
    stride = max(1, n_past // 2) if stride is None else whole_number(stride, "stride", 1, n_steps)
    for place, value, least in (
        ("n_starts", n_starts, 8), ("n_rays", n_rays, 1), ("max_iterations", max_iterations, 0)
    ):  # fmt: skip
        whole_number(value, place, least)
    if not 1e-13 <= real_number(tol, "tol") <= 1e-3:
        raise InvalidInputError("tol", str(tol), "must lie in [1e-13, 1e-3]", "leave it at 1e-9")
    if metric not in ("state", "subspace", "input"):
        raise InvalidInputError("metric", repr(metric), 'must be "state", "subspace" or "input"')
    if subspace is not None and metric == "state":
        metric = "subspace"
    if (metric == "subspace") != (subspace is not None):
        raise InvalidInputError("subspace", "None" if subspace is None else "given",
                                'goes with the metric "subspace"')  # fmt: skip
    if metric == "input" and network.n_inputs == 0:
        raise InvalidInputError("metric", '"input"', "the network has no inputs", 'use "state"')
    basis = None if subspace is None else _checked_basis(subspace, network.n_units)
    directions = _checked_pulses(pulses, network.n_inputs)
    if pulses is not None and metric != "input":
        raise InvalidInputError("pulses", "given", 'goes with the metric "input"')
    positive_number(max_amplitude, "max_amplitude")
    starts = None if x0 is None else checked_states(x0, "x0", network.n_units)
    recorded = None if run is None else checked_states(run, "run", network.n_units)
    if recorded is not None and len(recorded) != n_steps + 1:
        raise InvalidInputError("run", f"{len(recorded)} states", f"must be n_steps + 1 = {n_steps + 1}")
    if times is not None:
        _sampled(times, n_steps, n_past, ())
    generator = seeded(rng)

    def share(low: float, high: float) -> Progress:
        return lambda label, fraction: progress(label, low + (high - low) * fraction)

    series = Series(network, inputs)
    responses, events, notes = find_responses(series, n_past, stride, n_starts, generator, share(0.0, 0.3))
    asked = None if pairs is None else _checked_pairs(pairs, len(responses))
    saddles = find_saddles(series, None, (), share(0.3, 0.5))
    sampled = _sampled(times, n_steps, n_past, responses)
    if metric == "input":
        found = input_kicks(series, sampled, directions, asked, max_amplitude, _AMPLITUDES, tol)
    else:
        found = find_state_kicks(
            series, saddles, sampled, basis, asked, n_rays, tol, max_iterations, generator, share(0.5, 0.9)
        )
        if found.best is not None:
            # Where the kicks lead to: boundaries that no way from response to response meets.
            saddles = find_saddles(series, sides_of(series, found.best), saddles, share(0.9, 1.0))
    thresholds = _thresholds(found, sampled)
    dwells = dwells_of(series, starts, recorded)
    if len(responses) == 1:
        notes.append("one response only is known: there is no other one to kick to")
    if any(not t.checked[np.isfinite(t.sizes)].all() for t in thresholds):
        notes.append("some kicks failed their replay: the boundary is folded, or near to another one, there")
    if thresholds and not saddles:
        notes.append("no boundary could be followed: to tell responses apart takes longer than the series")
    if found.unresolved > _MANY and len(responses) > 1:
        notes.append(
            f"{100.0 * found.unresolved:.0f} % of the kicked states that were tried approach no known "
            "response in time: it is born late or does not last, or the series ends too soon"
        )
    note = "; ".join(notes)
    graph = driven_graph(
        responses, saddles, thresholds, events, dwells, sampled, metric, directions, max_amplitude,
        n_past, found.unresolved, note,
    )  # fmt: skip
    progress("nonautonomous network", 1.0)
    return NonautonomousNetwork(
        responses, saddles, events, thresholds, sampled, metric, dwells, n_past, inputs, graph, note
    )
