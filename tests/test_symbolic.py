"""The derived Jacobian against the network's, every bound against its definition, the printed proof."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from naive_symbolic import finite_difference_jacobian, spectral_radius, vertex_jacobians
from strategies import networks

from esntools.activations import ACTIVATIONS, Activation
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.inputs import InputBox
from esntools.network import EchoStateNetwork, Readout
from esntools.symbolic import Derivation, derive, norms
from esntools.symbolic.matrix_calculus import differentiate

CUSTOM = ("tanh(2*x) + x/10", "x/(1 + exp(-x))", "Piecewise((x, x > 0), (exp(x) - 1, True))")


def make(
    activation: str = "tanh",
    *,
    leak: Any = 1.0,
    n: int = 4,
    scale: float = 0.2,
    readout: str = "",
    seed: int = 0,
) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    phi = Activation.named(activation) if activation in ACTIVATIONS else Activation.from_sympy(activation)
    if leak == "own":
        leak = rng.uniform(0.2, 1.0, n)
    W, W_in, b = scale * rng.normal(size=(n, n)), rng.normal(size=(n, 2)), rng.normal(size=n)
    if not readout:
        return EchoStateNetwork(W, W_in=W_in, b=b, leak_rate=leak, activation=phi)
    squares = 0.1 * rng.normal(size=(2, n)) if readout == "squares" else None
    psi = Readout(rng.normal(size=(2, n)), squares, rng.normal(size=2))
    W_fb = 0.2 * scale * rng.normal(size=(n, 2))
    return EchoStateNetwork(W, W_in=W_in, b=b, leak_rate=leak, activation=phi, readout=psi, W_fb=W_fb)


# -- the Jacobian -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [*sorted(ACTIVATIONS), *CUSTOM])
@pytest.mark.parametrize(("readout", "leak"), [("", 1.0), ("affine", 0.3), ("squares", "own")])
def test_derived_jacobian_is_the_networks(activation: str, readout: str, leak: Any) -> None:
    network = make(activation, leak=leak, readout=readout)
    derivation = derive(network)
    rng = np.random.default_rng(1)
    for _ in range(3):
        x, u = rng.uniform(-1, 1, 4), rng.normal(size=2)
        derived = derivation.jacobian_at(x, u)
        np.testing.assert_allclose(derived, network.jacobian(x, u), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(derived, finite_difference_jacobian(network, x, u), atol=2e-8)


@pytest.mark.slow
@pytest.mark.ci
@settings(deadline=None, max_examples=15)
@given(networks(max_units=4), st.integers(0, 2**32 - 1))
def test_derived_jacobian_of_any_network(network: EchoStateNetwork, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, u = rng.uniform(-1, 1, network.n_units), rng.normal(size=network.n_inputs)
    derivation = derive(network)
    np.testing.assert_allclose(derivation.jacobian_at(x, u), network.jacobian(x, u), rtol=1e-12, atol=1e-14)
    assert derivation.text()
    assert derivation.latex()


@pytest.mark.parametrize(
    "W", [[[0.0, 0.0], [1.0, 2e-208]], [[0.0, 2e-208], [0.0, 0.0]], [[3e200, 1.0], [0.0, 1e-300]]]
)
def test_weights_of_any_size_have_a_scaling(W: list[list[float]]) -> None:
    bound = derive(EchoStateNetwork(W)).bound("diagonal")
    assert 0.0 <= bound.value <= 1.001 * float(np.linalg.norm(W, 2))


def test_the_jacobian_reads_as_the_formula() -> None:
    assert str(derive(make(leak=0.5)).jacobian) == (
        "a*DiagMatrix(Lambda(x, 1 - tanh(x)**2).(W*x + W_in*u + b))*W + (1 - a)*I"
    )
    a, N = sympy.Symbol("a", positive=True), sympy.Symbol("N", integer=True, positive=True)
    derivation = derive(make(leak=0.5, readout="squares"))
    assert (1 - a) * sympy.Identity(N) in derivation.jacobian.args
    assert {"W", "W_fb", "W_out", "W_sq"} <= {str(s) for s in derivation.jacobian.free_symbols}


def test_what_fits_no_rule_is_refused() -> None:
    n = sympy.Symbol("n", integer=True, positive=True)
    x = sympy.MatrixSymbol("x", n, 1)
    for expression in (x * x.T * x, sympy.HadamardProduct(x, x)):
        with pytest.raises(UnsupportedError, match="linear maps"):
            differentiate(expression, x)


def test_elementwise_entries() -> None:
    network = make(leak="own", readout="squares", n=3)
    entries = derive(network).elementwise()
    rng = np.random.default_rng(3)
    x, u = rng.uniform(-1, 1, 3), rng.normal(size=2)
    slopes = network.activation.slope(network.preactivation(x, u))
    values = {f"x_{i + 1}": x[i] for i in range(3)} | {f"d_{i + 1}": slopes[i] for i in range(3)}
    numbers = entries.subs({s: values[s.name] for s in entries.free_symbols})
    np.testing.assert_allclose(np.array(numbers, dtype=float), network.jacobian(x, u), rtol=1e-13, atol=1e-15)
    with pytest.raises(InvalidInputError, match="at most 8"):
        derive(make(n=9)).elementwise()


# -- norms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_norms_against_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(7, 7)) * (rng.random((7, 7)) < 0.4)
    assert norms.spectral_norm(W) == pytest.approx(scipy.linalg.svdvals(W)[0] if W.any() else 0.0)
    s, v = norms.perron(np.abs(W))
    # A defective radius is a root of the machine's precision away.
    assert s == pytest.approx(spectral_radius(np.abs(W)), rel=1e-4, abs=1e-3)
    assert np.all(v > 0)
    assert np.all(np.abs(W) @ v <= s * v * (1 + 1e-12))
    delta, scale = norms.diagonal_scaling(W)
    assert delta == pytest.approx(norms.scaled_spectral_norm(W, scale))
    assert spectral_radius(W) - 1e-9 <= delta <= norms.spectral_norm(W) + 1e-12


def test_norms_of_large_matrices_agree_with_dense_ones(monkeypatch: Any) -> None:
    W = np.random.default_rng(5).normal(size=(60, 60)) / 8.0
    dense = norms.spectral_norm(W), norms.perron(np.abs(W))[0]
    monkeypatch.setattr(norms, "_DENSE", 10)
    assert (norms.spectral_norm(W), norms.perron(np.abs(W))[0]) == pytest.approx(dense, rel=1e-6)


def test_diagonal_scaling_is_optimal_where_the_optimum_is_known() -> None:
    # Alternating ring: all scalings can do is level the weights to their geometric mean.
    n = 10
    W = np.zeros((n, n))
    for i in range(n):
        W[i, (i + 1) % n] = 10.0 if i % 2 else 0.05
    assert norms.diagonal_scaling(W)[0] == pytest.approx(np.sqrt(0.5), rel=1e-6)
    # A non-negative 2 x 2 matrix: the optimum is the spectral radius only when it is symmetrisable.
    assert norms.diagonal_scaling(np.array([[0.2, 4.0], [0.01, 0.3]]))[0] == pytest.approx(
        np.linalg.norm([[0.2, 0.2], [0.2, 0.3]], 2), rel=1e-6
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 0.25), (1.0, 1.0)]))
def test_leaky_matrix_dominates_every_jacobian(seed: int, slopes: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    W, leak = rng.normal(size=(3, 3)), rng.uniform(0.05, 1.0, 3)
    M = norms.leaky_matrix(W, leak, *slopes)
    largest = np.max(np.abs(vertex_jacobians(W, leak, *slopes)), axis=0)
    np.testing.assert_allclose(M, largest, rtol=1e-12, atol=1e-15)


# -- the bounds -------------------------------------------------------------------------------------------


def gains(network: EchoStateNetwork) -> dict[str, float]:
    return {bound.name: bound.critical_gain_value for bound in derive(network).bounds}


@pytest.mark.parametrize("activation", ["tanh", "sine", CUSTOM[1]])
@pytest.mark.parametrize("leak", [1.0, 0.3, "own"])
def test_below_the_critical_gain_every_vertex_jacobian_contracts(activation: str, leak: Any) -> None:
    """rho < 1 for every slope pattern is necessary, whatever the norm: no proof may contradict it."""
    network = make(activation, leak=leak, scale=0.6)
    derivation = derive(network)
    low, high = network.activation.slope_bounds
    for bound in derivation.bounds:
        below = network.scaled(bound.critical_gain_value * 0.999)
        again = derive(below).bound(bound.name)
        assert again.proves
        assert again.value == pytest.approx(1.0, abs=2e-3)
        assert not derive(network.scaled(bound.critical_gain_value * 1.001)).bound(bound.name).proves
        for J in vertex_jacobians(below.dense_W(), below.leak_rate, low, high):
            assert spectral_radius(J) < 1.0


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1.0, 0.4, "own"]), st.sampled_from(["tanh", "sine", "relu"])
)
def test_rates_bound_the_jacobian_in_their_norm(seed: int, leak: Any, activation: str) -> None:
    network = make(activation, leak=leak, scale=0.25, seed=seed, n=3)
    low, high = network.activation.slope_bounds
    W, a = network.dense_W(), network.leak_rate
    derivation = derive(network)
    own = network.uniform_leak_rate is None
    weight = 1.0 / np.sqrt(a) if own else np.ones(3)
    v, (_, s) = norms.perron(np.abs(W))[1], norms.diagonal_scaling(W)
    w = norms.perron(norms.leaky_matrix(W, a, low, high))[1]
    for J in vertex_jacobians(W, a, low, high):
        sizes = {
            "spectral": np.linalg.norm(weight[:, None] * J / weight, 2),
            "diagonal": np.linalg.norm((s * weight)[:, None] * J / (s * weight), 2),
            "Perron": np.max(np.abs(J) @ v / v),
            "leaky Perron": np.max(np.abs(J) @ w / w),
        }
        for bound in derivation.bounds:
            if bound.proves:
                assert sizes[bound.name] <= bound.value * (1 + 1e-9), bound.name


@pytest.mark.parametrize("leak", [1.0, 0.3, "own"])
def test_squares_are_bounded_on_their_box(leak: Any) -> None:
    network = make(leak=leak, readout="squares", scale=0.1)
    derivation = derive(network)
    assert "box [-1, 1]^N" in " ".join(derivation.notes)
    assert derivation.proved
    rng = np.random.default_rng(0)
    rate = derivation.bound("Perron").value
    assert network.W_fb is not None
    assert network.readout is not None
    biggest = np.zeros((4, 4))
    for _ in range(400):
        x = rng.choice([-1.0, 1.0], 4)
        biggest = np.maximum(biggest, np.abs(network.dense_W() + network.W_fb @ network.readout.jacobian(x)))
    # Corners of the box realise the entrywise bound.
    expected = spectral_radius(biggest)
    assert derivation.bound("Perron").numbers[sympy.Symbol("rho", positive=True)] == pytest.approx(
        expected, rel=1e-6
    )
    for _ in range(30):
        x, y, u = rng.uniform(-1, 1, 4), rng.uniform(-1, 1, 4), rng.normal(size=2)
        for _ in range(200):
            x, y = network.step(x, u), network.step(y, u)
        assert np.max(np.abs(x - y)) < 1e-6
    assert rate < 1.0


def test_squares_with_an_unbounded_activation_have_no_bound() -> None:
    derivation = derive(make("relu", readout="squares"))
    assert derivation.bounds == ()
    assert not derivation.proved
    assert derivation.critical_gain is None
    assert "unbounded" in derivation.text()


def test_closed_forms_of_one_and_two_units() -> None:
    one = derive(EchoStateNetwork([[-0.8]], leak_rate=0.5))
    assert one.bound("spectral").value == pytest.approx(0.5 + 0.5 * 0.8)
    assert one.bound("Perron").value == pytest.approx(0.9)
    # d in {0, 1}: max(|0.5|, |0.5 - 0.4|) = 0.5, and |0.5 - 0.5*0.8 g| < 1 up to g = 3.75.
    assert one.bound("leaky Perron").value == pytest.approx(0.5)
    assert one.bound("leaky Perron").critical_gain_value == pytest.approx(3.75, rel=1e-6)
    two = derive(EchoStateNetwork([[0.0, 4.0], [0.25, 0.0]]))
    assert two.bound("spectral").value == pytest.approx(4.0)
    assert two.bound("Perron").value == pytest.approx(1.0, rel=1e-8)
    assert two.bound("diagonal").value == pytest.approx(1.0, rel=1e-8)
    logistic = derive(EchoStateNetwork(3.9 * np.eye(2), activation="logistic"))
    assert logistic.proved
    assert logistic.bound("spectral").critical_gain_value == pytest.approx(4.0 / 3.9)


def test_published_examples() -> None:
    """Yildiz, Jaeger, Kiebel 2012, Example 4.2, and the alternating ring: which bound proves."""
    leaky = derive(EchoStateNetwork([[-0.9, -1.0], [0.0, -0.9]], leak_rate=0.5))
    assert not leaky.bound("spectral").proves
    assert leaky.bound("leaky Perron").value == pytest.approx(0.5, rel=1e-3)
    n = 40
    W = np.zeros((n, n))
    for i in range(n):
        W[i, (i + 1) % n] = 10.0 if i % 2 else 0.05
    ring = derive(EchoStateNetwork(W))
    assert not ring.bound("spectral").proves
    assert ring.bound("Perron").value == pytest.approx(np.sqrt(0.5), rel=1e-6)
    assert ring.bound("diagonal").value == pytest.approx(np.sqrt(0.5), rel=1e-4)
    refuted = derive(EchoStateNetwork([[0.0, 10.0], [-0.012, 1.1]]))
    assert not refuted.proved


def test_the_gain_is_solved_symbolically() -> None:
    L, sigma, rho, delta = sympy.symbols("L sigma rho delta", positive=True)
    for leak in (1.0, 0.3, "own"):
        derivation = derive(make(leak=leak))
        assert derivation.bound("spectral").critical_gain == 1 / (L * sigma)
        assert derivation.bound("Perron").critical_gain == 1 / (L * rho)
        assert derivation.bound("diagonal").critical_gain == 1 / (L * delta)
    with pytest.raises(InvalidInputError, match="spectral, Perron"):
        derive(make()).bound("L2")


def test_degenerate_networks() -> None:
    nothing = derive(EchoStateNetwork(np.zeros((3, 3)), leak_rate=0.5))
    assert nothing.bound("spectral").value == 0.5
    assert nothing.bound("spectral").critical_gain == sympy.oo
    assert nothing.bound("Perron").value == pytest.approx(0.5)
    nilpotent = derive(EchoStateNetwork([[0.0, 50.0], [0.0, 0.0]]))
    assert nilpotent.bound("Perron").proves
    assert derive(EchoStateNetwork(5e-324 * np.eye(2))).proved
    assert "infinity" in nothing.text()


def test_feedback_is_in_the_effective_matrix() -> None:
    network = make(readout="affine")
    derivation, folded = derive(network), derive(network.folded())
    assert derivation.effective == "W + W_fb W_out"
    for bound in derivation.bounds:
        assert bound.value == pytest.approx(folded.bound(bound.name).value, rel=1e-6)
    assert "feedback included" in derivation.text()


# -- the proof --------------------------------------------------------------------------------------------

PROOFS = [("tanh", 1.0, ""), ("logistic", 0.3, "affine"), ("erf", "own", "squares"), ("relu", 0.5, ""),
          ("hard_tanh", 1.0, "squares"), ("softsign", 0.2, ""), ("sine", 1.0, ""),
          ("identity", 0.5, "affine"),
          *((text, 0.5, "") for text in CUSTOM)]  # fmt: skip


@functools.cache
def width(formula: str) -> float:
    parser: Any = MathTextParser("path")
    return float(parser.parse(f"${formula}$").width)


@functools.cache
def proof(case: tuple[str, Any, str]) -> Derivation:
    return derive(make(case[0], leak=case[1], readout=case[2]), InputBox([-1, -1], 1))


@pytest.mark.parametrize("case", PROOFS, ids=str)
def test_every_formula_is_drawn_by_mathtext(case: tuple[str, Any, str]) -> None:
    steps = proof(case).latex_steps()
    assert len(steps) >= 8
    for step in steps:
        # Every parse takes a tenth of a second, and proofs differ mostly in their digits.
        assert width(re.sub(r"\d+\.\d+", "0.25", step)) > 0, step


@pytest.mark.parametrize("case", PROOFS, ids=str)
def test_latex_document_is_well_formed(case: tuple[str, Any, str]) -> None:
    text = proof(case).latex()
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    ended = re.findall(r"\\end\{(\w+)\}", text)
    assert sorted(begun) == sorted(ended)
    assert begun[0] == "document"
    assert text.count(r"\[") == text.count(r"\]")
    body = text.replace(r"\{", "").replace(r"\}", "")
    assert body.count("{") == body.count("}")
    assert text.count(r"\left") == text.count(r"\right") + text.count(r"\leftarrow")
    # Outside formulas, the characters that LaTeX reads as commands are escaped.
    words = re.sub(r"\\\[.*?\\\]|\$[^$]*\$", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)[_^&#]", words)
    assert words.isascii()


def test_the_text_has_the_numbers() -> None:
    network = EchoStateNetwork([[0.0, 0.9], [-0.9, 0.0]], leak_rate=0.5)
    text = derive(network).text()
    for line in ("G(u, x) = (1 - a) x + a phi(z)", "sigma = 0.9",
                 "Rate: L*a*sigma - a + 1 = 0.95 < 1: proves",
                 "0 <= g < 1/(L*sigma) = 1.11111", "0 <= phi' <= 1", "by the spectral bound"):  # fmt: skip
        assert line in text
    assert max(map(len, text.splitlines())) <= 120
    assert "decide nothing" in derive(network.scaled(3.0)).text()


def test_printed_slope_bounds_are_rounded_outwards() -> None:
    text = derive(make("x/(1 + exp(-x))")).text()
    low, high = re.search(r"(-0\.\d+) <= phi' <= (\d\.\d+)", text).groups()  # type: ignore[union-attr]
    bounds = Activation.from_sympy("x/(1 + exp(-x))").slope_bounds
    assert float(low) <= bounds[0] <= bounds[1] <= float(high)
    assert float(high) - bounds[1] < 1e-4
