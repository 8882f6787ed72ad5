"""Which attractor a state goes to: labels for many states at once, and shares with their intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import scipy.stats

from esntools._typing import FloatArray, IntArray
from esntools.fixed_points import FixedPoint, FixedPoints
from esntools.network import EchoStateNetwork

__all__ = ["Basins", "fastest_form", "random_states", "wilson_interval"]

# A state this close to an attractor, as a fraction of the distance to the nearest other fixed point, has
# arrived. Basins of non-normal maps come much closer than the saddles on their boundary do (17 times, in a
# trained 100-unit network), so the fraction must be small.
_ARRIVED: Final = 0.01


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
        self.network = network
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
            for k in range(self.relax_steps + 1):
                if k % 5 == 0:
                    square = np.einsum("bn,bn->b", X, X)[:, None] - 2.0 * X @ self.X.T + self._norms
                    near = np.argmin(square, axis=1)
                    inside = square[np.arange(len(X)), near] < self.radius[near] ** 2
                    labels[rows[inside]] = near[inside]
                    # Escape is possible with an unbounded activation only; such rows keep the label -1.
                    stay = ~inside & (square.min(axis=1) < 1e16)
                    rows, X = rows[stay], X[stay]
                    if len(rows) == 0:
                        break
                X = self.network.step(X)
        return labels


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (E. B. Wilson, JASA 22 (1927) 209)."""
    z = float(scipy.stats.norm.ppf(0.975))
    centre = (count + 0.5 * z * z) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(count * (n - count) / n + 0.25 * z * z)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def fastest_form(network: EchoStateNetwork) -> EchoStateNetwork:
    """Return the equal network in the form whose batched step is fastest: dense and folded."""
    if network.is_sparse and network.n_units <= 2000:
        network = replace(network, W=network.dense_W())
    if network.readout is not None and network.readout.is_affine:
        network = network.folded()
    return network


def random_states(network: EchoStateNetwork, n: int, rng: np.random.Generator) -> FloatArray:
    """Return n states, uniform in the range of the activation (in [-1, 1] where it is unbounded)."""
    low, high = network.activation.value_bounds if network.activation.bounded else (-1.0, 1.0)
    return rng.uniform(low, high, (n, network.n_units))
