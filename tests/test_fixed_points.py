"""Fixed points: closed forms, published numbers, the slow twin, and what the audit does and does not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from flip_flops import block_flip_flop, trained_flip_flop
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_dynamics import naive_fixed_points
from naive_roots import gru_step, index, lstm_step, roots

from esntools.errors import InvalidInputError
from esntools.fixed_points import FixedPoints, find_fixed_points, match_equilibria
from esntools.fixed_points.search import Search
from esntools.fixed_points.seeds import more_seeds
from esntools.gated import GRU, LSTM
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout

FIXTURE = Path(__file__).parents[2] / "shared" / "fixtures" / "flipflop2_N100.npz"


def fixture_network() -> EchoStateNetwork:
    if not FIXTURE.exists():
        pytest.skip("the shared fixture is not beside this checkout")
    with np.load(FIXTURE) as data:
        return EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip


def check_points(network: EchoStateNetwork, found: FixedPoints, tol: float = 1e-12) -> None:
    """Everything that a listed point claims, again from its state."""
    states = np.array([p.x for p in found])
    for p in found:
        assert np.max(np.abs(network.step(p.x, p.u) - p.x)) <= tol * max(1.0, np.max(np.abs(p.x)))
        assert p.residual <= tol * max(1.0, np.max(np.abs(p.x)))
        J = network.jacobian(p.x, p.u)
        modulus = np.sort(np.abs(np.linalg.eigvals(J)))[::-1]
        np.testing.assert_allclose(np.abs(p.eigenvalues), modulus[: len(p.eigenvalues)], atol=1e-7)
        if p.hyperbolic:
            assert p.stable == (modulus[0] < 1.0)
            assert p.n_unstable == np.sum(modulus > 1.0)
        if p.index:
            assert p.index == np.sign(np.linalg.det(np.eye(len(J)) - J))
        assert np.sum(np.max(np.abs(states - p.x), axis=1) < 1e-9) == 1
    assert found.index_sum == sum(p.index for p in found)


@pytest.mark.parametrize(("w", "m"), [(1.5, 0.8585596366401103), (2.0, 0.9575040240772688)])
def test_one_neuron_closed_form(w: float, m: float) -> None:
    found = find_fixed_points(EchoStateNetwork([[w]], leak_rate=0.3))
    assert sorted(float(p.x[0]) for p in found) == pytest.approx([-m, 0.0, m], abs=1e-12)
    assert [p.stable for p in found] == [True, True, False]
    slope = 1.0 - m * m
    assert found[0].eigenvalues[0] == pytest.approx(0.7 + 0.3 * w * slope, abs=1e-12)
    assert (found.index_sum, found.audit) == (1, "passed")


@pytest.mark.parametrize(("w", "fold"), [(1.5, 0.2075465), (2.0, 0.5328400), (3.0, 1.3032739)])
def test_three_points_inside_the_folds_and_one_outside(w: float, fold: float) -> None:
    s = np.sqrt(1.0 - 1.0 / w)
    assert abs(abs(np.arctanh(s) - w * s) - fold) < 1e-6
    for sign in (-1.0, 1.0):
        inside = find_fixed_points(EchoStateNetwork([[w]], b=sign * (fold - 1e-3)))
        outside = find_fixed_points(EchoStateNetwork([[w]], b=sign * (fold + 1e-3)))
        assert (len(inside), len(outside)) == (3, 1)
        assert inside.audit == outside.audit == "passed"


def test_switching_network_has_the_published_points() -> None:
    network = EchoStateNetwork(np.diag([0.5, 1.75]), W_in=np.eye(2), leak_rate=0.25)
    found = find_fixed_points(network, [0.25, 0.05])
    points = sorted((float(p.x[1]), p) for p in found)
    expected = [
        (-0.9135820965863708, 0.8223484),
        (-0.06679949844294614, 1.1855478),
        (0.9332809526378179, 0.8064317),
    ]
    for (x2, p), (true, multiplier) in zip(points, expected, strict=True):
        assert p.x[0] == pytest.approx(0.4369774072580215, abs=1e-12)
        assert x2 == pytest.approx(true, abs=1e-12)
        assert np.min(np.abs(p.eigenvalues - multiplier)) < 1e-7
    only = find_fixed_points(network, [-0.25, -0.5])
    assert len(only) == 1
    np.testing.assert_allclose(only[0].x, [-0.4369774072580215, -0.9761346724242937], atol=1e-12)
    multiplier = 0.75 + 0.25 * 1.75 * (1.0 - 0.9761346724242937**2)
    assert np.min(np.abs(only[0].eigenvalues - multiplier)) < 1e-12


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_block_flip_flop_has_27_points(noise: float) -> None:
    network = block_flip_flop(33, noise)
    found = find_fixed_points(network)
    assert np.bincount([p.n_unstable for p in found]).tolist() == [8, 12, 6, 1]
    assert (found.index_sum, found.audit) == (1, "passed")
    assert len(found.stable) == 8
    assert len(found.saddles) == 19
    check_points(network, found)


def test_trained_fixture_has_its_13_points() -> None:
    network = fixture_network()
    found = find_fixed_points(network, np.zeros(2))
    assert len(found) == 13
    assert np.bincount([p.n_unstable for p in found]).tolist() == [6, 6, 1]
    outputs = np.array([p.output for p in found.stable])
    half = np.array([[-1.356, -1.224], [-0.996, 0.998], [-0.706, -0.863]])
    np.testing.assert_allclose(outputs, np.vstack([half, -half[::-1]]), atol=6e-4)
    radius = [abs(p.eigenvalues[0]) for p in found.stable]
    np.testing.assert_allclose(radius, [0.967, 0.836, 0.984, 0.984, 0.836, 0.967], atol=1e-3)
    saddles = sorted(abs(p.eigenvalues[0]) for p in found.saddles if p.n_unstable == 1)
    np.testing.assert_allclose(saddles, np.repeat([1.0145, 1.0343, 1.6529], 2), atol=1e-4)
    assert (found.index_sum, found.audit) == (1, "passed")
    check_points(network, found)


def random_network(n: int, gain: float, leak: float, seed: int, feedback: bool) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = gain * rng.standard_normal((n, n)) / np.sqrt(n)
    b = 0.3 * rng.standard_normal(n)
    if not feedback:
        return EchoStateNetwork(W, b=b, leak_rate=leak)
    readout = Readout(rng.standard_normal((1, n)), rng.standard_normal((1, n)), [0.1])
    return EchoStateNetwork(
        W, W_in=rng.uniform(-1, 1, (n, 1)), b=b, leak_rate=leak, readout=readout
    ).closed_loop()


# A search may miss a point, so that this can be no theorem: the cases are drawn once and for all.
@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    n=st.integers(1, 6), gain=st.floats(0.1, 3.0), leak=st.floats(0.05, 1.0), seed=st.integers(0, 10**6),
    feedback=st.booleans(),
)  # fmt: skip
def test_nothing_that_the_slow_twin_finds_is_missing(
    n: int, gain: float, leak: float, seed: int, feedback: bool
) -> None:
    network = random_network(n, gain, leak, seed, feedback)
    found = find_fixed_points(network)
    check_points(network, found)
    assert found.audit != "passed" or found.index_sum == 1
    states = np.array([p.x for p in found])
    starts = np.random.default_rng(seed + 1).uniform(-1, 1, (40, n))
    for x in naive_fixed_points(network, starts):
        assert np.min(np.max(np.abs(states - x), axis=1)) < 1e-4


def test_leak_moves_the_multipliers_and_not_the_points() -> None:
    network = random_network(5, 2.5, 1.0, 3, False)
    fast, slow = find_fixed_points(network), find_fixed_points(replace(network, leak_rate=np.full(5, 0.2)))
    np.testing.assert_allclose(
        sorted(p.x[0] for p in fast), sorted(p.x[0] for p in slow), atol=1e-11
    )  # fmt: skip
    for p in slow:
        partner = min(fast, key=lambda q: np.max(np.abs(q.x - p.x)))
        np.testing.assert_allclose(
            np.sort_complex(p.eigenvalues), np.sort_complex(0.8 + 0.2 * partner.eigenvalues), atol=1e-7
        )
        assert p.index == partner.index


def test_sparse_and_dense_agree() -> None:
    rng = np.random.default_rng(5)
    for density in (0.01, 0.2):
        W = np.where(rng.random((160, 160)) < density, rng.standard_normal((160, 160)), 0.0)
        W *= 1.1 / np.max(np.abs(np.linalg.eigvals(W)))
        dense = find_fixed_points(EchoStateNetwork(W, b=0.1), n_starts=32)
        sparse = find_fixed_points(EchoStateNetwork(scipy.sparse.csr_array(W), b=0.1), n_starts=32)
        assert len(dense) == len(sparse) >= 1
        for p, q in zip(dense, sparse):
            np.testing.assert_allclose(p.x, q.x, atol=1e-10)


def test_the_origin_of_a_bias_free_network_is_not_called_stable_because_a_run_stays_there() -> None:
    found = find_fixed_points(EchoStateNetwork(1.2 * np.eye(3)), starts=np.zeros((5, 3)))
    origin = [p for p in found if not np.any(p.x)]
    assert [p.n_unstable for p in origin] == [3]
    assert not origin[0].stable


def test_maps_to_which_the_audit_does_not_apply_say_why() -> None:
    affine = find_fixed_points(EchoStateNetwork(0.5 * np.eye(3), b=1.0, activation="identity"))
    np.testing.assert_allclose(affine[0].x, 2.0, atol=1e-12)
    assert (len(affine), affine.audit) == (1, "not applicable")
    assert "affine" in affine.audit_reason
    shift = find_fixed_points(EchoStateNetwork([[1.0]], b=1.0, activation="identity"))
    assert (len(shift), shift.audit) == (0, "not applicable")
    relu = find_fixed_points(EchoStateNetwork([[-0.5, 0.0], [0.0, 0.5]], b=1.0, activation="relu"))
    np.testing.assert_allclose(relu[0].x, [2.0 / 3.0, 2.0], atol=1e-12)
    assert relu.audit == "not applicable"
    assert "relu" in relu.audit_reason


def test_non_hyperbolic_points_are_one_answer_and_flagged() -> None:
    pitchfork = find_fixed_points(EchoStateNetwork([[1.0]]), n_starts=64)
    assert len(pitchfork) == 1
    assert (pitchfork[0].hyperbolic, pitchfork[0].stable, pitchfork[0].index) == (False, False, 0)
    assert pitchfork.audit == "not applicable"
    assert "near 1" in pitchfork.audit_reason
    everything = find_fixed_points(EchoStateNetwork(np.eye(3), activation="identity"), n_starts=64)
    assert len(everything) == 1
    assert not everything[0].hyperbolic


def test_flip_is_neutral_for_stability_but_has_an_index() -> None:
    found = find_fixed_points(EchoStateNetwork([[-1.0]]))
    assert (found[0].hyperbolic, found[0].index, found.audit) == (False, 1, "passed")


def test_henon_as_a_network_with_squares_in_its_feedback() -> None:
    found = find_fixed_points(henon())
    roots = np.sort(np.roots([1.4, 0.7, -1.0]))
    np.testing.assert_allclose(sorted(p.x[0] for p in found), roots, atol=1e-12)
    assert found.audit == "not applicable"


def henon() -> EchoStateNetwork:
    """x' = 1 - 1.4 x^2 + y, y' = 0.3 x."""
    return EchoStateNetwork(
        [[0.0, 1.0], [0.3, 0.0]], b=[1.0, 0.0], activation="identity",
        readout=Readout([[0.0, 0.0]], W_sq=[[-1.4, 0.0]]), W_fb=[[1.0], [0.0]],
    )  # fmt: skip


def test_a_search_that_missed_something_says_so() -> None:
    """One poor seed family, on a network with 27 points: the audit must not pass by looking away."""
    network = block_flip_flop(3, 0.3)
    complete = find_fixed_points(network)
    assert (len(complete), complete.audit) == (27, "passed")
    caught = 0
    for seed in range(8):
        short = find_fixed_points(network, n_starts=3, max_rounds=1, rng=seed)
        assert short.index_sum == sum(p.index for p in short)
        assert (short.audit == "passed") == (short.index_sum == 1)
        if short.audit == "failed":
            caught += 1
            assert len(short) < 27
            assert f"at least {abs(1 - short.index_sum)} missing" in short.audit_reason
    assert caught >= 4


def test_dropping_any_one_point_of_a_complete_set_fails_the_audit() -> None:
    search = Search(block_flip_flop(3, 0.3), np.zeros(0), 1e-12, np.random.default_rng(0), None)
    search.run(np.random.default_rng(1).uniform(-1.0, 1.0, (600, 9)))
    for round_ in (2, 3):
        search.run(more_seeds(search.states(), 256, round_, search.rng))
    assert (len(search.points), search.audit()[0]) == (27, "passed")
    points = search.points
    for i in range(27):
        search.points = points[:i] + points[i + 1 :]
        assert search.audit()[0] == "failed"


def test_the_search_is_reproducible() -> None:
    network = block_flip_flop(4, 0.2)
    first, second = find_fixed_points(network), find_fixed_points(network)
    assert all(np.array_equal(p.x, q.x) for p, q in zip(first, second, strict=True))


def test_leading_multipliers_of_a_large_network() -> None:
    rng = np.random.default_rng(2)
    W = scipy.sparse.random_array((700, 700), density=0.02, rng=rng, data_sampler=rng.standard_normal)
    network = EchoStateNetwork(W / 5.0, b=0.2)
    found = find_fixed_points(network, n_starts=16, max_rounds=1, n_eigenvalues=6)
    assert len(found) >= 1
    for p in found:
        exact = np.linalg.eigvals(network.jacobian(p.x))
        exact = np.sort(np.abs(exact))[::-1]
        assert len(p.eigenvalues) < 700
        assert len(p.eigenvalues) >= 6
        np.testing.assert_allclose(np.abs(p.eigenvalues)[:6], exact[:6], rtol=1e-6)
        assert p.n_unstable == np.sum(exact > 1.0)


def test_match_equilibria_pairs_points_and_multipliers() -> None:
    network = EchoStateNetwork([[1.5]], readout=Readout([[1.0]]))
    found = find_fixed_points(network)
    m = 0.8585596366401103
    slope = 1.5 * (1.0 - m * m)
    matches = match_equilibria(found, [[0.01], [0.8], [-0.8]], [[1.49], [0.4], [0.4 + 0j]])
    assert [round(float(k.found_output[0]), 6) for k in matches if k.found_output is not None] == [
        0.0, 0.858560, -0.858560,
    ]  # fmt: skip
    assert matches[0].found_multipliers[0] == pytest.approx(1.5, abs=1e-12)
    assert matches[1].found_multipliers[0] == pytest.approx(slope, abs=1e-12)
    far = match_equilibria(found, [[5.0]], [[1.0]], max_distance=1.0)
    assert far[0].found_output is None
    assert far[0].point is None
    assert np.isnan(far[0].found_multipliers).all()
    with pytest.raises(InvalidInputError, match="multipliers"):
        match_equilibria(found, [[0.0]], [])
    with pytest.raises(InvalidInputError, match="outputs"):
        match_equilibria(found, [[0.0, 1.0]], [[1.0]])


def test_misuse_is_refused() -> None:
    driven = EchoStateNetwork([[0.5]], W_in=[[1.0]])
    with pytest.raises(InvalidInputError, match="1 inputs"):
        find_fixed_points(driven)
    with pytest.raises(InvalidInputError, match="finite"):
        find_fixed_points(driven, [np.nan])
    with pytest.raises(InvalidInputError, match="n_inputs"):
        find_fixed_points(driven, [1.0, 2.0])
    with pytest.raises(InvalidInputError, match="no inputs"):
        find_fixed_points(EchoStateNetwork([[0.5]]), [1.0])
    with pytest.raises(InvalidInputError, match="starts"):
        find_fixed_points(EchoStateNetwork([[0.5]]), starts=np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match="n_starts"):
        find_fixed_points(EchoStateNetwork([[0.5]]), n_starts=0)
    with pytest.raises(InvalidInputError, match="tol"):
        find_fixed_points(EchoStateNetwork([[0.5]]), tol=0.1)
    with pytest.raises(InvalidInputError, match="n_eigenvalues"):
        find_fixed_points(EchoStateNetwork([[0.5]]), n_eigenvalues=0)
    with pytest.raises(InvalidInputError, match="constant input"):
        find_fixed_points(driven, [[1.0], [2.0]])
    with pytest.raises(InvalidInputError, match="Map"):
        find_fixed_points(np.eye(2))  # type: ignore[arg-type]


def test_a_chaotic_network_above_the_dense_limit_is_searched_by_every_means() -> None:
    """Few of its points are found by iteration: Newton-GMRES and deflation have their turn."""
    rng = np.random.default_rng(5)
    network = EchoStateNetwork(1.5 * rng.standard_normal((160, 160)) / np.sqrt(160.0), b=0.01)
    found = find_fixed_points(network, n_starts=24, max_rounds=3)
    soft = find_fixed_points(network, n_starts=24, max_rounds=2)
    assert soft.audit == "failed"
    assert len(found) > len(soft)
    check_points(network, found)


@pytest.mark.slow
@pytest.mark.ci
def test_27_points_at_501_units() -> None:
    network = block_flip_flop(167, 0.1)
    found = find_fixed_points(network, n_eigenvalues=12)
    assert np.bincount([p.n_unstable for p in found]).tolist() == [8, 12, 6, 1]
    assert found.audit == "passed"


def test_equal_multipliers_are_counted_as_often_as_they_are_there() -> None:
    """Three equal blocks: one Krylov space sees a triple multiplier once."""
    W = np.kron(np.eye(3), np.full((80, 80), 1.5 / 80))
    network = EchoStateNetwork(W, leak_rate=np.linspace(0.5, 1.0, 240))
    found = find_fixed_points(network)
    assert np.bincount([p.n_unstable for p in found]).tolist() == [8, 12, 6, 1]
    same = EchoStateNetwork(W + 1e-9 * np.random.default_rng(0).standard_normal(W.shape), leak_rate=0.5)
    found = find_fixed_points(same)
    assert np.bincount([p.n_unstable for p in found]).tolist() == [8, 12, 6, 1]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("n_units", [501, 2001])
def test_all_27_points_of_a_trained_flip_flop(n_units: int) -> None:
    driven, run, wrong = trained_flip_flop(n_units)
    assert wrong < 0.02
    network = driven.at_input(np.zeros(3))
    found = find_fixed_points(network, starts=run[::4])
    assert np.bincount([p.n_unstable for p in found]).tolist() == [8, 12, 6, 1]
    assert (found.index_sum, found.audit) == (1, "passed")
    for p in found:
        assert np.max(np.abs(network.step(p.x) - p.x)) <= 1e-12
    # Dense eigenvalues of 2001 units would take longer than all the rest.
    for p in found[::9] if n_units < 1000 else ():
        modulus = np.sort(np.abs(np.linalg.eigvals(network.jacobian(p.x))))[::-1]
        assert p.n_unstable == np.sum(modulus > 1.0)
        np.testing.assert_allclose(np.abs(p.eigenvalues), modulus[: len(p.eigenvalues)], atol=1e-7)


def beside_a_fold(n_others: int, distance: float) -> EchoStateNetwork:
    """One bistable unit that close to its fold, above `n_others` random units that it drives."""
    rng = np.random.default_rng(3)
    n = n_others + 1
    W = 0.5 * rng.standard_normal((n, n)) / np.sqrt(n)
    W[0], W[0, 0] = 0.0, 1.5
    s = np.sqrt(1.0 - 1.0 / 1.5)
    b = np.zeros(n)
    b[0] = np.arctanh(s) - 1.5 * s + distance
    return EchoStateNetwork(W, b=b)


@pytest.mark.parametrize("n_others", [5, 220])
@pytest.mark.parametrize("distance", [1e-4, 1e-7])
def test_both_points_beside_a_fold_are_found(n_others: int, distance: float) -> None:
    """Their indices cancel, so that no audit would miss them; they are about sqrt(distance) apart."""
    found = find_fixed_points(beside_a_fold(n_others, distance), n_starts=64)
    own = np.sort([float(p.x[0]) for p in found])
    assert len(own) == 3
    assert [p.index for p in found].count(-1) == 1
    s = np.sqrt(1.0 - 1.0 / 1.5)
    # b = artanh x - w x has an extremum at -s, and the pair lies sqrt(2 distance / |b''|) to either side.
    curvature = 2.0 * s / (1.0 - s * s) ** 2
    half = np.sqrt(2.0 * distance / curvature)
    np.testing.assert_allclose(np.diff(own)[np.argmin(np.diff(own))], 2.0 * half, rtol=0.05)


def random_gru(seed: int, n: int = 4, gain: float = 3.0) -> GRU:
    rng = np.random.default_rng(seed)
    return GRU(
        rng.standard_normal((3 * n, 2)), gain * rng.standard_normal((3 * n, n)),
        rng.standard_normal(3 * n), rng.standard_normal(3 * n),
    )  # fmt: skip


def random_lstm(seed: int, n: int = 4, gain: float = 3.0) -> LSTM:
    rng = np.random.default_rng(seed)
    return LSTM(
        rng.standard_normal((4 * n, 2)), gain * rng.standard_normal((4 * n, n)), rng.standard_normal(4 * n)
    )


def grus_that_pass(seeds: range) -> list[int]:
    """The ordinary residual is tiny wherever the update gate saturates; the gate-free one is not."""
    sizes = []
    for seed in seeds:
        cell = random_gru(seed)
        u = np.random.default_rng(seed + 100).standard_normal(2)
        found = find_fixed_points(cell, u)
        assert (found.index_sum, found.audit) == (1, "passed")
        for p in found:
            assert np.max(np.abs(p.x)) <= 1.0
            assert np.max(np.abs(cell.candidate(p.x, u) - p.x)) <= 1e-12
        sizes.append(len(found))
    return sizes


def test_random_grus_pass_the_audit() -> None:
    assert max(grus_that_pass(range(6))) >= 3


@pytest.mark.slow
@pytest.mark.ci
def test_forty_random_grus_all_pass_the_audit() -> None:
    assert len(grus_that_pass(range(6, 40))) == 34


def test_gru_against_the_slow_twin() -> None:
    for seed in range(4):
        cell, u = random_gru(seed, 3), np.array([0.3, -0.4])
        found = find_fixed_points(cell, u)

        def step(h: np.ndarray, cell: GRU = cell, u: np.ndarray = u) -> list[float]:
            return gru_step(cell.W_in, cell.W, cell.b_in, cell.b, h, u)

        states = np.array([p.x for p in found])
        for p in found:
            np.testing.assert_allclose(step(p.x), p.x, atol=1e-12)
            assert p.index == index(step, p.x)
            np.testing.assert_allclose(
                np.sort(np.abs(p.eigenvalues)),
                np.sort(np.abs(np.linalg.eigvals(cell.jacobian(p.x, u)))),
                atol=1e-12,
            )
        for x in roots(step, np.random.default_rng(seed).uniform(-1, 1, (20, 3))):
            # A false root of the gated residual is told by the candidate.
            if np.max(np.abs(cell.candidate(x, u) - x)) < 1e-6:
                assert np.min(np.max(np.abs(states - x), axis=1)) < 1e-6


def lstms_that_pass(seeds: range) -> int:
    passed = 0
    for seed in seeds:
        cell, u = random_lstm(seed), np.random.default_rng(seed + 100).standard_normal(2)
        found = find_fixed_points(cell, u)
        passed += found.audit == "passed"
        assert found.index_sum == 1 or found.audit == "failed"
        for p in found:
            assert p.x.shape == (8,)
            scale = max(1.0, float(np.max(np.abs(p.x))))
            assert np.max(np.abs(cell.step(p.x, u) - p.x)) <= 1e-11 * scale
        if seed < 3:

            def step(x: np.ndarray, cell: LSTM = cell, u: np.ndarray = u) -> list[float]:
                return lstm_step(cell.W_in, cell.W, cell.b, x, u)

            states = np.array([p.x for p in found])
            for p in found:
                assert len(p.eigenvalues) == 8
                assert p.index == index(step, p.x)
            for x in roots(step, np.random.default_rng(seed).uniform(-1, 1, (20, 8))):
                assert np.min(np.max(np.abs(states - x), axis=1)) < 1e-5 * max(1.0, float(np.max(np.abs(x))))
    return passed


def test_random_lstms_pass_the_audit_and_agree_with_the_slow_twin() -> None:
    assert lstms_that_pass(range(3)) == 3


@pytest.mark.slow
@pytest.mark.ci
def test_forty_random_lstms_all_pass_the_audit() -> None:
    assert lstms_that_pass(range(3, 40)) == 37


def test_other_maps_by_their_step_and_derivative() -> None:
    logistic = FunctionMap(
        lambda x: 3.2 * x * (1.0 - x), lambda x: 3.2 - 6.4 * x[:, None], 1, state_bounds=(0, 1)
    )
    found = find_fixed_points(logistic)
    assert sorted(float(p.x[0]) for p in found) == pytest.approx([0.0, 1.0 - 1.0 / 3.2], abs=1e-12)
    # The origin lies on the border of the box: the sum over the inside need not be 1.
    assert found.audit == "not applicable"
    assert "border" in found.audit_reason
    tent = FunctionMap(
        lambda x, u: np.tanh(2.0 * x + u),
        lambda x, u: 2.0 - 2.0 * np.tanh(2 * x + u)[:, None] ** 2,
        1,
        1,
        (-1, 1),
    )
    driven, own = find_fixed_points(tent, [0.1]), find_fixed_points(EchoStateNetwork([[2.0]], b=0.1))
    assert driven.audit == "passed"
    np.testing.assert_allclose([p.x for p in driven], [p.x for p in own], atol=1e-12)
    henon_map = FunctionMap(
        lambda x: np.stack([1.0 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], axis=-1),
        lambda x: np.array([[-2.8 * x[0], 1.0], [0.3, 0.0]]),
        2,
    )
    both = find_fixed_points(henon_map)
    np.testing.assert_allclose(sorted(p.x[0] for p in both), np.sort(np.roots([1.4, 0.7, -1.0])), atol=1e-12)
    assert (both.audit, both.audit_reason) == (
        "not applicable",
        "no box is known that the map sends into itself",
    )
