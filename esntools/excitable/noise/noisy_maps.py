"""Maps with noise: one noisy step of many states, the gradient along one path, covariances at attractors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.arguments import real_array
from esntools.basins.runs import autonomous, fastest_form
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.excitable.landscape import Landscape, checked_landscape
from esntools.kernels import apply_activation
from esntools.maps import Map, checked_map
from esntools.network import EchoStateNetwork

__all__ = ["NoisyMap", "noisy_map_of"]


@njit(cache=True)
def _forward(W, keep, a, code, inner, outer, states):  # type: ignore[no-untyped-def]
    """Fill states[1:] by x+ = keep x + a phi(W x + inner) + outer."""
    for k in range(len(inner)):
        z = np.dot(W, states[k])
        z += inner[k]
        apply_activation(code, z)
        for i in range(len(z)):
            states[k + 1, i] = keep[i] * states[k, i] + a[i] * z[i] + outer[k, i]


@njit(cache=True)
def _backward(W_T, keep, gains, left, lefts):  # type: ignore[no-untyped-def]
    """Fill lefts[k] by the covector after step k, and return the one before the first step."""
    for k in range(len(gains) - 1, -1, -1):
        lefts[k] = left
        left = keep * left + np.dot(W_T, gains[k] * left)
    return left


class NoisyMap:
    r"""A map with noise w, where it enters.

    .. math:: x_{k+1} = F(x_k) + B w_k \quad\text{or}\quad x_{k+1} = G(u + w_k, x_k).

    Attributes
    ----------
    quiet : Map
        The map without noise.
    n_units, n_sources : int
    """

    def __init__(self, system: Map, noise: str | ArrayLike = "state", u: ArrayLike | None = None) -> None:
        system = checked_map(system)
        if system.n_inputs and u is None:
            u = np.zeros(system.n_inputs)
        self.quiet = autonomous(system, u)
        self.n_units = n = system.n_units
        self.B: FloatArray | None = None
        self.inside = False
        if isinstance(noise, str):
            if noise not in ("state", "input"):
                raise InvalidInputError(
                    "noise", repr(noise), 'must be "state", "input" or a matrix (n_units, k)'
                )
            if noise == "input":
                if system.n_inputs == 0:
                    raise InvalidInputError(
                        "noise", '"input" for a map without inputs', "noise enters by a network's inputs",
                        "pass the network itself, with its inputs, as network",
                    )  # fmt: skip
                if not isinstance(system, EchoStateNetwork):
                    raise UnsupportedError(
                        "noise", f'"input" of a {type(system).__name__}', "only networks are read this way",
                        "pass the matrix by which the noise reaches the states",
                    )  # fmt: skip
                self.inside = True
            self.n_sources = system.n_inputs if self.inside else n
        else:
            B = np.array(real_array(noise, "noise"))
            if B.ndim != 2 or B.shape[0] != n or B.shape[1] == 0 or not np.all(np.isfinite(B)):
                raise InvalidInputError(
                    "noise",
                    f"shape {B.shape}",
                    f"must be a finite matrix (n_units = {n}, k), columns being sources",
                )
            if not np.any(B):
                raise InvalidInputError("noise", "a zero matrix", "must reach at least one unit")
            self.B, self.n_sources = B, B.shape[1]
        self._W: Any = None
        self._W_in: FloatArray | None = None
        if isinstance(self.quiet, EchoStateNetwork):
            network = fastest_form(self.quiet)
            if network.W_fb is None:
                self._W, self._W_T = network.W, network.W.T
                self._compiled = not network.is_sparse and network.activation.kernel_code >= 0
                if self._compiled:
                    self._W, self._W_T = np.array(network.W), np.array(network.W.T, order="C")
                self._a, self._b = np.array(network.leak_rate), network.b
                self._keep = 1.0 - self._a
                self._phi = network.activation
            if self.inside and isinstance(system, EchoStateNetwork):
                self._W_in = system.W_in
                self._driven, self._u = fastest_form(system), np.asarray(u, dtype=np.float64)

    # -- many states -------------------------------------------------------------------------------------

    def step(self, X: FloatArray, w: FloatArray) -> FloatArray:
        """Return the states (n, n_units) one step later under the noise (n, n_sources)."""
        if self._W is None:
            if self.inside:
                return self._driven.step(X, self._u + w)
            return self.quiet.step(X) + self._spread(w)
        Z = X @ self._W_T
        Z += self._b
        if self._W_in is not None:
            Z += w @ self._W_in.T
        Z = self._phi(Z)
        Z *= self._a
        Z += self._keep * X
        return Z if self._W_in is not None else Z + self._spread(w)

    def _spread(self, w: FloatArray) -> FloatArray:
        return w if self.B is None else np.asarray(w @ self.B.T)

    # -- one path ----------------------------------------------------------------------------------------

    def path(self, x: FloatArray, w: FloatArray) -> FloatArray:
        """Return x and the states after every step under the noise (n, n_sources): (n + 1, n_units)."""
        out = np.empty((len(w) + 1, self.n_units))
        out[0] = x
        if self._W is None:
            for k in range(len(w)):
                out[k + 1] = self.step(out[k : k + 1], w[k : k + 1])[0]
            return out
        zero = np.zeros((len(w), self.n_units))
        inner = zero + self._b if self._W_in is None else w @ self._W_in.T + self._b
        outer = self._spread(w) if self._W_in is None else zero
        if self._compiled:
            _forward(
                self._W, self._keep, self._a, self._phi.kernel_code, inner, np.ascontiguousarray(outer), out
            )
            return out
        for k in range(len(w)):
            out[k + 1] = self._keep * out[k] + self._a * self._phi(self._W @ out[k] + inner[k]) + outer[k]
        return out

    def gradient(
        self, states: FloatArray, w: FloatArray, covector: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the derivatives of l x_n with respect to every w_k, and with respect to x_0."""
        lefts = np.empty((len(w), self.n_units))
        left = np.array(covector, dtype=np.float64)
        if self._W is None:
            out = np.empty((len(w), self.n_sources))
            for k in range(len(w) - 1, -1, -1):
                if self.inside:
                    u = self._u + w[k]
                    out[k] = left @ self._input_factor(states[k], u)
                    left = self._driven.jacobian(states[k], u).T @ left
                else:
                    out[k] = self._gather(left)
                    left = self.quiet.jacobian(states[k]).T @ left
            return out, left
        z = (self._W @ states[:-1].T).T + self._b
        if self._W_in is not None:
            z += w @ self._W_in.T
        gains = np.ascontiguousarray(self._a * self._phi.slope(z))
        if self._compiled:
            left = _backward(self._W_T, self._keep, gains, left, lefts)
        else:
            for k in range(len(w) - 1, -1, -1):
                lefts[k] = left
                left = self._keep * left + self._W_T @ (gains[k] * left)
        return (self._gather(lefts) if self._W_in is None else (gains * lefts) @ self._W_in), left

    def _input_factor(self, x: FloatArray, u: FloatArray) -> FloatArray:
        net = self._driven
        gain = net.leak_rate * net.activation.slope(net.preactivation(x, u))
        return np.asarray(gain[:, None] * net.W_in)

    def _gather(self, left: FloatArray) -> FloatArray:
        return left if self.B is None else np.asarray(left @ self.B)

    # -- linear noise ------------------------------------------------------------------------------------

    def factor(self, x: FloatArray) -> FloatArray:
        """Return the matrix (n_units, n_sources) by which small noise reaches the next state."""
        if self.inside:
            return self._input_factor(x, self._u)
        return np.eye(self.n_units) if self.B is None else self.B

    def covariance(self, states: FloatArray) -> tuple[FloatArray, FloatArray]:
        r"""Return C and J of an attracting cycle, seen once per period at its first state.

        C is the stationary covariance under small noise of unit variance, :math:`C = J C J^T + Q`, summed by
        doubling: every round squares J.
        """
        n = self.n_units
        J, Q = np.eye(n), np.zeros((n, n))
        for x in states:
            D, B = self.quiet.jacobian(x), self.factor(x)
            J, Q = D @ J, D @ Q @ D.T + B @ B.T
        A, C = J, Q
        for _ in range(60):
            grown = C + A @ C @ A.T
            if np.max(np.abs(grown - C)) <= 1e-15 * np.max(np.abs(grown)):
                break
            C, A = grown, A @ A
        return C, J


def noisy_map_of(
    landscape: Landscape, noise: str | ArrayLike, network: Map | None, u: ArrayLike | None
) -> NoisyMap:
    """Return the landscape's map with noise; `network` is that map with its inputs, where they are needed."""
    checked_landscape(landscape)
    if network is None:
        return NoisyMap(landscape.system, noise)
    noisy = NoisyMap(network, noise, u)
    if noisy.n_units != landscape.system.n_units or any(
        np.max(np.abs(noisy.quiet.step(x) - landscape.system.step(x)))
        > 1e-9 * max(1.0, float(np.max(np.abs(x))))
        for x in landscape.X
    ):
        raise InvalidInputError(
            "network", f"{type(network).__name__} of {noisy.n_units} units",
            "must be the map of the landscape at the same constant input", "pass u as to find_landscape",
        )  # fmt: skip
    return noisy
