"""Which response a state of a plane approaches when it starts at time 0."""

from __future__ import annotations

import numpy as np

from esntools._typing import FloatArray
from esntools.echo_index.responses import labels_of
from esntools.echo_index.results import BasinsAtZero
from esntools.network import EchoStateNetwork

__all__ = ["basins_at_zero"]


def _plane(network: EchoStateNetwork, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a plane through responses: the box of states for two units."""
    n = network.n_units
    if n == 2 and network.activation.bounded:
        low, high = network.activation.value_bounds
        half = 0.5 * (high - low)
        return np.full(2, 0.5 * (low + high)), np.array([half, 0.0]), np.array([0.0, half])
    origin = points.mean(axis=0) if len(points) > 2 else 0.5 * (points[0] + points[1])
    e1 = points[1] - points[0]
    size = float(np.linalg.norm(e1))
    e1 = e1 / size
    others = points[2:] - origin if len(points) > 2 else np.random.default_rng(0).normal(size=(1, n))
    others = others - np.outer(others @ e1, e1)
    e2 = others[int(np.argmax(np.linalg.norm(others, axis=1)))]
    length = float(np.linalg.norm(e2))
    if length < 1e-9 * size:
        e2 = np.random.default_rng(1).normal(size=n)
        e2 = e2 - (e2 @ e1) * e1
        length = float(np.linalg.norm(e2))
    return origin, e1 * size, e2 / length * size


def basins_at_zero(
    network: EchoStateNetwork, u: FloatArray, targets: FloatArray, resolution: int
) -> BasinsAtZero | None:
    """Return which response the states of a plane through the responses approach; None below two points."""
    if resolution < 2 or len(u) < 2 or network.n_units < 2:
        return None
    origin, e1, e2 = _plane(network, targets[0])
    s = np.linspace(-1.0, 1.0, resolution)
    grid = origin + s[None, :, None] * e1 + s[:, None, None] * e2
    labels = labels_of(network, grid.reshape(-1, network.n_units), u, targets, len(u))
    return BasinsAtZero(labels.reshape(resolution, resolution), origin, e1, e2, s)
