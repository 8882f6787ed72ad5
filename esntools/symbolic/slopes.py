"""Extrema of an activation's slope and curvature: closed forms by SymPy, proved numbers by ball arithmetic.

SymPy finds the stationary points piece by piece and the limits at the ends of the pieces; its answer
counts only where it agrees with the proved enclosure, since an equation solver may miss a root. Where
SymPy cannot solve, the enclosure alone answers. Functions with a jump never come here:
`Activation.from_sympy` refuses them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Final, final

import sympy

from esntools.activations import ACTIVATIONS, Activation
from esntools.enclosures import bound_slope
from esntools.enclosures.expressions import canonical_text
from esntools.errors import EsntoolsError

__all__ = ["Extrema", "curvature_extrema", "inverse_slope", "remainder_constant", "slope_extrema"]

_X: Final = sympy.Symbol("x", real=True)
#: Solving phi'' = 0 takes SymPy a second at this size and can take forever beyond it.
_SOLVABLE: Final = 28
_AGREE: Final = 1e-7
_T: Final = sympy.Symbol("t", real=True)


@final
@dataclass(frozen=True)
class Extrema:
    """Infimum and supremum of a slope or a curvature on the whole line.

    Parameters
    ----------
    lower, upper : float
        Proved bounds, rounded outwards; infinite where there is no bound.
    lower_symbol, upper_symbol : sympy.Expr or None
        Closed forms that SymPy found and that agree with the proved bounds; None where it found none.
    """

    lower: float
    upper: float
    lower_symbol: sympy.Expr | None
    upper_symbol: sympy.Expr | None

    @property
    def largest(self) -> float:
        """A proved bound of the absolute value."""
        return max(abs(self.lower), abs(self.upper))

    @property
    def largest_symbol(self) -> sympy.Expr | None:
        """The supremum of the absolute value in closed form, or None."""
        if self.lower_symbol is None or self.upper_symbol is None:
            return None
        return max(abs(self.lower_symbol), abs(self.upper_symbol), key=lambda e: float(e))


def _pieces(expression: Any) -> list[tuple[Any, Any]]:
    """Return the smooth pieces as (expression, interval)."""
    if not expression.has(sympy.Abs, sympy.Max, sympy.Min, sympy.Piecewise):
        return [(expression, sympy.S.Reals)]
    folded = sympy.piecewise_fold(expression.rewrite(sympy.Piecewise))
    return list(folded.as_expr_set_pairs())


def _in_one_value(expression: Any, order: int) -> list[Any] | None:
    """Return values at the stationary points in t = tanh(c x) or t = logistic(x), if a polynomial in t."""
    if expression == 1 / (1 + sympy.exp(-_X)):
        derivative, slope, ends = _T, _T * (1 - _T), sympy.Interval(0, 1)
        for _ in range(order):
            derivative = sympy.expand(derivative.diff(_T) * slope)
    else:
        values = expression.atoms(sympy.tanh)
        if len(values) != 1:
            return None
        derivative, ends = expression.diff(_X, order).subs(*values, _T), sympy.Interval(-1, 1)
        if not derivative.is_polynomial(_T) or derivative.has(_X):
            return None
    stationary = [r for r in sympy.solve(derivative.diff(_T), _T) if ends.contains(r) == sympy.true]
    return [sympy.simplify(derivative.subs(_T, r)) for r in (*stationary, ends.inf, ends.sup)]


def _candidates(expression: Any, order: int) -> list[Any]:
    """Return values of the derivative of this order at stationary points and at the ends of the pieces."""
    known = _in_one_value(expression, order)
    if known is not None:
        return known
    values = []
    for piece, interval in _pieces(expression):
        if isinstance(interval, sympy.FiniteSet):
            continue
        f = piece.diff(_X, order)
        slope = f.diff(_X)
        if not isinstance(interval, sympy.Interval) or sympy.count_ops(slope) > order * _SOLVABLE:
            raise NotImplementedError
        slope = sympy.simplify(slope)
        for end, side in ((interval.inf, "+"), (interval.sup, "-")):
            limit = sympy.limit(f, _X, end, side)
            if isinstance(limit, sympy.AccumBounds):
                values += [limit.min, limit.max]
            else:
                values.append(limit)
        if slope != 0:
            roots = sympy.solve(slope, _X)
            values += [f.subs(_X, root) for root in roots if interval.contains(root) == sympy.true]
    return [sympy.simplify(v) for v in values]


def _closed(activation: Activation, order: int, lower: float, upper: float) -> tuple[Any, Any]:
    """Return the closed forms of infimum and supremum, None each where SymPy has none that agrees."""
    try:
        values = _candidates(activation.to_sympy(_X), order)
        numbers = [float(sympy.N(v, 30)) for v in values]
    except (NotImplementedError, TypeError, ValueError, AttributeError, RecursionError):
        return None, None
    if not numbers or not all(map(math.isfinite, numbers)):
        return None, None
    found = []
    for number, bound in ((min(numbers), lower), (max(numbers), upper)):
        agrees = abs(number - bound) <= _AGREE * max(1.0, abs(bound))
        found.append(values[numbers.index(number)] if agrees else None)
    return found[0], found[1]


@functools.lru_cache(maxsize=64)
def slope_extrema(activation: Activation) -> Extrema:
    r"""Return infimum and supremum of :math:`\varphi'`, in closed form where SymPy finds one.

    At a kink every slope between the two sides counts (Clarke's derivative), which adds no extremum.

    Examples
    --------
    >>> slope_extrema(Activation.named("logistic")).upper_symbol
    1/4
    >>> gelu = slope_extrema(Activation.from_sympy("x*(1 + erf(x/sqrt(2)))/2"))
    >>> float(gelu.upper_symbol) <= gelu.upper, round(gelu.upper, 6)
    (True, 1.128904)
    >>> slope_extrema(Activation.from_sympy("x/(1 + exp(-x))")).upper_symbol is None
    True
    """
    lower, upper = activation.slope_bounds
    return Extrema(lower, upper, *_closed(activation, 1, lower, upper))


def _derivative_text(activation: Activation) -> str:
    """Return phi' as an expression that can be enclosed; continuous functions only pass."""
    if activation.name == "softsign":
        return "1/(1 + Abs(x))**2"
    slope = activation.to_sympy(_X).diff(_X)
    if isinstance(slope, sympy.Piecewise):
        slope = sympy.piecewise_fold(slope)
    return canonical_text(slope)


@functools.lru_cache(maxsize=64)
def curvature_extrema(activation: Activation) -> Extrema:
    r"""Return infimum and supremum of :math:`\varphi''`: the slope's Lipschitz constant is the larger size.

    Infinite for activations with kinks (ReLU), whose slope jumps, and where no bound could be proved. A
    slope that is continuous with kinks (softsign) has one: then the slopes of the slope are Clarke's.

    Examples
    --------
    >>> curvature_extrema(Activation.named("tanh")).largest_symbol
    4*sqrt(3)/9
    >>> curvature_extrema(Activation.named("softsign")).largest
    2.0
    >>> curvature_extrema(Activation.named("relu")).largest
    inf
    """
    if activation.name == "identity":
        return Extrema(0.0, 0.0, sympy.S.Zero, sympy.S.Zero)
    try:
        bound = bound_slope(_derivative_text(activation))
    except EsntoolsError:
        return Extrema(-math.inf, math.inf, None, None)
    return Extrema(bound.lower, bound.upper, *_closed(activation, 2, bound.lower, bound.upper))


def remainder_constant(activation: Activation) -> tuple[float, sympy.Expr | None]:
    r"""Return c with :math:`|\varphi(z + h) - \varphi(z) - \varphi'(z) h| \le c h^2`, and its closed form.

    By Taylor's theorem with Lagrange's remainder :math:`c = \tfrac12 \sup|\varphi''|`; for tanh
    :math:`2/(3\sqrt 3) = 0.385`.

    Examples
    --------
    >>> c, symbol = remainder_constant(Activation.named("tanh"))
    >>> symbol, round(c, 6)
    (2*sqrt(3)/9, 0.3849)
    """
    extrema = curvature_extrema(activation)
    symbol = extrema.largest_symbol
    return 0.5 * extrema.largest, None if symbol is None else symbol / 2


def inverse_slope(activation: Activation, slope: Any) -> Any:
    r"""Return the threshold :math:`\zeta` with :math:`\varphi'(z) \le s` for all :math:`|z| \ge \zeta`.

    For activations whose slope is even and falls with :math:`|z|`; with it saturation becomes a number.

    Parameters
    ----------
    activation : Activation
        tanh, logistic, erf, softsign, or the arctangent ``atan(x)``.
    slope : sympy.Expr
        s, in (0, sup of the slope].

    Returns
    -------
    sympy.Expr or None
        None for other activations.

    Examples
    --------
    >>> s = sympy.Symbol("s", positive=True)
    >>> [str(inverse_slope(Activation.named(name), s)) for name in ("tanh", "softsign")]
    ['acosh(1/sqrt(s))', '-1 + 1/sqrt(s)']
    """
    root = sympy.sqrt(slope)
    if activation.name == "logistic":
        # The slope is sech(z/2)**2/4.
        return 2 * sympy.acosh(1 / (2 * root))
    forms = {
        "tanh": sympy.acosh(1 / root),
        "erf": sympy.sqrt(sympy.log(2 / (sympy.sqrt(sympy.pi) * slope))),
        "softsign": 1 / root - 1,
        "atan(x)": sympy.sqrt(1 / slope - 1),
    }
    return forms.get(activation.name if activation.name in ACTIVATIONS else activation.expression)
