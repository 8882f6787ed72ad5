"""Slow and obvious twins: labels by running every state to rest, and wrong segments step by step."""

from __future__ import annotations

import numpy as np

from esntools.network import EchoStateNetwork
from esntools.tasks import AutomatonTask


def naive_label(network: EchoStateNetwork, x: np.ndarray, attractors: np.ndarray, n_steps: int = 4000) -> int:
    """Run one state at zero input and name the attractor that it is on in the end; -2 for none."""
    silent = np.zeros(network.n_inputs)
    for _ in range(n_steps):
        following = network.step(x, silent)
        # Beside a saddle a run is slow, not this slow.
        moved, x = float(np.max(np.abs(following - x))), following
        if moved < 1e-12:
            break
    gaps = [float(np.max(np.abs(x - p))) for p in attractors]
    return int(np.argmin(gaps)) if gaps and min(gaps) < 1e-4 else -2


def naive_labels(
    network: EchoStateNetwork, u: np.ndarray, x0: np.ndarray, attractors: np.ndarray
) -> tuple[list[int], list[np.ndarray]]:
    """Return the label and the state of every step of a driven run, each step looked up on its own."""
    labels, states, x = [], [], x0
    for row in u:
        x = network.step(x, row)
        states.append(x)
        labels.append(naive_label(network, x, attractors))
    return labels, states


def naive_state(task: AutomatonTask, y: np.ndarray) -> int:
    """Return the task state whose target is nearest."""
    return min(range(len(task.states)), key=lambda s: float(np.sum((task.states[s] - y) ** 2)))


def naive_segments(task: AutomatonTask, outputs: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, stop) of every stretch of steps at which the output decodes to a wrong state."""
    segments, start = [], None
    for k, y in enumerate(outputs):
        wrong = naive_state(task, y) != task.path[k]
        if wrong and start is None:
            start = k
        if not wrong and start is not None:
            segments.append((start, k))
            start = None
    return segments if start is None else [*segments, (start, len(outputs))]
