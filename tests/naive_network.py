"""The map of EchoStateNetwork evaluated from its displayed formula by loops: slow and obvious."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def phi(expression: str, z: float) -> float:
    """The activation, from the text of its expression."""
    return {
        "tanh(x)": lambda: math.tanh(z),
        "1/(1 + exp(-x))": lambda: 1.0 / (1.0 + math.exp(-z)),
        "x": lambda: z,
        "Max(0, x)": lambda: max(0.0, z),
        "Max(-1, Min(1, x))": lambda: max(-1.0, min(1.0, z)),
        "x/(1 + Abs(x))": lambda: z / (1.0 + abs(z)),
        "erf(x)": lambda: math.erf(z),
        "sin(x)": lambda: math.sin(z),
    }[expression]()


def output(readout: Any, x: Any) -> list[float]:
    """y = W_out x + W_sq (x∘x) + b_out."""
    y = []
    for i in range(readout.n_outputs):
        total = float(readout.b_out[i])
        for j in range(readout.n_units):
            total += readout.W_out[i, j] * x[j]
            if readout.W_sq is not None:
                total += readout.W_sq[i, j] * x[j] * x[j]
        y.append(total)
    return y


def step(network: Any, x: Any, u: Any) -> Any:
    """x' = (1 - a) x + a phi(W x + W_in u + W_fb psi(x) + b)."""
    W = network.W if isinstance(network.W, np.ndarray) else network.W.toarray()
    psi = [] if network.W_fb is None else output(network.readout, x)
    new = []
    for i in range(network.n_units):
        z = float(network.b[i])
        for j in range(network.n_units):
            z += W[i, j] * x[j]
        for j in range(network.n_inputs):
            z += network.W_in[i, j] * u[j]
        for j, y in enumerate(psi):
            z += network.W_fb[i, j] * y
        a = network.leak_rate[i]
        new.append((1.0 - a) * x[i] + a * phi(network.activation.expression, z))
    return np.array(new)
