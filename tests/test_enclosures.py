"""Rigorous bounds of expressions: known ranges, sampled slopes, refusals by name, and hostile texts."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools.activations import ACTIVATIONS, Activation
from esntools.enclosures import bound_slope, bound_value, enclose_at
from esntools.enclosures.expressions import canonical_text, parse_expression
from esntools.enclosures.intervals import Interval
from esntools.enclosures.tails import Tail
from esntools.errors import InvalidInputError, UnsupportedError

INF = math.inf

# SymPy writes sech for mpmath as complex exponentials, unless it is given.
MPMATH: Any = [{"sech": mpmath.sech}, "mpmath"]

# Slope ranges on the line, from calculus; the numbers with many digits from solving phi'' = 0 with mpmath.
SLOPES: dict[str, tuple[float, float]] = {
    "tanh(2*x) + x/10": (0.1, 2.1),
    "log(1 + exp(x))": (0.0, 1.0),
    "x/(1 + exp(-x))": (-0.0998393201, 1.0998393201),
    "x*(1 + erf(x/sqrt(2)))/2": (-0.1289041452, 1.1289041452),
    "exp(-x**2)": (-math.sqrt(2.0 / math.e), math.sqrt(2.0 / math.e)),
    "x/sqrt(1 + x**2)": (0.0, 1.0),
    "log(cosh(x))": (-1.0, 1.0),
    "atan(x)": (0.0, 1.0),
    "asinh(x)": (0.0, 1.0),
    "x*tanh(log(1 + exp(x)))": (-0.1125261227, 1.0884981608),
    "x*exp(-x**2)": (-2.0 * math.exp(-1.5), 1.0),
    "x + sin(x)/2": (0.5, 1.5),
    "Piecewise((x, x > 0), (exp(x) - 1, True))": (0.0, 1.0),
    "1 - exp(-exp(x))": (0.0, math.exp(-1.0)),
    "1/(1 + exp(-2*x))": (0.0, 0.5),
    "sqrt(1 + x**2)": (-1.0, 1.0),
    "1/cosh(x)": (-0.5, 0.5),
    "exp(-Abs(x))": (-1.0, 1.0),
    "x**3/(1 + x**2)": (0.0, 1.125),
    "Max(x/10, x)": (0.1, 1.0),
    "tanh(x/1000)": (0.0, 0.001),
    "2*atan(sinh(x))": (0.0, 2.0),
}


@pytest.mark.parametrize(("text", "known"), SLOPES.items())
def test_slope_range_holds_and_is_tight(text: str, known: tuple[float, float]) -> None:
    bound = bound_slope(text)
    assert bound.lower <= known[0] + 1e-10
    assert bound.upper >= known[1] - 1e-10
    assert (bound.lower, bound.upper) == pytest.approx(known, abs=1e-6)
    assert bound.excess <= 1e-6


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize(
    "interval", [(-INF, INF), (-0.7, 0.3), (1.1, 4.0), (2.0, INF), (-INF, -1.5), (0.25, 0.25)]
)
def test_builtin_slope_ranges(name: str, interval: tuple[float, float]) -> None:
    """The formulas of `activations` and the enclosures are two ways to the same range."""
    activation = ACTIVATIONS[name]
    bound = bound_slope(activation.expression, *interval)
    assert (bound.lower, bound.upper) == pytest.approx(activation.slope_range(*interval), abs=1e-6)


def test_a_monotone_activation_is_proved_monotone() -> None:
    """A lower bound of -1e-10 would lose every theorem for monotone activations."""
    for text in (
        "x/sqrt(1 + x**2)",
        "atan(x)",
        "asinh(x)",
        "log(1 + exp(x))",
        "2*x/(1 + Abs(2*x))",
        "x - tanh(x)",
    ):
        assert bound_slope(text).lower == 0.0, text


VALUES = {
    "exp(-x**2)": (0.0, 1.0),
    "x/(1 + exp(-x))": (-0.2784645428, INF),
    "x*(1 + erf(x/sqrt(2)))/2": (-0.1699712074, INF),
    "atan(x)": (-math.pi / 2, math.pi / 2),
    "x/sqrt(1 + x**2)": (-1.0, 1.0),
    "tanh(2*x) + x/10": (-INF, INF),
    "log(cosh(x))": (0.0, INF),
}


@pytest.mark.parametrize(("text", "known"), VALUES.items())
def test_value_range(text: str, known: tuple[float, float]) -> None:
    bound = bound_value(text)
    assert (bound.lower, bound.upper) == pytest.approx(known, abs=1e-6)
    assert bound.lower <= known[0] + 1e-10
    assert bound.upper >= known[1] - 1e-10


# -- soundness on random expressions ----------------------------------------------------------------------

_smooth = ["tanh({})", "sin({})", "cos({})", "atan({})", "erf({})", "exp(-({})**2)", "asinh({})",
           "1/(1 + exp({}))",
           "log(1 + ({})**2)", "sqrt(1 + ({})**2)", "sech({})", "({})/(1 + ({})**2)"]  # fmt: skip
_kinked = ["Abs({})", "Max(0, {})", "Min(1, {})"]


def _nest(templates: list[str]) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["x", "2*x", "x/3", "x + 1", "-x", "x - 1/7"])

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        one = st.tuples(st.sampled_from(templates), inner).map(lambda t: t[0].replace("{}", t[1]))
        two = st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
            lambda t: f"({t[0]}) {t[1]} ({t[2]})"
        )
        return st.one_of(one, two)

    return st.recursive(leaf, grow, max_leaves=4)


def _exact_slope(text: str) -> Callable[[float], mpmath.mpf]:
    x = sympy.Symbol("x", real=True)
    derivative = sympy.lambdify(x, parse_expression(text).diff(x), MPMATH)

    def slope(at: float) -> mpmath.mpf:
        with mpmath.workdps(40):
            return derivative(mpmath.mpf(at))

    return slope


@settings(deadline=None, max_examples=40)
@given(_nest(_smooth), st.floats(-40, 40), st.floats(0, 5), st.lists(st.floats(0, 1), min_size=3, max_size=6))
def test_sampled_slopes_lie_in_the_enclosure(
    text: str, low: float, width: float, shares: list[float]
) -> None:
    if "x" not in str(parse_expression_or_none(text)):
        return
    bound = bound_slope(text, low, low + width, tolerance=1e-3, budget=200)
    slope = _exact_slope(text)
    for share in shares:
        at = min(low + share * width, low + width)
        assert mpmath.mpf(bound.lower) - 1e-30 <= slope(at) <= mpmath.mpf(bound.upper) + 1e-30


@settings(deadline=None, max_examples=25)
@given(
    _nest(_smooth + _kinked),
    st.sampled_from([1.0, 3.0, 50.0]),
    st.lists(st.floats(0, 60), min_size=3, max_size=5),
)
def test_half_lines_hold_samples_by_finite_differences(text: str, start: float, steps: list[float]) -> None:
    if "x" not in str(parse_expression_or_none(text)):
        return
    try:
        bound = bound_slope(text, start, INF, tolerance=1e-2, budget=100)
    except UnsupportedError:
        return
    x = sympy.Symbol("x", real=True)
    value = sympy.lambdify(x, parse_expression(text), MPMATH)
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -20
        for step in steps:
            at = mpmath.mpf(start) + step + h
            # A secant slope lies between the extreme slopes, kinks or not.
            secant = (value(at + h) - value(at)) / h
            assert mpmath.mpf(bound.lower) - 1e-25 <= secant <= mpmath.mpf(bound.upper) + 1e-25


def parse_expression_or_none(text: str) -> Any:
    try:
        return parse_expression(text)
    except UnsupportedError:
        return None


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.sampled_from(["+", "-", "*"]))
def test_interval_arithmetic_contains_exact_results(a: float, b: float, op: str) -> None:
    p, q = Interval(a, a), Interval(b, b)
    result = {"+": p + q, "-": p - q, "*": p * q}[op]
    exact = {"+": Fraction(a) + Fraction(b), "-": Fraction(a) - Fraction(b), "*": Fraction(a) * Fraction(b)}[
        op
    ]
    assert Fraction(result.lo) <= exact <= Fraction(result.hi)


@given(
    st.floats(-30, 30),
    st.floats(0, 5),
    st.floats(0, 1),
    st.sampled_from(["sin", "cos", "tanh", "exp", "atan"]),
)
def test_elementary_functions_contain_mpmath(low: float, width: float, share: float, name: str) -> None:
    high = low + width
    at = min(max(low + share * width, low), high)
    box = getattr(Interval(low, high), name)()
    with mpmath.workdps(40):
        assert box.lo <= getattr(mpmath, name)(mpmath.mpf(at)) <= box.hi


@pytest.mark.parametrize("name", ["tanh", "sech", "cosh", "sinh", "atan", "asinh", "erf", "exp", "sin"])
@pytest.mark.parametrize("start", [1.5, 2.0, 7.5])
def test_tails_contain_their_function(name: str, start: float) -> None:
    x = Tail.variable(Fraction(start))
    inverse = x.power(Fraction(-1))
    for argument, f in ((x, lambda t: t), (inverse, lambda t: 1 / t), (-x, lambda t: -t)):
        box = getattr(argument, name)().range()
        for at in (start, start + 0.3, 3 * start, 11 * start):
            with mpmath.workdps(40):
                exact = getattr(mpmath, name)(f(mpmath.mpf(at)))
            assert box.lo <= exact <= box.hi


# -- refusals ---------------------------------------------------------------------------------------------

REFUSED = {
    "x**2": "unbounded as x tends to",
    "exp(x)": "unbounded as x tends to infinity",
    "x*log(1 + x**2)": "unbounded as x tends to",
    "sqrt(Abs(x))": "unbounded, undefined or beyond 1e308 near x = -4",
    "1/x": "near x =",
    "x/(x**2 - 2)": "near x = -1.41421",
    "sin(x**2)": "could not be bounded as x tends to",
    "log(x)": "not real",
    "sqrt(x)": "not real",
    "x**(1/3)": "not real",
    "Min(3, Max(1, sqrt(x)))": "not real",
    "sqrt(-1)*x": "real",
    "sign(x)": "sign is a step function",
    "Heaviside(x)": "Heaviside is a step function",
    "floor(x)": "floor is a step function",
    "Piecewise((0, x < 0), (1, True))": "jumps by 1 at x = 0",
    "Piecewise((x, x < 1), (x + Piecewise((0, x < 2), (1, True)), True))": "jumps by 1 at x = 2",
    "Piecewise((0, x < 0))": "every x must have a branch",
    "Piecewise((0, x**2 < 1), (1, True))": "compares x with a number",
    "x*y": "the variables x, y",
    "3": "no variable",
    "gamma(x)": "'gamma'",
    "tanhh(x)": "did you mean 'tanh'?",
    "x**x": "positive base",
    "9**9**9**9*x": "bits",
    "x**100000": "exponent",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_refusals_say_why(text: str, reason: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        Activation.from_sympy(text)
    assert reason in str(caught.value)


HOSTILE = [
    "__import__('os').system('touch "
    "hacked')", "x.__class__", "().__class__.__bases__", "exec('1')", "eval('x')",
    "(lambda: x)()", "[x for x in y]", "x if x else 1", "open('f')", "sympify('x')", "tanh(x=1)", "tanh(*x)",
    "x; "
    "x", "x = 1", "f'{x}'", "'x'", "x @ x", "x // 2", "x % 2", "x == 1", "~x", "not x", "_", "tanh", "1j*x",
    "1e400*x", "-" * 3000 + "x", "(" * 500 + "x" + ")" * 500, "", "x x", "tanh(x, x)", "Max()", "True + x",
    "Piecewise(x)", "Piecewise((x, x))", "walrus := x",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_refused_without_being_run(text: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InvalidInputError, UnsupportedError)) as caught:
        parse_expression(text)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_activation_from_a_file_cannot_run_code(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    evil = "__import__('pathlib').Path('hacked').touch()"
    forged = Activation(
        "custom", evil, False, (0.0, 1.0), (0.0, 1.0), -1, np.tanh, np.tanh, lambda low, high: (0.0, 1.0)
    )
    with pytest.raises(InvalidInputError):
        forged.to_sympy()
    with pytest.raises(InvalidInputError):
        Activation.from_sympy(evil)
    assert not (tmp_path / "hacked").exists()


# -- canonical text ---------------------------------------------------------------------------------------


def test_canonical_text_is_one_for_equal_inputs() -> None:
    q = sympy.Symbol("q")
    same = ["0.1*z + tanh(2.0*z)", "tanh(z*2) + z/10", 0.1 * q + sympy.tanh(2 * q)]
    assert {canonical_text(e) for e in same} == {"x/10 + tanh(2*x)"}


@pytest.mark.parametrize("text", SLOPES)
def test_canonical_text_reads_back(text: str) -> None:
    assert canonical_text(canonical_text(text)) == canonical_text(text)
    assert parse_expression(canonical_text(text)) == parse_expression(text)


# -- Activation.from_sympy --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_a_builtin_expression_gives_the_builtin(name: str) -> None:
    assert Activation.from_sympy(ACTIVATIONS[name].expression) is ACTIVATIONS[name]
    assert (
        Activation.from_sympy(ACTIVATIONS[name].to_sympy(sympy.Symbol("s", real=True))) is ACTIVATIONS[name]
    )


@pytest.mark.parametrize("text", SLOPES)
def test_values_and_slopes_agree_with_mpmath_and_stay_finite(text: str) -> None:
    activation = Activation.from_sympy(text)
    x = sympy.Symbol("x", real=True)
    points = np.array([-30.3, -3.1, -0.4, 0.3, 2.2, 17.9])
    value = sympy.lambdify(x, parse_expression(text), MPMATH)
    slope = _exact_slope(text)
    with mpmath.workdps(40):
        exact = np.array([float(value(mpmath.mpf(float(p)))) for p in points])
    np.testing.assert_allclose(activation(points), exact, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(
        activation.slope(points), [float(slope(p)) for p in points], rtol=1e-12, atol=1e-14
    )
    far = np.array([-1e5, -800.0, 800.0, 1e5])
    assert np.all(np.isfinite(activation(far)))
    slopes = activation.slope(far)
    assert np.all(
        (slopes >= activation.slope_bounds[0] - 1e-9) & (slopes <= activation.slope_bounds[1] + 1e-9)
    )
    assert activation.kernel_code == -1


def test_an_overflow_on_the_way_gives_no_infinite_value() -> None:
    # sinh overflows here, and 1/cosh, a subnormal number, does not make up for it.
    activation = Activation.from_sympy("sinh(x)/cosh(x)")
    np.testing.assert_allclose(activation(np.array([-720.0, -711.0, 711.0])), [-1.0, -1.0, 1.0], rtol=1e-12)
    steep = Activation.from_sympy("1e200*x")(np.array([1e200, 1.0]))
    assert np.array_equal(steep, [np.inf, 1e200])


@pytest.mark.parametrize(
    ("text", "odd"),
    [("tanh(2*x) + x/10", True), ("x/sqrt(1 + x**2)", True), ("exp(-x**2)", False),
     ("x/(1 + exp(-x))", False),
     ("1/(1 + exp(-x)) - 1/2", True), ("Max(-2, Min(2, x))", True), ("2*atan(sinh(x))", True)],
)  # fmt: skip
def test_oddness(text: str, odd: bool) -> None:
    assert Activation.from_sympy(text).odd is odd


def test_slope_at_a_kink_is_the_one_from_the_left() -> None:
    for text, at, slope in (
        ("Max(x/10, x)", 0.0, 0.1), ("Max(-1, Min(1, 2*x + 1))", -1.0, 0.0), ("exp(-Abs(x))", 0.0, 1.0),
        ("Piecewise((-1, x < -1), (x, x < 1), (1, True))", 1.0, 1.0),
        ("Piecewise((-1, x < -1), (x, x < 1), (1, True))", -1.0, 0.0),
    ):  # fmt: skip
        assert Activation.from_sympy(text).slope(np.array([at]))[0] == pytest.approx(slope, abs=1e-12), text
        low, high = enclose_at(text, at)[1]
        assert low <= slope <= high
        assert low < high


def test_shapes_and_constant_slopes() -> None:
    line = Activation.from_sympy("2*x")
    z = np.ones((3, 2))
    assert line.slope(z).tolist() == [[2.0, 2.0]] * 3
    assert line(z).shape == (3, 2)
    assert float(line(np.array(1.5))) == 3.0


def test_a_custom_activation_can_be_pickled_and_is_cached() -> None:
    swish = Activation.from_sympy("x/(1 + exp(-x))")
    assert Activation.from_sympy("x*(1 + exp(-x))**(-1)") is swish
    assert pickle.loads(pickle.dumps(swish)) == swish


def test_bad_intervals_are_misuse() -> None:
    for low, high in ((1.0, 0.0), (math.nan, 1.0), (INF, INF)):
        with pytest.raises(InvalidInputError, match="interval"):
            bound_slope("tanh(x)", low, high)


def test_no_activation_takes_long() -> None:
    from esntools.activations import _custom

    for text in ("x*(1 + erf(x/sqrt(2)))/2", "x/sqrt(1 + x**2)", "log(cosh(x))"):
        _custom.cache_clear()
        start = time.process_time()
        Activation.from_sympy(text)
        assert time.process_time() - start < 4.0, text
