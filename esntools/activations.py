"""The activation phi as one object: value, slope, slope range on an interval, SymPy expression.

A slope range is a proved enclosure: every slope (every element of the Clarke derivative) that phi takes on
the interval lies in it. The built-in ones are exact formulas evaluated with the floating-point error
bounded outwards; `Activation.from_sympy` encloses any other expression by ball arithmetic.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError, nearest_name

if TYPE_CHECKING:
    import sympy

__all__ = ["ACTIVATIONS", "Activation"]

# libm's exp, cos and the handful of operations around them err by a few units in the last place; 2**-46
# (64 ulp) relative leaves more than a factor of ten. The certificates never rely on these numbers: the
# checker encloses slopes again by ball arithmetic.
_WIDEN: Final = 2.0**-46
# A relative margin is no margin among the subnormal numbers; this is 64 times their spacing.
_WIDEN_ABSOLUTE: Final = 2.0**-1068

_Range = tuple[float, float]
_RangeFunction = Callable[[float, float], _Range]
_ArrayFunction = Callable[[FloatArray], FloatArray]


def _outwards(low: float, high: float, floor: float = -math.inf, ceiling: float = math.inf) -> _Range:
    """Widen [low, high] by the evaluation error, but not past bounds that are known exactly."""
    low = low - abs(low) * _WIDEN - _WIDEN_ABSOLUTE
    high = high + abs(high) * _WIDEN + _WIDEN_ABSOLUTE
    return max(low, floor), min(high, ceiling)


def _even_decreasing(slope_bounds: Callable[[float], _Range], supremum: float) -> _RangeFunction:
    """Range of a slope that is even and decreases with |z| to 0 (tanh, logistic, softsign, erf)."""

    def range_(low: float, high: float) -> _Range:
        near = 0.0 if low <= 0.0 <= high else min(abs(low), abs(high))
        far = max(abs(low), abs(high))
        highest = supremum if near == 0.0 else min(slope_bounds(near)[1], supremum)
        return max(slope_bounds(far)[0], 0.0), highest

    return range_


def _sech2(z: float) -> _Range:
    e = math.exp(-2.0 * abs(z))
    slope = 4.0 * e / (1.0 + e) ** 2
    return _outwards(slope, slope)


def _logistic_slope(z: float) -> _Range:
    e = math.exp(-abs(z))
    slope = e / (1.0 + e) ** 2
    return _outwards(slope, slope)


def _softsign_slope(z: float) -> _Range:
    # Not (1 + |z|) ** 2, which Python refuses above 1e154.
    r = 1.0 / (1.0 + abs(z))
    return _outwards(r * r, r * r)


# The double above 2/sqrt(pi) = 1.12837916709551257...
_ERF_SUPREMUM: Final = math.nextafter(2.0 / math.sqrt(math.pi), math.inf)


def _erf_slope(z: float) -> _Range:
    # exp turns the rounding of the square into a relative error of z^2 2^-53.
    square = min(z * z, 800.0)
    margin = (square + 1.0) * 2.0**-51
    scale = 2.0 / math.sqrt(math.pi)
    return _outwards(scale * math.exp(-square - margin), scale * math.exp(-square + margin))


def _relu_range(low: float, high: float) -> _Range:
    """Clarke range of relu: 0 below the kink, 1 above it, the hull at it."""
    return (1.0 if low > 0.0 else 0.0), (0.0 if high < 0.0 else 1.0)


def _hard_tanh_range(low: float, high: float) -> _Range:
    inside = low > -1.0 and high < 1.0
    outside = low > 1.0 or high < -1.0
    return (1.0 if inside else 0.0), (0.0 if outside else 1.0)


def _sine_range(low: float, high: float) -> _Range:
    if not (math.isfinite(low) and math.isfinite(high)) or high - low >= 2.0 * math.pi or abs(low) > 2.0**40:
        return -1.0, 1.0

    # A multiple of pi inside [low, high] is an extremum; the margin covers the rounding of the quotient.
    margin = 1e-12 * (1.0 + max(abs(low), abs(high)))

    def holds(offset: float) -> bool:
        k = math.ceil((low - margin - offset) / (2.0 * math.pi))
        return k * 2.0 * math.pi + offset <= high + margin

    low_slope = -1.0 if holds(math.pi) else min(math.cos(low), math.cos(high))
    high_slope = 1.0 if holds(0.0) else max(math.cos(low), math.cos(high))
    return _outwards(low_slope, high_slope, -1.0, 1.0)


def _constant_range(low: float, high: float) -> _Range:
    return 1.0, 1.0


def _np_logistic(z: FloatArray) -> FloatArray:
    from scipy.special import expit

    return np.asarray(expit(z), dtype=np.float64)


def _np_erf(z: FloatArray) -> FloatArray:
    from scipy.special import erf

    return np.asarray(erf(z), dtype=np.float64)


def _np_tanh_slope(z: FloatArray) -> FloatArray:
    # 1 - tanh^2 cancels for large |z|; the exponential form keeps every digit.
    e = np.exp(-2.0 * np.abs(z))
    return 4.0 * e / (1.0 + e) ** 2


def _np_logistic_slope(z: FloatArray) -> FloatArray:
    e = np.exp(-np.abs(z))
    return e / (1.0 + e) ** 2


def _np_erf_slope(z: FloatArray) -> FloatArray:
    # From |z| = 28 on the slope is 0 in float64, and z * z must not overflow.
    return 2.0 / math.sqrt(math.pi) * np.exp(-np.square(np.minimum(np.abs(z), 28.0)))


def _np_softsign_slope(z: FloatArray) -> FloatArray:
    return np.square(1.0 / (1.0 + np.abs(z)))


@final
@dataclass(frozen=True, repr=False)
class Activation:
    r"""An elementwise activation function :math:`\varphi : \mathbb{R} \to \mathbb{R}`.

    Parameters
    ----------
    name : str
        One of `ACTIVATIONS`, or ``"custom"`` (made by `from_sympy`).
    expression : str
        The function as a SymPy expression in ``x``.
    odd : bool
        Whether phi(-z) = -phi(z).
    value_bounds, slope_bounds : (float, float)
        Proved bounds of phi and of its (Clarke) slope on the whole line; infinite where there is none.
    kernel_code : int
        Which compiled branch of `esntools.kernels` evaluates it; -1 when only `value` does.

    Examples
    --------
    >>> tanh = Activation.named("tanh")
    >>> float(tanh(np.array(0.0))), float(tanh.slope(np.array(0.0)))
    (0.0, 1.0)
    >>> low, high = tanh.slope_range(1.0, 2.0)
    >>> bool(low < 1 - np.tanh(2.0) ** 2 < 1 - np.tanh(1.0) ** 2 < high)
    True
    """

    name: str
    expression: str
    odd: bool
    value_bounds: _Range
    slope_bounds: _Range
    kernel_code: int
    _value: _ArrayFunction = field(compare=False)
    _slope: _ArrayFunction = field(compare=False)
    _slope_range: _RangeFunction = field(compare=False)

    def __repr__(self) -> str:
        return f"Activation({self.expression!r})"

    def __call__(self, z: FloatArray) -> FloatArray:
        """Return phi(z), elementwise."""
        return self._value(np.asarray(z, dtype=np.float64))

    def slope(self, z: FloatArray) -> FloatArray:
        """Return phi'(z), elementwise; at a kink, the slope from the left."""
        return self._slope(np.asarray(z, dtype=np.float64))

    def slope_range(self, low: float, high: float) -> tuple[float, float]:
        """Return a proved enclosure of every slope that phi takes on [low, high] (ends may be infinite).

        Raises
        ------
        InvalidInputError
            When low > high or an end is NaN.
        """
        low, high = float(low), float(high)
        if not low <= high:
            raise InvalidInputError("slope_range", f"[{low}, {high}]", "the interval must have low <= high")
        lowest, highest = self._slope_range(low, high)
        return max(lowest, self.slope_bounds[0]), min(highest, self.slope_bounds[1])

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        # By its name or expression, so that networks can be sent to other processes.
        if self.name in ACTIVATIONS:
            return Activation.named, (self.name,)
        return Activation.from_sympy, (self.expression,)

    @property
    def monotone(self) -> bool:
        """Whether phi never decreases."""
        return self.slope_bounds[0] >= 0.0

    @property
    def bounded(self) -> bool:
        """Whether phi is bounded on the whole line."""
        return math.isfinite(self.value_bounds[0]) and math.isfinite(self.value_bounds[1])

    def to_sympy(self, symbol: Any = None) -> sympy.Expr:
        """Return phi as a SymPy expression in `symbol` (a real symbol ``x`` by default)."""
        import sympy

        from esntools.enclosures.expressions import parse_expression

        # Never sympify: it evaluates its argument as code, and the text may come from a file.
        expression = parse_expression(self.expression)
        return expression if symbol is None else expression.subs(sympy.Symbol("x", real=True), symbol)

    @classmethod
    def named(cls, name: str) -> Activation:
        """Return the built-in activation of that name.

        Raises
        ------
        InvalidInputError
            When there is none; the message has the nearest known name.
        """
        if name not in ACTIVATIONS:
            raise InvalidInputError(
                "activation", repr(name), "there is no built-in activation of that name",
                nearest_name(name, ACTIVATIONS) + " or use Activation.from_sympy",
            )  # fmt: skip
        return ACTIVATIONS[name]

    @classmethod
    def from_sympy(cls, expression: Any) -> Activation:
        r"""Return the activation that a SymPy expression in one real variable defines.

        An expression equal to a built-in one gives that built-in. The bounds are proved by ball arithmetic
        (`esntools.enclosures`); value and slope are NumPy functions that do not overflow.

        Parameters
        ----------
        expression : str or sympy.Expr
            Such as ``"tanh(2*x) + x/10"``; a text is parsed, never evaluated. Decimal literals stand for the
            exact decimal fraction; the canonical text, with fractions, is kept in `expression`.

        Raises
        ------
        InvalidInputError
            When it is not an expression.
        UnsupportedError
            When it is not continuous, not real, of several variables, or its slope is not bounded; the
            message has the reason.

        Examples
        --------
        >>> swish = Activation.from_sympy("x/(1 + exp(-x))")
        >>> [round(bound, 6) for bound in swish.slope_bounds]
        [-0.099839, 1.099839]
        >>> Activation.from_sympy("tanh(x)").name
        'tanh'
        >>> Activation.from_sympy("Piecewise((0, x < 0), (1, True))")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        esntools.errors.UnsupportedError: activation: Piecewise((0, x < 0), (1, True)) jumps by 1 ...
        """
        from esntools.enclosures.expressions import canonical_text, parse_expression

        text = canonical_text(expression)
        parsed = parse_expression(text)
        for builtin in ACTIVATIONS.values():
            if parse_expression(builtin.expression) == parsed:
                return builtin
        return _custom(text)


@functools.lru_cache(maxsize=64)
def _custom(text: str) -> Activation:
    """Return the activation of a canonical text; once made, the same one again."""
    from esntools.enclosures import bound_slope, bound_value
    from esntools.enclosures.evaluation import is_odd, numeric_functions

    slopes, values = bound_slope(text), bound_value(text)
    value, slope = numeric_functions(text)

    def slope_range(low: float, high: float) -> _Range:
        bound = bound_slope(text, low, high)
        return bound.lower, bound.upper

    return Activation(
        "custom", text, is_odd(text), (values.lower, values.upper), (slopes.lower, slopes.upper), -1,
        value, slope, slope_range,
    )  # fmt: skip


def _relu(z: FloatArray) -> FloatArray:
    return np.maximum(z, 0.0)


def _hard_tanh(z: FloatArray) -> FloatArray:
    return np.clip(z, -1.0, 1.0)


_INF: Final = math.inf

#: The built-in activations by name.
ACTIVATIONS: Final[dict[str, Activation]] = {
    a.name: a
    for a in (
        Activation(
            "tanh", "tanh(x)", True, (-1.0, 1.0), (0.0, 1.0), 0,
            np.tanh, _np_tanh_slope, _even_decreasing(_sech2, 1.0),
        ),
        Activation(
            "logistic", "1/(1 + exp(-x))", False, (0.0, 1.0), (0.0, 0.25), 1,
            _np_logistic, _np_logistic_slope, _even_decreasing(_logistic_slope, 0.25),
        ),
        Activation(
            "identity", "x", True, (-_INF, _INF), (1.0, 1.0), 2,
            lambda z: z.copy(), np.ones_like, _constant_range,
        ),
        Activation(
            "relu", "Max(0, x)", False, (0.0, _INF), (0.0, 1.0), 3,
            _relu, lambda z: np.where(z > 0.0, 1.0, 0.0), _relu_range,
        ),
        Activation(
            "hard_tanh", "Max(-1, Min(1, x))", True, (-1.0, 1.0), (0.0, 1.0), 4,
            _hard_tanh, lambda z: np.where((z > -1.0) & (z <= 1.0), 1.0, 0.0), _hard_tanh_range,
        ),
        Activation(
            "softsign", "x/(1 + Abs(x))", True, (-1.0, 1.0), (0.0, 1.0), 5,
            lambda z: z / (1.0 + np.abs(z)), _np_softsign_slope,
            _even_decreasing(_softsign_slope, 1.0),
        ),
        Activation(
            "erf", "erf(x)", True, (-1.0, 1.0), (0.0, _ERF_SUPREMUM), 6,
            _np_erf, _np_erf_slope, _even_decreasing(_erf_slope, _ERF_SUPREMUM),
        ),
        Activation(
            "sine", "sin(x)", True, (-1.0, 1.0), (-1.0, 1.0), 7,
            np.sin, np.cos, _sine_range,
        ),
    )
}  # fmt: skip
