r"""The weights of a designed network: every vertex a unit, every edge an antisymmetric pair of weights."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, Final, final

import networkx as nx
import numpy as np
from scipy.special import expit

from esntools._typing import FloatArray, IntArray
from esntools.errors import InvalidInputError
from esntools.excitable.design.scalar import CENTRE

__all__ = ["BIAS", "INHIBITION", "SPONTANEOUS", "Arc", "Plan", "plan_of", "weights_of"]

#: b: above every fold, so that some unit is always on.
BIAS: Final = 0.6
#: c: the mean drive of two units that are on, 1 + b - c, must keep one of them off.
INHIBITION: Final = 1.4
#: What the leader has more of: bias, and inhibition both ways.
_LEAD: Final = 0.25
#: The drive from a passing unit to the next: above every fold, so that it is left by itself.
SPONTANEOUS: Final = 0.5


@final
@dataclass(frozen=True)
class Arc:
    """A connection between two units; `edge` (its two vertices) only where it waits for a kick."""

    source: int
    target: int
    edge: tuple[int, int] | None


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """Which unit stands for what.

    Attributes
    ----------
    vertices : tuple
        The graph's vertices, in its order: units 0, 1, ...; passing units follow.
    n_units : int
    arcs : tuple of Arc
    lines : ndarray, shape (n_units, n_vertices)
        Which units the input line of a vertex drives: its own and the passing units that lead to it.
    biases : ndarray, shape (n_units,)
    inhibition : ndarray, shape (n_units, n_units)
        c of every pair, symmetric.
    """

    vertices: tuple[Any, ...]
    n_units: int
    arcs: tuple[Arc, ...]
    lines: FloatArray
    biases: FloatArray
    inhibition: FloatArray

    def led(self) -> Plan:
        """Return the plan with a leader, unit 0: it switches on when no other unit does.

        Many units that are all not quite off inhibit each other enough to stay so, and in steps that are not
        small all of them switch on and off together. With more bias one of them is on before the others.
        """
        biases, inhibition = self.biases.copy(), self.inhibition.copy()
        biases[0] += _LEAD
        inhibition[0, :] += _LEAD
        inhibition[:, 0] = inhibition[0, :]
        return replace(self, biases=biases, inhibition=inhibition)

    @property
    def excitable(self) -> tuple[Arc, ...]:
        return tuple(arc for arc in self.arcs if arc.edge is not None)


def plan_of(graph: nx.DiGraph) -> Plan:
    """Give every vertex a unit, one of the edges of a 2-cycle a passing unit, a self-loop two.

    Two units that excite each other would be on together: a cycle of units needs three of them.
    """
    vertices = tuple(graph.nodes)
    position = {v: k for k, v in enumerate(vertices)}
    arcs: list[Arc] = []
    leads: list[tuple[int, int]] = []
    n = len(vertices)

    def through(source: int, target: int, n_passing: int) -> None:
        nonlocal n
        chain = [source, *range(n, n + n_passing), target]
        leads.extend((unit, target) for unit in chain[1:2] if n_passing)
        n += n_passing
        for step, (j, k) in enumerate(itertools.pairwise(chain)):
            arcs.append(Arc(j, k, (source, target) if step == 0 else None))

    for u, v in graph.edges:
        j, k = position[u], position[v]
        n_passing = 2 if j == k else int(j > k and graph.has_edge(v, u))
        through(j, k, n_passing)
    lines = np.zeros((n, len(vertices)))
    lines[np.arange(len(vertices)), np.arange(len(vertices))] = 1.0
    for unit, vertex in leads:
        lines[unit, vertex] = 1.0
    return Plan(vertices, n, tuple(arcs), lines, np.full(n, BIAS), np.full((n, n), INHIBITION))


def sigmoid(y: FloatArray, width: float) -> FloatArray:
    return np.asarray(expit((y - CENTRE) / width))


def weights_of(plan: Plan, drives: FloatArray, rests: FloatArray, width: float) -> FloatArray:
    r"""Return W such that at every vertex the drive of each successor rests where its own p puts it.

    .. math::

        W = (1 + c) I - c\, 1 1^\top + A, \qquad A = -A^\top,

    with :math:`W_{kj} + W_{jk} = -2c` for every edge j to k (c is larger for the pairs of a leader). With the
    other successors l of j not quite off, :math:`W_{kj} x_j = p - b - \sum_l W_{kl} x_l` keeps the rest state
    of k where the edge's own p puts it.

    Parameters
    ----------
    drives, rests : ndarray, shape (n_excitable,)
        p and y_lo of every excitable arc, in the order of ``plan.excitable``.
    """
    W, b, c = -plan.inhibition, plan.biases, plan.inhibition
    np.fill_diagonal(W, 1.0)

    def join(source: int, target: int, weight: float) -> None:
        W[target, source] = weight
        W[source, target] = -2.0 * c[source, target] - weight

    successors: dict[int, list[tuple[int, int]]] = {}
    order = {id(arc): e for e, arc in enumerate(plan.excitable)}
    for arc in plan.arcs:
        if arc.edge is None:
            join(arc.source, arc.target, SPONTANEOUS - float(b[arc.target]))
        else:
            e = order[id(arc)]
            successors.setdefault(arc.source, []).append((arc.target, e))
            join(arc.source, arc.target, float(drives[e] - b[arc.target]))
    levels = sigmoid(rests, width)
    # The weights between successors may be edges too: a few rounds settle them all.
    for _ in range(100):
        change = 0.0
        for source, targets in successors.items():
            units: IntArray = np.array([k for k, _ in targets], dtype=np.intp)
            off = levels[[e for _, e in targets]]
            on = 1.0
            for _ in range(20):
                on = float(sigmoid(np.array(on + b[source] + W[source, units] @ off), width))
            for k, e in targets:
                others = float(W[k, units] @ off) - float(levels[e])
                weight = (float(drives[e] - b[k]) - others) / on
                change = max(change, abs(weight - W[k, source]))
                join(source, k, weight)
        if change < 1e-14:
            return W
        if not change < 10.0:
            break
    raise InvalidInputError(
        "graph", "too many edges leave a vertex", "their rest states must not switch the vertex off",
        "use a smaller width or larger thresholds",
    )  # fmt: skip
