r"""How large an input may be: the small-input ball, the large-input threshold, and one neuron's bifurcations.

Small inputs keep every trajectory that starts near a stable state in a ball on which the map contracts. Large
inputs saturate every unit, so that all slopes are small and states are forgotten. In between, one neuron
shows what happens: folds and flips at biases in closed form.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy.linalg
import sympy
from numpy.typing import ArrayLike

from esntools._typing import BoolArray, FloatArray
from esntools.activations import Activation
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.network import EchoStateNetwork
from esntools.symbolic import norms
from esntools.symbolic.slopes import curvature_extrema, inverse_slope

__all__ = [
    "LargeInput",
    "SmallInput",
    "flip_biases",
    "fold_biases",
    "large_input",
    "small_input",
    "small_input_radius",
]

_FIXED: Final = 1e-4
_R0, _K, _H, _C = sympy.symbols("r_0 k h c", positive=True)
_RHO, _DELTA = sympy.symbols("rho delta", positive=True)
_BOUND, _V1, _KAPPA = sympy.symbols("M v kappa", positive=True)


@functools.cache
def small_input_radius() -> tuple[Any, Any, Any]:
    r"""Return (delta(rho), the best rho, the rate) of the small-input theorem in symbols.

    In a norm, let :math:`r_0` bound the Jacobian at a fixed point x* under the input u*, let the Jacobian
    change by at most :math:`k |x - x^*| + h |u - u^*|`, and let c bound the effect of the input,
    :math:`|G(u, x) - G(u^*, x)| \le c |u - u^*|`. On the ball :math:`|x - x^*| \le \rho` with :math:`|u -
    u^*| \le \delta` the map contracts by :math:`r = r_0 + k\rho + h\delta`, and it maps the ball into
    itself when :math:`c\,\delta \le (1 - r)\rho`. The largest such delta is the equality; rho is chosen
    where it is greatest.

    Examples
    --------
    >>> delta, best, rate = small_input_radius()
    >>> delta, rate
    (rho*(-k*rho - r_0 + 1)/(c + h*rho), delta*h + k*rho + r_0)
    """
    rate = _R0 + _K * _RHO + _H * _DELTA
    (delta,) = sympy.solve(sympy.Eq(_C * _DELTA, (1 - rate) * _RHO), _DELTA)
    delta = sympy.factor(delta)
    numerator = sympy.numer(sympy.together(delta.diff(_RHO)))
    half = {_R0: sympy.Rational(1, 2), _K: 1, _H: 1, _C: 1}
    (best,) = (r for r in sympy.solve(numerator, _RHO) if r.subs(half).is_positive)
    tidy = _RHO * (1 - _R0 - _K * _RHO) / (_C + _H * _RHO)
    assert sympy.simplify(tidy - delta) == 0
    return tidy, sympy.simplify(best), rate


@final
@dataclass(frozen=True, eq=False)
class SmallInput:
    r"""A ball around a stable fixed point that no small input leaves, and on which the map contracts.

    Parameters
    ----------
    state : ndarray, shape (n,)
        x*, with ``G(input, state) = state`` to rounding.
    input : ndarray, shape (m,)
        u*, the constant input.
    scaling : ndarray, shape (n, n)
        T: the norm is :math:`|T x|_2`; a Cholesky factor of the solution of Stein's equation.
    state_radius : float
        rho in that norm.
    input_radius : float
        delta: every input sequence with :math:`|u_k - u^*|_2 \le \delta` keeps the ball; infinite without
        inputs.
    rate : float
        The contraction factor on the ball.
    numbers : dict
        The number of each symbol of `small_input_radius`.

    Notes
    -----
    All numbers are floating point; `esntools.certificates.certify_echo_index` proves such balls.
    """

    state: FloatArray
    input: FloatArray
    scaling: FloatArray
    state_radius: float
    input_radius: float
    rate: float
    numbers: dict[Any, float]


def small_input(network: EchoStateNetwork, x: ArrayLike, u: ArrayLike | None = None) -> SmallInput | None:
    r"""Evaluate the small-input theorem at a stable fixed point.

    With :math:`K = \sup|\varphi''|`, V the effective matrix and :math:`|x|_T = |T x|_2`,

    .. math::

        k = K\,|T A|\,|V T^{-1}|\,\max_i |V_i T^{-1}|, \quad
        h = K\,|T A|\,|V T^{-1}|\,\max_i |W_{\mathrm{in}, i}|, \quad c = L\,|T A|\,|W_\mathrm{in}| .

    Returns
    -------
    SmallInput or None
        None when the fixed point is not stable or the slope has jumps (K infinite).

    Raises
    ------
    InvalidInputError
        When x is not a fixed point, to 1e-4.
    UnsupportedError
        When squares are fed back.

    Examples
    --------
    >>> network = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    >>> ball = small_input(network, [0.85856], [0.0])
    >>> round(ball.input_radius, 3), ball.rate < 1.0
    (0.044, True)

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi, C. Postlethwaite, "The echo index and multistability in input-driven
    recurrent neural networks", Physica D 412 (2020) 132609, doi:10.1016/j.physd.2020.132609.
    """
    if network.readout is not None and network.W_fb is not None and not network.readout.is_affine:
        raise UnsupportedError(
            "small_input", "squares in the feedback", "the slopes alone must bound the Jacobian"
        )
    x = np.asarray(x, dtype=np.float64)
    u = np.zeros(network.n_inputs) if u is None else np.asarray(u, dtype=np.float64)
    residual = float(np.max(np.abs(network.step(x, u) - x)))
    if residual > _FIXED * max(1.0, float(np.max(np.abs(x)))):
        raise InvalidInputError(
            "small_input", f"the map moves x by {residual:.3g}", "x must be a fixed point at the input u",
            "find one with find_fixed_points",
        )  # fmt: skip
    J = network.jacobian(x, u)
    K = curvature_extrema(network.activation).largest
    if not math.isfinite(K) or np.max(np.abs(np.linalg.eigvals(J))) >= 1.0 - 1e-9:
        return None
    P = scipy.linalg.solve_discrete_lyapunov(J.T, np.eye(len(J)))
    T = scipy.linalg.cholesky(0.5 * (P + P.T))
    T_inverse = scipy.linalg.inv(T)
    V, L = network.folded().dense_W(), max(map(abs, network.activation.slope_bounds))
    V_T, T_A = V @ T_inverse, T * network.leak_rate
    factor = K * float(np.linalg.norm(T_A, 2)) * float(np.linalg.norm(V_T, 2))
    widest = float(np.max(np.linalg.norm(network.W_in, axis=1), initial=0.0))
    effect = L * float(np.linalg.norm(T_A, 2)) * (float(np.linalg.norm(network.W_in, 2)) if widest else 0.0)
    numbers = {
        _R0: float(np.linalg.norm(T @ J @ T_inverse, 2)), _H: factor * widest, _C: effect,
        _K: factor * float(np.max(np.linalg.norm(V_T, axis=1))),
    }  # fmt: skip
    if numbers[_R0] >= 1.0:
        return None
    delta, best, rate = small_input_radius()
    slack = 1.0 - numbers[_R0]
    if effect == 0.0 or numbers[_K] == 0.0:
        # Nothing comes in, or nothing bends: half of the room is as good as any other share.
        rho = 0.5 * slack / numbers[_K] if numbers[_K] else 1.0
        input_radius = math.inf if effect == 0.0 else slack * rho / effect
    else:
        rho = float(best.subs(numbers))
        input_radius = float(delta.subs(numbers | {_RHO: rho}))
    share = 0.0 if math.isinf(input_radius) else input_radius
    value = float(rate.subs(numbers | {_RHO: rho, _DELTA: share}))
    return SmallInput(x, u, T, rho, input_radius, value, numbers)


@final
@dataclass(frozen=True, eq=False)
class LargeInput:
    r"""From which size on the drive of each unit saturates it so far that states are forgotten.

    Parameters
    ----------
    kappa : float
        The norm of the effective matrix: slopes below 1/kappa contract.
    norm : str
        Which norm: ``"spectral"``, ``"Perron"`` or ``"diagonal"``, whichever is smallest.
    threshold : ndarray, shape (n,)
        Contraction at every step at which :math:`|W_\mathrm{in} u + c|_i` exceeds it in every unit, c = b
        + W_fb b_out.
    symbol : sympy.Expr
        The threshold in :math:`v = \|V_i\|_1`, M = max |phi| and kappa.
    """

    kappa: float
    norm: str
    threshold: FloatArray
    symbol: Any

    def saturates(self, drive: ArrayLike) -> BoolArray:
        """Whether each unit exceeds its threshold, for drives of shape (..., n)."""
        return np.asarray(np.abs(np.asarray(drive, dtype=np.float64)) > self.threshold)


def large_input(network: EchoStateNetwork, known: Mapping[str, float] | None = None) -> LargeInput | None:
    r"""Evaluate the large-input theorem: from which size of the drive on states are forgotten.

    .. math::

        |W_\mathrm{in} u_k + c|_i > \|V_i\|_1 \max|\varphi| + (\varphi')^{-1}(1/\kappa) \ \text{for all } i, k
        \quad\Longrightarrow\quad \text{contraction, echo index } 1,

    because states in the box of values then have :math:`|z_i| > (\varphi')^{-1}(1/\kappa)`, hence slopes
    below :math:`1/\kappa` with :math:`\kappa = \|V\|`.

    Parameters
    ----------
    network : EchoStateNetwork
    known : mapping, optional
        Norms of V that are known already, by the names of `LargeInput.norm`.

    Returns
    -------
    LargeInput or None
        None for activations that do not saturate by a known formula, or with squares in the feedback. All
        zeros when the network contracts for any input.

    Examples
    --------
    >>> large = large_input(EchoStateNetwork([[2.0]], W_in=[[1.0]]))
    >>> large.symbol, round(float(large.threshold[0]), 4)
    (M*v + acosh(sqrt(kappa)), 2.8814)

    References
    ----------
    A. Ceni et al., doi:10.1016/j.physd.2020.132609.
    """
    phi = network.activation
    tail = inverse_slope(phi, 1 / _KAPPA)
    squares = network.readout is not None and network.W_fb is not None and not network.readout.is_affine
    if tail is None or squares or network.uniform_leak_rate is None:
        return None
    V = network.folded().dense_W()
    candidates = dict(known or {})
    if not candidates:
        with norms.one_thread():
            candidates = {
                "spectral": norms.spectral_norm(V), "Perron": norms.perron(np.abs(V))[0],
                "diagonal": norms.diagonal_scaling(V)[0],
            }  # fmt: skip
    norm = min(candidates, key=lambda name: candidates[name])
    kappa = candidates[norm] * (1.0 + 1e-9)
    size = max(map(abs, phi.value_bounds))
    symbol = _V1 * _BOUND + sympy.simplify(tail)
    rows = np.sum(np.abs(V), axis=1)
    if kappa * phi.slope_bounds[1] < 1.0:
        return LargeInput(kappa, norm, np.zeros(len(V)), symbol)
    depth = float(tail.subs(_KAPPA, kappa))
    return LargeInput(kappa, norm, rows * size + depth, symbol)


def _bias(activation: Activation, w: Any, z: Any) -> tuple[Any, Any]:
    """Return b = z - w phi(z) at z and at -z, the smaller first for w > 0."""
    return z - w * activation.to_sympy(z), -z - w * activation.to_sympy(-z)


def fold_biases(activation: Activation, w: Any) -> tuple[Any, Any] | None:
    r"""Return the two biases at which one neuron x = phi(w x + b) has a fold, for w above 1/L.

    Between them there are three fixed points, two of them attracting, whatever the leak rate: the echo state
    property fails for an input that holds the bias there. For tanh :math:`b = \pm(\operatorname{artanh} s
    - w s)` with :math:`s = \sqrt{1 - 1/w}`; both vanish at the pitchfork w = 1.

    Parameters
    ----------
    activation : Activation
        See `esntools.symbolic.slopes.inverse_slope`.
    w : sympy.Expr or number

    Returns
    -------
    (sympy.Expr, sympy.Expr) or None
        None for other activations.

    Notes
    -----
    Fixed points solve b = z - w phi(z); folds are where its derivative 1 - w phi'(z) vanishes.

    Examples
    --------
    >>> low, high = fold_biases(Activation.named("tanh"), sympy.Integer(2))
    >>> round(float(low), 6), round(float(high), 6)
    (-0.53284, 0.53284)
    """
    z = inverse_slope(activation, 1 / sympy.sympify(w))
    return None if z is None else _bias(activation, w, z)


def flip_biases(activation: Activation, w: Any, a: Any) -> tuple[Any, Any] | None:
    r"""Return the biases between which the fixed point of one neuron with w < 0 and leak rate a is unstable.

    There the multiplier 1 - a + a w phi'(z) is below -1, for :math:`w < -(2 - a)/(a L)`: states alternate,
    and the echo state property fails.

    Examples
    --------
    >>> low, high = flip_biases(Activation.named("tanh"), -2, 1)
    >>> round(float(low), 6), round(float(high), 6)
    (-2.295587, 2.295587)
    """
    w, a = sympy.sympify(w), sympy.sympify(a)
    z = inverse_slope(activation, -(2 - a) / (a * w))
    if z is None:
        return None
    high, low = _bias(activation, w, z)
    return low, high
