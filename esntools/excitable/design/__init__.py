"""Design: any directed graph as a network whose excitable network attractor is that graph."""

from __future__ import annotations

import math
from typing import Any, Final

import networkx as nx
import numpy as np

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.activations import Activation
from esntools.arguments import positive_number, seeded, whole_number
from esntools.errors import InvalidInputError, nearest_name
from esntools.excitable.design.checking import DesignCheck, GraphMatch, check_design, same_graph
from esntools.excitable.design.replays import replayed
from esntools.excitable.design.scalar import CENTRE, WIDTH, ExcitableUnit, fold_drive
from esntools.excitable.design.tuning import METRICS, Target, Tuned, leakage, tune
from esntools.excitable.design.weights import Plan, plan_of
from esntools.network import EchoStateNetwork
from esntools.readout import Readout

__all__ = [
    "DesignCheck", "ExcitableUnit", "GraphMatch", "check_design", "design", "fold_drive", "same_graph",
]  # fmt: skip

#: The gap of the drive at an edge for which no threshold is given.
_DEFAULT_GAP: Final = 0.08
_MOST_UNITS: Final = 400
_MOST_PADDING: Final = 5000
#: How much of the drive of a successor may come from the others that are not quite off.
_LEAKAGE: Final = 0.2
_STRONGEST: Final = 0.75
_TOLERANCE: Final = 3e-4
#: Up to here some unit switches on without a leader.
_ALONE: Final = 6


def design(
    graph: nx.DiGraph,
    *,
    threshold: str | float = "threshold",
    metric: str = "input",
    leak_rate: float = 0.25,
    activation: str = "tanh",
    width: float | None = None,
    padding: int = 0,
    shuffle: bool = False,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> EchoStateNetwork:
    r"""Return a network whose excitable network attractor is a given directed graph.

    .. math::

        x^+ = (1 - a)\, x + a\, s(W x + b + L u), \qquad s(y) = \frac{1}{1 + e^{-(y - \theta)/\varepsilon}},
        \qquad W = (1 + c) I - c\, 1 1^\top + A, \quad A = -A^\top ,

    with one unit on at every vertex. The graph is in the antisymmetric part alone: an edge from j to k has
    :math:`W_{kj} = p - b`, :math:`W_{jk} = -2c - W_{kj}`, with p below the fold of `fold_drive`, so that k
    waits for a kick. Its threshold is a closed form of p where one edge leaves j (`ExcitableUnit`); where
    several do, p is corrected until the threshold found on the units concerned is what was asked for.
    A 2-cycle has a passing unit on one of its edges, a self-loop two: a kick that leads out and back.

    Parameters
    ----------
    graph : networkx.DiGraph
        Any: cycles, 2-cycles, self-loops, sources, sinks and isolated vertices.
    threshold : str or float, optional
        The edge attribute that holds the threshold, or one number for all edges. Default ``"threshold"``; an
        edge without it gets a gap of 0.08 in the drive.
    metric : {"input", "state", "drive"}, optional
        What the thresholds are: the amplitude, up to 0.75, of one pulse on the target's input line; the
        2-norm of a free kick of the state (twice as large in the tanh form as in the logistic one); a kick of
        the target's drive y = W x + b alone. Default ``"input"``.
    leak_rate : float, optional
        a, at most 1/2: with more, cycles of period two appear. Default 0.25.
    activation : {"tanh", "logistic"}, optional
        Two forms of one map, equal under s = 2x - 1. Default ``"tanh"``.
    width : float, optional
        epsilon: how soft the sigmoid is, between 0.001 and 0.06. By default 0.05, less where many edges leave
        one vertex.
    padding : int, optional
        Units added that follow the others, contract, and act on none of them. Default 0.
    shuffle : bool, optional
        Whether the units are put into a random order. Default False: vertices in the graph's order, then
        passing units, then padding.
    rng : int, Generator or None
        Of padding, order and the states tried. Default 0.
    progress : callable, optional

    Returns
    -------
    EchoStateNetwork
        One input line per vertex, in the graph's order: a pulse 0 < u on line k leads from j to k along the
        edge from j to k. One output per vertex: 1 at its own attractor and 0 at the others, to about
        `width`.

    Raises
    ------
    InvalidInputError
        When the graph is not a directed one, a threshold is not positive or out of reach at this leak rate,
        or the finished network fails `check_design`; the message has the reason.

    Notes
    -----
    In larger networks the unit of the first vertex is a leader, with 0.25 more bias and inhibition: without
    one, many units that are all half off would hold each other there. Most random states then end at the
    first vertex. Edges are told from the rest by ``excitable_network(network, np.eye(n), amplitude=1.0)``;
    in the metric "state", many ways out of one vertex may leave no kick of the size wanted, which is refused.

    Examples
    --------
    >>> import networkx as nx
    >>> ring = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "a")])
    >>> network = design(ring, threshold=0.15)
    >>> network
    EchoStateNetwork(n_units=3 (dense), n_inputs=3, n_outputs=3, tanh)
    >>> x = network.step(np.array([1.0, -0.95, -1.0]), [0.0, 0.2, 0.0])
    >>> for _ in range(200):
    ...     x = network.step(x, [0.0, 0.0, 0.0])
    >>> network.output(x).round(1) + 0.0
    array([0., 1., 0.])

    References
    ----------
    After P. Ashwin, C. Postlethwaite, Biol. Cybern. 115 (2021) 519, doi:10.1007/s00422-021-00895-5, whose
    continuous-time construction allows neither 2-cycles nor chosen thresholds; the discrete-time weights, the
    closed forms and the passing units are this package's own.
    """
    if not isinstance(activation, str) or activation not in ("tanh", "logistic"):
        raise InvalidInputError(
            "activation", repr(activation), "must be 'tanh' or 'logistic'",
            nearest_name(str(activation), ("tanh", "logistic")),
        )  # fmt: skip
    leak_rate = positive_number(leak_rate, "leak_rate")
    if leak_rate > 0.5:
        raise InvalidInputError(
            "leak_rate", str(leak_rate), "must be at most 0.5: with more, attractors that no vertex "
            "stands for appear (at 1 a cycle of period two, all units on and all off)",
        )  # fmt: skip
    padding = whole_number(padding, "padding", 0, _MOST_PADDING)
    rng = seeded(rng)
    plan = plan_of(_checked_graph(graph))
    if plan.n_units > _MOST_UNITS:
        raise InvalidInputError(
            "graph", f"{plan.n_units} units", f"must need at most {_MOST_UNITS} units",
            "2-cycles and self-loops need one and two more",
        )  # fmt: skip
    targets = _targets(graph, plan, threshold, metric, 2.0 if activation == "tanh" else 1.0)
    progress("weights", 0.0)
    if plan.n_units > _ALONE or plan.n_units * leak_rate > 2.5:
        plan = plan.led()
    tuned, epsilon = _tuned(plan, targets, leak_rate, width)
    progress("checking", 0.6)
    order = np.arange(plan.n_units + padding)
    if shuffle:
        order = rng.permutation(order)
    network = _network(plan, tuned, epsilon, leak_rate, activation, padding, order, rng)
    check = check_design(network, graph, rng=rng)
    reasons = check.reasons or replayed(network, plan, targets, tuned, order, check.states)
    if reasons:
        raise InvalidInputError(
            "graph", f"{len(plan.vertices)} vertices, {len(plan.excitable)} edges",
            "no network was found that passes the check: " + "; ".join(reasons[:3]),
            "use larger thresholds, thresholds that differ less, a smaller width or a smaller leak_rate",
        )  # fmt: skip
    progress("design", 1.0)
    return network


def _checked_graph(graph: Any) -> nx.DiGraph:
    if not isinstance(graph, nx.Graph) or not graph.is_directed() or graph.is_multigraph():
        raise InvalidInputError(
            "graph", type(graph).__name__, "must be a networkx.DiGraph",
            "an undirected graph becomes one by graph.to_directed()",
        )  # fmt: skip
    if len(graph) == 0:
        raise InvalidInputError("graph", "no vertices", "must have at least one vertex")
    return graph


def _targets(
    graph: nx.DiGraph, plan: Plan, threshold: str | float, metric: str, scale: float
) -> tuple[Target, ...]:
    """Return what every edge is to need, in the logistic form's coordinates."""
    if not isinstance(metric, str) or metric not in METRICS:
        raise InvalidInputError("metric", repr(metric), "no such metric", nearest_name(str(metric), METRICS))
    if isinstance(threshold, str) and threshold != "threshold" and graph.number_of_edges():
        names = {str(name) for *_, data in graph.edges(data=True) for name in data}
        if threshold not in names:
            raise InvalidInputError(
                "threshold", repr(threshold), "no edge of the graph has this attribute",
                nearest_name(threshold, names) if names else "give a number for all edges",
            )  # fmt: skip
    found = []
    for arc in plan.excitable:
        assert arc.edge is not None
        u, v = (plan.vertices[k] for k in arc.edge)
        value: Any = threshold
        place = "threshold"
        if isinstance(threshold, str):
            place, value = f"graph.edges[{u!r}, {v!r}][{threshold!r}]", graph.edges[u, v].get(threshold)
        if value is None:
            found.append(Target(place, _DEFAULT_GAP, "drive"))
        else:
            # Text in quotes is common in DOT, where it is no number.
            number = positive_number(
                value, place, "write it without quotes" if isinstance(value, str) else ""
            )
            if metric == "input" and number > _STRONGEST:
                raise InvalidInputError(
                    place, f"{number:.6g}", f"must be at most {_STRONGEST} in the metric 'input'",
                    "stronger pulses reach units that no edge leads to",
                )  # fmt: skip
            found.append(Target(place, number / scale if metric == "state" else number, metric))
    return tuple(found)


def _tuned(
    plan: Plan, targets: tuple[Target, ...], leak_rate: float, width: float | None
) -> tuple[Tuned, float]:
    """Return tuned weights and the width: as asked, or the largest at which successors hardly interfere."""
    if width is not None:
        width = positive_number(width, "width")
        if not 1e-3 <= width <= 0.06:
            raise InvalidInputError("width", str(width), "must lie in [0.001, 0.06]", "the default is 0.05")
        return tune(plan, targets, leak_rate, width, _TOLERANCE), width
    refusal: InvalidInputError | None = None
    for epsilon in (WIDTH, 0.035, 0.025, 0.0175, 0.012, 0.008, 0.005, 0.003):
        try:
            if leakage(plan, targets, leak_rate, epsilon) <= _LEAKAGE:
                return tune(plan, targets, leak_rate, epsilon, _TOLERANCE), epsilon
        except InvalidInputError as error:
            refusal = refusal or error
    raise refusal or InvalidInputError(
        "graph", "too many edges leave one vertex", "their units must be off at rest", "give a width"
    )


def _network(
    plan: Plan, tuned: Tuned, width: float, leak_rate: float, activation: str,
    padding: int, order: IntArray, rng: np.random.Generator,
) -> EchoStateNetwork:  # fmt: skip
    """Write x+ = (1-a) x + a s(W x + b + L u) as a network, padded and in the order asked for."""
    n, core = plan.n_units + padding, plan.n_units
    tanh = activation == "tanh"
    gain = 1.0 / (4.0 * width) if tanh else 1.0 / width
    W = np.zeros((n, n))
    W[:core, :core] = gain * tuned.W
    b = np.zeros(n)
    b[:core] = (plan.biases - CENTRE) / width
    if tanh:
        b[:core] = 0.5 * b[:core] + tuned.W.sum(axis=1) / (4.0 * width)
    lines = np.zeros((n, len(plan.vertices)))
    lines[:core] = plan.lines / (2.0 * width if tanh else width)
    if padding:
        slope = Activation.named(activation).slope_bounds[1]
        W[core:, :core] = rng.standard_normal((padding, core)) / math.sqrt(core)
        among: FloatArray = rng.standard_normal((padding, padding))
        # Norm 1/2 after the steepest slope: contracting for every leak rate.
        W[core:, core:] = among * (0.5 / slope / float(np.linalg.norm(among, 2)))
        b[core:] = 0.1 * rng.standard_normal(padding)
    W_out = np.zeros((len(plan.vertices), n))
    W_out[np.arange(len(plan.vertices)), np.arange(len(plan.vertices))] = 0.5 if tanh else 1.0
    b_out = np.full(len(plan.vertices), 0.5 if tanh else 0.0)
    return EchoStateNetwork(
        W[np.ix_(order, order)], W_in=lines[order], b=b[order], leak_rate=leak_rate, activation=activation,
        readout=Readout(W_out[:, order], b_out=b_out),
    )  # fmt: skip
