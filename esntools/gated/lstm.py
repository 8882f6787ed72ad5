"""The long short-term memory cell as a map of its whole state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.gated._cell import checked_bias, checked_input, checked_state, checked_tangent, checked_weights
from esntools.readout import checked_array

__all__ = ["LSTM"]

_tanh = Activation.named("tanh")


class _Gates(NamedTuple):
    """Everything that one evaluation of the cell makes, each of shape (..., n)."""

    i: FloatArray
    f: FloatArray
    o: FloatArray
    g: FloatArray
    z: FloatArray
    c: FloatArray
    c_next: FloatArray
    squashed: FloatArray


@final
@dataclass(frozen=True, eq=False, repr=False)
class LSTM:
    r"""A long short-term memory cell, as the map of the state x = (h, c)

    .. math::

        i &= \sigma(W_i h + W_{ui} u + b_i), \quad f = \sigma(W_f h + W_{uf} u + b_f), \quad
        o = \sigma(W_o h + W_{uo} u + b_o), \\
        g &= \tanh(W_g h + W_{ug} u + b_g), \qquad
        c' = f \circ c + i \circ g, \qquad h' = o \circ \tanh c'.

    A frozen value that implements `Map`. The state has 2 n coordinates, the hidden state h first and the cell
    state c after it: dynamics, fixed points and exponents are those of both.

    Parameters
    ----------
    W_in : array_like, shape (4 n, n_inputs), or None
        Input weights, the blocks of i, f, g, o one below the other (PyTorch's ``weight_ih``).
        None: no inputs.
    W : array_like, shape (4 n, n)
        Recurrent weights in the same order (``weight_hh``).
    b : array_like, shape () or (4 n,), optional
        Bias in the same order (``bias_ih + bias_hh``); zero by default.

    Raises
    ------
    InvalidInputError
        When a shape does not fit or a weight is not finite.

    Examples
    --------
    >>> cell = LSTM(None, [[1.0], [0.0], [3.0], [0.0]])
    >>> cell.step([0.5, 0.2]).round(6)
    array([0.290317, 0.663418])
    >>> cell.jacobian([0.5, 0.2]).round(6)
    array([[0.182341, 0.165716],
           [0.550161, 0.5     ]])
    >>> cell.state_bounds[1].round(6)
    array([1.      , 1.454887])

    References
    ----------
    S. Hochreiter, J. Schmidhuber, Neural Computation 9 (1997) 1735, doi:10.1162/neco.1997.9.8.1735; with the
    forget gate of F. A. Gers, J. Schmidhuber, F. Cummins, Neural Computation 12 (2000) 2451,
    doi:10.1162/089976600300015015, eqs. (2.1)-(2.5), and without peepholes.
    """

    W_in: FloatArray
    W: FloatArray
    b: FloatArray = 0.0  # type: ignore[assignment]

    if TYPE_CHECKING:

        def __init__(self, W_in: ArrayLike | None, W: ArrayLike, b: ArrayLike = 0.0) -> None: ...

    def __post_init__(self) -> None:
        W_in, W = checked_weights(self.W_in, self.W, 4)
        object.__setattr__(self, "W_in", W_in)
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "b", checked_bias(self.b, "b", len(W), 4))

    def __repr__(self) -> str:
        return f"LSTM(n_hidden={self.n_hidden}, n_inputs={self.n_inputs})"

    @property
    def n_hidden(self) -> int:
        """The number n of hidden units; the state has 2 n coordinates."""
        return int(self.W.shape[1])

    @property
    def n_units(self) -> int:
        """Dimension of the state (h, c): twice the number of hidden units."""
        return 2 * self.n_hidden

    @property
    def n_inputs(self) -> int:
        return int(self.W_in.shape[1])

    @property
    def state_bounds(self) -> tuple[FloatArray, FloatArray] | None:
        r"""A box that the autonomous cell sends into itself; None for a driven one.

        With :math:`|h| \le 1` the forget gate stays below some f_max and :math:`|i \circ g|` below some m, so
        that :math:`|c| \le m / (1 - f_\mathrm{max})` is kept. An unbounded input could open the forget gate
        all the way. None too where that bound is not finite in double precision.
        """
        if self.n_inputs:
            return None
        n = self.n_hidden
        # The margin outweighs the rounding of a sum of n products and of sigma and tanh.
        room = np.abs(self.W).sum(axis=1) * (1.0 + 4.0 * (n + 4) * 2.0**-53)
        # 1 - f_max = sigma(-a).
        keep_free = expit(-(self.b[n : 2 * n] + room[n : 2 * n]))
        with np.errstate(divide="ignore"):
            c = expit(self.b[:n] + room[:n]) * np.tanh(np.abs(self.b[2 * n : 3 * n]) + room[2 * n : 3 * n])
            c = c / keep_free * (1.0 + 1e-12 * (1.0 + np.abs(self.b[n : 2 * n]) + room[n : 2 * n]))
        if not np.all(np.isfinite(c)):
            return None
        high = np.concatenate([np.ones(n), c])
        return -high, high

    def _gates(self, x: FloatArray, u: FloatArray) -> _Gates:
        n = self.n_hidden
        c = x[..., n:]
        z = x[..., :n] @ self.W.T + (u @ self.W_in.T + self.b)
        i, f, o = expit(z[..., :n]), expit(z[..., n : 2 * n]), expit(z[..., 3 * n :])
        g = np.tanh(z[..., 2 * n : 3 * n])
        c_next = f * c + i * g
        return _Gates(i, f, o, g, z, c, c_next, np.tanh(c_next))

    def step(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return (h', c') for states (..., n_units) and inputs (..., n_inputs)."""
        x = checked_state(x, self.n_units)
        s = self._gates(x, checked_input(u, self.n_inputs))
        return np.concatenate([s.o * s.squashed, s.c_next], axis=-1)

    def _derivative(self, s: _Gates, W_V: FloatArray, V_c: FloatArray) -> FloatArray:
        n = self.n_hidden
        # sigma' = sigma(z) sigma(-z), which keeps its relative accuracy where the gate is saturated.
        shut = expit(-s.z)
        d_c = (s.g * s.i * shut[:n])[:, None] * W_V[:n]
        d_c += (s.c * s.f * shut[n : 2 * n])[:, None] * W_V[n : 2 * n]
        d_c += (s.i * _tanh.slope(s.z[2 * n : 3 * n]))[:, None] * W_V[2 * n : 3 * n]
        d_c += s.f[:, None] * V_c
        d_h = (s.squashed * s.o * shut[3 * n :])[:, None] * W_V[3 * n :]
        d_h += (s.o * _tanh.slope(s.c_next))[:, None] * d_c
        return np.vstack([d_h, d_c])

    def jacobian(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the derivative of (h', c') in (h, c), shape (n_units, n_units), at one state."""
        n = self.n_hidden
        x = checked_state(x, self.n_units, single=True)
        s = self._gates(x, checked_input(u, self.n_inputs, single=True))
        W_V = np.hstack([self.W, np.zeros((4 * n, n))])
        return self._derivative(s, W_V, np.hstack([np.zeros((n, n)), np.eye(n)]))

    def jacobian_vector(self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the derivative at one state times V, of shape (n_units,) or (n_units, k); not formed."""
        return self.tangent(x, V, u)[1]

    def tangent(
        self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return `step` and `jacobian_vector` of one state together, which costs hardly more than one."""
        n = self.n_hidden
        x = checked_state(x, self.n_units, single=True)
        V = checked_tangent(V, self.n_units)
        s = self._gates(x, checked_input(u, self.n_inputs, single=True))
        columns = V.reshape(self.n_units, -1)
        after = self._derivative(s, self.W @ columns[:n], columns[n:]).reshape(V.shape)
        return np.concatenate([s.o * s.squashed, s.c_next]), after

    def at_input(self, u: ArrayLike) -> LSTM:
        """Return the autonomous cell under the constant input u (b becomes b + W_in u)."""
        u = checked_array(np.atleast_1d(u), "u", (self.n_inputs,), "(n_inputs,)")
        return replace(self, b=self.b + self.W_in @ u, W_in=np.zeros((len(self.W), 0)))
