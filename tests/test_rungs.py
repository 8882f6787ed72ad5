"""The rungs of the ladder, in floating point: against slow twins, known answers, and the exact checker."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from naive_rungs import best_by_scanning, found_by_ascent, naive_margin
from numpy.typing import NDArray

from esntools.certificates import check_certificate
from esntools.certificates.documents import proved_document, slopes_section
from esntools.certificates.lurie import Reach, frequency, incremental_lurie, lurie_witness
from esntools.certificates.norms import diagonal_schur, perron_weights, scaled_norm, spectral_norm
from esntools.certificates.scaling import optimal_lurie, osborne
from esntools.certificates.sectors import Candidate, Rung, Sector, congruence, uniform_slope_radius
from esntools.inputs import AnyInput
from esntools.network import EchoStateNetwork

Array = NDArray[np.float64]


def unit(W: object, a: float = 1.0, high: float = 1.0) -> Sector:
    W = np.array(W, dtype=np.float64)
    n = len(W)
    return Sector(W, np.full(n, a), np.zeros(n), np.full(n, high))


def gaussian(n: int, seed: int, radius: float = 1.0, links: int | None = None) -> Array:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n))
    if links is not None:
        W = W * (rng.random((n, n)) < links / n)
    return W * (radius / np.abs(np.linalg.eigvals(W)).max())


def varied(n: int, seed: int) -> Sector:
    """A sector of different leak rates and slope ranges that all hold 1, the slope of the identity."""
    rng = np.random.default_rng(seed)
    W = gaussian(n, seed, 0.6)
    return Sector(W, rng.uniform(0.3, 1.0, n), rng.uniform(-0.2, 1.0, n), np.ones(n))


def accepted(sector: Sector, candidate: Candidate, activation: str = "tanh") -> bool:
    W = sector.W
    network = EchoStateNetwork(W, leak_rate=sector.a, activation=activation)
    slopes = slopes_section("global", sector.low, sector.high)
    document = proved_document(network, candidate, AnyInput(), slopes, states="all", notes={})
    return check_certificate(document).valid


RUNGS = {
    "perron": perron_weights,
    "spectral": spectral_norm,
    "diagonal": diagonal_schur,
    "lurie": incremental_lurie,
    "optimal": optimal_lurie,
}

# -- slow twins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [1.0, 0.3, 0.1])
@pytest.mark.parametrize("rate", [1.0, 0.97])
def test_the_reach_is_the_ellipse_criterion_on_a_dense_grid(a: float, rate: float) -> None:
    """Theorem A: the numerical range lies in an ellipse; here by brute force over angles."""
    for seed in range(4):
        W = gaussian(6, seed)
        y = np.random.default_rng(seed).uniform(0.2, 5.0, 6)
        Y = np.sqrt(y)[:, None] * W / np.sqrt(y)
        worst = 0.0
        for theta in np.linspace(0.0, math.pi, 1441):
            q = a / (rate * np.exp(1j * theta) - 1.0 + a)
            worst = max(worst, float(np.linalg.eigvalsh(0.5 * (q * Y + np.conj(q) * Y.T))[-1]))
        reach = Reach(unit(W, a), y).at(rate)
        assert worst * (1.0 - 1e-5) <= reach <= worst * (1.0 + 2e-3)
        if rate == 1.0:
            # The ellipse itself: (1 - a) Re w + |w| < 2 - a, on points of the numerical range.
            rng = np.random.default_rng(1)
            v = rng.normal(size=(2000, 6)) + 1j * rng.normal(size=(2000, 6))
            w = np.einsum("ki,ij,kj->k", v.conj(), Y, v) / (np.abs(v) ** 2).sum(axis=1)
            assert np.max((1.0 - a) * w.real + np.abs(w)) <= (2.0 - a) * reach


@pytest.mark.parametrize("seed", range(6))
def test_the_reach_of_varied_units_is_the_frequency_condition(seed: int) -> None:
    sector = varied(5, seed)
    y = np.random.default_rng(seed + 50).uniform(0.3, 3.0, 5)
    for rate in (1.0, 0.98):
        reach = Reach(sector, y).at(rate)
        margin = naive_margin(sector, y, rate)
        assert 1.0 - margin == pytest.approx(reach, rel=3e-3)


def test_the_reach_by_lanczos_is_that_of_dense_eigenvalues() -> None:
    n = 260
    W = gaussian(n, 3, 0.8, links=10)
    y = np.random.default_rng(4).uniform(0.5, 2.0, n)
    root = np.sqrt(y)
    Y = root[:, None] * W / root
    worst = max(
        float(np.linalg.eigvalsh(0.5 * (q * Y + np.conj(q) * Y.T))[-1])
        for q in 0.4 / (np.exp(1j * np.linspace(0.0, math.pi, 31)) - 0.6)
    )
    dense = unit(W, 0.4)
    sparse = Sector(scipy.sparse.csr_array(W), dense.a, dense.low, dense.high)
    for sector in (dense, sparse):
        assert worst * (1.0 - 1e-3) <= Reach(sector, y).at() <= worst * (1.0 + 3e-3)


@pytest.mark.parametrize(("n", "seed"), [(2, 0), (2, 1), (2, 2), (3, 0), (3, 1)])
@pytest.mark.parametrize("a", [1.0, 0.2])
def test_optimal_multipliers_are_as_good_as_a_scan_of_all(n: int, seed: int, a: float) -> None:
    W = gaussian(n, seed)
    bound = optimal_lurie(unit(W, a), optimise=True).bound
    scanned = best_by_scanning(W, a)
    assert bound.value <= scanned * 1.004
    assert bound.dual is not None
    assert 1.0 / bound.dual <= scanned * 1.001


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(("n", "a", "seed"), [(1, 0.5, 0), (2, 1.0, 1), (2, 0.3, 2), (3, 1.0, 3)])
def test_the_critical_gain_is_where_the_matrix_inequality_stops(n: int, a: float, seed: int) -> None:
    sector = unit(gaussian(n, seed), a)
    bound = optimal_lurie(sector, optimise=True).bound
    assert bound.critical_gain is not None
    assert bound.dual is not None
    assert found_by_ascent(sector.scaled(0.95 * bound.critical_gain)) > 0.0
    assert found_by_ascent(sector.scaled(1.02 * bound.dual)) < 0.0


@pytest.mark.parametrize("seed", range(3))
def test_diagonal_schur_is_as_good_as_a_search(seed: int) -> None:
    sector = unit(gaussian(4, seed))

    def norm(logs: Array) -> float:
        return scaled_norm(sector, np.exp(np.concatenate([[0.0], logs])))

    found = scipy.optimize.minimize(norm, np.zeros(3), method="Nelder-Mead", options={"maxfev": 4000}).fun
    bound = diagonal_schur(sector, optimise=True).bound
    assert bound.value <= found * 1.003
    assert bound.dual is not None
    assert 1.0 / bound.dual <= found


def test_perron_value_is_the_spectral_radius_of_the_comparison_matrix() -> None:
    for seed in range(5):
        sector = varied(8, seed)
        M = sector.a[:, None] * np.abs(sector.W) * sector.gain[:, None]
        ends = [1.0 - sector.a + sector.a * d * np.diag(sector.W) for d in (sector.low, sector.high)]
        np.fill_diagonal(M, np.maximum(*np.abs(ends)))
        radius = float(np.abs(np.linalg.eigvals(M)).max())
        assert perron_weights(sector).bound.value == pytest.approx(radius, rel=3e-4)


# -- known answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("c", "a"), [(1.89, 0.1), (1.91, 0.1), (1.69, 0.3), (1.71, 0.3)])
def test_skew_pair(c: float, a: float) -> None:
    """A normal matrix with eigenvalues +-ic: the reach is c / (2 - a)."""
    sector = unit([[0.0, -c], [c, 0.0]], a)
    for rung in (incremental_lurie(sector), optimal_lurie(sector)):
        assert rung.bound.value == pytest.approx(c / (2.0 - a), rel=1e-6)
        assert (rung.candidate is not None) == (c < 2.0 - a)
        if rung.candidate is not None:
            assert accepted(sector, rung.candidate)
    assert spectral_norm(sector).candidate is None


def test_yildiz_example_4_2() -> None:
    sector = unit([[-0.9, -1.0], [0.0, -0.9]], 0.5)
    assert incremental_lurie(sector).bound.value == pytest.approx(0.4667, rel=1e-3)
    assert spectral_norm(sector).bound.value == pytest.approx(1.53, rel=1e-2)
    perron = perron_weights(sector)
    assert perron.bound.value == pytest.approx(0.5, rel=1e-3)
    assert perron.candidate is not None
    assert accepted(sector, perron.candidate)


def test_alternating_ring() -> None:
    W = np.zeros((40, 40))
    for i in range(40):
        W[(i + 1) % 40, i] = 10.0 if i % 2 else 0.05
    sector = unit(W)
    assert spectral_norm(sector).bound.value == pytest.approx(10.0)
    radius = math.sqrt(0.5)
    for rung in (perron_weights(sector), diagonal_schur(sector), optimal_lurie(sector)):
        assert rung.bound.value == pytest.approx(radius, rel=1e-3)
        assert rung.candidate is not None
        assert accepted(sector, rung.candidate)
    assert incremental_lurie(sector).candidate is None


def test_orthogonal_and_symmetric_networks_are_proved_up_to_radius_one() -> None:
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(20, 20)))[0]
    symmetric = Q @ np.diag(np.where(np.arange(20) % 2, 1.0, -1.0)) @ Q.T
    for W in (Q, 0.5 * (symmetric + symmetric.T)):
        for a in (1.0, 0.4):
            bound = optimal_lurie(unit(W, a), optimise=True).bound
            # The eigenvalue 1 is a constant slope pattern that does not contract.
            assert bound.value <= 1.0 + 1e-3
            assert 1.0 / (bound.dual or math.inf) <= 1.0 + 1e-6
        rung = optimal_lurie(unit(0.99 * W))
        assert rung.candidate is not None
        assert accepted(unit(0.99 * W), rung.candidate)


# -- relations ------------------------------------------------------------------------------------------


def values(sector: Sector) -> dict[str, float]:
    return {
        "perron": perron_weights(sector).bound.value,
        "spectral": spectral_norm(sector).bound.value,
        "diagonal": diagonal_schur(sector, optimise=True, gap=1e-3).bound.value,
        "lurie": incremental_lurie(sector).bound.value,
        "optimal": optimal_lurie(sector, optimise=True).bound.value,
    }


@pytest.mark.parametrize("a", [1.0, 0.3])
def test_permutation_signature_transposition_and_similarity(a: float) -> None:
    rng = np.random.default_rng(8)
    W = gaussian(12, 8)
    base = values(unit(W, a))
    order = rng.permutation(12)
    signs = rng.choice([-1.0, 1.0], 12)
    for other in (W[np.ix_(order, order)], signs[:, None] * W * signs, W.T):
        assert values(unit(other, a)) == pytest.approx(base, rel=3e-3)
    scales = np.exp(rng.uniform(-2.0, 2.0, 12))
    similar = values(unit(scales[:, None] * W / scales, a))
    # These three look for the best scaling, so a scaling changes nothing.
    for name in ("perron", "diagonal", "optimal"):
        assert similar[name] == pytest.approx(base[name], rel=5e-3)
    assert similar["lurie"] > 1.1 * base["lurie"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("links", [None, 3])
def test_implications_and_bounds(seed: int, links: int | None) -> None:
    sector = unit(gaussian(15, seed, links=links))
    reached = values(sector)
    assert reached["diagonal"] <= reached["spectral"] * (1.0 + 1e-6)
    assert reached["optimal"] <= reached["lurie"] * 1.002
    assert reached["lurie"] <= reached["spectral"] * 1.002
    assert reached["optimal"] <= reached["diagonal"] * 1.002
    # No proof reaches beyond the gain at which equal slopes no longer contract.
    assert reached["optimal"] >= uniform_slope_radius(sector) * (1.0 - 1e-3)


@pytest.mark.parametrize("a", [1.0, 0.3, 0.1])
def test_the_dual_bound_is_never_below_what_was_reached_and_close_to_it(a: float) -> None:
    for seed in range(3):
        sector = unit(gaussian(20, seed), a)
        for rung in (optimal_lurie(sector, optimise=True), diagonal_schur(sector, optimise=True)):
            gain, dual = rung.bound.critical_gain, rung.bound.dual
            assert gain is not None
            assert dual is not None
            assert gain <= dual <= 1.012 * gain


def test_the_dual_bound_is_never_below_a_certified_gain() -> None:
    for seed in range(4):
        sector = unit(gaussian(10, seed), 0.5 if seed % 2 else 1.0)
        best = optimal_lurie(sector, optimise=True)
        assert best.bound.critical_gain is not None
        certified = sector.scaled(0.999 * best.bound.critical_gain)
        rung = optimal_lurie(certified)
        assert rung.candidate is not None
        assert accepted(certified, rung.candidate)
        for unfinished in (optimal_lurie(certified), optimal_lurie(sector.scaled(3.0))):
            if unfinished.bound.dual is not None:
                scale = 3.0 if unfinished.bound.dual < 1.0 else 0.999 * best.bound.critical_gain
                assert scale * unfinished.bound.dual >= 0.999 * best.bound.critical_gain


def test_a_network_that_decouples_is_bounded_by_its_components() -> None:
    one, two = gaussian(5, 1, 0.9), gaussian(4, 2, 0.5)
    W = np.block([[one, np.zeros((5, 4))], [np.full((4, 5), 2.0), two]])
    alone = optimal_lurie(unit(one), optimise=True).bound
    both = optimal_lurie(unit(W), optimise=True).bound
    assert both.dual == pytest.approx(alone.dual, rel=5e-3)
    assert both.critical_gain == pytest.approx(alone.critical_gain, rel=0.03)


def test_beyond_the_dual_bound_the_search_stops_without_a_candidate() -> None:
    sector = unit(gaussian(30, 1))
    dual = optimal_lurie(sector, optimise=True).bound.dual
    assert dual is not None
    rung = optimal_lurie(sector.scaled(1.1 * dual))
    assert rung.candidate is None
    assert rung.bound.dual is not None
    assert rung.bound.dual < 1.0


# -- the exact checker ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNGS)
@pytest.mark.parametrize("a", [1.0, 0.25])
def test_candidates_pass_the_checker(name: str, a: float) -> None:
    W = gaussian(20, 5)
    factor = 0.97 * (RUNGS[name](unit(W, a)).bound.critical_gain or 0.0)
    for activation, high in (("tanh", 1.0), ("logistic", 0.25)):
        sector = unit(W * factor / high, a, high)
        rung: Rung = RUNGS[name](sector)
        assert rung.bound.value < 1.0
        assert rung.candidate is not None
        assert accepted(sector, rung.candidate, activation)


@pytest.mark.parametrize("seed", range(3))
def test_candidates_for_varied_units_pass_the_checker(seed: int) -> None:
    """Different leaks and slope ranges; the identity has the slope 1, which all of these ranges hold."""
    sector = varied(12, seed)
    for rung in (optimal_lurie(sector), incremental_lurie(sector, osborne(sector))):
        assert rung.candidate is not None
        assert accepted(sector, rung.candidate, "identity")


def test_a_sparse_network_gets_the_bounds_of_the_same_network_made_dense() -> None:
    W = gaussian(60, 2, 0.55, links=6)
    dense = unit(W)
    sparse = Sector(scipy.sparse.csr_array(W), dense.a, dense.low, dense.high)
    assert uniform_slope_radius(sparse) == pytest.approx(uniform_slope_radius(dense))
    for name, rung in RUNGS.items():
        one, two = rung(dense), rung(sparse)
        assert two.bound.value == pytest.approx(one.bound.value, rel=2e-3), name
        assert (two.candidate is None) == (one.candidate is None), name
        if two.candidate is not None:
            assert accepted(sparse, two.candidate), name


def test_five_thousand_sparse_units_take_seconds() -> None:
    rng = np.random.default_rng(0)
    n = 5000
    W = scipy.sparse.random_array((n, n), density=10 / n, format="csr", rng=rng)
    W.data = rng.normal(size=W.nnz) * 0.1
    sector = Sector(W, np.ones(n), np.zeros(n), np.ones(n))
    start = time.process_time()
    perron, spectral = perron_weights(sector), spectral_norm(sector)
    assert time.process_time() - start < 5.0
    assert perron.bound.value < 1.0
    assert perron.candidate is not None
    weights = perron.candidate.witness["weights"]
    assert np.all(abs(W) @ weights < perron.candidate.rate * weights)
    assert spectral.candidate is None
    v = rng.normal(size=n)
    for _ in range(200):
        v = W.T @ (W @ v)
        v /= np.linalg.norm(v)
    assert spectral.bound.value == pytest.approx(np.linalg.norm(W @ v), rel=1e-3)


# -- the congruence and the Riccati equation ------------------------------------------------------------


def test_congruences_are_triangular_short_and_dominant() -> None:
    rng = np.random.default_rng(6)
    for n, spread in ((3, 0.0), (40, 0.0), (40, 12.0)):
        M = rng.normal(size=(n, n))
        scales = np.exp(rng.uniform(-spread, spread, n))
        S = scales[:, None] * (M @ M.T + 0.1 * np.eye(n)) * scales
        R = congruence(S)
        assert R is not None
        assert np.array_equal(R, np.tril(R))
        product = R @ S @ R.T
        assert np.all(2.0 * np.diag(product) - np.abs(product).sum(axis=1) > 0.05)
        # Few bits: each column is a multiple of a power of two, and no multiple is long.
        for column in R.T:
            ratios = [abs(float(x)).as_integer_ratio() for x in column if x != 0.0]
            unit_size = max(d for _, d in ratios)
            assert max(p * (unit_size // d) for p, d in ratios) < 2**24
    assert congruence(np.diag([1.0, -1.0])) is None
    assert congruence(np.array([[1.0, 2.0], [2.0, 1.0]])) is None
    assert congruence(np.full((2, 2), np.nan)) is None


def test_no_witness_where_there_is_no_solution() -> None:
    sector = unit(gaussian(10, 1))
    y = np.ones(10)
    reach = Reach(sector, y).at()
    assert lurie_witness(sector.scaled(0.98 / reach), y, 0.9999, 0.01) is not None
    assert lurie_witness(sector.scaled(1.02 / reach), y, 0.9999, 0.01) is None
    assert lurie_witness(sector.scaled(0.98 / reach), y, 0.9, 0.01) is None


# -- the end of the time, and odd networks --------------------------------------------------------------


def test_a_deadline_in_the_past_is_an_honest_no() -> None:
    sector = unit(gaussian(60, 1, 0.8))
    past = time.perf_counter() - 1.0
    for rung in (
        optimal_lurie(sector, deadline=past),
        incremental_lurie(sector.scaled(0.5), deadline=past),
        diagonal_schur(sector.scaled(0.5), deadline=past),
        perron_weights(sector, deadline=past),
    ):
        assert rung.candidate is None
        assert rung.bound.value > 0.0


@pytest.mark.slow
def test_a_deadline_is_kept_within_a_second() -> None:
    sector = unit(gaussian(700, 1, 0.9))
    start = time.perf_counter()
    optimal_lurie(sector, deadline=start + 2.0, optimise=True)
    assert time.perf_counter() - start < 6.0


ODD = {
    "one unit": [[0.5]],
    "no weights": np.zeros((3, 3)),
    "nilpotent": np.triu(np.full((5, 5), 7.0), 1),
    "a unit that nothing drives": [[0.5, 0.0], [3.0, 0.2]],
    "tiny": [[0.0, 1e-150], [1e-150, 0.0]],
    "huge": [[0.0, 1e90], [1e-91, 0.0]],
    "delay line": np.diag(np.full(11, 0.9), -1),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("a", [1.0, 0.5])
def test_odd_networks_end_in_a_bound(name: str, a: float) -> None:
    sector = unit(ODD[name], a)
    proved = False
    for rung in (
        *(rung(sector) for rung in RUNGS.values()),
        incremental_lurie(sector, osborne(sector)),
        optimal_lurie(sector, optimise=True),
        diagonal_schur(sector, optimise=True),
    ):
        gain, dual = rung.bound.critical_gain, rung.bound.dual
        assert not math.isnan(rung.bound.value)
        if gain is not None and dual is not None:
            assert gain <= dual * (1.0 + 1e-9)
        if rung.candidate is not None:
            assert accepted(sector, rung.candidate)
            proved = True
    # Weights 181 orders of magnitude apart: no claim either way.
    assert proved or name == "huge"


@pytest.mark.parametrize("a", [1.0, 0.5])
def test_a_known_slope_needs_no_multiplier(a: float) -> None:
    """Units with l = L are linear; the others still need their multipliers."""
    W = gaussian(8, 4, 0.7)
    low = np.where(np.arange(8) % 2, 1.0, 0.3)
    sector = Sector(W, np.full(8, a), low, np.ones(8))
    rung = optimal_lurie(sector)
    assert rung.candidate is not None
    assert accepted(sector, rung.candidate, "identity")


@pytest.mark.slow
def test_the_research_table_at_a_hundred_units() -> None:
    """Mean critical radius over eight networks: 0.775 dense and 0.794 sparse, standard deviation 0.03."""
    for links, expected in ((None, 0.775), (10, 0.794)):
        gains = [
            optimal_lurie(unit(gaussian(100, seed, links=links)), optimise=True).bound.critical_gain
            for seed in range(8)
        ]
        assert np.mean([g for g in gains if g]) == pytest.approx(expected, abs=0.03)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("leak", [5e-324, 1e-200, 1e-20])
def test_tiny_leak_rates_have_the_reach_of_their_limit(leak: float) -> None:
    """As the leak tends to 0, Q tends to 1 / (1 + i omega): the eigenvalues of He(W Q) are those of
    cos t He(e^it W), for a rotation by 0.9 at most 0.45."""
    turn = np.array([[0.0, 0.9], [-0.9, 0.0]])
    for leaks in ([leak, leak], [leak, 1.0]):
        sector = Sector(turn, np.array(leaks), np.zeros(2), np.ones(2))
        for angle in (0.0, 1.0, math.pi):
            assert np.all(np.isfinite(frequency(sector.a, angle)))
        assert incremental_lurie(sector).bound.value == pytest.approx(0.45, rel=1e-3)


def test_no_frequency_is_begun_after_the_deadline() -> None:
    rung = incremental_lurie(unit(np.eye(420, k=1)), deadline=0.0)
    assert (rung.bound.value, rung.bound.critical_gain, rung.candidate) == (math.inf, None, None)
