"""Trajectories of a network: `drive` (open loop) and `forecast` (closed loop)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from esntools import kernels
from esntools._typing import FloatArray, IntArray, Progress, no_progress
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.simulation.gram import Gram, accumulate_gram
from esntools.simulation.stepping import (
    Parts,
    advance,
    advance_batch,
    batch_steps,
    batch_threads,
    blas_threads,
    block_steps,
    checked_count,
    checked_finite,
    checked_inputs,
    checked_start,
    kernel_parts,
    member_groups,
    spans,
)

__all__ = ["Forecast", "Gram", "Trajectory", "accumulate_gram", "drive", "final_state", "forecast"]


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
    left_range_at: int | IntArray | None


# -- open loop -----------------------------------------------------------------------------------------


def drive(
    network: EchoStateNetwork,
    u: ArrayLike,
    x0: ArrayLike | None = None,
    *,
    washout: int = 0,
    progress: Progress = no_progress,
) -> Trajectory:
    r"""Drive the network with an input series and return every state after the washout.

    .. math:: x_{k+1} = (1 - a) \circ x_k
        + a \circ \varphi\bigl(W x_k + W_\mathrm{in} u_{k+1} + W_\mathrm{fb}\, \psi(x_k) + b\bigr)

    Parameters
    ----------
    network : EchoStateNetwork
    u : array_like, shape (n_steps, n_inputs) or (n_steps, n_batch, n_inputs)
        The input series; with one input also (n_steps,). An autonomous network takes
        ``np.zeros((n_steps, 0))``.
    x0 : array_like, shape (n_units,) or (n_batch, n_units), optional
        The initial state, zero by default. Several initial states under one input series make a batch.
    washout : int, optional
        How many first steps to do without storing them. Default 0.
    progress : callable, optional
        Called with ``("driving", fraction)``.

    Returns
    -------
    Trajectory
        ``states[k]`` is the state after input ``inputs[k]``.

    Raises
    ------
    InvalidInputError
        When a shape does not fit, an entry is not finite, or the washout exceeds the series.

    Examples
    --------
    >>> network = EchoStateNetwork([[0.5]], W_in=[[1.0]], activation="identity")
    >>> drive(network, [[1.0], [0.0], [0.0]]).states.ravel()
    array([1.  , 0.5 , 0.25])

    Two initial states under the same input:

    >>> drive(network, [[1.0], [0.0]], x0=[[0.0], [4.0]]).last_state.ravel()
    array([0.5, 1.5])
    """
    u = checked_inputs(network, u)
    x = checked_start(network, x0, u.shape[1] if u.ndim == 3 else None)
    washout = checked_count(washout, "washout", len(u))
    states = np.empty((len(u) - washout, *x.shape))
    start = _drive(network, u, x, states, washout, progress)
    return Trajectory(network, states, u[washout:].copy(), start)


def _drive(
    network: EchoStateNetwork,
    u: FloatArray,
    x: FloatArray,
    states: FloatArray | None,
    washout: int,
    progress: Progress,
) -> FloatArray:
    """Advance x in place over u, store the states after the washout, and return the state at its end."""
    parts = kernel_parts(network, batched=x.ndim == 2)
    with np.errstate(all="ignore"):
        if x.ndim == 2:
            with batch_threads(network, len(x)):
                advance_batch(network, parts, u[:washout], x, None, progress)
                start = x.copy()
                advance_batch(network, parts, u[washout:], x, states, progress)
            return start
        longest = block_steps(network.n_units)
        scratch = np.empty((min(longest, len(u)), network.n_units))
        start = x.copy()
        with blas_threads():
            for k0, k1 in spans(len(u), longest, washout):
                stored = states is not None and k0 >= washout
                block = states[k0 - washout : k1 - washout] if stored else scratch[: k1 - k0]  # type: ignore[index]
                advance(network, parts, u[k0:k1], x, block)
                if k1 == washout:
                    start = x.copy()
                progress("driving", k1 / len(u))
        return start


def final_state(network: EchoStateNetwork, u: ArrayLike, x0: ArrayLike | None = None) -> FloatArray:
    """Return the state after the last input, shape (n_units,) or (n_batch, n_units); no state is stored.

    Parameters and errors are those of `drive`.

    Examples
    --------
    >>> network = EchoStateNetwork([[0.5]], W_in=[[1.0]], activation="identity")
    >>> final_state(network, np.ones((60, 1)))
    array([2.])
    """
    u = checked_inputs(network, u)
    x = checked_start(network, x0, u.shape[1] if u.ndim == 3 else None)
    _drive(network, u, x, None, 0, no_progress)
    return x


# -- closed loop ---------------------------------------------------------------------------------------


def forecast(
    network: EchoStateNetwork,
    x0: ArrayLike,
    n_steps: int,
    *,
    y_range: tuple[ArrayLike, ArrayLike] | None = None,
    store_states: bool = False,
    progress: Progress = no_progress,
) -> Forecast:
    r"""Let an autonomous network run free from x0.

    .. math:: y_k = \psi(x_k), \qquad
        x_{k+1} = (1 - a) \circ x_k + a \circ \varphi\bigl(W x_k + W_\mathrm{fb}\, y_k + b\bigr)

    Parameters
    ----------
    network : EchoStateNetwork
        Without inputs and with a readout, for example ``network.closed_loop()``.
    x0 : array_like, shape (n_units,) or (n_batch, n_units)
    n_steps : int
        The number of outputs; the first is psi(x0).
    y_range : (low, high), optional
        The range of the training outputs, each a number or of shape (n_outputs,). A run ends when an output
        leaves [low - w, high + w] with w = high - low, or is not finite. By default only the latter.
    store_states : bool, optional
        Whether to return the states too. Default False.
    progress : callable, optional
        Called with ``("forecasting", fraction)``.

    Returns
    -------
    Forecast

    Raises
    ------
    InvalidInputError
        When the network has inputs or no readout, a shape does not fit, or an entry is not finite.

    Examples
    --------
    >>> from esntools.network import Readout
    >>> doubling = EchoStateNetwork([[2.0]], activation="identity", readout=Readout([[1.0]]))
    >>> run = forecast(doubling, [1.0], 5, y_range=(0.0, 3.0))
    >>> run.outputs.ravel(), run.left_range_at
    (array([ 1.,  2.,  4., nan, nan]), 3)
    """
    if network.n_inputs or network.readout is None:
        raise InvalidInputError(
            "network", repr(network), "a forecast needs an autonomous network with a readout",
            "use closed_loop() or at_input(u)",
        )  # fmt: skip
    n_steps = checked_count(n_steps, "n_steps")
    x0 = checked_start(network, x0, None)
    low, high = _checked_range(network, y_range)
    batch = np.atleast_2d(x0)
    outputs = np.full((n_steps, len(batch), network.n_outputs), np.nan)
    # One row more than is returned: the state after the last output.
    states = np.full((n_steps + 1, *batch.shape), np.nan) if store_states else None
    parts = kernel_parts(network, low, high, batched=x0.ndim == 2)
    with np.errstate(all="ignore"), batch_threads(network, len(batch)):
        if parts is None:
            left = _forecast_by_steps(network, batch, low, high, outputs, states)
        elif x0.ndim == 1:
            left = _forecast_one(network, parts, x0.copy(), outputs[:, 0], states, progress)
        else:
            left = _forecast_batch(network, parts, batch, outputs, states, progress)
    if states is not None:
        states = states[:n_steps]
        for c in np.flatnonzero(left >= 0):
            states[left[c] :, c] = np.nan
    if x0.ndim == 2:
        return Forecast(outputs, states, x0, left)
    stop = int(left[0])
    return Forecast(outputs[:, 0], None if states is None else states[:, 0], x0, stop if stop >= 0 else None)


def _checked_range(
    network: EchoStateNetwork, y_range: tuple[ArrayLike, ArrayLike] | None
) -> tuple[FloatArray, FloatArray]:
    """Return the ends between which outputs must stay; finite, so that infinities are outside."""
    largest = np.full(network.n_outputs, np.finfo(np.float64).max)
    if y_range is None:
        return -largest, largest
    if not isinstance(y_range, tuple | list) or len(y_range) != 2:
        raise InvalidInputError("y_range", repr(y_range), "must be a pair (low, high)")
    low, high = (checked_finite(end, "y_range") for end in y_range)
    for end in (low, high):
        if end.shape not in ((), (1,), largest.shape):
            raise InvalidInputError("y_range", f"shape {end.shape}", f"must be () or ({len(largest)},)")
    low, high = low + 0.0 * largest, high + 0.0 * largest
    if np.any(low > high):
        raise InvalidInputError("y_range", f"({low}, {high})", "low must not exceed high", "swap the ends")
    width = high - low
    return low - width, high + width


def _forecast_by_steps(
    network: EchoStateNetwork,
    x: FloatArray,
    low: FloatArray,
    high: FloatArray,
    outputs: FloatArray,
    states: FloatArray | None,
) -> IntArray:
    left = np.full(len(x), -1, dtype=np.intp)
    for k in range(len(outputs)):
        y = network.output(x)
        left[(left < 0) & ~np.all((y >= low) & (y <= high), axis=1)] = k
        inside = left < 0
        if not inside.any():
            break
        outputs[k, inside] = y[inside]
        if states is not None:
            states[k, inside] = x[inside]
        x = np.where(inside[:, None], network.step(x), 0.0)
    return left


def _forecast_one(
    network: EchoStateNetwork,
    parts: Parts,
    x: FloatArray,
    outputs: FloatArray,
    states: FloatArray | None,
    progress: Progress,
) -> IntArray:
    longest = block_steps(network.n_units)
    scratch = np.empty((longest if states is None else 0, network.n_units))
    recorded = np.empty((longest, network.n_outputs))
    if states is not None:
        states[0, 0] = x
    for k0, k1 in spans(len(outputs), longest):
        block = scratch[: k1 - k0] if states is None else states[k0 + 1 : k1 + 1, 0]
        block[:] = network.b
        done = kernels.run(*parts, x, block, recorded[: k1 - k0])
        outputs[k0 : k0 + done] = recorded[:done]
        if done < k1 - k0:
            return np.array([k0 + done])
        progress("forecasting", k1 / len(outputs))
    return np.array([-1])


def _forecast_batch(
    network: EchoStateNetwork,
    parts: Parts,
    x: FloatArray,
    outputs: FloatArray,
    states: FloatArray | None,
    progress: Progress,
) -> IntArray:
    n_steps, n_batch, n_outputs = outputs.shape
    left_range_at = np.full(n_batch, -1, dtype=np.intp)
    if states is not None:
        states[0] = x
    no_states = np.empty((0, 0, 0))
    for first, last, columns, left in member_groups(network, x):
        used = last - first
        for k0, k1 in spans(n_steps, batch_steps(columns)):
            recorded = np.full((k1 - k0, n_outputs, columns.shape[1]), np.nan)
            inside = kernels.run_batch(
                *parts, network.b, network.W_in, np.empty((k1 - k0, 0, 1)), columns, k1 - k0,
                no_states if states is None else states[k0 + 1 : k1 + 1], first, used, recorded, left, k0,
            )  # fmt: skip
            outputs[k0:k1, first:last] = recorded[:, :, :used].transpose(0, 2, 1)
            progress("forecasting", (first + used * k1 / n_steps) / n_batch)
            if inside == 0:
                break
        left_range_at[first:last] = left[:used]
    return left_range_at
