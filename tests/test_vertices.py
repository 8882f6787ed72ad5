"""A common quadratic norm of all vertices: exact inequalities, sharpness, relations, refusals."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools._typing import FloatArray
from esntools.certificates.documents import check_certificate, proved_document, slopes_section
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.scaling import optimal_lurie
from esntools.certificates.sectors import Candidate, Sector
from esntools.certificates.vertices import MOST_UNITS, common_quadratic, vertex_radius
from esntools.inputs import AnyInput
from esntools.network import EchoStateNetwork

Q = Fraction


def sector(W: FloatArray, a: float = 1.0, low: float = 0.0, high: float = 1.0) -> Sector:
    n = len(W)
    return Sector(W, np.full(n, a), np.full(n, low), np.full(n, high))


def gaussian(n: int, radius: float, seed: int) -> FloatArray:
    W = np.random.default_rng(seed).normal(size=(n, n))
    return np.asarray(W * radius / np.abs(np.linalg.eigvals(W)).max())


def positive_definite(S: list[list[Q]]) -> bool:
    S = [list(row) for row in S]
    for k in range(len(S)):
        if S[k][k] <= 0:
            return False
        for i in range(k + 1, len(S)):
            factor = S[i][k] / S[k][k]
            if factor:
                S[i] = [x - factor * y for x, y in zip(S[i], S[k])]
    return True


def holds_exactly(of: Sector, candidate: Candidate) -> bool:
    """P symmetric and positive definite, r^2 P - J'PJ too at every vertex: in fractions, by elimination."""
    n, r = len(of.a), Q(candidate.rate)
    P = [[Q(x) for x in row] for row in candidate.witness["P"].tolist()]
    W = [[Q(x) for x in row] for row in of.W.tolist()]
    a = [Q(x) for x in of.a.tolist()]
    if [list(c) for c in zip(*P)] != P or not positive_definite(P):
        return False
    for D in itertools.product(*({Q(float(p)), Q(float(q))} for p, q in zip(of.low, of.high))):
        J = [[(1 - a[i]) * (i == j) + a[i] * D[i] * W[i][j] for j in range(n)] for i in range(n)]
        PJ = [[sum((P[i][k] * J[k][j] for k in range(n)), Q(0)) for j in range(n)] for i in range(n)]
        S = [
            [r * r * P[i][j] - sum((J[k][i] * PJ[k][j] for k in range(n)), Q(0)) for j in range(n)]
            for i in range(n)
        ]
        if not positive_definite(S):
            return False
    return True


CASES = {
    "one unit": sector(np.array([[-0.95]])),
    "no weights": sector(np.zeros((2, 2))),
    "nilpotent": sector(np.diag([3.0, 2.0], 1)),
    "leak": sector(gaussian(4, 0.9, 1), 0.3),
    "sine": sector(gaussian(3, 0.6, 2), 1.0, -1.0, 1.0),
    "logistic": sector(gaussian(4, 3.0, 4), 1.0, 0.0, 0.25),
    "one fixed slope": Sector(
        gaussian(3, 0.7, 5), np.array([1.0, 0.5, 0.2]), np.array([0.0, 1.0, 0.3]), np.array([1.0, 1.0, 0.8])
    ),
    "skew, leak 0.1 (known answer 9)": sector(np.array([[0.0, -1.89], [1.89, 0.0]]), 0.1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_candidate_satisfies_the_theorem_in_fractions(name: str) -> None:
    of = CASES[name]
    candidate = common_quadratic(of).candidate
    assert candidate is not None
    assert 0.0 < candidate.rate < 1.0
    assert holds_exactly(of, candidate)


@pytest.mark.parametrize("n", [1, 2, 6, 8])
def test_the_checker_accepts_the_candidate_and_no_smaller_rate(n: int) -> None:
    W = gaussian(n, 1.0, 4)
    dual = common_quadratic(sector(W, 0.8)).bound.dual
    assert dual is not None
    net = EchoStateNetwork(0.7 * dual * W, leak_rate=0.8)
    of = sector(net.dense_W(), 0.8)
    candidate = common_quadratic(of).candidate
    assert candidate is not None

    def valid(rate: float) -> bool:
        claimed = Candidate(candidate.theorem, rate, candidate.witness)
        slopes = slopes_section("global", of.low, of.high)
        document = proved_document(net, claimed, AnyInput(), slopes, states="all", notes={})
        return check_certificate(document).valid

    assert valid(candidate.rate)
    assert not valid(0.9 * candidate.rate)


def test_it_proves_what_the_optimal_lurie_rung_cannot() -> None:
    W = 0.655 * np.array([[0.0, -1.5, -0.5], [0.5, -0.5, -0.5], [0.5, 1.5, -1.5]])
    candidate = common_quadratic(sector(W)).candidate
    assert candidate is not None
    assert holds_exactly(sector(W), candidate)
    assert optimal_lurie(sector(W)).candidate is None
    # Five units: the multipliers end at 0.730, the vertices at 0.745.
    five = sector(gaussian(5, 0.74, 2))
    assert optimal_lurie(five).candidate is None
    assert common_quadratic(five).candidate is not None


def test_it_proves_whatever_the_lurie_rung_proves() -> None:
    count = 0
    for seed in range(8):
        of = sector(gaussian(4, 0.75, seed), 0.5)
        lurie = incremental_lurie(of).candidate
        if lurie is None:
            continue
        count += 1
        common = common_quadratic(of).candidate
        assert common is not None
        assert common.rate <= lurie.rate + 1e-6
    assert count >= 3


def test_differences_shrink_under_any_slopes() -> None:
    of = sector(gaussian(6, 0.75, 0))
    candidate = common_quadratic(of).candidate
    assert candidate is not None
    P = candidate.witness["P"]
    rng = np.random.default_rng(1)
    for _ in range(400):
        D = rng.beta(0.3, 0.3, 6)
        d = rng.normal(size=6)
        new = D * (of.W @ d)
        assert new @ P @ new <= candidate.rate**2 * (d @ P @ d)


def test_the_radius_sees_products_of_two_slopes() -> None:
    assert vertex_radius(sector(np.array([[0.5]]))) == pytest.approx(0.5)
    assert vertex_radius(sector(np.array([[0.2]]), low=-1.0, a=0.5)) == pytest.approx(0.6)
    # With d = (1, 0) and (0, 1) in turn the skew map alternates; each vertex alone is nilpotent or skew.
    of = sector(np.array([[0.0, 1.2], [-0.7, 0.0]]), low=0.0)
    assert vertex_radius(of) == pytest.approx(np.sqrt(0.84))
    # Slopes of either sign: the vertices of one sign give -0.9, those of mixed signs more in pairs.
    mixed = sector(np.array([[0.6, 0.6], [-0.6, 0.6]]), low=-1.0)
    singles = max(
        np.abs(np.linalg.eigvals(np.diag(D) @ mixed.W)).max()
        for D in itertools.product((-1.0, 1.0), repeat=2)
    )
    assert vertex_radius(mixed) >= singles - 1e-12


def test_nothing_is_proved_beyond_the_dual_gain() -> None:
    for seed in range(4):
        of = sector(gaussian(4, 1.0, seed))
        rung = common_quadratic(of)
        assert rung.bound.dual is not None
        assert rung.bound.dual <= 1.003
        beyond = common_quadratic(of.scaled(1.01 * rung.bound.dual))
        assert beyond.candidate is None
        assert beyond.bound.value > 0.999
        assert beyond.bound.critical_gain is not None
        assert beyond.bound.critical_gain < 1.0


def test_the_critical_gain_lies_between_the_lurie_rung_and_the_dual() -> None:
    for seed in range(3):
        of = sector(gaussian(4, 0.9, seed))
        bound = common_quadratic(of, optimise=True).bound
        assert bound.critical_gain is not None
        assert bound.dual is not None
        assert bound.critical_gain <= bound.dual + 5e-3
        below = of.scaled(0.99 * bound.critical_gain)
        assert common_quadratic(below).candidate is not None
        assert optimal_lurie(of.scaled(1.02 * bound.critical_gain)).candidate is None


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10**6))
def test_verdict_survives_permutation_and_signature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    W = gaussian(4, float(rng.choice([0.6, 1.05])), seed % 5)
    p, s = rng.permutation(4), rng.choice([-1.0, 1.0], 4)
    other = (s[:, None] * W * s)[np.ix_(p, p)]
    first, second = common_quadratic(sector(W)).candidate, common_quadratic(sector(other)).candidate
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.rate == pytest.approx(second.rate, abs=0.02)


@pytest.mark.slow
def test_ten_units() -> None:
    of = sector(gaussian(10, 0.75, 1))
    candidate = common_quadratic(of).candidate
    assert candidate is not None
    worst = max(
        float(np.linalg.eigvalsh(J.T @ P @ J - candidate.rate**2 * P)[-1])
        for P in [candidate.witness["P"]]
        for J in (np.array(D)[:, None] * of.W for D in itertools.product((0.0, 1.0), repeat=10))
    )
    assert worst < 0.0


def test_what_is_too_large_is_left_alone() -> None:
    n = MOST_UNITS + 1
    assert common_quadratic(sector(np.zeros((n, n)))).candidate is None
    assert common_quadratic(sector(np.full((2, 2), 1e200))).candidate is None
    assert common_quadratic(sector(np.full((2, 2), np.inf))).candidate is None


def test_the_deadline_is_respected() -> None:
    start = time.perf_counter()
    common_quadratic(sector(gaussian(9, 0.85, 0)), deadline=start, optimise=True)
    assert time.perf_counter() - start < 10.0
