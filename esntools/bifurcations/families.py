r"""A map with one parameter, and the equation :math:`G_\lambda^p(x) = x` that a branch solves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.arguments import real_array, real_number
from esntools.errors import InvalidInputError, nearest_name
from esntools.maps import Map, state_box
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array

__all__ = ["PARAMETERS", "Family", "NetworkFamily", "Problem", "System", "make_family"]

#: The parameters of a network that a branch can follow.
PARAMETERS: Final = ("gain", "bias", "leak_rate", "input")

#: A network (with the name of its parameter), or a function from the parameter's value to a map.
System: TypeAlias = EchoStateNetwork | Callable[[float], Map]

# A branch stops at the ends of its range, but corrections and differences reach a little beyond them.
_BEYOND: Final = 0.01

# A residual that no longer shrinks is accepted below this (an orbit of large multipliers amplifies rounding).
_ROUNDING: Final = 1e-9


class Family(Protocol):
    """Maps x -> G(x; value) with their derivatives in the state and in the value."""

    label: str
    n_units: int
    #: Whether second and third derivatives exist.
    smooth: bool

    def image(self, x: FloatArray, value: float) -> FloatArray:
        """Return G(x; value)."""

    def jacobian(self, x: FloatArray, value: float) -> FloatArray:
        """Return D_xG, (n_units, n_units)."""

    def parameter_slope(self, x: FloatArray, value: float) -> FloatArray:
        """Return dG/dvalue, (n_units,)."""

    def system(self, value: float) -> tuple[Map, FloatArray | None]:
        """Return the map at one value and the constant input that it is under, if it has inputs."""


@final
class NetworkFamily:
    """A network with its gain, bias, leak rate or input as the parameter; derivatives are exact."""

    def __init__(
        self, network: EchoStateNetwork, parameter: str, direction: ArrayLike | None, u: ArrayLike | None
    ) -> None:
        if not isinstance(parameter, str) or parameter not in PARAMETERS:
            raise InvalidInputError(
                "parameter", repr(parameter), "a network has no such parameter",
                nearest_name(str(parameter), PARAMETERS) + ", or pass a function from the value to a map",
            )  # fmt: skip
        self.label, self.n_units = parameter, network.n_units
        m = network.n_inputs
        if u is None:
            base = np.zeros(m)
            if m and parameter != "input":
                raise InvalidInputError(
                    "u", "None", f"the network has {m} inputs", "pass the constant input u"
                )
        else:
            base = checked_array(np.atleast_1d(real_array(u, "u")), "u", (m,), "(n_inputs,)")
        if parameter == "input":
            if m == 0:
                raise InvalidInputError("parameter", "'input'", "the network has no input")
            if direction is None and m > 1:
                raise InvalidInputError(
                    "direction", "None", f"the network has {m} inputs", "say along which u moves"
                )
            along = checked_array(np.ones(m) if direction is None else direction, "direction", (m,), "(m,)")
            shift = network.W_in @ along
        elif parameter == "bias":
            n = network.n_units
            along = checked_array(np.ones(n) if direction is None else direction, "direction", (n,), "(n,)")
            shift = along
        else:
            if direction is not None:
                raise InvalidInputError("direction", "given", f"{parameter!r} has no direction")
            along = shift = np.zeros(network.n_units)
        if parameter in ("bias", "input") and not np.any(shift):
            raise InvalidInputError("direction", "no effect", "some unit must feel the parameter")
        self.network, self.direction, self._u, self.shift = network, along, base, shift
        self.autonomous = network.at_input(base) if m else network
        self._W = network.dense_W()
        text = network.activation.expression
        self.smooth = not any(word in text for word in ("Max", "Min", "Abs", "Piecewise"))

    def _preactivation(self, x: FloatArray, value: float) -> FloatArray:
        z = self.autonomous.preactivation(x)
        if self.label == "gain":
            return z + (value - 1.0) * (self._W @ x)
        return z if self.label == "leak_rate" else z + value * self.shift

    def _leak(self, value: float) -> FloatArray:
        if self.label == "leak_rate":
            return np.full(self.n_units, value)
        return self.network.leak_rate

    def image(self, x: FloatArray, value: float) -> FloatArray:
        a = self._leak(value)
        return np.asarray((1.0 - a) * x + a * self.network.activation(self._preactivation(x, value)))

    def jacobian(self, x: FloatArray, value: float) -> FloatArray:
        network, a = self.network, self._leak(value)
        V = self._W * value if self.label == "gain" else self._W
        if network.W_fb is not None and network.readout is not None:
            V = V + network.W_fb @ network.readout.jacobian(x)
        slope = a * network.activation.slope(self._preactivation(x, value))
        J = slope[:, None] * V
        J[np.diag_indices(self.n_units)] += 1.0 - a
        return np.asarray(J)

    def parameter_slope(self, x: FloatArray, value: float) -> FloatArray:
        z = self._preactivation(x, value)
        if self.label == "leak_rate":
            return np.asarray(self.network.activation(z) - x)
        moved = self._W @ x if self.label == "gain" else self.shift
        return np.asarray(self._leak(value) * self.network.activation.slope(z) * moved)

    def system(self, value: float) -> tuple[Map, FloatArray | None]:
        network = self.autonomous
        if self.label == "gain":
            return network.scaled(value), None
        if self.label == "leak_rate":
            return replace(network, leak_rate=np.full(self.n_units, value)), None
        return replace(network, b=network.b + value * self.shift), None


@final
class _FunctionFamily:
    """Any function from the parameter's value to a map; its slope in the value by central differences."""

    def __init__(self, function: Callable[[float], Map], label: str, u: ArrayLike | None, at: float) -> None:
        self.label, self.smooth, self._function = label, True, function
        first = function(at)
        if not isinstance(first, Map):
            raise InvalidInputError(
                "network", f"a function that returns {type(first).__name__}", "it must return a Map"
            )
        self.n_units = first.n_units
        self._u: FloatArray | None = None
        if first.n_inputs:
            if u is None:
                raise InvalidInputError("u", "None", f"the map has {first.n_inputs} inputs", "pass u")
            self._u = checked_array(np.atleast_1d(u), "u", (first.n_inputs,), "(n_inputs,)")
        elif u is not None:
            raise InvalidInputError("u", "given", "the map has no input")

    def image(self, x: FloatArray, value: float) -> FloatArray:
        return self._function(value).step(x, self._u)

    def jacobian(self, x: FloatArray, value: float) -> FloatArray:
        return self._function(value).jacobian(x, self._u)

    def parameter_slope(self, x: FloatArray, value: float) -> FloatArray:
        # Only the direction of a Newton step depends on this slope, never the equation that it solves.
        h = 1e-6 * max(1.0, abs(value))
        return np.asarray((self.image(x, value + h) - self.image(x, value - h)) / (2.0 * h))

    def system(self, value: float) -> tuple[Map, FloatArray | None]:
        return self._function(value), self._u


def make_family(
    system: System,
    parameter: str,
    start: float,
    stop: float,
    direction: ArrayLike | None,
    u: ArrayLike | None,
) -> Family:
    """Return the family that the arguments of the public functions describe."""
    start, stop = (real_number(value, "start, stop") for value in (start, stop))
    if start == stop or not max(abs(start), abs(stop)) <= 1e100:
        raise InvalidInputError(
            "start, stop", f"{start}, {stop}", "must be two different numbers, 1e100 at most"
        )
    if isinstance(system, EchoStateNetwork):
        if parameter == "leak_rate" and not (0.0 < start <= 1.0 and 0.0 < stop <= 1.0):
            raise InvalidInputError("start, stop", f"{start}, {stop}", "a leak rate must lie in (0, 1]")
        return NetworkFamily(system, parameter, direction, u)
    if not callable(system):
        raise InvalidInputError(
            "network", type(system).__name__, "must be a network or a function from a value to a map",
            "for another map with one parameter pass lambda value: the map",
        )  # fmt: skip
    if direction is not None:
        raise InvalidInputError("direction", "given", "a function of the value has no direction")
    return _FunctionFamily(system, parameter, u, start)


@final
class Problem:
    r"""The equation :math:`F(z) = G_\lambda^p(x) - x = 0` in z = (x, l), value = start + l (stop - start).

    The norm along a branch counts x by its root mean square and the parameter as a share of its range.
    """

    def __init__(self, family: Family, period: int, start: float, stop: float, tol: float) -> None:
        self.family, self.period, self.start, self.stop, self.tol = family, period, start, stop, tol
        self.n = family.n_units
        self.weights = np.append(np.full(self.n, 1.0 / self.n), 1.0)
        self.bounded = False
        system = family.system(start)[0]
        self.bounded = state_box(system) is not None

    def with_period(self, period: int) -> Problem:
        return Problem(self.family, period, self.start, self.stop, self.tol)

    def value(self, share: float) -> float:
        return float(self.stop if share == 1.0 else self.start + share * (self.stop - self.start)) + 0.0

    def share(self, value: float) -> float:
        return float((value - self.start) / (self.stop - self.start))

    def inside(self, z: FloatArray) -> bool:
        return bool(np.all(np.isfinite(z)) and -_BEYOND <= z[-1] <= 1.0 + _BEYOND)

    def orbit(self, z: FloatArray) -> FloatArray:
        """Return the states of the orbit from x, (period, n)."""
        states, value = [z[:-1]], self.value(z[-1])
        for _ in range(self.period - 1):
            states.append(self.family.image(states[-1], value))
        return np.array(states)

    def orbit_tangent(self, z: FloatArray, t: FloatArray) -> FloatArray:
        """Return how the states of the orbit change along t, (period, n)."""
        x, value = z[:-1], self.value(z[-1])
        change, speed = [t[:-1]], t[-1] * (self.stop - self.start)
        for _ in range(self.period - 1):
            slope = self.family.parameter_slope(x, value) * speed
            change.append(self.family.jacobian(x, value) @ change[-1] + slope)
            x = self.family.image(x, value)
        return np.array(change)

    def residual(self, z: FloatArray) -> FloatArray:
        """Return F(z)."""
        x, value = z[:-1], self.value(z[-1])
        for _ in range(self.period):
            x = self.family.image(x, value)
        return x - z[:-1]

    def linearise(self, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return F, the monodromy matrix M = DG^p, and the derivative of F in the scaled parameter."""
        x, value = z[:-1], self.value(z[-1])
        M = self.family.jacobian(x, value)
        slope = self.family.parameter_slope(x, value)
        x = self.family.image(x, value)
        for _ in range(self.period - 1):
            J = self.family.jacobian(x, value)
            M, slope = J @ M, J @ slope + self.family.parameter_slope(x, value)
            x = self.family.image(x, value)
        return x - z[:-1], M, slope * (self.stop - self.start)

    def derivative(self, z: FloatArray, V: Any) -> Any:
        """Return [DG^p - I, F_l] V for V of shape (n + 1,) or (n + 1, k)."""
        _, M, slope = self.linearise(z)
        return M @ V[:-1] - V[:-1] + (slope * V[-1] if V.ndim == 1 else np.outer(slope, V[-1]))

    def dot(self, v: FloatArray, w: FloatArray) -> float:
        return float(np.sum(self.weights * v * w))

    def norm(self, v: FloatArray) -> float:
        return float(np.sqrt(self.dot(v, v)))

    def correct(
        self,
        z: FloatArray,
        row: FloatArray,
        target: float,
        *,
        max_iterations: int = 8,
        polish: bool = False,
        cautious: bool = False,
    ) -> FloatArray | None:
        """Solve F(z) = 0 with row . z = target by Newton's method from z; None when it does not converge.

        With `polish` it goes on until rounding stops it; `cautious`: a second step longer than a third of the
        first one means that the start is not in the domain of this solution, and ends the search.
        """
        n = self.n
        matrix = np.empty((n + 1, n + 1))
        matrix[n] = row
        best, smallest, previous, moved = z, np.inf, np.inf, 0.0
        for _ in range(max_iterations + 1):
            if not self.inside(z):
                break
            with np.errstate(over="ignore", invalid="ignore"):
                F, M, slope = self.linearise(z)
                size = float(np.max(np.abs(F))) + abs(float(row @ z) - target)
            if not np.isfinite(size) or not np.all(np.isfinite(M)):
                break
            if size < smallest:
                best, smallest = z, size
            scale = max(1.0, float(np.max(np.abs(best[:-1]))))
            stalled = size == 0.0 or size >= 0.5 * previous
            # No residual below the rounding error of the map means anything.
            if smallest <= (_ROUNDING if stalled else self.tol) * scale and (stalled or not polish):
                return best
            previous = size
            matrix[:n, :n] = M
            matrix[np.arange(n), np.arange(n)] -= 1.0
            matrix[:n, n] = slope
            try:
                step = np.linalg.solve(matrix, np.append(F, row @ z - target))
            except np.linalg.LinAlgError:
                break
            length = self.norm(np.asarray(step, dtype=np.float64))
            if cautious and 0.0 < moved < 3.0 * length and length > 1e-9:
                return None
            z, moved = z - step, length
        return best if smallest <= self.tol * max(1.0, float(np.max(np.abs(best[:-1])))) else None
