"""The map by loops over units and members, from its formula alone: the slow twin of drive and forecast."""

from __future__ import annotations

import math

import numpy as np

PHI = {
    "tanh": math.tanh,
    "logistic": lambda z: 1.0 / (1.0 + math.exp(-z)) if z > -700.0 else 0.0,
    "identity": lambda z: z,
    "relu": lambda z: max(0.0, z),
    "hard_tanh": lambda z: max(-1.0, min(1.0, z)),
    "softsign": lambda z: z / (1.0 + abs(z)),
    "erf": math.erf,
    "sine": math.sin,
}


def psi(network, x):
    readout = network.readout
    y = []
    for o in range(readout.n_outputs):
        value = readout.b_out[o]
        for i in range(readout.n_units):
            value += readout.W_out[o, i] * x[i]
            if readout.W_sq is not None:
                value += readout.W_sq[o, i] * x[i] ** 2
        y.append(value)
    return np.array(y)


def step(network, x, u):
    W = network.dense_W()
    n = network.n_units
    phi = PHI.get(network.activation.name, network.activation)
    y = psi(network, x) if network.W_fb is not None else []
    new = np.empty(n)
    for i in range(n):
        z = network.b[i]
        for j in range(n):
            z += W[i, j] * x[j]
        for j in range(network.n_inputs):
            z += network.W_in[i, j] * u[j]
        for o in range(len(y)):
            z += network.W_fb[i, o] * y[o]
        a = network.leak_rate[i]
        new[i] = (1.0 - a) * x[i] + a * float(phi(z))
    return new


def drive(network, u, x0):
    states, x = [], np.array(x0, dtype=float)
    for k in range(len(u)):
        x = step(network, x, u[k])
        states.append(x)
    return np.array(states).reshape(len(u), network.n_units)


def drive_batch(network, u, x0):
    """u (n_steps, n_inputs) or (n_steps, n_batch, n_inputs), x0 (n_batch, n_units)."""
    each = [drive(network, u if u.ndim == 2 else u[:, c], x0[c]) for c in range(len(x0))]
    return np.stack(each, axis=1)


def forecast(network, x0, n_steps, low, high):
    """Outputs, states and the first step outside [low - w, high + w], or None."""
    outputs = np.full((n_steps, network.n_outputs), np.nan)
    states = np.full((n_steps, network.n_units), np.nan)
    x = np.array(x0, dtype=float)
    for k in range(n_steps):
        y = psi(network, x)
        for o in range(len(y)):
            w = high[o] - low[o]
            if not (low[o] - w <= y[o] <= high[o] + w) or not math.isfinite(y[o]):
                return outputs, states, k
        outputs[k], states[k] = y, x
        x = step(network, x, [])
    return outputs, states, None


def gram(features, targets):
    """Mean and centred scatter of the rows [features, targets], in extended precision."""
    rows = np.hstack([features, targets]).astype(np.longdouble)
    mean = rows.sum(axis=0) / len(rows)
    scatter = np.zeros((rows.shape[1], rows.shape[1]), dtype=np.longdouble)
    for row in rows - mean:
        scatter += np.outer(row, row)
    return mean.astype(float), scatter.astype(float)
