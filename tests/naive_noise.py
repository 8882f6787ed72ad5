"""Slow, obvious twins of `esntools.excitable.noise` and `action`: quadrature, general optimisers, loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.optimize

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork


def exact_exit_time(
    step: Callable[[FloatArray], FloatArray], eta: float, start: float, edge: float, far: float
) -> float:
    """Return the mean first step at which x+ = F(x) + eta xi is below `edge`; by quadrature."""
    n = 700
    h = (far - edge) / n
    x = edge + h * (np.arange(n) + 0.5)
    kernel = np.exp(-0.5 * ((x[None, :] - step(x)[:, None]) / eta) ** 2) * h / (eta * np.sqrt(2.0 * np.pi))
    times = np.linalg.solve(np.eye(n) - kernel, np.ones(n))
    return float(np.interp(start, x, times))


def naive_noisy_path(network: EchoStateNetwork, x: FloatArray, w: FloatArray, noise: str) -> FloatArray:
    """Return the states of a noisy run, by the equation of the network, unit by unit."""
    out = [x]
    for row in w:
        z = network.b.copy()
        for i in range(network.n_units):
            for j in range(network.n_units):
                z[i] += network.dense_W()[i, j] * x[j]
            if noise == "input":
                for j in range(network.n_inputs):
                    z[i] += network.W_in[i, j] * row[j]
        x = (1.0 - network.leak_rate) * x + network.leak_rate * network.activation(z)
        if noise == "state":
            x = x + row
        out.append(x)
    return np.array(out)


def naive_action(
    cost: Callable[[FloatArray, FloatArray], float], x: FloatArray, saddle: FloatArray, n: int
) -> float:
    """Return the least sum of the costs of n steps from x to the saddle; the states between are free.

    ``cost(X, Y)`` is the action of the steps from every row of X to that of Y.
    """

    def whole(v: FloatArray) -> float:
        states = np.concatenate([x[None], v.reshape(n - 1, len(x)), saddle[None]])
        return cost(states[:-1], states[1:])

    line = x + np.linspace(0.0, 1.0, n + 1)[1:-1, None] * (saddle - x)
    found = scipy.optimize.minimize(whole, line.ravel(), method="BFGS", options={"gtol": 1e-7})
    return float(found.fun)


def naive_input_noise_exits(
    a: float, w: float, eta: float, x_star: float, look: int, radius: float, n_exits: int
) -> list[int]:
    """Return exit times of x+ = (1 - a) x + a tanh(w x + eta xi) from x_star into the core of -x_star."""
    rng, times = np.random.default_rng(5), []
    for _ in range(n_exits):
        x, k, inside = x_star, 0, False
        while not inside:
            x = (1.0 - a) * x + a * math.tanh(w * x + eta * rng.standard_normal())
            k += 1
            y = x
            for _ in range(look):
                y = (1.0 - a) * y + a * math.tanh(w * y)
            inside = abs(y + x_star) < radius
        times.append(k)
    return times


def naive_first_passage_times(Q: FloatArray, target: int, n_rounds: int = 200_000) -> FloatArray:
    """Return mean times to `target` of the jump process with rates Q, by iterating 'wait, then jump'."""
    K = len(Q)
    m = np.zeros(K)
    for _ in range(n_rounds):
        new = m.copy()
        for i in range(K):
            out = Q[i].sum() - Q[i, i]
            if i != target:
                new[i] = (1.0 + sum(Q[i, k] * m[k] for k in range(K) if k != i)) / out
        if np.max(np.abs(new - m)) < 1e-13 * np.max(new):
            break
        m = new
    return m


def naive_covariance(J: FloatArray, B: FloatArray, n: int) -> FloatArray:
    """Return the covariance after n steps of x+ = J x + B xi from rest, term by term."""
    C = np.zeros((len(J), len(J)))
    for _ in range(n):
        C = J @ C @ J.T + B @ B.T
    return C
