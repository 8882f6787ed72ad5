"""Value and slope of an activation expression as NumPy functions that neither overflow nor cancel.

Sub-expressions whose plain evaluation overflows or loses digits (log(1 + exp(g)), 1/(1 + exp(g)),
log(cosh(g)), sqrt(1 + g**2), 1 - tanh(g)**2) are recognised first and replaced by functions that carry their
own derivative.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from esntools._typing import FloatArray
from esntools.enclosures.expressions import parse_expression
from esntools.errors import UnsupportedError

__all__ = ["is_odd", "numeric_functions"]

_ArrayFunction = Callable[[FloatArray], FloatArray]


@functools.cache
def _stable_functions() -> dict[str, Any]:
    """SymPy functions that know their own derivative and are evaluated by NumPy functions of that name."""
    import sympy

    class stable_expit(sympy.Function):  # type: ignore[misc]
        def fdiff(self, argindex: int = 1) -> Any:
            return stable_expit(self.args[0]) * stable_expit(-self.args[0])

    class stable_softplus(sympy.Function):  # type: ignore[misc]
        def fdiff(self, argindex: int = 1) -> Any:
            return stable_expit(self.args[0])

    class stable_sech2(sympy.Function):  # type: ignore[misc]
        pass

    class stable_tanh(sympy.Function):  # type: ignore[misc]
        def fdiff(self, argindex: int = 1) -> Any:
            return stable_sech2(self.args[0])

    class stable_log_cosh(sympy.Function):  # type: ignore[misc]
        def fdiff(self, argindex: int = 1) -> Any:
            return stable_tanh(self.args[0])

    class stable_root_power(sympy.Function):  # type: ignore[misc]
        """(1 + g**2)**p for a negative or fractional p."""

        nargs = 2

        def fdiff(self, argindex: int = 1) -> Any:
            g, p = self.args
            return 2 * p * g * stable_root_power(g, p - 1)

    class stable_saturation(sympy.Function):  # type: ignore[misc]
        """g/sqrt(1 + g**2)."""

        def fdiff(self, argindex: int = 1) -> Any:
            return stable_root_power(self.args[0], sympy.Rational(-3, 2))

    return {
        f.__name__: f
        for f in (
            stable_expit, stable_softplus, stable_sech2, stable_tanh, stable_log_cosh, stable_root_power,
            stable_saturation,
        )
    }  # fmt: skip


def _np_sech2(z: FloatArray) -> FloatArray:
    e = np.exp(-2.0 * np.abs(z))
    return np.asarray(4.0 * e / (1.0 + e) ** 2)


def _np_log_cosh(z: FloatArray) -> FloatArray:
    z = np.abs(z)
    return np.asarray(z + np.log1p(np.exp(-2.0 * z)) - np.log(2.0))


def _np_root_power(z: FloatArray, p: float) -> FloatArray:
    return np.asarray(np.hypot(1.0, z) ** (2.0 * p))


def _np_sech(z: FloatArray) -> FloatArray:
    e = np.exp(-np.abs(z))
    return np.asarray(2.0 * e / (1.0 + e * e))


def _numeric_modules() -> list[Any]:
    from scipy import special

    return [
        {
            "stable_expit": special.expit,
            "stable_softplus": lambda z: np.logaddexp(0.0, z),
            "stable_sech2": _np_sech2,
            "stable_tanh": np.tanh,
            "stable_log_cosh": _np_log_cosh,
            "stable_root_power": _np_root_power,
            "stable_saturation": lambda z: z / np.hypot(1.0, z),
            "sech": _np_sech,
            "erf": special.erf,
            "erfc": special.erfc,
            # No value at a jump of the slope: `_total` takes the side.
            "Heaviside": lambda z, *at: np.heaviside(z, np.nan),
            "sign": lambda z: np.where(z == 0.0, np.nan, np.sign(z)),
        },
        "numpy",
    ]


def _stabilised(e: Any) -> Any:
    """Return the expression with every pattern of this module's head replaced, from the leaves up."""
    import sympy

    f = _stable_functions()
    if isinstance(e, sympy.logic.boolalg.Boolean):
        # The branches of a Piecewise meet, so the left one may own the break: its slope is the one reported.
        return e.replace(sympy.Lt, sympy.Le).replace(sympy.Ge, sympy.Gt)
    if not e.args:
        return e
    e = e.func(*(_stabilised(a) for a in e.args))
    if isinstance(e, sympy.tanh):
        return f["stable_tanh"](e.args[0])
    if isinstance(e, sympy.log):
        inner = e.args[0]
        if isinstance(inner, sympy.cosh):
            return f["stable_log_cosh"](inner.args[0])
        g = _one_plus_exp(inner)
        if g is not None:
            return f["stable_softplus"](g)
    if e.is_Pow and e.exp.is_Rational:
        g = _one_plus_exp(e.base)
        if g is not None and e.exp < 0:
            return f["stable_expit"](-g) ** (-e.exp)
        g = _one_plus_square(e.base)
        if g is not None and e.exp != 1 and (e.exp < 0 or not e.exp.is_Integer):
            return f["stable_root_power"](g, e.exp)
        if isinstance(e.base, sympy.cosh) and e.exp < 0:
            return sympy.sech(e.base.args[0]) ** (-e.exp)
    if e.is_Mul:
        for root in e.args:
            if isinstance(root, f["stable_root_power"]) and root.args[1] == sympy.Rational(-1, 2):
                rest = e / (root * root.args[0])
                if not rest.has(root) and sympy.count_ops(rest) < sympy.count_ops(e):
                    return rest * f["stable_saturation"](root.args[0])
    return e


def _one_plus_exp(e: Any) -> Any:
    """Return g when e is 1 + c exp(g) with c > 0 (as 1 + exp(g + log c)), else None."""
    import sympy

    if not (e.is_Add and len(e.args) == 2 and e.args[0] == 1):
        return None
    c, factor = e.args[1].as_coeff_Mul()
    if isinstance(factor, sympy.exp) and c > 0:
        return factor.args[0] + sympy.log(c)
    return None


def _one_plus_square(e: Any) -> Any:
    import sympy

    if not (e.is_Add and len(e.args) == 2 and e.args[0] == 1):
        return None
    c, factor = e.args[1].as_coeff_Mul()
    if factor.is_Pow and factor.exp == 2 and c > 0:
        return sympy.sqrt(c) * factor.base
    return None


_ULPS: Final = (1.0, 2.0**10, 2.0**20)


def _total(function: _ArrayFunction, text: str, order: int) -> _ArrayFunction:
    """Return the function with its NaNs and infinities replaced.

    They are a jump of a slope, whose value just to the left is taken, or an overflow of intermediate results,
    where the middle of the proved enclosure is.
    """
    from esntools.enclosures import enclose_at

    def total(z: FloatArray) -> FloatArray:
        result = function(z)
        bad = ~np.isfinite(result) & np.isfinite(z)
        if not np.any(bad):
            return result
        for ulps in _ULPS:
            at = z[bad]
            result[bad] = function(at - ulps * np.spacing(np.maximum(np.abs(at), 1e-290)))
            bad = ~np.isfinite(result) & np.isfinite(z)
            if not np.any(bad):
                return result
        for index in zip(*np.nonzero(bad)):
            low, high = enclose_at(text, float(z[index]))[order]
            if np.isfinite(low) and np.isfinite(high):
                result[index] = 0.5 * low + 0.5 * high
        return result

    return total


def _vectorised(expression: Any) -> _ArrayFunction:
    import sympy

    x = sympy.Symbol("x", real=True)
    raw = sympy.lambdify(x, expression, modules=_numeric_modules(), cse=True)

    def function(z: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            result = np.asarray(raw(z), dtype=np.float64)
        # A constant slope comes back as one number.
        return np.array(np.broadcast_to(result, z.shape))

    return function


def numeric_functions(text: str) -> tuple[_ArrayFunction, _ArrayFunction]:
    """Return value and slope of a canonical expression as NumPy functions, checked against the enclosures.

    Raises
    ------
    UnsupportedError
        When the floating-point evaluation leaves the proved enclosure: the expression overflows or cancels.

    Examples
    --------
    >>> value, slope = numeric_functions("log(exp(x) + 1)")
    >>> value(np.array([-800.0, 800.0])), slope(np.array([800.0]))
    (array([  0., 800.]), array([1.]))
    """
    import sympy

    x = sympy.Symbol("x", real=True)
    stable = _stabilised(parse_expression(text))
    slope = sympy.diff(stable, x)
    functions = _total(_vectorised(stable), text, 0), _total(_vectorised(slope), text, 1)
    _check(text, functions)
    return functions


_PROBES: Final = np.concatenate(
    [s * np.array([0.0, 1e-9, 0.1, 0.7, 1.3, 3.1, 9.7, 31.0, 301.0, 1e4]) for s in (-1.0, 1.0)]
)


def _check(text: str, functions: tuple[_ArrayFunction, _ArrayFunction]) -> None:
    """Compare value and slope with their enclosures at a few points: also a check of SymPy's derivative."""
    from esntools.enclosures import enclose_at

    results = [function(_PROBES) for function in functions]
    for i, z in enumerate(_PROBES):
        for name, enclosure, result in zip(("value", "slope"), enclose_at(text, float(z)), results):
            slack = 1e-9 * (1.0 + abs(float(z)))
            if not enclosure[0] - slack <= result[i] <= enclosure[1] + slack:
                raise UnsupportedError(
                    "activation", f"the {name} of {text} evaluates to {result[i]} at x = {z:g}",
                    f"it lies in [{enclosure[0]:g}, {enclosure[1]:g}]: unstable in floating point",
                    "rewrite the expression without cancellation or overflow",
                )  # fmt: skip


def _is_clip(e: Any) -> bool:
    """Whether e is Max(-c, Min(c, g)) or Min(c, Max(-c, g)) for a number c > 0."""
    import sympy

    if not isinstance(e, sympy.Max | sympy.Min) or len(e.args) != 2 or not e.args[0].is_number:
        return False
    outer, inner = e.args
    other = sympy.Min if isinstance(e, sympy.Max) else sympy.Max
    return isinstance(inner, other) and len(inner.args) == 2 and inner.args[0] == -outer


def _clip(e: Any) -> Any:
    """Write a symmetric clip as a function that SymPy knows to be odd."""
    import sympy

    class clip(sympy.Function):  # type: ignore[misc]
        @classmethod
        def eval(cls, c: Any, g: Any) -> Any:
            return -cls(c, -g) if g.could_extract_minus_sign() else None

    return clip(abs(e.args[0]), e.args[1].args[1])


def is_odd(text: str) -> bool:
    """Whether phi(-x) = -phi(x) is proved symbolically.

    >>> is_odd("x/10 + tanh(2*x)"), is_odd("exp(-x**2)")
    (True, False)
    """
    import sympy

    expression = parse_expression(text)
    x = sympy.Symbol("x", real=True)
    expression = expression.replace(_is_clip, _clip)
    total = expression.subs(x, -x) + expression
    # Two numbers settle most cases before any simplification is tried.
    plain = parse_expression(text)
    for probe in (sympy.Rational(3, 7), sympy.Rational(13, 5)):
        if abs(float((plain.subs(x, -probe) + plain.subs(x, probe)).evalf(20))) > 1e-12:
            return False
    return bool(sympy.simplify(total) == 0)
