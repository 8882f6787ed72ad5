r"""The bifurcation diagram of one neuron in closed form, derived by SymPy.

A fixed point :math:`x = \varphi(z)`, :math:`z = g w x + b`, is a number z, and along the branch the parameter
is an explicit function of z: for the bias :math:`b(z) = z - w\varphi(z)`, for the gain :math:`g(z) = (z -
b)/(w\varphi(z))`. Folds are where its derivative vanishes, flips where :math:`1 - a + a g w\varphi'(z) = -1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, final

import numpy as np
import scipy.optimize
import sympy
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.bifurcations.families import NetworkFamily
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.symbolic.radii import flip_biases, fold_biases
from esntools.symbolic.slopes import inverse_slope

__all__ = ["ClosedFormDiagram", "ClosedFormPoint", "one_neuron_diagram"]

ClosedKind: TypeAlias = Literal["fold", "pitchfork", "transcritical", "flip"]

_Z: Final = sympy.Symbol("z", real=True)
_W: Final = sympy.Symbol("w", real=True)
_A: Final = sympy.Symbol("a", positive=True)
_B: Final = sympy.Symbol("b", real=True)
_C: Final = sympy.Symbol("c", real=True)
_G: Final = sympy.Symbol("g", real=True)
_GRID: Final = 2001
_DIGITS: Final = 30


@final
@dataclass(frozen=True, eq=False)
class ClosedFormPoint:
    """A bifurcation of one neuron in closed form.

    Attributes
    ----------
    kind : {"fold", "pitchfork", "flip"}
    symbol : sympy.Expr or sympy.Eq
        The parameter in w (weight), b (bias) and a (leak rate); an equation in the parameter where it cannot
        be solved for it.
    value : float
        Its number, from 30 digits.
    x : float
    """

    kind: ClosedKind
    symbol: Any
    value: float
    x: float


@final
@dataclass(frozen=True, eq=False)
class ClosedFormDiagram:
    """The fixed points of one neuron against a parameter, and their bifurcations, from formulas.

    Attributes
    ----------
    parameter : str
    start, stop : float
    curve : sympy.Expr or sympy.Eq
        The parameter as a function of the preactivation z along the branch of fixed points; an equation for z
        where the parameter is the leak rate, on which fixed points do not depend.
    points : tuple of ClosedFormPoint
        By value.
    segments : tuple of (values, states, multipliers)
        The curve evaluated: arrays of one length each, connected within a segment.
    """

    parameter: str
    start: float
    stop: float
    curve: Any
    points: tuple[ClosedFormPoint, ...]
    segments: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]


def one_neuron_diagram(
    network: EchoStateNetwork,
    *,
    parameter: str = "gain",
    start: float,
    stop: float,
    direction: ArrayLike | None = None,
    u: ArrayLike | None = None,
) -> ClosedFormDiagram:
    r"""Return the bifurcation diagram of a network with one unit from closed forms.

    For tanh: pitchfork at :math:`g w = 1` without bias, folds at :math:`b = \pm(\operatorname{artanh} s - w
    s)`, :math:`s = \sqrt{1 - 1/w}`, flips at :math:`w(1 - x^2) = 1 - 2/a`.

    Parameters
    ----------
    network : EchoStateNetwork
        One unit; an affine feedback is absorbed into w.
    parameter, start, stop, direction, u
        As in `find_bifurcations`.

    Returns
    -------
    ClosedFormDiagram
        Folds and flips for tanh, logistic, erf, softsign and the arctangent; the curve for every activation.

    Raises
    ------
    InvalidInputError
        When the network has more units, or an argument is out of its range.

    Examples
    --------
    >>> one = EchoStateNetwork([[2.0]])
    >>> form = one_neuron_diagram(one, parameter="bias", start=-1.0, stop=1.0)
    >>> form.curve, form.points[0].symbol
    (-w*tanh(z) + z, -w*sqrt((w - 1)/w) + atanh(sqrt((w - 1)/w)))
    >>> [(p.kind, round(p.value, 10)) for p in form.points]
    [('fold', -0.5328399754), ('fold', 0.5328399754)]
    >>> one_neuron_diagram(one, start=0.0, stop=2.0).points[0].symbol
    1/w
    """
    if network.n_units != 1:
        raise InvalidInputError("network", f"{network.n_units} units", "closed forms are for one unit")
    if not (np.isfinite(start) and np.isfinite(stop)) or start == stop:
        raise InvalidInputError("start, stop", f"{start}, {stop}", "must be two different finite numbers")
    network = network.folded()
    family = NetworkFamily(network, parameter, direction, u)
    low, high = min(start, stop), max(start, stop)
    case = _OneNeuron(family.autonomous, parameter, float(family.shift[0]), low, high)
    points = sorted(case.points(), key=lambda p: (p.value, p.x))
    return ClosedFormDiagram(
        parameter, float(start), float(stop), case.curve, tuple(points), tuple(case.segments())
    )


class _OneNeuron:
    """One unit x = phi(g w x + b + c value) with its numbers, and the parameter between low and high."""

    def __init__(self, network: EchoStateNetwork, parameter: str, c: float, low: float, high: float) -> None:
        self.phi = network.activation
        self.parameter, self.low, self.high = parameter, low, high
        self.w, self.b = float(network.dense_W()[0, 0]), float(network.b[0])
        self.a, self.c = float(network.leak_rate[0]), c
        if self.w == 0.0:
            raise InvalidInputError("network", "W = 0", "without recurrence there is no bifurcation")
        self.value, self.slope = self.phi.to_sympy(_Z), self.phi.to_sympy(_Z).diff(_Z)
        # What is 0 or 1 is left out of the formulas.
        self.names = {
            _B: _B if self.b else sympy.Integer(0), _C: _C if c != 1.0 else sympy.Integer(1),
            _A: _A if self.a != 1.0 else sympy.Integer(1),
        }  # fmt: skip
        exact = {_W: self.w, _B: self.b, _A: self.a, _C: c}
        self.numbers = {symbol: sympy.Rational(number) for symbol, number in exact.items()}
        curves = {
            "gain": (_Z - _B) / (_W * self.value),
            "leak_rate": sympy.Eq(_Z, _W * self.value + _B),
        }
        self.curve = curves.get(parameter, (_Z - _W * self.value - _B) / _C).subs(self.names)

    def number(self, symbol: Any) -> float:
        return float(sympy.N(symbol.subs(self.numbers), _DIGITS))

    def inside(self, value: float) -> bool:
        return self.low <= value <= self.high

    # -- points ------------------------------------------------------------------------------------------

    def points(self) -> list[ClosedFormPoint]:
        if self.parameter == "gain":
            return self._trivial() + self._implicit()
        if self.parameter == "leak_rate":
            return self._leak()
        return self._explicit()

    def _explicit(self) -> list[ClosedFormPoint]:
        """Folds and flips as the bias or the input changes."""
        out = []
        flip = -(2 - self.names[_A]) / (self.names[_A] * _W)
        slopes: list[tuple[ClosedKind, Any]] = [("fold", 1 / _W), ("flip", flip)]
        for kind, slope in slopes:
            if not 0.0 < self.number(slope) < self.phi.slope_bounds[1]:
                continue
            for z, x in _critical_states(self.phi, slope):
                symbol = ((z - _W * x - _B) / _C).subs(self.names)
                value = self.number(symbol)
                if self.inside(value):
                    out.append(ClosedFormPoint(kind, symbol, value, self.number(x)))
        return out

    def _trivial(self) -> list[ClosedFormPoint]:
        """What happens to the state 0 of a unit without bias as the gain changes."""
        if not self._has_trivial():
            return []
        steepness = sympy.simplify(self.slope.subs(_Z, 0))
        crossing: ClosedKind = "pitchfork" if self.phi.odd else "transcritical"
        a = self.names[_A]
        out = []
        candidates: list[tuple[ClosedKind, Any]] = [
            (crossing, 1 / (_W * steepness)), ("flip", -(2 - a) / (a * _W * steepness)),
        ]  # fmt: skip
        for kind, symbol in candidates:
            value = self.number(symbol)
            if self.inside(value):
                out.append(ClosedFormPoint(kind, symbol, value, 0.0))
        return out

    def _has_trivial(self) -> bool:
        return self.b == 0.0 and float(self.phi(np.zeros(()))) == 0.0

    def _implicit(self) -> list[ClosedFormPoint]:
        """Folds and flips away from 0 as the gain changes: the fold and flip biases at g w equal b."""
        out = []
        a = self.names[_A]
        conditions: list[tuple[ClosedKind, Any, Any]] = [
            ("fold", self.value - (_Z - _B) * self.slope, fold_biases(self.phi, _G * _W)),
            ("flip", (_Z - _B) * self.slope + (2 - a) / a * self.value, flip_biases(self.phi, _G * _W, a)),
        ]  # fmt: skip
        for kind, condition, biases in conditions:
            if biases is None:
                continue
            f = condition.subs(self.names).subs(self.numbers)
            for z in self._roots(f):
                if abs(z) <= 1e-6 and self._has_trivial():
                    continue
                root = sympy.nsolve(f, _Z, z, prec=_DIGITS)
                g = sympy.N(self.curve.subs(self.numbers).subs(_Z, root), _DIGITS)
                if not self.inside(float(g)):
                    continue
                miss = [abs(complex(e.subs({_G: g}).subs(self.numbers)) - self.b) for e in biases]
                symbol = sympy.Eq(self.names[_B], biases[int(np.argmin(miss))])
                x = float(sympy.N(self.value.subs(_Z, root), _DIGITS))
                out.append(ClosedFormPoint(kind, symbol, float(g), x))
        return out

    def _leak(self) -> list[ClosedFormPoint]:
        out = []
        for z in self._states():
            symbol = 2 / (1 - _W * self.slope)
            at_zero = abs(z) <= 1e-12
            if at_zero:
                symbol = sympy.simplify(symbol.subs(_Z, 0))
            root = sympy.Integer(0) if at_zero else self._refined(z)
            value = float(sympy.N(symbol.subs(self.numbers).subs(_Z, root), _DIGITS))
            if self.inside(value):
                x = float(sympy.N(self.value.subs(_Z, root), _DIGITS))
                out.append(ClosedFormPoint("flip", symbol, value, x))
        return out

    # -- numbers -----------------------------------------------------------------------------------------

    def _reach(self) -> float:
        """Return the largest preactivation of a fixed point in the range."""
        gain = max(abs(self.low), abs(self.high)) if self.parameter == "gain" else 1.0
        largest = max(map(abs, self.phi.value_bounds))
        moved = (
            abs(self.c) * max(abs(self.low), abs(self.high)) if self.parameter in ("bias", "input") else 0.0
        )
        return gain * abs(self.w) * min(largest, 1e3) + abs(self.b) + moved + 1e-3

    def _grid(self) -> FloatArray:
        """Return preactivations, denser towards 0 (not in it): there a gain has its pole."""
        even = np.linspace(0.0, self._reach(), _GRID)[1:]
        half = np.union1d(np.geomspace(1e-7, self._reach(), _GRID // 2), even)
        return np.concatenate([-half[::-1], half])

    def _roots(self, f: Any) -> list[float]:
        function = sympy.lambdify(_Z, f, "numpy")
        grid = self._grid()
        values = np.broadcast_to(function(grid), grid.shape)
        change = np.flatnonzero(values[:-1] * values[1:] < 0.0)
        return [float(scipy.optimize.brentq(function, grid[i], grid[i + 1], xtol=1e-15)) for i in change]

    def _states(self) -> list[float]:
        equation = (_Z - _W * self.value - _B).subs(self.numbers)
        return self._roots(equation)

    def _refined(self, z: float) -> Any:
        return sympy.nsolve((_Z - _W * self.value - _B).subs(self.numbers), _Z, z, prec=_DIGITS)

    def segments(self) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
        """Return the curve as connected pieces of (value, x, multiplier)."""
        out = []
        across = np.linspace(self.low, self.high, 201)
        phi, a, w = self.phi, self.a, self.w
        if self.parameter == "leak_rate":
            for root in self._states():
                state, steep = phi(np.full(201, root)), float(phi.slope(np.array(root)))
                out.append((across, state, 1.0 - across + across * w * steep))
            return out
        z = self._grid()
        x, slope = phi(z), phi.slope(z)
        gain = np.ones_like(z)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.parameter == "gain":
                value = gain = (z - self.b) / (w * x)
            else:
                value = (z - w * x - self.b) / self.c
        if self.parameter == "gain" and self._has_trivial():
            steepness = float(phi.slope(np.zeros(())))
            out.append((across, np.zeros(201), 1.0 - a + a * across * w * steepness))
        keep = np.isfinite(value) & (value >= self.low) & (value <= self.high)
        multiplier = 1.0 - a + a * gain * w * slope
        for part in np.split(np.arange(len(z)), np.flatnonzero(np.diff(keep.astype(int))) + 1):
            if len(part) > 1 and keep[part[0]]:
                out.append((value[part], x[part], multiplier[part]))
        return out


def _critical_states(activation: Any, slope: Any) -> list[tuple[Any, Any]]:
    """Return (z, phi(z)) wherever phi'(z) equals `slope`, the state first for tanh and the logistic function.

    Their slopes are polynomials in the state, which SymPy solves.
    """
    t = sympy.Symbol("t", real=True)
    if activation.name in ("tanh", "logistic"):
        tanh = activation.name == "tanh"
        states = sympy.solve((1 - t**2 if tanh else t * (1 - t)) - slope, t)
        return [(sympy.atanh(x) if tanh else sympy.log(x / (1 - x)), x) for x in states]
    z = inverse_slope(activation, slope)
    return [] if z is None else [(s * z, activation.to_sympy(s * z)) for s in (-1, 1)]
