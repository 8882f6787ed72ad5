r"""The fixed-point equation in few coordinates, with everything that was left out or rounded enclosed.

See `esntools.fixed_points.enumeration` for the equation and for what is assumed of the arithmetic.
"""

from __future__ import annotations

import math
from typing import Final

import flint
import numpy as np
import scipy.linalg
from flint import arb, arb_mat

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.fixed_points.tables import CELLS, ActivationTable, activation_table
from esntools.fixed_points.verified import enclosed, gamma
from esntools.network import EchoStateNetwork

__all__ = ["ReducedEquation", "rounded_weights"]

_U: Final = 2.0**-53
_RANK_TOLERANCE: Final = 1e-12
_RELU_UNITS: Final = 12
#: Beyond, products with the largest weights would overflow.
_STEEPEST: Final = 1e60
_TINY: Final = 1e-290


def rounded_weights(
    network: EchoStateNetwork, u: FloatArray
) -> tuple[FloatArray, FloatArray | None, FloatArray, FloatArray]:
    """Return V, a bound of its entries' errors (None: exact), c, and a bound of c's errors."""
    V, c, size, n_terms = network.dense_W(), network.b, np.abs(network.b), 0
    V_error = None
    if network.n_inputs:
        c, size = c + network.W_in @ u, size + np.abs(network.W_in) @ np.abs(u)
        n_terms += network.n_inputs + 2
    readout = network.readout
    if network.W_fb is not None and readout is not None:
        V_error = gamma(readout.n_outputs + 3) * (np.abs(V) + np.abs(network.W_fb) @ np.abs(readout.W_out))
        V = V + network.W_fb @ readout.W_out
        c, size = c + network.W_fb @ readout.b_out, size + np.abs(network.W_fb) @ np.abs(readout.b_out)
        n_terms += readout.n_outputs + 2
    return V, V_error, c, gamma(2 * n_terms) * size if n_terms else np.zeros_like(c)


def _basis_rows(V: FloatArray, most: int) -> list[int] | None:
    """Return rows of V that nearly span all its rows, or None when that takes more than `most`."""
    n = len(V)
    width = min(n, most + 8)
    sketch = V @ np.random.default_rng(0).standard_normal((n, width))
    Q, R, _ = scipy.linalg.qr(sketch, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(R))
    if diagonal[0] == 0.0:
        return [0]
    rank = int(np.sum(diagonal > _RANK_TOLERANCE * diagonal[0]))
    if rank > most:
        return None
    # The rows on which Q is best conditioned: kappa is then the recurrent input to these units.
    return [int(i) for i in scipy.linalg.qr(Q[:, :rank].T, mode="r", pivoting=True)[1][:rank]]


class ReducedEquation:
    """The reduced equation as the arrays that `search` takes, with all its error bounds."""

    def __init__(self, network: EchoStateNetwork, u: FloatArray, most: int) -> None:
        self.network, self.phi = network, network.activation
        V, V_error, c, c_error = rounded_weights(network, u)
        n = len(V)
        self.V, self.V_error, self.c, self.c_error = V, V_error, c, c_error
        rows = _basis_rows(V, min(most, n - 1)) if n > 1 else None
        self.reason = ""
        if rows is None and n > most:
            self.reason = f"the recurrent weights have rank above {most}"
            self.rank = n
            return
        if rows is None or len(rows) == n:
            self.rank, self.L, M = n, np.zeros((0, n)), V
            E = np.zeros(n) if V_error is None else V_error.sum(axis=1) * (1.0 + gamma(n + 2))
            widest = 1.0
        else:
            self.rank = len(rows)
            self.L, M, E = self._factors(rows)
            widest = float(np.abs(self.L).max(initial=0.0))
        self.M, self.E_sums = M, E
        steep = max(abs(bound) for bound in self.phi.slope_bounds)
        norm = steep * float(E.max(initial=0.0)) * (1.0 + 8.0 * _U)
        if not norm < 0.5:
            self.reason = (
                f"what r = {self.rank} leaves out of W + W_fb W_out, or its rounding, is too large against "
                "the slope of the activation"
            )
            return
        if not steep <= _STEEPEST:
            self.reason = f"the slope of the activation exceeds {_STEEPEST:g}"
            return
        # M D E (I - D E)^-1 D L, entry by entry.
        cross = steep**2 * widest / (1.0 - norm) * (np.abs(M) @ E) * (1.0 + gamma(n + 16))
        self.cross = np.repeat(cross[:, None], self.rank, axis=1)
        self.reason = self._bounded()

    def _factors(self, rows: list[int]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return L and M with V about L M, and a bound of the row sums of |V - L M|."""
        V, n, r = self.V, len(self.V), len(rows)
        M = V[rows]
        L = np.linalg.lstsq(M.T, V.T, rcond=None)[0].T
        # Entries that are only rounding would couple coordinates that are independent.
        L[np.abs(L) < 1e-14] = 0.0
        L[rows] = np.eye(r)
        if np.any(np.count_nonzero(L, axis=1) > 1):
            # Principal coordinates take half as many boxes as oblique ones, but would mix separate blocks.
            Q, R = np.linalg.qr(L)
            U, sizes, M = np.linalg.svd(R @ M, full_matrices=False)
            L, M = Q @ U * math.sqrt(n), sizes[:, None] * M / math.sqrt(n)
        residual = np.abs(V - L @ M).sum(axis=1)
        residual = residual + gamma(r + 4) * (np.abs(V).sum(axis=1) + np.abs(L) @ np.abs(M).sum(axis=1))
        if self.V_error is not None:
            residual = residual + self.V_error.sum(axis=1)
        return np.ascontiguousarray(L), np.ascontiguousarray(M), residual * (1.0 + gamma(n + r + 8))

    def _bounded(self) -> str:
        """Find boxes of states and reduced states that hold every fixed point; return why there are none."""
        phi, n = self.phi, len(self.c)
        if phi.bounded:
            low, high = (np.full(n, b) for b in phi.value_bounds)
        else:
            size = _contraction_bound(self)
            if size is None and phi.name == "relu" and n <= _RELU_UNITS:
                size = _pattern_bound(self)
            if size is None:
                return f"{phi.name} is unbounded, and no box is known that holds every fixed point"
            low, high = -size, size
            if phi.value_bounds[0] > -math.inf:
                low = np.maximum(low, phi.value_bounds[0])
            if phi.value_bounds[1] < math.inf:
                high = np.minimum(high, phi.value_bounds[1])
        self.x_low, self.x_high = low, high
        middle, half = 0.5 * low + 0.5 * high, (high - low) * 0.5 * (1.0 + 4.0 * _U)
        centre, reach = self.M @ middle, np.abs(self.M) @ half
        error = gamma(n + 8) * (np.abs(self.M) @ (np.abs(middle) + half))
        # Room, so that no fixed point is on the border.
        reach = (reach + error) * 1.01 + 1e-6 * (1.0 + float(reach.max()))
        self.box = np.stack([centre - reach, centre + reach])
        # A box in which a point is proved may reach beyond the first one, as far as this.
        guard = np.stack([centre - 3.0 * reach, centre + 3.0 * reach])
        z = np.abs(guard).max(axis=0)
        if len(self.L):
            z = np.abs(self.L) @ z * (1.0 + gamma(self.rank + 4))
        size_z = float((z + np.abs(self.c) + self.c_error).max()) * 1.01
        if phi.bounded:
            largest = float(np.maximum(np.abs(low), np.abs(high)).max())
        else:
            # |phi(z)| <= |phi(0)| + steep |z|, and E x is less than a half of x in norm.
            largest = 2.0 * (_at_zero(phi) + max(abs(bound) for bound in phi.slope_bounds) * size_z) * 1.01
        # E x is an uncertainty of c.
        self.c_error = (self.c_error + self.E_sums * largest) * (1.0 + gamma(8))
        span = size_z + float(self.c_error.max()) + 1.0
        try:
            table = activation_table(phi, -span, span)
        except ArithmeticError as error_:
            return f"the activation could not be enclosed: {error_}"
        self.table: ActivationTable = table
        # Copies: the compiled code would be compiled again for read-only arrays.
        self.system = (
            table.kind, table.numbers, table.rows, table.extremes, self.L, self.M.T.copy(), self.c.copy(),
            self.c_error, self.cross, table.steepest, guard,
        )  # fmt: skip
        return ""

    def preactivations(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return bounds of z over a box of reduced states."""
        y, radius = 0.5 * low + 0.5 * high, (high - low) * 0.5 * (1.0 + 4.0 * _U) + 4.0 * _U * np.abs(high)
        if len(self.L):
            z, reach = self.L @ y + self.c, np.abs(self.L) @ radius
            size = np.abs(self.L) @ np.abs(y) + np.abs(self.c)
        else:
            z, reach, size = y + self.c, radius, np.abs(y) + np.abs(self.c)
        reach = (reach + gamma(self.rank + 6) * size + self.c_error) * (1.0 + gamma(self.rank + 8))
        reach = reach + 4.0 * _U * np.abs(z) + _TINY
        return z - reach, z + reach

    def states(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return bounds of every fixed point whose reduced state lies in a box."""
        a, b = self.preactivations(low, high)
        if self.table.kind == CELLS or not self.phi.monotone:
            v_low, v_high = enclosed(self.phi, a, b)[:2]
        else:
            v_low, v_high = enclosed(self.phi, a, a)[0], enclosed(self.phi, b, b)[1]
        return np.maximum(v_low, self.x_low), np.minimum(v_high, self.x_high)


def _at_zero(phi: Activation) -> float:
    """Return a bound of |phi(0)|."""
    zero = np.zeros(1)
    return max(abs(float(bound[0])) for bound in enclosed(phi, zero, zero)[:2])


def _contraction_bound(reduced: ReducedEquation) -> FloatArray | None:
    """Return a bound of every fixed point where |V| contracts in a weighted maximum norm, or None."""
    phi = reduced.phi
    steep = max(abs(bound) for bound in phi.slope_bounds)
    size = np.abs(reduced.V) if reduced.V_error is None else np.abs(reduced.V) + reduced.V_error
    n = len(size)
    size = steep * size
    d = np.ones(n)
    for _ in range(100):
        d = size @ d + 1e-6 * d.max()
        d = d / d.max()
    rate = float(np.max(size @ d / d)) * (1.0 + gamma(n + 8))
    if not rate < 1.0:
        return None
    # |x_i| <= |phi(0)| + steep (|V| |x| + |c|)_i.
    start = _at_zero(phi) + steep * (np.abs(reduced.c) + reduced.c_error)
    return d * (float(np.max(start / d)) / (1.0 - rate) * (1.0 + 1e-9))


def _pattern_bound(reduced: ReducedEquation) -> FloatArray | None:
    """Return a bound of the fixed points of a relu network: one affine map for each set of active units."""
    n = len(reduced.c)
    V_error = np.zeros((n, n)) if reduced.V_error is None else reduced.V_error
    best = np.zeros(n)
    before = flint.ctx.prec
    flint.ctx.prec = 200
    try:
        c = [arb(float(v), float(e)) for v, e in zip(reduced.c, reduced.c_error)]
        for pattern in range(1, 2**n):
            active = [i for i in range(n) if pattern >> i & 1]
            k = len(active)
            A = arb_mat(k, k, [
                arb(int(i == j)) - arb(float(reduced.V[i, j]), float(V_error[i, j]))
                for i in active for j in active
            ])  # fmt: skip
            try:
                x = A.solve(arb_mat(k, 1, [c[i] for i in active]))
            except ZeroDivisionError:
                return None
            for i, value in zip(active, x.entries()):
                best[i] = max(best[i], float(abs(value).upper()))
    finally:
        flint.ctx.prec = before
    return np.nextafter(best, np.inf)
