"""`certify_esp`: known answers, relations between verdicts, and nothing proved that is false."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse
from naive_certificates import naive_check

from esntools.certificates import check_certificate
from esntools.certificates.certify import certify_esp
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.norms import diagonal_schur, perron_weights, spectral_norm
from esntools.certificates.refute import _candidates, _responses, _starts
from esntools.certificates.repair import quiet_arithmetic
from esntools.certificates.scaling import optimal_lurie
from esntools.certificates.sectors import Rung, Sector, largest_eigenpair, uniform_slope_radius
from esntools.certificates.vertices import common_quadratic
from esntools.certificates.witness import DrivenMap
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputSignal, Zero
from esntools.network import EchoStateNetwork, Readout
from esntools.systems import lorenz63
from esntools.training import fit


def ring() -> EchoStateNetwork:
    W = np.zeros((40, 40))
    for i in range(40):
        W[(i + 1) % 40, i] = 10.0 if i % 2 else 0.05
    return EchoStateNetwork(W)


def orthogonal(scale: float, symmetric: bool = False) -> EchoStateNetwork:
    rng = np.random.default_rng(3)
    Q = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    if symmetric:
        Q = Q @ np.diag(np.where(np.arange(20) % 2, 1.0, -1.0)) @ Q.T
        Q = 0.5 * (Q + Q.T)
    return EchoStateNetwork(scale * Q)


def hopfield() -> EchoStateNetwork:
    X = np.random.default_rng(5).choice([-1.0, 1.0], (60, 2))
    return EchoStateNetwork(1.6 * X @ X.T / 60.0)


def random_network(n: int, radius: float, seed: int, **more: object) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)), **more)  # type: ignore[arg-type]


def saturated() -> EchoStateNetwork:
    rng = np.random.default_rng(7)
    W = random_network(50, 1.5, 7).dense_W()
    return EchoStateNetwork(W, W_in=rng.uniform(0.5, 1.0, (50, 1)) * rng.choice([-1.0, 1.0], (50, 1)))


def skew(c: float, a: float) -> EchoStateNetwork:
    return EchoStateNetwork([[0.0, -c], [c, 0.0]], leak_rate=a)


def logistic() -> EchoStateNetwork:
    W = np.random.default_rng(2).normal(size=(30, 30))
    return EchoStateNetwork(3.9 * W / np.linalg.norm(W, 2), activation="logistic")


TWO = EchoStateNetwork([[2, -2], [1.5, -1.2]], b=[2, 10])
SCALAR = EchoStateNetwork([[2.0]], W_in=[[1.0]], b=1.0)

#: Published or hand-checked answers; "inconclusive" where no slope-only proof exists.
KNOWN = {
    "Yildiz standard, rho < 1": (EchoStateNetwork([[0, 10], [-0.012, 1.1]]), Zero(), "refuted"),
    "Yildiz Ex. 4.1": (EchoStateNetwork([[-9, 100], [-0.12, 2]], leak_rate=0.1), Zero(), "refuted"),
    "Yildiz Ex. 4.2": (EchoStateNetwork([[-0.9, -1], [0, -0.9]], leak_rate=0.5), AnyInput(), "proved"),
    "scalar, biased": (SCALAR, Zero(), "proved"),
    "scalar, drive 0 in the box": (SCALAR, InputBox(-3, 1), "refuted"),
    "two attractors, rho 0.77": (
        EchoStateNetwork([[2, -2], [1.5, -1.2]], b=[2, 10]),
        Constant([]),
        "refuted",
    ),
    "skew 1.89, leak 0.1": (skew(1.89, 0.1), AnyInput(), "proved"),
    "skew 1.91, leak 0.1": (skew(1.91, 0.1), AnyInput(), "inconclusive"),
    "skew 1.69, leak 0.3": (skew(1.69, 0.3), AnyInput(), "proved"),
    "skew 1.71, leak 0.3": (skew(1.71, 0.3), AnyInput(), "inconclusive"),
    "skew 4.4, leak 0.1": (skew(4.4, 0.1), AnyInput(), "refuted"),
    "alternating ring": (ring(), AnyInput(), "proved"),
    "orthogonal 0.99": (orthogonal(0.99), AnyInput(), "proved"),
    "orthogonal 1.01": (orthogonal(1.01), Zero(), "refuted"),
    "symmetric 0.99": (orthogonal(0.99, True), AnyInput(), "proved"),
    "symmetric 1.01": (orthogonal(1.01, True), Zero(), "refuted"),
    "logistic, norm 3.9": (logistic(), AnyInput(), "proved"),
    "rho 1.5, saturated": (saturated(), InputBox(15, 20), "proved"),
    "rho 1.5, not saturated": (saturated(), InputBox(-1, 1), "refuted"),
    "Hopfield": (hopfield(), Zero(), "refuted"),
    "nilpotent": (EchoStateNetwork(np.triu(np.full((5, 5), 7.0), 1)), AnyInput(), "proved"),
    "no recurrence": (EchoStateNetwork([[0.0]], leak_rate=0.5), AnyInput(), "proved"),
    "critical scalar": (EchoStateNetwork([[1.0]]), AnyInput(), "inconclusive"),
    "unstable linear": (EchoStateNetwork([[1.01]], activation="identity"), AnyInput(), "refuted"),
    "unstable relu": (EchoStateNetwork([[1.5]], b=-1.0, activation="relu"), Zero(), "refuted"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name: str) -> None:
    network, inputs, expected = KNOWN[name]
    verdict = certify_esp(network, inputs, bracket=False, local=False)
    assert verdict.verdict == expected
    assert verdict.network_hash == network.content_hash
    if expected == "inconclusive":
        assert verdict.reason in verdict.sentence
        assert verdict.document["format"] != "esntools-certificate"
    else:
        result = check_certificate(json.loads(json.dumps(verdict.document)))
        assert result.valid
        assert result.verdict == expected
        if network.n_units <= 8:
            assert naive_check(verdict.document)


def test_two_attracting_responses_are_found_where_they_are_published() -> None:
    verdict = certify_esp(KNOWN["two attractors, rho 0.77"][0], Zero())
    points = verdict.witness.points
    assert all(p.stable for p in points)
    np.testing.assert_allclose(sorted(p.x[0] for p in points), [-0.957504, 0.957504], atol=1e-6)


def test_sine_uses_no_monotone_rung() -> None:
    # Slopes in [0, 1] prove this network; slopes in [-1, 1] leave it open.
    assert certify_esp(skew(1.8, 0.1), AnyInput(), bracket=False).verdict == "proved"
    sine = EchoStateNetwork([[0.0, -1.8], [1.8, 0.0]], leak_rate=0.1, activation="sine")
    assert certify_esp(sine, AnyInput(), bracket=False).verdict != "proved"


# -- relations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_permutation_signature_and_scaling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(8, 0.78, seed, leak_rate=rng.uniform(0.3, 1.0, 8))
    first = certify_esp(network, AnyInput(), bracket=False)
    p, s = rng.permutation(8), rng.choice([-1.0, 1.0], 8)
    W, a = network.dense_W(), network.leak_rate
    permuted = EchoStateNetwork(W[np.ix_(p, p)], W_in=network.W_in[p], leak_rate=a[p])
    signed = EchoStateNetwork(s[:, None] * W * s, W_in=s[:, None] * network.W_in, leak_rate=a)
    assert certify_esp(permuted, AnyInput(), bracket=False).verdict == first.verdict
    assert certify_esp(signed, AnyInput(), bracket=False).verdict == first.verdict
    if first.verdict == "proved":
        assert certify_esp(network.scaled(0.7), AnyInput(), bracket=False).verdict == "proved"
        for inputs in (
            Zero(),
            InputBox(-2, 2),
            InputSignal(rng.normal(size=(20, 1))),
            InputAlphabet([[0.0], [3.0]]),
        ):
            assert certify_esp(network, inputs, bracket=False).verdict == "proved"


def test_sparse_and_dense_storage_give_the_same_claim() -> None:
    W = scipy.sparse.random_array((40, 40), density=0.1, rng=1, data_sampler=np.random.default_rng(1).normal)
    W = W * (0.6 / np.abs(np.linalg.eigvals(W.toarray())).max())
    sparse, dense = EchoStateNetwork(W), EchoStateNetwork(W.toarray())
    one, two = certify_esp(sparse, AnyInput()), certify_esp(dense, AnyInput())
    assert (one.verdict, one.network_hash) == (two.verdict, two.network_hash)
    assert "rows" in one.document["network"]["W"]
    assert check_certificate(one.document).valid


def test_proved_networks_contract_at_least_at_the_stated_rate() -> None:
    rng = np.random.default_rng(1)
    for seed, leak in ((0, 1.0), (1, 0.4), (2, 0.7)):
        network = random_network(12, 0.55, seed, leak_rate=leak)
        verdict = certify_esp(network, AnyInput(), bracket=False)
        assert verdict.verdict == "proved"
        x = rng.uniform(-1, 1, (200, 12))
        first, spread = None, np.inf
        for k in range(200):
            x = network.step(x, np.broadcast_to(rng.normal(size=1), (200, 1)))
            spread = float(np.abs(x - x[0]).max())
            if k == 20:
                first = spread
        assert first is not None
        # The norms differ by at most a constant, which 180 steps at this rate dwarf.
        assert spread <= 1e3 * first * verdict.rate**179 + 1e-13


RUNGS = {
    "perron": perron_weights,
    "spectral": spectral_norm,
    "diagonal": diagonal_schur,
    "lurie": incremental_lurie,
    "optimal": optimal_lurie,
    "vertices": common_quadratic,
}


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", RUNGS)
def test_soundness_of_every_rung_against_adversarial_slopes(name: str) -> None:
    """At the edge of what a rung proves, products of extreme slope patterns must still contract."""
    with quiet_arithmetic(8):
        # All vertices of the slopes cost the most.
        count, largest = (6, 5) if name == "vertices" else (25, 8)
        _attack(RUNGS[name], sum(map(ord, name)), count, largest)


def _attack(rung: Callable[[Sector], Rung], seed: int, count: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    tried = 0
    for k in range(count):
        n = int(rng.integers(2, largest))
        W = rng.normal(size=(n, n)) * (rng.random((n, n)) < rng.uniform(0.3, 1.0))
        a = np.ones(n) if k % 2 else rng.uniform(0.1, 1.0, n)
        low = np.full(n, -1.0) if k % 5 == 0 else np.zeros(n)
        sector = Sector(W, a, low, np.ones(n))
        gain, step = 1.0, 2.0
        for _ in range(12):  # bring W to the edge of what this rung proves
            proves = rung(sector.scaled(gain)).candidate is not None
            gain, step = (gain * step, step) if proves else (gain / step, step**0.6)
        while rung(sector.scaled(gain)).candidate is None:
            gain *= 0.98
            if gain < 1e-6:
                break
        if gain < 1e-6:
            continue
        tried += 1
        V = gain * W
        worst = 0.0
        for _ in range(60):
            J = [
                np.diag(1 - a) + (a * d)[:, None] * V
                for d in rng.choice([0.0, 1.0], (2, n)) * (1 - low) + low
            ]
            worst = max(
                worst,
                float(np.abs(np.linalg.eigvals(J[0])).max()),
                float(np.abs(np.linalg.eigvals(J[0] @ J[1])).max()),
            )
        assert worst < 1.0
    assert tried > 0.7 * count


def test_nothing_is_both_proved_and_refuted() -> None:
    for seed in range(4):
        network = random_network(5, 0.9 + 0.08 * seed, seed, b=0.1 * seed)
        verdicts = [
            certify_esp(network, u, bracket=False, local=False).verdict
            for u in (AnyInput(), InputBox(-1, 1), Zero())
        ]
        assert not (verdicts[0] == "proved" and "refuted" in verdicts)
        assert not (verdicts[1] == "proved" and verdicts[2] == "refuted")


def test_the_bracket_is_certified() -> None:
    verdict = certify_esp(random_network(12, 0.9, 4), AnyInput())
    assert verdict.verdict == "inconclusive"
    assert 0.5 < verdict.proved_gain < 1.0 < verdict.refuted_gain
    assert check_certificate(verdict.repairs[0].document).verdict == "proved"
    assert {b.name for b in verdict.bounds} >= {"perron-weights", "spectral-norm", "diagonal-schur"}


# -- closed loops and feedback -------------------------------------------------------------------------------


def test_affine_feedback_is_folded_exactly() -> None:
    rng = np.random.default_rng(0)
    W, W_fb, W_out = 0.2 * rng.normal(size=(6, 6)), rng.normal(size=(6, 1)), 0.05 * rng.normal(size=(1, 6))
    network = EchoStateNetwork(W, W_fb=W_fb, readout=Readout(W_out, b_out=[0.3]))
    verdict = certify_esp(network, Zero())
    assert verdict.verdict == "proved"
    assert naive_check(verdict.document)
    assert certify_esp(network, AnyInput()).verdict == "proved"


def test_squares_in_the_feedback_are_never_proved_but_may_be_refuted() -> None:
    tame = EchoStateNetwork([[0.1]], W_fb=[[0.1]], readout=Readout([[0.1]], W_sq=[[0.1]]))
    assert certify_esp(tame, Zero()).verdict == "inconclusive"
    # x = tanh(0.5 x + 3 x^2): fixed points at 0 and near 1.
    wild = EchoStateNetwork([[0.5]], W_fb=[[1.0]], readout=Readout([[0.0]], W_sq=[[3.0]]))
    verdict = certify_esp(wild, Zero())
    assert verdict.verdict == "refuted"
    assert naive_check(verdict.document)


def test_a_closed_loop_that_forecasts_chaos_is_refuted_and_never_proved() -> None:
    x = np.asarray(lorenz63().trajectory(2500, 0.05, rng=0))[:, :1]
    fitted = fit(
        x, n_units=80, spectral_radius=0.9, leak_rate=0.6, input_scaling=1.0, bias_scaling=1.0,
        connectivity=0.1, rng=0,
    )  # fmt: skip
    network = fitted.closed_loop
    assert network.readout is not None
    verdict = certify_esp(network, Zero())
    assert verdict.verdict == "refuted"
    # The unstable points alone refute it as well, with squares in the feedback and more than 64 units.
    assert network.W_fb is not None
    map_ = DrivenMap(network, np.zeros((1, 0)))
    points = _responses(map_, _starts(map_, np.random.default_rng(0), 12), np.inf)
    theorems = {
        r.theorem for r in _candidates(Zero(), map_, points, np.inf) if check_certificate(r.document).valid
    }
    assert "unstable-fixed-point" in theorems


# -- bad input -----------------------------------------------------------------------------------------------


def test_bad_input_is_refused_in_one_line() -> None:
    network = random_network(3, 0.5, 0)
    for inputs in (InputBox([0, 0], [1, 1]), Constant([1.0, 2.0]), InputSignal(np.zeros((4, 2)))):
        with pytest.raises(InvalidInputError, match="components"):
            certify_esp(network, inputs)
    with pytest.raises(InvalidInputError, match="input class"):
        certify_esp(network, 0.5)  # type: ignore[arg-type]
    for budget in (-1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="budget"):
            certify_esp(network, AnyInput(), budget=budget)


def test_a_spent_budget_is_inconclusive() -> None:
    verdict = certify_esp(random_network(5, 0.5, 0), AnyInput(), budget=0.0)
    assert verdict.verdict == "inconclusive"
    assert "budget" in verdict.reason


def test_huge_weights_are_survived() -> None:
    verdict = certify_esp(EchoStateNetwork([[1e300, 1.0], [0.0, 1e-300]]), AnyInput())
    assert verdict.verdict in ("refuted", "inconclusive")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "network",
    [
        EchoStateNetwork([[1e100]]),
        EchoStateNetwork([[-1e100]], activation="identity"),
        EchoStateNetwork([[0.5, 1e-300], [1e90, 0.5]]),
        EchoStateNetwork([[0.5]], leak_rate=5e-324),
        EchoStateNetwork([[0.5]], readout=Readout([[1e300]], b_out=[1e300]), W_fb=[[1e90]]),
        EchoStateNetwork([[0.5]], readout=Readout([[0.1]], W_sq=[[1e300]]), W_fb=[[1e90]]),
    ],
)
@pytest.mark.parametrize("inputs", [AnyInput(), Zero()])
def test_extreme_weights_end_in_a_verdict(network: EchoStateNetwork, inputs: AnyInput | Zero) -> None:
    assert certify_esp(network, inputs, budget=5.0).verdict in ("refuted", "inconclusive")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "inputs",
    [
        InputBox(-1e308, 1e308), InputBox(1e300, 1e308), Constant(1e300),
        InputAlphabet([[-1e308], [1e308]]), InputSignal([[-1e308], [1e308]]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("weight", [1.0, 1e90])
def test_extreme_inputs_end_in_a_verdict(
    inputs: InputBox | Constant | InputAlphabet | InputSignal, weight: float
) -> None:
    verdict = certify_esp(EchoStateNetwork([[1.5]], W_in=[[weight]]), inputs, bracket=False)
    assert verdict.verdict in ("proved", "refuted", "inconclusive")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_a_long_delay_line_ends_in_a_verdict(weight: float) -> None:
    """ARPACK fails on zero and on nilpotent matrices."""
    sector = Sector(weight * np.eye(420, k=1), np.ones(420), np.zeros(420), np.ones(420))
    assert np.isfinite(uniform_slope_radius(sector))
    assert abs(spectral_norm(sector).bound.value - weight) < 1e-6
    shorter = Sector(weight * np.eye(60, k=1), np.ones(60), np.zeros(60), np.ones(60))
    assert incremental_lurie(shorter).bound.name == "incremental-lurie"
    assert certify_esp(EchoStateNetwork(shorter.W), AnyInput()).verdict == "proved"


@pytest.mark.parametrize(("seed", "scale"), [(6, 0.95), (8, 0.95), (15, 0.8), (17, 0.8), (6, 1.05)])
def test_repeated_eigenvalues_do_not_stop_the_search(seed: int, scale: float) -> None:
    """LAPACK's choice of one eigenvalue fails on W'W of about every twentieth orthogonal W."""
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(17, 17)))[0]
    verdict = certify_esp(EchoStateNetwork(scale * Q), AnyInput())
    assert verdict.verdict == ("proved" if scale < 1.0 else "refuted")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("n", "seed"), [(6, 14), (8, 8), (10, 7)])
def test_repeated_eigenvalues_have_a_largest_one(n: int, seed: int) -> None:
    """LAPACK's choice of one eigenvalue returns nothing for these matrices, nearly multiples of I."""
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    value, vector = largest_eigenpair(Q.T @ Q)
    assert value == pytest.approx(1.0, abs=1e-12)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-12)
    sector = Sector(0.95 * (Q.T @ Q), np.ones(n), np.zeros(n), np.ones(n))
    assert incremental_lurie(sector).bound.value == pytest.approx(0.95, rel=1e-3)


def test_a_readout_without_outputs_is_none() -> None:
    assert certify_esp(EchoStateNetwork([[0.5]], readout=Readout(np.zeros((0, 1)))), AnyInput()).rate < 1.0


def test_sentences_do_not_claim_more_than_the_certificate() -> None:
    # Under its own bias this closed loop forgets; only another drive gives it two fixed points.
    biased = EchoStateNetwork([[1.1]], b=5.0)
    refuted = certify_esp(biased, AnyInput())
    assert refuted.verdict == "refuted"
    assert "in place of input and bias" in refuted.sentence
    assert "without input" not in refuted.sentence
    assert certify_esp(biased, Zero()).verdict == "proved"
    assert "without input" in certify_esp(EchoStateNetwork([[1.1]]), Zero()).sentence


def test_candidates_are_checked_before_anything_runs() -> None:
    for candidates in ([np.zeros(3)], [np.array([np.nan, 0.0])]):
        with pytest.raises(InvalidInputError, match="candidates"):
            certify_esp(EchoStateNetwork(0.5 * np.eye(2)), AnyInput(), candidates=candidates)


def test_the_record_of_an_inconclusive_verdict_is_json() -> None:
    # The gain that subnormal weights would bear overflows.
    tiny = EchoStateNetwork([[5e-324]], leak_rate=1e-12)
    for network, budget in ((tiny, 0.0), (tiny, 2.0), (EchoStateNetwork([[1.0]]), 2.0)):
        verdict = certify_esp(network, AnyInput(), budget=budget)
        json.dumps(verdict.document, allow_nan=False)
    assert verdict.verdict == "inconclusive"


def test_closed_loop_with_large_readout_weights_is_refuted() -> None:
    """Large weights magnify rounding: the ball around the fixed point must be small, and is checked."""
    rng = np.random.default_rng(5)
    n = 40
    W = rng.normal(size=(n, n)) * 0.3 / np.sqrt(n)
    W_in = rng.uniform(-1, 1, (n, 1))
    b = rng.uniform(-1, 1, n)
    # The readout is blind but for one direction, along which the loop gain is 1.5: an unstable fixed point.
    x_0 = np.tanh(b)
    for _ in range(500):
        x_0 = np.tanh(W @ x_0 + b)
    D = np.diag(1 - np.tanh(W @ x_0 + b) ** 2)
    direction = np.linalg.solve(np.eye(n) - D @ W, D @ W_in[:, 0])
    row = 1.5 * direction / (direction @ direction)
    noise = rng.normal(size=n)
    row = row + 1e3 * (noise - direction * (noise @ direction) / (direction @ direction))
    loop = EchoStateNetwork(
        W, W_in=W_in, b=b, readout=Readout(row[None], np.zeros((1, n)), [-float(row @ x_0)])
    ).closed_loop()
    verdict = certify_esp(loop, Zero(), candidates=[x_0])
    assert verdict.verdict == "refuted"
    assert check_certificate(verdict.document).valid
