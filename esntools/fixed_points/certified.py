r"""A fixed point proved: a box that certainly holds exactly one, and how many directions are unstable there.

What is proved is about the network as its doubles define it, in exact arithmetic: there is one and only one
real x with :math:`x = \varphi(W x + W_\mathrm{in} u + W_\mathrm{fb}\psi(x) + b)` within the stated distance.

Error model. Assumed: + - * / and square root on doubles round to nearest as IEEE 754 says, with relative
error at most u = 2**-53 (plus underflow, which is paid for), in NumPy, in BLAS products and in LAPACK's LU
and Cholesky, whose sums may be taken in any order and fused but not replaced by fast (Strassen-like) ones.
Values and slopes of activations come from python-flint's ball arithmetic. No eigenvalue, inverse or solution
from a library is believed: each is checked by residuals whose own rounding is bounded a priori by
gamma_n = n u / (1 - n u) times sums of moduli (Higham, Accuracy and Stability of Numerical Algorithms, 2nd
edition, sections 3.1, 9.3 and 10.1).

Existence and uniqueness: Krawczyk's operator with the mean-value form of x - phi(z(x)). Sign of the
determinant: a homotopy from the computed LU factors through regular matrices. Stability: an inexact solution
H of H - J'HJ = I with H - J'HJ certainly positive definite has, by the inertia theorem for Stein's equation,
as many positive eigenvalues as J has inside the unit circle, and J has none on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.arguments import no_input
from esntools.errors import InvalidInputError
from esntools.fixed_points.verified import (
    enclosed,
    frobenius_norm,
    gamma,
    one_thread,
    preactivation,
    unstable_directions,
)
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array

__all__ = ["CertifiedFixedPoint", "Uncertified", "certify_fixed_point"]

_U: Final = 2.0**-53
_TINY: Final = 1e-290
_LARGEST: Final = 1e60


@final
@dataclass(frozen=True, eq=False)
class CertifiedFixedPoint:
    r"""A proved fixed point of the network at a constant input.

    Attributes
    ----------
    x : ndarray, shape (n_units,)
        Centre: the fixed point differs from it by at most `radius` in every component.
    u : ndarray, shape (n_inputs,)
        The constant input; empty for an autonomous network.
    radius : float
        Proved radius of existence, in the maximum norm.
    uniqueness_radius : float
        No other fixed point lies within this of x in the maximum norm; infinite where there is no other.
    index : int
        sign det(I - DG), proved: +1 or -1.
    n_unstable : int or None
        Proved number of multipliers outside the unit circle, the others being inside; None where that is not
        proved, with the reason in `reason`.
    stable : bool or None
        Whether n_unstable is 0; None with it.
    reason : str
        Why `n_unstable` is None; empty otherwise.
    """

    x: FloatArray
    u: FloatArray
    radius: float
    uniqueness_radius: float
    index: int
    n_unstable: int | None
    stable: bool | None
    reason: str

    @property
    def hyperbolic(self) -> bool | None:
        """True where no multiplier on the unit circle is proved; None where it is not decided."""
        return None if self.n_unstable is None else True


@final
@dataclass(frozen=True, eq=False)
class Uncertified:
    """Nothing was proved about a state.

    Attributes
    ----------
    x : ndarray, shape (n_units,)
        The state to which Newton's method came.
    residual : float
        Largest component of \\|phi(z(x)) - x\\| there, in floating point.
    reason : str
    """

    x: FloatArray
    residual: float
    reason: str


class _Equation:
    """x - phi(z(x)) about one state, with everything that its Krawczyk operator needs."""

    def __init__(self, network: EchoStateNetwork, u: FloatArray) -> None:
        self.network, self.u, self.phi = network, u, network.activation
        n = network.n_units
        self.readout = network.readout if network.W_fb is not None else None
        self.squares: tuple[FloatArray, FloatArray] | None = None
        if self.readout is not None and self.readout.W_sq is not None and network.W_fb is not None:
            self.squares = np.abs(network.W_fb), np.abs(self.readout.W_sq)
        self.ones = np.ones(n)

    def bend(self) -> FloatArray:
        """Return a bound of |W_fb| |W_sq| 1: how the recurrent weights turn with the state."""
        if self.squares is None:
            return np.zeros(len(self.ones))
        W_fb, W_sq = self.squares
        turned = W_fb @ (W_sq @ self.ones)
        return np.asarray(turned * (1.0 + gamma(sum(W_sq.shape) + 4)))

    def weights(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V = W + W_fb Dpsi(x) rounded, and a bound of the row sums of its error."""
        network = self.network
        W, n = network.dense_W(), network.n_units
        if self.readout is None or network.W_fb is None:
            return W, np.zeros(n)
        out = self.readout.jacobian(x)
        V = W + network.W_fb @ out
        m = out.shape[0] + 4
        size = np.abs(self.readout.W_out)
        if self.readout.W_sq is not None:
            size = size + 2.0 * np.abs(self.readout.W_sq) * np.abs(x)
        sums = np.abs(W).sum(axis=1) + np.abs(network.W_fb) @ size.sum(axis=1)
        return V, gamma(m) * sums * (1.0 + gamma(n + 8))

    def newton(self, x: FloatArray) -> tuple[FloatArray, float]:
        """Return about the fixed point beside x, and the residual in floating point."""
        best, least, C = x, math.inf, None
        for _ in range(30):
            z = self.network.preactivation(x, self.u)
            left = x - self.phi(z)
            residual = float(np.max(np.abs(left)))
            if not residual < 0.5 * least:
                break
            best, slow = x, residual > 0.05 * least
            least = residual
            if residual == 0.0:
                break
            if C is None or slow:
                A = np.eye(len(x)) - self.phi.slope(z)[:, None] * self.weights(x)[0]
                try:
                    C = np.linalg.inv(A)
                except np.linalg.LinAlgError:
                    break
            x = x - C @ left
            if not np.all(np.isfinite(x)):
                break
        return best, least


def _index(A: FloatArray, C: FloatArray, contraction: float) -> int | None:
    """Return the sign of the determinant of every matrix B with \\|I - C B\\| <= contraction, or None.

    The norm is that of row sums; A, one of these matrices, is factorised to know it.
    """
    n = len(A)
    factors, pivots = scipy.linalg.lu_factor(A, check_finite=False)
    size = np.abs(np.tril(factors, -1)) @ np.abs(np.triu(factors)).sum(axis=1)
    size += np.abs(np.triu(factors)).sum(axis=1)
    order = np.arange(n)
    for i, j in enumerate(pivots):
        order[[i, j]] = order[[j, i]]
    error = np.empty(n)
    error[order] = gamma(2 * n + 8) * size
    if not contraction + float(np.max(np.abs(C) @ error)) * (1.0 + gamma(n + 8)) < 1.0 - 1e-9:
        return None
    swaps = int(np.sum(pivots != np.arange(n)))
    return -1 if (swaps + int(np.sum(np.diag(factors) < 0.0))) % 2 else 1


# -- what is exported -------------------------------------------------------------------------------------


def constant_input(network: EchoStateNetwork, u: ArrayLike | None) -> FloatArray:
    """Return the constant input as a checked array, empty for an autonomous network."""
    if network.n_inputs == 0:
        no_input(u, "network")
        return np.zeros(0)
    if u is None:
        raise InvalidInputError(
            "u", "None", f"the network has {network.n_inputs} inputs", "pass u, or use closed_loop()"
        )
    return checked_array(np.atleast_1d(u), "u", (network.n_inputs,), "(n_inputs,)")


def largest_weight(network: EchoStateNetwork, u: FloatArray) -> float:
    """Return the largest modulus of any number that enters the map."""
    readout = network.readout
    parts = [network.W if isinstance(network.W, np.ndarray) else network.W.data, network.W_in, network.b, u]
    if readout is not None and network.W_fb is not None:
        parts += [network.W_fb, readout.W_out, readout.b_out]
        if readout.W_sq is not None:
            parts.append(readout.W_sq)
    return max(float(np.abs(part).max(initial=0.0)) for part in parts)


def certify_fixed_point(
    network: EchoStateNetwork, x: ArrayLike, u: ArrayLike | None = None
) -> CertifiedFixedPoint | Uncertified:
    r"""Prove that a state is next to exactly one fixed point, and how stable that is.

    Newton's method takes x to a zero of :math:`f(x) = x - \varphi(z(x))`. With C about the inverse of
    :math:`f'`, Krawczyk's operator maps the box of half-width :math:`\rho` about x into its interior when

    .. math:: |C f(x)| + \bigl|I - C f'(x \pm \rho)\bigr|\, \rho < \rho ,

    which proves one fixed point in it; the largest :math:`\rho` for which the second factor is below 1 is
    the radius of uniqueness. One matrix is inverted and a few are multiplied; a network of 500 units takes
    about a second.

    Parameters
    ----------
    network : EchoStateNetwork
        Any activation, any readout. It must have at most some thousand units: dense matrices are formed.
    x : array_like, shape (n_units,)
        A fixed point as found by any means, or a state near one.
    u : array_like, shape (n_inputs,), optional
        The constant input; not for an autonomous network.

    Returns
    -------
    CertifiedFixedPoint or Uncertified
        What is proved of the multipliers is proved of those at the exact fixed point. The error model
        is stated at the top of this file.

    Raises
    ------
    InvalidInputError
        When x or u has the wrong shape or is not finite.

    Examples
    --------
    >>> point = certify_fixed_point(EchoStateNetwork([[2.0]]), [0.95])
    >>> round(float(point.x[0]), 12), point.stable, point.radius < 1e-14, point.uniqueness_radius > 0.1
    (0.957504024077, True, True, True)

    The pitchfork at w = 1 has a triple zero, which no such proof holds for:

    >>> certify_fixed_point(EchoStateNetwork([[1.0]]), [0.0]).reason
    'the derivative of x - phi(z(x)) is singular, or nearly so: the point may be a bifurcation'

    References
    ----------
    R. Krawczyk, Computing 4 (1969) 187, doi:10.1007/BF02234767. S. M. Rump, Acta Numerica 19 (2010) 287,
    doi:10.1017/S096249291000005X, sections 10 and 13. H. K. Wimmer, J. Math. Anal. Appl. 14 (1973) 164: the
    inertia theorem for Stein's equation.
    """
    n = network.n_units
    u = constant_input(network, u)
    x = checked_array(x, "x", (n,), "(n_units,)")
    if largest_weight(network, u) > _LARGEST or float(np.abs(x).max()) > _LARGEST:
        return Uncertified(x, math.inf, f"a number above {_LARGEST:g} enters the map")
    with np.errstate(all="ignore"), one_thread(n):
        return _certified(_Equation(network, u), x)


def _certified(equation: _Equation, x: FloatArray) -> CertifiedFixedPoint | Uncertified:
    network, phi, n = equation.network, equation.phi, equation.network.n_units
    x, residual = equation.newton(x)
    if not residual < 1e-3 * max(1.0, float(np.abs(x).max())):
        return Uncertified(
            x, residual, f"no fixed point near: Newton's method stops at residual {residual:.1e}"
        )
    z, z_error = preactivation(network, x, equation.u)
    v_low, v_high, flat, steep = enclosed(
        phi, z - z_error * 1.01 - _U * np.abs(z), z + z_error * 1.01 + _U * np.abs(z)
    )
    V, V_error = equation.weights(x)
    D = 0.5 * flat + 0.5 * steep
    A = np.eye(n) - D[:, None] * V
    try:
        C = np.linalg.inv(A)
    except np.linalg.LinAlgError:
        C = np.full((n, n), np.nan)
    size_C, size_V, bend = np.abs(C), np.abs(V).sum(axis=1) * (1.0 + gamma(n + 2)), equation.bend()
    size_A = np.abs(A).sum(axis=1)
    room = 1.0 + gamma(2 * n + 16)
    fixed = np.abs(np.eye(n) - C @ A).sum(axis=1) + gamma(n + 4) * (size_C @ size_A + 1.0)
    # The rounding of A itself.
    fixed = (fixed + size_C @ (3.0 * _U * (np.abs(D) * size_V + 1.0))) * room

    def slopes(rho: float) -> tuple[FloatArray, FloatArray]:
        """Return the slopes that z takes over the box of half-width rho, about D: distance and size."""
        reach = (z_error + (size_V + V_error) * rho + bend * rho * rho) * 1.01 + 2.0 * _U * np.abs(z)
        _, _, low, high = enclosed(phi, z - reach, z + reach)
        return np.maximum(high - D, D - low) * (1.0 + 4.0 * _U), np.maximum(np.abs(low), np.abs(high))

    def contraction(rho: float) -> float:
        far, size = slopes(rho)
        moved = far * size_V + size * (V_error + 2.0 * rho * bend) * 1.01
        worst = float(np.max((fixed + size_C @ moved * room) * room))
        return worst if worst == worst else math.inf

    middle = 0.5 * v_low + 0.5 * v_high
    left = x - middle
    left_error = (v_high - v_low) + 2.0 * _U * (np.abs(x) + np.abs(middle)) + _TINY
    correction = np.abs(C @ left) + gamma(n + 4) * (size_C @ np.abs(left)) + size_C @ left_error
    eta = float(np.max(correction)) * room
    radius = max(1.05 * eta, 2.0**-1000)
    if not math.isfinite(eta) or not (rate := contraction(2.0 * radius)) < 1.0:
        return Uncertified(
            x, residual,
            "the derivative of x - phi(z(x)) is singular, or nearly so: the point may be a bifurcation"
            if not math.isfinite(eta) else
            f"the proof needs a factor below 1 and has {rate:.2g}: the point is near a bifurcation, or the "
            "weights are so large that rounding leaves no room",
        )  # fmt: skip
    for _ in range(60):
        radius = max(radius, 1.01 * eta / (1.0 - rate))
        rate = contraction(radius)
        if not rate < 1.0:
            break
        if eta + rate * radius * (1.0 + 4.0 * _U) < radius * (1.0 - 1e-6):
            break
    else:
        rate = math.inf
    if not rate < 1.0:
        return Uncertified(x, residual, "the slopes vary too much over the box that the residual asks for")
    unique = _largest(contraction, radius, phi, bend)
    index = _index(A, np.asarray(C, dtype=np.float64), contraction(radius))
    if index is None:
        return Uncertified(x, residual, "the sign of the determinant is not certain")
    n_unstable, reason = _stability(equation, D, V, V_error, slopes(radius), bend, radius)
    x = x.copy()
    x.setflags(write=False)
    stable = None if n_unstable is None else n_unstable == 0
    return CertifiedFixedPoint(x, equation.u, radius, unique, index, n_unstable, stable, reason)


def _largest(contraction: Any, radius: float, phi: Activation, bend: FloatArray) -> float:
    """Return about the largest half-width at which the box certainly contracts."""
    if phi.name == "identity" and not np.any(bend):
        return math.inf
    low, high = radius, math.inf
    step = 64.0
    while high == math.inf and low < 1e6:
        low, high = (low * step, high) if contraction(low * step) < 1.0 else (low, low * step)
    if high == math.inf:
        return low
    for _ in range(8):
        value = math.sqrt(low) * math.sqrt(high)
        low, high = (value, high) if contraction(value) < 1.0 else (low, value)
    return low


def _stability(
    equation: _Equation,
    D: FloatArray,
    V: FloatArray,
    V_error: FloatArray,
    spread: tuple[FloatArray, FloatArray],
    bend: FloatArray,
    radius: float,
) -> tuple[int | None, str]:
    """Return the proved number of unstable directions at the fixed point itself, or why there is none."""
    a = equation.network.leak_rate
    n = len(a)
    J = np.diag(1.0 - a) + (a * D)[:, None] * V
    far, size = spread
    # Frobenius norms, a row of which is at most its sum of moduli.
    rows = a * (far * np.linalg.norm(V, axis=1) * 1.01 + size * (V_error + 2.0 * radius * bend) * 1.01)
    rows = rows + 6.0 * _U * (np.linalg.norm(V, axis=1) * np.abs(a * D) + 1.0)
    count = unstable_directions(J, frobenius_norm(rows) * (1.0 + gamma(n + 8)))
    if count is not None:
        return count, ""
    return (
        None,
        "a multiplier is on the unit circle, or too near it to tell, or the Jacobian is too far from normal",
    )
