"""Trajectories of a network: `drive` (open loop) and `forecast` (closed loop)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, no_progress
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork

__all__ = ["Forecast", "Trajectory", "drive", "final_state", "forecast"]


@final
@dataclass(frozen=True, eq=False)
class Trajectory:
    r"""A driven trajectory: :math:`x_{k+1} = G(u_{k+1}, x_k)` from :math:`x_0`.

    Attributes
    ----------
    network : EchoStateNetwork
    states : ndarray, shape (n_steps, n_units) or (n_steps, n_batch, n_units)
        ``states[k]`` is the state after input ``inputs[k]``.
    inputs : ndarray, shape (n_steps, n_inputs) or (n_steps, n_batch, n_inputs)
    x0 : ndarray, shape (n_units,) or (n_batch, n_units)
        The state before ``inputs[0]``; after a washout, the state at its end.
    """

    network: EchoStateNetwork
    states: FloatArray
    inputs: FloatArray
    x0: FloatArray

    @property
    def n_steps(self) -> int:
        return int(self.states.shape[0])

    @property
    def outputs(self) -> FloatArray:
        """psi of the states, shape (n_steps, n_outputs) or (n_steps, n_batch, n_outputs)."""
        return self.network.output(self.states)

    @property
    def last_state(self) -> FloatArray:
        """The state after the last input; x0 when there were no steps."""
        return self.states[-1] if self.n_steps else self.x0


@final
@dataclass(frozen=True, eq=False)
class Forecast:
    """A free run of a network with a readout: ``outputs[0] = psi(x0)``, then step by step.

    Attributes
    ----------
    outputs : ndarray, shape (n_steps, n_outputs) or (n_steps, n_batch, n_outputs)
        NaN from the step at which the output left its range.
    states : ndarray or None, shape (n_steps, n_units) or (n_steps, n_batch, n_units)
        ``states[0]`` is x0; None unless asked for.
    x0 : ndarray, shape (n_units,) or (n_batch, n_units)
    left_range_at : int or None, or int array of shape (n_batch,)
        The first step whose output was not finite or outside the allowed range; None (in a batch: -1)
        when there was none.
    """

    outputs: FloatArray
    states: FloatArray | None
    x0: FloatArray
    left_range_at: int | None | IntArray


def _finite(value: ArrayLike, place: str) -> FloatArray:
    try:
        array = np.ascontiguousarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(place, type(value).__name__, "must be an array of real numbers") from None
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInputError(
            f"{place}{list(index)}", str(array[index]), "every entry must be finite",
            "split the series at its gaps",
        )  # fmt: skip
    return array


def _checked_inputs(network: EchoStateNetwork, u: ArrayLike) -> FloatArray:
    u = _finite(u, "u")
    if u.ndim == 1 and network.n_inputs == 1:
        u = u[:, None]
    if u.ndim not in (2, 3) or u.shape[-1] != network.n_inputs:
        raise InvalidInputError(
            "u", f"shape {u.shape}",
            f"must be (n_steps, {network.n_inputs}) or (n_steps, n_batch, {network.n_inputs})",
            "an autonomous network takes np.zeros((n_steps, 0))" if network.n_inputs == 0 else "",
        )  # fmt: skip
    return u


def _checked_start(network: EchoStateNetwork, x0: ArrayLike | None, n_batch: int | None) -> FloatArray:
    """Return x0 as a fresh array (n_units,) or (n_batch, n_units)."""
    n = network.n_units
    shape = (n,) if n_batch is None else (n_batch, n)
    if x0 is None:
        return np.zeros(shape)
    x0 = _finite(x0, "x0")
    if x0.shape == (n,):
        return np.array(np.broadcast_to(x0, shape))
    if x0.ndim != 2 or x0.shape[1] != n or (n_batch is not None and len(x0) != n_batch):
        rows = "n_batch" if n_batch is None else str(n_batch)
        raise InvalidInputError("x0", f"shape {x0.shape}", f"must be ({n},) or ({rows}, {n})")
    return np.array(x0)


def _checked_count(value: int, place: str, at_most: int | None = None) -> int:
    rule = "must be an integer >= 0" + ("" if at_most is None else f" and at most n_steps = {at_most}")
    if (
        not isinstance(value, int | np.integer)
        or isinstance(value, bool)
        or value < 0
        or (at_most is not None and value > at_most)
    ):
        raise InvalidInputError(place, repr(value), rule)
    return int(value)


def drive(
    network: EchoStateNetwork,
    u: ArrayLike,
    x0: ArrayLike | None = None,
    *,
    washout: int = 0,
    progress: Progress = no_progress,
) -> Trajectory:
    """Drive the network with an input series and return every state after the washout."""
    u = _checked_inputs(network, u)
    x = _checked_start(network, x0, u.shape[1] if u.ndim == 3 else None)
    washout = _checked_count(washout, "washout", len(u))
    for k in range(washout):
        x = network.step(x, _at(u[k], x))
    start = x
    states = np.empty((len(u) - washout, *x.shape))
    for k in range(washout, len(u)):
        x = network.step(x, _at(u[k], x))
        states[k - washout] = x
    return Trajectory(network, states, u[washout:], start)


def _at(u: FloatArray, x: FloatArray) -> FloatArray:
    return np.broadcast_to(u, (*x.shape[:-1], u.shape[-1]))


def final_state(network: EchoStateNetwork, u: ArrayLike, x0: ArrayLike | None = None) -> FloatArray:
    """Return the state after the last input; nothing is stored on the way."""
    return drive(network, u, x0, washout=len(np.asarray(u))).last_state


def forecast(
    network: EchoStateNetwork,
    x0: ArrayLike,
    n_steps: int,
    *,
    y_range: tuple[ArrayLike, ArrayLike] | None = None,
    store_states: bool = False,
    progress: Progress = no_progress,
) -> Forecast:
    """Let the network run free from x0."""
    if network.n_inputs or network.readout is None:
        raise InvalidInputError(
            "network", repr(network), "a forecast needs an autonomous network with a readout",
            "use closed_loop() or at_input(u)",
        )  # fmt: skip
    n_steps = _checked_count(n_steps, "n_steps")
    x0 = _checked_start(network, x0, None)
    low = np.full(network.n_outputs, -np.inf)
    high = np.full(network.n_outputs, np.inf)
    if y_range is not None:
        a, b = (np.broadcast_to(_finite(e, "y_range"), low.shape) for e in y_range)
        if np.any(a > b):
            raise InvalidInputError("y_range", f"{y_range}", "low must not exceed high")
        low, high = a - (b - a), b + (b - a)
    batch = np.atleast_2d(x0)
    outputs = np.full((n_steps, len(batch), network.n_outputs), np.nan)
    states = np.full((n_steps, *batch.shape), np.nan) if store_states else None
    left = np.full(len(batch), -1, dtype=np.intp)
    x = batch
    with np.errstate(all="ignore"):
        for k in range(n_steps):
            y = network.output(x)
            bad = ~np.all((y >= low) & (y <= high) & np.isfinite(y), axis=1)
            left[bad & (left < 0)] = k
            on = left < 0
            if not on.any():
                break
            outputs[k, on] = y[on]
            if states is not None:
                states[k, on] = x[on]
            x = network.step(x)
    if x0.ndim == 2:
        return Forecast(outputs, states, x0, left)
    return Forecast(
        outputs[:, 0],
        None if states is None else states[:, 0],
        x0,
        int(left[0]) if left[0] >= 0 else None,
    )
