"""An expression as a program that carries value, slope and curvature together over intervals or tails.

Forward differentiation: every operation maps enclosures of (f, f', f'') of its arguments to enclosures for
its result, so the slope is enclosed without any symbolic derivative. At a kink (Max, Min, Abs, a break of a
Piecewise) the slope is the hull of both sides, which contains Clarke's derivative, and the curvature is the
whole line.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from esntools.enclosures.intervals import WHOLE, Interval, NotReal
from esntools.enclosures.tails import Tail, TailUnknown
from esntools.errors import UnsupportedError

if TYPE_CHECKING:
    import sympy

__all__ = ["Jet", "Program"]

#: Enclosures of value, slope and curvature, either all `Interval` or all `Tail`.
Jet: TypeAlias = tuple[Any, Any, Any]

_TWO: Final = Fraction(2)


def _chain(f: tuple[Any, Any, Any], g: Jet) -> Jet:
    """Return the jet of f(g) from (f, f', f'') at g."""
    return f[0], f[1] * g[1], f[2] * g[1] * g[1] + f[1] * g[2]


def _product(f: Jet, g: Jet) -> Jet:
    cross = (f[1] * g[1]).scale(_TWO)
    return f[0] * g[0], f[0] * g[1] + f[1] * g[0], f[0] * g[2] + cross + f[2] * g[0]


def _sum(f: Jet, g: Jet) -> Jet:
    return f[0] + g[0], f[1] + g[1], f[2] + g[2]


def _negative(f: Jet) -> Jet:
    return -f[0], -f[1], -f[2]


def _either(value: Any, f: Jet, g: Jet) -> Jet:
    """Return the jet at a possible kink between f and g."""
    if isinstance(value, Tail):
        # No curvature is known across a kink; the hull of the slopes needs none.
        return value, f[1].hull(g[1]), _Unknown()
    return value, f[1].hull(g[1]), WHOLE


class _Unknown:
    """The curvature on a tail with kinks: any use of it is unknown too, and its range is the whole line."""

    def __mul__(self, other: Any) -> _Unknown:
        return self

    __rmul__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__

    def __neg__(self) -> _Unknown:
        return self

    def scale(self, factor: Fraction) -> _Unknown:
        return self

    def range(self) -> Interval:
        return WHOLE


@final
class Program:
    """A checked expression (see `esntools.enclosures.expressions.parse_expression`) compiled for enclosures.

    Parameters
    ----------
    expression : sympy.Expr
        In the one symbol ``x``.

    Raises
    ------
    UnsupportedError
        When a Piecewise jumps, or compares anything but x with a number.
    """

    def __init__(self, expression: sympy.Expr) -> None:
        self.expression = expression
        self.nodes: list[tuple[str, tuple[int, ...], Any]] = []
        self._index: dict[Any, int] = {}
        self.root = self._compile(expression)

    # -- compilation -------------------------------------------------------------------------------------

    def _emit(self, key: Any, op: str, args: tuple[int, ...] = (), data: Any = None) -> int:
        self.nodes.append((op, args, data))
        self._index[key] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def _compile(self, e: Any) -> int:
        import sympy

        if e in self._index:
            return self._index[e]
        if e.is_Symbol:
            return self._emit(e, "x")
        if e.is_Rational:
            return self._emit(e, "rational", data=Fraction(int(e.p), int(e.q)))
        if e is sympy.pi:
            return self._emit(e, "constant", data=Interval.pi())
        if e is sympy.E:
            return self._emit(e, "constant", data=Interval(1.0, 1.0).exp())
        if isinstance(e, sympy.Add | sympy.Mul):
            op = "add" if e.is_Add else "mul"
            return self._emit(e, op, tuple(self._compile(a) for a in e.args))
        if e.is_Pow:
            if e.exp.is_Rational:
                exponent = Fraction(int(e.exp.p), int(e.exp.q))
                return self._emit(e, "power", (self._compile(e.base),), exponent)
            if not e.base.is_positive:
                raise UnsupportedError(
                    "activation", f"the power {e}", "a variable or irrational exponent needs a positive base",
                    "write it as exp(exponent*log(base))",
                )  # fmt: skip
            return self._emit(e, "exp", (self._compile(e.exp * sympy.log(e.base)),))
        if isinstance(e, sympy.Max | sympy.Min):
            return self._emit(e, type(e).__name__, tuple(self._compile(a) for a in e.args))
        if isinstance(e, sympy.Piecewise):
            return self._compile_piecewise(e)
        if isinstance(e, sympy.erfc):
            return self._emit(e, "add", (self._compile(sympy.S.One), self._compile(-sympy.erf(e.args[0]))))
        return self._emit(e, type(e).__name__, (self._compile(e.args[0]),))

    def _compile_piecewise(self, e: Any) -> int:
        import sympy

        x = next(iter(self.expression.free_symbols))
        breaks = set()
        for _, condition in e.args:
            for relation in condition.atoms(sympy.core.relational.Relational):
                relation = relation.canonical
                if relation.lhs != x or relation.rhs.free_symbols:
                    raise UnsupportedError(
                        "activation", f"the condition {relation}",
                        "a Piecewise condition compares x with a number", "solve the inequality for x",
                    )  # fmt: skip
                breaks.add(relation.rhs)
        points = sorted(breaks)
        inner = [(a + b) / 2 for a, b in itertools.pairwise(points)]
        samples = [points[0] - 1, *inner, points[-1] + 1] if points else [sympy.S.Zero]

        def branch(at: Any) -> Any:
            for value, condition in e.args:
                holds = condition.subs(x, at)
                if holds == sympy.true:
                    return value
                if holds != sympy.false:
                    break
            raise UnsupportedError(
                "activation", f"{e} at x = {at}", "every x must have a branch",
                "end the Piecewise with (value, True)",
            )  # fmt: skip

        branches = [branch(sample) for sample in samples]
        for point, left, right in zip(points, branches, branches[1:]):
            here = branch(point).subs(x, point)
            for side in (left.subs(x, point), right.subs(x, point)):
                jump = sympy.simplify(side - here)
                if jump != 0:
                    raise UnsupportedError(
                        "activation", f"{e} jumps by {abs(jump)} at x = {point}",
                        "an activation must be continuous: a jump has no slope bound",
                        "make the branches meet",
                    )  # fmt: skip
        ends = tuple(self._number(point) for point in points)
        return self._emit(e, "pieces", tuple(self._compile(b) for b in branches), ends)

    def _number(self, point: Any) -> Interval:
        """Return an interval that holds a number given as an expression."""
        value: Interval = Program(point).jet(Interval(0.0, 0.0))[0]
        return value

    # -- evaluation --------------------------------------------------------------------------------------

    def jet(self, box: Interval) -> Jet:
        """Return enclosures of value, slope and curvature on a box.

        Raises
        ------
        NotReal
            When the expression is not real anywhere on the box.
        """
        return _Run(self, (box, Interval(1.0, 1.0), Interval(0.0, 0.0)), box, None).at(self.root)

    def tail(self, start: float, sign: int) -> tuple[Jet, tuple[Interval, Interval, Interval]]:
        """Return the jet on sign * [start, oo), start >= 1, and its ranges.

        Raises
        ------
        TailUnknown
            When it cannot be enclosed from this start on.
        """
        b = Fraction(start)
        x = Tail.variable(b)
        one, zero = Tail.rational_on(Fraction(1), b), Tail.rational_on(Fraction(0), b)
        box = Interval(start, float("inf")) if sign > 0 else Interval(-float("inf"), -start)
        jet = _Run(self, (x if sign > 0 else -x, one, zero), box, b).at(self.root)
        return jet, (jet[0].range(), jet[1].range(), _range_or_whole(jet[2]))


def _range_or_whole(value: Any) -> Interval:
    try:
        result: Interval = value.range()
    except TailUnknown:
        return WHOLE
    return result


class _Run:
    """One evaluation: lazily, because only the active branches of a Piecewise need be real."""

    def __init__(self, program: Program, x: Jet, box: Interval, start: Fraction | None) -> None:
        self.nodes = program.nodes
        self.x = x
        self.box = box
        self.start = start
        self.zero: Any = Interval(0.0, 0.0) if start is None else Tail.rational_on(Fraction(0), start)
        self.one: Any = Interval(1.0, 1.0) if start is None else Tail.rational_on(Fraction(1), start)
        self.known: dict[int, Jet] = {}

    def at(self, i: int) -> Jet:
        if i not in self.known:
            op, args, data = self.nodes[i]
            self.known[i] = getattr(self, f"do_{op}")(args, data)
        return self.known[i]

    def do_x(self, args: tuple[int, ...], data: Any) -> Jet:
        return self.x

    def do_rational(self, args: tuple[int, ...], data: Fraction) -> Jet:
        value = Interval.rational(data) if self.start is None else Tail.rational_on(data, self.start)
        return value, self.zero, self.zero

    def do_constant(self, args: tuple[int, ...], data: Interval) -> Jet:
        return (data if self.start is None else self.zero.constant(data)), self.zero, self.zero

    def do_add(self, args: tuple[int, ...], data: Any) -> Jet:
        result = self.at(args[0])
        for i in args[1:]:
            result = _sum(result, self.at(i))
        return result

    def do_mul(self, args: tuple[int, ...], data: Any) -> Jet:
        result = self.at(args[0])
        for i in args[1:]:
            result = _product(result, self.at(i))
        return result

    def do_power(self, args: tuple[int, ...], r: Fraction) -> Jet:
        g = self.at(args[0])
        second = (
            self.zero if r == 1 else g[0].power(r - 2).scale(r * (r - 1)) if r != 2 else self.one.scale(r)
        )
        return _chain((g[0].power(r), g[0].power(r - 1).scale(r), second), g)

    def do_exp(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        value = g[0].exp()
        return _chain((value, value, value), g)

    def do_log(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        return _chain((g[0].log(), g[0].power(Fraction(-1)), -g[0].power(Fraction(-2))), g)

    def do_sin(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        sine = g[0].sin()
        return _chain((sine, g[0].cos(), -sine), g)

    def do_cos(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        cosine = g[0].cos()
        return _chain((cosine, -g[0].sin(), -cosine), g)

    def do_sinh(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        sine = g[0].sinh()
        return _chain((sine, g[0].cosh(), sine), g)

    def do_cosh(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        cosine = g[0].cosh()
        return _chain((cosine, g[0].sinh(), cosine), g)

    def do_tanh(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        value, slope = g[0].tanh(), g[0].sech().power(_TWO)
        return _chain((value, slope, (value * slope).scale(-_TWO)), g)

    def do_sech(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        value, t = g[0].sech(), g[0].tanh()
        return _chain((value, -(value * t), value * (self.one - value.power(_TWO).scale(_TWO))), g)

    def do_atan(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        base = self.one + g[0].power(_TWO)
        second = (g[0] * base.power(-_TWO)).scale(-_TWO)
        return _chain((g[0].atan(), base.power(Fraction(-1)), second), g)

    def do_asinh(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        base = self.one + g[0].power(_TWO)
        second = -(g[0] * base.power(Fraction(-3, 2)))
        return _chain((g[0].asinh(), base.power(Fraction(-1, 2)), second), g)

    def do_erf(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        rate = Interval.pi().power(Fraction(-1, 2)).scale(_TWO)
        slope = (-g[0].power(_TWO)).exp() * (rate if self.start is None else self.zero.constant(rate))
        return _chain((g[0].erf(), slope, (g[0] * slope).scale(-_TWO)), g)

    def do_Abs(self, args: tuple[int, ...], data: Any) -> Jet:
        g = self.at(args[0])
        if g[0].positive:
            return g
        return _negative(g) if g[0].negative else _either(g[0].abs(), g, _negative(g))

    def do_Max(self, args: tuple[int, ...], data: Any) -> Jet:
        result = self.at(args[0])
        for i in args[1:]:
            other = self.at(i)
            difference = result[0] - other[0]
            if difference.negative:
                result = other
            elif not difference.positive:
                result = _either(result[0].larger(other[0]), result, other)
        return result

    def do_Min(self, args: tuple[int, ...], data: Any) -> Jet:
        result = _negative(self.at(args[0]))
        for i in args[1:]:
            other = _negative(self.at(i))
            difference = result[0] - other[0]
            if difference.negative:
                result = other
            elif not difference.positive:
                result = _either(result[0].larger(other[0]), result, other)
        return _negative(result)

    def do_pieces(self, args: tuple[int, ...], ends: tuple[Interval, ...]) -> Jet:
        active = [
            i
            for k, i in enumerate(args)
            if (k == 0 or ends[k - 1].lo <= self.box.hi) and (k == len(ends) or ends[k].hi >= self.box.lo)
        ]
        if len(active) == 1:
            return self.at(active[0])
        result: Jet | None = None
        for i in active:
            try:
                branch = self.at(i)
            except NotReal:
                # The branch may be defined where it is active; a smaller box will tell.
                branch = (self.zero.whole(), self.zero.whole(), self.zero.whole())
            result = branch if result is None else _either(result[0].hull(branch[0]), result, branch)
        assert result is not None
        return result
