"""The built-in activations: values, slopes, and slope ranges that enclose, judged at high precision."""

from __future__ import annotations

import copy
import math
import pickle

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esntools.activations import ACTIVATIONS, Activation
from esntools.errors import InvalidInputError

NAMES = sorted(ACTIVATIONS)
KINKS = {"relu": (0.0,), "hard_tanh": (-1.0, 1.0)}
GRID = np.concatenate([np.linspace(-30, 30, 241), [-1e-3, 1e-300, 5e-324, -1.0, 1.0, 700.0, -745.0]])

CONTEXT = mpmath.mp.clone()
CONTEXT.prec = 300

# Around and between every scale where float64 changes behaviour.
EDGES = [
    0.0, 5e-324, 2.2e-308, 1e-160, 1e-17, 0.5, 1.0, math.nextafter(1.0, 0.0), math.nextafter(1.0, 2.0),
    math.pi, math.pi / 2, 2 * math.pi, 18.7, 26.0, 26.9, 27.0, 27.1, 27.3, 28.0, 354.0, 360.0, 372.5, 373.0,
    708.4, 720.0, 745.1, 746.0, 1e6, 2.0**40, 1e15, 1e155, 1e200, 1.7e308, math.inf,
]  # fmt: skip
ends = st.one_of(
    st.sampled_from(EDGES + [-e for e in EDGES]),
    st.floats(allow_nan=False),
    st.floats(-40.0, 40.0),
    st.floats(-800.0, 800.0),
)


def value_mp(name: str, z: object) -> object:
    m = CONTEXT
    return {
        "tanh": lambda: m.tanh(z),
        "logistic": lambda: 1 / (1 + m.exp(-z)),
        "identity": lambda: z,
        "relu": lambda: max(z, m.mpf(0)),
        "hard_tanh": lambda: min(max(z, m.mpf(-1)), m.mpf(1)),
        "softsign": lambda: z / (1 + abs(z)),
        "erf": lambda: m.erf(z),
        "sine": lambda: m.sin(z),
    }[name]()


def slope_mp(name: str, z: object) -> object:
    """The slope from the left, in 300 bits."""
    m = CONTEXT
    return {
        "tanh": lambda: m.sech(z) ** 2,
        "logistic": lambda: m.exp(-abs(z)) / (1 + m.exp(-abs(z))) ** 2,
        "identity": lambda: m.mpf(1),
        "relu": lambda: m.mpf(z > 0),
        "hard_tanh": lambda: m.mpf(-1 < z <= 1),
        "softsign": lambda: 1 / (1 + abs(z)) ** 2,
        "erf": lambda: 2 / m.sqrt(m.pi) * m.exp(-z * z),
        "sine": lambda: m.cos(z),
    }[name]()


def probes(name: str, low: float, high: float) -> list[float]:
    """Points of [low, high] where a slope is extreme or an enclosure likely wrong."""
    a, b = max(low, -1.7e308), min(high, 1.7e308)
    points = [a, b, a / 2 + b / 2, 0.75 * a + 0.25 * b, *KINKS.get(name, ()), 0.0]
    for kink in KINKS.get(name, ()):
        points += [math.nextafter(kink, math.inf), math.nextafter(kink, -math.inf)]
    if name == "sine" and abs(a) < 1e15:
        points += [round(a / math.pi + k) * math.pi for k in range(4)]
    return [p for p in points if a <= p <= b]


@given(st.sampled_from(NAMES), ends, ends)
@settings(deadline=None, max_examples=1500)
@example("erf", 27.1, 27.1)
@example("erf", 25.0, 26.0)
@example("softsign", 1e200, 1.7e308)
@example("tanh", 360.0, 372.0)
@example("logistic", -745.0, -709.0)
@example("sine", math.pi, math.pi)
@example("sine", 1e12, 1e12 + 3)
@example("sine", -math.inf, math.inf)
@example("hard_tanh", -1.0, -1.0)
@example("relu", -0.0, 0.0)
def test_slope_range_encloses_the_slope_everywhere(name: str, one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    lowest, highest = Activation.named(name).slope_range(low, high)
    assert lowest <= highest
    for z in probes(name, low, high):
        slope = slope_mp(name, CONTEXT.mpf(z))
        # What 300 bits leave of rounding: it shows where the slope is a double up to 1e-90, as at 0.
        slack = abs(slope) * CONTEXT.mpf(2) ** -280
        assert CONTEXT.mpf(lowest) <= slope + slack, (z, slope)
        assert slope - slack <= CONTEXT.mpf(highest), (z, slope)


@given(st.sampled_from(["tanh", "logistic", "softsign", "erf"]), ends, ends)
@settings(deadline=None, max_examples=300)
def test_slope_range_is_tight(name: str, one: float, other: float) -> None:
    """No wider than the true range by more than 1e-10 of it (and 1e-320)."""
    low, high = min(one, other), max(one, other)
    lowest, highest = Activation.named(name).slope_range(low, high)
    far = CONTEXT.mpf(min(max(abs(low), abs(high)), 1.7e308))
    near = CONTEXT.mpf(0 if low <= 0 <= high else min(abs(low), abs(high), 1.7e308))
    least = 0 if math.inf in (-low, high) else slope_mp(name, far)
    most = slope_mp(name, near)
    assert least - CONTEXT.mpf(lowest) <= least * CONTEXT.mpf("1e-10") + CONTEXT.mpf("1e-320")
    assert CONTEXT.mpf(highest) - most <= most * CONTEXT.mpf("1e-10") + CONTEXT.mpf("1e-320")


def test_slope_range_of_sine_is_tight_where_it_is_monotone() -> None:
    low, high = Activation.named("sine").slope_range(0.5, 2.5)
    assert math.cos(2.5) - 1e-12 < low < math.cos(2.5) < math.cos(0.5) < high < math.cos(0.5) + 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_slope_range_at_a_kink_is_the_clarke_hull(name: str) -> None:
    for kink in KINKS.get(name, ()):
        assert Activation.named(name).slope_range(kink, kink) == (0.0, 1.0)
        below, above = math.nextafter(kink, -math.inf), math.nextafter(kink, math.inf)
        assert Activation.named(name).slope_range(below, below) in ((0.0, 0.0), (1.0, 1.0))
        assert Activation.named(name).slope_range(above, above) in ((0.0, 0.0), (1.0, 1.0))


@given(st.sampled_from(NAMES), ends, ends, ends, ends)
@settings(deadline=None, max_examples=300)
def test_slope_range_grows_with_the_interval(name: str, p: float, q: float, r: float, s: float) -> None:
    a, b, c, d = sorted((p, q, r, s))
    inner, outer = Activation.named(name).slope_range(b, c), Activation.named(name).slope_range(a, d)
    assert outer[0] <= inner[0]
    assert inner[1] <= outer[1]


@pytest.mark.parametrize("name", NAMES)
def test_slope_and_value_bounds_hold_on_the_whole_line(name: str) -> None:
    phi = Activation.named(name)
    assert phi.slope_range(-math.inf, math.inf) == phi.slope_bounds
    for z in GRID:
        slope, value = slope_mp(name, CONTEXT.mpf(z)), value_mp(name, CONTEXT.mpf(z))
        slack = CONTEXT.mpf(2) ** -280
        assert phi.slope_bounds[0] - slack <= slope <= phi.slope_bounds[1] + slack
        assert phi.value_bounds[0] - slack <= value <= phi.value_bounds[1] + slack
    assert phi.bounded == all(map(math.isfinite, phi.value_bounds))
    assert phi.monotone == (name != "sine")


def test_erf_supremum_is_above_the_true_one_by_two_ulp_at_most() -> None:
    bound = ACTIVATIONS["erf"].slope_bounds[1]
    true = 2 / CONTEXT.sqrt(CONTEXT.pi)
    assert true < CONTEXT.mpf(bound) < true + CONTEXT.mpf(2) ** -51


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.nan)])
def test_slope_range_refuses_an_empty_interval(low: float, high: float) -> None:
    with pytest.raises(InvalidInputError, match="low <= high"):
        Activation.named("tanh").slope_range(low, high)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_slopes_agree_with_300_bits(name: str) -> None:
    phi = Activation.named(name)
    for z in GRID:
        assert float(phi(np.float64(z))) == pytest.approx(float(value_mp(name, CONTEXT.mpf(z))), rel=4e-15)
        # cos(z) near its zeros is only as good as z.
        expected = pytest.approx(float(slope_mp(name, CONTEXT.mpf(z))), rel=2e-13, abs=1e-320)
        assert float(phi.slope(np.float64(z))) == expected


@pytest.mark.parametrize("name", NAMES)
def test_no_warning_and_no_nan_at_huge_arguments(name: str) -> None:
    z = np.array([-1e300, -1e155, 1e155, 1e300])
    phi = Activation.named(name)
    assert np.all(np.isfinite(phi(z)))
    assert np.all(np.isfinite(phi.slope(z)))


@pytest.mark.parametrize("name", NAMES)
def test_expression_is_the_function(name: str) -> None:
    phi = Activation.named(name)
    x = sympy.Symbol("x", real=True)
    expression = phi.to_sympy()
    for z in (-2.5, -0.75, 0.0, 0.3, 4.0):
        assert float(expression.subs(x, z)) == pytest.approx(float(phi(np.float64(z))), abs=1e-14)
    s = sympy.Symbol("s", real=True)
    assert phi.to_sympy(s).free_symbols == {s}


@pytest.mark.parametrize("name", NAMES)
def test_odd_is_what_it_says(name: str) -> None:
    phi = Activation.named(name)
    assert phi.odd == bool(np.all(phi(-GRID) == -phi(GRID)))


@pytest.mark.parametrize("name", NAMES)
def test_shape_is_kept_and_the_argument_is_not_changed(name: str) -> None:
    z = np.linspace(-2, 2, 12).reshape(3, 4)
    before = z.copy()
    phi = Activation.named(name)
    result = phi(z)
    result += 1.0
    assert result.shape == phi.slope(z).shape == (3, 4)
    np.testing.assert_array_equal(z, before)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_are_equal(name: str) -> None:
    phi = Activation.named(name)
    for twin in (copy.copy(phi), copy.deepcopy(phi), pickle.loads(pickle.dumps(phi))):
        assert twin == phi
        assert twin.slope_range(0.5, 1.0) == phi.slope_range(0.5, 1.0)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'logistic'"):
        Activation.named("logstic")
