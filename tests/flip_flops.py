"""Networks that hold bits: bistable blocks with noise, and reservoirs trained with their output fed back."""

from __future__ import annotations

import numpy as np

from esntools.network import EchoStateNetwork, Readout
from esntools.tasks import flip_flop


def block_flip_flop(block: int, noise: float = 0.0) -> EchoStateNetwork:
    """Three uncoupled bistable blocks of `block` units: tanh(1.5 m) in each."""
    W = np.kron(np.eye(3), np.full((block, block), 1.5 / block))
    n = 3 * block
    W = W + noise * np.random.default_rng(0).standard_normal((n, n)) / np.sqrt(n)
    return EchoStateNetwork(W, readout=Readout(np.kron(np.eye(3), np.full((1, block), 1.0 / block))))


def trained_flip_flop(
    n_units: int, *, noise: float = 0.1, radius: float = 0.5, n_bits: int = 3, seed: int = 0
) -> tuple[EchoStateNetwork, np.ndarray, float]:
    """Ridge regression with noisy teacher forcing: the network, states of a free run, and its bit error."""
    rng = np.random.default_rng(seed)
    W = radius * rng.standard_normal((n_units, n_units)) / np.sqrt(n_units)
    W_in = rng.uniform(-1.0, 1.0, (n_units, n_bits))
    W_fb = 0.6 * rng.uniform(-1.0, 1.0, (n_units, n_bits))
    n_steps = max(3000, 2 * n_units)
    task = flip_flop(n_bits, n_steps, pulse_probability=0.02, rng=rng)
    states = np.zeros((n_steps, n_units))
    x, y = np.zeros(n_units), np.zeros(n_bits)
    for k in range(n_steps):
        x = np.tanh(W @ x + W_in @ task.u[k] + W_fb @ (y + noise * rng.standard_normal(n_bits)))
        y = task.y[k]
        states[k] = x
    X, Y = states[100:], task.y[100:]
    W_out = np.linalg.solve(X.T @ X + 1e-3 * len(X) * np.eye(n_units), X.T @ Y).T
    network = EchoStateNetwork(W, W_in=W_in, W_fb=W_fb, readout=Readout(W_out))
    test = flip_flop(n_bits, 1000, pulse_probability=0.02, rng=rng)
    x, run, wrong = np.zeros(n_units), [], 0.0
    for k in range(1000):
        x = network.step(x, test.u[k])
        run.append(x)
        wrong += float(np.mean(np.sign(network.output(x)) != test.y[k]))
    return network, np.array(run), wrong / 1000
