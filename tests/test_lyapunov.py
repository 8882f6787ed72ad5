"""Lyapunov exponents and covariant vectors: closed forms, published numbers, slow twins, error bars."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
from naive_dynamics import naive_lyapunov
from naive_lyapunov import naive_covariant_vectors, naive_spectrum, naive_thin_product
from scipy.special import polygamma, psi

from esntools import systems
from esntools.activations import Activation
from esntools.errors import InvalidInputError
from esntools.gated import LSTM
from esntools.lyapunov import (
    conditional_lyapunov_spectrum,
    covariant_lyapunov_vectors,
    kaplan_yorke_dimension,
    loops,
    lyapunov_spectrum,
)
from esntools.lyapunov.products import Compiled, Products, factors
from esntools.lyapunov.statistics import standard_errors
from esntools.lyapunov.tangent import tangent
from esntools.lyapunov.triangular import Triangular
from esntools.maps import FunctionMap, Map
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting.lyapunov import plot_lyapunov, plot_splitting_angles


def henon() -> EchoStateNetwork:
    """x' = 1 - 1.4 x^2 + y, y' = 0.3 x."""
    return EchoStateNetwork(
        [[0.0, 1.0], [0.3, 0.0]], b=[1.0, 0.0], activation="identity",
        readout=Readout([[0.0, 0.0]], W_sq=[[-1.4, 0.0]]), W_fb=[[1.0], [0.0]],
    )  # fmt: skip


def test_linear_map_with_real_eigenvalues_is_exact() -> None:
    rng = np.random.default_rng(0)
    eigenvalues = np.array([0.9, -0.7, 0.5, 0.2, -0.05])
    T = np.linalg.qr(rng.standard_normal((5, 5)))[0] @ np.diag([1.0, 2.0, 0.7, 1.3, 0.4])
    W = T @ np.diag(eigenvalues) @ np.linalg.inv(T)
    result = lyapunov_spectrum(
        EchoStateNetwork(W, b=0.3, activation="identity"), n_exponents=5, n_steps=400, transient=400
    )
    np.testing.assert_allclose(result.exponents, np.log(np.abs(eigenvalues)), atol=1e-10)
    assert np.all(result.stderr < 1e-10)
    assert result.sum_rule_error is not None
    assert result.sum_rule_error < 1e-10
    leading = lyapunov_spectrum(
        EchoStateNetwork(W, b=0.3, activation="identity"), n_exponents=2, n_steps=400, transient=400
    )
    np.testing.assert_allclose(leading.exponents, np.log([0.9, 0.7]), atol=1e-10)
    assert leading.sum_rule_error is None


def test_leaky_linear_map() -> None:
    rng = np.random.default_rng(1)
    A = rng.standard_normal((4, 4))
    W = 0.4 * (A + A.T)
    a = np.array(0.3)
    result = lyapunov_spectrum(
        EchoStateNetwork(W, leak_rate=a, activation="identity"), n_exponents=4, n_steps=600, transient=3000
    )
    expected = np.log(np.abs(1.0 - a + a * np.linalg.eigvalsh(W)))
    np.testing.assert_allclose(result.exponents, np.sort(expected)[::-1], atol=1e-9)


def test_orthogonal_linear_map_has_zero_exponents() -> None:
    Q = np.linalg.qr(np.random.default_rng(2).standard_normal((30, 30)))[0]
    result = lyapunov_spectrum(
        EchoStateNetwork(Q, activation="identity"), n_exponents=30, n_steps=200, transient=20
    )
    np.testing.assert_allclose(result.exponents, 0.0, atol=1e-12)
    assert result.kaplan_yorke == 30.0
    assert "do not shrink" in result.kaplan_yorke_note


def test_exponents_of_rounding_size_are_zero() -> None:
    assert kaplan_yorke_dimension([-1e-17, -2e-17], rounding=1e-15)[0] == 2.0
    assert kaplan_yorke_dimension([-1e-17, -2e-17])[0] == 0.0


def test_leak_alone() -> None:
    result = lyapunov_spectrum(EchoStateNetwork(np.zeros((4, 4)), leak_rate=0.3), n_exponents=4, n_steps=100)
    np.testing.assert_allclose(result.exponents, math.log(0.7), atol=1e-13)
    assert result.kaplan_yorke == 0.0


def test_a_map_that_forgets_at_once() -> None:
    result = lyapunov_spectrum(EchoStateNetwork(np.zeros((4, 4))), n_exponents=2, n_steps=100)
    assert np.all(np.isneginf(result.exponents))
    assert np.all(result.stderr == 0.0)
    assert result.kaplan_yorke == 0.0


def test_order_of_the_jacobian_product_by_a_drive_of_period_3() -> None:
    """The reversed product has other eigenvalues: a published code multiplies in that order."""
    rng = np.random.default_rng(11)
    network = EchoStateNetwork(0.7 * rng.standard_normal((4, 4)), W_in=rng.standard_normal((4, 1)))
    period = np.array([[1.0], [-0.4], [0.2]])
    u = np.tile(period, (400, 1))
    result = conditional_lyapunov_spectrum(network, u, n_exponents=4, washout=600)
    x = np.zeros(4)
    for v in u[:600]:
        x = network.step(x, v)
    product, reverse = np.eye(4), np.eye(4)
    for v in period:
        J = network.jacobian(x, v)
        product, reverse = J @ product, reverse @ J
        x = network.step(x, v)

    def floquet(P: np.ndarray) -> np.ndarray:
        return np.sort(np.log(np.abs(np.linalg.eigvals(P))))[::-1] / 3.0

    assert np.max(np.abs(floquet(product) - floquet(reverse))) > 5e-3
    np.testing.assert_allclose(result.exponents, floquet(product), atol=1e-9)
    assert result.kind == "conditional"
    assert result.kaplan_yorke is None


def test_henon_map() -> None:
    result = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents=2, n_steps=20000)
    assert result.exponents[0] == pytest.approx(0.41922, abs=4e-3)
    assert result.interval[0, 0] < 0.41922 < result.interval[0, 1]
    assert result.exponents.sum() == pytest.approx(math.log(0.3), abs=1e-9)
    assert result.kaplan_yorke == pytest.approx(1.2583, abs=3e-3)
    assert result.sum_rule_error is not None
    assert result.sum_rule_error < 1e-7


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("leak", [1.0, 0.4])
def test_closed_loop_equals_the_slow_twin(sparse: bool, leak: float) -> None:
    rng = np.random.default_rng(4)
    n, k = 25, 4
    W = 1.6 * rng.standard_normal((n, n)) / 5.0
    W[rng.random((n, n)) < 0.5] = 0.0
    readout = Readout(0.3 * rng.standard_normal((2, n)), 0.3 * rng.standard_normal((2, n)), [0.1, -0.2])
    network = EchoStateNetwork(
        scipy.sparse.csr_array(W) if sparse else W, W_in=rng.uniform(-1, 1, (n, 2)), leak_rate=leak,
        readout=readout, b=0.1 * rng.standard_normal(n),
    ).closed_loop()  # fmt: skip
    x = 0.1 * rng.standard_normal(n)
    result = lyapunov_spectrum(network, x, n_exponents=k, n_steps=60, transient=20, rng=7)
    # The same start and frame: 10 steps of the state, 10 with the frame, then the average. Not many more:
    # the network is chaotic, and rounding would drive the two apart.
    for _ in range(10):
        x = network.step(x)
    Q = np.linalg.qr(np.random.default_rng(7).standard_normal((n, k)))[0]
    for _ in range(10):
        J, x = network.jacobian(x), network.step(x)
        Q = np.linalg.qr(J @ Q)[0]
    naive = naive_lyapunov(network, [np.zeros(0)] * 60, x, Q)
    np.testing.assert_allclose(result.exponents, np.sort(naive)[::-1], atol=1e-8)
    np.testing.assert_allclose(result.batch_means.mean(axis=0), result.exponents, atol=1e-12)


def test_units_and_interval() -> None:
    per_step = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents=1, n_steps=2000)
    per_time = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents=1, n_steps=2000, dt=0.05)
    assert (per_step.unit, per_step.dt, per_time.unit, per_time.dt) == ("1/step", None, "1/time", 0.05)
    np.testing.assert_allclose(per_time.exponents, per_step.exponents / 0.05)
    np.testing.assert_allclose(per_time.interval, per_step.interval / 0.05)
    # Student's t with 20/3 degrees of freedom.
    half = 2.388804287 * per_step.stderr
    np.testing.assert_allclose(per_step.interval[:, 1] - per_step.exponents, half)
    assert "ask for more" in per_step.kaplan_yorke_note


def test_conditional_exponent_of_a_linear_network_does_not_depend_on_the_input() -> None:
    u = np.random.default_rng(5).standard_normal((500, 2))
    network = EchoStateNetwork(np.diag([0.8, 0.3]), W_in=np.eye(2), leak_rate=0.5, activation="identity")
    result = conditional_lyapunov_spectrum(network, u, n_exponents=2, dt=0.1)
    np.testing.assert_allclose(result.exponents, np.log([0.9, 0.65]) / 0.1, atol=1e-9)
    assert result.n_steps == 450


def test_kaplan_yorke_corner_cases() -> None:
    assert kaplan_yorke_dimension([-14.572, 0.9056, 0.0])[0] == pytest.approx(2.06215, abs=1e-4)
    assert kaplan_yorke_dimension([-0.1, -0.2]) == (0.0, "")
    assert kaplan_yorke_dimension([0.0, -0.2])[0] == 1.0
    assert kaplan_yorke_dimension([0.3, -0.1], 2)[0] == 2.0
    assert "shrink" in kaplan_yorke_dimension([0.3, -0.1], 2)[1]
    assert "ask for more" in kaplan_yorke_dimension([0.3, -0.1], 9)[1]
    assert kaplan_yorke_dimension([0.3, -np.inf])[0] == 1.0
    assert kaplan_yorke_dimension([np.nan])[0] is None


def test_misuse_is_refused() -> None:
    driven = EchoStateNetwork([[0.5]], W_in=[[1.0]])
    with pytest.raises(InvalidInputError, match="conditional_lyapunov_spectrum"):
        lyapunov_spectrum(driven)
    with pytest.raises(InvalidInputError, match="no inputs"):
        conditional_lyapunov_spectrum(EchoStateNetwork([[0.5]]), np.zeros((100, 0)))
    with pytest.raises(InvalidInputError, match="n_exponents"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), n_exponents=2)
    with pytest.raises(InvalidInputError, match="n_steps"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), n_exponents=1, n_steps=0)
    with pytest.raises(InvalidInputError, match="whole number"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), n_steps=1e4)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="washout"):
        conditional_lyapunov_spectrum(driven, np.zeros((50, 1)), washout=60)
    with pytest.raises(InvalidInputError, match="n_steps, 1"):
        conditional_lyapunov_spectrum(driven, np.zeros((50, 2)))
    with pytest.raises(InvalidInputError, match=r"u\[3, 0\]"):
        conditional_lyapunov_spectrum(driven, np.where(np.arange(50) == 3, np.nan, 0.0)[:, None])
    with pytest.raises(InvalidInputError, match="dt"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), n_exponents=1, dt=0.0)
    with pytest.raises(InvalidInputError, match="x0"):
        lyapunov_spectrum(EchoStateNetwork([[0.5]]), [np.nan], n_exponents=1)
    with pytest.raises(InvalidInputError, match="overflows at step"):
        lyapunov_spectrum(EchoStateNetwork([[3.0]], activation="identity"), n_exponents=1, n_steps=5000)


# -- every way of moving a frame against the slow twin ---------------------------------------------------


def driven(n: int, gain: float = 1.0, **options: object) -> EchoStateNetwork:
    rng = np.random.default_rng(n)
    W = gain * rng.standard_normal((n, n)) / math.sqrt(n)
    return EchoStateNetwork(W, W_in=rng.standard_normal((n, 1)), **options)  # type: ignore[arg-type]


def with_readout(n: int, bent: bool) -> EchoStateNetwork:
    rng = np.random.default_rng(n + 1)
    readout = Readout(
        0.2 * rng.standard_normal((2, n)), 0.1 * rng.standard_normal((2, n)) if bent else None, [0.1, -0.2]
    )
    return driven(n, leak_rate=0.7, readout=readout, W_fb=rng.uniform(-1, 1, (n, 2)))


def thin_network(n: int, rank: int, leak: float) -> EchoStateNetwork:
    rng = np.random.default_rng(3)
    W = 1.5 * rng.standard_normal((n, rank)) @ rng.standard_normal((rank, n)) / n
    return EchoStateNetwork(W, W_in=rng.standard_normal((n, 1)), leak_rate=leak)


def sparse_network(n: int) -> EchoStateNetwork:
    W = scipy.sparse.random_array((n, n), density=0.1, format="csr", rng=np.random.default_rng(8))
    return EchoStateNetwork(W, W_in=np.ones((n, 1)), leak_rate=0.6)


SWISH = Activation.from_sympy("x/(1 + exp(-x))")

WAYS: dict[str, tuple[EchoStateNetwork, int, type]] = {
    "compiled, dense": (driven(12), 12, Compiled),
    "compiled, leading": (driven(40), 5, Compiled),
    "compiled, relu": (driven(20, activation="relu", b=0.3), 3, Compiled),
    "compiled, erf": (driven(20, activation="erf"), 3, Compiled),
    "compiled, bent readout": (with_readout(15, True), 15, Compiled),
    "compiled, sparse": (sparse_network(80), 7, Compiled),
    "compiled, all of a small sparse one": (sparse_network(20), 20, Compiled),
    "products, custom": (driven(30, 0.6, activation=SWISH), 4, Products),
    "products, sparse custom": (
        EchoStateNetwork(sparse_network(60).W, W_in=np.ones((60, 1)), activation=SWISH, leak_rate=0.3),
        4, Products,
    ),
    "products, thin": (driven(270), 6, Products),
    "products, wide": (driven(270), 40, Products),
    "products, affine readout": (with_readout(270, False), 6, Products),
    "products, bent readout": (with_readout(270, True), 6, Products),
    "products, low rank": (thin_network(300, 5, 0.5), 8, Products),
    "triangular": (driven(60), 60, Triangular),
    "triangular, affine readout": (with_readout(40, False), 40, Triangular),
    "triangular, bent readout": (with_readout(40, True), 40, Triangular),
    "triangular, sparse": (sparse_network(50), 50, Triangular),
    "triangular, custom": (driven(10, 0.6, activation=SWISH), 10, Triangular),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_every_way_equals_the_slow_twin(name: str) -> None:
    network, k, way = WAYS[name]
    n = network.n_units
    u = np.random.default_rng(1).standard_normal((70, 1))
    assert type(tangent(network, u, np.zeros(n), k)[0]) is way
    result = conditional_lyapunov_spectrum(network, u, n_exponents=k, washout=20, rng=3)
    x = np.zeros(n)
    for v in u[:10]:
        x = network.step(x, v)
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((n, k)))[0]
    for v in u[10:20]:
        J, x = network.jacobian(x, v), network.step(x, v)
        Q = np.linalg.qr(J @ Q)[0]
    expected = np.sort(naive_spectrum(network, u[20:], x, Q, 50))[::-1]
    np.testing.assert_allclose(result.exponents, expected, atol=2e-9)
    if k == n:
        assert result.sum_rule_error is not None
        assert result.sum_rule_error < 1e-10
        # The generic way, by step and Jacobian alone.
        same = FunctionMap(network.step, network.jacobian, n, 1)
        generic = conditional_lyapunov_spectrum(same, u, n_exponents="all", washout=20, rng=3)
        np.testing.assert_allclose(generic.exponents, expected, atol=2e-9)
    else:
        assert result.sum_rule_error is None


def test_thin_product() -> None:
    rng = np.random.default_rng(0)
    W, X = rng.standard_normal((23, 23)), rng.standard_normal((23, 8))
    Z = np.zeros((8, 23))
    loops.thin_product(W, np.ascontiguousarray(X.T), Z)
    np.testing.assert_allclose(Z.T, naive_thin_product(W, X), atol=1e-13)


def test_sum_rule_to_all_digits() -> None:
    """Known answer: sum of all = mean log |det J|, relative 1e-12, same trajectory."""
    for network in (driven(80, 1.5), driven(80, 1.5, leak_rate=0.3)):
        u = 0.1 * np.random.default_rng(2).standard_normal((300, 1))
        result = conditional_lyapunov_spectrum(network, u, n_exponents="all", washout=50)
        assert result.sum_rule_error is not None
        assert result.sum_rule_error < 1e-12
        x, total = np.zeros(80), 0.0
        for k, v in enumerate(u):
            if k >= 50:
                total += np.linalg.slogdet(network.jacobian(x, v))[1]
            x = network.step(x, v)
        assert result.exponents.sum() == pytest.approx(total / 250, rel=1e-11)


def test_a_rank_below_the_number_of_units_leaves_minus_infinity() -> None:
    network = thin_network(300, 4, 1.0)
    thin = factors(network)
    assert thin is not None
    assert thin.rank == 4
    np.testing.assert_allclose(thin.left @ thin.right, network.W, atol=1e-13)
    u = np.random.default_rng(1).standard_normal((200, 1))
    result = conditional_lyapunov_spectrum(network, u, n_exponents=6)
    assert np.all(np.isneginf(result.exponents[4:]))
    assert np.all(np.isfinite(result.exponents[:4]))
    assert "rank 4" in result.note
    # The same by the r x r cocycle V^T D_t U of W = U V^T.
    x, total = np.zeros(300), np.zeros(4)
    Q = np.eye(4)
    for k, v in enumerate(u):
        slope = network.activation.slope(network.preactivation(x, v))
        x = network.step(x, v)
        Q, R = np.linalg.qr(thin.right @ (slope[:, None] * (thin.left @ Q)))
        if k >= 20:
            total += np.log(np.abs(np.diag(R)))
    np.testing.assert_allclose(result.exponents[:4], np.sort(total / 180)[::-1], atol=0.03)
    # Nearly full: the frame is square all the same.
    W = driven(40).dense_W().copy()
    W[7] = 0.0
    nearly = EchoStateNetwork(W, W_in=np.ones((40, 1)))
    assert type(tangent(nearly, u, np.zeros(40), 40)[0]) is Triangular
    everything = conditional_lyapunov_spectrum(nearly, u, n_exponents="all")
    leading = conditional_lyapunov_spectrum(nearly, u, n_exponents=8)
    assert np.isneginf(everything.exponents[39])
    assert np.all(np.isfinite(everything.exponents[:39]))
    np.testing.assert_allclose(everything.exponents[:8], leading.exponents, atol=0.05)
    assert "rank 39" in everything.note
    assert everything.sum_rule_error is None
    assert factors(driven(300)) is None
    assert conditional_lyapunov_spectrum(driven(30), u, n_exponents="all").note == ""


# -- known answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "dt", "n_steps", "expected", "total", "dimension"),
    [
        (systems.lorenz63(), 0.05, 10000, (0.9056, 0.0, -14.572), -41.0 / 3.0, 2.0622),
        (systems.rossler(), 0.2, 10000, (0.0714, 0.0, -5.394), None, 2.0132),
        (systems.henon(), None, 10000, (0.41922, -1.62319), math.log(0.3), 1.2583),
    ],
)  # fmt: skip
def test_published_spectra(
    system: systems.System, dt: float | None, n_steps: int, expected: tuple[float, ...],
    total: float | None, dimension: float,
) -> None:  # fmt: skip
    result = lyapunov_spectrum(system.as_map(dt), n_exponents="all", n_steps=n_steps, dt=dt)
    error = np.abs(result.exponents - expected)
    assert np.all(error < 4.0 * result.stderr + 1e-3)
    assert np.all(result.stderr < 0.015)
    if total is not None:
        assert result.exponents.sum() == pytest.approx(total, abs=1e-9)
    assert result.sum_rule_error is not None
    assert result.sum_rule_error < 1e-12
    assert result.kaplan_yorke == pytest.approx(dimension, abs=4e-3)
    assert result.kind == "autonomous"


def test_a_delay_equation() -> None:
    result = lyapunov_spectrum(systems.mackey_glass().as_map(), n_exponents=3, n_steps=6000, dt=1.0)
    assert abs(result.exponents[0] - 0.00515) < 4.0 * result.stderr[0]
    assert abs(result.exponents[1]) < 1e-3
    assert result.exponents[2] < -0.02


def random_matrices(n: int) -> FunctionMap:
    """x' = G x, the matrix G being the input."""
    return FunctionMap(
        lambda x, u: np.einsum("...ij,...j->...i", u.reshape(*u.shape[:-1], n, n), x),
        lambda x, u: u.reshape(n, n), n, n * n,
    )  # fmt: skip


def test_products_of_gaussian_matrices() -> None:
    """Newman: lambda_i = (ln(2/N) + psi(h)) / 2, h = (N - i + 1)/2; of one factor psi'(h) / 4 in variance."""
    n, n_steps = 50, 600
    G = np.random.default_rng(5).standard_normal((n_steps + 40, n * n)) / math.sqrt(n)
    result = conditional_lyapunov_spectrum(random_matrices(n), G, n_exponents="all", washout=40)
    half = 0.5 * (n - np.arange(n))
    expected = 0.5 * (math.log(2.0 / n) + psi(half))
    z = (result.exponents - expected) / np.sqrt(0.25 * polygamma(1, half) / n_steps)
    assert np.max(np.abs(z)) < 4.0


@pytest.mark.parametrize("dt", [0.1, 0.02])
def test_continuous_networks_have_a_point_symmetric_spectrum(dt: float) -> None:
    """h' = -h + W tanh(h), by Euler, is the leaky network with a = dt in h = W x; zero diagonal."""
    n = 100
    W = 3.0 * np.random.default_rng(6).standard_normal((n, n)) / math.sqrt(n)
    np.fill_diagonal(W, 0.0)
    result = lyapunov_spectrum(
        EchoStateNetwork(W, leak_rate=dt), n_exponents="all", n_steps=1000, transient=1000, dt=dt
    )
    assert result.exponents.mean() == pytest.approx(math.log(1.0 - dt) / dt, abs=3e-3)
    assert np.max(np.abs(result.exponents + result.exponents[::-1] - 2.0 * result.exponents.mean())) < 0.7
    assert result.kaplan_yorke is not None
    assert result.kaplan_yorke > 2.0


SIGMA, RHO, BETA = 10.0, 28.0, 8.0 / 3.0


def lorenz_response(drive: int, n_steps: int, h: float) -> tuple[FunctionMap, np.ndarray, np.ndarray]:
    """Two Lorenz coordinates driven by the third: s' = A(p) s + c(p), a step of RK4 with p at its 3 times.

    The steps' matrices and shifts are the input series.
    """
    series = systems.lorenz63().trajectory(2 * n_steps + 1, dt=0.5 * h)
    p, one, no = series[:, drive], np.ones(len(series)), np.zeros(len(series))
    A, c = (
        ([[-one, -p], [p, -BETA * one]], [RHO * p, no]),
        ([[-SIGMA * one, no], [p, -BETA * one]], [SIGMA * p, no]),
        ([[-SIGMA * one, SIGMA * one], [RHO - p, -one]], [no, no]),
    )[drive]
    A, c = np.array(A).transpose(2, 0, 1), np.array(c).T[:, :, None]
    J, s = np.broadcast_to(np.eye(2), (n_steps, 2, 2)), np.zeros((n_steps, 2, 1))
    K, k = A[:-2:2], c[:-2:2]
    for i, ahead, weight in ((1, 0.5, 1 / 6), (1, 0.5, 1 / 3), (2, 1.0, 1 / 3), (2, 0.0, 1 / 6)):
        J, s = J + h * weight * K, s + h * weight * k
        A_i, c_i = A[i : len(A) - 2 + i : 2], c[i : len(A) - 2 + i : 2]
        K, k = A_i @ (np.eye(2) + ahead * h * K), A_i @ (ahead * h * k) + c_i
    u = np.concatenate([J.reshape(-1, 4), s[:, :, 0]], axis=1)
    response = FunctionMap(
        lambda x, v: v[:4].reshape(2, 2) @ x + v[4:], lambda x, v: v[:4].reshape(2, 2), 2, 6
    )
    return response, u, np.delete(series[0], drive)


@pytest.mark.parametrize(
    ("drive", "expected", "tolerance"),
    [(0, (-1.80, -1.87), 0.06), (1, (-BETA, -SIGMA), 2e-5), (2, (0.0, -11.0), 0.02)],
)
def test_conditional_exponents_of_lorenz(drive: int, expected: tuple[float, float], tolerance: float) -> None:
    """Pecora and Carroll: the response decays when driven by x or y, and is neutral when driven by z."""
    response, u, x0 = lorenz_response(drive, 8000, 0.01)
    result = conditional_lyapunov_spectrum(response, u, x0, n_exponents="all", washout=1000, dt=0.01)
    np.testing.assert_allclose(result.exponents, expected, atol=tolerance)
    trace = -(SIGMA + 1.0 + BETA) + (SIGMA, 1.0, BETA)[drive]
    assert result.exponents.sum() == pytest.approx(trace, abs=1e-4)
    assert result.kaplan_yorke is None
    assert result.unit == "1/time"


def test_a_gated_cell_at_its_fixed_point() -> None:
    rng = np.random.default_rng(2)
    cell = LSTM(None, 0.6 * rng.standard_normal((24, 6)), 0.3 * rng.standard_normal(24))
    x = np.zeros(12)
    for _ in range(2000):
        x = cell.step(x)
    result = lyapunov_spectrum(cell, x, n_exponents="all", n_steps=400, transient=800)
    expected = np.sort(np.log(np.abs(np.linalg.eigvals(cell.jacobian(x)))))[::-1]
    np.testing.assert_allclose(result.exponents, expected, atol=0.02)
    assert result.exponents.sum() == pytest.approx(expected.sum(), abs=1e-9)
    assert len(result.exponents) == 12


# -- what is reported -------------------------------------------------------------------------------------


def test_running_means_and_batches_are_the_same_run() -> None:
    result = lyapunov_spectrum(henon(), [0.1, 0.1], n_exponents="all", n_steps=3000)
    np.testing.assert_allclose(result.running_means[-1], result.exponents, atol=1e-12)
    assert result.running_steps[-1] == 3000
    assert len(result.running_steps) == 60
    assert result.batch_means.shape == (20, 2)
    # The first batch is the first 150 steps.
    i = int(np.flatnonzero(result.running_steps == 150)[0])
    np.testing.assert_allclose(result.running_means[i], result.batch_means[0], atol=1e-12)


def test_the_standard_error_of_a_sum_that_telescopes() -> None:
    """Means x_i = e_i + (h_i - h_(i-1)): the error of their mean is that of e alone."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(300):
        e, h = 0.1 * rng.standard_normal((20, 1)), rng.standard_normal((21, 1))
        ratios.append(float(standard_errors(e + 0.2 * np.diff(h, axis=0))[0]))
    plain = math.sqrt((0.01 + 2.0 * 0.04) / 20)
    exact = math.sqrt(0.01 / 20)
    assert exact < math.sqrt(np.mean(np.square(ratios))) < 0.6 * plain


def test_what_a_constant_or_periodic_drive_means_is_said() -> None:
    network = EchoStateNetwork([[0.5]], W_in=[[1.0]])
    constant = conditional_lyapunov_spectrum(network, np.full((200, 1), 0.4))
    assert "constant" in constant.note
    still = lyapunov_spectrum(network.at_input([0.4]), n_exponents=1, n_steps=100)
    np.testing.assert_allclose(constant.exponents, still.exponents, atol=1e-12)
    periodic = conditional_lyapunov_spectrum(network, np.sin(np.arange(200) % 7)[:, None])
    assert "repeats after 7 steps" in periodic.note
    irregular = np.random.default_rng(0).standard_normal((200, 1))
    assert conditional_lyapunov_spectrum(network, irregular).note == ""


def test_batches_that_drift_are_reported() -> None:
    u = np.linspace(0.0, 3.0, 2000)[:, None]
    result = conditional_lyapunov_spectrum(EchoStateNetwork([[0.5]], W_in=[[1.0]]), u)
    assert "correlated" in result.note


def test_all_and_default_numbers() -> None:
    assert len(lyapunov_spectrum(henon(), n_steps=40).exponents) == 2
    assert len(lyapunov_spectrum(driven(9).at_input([0.0]), n_steps=40).exponents) == 3
    assert len(lyapunov_spectrum(driven(9).at_input([0.0]), n_exponents="all", n_steps=40).exponents) == 9
    with pytest.raises(InvalidInputError, match="n_exponents"):
        lyapunov_spectrum(henon(), n_exponents="some")  # type: ignore[arg-type]


def test_nearly_all_exponents_are_the_first_of_all() -> None:
    network = driven(30)
    u = np.random.default_rng(0).standard_normal((200, 1))
    some = conditional_lyapunov_spectrum(network, u, n_exponents=25)
    everything = conditional_lyapunov_spectrum(network, u, n_exponents="all")
    np.testing.assert_allclose(some.exponents, everything.exponents[:25], atol=1e-12)
    assert some.sum_rule_error is None
    dense = EchoStateNetwork(scipy.sparse.csr_array(network.W), W_in=network.W_in)
    same = conditional_lyapunov_spectrum(dense, u, n_exponents=25)
    np.testing.assert_allclose(same.exponents, some.exponents, atol=1e-12)


def test_progress_ends_at_one() -> None:
    seen: list[float] = []
    lyapunov_spectrum(henon(), n_steps=100, progress=lambda label, fraction: seen.append(fraction))
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    assert seen == sorted(seen)


def test_kaplan_yorke_of_unsorted_input() -> None:
    assert kaplan_yorke_dimension([0.0, -14.572, 0.9056]) == kaplan_yorke_dimension([0.9056, 0.0, -14.572])
    assert kaplan_yorke_dimension([])[0] is None


# -- covariant vectors ------------------------------------------------------------------------------------


def test_covariant_vectors_of_a_constant_matrix_are_its_eigenvectors() -> None:
    rng = np.random.default_rng(0)
    T = rng.standard_normal((4, 4))
    W = T @ np.diag([0.9, -0.6, 0.4, 0.2]) @ np.linalg.inv(T)
    found = covariant_lyapunov_vectors(
        EchoStateNetwork(W, activation="identity"), n_vectors="all", n_steps=30, transient=300
    )
    T = T / np.linalg.norm(T, axis=0)
    np.testing.assert_allclose(np.abs(np.einsum("ij,kij->kj", T, found.vectors)), 1.0, atol=1e-10)
    np.testing.assert_allclose(found.exponents, np.log([0.9, 0.6, 0.4, 0.2]), atol=1e-10)
    np.testing.assert_allclose(found.growth, found.exponents, atol=1e-10)
    np.testing.assert_allclose(found.cosines[7], np.abs(T.T @ T), atol=1e-10)
    assert found.note == ""


def test_second_covariant_vector_of_lorenz_is_the_flow() -> None:
    found = covariant_lyapunov_vectors(
        systems.lorenz63().as_map(0.05), n_steps=300, transient=1500, dt=0.05, every=3
    )
    x, y, z = found.states.T
    flow = np.column_stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z])
    cosine = np.abs(np.sum(flow * found.vectors[:, :, 1], axis=1)) / np.linalg.norm(flow, axis=1)
    assert np.max(1.0 - cosine) < 1e-6
    assert len(found.steps) == 101
    assert np.all(found.splitting_angles(1) > 0.0)


@pytest.mark.parametrize("checkpoint", [None, 1, 7, 5000])
def test_covariant_vectors_equal_the_slow_twin(checkpoint: int | None) -> None:
    network = driven(8, 2.0).at_input([0.3])
    start = 0.3 * np.random.default_rng(4).standard_normal(8)
    found = covariant_lyapunov_vectors(
        network, start, n_vectors="all", n_steps=40, transient=400, checkpoint=checkpoint
    )
    x = start
    for _ in range(420):
        x = network.step(x)
    np.testing.assert_allclose(found.states[20], x, atol=1e-12)
    # The twin comes from its own frames; what is compared is where both have converged.
    here, vectors = naive_covariant_vectors(network, start, 420, 400)
    np.testing.assert_allclose(here, x, atol=1e-12)
    cosine = np.abs(np.sum(vectors * found.vectors[20], axis=0))
    gaps = np.concatenate([-np.diff(found.exponents), [np.inf]])
    apart = np.minimum(gaps, np.concatenate([[np.inf], gaps[:-1]])) > 0.05
    assert np.sum(apart) >= 4
    np.testing.assert_allclose(cosine[apart], 1.0, atol=1e-8)


def test_covariant_vectors_are_covariant() -> None:
    network, u = driven(300), np.random.default_rng(3).standard_normal((700, 1))
    found = covariant_lyapunov_vectors(network, u=u, n_vectors=6, n_steps=100, transient=300)
    assert found.kind == "conditional"
    growth = np.zeros(6)
    for k in range(100):
        x = found.states[k]
        np.testing.assert_allclose(network.step(x, u[300 + k]), found.states[k + 1], atol=1e-12)
        moved = network.jacobian(x, u[300 + k]) @ found.vectors[k]
        size = np.linalg.norm(moved, axis=0)
        cosine = np.abs(np.sum(moved / size * found.vectors[k + 1], axis=0))
        np.testing.assert_allclose(cosine, 1.0, atol=1e-9)
        growth += np.log(size) / 100
    np.testing.assert_allclose(found.growth, growth, atol=1e-9)


def test_vectors_that_cannot_be_told_apart_are_named() -> None:
    found = covariant_lyapunov_vectors(
        EchoStateNetwork(np.diag([0.9, 0.899, 0.2]), activation="identity"), n_steps=20, transient=100
    )
    assert "exponents 1 and 2 are too close" in found.note


def test_misuse_of_covariant_vectors_is_refused() -> None:
    network = driven(5)
    with pytest.raises(InvalidInputError, match="has 1 inputs"):
        covariant_lyapunov_vectors(network)
    with pytest.raises(InvalidInputError, match="need 3000"):
        covariant_lyapunov_vectors(network, u=np.zeros((100, 1)))
    with pytest.raises(InvalidInputError, match="no inputs"):
        covariant_lyapunov_vectors(henon(), u=np.zeros((100, 1)))
    with pytest.raises(InvalidInputError, match="n_vectors"):
        covariant_lyapunov_vectors(henon(), n_vectors=3)
    with pytest.raises(InvalidInputError, match="n_steps"):
        covariant_lyapunov_vectors(henon(), n_steps=0)
    with pytest.raises(InvalidInputError, match="W has rank 4"):
        covariant_lyapunov_vectors(thin_network(30, 4, 1.0).at_input([0.1]), n_vectors=5)
    nilpotent = FunctionMap(lambda x: 0.0 * x, lambda x: np.zeros((2, 2)), 2)
    with pytest.raises(InvalidInputError, match="has no past"):
        covariant_lyapunov_vectors(nilpotent, n_steps=10, transient=0)
    with pytest.raises(InvalidInputError, match="n_leading"):
        covariant_lyapunov_vectors(henon(), [0.1, 0.1], n_steps=10, transient=20).splitting_angles(2)
    with pytest.raises(InvalidInputError, match="overflows"):
        covariant_lyapunov_vectors(EchoStateNetwork([[3.0]], activation="identity"), n_steps=3000)


# -- plots ------------------------------------------------------------------------------------------------


def test_plots() -> None:
    ax = plot_lyapunov(lyapunov_spectrum(systems.lorenz63().as_map(0.05), n_steps=400, dt=0.05))
    left, right = ax.child_axes
    assert "1/time" in left.get_ylabel()
    assert [t.get_text() for t in left.texts] == ["$\\lambda_{1}$", "$\\lambda_{2}$"]
    assert "D_" in right.get_title(loc="left")
    lost = plot_lyapunov(lyapunov_spectrum(EchoStateNetwork(np.zeros((3, 3))), n_steps=40))
    assert [t.get_text() for t in lost.child_axes[1].texts] == ["3 at −∞"]
    found = covariant_lyapunov_vectors(henon(), [0.1, 0.1], n_steps=300, transient=100)
    assert "degrees" in plot_splitting_angles(found).get_xlabel()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gain", "expected", "tolerance"), [(1.5, 0.065217, 0.012), (2.0, 0.154724, 0.012), (5.0, 0.532428, 0.02)]
)
def test_random_networks_agree_with_mean_field_theory(gain: float, expected: float, tolerance: float) -> None:
    """lambda_1 = 0.5 ln(g^2 <sech^4>) in the limit of many units."""
    found = []
    for seed in range(3):
        W = gain * np.random.default_rng(seed).standard_normal((800, 800)) / np.sqrt(800)
        found.append(lyapunov_spectrum(EchoStateNetwork(W), n_exponents=1, n_steps=2000).exponents[0])
    assert np.mean(found) == pytest.approx(expected, abs=tolerance)


@pytest.mark.slow
def test_mean_exponent_of_random_networks_agrees_with_mean_field_theory() -> None:
    """Mean of all = ln g - 1/2 + <ln sech^2>, -1.14902 at g = 2."""
    found = []
    for seed in range(3):
        W = 2.0 * np.random.default_rng(seed).standard_normal((300, 300)) / np.sqrt(300)
        spectrum = lyapunov_spectrum(EchoStateNetwork(W), n_exponents="all", n_steps=1000, transient=400)
        found.append(float(spectrum.exponents.mean()))
    assert np.mean(found) == pytest.approx(-1.14902, abs=0.02)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", ["henon", "network", "lorenz"])
def test_intervals_cover_the_truth_as_often_as_they_say(name: str) -> None:
    rng, covered, runs, n = np.random.default_rng(6), 0, 400, 2000
    system: Map
    if name == "henon":
        system = henon()
        truth = lyapunov_spectrum(system, [0.1, 0.1], n_exponents=1, n_steps=4_000_000).exponents[0]
        assert truth == pytest.approx(0.41922, abs=5e-4)
    elif name == "lorenz":
        # A flow: what a batch gains by the directions at its ends the next one loses.
        system, truth, runs, n = systems.lorenz63().as_map(0.2), 0.2 * 0.90566, 200, 2000
    else:
        system = EchoStateNetwork(3.0 * np.random.default_rng(0).standard_normal((30, 30)) / math.sqrt(30))
        truth = lyapunov_spectrum(system, n_exponents=1, n_steps=2_000_000).exponents[0]
        assert truth > 0.05
    for _ in range(runs):
        x0 = rng.uniform(0.0, 0.1, system.n_units)
        result = lyapunov_spectrum(system, x0, n_exponents=1, n_steps=n, transient=200, rng=rng)
        covered += bool(result.interval[0, 0] < truth < result.interval[0, 1])
    assert 0.91 <= covered / runs <= 0.98


@pytest.mark.parametrize("wrapped", [False, True])
def test_annihilated_directions_are_not_passed_off_as_exponents(wrapped: bool) -> None:
    """A unit that never fires takes a direction away: log eps is no exponent."""
    W = [[0.5, 0.2, 0.1], [0.3, -0.4, 0.2], [0.1, 0.1, 0.3]]
    network = EchoStateNetwork(W, b=[0.3, -5.0, 0.3], activation="relu")
    system = FunctionMap(network.step, network.jacobian, 3) if wrapped else network
    found = lyapunov_spectrum(system, n_exponents="all", n_steps=200)
    alive = np.log(np.abs(np.linalg.eigvals(np.array([[0.5, 0.1], [0.1, 0.3]]))))
    np.testing.assert_allclose(found.exponents[:2], np.sort(alive)[::-1], atol=1e-9)
    assert "exponents from number 3 on" in found.note
    assert not lyapunov_spectrum(system, n_exponents=2, n_steps=200).note


def test_a_nilpotent_chain_is_told() -> None:
    """Rounding makes eigenvalues eps^(1/2) of a block of two zeros: -18, where all is -inf."""
    J = np.array([[0.5, 0.2, 0.3], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    A = turn @ J @ turn.T
    found = lyapunov_spectrum(FunctionMap(lambda x: x @ A.T, lambda x: A, 3), n_steps=100)
    assert abs(found.exponents[0] - np.log(0.5)) < 1e-2
    assert "exponents from number 2 on" in found.note


def test_one_singular_determinant_breaks_the_sum_rule() -> None:
    """inf - (-40) is no agreement, and a maximum with NaN would hide it."""
    A = np.diag([0.5, 0.0])
    found = lyapunov_spectrum(FunctionMap(lambda x: x @ A.T, lambda x: A, 2), n_steps=100)
    assert found.exponents[1] == -np.inf or found.sum_rule_error == np.inf
    assert found.sum_rule_error is not None
    assert not np.isnan(found.sum_rule_error)
