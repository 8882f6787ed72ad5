"""Where a search for fixed points starts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from esntools._typing import FloatArray
from esntools.fixed_points.equations import NetworkEquation
from esntools.fixed_points.root_search import DENSE_LIMIT
from esntools.maps import Map, state_box
from esntools.network import EchoStateNetwork

__all__ = ["first_seeds", "more_seeds"]


def _relaxed(network: EchoStateNetwork, z: FloatArray, dtype: Any, precision: float) -> FloatArray:
    """Return the states to which the reservoir settles when its feedback is clamped at z (rows)."""
    assert network.W_fb is not None
    W = network.W.astype(dtype)
    if not isinstance(W, np.ndarray) and network.n_units <= 2000:
        W = W.toarray()
    drive = (z @ network.W_fb.T + network.b).astype(dtype)
    X = np.zeros((len(z), network.n_units), dtype=dtype)
    tanh = network.activation.name == "tanh"
    for _ in range(80):
        Z = X @ W.T if isinstance(W, np.ndarray) else (W @ X.T).T
        Z = Z + drive
        change = (np.tanh(Z) if tanh else network.activation(Z).astype(dtype)) - X
        X = X + dtype(0.7) * change
        if np.max(np.abs(change)) < precision:
            break
    return X.astype(np.float64)


def _readout_grid(network: EchoStateNetwork, seen: FloatArray, n_starts: int, dtype: Any) -> FloatArray:
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
        m = max(3, int(n_starts ** (1.0 / d) + 1e-9))
        axes = [np.linspace(c - h, c + h, m) for c, h in zip(centre, half, strict=True)]
        grid = np.stack([g.ravel() for g in np.meshgrid(*axes)], axis=1)
        return _relaxed(network, grid, dtype, 0.02)
    inner = np.linspace(-1.0, 1.0, max(n_starts // 2, 16)) * half + centre
    reach = np.abs(readout.W_out).sum() + np.abs(readout.b_out).sum() + np.abs(centre[0])
    reach += 0.0 if readout.W_sq is None else np.abs(readout.W_sq).sum()
    outer = np.geomspace(half[0], max(reach, 2.0 * half[0]), 64)
    z = np.sort(np.concatenate([inner, centre + outer, centre - outer]))[:, None]
    X = _relaxed(network, z, dtype, 1e-6)
    h = (readout(X) - z)[:, 0]
    change = np.flatnonzero(h[:-1] * h[1:] < 0.0)
    t = (h[change] / (h[change] - h[change + 1]))[:, None]
    return np.vstack([X[len(outer) : -len(outer) : 2], (1.0 - t) * X[change] + t * X[change + 1]])


def _thinned(states: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    if len(states) <= n:
        return states
    return states[np.sort(rng.choice(len(states), n, replace=False))]


def _runs(
    system: Map, u: FloatArray, fast: NetworkEquation | None, n_runs: int, rng: np.random.Generator
) -> list[FloatArray]:
    """Return states along runs from random states of growing size."""
    n = system.n_units
    box = state_box(system)
    if box is not None and not np.all(np.isfinite(box)):
        box = None
    low, high = (-1.0, 1.0) if box is None else box
    X = rng.uniform(low, high, (n_runs, n))
    X *= np.linspace(0.05, 1.0 if box is not None else 3.0, n_runs)[:, None]
    seen = [X]
    short = fast is not None
    if fast is not None:
        X = X.astype(np.float32)
        a = fast.network.leak_rate.astype(np.float32)
    inputs = np.broadcast_to(u, (n_runs, len(u))) if len(u) else None
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(1, 41 if short else 161):
            X = X + a * (fast.image(X) - X) if fast is not None else system.step(X, inputs)
            if k in (2, 5, 10, 20, 40, 80, 120, 160):
                seen.append(X.astype(np.float64))
    return seen


def first_seeds(
    system: Map,
    u: FloatArray,
    fast: NetworkEquation | None,
    starts: FloatArray | None,
    n_starts: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return given states, states along short runs, noise around both, the readout grid and the origin.

    `system` is autonomous when it is a network. Up to `DENSE_LIMIT` units every family has `n_starts`
    members, above that all families together have.
    """
    n = system.n_units
    small = n <= DENSE_LIMIT
    network = system if isinstance(system, EchoStateNetwork) else None
    grid = network is not None and network.W_fb is not None and network.n_outputs <= 4
    n_given = n_starts if small else n_starts // (4 if grid else 2)
    n_grid = n_starts if small else n_starts // 2 if starts is not None else (3 * n_starts) // 4
    seeds = [np.zeros((1, n))]
    if starts is not None:
        given = _thinned(starts, n_given, rng)
        seeds.append(given)
        if small:
            noise = 0.1 * np.std(given, axis=0) * rng.standard_normal(given.shape)
            seeds.append((given + noise)[:: max(1, len(given) // 32)])
    seen = _runs(system, u, fast, max(8, n_starts // (8 if small else 16)), rng)
    runs = np.vstack(seen)
    runs = runs[np.all(np.abs(runs) < 1e6, axis=1)]
    if grid and network is not None and len(runs):
        settled = seen[-1][np.all(np.abs(seen[-1]) < 1e6, axis=1)]
        outputs_from = starts if starts is not None and len(starts) > 1 else settled
        if len(outputs_from):
            dtype = np.float64 if fast is None else np.float32
            seeds.append(_readout_grid(network, outputs_from, n_grid, dtype))
    left = n_starts if small else max(n_starts - sum(map(len, seeds)), 8)
    seeds.append(_thinned(runs, left, rng))
    return np.vstack(seeds)


def more_seeds(states: FloatArray, n_starts: int, round_: int, rng: np.random.Generator) -> FloatArray:
    """Return convex combinations of the points found: midpoints first, then other ratios and triples."""
    n = states.shape[1]
    limit = n_starts * (2 if n <= DENSE_LIMIT and round_ > 2 else 1)
    ratios = np.array([0.5] if round_ == 2 else [0.5, 0.2, 0.35, 0.65, 0.8])
    pairs = np.array(list(itertools.combinations(range(len(states)), 2)), dtype=np.intp).reshape(-1, 2)
    choice = np.arange(len(pairs) * len(ratios))
    extra = round_ > 2 or len(pairs) == 0
    room = limit // 2 if extra else limit
    if len(choice) > room:
        choice = np.sort(rng.choice(len(choice), room, replace=False))
    t, (one, two) = ratios[choice // max(len(pairs), 1)][:, None], pairs[choice % max(len(pairs), 1)].T
    out = [(1.0 - t) * states[one] + t * states[two]]
    if extra:
        left = limit - len(choice)
        if len(states) > 2:
            triples = rng.integers(0, len(states), (left // 2, 3))
            weights = rng.dirichlet(np.ones(3), left // 2)
            out.append(np.einsum("bk,bkn->bn", weights, states[triples]))
            left -= left // 2
        scale = max(0.1, float(np.std(states)) if len(states) else 1.0)
        base = states[rng.integers(0, len(states), left)] if len(states) else np.zeros((left, n))
        out.append(base + scale * rng.uniform(0.05, 2.0, (left, 1)) * rng.standard_normal((left, n)))
    return np.vstack(out)
