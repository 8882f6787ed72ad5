"""Where a search for fixed points starts."""

from __future__ import annotations

import itertools

import numpy as np

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork

__all__ = ["first_seeds", "more_seeds"]


def _relaxed(network: EchoStateNetwork, z: FloatArray, n_steps: int = 80) -> FloatArray:
    """Return the states to which the reservoir settles when its feedback is clamped at z (rows)."""
    assert network.W_fb is not None
    drive = z @ network.W_fb.T + network.b
    X = np.zeros((len(z), network.n_units))
    for _ in range(n_steps):
        recurrent = X @ network.W.T if isinstance(network.W, np.ndarray) else (network.W @ X.T).T
        X = 0.3 * X + 0.7 * network.activation(recurrent + drive)
    return X


def _readout_grid(network: EchoStateNetwork, seen: FloatArray, n_starts: int) -> FloatArray:
    """Return relaxed states on a grid of clamped readouts around the outputs seen.

    For one output the grid reaches as far as the readout can, and every sign change of psi(x(z)) - z gives
    one more state: where the clamped reservoir has one response, these are all fixed points there are.
    """
    readout = network.readout
    assert readout is not None
    d = readout.n_outputs
    Y = readout(seen)
    low, high = Y.min(axis=0), Y.max(axis=0)
    centre, half = 0.5 * (low + high), np.maximum(0.75 * (high - low), 1e-3)
    if d > 4:
        return np.empty((0, network.n_units))
    if d > 1:
        m = max(3, round(n_starts ** (1.0 / d)))
        axes = [np.linspace(c - h, c + h, m) for c, h in zip(centre, half)]
        return _relaxed(network, np.stack([g.ravel() for g in np.meshgrid(*axes)], axis=1))
    inner = np.linspace(-1.0, 1.0, max(n_starts // 2, 16)) * half + centre
    reach = np.abs(readout.W_out).sum() + np.abs(readout.b_out).sum() + np.abs(centre[0])
    reach += 0.0 if readout.W_sq is None else np.abs(readout.W_sq).sum()
    outer = np.geomspace(half[0], max(reach, 2.0 * half[0]), 64)
    z = np.sort(np.concatenate([inner, centre + outer, centre - outer]))[:, None]
    X = _relaxed(network, z)
    h = (readout(X) - z)[:, 0]
    change = np.flatnonzero(h[:-1] * h[1:] < 0.0)
    t = (h[change] / (h[change] - h[change + 1]))[:, None]
    return np.vstack([X[len(outer) : -len(outer) : 2], (1.0 - t) * X[change] + t * X[change + 1]])


def first_seeds(
    network: EchoStateNetwork, starts: FloatArray | None, n_starts: int, rng: np.random.Generator
) -> FloatArray:
    """Return given states, states along short runs, noise around both, the readout grid and the origin."""
    n = network.n_units
    seeds = [np.zeros((1, n))]
    if starts is not None:
        if len(starts) > n_starts:
            starts = starts[np.sort(rng.choice(len(starts), n_starts, replace=False))]
        seeds.append(starts)
        noise = 0.1 * np.std(starts, axis=0) * rng.standard_normal(starts.shape)
        seeds.append((starts + noise)[:: max(1, len(starts) // 32)])
    low, high = network.activation.value_bounds if network.activation.bounded else (-1.0, 1.0)
    n_runs = max(8, n_starts // 8)
    X = rng.uniform(low, high, (n_runs, n))
    X *= np.linspace(0.05, 1.0, n_runs)[:, None]
    seen = [X]
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(1, 161):
            X = network.step(X)
            if k in (2, 5, 10, 20, 40, 80, 120, 160):
                seen.append(X)
    runs = np.vstack(seen)
    runs = runs[np.all(np.abs(runs) < 1e6, axis=1)]
    if len(runs) > n_starts:
        runs = runs[np.sort(rng.choice(len(runs), n_starts, replace=False))]
    seeds.append(runs)
    if network.W_fb is not None and len(runs):
        settled = seen[-1][np.all(np.abs(seen[-1]) < 1e6, axis=1)]
        outputs_from = starts if starts is not None and len(starts) > 1 else settled
        if len(outputs_from):
            seeds.append(_readout_grid(network, outputs_from, n_starts))
    return np.vstack(seeds)


def more_seeds(states: FloatArray, n_starts: int, round_: int, rng: np.random.Generator) -> FloatArray:
    """Return convex combinations of the points found: midpoints first, then other ratios and triples."""
    n = states.shape[1]
    pairs = np.array(list(itertools.combinations(range(len(states)), 2)), dtype=int).reshape(-1, 2)
    out = []
    for t in (0.5,) if round_ == 2 else (0.5, 0.2, 0.35, 0.65, 0.8):
        out.append((1.0 - t) * states[pairs[:, 0]] + t * states[pairs[:, 1]])
    if round_ > 2 and len(states) > 2:
        triples = rng.integers(0, len(states), (n_starts, 3))
        weights = rng.dirichlet(np.ones(3), n_starts)
        out.append(np.einsum("bk,bkn->bn", weights, states[triples]))
    if round_ > 2 or len(pairs) == 0:
        scale = max(0.1, float(np.std(states)) if len(states) else 1.0)
        base = states[rng.integers(0, len(states), n_starts)] if len(states) else np.zeros((n_starts, n))
        out.append(base + scale * rng.uniform(0.05, 2.0, (n_starts, 1)) * rng.standard_normal((n_starts, n)))
    seeds = np.vstack(out)
    limit = n_starts * (1 if round_ == 2 else 2)
    if len(seeds) > limit:
        seeds = seeds[rng.choice(len(seeds), limit, replace=False)]
    return seeds
