"""What the cells share: the checks of weights, states, inputs and tangent vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.arguments import real_array
from esntools.errors import InvalidInputError
from esntools.readout import checked_array


def checked_weights(W_in: ArrayLike | None, W: ArrayLike, n_gates: int) -> tuple[FloatArray, FloatArray]:
    """Return (W_in, W) of shapes (g n, m) and (g n, n); None for W_in is no input."""
    recurrent = checked_array(W, "W", (None, None), f"({n_gates} n, n)")
    n = recurrent.shape[1]
    if n == 0 or recurrent.shape[0] != n_gates * n:
        raise InvalidInputError(
            "W", f"shape {recurrent.shape}", f"must be ({n_gates} n, n): one block of n rows for each gate",
            "stack the gates' matrices",
        )  # fmt: skip
    inputs = np.zeros((n_gates * n, 0)) if W_in is None else W_in
    return checked_array(inputs, "W_in", (n_gates * n, None), f"({n_gates} n, n_inputs)"), recurrent


def checked_bias(b: ArrayLike, place: str, length: int, n_gates: int) -> FloatArray:
    """Return a bias of shape (length,); a scalar stands for all."""
    bias = [b] * length if np.ndim(b) == 0 else b
    return checked_array(bias, place, (length,), f"() or ({n_gates} n,)")  # type: ignore[arg-type]


def checked_state(x: ArrayLike, n_units: int, *, single: bool = False) -> FloatArray:
    x = real_array(x, "x")
    if x.ndim == 0 or x.shape[-1] != n_units:
        raise InvalidInputError("x", f"shape {x.shape}", f"the last axis must be n_units = {n_units}")
    if single and x.ndim != 1:
        raise InvalidInputError("x", f"a batch of shape {x.shape}", "a Jacobian is taken at one state")
    return x


def checked_input(u: ArrayLike | None, n_inputs: int, *, single: bool = False) -> FloatArray:
    if u is None:
        if n_inputs:
            raise InvalidInputError("u", "None", f"the cell has {n_inputs} inputs", "pass u, or use at_input")
        return np.zeros(0)
    u = real_array(u, "u")
    if u.ndim == 0 or u.shape[-1] != n_inputs:
        raise InvalidInputError("u", f"shape {u.shape}", f"the last axis must be n_inputs = {n_inputs}")
    if single and u.ndim != 1:
        raise InvalidInputError("u", f"a batch of shape {u.shape}", "a Jacobian is taken at one input")
    return u


def checked_tangent(V: ArrayLike, n_units: int) -> FloatArray:
    V = real_array(V, "V")
    if V.ndim not in (1, 2) or V.shape[0] != n_units:
        raise InvalidInputError("V", f"shape {V.shape}", f"must be (n_units = {n_units},) or (n_units, k)")
    return V
