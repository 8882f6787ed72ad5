"""The gated recurrent unit as a map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.gated._cell import checked_bias, checked_input, checked_state, checked_tangent, checked_weights
from esntools.readout import checked_array

__all__ = ["GRU"]

_tanh = Activation.named("tanh")
# The product of W with k columns is three times that of the Jacobian, which costs some fifty columns to form.
_FORM_FROM: Final = 64


class _Gates(NamedTuple):
    """Everything that one evaluation of the cell makes, each of shape (..., n)."""

    r: FloatArray
    r_slope: FloatArray
    z: FloatArray
    one_minus_z: FloatArray
    recurrent: FloatArray
    inner: FloatArray
    n: FloatArray


@final
@dataclass(frozen=True, eq=False, repr=False)
class GRU:
    r"""A gated recurrent unit, as the map

    .. math::

        r &= \sigma(W_{ir} u + b_{ir} + W_{hr} h + b_{hr}), \qquad
        z = \sigma(W_{iz} u + b_{iz} + W_{hz} h + b_{hz}), \\
        n &= \tanh\bigl(W_{in} u + b_{in} + r \circ (W_{hn} h + b_{hn})\bigr), \\
        h' &= (1 - z) \circ n + z \circ h.

    A frozen value that implements `Map`: its state is h. Since h' lies between n and h, the box
    :math:`[-1, 1]^n` is mapped into itself whatever the input. The fixed points are those of h = n(h): the
    update gate z does not move them.

    Parameters
    ----------
    W_in : array_like, shape (3 n, n_inputs), or None
        Input weights, the blocks of r, z, n one below the other (PyTorch's ``weight_ih``). None: no inputs.
    W : array_like, shape (3 n, n)
        Recurrent weights in the same order (``weight_hh``).
    b_in : array_like, shape () or (3 n,), optional
        Bias on the input's side (``bias_ih``); zero by default.
    b : array_like, shape () or (3 n,), optional
        Bias on the state's side (``bias_hh``), which for n stands inside the reset gate; zero by default.

    Raises
    ------
    InvalidInputError
        When a shape does not fit or a weight is not finite.

    Examples
    --------
    >>> cell = GRU([[0.0], [0.0], [1.0]], [[0.0], [0.0], [2.0]])
    >>> cell.step([0.5], [1.0]).round(6)
    array([0.702574])
    >>> cell.jacobian([0.5], [1.0]).round(6)
    array([[0.590353]])

    References
    ----------
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP (2014) 1724,
    doi:10.3115/v1/D14-1179, eqs. (5)-(8), with the reset gate applied after the product as PyTorch and cuDNN
    have it, and z in the place of 1 - z.
    """

    W_in: FloatArray
    W: FloatArray
    b_in: FloatArray = 0.0  # type: ignore[assignment]
    b: FloatArray = 0.0  # type: ignore[assignment]

    if TYPE_CHECKING:

        def __init__(
            self, W_in: ArrayLike | None, W: ArrayLike, b_in: ArrayLike = 0.0, b: ArrayLike = 0.0
        ) -> None: ...

    def __post_init__(self) -> None:
        W_in, W = checked_weights(self.W_in, self.W, 3)
        object.__setattr__(self, "W_in", W_in)
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "b_in", checked_bias(self.b_in, "b_in", len(W), 3))
        object.__setattr__(self, "b", checked_bias(self.b, "b", len(W), 3))

    def __repr__(self) -> str:
        return f"GRU(n_units={self.n_units}, n_inputs={self.n_inputs})"

    @property
    def n_units(self) -> int:
        """Dimension of the state h."""
        return int(self.W.shape[1])

    @property
    def n_inputs(self) -> int:
        return int(self.W_in.shape[1])

    @property
    def state_bounds(self) -> tuple[FloatArray, FloatArray]:
        """The box [-1, 1]^n, which the map sends into itself for every input."""
        one = np.ones(self.n_units)
        return -one, one

    def _gates(self, x: FloatArray, u: FloatArray) -> _Gates:
        k = self.n_units
        inputs = u @ self.W_in.T + self.b_in
        recurrent = x @ self.W.T + self.b
        gates = inputs[..., : 2 * k] + recurrent[..., : 2 * k]
        # 1 - sigma(a) = sigma(-a): a saturated gate keeps its relative accuracy.
        open_, shut = expit(gates), expit(-gates)
        r, z = open_[..., :k], open_[..., k:]
        inner = inputs[..., 2 * k :] + r * recurrent[..., 2 * k :]
        return _Gates(
            r, r * shut[..., :k], z, shut[..., k:], recurrent[..., 2 * k :], inner, np.asarray(_tanh(inner))
        )

    def candidate(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return n(h) for states (..., n_units): the map whose fixed points are the cell's."""
        return self._gates(checked_state(x, self.n_units), checked_input(u, self.n_inputs)).n

    def step(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return h' for states (..., n_units) and inputs (..., n_inputs)."""
        x = checked_state(x, self.n_units)
        g = self._gates(x, checked_input(u, self.n_inputs))
        return np.asarray(g.one_minus_z * g.n + g.z * x)

    def _derivative(self, x: FloatArray, g: _Gates, W_V: FloatArray, V: FloatArray) -> FloatArray:
        k = self.n_units
        d_z = (g.z * g.one_minus_z)[:, None] * W_V[k : 2 * k]
        d_n = (g.r_slope * g.recurrent)[:, None] * W_V[:k] + g.r[:, None] * W_V[2 * k :]
        d_n *= (g.one_minus_z * _tanh.slope(g.inner))[:, None]
        return np.asarray(d_n + (x - g.n)[:, None] * d_z + g.z[:, None] * V)

    def jacobian(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the derivative of h' in h, shape (n_units, n_units), at one state."""
        x = checked_state(x, self.n_units, single=True)
        g = self._gates(x, checked_input(u, self.n_inputs, single=True))
        return self._derivative(x, g, self.W, np.eye(self.n_units))

    def jacobian_vector(self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the derivative at one state times V, of shape (n_units,) or (n_units, k)."""
        return self.tangent(x, V, u)[1]

    def tangent(
        self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return `step` and `jacobian_vector` of one state together, which costs hardly more than one."""
        x = checked_state(x, self.n_units, single=True)
        V = checked_tangent(V, self.n_units)
        g = self._gates(x, checked_input(u, self.n_inputs, single=True))
        columns = V.reshape(self.n_units, -1)
        if columns.shape[1] < _FORM_FROM:
            after = self._derivative(x, g, self.W @ columns, columns)
        else:
            after = self._derivative(x, g, self.W, np.eye(self.n_units)) @ columns
        return np.asarray(g.one_minus_z * g.n + g.z * x), after.reshape(V.shape)

    def at_input(self, u: ArrayLike) -> GRU:
        """Return the autonomous cell under the constant input u (b_in becomes b_in + W_in u)."""
        u = checked_array(np.atleast_1d(u), "u", (self.n_inputs,), "(n_inputs,)")
        return replace(self, b_in=self.b_in + self.W_in @ u, W_in=np.zeros((len(self.W), 0)))
