"""Many states of an autonomous map moved on together, by the compiled kernels where they serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, final

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, no_progress
from esntools.arguments import no_input, real_array
from esntools.errors import InvalidInputError
from esntools.maps import Map, checked_map, state_box
from esntools.network import EchoStateNetwork
from esntools.simulation.stepping import advance_batch, batch_threads, kernel_parts

__all__ = ["Runner", "autonomous", "checked_states", "fastest_form", "leading_exponent", "random_states"]

#: A block of recorded states holds at most this many numbers (32 MB).
_BLOCK: Final = 2**22


@final
class _Held:
    """A map under a constant input, as an autonomous map."""

    def __init__(self, system: Map, u: FloatArray) -> None:
        self.system, self.u = system, u
        self.n_units, self.n_inputs = system.n_units, 0
        self.state_bounds = state_box(system)

    def step(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        x = np.asarray(x, dtype=np.float64)
        return self.system.step(x, np.broadcast_to(self.u, (*x.shape[:-1], len(self.u))))

    def jacobian(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        return self.system.jacobian(x, self.u)

    def jacobian_vector(self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        return self.system.jacobian_vector(x, V, self.u)


def autonomous(system: Map, u: ArrayLike | None) -> Map:
    """Return the map without inputs that `system` is at the constant input u."""
    system = checked_map(system)
    if system.n_inputs == 0:
        no_input(u, "map")
        return system
    if u is None:
        raise InvalidInputError(
            "u", "None", f"the map has {system.n_inputs} inputs", "pass the constant input, or close the loop"
        )
    u = np.atleast_1d(np.array(real_array(u, "u")))
    if u.shape != (system.n_inputs,):
        raise InvalidInputError("u", f"shape {u.shape}", f"must have shape ({system.n_inputs},)")
    if not np.all(np.isfinite(u)):
        raise InvalidInputError("u", str(u), "every entry must be finite")
    return system.at_input(u) if isinstance(system, EchoStateNetwork) else _Held(system, u)


def checked_states(value: ArrayLike, place: str, n_units: int) -> FloatArray:
    """Return the value as (n, n_units) finite states; a plain series serves one unit."""
    X = np.array(real_array(value, place))
    if X.ndim == 1:
        X = X[:, None] if n_units == 1 else X[None, :]
    if X.ndim != 2 or X.shape[1] != n_units or len(X) == 0:
        raise InvalidInputError(place, f"shape {X.shape}", f"must have shape (n, n_units = {n_units})")
    if not np.all(np.isfinite(X)):
        raise InvalidInputError(place, "NaN or infinite", "every entry must be finite")
    return X


def fastest_form(network: EchoStateNetwork) -> EchoStateNetwork:
    """Return the equal network in the form whose batched NumPy step is fastest: dense and folded."""
    if network.is_sparse and network.n_units <= 2000:
        network = replace(network, W=network.dense_W())
    if network.readout is not None and network.readout.is_affine and not network.is_sparse:
        network = network.folded()
    return network


def random_states(network: EchoStateNetwork, n: int, rng: np.random.Generator) -> FloatArray:
    """Return n states, uniform in the range of the activation (in [-1, 1] where it is unbounded)."""
    low, high = network.activation.value_bounds if network.activation.bounded else (-1.0, 1.0)
    return rng.uniform(low, high, (n, network.n_units))


class Runner:
    """An autonomous map that moves batches of states (n_batch, n_units) on.

    States that escape become infinite or NaN without a warning; the caller looks.
    """

    def __init__(self, system: Map) -> None:
        self.parts: Any = None
        if isinstance(system, EchoStateNetwork):
            if system.activation.kernel_code < 0:
                system = fastest_form(system)
            elif not system.is_sparse and system.readout is not None and system.readout.is_affine:
                system = system.folded()
            self.parts = kernel_parts(system, batched=True)
        self.system = system
        self.n_units = system.n_units

    def advance(self, X: FloatArray, n_steps: int) -> FloatArray:
        """Return the states n_steps later."""
        X = np.array(X, order="C")
        network = self.system
        if self.parts is None or not isinstance(network, EchoStateNetwork):
            with np.errstate(all="ignore"):
                for _ in range(n_steps):
                    X = network.step(X)
            return X
        with batch_threads(network, len(X)):
            advance_batch(network, self.parts, np.zeros((n_steps, 0)), X, None, no_progress)
        return X

    def states(self, X: FloatArray, n_steps: int) -> FloatArray:
        """Return the n_steps states after X, shape (n_steps, n_batch, n_units)."""
        X = np.array(X, order="C")
        network = self.system
        out = np.empty((n_steps, *X.shape))
        if self.parts is None or not isinstance(network, EchoStateNetwork):
            with np.errstate(all="ignore"):
                for k in range(n_steps):
                    X = out[k] = network.step(X)
            return out
        with batch_threads(network, len(X)):
            advance_batch(network, self.parts, np.zeros((n_steps, 0)), X, out, no_progress)
        return out

    def moments(
        self, X: FloatArray, n_batches: int, length: int, columns: slice
    ) -> tuple[FloatArray, FloatArray]:
        """Return means of x and x^2 over stretches, (n_batches, n_rows, 2 n_columns), and the last states."""
        width = X[:, columns].shape[1]
        means = np.zeros((n_batches, len(X), 2 * width))
        block = max(1, min(length, _BLOCK // X.size))
        with np.errstate(all="ignore"):
            for batch in range(n_batches):
                done = 0
                while done < length:
                    k = min(block, length - done)
                    states = self.states(X, k)
                    part = states[:, :, columns]
                    means[batch, :, :width] += part.sum(axis=0)
                    means[batch, :, width:] += np.einsum("kbn,kbn->bn", part, part)
                    X, done = states[-1], done + k
        return means / length, X


def leading_exponent(
    system: Map, x: FloatArray, n_steps: int, rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Return the largest Lyapunov exponent from a state on, in 1/step, with its 95 % interval."""
    length = max(1, n_steps // 20)
    v = rng.standard_normal(system.n_units)
    v /= np.linalg.norm(v)
    growth = np.zeros(21)
    for batch in range(21):
        for _ in range(length):
            v = system.jacobian_vector(x, v)
            x = system.step(x)
            size = float(np.linalg.norm(v))
            if not (np.isfinite(size) and size > 0.0):
                return -np.inf, (-np.inf, -np.inf)
            v = v / size
            growth[batch] += np.log(size) / length
    # In the first batch the vector turns towards the leading direction.
    mean = float(np.mean(growth[1:]))
    half = float(scipy.stats.t.ppf(0.975, 19) * np.std(growth[1:], ddof=1) / np.sqrt(20))
    return mean, (mean - half, mean + half)
