"""Zero-input multipliers: exact inequalities, simulation, relations, known answers, and every refusal."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.certificates import check
from esntools.certificates.documents import check_certificate, proved_document, slopes_section
from esntools.certificates.multipliers import (
    _cycle_mean,
    _dominant,
    _rounded,
    multiplier_obstacle,
    zero_input_multipliers,
)
from esntools.certificates.regions import global_slopes
from esntools.inputs import AnyInput, Constant, InputBox, InputClass, Zero
from esntools.network import EchoStateNetwork, Readout

Q = Fraction


def network(n: int, radius: float, seed: int, **more: Any) -> EchoStateNetwork:
    W = np.random.default_rng(seed).normal(size=(n, n))
    return EchoStateNetwork(W * radius / np.abs(np.linalg.eigvals(W)).max(), **more)


def exact(M: FloatArray) -> list[list[Q]]:
    return [[Q(x) for x in row] for row in M.tolist()]


def product(A: list[list[Q]], B: list[list[Q]]) -> list[list[Q]]:
    columns = list(zip(*B, strict=True))
    return [[sum((x * y for x, y in zip(row, c) if x and y), Q(0)) for c in columns] for row in A]


def positive_definite(S: list[list[Q]]) -> bool:
    """All pivots of Gaussian elimination positive, in fractions."""
    S = [list(row) for row in S]
    for k in range(len(S)):
        if S[k][k] <= 0:
            return False
        for i in range(k + 1, len(S)):
            factor = S[i][k] / S[k][k]
            if factor:
                S[i] = [x - factor * y for x, y in zip(S[i], S[k])]
    return True


def holds_exactly(net: EchoStateNetwork, rate: float, witness: dict[str, FloatArray], top: Q) -> bool:
    """Section 5 of FORMAT.md, in fractions."""
    n = net.n_units
    W, P, M = exact(net.dense_W()), exact(witness["P"]), exact(witness["Q"])
    a, r = [Q(x) for x in net.leak_rate.tolist()], Q(rate)
    for i in range(n):
        row = sum((abs(M[i][j]) for j in range(n) if j != i), Q(0))
        column = sum((abs(M[j][i]) for j in range(n) if j != i), Q(0))
        if M[i][i] < max(row, column):
            return False
    MW = product(M, W)
    S = [[Q(0)] * (2 * n) for _ in range(2 * n)]
    for i in range(n):
        for j in range(n):
            S[i][j] = r * r * P[i][j] - (1 - a[i]) * P[i][j] * (1 - a[j])
            S[n + j][i] = S[i][n + j] = -(1 - a[i]) * P[i][j] * a[j] - MW[j][i]
            S[n + i][n + j] = (M[i][j] + M[j][i]) / top - a[i] * P[i][j] * a[j]
    return [list(c) for c in zip(*P)] == P and positive_definite(P) and positive_definite(S)


@pytest.mark.parametrize(
    ("n", "a", "name"),
    [(1, 1.0, "tanh"), (3, 1.0, "tanh"), (4, 0.3, "tanh"), (4, 1.0, "erf"), (5, 1.0, "softsign")],
)
def test_the_candidate_satisfies_the_theorem_in_fractions(n: int, a: float, name: str) -> None:
    top = check.ACTIVATIONS[Activation.named(name).expression].slopes[1]
    net = network(n, 0.9 / float(top), 3, leak_rate=a, activation=name)
    candidate = zero_input_multipliers(net).candidate
    assert candidate is not None
    high = Q(float(top)) if Q(float(top)) >= top else Q(float(np.nextafter(float(top), 2.0)))
    assert holds_exactly(net, candidate.rate, candidate.witness, high)
    # The same witness proves nothing about weights a tenth larger at the same rate.
    assert not holds_exactly(net.scaled(1.1), candidate.rate, candidate.witness, high)


@pytest.mark.parametrize(
    ("n", "name"), [(1, "tanh"), (6, "tanh"), (6, "erf"), (20, "softsign"), (4, "identity")]
)
def test_the_checker_accepts_it_for_zero_input_and_for_nothing_else(n: int, name: str) -> None:
    phi = Activation.named(name)
    top = global_slopes(phi)[1]
    net = network(n, 0.9 / top, 3, activation=name, W_in=np.ones((n, 1)))
    candidate = zero_input_multipliers(net).candidate
    assert candidate is not None

    def valid(inputs: InputClass, range_: str = "odd", of: EchoStateNetwork = net) -> bool:
        slopes = slopes_section(range_, np.zeros(n), np.full(n, top))
        return check_certificate(proved_document(of, candidate, inputs, slopes, states="all", notes={})).valid

    assert valid(Zero())
    for other in (AnyInput(), Constant([0.0]), Constant([0.1]), InputBox([-0.1], [0.1])):
        assert not valid(other)
    assert not valid(Zero(), "global")
    biased = EchoStateNetwork(net.W, W_in=net.W_in, b=np.full(n, 1e-9), activation=name)
    assert not valid(Zero(), of=biased)


def test_vector_leak_and_linear_feedback() -> None:
    rng = np.random.default_rng(1)
    leak = np.array([1.0, 0.7, 0.2, 0.5])
    free = network(4, 0.8, 5, leak_rate=leak)
    readout = Readout(W_out=0.1 * rng.normal(size=(2, 4)))
    net = EchoStateNetwork(free.dense_W(), W_fb=rng.normal(size=(4, 2)), leak_rate=leak, readout=readout)
    candidate = zero_input_multipliers(net).candidate
    assert candidate is not None
    folded = EchoStateNetwork(net.folded().dense_W(), leak_rate=leak)
    assert holds_exactly(folded, candidate.rate, candidate.witness, Q(1))


@pytest.mark.parametrize("name", ["tanh", "softsign", "hard_tanh", "identity"])
def test_the_norm_shrinks_by_the_rate_from_every_state(name: str) -> None:
    net = network(10, 0.95, 2, activation=name)
    candidate = zero_input_multipliers(net).candidate
    assert candidate is not None
    P = candidate.witness["P"]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 10)) * 10.0 ** rng.uniform(-3, 3, (4000, 1))
    # Directions in which the quadratic form falls least, too.
    J = net.dense_W()
    worst = np.linalg.eigh(J.T @ P @ J - candidate.rate**2 * P)[1][:, -3:].T
    x = np.vstack([x, *(scale * worst for scale in 10.0 ** np.linspace(-3, 3, 13))])
    after = net.activation(x @ net.dense_W().T)
    before, now = (np.einsum("ki,ij,kj->k", y, P, y) for y in (x, after))
    assert np.all(now <= candidate.rate**2 * before * (1 + 1e-12))


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 8), st.integers(0, 10**6), st.floats(-3.0, 3.0))
def test_doubly_dominant_forms_of_odd_monotone_functions_are_nonnegative(
    n: int, seed: int, exponent: float
) -> None:
    """The lemma of section 5, for what `_rounded` makes of any matrix."""
    rng = np.random.default_rng(seed)
    M = _rounded(rng.normal(size=(n, n)) + rng.uniform(0.0, 3.0) * np.eye(n))
    size = np.abs(M) - np.diag(np.abs(np.diag(M)))
    assert np.all(np.diag(M) >= size.sum(axis=0))
    assert np.all(np.diag(M) >= size.sum(axis=1))
    z = rng.normal(size=n) * 10.0**exponent
    for phi in ("tanh", "softsign", "hard_tanh"):
        w = Activation.named(phi)(z)
        assert w @ M @ (z - w) >= -1e-12 * np.abs(w).sum() * np.abs(z).sum()


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_dual_bound_is_above_every_doubly_dominant_matrix(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    Y = rng.normal(size=(n, n))
    bound = n * _cycle_mean(_dominant(Y))
    for _ in range(20):
        M = rng.normal(size=(n, n)) * rng.random((n, n)) ** 3
        np.fill_diagonal(M, np.abs(M).sum(axis=0) * rng.random(n) + 0.1)
        M = _rounded(M)
        assert float((Y * M).sum()) * n / float(np.trace(M)) <= bound + 1e-9
    # A single diagonal entry is one of them.
    assert bound >= n * float(np.diag(Y).max()) - 1e-9


def test_ten_units_up_to_where_multipliers_are_known_to_reach() -> None:
    """Diagonal multipliers end at .87 on average; with all of Q, .95 and more (the research page, 2c)."""
    for seed in range(6):
        assert zero_input_multipliers(network(10, 0.95, seed)).candidate is not None
        assert zero_input_multipliers(network(10, 0.97, seed, leak_rate=0.3)).candidate is not None


@pytest.mark.slow
@pytest.mark.ci
def test_fifty_units_at_radius_0_9() -> None:
    for seed in range(3):
        net = network(50, 0.9, seed)
        candidate = zero_input_multipliers(net).candidate
        assert candidate is not None
        assert candidate.rate < 1.0


@pytest.mark.slow
def test_a_hundred_units_at_radius_0_9() -> None:
    start = time.process_time()
    assert zero_input_multipliers(network(100, 0.9, 0)).candidate is not None
    assert time.process_time() - start < 60.0


@pytest.mark.parametrize("symmetric", [False, True])
def test_orthogonal_and_symmetric_weights_up_to_one(symmetric: bool) -> None:
    """Known answer 13: .99 Q is proved, 1.01 Q has an unstable origin."""
    q = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
    if symmetric:
        q = q @ np.diag(np.where(np.arange(12) % 2, 1.0, -1.0)) @ q.T
        q = 0.5 * (q + q.T)
    assert zero_input_multipliers(EchoStateNetwork(0.99 * q)).candidate is not None
    assert zero_input_multipliers(EchoStateNetwork(1.01 * q)).candidate is None


def test_an_unstable_origin_is_never_proved() -> None:
    for seed in range(10):
        net = network(6, 1.02, seed, leak_rate=0.5)
        J = 0.5 * np.eye(6) + 0.5 * net.dense_W()
        rung = zero_input_multipliers(net)
        if np.abs(np.linalg.eigvals(J)).max() >= 1.0:
            assert rung.candidate is None
    assert zero_input_multipliers(EchoStateNetwork([[1.01]])).candidate is None
    assert zero_input_multipliers(EchoStateNetwork([[0.0, 10.0], [-0.012, 1.1]])).candidate is None


def test_one_unit_no_weights_and_a_nilpotent_network() -> None:
    for W in (np.array([[0.99]]), np.array([[-0.99]]), np.zeros((3, 3)), np.diag([2.0, 3.0, 1.0], 1)):
        candidate = zero_input_multipliers(EchoStateNetwork(W)).candidate
        assert candidate is not None
        assert holds_exactly(EchoStateNetwork(W), candidate.rate, candidate.witness, Q(1))


def test_huge_weights_are_no_error() -> None:
    assert zero_input_multipliers(EchoStateNetwork(np.full((2, 2), 1e200))).candidate is None


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_verdict_survives_permutation_signature_and_shrinking(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = network(6, 0.93, seed % 7)
    p, s = rng.permutation(6), rng.choice([-1.0, 1.0], 6)
    other = EchoStateNetwork((s[:, None] * net.dense_W() * s)[np.ix_(p, p)])
    assert zero_input_multipliers(net).candidate is not None
    assert zero_input_multipliers(other).candidate is not None
    assert zero_input_multipliers(net.scaled(float(rng.uniform(0.1, 1.0)))).candidate is not None


def test_a_dual_matrix_shows_that_nothing_succeeds_beyond_instability() -> None:
    rung = zero_input_multipliers(network(8, 1.2, 0))
    assert rung.candidate is None
    assert rung.bound.dual == 1.0
    assert rung.bound.value > 1.0
    assert rung.bound.critical_gain is not None
    assert rung.bound.critical_gain < 1.0


def test_the_reported_gain_is_proved() -> None:
    net = network(8, 1.1, 1)
    gain = zero_input_multipliers(net).bound.critical_gain
    assert gain is not None
    assert zero_input_multipliers(net.scaled(0.98 * gain)).candidate is not None


def test_the_deadline_is_respected() -> None:
    start = time.perf_counter()
    rung = zero_input_multipliers(network(60, 0.97, 0), deadline=start)
    assert rung.candidate is None
    assert time.perf_counter() - start < 5.0


REFUSED = {
    "logistic": (EchoStateNetwork([[0.5]], activation="logistic"), "not both odd and monotone"),
    "sine": (EchoStateNetwork([[0.5]], activation="sine"), "not both odd and monotone"),
    "relu": (EchoStateNetwork([[0.5]], activation="relu"), "not both odd and monotone"),
    "bias": (EchoStateNetwork([[0.5]], b=[1e-300]), "there is a bias"),
    "unknown": (EchoStateNetwork([[0.5]], activation=Activation.from_sympy("atan(x)")), "does not know"),
    "offset": (
        EchoStateNetwork([[0.5]], W_fb=[[1.0]], readout=Readout(W_out=[[0.1]], b_out=[0.1])),
        "offset of the readout",
    ),
    "squares": (
        EchoStateNetwork([[0.5]], W_fb=[[1.0]], readout=Readout(W_out=[[0.1]], W_sq=[[0.1]])),
        "squares",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_the_multipliers_are_not_valid_the_reason_is_said(case: str) -> None:
    net, reason = REFUSED[case]
    assert reason in multiplier_obstacle(net)
    rung = zero_input_multipliers(net)
    assert rung.candidate is None
    assert rung.bound.critical_gain is None


def test_an_offset_that_is_not_fed_back_does_no_harm() -> None:
    readout = Readout(W_out=[[0.1]], b_out=[0.3])
    net = EchoStateNetwork([[0.5]], readout=readout)
    assert multiplier_obstacle(net) == ""
    assert zero_input_multipliers(net).candidate is not None
