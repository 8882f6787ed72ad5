r"""The equation whose roots are a map's fixed points, in as few unknowns as the map allows.

.. list-table::

   * - network, :math:`x = \varphi(W x + W_\mathrm{fb}\psi(x) + b)`
     - leak-free: fixed points do not depend on the leak rates
   * - network with :math:`W + W_\mathrm{fb}W_\mathrm{out} = U V^T` of low rank
     - :math:`\kappa = V^T\varphi(U\kappa + b)`, :math:`x = \varphi(U\kappa + b)`
   * - GRU
     - :math:`h = n(h)`: the update gate does not move fixed points, but where it saturates
       every h nearly solves :math:`h = h'`
   * - LSTM
     - :math:`h = o\,\tanh c` with :math:`c = i g/(1 - f)`
   * - any other map
     - :math:`x = G(x)`

In each case the reduced determinant has the sign of :math:`\det(I - DG)`: for the network the factor is
:math:`\prod a_i`, for low rank 1 (Sylvester), for the GRU :math:`\prod(1 - z_i)`, for the LSTM
:math:`\prod(1 - f_i)` (Schur complement of the cell states), all positive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, final

import numpy as np
from scipy.special import expit

from esntools._typing import FloatArray, IntArray
from esntools.gated import GRU, LSTM
from esntools.maps import Map
from esntools.network import EchoStateNetwork

__all__ = ["Derivative", "Equation", "NetworkEquation", "equation_of", "low_rank_equation", "residuals"]

_EPS: Final = float(np.finfo(np.float64).eps)

#: A rank above this is not worth the change of coordinates.
_LARGEST_RANK: Final = 32


@final
@dataclass(frozen=True, eq=False)
class Derivative:
    """The derivative of an image at every row: applied to rows, or as dense matrices (B, n, n)."""

    product: Callable[[FloatArray], FloatArray]
    matrices: Callable[[], FloatArray]


class Equation(Protocol):
    """x = image(x), for a batch of unknowns (rows)."""

    @property
    def n_unknowns(self) -> int: ...

    def image(self, X: FloatArray) -> FloatArray: ...

    def linearise(self, X: FloatArray) -> tuple[FloatArray, Derivative]: ...

    def states(self, X: FloatArray) -> FloatArray:
        """Return the map's states that belong to the unknowns."""

    def unknowns(self, states: FloatArray) -> FloatArray:
        """Return unknowns to start from for the map's states."""

    def rounding(self, X: FloatArray) -> FloatArray:
        """Return the size of the rounding error in image(x) - x: no residual below it means anything."""

    def rates(self, X: FloatArray) -> FloatArray:
        """Return how slow the slowest unit is, 0 < rate <= 1: the leak rate, 1 - z, 1 - f.

        A multiplier of the map is that much nearer 1 than the equation's own.
        """


def residuals(equation: Equation, X: FloatArray) -> FloatArray:
    """Return the max-norm residual of every row; infinite where it is not a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        r = np.max(np.abs(equation.image(X) - X), axis=-1)
    return np.where(np.isfinite(r), r, np.inf)


@final
class NetworkEquation:
    """The leak-free equation of an autonomous network, evaluated in `dtype` (float64 or float32)."""

    def __init__(self, network: EchoStateNetwork, dtype: Any = np.float64) -> None:
        self.network, self.dtype = network, dtype
        n, W, readout = network.n_units, network.W, network.readout
        # A batch of states times a CSR matrix runs far below BLAS speed: dense is faster from a few per cent.
        if not isinstance(W, np.ndarray) and n <= 2000 and W.nnz > 0.02 * n**2:
            W = network.dense_W()
        feedback = network.W_fb is not None and readout is not None
        b: FloatArray = network.b
        self.W_sq: Any = None
        self.W_fb: Any = None
        if network.W_fb is not None and readout is not None:
            b = b + network.W_fb @ readout.b_out
            if isinstance(W, np.ndarray):
                W = W + network.W_fb @ readout.W_out
                feedback = readout.W_sq is not None
        if feedback and network.W_fb is not None and readout is not None:
            self.W_fb = np.asarray(network.W_fb, dtype=dtype)
            self.W_sq = None if readout.W_sq is None else np.asarray(readout.W_sq, dtype=dtype)
        # The linear part of the feedback is in W where W is dense.
        self.W_out: Any = None
        if feedback and readout is not None and not isinstance(W, np.ndarray):
            self.W_out = np.asarray(readout.W_out, dtype=dtype)
        self.W: Any = W.astype(dtype)
        self.b: Any = np.asarray(b, dtype=dtype)
        self._absolute: Any = None

    @property
    def n_unknowns(self) -> int:
        return self.network.n_units

    def _linear(self, V: FloatArray) -> FloatArray:
        out = V @ self.W.T if isinstance(self.W, np.ndarray) else (self.W @ V.T).T
        if self.W_out is not None:
            out = out + (V @ self.W_out.T) @ self.W_fb.T
        return np.asarray(out)

    def preactivation(self, X: FloatArray) -> FloatArray:
        """Return z(x) for every row."""
        Z = self._linear(X)
        if self.W_sq is not None:
            Z = Z + ((X * X) @ self.W_sq.T) @ self.W_fb.T
        return np.asarray(Z + self.b)

    def _phi(self, Z: FloatArray) -> FloatArray:
        if self.network.activation.name == "tanh":
            return np.tanh(Z)
        return self.network.activation(Z).astype(self.dtype, copy=False)

    def image(self, X: FloatArray, shift: FloatArray | None = None) -> FloatArray:
        """Return phi(z(x) + shift)."""
        Z = self.preactivation(X)
        return self._phi(Z if shift is None else Z + shift)

    def linearise(self, X: FloatArray, shift: FloatArray | None = None) -> tuple[FloatArray, Derivative]:
        Z = self.preactivation(X)
        if shift is not None:
            Z = Z + shift
        F = self._phi(Z)
        if self.network.activation.name == "tanh":
            # The exponential form keeps more digits of tiny slopes; for a direction of search these do.
            S = np.asarray(1.0 - F * F)
        else:
            S = self.network.activation.slope(Z).astype(self.dtype, copy=False)

        def product(V: FloatArray) -> FloatArray:
            out = self._linear(V)
            if self.W_sq is not None:
                out = out + ((2.0 * X * V) @ self.W_sq.T) @ self.W_fb.T
            return np.asarray(S * out)

        def matrices() -> FloatArray:
            W = self.W if isinstance(self.W, np.ndarray) else self.W.toarray()
            if self.W_out is not None:
                W = W + self.W_fb @ self.W_out
            if self.W_sq is None:
                return np.asarray(S[:, :, None] * W)
            return np.asarray(S[:, :, None] * (W + 2.0 * (self.W_fb @ self.W_sq) * X[:, None, :]))

        return F, Derivative(product, matrices)

    def multiplier_products(self, X: FloatArray) -> Callable[[IntArray, FloatArray], FloatArray]:
        """Return ``product(which, V)``: the map's Jacobian, leak included, at row `which` of X times V."""
        S = self.network.activation.slope(self.preactivation(X))
        a = self.network.leak_rate

        def product(which: IntArray, V: FloatArray) -> FloatArray:
            out = self._linear(V)
            if self.W_sq is not None:
                out = out + ((2.0 * X[which] * V) @ self.W_sq.T) @ self.W_fb.T
            return np.asarray((1.0 - a) * V + a * S[which] * out)

        return product

    def states(self, X: FloatArray) -> FloatArray:
        return X

    def unknowns(self, states: FloatArray) -> FloatArray:
        return np.asarray(states, dtype=self.dtype)

    def rounding(self, X: FloatArray) -> FloatArray:
        network = self.network
        if self._absolute is None:
            self._absolute = np.abs(network.W)
        size = (self._absolute @ np.abs(X).T).T + np.abs(network.b)
        if network.W_fb is not None and network.readout is not None:
            readout = network.readout
            y = np.abs(X) @ np.abs(readout.W_out).T + np.abs(readout.b_out)
            if readout.W_sq is not None:
                y = y + (X * X) @ np.abs(readout.W_sq).T
            size = size + y @ np.abs(network.W_fb).T
        slope = np.abs(network.activation.slope(network.preactivation(X)))
        return np.asarray(4.0 * _EPS * np.max(slope * size + np.abs(X), axis=1))

    def rates(self, X: FloatArray) -> FloatArray:
        return np.full(len(X), float(np.min(self.network.leak_rate)))


@final
class _LowRankEquation:
    """kappa = V' phi(U kappa + b) for W = U V'."""

    def __init__(self, network: EchoStateNetwork, U: FloatArray, V: FloatArray) -> None:
        self.network, self.U, self.V = network, U, V

    @property
    def n_unknowns(self) -> int:
        return int(self.U.shape[1])

    def states(self, X: FloatArray) -> FloatArray:
        return self.network.activation(X @ self.U.T + self.network.b)

    def unknowns(self, states: FloatArray) -> FloatArray:
        return np.asarray(states @ self.V)

    def image(self, X: FloatArray) -> FloatArray:
        return np.asarray(self.states(X) @ self.V)

    def linearise(self, X: FloatArray) -> tuple[FloatArray, Derivative]:
        Z = X @ self.U.T + self.network.b
        S = self.network.activation.slope(Z)

        def product(D: FloatArray) -> FloatArray:
            return np.asarray((S * (D @ self.U.T)) @ self.V)

        def matrices() -> FloatArray:
            r = self.n_unknowns
            # All products of a column of V with a column of U, contracted with the slopes in one GEMM.
            pairs = (self.V[:, :, None] * self.U[:, None, :]).reshape(len(self.U), r * r)
            return np.asarray((S @ pairs).reshape(len(X), r, r))

        return np.asarray(self.network.activation(Z) @ self.V), Derivative(product, matrices)

    def rounding(self, X: FloatArray) -> FloatArray:
        size = np.abs(X) @ np.abs(self.U).T + np.abs(self.network.b)
        slope = np.abs(self.network.activation.slope(X @ self.U.T + self.network.b))
        size = (slope * size + np.abs(self.states(X))) @ np.abs(self.V) + np.abs(X)
        return np.asarray(4.0 * _EPS * np.max(size, axis=1))

    def rates(self, X: FloatArray) -> FloatArray:
        return np.full(len(X), float(np.min(self.network.leak_rate)))


def low_rank_equation(equation: NetworkEquation, rng: np.random.Generator) -> _LowRankEquation | None:
    """Return the equation in kappa when W + W_fb W_out has a rank of at most 32 and N / 8, else None.

    The range is sketched by random vectors and the factors are checked entry by entry, to rounding.
    """
    n, W = equation.n_unknowns, equation.W
    limit = min(_LARGEST_RANK, n // 8)
    if limit < 1 or equation.W_sq is not None or not isinstance(W, np.ndarray):
        return None
    size = float(np.max(np.abs(W)))
    if size == 0.0:
        return None
    sketch = W @ rng.standard_normal((n, limit + 4))
    Q, singular, _ = np.linalg.svd(sketch, full_matrices=False)
    rank = int(np.sum(singular > 1e-11 * singular[0]))
    if rank > limit:
        return None
    U = np.ascontiguousarray(Q[:, :rank])
    V = np.ascontiguousarray((U.T @ W).T)
    if float(np.max(np.abs(W - U @ V.T))) > 1e-13 * size:
        return None
    return _LowRankEquation(replace(equation.network, b=equation.b, W_fb=None), U, V)


@final
class _GRUEquation:
    """h = n(h)."""

    def __init__(self, cell: GRU) -> None:
        self.cell, self.n_unknowns = cell, cell.n_units
        n = self.n_unknowns
        self._r, self._n = cell.W[:n], cell.W[2 * n :]

    def _parts(self, X: FloatArray) -> tuple[FloatArray, ...]:
        n, cell = self.n_unknowns, self.cell
        r = expit(X @ self._r.T + (cell.b + cell.b_in)[:n])
        inner = X @ self._n.T + cell.b[2 * n :]
        return r, inner, np.tanh(cell.b_in[2 * n :] + r * inner)

    def image(self, X: FloatArray) -> FloatArray:
        return self._parts(X)[2]

    def linearise(self, X: FloatArray) -> tuple[FloatArray, Derivative]:
        r, inner, F = self._parts(X)
        through_n, through_r = (1.0 - F * F) * r, (1.0 - F * F) * inner * r * (1.0 - r)

        def product(V: FloatArray) -> FloatArray:
            return np.asarray(through_n * (V @ self._n.T) + through_r * (V @ self._r.T))

        def matrices() -> FloatArray:
            return np.asarray(through_n[:, :, None] * self._n + through_r[:, :, None] * self._r)

        return F, Derivative(product, matrices)

    def states(self, X: FloatArray) -> FloatArray:
        return X

    def unknowns(self, states: FloatArray) -> FloatArray:
        return states

    def rounding(self, X: FloatArray) -> FloatArray:
        n, cell = self.n_unknowns, self.cell
        size = np.abs(X) @ np.abs(self._n).T + np.abs(cell.b[2 * n :])
        size = size * (1.0 + np.abs(X) @ np.abs(self._r).T + np.abs(cell.b + cell.b_in)[:n])
        r, inner, F = self._parts(X)
        size = (1.0 - F * F) * (r * size + np.abs(cell.b_in[2 * n :]) + np.abs(inner)) + 1.0
        return np.asarray(4.0 * _EPS * np.max(size, axis=1))

    def rates(self, X: FloatArray) -> FloatArray:
        n, cell = self.n_unknowns, self.cell
        shut = expit(-(X @ cell.W[n : 2 * n].T + (cell.b + cell.b_in)[n : 2 * n]))
        return np.asarray(np.min(shut, axis=1))


@final
class _LSTMEquation:
    """h = o tanh(i g / (1 - f)), the unknown being h."""

    def __init__(self, cell: LSTM) -> None:
        self.cell, self.n_unknowns = cell, cell.n_hidden

    def _parts(self, X: FloatArray) -> tuple[FloatArray, ...]:
        n = self.n_unknowns
        Z = X @ self.cell.W.T + self.cell.b
        # 1 - sigma(a) = sigma(-a) keeps its relative accuracy where the forget gate saturates.
        i, f, keep = expit(Z[:, :n]), expit(Z[:, n : 2 * n]), expit(-Z[:, n : 2 * n])
        g, o = np.tanh(Z[:, 2 * n : 3 * n]), expit(Z[:, 3 * n :])
        with np.errstate(over="ignore", divide="ignore"):
            c = np.clip(i * g / np.maximum(keep, 1e-300), -1e300, 1e300)
        return i, f, keep, g, o, c

    def image(self, X: FloatArray) -> FloatArray:
        *_, o, c = self._parts(X)
        return np.asarray(o * np.tanh(c))

    def linearise(self, X: FloatArray) -> tuple[FloatArray, Derivative]:
        i, f, keep, g, o, c = self._parts(X)
        n, W = self.n_unknowns, self.cell.W
        bent = np.tanh(c)
        flat = 1.0 - bent * bent
        with np.errstate(over="ignore", invalid="ignore"):
            # d c = (g di + i dg) / (1 - f) + c f dz_f, since df / (1 - f) = f dz_f.
            terms = (
                np.where(flat > 0.0, o * flat * c * (1.0 - i), 0.0),
                np.where(flat > 0.0, o * flat * c * f, 0.0),
                np.where(flat > 0.0, o * flat * i * (1.0 - g * g) / np.maximum(keep, 1e-300), 0.0),
                bent * o * (1.0 - o),
            )

        def product(V: FloatArray) -> FloatArray:
            D = V @ W.T
            return np.asarray(sum(t * D[:, k * n : (k + 1) * n] for k, t in enumerate(terms)))

        def matrices() -> FloatArray:
            return np.asarray(sum(t[:, :, None] * W[k * n : (k + 1) * n] for k, t in enumerate(terms)))

        return np.asarray(o * bent), Derivative(product, matrices)

    def states(self, X: FloatArray) -> FloatArray:
        return np.hstack([X, self._parts(X)[5]])

    def unknowns(self, states: FloatArray) -> FloatArray:
        return np.ascontiguousarray(states[:, : self.n_unknowns])

    def rounding(self, X: FloatArray) -> FloatArray:
        c = self._parts(X)[5]
        n = self.n_unknowns
        size = np.abs(X) @ np.abs(self.cell.W).T + np.abs(self.cell.b) + 1.0
        reach = size.reshape(len(X), 4, n).sum(axis=1)
        steep = np.abs(c) * (1.0 - np.tanh(c) ** 2)
        return np.asarray(4.0 * _EPS * np.max(1.0 + steep * reach + 0.25 * size[:, 3 * n :], axis=1))

    def rates(self, X: FloatArray) -> FloatArray:
        return np.asarray(np.min(self._parts(X)[2], axis=1))


@final
class _MapEquation:
    """x = G(x) by the map's own step and Jacobian."""

    def __init__(self, system: Map, u: FloatArray) -> None:
        self.system, self.u = system, (u if system.n_inputs else None)

    @property
    def n_unknowns(self) -> int:
        return self.system.n_units

    def image(self, X: FloatArray) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):
            u = None if self.u is None else np.broadcast_to(self.u, (len(X), len(self.u)))
            return np.asarray(self.system.step(X, u), dtype=np.float64)

    def linearise(self, X: FloatArray) -> tuple[FloatArray, Derivative]:
        X = X.copy()

        def product(V: FloatArray) -> FloatArray:
            rows = [self.system.jacobian_vector(x, v, self.u) for x, v in zip(X, V, strict=True)]
            return np.asarray(rows, dtype=np.float64).reshape(V.shape)

        def matrices() -> FloatArray:
            n = self.n_unknowns
            return np.asarray([self.system.jacobian(x, self.u) for x in X]).reshape(len(X), n, n)

        return self.image(X), Derivative(product, matrices)

    def states(self, X: FloatArray) -> FloatArray:
        return X

    def unknowns(self, states: FloatArray) -> FloatArray:
        return states

    def rounding(self, X: FloatArray) -> FloatArray:
        J = self.linearise(X)[1].matrices()
        size = (np.abs(J) @ np.abs(X)[:, :, None])[:, :, 0] + np.abs(X)
        return np.asarray(4.0 * _EPS * np.max(size, axis=1))

    def rates(self, X: FloatArray) -> FloatArray:
        return np.ones(len(X))


def equation_of(system: Map, u: FloatArray) -> Equation:
    """Return the fixed-point equation of a map at the constant input u (empty for an autonomous one)."""
    if isinstance(system, EchoStateNetwork):
        return NetworkEquation(system.at_input(u) if system.n_inputs else system)
    if isinstance(system, GRU):
        return _GRUEquation(system.at_input(u) if system.n_inputs else system)
    if isinstance(system, LSTM):
        return _LSTMEquation(system.at_input(u) if system.n_inputs else system)
    return _MapEquation(system, u)
