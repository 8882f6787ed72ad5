"""The designed network and its thresholds by loops, from the equations alone."""

from __future__ import annotations

import math

import numpy as np


def sigmoid(y: float, width: float = 0.05) -> float:
    return 0.5 * (1.0 + math.tanh((y - 0.5) / (2.0 * width)))


def ring_weights(n: int, p: float, b: float = 0.6, c: float = 1.4) -> np.ndarray:
    """A ring 0 -> 1 -> ... -> 0: 1 on the diagonal, p - b forwards, -2c - (p - b) backwards, else -c."""
    W = np.empty((n, n))
    for k in range(n):
        for j in range(n):
            W[k, j] = -c
            if k == j:
                W[k, j] = 1.0
            elif k == (j + 1) % n:
                W[k, j] = p - b
            elif j == (k + 1) % n:
                W[k, j] = -2.0 * c - (p - b)
    return W


def ashwin_ring(n: int, wp: float) -> np.ndarray:
    """The continuous-time weights of Ashwin and Postlethwaite for the ring, ws = 1, wm = -0.5, wt = -0.3."""
    W = np.empty((n, n))
    for k in range(n):
        for j in range(n):
            W[k, j] = -0.3
            if k == j:
                W[k, j] = 1.0
            elif k == (j + 1) % n:
                W[k, j] = wp
            elif j == (k + 1) % n:
                W[k, j] = -0.5
    return W


def step(W: np.ndarray, b: np.ndarray, a: float, width: float, x: list[float], u: list[float]) -> list[float]:
    """One step x+ = (1 - a) x + a s(W x + b + u), unit by unit."""
    following = []
    for k in range(len(x)):
        y = b[k] + u[k]
        for j in range(len(x)):
            y += W[k, j] * x[j]
        following.append((1.0 - a) * x[k] + a * sigmoid(y, width))
    return following


def scalar_pulse(p: float, a: float, width: float = 0.05, tol: float = 1e-9) -> float:
    """The smallest one-step pulse that switches on y+ = (1 - a) y + a (p + s(y)), by runs; inf if none."""

    def switches(g: float) -> bool:
        y = p
        for _ in range(4000):
            y = (1.0 - a) * y + a * (p + sigmoid(y, width))
        y = (1.0 - a) * y + a * (p + sigmoid(y + g, width))
        for _ in range(4000):
            y = (1.0 - a) * y + a * (p + sigmoid(y, width))
        return y > 0.7

    low, high = 0.0, 2.0
    if not switches(high):
        return math.inf
    while high - low > tol:
        middle = 0.5 * (low + high)
        if switches(middle):
            high = middle
        else:
            low = middle
    return high


def pulse_threshold(network, source: np.ndarray, line: int, target: int, n_steps: int = 600) -> float:
    """The smallest pulse on an input line that leads from a state to where the output `target` is on."""
    quiet = np.zeros(network.n_inputs)

    def lands(g: float) -> bool:
        u = quiet.copy()
        u[line] = g
        x = network.step(source, u)
        for _ in range(n_steps):
            x = network.step(x, quiet)
        return bool(network.output(x)[target] > 0.5)

    low, high = 0.0, 1.0
    if not lands(high):
        return math.inf
    for _ in range(30):
        middle = 0.5 * (low + high)
        if lands(middle):
            high = middle
        else:
            low = middle
    return high
