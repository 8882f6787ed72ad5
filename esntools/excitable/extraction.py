"""From a network to its excitable network attractor: attractors, what kicks lead where, and the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, real_array, real_number, seeded, whole_number
from esntools.basins.attractors import Attractor
from esntools.basins.runs import checked_states
from esntools.errors import InvalidInputError, nearest_name
from esntools.excitable.cuts import METRICS, checked_amplitude, lay_edges
from esntools.excitable.input_kicks import NARROW, PulseKicks, checked_pulses, scan_pulses
from esntools.excitable.landscape import Landscape, find_landscape
from esntools.fixed_points import FixedPoints
from esntools.maps import Map, checked_map
from esntools.threads import one_blas_thread

__all__ = ["excitable_network"]

_MULTIPLIERS: Final = 10
# States of a run that are handed on as seeds.
_MOST_STARTS: Final = 2000


def _checked_metrics(metrics: Sequence[str] | str | None, system: Map) -> tuple[str, ...]:
    if metrics is None:
        return ("input",) if system.n_inputs else ("state",)
    if not isinstance(metrics, str | list | tuple):
        raise InvalidInputError("metrics", repr(metrics), "must be a metric, or a list of metrics")
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    for name in names:
        if not isinstance(name, str) or name not in METRICS:
            near = nearest_name(name, METRICS) if isinstance(name, str) else ""
            raise InvalidInputError("metrics", repr(name), f"must be among {', '.join(METRICS)}", near)
    if not names or len(set(names)) < len(names):
        raise InvalidInputError("metrics", repr(names), "must be different metrics, at least one")
    if "input" in names and system.n_inputs == 0:
        raise InvalidInputError("metrics", "'input'", "the map has no inputs", "use 'state' or 'range'")
    return names


def _checked_run(run: Any, system: Map) -> tuple[FloatArray, FloatArray | None] | None:
    """Return the input of a driven run, and its states where they were given too."""
    if run is None:
        return None
    states = None
    if isinstance(run, tuple):
        if len(run) != 2:
            raise InvalidInputError("run", f"{len(run)} parts", "must be u, or (u, states)")
        run, states = run
    u = np.array(real_array(run, "run"))
    if u.ndim == 1 and system.n_inputs == 1:
        u = u[:, None]
    if u.ndim != 2 or u.shape[1] != system.n_inputs or len(u) == 0 or not np.all(np.isfinite(u)):
        raise InvalidInputError(
            "run", f"shape {u.shape}", f"must be a finite input (n_steps, n_inputs = {system.n_inputs})"
        )
    if states is None:
        return u, None
    X = np.array(real_array(states, "run states"))
    if X.shape != (len(u), system.n_units) or not np.all(np.isfinite(X)):
        raise InvalidInputError(
            "run states", f"shape {X.shape}", f"must be finite, of shape {(len(u), system.n_units)}"
        )
    return u, X


@one_blas_thread
def excitable_network(
    network: Map,
    pulses: ArrayLike | None = None,
    *,
    metrics: Sequence[str] | str | None = None,
    metric: str | None = None,
    amplitude: float | None = None,
    u: ArrayLike | None = None,
    run: Any = None,
    certify: bool = False,
    budget: float = 120.0,
    relax_steps: int = 3000,
    pulse_length: int = 1,
    max_amplitude: float = 4.0,
    n_amplitudes: int = 48,
    n_random: int = 512,
    tolerance: float = 1e-6,
    n_starts: int = 8,
    starts: ArrayLike | None = None,
    fixed_points: FixedPoints | None = None,
    landscape: Landscape | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> nx.DiGraph:
    r"""Extract the excitable network attractor of a network.

    Nodes are the attractors of the map at the constant input `u`. The threshold of a connection i to j is

    .. math:: \delta(i \to j) = \min \{ |d| : \text{the kick } d \text{ applied at } i \text{ leads to } j\},

    where kicks and their sizes are those of a metric. ``"input"``: a single pulse, the input being
    :math:`\bar u + g v` for `pulse_length` steps with v a row of `pulses`; the size is the amplitude g.
    ``"state"``: a displacement of the state, in the 2-norm. ``"range"``: one that stays in the activation's
    range. ``"subspace"``: one in the local switching subspace of i, which the displacements span that inputs
    cause there. As every threshold is finite in the state, edges are those connections whose threshold is at
    most an `amplitude`.

    Parameters
    ----------
    network : EchoStateNetwork or Map
        Normally trained with output feedback.
    pulses : array_like, shape (n_pulses, n_inputs), optional
        The task's pulses at amplitude 1. By default +1 and -1 on every line.
    metrics : sequence of str, optional
        Those in which thresholds are searched for. Default ``("input",)``, and ``("state",)`` where there are
        no inputs.
    metric : str, optional
        That of the edges. Default the first of `metrics`.
    amplitude : float, optional
        The largest threshold of an edge; infinity makes every connection found an edge. By default it is put
        into the largest gap of the sorted thresholds :math:`t_1 \le t_2 \le \dots` of the pairs, in the
        metric of the edges: :math:`\sqrt{t_k t_{k+1}}` with the largest :math:`t_{k+1} / t_k`. Where pulses
        are given, only gaps above what they do at amplitude 1 count. Without a ratio of 2 or more every
        connection is an edge.
    u : array_like, shape (n_inputs,), optional
        The input between pulses. Default 0.
    run : array_like, shape (n_steps, n_inputs), or tuple (u, states), optional
        A run that the network is driven through, for the switching subspaces; pulses by default. Its states
        (when given) are further starts.
    certify : bool
        Whether to prove lower bounds, and balls in the basins. Default False.
    budget : float
        Seconds for the proofs, about; what is proved until then is kept. Default 120.
    relax_steps : int
        Steps within which an attractor is normally reached. Default 3000.
    pulse_length : int
        Steps that a pulse lasts. Default 1.
    max_amplitude : float
        The largest pulse. Default 4.
    n_amplitudes : int
        Amplitudes scanned before bisection; a window narrower than the scan's mesh can be missed. Default 48.
    n_random : int
        Random initial states, uniform in the activation's range, for the basin shares. Default 512.
    tolerance : float
        Relative width of the bracket of an amplitude at which bisection stops. Default 1e-6.
    n_starts : int
        First directions of the search for the smallest kick of the state, for each pair. Default 8.
    starts : array_like, shape (n, n_units), optional
        States of a run, as further seeds for the attractors.
    fixed_points : FixedPoints, optional
        Of ``network.at_input(u)``, when they are known already.
    landscape : Landscape, optional
        Of the network at `u`, when it is known already.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    networkx.DiGraph
        Nodes 0, 1, ... in the order of mean outputs, with ``kind`` ("fixed point", "periodic orbit", "chaos",
        "torus or chaos"), ``x`` (a state on it), ``states`` (of a cycle), ``period``, ``output`` (mean),
        ``radius`` (largest modulus of the multipliers), ``multipliers`` (up to 10, as [re, im]),
        ``exponent``, ``share`` and ``share_interval`` (of random starts; 95 % Wilson), ``ball_radius`` (every
        state as near as that is proved to be in the basin; None where nothing is) and ``ball_reason``.

        Edges with ``metric``, ``threshold`` (an upper bound: found), ``lower`` (proved; 0 where nothing is),
        ``checked`` (replayed: 1.001 times the kick lands in the target, 0.999 times does not), ``label``;
        ``thresholds`` and ``lower_bounds`` of the pair in every metric. In the input metric ``pulse`` (row),
        ``at_unit`` (some pulse of amplitude 1 does it) and ``alternatives`` (other pulses that do it); else
        ``kick``, ``alignment`` (with the normal of the basin's boundary) and ``saddle`` (a position in
        ``saddles``).

        Graph attributes: ``connections``, everything that was found, whether it is an edge or not (one for
        each metric, source and target, and pulse); ``metric``, ``metrics``, ``amplitude``, ``cut`` ("given",
        "largest gap" or "none"), ``gap`` (ratio of the thresholds on its sides); ``pulses``, ``task_pulses``
        (whether they were given), ``pulse_length``, ``max_amplitude``, ``rest`` (the input between pulses);
        ``pulse_table`` (attractor by pulse: where a pulse of amplitude 1 leads, -1 for no attractor);
        ``pulse_lower_bounds`` (when certified: attractor by pulse, no smaller amplitude leaves the basin);
        ``saddles`` (every unstable fixed point, with ``connects``: the attractors at the ends of a
        one-dimensional unstable manifold), ``n_saddles``; ``index_sum``, ``audit``, ``audit_reason``;
        ``unresolved_share`` (of random starts that reach no attractor), ``missed`` (a basin with a larger
        share would have been seen with probability 95 %); ``note``: what a reader must know.

    Raises
    ------
    InvalidInputError
        When the pulses have the wrong width or a number is out of its range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
    >>> graph = excitable_network(bit, [[1.0], [-1.0]])
    >>> graph.graph["pulse_table"], graph.graph["audit"]
    ([[0, 0], [1, 1]], 'passed')
    >>> round(graph.edges[0, 1]["threshold"], 4)  # 1.5 times the fixed point 0.85856
    1.2878

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi, Cognitive Computation 12 (2020) 330, doi:10.1007/s12559-019-09634-2;
    P. Ashwin, C. Postlethwaite, Biol. Cybern. 115 (2021) 519, doi:10.1007/s00422-021-00895-5.
    """
    system = checked_map(network)
    given = pulses is not None
    pulses = checked_pulses(pulses, system)
    metrics = _checked_metrics(metrics, system)
    if metric is not None and (not isinstance(metric, str) or metric not in metrics):
        raise InvalidInputError("metric", repr(metric), f"must be one of metrics: {', '.join(metrics)}")
    metric = metric or metrics[0]
    amplitude = checked_amplitude(amplitude)
    driven = _checked_run(run, system)
    for place, value, least in (
        ("relax_steps", relax_steps, 1), ("pulse_length", pulse_length, 1),
        ("n_amplitudes", n_amplitudes, 2), ("n_random", n_random, 1), ("n_starts", n_starts, 1),
    ):  # fmt: skip
        whole_number(value, place, least)
    positive_number(max_amplitude, "max_amplitude")
    if not 1e-12 <= real_number(tolerance, "tolerance") <= 1e-3:
        raise InvalidInputError("tolerance", str(tolerance), "must lie in [1e-12, 1e-3]")
    positive_number(budget, "budget")
    rest = _rest(u, system)
    _check_landscape(landscape, system, rest)
    generator = seeded(rng)
    shares = {"landscape": 0.35, "input": 0.6, "state": 0.9, "proofs": 0.98}

    reached = 0.0

    def part(low: float, high: float) -> Progress:
        def tell(label: str, fraction: float) -> None:
            nonlocal reached
            # A part that has to look again does not go back.
            reached = max(reached, low + (high - low) * min(1.0, fraction))
            progress(label, reached)

        return tell

    if driven is not None and driven[1] is not None:
        run_states = driven[1][:: max(1, len(driven[1]) // _MOST_STARTS)]
        seeds = [] if starts is None else [checked_states(starts, "starts", run_states.shape[1])]
        starts = np.vstack([*seeds, run_states])
    if landscape is None:
        landscape = find_landscape(
            system, rest if system.n_inputs else None, starts=starts, fixed_points=fixed_points,
            n_random=n_random, n_steps=relax_steps, rng=generator, progress=part(0.0, shares["landscape"]),
        )  # fmt: skip
        kicks, landscape = _kicked(
            system, landscape, pulses, rest, pulse_length, _amplitudes(metrics, max_amplitude, n_amplitudes),
            tolerance, starts, n_random, relax_steps, generator, part(shares["landscape"], shares["input"]),
        )  # fmt: skip
    else:
        kicks = scan_pulses(
            system, landscape, pulses, rest=rest, length=pulse_length,
            amplitudes=_amplitudes(metrics, max_amplitude, n_amplitudes), tolerance=tolerance,
            progress=part(shares["landscape"], shares["input"]),
        )  # fmt: skip
    connections = list(kicks.connections)
    of_state = [name for name in metrics if name != "input"]
    subspaces: tuple[FloatArray, ...] | None = None
    for k, name in enumerate(of_state):
        width = (shares["state"] - shares["input"]) / len(of_state)
        here = part(shares["input"] + k * width, shares["input"] + (k + 1) * width)
        if name == "subspace":
            subspaces = _subspaces(system, landscape, driven, pulses, rest)
        connections += _state_kicks(landscape, name, subspaces, n_starts, generator, here)
    connections = shortest_kicks(connections)
    graph = _graph(system, landscape, kicks.table, connections)
    graph.graph.update(
        metric=metric, metrics=list(metrics), pulses=pulses.tolist(), task_pulses=given,
        pulse_length=pulse_length, max_amplitude=float(max_amplitude), rest=rest.tolist(),
    )  # fmt: skip
    notes = [*landscape.notes, *kicks.notes]
    if certify:
        # Imported where they are needed: the kernels of the proofs take time to load.
        from esntools.excitable.certified import put_bounds

        notes += put_bounds(
            graph, system, landscape, pulses, rest, subspaces, budget, part(shares["state"], shares["proofs"])
        )
    lay_edges(graph, amplitude)
    graph.graph["note"] = "; ".join(_notes(graph, landscape) + notes)
    progress("excitable network", 1.0)
    return graph


def _rest(u: ArrayLike | None, system: Map) -> FloatArray:
    """Return the input between pulses."""
    if u is None:
        return np.zeros(system.n_inputs)
    rest = np.atleast_1d(np.array(real_array(u, "u")))
    if rest.shape != (system.n_inputs,) or not np.all(np.isfinite(rest)):
        raise InvalidInputError(
            "u", f"shape {rest.shape}", f"must be finite, of shape (n_inputs = {system.n_inputs},)"
        )
    return rest


def _check_landscape(landscape: Landscape | None, system: Map, rest: FloatArray) -> None:
    """Refuse a landscape of another map, or of this one at another input."""
    if landscape is None:
        return
    if not isinstance(landscape, Landscape):
        raise InvalidInputError(
            "landscape", type(landscape).__name__, "must be what find_landscape returned", "leave it out"
        )
    same = landscape.system.n_units == system.n_units
    for attractor in landscape.attractors if same else ():
        if attractor.is_point:
            after = system.step(attractor.states, np.tile(rest, (len(attractor.states), 1)))
            gap = np.max(np.abs(after - np.roll(attractor.states, -1, axis=0)))
            same = same and bool(gap <= 1e-6 * max(1.0, float(np.max(np.abs(after)))))
    if not same:
        raise InvalidInputError(
            "landscape", repr(landscape), "must be of this map at the input between pulses", "leave it out"
        )


def _amplitudes(metrics: Sequence[str], most: float, n: int) -> FloatArray | None:
    return np.linspace(0.0, most, n + 1)[1:] if "input" in metrics else None


def _kicked(
    system: Map,
    landscape: Landscape,
    pulses: FloatArray,
    rest: FloatArray,
    length: int,
    amplitudes: FloatArray | None,
    tolerance: float,
    starts: ArrayLike | None,
    n_random: int,
    relax_steps: int,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[PulseKicks, Landscape]:
    """Scan the pulses; where they lead to an attractor that was not known, look again with it."""
    kicks = PulseKicks(np.zeros((len(landscape), 0), dtype=np.intp), (), np.zeros((0, system.n_units)), ())
    for _ in range(2):
        if len(pulses):
            kicks = scan_pulses(
                system, landscape, pulses, rest=rest, length=length, amplitudes=amplitudes,
                tolerance=tolerance, progress=progress,
            )  # fmt: skip
        # Beside chaos a run may stay undecided for no other reason than chance.
        if len(kicks.lost) == 0 or not all(a.is_point for a in landscape.attractors):
            break
        seeds = kicks.lost if starts is None else np.vstack([kicks.lost, real_array(starts, "starts")])
        again = find_landscape(
            system, rest, starts=seeds, fixed_points=landscape.fixed_points, n_random=n_random,
            n_steps=relax_steps, rng=rng,
        )  # fmt: skip
        if len(again) <= len(landscape):
            break
        landscape = again
    return kicks, landscape


def _subspaces(
    system: Map,
    landscape: Landscape,
    run: tuple[FloatArray, FloatArray | None] | None,
    pulses: FloatArray,
    rest: FloatArray,
) -> tuple[FloatArray, ...]:
    from esntools.excitable.state_kicks import switching_subspaces

    if run is None:
        return switching_subspaces(system, landscape, pulses, rest=rest)
    inputs, states = run
    # Without its states every row of a run is a pulse, which is counted from rest.
    return switching_subspaces(
        system, landscape, inputs - rest if states is None else inputs, states=states, rest=rest
    )


def _state_kicks(
    landscape: Landscape,
    metric: str,
    subspaces: tuple[FloatArray, ...] | None,
    n_starts: int,
    rng: np.random.Generator,
    progress: Progress,
) -> list[dict[str, Any]]:
    from esntools.excitable.state_kicks import kick_thresholds

    return list(
        kick_thresholds(
            landscape, metric=metric, subspaces=subspaces if metric == "subspace" else None,
            n_starts=n_starts, rng=rng, progress=progress,
        )
    )  # fmt: skip


# -- the graph -----------------------------------------------------------------------------------------------


def _pairs(values: Any) -> list[list[float]]:
    return [[float(v.real), float(v.imag)] for v in values]


def _node(attractor: Attractor) -> dict[str, Any]:
    """Return the attributes of a node that the attractor alone gives."""
    multipliers = attractor.multipliers
    data: dict[str, Any] = {"kind": attractor.kind, "x": attractor.states[0].tolist()}
    if attractor.period is not None and attractor.period > 1:
        data["states"] = attractor.states.tolist()
    data["period"] = attractor.period
    data["radius"] = None if multipliers is None else float(np.abs(multipliers[0]))
    data["multipliers"] = None if multipliers is None else _pairs(multipliers[:_MULTIPLIERS])
    data["exponent"] = float(attractor.exponent)
    return data


def shortest_kicks(connections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the connections with free kicks no longer than those found within the range or a subspace."""
    best: dict[tuple[int, int], dict[str, Any]] = {}
    for c in connections:
        pair = (c["source"], c["target"])
        if c["metric"] != "input" and c["threshold"] < best.get(pair, {}).get("threshold", np.inf):
            best[pair] = c
    shared = []
    for c in connections:
        if c["metric"] == "state":
            shorter = best[c["source"], c["target"]]
            if shorter["threshold"] < c["threshold"]:
                note = f"found in the metric {shorter['metric']!r}"
                c = {**shorter, "metric": "state", "note": "; ".join(filter(None, (note, shorter["note"])))}
        shared.append(c)
    return shared


def _graph(
    system: Map, landscape: Landscape, table: IntArray, connections: list[dict[str, Any]]
) -> nx.DiGraph:
    """Return nodes and attributes, without edges."""
    points = landscape.fixed_points
    saddles = [
        {
            "x": s.x.tolist(),
            "output": None if s.output is None else s.output.tolist(),
            "n_unstable": s.n_unstable,
            "index": s.index,
            "unstable_multipliers": _pairs(s.multipliers[: s.n_unstable]),
            "connects": None if s.leads_to is None else sorted(s.leads_to),
        }
        for s in landscape.saddles
    ]
    graph = nx.DiGraph(
        kind="excitable network", pulse_table=np.maximum(table, -1).tolist(), saddles=saddles,
        n_saddles=len(saddles), index_sum=points.index_sum, audit=points.audit,
        audit_reason=points.audit_reason, unresolved_share=landscape.escaped + landscape.undecided,
        missed=landscape.missed, connections=connections,
    )  # fmt: skip
    for k, attractor in enumerate(landscape.attractors):
        graph.add_node(
            k, **_node(attractor),
            output=None if landscape.outputs is None else landscape.outputs[k].tolist(),
            share=float(landscape.shares[k]), share_interval=landscape.intervals[k].tolist(),
            ball_radius=None, ball_reason="no proof was asked for",
        )  # fmt: skip
    return graph


def _notes(graph: nx.DiGraph, landscape: Landscape) -> list[str]:
    """Return what a reader must know before anything else."""
    notes = []
    points = landscape.fixed_points
    if points.audit == "failed":
        notes.append(f"the audit of the fixed points failed: {points.audit_reason}")
    if len(landscape) == 0:
        notes.append("no attractor was found")
    elif len(landscape) == 1:
        notes.append("there is one attractor only: no kick leads anywhere else")
    if landscape.escaped:
        notes.append(f"{landscape.escaped:.2g} of the random states escape to infinity")
    for k, attractor in enumerate(landscape.attractors):
        if not attractor.is_point:
            notes.append(f"attractor {k} is no point or cycle ({attractor.kind}): it has no thresholds")
    unchecked = [c["note"] for c in graph.graph["connections"] if not c["checked"]]
    narrow = unchecked.count(NARROW)
    if narrow:
        notes.append(f"{narrow} threshold(s) lead into strips of amplitudes narrower than 0.1 %")
    if len(unchecked) > narrow:
        notes.append(f"the replay of {len(unchecked) - narrow} threshold(s) failed")
    return notes
