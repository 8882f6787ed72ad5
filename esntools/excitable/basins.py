"""The stable fixed points of a network as a labeller of states; `esntools.basins` runs the batches."""

from __future__ import annotations

from typing import Final

import numpy as np

from esntools._typing import FloatArray, IntArray
from esntools.basins.labelling import nearest_centre
from esntools.basins.runs import Runner, fastest_form, random_states
from esntools.basins.statistics import wilson_interval
from esntools.fixed_points import FixedPoint, FixedPoints
from esntools.network import EchoStateNetwork

__all__ = ["Basins", "fastest_form", "random_states", "wilson_interval"]

# A state this close to an attractor, as a fraction of the distance to the nearest other fixed point, has
# arrived. Basins of non-normal maps come much closer than the saddles on their boundary do (17 times, in a
# trained 100-unit network), so the fraction must be small.
_ARRIVED: Final = 0.01

# Escape is possible with an unbounded activation only.
_ESCAPED: Final = 1e16


class Basins:
    """The stable fixed points of an autonomous network, as a labeller of states.

    Attributes
    ----------
    nodes : list of FixedPoint
        The stable fixed points, sorted by output (the first output decides, ties go to the next one).
    X : ndarray, shape (n_nodes, n_units)
    radius : ndarray, shape (n_nodes,)
        A state within this distance (2-norm) has arrived.
    """

    def __init__(self, network: EchoStateNetwork, fixed_points: FixedPoints, relax_steps: int) -> None:
        self.runner = Runner(network)
        self.relax_steps = relax_steps
        stable = [p for p in fixed_points if p.stable]
        stable.sort(key=lambda p: tuple(np.round(p.x if p.output is None else p.output, 9)))
        self.nodes: list[FixedPoint] = stable
        self.X: FloatArray = np.array([p.x for p in stable]).reshape(len(stable), network.n_units)
        everything = np.array([p.x for p in fixed_points]).reshape(-1, network.n_units)
        self.radius: FloatArray = np.full(len(stable), 1e-3 * np.sqrt(network.n_units))
        for i, x in enumerate(self.X):
            distance = np.linalg.norm(everything - x, axis=1)
            others = distance[distance > 1e-9]
            if len(others):
                self.radius[i] = _ARRIVED * np.min(others)
        self._norms = np.einsum("kn,kn->k", self.X, self.X)

    def label(self, states: FloatArray) -> IntArray:
        """Return the index of the attractor reached from every row; -1 where none is within relax_steps."""
        labels = np.full(len(states), -1, dtype=np.intp)
        if len(self.X) == 0:
            return labels
        # A few thousand rows at a time keep the working set in memory.
        for start in range(0, len(states), 4096):
            rows = np.arange(start, min(start + 4096, len(states)))
            X = states[rows]
            for done in range(0, self.relax_steps + 1, 5):
                near, square = nearest_centre(X, self.X, self._norms)
                inside = square < self.radius[near] ** 2
                labels[rows[inside]] = near[inside]
                stay = ~inside & (square < _ESCAPED)
                rows, X = rows[stay], X[stay]
                if len(rows) == 0:
                    break
                X = self.runner.advance(X, min(5, self.relax_steps - done))
        return labels
