"""The automatic choice: reservoirs proposed by a Sobol sequence, judged by free runs over many windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.stats import qmc

from esntools._typing import FloatArray, IntArray
from esntools.network import EchoStateNetwork

__all__ = ["BOX", "HYPERPARAMETERS", "Hyperparameters", "horizon_weights", "propose", "window_errors"]

#: Box of the search: name -> (low, high, logarithmic).
BOX: Final[dict[str, tuple[float, float, bool]]] = {
    "spectral_radius": (0.05, 1.25, False),
    "input_scaling": (0.1, 10.0**0.6, True),
    "bias_scaling": (0.1, 1.8, False),
    # Above 1 it is capped: one candidate in nine has no leak at all.
    "leak_rate": (10.0**-1.5, 10.0**0.2, True),
}
HYPERPARAMETERS: Final = tuple(BOX)


@final
@dataclass(frozen=True)
class Hyperparameters:
    """What a reservoir is drawn from, apart from its size, connectivity and seed (in scaled units)."""

    spectral_radius: float
    input_scaling: float
    bias_scaling: float
    leak_rate: float


def _to_box(unit: float, name: str) -> float:
    low, high, logarithmic = BOX[name]
    if logarithmic:
        return float(low * (high / low) ** unit)
    return float(low + (high - low) * unit)


def _to_unit(value: float, name: str) -> float:
    low, high, logarithmic = BOX[name]
    unit = np.log(value / low) / np.log(high / low) if logarithmic else (value - low) / (high - low)
    return float(np.clip(unit, 0.0, 1.0))


def propose(
    n: int,
    fixed: dict[str, float],
    rng: np.random.Generator,
    around: Sequence[Hyperparameters] = (),
) -> list[Hyperparameters]:
    """Return n proposals: over the whole box, or (with `around`) near the given ones in turn.

    The names in `fixed` keep their values. The points are a scrambled Sobol sequence, so that few of them
    already cover the box evenly. M. D. Platt et al., Neural Networks 153 (2022) 530,
    doi:10.1016/j.neunet.2022.06.025, choose the same quantities globally by the same kind of score.
    """
    power = max(1, int(np.ceil(np.log2(max(n, 2)))))
    points = qmc.Sobol(len(BOX), seed=rng).random_base2(power)[:n]
    proposals = []
    for i, point in enumerate(points):
        values = {}
        for unit, name in zip(point, HYPERPARAMETERS):
            if around:
                centre = _to_unit(getattr(around[i % len(around)], name), name)
                unit = float(np.clip(centre + 0.3 * (unit - 0.5), 0.0, 1.0))
            values[name] = _to_box(float(unit), name)
        values["leak_rate"] = min(values["leak_rate"], 1.0)
        proposals.append(Hyperparameters(**{**values, **fixed}))
    return proposals


def horizon_weights(n_steps: int, period: float) -> FloatArray:
    """Return weights over the steps of a window, one over time from a quarter period on; they sum to 1.

    With them the mean clipped error falls linearly with the logarithm of the time that a forecast holds, so
    that one score serves series that hold for five steps and for a thousand.
    """
    weights = 1.0 / (np.arange(n_steps) + max(1.0, 0.25 * period))
    return np.asarray(weights / weights.sum())


def window_errors(
    network: EchoStateNetwork,
    starts: FloatArray,
    truths: FloatArray,
    weights: FloatArray,
    intercepts: FloatArray,
    *,
    limit: float = 1.0,
) -> FloatArray:
    """Run every readout freely from every start and return the errors, clipped at `limit`.

    Parameters
    ----------
    network : EchoStateNetwork
        The open loop, whose inputs are its predictions; its activation must be bounded.
    starts : array, shape (n_windows, n_units)
    truths : array, shape (n_steps, n_windows, n_outputs)
        ``truths[0]`` is what the readout should say at the start. In units of standard deviations.
    weights : array, shape (n_readouts, n_outputs, n_units or 2 n_units)
        Of the features x, or x and x*x.
    intercepts : array, shape (n_readouts, n_outputs)
    limit : float
        A window ends when its error (root mean square over outputs) reaches this; its error stays there.

    Returns
    -------
    array, shape (n_readouts, n_windows, n_steps)
    """
    n, n_windows, n_steps = network.n_units, len(starts), len(truths)
    n_readouts, p = len(weights), weights.shape[2]
    reader: IntArray = np.repeat(np.arange(n_readouts), n_windows)
    window: IntArray = np.tile(np.arange(n_windows), n_readouts)
    errors = np.full((n_readouts * n_windows, n_steps), limit)
    # Members in columns: W X is one product for all of them, sparse or dense.
    alive = np.arange(n_readouts * n_windows)
    X = np.ascontiguousarray(starts.T)[:, window]
    linear = np.ascontiguousarray(weights[:, :, :n].transpose(1, 2, 0))[:, :, reader]
    square = np.ascontiguousarray(weights[:, :, n:].transpose(1, 2, 0))[:, :, reader] if p > n else None
    offset = intercepts.T[:, reader]
    a = network.leak_rate[:, None]
    b = network.b[:, None]
    running = np.ones(len(alive), dtype=bool)
    for k in range(n_steps):
        Y = np.einsum("dnm,nm->dm", linear, X) + offset
        if square is not None:
            Y += np.einsum("dnm,nm,nm->dm", square, X, X)
        error = np.sqrt(np.mean((Y - truths[k][window[alive]].T) ** 2, axis=0))
        running &= error < limit
        errors[alive[running], k] = error[running]
        n_running = int(running.sum())
        if n_running == 0:
            break
        if n_running < 0.8 * len(alive):
            alive, X, Y, offset = alive[running], X[:, running], Y[:, running], offset[:, running]
            linear = linear[:, :, running]
            square = None if square is None else square[:, :, running]
            running = np.ones(n_running, dtype=bool)
        Z = network.W @ X
        Z += network.W_in @ Y
        Z += b
        Z = network.activation(Z)
        Z -= X
        Z *= a
        X = X + Z
    return errors.reshape(n_readouts, n_windows, n_steps)
