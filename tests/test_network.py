"""The network is its equation: against loops, finite differences, and itself rewritten."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import naive_network
import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import arrays, networks, networks_at

from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork, Readout

slow_to_draw = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SMOOTH = ("tanh", "logistic", "identity", "erf", "sine")


def example(**changes: object) -> EchoStateNetwork:
    parts: dict[str, object] = {
        "W": [[0.5, -0.25], [0.0, 1.0]],
        "W_in": [[1.0], [2.0]],
        "b": [0.1, -0.1],
        "leak_rate": [0.5, 1.0],
        "readout": Readout([[1.0, 2.0]], [[0.5, 0.0]], [0.25]),
        "W_fb": [[0.3], [-0.2]],
    }
    return EchoStateNetwork(**(parts | changes))


# -- the formula ------------------------------------------------------------------------------------------


@given(networks_at())
@slow_to_draw
def test_step_is_the_displayed_formula(case: tuple) -> None:
    network, x, u = case
    np.testing.assert_allclose(network.step(x, u), naive_network.step(network, x, u), rtol=1e-12, atol=1e-12)
    if network.readout is not None:
        expected = naive_network.output(network.readout, x)
        np.testing.assert_allclose(network.output(x), expected, rtol=1e-12, atol=1e-12)


@given(networks_at(), st.integers(1, 3), st.integers(1, 2))
@slow_to_draw
def test_a_batch_is_its_members(case: tuple, n_batch: int, n_more: int) -> None:
    network, x, u = case
    scale = np.linspace(0.5, 1.0, n_batch * n_more).reshape(n_more, n_batch, 1)
    X, U = scale * x, scale * u
    together = network.step(X, U)
    assert together.shape == X.shape
    for i in np.ndindex(n_more, n_batch):
        np.testing.assert_allclose(together[i], network.step(X[i], U[i]), rtol=1e-13, atol=1e-13)


@given(networks_at(activations=SMOOTH))
@slow_to_draw
def test_jacobian_is_the_derivative_of_step(case: tuple) -> None:
    network, x, u = case
    J = network.jacobian(x, u)
    h = 1e-6
    for j, e in enumerate(np.eye(network.n_units)):
        difference = (network.step(x + h * e, u) - network.step(x - h * e, u)) / (2 * h)
        scale = 1 + np.max(np.abs(J)) + np.max(np.abs(network.step(x, u)))
        # The second difference of the sine of a large quadratic is what limits the agreement.
        curvature = np.max(np.abs(network.preactivation(x + e, u))) + 1
        np.testing.assert_allclose(J[:, j], difference, atol=1e-8 * scale * curvature**2)


@given(networks_at(), st.integers(1, 3), st.data())
@slow_to_draw
def test_jacobian_vector_is_the_jacobian_times_the_vector(case: tuple, k: int, data: st.DataObject) -> None:
    network, x, u = case
    V = data.draw(arrays((network.n_units, k)))
    J = network.jacobian(x, u)
    scale = 1 + np.max(np.abs(J))
    np.testing.assert_allclose(network.jacobian_vector(x, V, u), J @ V, atol=1e-12 * scale)
    np.testing.assert_allclose(network.jacobian_vector(x, V[:, 0], u), J @ V[:, 0], atol=1e-12 * scale)


@pytest.mark.parametrize("name", ["relu", "hard_tanh", "softsign"])
def test_jacobian_away_from_kinks(name: str) -> None:
    network = example(activation=name)
    x, u, h = np.array([0.2, 0.3]), np.array([0.1]), 1e-7
    for j, e in enumerate(np.eye(2)):
        difference = (network.step(x + h * e, u) - network.step(x - h * e, u)) / (2 * h)
        np.testing.assert_allclose(network.jacobian(x, u)[:, j], difference, atol=1e-7)


def test_known_answers() -> None:
    linear = EchoStateNetwork([[2.0]], W_in=[[3.0]], b=1.0, leak_rate=0.25, activation="identity")
    assert linear.step([4.0], [5.0]) == 0.75 * 4 + 0.25 * (8 + 15 + 1)
    assert linear.jacobian([4.0], [5.0]) == 0.75 + 0.25 * 2
    rnn = EchoStateNetwork([[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(rnn.step([0.5, -1.0]), np.tanh([-1.0, 0.5]), atol=1e-15)
    ring = scipy.sparse.csr_array(np.roll(np.eye(700), 1, axis=0))
    assert EchoStateNetwork(ring).spectral_radius() == pytest.approx(1.0, abs=1e-12)
    zero = EchoStateNetwork(scipy.sparse.csr_array((600, 600)))
    assert zero.spectral_radius() == 0.0


def test_spectral_radius_of_a_large_sparse_matrix_is_that_of_the_dense_one_and_repeats() -> None:
    W = scipy.sparse.random_array((600, 600), density=0.01, rng=np.random.default_rng(5)) * 2.0
    sparse = EchoStateNetwork(W)
    assert sparse.spectral_radius() == pytest.approx(
        EchoStateNetwork(W.toarray()).spectral_radius(), rel=1e-10
    )
    assert sparse.spectral_radius() == sparse.spectral_radius()


# -- relatives --------------------------------------------------------------------------------------------


@given(networks_at(same_width=True, readout=True))
@slow_to_draw
def test_closed_loop_is_step_driven_by_the_output(case: tuple) -> None:
    network, x, _ = case
    closed = network.closed_loop()
    assert closed.n_inputs == 0
    expected = network.step(x, network.output(x))
    scale = 1 + np.max(np.abs(network.preactivation(x, network.output(x))))
    np.testing.assert_allclose(closed.step(x), expected, atol=1e-13 * scale)
    np.testing.assert_array_equal(closed.output(x), network.output(x))


@given(networks_at(readout=True, squares=False))
@slow_to_draw
def test_folded_is_the_same_map_without_feedback(case: tuple) -> None:
    network, x, u = case
    folded = network.folded()
    assert folded.W_fb is None
    scale = 1 + np.max(np.abs(network.preactivation(x, u)))
    np.testing.assert_allclose(folded.step(x, u), network.step(x, u), atol=1e-12 * scale)


@given(networks_at())
@slow_to_draw
def test_at_input_freezes_the_input(case: tuple) -> None:
    network, x, u = case
    frozen = network.at_input(u)
    assert frozen.n_inputs == 0
    scale = 1 + np.max(np.abs(network.preactivation(x, u)))
    np.testing.assert_allclose(frozen.step(x), network.step(x, u), atol=1e-13 * scale)


@given(networks(), st.sampled_from([0.0, 0.5, -2.0]))
@slow_to_draw
def test_scaled_scales_W_alone(network: EchoStateNetwork, gain: float) -> None:
    scaled = network.scaled(gain)
    np.testing.assert_array_equal(scaled.dense_W(), gain * network.dense_W())
    assert scaled.is_sparse == network.is_sparse
    assert replace(scaled, W=network.W) == network


# -- identity ---------------------------------------------------------------------------------------------


@given(networks())
@slow_to_draw
def test_hash_does_not_depend_on_storage(network: EchoStateNetwork) -> None:
    dense = network.dense_W()
    for W in (dense, np.asfortranarray(dense), scipy.sparse.csr_array(dense), scipy.sparse.coo_array(dense)):
        twin = replace(network, W=W)
        assert twin == network
        assert hash(twin) == hash(network)
    long = scipy.sparse.csr_array(dense)
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    assert replace(network, W=long).content_hash == network.content_hash
    assert copy.deepcopy(network) == network
    assert pickle.loads(pickle.dumps(network)) == network


def test_hash_ignores_explicit_and_negative_zeros_and_duplicates() -> None:
    plain = scipy.sparse.csr_array(np.array([[0.0, 2.0], [0.0, 0.0]]))
    padded = scipy.sparse.csr_array(
        (np.array([1.5, 0.5, -0.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2)
    )
    assert EchoStateNetwork(padded) == EchoStateNetwork(plain)
    assert EchoStateNetwork(padded).W.nnz == 1
    assert EchoStateNetwork([[-0.0]], W_in=[[-0.0]], b=-0.0) == EchoStateNetwork([[0.0]], W_in=[[0.0]])


@given(networks(readout=True, feedback=True), st.data())
@slow_to_draw
def test_hash_changes_with_any_single_number(network: EchoStateNetwork, data: st.DataObject) -> None:
    section = data.draw(st.sampled_from(["W", "W_in", "W_fb", "b", "leak_rate", "W_out", "W_sq", "b_out"]))
    psi = network.readout
    assert psi is not None
    owner = psi if section in ("W_out", "W_sq", "b_out") else network
    array = network.dense_W() if section == "W" else getattr(owner, section)
    if array is None or array.size == 0:
        return
    changed = array.copy()
    i = data.draw(st.integers(0, array.size - 1))
    old = changed.flat[i]
    # The neighbouring double, downwards so that a leak rate stays in (0, 1].
    changed.flat[i] = np.nextafter(old, -np.inf)
    if owner is psi:
        other = replace(network, readout=replace(psi, **{section: changed}))
    else:
        other = replace(network, **{section: changed})
    assert other != network


def test_hash_changes_with_structure() -> None:
    base = example()
    distinct = [
        base,
        example(activation="erf"),
        example(W_fb=None),
        example(W_fb=None, readout=None),
        example(readout=Readout([[1.0, 2.0]], None, [0.25])),
        example(W_in=None),
        example(W_in=[[1.0, 0.0], [2.0, 0.0]]),
        example(W=np.transpose([[0.5, -0.25], [0.0, 1.0]])),
        example(leak_rate=0.5),
        EchoStateNetwork(np.zeros((2, 2))),
        EchoStateNetwork(np.zeros((3, 3))),
    ]
    assert len({network.content_hash for network in distinct}) == len(distinct)
    assert base != "a network"


def test_content_hash_is_stable_across_releases() -> None:
    """Certificates name networks by it: a changed value is a new certificate format."""
    assert example().content_hash == EXPECTED_HASH


EXPECTED_HASH = "98a72e5505ccc2e8eef6a52bdf0f8ee42bf1f5dbe47a2a2ce89cf0a0578a403a"


# -- a value ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("W", [np.eye(2), scipy.sparse.csr_array(np.eye(2))], ids=["dense", "CSR"])
def test_arrays_are_copied_and_read_only(W: object) -> None:
    b = np.ones(2)
    network = EchoStateNetwork(W, b=b)
    b[0] = 7.0
    (W.data if scipy.sparse.issparse(W) else W)[:1] = 7.0
    assert network == EchoStateNetwork(np.eye(2), b=1.0)
    with pytest.raises(ValueError, match="read-only"):
        network.b[0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        (network.W.data if network.is_sparse else network.W)[0] = 2.0
    with pytest.raises(FrozenInstanceError):
        network.b = b


def test_sparse_stays_sparse_and_dense_stays_dense() -> None:
    csr = EchoStateNetwork(
        scipy.sparse.coo_array(np.eye(3)), W_in=np.ones((3, 1)), readout=Readout(np.ones((1, 3)))
    )
    assert isinstance(csr.W, scipy.sparse.csr_array)
    for relative in (csr.closed_loop(), csr.at_input(1.0), csr.scaled(2.0)):
        assert relative.is_sparse
    assert not EchoStateNetwork(np.eye(3)).is_sparse


def test_repr_names_what_matters() -> None:
    assert repr(example()) == "EchoStateNetwork(n_units=2 (dense), n_inputs=1, n_outputs=1, tanh, feedback)"
    assert repr(example().readout) == "Readout(affine in [x, x*x], n_outputs=1, n_units=2)"


def test_leak_rate_that_all_units_share() -> None:
    assert example(leak_rate=0.3).uniform_leak_rate == 0.3
    assert example().uniform_leak_rate is None


# -- refusals ---------------------------------------------------------------------------------------------

BROKEN_CSR = scipy.sparse.csr_array(np.eye(2))
BROKEN_CSR.indices[0] = 9


@pytest.mark.parametrize(
    ("change", "place", "rule"),
    [
        ({"W": np.ones((2, 3))}, "W", "square"),
        ({"W": np.ones(2)}, "W", r"\(any, any\)"),
        ({"W": np.ones((0, 0))}, "W", "at least one unit"),
        ({"W": scipy.sparse.csr_array((2, 3))}, "W", "square"),
        ({"W": [[1.0, np.nan], [0.0, 1.0]]}, r"W\[0, 1\]", "finite"),
        ({"W": scipy.sparse.csr_array([[1.0, np.inf], [0.0, 1.0]])}, "W", "finite"),
        ({"W": 1j * np.eye(2)}, "W", "real numbers"),
        ({"W": scipy.sparse.csr_array(1j * np.eye(2))}, "W", "real numbers"),
        ({"W": BROKEN_CSR}, "W", "valid sparse array"),
        ({"W": [[1.0], [2.0, 3.0]]}, "W", "real numbers"),
        ({"W": "tanh"}, "W", "real numbers"),
        ({"W": None}, "W", "real numbers"),
        ({"W_in": np.ones((3, 1))}, "W_in", r"\(2, any\)"),
        ({"W_in": [["1"], ["2"]]}, "W_in", "real numbers"),
        ({"W_in": scipy.sparse.csr_array(np.ones((2, 1)))}, "W_in", "real numbers"),
        ({"b": [1.0, 2.0, 3.0]}, "b", r"\(2\)"),
        ({"b": np.ones((2, 1))}, "b", r"\(2\)"),
        ({"b": None}, "b", "real numbers"),
        ({"b": np.nan}, r"b\[0\]", "finite"),
        ({"leak_rate": 0.0}, r"leak_rate\[0\]", r"\(0, 1\]"),
        ({"leak_rate": [0.5, 1.5]}, r"leak_rate\[1\]", r"\(0, 1\]"),
        ({"leak_rate": -0.1}, r"leak_rate\[0\]", r"\(0, 1\]"),
        ({"leak_rate": "fast"}, "leak_rate", "real numbers"),
        ({"activation": "tahn"}, "activation", "did you mean 'tanh'"),
        ({"activation": np.tanh}, "activation", "from_sympy"),
        ({"readout": Readout(np.ones((1, 3)))}, "readout", "2 units"),
        ({"readout": None}, "W_fb", "needs a readout"),
        ({"W_fb": np.ones((2, 2))}, "W_fb", r"\(2, 1\)"),
        ({"W_fb": [[np.inf], [0.0]]}, r"W_fb\[0, 0\]", "finite"),
    ],
)
def test_what_is_not_a_network_is_refused(change: dict, place: str, rule: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}: .*{rule}"):
        example(**change)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (([1.0, 2.0],), "W_out"),
        (([[1.0, 2.0]], [[1.0]]), "W_sq"),
        (([[1.0, 2.0]], None, [1.0, 2.0]), "b_out"),
        (([[1.0, Fraction(1, 2)]],), "W_out"),
    ],
)
def test_what_is_not_a_readout_is_refused(arguments: tuple, place: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}: "):
        Readout(*arguments)


def test_wrong_arguments_are_refused() -> None:
    network = example()
    x, u = np.zeros(2), np.zeros(1)
    for call, place in (
        (lambda: network.step(np.zeros(3), u), "x"),
        (lambda: network.step(1.0, u), "x"),
        (lambda: network.step(x), "u"),
        (lambda: network.step(x, np.zeros(2)), "u"),
        (lambda: network.jacobian(np.zeros((4, 2)), u), "x"),
        (lambda: network.jacobian_vector(x, np.zeros(3), u), "V"),
        (lambda: network.at_input([0.0, 1.0]), "u"),
        (lambda: network.at_input([[0.0]]), "u"),
        (lambda: network.at_input(np.nan), r"u\[0\]"),
        (lambda: network.folded(), "folded"),
        (lambda: example(W_in=None).closed_loop(), "closed_loop"),
        (lambda: example(W_in=np.ones((2, 2))).closed_loop(), "closed_loop"),
        (lambda: EchoStateNetwork([[1.0]]).output([0.0]), "output"),
        (lambda: network.scaled(np.nan), r"W\[0, 0\]"),
    ):
        with pytest.raises(InvalidInputError, match=f"^{place}: "):
            call()
