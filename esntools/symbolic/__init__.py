"""The map in SymPy: its Jacobian, norm bounds with their critical gains, and the proof as text and LaTeX."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import sympy
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.inputs import InputClass
from esntools.network import EchoStateNetwork
from esntools.symbolic import norms
from esntools.symbolic.closed_forms import CriticalGain, critical_gains
from esntools.symbolic.matrix_calculus import differentiate, evaluate
from esntools.symbolic.proof_page import certified_network, proof_page
from esntools.symbolic.radii import LargeInput, large_input
from esntools.symbolic.slopes import slope_extrema

if TYPE_CHECKING:
    from esntools.activations import Activation

__all__ = [
    "CriticalGain",
    "Derivation",
    "LargeInput",
    "SymbolicBound",
    "certified_network",
    "critical_gains",
    "derive",
    "large_input",
    "proof_page",
]

_X: Final = sympy.Symbol("x", real=True)
_A: Final = sympy.Symbol("a", positive=True)
_L: Final = sympy.Symbol("L", positive=True)
_G: Final = sympy.Symbol("g", positive=True)
_SIGMA: Final = sympy.Symbol("sigma", positive=True)
_RHO: Final = sympy.Symbol("rho", positive=True)
_DELTA: Final = sympy.Symbol("delta", positive=True)
_RHO_M: Final = sympy.Symbol("rho_M", positive=True)
_ELEMENTWISE: Final = 8
_EIGENVALUES: Final = 600
#: SymPy looks for the extrema of the slope of expressions up to this size: a second at most.
_SMALL: Final = 12

#: Slope ranges known in closed form; the others come as numbers from the enclosure.
_EXACT_SLOPES: Final = {
    "tanh": ("0", "1"), "logistic": ("0", "1/4"), "identity": ("1", "1"), "relu": ("0", "1"),
    "hard_tanh": ("0", "1"), "softsign": ("0", "1"), "erf": ("0", "2/sqrt(pi)"), "sine": ("-1", "1"),
}  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class SymbolicBound:
    r"""One sufficient condition for contraction, in symbols and with this network's numbers.

    Parameters
    ----------
    name : str
        ``"spectral"``, ``"Perron"``, ``"leaky Perron"`` or ``"diagonal"``.
    norm : str
        The norm in which the map contracts.
    inequality : sympy.Basic
        The condition, in a (leak rate), L (largest absolute slope) and the matrix quantity (sigma: spectral
        norm; rho: spectral radius of the absolute values; delta: diagonally scaled spectral norm; rho_M:
        spectral radius of the leaky matrix).
    rate : sympy.Expr
        The contraction factor per step that it proves.
    value : float
        That factor for this network, computed in floating point; below 1 it proves (up to rounding), and
        from 1 on it says nothing.
    critical_gain : sympy.Expr
        The factor g on the effective matrix at which the condition is met with equality.
    critical_gain_value : float
        Its number, floating point; infinite when the matrix vanishes.
    numbers : dict
        The number of each symbol.
    """

    name: str
    norm: str
    inequality: sympy.Basic
    rate: sympy.Expr
    value: float
    critical_gain: sympy.Expr
    critical_gain_value: float
    numbers: dict[sympy.Symbol, float]

    @property
    def proves(self) -> bool:
        """Whether the condition holds for this network, in floating point."""
        return self.value < 1.0


@final
@dataclass(frozen=True, eq=False)
class Derivation:
    r"""The Jacobian of a network's map and the norm bounds on it, derived symbolically.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : InputClass or None
        What the caller asks about; every bound here holds for any input.
    map : sympy.MatrixExpr
        G(u, x) in matrix symbols.
    jacobian : sympy.MatrixExpr
        :math:`D_xG = (1-a)I + a\,\mathrm{diag}(\varphi'(z))(W + W_\mathrm{fb}D\psi(x))`.
    slope : sympy.Expr
        phi'(x); at a kink the bounds use Clarke's derivative.
    slope_bounds : (float, float)
        Proved inf and sup of phi'.
    slope_symbols : (sympy.Expr, sympy.Expr)
        The same in closed form where it is known.
    effective : str
        The matrix that the bounds are about: ``"W"`` or ``"W + W_fb W_out"``, or that plus the squares' part.
    bounds : tuple of SymbolicBound
        Empty when no bound is possible; `notes` says why.
    notes : tuple of str
        Hypotheses that a reader must know.
    """

    network: EchoStateNetwork
    inputs: InputClass | None
    map: sympy.MatrixExpr
    jacobian: sympy.MatrixExpr
    slope: sympy.Expr
    slope_bounds: tuple[float, float]
    slope_symbols: tuple[sympy.Expr, sympy.Expr]
    effective: str
    bounds: tuple[SymbolicBound, ...]
    notes: tuple[str, ...]

    @functools.cached_property
    def closed_forms(self) -> tuple[CriticalGain, ...]:
        """Critical gains in closed form, where this network has one (see `critical_gains`)."""
        if self.network.n_units > _EIGENVALUES:
            return ()
        with norms.one_thread():
            return critical_gains(self.network)

    @functools.cached_property
    def large_input(self) -> LargeInput | None:
        """From which size on the drive saturates every unit (see `esntools.symbolic.radii.large_input`)."""
        names = {"spectral": _SIGMA, "Perron": _RHO, "diagonal": _DELTA}
        known = {b.name: b.numbers[names[b.name]] for b in self.bounds if b.name in names}
        return large_input(self.network, known) if known else None

    @property
    def proved(self) -> bool:
        """Whether one of the bounds proves contraction, in floating point."""
        return any(bound.proves for bound in self.bounds)

    @property
    def critical_gain(self) -> float | None:
        """The largest critical gain of all bounds: every smaller factor on the effective matrix is proved."""
        return max((bound.critical_gain_value for bound in self.bounds), default=None)

    def bound(self, name: str) -> SymbolicBound:
        """Return the bound of that name."""
        for bound in self.bounds:
            if bound.name == name:
                return bound
        known = ", ".join(b.name for b in self.bounds)
        raise InvalidInputError("bound", repr(name), "this derivation has no bound of that name", known)

    def jacobian_at(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the numbers of the derived `jacobian` at one state and input, shape (n_units, n_units)."""
        network, leak = self.network, self.network.uniform_leak_rate
        x = np.asarray(x, dtype=np.float64)
        values: dict[str, Any] = {
            "x": x[:, None], "W": network.dense_W(), "W_in": network.W_in, "b": network.b[:, None],
            "u": np.zeros((network.n_inputs, 1)) if u is None else np.asarray(u, dtype=np.float64)[:, None],
            "a": network.leak_rate[:, None] if leak is None else leak,
        }  # fmt: skip
        readout = network.readout
        if network.W_fb is not None and readout is not None:
            values |= {"W_fb": network.W_fb, "W_out": readout.W_out, "b_out": readout.b_out[:, None]}
            if readout.W_sq is not None:
                values["W_sq"] = readout.W_sq
        phi = _phi(network.activation)
        slope = sympy.Lambda(phi.variables, phi.expr.diff(phi.variables[0]))
        return evaluate(self.jacobian, values, {phi: network.activation, slope: network.activation.slope})

    def elementwise(self) -> sympy.Matrix:
        r"""Return D_xG entry by entry for at most 8 units, in the slopes :math:`d_i = \varphi'(z_i)`.

        Raises
        ------
        InvalidInputError
            When the network has more units.
        """
        network = self.network
        n = network.n_units
        if n > _ELEMENTWISE:
            raise InvalidInputError(
                "elementwise", f"{n} units", f"the entries are shown for at most {_ELEMENTWISE} units",
                "use jacobian",
            )  # fmt: skip
        d = sympy.symbols(f"d_1:{n + 1}", real=True)
        x = sympy.symbols(f"x_1:{n + 1}", real=True)
        centre, squares = _effective(network)
        a = network.leak_rate

        def entry(i: int, j: int) -> Any:
            w = sympy.Float(centre[i, j]) if centre[i, j] else sympy.S.Zero
            if squares[i, j]:
                w = w + sympy.Float(squares[i, j]) * x[j]
            leak = sympy.Float(1.0 - a[i]) if i == j and a[i] != 1.0 else sympy.S.Zero
            gain = d[i] if a[i] == 1.0 else sympy.Float(a[i]) * d[i]
            return leak + gain * w

        return sympy.Matrix(n, n, entry)

    def text(self) -> str:
        """Return the derivation and the proof as plain text."""
        from esntools.symbolic.proof_text import plain_text

        return plain_text(self)

    def latex(self) -> str:
        """Return the derivation and the proof as a LaTeX document that compiles by itself."""
        from esntools.symbolic.proof_text import latex_document

        return latex_document(self)

    def latex_steps(self) -> list[str]:
        """Return the formulas of the proof, one each, in the part of LaTeX that Matplotlib can draw."""
        from esntools.symbolic.proof_text import formulas

        return formulas(self, mathtext=True)


def _phi(activation: Activation) -> Any:
    return sympy.Lambda((_X,), activation.to_sympy(_X))


def _derived(network: EchoStateNetwork) -> tuple[Any, Any, Any]:
    """Return G(u, x), its Jacobian and phi' in symbols: they depend on the form of the network only."""
    feedback = network.W_fb is not None and network.readout is not None
    squares = feedback and network.readout is not None and not network.readout.is_affine
    leak = (
        "own" if network.uniform_leak_rate is None else "none" if network.uniform_leak_rate == 1.0 else "one"
    )
    return _form(network.activation, network.n_inputs > 0, feedback, squares, leak)


@functools.lru_cache(maxsize=64)
def _form(
    activation: Activation, driven: bool, feedback: bool, squares: bool, leak: str
) -> tuple[Any, Any, Any]:
    N, m, p = sympy.symbols("N m p", integer=True, positive=True)
    x, b = sympy.MatrixSymbol("x", N, 1), sympy.MatrixSymbol("b", N, 1)
    z = sympy.MatrixSymbol("W", N, N) * x + b
    if driven:
        z = z + sympy.MatrixSymbol("W_in", N, m) * sympy.MatrixSymbol("u", m, 1)
    if feedback:
        psi = sympy.MatrixSymbol("W_out", p, N) * x + sympy.MatrixSymbol("b_out", p, 1)
        if squares:
            square = sympy.Lambda((_X,), _X**2)
            psi = psi + sympy.MatrixSymbol("W_sq", p, N) * x.applyfunc(square)
        z = z + sympy.MatrixSymbol("W_fb", N, p) * psi
    G = z.applyfunc(_phi(activation))
    if leak == "own":
        A = sympy.DiagMatrix(sympy.MatrixSymbol("a", N, 1))
        G = (sympy.Identity(N) - A) * x + A * G
    elif leak == "one":
        G = (1 - _A) * x + _A * G
    return G, differentiate(G, x), _slope(activation)


def _effective(network: EchoStateNetwork) -> tuple[FloatArray, FloatArray]:
    """Return C and Q with W + W_fb D psi(x) = C + Q diag(x)."""
    W = network.dense_W()
    if network.W_fb is None or network.readout is None:
        return W, np.zeros_like(W)
    C = W + network.W_fb @ network.readout.W_out
    if network.readout.W_sq is None:
        return C, np.zeros_like(W)
    return C, 2.0 * network.W_fb @ network.readout.W_sq


@functools.lru_cache(maxsize=64)
def _slope(activation: Activation) -> Any:
    slope = activation.to_sympy(_X).diff(_X)
    if slope.has(sympy.Heaviside):
        # Piecewise form shows the branches; the value at the kink itself is covered by Clarke's hull.
        slope = slope.rewrite(sympy.Piecewise)
    return sympy.simplify(slope) if sympy.count_ops(slope) < 20 else slope


@functools.cache
def _solve_gain(rate: Any, quantity: sympy.Symbol) -> Any:
    """Solve rate(g quantity) = 1 for g > 0."""
    (gain,) = (s for s in sympy.solve(sympy.Eq(rate.subs(quantity, _G * quantity), 1), _G) if s.is_positive)
    return gain


def _bound(
    name: str, norm: str, rate: Any, quantity: sympy.Symbol, numbers: dict[sympy.Symbol, float]
) -> SymbolicBound:
    vanishes = numbers[quantity] * numbers[_L] == 0.0
    gain = sympy.oo if vanishes else _solve_gain(rate, quantity)
    return SymbolicBound(
        name, norm, sympy.StrictLessThan(rate, 1), rate, float(rate.subs(numbers)), gain,
        math.inf if vanishes else float(gain.subs(numbers)), numbers,
    )  # fmt: skip


def _leaky_gain(C: FloatArray, leak: FloatArray, low: float, high: float, start: float) -> float:
    """Return the first g at which rho(M(g)) reaches 1, to about 1e-9, from a g where it is below."""

    def contracts(g: float) -> bool:
        M = norms.leaky_matrix(g * C, leak, low, high)
        v = np.linalg.solve(np.eye(len(M)) - M, np.ones(len(M)))
        return bool(np.all(v > 0.0))

    below = 0.999999 * start
    if not contracts(below):
        return start
    above = 1.05 * below
    while contracts(above) and above < 8.0 * start:
        below, above = above, 1.05 * above
    if above >= 8.0 * start:
        return below
    for _ in range(24):
        middle = 0.5 * (below + above)
        below, above = (middle, above) if contracts(middle) else (below, middle)
    return below


def _bounds(network: EchoStateNetwork, C: FloatArray, R: FloatArray) -> tuple[SymbolicBound, ...]:
    """Return the bounds for all effective matrices C + E with |E| <= R entrywise."""
    low, high = network.activation.slope_bounds
    leak = network.leak_rate
    least = float(np.min(leak))
    shared = {_L: max(abs(low), abs(high)), _A: least}
    uniform = network.uniform_leak_rate is not None

    def leaky(quantity: sympy.Symbol) -> Any:
        if not uniform:
            return sympy.sqrt(1 - _A + _A * (_L * quantity) ** 2)
        return _L * quantity if least == 1.0 else 1 - _A + _A * _L * quantity

    euclidean = "Euclidean norm" if uniform else "Euclidean norm weighted by 1/sqrt(a_i)"
    sigma = norms.spectral_norm(C) + norms.spectral_norm(R)
    bounds = [_bound("spectral", euclidean, leaky(_SIGMA), _SIGMA, shared | {_SIGMA: sigma})]

    rho, _ = norms.perron(np.abs(C) + R)
    # For leaks of their own, (I - A) + L A |W| contracts in max |x_i|/w_i with the w of |W|.
    rate = leaky(_RHO) if uniform else 1 - _A + _A * _L * _RHO
    bounds.append(_bound("Perron", "weighted maximum norm max |x_i|/w_i", rate, _RHO, shared | {_RHO: rho}))

    if np.any(np.diag(C)) and not np.any(R):
        value, _ = norms.perron(norms.leaky_matrix(C, leak, low, high))
        start = 1.0 / (shared[_L] * rho) if shared[_L] * rho > 0.0 else math.inf
        gain = _leaky_gain(C, leak, low, high, start) if math.isfinite(start) else math.inf
        bounds.append(
            SymbolicBound(
                "leaky Perron", "weighted maximum norm max |x_i|/w_i", sympy.StrictLessThan(_RHO_M, 1),
                _RHO_M,
                value, sympy.Symbol("g_M", positive=True), gain, shared | {_RHO_M: value},
            )
        )  # fmt: skip

    delta, s = norms.diagonal_scaling(C)
    delta += norms.scaled_spectral_norm(R, s)
    scaled = (
        "Euclidean norm of S x, S diagonal" if uniform else "Euclidean norm of S x weighted by 1/sqrt(a_i)"
    )
    bounds.append(_bound("diagonal", scaled, leaky(_DELTA), _DELTA, shared | {_DELTA: delta}))
    return tuple(bounds)


def derive(network: EchoStateNetwork, inputs: InputClass | None = None) -> Derivation:
    r"""Derive the Jacobian of a network's map and the norm bounds that prove contraction.

    .. math::

        D_xG(u, x) = (1 - a) I + a\,\mathrm{diag}(\varphi'(z))\,(W + W_\mathrm{fb} D\psi(x)),
        \qquad \|D_xG\| \le (1 - a) + a L \|W\| .

    Parameters
    ----------
    network : EchoStateNetwork
        Any activation, one leak rate or one for each unit, feedback from an affine readout or from one with
        squares (then the states must stay in a box, hence a bounded activation).
    inputs : InputClass, optional
        The inputs asked about; recorded only, since the bounds hold for every input.

    Returns
    -------
    Derivation
        Its norms are floating-point numbers; `esntools.certificates` proves with exact ones.

    Examples
    --------
    >>> network = EchoStateNetwork([[0.0, 0.9], [-0.9, 0.0]], leak_rate=0.5)
    >>> derivation = derive(network)
    >>> derivation.bound("spectral").inequality
    L*a*sigma - a + 1 < 1
    >>> derivation.bound("spectral").critical_gain, round(derivation.critical_gain, 6)
    (1/(L*sigma), 1.111111)

    References
    ----------
    I. B. Yildiz, H. Jaeger, S. J. Kiebel, "Re-visiting the echo state property", Neural Networks 35 (2012) 1,
    doi:10.1016/j.neunet.2012.07.005, Theorem 4.1, Corollary 4.3. M. Buehner, P. Young, "A tighter bound for
    the echo state property", IEEE Trans. Neural Networks 17 (2006) 820, doi:10.1109/TNN.2006.872357.
    """
    G, jacobian, slope = _derived(network)
    C, Q = _effective(network)
    notes = ["Norms and radii are computed in floating point; a certificate establishes them exactly."]
    effective, R, possible = "W", np.zeros_like(C), True
    if network.W_fb is not None:
        effective = "W + W_fb W_out"
        notes.append("The gain multiplies the effective matrix, feedback included, not W alone.")
    if np.any(Q):
        effective = "W + W_fb W_out + 2 W_fb W_sq diag(x)"
        low, high = network.activation.value_bounds
        if network.activation.bounded:
            middle, radius = 0.5 * (low + high), 0.5 * (high - low)
            C, R = C + Q * middle, np.abs(Q) * radius
            notes.append(
                f"The readout has squares, so the Jacobian depends on x: the bounds hold on the box "
                f"[{low:.6g}, "
                f"{high:.6g}]^N, which no state leaves and which every state approaches."
            )
        else:
            possible = False
            notes.append(
                "The readout has squares and the activation is unbounded: no box of states is known, "
                "so no global bound exists."
            )
    bounds: tuple[SymbolicBound, ...] = ()
    if possible:
        with norms.one_thread():
            bounds = _bounds(network, C, R)
    exact = _EXACT_SLOPES.get(network.activation.name)
    slope_bounds = network.activation.slope_bounds
    symbols: tuple[Any, Any]
    if exact:
        symbols = sympy.sympify(exact[0]), sympy.sympify(exact[1])
    else:
        extrema = slope_extrema(network.activation) if sympy.count_ops(slope) <= _SMALL else None
        found = (None, None) if extrema is None else (extrema.lower_symbol, extrema.upper_symbol)
        symbols = tuple(sympy.Float(s) if e is None else e for s, e in zip(slope_bounds, found))
    return Derivation(
        network, inputs, G, jacobian, slope, slope_bounds, symbols,
        effective, bounds, tuple(notes),
    )  # fmt: skip
