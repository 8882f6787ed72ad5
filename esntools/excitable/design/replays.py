"""The kicks of a designed network, replayed on it."""

from __future__ import annotations

from typing import Final

import numpy as np

from esntools._typing import FloatArray, IntArray
from esntools.excitable.design.checking import destinations
from esntools.excitable.design.tuning import Target, Tuned
from esntools.excitable.design.weights import Plan
from esntools.network import EchoStateNetwork

__all__ = ["replayed"]

_FACTORS: Final = (0.999, 1.001)


def replayed(
    network: EchoStateNetwork,
    plan: Plan,
    targets: tuple[Target, ...],
    tuned: Tuned,
    order: IntArray,
    states: FloatArray,
) -> tuple[str, ...]:
    """Return what went wrong when every edge's kick was replayed at 0.999 and 1.001 times its size.

    Parameters
    ----------
    order : ndarray, shape (n_units,)
        ``order[i]`` is the planned unit that the network has at position i.
    states : ndarray, shape (n_vertices, n_units)
        The fixed points of the vertices.
    """
    arcs = plan.excitable
    if not arcs:
        return ()
    position = np.argsort(order)[: plan.n_units]
    tanh = network.activation.name == "tanh"
    W, starts = network.dense_W()[np.ix_(position, position)], []
    for arc, target, size, kick in zip(arcs, targets, tuned.thresholds, tuned.kicks):
        assert arc.edge is not None
        x = states[arc.edge[0]]
        for factor in _FACTORS:
            if target.metric == "input":
                u = np.zeros(network.n_inputs)
                u[arc.edge[1]] = factor * size
                starts.append(network.step(x, u))
                continue
            d = 2.0 * kick if tanh else kick
            if target.metric == "drive":
                # W d = size at the target and zero elsewhere; a unit of the drive is W_in of its own line.
                wanted = np.zeros(plan.n_units)
                wanted[arc.target] = size * np.max(network.W_in)
                d = np.linalg.solve(W, wanted)
            moved = x.copy()
            moved[position] += factor * d
            starts.append(moved)
    ends, least, _ = destinations(network, np.array(starts))
    reasons = []
    for e, (arc, target) in enumerate(zip(arcs, targets)):
        assert arc.edge is not None
        (j, k), below, above = arc.edge, 2 * e, 2 * e + 1
        name = f"the edge {plan.vertices[j]!r} -> {plan.vertices[k]!r}"
        if ends[below] != j or least[below, j] < 0.5:
            reasons.append(f"{name}: a kick below its {target.metric} threshold leaves the vertex")
        elif ends[above] != k or least[above, j] > 0.5:
            where = "no vertex" if ends[above] < 0 else f"{plan.vertices[ends[above]]!r}"
            reasons.append(f"{name}: a kick above its {target.metric} threshold leads to {where}")
    return tuple(reasons)
