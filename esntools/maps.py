"""What an analysis asks of a dynamical system: a step, and its derivative applied to vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.arguments import real_array, whole_number
from esntools.errors import InvalidInputError

__all__ = ["FunctionMap", "Map", "checked_map", "state_box"]


@runtime_checkable
class Map(Protocol):
    r"""A map :math:`x_{k+1} = G(u_{k+1}, x_k)` with its derivative in the state.

    `EchoStateNetwork` is one; so are gated cells and the time-dt maps of flows. A map that sends a box into
    itself for every input may say so by an attribute ``state_bounds = (low, high)``, two arrays of shape
    (n_units,); `state_box` reads it.
    """

    @property
    def n_units(self) -> int:
        """Dimension of the state."""

    @property
    def n_inputs(self) -> int:
        """Dimension of the input; 0 for an autonomous map."""

    def step(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return G(u, x) for states (..., n_units) and inputs (..., n_inputs)."""

    def jacobian(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return D_xG(u, x), shape (n_units, n_units), at one state."""

    def jacobian_vector(self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return D_xG(u, x) V at one state for V of shape (n_units,) or (n_units, k)."""


def checked_map(system: object) -> Map:
    """Return the system if it is a map."""
    if isinstance(system, type) or not isinstance(system, Map):
        what = f"the class {system.__name__}" if isinstance(system, type) else type(system).__name__
        raise InvalidInputError(
            "system", what, "must be a map with step, jacobian and jacobian_vector",
            "wrap functions in esntools.maps.FunctionMap",
        )  # fmt: skip
    return system


def state_box(system: Map) -> tuple[FloatArray, FloatArray] | None:
    """Return a box (low, high) that the map sends into itself whatever the input, or None if none is known.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> low, high = state_box(EchoStateNetwork([[2.0]]))
    >>> float(low[0]), float(high[0])
    (-1.0, 1.0)
    >>> state_box(EchoStateNetwork([[2.0]], activation="relu")) is None
    True
    """
    bounds = getattr(system, "state_bounds", None)
    if bounds is None:
        phi = getattr(system, "activation", None)
        if phi is None or not getattr(phi, "bounded", False):
            return None
        # (1 - a) x + a phi(z) is a convex combination of the state and a value of phi.
        bounds = phi.value_bounds
    low, high = (np.broadcast_to(np.asarray(b, dtype=np.float64), (system.n_units,)).copy() for b in bounds)
    return low, high


def _checked_box(bounds: Any, n_units: int) -> tuple[FloatArray, FloatArray]:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise InvalidInputError("state_bounds", repr(bounds), "must be a pair (low, high)")
    try:
        low, high = (np.broadcast_to(real_array(v, "state_bounds"), (n_units,)).copy() for v in bounds)
    except ValueError as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            "state_bounds", f"shapes {[np.shape(v) for v in bounds]}", f"corners have shape ({n_units},)"
        ) from None
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low <= high)):
        raise InvalidInputError(
            "state_bounds", f"({low}, {high})", "low <= high must hold, and both be finite",
            "leave it out where no box is known",
        )  # fmt: skip
    return low, high


@final
@dataclass(frozen=True, eq=False)
class FunctionMap:
    r"""A map given by Python functions: :math:`x_{k+1} = G(x_k)` or :math:`G(u_{k+1}, x_k)`.

    Parameters
    ----------
    function : callable
        ``function(x)`` or, with inputs, ``function(x, u)``; must accept states (..., n_units).
    derivative : callable
        ``derivative(x)`` or ``derivative(x, u)``: the Jacobian (n_units, n_units) at one state.
    n_units : int
    n_inputs : int, optional
        0 by default.
    state_bounds : tuple of two array_like, optional
        A box (low, high) that the map sends into itself for every input; None (not known) by default.

    Examples
    --------
    >>> logistic = FunctionMap(lambda x: 4.0 * x * (1.0 - x), lambda x: 4.0 - 8.0 * x[:, None], 1)
    >>> logistic.step([0.25]), logistic.jacobian([0.25])
    (array([0.75]), array([[2.]]))
    """

    function: Callable[..., Any]
    derivative: Callable[..., Any]
    n_units: int
    n_inputs: int = 0
    state_bounds: tuple[Any, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_units", whole_number(self.n_units, "n_units"))
        object.__setattr__(self, "n_inputs", whole_number(self.n_inputs, "n_inputs", 0))
        for place, value in (("function", self.function), ("derivative", self.derivative)):
            if not callable(value):
                raise InvalidInputError(place, repr(value), "must be callable")
        if self.state_bounds is not None:
            object.__setattr__(self, "state_bounds", _checked_box(self.state_bounds, self.n_units))

    def _arguments(self, x: ArrayLike, u: ArrayLike | None) -> tuple[FloatArray, ...]:
        x = real_array(x, "x")
        if x.ndim == 0 or x.shape[-1] != self.n_units:
            raise InvalidInputError(
                "x", f"shape {x.shape}", f"the last axis must be n_units = {self.n_units}"
            )
        if self.n_inputs == 0:
            return (x,)
        if u is None:
            raise InvalidInputError("u", "None", f"the map has {self.n_inputs} inputs", "pass u")
        u = real_array(u, "u")
        if u.ndim == 0 or u.shape[-1] != self.n_inputs:
            raise InvalidInputError(
                "u", f"shape {u.shape}", f"the last axis must be n_inputs = {self.n_inputs}"
            )
        return x, u

    def step(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return G(u, x) for states (..., n_units) and inputs (..., n_inputs)."""
        arguments = self._arguments(x, u)
        out = np.asarray(self.function(*arguments), dtype=np.float64)
        if out.shape != arguments[0].shape:
            raise InvalidInputError(
                "function", f"returned shape {out.shape}", f"must keep the shape {arguments[0].shape}"
            )
        return out

    def jacobian(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return D_xG(u, x), shape (n_units, n_units), at one state."""
        out = np.asarray(self.derivative(*self._arguments(x, u)), dtype=np.float64)
        if out.shape != (self.n_units, self.n_units):
            raise InvalidInputError(
                "derivative", f"returned shape {out.shape}", f"must be {(self.n_units, self.n_units)}"
            )
        return out

    def jacobian_vector(self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return D_xG(u, x) V at one state for V of shape (n_units,) or (n_units, k)."""
        V = real_array(V, "V")
        if V.ndim not in (1, 2) or V.shape[0] != self.n_units:
            raise InvalidInputError(
                "V", f"shape {V.shape}", f"must be (n_units = {self.n_units},) or (n_units, k)"
            )
        return np.asarray(self.jacobian(x, u) @ V)
