"""Every closed form against the numbers: conditions, critical gains, slopes of 17 activations, radii."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import sympy
from matplotlib.mathtext import MathTextParser
from naive_symbolic import (
    count_fixed_points,
    ellipse_reach,
    frequency_critical_gain,
    frequency_gain,
    spectral_radius,
    vertex_jacobians,
)

from esntools.activations import Activation
from esntools.certificates.norms import diagonal_schur
from esntools.certificates.scaling import optimal_lurie
from esntools.certificates.sectors import Sector
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.network import EchoStateNetwork, Readout
from esntools.symbolic import closed_forms, critical_gains, derive, norms
from esntools.symbolic.closed_forms import HIGH, IM, LOW, RE, SIZE, A
from esntools.symbolic.conditions import CONDITIONS, condition, condition_formulas, condition_lines
from esntools.symbolic.matrix_calculus import evaluate
from esntools.symbolic.pages import plain
from esntools.symbolic.radii import (
    flip_biases,
    fold_biases,
    large_input,
    small_input,
    small_input_radius,
)
from esntools.symbolic.slopes import curvature_extrema, inverse_slope, remainder_constant, slope_extrema

# -- the rungs' inequalities ------------------------------------------------------------------------------


def numbers(n: int = 3, p: int = 2, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    P = rng.normal(size=(n, n))
    V, a, low, high = (
        rng.normal(size=(n, n)),
        rng.uniform(0.1, 1.0),
        rng.uniform(-0.5, 0.2),
        rng.uniform(0.5, 2.0),
    )
    values: dict[str, Any] = {
        "P": P + P.T, "V": V, "W": V, "Q": rng.normal(size=(n, n)), "a": a, "l": low, "L": high,
        "L_2": rng.uniform(0.5, 2.0),
        "r": rng.uniform(0.5, 1.0), "W_fb": rng.normal(size=(n, p)), "W_out": rng.normal(size=(p, n)),
        "x": rng.uniform(0.5, 2.0, (n, 1)), "y": rng.uniform(0.5, 2.0, (n, 1)),
        "t": rng.uniform(0.5, 2.0, (p, 1)),
        "F": (1.0 - a) * np.eye(n), "B": 0.5 * a * (high - low) * np.eye(n),
    }  # fmt: skip
    return values


def quadratic(S: Any, q: Any) -> float:
    return float(q @ S @ q)


@pytest.mark.parametrize("seed", range(4))
def test_lurie_matrix_is_the_decrease_of_the_norm(seed: int) -> None:
    """q'Sq = r^2 d'Pd - d_+'P d_+ - (d'V'XVd - w'Xw) for every d and every w."""
    v, rng = numbers(seed=seed), np.random.default_rng(seed + 100)
    v["F"] = (1.0 - v["a"]) * np.eye(3) + 0.5 * v["a"] * (v["l"] + v["L"]) * v["V"]
    S = evaluate(condition("incremental-lurie").inequality, v, {})
    d, w = rng.normal(size=3), rng.normal(size=3)
    step, X = v["F"] @ d + v["B"] @ w, v["x"][:, 0]
    expected = v["r"] ** 2 * d @ v["P"] @ d - step @ v["P"] @ step - X @ (v["V"] @ d) ** 2 + X @ w**2
    assert quadratic(S, np.concatenate([d, w])) == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(S, S.T, atol=1e-12)
    # With w = E V d, |E| <= 1, the step is that of a slope pattern within [l, L].
    E = rng.uniform(-1.0, 1.0, 3)
    slopes = 0.5 * (v["l"] + v["L"]) + 0.5 * (v["L"] - v["l"]) * E
    pattern = (1.0 - v["a"]) * d + v["a"] * slopes * (v["V"] @ d)
    np.testing.assert_allclose(v["F"] @ d + v["B"] @ (E * (v["V"] @ d)), pattern, rtol=1e-12)


def test_abbreviations_of_the_lurie_matrix_expand_to_the_slopes() -> None:
    definitions = condition("incremental-lurie").definitions
    assert {str(k): str(v) for k, v in definitions.items()} == {
        "F": "a*(L/2 + l/2)*V + (1 - a)*I", "B": "a*(L - l)/2*I",
    } or {str(k) for k in definitions} == {"F", "B"}  # fmt: skip
    v = numbers()
    for symbol, expression in definitions.items():
        expected = {
            "F": (1.0 - v["a"]) * np.eye(3) + 0.5 * v["a"] * (v["l"] + v["L"]) * v["V"],
            "B": 0.5 * v["a"] * (v["L"] - v["l"]) * np.eye(3),
        }[str(symbol)]
        np.testing.assert_allclose(
            evaluate(expression, v | {"x": np.zeros((3, 1))}, {}), expected, rtol=1e-12
        )


@pytest.mark.parametrize("seed", range(4))
def test_multiplier_matrix_is_the_decrease_of_the_norm(seed: int) -> None:
    v, rng = numbers(seed=seed), np.random.default_rng(seed + 100)
    S = evaluate(condition("zero-input-multipliers").inequality, v, {})
    x, w = rng.normal(size=3), rng.normal(size=3)
    step, y = v["F"] @ x + v["a"] * w, v["V"] @ x - w / v["L"]
    expected = v["r"] ** 2 * x @ v["P"] @ x - step @ v["P"] @ step - 2.0 * w @ v["Q"] @ y
    assert quadratic(S, np.concatenate([x, w])) == pytest.approx(expected, rel=1e-9)


def test_doubly_dominant_multipliers_meet_odd_monotone_functions() -> None:
    """w'Qy >= 0 for w = phi(z), y = z - w/L; for other functions, or a bias, it can be negative."""
    rng = np.random.default_rng(0)
    least, biased = np.inf, np.inf
    for _ in range(300):
        Q = rng.normal(size=(4, 4))
        size = np.abs(Q - np.diag(np.diag(Q)))
        Q[np.diag_indices(4)] = np.maximum(size.sum(axis=0), size.sum(axis=1))
        z = 3.0 * rng.normal(size=4)
        w = np.tanh(z)
        least = min(least, w @ Q @ (z - w))
        shifted = np.tanh(z + 1.0) - math.tanh(1.0)
        biased = min(biased, shifted @ Q @ (z - shifted))
    assert least >= -1e-12
    assert biased < -1e-3


@pytest.mark.parametrize("seed", range(4))
def test_output_feedback_matrix_is_the_decrease_of_the_norm(seed: int) -> None:
    v, rng = numbers(seed=seed), np.random.default_rng(seed + 100)
    S = evaluate(condition("output-feedback").inequality, v, {})
    d, w, o = rng.normal(size=3), rng.normal(size=3), rng.normal(size=2)
    step = v["F"] @ d + v["a"] * w
    inner, outer = v["W"] @ d + v["W_fb"] @ o - w / v["L"], v["W_out"] @ d - o / v["L_2"]
    expected = (
        v["r"] ** 2 * d @ v["P"] @ d - step @ v["P"] @ step
        - 2.0 * (w * v["x"][:, 0]) @ inner - 2.0 * (o * v["t"][:, 0]) @ outer
    )  # fmt: skip
    assert quadratic(S, np.concatenate([d, w, o])) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_diagonal_schur_and_vertex_matrices(seed: int) -> None:
    v, rng = numbers(seed=seed), np.random.default_rng(seed + 100)
    S = evaluate(condition("diagonal-schur").inequality, v, {})
    y = v["y"][:, 0]
    expected = (
        np.diag(y * (v["r"] ** 2 - 1.0 + v["a"])) - v["a"] * v["L"] ** 2 * v["V"].T @ np.diag(y) @ v["V"]
    )
    np.testing.assert_allclose(S, expected, rtol=1e-12, atol=1e-12)
    # Convexity: the decrease is at least d'Sd for every slope pattern of size L.
    d, D = rng.normal(size=3), rng.uniform(-v["L"], v["L"], 3)
    step = (1.0 - v["a"]) * d + v["a"] * D * (v["V"] @ d)
    assert v["r"] ** 2 * y @ d**2 - y @ step**2 >= d @ S @ d - 1e-12
    J = rng.normal(size=(3, 3))
    vertex = evaluate(condition("common-quadratic").inequality, v | {"J": J}, {})
    np.testing.assert_allclose(vertex, v["r"] ** 2 * v["P"] - J.T @ v["P"] @ J, rtol=1e-12, atol=1e-12)


def test_conditions_are_drawn_and_written() -> None:
    parser: Any = MathTextParser("path")
    for name in CONDITIONS:
        found = condition(name)
        for formula in condition_formulas(found):
            assert float(parser.parse(f"${formula}$").width) > 0.0
        for text in (*condition_lines(found), plain(found.hypotheses), plain(found.proof)):
            assert not re.search(r"[\\$_]\{|\\|\$|\*\*", text)


def test_every_condition_says_where_it_comes_from() -> None:
    for name in CONDITIONS:
        found = condition(name)
        assert found.name == name
        assert found.proof
        assert found.hypotheses
        assert found.source.startswith(("doi:", "H. Jaeger", "FORMAT.md"))
    bound = condition("norms").inequality
    a, L, nu = sorted(bound.free_symbols, key=str)[1], *sorted(bound.free_symbols, key=str)[::2]
    assert sympy.solve(sympy.Eq(bound.lhs, 1), nu) == [1 / L]
    assert str(a) == "a"


# -- the ellipse ------------------------------------------------------------------------------------------


def test_the_circle_is_the_image_of_the_unit_circle() -> None:
    centre, radius = closed_forms.pulling_circle()
    for a in (0.05, 0.3, 0.9, 1.0):
        z = np.exp(1j * np.linspace(0.0, 6.3, 50))
        distance = np.abs(1.0 / (z - (1.0 - a)) - float(centre.subs(A, a)))
        np.testing.assert_allclose(distance, float(radius.subs(A, a)), rtol=1e-9)


def test_the_ellipse_and_its_limits() -> None:
    general = closed_forms.ellipse()
    assert closed_forms.ellipse("none") == sympy.StrictLessThan(sympy.sqrt(RE**2 + IM**2), 1 / HIGH)
    parabola = closed_forms.ellipse("slow")
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 1.5, 2000), rng.uniform(-2.5, 2.5, 2000)
    slow = sympy.lambdify((RE, IM), general.subs({A: 1e-9, HIGH: 1}), "numpy")(x, y)
    np.testing.assert_array_equal(slow, sympy.lambdify((RE, IM), parabola, "numpy")(x, y))
    assert 0 < np.sum(slow) < 2000
    # Gains of points lie on the boundary.
    for a in (0.1, 0.5, 1.0):
        point = {RE: -0.4, SIZE: 0.9}
        g = float(closed_forms.ellipse_gain().subs(point | {A: a, HIGH: 0.7}))
        w = {RE: -0.4 * g, IM: g * math.sqrt(0.81 - 0.16)}
        left = float(general.lhs.subs(w | {A: a, HIGH: 0.7}))
        assert left == pytest.approx(float(general.rhs.subs({A: a, HIGH: 0.7})), rel=1e-12)


@pytest.mark.parametrize("a", [1.0, 0.3, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_the_ellipse_is_the_small_gain_condition(a: float, seed: int) -> None:
    """Theorem A with S = I: the numerical range in the ellipse and the frequency response below 1 agree."""
    V = np.random.default_rng(seed).normal(size=(4, 4))
    assert (2.0 - a) / ellipse_reach(V, a) == pytest.approx(frequency_critical_gain(V, a, 0.0, 1.0), rel=2e-4)


def normal_matrix(rng: np.random.Generator, n: int = 5) -> Any:
    blocks = np.zeros((n, n))
    for k in range(0, n - 1, 2):
        x, y = rng.normal(size=2)
        blocks[k : k + 2, k : k + 2] = [[x, -y], [y, x]]
    blocks[n - 1, n - 1] = rng.normal()
    Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return Q @ blocks @ Q.T


@pytest.mark.parametrize("slopes", [(0.0, 1.0), (-0.3, 1.1), (0.2, 0.9), (-1.0, 1.0), (0.0, 0.25)])
@pytest.mark.parametrize("a", [1.0, 0.4, 0.1])
def test_normal_matrices_from_their_eigenvalues(slopes: tuple[float, float], a: float) -> None:
    low, high = slopes
    for seed in range(2):
        V = normal_matrix(np.random.default_rng(seed))
        form = closed_forms.normal_gain().subs({A: a, LOW: low, HIGH: high})
        gains = [float(form.subs({RE: v.real, SIZE: abs(v)})) for v in np.linalg.eigvals(V)]
        assert min(gains) == pytest.approx(frequency_critical_gain(V, a, low, high), rel=2e-4)


def by_name(network: EchoStateNetwork) -> dict[str, closed_forms.CriticalGain]:
    return {form.name: form for form in critical_gains(network)}


@pytest.mark.parametrize(("a", "limit"), [(0.1, 1.9), (0.3, 1.7)])
def test_the_skew_pair(a: float, limit: float) -> None:
    """1.89 proved and 1.91 not at a = 0.1; the origin is unstable above sqrt(19)."""
    skew = np.array([[0.0, -1.0], [1.0, 0.0]])
    forms = by_name(EchoStateNetwork(skew, leak_rate=a))
    assert forms["ellipse, normal matrix"].value == pytest.approx(limit, rel=1e-12)
    assert forms["two neurons, ellipse"].value == pytest.approx(limit, rel=1e-12)
    assert forms["ellipse, normal matrix"].says == "proved below"
    assert (
        frequency_gain((limit - 0.01) * skew, a, 0.0, 1.0)
        < 1.0
        < frequency_gain((limit + 0.01) * skew, a, 0.0, 1.0)
    )
    assert forms["origin"].value == pytest.approx(math.sqrt((2.0 - a) / a), rel=1e-12)
    for factor, unstable in ((0.999, False), (1.001, True)):
        J = (1.0 - a) * np.eye(2) + a * factor * forms["origin"].value * skew
        assert (spectral_radius(J) > 1.0) is unstable
    exact = sympy.simplify(
        closed_forms.origin_gain().subs({A: sympy.Rational(1, 10), HIGH: 1, RE: 0, SIZE: 1})
    )
    assert exact == sympy.sqrt(19)


@pytest.mark.parametrize("a", [1.0, 0.3, 0.1])
def test_where_the_ellipse_is_exact(a: float) -> None:
    """Symmetric matrices, normal ones without leak, nonnegative ones: proved up to the instability of 0."""
    rng = np.random.default_rng(1)
    M = rng.normal(size=(5, 5))
    forms = by_name(EchoStateNetwork(M + M.T, leak_rate=a))
    assert forms["ellipse, normal matrix"].says == "exact"
    forms = by_name(EchoStateNetwork(np.abs(M), leak_rate=a))
    assert forms["nonnegative matrix"].says == "exact"
    Q = np.linalg.qr(M)[0]
    spiral = Q[:, :3] @ np.array([[0.2, -1.0, 0.0], [1.0, 0.2, 0.0], [0.0, 0.0, -0.3]]) @ Q[:, :3].T
    forms = by_name(EchoStateNetwork(spiral, leak_rate=a))
    assert forms["ellipse, normal matrix"].says == ("exact" if a == 1.0 else "proved below")
    assert forms["ellipse, normal matrix"].value <= forms["origin"].value * (1.0 + 1e-12)


@pytest.mark.parametrize("a", [1.0, 0.5, 0.1])
def test_one_neuron_is_decided(a: float) -> None:
    low, high = (float(end.subs({A: a, HIGH: 1.0})) for end in closed_forms.one_neuron_interval())
    assert (low, high) == pytest.approx((-(2.0 - a) / a, 1.0))
    for w in (low, high):
        form = by_name(EchoStateNetwork([[w]], leak_rate=a))["one neuron"]
        assert (form.says, form.value) == ("exact", pytest.approx(1.0))
        for d in np.linspace(0.0, 1.0, 11):
            assert abs(1.0 - a + a * d * 0.999 * w) < 1.0
        # Just outside, the unit without bias leaves 0.
        network = EchoStateNetwork([[1.05 * w]], leak_rate=a)
        x = np.array([1e-6])
        for _ in range(4000):
            x = network.step(x, np.zeros(0))
        assert abs(w * x[0]) > 0.1


@pytest.mark.parametrize("seed", range(12))
def test_two_neurons_after_the_best_scaling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    V, a = rng.normal(size=(2, 2)), [1.0, 0.5, 0.2][seed % 3]
    if seed % 2:
        # Large diagonals of opposite signs: the ends of the axis decide.
        V[0, 0], V[1, 1] = 2.0 + rng.random(), -2.0 - rng.random()
    forms = by_name(EchoStateNetwork(V, leak_rate=a))
    assert forms["two neurons, diagonal Schur"].value == pytest.approx(
        1.0 / norms.diagonal_scaling(V)[0], rel=1e-5
    )
    reaches = []
    for t in np.exp(np.linspace(-3.0, 3.0, 41)) * math.sqrt(abs(V[0, 1] / V[1, 0])):
        reaches.append(ellipse_reach(np.array([[V[0, 0], V[0, 1] / t], [V[1, 0] * t, V[1, 1]]]), a, 400))
    assert int(np.argmin(reaches)) == 20
    best = math.sqrt(abs(V[0, 1] / V[1, 0]))
    fine = ellipse_reach(np.array([[V[0, 0], V[0, 1] / best], [V[1, 0] * best, V[1, 1]]]), a, 6000)
    assert forms["two neurons, ellipse"].value == pytest.approx((2.0 - a) / fine, rel=1e-5)
    if V[0, 1] * V[1, 0] > 0.0:
        assert forms["two neurons, ellipse"].says == "exact"


@pytest.mark.parametrize("seed", range(6))
def test_the_solvers_agree_with_two_neurons(seed: int) -> None:
    """The best multipliers that a search finds, and its dual bound, enclose the closed form."""
    rng = np.random.default_rng(seed)
    V, a = rng.normal(size=(2, 2)), [1.0, 0.5, 0.2][seed % 3]
    forms = by_name(EchoStateNetwork(V, leak_rate=a))
    sector = Sector(V, np.full(2, a), np.zeros(2), np.ones(2))
    bound = optimal_lurie(sector, optimise=True).bound
    exact = forms["two neurons, ellipse"].value
    assert bound.critical_gain is not None
    assert bound.dual is not None
    assert exact * (1.0 - 5e-3) <= bound.critical_gain <= exact * (1.0 + 1e-9)
    assert exact <= bound.dual * (1.0 + 1e-9)
    schur = diagonal_schur(sector, optimise=True).bound.critical_gain
    assert schur == pytest.approx(forms["two neurons, diagonal Schur"].value, rel=5e-3)


@pytest.mark.parametrize(("a", "limit"), [(0.1, 1.9), (0.3, 1.7)])
def test_the_solvers_agree_on_the_skew_pair(a: float, limit: float) -> None:
    for c, proved in ((limit - 0.01, True), (limit + 0.01, False)):
        sector = Sector(np.array([[0.0, -c], [c, 0.0]]), np.full(2, a), np.zeros(2), np.ones(2))
        assert (optimal_lurie(sector).candidate is not None) is proved


def test_where_no_closed_form_applies() -> None:
    own = EchoStateNetwork(np.eye(2), leak_rate=[0.5, 1.0])
    squares = EchoStateNetwork(
        np.eye(1), W_fb=[[1.0]], readout=Readout([[1.0]], [[1.0]], [0.0])
    )  # fmt: skip
    assert critical_gains(own) == critical_gains(squares) == ()
    assert critical_gains(EchoStateNetwork(np.zeros((2, 2)))) == ()
    # The logistic function is not 0 at 0, so the state 0 is none of its fixed points.
    assert "origin" not in by_name(EchoStateNetwork([[1.0]], activation="logistic"))
    folded = by_name(
        EchoStateNetwork([[0.2]], W_fb=[[0.5]], readout=Readout([[1.0]], None, [0.0]), leak_rate=0.5)
    )
    assert folded["one neuron"].value == pytest.approx(1.0 / 0.7)


def test_the_derivation_shows_them() -> None:
    derivation = derive(EchoStateNetwork([[0.0, -1.2], [1.2, 0.0]], leak_rate=0.1))
    assert not derivation.proved
    text = " ".join(derivation.text().split())
    assert "ellipse, normal matrix: g V contracts for any input if g < 1.58333" in text
    assert "the closed form of ellipse, normal matrix does" in text
    assert "state 0 is unstable" in " ".join(derive(EchoStateNetwork([[1.5]])).text().split())
    assert (
        "state 0 is unstable at zero input: it fails" not in derive(EchoStateNetwork([[1.5]], b=[1.0])).text()
    )


# -- slopes of seventeen activations ----------------------------------------------------------------------

e = sympy.E
SEVENTEEN: dict[str, tuple[Any, Any] | None] = {
    "tanh(x)": (0, 1), "1/(1 + exp(-x))": (0, sympy.Rational(1, 4)), "erf(x)": (0, 2 / sympy.sqrt(sympy.pi)),
    "atan(x)": (0, 1), "sin(x)": (-1, 1), "x/sqrt(1 + x**2)": (0, 1), "log(1 + exp(x))": (0, 1),
    "exp(-x**2)": (-sympy.sqrt(2 / e), sympy.sqrt(2 / e)), "x/(1 + Abs(x))": (0, 1), "Max(0, x)": (0, 1),
    "Max(-1, Min(1, x))": (0, 1), "x*exp(-x**2)": (-2 * e ** sympy.Rational(-3, 2), 1),
    "tanh(2*x) + x/10": (sympy.Rational(1, 10), sympy.Rational(21, 10)),
    "Piecewise((x, x > 0), (exp(x) - 1, True))": (0, 1),
    "x*(1 + erf(x/sqrt(2)))/2": (
        sympy.S.Half - sympy.erf(1) / 2 - 1 / (e * sympy.sqrt(sympy.pi)),
        sympy.S.Half + sympy.erf(1) / 2 + 1 / (e * sympy.sqrt(sympy.pi)),
    ),
    # Transcendental stationary points: ball arithmetic alone.
    "x/(1 + exp(-x))": None, "x*tanh(log(1 + exp(x)))": None,
}  # fmt: skip


@pytest.mark.parametrize("text", SEVENTEEN)
def test_slope_range_of(text: str) -> None:
    activation = Activation.from_sympy(text)
    found = slope_extrema(activation)
    z = np.concatenate([np.linspace(-30.0, 30.0, 40_001), [0.0]])
    slopes = activation.slope(z)
    assert found.lower <= slopes.min()
    assert slopes.max() <= found.upper
    assert slopes.min() - found.lower < 2e-3
    assert found.upper - slopes.max() < 2e-3
    known = SEVENTEEN[text]
    if known is None:
        assert found.lower_symbol is found.upper_symbol is found.largest_symbol is None
        return
    assert sympy.simplify(found.lower_symbol - known[0]) == 0
    assert sympy.simplify(found.upper_symbol - known[1]) == 0
    assert found.lower <= float(found.lower_symbol) + 1e-15
    assert float(found.upper_symbol) - 1e-15 <= found.upper


CURVATURES = {
    "tanh(x)": 4 / (3 * sympy.sqrt(3)), "1/(1 + exp(-x))": 1 / (6 * sympy.sqrt(3)),
    "erf(x)": 2 * sympy.sqrt(2 / (sympy.pi * e)), "x/(1 + Abs(x))": 2, "sin(x)": 1,
    "atan(x)": 3 * sympy.sqrt(3) / 8, "x": 0, "x/sqrt(1 + x**2)": 48 / (25 * sympy.sqrt(5)),
    "tanh(2*x) + x/10": 16 / (3 * sympy.sqrt(3)),
}  # fmt: skip


@pytest.mark.parametrize("text", CURVATURES)
def test_the_slopes_lipschitz_constant(text: str) -> None:
    activation = Activation.from_sympy(text)
    found = curvature_extrema(activation)
    assert sympy.simplify(found.largest_symbol - CURVATURES[text]) == 0
    rng = np.random.default_rng(0)
    y, z = rng.uniform(-6.0, 6.0, (2, 20_000))
    # Near the steepest point, and anywhere.
    y, z = np.concatenate([y, y]), np.concatenate([z, y + 1e-3 * z])
    changes = np.abs(activation.slope(y) - activation.slope(z)) / np.abs(y - z)
    assert changes.max() <= found.largest * (1.0 + 1e-9) + 1e-9
    assert changes.max() >= 0.98 * found.largest


def test_kinks_have_no_curvature_bound() -> None:
    for text in ("Max(0, x)", "Max(-1, Min(1, x))", "exp(-Abs(x))"):
        assert curvature_extrema(Activation.from_sympy(text)).largest == math.inf


@pytest.mark.parametrize("text", ["tanh(x)", "erf(x)", "sin(x)", "x/(1 + Abs(x))"])
def test_remainder_constant(text: str) -> None:
    activation = Activation.from_sympy(text)
    c, symbol = remainder_constant(activation)
    if text == "tanh(x)":
        assert symbol == 2 * sympy.sqrt(3) / 9
        assert c == pytest.approx(0.385, abs=2e-4)
    rng = np.random.default_rng(0)
    z, h = rng.uniform(-4.0, 4.0, 20_000), rng.uniform(-3.0, 3.0, 20_000)
    h[::2] *= 0.02
    remainder = np.abs(activation(z + h) - activation(z) - activation.slope(z) * h)
    assert np.all(remainder <= c * h * h * (1.0 + 1e-9) + 1e-14)
    assert np.max(remainder[::2] / h[::2] ** 2) >= 0.95 * c


STEPS = {
    "Piecewise((0, x < 0), (1, True))": "jumps by 1",
    "Piecewise((tanh(x), x < 0), (tanh(x) + 1/10**20, True))": "jumps by 1/1",
    "floor(x)": "step", "sign(x)": "step", "Heaviside(x)": "step", "ceiling(tanh(x))": "step",
    "Max(0, sign(x))": "step",
    "x/Abs(x)": "near x =", "atan(1/x)": "near x =", "tanh(1/x)": "near x =", "1/(1 + exp(1/x))": "near x =",
    "x*Piecewise((0, x < 1), (1, True))": "jumps by 1", "softmax(x)": "couples the units",
    "exp(x)/(exp(x) + exp(y))": "the variables x, y",
}  # fmt: skip


@pytest.mark.parametrize("text", STEPS)
def test_a_step_never_gets_a_slope(text: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        Activation.from_sympy(text)
    assert STEPS[text] in str(caught.value)
    with pytest.raises((UnsupportedError, InvalidInputError)):
        EchoStateNetwork([[0.5]], activation=text)


def test_inverse_slopes() -> None:
    for text in ("tanh(x)", "1/(1 + exp(-x))", "erf(x)", "x/(1 + Abs(x))", "atan(x)"):
        activation = Activation.from_sympy(text)
        for share in (0.9, 0.3, 1e-3):
            s = share * activation.slope_bounds[1]
            z = float(inverse_slope(activation, sympy.Float(s)))
            assert float(activation.slope(np.array(z))) == pytest.approx(s, rel=1e-9)
            assert np.all(activation.slope(np.linspace(z, z + 20.0, 200)) <= s * (1.0 + 1e-9))
    assert inverse_slope(Activation.named("sine"), sympy.Float(0.5)) is None


# -- radii ------------------------------------------------------------------------------------------------


def test_the_best_radius_is_the_best() -> None:
    delta, best, rate = small_input_radius()
    symbols = {s.name: s for s in delta.free_symbols}
    rng = np.random.default_rng(0)
    for _ in range(10):
        at = {
            symbols["r_0"]: rng.uniform(0.1, 0.95), symbols["k"]: rng.uniform(0.1, 5),
            symbols["h"]: rng.uniform(0.1, 5), symbols["c"]: rng.uniform(0.1, 5),
        }  # fmt: skip
        rho = float(best.subs(at))
        top = float(delta.subs(at | {symbols["rho"]: rho}))
        assert top > 0.0
        for other in (0.9 * rho, 1.1 * rho):
            assert float(delta.subs(at | {symbols["rho"]: other})) < top
        r = float(rate.subs(at | {symbols["rho"]: rho, sympy.Symbol("delta", positive=True): top}))
        assert r < 1.0
        assert top * at[symbols["c"]] == pytest.approx((1.0 - r) * rho)


def stable_network(seed: int, activation: str = "tanh") -> tuple[EchoStateNetwork, Any]:
    rng = np.random.default_rng(seed)
    leak: Any = 0.6 if seed % 2 else rng.uniform(0.3, 1.0, 4)
    network = EchoStateNetwork(
        0.7 * rng.normal(size=(4, 4)), W_in=rng.normal(size=(4, 2)), b=2.0 * rng.normal(size=4),
        leak_rate=leak, activation=activation,
    )  # fmt: skip
    x = np.zeros(4)
    for _ in range(3000):
        x = network.step(x, np.zeros(2))
    return network, x


@pytest.mark.parametrize("seed", range(6))
def test_small_inputs_keep_the_ball_and_contract_it(seed: int) -> None:
    network, x = stable_network(seed, ["tanh", "erf", "softsign"][seed % 3])
    ball = small_input(network, x)
    assert ball is not None
    assert 0.0 < ball.input_radius < math.inf
    assert ball.rate < 1.0
    rng = np.random.default_rng(seed)
    T, T_inverse = ball.scaling, np.linalg.inv(ball.scaling)

    def inside(radius: float) -> Any:
        d = rng.normal(size=4)
        return x + T_inverse @ (radius * rng.random() ** 0.1 * d / np.linalg.norm(d))

    for _ in range(200):
        u = rng.normal(size=2)
        u *= ball.input_radius * rng.random() ** 0.1 / np.linalg.norm(u)
        y = inside(ball.state_radius)
        assert np.linalg.norm(T @ network.jacobian(y, u) @ T_inverse, 2) <= ball.rate + 1e-9
        assert np.linalg.norm(T @ (network.step(y, u) - x)) <= ball.state_radius * (1.0 + 1e-9)


def test_small_input_says_when_it_has_nothing_to_say() -> None:
    assert small_input(EchoStateNetwork([[2.0]]), [0.0]) is None
    assert small_input(EchoStateNetwork([[0.5]], activation="relu"), [0.0]) is None
    alone = small_input(EchoStateNetwork([[0.5]]), [0.0])
    assert alone is not None
    assert alone.input_radius == math.inf
    with pytest.raises(InvalidInputError, match="fixed point"):
        small_input(EchoStateNetwork([[0.5]]), [0.1])
    squares = EchoStateNetwork([[0.1]], W_fb=[[0.1]], readout=Readout([[1.0]], [[1.0]], [0.0]))
    with pytest.raises(UnsupportedError, match="squares"):
        small_input(squares, [0.0])


@pytest.mark.parametrize("activation", ["tanh", "logistic", "erf", "softsign", "atan(x)"])
def test_large_inputs_contract(activation: str) -> None:
    rng = np.random.default_rng(0)
    phi = Activation.from_sympy(activation) if "(" in activation else Activation.named(activation)
    scale = 8.0 if activation == "logistic" else 1.5
    network = EchoStateNetwork(
        scale * rng.normal(size=(5, 5)), b=rng.normal(size=5), leak_rate=0.7, activation=phi
    )
    large = large_input(network)
    assert large is not None
    assert np.all(large.threshold > 0.0)
    low, high = phi.value_bounds
    V = network.dense_W()
    for _ in range(100):
        drive = rng.choice([-1.0, 1.0], 5) * large.threshold * (1.0 + 1e-6 + rng.exponential(0.1, 5))
        assert large.saturates(drive).all()
        x = rng.choice([low, high], 5)
        slopes = phi.slope(V @ x + drive)
        assert np.all(slopes <= (1.0 + 1e-9) / large.kappa)
    J = [0.3 * np.eye(5) + 0.7 * D @ V for D in (np.diag(rng.random(5) / large.kappa) for _ in range(50))]
    assert all(spectral_radius(M) < 1.0 for M in J)
    # The thresholds are not far from needed: the corners of the box meet slopes near 1/kappa.
    worst = phi.slope(-np.abs(V).sum(axis=1) * max(abs(low), abs(high)) + large.threshold)
    np.testing.assert_allclose(worst, 1.0 / large.kappa, rtol=1e-6)


def test_a_contracting_network_needs_no_large_input() -> None:
    large = large_input(EchoStateNetwork(0.3 * np.eye(2)))
    assert large is not None
    assert not large.threshold.any()
    assert large_input(EchoStateNetwork(np.eye(2), activation="sine")) is None
    # Known norms are used as they are.
    derivation = derive(EchoStateNetwork(2.0 * np.eye(2)))
    assert derivation.large_input is not None
    assert derivation.large_input.kappa == pytest.approx(2.0)


# -- one neuron's bifurcations ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["tanh(x)", "1/(1 + exp(-x))", "erf(x)", "x/(1 + Abs(x))", "atan(x)"])
def test_folds_bound_the_range_of_three_fixed_points(text: str) -> None:
    activation = Activation.from_sympy(text)
    for share in (1.3, 3.0):
        w = share / activation.slope_bounds[1]
        found = fold_biases(activation, sympy.Float(w))
        assert found is not None
        low, high = map(float, found)
        step = 0.02 * (high - low)
        counts = [
            count_fixed_points(activation, w, b) for b in (low - step, low + step, high - step, high + step)
        ]
        assert counts == [1, 3, 3, 1]


def test_the_fold_of_tanh_is_the_published_formula() -> None:
    w = sympy.Symbol("w", positive=True)
    s = sympy.sqrt(1 - 1 / w)
    formula = sympy.atanh(s) - w * s
    found = fold_biases(Activation.named("tanh"), w)
    assert found is not None
    for value in (1.01, 1.5, 2.0, 7.0):
        assert float(found[0].subs(w, value)) == pytest.approx(float(formula.subs(w, value)), rel=1e-9)
        assert float(found[0].subs(w, value)) == pytest.approx(-float(found[1].subs(w, value)), rel=1e-12)
    # The pitchfork at w = 1.
    assert [sympy.simplify(b.subs(w, 1)) for b in found] == [0, 0]


@pytest.mark.parametrize("a", [1.0, 0.4])
@pytest.mark.parametrize("text", ["tanh(x)", "erf(x)", "1/(1 + exp(-x))"])
def test_flips_bound_the_range_of_an_unstable_fixed_point(text: str, a: float) -> None:
    activation = Activation.from_sympy(text)
    w = -1.5 * (2.0 - a) / (a * activation.slope_bounds[1])
    found = flip_biases(activation, sympy.Float(w), sympy.Float(a))
    assert found is not None
    low, high = map(float, found)
    assert low < high
    for b, unstable in ((low - 0.01, False), (low + 0.01, True), (high - 0.01, True), (high + 0.01, False)):
        # z - w phi(z) increases.
        z_low, z_high = -100.0, 100.0
        for _ in range(200):
            z = 0.5 * (z_low + z_high)
            z_low, z_high = (z, z_high) if z - w * float(activation(np.array(z))) < b else (z_low, z)
        multiplier = 1.0 - a + a * w * float(activation.slope(np.array(z)))
        assert (multiplier < -1.0) is unstable


def test_vertices_contract_below_every_proved_gain() -> None:
    """The spectral radius of every slope pattern is necessary: no closed form may contradict it."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        n, a = (2, 0.4) if seed % 2 else (3, 1.0)
        V = rng.normal(size=(n, n)) if n == 2 else normal_matrix(rng, 3)
        for form in critical_gains(EchoStateNetwork(V, leak_rate=a)):
            if form.says != "refuted above":
                g = 0.9999 * form.value
                patterns = vertex_jacobians(g * V, np.full(n, a), 0.0, 1.0)
                assert max(map(spectral_radius, patterns)) < 1.0
